"""The app is an agent bot: its own token, and conversations that wait for it."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.stories import Story, Thinker

from flask_chatwoot import Chatwoot, Handoff, PolicySettings, Reply
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory

QUESTION = "Where is my order?"
ASKED = f"Ada Lovelace: {QUESTION}"

VERSIONS: t.Final = ["4.2.0", "4.14.1", "4.14.2", "4.16.2"]
"""A bot may read conversations from 4.14.2 on, and own them from 4.16.2 on."""


@pytest.fixture(params=VERSIONS)
def bots(request: pytest.FixtureRequest, chatwoot_simulator: t.Any) -> ChatwootSim:
    """A Chatwoot in which the app is an agent bot."""
    sim: ChatwootSim = chatwoot_simulator(version=request.param, kind="bot")

    return sim


def provide(chatwoot: Chatwoot) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> t.Any:
        if "person" in text:
            return Reply("One moment.", handoff=Handoff("asked for a person"))

        return f"You asked: {text}"


HANDED_OVER = [
    "Ada Lovelace: A person, please.",
    "Assistant: One moment.",
    "Assistant (note): **The bot hands this conversation off.** Reason: asked for a "
    "person",
    "    ",
    "    The customer wrote:",
    "    ",
    "    > A person, please.",
    "    ",
    "    The bot answered:",
    "    ",
    "    > One moment.",
]


def test_a_pending_conversation_stays_with_the_bot(
    bots: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    provide(chatwoot)
    story = Story(bots, app)

    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, f"Assistant: You asked: {QUESTION}"]
    assert story.talk.status == "pending"
    assert {call.token for call in story.sim.calls} == {"bot"}


def test_a_hand_off_opens_it(bots: ChatwootSim, app: Flask, chatwoot: Chatwoot) -> None:
    provide(chatwoot)
    story = Story(bots, app, custom_attributes={"order": 4711})

    story.talk.customer_says("A person, please.")
    story.rest()
    assert story.talk.status == "open"
    assert story.talk.current.assignee is None
    assert story.attributes == {"order": 4711, "support_mode": "human"}

    story.talk.customer_says(QUESTION)

    assert story.told() == [
        *HANDED_OVER,
        ASKED,
        f"Assistant (note): You asked: {QUESTION}",
    ]


def test_an_operator_gives_it_back(
    bots: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    provide(chatwoot)
    story = Story(bots, app)

    story.talk.customer_says("A person, please.")
    story.rest()
    story.talk.operator_says("Here I am.")
    story.rest()
    story.talk.set_attribute("support_mode", "bot")
    story.rest()
    story.talk.customer_says(QUESTION)

    assert story.told() == [
        *HANDED_OVER,
        "Olga Operator: Here I am.",
        ASKED,
        f"Assistant: You asked: {QUESTION}",
    ]


@pytest.mark.parametrize("mode", ["bot", "human"])
def test_an_operator_gives_back_what_was_taken_by_an_answer(
    bots: ChatwootSim, app: Flask, chatwoot: Chatwoot, mode: str
) -> None:
    """Bots before 4.13 see that by the next message only."""
    provide(chatwoot)
    story = Story(bots, app, mode=mode)

    story.talk.operator_says("May I help you?")
    story.rest()
    story.talk.set_attribute("support_mode", "bot")
    story.rest()
    story.talk.customer_says(QUESTION)

    assert story.told() == [
        "Olga Operator: May I help you?",
        ASKED,
        f"Assistant: You asked: {QUESTION}",
    ]


def test_resolved_it_comes_back(
    bots: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    provide(chatwoot)
    story = Story(bots, app)

    story.talk.customer_says("A person, please.")
    story.rest()
    story.talk.resolve()
    story.rest()
    story.talk.customer_says(QUESTION)

    assert story.told() == [
        *HANDED_OVER,
        ASKED,
        f"Assistant: You asked: {QUESTION}",
    ]


def test_a_person_takes_over_while_the_bot_thinks(
    bots: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    thinker = chatwoot.reply_provider(Thinker())
    story = Story(bots, app)

    story.talk.customer_says(QUESTION)
    thinker.wait_until_asked()
    story.talk.operator_takes()
    story.talk.operator_says("It left our house this morning.")
    story.sim.drain()
    thinker.answer()
    story.rest()
    story.talk.customer_says("And the invoice?")

    assert story.told() == [
        ASKED,
        "Olga Operator: It left our house this morning.",
        "Ada Lovelace: And the invoice?",
        "Assistant (note): You asked: And the invoice?",
    ]
    assert story.attributes == {"support_mode": "human"}


def test_a_person_answers_for_the_second_time_while_the_bot_thinks(
    bots: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    thinker = chatwoot.reply_provider(Thinker())
    story = Story(bots, app)

    story.talk.operator_says("May I help you?")
    story.rest()
    story.talk.set_attribute("support_mode", "bot")
    story.rest()
    story.talk.customer_says(QUESTION)
    thinker.wait_until_asked()
    story.talk.operator_says("It left our house this morning.")
    story.sim.drain()
    thinker.answer()

    assert story.told() == [
        "Olga Operator: May I help you?",
        ASKED,
        "Olga Operator: It left our house this morning.",
    ]


def test_in_human_mode_operators_get_to_see_it(
    bots: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    provide(chatwoot)
    story = Story(bots, app, mode="human")
    assert story.talk.status == "pending"

    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, f"Assistant (note): You asked: {QUESTION}"]
    assert story.talk.status == "open"


def test_the_bot_that_owns_a_conversation_is_no_person_to_yield_to(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    provide(chatwoot)
    sim = chatwoot_simulator(kind="bot", policy=PolicySettings(yield_to_assignee=True))
    story = Story(sim, app)
    assert story.talk.current.assignee == story.sim.bot

    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, f"Assistant: You asked: {QUESTION}"]


def test_a_webhook_beside_the_bot_doubles_nothing(
    bots: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    """Whoever sets up both has each message delivered twice, under two ids."""
    provide(chatwoot)
    story = Story(bots, app)
    story.talk.customer_says(QUESTION)
    story.rest()
    story.sim.connect(
        story.sim.deliveries[0].url,
        events=["message_created", "message_updated", "conversation_status_changed"],
    )

    story.talk.customer_says("And my refund?")
    story.rest()
    story.talk.operator_says("Let me see.")
    story.rest()
    question = story.talk.customer_says("Thank you.")

    assert story.told() == [
        ASKED,
        f"Assistant: You asked: {QUESTION}",
        "Ada Lovelace: And my refund?",
        "Assistant: You asked: And my refund?",
        "Olga Operator: Let me see.",
        "Ada Lovelace: Thank you.",
        "Assistant (note): You asked: Thank you.",
    ]
    assert sorted(
        each.answer["status"]
        for each in story.sim.deliveries
        if each.event == "message_created" and each.message_id == question.id
    ) == ["accepted", "duplicate"]
