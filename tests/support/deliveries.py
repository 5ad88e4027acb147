"""Deliveries by hand, signed as Chatwoot signs them."""

from __future__ import annotations

import json
import time
import typing as t

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_chatwoot.payloads import signature
from flask_chatwoot.simulator import payloads
from flask_chatwoot.simulator.payloads import (
    JSON,
    Account,
    Agent,
    ConversationRecord,
    MessageRecord,
    MessageType,
    Version,
)

SECRET: t.Final = "whsec_example_123"
WEBHOOK: t.Final = "/chatwoot/webhook"
NOW: t.Final = time.time()
"""When messages are written, unless told: an old one is not answered."""


def message(
    text: str | None = "Where is my order?",
    *,
    id: int = 9001,
    conversation_id: int = 42,
    mode: str | None = "bot",
    account_id: int = 1,
    inbox_id: int = 3,
    version: Version = payloads.NEWEST,
    **fields: t.Any,
) -> JSON:
    """The body of a delivery about one message, from a customer unless told."""
    conversation = ConversationRecord(
        id=conversation_id,
        account=Account(id=account_id),
        inbox=payloads.Inbox(id=inbox_id),
        custom_attributes={} if mode is None else {"support_mode": mode},
    )

    return payloads.message_event(
        MessageRecord(id=id, content=text, **{"created_at": NOW, **fields}),
        conversation,
        version=version,
    )


def echo(created: JSON, **fields: t.Any) -> JSON:
    """The delivery by which Chatwoot tells of a message made through its API."""
    return message(
        created["content"],
        id=created["id"],
        conversation_id=created["conversation_id"],
        private=created["private"],
        type=MessageType.OUTGOING,
        sender=Agent(),
        content_attributes=created["content_attributes"],
        **fields,
    )


def as_bytes(body: JSON | bytes) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def signed(
    body: JSON | bytes, *, secret: str = SECRET, age: float = 0.0
) -> dict[str, t.Any]:
    """Arguments for ``client.post``: the body, and headers that prove its origin."""
    raw = as_bytes(body)
    timestamp = str(int(time.time() - age))

    return {
        "data": raw,
        "content_type": "application/json",
        "headers": {
            signature.TIMESTAMP_HEADER: timestamp,
            signature.SIGNATURE_HEADER: signature.sign(
                raw, secret=secret, timestamp=timestamp
            ),
        },
    }


def deliver(client: FlaskClient, body: JSON | bytes) -> TestResponse:
    return client.post(WEBHOOK, **signed(body))
