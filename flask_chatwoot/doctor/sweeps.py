"""A check of catch-up: whether it runs, and what it lacks."""

from __future__ import annotations

from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.queue.sweeps import SweepState

from .facts import DoctorContext, Finding, Findings, failed, passed, warned

_CHECK = "catch-up"


def catch_up(context: DoctorContext) -> Findings:
    """What was not delivered is looked for in Chatwoot."""
    interval = context.config.catch_up

    if not interval:
        yield warned(
            _CHECK,
            "CHATWOOT_CATCH_UP is 0: what is not delivered while the app is down is "
            "never answered.",
            "Remove it, and workers look for that every minute.",
        )
        return

    if context.is_bot and not context.config.user_access_token:
        yield warned(
            _CHECK,
            "What is not delivered while the app is down is not found: an agent bot's "
            "token may not list conversations.",
            "Set CHATWOOT_USER_ACCESS_TOKEN to a user's token, beside the bot's.",
        )
        return

    try:
        sweeps = context.store.sweeps
        state = sweeps.state()
        proven = sweeps.is_proven(state)
    except DatabaseError:  # reported by the check of the database
        return

    if state is None or not proven:
        yield warned(
            _CHECK,
            "What was not delivered is not looked for yet: this database has accepted "
            "no verified delivery of the account.",
            "Write a message to the inbox, and check the webhook if none arrives.",
        )
    else:
        yield _state(context, state, interval)


def _state(context: DoctorContext, state: SweepState, interval: float) -> Finding:
    if state.foreign_id:
        return failed(
            _CHECK,
            f"Another instance answers in this account: it has posted message "
            f"{state.foreign_id}. Catch-up has stopped.",
            "End the other instance, and run flask chatwoot catch-up --resume.",
        )

    if state.error:
        return warned(
            _CHECK,
            f"The last look for what was not delivered failed: {state.error}",
            "It is repeated. If it lasts, see Chatwoot's log, or give a token that may "
            "list conversations in CHATWOOT_USER_ACCESS_TOKEN.",
        )

    late = context.store.database.clock() - state.due_at

    if late > max(interval, 60.0):
        return warned(
            _CHECK,
            f"No process has looked for what was not delivered for {late:.0f} s.",
            "Workers do that; run flask chatwoot catch-up where none runs.",
        )

    return passed(_CHECK, "What is not delivered is found in Chatwoot.")
