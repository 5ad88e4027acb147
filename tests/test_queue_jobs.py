"""Jobs, the line of a conversation, leases."""

from __future__ import annotations

import itertools
import secrets
import typing as t
from pathlib import Path

import pytest
from support.queue import (
    BODY,
    LEASE,
    advance,
    claim,
    everything,
    finish,
    follow_ups,
    keep,
    now,
    only,
    open_store,
    public,
    put,
    put_and_claim,
    read,
    say,
    sent,
)
from support.waiting import Clock

from flask_chatwoot.errors import LeaseLostError
from flask_chatwoot.payloads.fields import Upload
from flask_chatwoot.queue.jobs import FailedBy, Job
from flask_chatwoot.queue.outbox import Draft, DraftPart
from flask_chatwoot.queue.schema import JobState
from flask_chatwoot.queue.store import Store

# -- deliveries ----------------------------------------------------------------


def test_a_delivery_is_stored_as_it_came(store: Store) -> None:
    assert put(store, 9001, payload=b"\x00 raw \xff bytes")

    job = claim(store)
    assert (job.conversation_id, job.message_id) == (42, 9001)
    assert job.payload == b"\x00 raw \xff bytes"
    assert (job.attempts, job.drafts) == (1, ())


def test_a_delivery_is_stored_once(store: Store) -> None:
    assert put(store, 9001)
    assert not put(store, 9001)
    assert len(store.inspection.jobs()) == 1


@pytest.mark.parametrize("outcome", ["replied", "declined", "dead"])
def test_a_duplicate_is_recognised_after_the_end(store: Store, outcome: str) -> None:
    put(store, 9001)
    finish(store, outcome)

    assert not put(store, 9001)
    assert put_and_claim(store, 9001) == (False, None)
    assert store.queue.claim() is None


def test_a_duplicate_does_not_disturb_the_job(store: Store) -> None:
    put(store, 9001, payload=b"first")
    job = claim(store)
    advance(store, 1)
    put(store, 9001, payload=b"second")

    assert store.queue.claim() is None
    store.queue.postpone(job, 0)
    assert claim(store).payload == b"first"


def test_a_delivery_is_there_after_the_file_was_closed(
    store: Store, path: str, clock: Clock
) -> None:
    put(store, 9001)
    put(store, 9002, conversation_id=43)
    store.database.close()
    store.database.close()

    assert claim(store).message_id == 9001
    store.database.close()
    assert claim(open_store(path, clock)).message_id == 9002


def test_accounts_in_one_file_do_not_see_each_other(
    store: Store, neighbour: Store
) -> None:
    put(store, 9001)
    draft = sent(store, claim(store))
    known = Draft(draft.id, draft.marker, False, "On its way.", sent_at=now(store))
    advance(store, LEASE)

    assert neighbour.queue.claim() is None
    assert neighbour.inspection.jobs() == []
    assert neighbour.outbox.under_way(42, message_id=9002) == []
    assert store.outbox.under_way(42, message_id=9002) == [known]
    finish(store, "dead", "crashed")
    assert neighbour.inspection.retry([1]) == []


def test_a_delivery_can_be_stored_and_claimed_at_once(store: Store) -> None:
    new, job = put_and_claim(store, 9001)

    assert new
    assert job is not None
    assert (job.message_id, job.payload, job.attempts) == (9001, BODY, 1)
    assert store.queue.claim() is None
    advance(store, LEASE)
    assert claim(store).attempts == 2
    assert put_and_claim(store, 9001) == (False, None)


# -- the line of a conversation ------------------------------------------------


@pytest.mark.parametrize("claimed_at_once", [False, True])
@pytest.mark.parametrize("outcome", ["replied", "noted", "declined", "dead"])
def test_only_the_first_unfinished_job_of_a_conversation_is_due(
    store: Store, outcome: str, claimed_at_once: bool
) -> None:
    put(store, 9001)
    jobs = [claim(store)] if claimed_at_once else []
    put(store, 9002)
    put(store, 9003)

    for message_id in (9001, 9002, 9003):
        job = jobs.pop() if jobs else claim(store)
        assert job.message_id == message_id
        assert store.queue.claim() is None
        store.queue.settle(job, outcome, None)

    assert store.queue.claim() is None


def test_conversations_are_answered_side_by_side(store: Store) -> None:
    put(store, 9001, conversation_id=42)
    put(store, 9002, conversation_id=43)

    assert [claim(store).message_id, claim(store).message_id] == [9001, 9002]


