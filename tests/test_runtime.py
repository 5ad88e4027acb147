"""Turns of an app whose backend is inline, from the delivery to the post."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import sys
import types
import typing as t
from dataclasses import dataclass
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
from werkzeug.test import TestResponse

from flask_chatwoot import (
    Attachment,
    Chatwoot,
    Contact,
    GiveUp,
    Handoff,
    Mode,
    Post,
    Reply,
    Turn,
    after_post,
    before_post,
    got_exception,
    turn_finished,
)
from flask_chatwoot.errors import ConfigError
from flask_chatwoot.payloads.channels import LIMIT
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.runtime import current_runtime
from flask_chatwoot.simulator.payloads import NEWEST, MessageType, Version

ANSWER = "On its way."
LATER = 720.0
"""Seconds; no pause is longer. Five of them make a message no "too old" one."""

HANDED_OFF = ("custom_attributes", {"custom_attributes": {"support_mode": "human"}})
"""The change of a conversation in bot mode that is handed off."""


def could_not(answer: str) -> str:
    """The note about a turn that failed in bot mode."""
    return f"**The bot could not answer.** {answer} The conversation is handed off."


@dataclass(frozen=True)
class Turns(Scene):
    """A scene whose database has a clock that stands still.

    :ivar ended: Everything that ``turn_finished`` sends.
    """

    clock: Clock
    ended: list[dict[str, t.Any]]

    @property
    def ending(self) -> tuple[str | None, str | None]:
        return ending_of(self.app)

    @property
    def endings(self) -> list[tuple[str, str | None]]:
        return [(each["outcome"], each["reason"]) for each in self.ended]

    def answer_with(self, reply: t.Any = ANSWER) -> list[str]:
        """Register a provider; every text it was asked."""
        asked: list[str] = []

        @self.chatwoot.reply_provider
        def provide(text: str) -> t.Any:
            asked.append(text)

            if isinstance(reply, BaseException):
                raise reply

            return reply

        return asked

    def say(self, text: str = "Where is my order?", **fields: t.Any) -> TestResponse:
        return deliver(self.client, message(text, **fields))

    def say_in_turn(self, *texts: str) -> None:
        for number, text in enumerate(texts):
            self.say(text, id=9001 + number)
            self.clock.advance(0.1)

    def store(self, payload: bytes | None = None) -> None:
        """Store a delivery as another process would."""
        raw = as_bytes(message()) if payload is None else payload
        queue = store_of(self.app).queue
        queue.put("k", conversation_id=42, message_id=9001, payload=raw)

    def work(self, after: float = 0.0) -> None:
        self.clock.advance(after)
        work(self.app)

    def try_again(self, times: int = 1) -> None:
        for _ in range(times):
            self.work(after=LATER)

    def ask_for_suggestion(self, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self.client.post("/chatwoot/copilot", json={"message": CANARY}, headers=headers)


@pytest.fixture
def scene(scene: Scene, clock: Clock) -> t.Iterator[Turns]:
    database_of(scene.app).clock = clock

    with recorded(turn_finished, scene.app) as ended:
        yield Turns(scene.app, scene.client, scene.api, scene.chatwoot, clock, ended)


# -- who reads the answer --------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "reply", "outcome"),
    [
        ("bot", ANSWER, "replied"),
        ("human", ANSWER, "noted"),
        (None, ANSWER, "noted"),
        ("bot", Reply(ANSWER, private=False), "replied"),
        ("bot", Reply(ANSWER, private=True), "noted"),
        ("human", Reply(ANSWER, private=False), "noted"),
    ],
)
def test_the_mode_decides_and_a_reply_can_only_be_made_private(
    scene: Turns, mode: str | None, reply: str | Reply, outcome: str
) -> None:
    asked = scene.answer_with(reply)
    scene.say("Where is my order?", mode=mode)

    posted = ([ANSWER], []) if outcome == "replied" else ([], [ANSWER])
    assert asked == ["Where is my order?"]
    assert (scene.api.public, scene.api.notes) == posted
    assert scene.ending == (outcome, None)


# -- what is posted --------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, " \n\t", Reply("\0")])
def test_an_empty_reply_declines_the_turn(scene: Turns, nothing: t.Any) -> None:
    scene.answer_with(nothing)
    scene.say()
    assert [scene.ending] == scene.endings == [("declined", "no_answer")]
    assert scene.api.attempts == []


@pytest.mark.parametrize("wrong", [7, ["text", 7]])
@pytest.mark.parametrize("mode", ["bot", "human"])
def test_what_is_no_reply_is_dead_at_once_and_in_bot_mode_handed_off(
    scene: Turns, mode: str, wrong: t.Any
) -> None:
    asked = scene.answer_with(wrong)
    scene.say(mode=mode)

    notes = [could_not("Its reply function returned something unusable.")]
    assert (len(asked), scene.api.public) == (1, [])
    assert scene.api.notes == notes * (mode == "bot")
    assert scene.api.changes == [HANDED_OFF] * (mode == "bot")
    assert [scene.ending] == scene.endings == [("dead", "provider_invalid")]


def test_a_very_long_reply_becomes_several_posts_in_order(scene: Turns) -> None:
    words = [f"word{number:06d}" for number in range(50_000)]
    scene.answer_with(" ".join(words))
    scene.say()

    assert scene.ending == ("replied", None)
    assert len(scene.api.public) == 4
    assert max(len(text) for text in scene.api.public) <= LIMIT
    assert " ".join(scene.api.public).split() == words


def test_async_without_its_library_is_an_error_that_names_it(
    scene: Turns, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @scene.chatwoot.reply_provider
    async def provide(text: str) -> str:
        return ANSWER

    monkeypatch.setitem(sys.modules, "asgiref.sync", t.cast(types.ModuleType, None))
    scene.say()

    assert scene.ending == ("dead", "provider_invalid")
    assert "Install Flask with the 'async' extra" in caplog.text


def test_a_provider_may_be_async_and_has_its_own_app_context(scene: Turns) -> None:
    torn_down: list[int] = []
    scene.app.teardown_appcontext(lambda _: torn_down.append(len(scene.api.attempts)))

    @scene.chatwoot.reply_provider
    async def provide(text: str) -> str:
        assert current_runtime() is runtime_of(scene.app)
        return current_app.name

    scene.work()
    assert torn_down == []
    scene.store()
    scene.work()
    assert (scene.api.public, torn_down) == (["host"], [1])


# -- which provider --------------------------------------------------------------


def test_the_narrowest_provider_answers(scene: Turns) -> None:
    scene.chatwoot.reply_provider(mode="bot")(lambda text: "bot")
    scene.chatwoot.reply_provider(mode="bot", inbox_id=7)(lambda text: "bot, inbox 7")
    scene.say(id=1, inbox_id=3)
    scene.say(id=2, inbox_id=7)

    assert scene.api.public == ["bot", "bot, inbox 7"]


def test_where_no_provider_fits_the_turn_is_declined(scene: Turns) -> None:
    scene.chatwoot.reply_provider(mode="human")(lambda text: ANSWER)
    scene.say(mode="bot")
    assert (scene.ending, scene.api.attempts) == (("declined", "no_provider"), [])


@pytest.mark.parametrize("mode", ["human", "bot"])
def test_without_any_provider_the_turn_is_dead_and_can_be_revived(
    scene: Turns, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    scene.say(mode=mode)
    notes = [could_not("No reply function is registered.")] * (mode == "bot")
    assert scene.ending == ("dead", "no_provider")
    assert "@chatwoot.reply_provider" in caplog.text
    assert (scene.api.public, scene.api.notes) == ([], notes)

    scene.answer_with()
    store_of(scene.app).inspection.retry([job_of(scene.app).id])
    scene.work()
    assert (scene.api.public, scene.api.notes) == ([], [*notes, ANSWER])


def test_a_provider_gets_everything_about_the_turn(scene: Turns) -> None:
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
    assert turn.attachments == (Attachment("image", "https://x.test/1", size=None),)
    assert (turn.language, turn.raw) == ("de", given)


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
    scene: Turns, typed: str, rendered_by: Version, version: str | None, repeated: bool
) -> None:
    asked = scene.answer_with()
    given = message(typed, version=rendered_by)
    assert given["content"].startswith("<p>")

    if not repeated:
        given["conversation"]["messages"] = []

    scene.api.version = version
    deliver(scene.client, given)

    assert asked == [typed]
    assert scene.api.public == [ANSWER]


# -- failures that are tried again -----------------------------------------------


class Cancelled(BaseException):
    """What asyncio raises in a cancelled task is no ``Exception`` either."""


@pytest.mark.parametrize("error", [RuntimeError, Cancelled])
def test_a_provider_that_raises_is_called_again_and_the_turn_then_given_up(
    scene: Turns, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    asked = scene.answer_with(error("a secret"))
    scene.say()
    assert (job_of(scene.app).state, scene.ended) == ("retrying", [])
    scene.try_again(10)

    notes = [could_not("Its reply function failed, on every attempt.")]
    assert (len(asked), scene.api.public, scene.api.notes) == (3, [], notes)
    assert scene.api.changes == [HANDED_OFF]
    assert [scene.ending] == scene.endings == [("dead", "provider_failed")]
    assert error.__name__ in caplog.text
    assert "a secret" not in caplog.text


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("the model is not paid for", "Reason: the model is not paid for."),
        ("The quota is used up. ", "Reason: The quota is used up."),
        ("x" * 400, f"Reason: {'x' * 300}…"),
        ("a\0b\ud800", "Reason: ab?"),
        (LookupError("no model"), "Reason: no model."),
        (402, "Reason: 402."),
        *(
            (none, "Its reply function failed, on every attempt.")
            for none in (None, " ")
        ),
    ],
)
def test_a_provider_may_give_up_at_once_and_say_why(
    scene: Turns, caplog: pytest.LogCaptureFixture, reason: object, why: str
) -> None:
    asked = scene.answer_with(GiveUp(reason))

    with recorded(got_exception, scene.app) as reported:
        scene.say()

    assert (len(asked), scene.ending) == (1, ("dead", "provider_failed"))
    assert (scene.api.public, scene.api.notes) == ([], [could_not(why)])
    assert scene.api.changes == [HANDED_OFF]
    assert reported == []
    assert "The reply provider gave up." in caplog.text
    assert "paid" not in caplog.text + repr(GiveUp(reason))


def test_attempts_of_the_provider_and_of_chatwoot_are_counted_apart(
    scene: Turns,
) -> None:
    fails = [True, True, False]

    @scene.chatwoot.reply_provider
    def answer(text: str) -> str:
        if fails.pop(0):
            raise RuntimeError

        scene.api.fail(500, times=4)
        return ANSWER

    scene.say()
    scene.try_again(6)

    job = job_of(scene.app)
    assert (job.outcome, scene.api.public) == ("replied", [ANSWER])
    assert (job.attempts, job.provider_attempts, job.chatwoot_attempts) == (7, 2, 4)


@pytest.mark.parametrize(
    ("good", "endings"),
    [
        ([], [("dead", "provider_failed"), ("dead", "provider_failed")]),
        (["second"], [("dead", "provider_failed"), ("noted", "taken")]),
        (["first", "second"], [("replied", None), ("replied", None)]),
    ],
)
def test_a_message_ends_the_pause_of_a_turn_whose_provider_raised(
    scene: Turns, good: list[str], endings: list[tuple[str, str | None]]
) -> None:
    """It makes one last attempt, and is given up before the new turn begins."""
    asked: list[str] = []

    @scene.chatwoot.reply_provider
    def answer(text: str) -> str:
        asked.append(text)

        if text not in good or asked == ["first"]:
            raise RuntimeError

        return text

    scene.say("first", id=9001)
    assert job_of(scene.app).state == "retrying"
    scene.say("second", id=9002)

    assert asked == ["first", "first", "second"]
    scene.try_again(3)
    assert scene.endings == endings


def test_the_pauses_of_a_turn_whose_provider_raises_end_within_a_minute(
    scene: Turns,
) -> None:
    scene.answer_with(RuntimeError())
    scene.say()
    began = scene.clock.now

    while not scene.ended:
        scene.work(after=1)

    assert scene.clock.now - began < 30


def test_a_draft_that_waits_for_another_attempt_keeps_its_place(scene: Turns) -> None:
    asked = scene.answer_with()
    scene.api.fail(500)
    scene.say_in_turn("first", "second", "third")
    scene.work()
    assert (asked, scene.api.messages) == (["first"], [])

    scene.try_again()
    assert asked == ["first", "second\nthird"]
    assert scene.api.public == [ANSWER, ANSWER]
    assert [job.outcome for job in jobs_of(scene.app)] == ["replied", "replied"]


@pytest.mark.parametrize(("mode", "reason"), [("bot", "taken"), ("human", None)])
def test_a_dead_turn_blocks_no_other(
    scene: Turns, mode: str, reason: str | None
) -> None:
    """The conversation in which the bot failed was handed off."""
    scene.chatwoot.reply_provider(lambda text: text if text == "second" else 7)
    scene.say("first", id=9001, mode=mode)
    scene.say("second", id=9002, mode=mode)

    assert (scene.api.public, scene.api.notes[-1]) == ([], "second")
    assert scene.endings == [("dead", "provider_invalid"), ("noted", reason)]


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (429, "rate_limited"),
        (500, "server_error"),
        (refused(), "unreachable"),
        (requests.ReadTimeout(), "unconfirmed"),
    ],
)
@pytest.mark.parametrize("mode", ["bot", "human"])
def test_a_post_has_five_attempts(
    scene: Turns, mode: str, failure: int | Exception, reason: str
) -> None:
    asked = scene.answer_with()
    scene.api.fail(failure, times=100)
    scene.say(mode=mode)
    scene.try_again(14)

    tried = [given["content"] == ANSWER for given in scene.api.attempts]
    assert tried == [True] * 5 + [False] * (5 if mode == "bot" else 0)
    assert (len(asked), scene.api.messages) == (1, [])
    assert scene.ending == ("dead", reason)


def test_the_number_of_attempts_and_the_default_mode_are_settings(
    make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    app = make_app(chatwoot, max_attempts=1, default_mode="bot")
    chatwoot.reply_provider(lambda text: ANSWER)
    api.fail(429)
    deliver(app.test_client(), message(mode=None))

    notes = [could_not("Chatwoot received too many requests.")]
    assert (ending_of(app), api.public) == (("dead", "rate_limited"), [])
    assert (api.notes, api.changes) == (notes, [HANDED_OFF])


def test_parts_that_were_posted_are_not_posted_again(scene: Turns) -> None:
    asked = scene.answer_with("\n\n".join(letter * 100_000 for letter in "abc"))

    def fail_once(_: Flask, *, post: Post) -> None:
        if post.content.startswith("b") and post.attempt == 1:
            scene.api.fail(500)

    with before_post.connected_to(fail_once, sender=scene.app):
        scene.say()
        assert [text[0] for text in scene.api.public] == ["a"]
        scene.try_again()

    assert [text[0] for text in scene.api.public] == ["a", "b", "c"]
    assert (len(asked), job_of(scene.app).attempts) == (1, 2)


@pytest.mark.parametrize(
    ("failures", "headers", "pause"),
    [(1, {}, 2), (4, {}, 432), (1, {"Retry-After": "500"}, 500)],
    ids=["the first pause", "pauses grow", "Retry-After"],
)
def test_a_post_that_failed_is_repeated_after_a_pause(
    scene: Turns, failures: int, headers: dict[str, str], pause: float
) -> None:
    scene.answer_with()
    # Unlike after a 500, nothing has to settle first.
    scene.api.fail(429, times=failures, headers=headers)
    scene.say()
    scene.try_again(failures - 1)

    scene.work(after=0.79 * pause)
    assert scene.api.public == []
    scene.work(after=0.42 * pause)
    assert scene.api.public == [ANSWER]


# -- failures that are final -----------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "attempts"),
    [(401, "unauthorized", 2), (403, "unauthorized", 1), (404, "not_found", 1)],
)
def test_what_chatwoot_refuses_is_dead_and_not_posted_again(
    scene: Turns,
    caplog: pytest.LogCaptureFixture,
    status: int,
    reason: str,
    attempts: int,
) -> None:
    scene.answer_with()
    scene.api.fail(status, times=10)
    scene.say()
    scene.try_again(2)

    assert scene.ending == ("dead", reason)
    assert (len(scene.api.attempts), scene.api.changes) == (attempts, [])
    assert f"is dead ({reason})" in caplog.text


@pytest.mark.parametrize("times", [1, 10], ids=["the reply", "the reply and the note"])
def test_what_is_not_accepted_is_explained_in_one_note(
    scene: Turns, times: int
) -> None:
    scene.answer_with()
    scene.api.fail(422, times=times)
    scene.say()
    scene.try_again()

    assert [(sent["private"], sent["content"]) for sent in scene.api.attempts] == [
        (False, ANSWER),
        (True, could_not("Chatwoot did not accept its message.")),
    ]
    assert scene.api.changes == [HANDED_OFF]
    assert [scene.ending] == scene.endings == [("dead", "refused")]


# -- crashes ---------------------------------------------------------------------


def crash(scene: Turns, *, times: int, sent: bool = False) -> None:
    """End a worker several times, before or after it sent a request."""
    store = store_of(scene.app)

    for _ in range(times):
        job = store.queue.claim()
        assert job is not None
        drafts = job.drafts

        if sent and not drafts:
            drafts = tuple(store.outbox.keep(job, [DraftPart(ANSWER, False)]))

        for draft in drafts:
            store.outbox.sending(job, draft)

        scene.clock.advance(store.queue.lease)


@pytest.mark.sqlite
def test_after_a_crash_before_the_request_the_turn_is_answered(scene: Turns) -> None:
    scene.answer_with()
    scene.store()
    crash(scene, times=4)
    scene.work()

    assert scene.api.public == [ANSWER]


@pytest.mark.sqlite
@pytest.mark.parametrize(
    ("sent", "reason", "note"),
    [
        (False, "crashed", "Its process ended in the middle, on every attempt."),
        (True, "unconfirmed", "A reply was sent, but does not seem to have arrived."),
    ],
)
def test_a_turn_that_ends_every_worker_is_given_up(
    scene: Turns, sent: bool, reason: str, note: str
) -> None:
    asked = scene.answer_with()
    scene.store()
    crash(scene, times=5, sent=sent)
    scene.work()

    assert (asked, scene.api.public) == ([], [])
    assert scene.api.notes == [could_not(note)]
    assert scene.api.changes == [HANDED_OFF]
    assert [scene.ending] == scene.endings == [("dead", reason)]


@pytest.mark.parametrize("payload", [b"{", b'{"event": "webwidget_triggered"}'])
def test_an_unreadable_delivery_is_dead(scene: Turns, payload: bytes) -> None:
    scene.store(payload)
    scene.work()
    assert scene.ending == ("dead", "unreadable")


# -- evidence of a post ----------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "markers", "reason", "outcome"),
    [("bot", True, "outgoing", "replied"), ("human", False, "private", "noted")],
    ids=["reply with marker", "note without marker"],
)
def test_the_echo_of_a_post_is_evidence(
    scene: Turns, mode: str, markers: bool, reason: str, outcome: str
) -> None:
    scene.answer_with()
    scene.api.lists = 401
    scene.api.keeps_markers = markers
    scene.api.fail(requests.ReadTimeout(), stored=True)
    scene.say(mode=mode)
    answer = deliver(scene.client, echo(scene.api.messages[0]))
    assert answer.json == {"status": "ignored", "reason": reason}

    scene.try_again()
    assert (len(scene.api.attempts), scene.ending) == (1, (outcome, None))


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
def test_what_is_no_echo_is_no_evidence(scene: Turns, change: dict[str, t.Any]) -> None:
    scene.answer_with()
    scene.api.lists = 401
    scene.api.fail(requests.ReadTimeout())
    scene.say()
    seen = {"text": ANSWER, "id": 20001, "type": MessageType.OUTGOING, **change}
    scene.say(**seen)

    scene.try_again()
    assert (len(scene.api.attempts), scene.ending) == (2, ("replied", None))


def test_nothing_is_sent_while_a_request_may_still_be_obeyed(scene: Turns) -> None:
    scene.answer_with()
    scene.api.fail(requests.ReadTimeout())
    scene.say()
    scene.work(after=5)
    assert (job_of(scene.app).state, job_of(scene.app).attempts) == ("retrying", 1)

    # It is counted from when the request was given up.
    scene.work(after=runtime_of(scene.app).config.settle_time - 6)
    assert len(scene.api.attempts) == 1
    scene.work(after=1)
    assert scene.api.public == [ANSWER]


# -- signals ---------------------------------------------------------------------


def test_the_end_of_a_turn_is_sent_once_with_its_outcome(scene: Turns) -> None:
    scene.answer_with()
    scene.say()
    scene.say()

    (end,) = scene.ended
    assert isinstance(end["turn"], Turn)
    assert (end["turn"].message_id, scene.endings) == (9001, [("replied", None)])


@contextlib.contextmanager
def received(app: Flask, receive: t.Callable[..., None]) -> t.Iterator[None]:
    """Connect a receiver to every signal."""
    with contextlib.ExitStack() as stack:
        for each in (before_post, after_post, turn_finished):
            stack.enter_context(each.connected_to(receive, sender=app))

        yield


@pytest.mark.parametrize("error", [RuntimeError, ValueError, Cancelled])
def test_a_receiver_may_raise(scene: Turns, error: type[BaseException]) -> None:
    def receive(_: Flask, **values: t.Any) -> None:
        raise error

    scene.answer_with()

    with received(scene.app, receive):
        assert scene.say(id=9001).status_code == 202
        assert scene.say(id=9002).status_code == 202

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
    "422": (422, {"headers": {"X-Error": CANARY}}),
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


@pytest.mark.parametrize("situation", [*FAULTS, *REPLIES, "no provider"])
def test_no_log_quotes_a_turn(
    scene: Turns, audited: pytest.LogCaptureFixture, situation: str
) -> None:
    if situation in FAULTS:
        fault, values = FAULTS[situation]
        scene.api.fail(fault, **values)

    if situation != "no provider":
        scene.answer_with(REPLIES.get(situation, CANARY_ANSWER))

    deliver(scene.client, canaries())
    scene.try_again(6)
    scene.ask_for_suggestion("token-of-a-page")

    assert audited.records


def test_no_log_quotes_a_refusal(
    scene: Turns, audited: pytest.LogCaptureFixture
) -> None:
    deliver(scene.client, b'{"' + CANARY.encode())
    deliver(scene.client, {**canaries(), "id": CANARY})
    deliver(scene.client, {**canaries(), "content": {CANARY: 1}})
    scene.client.post(WEBHOOK, **signed(canaries(), secret="wrong"))
    scene.client.post(WEBHOOK, **signed(canaries(), age=1e6))
    scene.client.post(f"{WEBHOOK}?token={CANARY}", json=canaries())
    scene.ask_for_suggestion(CANARY)

    assert len(audited.records) >= 7


@pytest.mark.sqlite
def test_no_log_quotes_what_the_database_could_not_store(
    scene: Turns, audited: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: t.Any, **__: t.Any) -> None:
        raise sqlite3.OperationalError(CANARY)

    scene.answer_with(CANARY_ANSWER)
    monkeypatch.setattr(store_of(scene.app).outbox, "keep", broken)
    deliver(scene.client, canaries())
    assert "the job failed: sqlite3.OperationalError" in audited.text

    database_of(scene.app).close()
    Path(database_of(scene.app).path).write_text(f"no database {CANARY} " * 50)
    assert deliver(scene.client, canaries(id=9002)).status_code == 500


def test_no_repr_contains_text_or_secrets(scene: Turns) -> None:
    scene.answer_with(CANARY_ANSWER)
    scene.api.fail(requests.ReadTimeout())
    app, runtime = scene.app, runtime_of(scene.app)

    with recorded(before_post, app) as begun, recorded(after_post, app) as posted:
        file = {"data_url": f"https://x.test/{CANARY}"}
        deliver(scene.client, canaries(attachments=(file,)))
        scene.try_again()

    assert begun
    assert posted
    assert scene.ended
    kept = store_of(app).outbox.under_way(42, message_id=2**62)
    shown = repr((begun, posted, scene.ended, jobs_of(app), kept, runtime))
    shown += repr((runtime.config, runtime.components))
    assert BASE_URL in shown
    assert [secret for secret in SECRETS if secret in shown] == []
