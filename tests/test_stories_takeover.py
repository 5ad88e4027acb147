"""A person answers in public, and the bot steps back."""

from __future__ import annotations

import pytest
from flask import Flask
from support.stories import Story, Thinker

from flask_chatwoot import Chatwoot
from flask_chatwoot.simulator import Fault
from flask_chatwoot.simulator.payloads import MessageType
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory


@pytest.fixture
def thinker(chatwoot: Chatwoot) -> Thinker:
    """The app's provider, which takes its time."""
    return chatwoot.reply_provider(Thinker())


@pytest.fixture
def quick(chatwoot: Chatwoot) -> None:
    """The app's provider, which answers at once."""
    chatwoot.reply_provider(lambda text: f"You asked: {text}")


def test_an_operator_answers_while_the_bot_still_thinks(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app)

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    story.talk.operator_says("It left our house this morning.")
    story.sim.drain()
    thinker.answer()
    story.rest()
    story.talk.customer_says("And the invoice?")

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Olga Operator: It left our house this morning.",
        "Ada Lovelace: And the invoice?",
        "Uma User (note): You asked: And the invoice?",
    ]
    assert story.endings() == ["declined answered", "taken_over", "noted taken"]
    assert story.attributes == {"support_mode": "human"}


def test_chatwoot_is_asked_when_the_webhook_is_late(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app)
    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()

    with story.sim.holding():
        story.talk.operator_says("It left our house this morning.")
        thinker.answer()
        story.sim.wait_until(lambda: story.calls("conversation"))

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Olga Operator: It left our house this morning.",
    ]


def test_a_note_after_the_answer_does_not_hide_it(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app)
    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()

    with story.sim.holding():
        story.talk.operator_says("It left our house this morning.")
        story.talk.operator_says("I took this one.", private=True)
        thinker.answer()
        story.sim.wait_until(lambda: story.calls("list_messages"))

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Olga Operator: It left our house this morning.",
        "Olga Operator (note): I took this one.",
    ]


def test_a_word_of_thanks_after_the_answer_does_not_hide_it(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app)
    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()

    with story.sim.holding():
        story.talk.operator_says("It left our house this morning.")
        story.talk.customer_says("Thank you!")
        thinker.answer()
        story.sim.wait_until(lambda: story.calls("conversation"))

    story.rest()

    assert "You asked: Where is my order?" not in story.talk.replies
    assert story.endings()[0] == "declined answered"


def test_what_the_customer_shall_no_longer_read_becomes_a_note(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app)

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    story.talk.set_attribute("support_mode", "human")
    thinker.answer()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User (note): You asked: Where is my order?",
    ]
    assert story.endings() == ["noted"]


def test_a_reply_from_the_shops_own_phone_takes_over(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app, channel="whatsapp")

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    echo = story.talk.operator_says_from_phone("On its way, I packed it myself.")
    thinker.answer()
    story.rest()
    story.talk.customer_says("Thanks! And the invoice?")

    assert echo.sender is None
    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Operator: On its way, I packed it myself.",
        "Ada Lovelace: Thanks! And the invoice?",
        "Uma User (note): You asked: Thanks! And the invoice?",
    ]
    assert story.attributes == {"support_mode": "human"}


def test_an_echo_may_carry_the_name_of_whoever_wrote_it_outside(
    chatwoot_sim: ChatwootSim, app: Flask, quick: None
) -> None:
    story = Story(chatwoot_sim, app, channel="whatsapp")

    story.talk.add(
        None, "On its way.", content_attributes={"external_sender_name": "Otto"}
    )
    story.rest()
    story.talk.customer_says("Are you sure?")

    assert story.told() == [
        "Chatwoot: On its way.",
        "Ada Lovelace: Are you sure?",
        "Uma User (note): You asked: Are you sure?",
    ]


def test_neither_machines_nor_notes_take_over(
    chatwoot_sim: ChatwootSim, app: Flask, quick: None
) -> None:
    story = Story(chatwoot_sim, app)
    talk = story.talk

    talk.automation_says("Did you know our newsletter?")
    talk.add(None, "We reply within a day.", type=MessageType.TEMPLATE)
    talk.add(story.sim.bot, "I am another bot.")
    talk.add(  # a rule may act in the name of a person
        story.sim.operator,
        "Happy birthday!",
        content_attributes={"automation_rule_id": 2},
    )
    talk.add(story.sim.operator, "Sale!", additional_attributes={"campaign_id": 7})
    talk.operator_says("A difficult one.", private=True)
    story.rest()
    talk.customer_says("Where is my order?")

    assert story.told() == [
        "Automation: Did you know our newsletter?",
        "Chatwoot: We reply within a day.",
        "Assistant: I am another bot.",
        "Olga Operator: Happy birthday!",
        "Olga Operator: Sale!",
        "Olga Operator (note): A difficult one.",
        "Ada Lovelace: Where is my order?",
        "Uma User: You asked: Where is my order?",
    ]
    assert story.attributes == {"support_mode": "bot"}


