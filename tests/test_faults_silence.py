"""A customer who gets no answer is seen by operators, and an answer can be read."""

from __future__ import annotations

import re
import typing as t

import pytest
from flask import Flask
from support.apps import recorded
from support.stories import Story

from flask_chatwoot import (
    Audience,
    Chatwoot,
    Decision,
    Reply,
    after_post,
    turn_finished,
)
from flask_chatwoot.simulator import Talk
from flask_chatwoot.simulator.payloads import Contact
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory

INVISIBLE: t.Final = {
    "zero width space": "\u200b",
    "byte order mark": "\ufeff",
    "word joiner": "\u2060\u200b",
    "soft hyphen": "\u00ad",
    "left-to-right mark": "\u200e",
    "Hangul filler": "\u3164",
    "blank Braille pattern": "\u2800",
    "mixed with spaces": " \u200b\n\u200b ",
}


def says(chatwoot: Chatwoot, answer: t.Any) -> None:
    """Let the app's provider, which takes text only, always answer the same."""
    chatwoot.reply_provider(lambda text: answer)


# -- pending -------------------------------------------------------------------

QUESTION: t.Final[dict[str, t.Any]] = {"content": "Where is my order?"}
UNSUPPORTED: t.Final[dict[str, t.Any]] = {
    "content": None,
    "content_attributes": {"is_unsupported": True},
}
VOICE: t.Final[dict[str, t.Any]] = {
    "content": None,
    "attachments": [
        {"file_type": "audio", "data_url": "https://files.example.com/1.ogg"}
    ],
}


@pytest.mark.xfail(
    reason="A pending conversation that gets no answer stays pending, where operators "
    "do not see it, and no note says so.",
    strict=True,
    raises=AssertionError,
)
@pytest.mark.parametrize("kind", ["bot", "account"])
@pytest.mark.parametrize(
    ("message", "answer"),
    [
        pytest.param(UNSUPPORTED, "unused", id="unsupported by the channel"),
        pytest.param(VOICE, "unused", id="no text for a provider of text"),
        pytest.param(QUESTION, None, id="None"),
        pytest.param(QUESTION, " \n", id="blank"),
        pytest.param(QUESTION, "\u200b", id="invisible"),
        pytest.param(QUESTION, Reply(""), id="empty Reply"),
    ],
)
def test_a_pending_conversation_without_an_answer_is_handed_over_with_a_note(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    chatwoot: Chatwoot,
    message: dict[str, t.Any],
    answer: t.Any,
    kind: t.Any,
) -> None:
    says(chatwoot, answer)
    story = Story(
        chatwoot_simulator(kind=kind), app, channel="whatsapp", status="pending"
    )

    story.talk.customer_says(**message)
    story.rest()

    assert story.talk.replies == []
    assert story.talk.status == "open"
    assert len(story.talk.notes) == 1


def writes(talk: Talk) -> None:
    talk.customer_says(**QUESTION)


def mails_by_machine(talk: Talk) -> None:
    talk.customer_mails("I am on holiday.", auto_reply=True)


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        pytest.param(writes, {"status": "open"}, id="open"),
        pytest.param(
            writes,
            {"status": "pending", "contact": Contact(blocked=True)},
            id="blocked",
        ),
        pytest.param(
            mails_by_machine, {"status": "pending", "channel": "email"}, id="machine"
        ),
    ],
)
def test_without_an_answer_only_pending_conversations_of_customers_are_touched(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    chatwoot: Chatwoot,
    message: t.Callable[[Talk], None],
    fields: dict[str, t.Any],
) -> None:
    says(chatwoot, None)
    story = Story(chatwoot_simulator(kind="bot"), app, **fields)

    message(story.talk)
    story.rest()

    assert story.talk.posted == []
    assert story.talk.status == fields["status"]
    assert story.attributes == {"support_mode": "bot"}


