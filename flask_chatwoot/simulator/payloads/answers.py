"""The bodies of the answers of Chatwoot's API."""

from __future__ import annotations

import typing as t

from .records import (
    EPOCH,
    JSON,
    NEWEST,
    Account,
    Agent,
    ContactRecord,
    ConversationRecord,
    History,
    MessageType,
    Sender,
    Team,
    Version,
)
from .shared import (
    api_message,
    first_reply,
    iso_time,
    last_update,
    maybe_iso_time,
    meta_data,
    named,
    pushed_message,
    sender_data,
    times,
)


def api_messages(
    page: History, conversation: ConversationRecord, *, version: Version = NEWEST
) -> JSON:
    """The answer to a request for messages, of which ``page`` holds some."""
    meta: JSON = {
        "labels": list(conversation.labels),
        "additional_attributes": dict(conversation.additional_attributes),
        "contact": sender_data(conversation.contact),
        "agent_last_seen_at": None,
        "assignee_last_seen_at": None,
    }

    if conversation.assignee:
        meta["assignee"] = sender_data(conversation.assignee)

    return {
        "meta": meta,
        "payload": [api_message(m, conversation, version=version) for m in page],
    }


def api_conversation(
    conversation: ConversationRecord, history: History, *, version: Version = NEWEST
) -> JSON:
    """A conversation as the API shows it (``_conversation.json.jbuilder``)."""
    others = [m for m in history if m.type is not MessageType.ACTIVITY]
    last, last_other = (
        [
            pushed_message(message, conversation, history, version)
            for message in some[-1:]
        ]
        for some in (history, others)
    )
    meta = meta_data(conversation, version)

    for key in ("assignee", "assignee_type", "team"):
        if meta.get(key) is None:
            meta.pop(key, None)

    return {
        "meta": {**meta, "channel": conversation.inbox.channel},
        "id": conversation.id,
        "messages": last,
        "account_id": conversation.account.id,
        "uuid": f"00000000-0000-4000-8000-{conversation.id:012d}",
        "additional_attributes": dict(conversation.additional_attributes),
        "assignee_last_seen_at": 0,
        "can_reply": conversation.can_reply,
        "custom_attributes": dict(conversation.custom_attributes),
        "inbox_id": conversation.inbox.id,
        "labels": list(conversation.labels),
        "muted": conversation.contact.blocked,
        "snoozed_until": maybe_iso_time(conversation.snoozed_until),
        "status": conversation.status,
        "first_reply_created_at": int(first_reply(history) or 0),
        "last_non_activity_message": last_other[0] if last_other else None,
        "priority": conversation.priority,
        **times(conversation, history),
        "updated_at": last_update(conversation, history),
    }


def api_conversations(
    found: t.Sequence[tuple[ConversationRecord, History]], *, version: Version = NEWEST
) -> JSON:
    """The answer to a request for conversations (``conversations/index``)."""
    count = len(found)
    assigned = sum(conversation.assignee is not None for conversation, _ in found)

    return {
        "data": {
            "meta": {
                "mine_count": 0,
                "assigned_count": assigned,
                "unassigned_count": count - assigned,
                "all_count": count,
            },
            "payload": [
                api_conversation(conversation, history, version=version)
                for conversation, history in found
            ],
        }
    }


def api_status(conversation: ConversationRecord, *, success: bool | None) -> JSON:
    """The answer to a changed status (``toggle_status.json.jbuilder``)."""
    return {
        "meta": {},
        "payload": {
            "success": success,
            "conversation_id": conversation.id,
            "current_status": conversation.status,
            "snoozed_until": maybe_iso_time(conversation.snoozed_until),
        },
    }


def api_assignee(agent: Agent, account: Account, *, role: str = "agent") -> JSON:
    """The new assignee (``app/views/api/v1/models/_agent`` and ``_agent_bot``)."""
    body: JSON = {"id": agent.id, "name": agent.name, "thumbnail": ""}

    if agent.bot:
        return {**body, "description": None, "bot_type": "webhook"}

    return {
        **body,
        "account_id": account.id,
        "availability_status": "online",
        "auto_offline": True,
        "confirmed": True,
        "email": agent.email,
        "provider": "email",
        "available_name": agent.name,
        "role": role,
    }


def api_team(team: Team, account: Account) -> JSON:
    """The row of a team, as ``assignments_controller.rb`` shows it."""
    return {
        **named(team),
        "description": None,
        "allow_auto_assign": True,
        "account_id": account.id,
        "created_at": iso_time(EPOCH),
        "updated_at": iso_time(EPOCH),
    }


def profile(
    agent: Agent, account: Account, *, token: str, role: str = "administrator"
) -> JSON:
    """The user of a token (``app/views/api/v1/models/_user``)."""
    membership = {"status": "active", "role": role, "permissions": []}

    return {
        "id": agent.id,
        "name": agent.name,
        "email": agent.email,
        "type": None,
        "role": role,
        "pubsub_token": f"pubsub-{agent.id}",
        "access_token": token,
        "accounts": [{**named(account), **membership}],
    }


def drops(conversation: ConversationRecord, author: Sender) -> JSON:
    """The values that template code in a message may use (``app/drops``)."""
    contact = conversation.contact

    return {
        "contact": {
            **_names(contact),
            "email": contact.email,
            "phone_number": contact.phone_number,
            "custom_attribute": dict(contact.custom_attributes),
        },
        "agent": _names(author) if author else {},
        "conversation": {
            "display_id": conversation.id,
            "contact_name": contact.name,
            "custom_attribute": dict(conversation.custom_attributes),
        },
        "inbox": named(conversation.inbox),
        "account": named(conversation.account),
    }


def _names(sender: ContactRecord | Agent) -> JSON:
    words = [word.capitalize() for word in sender.name.split()]
    name = {"id": sender.id, "name": " ".join(words)}

    if len(words) < 2:
        return name

    return {**name, "first_name": words[0], "last_name": words[-1]}
