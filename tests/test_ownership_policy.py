from __future__ import annotations

import itertools
import logging
import typing as t

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from support.apps import AppFactory, ending_of, recorded
from support.chatwoot import ChatwootStub
from support.deliveries import deliver, message

from flask_chatwoot import Chatwoot, signals
from flask_chatwoot.errors import ConfigError
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.policy import (
    Audience,
    Decision,
    PolicyContext,
    PolicySettings,
    default_policy,
)
from flask_chatwoot.payloads.conversation import Assignee, Speaker

CUSTOMER, OPERATORS, NOBODY = Audience
QUIET: t.Final[dict[str, t.Any]] = {"mode": Mode.BOT}
PERSON: t.Final = Assignee("user", 4)
YIELDING: t.Final = PolicySettings(yield_to_assignee=True)

TABLE: t.Final[list[tuple[str, dict[str, t.Any], Decision]]] = [
    ("auto_reply", {"auto_reply": True}, Decision(NOBODY, Reason.AUTO_REPLY)),
    ("blocked", {"blocked": True}, Decision(NOBODY, Reason.BLOCKED)),
    ("answered", {"answered": True}, Decision(NOBODY, Reason.ANSWERED)),
    ("taken", {"taken": True}, Decision(OPERATORS, Reason.TAKEN)),
    ("human", {"mode": Mode.HUMAN}, Decision(OPERATORS)),
    ("status", {"status": "resolved"}, Decision(OPERATORS, Reason.STATUS)),
    (
        "assigned",
        {"assignee": PERSON, "settings": YIELDING},
        Decision(OPERATORS, Reason.ASSIGNED),
    ),
    ("too old", {"age": 3600.5}, Decision(OPERATORS, Reason.TOO_OLD)),
    ("window", {"can_reply": False}, Decision(OPERATORS, Reason.WINDOW_CLOSED)),
]
"""What makes each line of the table hold, in its order."""

every_line = pytest.mark.parametrize(
    ("changes", "decision"),
    [pytest.param(changes, decision, id=name) for name, changes, decision in TABLE],
)


def facts(**changes: t.Any) -> PolicyContext:
    return PolicyContext(**{**QUIET, **changes})


# The table


def test_the_customer_is_told_if_nothing_speaks_against_it() -> None:
    assert default_policy(facts()) == Decision(CUSTOMER)


@every_line
def test_each_line_of_the_table_decides_alone(
    changes: dict[str, t.Any], decision: Decision
) -> None:
    assert default_policy(facts(**changes)) == decision


@pytest.mark.parametrize(
    ("first", "second"),
    [
        pytest.param(first, second, id=f"{first[0]} before {second[0]}")
        for first, second in itertools.combinations(TABLE, 2)
    ],
)
def test_of_two_lines_the_first_decides(
    first: tuple[str, dict[str, t.Any], Decision],
    second: tuple[str, dict[str, t.Any], Decision],
) -> None:
    assert default_policy(facts(**{**second[1], **first[1]})) == first[2]


@given(st.lists(st.sampled_from(range(len(TABLE))), unique=True))
def test_the_first_line_that_holds_decides(lines: list[int]) -> None:
    changes: dict[str, t.Any] = {}

    for line in lines:
        changes |= TABLE[line][1]

    expected = TABLE[min(lines)][2] if lines else Decision(CUSTOMER)
    assert default_policy(facts(**changes)) == expected


EVERYTHING: t.Final = st.builds(
    PolicyContext,
    mode=st.sampled_from(Mode),
    taken=st.booleans(),
    answered=st.booleans(),
    status=st.sampled_from([None, "open", "pending", "resolved", "snoozed", "new"]),
    assignee=st.sampled_from([None, PERSON, Assignee("agent_bot", 4)]),
    last_speaker=st.sampled_from([None, *Speaker]),
    blocked=st.booleans(),
    can_reply=st.booleans(),
    auto_reply=st.booleans(),
    age=st.floats(-10, 10_000),
    inbox_id=st.sampled_from([None, 3]),
    live=st.booleans(),
    settings=st.builds(
        PolicySettings,
        statuses=st.frozensets(st.sampled_from(["open", "pending", "resolved"])),
        yield_to_assignee=st.booleans(),
        max_age=st.floats(1, 10_000),
    ),
)


