"""Single deliveries as Chatwoot makes them: payloads, signatures and requests.

Public as part of :mod:`flask_chatwoot.testing`.
"""

from __future__ import annotations

import itertools
import time
import typing as t
import uuid
from dataclasses import dataclass, field

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_chatwoot.payloads import signature
from flask_chatwoot.runtime import current_runtime

# The simulator is imported where it is used: every run of pytest loads this module,
# also in other projects of the same environment.
if t.TYPE_CHECKING:
    from flask_chatwoot.simulator.payloads import ConversationRecord, Version

JSON = dict[str, t.Any]
Channel = t.Literal["website", "api", "email", "whatsapp"]
Kind = t.Literal["account", "bot"]

CHANNELS: t.Final[t.Mapping[str, str]] = {
    "website": "Channel::WebWidget",
    "api": "Channel::Api",
    "email": "Channel::Email",
    "whatsapp": "Channel::Whatsapp",
}
"""Chatwoot's names for the kinds of inboxes."""

VERSIONS: t.Final[t.Mapping[str, str]] = {
    "4.2": "4.2.0",
    "4.9": "4.9.0",
    "4.12": "4.12.0",
    "4.16": "4.16.2",
}
"""Releases whose payloads differ: the first one of each kind, and the newest known.
Any other release is written in full, such as ``4.14.2``."""


class Where(t.TypedDict, total=False):
    """The parameters of all payload factories.

    ``version`` is one of :data:`VERSIONS` or written in full, ``channel`` one of
    :data:`CHANNELS`, and ``kind`` the webhook's: ``"account"``, or ``"bot"`` for an
    agent bot. ``mode`` is the customer's choice, ``None`` for no choice, and
    ``attribute`` the name of the custom attribute that holds it. ``id`` is the
    message's, by default a new one each time. The default of ``status`` depends on the
    kind. ``message`` and ``conversation`` hold further fields of the simulator's
    messages and conversations, such as ``created_at``, which is now by default.
    """

    version: str
    channel: Channel
    kind: Kind
    mode: str | None
    attribute: str
    account_id: int
    inbox_id: int
    conversation_id: int
    id: int
    status: str
    message: t.Mapping[str, t.Any]
    conversation: t.Mapping[str, t.Any]


def customer_message(
    text: str | None = "Where is my order?", **where: t.Unpack[Where]
) -> JSON:
    """The payload of a delivery about a customer's message.

    An e-mail quotes an older one below the text, as mail programs do.

    :param text: ``None`` as in a message that has only attachments.
    :param where: See :class:`Where`.
    """
    from flask_chatwoot.simulator import payloads

    sample = _Sample(**where)
    conversation = sample.talk()
    fields: JSON = {
        "id": sample.id,
        "created_at": sample.now,
        "sender": conversation.contact,
        **_SOURCE.get(sample.channel, {}),
        **sample.message,
    }

    if sample.channel == "email" and text is not None:
        message = payloads.incoming_email(
            text, quoted=_OLDER_MAIL, version=sample.parsed, **fields
        )
    else:
        message = payloads.MessageRecord(content=text, **fields)

    return payloads.message_event(message, conversation, version=sample.parsed)


def operator_message(
    text: str = "Let me see.", *, private: bool = False, **where: t.Unpack[Where]
) -> JSON:
    """The payload of a delivery about an operator's message.

    :param private: Whether it is a note, which the customer does not see.
    :param where: See :class:`Where`.
    """
    from flask_chatwoot.simulator import payloads

    sample = _Sample(**where)
    fields: JSON = {
        "id": sample.id,
        "created_at": sample.now,
        "sender": payloads.Agent(),
        "type": payloads.MessageType.OUTGOING,
        **sample.message,
    }
    message = payloads.MessageRecord(content=text, private=private, **fields)

    return payloads.message_event(message, sample.talk(), version=sample.parsed)


def conversation_event(
    event: str = "conversation_status_changed",
    *,
    changed: t.Mapping[str, tuple[t.Any, t.Any]] | None = None,
    **where: t.Unpack[Where],
) -> JSON:
    """The payload of a delivery about a conversation.

    :param event: Chatwoot's name for it, such as ``"conversation_updated"``.
    :param changed: Attribute to (before, after).
    :param where: See :class:`Where`.
    """
    from flask_chatwoot.simulator import payloads

    sample = _Sample(**where)

    return payloads.conversation_event(
        event, sample.talk(), version=sample.parsed, changed=changed
    )


_ids = itertools.count(9001)

_OLDER_MAIL: t.Final = "On Monday Olga Operator wrote:\n> How can we help?"

_SOURCE: t.Final[t.Mapping[str, JSON]] = {
    "website": {"content_attributes": {"in_reply_to": None}},
    "email": {"source_id": "b7c1d2@mail.example.com"},
    "whatsapp": {"source_id": "wamid.HBgNNDkxNTExMjM0NTY3OBUCABIYFDNB"},
}
"""The fields of a message that depend on its channel."""

