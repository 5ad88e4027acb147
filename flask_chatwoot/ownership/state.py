"""Who has a conversation: a frozen state, and how each event changes it.

Pure functions; :mod:`.store` loads and saves the state. Deliveries come late, twice
and in any order, so each event carries what it knew: the id of a message, or Chatwoot's
time of a state. These are compared with each other, never with this machine's clock.

============================ =====================================================
event                        effect
============================ =====================================================
:func:`operator_wrote`       operators have it, unless the message is older than the
                             last resolve or return
:func:`handed_off`           operators have it, unless the question is older than
                             the last resolve, or this very hand-off was seen before
:func:`known_later`          the hand-off knew a later state
:func:`resolved`             nobody has it, unless operators got it since
:func:`returned`             the bot has it, unless operators got it since
:func:`attribute_set`        the attribute says human; its former value is kept
:func:`attribute_restored`   the attribute has its former value again
:func:`mode_seen`            the attribute in a delivery: the time of human is
                             recorded, bot in a later state returns the conversation
:func:`live_mode_seen`       the attribute in the live state: bot returns the
                             conversation if it said human since the takeover
:func:`bot_wrote`            another bot answers it, until it is resolved
:func:`status_seen`          a status: the newest is kept; open after pending gives it
                             to operators, pending after another returns it
:func:`choice_seen`          the customer's choice in a delivery: the newest is kept
============================ =====================================================
"""

from __future__ import annotations

import typing as t

from .mode import Mode


class Ownership(t.NamedTuple):
    """Who has a conversation.

    :ivar taken: Operators have it: one wrote in public, the bot handed it off, or it
        was opened while it was pending; and it was neither resolved nor returned since.
    :ivar marked: The attribute said human after that.
    :ivar former: The attribute's value before this package set it to human, as JSON;
        ``None`` if the package did not set it.
    :ivar operator_message_id: The newest public message of an operator; 0 if none is
        known.
    :ivar human_at: Chatwoot's time, Unix seconds, of the newest state in which the
        attribute said human since the takeover; ``None`` if none was seen.
    :ivar resolved_message_id: The newest public message when the conversation was last
        resolved; 0 if it never was.
    :ivar bot_message_id: The newest public message of another bot since then; 0 if
        none is known.
    :ivar status: The newest status that a delivery about the conversation had.
    :ivar status_at: Chatwoot's time, Unix seconds, when that status was first seen.
    :ivar handoff_message_id: The newest message that was known of the question that
        was handed off last; 0 if none was.
    :ivar taken_at: Chatwoot's time of the state that is the reason why operators have
        it, other than a message.
    :ivar returned_message_id: The newest message when it was last returned.
    :ivar ended_at: Chatwoot's time of the last resolve or return.
    :ivar pending_at: Chatwoot's time of the first pending state since then.
    :ivar mode: The mode in the newest delivery; ``None`` if it was always bot.
    :ivar mode_at: Chatwoot's time of the state that showed it.
    :ivar restored_at: Chatwoot's time of the newest state that may show the value which
        this package set, after it wrote the former one back.
    """

    taken: bool = False
    marked: bool = False
    former: str | None = None
    operator_message_id: int = 0
    human_at: float | None = None
    resolved_message_id: int = 0
    bot_message_id: int = 0
    status: str | None = None
    status_at: float | None = None
    handoff_message_id: int = 0
    taken_at: float | None = None
    returned_message_id: int = 0
    ended_at: float | None = None
    pending_at: float | None = None
    mode: str | None = None
    mode_at: float | None = None
    restored_at: float | None = None

    @property
    def ended_message_id(self) -> int:
        """Operators' messages up to this one do not take the conversation over."""
        return max(self.resolved_message_id, self.returned_message_id)

    @property
    def to_restore(self) -> str | None:
        """The attribute's former value, as JSON, if it has to be written back.

        That is the case after a resolve: the attribute still says human, and nobody
        has the conversation.
        """
        return None if self.taken else self.former


Transition = t.Callable[[Ownership], Ownership]


def takes_over(state: Ownership, message_id: int) -> bool:
    """Whether an operator's message takes over and the attribute has to be set.

    ``True`` again for the same message until the attribute is set: the live state may
    show the message before its delivery comes, and only the delivery causes the
    attribute to be set. ``True`` as well for the first message of an operator who got
    the conversation without one.
    """
    ended = state.ended_message_id

    if not state.taken:
        return message_id > max(state.operator_message_id, ended)

    first = state.operator_message_id <= ended < message_id

    return not state.marked and (first or message_id == state.operator_message_id)


def operator_wrote(state: Ownership, message_id: int) -> Ownership:
    """An operator wrote to the customer."""
    newest = max(state.operator_message_id, state.ended_message_id)

    return state._replace(
        taken=state.taken or message_id > newest,
        marked=state.taken and state.marked,
        operator_message_id=max(state.operator_message_id, message_id),
    )


