"""What operators see of jobs, and the revival and clean-up of jobs."""

from __future__ import annotations

import threading
import typing as t

import pytest
from support.queue import DAY, Store, steps_of

from flask_chatwoot.queue.inspection import (
    ALIVE,
    DraftRow,
    Health,
    Inspection,
    JobRow,
)
from flask_chatwoot.queue.schema import UNFINISHED, DraftState, JobState

# -- operators -----------------------------------------------------------------


@pytest.fixture
def four(store: Store) -> Store:
    """With a job that is done, a dead one, a claimed one and one that is ready."""
    for number, outcome in enumerate(
        (("declined", "no_answer"), ("dead", "refused")), 1
    ):
        store.put(9000 + number, conversation_id=number)
        store.finish(*outcome)

    store.put(9003, conversation_id=3)
    store.claim()
    store.put(9004, conversation_id=4)
    store.advance(5)

    return store


def messages(store: Store) -> list[int]:
    return [job.message_id for job in store.inspection.jobs()]


def test_jobs_are_listed_newest_first(four: Store) -> None:
    def row(id: int, state: JobState, attempts: int, *ending: str) -> JobRow:
        counts = (5.0, attempts, 0, 0, 0)
        return JobRow(id, id, 9000 + id, state, *counts, *(ending or (None, None)))

    jobs = four.inspection.jobs
    assert jobs() == [
        row(4, JobState.READY, 0),
        row(3, JobState.LEASED, 1),
        row(2, JobState.DEAD, 1, "dead", "refused"),
        row(1, JobState.DONE, 1, "declined", "no_answer"),
    ]
    assert [job.id for job in jobs(limit=2)] == [4, 3]
    assert [job.id for job in jobs(JobState.DONE, JobState.LEASED)] == [3, 1]
    assert all(jobs(job.state) == [job] for job in jobs())


def test_reviving_gives_all_attempts_back(store: Store) -> None:
    store.put(9001)
    store.queue.postpone(store.claim(), 0)
    store.finish("dead", "provider_failed")
    assert (store.only().attempts, store.inspection.retry([1])) == (2, [1])

    revived = store.only()
    assert (revived.state, revived.attempts) == (JobState.READY, 0)
    assert (revived.outcome, revived.reason) == (None, None)
    assert store.claim().attempts == 1


def test_only_dead_jobs_are_revived(four: Store) -> None:
    assert four.inspection.retry([1, 2, 3, 4, 5]) == [2]


def test_finished_jobs_are_pruned_by_their_age(store: Store) -> None:
    store.put(9001)
    store.finish()
    store.advance(DAY)
    store.put(9002)
    store.finish()
    store.put(9003)
    store.advance(1)

    assert (store.inspection.prune(older_than=DAY), messages(store)) == (
        1,
        [9003, 9002],
    )
    assert (store.put(9002), store.put(9001)) == (False, True)


@pytest.mark.parametrize(
    ("dead", "left"), [(False, [9004, 9003, 9002]), (True, [9004, 9003])]
)
def test_dead_jobs_are_pruned_only_when_asked_and_unfinished_ones_never(
    four: Store, dead: bool, left: list[int]
) -> None:
    four.advance(1000 * DAY)
    four.inspection.prune(older_than=0, dead=dead)
    assert messages(four) == left


def test_jobs_of_another_account_are_not_pruned(store: Store, neighbour: Store) -> None:
    neighbour.put(9001)
    neighbour.finish("dead", "refused")
    store.put(9002)  # the newest row is kept
    store.advance(DAY)

    assert store.inspection.prune(older_than=0, dead=True) == 0
    assert neighbour.inspection.prune(older_than=0, dead=True) == 1


def test_drafts_are_pruned_with_their_job(store: Store) -> None:
    store.put(9001)
    job = store.claim()
    store.outbox.posted(store.sent(job), 20001)
    store.settle(job)
    store.advance(1)
    store.put(9002)
    store.inspection.prune(older_than=0)

    assert not store.outbox.is_ours(20001)
    assert (len(store.everything()), store.claim().id) == (1, 2)


def test_a_large_clean_up_leaves_nothing_behind(store: Store) -> None:
    for number in range(1101):
        store.put(number + 1, conversation_id=number + 1)
        store.finish()

    store.advance(1)
    assert store.inspection.prune(older_than=0, at_most=60) == 60
    assert store.inspection.prune(older_than=0) == 1040
    assert len(store.inspection.jobs()) == 1


def test_the_story_of_a_conversation_has_its_jobs_and_drafts(store: Store) -> None:
    begun = store.now
    store.put(9001)
    job = store.claim()
    store.outbox.posted(store.sent(job), 20001)
    store.settle(job)
    store.put(9002)
    store.put(9003, conversation_id=43)

    first, second = store.inspection.story(42)
    assert (first.id, first.state, first.finished_at) == (1, JobState.DONE, begun)
    assert first.drafts == (DraftRow(DraftState.POSTED, False, begun, 20001),)
    assert (first.messages, first.outcome, first.due_at) == (1, "replied", None)
    assert (second.id, second.state, second.drafts) == (2, JobState.READY, ())
    assert store.inspection.story(44) == []


def test_health_counts_states_outcomes_and_threads(store: Store) -> None:
    assert store.inspection.health() == Health(None, {}, {}, 0)

    for message_id, outcome in ((1, "replied"), (2, "replied"), (3, "dead")):
        store.put(message_id)
        store.finish(outcome)

    store.put(4)
    store.put(5)
    store.inspection.report("one", 4)
    store.inspection.report("two", 2)
    store.advance(ALIVE - 1)
    store.inspection.report("two", 3)
    store.advance(1)

    assert store.inspection.health() == Health(
        ALIVE,
        {"done": 2, "dead": 1, "ready": 1, "blocked": 1},
        {"replied": 2, "dead": 1},
        3,
    )
    store.inspection.report("two", 0)
    assert store.inspection.health().workers == 0


def test_the_heartbeats_of_another_account_are_kept(
    store: Store, neighbour: Store
) -> None:
    neighbour.inspection.report("one", 4)
    store.advance(2 * 3600)
    store.inspection.report("two", 3)
    neighbour.inspection.report("three", 2)

    names = store.read("SELECT name FROM worker ORDER BY name")
    assert names == [("three",), ("two",)]


CALLS: dict[str, t.Callable[[Inspection], object]] = {
    "health": Inspection.health,
    "prune": Inspection.prune,
    "the unfinished": lambda inspection: inspection.jobs(*UNFINISHED),
    "the dead": lambda inspection: inspection.jobs(JobState.DEAD),
    "a story": lambda inspection: inspection.story(42),
}


@pytest.mark.sqlite
@pytest.mark.parametrize("call", CALLS)
def test_nothing_that_runs_beside_deliveries_reads_all_jobs(
    four: Store, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = steps_of(lambda: CALLS[call](four.inspection), four.path, monkeypatch)

    assert steps
    assert [step for step in steps if "SCAN job" in step] == []


def test_what_operators_see_is_read_while_others_write(four: Store) -> None:
    seen: list[object] = []

    def look() -> None:
        seen.extend([len(four.inspection.jobs()), four.inspection.health().states])

    with four.database.transaction(durable=True) as tx:
        tx.execute("DELETE FROM job")
        reader = threading.Thread(target=look)
        reader.start()
        reader.join(10)
        assert seen == [4, {"done": 1, "dead": 1, "leased": 1, "ready": 1}]

    assert four.inspection.jobs() == []
