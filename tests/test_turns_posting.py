"""A draft is posted once, whatever fails on the way."""

from __future__ import annotations

import contextlib
import functools
import typing as t
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import requests
from flask import Flask
from support.apps import recorded
from support.chatwoot import BASE_URL, TOKEN, ChatwootStub, refused
from support.queue import LEASE, Store
from support.waiting import Clock, wait_until
from urllib3 import exceptions as urllib3_errors

from flask_chatwoot import Mode, Post, after_post, before_post
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.config import MARGIN
from flask_chatwoot.errors import (
    APIError,
    DatabaseError,
    LeaseLostError,
    PermanentError,
    TransientError,
    UnknownError,
)
from flask_chatwoot.payloads.conversation import is_post_of, message_from
from flask_chatwoot.payloads.fields import MARKER
from flask_chatwoot.payloads.liquid import escape
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.outbox import Draft, DraftPart, Outbox
from flask_chatwoot.simulator.payloads import Agent, MessageType
from flask_chatwoot.turns.posting import Poster, Settle, TooSoonError

SETTLE_TIME = 20.0
TEXT = "On its way."
LIQUID = "Use {{contact.email}} here."


class Posts:
    """The poster of an app, the app's database, and the Chatwoot that it posts to."""

    def __init__(
        self, api: ChatwootStub, store: Store, clock: Clock, read: str = TOKEN
    ) -> None:
        self.api, self.store, self.clock = api, store, clock
        self.poster = Poster(
            app=Flask("host"),
            client=ChatwootClient(BASE_URL, 1, TOKEN),
            reader=ChatwootClient(BASE_URL, 1, read),
            outbox=store.outbox,
            passed=lambda since: clock() - since,
            settle_time=SETTLE_TIME,
        )

    def kept(self, *texts: str, private: bool = False) -> Job:
        """A claimed job with its drafts."""
        self.store.put(9001)
        job = self.store.claim()
        drafts = [DraftPart(text, private) for text in texts or (TEXT,)]
        self.store.outbox.keep(job, drafts)

        return self.again(job)

    def again(self, job: Job) -> Job:
        """The job as the next attempt has it."""
        self.store.queue.postpone(job, -1e9)
        claimed = self.store.claim()
        assert claimed.id == job.id

        return claimed

    def settled(self, job: Job) -> Job:
        """The job as an attempt after the settle time has it."""
        self.clock.advance(SETTLE_TIME)

        return self.again(job)

    def post(self, job: Job, *, settle: Settle | None = None) -> list[int]:
        """Post the drafts of a job that Chatwoot does not have; all message ids."""
        ensure = functools.partial(self.poster.ensure_posted, job, settle=settle)
        return [ensure(draft, mode=Mode.BOT) for draft in job.drafts]

    def attempt(self, job: Job) -> Job:
        """Fail to post; the job as the next attempt has it."""
        with pytest.raises(APIError):
            self.post(job)

        return self.again(job)

    def fail(self, how: int | Exception, *texts: str, **options: t.Any) -> Job:
        """Fail to post a new job; the job as the next attempt has it."""
        self.api.fail(how, stored=options.pop("stored", False))
        return self.attempt(self.kept(*texts, **options))


@pytest.fixture
def posts(api: ChatwootStub, store: Store, clock: Clock) -> Posts:
    return Posts(api, store, clock)


Seen = list[dict[str, t.Any]]


@contextlib.contextmanager
def signals_of(posts: Posts) -> t.Iterator[tuple[Seen, Seen]]:
    """What ``before_post`` and ``after_post`` send."""
    app = posts.poster.app

    with recorded(before_post, app) as begun, recorded(after_post, app) as ended:
        yield begun, ended


GONE: t.Final = {"deleted": True}
TIMED_OUT = requests.ReadTimeout()
CUT = requests.ConnectionError(urllib3_errors.ProtocolError("Connection aborted."))
FAILURES: dict[str, tuple[int | Exception, type[APIError]]] = {
    "refused connection": (refused(), TransientError),
    "connection time-out": (requests.ConnectTimeout(), TransientError),
    "time-out": (TIMED_OUT, UnknownError),
    "cut connection": (CUT, UnknownError),
    **{str(s): (s, PermanentError) for s in (401, 404, 422)},
    **{str(s): (s, TransientError) for s in (400, 429)},
    **{str(s): (s, UnknownError) for s in (302, 500, 502)},
}
UNANSWERED = ["time-out", "cut connection", "302", "500", "502"]
NOTHING_DONE = [failure for failure in FAILURES if failure not in UNANSWERED]


