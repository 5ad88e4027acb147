"""The backends: jobs run in the request that stored them, or in threads."""

from __future__ import annotations

import atexit
import contextvars
import functools
import logging
import random
import threading
import time
import typing as t
import weakref

from .background import (
    BackgroundThread,
    Forkable,
    new_thread,
    register_for_forks,
    try_to_start,
)
from .errors import DatabaseError, LeaseLostError, described, trace
from .ingest import Put
from .payloads.events import MessageEvent
from .queue.claimed import Job
from .queue.database import Transaction
from .queue.jobs import Queue
from .queue.schema import LONGEST_PAUSE
from .queue.store import Store
from .turns.calls import Calls
from .turns.service import Service
from .upkeep import Upkeep

GRACE: t.Final = 8.0
"""Seconds that running turns get to finish on exit, within the ten that container
runtimes give a process before they kill it."""

_FIRST_PAUSE: t.Final = 0.2
_LONGEST_PAUSE: t.Final = 1.0
"""Seconds until a worker tries again after the database failed. Each pause is twice the
one before, and spread by a quarter."""

_SAID_AGAIN: t.Final = 10.0
"""Seconds after which a failure is logged again, if it has ended in between."""

_START_PAUSE: t.Final = 5.0
"""Seconds between two tries to start threads that could not be started."""

_LET_GO_EVERY: t.Final = 1.0
"""Seconds between two looks for jobs that this process claimed and does not run."""

_LOOK_EVERY: t.Final = 1.0
"""Seconds between two looks for providers that take too long, at most."""

log = logging.getLogger(__name__)


SeeToStuck = t.Callable[[list[Job]], None]
"""Gets the jobs that were just given up."""


class Heartbeat(Forkable):
    """Renews the leases of the turns that this process runs, from one thread.

    It also gives up those whose provider takes too long. The thread starts with a turn
    and ends when none is left, and no provider is stuck.

    :ivar calls: The providers at work in this process.
    """

    def __init__(self, queue: Queue, calls: Calls | None = None) -> None:
        self._see_to_stuck: t.Callable[[], SeeToStuck | None] = lambda: None
        self.calls = calls = calls or Calls(LONGEST_PAUSE)
        self._queue = queue
        self._lock = threading.Lock()
        self._running: dict[str, Job] = {}
        self._renew_at = 0.0
        self._thread = BackgroundThread(
            "chatwoot-heartbeat",
            self._step,
            busy=lambda: bool(self._running or calls.stuck),
            every=lambda: min(_LOOK_EVERY, queue.lease / 3, calls.longest / 4),
            idle=lambda: queue.lease / 3,
        )
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The running turns are the parent's."""
        self._lock = threading.Lock()
        self._running = {}

    def watch(self, job: Job) -> None:
        """Renew a job's lease from now on."""
        with self._lock:
            if not self._running:
                self._renew_at = time.monotonic() + self._queue.lease / 3

            self._running[job.claim] = job

        self._thread.ensure()

    def ensure(self) -> None:
        """Renew the leases, if no thread could be started for that before."""
        if self._running:
            self._thread.ensure()

    def leave(self, job: Job) -> None:
        """Stop renewing a job's lease."""
        with self._lock:
            self._running.pop(job.claim, None)

    def running(self) -> list[Job]:
        """The jobs under way in this process."""
        with self._lock:
            return list(self._running.values())

    def _step(self) -> None:
        now = time.monotonic()

        if now >= self._renew_at:
            self._renew_at = now + self._queue.lease / 3
            self._renew_all()

        given_up = self.calls.end_late()

        for job in given_up:
            self.leave(job)

        see_to_stuck = self._see_to_stuck()

        if see_to_stuck and (given_up or self.calls.stuck):
            see_to_stuck(given_up)

    def when_stuck(self, method: SeeToStuck) -> None:
        """Call a method as long as a provider is stuck, every second.

        Its object is not kept alive: the thread may outlive the app.
        """
        self._see_to_stuck = weakref.WeakMethod(method)

    def _renew_all(self) -> None:
        for job in self.running():
            try:
                self._queue.renew(job)
            except DatabaseError as error:
                log.warning("the lease of job %s was not renewed: %s", job.id, error)