def handed_off(
    state: Ownership, message_id: int = 0, at: float | None = None
) -> Ownership:
    """The bot handed the conversation off to operators.

    :param message_id: The newest message in the delivery of the question; 0 if that is
        unknown.
    :param at: Chatwoot's time of the state in it.
    """
    if not state.taken and (
        _is_resolved_since(state, message_id, at) or _is_repeated(state, message_id, at)
    ):
        return state

    return state._replace(
        taken=True,
        marked=state.taken and state.marked,
        handoff_message_id=max(state.handoff_message_id, message_id),
        taken_at=_later(state.taken_at, at),
    )


def known_later(state: Ownership, at: float | None) -> Ownership:
    """Who handed it off knew a later state, of Chatwoot's time ``at``.

    The bot itself may have set the attribute to bot right before, after a resolve.
    """
    return state._replace(taken_at=_later(state.taken_at, at)) if state.taken else state


def _is_resolved_since(state: Ownership, message_id: int, at: float | None) -> bool:
    """Whether a question is older than the last resolve.

    Its delivery may have been built after the next message.
    """
    older = 0 < message_id <= state.resolved_message_id

    return older and not _is_before(state.ended_at, at)


def _is_repeated(state: Ownership, message_id: int, at: float | None) -> bool:
    """Whether a hand-off was seen before, and has ended since.

    A click makes no message, so that another hand-off may know the same one.
    """
    if not 0 < message_id <= state.handoff_message_id:
        return False

    return at is None or state.ended_at is None or _is_before(at, state.ended_at)


def resolved(state: Ownership, newest: int, at: float | None = None) -> Ownership:
    """The conversation was resolved, and starts again.

    :param newest: The newest public message at that time; 0 if it is unknown. If an
        operator wrote later, or the bot handed off later, or this or a later end was
        seen before, the delivery of the resolve is late, and they keep it.
    :param at: Chatwoot's time of that state.
    """
    since = max(state.operator_message_id, state.handoff_message_id)
    overtaken = 0 < newest < since or _is_before(at, state.taken_at)
    overtaken = overtaken or _is_known(at, state.ended_at)
    other_bot = 0 < newest < state.bot_message_id

    return _ended(state, at, overtaken=overtaken)._replace(
        resolved_message_id=max(state.resolved_message_id, newest),
        bot_message_id=state.bot_message_id if other_bot else 0,
    )


def returned(
    state: Ownership, newest: int | None = None, at: float | None = None
) -> Ownership:
    """The conversation was returned to the bot.

    :param newest: The newest message that was known when the return was seen; a later
        one of an operator took the conversation over again. ``None``: there is none.
    :param at: Chatwoot's time of the state that shows it.
    """
    if _is_known(at, state.taken_at):
        return state

    late = _is_known(at, state.ended_at) or _is_before(at, state.human_at)

    # This package restores the attribute then: an operator may have written before.
    if not (state.taken or late) and state.former is not None:
        return attribute_restored(state)

    after = _ended_by_return(state, newest, at)

    # The attribute may have been set to human again since.
    return after if late else after._replace(marked=False, former=None, human_at=None)


def _ended_by_return(
    state: Ownership, newest: int | None, at: float | None
) -> Ownership:
    """The same without the attribute, which may have to be restored."""
    overtaken = newest is not None and state.operator_message_id > newest

    return _ended(state, at, overtaken=overtaken)._replace(
        returned_message_id=max(state.returned_message_id, newest or 0)
    )


def _is_known(at: float | None, known: float | None) -> bool:
    """Whether what happened at a time is part of the state of the other time."""
    return at is not None and known is not None and at < known + MARGIN


def _ended(state: Ownership, at: float | None, *, overtaken: bool) -> Ownership:
    """The state after operators had the conversation, unless that is overtaken."""
    taken = state.taken and overtaken
    waits = _is_before(at, state.pending_at)

    return state._replace(
        taken=taken,
        marked=state.marked and overtaken,
        human_at=state.human_at if overtaken else None,
        taken_at=state.taken_at if taken else None,
        ended_at=_later(state.ended_at, at),
        pending_at=state.pending_at if waits else None,
    )


MARGIN: t.Final = 0.001
"""Seconds: Chatwoot rounds some times to that (``changed_attributes``)."""


def _is_before(at: float | None, other: float | None) -> bool:
    """Whether a time is known to be before another."""
    return at is not None and other is not None and at < other - MARGIN


def _later(at: float | None, other: float | None) -> float | None:
    return max((each for each in (at, other) if each is not None), default=None)


def attribute_set(state: Ownership, former: str | None = None) -> Ownership:
    """The attribute says human. The conversation may have been resolved meanwhile.

    :param former: Its value before the package set it, as JSON; ``None`` if an
        operator or a host set it.
    """
    return state._replace(
        marked=state.taken, former=state.former if former is None else former
    )