# -- once ----------------------------------------------------------------------


def test_a_draft_is_posted_with_its_marker(posts: Posts) -> None:
    job = posts.kept()
    message_ids = posts.post(job)

    marker = {MARKER: job.drafts[0].marker}
    given = {"content": TEXT, "private": False, "content_attributes": marker}
    assert posts.api.attempts == [given]
    assert (posts.api.looks, posts.api.tokens) == (0, {TOKEN})
    assert message_ids == [created["id"] for created in posts.api.messages]
    assert [draft.message_id for draft in posts.again(job).drafts] == message_ids


def test_a_note_is_never_posted_in_public(posts: Posts) -> None:
    job = posts.kept(private=True)

    for how in (500, TIMED_OUT, refused()):
        posts.api.fail(how)
        job = posts.settled(posts.attempt(job))

    posts.post(job)
    assert [given["private"] for given in posts.api.attempts] == [True] * 4
    assert (posts.api.notes, posts.api.public) == ([TEXT], [])


def test_a_post_that_chatwoot_has_is_not_made_again(posts: Posts) -> None:
    job = posts.kept("One.", "Two.")
    posts.api.fail(422)
    posts.store.outbox.posted(job.drafts[0], 20001)
    job = posts.attempt(posts.again(job))
    posts.post(job)

    assert posts.api.public == ["Two."]


def test_looking_for_a_post_sends_no_message_and_no_signal(posts: Posts) -> None:
    job = posts.kept()

    with signals_of(posts) as signals:
        assert not posts.poster.find(job, job.drafts[0])
        assert posts.api.looks == 0
        posts.store.outbox.sending(job, job.drafts[0])
        assert not posts.poster.find(job, posts.settled(job).drafts[0])

    assert (posts.api.looks, posts.api.attempts, signals) == (1, [], ([], []))


def test_the_readers_token_looks_and_the_other_one_posts(posts: Posts) -> None:
    other = Posts(posts.api, posts.store, posts.clock, "token-of-a-reader")
    job = other.fail(TIMED_OUT, stored=True)

    assert other.poster.find(job, job.drafts[0])
    assert posts.api.tokens == {TOKEN}
    assert posts.api.readers == {"token-of-a-reader"}


@pytest.mark.parametrize("settles", [False, True])
def test_a_draft_is_looked_for_and_kept_without_a_post_or_a_signal(
    posts: Posts, settles: bool
) -> None:
    job = posts.fail(TIMED_OUT, stored=True)
    settled: list[int] = []

    with signals_of(posts) as signals:
        made = posts.post(job, settle=settled.append if settles else None)

    assert made == [each["id"] for each in posts.api.messages]
    assert settled == (made if settles else [])
    assert posts.store.outbox.is_ours(made[0])
    assert signals == ([], [])


def test_a_job_whose_last_post_is_unconfirmed_is_not_settled(posts: Posts) -> None:
    settle = Mock()
    posts.api.fail(TIMED_OUT, stored=True)

    with pytest.raises(UnknownError):
        posts.post(posts.kept(), settle=settle)

    settle.assert_not_called()


def test_liquid_reaches_chatwoot_escaped(posts: Posts) -> None:
    posts.post(posts.kept(LIQUID))
    assert posts.api.public == [escape(LIQUID)] != [LIQUID]


# -- signals -------------------------------------------------------------------


def test_signals_come_in_a_pair_around_a_post(posts: Posts) -> None:
    order: list[str] = []

    def count(sender: Flask, **values: t.Any) -> None:
        order.append(f"{len(posts.api.attempts)} requests")

    with (
        signals_of(posts) as (begun, ended),
        before_post.connected_to(count, sender=posts.poster.app),
        after_post.connected_to(count, sender=posts.poster.app),
    ):
        (message_id,) = posts.post(posts.kept())

    expected = Post(1, 42, TEXT, private=False, mode=Mode.BOT, attempt=2)
    assert order == ["0 requests", "1 requests"]
    assert begun == [{"post": expected}]
    (after,) = ended
    assert 0 <= after.pop("seconds") < 10
    assert after == {"post": expected, "message_id": message_id, "error": None}


@pytest.mark.parametrize("failure", FAILURES)
def test_signals_come_in_a_pair_around_a_failure(posts: Posts, failure: str) -> None:
    how, kind = FAILURES[failure]
    posts.api.fail(how)

    with signals_of(posts) as (begun, ended), pytest.raises(kind) as raised:
        posts.post(posts.kept())

    (after,) = ended
    assert begun == [{"post": after["post"]}]
    assert (after["error"], after["message_id"]) == (raised.value, None)


