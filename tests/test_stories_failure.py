"""A turn fails for good, and nobody is left in silence."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.apps import recorded
from support.stories import Story, Thinker

from flask_chatwoot import Chatwoot, Reason, TurnOutcome, turn_finished
from flask_chatwoot.testing import SimulatorFactory

QUESTION = "Where is my order?"
ASKED = f"Ada Lovelace: {QUESTION}"
FALLBACK = "Something went wrong, a colleague will look at it."
FAILED = "**The bot could not answer.** Its reply function failed, on every attempt."


@pytest.fixture
def broken(chatwoot: Chatwoot) -> None:
    """The app's provider, which raises what nobody may read."""

    @chatwoot.reply_provider
    def reply(text: str) -> t.NoReturn:
        raise ZeroDivisionError(f"secret of {text}")


@pytest.mark.usefixtures("broken")
def test_failure_with_a_fallback(
    chatwoot_simulator: SimulatorFactory, app: Flask
) -> None:
    sim = chatwoot_simulator(max_attempts=2, fallback_message=FALLBACK)
    story = Story(sim, app, status="pending", custom_attributes={"order": 4711})

    with recorded(turn_finished, app) as endings:
        story.talk.customer_says(QUESTION)
        told = story.told()
        story.sim.wait_until(lambda: endings)

    assert told == [
        ASKED,
        f"Uma User (note): {FAILED} The conversation is handed off.",
        f"Uma User: {FALLBACK}",
    ]
    assert [(end["outcome"], end["reason"]) for end in endings] == [
        (TurnOutcome.DEAD, Reason.PROVIDER_FAILED)
    ]
    assert story.attributes == {"order": 4711, "support_mode": "human"}
    assert story.talk.status == "open"


@pytest.mark.usefixtures("broken")
def test_failure_without_a_fallback(
    chatwoot_simulator: SimulatorFactory, app: Flask
) -> None:
    story = Story(chatwoot_simulator(max_attempts=2), app)

    story.talk.customer_says(QUESTION)

    assert story.told() == [
        ASKED,
        f"Uma User (note): {FAILED} The conversation is handed off.",
    ]
    assert story.endings() == ["dead provider_failed"]
    assert story.attributes == {"support_mode": "human"}


def test_after_a_failure_the_bot_goes_on_taking_notes(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> str:
        return f"Number {1 / text.count('n')}"

    sim = chatwoot_simulator(max_attempts=1, fallback_message=FALLBACK)
    story = Story(sim, app)

    story.talk.customer_says("How much?")
    story.rest()
    story.talk.customer_says("One, then?")

    assert story.talk.replies == [FALLBACK]
    assert story.told()[-2:] == [
        "Ada Lovelace: One, then?",
        "Uma User (note): Number 0.5",
    ]


def test_what_is_no_reply_fails_at_once(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: 42)
    story = Story(chatwoot_simulator(fallback_message=FALLBACK), app)

    story.talk.customer_says(QUESTION)

    assert story.told() == [
        ASKED,
        "Uma User (note): **The bot could not answer.** Its reply function returned "
        "something unusable. The conversation is handed off.",
        f"Uma User: {FALLBACK}",
    ]
    assert story.endings() == ["dead provider_invalid"]


@pytest.mark.usefixtures("broken")
def test_in_human_mode_nobody_is_told(
    chatwoot_simulator: SimulatorFactory, app: Flask
) -> None:
    sim = chatwoot_simulator(max_attempts=2, fallback_message=FALLBACK)
    story = Story(sim, app, mode="human")

    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED]
    assert story.endings() == ["dead provider_failed"]


@pytest.mark.usefixtures("broken")
def test_in_human_mode_operators_are_told_if_they_want(
    chatwoot_simulator: SimulatorFactory, app: Flask
) -> None:
    sim = chatwoot_simulator(
        max_attempts=2, fallback_message=FALLBACK, note_on_failure=True
    )
    story = Story(sim, app, mode="human")

    story.talk.customer_says(QUESTION)

    assert story.told() == [ASKED, f"Uma User (note): {FAILED}"]
    assert story.calls("custom_attributes") == []


def test_a_person_who_answered_meanwhile_makes_the_fallback_needless(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    thinker = chatwoot.reply_provider(Thinker(answer=42))
    sim = chatwoot_simulator(max_attempts=1, fallback_message=FALLBACK)
    story = Story(sim, app)

    story.talk.customer_says(QUESTION)
    thinker.wait_until_asked()
    story.talk.operator_says("It left our house this morning.")
    story.sim.drain()
    thinker.answer()

    assert story.told() == [
        ASKED,
        "Olga Operator: It left our house this morning.",
    ]
    assert story.endings()[0] == "dead provider_invalid"


def test_a_fallback_that_nobody_wants_any_more_is_not_claimed_to_be_said(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    thinker = chatwoot.reply_provider(Thinker(answer=42))
    sim = chatwoot_simulator(max_attempts=1, fallback_message=FALLBACK)
    story = Story(sim, app)

    story.talk.customer_says(QUESTION)
    thinker.wait_until_asked()
    story.talk.set_attribute("support_mode", "human")
    thinker.answer()
    story.rest()

    assert story.talk.replies == []
    assert "The customer was told" not in "".join(story.talk.notes)


@pytest.mark.usefixtures("broken")
def test_the_fallback_is_said_once_even_if_its_request_had_no_answer(
    chatwoot_simulator: SimulatorFactory, app: Flask
) -> None:
    sim = chatwoot_simulator(max_attempts=2, fallback_message=FALLBACK)
    story = Story(sim, app)
    sim.inject("cut_after")

    story.talk.customer_says(QUESTION)
    story.rest()

    assert story.talk.replies == [FALLBACK]
    assert len(story.talk.notes) == 1
    assert story.endings() == ["dead provider_failed"]


def test_operators_are_told_even_while_the_customer_cannot_be(
    chatwoot_simulator: SimulatorFactory, app: Flask
) -> None:
    """Without a provider the turn fails; without a live look nothing is public."""
    sim = chatwoot_simulator(max_attempts=2, fallback_message=FALLBACK)
    story = Story(sim, app)
    sim.inject("server_error", times=None, endpoint="conversation")

    story.talk.customer_says(QUESTION)
    story.rest()

    assert story.talk.replies == []
    assert len(story.talk.notes) == 1
