"""Turns of an app whose backend is inline, from the delivery to the post."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import sys
import types
import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask, current_app
from support.apps import (
    AppFactory,
    Scene,
    database_of,
    ending_of,
    job_of,
    jobs_of,
    recorded,
    runtime_of,
    store_of,
    work,
)
from support.chatwoot import BASE_URL, TOKEN, ChatwootStub, refused
from support.deliveries import SECRET, WEBHOOK, as_bytes, deliver, echo, message, signed
from support.waiting import Clock

from flask_chatwoot import (
    Attachment,
    Chatwoot,
    Contact,
    Handoff,
    Mode,
    Post,
    Reason,
    Reply,
    Turn,
    after_post,
    before_post,
    turn_finished,
)
from flask_chatwoot.errors import ConfigError
from flask_chatwoot.payloads.channels import LIMIT
from flask_chatwoot.payloads.events import parse
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.runtime import current_runtime
from flask_chatwoot.simulator.payloads import NEWEST, MessageType, Version

ANSWER = "On its way."
LATER = 720.0
"""Seconds; no pause is longer. Five of them make a message no "too old" one."""

HANDED_OFF = ("custom_attributes", {"custom_attributes": {"support_mode": "human"}})
"""The change of a conversation in bot mode that is handed off."""

Signals = list[dict[str, t.Any]]


@pytest.fixture
def still(app: Flask, clock: Clock) -> Clock:
    """The database's clock, standing still."""
    database_of(app).clock = clock

    return clock


@pytest.fixture
def ended(app: Flask) -> t.Iterator[Signals]:
    """Everything that ``turn_finished`` sends."""
    with recorded(turn_finished, app) as seen:
        yield seen


def try_again(scene: Scene, clock: Clock, times: int = 1) -> None:
    for _ in range(times):
        clock.advance(LATER)
        work(scene.app)


def endings(ended: Signals) -> list[tuple[str, str | None]]:
    return [(each["outcome"], each["reason"]) for each in ended]


def could_not(answer: str) -> str:
    """The note about a turn that failed in bot mode."""
    return f"**The bot could not answer.** {answer} The conversation is handed off."


def answer_with(scene: Scene, reply: t.Any = ANSWER) -> list[str]:
    """Register a provider; every text it was asked."""
    asked: list[str] = []

    @scene.chatwoot.reply_provider
    def provide(text: str) -> t.Any:
        asked.append(text)

        if isinstance(reply, Exception):
            raise reply

        return reply

    return asked


def say_in_turn(scene: Scene, clock: Clock, *texts: str, pause: float = 0.1) -> None:
    for number, text in enumerate(texts):
        deliver(scene.client, message(text, id=9001 + number))
        clock.advance(pause)


def store_delivery(app: Flask) -> None:
    """Store a delivery as another process would."""
    payload = as_bytes(message())
    store_of(app).queue.put("k", conversation_id=42, message_id=9001, payload=payload)


# -- who reads the answer --------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "reply", "outcome"),
    [
        ("bot", ANSWER, "replied"),
        ("human", ANSWER, "noted"),
        (None, ANSWER, "noted"),
        ("something else", ANSWER, "noted"),
        ("bot", Reply(ANSWER, private=None), "replied"),
        ("bot", Reply(ANSWER, private=False), "replied"),
        ("bot", Reply(ANSWER, private=True), "noted"),
        ("human", Reply(ANSWER, private=None), "noted"),
        ("human", Reply(ANSWER, private=False), "noted"),
        ("human", Reply(ANSWER, private=True), "noted"),
    ],
)
def test_the_mode_decides_and_a_reply_can_only_be_made_private(
    scene: Scene, mode: str | None, reply: str | Reply, outcome: str
) -> None:
    asked = answer_with(scene, reply)
    deliver(scene.client, message("Where is my order?", mode=mode))

    posted = ([ANSWER], []) if outcome == "replied" else ([], [ANSWER])
    assert asked == ["Where is my order?"]
    assert (scene.api.public, scene.api.notes) == posted
    assert ending_of(scene.app) == (outcome, None)


