"""Messages that join a turn, its pause, and turns that supersede another."""

from __future__ import annotations

import functools
import typing as t

import pytest
from support.queue import (
    BODY,
    LEASE,
    advance,
    claim,
    claim_of,
    connection_of,
    everything,
    finish,
    follow_ups,
    keep,
    messages_by_job,
    now,
    open_store,
    put,
    say,
    say_and_claim,
)
from support.waiting import Clock

from flask_chatwoot.errors import LeaseLostError
from flask_chatwoot.queue.jobs import Job
from flask_chatwoot.queue.line import MESSAGE
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.queue.schema import JobState
from flask_chatwoot.queue.store import Store

NOTE: t.Final = [DraftPart("A note.", True)]


def ids_of(job: Job) -> list[int]:
    return [job.message_id, *(each.message_id for each in job.follow_ups)]


# -- bursts --------------------------------------------------------------------


def test_a_message_joins_the_turn_that_waits(store: Store) -> None:
    begun = now(store)
    assert say(store, 9001, payload=b"one")
    advance(store, 1)
    assert say(store, 9002, payload=b"two", said=lambda: "second")
    advance(store, 1)
    assert say(store, 9003, payload=b"three", said=lambda: "third")

    job = claim(store)
    assert (job.message_id, job.payload, job.newest) == (9001, b"one", b"three")
    assert follow_ups(job) == [(9002, "second", None), (9003, "third", b"three")]
    assert [each.received_at for each in job.follow_ups] == [begun + 1, begun + 2]
    assert job.since == job.received_at == begun
    assert store.queue.claim() is None
    assert len(store.inspection.jobs()) == 1


@pytest.mark.parametrize("messages", [[9001, 9003, 9002, 9004], [9001]])
def test_messages_of_the_same_instant_keep_their_order(
    store: Store, messages: list[int]
) -> None:
    for message_id in messages:
        say(store, message_id)

    job = claim(store)
    assert ids_of(job) == messages
    assert job.newest == BODY


def test_a_message_joins_the_turn_that_is_next_in_line(store: Store) -> None:
    _, running = say_and_claim(store, 9001)
    assert running is not None
    say(store, 9002)
    assert say_and_claim(store, 9003) == (True, None)
    say(store, 9004)

    assert store.queue.claim() is None
    store.queue.settle(running, "replied", None)
    assert ids_of(claim(store)) == [9002, 9003, 9004]


@pytest.mark.parametrize("how", ["postponed", "revived"])
def test_a_message_joins_a_turn_that_begins_anew_without_an_answer(
    store: Store, how: str
) -> None:
    say(store, 9001)
    say(store, 9002)
    job = claim(store)

    if how == "postponed":
        store.queue.postpone(job, 0)
    else:
        store.queue.settle(job, "dead", "provider_failed")
        store.inspection.retry([job.id])

    say(store, 9003)

    assert ids_of(claim(store)) == [9001, 9002, 9003]
    assert len(store.inspection.jobs()) == 1


def answer(store: Store) -> None:
    job = claim(store)
    keep(store, job)
    store.queue.postpone(job, 5)


def abandon(store: Store) -> None:
    claim(store)
    advance(store, 2 * LEASE)


SO_FAR: dict[str, t.Callable[[Store], t.Any]] = {
    "unclaimed": lambda store: None,
    "claimed": claim,
    "abandoned": abandon,
    "answered": answer,
    "given up": lambda store: store.queue.give_up(
        claim(store), "refused", [], handoff=None
    ),
    "done": finish,
    "dead": lambda store: finish(store, "dead", "refused"),
}


@pytest.mark.parametrize("store_message", [say, say_and_claim])
@pytest.mark.parametrize("so_far", [name for name in SO_FAR if name != "unclaimed"])
def test_a_message_never_joins_a_turn_that_has_begun(
    store: Store, so_far: str, store_message: t.Callable[[Store, int], t.Any]
) -> None:
    say(store, 9001)
    SO_FAR[so_far](store)
    store_message(store, 9002)

    assert messages_by_job(store) == {1: [9001], 2: [9002]}


