from __future__ import annotations

import re
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_chatwoot.payloads.channels import LIMIT, split
from flask_chatwoot.payloads.liquid import escape

# Liquid


class LiquidError(Exception): ...


LIQUID_TOKENS = re.compile(r"(\{%.*?%\}|\{\{.*?\}\}?|\{%|\{\{)", re.DOTALL)


def shown(content: str) -> str:
    """What Chatwoot stores for an outgoing text.

    A small model of Liquid: code in backticks becomes a ``raw`` block, then literals
    are printed and ``raw`` blocks are kept. Any other tag or expression becomes a
    placeholder, and an error leaves the whole text unchanged.
    """
    guarded = re.sub(r"`(.*?)`", r"{% raw %}`\1`{% endraw %}", content, flags=re.DOTALL)

    try:
        return "".join(rendered(iter(LIQUID_TOKENS.split(guarded))))
    except LiquidError:
        return content


def rendered(tokens: t.Iterator[str]) -> t.Iterator[str]:
    for token in tokens:
        if token.startswith("{%"):
            yield obeyed(token, tokens)
        elif token.startswith("{{"):
            yield printed(token)
        else:
            yield token


def obeyed(token: str, tokens: t.Iterator[str]) -> str:
    tag = re.fullmatch(r"\{%-?\s*(\w+)\s*(.*?)-?%\}", token, re.DOTALL)
    if tag and tag[1] in ("assign", "if"):
        return "<obeyed>"

    if not tag or tag[1] != "raw" or tag[2].strip():
        raise LiquidError

    inner = ""

    for token in tokens:
        end = re.fullmatch(r"(.*)\{%-?\s*(\w+)\s*.*?-?%\}", token, re.DOTALL)

        if end and end[2] == "endraw":
            return inner + end[1]

        inner += token

    raise LiquidError


def printed(token: str) -> str:
    whole = re.fullmatch(r"\{\{-?(.*?)-?\}\}", token, re.DOTALL)

    if not whole:
        raise LiquidError

    text = re.fullmatch(r"\s*'([^']*)'\s*(\|\s*url_decode\s*)?", whole[1])

    if not text:
        return "<evaluated>"

    return text[1].replace("%60", "`") if text[2] else text[1]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("plain", "plain"),
        ("a {{ contact.email }} b", "a <evaluated> b"),
        ("{{ 'x' }}{{ '%60' | url_decode }}", "x`"),
        ("{% if a %}", "<obeyed>"),
        ("{{ 'x' }}{% nonsense %}", "{{ 'x' }}{% nonsense %}"),
        ("{{ 'x' }} {{", "{{ 'x' }} {{"),
        ("`{{ x }}` {{ 'y' }}", "`{{ x }}` y"),
        ("`{% endraw %}{{ x }}{% raw %}`", "`<evaluated>`"),
        ("{{ 'x' }} {`a`", "{{ 'x' }} {`a`"),
    ],
)
def test_the_model_of_liquid_evaluates(content: str, expected: str) -> None:
    assert shown(content) == expected


TEXTS: t.Final = [
    *("", "plain text, 100 % {sure}", "{{contact.email}}", "{{ contact.email }}"),
    *("{{- contact.email -}}", "{% if true %}x{% endif %}", "{%- assign x = 1 -%}"),
    *("{{{{{{", "{{{%{{%", "}}%}", "{{ '{' }}", "{{ '%60' | url_decode }}"),
    *("{% raw %}{{ x }}{% endraw %}", "{% endraw %}", "say `{{ x }}` and {{ y }}"),
    *("`{% endraw %}{{ contact.email }}{% raw %}`", "`{%- endraw -%}` {{ x }}"),
    *("`{% endraw", "` {{ x }}", "`a` ` {{ x }}", "`{{ ` `}}`", "```\n{{ x }}\n```"),
    *("```liquid\n{% endraw %}{{ x }}\n```", "``{{ x }}``", "`` {{ x }} `"),
    *("`{{` `{%` {{ x }}", "`\n{{ x }}\n\n`{{ y }}`", "{`a` {{ x }}", "{``{{ x }}"),
    *("{`{% endraw %}{`", "`{{`} and `a`", "`{{`}}", "({`{{`}) {{ x }}"),
    "`{% x`} {{ x }}",
]


@pytest.mark.parametrize("text", TEXTS)
def test_an_escaped_text_is_shown_unchanged(text: str) -> None:
    assert shown(escape(text)) == text


