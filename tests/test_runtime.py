from __future__ import annotations

import logging
import sqlite3
import sys
import types
import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask, current_app
from flask.testing import FlaskClient
from support.apps import (
    AppFactory,
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
from support.deliveries import SECRET, WEBHOOK, deliver, echo, message, signed
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
    TurnOutcome,
    after_post,
    before_post,
    turn_finished,
)
from flask_chatwoot.errors import ConfigError
from flask_chatwoot.payloads.channels import LIMIT
from flask_chatwoot.payloads.events import parse
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.runtime import current_runtime
from flask_chatwoot.simulator.payloads import MessageType

ANSWER = "On its way."
LATER = 720.0
"""Seconds; no pause is longer. Five of them make a message no "too old" one."""


@pytest.fixture
def still(app: Flask, clock: Clock) -> Clock:
    """The database's clock, standing still."""
    database_of(app).clock = clock

    return clock


def try_again(app: Flask, clock: Clock) -> None:
    clock.advance(LATER)
    work(app)


HANDED_OVER = ("custom_attributes", {"custom_attributes": {"support_mode": "human"}})
"""The change of a conversation in bot mode that is given to people."""


def endings(told: list[dict[str, t.Any]]) -> list[tuple[str, str | None]]:
    """What ``turn_finished`` said."""
    return [(each["outcome"], each["reason"]) for each in told]


def answer_with(chatwoot: Chatwoot, reply: t.Any) -> list[str]:
    """Register a provider; every text it was asked."""
    asked: list[str] = []

    @chatwoot.reply_provider
    def provide(text: str) -> t.Any:
        asked.append(text)

        if isinstance(reply, Exception):
            raise reply

        return reply

    return asked


# -- who sees it ---------------------------------------------------------------


