"""What workers do while the database fails."""

from __future__ import annotations

import logging
import random
import threading
import time
import typing as t

from flask_chatwoot.logs import logger

_FIRST_PAUSE: t.Final = 0.2
_LONGEST_PAUSE: t.Final = 1.0
"""Seconds until a worker tries again after the database failed. Each pause is twice the
one before, and spread by a quarter."""

_SAID_AGAIN: t.Final = 10.0
"""Seconds after which a failure is logged again, if it has ended in between."""

log = logger(__name__)


class Outage:
    """What is logged while nothing can be claimed. Threads share it.

    The first failure of an outage is an error; others are warnings. Each is logged once
    in an outage, and in several short ones not every time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._recent: dict[str, float] = {}

    def end(self) -> None:
        """The database was used."""
        if self._said:
            with self._lock:
                self._said.clear()

    def report(self, failed: str) -> None:
        """Log why nothing is claimed, unless that is known."""
        now = time.monotonic()

        with self._lock:
            self._recent = {
                text: at for text, at in self._recent.items() if now - at < _SAID_AGAIN
            }

            if failed in self._said or failed in self._recent:
                return

            level = logging.WARNING if self._said else logging.ERROR
            self._said.add(failed)
            self._recent[failed] = now

        log.log(level, "no job could be claimed: %s", failed)


def pause_after(failures: int) -> float:
    """Seconds until the database is tried again, after so many failures in a row."""
    pause = min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 20), _LONGEST_PAUSE)

    return pause * random.uniform(0.75, 1.25)  # noqa: S311 - not a secret
