"""What the README says is so."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import typing as t
from pathlib import Path

import click
import pytest
from flask import Flask

from flask_chatwoot import (
    Chatwoot,
    DeliveryOutcome,
    PolicyContext,
    Reason,
    Reply,
    Turn,
    TurnOutcome,
    errors,
    testing,
)
from flask_chatwoot.cli import chatwoot
from flask_chatwoot.config.table import SETTINGS
from flask_chatwoot.ownership import policy
from flask_chatwoot.ownership.mode import Mode, vocabulary
from flask_chatwoot.setup.account import EVENTS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


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


def tables(title: str) -> list[list[list[str]]]:
    """The simple tables of a section: their rows, without the heads."""
    found = []

    for match in re.finditer(
        r"(?m)^(=+(?:  =+)+)\n.*\n\1\n((?:(?!=).*\n)+)\1$", section(title)
    ):
        spans = [each.span() for each in re.finditer("=+", match[1])]
        rows: list[list[str]] = []

        for line in match[2].splitlines():
            cells = [line[begin:end].strip() for begin, end in spans]

            if cells[0]:
                rows.append(cells)
            else:  # goes on
                rows[-1] = [
                    " ".join(two).strip() for two in zip(rows[-1], cells, strict=True)
                ]

        found.append(rows)

    return found


def literals(text: str) -> set[str]:
    return set(re.findall(r"``([^`]+)``", text))


def commands() -> list[str]:
    """Every command line that begins with ``flask``, without its comment."""
    text = "\n".join(blocks("console")).replace("\\\n", "")
    nested = re.findall(r"(?m)^ +\$ (flask .*)", README.replace("\\\n", ""))
    lines = re.findall(r"(?m)^\$ (flask .*)", text) + nested

    return sorted({line.partition("#")[0].strip() for line in lines})


def inner(command: click.Command) -> dict[str, click.Command]:
    """The commands of a group, by name."""
    if not isinstance(command, click.Group):
        return {}

    with click.Context(command) as ctx:
        found = {
            name: command.get_command(ctx, name) for name in command.list_commands(ctx)
        }

    return {name: each for name, each in found.items() if each is not None}


def command_of(line: str) -> tuple[click.Command, str]:
    """The command that a line runs, and what is given to it."""
    words = line.partition(" chatwoot ")[2].split()
    command: click.Command = chatwoot

    while words and words[0] in inner(command):
        command = inner(command)[words.pop(0)]

    return command, " ".join(words)


def test_the_first_example_is_an_app_that_answers() -> None:
    space: dict[str, t.Any] = {"__name__": "example"}

    exec(blocks("python")[0], space)  # noqa: S102 - our own README

    assert isinstance(space["app"], Flask)
    assert isinstance(space["chatwoot"], Chatwoot)
    assert "warehouse" in space["reply"]("Where is my order?")


@pytest.mark.parametrize("code", blocks("python"))
def test_every_example_is_python(code: str) -> None:
    compile(code, "README.rst", "exec")


def test_every_setting_is_in_the_tables_in_the_order_of_the_code() -> None:
    listed = [row[0].strip("`") for rows in tables("Configuration") for row in rows]
    fields = [setting.key for setting in SETTINGS]

    assert listed == fields
    mentioned = {each for each in literals(README) if each.startswith("CHATWOOT_")}
    bare = {each.partition("=")[0] for each in mentioned}
    assert bare == {*fields, "CHATWOOT_ADMIN_TOKEN"}


def test_the_tables_tell_the_defaults() -> None:
    defaults = {setting.key: setting.default for setting in SETTINGS}

    for rows in tables("Configuration"):
        for key, shown, _ in rows:
            assert shown.strip("`") == as_shown(defaults[key.strip("`")]), key


def as_shown(value: t.Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()

    if isinstance(value, frozenset) and value:
        return ", ".join(sorted(value))

    return "none" if value is None or value in ((), frozenset()) else str(value)


def test_every_outcome_and_reason_is_listed() -> None:
    assert {*DeliveryOutcome, *TurnOutcome, *Reason} <= literals(
        section("Outcomes and reasons")
    )


def test_the_outcomes_are_those_there_are() -> None:
    [rows] = tables("Outcomes and reasons")

    assert [row[0].strip("`") for row in rows] == [*DeliveryOutcome, *TurnOutcome]


def test_the_option_texts_are_listed() -> None:
    words = vocabulary()
    modes, _ = tables("Who answers")

    assert [mode for mode, _, _ in modes] == list(Mode)

    for mode, listed, _ in modes:
        shown = {word.strip().casefold() for word in listed.split(",")}
        assert shown == {word for word in words if words[word] is Mode(mode)}


def test_the_table_of_the_policy_is_the_one_it_goes_by() -> None:
    _, shown = tables("Who answers")
    real = [
        (f"``{reason}``" if reason else "none", str(audience))
        for _, audience, reason in policy._TABLE
    ]

    assert [(row[0], row[1]) for row in shown] == [*real, ("none", "customer")]


def test_the_facts_the_turn_and_the_reply_have_what_is_told() -> None:
    answers = literals(section("Who answers"))
    providers = section("Providers and replies")
    told = {name.removesuffix("()") for name in literals(providers)}
    hidden = {"read_history"}

    assert {*PolicyContext._fields} <= answers
    assert {field.name for field in dataclasses.fields(Turn)} - hidden <= told
    assert "history" in told
    [rows] = tables("Providers and replies")
    assert [row[0].strip("`") for row in rows] == [
        field.name for field in dataclasses.fields(Reply)
    ]


def test_the_events_to_tick_are_those_that_are_needed() -> None:
    [rows] = tables("Connect it to Chatwoot")
    [webhook] = [where for what, where in rows if what == "Webhook"]

    assert re.findall(r"``([a-z_]+)``", webhook) == list(EVENTS)


def test_the_tree_of_errors_is_the_one_of_the_code() -> None:
    def tree(text: str) -> list[str]:
        return re.findall(r"(?m)^ +((?:[│├└]|ChatwootError).*)", text)

    assert tree(errors.__doc__ or "") == tree(section("The client alone"))
    classes = [each for each in vars(errors).values() if isinstance(each, type)]
    assert len(tree(README)) == len(classes)


@pytest.mark.parametrize("line", commands())
def test_the_commands_exist_with_the_options_shown(line: str) -> None:
    command, given = command_of(line)
    known = {option for each in command.params for option in each.opts}

    assert command is not chatwoot, line
    assert set(re.findall(r"(?<!\S)\[?(--[a-z-]+)", given)) <= known


def test_every_command_is_listed() -> None:
    listed = {command_of(line)[0].name for line in section_commands()}
    commands = inner(chatwoot)

    assert {*commands, *inner(commands["jobs"])} == listed


def section_commands() -> list[str]:
    joined = section("Commands").replace("\\\n", "")

    return re.findall(r"\$ (flask .*)", joined)


def test_the_command_a_newcomer_types_answers() -> None:
    [line] = re.findall(r"\$ pip install -e \. && (flask .*)", README)
    answer = run(line)

    assert "  bot       It leaves our warehouse within a day" in answer.stdout
    assert "conversation 1: posting a reply" in answer.stderr
    assert "conversation 1: post is message" in answer.stderr


def test_the_bot_that_can_not_help_calls_a_person() -> None:
    [line] = re.findall(r"\$ (flask --app examples/handoff.py .*)", README)
    customer, _, operators = run(line).stdout.partition("What operators see")

    assert "One moment, a colleague takes over." in customer
    assert "**" not in customer
    assert "Reason: was not understood twice" in operators
    # The conversation is a person's from then on.
    assert customer.count("What is it about?") == 1
    assert operators.count("What is it about?") == 2


def test_the_provider_alone_can_be_asked() -> None:
    [line] = re.findall(r"\$ (flask --app .* chatwoot ask .*)", README)

    assert run(line).stdout.startswith("It leaves our warehouse within a day")


def run(line: str) -> subprocess.CompletedProcess[str]:
    arguments = re.findall(r'"[^"]*"|\S+', line)

    return subprocess.run(
        [sys.executable, "-m", *(argument.strip('"') for argument in arguments)],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["orders", "person"])
def test_the_tests_that_are_shown_pass(
    name: str, chatwoot_sim: testing.ChatwootSim
) -> None:
    space: dict[str, t.Any] = {"__name__": "example"}
    exec(blocks("python")[0], space)  # noqa: S102 - our own README
    [code] = [code for code in blocks("python") if "def test_" in code]
    exec(code, space)  # noqa: S102
    [test] = [space[each] for each in space if re.match(rf"test_.*{name}", each)]

    test(chatwoot_sim, space["app"])


def test_the_test_kit_has_what_is_shown() -> None:
    [rows] = tables("Testing your bot")
    names = {name for row in rows for name in literals(row[0])}
    functions = {name for name in names if name.isidentifier()}

    assert functions <= set(testing.__all__)
    assert {"chatwoot_simulator", "captured_posts", "deliver"} <= functions


@pytest.mark.parametrize("path", re.findall(r"\.\. image:: (.*)", README))
def test_the_pictures_are_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) < 60


def test_the_readme_is_no_book() -> None:
    assert len(README.splitlines()) < 800
