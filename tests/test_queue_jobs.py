from __future__ import annotations

import itertools
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from conftest import Clock
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from flask_chatwoot.errors import DatabaseError, LeaseLostError
from flask_chatwoot.queue.inspection import Draft, JobRow
from flask_chatwoot.queue.jobs import MESSAGE, File, Inbox, Job, Part

LEASE = 30.0
DAY = 86400.0
BODY = b'{"event": "message_created"}'


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "inbox.sqlite3")


@pytest.fixture
def inbox(path: str, clock: Clock) -> t.Iterator[Inbox]:
    store = open_inbox(path, clock)
    yield store
    store.close()


def open_inbox(path: str, clock: Clock, account_id: int = 1) -> Inbox:
    return Inbox(path, account_id=account_id, sync="normal", lease=LEASE, clock=clock)


def put(
    inbox: Inbox, message_id: int, *, conversation_id: int = 42, payload: bytes = BODY
) -> bool:
    """Store a delivery that stays a job of its own."""
    return inbox.put(
        f"1:message_created:{message_id}",
        conversation_id=conversation_id,
        message_id=message_id,
        payload=payload,
        kind="alone",
    )


def say(
    inbox: Inbox,
    message_id: int,
    *,
    conversation_id: int = 42,
    payload: bytes = BODY,
    said: t.Callable[[], str] = str,
) -> bool:
    """Store a customer's message, which joins the turn that waits."""
    return inbox.put(
        f"1:message_created:{message_id}",
        conversation_id=conversation_id,
        message_id=message_id,
        payload=payload,
        said=said,
    )


def claim(inbox: Inbox) -> Job:
    job = inbox.claim()
    assert job is not None

    return job


def finish(inbox: Inbox, outcome: str = "replied", reason: str | None = None) -> int:
    """Claim a job and end it; the message it was about."""
    job = claim(inbox)
    inbox.settle(job, outcome, reason)

    return job.message_id


def only(inbox: Inbox) -> JobRow:
    (job,) = inbox.jobs()

    return job


def sent(inbox: Inbox, job: Job, text: str = "On its way.") -> Draft:
    """A draft for which a request went out."""
    (draft,) = inbox.keep(job, [(text, False)])
    inbox.sending(job, draft)

    return draft


# -- deliveries ----------------------------------------------------------------


def test_a_delivery_is_stored_as_it_came(inbox: Inbox) -> None:
    assert put(inbox, 9001, payload=b"\x00 raw \xff bytes")

    job = claim(inbox)
    assert (job.conversation_id, job.message_id) == (42, 9001)
    assert job.payload == b"\x00 raw \xff bytes"
    assert (job.attempts, job.drafts) == (1, ())


def test_a_delivery_is_stored_once(inbox: Inbox) -> None:
    assert put(inbox, 9001)
    assert not put(inbox, 9001)
    assert len(inbox.jobs()) == 1


@pytest.mark.parametrize("outcome", ["replied", "declined", "dead"])
def test_a_repeat_is_recognised_after_the_end(inbox: Inbox, outcome: str) -> None:
    put(inbox, 9001)
    finish(inbox, outcome)

    assert not put(inbox, 9001)
    assert put_and_claim(inbox, 9001) == (False, None)
    assert inbox.claim() is None


def test_a_repeat_does_not_disturb_the_job(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001, payload=b"first")
    job = claim(inbox)
    clock.advance(1)
    put(inbox, 9001, payload=b"second")

    assert inbox.claim() is None
    inbox.postpone(job, 0)
    assert claim(inbox).payload == b"first"


def test_a_delivery_survives_the_process(inbox: Inbox, path: str, clock: Clock) -> None:
    put(inbox, 9001)
    inbox.close()

    assert claim(open_inbox(path, clock)).message_id == 9001


def test_a_closed_inbox_opens_again(inbox: Inbox) -> None:
    put(inbox, 9001)
    inbox.close()
    inbox.close()

    assert claim(inbox).message_id == 9001


def test_accounts_in_one_file_do_not_see_each_other(
    inbox: Inbox, path: str, clock: Clock
) -> None:
    put(inbox, 9001)
    draft = sent(inbox, claim(inbox))
    other = open_inbox(path, clock, account_id=2)

    clock.advance(LEASE)
    assert other.claim() is None
    assert other.jobs() == []
    assert other.under_way(42, message_id=9002) == []
    assert inbox.under_way(42, message_id=9002) == [
        Draft(
            id=draft.id,
            marker=draft.marker,
            private=False,
            content="On its way.",
            sent_at=clock.now - LEASE,
        )
    ]
    finish(inbox, "dead", "crashed")
    assert other.retry([1]) == []
    other.close()


def put_and_claim(
    inbox: Inbox,
    message_id: int,
    *,
    conversation_id: int = 42,
    payload: bytes = BODY,
    kind: str = "alone",
    said: t.Callable[[], str] = str,
) -> tuple[bool, Job | None]:
    return inbox.put_and_claim(
        f"1:message_created:{message_id}",
        conversation_id=conversation_id,
        message_id=message_id,
        payload=payload,
        kind=kind,
        said=said,
    )


def say_and_claim(
    inbox: Inbox, message_id: int, *, conversation_id: int = 42
) -> tuple[bool, Job | None]:
    return put_and_claim(
        inbox, message_id, conversation_id=conversation_id, kind=MESSAGE
    )


def test_a_delivery_can_be_stored_and_claimed_in_one_go(
    inbox: Inbox, clock: Clock
) -> None:
    new, job = put_and_claim(inbox, 9001)

    assert new
    assert job is not None
    assert (job.message_id, job.payload, job.attempts) == (9001, BODY, 1)
    assert inbox.claim() is None
    clock.advance(LEASE)
    assert claim(inbox).attempts == 2
    assert put_and_claim(inbox, 9001) == (False, None)


def test_a_delivery_behind_another_is_stored_and_not_claimed(inbox: Inbox) -> None:
    put(inbox, 9001)

    assert put_and_claim(inbox, 9002) == (True, None)
    assert [finish(inbox), finish(inbox)] == [9001, 9002]
    assert put_and_claim(inbox, 9003)[1] is not None


# -- the line of a conversation ------------------------------------------------


def test_only_the_first_unfinished_job_of_a_conversation_is_due(inbox: Inbox) -> None:
    put(inbox, 9001)
    put(inbox, 9002)
    put(inbox, 9003)

    assert claim(inbox).message_id == 9001
    assert inbox.claim() is None


@pytest.mark.parametrize("outcome", ["replied", "noted", "declined", "dead"])
def test_the_next_in_line_is_due_when_the_first_ends(
    inbox: Inbox, outcome: str
) -> None:
    for message_id in (9001, 9002, 9003):
        put(inbox, message_id)

    assert [finish(inbox, outcome) for _ in range(3)] == [9001, 9002, 9003]
    assert inbox.claim() is None


def test_a_job_stored_while_the_first_runs_waits_for_it(inbox: Inbox) -> None:
    put(inbox, 9001)
    first = claim(inbox)
    put(inbox, 9002)

    assert inbox.claim() is None
    inbox.settle(first, "replied", None)
    assert claim(inbox).message_id == 9002


def test_conversations_go_side_by_side(inbox: Inbox) -> None:
    put(inbox, 9001, conversation_id=42)
    put(inbox, 9002, conversation_id=43)

    assert [claim(inbox).message_id, claim(inbox).message_id] == [9001, 9002]


def test_a_head_that_waits_for_another_attempt_blocks_its_line_only(
    inbox: Inbox, clock: Clock
) -> None:
    put(inbox, 9001, conversation_id=42)
    put(inbox, 9002, conversation_id=42)
    put(inbox, 9003, conversation_id=43)
    inbox.postpone(claim(inbox), 60)

    assert finish(inbox) == 9003
    assert inbox.claim() is None
    clock.advance(60)
    assert [finish(inbox), finish(inbox)] == [9001, 9002]


def test_a_delivery_waits_outside_the_index_of_due_jobs_for_the_next_claim(
    inbox: Inbox, path: str
) -> None:
    put(inbox, 9001, conversation_id=1)
    put(inbox, 9002, conversation_id=2)
    put(inbox, 9003, conversation_id=2)
    due = "SELECT message_id FROM job WHERE due_at >= 0 ORDER BY id"
    assert read(path, due) == []

    claim(inbox)
    assert read(path, due) == [(9001,), (9002,)]


@pytest.mark.parametrize("lookers", [1, 2])
@pytest.mark.parametrize("seen", [0, 1, 150])
def test_every_arrival_is_found_whoever_looks(
    inbox: Inbox, path: str, clock: Clock, seen: int, lookers: int
) -> None:
    other = open_inbox(path, clock)
    inboxes = itertools.cycle([inbox, other][:lookers])

    for number in range(seen):
        put(inbox, number + 1, conversation_id=number + 1)
        finish(other)

    for number in range(seen, seen + 250):  # more than are entered at once
        put(inbox, number + 1, conversation_id=number + 1)
        clock.advance(1)

    found = [claim(next(inboxes)).message_id for _ in range(250)]
    assert found == list(range(seen + 1, seen + 251))
    assert inbox.claim() is other.claim() is None
    other.close()


def test_an_arrival_is_found_though_later_ones_are_seen(
    inbox: Inbox, path: str, clock: Clock
) -> None:
    """Other accounts share the file, and see only their own."""
    other = open_inbox(path, clock, account_id=2)
    put(inbox, 9001)
    put_and_claim(inbox, 9002, conversation_id=43)
    put(other, 9003)
    assert finish(other) == 9003
    assert other.claim() is None

    assert finish(inbox) == 9001
    other.close()


