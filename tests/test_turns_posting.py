from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask
from support.apps import recorded
from support.chatwoot import BASE_URL, TOKEN, ChatwootStub, refused
from support.queue import open_store
from support.waiting import Clock
from urllib3 import exceptions as urllib3_errors

from flask_chatwoot import (
    Mode,
    Post,
    after_post,
    before_post,
)
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import (
    APIError,
    DatabaseError,
    LeaseLostError,
    PermanentError,
    TransientError,
    UnknownError,
)
from flask_chatwoot.payloads.conversation import (
    ChatwootMessage,
    is_post_of,
    message_from,
)
from flask_chatwoot.payloads.fields import MARKER
from flask_chatwoot.payloads.liquid import escape
from flask_chatwoot.queue.jobs import Job
from flask_chatwoot.queue.outbox import Draft, DraftPart, Outbox
from flask_chatwoot.queue.store import Store
from flask_chatwoot.simulator.payloads import MessageType
from flask_chatwoot.turns.posting import Poster, TooSoonError

SETTLE_TIME = 20.0
TEXT = "On its way."
LIQUID = "Use {{contact.email}} here."


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> t.Iterator[Store]:
    store = open_store(tmp_path / "chatwoot.sqlite3", clock)
    yield store
    store.database.close()


@pytest.fixture
def poster(api: ChatwootStub, store: Store, clock: Clock) -> Poster:
    return poster_of(store, clock)


def poster_of(
    store: Store, clock: Clock, reader: ChatwootClient | None = None
) -> Poster:
    client = ChatwootClient(BASE_URL, 1, TOKEN)

    return Poster(
        app=Flask("host"),
        client=client,
        reader=reader or client,
        outbox=store.outbox,
        clock=clock,
        settle_time=SETTLE_TIME,
    )


def kept(
    store: Store,
    *texts: str,
    private: bool = False,
    message_id: int = 9001,
    conversation_id: int = 42,
) -> Job:
    """A claimed job with its reply."""
    store.queue.put(
        f"1:message_created:{message_id}",
        conversation_id=conversation_id,
        message_id=message_id,
        payload=b"{}",
    )
    job = store.queue.claim()
    assert job is not None
    store.outbox.keep(job, [DraftPart(text, private) for text in texts or (TEXT,)])

    return again(store, job)


def again(store: Store, job: Job) -> Job:
    """The job as the next attempt has it."""
    store.queue.postpone(job, -1e9)
    claimed = store.queue.claim()
    assert claimed is not None
    assert claimed.id == job.id

    return claimed


def post(poster: Poster, job: Job) -> None:
    """Bring a job's drafts into Chatwoot, as far as they are not there."""
    for draft in job.drafts:
        poster.ensure_posted(job, draft, mode=Mode.BOT)


def attempt(poster: Poster, store: Store, job: Job) -> Job:
    """Fail to post; the job as the next attempt has it."""
    with pytest.raises(APIError):
        post(poster, job)

    return again(store, job)


def timed_out() -> requests.ReadTimeout:
    return requests.ReadTimeout()


def cut() -> requests.ConnectionError:
    return requests.ConnectionError(urllib3_errors.ProtocolError("Connection aborted."))


# -- once ----------------------------------------------------------------------


def test_a_draft_is_posted_with_its_marker(
    poster: Poster, store: Store, api: ChatwootStub
) -> None:
    job = kept(store)
    post(poster, job)

    assert api.attempts == [
        {
            "content": TEXT,
            "private": False,
            "content_attributes": {MARKER: job.drafts[0].marker},
        }
    ]
    assert api.looks == 0
    assert api.tokens == {TOKEN}
    assert again(store, job).drafts[0].message_id == api.messages[0]["id"]


def test_a_note_is_never_posted_in_public(
    poster: Poster, store: Store, api: ChatwootStub
) -> None:
    job = kept(store, private=True)
    api.fail(500)
    api.fail(timed_out())
    api.fail(refused())
    clock = t.cast(Clock, store.database.clock)

    for _ in range(3):
        job = attempt(poster, store, job)
        clock.advance(SETTLE_TIME)

    post(poster, job)
    assert [given["private"] for given in api.attempts] == [True] * 4
    assert (api.notes, api.public) == ([TEXT], [])


