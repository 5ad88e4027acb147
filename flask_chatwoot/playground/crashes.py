"""What the app's own code raised, as the page shows it."""

from __future__ import annotations

import traceback
import types
import typing as t
from pathlib import Path

import flask

PACKAGES: t.Final = tuple(
    str(Path(file).parent) for file in (flask.__file__, Path(__file__).parent)
)
"""Flask and this package: a developer's own code is elsewhere."""

ExcInfo = tuple[type[BaseException], BaseException, types.TracebackType | None]


class Crash(t.NamedTuple):
    """An error of the app's own code.

    :ivar name: Of the exception's class.
    :ivar where: ``"provider"``, ``"policy"``, ``"receiver"`` or ``"turn"``.
    :ivar text: Its traceback, from the first line of the app's own code on.
    :ivar began: When it was raised, on Python's monotonic clock, in seconds.
    """

    name: str
    where: str
    text: str
    conversation_id: int | None
    began: float

    @classmethod
    def of(
        cls, exc_info: ExcInfo, where: str, conversation_id: int | None, began: float
    ) -> t.Self:
        """Describe what a receiver of ``got_exception`` gets."""
        kind, error, trace = exc_info
        lines = traceback.format_exception(kind, error, _own(trace))

        return cls(kind.__name__, where, "".join(lines), conversation_id, began)


def _own(trace: types.TracebackType | None) -> types.TracebackType | None:
    """Without the frames before the app's own code; all, if there is none of it."""
    rest = trace

    while rest and rest.tb_frame.f_code.co_filename.startswith(PACKAGES):
        rest = rest.tb_next

    return rest or trace
