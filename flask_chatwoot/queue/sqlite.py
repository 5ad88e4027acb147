"""The SQLite file of the stores, and the one connection to it."""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import threading
import time
import typing as t
import weakref
from pathlib import Path

from flask_chatwoot.background import Forkable, register_for_forks
from flask_chatwoot.errors import DatabaseError

from . import deadline, migrations, moved, schema
from .database import Result, Rows, Values, Work
from .liveness import Processes, ProcessLocks
from .timeline import Timeline
from .write_ahead_log import WriteAheadLog
from .write_order import WriteOrder

_DECIDED: t.Final = 3.9
"""Seconds after which a transaction has begun or failed. Chatwoot waits 5 s for an
answer."""

_BUSY: t.Final = 2.0
"""Seconds of these to wait for another thread."""

_ORDERED: t.Final = 1.0
"""Seconds of these to wait in the order of the writers."""

_SMALLEST_SQLITE: t.Final = (3, 35, 0)
"""The first that knows ``RETURNING``, of March 2021."""

_CHECKPOINT: t.Final = "PRAGMA wal_checkpoint(PASSIVE)"

_LOCAL_FILE: t.Final = "set CHATWOOT_DATABASE_URL to a writable file on a local disk"

_REMEDIES: t.Final[t.Mapping[int, str]] = {
    sqlite3.SQLITE_BUSY: "another process has been writing for too long",
    sqlite3.SQLITE_FULL: "its disk needs room",
    sqlite3.SQLITE_CORRUPT: "a broken file can only be moved away",
    sqlite3.SQLITE_NOTADB: "set CHATWOOT_DATABASE_URL to another file",
    sqlite3.SQLITE_CANTOPEN: _LOCAL_FILE,
    sqlite3.SQLITE_READONLY: _LOCAL_FILE,
    sqlite3.SQLITE_IOERR: _LOCAL_FILE,
}
"""The remedy by SQLite's error code."""


class SQLiteTransaction:
    """A :class:`~flask_chatwoot.queue.database.Transaction` of SQLite.

    :ivar now: Unix seconds.
    """

    __slots__ = ("_db", "now")

    def __init__(self, db: sqlite3.Connection, now: float) -> None:
        self._db = db
        self.now = now

    def execute(self, sql: str, values: Values | None = None) -> Rows:
        """Run one statement."""
        return self._db.execute(sql, values or {})

    def executemany(self, sql: str, values: t.Iterable[Values]) -> None:
        """Run a statement that writes once for each of the values."""
        self._db.executemany(sql, values)

    def first_free(self, sql: str, values: Values) -> t.Any:
        """The first row; no other transaction writes."""
        return self._db.execute(f"{sql} LIMIT 1", values).fetchone()


