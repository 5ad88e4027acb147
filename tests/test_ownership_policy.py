from __future__ import annotations

import itertools
import logging
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.apps import Scene, ending_of, recorded
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
OPERATOR: t.Final = Assignee("user", 4)
AGENT_BOT: t.Final = Assignee("agent_bot", 4)
YIELDING: t.Final = PolicySettings(yield_to_assignee=True)
STATUSES: t.Final = ["open", "pending", "resolved", "snoozed"]

NO_AUDIENCES: t.Final[tuple[t.Any, ...]] = (None, 1, [], {}, "everybody")
NO_REASONS: t.Final[tuple[t.Any, ...]] = (42, b"x", {})

Line = tuple[str, dict[str, t.Any], Decision]

TABLE: t.Final[list[Line]] = [
    ("auto_reply", {"auto_reply": True}, Decision(NOBODY, Reason.AUTO_REPLY)),
    ("blocked", {"blocked": True}, Decision(NOBODY, Reason.BLOCKED)),
    ("answered", {"answered": True}, Decision(NOBODY, Reason.ANSWERED)),
    ("taken", {"taken": True}, Decision(OPERATORS, Reason.TAKEN)),
    ("human", {"mode": Mode.HUMAN}, Decision(OPERATORS)),
    ("other bot", {"bot_answered": True}, Decision(NOBODY, Reason.OTHER_BOT)),
    ("status", {"status": "resolved"}, Decision(OPERATORS, Reason.STATUS)),
    (
        "assigned",
        {"assignee": OPERATOR, "settings": YIELDING},
        Decision(OPERATORS, Reason.ASSIGNED),
    ),
    ("too old", {"age": 3600.5}, Decision(OPERATORS, Reason.TOO_OLD)),
    ("window", {"can_reply": False}, Decision(OPERATORS, Reason.WINDOW_CLOSED)),
]
"""A context in which each line of the built-in policy holds, in its order."""


def facts(**changes: t.Any) -> PolicyContext:
    return PolicyContext(**{"mode": Mode.BOT, **changes})


# -- the built-in policy -------------------------------------------------------------


def test_the_customer_gets_the_answer_if_no_line_holds() -> None:
    assert default_policy(facts()) == Decision(CUSTOMER)


@pytest.mark.parametrize(
    "lines",
    [(line,) for line in TABLE] + list(itertools.combinations(TABLE, 2)) + [TABLE],
    ids=lambda lines: ", ".join(line[0] for line in lines),
)
def test_the_first_line_that_holds_decides(lines: t.Sequence[Line]) -> None:
    changes: dict[str, t.Any] = {}

    for _, holds, _ in reversed(lines):
        changes |= holds

    assert default_policy(facts(**changes)) == lines[0][2]


EVERYTHING: t.Final = st.builds(
    PolicyContext,
    mode=st.sampled_from(Mode),
    taken=st.booleans(),
    answered=st.booleans(),
    bot_answered=st.booleans(),
    status=st.sampled_from([None, *STATUSES, "new"]),
    assignee=st.sampled_from([None, OPERATOR, AGENT_BOT]),
    last_speaker=st.sampled_from([None, *Speaker]),
    blocked=st.booleans(),
    can_reply=st.booleans(),
    auto_reply=st.booleans(),
    age=st.floats(-10, 10_000),
    inbox_id=st.sampled_from([None, 3]),
    live=st.booleans(),
    settings=st.builds(
        PolicySettings,
        statuses=st.frozensets(st.sampled_from(STATUSES[:3])),
        yield_to_assignee=st.booleans(),
        max_age=st.floats(1, 10_000),
    ),
)


@given(EVERYTHING)
def test_the_customer_never_gets_an_answer_for_operators(facts: PolicyContext) -> None:
    decision = default_policy(facts)

    assert decision == default_policy(facts._replace())

    if decision.audience is CUSTOMER:
        assert decision.reason is None
        assert facts.mode is Mode.BOT
        assert not any((facts.taken, facts.answered, facts.blocked))
        assert not any((facts.auto_reply, facts.bot_answered))
        assert facts.can_reply
        assert facts.status is None or facts.status in facts.settings.statuses
        assert facts.age <= facts.settings.max_age
    elif decision.audience is NOBODY:
        others = (facts.blocked, facts.auto_reply, facts.bot_answered)
        assert facts.answered or any(others)
    else:
        assert decision.reason is not None or facts.mode is Mode.HUMAN


