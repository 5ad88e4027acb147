from __future__ import annotations

import sqlite3
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Clock

from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.ownership.store import LONGEST_ABSENCE, Holding, Memory, Said
from flask_chatwoot.queue.sqlite import Store

DAY = 86400.0
KEEP = 7 * DAY


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "inbox.sqlite3")


@pytest.fixture
def store(path: str, clock: Clock) -> t.Iterator[Store]:
    store = Store(path, account_id=1, sync="normal", clock=clock)
    yield store
    store.close()


@pytest.fixture
def memory(store: Store) -> Memory:
    return Memory(store)


@pytest.fixture
def neighbour(path: str, clock: Clock) -> t.Iterator[Memory]:
    """Another account in the same file."""
    store = Store(path, account_id=2, sync="normal", clock=clock)
    yield Memory(store)
    store.close()


def said(*message_ids: int) -> list[Said]:
    return [Said(id, "user", f"text of {id}") for id in message_ids]


def ids(
    memory: Memory, conversation_id: int = 42, *, before: int = 10**9, limit: int = 1000
) -> list[int]:
    found = memory.recall(conversation_id, before=before, limit=limit)

    return [each.message_id for each in found]


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
    store.close()
    other = Store(path, account_id=1, clock=clock)

    assert Memory(other).holding(42) == before
    other.close()


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
    store = Store(path, account_id=1)
    Memory(store).operator_wrote(42, 9001)

    (db,) = opened
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    store.close()


# -- what was said -------------------------------------------------------------


def test_whether_to_remember_is_known_to_all_who_share_the_file(
    memory: Memory, neighbour: Memory, path: str, clock: Clock
) -> None:
    assert not memory.remembers()
    memory.set_remembering(True)
    memory.set_remembering(True)
    other = Store(path, account_id=1, clock=clock)

    assert memory.remembers()
    assert Memory(other).remembers()
    assert not neighbour.remembers()
    other.close()


def test_what_was_said_comes_oldest_first_whatever_the_order_it_was_told_in(
    memory: Memory,
) -> None:
    memory.remember(42, [Said(9003, "user", "Und?")])
    memory.remember(
        42, [Said(9002, "assistant", "Ja — 'sofort'."), Said(9001, "user", "Hallo")]
    )

    assert memory.recall(42, before=9004, limit=20) == [
        Said(9001, "user", "Hallo"),
        Said(9002, "assistant", "Ja — 'sofort'."),
        Said(9003, "user", "Und?"),
    ]


@pytest.mark.parametrize(
    ("before", "limit", "expected"),
    [
        (9005, 20, [9001, 9002, 9003, 9004]),
        (9004, 20, [9001, 9002, 9003]),
        (9002, 20, [9001]),
        (9001, 20, []),
        (9005, 2, [9003, 9004]),
        (9004, 1, [9003]),
        (9005, 4, [9001, 9002, 9003, 9004]),
        (9005, 0, []),
    ],
)
def test_the_newest_messages_older_than_one_are_recalled(
    memory: Memory, before: int, limit: int, expected: list[int]
) -> None:
    memory.remember(42, said(9001, 9002, 9003, 9004))

    assert ids(memory, before=before, limit=limit) == expected


def test_a_message_told_twice_is_remembered_as_it_came_first(memory: Memory) -> None:
    memory.remember(42, [Said(9001, "user", "first")])
    memory.remember(42, [Said(9001, "user", "second"), *said(9002)])

    assert memory.recall(42, before=9003, limit=20) == [
        Said(9001, "user", "first"),
        *said(9002),
    ]


def test_what_was_picked_follows_the_question_whose_id_it_has(memory: Memory) -> None:
    told = [Said(9001, "assistant", "Which one?"), Said(9001, "user", "June")]
    memory.remember(42, reversed(told))

    assert memory.recall(42, before=None, limit=20) == told