def test_every_attempt_has_its_pair(posts: Posts) -> None:
    job = posts.kept("One.", "Two.")
    posts.api.fail(429, times=2)

    with signals_of(posts) as (begun, ended):
        job = posts.attempt(job)
        job = posts.attempt(job)
        posts.post(job)

    made = [each["post"] for each in begun]
    assert made == [each["post"] for each in ended]
    attempts = [(post.content, post.attempt) for post in made]
    assert attempts == [("One.", 2), ("One.", 3), ("One.", 4), ("Two.", 4)]


def test_receivers_that_raise_change_nothing(
    posts: Posts, caplog: pytest.LogCaptureFixture
) -> None:
    app, broken = posts.poster.app, Mock(side_effect=RuntimeError(TEXT))

    with before_post.connected_to(broken, app), after_post.connected_to(broken, app):
        posts.post(posts.kept())

    assert (posts.api.public, broken.call_count) == ([TEXT], 2)
    assert TEXT not in caplog.text


# -- intent --------------------------------------------------------------------


def test_intent_is_on_disk_before_the_request(posts: Posts) -> None:
    seen: list[list[float | None]] = []
    create = posts.poster.client.create_message

    def spy(*args: t.Any, **values: t.Any) -> int:
        drafts = posts.store.outbox.under_way(42, message_id=20001)
        seen.append([draft.sent_at for draft in drafts])
        return create(*args, **values)

    posts.poster.client.create_message = spy  # type: ignore[method-assign]
    posts.post(posts.kept())

    assert seen == [[posts.clock.now]]


def test_without_intent_on_disk_nothing_is_sent(posts: Posts) -> None:
    job = posts.kept()
    posts.again(job)

    with signals_of(posts) as (_, ended), pytest.raises(LeaseLostError):
        posts.post(job)

    assert posts.api.attempts == []
    assert [each["message_id"] for each in ended] == [None]


@pytest.mark.parametrize("lists", [200, 401], ids=["user", "bot"])
def test_a_post_whose_id_cannot_be_stored_is_an_error_and_not_made_again(
    posts: Posts, monkeypatch: pytest.MonkeyPatch, lists: int
) -> None:
    job = posts.kept()
    posts.api.lists = lists
    full = Mock(side_effect=DatabaseError("The disk is full."))

    with monkeypatch.context() as patch, signals_of(posts) as (_, ended):
        patch.setattr(Outbox, "posted", full)

        with pytest.raises(DatabaseError, match="full"):
            posts.post(job)

    assert [each["message_id"] for each in ended] == [20001]
    posts.clock.advance(SETTLE_TIME)
    posts.post(posts.again(job))
    assert posts.api.public == [TEXT]


