"""Connections beside the pool: for the beats of a process and for notifications.

Each statement has a limit on this side, whatever the server, the network or a pooler
does: the connection is polled here, and closed when the time is up. That needs no
second thread, no session and no setting of the server.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import threading
import time
import typing as t
import weakref

import psycopg
from psycopg import pq

from flask_chatwoot.errors import DatabaseError

LIMIT: t.Final = 2.0
"""Seconds that a statement may take, unless something else is said."""

Connect = t.Callable[[], psycopg.Connection[t.Any]]
"""Opens a connection, within seconds that it limits itself."""

Values = t.Mapping[str, t.Any]

Row = tuple[str | None, ...]
"""Values as PostgreSQL writes them."""

_DONE: t.Final = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK)

_inherited: list[psycopg.Connection[t.Any]] = []
"""Those of parent processes. One that was collected would warn that it is open."""


class LimitedConnection:
    """One connection in autocommit mode. Threads must not share it.

    Every method but :meth:`close` raises :class:`psycopg.Error`; the connection is
    closed then, and when this object is no longer used.
    """

    def __init__(self, connect: Connect) -> None:
        self._connection = connect()
        self._closing = weakref.finalize(self, _close, self._connection, os.getpid())
        self._closing.atexit = False  # a thread may be using it then

    def execute(
        self, sql: str, values: Values | None = None, *, limit: float = LIMIT
    ) -> list[Row]:
        """Run one statement; its values are named ``%(name)s``.

        :param limit: Seconds that it blocks at most.
        """
        with self._closed_on_error():
            text = psycopg.ClientCursor(self._connection).mogrify(sql, values)
            self._connection.pgconn.send_query(text.encode())

            return self._rows(time.monotonic() + limit)

    def _rows(self, until: float) -> list[Row]:
        connection, rows = self._connection.pgconn, list[Row]()

        while True:
            while connection.is_busy():
                if not self._wait(until):
                    raise psycopg.OperationalError("no answer")

            if (result := connection.get_result()) is None:
                return rows

            if result.status not in _DONE:
                raise _error_in(result)

            rows += _rows_in(result)

    def _wait(self, until: float) -> bool:
        """Wait for the server and read what it sends; ``False`` if the time is up."""
        connection = self._connection.pgconn

        with selectors.DefaultSelector() as selector:
            selector.register(connection.socket, selectors.EVENT_READ)
            ready = selector.select(max(until - time.monotonic(), 0.0))

        if ready:
            connection.consume_input()

        return bool(ready)

    def notifications(self, timeout: float) -> list[str]:
        """The payloads of what has arrived, or arrives within some seconds."""
        until = time.monotonic() + timeout

        with self._closed_on_error():
            while True:
                arrived = self._arrived()

                if arrived or not self._wait(until):
                    return arrived

    def _arrived(self) -> list[str]:
        found = []

        while (each := self._connection.pgconn.notifies()) is not None:
            found.append(each.extra.decode(errors="replace"))

        return found

    @contextlib.contextmanager
    def _closed_on_error(self) -> t.Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close it. Does not block."""
        self._closing()

    def forget(self) -> None:
        """In a forked process: the connection is the parent's, and stays open there."""
        with contextlib.suppress(OSError, psycopg.Error):
            os.close(self._connection.pgconn.socket)

        _inherited.append(self._connection)


class OwnConnection:
    """A connection that opens when it is needed. Threads share it, one at a time."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._open: LimitedConnection | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was open after the last statement."""
        return self._open is not None

    def execute(
        self, sql: str, values: Values | None = None, *, limit: float = LIMIT
    ) -> list[Row]:
        """Run one statement, which may be repeated.

        An open connection may have been cut: then a new one is tried at once.

        :param limit: Seconds that it blocks at most, once it is connected.
        :raises DatabaseError: It was not done, or nobody knows. The message has no
            secret in it.
        """
        with self._lock:
            try:
                if self._open is not None:
                    with contextlib.suppress(psycopg.OperationalError):
                        return self._open.execute(sql, values, limit=limit)

                self._open = LimitedConnection(self._connect)

                return self._open.execute(sql, values, limit=limit)
            except DatabaseError:  # of who connects
                self._open = None
                raise
            except (psycopg.Error, OSError) as error:
                self._open = None
                raise DatabaseError(reason(error)) from None

    def close(self) -> None:
        """Close it; the next statement opens another."""
        with self._lock:
            if self._open is not None:
                self._open.close()
                self._open = None

    def reset_in_child(self) -> None:
        """The open connection is the parent's."""
        self._lock = threading.Lock()

        if self._open is not None:
            self._open.forget()
            self._open = None


def reason(error: Exception) -> str:
    """The kind of an error. Its text may quote a URL with a password."""
    return f"PostgreSQL: {type(error).__name__}"


def quoted(identifier: str) -> str:
    """A name of a schema, as it is written in a statement."""
    return '"{}"'.format(identifier.replace('"', '""'))


def _close(connection: psycopg.Connection[t.Any], process: int) -> None:
    """Close a connection, unless it is that of a parent process, which goes on."""
    if process == os.getpid():
        connection.close()


def _error_in(result: pq.abc.PGresult) -> psycopg.Error:
    state = result.error_field(pq.DiagnosticField.SQLSTATE) or b""

    try:
        return psycopg.errors.lookup(state.decode())()
    except KeyError:
        return psycopg.OperationalError()


def _rows_in(result: pq.abc.PGresult) -> t.Iterator[Row]:
    for row in range(result.ntuples):
        values = (result.get_value(row, column) for column in range(result.nfields))
        yield tuple(None if each is None else each.decode() for each in values)
