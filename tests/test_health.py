"""``GET /chatwoot/health``: how the work goes, for monitoring."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.apps import AppFactory, components_of, database_of, store_of, work
from support.chatwoot import ChatwootStub
from support.databases import set_clock
from support.deliveries import deliver, message
from support.waiting import Clock, wait_until
from werkzeug.test import TestResponse

from flask_chatwoot import Chatwoot
from flask_chatwoot.errors import DatabaseError

JSON = dict[str, t.Any]

TOKEN = "token-of-the-monitoring"


def ask(app: Flask, token: str | None = TOKEN) -> TestResponse:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return app.test_client().get("/chatwoot/health", headers=headers)


@pytest.fixture
def app(make_app: AppFactory, chatwoot: Chatwoot) -> Flask:
    return make_app(chatwoot, backend="thread", workers=0, health_token=TOKEN)


def test_without_a_token_set_there_is_no_such_page(make_app: AppFactory) -> None:
    assert ask(make_app()).status_code == 404


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN + "x", "ключ"])
def test_without_the_token_the_answer_is_401(app: Flask, token: str | None) -> None:
    if token is not None:
        token = token.encode().decode("latin-1")

    answer = ask(app, token)

    said = {"error": "The bearer token is missing or wrong."}
    assert (answer.status_code, answer.json) == (401, said)
    assert answer.headers["WWW-Authenticate"] == "Bearer"


EMPTY: JSON = {"oldest": None, "states": {}, "outcomes": {}, "workers": 0}


@pytest.mark.parametrize(
    ("base_url", "status", "seen"),
    [
        ("https://chatwoot.test", 200, {"status": "ok", **EMPTY}),
        (None, 503, {"status": "not_configured"}),
    ],
)
def test_an_app_with_an_empty_database_is_ok_if_it_is_configured(
    make_app: AppFactory, base_url: str | None, status: int, seen: JSON
) -> None:
    answer = ask(make_app(base_url=base_url, health_token=TOKEN))
    assert (answer.status_code, answer.json) == (status, seen)


def test_what_is_done_is_counted_by_outcome(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: None if "not" in text else "On its way.")

    for number, text in enumerate(("Where is it?", "Do not answer", "And now?"), 1):
        deliver(app.test_client(), message(text, id=number, conversation_id=number))

    work(app)
    seen: t.Any = ask(app).json

    assert seen["outcomes"] == {"replied": 2, "declined": 1}
    assert (seen["states"], seen["oldest"]) == ({"done": 3}, None)


@pytest.fixture
def still(app: Flask, clock: Clock) -> Clock:
    """The database's clock, standing still."""
    set_clock(database_of(app), clock)
    return clock


def report_a_worker(app: Flask) -> None:
    """As a process with workers does from time to time."""
    store_of(app).inspection.report("a", 1)


def test_the_status_is_late_if_a_job_waits_too_long(app: Flask, still: Clock) -> None:
    deliver(app.test_client(), message())
    still.advance(299)
    report_a_worker(app)
    assert ask(app).status_code == 200

    still.advance(2)
    answer = ask(app)
    seen: t.Any = answer.json

    assert (answer.status_code, seen["status"]) == (503, "late")
    assert seen["states"] == {"ready": 1}
    assert seen["oldest"] == pytest.approx(301)


def test_the_status_is_late_after_a_minute_if_no_worker_runs(
    app: Flask, still: Clock
) -> None:
    report_a_worker(app)
    deliver(app.test_client(), message())
    still.advance(59)
    assert ask(app).status_code == 200

    still.advance(3)
    answer = ask(app)
    assert (answer.status_code, t.cast(JSON, answer.json)["status"]) == (503, "late")

    report_a_worker(app)
    assert ask(app).status_code == 200


def test_where_turns_run_in_requests_no_worker_is_missed(
    make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub, clock: Clock
) -> None:
    app = make_app(chatwoot, health_token=TOKEN)
    chatwoot.reply_provider(lambda text: "On its way.")
    set_clock(database_of(app), clock)
    api.fail(500)
    deliver(app.test_client(), message())
    clock.advance(100)
    answer = ask(app)

    assert (answer.status_code, t.cast(JSON, answer.json)["states"]) == (
        200,
        {"ready": 1},
    )


def test_a_worker_counts_until_it_stops(
    make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    app = make_app(chatwoot, backend="thread", workers=3, health_token=TOKEN)

    def workers() -> int:
        seen: t.Any = ask(app).json
        return int(seen["workers"])

    ask(app)
    assert wait_until(workers) == 3

    components_of(app).backend.stop()
    assert workers() == 0


def test_a_failover_of_the_database_is_a_line(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = database_of(app)
    monkeypatch.setattr(database, "failover_age", lambda: 12.5)
    answer = ask(app)

    assert answer.json is not None
    assert (answer.status_code, answer.json["failover"]) == (200, 12.5)


def test_a_database_that_cannot_be_read_is_said(
    app: Flask, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> t.NoReturn:
        raise DatabaseError("The disk is gone.")

    monkeypatch.setattr(database_of(app), "failover_age", fail)
    answer = ask(app)

    assert (answer.status_code, answer.json) == (503, {"status": "no_database"})
    assert "health: The disk is gone." in caplog.text
