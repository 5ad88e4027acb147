"""Messages that join a turn, its pause, and turns that supersede another."""

from __future__ import annotations

import typing as t

import pytest
from support.queue import (
    BODY,
    LEASE,
    claim,
    claim_of,
    connection_of,
    everything,
    finish,
    keep,
    messages_by_job,
    open_store,
    put,
    say,
    say_and_claim,
    told,
)
from support.waiting import Clock

from flask_chatwoot.errors import LeaseLostError
from flask_chatwoot.queue.jobs import Job
from flask_chatwoot.queue.line import MESSAGE
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.queue.schema import JobState
from flask_chatwoot.queue.store import Store

# -- bursts --------------------------------------------------------------------


def test_a_message_joins_the_turn_that_waits(store: Store, clock: Clock) -> None:
    begun = clock.now
    assert say(store, 9001, payload=b"one")
    clock.advance(1)
    assert say(store, 9002, payload=b"two", said=lambda: "second")
    clock.advance(1)
    assert say(store, 9003, payload=b"three", said=lambda: "third")

    job = claim(store)
    assert (job.message_id, job.payload, job.newest) == (9001, b"one", b"three")
    assert told(job) == [(9002, "second", None), (9003, "third", b"three")]
    assert [each.received_at for each in job.follow_ups] == [begun + 1, begun + 2]
    assert job.since == job.received_at == begun
    assert store.queue.claim() is None
    assert len(store.inspection.jobs()) == 1


def test_messages_of_the_same_instant_keep_the_order_in_which_they_came(
    store: Store,
) -> None:
    for message_id in (9001, 9003, 9002, 9004):
        say(store, message_id)

    assert [each.message_id for each in claim(store).follow_ups] == [9003, 9002, 9004]


def test_a_turn_of_one_message_has_that_alone(store: Store) -> None:
    say(store, 9001, payload=b"one")

    job = claim(store)
    assert (job.newest, job.follow_ups) == (b"one", ())


def test_a_message_joins_the_turn_that_is_next_in_line(store: Store) -> None:
    _, running = say_and_claim(store, 9001)
    assert running is not None
    say(store, 9002)
    assert say_and_claim(store, 9003) == (True, None)
    say(store, 9004)

    assert store.queue.claim() is None
    store.queue.settle(running, "replied", None)
    job = claim(store)
    assert job.message_id == 9002
    assert [each.message_id for each in job.follow_ups] == [9003, 9004]


def begin_again(store: Store, how: str) -> None:
    job = claim(store)

    if how == "postponed":
        store.queue.postpone(job, 0)
    else:
        store.queue.settle(job, "dead", "provider_failed")
        store.inspection.retry([job.id])


@pytest.mark.parametrize("how", ["postponed", "revived"])
def test_a_message_joins_a_turn_that_begins_anew_without_an_answer(
    store: Store, how: str
) -> None:
    say(store, 9001)
    say(store, 9002)
    begin_again(store, how)
    say(store, 9003)

    assert [each.message_id for each in claim(store).follow_ups] == [9002, 9003]
    assert len(store.inspection.jobs()) == 1


def answer(store: Store, clock: Clock) -> None:
    job = claim(store)
    keep(store, job)
    store.queue.postpone(job, 5)


def abandon(store: Store, clock: Clock) -> None:
    claim(store)
    clock.advance(2 * LEASE)


SO_FAR: dict[str, t.Callable[[Store, Clock], t.Any]] = {
    "unclaimed": lambda store, clock: None,
    "claimed": lambda store, clock: claim(store),
    "abandoned": abandon,
    "answered": answer,
    "given up": lambda store, clock: store.queue.give_up(
        claim(store), "refused", [], handoff=None
    ),
    "done": lambda store, clock: finish(store),
    "dead": lambda store, clock: finish(store, "dead", "refused"),
}


