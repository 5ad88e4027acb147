"""Threads that start with work and end when there is none, and hooks for forks.

No work may see the context of other work: what an error tracker such as Sentry keeps
there for its reports, the body of a request for instance, is another customer's.

A forked process has no copy of its parent's threads, and its locks may be held by
threads that it lacks. :func:`register_for_forks` registers what must be reset.
"""

from __future__ import annotations

import contextvars
import functools
import os
import threading
import time
import typing as t
import weakref

from .errors import trace
from .logs import logger

log = logger(__name__)


class Forkable:
    """Base class of objects with threads, locks or files that forks must not share."""

    def before_fork(self) -> None:
        """Called in the process that forks."""

    def after_fork(self) -> None:
        """Called in both processes, in the reverse order of ``before_fork``."""

    def reset_in_child(self) -> None:
        """Called in the new process, after ``after_fork``."""


_registered: weakref.WeakSet[Forkable] = weakref.WeakSet()
_forking: list[Forkable] = []


def register_for_forks(each: Forkable) -> None:
    """Call an object's methods around each fork; holds a weak reference to it."""
    _registered.add(each)


def _before_fork() -> None:
    for each in list(_registered):
        each.before_fork()
        _forking.append(each)


def _after_fork() -> None:
    while _forking:
        _forking.pop().after_fork()


def _after_fork_in_child() -> None:
    _after_fork()

    for each in list(_registered):
        each.reset_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )


_lock_at_import: t.Final = threading.Lock


def is_patched_since() -> bool:
    """Whether gevent or the like has replaced Python's threads since the import.

    The locks that were made before then block all of its threads at once.
    """
    return threading.Lock is not _lock_at_import


def new_thread(target: t.Callable[[], None], name: str) -> threading.Thread:
    """A daemon thread whose context is empty.

    Python 3.14 can copy the context of whoever starts a thread, and error trackers do.
    """
    run = contextvars.Context().run

    return threading.Thread(target=run, args=(target,), name=name, daemon=True)


def try_to_start(thread: threading.Thread) -> bool:
    """Start a thread; ``False`` where no more can be started at the moment."""
    try:
        thread.start()
    except RuntimeError as error:  # what Python raises at the limit of a container
        log.warning("%s was not started: %s", thread.name, error)
        return False

    return True


class BackgroundThread(Forkable):
    """A daemon thread that repeats a step as long as there is work.

    It ends as well when this object is no longer used: between two steps it does not
    keep it, and so the app that is behind the step, alive.

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
        self._failed = ""
        self._worked_at = 0.0
        register_for_forks(self)

    def ensure(self) -> None:
        """Start it, unless it runs. Call it after there is work.

        Where no thread can be started at the moment, a later call starts it.
        """
        with self._lock:
            if self._thread is None:
                self._worked_at = time.monotonic()
                repeat = functools.partial(_repeat, weakref.ref(self), self._every())
                thread = new_thread(repeat, self._name)

                if try_to_start(thread):
                    self._thread = thread

    def reset_in_child(self) -> None:
        """Start over in the child, which has no copy of the thread."""
        self._lock = threading.Lock()
        self._thread = None

    def run_step(self) -> float | None:
        """Make a step; the seconds until the next one, or ``None`` if it was the last.

        Called by the thread.
        """
        self._try_step()

        with self._lock:
            if self._busy():
                self._worked_at = time.monotonic()
            elif time.monotonic() - self._worked_at >= self._idle():
                self._thread = None
                return None

        return self._every()

    def _try_step(self) -> None:
        """Make a step, and log its error once, as long as it is the same."""
        failed = ""

        try:
            self._step()
        except Exception as error:  # noqa: BLE001 - the thread must go on
            failed = trace(error)

        if failed and failed != self._failed:
            log.error("%s: %s", self._name, failed)

        self._failed = failed


def _repeat(reference: weakref.ref[BackgroundThread], pause: float | None) -> None:
    """Make steps as long as their object is there."""
    never = threading.Event()

    while pause is not None:
        never.wait(pause)
        pause = _step_of(reference())


def _step_of(each: BackgroundThread | None) -> float | None:
    # A function, so that nothing refers to the object during a pause.
    return None if each is None else each.run_step()
