"""A page to talk to an app as a customer, and to watch it as an operator.

``flask chatwoot playground`` serves it. It is a small app of its own, on a port of its
own: the host app gets no route, and keeps its secrets and its inbox to itself.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import typing as t

from flask import Flask
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from . import site
from .site import is_loopback
from .stage import staged

__all__ = ["LOOPBACK", "is_loopback", "play"]

LOOPBACK: t.Final = "127.0.0.1"

_POLL: t.Final = 0.05
"""Seconds it takes the server to notice that it shall stop."""


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: t.Any) -> None:
        """The page tells the story."""


@contextlib.contextmanager
def play(
    app: Flask, *, host: str = LOOPBACK, port: int = 0, slow: float = 6.0
) -> t.Iterator[str]:
    """Serve the page for an app, until the block is left.

    :param host: What to listen on.
    :param port: 0: any that is free.
    :param slow: Seconds a slow provider takes.
    :return: The address of the page.
    :raises OSError: It is not possible to listen there.
    """
    with staged(app, slow=slow) as stage:
        server, address = _listen(site.create(stage, app.name, host), host, port)
        thread = threading.Thread(
            target=server.serve_forever, args=[_POLL], name="playground"
        )
        thread.start()

        try:
            yield address
        finally:
            stage.close()  # streams end with it
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadedWSGIServer):
    # A browser keeps connections open, and nobody should wait for it.
    daemon_threads = True


def _listen(app: Flask, host: str, port: int) -> tuple[_Server, str]:
    """A server that listens already, and its address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET

    # Werkzeug would end the process if the port is taken.
    with socket.create_server((host, port), family=family) as door:
        chosen = door.getsockname()[1]
        server = _Server(host, chosen, app, handler=_Quiet, fd=door.fileno())

    shown = f"[{host}]" if ":" in host else host

    return server, f"http://{shown}:{chosen}/"
