"""Which conversations were woken, and who sweeps, where workers wait to be woken.

A wake is a hint that a conversation has a job that is due, and may be lost: the jobs
alone are the truth. A sweep wakes what is due. One process sweeps at a time: it claims
a row, and its claim ends by itself, if the process is killed.
"""

import secrets
import typing as t

from .database import Database, Transaction, execute
from .schema import LEASED, LONGEST_PAUSE

AGAIN: t.Final = 30.0
"""Seconds after which a conversation is woken again, whose job nobody has claimed."""

_HOLD: t.Final = 10.0
"""Seconds that a sweep may take, until another process may begin one."""

CREATE: t.Final = (
    """CREATE TABLE woken (
        account_id INTEGER NOT NULL,
        conversation_id INTEGER NOT NULL,
        due_at REAL NOT NULL,  -- of the job that it was woken for
        woken_at REAL NOT NULL,
        PRIMARY KEY (account_id, conversation_id)
    ) WITHOUT ROWID""",
    """CREATE TABLE waking (
        account_id INTEGER PRIMARY KEY,
        swept_at REAL,  -- end of the last sweep
        claim TEXT,
        claimed_until REAL NOT NULL DEFAULT 0
    )""",
)
"""Only where machines share a database."""

_IS_DUE: t.Final = f"""
job.account_id = :account AND NOT ({LEASED})
AND (job.due_at <= :now OR job.due_at > :now + {LONGEST_PAUSE})
"""

_WAKE: t.Final = f"""
INSERT INTO woken (account_id, conversation_id, due_at, woken_at)
SELECT :account, conversation_id, min(due_at), :now FROM job
WHERE {_IS_DUE} AND NOT EXISTS (
    SELECT 1 FROM woken WHERE woken.account_id = :account
    AND woken.conversation_id = job.conversation_id AND woken.due_at = job.due_at
    AND woken.woken_at > :now - {AGAIN} AND woken.woken_at <= :now
)
GROUP BY conversation_id ORDER BY min(due_at) LIMIT :limit
ON CONFLICT (account_id, conversation_id)
DO UPDATE SET due_at = excluded.due_at, woken_at = excluded.woken_at
RETURNING conversation_id
"""  # noqa: S608 - from constants
"""Each claim, and each end of one, changes ``due_at``: then it was not woken yet."""

_FORGET: t.Final = f"""
DELETE FROM woken WHERE account_id = :account
AND (woken_at <= :now - {AGAIN} OR woken_at > :now)
"""  # noqa: S608 - from constants

_BEGIN: t.Final = """
INSERT INTO waking (account_id) VALUES (:account) ON CONFLICT (account_id) DO NOTHING
"""

_CLAIM: t.Final = f"""
UPDATE waking SET claim = :claim, claimed_until = :now + {_HOLD}
WHERE account_id = :account
AND (claimed_until <= :now OR claimed_until > :now + {_HOLD})
"""  # noqa: S608 - from constants

_CLAIMED: t.Final = """
SELECT 1 FROM waking WHERE account_id = :account AND claim = :claim
"""

_SWEPT: t.Final = """
UPDATE waking SET swept_at = :now, claim = NULL, claimed_until = 0
WHERE account_id = :account AND claim = :claim
"""

_PAUSE: t.Final = f"""
SELECT due_at - :now FROM job WHERE job.account_id = :account
AND job.conversation_id = :conversation AND job.finished_at IS NULL
AND job.due_at IS NOT NULL AND NOT ({LEASED})
"""  # noqa: S608 - from constants

_OVERDUE: t.Final = f"""
SELECT :now - min(due_at) FROM job WHERE {_IS_DUE} AND job.due_at <= :now
"""  # noqa: S608 - from constants


class Wakes:
    """The wakes of one Chatwoot account. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self) -> str | None:
        """Claim the sweep: a token, or ``None`` while another process sweeps."""
        values = self._names() | {"claim": secrets.token_hex(16)}

        def claim(tx: Transaction, again: bool) -> bool:
            if again and tx.execute(_CLAIMED, values).fetchone():
                return True

            tx.execute(_BEGIN, values)

            return tx.execute(_CLAIM, values | {"now": tx.now}).rowcount == 1

        claimed = self._database.write(claim, conversation_id=0)

        return str(values["claim"]) if claimed else None

    def swept(self, claim: str) -> None:
        """Record the end of a sweep, unless the claim was lost."""
        names = self._names() | {"claim": claim}
        execute(self._database, _SWEPT, names, conversation_id=0)

    def age(self) -> float | None:
        """Seconds since the last sweep has ended; ``None`` if there was none."""
        with self._database.read() as tx:
            row = tx.execute(
                "SELECT :now - swept_at FROM waking WHERE account_id = :account",
                self._names() | {"now": tx.now},
            ).fetchone()

        return None if row is None or row[0] is None else max(0.0, row[0])

    def take_due(self, at_most: int) -> list[int]:
        """Conversations to wake now; they count as woken.

        Of many, those that have been due longest.
        """
        found: list[int] = []

        def take(tx: Transaction, again: bool) -> list[int]:
            values = self._names() | {"now": tx.now, "limit": at_most}
            tx.execute(_FORGET, values)
            # What a commit without an answer has taken is woken once more at most.
            found.extend(id for (id,) in tx.execute(_WAKE, values).fetchall())

            return [*dict.fromkeys(found)]

        return self._database.write(take, conversation_id=0)

    def pause_of(self, conversation_id: int) -> float | None:
        """Seconds until a conversation has a job that is due; ``None``: unknown.

        Zero or less if it has one now. Unknown while a worker has the job.
        """
        values = self._names() | {"conversation": conversation_id}

        with self._database.read() as tx:
            row = tx.execute(_PAUSE, values | {"now": tx.now}).fetchone()

        if row is None:
            return None

        return 0.0 if row[0] > LONGEST_PAUSE else float(row[0])

    def overdue(self) -> float:
        """Seconds for which the oldest job has been due that no worker has."""
        with self._database.read() as tx:
            row = tx.execute(_OVERDUE, self._names() | {"now": tx.now}).fetchone()

        return float(row[0] or 0.0)

    def _names(self) -> dict[str, t.Any]:
        return {"account": self._database.account_id}
