"""How each event changes the ownership of a conversation, without a database."""

from __future__ import annotations

import functools
import itertools
import typing as t

import pytest

from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.state import (
    Ownership,
    attribute_restored,
    attribute_set,
    bot_wrote,
    choice_seen,
    handed_off,
    human_seen,
    known_later,
    live_mode_seen,
    mode_seen,
    newest_mode,
    newest_status,
    operator_wrote,
    resolved,
    returned,
    status_seen,
    takes_over,
)

BOT, HUMAN = Mode
NOBODY: t.Final = Ownership()
TAKEN: t.Final = Ownership(taken=True, operator_message_id=9005)
MARKED: t.Final = TAKEN._replace(marked=True, human_at=100.0)
RETURNED: t.Final = Ownership(operator_message_id=9005)
BACK: t.Final = RETURNED._replace(returned_message_id=9005)
AGAIN: t.Final = TAKEN._replace(returned_message_id=9004)
FORMER: t.Final = MARKED._replace(former='"AI agent"')


BOTTED: t.Final = Ownership(bot_message_id=9005)
OPENED: t.Final = Ownership(status="open", status_at=100.0)
RESOLVED: t.Final = Ownership(resolved_message_id=9003)


def taken_by_opening(pending_at: float, opened_at: float) -> Ownership:
    return Ownership(
        taken=True,
        status="open",
        status_at=opened_at,
        taken_at=opened_at,
        pending_at=pending_at,
    )


def wrote(state: Ownership, message_id: int) -> Ownership:
    return state._replace(operator_message_id=message_id)


RESTORED = TAKEN._replace(restored_at=100.0)
"""An operator wrote after a resolve; human until then was the package's own value."""


def ended(state: Ownership, message_id: int) -> Ownership:
    return state._replace(resolved_message_id=message_id)


