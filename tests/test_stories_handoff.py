"""The bot gives a conversation to people, and gets it back."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.stories import Story

from flask_chatwoot import Chatwoot, Handoff, Reply
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory

NOTE = [
    "Uma User (note): **The bot hands this conversation off.** Reason: asked for a "
    "person",
    "    ",
    "    The customer wrote:",
    "    ",
    "    > A person, please.",
    "    ",
    "    The bot answered:",
    "    ",
    "    > One moment, a colleague takes over.",
]


@pytest.fixture(autouse=True)
def provider(chatwoot: Chatwoot) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> t.Any:
        if "person" in text:
            return Reply(
                "One moment, a colleague takes over.",
                handoff=Handoff(reason="asked for a person"),
            )

        return f"You asked: {text}"


def give_back(story: Story) -> None:
    story.talk.set_attribute("support_mode", "bot")


def resolve(story: Story) -> None:
    story.talk.resolve()


@pytest.mark.parametrize("back", [give_back, resolve])
@pytest.mark.parametrize("version", ["4.2.0", "4.16.2", "4.17.0"])
def test_hand_off_and_return(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    version: str,
    back: t.Callable[[Story], None],
) -> None:
    story = Story(chatwoot_simulator(version=version), app)

    story.talk.customer_says("A person, please.")
    story.rest()
    story.talk.customer_says("Anybody?")
    story.rest()
    story.talk.operator_says("Here I am.")
    story.rest()
    back(story)
    story.rest()
    story.talk.customer_says("Where is my order?")

    assert story.told() == [
        "Ada Lovelace: A person, please.",
        "Uma User: One moment, a colleague takes over.",
        *NOTE,
        "Ada Lovelace: Anybody?",
        "Uma User (note): You asked: Anybody?",
        "Olga Operator: Here I am.",
        "Ada Lovelace: Where is my order?",
        "Uma User: You asked: Where is my order?",
    ]


def test_after_a_take_over_the_conversation_comes_back_as_well(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app)

    story.talk.operator_says("May I help you?")
    story.rest()
    story.talk.customer_says("Where is my order?")
    story.rest()
    give_back(story)
    story.rest()
    story.talk.customer_says("And the invoice?")

    assert story.told() == [
        "Olga Operator: May I help you?",
        "Ada Lovelace: Where is my order?",
        "Uma User (note): You asked: Where is my order?",
        "Ada Lovelace: And the invoice?",
        "Uma User: You asked: And the invoice?",
    ]


def test_an_answer_and_a_resolve_leave_the_next_question_to_the_bot(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app)

    story.talk.operator_says("It has arrived, so I close this.")
    resolve(story)
    story.rest()
    story.talk.customer_says("Where is my other order?")

    assert story.told() == [
        "Olga Operator: It has arrived, so I close this.",
        "Ada Lovelace: Where is my other order?",
        "Uma User: You asked: Where is my other order?",
    ]


def test_an_answer_of_which_the_resolve_is_told_first_takes_nothing(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    """One click sends and resolves; either delivery may come first."""
    story = Story(chatwoot_sim, app)

    with story.sim.holding():
        story.talk.operator_says("It has arrived, so I close this.")
        resolve(story)

    story.rest()
    story.talk.customer_says("Where is my other order?")

    assert story.told() == [
        "Olga Operator: It has arrived, so I close this.",
        "Ada Lovelace: Where is my other order?",
        "Uma User: You asked: Where is my other order?",
    ]
    assert story.attributes == {"support_mode": "bot"}


def test_a_resolve_that_is_told_late_does_not_undo_a_later_take_over(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app)

    story.talk.customer_says("Hello?")
    story.rest()

    with story.sim.holding():
        resolve(story)
        story.talk.customer_says("Where is my order?")
        story.talk.operator_says("Let me see.")

    story.rest()
    story.talk.customer_says("And the invoice?")

    assert story.told()[-3:] == [
        "Olga Operator: Let me see.",
        "Ada Lovelace: And the invoice?",
        "Uma User (note): You asked: And the invoice?",
    ]
    assert story.attributes == {"support_mode": "human"}


def test_an_answer_that_is_told_twice_does_not_take_over_twice(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    """A webhook and an agent bot tell of it both, and not at once."""
    story = Story(chatwoot_sim, app)

    answer = story.talk.operator_says("May I help you?")
    story.rest()
    give_back(story)
    story.rest()
    story.sim.deliver(answer)
    story.rest()
    story.talk.customer_says("Where is my order?")

    assert story.told() == [
        "Olga Operator: May I help you?",
        "Ada Lovelace: Where is my order?",
        "Uma User: You asked: Where is my order?",
    ]


def test_an_answer_after_the_resolve_takes_over_all_the_same(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app)

    resolve(story)
    story.rest()
    story.talk.operator_says("By the way, it has arrived.")
    story.rest()
    story.talk.customer_says("Where is my other order?")

    assert story.told() == [
        "Olga Operator: By the way, it has arrived.",
        "Ada Lovelace: Where is my other order?",
        "Uma User (note): You asked: Where is my other order?",
    ]
    assert story.endings() == ["taken_over", "noted taken"]


def test_who_chose_people_gets_people_after_a_resolve_as_well(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app, mode="human")

    story.talk.operator_says("May I help you?")
    story.rest()
    resolve(story)
    story.rest()
    story.talk.customer_says("Where is my order?")

    assert story.told() == [
        "Olga Operator: May I help you?",
        "Ada Lovelace: Where is my order?",
        "Uma User (note): You asked: Where is my order?",
    ]
    assert story.attributes == {"support_mode": "human"}


def test_a_second_person_takes_over_after_the_return(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app)

    for text in ("May I help you?", "Back again."):
        story.talk.operator_says(text)
        story.rest()
        assert story.attributes == {"support_mode": "human"}
        give_back(story)
        story.rest()

    story.talk.customer_says("Where is my order?")

    assert story.told() == [
        "Olga Operator: May I help you?",
        "Olga Operator: Back again.",
        "Ada Lovelace: Where is my order?",
        "Uma User: You asked: Where is my order?",
    ]


@pytest.mark.parametrize("version", ["4.16.2", "4.17.0"])
def test_a_hand_off_leaves_other_attributes_and_assigns_the_team(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    chatwoot: Chatwoot,
    version: str,
) -> None:
    chatwoot.reply_provider(mode="bot")(lambda text: Handoff("angry", team_id=1))
    story = Story(
        chatwoot_simulator(version=version),
        app,
        mode="Bot",
        status="pending",
        custom_attributes={"order": 4711, "vip": True},
    )

    story.talk.customer_says("I am angry!")

    assert story.told() == [
        "Ada Lovelace: I am angry!",
        "Uma User (note): **The bot hands this conversation off.** Reason: angry",
        "    ",
        "    The customer wrote:",
        "    ",
        "    > I am angry!",
    ]
    assert story.endings() == ["handed_off"]
    assert story.attributes == {"order": 4711, "vip": True, "support_mode": "Human"}
    assert story.talk.status == "open"
    assert story.talk.current.team == story.sim.team
    assert story.talk.current.assignee is None


def test_a_hand_off_may_name_the_person(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    operator = 2
    chatwoot.reply_provider(mode="bot")(lambda text: Handoff(assignee_id=operator))
    story = Story(chatwoot_sim, app)
    story.talk.customer_says("Olga, please.")
    story.rest()

    assert story.talk.current.assignee == story.sim.operator
    assert story.talk.replies == []
    assert story.attributes == {"support_mode": "human"}


def test_plain_true_hands_over_as_well(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(mode="bot")(lambda text: Reply("One moment.", handoff=True))
    story = Story(chatwoot_sim, app)
    story.talk.customer_says("Help!")

    assert story.told()[:3] == [
        "Ada Lovelace: Help!",
        "Uma User: One moment.",
        "Uma User (note): **The bot hands this conversation off.**",
    ]
    assert story.attributes == {"support_mode": "human"}


def test_in_human_mode_there_is_nothing_to_hand_over(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app, mode="human", custom_attributes={"order": 4711})
    story.talk.customer_says("A person, please.")

    told = story.told()
    assert told[:2] == [
        "Ada Lovelace: A person, please.",
        "Uma User (note): One moment, a colleague takes over.",
    ]
    assert story.talk.replies == []
    assert story.calls("custom_attributes") == []
    assert story.endings() == ["noted"]


def test_a_hand_off_that_fails_half_way_is_finished_without_saying_it_again(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app, custom_attributes={"order": 4711})
    chatwoot_sim.inject("server_error", times=2, endpoint="custom_attributes")
    story.talk.customer_says("A person, please.")

    assert story.told() == [
        "Ada Lovelace: A person, please.",
        "Uma User: One moment, a colleague takes over.",
        *NOTE,
    ]
    assert story.attributes == {"order": 4711, "support_mode": "human"}
    assert story.endings() == ["handed_off"]


def test_a_hand_off_whose_attribute_is_refused_opens_the_conversation_all_the_same(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(mode="bot")(lambda text: Handoff("angry", team_id=1))
    story = Story(chatwoot_sim, app, status="pending")
    chatwoot_sim.inject("unprocessable", times=None, endpoint="custom_attributes")

    story.talk.customer_says("I am angry!")

    assert story.endings() == ["dead refused"]
    assert story.talk.status == "open"
    assert story.talk.current.team == story.sim.team
