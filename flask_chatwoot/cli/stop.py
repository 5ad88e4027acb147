"""Wait for SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import queue
import signal
import typing as t

POLL: t.Final = 0.2
"""Seconds. The main thread looks for a signal this often."""


class Stop:
    """Catches both signals once it is made. For the main thread only."""

    def __init__(self) -> None:
        # A SimpleQueue may be used in a signal handler.
        self._signals: queue.SimpleQueue[None] = queue.SimpleQueue()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._signals.put(None))

    def wait(self) -> None:
        """Block until a signal was caught."""
        # The system may deliver a signal to any thread, and Python runs the handler in
        # this one, whose wait it does not interrupt.
        while True:
            with contextlib.suppress(queue.Empty):
                return self._signals.get(timeout=POLL)
