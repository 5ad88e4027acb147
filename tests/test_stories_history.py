"""A provider that knows what was said before."""

from __future__ import annotations

import logging
import typing as t

import pytest
from flask import Flask
from support.stories import Story

from flask_chatwoot import Chatwoot, Reply, Turn
from flask_chatwoot.simulator import Fault
from flask_chatwoot.simulator.payloads import MessageType
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory

Entries = list[dict[str, str]]


@pytest.fixture
def seen(chatwoot: Chatwoot) -> list[Entries]:
    """The history in each turn."""
    seen: list[Entries] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        seen.append(turn.history())
        return f"Re: {text}"

    return seen


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def hold(story: Story) -> None:
    """Three turns, with all that is no part of a history in between."""
    story.talk.add(None, "We reply within a day.", type=MessageType.TEMPLATE)
    story.talk.customer_says("One")
    story.rest()
    story.talk.operator_says("A difficult one.", private=True)
    story.talk.assign(story.sim.operator)
    story.talk.customer_says("Two")
    story.rest()
    story.talk.automation_says("We are busy.")
    story.sim.drain()
    story.talk.customer_says("Three")
    story.rest()


THIRD: t.Final = [
    user("One"),
    assistant("Re: One"),
    user("Two"),
    assistant("Re: Two"),
    assistant("We are busy."),
]


def test_in_turn_three_a_users_token_reads_what_was_said(
    chatwoot_sim: ChatwootSim, app: Flask, seen: list[Entries]
) -> None:
    story = Story(chatwoot_sim, app)
    hold(story)

    assert seen == [[], THIRD[:2], THIRD]
    assert story.calls("list_messages")


@pytest.mark.parametrize("version", ["4.12.0", "4.16.2"])
def test_with_a_bots_token_alone_the_webhook_has_told(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    seen: list[Entries],
    version: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="flask_chatwoot")
    story = Story(chatwoot_simulator(version=version, kind="bot"), app)
    hold(story)

    assert seen == [[], THIRD[:2], THIRD]
    hints = [m for m in caplog.messages if "CHATWOOT_USER_ACCESS_TOKEN" in m]
    assert len(hints) == 1
    assert {call.token for call in story.sim.calls} == {"bot"}


def test_a_second_token_reads_for_the_bot(
    chatwoot_simulator: SimulatorFactory,
    chatwoot: Chatwoot,
    make_app: t.Any,
    seen: list[Entries],
) -> None:
    app = make_app(chatwoot, user_access_token="token-of-a-user")
    story = Story(chatwoot_simulator(kind="bot"), app)
    hold(story)

    assert seen == [[], THIRD[:2], THIRD]
    tokens = {(call.endpoint, call.token) for call in story.sim.calls}
    assert ("list_messages", "user") in tokens
    assert ("create_message", "bot") in tokens
    assert ("create_message", "user") not in tokens


def test_a_conversation_begins_anew_when_it_was_resolved(
    chatwoot_sim: ChatwootSim, app: Flask, seen: list[Entries]
) -> None:
    story = Story(chatwoot_sim, app)

    story.talk.customer_says("One")
    story.rest()
    story.talk.resolve()
    story.rest()
    story.talk.customer_says("Two")
    story.rest()
    story.talk.customer_says("Three")
    story.rest()

    assert seen == [[], [], [user("Two"), assistant("Re: Two")]]


def test_long_histories_are_read_page_by_page_and_cut(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    seen: list[Entries] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> None:
        seen.extend([turn.history(limit=50), turn.history(3), turn.history(9, 9)])

    story = Story(chatwoot_sim, app)
    said = [f"{number:04}" for number in range(70)]

    for text in said:  # seventy of them, and a note after each
        story.talk.add(story.sim.bot, text)
        story.talk.operator_says("Noted.", private=True)

    story.rest()  # or the list has to be read beside 140 deliveries
    story.talk.customer_says("And now?")
    story.rest()

    texts = [[entry["content"] for entry in entries] for entries in seen]
    assert texts == [said[-50:], said[-3:], said[-2:]]
    assert story.talk.transcript.count("Noted.") == 70


def test_a_burst_is_not_its_own_history(
    chatwoot_simulator: SimulatorFactory, app: Flask, seen: list[Entries]
) -> None:
    story = Story(chatwoot_simulator(burst_window=1.0), app)

    for text in ("One", "Two", "Three"):
        story.talk.customer_says(text)

    assert story.told()[-1] == "    Three"
    assert seen == [[]]


@pytest.mark.parametrize("kind", ["account", "bot"])
def test_a_pick_is_part_of_what_was_said_after_its_question(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    chatwoot: Chatwoot,
    kind: t.Any,
) -> None:
    seen: list[Entries] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> Reply:
        seen.append(turn.history())
        return Reply(f"Re: {text}. Which one?", choices=["May", "June"])

    story = Story(chatwoot_simulator(kind=kind), app)

    story.talk.customer_says("One")
    story.rest()
    [question] = story.talk.posted
    story.talk.customer_picks(question, "June")
    story.rest()
    story.talk.customer_says("Thanks")
    story.rest()

    asked = [user("One"), assistant("Re: One. Which one?")]
    picked = [user("June"), assistant("Re: June. Which one?")]
    assert seen == [[], asked, [*asked, *picked]]


def test_without_any_way_to_read_there_is_none(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    seen: list[Entries],
    caplog: pytest.LogCaptureFixture,
) -> None:
    story = Story(chatwoot_simulator(), app)
    story.sim.inject(Fault.SERVER_ERROR, times=None, endpoint="list_messages")

    story.talk.customer_says("One")

    assert story.told() == ["Ada Lovelace: One", "Uma User: Re: One"]
    assert seen == [[]]
    assert "there is no history" in caplog.text
