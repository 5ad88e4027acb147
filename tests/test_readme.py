"""What the README says is true."""

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
import typing as t
from pathlib import Path
from unittest.mock import Mock

import click
import pytest
from flask import Flask

import flask_chatwoot as package
from flask_chatwoot import Chatwoot, HistoryEntry, Reply, Turn
from flask_chatwoot.cli import chatwoot
from flask_chatwoot.config.table import SETTINGS
from flask_chatwoot.ownership.mode import Mode, vocabulary
from flask_chatwoot.ownership.policy import Decision
from flask_chatwoot.payloads.events import SUBSCRIPTIONS
from flask_chatwoot.testing import ChatwootSim

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")
JOINED = " ".join(README.split())
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))

CODE = [
    re.sub(r"(?m)^ {4}", "", block)
    for block in re.findall(r"\.\. code-block:: python\n\n((?:(?: {4}.*)?\n)+)", README)
]

COMMANDS = sorted({*re.findall(r"(?m)^ +\$ .*?\b(flask .*?) *(?:  #.*)?$", README)})
"""Every command line of the package, without its comment."""


def code_with(text: str) -> str:
    [code] = [code for code in CODE if text in code]
    return code


def run(text: str, **names: t.Any) -> dict[str, t.Any]:
    """Run the code block that holds a text, beside an app without providers."""
    app = Flask("example")
    space: dict[str, t.Any] = {"__name__": "example"}
    space |= {"app": app, "chatwoot": Chatwoot(app), **names}
    exec(code_with(text), space)  # noqa: S102 - our own README

    return space


# -- the code ------------------------------------------------------------------------


def test_the_example_of_a_test_passes(chatwoot_sim: ChatwootSim) -> None:
    app = run("Chatwoot(app)")["app"]
    tests = run("chatwoot_sim")
    tests["test_answers_until_an_operator_writes"](chatwoot_sim, app)


def test_the_language_model_gets_the_history_and_the_question(
    chatwoot_sim: ChatwootSim, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[HistoryEntry]] = []

    def create(*, model: str, messages: list[HistoryEntry]) -> Mock:
        asked.append(messages)
        return Mock(choices=[Mock(**{"message.content": f"Answer {len(asked)}"})])

    library = Mock(**{"OpenAI.return_value.chat.completions.create": create})
    monkeypatch.setitem(sys.modules, "openai", library)

    talk = chatwoot_sim.conversation(run("openai")["app"], mode="bot")
    talk.customer_says("Do you have it?")
    talk.customer_says("And the second volume?")

    assert talk.replies == ["Answer 1", "Answer 2"]
    assert asked[1][1:] == [
        {"role": "user", "content": "Do you have it?"},
        {"role": "assistant", "content": "Answer 1"},
        {"role": "user", "content": "And the second volume?"},
    ]


@pytest.mark.parametrize(
    ("inbox_id", "decision"),
    [
        (7, Decision(package.Audience.OPERATORS, "on_trial")),
        (8, Decision(package.Audience.CUSTOMER)),
    ],
)
def test_the_policy_decides_by_inbox(inbox_id: int, decision: Decision) -> None:
    policy = run("@chatwoot.policy")["policy"]
    assert policy(package.PolicyContext(mode=Mode.BOT, inbox_id=inbox_id)) == decision


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("My lawyer", Reply("The customer mentions a lawyer.", private=True)),
        ("The invoice", ["Here it is.", Reply(attachments=["/srv/invoices/4711.pdf"])]),
        ("Hi", Reply("Hello None! Which one?", choices=["Order", "Return"])),
    ],
)
def test_the_provider_returns_replies(text: str, answer: object) -> None:
    reply = run("lawyer")["reply"]
    assert asyncio.run(reply(text, Turn(text=text, mode=Mode.BOT))) == answer


def test_the_blocks_are_all_run_here() -> None:
    run_here = ("Chatwoot(app)", "sim", "openai", "policy", "lawyer")
    assert {code_with(text) for text in run_here} == {*CODE}


# -- the commands --------------------------------------------------------------------


def inner(command: click.Command) -> dict[str, click.Command]:
    """The commands of a group, by name."""
    if not isinstance(command, click.Group):
        return {}

    with click.Context(command) as ctx:
        found = {x: command.get_command(ctx, x) for x in command.list_commands(ctx)}

    return {name: each for name, each in found.items() if each is not None}


