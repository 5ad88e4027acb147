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
from .installation import Installation
from .page import is_loopback
from .sessions import Sessions

__all__ = ["LOOPBACK", "Installation", "is_loopback", "serve"]


@contextlib.contextmanager
def serve(
    app: Flask,
    *,
    host: str = LOOPBACK,
    port: int = 0,
    slow: float = 6.0,
    installation: Installation | None = None,
    folder: str | None = None,
) -> t.Iterator[str]:
    """Serve the page for an app, until the block ends.

    :param host: The address to listen on.
    :param port: 0: any free one; or that of the process which is continued.
    :param slow: Seconds a slow provider takes.
    :param installation: The Chatwoot to begin with; ``None``: the newest known.
    :param folder: Keeps the conversations for the next process; ``None``: they end.
    :return: The URL of the page.
    :raises OSError: The server cannot listen on this address and port.
    """
    first = installation or Installation()

    with Sessions(app, first, slow=slow, folder=folder) as sessions:
        pages = page.create(sessions, app.name, host)
        kept = sessions.current.port

        # A browser keeps connections open, so the end does not wait for them.
        with serving(
            pages, host=host, port=port or kept, name="playground", wait=False
        ) as address:
            sessions.current.port = t.cast(int, urlsplit(address).port)

            try:
                yield f"{address}/"
            finally:
                sessions.current.close()  # ends the streams
