"""What catch-up knows: when the database began, and what was read in Chatwoot.

One row for each account. A process sweeps after it has claimed the row; no other does
meanwhile. The states of the row:

=========  =========================================================================
unproven   no verified delivery was accepted by this very database: nothing is read
waiting    the next sweep is due at ``due_at``
claimed    a process sweeps; its claim ends by itself, if the process is killed
stopped    another instance answers in this account (``foreign_id``): nothing is read
=========  =========================================================================

In a database without a secret in the settings, a verified delivery is one that passed
whatever the settings require.
"""

import contextlib
import functools
import hashlib
import math
import os
import secrets
import socket
import typing as t
from pathlib import Path

from .database import Database, Transaction, Values, execute

LONGEST_INTERVAL: t.Final = 900.0
"""Seconds between two sweeps at most, however often they failed."""

FURTHEST: t.Final = 3600.0
"""Seconds. A sweep that is due later was planned before the clock was set back; no
``Retry-After`` is longer."""

DELAY: t.Final = 15.0
"""Seconds that a delivery may take. The first one often starts the database, and its
message was written before that."""

_LOAD: t.Final = """
SELECT began_at, began_with, verified_by, settled, running_since, newest_id, foreign_id,
    swept_at, due_at, claim, claimed_until, failures, error, by_inbox_until
FROM sweep WHERE account_id = :account
"""

_BEGIN: t.Final = """
INSERT INTO sweep (account_id, began_at, running_since, due_at)
VALUES (:account, :now, :now, :now) ON CONFLICT (account_id) DO NOTHING
"""

_VERIFIED: t.Final = """
UPDATE sweep SET verified_by = :identity, began_with = CASE
    WHEN began_with = 0 AND :written >= began_at - :delay THEN :message ELSE began_with
END
WHERE account_id = :account
"""

_CLAIM: t.Final = """
UPDATE sweep SET claim = :claim, claimed_until = :until, settled = :settled,
    running_since = :running
WHERE account_id = :account
"""

_RENEW: t.Final = """
UPDATE sweep SET claimed_until = :now + :hold
WHERE account_id = :account AND claim = :claim
"""

_SWEPT: t.Final = """
UPDATE sweep SET claim = NULL, settled = TRUE, swept_at = :swept, due_at = :due,
    failures = 0, error = NULL,
    newest_id = CASE WHEN newest_id < :newest THEN :newest ELSE newest_id END,
    began_with = CASE WHEN began_at < :began THEN 0 ELSE began_with END,
    began_at = CASE WHEN began_at < :began THEN :began ELSE began_at END
WHERE account_id = :account AND claim = :claim
"""

_FAILED: t.Final = """
UPDATE sweep SET claim = NULL, due_at = :due, failures = :failures, error = :error,
    by_inbox_until = :by_inbox
WHERE account_id = :account AND claim = :claim
"""

_STOP: t.Final = """
UPDATE sweep SET foreign_id = :message, claim = NULL WHERE account_id = :account
"""

_NOTE: t.Final = """
INSERT INTO reading (account_id, conversation_id, message_id, updated_at, read_at)
VALUES (:account, :conversation, :message, :updated, :now)
ON CONFLICT (account_id, conversation_id) DO UPDATE SET
    message_id = excluded.message_id, updated_at = excluded.updated_at,
    read_at = excluded.read_at
"""


class SweepState(t.NamedTuple):
    """The row of an account. Times are Unix seconds of this machine.

    :ivar began_at: When this database began; what was written before is not answered.
    :ivar began_with: Id of the first message that was written and delivered after that;
        0 if none was. All later messages count, whatever the clocks say.
    :ivar verified_by: The database that accepted a verified delivery; ``None`` if none
        did yet. A copy of a database has another identity.
    :ivar settled: A whole sweep was made since the last time when no process ran.
    :ivar running_since: When the first process started after that time.
    :ivar newest_id: The newest message that a whole sweep has seen.
    :ivar foreign_id: A post that another instance made; ``None`` if none was seen.
    :ivar swept_at: When the last whole sweep began; ``None`` if there was none.
    :ivar due_at: When the next one is due.
    :ivar failures: Sweeps that failed in a row, none of which read a conversation but
        the first.
    :ivar error: Why the last one failed; without any text of a message.
    :ivar by_inbox_until: Until then each Chatwoot inbox is asked for by itself.
    """

    began_at: float
    began_with: int
    verified_by: str | None
    settled: bool
    running_since: float
    newest_id: int
    foreign_id: int | None
    swept_at: float | None
    due_at: float
    claim: str | None
    claimed_until: float
    failures: int
    error: str | None
    by_inbox_until: float


class Reading(t.NamedTuple):
    """What was read of a conversation.

    :ivar message_id: All messages up to this one are dealt with; 0 if none is.
    :ivar updated_at: Chatwoot's time of the state that was read; 0 if messages of it
        must be looked at again.
    """

    message_id: int = 0
    updated_at: float = 0.0


