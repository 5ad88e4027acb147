"""How long the store may hold a request, whatever number of calls it makes of it.

Each call has a limit of its own. One delivery makes several, and each may wait.
"""

from __future__ import annotations

import contextlib
import contextvars
import time
import typing as t

LONGEST: t.Final = 2.7
"""Seconds that PostgreSQL may hold a thread of the web server. The guard ends a call up
to a tenth of a second later; the rest of three seconds is for the request itself."""

_until: t.Final[contextvars.ContextVar[float | None]] = contextvars.ContextVar(
    "chatwoot_deadline", default=None
)


@contextlib.contextmanager
def within(seconds: float) -> t.Iterator[None]:
    """A block whose calls of the store end in so many seconds, all of them together.

    Kept by PostgreSQL; a call that begins later fails at once. Other threads are not
    limited, nor are turns, which run in a context of their own.
    """
    token = _until.set(time.monotonic() + seconds)

    try:
        yield
    finally:
        _until.reset(token)


def earliest(until: float) -> float:
    """The earlier of an end and of the block's, seconds of ``time.monotonic()``."""
    limit = _until.get()

    return until if limit is None else min(until, limit)
