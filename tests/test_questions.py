"""Messages that are edited, deleted or too old, beyond the faults that were known."""

from __future__ import annotations

import logging
import time
import typing as t

import pytest
from flask import Flask
from support.apps import database_of, recorded
from support.stories import ASKED, QUESTION, REPLY, Begin, Story, Thinker

from flask_chatwoot import Chatwoot, HistoryEntry, Post, Turn, after_post, turn_finished
from flask_chatwoot.ownership.attributes import ToldAttributes
from flask_chatwoot.ownership.live import LiveState
from flask_chatwoot.ownership.policy import PolicySettings
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation
from flask_chatwoot.payloads.questions import written_at
from flask_chatwoot.replies import Message
from flask_chatwoot.simulator import Fault
from flask_chatwoot.testing import customer_message, deliver
from flask_chatwoot.turns.changes import says_another
from flask_chatwoot.turns.left import LeftUnanswered

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
        # What is held may join the question that is asked again.
        story.sim.wait_until(lambda: len(thinker.asked) == 2)

    assert thinker.asked[:2] == ["Ten pieces", "One piece"]
    assert "You asked: Ten pieces" not in story.talk.replies


@pytest.mark.parametrize("mode", ["bot", "human"])
def test_one_of_several_is_changed_while_the_provider_works(
    begin: Begin, thinker: Thinker, mode: str
) -> None:
    story = begin(channel="whatsapp", mode=mode, burst_window=1.0)
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


@changes
def test_a_turn_is_not_given_up_for_what_has_changed(
    begin: Begin, change: JSON, asked_for: list[str]
) -> None:
    asked: list[str] = []

    def reply(text: str) -> str:
        asked.append(text)

        if text == "Ten pieces":
            story.talk.edit(story.talk.messages[0], **change)
            story.sim.drain()
            raise RuntimeError

        return f"You asked: {text}"

    story = begin(answer=reply, channel="whatsapp", max_attempts=1)
    story.asks("Ten pieces")

    assert (asked, story.talk.replies) == (asked_for, answers(asked_for))
    assert story.talk.notes == []


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


@pytest.mark.parametrize(
    ("change", "ending", "said"),
    [(EDITED, "replied", ["One piece"]), (DELETED, "declined deleted", [])],
)
@pytest.mark.parametrize("backend", ["thread", "inline"])
def test_a_change_may_be_delivered_before_its_message(
    begin: Begin,
    app: Flask,
    asked: list[str],
    backend: str,
    change: JSON,
    ending: str,
    said: list[str],
) -> None:
    story = begin(kind="bot", version="4.2.0", backend=backend)
    message = customer_message("Ten pieces", conversation_id=story.talk.id)

    for payload in ({**message, "event": "message_updated", **change}, message):
        deliver(app.test_client(), payload)

    assert (story.endings(), asked) == ([ending], said)


@pytest.mark.parametrize("text", [QUESTION, "One piece"])
def test_a_change_tells_the_newest_attributes(
    begin: Begin, app: Flask, thinker: Thinker, text: str
) -> None:
    """Chatwoot 4.2 does not deliver changes of attributes."""
    story = begin(kind="bot", version="4.2.0")

    with story.during(thinker, delivered=True) as question:
        story.talk.set_attribute("order", 1)
        story.talk.edit(question, content=text)
        story.sim.drain()
        told = ToldAttributes(database_of(app)).newest(Conversation(story.talk.id))

    assert told.custom_attributes["order"] == 1


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
    histories: list[list[HistoryEntry]] = []

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


def test_edits_without_end_hand_the_conversation_off(begin: Begin) -> None:
    asked: list[str] = []

    def reply(text: str) -> str:
        asked.append(text)
        story.talk.edit(story.talk.messages[0], content=f"{len(asked)} pieces")
        story.sim.drain()
        return REPLY

    story = begin(answer=reply, channel="whatsapp", max_turns_per_hour=3)
    story.asks("Ten pieces")

    assert len(asked) == 3
    assert story.endings() == ["handed_off too_many_turns"]
    assert story.talk.replies == []


# -- too old ---------------------------------------------------------------------

DAY: t.Final = 86_400.0
NEW: t.Final = 1_795_000_000.0
OLD: t.Final = 1_790_000_000.0
NO_TIMES: t.Final[list[t.Any]] = [
    *(0, -5, 7, "", "yesterday", "7" * 50, [OLD], True, None, {}),
]


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({}, NEW),
        ({"external_created_at": OLD}, OLD),
        ({"external_created_at": int(OLD)}, OLD),
        ({"external_created_at": f"{OLD:.0f}"}, OLD),
        ({"external_created_at": OLD * 1000}, OLD),
        ({"external_created_at": f"{OLD * 1000:.0f}"}, OLD),
        ({"external_created_at": NEW + 5}, NEW),
        ({"email": {"date": "2026-09-21T22:13:20.000+08:00"}}, OLD),
        ({"external_created_at": NEW - 5, "email": {"date": OLD}}, OLD),
        *[({"external_created_at": value}, NEW) for value in NO_TIMES],
        ({"email": {"date": "1970-01-01T00:00:00Z"}}, NEW),
        ({"email": "old"}, NEW),
    ],
)
def test_the_oldest_time_of_a_message_counts(
    attributes: dict[str, t.Any], expected: float
) -> None:
    assert written_at(NEW, attributes) == expected