def test_a_post_that_chatwoot_has_is_not_made_again(
    poster: Poster, store: Store, api: ChatwootStub
) -> None:
    job = kept(store, "One.", "Two.")
    api.fail(422)
    post_first = job.drafts[0]
    store.outbox.posted(post_first, 20001)
    job = attempt(poster, store, again(store, job))
    post(poster, job)

    assert api.public == ["Two."]


def test_a_post_tells_the_messages_id(
    poster: Poster, store: Store, api: ChatwootStub
) -> None:
    job = kept(store)

    assert poster.ensure_posted(job, job.drafts[0], mode=Mode.BOT) == 20001
    assert [created["id"] for created in api.messages] == [20001]


def test_looking_for_a_post_sends_nothing_and_tells_nobody(
    poster: Poster, store: Store, api: ChatwootStub, clock: Clock
) -> None:
    job = kept(store)

    with recorded(before_post, poster.app) as begun:
        assert not poster.find(job, job.drafts[0])
        assert api.looks == 0
        store.outbox.sending(job, job.drafts[0])
        clock.advance(SETTLE_TIME)
        assert not poster.find(job, again(store, job).drafts[0])

    assert (api.looks, api.attempts, begun) == (1, [], [])


def test_the_readers_token_looks_and_the_other_one_posts(
    api: ChatwootStub, store: Store, clock: Clock
) -> None:
    reader = ChatwootClient(BASE_URL, 1, "token-of-a-reader")
    poster = poster_of(store, clock, reader)
    api.fail(timed_out(), stored=True)
    job = attempt(poster, store, kept(store))

    assert poster.find(job, job.drafts[0])
    assert api.tokens == {TOKEN}
    assert api.readers == {"token-of-a-reader"}


@pytest.mark.parametrize("settles", [False, True])
def test_a_draft_is_looked_for_and_kept_without_another_call(
    poster: Poster, store: Store, api: ChatwootStub, settles: bool
) -> None:
    job = kept(store)
    api.fail(timed_out(), stored=True)
    settled: list[int] = []
    settle = settled.append if settles else None

    with pytest.raises(UnknownError):
        poster.ensure_posted(job, job.drafts[0], mode=Mode.BOT, settle=settle)

    assert settled == []
    (draft,) = again(store, job).drafts
    made = poster.ensure_posted(job, draft, mode=Mode.BOT, settle=settle)
    assert [made] == [each["id"] for each in api.messages]
    assert settled == ([made] if settles else [])
    assert store.outbox.is_ours(made)


def test_liquid_reaches_chatwoot_escaped(
    poster: Poster, store: Store, api: ChatwootStub
) -> None:
    post(poster, kept(store, LIQUID))

    assert api.public == [escape(LIQUID)] != [LIQUID]


# -- signals -------------------------------------------------------------------


FAILURES: dict[str, tuple[int | Exception, type[APIError]]] = {
    "refused connection": (refused(), TransientError),
    "connection time-out": (requests.ConnectTimeout(), TransientError),
    "time-out": (timed_out(), UnknownError),
    "cut connection": (cut(), UnknownError),
    "401": (401, PermanentError),
    "404": (404, PermanentError),
    "422": (422, PermanentError),
    "429": (429, TransientError),
    "500": (500, TransientError),
    "502": (502, TransientError),
    "redirect": (302, PermanentError),
}


def test_signals_come_in_a_pair_around_a_post(
    poster: Poster, store: Store, api: ChatwootStub
) -> None:
    order: list[str] = []
    job = kept(store)

    def before(_: Flask, **values: t.Any) -> None:
        order.append(f"before, {len(api.attempts)} requests")

    def after(_: Flask, **values: t.Any) -> None:
        order.append(f"after, {len(api.attempts)} requests")

    with (
        recorded(before_post, poster.app) as begun,
        recorded(after_post, poster.app) as ended,
        before_post.connected_to(before, sender=poster.app),
        after_post.connected_to(after, sender=poster.app),
    ):
        post(poster, job)

    expected = Post(
        account_id=1,
        conversation_id=42,
        content=TEXT,
        private=False,
        mode=Mode.BOT,
        attempt=2,
    )
    assert order == ["before, 0 requests", "after, 1 requests"]
    assert begun == [{"post": expected}]
    (told,) = ended
    assert 0 <= told.pop("seconds") < 10
    assert told == {
        "post": expected,
        "message_id": api.messages[0]["id"],
        "error": None,
    }