@pytest.mark.parametrize(
    ("changes", "audience"),
    [
        *[({"status": status}, CUSTOMER) for status in (None, "open", "pending")],
        *[({"status": each}, OPERATORS) for each in ("resolved", "snoozed", "new", "")],
        ({"assignee": OPERATOR}, CUSTOMER),
        ({"assignee": OPERATOR, "settings": YIELDING}, OPERATORS),
        ({"assignee": Assignee("user", None), "settings": YIELDING}, OPERATORS),
        ({"assignee": AGENT_BOT, "settings": YIELDING}, CUSTOMER),
        ({"assignee": AGENT_BOT}, CUSTOMER),
        ({"assignee": None, "settings": YIELDING}, CUSTOMER),
        ({"age": 3600.0}, CUSTOMER),
        ({"age": 3600.1}, OPERATORS),
        ({"age": 61.0, "settings": PolicySettings(max_age=60.0)}, OPERATORS),
        ({"age": 0.0, "settings": PolicySettings(max_age=60.0)}, CUSTOMER),
        ({"age": -500.0, "settings": PolicySettings(max_age=60.0)}, CUSTOMER),
        *[({"last_speaker": speaker}, CUSTOMER) for speaker in (None, *Speaker)],
    ],
)
def test_statuses_assignees_and_ages_are_compared_with_the_settings(
    changes: dict[str, t.Any], audience: Audience
) -> None:
    assert default_policy(facts(**changes)).audience is audience


@pytest.mark.parametrize(("status", "reason"), [("snoozed", None), ("open", "status")])
def test_the_statuses_of_the_bot_can_be_chosen(status: str, reason: str | None) -> None:
    settings = PolicySettings(statuses=frozenset({"snoozed"}))
    assert default_policy(facts(status=status, settings=settings)).reason == reason


def test_facts_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        facts().mode = Mode.HUMAN  # type: ignore[misc]


# -- a policy of the host --------------------------------------------------------------


@pytest.fixture
def scene(scene: Scene, asked: list[str]) -> Scene:
    """An app whose provider always gives the same answer."""
    return scene


def ending_with(scene: Scene, policy: t.Callable[[PolicyContext], t.Any]) -> t.Any:
    """How a customer's turn ends with a policy: the values of ``turn_finished``."""
    scene.chatwoot.policy(policy)

    with recorded(signals.turn_finished, scene.app) as endings:
        assert deliver(scene.client, message()).status_code == 202

    (ending,) = endings

    return ending


def assert_noted(scene: Scene, reason: str = Reason.POLICY_FAILED) -> None:
    assert (scene.api.public, scene.api.notes) == ([], ["On its way."])
    assert ending_of(scene.app) == ("noted", reason)


OWN: t.Final = "a reason of the host"