def test_a_pending_conversation_for_which_the_policy_says_nobody_stays_as_it_is(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    says(chatwoot, "It left this morning.")
    chatwoot.policy(lambda facts: Decision(Audience.NOBODY))
    story = Story(chatwoot_simulator(kind="bot"), app)

    story.talk.customer_says(**QUESTION)
    story.rest()

    assert story.talk.posted == []
    assert story.talk.status == "pending"


def test_a_pending_conversation_of_another_bot_is_left_to_it(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    says(chatwoot, None)
    story = Story(chatwoot_sim, app, status="pending")

    story.talk.add(story.sim.bot, "I am another bot.")
    story.rest()
    story.talk.customer_says(**QUESTION)
    story.rest()

    assert story.talk.posted == []
    assert story.talk.status == "pending"


# -- refused by the channel ----------------------------------------------------


def refuse(talk: Talk) -> None:
    """Report that the channel did not send our newest reply.

    Chatwoot took the message, and learned later that the channel does not
    (``app/services/messages/status_update_service.rb``).
    """
    ours = [message for message in talk.posted if not message.private][-1]
    reason = {"external_error": "131047: Re-engagement message"}
    attributes = {**ours.content_attributes, **reason}
    talk.edit(ours, status="failed", content_attributes=attributes)


@pytest.mark.xfail(
    reason="A reply that Chatwoot took and the channel refused counts as sent: no "
    "note, no hand-off.",
    strict=True,
    raises=AssertionError,
)
@pytest.mark.parametrize("status", ["open", "pending"])
@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("4.16.2", "bot"),
        ("4.16.2", "account"),
        ("4.8.0", "bot"),  # keeps no markers
        ("4.8.0", "account"),
    ],
)
def test_a_reply_that_the_channel_refuses_is_handed_over_with_one_note(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    chatwoot: Chatwoot,
    version: str,
    kind: t.Any,
    status: str,
) -> None:
    says(chatwoot, "It left this morning.")
    sim = chatwoot_simulator(version=version, kind=kind)
    story = Story(sim, app, channel="whatsapp", status=status)

    with recorded(turn_finished, app) as turns:
        story.talk.customer_says(**QUESTION)
        story.rest()

        for _ in range(2):  # Chatwoot may report it more than once
            refuse(story.talk)
            story.rest()

    assert story.talk.replies == ["It left this morning."]
    assert len(story.talk.notes) == 1
    assert story.talk.status == "open"
    assert story.attributes == {"support_mode": "human"}
    assert len(turns) == 1


