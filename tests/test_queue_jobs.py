"""Jobs, the line of a conversation, leases."""

from __future__ import annotations

import itertools
import secrets
import typing as t
from pathlib import Path

import pytest
from support.queue import BODY, LEASE, Store, follow_ups, open_store, public
from support.waiting import Clock

from flask_chatwoot.errors import LeaseLostError
from flask_chatwoot.payloads.fields import Upload
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.jobs import FailedBy
from flask_chatwoot.queue.outbox import Draft, DraftPart

# -- deliveries ----------------------------------------------------------------


def test_a_delivery_is_stored_once_as_it_came(store: Store) -> None:
    assert store.put(9001, payload=b"\x00 raw \xff bytes")
    assert not store.put(9001)

    job = store.claim()
    assert (job.conversation_id, job.message_id) == (42, 9001)
    assert job.payload == b"\x00 raw \xff bytes"
    assert (job.attempts, job.drafts) == (1, ())


def test_accounts_in_a_file_see_only_their_own(store: Store, neighbour: Store) -> None:
    store.put(9001)
    draft = store.sent(store.claim())
    known = Draft(draft.id, draft.marker, False, "On its way.", sent_at=store.now)
    store.advance(LEASE)

    assert (neighbour.queue.claim(), neighbour.inspection.jobs()) == (None, [])
    assert neighbour.outbox.under_way(42, message_id=9002) == []
    assert store.outbox.under_way(42, message_id=9002) == [known]
    store.finish("dead", "crashed")
    assert neighbour.inspection.retry([1]) == []


def test_a_delivery_can_be_stored_and_claimed_at_once(store: Store) -> None:
    new, job = store.put_and_claim(9001)
    assert (new, job and (job.payload, job.attempts)) == (True, (BODY, 1))
    assert store.queue.claim() is None
    store.advance(LEASE)
    assert store.claim().attempts == 2
    assert store.put_and_claim(9001) == (False, None)


# -- the line of a conversation ------------------------------------------------


@pytest.mark.parametrize("claimed_at_once", [False, True])
@pytest.mark.parametrize("outcome", ["replied", "noted", "declined", "dead"])
def test_only_the_first_unfinished_job_of_a_conversation_is_due(
    store: Store, outcome: str, claimed_at_once: bool
) -> None:
    store.put(9001)
    jobs = [store.claim()] if claimed_at_once else []
    store.put(9002)
    store.put(9003)

    for message_id in (9001, 9002, 9003):
        job = jobs.pop() if jobs else store.claim()
        assert job.message_id == message_id
        assert store.queue.claim() is None
        store.settle(job, outcome, None)

    assert store.queue.claim() is None


@pytest.mark.parametrize("free", [False, True])
def test_a_job_that_is_retried_blocks_its_line_only(store: Store, free: bool) -> None:
    store.put(9001)
    store.put(9002)
    store.put(9003, conversation_id=43)
    store.queue.postpone(store.claim(), 60, free=free)

    assert store.finish() == 9003
    store.advance(59.999)
    assert store.queue.claim() is None
    store.advance(0.001)
    job = store.claim()
    assert (job.message_id, job.attempts) == (9001, 1 if free else 2)
    store.settle(job)
    assert store.finish() == 9002


@pytest.mark.parametrize("workers", [1, 2])
def test_every_delivery_is_found_by_the_worker_that_looks(
    store: Store, path: str, clock: Clock, workers: int
) -> None:
    other = open_store(path, clock)
    claiming = itertools.cycle([store, other][:workers])

    for number in range(1, 251):
        store.put(number, conversation_id=number)
        clock.advance(0.01)

    found = [next(claiming).claim().message_id for _ in range(250)]
    assert found == list(range(1, 251))
    assert store.queue.claim() is other.queue.claim() is None
    other.close()


def test_a_claim_that_is_interrupted_is_undone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> str:
        raise KeyboardInterrupt

    store.put(9001)

    with monkeypatch.context() as patch:
        patch.setattr(secrets, "token_hex", interrupt)

        with pytest.raises(KeyboardInterrupt):
            store.queue.claim()

    assert store.claim().message_id == 9001


@pytest.mark.sqlite
def test_a_delivery_in_a_replaced_file_is_found(store: Store, path: str) -> None:
    for number in range(1, 4):
        store.put(number, conversation_id=number)
        store.finish()

    store.close()
    Path(path).unlink()
    store.put(9001)

    assert store.claim().message_id == 9001


def test_a_delivery_is_found_by_a_process_that_begins_later_and_by_a_reopened_store(
    store: Store, path: str, clock: Clock
) -> None:
    for number in range(4):
        store.put(9001 + number, conversation_id=42 + number)

    store.finish()
    store.close()
    store.close()
    other = open_store(path, clock)

    assert [other.finish(), other.finish()] == [9002, 9003]
    assert store.finish() == 9004
    assert other.queue.claim() is None
    other.close()


