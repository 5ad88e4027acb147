"""The audience of an answer: what the settings decide, and what a host decides."""

from __future__ import annotations

import typing as t
from dataclasses import replace

import pytest
from support.stories import ASKED, Begin, Story, Thinker

from flask_chatwoot import Chatwoot, PolicySettings
from flask_chatwoot.simulator.payloads import Agent, ContactRecord

ANSWERED = "Uma User: On its way."
NOTED = "Uma User (note): On its way."
YIELDING = PolicySettings(yield_to_assignee=True)
PENDING = PolicySettings(frozenset({"pending"}))
OLGA = Agent(id=3, name="Olga Operator")


@pytest.fixture(autouse=True)
def provider(chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")


@pytest.fixture
def thinker(chatwoot: Chatwoot) -> Thinker:
    return chatwoot.reply_provider(mode="bot")(Thinker("On its way."))


def block(story: Story) -> None:
    """As an operator does, of which no webhook about conversations is sent."""
    contact = replace(story.talk.current.contact, blocked=True)
    story.talk.current = replace(story.talk.current, contact=contact)


@pytest.mark.parametrize(
    ("change", "lines", "ending"),
    [
        (lambda s: s.talk.change_status("resolved"), [NOTED], "noted status"),
        (lambda s: s.talk.assign(OLGA), [NOTED], "noted assigned"),
        (block, [], "declined blocked"),
        (lambda s: s.talk.set_attribute("support_mode", "human"), [NOTED], "noted"),
    ],
    ids=["resolved", "assigned", "blocked", "human mode"],
)
def test_a_change_before_the_provider_answers_counts(
    begin: Begin,
    thinker: Thinker,
    change: t.Callable[[Story], None],
    lines: list[str],
    ending: str,
) -> None:
    story = begin(policy=YIELDING)

    with story.during(thinker):
        change(story)

    assert story.lines() == [ASKED, *lines]
    assert story.endings() == [ending]


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


@pytest.mark.parametrize(
    ("options", "answer", "ending"),
    [
        ({"status": "open", "policy": PENDING}, NOTED, "noted status"),
        ({"assignee": OLGA}, ANSWERED, "replied"),
        ({"assignee": OLGA, "policy": YIELDING}, NOTED, "noted assigned"),
        ({"channel": "whatsapp", "can_reply": False}, NOTED, "noted window_closed"),
    ],
    ids=["not among the statuses", "assigned", "yields", "window closed"],
)
def test_the_conversation_and_the_settings_decide(
    begin: Begin, options: dict[str, t.Any], answer: str, ending: str
) -> None:
    story = begin(**options)
    story.goes(ASKED, answer)
    assert story.endings() == [ending]


def test_a_blocked_contact_gets_no_answer(begin: Begin) -> None:
    story = begin(contact=ContactRecord(blocked=True), status="open")
    story.goes(ASKED)
    assert story.refusals == ["blocked"]