@pytest.mark.parametrize(
    ("before", "event", "values", "after"),
    [
        (NOBODY, operator_wrote, [9005], TAKEN),
        (TAKEN, operator_wrote, [9005], TAKEN),
        (TAKEN, operator_wrote, [9006], wrote(TAKEN, 9006)),
        (MARKED, operator_wrote, [9005], MARKED),
        (RETURNED, operator_wrote, [9005], RETURNED),
        (RETURNED, operator_wrote, [9006], wrote(TAKEN, 9006)),
        (RESOLVED, operator_wrote, [9003], wrote(RESOLVED, 9003)),
        (RESOLVED, operator_wrote, [9005], ended(TAKEN, 9003)),
        (NOBODY, handed_off, [], Ownership(taken=True)),
        (RETURNED, handed_off, [], TAKEN),
        (MARKED, handed_off, [], MARKED),
        (NOBODY, resolved, [0], NOBODY),
        (NOBODY, resolved, [9003], RESOLVED),
        (MARKED, resolved, [0], RETURNED),
        (MARKED, resolved, [9005], ended(RETURNED, 9005)),
        (MARKED, resolved, [9004], ended(MARKED, 9004)),
        (RESOLVED, resolved, [0], RESOLVED),
        (RESOLVED, resolved, [9003], RESOLVED),
        (RESOLVED, resolved, [9009], ended(NOBODY, 9009)),
        (NOBODY, bot_wrote, [9005], BOTTED),
        (BOTTED, bot_wrote, [9001], BOTTED),
        (RESOLVED, bot_wrote, [9003], RESOLVED),
        (BOTTED, resolved, [0], NOBODY),
        (BOTTED, resolved, [9005], ended(NOBODY, 9005)),
        (BOTTED, resolved, [9004], ended(BOTTED, 9004)),
        (NOBODY, status_seen, ["open", 100.0], OPENED),
        (OPENED, status_seen, ["open", 101.0], OPENED),
        (OPENED, status_seen, ["pending", 99.0], taken_by_opening(99.0, 100.0)),
        (OPENED, status_seen, ["pending", None], OPENED),
        (OPENED, status_seen, [None, 101.0], OPENED),
        (NOBODY, returned, [], NOBODY),
        (MARKED, returned, [], RETURNED),
        (FORMER, returned, [], RETURNED),
        (MARKED, returned, [9005], BACK),
        (MARKED, returned, [9004], AGAIN),
        (NOBODY, attribute_set, [], NOBODY),
        (TAKEN, attribute_set, [], TAKEN._replace(marked=True)),
        (MARKED, attribute_set, ['"AI agent"'], FORMER),
        (FORMER, attribute_set, [], FORMER),
        (RETURNED, attribute_set, ['"AI"'], RETURNED._replace(former='"AI"')),
        (NOBODY, human_seen, [100.0], NOBODY),
        (TAKEN, human_seen, [100.0], TAKEN._replace(human_at=100.0)),
        (RESTORED, human_seen, [100.0], RESTORED),
        (RESTORED, human_seen, [101.0], RESTORED._replace(human_at=101.0)),
        (RESTORED, choice_seen, [HUMAN, 100.0], RESTORED),
        (
            RESTORED._replace(taken=False, former='"AI"', mode="human", mode_at=99.0),
            attribute_restored,
            [98.0],
            RESTORED._replace(taken=False),
        ),
        (MARKED, human_seen, [90.0], MARKED),
        (MARKED, human_seen, [101.0], MARKED._replace(human_at=101.0)),
        (MARKED, mode_seen, [BOT, None, 9005], MARKED),
        (MARKED, mode_seen, [None, 200.0, 9005], MARKED),
        (MARKED, mode_seen, [BOT, 100.0, 9005], MARKED),
        (MARKED, mode_seen, [BOT, 100.5, 9005], BACK._replace(ended_at=100.5)),
        (MARKED, mode_seen, [BOT, 100.5, 9004], AGAIN._replace(ended_at=100.5)),
        (TAKEN, mode_seen, [BOT, 100.5, 9005], TAKEN),
        (MARKED, mode_seen, [HUMAN, 101.0, 9005], MARKED._replace(human_at=101.0)),
        (RETURNED, mode_seen, [HUMAN, 101.0, 9005], RETURNED),
        (MARKED, live_mode_seen, [BOT, 9005], BACK),
        (MARKED, live_mode_seen, [BOT, 9004], AGAIN),
        (MARKED, live_mode_seen, [HUMAN, 9005], MARKED),
        (MARKED, live_mode_seen, [None, 9005], MARKED),
        (TAKEN, live_mode_seen, [BOT, 9005], TAKEN),
        (RETURNED, live_mode_seen, [BOT, 9005], RETURNED),
    ],
)
def test_an_event_changes_the_state(
    before: Ownership,
    event: t.Callable[..., Ownership],
    values: list[t.Any],
    after: Ownership,
) -> None:
    assert event(before, *values) == after


@pytest.mark.parametrize(
    ("state", "message_id", "takes"),
    [
        (NOBODY, 1, True),
        (TAKEN, 9005, True),
        (TAKEN, 9006, False),
        (MARKED, 9005, False),
        (RETURNED, 9005, False),
        (RETURNED, 9006, True),
        (Ownership(taken=True), 9001, True),  # it had no message so far
        (Ownership(taken=True, marked=True), 9001, False),
        (Ownership(returned_message_id=9002), 9002, False),
        (Ownership(resolved_message_id=9002), 9002, False),
        (Ownership(resolved_message_id=9002), 9003, True),
    ],
)
def test_a_message_takes_over_until_the_attribute_is_set(
    state: Ownership, message_id: int, takes: bool
) -> None:
    assert takes_over(state, message_id) is takes


def test_the_former_value_is_restored_after_a_resolve_only() -> None:
    assert FORMER.to_restore is None
    assert resolved(FORMER, 9006).to_restore == '"AI agent"'
    assert returned(resolved(FORMER, 9006)).to_restore is None
    assert resolved(MARKED, 9006).to_restore is None


