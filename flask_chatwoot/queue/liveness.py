"""Locks that processes cannot outlive, so that others notice when one has died.

Each process that claims jobs has a file of its own beside the database, and a lock on
it until it ends, however it ends. Whoever finds the lock free knows that the process
is dead. A process that is frozen or stopped keeps its lock, and its jobs until their
leases end.

POSIX record locks are used, since a forked child does not inherit them: the child of a
process that was killed must not make it look alive. In return, a process loses such a
lock when it closes *any* descriptor of the file. So each file is opened once, and a
process never opens the files that it has locked itself.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import platform
import sys
import threading
import time
import typing as t
import uuid
import weakref
from pathlib import Path

from flask_chatwoot.background import Forkable, register_for_forks
from flask_chatwoot.logs import logger

if sys.platform == "win32":
    import msvcrt

    def _lock(fd: int) -> None:
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(fd: int) -> None:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


_TRIES: t.Final = 3
"""A process that looks for the dead may have the lock of a new file for a moment."""

_PAUSE: t.Final = 60.0
"""Seconds until the next try where no file could be locked."""

_DAY: t.Final = 24 * 3600.0

log = logger(__name__)

_own: set[str] = set()
"""The files that this process has locked."""


class Processes(t.Protocol):
    """The processes that share a database. Threads share it.

    :ivar keep_leases: A job stays with its worker as long as that is known to be alive;
        nobody has to renew its lease.
    """

    keep_leases: bool

    def enter(self) -> str | None:
        """The name under which this process is known to be alive.

        ``None`` if its death could not be noticed: then the leases of its jobs decide.
        """

    def dead(self) -> t.Iterator[str]:
        """The names of processes that have died.

        A name is forgotten when the next one is asked for, unless an error is raised.
        """

    def leave(self) -> None:
        """This process has no more jobs; :meth:`enter` may be called again."""

    def since_set_forward(self, clock: float) -> float:
        """Seconds since the clock of the database was set forward.

        Infinite if this process has not seen that.

        :param clock: What it shows now.
        """


class ProcessLocks(Forkable):
    """:class:`Processes` of one machine, which lock files in a folder.

    Where files cannot be locked, one line is logged, and the death of this process is
    not noticed.

    :param folder: Made on first use.
    """

    keep_leases = False

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._judging = threading.Lock()
        self._entered: tuple[str, int] | None = None
        self._try_at = 0.0
        self._logged = False
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The file is the parent's; closing it here does not end the parent's lock."""
        self._lock = threading.Lock()
        self._judging = threading.Lock()

        if self._entered is not None:
            path, fd = self._entered
            self._closing.detach()
            self._entered = None
            _own.discard(path)
            os.close(fd)

    def enter(self) -> str | None:
        """The name of this process, or ``None`` where no file could be locked.

        Does not block.
        """
        with self._lock:
            if self._entered is None and time.monotonic() >= self._try_at:
                self._enter()

            return None if self._entered is None else os.path.basename(self._entered[0])

    def _enter(self) -> None:
        try:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            self._entered = path, fd = _locked_file(os.path.realpath(self._folder))
        except OSError as error:
            self._try_at = time.monotonic() + _PAUSE
            self._log(error)
        else:
            self._closing = weakref.finalize(self, _close, path, fd)

    def _log(self, error: OSError) -> None:
        if not self._logged:
            self._logged = True
            log.warning(
                "Files in %r cannot be locked (%s). The jobs of a process that is "
                "killed are taken over when their leases end.",
                *(self._folder, error.strerror or "lost to other processes"),
            )

    def leave(self) -> None:
        """Unlock the file and remove it."""
        with self._lock:
            if self._entered is not None:
                self._entered = None
                self._closing()

    def dead(self) -> t.Iterator[str]:
        """The names of processes of this machine that have died.

        The file of a process is removed when the next name is asked for. Another
        process that looks meanwhile may find the same name, or none. Reads a folder
        with one file for each process, and does not block.
        """
        if not self._judging.acquire(blocking=False):
            return  # another thread looks

        try:
            for path in self._files():
                with _locked(path) as is_free:
                    if not is_free:
                        continue

                    if _is_of_this_machine(path):
                        yield path.name

                    with contextlib.suppress(OSError):  # Windows removes no open file
                        path.unlink()
        finally:
            self._judging.release()

    def since_set_forward(self, clock: float) -> float:
        """Infinite: the time of a file only goes forward, and not faster."""
        return math.inf

    def are_others_alive(self) -> bool:
        """Whether another process of this machine has entered, and not died."""
        for path in self._files():
            with _locked(path) as is_free:
                if not is_free and path.exists():
                    return True

        return False

    def _files(self) -> list[Path]:
        """The files that other processes may have left."""
        folder = Path(os.path.realpath(self._folder))

        with contextlib.suppress(OSError):
            return [
                path
                for path in sorted(folder.iterdir())
                if str(path) not in _own
                and (_is_of_this_machine(path) or _age(path) > _DAY)
            ]

        return []


def _locked_file(folder: str) -> tuple[str, int]:
    """Make a file and lock it: its path and its descriptor.

    :raises OSError: Files cannot be locked there.
    """
    last: OSError | None = None

    for _ in range(_TRIES):
        path = os.path.join(folder, f"{_machine()}-{uuid.uuid4().hex}")
        # First, or another thread could see the file, take it for that of another
        # process and, within the same process, get its lock.
        _own.add(path)

        try:
            fd = os.open(
                path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600
            )  # not inherited
        except OSError:
            _own.discard(path)
            raise

        try:
            _lock(fd)

            if os.path.samestat(os.fstat(fd), os.stat(path)):
                return path, fd
        except OSError as error:
            last = error

        _close(path, fd)

    raise last or OSError


def _close(path: str, fd: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)

    os.close(fd)
    _own.discard(path)

    with contextlib.suppress(OSError):  # where an open file cannot be removed
        os.unlink(path)


@contextlib.contextmanager
def _locked(path: Path) -> t.Iterator[bool]:
    """Lock the file of another process for the block, if nobody has locked it."""
    try:
        fd = os.open(path, os.O_RDWR)
    except OSError:  # it was removed meanwhile
        yield False
        return

    try:
        try:
            _lock(fd)
        except OSError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def _is_of_this_machine(path: Path) -> bool:
    """Where a disk is shared, the lock of another machine may not be seen."""
    return path.name.startswith(f"{_machine()}-")


@functools.cache
def _machine() -> str:
    """The same for all processes and containers since this machine has started."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        name = platform.node()

    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _age(path: Path) -> float:
    with contextlib.suppress(OSError):
        return time.time() - path.stat().st_mtime

    return 0.0
