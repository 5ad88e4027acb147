"""What a type checker says about an app that uses this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = ROOT / "tests" / "support" / "programs" / "typed_host.py"


def checked(*paths: Path) -> subprocess.CompletedProcess[str]:
    """Check files as their author would, without this package's own options.

    Of an installed package mypy reports nothing, either.
    """
    options = ["--strict", "--follow-imports=silent", "--config-file="]
    options += ["--cache-dir=/dev/null", "--no-pretty", "--no-error-summary"]

    return subprocess.run(
        [sys.executable, "-m", "mypy", *options, *map(str, paths)],
        capture_output=True,
        check=False,
        cwd=ROOT,  # where it looks for packages first
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_the_official_package_takes_messages_and_a_wrong_use_is_found(
    tmp_path: Path,
) -> None:
    """One run, since most of its time goes into the official package."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        "from flask_chatwoot import Turn\n"
        "def roles(turn: Turn) -> list[int]:\n"
        '    return [each["role"] for each in turn.history()]\n'
    )

    result = checked(HOST, wrong)
    [error] = result.stdout.splitlines()

    assert "wrong.py:3: error: List comprehension has" in error
    assert (result.returncode, result.stderr) == (1, "")