def test_the_oldest_due_job_comes_first(store: Store) -> None:
    for number in range(5):
        store.put(9001 + number, conversation_id=50 - number)
        store.put(9101 + number, conversation_id=50 - number)
        store.advance(1)

    order = [id for n in range(5) for id in (9001 + n, 9101 + n)]
    assert [store.finish() for _ in range(10)] == order


def test_revived_jobs_keep_their_order_behind_the_one_that_runs(store: Store) -> None:
    for message_id in (9001, 9002):
        store.put(message_id)
        store.finish("dead", "refused")

    store.put(9003)
    store.put(9004)
    running = store.claim()
    store.inspection.retry([2, 1])

    assert store.queue.claim() is None
    store.settle(running)
    assert [store.finish() for _ in range(3)] == [9001, 9002, 9004]


# -- leases --------------------------------------------------------------------


def test_a_job_is_due_when_the_lease_of_its_worker_ends(store: Store) -> None:
    store.put(9001)
    lost = store.claim()
    store.advance(LEASE - 0.001)
    assert store.queue.claim() is None
    store.advance(0.001)
    job = store.claim()
    assert (job.id, job.claim != lost.claim) == (lost.id, True)

    store.advance(LEASE - 1)
    store.queue.renew(job)
    store.advance(LEASE - 1)
    store.queue.renew(lost)
    assert store.queue.claim() is None
    store.advance(1)
    assert store.claim().attempts == 3


@pytest.mark.parametrize("end", ["postponed", "settled", "not taken over"])
def test_renewing_a_lease_that_has_ended_does_nothing(store: Store, end: str) -> None:
    store.put(9001)
    job = store.claim()

    if end == "not taken over":
        store.advance(LEASE)
    else:
        TAKE_OVERS[end](store, job)

    before = store.everything()
    store.queue.renew(job)

    assert store.everything() == before


WRITES: dict[str, t.Callable[[Store, Job, Draft], t.Any]] = {
    "keep": lambda store, job, _: store.outbox.keep(job, public("Again.")),
    "keep a hand-off": lambda store, job, _: store.outbox.keep(job, [], handoff="{}"),
    "give up": lambda store, job, _: store.queue.give_up(
        job, "refused", public("Sorry."), handoff=None
    ),
    "give up in silence": lambda store, job, _: store.queue.give_up(
        job, "refused", [], handoff="{}"
    ),
    "supersede": lambda store, job, _: store.queue.supersede(job, [(9001, "")], "why"),
    "sending": lambda store, job, draft: store.outbox.sending(job, draft),
    "settle": lambda store, job, _: store.settle(job),
    "postpone": lambda store, job, _: store.queue.postpone(job, 60),
    "postpone free": lambda store, job, _: store.queue.postpone(job, 60, free=True),
}

TAKE_OVERS: dict[str, t.Callable[[Store, Job], t.Any]] = {
    "claimed again": lambda store, job: None,
    "settled": lambda store, job: store.settle(job, "declined", "no_answer"),
    "dead": lambda store, job: store.settle(job, "dead", "refused"),
    "postponed": lambda store, job: store.queue.postpone(job, 5),
}


@pytest.mark.parametrize("take_over", TAKE_OVERS)
@pytest.mark.parametrize("write", WRITES)
def test_a_lost_lease_writes_nothing(store: Store, write: str, take_over: str) -> None:
    store.put(9001)
    lost = store.claim()
    draft = store.keep(lost)
    store.advance(LEASE)
    TAKE_OVERS[take_over](store, store.claim())
    store.say(9002)
    before = store.everything()

    with pytest.raises(LeaseLostError, match="Job 1 was claimed by another"):
        WRITES[write](store, lost, draft)

    assert store.everything() == before


def test_a_post_is_recorded_whichever_worker_holds_the_job(store: Store) -> None:
    store.put(9001)
    draft = store.sent(store.claim())
    store.advance(LEASE)
    store.claim()
    store.outbox.posted(draft, 20001)

    store.advance(LEASE)
    (seen,) = store.claim().drafts
    assert seen.message_id == 20001


FILE: t.Final = Upload("invoice.pdf", b"\x00\xff of Ada Lovelace", "application/pdf")

# -- failed turns --------------------------------------------------------------


