"""A customer who gets no answer is seen by operators, and an answer can be read."""

from __future__ import annotations

import re
import typing as t

import pytest
from flask import Flask
from support.apps import recorded
from support.commands import outcome
from support.stories import ASKED, QUESTION, REPLY, Begin, Thinker

from flask_chatwoot import (
    Audience,
    Chatwoot,
    Decision,
    Handoff,
    NoReply,
    Reason,
    Reply,
    TurnOutcome,
    after_post,
    turn_finished,
    undelivered,
)
from flask_chatwoot.payloads.channels import LIMIT
from flask_chatwoot.simulator import Fault, Talk
from flask_chatwoot.simulator.payloads import ContactRecord

Fields = dict[str, t.Any]

ANSWER: t.Final = "It left this morning."

# -- pending -------------------------------------------------------------------

TEXT: t.Final[Fields] = {"text": QUESTION}
UNSUPPORTED: t.Final[Fields] = {
    "text": None,
    "content_attributes": {"is_unsupported": True},
}
RECORDING: t.Final = {"file_type": "audio", "data_url": "https://files.example.com/1"}


@pytest.mark.parametrize("kind", ["bot", "account"])
@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param(UNSUPPORTED, "unused", id="unsupported by the channel"),
        pytest.param(
            {"text": None, "attachments": [RECORDING]},
            "unused",
            id="no text for a provider of text",
        ),
        pytest.param(TEXT, None, id="None"),
        pytest.param(TEXT, " \n", id="blank"),
        pytest.param(TEXT, "\u200b", id="invisible"),
        pytest.param(TEXT, Reply(""), id="empty Reply"),
    ],
)
def test_a_pending_conversation_without_an_answer_is_handed_off_with_a_note(
    begin: Begin, message: Fields, answer: t.Any, kind: str
) -> None:
    story = begin(answer=answer, kind=kind, channel="whatsapp", status="pending")
    story.asks(**message)

    assert story.talk.replies == []
    assert story.talk.status == "open"
    assert len(story.talk.notes) == 1


@pytest.mark.parametrize(
    ("is_automatic", "fields"),
    [
        pytest.param(False, {"status": "open"}, id="open"),
        pytest.param(
            False,
            {"status": "pending", "contact": ContactRecord(blocked=True)},
            id="blocked",
        ),
        pytest.param(True, {"status": "pending", "channel": "email"}, id="machine"),
    ],
)
def test_without_an_answer_only_pending_conversations_of_customers_are_changed(
    begin: Begin, is_automatic: bool, fields: Fields
) -> None:
    story = begin(answer=None, kind="bot", **fields)

    if is_automatic:
        story.talk.customer_mails("I am on holiday.", auto_reply=True)
    else:
        story.talk.customer_says(QUESTION)

    story.rest()
    assert story.talk.posted == []
    assert story.talk.status == fields["status"]
    assert story.attributes == {"support_mode": "bot"}


def test_a_pending_conversation_for_which_the_policy_says_nobody_stays_as_it_is(
    begin: Begin, chatwoot: Chatwoot
) -> None:
    chatwoot.policy(lambda facts: Decision(Audience.NOBODY))
    story = begin(answer=ANSWER, kind="bot")
    story.asks()

    assert story.talk.posted == []
    assert story.talk.status == "pending"


def test_a_pending_conversation_of_another_bot_is_not_changed(begin: Begin) -> None:
    story = begin(answer=None, status="pending")
    story.talk.add(story.sim.bot, "I am another bot.")
    story.rest()
    story.asks()

    assert story.talk.posted == []
    assert story.talk.status == "pending"


@pytest.mark.parametrize(
    ("options", "answer", "ending"),
    [
        ({}, NoReply(), "declined no_reply"),
        ({}, [None, NoReply()], "declined no_reply"),
        ({"on_silence": "leave"}, None, "declined no_answer"),
    ],
    ids=["NoReply", "NoReply in a list", "leave"],
)
def test_silence_that_is_wanted_changes_nothing(
    begin: Begin, options: t.Any, answer: t.Any, ending: str
) -> None:
    story = begin(answer=answer, kind="bot", **options)
    story.asks()

    assert (story.talk.posted, story.talk.status) == ([], "pending")
    assert story.endings() == [ending]


