"""Convert numbers, each of which says its range."""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass

DAY: t.Final = 86_400
"""Seconds: more is refused as a mistake."""

_DIGITS: t.Final = 18
"""More are refused: every database holds so many."""

_BITS: t.Final = 1000
"""Python writes no whole number as text that has thousands of digits."""

_WHOLE: t.Final = re.compile(r"-?[0-9]+")
# float() also accepts underscores and digits of other scripts.
_NUMBER: t.Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class Whole:
    """Converts a whole number.

    :ivar most: ``None``: any number of at most 18 digits.
    """

    least: int
    most: int | None = None

    @property
    def range(self) -> str:
        """Which numbers are accepted."""
        if self.most is None:
            return f"at least {self.least}"

        return f"from {self.least} to {self.most}"

    def __call__(self, value: t.Any) -> int:
        """The number."""
        given = _text(value)

        if _WHOLE.fullmatch(given) and len(given.lstrip("-")) > _DIGITS:
            raise ValueError(f"must have at most {_DIGITS} digits.")

        if not _WHOLE.fullmatch(given) or not self._holds(int(given)):
            comma = "," if self.most is None else ""
            raise ValueError(f"must be a whole number{comma} {self.range}.")

        return int(given)

    def _holds(self, number: int) -> bool:
        return self.least <= number and (self.most is None or number <= self.most)


@dataclass(frozen=True)
class Seconds:
    """Converts a number of seconds, at most a day.

    :ivar zero: It may be zero.
    :ivar floor: What else bounds it from below, which only all settings together show.
    :ivar ceiling: What else bounds it from above.
    """

    zero: bool = False
    floor: str = "above 0"
    ceiling: str = f"{DAY} (a day)"

    @property
    def range(self) -> str:
        """Which numbers are accepted."""
        if self.zero:
            return f"from 0 to {self.ceiling}"

        return f"{self.floor}, at most {self.ceiling}"

    def __call__(self, value: t.Any) -> float:
        """The number."""
        given = _text(value)
        number = float(given) if _NUMBER.fullmatch(given) else -1.0

        if not (0 < number <= DAY or (self.zero and number == 0)):
            raise ValueError(f"must be a number of seconds {self.range}.")

        return abs(number)


def _text(value: t.Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError(f"must be a number, not {type(value).__name__}.")

    if isinstance(value, int) and value.bit_length() > _BITS:
        raise ValueError(f"must have at most {_DIGITS} digits.")

    return str(value).strip()
