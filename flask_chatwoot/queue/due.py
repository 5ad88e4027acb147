"""Looks for the jobs that are due.

In PostgreSQL, rows that were changed stay where they were as long as a transaction may
still read them, and a backup may take hours. All of them would be passed over by each
claim, since what is due is looked for from the oldest on. So a claim begins where the
last one has found a job; from the beginning only if it finds nothing there, and once a
second. A job that is made due with a time in the past waits for that long at most.
"""

import time
import typing as t

from .database import Database, Transaction
from .schema import LONGEST_PAUSE

JOB: t.Final = """
SELECT id, conversation_id, message_id, kind, payload, received_at, attempts, handoff,
    failure, reason, found_after, late, provider_attempts, last_attempt, due_at
FROM job WHERE account_id = :account
"""
"""The columns of a job that is claimed."""

_DUE: t.Final = f"""
{JOB} AND due_at >= :floor AND due_at <= :now ORDER BY due_at, id
"""

_FAR: t.Final = f"{JOB} AND due_at > :now + {LONGEST_PAUSE}"
"""Stored by a clock that was wrong."""

_DUE_OF: t.Final = f"""
{JOB} AND conversation_id = :conversation AND finished_at IS NULL
AND (due_at <= :now OR due_at > :now + {LONGEST_PAUSE}) ORDER BY id
"""
"""The first of one line, if it is due."""

_IS_DUE: t.Final = f"""
SELECT
    EXISTS (
        SELECT 1 FROM job
        WHERE account_id = :account AND due_at >= :floor AND due_at <= :now
    )
    OR EXISTS (
        SELECT 1 FROM job
        WHERE account_id = :account AND due_at > :now + {LONGEST_PAUSE}
    )
"""  # noqa: S608 - from constants

_ticks: t.Final = time.monotonic

Row = t.Sequence[t.Any]
"""The columns of :data:`JOB`."""


class Due:
    """The due jobs of one account. Threads share it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._floor = 0.0
        self._until = 0.0

    def is_any(self, tx: Transaction) -> bool:
        """Whether a job is due, which a worker may have all the same."""
        values = {"account": self._database.account_id, "now": tx.now}

        return any(
            tx.execute(_IS_DUE, values | {"floor": floor}).fetchone()[0]
            for floor in self._floors()
        )

    def first(self, tx: Transaction, conversation_id: int | None) -> Row | None:
        """The oldest one that no other transaction has, locked for this one.

        :param conversation_id: Only of this one; ``None``: of any.
        """
        values = {"account": self._database.account_id, "now": tx.now}

        if conversation_id is not None:
            of = {**values, "conversation": conversation_id}

            return t.cast(Row | None, tx.first_free(_DUE_OF, of))

        for floor in self._floors():
            if row := tx.first_free(_DUE, values | {"floor": floor}):
                self._keep_floor(floor, row[-1])

                return t.cast(Row, row)

        return t.cast(Row | None, tx.first_free(_FAR, values))

    def _floors(self) -> t.Iterator[float]:
        """Where to begin, one after the other: Unix seconds."""
        if self._floor and _ticks() < self._until:
            yield self._floor

        yield 0.0

    def _keep_floor(self, floor: float, found: float) -> None:
        if not floor:
            self._until = _ticks() + self._database.floor_for

        self._floor = found