def test_an_id_that_could_not_be_stored_is_stored_as_soon_as_it_can_be(
    posts: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Mock(side_effect=DatabaseError("The disk is full."))

    with monkeypatch.context() as patch, contextlib.suppress(DatabaseError):
        patch.setattr(Outbox, "posted", full)
        posts.post(posts.kept())

    wait_until(lambda: posts.store.outbox.is_ours(20001))


@pytest.mark.parametrize(("left", "posted"), [(12.0, [TEXT]), (11.9, [])])
def test_a_post_begins_only_if_the_lease_outlasts_it(
    posts: Posts, left: float, posted: list[str]
) -> None:
    """A request may take 10 s, and 2 s may pass before it begins."""
    job = posts.kept()
    posts.clock.advance(LEASE - left)

    with contextlib.nullcontext() if posted else pytest.raises(LeaseLostError):
        posts.post(job)

    assert posts.api.public == posted


def test_a_process_that_stands_still_after_the_look_at_its_lease_posts_nothing(
    posts: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Clock()
    sending = Outbox.sending

    def stand_still(*args: t.Any, **values: t.Any) -> None:
        sending(*args, **values)
        now.advance(MARGIN + 0.1)

    monkeypatch.setattr(Outbox, "sending", stand_still)
    monkeypatch.setattr(
        "flask_chatwoot.turns.posting.time",
        SimpleNamespace(monotonic=now, perf_counter=now),
    )

    with pytest.raises(LeaseLostError):
        posts.post(posts.kept())

    assert posts.api.attempts == []


@pytest.mark.parametrize("failure", NOTHING_DONE)
def test_what_did_nothing_withdraws_the_intent_and_is_repeated_without_a_look(
    posts: Posts, failure: str
) -> None:
    job = posts.fail(FAILURES[failure][0])
    assert job.drafts[0].sent_at is None

    posts.post(job)
    assert (posts.api.looks, posts.api.public) == (0, [TEXT])


# -- evidence ------------------------------------------------------------------


@pytest.mark.parametrize("failure", UNANSWERED)
@pytest.mark.parametrize("private", [False, True], ids=["public", "note"])
@pytest.mark.parametrize("keeps_markers", [True, False], ids=["4.9", "4.8"])
def test_a_post_that_arrived_is_found(
    posts: Posts, failure: str, private: bool, keeps_markers: bool
) -> None:
    posts.api.keeps_markers = keeps_markers
    job = posts.fail(FAILURES[failure][0], stored=True, private=private)
    posts.post(job)

    assert len(posts.api.attempts) == 1
    (draft,) = posts.again(job).drafts
    assert draft.message_id == posts.api.messages[0]["id"]


@pytest.mark.parametrize("failure", UNANSWERED)
def test_a_post_that_did_not_arrive_is_made_later(posts: Posts, failure: str) -> None:
    job = posts.fail(FAILURES[failure][0])
    assert job.drafts[0].sent_at == posts.clock.now
    posts.clock.advance(SETTLE_TIME - 7)

    with pytest.raises(TooSoonError) as raised:
        posts.post(job)

    assert raised.value.seconds == pytest.approx(7)
    assert len(posts.api.attempts) == 1

    posts.clock.advance(7)
    posts.post(posts.again(job))
    assert (posts.api.public, len(posts.api.attempts)) == ([TEXT], 2)


@pytest.mark.parametrize("stored", [LIQUID, escape(LIQUID), f"\n{LIQUID}\n"])
def test_an_old_servers_post_is_found_raw_or_escaped(posts: Posts, stored: str) -> None:
    posts.api.keeps_markers = False
    job = posts.fail(TIMED_OUT, LIQUID)
    posts.api.add(stored)
    posts.post(job)

    assert len(posts.api.attempts) == 1


MENTION = "[x](mention://user/7/x)"


@pytest.mark.parametrize("private", [False, True], ids=["public", "note"])
def test_only_a_note_is_changed_so_that_it_mentions_nobody_and_is_found_again(
    posts: Posts, private: bool
) -> None:
    posts.api.keeps_markers = False

    with signals_of(posts) as (begun, _):
        job = posts.fail(TIMED_OUT, MENTION, stored=True, private=private)

    posts.post(job)

    [message] = posts.api.messages
    assert (message["content"] == MENTION) is not private
    assert begun[0]["post"].content == message["content"]
    assert len(posts.api.attempts) == 1


@pytest.mark.parametrize(
    "other",
    [
        *({"content": "Something else."}, {"private": True}, {"conversation_id": 43}),
        *({"type": each} for each in MessageType if each != MessageType.OUTGOING),
        *({"attributes": {MARKER: "of another draft"}}, {"id": 9001}),
    ],
    ids=str,
)
def test_another_message_is_no_evidence(posts: Posts, other: dict[str, t.Any]) -> None:
    job = posts.fail(TIMED_OUT)
    posts.api.add(**{"content": TEXT, **other})

    with pytest.raises(TooSoonError):
        posts.post(job)


US, OTHER = Agent(), Agent(id=2)
DELETED: t.Final = {"content": "This message was deleted", "attributes": GONE}


@pytest.mark.parametrize(
    ("keeps_markers", "message", "is_evidence"),
    [
        (True, {"sender": OTHER}, False),  # an operator wrote the same
        (True, {"sender": US}, True),  # had it sent again: its marker is gone
        (True, {"sender": US, "content": "On its way"}, False),
        (True, {"sender": US, **DELETED}, True),
        (True, {"sender": OTHER, **DELETED}, False),
        (True, {"sender": US, **DELETED, "private": True}, False),
        (False, {"sender": OTHER}, True),
        (False, {"sender": US, **DELETED}, True),
    ],
)
def test_a_message_without_a_marker_is_evidence_if_the_post_may_have_lost_it(
    posts: Posts, keeps_markers: bool, message: dict[str, t.Any], is_evidence: bool
) -> None:
    posts.api.keeps_markers = keeps_markers
    job = posts.fail(TIMED_OUT)
    posts.api.add(**{"content": TEXT, **message})

    with contextlib.nullcontext() if is_evidence else pytest.raises(TooSoonError):
        posts.post(job)

    assert len(posts.api.attempts) == 1


@pytest.mark.parametrize("keeps_markers", [True, False])
def test_a_blank_text_is_no_evidence(posts: Posts, keeps_markers: bool) -> None:
    """As that of a reply which is a file only."""
    posts.api.keeps_markers = keeps_markers
    job = posts.fail(TIMED_OUT, " ")
    posts.api.add("", sender=US)

    with pytest.raises(TooSoonError):
        posts.post(job)


def test_once_a_marker_was_seen_no_version_is_asked_for(posts: Posts) -> None:
    posts.api.version = None
    posts.store.outbox.note_markers()
    job = posts.fail(TIMED_OUT)
    posts.api.add(TEXT, sender=OTHER)

    with pytest.raises(TooSoonError):
        posts.post(job)


def test_one_message_is_not_evidence_for_two_drafts(posts: Posts) -> None:
    posts.api.keeps_markers = False
    job = posts.kept("Yes.", "Yes.")
    posts.poster.ensure_posted(job, job.drafts[0], mode=Mode.BOT)
    posts.api.fail(TIMED_OUT)
    job = posts.settled(posts.attempt(posts.again(job)))
    posts.post(job)
    assert posts.api.public == ["Yes.", "Yes."]


def test_an_echo_that_comes_after_the_job_was_claimed_is_evidence(posts: Posts) -> None:
    """As when a process starts: the echo is the request that starts its workers."""
    job = posts.fail(TIMED_OUT, stored=True)
    posts.clock.advance(SETTLE_TIME)
    posts.store.outbox.posted(job.drafts[0], posts.api.messages[0]["id"])
    posts.post(job)

    assert posts.api.public == [TEXT]


@pytest.mark.parametrize(
    ("others", "stored", "looks", "attempts"),
    [(250, True, 3, 1), (1500, False, 10, 2)],
    ids=["it is found behind 250 messages", "the search ends after 1000"],
)
def test_evidence_is_searched_in_many_messages(
    posts: Posts, others: int, stored: bool, looks: int, attempts: int
) -> None:
    job = posts.kept()

    for number in range(others):
        posts.api.add(f"Message {number}.")

    posts.api.fail(TIMED_OUT, stored=stored)
    job = posts.attempt(job)
    posts.post(job if stored else posts.settled(job))

    assert (posts.api.looks, len(posts.api.attempts)) == (looks, attempts)


def test_a_bots_token_has_only_the_echo_for_evidence(posts: Posts) -> None:
    posts.api.lists = 401
    posts.api.fail(TIMED_OUT, times=2)
    job = posts.attempt(posts.kept())

    with pytest.raises(TooSoonError):
        posts.post(job)

    posts.clock.advance(SETTLE_TIME)
    job = posts.attempt(posts.again(job))
    posts.store.outbox.posted(job.drafts[0], 20001)
    posts.post(posts.again(job))
    assert len(posts.api.attempts) == 2


@pytest.mark.parametrize("status", [404, 429, 500])
def test_nothing_is_sent_if_messages_cannot_be_listed(
    posts: Posts, status: int
) -> None:
    job = posts.fail(TIMED_OUT)
    posts.clock.advance(SETTLE_TIME)
    posts.api.lists = status

    with pytest.raises(APIError) as raised:
        posts.post(job)

    assert raised.value.status == status
    assert len(posts.api.attempts) == 1


@pytest.mark.parametrize(
    ("message", "ours"),
    [
        ({"message_type": "outgoing"}, True),
        ({"message_type": 1}, True),
        ({"message_type": 1, "content_attributes": {MARKER: "m"}}, True),
        ({"message_type": 1, "content_attributes": {MARKER: "n"}}, False),
        ({"message_type": 1, "private": True}, False),
        ({"message_type": 1, "content": 7}, False),
        ({"message_type": 1, "attachments": [{"file_type": "file"}]}, False),
        ({"message_type": ["outgoing"]}, False),
        ({"message_type": "1"}, False),
        ({"message_type": 1, "content_attributes": "text", "content": [TEXT]}, False),
        ({}, False),
    ],
    ids=repr,
)
def test_a_post_is_known_in_a_delivery_and_in_a_list(
    message: dict[str, t.Any], ours: bool
) -> None:
    draft = Draft(id=1, marker="m", private=False, content=TEXT)
    found = message_from({"id": 1, "content": TEXT, "private": False, **message})

    assert found is not None
    assert is_post_of(draft, found, by_text=True) is ours
    assert is_post_of(draft, found, by_text=False) is (found.marker == "m")
