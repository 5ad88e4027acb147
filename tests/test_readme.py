"""What the README says is so."""

from __future__ import annotations

import re
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_chatwoot import Chatwoot, Outcome, Reason
from flask_chatwoot.config import Config, load
from flask_chatwoot.mode import Mode, vocabulary

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")
QUICKSTART = ROOT / "examples" / "quickstart.py"


def blocks(language: str) -> list[str]:
    """The code blocks of a language, without their indentation."""
    found = re.findall(
        rf"\.\. code-block:: {language}\n\n((?:(?: {{4}}.*)?\n)+)", README
    )

    return [re.sub(r"(?m)^ {4}", "", block) for block in found]


def section(title: str) -> str:
    match = re.search(
        rf"(?s)\n{title}\n-+\n(.*?)(?:\n[A-Z][^\n]*\n-{{4,}}\n|\Z)", README
    )
    assert match, f"there is no section {title!r}"

    return match[1]


def test_the_first_example_is_an_app_that_answers() -> None:
    space: dict[str, t.Any] = {"__name__": "example"}

    exec(blocks("python")[0], space)  # noqa: S102 - our own README

    assert isinstance(space["app"], Flask)
    assert isinstance(space["chatwoot"], Chatwoot)
    assert "warehouse" in space["reply"]("Where is my order?")


@pytest.mark.parametrize("code", blocks("python"))
def test_every_example_is_python(code: str) -> None:
    compile(code, "README.rst", "exec")


def test_every_setting_is_in_the_table_and_no_other() -> None:
    keys = set(re.findall(r"``(CHATWOOT_[A-Z_]+)``", section("Configuration")))
    fields = {f"CHATWOOT_{name.upper()}" for name in Config.__dataclass_fields__}

    made_of = {"CHATWOOT_BOT_VALUES", "CHATWOOT_HUMAN_VALUES"}
    assert keys == (fields - {"CHATWOOT_WORDS"}) | made_of


def test_the_table_tells_the_defaults(tmp_path: Path) -> None:
    rows = re.findall(r"\* - ``(CHATWOOT_[A-Z_]+)``\n     - (.*)\n", README)
    defaults = load({}, environ={}, instance_path=str(tmp_path))

    for key, shown in rows:
        value = getattr(defaults, key.removeprefix("CHATWOOT_").lower())
        expected = Path(value).name if key == "CHATWOOT_INBOX_PATH" else value
        assert shown.strip("`") == (str(expected) if expected else "none"), key


def test_every_outcome_and_reason_is_listed() -> None:
    listed = set(re.findall(r"``([a-z_]+)``", section("Outcomes and reasons")))

    assert {*Outcome, *Reason} <= listed


def test_the_option_texts_are_listed() -> None:
    words = vocabulary()

    for mode, listed in re.findall(
        r"   \* - (bot|human)\n     - (.*)\n", section("Who answers")
    ):
        shown = {word.strip().casefold() for word in listed.split(",")}
        assert shown == {word for word in words if words[word] is Mode(mode)}


@pytest.mark.parametrize("command", ["simulate", "work", "inbox", "retry", "prune"])
def test_the_commands_exist_with_the_options_shown(command: str) -> None:
    app = Flask("host")
    Chatwoot(app)
    [line] = [
        line
        for line in section("Commands").splitlines()
        if re.search(rf"chatwoot (?:inbox )?{command}\b", line)
        and (command != "inbox" or ("retry" not in line and "prune" not in line))
    ]
    path = ["inbox", command] if command in ("retry", "prune") else [command]

    result = app.test_cli_runner().invoke(args=["chatwoot", *path, "--help"])

    assert result.exit_code == 0
    for option in re.findall(r"--[a-z]+", line.partition("#")[0]):
        assert option in result.output


def test_the_command_a_newcomer_types_answers() -> None:
    [line] = re.findall(r"\$ pip install -e \. && (flask .*)", README)
    arguments = re.findall(r'"[^"]*"|\S+', line)
    answer = subprocess.run(
        [sys.executable, "-m", *(argument.strip('"') for argument in arguments)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip

    assert "  bot       It leaves our warehouse within a day" in answer.stdout
    assert "conversation 1: posting a reply" in answer.stderr
    assert "conversation 1: post is message" in answer.stderr


def test_the_quickstart_is_short() -> None:
    assert len(QUICKSTART.read_text(encoding="utf-8").splitlines()) < 60
