"""A TCP relay on loopback whose connections can be cut, stalled and joined again."""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
import threading
import typing as t

HOST: t.Final = "127.0.0.1"

_CHUNK: t.Final = 65536
_RESET: t.Final = struct.pack("ii", 1, 0)
"""Of ``SO_LINGER``: closing sends a reset, and what was not sent yet is lost."""


class _State(enum.Enum):
    JOINED = enum.auto()
    STALLED = enum.auto()
    CUT = enum.auto()


class Relay:
    """Passes on what clients send to a server, and what it answers.

    It has a thread for itself, and two for each connection. Threads share it.

    :param port: Of the server, on this machine.
    :ivar port: Where clients connect.
    :ivar accepted: How many connections clients have made.
    """

    def __init__(self, port: int) -> None:
        self._target = (HOST, port)
        self._state = _State.JOINED
        self._changed = threading.Condition()
        self._open: set[_Connection] = set()
        self._listener = socket.create_server((HOST, 0), backlog=200)
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._lost: tuple[bytes, bool] | None = None
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Reset all connections, and accept no more."""
        # It would not wake the thread that waits for connections.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

        self._listener.close()
        self.cut()

    @property
    def connections(self) -> int:
        """How many are open, the stalled ones included."""
        with self._changed:
            return len(self._open)

    # -- what can happen to a network ----------------------------------------------

    def stall(self) -> None:
        """From now on no byte passes, while all sockets stay open.

        Clients can connect; the server hears of it when the relay is joined again.
        """
        self._enter(_State.STALLED)

    def cut(self) -> None:
        """Reset all connections, and from now on each new one."""
        self._enter(_State.CUT)
        self.reset()

    def join(self) -> None:
        """Let everything pass again, what was stalled included."""
        self._enter(_State.JOINED)

    def reset(self) -> int:
        """Reset all connections, which can be made again at once; how many."""
        with self._changed:
            doomed = [*self._open]

        for connection in doomed:
            connection.reset()

        return len(doomed)

    def lose(self, text: bytes, *, passed: bool) -> None:
        """Reset the connection on which a client sends a text next; once.

        :param passed: The server gets it, and its answer is lost.
        """
        with self._changed:
            self._lost = text, passed

    @property
    def is_lost(self) -> bool:
        """Whether that has happened."""
        return self._lost is None

    def _enter(self, state: _State) -> None:
        with self._changed:
            self._state = state
            self._changed.notify_all()

    # -- threads -------------------------------------------------------------------

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it was closed
            while True:
                client, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(
                    target=self._begin, args=[_Connection(client)], daemon=True
                ).start()

    def _begin(self, connection: _Connection) -> None:
        with self._changed:
            self._open.add(connection)

        try:
            if self._may_pass(connection) and connection.reach(self._target):
                back = threading.Thread(
                    target=self._pass,
                    args=[connection, connection.server, connection.client],
                    daemon=True,
                )
                back.start()
                self._pass(connection, connection.client, connection.server)
                back.join()
        finally:
            with self._changed:
                self._open.discard(connection)

            connection.close()

    def _pass(
        self, connection: _Connection, source: socket.socket, target: socket.socket
    ) -> None:
        """Pass on what comes from one side, until there is no more."""
        with contextlib.suppress(OSError):
            while True:
                data = source.recv(_CHUNK)

                # The end of a connection does not pass a stalled network either.
                if not self._may_pass(connection):
                    return

                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return

                if connection.is_mute or self._loses(connection, source, data):
                    break

                target.sendall(data)

        connection.reset()

    def _loses(
        self, connection: _Connection, source: socket.socket, data: bytes
    ) -> bool:
        """Whether the connection is reset now, instead of passing something on."""
        with self._changed:
            if (
                self._lost is None
                or source is not connection.client
                or self._lost[0] not in data
            ):
                return False

            passed, self._lost = self._lost[1], None

        connection.is_mute = passed  # then it is reset at the answer

        return not passed

    def _may_pass(self, connection: _Connection) -> bool:
        """Whether a connection still is, when the relay is not stalled any more."""
        with self._changed:
            if self._state is _State.CUT:
                connection.reset()

            while self._state is _State.STALLED and not connection.is_reset:
                self._changed.wait(0.2)

            return not connection.is_reset


class _Connection:
    """The two sockets of a client's connection. Threads share it."""

    def __init__(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = client
        self.server = socket.socket()
        self.is_reset = False
        self.is_mute = False

    def reach(self, target: tuple[str, int]) -> bool:
        """Connect to the server; ``False`` if nobody listens there."""
        try:
            self.server.settimeout(5.0)
            self.server.connect(target)
        except OSError:
            self.reset()
            return False

        self.server.settimeout(None)
        self.server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        return not self.is_reset

    def reset(self) -> None:
        """Let both threads end, and what closes the sockets reset them."""
        self.is_reset = True

        for each in (self.client, self.server):
            with contextlib.suppress(OSError):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                # Wakes a thread that reads; one that writes gets an error.
                each.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        self.client.close()
        self.server.close()