def test_the_default_mode_applies_where_the_customer_chose_none(
    make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    app = make_app(chatwoot, default_mode="bot", human_values="Berater")
    chatwoot.reply_provider(lambda text: ANSWER)
    deliver(app.test_client(), message(id=9001, mode=None))
    deliver(app.test_client(), message(id=9002, mode="Berater"))

    assert (len(api.public), len(api.notes)) == (1, 1)


# -- what is posted --------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, "", " \n\t", Reply(""), Reply("\0")])
def test_an_empty_reply_declines_the_turn(
    scene: Scene, ended: Signals, nothing: t.Any
) -> None:
    answer_with(scene, nothing)
    deliver(scene.client, message())

    assert ending_of(scene.app) == ("declined", "no_answer")
    assert scene.api.attempts == []
    assert [each["reason"] for each in ended] == [Reason.NO_ANSWER]


@pytest.mark.parametrize(
    "wrong", [7, 1.5, True, b"bytes", ["text", 7], [["text"]], {}, object()]
)
@pytest.mark.parametrize("mode", ["bot", "human"])
def test_what_is_no_reply_is_dead_at_once_and_in_bot_mode_handed_off(
    scene: Scene, ended: Signals, mode: str, wrong: t.Any
) -> None:
    asked = answer_with(scene, wrong)
    deliver(scene.client, message(mode=mode))

    notes = [could_not("Its reply function returned something unusable.")]
    assert len(asked) == 1
    assert [sent["private"] for sent in scene.api.attempts] == [True] * (mode == "bot")
    assert scene.api.notes == notes * (mode == "bot")
    assert scene.api.changes == [HANDED_OFF] * (mode == "bot")
    assert ending_of(scene.app) == ("dead", "provider_invalid")
    assert endings(ended) == [("dead", "provider_invalid")]


def test_a_very_long_reply_becomes_several_posts_in_order(scene: Scene) -> None:
    words = [f"word{number:06d}" for number in range(90_000)]
    answer_with(scene, " ".join(words))
    deliver(scene.client, message())

    assert ending_of(scene.app) == ("replied", None)
    assert len(scene.api.public) == 7
    assert max(len(text) for text in scene.api.public) <= LIMIT
    assert " ".join(scene.api.public).split() == words


def test_characters_that_no_database_stores_are_replaced(scene: Scene) -> None:
    answer_with(scene, "On\0 its \ud800way.")
    deliver(scene.client, message())
    assert scene.api.public == ["On its ?way."]


def test_a_provider_may_be_async(scene: Scene) -> None:
    @scene.chatwoot.reply_provider
    async def provide(text: str, turn: Turn) -> str:
        return f"{current_app.name}: {turn.mode}"

    deliver(scene.client, message())

    assert scene.api.public == ["host: bot"]


def test_async_without_its_library_is_an_error_that_names_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @scene.chatwoot.reply_provider
    async def provide(text: str) -> str:
        return ANSWER

    monkeypatch.setitem(sys.modules, "asgiref.sync", t.cast(types.ModuleType, None))
    deliver(scene.client, message())

    assert ending_of(scene.app) == ("dead", "provider_invalid")
    assert "Install Flask with the 'async' extra" in caplog.text


def test_a_provider_runs_in_an_app_context_of_its_own(scene: Scene) -> None:
    seen: list[t.Any] = []
    torn_down: list[int] = []
    scene.app.teardown_appcontext(lambda _: torn_down.append(len(scene.api.attempts)))

    @scene.chatwoot.reply_provider
    def provide(text: str) -> str:
        seen.append((current_app.name, current_runtime() is runtime_of(scene.app)))
        return ANSWER

    work(scene.app)
    assert torn_down == []
    store_delivery(scene.app)
    work(scene.app)

    assert seen == [("host", True)]
    assert torn_down == [1]


# -- which provider --------------------------------------------------------------


def test_the_narrowest_provider_answers(scene: Scene) -> None:
    scene.chatwoot.reply_provider(lambda text: "any")
    scene.chatwoot.reply_provider(mode="bot")(lambda text: "bot")
    scene.chatwoot.reply_provider(inbox_id=7)(lambda text: "inbox 7")
    scene.chatwoot.reply_provider(mode="bot", inbox_id=7)(lambda text: "bot, inbox 7")
    places = [("human", 3), ("bot", 3), ("human", 7), ("bot", 7)]

    for id, (mode, inbox_id) in enumerate(places, 9001):
        deliver(scene.client, message(id=id, mode=mode, inbox_id=inbox_id))

    answers = [sent["content"] for sent in scene.api.attempts]
    assert answers == ["any", "bot", "inbox 7", "bot, inbox 7"]


def test_where_no_provider_fits_the_turn_is_declined(scene: Scene) -> None:
    scene.chatwoot.reply_provider(mode="human")(lambda text: ANSWER)
    deliver(scene.client, message(mode="bot"))

    assert ending_of(scene.app) == ("declined", "no_provider")
    assert scene.api.attempts == []


@pytest.mark.parametrize("mode", ["human", "bot"])
def test_without_any_provider_the_turn_is_dead_and_can_be_revived(
    scene: Scene, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    deliver(scene.client, message(mode=mode))
    notes = ["No reply function is registered. The conversation is handed off."]
    assert ending_of(scene.app) == ("dead", "no_provider")
    assert "@chatwoot.reply_provider" in caplog.text
    assert scene.api.public == []
    assert [note.partition("** ")[2] for note in scene.api.notes] == (
        notes if mode == "bot" else []
    )

    answer_with(scene)
    store_of(scene.app).inspection.retry([job_of(scene.app).id])
    work(scene.app)
    assert (scene.api.public, scene.api.notes[-1]) == ([], ANSWER)


def test_a_provider_gets_everything_about_the_turn(scene: Scene) -> None:
    turns: list[Turn] = []

    @scene.chatwoot.reply_provider
    def provide(text: str, turn: Turn) -> None:
        turns.append(turn)

    file = {"file_type": "image", "data_url": "https://x.test/1"}
    given = message(attachments=(file,))
    known = {"email": "ada@example.com", "custom_attributes": {"plan": "gold"}}
    given["conversation"]["meta"]["sender"].update(known)
    given["conversation"]["additional_attributes"] = {"browser_language": "de"}
    deliver(scene.client, given)

    (turn,) = turns
    assert (turn.text, turn.mode) == ("Where is my order?", Mode.BOT)
    assert (turn.account_id, turn.conversation_id) == (1, 42)
    assert (turn.inbox_id, turn.message_id) == (3, 9001)
    assert turn.contact == Contact(id=55, name="Ada Lovelace", **t.cast(t.Any, known))
    assert turn.custom_attributes == {"support_mode": "bot"}
    assert turn.language == "de"
    assert turn.attachments == (Attachment("image", "https://x.test/1", size=None),)
    assert turn.raw == given


# -- content as it was typed -----------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "rendered_by", "version", "repeated"),
    [
        pytest.param("Is 1 < 2?\n\nYes & no.", (4, 10, 0), "4.10.0", False, id="HTML"),
        pytest.param("<p>What is this?</p>", NEWEST, "4.16.2", True, id="repeated"),
        pytest.param("<p>And this?</p>", NEWEST, "4.16.2", False, id="new version"),
        pytest.param("<p>And this?</p>", NEWEST, None, False, id="unknown version"),
    ],
)
def test_a_provider_gets_the_text_as_it_was_typed(
    scene: Scene, typed: str, rendered_by: Version, version: str | None, repeated: bool
) -> None:
    asked = answer_with(scene)
    given = message(typed, version=rendered_by)
    assert given["content"].startswith("<p>")

    if not repeated:
        given["conversation"]["messages"] = []

    scene.api.version = version
    deliver(scene.client, given)

    assert asked == [typed]
    assert scene.api.public == [ANSWER]


# -- failures that are tried again -----------------------------------------------


def test_a_provider_that_raises_is_called_again_and_the_turn_then_given_up(
    scene: Scene, still: Clock, ended: Signals
) -> None:
    asked = answer_with(scene, RuntimeError("no model"))
    deliver(scene.client, message())
    assert job_of(scene.app).state == "retrying"
    try_again(scene, still, 10)

    assert len(asked) == 5
    assert ending_of(scene.app) == ("dead", "provider_failed")
    assert endings(ended) == [("dead", "provider_failed")]
    assert scene.api.public == []
    notes = [could_not("Its reply function failed, on every attempt.")]
    assert scene.api.notes == notes
    assert scene.api.changes == [HANDED_OFF]


class Cancelled(BaseException):
    """What asyncio raises in a cancelled task is no ``Exception`` either."""


def test_a_provider_that_raises_a_base_exception_is_called_again(
    scene: Scene, still: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[str] = []

    @scene.chatwoot.reply_provider
    def provide(text: str) -> str:
        if not raised:
            raised.append(text)
            raise Cancelled(text)

        return ANSWER

    deliver(scene.client, message("a secret"))
    try_again(scene, still)

    assert scene.api.public == [ANSWER]
    assert "Cancelled" in caplog.text
    assert "a secret" not in caplog.text


def test_a_turn_that_waits_for_another_attempt_keeps_its_place(
    scene: Scene, still: Clock
) -> None:
    broken = [True]

    @scene.chatwoot.reply_provider
    def provide(text: str) -> str:
        if broken[0]:
            raise RuntimeError
        return text

    say_in_turn(scene, still, "first", "second")
    deliver(scene.client, message("elsewhere", id=9003, conversation_id=43))
    broken[0] = False
    work(scene.app)
    assert scene.api.public == []

    try_again(scene, still)
    here = [m["content"] for m in scene.api.messages if m["conversation_id"] == 42]
    assert here == ["first\nsecond"]


def test_a_draft_that_waits_for_another_attempt_keeps_its_place(
    scene: Scene, still: Clock
) -> None:
    asked = answer_with(scene)
    scene.api.fail(500)
    say_in_turn(scene, still, "first", "second", "third")
    work(scene.app)
    assert (asked, scene.api.messages) == (["first"], [])

    try_again(scene, still)
    assert asked == ["first", "second\nthird"]
    assert scene.api.public == [ANSWER, ANSWER]
    assert [job.outcome for job in jobs_of(scene.app)] == ["replied", "replied"]


def test_messages_of_the_same_instant_keep_their_order(
    scene: Scene, still: Clock
) -> None:
    asked = answer_with(scene, RuntimeError())
    say_in_turn(scene, still, "first", "second", "third", pause=0.0)
    try_again(scene, still)

    assert asked[-1] == "first\nsecond\nthird"


@pytest.mark.parametrize("mode", ["bot", "human"])
def test_a_dead_turn_does_not_block_the_next_one(scene: Scene, mode: str) -> None:
    scene.chatwoot.reply_provider(lambda text: text if text == "second" else 7)
    deliver(scene.client, message("first", id=9001, mode=mode))
    deliver(scene.client, message("second", id=9002, mode=mode))

    # The conversation in which the bot failed was handed off.
    assert (scene.api.public, scene.api.notes[-1]) == ([], "second")
    assert [(job.outcome, job.reason) for job in reversed(jobs_of(scene.app))] == [
        ("dead", "provider_invalid"),
        ("noted", "taken" if mode == "bot" else None),
    ]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (429, "rate_limited"),
        (500, "server_error"),
        (503, "server_error"),
        (refused(), "unreachable"),
        (requests.ReadTimeout(), "unconfirmed"),
    ],
)
@pytest.mark.parametrize("mode", ["bot", "human"])
def test_a_post_has_five_attempts(
    scene: Scene, still: Clock, mode: str, failure: int | Exception, reason: str
) -> None:
    asked = answer_with(scene)
    scene.api.fail(failure, times=100)
    deliver(scene.client, message(mode=mode))
    try_again(scene, still, 14)

    tried = [given["content"] == ANSWER for given in scene.api.attempts]
    assert tried == [True] * 5 + [False] * (5 if mode == "bot" else 0)
    assert len(asked) == 1
    assert ending_of(scene.app) == ("dead", reason)
    assert scene.api.messages == []


