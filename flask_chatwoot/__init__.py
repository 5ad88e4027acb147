"""Answer Chatwoot conversations from a Flask app.

PYTEST_DONT_REWRITE: flask_chatwoot.testing is a pytest plugin, and a host may import
this package before pytest can rewrite it.
"""

from __future__ import annotations

import importlib
import typing as t

from .errors import ChatwootError, GiveUp
from .history import HistoryEntry
from .outcomes import DeliveryOutcome, DraftVerdict, Reason, TurnOutcome
from .ownership.mode import Mode
from .ownership.policy import (
    Audience,
    Decision,
    PolicyContext,
    PolicySettings,
    default_policy,
)
from .payloads.attachments import Attachment
from .payloads.channels import Channel
from .payloads.conversation import Assignee, Contact, Speaker
from .replies import Handoff, Message, NoReply, Reply, Turn
from .signals import (
    after_post,
    before_post,
    draft_reviewed,
    got_exception,
    suggested,
    turn_due,
    turn_finished,
    undelivered,
)

if t.TYPE_CHECKING:
    from .extension import Chatwoot
    from .turns.posting import Post

__all__ = [
    "Assignee",
    "Attachment",
    "Audience",
    "Channel",
    "Chatwoot",
    "ChatwootError",
    "Contact",
    "Decision",
    "DeliveryOutcome",
    "DraftVerdict",
    "GiveUp",
    "Handoff",
    "HistoryEntry",
    "Message",
    "Mode",
    "NoReply",
    "PolicyContext",
    "PolicySettings",
    "Post",
    "Reason",
    "Reply",
    "Speaker",
    "Turn",
    "TurnOutcome",
    "after_post",
    "before_post",
    "default_policy",
    "draft_reviewed",
    "got_exception",
    "suggested",
    "turn_due",
    "turn_finished",
    "undelivered",
]


_WITH_FLASK: t.Final = {
    "Chatwoot": "extension",
    "Post": "turns.posting",
}


def __getattr__(name: str) -> t.Any:
    """Import the names that need Flask on first use: the client works without."""
    if name not in _WITH_FLASK:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    module = importlib.import_module(f"{__name__}.{_WITH_FLASK[name]}")
    globals()[name] = getattr(module, name)

    return globals()[name]
