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
    store: OwnershipStore, event: MessageEvent, tx: Transaction
) -> bool:
    """Record that an operator wrote to the customer.

    :return: Whether the operator took the conversation over and the attribute is not
        set yet; see :func:`.state.takes_over`.
    """
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


def transition_of(event: ConversationEvent, modes: ModeAttribute) -> Transition:
    """The transition for a delivery of a changed status or attribute."""
    conversation = event.conversation
    changed = _changed(event, modes)

    return lambda before: state.status_seen(
        changed(before), conversation.status, conversation.updated_at
    )


def _changed(event: ConversationEvent, modes: ModeAttribute) -> Transition:
    conversation = event.conversation

    if event.resolves:
        return functools.partial(state.resolved, newest=conversation.newest_message_id)

    change = event.change_of(modes.name)
    choice = modes.choice(conversation)
    returns = change is not None and (
        modes.meaning(change[1]) is Mode.BOT
        and modes.meaning(change[0]) is not Mode.BOT
    )

    # Chatwoot builds the delivery after the change, with the state of that moment.
    if returns and choice is not Mode.HUMAN:
        return state.returned

    return functools.partial(_shown, choice=choice, at=conversation.updated_at)


def _shown(
    ownership: state.Ownership, *, choice: Mode | None, at: float | None
) -> state.Ownership:
    newest = ownership.operator_message_id

    return state.mode_seen(ownership, choice, at, newest)