def test_the_number_of_attempts_is_a_setting(
    make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    app = make_app(chatwoot, max_attempts=1)
    chatwoot.reply_provider(lambda text: ANSWER)
    api.fail(500)
    deliver(app.test_client(), message())

    assert ending_of(app) == ("dead", "server_error")
    notes = [could_not("Chatwoot failed, on every attempt.")]
    assert (api.public, api.notes) == ([], notes)
    assert api.changes == [HANDED_OFF]


@pytest.mark.parametrize("failure", [429, 500, refused()])
def test_a_draft_is_posted_later_without_another_call_of_the_provider(
    scene: Scene, still: Clock, failure: int | Exception
) -> None:
    asked = answer_with(scene)
    scene.api.fail(failure, times=2)
    deliver(scene.client, message())
    try_again(scene, still, 3)

    assert len(asked) == 1
    assert scene.api.public == [ANSWER]
    assert (job_of(scene.app).state, job_of(scene.app).attempts) == ("done", 3)


def test_parts_that_were_posted_are_not_posted_again(
    scene: Scene, still: Clock
) -> None:
    answer_with(scene, "\n\n".join(letter * 100_000 for letter in "abc"))

    def fail_once(_: Flask, *, post: Post) -> None:
        if post.content.startswith("b") and post.attempt == 1:
            scene.api.fail(500)

    with before_post.connected_to(fail_once, sender=scene.app):
        deliver(scene.client, message())
        assert [text[0] for text in scene.api.public] == ["a"]
        try_again(scene, still)

    assert [text[0] for text in scene.api.public] == ["a", "b", "c"]


def test_retry_after_is_obeyed(scene: Scene, still: Clock) -> None:
    answer_with(scene)
    scene.api.fail(429, headers={"Retry-After": "300"})
    deliver(scene.client, message())

    still.advance(299)
    work(scene.app)
    assert scene.api.public == []
    still.advance(1)
    work(scene.app)
    assert scene.api.public == [ANSWER]


def test_pauses_grow(scene: Scene, still: Clock) -> None:
    answer_with(scene)
    scene.api.fail(429, times=4)  # unlike after a 500, nothing has to settle first
    deliver(scene.client, message())
    pauses = []

    while job_of(scene.app).state != "done":
        begun, tries = still.now, len(scene.api.attempts)
        while len(scene.api.attempts) == tries and still.now < begun + LATER:
            still.advance(0.5)
            work(scene.app)
        pauses.append(still.now - begun)

    assert scene.api.public == [ANSWER]

    for pause, usual in zip(pauses, [2, 12, 72, 432], strict=True):
        assert 0.8 * usual <= pause < 1.2 * usual + 0.5


# -- failures that are final -----------------------------------------------------


REFUSALS: dict[str, list[int]] = {
    "refused": [400],
    "unauthorized": [401, 403],
    "not_found": [404],
    "redirected": [301, 302, 307],
}


@pytest.mark.parametrize(
    ("status", "reason"),
    [(status, reason) for reason, codes in REFUSALS.items() for status in codes],
)
def test_what_chatwoot_refuses_is_dead_at_once_and_not_posted_again(
    scene: Scene,
    still: Clock,
    caplog: pytest.LogCaptureFixture,
    status: int,
    reason: str,
) -> None:
    answer_with(scene)
    scene.api.fail(status, times=10, headers={"Location": "https://elsewhere.test/"})
    deliver(scene.client, message())
    try_again(scene, still)

    assert ending_of(scene.app) == ("dead", reason)
    assert (len(scene.api.attempts), scene.api.changes) == (1, [])
    assert f"job 1 is dead ({reason})" in caplog.text


@pytest.mark.parametrize("times", [1, 10], ids=["the reply", "the reply and the note"])
def test_what_chatwoot_does_not_accept_is_explained_in_one_note(
    scene: Scene, still: Clock, ended: Signals, times: int
) -> None:
    answer_with(scene)
    scene.api.fail(422, times=times)
    deliver(scene.client, message())
    try_again(scene, still)

    assert [(sent["private"], sent["content"]) for sent in scene.api.attempts] == [
        (False, ANSWER),
        (True, could_not("Chatwoot did not accept its message.")),
    ]
    assert scene.api.changes == [HANDED_OFF]
    assert ending_of(scene.app) == ("dead", "refused")
    assert endings(ended) == [("dead", "refused")]


def test_a_dead_turn_is_revived_with_its_draft(scene: Scene) -> None:
    asked = answer_with(scene)
    scene.api.fail(401)
    deliver(scene.client, message())
    store_of(scene.app).inspection.retry([1])
    work(scene.app)

    assert (len(asked), scene.api.public) == (1, [ANSWER])


# -- crashes ---------------------------------------------------------------------


def crash(app: Flask, clock: Clock, *, times: int, sent: bool = False) -> None:
    """End a worker several times, before or after it sent a request."""
    store = store_of(app)

    for _ in range(times):
        job = store.queue.claim()
        assert job is not None
        drafts = job.drafts

        if sent and not drafts:
            drafts = tuple(store.outbox.keep(job, [DraftPart(ANSWER, False)]))

        for draft in drafts:
            store.outbox.sending(job, draft)

        clock.advance(store.queue.lease)


def test_after_a_crash_before_the_request_the_turn_is_answered(
    scene: Scene, still: Clock
) -> None:
    answer_with(scene)
    store_delivery(scene.app)
    crash(scene.app, still, times=4)
    work(scene.app)

    assert scene.api.public == [ANSWER]


@pytest.mark.parametrize(
    ("sent", "reason", "note"),
    [
        (False, "crashed", "Its process ended in the middle, on every attempt."),
        (True, "unconfirmed", "A reply was sent, but does not seem to have arrived."),
    ],
)
def test_a_turn_that_ends_every_worker_is_given_up(
    scene: Scene, still: Clock, ended: Signals, sent: bool, reason: str, note: str
) -> None:
    asked = answer_with(scene)
    store_delivery(scene.app)
    crash(scene.app, still, times=5, sent=sent)
    work(scene.app)

    assert (asked, scene.api.public) == ([], [])
    assert scene.api.notes == [could_not(note)]
    assert scene.api.changes == [HANDED_OFF]
    assert ending_of(scene.app) == ("dead", reason)
    assert endings(ended) == [("dead", reason)]


@pytest.mark.usefixtures("api")
@pytest.mark.parametrize("payload", [b"{", b'{"event": "webwidget_triggered"}'])
def test_a_delivery_that_cannot_be_read_any_more_is_dead(
    app: Flask, payload: bytes
) -> None:
    store_of(app).queue.put("k", conversation_id=42, message_id=1, payload=payload)
    work(app)
    assert ending_of(app) == ("dead", "unreadable")


# -- evidence of a post ----------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "markers", "reason", "outcome"),
    [("bot", True, "outgoing", "replied"), ("human", False, "private", "noted")],
    ids=["reply with marker", "note without marker"],
)
def test_the_echo_of_a_post_is_evidence(
    scene: Scene, still: Clock, mode: str, markers: bool, reason: str, outcome: str
) -> None:
    answer_with(scene)
    scene.api.lists = 401
    scene.api.keeps_markers = markers
    scene.api.fail(requests.ReadTimeout(), stored=True)
    deliver(scene.client, message(mode=mode))
    answer = deliver(scene.client, echo(scene.api.messages[0]))
    assert answer.json == {"status": "ignored", "reason": reason}

    try_again(scene, still)
    assert len(scene.api.attempts) == 1
    assert ending_of(scene.app) == (outcome, None)


