"""An operator answers in public, and the conversation is the operators'."""

from __future__ import annotations

import pytest
from support.stories import ASKED, QUESTION, Begin, Story, Thinker

from flask_chatwoot.simulator import Fault

ANSWER = f"Uma User: You asked: {QUESTION}"
NOTE = f"Uma User (note): You asked: {QUESTION}"
LEFT = "Olga Operator: It left this morning."
INVOICE = "Ada Lovelace: And the invoice?"


def quick(text: str) -> str:
    return f"You asked: {text}"


def test_an_operator_is_first_to_answer(story: Story, thinker: Thinker) -> None:
    with story.during(thinker, delivered=True):
        story.talk.operator_says("It left this morning.")

    assert story.lines() == [ASKED, LEFT]
    story.goes(INVOICE, "Uma User (note): You asked: And the invoice?")
    assert story.endings() == ["declined answered", "taken_over", "noted taken"]
    assert story.attributes == {"support_mode": "human"}


def test_an_answer_counts_before_its_webhook(story: Story, thinker: Thinker) -> None:
    with story.during(thinker), story.sim.holding():
        story.talk.operator_says("It left this morning.")
        story.talk.operator_says("I am on it.", private=True)
        thinker.answer()
        story.sim.wait_until(lambda: story.calls("list_messages"))

    assert story.lines() == [ASKED, LEFT, "Olga Operator (note): I am on it."]
    assert story.endings()[0] == "declined answered"


def test_a_reply_in_the_channels_app_takes_over(begin: Begin, thinker: Thinker) -> None:
    story = begin(channel="whatsapp")

    with story.during(thinker):
        echo = story.talk.operator_says_from_phone("On its way, I packed it myself.")

    assert echo.sender is None
    assert story.lines() == [ASKED, "Operator: On its way, I packed it myself."]
    story.goes(INVOICE, "Uma User (note): You asked: And the invoice?")
    assert story.attributes == {"support_mode": "human"}


def test_an_automations_message_is_no_answer(story: Story, thinker: Thinker) -> None:
    with story.during(thinker, delivered=True):
        story.talk.automation_says("We are busy today.")

    assert story.lines() == [ASKED, "Automation: We are busy today.", ANSWER]


@pytest.mark.parametrize("fault", [None, Fault.CUT_AFTER])
def test_our_own_echo_without_a_marker_does_not_take_over(
    begin: Begin, fault: Fault | None
) -> None:
    story = begin(version="4.8.0", answer=quick)

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
    begin: Begin,
) -> None:
    story = begin(max_attempts=3, answer=quick)
    story.sim.inject(Fault.SERVER_ERROR, endpoint="conversation", times=None)

    story.goes(
        ASKED,
        "Uma User (note): **The bot could not answer.** Chatwoot failed, on every "
        "attempt. The conversation is handed off.",
    )
    assert story.endings() == ["dead server_error"]


def test_a_takeover_needs_no_attribute_to_hold(begin: Begin) -> None:
    story = begin(max_attempts=2, answer=quick)
    story.sim.inject(Fault.SERVER_ERROR, endpoint="custom_attributes", times=None)

    story.goes("Olga Operator: May I help you?", ASKED, NOTE)
    assert story.endings() == ["dead server_error", "noted taken"]
    assert story.attributes == {"support_mode": "bot"}


def test_a_takeover_holds_after_a_return_that_was_not_delivered(begin: Begin) -> None:
    story = begin(answer=quick)
    story.operator("May I help you?")

    with story.sim.losing():
        story.talk.set_attribute("support_mode", "bot")

    story.operator("It is me again.")
    story.goes(ASKED, NOTE)
    assert story.attributes == {"support_mode": "human"}
