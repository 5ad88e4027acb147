"""Answer Chatwoot conversations from a Flask app.

PYTEST_DONT_REWRITE: the test kit is a plugin, and hosts may import us before pytest.
"""

from __future__ import annotations

from .bot import current_bot
from .errors import ChatwootError
from .events import Attachment, Contact
from .extension import Chatwoot
from .mode import Mode
from .outcomes import Outcome, Reason
from .policy import Assignee, Audience, Decision, Facts, Rules, Speaker, decide
from .posting import Post
from .replies import Handoff, Message, Reply, Turn
from .signals import after_post, before_post, turn_finished

__all__ = [
    "Assignee",
    "Attachment",
    "Audience",
    "Chatwoot",
    "ChatwootError",
    "Contact",
    "Decision",
    "Facts",
    "Handoff",
    "Message",
    "Mode",
    "Outcome",
    "Post",
    "Reason",
    "Reply",
    "Rules",
    "Speaker",
    "Turn",
    "after_post",
    "before_post",
    "current_bot",
    "decide",
    "turn_finished",
]
