"""The time of a database: it only goes forward, whatever happens to the clock.

Leases, pauses and the times of posts are compared by all processes that share a file.
So they agree on one time: the machine's clock when the first of them began, and since
then the seconds that have passed. A clock that is set changes it for the first process
that starts when no other has the file open.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import typing as t
import weakref
from pathlib import Path

if sys.platform != "win32":
    import fcntl

_TOLERANCE: t.Final = 1.0
"""Seconds by which the time may differ from the clock."""

_PATIENCE: t.Final = 1.0
"""Seconds to wait for a process that is about to set the time."""

_CLOCK: t.Final[int | None] = getattr(
    time, "CLOCK_BOOTTIME", getattr(time, "CLOCK_MONOTONIC", None)
)
"""Runs for all processes alike, and while the machine sleeps."""

Adapt = t.Callable[[float | None], None]

_BOOT: t.Final = Path("/proc/sys/kernel/random/boot_id")
"""Linux's random name of this run of the machine."""


class Timeline:
    """Unix seconds for all processes that have a file open. Threads share it.

    Windows has no such locks: each process there has the clock's time at its own start,
    and the seconds since then.

    :param path: A file that keeps the time; it is made and left there.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._offset: float | None = None
        self._leave: t.Callable[[], object] | None = None
        self._fd = -1

    def __call__(self) -> float:
        """Unix seconds; by the machine's clock, as long as nothing was joined."""
        return time.time() if self._offset is None else self._offset + _ticks()

    def ahead(self) -> float:
        """Seconds by which it is ahead of the machine's clock; below zero, behind.

        That changes when the clock is set, by hand or from the network.
        """
        return 0.0 if self._offset is None else self() - time.time()

    def join(self, adapt: Adapt) -> None:
        """Agree with the processes that have the file open, until :meth:`leave`.

        :param adapt: Adapts stored times; gets the seconds by which the clock was set
            forward, or ``None`` if the machine was started anew, so that the two times
            cannot be compared. Called while no other process has the file open.
        :raises OSError: The file cannot be made.
        """
        if self._leave is not None:
            return

        if sys.platform == "win32":
            self._offset = self._mine()
            return

        fd = os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

        try:
            self._agree(fd, adapt)
        except BaseException:
            os.close(fd)
            raise

        leave = self._leave = weakref.finalize(self, os.close, fd)
        leave.atexit = False  # threads may still need the time then
        self._fd = fd

    def is_alone(self) -> bool:
        """Whether no other process has joined. One that does must wait for a second.

        To be called between :meth:`join` and :meth:`leave`. Windows does not know, and
        says yes.
        """
        return sys.platform == "win32" or _lock(self._fd, fcntl.LOCK_EX)

    def leave(self) -> None:
        """Let others set the time; it goes on here."""
        if self._leave is not None:
            self._leave()
            self._leave = None

    def _agree(self, fd: int, adapt: Adapt) -> None:
        if not _lock(fd, fcntl.LOCK_EX):
            deadline = time.monotonic() + _PATIENCE

            while not _lock(fd, fcntl.LOCK_SH) and time.monotonic() < deadline:
                time.sleep(0.005)

            _, agreed = _read(fd)
            self._offset = self._mine() if agreed is None else agreed
            return

        boot, before = _read(fd)
        self._offset = mine = self._mine()

        if before is not None and (not boot or boot != _boot()):
            adapt(None)
        elif before is not None and abs(mine - before) > _TOLERANCE:
            adapt(mine - before)
        elif before is not None:
            self._offset = before

        _write(fd, self._offset)
        _lock(fd, fcntl.LOCK_SH)

    def _mine(self) -> float:
        return time.time() - _ticks() if self._offset is None else self._offset


def _ticks() -> float:
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)


def _boot() -> str:
    with contextlib.suppress(OSError):
        return _BOOT.read_text(encoding="ascii").strip()

    return ""


def _read(fd: int) -> tuple[str, float | None]:
    """The run of the machine in which the time was set, and the time at its start."""
    boot, _, offset = os.pread(fd, 200, 0).decode("ascii", "replace").partition(" ")

    try:
        return boot, float(offset)
    except ValueError:
        return "", None


def _write(fd: int, offset: float) -> None:
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{_boot()} {offset!r}\n".encode("ascii"), 0)


def _lock(fd: int, kind: int) -> bool:
    """Whether the lock is ours now, in place of the one that was."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except OSError:
        return False

    return True
