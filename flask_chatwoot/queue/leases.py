"""Leases that a process keeps by being alive, and jobs that it does not run any more.

Where beats keep a lease, nothing else ends that of a turn that was abandoned, or of a
claim whose commit had no answer. The process itself finds such jobs.
"""

import typing as t

from .database import Database, execute

_CLAIMED_HERE: t.Final = """
SELECT id, claim FROM job WHERE account_id = :account AND due_at <= :now
AND claim IS NOT NULL AND worker = :worker
"""
"""Those alone that were claimed a lease ago: no claim that is being made."""

_LET_GO: t.Final = "UPDATE job SET worker = NULL WHERE id = :job AND claim = :claim"


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
