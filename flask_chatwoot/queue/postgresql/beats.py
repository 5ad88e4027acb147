"""Rows that living processes write, so that others notice when one has died.

Each process that claims jobs has a row and writes the database's time into it twice a
second: it beats. The row of a process whose beat is older than :data:`DEAD_AFTER` is
deleted by another one. A process may be wrong about that when the database stood still
or connections were cut, so it judges only while its own beats have had no gap for
:data:`STEADY_AFTER` seconds. By then every living process has beaten again.

**The row decides.** It is deleted only if it still has the beat that was too old, and
a beat only updates a row, it never inserts the same name again. So the death of a
process is one atomic event, which the process itself notices with its next beat. Then
it goes on under a new name, and what it had claimed under the old one is not its own
any more. The same happens to a process that itself stood still for a whole lease.

**The lease of a job** ends one lease after the last beat of the worker that claimed
it, and never before ``job.due_at``, the claim plus one lease: :data:`LEASED_UNTIL`. A
turn that takes long keeps its job without a write to the job's row. A job is

- leased: ``job.claim IS NOT NULL`` and :data:`LEASED_UNTIL` is in the future;
- due: ``job.due_at <= now AND NOT`` :data:`IS_KEPT`. The index on ``due_at`` finds it;
  those that beats keep are as many as turns that have run for more than one lease.

What follows from that:

- A machine that is gone: its process is dead for those that may judge after 2 to 3
  seconds. Whoever judges sets ``due_at`` of its jobs to now, and then the row is
  deleted, with which their leases end. Should nobody be able to judge, they end by
  themselves, one lease after the last beat.
- A process that was judged to be dead and is alive after all, because it beat between
  the look and the deletion: the row stays, and with it the leases, whatever ``due_at``.
- The database was away for longer than a lease: every lease has ended when it comes
  back. A claimed job should only be claimed again by a process that :meth:`~Beats.
  is_steady`; the others have beaten by then, and keep their jobs.
- A process that was frozen and goes on knows nothing of that. So right before a post,
  in the statement that says that the job is being sent, it must ask the database for
  the token, for the time that is left, and for a recent beat: :data:`IS_BEATING`. A
  post that another process could not know of waits in ``sent_at`` for its settle time.

Who locks a claimed job must not lock the row of the process (``FOR UPDATE OF job``),
or that one could not beat.
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import threading
import time
import typing as t
import uuid

from flask_chatwoot.background import BackgroundThread, Forkable, register_for_forks
from flask_chatwoot.errors import DatabaseError

from .own_connection import LIMIT, Connect, OwnConnection, Row, quoted

DEAD_AFTER: t.Final = 2.0
"""Seconds since the last beat of a process that is dead.

More than two beats and the longest gap: a pause that the judge did not see as a gap
must not make a living process look dead."""

STEADY_AFTER: t.Final = 2.5
"""Seconds without a gap after which a process may judge others."""

_EVERY: t.Final = 0.5
"""Seconds between two beats."""

_RETRY: t.Final = 0.25
"""The same while they fail."""

_GAP: t.Final = 1.2
"""Seconds between two beats that are a gap."""

_JUMP: t.Final = 1.0
"""Seconds by which the database's clock may differ from what has passed here. More is
a gap: a clock that was set makes all beats look old."""

_FIRST: t.Final = 1.0
"""Seconds for the first beat, once the connection is there: a caller waits for it."""

_SAME: t.Final = 0.2
"""Seconds after a first beat that failed in which no other thread tries."""

CREATE: t.Final = """
CREATE TABLE IF NOT EXISTS {schema}.process (
    account_id bigint NOT NULL,
    name text NOT NULL,  -- another one for each start and fork
    beaten_at float8 NOT NULL,
    lease float8 NOT NULL,  -- seconds
    machine text NOT NULL,
    pid bigint NOT NULL,
    PRIMARY KEY (account_id, name)
) WITH (fillfactor = 20)
"""
"""Most of a page is left for the next versions of its rows, so that no beat writes to
the index."""

_WORKER: t.Final = """
    SELECT process.beaten_at + process.lease FROM {schema}.process
    WHERE process.account_id = job.account_id AND process.name = job.worker
"""

LEASED_UNTIL: t.Final = f"greatest(job.due_at, ({_WORKER}))"
"""When the lease of a claimed job ends."""

IS_KEPT: t.Final = f"""(job.claim IS NOT NULL AND EXISTS (
    {_WORKER} AND process.beaten_at + process.lease > :now
))"""
"""Whether the beats of its worker keep a job; never ``NULL``."""

IS_BEATING: t.Final = f"""EXISTS (
    {_WORKER} AND process.beaten_at > :now - {DEAD_AFTER}
)"""
"""Whether the worker of a job is known to be alive."""

NOW: t.Final = "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"
"""Unix seconds by the server's clock; not those of the transaction's beginning."""

_QUICK: t.Final = "SELECT set_config('synchronous_commit', 'off', true)"
"""A beat need not wait for the disk, nor for a standby: the next one follows soon."""

_BEAT: t.Final = f"""
WITH quick AS MATERIALIZED ({_QUICK}),
beat AS (
    UPDATE {{process}} SET beaten_at = {NOW} FROM quick
    WHERE account_id = %(account)s AND name = %(name)s
    RETURNING beaten_at
)
SELECT beat.beaten_at, other.name, other.beaten_at FROM beat
LEFT JOIN {{process}} AS other ON other.account_id = %(account)s
    AND other.name <> %(name)s
    AND abs(beat.beaten_at - other.beaten_at) > {DEAD_AFTER}
