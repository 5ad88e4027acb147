"""The folder in which a session is kept while the app's code is loaded anew."""

from __future__ import annotations

import contextlib
import pickle
import typing as t
from pathlib import Path

from flask_chatwoot.simulator import Simulator

DRAIN: t.Final = 1.0
"""Seconds that the end waits for deliveries under way: a delivery is not repeated."""


class Keeper:
    """Writes and reads the session. The folder is this user's alone.

    :param folder: ``None``: nothing is kept.
    """

    def __init__(self, folder: str | None) -> None:
        self._folder = Path(folder) if folder else None

    def settings(self, run: str) -> dict[str, t.Any]:
        """Settings with which the app finds the database of this session again."""
        if self._folder is None:
            return {}

        return {"database_path": str(self._folder / f"{run}.sqlite3")}

    def load(self) -> t.Any:
        """What the process before saved; ``None``: this is the first one."""
        if self._folder is None or not self._file.exists():
            return None

        return pickle.loads(self._file.read_bytes())  # noqa: S301 - see the class

    @contextlib.contextmanager
    def draining(self, simulator: Simulator) -> t.Iterator[None]:
        """Wait at the end of the block for the deliveries that are under way."""
        try:
            yield
        finally:
            if self._folder:
                with contextlib.suppress(TimeoutError):
                    simulator.drain(DRAIN)

    def save(self, kept: object) -> None:
        """Save what the next process needs."""
        if self._folder:
            self._file.write_bytes(pickle.dumps(kept))

    def forget(self) -> None:
        """Let the next session begin anew."""
        if self._folder:
            self._file.unlink(missing_ok=True)

    @property
    def _file(self) -> Path:
        return t.cast(Path, self._folder) / "session.pickle"