def old_row() -> JSON:
    return {"created_at": time.time() - 7200}


def old_import() -> JSON:
    return {"content_attributes": {"external_created_at": time.time() - 7200}}


def deliver_old(
    app: Flask,
    story: Story,
    id: int,
    message: t.Callable[[], JSON] = old_row,
    **fields: t.Any,
) -> t.Any:
    """Deliver a message that is two hours old; the answer."""
    payload = customer_message(
        "Old", id=id, conversation_id=story.talk.id, message=message(), **fields
    )

    return deliver(app.test_client(), payload).json


TOO_OLD: t.Final = {"status": "ignored", "reason": "too_old"}


@pytest.mark.parametrize(
    ("message", "receipt"),
    [(old_import, TOO_OLD), (old_row, {"status": "accepted"})],
)
def test_an_import_of_many_is_one_line_and_does_not_join_a_question(
    begin: Begin,
    app: Flask,
    thinker: Thinker,
    caplog: pytest.LogCaptureFixture,
    message: t.Callable[[], JSON],
    receipt: JSON,
) -> None:
    """Chatwoot's own times need not show how old a message is."""
    story = begin(channel="whatsapp")

    with story.during(thinker, delivered=True):
        for number in range(5):
            answer = deliver_old(app, story, 500 + number, message, channel="whatsapp")
            assert answer == receipt

        story.talk.customer_says("And when?")

    assert thinker.asked == [QUESTION, "And when?"]
    lines = [each for each in caplog.records if "MAX_AGE" in each.getMessage()]
    assert len(lines) == 1


def test_what_was_counted_is_logged_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    left = LeftUnanswered()

    for _ in range(5):
        left.add()

    left.report(last=True)
    left.report(last=True)
    assert [each.getMessage()[-2:] for each in caplog.records] == [" 1", " 4"]


def test_many_old_messages_in_a_pending_conversation_are_one_note(
    begin: Begin, app: Flask, asked: list[str]
) -> None:
    story = begin(kind="bot")

    for number in range(3):
        deliver_old(app, story, 500 + number, kind="bot")

    deliver_old(app, story, 500, kind="bot")

    story.rest()
    assert (asked, len(story.talk.notes), story.talk.status) == ([], 1, "open")


@pytest.mark.usefixtures("asked")
def test_a_late_repeat_of_an_answered_message_is_a_duplicate(
    begin: Begin, app: Flask
) -> None:
    story = begin()
    story.asks()
    answer = deliver_old(app, story, story.talk.messages[0].id)

    assert answer == {"status": "duplicate"}


@pytest.fixture
def later(app: Flask, monkeypatch: pytest.MonkeyPatch) -> t.Callable[[], None]:
    """Let 40 seconds pass, by all clocks."""

    def pass_by() -> None:
        database_of(app).clock = lambda: time.time() + 40
        monkeypatch.setattr(LiveState, "time", lambda _: time.time() + 40)

    return pass_by


SHORT: t.Final[JSON] = {"policy": PolicySettings(max_age=30), "lease": 90.0}


@pytest.mark.parametrize("kind", ["account", "bot"])
def test_a_message_is_not_old_because_only_our_clock_says_so(
    begin: Begin, app: Flask, asked: list[str], kind: str
) -> None:
    story = begin(kind=kind, **SHORT)
    database_of(app).clock = lambda: time.time() + 40
    story.asks()

    assert asked == [QUESTION]
    assert (story.talk.replies, story.endings()) == ([REPLY], ["replied"])


@pytest.mark.parametrize("status", ["open", "pending"])
def test_what_came_by_a_clock_that_was_ahead_is_asked(
    begin: Begin,
    app: Flask,
    asked: list[str],
    monkeypatch: pytest.MonkeyPatch,
    status: str,
) -> None:
    story = begin(kind="bot", status=status)
    ahead = time.time() + DAY - time.monotonic()
    database_of(app).clock = lambda: ahead + time.monotonic()
    new = customer_message("New", conversation_id=story.talk.id, status=status)

    with monkeypatch.context() as patch:
        patch.setattr(time, "time", database_of(app).clock)
        deliver(app.test_client(), new)

    story.rest()
    assert asked == ["New"]


def test_a_question_that_has_waited_too_long_is_not_asked(
    begin: Begin,
    later: t.Callable[[], None],
    asked: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    story = begin(**SHORT)
    later()

    with caplog.at_level(logging.WARNING):
        story.goes(ASKED)

    assert (story.endings(), asked) == (["declined too_old"], [])
    assert "older than CHATWOOT_MAX_AGE: 1" in caplog.text


@pytest.mark.parametrize("on_silence", ["open", "leave"])
def test_a_pending_conversation_that_has_waited_too_long_is_handed_off(
    begin: Begin, later: t.Callable[[], None], asked: list[str], on_silence: str
) -> None:
    story = begin(kind="bot", on_silence=on_silence, **SHORT)
    later()
    story.asks()

    assert (story.endings(), asked) == (["handed_off too_old"], [])
    assert (len(story.talk.notes), story.talk.status) == (1, "open")


def test_an_answer_that_comes_too_late_is_a_note(
    begin: Begin, later: t.Callable[[], None], chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def slow(text: str) -> str:
        later()
        return REPLY

    story = begin(**SHORT)
    story.asks()

    assert (story.talk.replies, story.talk.notes) == ([], [REPLY])
    assert story.endings() == ["noted too_old"]
