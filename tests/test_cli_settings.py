"""Settings under the ``flask`` command line, and the commands that list them."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
import typing as t
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from flask import Flask, current_app
from flask.cli import FlaskGroup
from support.apps import AppFactory
from support.commands import run
from support.deliveries import signed

from flask_chatwoot import Chatwoot, DeliveryOutcome, Reason, TurnOutcome, extension
from flask_chatwoot.config.table import SETTINGS
from flask_chatwoot.outcomes import DraftVerdict

NEEDED: t.Final = {
    "CHATWOOT_BASE_URL": "https://chatwoot.test",
    "CHATWOOT_ACCOUNT_ID": 1,
    "CHATWOOT_API_ACCESS_TOKEN": "hunter2",
}
WRONG: t.Final = {"CHATWOOT_TIMEOUT": "soon", "CHATWOOT_ACCOUNT_ID": "acme"}
ERRORS: t.Final = (
    "Error: CHATWOOT_ACCOUNT_ID is 'acme', which must be a whole number, at least 1.\n"
    "Error: CHATWOOT_TIMEOUT is 'soon', which must be a number of seconds above 0, at "
    "most CHATWOOT_LEASE / 2 - 2, and CHATWOOT_SETTLE_TIME - 1.\n"
)
MISSING: t.Final = f"Error: Chatwoot is not configured; set {', '.join(NEEDED)}.\n"
Run = t.Callable[..., Result]


@pytest.fixture
def flask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs ``flask`` on an app that is made when the command needs it."""
    monkeypatch.delenv("CHATWOOT_BURST_WINDOW")

    def run(*arguments: str, **settings: t.Any) -> Result:
        def create_app() -> Flask:
            app = Flask("host", instance_path=str(tmp_path / "instance"))
            app.config.update(settings)
            Chatwoot(app).reply_provider(lambda text: f"You said {text}")
            app.cli.command()(own)
            app.cli.command()(deliver)

            return app

        return CliRunner().invoke(FlaskGroup(create_app=create_app), arguments)

    return run


def own() -> None:
    click.echo(f"A command of {current_app.name}'s own.")


def deliver() -> None:
    answer = current_app.test_client().post("/chatwoot/webhook", **signed({}))
    click.echo(answer.status_code)


NEEDING = ["jobs", "jobs retry --dead", "jobs prune", "why 3", "work"]


@pytest.mark.parametrize(
    ("command", "settings", "printed"),
    [
        *((each, WRONG, ERRORS) for each in (*NEEDING, "doctor", "teardown")),
        *((each, {}, MISSING) for each in NEEDING),
    ],
)
def test_a_command_that_needs_settings_names_what_is_wrong_or_missing(
    flask: Run, command: str, settings: dict[str, str], printed: str
) -> None:
    result = flask("chatwoot", *command.split(), **settings)
    assert (result.exit_code, result.output) == (1, printed)


