"""The backend that handles jobs in threads of this process."""

from __future__ import annotations

import atexit
import functools
import threading
import time
import typing as t
import weakref

from flask_chatwoot.background import (
    Forkable,
    new_thread,
    register_for_forks,
    try_to_start,
)
from flask_chatwoot.errors import DatabaseError, trace
from flask_chatwoot.ingest import Put
from flask_chatwoot.logs import logger
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.upkeep import Upkeep

from .outage import Outage, pause_after
from .runner import JobRunner

GRACE: t.Final = 8.0
"""Seconds that running turns get to finish on exit, within the ten that container
runtimes give a process before they kill it."""

_START_PAUSE: t.Final = 5.0
"""Seconds between two tries to start threads that could not be started."""

log = logger(__name__)


class ThreadBackend(Forkable):
    """Handles jobs in threads of this process.

    As many threads again may start in place of those whose provider is stuck.

    :param threads: How many turns run side by side; 0 means this process only stores.
    """

    def __init__(self, runner: JobRunner, upkeep: Upkeep, *, threads: int) -> None:
        self._runner = runner
        self._upkeep = upkeep
        self._threads = threads
        self._begin()
        _backends.add(self)
        register_for_forks(self)

    def _begin(self) -> None:
        self._stopping = threading.Event()
        self._wake = threading.Semaphore(0)
        self._workers: list[threading.Thread] = []
        self._starting = threading.Lock()
        self._ending = threading.Lock()
        self._ended = False
        self._late = False
        self._outage = Outage()
        # Not while start() runs, which has just begun to start them.
        self._complete_at = time.monotonic() + _START_PAUSE

    def reset_in_child(self) -> None:
        """Start over in the child, which has no copy of the threads."""
        self._begin()
        self._upkeep.reset()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called; turns may still be under way."""
        return self._stopping.is_set()

    @property
    def busy(self) -> bool:
        """Whether any of its threads is alive."""
        return any(worker.is_alive() for worker in self._workers)

    def start(self, *, late: bool = False) -> bool:
        """Start the threads of this process, once.

        :param late: A request starts them.
        :return: ``False`` if no more threads can be started at the moment; those that
            run, and the next delivery, try again.
        """
        if len(self._workers) >= self._wanted:
            return True

        self._late |= late
        self._runner.when_stuck(self._see_to_stuck)

        with self._starting:
            for number in range(len(self._workers), self._wanted):
                worker = new_thread(self._work, f"chatwoot-worker-{number}")

                if self._stopping.is_set() or not try_to_start(worker):
                    return False

                self._workers.append(worker)
                _stop_at_exit()

            self._upkeep.database.listen(self._on_notification)

        return True

    @property
    def _wanted(self) -> int:
        """The number of threads, with those in place of stuck ones."""
        return self._threads + min(len(self._stuck), self._threads)

    @property
    def _lacks_threads(self) -> bool:
        """Whether threads could not be started, not counting those in place of stuck
        ones, for which :meth:`_see_to_stuck` looks again."""
        return len(self._workers) < self._threads

    @property
    def _stuck(self) -> list[threading.Thread]:
        return [each for each in self._runner.stuck if each in self._workers]

    def _see_to_stuck(self, _: list[Job]) -> None:
        """Replace stuck threads, and let operators see them. Nobody else may be left
        to."""
        if self._stopping.is_set():
            return

        self.start()
        self._keep_up()

    def _keep_up(self) -> None:
        stuck = len(self._stuck)
        self._upkeep.run(self._wanted - stuck, late=self._late, stuck=stuck)

    def _is_left_over(self) -> bool:
        """Whether this thread has been replaced, and leaves."""
        if len(self._workers) <= self._threads:
            return False

        with self._starting:
            is_left_over = len(self._workers) > self._wanted

            if is_left_over:
                self._workers.remove(threading.current_thread())

        return is_left_over

    def _on_notification(self) -> None:
        """Wake one worker; it looks again as long as it finds something."""
        self._wake.acquire(blocking=False)  # or many would add up
        self._wake.release()

    def accept(self, put: Put, event: MessageEvent, body: bytes) -> bool:
        """Store a delivery and wake a worker."""
        new = put()

        if new:
            self.wake()

        return new

    def wake(self, conversation_id: int | None = None) -> None:
        """Let a worker look for due jobs."""
        if self._lacks_threads:
            self.start()

        self._upkeep.database.notify()

        if self._workers:
            self._wake.release()

    def stop(self, grace: float = GRACE) -> None:
        """Claim no more, let running turns finish, and release the rest.

        Blocks for at most ``grace`` seconds. A further call waits for the first.
        """
        self._stopping.set()

        with self._ending:
            if not self._ended:
                self._ended = True
                self._end(grace)

    def _end(self, grace: float) -> None:
        self._upkeep.stop()
        deadline = time.monotonic() + grace

        for _ in self._workers:
            self._wake.release()

        stuck = self._stuck  # nothing of theirs is posted any more

        for worker in self._workers:
            if worker not in stuck:
                worker.join(max(0.0, deadline - time.monotonic()))

        self._runner.release_all()

        if self._workers:
            self._upkeep.end()

    def _work(self) -> None:
        failures = 0

        while not self._stopping.is_set():
            self._complete()

            if not failures:  # else its duties fail, too
                self._keep_up()

            if self._stopping.is_set() or self._is_left_over():
                return

            found = self._run_once()

            if failures and found is not None:
                self._upkeep.begin_again()

            failures = failures + 1 if found is None else 0

            if found is None:
                self._stopping.wait(pause_after(failures))
            elif not found:
                self._wake.acquire(timeout=self._upkeep.database.poll)

    def _complete(self) -> None:
        """Start the threads that could not be started before."""
        if self._lacks_threads and time.monotonic() >= self._complete_at:
            self._complete_at = time.monotonic() + _START_PAUSE
            self.start()

    def _run_once(self) -> bool | None:
        """Handle one due job; ``False`` if there is none, ``None`` if nobody knows."""
        try:
            found = self._runner.run_once()
            self._outage.end()
        except DatabaseError as error:
            self._outage.report(str(error))
            return None
        except BaseException as error:  # noqa: BLE001 - the thread must go on
            log.error("a worker failed: %s", trace(error))  # noqa: TRY400
            return False

        return found


_backends: weakref.WeakSet[ThreadBackend] = weakref.WeakSet()


@functools.cache
def _stop_at_exit() -> None:
    """Register, once, that the backends stop before the thread pools of the process.

    Providers written with ``async def`` run in such a pool. Python waits for its pools
    before it calls the functions of :mod:`atexit`: until then jobs would be claimed,
    and all of them would fail.
    """
    import concurrent.futures.thread  # noqa: F401 - last registered, first called

    register = getattr(threading, "_register_atexit", atexit.register)
    register(stop_all)


def stop_all() -> None:
    """Stop the backends of this process; blocks for the grace of each."""
    for each in list(_backends):
        each.stop()
