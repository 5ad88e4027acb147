"""An operator answers in public, and the conversation is the operators'."""

from __future__ import annotations

import typing as t

import pytest
from support.stories import ASKED, QUESTION, Begin, Story, Thinker

from flask_chatwoot import Chatwoot
from flask_chatwoot.simulator import Fault, Talk

ANSWER = f"Uma User: You asked: {QUESTION}"
NOTE = f"Uma User (note): You asked: {QUESTION}"
LEFT = "Olga Operator: It left this morning."
INVOICE = "Ada Lovelace: And the invoice?"


@pytest.fixture
def quick(chatwoot: Chatwoot) -> None:
    """The app's provider, which answers at once."""
    chatwoot.reply_provider(lambda text: f"You asked: {text}")


def test_an_operator_is_first_to_answer(story: Story, thinker: Thinker) -> None:
    with story.during(thinker, delivered=True):
        story.talk.operator_says("It left this morning.")

    assert story.lines() == [ASKED, LEFT]
    story.goes(INVOICE, "Uma User (note): You asked: And the invoice?")
    assert story.endings() == ["declined answered", "taken_over", "noted taken"]
    assert story.attributes == {"support_mode": "human"}


@pytest.mark.parametrize(
    ("later", "until"),
    [
        (lambda talk: None, "conversation"),
        (lambda talk: talk.operator_says("I am on it.", private=True), "list_messages"),
        (lambda talk: talk.customer_says("Thank you!"), "conversation"),
    ],
    ids=["nothing later", "a note later", "a customer's message later"],
)
def test_the_live_state_shows_an_answer_whose_webhook_is_late(
    story: Story, thinker: Thinker, later: t.Callable[[Talk], t.Any], until: str
) -> None:
    with story.during(thinker), story.sim.holding():
        story.talk.operator_says("It left this morning.")
        later(story.talk)
        thinker.answer()
        story.sim.wait_until(lambda: story.calls(until))

    assert story.lines()[:2] == [ASKED, LEFT]
    assert f"You asked: {QUESTION}" not in story.talk.replies
    assert story.endings()[0] == "declined answered"


def test_a_reply_from_the_channels_app_takes_over(
    begin: Begin, thinker: Thinker
) -> None:
    story = begin(channel="whatsapp")

    with story.during(thinker):
        echo = story.talk.operator_says_from_phone("On its way, I packed it myself.")

    assert echo.sender is None
    assert story.lines() == [ASKED, "Operator: On its way, I packed it myself."]
    story.goes(INVOICE, "Uma User (note): You asked: And the invoice?")
    assert story.attributes == {"support_mode": "human"}


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


def test_a_takeover_needs_no_attribute_to_hold(begin: Begin, quick: None) -> None:
    story = begin(max_attempts=2)
    story.sim.inject(Fault.SERVER_ERROR, endpoint="custom_attributes", times=None)

    story.goes("Olga Operator: May I help you?", ASKED, NOTE)
    assert story.endings() == ["dead server_error", "noted taken"]
    assert story.attributes == {"support_mode": "bot"}
