"""What ``flask chatwoot doctor`` finds in a database that machines share."""

from __future__ import annotations

import platform
import typing as t

import pytest
from flask import Flask
from support import databases
from support.apps import AppFactory, store_of
from support.chatwoot import ChatwootStub
from support.databases import POSTGRESQL_URL, own_role, own_schema, url_of
from support.postgresql import free_port, pgbouncer, postgresql

from flask_chatwoot.doctor.facts import DoctorContext, Finding, Mark
from flask_chatwoot.doctor.report import run_checks

pytest.importorskip("psycopg", reason="needs psycopg")

from flask_chatwoot.doctor import postgresql as checks
from flask_chatwoot.queue.postgresql import migration
from flask_chatwoot.queue.postgresql.beats import Beats
from flask_chatwoot.queue.postgresql.database import PostgreSQLDatabase

pytestmark = pytest.mark.postgresql


@pytest.fixture
def schema() -> t.Iterator[str]:
    with own_schema() as name:
        yield name


@pytest.fixture
def app(make_app: AppFactory, schema: str) -> Flask:
    return make_app(database_url=POSTGRESQL_URL, database_schema=schema, workers=3)


def findings_of(app: Flask) -> dict[str, Finding]:
    context = DoctorContext(app.extensions["chatwoot"])

    return {finding.check: finding for finding in checks.postgresql(context)}


def database_of(app: Flask) -> PostgreSQLDatabase:
    return t.cast(PostgreSQLDatabase, store_of(app).database)


def beating(app: Flask, threads: int) -> Beats:
    """Another process with workers."""
    database = database_of(app)
    assert database.identity()  # the tables are there
    beats = Beats(database.connect, database.schema, 1)
    store_of(app).inspection.report(beats.enter(), threads)

    return beats


def test_a_database_that_is_well_passes(app: Flask, schema: str) -> None:
    found = findings_of(app)

    assert {finding.mark for finding in found.values()} == {Mark.OK}
    assert found["tables"].what.endswith(f" in the schema {schema}.")
    assert found["notifications"].what == "Notifications (LISTEN) arrive."
    assert "machines" not in found
    # Four threads and one more, and three beside them.
    assert found["connections"].what.startswith(
        "A process that works may open 8 connections; the server allows "
    )


def test_processes_that_work_are_counted_by_machine(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = [beating(app, 2)]
    monkeypatch.setattr(platform, "node", lambda: "zebra")
    others += [beating(app, 3), beating(app, 4)]
    found = findings_of(app)

    assert found["machines"].what.endswith(", 2 on zebra (7 threads).")
    assert " may open 24 connections" in found["connections"].what

    for each in others:
        each.leave()

    assert "machines" not in findings_of(app)


def test_a_process_that_does_not_beat_is_not_counted(app: Flask) -> None:
    store = store_of(app)
    assert store.database.identity()  # the tables are there

    with databases.connected() as db:
        db.execute(
            f'INSERT INTO "{database_of(app).schema}".process'  # noqa: S608 - ours
            " VALUES (1, 'dead', extract(epoch FROM now()) - 3, 30, 'zebra', 7)"
        )

    assert "machines" not in findings_of(app)


@pytest.mark.parametrize(
    ("skew", "what"),
    [(61.0, "clock is 61.0 s ahead of this"), (-61.0, "clock is 61.0 s behind this")],
)
def test_clocks_that_differ_are_a_warning(
    app: Flask, monkeypatch: pytest.MonkeyPatch, skew: float, what: str
) -> None:
    monkeypatch.setattr(Beats, "skew", lambda self: skew)
    found = findings_of(app)["skew"]

    assert (found.mark, what in found.what) == (Mark.WARNING, True)
    assert "NTP" in found.remedy


def test_too_few_connections_are_a_warning(make_app: AppFactory, schema: str) -> None:
    with own_role("CONNECTION LIMIT 6") as role:
        with databases.connected() as db:
            for statement in (
                *migration.statements(schema),
                *migration.grants(schema, role),
            ):
                db.execute(statement)

        app = make_app(database_url=url_of(role), database_schema=schema)
        found = findings_of(app)["connections"]
        database_of(app).close()

    assert (found.mark, "allows 6, " in found.what) == (Mark.WARNING, True)
    assert "PgBouncer" in found.remedy


def test_a_database_that_cannot_be_reached_is_an_error_once(
    make_app: AppFactory, api: ChatwootStub
) -> None:
    url = f"postgresql://root:secret@127.0.0.1:{free_port()}/test"
    app = make_app(database_url=url)
    found = run_checks(DoctorContext(app.extensions["chatwoot"]))
    errors = [each for each in found if each.check == "database"]

    assert [each.mark for each in errors] == [Mark.ERROR]
    assert "the server cannot be reached" in errors[0].what
    assert errors[0].remedy.startswith("Until then deliveries are refused")
    assert not {"tables", "skew", "connections"} & {each.check for each in found}
    assert "secret" not in str(found)


@pytest.mark.slow
def test_notifications_that_do_not_arrive_are_a_warning(make_app: AppFactory) -> None:
    with postgresql() as server, pgbouncer(server) as bouncer:
        app = make_app(database_url=bouncer.url)
        found = findings_of(app)["notifications"]
        database_of(app).close()

    assert found.mark is Mark.WARNING
    assert "workers look every second" in found.what
