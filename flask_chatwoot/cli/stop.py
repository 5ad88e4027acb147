"""Wait for SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import math
import queue
import signal
import time
import typing as t

POLL: t.Final = 0.2
"""Seconds. The main thread looks for a signal this often."""


class Stop:
    """Catches both signals once it is made. For the main thread only."""

    def __init__(self) -> None:
        # A SimpleQueue may be used in a signal handler.
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._caught = False

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._signals.put(None))

    def wait(self, seconds: float = math.inf) -> bool:
        """Block until a signal was caught, or for so long; whether one was caught."""
        deadline = time.monotonic() + seconds

        # The system may deliver a signal to any thread, and Python runs the handler in
        # this one, whose wait it does not interrupt.
        while not self._caught and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self._signals.get(timeout=POLL)
                self._caught = True

        return self._caught