ORDER BY other.name
"""  # noqa: S608 - from constants
"""Also finds the dead. One that lives has no beat in the future either, once it has
beaten after the clock was set back."""

_ENTER: t.Final = f"""
INSERT INTO {{process}} (account_id, name, beaten_at, lease, machine, pid)
VALUES (%(account)s, %(name)s, {NOW}, %(lease)s, %(machine)s, %(pid)s)
RETURNING beaten_at
"""  # noqa: S608 - from constants

_LEAVE: t.Final = """
DELETE FROM {process} WHERE account_id = %(account)s AND name = %(name)s
"""

_BURY: t.Final = f"{_LEAVE} AND beaten_at = %(beaten_at)s"
"""Unless it has beaten since."""


class _Beat(t.NamedTuple):
    """What was known after a beat.

    :ivar at: When it began, by this machine.
    :ivar steady_since: When the beats began to have no gap.
    :ivar ahead: Seconds by which the database's clock is ahead of ``at``.
    :ivar dead: Names of other processes, and their last beats.
    :ivar set_forward_at: When it was last seen that this clock was set forward.
    """

    name: str
    at: float
    steady_since: float
    ahead: float
    dead: list[tuple[str, float]]
    set_forward_at: float = -math.inf


class Beats(Forkable):
    """:class:`~flask_chatwoot.queue.liveness.Processes` that share a PostgreSQL.

    Its thread and its connection exist from :meth:`enter` to :meth:`leave`. The table
    must be there: :data:`CREATE`. Threads share it.

    :param connect: Opens a connection, within 2 seconds or so.
    :param schema: As it is named, without quotes.
    :param lease: ``CHATWOOT_LEASE``, in seconds.
    """

    keep_leases = True

    def __init__(
        self, connect: Connect, schema: str, account_id: int, *, lease: float = 30.0
    ) -> None:
        self._process = f"{quoted(schema)}.process"
        self._account_id = account_id
        self._lease = lease
        self._connection = OwnConnection(connect)
        self._lock = threading.Lock()
        self._entered = False
        self._last: _Beat | None = None
        self._awake_at = 0.0
        self._error = ""
        self._failed_at = -_SAME
        self._thread = BackgroundThread(
            "chatwoot-beats",
            self._step,
            busy=lambda: self._entered,
            every=lambda: _EVERY if self.is_beating() else _RETRY,
        )
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The row, the connection and the thread are the parent's."""
        self._lock = threading.Lock()
        self._entered = False
        self._last = None
        self._connection.reset_in_child()

    def enter(self) -> str:
        """The name under which this process is known to be alive.

        It changes when others took the process for dead. Blocks for 3 seconds at most
        when it is called first, else not at all.

        :raises DatabaseError: No beat has arrived lately: no job may be claimed.
        """
        if not self._entered:
            with self._lock:
                if not self._entered:
                    self._begin()

        self._thread.ensure()
        last = self._last

        if last is None or not self.is_beating():
            raise DatabaseError(
                "The heartbeat of this process does not arrive, so it claims no jobs "
                f"({self._error or 'it is late'})."
            )

        return last.name

    def _begin(self) -> None:
        """Beat for the first time; other threads that wait for that share its error."""
        if _ticks() - self._failed_at < _SAME:
            raise DatabaseError(self._error)

        try:
            self._beat()
        except DatabaseError as error:
            self._error, self._failed_at = str(error), _ticks()
            raise

        self._entered = True

    def is_beating(self) -> bool:
        """Whether the last beat is so recent that nobody thinks it dead."""
        last = self._last

        return last is not None and _ticks() - last.at < DEAD_AFTER

    def is_steady(self, clock: float | None = None) -> bool:
        """Whether this process may judge others, and claim what another had claimed.

        If the database stood still or connections were cut, the others have beaten
        since.

        :param clock: What the database's clock shows; ``None``: nobody has looked. If
            it was set since the last beat, that is a gap which no beat has found yet.
        """
        last, now = self._last, _ticks()

        return (
            last is not None
            and now - last.at <= _GAP
            and now - last.steady_since >= STEADY_AFTER
            and (clock is None or abs(clock - now - last.ahead) <= _JUMP)
        )

    @property
    def set_forward_at(self) -> float:
        """When it was last seen that the database's clock was set forward; infinitely
        long ago if it was not. By a clock of this machine."""
        last = self._last

        return -math.inf if last is None else last.set_forward_at

    def since_set_forward(self, clock: float) -> float:
        """Seconds since the database's clock was set forward, as far as this is known.

        :param clock: What it shows now. If it was set since the last beat, no beat has
            found that yet.
        """
        last, now = self._last, _ticks()

        if last is not None and clock - now - last.ahead > _JUMP:
            return 0.0

        return now - self.set_forward_at

    def dead(self) -> t.Iterator[str]:
        """The names of processes that have died, of whatever machine.

        None while this process does not beat, or may not judge. The row of a process
        is deleted when the next name is asked for, unless it has beaten since. Another
        process that looks meanwhile may find the same name. Blocks only if there is
        one.

        :raises DatabaseError: A row could not be deleted.
        """
        found = self._last.dead if self._last else []

        for each in list(found):
            if not self.is_steady():
                return

            name, beaten_at = each
            yield name
            self._execute(_BURY, name=name, beaten_at=beaten_at)

            with contextlib.suppress(ValueError):  # another thread looks as well
                found.remove(each)

    def leave(self) -> None:
        """This process has no more jobs; :meth:`enter` may be called again.

        Where the row cannot be deleted, others find it and delete it. Blocks for a few
        seconds while the database does not answer.
        """
        self._entered = False

        with self._lock:
            if self._last is not None and self.is_beating():
                with contextlib.suppress(DatabaseError):
                    self._execute(_LEAVE, name=self._last.name)

            self._last = None
            self._connection.close()

    def skew(self) -> float:
        """Seconds by which the database's clock is ahead of this machine's.

        Below zero: behind. It is exact to half the time of one query, and blocks for
        that.

        :raises DatabaseError: The database cannot be asked.
        """
        before = time.time()
        ((now,),) = self._connection.execute(f"SELECT {NOW}")
        after = time.time()

        with self._lock:
            if not self._entered:
                self._connection.close()

        return _number(now) - (before + after) / 2

    def _step(self) -> None:
        with self._lock:
            if not self._entered:
                return

            try:
                self._beat()
            except DatabaseError as error:
                self._error = str(error)

    def _beat(self) -> None:
        """Beat, or enter under a new name if this process is taken for dead."""
        self._notice_pause()
        began, last = _ticks(), self._last
        rows = [] if last is None else self._execute(_BEAT, name=last.name)

        if last is not None and rows:
            self._last = _next(last, began, rows)
        else:
            self._enter(last)

        self._error = ""
        self._notice_pause()

    def _enter(self, last: _Beat | None) -> None:
        """Enter under a new name.

        :param last: What was known under the one before.
        """
        began, name = _ticks(), uuid.uuid4().hex
        own = {"lease": self._lease, "machine": platform.node(), "pid": os.getpid()}
        ((beaten_at,),) = self._execute(_ENTER, _FIRST, name=name, **own)
        at = _number(beaten_at)
        self._last = _Beat(
            name,
            began,
            _ticks(),
            at - began,
            [],
            -math.inf if last is None else _set_forward_at(last, at),
        )

    def _notice_pause(self) -> None:
        """Forget the name if a whole lease has passed here since the last call.

        Then this process was frozen, and not the database, since the thread comes here
        every few seconds. What it knows of its turns is as old.
        """
        before, self._awake_at = self._awake_at, _ticks()

        if self._awake_at - before > self._lease:
            self._last = None

    def _execute(self, sql: str, limit: float = LIMIT, **values: t.Any) -> list[Row]:
        return self._connection.execute(
            sql.format(process=self._process),
            {"account": self._account_id, **values},
            limit=limit,
        )


def _next(last: _Beat, began: float, rows: list[Row]) -> _Beat:
    """What is known after a further beat."""
    ended, beaten_at = _ticks(), _number(rows[0][0])
    ahead = beaten_at - began
    is_gap = ended - last.at > _GAP or abs(ahead - last.ahead) > _JUMP
    dead = [(name, _number(last_beat)) for _, name, last_beat in rows if name]

    return _Beat(
        last.name,
        began,
        ended if is_gap else last.steady_since,
        ahead,
        dead,
        _set_forward_at(last, beaten_at),
    )


def _set_forward_at(last: _Beat, beaten_at: float) -> float:
    """When it was last seen that the database's clock was set forward.

    No beat that took long, on its way there or back, looks like that.
    """
    now = _ticks()

    return now if beaten_at - now - last.ahead > _JUMP else last.set_forward_at


def _number(text: str | None) -> float:
    return float(text or "nan")


_CLOCK: t.Final[int | None] = getattr(time, "CLOCK_BOOTTIME", None)


def _ticks() -> float:
    """Seconds that go on while this process is frozen or its machine sleeps."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
