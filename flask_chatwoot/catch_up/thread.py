"""The thread that makes sweeps beside the workers of a process."""

from __future__ import annotations

import threading
import time
import typing as t

from flask_chatwoot.background import Forkable, new_thread, register_for_forks
from flask_chatwoot.errors import APIError, ChatwootError, trace
from flask_chatwoot.logs import logger

from .sweep import CatchUp, explained

_LOOK_EVERY: t.Final = 5.0
"""Seconds between two looks whether a sweep is due; that is one read."""

_GRACE: t.Final = 0.5
"""Seconds to wait for its end. Its writes may be cut off anywhere."""

log = logger(__name__)


class CatchUpThread(Forkable):
    """Makes the sweeps of a process in a thread of its own: it delays no turn."""

    def __init__(self, catch_up: CatchUp) -> None:
        self._catch_up = catch_up
        self.reset_in_child()
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """Start over in the child, which has no copy of the thread."""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failed = ""

    def ensure(self) -> None:
        """Start it, unless it runs or was stopped, or there are no sweeps."""
        if self._begun or not self._catch_up.interval:
            return

        with self._lock:
            self._begin()

    def _begin(self) -> None:
        if self._begun or self._stopping.is_set():
            return

        thread = new_thread(self._repeat, "chatwoot-catch-up")

        try:
            thread.start()
        except RuntimeError as error:  # no more threads for now
            self._report(str(error), failed=False)
        else:
            self._thread = thread

    @property
    def _begun(self) -> bool:
        return self._thread is not None

    def stop(self) -> None:
        """End it, for good. Blocks for half a second at most."""
        with self._lock:
            self._stopping.set()
            thread = self._thread

        if thread is not None:
            thread.join(_GRACE)

    def _repeat(self) -> None:
        stopping = self._stopping
        started = time.monotonic()
        pause = min(self._catch_up.interval / 4, _LOOK_EVERY)

        while not stopping.is_set():
            self.sweep(started, stopping=stopping.is_set, wait=stopping.wait)
            stopping.wait(pause)

    @property
    def interval(self) -> float:
        """See :attr:`.CatchUp.interval`."""
        return self._catch_up.interval

    def sweep(
        self,
        started: float,
        *,
        stopping: t.Callable[[], bool],
        wait: t.Callable[[float], object] = time.sleep,
    ) -> int | None:
        """Make a sweep here and now, if one is due, and log its error.

        :param started: When this process started, by ``time.monotonic``.
        :return: See :meth:`.CatchUp.sweep`; ``None`` if it failed.
        """
        database = self._catch_up.store.database
        taken_in = None

        try:
            with database.read():  # its time counts once the file is open
                started_at = database.clock() - (time.monotonic() - started)

            taken_in = self._catch_up.sweep(
                started_at=started_at, stopping=stopping, wait=wait
            )
            self._failed = ""
        except ChatwootError as error:
            self._report(explained(error), failed=isinstance(error, APIError))
        except Exception as error:  # noqa: BLE001 - the thread must go on
            self._report(trace(error), failed=True)

        return taken_in

    def _report(self, error: str, *, failed: bool) -> None:
        """Log an error once, as long as it is the same."""
        if error != self._failed:
            what = "a sweep failed" if failed else "no sweep could be made"
            log.warning("catch-up: %s: %s", what, error)

        self._failed = error
