"""Fields of Chatwoot's JSON, read without trust, and what its API can store."""

import typing as t
from datetime import UTC, datetime

Object = t.Mapping[str, t.Any]
"""A JSON object."""

MARKER: t.Final = "flask_chatwoot"
"""Key in a message's ``content_attributes`` that marks our own posts."""

_ID_LIMIT: t.Final = 2**63


class Upload(t.NamedTuple):
    """A file to send with a message.

    :ivar media_type: ``application/pdf`` for instance.
    """

    name: str
    content: bytes
    media_type: str

    def __repr__(self) -> str:
        return f"<Upload of {len(self.content)} bytes>"


def as_object(value: t.Any) -> Object:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_id(value: t.Any) -> int | None:
    """The value if it can be one of Chatwoot's ids, else ``None``."""
    fits = isinstance(value, int) and not isinstance(value, bool)

    return value if fits and 0 < value < _ID_LIMIT else None


def as_text(value: t.Any) -> str | None:
    """The value if it is text, else ``None``."""
    return value if isinstance(value, str) else None


def as_seconds(value: t.Any) -> float | None:
    """Unix seconds, from Chatwoot's ISO text or its number; ``None`` if neither."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) if 0 < value < 1e11 else None

    try:
        moment = datetime.fromisoformat(value.strip()) if value else None
    except (AttributeError, ValueError):
        return None

    if moment is None:
        return None

    return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()


def storable(text: str) -> str:
    """Text without what neither UTF-8 nor Chatwoot's database can hold."""
    return text.replace("\0", "").encode(errors="replace").decode()
