"""Which conversations a sweep wakes, and who sweeps."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from support import databases
from support.queue import Store
from support.waiting import Clock

from flask_chatwoot.queue.postgresql.database import PostgreSQLDatabase
from flask_chatwoot.queue.postgresql.url import parse

pytestmark = pytest.mark.postgresql


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> t.Iterator[Store]:
    databases.serve()
    database = PostgreSQLDatabase(
        parse(databases.POSTGRESQL_URL),
        schema=databases.schema_of(tmp_path / "database"),
        account_id=1,
        clock=clock,
    )
    yield Store.of(database, lease=30.0)
    database.close()


def test_what_is_due_is_woken_once_in_half_a_minute(store: Store, clock: Clock) -> None:
    store.put(1, conversation_id=7)
    assert store.wakes.take_due(10) == [7]
    assert store.wakes.take_due(10) == []

    clock.advance(29)
    assert store.wakes.take_due(10) == []

    clock.advance(2)
    assert store.wakes.take_due(10) == [7]


def test_what_a_worker_has_is_not_woken(store: Store) -> None:
    store.put(1, conversation_id=7)
    assert store.queue.claim(conversation_id=7)
    assert store.wakes.take_due(10) == []


def test_a_job_that_is_due_again_is_woken_again_at_once(
    store: Store, clock: Clock
) -> None:
    store.put(1, conversation_id=7)
    assert store.wakes.take_due(10) == [7]
    job = store.queue.claim(conversation_id=7)
    assert job is not None
    store.queue.postpone(job, 2.0)
    assert store.wakes.take_due(10) == []
    assert store.wakes.pause_of(7) == pytest.approx(2.0)

    clock.advance(2)
    assert store.wakes.take_due(10) == [7]


def test_the_longest_due_are_woken_first(store: Store, clock: Clock) -> None:
    for number in range(1, 6):
        store.put(number, conversation_id=number)
        clock.advance(1)

    assert {*store.wakes.take_due(2)} == {1, 2}
    assert {*store.wakes.take_due(2)} == {3, 4}
    assert store.wakes.take_due(2) == [5]


def test_a_conversation_without_a_job_has_no_pause(store: Store) -> None:
    assert store.wakes.pause_of(7) is None


def test_a_claim_takes_the_job_of_its_conversation_alone(store: Store) -> None:
    store.put(1, conversation_id=7)
    store.put(2, conversation_id=8)
    assert store.queue.claim(conversation_id=9) is None

    job = store.queue.claim(conversation_id=8)
    assert job is not None
    assert job.conversation_id == 8
    assert store.queue.claim(conversation_id=8) is None


def test_one_process_sweeps_at_a_time(store: Store, clock: Clock) -> None:
    claim = store.wakes.claim()
    assert claim
    assert store.wakes.claim() is None

    store.wakes.swept(claim)
    assert store.wakes.claim()


def test_the_claim_of_a_process_that_was_killed_ends(
    store: Store, clock: Clock
) -> None:
    former = store.wakes.claim()
    assert former
    clock.advance(10)
    claim = store.wakes.claim()
    assert claim

    store.wakes.swept(former)
    assert store.wakes.claim() is None, "the former one has ended another's claim"


def test_the_age_is_that_of_the_last_sweep(store: Store, clock: Clock) -> None:
    assert store.wakes.age() is None
    claim = store.wakes.claim()
    assert claim
    assert store.wakes.age() is None

    store.wakes.swept(claim)
    clock.advance(5)
    assert store.wakes.age() == pytest.approx(5.0)


def test_a_job_is_overdue_that_no_worker_has(store: Store, clock: Clock) -> None:
    assert store.wakes.overdue() == 0.0
    store.put(1, conversation_id=7)
    clock.advance(8)
    assert store.wakes.overdue() == pytest.approx(8.0)

    assert store.queue.claim()
    clock.advance(8)
    assert store.wakes.overdue() == 0.0
