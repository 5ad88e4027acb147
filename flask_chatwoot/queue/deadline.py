"""How long the store may hold a request, whatever number of calls it makes of it.

Each call has a limit of its own. One delivery makes several, and each may wait.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import time
import typing as t

LONGEST: t.Final = 2.7
"""Seconds that PostgreSQL may hold a thread of the web server. The guard ends a call up
to a tenth of a second later; the rest of three seconds is for the request itself."""

_until: t.Final[contextvars.ContextVar[float | None]] = contextvars.ContextVar(
    "chatwoot_deadline", default=None
)


_end: t.Final[contextvars.ContextVar[float]] = contextvars.ContextVar(
    "chatwoot_end", default=math.inf
)


@contextlib.contextmanager
def by(end: float) -> t.Iterator[None]:
    """A block whose calls of the store wait no longer than until then, in any database.

    :param end: By :func:`time.monotonic`.
    """
    token = _end.set(min(end, _end.get()))

    try:
        yield
    finally:
        _end.reset(token)


def left(seconds: float) -> float:
    """So many seconds, or those that are left of a block of :func:`by`."""
    return max(0.0, min(seconds, _end.get() - time.monotonic()))


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
    """The earlier of an end and of the blocks', seconds of ``time.monotonic()``."""
    limit = _until.get()

    return min(until, _end.get(), math.inf if limit is None else limit)
