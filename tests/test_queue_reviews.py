"""Drafts that wait for an operator's reply, and the counts of their verdicts."""

from __future__ import annotations

import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.queue import DAY, Store, open_store
from support.waiting import Clock

from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.queue.reviews import (
    COUNTED,
    LONGEST,
    Answered,
    Count,
    ShownDraft,
    rates,
)

TEXT: t.Final = "It left this morning, Ada Lovelace."
OTHER: t.Final = "It will leave tomorrow, Ada Lovelace."
TODAY: t.Final = "2025-06-15"


def suggest(
    store: Store, text: str = TEXT, *, after: int = 9001, earlier: str | None = None
) -> None:
    store.reviews.keep(ShownDraft(42, None, "{}", after, text), earlier=earlier)


def note(store: Store, text: str = TEXT, *, question: int = 9001) -> t.Any:
    """Keep a note whose request goes out; its job and its draft."""
    store.say(question)
    job = store.claim()
    (draft,) = store.outbox.keep(job, [DraftPart(text, True)])
    store.reviews.keep(ShownDraft(42, job.id, "{}", question, text))
    store.outbox.sending(job, draft)

    return job, draft


def post(store: Store, noted: t.Any, message_id: int) -> None:
    job, draft = noted
    store.queue.settle(job, "noted", None, posted=(draft, message_id))


def answer(store: Store, message_id: int, reply: str = TEXT) -> bool:
    return store.reviews.answer(42, message_id, reply)


def texts(store: Store) -> list[str]:
    """The drafts that are kept."""
    with store.database.inspect() as tx:
        return [text for (text,) in tx.execute("SELECT draft FROM review ORDER BY id")]


def answered(store: Store) -> Answered:
    found = store.reviews.next()
    assert found is not None

    return found


def end_all(store: Store, verdict: str = "used") -> list[str]:
    """Give every draft with a reply a verdict; the drafts."""
    ended = []

    while found := store.reviews.next():
        assert store.reviews.end(found, verdict)
        ended.append(found.draft)

    return ended


def test_a_draft_waits_for_the_first_reply_after_it(store: Store) -> None:
    suggest(store, after=9001)
    assert not answer(store, 9001)
    assert store.reviews.next() is None

    assert answer(store, 9002, OTHER)
    assert not answer(store, 9003)
    assert answered(store)[4:] == (TEXT, OTHER)


def test_a_reply_from_before_the_note_is_none_to_it(store: Store) -> None:
    noted = note(store)
    post(store, noted, 9003)

    assert not answer(store, 9002)
    assert answer(store, 9004)
    assert end_all(store) == [TEXT]


def test_a_note_that_had_not_arrived_by_the_reply_gets_no_verdict(store: Store) -> None:
    noted = note(store)
    assert not answer(store, 9002)
    post(store, noted, 9003)

    assert not answer(store, 9004)
    assert texts(store) == []


def test_an_earlier_reply_takes_no_verdict_from_a_note_under_way(store: Store) -> None:
    noted = note(store)
    assert not answer(store, 8999)  # catch-up found it late
    post(store, noted, 9003)

    assert answer(store, 9004)


def test_the_same_text_twice_is_one_draft(store: Store) -> None:
    post(store, note(store), 9003)
    suggest(store, after=9004)
    suggest(store, after=9004)
    suggest(store, OTHER, after=9004)

    answer(store, 9005)
    assert end_all(store) == [TEXT, OTHER]


def test_a_suggestion_counts_if_the_same_note_did_not_arrive(store: Store) -> None:
    note(store)
    suggest(store, after=9001)

    answer(store, 9002)
    assert end_all(store) == [TEXT]


def test_a_job_has_one_draft_and_no_second_one_after_a_reply(store: Store) -> None:
    job, draft = note(store)
    store.reviews.keep(ShownDraft(42, job.id, "{}", 9001, OTHER))
    assert texts(store) == [OTHER]

    post(store, (job, draft), 9003)
    answer(store, 9004)
    store.reviews.keep(ShownDraft(42, job.id, "{}", 9001, TEXT))
    assert texts(store) == [OTHER]


def test_a_suggestion_that_was_changed_waits_no_more(store: Store) -> None:
    suggest(store)
    suggest(store, OTHER, earlier=TEXT)

    assert texts(store) == [OTHER]


def test_who_ends_a_draft_counts_it_and_nobody_else(store: Store, path: str) -> None:
    suggest(store)
    answer(store, 9002)
    other = open_store(path, t.cast(Clock, store.database.clock))
    found = answered(store)
    assert answered(other) == found  # who dies here leaves it to another one

    with ThreadPoolExecutor(8) as pool:
        ended = pool.map(
            lambda each: each.reviews.end(found, "used"), [store, other] * 8
        )

    assert sum(ended) == 1
    assert store.reviews.counts(1) == [Count(TODAY, "suggestion", "used", 1)]
    assert (store.reviews.next(), texts(store)) == (None, [])


def test_verdicts_are_counted_by_day_and_kind(store: Store) -> None:
    post(store, note(store), 9003)
    suggest(store, OTHER, after=9003)
    answer(store, 9004)
    end_all(store)
    store.advance(DAY)
    suggest(store, after=9004)
    answer(store, 9005)
    end_all(store, "ignored")

    today = [Count("2025-06-16", "suggestion", "ignored", 1)]
    before = [Count(TODAY, "note", "used", 1), Count(TODAY, "suggestion", "used", 1)]
    assert store.reviews.counts(1) == today
    assert store.reviews.counts(2) == [*today, *before]
    found = rates(store.reviews.counts(2))
    assert found["reviewed"] == 3
    assert [round(found[each], 2) for each in ("used", "edited", "ignored")] == [
        *(0.67, 0.0, 0.33)
    ]

    store.advance(COUNTED * DAY)
    store.reviews.prune()
    assert store.reviews.counts(COUNTED) == []


def test_a_text_is_kept_for_a_day_at_most(store: Store) -> None:
    suggest(store)
    store.advance(1)
    suggest(store, OTHER)
    answer(store, 9002)
    store.advance(LONGEST - 1)
    store.reviews.forget()
    assert texts(store) == [OTHER]

    store.advance(1)
    store.reviews.forget()
    assert texts(store) == []
    assert store.reviews.counts(9) == []


def test_a_draft_that_is_too_old_gets_no_reply(store: Store) -> None:
    suggest(store)
    store.advance(LONGEST)

    assert not answer(store, 9002)


def test_an_old_text_goes_with_the_next_draft_where_no_worker_runs(
    store: Store,
) -> None:
    suggest(store)
    store.advance(LONGEST)
    suggest(store, OTHER)

    assert texts(store) == [OTHER]


def test_accounts_do_not_see_each_other(store: Store, neighbour: Store) -> None:
    suggest(store)

    assert not answer(neighbour, 9002)
    assert answer(store, 9002)
    assert neighbour.reviews.next() is None


def test_no_representation_shows_a_text(store: Store) -> None:
    suggest(store)
    answer(store, 9002)

    shown = repr((answered(store), ShownDraft(42, None, "{}", 1, TEXT)))
    assert "Lovelace" not in shown


@pytest.mark.sqlite
def test_no_text_is_left_in_the_file_after_the_verdict(store: Store, path: str) -> None:
    suggest(store, TEXT * 100)
    answer(store, 9002, OTHER * 100)
    end_all(store)
    store.close()

    files = [each for each in Path(path).parent.rglob("*") if each.is_file()]
    assert b"Lovelace" not in b"".join(each.read_bytes() for each in files)
