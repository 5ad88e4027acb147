"""Notifications: a process that stored a job wakes the workers of other machines.

They are hints. A worker that got none looks for due jobs all the same, every second or
so: what is lost costs that second.

A notification is sent after the commit, on a connection of its own: within a
transaction it would hold a lock of the whole server until the commit. It has no
payload. A pooler without sessions takes the statement ``LISTEN``, and what arrives
then is nobody's. So a listener first sends itself a notification with a payload, over
a second connection, and gives up if that does not arrive.
"""

from __future__ import annotations

import random
import threading
import time
import typing as t
import uuid

import psycopg

from flask_chatwoot.background import BackgroundThread, Forkable, register_for_forks
from flask_chatwoot.errors import DatabaseError

from .own_connection import Connect, LimitedConnection, OwnConnection, quoted

_EVERY: t.Final = 0.05
"""Seconds between two notifications of a process."""

_PAUSE: t.Final = 1.0
"""Seconds until the next one after one that could not be sent."""

_IDLE: t.Final = 10.0
"""Seconds after which a connection that sends nothing is closed."""

_PING_EVERY: t.Final = 3.0
"""Seconds of silence after which a listener asks whether its connection is there."""

_PROBE: t.Final = 2.0
"""Seconds that a notification to oneself may take."""

_SLICE: t.Final = 0.5
"""Seconds until a listener notices that it is stopped."""

_NOTIFY: t.Final = "SELECT pg_notify(%(channel)s, %(payload)s)"

_PING: t.Final = "SELECT 1"


class Notifier(Forkable):
    """Sends notifications from a thread of its own. Threads share it.

    The thread and the connection end when there was nothing to send for a while. A
    notification that cannot be sent is lost.

    :param connect: Opens a connection, within 2 seconds or so.
    :param schema: Names the channel.
    """

    def __init__(self, connect: Connect, schema: str) -> None:
        self._schema = schema
        self._connection = OwnConnection(connect)
        self._asked = threading.Event()
        self._next_at = 0.0
        self._thread = BackgroundThread(
            "chatwoot-notifier",
            self._step,
            busy=lambda: self._asked.is_set() or self._connection.is_open,
            every=lambda: max(self._next_at - time.monotonic(), 0.0),
        )
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The connection and the thread are the parent's, and what it must send."""
        self._asked = threading.Event()
        self._connection.reset_in_child()

    def notify(self) -> None:
        """Let listeners look for jobs. Call it after the commit. Does not block.

        Calls in quick succession are one notification, or two.
        """
        self._asked.set()
        self._thread.ensure()

    def _step(self) -> None:
        if not self._asked.wait(_IDLE):
            self._connection.close()
            return

        # First: what is stored from now on needs another one.
        self._asked.clear()

        try:
            values = {"channel": self._schema, "payload": ""}
            self._connection.execute(_NOTIFY, values)
            self._next_at = time.monotonic() + _EVERY
        except DatabaseError:  # workers look without it
            self._next_at = time.monotonic() + _PAUSE


class Listener(Forkable):
    """Calls back when jobs may be due, from a thread and a connection of its own.

    :param connect: Opens a connection, within 2 seconds or so.
    :param schema: Names the channel.
    :param callback: Called after each notification, and whenever some may have been
        lost: after each connection. It must not block.
    :ivar works: Whether notifications arrive here; ``None`` until that is known.
    """

    def __init__(
        self, connect: Connect, schema: str, callback: t.Callable[[], object]
    ) -> None:
        self.works: bool | None = None
        self._connect = connect
        self._schema = schema
        self._callback = callback
        self._wanted = False
        self._connection: LimitedConnection | None = None
        self._heard_at = 0.0
        self._failed = False
        self._thread = BackgroundThread(
            "chatwoot-listener",
            self._step,
            busy=lambda: self._wanted or self._connection is not None,
            every=self._pause,
        )
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The connection and the thread are the parent's."""
        self._wanted = False

        if self._connection is not None:
            self._connection.forget()
            self._connection = None

    def start(self) -> None:
        """Listen from now on, unless it is known that this does not work here."""
        if self.works is not False:
            self._wanted = True
            self._thread.ensure()

    def stop(self) -> None:
        """Stop within a second. Does not block."""
        self._wanted = False

    def _pause(self) -> float:
        """Seconds until the next step; the machines do not reconnect all at once."""
        is_lost = self._connection is None and self._failed

        return random.uniform(0.1, 0.5) if is_lost else 0.0  # noqa: S311 - no secret

    def _step(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._connected()

            if self._connection is not None:
                self._receive(self._connection)

            self._failed = False
        except (psycopg.Error, OSError, DatabaseError):
            self._connection = None
            self._failed = True

        if not self._wanted and self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connected(self) -> LimitedConnection | None:
        """A connection that listens, or ``None`` where nothing arrives at one."""
        connection = LimitedConnection(self._connect)

        try:
            connection.execute(f"LISTEN {quoted(self._schema)}")

            if self.works is None:
                self.works = self._arrives(connection)

            if self.works:
                self._heard_at = time.monotonic()
                self._callback()

                return connection

            # It went to a connection of the pooler, which others use.
            connection.execute("UNLISTEN *")
        except BaseException:
            connection.close()
            raise

        self._wanted = False
        connection.close()

        return None

    def _arrives(self, connection: LimitedConnection) -> bool:
        """Whether a notification arrives that another connection sends.

        The sender's own would also get it through a pooler without sessions.
        """
        sender, token = OwnConnection(self._connect), uuid.uuid4().hex

        try:
            sender.execute(_NOTIFY, {"channel": self._schema, "payload": token})
        finally:
            sender.close()

        until = time.monotonic() + _PROBE

        while (left := until - time.monotonic()) > 0:
            if token in connection.notifications(left):
                return True

        # It raises an error if the server stands still; then nothing is known.
        connection.execute(_PING)

        return token in connection.notifications(0.0)

    def _receive(self, connection: LimitedConnection) -> None:
        """Call back if something arrives; else ask from time to time."""
        arrived = connection.notifications(_SLICE)

        if not arrived and time.monotonic() - self._heard_at > _PING_EVERY:
            connection.execute(_PING)
            arrived = connection.notifications(0.0)
        elif not arrived:
            return

        self._heard_at = time.monotonic()

        if "" in arrived:  # the others are probes
            self._callback()
