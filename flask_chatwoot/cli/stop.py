"""Wait for SIGTERM or Ctrl-C."""

from __future__ import annotations

import contextlib
import queue
import signal
import typing as t

GLANCE: t.Final = 0.2
"""Seconds until the main thread looks whether there was a signal."""


class Stop:
    """Takes both signals from when it is made. For the main thread only."""

    def __init__(self) -> None:
        self._told: queue.SimpleQueue[None] = queue.SimpleQueue()  # safe in a handler

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self._told.put(None))

    def wait(self) -> None:
        """Block until one of them came."""
        # The system may give a signal to any thread, and Python runs the handler in
        # this one, which does not wake up for it.
        while True:
            with contextlib.suppress(queue.Empty):
                return self._told.get(timeout=GLANCE)
