"""A file with rows of all kinds, and what is in a file and in a schema."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import typing as t

import pytest

from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.payloads.fields import Upload
from flask_chatwoot.queue.moved import TABLES
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.queue.postgresql.url import parse
from flask_chatwoot.queue.transcript import TranscriptEntry

from . import databases
from .queue import DAY, open_store

if t.TYPE_CHECKING:
    from flask_chatwoot.queue.move import Target

SERVER: t.Final = "https://chatwoot.example.com"

LONG_AGO: t.Final = 4100
"""The message whose turn ended so long ago that it is not moved."""

Content = dict[str, list[dict[str, t.Any]]]

_OTHER_ROWS: t.Final = (
    "INSERT INTO told VALUES (1, 44, '{}', 5.5)",
    "INSERT INTO early_change VALUES (1, 45, 4501, 'edited', X'7b7d', :now)",
    "INSERT INTO host_post (account_id, conversation_id, marker, private, content,"
    " files, begun_at, message_id) VALUES (1, 44, 'm', 1, 'Hello', 0, :now, NULL)",
    "INSERT INTO review_count VALUES (1, '2026-11-29', 'note', 'used', 3)",
    "INSERT INTO reading VALUES (1, 44, 4400, 6.5, :now)",
    "INSERT INTO conversation (account_id, id, taken, touched_at)"
    " VALUES (1, 44, 1, :now)",
)


def fill(path: str) -> None:
    """Fill a file with jobs in all states, and with what else is known."""
    store = open_store(path)
    ownership = OwnershipStore(store.database)
    ownership.learn_bot(7)
    store.transcript.set_kept(True)
    store.transcript.add(44, [TranscriptEntry(4400, "user", "Schöne \0 Grüße")])
    store.sweeps.delivered(1, time.time(), 3)

    # Conversation 41: finished long ago, lately, and dead.
    for number, outcome in ((0, "replied"), (1, "replied"), (2, "dead")):
        store.say(LONG_AGO + number, conversation_id=41, payload=b"\0\xff")
        job = store.claim_of(41)
        store.outbox.posted(store.sent(job), 9000 + number)
        store.settle(job, outcome, "no_answer")

    # 42: claimed, with a post under way and a file; behind it a burst, and one alone.
    store.say(4201)
    job = store.claim()
    part = DraftPart("Which?", False, [("A", "a")], [Upload("a.txt", b"a", "text/x")])
    (draft,) = store.outbox.keep(job, [part], handoff="{}")
    store.outbox.sending(job, draft)
    store.say(4202)
    store.say(4203, said=lambda: "more")
    store.put(4204, kind="takeover")

    # 43: its first attempt failed.
    store.say(4301, conversation_id=43)
    store.queue.postpone(store.claim_of(43), 600.0, reason="server_error")

    # 46: ready.
    store.say(4601, conversation_id=46)
    store.close()

    with contextlib.closing(sqlite3.connect(path)) as db, db:
        for statement in _OTHER_ROWS:
            db.execute(statement, {"now": time.time()})

        db.execute(
            "UPDATE job SET finished_at = finished_at - :age WHERE message_id = :id",
            {"age": 8 * DAY, "id": LONG_AGO},
        )


def target(schema: str, *, url: str = databases.POSTGRESQL_URL) -> Target:
    """Where a test moves rows to."""
    from flask_chatwoot.queue.move import Target

    return Target(parse(url), schema, SERVER)


def content_of_file(path: str) -> Content:
    """The rows of a file that a move copies, as they should arrive."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        found = {table: [*map(dict, _select(db, table))] for table in TABLES}

    long_ago = {row["id"] for row in found["job"] if row["message_id"] == LONG_AGO}

    for table, column in (("job", "id"), ("draft", "job_id")):
        found[table] = [row for row in found[table] if row[column] not in long_ago]

    for job in found["job"]:
        if job["claim"] is not None:  # its worker is dead: it is due at once
            job |= {"due_at": _Lately(time.time())}

        job |= {"claim": None, "worker": None}

    return _comparable(found, about=lambda at: pytest.approx(at, abs=5.0))


class _Lately(float):
    """Equals each time since then."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and float(self) <= other <= time.time()

    __hash__ = float.__hash__


def content_of_schema(schema: str, db: t.Any = None) -> Content:
    """The rows of a schema, without what only a move leaves there.

    :param db: A connection to use; ``None`` for one of its own.
    """
    from psycopg.rows import dict_row

    with contextlib.nullcontext(db) if db else databases.connected() as used:
        cursor = used.cursor(row_factory=dict_row)
        found = {
            table: _select(cursor, f'"{schema}"."{table}"').fetchall()
            for table in TABLES
        }

    found["trait"] = [row for row in found["trait"] if "move:" not in row["name"]]

    return _comparable(found)


def _select(db: t.Any, table: str) -> t.Any:
    return db.execute(f"SELECT * FROM {table}")  # noqa: S608 - ours


def _comparable(
    found: Content, about: t.Callable[[float], t.Any] = lambda at: at
) -> Content:
    for row in found["sweep"]:
        del row["verified_by"]  # another database

    return {
        table: [
            {name: _plain(name, value, about) for name, value in row.items()}
            for row in sorted(rows, key=_key)
        ]
        for table, rows in found.items()
    }


def _key(row: dict[str, t.Any]) -> str:
    return repr([row[name] for name in sorted(row) if name.endswith(("id", "name"))])


def _plain(name: str, value: t.Any, about: t.Callable[[float], t.Any]) -> t.Any:
    if isinstance(value, float) and name.endswith(("_at", "_since", "_until")):
        return value if isinstance(value, _Lately) else about(value)

    if isinstance(value, str):
        return value.replace("\0", "\ufffd")

    return bytes(value) if isinstance(value, bytes | memoryview) else value
