from __future__ import annotations

import sqlite3
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Clock
from queue_support import connection_of, open_store

from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.ownership.store import LONGEST_ABSENCE, Holding, Memory
from flask_chatwoot.queue.store import Store

DAY = 86400.0
KEEP = 7 * DAY


@pytest.fixture
def memory(store: Store) -> Memory:
    return Memory(store.database)


@pytest.fixture
def neighbour(path: str, clock: Clock) -> t.Iterator[Memory]:
    """Another account in the same file."""
    store = open_store(path, clock, account_id=2)
    yield Memory(store.database)
    store.database.close()


# -- who has a conversation ----------------------------------------------------


def test_a_conversation_of_which_nothing_is_known_is_nobodys(memory: Memory) -> None:
    assert memory.holding(42) == Holding(
        taken=False,
        marked=False,
        operator_message_id=0,
        human_at=None,
        resolved_message_id=0,
    )


def test_a_persons_message_takes_the_conversation_once(memory: Memory) -> None:
    assert memory.operator_wrote(42, 9001)
    assert memory.holding(42) == Holding(taken=True, operator_message_id=9001)
    assert not memory.operator_wrote(42, 9002)
    assert memory.holding(42) == Holding(taken=True, operator_message_id=9002)


def test_the_attribute_is_to_say_so_until_it_does(memory: Memory) -> None:
    memory.operator_wrote(42, 9001)
    assert memory.operator_wrote(42, 9001)

    memory.marked(42)
    assert not memory.operator_wrote(42, 9001)


def test_an_older_message_of_a_person_that_comes_late_is_not_the_newest(
    memory: Memory,
) -> None:
    memory.operator_wrote(42, 9005)
    memory.operator_wrote(42, 9001)

    assert memory.holding(42).operator_message_id == 9005


@pytest.mark.parametrize("late", [9001, 9004, 9005])
def test_a_persons_message_that_is_no_news_after_a_return_takes_nothing(
    memory: Memory, late: int
) -> None:
    memory.operator_wrote(42, 9005)
    memory.give_back(42)

    assert not memory.operator_wrote(42, late)
    assert memory.holding(42) == Holding(operator_message_id=9005)


@pytest.mark.parametrize(("message", "taken"), [(9002, False), (9003, True)])
def test_a_persons_message_from_before_the_last_resolve_takes_nothing(
    memory: Memory, message: int, taken: bool
) -> None:
    memory.resolved(42, 9002)

    assert memory.operator_wrote(42, message) is taken
    assert memory.holding(42).taken is taken


@pytest.mark.parametrize(
    ("newest", "taken"), [(9001, True), (9004, True), (9005, False), (0, False)]
)
def test_a_resolve_from_before_a_persons_message_gives_nothing_back(
    memory: Memory, newest: int, taken: bool
) -> None:
    memory.operator_wrote(42, 9005)
    memory.marked(42)
    memory.seen_human(42, 100.0)
    before = memory.holding(42)
    memory.resolved(42, newest)

    after = before if taken else Holding(operator_message_id=9005)
    assert memory.holding(42) == after._replace(resolved_message_id=newest)


def test_the_newest_message_of_a_person_stays_known_after_a_return(
    memory: Memory,
) -> None:
    memory.operator_wrote(42, 9005)
    memory.give_back(42)
    assert memory.holding(42) == Holding(operator_message_id=9005)

    assert memory.operator_wrote(42, 9006)
    memory.resolved(42, 9007)
    assert memory.holding(42) == Holding(
        operator_message_id=9006, resolved_message_id=9007
    )


def test_a_conversation_is_taken_without_a_message_too(memory: Memory) -> None:
    memory.take(42)
    assert memory.holding(42) == Holding(taken=True)

    memory.take(42)
    assert memory.holding(42) == Holding(taken=True)
    assert not memory.operator_wrote(42, 9001)


def test_taking_forgets_nothing(memory: Memory) -> None:
    memory.operator_wrote(42, 9001)
    memory.marked(42)
    memory.seen_human(42, 100.0)
    memory.resolved(43, 9000)
    before = memory.holding(42)
    memory.take(42)
    memory.take(43)

    assert memory.holding(42) == before
    assert memory.holding(43) == Holding(taken=True, resolved_message_id=9000)