@pytest.mark.parametrize("failure", FAILURES)
def test_signals_come_in_a_pair_around_a_failure(
    poster: Poster, store: Store, api: ChatwootStub, failure: str
) -> None:
    how, kind = FAILURES[failure]
    job = kept(store)
    api.fail(how)

    with (
        recorded(before_post, poster.app) as begun,
        recorded(after_post, poster.app) as ended,
        pytest.raises(kind) as raised,
    ):
        post(poster, job)

    (told,) = ended
    assert begun == [{"post": told["post"]}]
    assert told["error"] is raised.value
    assert told["message_id"] is None


def test_every_attempt_has_its_pair(
    poster: Poster, store: Store, api: ChatwootStub
) -> None:
    job = kept(store, "One.", "Two.")
    api.fail(429, times=2)

    with (
        recorded(before_post, poster.app) as begun,
        recorded(after_post, poster.app) as ended,
    ):
        job = attempt(poster, store, job)
        job = attempt(poster, store, job)
        post(poster, job)

    assert [told["post"] for told in begun] == [told["post"] for told in ended]
    assert [(told["post"].content, told["post"].attempt) for told in begun] == [
        ("One.", 2),
        ("One.", 3),
        ("One.", 4),
        ("Two.", 4),
    ]


def test_no_signal_comes_without_an_attempt(
    poster: Poster, store: Store, api: ChatwootStub
) -> None:
    job = kept(store)
    api.fail(timed_out(), stored=True)
    job = attempt(poster, store, job)

    with (
        recorded(before_post, poster.app) as begun,
        recorded(after_post, poster.app) as ended,
    ):
        post(poster, job)

    assert (begun, ended) == ([], [])


def test_receivers_that_raise_change_nothing(
    poster: Poster, store: Store, api: ChatwootStub, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_: Flask, *, post: Post, **values: t.Any) -> None:
        raise RuntimeError(post.content)

    job = kept(store)

    with (
        before_post.connected_to(broken, sender=poster.app),
        after_post.connected_to(broken, sender=poster.app),
        recorded(after_post, poster.app) as ended,
    ):
        post(poster, job)

    assert api.public == [TEXT]
    assert len(ended) == 1
    failed = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert [text.split(" failed")[0] for text in failed] == [
        "a receiver of before-post",
        "a receiver of after-post",
    ]
    assert TEXT not in caplog.text


def test_another_apps_receivers_hear_nothing(poster: Poster, store: Store) -> None:
    with recorded(before_post, Flask("other")) as begun:
        post(poster, kept(store))

    assert begun == []


# -- intent --------------------------------------------------------------------


def test_intent_is_on_disk_before_the_request(
    poster: Poster, store: Store, api: ChatwootStub, clock: Clock
) -> None:
    seen: list[list[float | None]] = []
    create = poster.client.create_message

    def spy(*args: t.Any, **values: t.Any) -> int:
        drafts = store.outbox.under_way(42, message_id=20001)
        seen.append([draft.sent_at for draft in drafts])
        return create(*args, **values)

    poster.client.create_message = spy  # type: ignore[method-assign]
    post(poster, kept(store))

    assert seen == [[clock.now]]


def test_without_intent_on_disk_nothing_is_sent(
    poster: Poster, store: Store, api: ChatwootStub, clock: Clock
) -> None:
    job = kept(store)
    again(store, job)

    with recorded(after_post, poster.app) as ended, pytest.raises(LeaseLostError):
        post(poster, job)

    assert api.attempts == []
    assert [told["message_id"] for told in ended] == [None]


