"""What Chatwoot says, as plain dicts: its deliveries and its API's answers.

One small model of a conversation, and functions that write it the way a given version
of Chatwoot does. A version is a tuple such as ``(4, 16, 2)``; 4.2 to 4.16 are known.
Nothing here touches the network, the clock or the disk.
"""

from __future__ import annotations

import html
import re
import typing as t
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import IntEnum

JSON = dict[str, t.Any]
Version = tuple[int, ...]

NEWEST: t.Final[Version] = (4, 16, 2)
"""The last version whose payloads were compared with Chatwoot's source."""

EPOCH: t.Final = 1_785_143_553.123
"""When things happened unless told otherwise: 27 July 2026, unix seconds."""

HTML_CHANNELS: t.Final = frozenset({"Channel::Email", "Channel::WebWidget"})


_LATE: t.Final = frozenset({"content_type"})
"""What attachments did not always tell."""


class MessageType(IntEnum):
    """The API writes the number, deliveries the lower-case name."""

    INCOMING = 0
    OUTGOING = 1
    ACTIVITY = 2
    TEMPLATE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The one account of the installation."""

    id: int = 1
    name: str = "Acme"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """A Chatwoot inbox."""

    id: int = 3
    name: str = "Website"
    channel: str = "Channel::WebWidget"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """A customer."""

    id: int = 55
    name: str = "Ada Lovelace"
    email: str | None = None
    phone_number: str | None = None
    identifier: str | None = None
    blocked: bool = False
    custom_attributes: t.Mapping[str, t.Any] = field(default_factory=dict)
    additional_attributes: t.Mapping[str, t.Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Whoever writes for the company: a person or, with ``bot``, an agent bot."""

    id: int = 5
    name: str = "Olga Operator"
    email: str | None = None
    bot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Operators a conversation can be given to together."""

    id: int = 1
    name: str = "support"


Sender = Contact | Agent | None
"""``None`` stands for automations, greetings, surveys and activities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message.

    :ivar id: Counts through all conversations of an installation.
    :ivar content: ``None`` when there are only attachments.
    :ivar created_at: Unix seconds.
    :ivar attachments: What differs from a picture without size or address.
    """

    id: int = 9001
    content: str | None = "Hello"
    type: MessageType = MessageType.INCOMING
    private: bool = False
    sender: Sender = field(default_factory=Contact)
    created_at: float = EPOCH
    content_type: str = "text"
    content_attributes: t.Mapping[str, t.Any] = field(default_factory=dict)
    additional_attributes: t.Mapping[str, t.Any] = field(default_factory=dict)
    attachments: tuple[t.Mapping[str, t.Any], ...] = ()
    source_id: str | None = None
    status: str = "sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """A conversation without its messages.

    :ivar id: The display id: what stands in URLs, counted per account.
    :ivar snoozed_until: Unix seconds; only while it is snoozed.
    """

    id: int = 42
    account: Account = field(default_factory=Account)
    inbox: Inbox = field(default_factory=Inbox)
    contact: Contact = field(default_factory=Contact)
    status: str = "open"
    snoozed_until: float | None = None
    assignee: Agent | None = None
    team: Team | None = None
    labels: tuple[str, ...] = ()
    priority: str | None = None
    can_reply: bool = True
    custom_attributes: t.Mapping[str, t.Any] = field(default_factory=dict)
    additional_attributes: t.Mapping[str, t.Any] = field(default_factory=dict)
    created_at: float = EPOCH


History = t.Sequence[Message]
"""All messages of a conversation, oldest first."""


def parse_version(text: str) -> Version:
    """``"4.16.2"`` as a tuple that can be compared.

    :raises ValueError: Not numbers between full stops.
    """
    if not re.fullmatch(r"\d+(\.\d+)+", text, re.ASCII):
        raise ValueError(f"{text!r} is no version of Chatwoot; write it like 4.16.2")

    return tuple(int(part) for part in text.split("."))


# Deliveries


def message_event(
    message: Message,
    conversation: Conversation,
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
        "account": _named(conversation.account),
        "additional_attributes": dict(message.additional_attributes),
        "content_attributes": dict(message.content_attributes),
        "content_type": message.content_type,
        "content": content(message, conversation.inbox.channel, version),
        "conversation": conversation_data(conversation, history, version),
        "created_at": _iso(message.created_at),
        "id": message.id,
        "inbox": _named(conversation.inbox),
        "message_type": message.type.name.lower(),
        "private": message.private,
        "sender": _webhook_sender(message.sender, conversation.account),
        "source_id": message.source_id,
    }

    if message.attachments:
        body["attachments"] = _attachments(message, conversation, version)

    return {**body, "event": event}


def conversation_event(
    event: str,
    conversation: Conversation,
    *,
    history: History = (),
    version: Version = NEWEST,
    changed: t.Mapping[str, tuple[t.Any, t.Any]] | None = None,
) -> JSON:
    """The body of ``conversation_status_changed`` and its kin.

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
    conversation: Conversation,
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
    before: Conversation, after: Conversation
) -> dict[str, tuple[t.Any, t.Any]]:
    """What differs, under the names of Chatwoot's columns: (before, after).

    Only what ``conversation_updated`` is about (``list_of_keys`` in
    ``app/models/conversation.rb``).
    """
    old, new = _columns(before), _columns(after)

    return {name: (old[name], new[name]) for name in new if old[name] != new[name]}


