"""HTTP servers without a log, and one that can leave requests unanswered."""

from __future__ import annotations

import contextlib
import socket
import threading
import typing as t
from enum import Enum, auto
from socketserver import TCPServer

from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler
from werkzeug.wrappers import Request, Response

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOOPBACK: t.Final = "127.0.0.1"

_POLL: t.Final = 0.02
"""Seconds between two checks whether the server must stop, where nothing wakes it."""


def shut_down(server: TCPServer) -> None:
    """End :meth:`serve_forever` in another thread, and wait until it has ended."""
    try:
        # On Linux this wakes the loop, which otherwise looks when its poll is over.
        with contextlib.suppress(OSError):
            server.socket.shutdown(socket.SHUT_RDWR)
    finally:
        server.shutdown()


class _SilentHandler(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: t.Any) -> None:
        """Nothing: a path may contain secrets."""


@contextlib.contextmanager
def serving(
    app: WSGIApplication,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    name: str = "server",
    wait: bool = True,
    **options: t.Any,
) -> t.Iterator[str]:
    """Serve an app from a thread until the block ends.

    :param port: 0: any free one.
    :param name: Of the thread.
    :param wait: Whether the end of the block waits for requests under way.
    :param options: Further arguments of werkzeug's server, such as ``ssl_context``.
    :return: The base URL, without a slash at the end.
    :raises OSError: It is not possible to listen there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    # Werkzeug would end the process if the port is taken.
    with socket.create_server((host, port), family=family) as listening:
        port = listening.getsockname()[1]
        server = ThreadedWSGIServer(
            host, port, app, handler=_SilentHandler, fd=listening.fileno(), **options
        )

    server.daemon_threads = not wait
    thread = threading.Thread(target=server.serve_forever, args=[_POLL], name=name)
    thread.start()
    shown = f"[{host}]" if ":" in host else host
    scheme = "https" if server.ssl_context else "http"

    try:
        yield f"{scheme}://{shown}:{port}"
    finally:
        shut_down(server)
        thread.join()
        server.server_close()


class Silence(Enum):
    """What to do instead of answering."""

    CUT = auto()
    HANG = auto()
    """Until the client disconnects or the server stops."""


Take = t.Callable[[Request], Response | Silence]


class _ApiHandler(_SilentHandler):
    """Accepts header names with underscores, which Chatwoot documents."""

    def make_environ(self) -> WSGIEnvironment:
        environ = super().make_environ()

        if token := self.headers.get("api_access_token"):
            environ.setdefault("HTTP_API_ACCESS_TOKEN", token)

        return environ


class Server(ThreadedWSGIServer):
    """Serves on a port of loopback from its own thread, and can stop at once.

    :param port: 0: any free one.
    """

    daemon_threads = True

    def __init__(self, take: Take, port: int = 0) -> None:
        super().__init__(LOOPBACK, port, self._wsgi, handler=_ApiHandler)
        self._take = take
        self._live: set[socket.socket] = set()
        self._ended = threading.Condition()
        self._thread = threading.Thread(
            target=self.serve_forever, args=[_POLL], name="simulator-api", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Close all connections, and wait for the threads that served them."""
        shut_down(self)
        self.server_close()
        self._thread.join()

        with self._ended:
            for connection in self._live:
                _cut(connection)

            self._ended.wait_for(lambda: not self._live, timeout=2.0)

    def _wsgi(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> t.Iterable[bytes]:
        answer = self._take(Request(environ))

        if isinstance(answer, Silence):
            connection = environ["werkzeug.socket"]

            if answer is Silence.HANG:
                _wait_for_end(connection)

            _cut(connection)
            answer = Response()  # is not sent: the connection is closed

        return answer(environ, start_response)

    def process_request(self, request: t.Any, client_address: t.Any) -> None:
        with self._ended:
            self._live.add(request)

        super().process_request(request, client_address)

    def shutdown_request(self, request: t.Any) -> None:
        super().shutdown_request(request)

        with self._ended:
            self._live.discard(request)
            self._ended.notify_all()


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _wait_for_end(connection: socket.socket) -> None:
    """Block until the client disconnects, or :meth:`Server.stop` closes it."""
    with contextlib.suppress(OSError):
        connection.recv(1, socket.MSG_PEEK)