def test_a_first_job_that_is_retried_blocks_its_line_only(store: Store) -> None:
    put(store, 9001, conversation_id=42)
    put(store, 9002, conversation_id=42)
    put(store, 9003, conversation_id=43)
    store.queue.postpone(claim(store), 60)

    assert finish(store) == 9003
    assert store.queue.claim() is None
    advance(store, 60)
    assert [finish(store), finish(store)] == [9001, 9002]


@pytest.mark.parametrize("workers", [1, 2])
def test_every_delivery_is_found_by_the_worker_that_looks(
    store: Store, path: str, clock: Clock, workers: int
) -> None:
    other = open_store(path, clock)
    claiming = itertools.cycle([store, other][:workers])

    for number in range(1, 251):
        put(store, number, conversation_id=number)
        clock.advance(0.01)

    found = [claim(next(claiming)).message_id for _ in range(250)]
    assert found == list(range(1, 251))
    assert store.queue.claim() is other.queue.claim() is None
    other.database.close()


def test_a_delivery_is_found_though_later_ones_are_finished(
    store: Store, neighbour: Store
) -> None:
    put(store, 9001)
    put(store, 9002, conversation_id=43)
    put(neighbour, 9003)
    assert finish(neighbour) == 9003
    assert neighbour.queue.claim() is None

    assert finish(store) == 9001


def test_a_claim_that_is_interrupted_is_undone(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: int) -> str:
        raise KeyboardInterrupt

    put(store, 9001)

    with monkeypatch.context() as patch:
        patch.setattr(secrets, "token_hex", interrupt)

        with pytest.raises(KeyboardInterrupt):
            store.queue.claim()

    assert claim(store).message_id == 9001


def test_a_delivery_in_a_file_that_replaced_another_is_found(
    store: Store, path: str
) -> None:
    for number in range(1, 4):
        put(store, number, conversation_id=number)
        finish(store)

    store.database.close()
    Path(path).unlink()
    put(store, 9001)

    assert claim(store).message_id == 9001


def test_a_delivery_is_found_by_a_process_that_begins_later(
    store: Store, path: str, clock: Clock
) -> None:
    put(store, 9001)
    put(store, 9002, conversation_id=43)
    finish(store)
    put(store, 9003, conversation_id=44)
    store.database.close()
    other = open_store(path, clock)

    assert [finish(other), finish(other)] == [9002, 9003]
    assert other.queue.claim() is None
    other.database.close()


def test_the_oldest_due_job_comes_first(store: Store) -> None:
    for number in range(5):
        put(store, 9001 + number, conversation_id=50 - number)
        put(store, 9101 + number, conversation_id=50 - number)
        advance(store, 1)

    order = [id for n in range(5) for id in (9001 + n, 9101 + n)]
    assert [finish(store) for _ in range(10)] == order


def test_revived_jobs_keep_their_order(store: Store) -> None:
    for message_id in (9001, 9002, 9003):
        put(store, message_id)
        finish(store, "dead", "unauthorized")

    newest_first = [job.id for job in store.inspection.jobs(JobState.DEAD)]
    store.inspection.retry(newest_first)

    assert [finish(store) for _ in range(3)] == [9001, 9002, 9003]


def test_a_revived_job_waits_for_the_one_that_runs(store: Store) -> None:
    put(store, 9001)
    finish(store, "dead", "refused")
    put(store, 9002)
    put(store, 9003)
    running = claim(store)
    store.inspection.retry([1])

    assert store.queue.claim() is None
    store.queue.settle(running, "replied", None)
    assert [finish(store), finish(store)] == [9001, 9003]


# -- leases --------------------------------------------------------------------


def test_a_claimed_job_is_due_again_when_its_lease_ends(store: Store) -> None:
    put(store, 9001)
    first = claim(store)

    advance(store, LEASE - 0.001)
    assert store.queue.claim() is None

    advance(store, 0.001)
    second = claim(store)
    assert second.id == first.id
    assert second.claim != first.claim
    assert (first.attempts, second.attempts) == (1, 2)


def test_a_renewed_lease_begins_anew(store: Store) -> None:
    put(store, 9001)
    job = claim(store)
    advance(store, LEASE - 1)
    store.queue.renew(job)

    advance(store, LEASE - 1)
    assert store.queue.claim() is None
    advance(store, 1)
    assert claim(store).id == job.id


