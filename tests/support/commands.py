"""The command line of an app under test, and the account that its commands change."""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

from click.testing import Result
from flask import Flask

from flask_chatwoot.simulator import Simulator


def run(app: Flask, *arguments: str, answer: str | None = None) -> Result:
    """Run ``flask chatwoot``; ``answer`` is typed where it asks."""
    runner = app.test_cli_runner()
    return runner.invoke(args=["chatwoot", *arguments], input=answer)


def outcome(app: Flask, *arguments: str, **typed: str | None) -> tuple[int, str]:
    """Exit code and output, errors included."""
    result = run(app, *arguments, **typed)
    return result.exit_code, result.output


def spawn(program: str, *arguments: str, **env: object) -> subprocess.Popen[str]:
    """Run ``flask chatwoot`` of a program of ours in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "flask", "--app", program, "chatwoot", *arguments],
        cwd=Path(__file__).parent / "programs",
        env={**os.environ, **{key: str(value) for key, value in env.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


class Administered:
    """What is set up in a simulated account; each a row that a test may change."""

    sim: Simulator

    @property
    def settings(self) -> t.Any:
        return self.sim.admin

    @property
    def attribute(self) -> t.Any:
        (row,) = self.settings.attributes.values()
        return row

    @property
    def webhook(self) -> t.Any:
        (row,) = self.settings.webhooks.values()
        return row

    @property
    def bot(self) -> t.Any:
        """The newest agent bot."""
        return self.settings.bots[max(self.settings.bots)]

    @property
    def inbox(self) -> t.Any:
        return self.settings.inboxes[3]

    @property
    def form(self) -> t.Any:
        """The fields of the inbox's form."""
        return self.inbox["pre_chat_form_options"]["pre_chat_fields"]

    @property
    def writes(self) -> list[str | None]:
        return [call.endpoint for call in self.sim.calls if call.method != "GET"]
