"""Claims jobs, and runs the service on them while their leases are renewed."""

from __future__ import annotations

import contextvars
import threading
import time
import typing as t
import weakref

from flask_chatwoot.background import BackgroundThread, Forkable, register_for_forks
from flask_chatwoot.errors import DatabaseError, LeaseLostError, described
from flask_chatwoot.logs import SUBJECT, Subject, about, logger
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.jobs import Queue
from flask_chatwoot.queue.schema import LONGEST_PAUSE
from flask_chatwoot.turns.calls import Calls
from flask_chatwoot.turns.service import Service

_LET_GO_EVERY: t.Final = 1.0
"""Seconds between two looks for jobs that this process claimed and does not run."""

_LOOK_EVERY: t.Final = 1.0
"""Seconds between two looks for providers that take too long, at most."""

SeeToStuck = t.Callable[[list[Job]], None]
"""Gets the jobs that were just given up."""

log = logger(__name__)


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
                with about(job.conversation_id, job.id):
                    log.warning("the lease was not renewed: %s", error)


class JobRunner:
    """Claims jobs and runs the service on them. Threads share it.

    :param review_one: Called while no job is due; whether it found something to do.
    """

    def __init__(
        self,
        queue: Queue,
        service: Service,
        calls: Calls,
        review_one: t.Callable[[], bool] = lambda: False,
    ) -> None:
        self._queue = queue
        self._service = service
        self.review_one = review_one
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
        """Handle one due job, or else a draft; ``False`` if there is none.

        :param conversation_id: Handle the job of this one, if it is due.
        :raises DatabaseError: No job could be claimed.
        """
        self._heartbeat.ensure()
        self.let_go()
        job = self._queue.claim(conversation_id=conversation_id)

        if job is None:
            return self.review_one()

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
        # No turn sees the context of another one, or that of a request.
        context = contextvars.Context()
        context.run(SUBJECT.set, Subject(job.conversation_id, job.id))

        try:
            self._heartbeat.watch(job)
            context.run(self._service.handle, job, event)
        except LeaseLostError as error:
            context.run(log.warning, "%s Its turn was abandoned here.", error)
        except Exception as error:  # noqa: BLE001 - the thread boundary
            # The job is tried again after a lease.
            context.run(log.error, "the job stopped: %s", described(error))
        finally:
            self._heartbeat.leave(job)

    def release_all(self) -> None:
        """Release the running jobs, so that other processes can claim them at once."""
        for job in self._heartbeat.running():
            try:
                self._queue.postpone(job, 0.0, free=True)
            except DatabaseError as error:
                with about(job.conversation_id, job.id):
                    log.warning("the job was not released: %s", error)
