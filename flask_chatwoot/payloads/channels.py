"""What fits into one message, and how to cut what does not."""

import typing as t

from .liquid import escape

LIMIT: t.Final = 150_000
"""Characters one message may have (Chatwoot's ``app/models/message.rb``)."""


def split(text: str, limit: int = LIMIT) -> list[str]:
    """Cut text at paragraphs, else between words, so that each part fits escaped.

    Only the white space at a cut is lost. A text that fits is the only part, even if
    it is empty; a long one of nothing but white space has no parts.

    :param limit: Characters a part may have once it is escaped.
    """
    parts = []
    size = limit

    # Escaping never shortens, so what is far too long need not be escaped to know.
    while len(text) > limit or len(escape(text)) > limit:
        cut = _boundary(text, min(size, len(text)))
        head = text[:cut].rstrip()

        if (length := len(escape(head))) > limit:
            # How much longer escaping makes a text depends on where it is cut.
            size = max(1, min(size * limit // length, len(head) - 1))
            continue

        parts.append(head)
        text = text[cut:].lstrip()
        size = limit

    return [part for part in (*parts, text) if part] if parts else [text]


def _boundary(text: str, size: int) -> int:
    """The best place to cut at or before ``size``, but not far before it."""
    least = size // 2

    for mark in ("\n\n", "\n", " "):
        if (cut := text.rfind(mark, least, size)) > 0:
            return cut

    return size