def test_only_messages_join_and_only_messages(store: Store) -> None:
    for message_id, kind in ((9001, put), (9002, say), (9003, put), (9004, say)):
        kind(store, message_id)

    assert messages_by_job(store) == {1: [9001], 2: [9002, 9004], 3: [9003]}


def test_a_message_joins_no_other_conversation(store: Store, neighbour: Store) -> None:
    say(store, 9001)
    say(store, 9002, conversation_id=43)
    say(neighbour, 9003)

    assert messages_by_job(store) == {1: [9001], 2: [9002], 3: [9003]}


def test_of_two_turns_that_wait_the_newer_one_is_joined(store: Store) -> None:
    say(store, 9001)
    finish(store, "dead", "refused")
    say(store, 9002)
    store.inspection.retry([1])
    say(store, 9003)

    assert messages_by_job(store) == {1: [9001], 2: [9002, 9003]}


def test_a_turn_that_begins_at_that_very_moment_is_not_joined(
    store: Store, path: str, clock: Clock
) -> None:
    say(store, 9001)
    other = open_store(path, clock)
    begun: list[Job] = []

    def begin(statement: str) -> None:
        if statement.startswith("BEGIN"):
            begun.append(claim(other))

    connection_of(store).set_trace_callback(begin)
    assert say(store, 9002)
    connection_of(store).set_trace_callback(None)
    other.database.close()

    assert [job.message_id for job in begun] == [9001]
    assert messages_by_job(store) == {1: [9001], 2: [9002]}


@pytest.mark.parametrize("so_far", ["unclaimed", "claimed", "done", "dead"])
@pytest.mark.parametrize("message_id", [9001, 9002, 9003])
def test_a_duplicate_of_any_message_of_a_turn_is_recognised(
    store: Store, message_id: int, so_far: str
) -> None:
    for new in (9001, 9002, 9003):
        say(store, new)

    SO_FAR[so_far](store)
    before = everything(store)

    assert not say(store, message_id)
    assert not put(store, message_id)
    assert say_and_claim(store, message_id) == (False, None)
    assert everything(store) == before


def test_a_duplicate_is_recognised_behind_a_turn_that_waits(store: Store) -> None:
    say(store, 9001)
    say(store, 9002)
    finish(store)
    say(store, 9003)

    assert not say(store, 9001)
    assert not say(store, 9002)
    assert say_and_claim(store, 9002) == (False, None)
    assert claim(store).follow_ups == ()


def test_the_text_is_read_only_of_a_message_that_joins(store: Store) -> None:
    read: list[int] = []

    def write(message_id: int, **values: t.Any) -> None:
        def said() -> str:
            read.append(message_id)
            return "said"

        put(store, message_id, kind=MESSAGE, said=said, **values)

    write(9001)
    write(9002, conversation_id=43)
    assert read == []

    for _ in range(2):  # the second time as duplicates
        write(9001)
        write(9003)
        write(9004)
        assert read == [9003, 9004]


def test_a_message_whose_text_cannot_be_read_is_not_stored(store: Store) -> None:
    def fail() -> str:
        raise ValueError("a text that is none")

    say(store, 9001)
    say(store, 9002, payload=b"two")
    before = everything(store)

    with pytest.raises(ValueError, match="a text that is none"):
        say(store, 9003, said=fail)

    assert everything(store) == before
    assert say(store, 9003)
    assert len(claim(store).follow_ups) == 2


def test_a_message_costs_the_same_however_many_wait_with_it(store: Store) -> None:
    say(store, 1)
    db = connection_of(store)
    steps: list[None] = []
    db.set_progress_handler(lambda: steps.append(None), 1)

    def cost(message_id: int) -> int:
        steps.clear()
        say(store, message_id)

        return len(steps)

    costs = [cost(message_id) for message_id in range(2, 202)]
    db.set_progress_handler(None, 0)

    assert len(claim(store).follow_ups) == 200
    assert 0 < max(costs) < 2 * costs[2]


