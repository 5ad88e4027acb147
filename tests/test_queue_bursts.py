"""Messages that join a turn, its pause, and turns that supersede another."""

from __future__ import annotations

import typing as t

import pytest
from support.queue import BODY, LEASE, Store, follow_ups, open_store
from support.waiting import Clock

from flask_chatwoot.outcomes import Reason
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.jobs import FailedBy
from flask_chatwoot.queue.line import MESSAGE
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.queue.schema import JobState

NOTE: t.Final = [DraftPart("A note.", True)]


def ids_of(job: Job) -> list[int]:
    return [job.message_id, *(each.message_id for each in job.follow_ups)]


def find(store: Store, message_id: int) -> None:
    """Store a message that was not delivered."""
    store.queue.put(
        f"1:message_created:{message_id}",
        conversation_id=42,
        message_id=message_id,
        payload=BODY,
        found_after=9.0,
    )


def answers(store: Store) -> list[list[int]]:
    """The messages of each turn, in the order of the turns."""
    turns = []

    while (job := store.queue.claim()) is not None:
        turns.append(ids_of(job))
        store.settle(job)

    return turns


# -- bursts --------------------------------------------------------------------


def test_a_message_joins_the_turn_that_waits(store: Store) -> None:
    begun = store.now
    assert store.say(9001, payload=b"one")
    store.advance(1)
    assert store.say(9002, payload=b"two", said=lambda: "second")
    store.advance(1)
    assert store.say(9003, payload=b"three", said=lambda: "third")

    assert store.only().state == "ready"
    job = store.claim()
    assert (job.message_id, job.payload, job.newest) == (9001, b"one", b"three")
    assert follow_ups(job) == [(9002, "second", None), (9003, "third", b"three")]
    assert [each.received_at for each in job.follow_ups] == [begun + 1, begun + 2]
    assert job.since == job.received_at == begun


def test_messages_of_the_same_instant_keep_their_order(store: Store) -> None:
    for message_id in (9001, 9003, 9002, 9004):
        store.say(message_id)

    assert ids_of(store.claim()) == [9001, 9003, 9002, 9004]


def test_a_message_joins_the_turn_that_is_next_in_line(store: Store) -> None:
    _, running = store.say_and_claim(9001)
    assert running is not None
    store.say(9002)
    assert store.say_and_claim(9003) == (True, None)
    store.say(9004)

    assert store.queue.claim() is None
    store.settle(running)
    assert ids_of(store.claim()) == [9002, 9003, 9004]


@pytest.mark.parametrize("how", ["postponed", "revived"])
def test_a_message_joins_a_turn_that_begins_anew(store: Store, how: str) -> None:
    store.say(9001)
    store.say(9002)
    job = store.claim()

    if how == "postponed":
        store.queue.postpone(job, 0)
    else:
        store.settle(job, "dead", "provider_failed")
        store.inspection.retry([job.id])

    store.say(9003)
    assert ids_of(store.claim()) == [9001, 9002, 9003]


def postpone_the_answer(store: Store) -> None:
    job = store.claim()
    store.keep(job)
    store.queue.postpone(job, 5)


def abandon(store: Store) -> None:
    store.claim()
    store.advance(2 * LEASE)


SO_FAR: dict[str, t.Callable[[Store], t.Any]] = {
    "unclaimed": lambda store: None,
    "claimed": Store.claim,
    "abandoned": abandon,
    "answered": postpone_the_answer,
    "given up": lambda store: store.queue.give_up(
        store.claim(), "refused", [], handoff=None
    ),
    "done": Store.finish,
    "dead": lambda store: store.finish("dead", "refused"),
}


@pytest.mark.parametrize("store_message", [Store.say, Store.say_and_claim])
@pytest.mark.parametrize("so_far", [name for name in SO_FAR if name != "unclaimed"])
def test_a_message_never_joins_a_turn_that_has_begun(
    store: Store, so_far: str, store_message: t.Callable[[Store, int], t.Any]
) -> None:
    store.say(9001)
    SO_FAR[so_far](store)
    store_message(store, 9002)

    assert store.messages_by_job() == {1: [9001], 2: [9002]}


def test_only_messages_of_the_same_conversation_join_and_only_messages(
    store: Store, neighbour: Store
) -> None:
    store.put(9001)
    store.say(9002)
    store.put(9003)
    store.say(9004)
    store.say(9005, conversation_id=43)
    neighbour.say(9006)

    messages = {1: [9001], 2: [9002, 9004], 3: [9003], 4: [9005], 5: [9006]}
    assert store.messages_by_job() == messages


