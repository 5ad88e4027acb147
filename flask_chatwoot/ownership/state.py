"""Who has a conversation: a frozen state, and how each event changes it.

Pure functions; :mod:`.store` loads and saves the state. Deliveries come late, twice
and in any order, so each event carries the id of a message or Chatwoot's time of a
state.

============================ =====================================================
event                        effect
============================ =====================================================
:func:`operator_wrote`       operators have it, unless the message is older than the
                             last resolve or return
:func:`handed_off`           operators have it
:func:`resolved`             nobody has it, unless an operator wrote since
:func:`returned`             the bot has it, unless an operator wrote since
:func:`attribute_set`        the attribute says human; its former value is kept
:func:`mode_seen`            the attribute in a delivery: the time of human is
                             recorded, bot in a later state returns the conversation
:func:`live_mode_seen`       the attribute in the live state: bot returns the
                             conversation if it said human since the takeover
:func:`bot_wrote`            another bot answers it, until it is resolved
:func:`status_seen`          the status in a delivery: the newest is kept
============================ =====================================================
"""

from __future__ import annotations

import typing as t

from .mode import Mode


class Ownership(t.NamedTuple):
    """Who has a conversation.

    :ivar taken: Operators have it: one wrote in public, or the bot handed it off, and
        it was neither resolved nor returned since.
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
    attribute to be set.
    """
    if state.taken:
        return not state.marked and message_id == state.operator_message_id

    return message_id > max(state.operator_message_id, state.resolved_message_id)


def operator_wrote(state: Ownership, message_id: int) -> Ownership:
    """An operator wrote to the customer."""
    newest = max(state.operator_message_id, state.resolved_message_id)

    return state._replace(
        taken=state.taken or message_id > newest,
        marked=state.taken and state.marked,
        operator_message_id=max(state.operator_message_id, message_id),
    )


def handed_off(state: Ownership) -> Ownership:
    """The bot handed the conversation off to operators."""
    return state._replace(taken=True, marked=state.taken and state.marked)


def resolved(state: Ownership, newest: int) -> Ownership:
    """The conversation was resolved, and starts again.

    :param newest: The newest public message at that time; 0 if it is unknown. If an
        operator wrote later, the delivery of the resolve is late, and the takeover
        stays.
    """
    overtaken = 0 < newest < state.operator_message_id
    other_bot = 0 < newest < state.bot_message_id

    return state._replace(
        taken=state.taken and overtaken,
        marked=state.marked and overtaken,
        human_at=state.human_at if overtaken else None,
        resolved_message_id=max(state.resolved_message_id, newest),
        bot_message_id=state.bot_message_id if other_bot else 0,
    )


def returned(state: Ownership, newest: int | None = None) -> Ownership:
    """The conversation was returned to the bot.

    :param newest: The newest operator's message that was known when the return was
        seen; a later one took the conversation over again. ``None``: there is none.
    """
    taken = newest is not None and state.operator_message_id > newest

    return state._replace(taken=taken, marked=False, former=None, human_at=None)


def attribute_set(state: Ownership, former: str | None = None) -> Ownership:
    """The attribute says human. The conversation may have been resolved meanwhile.

    :param former: Its value before the package set it, as JSON; ``None`` if an
        operator or a host set it.
    """
    return state._replace(
        marked=state.taken, former=state.former if former is None else former
    )


def human_seen(state: Ownership, at: float) -> Ownership:
    """The attribute said human at that time."""
    if not state.taken:
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
        return returned(state, newest)

    return state


def live_mode_seen(state: Ownership, mode: Mode | None, newest: int) -> Ownership:
    """The live state shows the attribute.

    After it said human, only an operator or the host sets it to bot.

    :param newest: As for :func:`returned`, at the time of the read.
    """
    if state.taken and state.marked and mode is Mode.BOT:
        return returned(state, newest)

    return state


def bot_wrote(state: Ownership, message_id: int) -> Ownership:
    """Another bot wrote to the customer."""
    if message_id <= state.resolved_message_id:
        return state

    return state._replace(bot_message_id=max(state.bot_message_id, message_id))


def status_seen(state: Ownership, status: str | None, at: float | None) -> Ownership:
    """A delivery shows the status.

    :param at: As for :func:`mode_seen`.
    """
    if status in (None, state.status) or at is None or at < (state.status_at or 0.0):
        return state

    return state._replace(status=status, status_at=at)


def newest_status(state: Ownership, status: str | None, at: float | None) -> str | None:
    """The status by the newest delivery.

    :param status: That of the conversation in the delivery of a message.
    :param at: As for :func:`mode_seen`.
    """
    if state.status_at is not None and state.status_at > (at or 0.0):
        return state.status

    return status
