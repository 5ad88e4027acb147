"""What a file keeps of the move of its rows to PostgreSQL.

The first commit of a move takes all jobs out of the file that could still be worked on:
they are *moving*, and finished as far as any release can see. Triggers refuse whatever
an app would write about deliveries and turns, also that of a process which had the file
open before, or of an older release; their text names the remedy. What a job was before
is kept beside it, as long as nobody knows whether it has arrived. Then it is *moved*.
"""

import typing as t

from flask_chatwoot.errors import MovedError

from .database import Transaction
from .inspection import KEEP

_TABLES: t.Final = (
    """CREATE TABLE IF NOT EXISTS move (
        account_id INTEGER PRIMARY KEY,
        token TEXT NOT NULL,
        identity TEXT NOT NULL,  -- of the schema
        target TEXT NOT NULL,  -- for operators
        ended_at REAL
    )""",
    """CREATE TABLE IF NOT EXISTS moving (
        job_id INTEGER PRIMARY KEY,
        due_at REAL,
        claim TEXT,
        finished_at REAL,
        outcome TEXT
    )""",
)

_IS_THERE: t.Final = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name"

_LOAD: t.Final = """
SELECT token, identity, target, ended_at FROM move WHERE account_id = :account
"""

_BEGIN: t.Final = """
INSERT INTO move (account_id, token, identity, target)
VALUES (:account, :token, :identity, :target)
"""

_KEEP: t.Final = """
INSERT INTO moving (job_id, due_at, claim, finished_at, outcome)
SELECT id, due_at, claim, finished_at, outcome FROM job
WHERE account_id = :account AND (finished_at IS NULL OR outcome = 'dead')
"""

_TAKE_OUT: t.Final = """
UPDATE job SET due_at = NULL, claim = NULL, finished_at = :now, outcome = 'moving'
WHERE id IN (SELECT job_id FROM moving) AND account_id = :account
"""

_END: t.Final = (
    "UPDATE job SET outcome = 'moved'"
    " WHERE account_id = :account AND outcome = 'moving'",
    "DELETE FROM moving",
    "UPDATE move SET ended_at = :now WHERE account_id = :account",
)

_INSERTED: t.Final = (
    *("job", "conversation", "transcript", "told", "early_change", "host_post"),
    *("trait", "sweep", "inbox", "reading", "worker"),
)
"""The tables that get no new rows."""

_CHANGED: t.Final[t.Mapping[str, str]] = {
    "job": "NEW.claim IS NOT NULL OR NEW.finished_at IS NULL",
    "sweep": "NEW.claim IS NOT NULL",
    "conversation": "true",
}
"""The changes that are refused, by the table."""

_TRIGGER: t.Final = """
CREATE TRIGGER moved_{event}_{table}_{account} BEFORE {event} ON {table}
WHEN {row}.account_id = {account} AND ({when})
BEGIN SELECT RAISE(ABORT, {text}); END
"""

_MOVED: t.Final = (
    "its jobs were moved to {}; set CHATWOOT_DATABASE_URL and CHATWOOT_DATABASE_SCHEMA "
    "to these"
)

_IN_FULL: t.Final = ("due_at", "claim", "finished_at", "outcome")
"""Columns of jobs that the first commit changes."""

_JOBS: t.Final = f"""
FROM job LEFT JOIN moving ON moving.job_id = job.id
WHERE job.account_id = :account AND (
    job.finished_at IS NULL OR job.outcome IN ('dead', 'moving')
    OR job.finished_at > :now - {KEEP}
)
"""
"""The jobs that are copied: those that finished lately are known by their keys."""

_DRAFTS: t.Final = f"""
SELECT id FROM draft WHERE job_id IN (SELECT job.id {_JOBS})
"""  # noqa: S608 - from constants

_ROWS: t.Final[t.Mapping[str, str]] = {
    "job": _JOBS,
    "follow_up": f"FROM follow_up WHERE job_id IN (SELECT job.id {_JOBS})",
    "draft": f"FROM draft WHERE job_id IN (SELECT job.id {_JOBS})",
    "file": f"FROM file WHERE draft_id IN ({_DRAFTS})",
    **{
        table: f"FROM {table} WHERE account_id = :account"
        for table in _INSERTED
        if table not in ("job", "worker")
    },
}

