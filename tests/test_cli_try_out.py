"""``flask chatwoot ask``, as a shell sees it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import Result
from flask import Flask, current_app
from support.apps import AppFactory, runtime_of, store_of
from support.chatwoot import ChatwootStub

from flask_chatwoot import Chatwoot, Mode, Reply, Turn

QUESTION = "Where is my order?"


@pytest.fixture
def bare(tmp_path: Path, chatwoot: Chatwoot) -> Flask:
    """An app without any configuration of Chatwoot."""
    app = Flask("bare", instance_path=str(tmp_path / "instance"))
    chatwoot.init_app(app)

    return app


def ask(app: Flask, *arguments: str) -> Result:
    return app.test_cli_runner().invoke(args=["chatwoot", "ask", *arguments])


def test_the_answer_is_printed_and_nothing_else(
    bare: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: f"You said {text}")

    result = ask(bare, QUESTION)

    assert result.exit_code == 0
    assert result.stdout == f"You said {QUESTION}\n"
    assert result.stderr == ""


def test_the_content_of_a_reply_is_printed(bare: Flask, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: Reply("Two\nlines.", private=True))

    assert ask(bare, QUESTION).stdout == "Two\nlines.\n"


@pytest.mark.parametrize("answer", [None, "", " \n"])
def test_no_answer_prints_nothing(
    bare: Flask, chatwoot: Chatwoot, answer: str | None
) -> None:
    chatwoot.reply_provider(lambda text: answer)

    result = ask(bare, QUESTION)

    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("mode", list(Mode))
def test_the_provider_of_the_mode_is_asked(
    bare: Flask, chatwoot: Chatwoot, mode: Mode
) -> None:
    seen: list[Turn] = []

    @chatwoot.reply_provider(mode=mode)
    def reply(text: str, turn: Turn) -> str:
        seen.append(turn)
        return current_app.name

    @chatwoot.reply_provider
    def other(text: str) -> str:
        return "Not asked."

    result = ask(bare, QUESTION, "--mode", mode.value)

    assert result.stdout == "bare\n"
    assert seen == [Turn(text=QUESTION, mode=mode)]


def test_the_mode_is_bot_by_default(bare: Flask, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(mode="bot")(lambda text: "Bot.")

    assert ask(bare, QUESTION).stdout == "Bot.\n"
    assert ask(bare, QUESTION, "--mode", "human").exit_code == 1


def test_an_async_provider_is_awaited(bare: Flask, chatwoot: Chatwoot) -> None:
    @chatwoot.reply_provider
    async def reply(text: str) -> str:
        return "Awaited."

    assert ask(bare, QUESTION).stdout == "Awaited.\n"


def test_what_the_provider_prints_goes_to_stderr(
    bare: Flask, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> str:
        print("thinking")  # noqa: T201 - what this is about
        return "On its way."

    result = ask(bare, QUESTION)

    assert result.stdout == "On its way.\n"
    assert result.stderr == "thinking\n"


def test_without_a_provider_it_fails_with_a_sentence(bare: Flask) -> None:
    result = ask(bare, QUESTION)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "Error: No reply provider is registered for mode bot.\n"


def test_the_error_of_a_provider_is_reported_without_its_text(
    bare: Flask, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> str:
        raise LookupError(text)

    result = ask(bare, QUESTION)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(
        "Error: The reply provider raised builtins.LookupError\n"
    )
    assert "in reply" in result.stderr
    assert QUESTION not in result.stderr.replace("raise LookupError(text)", "")


def test_an_answer_that_is_not_a_reply_is_reported(
    bare: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: 42)

    result = ask(bare, QUESTION)

    assert (result.exit_code, result.stdout) == (1, "")
    assert "Error: A reply provider returned int;" in result.stderr


def test_a_blank_text_is_refused(bare: Flask, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: "Yes?")

    result = ask(bare, " ")

    assert (result.exit_code, result.stdout) == (2, "")
    assert "The text is blank" in result.stderr


def test_nothing_is_posted_stored_or_started(
    api: ChatwootStub, make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    app = make_app(chatwoot, backend="thread")
    threads: set[threading.Thread] = set()

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        threads.update(threading.enumerate())
        return "On its way."

    before = {*threading.enumerate()}
    result = ask(app, QUESTION)

    assert result.stdout == "On its way.\n"
    assert api.attempts == []
    assert not Path(runtime_of(app).config.database_path).exists()
    assert threads
    assert threads <= before
    assert store_of(app).inspection.jobs() == []


def test_the_command_prints_the_answer_alone_in_a_shell(tmp_path: Path) -> None:
    """Of an app that is not configured."""
    (tmp_path / "myapp.py").write_text(
        "from flask import Flask\n"
        "from flask_chatwoot import Chatwoot\n"
        "app = Flask(__name__)\n"
        "chatwoot = Chatwoot(app)\n"
        "chatwoot.reply_provider(lambda text: f'Re: {text} \\u2713')\n"
    )
    result = subprocess.run(
        [
            *(sys.executable, "-X", "utf8", "-m", "flask", "--app", "myapp"),
            *("chatwoot", "ask", QUESTION, "--mode", "bot"),
        ],
        cwd=tmp_path, capture_output=True, check=True, timeout=60,
    )  # fmt: skip

    assert result.stdout.decode().splitlines() == [f"Re: {QUESTION} ✓"]