class Sweeps:
    """The sweeps of one Chatwoot account. Threads share it.

    :ivar counts_from: A delivery of a message that was written before need not be given
        to :meth:`delivered`, Unix seconds; unless it is of another inbox than
        ``inboxes_seen``.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self.inboxes_seen: set[int | None] = {None}
        self.counts_from = 0.0

    def _forget(self) -> None:
        """Read again what is known; the file may have been replaced by another."""
        self.counts_from = 0.0
        self.inboxes_seen = {None}

    # -- the beginning -----------------------------------------------------------

    def begin(self) -> None:
        """Record when this database began, unless that is known."""
        if self.state() is None:
            self._write(_BEGIN, durable=True)

    def delivered(
        self, message_id: int, written_at: float, inbox_id: int | None
    ) -> None:
        """Record that a verified delivery of this account was accepted.

        Costs nothing once these facts are known.

        :param message_id: 0 for what is not about a message.
        :param written_at: Unix seconds; 0: unknown.
        :param inbox_id: The Chatwoot inbox; ``None``: unknown.
        """
        if inbox_id is not None and inbox_id not in self.inboxes_seen:
            self._add_inbox(inbox_id)

        known = self.state()

        if known is not None and self.is_proven(known):
            self.counts_from = _counts_from(known)

            if written_at < self.counts_from:
                return

        values = self._names() | {
            "identity": self._database.identity(),
            "message": message_id,
            "written": written_at,
            "delay": DELAY,
        }

        def verify(tx: Transaction, _: bool) -> SweepState:
            tx.execute(_BEGIN, values | {"now": tx.now})
            tx.execute(_VERIFIED, values)

            return t.cast(SweepState, self._state(tx))

        state = self._database.write(verify, durable=True, conversation_id=0)
        self.counts_from = _counts_from(state)

    def _add_inbox(self, inbox_id: int) -> None:
        self.inboxes_seen.update(self.inboxes())

        if inbox_id not in self.inboxes_seen:
            self._write(
                "INSERT INTO inbox (account_id, inbox_id)"
                " VALUES (:account, :inbox) ON CONFLICT DO NOTHING",
                {"inbox": inbox_id},
                durable=True,
            )
            self.inboxes_seen.add(inbox_id)

    def inboxes(self) -> list[int]:
        """The Chatwoot inboxes whose deliveries this database gets.

        An agent bot is linked to some inboxes only, and must not answer in others.
        """
        with self._database.read() as tx:
            rows = tx.execute(
                "SELECT inbox_id FROM inbox WHERE account_id = :account"
                " ORDER BY inbox_id",
                self._names(),
            )

            return [inbox_id for (inbox_id,) in rows]

    def is_proven(self, state: SweepState | None) -> bool:
        """Whether this very database has accepted a verified delivery."""
        identity = self._database.identity()

        return state is not None and state.verified_by == identity != ""

    def begin_again(self, at: float) -> None:
        """Treat what was written before a time as from before the beginning.

        :param at: Unix seconds.
        """
        self._write(
            "UPDATE sweep SET began_at = :at, began_with = 0, settled = FALSE,"
            " running_since = :now WHERE account_id = :account AND began_at < :at",
            {"at": at},
        )
        self._forget()

    # -- the row -----------------------------------------------------------------

    def state(self) -> SweepState | None:
        """The row; ``None`` before the beginning."""
        with self._database.read() as tx:
            return self._state(tx)

    def claim(
        self, *, interval: float, started_at: float, hold: float, now: bool = False
    ) -> tuple[str, SweepState] | None:
        """Claim the row, if a sweep is due; ``None`` if not.

        :param interval: Seconds between two sweeps.
        :param started_at: Unix seconds. A sweep is due that began before this process.
        :param hold: Seconds until the claim ends, unless it is renewed.
        :param now: Sweep although none is due.
        :return: A token, and the row with that claim.
        """
        with self._database.read() as seen:  # most looks find nothing due
            if not self._may_claim(self._state(seen), seen.now, started_at, now=now):
                return None

        token = new_token()

        def claim(tx: Transaction, again: bool) -> tuple[str, SweepState] | None:
            state = self._state(tx)

            if again and state is not None and state.claim == token:
                return token, state

            if state is None or not self._may_claim(state, tx.now, started_at, now=now):
                return None

            state = _started(state, tx.now, interval)
            values = {"claim": token, "until": tx.now + hold}
            values |= {"settled": state.settled, "running": state.running_since}
            tx.execute(_CLAIM, self._names() | values)

            return token, state

        return self._database.write(claim, conversation_id=0)

    def _may_claim(
        self, state: SweepState | None, at: float, started_at: float, *, now: bool
    ) -> bool:
        if state is None or not self.is_proven(state):
            self._forget()
            return False

        if state.foreign_id:
            return False

        due = now or is_due(state, at, started_at=started_at)

        return due and not is_claimed(state, at)

    def renew(self, token: str, hold: float) -> bool:
        """Hold the claim for some more seconds; ``False`` if it was lost."""
        return self._write(_RENEW, {"claim": token, "hold": hold}) == 1

    def swept(
        self, token: str, *, began: float, interval: float, newest_id: int, floor: float
    ) -> None:
        """Record a whole sweep, and plan the next.

        :param began: When it began, Unix seconds.
        :param newest_id: The newest message it has seen; 0 if none.
        :param floor: What was written before counts as from before the beginning, Unix
            seconds; 0: nothing changes.
        """
        values = {"claim": token, "swept": began, "due": began + interval}
        self._write(_SWEPT, values | {"newest": newest_id, "began": floor})

    def release(self, token: str) -> None:
        """Give the claim back; the sweep is still due."""
        self._write(
            "UPDATE sweep SET claim = NULL"
            " WHERE account_id = :account AND claim = :claim",
            {"claim": token},
        )

    def ask_by_inbox(self, until: float) -> None:
        """Ask for each inbox by itself until a time, Unix seconds."""
        self._write(
            "UPDATE sweep SET by_inbox_until = :until WHERE account_id = :account",
            {"until": until},
        )

    def failed(
        self, token: str, error: str, *, failures: int, due: float, by_inbox: float
    ) -> None:
        """Record a sweep that could not be finished.

        :param failures: See :attr:`SweepState.failures`; at least 1.
        :param due: When it is tried again, Unix seconds.
        :param by_inbox: See :attr:`SweepState.by_inbox_until`.
        """
        times = {"due": due, "by_inbox": by_inbox}
        values = {"claim": token, "error": error, "failures": failures}
        self._write(_FAILED, values | times)

    def stop(self, message_id: int) -> bool:
        """Stop for good: another instance made this post. ``False`` if it was known."""
        names = self._names() | {"message": message_id}

        def stop(tx: Transaction, again: bool) -> bool:
            state = self._state(tx)

            if state is None or state.foreign_id is not None:
                return again and state is not None and state.foreign_id == message_id

            tx.execute(_STOP, names)

            return True

        return self._database.write(stop, durable=True, conversation_id=0)

    def resume(self) -> None:
        """Go on after :meth:`stop`. Posts so far no longer count."""
        self._write(
            "UPDATE sweep SET foreign_id = NULL, settled = FALSE,"
            " running_since = :now, due_at = :now WHERE account_id = :account"
        )

    # -- conversations -----------------------------------------------------------

    def reading(self, conversation_id: int) -> Reading:
        """What was read of a conversation."""
        with self._database.read() as tx:
            row = tx.execute(
                "SELECT message_id, updated_at FROM reading"
                " WHERE account_id = :account AND conversation_id = :conversation",
                self._names() | {"conversation": conversation_id},
            ).fetchone()

        return Reading() if row is None else Reading(*row)

    def note(self, conversation_id: int, reading: Reading) -> None:
        """Record what was read of a conversation."""
        message, updated = reading
        values = {"conversation": conversation_id, "message": message}
        self._write(_NOTE, values | {"updated": updated})

    def prune(self, older_than: float) -> None:
        """Forget conversations that were read this many seconds ago."""
        self._write(
            "DELETE FROM reading WHERE account_id = :account AND read_at < :now - :age",
            {"age": older_than},
        )

    def _write(
        self, sql: str, values: Values | None = None, *, durable: bool = False
    ) -> int:
        names = {**self._names(), **(values or {})}

        return execute(self._database, sql, names, durable=durable, conversation_id=0)

    def _state(self, tx: Transaction) -> SweepState | None:
        row = tx.execute(_LOAD, self._names()).fetchone()

        if row is None:
            return None

        state = SweepState(*row)

        return state._replace(settled=bool(state.settled))

    def _names(self) -> dict[str, t.Any]:
        return {"account": self._database.account_id}


def is_due(state: SweepState, now: float, *, started_at: float) -> bool:
    """Whether a sweep is due: by its time, or because a process has started since.

    After a failure the pause counts in any case.
    """
    if state.due_at <= now or state.due_at > now + FURTHEST:
        return True

    return not state.failures and (state.swept_at or 0.0) < started_at


def _counts_from(state: SweepState) -> float:
    """Since when a delivered message may tell more about the beginning."""
    return math.inf if state.began_with else state.began_at - DELAY


def new_token() -> str:
    """A token for a claim, which names the process."""
    return f"{_machine()}:{os.getpid()}:{secrets.token_hex(8)}"


@functools.cache
def _machine() -> str:
    """Where the numbers of processes are unique. Names of machines are not."""
    parts = [socket.gethostname()]

    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii"))
        parts.append(os.readlink("/proc/self/ns/pid"))  # of a container

    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16]


def is_claimed(state: SweepState, now: float) -> bool:
    """Whether a process has the claim, as far as is known."""
    if state.claim is None or _was_killed(state.claim):
        return False

    return now < state.claimed_until <= now + FURTHEST


def _was_killed(token: str) -> bool:
    """Whether the process of a claim was one of this machine, and is gone."""
    machine, _, pid = token.rpartition(":")[0].rpartition(":")

    if machine != _machine() or os.name != "posix":
        return False

    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (ValueError, OSError):
        return False

    return False


def _started(state: SweepState, now: float, interval: float) -> SweepState:
    """The state after a time without any process, if there was one.

    A sweep is then overdue by more than one that others delay.
    """
    if state.settled and now > state.due_at + max(interval, 60.0):
        return state._replace(settled=False, running_since=now)

    return state
