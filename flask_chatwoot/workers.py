"""Who runs the jobs: the request that brought them, or threads of this process."""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
import time
import typing as t
import uuid
import weakref

from .config import Config
from .errors import ChatwootError, DatabaseError, LeaseLostError, trace
from .payloads.events import MessageEvent
from .queue.inspection import ALIVE, KEEP
from .queue.jobs import Job, Queue
from .runtime import Backend, Runtime
from .turns.posting import Poster
from .turns.service import to_store

GRACE: t.Final = 8.0
"""Seconds that running turns get to finish on exit, within the ten that container
runtimes give a process before they kill it."""

_POLL: t.Final = 0.25
"""Seconds between looks for jobs that another process stored, or that became due."""

_DATABASE_PAUSE: t.Final = 5.0
"""Seconds to leave a failing database alone."""

_PRUNE_EVERY: t.Final = 3600.0

_REPORT_EVERY: t.Final = ALIVE / 3

_CHECKPOINT_EVERY: t.Final = 1.0

log = logging.getLogger(__name__)


_threaded: weakref.WeakSet[Heartbeat | ThreadBackend] = weakref.WeakSet()


def _after_fork() -> None:
    for each in list(_threaded):
        each.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


@functools.cache
def _stop_at_exit() -> None:
    """See to it, once, that the work of this process ends before its thread pools do.

    Providers written with ``async def`` run in such a pool. Python waits for its pools
    before it calls what :mod:`atexit` has: jobs would be claimed until then, and all
    of them fail.
    """
    import concurrent.futures.thread  # noqa: F401 - the last to register is first

    register = getattr(threading, "_register_atexit", atexit.register)
    register(_stop_all)


def _stop_all() -> None:
    for each in list(_threaded):
        if isinstance(each, ThreadBackend) and not each.stopped:
            each.stop()


def create(config: Config) -> Backend:
    """The backend a configuration asks for. Starts nothing."""
    if config.backend == "inline":
        return InlineBackend()

    return ThreadBackend(threads=config.workers)


class Heartbeat:
    """Renews the leases of the turns this process runs, from one thread.

    The thread begins with a turn, and ends when a while has passed without any.
    """

    def __init__(self) -> None:
        self.forget()
        _threaded.add(self)

    def forget(self) -> None:
        """Begin anew, in a forked process: the thread did not come along."""
        self._lock = threading.Lock()
        self._running: dict[str, tuple[Queue, Job]] = {}
        self._thread: threading.Thread | None = None

    def watch(self, queue: Queue, job: Job) -> None:
        """Keep a job's lease alive from now on."""
        with self._lock:
            self._running[job.claim] = (queue, job)

            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._beat,
                    args=(queue.lease / 3,),
                    name="chatwoot-heartbeat",
                    daemon=True,
                )
                self._thread.start()

    def leave(self, job: Job) -> None:
        """Let the lease run out, or the job be finished."""
        with self._lock:
            self._running.pop(job.claim, None)

    def running(self) -> list[tuple[Queue, Job]]:
        """The jobs under way in this process."""
        with self._lock:
            return list(self._running.values())

    def _beat(self, every: float) -> None:
        pause = threading.Event()

        while self._needed():
            pause.wait(every)

            for queue, job in self.running():
                try:
                    queue.renew(job)
                except DatabaseError as error:
                    log.warning(
                        "the lease of job %s was not renewed: %s", job.id, error
                    )

    def _needed(self) -> bool:
        with self._lock:
            if not self._running:
                self._thread = None

            return bool(self._running)


def run_once(bot: Runtime, heartbeat: Heartbeat) -> bool:
    """Handle one due job; ``False`` if there is none.

    :raises DatabaseError: No job could be claimed.
    """
    job = None if bot.poster is None else bot.poster.store.queue.claim()

    if bot.poster is None or job is None:
        return False

    run(bot, bot.poster, job, heartbeat)

    return True


def run(
    bot: Runtime,
    poster: Poster,
    job: Job,
    heartbeat: Heartbeat,
    event: MessageEvent | None = None,
) -> None:
    """Handle a claimed job, whatever happens. Its lease is kept alive meanwhile."""
    try:
        heartbeat.watch(poster.store.queue, job)
        bot.handle(job, event)
    except LeaseLostError as error:
        log.warning("%s Its turn was abandoned here.", error)
    except Exception as error:  # noqa: BLE001 - the edge: nothing may end the worker
        # The lease runs out and the job is tried again.
        log.error("job %s stopped: %s", job.id, _short(error))  # noqa: TRY400
    finally:
        heartbeat.leave(job)


def _short(error: Exception) -> str:
    return str(error) if isinstance(error, ChatwootError) else trace(error)


