"""Conversations that go round in a loop, as between two machines."""

from __future__ import annotations

import typing as t

import pytest
from support.apps import AppFactory
from support.queue import Store
from support.stories import Story
from support.waiting import Clock

from flask_chatwoot import Chatwoot, Reason, Reply
from flask_chatwoot.queue.recent import RecentMessage, hash_of, hashes_of
from flask_chatwoot.testing import ChatwootSim
from flask_chatwoot.turns.loops import loop_in

AGAIN, MANY = Reason.REPEATED_TEXT, Reason.TOO_MANY_TURNS


def said(turns: str) -> list[RecentMessage]:
    """Turns, of which each letter is a text; ``.`` is none, ``!`` handed a loop off.

    A capital letter is also the title of a choice that the turn's reply offered.
    """
    return [
        RecentMessage(
            number,
            0.0,
            None if letter == "." else hash_of(letter, 42),
            hashes_of([("x", letter)], 42) if letter.isupper() else None,
            AGAIN if turn.endswith("!") else None,
        )
        for number, turn in enumerate(turns.split())
        for letter in turn.rstrip("!")
    ]


@pytest.mark.parametrize(
    ("turns", "answers", "reason"),
    [
        ("", True, None),
        ("a a", True, None),
        ("a a a", True, AGAIN),
        ("aaa", True, AGAIN),  # a burst
        ("a b a a", True, None),
        ("a a . a", True, None),
        (". . .", True, None),
        ("A a a a", True, None),
        ("a b c d", True, None),
        ("a b c d e", True, MANY),
        ("ab cd ef g", True, None),
        ("a a a! a a", True, None),
        ("a a a! a a a", True, AGAIN),
        ("a a a! a a", False, AGAIN),
        ("a b c d! e", False, MANY),
    ],
)
def test_a_loop_is_the_same_text_or_many_turns(
    turns: str, answers: bool, reason: Reason | None
) -> None:
    assert loop_in(said(turns), repeats=2, turns=4, answers=answers) is reason


def test_zero_means_no_limit() -> None:
    many = said("a " * 99)
    assert loop_in(many, repeats=0, turns=0, changes=99, answers=True) is None


@pytest.mark.parametrize(("changes", "reason"), [(3, None), (4, MANY)])
def test_each_change_of_a_message_counts_like_a_turn(
    changes: int, reason: Reason | None
) -> None:
    found = loop_in(said("a"), repeats=2, turns=4, changes=changes, answers=True)
    assert found is reason


def test_only_the_last_hour_counts_and_what_a_customer_wrote(
    store: Store, clock: Clock
) -> None:
    for number in range(4):
        store.queue.put(
            f"k{number}",
            conversation_id=42,
            message_id=9000 + number,
            payload=b"{}",
            kind="alone" if number == 3 else "message",
            text=" Hello \n you" if number else "Hello YOU",
        )
        job = store.claim()
        assert len(job.recent) == (1, 2, 2, 1)[number]
        assert len({each.text_hash for each in job.recent}) == 1
        store.settle(job)
        clock.advance(1900)


def test_a_message_counts_once_wherever_it_is_answered(store: Store) -> None:
    store.say(9001)
    first = store.claim()
    store.say(9002)
    store.say(9003)
    assert store.queue.supersede(first, [(9001, "")], "superseded")

    assert [each.turn for each in store.claim().recent] == [1, 2, 2]


class BeginLoop(t.Protocol):
    def __call__(self, answer: t.Any, **fields: t.Any) -> Story: ...


@pytest.fixture
def begin_loop(
    chatwoot_sim: ChatwootSim, make_app: AppFactory, chatwoot: Chatwoot
) -> BeginLoop:
    """Begins a conversation in which the same text is answered twice."""

    def begin(answer: t.Any, **fields: t.Any) -> Story:
        chatwoot.reply_provider(lambda text: answer)

        return Story(chatwoot_sim, make_app(chatwoot, max_repeats=2), **fields)

    return begin


def test_a_loop_is_handed_off_once_and_its_end_begins_to_count_anew(
    begin_loop: BeginLoop,
) -> None:
    story = begin_loop("Closed?", status="pending")

    for _ in range(5):
        story.asks("We are closed.")

    assert story.talk.replies == ["Closed?"] * 2
    assert len(story.talk.notes) == 1
    assert story.talk.status == "open"
    loop = ["handed_off repeated_text", *["declined repeated_text"] * 2]
    assert story.endings() == ["replied", "replied", *loop]

    story.returns()
    story.asks("We are closed.")
    assert story.endings()[-1] == "replied"


@pytest.mark.parametrize("channel", ["website", "whatsapp"])
def test_a_choice_may_be_picked_again_and_again(
    begin_loop: BeginLoop, channel: str
) -> None:
    answer = Reply("What else?", choices=["Back", "On"])
    story = begin_loop(answer, channel=channel)
    story.asks("Hello")

    for _ in range(4):
        story.talk.customer_picks(story.talk.messages[-1], "Back")
        story.rest()

    assert story.endings() == ["replied"] * 5