def test_a_post_that_cannot_be_noted_is_an_error_and_not_made_again(
    poster: Poster, store: Store, api: ChatwootStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = kept(store)

    def broken(*_: t.Any, **__: t.Any) -> None:
        raise DatabaseError("The disk is full.")

    with monkeypatch.context() as patch:
        patch.setattr(Outbox, "posted", broken)

        with (
            recorded(after_post, poster.app) as ended,
            pytest.raises(DatabaseError, match="full"),
        ):
            post(poster, job)

    assert [told["message_id"] for told in ended] == [20001]
    post(poster, again(store, job))
    assert api.public == [TEXT]


NOTHING_DONE = [
    "refused connection",
    "connection time-out",
    "401",
    "404",
    "422",
    "429",
    "redirect",
]


@pytest.mark.parametrize("failure", FAILURES)
def test_intent_is_withdrawn_only_if_nothing_was_done(
    poster: Poster, store: Store, api: ChatwootStub, failure: str
) -> None:
    api.fail(FAILURES[failure][0])
    job = attempt(poster, store, kept(store))

    assert (job.drafts[0].sent_at is None) == (failure in NOTHING_DONE)


@pytest.mark.parametrize("failure", NOTHING_DONE)
def test_what_did_nothing_is_repeated_without_a_look(
    poster: Poster, store: Store, api: ChatwootStub, failure: str
) -> None:
    api.fail(FAILURES[failure][0])
    post(poster, attempt(poster, store, kept(store)))

    assert api.looks == 0
    assert api.public == [TEXT]


# -- evidence ------------------------------------------------------------------

UNANSWERED = [failure for failure in FAILURES if failure not in NOTHING_DONE]


@pytest.mark.parametrize("failure", UNANSWERED)
@pytest.mark.parametrize("private", [False, True], ids=["public", "note"])
@pytest.mark.parametrize("keeps_markers", [True, False], ids=["4.9", "4.8"])
def test_a_post_that_arrived_is_found(
    poster: Poster,
    store: Store,
    api: ChatwootStub,
    failure: str,
    private: bool,
    keeps_markers: bool,
) -> None:
    api.keeps_markers = keeps_markers
    api.fail(FAILURES[failure][0], stored=True)
    job = attempt(poster, store, kept(store, private=private))
    post(poster, job)

    assert len(api.attempts) == 1
    (draft,) = again(store, job).drafts
    assert draft.message_id == api.messages[0]["id"]


@pytest.mark.parametrize("failure", UNANSWERED)
def test_a_post_that_did_not_arrive_is_made_again_in_time(
    poster: Poster, store: Store, api: ChatwootStub, clock: Clock, failure: str
) -> None:
    api.fail(FAILURES[failure][0])
    job = attempt(poster, store, kept(store))
    clock.advance(SETTLE_TIME - 7)

    with pytest.raises(TooSoonError) as raised:
        post(poster, job)

    assert raised.value.seconds == pytest.approx(7)
    assert len(api.attempts) == 1

    clock.advance(7)
    post(poster, again(store, job))
    assert api.public == [TEXT]
    assert len(api.attempts) == 2


@pytest.mark.parametrize("stored", [LIQUID, escape(LIQUID), f"\n{LIQUID}\n"])
def test_an_old_servers_post_is_found_raw_or_escaped(
    poster: Poster, store: Store, api: ChatwootStub, stored: str
) -> None:
    api.fail(timed_out())
    job = attempt(poster, store, kept(store, LIQUID))
    api.add(stored)
    post(poster, job)

    assert len(api.attempts) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"content": "Something else."},
        {"content": TEXT, "private": True},
        {"content": TEXT, "type": MessageType.INCOMING},
        {"content": TEXT, "type": MessageType.ACTIVITY},
        {"content": TEXT, "type": MessageType.TEMPLATE},
        {"content": TEXT, "conversation_id": 43},
        {"content": TEXT, "attributes": {MARKER: "of another draft"}},
        {"content": TEXT, "id": 8999},
        {"content": TEXT, "id": 9001},
    ],
    ids=[
        "other text",
        "note",
        "incoming",
        "activity",
        "template",
        "other conversation",
        "other marker",
        "older",
        "the question's id",
    ],
)
def test_what_is_not_the_post_is_no_evidence(
    poster: Poster, store: Store, api: ChatwootStub, other: dict[str, t.Any]
) -> None:
    api.fail(timed_out())
    job = attempt(poster, store, kept(store))
    api.add(**other)

    with pytest.raises(TooSoonError):
        post(poster, job)