def test_the_note_says_why_there_is_no_answer(begin: Begin) -> None:
    story = begin(answer=None, kind="bot")
    story.goes(
        ASKED,
        "Assistant (note): **The bot hands this conversation off.** Reason: the bot "
        "has no answer.",
        "    ",
        "    The customer wrote:",
        "    ",
        f"    > {QUESTION}",
    )

    assert story.endings() == ["handed_off no_answer"]
    assert story.attributes["support_mode"] == "human"


@pytest.mark.parametrize("endpoint", ["conversation", "toggle_status"])
def test_the_provider_is_not_asked_again_while_the_hand_off_is_repeated(
    begin: Begin, endpoint: str
) -> None:
    asked: list[str] = []  # appending returns None

    story = begin(answer=asked.append, kind="bot", retry_pause=0.05)
    story.sim.inject(Fault.SERVER_ERROR, times=2, endpoint=endpoint)
    story.asks()

    assert asked == [QUESTION]
    assert (story.talk.status, len(story.talk.notes)) == ("open", 1)
    assert story.endings() == ["handed_off no_answer"]


def test_in_human_mode_no_answer_is_no_reason_for_a_note(begin: Begin) -> None:
    """Also where the token cannot see that the conversation is open already."""
    story = begin(answer=None, kind="bot", version="4.8.0", mode="human")
    story.asks()

    assert (story.talk.posted, story.talk.status) == ([], "open")


def test_the_next_message_is_answered_instead_of_a_hand_off(begin: Begin) -> None:
    thinker = Thinker(Reply(""))
    story = begin(
        answer=lambda text, turn: thinker(text, turn) if text == QUESTION else REPLY,
        kind="bot",
    )

    with story.during(thinker, delivered=True):
        story.talk.customer_says("It is number 4711.")

    assert story.talk.replies == [REPLY]
    assert story.talk.status == "pending"
    assert story.endings() == ["declined superseded", "replied"]


# -- refused by the channel ----------------------------------------------------


def refuse(talk: Talk) -> None:
    """Report that the channel did not send our newest reply."""
    talk.channel_refuses([each for each in talk.posted if not each.private][-1])


@pytest.mark.parametrize("status", ["open", "pending"])
@pytest.mark.parametrize("kind", ["bot", "account"])
@pytest.mark.parametrize("version", ["4.16.2", "4.8.0"])  # 4.8.0 keeps no markers
def test_a_reply_that_the_channel_refuses_is_handed_off_with_one_note(
    begin: Begin, app: Flask, version: str, kind: str, status: str
) -> None:
    story = begin(
        answer=ANSWER, version=version, kind=kind, channel="whatsapp", status=status
    )

    with recorded(turn_finished, app) as turns:
        story.asks()

        for _ in range(2):  # Chatwoot may report it more than once
            refuse(story.talk)
            story.rest()

    assert story.talk.replies == [ANSWER]
    assert len(story.talk.notes) == 1
    assert story.talk.status == "open"
    assert story.attributes == {"support_mode": "human"}
    assert len(turns) == 1


def test_a_refusal_that_comes_before_the_end_of_the_turn_is_seen(
    begin: Begin, app: Flask
) -> None:
    story = begin(answer=ANSWER, kind="bot", channel="whatsapp")
    reports = iter([refuse])  # once: the note is a post, too

    def refuse_at_once(_: Flask, **values: t.Any) -> None:
        for report in reports:
            report(story.talk)
            story.sim.drain()

    with after_post.connected_to(refuse_at_once, sender=app):
        story.asks()

    assert story.talk.replies == [ANSWER]
    assert len(story.talk.notes) == 1
    assert story.talk.status == "open"