_COUNT: t.Final = """
SELECT count(*) FILTER (WHERE finished_at IS NULL),
    count(*) FILTER (WHERE outcome = 'dead')
FROM moving
"""

TABLES: t.Final = tuple(_ROWS)
"""What is copied, in an order in which rows come before those that refer to them."""


class Move(t.NamedTuple):
    """A move that has begun.

    :ivar token: Its name in PostgreSQL.
    :ivar identity: Of the schema; see :meth:`.Database.identity`.
    :ivar target: The address and the schema, without password.
    :ivar ended_at: Unix seconds; ``None`` as long as it has not ended.
    """

    token: str
    identity: str
    target: str
    ended_at: float | None = None


def load(tx: Transaction, account_id: int) -> Move | None:
    """The move of an account's rows, if one has begun."""
    if tx.execute(_IS_THERE, {"name": "move"}).fetchone() is None:
        return None

    row = tx.execute(_LOAD, {"account": account_id}).fetchone()

    return None if row is None else Move(*row)


def make_room(tx: Transaction) -> None:
    """Make the tables that a move needs, and that no other file has."""
    for statement in _TABLES:
        tx.execute(statement)


def rows(
    tx: Transaction, account_id: int, table: str, columns: t.Iterable[str]
) -> t.Iterator[t.Sequence[t.Any]]:
    """The rows of a table to copy, jobs as they were before they were moving."""
    names = ", ".join(_column(table, each) for each in columns)

    return iter(
        tx.execute(
            f"SELECT {names} {_ROWS[table]}",
            {"account": account_id, "now": tx.now},
        )
    )


def _column(table: str, name: str) -> str:
    if table == "job" and name in _IN_FULL:
        return f"CASE WHEN moving.job_id IS NULL THEN job.{name} ELSE moving.{name} END"

    return f"{table}.{name}"


def begin(tx: Transaction, account_id: int, move: Move) -> None:
    """Take the jobs out, and refuse what an app would write from now on."""
    values = {"account": account_id, "now": tx.now, **move._asdict()}
    tx.execute(_BEGIN, values)
    tx.execute(_KEEP, values)
    tx.execute(_TAKE_OUT, values)

    for statement in _triggers(account_id, move.target):
        tx.execute(statement)


def counts(tx: Transaction) -> tuple[int, int]:
    """The jobs that are moving: how many are unfinished, and how many dead."""
    unfinished, dead = tx.execute(_COUNT).fetchone()

    return unfinished, dead


def end(tx: Transaction, account_id: int) -> None:
    """Forget what the jobs were before: they have arrived."""
    for statement in _END:
        tx.execute(statement, {"account": account_id, "now": tx.now})


def refuse(tx: Transaction, account_id: int, path: str) -> None:
    """Check that the rows are in the file.

    :raises MovedError: They are in PostgreSQL, or on their way.
    """
    move = load(tx, account_id)

    if move is None:
        return

    why = _MOVED.format(move.target)

    if move.ended_at is None:
        why = (
            f"its jobs are on their way to {move.target}; repeat flask chatwoot jobs "
            "move, until it says that they are moved"
        )

    raise MovedError(f"The database {path!r} is not used: {why}.")


def _triggers(account_id: int, target: str) -> t.Iterator[str]:
    text = _MOVED.format(target).replace("'", "''")
    values = {"account": account_id, "text": f"'{text}'"}

    for table in _INSERTED:
        yield _TRIGGER.format(
            event="INSERT", table=table, row="NEW", when="true", **values
        )

    for table, when in _CHANGED.items():
        yield _TRIGGER.format(
            event="UPDATE", table=table, row="NEW", when=when, **values
        )

    yield _TRIGGER.format(
        event="DELETE", table="job", row="OLD", when="OLD.outcome = 'moving'", **values
    )