def test_a_hundred_messages_of_each_conversation_are_remembered(
    memory: Memory, neighbour: Memory
) -> None:
    memory.remember(43, said(*range(1, 51)))
    neighbour.remember(42, said(*range(1, 101)))

    for message_id in range(1, 121):
        memory.remember(42, said(message_id))

    assert ids(memory) == list(range(21, 121))
    assert ids(memory, 43) == list(range(1, 51))
    assert ids(neighbour) == list(range(1, 101))


def test_the_hundred_newest_stay_when_older_ones_are_told_late(
    memory: Memory,
) -> None:
    memory.remember(42, said(*range(200, 300)))
    memory.remember(42, said(*range(1, 150)))

    assert ids(memory) == list(range(200, 300))


def test_more_than_a_hundred_at_once_are_cut_too(memory: Memory) -> None:
    memory.remember(42, iter(said(*range(1, 251))))

    assert ids(memory) == list(range(151, 251))


def test_nothing_to_remember_is_no_error(memory: Memory) -> None:
    memory.remember(42, [])

    assert ids(memory) == []


def test_what_was_said_is_forgotten_with_the_resolve(
    memory: Memory, neighbour: Memory
) -> None:
    memory.remember(42, said(9001, 9002))
    memory.remember(43, said(9003))
    neighbour.remember(42, said(9001))
    memory.resolved(42, 9002)

    assert ids(memory) == []
    assert ids(memory, 43) == [9003]
    assert ids(neighbour) == [9001]


@pytest.mark.parametrize(("newest", "left"), [(9001, [9002]), (9002, []), (0, [])])
def test_what_was_said_after_a_resolve_outlives_its_delivery(
    memory: Memory, newest: int, left: list[int]
) -> None:
    memory.remember(42, said(9001, 9002))
    memory.resolved(42, newest)

    assert ids(memory) == left


def test_giving_back_forgets_nothing_of_what_was_said(memory: Memory) -> None:
    memory.remember(42, said(9001))
    memory.operator_wrote(42, 9002)
    memory.give_back(42)

    assert ids(memory) == [9001]


def test_what_was_said_shows_in_no_representation() -> None:
    assert repr(said(9001)) == "[<Said 9001>]"


def test_forgotten_text_is_not_left_in_the_file(
    memory: Memory, store: Store, path: str
) -> None:
    text = "a word of Ada Lovelace" * 100
    memory.remember(42, [Said(9001, "user", text)])
    memory.resolved(42, 9001)
    store.close()

    found = b"".join(each.read_bytes() for each in Path(path).parent.iterdir())
    assert b"Lovelace" not in found


# -- clean-up ------------------------------------------------------------------


def test_what_was_said_long_ago_is_forgotten(memory: Memory, clock: Clock) -> None:
    memory.remember(42, said(9001))
    clock.advance(DAY)
    memory.remember(42, said(9002))
    clock.advance(KEEP - DAY)
    memory.prune(KEEP)
    assert ids(memory) == [9001, 9002]

    clock.advance(1)
    memory.prune(KEEP)
    assert ids(memory) == [9002]


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


def test_that_what_is_said_is_kept_is_not_forgotten(
    memory: Memory, clock: Clock
) -> None:
    memory.set_remembering(True)
    clock.advance(1000 * DAY)
    memory.prune(0)

    assert memory.remembers()


# -- what goes wrong -----------------------------------------------------------

CALLS: dict[str, t.Callable[[Memory], t.Any]] = {
    "holding": lambda memory: memory.holding(42),
    "operator_wrote": lambda memory: memory.operator_wrote(42, 9001),
    "take": lambda memory: memory.take(42),
    "give_back": lambda memory: memory.give_back(42),
    "resolved": lambda memory: memory.resolved(42, 9001),
    "marked": lambda memory: memory.marked(42),
    "seen_human": lambda memory: memory.seen_human(42, 1.0),
    "remembers": lambda memory: memory.remembers(),
    "set_remembering": lambda memory: memory.set_remembering(True),
    "remember": lambda memory: memory.remember(42, said(9001)),
    "recall": lambda memory: memory.recall(42, before=1, limit=1),
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

    with store.use() as db:
        db.set_trace_callback(statements.append)

    CALLS[call](memory)

    with store.use() as db:
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
