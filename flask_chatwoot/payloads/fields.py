"""Readers for untrusted values of Chatwoot's JSON, and what its API can store."""

import typing as t
import unicodedata
from datetime import UTC, datetime

Object = t.Mapping[str, t.Any]
"""A JSON object."""

MARKER: t.Final = "flask_chatwoot"
"""The key in ``content_attributes`` that marks our own posts."""

BY_HOST: t.Final = "host:"
"""How the markers of posts begin that the host makes itself, with whatever database."""

_ID_LIMIT: t.Final = 2**63


class Upload(t.NamedTuple):
    """A file to send with a message.

    :ivar media_type: Such as ``application/pdf``.
    """

    name: str
    content: bytes
    media_type: str

    def __repr__(self) -> str:
        return f"<Upload of {len(self.content)} bytes>"


def as_object(value: t.Any) -> Object:
    """Return the value if it is a JSON object, else an empty object."""
    return value if isinstance(value, dict) else {}


def as_id(value: t.Any) -> int | None:
    """Return the value if it can be an id of Chatwoot, else ``None``."""
    # A host may give a member of an IntEnum.
    fits = isinstance(value, int) and not isinstance(value, bool)

    return value if fits and 0 < value < _ID_LIMIT else None


def as_text(value: t.Any) -> str | None:
    """Return the value if it is text, else ``None``."""
    return value if isinstance(value, str) else None


def as_seconds(value: t.Any) -> float | None:
    """Return Unix seconds, from ISO 8601 text or a number, else ``None``."""
    if type(value) in (int, float):
        return float(value) if 0 < value < 1e11 else None

    try:
        moment = datetime.fromisoformat(value.strip()) if value else None
    except (AttributeError, ValueError):
        return None

    if moment is None:
        return None

    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def as_moment(value: t.Any) -> float | None:
    """Return Unix seconds from what a client of the API wrote, else ``None``.

    Chatwoot stores it as it came: also as digits in a text, or in milliseconds.
    """
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value) if len(value) < 20 else None

    if type(value) in (int, float) and 1e11 <= value < 1e14:
        value = value / 1000.0

    return as_seconds(value)


def storable(text: str) -> str:
    """Replace lone surrogates and remove NULs, which Chatwoot cannot store."""
    return text.replace("\0", "").encode(errors="replace").decode()


_INVISIBLE: t.Final = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
"""Unicode's categories of control characters, formatting and spaces."""

_BLANK: t.Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Fillers of several scripts, and the Braille pattern without dots."""

_SELECTORS: t.Final = (
    range(0x180B, 0x1810),
    range(0xFE00, 0xFE10),
    range(0xE0000, 0xE1000),
)
"""They select the shape of the character before them."""


def is_visible(text: str) -> bool:
    """Whether a text shows anything: spaces and formatting characters do not."""
    return any(
        unicodedata.category(each) not in _INVISIBLE
        and each not in _BLANK
        and not any(ord(each) in selectors for selectors in _SELECTORS)
        for each in text
    )
