"""The typing indicator, which the widget shows while a provider works."""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t

from flask_chatwoot.background import BackgroundThread, Forkable, register_for_forks
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError
from flask_chatwoot.logs import about, logger

AFTER: t.Final = 0.3
"""Seconds of work before it is shown."""

REFRESH: t.Final = 20.0
"""Seconds between two requests: the widget hides it after 30."""

_LOOK: t.Final = 0.1
"""Seconds between two looks at the providers at work."""

_IDLE: t.Final = 10.0
"""Seconds without work after which the thread ends."""

log = logger(__name__)


class _Work:
    """One provider at work."""

    def __init__(self, conversation_id: int) -> None:
        self.conversation_id = conversation_id
        self.due = time.monotonic() + AFTER
        self.shown = False
        self.over = False

    def end(self) -> None:
        """It is not at work any more."""
        self.over = True


class TypingIndicator(Forkable):
    """Switches the typing indicator in one thread; no turn waits for it.

    After a refusal this process sends no more requests, and logs one line. The thread
    starts with the first work and ends after ten seconds without any.
    """

    def __init__(self, client: ChatwootClient, *, wanted: bool = True) -> None:
        self._client = client
        self._wanted = wanted
        self._lock = threading.Lock()
        self._works: list[_Work] = []
        self._thread = BackgroundThread(
            "chatwoot-typing",
            self._look_at_all,
            busy=lambda: bool(self._works),
            every=lambda: _LOOK,
            idle=lambda: _IDLE,
        )
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The providers at work are the parent's."""
        self._lock = threading.Lock()
        self._works = []

    @contextlib.contextmanager
    def shown(self, conversation_id: int) -> t.Iterator[t.Callable[[], None]]:
        """Show it while the block runs, after a short delay; hide it when it ends.

        :return: Hides it before that. Does not block.
        """

        work = _Work(conversation_id)

        if self._wanted:
            with self._lock:
                self._works.append(work)

            self._thread.ensure()

        try:
            yield work.end
        finally:
            work.end()

    def _look_at_all(self) -> None:
        with self._lock:
            works = list(self._works)
            self._works = [work for work in works if not work.over]

        for work in works:
            self._look(work)

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

                with about(work.conversation_id):
                    log.debug("the typing indicator is not shown any more: %s", error)
