"""Clocks that stand still, and conditions that come true."""

from __future__ import annotations

import time
import typing as t

import pytest

T = t.TypeVar("T")


class Clock:
    """Stands still until told otherwise."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def wait_until(predicate: t.Callable[[], T], timeout: float = 10.0) -> T:
    """What the predicate says as soon as it is true; fails after a while."""
    deadline = time.monotonic() + timeout

    while True:
        if result := predicate():
            return result

        if time.monotonic() > deadline:
            pytest.fail(f"This did not come true within {timeout:g} s.")

        time.sleep(0.005)
