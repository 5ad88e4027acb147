"""What a type checker says about an app that uses this package."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST = ROOT / "tests" / "support" / "programs" / "typed_host.py"


def checked(path: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    """Check one file as its author would, without this package's own options.

    Of an installed package mypy reports nothing, either.
    """
    options = ["--strict", "--follow-imports=silent", "--config-file="]
    options.append(f"--cache-dir={cache}")

    return subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(path)],
        capture_output=True,
        check=False,
        cwd=ROOT,  # where it looks for packages first
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_messages_for_a_model_are_what_the_official_package_takes(
    tmp_path: Path,
) -> None:
    result = checked(HOST, tmp_path)
    assert (result.returncode, result.stderr) == (0, ""), result.stdout


@pytest.mark.slow
def test_a_wrong_use_of_the_history_is_found(tmp_path: Path) -> None:
    host = tmp_path / "host.py"
    host.write_text(
        "from flask_chatwoot import Turn\n"
        "def roles(turn: Turn) -> list[int]:\n"
        '    return [each["role"] for each in turn.history()]\n'
    )

    assert "host.py:3: error: List comprehension has" in checked(host, tmp_path).stdout