@pytest.mark.parametrize("store_message", [say, say_and_claim])
@pytest.mark.parametrize("so_far", [name for name in SO_FAR if name != "unclaimed"])
def test_a_message_never_joins_a_turn_that_has_begun(
    store: Store,
    path: str,
    clock: Clock,
    so_far: str,
    store_message: t.Callable[[Store, int], t.Any],
) -> None:
    say(store, 9001)
    SO_FAR[so_far](store, clock)
    store_message(store, 9002)

    assert messages_by_job(path) == {1: [9001], 2: [9002]}


def test_only_messages_join_and_only_messages(store: Store, path: str) -> None:
    put(store, 9001)
    say(store, 9002)
    put(store, 9003)
    say(store, 9004)

    assert messages_by_job(path) == {1: [9001], 2: [9002, 9004], 3: [9003]}


def test_a_message_joins_nobody_elses_conversation(
    store: Store, path: str, clock: Clock
) -> None:
    other = open_store(path, clock, account_id=2)
    say(store, 9001)
    say(store, 9002, conversation_id=43)
    other.queue.put(
        "2:message_created:9003", conversation_id=42, message_id=9003, payload=BODY
    )
    other.database.close()

    assert messages_by_job(path) == {1: [9001], 2: [9002], 3: [9003]}


def test_of_two_turns_that_wait_the_newer_one_is_joined(
    store: Store, path: str
) -> None:
    say(store, 9001)
    finish(store, "dead", "refused")
    say(store, 9002)
    store.inspection.retry([1])
    say(store, 9003)

    assert messages_by_job(path) == {1: [9001], 2: [9002, 9003]}


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
    assert messages_by_job(path) == {1: [9001], 2: [9002]}


@pytest.mark.parametrize("so_far", ["unclaimed", "claimed", "done", "dead"])
@pytest.mark.parametrize("message_id", [9001, 9002, 9003])
def test_a_duplicate_of_any_message_of_a_turn_is_recognised(
    store: Store, path: str, clock: Clock, message_id: int, so_far: str
) -> None:
    for new in (9001, 9002, 9003):
        say(store, new)

    SO_FAR[so_far](store, clock)
    before = everything(path)

    assert not say(store, message_id)
    assert not put(store, message_id)
    assert say_and_claim(store, message_id) == (False, None)
    assert everything(path) == before


def test_a_duplicate_is_recognised_behind_a_turn_that_waits(store: Store) -> None:
    say(store, 9001)
    say(store, 9002)
    finish(store)
    say(store, 9003)

    assert not say(store, 9001)
    assert not say(store, 9002)
    assert say_and_claim(store, 9002) == (False, None)
    assert claim(store).follow_ups == ()


def test_what_to_remember_is_asked_only_of_a_message_that_joins(store: Store) -> None:
    asked: list[int] = []

    def of(message_id: int) -> t.Callable[[], str]:
        def said() -> str:
            asked.append(message_id)

            return "said"

        return said

    say(store, 9001, said=of(9001))
    put(store, 9002, conversation_id=43, kind=MESSAGE, said=of(9002))
    assert asked == []

    say(store, 9003, said=of(9003))
    put(store, 9004, kind=MESSAGE, said=of(9004))
    assert asked == [9003, 9004]

    say(store, 9001, said=of(9001))
    say(store, 9003, said=of(9003))
    put(store, 9004, kind=MESSAGE, said=of(9004))
    assert asked == [9003, 9004]


def test_a_message_of_which_nothing_can_be_remembered_is_not_half_stored(
    store: Store, path: str
) -> None:
    def fail() -> str:
        raise ValueError("a text that is none")

    say(store, 9001)
    say(store, 9002, payload=b"two")
    before = everything(path)

    with pytest.raises(ValueError, match="a text that is none"):
        put(store, 9003, kind=MESSAGE, said=fail)

    assert everything(path) == before
    assert say(store, 9003)
    assert len(claim(store).follow_ups) == 2


def test_a_message_costs_the_same_however_many_wait_with_it(
    store: Store,
) -> None:
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


