"""What becomes of a message that catch-up reads in Chatwoot. Pure functions."""

from __future__ import annotations

import typing as t
from enum import StrEnum

from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation
from flask_chatwoot.payloads.fields import BY_HOST
from flask_chatwoot.queue.inspection import KEEP
from flask_chatwoot.queue.sweeps import SweepState

YOUNG_FOR: t.Final = 15.0
"""Seconds for which a message is left to its delivery."""


class Verdict(StrEnum):
    """What becomes of a message."""

    TAKEN_IN = "is taken in"
    KNOWN = "is known"
    YOUNG = "is left to its delivery"  # until a later sweep
    ANSWERED = "was answered by an operator or another bot"
    TOO_OLD = "is older than CHATWOOT_MAX_AGE"
    BEFORE = "was written before this database began"
    DELETED = "was deleted"


class Times(t.NamedTuple):
    """The times that decide.

    :ivar now: Unix seconds, like the other moments.
    :ivar began_with: See :class:`.SweepState`.
    :ivar young_for: Seconds for which a message is left to its delivery.
    :ivar max_age: Seconds after which a message is not given to the provider.
    :ivar ahead: Seconds by which the database's time, of which the moments are, is
        ahead of the machine's clock. One of them was wrong once, and Chatwoot's times
        may agree with either; nothing is left only because one of them says so.
    """

    now: float
    began_at: float = 0.0
    began_with: int = 0
    young_for: float = 0.0
    max_age: float = 3600.0
    ahead: float = 0.0

    def age(self, written_at: float) -> float:
        """Seconds since a message was written, at least; not below zero."""
        return max(self.now - max(self.ahead, 0.0) - written_at, 0.0)

    def is_young(self, at: float) -> bool:
        """Whether what was written or changed then is left to its delivery."""
        age = max(self.now - min(self.ahead, 0.0) - at, 0.0)

        return age < self.young_for

    def is_before(self, message_id: int, written_at: float) -> bool:
        """Whether a message is from before the beginning of this database.

        Or so old that jobs of its time are pruned, and nobody knows any more.
        """
        if self.age(written_at) > KEEP:
            return True

        after = 0 < self.began_with <= message_id

        return written_at + max(self.ahead, 0.0) < self.began_at and not after


class Question(t.NamedTuple):
    """What a customer wrote or picked, as far as it decides.

    :ivar written_at: When its row was made in Chatwoot, Unix seconds.
    :ivar older: Seconds by which it is older than that by its own account.
    :ivar answered: An operator, another bot or another instance wrote later.
    """

    id: int
    written_at: float
    older: float = 0.0
    known: bool = False
    answered: bool = False
    deleted: bool = False


def judge(question: Question, times: Times) -> Verdict:
    """What becomes of a customer's message; the first line that applies decides."""
    table = (
        (question.known, Verdict.KNOWN),
        (times.is_before(question.id, question.written_at), Verdict.BEFORE),
        (question.deleted, Verdict.DELETED),
        (question.answered, Verdict.ANSWERED),
        (times.is_young(question.written_at), Verdict.YOUNG),
        (
            times.age(question.written_at - question.older) > times.max_age,
            Verdict.TOO_OLD,
        ),
    )

    return next((verdict for holds, verdict in table if holds), Verdict.TAKEN_IN)


class Author(StrEnum):
    """Who made an outgoing message."""

    OURS = "ours"
    """A draft has its id."""
    UNCONFIRMED = "unconfirmed"
    """It is the post of a draft that has no id yet."""
    FOREIGN = "foreign"
    """It has the marker of a reply of this package, but no draft has."""
    OPERATOR = "operator"
    BOT = "bot"
    OTHER = "other"
    """A note, an automation, a campaign, a template, a host with another database."""

    @property
    def answers(self) -> bool:
        """Whether what it wrote is an answer that is not ours."""
        return self in (Author.FOREIGN, Author.OPERATOR, Author.BOT)


def author_of(message: ChatwootMessage, *, kept: bool, pending: bool) -> Author:
    """Who made an outgoing message.

    :param kept: A draft has its id.
    :param pending: It is the post of a draft without an id.
    """
    if kept:
        return Author.OURS

    if pending:
        return Author.UNCONFIRMED

    if message.marker is not None:
        is_by_host = message.marker.startswith(BY_HOST)
        return Author.OTHER if is_by_host else Author.FOREIGN

    if message.by_operator:
        return Author.OPERATOR

    return Author.BOT if message.bot is not None else Author.OTHER


def is_of_another_instance(
    message: ChatwootMessage, state: SweepState, times: Times
) -> bool:
    """Whether a post of unknown origin shows that another instance answers now.

    Not if this database may have forgotten it: it was made before the database began,
    or while no process ran (the file may be an older copy), or its job may be pruned.
    """
    written_at = message.created_at or 0.0

    return (
        not message.private
        and state.settled
        and message.id > state.newest_id
        and written_at + min(times.ahead, 0.0) > state.running_since
        and times.age(written_at) < KEEP / 2
    )


def waits_for_us(conversation: Conversation, *, taken: bool, others: bool) -> bool:
    """Whether a conversation stays *pending* unless this app opens it.

    :param taken: An operator has it.
    :param others: Another bot has written in it.
    """
    return conversation.waits_for_bot and not (taken or others)


def young_for(interval: float, *, at_start: bool) -> float:
    """Seconds for which a message is left to its delivery.

    :param interval: Seconds between two sweeps.
    :param at_start: The process has just started: what was delivered before is lost.
    """
    return 0.0 if at_start else min(YOUNG_FOR, interval / 2)


def window_of(state: SweepState, times: Times) -> float:
    """How many seconds back the changes are that have to be read, without a margin."""
    since = state.began_at if state.swept_at is None else state.swept_at
    passed = times.now - since

    # Below zero the clock was set back since, and nobody knows how long ago that was.
    return min(passed if passed >= 0 else times.max_age, KEEP)


def pause_after(failures: int, interval: float, longest: float) -> float:
    """Seconds until the next sweep after so many that failed in a row."""
    return max(interval, min(interval * 2.0 ** min(failures, 20), longest))
