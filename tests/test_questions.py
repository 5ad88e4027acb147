"""Messages that are edited, deleted or too old, beyond the faults that were known."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.apps import recorded
from support.stories import QUESTION, Begin, Thinker

from flask_chatwoot import Post, Turn, after_post, turn_finished
from flask_chatwoot.payloads.conversation import ChatwootMessage
from flask_chatwoot.replies import Message
from flask_chatwoot.simulator import Fault
from flask_chatwoot.turns.changes import says_another

JSON = dict[str, t.Any]

EDITED: t.Final[JSON] = {"content": "One piece"}
"""Some edits have no mark (``app/services/telegram/update_message_service.rb``)."""

DELETED: t.Final[JSON] = {
    "content": "This message was deleted",
    "content_attributes": {"deleted": True},
}

changes = pytest.mark.parametrize(
    ("change", "asked_for"),
    [(EDITED, ["Ten pieces", "One piece"]), (DELETED, ["Ten pieces"])],
    ids=["edited", "deleted"],
)


def answers(asked_for: list[str]) -> list[str]:
    """The reply to the last text, if there is a second one."""
    return [f"You asked: {each}" for each in asked_for[1:]]


# -- edited and deleted ----------------------------------------------------------


@changes
def test_a_kept_answer_is_not_posted_to_what_has_changed(
    begin: Begin, thinker: Thinker, change: JSON, asked_for: list[str]
) -> None:
    story = begin(channel="whatsapp", retry_pause=0.5)
    thinker.answer()
    story.sim.inject(Fault.SERVER_ERROR, endpoint="conversation")  # at the look
    ordered = story.talk.customer_says("Ten pieces")
    story.sim.wait_until(lambda: story.calls("conversation"))
    story.talk.edit(ordered, **change)

    story.rest()
    assert thinker.asked == asked_for
    assert story.talk.replies == answers(asked_for)


@changes
def test_a_change_that_was_not_delivered_is_seen_before_the_post(
    begin: Begin, thinker: Thinker, change: JSON, asked_for: list[str]
) -> None:
    story = begin(channel="whatsapp")

    with story.during(thinker, "Ten pieces") as ordered, story.sim.holding():
        story.talk.edit(ordered, **change)
        thinker.answer()
        story.sim.wait_until(lambda: story.calls("conversation"))

    assert thinker.asked == asked_for
    assert story.talk.replies == answers(asked_for)


def test_a_change_is_seen_in_the_list_if_the_customer_wrote_again(
    begin: Begin, thinker: Thinker
) -> None:
    story = begin(channel="whatsapp")

    with story.during(thinker, "Ten pieces") as ordered, story.sim.holding():
        story.talk.customer_says("Thanks")
        story.talk.edit(ordered, **EDITED)
        thinker.answer()
        story.sim.wait_until(lambda: story.calls("list_messages"))

    assert thinker.asked[:2] == ["Ten pieces", "One piece"]
    assert "You asked: Ten pieces" not in story.talk.replies


@pytest.mark.parametrize("mode", ["bot", "human"])
def test_one_of_several_is_changed_while_the_provider_works(
    begin: Begin, thinker: Thinker, mode: str
) -> None:
    story = begin(channel="whatsapp", mode=mode, burst_window=0.2)
    ordered = story.talk.customer_says("Ten pieces")
    sent = story.talk.customer_says("To Berlin")
    thinker.wait_until_asked()
    story.talk.edit(ordered, **EDITED)
    story.talk.edit(sent, **DELETED)
    story.sim.drain()
    thinker.answer()

    story.rest()
    assert thinker.asked == ["Ten pieces\nTo Berlin", "One piece"]
    assert [each.content for each in story.talk.posted] == ["You asked: One piece"]


def test_a_deleted_question_ends_its_turn_and_hands_nothing_off(
    begin: Begin, app: Flask, thinker: Thinker
) -> None:
    story = begin(kind="bot", channel="whatsapp")

    with recorded(turn_finished, app) as endings:
        with story.during(thinker, delivered=True) as question:
            story.talk.edit(question, **DELETED)

        story.sim.wait_until(lambda: endings)

    assert story.endings() == ["declined deleted"]
    assert (story.talk.notes, story.talk.status) == ([], "pending")
    assert QUESTION not in str(endings[0]["turn"].raw)


def test_an_answer_of_which_a_part_is_posted_goes_on(begin: Begin, app: Flask) -> None:
    texts: list[str] = []

    def reply(text: str) -> list[str]:
        texts.append(text)
        return ["One.", "Two."]

    story = begin(answer=reply, channel="whatsapp")

    def delete(sender: Flask, post: Post, **values: t.Any) -> None:
        if post.content == "One.":
            story.talk.edit(story.talk.messages[0], **EDITED)
            story.sim.drain()

    with after_post.connected_to(delete, sender=app):
        story.asks("Ten pieces")

    assert texts == ["Ten pieces"]
    assert story.talk.replies == ["One.", "Two."]


def test_a_change_that_says_the_same_changes_nothing(
    begin: Begin, thinker: Thinker
) -> None:
    story = begin(channel="whatsapp")

    with story.during(thinker, delivered=True) as question:
        translated = {"translations": {"de": "Wo ist meine Bestellung?"}}
        story.talk.edit(question, content_attributes=translated)

    assert thinker.asked == [QUESTION]
    assert story.refusals.count("updated") == 1


def test_a_turn_that_asks_nothing_else_is_not_repeated_after_an_edit(
    begin: Begin, asked: list[str]
) -> None:
    story = begin(channel="whatsapp")
    story.asks("Ten pieces")
    story.talk.edit(story.talk.messages[0], **EDITED)

    story.rest()
    assert asked == ["Ten pieces"]


@pytest.mark.parametrize("kind", ["account", "bot"])
def test_the_history_has_what_messages_say_by_now(begin: Begin, kind: str) -> None:
    histories: list[list[dict[str, str]]] = []

    def reply(text: str, turn: Turn) -> str:
        histories.append(turn.history())
        return f"Re: {text}"

    story = begin(answer=reply, kind=kind, channel="whatsapp")

    for text in ("One", "Two", "Three"):
        story.asks(text)

    said = {each.content: each for each in story.talk.messages}
    story.talk.edit(said["One"], content="Edited")
    story.talk.edit(said["Two"], **DELETED)
    story.talk.edit(said["Re: Two"], **DELETED)
    story.asks("Four")

    assert [each["content"] for each in histories[-1]] == [
        *("Edited", "Re: One", "Three", "Re: Three")
    ]


@pytest.mark.parametrize(
    ("text", "now", "another"),
    [
        ("One", "Two", True),
        ("One", "one", True),
        ("One\nTwo", "One\\\nTwo\n", False),
        ("One  two", " One two\r\n", False),
    ],
)
def test_a_message_says_another_thing_or_the_same(
    text: str, now: str, another: bool
) -> None:
    message = ChatwootMessage(id=1, text=now)
    assert says_another(Message(1, text), message) is another
