"""The backend that wakes Celery's workers, and handles jobs in them."""

from __future__ import annotations

import contextlib
import time
import typing as t
import weakref

from flask import Flask

from flask_chatwoot.background import BackgroundThread, Forkable, register_for_forks
from flask_chatwoot.catch_up.thread import CatchUpThread
from flask_chatwoot.config import Config
from flask_chatwoot.errors import ConfigError, DatabaseError
from flask_chatwoot.ingest import Put
from flask_chatwoot.logs import about, logger
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.store import Store
from flask_chatwoot.upkeep import Upkeep
from flask_chatwoot.workers import JobRunner

from .broker import problem_of
from .finder import CeleryFinder
from .publisher import (
    MOST_WAKES,
    SWEEP,
    SWEEP_EVERY,
    WAKE,
    WAKE_EXPIRES,
    Gate,
    Hint,
    Publisher,
    routed,
)

CATCH_UP_FOR: t.Final = 20.0
"""Seconds that catch-up may take in one task; the next sweep goes on with it."""

_STALE: t.Final = 15.0
"""Seconds after a sweep from which a worker makes one after its turn: without Celery's
beat there would be none."""

_YOUNG: t.Final = 3.0
"""Seconds after which a process may claim what a dead one had claimed."""

_KEEP_UP_EVERY: t.Final = 1.0

_FLUSH: t.Final = 2.0
"""Seconds that a task waits until its wakes are published."""

log = logger(__name__)


class WorkerProcess:
    """This process, in which a worker of Celery may run.

    :ivar threads: Tasks that run in it side by side.
    :ivar started: When the worker started, by ``time.monotonic``; its pool may start
        processes at any time.
    """

    threads = 1
    started = time.monotonic()


process: t.Final = WorkerProcess()