def test_the_first_former_value_outlives_a_second_takeover() -> None:
    again = attribute_set(handed_off(resolved(FORMER, 9006)))
    assert resolved(again, 9007).to_restore == '"AI agent"'


@pytest.mark.parametrize(
    ("state", "at", "status"),
    [(NOBODY, 50.0, "pending"), (OPENED, 99.0, "open"), (OPENED, 101.0, "pending")],
)
def test_the_newest_delivery_tells_the_status(
    state: Ownership, at: float, status: str
) -> None:
    assert newest_status(state, "pending", at) == status


def test_no_order_of_deliveries_hides_the_newest_operator() -> None:
    """A resolve, and messages before and after it, end the same in each order."""
    events = [
        lambda state: operator_wrote(state, 1),
        lambda state: resolved(state, 2),
        lambda state: operator_wrote(state, 3),
    ]
    ends = {
        functools.reduce(lambda state, event: event(state), order, NOBODY)
        for order in itertools.permutations(events)
    }

    assert ends == {Ownership(taken=True, operator_message_id=3, resolved_message_id=2)}


# -- deliveries that are late, in any order -------------------------------------------

Event = t.Callable[[Ownership], Ownership]


def writes(message_id: int) -> Event:
    return functools.partial(operator_wrote, message_id=message_id)


def hands_off(message_id: int, at: float, knows: float | None = None) -> Event:
    return lambda state: known_later(handed_off(state, message_id, at), knows)


def shows(status: str, at: float, newest: int | None = None) -> Event:
    return functools.partial(
        status_seen, status=status, at=at, newest=newest, changed=True
    )


def opens(at: float) -> Event:
    return functools.partial(
        status_seen, status="open", at=at, changed=True, former="pending"
    )


def resolves(newest: int, at: float) -> Event:
    end = functools.partial(resolved, newest=newest, at=at)

    return lambda state: shows("resolved", at)(end(state))


def returns(newest: int, at: float) -> Event:
    return functools.partial(returned, newest=newest, at=at)


def sees(choice: Mode, at: float) -> Event:
    return lambda state: mode_seen(state, choice, at, state.operator_message_id)


@pytest.mark.parametrize(
    ("events", "taken"),
    [
        ([writes(5), resolves(5, 10.0)], False),
        ([writes(5), resolves(5, 10.0), writes(8)], True),
        ([writes(5), returns(5, 10.0)], False),
        ([writes(5), returns(5, 10.0), writes(8)], True),
        ([shows("pending", 1.0), shows("open", 2.0)], True),
        ([shows("open", 1.0), shows("pending", 2.0), shows("open", 3.0)], True),
        ([shows("pending", 1.0), resolves(5, 2.0), shows("pending", 3.0)], False),
        ([shows("pending", 1.0), shows("open", 2.0), returns(5, 3.0)], False),
        ([shows("pending", 1.0), shows("open", 2.0), resolves(5, 3.0)], False),
        ([shows("open", 1.0), resolves(5, 2.0), shows("open", 3.0)], False),
    ],
)
def test_the_order_in_which_deliveries_come_does_not_matter(
    events: list[Event], taken: bool
) -> None:
    for some in itertools.permutations(events):
        state = functools.reduce(lambda state, event: event(state), some, NOBODY)

        assert state.taken is taken