def test_a_lost_lease_cannot_be_renewed(store: Store) -> None:
    put(store, 9001)
    lost = claim(store)
    advance(store, LEASE)
    claim(store)

    advance(store, LEASE - 1)
    store.queue.renew(lost)
    advance(store, 1)
    assert claim(store).attempts == 3


@pytest.mark.parametrize("end", ["postponed", "finished"])
def test_renewing_a_lease_that_has_ended_does_nothing(store: Store, end: str) -> None:
    put(store, 9001)
    job = claim(store)

    if end == "postponed":
        store.queue.postpone(job, 0)
    else:
        store.queue.settle(job, "replied", None)

    store.queue.renew(job)
    advance(store, 10 * LEASE)

    attempts = [2] if end == "postponed" else []
    assert [each.attempts for each in iter(store.queue.claim, None)] == attempts


def test_a_late_worker_may_finish_a_job_that_no_other_claimed(store: Store) -> None:
    put(store, 9001)
    job = claim(store)
    advance(store, 2 * LEASE)
    store.queue.settle(job, "replied", None)

    assert only(store).state == "done"
    assert store.queue.claim() is None


WRITES: dict[str, t.Callable[[Store, Job, Draft], t.Any]] = {
    "keep": lambda store, job, _: store.outbox.keep(job, public("Again.")),
    "keep a hand-off": lambda store, job, _: store.outbox.keep(job, [], handoff="{}"),
    "give up": lambda store, job, _: store.queue.give_up(
        job, "refused", public("Sorry."), handoff=None
    ),
    "give up in silence": lambda store, job, _: store.queue.give_up(
        job, "refused", [], handoff="{}"
    ),
    "sending": lambda store, job, draft: store.outbox.sending(job, draft),
    "settle": lambda store, job, _: store.queue.settle(job, "replied", None),
    "postpone": lambda store, job, _: store.queue.postpone(job, 60),
    "postpone free": lambda store, job, _: store.queue.postpone(job, 60, free=True),
}

TAKE_OVERS: dict[str, t.Callable[[Store, Job], t.Any]] = {
    "claimed again": lambda store, job: None,
    "settled": lambda store, job: store.queue.settle(job, "declined", "no_answer"),
    "dead": lambda store, job: store.queue.settle(job, "dead", "refused"),
    "postponed": lambda store, job: store.queue.postpone(job, 5),
}


@pytest.mark.parametrize("take_over", TAKE_OVERS)
@pytest.mark.parametrize("write", WRITES)
def test_a_lost_lease_writes_nothing(store: Store, write: str, take_over: str) -> None:
    put(store, 9001)
    lost = claim(store)
    draft = keep(store, lost)
    advance(store, LEASE)
    TAKE_OVERS[take_over](store, claim(store))
    before = everything(store)

    with pytest.raises(LeaseLostError, match="Job 1 was claimed by another"):
        WRITES[write](store, lost, draft)

    assert everything(store) == before


def test_a_post_is_recorded_whichever_worker_holds_the_job(store: Store) -> None:
    put(store, 9001)
    draft = sent(store, claim(store))
    advance(store, LEASE)
    claim(store)
    store.outbox.posted(draft, 20001)

    advance(store, LEASE)
    (seen,) = claim(store).drafts
    assert seen.message_id == 20001


FILE: t.Final = Upload("invoice.pdf", b"\x00\xff of Ada Lovelace", "application/pdf")

# -- failed turns --------------------------------------------------------------


def test_a_job_that_was_given_up_begins_anew_with_its_drafts(
    store: Store,
) -> None:
    say(store, 9001)
    store.queue.postpone(claim(store), 0)
    job = claim(store)
    draft = sent(store, job, "The answer.")
    parts = [*public("We are sorry."), DraftPart("It failed.", True)]
    store.queue.give_up(job, "refused", parts, handoff="{}")

    assert only(store).attempts == 0
    anew = claim(store)
    drafts = [(each.content, each.private) for each in anew.drafts]
    assert drafts == [("We are sorry.", False), ("It failed.", True)]
    assert (anew.failure, anew.handoff, anew.attempts) == ("refused", "{}", 1)
    (under_way,) = store.outbox.under_way(42, message_id=20001)
    assert under_way.id == draft.id
    with pytest.raises(LeaseLostError):
        store.queue.settle(job, "replied", None)


def test_a_job_may_be_given_up_without_a_draft(store: Store) -> None:
    say(store, 9001)
    job = claim(store)
    store.outbox.keep(job, public("The answer."), handoff="wanted by the reply")
    store.queue.give_up(job, "refused", [], handoff=None)

    anew = claim(store)
    assert (anew.drafts, anew.failure, anew.handoff) == ((), "refused", None)


