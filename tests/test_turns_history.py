"""What is read of the earlier messages of a conversation."""

from __future__ import annotations

import logging
import typing as t
from unittest.mock import Mock

import pytest
import responses
from support.apps import see
from support.chatwoot import BASE_URL

from flask_chatwoot import HistoryEntry
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import TransientError
from flask_chatwoot.ownership.state import resolved
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.queue.store import Store
from flask_chatwoot.queue.transcript import TranscriptEntry
from flask_chatwoot.simulator import Fault, Simulator
from flask_chatwoot.simulator.payloads import MessageType
from flask_chatwoot.turns.history import History

Entries = list[HistoryEntry]
Entry = TranscriptEntry


class Past:
    """A conversation, and the history of it that a user's token may read.

    :ivar bot: The history that a bot's token may read.
    """

    def __init__(self, sim: Simulator, store: Store) -> None:
        self.sim = sim
        self.talk = sim.conversation()
        self.store = store
        self.ownership = OwnershipStore(store.database)
        self.user = self.history_of(ChatwootClient(sim.url, 1, sim.user_token))
        self.bot = self.history_of(ChatwootClient(sim.url, 1, sim.bot_token))

    def history_of(self, reader: ChatwootClient) -> History:
        return History(
            reader=reader, ownership=self.ownership, transcript=self.store.transcript
        )

    def customer_says(self, *texts: str) -> None:
        for text in texts:
            self.talk.customer_says(text)

    def keep(self, *entries: Entry, id: int | None = None) -> None:
        """Keep entries, as a bot's token makes the webhook do."""
        self.store.transcript.set_kept(True)
        self.bot.keep(self.talk.id if id is None else id, entries)

    def resolve(self, conversation_id: int, newest: int) -> None:
        see(self.ownership, conversation_id, resolved, newest)
        self.store.transcript.forget(conversation_id, newest=newest)

    def read(
        self, *, before: int | None = None, limit: int = 20, characters: int = 20_000
    ) -> Entries:
        newest = self.talk.messages[-1].id if before is None else before

        return self.user.read(
            self.talk.id, before=newest, limit=limit, characters=characters
        )

    @property
    def lists(self) -> int:
        """How often messages were listed."""
        return sum(call.endpoint == "list_messages" for call in self.sim.calls)


@pytest.fixture
def past(store: Store) -> t.Iterator[Past]:
    with Simulator(message_limit=1000) as sim:
        yield Past(sim, store)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


# From Chatwoot


def test_a_conversation_is_read_oldest_first(past: Past) -> None:
    past.customer_says("Hello")
    past.talk.operator_says("Hi, how can I help?")
    past.customer_says("Where is it?")
    past.talk.add(past.sim.bot, "On its way.", type=MessageType.OUTGOING)
    past.customer_says("Thank you. When?")

    assert past.read() == [
        user("Hello"),
        assistant("Hi, how can I help?"),
        user("Where is it?"),
        assistant("On its way."),
    ]


def test_only_public_messages_with_text_or_files_are_read(past: Past) -> None:
    past.customer_says("Hello")
    past.talk.operator_says("A note", private=True)
    past.talk.add(None, "A greeting", type=MessageType.TEMPLATE)
    past.talk.add(None, "Olga was assigned", type=MessageType.ACTIVITY)
    past.talk.operator_says("Taken back", content_attributes={"deleted": True})
    past.talk.operator_says(" ")
    past.talk.customer_says(None, attachments=[("a.png", b"x", "image/png")])
    past.talk.automation_says("We are closed.")
    past.customer_says("Oh")

    said = [user("Hello"), user("[image: a.png]"), assistant("We are closed.")]
    assert past.read() == said


def test_the_messages_of_the_turn_are_left_out(past: Past) -> None:
    past.customer_says("Hello")
    first = past.talk.customer_says("Where")
    past.customer_says("is it?")

    assert past.read(before=first.id) == [user("Hello")]


def test_an_email_is_read_without_what_it_quotes(past: Past) -> None:
    past.talk = past.sim.conversation(channel="Channel::Email")
    past.talk.customer_mails("Where is it?", quoted="Dear Ada, thank you")
    past.customer_says("Next")

    assert past.read() == [user("Where is it?")]


@pytest.mark.parametrize(
    ("count", "limit", "pages"),
    [(19, 20, 1), (21, 20, 1), (45, 40, 2), (45, 45, 3), (45, 200, 3)],
)
def test_several_pages_are_read(past: Past, count: int, limit: int, pages: int) -> None:
    past.customer_says(*(f"Message {number}" for number in range(count)), "Now")

    kept = range(max(0, count - limit), count)
    assert past.read(limit=limit) == [user(f"Message {number}") for number in kept]
    assert past.lists == pages


@pytest.mark.parametrize(
    ("notes", "found", "pages"),
    [(50, [user("Hello")], 3), (700, [], 25)],
    ids=["they are found", "the search ends"],
)
def test_messages_behind_pages_of_notes_are_read(
    past: Past, notes: int, found: Entries, pages: int
) -> None:
    past.customer_says("Hello")

    for number in range(notes):
        past.talk.operator_says(f"Note {number}", private=True)

    past.customer_says("Still there?")
    assert (past.read(limit=1), past.lists) == (found, pages)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_returns_none(past: Past, limit: int) -> None:
    past.customer_says("Hello", "Now")
    assert past.read(limit=limit) == []

    past.keep(Entry(1, "user", "Hello"))
    assert past.read(before=9, limit=limit) == []


