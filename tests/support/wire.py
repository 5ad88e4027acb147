"""A server on loopback that a script controls byte by byte."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import threading
import typing as t
from email import message_from_bytes
from email.policy import HTTP

Script = t.Callable[["Wire", int, socket.socket], None]


class Request(t.NamedTuple):
    """One request as it arrived; ``connection`` counts from 0."""

    connection: int
    line: str
    headers: dict[str, str]
    body: bytes


class Wire:
    """Calls the script with each new connection, in a thread of its own."""

    def __init__(self, script: Script) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> t.Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

        self._threads[0].join(10)

        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

        for thread in self._threads:
            thread.join(10)

        self._listener.close()

    @property
    def used(self) -> list[int]:
        """The connection of each request."""
        return [request.connection for request in self.requests]

    def read(self, number: int, connection: socket.socket) -> bool:
        """Read one request; ``False`` if the client has closed the connection."""
        seen = b""

        while b"\r\n\r\n" not in seen:
            if not (chunk := connection.recv(65536)):
                return False

            seen += chunk

        head, _, body = seen.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)

        while len(body) < int(headers.get("Content-Length", 0)):
            body += connection.recv(65536)

        self.requests.append(Request(number, line, headers, body))
        return True

    def wait_for(self, number: int) -> None:
        """Return once the server has closed a connection."""
        self._threads[number + 1].join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return

            number, self.connections = self.connections, self.connections + 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(number, connection))
            self._threads.append(thread)
            thread.start()

    def _serve(self, number: int, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._script(self, number, connection)


def http(status: str = "200 OK", body: str = '{"id": 1}', *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def answering(*answers: bytes) -> Script:
    """Gives each of these to one request of a connection, then closes it."""
    return _giving(answers)


def repeating(answer: bytes) -> Script:
    """Gives the same answer to every request."""
    return _giving(itertools.repeat(answer))


def _giving(answers: t.Iterable[bytes]) -> Script:
    def script(wire: Wire, number: int, connection: socket.socket) -> None:
        for answer in answers:
            if not wire.read(number, connection):
                return

            connection.sendall(answer)

    return script


def hanging(wire: Wire, number: int, connection: socket.socket) -> None:
    """Reads a request and waits until the client closes the connection."""
    wire.read(number, connection)
    connection.recv(1)


def resetting(_: Wire, __: int, connection: socket.socket) -> None:
    """Resets a connection at once."""
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


class Field(t.NamedTuple):
    """One part of a form as it arrived."""

    name: str
    filename: str | None
    kind: str
    content: bytes


def form_of(request: Request) -> list[Field]:
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    form = message_from_bytes(head + request.body, policy=HTTP)
    return [
        Field(
            str(part.get_param("name", header="content-disposition")),
            part.get_filename(),
            part.get_content_type(),
            t.cast(bytes, part.get_payload(decode=True)),
        )
        for part in form.iter_parts()
    ]
