"""Log lines: what each is about, and how many there are."""

from __future__ import annotations

import logging
import typing as t

import pytest
from flask import Flask
from support.apps import AppFactory, components_of
from support.chatwoot import ChatwootStub
from support.deliveries import deliver, message

from flask_chatwoot import Chatwoot, Handoff, NoReply, Reply
from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.hosting import converse
from flask_chatwoot.logs import SUBJECT, about, logger
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.queue.jobs import Queue
from flask_chatwoot.queue.sweeps import Sweeps

log = logger("flask_chatwoot.of_a_test")


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "flask_chatwoot")
    return caplog


def test_a_line_begins_with_what_it_is_about(caplog: pytest.LogCaptureFixture) -> None:
    log.info("of nothing")

    with about(42, 7):
        log.info("it %s in %d s", "failed", 3)

        with about(42):
            log.info("the same turn")

        with about(None):
            log.info("still the same")

        with about(43):
            log.info("100 % of another")

    log.info("of nothing %s", "again")

    assert caplog.messages == [
        "of nothing",
        "conversation 42, job 7: it failed in 3 s",
        "conversation 42, job 7: the same turn",
        "conversation 42, job 7: still the same",
        "conversation 43: 100 % of another",
        "of nothing again",
    ]


def test_the_lines_of_a_statement_have_one_template(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number in (1, 2):
        with about(number, number):
            log.info("it failed after %d s", number)

    records = caplog.records
    assert {each.msg for each in records} == {
        "conversation %s, job %s: it failed after %d s"
    }
    assert {each.funcName for each in records} == {
        "test_the_lines_of_a_statement_have_one_template"
    }


def raise_error(text: str) -> t.NoReturn:
    raise LookupError(text)


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("On its way.", "replied"),
        (Reply("For operators.", private=True), "noted"),
        (Handoff(), "handed_off"),
        (NoReply(), "declined (no_reply)"),
        (None, "declined (no_answer)"),
    ],
    ids=["reply", "note", "hand-off", "no reply", "no answer"],
)
def test_a_turn_has_one_line(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
    answer: t.Any,
    line: str,
) -> None:
    chatwoot.reply_provider(lambda text: answer)
    client = make_app(chatwoot).test_client()

    for number in (1, 2):
        deliver(client, message("Hello", id=number, conversation_id=40 + number))

    assert caplog.messages == [
        f"conversation {40 + number}, job {number}: {line}" for number in (1, 2)
    ]
    assert {each.levelname for each in caplog.records} == {"INFO"}


@pytest.mark.parametrize("mode", Mode)
def test_a_simulation_has_one_line_a_turn(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    caplog: pytest.LogCaptureFixture,
    mode: Mode,
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")

    converse(make_app(chatwoot), ["One", "Two", "Three"], mode=mode, timeout=30)

    outcome = "replied" if mode is Mode.BOT else "noted"
    lines = [each.getMessage() for each in caplog.records if each.levelname == "INFO"]
    assert [line.partition(" (")[0] for line in lines] == [
        f"conversation 1, job {number}: {outcome}" for number in (1, 2, 3)
    ]


def test_every_line_of_a_turn_that_fails_names_it(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
) -> None:
    chatwoot.reply_provider(raise_error)
    deliver(make_app(chatwoot, max_attempts=1).test_client(), message("Hi", id=1))

    assert [text for text in caplog.messages if "conversation 42, job 1: " in text] == (
        caplog.messages
    )
    levels = [each.levelname for each in caplog.records]
    assert (levels.count("INFO"), levels.count("ERROR")) == (1, 1)
    assert caplog.messages[0].startswith(
        "conversation 42, job 1: the job is dead (provider_failed): "
    )
    assert caplog.messages[-1] == "conversation 42, job 1: dead (provider_failed)"


def failing(*_: t.Any, **__: t.Any) -> t.NoReturn:
    raise DatabaseError("The disk is gone.")


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ((Queue, "put"), "a delivery was not stored: The disk is gone."),
        ((Sweeps, "delivered"), "a verified delivery was not noted: The disk is gone."),
    ],
    ids=["store", "note"],
)
def test_a_delivery_names_its_conversation(
    app: Flask,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    place: tuple[type, str],
    line: str,
) -> None:
    monkeypatch.setattr(*place, failing)
    deliver(app.test_client(), message("Hi", id=1))

    assert f"conversation 42: {line}" in caplog.messages
    assert SUBJECT.get() is None


def test_the_host_s_posts_name_their_conversation(
    app: Flask,
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = components_of(app).host_client
    monkeypatch.setattr(client._posts, "made", failing)
    client.create_message(43, "Hello")

    assert caplog.messages == [
        "conversation 43: what the host did in Chatwoot was not recorded: "
        "The disk is gone."
    ]