# -- the pause before a turn ---------------------------------------------------

WINDOW = 5.0
LONGEST = 12.0


@pytest.fixture
def patient(path: str, clock: Clock) -> t.Iterator[Store]:
    """A store that waits for more messages."""
    store = open_store(path, clock, window=WINDOW, longest=LONGEST)
    yield store
    store.database.close()


def seconds_to_claim(store: Store) -> float:
    """The seconds from now on after which a job can be claimed."""
    begun = now(store)

    while (job := store.queue.claim()) is None:
        assert now(store) < begun + 100
        advance(store, 0.5)

    store.queue.settle(job, "replied", None)

    return now(store) - begun


def take(store: Store, steps: t.Sequence[str | float]) -> None:
    """Take steps in turn; a number is seconds that pass."""
    jobs: list[Job] = []
    calls: dict[str, t.Callable[[int], object]] = {
        "say": functools.partial(say, store),
        "say and claim": functools.partial(say_and_claim, store),
        "put": functools.partial(put, store),
        "claim": lambda _: jobs.append(claim(store)),
        "settle": lambda _: store.queue.settle(jobs[-1], "replied", None),
        "postpone": lambda _: store.queue.postpone(jobs[-1], 60),
    }

    for message_id, step in enumerate(steps, 9001):
        if isinstance(step, str):
            calls[step](message_id)
        else:
            advance(store, step)


BEGUN = ("say", WINDOW, "claim")
ON_AND_ON = ("say", 1) * 11

PAUSES: dict[str, tuple[t.Sequence[str | float], float]] = {
    "after the last message": (("say", 4, "say"), WINDOW),
    "the same if it is claimed": (("say and claim", 4, "say and claim"), WINDOW),
    "behind a turn": ((*BEGUN, 1, "say", 3, "say", 1, "settle"), WINDOW - 1),
    "at most the longest": ((*BEGUN, *ON_AND_ON, "settle"), LONGEST - 11),
    "none behind a slow turn": ((*BEGUN, "say", LEASE - 1, "settle"), 0),
    "that of a retry": ((*BEGUN, "postpone", "say", 59, "say"), 1),
    "none for what is no message": (("put",), 0),
    "none for that behind a turn": (("put", "claim", "put", "settle"), 0),
}


@pytest.mark.parametrize(("steps", "pause"), PAUSES.values(), ids=PAUSES)
def test_a_turn_begins_after_its_pause(
    patient: Store, steps: t.Sequence[str | float], pause: float
) -> None:
    take(patient, steps)

    assert seconds_to_claim(patient) == pause


def test_a_duplicate_does_not_lengthen_the_pause(patient: Store) -> None:
    say(patient, 9001)
    (job,) = patient.inspection.story(42)
    assert job.due_at == now(patient) + WINDOW
    advance(patient, 4)
    say(patient, 9001)

    assert seconds_to_claim(patient) == 1


def test_a_customer_who_does_not_stop_writing_is_answered(patient: Store) -> None:
    begun = now(patient)
    message_id = 9001
    say(patient, message_id)

    while (job := patient.queue.claim()) is None:
        assert now(patient) < begun + 100
        advance(patient, 1)
        message_id += 1
        say(patient, message_id)

    assert now(patient) == begun + LONGEST
    assert len(job.follow_ups) == LONGEST


# -- a turn that another supersedes ---------------------------------------------

TEXTS = [(9001, "one"), (9002, "two")]


def supersede(store: Store, job: Job, texts: list[tuple[int, str]] = TEXTS) -> bool:
    return store.queue.supersede(job, texts, "superseded")


