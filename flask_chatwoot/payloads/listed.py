"""Conversations and messages as Chatwoot's API lists them, and their deliveries.

The lists are those of ``app/finders/conversation_finder.rb`` and
``app/finders/message_finder.rb``. What was not delivered is taken in as the delivery
that Chatwoot would have made; see ``webhook_data`` in ``app/models/message.rb``.
"""

import json
import typing as t

from .conversation import (
    ChatwootMessage,
    Conversation,
    conversation_from,
    identified,
    message_from,
)
from .fields import Object, as_object, as_text

PAGE: t.Final = 20
"""Messages that Chatwoot lists before another one (``app/finders/message_finder.rb``).
"""

PAGE_AFTER: t.Final = 100
"""Messages that it lists after another one."""


class ListedConversation(t.NamedTuple):
    """A conversation of the list.

    :ivar raw: As Chatwoot sent it.
    """

    conversation: Conversation
    raw: Object

    def __repr__(self) -> str:
        return f"<ListedConversation {self.conversation.id}>"


class ListedMessage(t.NamedTuple):
    """A message of the list.

    :ivar changed: It was deleted, was answered with a button or a form, or was refused
        by the channel. Chatwoot reports that as ``message_updated``.
    :ivar raw: As Chatwoot sent it.
    """

    message: ChatwootMessage
    changed: bool
    raw: Object

    def __repr__(self) -> str:
        return f"<ListedMessage {self.message.id}>"


def conversations_in(answer: t.Any) -> list[ListedConversation] | None:
    """The conversations of an answer; ``None`` if it is not one of Chatwoot's."""
    listed = as_object(as_object(answer).get("data")).get("payload")

    if not isinstance(listed, list):
        return None

    found = (ListedConversation(conversation_from(each), each) for each in _all(listed))

    return [each for each in found if each.conversation.id]


def messages_in(answer: t.Any) -> list[ListedMessage] | None:
    """The messages of an answer by their ids; ``None`` if it is not Chatwoot's."""
    listed = as_object(answer).get("payload")

    if not isinstance(listed, list):
        return None

    found = [
        ListedMessage(message, _is_changed(message, raw), raw)
        for raw in _all(listed)
        if (message := message_from(raw))
    ]

    return sorted(found, key=lambda each: each.message.id)


def detailed(
    messages: t.Iterable[ListedMessage], within: ListedConversation, *, bots_until: int
) -> list[ListedMessage]:
    """Messages of a list, with what tells their authors.

    The conversation shows more of its newest message: it is ``push_event_data`` of
    ``app/models/message.rb`` there.

    :param bots_until: See :func:`.identified`.
    """
    shown = as_object(within.raw.get("last_non_activity_message"))
    details = {key: shown[key] for key in _DETAILS if key in shown}
    found = []

    for each in messages:
        if each.message.id == shown.get("id"):
            raw = {**details, **each.raw}
            each = each._replace(message=message_from(raw) or each.message, raw=raw)

        (message,) = identified([each.message], bots_until=bots_until)
        found.append(each._replace(message=message))

    return found


_DETAILS: t.Final = ("additional_attributes", "external_source_ids")


def _all(listed: list[t.Any]) -> t.Iterator[Object]:
    return (as_object(each) for each in listed)


def _is_changed(message: ChatwootMessage, raw: Object) -> bool:
    attributes = as_object(raw.get("content_attributes"))
    refused = as_text(attributes.get("external_error"))

    return bool(message.deleted or message.picked or refused)


def delivery_of_message(
    listed: ListedMessage,
    within: ListedConversation,
    *,
    account_id: int,
    event: str = "message_created",
) -> bytes:
    """The body of the delivery of a message.

    :param within: The conversation as it was when it was listed.
    """
    # What is listed is the stored text, and the parser takes it from there.
    conversation = {**within.raw, "messages": [listed.raw]}

    return _encoded(
        {
            **listed.raw,
            "event": event,
            "account": {"id": account_id},
            "inbox": {"id": within.conversation.inbox_id},
            "conversation": conversation,
        }
    )


def delivery_of_conversation(
    listed: ListedConversation, *, account_id: int, known_status: str | None = None
) -> bytes:
    """The body of the delivery of a conversation that has changed.

    :param known_status: By the newest delivery. What is resolved is not resolved once
        more: an operator may have written since.
    """
    # Only a change of the status says that it is resolved.
    resolved = listed.conversation.status == "resolved" != known_status
    event = "conversation_status_changed" if resolved else "conversation_updated"

    return _encoded({**listed.raw, "event": event, "account": {"id": account_id}})


def _encoded(body: Object) -> bytes:
    return json.dumps(body).encode()
