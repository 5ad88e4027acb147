"""A provider reads what was said before in the conversation."""

from __future__ import annotations

import logging
import typing as t

import pytest
from support.apps import AppFactory
from support.stories import Begin, Story

from flask_chatwoot import Chatwoot, HistoryEntry, Reply, Turn
from flask_chatwoot.simulator.payloads import MessageType
from flask_chatwoot.testing import SimulatorFactory

Entries = list[HistoryEntry]


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


def three_turns(story: Story) -> None:
    """Three turns, and everything that is no part of a history in between."""
    story.talk.add(None, "We reply within a day.", type=MessageType.TEMPLATE)
    story.asks("One")
    story.talk.operator_says("A difficult one.", private=True)
    story.talk.assign(story.sim.operator)
    story.asks("Two")
    story.talk.automation_says("We are busy.")
    story.sim.drain()
    story.asks("Three")


THIRD: t.Final = [
    user("One"),
    assistant("Re: One"),
    user("Two"),
    assistant("Re: Two"),
    assistant("We are busy."),
]


def test_a_users_token_reads_the_history(story: Story, seen: list[Entries]) -> None:
    three_turns(story)
    assert seen == [[], THIRD[:2], THIRD]
    assert story.calls("list_messages")


@pytest.mark.parametrize("version", ["4.12.0", "4.16.2"])
def test_with_a_bots_token_alone_the_history_is_from_the_webhook(
    begin: Begin, seen: list[Entries], version: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="flask_chatwoot")
    story = begin(version=version, kind="bot")
    three_turns(story)

    assert seen == [[], THIRD[:2], THIRD]
    hints = [m for m in caplog.messages if "CHATWOOT_USER_ACCESS_TOKEN" in m]
    assert len(hints) == 1
    assert {call.token for call in story.sim.calls} == {"bot"}


def test_a_second_token_reads_for_the_bot(
    chatwoot_simulator: SimulatorFactory,
    chatwoot: Chatwoot,
    make_app: AppFactory,
    seen: list[Entries],
) -> None:
    app = make_app(chatwoot, user_access_token="token-of-a-user")
    story = Story(chatwoot_simulator(kind="bot"), app)
    three_turns(story)

    assert seen == [[], THIRD[:2], THIRD]
    tokens = {(call.endpoint, call.token) for call in story.sim.calls}
    assert ("list_messages", "user") in tokens
    assert ("create_message", "bot") in tokens
    assert ("create_message", "user") not in tokens


def test_the_history_begins_after_a_resolve(story: Story, seen: list[Entries]) -> None:
    story.asks("One")
    story.resolves()
    story.asks("Two")
    story.asks("Three")

    assert seen == [[], [], [user("Two"), assistant("Re: Two")]]


@pytest.mark.slow
def test_a_burst_is_not_its_own_history(begin: Begin, seen: list[Entries]) -> None:
    story = begin(burst_window=1.0)

    for text in ("One", "Two", "Three"):
        story.talk.customer_says(text)

    assert story.lines()[-1] == "    Three"
    assert seen == [[]]


@pytest.mark.parametrize("kind", ["account", "bot"])
def test_a_reply_to_a_message_quotes_it_in_the_history(
    begin: Begin, seen: list[Entries], kind: str
) -> None:
    story = begin(kind=kind, channel="whatsapp")
    first = story.talk.customer_says("Red\nor blue?")
    story.rest()
    story.asks("This one", content_attributes={"in_reply_to": first.id})
    [_, answer] = story.talk.posted
    quoted = {"in_reply_to": answer.id}
    story.talk.operator_says("Sure?", content_attributes=quoted)
    story.rest()
    story.asks("Yes", content_attributes={"in_reply_to": 4711})
    story.asks("Thanks")

    contents = [each["content"] for each in seen[-1]]
    assert contents[2:] == [
        "> Red\n> or blue?\n\nThis one",
        "Re: This one",
        "> Re: This one\n\nSure?",
        "Yes",  # nothing is known of what it replies to
    ]


@pytest.mark.parametrize("kind", ["account", "bot"])
def test_a_pick_follows_its_question_in_the_history(
    begin: Begin, chatwoot: Chatwoot, kind: str
) -> None:
    seen: list[Entries] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> Reply:
        seen.append(turn.history())
        return Reply(f"Re: {text}. Which one?", choices=["May", "June"])

    story = begin(kind=kind)
    story.asks("One")
    [question] = story.talk.posted
    story.talk.customer_picks(question, "June")
    story.rest()
    story.asks("Thanks")

    asked = [user("One"), assistant("Re: One. Which one?")]
    picked = [user("June"), assistant("Re: June. Which one?")]
    assert seen == [[], asked, [*asked, *picked]]
