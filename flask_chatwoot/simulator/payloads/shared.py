"""The parts that deliveries and the API's answers have in common."""

from __future__ import annotations

from datetime import UTC, datetime

from .records import (
    JSON,
    NEWEST,
    Account,
    Agent,
    ContactRecord,
    ConversationRecord,
    History,
    Inbox,
    MessageRecord,
    MessageType,
    Sender,
    Team,
    Version,
)


def api_message(
    message: MessageRecord,
    conversation: ConversationRecord,
    *,
    version: Version = NEWEST,
) -> JSON:
    """A message as the API shows it (``app/views/api/v1/models/_message``)."""
    body: JSON = {
        "id": message.id,
        "content": message.content,
        "inbox_id": conversation.inbox.id,
        "conversation_id": conversation.id,
        "message_type": int(message.type),
        "content_type": message.content_type,
        "status": message.status,
        "content_attributes": dict(message.content_attributes),
        "created_at": int(message.created_at),
        "private": message.private,
        "source_id": message.source_id,
    }

    if message.sender:
        body["sender"] = sender_data(message.sender)

    if message.attachments:
        body["attachments"] = attachments_data(message, conversation, version)

    return body


def pushed_message(
    message: MessageRecord,
    conversation: ConversationRecord,
    history: History,
    version: Version,
) -> JSON:
    """A message inside a conversation: ``push_event_data`` in ``message.rb``.

    Numbers stand where the top level of a delivery has words.
    """
    mail = message.content_attributes.get("email") or {}
    assignee = conversation.assignee

    return {
        **api_message(message, conversation, version=version),
        "account_id": conversation.account.id,
        "updated_at": iso_time(message.created_at),
        "sender_type": class_of(message.sender),
        "sender_id": message.sender.id if message.sender else None,
        "external_source_ids": {},
        "additional_attributes": dict(message.additional_attributes),
        "processed_message_content": (mail.get("text_content") or {}).get("quoted")
        or message.content,
        "sentiment": {},
        "conversation": {
            "assignee_id": assignee.id if assignee and not assignee.bot else None,
            "unread_count": _unread(history),
            "last_activity_at": int(last_activity(conversation, history)),
            "contact_inbox": {"source_id": _source_id(conversation)},
        },
    }


def meta_data(conversation: ConversationRecord, version: Version) -> JSON:
    """``meta`` of a conversation. Before 4.8 only users are assignees."""
    assignee = conversation.assignee

    if assignee and assignee.bot and version < (4, 8):
        assignee = None

    meta: JSON = {
        "sender": sender_data(conversation.contact),
        "assignee": sender_data(assignee) if assignee else None,
        "team": named(conversation.team) if conversation.team else None,
        "hmac_verified": False,
    }

    if version >= (4, 8):
        meta["assignee_type"] = class_of(assignee)

    return meta


def sender_data(sender: ContactRecord | Agent) -> JSON:
    """A contact, user or bot, except as the author in a delivery."""
    if isinstance(sender, ContactRecord):
        return {
            "id": sender.id,
            "type": "contact",
            "name": sender.name,
            "email": sender.email,
            "phone_number": sender.phone_number,
            "identifier": sender.identifier,
            "thumbnail": "",
            "blocked": sender.blocked,
            "custom_attributes": dict(sender.custom_attributes),
            "additional_attributes": dict(sender.additional_attributes),
        }

    body = {"id": sender.id, "name": sender.name, "avatar_url": ""}

    if sender.bot:
        return {**body, "type": "agent_bot"}

    return {
        **body,
        "available_name": sender.name,
        "type": "user",
        "availability_status": "online",
        "thumbnail": "",
    }


def class_of(sender: Sender) -> str | None:
    """The name of the Ruby class, as in ``sender_type`` and ``assignee_type``."""
    if sender is None:
        return None

    if isinstance(sender, ContactRecord):
        return "Contact"

    return "AgentBot" if sender.bot else "User"


def named(record: Account | Inbox | Team) -> JSON:
    """Id and name of a record."""
    return {"id": record.id, "name": record.name}


def contact_inbox_data(conversation: ConversationRecord) -> JSON:
    """``contact_inbox`` of a conversation."""
    created = iso_time(conversation.created_at)

    return {
        "id": 7,
        "contact_id": conversation.contact.id,
        "inbox_id": conversation.inbox.id,
        "source_id": _source_id(conversation),
        "hmac_verified": False,
        "pubsub_token": f"pubsub-contact-{conversation.contact.id}",
        "created_at": created,
        "updated_at": created,
    }


def attachments_data(
    message: MessageRecord, conversation: ConversationRecord, version: Version
) -> list[JSON]:
    """The attachments; their content type is shown since 4.13."""
    common: JSON = {
        "message_id": message.id,
        "account_id": conversation.account.id,
        "file_type": "image",
        "extension": None,
        "data_url": "",
        "thumb_url": "",
        "file_size": 0,
        "width": None,
        "height": None,
    }

    if version >= (4, 13):
        common["content_type"] = "image/png"

    return [
        {"id": message.id * 100 + number, **common}
        | {k: v for k, v in attachment.items() if k in common or k != "content_type"}
        for number, attachment in enumerate(message.attachments, 1)
    ]


def times(conversation: ConversationRecord, history: History) -> JSON:
    """Times of a conversation in whole unix seconds, and how much is unread."""
    last = int(last_activity(conversation, history))

    return {
        "unread_count": _unread(history),
        "waiting_since": 0,
        "agent_last_seen_at": 0,
        "contact_last_seen_at": 0,
        "last_activity_at": last,
        "timestamp": last,
        "created_at": int(conversation.created_at),
    }


def last_activity(conversation: ConversationRecord, history: History) -> float:
    """Unix seconds of the last message, else of the beginning."""
    return history[-1].created_at if history else conversation.created_at


def last_update(conversation: ConversationRecord, history: History) -> float:
    """Unix seconds of the last change of the conversation or its messages."""
    if conversation.updated_at is None:
        return last_activity(conversation, history)

    return conversation.updated_at


def first_reply(history: History) -> float | None:
    """Unix seconds of the first reply that a person made (``human_response?``)."""
    return next((each.created_at for each in history if _is_reply(each)), None)


def _is_reply(message: MessageRecord) -> bool:
    attributes, sender = message.content_attributes, message.sender
    by_user = isinstance(sender, Agent) and not sender.bot

    return (
        message.type is MessageType.OUTGOING
        and not message.private
        and (by_user or bool(attributes.get("external_echo")))
        and "automation_rule_id" not in attributes
        and not message.additional_attributes.get("campaign_id")
    )


def _unread(history: History) -> int:
    return sum(message.type is MessageType.INCOMING for message in history)


def _source_id(conversation: ConversationRecord) -> str:
    return f"00000000-0000-4000-9000-{conversation.contact.id:012d}"


def iso_time(moment: float) -> str:
    """Unix seconds as Rails writes them into JSON."""
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")

    return text.replace("+00:00", "Z")


def maybe_iso_time(moment: float | None) -> str | None:
    """Like :func:`iso_time`, but ``None`` stays ``None``."""
    return None if moment is None else iso_time(moment)
