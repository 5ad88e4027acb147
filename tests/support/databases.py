"""The database that the tests use: SQLite, or PostgreSQL with ``--database``.

A file of SQLite is a schema of PostgreSQL here: tests name both by the path of the
file. Schemas are emptied after each test and used again, since to make one takes
longer than most tests. Each gets a new name then: a thread that its test has left
behind, as a provider that hangs does, must not find it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
import typing as t
import uuid

import pytest

from flask_chatwoot import extension
from flask_chatwoot.queue.database import Database
from flask_chatwoot.queue.sqlite import SQLiteDatabase

_URL: t.Final = "CHATWOOT_TEST_POSTGRESQL"

POSTGRESQL_URL = os.environ.get(_URL, "postgresql://root@127.0.0.1:5432/test")
"""Set for the processes of a run, if none answers there."""

_KIND: t.Final = "CHATWOOT_TEST_DATABASE"
_SCHEMAS: t.Final = "CHATWOOT_TEST_SCHEMAS"

kind = os.environ.get(_KIND, "sqlite")
"""Set by ``--database``; processes that a test starts have the same."""

_schemas: dict[str, str] = json.loads(os.environ.get(_SCHEMAS, "{}"))
_free: list[str] = []


def use(wanted: str) -> None:
    """Use a kind of database, here and in processes that are started from now on."""
    global kind
    os.environ[_KIND] = kind = wanted


def serve() -> None:
    """Start a server for the run, unless one answers where it is looked for."""
    import psycopg

    from .postgresql import postgresql

    global POSTGRESQL_URL

    with contextlib.suppress(psycopg.OperationalError):
        psycopg.connect(POSTGRESQL_URL, connect_timeout=2).close()
        return

    if _URL in os.environ:
        pytest.exit(f"No PostgreSQL answers at {POSTGRESQL_URL}.")

    server = _servers.enter_context(postgresql(max_connections="200"))
    os.environ[_URL] = POSTGRESQL_URL = server.url


_servers = contextlib.ExitStack()


def open_database(
    path: object,
    *,
    account_id: int,
    sync: str = "normal",
    clock: t.Callable[[], float] | None = None,
) -> Database:
    """The database of a path. Opens nothing."""
    if kind == "sqlite":
        return SQLiteDatabase(str(path), account_id=account_id, sync=sync, clock=clock)

    from flask_chatwoot.queue.postgresql.database import PostgreSQLDatabase
    from flask_chatwoot.queue.postgresql.url import parse

    return PostgreSQLDatabase(
        parse(POSTGRESQL_URL),
        schema=schema_of(path),
        account_id=account_id,
        sync=sync,
        clock=clock,
        processes=t.cast(t.Any, _NoProcesses()) if clock else None,
    )


def set_clock(database: Database, clock: t.Callable[[], float]) -> None:
    """Let a test move the time of a database that is in use."""
    database.clock = clock

    if kind == "postgresql":
        database.processes = _NoProcesses()


class _NoProcesses:
    """No process beats by a clock that a test moves: the leases alone decide."""

    keep_leases = False

    def enter(self) -> None:
        pass

    def dead(self) -> t.Iterator[str]:
        return iter(())

    def is_steady(self, clock: float | None = None) -> bool:
        return True

    def since_set_forward(self, clock: float) -> float:
        return math.inf

    def skew(self) -> float:
        return 0.0

    def leave(self) -> None:
        pass


def settings_of(path: object) -> dict[str, str]:
    """The settings of an app that uses the database of a path."""
    if kind == "sqlite":
        return {"database_url": f"sqlite:///{path}"}

    return {"database_url": POSTGRESQL_URL, "database_schema": schema_of(path)}


def environment_of(path: object) -> dict[str, str]:
    """The same in the environment of a process."""
    return {f"CHATWOOT_{k.upper()}": v for k, v in settings_of(path).items()}


def environment_of_app(config: t.Any) -> dict[str, str]:
    """The same of the database that an app uses."""
    if kind == "sqlite":
        return {"CHATWOOT_DATABASE_URL": f"sqlite:///{config.database_path}"}

    return {
        "CHATWOOT_DATABASE_URL": POSTGRESQL_URL,
        "CHATWOOT_DATABASE_SCHEMA": config.database_schema,
    }


def rows(path: object, query: str) -> list[tuple[t.Any, ...]]:
    """What another connection finds in the database of a path."""
    if kind == "sqlite":
        with contextlib.closing(sqlite3.connect(str(path))) as db:
            return db.execute(query).fetchall()

    from flask_chatwoot.queue.postgresql.schema import qualified

    with connected() as db:
        found: list[tuple[t.Any, ...]] = db.execute(
            qualified(query, schema_of(path))
        ).fetchall()

    return found


def connected() -> t.Any:
    """A connection to PostgreSQL of its own."""
    import psycopg

    return psycopg.connect(POSTGRESQL_URL, autocommit=True)


@contextlib.contextmanager
def own_schema() -> t.Iterator[str]:
    """The name of a schema for one test, which is not there yet.

    Skips the test where no PostgreSQL runs.
    """
    import psycopg

    name = _new_name()

    try:
        connected().close()
    except psycopg.OperationalError:
        pytest.skip(f"No PostgreSQL answers at {POSTGRESQL_URL}.")

    try:
        yield name
    finally:
        with connected() as db:
            db.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


@contextlib.contextmanager
def own_role(*options: str) -> t.Iterator[str]:
    """The name of a user of PostgreSQL for one test, who has no rights."""
    name = _new_name()

    with connected() as db:
        db.execute(" ".join([f'CREATE ROLE "{name}" LOGIN', *options]))

        try:
            yield name
        finally:
            db.execute(f'DROP OWNED BY "{name}" CASCADE')
            db.execute(f'DROP ROLE "{name}"')


def url_of(role: str) -> str:
    """The URL of the database for another user."""
    scheme, _, rest = POSTGRESQL_URL.partition("://")

    return f"{scheme}://{role}@{rest.rpartition('@')[2]}"


def reserve(path: object) -> None:
    """Choose the schema in place of a file, for the processes of a test as well."""
    if kind == "postgresql":
        schema_of(path)


def schema_of(path: object) -> str:
    """The schema in place of a file."""
    name = os.path.realpath(str(path))

    if name not in _schemas:
        _schemas[name] = _free.pop() if _free else _new_name()
        os.environ[_SCHEMAS] = json.dumps(_schemas)

    return _schemas[name]


def _new_name() -> str:
    return f"test_{uuid.uuid4().hex[:16]}"


def empty_all() -> None:
    """Empty the schemas that a test has used, for the next one, and rename them."""
    if not _schemas:
        return

    extension._databases.clear()  # no app uses them any more, collected or not

    with connected() as db:
        for schema in _schemas.values():
            if not _is_there(db, schema):
                continue

            # First, or a thread could write after the schema was emptied.
            name = _new_name()
            db.execute(f'ALTER SCHEMA "{schema}" RENAME TO "{name}"')
            _free.append(name)

            for statement in _emptying(db, name):
                db.execute(statement)

    _schemas.clear()
    os.environ.pop(_SCHEMAS, None)


def drop_all() -> None:
    """Drop the schemas of this process."""
    empty_all()

    if _free:
        with connected() as db:
            for schema in _free:
                db.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')

        _free.clear()

    _servers.close()


def _is_there(db: t.Any, schema: str) -> bool:
    found = db.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema])

    return found.fetchone() is not None


def _emptying(db: t.Any, schema: str) -> list[str]:
    tables = db.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]
    ).fetchall()
    sequences = db.execute(
        "SELECT sequencename FROM pg_sequences"
        " WHERE schemaname = %s AND last_value IS NOT NULL",
        [schema],
    ).fetchall()
    # Jobs first: what refers to them goes with them.
    names = sorted((name for (name,) in tables), key=lambda name: name != "job")

    return [
        *(f'DELETE FROM "{schema}"."{name}"' for name in names),  # noqa: S608 - ours
        *(f'SELECT setval(\'"{schema}"."{name}"\', 1, false)' for (name,) in sequences),
    ]
