"""The customer sees that somebody types while a provider works."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import typing as t
import weakref

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError

AFTER: t.Final = 0.3
"""Seconds of work before it is shown; who answers at once needs none."""

REFRESH: t.Final = 20.0
"""Seconds. The widget stops showing it after 30 by itself."""

_LOOK: t.Final = 0.1
_IDLE: t.Final = 10.0
"""Seconds without work after which the thread ends."""

log = logging.getLogger(__name__)


_indicators: weakref.WeakSet[Indicator] = weakref.WeakSet()


def _after_fork() -> None:
    for indicator in list(_indicators):
        indicator.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Work:
    """One provider at work."""

    def __init__(self, conversation_id: int) -> None:
        self.conversation_id = conversation_id
        self.due = time.monotonic() + AFTER
        self.shown = False
        self.over = False


class Indicator:
    """Switches the typing indicator, from one thread, which no turn waits for.

    A server that refuses it is asked no more by this process, after one line in the
    log. The thread begins with the first work and ends when a while has passed without.
    """

    def __init__(self, client: ChatwootClient, *, wanted: bool = True) -> None:
        self._client = client
        self._wanted = wanted
        self.forget()
        _indicators.add(self)

    def forget(self) -> None:
        """Begin anew, in a forked process: the thread did not come along."""
        self._lock = threading.Lock()
        self._works: list[_Work] = []
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def shown(self, conversation_id: int) -> t.Iterator[None]:
        """Show it inside, from a moment on; no longer than that, however it ends."""
        if not self._wanted:
            yield
            return

        work = _Work(conversation_id)

        with self._lock:
            self._works.append(work)
            self._start()

        try:
            yield
        finally:
            work.over = True

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._watch, name="chatwoot-typing", daemon=True
            )
            self._thread.start()

    def _watch(self) -> None:
        pause = threading.Event()
        idle_since = time.monotonic()

        while True:
            pause.wait(_LOOK)

            for work in self._current():
                self._look(work)
                idle_since = time.monotonic()

            with self._lock:
                if not self._works and time.monotonic() - idle_since > _IDLE:
                    self._thread = None
                    return

    def _current(self) -> list[_Work]:
        with self._lock:
            works = list(self._works)
            self._works = [work for work in works if not work.over]

        return works

    def _look(self, work: _Work) -> None:
        now = time.monotonic()

        if work.over:
            if work.shown:
                work.shown = False
                self._switch(work, on=False)
        elif now >= work.due:
            work.due = now + REFRESH
            work.shown = True
            self._switch(work, on=True)

    def _switch(self, work: _Work, *, on: bool) -> None:
        if not self._wanted:
            return

        try:
            self._client.toggle_typing_status(work.conversation_id, on=on)
        except APIError as error:
            if error.kind == "permanent":
                self._wanted = False
                log.info("the typing indicator is not shown any more: %s", error)
