"""Connections to PostgreSQL: a pool, with limits to what waits for it.

Imported only where a PostgreSQL database is configured.
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import logging
import os
import select
import threading
import time
import typing as t
import weakref

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import ConnectionPool, PoolTimeout

from flask_chatwoot.background import Forkable, register_for_forks
from flask_chatwoot.queue import deadline
from flask_chatwoot.queue.deadline import LONGEST

from .guard import guard
from .url import Address

OPTIONS: t.Final[t.Mapping[str, t.Any]] = {
    "autocommit": True,  # transactions are begun by statements
    "prepare_threshold": None,
    "cursor_factory": psycopg.ClientCursor,
}
"""Of every connection: nothing is kept in a session, which a pooler may change."""

_WAIT: t.Final = 2.0
"""Seconds of these to wait for a connection."""

_BLIP: t.Final = 1.0
"""Seconds of an outage during which connecting is tried again. In a longer one a block
fails with its first try, instead of keeping a thread of the web server."""

_PAUSE: t.Final = 0.1
"""Seconds after which a failed try is noticed and made again."""

_OLDEST_SERVER: t.Final = 130_000
"""In the form in which the server tells its version."""

_POOL: t.Final = "chatwoot-connections"
"""The name of the pool in its log, and of its threads."""


class Connection(psycopg.Connection[tuple[t.Any, ...]]):
    """A connection of a pool.

    :ivar returned: When it was last used, seconds of ``time.monotonic()``.
    """

    returned: float = 0.0

    @classmethod
    def connect(  # type: ignore[override]  # "tries" is a parameter of our own
        cls, conninfo: str = "", *, tries: Tries, **options: t.Any
    ) -> Connection:
        """Connect, and remember how that went."""
        try:
            connection = super().connect(conninfo, **options)

            version = connection.info.server_version

            if version < _OLDEST_SERVER:
                connection.close()
                raise ServerTooOldError(f"version {version}")
        except psycopg.Error as error:
            tries.fail(error)
            raise

        connection.returned = time.monotonic()
        tries.succeed(connection)

        return connection


class ServerTooOldError(psycopg.OperationalError):
    """The server is older than PostgreSQL 13."""


class ExhaustedError(psycopg.OperationalError):
    """Other threads have used all connections for too long."""


class NotConnectedError(psycopg.OperationalError):
    """No connection could be made in time; the reason, if known, is the cause."""


class LateError(psycopg.OperationalError):
    """A block took too long, and its connection was shut down."""


class Tries:
    """How connecting went, and what has been connected. Threads share it.

    :ivar opened: The connections of this process.
    """

    def __init__(self) -> None:
        self.opened: weakref.WeakSet[Connection] = weakref.WeakSet()
        self._failed: tuple[float, psycopg.Error] | None = None
        self._since: float | None = None

    def succeed(self, connection: Connection) -> None:
        """Take note of a connection."""
        self.opened.add(connection)
        self._failed = self._since = None

    def fail(self, error: psycopg.Error) -> None:
        """Take note of a try that failed."""
        now = time.monotonic()
        self._failed = now, error.with_traceback(None)
        self._since = self._since or now

    def error(self, since: float) -> psycopg.Error | None:
        """The error of the last try, if that failed since this time."""
        failed = self._failed

        return failed[1] if failed and failed[0] >= since else None

    def is_outage(self) -> bool:
        """Whether all tries have failed for longer than a blip."""
        since = self._since

        return since is not None and time.monotonic() - since >= _BLIP


class _Slots:
    """Lets in so many threads at a time, in the order in which they came.

    A semaphore lets in whoever comes at the right moment: under load, a thread that
    goes round fast keeps those out that wait.
    """

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._free = most
        self._waiting: collections.deque[threading.Lock] = collections.deque()

    def acquire(self, timeout: float) -> bool:
        """Come in; ``False`` if there was no room in so many seconds."""
        with self._lock:
            if self._free:
                self._free -= 1
                return True

            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)

        if mine.acquire(timeout=max(0.0, timeout)):
            return True

        with self._lock:
            if mine in self._waiting:
                self._waiting.remove(mine)
                return False

        return True  # it was let in just now

    def release(self) -> None:
        """Leave, and let in whoever has waited longest."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._free += 1


class _Pool(ConnectionPool[Connection]):
    """A pool whose copy in a forked process is never stopped there.

    It would wait for locks of threads that do not exist there.
    """

    process: int = 0

    def __del__(self) -> None:
        if self.process == os.getpid():
            super().__del__()


