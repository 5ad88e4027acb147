"""The command line of an app under test."""

from __future__ import annotations

from click.testing import Result
from flask import Flask


def run(app: Flask, *arguments: str, answer: str | None = None) -> Result:
    """Run ``flask chatwoot``; ``answer`` is typed where it asks."""
    runner = app.test_cli_runner()
    return runner.invoke(args=["chatwoot", *arguments], input=answer)
