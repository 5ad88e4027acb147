"""Escape text for Chatwoot, which evaluates outgoing messages as Liquid."""

import re
import typing as t

_SPAN: t.Final = r"(?s)`(.*?)`"
"""Code that Chatwoot puts in a raw block (``app/models/concerns/liquidable.rb``)."""

_OPENING: t.Final = r"\{(?=[{%]|\Z)"


def escape(text: str) -> str:
    """Return text that Chatwoot's Liquid evaluates to exactly the given text.

    Chatwoot evaluates outgoing text, so it would replace ``{{contact.email}}`` in a
    model's answer. It does not evaluate code between backticks, unless that code
    ends the raw block itself.
    """
    if "{{" not in text and "{%" not in text:
        return text

    parts = []
    end = 0

    for span in re.finditer(_SPAN, text):
        parts.append(_break_up(text[end : span.start()]))
        parts.append(_fence(span[1], text[span.end() : span.end() + 1]))
        end = span.end()

    parts.append(_break_up(text[end:]))

    return "".join(parts)


def _break_up(text: str) -> str:
    # A brace becomes an expression that evaluates to a brace, so that no two
    # characters of the text open a tag. The literal must not contain "{%", which
    # Liquid's tokenizer would read as a tag.
    return re.sub(_OPENING, "{{ '{' }}", text)


def _fence(inner: str, following: str) -> str:
    if "endraw" not in inner and following != "}":
        return f"`{inner}`"

    # Without a literal backtick Chatwoot adds no raw block, so braces can be escaped.
    tick = "{{ '%60' | url_decode }}"

    return f"{tick}{_break_up(inner)}{tick}"
