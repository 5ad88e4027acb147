"""Deliveries as Chatwoot writes them, and what the parser makes of a contact."""

from __future__ import annotations

import typing as t

from flask_chatwoot.payloads.conversation import Contact

CONTACT: t.Final[dict[str, t.Any]] = {
    **{"id": 55, "name": "Ada", "email": "ada@example.com", "identifier": "crm-7"},
    **{"phone_number": "+4912345", "custom_attributes": {"plan": "gold"}},
}
ADA: t.Final = Contact(**CONTACT)
MESSAGE: t.Final[dict[str, t.Any]] = {
    "event": "message_created",
    "id": 9001,
    "content": "Where is my order?",
    "content_type": "text",
    "content_attributes": {},
    "message_type": "incoming",
    "private": False,
    "created_at": "2026-07-27T09:12:33.123Z",
    "sender": CONTACT,
    "account": {"id": 1, "name": "Acme"},
    "inbox": {"id": 3, "name": "Website"},
    "conversation": {
        "id": 42,
        "inbox_id": 3,
        "channel": "Channel::WebWidget",
        "status": "open",
        "custom_attributes": {},
        "additional_attributes": {"browser_language": "de"},
        "meta": {"sender": CONTACT | {"type": "contact"}},
        "messages": [],
    },
}
HUMAN, BOT = ({"support_mode": mode, "topic": "x"} for mode in ("human", "bot"))
CONVERSATION: t.Final[dict[str, t.Any]] = {
    "event": "conversation_updated",
    "id": 42,
    "status": "open",
    "account": {"id": 1, "name": "Acme"},
    "custom_attributes": {"support_mode": "bot"},
    "changed_attributes": [
        {"custom_attributes": {"previous_value": HUMAN, "current_value": BOT}}
    ],
    "meta": {"sender": CONTACT},
}
