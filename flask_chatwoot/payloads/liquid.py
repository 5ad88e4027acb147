"""Write text that Chatwoot's Liquid leaves as it is."""

import re
import typing as t

_SPAN: t.Final = r"(?s)`(.*?)`"
"""What Chatwoot wraps in a raw block (``app/models/concerns/liquidable.rb``)."""

_OPENING: t.Final = r"\{(?=[{%]|\Z)"


def escape(text: str) -> str:
    """Text that Chatwoot's Liquid turns back into exactly this text.

    Chatwoot evaluates outgoing text, so ``{{contact.email}}`` in a model's answer
    would be replaced. Between backticks Chatwoot protects it, unless the text there
    ends the protection itself.
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
    # A brace is written as an expression that yields a brace, so that no two
    # characters of the text meet to open one. "{%" must not stand in the literal:
    # Liquid's tokenizer would see a tag.
    return re.sub(_OPENING, "{{ '{' }}", text)


def _fence(inner: str, following: str) -> str:
    if "endraw" not in inner and following != "}":
        return f"`{inner}`"

    # Without a literal backtick Chatwoot does not see a span, and the usual way serves.
    tick = "{{ '%60' | url_decode }}"

    return f"{tick}{_break_up(inner)}{tick}"
