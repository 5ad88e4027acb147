"""Changes of messages that are not answered yet.

A customer may edit or delete a message while its job waits, or while a worker has it.
The change is kept as a further follow-up of the job, with the id of the message. What
was going to be posted is deleted, unless a request for a part of it may have gone out:
one message gets one reply. A worker that has the job finds out when it keeps or posts
an answer.

A change may also come before its message: Chatwoot repeats a delivery to a bot that
failed, as it was (``app/jobs/agent_bots/webhook_job.rb``). It is kept for an hour.
"""

import typing as t

from . import line
from .claimed import Job
from .database import Database, Transaction, execute
from .outbox import is_changed, take_back

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

_KEEP: t.Final = """
INSERT INTO early_change (
    account_id, conversation_id, message_id, said, payload, received_at
) VALUES (:account, :conversation, :message, :said, :payload, :now)
ON CONFLICT (account_id, conversation_id, message_id) DO UPDATE SET
    said = excluded.said, payload = excluded.payload, received_at = excluded.received_at
"""

_PRUNE: t.Final = """
DELETE FROM early_change WHERE account_id = :account AND received_at < :now - 3600.0
"""

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
        key: str | None = None,
    ) -> bool:
        """Keep a change of a message that is not answered yet.

        :param said: What the message is from now on; see :class:`.FollowUp`.
        :param payload: The body of the delivery that told of it.
        :param key: That of the message's own delivery, which may come later.
        :return: ``False`` if there is no such message, or it is like that already.
        """
        values = {
            "account": self._database.account_id,
            "conversation": conversation_id,
            "message": message_id,
            "said": said,
            "payload": payload,
            "key": key,
        }

        # Chatwoot reports many changes, nearly all of messages that are answered.
        with self._database.read() as tx:
            if tx.execute(_JOBS, values).fetchone() is None and _came(tx, values):
                return False

        added: list[bool] = []

        def add(tx: Transaction, _: bool) -> bool:
            values["now"] = tx.now
            jobs = tx.execute(_JOBS, values).fetchall()
            # Those of a commit without an answer are known, and new all the same.
            added.extend(_revise(tx, values, job, is_known) for job in jobs)

            if not jobs and not _came(tx, values):
                tx.execute(_KEEP, values)

            return any(added)

        return self._database.write(add, durable=True, conversation_id=conversation_id)

    def prune(self) -> None:
        """Delete the changes whose messages did not come."""
        execute(self._database, _PRUNE, {"account": self._database.account_id})

    def are_new(self, job: Job) -> bool:
        """Whether a message of a job was changed since it was claimed."""
        with self._database.read() as tx:
            return is_changed(tx, job)


def _came(tx: Transaction, values: t.Mapping[str, t.Any]) -> bool:
    """Whether the message itself was delivered, or need not be waited for."""
    return values["key"] is None or line.is_known(tx, values)


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

    take_back(tx, job[0])

    return True
