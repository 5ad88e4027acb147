"""The periodic duties of the processes that handle jobs."""

from __future__ import annotations

import functools
import threading
import time
import typing as t
import uuid

from . import servers
from .catch_up.thread import CatchUpThread
from .errors import described
from .logs import logger
from .ownership.attributes import ToldAttributes
from .ownership.store import OwnershipStore
from .queue.database import Database
from .queue.inspection import ALIVE, KEEP
from .queue.schema import WorkerLimit
from .queue.store import Store
from .turns.left import LeftUnanswered

T = t.TypeVar("T")

_PRUNE_EVERY: t.Final = 3600.0

_PRUNE_ROWS: t.Final = 2000
"""Rows that are pruned at once; a turn waits meanwhile. If there are more, the next
ones follow after a pause."""

_PRUNE_PAUSE: t.Final = 10.0

_REPORT_EVERY: t.Final = ALIVE / 3

_FORGET_EVERY: t.Final = 60.0

_CHECKPOINT_EVERY: t.Final = 1.0

_LOOK_FOR_DEAD_EVERY: t.Final = 1.0

_NO_HEARTBEAT: t.Final = "the heartbeat of this process was not stored"

log = logger(__name__)


class Upkeep:
    """Periodic duties of workers. Threads share it.

    :param catch_up: Runs beside them.
    :param left: What was counted, and is not in the log yet.
    """

    def __init__(
        self,
        store: Store,
        ownership: OwnershipStore,
        told: ToldAttributes,
        catch_up: CatchUpThread,
        left: LeftUnanswered,
    ) -> None:
        self._store = store
        self._told = told
        self._ownership = ownership
        self._catch_up = catch_up
        self._left = left
        self._due: dict[str, float] = {}
        self._failed: dict[str, str] = {}
        self._name = uuid.uuid4().hex
        self._stuck = 0
        self._reporting = threading.Lock()
        self._ended = False

    @property
    def database(self) -> Database:
        """What is kept up."""
        return self._store.database

    def run(self, threads: int, *, late: bool, stuck: int = 0) -> None:
        """Do what is due.

        :param threads: How many turns this process runs side by side.
        :param late: They were started by a request.
        :param stuck: Further threads, whose providers do not come to an end.
        """
        self._catch_up.ensure()
        self.do_duties(threads, late=late, stuck=stuck)

    def do_duties(self, threads: int, *, late: bool = False, stuck: int = 0) -> bool:
        """Do what is due, without catch-up; whether jobs were taken over."""
        self._left.report()
        taken_over = None

        if self._is_due("dead", _LOOK_FOR_DEAD_EVERY):
            taken_over = self._attempt(
                "jobs of dead processes were not taken over", self._end_leases
            )

        # Before the time of the last report is overwritten, which it may look at.
        if self._is_due("checkpoint", _CHECKPOINT_EVERY):
            self._attempt(
                "the database was not maintained", self._store.database.checkpoint
            )

        if self._is_due("report", _REPORT_EVERY) or stuck != self._stuck:
            self._stuck = stuck
            self._beat(threads, late, stuck)

        if self._is_due("prune", _PRUNE_EVERY):
            self._attempt("the database was not pruned", self._prune)

        if self._is_due("forget", _FORGET_EVERY):
            self._attempt(
                "old suggestions were not erased", self._store.suggestions.forget
            )
            self._attempt("old drafts were not erased", self._store.reviews.forget)

        return bool(taken_over)

    def end(self) -> None:
        """This process handles no more jobs, until :meth:`resume`."""
        self._left.report(last=True)

        # A thread that is late must not report this process after that.
        with self._reporting:
            self._ended = True
            self._attempt(_NO_HEARTBEAT, functools.partial(self._report, 0, False, 0))

        self._store.database.processes.leave()

    def stop(self) -> None:
        """End what runs beside the workers. Blocks for half a second at most."""
        self._catch_up.stop()

    def begin_again(self) -> None:
        """Make every duty due, as after an outage in which none could be done."""
        self._due.clear()

    def resume(self) -> None:
        """This process handles jobs, though :meth:`end` was called."""
        self.begin_again()
        self._ended = False

    def reset(self) -> None:
        """Begin anew in a new process."""
        self.resume()
        self._name = uuid.uuid4().hex
        self._reporting = threading.Lock()

    def _beat(self, threads: int, late: bool, stuck: int) -> None:
        with self._reporting:
            if not self._ended:
                report = functools.partial(self._report, threads, late, stuck)
                self._attempt(_NO_HEARTBEAT, report)

    def _report(self, threads: int, late: bool, stuck: int) -> None:
        # The second is a name for operators, where the death of a process is not seen.
        name = self._store.database.processes.enter() or self._name
        limits = [
            *([WorkerLimit.LATE_START] if late else []),
            *([WorkerLimit.NO_GRACE] if servers.is_ended_by_sigterm() else []),
        ]
        self._store.inspection.report(name, threads, limits, stuck=stuck)

    def _end_leases(self) -> int:
        ended = self._store.queue.end_leases()

        if ended:
            log.warning("jobs taken over from a process that died: %d", ended)

        return ended

    def _prune(self) -> None:
        pruned = (
            self._store.inspection.prune(at_most=_PRUNE_ROWS),
            self._store.transcript.prune(KEEP, at_most=_PRUNE_ROWS),
            self._store.outbox.by_host.prune(KEEP, at_most=_PRUNE_ROWS),
            self._store.suggestions.prune(KEEP, at_most=_PRUNE_ROWS),
            self._ownership.prune(KEEP, at_most=_PRUNE_ROWS),
        )
        self._store.sweeps.prune(2 * KEEP)
        self._store.revisions.prune()
        self._store.reviews.prune()
        self._told.prune()

        if max(pruned) >= _PRUNE_ROWS:
            self._due["prune"] = time.monotonic() + _PRUNE_PAUSE

    def _is_due(self, duty: str, every: float) -> bool:
        """Whether a duty is due; the next time is then ``every`` seconds from now.

        Two threads may get ``True`` at once: to run a duty twice does no harm.
        """
        now = time.monotonic()
        due = now >= self._due.get(duty, 0.0)

        if due:
            self._due[duty] = now + every

        return due

    def _attempt(self, failure: str, act: t.Callable[[], T]) -> T | None:
        """The result, or ``None``; logs an error once, as long as it is the same."""
        result, failed = None, ""

        try:
            result = act()
        except Exception as error:  # noqa: BLE001 - the thread must go on
            failed = described(error)

        if failed and failed != self._failed.get(failure):
            log.warning("%s: %s", failure, failed)

        self._failed[failure] = failed

        return result