@pytest.mark.parametrize(
    "change",
    [
        {"account_id": 2},
        {"id": 8000},
        {"text": "Something else."},
        {"conversation_id": 43},
        {"private": True},
        {"type": MessageType.TEMPLATE},
    ],
)
def test_what_is_no_echo_of_a_post_is_no_evidence(
    scene: Scene, still: Clock, change: dict[str, t.Any]
) -> None:
    answer_with(scene)
    scene.api.lists = 401
    scene.api.fail(requests.ReadTimeout())
    deliver(scene.client, message())
    seen = {"text": ANSWER, "id": 20001, "type": MessageType.OUTGOING, **change}
    deliver(scene.client, message(**seen))

    try_again(scene, still)
    assert len(scene.api.attempts) == 2
    assert ending_of(scene.app) == ("replied", None)


def test_nothing_is_sent_again_while_the_first_request_may_still_be_obeyed(
    scene: Scene, still: Clock
) -> None:
    answer_with(scene)
    scene.api.fail(requests.ReadTimeout())
    deliver(scene.client, message())

    still.advance(5)
    work(scene.app)
    assert len(scene.api.attempts) == 1
    assert (job_of(scene.app).state, job_of(scene.app).attempts) == ("retrying", 1)

    # It is counted from when the request was given up.
    still.advance(runtime_of(scene.app).config.settle_time - 6)
    work(scene.app)
    assert len(scene.api.attempts) == 1

    still.advance(1)
    work(scene.app)
    assert scene.api.public == [ANSWER]