def test_an_arrival_is_found_after_its_entry_was_undone(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> str:
        raise KeyboardInterrupt

    put(inbox, 9001)

    with monkeypatch.context() as patch:
        patch.setattr(secrets, "token_hex", interrupt)

        with pytest.raises(KeyboardInterrupt):
            inbox.claim()

    assert claim(inbox).message_id == 9001


def test_an_arrival_in_a_file_that_replaced_another_is_found(
    inbox: Inbox, path: str
) -> None:
    for number in range(1, 4):
        put(inbox, number, conversation_id=number)
        finish(inbox)

    inbox.close()
    Path(path).unlink()
    put(inbox, 9001)

    assert claim(inbox).message_id == 9001


def test_an_arrival_is_found_by_a_process_that_begins_later(
    inbox: Inbox, path: str, clock: Clock
) -> None:
    put(inbox, 9001)
    put(inbox, 9002, conversation_id=43)
    finish(inbox)
    put(inbox, 9003, conversation_id=44)
    inbox.close()
    other = open_inbox(path, clock)

    assert [finish(other), finish(other)] == [9002, 9003]
    assert other.claim() is None
    other.close()


def test_an_arrival_is_due_no_earlier_than_if_it_was_entered(
    path: str, clock: Clock
) -> None:
    inbox = Inbox(path, account_id=1, sync="normal", window=5.0, clock=clock)
    say(inbox, 9001)
    assert inbox.claim() is None
    (chapter,) = inbox.story(42)
    assert chapter.due_at == clock.now + 5

    clock.advance(5)
    assert claim(inbox).message_id == 9001
    inbox.close()


def test_the_oldest_due_job_comes_first(inbox: Inbox, clock: Clock) -> None:
    for number in range(5):
        put(inbox, 9001 + number, conversation_id=50 - number)
        clock.advance(1)

    assert [finish(inbox) for _ in range(5)] == [9001, 9002, 9003, 9004, 9005]


def test_a_long_line_does_not_lose_its_place(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001, conversation_id=42)
    put(inbox, 9002, conversation_id=42)
    clock.advance(1)
    put(inbox, 9003, conversation_id=43)

    assert [finish(inbox) for _ in range(3)] == [9001, 9002, 9003]


def test_revived_jobs_keep_their_order(inbox: Inbox) -> None:
    for message_id in (9001, 9002, 9003):
        put(inbox, message_id)
        finish(inbox, "dead", "unauthorized")

    newest_first = [job.id for job in inbox.jobs(state="dead")]
    inbox.retry(newest_first)

    assert [finish(inbox) for _ in range(3)] == [9001, 9002, 9003]


def test_a_revived_job_waits_for_the_one_that_runs(inbox: Inbox) -> None:
    put(inbox, 9001)
    finish(inbox, "dead", "refused")
    put(inbox, 9002)
    put(inbox, 9003)
    running = claim(inbox)
    inbox.retry([1])

    assert inbox.claim() is None
    inbox.settle(running, "replied", None)
    assert [finish(inbox), finish(inbox)] == [9001, 9003]


# -- bursts --------------------------------------------------------------------


def told(job: Job) -> list[tuple[int, str, bytes | None]]:
    """What a job knows of its further messages."""
    return [(each.message_id, each.said, each.payload) for each in job.follow_ups]


def test_a_message_joins_the_turn_that_waits(inbox: Inbox, clock: Clock) -> None:
    begun = clock.now
    assert say(inbox, 9001, payload=b"one")
    clock.advance(1)
    assert say(inbox, 9002, payload=b"two", said=lambda: "second")
    clock.advance(1)
    assert say(inbox, 9003, payload=b"three", said=lambda: "third")

    job = claim(inbox)
    assert (job.message_id, job.payload, job.newest) == (9001, b"one", b"three")
    assert told(job) == [(9002, "second", None), (9003, "third", b"three")]
    assert [each.received_at for each in job.follow_ups] == [begun + 1, begun + 2]
    assert job.since == job.received_at == begun
    assert inbox.claim() is None
    assert len(inbox.jobs()) == 1


def test_messages_of_the_same_instant_keep_the_order_in_which_they_came(
    inbox: Inbox,
) -> None:
    for message_id in (9001, 9003, 9002, 9004):
        say(inbox, message_id)

    assert [each.message_id for each in claim(inbox).follow_ups] == [9003, 9002, 9004]


def test_a_turn_of_one_message_has_that_alone(inbox: Inbox) -> None:
    say(inbox, 9001, payload=b"one")

    job = claim(inbox)
    assert (job.newest, job.follow_ups) == (b"one", ())


def test_a_message_joins_even_if_it_was_to_be_claimed_at_once(inbox: Inbox) -> None:
    say(inbox, 9001)

    assert say_and_claim(inbox, 9002) == (True, None)
    assert told(claim(inbox)) == [(9002, "", BODY)]


def test_a_message_joins_the_turn_that_is_next_in_line(inbox: Inbox) -> None:
    _, running = say_and_claim(inbox, 9001)
    assert running is not None
    say(inbox, 9002)
    assert say_and_claim(inbox, 9003) == (True, None)
    say(inbox, 9004)

    assert inbox.claim() is None
    inbox.settle(running, "replied", None)
    job = claim(inbox)
    assert job.message_id == 9002
    assert [each.message_id for each in job.follow_ups] == [9003, 9004]


def postponed(inbox: Inbox) -> None:
    inbox.postpone(claim(inbox), 0)


def revived(inbox: Inbox) -> None:
    inbox.settle(claim(inbox), "dead", "provider_failed")
    inbox.retry([1])


@pytest.mark.parametrize("come_back", [postponed, revived])
def test_a_message_joins_a_turn_that_begins_anew_without_an_answer(
    inbox: Inbox, come_back: t.Callable[[Inbox], None]
) -> None:
    say(inbox, 9001)
    say(inbox, 9002)
    come_back(inbox)
    say(inbox, 9003)

    assert [each.message_id for each in claim(inbox).follow_ups] == [9002, 9003]
    assert len(inbox.jobs()) == 1


def taken(inbox: Inbox, clock: Clock) -> None:
    claim(inbox)


def abandoned(inbox: Inbox, clock: Clock) -> None:
    claim(inbox)
    clock.advance(2 * LEASE)


def answered(inbox: Inbox, clock: Clock) -> None:
    job = claim(inbox)
    inbox.keep(job, [("On its way.", False)])
    inbox.postpone(job, 5)


def given_up(inbox: Inbox, clock: Clock) -> None:
    inbox.give_up(claim(inbox), "refused", [], handoff=None)


def ended(inbox: Inbox, clock: Clock) -> None:
    finish(inbox)


def dead(inbox: Inbox, clock: Clock) -> None:
    finish(inbox, "dead", "refused")


@pytest.mark.parametrize("store", [say, say_and_claim])
@pytest.mark.parametrize("so_far", [taken, abandoned, answered, given_up, ended, dead])
def test_a_message_never_joins_a_turn_that_has_begun(
    inbox: Inbox,
    path: str,
    clock: Clock,
    so_far: t.Callable[[Inbox, Clock], None],
    store: t.Callable[[Inbox, int], t.Any],
) -> None:
    say(inbox, 9001)
    so_far(inbox, clock)
    store(inbox, 9002)

    assert messages_by_job(path) == {1: [9001], 2: [9002]}


def test_only_messages_join_and_only_messages(inbox: Inbox, path: str) -> None:
    put(inbox, 9001)
    say(inbox, 9002)
    put(inbox, 9003)
    say(inbox, 9004)

    assert messages_by_job(path) == {1: [9001], 2: [9002, 9004], 3: [9003]}


def test_a_message_joins_nobody_elses_conversation(
    inbox: Inbox, path: str, clock: Clock
) -> None:
    other = open_inbox(path, clock, account_id=2)
    say(inbox, 9001)
    say(inbox, 9002, conversation_id=43)
    other.put(
        "2:message_created:9003", conversation_id=42, message_id=9003, payload=BODY
    )
    other.close()

    assert messages_by_job(path) == {1: [9001], 2: [9002], 3: [9003]}


def test_of_two_turns_that_wait_the_newer_one_is_joined(
    inbox: Inbox, path: str
) -> None:
    say(inbox, 9001)
    finish(inbox, "dead", "refused")
    say(inbox, 9002)
    inbox.retry([1])
    say(inbox, 9003)

    assert messages_by_job(path) == {1: [9001], 2: [9002, 9003]}


def test_a_turn_that_begins_at_that_very_moment_is_not_joined(
    inbox: Inbox, path: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = spy_on_connections(monkeypatch)
    say(inbox, 9001)
    (db,) = opened
    other = open_inbox(path, clock)
    begun: list[Job] = []

    def begin(statement: str) -> None:
        if statement.startswith("BEGIN"):
            begun.append(claim(other))

    db.set_trace_callback(begin)
    assert say(inbox, 9002)
    db.set_trace_callback(None)
    other.close()

    assert [job.message_id for job in begun] == [9001]
    assert messages_by_job(path) == {1: [9001], 2: [9002]}


def unclaimed(inbox: Inbox) -> None:
    pass


def claimed(inbox: Inbox) -> None:
    claim(inbox)


def done(inbox: Inbox) -> None:
    finish(inbox)


def failed(inbox: Inbox) -> None:
    finish(inbox, "dead", "refused")


@pytest.mark.parametrize("so_far", [unclaimed, claimed, done, failed])
@pytest.mark.parametrize("message_id", [9001, 9002, 9003])
def test_a_repeat_of_any_message_of_a_turn_is_recognised(
    inbox: Inbox, path: str, message_id: int, so_far: t.Callable[[Inbox], None]
) -> None:
    for new in (9001, 9002, 9003):
        say(inbox, new)

    so_far(inbox)
    before = everything(path)

    assert not say(inbox, message_id)
    assert not put(inbox, message_id)
    assert say_and_claim(inbox, message_id) == (False, None)
    assert everything(path) == before


def test_a_repeat_is_recognised_behind_a_turn_that_waits(inbox: Inbox) -> None:
    say(inbox, 9001)
    say(inbox, 9002)
    finish(inbox)
    say(inbox, 9003)

    assert not say(inbox, 9001)
    assert not say(inbox, 9002)
    assert say_and_claim(inbox, 9002) == (False, None)
    assert claim(inbox).follow_ups == ()


def test_what_to_remember_is_asked_only_of_a_message_that_joins(inbox: Inbox) -> None:
    asked: list[int] = []

    def of(message_id: int) -> t.Callable[[], str]:
        def said() -> str:
            asked.append(message_id)

            return "said"

        return said

    say(inbox, 9001, said=of(9001))
    put_and_claim(inbox, 9002, conversation_id=43, kind=MESSAGE, said=of(9002))
    assert asked == []

    say(inbox, 9003, said=of(9003))
    put_and_claim(inbox, 9004, kind=MESSAGE, said=of(9004))
    assert asked == [9003, 9004]

    say(inbox, 9001, said=of(9001))
    say(inbox, 9003, said=of(9003))
    put_and_claim(inbox, 9004, kind=MESSAGE, said=of(9004))
    assert asked == [9003, 9004]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_message_of_which_nothing_can_be_remembered_is_not_half_stored(
    inbox: Inbox, path: str, at_once: bool
) -> None:
    def fail() -> str:
        raise ValueError("a text that is none")

    say(inbox, 9001)
    say(inbox, 9002, payload=b"two")
    before = everything(path)

    store = partial(put_and_claim, kind=MESSAGE) if at_once else say

    with pytest.raises(ValueError, match="a text that is none"):
        store(inbox, 9003, said=fail)

    assert everything(path) == before
    assert say(inbox, 9003)
    assert len(claim(inbox).follow_ups) == 2


def test_a_message_costs_the_same_however_many_wait_with_it(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = spy_on_connections(monkeypatch)
    say(inbox, 1)
    (db,) = opened
    steps: list[None] = []
    db.set_progress_handler(lambda: steps.append(None), 1)

    def cost(message_id: int) -> int:
        steps.clear()
        say(inbox, message_id)

        return len(steps)

    costs = [cost(message_id) for message_id in range(2, 202)]
    db.set_progress_handler(None, 0)

    assert len(claim(inbox).follow_ups) == 200
    assert 0 < max(costs) < 2 * costs[2]


# -- the pause before a turn ---------------------------------------------------

WINDOW = 5.0
LONGEST = 12.0


@pytest.fixture
def patient(path: str, clock: Clock) -> t.Iterator[Inbox]:
    """An inbox that waits for more."""
    store = Inbox(
        path,
        account_id=1,
        sync="normal",
        lease=LEASE,
        window=WINDOW,
        longest=LONGEST,
        clock=clock,
    )
    yield store
    store.close()


def seconds_to_claim(inbox: Inbox, clock: Clock) -> float:
    """How long a worker waits from now on for a job."""
    begun = clock.now

    while (job := inbox.claim()) is None:
        assert clock.now < begun + 100
        clock.advance(0.5)

    inbox.settle(job, "replied", None)

    return clock.now - begun


@pytest.mark.parametrize("store", [say, say_and_claim])
def test_a_turn_begins_when_the_customer_has_been_silent_for_the_window(
    patient: Inbox, clock: Clock, store: t.Callable[[Inbox, int], t.Any]
) -> None:
    store(patient, 9001)
    clock.advance(4)
    store(patient, 9002)

    assert seconds_to_claim(patient, clock) == WINDOW


def test_a_repeat_does_not_lengthen_the_pause(patient: Inbox, clock: Clock) -> None:
    say(patient, 9001)
    clock.advance(4)
    say(patient, 9001)

    assert seconds_to_claim(patient, clock) == 1


def test_a_customer_who_writes_on_and_on_is_answered(
    patient: Inbox, clock: Clock
) -> None:
    begun = clock.now
    message_id = 9001
    say(patient, message_id)

    while (job := patient.claim()) is None:
        assert clock.now < begun + 100
        clock.advance(1)
        message_id += 1
        say(patient, message_id)

    assert clock.now == begun + LONGEST
    assert len(job.follow_ups) == LONGEST


def test_the_next_turn_waits_for_more_from_its_last_message_on(
    patient: Inbox, clock: Clock
) -> None:
    say(patient, 9001)
    clock.advance(WINDOW)
    job = claim(patient)
    clock.advance(1)
    say(patient, 9002)
    clock.advance(3)
    say(patient, 9003)
    clock.advance(1)
    patient.settle(job, "replied", None)

    assert seconds_to_claim(patient, clock) == WINDOW - 1


def test_the_next_turn_waits_no_longer_than_the_longest_pause(
    patient: Inbox, clock: Clock
) -> None:
    say(patient, 9001)
    clock.advance(WINDOW)
    job = claim(patient)

    for message_id in range(9002, 9013):
        say(patient, message_id)
        clock.advance(1)

    patient.settle(job, "replied", None)
    assert seconds_to_claim(patient, clock) == LONGEST - 11


def test_who_waited_behind_a_slow_turn_does_not_wait_again(
    patient: Inbox, clock: Clock
) -> None:
    say(patient, 9001)
    clock.advance(WINDOW)
    job = claim(patient)
    say(patient, 9002)
    clock.advance(LEASE - 1)
    patient.settle(job, "replied", None)

    assert seconds_to_claim(patient, clock) == 0


def test_a_message_does_not_bring_the_next_attempt_forward_or_put_it_off(
    patient: Inbox, clock: Clock
) -> None:
    say(patient, 9001)
    clock.advance(WINDOW)
    patient.postpone(claim(patient), 60)
    say(patient, 9002)
    clock.advance(59)
    say(patient, 9003)

    assert seconds_to_claim(patient, clock) == 1


def test_only_messages_wait_for_more(patient: Inbox, clock: Clock) -> None:
    put(patient, 9001)

    assert seconds_to_claim(patient, clock) == 0


def test_what_is_no_message_does_not_wait_for_more_behind_a_turn_either(
    patient: Inbox, clock: Clock
) -> None:
    put(patient, 9001)
    job = claim(patient)
    put(patient, 9002)
    patient.settle(job, "replied", None)

    assert seconds_to_claim(patient, clock) == 0


# -- a turn that another takes over --------------------------------------------

TOLD = [(9001, "one"), (9002, "two")]


def test_the_next_turn_answers_what_this_one_does_not(
    inbox: Inbox, clock: Clock
) -> None:
    begun = clock.now
    say(inbox, 9001, payload=b"one")
    clock.advance(1)
    say(inbox, 9002, payload=b"two")
    job = claim(inbox)
    inbox.keep(job, [("A note.", True)])
    clock.advance(1)
    say(inbox, 9003, payload=b"three")
    clock.advance(1)
    say(inbox, 9004, payload=b"four", said=lambda: "fourth")

    assert inbox.supersede(job, TOLD, "superseded")

    heir = claim(inbox)
    assert (heir.message_id, heir.payload, heir.newest) == (9003, b"three", b"four")
    assert told(heir) == [
        (9001, "one", None),
        (9002, "two", None),
        (9004, "fourth", b"four"),
    ]
    assert heir.since == begun < heir.received_at
    assert heir.drafts == ()
    (info,) = inbox.jobs(state="done")
    assert (info.id, info.outcome, info.reason) == (job.id, "declined", "superseded")


def test_a_turn_that_took_over_is_joined_and_keeps_the_newest_payload_only(
    inbox: Inbox, clock: Clock
) -> None:
    say(inbox, 9001)
    job = claim(inbox)
    clock.advance(1)
    say(inbox, 9002)
    say(inbox, 9003, payload=b"three")
    inbox.supersede(job, [(9001, "one")], "superseded")
    clock.advance(1)
    say(inbox, 9004, payload=b"four")

    heir = claim(inbox)
    assert told(heir) == [
        (9001, "one", None),
        (9003, "", None),
        (9004, "", b"four"),
    ]
    assert heir.newest == b"four"


def test_turns_hand_their_messages_on_and_on_in_their_order(
    inbox: Inbox, clock: Clock
) -> None:
    begun = clock.now
    say(inbox, 9001)

    for message_id in (9002, 9003, 9004):
        job = claim(inbox)
        clock.advance(1)
        say(inbox, message_id)
        known = [each.message_id for each in job.follow_ups] + [job.message_id]
        assert inbox.supersede(job, [(id, str(id)) for id in known], "superseded")

    last = claim(inbox)
    assert told(last) == [(id, str(id), None) for id in (9001, 9002, 9003)]
    assert last.since == begun
    assert last.message_id == 9004


def test_without_a_message_that_waits_no_turn_is_taken_over(
    inbox: Inbox, path: str
) -> None:
    say(inbox, 9001)
    say(inbox, 9002, conversation_id=43)
    job = claim_of(inbox, 42)
    put(inbox, 9003)  # nothing to answer
    before = everything(path)

    assert not inbox.supersede(job, TOLD, "superseded")
    assert everything(path) == before
    inbox.renew(job)
    inbox.settle(job, "noted", None)


def test_a_message_behind_something_else_in_line_takes_over_in_its_turn(
    inbox: Inbox,
) -> None:
    say(inbox, 9001)
    job = claim(inbox)
    put(inbox, 9002)
    say(inbox, 9003)

    assert inbox.supersede(job, [(9001, "one")], "superseded")
    assert finish(inbox) == 9002
    assert told(claim(inbox)) == [(9001, "one", None)]


def test_a_turn_that_has_its_answer_already_takes_nothing_over(
    inbox: Inbox, path: str
) -> None:
    for message_id in (9001, 9002):
        say(inbox, message_id)
        job = claim(inbox)
        inbox.keep(job, [("A note.", True)])
        inbox.settle(job, "dead", "refused")

    inbox.retry([1, 2])
    before = everything(path)[1:]

    assert not inbox.supersede(claim(inbox), [(9001, "one")], "superseded")
    assert everything(path)[1:] == before


def test_repeats_of_messages_that_were_taken_over_are_recognised(
    inbox: Inbox, path: str
) -> None:
    say(inbox, 9001)
    say(inbox, 9002)
    job = claim(inbox)
    say(inbox, 9003)
    inbox.supersede(job, TOLD, "superseded")
    before = everything(path)

    assert not any(say(inbox, message_id) for message_id in (9001, 9002, 9003))
    assert everything(path) == before


def test_who_lost_the_lease_hands_nothing_on(
    inbox: Inbox, path: str, clock: Clock
) -> None:
    say(inbox, 9001)
    lost = claim(inbox)
    say(inbox, 9002)
    clock.advance(LEASE)
    claim(inbox)
    before = everything(path)

    with pytest.raises(LeaseLostError, match="Job 1 was claimed by another"):
        inbox.supersede(lost, TOLD, "superseded")

    assert everything(path) == before


def test_the_turn_that_takes_over_waits_for_more_too(
    patient: Inbox, clock: Clock
) -> None:
    say(patient, 9001)
    clock.advance(WINDOW)
    job = claim(patient)
    clock.advance(2)
    say(patient, 9002)
    patient.supersede(job, [(9001, "one")], "superseded")

    assert seconds_to_claim(patient, clock) == WINDOW


# -- leases --------------------------------------------------------------------


def test_a_claimed_job_is_nobody_elses_until_its_lease_runs_out(
    inbox: Inbox, clock: Clock
) -> None:
    put(inbox, 9001)
    first = claim(inbox)

    clock.advance(LEASE - 0.001)
    assert inbox.claim() is None

    clock.advance(0.001)
    second = claim(inbox)
    assert second.id == first.id
    assert second.claim != first.claim
    assert (first.attempts, second.attempts) == (1, 2)


def test_a_renewed_lease_begins_anew(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001)
    job = claim(inbox)
    clock.advance(LEASE - 1)
    inbox.renew(job)

    clock.advance(LEASE - 1)
    assert inbox.claim() is None
    clock.advance(1)
    assert claim(inbox).id == job.id


def test_a_lost_lease_can_not_be_renewed(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001)
    lost = claim(inbox)
    clock.advance(LEASE)
    claim(inbox)

    clock.advance(LEASE - 1)
    inbox.renew(lost)
    clock.advance(1)
    assert claim(inbox).attempts == 3


def test_renewing_a_job_given_back_does_not_take_it(inbox: Inbox) -> None:
    put(inbox, 9001)
    job = claim(inbox)
    inbox.postpone(job, 0)
    inbox.renew(job)

    assert claim(inbox).attempts == 2


def test_renewing_a_finished_job_does_not_wake_it(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001)
    job = claim(inbox)
    inbox.settle(job, "replied", None)
    inbox.renew(job)

    clock.advance(10 * LEASE)
    assert inbox.claim() is None


def test_a_late_worker_may_finish_what_nobody_took_over(
    inbox: Inbox, clock: Clock
) -> None:
    put(inbox, 9001)
    job = claim(inbox)
    clock.advance(2 * LEASE)
    inbox.settle(job, "replied", None)

    assert only(inbox).state == "done"
    assert inbox.claim() is None


WRITES: dict[str, t.Callable[[Inbox, Job, Draft], t.Any]] = {
    "keep": lambda inbox, job, _: inbox.keep(job, [("Again.", False)]),
    "keep a hand-off": lambda inbox, job, _: inbox.keep(job, [], handoff="{}"),
    "give up": lambda inbox, job, _: inbox.give_up(
        job, "refused", [("Sorry.", False)], handoff=None
    ),
    "give up in silence": lambda inbox, job, _: inbox.give_up(
        job, "refused", [], handoff="{}"
    ),
    "sending": lambda inbox, job, draft: inbox.sending(job, draft),
    "settle": lambda inbox, job, _: inbox.settle(job, "replied", None),
    "postpone": lambda inbox, job, _: inbox.postpone(job, 60),
    "postpone free": lambda inbox, job, _: inbox.postpone(job, 60, free=True),
}

TAKE_OVERS: dict[str, t.Callable[[Inbox, Job], t.Any]] = {
    "claimed again": lambda inbox, job: None,
    "settled": lambda inbox, job: inbox.settle(job, "declined", "no_answer"),
    "dead": lambda inbox, job: inbox.settle(job, "dead", "refused"),
    "given back": lambda inbox, job: inbox.postpone(job, 5),
}


@pytest.mark.parametrize("take_over", TAKE_OVERS)
@pytest.mark.parametrize("write", WRITES)
def test_who_lost_the_lease_writes_nothing(
    inbox: Inbox, path: str, clock: Clock, write: str, take_over: str
) -> None:
    put(inbox, 9001)
    lost = claim(inbox)
    (draft,) = inbox.keep(lost, [("On its way.", False)])
    clock.advance(LEASE)
    TAKE_OVERS[take_over](inbox, claim(inbox))
    before = everything(path)

    with pytest.raises(LeaseLostError, match="Job 1 was claimed by another"):
        WRITES[write](inbox, lost, draft)

    assert everything(path) == before


def everything(path: str) -> list[tuple[t.Any, ...]]:
    """All rows about jobs, read past the inbox."""
    tables = ("job", "follow_up", "draft", "file")

    return [
        row
        for table in tables
        for row in read(path, f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
    ]


def read(path: str, question: str) -> list[tuple[t.Any, ...]]:
    """The answer of the file, asked past the inbox."""
    db = sqlite3.connect(path)

    try:
        return db.execute(question).fetchall()
    finally:
        db.close()


def test_that_chatwoot_has_a_draft_is_noted_whoever_holds_the_job(
    inbox: Inbox, clock: Clock
) -> None:
    put(inbox, 9001)
    draft = sent(inbox, claim(inbox))
    clock.advance(LEASE)
    claim(inbox)
    inbox.posted(draft, 20001)

    clock.advance(LEASE)
    (seen,) = claim(inbox).drafts
    assert seen.message_id == 20001


# -- drafts --------------------------------------------------------------------


def test_a_kept_reply_comes_with_the_next_claim_in_its_order(
    inbox: Inbox, clock: Clock
) -> None:
    put(inbox, 9001)
    kept = inbox.keep(claim(inbox), [("One.", True), ("Two.", True), ("Three.", True)])
    clock.advance(LEASE)

    assert claim(inbox).drafts == tuple(kept)
    assert [draft.content for draft in kept] == ["One.", "Two.", "Three."]
    assert all(draft.private for draft in kept)
    assert len({draft.marker for draft in kept}) == 3


def test_intent_is_noted_and_withdrawn(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001)
    draft = sent(inbox, claim(inbox))

    clock.advance(LEASE)
    (noted,) = claim(inbox).drafts
    assert noted.sent_at == clock.now - LEASE

    inbox.unsent(draft)
    clock.advance(LEASE)
    (withdrawn,) = claim(inbox).drafts
    assert withdrawn.sent_at is None


def test_a_post_is_known_as_made(inbox: Inbox) -> None:
    put(inbox, 9001)
    draft = sent(inbox, claim(inbox))

    assert not inbox.made(20001)
    inbox.posted(draft, 20001)
    assert inbox.made(20001)
    assert not inbox.made(20002)


def test_a_draft_is_under_way_from_the_request_to_the_answer(inbox: Inbox) -> None:
    put(inbox, 9001)
    job = claim(inbox)
    (draft,) = inbox.keep(job, [("On its way.", False)])

    assert inbox.under_way(42, message_id=20001) == []
    inbox.sending(job, draft)
    assert [d.id for d in inbox.under_way(42, message_id=20001)] == [draft.id]
    inbox.posted(draft, 20001)
    assert inbox.under_way(42, message_id=20002) == []


def test_a_draft_is_not_under_way_to_another_conversation(inbox: Inbox) -> None:
    put(inbox, 9001)
    sent(inbox, claim(inbox))

    assert inbox.under_way(43, message_id=20001) == []


@pytest.mark.parametrize("message_id", [1, 9000, 9001])
def test_what_is_older_than_the_question_is_no_draft_under_way(
    inbox: Inbox, message_id: int
) -> None:
    put(inbox, 9001)
    sent(inbox, claim(inbox))

    assert inbox.under_way(42, message_id=message_id) == []


def test_another_drafts_post_is_no_draft_under_way(inbox: Inbox) -> None:
    put(inbox, 9001)
    job = claim(inbox)
    first, second = inbox.keep(job, [("Yes.", False), ("Yes.", False)])
    inbox.sending(job, first)
    inbox.posted(first, 20001)
    inbox.sending(job, second)

    assert inbox.under_way(42, message_id=20001) == []
    assert [d.id for d in inbox.under_way(42, message_id=20002)] == [second.id]


def test_only_a_dead_job_still_has_something_under_way(inbox: Inbox) -> None:
    """It may be revived, and must not be posted twice then."""
    for message_id, outcome in ((9001, "replied"), (9002, "dead")):
        put(inbox, message_id)
        job = claim(inbox)
        sent(inbox, job)
        inbox.settle(job, outcome, None)

    assert [d.id for d in inbox.under_way(42, message_id=20001)] == [2]


# -- failed turns --------------------------------------------------------------


def test_a_job_that_was_given_up_begins_anew_with_its_last_words(
    inbox: Inbox, clock: Clock
) -> None:
    say(inbox, 9001)
    inbox.postpone(claim(inbox), 0)
    job = claim(inbox)
    draft = sent(inbox, job, "The answer.")
    inbox.give_up(
        job, "refused", [("We are sorry.", False), ("It failed.", True)], handoff="{}"
    )

    assert only(inbox).attempts == 0
    anew = claim(inbox)
    assert [(each.content, each.private) for each in anew.drafts] == [
        ("We are sorry.", False),
        ("It failed.", True),
    ]
    assert (anew.failure, anew.handoff, anew.attempts) == ("refused", "{}", 1)
    assert [each.id for each in inbox.under_way(42, message_id=20001)] == [draft.id]
    with pytest.raises(LeaseLostError):
        inbox.settle(job, "replied", None)


def test_a_job_is_given_up_without_a_word_too(inbox: Inbox) -> None:
    say(inbox, 9001)
    job = claim(inbox)
    inbox.keep(job, [("The answer.", False)], handoff="wanted by the reply")
    inbox.give_up(job, "refused", [], handoff=None)

    anew = claim(inbox)
    assert (anew.drafts, anew.failure, anew.handoff) == ((), "refused", None)


def test_a_revived_job_has_its_reply_and_no_last_words(inbox: Inbox, path: str) -> None:
    say(inbox, 9001)
    say(inbox, 9002, said=lambda: "second")
    job = claim(inbox)
    (draft,) = inbox.keep(job, [Part("The answer.", False, [("A", "a")], [FILE])])
    inbox.give_up(job, "refused", [Part("Sorry.", False, (), [FILE])], handoff="{}")
    inbox.settle(claim(inbox), "dead", "refused")
    assert inbox.retry([job.id]) == [job.id]

    again = claim(inbox)
    assert again.drafts == (draft,)
    assert (again.failure, again.handoff, again.attempts) == (None, None, 1)
    assert told(again) == [(9002, "second", BODY)]
    assert inbox.files(draft) == [FILE]
    assert read(path, "SELECT count(*) FROM draft") == [(1,)]
    assert read(path, "SELECT count(*) FROM file") == [(1,)]


def test_a_revived_job_may_be_given_up_again(inbox: Inbox) -> None:
    say(inbox, 9001)

    for words in ("Sorry.", "Sorry again."):
        inbox.give_up(claim(inbox), "refused", [(words, False)], handoff=None)
        job = claim(inbox)
        assert [draft.content for draft in job.drafts] == [words]
        inbox.settle(job, "dead", "refused")
        inbox.retry([job.id])


def test_a_kept_hand_off_comes_with_the_next_claim(inbox: Inbox, clock: Clock) -> None:
    say(inbox, 9001)
    job = claim(inbox)
    assert job.handoff is None
    inbox.keep(job, [("One moment.", False)], handoff='{"reason": "asked"}')
    clock.advance(LEASE)
    job = claim(inbox)
    assert job.handoff == '{"reason": "asked"}'
    assert len(job.drafts) == 1

    inbox.settle(job, "dead", "refused")
    inbox.retry([job.id])
    assert claim(inbox).handoff == '{"reason": "asked"}'


# -- choices and files ---------------------------------------------------------

FILE = File("invoice.pdf", b"\x00\xff of Ada Lovelace", "application/pdf")
LIST = File("", b"", "text/plain")


def test_choices_and_files_are_kept_with_their_draft(
    inbox: Inbox, clock: Clock
) -> None:
    say(inbox, 9001)
    choices = [("Yes", "yes"), ("Größe 'M'", '"m"')]
    kept = inbox.keep(
        claim(inbox),
        [
            Part("Which one?", False, choices),
            Part("", True, (), [FILE, LIST]),
            ("Bye.", False),
        ],
    )
    clock.advance(LEASE)
    drafts = claim(inbox).drafts

    assert drafts == tuple(kept)
    assert [draft.choices for draft in drafts] == [tuple(choices), (), ()]
    assert [draft.files for draft in drafts] == [0, 2, 0]
    assert [inbox.files(draft) for draft in drafts] == [[], [FILE, LIST], []]


def test_who_lost_the_lease_keeps_no_files(
    inbox: Inbox, path: str, clock: Clock
) -> None:
    say(inbox, 9001)
    lost = claim(inbox)
    clock.advance(LEASE)
    claim(inbox)

    with pytest.raises(LeaseLostError):
        inbox.keep(lost, [Part("Here.", False, (), [FILE])], handoff="{}")

    assert read(path, "SELECT count(*) FROM file") == [(0,)]


def test_a_note_stays_a_note_whatever_the_draft_says(
    inbox: Inbox, clock: Clock
) -> None:
    say(inbox, 9001)
    job = claim(inbox)
    public, private = inbox.keep(job, [("One.", False), ("Two.", True)])
    inbox.sending(job, public._replace(private=True))
    inbox.sending(job, private._replace(private=False))
    clock.advance(LEASE)

    assert [draft.private for draft in claim(inbox).drafts] == [True, True]


# -- postponing ----------------------------------------------------------------


def test_a_postponed_job_is_due_after_its_pause(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001)
    inbox.postpone(claim(inbox), 7)

    assert only(inbox).state == "waiting"
    clock.advance(6.999)
    assert inbox.claim() is None
    clock.advance(0.001)
    assert claim(inbox).attempts == 2


def test_a_free_claim_is_no_attempt(inbox: Inbox) -> None:
    put(inbox, 9001)
    inbox.postpone(claim(inbox), 0, free=True)

    assert only(inbox).attempts == 0
    assert claim(inbox).attempts == 1


# -- erasure -------------------------------------------------------------------

QUESTION = b"a question of Ada Lovelace"
ANSWER = "an answer for Ada Lovelace"


def on_disk(path: str) -> bytes:
    """All bytes of the file and its journal, with nothing left in the journal."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    folder = Path(path).parent

    return b"".join(file.read_bytes() for file in folder.iterdir())


@pytest.mark.parametrize("length", [1, 40, 4000], ids=["short", "page", "many pages"])
@pytest.mark.parametrize("outcome", ["replied", "noted", "declined"])
def test_text_is_erased_when_the_job_is_done(
    inbox: Inbox, path: str, outcome: str, length: int
) -> None:
    put(inbox, 9001, payload=QUESTION * length)
    job = claim(inbox)
    inbox.keep(job, [(ANSWER * length, False)])
    found = on_disk(path)
    assert QUESTION in found
    assert ANSWER.encode() in found

    inbox.settle(job, outcome, None)

    found = on_disk(path)
    assert QUESTION not in found
    assert ANSWER.encode() not in found


def test_a_dead_job_keeps_its_text_for_whoever_revives_it(inbox: Inbox) -> None:
    put(inbox, 9001, payload=QUESTION)
    job = claim(inbox)
    inbox.keep(job, [(ANSWER, False)])
    inbox.settle(job, "dead", "refused")
    inbox.retry([job.id])

    revived = claim(inbox)
    assert revived.payload == QUESTION
    assert [draft.content for draft in revived.drafts] == [ANSWER]


def test_the_text_of_a_dead_job_goes_with_the_job(
    inbox: Inbox, path: str, clock: Clock
) -> None:
    put(inbox, 9001, payload=QUESTION)
    job = claim(inbox)
    inbox.keep(job, [(ANSWER, False)])
    inbox.settle(job, "dead", "refused")
    put(inbox, 9002)
    clock.advance(8 * DAY)
    assert inbox.prune(dead=True) == 1

    found = on_disk(path)
    assert QUESTION not in found
    assert ANSWER.encode() not in found


SAID = "a word of Ada Lovelace"
CHOICE = "a choice of Ada Lovelace"
SECRETS = [QUESTION, ANSWER.encode(), SAID.encode(), CHOICE.encode(), b"of a file"]


def write_all_there_is(inbox: Inbox) -> Job:
    say(inbox, 9001, payload=QUESTION * 40)
    say(inbox, 9002, said=lambda: SAID * 40)
    say(inbox, 9003, payload=QUESTION * 40, said=lambda: SAID)
    job = claim(inbox)
    file = ("a.txt", b"the content of a file" * 400, "text/plain")
    inbox.keep(job, [Part(ANSWER, False, [(CHOICE, CHOICE)], [file])], handoff=ANSWER)

    return job


def left_on_disk(path: str) -> list[bytes]:
    found = on_disk(path)

    return [secret for secret in SECRETS if secret in found]


@pytest.mark.parametrize("end", ["settle", "finish", "supersede"])
def test_all_that_anybody_wrote_is_erased_when_the_job_is_done(
    inbox: Inbox, path: str, end: str
) -> None:
    job = write_all_there_is(inbox)
    assert left_on_disk(path) == SECRETS

    if end == "settle":
        inbox.settle(job, "replied", None)
    elif end == "finish":
        (draft,) = rows_of_drafts(path)
        inbox.finish(job, draft, 20001, "replied", None)
    else:
        say(inbox, 9004)
        assert inbox.supersede(job, [(9001, "one")], "superseded")

    assert left_on_disk(path) == []


def rows_of_drafts(path: str) -> list[Draft]:
    rows = read(path, "SELECT id, marker, private, content FROM draft")

    return [Draft(*row) for row in rows]


def test_a_dead_job_keeps_all_until_it_is_forgotten(
    inbox: Inbox, path: str, clock: Clock
) -> None:
    inbox.settle(write_all_there_is(inbox), "dead", "refused")
    assert left_on_disk(path) == SECRETS
    put(inbox, 9004)
    clock.advance(8 * DAY)
    assert inbox.prune() == 0
    assert left_on_disk(path) == SECRETS

    assert inbox.prune(dead=True) == 1
    assert left_on_disk(path) == []
    assert len(everything(path)) == 1
    assert say(inbox, 9002)  # what is forgotten is no repeat


def test_nothing_that_is_kept_shows_what_anybody_wrote(inbox: Inbox) -> None:
    job = write_all_there_is(inbox)
    part = Part(ANSWER, False, [(CHOICE, CHOICE)])
    (draft,) = inbox.keep(job, [part])
    shown = [job, draft, part, *job.follow_ups, FILE, [job.follow_ups]]

    assert "Ada" not in "".join(repr(each) for each in shown)


# -- operators -----------------------------------------------------------------


def test_jobs_are_listed_newest_first_with_all_there_is_to_know(
    inbox: Inbox, clock: Clock
) -> None:
    put(inbox, 9001, conversation_id=1)
    finish(inbox, "declined", "no_answer")
    put(inbox, 9002, conversation_id=2)
    finish(inbox, "dead", "refused")
    put(inbox, 9003, conversation_id=3)
    claim(inbox)
    put(inbox, 9004, conversation_id=4)
    clock.advance(5)

    def info(id: int, state: str, attempts: int, *ending: str) -> JobRow:
        outcome, reason = ending or (None, None)

        return JobRow(
            id=id,
            conversation_id=id,
            message_id=9000 + id,
            state=state,
            age=5.0,
            attempts=attempts,
            outcome=outcome,
            reason=reason,
        )

    assert inbox.jobs() == [
        info(4, "waiting", 0),
        info(3, "claimed", 1),
        info(2, "dead", 1, "dead", "refused"),
        info(1, "done", 1, "declined", "no_answer"),
    ]
    assert [job.id for job in inbox.jobs(limit=2)] == [4, 3]

    for number, state in enumerate(("done", "dead", "claimed", "waiting"), 1):
        assert [job.id for job in inbox.jobs(state=state)] == [number]


def test_reviving_gives_all_attempts_back(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001)
    inbox.postpone(claim(inbox), 0)
    finish(inbox, "dead", "provider_failed")
    assert only(inbox).attempts == 2

    assert inbox.retry([1]) == [1]
    assert only(inbox) == JobRow(
        id=1,
        conversation_id=42,
        message_id=9001,
        state="waiting",
        age=0.0,
        attempts=0,
        outcome=None,
        reason=None,
    )
    assert claim(inbox).attempts == 1


def test_only_dead_jobs_are_revived(inbox: Inbox) -> None:
    put(inbox, 9001, conversation_id=1)
    finish(inbox)
    put(inbox, 9002, conversation_id=2)
    finish(inbox, "dead", "refused")
    put(inbox, 9003, conversation_id=3)
    claim(inbox)
    put(inbox, 9004, conversation_id=4)

    assert inbox.retry([1, 2, 3, 4, 5]) == [2]


def test_finished_jobs_are_forgotten_after_a_while(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001)
    finish(inbox)
    clock.advance(DAY)
    put(inbox, 9002)
    finish(inbox)
    put(inbox, 9003)
    clock.advance(1)

    assert inbox.prune(older_than=DAY) == 1
    assert [job.message_id for job in inbox.jobs()] == [9003, 9002]
    assert not put(inbox, 9002)
    assert put(inbox, 9001)


def test_what_is_not_finished_is_never_forgotten(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001, conversation_id=1)
    claim(inbox)
    put(inbox, 9002, conversation_id=2)
    put(inbox, 9003, conversation_id=3)
    clock.advance(1000 * DAY)

    assert inbox.prune(older_than=0, dead=True) == 0
    assert len(inbox.jobs()) == 3


def test_dead_jobs_are_forgotten_only_when_asked(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001)
    finish(inbox, "dead", "refused")
    put(inbox, 9002)
    clock.advance(100 * DAY)

    assert inbox.prune() == 0
    assert inbox.prune(dead=True) == 1
    assert [job.message_id for job in inbox.jobs()] == [9002]


def test_another_account_s_jobs_are_not_forgotten(
    inbox: Inbox, path: str, clock: Clock
) -> None:
    other = open_inbox(path, clock, account_id=2)
    put(other, 9001)
    finish(other, "dead", "refused")
    put(inbox, 9002)  # the newest row is kept in any case
    clock.advance(DAY)

    assert inbox.prune(older_than=0, dead=True) == 0
    assert other.prune(older_than=0, dead=True) == 1
    other.close()


def test_drafts_are_forgotten_with_their_job(
    inbox: Inbox, path: str, clock: Clock
) -> None:
    put(inbox, 9001)
    job = claim(inbox)
    inbox.posted(sent(inbox, job), 20001)
    inbox.settle(job, "replied", None)
    put(inbox, 9002)
    clock.advance(1)
    inbox.prune(older_than=0)

    assert not inbox.made(20001)
    assert len(everything(path)) == 1


def test_a_large_clean_up_leaves_nothing_behind(inbox: Inbox, clock: Clock) -> None:
    for number in range(1101):
        put(inbox, number + 1, conversation_id=number + 1)
        finish(inbox)

    clock.advance(1)
    assert inbox.prune(older_than=0) == 1100
    assert len(inbox.jobs()) == 1


def test_a_number_of_a_job_is_never_given_twice(inbox: Inbox, clock: Clock) -> None:
    put(inbox, 9001)
    finish(inbox)
    clock.advance(1)
    inbox.prune(older_than=0)
    put(inbox, 9002)

    assert claim(inbox).id == 2


# -- many at once --------------------------------------------------------------


def test_threads_share_one_inbox(path: str) -> None:
    inbox = Inbox(path, account_id=1, sync="normal")
    claimed: list[tuple[int, int]] = []
    deadline = time.monotonic() + 30

    def produce(number: int) -> int:
        keys = range(number * 1000, number * 1000 + 100)

        return sum(put(inbox, key, conversation_id=key // 10) for key in keys)

    def consume(_: int) -> None:
        while len(claimed) < 400 and time.monotonic() < deadline:
            if job := inbox.claim():
                claimed.append((job.conversation_id, job.message_id))
                inbox.settle(job, "replied", None)

    with ThreadPoolExecutor(8) as pool:
        consumers = pool.map(consume, range(4))
        stored = sum(pool.map(produce, range(1, 5)))
        list(consumers)

    inbox.close()
    assert stored == 400
    assert len(claimed) == len(set(claimed)) == 400

    for line in {conversation for conversation, _ in claimed}:
        order = [message for conversation, message in claimed if conversation == line]
        assert order == sorted(order)


def python(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> t.Any:
    """What a process printed, as JSON."""
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors

    return json.loads(printed)


SHARE = """
import json, sys, threading, time
from flask_chatwoot.queue.jobs import Inbox

inbox = Inbox(sys.argv[1], account_id=1, sync="normal")
stored, claimed = [], []
deadline = time.monotonic() + 30

def produce(number):
    for key in range(number * 1000, number * 1000 + 100):
        stored.append(
            inbox.put(
                str(key),
                conversation_id=key // 10,
                message_id=key,
                payload=b"{}",
                kind="alone",
            )
        )

def consume():
    while time.monotonic() < deadline:
        if job := inbox.claim():
            claimed.append(job.message_id)
            inbox.settle(job, "replied", None)
        elif len(inbox.jobs(state="done")) == 400:
            break

threads = [threading.Thread(target=produce, args=[n]) for n in (1, 2, 3, 4)]
threads += [threading.Thread(target=consume) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"stored": sum(stored), "claimed": claimed}))
"""


def test_processes_share_one_file(path: str) -> None:
    both = [output(process) for process in [python(SHARE, path) for _ in range(2)]]

    assert sum(told["stored"] for told in both) == 400
    claimed = [message for told in both for message in told["claimed"]]
    assert len(claimed) == len(set(claimed)) == 400


OPEN_AT_ONCE = """
import json, os, sys
from flask_chatwoot.queue.jobs import Inbox

failed = 0
for attempt in range(12):
    inbox = Inbox(f"{sys.argv[1]}-{attempt}", account_id=1)
    wait, go = os.pipe()
    children = []
    for number in range(10):
        children.append(os.fork())
        if not children[-1]:
            os.close(go)
            os.read(wait, 1)
            try:
                inbox.put(
                    str(number),
                    conversation_id=1,
                    message_id=1,
                    payload=b"{}",
                    kind="alone",
                )
            except BaseException as error:
                print(error, file=sys.stderr)
                os._exit(1)
            os._exit(0)
    os.close(go)
    os.close(wait)
    failed += sum(os.waitpid(child, 0)[1] != 0 for child in children)
    failed += len(inbox.jobs()) != 10
    inbox.close()
print(json.dumps(failed))
"""

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
def test_ten_processes_may_open_a_new_file_at_the_same_instant(path: str) -> None:
    assert output(python(OPEN_AT_ONCE, path)) == 0


FORK = """
import json, os, sys
from flask_chatwoot.queue.jobs import Inbox

def put(number):
    return inbox.put(
        str(number), conversation_id=1, message_id=1, payload=b"{}", kind="alone"
    )

inbox = Inbox(sys.argv[1], account_id=1)
put(1)
child = os.fork()
if not child:
    put(2)
    grandchild = os.fork()
    if not grandchild:
        put(3)
        inbox.close()
        os._exit(0)
    code = os.waitpid(grandchild, 0)[1]
    put(4)
    sys.exit(code)
put(5)
code = os.waitpid(child, 0)[1]
put(6)
print(json.dumps([code, len(inbox.jobs())]))
"""


@needs_fork
def test_a_forked_process_opens_the_file_for_itself(path: str) -> None:
    assert output(python(FORK, path)) == [0, 6]
    assert intact(path)


FORK_AMID_WORK = """
import json, os, sys, threading, time, warnings
from flask_chatwoot.queue.jobs import Inbox

warnings.simplefilter("ignore")  # threads and fork do not mix, which is the point
inbox = Inbox(sys.argv[1], account_id=1, sync="normal")
stop = threading.Event()

def put(name):
    return inbox.put(
        name, conversation_id=1, message_id=1, payload=bytes(20_000), kind="alone"
    )

def work(number):
    count = 0
    while not stop.is_set():
        put(f"{number}-{count}")
        count += 1

def keep_house():
    while not stop.is_set():
        inbox.checkpoint()

def child(number):
    try:
        put(f"child-{number}")
        inbox.checkpoint()
    except BaseException as error:
        os.write(2, f"{error}\\n".encode())
        os._exit(1)
    os._exit(0)

def ended(pid, deadline):
    while time.monotonic() < deadline:
        done, code = os.waitpid(pid, os.WNOHANG)
        if done:
            return code == 0
        time.sleep(0.005)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return False

put("first")
threads = [threading.Thread(target=work, args=[n], daemon=True) for n in range(2)]
threads.append(threading.Thread(target=keep_house, daemon=True))
for thread in threads:
    thread.start()
stuck = 0
for number in range(20):
    if not (pid := os.fork()):
        child(number)
    stuck += not ended(pid, time.monotonic() + 2)
    if stuck:
        break
stop.set()
for thread in threads:
    thread.join()
print(json.dumps(stuck))
"""


@needs_fork
def test_a_fork_amid_the_work_of_other_threads_does_not_lock_the_child_out(
    path: str,
) -> None:
    assert output(python(FORK_AMID_WORK, path)) == 0
    assert intact(path)


def intact(path: str) -> bool:
    db = sqlite3.connect(path)

    try:
        return bool(db.execute("PRAGMA integrity_check").fetchone()[0] == "ok")
    finally:
        db.close()


TALK = """
import json, sys
from flask_chatwoot.queue.jobs import Inbox

inbox = Inbox(sys.argv[1], account_id=1, sync="normal")
name, stored = sys.argv[2], []
sys.stdin.readline()
for number in range(1, 151):
    own = number + 1000 * int(name)
    for message in (own, number):  # the small numbers come from every process
        if inbox.put(
            str(message), conversation_id=1, message_id=message,
            payload=f"body of {message}".encode(), said=lambda: f"text of {message}",
        ):
            stored.append(message)
print(json.dumps(stored))
"""


def test_processes_that_write_into_one_conversation_lose_and_double_nothing(
    path: str,
) -> None:
    inbox = Inbox(path, account_id=1, sync="normal")
    talking = [python(TALK, path, name) for name in ("1", "2")]
    answered: list[int] = []
    turns = 0

    for process in talking:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()

    def answer() -> bool:
        if (job := inbox.claim()) is None:
            return False

        answered.append(job.message_id)
        answered.extend(each.message_id for each in job.follow_ups)
        assert job.payload == f"body of {job.message_id}".encode()
        kept = [each for each in job.follow_ups if each.payload is not None]
        assert len(kept) == bool(job.follow_ups)
        assert all(
            each.payload == f"body of {each.message_id}".encode() for each in kept
        )
        assert all(each.said == f"text of {each.message_id}" for each in job.follow_ups)
        inbox.settle(job, "replied", None)

        return True

    while any(process.poll() is None for process in talking):
        turns += answer()

    while answer():
        turns += 1

    stored = [message for process in talking for message in output(process)]
    inbox.close()
    everybody = [*range(1, 151), *range(1001, 1151), *range(2001, 2151)]
    assert sorted(stored) == everybody
    assert sorted(answered) == sorted(stored)
    assert turns < len(stored)
    assert intact(path)


JOIN_AND_DIE = """
import os, signal, sys
from flask_chatwoot.queue.jobs import Inbox

inbox = Inbox(sys.argv[1], account_id=1, sync="normal")
inbox.put("2", conversation_id=1, message_id=2, payload=b"two", said=lambda: "second")

def die(statement):
    if statement.strip().startswith(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

inbox._db.set_trace_callback(die)
inbox.put("3", conversation_id=1, message_id=3, payload=b"three", said=lambda: "third")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a signal that kills")
@pytest.mark.parametrize(
    "statement",
    [
        "BEGIN",
        "SELECT 1 FROM job",
        "UPDATE follow_up",
        "INSERT INTO follow_up",
        "COMMIT",
    ],
)
def test_a_process_that_dies_while_a_message_joins_leaves_no_half_of_it(
    path: str, clock: Clock, statement: str
) -> None:
    inbox = open_inbox(path, clock)
    inbox.put("1", conversation_id=1, message_id=1, payload=b"one")
    dying = python(JOIN_AND_DIE, path, statement)
    _, errors = dying.communicate(timeout=60)
    assert dying.returncode == -signal.SIGKILL, errors

    clock.now = time.time() + 1
    assert inbox.put(
        "3", conversation_id=1, message_id=3, payload=b"3", said=lambda: "again"
    )
    assert told(claim(inbox)) == [(2, "second", None), (3, "again", b"3")]
    assert intact(path)
    inbox.close()


TALK_UNTIL_KILLED = """
import sys
from flask_chatwoot.queue.jobs import Inbox

inbox = Inbox(sys.argv[1], account_id=1, sync="normal")
number = int(sys.argv[2])
while True:
    number += 1
    assert inbox.put(str(number), conversation_id=1, message_id=number, payload=b"{}")
    print(number, flush=True)
"""


def test_every_acknowledged_message_of_a_killed_process_is_in_exactly_one_turn(
    path: str,
) -> None:
    inbox = Inbox(path, account_id=1, sync="normal")
    acknowledged: list[int] = []

    for start, words in ((0, 1), (10_000, 20), (20_000, 45), (30_000, 70)):
        with python(TALK_UNTIL_KILLED, path, str(start)) as talking:
            assert talking.stdout is not None

            for _ in range(words):
                acknowledged.append(int(talking.stdout.readline()))

            talking.kill()
            acknowledged += [int(line) for line in talking.stdout]

        assert talking.returncode == -signal.SIGKILL

        if start == 10_000:
            inbox.settle(claim(inbox), "replied", None)

    kept = [id for messages in messages_by_job(path).values() for id in messages]
    inbox.close()
    assert len(kept) == len(set(kept))
    assert set(acknowledged) <= set(kept)
    assert len(kept) <= len(acknowledged) + 4  # killed before it could say so
    assert intact(path)


# -- what goes wrong -----------------------------------------------------------


@pytest.fixture
def lock(inbox: Inbox, path: str) -> t.Iterator[sqlite3.Connection]:
    """Another process that began to write and does not end."""
    put(inbox, 9001)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("BEGIN IMMEDIATE")
    yield db
    db.close()


def test_a_locked_file_is_an_error_before_chatwoot_loses_patience(
    inbox: Inbox, lock: sqlite3.Connection
) -> None:
    started = time.monotonic()

    with pytest.raises(DatabaseError, match="locked"):
        put(inbox, 9002)

    assert 0.5 < time.monotonic() - started < 4.5
    lock.execute("ROLLBACK")
    assert put(inbox, 9002)


def test_threads_do_not_add_up_their_waits_for_a_locked_file(
    inbox: Inbox, lock: sqlite3.Connection
) -> None:
    def wait(number: int) -> float:
        started = time.monotonic()

        with pytest.raises(DatabaseError):
            put(inbox, 9002 + number)

        return time.monotonic() - started

    with ThreadPoolExecutor(3) as pool:
        waited = list(pool.map(wait, range(3)))

    assert max(waited) < 5.0  # Chatwoot's patience


def test_a_look_for_work_does_not_wait_for_a_locked_file(
    inbox: Inbox, lock: sqlite3.Connection
) -> None:
    with pytest.raises(DatabaseError, match="locked"):
        inbox.claim()

    lock.execute("ROLLBACK")
    claim(inbox)
    lock.execute("BEGIN IMMEDIATE")
    started = time.monotonic()

    assert inbox.claim() is None
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    "content", [b"no database at all. " * 50, b"SQLite format 3\0x"]
)
def test_a_corrupt_file_is_an_error_that_names_it(
    inbox: Inbox, path: str, content: bytes
) -> None:
    Path(path).write_bytes(content)

    for _ in range(2):
        with pytest.raises(
            DatabaseError, match=r"inbox\.sqlite3' failed: file is not a"
        ):
            put(inbox, 9001)

    assert Path(path).read_bytes() == content


def test_a_file_that_turns_corrupt_is_an_error(inbox: Inbox, path: str) -> None:
    for number in range(50):
        put(inbox, 9001 + number, conversation_id=number + 1)

    inbox.close()
    raw = Path(path).read_bytes()
    Path(path).write_bytes(raw[:4096] + b"\xa5" * (len(raw) - 4096))

    with pytest.raises(DatabaseError, match="malformed"):
        put(inbox, 9001)


@pytest.mark.parametrize("version", [1, 99])
def test_a_file_of_another_version_is_left_alone(
    inbox: Inbox, path: str, version: int
) -> None:
    put(inbox, 9001)
    inbox.close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {version}")
    db.close()

    for _ in range(2):
        with pytest.raises(
            DatabaseError, match=f"version {version} .* or set CHATWOOT"
        ):
            put(inbox, 9002)

    assert len(everything(path)) == 1


FILL_UP = """
import json, resource, sys
from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.queue.jobs import Inbox

def put(number):
    return inbox.put(
        str(number),
        conversation_id=1,
        message_id=number,
        payload=bytes(1000),
        kind="alone",
    )

inbox = Inbox(sys.argv[1], account_id=1)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
stored, errors = [], []
for number in range(1, 1001):
    try:
        stored.append(put(number) and number)
    except DatabaseError as error:
        errors.append(str(error))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
again = put(2000)
inbox.close()
listed = [job.message_id for job in inbox.jobs()]
print(json.dumps([stored, errors, again, listed]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit of file sizes")
def test_a_full_disk_is_an_error_and_what_was_stored_is_there(path: str) -> None:
    stored, errors, again, listed = output(python(FILL_UP, path))

    assert stored
    assert errors
    assert {"inbox.sqlite3" in error for error in errors} == {True}
    assert again
    assert listed == [2000, *reversed(stored)]
    assert intact(path)


@pytest.mark.parametrize("place", ["a file/inbox.sqlite3", "/proc/none/inbox.sqlite3"])
def test_a_place_where_nothing_can_be_made_is_an_error(
    tmp_path: Path, place: str
) -> None:
    (tmp_path / "a file").touch()
    inbox = Inbox(str(tmp_path / place), account_id=1)

    with pytest.raises(DatabaseError, match=r"inbox\.sqlite3' failed"):
        put(inbox, 9001)


@pytest.fixture
def read_only(tmp_path: Path) -> t.Iterator[Path]:
    """A folder this process may not write; root may, so it is somebody else here."""
    own = os.geteuid()
    tmp_path.chmod(0o500)
    os.seteuid(own or 65534)

    yield tmp_path

    os.seteuid(own)


def test_a_folder_that_is_read_only_is_an_error(read_only: Path) -> None:
    with pytest.raises(DatabaseError, match="Permission denied"):
        put(Inbox(str(read_only / "inbox.sqlite3"), account_id=1), 9001)


def test_an_inbox_works_again_once_the_cause_is_gone(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    place.touch()
    inbox = Inbox(str(place / "inbox.sqlite3"), account_id=1)

    with pytest.raises(DatabaseError):
        put(inbox, 9001)

    place.unlink()
    assert put(inbox, 9001)
    inbox.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs permission bits")
def test_the_file_is_nobody_elses_to_read(inbox: Inbox, path: str) -> None:
    put(inbox, 9001)

    files = sorted(Path(path).parent.iterdir())
    assert [file.name for file in files] == [
        "inbox.sqlite3",
        "inbox.sqlite3-shm",
        "inbox.sqlite3-wal",
    ]
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


def test_making_an_inbox_opens_nothing(tmp_path: Path) -> None:
    inbox = Inbox(str(tmp_path / "folder" / "inbox.sqlite3"), account_id=1)
    inbox.close()

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("sync", "level"), [("full", 2), ("normal", 1)])
def test_what_must_not_be_repeated_survives_what_was_asked_for(
    path: str, monkeypatch: pytest.MonkeyPatch, sync: str, level: int
) -> None:
    opened = spy_on_connections(monkeypatch)
    inbox = Inbox(path, account_id=1, sync=sync)
    put(inbox, 9001)

    (db,) = opened
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)

    def is_durable() -> bool:
        return bool(db.execute("PRAGMA synchronous").fetchone() == (level,))

    assert is_durable()
    job = claim(inbox)
    (draft,) = inbox.keep(job, [("On its way.", False)])
    inbox.sending(job, draft)
    assert is_durable()
    inbox.renew(job)
    inbox.posted(draft, 20001)
    assert is_durable()
    inbox.renew(job)
    inbox.settle(job, "replied", None)
    assert is_durable()
    inbox.renew(job)
    put(inbox, 9002)
    job = claim(inbox)
    (draft,) = inbox.keep(job, [("On its way.", False)])
    inbox.finish(job, draft, 20002, "replied", None)
    assert is_durable()
    inbox.close()


def test_what_is_claimed_at_once_is_forced_to_the_disk_when_asked(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = spy_on_connections(monkeypatch)
    inbox = Inbox(path, account_id=1)
    put(inbox, 9001)
    writes: list[str] = []
    (db,) = opened
    db.set_trace_callback(writes.append)

    put_and_claim(inbox, 9002)
    assert not any("synchronous = full" in statement for statement in writes)

    inbox.force()
    assert "PRAGMA synchronous = full" in writes
    assert writes[-1].startswith("PRAGMA user_version")

    writes.clear()
    inbox.force()
    assert writes == []
    inbox.close()


def test_the_last_post_and_the_end_of_the_job_are_one_step(inbox: Inbox) -> None:
    put(inbox, 9001)
    put(inbox, 9002)
    job = claim(inbox)
    (draft,) = inbox.keep(job, [("On its way.", False)])

    inbox.finish(job, draft, 20001, "replied", None)

    assert inbox.made(20001)
    assert inbox.jobs(state="done")[0].outcome == "replied"
    assert claim(inbox).message_id == 9002


def test_a_post_is_noted_even_if_the_job_is_another_workers_by_now(
    inbox: Inbox, clock: Clock
) -> None:
    put(inbox, 9001)
    late = claim(inbox)
    (draft,) = inbox.keep(late, [("On its way.", False)])
    clock.advance(inbox.lease + 1)
    heir = claim(inbox)

    with pytest.raises(LeaseLostError):
        inbox.finish(late, draft, 20001, "replied", None)

    assert inbox.made(20001)
    inbox.settle(heir, "replied", None)


# -- how it is found -----------------------------------------------------------


def spy_on_connections(monkeypatch: pytest.MonkeyPatch) -> list[sqlite3.Connection]:
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def spy(*args: t.Any, **values: t.Any) -> sqlite3.Connection:
        opened.append(connect(*args, **values))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", spy)

    return opened


def is_a_search(step: str) -> bool:
    """Whether a step of a plan looks up rows instead of reading them all."""
    return "SCAN" not in step or step == "SCAN CONSTANT ROW"


def test_nothing_of_the_daily_work_reads_a_whole_table(
    inbox: Inbox, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    (opened, statements) = spy_on_connections(monkeypatch), list[str]()
    put(inbox, 9000, conversation_id=1)
    (db,) = opened
    db.set_trace_callback(statements.append)

    put(inbox, 9001)
    put(inbox, 9002)
    put_and_claim(inbox, 9003, conversation_id=43)
    inbox.postpone(claim(inbox), 0, free=True)
    job = claim(inbox)
    inbox.renew(job)
    draft = sent(inbox, job)
    inbox.under_way(42, message_id=20001)
    inbox.unsent(draft)
    inbox.posted(draft, 20001)
    inbox.made(20001)
    inbox.settle(job, "dead", "refused")
    inbox.retry([job.id])
    talk(inbox)

    db.set_trace_callback(None)
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE")
    asked = [s for s in statements if s.split()[0] in verbs]
    plans = {s: db.execute(f"EXPLAIN QUERY PLAN {s}").fetchall() for s in asked}
    steps = {s: [row[-1] for row in plan] for s, plan in plans.items()}
    sorting = {s: p for s, p in steps.items() if "TEMP B-TREE" in " ".join(p)}

    assert len(steps) >= 30
    assert {s: p for s, p in steps.items() if not all(map(is_a_search, p))} == {}
    # The messages of one turn may be sorted, since they were found by its number.
    assert all("follow_up USING INDEX follow_up_job" in p[0] for p in sorting.values())


def talk(inbox: Inbox) -> None:
    """A conversation with bursts, a hand-off and a failure."""
    say(inbox, 9101, conversation_id=50)
    first = claim_of(inbox, 50)
    say(inbox, 9102, conversation_id=50)
    say(inbox, 9103, conversation_id=50)
    inbox.supersede(first, [(9101, "one")], "superseded")
    job = claim_of(inbox, 50)
    assert len(job.follow_ups) == 2
    file = ("a.txt", b"text", "text/plain")
    (draft,) = inbox.keep(
        job, [Part("Which?", False, [("A", "a")], [file])], handoff="{}"
    )
    inbox.files(draft)
    inbox.give_up(job, "refused", [("Sorry.", False)], handoff=None)
    job = claim_of(inbox, 50)
    inbox.unanswered(draft)
    inbox.finish(job, job.drafts[0], 20002, "replied", None)


def claim_of(inbox: Inbox, conversation_id: int) -> Job:
    """Claim until a conversation's job comes; the others have to wait."""
    job = claim(inbox)

    while job.conversation_id != conversation_id:
        job = claim(inbox)

    return job


# -- against a model -----------------------------------------------------------


class Line(RuleBasedStateMachine):
    """Any sequence of calls, beside lists that say what must be.

    :ivar messages: Of each job, its own first, with the times at which they came. A
        job that another took over still names those it gave away.
    """

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "inbox.sqlite3")
        self.clock = Clock()
        self.inbox = open_inbox(self.path, self.clock)
        self.line_of: dict[int, int] = {}
        self.messages: dict[int, list[tuple[float, int]]] = {}
        self.line_of_message: dict[int, int] = {}
        self.due: dict[int, float] = {}
        self.waiting: set[int] = set()
        self.held: dict[int, Job] = {}
        self.ended: dict[int, str] = {}
        self.alone: set[int] = set()
        self.kept: set[int] = set()
        self.failed: set[int] = set()

    def teardown(self) -> None:
        self.inbox.close()
        self.folder.cleanup()

    @initialize()
    def begin(self) -> None:
        put(self.inbox, 1, conversation_id=1)
        self.add(1, 1)
        self.alone.add(1)
        self.due[1] = self.clock.now

    def unfinished(self, conversation: int) -> list[int]:
        return sorted(
            job
            for job in {*self.due, *self.waiting}
            if self.line_of[job] == conversation
        )

    def open(self, conversation: int) -> list[int]:
        """The jobs that a message may join."""
        closed = {*self.held, *self.alone, *self.kept, *self.failed}

        return [job for job in self.unfinished(conversation) if job not in closed]

    def add(self, message: int, conversation: int) -> int:
        """A new job."""
        job = len(self.line_of) + 1
        self.line_of[job] = conversation
        self.line_of_message[message] = conversation
        self.messages[job] = [(self.clock.now, message)]

        return job

    @rule(conversation=st.integers(1, 3))
    def deliver(self, conversation: int) -> None:
        message = len(self.line_of_message) + 1
        line = self.unfinished(conversation)
        assert put(self.inbox, message, conversation_id=conversation)
        job = self.add(message, conversation)
        self.alone.add(job)

        if line:
            self.waiting.add(job)
        else:
            self.due[job] = self.clock.now

    @rule(conversation=st.integers(1, 3))
    def say(self, conversation: int) -> None:
        message = len(self.line_of_message) + 1
        assert say(self.inbox, message, conversation_id=conversation)
        self.said(message, conversation)

    def said(self, message: int, conversation: int) -> None:
        if joined := self.open(conversation):
            self.line_of_message[message] = conversation
            self.messages[joined[-1]].append((self.clock.now, message))
            return

        line = self.unfinished(conversation)
        job = self.add(message, conversation)

        if line:
            self.waiting.add(job)
        else:
            self.due[job] = self.clock.now

    @rule(conversation=st.integers(1, 3))
    def say_and_claim(self, conversation: int) -> None:
        message = len(self.line_of_message) + 1
        line = self.unfinished(conversation)
        new, job = say_and_claim(self.inbox, message, conversation_id=conversation)
        assert new

        if line:
            assert job is None
            self.said(message, conversation)
        else:
            assert job is not None
            assert job.id == self.add(message, conversation)
            self.held[job.id] = job
            self.due[job.id] = self.clock.now + LEASE

    @rule(message=st.integers(1, 40), claim=st.booleans())
    def deliver_again(self, message: int, claim: bool) -> None:
        if not (conversation := self.line_of_message.get(message)):
            return

        if claim:
            again = say_and_claim(self.inbox, message, conversation_id=conversation)
            assert again == (False, None)
        else:
            assert not say(self.inbox, message, conversation_id=conversation)

    @rule(seconds=st.sampled_from([0.5, 5.0, LEASE]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule()
    def claim(self) -> None:
        due = {job: at for job, at in self.due.items() if at <= self.clock.now}
        job = self.inbox.claim()

        if not due:
            assert job is None
            return

        assert job is not None
        assert due.get(job.id) == min(due.values())
        (_, first), *more = self.messages[job.id]
        assert job.message_id == first
        in_order = sorted(more, key=lambda message: message[0])
        assert [each.message_id for each in job.follow_ups] == [m for _, m in in_order]
        assert (job.failure is None) == (job.id not in self.failed)
        self.held[job.id] = job
        self.due[job.id] = self.clock.now + LEASE

    @precondition(lambda self: self.held)
    @rule(data=st.data(), outcome=st.sampled_from(["replied", "dead"]))
    def settle(self, data: st.DataObject, outcome: str) -> None:
        job = self.let_go(data)
        self.inbox.settle(job, outcome, None)
        self.end(job, outcome)

    def let_go(self, data: st.DataObject) -> Job:
        return self.held.pop(data.draw(st.sampled_from(sorted(self.held))))

    def end(self, job: Job, outcome: str) -> None:
        del self.due[job.id]
        self.ended[job.id] = outcome

        if line := self.unfinished(job.conversation_id):
            self.waiting.remove(line[0])
            self.due[line[0]] = self.due_at(line[0])

    def due_at(self, job: int) -> float:
        """What the inbox says, which lies between the job's messages."""
        ((at,),) = read(self.path, f"SELECT due_at FROM job WHERE id = {job}")  # noqa: S608
        times = [received for received, _ in self.messages[job]]
        assert min(times) <= at <= max(times)

        return t.cast(float, at)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def supersede(self, data: st.DataObject) -> None:
        job = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        later = [id for id in self.unfinished(job.conversation_id) if id > job.id]
        heirs = [id for id in later if id not in {*self.alone, *self.kept}]
        said = [(message, "") for _, message in self.messages[job.id]]
        assert self.inbox.supersede(job, said, "superseded") == bool(heirs)

        if heirs:
            since = min(received for received, _ in self.messages[job.id])
            taken = [(since, message) for message, _ in said]
            self.messages[heirs[0]] += taken
            del self.held[job.id]
            self.end(job, "superseded")

    @precondition(lambda self: self.held)
    @rule(data=st.data(), seconds=st.sampled_from([0.0, 3.0]))
    def postpone(self, data: st.DataObject, seconds: float) -> None:
        job = self.let_go(data)
        self.inbox.postpone(job, seconds)
        self.due[job.id] = self.clock.now + seconds

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def keep(self, data: st.DataObject) -> None:
        job = self.held[data.draw(st.sampled_from(sorted(self.held)))]
        self.inbox.keep(job, [("On its way.", False)])
        self.kept.add(job.id)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def give_up(self, data: st.DataObject) -> None:
        job = self.let_go(data)
        self.inbox.give_up(job, "refused", [("Sorry.", False)], handoff=None)
        self.failed.add(job.id)
        self.due[job.id] = self.clock.now

    @rule()
    def revive(self) -> None:
        dead = sorted(job for job, how in self.ended.items() if how == "dead")
        assert self.inbox.retry(dead) == dead

        for job in dead:
            line = self.unfinished(self.line_of[job])
            del self.ended[job]
            self.failed.discard(job)

            if line:
                self.waiting.add(job)
            else:
                self.due[job] = self.clock.now

    @invariant()
    def every_conversation_has_exactly_one_job_that_is_or_will_be_due(self) -> None:
        due = read(self.path, "SELECT id FROM job WHERE due_at IS NOT NULL")
        lines = [self.line_of[job] for (job,) in due]

        assert len(lines) == len(set(lines))
        assert set(lines) == {self.line_of[job] for job in {*self.due, *self.waiting}}

    @invariant()
    def nothing_is_lost(self) -> None:
        states = {job.id: job.state for job in self.inbox.jobs()}
        ended = {"replied": "done", "superseded": "done", "dead": "dead"}

        assert states == {
            **dict.fromkeys(self.due, "waiting"),
            **dict.fromkeys(self.waiting, "waiting"),
            **dict.fromkeys(self.held, "claimed"),
            **{job: ended[how] for job, how in self.ended.items()},
        }

    @invariant()
    def every_message_is_answered_in_exactly_one_turn(self) -> None:
        answered = [
            message
            for job, messages in messages_by_job(self.path).items()
            if self.ended.get(job) != "superseded"
            for message in messages
        ]

        assert sorted(answered) == sorted(self.line_of_message)


def messages_by_job(path: str) -> dict[int, list[int]]:
    """The messages of each job as they are in the file."""
    found: dict[int, list[int]] = {}
    rows = read(
        path,
        "SELECT id, message_id FROM job"
        " UNION ALL SELECT job_id, message_id FROM follow_up",
    )

    for job, message in rows:
        found.setdefault(job, []).append(message)

    return found


TestLine = Line.TestCase
TestLine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_delivery_is_not_stored_in_a_file_that_was_deleted(path: str) -> None:
    inbox = Inbox(path, account_id=1, sync="normal")
    put(inbox, 9001)
    Path(path).unlink()
    inbox._look_at = 0.0  # as if a second had passed

    put(inbox, 9002)

    assert [job.message_id for job in Inbox(path, account_id=1).jobs()] == [9002]
