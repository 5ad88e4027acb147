"""Another bot, such as Captain, answers in the same Chatwoot inbox."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from support.stories import ASKED, QUESTION, REPLY, Begin, Story, Thinker

from flask_chatwoot import Chatwoot, Handoff, Reply
from flask_chatwoot.simulator.payloads import Agent

Answers = t.Callable[[Story], None]


@pytest.fixture
def answers() -> Answers:
    """Lets the other bot write."""

    def write(story: Story) -> None:
        captain: Agent = dataclasses.replace(story.sim.bot, id=9, name="Captain")
        story.talk.add(captain, "It left this morning.")

    return write


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (REPLY, "declined other_bot"),
        (Reply(REPLY, handoff=Handoff()), "declined other_bot"),
        (None, "declined no_answer"),
        (RuntimeError(), "dead provider_failed"),
    ],
    ids=["reply", "hand-off", "silence", "failure"],
)
def test_a_pending_conversation_that_it_answers_is_left_to_it(
    begin: Begin,
    chatwoot: Chatwoot,
    answers: Answers,
    answer: t.Any,
    ending: str,
) -> None:
    asked: list[str] = []

    @chatwoot.reply_provider
    def reply(text: str) -> t.Any:
        if not asked:
            answers(story)
            story.sim.drain()

        asked.append(text)

        if isinstance(answer, Exception):
            raise answer

        return answer

    story = begin(status="pending", max_attempts=1)
    story.asks()

    assert story.endings() == [ending]
    assert story.lines() == [ASKED, "Captain: It left this morning."]
    assert story.talk.status == "pending"
    assert story.attributes == {"support_mode": "bot"}


def test_what_it_answered_before_the_turn_is_not_given_to_the_provider(
    begin: Begin, thinker: Thinker, answers: Answers
) -> None:
    story = begin()

    with story.during(thinker, "Hello", delivered=True):  # the next turn waits
        story.talk.customer_says(QUESTION)
        answers(story)

    assert thinker.asked == ["Hello"]
    assert story.endings()[-1] == "declined other_bot"
    story.asks("And the invoice?")
    assert story.talk.replies[-1] == "You asked: And the invoice?"


@pytest.mark.usefixtures("asked")
def test_operators_get_their_note_beside_it(begin: Begin, answers: Answers) -> None:
    story = begin(mode="human")

    with story.sim.holding():
        story.talk.customer_says(QUESTION)
        answers(story)

    story.rest()
    assert story.talk.notes == [REPLY]