def content(message: Message, channel: str, version: Version) -> str | None:
    """The text as a delivery of this version has it.

    4.9.0 to 4.12.0 sent it as rendered for the channel, which for websites and e-mail
    is HTML; later ones tidy line ends (``app/presenters/message_content_presenter.rb``
    and ``app/services/messages/webhook_content_normalizer.rb``).
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
    conversation: Conversation, history: History, version: Version
) -> JSON:
    """The conversation inside a delivery.

    ``messages`` holds the last public message at this moment, which need not be
    the one the delivery is about
    (``app/presenters/conversations/event_data_presenter.rb``).
    """
    body: JSON = {
        "additional_attributes": dict(conversation.additional_attributes),
        "can_reply": conversation.can_reply,
        "channel": conversation.inbox.channel,
        "contact_inbox": _contact_inbox(conversation),
        "id": conversation.id,
        "inbox_id": conversation.inbox.id,
        "messages": [
            _pushed(message, conversation, history, version)
            for message in _public(history)[-1:]
        ],
        "labels": list(conversation.labels),
        "meta": _meta(conversation, version),
        "status": conversation.status,
        "custom_attributes": dict(conversation.custom_attributes),
        "snoozed_until": _maybe_iso(conversation.snoozed_until),
        "first_reply_created_at": None,
        "priority": conversation.priority,
        **_times(conversation, history),
        "updated_at": _last_activity(conversation, history),
    }

    if version >= (4, 14, 2):
        body["account"] = _named(conversation.account)

    return body


def incoming_email(
    reply: str,
    *,
    quoted: str = "",
    subject: str = "Question",
    auto_reply: bool = False,
    version: Version = NEWEST,
    **fields: t.Any,
) -> Message:
    """A customer's e-mail. Its content is the whole text, history included.

    Only ``content_attributes.email.text_content.quoted`` is what the customer wrote
    this time, despite the name (``app/presenters/mail_presenter.rb``).

    :param quoted: The older mail below the reply.
    :param fields: Further fields of :class:`Message`.
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

    message = Message(content=full, content_type="incoming_email", **fields)

    return replace(message, content_attributes={"email": mail, "cc_email": None})


# The API's answers


