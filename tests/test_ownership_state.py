"""What each event makes of a conversation's ownership, without a database."""

from __future__ import annotations

import itertools
import typing as t

import pytest

from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.state import (
    Ownership,
    Transition,
    attribute_set,
    handed_off,
    human_seen,
    live_mode_seen,
    mode_seen,
    operator_wrote,
    resolved,
    returned,
    takes_over,
)

NOBODY: t.Final = Ownership()
TAKEN: t.Final = Ownership(taken=True, operator_message_id=9005)
MARKED: t.Final = TAKEN._replace(marked=True, human_at=100.0)
RETURNED: t.Final = Ownership(operator_message_id=9005)
FORMER: t.Final = MARKED._replace(former='"AI agent"')


def event(transition: t.Callable[..., Ownership], *values: t.Any) -> Transition:
    return lambda state: transition(state, *values)


@pytest.mark.parametrize(
    ("before", "what", "after"),
    [
        # an operator wrote
        (NOBODY, event(operator_wrote, 9005), TAKEN),
        (TAKEN, event(operator_wrote, 9005), TAKEN),
        (TAKEN, event(operator_wrote, 9001), TAKEN),
        (TAKEN, event(operator_wrote, 9006), TAKEN._replace(operator_message_id=9006)),
        (MARKED, event(operator_wrote, 9005), MARKED),
        (RETURNED, event(operator_wrote, 9001), RETURNED),
        (RETURNED, event(operator_wrote, 9005), RETURNED),
        (
            RETURNED,
            event(operator_wrote, 9006),
            TAKEN._replace(operator_message_id=9006),
        ),
        (
            Ownership(resolved_message_id=9002),
            event(operator_wrote, 9002),
            Ownership(operator_message_id=9002, resolved_message_id=9002),
        ),
        (
            Ownership(resolved_message_id=9002),
            event(operator_wrote, 9005),
            TAKEN._replace(resolved_message_id=9002),
        ),
        # the bot handed off
        (NOBODY, event(handed_off), Ownership(taken=True)),
        (RETURNED, event(handed_off), TAKEN),
        (MARKED, event(handed_off), MARKED),
        # resolved
        (NOBODY, event(resolved, 0), NOBODY),
        (NOBODY, event(resolved, 9003), Ownership(resolved_message_id=9003)),
        (MARKED, event(resolved, 0), RETURNED),
        (MARKED, event(resolved, 9005), RETURNED._replace(resolved_message_id=9005)),
        (MARKED, event(resolved, 9006), RETURNED._replace(resolved_message_id=9006)),
        (MARKED, event(resolved, 9004), MARKED._replace(resolved_message_id=9004)),
        (MARKED, event(resolved, 9001), MARKED._replace(resolved_message_id=9001)),
        *[
            (
                Ownership(resolved_message_id=9003),
                event(resolved, newest),
                Ownership(resolved_message_id=9003),
            )
            for newest in (0, 9001, 9003)
        ],
        (
            Ownership(resolved_message_id=9003),
            event(resolved, 9009),
            Ownership(resolved_message_id=9009),
        ),
        # returned to the bot
        (NOBODY, event(returned), NOBODY),
        (MARKED, event(returned), RETURNED),
        (FORMER, event(returned), RETURNED),
        (MARKED, event(returned, 9005), RETURNED),
        (MARKED, event(returned, 9004), TAKEN),
        # the attribute was set to human
        (NOBODY, event(attribute_set), NOBODY),
        (TAKEN, event(attribute_set), TAKEN._replace(marked=True)),
        (MARKED, event(attribute_set, '"AI agent"'), FORMER),
        (FORMER, event(attribute_set), FORMER),
        (
            RETURNED,
            event(attribute_set, '"AI agent"'),
            RETURNED._replace(former='"AI agent"'),
        ),
        # the attribute was seen to say human
        (NOBODY, event(human_seen, 100.0), NOBODY),
        (TAKEN, event(human_seen, 100.0), TAKEN._replace(human_at=100.0)),
        (MARKED, event(human_seen, 90.0), MARKED),
        (MARKED, event(human_seen, 101.0), MARKED._replace(human_at=101.0)),
        # a delivery shows the attribute
        (MARKED, event(mode_seen, Mode.BOT, None, 9005), MARKED),
        (MARKED, event(mode_seen, None, 200.0, 9005), MARKED),
        (MARKED, event(mode_seen, Mode.BOT, 100.0, 9005), MARKED),
        (MARKED, event(mode_seen, Mode.BOT, 100.5, 9005), RETURNED),
        (MARKED, event(mode_seen, Mode.BOT, 100.5, 9004), TAKEN),
        (TAKEN, event(mode_seen, Mode.BOT, 100.5, 9005), TAKEN),
        (
            MARKED,
            event(mode_seen, Mode.HUMAN, 101.0, 9005),
            MARKED._replace(human_at=101.0),
        ),
        (RETURNED, event(mode_seen, Mode.HUMAN, 101.0, 9005), RETURNED),
        # Chatwoot was asked for the attribute
        (MARKED, event(live_mode_seen, Mode.BOT, 9005), RETURNED),
        (MARKED, event(live_mode_seen, Mode.BOT, 9004), TAKEN),
        (MARKED, event(live_mode_seen, Mode.HUMAN, 9005), MARKED),
        (MARKED, event(live_mode_seen, None, 9005), MARKED),
        (TAKEN, event(live_mode_seen, Mode.BOT, 9005), TAKEN),
        (RETURNED, event(live_mode_seen, Mode.BOT, 9005), RETURNED),
    ],
)
def test_an_event_changes_the_state(
    before: Ownership, what: Transition, after: Ownership
) -> None:
    assert what(before) == after


@pytest.mark.parametrize(
    ("state", "message_id", "wanted"),
    [
        (NOBODY, 1, True),
        (TAKEN, 9005, True),
        (TAKEN, 9006, False),
        (TAKEN, 9001, False),
        (MARKED, 9005, False),
        (RETURNED, 9005, False),
        (RETURNED, 9006, True),
        (Ownership(taken=True), 9001, False),
        (Ownership(resolved_message_id=9002), 9002, False),
        (Ownership(resolved_message_id=9002), 9003, True),
    ],
)
def test_a_message_takes_over_until_the_attribute_is_set(
    state: Ownership, message_id: int, wanted: bool
) -> None:
    assert takes_over(state, message_id) is wanted


def test_the_former_value_is_restored_after_a_resolve_only() -> None:
    assert FORMER.to_restore is None
    assert resolved(FORMER, 9006).to_restore == '"AI agent"'
    assert returned(resolved(FORMER, 9006)).to_restore is None
    assert resolved(MARKED, 9006).to_restore is None


def test_the_first_former_value_outlives_a_second_takeover() -> None:
    again = attribute_set(handed_off(resolved(FORMER, 9006)))

    assert resolved(again, 9007).to_restore == '"AI agent"'


def test_no_order_of_deliveries_hides_the_newest_operator() -> None:
    """Each order of a resolve and of messages before and after it ends the same."""
    events = [event(operator_wrote, 1), event(resolved, 2), event(operator_wrote, 3)]
    ends = set()

    for order in itertools.permutations(events):
        state = NOBODY

        for each in order:
            state = each(state)

        ends.add(state)

    assert ends == {Ownership(taken=True, operator_message_id=3, resolved_message_id=2)}