def test_machines_that_speak_in_the_middle_do_not_answer_the_question(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app)

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    story.talk.automation_says("We are busy today.")
    story.talk.add(story.sim.bot, "I am another bot.")
    story.sim.drain()
    thinker.answer()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Automation: We are busy today.",
        "Assistant: I am another bot.",
        "Uma User: You asked: Where is my order?",
    ]


def test_our_own_echo_is_no_person_even_without_a_marker(
    chatwoot_simulator: SimulatorFactory, app: Flask, quick: None
) -> None:
    story = Story(chatwoot_simulator(version="4.8.0"), app)

    for text in ("Where is my order?", "And the invoice?"):
        story.talk.customer_says(text)
        story.rest()

    assert all("flask_chatwoot" not in m.content_attributes for m in story.talk.posted)
    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User: You asked: Where is my order?",
        "Ada Lovelace: And the invoice?",
        "Uma User: You asked: And the invoice?",
    ]
    assert story.attributes == {"support_mode": "bot"}


def test_our_own_echo_is_no_person_even_if_its_request_had_no_answer(
    chatwoot_simulator: SimulatorFactory, app: Flask, quick: None
) -> None:
    story = Story(chatwoot_simulator(version="4.8.0"), app)
    story.sim.inject(Fault.CUT_AFTER)

    for text in ("Where is my order?", "And the invoice?"):
        story.talk.customer_says(text)
        story.rest()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User: You asked: Where is my order?",
        "Ada Lovelace: And the invoice?",
        "Uma User: You asked: And the invoice?",
    ]


def test_an_operator_with_our_token_is_a_person_on_an_old_server(
    chatwoot_simulator: SimulatorFactory, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_simulator(version="4.8.0"), app)

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    story.talk.add(story.sim.user, "Let me see.")
    thinker.answer()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User: Let me see.",
    ]
    assert story.attributes == {"support_mode": "human"}


def test_nothing_public_is_said_while_chatwoot_cannot_be_asked(
    chatwoot_simulator: SimulatorFactory, app: Flask, quick: None
) -> None:
    story = Story(chatwoot_simulator(max_attempts=3), app)
    story.sim.inject(Fault.SERVER_ERROR, endpoint="conversation", times=None)
    story.talk.customer_says("Where is my order?")

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User (note): **The bot could not answer.** Chatwoot failed, on every "
        "attempt. The conversation is handed off.",
    ]
    assert story.endings() == ["dead server_error"]


def test_the_bot_answers_as_soon_as_chatwoot_can_be_asked_again(
    chatwoot_sim: ChatwootSim, app: Flask, quick: None
) -> None:
    story = Story(chatwoot_sim, app)
    story.sim.inject(Fault.SERVER_ERROR, endpoint="conversation", times=2)
    story.talk.customer_says("Where is my order?")

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User: You asked: Where is my order?",
    ]


def test_a_take_over_holds_even_if_the_attribute_cannot_be_set(
    chatwoot_simulator: SimulatorFactory, app: Flask, quick: None
) -> None:
    story = Story(chatwoot_simulator(max_attempts=2), app)
    story.sim.inject(Fault.SERVER_ERROR, endpoint="custom_attributes", times=None)

    story.talk.operator_says("May I help you?")
    story.rest()
    story.talk.customer_says("Where is my order?")

    assert story.told() == [
        "Olga Operator: May I help you?",
        "Ada Lovelace: Where is my order?",
        "Uma User (note): You asked: Where is my order?",
    ]
    assert story.endings() == ["dead server_error", "noted taken"]
    assert story.attributes == {"support_mode": "bot"}


def test_a_person_may_answer_in_a_conversation_that_is_human_already(
    chatwoot_sim: ChatwootSim, app: Flask, quick: None
) -> None:
    story = Story(chatwoot_sim, app, mode="human")

    story.talk.customer_says("Where is my order?")
    story.rest()
    story.talk.operator_says("Let me see.")

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User (note): You asked: Where is my order?",
        "Olga Operator: Let me see.",
    ]
    assert story.calls("custom_attributes") == []
