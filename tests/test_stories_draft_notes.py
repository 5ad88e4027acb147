"""``CHATWOOT_DRAFT_NOTES=false``: operators press a button, and get no notes."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.apps import recorded
from support.commands import outcome
from support.stories import ASKED, QUESTION, Begin, Thinker

from flask_chatwoot import Audience, Chatwoot, Decision, Handoff, Reply, turn_due
from flask_chatwoot.payloads.channels import LIMIT
from flask_chatwoot.simulator import Fault

ANSWER: t.Final = f"Uma User: You asked: {QUESTION}"
TOOK_OVER: t.Final = "Olga Operator: It left this morning."
SILENT: t.Final = "declined no_draft_notes"
OPERATORS: t.Final = Decision(Audience.OPERATORS)
CUSTOMER: t.Final = Decision(Audience.CUSTOMER)

Fields = dict[str, t.Any]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"mode": "human"}, id="human mode"),
        pytest.param({"can_reply": False}, id="closed messaging window"),
    ],
)
def test_where_only_operators_would_see_it_the_provider_is_not_asked(
    begin: Begin, asked: list[str], fields: Fields
) -> None:
    story = begin(draft_notes=False, channel="Channel::Whatsapp", **fields)

    story.goes(ASKED)
    assert story.endings() == [SILENT]
    assert asked == []


@pytest.mark.parametrize("kind", ["bot", "account"])
def test_operators_get_a_pending_conversation_without_a_note(
    begin: Begin, asked: list[str], kind: str
) -> None:
    story = begin(draft_notes=False, kind=kind, status="pending", mode="human")

    story.goes(ASKED)
    assert (story.talk.status, story.endings()) == ("open", [SILENT])
    assert asked == []


@pytest.mark.parametrize(
    ("times", "ending", "status"),
    [(2, SILENT, "open"), (None, "dead server_error", "pending")],
)
def test_a_pending_conversation_that_is_not_opened_is_tried_again(
    begin: Begin, asked: list[str], times: int | None, ending: str, status: str
) -> None:
    story = begin(
        draft_notes=False,
        max_attempts=3,
        retry_pause=0.05,
        status="pending",
        mode="human",
    )
    story.sim.inject(Fault.SERVER_ERROR, endpoint="toggle_status", times=times)

    story.goes(ASKED)
    assert (story.endings(), story.talk.status) == ([ending], status)
    assert asked == []


def test_in_bot_mode_nothing_changes(begin: Begin, thinker: Thinker) -> None:
    story = begin(draft_notes=False, status="pending")

    with story.during(thinker):
        pass

    assert story.lines() == [ASKED, ANSWER]
    assert story.talk.status == "pending"


@pytest.mark.parametrize("answer", ["It is under way.", ["One.", "Two."]])
def test_after_a_takeover_during_the_turn_its_answer_is_no_note(
    begin: Begin, chatwoot: Chatwoot, answer: t.Any
) -> None:
    thinker = chatwoot.reply_provider(Thinker(answer))
    story = begin(draft_notes=False)

    with story.during(thinker, delivered=True):
        story.talk.set_attribute("support_mode", "human")

    assert story.lines() == [ASKED]
    assert story.endings()[-1] == SILENT


def test_after_a_takeover_in_the_middle_of_an_answer_its_rest_is_no_note(
    begin: Begin, chatwoot: Chatwoot
) -> None:
    decisions = [OPERATORS, OPERATORS, CUSTOMER, CUSTOMER]
    chatwoot.policy(lambda context: decisions.pop())
    story = begin(draft_notes=False, answer=["1", "2", Reply("3", private=True)])

    story.goes(ASKED, "Uma User: 1")
    assert story.endings() == ["replied"]


def test_what_is_left_over_of_a_withheld_answer_is_no_note(
    begin: Begin, chatwoot: Chatwoot
) -> None:
    # The second decision is by a look; a note alone is decided about without one.
    chatwoot.policy(lambda context: OPERATORS if context.live else CUSTOMER)
    story = begin(
        draft_notes=False, max_parts=1, answer="so " * 200, channel="Channel::Sms"
    )

    story.goes(ASKED)
    assert story.endings() == [SILENT]


def test_a_pending_conversation_whose_answer_is_withheld_is_opened(
    begin: Begin, thinker: Thinker
) -> None:
    story = begin(draft_notes=False, retry_pause=0.05, status="pending")
    story.sim.inject(Fault.SERVER_ERROR, endpoint="toggle_status")

    with story.during(thinker, delivered=True):
        story.talk.set_attribute("support_mode", "human")

    assert story.lines() == [ASKED]
    assert (story.talk.status, story.endings()) == ("open", [SILENT])
    assert thinker.asked == [QUESTION]


@pytest.mark.parametrize("reason", ["asked for a person", "so " * (LIMIT // 2)])
def test_the_note_of_a_hand_off_is_posted_whole(
    begin: Begin, chatwoot: Chatwoot, reason: str
) -> None:
    answer = Reply("One moment.", handoff=Handoff(reason))
    thinker = chatwoot.reply_provider(Thinker(answer))
    story = begin(draft_notes=False)

    with story.during(thinker, delivered=True):
        story.talk.set_attribute("support_mode", "human")

    assert story.talk.replies == []
    assert story.talk.notes[0].startswith("**The bot hands this conversation off.**")
    assert story.talk.notes[-1].endswith("> One moment.")
    assert story.endings() == ["handed_off"]


def test_notes_about_failures_and_silence_are_posted(
    begin: Begin, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def fail(text: str) -> str | None:
        if text == QUESTION:
            raise OSError

        return None

    story = begin(draft_notes=False, max_attempts=1, status="pending")
    story.asks()
    assert story.endings() == ["dead provider_failed"]
    assert story.talk.notes[0].startswith("**The bot could not answer.**")

    story.resolves()
    story.talk.change_status("pending")
    story.returns()
    story.asks("And the invoice?")
    assert story.endings()[-1] == "handed_off no_answer"
    assert len(story.talk.notes) == 2


def test_a_host_with_its_own_engine_is_told_of_the_turn(
    begin: Begin, app: Flask, asked: list[str]
) -> None:
    story = begin(draft_notes=False, mode="human")

    with recorded(turn_due, app) as due:
        story.asks()

    assert [each["conversation_id"] for each in due] == [story.talk.id]


def test_why_and_outcomes_name_the_reason(begin: Begin, app: Flask) -> None:
    story = begin(draft_notes=False, answer="unused", mode="human")
    story.asks()

    _, told = outcome(app, "why", str(story.talk.id))
    assert "because: no_draft_notes" in told
    assert "CHATWOOT_DRAFT_NOTES is false" in outcome(app, "outcomes")[1]
