"""A turn fails for good, and the customer and the operators get messages about it."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.apps import recorded
from support.stories import ASKED, Begin, Thinker

from flask_chatwoot import (
    Chatwoot,
    Post,
    Reason,
    Reply,
    TurnOutcome,
    after_post,
    turn_finished,
)
from flask_chatwoot.simulator import Fault

FALLBACK = "Something went wrong, a colleague will look at it."
FAILED = (
    "Uma User (note): **The bot could not answer.** Its reply function failed, on "
    "every attempt."
)
HANDED_OFF = f"{FAILED} The conversation is handed off."
INVALID = (
    "Uma User (note): **The bot could not answer.** Its reply function returned "
    "something unusable. The conversation is handed off."
)
TWICE: t.Final = {"max_attempts": 2, "fallback_message": FALLBACK}


@pytest.fixture
def broken(chatwoot: Chatwoot) -> None:
    """The app's provider, which raises an error with text of the customer."""

    @chatwoot.reply_provider
    def reply(text: str) -> t.NoReturn:
        raise ZeroDivisionError(f"secret of {text}")


@pytest.fixture
def thinker(chatwoot: Chatwoot) -> Thinker:
    """The app's provider, which returns what is no reply."""
    return chatwoot.reply_provider(Thinker(answer=42))


@pytest.mark.usefixtures("broken")
def test_failure_with_a_fallback(begin: Begin, app: Flask) -> None:
    story = begin(**TWICE, status="pending", custom_attributes={"order": 4711})

    with recorded(turn_finished, app) as endings:
        story.goes(ASKED, HANDED_OFF, f"Uma User: {FALLBACK}")
        story.sim.wait_until(lambda: endings)

    assert [(end["outcome"], end["reason"]) for end in endings] == [
        (TurnOutcome.DEAD, Reason.PROVIDER_FAILED)
    ]
    assert story.attributes == {"order": 4711, "support_mode": "human"}
    assert story.talk.status == "open"


@pytest.mark.usefixtures("broken")
def test_failure_without_a_fallback(begin: Begin) -> None:
    story = begin(max_attempts=2)

    story.goes(ASKED, HANDED_OFF)
    assert story.endings() == ["dead provider_failed"]
    assert story.attributes == {"support_mode": "human"}


def test_answers_after_a_failure_are_notes(begin: Begin, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: f"Number {1 / text.count('n')}")
    story = begin(max_attempts=1, fallback_message=FALLBACK)

    story.asks("How much?")
    story.goes("Ada Lovelace: One, then?", "Uma User (note): Number 0.5")
    assert story.talk.replies == [FALLBACK]


def test_what_is_no_reply_fails_at_once(begin: Begin, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: 42)
    story = begin(fallback_message=FALLBACK)

    story.goes(
        ASKED,
        INVALID,
        f"Uma User: {FALLBACK}",
    )
    assert story.endings() == ["dead provider_invalid"]


@pytest.mark.parametrize("mode", ["bot", "human"])
def test_what_is_missing_of_half_a_reply_becomes_a_note(
    begin: Begin, app: Flask, mode: str
) -> None:
    invoice = ("invoice.pdf", b"%PDF", "application/pdf")
    rest = Reply("Two.", choices=("Yes", "No"), attachments=[invoice])
    story = begin(answer=["One.", rest], mode=mode)

    def refuse_the_next(sender: Flask, post: Post, **values: t.Any) -> None:
        if post.content == "One.":
            story.sim.inject(Fault.UNPROCESSABLE)

    with after_post.connected_to(refuse_the_next, sender=app):
        story.asks()

    missing = story.talk.posted[-1]
    assert missing.content == (
        "**As far as is known, this part of the answer was not posted:**\n\n"
        "Two.\n- Yes\n- No"
    )
    assert missing.private
    assert [file["file_size"] for file in missing.attachments] == [4]
    assert story.talk.replies == (["One."] if mode == "bot" else [])
    assert story.endings() == ["dead refused"]


@pytest.mark.parametrize(
    ("times", "ending", "replies"),
    [(1, "replied", ["Yes."]), (2, "dead unauthorized", [])],
)
def test_a_token_is_refused_when_chatwoot_refuses_it_twice(
    begin: Begin, times: int, ending: str, replies: list[str]
) -> None:
    """Once it may just have been replaced."""
    story = begin(answer="Yes.")
    story.sim.inject(Fault.UNAUTHORIZED, times=times)
    story.asks()

    assert story.endings() == [ending]
    assert story.talk.replies == replies


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(("note_on_failure", "notes"), [(False, []), (True, [FAILED])])
def test_a_failure_in_human_mode_is_noted_if_configured(
    begin: Begin, note_on_failure: bool, notes: list[str]
) -> None:
    story = begin(**TWICE, note_on_failure=note_on_failure, mode="human")

    story.goes(ASKED, *notes)
    assert story.endings() == ["dead provider_failed"]
    assert story.calls("custom_attributes") == []


def test_no_fallback_is_posted_after_an_operators_answer(
    begin: Begin, thinker: Thinker
) -> None:
    story = begin(max_attempts=1, fallback_message=FALLBACK)

    with story.during(thinker, delivered=True):
        story.talk.operator_says("It left this morning.")

    assert story.lines() == [ASKED, "Olga Operator: It left this morning."]
    assert story.endings()[0] == "dead provider_invalid"


def test_the_note_does_not_mention_a_fallback_that_was_withheld(
    begin: Begin, thinker: Thinker
) -> None:
    story = begin(max_attempts=1, fallback_message=FALLBACK)

    with story.during(thinker):
        story.talk.set_attribute("support_mode", "human")

    assert story.lines() == [ASKED, INVALID]


@pytest.mark.usefixtures("broken")
def test_a_fallback_whose_request_had_no_answer_is_posted_once(begin: Begin) -> None:
    story = begin(**TWICE)
    story.sim.inject(Fault.CUT_AFTER)
    story.asks()

    assert story.talk.replies == [FALLBACK]
    assert len(story.talk.notes) == 1
    assert story.endings() == ["dead provider_failed"]


def test_the_note_is_posted_even_while_no_fallback_may_be(begin: Begin) -> None:
    """Without a provider the turn fails; without the live state nothing is public."""
    story = begin(**TWICE)
    story.sim.inject(Fault.SERVER_ERROR, times=None, endpoint="conversation")
    story.asks()

    assert story.talk.replies == []
    assert len(story.talk.notes) == 1
