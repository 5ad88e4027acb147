"""How much of a draft is in what an operator sent. Pure functions.

The composer of Chatwoot writes Markdown again, and adds the operator's signature
(``helper/editorHelper.js``) and in e-mails what the customer wrote
(``helper/quotedEmailHelper.js``). So texts are compared without the characters of
Markdown, without what follows a line ``--``, without a quotation at the end, in small
letters, and with single spaces.
"""

from __future__ import annotations

import difflib
import itertools
import re
import typing as t
import unicodedata
from collections import Counter

from flask_chatwoot.outcomes import DraftVerdict

COMPARED: t.Final = 4000
"""Characters of a text that count."""

USED: t.Final = 0.95
EDITED: t.Final = 0.5

_READ: t.Final = 4 * COMPARED
"""Characters of a text that are read for that: some do not count."""

_MOST_STEPS: t.Final = 1_000_000
"""Steps that one comparison may take, about a fifth of a second. Without a bound
``difflib`` takes minutes for texts that repeat one character."""

# With the backslashes of Markdown for a line break, or for two hyphens alone.
_SIGNATURE: t.Final = re.compile(r"^\\?--[\s\\]*$.*", re.MULTILINE | re.DOTALL)
_MARKDOWN: t.Final = re.compile(r"[\\*_`~#>]|^[ \t]*[-+] ", re.MULTILINE)
_WORD: t.Final = re.compile(r"\w+|[^\w\s]")


def verdict_on(similarity: float) -> DraftVerdict:
    """What became of a draft."""
    if similarity >= USED:
        return DraftVerdict.USED

    return DraftVerdict.EDITED if similarity >= EDITED else DraftVerdict.IGNORED


def similarity_of(draft: str, reply: str) -> float:
    """From 0, nothing in common, to 1, the same. Takes half a second at most.

    As by ``difflib`` from character to character; from word to word if that takes too
    long, as for long texts that have little in common; and if that does as well, by how
    often the same three words follow each other.
    """
    one, other = normalised(draft), normalised(reply)

    if one == other:
        return 1.0

    for tokens in _TOKENS:
        try:
            return _ratio(tokens(one), tokens(other))
        except _TooLongError:
            continue

    return _shared(_WORD.findall(one), _WORD.findall(other))


def normalised(text: str) -> str:
    """The beginning of a text, as it is compared."""
    plain = unicodedata.normalize("NFKC", text[:_READ]).strip()
    plain = _unquoted(plain) or plain
    plain = _MARKDOWN.sub("", _SIGNATURE.sub("", plain) or plain)

    return " ".join(plain.casefold().split())[:COMPARED]


def _unquoted(text: str) -> str:
    """A text without the quotation at its end."""
    lines = text.split("\n")

    while lines and (not lines[-1].strip() or lines[-1].startswith(">")):
        lines.pop()

    return "\n".join(lines)


_TOKENS: t.Final[tuple[t.Callable[[str], list[str]], ...]] = (list, _WORD.findall)


class _TooLongError(Exception):
    """A comparison takes too many steps."""


class _Matcher(difflib.SequenceMatcher[str]):
    """Compares with a bound.

    :raises _TooLongError: It was reached.
    """

    def __init__(self, one: t.Sequence[str], other: t.Sequence[str]) -> None:
        super().__init__(None, one, other, autojunk=False)
        counts = Counter(other)
        self._left = _MOST_STEPS
        self._until = [0, *itertools.accumulate(counts[each] + 1 for each in one)]

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> difflib.Match:
        """The same, unless the bound is reached."""
        end = len(self._until) - 1 if ahi is None else ahi
        self._left -= self._until[end] - self._until[alo]

        if self._left < 0:
            raise _TooLongError

        return super().find_longest_match(alo, ahi, blo, bhi)


def _ratio(one: list[str], other: list[str]) -> float:
    total = _length(one) + _length(other)
    begin = _same_at_start(one, other)
    one, other = one[begin:][::-1], other[begin:][::-1]
    end = _same_at_start(one, other)
    one, other = one[end:], other[end:]
    blocks = _Matcher(one, other).get_matching_blocks()
    differs = _length(one) + _length(other)
    same = sum(_length(one[each.a : each.a + each.size]) for each in blocks)

    return (total - differs + 2.0 * same) / (total or 1)


def _same_at_start(one: list[str], other: list[str]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    shortest = min(len(one), len(other))

    return next((at for at, (a, b) in pairs if a != b), shortest)


def _shared(one: t.Sequence[str], other: t.Sequence[str]) -> float:
    ours, theirs = _threes(one), _threes(other)

    return 2.0 * (ours & theirs).total() / ((ours.total() + theirs.total()) or 1)


def _threes(words: t.Sequence[str]) -> Counter[tuple[str, ...]]:
    return Counter(zip(words, words[1:], words[2:], strict=False))


def _length(tokens: t.Sequence[str]) -> int:
    return sum(map(len, tokens))
