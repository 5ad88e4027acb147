"""Chatwoot's records, as far as its deliveries and its API show them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from enum import IntEnum

from flask_chatwoot.payloads import versions

JSON = dict[str, t.Any]
Version = tuple[int, ...]
NEWEST: t.Final[Version] = versions.NEWEST
"""The newest version whose payloads were compared with Chatwoot's source."""
EPOCH: t.Final = 1_785_143_553.123
"""The default time of records: 27 July 2026, unix seconds."""


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
class ContactRecord:
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
    """Who writes for the company: an operator or, with ``bot``, an agent bot."""

    id: int = 5
    name: str = "Olga Operator"
    email: str | None = None
    bot: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """Operators to whom a conversation can be assigned together."""

    id: int = 1
    name: str = "support"


Sender = ContactRecord | Agent | None
"""``None``: an automation, a greeting, a survey or an activity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRecord:
    """One message.

    :ivar id: Unique in the installation.
    :ivar content: ``None`` when there are only attachments.
    :ivar created_at: Unix seconds.
    :ivar attachments: Fields that differ from an image without size and URL.
    """

    id: int = 9001
    content: str | None = "Hello"
    type: MessageType = MessageType.INCOMING
    private: bool = False
    sender: Sender = field(default_factory=ContactRecord)
    created_at: float = EPOCH
    content_type: str = "text"
    content_attributes: t.Mapping[str, t.Any] = field(default_factory=dict)
    additional_attributes: t.Mapping[str, t.Any] = field(default_factory=dict)
    attachments: tuple[t.Mapping[str, t.Any], ...] = ()
    source_id: str | None = None
    status: str = "sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversationRecord:
    """A conversation without its messages.

    :ivar id: The display id: the one in URLs, counted per account.
    :ivar snoozed_until: Unix seconds; only while it is snoozed.
    :ivar updated_at: Unix seconds of the last change, messages included; ``None``: of
        the last message.
    """

    id: int = 42
    account: Account = field(default_factory=Account)
    inbox: Inbox = field(default_factory=Inbox)
    contact: ContactRecord = field(default_factory=ContactRecord)
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
    updated_at: float | None = None


History = t.Sequence[MessageRecord]
"""All messages of a conversation, oldest first."""


def parse_version(text: str) -> Version:
    """``"4.16.2"`` as a tuple that can be compared.

    :raises ValueError: It is not two or three numbers with full stops between them.
    """
    version = versions.parse(text) or ()

    # The parser ignores what follows the numbers; here that is a mistake.
    if text not in (".".join(map(str, version[:n])) for n in (2, 3)) or not version:
        raise ValueError(f"{text!r} is not a version of Chatwoot. Example: 4.16.2.")

    return version
