"""The session that the page shows, and another one in its place."""

from __future__ import annotations

import contextlib
import threading
import typing as t

from flask import Flask

from .installation import Installation
from .keeper import Keeper
from .session import Session, open_session


class Sessions:
    """Opens a session, and another when another Chatwoot is chosen. Thread-safe.

    :param slow: Seconds a slow provider takes.
    :param folder: See :class:`.Keeper`. What is kept there goes on.
    :ivar current: The session that is open.
    """

    current: Session

    def __init__(
        self, app: Flask, first: Installation, *, slow: float, folder: str | None
    ) -> None:
        self._app = app
        self._first = first
        self._slow = slow
        self._keeper = Keeper(folder)
        self._stack = contextlib.ExitStack()
        self._lock = threading.Lock()

    def __enter__(self) -> t.Self:
        self._open(self._first)
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the session, which ends its streams. May be repeated."""
        with self._lock:
            self._stack.close()

    def replace(self, installation: Installation) -> None:
        """Begin anew with another Chatwoot, which has no conversations."""
        with self._lock:
            port = self.current.port
            self._stack.close()
            self._keeper.forget()
            self._open(installation)
            self.current.port = port

    def _open(self, installation: Installation) -> None:
        self.current = self._stack.enter_context(
            open_session(self._app, installation, slow=self._slow, keeper=self._keeper)
        )
