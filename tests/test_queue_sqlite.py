from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import typing as t
from pathlib import Path

import pytest
from conftest import Clock

from flask_chatwoot.errors import DatabaseError, LeaseLostError
from flask_chatwoot.ownership.store import Memory
from flask_chatwoot.queue import sqlite as store_module
from flask_chatwoot.queue.jobs import Inbox
from flask_chatwoot.queue.sqlite import Store, transaction


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "folder" / "inbox.sqlite3")


@pytest.fixture
def store(path: str) -> t.Iterator[Store]:
    store = Store(path, account_id=1)
    yield store
    store.close()


def note(db: sqlite3.Connection, name: str) -> None:
    db.execute("INSERT INTO trait VALUES (1, ?)", (name,))


def notes(path: str) -> list[str]:
    """What another connection finds."""
    db = sqlite3.connect(path)

    try:
        return [name for (name,) in db.execute("SELECT name FROM trait ORDER BY name")]
    finally:
        db.close()


def test_a_transaction_is_kept_as_a_whole(store: Store, path: str) -> None:
    with store.use() as db, transaction(db):
        note(db, "one")
        note(db, "two")
        assert notes(path) == []

    assert notes(path) == ["one", "two"]


def test_the_log_is_moved_into_the_file_while_others_write(
    store: Store, path: str
) -> None:
    with store.use() as db:
        note(db, "one")

    other = sqlite3.connect(path, isolation_level=None)
    note(transaction(other), "two")
    store.checkpoint()
    alone = shutil.copy(path, f"{path}-without-its-log")
    other.execute("COMMIT")
    other.close()

    assert notes(alone) == ["one"]
    assert notes(path) == ["one", "two"]


def test_moving_the_log_makes_no_file(store: Store, path: str) -> None:
    with store.use() as db:
        note(db, "one")

    store.close()
    os.remove(path)

    with pytest.raises(DatabaseError, match=r"inbox\.sqlite3' failed: unable to open"):
        store.checkpoint()

    assert not os.path.exists(path)


def test_a_transaction_that_fails_is_undone_as_a_whole(store: Store, path: str) -> None:
    def write() -> None:
        with store.use() as db, transaction(db):
            note(db, "one")
            note(db, "one")

    with pytest.raises(
        DatabaseError, match=r"inbox\.sqlite3' failed: UNIQUE constraint"
    ):
        write()

    assert notes(path) == []

    with store.use() as db:
        note(db, "two")

    assert notes(path) == ["two"]


def test_an_error_of_the_caller_passes_as_it_is_and_undoes_what_was_begun(
    store: Store, path: str
) -> None:
    def write() -> None:
        with store.use(durable=True) as db, transaction(db):
            note(db, "one")
            raise LeaseLostError("lost")

    for _ in range(2):
        with pytest.raises(LeaseLostError, match="lost"):
            write()

    assert notes(path) == []


def test_an_error_of_the_file_opens_it_anew(store: Store) -> None:
    with store.use() as first:
        pass

    with pytest.raises(DatabaseError), store.use() as db:
        db.execute("no statement")

    with store.use() as second:
        assert second is not first
        note(second, "one")

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        first.execute("SELECT 1")


def test_one_connection_serves_all_who_share_a_store(path: str) -> None:
    inbox = Inbox(path, account_id=1)
    memory = Memory(inbox)
    memory.take(42)

    with inbox.use() as db:
        inbox_connection = db

    assert memory.holding(42).taken

    with inbox.use() as db:
        assert db is inbox_connection

    inbox.close()


def test_a_thread_waits_for_another_no_longer_than_chatwoot_does(
    store: Store, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "_BUSY", 0.05)
    errors: list[str] = []

    def wait() -> None:
        try:
            store.force()
        except DatabaseError as error:
            errors.append(str(error))

    with store.use():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(10)

    assert errors == [f"The inbox {path!r} is busy with other threads."]
    store.force()


@pytest.mark.parametrize(("sync", "level"), [("full", 2), ("normal", 1)])
def test_only_what_must_be_durable_is_forced_to_the_disk(
    path: str, sync: str, level: int
) -> None:
    store = Store(path, account_id=1, sync=sync)

    def level_of(durable: bool) -> int:
        with store.use(durable=durable) as db:
            return t.cast(int, db.execute("PRAGMA synchronous").fetchone()[0])

    assert level_of(durable=False) == 1
    assert level_of(durable=True) == level
    assert level_of(durable=False) == 1
    store.close()


def test_rows_of_no_job_are_not_stored(store: Store) -> None:
    with pytest.raises(DatabaseError, match="FOREIGN KEY"), store.use() as db:
        db.execute(
            "INSERT INTO follow_up (job_id, message_id, said, received_at)"
            " VALUES (7, 9001, '', 0)"
        )


def test_a_file_without_a_folder_is_made_where_the_process_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = Store("inbox.sqlite3", account_id=1)
    store.force()
    store.close()

    assert [file.name for file in tmp_path.iterdir()] == ["inbox.sqlite3"]


def test_a_file_is_made_once_and_stays_what_it_is(path: str, clock: Clock) -> None:
    first = Store(path, account_id=1, clock=clock)

    with first.use() as db:
        note(db, "one")

    tables = "SELECT name, sql FROM sqlite_master ORDER BY name"
    second = Store(path, account_id=2, clock=clock)

    with first.use() as one, second.use() as two:
        assert one.execute(tables).fetchall() == two.execute(tables).fetchall()

    first.close()
    second.close()
    assert notes(path) == ["one"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_waits_until_a_write_is_done(store: Store, path: str) -> None:
    began, forked = threading.Event(), threading.Event()
    seen_during_write: list[bool] = []

    def write() -> None:
        with store.use() as db, transaction(db):
            note(db, "one")
            began.set()
            seen_during_write.append(forked.wait(0.2))
            note(db, "two")

    thread = threading.Thread(target=write)
    thread.start()
    assert began.wait(10)
    store_module._before_fork()  # what os.fork() calls first
    forked.set()
    store_module._after_fork()
    thread.join(10)

    assert seen_during_write == [False]
    assert notes(path) == ["one", "two"]
