"""Changes of messages that are not answered yet.

A customer may edit or delete a message while its job waits, or while a worker has it.
The change is kept as a further follow-up of the job, with the id of the message. What
was going to be posted is deleted, unless a request for a part of it may have gone out:
one message gets one reply. A worker that has the job finds out when it keeps or posts
an answer.
"""

import typing as t

from .claimed import Job
from .database import Database, Transaction
from .outbox import is_changed

_JOBS: t.Final = """
SELECT id, payload FROM job WHERE account_id = :account
AND conversation_id = :conversation AND kind = 'message'
AND (finished_at IS NULL OR outcome = 'dead')
AND (message_id = :message OR EXISTS (
    SELECT 1 FROM follow_up WHERE job_id = job.id AND message_id = :message
))
"""

_LAST: t.Final = """
SELECT said FROM follow_up WHERE job_id = :job AND message_id = :message
ORDER BY id DESC LIMIT 1
"""

_MAKE_ROOM: t.Final = """
UPDATE follow_up SET payload = NULL
WHERE job_id = :job AND payload IS NOT NULL AND :payload IS NOT NULL
"""

_ADD: t.Final = """
INSERT INTO follow_up (job_id, message_id, said, payload, received_at)
VALUES (:job, :message, :said, :payload, :now)
"""

_SENT: t.Final = """
SELECT 1 FROM draft WHERE job_id = :job AND NOT about_failure AND sent_at IS NOT NULL
"""

_TAKE_BACK: t.Final = (
    f"""
    UPDATE job SET handoff = NULL
    WHERE id = :job AND failure IS NULL AND NOT EXISTS ({_SENT})
    """,  # noqa: S608 - from constants
    f"""
    DELETE FROM draft WHERE job_id = :job AND NOT about_failure
    AND NOT EXISTS ({_SENT})
    """,  # noqa: S608 - from constants
)

IsKnown = t.Callable[[str | None, bytes], bool]
"""Whether a message is like that already: as it was kept last, ``None`` if it is as in
the payload of its job."""


class Revisions:
    """The changes of one Chatwoot account. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self,
        conversation_id: int,
        message_id: int,
        said: str,
        *,
        is_known: IsKnown,
        payload: bytes | None = None,
    ) -> bool:
        """Keep a change of a message that is not answered yet.

        :param said: What the message is from now on; see :class:`.FollowUp`.
        :param payload: The body of the delivery that told of it.
        :return: ``False`` if there is no such message, or it is like that already.
        """
        values = {
            "account": self._database.account_id,
            "conversation": conversation_id,
            "message": message_id,
            "said": said,
            "payload": payload,
        }

        # Chatwoot reports many changes, nearly all of messages that are answered.
        with self._database.read() as tx:
            if tx.execute(_JOBS, values).fetchone() is None:
                return False

        with self._database.transaction(durable=True) as tx:
            values["now"] = tx.now
            jobs = tx.execute(_JOBS, values).fetchall()
            added = [_revise(tx, values, job, is_known) for job in jobs]

        return any(added)

    def are_new(self, job: Job) -> bool:
        """Whether a message of a job was changed since it was claimed."""
        with self._database.read() as tx:
            return is_changed(tx, job)


def _revise(
    tx: Transaction,
    values: t.Mapping[str, t.Any],
    job: tuple[int, bytes],
    is_known: IsKnown,
) -> bool:
    row = {**values, "job": job[0]}
    last = tx.execute(_LAST, row).fetchone()

    if is_known(last and last[0], job[1]):
        return False

    tx.execute(_MAKE_ROOM, row)
    tx.execute(_ADD, row)

    for statement in _TAKE_BACK:
        tx.execute(statement, row)

    return True
