"""A customer writes several messages, and gets one answer."""

from __future__ import annotations

import typing as t
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask
from support.apps import AppFactory, runtime_of
from support.chatwoot import ChatwootStub
from support.commands import spawn
from support.databases import environment_of_app
from support.deliveries import deliver, message
from support.stories import ASKED, QUESTION, Begin, Story, Thinker

from flask_chatwoot import Chatwoot, Message, Turn
from flask_chatwoot.config import load

FIVE = ("Hello", "I have a question", "about my order", "number 4711", "Where is it?")
NOTE = "Uma User (note): You asked: "
MAY = "The one of May, I mean."
SAID = [f"Ada Lovelace: {text}" for text in FIVE]


@pytest.fixture
def turns(chatwoot: Chatwoot) -> list[Turn]:
    """The turns of the app's provider, which answers with the number of messages."""
    turns: list[Turn] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        turns.append(turn)
        return f"{len(turn.messages)} messages"

    return turns


def test_messages_during_a_turn_are_one_more(story: Story, thinker: Thinker) -> None:
    with story.during(thinker, FIVE[0], delivered=True):
        for text in FIVE[1:]:
            story.talk.customer_says(text)

    assert story.lines() == [
        *SAID,
        "Uma User: You asked: Hello",
        "Uma User: You asked: I have a question",
        "    about my order",
        "    number 4711",
        "    Where is it?",
    ]
    assert thinker.asked == ["Hello", "\n".join(FIVE[1:])]
    assert story.endings() == ["replied", "replied"]


@pytest.mark.slow
@pytest.mark.parametrize("held", [False, True], ids=["in order", "in any order"])
def test_five_messages_in_one_window_are_one_turn(
    begin: Begin, turns: list[Turn], held: bool
) -> None:
    """Their order is that of their ids, whatever delivery came first."""
    story = begin(burst_window=1.0)

    with story.sim.holding() if held else ExitStack():
        written = [story.talk.customer_says(text) for text in FIVE]

    assert story.lines() == [*SAID, "Uma User: 5 messages"]
    assert [turn.text for turn in turns] == ["\n".join(FIVE)]
    assert turns[0].messages == tuple(
        Message(message.id, text) for message, text in zip(written, FIVE, strict=True)
    )
    assert turns[0].message_id == written[-1].id
    assert story.endings() == ["replied"]


@pytest.mark.slow
def test_five_short_messages_get_one_answer_with_the_defaults(
    begin: Begin, turns: list[Turn]
) -> None:
    defaults = load({}, environ={}, instance_path="/nowhere")
    story = begin(burst_window=defaults.burst_window)

    for text in FIVE:
        story.talk.customer_says(text)
        story.sim.drain()

    assert story.lines() == [*SAID, "Uma User: 5 messages"]
    assert [turn.text for turn in turns] == ["\n".join(FIVE)]


def test_an_engine_of_the_host_waits_until_the_window_is_over(
    make_app: AppFactory, api: ChatwootStub
) -> None:
    chatwoot = Chatwoot()
    chatwoot.reply_provider(lambda text: text)
    app = make_app(chatwoot, backend="thread", workers=0, burst_window=0.3)

    for number, text in enumerate(FIVE):
        deliver(app.test_client(), message(text, id=9000 + number))

    with app.app_context():
        assert not chatwoot.work(1, 42)
        assert not chatwoot.work(1, 42)

    assert api.public == ["\n".join(FIVE)]


def test_a_pick_keeps_the_place_of_its_delivery(story: Story, thinker: Thinker) -> None:
    """A pick has the id of its question, which is older than the whole burst."""
    question = story.talk.add(
        story.sim.bot,
        "Which one?",
        content_type="input_select",
        content_attributes={"items": [{"title": "May", "value": "may"}]},
    )

    with story.during(thinker, "Hello", delivered=True):
        story.talk.customer_says("Oh, that one:")
        story.talk.customer_picks(question, "May")
        story.talk.customer_says("I think")

    assert thinker.asked == ["Hello", "Oh, that one:\nMay\nI think"]


@pytest.mark.slow
def test_a_customer_who_does_not_stop_writing_is_answered_after_burst_max(
    begin: Begin, turns: list[Turn]
) -> None:
    story = begin(burst_window=60.0, burst_max=1.0)

    for text in FIVE:
        story.talk.customer_says(text)
        story.sim.drain()

    assert story.lines() == [*SAID, "Uma User: 5 messages"]


@pytest.mark.parametrize(
    ("options", "answer", "endings"),
    [
        ({}, f"    {MAY}", ["declined superseded", "noted"]),
        ({"burst_max": 0.001}, f"{NOTE}{MAY}", ["noted", "noted"]),
    ],
    ids=["within burst_max", "after burst_max"],
)
def test_a_note_for_an_outdated_question_is_withheld_for_burst_max(
    begin: Begin,
    thinker: Thinker,
    options: dict[str, float],
    answer: str,
    endings: list[str],
) -> None:
    story = begin(**options, mode="human")

    with story.during(thinker, delivered=True):
        story.talk.customer_says(MAY)

    assert story.lines() == [ASKED, f"Ada Lovelace: {MAY}", NOTE + QUESTION, answer]
    assert story.endings() == endings


def test_a_duplicate_is_in_the_burst_once(story: Story, thinker: Thinker) -> None:
    with story.during(thinker, "Hello", delivered=True):
        second = story.talk.customer_says("Where is my order?")
        story.sim.deliver(second, times=3)

    assert thinker.asked == ["Hello", "Where is my order?"]


# -- several processes ---------------------------------------------------------


@pytest.fixture
def start_workers(tmp_path: Path) -> t.Iterator[t.Callable[[Story, Flask], None]]:
    """Starts two processes on the database of an app; they end with the test."""
    with ExitStack() as stack:

        def start(story: Story, app: Flask) -> None:
            config = runtime_of(app).config
            env = {
                **story.sim.settings(),
                "CHATWOOT_COPILOT_TOKEN": "token-of-a-page",
                **environment_of_app(config),
                "CHATWOOT_BURST_WINDOW": config.burst_window,
                "ASKED": tmp_path / "asked",
            }
            processes = [spawn("crash_app.py", "work", **env) for _ in range(2)]

            for process in processes:
                stack.enter_context(process)
                stack.callback(process.terminate)

            for process in processes:
                assert process.stdout is not None
                assert process.stdout.readline() == "Working. Ctrl-C stops.\n"

        yield start


@pytest.mark.slow
def test_two_processes_on_one_database_answer_each_burst_once(
    begin: Begin,
    app: Flask,
    tmp_path: Path,
    start_workers: t.Callable[[Story, Flask], None],
) -> None:
    stories = [begin(workers=0, burst_window=1.0), *(begin() for _ in range(3))]
    start_workers(stories[0], app)

    for text in FIVE:
        for story in stories:
            story.talk.customer_says(text)

    for story in stories:
        assert story.lines() == [
            *SAID,
            "Uma User: Answer to Hello",
            *[f"    {text}" for text in FIVE[1:]],
        ]

    assert len((tmp_path / "asked").read_text().split()) == len(stories)
