"""Threads that start with work and end when there is none, and hooks for forks.

A forked process has no copy of its parent's threads, and its locks may be held by
threads that it lacks. :func:`survive_forks` registers what must be reset.
"""

from __future__ import annotations

import os
import threading
import time
import typing as t
import weakref


class Forkable(t.Protocol):
    """An object with threads, locks or connections, which a fork must not share."""

    def before_fork(self) -> None:
        """Called in the process that forks."""

    def after_fork(self, *, in_child: bool) -> None:
        """Called in both processes, in the reverse order of ``before_fork``."""


_forkables: weakref.WeakSet[t.Any] = weakref.WeakSet()
_forking: list[Forkable] = []


def survive_forks(thing: Forkable) -> None:
    """Call the methods of an object around every fork. Holds a weak reference."""
    _forkables.add(thing)


def _before_fork() -> None:
    for thing in list(_forkables):
        thing.before_fork()
        _forking.append(thing)


def _after_fork(*, in_child: bool) -> None:
    while _forking:
        _forking.pop().after_fork(in_child=in_child)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(in_child=False),
        after_in_child=lambda: _after_fork(in_child=True),
    )


class BackgroundThread:
    """A daemon thread that repeats a step as long as there is work.

    :param step: What it repeats. It may block.
    :param busy: Whether there is work; must not block.
    :param every: Seconds between two steps.
    :param idle: Seconds without work after which the thread ends.
    """

    def __init__(
        self,
        name: str,
        step: t.Callable[[], None],
        *,
        busy: t.Callable[[], bool],
        every: t.Callable[[], float],
        idle: t.Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._name = name
        self._step = step
        self._busy = busy
        self._every = every
        self._idle = idle
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        survive_forks(self)

    def ensure(self) -> None:
        """Start it, unless it runs. Call it after there is work."""
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(
                    target=self._repeat, name=self._name, daemon=True
                )
                thread.start()
                self._thread = thread

    def before_fork(self) -> None:
        """Nothing to prepare."""

    def after_fork(self, *, in_child: bool) -> None:
        """Start over in the child, which has no copy of the thread."""
        if in_child:
            self._lock = threading.Lock()
            self._thread = None

    def _repeat(self) -> None:
        pause = threading.Event()
        last_work = time.monotonic()

        while True:
            pause.wait(self._every())
            self._step()

            with self._lock:
                if self._busy():
                    last_work = time.monotonic()
                elif time.monotonic() - last_work >= self._idle():
                    self._thread = None
                    return
