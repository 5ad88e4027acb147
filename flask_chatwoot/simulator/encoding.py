"""Bodies of requests and answers as bytes."""

from __future__ import annotations

import json
import typing as t

from .payloads import JSON

_ESCAPES: t.Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def to_json(body: JSON | list[JSON] | None) -> bytes:
    """Bytes as Rails writes them: raw UTF-8, but HTML's characters escaped."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))

    return text.translate(_ESCAPES).encode(errors="replace")


def from_json(data: bytes) -> t.Any:
    """The value, or ``None`` if it is not JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def readable(data: bytes) -> t.Any:
    """The value if it is JSON, else the text; ``None`` if it is empty."""
    value = from_json(data)

    return data.decode(errors="replace") or None if value is None else value
