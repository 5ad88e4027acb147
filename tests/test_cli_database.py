"""``flask chatwoot jobs move`` and ``database sql``: the change to PostgreSQL."""

from __future__ import annotations

import logging
import re
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from support import databases
from support.apps import AppFactory, database_of, ending_of, jobs_of, work
from support.chatwoot import ChatwootStub
from support.commands import outcome
from support.databases import POSTGRESQL_URL, own_role, own_schema, url_of
from support.deliveries import as_bytes, deliver, message

from flask_chatwoot import Chatwoot
from flask_chatwoot.cli import options
from flask_chatwoot.queue.jobs import Queue
from flask_chatwoot.queue.sqlite import SQLiteDatabase

pytestmark = pytest.mark.postgresql

pytest.importorskip("psycopg", reason="needs psycopg")


@pytest.fixture
def schema() -> t.Iterator[str]:
    with own_schema() as name:
        yield name


@pytest.fixture
def chatwoot() -> Chatwoot:
    chatwoot = Chatwoot()
    chatwoot.reply_provider(lambda text: "On its way.")

    return chatwoot


# -- jobs move ---------------------------------------------------------------------


@pytest.fixture
def former(make_app: AppFactory, tmp_path: Path) -> Flask:
    """An app with a file, in which another process has stored one message."""
    path = tmp_path / "former.sqlite3"
    store = SQLiteDatabase(str(path), account_id=1)
    Queue(store).put(
        "1:message_created:9001",
        conversation_id=42,
        message_id=9001,
        payload=as_bytes(message()),
    )
    store.close()

    return make_app(
        backend="thread",
        workers=0,
        health_token="token",
        database_url=f"sqlite:///{path}",
    )


def moved(app: Flask, schema: str) -> str:
    """What the command says."""
    code, printed = outcome(
        app, "jobs", "move", "--to", POSTGRESQL_URL, "--schema", schema
    )
    assert code == 0, printed

    return printed


def test_a_message_is_answered_after_the_move(
    former: Flask,
    schema: str,
    make_app: AppFactory,
    chatwoot: Chatwoot,
    api: ChatwootStub,
) -> None:
    printed = moved(former, schema)
    app = make_app(chatwoot, database_url=POSTGRESQL_URL, database_schema=schema)

    assert printed.splitlines() == [
        "Moved: 1 job, and 0 dead, to "
        f"{re.sub(r':[^@/]*@', '@', POSTGRESQL_URL)}, schema {schema}.".replace(
            ":5432", ""
        ),
        "Set CHATWOOT_DATABASE_URL and CHATWOOT_DATABASE_SCHEMA to these, and start "
        "the app. Delete the file when it works: texts of customers are in it.",
    ]
    assert deliver(app.test_client(), message()).json == {"status": "duplicate"}
    work(app)
    assert ending_of(app) == ("replied", None)
    assert moved(former, schema).startswith("The jobs had been moved to ")


REMEDY: t.Final = "set CHATWOOT_DATABASE_URL and CHATWOOT_DATABASE_SCHEMA to these."


def test_the_app_with_the_former_setting_refuses_deliveries(
    former: Flask, schema: str, caplog: pytest.LogCaptureFixture
) -> None:
    moved(former, schema)

    with caplog.at_level(logging.ERROR):
        answer = deliver(former.test_client(), message(id=9002))

    assert answer.status_code == 500
    assert caplog.messages[-1].endswith(REMEDY)
    assert f"schema {schema}" in caplog.messages[-1]


@pytest.mark.parametrize(
    "command", ["jobs", "why 42", "jobs retry --dead", "jobs prune", "catch-up"]
)
def test_commands_with_the_former_setting_name_the_remedy(
    former: Flask, schema: str, command: str, api: ChatwootStub
) -> None:
    moved(former, schema)
    code, printed = outcome(former, *command.split())

    assert (code, printed.splitlines()[-1].endswith(REMEDY)) == (1, True), printed