class CeleryBackend(Forkable):
    """Wakes Celery's workers; in them, it handles jobs.

    ``CHATWOOT_WORKERS`` has no meaning for it.
    """

    def __init__(
        self,
        app: Flask,
        config: Config,
        runner: JobRunner,
        store: Store,
        upkeep: Upkeep,
        catch_up: CatchUpThread,
    ) -> None:
        self.account_id = store.database.account_id
        self.finder = CeleryFinder(app, config.celery_app)
        self._config = config
        self._runner = runner
        self._store = store
        self._upkeep = upkeep
        self._catch_up = catch_up
        self._publisher = Publisher(
            self.finder, config.celery_queue, Gate(store.wakes.age)
        )
        self._works = False
        runner.when_stuck(self._wake_given_up)
        self._thread = BackgroundThread(
            "chatwoot-upkeep",
            self._keep_up,
            busy=lambda: self._works,
            every=lambda: _KEEP_UP_EVERY,
        )
        _backends.add(self)
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The child has handled nothing yet."""
        self._works = False
        self._upkeep.reset()

    def start(self, *, late: bool = False) -> bool:
        """Nothing runs in processes that serve requests; report a missing Celery app.

        Does not block.
        """
        try:
            self.finder.find()
        except ConfigError as error:
            log.error("%s Until then nothing is answered.", error)  # noqa: TRY400

        return True

    def accept(self, put: Put, event: MessageEvent, body: bytes) -> bool:
        """Store a delivery, and wake a worker for it."""
        new = put()

        if new:
            self._wake(event.conversation.id, self._config.burst_window)

        return new

    def wake(self, conversation_id: int | None = None) -> None:
        """Wake a worker for a conversation, or for whatever is due."""
        if conversation_id is None:
            self._publisher.put(Hint(SWEEP))
        else:
            self._wake(conversation_id)

    def stop(self) -> None:
        """This process handles no more jobs. Blocks for some seconds at most."""
        self._publisher.stop(_FLUSH)

        if self._works:
            self._works = False
            self._runner.release_all()
            self._upkeep.end()

    def _wake(
        self, conversation_id: int, countdown: float = 0.0, *, by_worker: bool = False
    ) -> None:
        """Wake a worker, now or soon; what is due later is found by a sweep."""
        if countdown < WAKE_EXPIRES:
            args = self.account_id, conversation_id
            self._publisher.put(Hint(WAKE, args, countdown, by_worker))

    # -- in Celery's workers -----------------------------------------------------

    def begin(self) -> None:
        """A worker runs in this process: let others see that it is alive, and see who
        has died. Does not block."""
        if not self._works:
            self._upkeep.resume()

        self._works = True
        self._thread.ensure()

    def _keep_up(self) -> None:
        if self._has_ended():  # the last step of the thread follows the end
            return

        self._do_duties()

        # A duty may have entered a process that has ended meanwhile.
        if self._has_ended():
            self._upkeep.end()

    def _has_ended(self) -> bool:
        return not self._works

    def _do_duties(self) -> None:
        with _logged("jobs that do not run were not released"):
            self._runner.let_go()

        stuck = len(self._runner.stuck)

        if self._upkeep.do_duties(max(process.threads - stuck, 0), stuck=stuck):
            with _logged("what was taken over was not woken"):
                self._sweep()

    def _wake_given_up(self, given_up: list[Job]) -> None:
        """Wake for the last posts of turns whose provider did not answer in time."""
        for job in given_up:
            self._wake(job.conversation_id, by_worker=True)

    def handle(self, conversation_id: int, *, sweeps: bool) -> None:
        """Handle at most one job of a conversation, and wake for the next.

        :param sweeps: This is a worker, and makes a sweep if the last one is long ago.
        """
        if sweeps:
            self.begin()

        with about(conversation_id), _logged("a wake failed"):
            handled = self._runner.run_once(conversation_id)
            self._wake_again(conversation_id, handled=handled)

        if sweeps:
            self._sweep_if_stale()

        self._publisher.flush(_FLUSH)

    def _wake_again(self, conversation_id: int, *, handled: bool) -> None:
        """Wake for the next job of a conversation, if it will soon be due.

        :param handled: The last wake led to a turn. If not, and a job is due, then this
            process may not claim it: it may be too young to know who else is alive.
        """
        pause = self._store.wakes.pause_of(conversation_id)

        if pause is None or (pause > 0 and not handled):
            return

        least = 0.0 if handled else _YOUNG
        self._wake(conversation_id, max(least, pause), by_worker=True)

    def _sweep_if_stale(self) -> None:
        with _logged("no sweep was made"):
            age = self._store.wakes.age()

            if age is None or age > _STALE:
                self.sweep()

    def sweep(self, seconds: float = CATCH_UP_FOR) -> None:
        """Wake what is due, and look for what was not delivered.

        Blocks for about as long as catch-up may take.
        """
        self.begin()

        with _logged("drafts were not compared"):
            while self._runner.review_one():
                pass

        with _logged("no sweep was made"):
            self._sweep()

            if self._found_undelivered(seconds):
                self._sweep()

        self._publisher.flush(_FLUSH)

    def _sweep(self) -> None:
        """Wake what is due, unless another process does."""
        claim = self._store.wakes.claim()

        if claim is None:
            return

        for conversation_id in self._store.wakes.take_due(MOST_WAKES):
            self._wake(conversation_id, by_worker=True)

        self._store.wakes.swept(claim)

    def _found_undelivered(self, seconds: float) -> bool:
        """Make the sweep of catch-up, if it is due; whether it took in messages."""
        end = time.monotonic() + seconds

        return bool(
            self._catch_up.interval
            and self._catch_up.sweep(
                process.started, stopping=lambda: time.monotonic() > end
            )
        )

    # -- for operators -------------------------------------------------------------

    def problem_of_broker(self, *, within: float) -> str | None:
        """Why the broker does not answer; ``None`` if it does. Blocks.

        :param within: Seconds for which it blocks at most.
        :raises ConfigError: There is no Celery app.
        """
        return problem_of(self.finder.find(), within=within)

    def time_limit(self) -> float | None:
        """Seconds after which Celery ends a task by its configuration, if it does.

        :raises ConfigError: There is no Celery app.
        """
        return min(limits_of(self.finder.find().tasks[WAKE]), default=None)

    # -- Celery's beat ---------------------------------------------------------------

    def schedule(self, celery_app: t.Any) -> None:
        """Add the sweep to the periodic tasks of the host's Celery app."""
        # Of a copy: several Celery apps may be configured with one dictionary.
        celery_app.conf.beat_schedule = {**celery_app.conf.beat_schedule}
        celery_app.add_periodic_task(
            SWEEP_EVERY,
            celery_app.signature(SWEEP),
            name=SWEEP,
            expires=SWEEP_EVERY,
            **routed(self._config.celery_queue),
        )

    def close(self) -> None:
        """Stop, and close the database."""
        self.stop()
        self._store.database.close()


@contextlib.contextmanager
def _logged(failure: str) -> t.Iterator[None]:
    """Log a failure of the database; sweeps go on when it is back."""
    try:
        yield
    except DatabaseError as error:
        log.error("%s: %s", failure, error)  # noqa: TRY400


def limits_of(task: t.Any) -> list[float]:
    """The time limits of a task by the configuration, as far as there are any."""
    conf = task.app.conf
    limits = (
        task.time_limit or conf.task_time_limit,
        task.soft_time_limit or conf.task_soft_time_limit,
    )

    return [each for each in limits if each]


_backends: weakref.WeakSet[CeleryBackend] = weakref.WeakSet()


def all_backends() -> list[CeleryBackend]:
    """Those of this process."""
    return list(_backends)


def backends_of(celery_app: object) -> list[CeleryBackend]:
    """Those whose host has this Celery app."""
    return [each for each in all_backends() if each.finder.is_for(celery_app)]