def test_the_next_turn_answers_what_this_one_does_not(store: Store) -> None:
    begun = now(store)
    say(store, 9001, payload=b"one")
    advance(store, 1)
    say(store, 9002, payload=b"two")
    job = claim(store)
    store.outbox.keep(job, NOTE)
    advance(store, 1)
    say(store, 9003, payload=b"three")
    advance(store, 1)
    say(store, 9004, payload=b"four", said=lambda: "fourth")

    assert supersede(store, job)

    heir = claim(store)
    assert (heir.message_id, heir.payload, heir.newest) == (9003, b"three", b"four")
    taken = [(9001, "one", None), (9002, "two", None)]
    assert follow_ups(heir) == [*taken, (9004, "fourth", b"four")]
    assert heir.since == begun < heir.received_at
    assert heir.drafts == ()
    (info,) = store.inspection.jobs(JobState.DONE)
    assert (info.id, info.outcome, info.reason) == (job.id, "declined", "superseded")


def test_a_turn_that_took_over_is_joined_and_keeps_the_newest_payload(
    store: Store,
) -> None:
    say(store, 9001)
    job = claim(store)
    advance(store, 1)
    say(store, 9002)
    say(store, 9003, payload=b"three")
    supersede(store, job, TEXTS[:1])
    advance(store, 1)
    say(store, 9004, payload=b"four")

    heir = claim(store)
    joined = [(9003, "", None), (9004, "", b"four")]
    assert follow_ups(heir) == [(9001, "one", None), *joined]
    assert heir.newest == b"four"


def test_messages_keep_their_order_when_turns_supersede_each_other(
    store: Store,
) -> None:
    begun = now(store)
    say(store, 9001)

    for message_id in (9002, 9003, 9004):
        job = claim(store)
        advance(store, 1)
        say(store, message_id)
        known = [each.message_id for each in job.follow_ups] + [job.message_id]
        assert supersede(store, job, [(id, str(id)) for id in known])

    last = claim(store)
    assert follow_ups(last) == [(id, str(id), None) for id in (9001, 9002, 9003)]
    assert (last.since, last.message_id) == (begun, 9004)


def test_without_a_message_that_waits_no_turn_is_superseded(store: Store) -> None:
    say(store, 9001)
    say(store, 9002, conversation_id=43)
    job = claim_of(store, 42)
    put(store, 9003)  # nothing to answer
    before = everything(store)

    assert not supersede(store, job)
    assert everything(store) == before
    store.queue.renew(job)
    store.queue.settle(job, "noted", None)


def test_a_message_behind_another_job_takes_over_in_its_turn(store: Store) -> None:
    say(store, 9001)
    job = claim(store)
    put(store, 9002)
    say(store, 9003)

    assert supersede(store, job, TEXTS[:1])
    assert finish(store) == 9002
    assert follow_ups(claim(store)) == [(9001, "one", None)]


def test_a_turn_that_has_its_answer_already_takes_nothing_over(store: Store) -> None:
    for message_id in (9001, 9002):
        say(store, message_id)
        job = claim(store)
        store.outbox.keep(job, NOTE)
        store.queue.settle(job, "dead", "refused")

    store.inspection.retry([1, 2])
    before = everything(store)[1:]

    assert not supersede(store, claim(store), TEXTS[:1])
    assert everything(store)[1:] == before


def test_duplicates_of_messages_taken_over_are_recognised(store: Store) -> None:
    say(store, 9001)
    say(store, 9002)
    job = claim(store)
    say(store, 9003)
    supersede(store, job)
    before = everything(store)

    assert not any(say(store, message_id) for message_id in (9001, 9002, 9003))
    assert everything(store) == before


def test_a_lost_lease_supersedes_nothing(store: Store) -> None:
    say(store, 9001)
    lost = claim(store)
    say(store, 9002)
    advance(store, LEASE)
    claim(store)
    before = everything(store)

    with pytest.raises(LeaseLostError, match="Job 1 was claimed by another"):
        supersede(store, lost)

    assert everything(store) == before


def test_the_turn_that_takes_over_waits_for_more_too(patient: Store) -> None:
    say(patient, 9001)
    advance(patient, WINDOW)
    job = claim(patient)
    advance(patient, 2)
    say(patient, 9002)
    supersede(patient, job, TEXTS[:1])

    assert seconds_to_claim(patient) == WINDOW
