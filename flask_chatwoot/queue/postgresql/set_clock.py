"""Notice that the clock of the server was set, and adapt what it had stored.

Pauses, windows and leases end at times by that clock, and would last longer by as much
as it was set back. A server that takes over may have such a clock, too.

A clock that is set forward ends pauses early, which does no harm. The settle time of a
post alone must not end early, or the post might be made twice. Each process notices
with its beats that the clock was set forward, and tells those that start later: the
settle times of all posts begin again.
"""

from __future__ import annotations

import typing as t

from flask_chatwoot.logs import logger
from flask_chatwoot.queue.database import Database, Transaction, execute
from flask_chatwoot.queue.schema import ADAPT_TIMES

from .beats import NOW

_TOLERANCE: t.Final = 1.0
"""Seconds by which a stored time may be in the future."""

_AHEAD: t.Final = f"""
SELECT {NOW} - greatest(
    (SELECT max(seen_at) FROM worker),
    (SELECT received_at FROM job ORDER BY id DESC LIMIT 1)
)
"""  # noqa: S608 - from constants
"""Seconds by which the clock is ahead of the latest time of those that are never in the
future; ``NULL`` if there is none. Each process with workers stores one every ten
seconds. The clock is read with the rows: a transaction may have begun long before, in a
process that was frozen, and others have stored later times since."""

_ADAPT: t.Final = (
    # A lease goes on with the beats of its worker, if that is alive.
    "UPDATE job SET due_at = due_at + :by WHERE due_at > :now",
    *ADAPT_TIMES[1:],
    # What is looked at must be in the past then, or times were adapted once more.
    "UPDATE worker SET seen_at = :now WHERE seen_at > :now",
    """UPDATE job SET received_at = :now
        WHERE id = (SELECT max(id) FROM job) AND received_at > :now""",
)

_SETTLE_AGAIN: t.Final = """
UPDATE draft SET unconfirmed_at = :now WHERE sent_at IS NOT NULL AND message_id IS NULL
AND job_id IN (
    SELECT id FROM job WHERE account_id = :account AND finished_at IS NULL
)
"""

log = logger(__name__)


def adapt(database: Database) -> None:
    """Adapt the times of jobs, drafts and sweeps, if the clock was set back.

    A pause then lasts ten seconds longer at most. Processes may look at once.

    :raises DatabaseError: The database cannot be read or written.
    """
    with database.read() as seen:
        if not back_by(seen):
            return

    with database.transaction(conversation_id=0) as tx:
        if by := back_by(tx):
            for statement in _ADAPT:
                tx.execute(statement, {"now": tx.now, "by": by})

    if by:
        log.warning(
            "The clock of the database's server was set back by %.0f s. What waits for "
            "a time waits as long as before.",
            -by,
        )


def settle_again(database: Database) -> None:
    """Let the settle times of all posts begin again, as the clock was set forward.

    :raises DatabaseError: The database cannot be written.
    """
    execute(database, _SETTLE_AGAIN, {"account": database.account_id})
    log.warning(
        "The clock of the database's server was set forward. A post without an answer "
        "is not made again before its settle time, from now on."
    )


def back_by(tx: Transaction) -> float:
    """Seconds by which the clock is ahead of what was stored, below zero; or zero."""
    (ahead,) = tx.execute(_AHEAD).fetchone()

    return ahead if ahead is not None and ahead < -_TOLERANCE else 0.0
