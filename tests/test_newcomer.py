"""The console blocks of the README, as a newcomer runs them.

A block after the comment ``.. for your server`` is an example for a server of one's
own, such as a unit of systemd, and is not run.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import requests
from support.postgresql import free_port
from support.waiting import wait_until

from flask_chatwoot.simulator import Simulator

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")

BLOCK = re.compile(
    r"(?m)^(\.\. for your server\n\n)? *\.\. code-block:: console\n\n((?:(?: +.*)?\n)+)"
)
PROMPT = re.compile(r"(?m)^ +\$ (.*)$")
SETTING = re.compile(r"(?m)^ *(CHATWOOT_\w+)=(.*)$")
OWN_URL = "https://app.example.com"

COMMANDS = [
    command
    for mark, block in BLOCK.findall(README)
    if not mark
    for command in PROMPT.findall(block)
]
"""Those that are run, in order."""

INSTALLS = [command for command in COMMANDS if "pip install" in command]
OTHERS = [command for command in COMMANDS if command not in INSTALLS]


class Terminal:
    """Runs commands as they are written, in a clone and a virtual environment.

    :ivar environment: Of the commands, which may be added to.
    """

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder / "clone"
        venv = folder / "venv"
        own = {"PYTHON", "PYTEST", "COVERAGE", "CHATWOOT", "FLASK", "VIRTUAL_ENV"}
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(tuple(own))
        }
        self.environment = kept | {
            "PATH": f"{venv / 'bin'}{os.pathsep}{kept['PATH']}",
            "PIP_COMPILE": "0",  # most of it is not imported here
            "PYTHONUNBUFFERED": "1",
            **environment,
        }
        clone = ["git", "clone", "--quiet", str(ROOT), str(self.folder)]
        subprocess.run(clone, check=True, timeout=60)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True, timeout=120)

    def start(self, command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", "-euc", command],  # noqa: S607
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str, typed: str = "", seconds: float = 60) -> str:
        """Run a command, which must succeed; its output."""
        process = self.start(command)

        try:
            output, _ = process.communicate(typed, timeout=seconds)
        finally:
            process.kill()

        assert process.returncode == 0, f"{command}\n{output}"

        return output


@contextlib.contextmanager
def website() -> t.Iterator[Simulator]:
    """A Chatwoot with one website."""
    with Simulator() as sim:
        websites = [
            number
            for number, inbox in sim.admin.inboxes.items()
            if inbox["channel_type"] == "Channel::WebWidget"
        ]

        for number in websites[1:]:
            del sim.admin.inboxes[number]

        yield sim


def open_playground(terminal: Terminal, command: str) -> None:
    """Start it, look at its page, and stop it with Ctrl-C."""
    with terminal.start(f"exec {command}") as process:
        try:
            assert process.stdout is not None
            [address] = re.findall(r"http://\S+", process.stdout.readline())
            assert requests.get(address, timeout=10).status_code == 200
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
        finally:
            process.kill()


@contextlib.contextmanager
def set_up(terminal: Terminal, sim: Simulator, command: str) -> t.Iterator[None]:
    """Let ``setup`` change Chatwoot, and restart the app with what it prints.

    Then a customer asks in conversation 42, as the README has it, and is answered.
    """
    url = f"http://127.0.0.1:{free_port()}"
    output = terminal.run(command.replace(OWN_URL, url), "y\n")
    settings = dict(SETTING.findall(output))
    assert "CHATWOOT_WEBHOOK_SECRET" in settings, output
    terminal.environment |= settings
    chosen = {"support_mode": "AI agent"}
    talk = sim.conversation(id=42, custom_attributes=chosen)

    with terminal.start(f"exec flask run --port {url.rpartition(':')[2]}") as server:
        try:
            wait_until(lambda: answers(url), 30)
            talk.customer_says("Where is my order?")
            wait_until(lambda: talk.replies, 30)
            yield
        finally:
            server.terminate()


def answers(url: str) -> bool:
    """Whether a server runs there."""
    try:
        return requests.get(url, timeout=5).status_code == 404
    except requests.ConnectionError:
        return False


def test_each_block_is_marked_or_run() -> None:
    blocks = BLOCK.findall(README)
    assert len(blocks) == README.count(".. code-block:: console")
    assert {bool(mark) for mark, _ in blocks} == {True, False}
    assert len(INSTALLS) == 2
    assert any("chatwoot setup" in command for command in OTHERS)


@pytest.mark.slow
def test_the_commands_of_the_readme_work_in_a_fresh_clone(tmp_path: Path) -> None:
    # The second command runs all tests; this is one of them.
    terminal = Terminal(tmp_path, PYTEST_ADDOPTS="--assert=plain --collect-only -qq")
    first, second = INSTALLS
    assert "bot       It leaves our warehouse" in terminal.run(first, seconds=300)
    assert "test_newcomer.py: " in terminal.run(second, seconds=600)

    with contextlib.ExitStack() as stack:
        sim = stack.enter_context(website())
        settings = {key: str(value) for key, value in sim.settings().items()}
        del settings["CHATWOOT_WEBHOOK_SECRET"]  # setup prints it
        terminal.environment |= settings
        terminal.environment |= {
            "FLASK_APP": "examples/quickstart.py",
            "FLASK_CHATWOOT_PLAYGROUND_PORT": "0",
        }

        for command in OTHERS:
            if "playground" in command:
                open_playground(terminal, command)
            elif "chatwoot setup" in command:
                stack.enter_context(set_up(terminal, sim, command))
            else:
                terminal.run(command)
