"""What follows if a turn ends without an answer. Pure functions.

Operators do not see pending conversations, so a customer who gets no answer there would
wait for ever: the conversation is handed off, with a note that says why.
"""

from __future__ import annotations

import typing as t

from flask_chatwoot.config import Config
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.payloads.fields import storable
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.replies import Handoff, Registry, Turn
from flask_chatwoot.texts import ENGLISH, Texts

from . import handoff, loops

_REASONS: t.Final = frozenset(
    {Reason.EMPTY, Reason.NO_ANSWER, Reason.NO_PROVIDER, Reason.TOO_OLD}
)
"""Reasons of silence that nobody wanted."""


def is_unwanted(
    reason: str | None, event: MessageEvent, *, providers: Registry, config: Config
) -> bool:
    """Whether a turn without an answer must not leave a conversation pending.

    A Chatwoot inbox for which no provider is registered in any mode needs no answer:
    others answer there.

    ``CHATWOOT_ON_SILENCE`` is not about messages that are too old.

    :param event: The turn's newest message.
    """
    if config.on_silence == "leave" and reason != Reason.TOO_OLD:
        return False

    return reason in _REASONS and providers.serves(event.conversation.inbox_id)


def posts_about(
    reason: str, turn: Turn, texts: Texts = ENGLISH
) -> tuple[list[DraftPart], str]:
    """The note for operators, and the hand-off after it, as JSON.

    :param reason: Of a turn without an answer, or one of :data:`.loops.REASONS`.
    """
    kind = "loop" if reason in loops.REASONS else "silent"
    why = texts.find(f"{kind}_{reason}")
    note = handoff.note(Handoff(reason=why), turn, "", texts)

    return [DraftPart(storable(note), True)], handoff.encode(Handoff(), because=reason)
