"""What an attempt at a turn works with."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from flask import Flask

from flask_chatwoot.config import Config
from flask_chatwoot.ownership.gate import Gate
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.queue.jobs import Queue
from flask_chatwoot.queue.outbox import Outbox
from flask_chatwoot.queue.revisions import Revisions
from flask_chatwoot.replies import Registry

from .calls import Calls
from .feedback import DraftFeedback
from .handoff import ConversationChanges
from .history import History
from .language import OperatorsLanguage
from .left import LeftUnanswered
from .posting import Poster
from .typing_indicator import TypingIndicator


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TurnParts:
    """One app's objects for its turns. Threads share them."""

    app: Flask
    clock: t.Callable[[], float]
    config: Config
    providers: Registry
    queue: Queue
    outbox: Outbox
    revisions: Revisions
    ownership: OwnershipStore
    gate: Gate
    poster: Poster
    changes: ConversationChanges
    history: History
    typing: TypingIndicator
    calls: Calls
    left: LeftUnanswered
    language: OperatorsLanguage
    feedback: DraftFeedback
