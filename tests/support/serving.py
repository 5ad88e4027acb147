"""Apps on loopback, for tests that need a real server."""

from __future__ import annotations

import contextlib
import typing as t
from collections.abc import Callable, Iterable, Iterator

from flask_chatwoot.simulator.server import serving

Wsgi = Callable[[t.Any, t.Any], Iterable[bytes]]


@contextlib.contextmanager
def served(app: Wsgi, **options: t.Any) -> Iterator[str]:
    """Serve on a free port; the address without a scheme."""
    with serving(app, **options) as url:
        yield url.partition("//")[2]