@pytest.mark.xfail(
    reason="A refusal by the channel is ignored, also one that is delivered before the "
    "turn has ended.",
    strict=True,
    raises=AssertionError,
)
def test_a_refusal_that_is_faster_than_the_end_of_the_turn_is_seen(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    says(chatwoot, "It left this morning.")
    story = Story(chatwoot_simulator(kind="bot"), app, channel="whatsapp")
    reported = False

    def refuse_at_once(_: Flask, **values: t.Any) -> None:
        nonlocal reported

        if not reported:  # the note is a post, too
            reported = True
            refuse(story.talk)
            story.sim.drain()

    with after_post.connected_to(refuse_at_once, sender=app):
        story.talk.customer_says(**QUESTION)
        story.rest()

    assert story.talk.replies == ["It left this morning."]
    assert len(story.talk.notes) == 1
    assert story.talk.status == "open"


# -- longer than the channel takes ---------------------------------------------

FACEBOOK_INSTAGRAM: t.Final = {
    "additional_attributes": {"type": "instagram_direct_message"}
}
LIMITS: t.Final[list[tuple[str, dict[str, t.Any], int]]] = [
    ("Channel::Instagram", {}, 1000),
    ("Channel::FacebookPage", {}, 2000),
    ("Channel::FacebookPage", FACEBOOK_INSTAGRAM, 1000),
    ("Channel::Sms", {}, 320),
    ("Channel::Whatsapp", {}, 4096),
    ("Channel::Telegram", {}, 4096),
    ("Channel::Line", {}, 5000),
    ("Channel::Tiktok", {}, 6000),
]
"""As Chatwoot's own bot has them (``enterprise/lib/captain/message_length_limit.rb``):
the channel, further fields of the conversation, characters."""

MOST_PARTS: t.Final = 4


def answered(
    sim: ChatwootSim, app: Flask, chatwoot: Chatwoot, answer: str, **fields: t.Any
) -> Story:
    """A story in which the customer asked, and got this answer."""
    says(chatwoot, answer)
    story = Story(sim, app, **fields)
    story.talk.customer_says(**QUESTION)
    story.rest()

    return story


@pytest.mark.xfail(
    reason="A reply is split by Chatwoot's own limit only, so the channel refuses what "
    "is longer than it takes.",
    strict=True,
    raises=AssertionError,
)
@pytest.mark.parametrize(("channel", "fields", "limit"), LIMITS)
def test_a_long_reply_is_split_at_sentences_into_what_the_channel_takes(
    chatwoot_sim: ChatwootSim,
    app: Flask,
    chatwoot: Chatwoot,
    channel: str,
    fields: dict[str, t.Any],
    limit: int,
) -> None:
    sentences = [f"This is sentence {number}." for number in range(300)]
    answer = " ".join(sentences)
    story = answered(chatwoot_sim, app, chatwoot, answer, channel=channel, **fields)

    replies, notes = story.talk.replies, story.talk.notes
    assert max(map(len, replies)) <= limit
    assert len(replies) <= MOST_PARTS
    assert all(part.startswith("This") and part.endswith(".") for part in replies)
    assert re.findall(r"This is sentence \d+\.", " ".join(replies + notes)) == sentences
    assert len(notes) == (len(answer) > limit * MOST_PARTS)


@pytest.mark.xfail(
    reason="A reply that is too long for the channel is not split at its paragraphs.",
    strict=True,
    raises=AssertionError,
)
def test_a_long_reply_is_split_between_paragraphs_where_there_are_any(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    paragraphs = ["First. " * 200, "Second. " * 200]
    answer = "\n\n".join(each.strip() for each in paragraphs)

    story = answered(
        chatwoot_sim, app, chatwoot, answer, channel="Channel::FacebookPage"
    )

    assert story.talk.replies == answer.split("\n\n")


@pytest.mark.xfail(
    reason="A word that is too long for the channel is sent in one piece.",
    strict=True,
    raises=AssertionError,
)
def test_a_word_that_is_longer_than_a_message_is_split_without_loss(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    word = "https://shop.example.com/" + "x" * 700

    story = answered(chatwoot_sim, app, chatwoot, word, channel="Channel::Sms")

    assert max(map(len, story.talk.replies)) <= 320
    assert "".join(story.talk.replies) == word


@pytest.mark.xfail(
    reason="A code block that is too long for the channel is sent in one piece.",
    strict=True,
    raises=AssertionError,
)
def test_a_split_code_block_is_closed_and_opened_again(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    lines = [f"print({number})" for number in range(400)]
    answer = "\n".join(["Run this:", "", "```", *lines, "```", "", "Good luck."])

    story = answered(chatwoot_sim, app, chatwoot, answer, channel="Channel::Telegram")

    replies = story.talk.replies
    assert max(map(len, replies)) <= 4096
    assert [part.count("```") % 2 for part in replies] == [0] * len(replies)
    assert re.findall(r"^print\(\d+\)$", "\n".join(replies), re.MULTILINE) == lines


# -- invisible -----------------------------------------------------------------


@pytest.mark.xfail(
    reason="Only white space counts as blank, so a text of invisible characters is "
    "posted.",
    strict=True,
    raises=AssertionError,
)
@pytest.mark.parametrize("mode", ["bot", "human"])
@pytest.mark.parametrize("text", INVISIBLE.values(), ids=INVISIBLE)
def test_a_text_of_invisible_characters_is_no_answer(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot, text: str, mode: str
) -> None:
    story = answered(chatwoot_sim, app, chatwoot, text, mode=mode)

    assert story.talk.posted == []
    assert story.endings() == ["declined no_answer"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\U0001f469\u200d\U0001f4bb", id="emoji of two"),
        pytest.param("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", id="Persian"),
        pytest.param("\u200b\u2764\ufe0f", id="emoji behind a zero width space"),
        pytest.param("?", id="one character"),
    ],
)
def test_what_can_be_seen_keeps_its_invisible_characters(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot, text: str
) -> None:
    story = answered(chatwoot_sim, app, chatwoot, text)

    assert story.talk.replies == [text]
