"""The lock file at which the writers of several processes queue.

SQLite does not queue writers: it lets them sleep, longer each time, and some find the
file taken whenever they wake. The lock of this file wakes the next one. It only orders
writers; SQLite's own lock is what protects the data.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import threading
import time
import typing as t

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

_POLL: t.Final = 0.002
"""Seconds between two attempts where nothing wakes a waiting thread."""


class WriteOrder:
    """The queue of the writers of one file. Threads share it.

    :param path: The lock file, which is made and left there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._guard = threading.Lock()
        self._abandoned: set[int] = set()
        self._free: int | None = None

    @contextlib.contextmanager
    def turn(self, patience: float) -> t.Iterator[bool]:
        """A block for one writer at a time; whether it is, or the wait was too long.

        :param patience: Seconds to wait for others; the block then runs nevertheless.
        :raises OSError: The lock file cannot be made.
        """
        fd = self._take(patience)

        try:
            yield fd is not None
        finally:
            if fd is not None:
                self._release(fd)

    def reset_in_child(self) -> None:
        """Close what belongs to the parent, whose locks these descriptors share."""
        self._guard = threading.Lock()

        for fd in self._abandoned:
            os.close(fd)

        self._abandoned.clear()
        self.close()

    def close(self) -> None:
        """Close the file, unless a thread has its turn; the next turn opens it."""
        if (fd := self._taken()) is not None:
            os.close(fd)

    def _taken(self) -> int | None:
        """The descriptor that the last turn left, which is no longer free then."""
        with self._guard:
            fd, self._free = self._free, None

        return fd

    def _release(self, fd: int) -> None:
        _unlock(fd)

        with self._guard:
            surplus, self._free = self._free, fd

        if surplus is not None:  # two threads had the file open
            os.close(surplus)

    def _take(self, patience: float) -> int | None:
        """A descriptor that has the lock, or ``None``."""
        fd = self._taken()

        if fd is None:
            fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

        if _lock_now(fd):
            return fd

        locked = threading.Lock()
        locked.acquire()

        try:
            waits = _wakes() and _thread.start_new_thread(self._lock, (fd, locked))
        except RuntimeError:  # no thread can be started
            waits = False

        if waits:
            return fd if self._wait(fd, locked, patience) else None

        if _poll(fd, patience):
            return fd

        os.close(fd)

        return None

    def _wait(self, fd: int, locked: threading.Lock, patience: float) -> bool:
        """Whether the thread has the lock in time; else it closes the descriptor."""
        try:
            in_time = locked.acquire(timeout=patience)
        except BaseException:  # an interrupt
            if not self._abandon(fd, locked):
                os.close(fd)

            raise

        return in_time or not self._abandon(fd, locked)

    def _abandon(self, fd: int, locked: threading.Lock) -> bool:
        """Leave a descriptor to the thread; ``False`` if that has the lock by now."""
        with self._guard:
            if locked.acquire(blocking=False):
                return False

            self._abandoned.add(fd)

        return True

    def _lock(self, fd: int, locked: threading.Lock) -> None:
        """In a thread of its own, because a lock of a file has no time limit."""
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)

        with self._guard:
            locked.release()

            if fd in self._abandoned:
                self._abandoned.remove(fd)
                os.close(fd)


def _wakes() -> bool:
    """Whether a thread can wait for a lock without stopping the others.

    A greenlet cannot: all of its process would stop with it.
    """
    patched = sys.modules.get("gevent.monkey")

    return sys.platform != "win32" and not (
        patched and patched.is_module_patched("thread")
    )


def _poll(fd: int, patience: float) -> bool:
    deadline = time.monotonic() + patience

    while time.monotonic() < deadline:
        time.sleep(_POLL)

        if _lock_now(fd):
            return True

    return False


def _lock_now(fd: int) -> bool:
    """Whether the lock was free, and is ours now."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False

    return True


def _unlock(fd: int) -> None:
    if sys.platform == "win32":
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)
    else:
        fcntl.flock(fd, fcntl.LOCK_UN)
