"""The file: transactions, durability, forks, and what goes wrong."""

from __future__ import annotations

import errno
import functools
import os
import shutil
import sqlite3
import sys
import threading
import time
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.queue import Store, open_store, read
from support.waiting import wait_until

from flask_chatwoot import background
from flask_chatwoot.errors import DatabaseError, LeaseLostError
from flask_chatwoot.queue import sqlite as sqlite_module
from flask_chatwoot.queue import write_ahead_log
from flask_chatwoot.queue.database import Transaction
from flask_chatwoot.queue.sqlite import SQLiteDatabase
from flask_chatwoot.queue.transcript import Transcript

pytestmark = pytest.mark.sqlite


@pytest.fixture
def database(tmp_path: Path) -> t.Iterator[SQLiteDatabase]:
    database = SQLiteDatabase(str(tmp_path / "folder/chatwoot.sqlite3"), account_id=1)
    yield database
    database.close()


def note(tx: Transaction, name: str) -> None:
    tx.execute("INSERT INTO trait VALUES (1, :name)", {"name": name})


def write(database: SQLiteDatabase, *names: str, durable: bool = False) -> None:
    with database.transaction(durable=durable) as tx:
        for name in names:
            note(tx, name)


def notes(path: str) -> list[str]:
    """What another connection finds."""
    return [name for (name,) in read(path, "SELECT name FROM trait ORDER BY name")]


def fails(why: str = "") -> pytest.RaisesExc[DatabaseError]:
    """Expects an error that names the file."""
    return pytest.raises(DatabaseError, match=rf"chatwoot\.sqlite3' failed{why}")


def test_before_anything_is_stored_there_is_nothing_to_maintain(
    database: SQLiteDatabase, tmp_path: Path
) -> None:
    database.checkpoint()
    assert list(tmp_path.iterdir()) == []


# -- transactions ----------------------------------------------------------------


def test_a_transaction_is_kept_as_a_whole(database: SQLiteDatabase) -> None:
    with database.transaction() as tx:
        note(tx, "one")
        note(tx, "two")
        assert notes(database.path) == []

    assert notes(database.path) == ["one", "two"]


def test_a_transaction_that_fails_is_undone(database: SQLiteDatabase) -> None:
    def fail() -> None:
        with database.transaction(durable=True) as tx:
            note(tx, "one")
            raise LeaseLostError("lost")

    with fails(": UNIQUE constraint"):
        write(database, "one", "one")

    with pytest.raises(LeaseLostError, match="lost"):
        fail()

    write(database, "two")
    assert notes(database.path) == ["two"]


def connection_of(database: SQLiteDatabase) -> sqlite3.Connection:
    with database._connection() as connection:
        return connection


def test_an_error_of_the_file_opens_it_anew(database: SQLiteDatabase) -> None:
    first = connection_of(database)

    with pytest.raises(DatabaseError), database.read() as tx:
        tx.execute("no statement")

    write(database, "one")
    assert connection_of(database) is not first

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        first.execute("SELECT 1")


def test_all_stores_of_a_database_share_a_connection(database: SQLiteDatabase) -> None:
    Transcript(database).set_kept(True)
    connection = connection_of(database)

    assert Transcript(database).is_kept()
    assert connection_of(database) is connection


def test_a_thread_waits_for_another_no_longer_than_chatwoot_does(
    database: SQLiteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "_BUSY", 0.05)
    errors: list[str] = []

    def wait() -> None:
        try:
            database.checkpoint()
        except DatabaseError as error:
            errors.append(str(error))

    with database.read():
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(10)

    assert errors == [f"The database {database.path!r} is busy with other threads."]
    database.checkpoint()


def test_rows_of_no_job_are_not_stored(database: SQLiteDatabase) -> None:
    with (
        pytest.raises(DatabaseError, match="FOREIGN KEY"),
        database.transaction() as tx,
    ):
        tx.execute(
            "INSERT INTO follow_up (job_id, message_id, said, received_at)"
            " VALUES (7, 9001, '', 0)"
        )