def test_of_two_turns_that_wait_the_newer_one_is_joined(store: Store) -> None:
    store.say(9001)
    store.finish("dead", "refused")
    store.say(9002)
    store.inspection.retry([1])
    store.say(9003)

    assert store.messages_by_job() == {1: [9001], 2: [9002, 9003]}


@pytest.mark.parametrize("running", [False, True], ids=["waits", "is next in line"])
def test_a_message_does_not_join_a_turn_before_a_late_message(
    store: Store, running: bool
) -> None:
    """It would be answered before one that was stored before it was written."""
    store.say(9002)
    job = store.claim()

    if not running:
        store.settle(job)

    store.say(9003)
    find(store, 9001)
    store.say(9004)
    store.say(9005)

    if running:
        store.settle(job)

    assert answers(store) == [[9003], [9001], [9004, 9005]]


# -- the pause after a provider has raised -----------------------------------------


def raise_in_provider(store: Store) -> Job:
    """Let the provider fail an attempt, which is repeated after a minute."""
    job = store.claim()
    store.queue.postpone(job, 60, reason=Reason.PROVIDER_FAILED)

    return job


def test_the_next_message_ends_the_pause_of_a_turn_whose_provider_raised(
    store: Store,
) -> None:
    store.say(9001)
    raise_in_provider(store)
    assert store.queue.claim() is None

    store.say(9002)
    store.say(9003)

    job = store.claim()
    assert (ids_of(job), job.last_attempt) == ([9001], True)
    assert store.queue.claim() is None
    store.settle(job)
    job = store.claim()
    assert (ids_of(job), job.last_attempt) == ([9002, 9003], False)


def test_a_message_during_the_failed_attempt_leaves_one_attempt_without_a_pause(
    store: Store,
) -> None:
    store.say(9001)
    failing = store.claim()
    store.say(9002)
    store.queue.postpone(failing, 60, reason=Reason.PROVIDER_FAILED)

    job = store.claim()
    assert (ids_of(job), job.last_attempt) == ([9001], True)


@pytest.mark.parametrize(
    "reason", [reason for reason in Reason if reason is not Reason.PROVIDER_FAILED]
)
def test_a_message_does_not_end_another_pause(store: Store, reason: Reason) -> None:
    store.say(9001)
    store.queue.postpone(store.claim(), 60, reason=reason)
    store.say(9002)
    assert store.queue.claim() is None

    store.advance(60)
    job = store.claim()
    assert (ids_of(job), job.last_attempt) == ([9001, 9002], False)


def edit(store: Store) -> None:
    store.revisions.add(
        42, 9001, "new", is_known=lambda kept, payload: False, payload=BODY
    )


def find_older(store: Store) -> None:
    find(store, 9000)


NO_MESSAGES: dict[str, t.Callable[[Store], object]] = {
    "a duplicate": lambda store: store.say(9001),
    "an edit": edit,
    "an operator's message": lambda store: store.put(9002),
    "a message elsewhere": lambda store: store.say(9002, conversation_id=43),
    "an older message": find_older,
}


@pytest.mark.parametrize("happens", NO_MESSAGES.values(), ids=NO_MESSAGES)
def test_only_the_next_message_of_the_customer_ends_the_pause(
    store: Store, happens: t.Callable[[Store], object]
) -> None:
    store.say(9001)
    raise_in_provider(store)
    happens(store)

    assert store.inspection.jobs()[-1].state is JobState.RETRYING
    store.advance(60)
    job = store.claim_of(42)
    assert (job.message_id, job.last_attempt) == (9001, False)


def test_an_answer_that_waits_is_not_brought_forward(store: Store) -> None:
    store.say(9001)
    raise_in_provider(store)
    store.advance(60)
    job = store.claim()
    store.keep(job)
    store.queue.postpone(job, 60)
    store.say(9002)

    assert store.queue.claim() is None


def test_a_revived_turn_has_all_attempts_of_its_provider_again(store: Store) -> None:
    store.say(9001)
    raise_in_provider(store)
    store.say(9002)
    job = store.claim()
    store.queue.failed(job, FailedBy.PROVIDER)
    store.settle(job, "dead", Reason.PROVIDER_FAILED)
    store.finish()
    store.inspection.retry([job.id])

    job = store.claim()
    assert (job.provider_attempts, job.last_attempt) == (0, False)


@pytest.mark.sqlite
def test_a_turn_that_begins_at_that_very_moment_is_not_joined(
    store: Store, path: str, clock: Clock
) -> None:
    store.say(9001)
    other = open_store(path, clock)
    begun: list[Job] = []

    def begin(statement: str) -> None:
        if statement.startswith("BEGIN"):
            begun.append(other.claim())

    store.connection.set_trace_callback(begin)
    assert store.say(9002)
    store.connection.set_trace_callback(None)
    other.close()

    assert [job.message_id for job in begun] == [9001]
    assert store.messages_by_job() == {1: [9001], 2: [9002]}


