from __future__ import annotations

import contextlib
import logging
import typing as t
from pathlib import Path

import pytest
import responses
from support.apps import see
from support.queue import open_store
from support.waiting import Clock

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.ownership.state import resolved
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.queue.store import Store
from flask_chatwoot.queue.transcript import TranscriptEntry
from flask_chatwoot.simulator import Fault, Simulator
from flask_chatwoot.simulator.payloads import MessageType
from flask_chatwoot.simulator.state import Token
from flask_chatwoot.simulator.talk import Talk
from flask_chatwoot.turns.history import History

Entries = list[dict[str, str]]


class Past(t.NamedTuple):
    """What is known of earlier messages, and where it is read."""

    history: History
    store: Store
    ownership: OwnershipStore

    def resolve(self, conversation_id: int, newest: int) -> None:
        see(self.ownership, conversation_id, resolved, newest)
        self.store.transcript.forget(conversation_id, newest=newest)

    def read(
        self,
        talk: Talk,
        *,
        before: int | None = None,
        limit: int = 20,
        characters: int = 20_000,
    ) -> Entries:
        newest = talk.messages[-1].id if before is None else before

        return self.history.read(
            talk.id, before=newest, limit=limit, characters=characters
        )


PastFactory = t.Callable[..., Past]


@pytest.fixture
def make_past(tmp_path: Path, clock: Clock) -> t.Iterator[PastFactory]:
    with contextlib.ExitStack() as stack:

        def make(sim: Simulator, whose: Token = "user") -> Past:
            key = sim.bot_token if whose == "bot" else sim.user_token
            store = open_store(tmp_path / "chatwoot.sqlite3", clock)
            stack.callback(store.database.close)
            ownership = OwnershipStore(store.database)
            history = History(
                reader=ChatwootClient(sim.url, 1, key),
                ownership=ownership,
                transcript=store.transcript,
            )

            return Past(history, store, ownership)

        yield make


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    with Simulator(message_limit=1000) as sim:
        yield sim


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def lists(sim: Simulator) -> int:
    return sum(call.endpoint == "list_messages" for call in sim.calls)


# From Chatwoot


def test_a_conversation_is_told_oldest_first(
    make_past: PastFactory, sim: Simulator
) -> None:
    talk = sim.conversation()
    talk.customer_says("Hello")
    talk.operator_says("Hi, how can I help?")
    talk.customer_says("Where is it?")
    talk.add(sim.bot, "On its way.", type=MessageType.OUTGOING)
    talk.customer_says("Thank you. When?")

    assert make_past(sim).read(talk) == [
        user("Hello"),
        assistant("Hi, how can I help?"),
        user("Where is it?"),
        assistant("On its way."),
    ]


def test_only_what_was_said_is_told(make_past: PastFactory, sim: Simulator) -> None:
    talk = sim.conversation()
    talk.customer_says("Hello")
    talk.operator_says("A note", private=True)
    talk.add(None, "A greeting", type=MessageType.TEMPLATE)
    talk.add(None, "Olga was assigned", type=MessageType.ACTIVITY)
    talk.operator_says("Taken back", content_attributes={"deleted": True})
    talk.operator_says(" ")
    talk.customer_says(None, attachments=[("a.png", b"x", "image/png")])
    talk.automation_says("We are closed.")
    talk.customer_says("Oh")

    assert make_past(sim).read(talk) == [user("Hello"), assistant("We are closed.")]


def test_the_messages_of_the_turn_are_left_out(
    make_past: PastFactory, sim: Simulator
) -> None:
    talk = sim.conversation()
    talk.customer_says("Hello")
    first = talk.customer_says("Where")
    talk.customer_says("is it?")

    assert make_past(sim).read(talk, before=first.id) == [user("Hello")]


def test_an_email_is_told_without_what_it_quotes(
    make_past: PastFactory, sim: Simulator
) -> None:
    talk = sim.conversation(channel="Channel::Email")
    talk.customer_mails("Where is it?", quoted="Dear Ada, thank you")
    talk.customer_says("Next")

    assert make_past(sim).read(talk) == [user("Where is it?")]


@pytest.mark.parametrize(
    ("count", "limit", "pages"),
    [(19, 20, 1), (20, 20, 1), (21, 20, 1), (45, 40, 2), (45, 45, 3), (45, 200, 3)],
)
def test_more_than_a_page_is_read(
    make_past: PastFactory, sim: Simulator, count: int, limit: int, pages: int
) -> None:
    talk = sim.conversation()

    for number in range(count):
        talk.customer_says(f"Message {number}")

    newest = talk.customer_says("Now")
    entries = make_past(sim).read(talk, before=newest.id, limit=limit)

    kept = range(max(0, count - limit), count)
    assert entries == [user(f"Message {number}") for number in kept]
    assert lists(sim) == pages