def seconds_to_claim(store: Store, clock: Clock) -> float:
    """How long a worker waits from now on for a job."""
    begun = clock.now

    while (job := store.queue.claim()) is None:
        assert clock.now < begun + 100
        clock.advance(0.5)

    store.queue.settle(job, "replied", None)

    return clock.now - begun


def rehearse(store: Store, clock: Clock, steps: t.Sequence[str | float]) -> None:
    """Take steps in turn; a number is seconds that pass."""
    message_id = 9000
    job: Job | None = None

    for step in steps:
        message_id += 1

        if not isinstance(step, str):
            clock.advance(step)
        elif step == "claim":
            job = claim(store)
        elif step == "settle":
            store.queue.settle(t.cast(Job, job), "replied", None)
        elif step == "postpone":
            store.queue.postpone(t.cast(Job, job), 60)
        else:
            {"say": say, "say and claim": say_and_claim, "put": put}[step](
                store, message_id
            )


BEGUN = ("say", WINDOW, "claim")

PAUSES: dict[str, tuple[t.Sequence[str | float], float]] = {
    "after the last message": (("say", 4, "say"), WINDOW),
    "the same if it is stored to be claimed": (
        ("say and claim", 4, "say and claim"),
        5,
    ),
    "behind a turn: from the last message on": (
        (*BEGUN, 1, "say", 3, "say", 1, "settle"),
        WINDOW - 1,
    ),
    "behind a turn: the longest pause at most": (
        (*BEGUN, *(("say", 1) * 11), "settle"),
        LONGEST - 11,
    ),
    "behind a slow turn: none": ((*BEGUN, "say", LEASE - 1, "settle"), 0),
    "a retry is neither sooner nor later for a message": (
        (*BEGUN, "postpone", "say", 59, "say"),
        1,
    ),
    "none for what is no message": (("put",), 0),
    "none for that behind a turn": (("put", "claim", "put", "settle"), 0),
}


@pytest.mark.parametrize("case", PAUSES)
def test_a_turn_begins_after_its_pause(patient: Store, clock: Clock, case: str) -> None:
    steps, pause = PAUSES[case]
    rehearse(patient, clock, steps)

    assert seconds_to_claim(patient, clock) == pause


def test_a_duplicate_does_not_lengthen_the_pause(patient: Store, clock: Clock) -> None:
    say(patient, 9001)
    (job,) = patient.inspection.story(42)
    assert job.due_at == clock.now + WINDOW
    clock.advance(4)
    say(patient, 9001)

    assert seconds_to_claim(patient, clock) == 1


def test_a_customer_who_writes_on_and_on_is_answered(
    patient: Store, clock: Clock
) -> None:
    begun = clock.now
    message_id = 9001
    say(patient, message_id)

    while (job := patient.queue.claim()) is None:
        assert clock.now < begun + 100
        clock.advance(1)
        message_id += 1
        say(patient, message_id)

    assert clock.now == begun + LONGEST
    assert len(job.follow_ups) == LONGEST


# -- a turn that another supersedes ---------------------------------------------

TOLD = [(9001, "one"), (9002, "two")]


def test_the_next_turn_answers_what_this_one_does_not(
    store: Store, clock: Clock
) -> None:
    begun = clock.now
    say(store, 9001, payload=b"one")
    clock.advance(1)
    say(store, 9002, payload=b"two")
    job = claim(store)
    store.outbox.keep(job, [DraftPart("A note.", True)])
    clock.advance(1)
    say(store, 9003, payload=b"three")
    clock.advance(1)
    say(store, 9004, payload=b"four", said=lambda: "fourth")

    assert store.queue.supersede(job, TOLD, "superseded")

    heir = claim(store)
    assert (heir.message_id, heir.payload, heir.newest) == (9003, b"three", b"four")
    assert told(heir) == [
        (9001, "one", None),
        (9002, "two", None),
        (9004, "fourth", b"four"),
    ]
    assert heir.since == begun < heir.received_at
    assert heir.drafts == ()
    (info,) = store.inspection.jobs(JobState.DONE)
    assert (info.id, info.outcome, info.reason) == (job.id, "declined", "superseded")


