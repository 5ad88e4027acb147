"""An HTTP server on a free port of loopback that can hang up, and leave at once."""

from __future__ import annotations

import contextlib
import socket
import threading
import typing as t
from enum import Enum, auto

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Silence(Enum):
    """What to do instead of answering."""

    CUT = auto()
    HANG = auto()
    """Until the client leaves or the server stops."""


Take = t.Callable[[Request], Response | Silence]


class _Handler(WSGIRequestHandler):
    """Quiet, and takes header names with underscores, which Chatwoot uses."""

    def make_environ(self) -> WSGIEnvironment:
        environ = super().make_environ()

        if token := self.headers.get("api_access_token"):
            environ.setdefault("HTTP_API_ACCESS_TOKEN", token)

        return environ

    def log(self, type: str, message: str, *args: t.Any) -> None:
        """Nothing: a path may hold what must not be logged."""


class Server(ThreadedWSGIServer):
    """Serves from its own thread, and can leave at once."""

    daemon_threads = True

    def __init__(self, take: Take) -> None:
        super().__init__("127.0.0.1", 0, self._wsgi, handler=_Handler)
        self._take = take
        self._live: set[socket.socket] = set()
        self._left = threading.Condition()
        self._thread = threading.Thread(
            target=self.serve_forever, args=[0.02], name="chatwoot-api", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close all connections, and wait for the threads that served them."""
        self.shutdown()
        self.server_close()
        self._thread.join()

        with self._left:
            for connection in self._live:
                _cut(connection)

            self._left.wait_for(lambda: not self._live, timeout=2.0)

    def _wsgi(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> t.Iterable[bytes]:
        answer = self._take(Request(environ))

        if isinstance(answer, Silence):
            connection = environ["werkzeug.socket"]

            if answer is Silence.HANG:
                _wait_for_end(connection)

            _cut(connection)
            answer = Response()  # goes nowhere

        return answer(environ, start_response)

    def process_request(self, request: t.Any, client_address: t.Any) -> None:
        with self._left:
            self._live.add(request)

        super().process_request(request, client_address)

    def shutdown_request(self, request: t.Any) -> None:
        super().shutdown_request(request)

        with self._left:
            self._live.discard(request)
            self._left.notify_all()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _wait_for_end(connection: socket.socket) -> None:
    """Block until the client leaves, or :meth:`Server.stop` closes the connection."""
    with contextlib.suppress(OSError):
        connection.recv(1, socket.MSG_PEEK)
