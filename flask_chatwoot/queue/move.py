"""Move the rows of an account from its SQLite file to PostgreSQL.

The steps, each of which may be the last one of a process that is killed:

1. The tables are made in PostgreSQL.
2. In a transaction of each database, the rows are copied.
3. The file's is committed: the jobs are *moving*, and no release claims them.
4. PostgreSQL's is committed: the rows are there, with the token of the move.
5. A second commit in the file: the jobs are *moved*.

Who repeats a move looks for its token in PostgreSQL. If it is there, the fifth step is
left. If it is not, the third step is undone, and the move begins again. So an error
leaves the file as it was, unless the rows have arrived.
"""

from __future__ import annotations

import secrets
import typing as t

from flask_chatwoot.errors import DatabaseError

from . import moved
from .database import Transaction
from .moved import Move
from .postgresql.intake import Intake, intake
from .postgresql.url import Address
from .sqlite import SQLiteDatabase


class Moved(t.NamedTuple):
    """What a file has no more.

    :ivar unfinished: Jobs.
    :ivar dead: Jobs.
    :ivar again: An earlier call had moved them already.
    """

    unfinished: int = 0
    dead: int = 0
    again: bool = False


class Target(t.NamedTuple):
    """Where the rows go.

    :ivar base_url: The Chatwoot server; a schema is for one server and account.
    """

    address: Address
    schema: str
    base_url: str

    def __str__(self) -> str:
        return f"{self.address}, schema {self.schema}"


def move(path: str, account_id: int, target: Target) -> Moved:
    """Move all that is known of an account. Blocks for as long as that takes.

    :param path: The SQLite file.
    :raises DatabaseError: A process uses the file, the schema is in use, another move
        of the file has begun, or one of the databases failed. It may be repeated.
    """
    source = SQLiteDatabase(path, account_id=account_id, moves=True)

    try:
        return _move(source, target)
    finally:
        source.close()


def _move(source: SQLiteDatabase, target: Target) -> Moved:
    with intake(
        target.address,
        schema=target.schema,
        base_url=target.base_url,
        account_id=source.account_id,
    ) as taken:
        begun = _begun(source, taken) or _begin(source, taken, target)

    if begun.ended_at is not None:
        return Moved(again=True)

    with source.transaction(durable=True) as tx:
        counts = moved.counts(tx, source.account_id)
        moved.end(tx, source.account_id)

    return Moved(*counts)


def _begun(source: SQLiteDatabase, taken: Intake) -> Move | None:
    """The former move, if the rows have arrived; else the file is as it was."""
    with source.transaction(durable=True) as tx:
        _refuse_shared(source)
        begun = moved.load(tx, source.account_id)

        if begun is None:
            return None

        if begun.identity != taken.identity():
            raise DatabaseError(
                f"The jobs of {source.path!r} have been moved elsewhere, or are on "
                f"their way: to {begun.target}."
            )

        if begun.ended_at is None and not taken.has(begun.token):
            moved.undo(tx, source.account_id)
            return None

        return begun


def _begin(source: SQLiteDatabase, taken: Intake, target: Target) -> Move:
    """Copy the rows, and take the jobs out of the file."""
    with source.transaction(durable=True) as tx:
        _refuse_shared(source)
        begun = Move(secrets.token_hex(8), taken.identity(), str(target))
        _copy_rows(source, tx, taken, begun.token)
        moved.begin(tx, source.account_id, begun)

        return begun


def _refuse_shared(source: SQLiteDatabase) -> None:
    if source.is_shared():
        raise DatabaseError(
            f"A process uses {source.path!r}; stop the app and all its workers, and "
            "try again."
        )


def _copy_rows(
    source: SQLiteDatabase, tx: Transaction, taken: Intake, token: str
) -> None:
    table = taken.used(moved.TABLES)

    if table is not None:
        raise DatabaseError(
            f"The schema has rows in the table {table!r} already: an app has used it. "
            "Move before the app begins to use PostgreSQL, or name an empty schema."
        )

    def rows(table: str, columns: list[str]) -> t.Iterator[t.Sequence[t.Any]]:
        return moved.rows(tx, source.account_id, table, columns)

    taken.copy(moved.TABLES, rows)
    taken.finish(token, now=tx.now, former=source.identity())
