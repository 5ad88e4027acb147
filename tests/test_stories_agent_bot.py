"""The app is an agent bot: a token of its own, and pending conversations."""

from __future__ import annotations

import typing as t

import pytest
from support.stories import ASKED, QUESTION, Begin, Story, Thinker

from flask_chatwoot import Chatwoot, Handoff, PolicySettings, Reply

VERSIONS: t.Final = ["4.2.0", "4.14.1", "4.14.2", "4.16.2"]
"""A bot may read conversations from 4.14.2 on, and own them from 4.16.2 on."""

ANSWER = f"Assistant: You asked: {QUESTION}"
NOTE = f"Assistant (note): You asked: {QUESTION}"
HELP = "Olga Operator: May I help you?"
LEFT = "Olga Operator: It left this morning."
OPERATOR = "An operator, please."
RETURN, RESOLVE = "[returned to the bot]", "[resolved]"


@pytest.fixture(params=VERSIONS)
def bot(request: pytest.FixtureRequest, begin: Begin) -> Begin:
    """Begins conversations in which the app is an agent bot."""
    return lambda **options: begin(version=request.param, kind="bot", **options)


@pytest.fixture
def story(bot: Begin) -> Story:
    return bot()


@pytest.fixture(autouse=True)
def provider(chatwoot: Chatwoot) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> t.Any:
        if "operator" in text:
            return Reply("One moment.", handoff=Handoff("asked for an operator"))

        return f"You asked: {text}"


@pytest.fixture
def thinker(chatwoot: Chatwoot) -> Thinker:
    return chatwoot.reply_provider(mode="bot")(Thinker())


def test_a_pending_conversation_stays_with_the_bot(story: Story) -> None:
    story.goes(ASKED, ANSWER)
    assert story.talk.status == "pending"
    assert {call.token for call in story.sim.calls} == {"bot"}


def test_a_hand_off_opens_the_conversation(bot: Begin) -> None:
    story = bot(custom_attributes={"order": 4711})

    story.asks(OPERATOR)
    assert (story.talk.status, story.talk.replies) == ("open", ["One moment."])
    assert story.talk.current.assignee is None
    assert story.attributes == {"order": 4711, "support_mode": "human"}

    story.goes(ASKED, NOTE)


@pytest.mark.parametrize("back", [["Olga Operator: Here I am.", RETURN], [RESOLVE]])
def test_an_operator_returns_or_resolves_the_conversation(
    story: Story, back: list[str]
) -> None:
    story.asks(OPERATOR)
    story.goes(*back, ASKED, ANSWER)


@pytest.mark.parametrize("mode", ["bot", "human"])
def test_an_operator_returns_a_conversation_that_an_answer_took_over(
    bot: Begin, mode: str
) -> None:
    """Bots before 4.13 see the return only with the next message."""
    bot(mode=mode).goes(HELP, RETURN, ASKED, ANSWER)


@pytest.mark.parametrize("before", [(), (HELP, RETURN)], ids=["", "again"])
def test_an_operator_takes_over_before_the_provider_answers(
    story: Story, thinker: Thinker, before: tuple[str, ...]
) -> None:
    story.goes(*before)

    with story.during(thinker, delivered=True):
        story.talk.operator_takes()
        story.talk.operator_says("It left this morning.")

    assert story.lines() == [*before[:1], ASKED, LEFT]
    story.goes(
        "Ada Lovelace: And the invoice?",
        "Assistant (note): You asked: And the invoice?",
    )
    assert story.attributes == {"support_mode": "human"}


def test_in_human_mode_the_conversation_is_opened_for_operators(bot: Begin) -> None:
    story = bot(mode="human")
    assert story.talk.status == "pending"

    story.goes(ASKED, NOTE)
    assert story.talk.status == "open"


def test_the_app_does_not_yield_to_its_own_agent_bot(begin: Begin) -> None:
    story = begin(kind="bot", policy=PolicySettings(yield_to_assignee=True))
    assert story.talk.current.assignee == story.sim.bot

    story.goes(ASKED, ANSWER)


def test_a_webhook_beside_the_agent_bot_doubles_nothing(story: Story) -> None:
    """With both, each message is delivered twice, under two ids."""
    story.goes(ASKED, ANSWER)
    story.sim.connect(
        story.sim.deliveries[0].url,
        events=["message_created", "message_updated", "conversation_status_changed"],
    )

    story.goes(
        "Ada Lovelace: And my refund?",
        "Assistant: You asked: And my refund?",
        "Olga Operator: Let me see.",
        "Ada Lovelace: Thank you.",
        "Assistant (note): You asked: Thank you.",
    )
    thanks = [m.id for m in story.talk.messages if m.content == "Thank you."]
    assert sorted(
        each.answer["status"]
        for each in story.sim.deliveries
        if each.event == "message_created" and [each.message_id] == thanks
    ) == ["accepted", "duplicate"]
