"""The rows about conversations: loaded, changed in one transaction, and pruned."""

from __future__ import annotations

import functools
import sqlite3
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.queue import steps_of
from support.waiting import Clock

from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.ownership import state
from flask_chatwoot.ownership.state import Ownership, Transition
from flask_chatwoot.ownership.store import LONGEST_ABSENCE, OwnershipStore
from flask_chatwoot.queue import write_ahead_log
from flask_chatwoot.queue.sqlite import SQLiteDatabase
from flask_chatwoot.queue.store import Store

DAY = 86_400.0
KEEP = 7 * DAY

TAKEN: t.Final = Ownership(taken=True, operator_message_id=9001)
EVERYTHING: t.Final = TAKEN._replace(
    marked=True, former='"AI agent"', human_at=100.5, resolved_message_id=8999
)


@pytest.fixture
def database(path: str, clock: Clock) -> t.Iterator[SQLiteDatabase]:
    database = SQLiteDatabase(path, account_id=1, sync="normal", clock=clock)
    yield database
    database.close()


@pytest.fixture
def store(database: SQLiteDatabase) -> OwnershipStore:
    return OwnershipStore(database)


def wrote(message_id: int) -> Transition:
    return functools.partial(state.operator_wrote, message_id=message_id)


def resolved(newest: int) -> Transition:
    return functools.partial(state.resolved, newest=newest)


def becomes(after: Ownership) -> Transition:
    return lambda before: after


def test_a_change_has_the_state_before_and_after(store: OwnershipStore) -> None:
    """That of an unknown conversation is the default state."""
    assert store.load(42) == Ownership()
    assert store.apply(42, wrote(9001)) == (Ownership(), TAKEN)


def test_the_whole_state_survives_the_process(
    store: OwnershipStore, database: SQLiteDatabase, path: str, clock: Clock
) -> None:
    store.apply(42, becomes(EVERYTHING))
    database.close()
    other = SQLiteDatabase(path, account_id=1, clock=clock)

    assert OwnershipStore(other).load(42) == EVERYTHING
    other.close()


def test_conversations_and_accounts_are_kept_apart(
    store: OwnershipStore, neighbour: Store
) -> None:
    other = OwnershipStore(neighbour.database)
    store.apply(42, wrote(9001))
    other.apply(42, resolved(7))

    assert (store.load(42), store.load(43)) == (TAKEN, Ownership())
    assert other.load(42) == Ownership(resolved_message_id=7)


def test_one_of_many_messages_at_once_takes_over(store: OwnershipStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        changes = pool.map(lambda id: store.apply(42, wrote(id)), range(1, 41))

    assert sum(not change.before.taken for change in changes) == 1
    assert store.load(42).operator_message_id == 40


def test_a_change_is_committed_with_its_cause_or_not_at_all(
    store: OwnershipStore, database: SQLiteDatabase
) -> None:
    def apply_and_fail() -> None:
        with database.transaction() as tx:
            store.apply(42, wrote(9001), tx=tx)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        apply_and_fail()

    assert store.load(42) == Ownership()


def test_an_event_without_change_writes_nothing(
    store: OwnershipStore, path: str
) -> None:
    store.apply(42, wrote(9001))

    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")  # a writer would have to wait for this one
        store.apply(42, wrote(9001))
        other.execute("ROLLBACK")

    other.close()


def test_a_durable_change_is_forced_to_the_disk(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chatwoot does not repeat the delivery that caused it."""
    forced: list[int] = []
    monkeypatch.setattr(write_ahead_log, "_sync", forced.append)
    database = SQLiteDatabase(path, account_id=1)
    OwnershipStore(database).apply(42, wrote(9001), durable=True)

    assert len(forced) == 1
    database.close()


# -- pruning ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("touch", "kept"),
    [
        (state.returned, KEEP),
        (resolved(9002), LONGEST_ABSENCE),
        (wrote(9003), LONGEST_ABSENCE),
        (becomes(Ownership(former='"AI agent"')), LONGEST_ABSENCE),
    ],
    ids=["returned", "resolved", "taken", "with a former value"],
)
def test_a_conversation_is_deleted_once_its_state_is_not_needed(
    store: OwnershipStore, clock: Clock, touch: Transition, kept: float
) -> None:
    store.apply(42, wrote(9001))
    clock.advance(2 * KEEP)
    store.apply(42, touch)
    known = store.load(42)
    clock.advance(kept)
    assert store.prune(KEEP) == 0
    assert store.load(42) == known

    clock.advance(1)
    assert store.prune(KEEP) == 1
    assert store.load(42) == Ownership()


def test_only_conversations_of_this_account_are_deleted(
    store: OwnershipStore, path: str, clock: Clock
) -> None:
    database = SQLiteDatabase(path, account_id=2, clock=clock)
    neighbour = OwnershipStore(database)
    neighbour.apply(42, wrote(9001))
    clock.advance(2 * LONGEST_ABSENCE)

    assert store.prune(KEEP) == 0
    assert neighbour.prune(KEEP) == 1
    database.close()


def test_the_bots_of_the_app_are_known_to_all_its_processes(
    store: OwnershipStore, database: SQLiteDatabase
) -> None:
    for bot_id in (7, 7, 8):
        store.learn_bot(bot_id)

    assert OwnershipStore(database).bots() == {7, 8}


# -- faults ----------------------------------------------------------------------

CALLS: dict[str, t.Callable[[OwnershipStore], t.Any]] = {
    "load": lambda store: store.load(42),
    "apply": lambda store: store.apply(42, wrote(9001)),
    "prune": lambda store: store.prune(KEEP),
    "bots": lambda store: store.bots(),
    "learn_bot": lambda store: store.learn_bot(7),
    "touched_since": lambda store: store.touched_since(42, 0.0),
}


def test_every_method_is_tested_with_a_broken_file() -> None:
    methods = {name for name in vars(OwnershipStore) if not name.startswith("_")}
    assert set(CALLS) == methods


@pytest.mark.parametrize("call", CALLS)
def test_a_broken_file_is_an_error_that_names_it(
    store: OwnershipStore, path: str, call: str
) -> None:
    Path(path).write_bytes(b"no database at all. " * 50)

    with pytest.raises(DatabaseError, match=r"chatwoot\.sqlite3' failed: file is not"):
        CALLS[call](store)


@pytest.mark.parametrize("call", ["load", "apply"])
def test_no_call_for_a_conversation_reads_a_whole_table(
    store: OwnershipStore, path: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    steps = steps_of(lambda: CALLS[call](store), path, monkeypatch)

    assert steps
    assert [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step] == []