# -- the file --------------------------------------------------------------------


def test_the_log_is_moved_while_others_write(database: SQLiteDatabase) -> None:
    write(database, "one")
    path = database.path
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO trait VALUES (1, 'two')")
    database.checkpoint()
    alone = shutil.copy(path, f"{path}-without-its-log")
    other.execute("COMMIT")
    other.close()

    assert notes(alone) == ["one"]
    assert notes(path) == ["one", "two"]


def test_moving_the_log_makes_no_file(database: SQLiteDatabase) -> None:
    write(database, "one")
    database.close()
    os.remove(database.path)

    database.checkpoint()

    assert not os.path.exists(database.path)


def test_a_file_without_a_folder_is_made_where_the_process_is_once_it_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = SQLiteDatabase("chatwoot.sqlite3", account_id=1)
    assert list(tmp_path.iterdir()) == []

    with database.read():
        pass

    database.close()

    names = sorted(file.name for file in tmp_path.iterdir())
    assert names == ["chatwoot.sqlite3", "chatwoot.sqlite3-clock"]


def test_a_file_is_made_once_and_stays_what_it_is(database: SQLiteDatabase) -> None:
    write(database, "one")
    tables = "SELECT name, sql FROM sqlite_master ORDER BY name"
    before = read(database.path, tables)
    other = SQLiteDatabase(database.path, account_id=2)
    write(other, "two")
    other.close()

    assert read(database.path, tables) == before
    assert notes(database.path) == ["one", "two"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs permission bits")
def test_no_other_user_may_read_the_file(store: Store, path: str) -> None:
    store.put(9001)

    files = sorted(Path(path).parent.iterdir())
    names = [f"chatwoot.sqlite3{end}" for end in ("", "-lock", "-shm", "-wal")]
    assert [file.name for file in files] == names
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_waits_until_a_write_is_done(database: SQLiteDatabase) -> None:
    began, forked = threading.Event(), threading.Event()
    seen_during_write: list[bool] = []

    def work() -> None:
        with database.transaction() as tx:
            note(tx, "one")
            began.set()
            seen_during_write.append(forked.wait(0.2))
            note(tx, "two")

    thread = threading.Thread(target=work)
    thread.start()
    assert began.wait(10)
    background._before_fork()  # what os.fork() calls first
    forked.set()
    background._after_fork()
    thread.join(10)

    assert seen_during_write == [False]
    assert notes(database.path) == ["one", "two"]


# -- what is forced to the disk --------------------------------------------------


@pytest.fixture
def forced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The descriptors that were forced to the disk, in order."""
    descriptors: list[int] = []
    sync = write_ahead_log._sync

    def note_and_sync(fd: int) -> None:
        sync(fd)
        descriptors.append(fd)

    monkeypatch.setattr(write_ahead_log, "_sync", note_and_sync)

    return descriptors


both_levels = pytest.mark.parametrize(("sync", "times"), [("full", 1), ("normal", 0)])


@both_levels
def test_only_durable_writes_are_forced(
    path: str, forced: list[int], sync: str, times: int
) -> None:
    database = SQLiteDatabase(path, account_id=1, sync=sync)

    for text, durable in (("one", False), ("two", True), ("three", False)):
        with database.transaction(durable=durable) as tx:
            note(tx, text)

    assert len(forced) == times
    database.close()
    assert len(forced) == 1 + times  # what is left, before SQLite deletes its log


@both_levels
def test_what_must_not_be_repeated_is_durable(
    path: str, forced: list[int], sync: str, times: int
) -> None:
    store = open_store(path, sync=sync)
    store.put(9000)
    job = store.claim()
    draft = store.keep(job)

    for write in (
        lambda: store.put(9001),
        lambda: store.outbox.sending(job, draft),
        lambda: store.outbox.posted(draft, 20001),
        lambda: store.settle(job),
    ):
        forced.clear()
        write()
        assert len(forced) == times

    store.close()


def test_what_is_claimed_at_once_is_forced_to_the_disk_when_asked(
    path: str, forced: list[int]
) -> None:
    store = open_store(path, sync="full")
    store.put(9001)
    forced.clear()

    store.put_and_claim(9002)
    assert not forced

    store.database.force()
    store.database.force()
    assert len(forced) == 1
    store.close()


def test_the_file_that_is_forced_has_the_commit(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of both files at that moment is what a power failure leaves."""
    copy = tmp_path / "left.sqlite3"
    inodes: list[int] = []

    def power_fails(fd: int) -> None:
        inodes.append(os.fstat(fd).st_ino)
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")

    store = open_store(path, sync="full")
    store.put(9000)
    monkeypatch.setattr(write_ahead_log, "_sync", power_fails)
    store.put(9001)

    assert inodes == [os.stat(f"{path}-wal").st_ino]
    assert read(str(copy), "SELECT message_id FROM job") == [(9000,), (9001,)]
    monkeypatch.undo()
    store.close()


class Disk:
    """One on which the first write ends only when a test lets it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        self.began = threading.Event()
        self.ready = threading.Event()
        monkeypatch.setattr(write_ahead_log, "_sync", self)

    def __call__(self, fd: int) -> None:
        self.times += 1
        self.began.set()
        assert self.ready.wait(10)


def test_a_file_without_a_log_is_refused(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda _, **kw: connect(":memory:", **kw))

    with pytest.raises(DatabaseError, match="write-ahead log there; set CHATWOOT_"):
        write(SQLiteDatabase(path, account_id=1), "one")


def test_threads_share_the_write_that_they_wait_for(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "_BUSY", 10.0)
    database = SQLiteDatabase(path, account_id=1)
    disk = Disk(monkeypatch)

    def write_durably(text: str) -> None:
        with database.transaction(durable=True) as tx:
            note(tx, text)

    texts = ["one", "two", "three", "four"]
    threads = [threading.Thread(target=write_durably, args=[text]) for text in texts]
    threads[0].start()
    assert disk.began.wait(10)

    for thread in threads[1:]:
        thread.start()

    # Others write while one waits for the disk.
    assert wait_until(lambda: len(notes(path)) == 4)
    assert all(thread.is_alive() for thread in threads)
    disk.ready.set()

    for thread in threads:
        thread.join(10)

    assert disk.times == 2
    monkeypatch.undo()
    database.close()


def test_a_commit_that_did_not_reach_the_disk_is_an_error(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(path, sync="full")
    store.put(9000)

    def break_down(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(write_ahead_log, "_sync", break_down)

    with fails(": .*Input/output error"):
        store.put(9001)

    store.close()
    monkeypatch.undo()
    store.put(9002)
    assert len(store.inspection.jobs()) == 3
    store.close()


def test_a_thread_waits_for_the_disk_no_longer_than_chatwoot_does(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_module, "_BUSY", 0.05)
    database = SQLiteDatabase(path, account_id=1)
    disk = Disk(monkeypatch)

    def write_durably() -> None:
        with database.transaction(durable=True) as tx:
            note(tx, "one")

    thread = threading.Thread(target=write_durably)
    thread.start()
    assert disk.began.wait(10)

    with (
        pytest.raises(DatabaseError, match="is busy"),
        database.transaction(durable=True) as tx,
    ):
        note(tx, "two")

    disk.ready.set()
    thread.join(10)
    assert notes(path) == ["one", "two"]
    monkeypatch.undo()
    database.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_commit_is_on_the_disk_when_its_file_is_closed_for_a_fork(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = SQLiteDatabase(path, account_id=1)

    with database.transaction() as tx:
        note(tx, "one")

    commit = database._log.written
    background._before_fork()
    assert not os.path.exists(f"{path}-wal")  # SQLite has moved it into the file

    database._force(commit)
    background._after_fork()
    database.close()


def test_a_delivery_is_not_stored_in_a_file_that_was_deleted(path: str) -> None:
    store = open_store(path)
    store.put(9001)
    Path(path).unlink()
    t.cast(SQLiteDatabase, store.database)._look_at = 0.0  # as if a second had passed

    store.put(9002)

    assert [job.message_id for job in open_store(path).inspection.jobs()] == [9002]
    store.close()


# -- what goes wrong -----------------------------------------------------------


LOCKED: t.Final = (
    "failed: database is locked; another process has been writing for too long."
)
BUSY: t.Final = "is busy with other threads."


@pytest.fixture
def lock(store: Store, path: str) -> t.Iterator[sqlite3.Connection]:
    """Another process that began to write and does not end."""
    store.put(9001)
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("BEGIN IMMEDIATE")
    yield db
    db.close()


@pytest.mark.slow
def test_threads_wait_for_a_locked_file_and_do_not_add_up_their_waits(
    store: Store, path: str, lock: sqlite3.Connection
) -> None:
    def wait(block: t.Callable[[], object]) -> tuple[float, str]:
        started = time.monotonic()

        with pytest.raises(DatabaseError) as error:
            block()

        reason = str(error.value).removeprefix(f"The database {path!r} ")

        return time.monotonic() - started, reason

    puts = [functools.partial(store.put, 9002 + number) for number in range(3)]
    other = open_store(path)  # whose claim waits for none of the threads

    with ThreadPoolExecutor(4) as pool:
        *waited, claimed = pool.map(wait, [*puts, other.queue.claim])

    assert 0.5 < max(seconds for seconds, _ in waited) < 4.5  # Chatwoot waits for five
    assert {reason for _, reason in waited} == {LOCKED, BUSY}
    assert claimed[0] < 4.5
    assert claimed[1] == LOCKED
    lock.execute("ROLLBACK")
    assert store.put(9002)
    other.close()


def test_a_claim_that_finds_nothing_due_does_not_wait_for_a_locked_file(
    store: Store, lock: sqlite3.Connection
) -> None:
    lock.execute("ROLLBACK")
    store.claim()
    lock.execute("BEGIN IMMEDIATE")
    started = time.monotonic()

    assert store.queue.claim() is None
    assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    "content", [b"no database at all. " * 50, b"SQLite format 3\0x"]
)
def test_a_corrupt_file_is_named(store: Store, path: str, content: bytes) -> None:
    Path(path).write_bytes(content)

    for _ in range(2):
        with fails(": file is not a .*; set CHATWOOT_DATABASE_URL to another"):
            store.put(9001)

    assert Path(path).read_bytes() == content


def test_a_file_that_turns_corrupt_is_an_error(store: Store, path: str) -> None:
    for number in range(50):
        store.put(9001 + number, conversation_id=number + 1)

    store.close()
    raw = Path(path).read_bytes()
    Path(path).write_bytes(raw[:4096] + b"\xa5" * (len(raw) - 4096))

    with pytest.raises(DatabaseError, match="malformed"):
        store.put(9001)


def test_a_folder_that_cannot_be_made_is_an_error_until_it_can(tmp_path: Path) -> None:
    place = tmp_path / "folder"
    place.touch()
    store = open_store(place / "chatwoot.sqlite3")

    with fails():
        store.put(9001)

    place.unlink()
    assert store.put(9001)
    store.close()


@pytest.fixture
def read_only(tmp_path: Path) -> t.Iterator[Path]:
    """A folder this process may not write; root may, so it is another user here."""
    own = os.geteuid()
    tmp_path.chmod(0o500)
    os.seteuid(own or 65534)
    yield tmp_path
    os.seteuid(own)


def test_a_folder_that_is_read_only_is_an_error(read_only: Path) -> None:
    with pytest.raises(DatabaseError, match="Permission denied"):
        open_store(read_only / "chatwoot.sqlite3").put(9001)