def options_of(*commands: click.Command) -> set[str]:
    return {name for each in commands for param in each.params for name in param.opts}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_exists_with_the_options_shown(line: str) -> None:
    words = line.partition(" chatwoot ")[2].split()
    command: click.Command = chatwoot

    while words and words[0] in inner(command):
        command = inner(command)[words.pop(0)]

    assert command is not chatwoot
    assert {word for word in words if word.startswith("--")} <= options_of(command)


@pytest.mark.parametrize("option", ["--mode", "--host", "--expose", "--agent-bot"])
def test_an_option_in_the_text_exists(option: str) -> None:
    assert f"``{option}" in README
    assert option in options_of(*inner(chatwoot).values())


def test_every_command_is_mentioned() -> None:
    jobs = {f"jobs {name}" for name in inner(inner(chatwoot)["jobs"])}

    assert not [x for x in {*inner(chatwoot), *jobs} if f"chatwoot {x}" not in JOINED]


def output_of(line: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *shlex.split(line)]
    options: t.Any = {"capture_output": True, "text": True, "timeout": 60}

    return subprocess.run(command, cwd=ROOT, check=True, **options)


def test_the_first_command_answers() -> None:
    [line] = re.findall(r"\$ pip install -e \. && (flask .*)", README)
    answer = output_of(line)

    assert "  bot       It leaves our warehouse within a day" in answer.stdout
    assert "conversation 1: posting a reply" in answer.stderr
    assert "conversation 1: post is message" in answer.stderr


def test_the_bot_that_understands_nothing_hands_off() -> None:
    [line] = [line for line in COMMANDS if "handoff.py" in line]
    customer, _, operators = output_of(line).stdout.partition("What operators see")

    assert "One moment, a colleague takes over." in customer
    assert "**" not in customer
    assert "Reason: was not understood twice" in operators
    # The operators have the conversation from then on.
    assert customer.count("What is it about?") == 1
    assert operators.count("What is it about?") == 2


def test_the_provider_alone_is_asked() -> None:
    [line] = [line for line in COMMANDS if "chatwoot ask" in line]
    [answer] = output_of(line).stdout.splitlines()
    assert answer.startswith("It leaves our warehouse within a day")


# -- the text ------------------------------------------------------------------------


def test_the_settings_are_those_that_most_apps_need() -> None:
    wanted = [each for each in SETTINGS if not each.advanced]
    rows = re.findall(r"(?m)^``(CHATWOOT_\w+)`` {2,}(?:``)?([^ `]+)", README)

    assert rows == [(each.key, str(each.default or "none")) for each in wanted]

    named = {*re.findall(r"CHATWOOT_[A-Z_]+", README)}
    assert named <= {each.key for each in SETTINGS}


@pytest.mark.parametrize("mode", Mode)
def test_the_option_texts_are_those_that_are_built_in(mode: Mode) -> None:
    [listed] = re.findall(rf"(?:case: |; )([^:;]*?) mean {mode}\b", JOINED)
    shown = {word.casefold() for word in re.split(r", | and ", listed)}
    words = vocabulary()

    assert shown == {word for word in words if words[word] is mode}


def test_the_events_are_those_that_are_needed() -> None:
    [listed] = re.findall(r"with the events (.*?), and copy", JOINED)
    assert re.findall(r"``(\w+)``", listed) == list(SUBSCRIPTIONS)


@pytest.mark.parametrize("title", re.findall(r"`([^`<]+)`_", README))
def test_a_link_leads_to_a_section(title: str) -> None:
    assert f"\n{title}\n{'-' * len(title)}\n" in README


@pytest.mark.parametrize("path", sorted({*re.findall(r"\bexamples/[\w.]+", README)}))
def test_a_file_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("beginning", ["pip install -U pip", r"pip install -e \. && "])
def test_the_command_that_ci_runs_is_there_once(beginning: str) -> None:
    assert len(re.findall(rf"(?m)^ +\$ {beginning}", README)) == 1


@pytest.mark.parametrize(
    ("path", "lines"), [(ROOT / "README.rst", 450), *((each, 60) for each in EXAMPLES)]
)
def test_the_file_is_short(path: Path, lines: int) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= lines
