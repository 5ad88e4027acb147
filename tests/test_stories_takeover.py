"""An operator answers in public, and the conversation is the operators'."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from support.stories import ASKED, QUESTION, Begin, Story, Thinker

from flask_chatwoot import Chatwoot
from flask_chatwoot.simulator import Fault
from flask_chatwoot.simulator.payloads import MessageType

ANSWER = f"Uma User: You asked: {QUESTION}"
NOTE = f"Uma User (note): You asked: {QUESTION}"
LEFT = "Olga Operator: It left this morning."
INVOICE = "Ada Lovelace: And the invoice?"


@pytest.fixture
def quick(chatwoot: Chatwoot) -> None:
    """The app's provider, which answers at once."""
    chatwoot.reply_provider(lambda text: f"You asked: {text}")


def test_an_operator_answers_before_the_provider(
    story: Story, thinker: Thinker
) -> None:
    with story.during(thinker, delivered=True):
        story.talk.operator_says("It left this morning.")

    assert story.lines() == [ASKED, LEFT]
    story.goes(INVOICE, "Uma User (note): You asked: And the invoice?")
    assert story.endings() == ["declined answered", "taken_over", "noted taken"]
    assert story.attributes == {"support_mode": "human"}


@contextlib.contextmanager
def late_webhook(story: Story, thinker: Thinker, until: str) -> t.Iterator[None]:
    """An operator answers, and its delivery comes after a call to this endpoint."""
    with story.during(thinker), story.sim.holding():
        story.talk.operator_says("It left this morning.")
        yield
        thinker.answer()
        story.sim.wait_until(lambda: story.calls(until))


def test_the_live_state_shows_an_answer_whose_webhook_is_late(
    story: Story, thinker: Thinker
) -> None:
    with late_webhook(story, thinker, "conversation"):
        pass

    assert story.lines() == [ASKED, LEFT]


def test_a_note_after_the_answer_does_not_hide_it(
    story: Story, thinker: Thinker
) -> None:
    with late_webhook(story, thinker, "list_messages"):
        story.talk.operator_says("I took this one.", private=True)

    assert story.lines() == [ASKED, LEFT, "Olga Operator (note): I took this one."]


def test_a_customers_message_after_the_answer_does_not_hide_it(
    story: Story, thinker: Thinker
) -> None:
    with late_webhook(story, thinker, "conversation"):
        story.talk.customer_says("Thank you!")

    assert "You asked: Where is my order?" not in story.talk.replies
    assert story.endings()[0] == "declined answered"


def test_a_change_to_human_makes_the_answer_a_note(
    story: Story, thinker: Thinker
) -> None:
    with story.during(thinker):
        story.talk.set_attribute("support_mode", "human")

    assert story.lines() == [ASKED, NOTE]
    assert story.endings() == ["noted"]


def test_a_reply_from_the_channels_own_app_takes_over(
    begin: Begin, thinker: Thinker
) -> None:
    story = begin(channel="whatsapp")

    with story.during(thinker):
        echo = story.talk.operator_says_from_phone("On its way, I packed it myself.")

    assert echo.sender is None
    assert story.lines() == [ASKED, "Operator: On its way, I packed it myself."]
    story.goes(INVOICE, "Uma User (note): You asked: And the invoice?")
    assert story.attributes == {"support_mode": "human"}


def test_an_echo_with_an_external_senders_name_takes_over(
    begin: Begin, quick: None
) -> None:
    story = begin(channel="whatsapp")
    story.talk.add(
        None, "On its way.", content_attributes={"external_sender_name": "Otto"}
    )

    assert story.lines() == ["Chatwoot: On its way."]
    story.goes(ASKED, NOTE)


def test_neither_machines_nor_notes_take_over(story: Story, quick: None) -> None:
    talk = story.talk

    talk.automation_says("Did you know our newsletter?")
    talk.add(None, "We reply within a day.", type=MessageType.TEMPLATE)
    talk.add(story.sim.bot, "I am another bot.")
    talk.add(  # a rule may act in the name of a user
        story.sim.operator,
        "Happy birthday!",
        content_attributes={"automation_rule_id": 2},
    )
    talk.add(story.sim.operator, "Sale!", additional_attributes={"campaign_id": 7})
    talk.operator_says("A difficult one.", private=True)

    assert story.lines() == [
        "Automation: Did you know our newsletter?",
        "Chatwoot: We reply within a day.",
        "Assistant: I am another bot.",
        "Olga Operator: Happy birthday!",
        "Olga Operator: Sale!",
        "Olga Operator (note): A difficult one.",
    ]
    story.goes(ASKED, ANSWER)
    assert story.attributes == {"support_mode": "bot"}


def test_a_message_of_a_machine_does_not_answer_the_question(
    story: Story, thinker: Thinker
) -> None:
    with story.during(thinker, delivered=True):
        story.talk.automation_says("We are busy today.")
        story.talk.add(story.sim.bot, "I am another bot.")

    assert story.lines() == [
        ASKED,
        "Automation: We are busy today.",
        "Assistant: I am another bot.",
        ANSWER,
    ]


@pytest.mark.parametrize("fault", [None, Fault.CUT_AFTER])
def test_our_own_echo_without_a_marker_does_not_take_over(
    begin: Begin, quick: None, fault: Fault | None
) -> None:
    story = begin(version="4.8.0")

    if fault is not None:
        story.sim.inject(fault)

    story.goes(ASKED, ANSWER, INVOICE, "Uma User: You asked: And the invoice?")
    assert all("flask_chatwoot" not in m.content_attributes for m in story.talk.posted)
    assert story.attributes == {"support_mode": "bot"}


def test_an_operator_with_the_apps_token_takes_over_on_an_old_server(
    begin: Begin, thinker: Thinker
) -> None:
    story = begin(version="4.8.0")

    with story.during(thinker):
        story.talk.add(story.sim.user, "Let me see.")

    assert story.lines() == [ASKED, "Uma User: Let me see."]
    assert story.attributes == {"support_mode": "human"}


@pytest.mark.slow
def test_nothing_public_is_posted_while_the_live_state_cannot_be_read(
    begin: Begin, quick: None
) -> None:
    story = begin(max_attempts=3)
    story.sim.inject(Fault.SERVER_ERROR, endpoint="conversation", times=None)

    story.goes(
        ASKED,
        "Uma User (note): **The bot could not answer.** Chatwoot failed, on every "
        "attempt. The conversation is handed off.",
    )
    assert story.endings() == ["dead server_error"]


def test_the_answer_is_posted_as_soon_as_the_live_state_can_be_read(
    story: Story, quick: None
) -> None:
    story.sim.inject(Fault.SERVER_ERROR, endpoint="conversation", times=2)
    story.goes(ASKED, ANSWER)


def test_a_takeover_holds_even_if_the_attribute_cannot_be_set(
    begin: Begin, quick: None
) -> None:
    story = begin(max_attempts=2)
    story.sim.inject(Fault.SERVER_ERROR, endpoint="custom_attributes", times=None)

    story.goes("Olga Operator: May I help you?", ASKED, NOTE)
    assert story.endings() == ["dead server_error", "noted taken"]
    assert story.attributes == {"support_mode": "bot"}


def test_a_takeover_of_a_conversation_in_human_mode_sets_no_attribute(
    begin: Begin, quick: None
) -> None:
    story = begin(mode="human")

    story.goes(ASKED, NOTE, "Olga Operator: Let me see.")
    assert story.calls("custom_attributes") == []