def test_a_turn_that_took_over_is_joined_and_keeps_the_newest_payload_only(
    store: Store, clock: Clock
) -> None:
    say(store, 9001)
    job = claim(store)
    clock.advance(1)
    say(store, 9002)
    say(store, 9003, payload=b"three")
    store.queue.supersede(job, [(9001, "one")], "superseded")
    clock.advance(1)
    say(store, 9004, payload=b"four")

    heir = claim(store)
    assert told(heir) == [
        (9001, "one", None),
        (9003, "", None),
        (9004, "", b"four"),
    ]
    assert heir.newest == b"four"


def test_turns_hand_their_messages_on_and_on_in_their_order(
    store: Store, clock: Clock
) -> None:
    begun = clock.now
    say(store, 9001)

    for message_id in (9002, 9003, 9004):
        job = claim(store)
        clock.advance(1)
        say(store, message_id)
        known = [each.message_id for each in job.follow_ups] + [job.message_id]
        assert store.queue.supersede(job, [(id, str(id)) for id in known], "superseded")

    last = claim(store)
    assert told(last) == [(id, str(id), None) for id in (9001, 9002, 9003)]
    assert last.since == begun
    assert last.message_id == 9004


def test_without_a_message_that_waits_no_turn_is_taken_over(
    store: Store, path: str
) -> None:
    say(store, 9001)
    say(store, 9002, conversation_id=43)
    job = claim_of(store, 42)
    put(store, 9003)  # nothing to answer
    before = everything(path)

    assert not store.queue.supersede(job, TOLD, "superseded")
    assert everything(path) == before
    store.queue.renew(job)
    store.queue.settle(job, "noted", None)


def test_a_message_behind_something_else_in_line_takes_over_in_its_turn(
    store: Store,
) -> None:
    say(store, 9001)
    job = claim(store)
    put(store, 9002)
    say(store, 9003)

    assert store.queue.supersede(job, [(9001, "one")], "superseded")
    assert finish(store) == 9002
    assert told(claim(store)) == [(9001, "one", None)]


def test_a_turn_that_has_its_answer_already_takes_nothing_over(
    store: Store, path: str
) -> None:
    for message_id in (9001, 9002):
        say(store, message_id)
        job = claim(store)
        store.outbox.keep(job, [DraftPart("A note.", True)])
        store.queue.settle(job, "dead", "refused")

    store.inspection.retry([1, 2])
    before = everything(path)[1:]

    assert not store.queue.supersede(claim(store), [(9001, "one")], "superseded")
    assert everything(path)[1:] == before


def test_duplicates_of_messages_that_were_taken_over_are_recognised(
    store: Store, path: str
) -> None:
    say(store, 9001)
    say(store, 9002)
    job = claim(store)
    say(store, 9003)
    store.queue.supersede(job, TOLD, "superseded")
    before = everything(path)

    assert not any(say(store, message_id) for message_id in (9001, 9002, 9003))
    assert everything(path) == before


def test_who_lost_the_lease_hands_nothing_on(
    store: Store, path: str, clock: Clock
) -> None:
    say(store, 9001)
    lost = claim(store)
    say(store, 9002)
    clock.advance(LEASE)
    claim(store)
    before = everything(path)

    with pytest.raises(LeaseLostError, match="Job 1 was claimed by another"):
        store.queue.supersede(lost, TOLD, "superseded")

    assert everything(path) == before


def test_the_turn_that_takes_over_waits_for_more_too(
    patient: Store, clock: Clock
) -> None:
    say(patient, 9001)
    clock.advance(WINDOW)
    job = claim(patient)
    clock.advance(2)
    say(patient, 9002)
    patient.queue.supersede(job, [(9001, "one")], "superseded")

    assert seconds_to_claim(patient, clock) == WINDOW