class JobRunner:
    """Claims jobs and runs the service on them. Threads share it."""

    def __init__(self, queue: Queue, service: Service, calls: Calls) -> None:
        self._queue = queue
        self._service = service
        self._heartbeat = Heartbeat(queue, calls)
        self._let_go_at = 0.0

    @property
    def stuck(self) -> list[threading.Thread]:
        """The threads of this process whose providers do not come to an end."""
        return self._heartbeat.calls.stuck

    def when_stuck(self, method: SeeToStuck) -> None:
        """Call a method as long as a provider is stuck; see :class:`Heartbeat`."""
        self._heartbeat.when_stuck(method)

    def run_once(self, conversation_id: int | None = None) -> bool:
        """Handle one due job; ``False`` if there is none.

        :param conversation_id: Handle the job of this one, if it is due.
        :raises DatabaseError: No job could be claimed.
        """
        self._heartbeat.ensure()
        self.let_go()
        job = self._queue.claim(conversation_id=conversation_id)

        if job is None:
            return False

        self.run(job)

        return True

    def let_go(self) -> None:
        """End the leases that no turn of this process needs, once a second.

        :raises DatabaseError: The database cannot be read or written.
        """
        now = time.monotonic()

        if now >= self._let_go_at:
            self._let_go_at = now + _LET_GO_EVERY
            self._queue.let_go({job.claim for job in self._heartbeat.running()})

    def run(self, job: Job, event: MessageEvent | None = None) -> None:
        """Handle a claimed job, whatever happens. Its lease is renewed meanwhile.

        :param event: The job's newest delivery, if it is parsed already.
        """
        try:
            self._heartbeat.watch(job)
            # No turn sees the context of another one, or that of a request.
            contextvars.Context().run(self._service.handle, job, event)
        except LeaseLostError as error:
            log.warning("%s Its turn was abandoned here.", error)
        except Exception as error:  # noqa: BLE001 - the thread boundary
            # The job is tried again after a lease.
            log.error("job %s stopped: %s", job.id, described(error))  # noqa: TRY400
        finally:
            self._heartbeat.leave(job)

    def release_all(self) -> None:
        """Release the running jobs, so that other processes can claim them at once."""
        for job in self._heartbeat.running():
            try:
                self._queue.postpone(job, 0.0, free=True)
            except DatabaseError as error:
                log.warning("job %s was not released: %s", job.id, error)


class InlineBackend:
    """Handles jobs inside the request that stored them.

    For tests and for hosts that answer at once. A job that must be tried again is
    handled with a later message, or by ``flask chatwoot work``.
    """

    def __init__(self, runner: JobRunner, store: Store) -> None:
        self._runner = runner
        self._store = store
        runner.when_stuck(self._see_to_stuck)

    def start(self, *, late: bool = False) -> bool:
        """Nothing runs between requests."""
        return True

    def accept(self, put: Put, event: MessageEvent, body: bytes) -> bool:
        """Store a delivery, handle it, and then whatever else is due."""
        # In one commit, which is not forced to the disk: as a rule the turn's own
        # writes do that before the delivery is acknowledged.
        with self._store.queue.transaction(event.conversation.id) as tx:
            new = put(tx=tx)
            job = self._claim(tx) if new else None

        if job is not None:
            self._runner.run(job, event if job.payload == body else None)

        self._store.database.force()

        if new:
            self.wake()

        return new

    def _claim(self, tx: Transaction) -> Job | None:
        try:
            return self._store.queue.claim(tx=tx)
        except DatabaseError:  # no heartbeat arrives yet: it is stored all the same
            return None

    def wake(self, conversation_id: int | None = None) -> None:
        """Handle whatever is due."""
        try:
            while self._runner.run_once():
                pass
        except DatabaseError as error:  # what was stored stays stored
            log.error("no job could be claimed: %s", error)  # noqa: TRY400

    def _see_to_stuck(self, given_up: list[Job]) -> None:
        """Handle what was given up, since no request may come that would."""
        if given_up:
            try_to_start(new_thread(self.wake, "chatwoot-given-up"))

    def stop(self) -> None:
        """Nothing runs between requests."""


class Outage:
    """What is logged while nothing can be claimed. Threads share it.

    The first failure of an outage is an error; others are warnings. Each is logged once
    in an outage, and in several short ones not every time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._recent: dict[str, float] = {}

    def end(self) -> None:
        """The database was used."""
        if self._said:
            with self._lock:
                self._said.clear()

    def report(self, failed: str) -> None:
        """Log why nothing is claimed, unless that is known."""
        now = time.monotonic()

        with self._lock:
            self._recent = {
                text: at for text, at in self._recent.items() if now - at < _SAID_AGAIN
            }

            if failed in self._said or failed in self._recent:
                return

            level = logging.WARNING if self._said else logging.ERROR
            self._said.add(failed)
            self._recent[failed] = now

        log.log(level, "no job could be claimed: %s", failed)


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
            self._keep_up()

            if self._is_left_over():
                return

            found = self._run_once()
            failures = failures + 1 if found is None else 0

            if found is None:
                self._stopping.wait(_pause_after(failures))
            elif not found:
                self._wake.acquire(timeout=self._upkeep.database.poll)

    def _complete(self) -> None:
        """Start the threads that could not be started before."""
        missing = len(self._workers) < self._threads

        if missing and time.monotonic() >= self._complete_at:
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


def _pause_after(failures: int) -> float:
    """Seconds until the database is tried again, after so many failures in a row."""
    pause = min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 20), _LONGEST_PAUSE)

    return pause * random.uniform(0.75, 1.25)  # noqa: S311 - not a secret


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
