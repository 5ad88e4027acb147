"""An app in front of the simulator, over real HTTP, and the command that does it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask, request
from support.apps import AppFactory, components_of, jobs_of
from support.commands import outcome

from flask_chatwoot import Chatwoot, Mode, Reply
from flask_chatwoot.errors import PermanentError
from flask_chatwoot.hosting import converse, hosted
from flask_chatwoot.simulator import Fault, Simulator
from flask_chatwoot.workers import ThreadBackend

QUESTION = "Where is my order?"


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """Without any configuration of Chatwoot."""
    return Flask("host", instance_path=str(tmp_path / "instance"))


@pytest.fixture
def chatwoot(app: Flask) -> Chatwoot:
    return Chatwoot(app)


def transcript(customer: list[str], operators: list[str]) -> str:
    return "\n".join(
        ["What the customer sees", *customer, "", "What operators see", *operators, ""]
    )


def fail(text: str) -> str:
    raise ValueError(text)


ECHO = "You said:\n{}".format
ASKED = f"  customer  {QUESTION}"
ANSWERED = [ASKED, "  bot       On its way."]
NOTED = [ASKED, "  note      On its way."]
TWO_LINES = [
    *("  customer  Hello", "  bot       You said:", "            Hello"),
    *("  customer  Goodbye", "  bot       You said:", "            Goodbye"),
]


@pytest.mark.parametrize(
    ("reply", "args", "code", "expected"),
    [
        ("On its way.", [QUESTION], 0, transcript(ANSWERED, ANSWERED)),
        ("On its way.", [QUESTION, "--mode=human"], 0, transcript([ASKED], NOTED)),
        (ECHO, ["Hello", "Goodbye"], 0, transcript(TWO_LINES, TWO_LINES)),
        (None, [QUESTION], 0, transcript([ASKED], [ASKED])),
        (
            *(None, [QUESTION], 0),
            "\nNothing was posted for text 1: declined, because: no_answer. The "
            "provider returned None or blank text.\n",
        ),
        (fail, [QUESTION], 1, "Error: No answer: provider_failed. See the log."),
        ("On its way.", [QUESTION, " "], 2, "A text is blank"),
    ],
    ids=[
        *("bot mode", "human mode", "two texts", "no answer", "why no answer"),
        *("failure", "blank text"),
    ],
)
def test_the_command_shows_the_conversation_or_what_was_wrong(
    chatwoot: Chatwoot, app: Flask, reply: t.Any, args: t.Any, code: int, expected: str
) -> None:
    chatwoot.reply_provider(lambda text: reply(text) if callable(reply) else reply)
    exit_code, output = outcome(app, "simulate", *args)
    assert exit_code == code
    assert expected in output


def of_the_wrong_type(text: str) -> t.Any:
    return [text, 42]


def with_an_unreadable_file(text: str) -> Reply:
    return Reply(attachments=["/nowhere/4711.pdf"])


def with_a_right_that_is_missing(text: str) -> str:
    raise PermanentError("no", endpoint="GET /api")


@pytest.mark.parametrize(
    ("provider", "printed", "logged"),
    [
        (
            of_the_wrong_type,
            "",
            "of_the_wrong_type returned a list that holds int; return text, a Reply",
        ),
        (
            with_an_unreadable_file,
            "FileNotFoundError: [Errno 2] No such file or directory: "
            "'/nowhere/4711.pdf'\n",
            "Attachment 1 cannot be read: No such file or directory.",
        ),
        (
            with_a_right_that_is_missing,
            'in with_a_right_that_is_missing\n    raise PermanentError("no", ',
            "The reply provider raised flask_chatwoot.errors.PermanentError at",
        ),
    ],
)
def test_only_what_the_hosts_code_raised_has_a_traceback(
    chatwoot: Chatwoot,
    app: Flask,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    provider: t.Any,
    printed: str,
    logged: str,
) -> None:
    chatwoot.reply_provider(provider)

    converse(app, [QUESTION], mode=Mode.BOT, timeout=20)

    stderr = capfd.readouterr().err
    assert printed in stderr if "raise" in printed else stderr == printed
    assert logged in caplog.text


def test_files_and_choices_are_shown(app: Flask, chatwoot: Chatwoot) -> None:
    file = Reply(attachments=[("4711.pdf", b"%PDF", "application/pdf")])
    chatwoot.reply_provider(lambda text: [file, Reply("Which?", choices=["A", "B"])])
    _, output = outcome(app, "simulate", QUESTION)
    assert output.count("  bot       [4711.pdf]\n  bot       Which? [A] [B]\n") == 2


def test_a_delivery_that_the_app_refuses_is_an_error(app: Flask) -> None:
    Chatwoot(app)
    app.before_request(lambda: ("Log in first.", 403))
    code, output = outcome(app, "simulate", QUESTION)
    assert (code, "Error: The app answered 403 to the delivery" in output) == (1, True)


def test_the_hosts_own_settings_are_not_used(app: Flask, tmp_path: Path) -> None:
    secrets = ("API_ACCESS_TOKEN", "WEBHOOK_SECRET", "WEBHOOK_TOKEN", "COPILOT_TOKEN")
    app.config.update({f"CHATWOOT_{name}": f"real-{name}" for name in secrets})
    app.config.update(
        CHATWOOT_BASE_URL="http://chatwoot.invalid",
        CHATWOOT_ACCOUNT_ID=7,
        CHATWOOT_DATABASE_URL=f"sqlite:///{tmp_path / 'real.sqlite3'}",
        CHATWOOT_WORKERS=0,
    )
    Chatwoot(app).reply_provider(lambda text: Reply("Yes.", private=True))
    own = app.extensions["chatwoot"]

    with Simulator() as sim, hosted(app, sim) as webhook:
        talk = sim.conversation(custom_attributes={"support_mode": "bot"})
        talk.customer_says("There?")
        sim.wait_until(lambda: talk.notes)
        assert requests.post(webhook, data=b"{}", timeout=5).status_code == 401

    assert app.extensions["chatwoot"] is own
    assert not (tmp_path / "real.sqlite3").exists()
    assert {call.token for call in sim.calls} == {"user"}


def test_the_composer_asks_the_app_with_a_key_of_its_own(app: Flask) -> None:
    app.config["CHATWOOT_COPILOT_TOKEN"] = "real-token"
    Chatwoot(app)
    keys: list[str | None] = []

    @app.before_request
    def stand_in() -> t.Any:
        keys.append(request.headers.get("Authorization"))
        return {"choices": [{"message": {"content": request.path}}]}

    with Simulator() as sim, hosted(app, sim):
        key = app.extensions["chatwoot"].config.copilot_token[0]
        got = sim.suggest_reply(sim.conversation())

    assert (got.text, got.error) == ("/chatwoot/v1/chat/completions", None)
    assert keys == [f"Bearer {key}"] != ["Bearer real-token"]


def test_a_configured_postgresql_database_is_not_used(app: Flask) -> None:
    app.config.update(
        CHATWOOT_BASE_URL="http://chatwoot.invalid",
        CHATWOOT_ACCOUNT_ID=7,
        CHATWOOT_API_ACCESS_TOKEN="token",
        CHATWOOT_DATABASE_URL="postgresql://me@127.0.0.1:1/shop",
    )
    Chatwoot(app).reply_provider(lambda text: "Yes.")
    _, endings = converse(app, ["There?"], mode=Mode.BOT, timeout=20)

    assert [ending[0] for ending in endings] == ["replied"]


def test_endings_of_an_app_with_one_inbox_come_in_order(app: Flask) -> None:
    answers: t.Iterator[str | None] = iter(["One.", None])
    app.config["CHATWOOT_INBOXES"] = "7"
    Chatwoot(app).reply_provider(lambda text: next(answers))
    _, endings = converse(app, ["1", "2"], mode=Mode.HUMAN, timeout=20)

    ended = [tuple(ending[:2]) for ending in endings]
    assert ended == [("noted", None), ("declined", "no_answer")]


@pytest.mark.parametrize("token", ["user", "bot"])
@pytest.mark.parametrize("version", ["4.2.0", "4.8.0", "4.10.0", "4.12.0", "4.16.2"])
def test_every_version_is_answered_once_though_the_connection_is_cut(
    app: Flask, chatwoot: Chatwoot, version: str, token: str
) -> None:
    """With a marker or without, by the list or by the echo, signed or not."""
    asked: list[str] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        asked.append(text)
        return "Write to {{contact.email}}, or `{{this}}`."

    with Simulator(version=version) as sim:
        own = getattr(sim, f"{token}_token")
        quick: t.Any = {"retry_pause": 0.05, "timeout": 0.5, "settle_time": 1.5}

        with hosted(app, sim, api_access_token=own, **quick):
            sim.inject(Fault.CUT_AFTER)
            talk = sim.conversation(custom_attributes={"support_mode": "bot"})
            talk.customer_says(QUESTION)
            sim.wait_until(lambda: [job for job in jobs_of(app) if job.outcome])

    assert asked == [QUESTION]
    assert talk.replies == ["Write to {{contact.email}}, or `{{this}}`."]


def test_the_apps_own_workers_do_not_start_before_the_simulator_has_left(
    make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    app = make_app(chatwoot, backend="thread")
    own = t.cast(ThreadBackend, components_of(app).backend)

    with Simulator() as simulator, hosted(app, simulator):
        hosting = t.cast(ThreadBackend, components_of(app).backend)
        app.test_client().get("/")
        assert (own.busy, hosting.busy) == (False, True)

    app.test_client().get("/")
    assert (own.busy, hosting.busy) == (True, False)
