from __future__ import annotations

import re
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_chatwoot.payloads.channels import (
    LIMIT,
    Channel,
    channel_of,
    first_parts,
    split,
)
from flask_chatwoot.payloads.conversation import conversation_from
from flask_chatwoot.payloads.liquid import escape
from flask_chatwoot.payloads.mentions import defuse
from flask_chatwoot.simulator.liquid import render

# Liquid

END = "\n{{ 'end' }}"


def shown(content: str) -> str:
    """What Chatwoot stores for an outgoing text.

    After an error it stores the whole text unchanged. A text with code must not rely on
    that, for the simulator counts tags as errors that Chatwoot obeys.
    """
    stored = render(content + END, {})

    if stored.endswith(END):
        return "an error" if "{{" in content or "{%" in content else content

    return stored.removesuffix("\nend")


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


# Mentions

MENTION: t.Final = re.compile(r"\(mention://(user|team)/(\d+)/(.+?)\)")
"""Chatwoot's own (``app/services/messages/mention_service.rb``)."""


@pytest.mark.parametrize(
    "text",
    [
        *("[@x](mention://user/1/X)", "[](mention://team/1/X)", "(mention://user/1/X)"),
        *(
            "`[x](mention://user/1/X)`",
            "[x](<mention://user/1/X>)",
            "{{(mention://user/",
        ),
        *("[x]({{ 'mention://user/1/X' }})", "[x](mention:{{ '//user/1/X' }})"),
        *(
            "(mention:mention:////user/1/X)",
            "(mention:////user/1/X)(mention://user/1/)",
        ),
        *("(MENTION://user/1/X)", "(mention&#58;//user/1/X)", "(mention: //user/1/X)"),
        *("(mention\\://user/1/X)", "(mention:\n//user/1/X)", "(mention:///user/1/X)"),
    ],
)
def test_a_defused_text_mentions_nobody(text: str) -> None:
    defused = defuse(text)

    assert MENTION.findall(shown(escape(defused))) == []
    assert "mention://" not in defused.lower()
    assert len(defused) == len(text)  # what fits in a message still does


def test_other_addresses_are_not_changed() -> None:
    text = "[x](https://example.com/mention) I mention: //user/1/X"
    assert defuse(text) == text


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
    st.lists(
        TEMPLATE_PARTS.filter(lambda part: part != "```")
        | st.sampled_from(["\n\n", "word", "🙂", "No. "]),
        max_size=40,
    ),
    st.integers(1, 60),
)
def test_nothing_is_lost_and_every_part_fits(parts: list[str], limit: int) -> None:
    text = "".join(parts).replace("```", "``|")
    # A part holds one escaped character at least.
    limit = max(limit, *(len(escape(character)) for character in text or " "))
    cut = split(text, limit)

    assert_nothing_is_lost(text, cut)
    assert all(len(escape(part)) <= limit for part in cut)


FENCED = st.lists(
    st.sampled_from(
        ["```", "```python", "~~~", "````", "x = 1", "  y = 2", "A word.", "", "`a`"]
    ),
    max_size=30,
).map("\n".join)


@settings(deadline=None)
@given(FENCED, st.integers(40, 90))
def test_a_code_block_that_is_cut_is_closed_and_opened_again(
    text: str, limit: int
) -> None:
    """So the parts show the same lines as code, and the same lines as text."""
    parts = split(text, limit)

    assert all(len(part) <= limit for part in parts)
    assert [line for part in parts for line in shown_lines(part)] == shown_lines(text)


def shown_lines(text: str) -> list[tuple[str, bool]]:
    """The lines of a text, without fences and blank lines, and whether each is code."""
    lines: list[tuple[str, bool]] = []
    fence = ""

    for line in text.splitlines():
        mark = line.strip(" ")

        if not fence and mark[:3] in ("```", "~~~"):
            fence = mark.rstrip("python")
        elif fence and {*mark} == {fence[0]} and len(mark) >= len(fence):
            fence = ""
        elif mark:
            lines.append((line if fence else mark, bool(fence)))

    return lines


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
        ("One. Two. Three four five", ["One. Two.", "Three four", "five"]),
        ("ja。nein。vielleicht", ["ja。nein。", "vielleicht"]),
        ("ninechars🧑\u200d💻🧑\u200d💻", ["ninechars", "🧑\u200d💻🧑\u200d💻"]),
    ],
)
def test_a_paragraph_is_the_best_place_to_cut(text: str, parts: list[str]) -> None:
    assert split(text, 11) == parts


@pytest.mark.parametrize(
    ("conversation", "channel"),
    [
        ({"channel": "Channel::WebWidget"}, Channel("WebWidget", None)),
        ({"channel": "Channel::Whatsapp"}, Channel("Whatsapp", 4096)),
        (
            {
                "channel": "Channel::FacebookPage",
                "additional_attributes": {"type": "instagram_direct_message"},
            },
            Channel("Instagram", 1000),
        ),
        ({"channel": "Channel::TwilioSms"}, Channel("TwilioSms", 320)),
        (
            {
                "channel": "Channel::TwilioSms",
                "contact_inbox": {"source_id": "whatsapp:+491511234567"},
            },
            Channel("TwilioSms", 1600),
        ),
        ({}, Channel()),
    ],
    ids=str,
)
def test_a_channel_says_how_long_its_messages_may_be(
    conversation: dict[str, t.Any], channel: Channel
) -> None:
    assert channel_of(conversation_from(conversation)) == channel


def test_what_is_left_over_after_the_most_parts_is_given_back() -> None:
    assert first_parts("one two three four", 5, most=2) == (
        ["one", "two"],
        "three four",
    )
    assert first_parts("one", 5, most=2) == ([], "one")


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