@given(EVERYTHING)
def test_the_customer_is_never_told_when_a_person_should(facts: PolicyContext) -> None:
    decision = default_policy(facts)

    assert decision == default_policy(facts._replace())

    if decision.audience is CUSTOMER:
        assert decision.reason is None
        assert facts.mode is Mode.BOT
        assert not any((facts.taken, facts.answered, facts.blocked))
        assert not facts.auto_reply
        assert facts.can_reply
        assert facts.status is None or facts.status in facts.settings.statuses
        assert facts.age <= facts.settings.max_age
    elif decision.audience is NOBODY:
        assert facts.answered or facts.blocked or facts.auto_reply
    else:
        assert decision.reason is not None or facts.mode is Mode.HUMAN


# The settings


@pytest.mark.parametrize(
    ("status", "audience"),
    [
        (None, CUSTOMER),
        ("open", CUSTOMER),
        ("pending", CUSTOMER),
        ("resolved", OPERATORS),
        ("snoozed", OPERATORS),
        ("something new", OPERATORS),
        ("", OPERATORS),
    ],
)
def test_the_bot_speaks_in_open_and_pending_conversations(
    status: str | None, audience: Audience
) -> None:
    assert default_policy(facts(status=status)).audience is audience


@pytest.mark.parametrize("status", ["open", "pending", "resolved", "snoozed"])
@pytest.mark.parametrize("chosen", ["open", "pending", "resolved", "snoozed"])
def test_the_statuses_of_the_bot_can_be_chosen(status: str, chosen: str) -> None:
    rules = PolicySettings(statuses=frozenset({chosen}))

    reason = default_policy(facts(status=status, settings=rules)).reason

    assert reason == (None if status == chosen else Reason.STATUS)


@pytest.mark.parametrize(
    ("assignee", "yields", "audience"),
    [
        (PERSON, False, CUSTOMER),
        (PERSON, True, OPERATORS),
        (Assignee("user", None), True, OPERATORS),
        (Assignee("agent_bot", 4), True, CUSTOMER),
        (Assignee("agent_bot", 4), False, CUSTOMER),
        (None, True, CUSTOMER),
    ],
)
def test_the_bot_yields_to_an_assigned_person_if_it_is_told_to(
    assignee: Assignee | None, yields: bool, audience: Audience
) -> None:
    rules = PolicySettings(yield_to_assignee=yields)

    assert default_policy(facts(assignee=assignee, settings=rules)).audience is audience


@pytest.mark.parametrize(
    ("age", "most", "audience"),
    [
        (3600.0, 3600.0, CUSTOMER),
        (3600.1, 3600.0, OPERATORS),
        (61.0, 60.0, OPERATORS),
        (0.0, 60.0, CUSTOMER),
        (-500.0, 60.0, CUSTOMER),
    ],
)
def test_a_message_that_is_too_old_gets_a_note(
    age: float, most: float, audience: Audience
) -> None:
    assert (
        default_policy(facts(age=age, settings=PolicySettings(max_age=most))).audience
        is audience
    )


@pytest.mark.parametrize("speaker", [None, *Speaker])
def test_who_spoke_last_is_for_policies_of_hosts(speaker: Speaker | None) -> None:
    assert default_policy(facts(last_speaker=speaker)) == Decision(CUSTOMER)


def test_facts_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        facts().mode = Mode.HUMAN  # type: ignore[misc]


# What Chatwoot says of a conversation


# A policy of the host


def endings(app: Flask, api: ChatwootStub) -> dict[str, t.Any]:
    """How the turn ends that a customer's message begins."""
    with recorded(signals.turn_finished, app) as seen:
        assert deliver(app.test_client(), message()).status_code == 202

    (ending,) = seen

    return ending


@pytest.fixture
def app(make_app: AppFactory, chatwoot: Chatwoot) -> Flask:
    chatwoot.reply_provider(lambda text: "On its way.")

    return make_app(chatwoot)


@pytest.mark.parametrize("reason", [None, "a reason of the host"])
@pytest.mark.parametrize("audience", list(Audience))
def test_a_host_decides_with_a_reason_of_its_own(
    app: Flask,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    audience: Audience,
    reason: str | None,
) -> None:
    @chatwoot.policy
    def policy(facts: PolicyContext) -> Decision:
        return Decision(audience, reason)

    ending = endings(app, api)

    assert api.public == (["On its way."] if audience is CUSTOMER else [])
    assert api.notes == (["On its way."] if audience is OPERATORS else [])

    if audience is not CUSTOMER:
        assert (ending["reason"], ending_of(app)[1]) == (reason, reason)