class Connections(Forkable):
    """The connections of one process to a database. Threads share it.

    Opened when the first block needs one. A forked process opens its own.

    :param most: Connections at a time.
    """

    _inherited: t.ClassVar[list[object]] = []
    """What the parent uses. Kept, so that nothing of it is closed here."""

    def __init__(self, address: Address, *, most: int) -> None:
        self.address = address
        self._most = most
        self._start()
        register_for_forks(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._slots = _Slots(self._most)
        self._pool: _Pool | None = None
        self._tries = Tries()
        self._broken = 0.0

    @contextlib.contextmanager
    def borrow(self, *, until: float | None = None) -> t.Iterator[Connection]:
        """A block with a connection, outside of a transaction.

        Waits up to two seconds for one, and lasts up to three in all: then its
        connection is shut down. A connection that is broken, or still in a transaction
        at the end, is closed.

        :param until: An earlier end, in seconds of ``time.monotonic()``.
        :raises psycopg.OperationalError: There was none in time, or the block was late.
        """
        began = time.monotonic()
        until = min(until or began + LONGEST, deadline.earliest(began + LONGEST))

        if until <= began:
            raise LateError("no time was left")

        latest = min(until, began + _WAIT)
        slots = self._slots

        if not slots.acquire(latest - began):
            raise ExhaustedError(f"all {self._most} connections are in use")

        try:
            pool = self._opened()
            connection = self._get(pool, began, latest)

            try:
                with self._guarded(connection, until):
                    yield connection
            finally:
                self._return(pool, connection)
        finally:
            slots.release()

    @contextlib.contextmanager
    def _guarded(self, connection: Connection, until: float) -> t.Iterator[None]:
        with guard.watching(connection.fileno(), until) as watch:
            try:
                yield
            except psycopg.Error as error:
                if watch.is_late:
                    raise LateError(f"no answer within {LONGEST:g} s") from error

                raise
            finally:
                if watch.is_late:
                    connection.close()

    def _opened(self) -> _Pool:
        with self._lock:
            if self._pool is None:
                pool = self._new_pool()

                try:
                    # Its threads must see nothing of the request that is the first.
                    contextvars.Context().run(pool.open)
                except RuntimeError as error:  # the limit of a container
                    raise NotConnectedError("no thread could be started") from error

                self._pool = pool

            return self._pool

    def _new_pool(self) -> _Pool:
        pool = _Pool(
            kwargs={
                **self.address.connect_options(),
                **OPTIONS,
                "tries": self._tries,
            },
            connection_class=Connection,
            min_size=0,
            max_size=self._most,
            # What it does not wait for is tried again by those who need a connection.
            reconnect_timeout=0.0,
            name=_POOL,
            open=False,
        )
        pool.process = os.getpid()

        return pool

    def _get(self, pool: _Pool, began: float, latest: float) -> Connection:
        while True:
            try:
                left = latest - time.monotonic()
                connection = pool.getconn(timeout=min(_PAUSE, left))
            except PoolTimeout:
                error = self._tries.error(since=began)

                if time.monotonic() >= latest or (error and self._tries.is_outage()):
                    raise NotConnectedError("no connection") from error

                continue

            if not self._is_stale(connection):
                return connection

            connection.close()
            pool.putconn(connection)

    def _is_stale(self, connection: Connection) -> bool:
        """Whether the server has closed an idle connection, or probably lost it.

        Nothing is sent: the server says nothing to an idle connection, except that it
        closes it. What was idle when another one broke may be broken, too.
        """
        try:
            said = _is_readable(connection.fileno())
        except (psycopg.Error, OSError):
            return True

        return said or connection.returned < self._broken

    def _return(self, pool: _Pool, connection: Connection) -> None:
        if pool.process != os.getpid():  # the block forked
            return

        status = connection.pgconn.transaction_status

        if status == TransactionStatus.UNKNOWN:
            self._broken = time.monotonic()
        elif status != TransactionStatus.IDLE:
            connection.close()  # a rollback could take long

        connection.returned = time.monotonic()
        pool.putconn(connection)

    def close(self) -> None:
        """Close all connections; those in use when their blocks end.

        The next block opens them again. Does not block.
        """
        with self._lock:
            pool, self._pool = self._pool, None

        if pool is not None:
            pool.close(timeout=0.0)

    def before_fork(self) -> None:
        """Wait until no pool is being opened."""
        self._lock.acquire()

    def after_fork(self) -> None:
        """Go on."""
        self._lock.release()

    def reset_in_child(self) -> None:
        """Let go of the parent's connections, without a word to the server."""
        opened = [*self._tries.opened]
        self._inherited.extend([self._pool, *opened])
        _release(opened)
        self._start()


def _is_readable(fd: int) -> bool:
    """Whether there is something to read, or the other side is gone. Does not wait."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([fd], [], [], 0.0)[0])

    poll = select.poll()  # knows descriptors above 1023, too
    poll.register(fd, select.POLLIN)

    return bool(poll.poll(0.0))


def _release(opened: t.Iterable[Connection]) -> None:
    """Let their descriptors lead nowhere, so that only the parent keeps them open.

    Else the server would go on with the transactions of a parent that was killed.
    """
    nowhere = os.open(os.devnull, os.O_RDWR)

    for connection in opened:
        with contextlib.suppress(psycopg.Error, OSError):
            os.dup2(nowhere, connection.fileno(), inheritable=False)

    os.close(nowhere)


def _is_of_others(record: logging.LogRecord) -> bool:
    args = record.args if isinstance(record.args, tuple) else ()

    return not any(isinstance(arg, Connection) or _POOL in str(arg) for arg in args)


# Errors are raised, and logged once by who gets them; the pool logs each of its tries.
logging.getLogger("psycopg.pool").addFilter(_is_of_others)