def api_message(
    message: Message, conversation: Conversation, *, version: Version = NEWEST
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
        body["sender"] = _person(message.sender)

    if message.attachments:
        body["attachments"] = _attachments(message, conversation, version)

    return body


def api_messages(
    page: History, conversation: Conversation, *, version: Version = NEWEST
) -> JSON:
    """The answer to a request for messages, of which ``page`` holds some."""
    meta: JSON = {
        "labels": list(conversation.labels),
        "additional_attributes": dict(conversation.additional_attributes),
        "contact": _person(conversation.contact),
        "agent_last_seen_at": None,
        "assignee_last_seen_at": None,
    }

    if conversation.assignee:
        meta["assignee"] = _person(conversation.assignee)

    return {
        "meta": meta,
        "payload": [api_message(m, conversation, version=version) for m in page],
    }


def api_conversation(
    conversation: Conversation, history: History, *, version: Version = NEWEST
) -> JSON:
    """A conversation as the API shows it (``_conversation.json.jbuilder``)."""
    told = [m for m in history if m.type is not MessageType.ACTIVITY]
    last, last_told = (
        [_pushed(message, conversation, history, version) for message in some[-1:]]
        for some in (history, told)
    )
    meta = _meta(conversation, version)

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
        "snoozed_until": _maybe_iso(conversation.snoozed_until),
        "status": conversation.status,
        "first_reply_created_at": 0,
        "last_non_activity_message": last_told[0] if last_told else None,
        "priority": conversation.priority,
        **_times(conversation, history),
        "updated_at": _last_activity(conversation, history),
    }


def api_status(conversation: Conversation, *, success: bool | None) -> JSON:
    """The answer to a changed status (``toggle_status.json.jbuilder``)."""
    return {
        "meta": {},
        "payload": {
            "success": success,
            "conversation_id": conversation.id,
            "current_status": conversation.status,
            "snoozed_until": _maybe_iso(conversation.snoozed_until),
        },
    }


def api_assignee(agent: Agent, account: Account, *, role: str = "agent") -> JSON:
    """Who got a conversation (``app/views/api/v1/models/_agent`` and its kin)."""
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
        **_named(team),
        "description": None,
        "allow_auto_assign": True,
        "account_id": account.id,
        "created_at": _iso(EPOCH),
        "updated_at": _iso(EPOCH),
    }


def profile(
    agent: Agent, account: Account, *, token: str, role: str = "administrator"
) -> JSON:
    """Who a user token belongs to (``app/views/api/v1/models/_user``)."""
    membership = {"status": "active", "role": role, "permissions": []}

    return {
        "id": agent.id,
        "name": agent.name,
        "email": agent.email,
        "type": None,
        "role": role,
        "pubsub_token": f"pubsub-{agent.id}",
        "access_token": token,
        "accounts": [{**_named(account), **membership}],
    }


def drops(conversation: Conversation, author: Sender) -> JSON:
    """What template code in a message may name (``app/drops``)."""
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
        "inbox": _named(conversation.inbox),
        "account": _named(conversation.account),
    }


# Parts


def _named(thing: Account | Inbox | Team) -> JSON:
    return {"id": thing.id, "name": thing.name}


def _columns(conversation: Conversation) -> JSON:
    assignee, team = conversation.assignee, conversation.team
    kind = _kind(assignee)

    return {
        "status": conversation.status,
        "snoozed_until": _maybe_iso(conversation.snoozed_until),
        "assignee_id": assignee.id if assignee and kind == "User" else None,
        "assignee_agent_bot_id": assignee.id if assignee and assignee.bot else None,
        "team_id": team.id if team else None,
        "custom_attributes": dict(conversation.custom_attributes),
        "label_list": list(conversation.labels),
        "priority": conversation.priority,
    }


def _names(person: Contact | Agent) -> JSON:
    words = [word.capitalize() for word in person.name.split()]
    name = {"id": person.id, "name": " ".join(words)}

    if len(words) < 2:
        return name

    return {**name, "first_name": words[0], "last_name": words[-1]}


def _iso(moment: float) -> str:
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")

    return text.replace("+00:00", "Z")


def _maybe_iso(moment: float | None) -> str | None:
    return None if moment is None else _iso(moment)


def _paragraphs(text: str) -> str:
    """Enough of CommonMark for plain text: paragraphs, and characters escaped."""
    parts = re.split(r"\n\s*\n", text.strip())

    return "".join(f"<p>{html.escape(part)}</p>\n" for part in parts)


def _public(history: History) -> list[Message]:
    return [
        message
        for message in history
        if not message.private and message.type is not MessageType.ACTIVITY
    ]


