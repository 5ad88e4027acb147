"""The context of a policy, from a delivery, the ownership and the live state.

Pure functions.
"""

from __future__ import annotations

import typing as t

from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation, Speaker
from flask_chatwoot.payloads.events import MessageEvent

from .mode import Mode, ModeAttribute
from .policy import PolicyContext, PolicySettings
from .state import Ownership, newest_mode, newest_status

_SKEW: t.Final = 300.0
"""Seconds by which Chatwoot's clock may be ahead."""


def context_of(
    event: MessageEvent,
    ownership: Ownership,
    *,
    modes: ModeAttribute,
    settings: PolicySettings,
    age: float,
) -> PolicyContext:
    """The context when a turn begins."""
    conversation = event.conversation
    answered = is_answered(event, ownership)

    return PolicyContext(
        taken=ownership.taken,
        answered=answered,
        bot_answered=is_bot_answered(event, ownership),
        assignee=conversation.assignee,
        last_speaker=Speaker.OPERATOR if answered else Speaker.CUSTOMER,
        blocked=conversation.blocked,
        can_reply=conversation.can_reply,
        auto_reply=event.message.auto_reply,
        age=age,
        inbox_id=event.conversation.inbox_id,
        settings=settings,
        **as_delivered(
            event,
            ownership,
            mode=chosen_mode(conversation, ownership, modes),
            status=conversation.status,
        ),
    )


class _Delivered(t.TypedDict):
    mode: Mode
    status: str | None


def as_delivered(
    event: MessageEvent, ownership: Ownership, *, mode: Mode, status: str | None
) -> _Delivered:
    """Mode and status by the newest delivery, which may be later than the question's.

    :param mode: By that of the question, like the status.
    """
    at = event.conversation.updated_at

    return {
        "mode": newest_mode(ownership, mode, at),
        "status": newest_status(ownership, status, at),
    }


def with_live(
    context: PolicyContext,
    live: Conversation,
    ownership: Ownership,
    *,
    modes: ModeAttribute,
    last_speaker: Speaker | None,
    answered: bool,
    bot_answered: bool,
) -> PolicyContext:
    """The same context with the live state.

    :param last_speaker: Who wrote last in public; ``None`` if that is unknown.
    :param answered: An operator answered the question.
    :param bot_answered: Another bot did.
    """
    mode, status, at = chosen_mode(live, ownership, modes), live.status, live.updated_at

    if at is not None:  # a delivery since the read may show a later state
        mode = newest_mode(ownership, mode, at)
        status = newest_status(ownership, status, at)

    return context._replace(
        mode=mode,
        answered=answered or context.answered,
        bot_answered=bot_answered or context.bot_answered,
        status=status,
        assignee=live.assignee,
        last_speaker=last_speaker or context.last_speaker,
        blocked=live.blocked,
        can_reply=live.can_reply,
        live=True,
    )


def chosen_mode(
    conversation: Conversation, ownership: Ownership, modes: ModeAttribute
) -> Mode:
    """The mode of a conversation.

    A value that this package wrote ends with a resolve.
    """
    if ownership.to_restore is not None and modes.choice(conversation) is Mode.HUMAN:
        return Mode.BOT

    return modes.resolve(conversation)


def is_answered(event: MessageEvent, ownership: Ownership) -> bool:
    """Whether an operator wrote after the question. A click has its question's id."""
    return is_answer(event, ownership.operator_message_id)


def is_answer(event: MessageEvent, message_id: int) -> bool:
    """Whether an operator's or a bot's message is newer than the question.

    A click is newer than the id of its question.
    """
    return message_id > event.message.id and not event.digest


def is_bot_answered(event: MessageEvent, ownership: Ownership) -> bool:
    """Whether another bot wrote after the question."""
    return is_answer(event, ownership.bot_message_id)


def age_of(
    event: MessageEvent,
    *,
    received_at: float,
    now: float,
    remembered: float,
    ahead: float = 0.0,
) -> float:
    """Seconds since the question was written, by the oldest time that it states.

    However long that is: an import may be of any age. Where a clock may be wrong, see
    :meth:`.Gate.is_too_old`.

    :param received_at: When its oldest delivery came, Unix seconds.
    :param remembered: Seconds for which duplicates are recognised.
    :param ahead: Seconds by which the database's time, of which ``now`` is, is ahead of
        the machine's clock. One of them was wrong once, so a message is not older than
        both say.
    """
    created, written = event.message.created_at, event.message.written_at

    # What came long before it was written came by a clock that was behind then.
    if created is not None:
        received_at = max(received_at, created - _SKEW)

    age = now - received_at
    waited = age if written is None else now - max(ahead, 0.0) - written

    # Chatwoot does not send the time of a click, only that of its question. Older
    # than duplicates are remembered, a click may be a repeat of one that was answered.
    if event.digest and waited <= remembered:
        return age

    return max(age, waited)


def is_older_than(event: MessageEvent, seconds: float) -> bool:
    """Whether Chatwoot's times alone show that a message is so old.

    The conversation changed last when Chatwoot stored the message, or later.
    """
    written, changed = event.message.written_at, event.conversation.updated_at

    if written is None or changed is None:
        return False

    return changed - written > seconds


def needs_list(live: Conversation, question: int) -> bool:
    """Whether the newest message does not show if an operator answered.

    A message after the question may hide an operator's answer: a note, another message
    of the customer, a message of a bot.
    """
    last = live.last_message

    if last is None or last.speaker is None:
        return True

    return last.id > question and last.speaker is not Speaker.OPERATOR


def last_speaker(messages: t.Sequence[ChatwootMessage]) -> Speaker | None:
    """Who wrote the last public message; ``None`` if there is none."""
    spoken = [each.speaker for each in messages if each.speaker is not None]

    return spoken[-1] if spoken else None


def campaign_in(
    messages: t.Sequence[ChatwootMessage], conversation: Conversation
) -> set[int]:
    """The ids of what a campaign wrote, with which a conversation began.

    It writes in the name of a user, and the list does not say that it is a campaign
    (``app/views/api/v1/models/_message``); but it is not the first reply.

    :param messages: All of the conversation.
    """
    ids = [each.id for each in messages if each.speaker is Speaker.CUSTOMER]
    first_question = min(ids, default=None)
    replied_at = conversation.first_reply_at

    return {
        each.id
        for each in messages
        if each.by_operator
        and (first_question is None or each.id < first_question)
        and (replied_at is None or (each.created_at or 0.0) < int(replied_at))
    }