def test_one_message_is_not_evidence_for_two_drafts(
    poster: Poster, store: Store, api: ChatwootStub, clock: Clock
) -> None:
    api.keeps_markers = False
    job = kept(store, "Yes.", "Yes.")
    poster.ensure_posted(job, job.drafts[0], mode=Mode.BOT)
    api.fail(timed_out())

    with pytest.raises(UnknownError):
        poster.ensure_posted(job, job.drafts[1], mode=Mode.BOT)

    clock.advance(SETTLE_TIME)
    post(poster, again(store, job))
    assert api.public == ["Yes.", "Yes."]


def test_an_echo_that_comes_after_the_job_was_claimed_is_evidence(
    poster: Poster, store: Store, api: ChatwootStub, clock: Clock
) -> None:
    """As when a process starts: the echo is the request that starts its workers."""
    api.fail(timed_out(), stored=True)
    job = attempt(poster, store, kept(store))
    clock.advance(SETTLE_TIME)
    store.outbox.posted(job.drafts[0], api.messages[0]["id"])
    post(poster, job)

    assert api.public == [TEXT]


def test_evidence_is_found_behind_many_messages(
    poster: Poster, store: Store, api: ChatwootStub
) -> None:
    job = kept(store)

    for number in range(250):
        api.add(f"Message {number}.")

    api.fail(timed_out(), stored=True)
    post(poster, attempt(poster, store, job))

    assert api.looks == 3
    assert len(api.attempts) == 1


def test_the_search_for_evidence_ends(
    poster: Poster, store: Store, api: ChatwootStub, clock: Clock
) -> None:
    job = kept(store)

    for number in range(1500):
        api.add(f"Message {number}.")

    api.fail(timed_out())
    job = attempt(poster, store, job)
    clock.advance(SETTLE_TIME)
    post(poster, job)

    assert api.looks == 10
    assert len(api.attempts) == 2


def test_a_bots_token_has_only_the_echo_for_evidence(
    poster: Poster, store: Store, api: ChatwootStub, clock: Clock
) -> None:
    api.lists = 401
    api.fail(timed_out(), times=2)
    job = attempt(poster, store, kept(store))

    with pytest.raises(TooSoonError):
        post(poster, job)

    clock.advance(SETTLE_TIME)
    job = attempt(poster, store, again(store, job))
    assert len(api.attempts) == 2

    store.outbox.posted(job.drafts[0], 20001)
    post(poster, again(store, job))
    assert len(api.attempts) == 2


@pytest.mark.parametrize("status", [404, 429, 500])
def test_nothing_is_sent_if_nobody_could_look(
    poster: Poster, store: Store, api: ChatwootStub, clock: Clock, status: int
) -> None:
    api.fail(timed_out())
    job = attempt(poster, store, kept(store))
    clock.advance(SETTLE_TIME)
    api.lists = status

    with pytest.raises(APIError) as raised:
        post(poster, job)

    assert raised.value.status == status
    assert len(api.attempts) == 1


def read(message: dict[str, t.Any]) -> ChatwootMessage:
    found = message_from({"id": 1, **message})
    assert found is not None

    return found


@pytest.mark.parametrize(
    "message",
    [
        {"content": None},
        {"content": 7, "message_type": 1},
        {"content": TEXT},
        {"content": TEXT, "message_type": ["outgoing"]},
        {"content": TEXT, "message_type": "1"},
        {"content_attributes": "text", "content": [TEXT], "message_type": 1},
    ],
)
def test_a_message_of_a_strange_shape_is_no_post(message: dict[str, t.Any]) -> None:
    for private in (False, True):
        draft = Draft(id=1, marker="m", private=private, content=TEXT)
        assert not is_post_of(draft, read(message))


@pytest.mark.parametrize("kind", ["outgoing", 1])
def test_a_post_is_known_in_a_delivery_and_in_a_list(kind: str | int) -> None:
    draft = Draft(id=1, marker="m", private=False, content=TEXT)
    message = {"content": TEXT, "message_type": kind, "private": False}

    assert is_post_of(draft, read(message))
    assert is_post_of(draft, read({**message, "content_attributes": {MARKER: "m"}}))
    assert not is_post_of(draft, read({**message, "content_attributes": {MARKER: "n"}}))
