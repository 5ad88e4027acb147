"""What becomes of jobs and drafts when a customer changes a message."""

from __future__ import annotations

import typing as t

import pytest
from support.queue import Store, read
from support.waiting import Clock

from flask_chatwoot.errors import DatabaseError, LeaseLostError
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.queue.revisions import Revisions

OTHER: t.Final = [DraftPart("Another answer.", False)]


def change(
    store: Store, message_id: int = 9001, said: str = "new", key: str | None = None
) -> bool:
    return store.revisions.add(
        42,
        message_id,
        said,
        payload=b"the newest",
        key=key,
        is_known=lambda kept, payload: said == kept,
    )


def leased(store: Store) -> Job:
    store.say(9001)

    return store.claim()


def test_a_change_is_kept_once_and_with_the_newest_delivery(store: Store) -> None:
    store.say(9001, payload=b"one")
    store.say(9002, payload=b"two")

    assert [change(store), change(store), change(store, 9002)] == [True, False, True]
    assert not change(store, 9003)

    job = store.claim()
    kept = [(each.message_id, each.said) for each in job.follow_ups]
    assert kept == [(9002, ""), (9001, "new"), (9002, "new")]
    assert (job.payload, job.newest) == (b"one", b"the newest")
    assert not store.revisions.are_new(job)


def test_messages_of_others_and_what_is_over_are_left_alone(
    store: Store, neighbour: Store
) -> None:
    store.say(9001)
    assert not change(neighbour)
    store.put(9002)
    assert not change(store, 9002)
    store.finish("replied")
    assert not change(store)


def test_a_dead_job_may_be_revived_with_what_its_message_says_by_now(
    store: Store,
) -> None:
    job = leased(store)
    store.keep(job)
    store.settle(job, "dead")
    assert change(store)

    store.inspection.retry([job.id])
    job = store.claim()
    assert (job.drafts, [each.said for each in job.follow_ups]) == ((), ["new"])


def test_an_answer_that_was_kept_is_forgotten_with_its_hand_off(store: Store) -> None:
    job = leased(store)
    store.outbox.keep(job, OTHER, handoff="{}")
    store.queue.postpone(job, 0.0)
    assert change(store)

    job = store.claim()
    assert (job.drafts, job.handoff) == ((), None)


def test_an_answer_that_may_have_been_sent_stays_with_its_hand_off(
    store: Store,
) -> None:
    job = leased(store)
    first, _ = store.outbox.keep(job, OTHER * 2, handoff="{}")
    store.outbox.sending(job, first)
    assert change(store)

    store.queue.postpone(job, 0.0)
    job = store.claim()
    assert (len(job.drafts), job.handoff) == (2, "{}")


@pytest.mark.parametrize("again", [False, True], ids=["this claim", "a later claim"])
def test_an_answer_that_did_not_arrive_is_forgotten_after_a_change(
    store: Store, again: bool
) -> None:
    job = leased(store)
    (draft,) = store.outbox.keep(job, OTHER, handoff="{}")
    store.outbox.sending(job, draft)
    assert change(store)

    if again:
        store.queue.postpone(job, 0.0)
        job = store.claim()
        assert job.drafts[0].sent_at is not None

    assert store.outbox.unsent(job, draft, outdated=again)
    store.queue.postpone(job, 0.0)
    job = store.claim()
    assert (job.drafts, job.handoff) == ((), None)


def test_an_answer_of_which_another_part_may_have_arrived_stays(store: Store) -> None:
    job = leased(store)
    one, other = store.outbox.keep(job, OTHER * 2, handoff="{}")
    store.outbox.sending(job, one)
    store.outbox.sending(job, other)
    assert change(store)

    assert not store.outbox.unsent(job, other)
    assert not store.outbox.unsent(job._replace(claim="lost"), one, outdated=True)


ANSWERS: t.Final[dict[str, t.Callable[[Store, Job], t.Any]]] = {
    "keep": lambda store, job: store.outbox.keep(job, OTHER),
    "supersede": lambda store, job: store.queue.supersede(job, [], "superseded"),
}


@pytest.mark.parametrize("how", ANSWERS)
def test_a_worker_finds_out_that_a_message_was_changed(store: Store, how: str) -> None:
    job = leased(store)
    store.say(9002)
    assert change(store)
    assert store.revisions.are_new(job)

    with pytest.raises(LeaseLostError, match="was changed"):
        ANSWERS[how](store, job)

    store.queue.postpone(job, 0.0, free=True)
    again = store.claim()
    assert (again.id, again.attempts) == (job.id, 1)
    store.keep(again)


def test_a_post_does_not_start_after_a_change(store: Store) -> None:
    job = leased(store)
    draft = store.keep(job)
    assert change(store)

    with pytest.raises(LeaseLostError):
        store.outbox.sending(job, draft)


def test_a_change_that_came_before_its_message_is_applied_to_it(
    store: Store, clock: Clock, path: str
) -> None:
    assert not change(store, 9001, key="1:message_created:9001")
    assert not change(store, 9001, "newer", key="1:message_created:9001")
    assert not change(store, 9002, key="1:message_created:9002")
    store.say(9001)
    store.say(9002)
    store.revisions.prune()

    job = store.claim()
    kept = [(each.message_id, each.said) for each in job.follow_ups]
    assert kept == [(9001, "newer"), (9002, ""), (9002, "new")]
    assert job.newest == b"the newest"

    store.settle(job)
    assert not change(store, 9001, "late", key="1:message_created:9001")
    assert read(path, "SELECT * FROM early_change") == []

    change(store, 9003, key="1:message_created:9003")
    clock.now += 3601
    store.revisions.prune()
    assert read(path, "SELECT * FROM early_change") == []


CALLS: t.Final[dict[str, t.Callable[[Store, Job], t.Any]]] = {
    "add": lambda store, job: change(store),
    "are_new": lambda store, job: store.revisions.are_new(job),
    "prune": lambda store, job: store.revisions.prune(),
}


def test_every_method_is_tested_for_a_file_that_fails() -> None:
    assert set(CALLS) == {name for name in vars(Revisions) if not name.startswith("_")}


@pytest.mark.sqlite
@pytest.mark.parametrize("call", CALLS)
def test_a_file_that_cannot_be_read_is_an_error(
    store: Store, path: str, call: str
) -> None:
    job = leased(store)
    store.close()

    with open(path, "r+b") as file:
        file.write(b"no database" * 100)

    with pytest.raises(DatabaseError):
        CALLS[call](store, job)
