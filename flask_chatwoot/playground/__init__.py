"""A page to write to an app as a customer, and to watch it as an operator.

``flask chatwoot playground`` serves it. It is a separate app on a separate port:
the host app gets no route, and its secrets and its database are not used.
"""

from __future__ import annotations

import contextlib
import typing as t
from urllib.parse import urlsplit

from flask import Flask

from flask_chatwoot.simulator.server import LOOPBACK, serving

from . import page
from .page import is_loopback
from .session import open_session

__all__ = ["LOOPBACK", "is_loopback", "serve"]


@contextlib.contextmanager
def serve(
    app: Flask,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    slow: float = 6.0,
    folder: str | None = None,
) -> t.Iterator[str]:
    """Serve the page for an app, until the block ends.

    :param host: The address to listen on.
    :param port: 0: any free one; or that of the process which is continued.
    :param slow: Seconds a slow provider takes.
    :param folder: Keeps the conversations for the next process; ``None``: they end.
    :return: The URL of the page.
    :raises OSError: The server cannot listen on this address and port.
    """
    with open_session(app, slow=slow, folder=folder) as session:
        pages = page.create(session, app.name, host)

        # A browser keeps connections open, so the end does not wait for them.
        with serving(
            pages, host=host, port=port or session.port, name="playground", wait=False
        ) as address:
            session.port = t.cast(int, urlsplit(address).port)

            try:
                yield f"{address}/"
            finally:
                session.close()  # ends the streams