TEMPLATE_PARTS = st.sampled_from(
    [
        *("{", "}", "%", "`", "{{", "}}", "{%", "%}", "```", "'", '"', "|", "-", " "),
        *("\n", "a", "%60", "endraw", "{% raw %}", "{% endraw %}", "{%- endraw -%}"),
        *("{{ x }}", "{% if a %}", "{{ '{' }}", "{{ '%60' | url_decode }}"),
    ]
)
TEMPLATES = st.lists(TEMPLATE_PARTS, max_size=12).map("".join)


@pytest.mark.slow
@settings(deadline=None, max_examples=1000)
@given(TEMPLATES)
def test_any_escaped_text_is_shown_unchanged(text: str) -> None:
    assert shown(escape(text)) == text


@settings(deadline=None)
@given(st.text())
def test_a_text_without_templates_is_not_escaped(text: str) -> None:
    plain = text.replace("{", "(")
    assert escape(plain) == plain


def test_code_between_backticks_stays_readable() -> None:
    assert escape("`{{ x }}` and {{ y }}").startswith("`{{ x }}` and ")


# Length


def assert_nothing_is_lost(text: str, parts: list[str]) -> None:
    """The parts are the text in order, without white space at the cuts."""
    place = 0

    for number, part in enumerate(parts):
        start = text.index(part, place)
        assert text[place:start].strip() == "", f"lost before part {number}"
        place = start + len(part)

    assert text[place:].strip() == ""


@settings(deadline=None)
@given(
    st.lists(TEMPLATE_PARTS | st.sampled_from(["\n\n", "word", "🙂"]), max_size=40),
    st.integers(1, 60),
)
def test_nothing_is_lost_and_every_part_fits(parts: list[str], limit: int) -> None:
    text = "".join(parts)
    # A part holds one escaped character at least.
    limit = max(limit, *(len(escape(character)) for character in text or " "))
    cut = split(text, limit)

    assert_nothing_is_lost(text, cut)
    assert all(len(escape(part)) <= limit for part in cut)


def test_only_a_text_that_is_too_long_is_cut() -> None:
    text = "a" * (LIMIT - 2) + "\n\n"

    assert split(text) == [text]
    assert split(" \n" * LIMIT) == []
    assert split(text + "b") == ["a" * (LIMIT - 2), "b"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("one two\n\nthree four", ["one two", "three four"]),
        ("one two\nthree four", ["one two", "three four"]),
        ("one two three four", ["one two", "three four"]),
        ("onetwothreefour", ["onetwothree", "four"]),
        ("one\n\ntwo\nthree four five", ["one\n\ntwo", "three four", "five"]),
        ("a b c d\n\ne f g h i j k", ["a b c d", "e f g h i", "j k"]),
        ("one two   \n\n   three", ["one two", "three"]),
    ],
)
def test_a_paragraph_is_the_best_place_to_cut(text: str, parts: list[str]) -> None:
    assert split(text, 11) == parts


def test_a_text_is_not_cut_at_an_early_paragraph() -> None:
    assert len(split("a\n\n" + "word " * 30, 100)[0]) > 50


def paragraphs(size: int) -> str:
    words = "order number is on its way.\n\nSoon, "
    return (words * (size // len(words) + 1))[:size]


LONG_TEXTS: t.Final[dict[str, tuple[str, int]]] = {
    "1 MB of paragraphs": (paragraphs(1_000_000), 8),
    "1 MB without a space": ("a" * 1_000_000, 7),
    "1 MB of Cyrillic": ("Ж" * 1_000_000, 7),
    "1 MB of words": ("word " * 200_000, 8),
    "only braces": ("{" * 200_000, 30),
    "only templates": ("{{ x }} " * 50_000, 14),
    "only code": ("`{{ x }}` " * 40_000, 8),
    "only backticks": ("`" * 300_000, 4),
    "one template": ("{{a}} " + "word " * 200_000, 7),
}


@pytest.mark.parametrize(("text", "most"), LONG_TEXTS.values(), ids=LONG_TEXTS)
def test_a_long_text_is_cut_into_few_parts_that_fit(text: str, most: int) -> None:
    parts = split(text)

    assert_nothing_is_lost(text, parts)
    assert 2 <= len(parts) <= most
    assert all(len(escape(part)) <= LIMIT for part in parts)


def test_a_very_long_text_is_cut_into_very_many_parts() -> None:
    parts = split("{" * 20_000, limit=20)

    assert len(parts) > 5000
    assert "".join(parts) == "{" * 20_000
