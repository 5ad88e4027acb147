"""The bodies of Chatwoot's deliveries."""

from __future__ import annotations

import html
import re
import typing as t
from dataclasses import replace

from .records import (
    JSON,
    NEWEST,
    Account,
    Agent,
    ContactRecord,
    ConversationRecord,
    History,
    MessageRecord,
    MessageType,
    Sender,
    Version,
)
from .shared import (
    attachments_data,
    class_of,
    contact_inbox_data,
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

HTML_CHANNELS: t.Final = frozenset({"Channel::Email", "Channel::WebWidget"})


def message_event(
    message: MessageRecord,
    conversation: ConversationRecord,
    *,
    history: History | None = None,
    version: Version = NEWEST,
    event: str = "message_created",
) -> JSON:
    """The body of ``message_created`` or ``message_updated``.

    The same for account webhooks and bots (``webhook_data`` in Chatwoot's
    ``app/models/message.rb``).

    :param history: ``None``: the message is the only one.
    """
    history = (message,) if history is None else history
    body: JSON = {
        "account": named(conversation.account),
        "additional_attributes": dict(message.additional_attributes),
        "content_attributes": dict(message.content_attributes),
        "content_type": message.content_type,
        "content": content(message, conversation.inbox.channel, version),
        "conversation": conversation_data(conversation, history, version),
        "created_at": iso_time(message.created_at),
        "id": message.id,
        "inbox": named(conversation.inbox),
        "message_type": message.type.name.lower(),
        "private": message.private,
        "sender": _webhook_sender(message.sender, conversation.account),
        "source_id": message.source_id,
    }

    if message.attachments:
        body["attachments"] = attachments_data(message, conversation, version)

    return {**body, "event": event}


def conversation_event(
    event: str,
    conversation: ConversationRecord,
    *,
    history: History = (),
    version: Version = NEWEST,
    changed: t.Mapping[str, tuple[t.Any, t.Any]] | None = None,
) -> JSON:
    """The body of ``conversation_status_changed`` or another conversation event.

    The conversation itself is the top level, so ``id`` is its display id
    (``app/listeners/webhook_listener.rb``).

    :param changed: Attribute to (before, after).
    """
    body = {"event": event, **conversation_data(conversation, history, version)}

    if event in ("conversation_status_changed", "conversation_updated"):
        body["changed_attributes"] = changed and [
            {name: {"previous_value": before, "current_value": after}}
            for name, (before, after) in changed.items()
        ]

    return body


def typing_event(
    event: str,
    conversation: ConversationRecord,
    author: Agent,
    *,
    private: bool = False,
    history: History = (),
    version: Version = NEWEST,
) -> JSON:
    """The body of ``conversation_typing_on`` and ``conversation_typing_off``.

    See ``handle_typing_status`` in ``app/listeners/webhook_listener.rb``.
    """
    return {
        "event": event,
        "user": _webhook_sender(author, conversation.account),
        "conversation": conversation_data(conversation, history, version),
        "is_private": private,
    }


def changes(
    before: ConversationRecord, after: ConversationRecord
) -> dict[str, tuple[t.Any, t.Any]]:
    """The columns that differ: name to (before, after).

    Only those of which ``conversation_updated`` is sent (``list_of_keys`` in
    ``app/models/conversation.rb``).
    """
    old, new = _columns(before), _columns(after)

    return {name: (old[name], new[name]) for name in new if old[name] != new[name]}


def content(message: MessageRecord, channel: str, version: Version) -> str | None:
    """The text as this version delivers it.

    4.9.0 to 4.12.0 send it as rendered for the channel, which for websites and e-mail
    is HTML (``app/presenters/message_content_presenter.rb``); later ones normalize line
    ends (``app/services/messages/webhook_content_normalizer.rb``).
    """
    text = message.content

    if not text:
        return text

    if (4, 9) <= version <= (4, 12, 0) and channel in HTML_CHANNELS:
        return _paragraphs(text)

    if version >= (4, 13):
        text = re.sub(r"\\\r?\n", "\n", text)

    return text.rstrip("\r\n") if version >= (4, 14, 2) else text


def conversation_data(
    conversation: ConversationRecord, history: History, version: Version
) -> JSON:
    """The conversation inside a delivery.

    ``messages`` holds the last public message at this moment, which may be another
    than the one that is delivered
    (``app/presenters/conversations/event_data_presenter.rb``).
    """
    body: JSON = {
        "additional_attributes": dict(conversation.additional_attributes),
        "can_reply": conversation.can_reply,
        "channel": conversation.inbox.channel,
        "contact_inbox": contact_inbox_data(conversation),
        "id": conversation.id,
        "inbox_id": conversation.inbox.id,
        "messages": [
            pushed_message(message, conversation, history, version)
            for message in _public(history)[-1:]
        ],
        "labels": list(conversation.labels),
        "meta": meta_data(conversation, version),
        "status": conversation.status,
        "custom_attributes": dict(conversation.custom_attributes),
        "snoozed_until": maybe_iso_time(conversation.snoozed_until),
        "first_reply_created_at": maybe_iso_time(first_reply(history)),
        "priority": conversation.priority,
        **times(conversation, history),
        "updated_at": last_update(conversation, history),
    }

    if version >= (4, 14, 2):
        body["account"] = named(conversation.account)

    return body


def incoming_email(
    reply: str,
    *,
    quoted: str = "",
    subject: str = "Question",
    auto_reply: bool = False,
    version: Version = NEWEST,
    **fields: t.Any,
) -> MessageRecord:
    """A customer's e-mail. Its content is the whole text, history included.

    Despite its name, ``content_attributes.email.text_content.quoted`` is the new text
    without that history (``app/presenters/mail_presenter.rb``).

    :param quoted: The older mail below the reply.
    :param fields: Further fields of :class:`MessageRecord`.
    """
    full = f"{reply}\n\n{quoted}".rstrip()
    mail: JSON = {
        "content_type": "text/plain; charset=UTF-8",
        "subject": subject,
        "text_content": {"full": full, "reply": full, "quoted": reply},
        "html_content": {},
        "multipart": False,
        "number_of_attachments": 0,
    }

    if version >= (4, 5):
        mail["auto_reply"] = auto_reply

    message = MessageRecord(content=full, content_type="incoming_email", **fields)

    return replace(message, content_attributes={"email": mail, "cc_email": None})


def _columns(conversation: ConversationRecord) -> JSON:
    assignee, team = conversation.assignee, conversation.team
    kind = class_of(assignee)

    return {
        "status": conversation.status,
        "snoozed_until": maybe_iso_time(conversation.snoozed_until),
        "assignee_id": assignee.id if assignee and kind == "User" else None,
        "assignee_agent_bot_id": assignee.id if assignee and assignee.bot else None,
        "team_id": team.id if team else None,
        "custom_attributes": dict(conversation.custom_attributes),
        "label_list": list(conversation.labels),
        "priority": conversation.priority,
    }


def _paragraphs(text: str) -> str:
    """Enough of CommonMark for plain text: paragraphs, and characters escaped."""
    parts = re.split(r"\n\s*\n", text.strip())

    return "".join(f"<p>{html.escape(part)}</p>\n" for part in parts)


def _public(history: History) -> list[MessageRecord]:
    return [
        message
        for message in history
        if not message.private and message.type is not MessageType.ACTIVITY
    ]


def _webhook_sender(sender: Sender, account: Account) -> JSON | None:
    """The author in a delivery. A contact has no ``type``, unlike in old samples."""
    if sender is None:
        return None

    if isinstance(sender, ContactRecord):
        body = {**sender_data(sender), "avatar": "", "account": named(account)}
        del body["type"]
        return body

    if sender.bot:
        return {"id": sender.id, "name": sender.name, "type": "agent_bot"}

    return {"id": sender.id, "name": sender.name, "email": sender.email, "type": "user"}
