"""Takes in the rows of another database, all of them or none."""

from __future__ import annotations

import contextlib
import typing as t

import psycopg

from flask_chatwoot.queue.schema import ADAPT_TIMES

from . import migration
from .beats import NOW
from .connections import OPTIONS
from .database import storable
from .failures import failed
from .schema import prepared
from .url import Address

_LIMITS: t.Final = (
    "SET LOCAL lock_timeout = '10s'",
    "SET LOCAL statement_timeout = '10min'",
    "SET LOCAL idle_in_transaction_session_timeout = '1min'",
    "SET LOCAL synchronous_commit = 'on'",
)

_LOCK: t.Final = "LOCK TABLE job IN EXCLUSIVE MODE"
"""No app stores a delivery meanwhile; nor does a move whose process was killed."""

_HAS: t.Final = "SELECT 1 FROM trait WHERE account_id = :account AND name = :name"

_ADD: t.Final = "INSERT INTO trait (account_id, name) VALUES (:account, :name)"

_NOT_LEASED: t.Final = "UPDATE job SET claim = NULL, worker = NULL"

_PROVEN: t.Final = "UPDATE sweep SET verified_by = :new WHERE verified_by = :old"
"""Catch-up goes on at once: what proved the other database is true of this one, since
the other is not used any more. What was not proven there is not proven here."""

_COUNT_ON: t.Final = """
SELECT setval(pg_get_serial_sequence('"{schema}".{table}', 'id'), max(id))
FROM {table} HAVING max(id) IS NOT NULL
"""

_NUMBERED: t.Final = ("job", "follow_up", "draft", "file", "host_post")

_BEGUN: t.Final = "sweep"
"""The table into which an app writes when it starts."""

_BOOLEAN: t.Final = 16
"""The number of PostgreSQL's type."""

Rows = t.Callable[[str, list[str]], t.Iterator[t.Sequence[t.Any]]]
"""Returns the rows of a table, with these columns."""


class Intake:
    """A transaction that takes rows in. It has the table of jobs for itself.

    Every method raises :class:`psycopg.Error` when the database cannot be written.
    """

    def __init__(
        self, connection: psycopg.Connection[t.Any], schema: str, account_id: int
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._account_id = account_id

    def _execute(self, sql: str, **values: t.Any) -> psycopg.Cursor[t.Any]:
        statement = prepared(sql, self._schema)

        return self._connection.execute(statement, values)

    def begin(self) -> None:
        """Begin the transaction; wait for others."""
        for statement in (*_LIMITS, _LOCK):
            self._execute(statement)

    def identity(self) -> str:
        """What tells the schema from a copy of it."""
        row = self._execute(migration.IDENTITY, schema=self._schema).fetchone()

        return str(row[0]) if row else ""

    def has(self, token: str) -> bool:
        """Whether the rows of a move are here."""
        found = self._execute(_HAS, account=self._account_id, name=f"move:{token}")

        return found.fetchone() is not None

    def used(self, tables: t.Iterable[str]) -> str | None:
        """One of the tables that has rows of an app, or ``None``."""
        looks = [
            f"SELECT '{table}' WHERE EXISTS (SELECT 1 FROM {table})"  # noqa: S608 - ours
            for table in tables
            if table != _BEGUN
        ]
        row = self._execute(" UNION ALL ".join(looks)).fetchone()

        return str(row[0]) if row else None

    def copy(self, tables: t.Iterable[str], rows: Rows) -> None:
        """Copy tables, which are empty."""
        self._execute(f"DELETE FROM {_BEGUN}")  # noqa: S608 - a constant

        for table in tables:
            self._copy(table, rows)

    def _copy(self, table: str, rows: Rows) -> None:
        looked = self._execute(f"SELECT * FROM {table} LIMIT 0")  # noqa: S608 - ours
        columns = [column.name for column in looked.description or ()]
        booleans = [column.type_code == _BOOLEAN for column in looked.description or ()]
        names = ", ".join(f'"{name}"' for name in columns)
        statement = f'COPY "{self._schema}"."{table}" ({names}) FROM STDIN'

        with (
            self._connection.cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            for row in rows(table, columns):
                copy.write_row(
                    [
                        _value(each, is_boolean=is_boolean)
                        for each, is_boolean in zip(row, booleans, strict=True)
                    ]
                )

    def finish(self, token: str, *, now: float, former: str) -> None:
        """Adapt what was copied to this database, and keep that it is here.

        :param now: Unix seconds by the clock of the other database.
        :param former: The identity of the other database.
        """
        row = self._connection.execute(f"SELECT {NOW}").fetchone()
        own = float(row[0]) if row else now

        for statement in ADAPT_TIMES:
            self._execute(statement, now=own, by=own - now)

        self._execute(_NOT_LEASED)
        self._execute(_PROVEN, old=former, new=self.identity())

        for table in _NUMBERED:
            self._execute(_COUNT_ON.format(schema=self._schema, table=table))

        self._execute(_ADD, account=self._account_id, name=f"move:{token}")


@contextlib.contextmanager
def intake(
    address: Address, *, schema: str, base_url: str, account_id: int
) -> t.Iterator[Intake]:
    """A block that takes rows in; what it did is committed at its end.

    Makes the schema and its tables, unless they are there.

    :raises DatabaseError: The database cannot be written, or the schema belongs to
        another account.
    """
    try:
        with psycopg.connect(
            **t.cast(dict[str, t.Any], address.connect_options()), **OPTIONS
        ) as connection:
            if not migration.migrate(connection, schema, base_url, account_id):
                migration.claim(connection, schema, base_url, account_id)

            with connection.transaction():
                taken = Intake(connection, schema, account_id)
                taken.begin()
                yield taken
    except psycopg.Error as error:
        raise failed(error, address, place="the URL") from None


def _value(value: t.Any, *, is_boolean: bool) -> t.Any:
    if isinstance(value, str):
        return storable(value)

    return bool(value) if is_boolean and value is not None else value