def test_a_bot_does_not_answer_itself(scene: Scene) -> None:
    asked = answer_with(scene)
    deliver(scene.client, message())
    deliver(scene.client, echo(scene.api.messages[0]))

    counts = (len(asked), len(scene.api.attempts), len(jobs_of(scene.app)))
    assert counts == (1, 1, 1)


# -- signals ---------------------------------------------------------------------


def test_the_end_of_a_turn_is_sent_once_with_its_outcome(
    scene: Scene, ended: Signals
) -> None:
    answer_with(scene)
    deliver(scene.client, message())
    deliver(scene.client, message())

    (end,) = ended
    assert isinstance(end["turn"], Turn)
    assert end["turn"].message_id == 9001
    assert endings(ended) == [("replied", None)]


def test_a_turn_that_is_tried_again_has_not_ended(scene: Scene, ended: Signals) -> None:
    answer_with(scene)
    scene.api.fail(500)
    deliver(scene.client, message())

    assert ended == []


@contextlib.contextmanager
def received(app: Flask, receive: t.Callable[..., None]) -> t.Iterator[None]:
    """Connect a receiver to every signal."""
    with contextlib.ExitStack() as stack:
        for each in (before_post, after_post, turn_finished):
            stack.enter_context(each.connected_to(receive, sender=app))

        yield


