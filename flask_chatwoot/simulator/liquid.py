"""How Chatwoot renders template code in an outgoing message.

Chatwoot evaluates Liquid in messages that are posted through its API. Without this
module the simulator would not show replies that disclose values or change. It covers
what matters for plain text: how Liquid 5.4 splits a template, what it prints for a name
or a quoted text, and which templates are errors. These are pure functions.
"""

from __future__ import annotations

import re
import typing as t
from urllib.parse import unquote_plus

Drops = t.Mapping[str, t.Any]
"""The values of a template: texts, numbers, ``None``, or further mappings."""

_TOKEN = re.compile(r"\{%.*?%\}|\{\{.*?\}\}?|\{\{|\{%", re.DOTALL)
_TAG = re.compile(r"\{%-?\s*(\w+|#)\s*(.*?)-?%\}", re.DOTALL | re.ASCII)
_END = re.compile(r"(.*)\{%-?\s*(\w+)\s*.*?-?%\}", re.DOTALL | re.ASCII)
_OUTPUT = re.compile(r"\{\{-?(.*?)-?\}\}", re.DOTALL)
_FRAGMENT = re.compile(
    r"""("[^"]*"|'[^']*'|(?:[^\s,|'"]|"[^"]*"|'[^']*')+)(.*)""", re.DOTALL
)
_FILTERS: t.Final[t.Mapping[str, t.Callable[[str], str]]] = {
    "downcase": str.lower,
    "strip": str.strip,
    "upcase": str.upper,
    "url_decode": unquote_plus,
}


class _LiquidError(ValueError):
    """The template is not valid: Chatwoot stores the text unchanged."""


def render(text: str, drops: Drops) -> str:
    """The text that Chatwoot stores for a message with this text.

    Text between backticks is protected first, and after an error the whole text is
    stored unchanged (``app/models/concerns/liquidable.rb``). The only tag known here is
    ``raw``: any other counts as an error, though Chatwoot would evaluate an ``if``.
    Unknown names and filters are ignored, as in Liquid.
    """
    guarded = re.sub(r"`(.*?)`", r"{% raw %}`\1`{% endraw %}", text, flags=re.DOTALL)

    try:
        return "".join(_rendered(guarded, drops))
    except _LiquidError:
        return text


def _rendered(source: str, drops: Drops) -> t.Iterator[str]:
    tokens = _tokens(source)
    trim = False

    for token, following in tokens:
        if token.startswith("{%"):
            yield _raw(token, tokens)
        elif token.startswith("{{"):
            yield _output(token, drops)
        else:
            text = token.lstrip() if trim else token
            yield text.rstrip() if following.startswith(("{%-", "{{-")) else text

        trim = token.startswith(("{%", "{{")) and token.endswith(("-%}", "-}}"))


def _tokens(source: str) -> t.Iterator[tuple[str, str]]:
    """Each token with the next one. An output ends at the first closing brace."""
    token, start = "", 0

    for match in _TOKEN.finditer(source):
        if match[0] in ("{{", "{%"):
            raise _LiquidError("never closed")

        for following in filter(None, (source[start : match.start()], match[0])):
            yield token, following
            token = following

        start = match.end()

    yield token, source[start:]
    yield source[start:], ""


def _raw(token: str, tokens: t.Iterator[tuple[str, str]]) -> str:
    """Everything up to the first ``endraw``, unchanged."""
    tag = _TAG.fullmatch(token)

    if not tag or tag[1] != "raw" or tag[2].strip():
        raise _LiquidError("a tag other than raw")

    body = ""

    for inner, _ in tokens:
        # Search only tokens that end as a tag does: others can take minutes to match.
        end = _END.fullmatch(inner) if inner.endswith("%}") else None

        if end and end[2] == "endraw":
            return body + end[1]

        body += inner

    raise _LiquidError("raw without endraw")


def _output(token: str, drops: Drops) -> str:
    whole = _OUTPUT.fullmatch(token)

    if not whole:
        raise _LiquidError("an output with one closing brace")

    part = _FRAGMENT.search(whole[1])

    if not part:
        return ""

    value = _value(part[1], drops)

    for name in re.findall(r"\|\s*(\w+)", part[2], re.ASCII):
        value = _FILTERS.get(name, str)(value)

    return value


def _value(name: str, drops: Drops) -> str:
    if name[0] in "'\"" and name[0] == name[-1]:
        return name[1:-1]

    if re.fullmatch(r"-?\d+(\.\d+)?", name, re.ASCII):
        return name

    found: t.Any = drops

    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None

    return "" if found is None or isinstance(found, dict) else str(found)