@pytest.mark.parametrize("settings", [WRONG, {}], ids=["wrong", "none"])
@pytest.mark.parametrize(
    ("command", "printed"),
    [
        ("routes", "/chatwoot/webhook"),
        ("own", "A command of host's own.\n"),
        ("--help", "Answer Chatwoot conversations."),
        ("chatwoot --help", "outcomes"),
        ("chatwoot jobs --help", "List jobs, newest first."),
        ("chatwoot ask Hello", "You said Hello\n"),
        ("chatwoot simulate Hello", "  bot       You said Hello"),
        ("chatwoot outcomes", "accepted"),
    ],
)
def test_a_command_that_needs_no_settings_works_without_a_warning(
    flask: Run,
    command: str,
    printed: str,
    settings: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    result = flask(*command.split(), **settings)

    assert result.exit_code == 0, result.output
    assert printed in result.output
    assert "flask_chatwoot.extension" not in {each.name for each in caplog.records}
    assert result.stderr == ""


POSTGRESQL: t.Final = "postgresql://me:hunter2@127.0.0.1:1/shop"
ALL_WRONG: t.Final[t.Sequence[dict[str, t.Any]]] = [
    {"CHATWOOT_DATABASE_URL": "mysql://me:hunter2@x/shop"},
    {"CHATWOOT_DATABASE_URL": "postgresql://me:hunter2@127.0.0.1:x/shop"},
    {"CHATWOOT_DATABASE_URL": "sqlite:////proc/nowhere/chatwoot.sqlite3"},
    {"CHATWOOT_WORKERS": "many"},
    {"CHATWOOT_BACKEND": "rq"},
    {"CHATWOOT_BACKEND": "celery"},  # and an SQLite file
    {"CHATWOOT_TEXTS": "{"},
    {"CHATWOOT_URL_PREFIX": "/<name>"},
    {"CHATWOOT_BASE_URL": b"https://chatwoot.test"},
    {"CHATWOOT_TIMEOUT": [10]},
]
OF_OURS: t.Final = [
    *("jobs", "jobs retry 1", "jobs prune", f"jobs move --to {POSTGRESQL}", "why 3"),
    *("catch-up", "catch-up --dry-run", "setup --url https://a.example --yes"),
    *("teardown --yes", "doctor", "doctor --json", "work"),
]


@pytest.mark.parametrize("wrong", ALL_WRONG, ids=str)
def test_wrong_settings_are_lines_in_every_command_of_ours(
    flask: Run, wrong: dict[str, t.Any]
) -> None:
    for command in OF_OURS:
        result = flask("chatwoot", *command.split(), **NEEDED | wrong)

        assert result.exit_code == 1, command
        assert isinstance(result.exception, SystemExit), command
        assert result.output.startswith(f"Error: {next(iter(wrong))} "), command
        assert "hunter2" not in result.output


@pytest.mark.parametrize("kind", ["no database", "no server"])
def test_a_database_that_cannot_be_used_is_a_line_in_every_command_of_ours(
    flask: Run, kind: str, tmp_path: Path
) -> None:
    file = tmp_path / "broken.sqlite3"
    file.write_bytes(b"no database at all. " * 50)
    url = POSTGRESQL if kind == "no server" else f"sqlite:///{file}"
    settings = NEEDED | {"CHATWOOT_DATABASE_URL": url}

    for command in ("jobs", "jobs retry 1", "jobs prune", "why 3", "catch-up"):
        result = flask("chatwoot", *command.split(), **settings)

        assert result.exit_code == 1, command
        assert result.output.startswith("Error: The database '"), command
        assert result.output.count("\n") == 1, command
        assert "CHATWOOT_DATABASE_URL" in result.output, command
        assert "hunter2" not in result.output

    for command in ("chatwoot settings", "chatwoot outcomes", "chatwoot ask Hi"):
        result = flask(*command.split(), **settings)
        assert (result.exit_code, result.stderr) == (0, ""), command


@pytest.mark.parametrize("wrong", ALL_WRONG, ids=str)
def test_wrong_settings_stop_no_other_command(
    flask: Run, wrong: dict[str, t.Any]
) -> None:
    for command in ("routes", "own", "chatwoot outcomes", "chatwoot ask Hi"):
        result = flask(*command.split(), **NEEDED | wrong)
        assert (result.exit_code, result.stderr) == (0, ""), command


@pytest.mark.parametrize(
    ("extra", "settings"),
    [
        ("psycopg", {"CHATWOOT_DATABASE_URL": POSTGRESQL}),
        ("celery", {"CHATWOOT_BACKEND": "celery", "CHATWOOT_DATABASE_URL": POSTGRESQL}),
    ],
)
def test_a_missing_extra_stops_no_command_of_the_host(
    flask: Run,
    monkeypatch: pytest.MonkeyPatch,
    extra: str,
    settings: dict[str, str],
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == extra else find(name)
    )
    monkeypatch.setitem(sys.modules, extra, None)

    assert flask("own", **NEEDED | settings).output == "A command of host's own.\n"
    failed = flask("chatwoot", "jobs", **NEEDED | settings)
    assert failed.exit_code == 1
    assert "pip install " in failed.output
    assert "Traceback" not in failed.output


def test_two_apps_with_one_database_stop_no_command() -> None:
    apps: list[Flask] = []

    def create_app() -> Flask:
        for _ in range(2):
            app = Flask("host")
            app.config.update(NEEDED, CHATWOOT_DATABASE_URL=POSTGRESQL)
            Chatwoot(app)
            apps.append(app)

        return apps[-1]

    result = CliRunner().invoke(FlaskGroup(create_app=create_app), ["routes"])
    assert (result.exit_code, len(apps)) == (0, 2)


def test_with_wrong_settings_no_delivery_is_accepted(
    flask: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = flask("deliver", **NEEDED | {"CHATWOOT_TIMEOUT": "soon"})
    assert result.output == "500\n"
    assert "ConfigError: CHATWOOT_TIMEOUT is 'soon'" in caplog.text
    assert list(tmp_path.iterdir()) == []


HOST = """
from flask import Flask
from flask_chatwoot import Chatwoot

app = Flask(__name__)
app.config["CHATWOOT_TIMEOUT"] = "soon"
Chatwoot(app)
"""


@pytest.mark.parametrize(
    ("program", "code"),
    [
        ("-m flask --app host routes", 0),
        ("-m flask --app host chatwoot jobs", 1),
        ("-m flask --app host run --port 0", 1),
        ("host.py", 1),
    ],
)
def test_a_shell_shows_the_same(tmp_path: Path, program: str, code: int) -> None:
    (tmp_path / "host.py").write_text(HOST)
    command = [sys.executable, *program.split()]
    captured: t.Any = {"capture_output": True, "text": True, "timeout": 60}

    done = subprocess.run(command, cwd=tmp_path, check=False, **captured)

    assert done.returncode == code, done.stderr
    assert ("CHATWOOT_TIMEOUT is 'soon', which" in done.stderr) is bool(code)
    assert ("Traceback" in done.stderr) is (program == "host.py")


MISSPELLED: t.Final = [
    "CHATWOOT_BASE_ULR is not a setting; did you mean CHATWOOT_BASE_URL?",
    "CHATWOOT_WORKER is not a setting; did you mean CHATWOOT_WORKERS?",
]


def test_a_misspelled_key_is_named_once_per_process(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make_app: AppFactory,
) -> None:
    monkeypatch.setattr(extension, "_logged", set())
    monkeypatch.setenv("CHATWOOT_WORKER", "3")
    monkeypatch.setenv("CHATWOOT_COLOUR", "red")

    with caplog.at_level(logging.WARNING):
        make_app(base_ulr="https://x.example")
        make_app(base_ulr="https://x.example", database_url="sqlite:///other.db")

    assert caplog.messages == [" ".join(MISSPELLED)]


@pytest.mark.parametrize("command", ["routes", "own", "chatwoot outcomes", "--help"])
def test_a_command_that_needs_no_settings_names_no_misspelled_key(
    flask: Run, caplog: pytest.LogCaptureFixture, command: str
) -> None:
    result = flask(*command.split(), CHATWOOT_BASE_ULR="https://x.example")
    assert (result.stderr, caplog.messages) == ("", [])


def test_settings_and_doctor_name_misspelled_keys(
    flask: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATWOOT_WORKER", "3")
    given = {"CHATWOOT_BASE_ULR": "https://x.example"}

    assert flask("chatwoot", "settings", **given).stderr.splitlines() == MISSPELLED
    printed = flask("chatwoot", "doctor", **given).stdout
    assert (
        "! CHATWOOT_BASE_ULR is not a setting. Did you mean CHATWOOT_BASE_URL?\n"
        "! CHATWOOT_WORKER is not a setting. Did you mean CHATWOOT_WORKERS?\n"
    ) in printed


def test_the_same_warning_is_logged_once_per_process(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make_app: AppFactory,
) -> None:
    monkeypatch.setattr(extension, "_logged", set())

    for name in ("a", "b"):
        make_app(copilot_token=None, database_url=f"sqlite:///{name}.db")

    make_app(base_url=None)

    assert [text.partition(" ")[0] for text in caplog.messages] == [
        "Anybody",
        "Chatwoot",
    ]


def rows(result: Result, *, code: int = 0) -> dict[str, str]:
    """What is printed of each key, without the spaces between the columns."""
    assert result.exit_code == code, result.output
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    return {key: rest for key, _, rest in (line.partition(" ") for line in lines)}


def assert_rows(listed: dict[str, str], **beginnings: str) -> None:
    for key, text in beginnings.items():
        assert listed[f"CHATWOOT_{key}"].startswith(text)


def test_settings_are_listed_with_what_is_in_force_and_its_source(
    flask: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHATWOOT_WORKERS", "7")
    monkeypatch.setenv("CHATWOOT_WEBHOOK_SECRET", "hunter2, hunter3")
    text = "One\nmoment, please; an operator will answer you soon."
    settings = {**NEEDED, "CHATWOOT_FALLBACK_MESSAGE": text}

    result = flask("chatwoot", "settings", **settings, CHATWOOT_HUMAN_VALUES="b, a")

    listed = rows(result)
    assert "hunter" not in result.output
    assert [*listed][1:] == [each.key for each in SETTINGS if not each.advanced]
    assert listed.pop("KEY") == "IN FORCE FROM MEANING"
    assert_rows(
        listed,
        BASE_URL="https://chatwoot.test config Address of Chatwoot. Red",
        ACCOUNT_ID="1 config ",
        API_ACCESS_TOKEN="set config ",
        WEBHOOK_SECRET="set environment ",
        COPILOT_TOKEN="not set default ",
        BOT_VALUES="not set default ",
        HUMAN_VALUES="b, a config ",
        FALLBACK_MESSAGE="One moment, please; an operator will an… config",
        WORKERS="7 environment ",
        DATABASE_URL="sqlite:///chatwoot.sqlite3 default ",
    )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("WORKERS", "Threads of this process. 0: it stores, and flask chatwoot work"),
        ("WORKERS", " From 0 to 1000."),
        ("MAX_ATTEMPTS", "before it is dead. At least 1."),
        ("MAX_AGE", "is not answered. Above 0, at most 86400 (a day)."),
        ("TIMEOUT", "may take. Above 0, at most CHATWOOT_LEASE / 2 - 2, and CHATW"),
        ("CATCH_UP", " From 0 to 86400 (a day)."),
        ("LEASE", " At least 2 * (CHATWOOT_TIMEOUT + 2), at most 86400 (a day)."),
    ],
)
def test_the_meaning_of_a_number_ends_with_its_range(
    flask: Run, name: str, said: str
) -> None:
    assert said in rows(flask("chatwoot", "settings", "--all"))[f"CHATWOOT_{name}"]


ALL = {"BOT_STATUSES": "open, pending default ", "DEFAULT_MODE": "human default "}


@pytest.mark.parametrize(
    ("arguments", "settings", "lines"),
    [
        ([], {"CHATWOOT_TYPING": "off"}, {"TYPING": "false config "}),
        (["--all"], {"CHATWOOT_INBOXES": "2,1"}, {**ALL, "INBOXES": "1, 2 config "}),
    ],
    ids=["set", "all"],
)
def test_an_advanced_setting_is_listed_where_it_is_set_or_on_request(
    flask: Run, arguments: list[str], settings: dict[str, str], lines: dict[str, str]
) -> None:
    listed = rows(flask("chatwoot", "settings", *arguments, **settings))

    assert_rows(listed, **lines)
    assert [*listed][1:] == [
        each.key
        for each in SETTINGS
        if arguments or not each.advanced or each.key in settings
    ]


def test_a_wrong_setting_is_marked_and_explained(flask: Run) -> None:
    result = flask("chatwoot", "settings", **WRONG)
    assert_rows(rows(result, code=1), TIMEOUT="wrong config ")
    assert result.stderr == ERRORS


def test_a_later_change_of_the_configuration_is_not_in_force(app: Flask) -> None:
    app.config["CHATWOOT_WORKERS"] = 9
    assert_rows(rows(run(app, "settings")), WORKERS="4 default ")


def test_every_outcome_and_reason_is_listed_with_its_meaning(flask: Run) -> None:
    printed = flask("chatwoot", "outcomes").stdout.splitlines()

    assert [line.split()[0] for line in printed if line] == [
        *("DELIVERY", *DeliveryOutcome),
        *("TURN", *TurnOutcome),
        *("REASON", *Reason),
        *("DRAFT", *DraftVerdict),
    ]
    listed = (*DeliveryOutcome, *TurnOutcome, *Reason, *DraftVerdict)
    assert {each.meaning for each in listed} <= {
        line.partition("  ")[2].strip() for line in printed
    }