class SQLiteDatabase(Forkable):
    """The file of one Chatwoot account; a :class:`~.database.Database`.

    Threads and processes of one machine may share it. Every transaction is short and
    waits for four seconds at most while others write.

    :param path: Made on first use, folders included.
    :param sync: ``"full"`` survives power loss, ``"normal"`` a crash of the process.
    :param clock: Unix seconds; ``None``: one time for all processes of the file, which
        no change of the machine's clock moves.
    :param moves: Open it even if its rows are in PostgreSQL, to move them there.
    """

    poll = 0.25
    floor_for = 0.0

    def __init__(
        self,
        path: str,
        *,
        account_id: int,
        sync: str = "full",
        clock: t.Callable[[], float] | None = None,
        moves: bool = False,
    ) -> None:
        self.path = path
        self.account_id = account_id
        self._timeline = Timeline(f"{path}-clock") if clock is None else None
        self.clock: t.Callable[[], float] = clock or t.cast(Timeline, self._timeline)
        self._locks = ProcessLocks(f"{path}-processes")
        self.processes: Processes = self._locks
        self._sync = sync
        self._moves = moves
        self._lock = threading.Lock()
        self._checkpointing = threading.Lock()
        self._inspecting = threading.Lock()
        self._order = WriteOrder(f"{path}-lock")
        self._log = WriteAheadLog(path)
        self._db: sqlite3.Connection | None = None
        self._patience = _DECIDED
        self._opened: tuple[int, int] | None = None
        self._look_at = 0.0
        register_for_forks(self)

    def notify(self) -> None:
        """Nobody listens."""

    def listen(self, callback: t.Callable[[], object]) -> None:
        """Nothing tells of other processes."""

    def identity(self) -> str:
        """The number of the file on its disk, which a copy does not have."""
        found = _identity(self.path)

        return "" if found is None else str(found[1])

    def ahead(self) -> float:
        """Seconds by which ``clock`` is ahead of the machine's clock."""
        timeline = self._timeline

        return timeline.ahead() if timeline and self.clock is timeline else 0.0

    def is_shared(self) -> bool:
        """Whether another process has the file open, or works on its jobs.

        To be called in a transaction; the database must be closed afterwards.
        """
        is_open = self._timeline is not None and not self._timeline.is_alone()

        return is_open or self._locks.are_others_alive()

    def failover_age(self) -> None:
        """There is no server."""

    def force(self) -> None:
        """Force to the disk what this process has written so far."""
        if self._sync == "full":
            self._force(self._log.written)

    def _force(self, commit: int) -> None:
        try:
            if not self._log.force(commit, _BUSY):
                raise self._busy()
        except OSError as error:
            raise self._failed(error) from error

    def checkpoint(self) -> None:
        """Move SQLite's log into the file, if there is one, so that it starts again.

        Takes tens of milliseconds, or longer; others wait while what they added moves.
        """
        if not os.path.exists(self.path):
            return

        with self._checkpointing:
            try:
                with contextlib.closing(self._second_connection()) as db:
                    db.execute(_CHECKPOINT)
            except sqlite3.Error as error:
                raise self._failed(error) from error

        with self._connection() as db:
            db.execute(_CHECKPOINT)

    def _failed(self, error: Exception) -> DatabaseError:
        code = getattr(error, "sqlite_errorcode", None)

        if isinstance(error, OSError):
            code = sqlite3.SQLITE_CANTOPEN

        remedy = None if code is None else _REMEDIES.get(code & 0xFF)
        what = f"{error}; {remedy}" if remedy else f"{error}"

        return DatabaseError(f"The database {self.path!r} failed: {what}.")

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            self._drop()
            self._order.close()

            if self._timeline is not None:
                self._timeline.leave()

        self.processes.leave()

    @contextlib.contextmanager
    def transaction(
        self, *, durable: bool = False, conversation_id: int | None = None
    ) -> t.Iterator[SQLiteTransaction]:
        """A block whose writes are committed as a whole, or rolled back.

        :param durable: The writes survive what ``sync`` promises; other writes may be
            lost when the power fails, and the work is then repeated.
        """
        started = time.monotonic()

        with self._connection(look=durable) as db:
            # After the processes that came before.
            with self._order.turn(deadline.left(_ORDERED)):
                self._limit_wait(db, started)
                # At once: what is read in the block is still true when it writes.
                db.execute("BEGIN IMMEDIATE")

                with db:  # commits, or rolls back
                    yield SQLiteTransaction(db, self.clock())

            commit = self._log.count()

        # Others write meanwhile.
        if durable and self._sync == "full":
            self._force(commit)

    def write(
        self,
        work: Work[Result],
        *,
        durable: bool = False,
        conversation_id: int | None = None,
    ) -> Result:
        """The result of a function that is called in a :meth:`transaction`."""
        with self.transaction(durable=durable) as tx:
            return work(tx, False)

    def _limit_wait(self, db: sqlite3.Connection, started: float) -> None:
        """Let SQLite wait for the rest of the time that a transaction has to begin."""
        patience = deadline.left(started + _DECIDED - time.monotonic())

        # Rarely: only after a long wait, and once after that.
        if abs(patience - self._patience) > 0.5:
            db.execute(f"PRAGMA busy_timeout = {patience * 1000:.0f}")
            self._patience = patience

    @contextlib.contextmanager
    def read(self) -> t.Iterator[SQLiteTransaction]:
        """A block that only reads, and does not block writers."""
        with self._connection() as db:
            yield SQLiteTransaction(db, self.clock())

    @contextlib.contextmanager
    def inspect(self) -> t.Iterator[SQLiteTransaction]:
        """A block that reads for long, and sees one state of the file.

        On a connection of its own: it waits for no writer, and no writer waits for it.
        In each process one thread at a time has such a block.
        """
        if not self._inspecting.acquire(timeout=_BUSY):
            raise self._busy()

        try:
            self._make()

            with contextlib.closing(self._second_connection()) as db:
                db.execute("PRAGMA query_only = ON")
                db.execute("BEGIN")
                yield SQLiteTransaction(db, self.clock())
        except (sqlite3.Error, OSError) as error:
            raise self._failed(error) from error
        finally:
            self._inspecting.release()

    def _second_connection(self) -> sqlite3.Connection:
        """A connection besides the one that writes; makes no file."""
        return sqlite3.connect(
            f"{Path(self.path).absolute().as_uri()}?mode=rw",
            uri=True,
            timeout=_BUSY,
            isolation_level=None,
        )

    def _make(self) -> None:
        """Make the file and its tables, unless they are there."""
        if self._opened is not None and self._opened == _identity(self.path):
            return

        with self._connection():
            if self._is_gone():
                self._drop()
                self._open()

    def _busy(self) -> DatabaseError:
        return DatabaseError(f"The database {self.path!r} is busy with other threads.")

    @contextlib.contextmanager
    def _connection(self, *, look: bool = False) -> t.Iterator[sqlite3.Connection]:
        """The one connection of this process, for one thread at a time.

        One connection behind a lock is faster than one per thread: a writer waits for
        the lock instead of sleeping while SQLite is busy, and a server that starts a
        thread per request opens no file per request.

        :param look: Look whether the file is still there; see :meth:`_ready`.
        """
        if not self._lock.acquire(timeout=deadline.left(_BUSY)):
            raise self._busy()

        try:
            yield self._ready(look)
        except (sqlite3.Error, OSError) as error:
            self._drop()
            raise self._failed(error) from error
        finally:
            self._lock.release()

    def _ready(self, look: bool) -> sqlite3.Connection:
        """The open connection."""
        # Checked once a second: SQLite would go on writing into a file that was
        # deleted, and the data would be lost when this process ends.
        if look and time.monotonic() >= self._look_at and self._is_gone():
            self._drop()

        return self._db or self._open()

    def _open(self) -> sqlite3.Connection:
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        _make_private(self.path)

        if sqlite3.sqlite_version_info < _SMALLEST_SQLITE:
            raise DatabaseError(
                f"SQLite {sqlite3.sqlite_version} is too old; 3.35 is needed."
            )

        db = sqlite3.connect(
            self.path, timeout=_DECIDED, isolation_level=None, check_same_thread=False
        )

        try:
            self._prepare(db)
        except BaseException:
            db.close()
            raise

        self._db = db
        self._patience = _DECIDED
        self._opened = _identity(self.path)
        self._closing = weakref.finalize(self, db.close)
        self._closing.atexit = False  # threads may still use it then

        if self._timeline is not None:
            self._timeline.join(functools.partial(self._adapt, db))

        return db

    def _adapt(self, db: sqlite3.Connection, by: float | None) -> None:
        """Adapt times in the file to a clock that was set; no process has it open."""
        db.execute("BEGIN IMMEDIATE")

        with db:
            now = self.clock()

            if by is None:
                (latest,) = db.execute(schema.LATEST_TIME).fetchone()
                by = min(0.0, now - (latest or now))

            for statement in schema.ADAPT_TIMES:
                db.execute(statement, {"now": now, "by": by})

    def _prepare(self, db: sqlite3.Connection) -> None:
        # A commit changes few bytes of each page that it writes, so pages are small.
        db.execute("PRAGMA page_size = 2048")
        db.execute("PRAGMA secure_delete = ON")
        # What must be durable is forced after its commit; see WriteAheadLog.
        db.execute("PRAGMA synchronous = NORMAL")
        # From 64 MB on a delivery does the work of checkpoint(), which workers call.
        db.execute("PRAGMA wal_autocheckpoint = 32000")
        self._make_tables(db)

        if not self._moves:
            moved.refuse(SQLiteTransaction(db, 0.0), self.account_id, self.path)

        db.execute("PRAGMA foreign_keys = ON")  # a migration replaces tables

    def _make_tables(self, db: sqlite3.Connection) -> None:
        deadline = time.monotonic() + _BUSY

        while True:
            try:
                self._use_log(db)
                self._migrate(db)
            except sqlite3.OperationalError as error:
                # Several processes switch a new file to WAL at once: SQLite does not
                # wait there, whatever its time-out is.
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY

                if not busy or time.monotonic() > deadline:
                    raise

                time.sleep(0.01)
            else:
                return

    def _use_log(self, db: sqlite3.Connection) -> None:
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()

        if mode != "wal":
            raise DatabaseError(
                f"The database {self.path!r} cannot have a write-ahead log there; "
                f"{_LOCAL_FILE}."
            )

    def _is_gone(self) -> bool:
        """Whether the open file is no longer the one at its path."""
        self._look_at = time.monotonic() + 1.0

        return self._db is not None and self._opened != _identity(self.path)

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = _version_of(db)

        if version == schema.VERSION:
            return

        if version not in migrations.MIGRATIONS:
            raise DatabaseError(
                f"The database {self.path!r} was made by another Flask-Chatwoot "
                f"(version {version} of the file, this one knows {schema.VERSION}); "
                "use that version, or set CHATWOOT_DATABASE_URL to another file."
            )

        db.execute("BEGIN IMMEDIATE")

        with db:
            version = _version_of(db)  # another process may have migrated it

            for statement in migrations.MIGRATIONS.get(version, ()):
                db.execute(statement)

            db.execute(f"PRAGMA user_version = {schema.VERSION}")

    # SQLite forbids carrying an open file into a forked process, and what it remembers
    # of its locks would come along. So the file is closed while a process forks; parent
    # and child open it again when they need it.

    def before_fork(self) -> None:
        """Close the file, and keep it closed."""
        self._checkpointing.acquire()
        self._inspecting.acquire()
        self._lock.acquire()
        self._drop()

    def reset_in_child(self) -> None:
        """Keep no lock of the parent."""
        self._order.reset_in_child()
        self._log = WriteAheadLog(self.path)

        if self._timeline is not None:
            self._timeline.leave()

    def after_fork(self) -> None:
        """Let the file be opened again."""
        self._lock.release()
        self._inspecting.release()
        self._checkpointing.release()

    def _drop(self) -> None:
        if self._db is not None:
            self._log.close()
            self._closing()
            self._db = None


def _version_of(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _make_private(path: str) -> None:
    """Make the file before SQLite does, so that no other user may read it.

    An existing file is not opened: POSIX ends all locks that a process has on a file
    when the process closes any descriptor of it.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None

    return found.st_dev, found.st_ino