def test_in_bot_mode_the_customer_is_answered(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    deliver(client, message("Where is my order?", mode="bot"))

    assert asked == ["Where is my order?"]
    assert (api.public, api.notes) == ([ANSWER], [])
    assert ending_of(app) == ("replied", None)


@pytest.mark.parametrize("mode", ["human", None, "something else"])
def test_in_human_mode_operators_get_a_note(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    mode: str | None,
) -> None:
    answer_with(chatwoot, ANSWER)
    deliver(client, message(mode=mode))

    assert (api.public, api.notes) == ([], [ANSWER])
    assert ending_of(app) == ("noted", None)


@pytest.mark.parametrize(
    ("mode", "private", "outcome"),
    [
        ("bot", None, "replied"),
        ("bot", False, "replied"),
        ("bot", True, "noted"),
        ("human", None, "noted"),
        ("human", False, "noted"),
        ("human", True, "noted"),
    ],
)
def test_a_reply_can_be_made_private_and_never_public(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    mode: str,
    private: bool | None,
    outcome: str,
) -> None:
    answer_with(chatwoot, Reply(ANSWER, private=private))
    deliver(client, message(mode=mode))

    assert ending_of(app) == (outcome, None)
    assert (api.notes if outcome == "noted" else api.public) == [ANSWER]
    assert len(api.messages) == 1


def test_the_mode_of_the_settings_counts_where_nobody_chose(
    make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    app = make_app(chatwoot, default_mode="bot", human_values="Berater")
    answer_with(chatwoot, ANSWER)
    deliver(app.test_client(), message(id=9001, mode=None))
    deliver(app.test_client(), message(id=9002, mode="Berater"))

    assert (len(api.public), len(api.notes)) == (1, 1)


# -- what is said --------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, "", " \n\t", Reply(""), Reply("\0")])
def test_saying_nothing_is_declining(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    nothing: t.Any,
) -> None:
    answer_with(chatwoot, nothing)

    with recorded(turn_finished, app) as ended:
        deliver(client, message())

    assert ending_of(app) == ("declined", "no_answer")
    assert api.attempts == []
    assert [told["reason"] for told in ended] == [Reason.NO_ANSWER]


WRONG = [7, 1.5, True, b"bytes", ["text", 7], [["text"]], {}, object()]


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_reply_is_dead_at_once(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    wrong: t.Any,
) -> None:
    asked = answer_with(chatwoot, wrong)
    deliver(client, message(mode="human"))

    assert ending_of(app) == ("dead", "provider_invalid")
    assert (len(asked), api.attempts, api.changes) == (1, [], [])


@pytest.mark.parametrize("wrong", WRONG)
def test_in_bot_mode_operators_are_told_of_what_is_no_reply(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    wrong: t.Any,
) -> None:
    asked = answer_with(chatwoot, wrong)

    with recorded(turn_finished, app) as ended:
        deliver(client, message())

    assert (len(asked), api.public) == (1, [])
    assert api.notes == [
        "**The bot could not answer.** Its reply function returned something unusable. "
        "The conversation is handed off."
    ]
    assert api.changes == [HANDED_OVER]
    assert ending_of(app) == ("dead", "provider_invalid")
    assert endings(ended) == [("dead", "provider_invalid")]


def test_a_very_long_reply_becomes_several_posts_in_order(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    words = [f"word{number:06d}" for number in range(90_000)]
    answer_with(chatwoot, " ".join(words))
    deliver(client, message())

    assert ending_of(app) == ("replied", None)
    assert len(api.public) == 7
    assert max(len(text) for text in api.public) <= LIMIT
    assert " ".join(api.public).split() == words


def test_what_no_database_can_hold_does_not_hinder_the_reply(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    answer_with(chatwoot, "On\0 its \ud800way.")
    deliver(client, message())

    assert api.public == ["On its ?way."]


def test_a_provider_may_be_async(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    @chatwoot.reply_provider
    async def provide(text: str, turn: Turn) -> str:
        return f"{current_app.name}: {turn.mode}"

    deliver(client, message())

    assert api.public == ["host: bot"]


def test_async_without_its_library_is_an_error_that_names_it(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @chatwoot.reply_provider
    async def provide(text: str) -> str:
        return ANSWER

    monkeypatch.setitem(sys.modules, "asgiref.sync", t.cast(types.ModuleType, None))
    deliver(client, message())

    assert ending_of(app) == ("dead", "provider_invalid")
    assert "Install Flask with the 'async' extra" in caplog.text


def test_a_provider_runs_in_an_app_context_of_its_own(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    seen: list[t.Any] = []
    torn_down: list[int] = []
    app.teardown_appcontext(lambda _: torn_down.append(len(api.attempts)))

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        seen.append((current_app.name, current_runtime() is runtime_of(app)))
        return ANSWER

    work(app)
    assert torn_down == []
    store_of(app).queue.put("k", conversation_id=42, message_id=9001, payload=body())
    work(app)

    assert seen == [("host", True)]
    assert torn_down == [1]


def body(**fields: t.Any) -> bytes:
    return t.cast(bytes, signed(message(**fields))["data"])


# -- which provider ------------------------------------------------------------


def test_the_narrowest_provider_answers(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: "anybody")
    chatwoot.reply_provider(mode="bot")(lambda text: "bot")
    chatwoot.reply_provider(inbox_id=7)(lambda text: "inbox 7")
    chatwoot.reply_provider(mode="bot", inbox_id=7)(lambda text: "bot in inbox 7")

    deliver(client, message(id=9001, mode="human", inbox_id=3))
    deliver(client, message(id=9002, mode="bot", inbox_id=3))
    deliver(client, message(id=9003, mode="human", inbox_id=7))
    deliver(client, message(id=9004, mode="bot", inbox_id=7))

    assert [sent["content"] for sent in api.attempts] == [
        "anybody",
        "bot",
        "inbox 7",
        "bot in inbox 7",
    ]


def test_where_no_provider_fits_the_turn_is_declined(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(mode="human")(lambda text: ANSWER)
    deliver(client, message(mode="bot"))

    assert ending_of(app) == ("declined", "no_provider")
    assert api.attempts == []


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("human", []),
        (
            "bot",
            ["No reply function is registered. The conversation is handed off."],
        ),
    ],
)
def test_without_any_provider_the_turn_is_dead_and_can_be_revived(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
    mode: str,
    told: list[str],
) -> None:
    deliver(client, message(mode=mode))
    assert ending_of(app) == ("dead", "no_provider")
    assert "@chatwoot.reply_provider" in caplog.text
    assert api.public == []
    assert [note.partition("** ")[2] for note in api.notes] == told

    answer_with(chatwoot, ANSWER)
    store_of(app).inspection.retry([job_of(app).id])
    work(app)
    assert (api.public, api.notes[-1]) == ([], ANSWER)


def test_a_provider_is_told_everything_about_the_turn(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    turns: list[Turn] = []

    @chatwoot.reply_provider
    def provide(text: str, turn: Turn) -> None:
        turns.append(turn)

    given = message(
        attachments=({"file_type": "image", "data_url": "https://x.test/1"},)
    )
    sender = given["conversation"]["meta"]["sender"]
    sender.update(email="ada@example.com", custom_attributes={"plan": "gold"})
    given["conversation"]["additional_attributes"] = {"browser_language": "de"}
    deliver(client, given)

    (turn,) = turns
    assert (turn.text, turn.mode) == ("Where is my order?", Mode.BOT)
    assert (turn.account_id, turn.conversation_id) == (1, 42)
    assert (turn.inbox_id, turn.message_id) == (3, 9001)
    assert turn.contact == Contact(
        id=55,
        name="Ada Lovelace",
        email="ada@example.com",
        custom_attributes={"plan": "gold"},
    )
    assert turn.custom_attributes == {"support_mode": "bot"}
    assert turn.language == "de"
    assert turn.attachments == (
        Attachment(type="image", url="https://x.test/1", size=None),
    )
    assert turn.raw == given


# -- content as it was typed ---------------------------------------------------


def test_rendered_text_is_read_as_it_was_typed(
    client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    given = message("Is 1 < 2?\n\nYes & no.", version=(4, 10, 0))
    assert given["content"].startswith("<p>")
    given["conversation"]["messages"] = []
    api.version = "4.10.0"
    deliver(client, given)

    assert asked == ["Is 1 < 2?\n\nYes & no."]


def test_markup_a_customer_typed_is_left_alone(
    client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    deliver(client, message("<p>What is this?</p>"))
    given = message("<p>And this?</p>", id=9002)
    given["conversation"]["messages"] = []
    deliver(client, given)

    assert asked == ["<p>What is this?</p>", "<p>And this?</p>"]


def test_a_server_that_does_not_tell_its_version_hinders_nothing(
    client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    given = message("<p>And this?</p>")
    given["conversation"]["messages"] = []
    api.version = None
    deliver(client, given)

    assert asked == ["<p>And this?</p>"]
    assert api.public == [ANSWER]


# -- failures that pass --------------------------------------------------------


def test_a_provider_that_raises_is_asked_again_and_then_given_up(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
) -> None:
    asked = answer_with(chatwoot, RuntimeError("no model"))

    with recorded(turn_finished, app) as ended:
        deliver(client, message())
        assert job_of(app).state == "retrying"

        for _ in range(10):
            try_again(app, still)

    assert len(asked) == 5
    assert ending_of(app) == ("dead", "provider_failed")
    assert endings(ended) == [("dead", "provider_failed")]
    assert api.public == []
    assert api.notes == [
        "**The bot could not answer.** Its reply function failed, on every attempt. "
        "The conversation is handed off."
    ]
    assert api.changes == [HANDED_OVER]


def test_a_turn_that_waits_for_another_attempt_keeps_its_place(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
) -> None:
    broken = [True]

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        if broken[0]:
            raise RuntimeError
        return text

    deliver(client, message("first", id=9001))
    still.advance(0.1)
    deliver(client, message("second", id=9002))
    deliver(client, message("elsewhere", id=9003, conversation_id=43))
    broken[0] = False
    work(app)
    assert api.public == []

    try_again(app, still)
    here = [m["content"] for m in api.messages if m["conversation_id"] == 42]
    assert here == ["first\nsecond"]


def test_a_kept_reply_that_waits_for_another_attempt_keeps_its_place(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    api.fail(500)

    for number, text in enumerate(["first", "second", "third"]):
        deliver(client, message(text, id=9001 + number))
        still.advance(0.1)

    work(app)
    assert (asked, api.messages) == (["first"], [])

    try_again(app, still)
    assert asked == ["first", "second\nthird"]
    assert api.public == [ANSWER, ANSWER]
    assert [job.outcome for job in jobs_of(app)] == ["replied", "replied"]


def test_messages_of_the_same_instant_keep_their_order(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub, still: Clock
) -> None:
    asked = answer_with(chatwoot, RuntimeError())

    for number, text in enumerate(["first", "second", "third"]):
        deliver(client, message(text, id=9001 + number))

    try_again(app, still)
    assert asked[-1] == "first\nsecond\nthird"


@pytest.mark.parametrize("mode", ["bot", "human"])
def test_a_dead_turn_lets_the_next_one_pass(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub, mode: str
) -> None:
    chatwoot.reply_provider(lambda text: text if text == "second" else 7)
    deliver(client, message("first", id=9001, mode=mode))
    deliver(client, message("second", id=9002, mode=mode))

    # People were given the conversation in which the bot failed.
    assert (api.public, api.notes[-1]) == ([], "second")
    assert [(job.outcome, job.reason) for job in reversed(jobs_of(app))] == [
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
def test_chatwoot_is_tried_five_times(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
    mode: str,
    failure: int | Exception,
    reason: str,
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    api.fail(failure, times=100)
    deliver(client, message(mode=mode))

    for _ in range(14):
        try_again(app, still)

    tried = [given["content"] == ANSWER for given in api.attempts]
    assert tried == [True] * 5 + [False] * (5 if mode == "bot" else 0)
    assert len(asked) == 1
    assert ending_of(app) == ("dead", reason)
    assert api.messages == []


def test_fewer_attempts_can_be_asked_for(
    make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    app = make_app(chatwoot, max_attempts=1)
    answer_with(chatwoot, ANSWER)
    api.fail(500)
    deliver(app.test_client(), message())

    assert ending_of(app) == ("dead", "server_error")
    assert api.public == []
    assert [note.partition("** ")[2] for note in api.notes] == [
        "Chatwoot failed, on every attempt. The conversation is handed off."
    ]
    assert api.changes == [HANDED_OVER]


@pytest.mark.parametrize("failure", [429, 500, refused()])
def test_a_kept_reply_is_posted_later_and_nobody_is_asked_again(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
    failure: int | Exception,
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    api.fail(failure, times=2)
    deliver(client, message())

    for _ in range(3):
        try_again(app, still)

    assert len(asked) == 1
    assert api.public == [ANSWER]
    assert (job_of(app).state, job_of(app).attempts) == ("done", 3)


def test_parts_that_were_posted_are_not_posted_again(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
) -> None:
    answer_with(chatwoot, "\n\n".join(letter * 100_000 for letter in "abc"))

    def fail_once(_: Flask, *, post: Post) -> None:
        if post.content.startswith("b") and post.attempt == 1:
            api.fail(500)

    with before_post.connected_to(fail_once, sender=app):
        deliver(client, message())
        assert [text[0] for text in api.public] == ["a"]
        try_again(app, still)

    assert [text[0] for text in api.public] == ["a", "b", "c"]


def test_chatwoot_says_when_to_come_back(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
) -> None:
    answer_with(chatwoot, ANSWER)
    api.fail(429, headers={"Retry-After": "300"})
    deliver(client, message())

    still.advance(299)
    work(app)
    assert api.public == []
    still.advance(1)
    work(app)
    assert api.public == [ANSWER]


def test_pauses_grow(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
) -> None:
    answer_with(chatwoot, ANSWER)
    api.fail(429, times=4)  # unlike after a 500, nothing has to settle first
    deliver(client, message())
    pauses = []

    while job_of(app).state != "done":
        begun, tries = still.now, len(api.attempts)
        while len(api.attempts) == tries and still.now < begun + LATER:
            still.advance(0.5)
            work(app)
        pauses.append(still.now - begun)

    assert api.public == [ANSWER]

    for pause, usual in zip(pauses, [2, 12, 72, 432], strict=True):
        assert 0.8 * usual <= pause < 1.2 * usual + 0.5


# -- failures that do not ------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "refused"),
        (401, "unauthorized"),
        (403, "unauthorized"),
        (404, "not_found"),
        (301, "redirected"),
        (302, "redirected"),
        (307, "redirected"),
    ],
)
def test_what_chatwoot_refuses_is_dead_at_once_and_nothing_is_repeated(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
    caplog: pytest.LogCaptureFixture,
    status: int,
    reason: str,
) -> None:
    answer_with(chatwoot, ANSWER)
    api.fail(status, times=10, headers={"Location": "https://elsewhere.test/"})
    deliver(client, message())
    try_again(app, still)

    assert ending_of(app) == ("dead", reason)
    assert (len(api.attempts), api.changes) == (1, [])
    assert f"job 1 is dead ({reason})" in caplog.text


def test_operators_are_told_of_what_chatwoot_does_not_accept(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub, still: Clock
) -> None:
    answer_with(chatwoot, ANSWER)
    api.fail(422)

    with recorded(turn_finished, app) as ended:
        deliver(client, message())
        try_again(app, still)

    assert [(sent["private"], sent["content"]) for sent in api.attempts] == [
        (False, ANSWER),
        (
            True,
            "**The bot could not answer.** Chatwoot did not accept its message. "
            "The conversation is handed off.",
        ),
    ]
    assert api.changes == [HANDED_OVER]
    assert ending_of(app) == ("dead", "refused")
    assert endings(ended) == [("dead", "refused")]


def test_what_chatwoot_does_not_accept_even_of_a_note_is_not_repeated(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub, still: Clock
) -> None:
    answer_with(chatwoot, ANSWER)
    api.fail(422, times=10)

    with recorded(turn_finished, app) as ended:
        deliver(client, message())
        try_again(app, still)

    assert [sent["private"] for sent in api.attempts] == [False, True]
    assert endings(ended) == [("dead", "refused")]


def test_a_dead_turn_is_revived_with_its_reply(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    api.fail(401)
    deliver(client, message())
    store_of(app).inspection.retry([1])
    work(app)

    assert (len(asked), api.public) == (1, [ANSWER])


# -- crashes -------------------------------------------------------------------


def crash(app: Flask, clock: Clock, *, times: int, sent: bool = False) -> None:
    """Let a worker die again and again, before or after it sent a request."""
    inbox = store_of(app)

    for _ in range(times):
        job = inbox.queue.claim()
        assert job is not None
        drafts = job.drafts or (
            inbox.outbox.keep(job, [DraftPart(ANSWER, False)]) if sent else ()
        )

        for draft in drafts:
            inbox.outbox.sending(job, draft)

        clock.advance(inbox.queue.lease)


def test_a_crash_before_the_request_costs_nothing(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, still: Clock
) -> None:
    answer_with(chatwoot, ANSWER)
    store_of(app).queue.put("k", conversation_id=42, message_id=9001, payload=body())
    crash(app, still, times=4)
    work(app)

    assert api.public == [ANSWER]


@pytest.mark.parametrize(
    ("sent", "reason", "told"),
    [
        (False, Reason.CRASHED, "Its process ended in the middle, on every attempt."),
        (
            True,
            Reason.UNCONFIRMED,
            "A reply was sent, but does not seem to have arrived.",
        ),
    ],
)
def test_a_turn_that_kills_every_worker_is_given_up(
    app: Flask,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
    sent: bool,
    reason: Reason,
    told: str,
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    store_of(app).queue.put("k", conversation_id=42, message_id=9001, payload=body())
    crash(app, still, times=5, sent=sent)

    with recorded(turn_finished, app) as ended:
        work(app)

    assert (asked, api.public) == ([], [])
    assert api.notes == [
        f"**The bot could not answer.** {told} The conversation is handed off."
    ]
    assert api.changes == [HANDED_OVER]
    assert ending_of(app) == ("dead", reason)
    assert endings(ended) == [(TurnOutcome.DEAD, reason)]


def test_a_delivery_that_cannot_be_read_any_more_is_dead(
    app: Flask, client: FlaskClient, api: ChatwootStub
) -> None:
    for number, payload in enumerate((b"{", b'{"event": "webwidget_triggered"}'), 1):
        store_of(app).queue.put(
            str(number), conversation_id=42, message_id=number, payload=payload
        )

    work(app)

    assert {(job.outcome, job.reason) for job in jobs_of(app)} == {
        ("dead", "unreadable")
    }


# -- evidence ------------------------------------------------------------------


def test_the_echo_of_a_post_is_evidence(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
) -> None:
    answer_with(chatwoot, ANSWER)
    api.lists = 401
    api.fail(requests.ReadTimeout(), stored=True)
    deliver(client, message())
    answer = deliver(client, echo(api.messages[0]))
    assert answer.json == {"status": "ignored", "reason": "outgoing"}

    try_again(app, still)
    assert len(api.attempts) == 1
    assert ending_of(app) == ("replied", None)


def test_the_echo_of_a_note_is_evidence(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
) -> None:
    answer_with(chatwoot, ANSWER)
    api.lists = 401
    api.keeps_markers = False
    api.fail(requests.ReadTimeout(), stored=True)
    deliver(client, message(mode="human"))
    answer = deliver(client, echo(api.messages[0]))
    assert answer.json == {"status": "ignored", "reason": "private"}

    try_again(app, still)
    assert len(api.attempts) == 1
    assert ending_of(app) == ("noted", None)


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
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
    change: dict[str, t.Any],
) -> None:
    answer_with(chatwoot, ANSWER)
    api.lists = 401
    api.fail(requests.ReadTimeout())
    deliver(client, message())
    seen = {"text": ANSWER, "id": 20001, "type": MessageType.OUTGOING, **change}
    deliver(client, message(**seen))

    try_again(app, still)
    assert len(api.attempts) == 2
    assert ending_of(app) == ("replied", None)


def test_nothing_is_sent_again_while_the_first_request_may_still_be_obeyed(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
) -> None:
    answer_with(chatwoot, ANSWER)
    api.fail(requests.ReadTimeout())
    deliver(client, message())

    still.advance(5)
    work(app)
    assert len(api.attempts) == 1
    assert (job_of(app).state, job_of(app).attempts) == ("retrying", 1)

    # It is counted from when the request was given up.
    still.advance(runtime_of(app).config.settle_time - 6)
    work(app)
    assert len(api.attempts) == 1

    still.advance(1)
    work(app)
    assert api.public == [ANSWER]


def test_a_bot_does_not_answer_itself(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    deliver(client, message())
    deliver(client, echo(api.messages[0]))

    assert (len(asked), len(api.attempts), len(jobs_of(app))) == (1, 1, 1)


# -- signals -------------------------------------------------------------------


def test_the_end_of_a_turn_is_told_once_with_its_outcome(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    answer_with(chatwoot, ANSWER)

    with recorded(turn_finished, app) as ended:
        deliver(client, message())
        deliver(client, message())

    (told,) = ended
    assert isinstance(told["turn"], Turn)
    assert told["turn"].message_id == 9001
    assert (told["outcome"], told["reason"]) == (TurnOutcome.REPLIED, None)


def test_a_turn_that_goes_on_has_not_ended(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    answer_with(chatwoot, ANSWER)
    api.fail(500)

    with recorded(turn_finished, app) as ended:
        deliver(client, message())

    assert ended == []


def test_a_receiver_that_raises_changes_nothing(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    def broken(_: Flask, **values: t.Any) -> None:
        raise RuntimeError

    answer_with(chatwoot, ANSWER)

    with (
        before_post.connected_to(broken, sender=app),
        after_post.connected_to(broken, sender=app),
        turn_finished.connected_to(broken, sender=app),
    ):
        deliver(client, message(id=9001))
        deliver(client, message(id=9002))

    assert api.public == [ANSWER, ANSWER]
    assert {job.outcome for job in jobs_of(app)} == {"replied"}


def test_an_app_without_the_extension_is_told_what_to_call() -> None:
    with (
        Flask("bare").app_context(),
        pytest.raises(ConfigError, match=r"'bare' has no Chatwoot; call Chatwoot\(app"),
    ):
        current_runtime()


# -- what nobody may read ------------------------------------------------------

CANARY = "canary-of-a-customer"
CANARY_ANSWER = "canary-of-a-model"


def canaries(**fields: t.Any) -> dict[str, t.Any]:
    """A delivery with something private in every place."""
    given = message(f"{CANARY} <p>", **fields)
    conversation = given["conversation"]
    conversation["custom_attributes"]["secret"] = CANARY
    conversation["meta"]["sender"].update(name=CANARY, email=f"{CANARY}@example.com")

    return given


def tell(fail: t.Any, **values: t.Any) -> t.Callable[[ChatwootStub, Chatwoot], None]:
    """Chatwoot answers so, and the provider with the canary."""

    def arrange(api: ChatwootStub, chatwoot: Chatwoot) -> None:
        if fail is not None:
            api.fail(fail, **values)
        answer_with(chatwoot, CANARY_ANSWER)

    return arrange


def provide(reply: t.Any) -> t.Callable[[ChatwootStub, Chatwoot], None]:
    return lambda _, chatwoot: void(answer_with(chatwoot, reply))


def void(_: t.Any) -> None: ...


SITUATIONS: dict[str, t.Callable[[ChatwootStub, Chatwoot], None]] = {
    "all is well": tell(None),
    "401": tell(401),
    "404": tell(404),
    "422": tell(422, headers={"X-Error": CANARY}),
    "429": tell(429),
    "500": tell(500),
    "redirect": tell(302, headers={"Location": f"https://x.test/?t={TOKEN}#{CANARY}"}),
    "refused": tell(refused()),
    "time-out": tell(requests.ReadTimeout(f"{TOKEN} {CANARY}")),
    "proxy": tell(requests.exceptions.ProxyError(f"http://u:{TOKEN}@proxy {CANARY}")),
    "bad answer": tell(200, stored=False),
    "provider raises": provide(RuntimeError(f"{CANARY} {TOKEN}")),
    "provider raises badly": provide(
        UnicodeDecodeError("u", CANARY.encode(), 0, 1, "")
    ),
    "provider returns a list": provide([CANARY, CANARY_ANSWER]),
    "provider returns a set": provide({CANARY}),
    "provider hands off": provide(Reply(CANARY_ANSWER, handoff=Handoff(CANARY))),
    "no provider": lambda api, chatwoot: None,
}


@pytest.fixture
def audited(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> t.Iterator[pytest.LogCaptureFixture]:
    """Every record at every level, read at the end of a test."""

    def broken(_: Flask, **values: t.Any) -> None:
        raise RuntimeError(repr(values), values)

    caplog.set_level(logging.DEBUG)

    with (
        before_post.connected_to(broken, sender=app),
        after_post.connected_to(broken, sender=app),
        turn_finished.connected_to(broken, sender=app),
    ):
        yield caplog

    told = caplog.text + "".join(repr(vars(record)) for record in caplog.records)

    for secret in (CANARY, CANARY_ANSWER, TOKEN, SECRET, "token-of-a-page"):
        assert secret not in told


@pytest.mark.parametrize("situation", SITUATIONS)
def test_no_log_quotes_anybody_when_a_turn(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
    audited: pytest.LogCaptureFixture,
    situation: str,
) -> None:
    SITUATIONS[situation](api, chatwoot)
    deliver(client, canaries())

    for _ in range(6):
        try_again(app, still)

    client.post(
        "/chatwoot/copilot",
        json={"message": CANARY},
        headers={"Authorization": "Bearer token-of-a-page"},
    )
    assert audited.records


def test_no_log_quotes_a_refused_delivery(
    client: FlaskClient, audited: pytest.LogCaptureFixture
) -> None:
    deliver(client, b'{"' + CANARY.encode())
    deliver(client, {**canaries(), "id": CANARY})
    deliver(client, {**canaries(), "content": {CANARY: 1}})
    client.post(WEBHOOK, **signed(canaries(), secret="wrong"))
    client.post(WEBHOOK, **signed(canaries(), age=1e6))
    client.post(f"{WEBHOOK}?token={CANARY}", json=canaries())
    client.post(
        "/chatwoot/copilot",
        json={"message": CANARY},
        headers={"Authorization": f"Bearer {CANARY}"},
    )
    assert len(audited.records) >= 7


def test_no_log_quotes_what_could_not_be_stored(
    app: Flask, client: FlaskClient, audited: pytest.LogCaptureFixture
) -> None:
    Path(database_of(app).path).write_text(f"no database {CANARY} " * 50)

    assert deliver(client, canaries()).status_code == 500
    assert audited.records


def test_no_log_quotes_a_job_that_broke_the_inbox(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    audited: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: t.Any, **__: t.Any) -> None:
        raise sqlite3.OperationalError(CANARY)

    answer_with(chatwoot, CANARY_ANSWER)
    monkeypatch.setattr(store_of(app).outbox, "keep", broken)
    deliver(client, canaries())

    assert "job 1 stopped: sqlite3.OperationalError" in audited.text


def test_no_value_shows_anybodys_text(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    shown: list[str] = []

    @chatwoot.reply_provider
    def answer(text: str, turn: Turn) -> Reply:
        drafts = store_of(app).outbox.under_way(42, message_id=2**62)
        shown.extend(map(repr, (turn, turn.contact, drafts)))
        return Reply(CANARY_ANSWER)

    api.fail(requests.ReadTimeout())
    given = canaries(attachments=({"data_url": f"https://x.test/{CANARY}"},))

    with (
        recorded(before_post, app) as begun,
        recorded(after_post, app) as ended,
        recorded(turn_finished, app) as turns,
    ):
        deliver(client, given)
        shown += map(repr, (begun, ended, turns))

    database_of(app).clock = lambda: 1e12
    job = store_of(app).queue.claim()
    assert job is not None
    assert job.payload
    assert job.drafts[0].content == CANARY_ANSWER
    shown += map(repr, (job, job.drafts, jobs_of(app), parse(job.payload)))
    shown += map(
        repr, (runtime_of(app), runtime_of(app).config, runtime_of(app).components)
    )
    shown.append(
        repr(
            Post(
                account_id=1,
                conversation_id=42,
                content=CANARY_ANSWER,
                private=False,
                mode=Mode.BOT,
                attempt=1,
            )
        )
    )
    shown.append(repr(Reply(CANARY_ANSWER)))
    everything = "\n".join(shown)

    assert BASE_URL in everything
    for secret in (CANARY, CANARY_ANSWER, TOKEN, SECRET, "token-of-a-page"):
        assert secret not in everything


class Cancelled(BaseException):
    """What asyncio raises in a cancelled task is no ``Exception`` either."""


def test_a_provider_that_raises_anything_at_all_is_tried_again(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    raised: list[str] = []

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        if not raised:
            raised.append(text)
            raise Cancelled(text)

        return ANSWER

    deliver(client, message("a secret"))
    try_again(app, still)

    assert api.public == [ANSWER]
    assert "Cancelled" in caplog.text
    assert "a secret" not in caplog.text


@pytest.mark.parametrize("error", [Cancelled, ValueError])
def test_a_receiver_that_raises_anything_at_all_changes_nothing(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    error: type[BaseException],
) -> None:
    answer_with(chatwoot, ANSWER)

    def receive(sender: Flask, **values: t.Any) -> None:
        raise error

    with before_post.connected_to(receive, app), after_post.connected_to(receive, app):
        assert deliver(client, message()).status_code == 202

    assert api.public == [ANSWER]
    assert job_of(app).outcome == "replied"