def test_pages_full_of_notes_are_read_past(
    make_past: PastFactory, sim: Simulator
) -> None:
    talk = sim.conversation()
    talk.customer_says("Hello")

    for number in range(50):
        talk.operator_says(f"Note {number}", private=True)

    talk.customer_says("Still there?")

    assert make_past(sim).read(talk, limit=1) == [user("Hello")]


def test_a_conversation_of_nothing_but_notes_does_not_ask_for_ever(
    make_past: PastFactory, sim: Simulator
) -> None:
    talk = sim.conversation()

    for number in range(700):
        talk.operator_says(f"Note {number}", private=True)

    assert make_past(sim).read(talk) == []
    assert lists(sim) == 25


@pytest.mark.parametrize("limit", [0, -1, -100])
def test_a_limit_of_none_is_none(
    make_past: PastFactory, sim: Simulator, limit: int
) -> None:
    talk = sim.conversation()
    talk.customer_says("Hello")
    talk.customer_says("Now")

    assert make_past(sim).read(talk, limit=limit) == []


@pytest.mark.parametrize(
    ("characters", "kept"),
    [(100, 3), (15, 3), (14, 2), (10, 2), (9, 1), (5, 1), (4, 0), (0, 0), (-1, 0)],
)
def test_the_newest_that_fit_are_kept(
    make_past: PastFactory, sim: Simulator, characters: int, kept: int
) -> None:
    talk = sim.conversation()

    for letter in "abc":
        talk.customer_says(letter * 5)

    talk.customer_says("Now")

    entries = make_past(sim).read(talk, characters=characters)

    letters = "abc"[3 - kept :]
    assert entries == [user(letter * 5) for letter in letters]


def test_a_gap_is_not_told_for_the_sake_of_something_short(
    make_past: PastFactory, sim: Simulator
) -> None:
    talk = sim.conversation()

    for text in ("short", "long" * 100, "short too", "Now"):
        talk.customer_says(text)

    assert make_past(sim).read(talk, characters=100) == [user("short too")]


def test_what_was_said_before_the_last_resolve_is_over(
    make_past: PastFactory, sim: Simulator
) -> None:
    past = make_past(sim)
    talk = sim.conversation()

    for number in range(25):
        talk.customer_says(f"Old {number}")

    past.resolve(talk.id, talk.messages[-1].id)
    talk.customer_says("New")
    talk.customer_says("Now")

    assert past.read(talk) == [user("New")]
    assert lists(sim) == 1


def test_the_resolve_of_another_conversation_cuts_nothing(
    make_past: PastFactory, sim: Simulator
) -> None:
    past = make_past(sim)
    talk, other = sim.conversation(), sim.conversation()
    talk.customer_says("Hello")
    talk.customer_says("Now")
    past.resolve(other.id, talk.messages[-1].id)

    assert past.read(talk) == [user("Hello")]


@pytest.mark.parametrize(
    "fault", [Fault.SERVER_ERROR, Fault.CUT_BEFORE, Fault.UNAUTHORIZED, Fault.NOT_FOUND]
)
def test_without_an_answer_there_is_no_history_and_a_line_in_the_log(
    make_past: PastFactory,
    sim: Simulator,
    fault: Fault,
    caplog: pytest.LogCaptureFixture,
) -> None:
    talk = sim.conversation()
    talk.customer_says("Secret words")
    talk.customer_says("Now")
    sim.inject(fault, endpoint="list_messages")

    assert make_past(sim).read(talk) == []
    assert "there is no history" in caplog.text
    assert "Secret words" not in caplog.text


def test_half_an_answer_is_no_history(make_past: PastFactory, sim: Simulator) -> None:
    talk = sim.conversation()

    for number in range(30):
        talk.customer_says(f"Message {number}")

    past = make_past(sim)
    sim.inject(Fault.SERVER_ERROR, endpoint="list_messages")

    assert past.read(talk, limit=30) == []


@pytest.mark.parametrize(
    "strange",
    [
        {},
        {"id": 5, "message_type": 9, "content": "y"},
        {"id": 5, "message_type": [0], "content": "y"},
        {"id": 5, "message_type": {"a": 1}, "content": "y"},
        {"id": 5, "message_type": 0, "content": ["y"]},
        {"id": 5, "message_type": 0, "content": "y", "private": "yes"},
    ],
    ids=repr,
)
def test_a_strange_message_is_not_told(
    make_past: PastFactory, sim: Simulator, strange: t.Any
) -> None:
    hello = {"id": 6, "message_type": 0, "content": "Hello"}
    client = ChatwootClient("https://chatwoot.test", 1, "token")
    past = make_past(sim)
    history = History(
        reader=client, ownership=past.ownership, transcript=past.store.transcript
    )

    with responses.RequestsMock() as mock:
        mock.get(
            "https://chatwoot.test/api/v1/accounts/1/conversations/42/messages",
            json={"payload": [strange, hello]},
        )
        entries = history.read(42, before=9, limit=20, characters=100)

    assert entries == [user("Hello")]


