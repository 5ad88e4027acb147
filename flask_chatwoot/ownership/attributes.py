"""The newest custom attributes of a conversation that a delivery told.

Chatwoot before 4.17 replaces all attributes with those that are written, and a bot's
token may not read them before 4.14.2. So while a turn is due in a conversation, what
deliveries tell of its attributes is kept; the jobs have the rest.
"""

from __future__ import annotations

import json
import typing as t

from flask_chatwoot.errors import PayloadError
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.conversation import Conversation
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.payloads.fields import Object
from flask_chatwoot.queue.database import Database, execute

_IS_DUE: t.Final = """
EXISTS (
    SELECT 1 FROM job WHERE account_id = :account AND conversation_id = :conversation
    AND finished_at IS NULL
)
"""

_LOAD: t.Final = """
SELECT attributes, updated_at FROM told
WHERE account_id = :account AND conversation_id = :conversation
"""

_SAVE: t.Final = f"""
INSERT INTO told (account_id, conversation_id, attributes, updated_at)
SELECT :account, :conversation, :attributes, :at WHERE {_IS_DUE}
ON CONFLICT (account_id, conversation_id) DO UPDATE SET
    attributes = excluded.attributes, updated_at = excluded.updated_at
WHERE excluded.updated_at >= told.updated_at
"""

_BODIES: t.Final = """
SELECT job.payload FROM job
WHERE account_id = :account AND conversation_id = :conversation
AND finished_at IS NULL AND job.payload IS NOT NULL
UNION ALL
SELECT follow_up.payload FROM job JOIN follow_up ON follow_up.job_id = job.id
WHERE account_id = :account AND conversation_id = :conversation
AND finished_at IS NULL AND follow_up.payload IS NOT NULL
"""

_PRUNE: t.Final = """
DELETE FROM told WHERE account_id = :account AND NOT EXISTS (
    SELECT 1 FROM job WHERE job.account_id = told.account_id
    AND job.conversation_id = told.conversation_id AND job.finished_at IS NULL
)
"""


class ToldAttributes:
    """The attributes that deliveries told. Threads share it.

    :param database: Every method raises
        :class:`~flask_chatwoot.errors.DatabaseError` when it cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def saw(self, conversation: Conversation) -> None:
        """Keep the attributes of a delivery, if a turn is due and they are the newest.

        That of a customer's message need not be given: its job has it.
        """
        at = conversation.updated_at

        if at is not None and at > self._kept_at(conversation.id):
            self._save(conversation.id, conversation.custom_attributes, at)

    def wrote(self, conversation_id: int, attributes: Object) -> None:
        """Keep the attributes that Chatwoot has after this app has written them."""
        # Chatwoot does not say when, but it is later than what was told so far.
        newest = self.newest(Conversation(conversation_id))
        self._save(conversation_id, attributes, newest.updated_at or 0.0)

    def newest(self, delivered: Conversation) -> Conversation:
        """A conversation with the newest attributes that are known.

        :param delivered: As of a delivery, which may be the newest one.
        """
        found = [*self._stored(delivered.id), delivered]
        best = max(found, key=lambda each: each.updated_at or 0.0)

        return delivered._replace(
            custom_attributes=best.custom_attributes, updated_at=best.updated_at
        )

    def prune(self) -> None:
        """Delete what no turn needs."""
        execute(self._database, _PRUNE, self._names(0))

    def _stored(self, conversation_id: int) -> list[Conversation]:
        """What is stored of a conversation; of the same time, the newest first."""
        names = self._names(conversation_id)

        with self._database.read() as tx:
            kept = tx.execute(_LOAD, names).fetchone()
            bodies = tx.execute(_BODIES, names).fetchall()

        found = [each for (body,) in bodies if (each := _conversation_in(body))]

        if kept is None:
            return found

        attributes, at = kept
        told = Conversation(
            conversation_id, custom_attributes=json.loads(attributes), updated_at=at
        )

        return [told, *found]

    def _kept_at(self, conversation_id: int) -> float:
        """Since when newer attributes are wanted, by Chatwoot's clock."""
        names = self._names(conversation_id)

        with self._database.read() as tx:
            (is_due,) = tx.execute(f"SELECT {_IS_DUE}", names).fetchone()
            kept = tx.execute(_LOAD, names).fetchone() if is_due else None

        if not is_due:
            return float("inf")

        return 0.0 if kept is None else t.cast(float, kept[1])

    def _save(self, conversation_id: int, attributes: Object, at: float) -> None:
        values = {"attributes": json.dumps(dict(attributes)), "at": at}
        names = self._names(conversation_id) | values
        execute(self._database, _SAVE, names, conversation_id=conversation_id)

    def _names(self, conversation_id: int) -> dict[str, t.Any]:
        return {
            "account": self._database.account_id,
            "conversation": conversation_id,
        }


def _conversation_in(body: bytes) -> Conversation | None:
    try:
        event = events.parse(body)
    except PayloadError:
        return None

    return event.conversation if isinstance(event, MessageEvent) else None
