"""The bot hands a conversation off to operators, and it is returned to the bot."""

from __future__ import annotations

import typing as t

import pytest
from support.stories import ASKED, QUESTION, Begin, Story

from flask_chatwoot import Chatwoot, Handoff, Reply

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


@pytest.mark.parametrize(
    ("mode", "lines", "after"),
    [
        ("bot", [HELP, ASKED, NOTE, RETURN, ASKED, ANSWER], "bot"),
        ("bot", [HELP, ASKED, NOTE, RESOLVE, ASKED, ANSWER], "bot"),
        ("bot", [HELP, RETURN, HELP, ASKED, NOTE], "human"),
        ("bot", [RESOLVE, HELP, ASKED, NOTE], "human"),
        ("human", [HELP, RESOLVE, ASKED, NOTE], "human"),
    ],
    ids=["return", "resolve", "again", "after a resolve", "the customer's choice"],
)
def test_an_operators_answer_takes_over_until_a_return_or_a_resolve(
    begin: Begin, mode: str, lines: list[str], after: str
) -> None:
    story = begin(mode=mode)
    story.goes(*lines)
    assert story.attributes == {"support_mode": after}


def test_after_an_answer_and_its_resolve_the_bot_goes_on(story: Story) -> None:
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


@pytest.mark.parametrize("version", ["4.16.2", "4.17.0"])
def test_a_hand_off_leaves_other_attributes_and_assigns_the_team(
    begin: Begin, chatwoot: Chatwoot, version: str
) -> None:
    chatwoot.reply_provider(mode="bot")(lambda text: Handoff("angry", team_id=1))
    before = {"order": 4711, "support_mode": "Bot"}
    story = begin(version=version, status="pending", custom_attributes=before)
    story.asks("I am angry!")

    assert story.endings() == ["handed_off"]
    assert story.attributes == {"order": 4711, "support_mode": "Human"}
    current = story.talk.current
    assert (current.status, current.assignee) == ("open", None)
    assert current.team == story.sim.team
