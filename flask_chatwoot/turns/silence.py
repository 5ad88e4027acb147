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

from . import handoff, loops

_WHY: t.Final[t.Mapping[str, str]] = {
    Reason.EMPTY: "the message has no content that the bot can read.",
    Reason.NO_ANSWER: "the bot has no answer.",
    Reason.NO_PROVIDER: "the bot has no reply function for this mode.",
    Reason.TOO_OLD: "the message is older than CHATWOOT_MAX_AGE.",
}
"""Reasons of silence that nobody wanted, and what the note says of each."""


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

    return reason in _WHY and providers.serves(event.conversation.inbox_id)


def posts_about(reason: str, turn: Turn) -> tuple[list[DraftPart], str]:
    """The note for operators, and the hand-off after it, as JSON.

    :param reason: Of a turn without an answer, or one of :data:`.loops.WHY`.
    """
    why = _WHY.get(reason) or loops.WHY.get(reason)
    note = handoff.note(Handoff(reason=why), turn, "")

    return [DraftPart(storable(note), True)], handoff.encode(Handoff(), because=reason)