@pytest.mark.parametrize("error", [RuntimeError, ValueError, Cancelled])
def test_a_receiver_that_raises_changes_nothing(
    scene: Scene, error: type[BaseException]
) -> None:
    def receive(_: Flask, **values: t.Any) -> None:
        raise error

    answer_with(scene)

    with received(scene.app, receive):
        assert deliver(scene.client, message(id=9001)).status_code == 202
        assert deliver(scene.client, message(id=9002)).status_code == 202

    assert scene.api.public == [ANSWER, ANSWER]
    assert {job.outcome for job in jobs_of(scene.app)} == {"replied"}


def test_the_error_about_an_app_without_the_extension_names_the_call() -> None:
    with (
        Flask("bare").app_context(),
        pytest.raises(ConfigError, match=r"'bare' has no Chatwoot; call Chatwoot\(app"),
    ):
        current_runtime()


# -- secrets and customers' text -------------------------------------------------

CANARY = "canary-of-a-customer"
CANARY_ANSWER = "canary-of-a-model"
SECRETS = (CANARY, CANARY_ANSWER, TOKEN, SECRET, "token-of-a-page")


def canaries(**fields: t.Any) -> dict[str, t.Any]:
    """A delivery with something private in every place."""
    given = message(f"{CANARY} <p>", **fields)
    conversation = given["conversation"]
    conversation["custom_attributes"]["secret"] = CANARY
    conversation["meta"]["sender"].update(name=CANARY, email=f"{CANARY}@example.com")

    return given