def _last_activity(conversation: Conversation, history: History) -> float:
    return history[-1].created_at if history else conversation.created_at


def _unread(history: History) -> int:
    return sum(message.type is MessageType.INCOMING for message in history)


def _times(conversation: Conversation, history: History) -> JSON:
    last = int(_last_activity(conversation, history))

    return {
        "unread_count": _unread(history),
        "waiting_since": 0,
        "agent_last_seen_at": 0,
        "contact_last_seen_at": 0,
        "last_activity_at": last,
        "timestamp": last,
        "created_at": int(conversation.created_at),
    }


def _webhook_sender(sender: Sender, account: Account) -> JSON | None:
    """The author in a delivery. A contact has no ``type``, against all old samples."""
    if sender is None:
        return None

    if isinstance(sender, Contact):
        body = {**_person(sender), "avatar": "", "account": _named(account)}
        del body["type"]
        return body

    if sender.bot:
        return {"id": sender.id, "name": sender.name, "type": "agent_bot"}

    return {"id": sender.id, "name": sender.name, "email": sender.email, "type": "user"}


def _person(person: Contact | Agent) -> JSON:
    """A contact, user or bot wherever it is not the author of a delivery."""
    if isinstance(person, Contact):
        return {
            "id": person.id,
            "type": "contact",
            "name": person.name,
            "email": person.email,
            "phone_number": person.phone_number,
            "identifier": person.identifier,
            "thumbnail": "",
            "blocked": person.blocked,
            "custom_attributes": dict(person.custom_attributes),
            "additional_attributes": dict(person.additional_attributes),
        }

    body = {"id": person.id, "name": person.name, "avatar_url": ""}

    if person.bot:
        return {**body, "type": "agent_bot"}

    return {
        **body,
        "available_name": person.name,
        "type": "user",
        "availability_status": "online",
        "thumbnail": "",
    }


def _meta(conversation: Conversation, version: Version) -> JSON:
    assignee = conversation.assignee

    if assignee and assignee.bot and version < (4, 8):
        assignee = None

    meta: JSON = {
        "sender": _person(conversation.contact),
        "assignee": _person(assignee) if assignee else None,
        "team": _named(conversation.team) if conversation.team else None,
        "hmac_verified": False,
    }

    if version >= (4, 8):
        meta["assignee_type"] = _kind(assignee)

    return meta


def _kind(sender: Sender) -> str | None:
    if sender is None:
        return None

    if isinstance(sender, Contact):
        return "Contact"

    return "AgentBot" if sender.bot else "User"


def _contact_inbox(conversation: Conversation) -> JSON:
    created = _iso(conversation.created_at)

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


def _source_id(conversation: Conversation) -> str:
    return f"00000000-0000-4000-9000-{conversation.contact.id:012d}"


def _pushed(
    message: Message, conversation: Conversation, history: History, version: Version
) -> JSON:
    """A message inside a conversation: ``push_event_data`` in ``message.rb``.

    Numbers stand where the top level of a delivery has words.
    """
    mail = message.content_attributes.get("email") or {}
    assignee = conversation.assignee

    return {
        **api_message(message, conversation, version=version),
        "account_id": conversation.account.id,
        "updated_at": _iso(message.created_at),
        "sender_type": _kind(message.sender),
        "sender_id": message.sender.id if message.sender else None,
        "external_source_ids": {},
        "additional_attributes": dict(message.additional_attributes),
        "processed_message_content": (mail.get("text_content") or {}).get("quoted")
        or message.content,
        "sentiment": {},
        "conversation": {
            "assignee_id": assignee.id if assignee and not assignee.bot else None,
            "unread_count": _unread(history),
            "last_activity_at": int(_last_activity(conversation, history)),
            "contact_inbox": {"source_id": _source_id(conversation)},
        },
    }


def _attachments(
    message: Message, conversation: Conversation, version: Version
) -> list[JSON]:
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
        {
            **{"id": message.id * 100 + number, **common},
            **{k: v for k, v in attachment.items() if k in common or k not in _LATE},
        }
        for number, attachment in enumerate(message.attachments, 1)
    ]
