"""A customer writes several messages, and gets one answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import typing as t
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask
from support.apps import runtime_of
from support.stories import Story, Thinker

from flask_chatwoot import Chatwoot, Message, Turn
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory

HERE = Path(__file__).parent
FIVE = ("Hello", "I have a question", "about my order", "number 4711", "Where is it?")
SAID = [f"Ada Lovelace: {text}" for text in FIVE]


@pytest.fixture
def thinker(chatwoot: Chatwoot) -> Thinker:
    return chatwoot.reply_provider(Thinker())


def test_five_messages_while_the_bot_thinks_are_two_turns(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app)

    for text in FIVE:
        story.talk.customer_says(text)
        thinker.wait_until_asked()

    story.sim.drain()
    thinker.answer()

    assert story.told() == [
        *SAID,
        "Uma User: You asked: Hello",
        "Uma User: You asked: I have a question",
        "    about my order",
        "    number 4711",
        "    Where is it?",
    ]
    assert thinker.asked == ["Hello", "\n".join(FIVE[1:])]
    assert story.endings() == ["replied", "replied"]


def test_five_messages_in_two_seconds_are_one_turn(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    turns: list[Turn] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        turns.append(turn)
        return f"{len(turn.messages)} messages"

    story = Story(chatwoot_simulator(burst_window=1.0), app)
    written = [story.talk.customer_says(text) for text in FIVE]

    assert story.told() == [*SAID, "Uma User: 5 messages"]
    assert [turn.text for turn in turns] == ["\n".join(FIVE)]
    assert turns[0].messages == tuple(
        Message(message.id, text) for message, text in zip(written, FIVE, strict=True)
    )
    assert turns[0].message_id == written[-1].id
    assert story.endings() == ["replied"]


def test_a_burst_is_read_as_it_was_written_whatever_came_first(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    turns: list[Turn] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        turns.append(turn)
        return text

    story = Story(chatwoot_simulator(burst_window=1.0), app)

    with story.sim.holding():
        written = [story.talk.customer_says(text) for text in FIVE]

    story.rest()

    assert story.talk.replies == ["\n".join(FIVE)]
    assert [message.id for message in turns[0].messages] == [m.id for m in written]
    assert turns[0].message_id == written[-1].id


def test_what_is_picked_in_a_burst_stays_where_it_came(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    """It has the id of its question, which is older than all of them."""
    thinker = chatwoot.reply_provider(Thinker())
    story = Story(chatwoot_sim, app)
    items = [{"title": "May", "value": "may"}]
    question = story.talk.add(
        story.sim.bot,
        "Which one?",
        content_type="input_select",
        content_attributes={"items": items},
    )

    story.talk.customer_says("Hello")
    thinker.wait_until_asked()
    story.talk.customer_says("Oh, that one:")
    story.talk.customer_picks(question, "May")
    story.talk.customer_says("I think")
    story.sim.drain()
    thinker.answer()
    story.rest()

    assert thinker.asked == ["Hello", "Oh, that one:\nMay\nI think"]


def test_a_burst_in_human_mode_is_one_note(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: f"{len(text.splitlines())} lines")
    story = Story(chatwoot_simulator(burst_window=1.0), app, mode="human")

    for text in FIVE:
        story.talk.customer_says(text)

    assert story.told() == [*SAID, "Uma User (note): 5 lines"]


def test_who_writes_on_and_on_is_answered_all_the_same(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: f"{len(text.splitlines())} lines")
    story = Story(chatwoot_simulator(burst_window=60.0, burst_max=1.0), app)

    for text in FIVE:
        story.talk.customer_says(text)
        story.sim.drain()

    assert story.told() == [*SAID, "Uma User: 5 lines"]


def test_a_note_for_an_outdated_question_is_withheld(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app, mode="human")

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    story.talk.customer_says("The one of May, I mean.")
    story.sim.drain()
    thinker.answer()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Ada Lovelace: The one of May, I mean.",
        "Uma User (note): You asked: Where is my order?",
        "    The one of May, I mean.",
    ]
    assert story.endings() == ["declined superseded", "noted"]


def test_operators_do_not_wait_for_their_note_forever(
    chatwoot_simulator: SimulatorFactory, app: Flask, thinker: Thinker
) -> None:
    sim = chatwoot_simulator(burst_max=0.001)
    story = Story(sim, app, mode="human")

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    story.talk.customer_says("The one of May, I mean.")
    story.sim.drain()
    thinker.answer()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Ada Lovelace: The one of May, I mean.",
        "Uma User (note): You asked: Where is my order?",
        "Uma User (note): You asked: The one of May, I mean.",
    ]


def test_a_delivery_that_comes_twice_is_in_the_burst_once(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app)

    story.talk.customer_says("Hello")
    thinker.wait_until_asked()
    second = story.talk.customer_says("Where is my order?")
    story.sim.deliver(second, times=3)
    story.sim.drain()
    thinker.answer()
    story.rest()

    assert thinker.asked == ["Hello", "Where is my order?"]


def test_two_conversations_are_two_bursts(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: text.replace("\n", " + "))
    sim = chatwoot_simulator(burst_window=1.0)
    first, second = Story(sim, app), Story(sim, app)

    for text in ("a", "b"):
        first.talk.customer_says(f"first {text}")
        second.talk.customer_says(f"second {text}")

    assert first.told()[-1] == "Uma User: first a + first b"
    assert second.told()[-1] == "Uma User: second a + second b"


# -- several processes ---------------------------------------------------------


def work(app: Flask, folder: Path) -> subprocess.Popen[str]:
    """Start ``flask chatwoot work`` on the inbox of an app."""
    config = runtime_of(app).config
    env = {
        "CHATWOOT_BASE_URL": config.base_url or "",
        "CHATWOOT_ACCOUNT_ID": str(config.account_id),
        "CHATWOOT_API_ACCESS_TOKEN": config.api_access_token or "",
        "CHATWOOT_WEBHOOK_SECRET": config.webhook_secret[0],
        "CHATWOOT_COPILOT_TOKEN": "token-of-a-page",
        "CHATWOOT_DATABASE_URL": f"sqlite:///{config.database_path}",
        "CHATWOOT_BURST_WINDOW": str(config.burst_window),
        "ASKED": str(folder / "asked"),
    }
    path = "support/programs/crash_app.py"
    program = ["-m", "flask", "--app", path, "chatwoot", "work"]

    return subprocess.Popen(
        [sys.executable, *program],
        cwd=HERE,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def workers() -> t.Iterator[t.Callable[..., None]]:
    """Starts two processes, waits until they work, and ends them with the test."""
    with ExitStack() as stack:

        def start(app: Flask, folder: Path) -> None:
            processes = [work(app, folder) for _ in range(2)]

            for process in processes:
                stack.enter_context(process)
                stack.callback(process.send_signal, signal.SIGTERM)

            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "Working. Ctrl-C stops.\n"

        yield start


def test_two_processes_on_one_inbox_give_one_reply_to_each_burst(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    tmp_path: Path,
    workers: t.Callable[..., None],
) -> None:
    sim = chatwoot_simulator(workers=0, burst_window=1.0)
    stories = [Story(sim, app) for _ in range(4)]
    workers(app, tmp_path)

    for text in FIVE:
        for story in stories:
            story.talk.customer_says(text)

    for story in stories:
        assert story.told() == [
            *SAID,
            "Uma User: Answer to Hello",
            *[f"    {text}" for text in FIVE[1:]],
        ]

    assert len((tmp_path / "asked").read_text().split()) == len(stories)
