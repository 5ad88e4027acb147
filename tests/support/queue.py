"""What tests of the queue share: stores, deliveries, and a look at the file."""

from __future__ import annotations

import contextlib
import sqlite3
import typing as t
import weakref

import pytest

from flask_chatwoot.queue import store
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.database import Transaction
from flask_chatwoot.queue.inspection import JobRow
from flask_chatwoot.queue.outbox import Draft, DraftPart
from flask_chatwoot.queue.sqlite import SQLiteDatabase, SQLiteTransaction

from . import databases
from .databases import open_database, rows
from .waiting import Clock

LEASE: t.Final = 30.0
DAY: t.Final = 86400.0
BODY: t.Final = b'{"event": "message_created"}'


class Store(store.Store):
    """The stores of a file without an app, and what tests do with them."""

    @property
    def _database(self) -> SQLiteDatabase:
        return t.cast(SQLiteDatabase, self.database)

    @property
    def path(self) -> str:
        return _paths[self.database]

    @property
    def connection(self) -> sqlite3.Connection:
        """To look at what is executed."""
        with self._database._connection() as db:
            return db

    def close(self) -> None:
        self.database.close()

    # -- deliveries ----------------------------------------------------------------

    def put(
        self,
        message_id: int,
        *,
        conversation_id: int = 42,
        payload: bytes = BODY,
        kind: str = "alone",
        said: t.Callable[[], str] = str,
        tx: Transaction | None = None,
    ) -> bool:
        """Store a delivery, which stays a job of its own unless it is a message."""
        return self.queue.put(
            f"1:message_created:{message_id}",
            conversation_id=conversation_id,
            message_id=message_id,
            payload=payload,
            kind=kind,
            said=said,
            tx=tx,
        )

    def say(self, message_id: int, **values: t.Any) -> bool:
        """Store a customer's message, which joins the turn that waits."""
        return self.put(message_id, kind="message", **values)

    def put_and_claim(
        self, message_id: int, **values: t.Any
    ) -> tuple[bool, Job | None]:
        """Store a delivery and claim what is due, in one transaction."""
        with self.queue.transaction(values.get("conversation_id", 42)) as tx:
            new = self.put(message_id, **values, tx=tx)

            return new, self.queue.claim(tx=tx) if new else None

    def say_and_claim(self, message_id: int) -> tuple[bool, Job | None]:
        return self.put_and_claim(message_id, kind="message")

    # -- jobs and drafts -----------------------------------------------------------

    def claim(self) -> Job:
        job = self.queue.claim()
        assert job is not None
        return job

    def claim_of(self, conversation_id: int) -> Job:
        """Claim jobs until one of this conversation comes."""
        while (job := self.claim()).conversation_id != conversation_id:
            pass

        return job

    def settle(
        self, job: Job, outcome: str = "replied", reason: str | None = None
    ) -> None:
        self.queue.settle(job, outcome, reason)

    def finish(self, outcome: str = "replied", reason: str | None = None) -> int:
        """Claim a job and end it; the id of its message."""
        job = self.claim()
        self.settle(job, outcome, reason)
        return job.message_id

    def only(self) -> JobRow:
        (job,) = self.inspection.jobs()
        return job

    def keep(self, job: Job, text: str = "On its way.") -> Draft:
        """The draft of a public reply."""
        (draft,) = self.outbox.keep(job, public(text))
        return draft

    def sent(self, job: Job, text: str = "On its way.") -> Draft:
        """A draft for which a request went out."""
        draft = self.keep(job, text)
        self.outbox.sending(job, draft)
        return draft

    # -- time ----------------------------------------------------------------------

    @property
    def now(self) -> float:
        return self.database.clock()

    def advance(self, seconds: float) -> None:
        t.cast(Clock, self.database.clock).advance(seconds)

    # -- the file, as another connection finds it ----------------------------------

    def read(self, query: str) -> list[tuple[t.Any, ...]]:
        return read(self.path, query)

    def everything(self) -> list[tuple[t.Any, ...]]:
        """All rows about jobs."""
        return everything(self.path)

    def messages_by_job(self) -> dict[int, list[int]]:
        return messages_by_job(self.path)


def open_store(
    path: object,
    clock: t.Callable[[], float] | None = None,
    *,
    account_id: int = 1,
    sync: str = "normal",
    **timing: float,
) -> Store:
    """The stores of a file. Opens nothing."""
    database = open_database(path, account_id=account_id, sync=sync, clock=clock)
    store = Store.of(database, **timing)
    _paths[database] = str(path)

    return store


_paths: weakref.WeakKeyDictionary[object, str] = weakref.WeakKeyDictionary()
"""Of the databases that tests have opened."""


def public(*texts: str) -> list[DraftPart]:
    return [DraftPart(text, False) for text in texts]


def follow_ups(job: Job) -> list[tuple[int, str, bytes | None]]:
    """The further messages of a job: id, text and payload."""
    return [(each.message_id, each.said, each.payload) for each in job.follow_ups]


# -- past the stores -----------------------------------------------------------


def read(path: str, query: str) -> list[tuple[t.Any, ...]]:
    """The rows that another connection finds in a database."""
    return rows(path, query)


def everything(path: str) -> list[tuple[t.Any, ...]]:
    """All rows about jobs."""
    return [
        row
        for table in ("job", "follow_up", "draft", "file")
        for row in read(path, f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
    ]


def messages_by_job(path: str) -> dict[int, list[int]]:
    """The messages of each job as they are in the file."""
    found: dict[int, list[int]] = {}
    rows = read(
        path,
        "SELECT id, message_id FROM job"
        " UNION ALL SELECT job_id, message_id FROM follow_up",
    )

    for job, message in rows:
        found.setdefault(job, []).append(message)

    return found


def is_intact(path: str) -> bool:
    """Whether a file is; PostgreSQL looks after its own."""
    if databases.kind != "sqlite":
        return True

    return read(path, "PRAGMA integrity_check") == [("ok",)]


def steps_of(
    call: t.Callable[[], object], path: str, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """The steps in SQLite's plans for all that a call executes."""
    asked: list[tuple[str, t.Any]] = []
    execute = SQLiteTransaction.execute

    def spy(tx: SQLiteTransaction, sql: str, values: t.Any = None) -> t.Any:
        asked.append((sql, values))
        return execute(tx, sql, values)

    monkeypatch.setattr(SQLiteTransaction, "execute", spy)
    call()

    with contextlib.closing(sqlite3.connect(path)) as db:
        plans = [db.execute(f"EXPLAIN QUERY PLAN {sql}", v or {}) for sql, v in asked]
        return [row[-1] for plan in plans for row in plan]
