"""Leases that a process keeps by being alive, and jobs that are not run any more.

Where beats keep a lease, nothing else ends that of a turn that was abandoned, or of a
claim whose commit had no answer. The process itself finds such jobs.
"""

import functools
import typing as t

from .database import Database, Transaction, Values, execute

_END_LEASES: t.Final = """
UPDATE job SET due_at = :now WHERE account_id = :account AND due_at > :now
AND claim IS NOT NULL AND worker = :worker
"""

_FORGET: t.Final = """
DELETE FROM worker WHERE account_id = :account AND name = :worker
"""

_CLAIMED_HERE: t.Final = """
SELECT id, claim FROM job WHERE account_id = :account AND due_at <= :now
AND claim IS NOT NULL AND worker = :worker
"""
"""Those alone that were claimed a lease ago: no claim that is being made."""

_LET_GO: t.Final = "UPDATE job SET worker = NULL WHERE id = :job AND claim = :claim"


def end_of_dead(database: Database) -> int:
    """End the leases of processes that have died; return their number.

    :raises DatabaseError: The database cannot be read or written.
    """
    ended = 0

    for worker in database.processes.dead():
        values = {"account": database.account_id, "worker": worker}
        ended += database.write(functools.partial(_end_leases, values))

    return ended


def _end_leases(values: Values, tx: Transaction, _: bool) -> int:
    ended = tx.execute(_END_LEASES, {**values, "now": tx.now}).rowcount
    tx.execute(_FORGET, values)

    return ended


def let_go(database: Database, running: t.Collection[str]) -> int:
    """End the leases of what this process claimed and does not run.

    As where leases are renewed, such a job is due one lease after it was claimed.

    :param running: The claims of the turns that it runs.
    :return: The number of jobs.
    :raises DatabaseError: The database cannot be read or written.
    """
    if not database.processes.keep_leases:
        return 0

    worker = database.processes.enter()

    with database.read() as tx:
        values = {"account": database.account_id, "worker": worker, "now": tx.now}
        rows = tx.execute(_CLAIMED_HERE, values).fetchall()

    left = [(job, claim) for job, claim in rows if claim not in running]

    for job, claim in left:
        execute(database, _LET_GO, {"job": job, "claim": claim})

    return len(left)
