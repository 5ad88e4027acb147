"""How much of a draft an operator has sent."""

from __future__ import annotations

import random
import time
import typing as t

import pytest

from flask_chatwoot.outcomes import DraftVerdict
from flask_chatwoot.turns.similarity import COMPARED, similarity_of, verdict_on

DRAFT: t.Final = (
    "Hello Ada,\n\nyour parcel has **left** our warehouse this morning:\n\n"
    "- number 4711\n- with the post\n\nBest wishes"
)
QUOTED: t.Final = (
    "> On Mon, Nov 2, 2026 at 9:00 AM Ada <ada@example.com> wrote:\n>\n> Hello,\n>\n"
    "> I ordered two weeks ago, and have not heard of you since.\n> Where is it?"
)
LONG: t.Final = " ".join(f"Sentence {number} is about it." for number in range(200))


@pytest.mark.parametrize(
    ("reply", "verdict"),
    [
        pytest.param(DRAFT, "used", id="as it was"),
        pytest.param(DRAFT.upper(), "used", id="in capitals"),
        pytest.param(DRAFT.replace("\n", "\r\n"), "used", id="other line ends"),
        pytest.param(
            f"\n{DRAFT}\n\n--\n\nOlga\nShop AG", "used", id="with a signature"
        ),
        pytest.param(f"{DRAFT}\n\n\\--\n\nOlga\nShop AG", "used", id="with escapes"),
        pytest.param(f"{DRAFT}\\\n\\--\\\nOlga, Shop AG", "used", id="with breaks"),
        pytest.param(f"{DRAFT}\n\n{QUOTED}", "used", id="with the customer's mail"),
        pytest.param(f"Sorry.\n\n{QUOTED}", "ignored", id="other, with the mail"),
        pytest.param(QUOTED, "ignored", id="the mail alone"),
        pytest.param(
            DRAFT.replace("- ", "* ").replace("**", "__"), "used", id="other Markdown"
        ),
        pytest.param(DRAFT.replace("4711", r"47\_11"), "used", id="escaped"),
        pytest.param(DRAFT.replace("Ada", "Eda"), "used", id="one letter"),
        pytest.param(
            DRAFT.replace("Hello", "Hi").replace("this morning", "on Monday"),
            "edited",
            id="some words",
        ),
        pytest.param(f"{DRAFT}\n\nBy the way: {DRAFT[:80]}", "edited", id="more"),
        pytest.param("We do not have that any more, sorry.", "ignored", id="other"),
        pytest.param("--\nOlga", "ignored", id="a signature alone"),
        pytest.param("👍", "ignored", id="a thumb"),
    ],
)
def test_a_reply_is_compared_with_the_draft(reply: str, verdict: str) -> None:
    assert verdict_on(similarity_of(DRAFT, reply)) == verdict


@pytest.mark.parametrize(
    ("similarity", "verdict"),
    [
        (1.0, "used"), (0.95, "used"), (0.949, "edited"),
        (0.5, "edited"), (0.499, "ignored"), (0.0, "ignored"),
    ],
)  # fmt: skip
def test_the_similarity_decides(similarity: float, verdict: str) -> None:
    assert verdict_on(similarity) is DraftVerdict(verdict)


def test_only_the_beginning_of_a_text_counts() -> None:
    begin = LONG[:COMPARED]

    assert len(begin) == COMPARED
    assert similarity_of(begin, f"{begin} and more, " * 2) > 0.99


def test_of_a_long_text_whose_words_were_changed_some_is_left() -> None:
    words = LONG.split()
    words[::10] = ["Otherwise"] * len(words[::10])

    assert verdict_on(similarity_of(LONG, " ".join(words))) == "edited"


_RANDOM: t.Final = random.Random(1)  # noqa: S311 - not a secret


def _any_of(characters: str) -> str:
    return "".join(_RANDOM.choices(characters, k=2 * COMPARED))


@pytest.mark.parametrize(
    ("draft", "reply"),
    [
        pytest.param("a" * COMPARED, "ab" * COMPARED, id="one letter"),
        pytest.param("ab" * COMPARED, "ba" * COMPARED, id="two letters"),
        pytest.param(_any_of("ab"), _any_of("ab"), id="any letters"),
        pytest.param(_any_of("ab "), _any_of("ab "), id="any words"),
        pytest.param("a " * COMPARED, "a b " * COMPARED, id="one word"),
        pytest.param(_any_of("0123456789 "), _any_of("0123456789 "), id="numbers"),
        pytest.param("\u0301" * COMPARED, "\u0301\u0302" * COMPARED, id="accents"),
        pytest.param("\ufdfa" * COMPARED, "\ufdfa " * COMPARED, id="one that grows"),
        pytest.param("\n--\n" * COMPARED, "- " * COMPARED, id="signatures"),
        pytest.param("\n " * 75_000, "\n\t" * 75_000 + "-", id="white space"),
        pytest.param("\n>" * 75_000 + "a", "\n>" * 75_000, id="quotations"),
        pytest.param("--\\" * COMPARED + "a", "--\\ " * COMPARED, id="escapes"),
        pytest.param("", "a", id="nothing"),
        pytest.param("***", "~~~", id="Markdown alone"),
        pytest.param("a\0\ud800", "a", id="no text at all"),
    ],
)
def test_no_text_takes_long(draft: str, reply: str) -> None:
    began = time.process_time()

    assert 0 <= similarity_of(draft, reply) <= 1
    assert time.process_time() - began < 1
