"""Where a claim begins to look for what is due."""

from __future__ import annotations

import pytest
from support.queue import Store
from support.waiting import Clock

from flask_chatwoot.queue import due


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The monotonic clock."""
    clock = Clock(0.0)
    monkeypatch.setattr(due, "_ticks", clock)

    return clock


@pytest.fixture
def store(store: Store, ticks: Clock, monkeypatch: pytest.MonkeyPatch) -> Store:
    """One whose dead rows are passed over for a second, and three jobs in it.

    The first two are claimed. The end of the first makes a job due that came before
    the second.
    """
    monkeypatch.setattr(type(store.database), "floor_for", 1.0)

    for number, conversation in ((1, 1), (2, 1), (3, 2)):
        store.put(number, conversation_id=conversation)
        store.advance(10.0)

    return store


def test_what_became_due_with_an_old_time_is_found_where_nothing_newer_is(
    store: Store,
) -> None:
    first, third = store.claim(), store.claim()
    store.settle(first)

    assert (first.message_id, third.message_id) == (1, 3)
    assert store.finish() == 2
    assert store.queue.claim() is None


def test_what_is_newer_goes_before_it_for_a_second_at_most(
    store: Store, ticks: Clock
) -> None:
    first = store.claim()
    assert store.finish() == 3

    for number in (4, 5):
        store.put(number, conversation_id=number)

    store.settle(first)
    assert store.finish() == 4

    ticks.advance(1.0)
    assert (store.finish(), store.finish()) == (2, 5)


def test_without_dead_rows_the_oldest_is_always_first(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(store.database), "floor_for", 0.0)
    first = store.claim()
    assert store.finish() == 3
    store.put(4, conversation_id=4)
    store.settle(first)

    assert (store.finish(), store.finish()) == (2, 4)


def test_one_conversation_is_looked_for_from_the_beginning(store: Store) -> None:
    first, _ = store.claim(), store.claim()
    store.settle(first)
    job = store.queue.claim(conversation_id=1)

    assert job is not None
    assert job.message_id == 2
