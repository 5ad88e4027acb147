"""The limit of a message's length, and how to split a longer text."""

import typing as t

from .liquid import escape

LIMIT: t.Final = 150_000
"""The most characters of one message (Chatwoot's ``app/models/message.rb``)."""


def split(text: str, limit: int = LIMIT) -> list[str]:
    """Split a text at paragraphs, else lines, else words. Each part fits escaped.

    Only the white space at a cut is removed. A text that fits is the only part, even
    if it is empty; a long text of white space has no parts.

    :param limit: The most characters of an escaped part.
    """
    parts = []
    size = limit

    # Escaping never shortens a text, so a text that is too long need not be escaped.
    while len(text) > limit or len(escape(text)) > limit:
        cut = _boundary(text, min(size, len(text)))
        head = text[:cut].rstrip()

        if (length := len(escape(head))) > limit:
            # The length of the escaped text depends on the place of the cut.
            size = max(1, min(size * limit // length, len(head) - 1))
            continue

        parts.append(head)
        text = text[cut:].lstrip()
        size = limit

    return [part for part in (*parts, text) if part] if parts else [text]


def _boundary(text: str, size: int) -> int:
    """Return the best place to cut, between half of ``size`` and ``size``."""
    least = size // 2

    for mark in ("\n\n", "\n", " "):
        if (cut := text.rfind(mark, least, size)) > 0:
            return cut

    return size
