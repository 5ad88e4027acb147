"""Ends what waits for a server longer than it may.

No time limit of PostgreSQL or of TCP covers a server that is frozen, or a network that
loses packets while a connection is idle. Whoever reads from a socket wakes up with an
error when another thread shuts it down.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import typing as t

from flask_chatwoot.background import (
    BackgroundThread,
    Forkable,
    register_for_forks,
)

_EVERY: t.Final = 0.1
"""Seconds between two looks; nothing ends later than that."""

_IDLE: t.Final = 5.0
"""Seconds without a block after which the thread ends."""


class Watch:
    """A block, and the socket that it waits for.

    :ivar until: Seconds of ``time.monotonic()``.
    :ivar is_late: Whether the socket was shut down.
    """

    __slots__ = ("_socket", "is_late", "until")

    def __init__(self, fd: int, until: float) -> None:
        # A copy: the number of a closed descriptor may soon be another connection's.
        # The family does not matter for what is done with it.
        self._socket = socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM)
        self.until = until
        self.is_late = False

    def shut_down(self) -> None:
        """Wake up the block; does not wait."""
        self.is_late = True

        with contextlib.suppress(OSError):  # the server was faster
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the copy; the connection stays open."""
        self._socket.close()


class Guard(Forkable):
    """Shuts down the sockets of blocks that are late. Threads share it.

    One thread does so for all of them, which ends when there are none.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: set[Watch] = set()
        self._thread = BackgroundThread(
            "chatwoot-guard",
            self._look,
            busy=lambda: bool(self._watches),
            every=lambda: _EVERY,
            idle=lambda: _IDLE,
        )
        register_for_forks(self)

    @contextlib.contextmanager
    def watching(self, fd: int, until: float) -> t.Iterator[Watch]:
        """A block that must end in time.

        :param fd: The socket that it waits for; never closed here.
        :param until: Seconds of ``time.monotonic()``. A tenth of a second later at most
            the socket is shut down.
        """
        watch = Watch(fd, until)

        with self._lock:
            self._watches.add(watch)

        try:
            self._thread.ensure()
            yield watch
        finally:
            with self._lock:
                self._watches.discard(watch)

            watch.close()

    def _look(self) -> None:
        now = time.monotonic()

        with self._lock:
            for watch in self._watches:
                if watch.until <= now and not watch.is_late:
                    watch.shut_down()

    def reset_in_child(self) -> None:
        """Forget the parent's blocks."""
        self._lock = threading.Lock()

        for watch in self._watches:
            watch.close()

        self._watches = set()


guard: t.Final = Guard()
"""The one of this process."""