@pytest.mark.parametrize(
    ("newest", "taken"), [(None, False), (9002, False), (9001, True)]
)
def test_who_wrote_since_a_return_was_seen_has_taken_it_again(
    memory: Memory, newest: int | None, taken: bool
) -> None:
    memory.operator_wrote(42, 9001)
    memory.marked(42)
    memory.seen_human(42, 100.0)
    memory.operator_wrote(42, 9002)
    memory.give_back(42, newest=newest)

    assert memory.holding(42) == Holding(taken=taken, operator_message_id=9002)


def test_what_nobody_took_can_be_given_back(memory: Memory) -> None:
    memory.give_back(42)
    assert memory.holding(42) == Holding()

    memory.take(42)
    memory.give_back(42)
    memory.give_back(42)
    assert memory.holding(42) == Holding()
    assert memory.operator_wrote(42, 9001)


def test_giving_back_forgets_what_was_seen_while_it_was_taken(memory: Memory) -> None:
    memory.take(42)
    memory.marked(42)
    memory.seen_human(42, 100.0)
    memory.give_back(42)
    assert memory.holding(42) == Holding()

    memory.take(42)
    assert memory.holding(42) == Holding(taken=True)


def test_resolving_gives_back_and_notes_where_the_conversation_ended(
    memory: Memory,
) -> None:
    memory.operator_wrote(42, 9001)
    memory.marked(42)
    memory.seen_human(42, 100.0)
    memory.resolved(42, 9003)

    assert memory.holding(42) == Holding(
        operator_message_id=9001, resolved_message_id=9003
    )


@pytest.mark.parametrize("again", [0, 9001, 9003])
def test_a_conversation_may_be_resolved_twice_and_out_of_order(
    memory: Memory, again: int
) -> None:
    memory.resolved(42, 9003)
    memory.resolved(42, again)

    assert memory.holding(42) == Holding(resolved_message_id=9003)


def test_a_later_resolve_ends_the_conversation_later(memory: Memory) -> None:
    memory.resolved(42, 0)
    assert memory.holding(42) == Holding()

    memory.resolved(42, 9003)
    memory.resolved(42, 9009)
    assert memory.holding(42).resolved_message_id == 9009


def test_the_attribute_of_a_conversation_nobody_took_is_not_noted(
    memory: Memory,
) -> None:
    memory.marked(42)
    memory.seen_human(42, 100.0)
    assert memory.holding(42) == Holding()

    memory.resolved(42, 9001)
    memory.marked(42)
    memory.seen_human(42, 100.0)
    assert memory.holding(42) == Holding(resolved_message_id=9001)


def test_that_the_attribute_was_set_is_noted(memory: Memory) -> None:
    memory.take(42)
    memory.marked(42)
    memory.marked(42)

    assert memory.holding(42) == Holding(taken=True, marked=True)


def test_the_newest_state_that_said_human_counts_whenever_it_is_told(
    memory: Memory,
) -> None:
    memory.take(42)
    memory.seen_human(42, 100.5)
    memory.seen_human(42, 90.0)
    assert memory.holding(42).human_at == 100.5

    memory.seen_human(42, 101.0)
    assert memory.holding(42).human_at == 101.0


def test_conversations_are_held_one_by_one(memory: Memory, neighbour: Memory) -> None:
    memory.operator_wrote(42, 9001)
    memory.marked(42)
    neighbour.resolved(42, 7)
    neighbour.give_back(42)
    memory.give_back(43)

    assert memory.holding(42) == Holding(
        taken=True, marked=True, operator_message_id=9001
    )
    assert memory.holding(43) == Holding()
    assert neighbour.holding(42) == Holding(resolved_message_id=7)


def test_only_one_of_many_at_once_takes_a_conversation(memory: Memory) -> None:
    with ThreadPoolExecutor(8) as pool:
        took = list(pool.map(lambda id: memory.operator_wrote(42, id), range(1, 41)))

    assert sum(took) == 1
    assert memory.holding(42).operator_message_id == 40


def test_who_has_a_conversation_survives_the_process(
    memory: Memory, store: Store, path: str, clock: Clock
) -> None:
    memory.operator_wrote(42, 9001)
    memory.marked(42)
    memory.seen_human(42, 100.0)
    before = memory.holding(42)
    store.database.close()
    other = open_store(path, clock)

    assert Memory(other.database).holding(42) == before
    other.database.close()


