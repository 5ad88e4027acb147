"""What tests of the queue share: stores, deliveries, and a look at the file."""

from __future__ import annotations

import contextlib
import sqlite3
import time
import typing as t

from flask_chatwoot.queue.inspection import JobRow
from flask_chatwoot.queue.jobs import Job
from flask_chatwoot.queue.outbox import Draft, DraftPart
from flask_chatwoot.queue.sqlite import SQLiteDatabase
from flask_chatwoot.queue.store import Store

from .waiting import Clock

LEASE: t.Final = 30.0
DAY: t.Final = 86400.0
BODY: t.Final = b'{"event": "message_created"}'


def open_store(
    path: object,
    clock: t.Callable[[], float] = time.time,
    *,
    account_id: int = 1,
    sync: str = "normal",
    **timing: float,
) -> Store:
    """The stores of a file, without an app."""
    database = SQLiteDatabase(str(path), account_id=account_id, sync=sync, clock=clock)

    return Store.of(database, **timing)


def put(
    store: Store,
    message_id: int,
    *,
    conversation_id: int = 42,
    payload: bytes = BODY,
    kind: str = "alone",
    said: t.Callable[[], str] = str,
) -> bool:
    """Store a delivery, which stays a job of its own unless it is a message."""
    return store.queue.put(
        f"1:message_created:{message_id}",
        conversation_id=conversation_id,
        message_id=message_id,
        payload=payload,
        kind=kind,
        said=said,
    )


def say(store: Store, message_id: int, **values: t.Any) -> bool:
    """Store a customer's message, which joins the turn that waits."""
    return put(store, message_id, kind="message", **values)


def put_and_claim(
    store: Store,
    message_id: int,
    *,
    conversation_id: int = 42,
    kind: str = "alone",
    said: t.Callable[[], str] = str,
) -> tuple[bool, Job | None]:
    """Store a delivery and claim what is due, in one transaction."""
    with store.queue.transaction() as tx:
        new = store.queue.put(
            f"1:message_created:{message_id}",
            conversation_id=conversation_id,
            message_id=message_id,
            payload=BODY,
            kind=kind,
            said=said,
            tx=tx,
        )

        return new, store.queue.claim(tx=tx) if new else None


def say_and_claim(
    store: Store, message_id: int, *, conversation_id: int = 42
) -> tuple[bool, Job | None]:
    return put_and_claim(
        store, message_id, conversation_id=conversation_id, kind="message"
    )


def claim(store: Store) -> Job:
    job = store.queue.claim()
    assert job is not None

    return job


def claim_of(store: Store, conversation_id: int) -> Job:
    """Claim jobs until one of this conversation comes."""
    job = claim(store)

    while job.conversation_id != conversation_id:
        job = claim(store)

    return job


def finish(store: Store, outcome: str = "replied", reason: str | None = None) -> int:
    """Claim a job and end it; the id of its message."""
    job = claim(store)
    store.queue.settle(job, outcome, reason)

    return job.message_id


def only(store: Store) -> JobRow:
    (job,) = store.inspection.jobs()

    return job


def public(*texts: str) -> list[DraftPart]:
    return [DraftPart(text, False) for text in texts]


def keep(store: Store, job: Job, text: str = "On its way.") -> Draft:
    """The draft of a public reply."""
    (draft,) = store.outbox.keep(job, public(text))

    return draft


def sent(store: Store, job: Job, text: str = "On its way.") -> Draft:
    """A draft for which a request went out."""
    draft = keep(store, job, text)
    store.outbox.sending(job, draft)

    return draft


def follow_ups(job: Job) -> list[tuple[int, str, bytes | None]]:
    """The further messages of a job: id, text and payload."""
    return [(each.message_id, each.said, each.payload) for each in job.follow_ups]


def connection_of(store: Store) -> sqlite3.Connection:
    """The connection of a store, to look at what it executes."""
    with t.cast(SQLiteDatabase, store.database)._connection() as db:
        return db


def advance(store: Store, seconds: float) -> None:
    """Advance the clock of a store."""
    t.cast(Clock, store.database.clock).advance(seconds)


def now(store: Store) -> float:
    return store.database.clock()


# -- past the stores -----------------------------------------------------------


def read(where: Store | str, query: str) -> list[tuple[t.Any, ...]]:
    """The rows that another connection finds in a file."""
    if isinstance(where, Store):
        where = t.cast(SQLiteDatabase, where.database).path

    with contextlib.closing(sqlite3.connect(where)) as db:
        return db.execute(query).fetchall()


def everything(path: Store | str) -> list[tuple[t.Any, ...]]:
    """All rows about jobs."""
    return [
        row
        for table in ("job", "follow_up", "draft", "file")
        for row in read(path, f"SELECT * FROM {table} ORDER BY id")  # noqa: S608
    ]


def messages_by_job(path: Store | str) -> dict[int, list[int]]:
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


def is_intact(path: Store | str) -> bool:
    return read(path, "PRAGMA integrity_check") == [("ok",)]