def test_the_host_is_told_once_of_a_refusal_and_why_shows_it(
    begin: Begin, app: Flask
) -> None:
    story = begin(answer=ANSWER, channel="whatsapp", fallback_message="Sorry.")
    story.asks()
    message_id = story.talk.posted[0].id

    with recorded(undelivered, app) as signals:
        for _ in range(2):
            refuse(story.talk)
            story.rest()

    assert signals == [
        {
            "conversation_id": story.talk.id,
            "message_id": message_id,
            "error": "131047: Re-engagement message",
            "outcome": TurnOutcome.HANDED_OFF,
            "reason": Reason.UNDELIVERED,
        }
    ]
    assert story.talk.replies == [ANSWER]  # the fallback would be refused as well
    _, printed = outcome(app, "why", str(story.talk.id))
    assert f"message {message_id} undelivered: the channel refused it" in printed
    assert "a refusal by the channel" in printed
    assert "131047" not in printed


@pytest.mark.parametrize("reply", ["an operator's", "ours in a taken conversation"])
def test_a_refusal_that_operators_see_themselves_changes_nothing(
    begin: Begin, reply: str
) -> None:
    story = begin(answer=ANSWER, channel="whatsapp")
    story.asks()
    said = story.talk.operator_says("Olga here.")
    story.rest()
    ours = story.talk.posted[0]
    story.talk.channel_refuses(said if reply == "an operator's" else ours)
    story.rest()

    assert story.talk.notes == []


def test_all_parts_of_a_reply_may_be_refused(begin: Begin) -> None:
    story = begin(answer=[ANSWER, "And more."], channel="whatsapp", status="pending")
    story.asks()

    for message in story.talk.posted:
        story.talk.channel_refuses(message)

    story.rest()
    assert (len(story.talk.notes), story.talk.status) == (1, "open")


def test_the_reason_of_a_hand_off_may_be_longer_than_a_note(begin: Begin) -> None:
    story = begin(answer=Handoff("so " * (LIMIT // 2)), status="pending")
    story.asks()

    assert story.endings() == ["handed_off"]
    assert story.talk.notes[-1].endswith(f"> {QUESTION}")


def test_the_note_about_a_refusal_is_repeated_until_it_is_posted(begin: Begin) -> None:
    story = begin(answer=ANSWER, channel="whatsapp", retry_pause=0.05)
    story.asks()
    story.sim.inject(Fault.SERVER_ERROR, times=2, endpoint="custom_attributes")
    refuse(story.talk)
    story.rest()

    assert len(story.talk.notes) == 1
    assert story.attributes == {"support_mode": "human"}
    assert story.endings() == ["replied", "handed_off undelivered"]


# -- longer than the channel takes ---------------------------------------------

DIRECT_MESSAGE: t.Final = {"type": "instagram_direct_message"}
LIMITS: t.Final[list[tuple[str, Fields, int]]] = [
    ("Instagram", {}, 1000),
    ("FacebookPage", {}, 2000),
    ("FacebookPage", {"additional_attributes": DIRECT_MESSAGE}, 1000),
    ("Sms", {}, 320),
    ("Whatsapp", {}, 4096),
    ("Telegram", {}, 4096),
    ("Line", {}, 5000),
    ("Tiktok", {}, 6000),
]
"""As Chatwoot's own bot has them (``enterprise/lib/captain/message_length_limit.rb``):
the channel, further fields of the conversation, characters."""

MOST_PARTS: t.Final = 4


def answered(begin: Begin, answer: str, channel: str, **fields: t.Any) -> Talk:
    """A conversation in which the customer asked, and got this answer."""
    story = begin(answer=answer, channel=f"Channel::{channel}", **fields)
    story.asks()

    return story.talk


@pytest.mark.parametrize(("channel", "fields", "limit"), LIMITS)
def test_a_long_reply_is_split_at_sentences_into_what_the_channel_takes(
    begin: Begin, channel: str, fields: Fields, limit: int
) -> None:
    sentences = [f"This is sentence {number}." for number in range(300)]
    answer = " ".join(sentences)
    talk = answered(begin, answer, channel, **fields)

    replies, notes = talk.replies, talk.notes
    assert max(map(len, replies)) <= limit
    assert len(replies) <= MOST_PARTS
    assert all(part.startswith("This") and part.endswith(".") for part in replies)
    assert re.findall(r"This is sentence \d+\.", " ".join(replies + notes)) == sentences
    assert len(notes) == (len(answer) > limit * MOST_PARTS)
