"""Publishes tasks, from one thread of a process."""

from __future__ import annotations

import queue
import threading
import time
import typing as t
from collections import deque

from flask_chatwoot.background import BackgroundThread, Forkable, register_for_forks
from flask_chatwoot.errors import ConfigError, DatabaseError, trace
from flask_chatwoot.logs import logger

from .finder import CeleryFinder

WAKE: t.Final = "flask_chatwoot.wake"
SWEEP: t.Final = "flask_chatwoot.sweep"

WAKE_EXPIRES: t.Final = 60.0
"""Seconds after which a wake is dropped; no pause before one is longer."""

SWEEP_EVERY: t.Final = 5.0
"""Seconds between two sweeps, and until one that no worker has begun is dropped."""

MOST_WAKES: t.Final = 1000
"""Wakes that wait to be published in a process, and that one sweep publishes."""

_IDLE: t.Final = 60.0
"""Seconds without a sweep after which it seems that no worker runs. Then only few wakes
are published, or the broker would keep one for each delivery."""

_LOOK_EVERY: t.Final = 1.0
"""Seconds between two looks whether workers run."""

_IDLE_FOR: t.Final = 5.0
"""Seconds without a hint after which the thread ends."""

_LOG_EVERY: t.Final = 60.0

_ONCE: t.Final = {"max_retries": 1, "interval_start": 0.0}
"""The connection to the broker may have ended since the last wake."""

log = logger(__name__)


class Hint(t.NamedTuple):
    """A task to publish.

    :ivar countdown: Seconds before a worker may begin it.
    :ivar by_worker: A worker publishes it, so at least one runs.
    """

    task: str
    args: tuple[int, ...] = ()
    countdown: float = 0.0
    by_worker: bool = False

    @property
    def expires(self) -> float:
        """Seconds after which it is dropped."""
        return SWEEP_EVERY if self.task == SWEEP else self.countdown + WAKE_EXPIRES


def routed(celery_queue: str | None) -> dict[str, t.Any]:
    """The options that send a task to a queue; ``None``: Celery decides."""
    return {"queue": celery_queue} if celery_queue else {}


class Gate:
    """Lets one wake in a second pass while no worker runs. For one thread.

    :param age: Returns the seconds since the last sweep; ``None``: there was none.
    """

    def __init__(self, age: t.Callable[[], float | None]) -> None:
        self._age = age
        self._look_at = 0.0
        self._idle = False

    def lets_pass(self) -> bool:
        """Whether a wake may be published now. Reads the database at times."""
        now = time.monotonic()

        if now < self._look_at:
            return not self._idle

        self._look_at = now + _LOOK_EVERY
        self._idle = self._is_idle()

        return True

    def _is_idle(self) -> bool:
        try:
            age = self._age()
        except DatabaseError:
            return False

        return age is None or age > _IDLE


class Publisher(Forkable):
    """Publishes the hints of a process from one thread. Threads share it.

    A broker may block whoever publishes, whatever timeouts it is given. What does not
    fit into the queue is dropped.

    :param celery_queue: The queue that they are sent to; ``None``: Celery decides.
    """

    def __init__(
        self, finder: CeleryFinder, celery_queue: str | None, gate: Gate
    ) -> None:
        self._finder = finder
        self._options = routed(celery_queue)
        self._gate = gate
        self._thread = BackgroundThread(
            "chatwoot-publisher",
            self._publish_next,
            busy=lambda: bool(self._waiting or self._held_back),
            every=lambda: 0.0,
            idle=lambda: 0.0 if self._stopping else _IDLE_FOR,
        )
        self.reset_in_child()
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """What waits is the parent's."""
        self._hints: queue.SimpleQueue[Hint | None] = queue.SimpleQueue()
        self._waiting = 0
        self._published = threading.Condition()
        self._eager = threading.local()
        self._dropping = threading.Lock()
        self._dropped = 0
        self._log_at = 0.0
        self._held_back = False
        self._stopping = False

    def put(self, hint: Hint) -> None:
        """Publish a hint later, or drop it. Does not block.

        In a Celery app that is always eager, its task runs now.
        """
        if self._is_eager():
            self._run_eagerly(hint)
            return

        self._stopping = False

        with self._published:
            is_full = self._waiting >= MOST_WAKES
            self._waiting += not is_full

        if is_full:
            self._drop("the broker does not take them")
        else:
            self._hints.put(hint)
            self._thread.ensure()

    def flush(self, seconds: float) -> None:
        """Wait until everything is published, or dropped; no longer than that."""
        with self._published:
            self._published.wait_for(lambda: not self._waiting, seconds)

    def stop(self, seconds: float) -> None:
        """The same, and end the thread; it starts again with the next hint."""
        self.flush(seconds)
        self._stopping = True
        self._hints.put(None)
        self._thread.ensure()

    def _publish_next(self) -> None:
        try:
            hint = self._hints.get(timeout=_LOOK_EVERY)
        except queue.Empty:
            self._publish_held_back()
            return

        if hint is None:
            self._publish_held_back()
            return

        try:
            if hint.by_worker or hint.task == SWEEP or self._gate.lets_pass():
                self._publish(hint)
            else:
                self._held_back = True
        finally:
            with self._published:
                self._waiting -= 1
                self._published.notify_all()

    def _publish_held_back(self) -> None:
        """Should a worker run by now, let it find what was not published."""
        if self._held_back:
            self._held_back = False
            self._publish(Hint(SWEEP))

    def _publish(self, hint: Hint) -> None:
        options: dict[str, t.Any] = {**self._options, "expires": hint.expires}

        if hint.countdown:
            options["countdown"] = hint.countdown

        try:
            task = self._finder.find().tasks[hint.task]
            task.apply_async(hint.args, retry_policy=_ONCE, **options)
        except ConfigError as error:
            self._drop(str(error))
        except Exception as error:  # noqa: BLE001 - any library may be the broker's
            self._drop(trace(error))

    def _drop(self, why: str) -> None:
        """Count what is dropped, and log the number once a minute."""
        with self._dropping:
            self._dropped += 1

            if time.monotonic() < self._log_at:
                return

            self._log_at = time.monotonic() + _LOG_EVERY
            dropped, self._dropped = self._dropped, 0

        log.warning(
            "wakes that Celery did not get: %d; the sweep finds their jobs: %s",
            dropped,
            why,
        )

    # -- in tests of the host ----------------------------------------------------

    def _is_eager(self) -> bool:
        celery_app = self._finder.known()

        return celery_app is not None and bool(celery_app.conf.task_always_eager)

    def _run_eagerly(self, hint: Hint) -> None:
        """Run a task, and then those that it publishes: not within it, or a long line
        of jobs would be as many calls within each other."""
        waiting = getattr(self._eager, "waiting", None)

        if waiting is not None:
            waiting.append(hint)
            return

        self._eager.waiting = waiting = deque([hint])

        try:
            while waiting:
                self._publish(waiting.popleft())
        finally:
            self._eager.waiting = None