# From what our own webhook has seen


def test_a_bots_token_makes_the_webhook_remember(
    make_past: PastFactory, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    past = make_past(sim, "bot")
    talk = sim.conversation()

    with caplog.at_level(logging.INFO):
        past.history.learn(talk.id)
        past.history.learn(talk.id)

    assert past.store.transcript.is_kept()
    assert lists(sim) == 1
    assert caplog.text.count("CHATWOOT_USER_ACCESS_TOKEN") == 1


def test_a_users_token_keeps_nothing(make_past: PastFactory, sim: Simulator) -> None:
    past = make_past(sim)
    talk = sim.conversation()

    past.history.learn(talk.id)
    past.history.keep(talk.id, [TranscriptEntry(1, "user", "Hello")])

    assert not past.store.transcript.is_kept()
    assert past.store.transcript.read(talk.id, before=100, limit=10) == []


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.CUT_BEFORE])
def test_a_failure_does_not_tell_what_the_token_may(
    make_past: PastFactory, sim: Simulator, fault: Fault
) -> None:
    past = make_past(sim, "bot")
    talk = sim.conversation()
    sim.inject(fault, endpoint="list_messages")

    past.history.learn(talk.id)
    assert not past.store.transcript.is_kept()

    past.history.learn(talk.id)
    assert past.store.transcript.is_kept()


def remembered(past: Past, talk: Talk, *said: TranscriptEntry) -> None:
    past.store.transcript.set_kept(True)
    past.history.keep(talk.id, said)


def test_what_was_seen_is_told_oldest_first_and_once(
    make_past: PastFactory, sim: Simulator
) -> None:
    past = make_past(sim, "bot")
    talk, other = sim.conversation(), sim.conversation()
    remembered(
        past,
        talk,
        TranscriptEntry(2, "assistant", "Hi"),
        TranscriptEntry(1, "user", "Hello"),
    )
    remembered(
        past, talk, TranscriptEntry(1, "user", "Hello"), TranscriptEntry(3, "user", "")
    )
    remembered(past, other, TranscriptEntry(4, "user", "Elsewhere"))
    remembered(past, talk, TranscriptEntry(9, "user", "Now"))

    assert past.read(talk, before=9) == [user("Hello"), assistant("Hi")]
    assert past.read(talk, before=9, limit=1) == [assistant("Hi")]
    assert past.read(talk, before=9, characters=3) == [assistant("Hi")]
    assert lists(sim) == 0


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_of_none_is_none_here_too(
    make_past: PastFactory, sim: Simulator, limit: int
) -> None:
    past = make_past(sim, "bot")
    talk = sim.conversation()
    remembered(past, talk, TranscriptEntry(1, "user", "Hello"))

    assert past.read(talk, before=9, limit=limit) == []


def test_what_was_seen_before_a_resolve_is_forgotten(
    make_past: PastFactory, sim: Simulator
) -> None:
    past = make_past(sim, "bot")
    talk = sim.conversation()
    remembered(past, talk, TranscriptEntry(1, "user", "Old"))
    past.resolve(talk.id, 1)
    remembered(past, talk, TranscriptEntry(2, "user", "New"))

    assert past.read(talk, before=9) == [user("New")]


def test_a_hundred_messages_are_kept(make_past: PastFactory, sim: Simulator) -> None:
    past = make_past(sim, "bot")
    talk = sim.conversation()
    remembered(past, talk, *(TranscriptEntry(n, "user", f"{n}") for n in range(1, 151)))

    entries = past.read(talk, before=999, limit=500)

    assert entries == [user(f"{n}") for n in range(51, 151)]


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\0", "Привет 👩‍🚀"])
def test_whatever_was_said_can_be_kept(
    make_past: PastFactory, sim: Simulator, text: str
) -> None:
    past = make_past(sim, "bot")
    talk = sim.conversation()

    remembered(
        past,
        talk,
        TranscriptEntry(1, "user", text),
        TranscriptEntry(2, "user", "Hello"),
    )

    assert past.read(talk, before=9)[-1] == user("Hello")


def test_no_text_is_shown() -> None:
    assert "Secret" not in repr(TranscriptEntry(1, "user", "Secret words"))