def test_doctor_and_health_say_that_the_file_is_not_used(
    former: Flask,
    schema: str,
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
) -> None:
    moved(former, schema)
    _, printed = outcome(former, "doctor")
    (line,) = [line for line in printed.splitlines() if "is not used" in line]
    health = former.test_client().get(
        "/chatwoot/health", headers={"Authorization": "Bearer token"}
    )

    assert line.startswith("✗ ")
    assert line.endswith(f"{REMEDY} Then restart the app and all its workers.")
    assert (health.status_code, health.json) == (503, {"status": "no_database"})
    assert caplog.messages[-1].endswith(REMEDY)


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        ("", 2, "Missing option '--to'"),
        ("--to sqlite:///x.db", 2, "--to must begin with postgresql://, like"),
        ("--to mysql://u:secret@h/d", 2, "--to must begin with postgresql://, like"),
        ("--to postgresql://u:secret@x@h/d", 2, "The value of --to has an @"),
        (f"--to {POSTGRESQL_URL} --schema A", 2, "The value of --schema must begin"),
        ("--to postgresql://u:secret@127.0.0.1:1/d", 1, "host and port in the URL."),
    ],
)
def test_a_wrong_option_is_named_without_a_password(
    former: Flask, arguments: str, code: int, error: str
) -> None:
    actual, printed = outcome(former, "jobs", "move", *arguments.split())

    assert actual == code
    assert error in printed
    assert "secret" not in printed


@pytest.mark.parametrize(
    ("command", "what"),
    [(f"jobs move --to {POSTGRESQL_URL}", "--to"), ("database sql", "PostgreSQL")],
)
def test_a_missing_driver_is_named(
    former: Flask, monkeypatch: pytest.MonkeyPatch, command: str, what: str
) -> None:
    problem = 'needs the extra "postgresql".'
    monkeypatch.setattr(options, "missing_of_driver", lambda: problem)

    assert outcome(former, *command.split()) == (1, f"Error: {what} {problem}\n")


def test_nothing_is_moved_where_there_is_no_file(
    make_app: AppFactory, tmp_path: Path
) -> None:
    app = make_app(database_url=f"sqlite:///{tmp_path}/none.sqlite3")
    code, printed = outcome(app, "jobs", "move", "--to", POSTGRESQL_URL)

    assert (code, "There is no file" in printed) == (1, True)
    assert not (tmp_path / "none.sqlite3").exists()


def test_nothing_is_moved_from_postgresql(make_app: AppFactory, schema: str) -> None:
    app = make_app(database_url=POSTGRESQL_URL, database_schema=schema)
    code, printed = outcome(app, "jobs", "move", "--to", POSTGRESQL_URL)

    assert code == 2
    assert "set it to the file's URL: sqlite:///chatwoot.sqlite3" in printed


# -- database sql ------------------------------------------------------------------


def test_an_app_without_the_right_to_create_works_after_the_statements(
    make_app: AppFactory, schema: str, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    with own_role() as role:
        app = make_app(chatwoot, database_url=url_of(role), database_schema=schema)
        assert deliver(app.test_client(), message()).status_code == 500

        code, printed = outcome(app, "database", "sql")
        assert code == 0, printed

        with databases.connected() as db:
            db.execute(printed)

        assert deliver(app.test_client(), message()).status_code == 202
        assert [job.outcome for job in jobs_of(app)] == ["replied"]
        assert outcome(app, "jobs", "prune", "--days", "0")[0] == 0
        assert outcome(app, "why", "42")[0] == 0
        database_of(app).close()


def test_the_schema_and_the_user_may_be_named(make_app: AppFactory) -> None:
    code, printed = outcome(
        make_app(), "database", "sql", "--schema", "shop", "--role", 'o"hara'
    )

    assert code == 0
    assert printed.startswith(
        'BEGIN;\nCREATE SCHEMA IF NOT EXISTS "shop";\n'
        'CREATE TABLE IF NOT EXISTS "shop".job'
    )
    assert 'GRANT USAGE ON SCHEMA "shop" TO "o""hara";' in printed


@pytest.mark.sqlite
def test_the_user_is_needed(make_app: AppFactory) -> None:
    code, printed = outcome(make_app(), "database", "sql")

    assert (code, "with --role" in printed) == (2, True)
