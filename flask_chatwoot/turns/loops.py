"""Whether a conversation goes round in a loop, as between two machines. Pure functions.

An auto-responder on WhatsApp or a ticket system answers each answer of the bot, and
nothing in its messages says that a machine wrote them.
"""

from __future__ import annotations

import typing as t

from flask_chatwoot.outcomes import Reason
from flask_chatwoot.queue.recent import HASH_SIZE, RecentMessage

REASONS: t.Final = frozenset({Reason.REPEATED_TEXT, Reason.TOO_MANY_TURNS})
"""The reasons of a loop."""


def loop_in(
    recent: t.Sequence[RecentMessage],
    *,
    repeats: int,
    turns: int,
    answers: bool,
    changes: int = 0,
) -> Reason | None:
    """Why a turn must not be answered; ``None`` if it may be.

    :param recent: The messages of the last hour, oldest first; the turn's own are last.
    :param repeats: ``CHATWOOT_MAX_REPEATS``.
    :param turns: ``CHATWOOT_MAX_TURNS_PER_HOUR``.
    :param answers: The bot has the conversation. What came before it handed a loop off
        does not count: an operator has returned or resolved the conversation since.
    :param changes: How often the turn's messages were changed. Each change may have
        begun the turn again, so it counts like a turn.
    """
    if answers:
        recent = _since_hand_off(recent)

    if repeats and _in_a_row(recent) > repeats and not _was_offered(recent):
        return Reason.REPEATED_TEXT

    if turns and len({each.turn for each in recent}) + changes > turns:
        return Reason.TOO_MANY_TURNS

    return None


def _since_hand_off(recent: t.Sequence[RecentMessage]) -> t.Sequence[RecentMessage]:
    ends = [number for number, each in enumerate(recent, 1) if each.reason in REASONS]

    return recent[ends[-1] :] if ends else recent


def _in_a_row(recent: t.Sequence[RecentMessage]) -> int:
    """How often the newest text came in a row."""
    count = 0

    for each in reversed(recent):
        if each.text_hash is None or each.text_hash != recent[-1].text_hash:
            break

        count += 1

    return count


def _was_offered(recent: t.Sequence[RecentMessage]) -> bool:
    """Whether the newest text is that of a choice, which may be picked at will.

    Only a website reports it as picked; on other channels the customer sends its title
    (``app/services/whatsapp/incoming_message_service_helpers.rb``).
    """
    return any(
        recent[-1].text_hash == each.offered[at : at + HASH_SIZE]
        for each in recent
        if each.offered
        for at in range(0, len(each.offered), HASH_SIZE)
    )
