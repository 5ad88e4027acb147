"""``flask chatwoot ask``."""

from __future__ import annotations

import threading
import typing as t
from pathlib import Path

import pytest
from flask import Flask, current_app
from support.apps import AppFactory, runtime_of, store_of
from support.chatwoot import ChatwootStub
from support.commands import run

from flask_chatwoot import Chatwoot, GiveUp, Mode, Reply, Turn
from flask_chatwoot.payloads.conversation import Contact

QUESTION = "Where is my order?"
NAME = "Ada Lovelace"


@pytest.fixture
def bare(tmp_path: Path, chatwoot: Chatwoot) -> Flask:
    """An app without any configuration of Chatwoot."""
    app = Flask("bare", instance_path=str(tmp_path / "instance"))
    chatwoot.init_app(app)
    return app


def ask(app: Flask, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    result = run(app, "ask", *arguments)
    return result.exit_code, result.stdout, result.stderr


async def awaited(text: str) -> str:
    return "Awaited."


def print_and_reply(text: str) -> str:
    print("thinking")  # noqa: T201 - what this is about
    return "On its way."


@pytest.mark.parametrize(
    ("provider", "stdout", "stderr"),
    [
        (lambda text: f"You said {text}", f"You said {QUESTION}\n", ""),
        (lambda text: Reply("Two\nlines.", private=True), "Two\nlines.\n", ""),
        (
            lambda text: [
                Reply("Which?", choices=["Red", ("Blue", "b")]),
                Reply(attachments=["/nowhere/a.png", ("b.pdf", b"", "text/plain")]),
                Reply("See it.", attachments=["/nowhere/c.png"]),
            ],
            "Which?\n- Red\n- Blue\n\n[file: a.png]\n[file: b.pdf]\n\n"
            "See it.\n[file: c.png]\n",
            "",
        ),
        (lambda text: None, "", ""),
        (lambda text: " \n", "", ""),
        (awaited, "Awaited.\n", ""),
        (print_and_reply, "On its way.\n", "thinking\n"),
    ],
    ids=["str", "Reply", "choices and files", "None", "blank", "async", "prints"],
)
def test_stdout_has_the_answer_and_nothing_else(
    bare: Flask, chatwoot: Chatwoot, provider: t.Any, stdout: str, stderr: str
) -> None:
    chatwoot.reply_provider(provider)
    assert ask(bare, QUESTION) == (0, stdout, stderr)


@pytest.mark.parametrize(
    ("option", "mode"),
    [((), Mode.BOT), *((("--mode", mode.value), mode) for mode in Mode)],
)
def test_the_provider_of_the_mode_is_called(
    bare: Flask, chatwoot: Chatwoot, option: tuple[str, ...], mode: Mode
) -> None:
    seen: list[Turn] = []

    @chatwoot.reply_provider(mode=mode)
    def reply(text: str, turn: Turn) -> str:
        seen.append(turn)
        return current_app.name

    chatwoot.reply_provider(lambda text: "Not called.")

    assert ask(bare, QUESTION, *option)[1] == "bare\n"
    assert seen == [Turn(text=QUESTION, mode=mode, contact=Contact(name=NAME))]


@pytest.mark.parametrize("command", ["ask", "simulate"])
def test_a_provider_may_use_the_name_of_the_contact(
    bare: Flask, chatwoot: Chatwoot, command: str
) -> None:
    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        return f"Hello {turn.contact.name}!"

    assert f"Hello {NAME}!\n" in run(bare, command, QUESTION).stdout


RAISED = "Error: The reply provider raised "


def raise_error(text: str) -> str:
    raise LookupError(text)


def give_up(text: str) -> str:
    raise GiveUp("no quota")


def return_number(text: str) -> int:
    return 42


@pytest.mark.parametrize(
    ("provider", "question", "code", "texts"),
    [
        (
            None,
            QUESTION,
            1,
            ["Error: No reply provider is registered; decorate a function with"],
        ),
        (
            raise_error,
            QUESTION,
            1,
            [f"{RAISED}LookupError", f"LookupError: {QUESTION}\n"],
        ),
        (
            return_number,
            QUESTION,
            1,
            ["Error: The reply provider return_number returned int;"],
        ),
        (
            give_up,
            QUESTION,
            1,
            ["Error: The reply provider gave up. Reason: no quota\n"],
        ),
        (lambda text: "Yes?", " ", 2, ["Usage: ", "The text is blank"]),
    ],
    ids=["no provider", "provider raises", "no reply", "gives up", "blank text"],
)
def test_an_error_is_reported_as_a_whole(
    bare: Flask,
    chatwoot: Chatwoot,
    provider: t.Any,
    question: str,
    code: int,
    texts: list[str],
) -> None:
    if provider is not None:
        chatwoot.reply_provider(provider)

    actual, stdout, stderr = ask(bare, question)

    assert (actual, stdout) == (code, "")
    assert stderr.startswith(texts[0])
    assert texts[-1] in stderr
    assert ("Traceback" in stderr) is (provider is raise_error)


def test_providers_of_single_inboxes_are_not_asked(
    bare: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(inbox_id=3)(lambda text: "Yes?")

    assert ask(bare, QUESTION) == (
        1,
        "",
        "Error: No reply provider is registered for mode bot and all inboxes; each has "
        "another mode, or an inbox_id.\n",
    )


def test_nothing_is_posted_stored_or_started(
    api: ChatwootStub, make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    app = make_app(chatwoot, backend="thread")
    threads: list[set[threading.Thread]] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        threads.append({*threading.enumerate()})
        return "On its way."

    before = {*threading.enumerate()}

    assert ask(app, QUESTION)[1] == "On its way.\n"
    assert [seen <= before for seen in threads] == [True]
    assert api.attempts == []
    assert not Path(runtime_of(app).config.database_path).exists()
    assert store_of(app).inspection.jobs() == []