@pytest.mark.parametrize(
    ("events", "late", "taken"),
    [
        # What is late is repeated after each of the events.
        ([writes(5), resolves(6, 10.0)], [writes(5)], False),
        ([writes(5), returns(6, 10.0)], [writes(5), writes(6)], False),
        ([hands_off(5, 10.0), resolves(6, 11.0)], [hands_off(5, 10.0)], False),
        ([hands_off(5, 10.0), returns(6, 11.0)], [hands_off(5, 10.0)], False),
        ([returns(4, 9.0), hands_off(5, 10.0)], [returns(4, 9.0)], True),
        ([resolves(4, 9.0), hands_off(5, 10.0)], [resolves(4, 9.0)], True),
        # The question reopened it before that delivery was built.
        ([resolves(5, 9.0), hands_off(5, 10.0)], [resolves(5, 9.0)], True),
        ([resolves(5, 9.0)], [hands_off(5, 8.0)], False),
        # The bot itself had set the attribute to bot, after a resolve.
        ([hands_off(5, 1.0, knows=3.0)], [returns(5, 2.0)], True),
        ([hands_off(5, 1.0, knows=3.0), resolves(6, 4.0)], [], False),
        # By a click, and by a question that was asked before the return.
        ([hands_off(5, 1.0), returns(5, 2.0), hands_off(5, 3.0)], [], True),
        ([returns(5, 2.0), hands_off(5, 1.0)], [], True),
        ([shows("pending", 3.0), shows("open", 4.0)], [resolves(5, 2.0)], True),
        ([shows("pending", 3.0), shows("open", 4.0)], [returns(5, 2.0)], True),
        ([shows("open", 1.0), hands_off(5, 3.0)], [shows("pending", 2.0)], True),
        ([hands_off(5, 3.0), sees(HUMAN, 4.0)], [sees(BOT, 2.0)], True),
        # The hand-off has read the state that the bot itself had made right before.
        ([hands_off(5, 1.0, knows=2.0)], [returns(5, 2.0)], True),
        # It had no message yet, so only the time shows that it is repeated.
        ([resolves(0, 9.0), writes(5)], [resolves(0, 9.0)], True),
        ([opens(2.0)], [], True),
        ([opens(2.0), resolves(5, 3.0)], [opens(2.0)], False),
    ],
)
def test_what_comes_late_or_twice_undoes_nothing_newer(
    events: list[Event], late: list[Event], taken: bool
) -> None:
    state = NOBODY

    for event in itertools.chain.from_iterable([each, *late] for each in events):
        state = event(state)

    assert state.taken is taken


@pytest.mark.parametrize(
    ("known", "status", "newest", "taken"),
    [
        ("open", "pending", None, False),
        ("snoozed", "pending", None, False),
        ("open", "pending", 9005, False),
        ("open", "pending", 9004, True),
        ("pending", "pending", None, True),
        (None, "pending", None, True),
        ("open", "open", None, True),
    ],
)
def test_whoever_sets_it_to_pending_returns_it(
    known: str | None, status: str, newest: int | None, taken: bool
) -> None:
    state = TAKEN._replace(status=known, status_at=100.0 if known else None)
    assert status_seen(state, status, 101.0, newest=newest).taken is taken


def test_the_status_before_may_show_in_the_delivery_only() -> None:
    seen = status_seen(TAKEN, "pending", 101.0, changed=True, former="open")
    assert not seen.taken


@pytest.mark.parametrize(
    "events",
    [
        [shows("open", 101.0), shows("pending", 102.0)],
        [returns(9004, 99.0), resolves(9006, 102.0)],
        [resolves(9006, 102.0), returns(9004, 99.0)],
    ],
    ids=["returned by status", "late return", "late return after the resolve"],
)
def test_the_attribute_that_still_says_human_is_to_be_restored(
    events: list[Event],
) -> None:
    state = functools.reduce(lambda state, event: event(state), events, FORMER)
    assert state.to_restore == '"AI agent"'


def test_what_this_package_restores_returns_nothing() -> None:
    """An operator may have written between the resolve and that."""
    restored = returned(resolved(FORMER, 9006, 101.0), 9008, 102.0)
    assert (restored.former, restored.returned_message_id) == (None, 0)
    assert operator_wrote(restored, 9007).taken


def test_the_mode_is_that_of_the_newest_delivery() -> None:
    state = choice_seen(choice_seen(NOBODY, HUMAN, 100.0), BOT, 99.0)
    assert newest_mode(state, BOT, 99.5) is HUMAN
    assert newest_mode(state, BOT, 100.5) is BOT
    assert newest_mode(state._replace(former='"bot"'), BOT, 99.5) is BOT
    assert choice_seen(state, BOT, None) == state
    assert choice_seen(NOBODY, BOT, 100.0) == NOBODY
