"""The bot hands a conversation off to operators, and it is returned to the bot."""

from __future__ import annotations

import typing as t

import pytest
from support.stories import ASKED, QUESTION, Begin, Story

from flask_chatwoot import Chatwoot, Handoff, Reply
from flask_chatwoot.simulator import Fault

ANSWER = f"Uma User: You asked: {QUESTION}"
NOTE = f"Uma User (note): You asked: {QUESTION}"
HELP = "Olga Operator: May I help you?"
ARRIVED = "Olga Operator: It has arrived, so I close this."
INVOICE = "Ada Lovelace: And the invoice?"
RETURN, RESOLVE = "[returned to the bot]", "[resolved]"

HANDED_OFF = [
    "Ada Lovelace: An operator, please.",
    "Uma User: One moment, a colleague takes over.",
    "Uma User (note): **The bot hands this conversation off.** Reason: asked for an "
    "operator",
    "    ",
    "    The customer wrote:",
    "    ",
    "    > An operator, please.",
    "    ",
    "    The bot answered:",
    "    ",
    "    > One moment, a colleague takes over.",
]


@pytest.fixture(autouse=True)
def provider(chatwoot: Chatwoot) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> t.Any:
        if "operator" in text:
            return Reply(
                "One moment, a colleague takes over.",
                handoff=Handoff(reason="asked for an operator"),
            )

        return f"You asked: {text}"


@pytest.fixture
def angry(chatwoot: Chatwoot) -> None:
    """The app's provider in bot mode, which assigns the team."""
    chatwoot.reply_provider(mode="bot")(lambda text: Handoff("angry", team_id=1))


@pytest.mark.parametrize("back", [RETURN, RESOLVE])
@pytest.mark.parametrize("version", ["4.2.0", "4.16.2", "4.17.0"])
def test_hand_off_and_return(begin: Begin, version: str, back: str) -> None:
    begin(version=version).goes(
        *HANDED_OFF,
        "Ada Lovelace: Anybody?",
        "Uma User (note): You asked: Anybody?",
        "Olga Operator: Here I am.",
        back,
        ASKED,
        ANSWER,
    )


def test_a_conversation_returns_to_the_bot_after_a_takeover(story: Story) -> None:
    story.goes(
        HELP, ASKED, NOTE, RETURN, INVOICE, "Uma User: You asked: And the invoice?"
    )


def test_an_answer_followed_by_a_resolve_leaves_the_next_question_to_the_bot(
    story: Story,
) -> None:
    story.talk.operator_says("It has arrived, so I close this.")
    story.resolves()

    assert story.lines() == [ARRIVED]
    story.goes(ASKED, ANSWER)


def test_an_answer_delivered_after_its_resolve_does_not_take_over(story: Story) -> None:
    """One click sends and resolves; either delivery may come first."""
    with story.sim.holding():
        story.talk.operator_says("It has arrived, so I close this.")
        story.talk.resolve()

    assert story.lines() == [ARRIVED]
    story.goes(ASKED, ANSWER)
    assert story.attributes == {"support_mode": "bot"}


def test_a_late_resolve_does_not_undo_a_later_takeover(story: Story) -> None:
    story.asks("Hello?")

    with story.sim.holding():
        story.talk.resolve()
        story.talk.customer_says(QUESTION)
        story.talk.operator_says("Let me see.")

    assert story.lines()[-1] == "Olga Operator: Let me see."
    story.goes(INVOICE, "Uma User (note): You asked: And the invoice?")
    assert story.attributes == {"support_mode": "human"}


def test_an_answer_delivered_twice_does_not_take_over_twice(story: Story) -> None:
    """A webhook and an agent bot both deliver it, and not at the same time."""
    answer = story.talk.operator_says("May I help you?")
    story.rest()
    story.returns()
    story.sim.deliver(answer)

    assert story.lines() == [HELP]
    story.goes(ASKED, ANSWER)


def test_an_answer_after_the_resolve_takes_over(story: Story) -> None:
    story.goes(RESOLVE, "Olga Operator: By the way, it has arrived.", ASKED, NOTE)
    assert story.endings() == ["taken_over", "noted taken"]


def test_a_resolve_keeps_the_customers_choice_of_human_mode(begin: Begin) -> None:
    story = begin(mode="human")

    story.goes(HELP, RESOLVE, ASKED, NOTE)
    assert story.attributes == {"support_mode": "human"}


def test_an_operator_takes_over_again_after_the_return(story: Story) -> None:
    for line in (HELP, "Olga Operator: Back again."):
        story.goes(line)
        assert story.attributes == {"support_mode": "human"}
        story.returns()

    story.goes(ASKED, ANSWER)


@pytest.mark.usefixtures("angry")
@pytest.mark.parametrize("version", ["4.16.2", "4.17.0"])
def test_a_hand_off_leaves_other_attributes_and_assigns_the_team(
    begin: Begin, version: str
) -> None:
    attributes = {"order": 4711, "vip": True}
    story = begin(
        version=version, mode="Bot", status="pending", custom_attributes=attributes
    )

    story.goes(
        "Ada Lovelace: I am angry!",
        "Uma User (note): **The bot hands this conversation off.** Reason: angry",
        "    ",
        "    The customer wrote:",
        "    ",
        "    > I am angry!",
    )
    assert story.endings() == ["handed_off"]
    assert story.attributes == {**attributes, "support_mode": "Human"}
    assert story.talk.status == "open"
    assert story.talk.current.team == story.sim.team
    assert story.talk.current.assignee is None


def test_a_hand_off_may_name_the_operator(story: Story, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(mode="bot")(lambda text: Handoff(assignee_id=2))
    story.asks("Olga, please.")

    assert story.talk.current.assignee == story.sim.operator
    assert story.talk.replies == []
    assert story.attributes == {"support_mode": "human"}


def test_true_is_a_hand_off_without_details(story: Story, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(mode="bot")(lambda text: Reply("One moment.", handoff=True))
    story.asks("Help!")

    assert story.lines()[:3] == [
        "Ada Lovelace: Help!",
        "Uma User: One moment.",
        "Uma User (note): **The bot hands this conversation off.**",
    ]
    assert story.attributes == {"support_mode": "human"}


def test_a_hand_off_in_human_mode_changes_nothing(begin: Begin) -> None:
    story = begin(mode="human", custom_attributes={"order": 4711})
    story.asks("An operator, please.")

    assert story.lines()[:2] == [
        "Ada Lovelace: An operator, please.",
        "Uma User (note): One moment, a colleague takes over.",
    ]
    assert story.talk.replies == []
    assert story.calls("custom_attributes") == []
    assert story.endings() == ["noted"]


def test_a_retry_of_a_hand_off_posts_nothing_twice(begin: Begin) -> None:
    story = begin(custom_attributes={"order": 4711})
    story.sim.inject(Fault.SERVER_ERROR, times=2, endpoint="custom_attributes")

    story.goes(*HANDED_OFF)
    assert story.attributes == {"order": 4711, "support_mode": "human"}
    assert story.endings() == ["handed_off"]


@pytest.mark.usefixtures("angry")
def test_a_hand_off_opens_the_conversation_even_if_the_attribute_is_refused(
    begin: Begin,
) -> None:
    story = begin(status="pending")
    story.sim.inject(Fault.UNPROCESSABLE, times=None, endpoint="custom_attributes")
    story.asks("I am angry!")

    assert story.endings() == ["dead refused"]
    assert story.talk.status == "open"
    assert story.talk.current.team == story.sim.team
