"""The audience of an answer: what the settings decide, and what a host decides."""

from __future__ import annotations

import time
import typing as t
from dataclasses import replace

import pytest
from flask import Flask
from support.apps import database_of
from support.stories import ASKED, Begin, Story, Thinker

from flask_chatwoot import (
    Assignee,
    Audience,
    Chatwoot,
    Decision,
    PolicyContext,
    PolicySettings,
    default_policy,
)
from flask_chatwoot.simulator.payloads import Agent, Contact

ANSWERED = "Uma User: On its way."
NOTED = "Uma User (note): On its way."
YIELDING = PolicySettings(yield_to_assignee=True)


@pytest.fixture(autouse=True)
def provider(chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")


@pytest.fixture
def thinker(chatwoot: Chatwoot) -> Thinker:
    return chatwoot.reply_provider(mode="bot")(Thinker("On its way."))


@pytest.mark.parametrize("status", ["open", "pending"])
def test_open_and_pending_conversations_are_answered(begin: Begin, status: str) -> None:
    story = begin(status=status)

    story.goes(ASKED, ANSWERED)
    assert story.talk.status == status


def block(story: Story) -> None:
    """As an operator does, of which no webhook about conversations is sent."""
    contact = replace(story.talk.current.contact, blocked=True)
    story.talk.current = replace(story.talk.current, contact=contact)


@pytest.mark.parametrize(
    ("options", "change", "lines", "ending"),
    [
        ({}, lambda s: s.talk.change_status("resolved"), [NOTED], "noted status"),
        ({}, lambda s: s.talk.change_status("snoozed"), [NOTED], "noted status"),
        (
            {"policy": YIELDING},
            lambda s: s.talk.assign(s.sim.operator),
            [NOTED],
            "noted assigned",
        ),
        ({}, block, [], "declined blocked"),
    ],
    ids=["resolved", "snoozed", "assigned", "blocked"],
)
def test_a_change_before_the_provider_answers_counts(
    begin: Begin,
    thinker: Thinker,
    options: dict[str, t.Any],
    change: t.Callable[[Story], None],
    lines: list[str],
    ending: str,
) -> None:
    story = begin(**options)

    with story.during(thinker):
        change(story)

    assert story.lines() == [ASKED, *lines]
    assert story.endings() == [ending]


def test_only_these_statuses_are_answered(begin: Begin) -> None:
    story = begin(policy=PolicySettings(frozenset({"pending"})), status="open")

    story.goes(ASKED, NOTED)
    assert story.endings() == ["noted status"]


def test_only_these_chatwoot_inboxes_are_answered(begin: Begin) -> None:
    here = begin(inboxes=frozenset({3}), inbox_id=3)
    there = begin(inbox_id=4)
    here.talk.customer_says("Where is my order?")
    there.goes(ASKED, "Olga Operator: Let me see.")
    there.talk.set_attribute("support_mode", "human")

    assert here.lines() == [ASKED, ANSWERED]
    assert there.lines() == [ASKED, "Olga Operator: Let me see."]
    assert there.refusals.count("other_inbox") == 3
    assert here.endings() == ["replied"]


def test_an_assigned_operator_changes_nothing_by_default(story: Story) -> None:
    story.talk.assign(story.sim.operator)
    story.goes(ASKED, ANSWERED)


@pytest.mark.parametrize(
    ("assignee", "answer"),
    [
        (Agent(id=3, name="Olga Operator"), NOTED),
        (Agent(id=3, name="Assistant", bot=True), ANSWERED),
        (None, ANSWERED),
    ],
)
def test_the_app_yields_to_an_assigned_operator_if_configured(
    begin: Begin, assignee: Agent | None, answer: str
) -> None:
    """An operator and a bot may have the same id."""
    begin(policy=YIELDING, assignee=assignee).goes(ASKED, answer)


@pytest.mark.parametrize(
    ("options", "age", "answer", "ending"),
    [
        ({}, 3500, ANSWERED, "replied"),
        ({}, 3700, NOTED, "noted too_old"),
        ({"policy": PolicySettings(max_age=60)}, 90, NOTED, "noted too_old"),
    ],
)
def test_an_old_question_is_only_noted(
    begin: Begin,
    app: Flask,
    options: dict[str, t.Any],
    age: float,
    answer: str,
    ending: str,
) -> None:
    story = begin(**options)
    database_of(app).clock = lambda: time.time() + age

    story.goes(ASKED, answer)
    assert story.endings() == [ending]


def test_an_answer_outside_of_the_messaging_window_is_a_note(begin: Begin) -> None:
    story = begin(channel="whatsapp", can_reply=False)

    story.goes(ASKED, NOTED)
    assert story.endings() == ["noted window_closed"]


def test_a_blocked_contact_gets_no_answer(begin: Begin) -> None:
    story = begin(contact=Contact(blocked=True), status="open")

    story.goes(ASKED)
    assert story.refusals == ["blocked"]


def test_a_host_may_decide_with_a_reason_of_its_own(
    begin: Begin, chatwoot: Chatwoot
) -> None:
    seen: list[PolicyContext] = []

    @chatwoot.policy
    def policy(facts: PolicyContext) -> Decision:
        seen.append(facts)

        if facts.inbox_id == 4:
            return Decision(Audience.OPERATORS, "this inbox is watched")

        return default_policy(facts)

    story, other = begin(inbox_id=4, contact=Contact(id=7)), begin(inbox_id=5)
    story.talk.assign(story.sim.operator)

    story.goes(ASKED, NOTED)
    other.goes(ASKED, ANSWERED)
    assert story.endings() == ["noted this inbox is watched", "replied"]
    assert seen[0].assignee == Assignee("user", story.sim.operator.id)
    assert (seen[0].mode, seen[0].status, seen[0].can_reply) == ("bot", "open", True)
    # Before the provider, and again right before the public post.
    assert [facts.live for facts in seen if facts.inbox_id == 5] == [False, True]


@pytest.mark.parametrize(
    ("decision", "lines", "ending"),
    [
        (None, [NOTED], "noted policy_failed"),
        (Decision(Audience.NOBODY, "holidays"), [], "declined holidays"),
    ],
    ids=["a policy that fails", "nobody"],
)
def test_a_policy_keeps_the_answer_from_the_customer(
    story: Story,
    chatwoot: Chatwoot,
    decision: Decision | None,
    lines: list[str],
    ending: str,
) -> None:
    @chatwoot.policy
    def policy(facts: PolicyContext) -> Decision:
        if decision is None:
            raise LookupError

        return decision

    story.goes(ASKED, *lines)
    assert story.endings() == [ending]
