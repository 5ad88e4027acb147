"""Makes the tables of a schema, or checks that they can be used."""

from __future__ import annotations

import typing as t

import psycopg
from psycopg import sql

from flask_chatwoot.errors import UnusableError

from .schema import OLDEST, VERSION, create, qualified

IDENTITY: t.Final = """
SELECT pg_database.oid || '-' || pg_namespace.oid FROM pg_database, pg_namespace
WHERE datname = current_database() AND nspname = :schema
"""
"""What a copy of the tables does not have."""

_LOOK: t.Final = """
SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = %(schema)s), EXISTS (
    SELECT 1 FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
    WHERE nspname = %(schema)s AND relname = 'meta'
)
"""
"""Whether schema and tables are there, as of this statement: functions such as
``to_regclass`` may remember what was before."""

_META: t.Final = "SELECT version, oldest, base_url, account_id FROM meta WHERE id = 1"

_RAISE: t.Final = f"UPDATE meta SET version = {VERSION} WHERE version < {VERSION}"  # noqa: S608

_ADD: t.Final = """
INSERT INTO meta (id, version, oldest, base_url, account_id) VALUES (1, %s, %s, %s, %s)
"""


def statements(schema: str) -> list[str]:
    """What makes the schema and its tables, as an administrator may run it.

    A schema of an older version gets what it does not have.
    """
    return [
        f'CREATE SCHEMA IF NOT EXISTS "{schema}"',
        *create(schema),
        qualified(_RAISE, schema),
    ]


def grants(schema: str, role: str) -> list[str]:
    """What lets a role use the tables, as an administrator may run it."""
    name, to = (sql.Identifier(each).as_string(None) for each in (schema, role))
    inside = f"IN SCHEMA {name} TO {to}"

    return [
        f"GRANT USAGE ON SCHEMA {name} TO {to}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES {inside}",
        f"GRANT SELECT, UPDATE ON ALL SEQUENCES {inside}",
    ]


def migrate(
    connection: psycopg.Connection[t.Any], schema: str, base_url: str, account_id: int
) -> bool:
    """Make the tables that are not there. Processes wait for each other.

    :return: Whether the schema is this account's; else it is nobody's yet.
    :raises UnusableError: The tables are those of another account, or of another
        release that this one cannot work with.
    """
    if _version(connection, schema) is None:
        _make(connection, schema)

    version = _checked(connection, schema, base_url, account_id)

    if version is not None and version < VERSION:
        _make(connection, schema)

    return version is not None


def claim(
    connection: psycopg.Connection[t.Any], schema: str, base_url: str, account_id: int
) -> None:
    """Make the schema this account's, before anything is stored in it.

    :raises UnusableError: Another account was faster.
    """
    connection.execute(
        qualified(f"{_ADD} ON CONFLICT DO NOTHING", schema),
        [VERSION, OLDEST, base_url, account_id],
    )
    _checked(connection, schema, base_url, account_id)


def _version(connection: psycopg.Connection[t.Any], schema: str) -> int | None:
    """That of the tables; 0 if no release has used them, ``None`` if there are none."""
    if not _found(connection, schema)[1]:
        return None

    row = connection.execute(qualified(_META, schema)).fetchone()

    return row[0] if row else 0


def _found(connection: psycopg.Connection[t.Any], schema: str) -> tuple[bool, bool]:
    """Whether the schema is there, and whether its tables are."""
    row = connection.execute(_LOOK, {"schema": schema}).fetchone()

    return (bool(row[0]), bool(row[1])) if row else (False, False)


def _make(connection: psycopg.Connection[t.Any], schema: str) -> None:
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.execute("SET LOCAL lock_timeout = '3s'")
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"flask_chatwoot:{schema}:migration"],
        )
        version = _version(connection, schema)

        if version is not None and (version == 0 or version >= VERSION):
            return  # another process was faster

        exists, _ = _found(connection, schema)

        for statement in statements(schema)[int(exists) :]:
            connection.execute(statement)


def _checked(
    connection: psycopg.Connection[t.Any], schema: str, base_url: str, account_id: int
) -> int | None:
    """The version of the tables, which this account and this release may use.

    ``None`` as long as nobody has stored anything in them.
    """
    row = connection.execute(qualified(_META, schema)).fetchone()

    if row is None:
        return None

    version, oldest, server, account = row

    if oldest > VERSION or version < OLDEST:
        raise UnusableError(
            f"The tables in the schema {schema!r} have version {version}, and this "
            f"Flask-Chatwoot knows {VERSION}; install the release that made them, or "
            "set CHATWOOT_DATABASE_SCHEMA to another schema."
        )

    if base_url and server and (server, account) != (base_url, account_id):
        raise UnusableError(
            f"The schema {schema!r} belongs to account {account} of {server}; set "
            "CHATWOOT_DATABASE_SCHEMA to another schema for account "
            f"{account_id} of {base_url}.{_readdressed(schema, server, base_url)}"
        )

    return int(version)


def _readdressed(schema: str, server: str, base_url: str) -> str:
    """What to do where an address was wrong, or has changed."""
    if server == base_url:
        return ""

    values = {"new": sql.Literal(base_url), "old": sql.Literal(server)}
    table = sql.Identifier(schema, "meta")
    statement = sql.SQL(
        "UPDATE {table} SET base_url = {new} WHERE base_url = {old}"
    ).format(table=table, **values)

    return (
        " If that is the same Chatwoot under another address, stop the app and run: "
        f"{statement.as_string(None)}."
    )