def test_a_job_that_was_given_up_begins_anew_with_its_drafts(store: Store) -> None:
    store.say(9001)
    store.queue.postpone(store.claim(), 0)
    job = store.claim()
    draft = store.sent(job, "The answer.")
    parts = [*public("We are sorry."), DraftPart("It failed.", True)]
    store.queue.give_up(job, "refused", parts, handoff="{}")

    assert store.only().attempts == 2
    anew = store.claim()
    drafts = [(each.content, each.private) for each in anew.drafts]
    assert drafts == [("We are sorry.", False), ("It failed.", True)]
    assert (anew.failure, anew.handoff, anew.attempts) == ("refused", "{}", 1)
    (under_way,) = store.outbox.under_way(42, message_id=20001)
    assert under_way.id == draft.id
    with pytest.raises(LeaseLostError):
        store.settle(job)


def test_a_job_may_be_given_up_without_a_draft(store: Store) -> None:
    store.say(9001)
    job = store.claim()
    store.outbox.keep(job, public("The answer."), handoff="wanted by the reply")
    store.queue.give_up(job, "refused", [], handoff=None)

    anew = store.claim()
    assert (anew.drafts, anew.failure, anew.handoff) == ((), "refused", None)


def test_a_revived_job_has_no_draft_about_its_failure(store: Store) -> None:
    store.say(9001)
    store.say(9002, said=lambda: "second")
    job = store.claim()
    reply = DraftPart("The answer.", False, [("A", "a")], [FILE])
    apology = DraftPart("Sorry.", False, (), [FILE])
    (draft,) = store.outbox.keep(job, [reply])
    store.queue.give_up(job, "refused", [apology], handoff="{}")
    store.settle(store.claim(), "dead", "refused")
    assert store.inspection.retry([job.id]) == [job.id]

    again = store.claim()
    assert again.drafts == (draft,)
    assert (again.failure, again.handoff, again.attempts) == (None, None, 1)
    assert follow_ups(again) == [(9002, "second", BODY)]
    assert store.outbox.files(draft) == [FILE]
    assert store.read("SELECT count(*) FROM draft") == [(1,)]
    assert store.read("SELECT count(*) FROM file") == [(1,)]


def test_a_revived_job_may_be_given_up_again(store: Store) -> None:
    store.say(9001)

    for words in ("Sorry.", "Sorry again."):
        store.queue.give_up(store.claim(), "refused", public(words), handoff=None)
        job = store.claim()
        assert [draft.content for draft in job.drafts] == [words]
        store.settle(job, "dead", "refused")
        store.inspection.retry([job.id])


def test_a_kept_hand_off_comes_with_the_next_claim(store: Store) -> None:
    store.say(9001)
    job = store.claim()
    assert job.handoff is None
    store.outbox.keep(job, public("One moment."), handoff='{"reason": "asked"}')
    store.advance(LEASE)
    job = store.claim()
    assert job.handoff == '{"reason": "asked"}'
    assert len(job.drafts) == 1

    store.settle(job, "dead", "refused")
    store.inspection.retry([job.id])
    assert store.claim().handoff == '{"reason": "asked"}'


# -- postponing ----------------------------------------------------------------


def test_failures_of_provider_and_chatwoot_are_counted_apart(store: Store) -> None:
    store.put(9001)

    lost = store.claim()
    store.queue.failed(lost, FailedBy.PROVIDER)
    store.queue.postpone(lost, 0)

    for by in (FailedBy.CHATWOOT, FailedBy.PROVIDER):
        job = store.claim()
        store.queue.failed(job, by)
        store.queue.postpone(job, 0)

    store.queue.failed(lost, FailedBy.CHATWOOT)
    assert (store.only().attempts, counts(store)) == (3, (2, 1))

    store.queue.give_up(store.claim(), "refused", [], handoff=None)
    assert (store.only().attempts, counts(store)) == (4, (2, 1))

    store.queue.postpone(store.claim(), 0)
    assert (store.only().attempts, store.only().report_attempts) == (4, 1)

    store.finish("dead", "refused")
    store.inspection.retry([1])
    assert counts(store) == (0, 0)


def counts(store: Store) -> tuple[int, int]:
    job = store.only()
    return job.provider_attempts, job.chatwoot_attempts


# -- transactions over several stores --------------------------------------------


def test_stores_that_join_a_transaction_are_committed_together(store: Store) -> None:
    store.put(9001)
    draft = store.sent(store.claim())
    before = store.everything()

    def write(*, fails: bool) -> None:
        with store.queue.transaction(42) as tx:
            store.queue.put("k", conversation_id=7, message_id=1, payload=BODY, tx=tx)
            store.queue.put("l", conversation_id=8, message_id=2, payload=BODY, tx=tx)
            assert store.queue.claim(tx=tx)
            store.outbox.posted(draft, 20001, tx=tx)
            assert store.everything() == before

            if fails:
                raise LeaseLostError("lost")

    with pytest.raises(LeaseLostError, match="lost"):
        write(fails=True)

    assert store.everything() == before
    write(fails=False)
    assert len(store.inspection.jobs()) == 3
    assert store.outbox.is_ours(20001)