class InlineBackend:
    """Handles jobs inside the request that stored them.

    For tests and for hosts that answer at once. A job that must be tried again is
    handled with a later message, or by ``flask chatwoot work``.
    """

    def __init__(self) -> None:
        self._heartbeat = Heartbeat()

    def start(self, bot: Runtime) -> None:
        """Nothing runs between requests."""

    def submit(
        self, bot: Runtime, poster: Poster, event: MessageEvent, body: bytes
    ) -> bool:
        """Store a delivery and handle it, and then whatever else is due."""
        new, job = poster.store.queue.put_and_claim(
            event.key, payload=body, **to_store(event)
        )

        if job is not None:
            run(bot, poster, job, self._heartbeat, event)

        # It will be acknowledged. As a rule the turn's own writes have done this.
        poster.store.database.force()

        try:
            while new and run_once(bot, self._heartbeat):
                pass
        except DatabaseError as error:  # what was stored stays stored
            log.error("no job could be claimed: %s", error)  # noqa: TRY400

        return new

    def stop(self) -> None:
        """Nothing runs between requests."""


class ThreadBackend:
    """Handles jobs in threads of this process.

    :param threads: How many turns run side by side; 0 means this process only stores.
    """

    def __init__(self, *, threads: int) -> None:
        self._threads = threads
        self._heartbeat = Heartbeat()
        self.forget()
        _threaded.add(self)

    def forget(self) -> None:
        """Begin anew, in a forked process: the threads did not come along."""
        self._stopping = threading.Event()
        self._wake = threading.Semaphore(0)
        self._bot: Runtime | None = None
        self._name = uuid.uuid4().hex
        self._times: dict[str, float] = {}
        self._workers: list[threading.Thread] = []
        self._starting = threading.Lock()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called; turns may still be under way."""
        return self._stopping.is_set()

    @property
    def busy(self) -> bool:
        """Whether any of its threads is alive."""
        return any(worker.is_alive() for worker in self._workers)

    def start(self, bot: Runtime) -> None:
        """Start the threads of this process, once."""
        if self._workers or not self._threads or bot.poster is None:
            return

        with self._starting:
            if self._workers:
                return

            self._workers = [
                threading.Thread(
                    target=self._work,
                    args=(bot,),
                    name=f"chatwoot-worker-{number}",
                    daemon=True,
                )
                for number in range(self._threads)
            ]

            self._bot = bot

            for worker in self._workers:
                worker.start()

            _stop_at_exit()

    def submit(
        self, bot: Runtime, poster: Poster, event: MessageEvent, body: bytes
    ) -> bool:
        """Store a delivery and wake a worker."""
        new = poster.store.queue.put(event.key, payload=body, **to_store(event))
        self.start(bot)

        if self._workers:
            self._wake.release()

        return new

    def stop(self, grace: float = GRACE) -> None:
        """Claim no more, let what runs finish, and give the rest back.

        Blocks for at most ``grace`` seconds.
        """
        self._stopping.set()
        deadline = time.monotonic() + grace

        for _ in self._workers:
            self._wake.release()

        for worker in self._workers:
            worker.join(max(0.0, deadline - time.monotonic()))

        for queue, job in self._heartbeat.running():
            _give_back(queue, job)

        if self._bot is not None:
            _report(self._bot, self._name, 0)

    def _work(self, bot: Runtime) -> None:
        while not self._stopping.is_set():
            self._keep_house(bot)

            if not self._run_once(bot):
                self._wake.acquire(timeout=_POLL)

    def _keep_house(self, bot: Runtime) -> None:
        if self._is_time("report", _REPORT_EVERY):
            _report(bot, self._name, self._threads)

        if self._is_time("prune", _PRUNE_EVERY):
            _prune(bot)

        if self._is_time("checkpoint", _CHECKPOINT_EVERY):
            _checkpoint(bot)

    def _is_time(self, chore: str, every: float) -> bool:
        """Whether a chore is due, which it then is no more.

        Two threads may find so at once: a time too often is no harm.
        """
        now = time.monotonic()
        due = now >= self._times.get(chore, 0.0)

        if due:
            self._times[chore] = now + every

        return due

    def _run_once(self, bot: Runtime) -> bool:
        try:
            return run_once(bot, self._heartbeat)
        except DatabaseError as error:
            log.error("no job could be claimed: %s", error)  # noqa: TRY400
            self._stopping.wait(_DATABASE_PAUSE)
        except BaseException as error:  # noqa: BLE001 - the thread must live on
            log.error("a worker stumbled: %s", trace(error))  # noqa: TRY400

        return False


def _give_back(queue: Queue, job: Job) -> None:
    try:
        queue.postpone(job, 0.0, free=True)
    except DatabaseError as error:
        log.warning("job %s was not given back: %s", job.id, error)


def _report(bot: Runtime, name: str, threads: int) -> None:
    try:
        if bot.poster is not None:
            bot.poster.store.inspection.report(name, threads)
    except DatabaseError as error:
        log.warning("no heartbeat was written to the database: %s", error)


def _prune(bot: Runtime) -> None:
    try:
        if bot.poster is not None:
            bot.poster.store.inspection.prune()
            bot.poster.store.transcript.prune(KEEP)

        if bot.answering is not None:
            bot.answering.memory.prune(KEEP)
    except DatabaseError as error:
        log.warning("the database was not pruned: %s", error)


def _checkpoint(bot: Runtime) -> None:
    try:
        if bot.poster is not None:
            bot.poster.store.database.checkpoint()
    except DatabaseError as error:
        log.warning("the database's log was not moved into its file: %s", error)