@pytest.mark.parametrize(
    ("value", "public", "notes", "reason"),
    [
        (Decision(CUSTOMER), 1, 0, None),
        (Decision(CUSTOMER, OWN), 1, 0, None),
        (Decision(OPERATORS), 0, 1, None),
        (Decision(OPERATORS, OWN), 0, 1, OWN),
        (Decision(NOBODY), 0, 0, Reason.POLICY),
        (Decision(NOBODY, OWN), 0, 0, OWN),
        (Mode.BOT, 1, 0, None),
        (Mode.HUMAN, 0, 1, None),
        (Decision(t.cast(t.Any, "operators")), 0, 1, None),
        ("customer", 1, 0, None),
        ("operators", 0, 1, Reason.POLICY),
        ("nobody", 0, 0, Reason.POLICY),
    ],
    ids=repr,
)
def test_a_policy_returns_a_decision_a_mode_or_the_name_of_an_audience(
    scene: Scene,
    asked: list[str],
    value: t.Any,
    public: int,
    notes: int,
    reason: str | None,
) -> None:
    ending = ending_with(scene, lambda facts: value)
    assert (len(scene.api.public), len(scene.api.notes)) == (public, notes)
    assert len(asked) == public + notes
    assert ending["reason"] == reason


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, "bot", 1, (CUSTOMER, None), {"audience": CUSTOMER}),
        *(Decision(no) for no in NO_AUDIENCES),
        *(Decision(OPERATORS, no) for no in NO_REASONS),
    ],
    ids=repr,
)
def test_what_is_no_decision_posts_nothing_public(scene: Scene, value: t.Any) -> None:
    assert ending_with(scene, lambda facts: value)["reason"] is Reason.POLICY_FAILED
    assert_noted(scene)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("operatorss", "of_the_host returned str, but no decision; return a"),
        (Decision(OPERATORS, t.cast(t.Any, 7)), "of_the_host gave int as a reason; it"),
    ],
)
def test_what_is_no_decision_is_logged_and_reported(
    scene: Scene, value: t.Any, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    def of_the_host(facts: PolicyContext) -> t.Any:
        return value

    with recorded(signals.got_exception, scene.app) as errors:
        ending_with(scene, of_the_host)

    assert said in caplog.text
    assert "operatorss" not in caplog.text
    assert errors
    assert all(
        each["where"] == "policy" and said in str(each["exc_info"][1])
        for each in errors
    )


def test_a_reason_that_cannot_be_stored_is_cleaned(scene: Scene) -> None:
    ending_with(scene, lambda facts: Decision(OPERATORS, "half \ud83d of it"))
    assert_noted(scene, "half ? of it")


@pytest.mark.parametrize(
    "error",
    [RuntimeError("4111 1111"), KeyError("4111"), RecursionError(), SystemExit("4111")],
)
def test_a_policy_that_raises_posts_nothing_public_and_is_logged(
    scene: Scene, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    def policy(facts: PolicyContext) -> t.NoReturn:
        raise error

    with caplog.at_level(logging.ERROR):
        ending_with(scene, policy)

    assert_noted(scene)
    assert type(error).__name__ in caplog.text
    assert "4111" not in caplog.text


@pytest.mark.parametrize("later", [[], [Decision(t.cast(t.Any, "everybody"))]])
def test_a_policy_that_fails_right_before_the_post_withdraws_it(
    scene: Scene, later: list[Decision]
) -> None:
    decisions = [*later, Decision(CUSTOMER)]  # without a later one, pop() raises
    ending_with(scene, lambda facts: decisions.pop())

    assert decisions == []
    assert_noted(scene)


@pytest.mark.parametrize("function", [None, "policy", 1, Decision(CUSTOMER)], ids=repr)
def test_what_is_no_function_is_no_policy(chatwoot: Chatwoot, function: t.Any) -> None:
    with pytest.raises(ConfigError, match="must be a function"):
        chatwoot.policy(function)


@pytest.mark.parametrize("name", ["none", "two", "named"])
def test_a_policy_takes_the_context_alone(chatwoot: Chatwoot, name: str) -> None:
    functions: dict[str, t.Any] = {
        "none": lambda: CUSTOMER,
        "two": lambda context, turn: CUSTOMER,
        "named": lambda context, *, turn: CUSTOMER,
    }

    with pytest.raises(ConfigError, match="must take the context, and nothing else"):
        chatwoot.policy(functions[name])


def test_a_policy_may_have_more_parameters_with_defaults(chatwoot: Chatwoot) -> None:
    def policy(context: PolicyContext, owner: str = "support") -> str:
        return "customer"

    assert chatwoot.policy(policy) is policy
    assert Chatwoot().policy(t.cast(t.Any, str)) is str  # shows no parameters


def test_there_is_one_policy_and_it_stays_callable(chatwoot: Chatwoot) -> None:
    assert chatwoot.policy(default_policy) is default_policy

    with pytest.raises(ConfigError, match="already"):
        chatwoot.policy(default_policy)


def test_a_policy_may_call_the_built_in_one(scene: Scene) -> None:
    ending_with(scene, lambda facts: default_policy(facts._replace(taken=True)))
    assert_noted(scene, "taken")
