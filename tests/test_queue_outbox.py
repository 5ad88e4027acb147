"""Drafts, and the erasure of text."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from support.queue import DAY, LEASE, Store, public

from flask_chatwoot.payloads.fields import Upload
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.queue.sqlite import SQLiteDatabase

# -- drafts --------------------------------------------------------------------


def test_a_kept_reply_comes_with_the_next_claim_in_its_order(store: Store) -> None:
    store.put(9001)
    kept = store.outbox.keep(
        store.claim(), [DraftPart(text, True) for text in ("One.", "Two.", "Three.")]
    )
    store.advance(LEASE)

    assert store.claim().drafts == tuple(kept)
    assert [draft.content for draft in kept] == ["One.", "Two.", "Three."]
    assert all(draft.private for draft in kept)
    assert len({draft.marker for draft in kept}) == 3


def test_a_request_is_recorded_and_withdrawn(store: Store) -> None:
    store.put(9001)
    first = store.claim()
    draft = store.sent(first)

    store.advance(LEASE)
    (noted,) = store.claim().drafts
    assert (noted.sent_at, noted.unconfirmed_at) == (store.now - LEASE, None)

    store.outbox.unconfirmed(draft)
    store.advance(LEASE)
    job = store.claim()
    (unanswered,) = job.drafts
    assert unanswered == noted._replace(unconfirmed_at=store.now - LEASE)

    store.outbox.unsent(first, draft)  # another worker may have sent one since
    assert under_way(store, 9002) == [draft.id]

    store.outbox.unsent(job, draft)
    store.advance(LEASE)
    (withdrawn,) = store.claim().drafts
    assert withdrawn == noted._replace(sent_at=None, unconfirmed_at=None)


def under_way(store: Store, message_id: int, conversation_id: int = 42) -> list[int]:
    drafts = store.outbox.under_way(conversation_id, message_id=message_id)
    return [draft.id for draft in drafts]


def test_a_draft_is_under_way_from_the_request_to_the_post(store: Store) -> None:
    store.put(9001)
    job = store.claim()
    draft = store.keep(job)

    assert under_way(store, 20001) == []
    store.outbox.sending(job, draft)
    assert under_way(store, 20001) == [draft.id]
    assert not store.outbox.is_ours(20001)
    store.outbox.posted(draft, 20001)
    assert under_way(store, 20002) == []
    assert store.outbox.is_ours(20001)
    assert not store.outbox.is_ours(20001, but=draft)
    assert not store.outbox.is_ours(20002)


@pytest.mark.parametrize(
    ("message_id", "conversation_id"), [(20001, 43), (1, 42), (9000, 42), (9001, 42)]
)
def test_another_message_is_no_post(
    store: Store, message_id: int, conversation_id: int
) -> None:
    store.put(9001)
    store.sent(store.claim())
    assert under_way(store, message_id, conversation_id) == []


def test_another_drafts_post_is_no_draft_under_way(store: Store) -> None:
    store.put(9001)
    job = store.claim()
    first, second = store.outbox.keep(job, public("Yes.", "Yes."))
    store.outbox.sending(job, first)
    store.outbox.posted(first, 20001)
    store.outbox.sending(job, second)

    assert under_way(store, 20001) == []
    assert under_way(store, 20002) == [second.id]


def test_only_a_dead_job_still_has_something_under_way(store: Store) -> None:
    """It may be revived, and must not be posted twice then."""
    for message_id, outcome in ((9001, "replied"), (9002, "dead")):
        store.put(message_id)
        job = store.claim()
        store.sent(job)
        store.settle(job, outcome, None)

    assert under_way(store, 20001) == [2]


# -- choices and files ---------------------------------------------------------

FILE = Upload("invoice.pdf", b"\x00\xff of Ada Lovelace", "application/pdf")
LIST = Upload("", b"", "text/plain")


def test_choices_and_files_are_kept_with_their_draft(store: Store) -> None:
    store.say(9001)
    choices = [("Yes", "yes"), ("Größe 'M'", '"m"')]
    asked = DraftPart("Which one?", False, choices)
    note = DraftPart("", True, (), [FILE, LIST])
    kept = store.outbox.keep(store.claim(), [asked, note, *public("Bye.")])
    store.advance(LEASE)
    drafts = store.claim().drafts

    assert drafts == tuple(kept)
    assert [draft.choices for draft in drafts] == [tuple(choices), (), ()]
    assert [draft.files for draft in drafts] == [0, 2, 0]
    assert [store.outbox.files(draft) for draft in drafts] == [[], [FILE, LIST], []]


def test_a_note_stays_a_note_whatever_the_draft_says(store: Store) -> None:
    store.say(9001)
    job = store.claim()
    parts = [*public("One."), DraftPart("Two.", True)]
    message, note = store.outbox.keep(job, parts)
    store.outbox.sending(job, message._replace(private=True))
    store.outbox.sending(job, note._replace(private=False))
    store.advance(LEASE)

    assert [draft.private for draft in store.claim().drafts] == [True, True]


# -- erasure -------------------------------------------------------------------

QUESTION = b"a question of Ada Lovelace"
ANSWER = "an answer for Ada Lovelace"


SAID = "a word of Ada Lovelace"
CHOICE = "a choice of Ada Lovelace"
SECRETS = [QUESTION, ANSWER.encode(), SAID.encode(), CHOICE.encode(), b"of a file"]


def write_all_there_is(store: Store) -> Job:
    store.say(9001, payload=QUESTION * 40)
    store.say(9002, said=lambda: SAID * 40)
    store.say(9003, payload=QUESTION * 40, said=lambda: SAID)
    job = store.claim()
    file = Upload("a.txt", b"the content of a file" * 400, "text/plain")
    store.outbox.keep(
        job, [DraftPart(ANSWER, False, [(CHOICE, CHOICE)], [file])], handoff=ANSWER
    )

    return job


def left_on_disk(store: Store) -> list[bytes]:
    """The secrets in the file and its journal, of which nothing is left."""
    store.read("PRAGMA wal_checkpoint(TRUNCATE)")
    folder = Path(t.cast(SQLiteDatabase, store.database).path).parent
    files = [path for path in folder.rglob("*") if path.is_file()]
    found = b"".join(file.read_bytes() for file in files)

    return [secret for secret in SECRETS if secret in found]


@pytest.mark.sqlite
@pytest.mark.parametrize("end", ["replied", "noted", "declined", "superseded"])
def test_every_text_is_erased_when_the_job_is_done(store: Store, end: str) -> None:
    job = write_all_there_is(store)
    assert left_on_disk(store) == SECRETS

    if end == "superseded":
        store.say(9004)
        assert store.queue.supersede(job, [(9001, "one")], "superseded")
    else:
        store.settle(job, end)

    assert left_on_disk(store) == []


@pytest.mark.sqlite
def test_a_dead_job_keeps_its_texts_until_it_is_pruned(store: Store) -> None:
    store.settle(write_all_there_is(store), "dead", "refused")
    assert left_on_disk(store) == SECRETS
    store.put(9004)
    store.advance(8 * DAY)
    assert store.inspection.prune() == 0
    assert left_on_disk(store) == SECRETS

    assert store.inspection.prune(dead=True) == 1
    assert left_on_disk(store) == []
    assert len(store.everything()) == 1
    assert store.say(9002)  # what is pruned is no duplicate


def test_no_representation_shows_a_text(store: Store) -> None:
    job = write_all_there_is(store)
    part = DraftPart(ANSWER, False, [(CHOICE, CHOICE)])
    (draft,) = store.outbox.keep(job, [part])
    shown = [job, draft, part, *job.follow_ups, FILE, [job.follow_ups]]

    assert "Ada" not in "".join(repr(each) for each in shown)