def test_a_revived_job_has_no_draft_about_its_failure(
    store: Store,
) -> None:
    say(store, 9001)
    say(store, 9002, said=lambda: "second")
    job = claim(store)
    reply = DraftPart("The answer.", False, [("A", "a")], [FILE])
    apology = DraftPart("Sorry.", False, (), [FILE])
    (draft,) = store.outbox.keep(job, [reply])
    store.queue.give_up(job, "refused", [apology], handoff="{}")
    store.queue.settle(claim(store), "dead", "refused")
    assert store.inspection.retry([job.id]) == [job.id]

    again = claim(store)
    assert again.drafts == (draft,)
    assert (again.failure, again.handoff, again.attempts) == (None, None, 1)
    assert follow_ups(again) == [(9002, "second", BODY)]
    assert store.outbox.files(draft) == [FILE]
    assert read(store, "SELECT count(*) FROM draft") == [(1,)]
    assert read(store, "SELECT count(*) FROM file") == [(1,)]


def test_a_revived_job_may_be_given_up_again(store: Store) -> None:
    say(store, 9001)

    for words in ("Sorry.", "Sorry again."):
        store.queue.give_up(claim(store), "refused", public(words), handoff=None)
        job = claim(store)
        assert [draft.content for draft in job.drafts] == [words]
        store.queue.settle(job, "dead", "refused")
        store.inspection.retry([job.id])


def test_a_kept_hand_off_comes_with_the_next_claim(store: Store) -> None:
    say(store, 9001)
    job = claim(store)
    assert job.handoff is None
    store.outbox.keep(job, public("One moment."), handoff='{"reason": "asked"}')
    advance(store, LEASE)
    job = claim(store)
    assert job.handoff == '{"reason": "asked"}'
    assert len(job.drafts) == 1

    store.queue.settle(job, "dead", "refused")
    store.inspection.retry([job.id])
    assert claim(store).handoff == '{"reason": "asked"}'


# -- postponing ----------------------------------------------------------------


def test_a_postponed_job_is_due_after_its_pause(store: Store) -> None:
    put(store, 9001)
    store.queue.postpone(claim(store), 7)

    assert only(store).state is JobState.RETRYING
    advance(store, 6.999)
    assert store.queue.claim() is None
    advance(store, 0.001)
    assert claim(store).attempts == 2


def test_a_free_claim_is_no_attempt(store: Store) -> None:
    put(store, 9001)
    store.queue.postpone(claim(store), 0, free=True)

    assert only(store).attempts == 0
    assert claim(store).attempts == 1


def test_failures_of_provider_and_chatwoot_are_counted_apart(
    store: Store,
) -> None:
    put(store, 9001)

    lost = claim(store)
    store.queue.failed(lost, FailedBy.PROVIDER)
    store.queue.postpone(lost, 0)

    for by in (FailedBy.CHATWOOT, FailedBy.PROVIDER):
        job = claim(store)
        store.queue.failed(job, by)
        store.queue.postpone(job, 0)

    store.queue.failed(lost, FailedBy.CHATWOOT)
    assert (only(store).attempts, counts(store)) == (3, (2, 1))

    store.queue.give_up(claim(store), "refused", [], handoff=None)
    assert (only(store).attempts, counts(store)) == (0, (2, 1))

    finish(store, "dead", "refused")
    store.inspection.retry([1])
    assert counts(store) == (0, 0)


def counts(store: Store) -> tuple[int, int]:
    job = only(store)

    return job.provider_attempts, job.chatwoot_attempts


# -- transactions over several stores --------------------------------------------


def test_stores_that_join_a_transaction_are_committed_together(store: Store) -> None:
    put(store, 9001)
    draft = sent(store, claim(store))
    before = everything(store)

    def write(*, fails: bool) -> None:
        with store.queue.transaction() as tx:
            store.queue.put("k", conversation_id=7, message_id=1, payload=BODY, tx=tx)
            store.queue.put("l", conversation_id=8, message_id=2, payload=BODY, tx=tx)
            assert store.queue.claim(tx=tx)
            store.outbox.posted(draft, 20001, tx=tx)
            assert everything(store) == before

            if fails:
                raise LeaseLostError("lost")

    with pytest.raises(LeaseLostError, match="lost"):
        write(fails=True)

    assert everything(store) == before
    write(fails=False)
    assert len(store.inspection.jobs()) == 3
    assert store.outbox.is_ours(20001)
