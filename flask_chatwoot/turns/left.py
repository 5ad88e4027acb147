"""Counts the messages that are left unanswered, and logs the count."""

from __future__ import annotations

import contextvars
import threading
import time
import typing as t

from flask_chatwoot.background import Forkable, register_for_forks
from flask_chatwoot.logs import logger

EVERY: t.Final = 60.0
"""Seconds between two lines."""

log = logger(__name__)


class LeftUnanswered(Forkable):
    """Logs how many messages were too old to be answered. Thread-safe.

    An import of an archive brings thousands, which make a line a minute.
    """

    def __init__(self) -> None:
        self.reset_in_child()
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """What was counted is the parent's."""
        self._lock = threading.Lock()
        self._count = 0
        self._due = 0.0

    def add(self) -> None:
        """Count a message."""
        with self._lock:
            self._count += 1

        self.report()

    def report(self, *, last: bool = False) -> None:
        """Log the messages since the last line, if one is due.

        :param last: It is: this process ends.
        """
        with self._lock:
            count, now = self._count, time.monotonic()

            if not count or (now < self._due and not last):
                return

            self._count, self._due = 0, now + EVERY

        # Not in the context of a turn: they are of many conversations.
        contextvars.Context().run(
            log.warning,
            "messages left unanswered, as they are older than CHATWOOT_MAX_AGE: %d",
            count,
        )
