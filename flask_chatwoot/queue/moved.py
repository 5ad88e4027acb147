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
"""No other file has them."""

_COLUMNS: t.Final = "PRAGMA table_info(move)"
"""None where the table is not there."""

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
WHERE account_id = :account AND id IN (SELECT job_id FROM moving)
"""

_PUT_BACK: t.Final = """
UPDATE job SET (due_at, claim, finished_at, outcome) = (
    SELECT due_at, claim, finished_at, outcome FROM moving WHERE job_id = job.id
) WHERE account_id = :account AND outcome = 'moving'
"""

_OWN: t.Final = "job_id IN (SELECT id FROM job WHERE account_id = :account)"

_FORGET: t.Final = f"DELETE FROM moving WHERE {_OWN}"  # noqa: S608 - a constant

_UNDO: t.Final = (
    *(_PUT_BACK, _FORGET),
    "DELETE FROM move WHERE account_id = :account",
)

_END: t.Final = (
    "UPDATE job SET outcome = 'moved'"
    " WHERE account_id = :account AND outcome = 'moving'",
    _FORGET,
    "DELETE FROM review WHERE account_id = :account",
    "UPDATE move SET ended_at = :now WHERE account_id = :account",
)

_COUNT: t.Final = f"""
SELECT count(*) FILTER (WHERE finished_at IS NULL),
    count(*) FILTER (WHERE outcome = 'dead')
FROM moving WHERE {_OWN}
"""  # noqa: S608 - from constants

_INSERTED: t.Final = (
    *("job", "conversation", "transcript", "told", "early_change", "host_post"),
    *("trait", "sweep", "inbox", "reading", "worker", "review", "review_count"),
)
"""The tables that get no new rows."""

_CHANGED: t.Final[t.Mapping[str, str]] = {
    "job": "NEW.claim IS NOT NULL OR NEW.finished_at IS NULL",
    "sweep": "NEW.claim IS NOT NULL",
    "conversation": "true",
}
"""The changes that are refused, by the table."""

_TRIGGER: t.Final = """
CREATE TRIGGER {name} BEFORE {event} ON {table}
WHEN {row}.account_id = {account} AND ({when})
BEGIN SELECT RAISE(ABORT, '{text}'); END
"""

_MOVED: t.Final = (
    "its jobs were moved to {}; set CHATWOOT_DATABASE_URL and CHATWOOT_DATABASE_SCHEMA "
    "to these"
)

_JOBS: t.Final = f"""
FROM job WHERE account_id = :account AND (
    finished_at IS NULL OR outcome = 'dead' OR finished_at > :now - {KEEP}
)
"""
"""The jobs that are copied: those that finished lately are known by their keys."""

_DRAFTS: t.Final = f"""
SELECT id FROM draft WHERE job_id IN (SELECT id {_JOBS})
"""  # noqa: S608 - from constants

_ROWS: t.Final[t.Mapping[str, str]] = {
    "job": _JOBS,
    "follow_up": f"FROM follow_up WHERE job_id IN (SELECT id {_JOBS})",
    "draft": f"FROM draft WHERE job_id IN (SELECT id {_JOBS})",
    "file": f"FROM file WHERE draft_id IN ({_DRAFTS})",
    **{
        table: f"FROM {table} WHERE account_id = :account"
        for table in _INSERTED
        if table not in ("job", "worker", "review")
    },
}

TABLES: t.Final = tuple(_ROWS)
"""What is copied, in an order in which rows come before those that refer to them.

Suggestions for operators are not: who presses the button again gets a new one. Drafts
that wait for a reply are not either: they get no verdict."""


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
    if tx.execute(_COLUMNS).fetchone() is None:
        return None

    row = tx.execute(_LOAD, {"account": account_id}).fetchone()

    return None if row is None else Move(*row)


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


def rows(
    tx: Transaction, account_id: int, table: str, columns: t.Iterable[str]
) -> t.Iterator[t.Sequence[t.Any]]:
    """The rows of a table to copy."""
    return iter(
        tx.execute(
            f"SELECT {', '.join(columns)} {_ROWS[table]}",
            {"account": account_id, "now": tx.now},
        )
    )


def begin(tx: Transaction, account_id: int, move: Move) -> None:
    """Take the jobs out, and refuse what an app would write from now on."""
    values = {"account": account_id, "now": tx.now, **move._asdict()}

    for statement in (*_TABLES, _BEGIN, _KEEP, _TAKE_OUT):
        tx.execute(statement, values)

    for statement in _triggers(account_id, move.target).values():
        tx.execute(statement)


def undo(tx: Transaction, account_id: int) -> None:
    """Let the file be as it was: it is sure that nothing has arrived."""
    for name in _triggers(account_id, ""):
        tx.execute(f"DROP TRIGGER {name}")

    for statement in _UNDO:
        tx.execute(statement, {"account": account_id})


def counts(tx: Transaction, account_id: int) -> tuple[int, int]:
    """The jobs that are moving: how many are unfinished, and how many dead."""
    unfinished, dead = tx.execute(_COUNT, {"account": account_id}).fetchone()

    return unfinished, dead


def end(tx: Transaction, account_id: int) -> None:
    """Forget what the jobs were before: they have arrived."""
    for statement in _END:
        tx.execute(statement, {"account": account_id, "now": tx.now})


def _triggers(account_id: int, target: str) -> dict[str, str]:
    """The triggers, by name."""
    text = _MOVED.format(target).replace("'", "''")
    refused = [
        *(("INSERT", table, "NEW", "true") for table in _INSERTED),
        *(("UPDATE", table, "NEW", when) for table, when in _CHANGED.items()),
        ("DELETE", "job", "OLD", "OLD.outcome = 'moving'"),
    ]
    made = {}

    for event, table, row, when in refused:
        name = f"moved_{event.lower()}_{table}_{account_id}"
        values = {"name": name, "account": account_id, "text": text}
        made[name] = _TRIGGER.format(
            event=event, table=table, row=row, when=when, **values
        )

    return made
