"""The bodies of Chatwoot's deliveries and of its API's answers, as plain dicts.

A small model of Chatwoot's records, and functions that write it as a given version of
Chatwoot does. A version is a tuple such as ``(4, 16, 2)``; 4.2 to 4.16 are known.
Nothing here uses the network, the clock or the disk.
"""

from __future__ import annotations

from .answers import (
    api_assignee,
    api_conversation,
    api_conversations,
    api_messages,
    api_status,
    api_team,
    drops,
    profile,
)
from .events import (
    changes,
    conversation_event,
    incoming_email,
    message_event,
    typing_event,
)
from .records import (
    EPOCH,
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
    parse_version,
)
from .shared import api_message, last_update

__all__ = [
    "EPOCH",
    "JSON",
    "NEWEST",
    "Account",
    "Agent",
    "ContactRecord",
    "ConversationRecord",
    "History",
    "Inbox",
    "MessageRecord",
    "MessageType",
    "Sender",
    "Team",
    "Version",
    "api_assignee",
    "api_conversation",
    "api_conversations",
    "api_message",
    "api_messages",
    "api_status",
    "api_team",
    "changes",
    "conversation_event",
    "drops",
    "incoming_email",
    "last_update",
    "message_event",
    "parse_version",
    "profile",
    "typing_event",
]
