"""How deliveries change the ownership of a conversation."""

from __future__ import annotations

import functools

from flask_chatwoot.payloads.events import ConversationEvent, MessageEvent
from flask_chatwoot.queue.database import Transaction

from . import state
from .identity import is_by_other_bot
from .mode import Mode, ModeAttribute
from .state import Transition
from .store import OwnershipStore


def record_operator(
    store: OwnershipStore, event: MessageEvent, modes: ModeAttribute, tx: Transaction
) -> bool:
    """Record that an operator wrote to the customer.

    The conversation may have been returned to the bot before, of which the attribute in
    this delivery may be the only trace: it must not be seen later as a return from this
    takeover.

    :return: Whether the operator took the conversation over and the attribute is not
        set yet; see :func:`.state.takes_over`.
    """
    store.apply(event.conversation.id, shown_by(event, modes), tx=tx)
    wrote = functools.partial(state.operator_wrote, message_id=event.message.id)
    before = store.apply(event.conversation.id, wrote, tx=tx).before

    return state.takes_over(before, event.message.id)


def record_human(
    store: OwnershipStore, event: MessageEvent, modes: ModeAttribute, tx: Transaction
) -> None:
    """Record that the attribute says human, if it does."""
    at = event.conversation.updated_at

    if at is not None and modes.choice(event.conversation) is Mode.HUMAN:
        seen = functools.partial(state.human_seen, at=at)
        store.apply(event.conversation.id, seen, tx=tx)


def record_bot(store: OwnershipStore, event: MessageEvent, *, ours: bool) -> None:
    """Record that a bot wrote to the customer, if one did.

    :param ours: This app posted it, so the bot is this app's.
    """
    message = event.message

    if ours:
        if message.bot:
            store.learn_bot(message.bot)
    elif is_by_other_bot(message, store):
        wrote = functools.partial(state.bot_wrote, message_id=message.id)
        store.apply(event.conversation.id, wrote)


def record_shown(
    store: OwnershipStore, event: MessageEvent, modes: ModeAttribute
) -> None:
    """Record what the delivery of a message shows of its conversation.

    Nothing of one that is open and the bot's, which needs no read: its turn does that.
    """
    conversation = event.conversation

    if conversation.status == "open" and modes.resolve(conversation) is Mode.BOT:
        return

    store.apply(conversation.id, shown_by(event, modes))


def shown_by(event: MessageEvent, modes: ModeAttribute) -> Transition:
    """The transition for what the delivery of a message shows of its conversation."""
    conversation = event.conversation
    at, status = conversation.updated_at, conversation.status
    mode, choice = modes.resolve(conversation), modes.choice(conversation)

    def shown(before: state.Ownership) -> state.Ownership:
        after = state.choice_seen(before, mode, at)

        # Where no conversation is ever pending, its status need not be kept.
        if before.status is not None or status != "open":
            after = state.status_seen(after, status, at)

        return state.mode_seen(after, choice, at, after.operator_message_id)

    return shown


def transition_of(event: ConversationEvent, modes: ModeAttribute) -> Transition:
    """The transition for a delivery of a changed status or attribute."""
    conversation = event.conversation
    at, newest = conversation.updated_at, event.newest_message_id
    mode, choice = modes.resolve(conversation), modes.choice(conversation)
    changed = _changed(event, modes, newest)
    shown = functools.partial(
        state.status_seen,
        status=conversation.status,
        at=at,
        newest=(newest or None) if event.changes_status else None,
        changed=event.changes_status,
        former=event.former_status,
    )

    def transition(before: state.Ownership) -> state.Ownership:
        after = state.choice_seen(shown(changed(before)), mode, at)

        return state.mode_seen(after, choice, at, after.operator_message_id)

    return transition


def _changed(event: ConversationEvent, modes: ModeAttribute, newest: int) -> Transition:
    conversation, at = event.conversation, event.changed_at

    if event.resolves:
        return functools.partial(state.resolved, newest=newest, at=at)

    change = event.change_of(modes.name)
    returns = change is not None and (
        modes.meaning(change[1]) is Mode.BOT
        and modes.meaning(change[0]) is not Mode.BOT
    )

    # Chatwoot builds the delivery after the change, with the state of that moment.
    if returns and modes.choice(conversation) is not Mode.HUMAN:
        return functools.partial(state.returned, newest=newest or None, at=at)

    return lambda before: before