def test_that_a_person_wrote_is_as_durable_as_a_delivery(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chatwoot is told that the delivery has arrived, and does not tell it again."""
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def spy(*args: t.Any, **values: t.Any) -> sqlite3.Connection:
        opened.append(connect(*args, **values))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", spy)
    store = open_store(path, sync="full")
    Memory(store.database).operator_wrote(42, 9001)

    (db,) = opened
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    store.database.close()


# -- clean-up ------------------------------------------------------------------


TOUCHES: dict[str, tuple[t.Callable[[Memory], t.Any], float]] = {
    "given back": (lambda memory: memory.give_back(42), KEEP),
    "resolved": (lambda memory: memory.resolved(42, 9002), LONGEST_ABSENCE),
}


@pytest.mark.parametrize("how", TOUCHES)
def test_a_conversation_nobody_has_is_forgotten_after_a_while(
    memory: Memory, clock: Clock, how: str
) -> None:
    touch, kept = TOUCHES[how]
    memory.operator_wrote(42, 9001)
    clock.advance(2 * KEEP)
    touch(memory)
    clock.advance(kept)
    memory.prune(KEEP)
    assert memory.holding(42).operator_message_id == 9001

    clock.advance(1)
    memory.prune(KEEP)
    assert memory.holding(42) == Holding()


def test_a_conversation_that_people_have_is_never_forgotten(
    memory: Memory, clock: Clock
) -> None:
    memory.operator_wrote(42, 9001)
    memory.take(43)
    clock.advance(1000 * DAY)
    memory.prune(KEEP)

    assert memory.holding(42).taken
    assert memory.holding(43).taken
    assert not memory.operator_wrote(42, 9002)


def test_an_attribute_that_is_to_be_set_back_is_never_forgotten(
    memory: Memory, clock: Clock
) -> None:
    memory.take(42)
    memory.marked(42, '"AI agent"')
    memory.resolved(42, 9002)
    clock.advance(1000 * DAY)
    memory.prune(KEEP)

    assert memory.holding(42).former == '"AI agent"'


# -- what goes wrong -----------------------------------------------------------

CALLS: dict[str, t.Callable[[Memory], t.Any]] = {
    "holding": lambda memory: memory.holding(42),
    "operator_wrote": lambda memory: memory.operator_wrote(42, 9001),
    "take": lambda memory: memory.take(42),
    "give_back": lambda memory: memory.give_back(42),
    "resolved": lambda memory: memory.resolved(42, 9001),
    "marked": lambda memory: memory.marked(42),
    "seen_human": lambda memory: memory.seen_human(42, 1.0),
    "prune": lambda memory: memory.prune(KEEP),
}


def test_every_method_is_tested_for_a_file_that_fails() -> None:
    assert set(CALLS) == {name for name in vars(Memory) if not name.startswith("_")}


@pytest.mark.parametrize("call", CALLS)
def test_a_file_that_can_not_be_read_is_an_error_that_names_it(
    memory: Memory, path: str, call: str
) -> None:
    Path(path).write_bytes(b"no database at all. " * 50)

    with pytest.raises(DatabaseError, match=r"inbox\.sqlite3' failed: file is not a"):
        CALLS[call](memory)


@pytest.mark.parametrize("call", sorted(set(CALLS) - {"prune"}))
def test_no_question_about_a_conversation_reads_a_whole_table(
    memory: Memory, store: Store, call: str
) -> None:
    statements: list[str] = []
    db = connection_of(store)
    db.set_trace_callback(statements.append)
    CALLS[call](memory)
    db.set_trace_callback(None)
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE")
    asked = [each for each in statements if each.split()[0] in verbs]
    plans = [db.execute(f"EXPLAIN QUERY PLAN {each}").fetchall() for each in asked]

    assert asked
    steps = [row[-1] for plan in plans for row in plan]
    assert [step for step in steps if "SCAN" in step or "TEMP B-TREE" in step] == []


# -- what the attribute said before ------------------------------------------------


def test_what_the_attribute_said_before_is_told_after_a_resolve(memory: Memory) -> None:
    memory.take(42)
    memory.marked(42, '"AI agent"')
    assert memory.holding(42).former is None

    memory.resolved(42, 9001)
    assert memory.holding(42).former == '"AI agent"'

    memory.give_back(42)
    assert memory.holding(42).former is None


def test_an_attribute_that_somebody_else_set_is_not_set_back(memory: Memory) -> None:
    memory.take(42)
    memory.marked(42)
    memory.resolved(42, 9001)

    assert memory.holding(42).former is None


def test_what_it_said_first_is_remembered_over_a_second_take(memory: Memory) -> None:
    memory.take(42)
    memory.marked(42, '"AI agent"')
    memory.resolved(42, 9001)
    memory.take(42)
    memory.marked(42)
    memory.resolved(42, 9002)

    assert memory.holding(42).former == '"AI agent"'
