"""The SQLite file in which everything is kept, and the one connection to it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import typing as t
import weakref
from pathlib import Path

from flask_chatwoot.errors import DatabaseError

_BUSY: t.Final = 2.0
"""Seconds to wait for another thread, and again for another process. Chatwoot waits
five for its answer."""

_VERSION: t.Final = 3

_CHECKPOINT: t.Final = "PRAGMA wal_checkpoint(PASSIVE)"

_SCHEMA: t.Final = """
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    conversation_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    key TEXT NOT NULL,
    kind TEXT NOT NULL,
    received_at REAL NOT NULL,
    due_at REAL,  -- below zero: due at the opposite, and not in job_due yet
    claim TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    handoff TEXT,
    failure TEXT,
    done INTEGER NOT NULL DEFAULT 0,  -- finished, and not dead
    finished_at REAL,
    outcome TEXT,
    reason TEXT,
    payload BLOB  -- last, or what is behind it would be read through it
);
CREATE INDEX IF NOT EXISTS job_due ON job (account_id, due_at)
    WHERE due_at >= 0;
CREATE UNIQUE INDEX IF NOT EXISTS job_line
    ON job (account_id, conversation_id, done, key);
CREATE TABLE IF NOT EXISTS follow_up (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    message_id INTEGER NOT NULL,
    key TEXT UNIQUE,
    said TEXT NOT NULL,
    payload BLOB,
    received_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS follow_up_job ON follow_up (job_id);
CREATE INDEX IF NOT EXISTS follow_up_body ON follow_up (job_id)
    WHERE payload IS NOT NULL;
CREATE TABLE IF NOT EXISTS draft (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    marker TEXT NOT NULL,
    private INTEGER NOT NULL,
    last_words INTEGER NOT NULL,
    content TEXT,
    choices TEXT,
    files INTEGER NOT NULL,
    sent_at REAL,
    message_id INTEGER
);
CREATE TABLE IF NOT EXISTS file (
    id INTEGER PRIMARY KEY,
    draft_id INTEGER NOT NULL REFERENCES draft (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    content BLOB
);
CREATE INDEX IF NOT EXISTS file_draft ON file (draft_id);
CREATE TABLE IF NOT EXISTS conversation (
    account_id INTEGER NOT NULL,
    id INTEGER NOT NULL,
    taken INTEGER NOT NULL DEFAULT 0,
    marked INTEGER NOT NULL DEFAULT 0,
    former TEXT,
    operator_message_id INTEGER NOT NULL DEFAULT 0,
    human_at REAL,
    resolved_message_id INTEGER NOT NULL DEFAULT 0,
    touched_at REAL NOT NULL,
    PRIMARY KEY (account_id, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS said (
    account_id INTEGER NOT NULL,
    conversation_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    said_at REAL NOT NULL,
    PRIMARY KEY (account_id, conversation_id, message_id, role)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS worker (
    account_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    threads INTEGER NOT NULL,
    seen_at REAL NOT NULL,
    PRIMARY KEY (account_id, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trait (
    account_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (account_id, name)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS draft_job ON draft (job_id);
CREATE INDEX IF NOT EXISTS draft_made ON draft (message_id)
    WHERE message_id IS NOT NULL;
"""


class _Use:
    """A block with the connection. A class, for each turn has eight of them."""

    __slots__ = ("_durable", "_store")

    def __init__(self, store: Store, durable: bool) -> None:
        self._store = store
        self._durable = durable

    def __enter__(self) -> sqlite3.Connection:
        return self._store._enter(self._durable)

    def __exit__(
        self, kind: t.Any, error: BaseException | None, traceback: t.Any
    ) -> None:
        self._store._leave(self._durable, error)


class Store:
    """The file of one Chatwoot account.

    Threads and processes of one machine may share it. Every method is one short
    transaction, blocks for four seconds at most while others write, and
    raises :class:`DatabaseError` when the file can not be read or written.

    :param path: Made on first use, folders included.
    :param sync: ``"full"`` survives power loss, ``"normal"`` a crash of the process.
    :param clock: Unix seconds.
    """

    def __init__(
        self,
        path: str,
        *,
        account_id: int,
        sync: str = "full",
        clock: t.Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.account_id = account_id
        self.clock = clock
        self._sync = sync
        self._lock = threading.Lock()
        self._checkpointing = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._level = ""
        self._forced = 0
        self._opened: tuple[int, int] | None = None
        self._look_at = 0.0
        _stores.add(self)

    def force(self) -> None:
        """Have on the disk what this process wrote so far, if it is not there yet."""
        with self.use(durable=True) as db:
            if db.total_changes != self._forced:
                # The log is forced as a whole, so whatever writes a page will do.
                db.execute(f"PRAGMA user_version = {_VERSION}")

    def checkpoint(self) -> None:
        """Move SQLite's log into the file, so that it can begin anew.

        Takes tens of milliseconds after a thousand deliveries, or what the disk wants.
        Others read and write meanwhile, on the other connection, and only wait while
        the few pages are moved that they added.
        """
        with self._checkpointing:
            try:
                db = sqlite3.connect(
                    f"{Path(self.path).absolute().as_uri()}?mode=rw", uri=True
                )

                try:
                    db.execute(_CHECKPOINT)
                finally:
                    db.close()
            except sqlite3.Error as error:
                raise self._failed(error) from error

        with self.use() as db:
            db.execute(_CHECKPOINT)

    def _failed(self, error: Exception) -> DatabaseError:
        return DatabaseError(f"The inbox {self.path!r} failed: {error}.")

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            self._drop()

    def use(self, *, durable: bool = False) -> _Use:
        """This process's one connection, for one thread at a time, in a ``with``.

        :param durable: What is written must survive what the inbox promises to
            survive. The rest may be lost with the power, and is then done again.

        One connection behind a lock beats one per thread: a writer waits for its turn
        instead of sleeping until SQLite stops being busy, and a server that makes a
        thread per request opens no file per request.
        """
        return _Use(self, durable)

    def _enter(self, durable: bool) -> sqlite3.Connection:
        if not self._lock.acquire(timeout=_BUSY):
            raise DatabaseError(f"The inbox {self.path!r} is busy with other threads.")

        try:
            # Looked at once a second: SQLite would go on writing into a file that was
            # deleted, and all would be lost with this process.
            if durable and time.monotonic() >= self._look_at and self._is_gone():
                self._drop()

            db = self._db or self._open()
            level = self._sync if durable else "normal"

            if level != self._level:
                db.execute(f"PRAGMA synchronous = {level}")
                self._level = level
        except BaseException as error:
            self._leave(durable, error)
            raise

        return db

    def _leave(self, durable: bool, error: BaseException | None) -> None:
        try:
            if error is None:
                if durable and self._db is not None:
                    self._forced = self._db.total_changes
            elif isinstance(error, sqlite3.Error | OSError):
                self._drop()
                raise self._failed(error) from error
        finally:
            self._lock.release()

    def _open(self) -> sqlite3.Connection:
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        _make_private(self.path)
        db = sqlite3.connect(
            self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        self._db = db
        self._level = ""
        self._forced = 0
        self._opened = _identity(self.path)
        self._closing = weakref.finalize(self, db.close)
        self._closing.atexit = False  # threads may still be at work then
        # A commit writes a few pages, of which it changes little: small ones.
        db.execute("PRAGMA page_size = 2048")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        # At 64 MB a delivery has to do what is the workers' work: see checkpoint().
        db.execute("PRAGMA wal_autocheckpoint = 32000")
        self._prepare(db)

        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        deadline = time.monotonic() + _BUSY

        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                self._migrate(db)
            except sqlite3.OperationalError as error:
                # Several processes turn a new file to WAL at once: SQLite does not
                # wait there, whatever its time-out is.
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY

                if not busy or time.monotonic() > deadline:
                    raise

                time.sleep(0.01)
            else:
                return

    def _is_gone(self) -> bool:
        """Whether the open file is not the one at its path any more."""
        self._look_at = time.monotonic() + 1.0

        return self._db is not None and self._opened != _identity(self.path)

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]

        if version not in (0, _VERSION):
            self._drop()
            raise DatabaseError(
                f"The inbox {self.path!r} was made by another Flask-Chatwoot "
                f"(version {version} of the file, this one knows {_VERSION}); "
                "use that one, or set CHATWOOT_DATABASE_URL to another file."
            )

        if version == 0:
            with transaction(db):
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)

                db.execute(f"PRAGMA user_version = {_VERSION}")

    def _drop(self) -> None:
        if self._db is not None:
            self._closing()
            self._db = None


# SQLite forbids carrying an open file into a forked process, and what it remembers of
# its locks would come along. So every file is closed while a process forks; parent and
# child open it again when they need it.

_stores: weakref.WeakSet[Store] = weakref.WeakSet()
_forking: list[Store] = []


def _before_fork() -> None:
    for store in list(_stores):
        store._checkpointing.acquire()
        store._lock.acquire()
        store._drop()
        _forking.append(store)


def _after_fork() -> None:
    while _forking:
        store = _forking.pop()
        store._lock.release()
        store._checkpointing.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


def transaction(db: sqlite3.Connection) -> sqlite3.Connection:
    """A block that is committed as a whole, or rolled back."""
    db.execute("BEGIN IMMEDIATE")

    return db


def _make_private(path: str) -> None:
    """Make the file before SQLite does: what customers write is nobody else's to read.

    A file that is there is left alone: to close it would end the locks that another
    connection of this process has on it, which is how POSIX wants it.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None

    return found.st_dev, found.st_ino