FAULTS: dict[str, tuple[int | Exception, dict[str, t.Any]]] = {
    "401": (401, {}),
    "404": (404, {}),
    "422": (422, {"headers": {"X-Error": CANARY}}),
    "429": (429, {}),
    "500": (500, {}),
    "redirect": (302, {"headers": {"Location": f"https://x.test/?t={TOKEN}#{CANARY}"}}),
    "refused": (refused(), {}),
    "time-out": (requests.ReadTimeout(f"{TOKEN} {CANARY}"), {}),
    "proxy": (requests.exceptions.ProxyError(f"http://u:{TOKEN}@proxy {CANARY}"), {}),
    "bad answer": (200, {"stored": False}),
}
REPLIES: dict[str, t.Any] = {
    "no failure": CANARY_ANSWER,
    "provider raises": RuntimeError(f"{CANARY} {TOKEN}"),
    "provider raises badly": UnicodeDecodeError("u", CANARY.encode(), 0, 1, ""),
    "provider returns a list": [CANARY, CANARY_ANSWER],
    "provider returns a set": {CANARY},
    "provider hands off": Reply(CANARY_ANSWER, handoff=Handoff(CANARY)),
}


@pytest.fixture
def audited(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> t.Iterator[pytest.LogCaptureFixture]:
    """All log records at every level, searched at the end of a test."""

    def broken(_: Flask, **values: t.Any) -> None:
        raise RuntimeError(repr(values), values)

    caplog.set_level(logging.DEBUG)

    with received(app, broken):
        yield caplog

    logged = caplog.text + "".join(repr(vars(record)) for record in caplog.records)
    assert [secret for secret in SECRETS if secret in logged] == []


def ask_for_suggestion(scene: Scene, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    scene.client.post("/chatwoot/copilot", json={"message": CANARY}, headers=headers)


@pytest.mark.parametrize("situation", [*FAULTS, *REPLIES, "no provider"])
def test_no_log_quotes_a_turn(
    scene: Scene, still: Clock, audited: pytest.LogCaptureFixture, situation: str
) -> None:
    if situation in FAULTS:
        fault, values = FAULTS[situation]
        scene.api.fail(fault, **values)

    if situation != "no provider":
        answer_with(scene, REPLIES.get(situation, CANARY_ANSWER))

    deliver(scene.client, canaries())
    try_again(scene, still, 6)
    ask_for_suggestion(scene, "token-of-a-page")

    assert audited.records


def test_no_log_quotes_a_refused_delivery(
    scene: Scene, audited: pytest.LogCaptureFixture
) -> None:
    deliver(scene.client, b'{"' + CANARY.encode())
    deliver(scene.client, {**canaries(), "id": CANARY})
    deliver(scene.client, {**canaries(), "content": {CANARY: 1}})
    scene.client.post(WEBHOOK, **signed(canaries(), secret="wrong"))
    scene.client.post(WEBHOOK, **signed(canaries(), age=1e6))
    scene.client.post(f"{WEBHOOK}?token={CANARY}", json=canaries())
    ask_for_suggestion(scene, CANARY)

    assert len(audited.records) >= 7


def test_no_log_quotes_what_could_not_be_stored(
    scene: Scene, audited: pytest.LogCaptureFixture
) -> None:
    Path(database_of(scene.app).path).write_text(f"no database {CANARY} " * 50)
    assert deliver(scene.client, canaries()).status_code == 500
    assert audited.records


def test_no_log_quotes_a_job_for_which_the_database_failed(
    scene: Scene, audited: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: t.Any, **__: t.Any) -> None:
        raise sqlite3.OperationalError(CANARY)

    answer_with(scene, CANARY_ANSWER)
    monkeypatch.setattr(store_of(scene.app).outbox, "keep", broken)
    deliver(scene.client, canaries())

    assert "job 1 stopped: sqlite3.OperationalError" in audited.text


def test_no_repr_contains_text_or_secrets(scene: Scene, ended: Signals) -> None:
    shown: list[str] = []
    app, runtime, store = scene.app, runtime_of(scene.app), store_of(scene.app)

    @scene.chatwoot.reply_provider
    def answer(text: str, turn: Turn) -> Reply:
        drafts = store.outbox.under_way(42, message_id=2**62)
        shown.extend(map(repr, (turn, turn.contact, drafts)))
        return Reply(CANARY_ANSWER)

    scene.api.fail(requests.ReadTimeout())

    with recorded(before_post, app) as begun, recorded(after_post, app) as posted:
        file = {"data_url": f"https://x.test/{CANARY}"}
        deliver(scene.client, canaries(attachments=(file,)))

    shown += map(repr, (begun, posted, ended))
    database_of(app).clock = lambda: 1e12
    job = store.queue.claim()
    assert job is not None
    assert job.payload
    assert job.drafts[0].content == CANARY_ANSWER
    shown += map(repr, (job, job.drafts, jobs_of(app), parse(job.payload)))
    values: dict[str, t.Any] = {"account_id": 1, "conversation_id": 42, "attempt": 1}
    post = Post(content=CANARY_ANSWER, private=False, mode=Mode.BOT, **values)
    shown += map(repr, (runtime, runtime.config, runtime.components))
    shown += map(repr, (post, Reply(CANARY_ANSWER)))
    everything = "\n".join(shown)

    assert BASE_URL in everything
    assert [secret for secret in SECRETS if secret in everything] == []