@pytest.mark.parametrize(
    ("characters", "kept"),
    [(15, 3), (14, 2), (10, 2), (9, 1), (4, 0), (-1, 0)],
)
def test_the_newest_that_fit_are_kept(past: Past, characters: int, kept: int) -> None:
    past.customer_says("aaaaa", "bbbbb", "ccccc", "Now")
    entries = [user("aaaaa"), user("bbbbb"), user("ccccc")]
    assert past.read(characters=characters) == entries[3 - kept :]


def test_a_short_message_before_one_that_is_too_long_is_left_out(past: Past) -> None:
    past.customer_says("short", "long" * 100, "short too", "Now")
    assert past.read(characters=100) == [user("short too")]


def test_messages_before_the_last_resolve_are_left_out(past: Past) -> None:
    past.customer_says(*(f"Old {number}" for number in range(25)))
    past.resolve(past.talk.id, past.talk.messages[-1].id)
    past.customer_says("New", "Now")

    assert (past.read(), past.lists) == ([user("New")], 1)


def test_the_resolve_of_another_conversation_has_no_effect(past: Past) -> None:
    other = past.sim.conversation()
    past.customer_says("Hello", "Now")
    past.resolve(other.id, past.talk.messages[-1].id)

    assert past.read() == [user("Hello")]


@pytest.mark.parametrize(
    "fault", [Fault.SERVER_ERROR, Fault.CUT_BEFORE, Fault.UNAUTHORIZED]
)
def test_without_an_answer_there_is_no_history_and_a_line_in_the_log(
    past: Past, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    past.customer_says("Secret words", "Now")
    past.sim.inject(fault, endpoint="list_messages")

    assert past.read() == []
    assert "there is no history" in caplog.text
    assert "Secret words" not in caplog.text


def test_if_the_second_page_cannot_be_read_there_is_no_history(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.customer_says(*(f"Message {number}" for number in range(30)))
    reader = past.user.reader
    error = TransientError("no.", endpoint="GET /x", status=500, retry_after=None)
    pages = Mock(side_effect=[reader.messages(past.talk.id), error])
    monkeypatch.setattr(reader, "messages", pages)

    assert past.read(limit=30) == []
    assert pages.call_count == 2


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"id": 5, "message_type": 9, "content": "y"},
        {"id": 5, "message_type": [0], "content": "y"},
        {"id": 5, "message_type": 0, "content": ["y"]},
        {"id": 5, "message_type": 0, "content": "y", "private": "yes"},
    ],
    ids=repr,
)
def test_a_strange_message_is_left_out(past: Past, strange: t.Any) -> None:
    hello = {"id": 6, "message_type": 0, "content": "Hello"}
    history = past.history_of(ChatwootClient(BASE_URL, 1, "token"))
    url = f"{BASE_URL}/api/v1/accounts/1/conversations/42/messages"

    with responses.RequestsMock() as mock:
        mock.get(url, json={"payload": [strange, hello]})
        entries = history.read(42, before=9, limit=20, characters=100)

    assert entries == [user("Hello")]


# From what the webhook has received


def test_with_a_bots_token_the_webhook_keeps_messages(
    past: Past, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="flask_chatwoot"):
        past.bot.learn(past.talk.id)
        past.bot.learn(past.talk.id)

    assert (past.store.transcript.is_kept(), past.lists) == (True, 1)
    assert caplog.text.count("CHATWOOT_USER_ACCESS_TOKEN") == 1


def test_a_users_token_keeps_nothing(past: Past) -> None:
    past.user.learn(past.talk.id)
    past.user.keep(past.talk.id, [Entry(1, "user", "Hello")])

    assert not past.store.transcript.is_kept()
    assert past.store.transcript.read(past.talk.id, before=100, limit=10) == []


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.CUT_BEFORE])
def test_a_failure_does_not_decide_what_is_kept(past: Past, fault: Fault) -> None:
    past.sim.inject(fault, endpoint="list_messages")

    past.bot.learn(past.talk.id)
    assert not past.store.transcript.is_kept()

    past.bot.learn(past.talk.id)
    assert past.store.transcript.is_kept()


def test_kept_messages_are_read_oldest_first_and_once(past: Past) -> None:
    other = past.sim.conversation()
    past.keep(Entry(2, "assistant", "Hi"), Entry(1, "user", "Hello"))
    past.keep(Entry(1, "user", "Hello"), Entry(3, "user", ""))
    past.keep(Entry(4, "user", "Elsewhere"), id=other.id)
    past.keep(Entry(9, "user", "Now"))

    assert past.read(before=9) == [user("Hello"), assistant("Hi")]
    assert past.read(before=9, limit=1) == [assistant("Hi")]
    assert past.read(before=9, characters=3) == [assistant("Hi")]
    assert past.lists == 0


def test_messages_kept_before_a_resolve_are_deleted(past: Past) -> None:
    past.keep(Entry(1, "user", "Old"))
    past.resolve(past.talk.id, 1)
    past.keep(Entry(2, "user", "New"))

    assert past.read(before=9) == [user("New")]


def test_a_hundred_messages_are_kept(past: Past) -> None:
    past.keep(*(Entry(n, "user", f"{n}") for n in range(1, 151)))
    assert past.read(before=999, limit=500) == [user(f"{n}") for n in range(51, 151)]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\0", "Привет 👩‍🚀"])
def test_every_text_can_be_kept(past: Past, text: str) -> None:
    past.keep(Entry(1, "user", text), Entry(2, "user", "Hello"))
    assert past.read(before=9)[-1] == user("Hello")


def test_the_repr_of_an_entry_has_no_text() -> None:
    assert "Secret" not in repr(Entry(1, "user", "Secret words"))
