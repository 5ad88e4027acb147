"""SQLite's write-ahead log, forced to the disk once for all threads that wait.

SQLite forces its log within the commit, while other writers wait, and once for each
commit. A log that is forced right after the commit is as durable, because everything
that was written to it before goes to the disk with it.
"""

from __future__ import annotations

import os
import threading


class WriteAheadLog:
    """The log of one open SQLite file. Threads share it.

    :param path: That of the SQLite file.
    :ivar written: The number of the last commit.
    """

    def __init__(self, path: str) -> None:
        self._path = f"{path}-wal"
        self._forcing = threading.Lock()
        self._fd: int | None = None
        self.written = 0
        self._forced = 0

    def count(self) -> int:
        """Count a commit; return its number. One thread at a time may call this."""
        self.written += 1

        return self.written

    def force(self, commit: int, patience: float) -> bool:
        """Wait until a commit is on the disk; ``False`` if the wait was too long.

        :param patience: Seconds to wait for another thread.
        :raises OSError: It may not be there.
        """
        if not self._forcing.acquire(timeout=patience):
            return False

        try:
            # The thread before may have forced the commits of all that waited for it.
            if self._forced < commit:
                self._force()
        finally:
            self._forcing.release()

        return True

    def close(self) -> None:
        """Force what is written, and close the file, before SQLite may delete it.

        If that fails, whoever waits for a commit learns it from :meth:`force`.
        """
        with self._forcing:
            try:
                if self._forced < self.written:
                    self._force()
            except OSError:
                pass
            finally:
                self._close()

    def _force(self) -> None:
        written = self.written

        if self._fd is None:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)

        _sync(self._fd)
        self._forced = written

    def _close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


_sync = getattr(os, "fdatasync", os.fsync)
