"""What was said, for bots that may not list messages."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from support.queue import DAY, Store, open_store
from support.waiting import Clock

from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.queue.inspection import KEEP
from flask_chatwoot.queue.transcript import Transcript, TranscriptEntry


@pytest.fixture
def transcript(store: Store) -> Transcript:
    return store.transcript


def said(*message_ids: int) -> list[TranscriptEntry]:
    return [TranscriptEntry(id, "user", f"text of {id}") for id in message_ids]


def ids(transcript: Transcript, conversation_id: int = 42) -> list[int]:
    found = transcript.read(conversation_id, before=None, limit=1000)
    return [each.message_id for each in found]


def test_whether_messages_are_kept_is_stored_in_the_file(
    transcript: Transcript, neighbour: Store, path: str, clock: Clock
) -> None:
    other = open_store(path, clock)
    assert not transcript.is_kept()
    transcript.set_kept(True)
    transcript.set_kept(True)

    assert transcript.is_kept()
    assert other.transcript.is_kept()
    assert not neighbour.transcript.is_kept()
    other.transcript.set_kept(False)
    assert not transcript.is_kept()
    other.close()


def test_messages_are_read_oldest_first_and_once(transcript: Transcript) -> None:
    first = TranscriptEntry(9001, "user", "Hallo")
    second = TranscriptEntry(9002, "assistant", "Ja — 'sofort'.")
    third = TranscriptEntry(9003, "user", "Und?")
    transcript.add(42, [second, first])
    transcript.add(42, [TranscriptEntry(9001, "user", "another"), third])

    assert transcript.read(42, before=9004, limit=20) == [first, second, third]


@pytest.mark.parametrize(
    ("before", "limit", "expected"),
    [
        (9005, 20, [9001, 9002, 9003, 9004]),
        (9002, 20, [9001]),
        (9001, 20, []),
        (9005, 2, [9003, 9004]),
        (9004, 1, [9003]),
        (9005, 0, []),
    ],
)
def test_the_newest_messages_older_than_one_are_read(
    transcript: Transcript, before: int, limit: int, expected: list[int]
) -> None:
    transcript.add(42, said(9001, 9002, 9003, 9004))
    found = transcript.read(42, before=before, limit=limit)
    assert [each.message_id for each in found] == expected


def test_a_picked_choice_follows_its_question(transcript: Transcript) -> None:
    question = TranscriptEntry(9001, "assistant", "Which one?")
    entries = [question, TranscriptEntry(9001, "user", "June")]
    transcript.add(42, reversed(entries))

    assert transcript.read(42, before=None, limit=20) == entries


def test_a_hundred_messages_of_each_conversation_are_kept(
    transcript: Transcript, neighbour: Store
) -> None:
    transcript.add(43, said(*range(1, 51)))
    neighbour.transcript.add(42, said(*range(1, 101)))

    for message_id in range(1, 121):
        transcript.add(42, said(message_id))

    assert ids(transcript) == list(range(21, 121))
    assert ids(transcript, 43) == list(range(1, 51))
    assert ids(neighbour.transcript) == list(range(1, 101))


@pytest.mark.parametrize(
    ("batches", "kept"),
    [
        ([range(200, 300), range(1, 150)], range(200, 300)),
        ([range(1, 251)], range(151, 251)),
        ([[]], []),
    ],
    ids=["older ones come late", "more than a hundred at once", "none"],
)
def test_the_hundred_newest_messages_are_kept(
    transcript: Transcript, batches: list[t.Iterable[int]], kept: t.Iterable[int]
) -> None:
    for batch in batches:
        transcript.add(42, iter(said(*batch)))

    assert ids(transcript) == list(kept)


@pytest.mark.parametrize(("newest", "left"), [(9001, [9002]), (9002, []), (0, [])])
def test_what_was_said_until_a_resolve_is_forgotten_with_it(
    store: Store, neighbour: Store, newest: int, left: list[int]
) -> None:
    store.transcript.add(42, said(9001, 9002))
    store.transcript.add(43, said(9003))
    neighbour.transcript.add(42, said(9001))
    store.transcript.forget(42, newest=newest)

    assert ids(store.transcript) == left
    assert ids(store.transcript, 43) == [9003]
    assert ids(neighbour.transcript) == [9001]


def test_forgetting_joins_a_transaction(store: Store) -> None:
    store.transcript.add(42, said(9001))

    with store.database.transaction() as tx:
        store.transcript.forget(42, newest=0, tx=tx)
        tx.execute("ROLLBACK")
        tx.execute("BEGIN")

    assert ids(store.transcript) == [9001]


def test_no_representation_shows_what_was_said() -> None:
    assert repr(said(9001)) == "[<TranscriptEntry 9001>]"


def test_forgotten_text_is_not_left_in_the_file(store: Store, path: str) -> None:
    text = "a word of Ada Lovelace" * 100
    store.transcript.add(42, [TranscriptEntry(9001, "user", text)])
    store.transcript.forget(42, newest=9001)
    store.close()

    found = b"".join(
        each.read_bytes() for each in Path(path).parent.rglob("*") if each.is_file()
    )
    assert b"Lovelace" not in found


def test_what_was_said_long_ago_is_pruned(transcript: Transcript, clock: Clock) -> None:
    transcript.set_kept(True)
    transcript.add(42, said(9001))
    clock.advance(DAY)
    transcript.add(42, said(9002))
    clock.advance(KEEP - DAY)
    transcript.prune(KEEP)
    assert ids(transcript) == [9001, 9002]

    clock.advance(1)
    transcript.prune(KEEP)
    assert ids(transcript) == [9002]

    assert transcript.prune(-1) == 1
    assert transcript.is_kept()


def test_only_messages_of_this_account_are_pruned(
    store: Store, neighbour: Store, clock: Clock
) -> None:
    neighbour.transcript.add(42, said(9001))
    clock.advance(2 * KEEP)

    assert store.transcript.prune(KEEP) == 0
    assert neighbour.transcript.prune(KEEP) == 1


CALLS: dict[str, t.Callable[[Transcript], t.Any]] = {
    "is_kept": lambda transcript: transcript.is_kept(),
    "set_kept": lambda transcript: transcript.set_kept(True),
    "add": lambda transcript: transcript.add(42, said(9001)),
    "read": lambda transcript: transcript.read(42, before=1, limit=1),
    "revise": lambda transcript: transcript.revise(42, said(9001)[0]),
    "forget": lambda transcript: transcript.forget(42, newest=1),
    "prune": lambda transcript: transcript.prune(KEEP),
}


def test_every_method_is_tested_for_a_file_that_fails() -> None:
    assert set(CALLS) == {name for name in vars(Transcript) if not name.startswith("_")}


@pytest.mark.sqlite
@pytest.mark.parametrize("call", CALLS)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(
    transcript: Transcript, path: str, call: str
) -> None:
    Path(path).write_bytes(b"no database at all. " * 50)

    failure = r"chatwoot\.sqlite3' failed: file is not a"

    with pytest.raises(DatabaseError, match=failure):
        CALLS[call](transcript)


@pytest.mark.sqlite
@pytest.mark.parametrize("call", sorted(set(CALLS) - {"prune"}))
def test_no_statement_reads_a_whole_table(store: Store, call: str) -> None:
    statements: list[str] = []
    db = store.connection
    db.set_trace_callback(statements.append)
    CALLS[call](store.transcript)
    db.set_trace_callback(None)
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE")
    asked = [each for each in statements if each.split()[0] in verbs]
    plans = [db.execute(f"EXPLAIN QUERY PLAN {each}").fetchall() for each in asked]

    assert asked
    steps = [row[-1] for plan in plans for row in plan]
    assert [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step] == []
