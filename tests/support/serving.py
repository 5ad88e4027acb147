"""Apps on loopback, for tests that need a real server."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from collections.abc import Callable, Iterable, Iterator

from werkzeug.serving import WSGIRequestHandler, make_server

Wsgi = Callable[[t.Any, t.Any], Iterable[bytes]]


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: t.Any) -> None:
        """Log nothing."""


@contextlib.contextmanager
def served(app: Wsgi, **options: t.Any) -> Iterator[str]:
    """Serve on a free port; the address without a scheme."""
    server = make_server(
        "127.0.0.1", 0, app, threaded=True, request_handler=_Quiet, **options
    )
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()

    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
