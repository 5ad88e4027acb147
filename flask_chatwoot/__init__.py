"""Answer Chatwoot conversations from a Flask app."""

from __future__ import annotations

from .bot import current_bot
from .errors import ChatwootError
from .events import Attachment, Contact
from .extension import Chatwoot
from .mode import Mode
from .outcomes import Outcome, Reason
from .posting import Post
from .replies import Reply, Turn
from .signals import after_post, before_post, turn_finished

__all__ = [
    "Attachment",
    "Chatwoot",
    "ChatwootError",
    "Contact",
    "Mode",
    "Outcome",
    "Post",
    "Reason",
    "Reply",
    "Turn",
    "after_post",
    "before_post",
    "current_bot",
    "turn_finished",
]