@pytest.mark.parametrize("so_far", ["unclaimed", "claimed", "done", "dead"])
@pytest.mark.parametrize("later", [[], [9004]], ids=["alone", "before another turn"])
def test_a_duplicate_of_any_message_of_a_turn_is_recognised(
    store: Store, later: list[int], so_far: str
) -> None:
    for new in (9001, 9002, 9003):
        store.say(new)

    SO_FAR[so_far](store)

    for new in later:
        store.say(new)

    before = store.everything()

    for message_id in (9001, 9002, 9003):
        assert not store.say(message_id)
        assert not store.put(message_id)
        assert store.say_and_claim(message_id) == (False, None)

    assert store.everything() == before


def test_the_text_is_read_only_of_a_message_that_joins(store: Store) -> None:
    read: list[int] = []

    def write(message_id: int, **values: t.Any) -> None:
        def said() -> str:
            read.append(message_id)
            return "said"

        store.put(message_id, kind=MESSAGE, said=said, **values)

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

    store.say(9001)
    store.say(9002, payload=b"two")
    before = store.everything()

    with pytest.raises(ValueError, match="a text that is none"):
        store.say(9003, said=fail)

    assert store.everything() == before
    assert store.say(9003)
    assert len(store.claim().follow_ups) == 2


@pytest.mark.sqlite
def test_a_message_costs_the_same_however_many_wait_with_it(store: Store) -> None:
    store.say(1)
    db = store.connection
    steps: list[None] = []
    db.set_progress_handler(lambda: steps.append(None), 1)

    def cost(message_id: int) -> int:
        steps.clear()
        store.say(message_id)
        return len(steps)

    costs = [cost(message_id) for message_id in range(2, 202)]
    db.set_progress_handler(None, 0)

    assert len(store.claim().follow_ups) == 200
    assert 0 < max(costs) < 2 * costs[2]


TEXTS = [(9001, "one"), (9002, "two")]


def supersede(store: Store, job: Job, texts: list[tuple[int, str]] = TEXTS) -> bool:
    return store.queue.supersede(job, texts, "superseded")


# -- the pause before a turn ---------------------------------------------------

WINDOW = 5.0
LONGEST = 12.0


@pytest.fixture
def patient(path: str, clock: Clock) -> t.Iterator[Store]:
    """A store that waits for more messages."""
    store = open_store(path, clock, window=WINDOW, longest=LONGEST)
    yield store
    store.close()


def seconds_to_claim(store: Store) -> float:
    """The seconds from now on after which a job can be claimed."""
    begun = store.now

    while (job := store.queue.claim()) is None:
        assert store.now < begun + 100
        store.advance(0.5)

    store.settle(job)

    return store.now - begun


def take(store: Store, steps: t.Sequence[str | float]) -> None:
    """Take steps in turn; a number is seconds that pass."""
    jobs: list[Job] = []
    calls: dict[str, t.Callable[[int], object]] = {
        "say": store.say,
        "say and claim": store.say_and_claim,
        "put": store.put,
        "claim": lambda _: jobs.append(store.claim()),
        "settle": lambda _: store.settle(jobs[-1]),
        "postpone": lambda _: store.queue.postpone(jobs[-1], 60),
        "say again": lambda _: store.say(9001),
        "supersede": lambda _: supersede(store, jobs[-1], TEXTS[:1]),
    }

    for message_id, step in enumerate(steps, 9001):
        if isinstance(step, str):
            calls[step](message_id)
        else:
            store.advance(step)


BEGUN = ("say", WINDOW, "claim")
ON_AND_ON = ("say", 1) * 11

PAUSES: dict[str, tuple[t.Sequence[str | float], float]] = {
    "after the last message": (("say", 4, "say"), WINDOW),
    "the same if it is claimed": (("say and claim", 4, "say and claim"), WINDOW),
    "not after a duplicate": (("say", 4, "say again"), 1),
    "behind a turn": ((*BEGUN, 1, "say", 3, "say", 1, "settle"), WINDOW - 1),
    "at most the longest in all": (("say", 4, *("say", 3) * 2), LONGEST - 10),
    "at most the longest": ((*BEGUN, *ON_AND_ON, "settle"), LONGEST - 11),
    "none behind a slow turn": ((*BEGUN, "say", LEASE - 1, "settle"), 0),
    "that of a retry": ((*BEGUN, "postpone", "say", 59, "say"), 1),
    "of its own if it takes over": ((*BEGUN, 2, "say", "supersede"), WINDOW),
    "its own behind a job": (("put", "say", "claim", "settle"), WINDOW),
    "none for what is no message": (("put",), 0),
    "none for that behind a turn": (("put", "claim", "put", "settle"), 0),
}


