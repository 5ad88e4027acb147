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
from support.chatwoot import BASE_URL, ChatwootStub
from support.commands import outcome
from support.databases import POSTGRESQL_URL, own_role, own_schema, url_of
from support.deliveries import as_bytes, deliver, message

from flask_chatwoot import Chatwoot, extension
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


# -- a schema of another account ---------------------------------------------------


def in_another_process(make_app: AppFactory, schema: str, **settings: t.Any) -> Flask:
    """An app as if it were there: no two of one process may use a schema."""
    app = make_app(database_url=POSTGRESQL_URL, database_schema=schema, **settings)
    extension._databases.clear()

    return app


@pytest.fixture
def other(make_app: AppFactory, schema: str) -> Flask:
    """An app with the wrong account in its settings."""
    return in_another_process(make_app, schema, account_id=2, health_token="token")


@pytest.mark.parametrize("command", ["jobs", "why 42", "jobs retry --dead", "doctor"])
def test_a_look_does_not_make_a_schema_that_of_an_account(
    other: Flask, schema: str, make_app: AppFactory, command: str, api: ChatwootStub
) -> None:
    _, printed = outcome(other, *command.split())
    assert "belongs" not in printed
    other.test_client().get(
        "/chatwoot/health", headers={"Authorization": "Bearer token"}
    )

    app = make_app(database_url=POSTGRESQL_URL, database_schema=schema)
    assert deliver(app.test_client(), message()).status_code == 202
    assert outcome(other, "jobs") == (1, said(schema))


def said(schema: str) -> str:
    return (
        f"Error: The schema {schema!r} belongs to account 1 of {BASE_URL}; set "
        "CHATWOOT_DATABASE_SCHEMA to another schema for account 2 of "
        f"{BASE_URL}.\n"
    )


def test_a_worker_of_another_account_ends_with_the_remedy(
    other: Flask, schema: str, make_app: AppFactory, api: ChatwootStub
) -> None:
    app = make_app(database_url=POSTGRESQL_URL, database_schema=schema)
    deliver(app.test_client(), message())

    assert outcome(other, "work") == (1, said(schema))


def test_a_worker_of_an_older_release_ends_with_the_remedy(
    make_app: AppFactory, schema: str
) -> None:
    assert outcome(in_another_process(make_app, schema), "jobs")[0] == 0

    with databases.connected() as db:
        db.execute(
            f'INSERT INTO "{schema}".meta (id, version, oldest, base_url, account_id)'  # noqa: S608
            " VALUES (1, 99, 99, '', 1)"
        )

    older = make_app(database_url=POSTGRESQL_URL, database_schema=schema)
    code, printed = outcome(older, "work")
    assert (code, "have version 99" in printed) == (1, True)
    assert "install the release that made them" in printed


def test_two_accounts_that_begin_at_once_do_not_share_a_schema(
    make_app: AppFactory, other: Flask, schema: str, api: ChatwootStub
) -> None:
    """Both have found that it is nobody's."""
    app = make_app(database_url=POSTGRESQL_URL, database_schema=schema)

    for each in (app, other):
        assert outcome(each, "jobs")[0] == 0

    assert deliver(app.test_client(), message()).status_code == 202
    late = message(id=9002, account_id=2)
    assert deliver(other.test_client(), late).status_code == 500
