"""Who is told an answer: what the settings say, and what a host says instead."""

from __future__ import annotations

import time
import typing as t
from dataclasses import replace

import pytest
from flask import Flask
from support.apps import database_of
from support.stories import Story, Thinker

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
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory

QUESTION = "Where is my order?"
ASKED = f"Ada Lovelace: {QUESTION}"
ANSWERED = "Uma User: On its way."
NOTED = "Uma User (note): On its way."


@pytest.fixture(autouse=True)
def provider(chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")


@pytest.mark.parametrize("status", ["open", "pending"])
def test_open_and_pending_conversations_are_answered(
    chatwoot_sim: ChatwootSim, app: Flask, status: str
) -> None:
    story = Story(chatwoot_sim, app, status=status)
    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, ANSWERED]
    assert story.talk.status == status


@pytest.mark.parametrize("status", ["resolved", "snoozed"])
def test_whoever_closes_a_conversation_meanwhile_is_not_talked_over(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot, status: str
) -> None:
    thinker = chatwoot.reply_provider(mode="bot")(Thinker("On its way."))
    story = Story(chatwoot_sim, app)

    story.talk.customer_says(QUESTION)
    thinker.wait_until_asked()
    story.talk.change_status(status)
    thinker.answer()

    assert story.told() == [ASKED, NOTED]
    assert story.endings() == ["noted status"]


def test_only_these_statuses_are_answered(
    chatwoot_simulator: SimulatorFactory, app: Flask
) -> None:
    rules = PolicySettings(statuses=frozenset({"pending"}))
    story = Story(chatwoot_simulator(policy=rules), app, status="open")
    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, NOTED]
    assert story.endings() == ["noted status"]


def test_only_these_chatwoot_inboxes_are_answered(
    chatwoot_simulator: SimulatorFactory, app: Flask
) -> None:
    sim = chatwoot_simulator(inboxes=frozenset({3}))
    here, there = Story(sim, app, inbox_id=3), Story(sim, app, inbox_id=4)
    here.talk.customer_says(QUESTION)
    there.talk.customer_says(QUESTION)
    there.talk.operator_says("Let me see.")
    there.talk.set_attribute("support_mode", "human")

    assert here.told() == [ASKED, ANSWERED]
    assert there.told() == [ASKED, "Olga Operator: Let me see."]
    assert there.refusals.count("other_inbox") == 3
    assert here.endings() == ["replied"]


def test_an_assigned_person_changes_nothing_by_default(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app)
    story.talk.assign(story.sim.operator)
    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, ANSWERED]


@pytest.mark.parametrize(
    ("assignee", "answer"),
    [
        (Agent(id=3, name="Olga Operator"), NOTED),
        (Agent(id=3, name="Assistant", bot=True), ANSWERED),
        (None, ANSWERED),
    ],
)
def test_the_bot_yields_to_an_assigned_person_if_told_so(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    assignee: Agent | None,
    answer: str,
) -> None:
    """A person and a bot may have the same id."""
    sim = chatwoot_simulator(policy=PolicySettings(yield_to_assignee=True))
    story = Story(sim, app, assignee=assignee)
    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, answer]


def test_the_bot_yields_to_a_person_who_is_assigned_while_it_thinks(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    thinker = chatwoot.reply_provider(mode="bot")(Thinker("On its way."))
    story = Story(
        chatwoot_simulator(policy=PolicySettings(yield_to_assignee=True)), app
    )

    story.talk.customer_says(QUESTION)
    thinker.wait_until_asked()
    story.talk.assign(story.sim.operator)
    thinker.answer()

    assert story.told() == [ASKED, NOTED]
    assert story.endings() == ["noted assigned"]


@pytest.mark.parametrize(
    ("age", "answer", "ending"),
    [(3500, ANSWERED, "replied"), (3700, NOTED, "noted too_old")],
)
def test_what_was_asked_an_hour_ago_is_only_noted(
    chatwoot_sim: ChatwootSim, app: Flask, age: float, answer: str, ending: str
) -> None:
    story = Story(chatwoot_sim, app)
    database_of(app).clock = lambda: time.time() + age
    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, answer]
    assert story.endings() == [ending]


def test_the_oldest_age_can_be_set(
    chatwoot_simulator: SimulatorFactory, app: Flask
) -> None:
    story = Story(chatwoot_simulator(policy=PolicySettings(max_age=60)), app)
    database_of(app).clock = lambda: time.time() + 90
    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, NOTED]


def test_outside_of_the_messaging_window_there_is_a_note(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app, channel="whatsapp", can_reply=False)
    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, NOTED]
    assert story.endings() == ["noted window_closed"]


def test_a_blocked_contact_gets_no_answer(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app, contact=Contact(blocked=True), status="open")
    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED]
    assert story.refusals == ["blocked"]


def test_a_contact_who_is_blocked_while_the_bot_thinks_gets_no_answer(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    thinker = chatwoot.reply_provider(mode="bot")(Thinker("On its way."))
    story = Story(chatwoot_sim, app)

    story.talk.customer_says(QUESTION)
    thinker.wait_until_asked()
    block(story)
    thinker.answer()

    assert story.told() == [ASKED]
    assert story.endings() == ["declined blocked"]


def block(story: Story) -> None:
    """As an operator does, of which webhooks for conversations are not told."""
    contact = replace(story.talk.current.contact, blocked=True)
    story.talk.current = replace(story.talk.current, contact=contact)


def test_a_host_may_decide_by_itself_and_say_why(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    seen: list[PolicyContext] = []

    @chatwoot.policy
    def policy(facts: PolicyContext) -> Decision:
        seen.append(facts)

        if facts.inbox_id == 4:
            return Decision(Audience.OPERATORS, "this inbox is watched")

        return default_policy(facts)

    story = Story(chatwoot_sim, app, inbox_id=4, contact=Contact(id=7))
    other = Story(chatwoot_sim, app, inbox_id=5)
    story.talk.assign(story.sim.operator)
    story.talk.customer_says(QUESTION)
    story.rest()
    other.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, NOTED]
    assert other.told() == [ASKED, ANSWERED]
    assert story.endings() == ["noted this inbox is watched", "replied"]
    assert seen[0].assignee == Assignee("user", story.sim.operator.id)
    assert (seen[0].mode, seen[0].status, seen[0].can_reply) == ("bot", "open", True)
    # Before the provider, and again right before the public post.
    assert [facts.live for facts in seen if facts.inbox_id == 5] == [False, True]


def test_a_policy_that_fails_keeps_the_answer_from_the_customer(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    @chatwoot.policy
    def policy(facts: PolicyContext) -> t.NoReturn:
        raise LookupError

    story = Story(chatwoot_sim, app)
    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, NOTED]
    assert story.endings() == ["noted policy_failed"]


def test_the_customer_may_be_nobodys_business(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.policy(lambda facts: Decision(Audience.NOBODY, "holidays"))

    story = Story(chatwoot_sim, app)
    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED]
    assert story.endings() == ["declined holidays"]