@pytest.mark.parametrize(("steps", "pause"), PAUSES.values(), ids=PAUSES)
def test_a_turn_begins_after_its_pause(
    patient: Store, steps: t.Sequence[str | float], pause: float
) -> None:
    take(patient, steps)
    assert seconds_to_claim(patient) == pause


# -- a turn that another supersedes ---------------------------------------------


def test_the_next_turn_answers_what_this_one_does_not(store: Store) -> None:
    begun = store.now
    store.say(9001, payload=b"one")
    store.advance(1)
    store.say(9002, payload=b"two")
    job = store.claim()
    store.outbox.keep(job, NOTE)
    store.advance(1)
    store.say(9003, payload=b"three")
    store.advance(1)
    store.say(9004, payload=b"four", said=lambda: "fourth")

    assert supersede(store, job)

    heir = store.claim()
    assert (heir.message_id, heir.payload, heir.newest) == (9003, b"three", b"four")
    taken = [(9001, "one", None), (9002, "two", None)]
    assert follow_ups(heir) == [*taken, (9004, "fourth", b"four")]
    assert heir.since == begun < heir.received_at
    assert heir.drafts == ()
    assert not any(map(store.say, (9001, 9002, 9003)))
    (info,) = store.inspection.jobs(JobState.DONE)
    assert (info.id, info.outcome, info.reason) == (job.id, "declined", "superseded")


def test_a_turn_that_took_over_is_joined_and_has_the_newest(store: Store) -> None:
    store.say(9001)
    job = store.claim()
    store.advance(1)
    store.say(9002)
    store.say(9003, payload=b"three")
    supersede(store, job, TEXTS[:1])
    store.advance(1)
    store.say(9004, payload=b"four")

    heir = store.claim()
    joined = [(9003, "", None), (9004, "", b"four")]
    assert follow_ups(heir) == [(9001, "one", None), *joined]
    assert heir.newest == b"four"


def test_messages_keep_their_order_when_turns_are_superseded(store: Store) -> None:
    begun = store.now
    store.say(9001)

    for message_id in (9002, 9003, 9004):
        job = store.claim()
        store.advance(1)
        store.say(message_id)
        known = [each.message_id for each in job.follow_ups] + [job.message_id]
        assert supersede(store, job, [(id, str(id)) for id in known])

    last = store.claim()
    assert follow_ups(last) == [(id, str(id), None) for id in (9001, 9002, 9003)]
    assert (last.since, last.message_id) == (begun, 9004)


def test_without_a_message_that_waits_no_turn_is_superseded(store: Store) -> None:
    store.say(9001)
    store.say(9002, conversation_id=43)
    job = store.claim_of(42)
    store.put(9003)  # nothing to answer
    before = store.everything()

    assert not supersede(store, job)
    assert store.everything() == before
    store.queue.renew(job)
    store.settle(job, "noted", None)


def test_a_message_behind_another_job_takes_over_in_its_turn(store: Store) -> None:
    store.say(9001)
    job = store.claim()
    store.put(9002)
    store.say(9003)

    assert supersede(store, job, TEXTS[:1])
    assert store.finish() == 9002
    assert follow_ups(store.claim()) == [(9001, "one", None)]


def test_no_message_is_taken_over_beyond_a_late_one(store: Store) -> None:
    """It would be answered after one that was written when it was stored already."""
    store.say(9001)
    job = store.claim()
    store.say(9003)
    supersede(store, job, TEXTS[:1])
    job = store.claim()
    assert ids_of(job) == [9003, 9001]

    find(store, 9002)
    store.say(9004)

    assert not supersede(store, job, [(9001, "one"), (9003, "three")])
    store.settle(job)
    assert answers(store) == [[9002], [9004]]


def test_a_late_turn_is_not_superseded(store: Store) -> None:
    store.say(9002)
    store.finish()
    find(store, 9001)
    job = store.claim()
    store.say(9003)

    assert not supersede(store, job, TEXTS[:1])


def test_a_turn_that_has_its_answer_already_takes_nothing_over(store: Store) -> None:
    for message_id in (9001, 9002):
        store.say(message_id)
        job = store.claim()
        store.outbox.keep(job, NOTE)
        store.settle(job, "dead", "refused")

    store.inspection.retry([1, 2])
    before = store.everything()[1:]

    assert not supersede(store, store.claim(), TEXTS[:1])
    assert store.everything()[1:] == before