@pytest.mark.parametrize(
    ("value", "public", "notes"),
    [
        (Mode.BOT, 1, 0),
        (Mode.HUMAN, 0, 1),
        ("customer", 1, 0),
        ("operators", 0, 1),
        ("nobody", 0, 0),
        (CUSTOMER, 1, 0),
    ],
    ids=repr,
)
def test_a_policy_may_return_a_mode_or_the_name_of_an_audience(
    app: Flask,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    value: t.Any,
    public: int,
    notes: int,
) -> None:
    chatwoot.policy(lambda context: value)

    ending = endings(app, api)

    assert (len(api.public), len(api.notes)) == (public, notes)
    assert ending["reason"] is None


@pytest.mark.parametrize(
    "value",
    [None, True, False, "bot", "all", 1, (CUSTOMER, None), {"audience": CUSTOMER}],
    ids=repr,
)
def test_a_policy_that_returns_no_decision_lets_nothing_out(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, value: t.Any
) -> None:
    chatwoot.policy(lambda facts: value)

    ending = endings(app, api)

    assert (api.public, api.notes) == ([], ["On its way."])
    assert ending["reason"] is Reason.POLICY_FAILED
    assert ending_of(app) == ("noted", "policy_failed")


@pytest.mark.parametrize(
    "value",
    [
        Decision(t.cast(t.Any, []), None),
        Decision(t.cast(t.Any, {}), "x"),
        Decision(OPERATORS, t.cast(t.Any, 42)),
        Decision(OPERATORS, t.cast(t.Any, b"x")),
        Decision(OPERATORS, t.cast(t.Any, {})),
    ],
    ids=repr,
)
def test_a_decision_of_foreign_types_lets_nothing_out(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, value: Decision
) -> None:
    chatwoot.policy(lambda facts: value)

    endings(app, api)

    assert (api.public, api.notes) == ([], ["On its way."])
    assert ending_of(app) == ("noted", "policy_failed")


def test_a_reason_that_cannot_be_stored_is_cleaned(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.policy(lambda facts: Decision(OPERATORS, "half \ud83d of it"))

    endings(app, api)

    assert ending_of(app) == ("noted", "half ? of it")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("4111 1111"), KeyError("4111"), RecursionError(), ValueError()],
)
def test_a_policy_that_raises_lets_nothing_out_and_is_in_the_log(
    app: Flask,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    error: Exception,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @chatwoot.policy
    def policy(facts: PolicyContext) -> Decision:
        raise error

    with caplog.at_level(logging.ERROR):
        endings(app, api)

    assert (api.public, api.notes) == ([], ["On its way."])
    assert ending_of(app) == ("noted", "policy_failed")
    assert type(error).__name__ in caplog.text
    assert "4111" not in caplog.text


def test_a_policy_that_fails_later_withdraws_what_was_to_be_public(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    seen: list[PolicyContext] = []

    @chatwoot.policy
    def policy(facts: PolicyContext) -> Decision:
        seen.append(facts)

        if len(seen) > 1:
            raise RuntimeError

        return Decision(CUSTOMER)

    endings(app, api)

    assert len(seen) == 2
    assert (api.public, api.notes) == ([], ["On its way."])


@pytest.mark.parametrize("later", ["operators", "nobody", "everybody", None, 1])
def test_an_audience_that_is_only_written_like_one_lets_nothing_out(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, later: t.Any
) -> None:
    decisions = [Decision(CUSTOMER), Decision(later)]
    chatwoot.policy(lambda facts: decisions.pop(0))

    endings(app, api)

    assert api.public == []


@pytest.mark.parametrize("function", [None, "policy", 1, Decision(CUSTOMER)], ids=repr)
def test_what_is_no_function_is_refused_as_a_policy(
    chatwoot: Chatwoot, function: t.Any
) -> None:
    with pytest.raises(ConfigError, match="must be a function"):
        chatwoot.policy(function)


def test_there_is_one_policy_and_it_stays_callable(chatwoot: Chatwoot) -> None:
    assert chatwoot.policy(default_policy) is default_policy

    with pytest.raises(ConfigError, match="already"):
        chatwoot.policy(default_policy)


def test_a_policy_may_ask_the_built_in_one(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    @chatwoot.policy
    def policy(facts: PolicyContext) -> Decision:
        return default_policy(facts._replace(taken=True))

    endings(app, api)

    assert ending_of(app) == ("noted", "taken")
