"""The playground loads an app anew when its code changes, and keeps what was said."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import typing as t
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from support.commands import spawn
from support.playground import QUESTION, Page
from support.waiting import wait_until

pytestmark = pytest.mark.slow

CODE: t.Final = """\
import sys
from flask import Flask
from flask_chatwoot import Chatwoot

app = Flask("host", instance_path={folder!r})
chatwoot = Chatwoot(app)

@chatwoot.reply_provider
def answer(text):
    return {answer!r}
"""


class Program:
    """The code of an app that a developer changes."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "changing.py"
        self._folder = folder
        self._saved = 0

    def answers(self, answer: str) -> None:
        self.save(CODE.format(folder=str(self._folder / "instance"), answer=answer))

    def save(self, code: str) -> None:
        self.path.write_text(code, encoding="utf-8")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    program = Program(tmp_path)
    program.answers("Old.")
    return program


@pytest.fixture
def process(program: Program) -> Iterator[subprocess.Popen[str]]:
    options = {"PYTHONUNBUFFERED": 1, "PYTHONDONTWRITEBYTECODE": 1}
    arguments = ("playground", "--port", "0")

    with spawn(str(program.path), *arguments, **options) as process:
        yield process
        process.terminate()
        process.wait(30)


def line(process: subprocess.Popen[str], begin: str) -> str:
    """Read until a line begins so; the rest of that line."""
    assert process.stdout

    for each in process.stdout:
        if each.startswith(begin):
            return each.removeprefix(begin).strip()

    pytest.fail(f"There is no line that begins with {begin!r}.")


@contextlib.contextmanager
def looking(address: str) -> Iterator[Page]:
    with contextlib.closing(Page(address)) as page:
        page.wait_until(lambda: "about" in page.known)
        yield page


def test_a_conversation_goes_on_with_the_new_code(
    program: Program, process: subprocess.Popen[str]
) -> None:
    address = line(process, "Playground: ")

    with looking(address) as page:
        page.begin_and_wait()
        first = page.known

    program.answers("New.")
    line(process, "A file has changed.")
    assert line(process, "Playground: ") == address

    with looking(address) as page:
        assert page.known["about"] == first["about"]
        assert page.conversation() == first["conversation 1"]
        assert page.replies() == ["Old."]
        page.talk(1, "customer", text=QUESTION)
        page.wait_until(lambda: page.replies() == ["Old.", "New."])
        page.wait_until(lambda: outcomes(page) == ["replied", "replied"])


def test_nothing_is_served_any_more_when_the_command_was_killed(
    process: subprocess.Popen[str],
) -> None:
    address = line(process, "Playground: ")
    process.kill()

    def is_refused() -> bool:
        with contextlib.suppress(requests.ConnectionError):
            requests.get(address, timeout=5)
            return False

        return True

    wait_until(is_refused)


def outcomes(page: Page) -> list[str]:
    """How the turns ended."""
    return [line["turn"]["outcome"] for line in page.deliveries() if line["turn"]]


def test_broken_code_is_loaded_once_it_is_mended(
    program: Program, process: subprocess.Popen[str]
) -> None:
    address = line(process, "Playground: ")

    with looking(address) as page:
        page.begin_and_wait()

    program.save("def broken(:")
    line(process, "The app could not be loaded.")
    program.answers("Mended.")
    assert line(process, "Playground: ") == address

    with looking(address) as page:
        page.talk(1, "customer", text=QUESTION)
        page.wait_until(lambda: page.replies() == ["Old.", "Mended."])


def test_an_app_that_cannot_be_loaded_at_first_ends_the_command(
    program: Program, tmp_path: Path
) -> None:
    program.save("def broken(:")

    with spawn(str(program.path), "playground", "--port", "0") as process:
        assert process.wait(30) != 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_command_and_its_child(
    program: Program, process: subprocess.Popen[str], number: signal.Signals
) -> None:
    address = line(process, "Playground: ")
    process.send_signal(number)

    assert process.wait(30) == 0
    with pytest.raises(requests.ConnectionError):
        requests.get(address, timeout=5)