_VISIT: t.Final[t.Mapping[str, JSON]] = {
    "website": {
        "browser": {
            "browser_name": "Firefox",
            "browser_version": "140.0",
            "device_name": "Unknown",
            "platform_name": "Generic Linux",
            "platform_version": "0",
        },
        "referer": "https://shop.example.com/orders",
        "initiated_at": {"timestamp": "Mon Jul 27 2026 11:12:30 GMT+0200 (CEST)"},
        "browser_language": "en",
    },
    "email": {
        "source": "email",
        "mail_subject": "Question",
        "initiated_at": {"timestamp": "2026-07-27T09:12:30.000Z"},
    },
}
"""The additional attributes of a conversation. For a website the widget sets them, for
e-mails ``app/mailboxes/support_mailbox.rb``."""

_CONTACT: t.Final[t.Mapping[str, JSON]] = {
    "email": {"email": "ada@example.com"},
    "whatsapp": {"phone_number": "+4915112345678"},
}
"""The fields of a customer that depend on the channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """:class:`Where`, with its defaults."""

    version: str = "4.16"
    channel: Channel = "website"
    kind: Kind = "account"
    mode: str | None = "bot"
    attribute: str = "support_mode"
    account_id: int = 1
    inbox_id: int = 3
    conversation_id: int = 42
    id: int = field(default_factory=lambda: next(_ids))
    status: str | None = None
    message: t.Mapping[str, t.Any] = field(default_factory=dict)
    conversation: t.Mapping[str, t.Any] = field(default_factory=dict)
    now: float = field(default_factory=time.time)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("channel", self.channel, CHANNELS),
            ("kind", self.kind, t.get_args(Kind)),
        ):
            if value not in known:
                raise ValueError(
                    f"There is no {name} {value!r}; use {', '.join(known)}."
                )

    @property
    def parsed(self) -> Version:
        """The version, for comparisons."""
        from flask_chatwoot.simulator.payloads import parse_version

        return parse_version(VERSIONS.get(self.version, self.version))

    def talk(self) -> ConversationRecord:
        """The conversation the delivery is about."""
        from flask_chatwoot.simulator import payloads

        fields: JSON = {
            "custom_attributes": {}
            if self.mode is None
            else {self.attribute: self.mode},
            "additional_attributes": _VISIT.get(self.channel, {}),
            "contact": payloads.ContactRecord(**_CONTACT.get(self.channel, {})),
            **self._for_bots(),
            **({} if self.status is None else {"status": self.status}),
            **self.conversation,
        }

        return payloads.ConversationRecord(
            id=self.conversation_id,
            account=payloads.Account(id=self.account_id),
            inbox=payloads.Inbox(
                id=self.inbox_id,
                name=self.channel.capitalize(),
                channel=CHANNELS[self.channel],
            ),
            **fields,
        )

    def _for_bots(self) -> JSON:
        """How a conversation begins where a bot answers (``conversation.rb``)."""
        from flask_chatwoot.simulator.payloads import Agent
        from flask_chatwoot.simulator.state import BOTS_OWN

        if self.kind == "account":
            return {}

        owned = {"assignee": Agent(id=3, name="Assistant", bot=True)}

        return {"status": "pending", **(owned if self.parsed >= BOTS_OWN else {})}


def encoded(payload: t.Mapping[str, t.Any]) -> bytes:
    """The body with which Chatwoot delivers a payload."""
    from flask_chatwoot.simulator.encoding import to_json

    return to_json(dict(payload))


def signed(body: bytes, secret: str, *, age: float = 0.0) -> dict[str, str]:
    """The headers with which Chatwoot delivers a body, its signature included.

    :param secret: The webhook's; an empty one leaves the signature out.
    :param age: How many seconds ago it was signed; a negative number is in the future.
    """
    headers = {"Content-Type": "application/json", "Accept": "application/json"}

    if not secret:
        return headers

    timestamp = str(int(time.time() - age))

    return {
        **headers,
        "X-Chatwoot-Delivery": str(uuid.uuid4()),
        signature.TIMESTAMP_HEADER: timestamp,
        signature.SIGNATURE_HEADER: signature.sign(
            body, secret=secret, timestamp=timestamp
        ),
    }


def deliver(
    client: FlaskClient, payload: t.Mapping[str, t.Any], secret: str | None = None
) -> TestResponse:
    """Send a payload to the app's webhook, as Chatwoot does.

    The URL has the app's token, if there is one.

    :param client: ``app.test_client()``.
    :param secret: The secret to sign with; ``None``: that of the app. Empty: unsigned.
    :raises ConfigError: The extension is not initialized for the app.
    """
    with client.application.app_context():
        config = current_runtime().config

    if secret is None:
        secret = next(iter(config.webhook_secret), "")

    body = encoded(payload)
    query = {} if config.webhook_token is None else {"token": config.webhook_token}

    return client.post(
        f"{config.url_prefix}/webhook",
        data=body,
        headers=signed(body, secret),
        query_string=query,
    )
