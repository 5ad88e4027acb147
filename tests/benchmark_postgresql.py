"""What the package costs on PostgreSQL; ``benchmark.py`` measures it when named."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
import typing as t
from functools import partial
from pathlib import Path

import psycopg
from benchmark import (
    PAYLOAD,
    SYNC,
    Rows,
    bare_app,
    chatwoot_app,
    cheapest,
    cpu_of_deliveries,
    gunicorn,
    put,
)
from flask import Flask
from support.postgresql import Program
from support.postgresql import postgresql as start_postgresql
from support.waiting import wait_until

from flask_chatwoot import Chatwoot
from flask_chatwoot.queue.database import Database
from flask_chatwoot.queue.jobs import Queue

SCHEMA: t.Final = "flask_chatwoot"
PROVIDER: t.Final = 0.2
"""Seconds that the provider of a worker takes."""

_FILL_POSTGRESQL: t.Final = """
INSERT INTO flask_chatwoot.job (account_id, conversation_id, message_id, key, kind,
    received_at, payload, due_at, finished_at, outcome)
SELECT 1, n / 3, n, '1:message_created:' || n, 'message', 0, {}
FROM generate_series(%(first)s, %(first)s + %(rows)s - 1) AS n
"""

_VALUES_POSTGRESQL: t.Final = {
    "done": "NULL, NULL, 0, 'replied'",
    "unfinished": "%(payload)s, CASE WHEN n %% 3 = 0 THEN 0 END, NULL, NULL",
    "due": "%(payload)s, 0, NULL, NULL",
}

_FINISH: t.Final = (
    "UPDATE flask_chatwoot.job SET due_at = 1, claim = key WHERE due_at = 0",
    "UPDATE flask_chatwoot.job SET due_at = NULL, claim = NULL, payload = NULL,"
    " finished_at = 1, outcome = 'replied' WHERE due_at = 1",
)
"""As many turns do."""


@contextlib.contextmanager
def postgresql_server() -> t.Iterator[Program]:
    """A server that forces its log, for a block."""
    settings = {"fsync": "on", "full_page_writes": "on", "autovacuum": "on"}

    with start_postgresql(**settings, shared_buffers="128MB") as server:
        yield server


def postgresql(folder: Path) -> Rows:
    """CPU of an acknowledged delivery, beside SQLite, to a bare route.

    It is that of the app alone: the server spends its own.
    """
    with postgresql_server() as server:
        apps = {
            (name, sync): chatwoot_app(
                *(folder / sync, sync),
                CHATWOOT_DATABASE_SCHEMA=sync,
                **settings,
            )
            for name, settings in {
                "SQLite": {},
                "PostgreSQL": {"CHATWOOT_DATABASE_URL": server.url},
            }.items()
            for sync in SYNC
        }
        sides = [partial(cpu_of_deliveries, app, 200) for app in apps.values()]
        bare, *costs = cheapest(20, partial(cpu_of_deliveries, bare_app(), 200), *sides)

    return {
        f"acknowledgement, {name}, {sync} / bare route": cost / bare
        for (name, sync), cost in zip(apps, costs, strict=True)
    }


def claim_postgresql(folder: Path) -> Rows:
    """Time of a claim with 200 000 jobs in the database to one with 1 000.

    In the end 8 000 more are finished while an old snapshot is held, so that nothing
    can remove what they were.
    """
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(postgresql_server())
        rows: Rows = {}

        for state in ("done", "unfinished"):
            databases = [
                filled_postgresql(server, f"{state}_{count}", state, count)
                for count in (1000, 200_000)
            ]
            few, many = cheapest(7, *(partial(claims, each) for each in databases))
            rows[f"claim, PostgreSQL, 200 000 {state} / 1 000"] = many / few

        databases = [
            filled_postgresql(server, name, "done", count)
            for name, count in (("none_held", 1000), ("held", 200_000))
        ]
        stack.enter_context(old_snapshot(server, "held"))
        few, held = cheapest(7, *(partial(claims, each) for each in databases))
        rows["claim, PostgreSQL, old snapshot / 1 000"] = held / few

    return rows


def claims(database: Database) -> float:
    """Seconds of 100 claims: most of what they cost is spent by the server."""
    queue = Queue(database, lease=900.0)  # or they would be due in later rounds
    put(queue, 100)
    started = time.perf_counter()

    for _ in range(100):
        assert queue.claim()

    return time.perf_counter() - started


def filled_postgresql(
    server: Program, name: str, state: str, rows: int, first: int = 3_000_000_000
) -> Database:
    """A database of its own: a snapshot holds what is in the same one."""
    from flask_chatwoot.queue.postgresql.database import PostgreSQLDatabase
    from flask_chatwoot.queue.postgresql.url import parse

    server.execute(f"CREATE DATABASE {name}")
    url = server.url.rpartition("/")[0] + f"/{name}"
    database = PostgreSQLDatabase(parse(url), schema=SCHEMA, account_id=1)
    put(Queue(database), 1)  # makes the tables

    with psycopg.connect(url, autocommit=True) as db:
        fill(db, state, rows, first)

    return database


def fill(
    db: psycopg.Connection[t.Any], state: str, rows: int, first: int = 3_000_000_000
) -> None:
    values = {"rows": rows, "first": first, "payload": PAYLOAD}
    db.execute(_FILL_POSTGRESQL.format(_VALUES_POSTGRESQL[state]), values)
    db.execute("VACUUM ANALYZE flask_chatwoot.job")  # as the server does in time


@contextlib.contextmanager
def old_snapshot(server: Program, name: str) -> t.Iterator[None]:
    """A snapshot from before 8 000 turns, for a block."""
    url = server.url.rpartition("/")[0] + f"/{name}"

    with psycopg.connect(url, autocommit=True) as db, psycopg.connect(url) as old:
        fill(db, "due", 8000, first=4_000_000_000)
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM flask_chatwoot.job")

        for statement in _FINISH:
            db.execute(statement)

        yield


def worker() -> Flask:
    """The app of ``flask chatwoot work``; its settings are in the environment."""
    logging.disable(logging.CRITICAL)
    app = Flask("worker")

    def reply(text: str) -> str:
        time.sleep(PROVIDER)
        return "On its way."

    Chatwoot(app).reply_provider(reply)

    return app


@contextlib.contextmanager
def workers(count: int, settings: t.Mapping[str, str]) -> t.Iterator[None]:
    """Processes with four threads each."""
    command = [
        sys.executable,
        "-m",
        "flask",
        "--app",
        "benchmark_postgresql:worker",
        "chatwoot",
    ]
    environment = {**os.environ, **settings, "CHATWOOT_WORKERS": "4"}
    started = [
        subprocess.Popen(
            [*command, "work"],
            cwd=Path(__file__).parent,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(count)
    ]

    try:
        yield
    finally:
        for process in started:
            process.terminate()

        for process in started:
            process.wait()


def scaling(folder: Path) -> Rows:
    """Turns per second of one, two and three processes, whose provider takes 0.2 s."""
    rates = []

    with postgresql_server() as server, gunicorn("stub") as url:
        app = chatwoot_app(
            "", "normal", CHATWOOT_DATABASE_URL=server.url, CHATWOOT_BASE_URL=url
        )
        settings = {
            key: str(app.config[key])
            for key in app.config
            if key.startswith("CHATWOOT")
        }

        for count in (1, 2, 3):
            cpu_of_deliveries(app, 250 * count)

            with workers(count, settings):
                rates.append(turns_per_second(server, at_least=count * 20))

    return {
        "turns per second, 1 worker": rates[0],
        "throughput of turns, 2 workers / 1": rates[1] / rates[0],
        "throughput of turns, 3 workers / 1": rates[2] / rates[0],
    }


def turns_per_second(server: Program, at_least: int, seconds: float = 8.0) -> float:
    """What workers do once they have begun to."""

    def finished() -> int:
        ((count,),) = server.execute(
            "SELECT count(*) FROM flask_chatwoot.job WHERE finished_at IS NOT NULL"
        )
        return int(count)

    begin = finished()
    wait_until(lambda: finished() >= begin + at_least, timeout=60)
    begin, started = finished(), time.monotonic()
    time.sleep(seconds)

    return (finished() - begin) / (time.monotonic() - started)