def attribute_restored(state: Ownership, at: float | None = None) -> Ownership:
    """The attribute has the value from before this package set it to human.

    Deliveries that are late or repeated still show human: not an operator's choice.

    :param at: Chatwoot's time of a state after that, or right before it.
    """
    return state._replace(
        marked=False,
        former=None,
        human_at=None,
        mode=None,
        mode_at=None,
        restored_at=_later(state.restored_at, at),
    )


def _is_restored(state: Ownership, at: float) -> bool:
    """Whether human in a state of that time was this package's own."""
    return state.restored_at is not None and at <= state.restored_at + MARGIN


def human_seen(state: Ownership, at: float) -> Ownership:
    """The attribute said human at that time."""
    if not state.taken or _is_restored(state, at):
        return state

    return state._replace(human_at=max(state.human_at or 0.0, at))


def mode_seen(
    state: Ownership, mode: Mode | None, at: float | None, newest: int
) -> Ownership:
    """A delivery shows the attribute.

    :param mode: ``None`` if the value is unknown.
    :param at: Chatwoot's time of that state; ``None`` if it is unknown.
    :param newest: As for :func:`returned`.
    """
    if not state.taken or at is None:
        return state

    if mode is Mode.HUMAN:
        return human_seen(state, at)

    if mode is Mode.BOT and state.human_at and at > state.human_at:
        return returned(state, newest, at)

    return state


def live_mode_seen(
    state: Ownership, mode: Mode | None, newest: int, at: float | None = None
) -> Ownership:
    """The live state shows the attribute.

    After it said human, only an operator or the host sets it to bot.

    :param newest: As for :func:`returned`, at the time of the read.
    :param at: As for :func:`returned`.
    """
    if state.taken and state.marked and mode is Mode.BOT:
        return returned(state, newest, at)

    return state


def bot_wrote(state: Ownership, message_id: int) -> Ownership:
    """Another bot wrote to the customer."""
    if message_id <= state.resolved_message_id:
        return state

    return state._replace(bot_message_id=max(state.bot_message_id, message_id))


def status_seen(
    state: Ownership,
    status: str | None,
    at: float | None,
    *,
    newest: int | None = None,
    changed: bool = False,
    former: str | None = None,
) -> Ownership:
    """A delivery or the live state shows the status.

    Whoever opens a pending conversation gives it to operators, and whoever sets an open
    one to pending returns it. Chatwoot itself does that only to a resolved one
    (``reopen_conversation`` in ``app/models/message.rb``).

    :param at: As for :func:`mode_seen`.
    :param newest: As for :func:`returned`; ``None``: all that is known of operators.
    :param changed: The status is what has changed.
    :param former: The status before that change; ``None``: that which is known.
    """
    if status is None or at is None:
        return state

    if not _is_before(at, state.status_at) and (changed or status != state.status):
        change = (former or state.status, status)

        if state.taken and change in _RETURNS and not _is_before(at, state.taken_at):
            known = state.operator_message_id if newest is None else newest
            state = _ended_by_return(state, known, at)

        if change == ("pending", "open") and not _is_before(at, state.ended_at):
            state = state._replace(taken=True, taken_at=_later(state.taken_at, at))

        state = state._replace(status=status, status_at=at)

    if status == "pending" and not _is_before(at, state.ended_at):
        first = at if state.pending_at is None else min(at, state.pending_at)
        state = state._replace(pending_at=first)

    return _opened(state)


_RETURNS: t.Final = (("open", "pending"), ("snoozed", "pending"))


def _opened(state: Ownership) -> Ownership:
    """The same, with operators if it was pending before it was open."""
    if state.status != "open" or not _is_before(state.pending_at, state.status_at):
        return state

    return state._replace(taken=True, taken_at=_later(state.taken_at, state.status_at))


def choice_seen(state: Ownership, mode: Mode, at: float | None) -> Ownership:
    """A delivery shows what the customer has chosen.

    :param at: As for :func:`mode_seen`.
    """
    known = state.mode or Mode.BOT

    if mode == known or at is None or _is_before(at, state.mode_at):
        return state

    if mode is Mode.HUMAN and _is_restored(state, at):
        return state

    return state._replace(mode=mode.value, mode_at=at)


def newest_status(state: Ownership, status: str | None, at: float | None) -> str | None:
    """The status by the newest delivery.

    :param status: That of the conversation in the delivery of a message.
    :param at: As for :func:`mode_seen`.
    """
    if state.status_at is not None and state.status_at > (at or 0.0):
        return state.status

    return status


def newest_mode(state: Ownership, mode: Mode, at: float | None) -> Mode:
    """The mode by the newest delivery; parameters as for :func:`newest_status`.

    Human counts as bot while the value from before this package set it is due.
    """
    if state.mode is None or state.mode_at is None or state.mode_at <= (at or 0.0):
        return mode

    return Mode.BOT if state.to_restore is not None else Mode(state.mode)
