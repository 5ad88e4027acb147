"""A turn fails for good, and the customer and the operators get messages about it."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.apps import recorded
from support.stories import ASKED, Begin

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
HANDED_OFF = (
    "Uma User (note): **The bot could not answer.** Its reply function failed, on "
    "every attempt. The conversation is handed off."
)


def fail(text: str) -> str:
    raise ZeroDivisionError(f"secret of {text}")


@pytest.mark.parametrize("fallback", [FALLBACK, None])
def test_a_failure_is_noted_and_handed_off_with_a_fallback_if_there_is_one(
    begin: Begin, app: Flask, fallback: str | None
) -> None:
    fields = {"status": "pending", "custom_attributes": {"order": 4711}}
    story = begin(answer=fail, max_attempts=2, fallback_message=fallback, **fields)

    with recorded(turn_finished, app) as endings:
        story.goes(ASKED, HANDED_OFF, *([f"Uma User: {fallback}"] if fallback else []))
        story.sim.wait_until(lambda: endings)

    assert [(end["outcome"], end["reason"]) for end in endings] == [
        (TurnOutcome.DEAD, Reason.PROVIDER_FAILED)
    ]
    assert story.attributes == {"order": 4711, "support_mode": "human"}
    assert story.talk.status == "open"


def test_operators_read_of_a_failure_in_their_language(begin: Begin) -> None:
    story = begin(answer=fail, max_attempts=1, locale="de")

    story.goes(
        ASKED,
        "Uma User (note): **Der Bot konnte nicht antworten.** Seine Antwortfunktion "
        "ist bei jedem Versuch fehlgeschlagen. Die Konversation ist übergeben.",
    )


def test_answers_after_a_failure_are_notes(begin: Begin, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: f"Number {1 / text.count('n')}")
    story = begin(max_attempts=1, fallback_message=FALLBACK)

    story.asks("How much?")
    story.goes("Ada Lovelace: One, then?", "Uma User (note): Number 0.5")
    assert story.talk.replies == [FALLBACK]


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


def test_a_fallback_whose_request_had_no_answer_is_posted_once(begin: Begin) -> None:
    story = begin(answer=fail, max_attempts=2, fallback_message=FALLBACK)
    story.sim.inject(Fault.CUT_AFTER)
    story.asks()

    assert story.talk.replies == [FALLBACK]
    assert len(story.talk.notes) == 1
    assert story.endings() == ["dead provider_failed"]


def test_the_note_is_posted_even_while_no_fallback_may_be(begin: Begin) -> None:
    """Without a provider the turn fails; without the live state nothing is public."""
    story = begin(max_attempts=2, fallback_message=FALLBACK)
    story.sim.inject(Fault.SERVER_ERROR, times=None, endpoint="conversation")
    story.asks()

    assert story.talk.replies == []
    assert len(story.talk.notes) == 1
