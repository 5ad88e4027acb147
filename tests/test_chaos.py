"""The chaos program, for some seconds, and whether it sees a promise that is broken."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path
from unittest.mock import Mock

import pytest
from chaos import STALE, Run, broken
from support.waiting import Clock

from flask_chatwoot.simulator import Simulator

PROGRAM: t.Final = Path(__file__).parent / "chaos.py"
SOME_SECONDS: t.Final = (
    *("--seconds", "12", "--texts", "150", "--conversations", "30", "--patience", "45"),
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and SIGSTOP")
def test_nothing_is_lost_doubled_or_out_of_order_whatever_dies() -> None:
    pytest.importorskip("gunicorn", reason="needs gunicorn to run real processes")
    command = [sys.executable, str(PROGRAM), *SOME_SECONDS, "--json"]
    ended = subprocess.run(command, capture_output=True, check=False, timeout=300)
    result = json.loads(ended.stdout)

    assert result["done: text"] == 150
    assert result["deliveries: lost"] > 10
    assert ended.returncode == 0, result


# -- the verdict: conversations 0 and 1 are in bot mode, 2 is in human mode ------------

TEXTS: t.Final = [(0, 0), (0, 1), (1, 0), (2, 0)]
Posts = list[tuple[int, str, str]]
"""Of each post its conversation, its kind, and the texts that it answers."""

WELL: t.Final[Posts] = [
    *((0, "reply", "c0t0"), (0, "reply", "c0t1")),
    *((1, "reply", "c1t0"), (2, "note", "c2t0")),
]
VERDICTS: t.Final[dict[str, tuple[Posts, dict[str, t.Any]]]] = {
    "all is well": (WELL, {}),
    "a burst": ([(0, "reply", "c0t0\nc0t1"), *WELL[2:]], {}),
    "no answer": (WELL[1:], {"lost": [(0, 0)]}),
    "two answers": ([*WELL, WELL[0]], {"doubled": [(0, 0)]}),
    "newer first": ([WELL[1], WELL[0], *WELL[2:]], {"out of order": [(0, 1)]}),
    "elsewhere": (
        [(1, "reply", "c0t0"), *WELL[1:]], {"in another conversation": [(0, 0)]},
    ),
    "note in bot mode": (
        [(0, "note", "c0t0"), *WELL[1:]], {"on the wrong side": [(0, 0)]},
    ),
    "reply in human mode": (
        [*WELL[:3], (2, "reply", "c2t0")], {"on the wrong side": [(2, 0)]},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("posts", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_the_verdict_names_what_is_broken(
    clock: Clock, posts: Posts, expected: dict[str, t.Any]
) -> None:
    run = written(clock)
    accepted = {text.id: text.created_at + 0.5 for text in run.texts.values()}
    post_all(run, posts)

    assert found(run, accepted) == expected


def test_older_texts_may_be_answered_later_if_their_delivery_was_lost(
    clock: Clock,
) -> None:
    run = written(clock)
    post_all(run, [WELL[1], WELL[0], *WELL[2:]])

    assert found(run, {}) == {}


def test_the_verdict_names_replies_after_an_operator_was_known(clock: Clock) -> None:
    run = written(clock)
    run.operators[1] = operator = run.talks[1].operator_says("I do this.")
    accepted = {operator.id: clock()}
    post_all(run, WELL[:2])
    clock.advance(STALE)
    post_all(run, WELL[2:])
    assert found(run, accepted) == {}

    clock.advance(1.0)
    post_all(run, WELL[2:3])
    assert found(run, accepted)["over an operator"] == [(1, 0)]


def written(clock: Clock) -> Run:
    """Customers have written, each after the delivery of the one before."""
    run = Run(Simulator(clock=clock), Mock(), conversations=3)

    for number, place in TEXTS:
        clock.advance(1.0)
        text = run.talks[number].customer_says(f"c{number}t{place}")
        run.texts[number, place] = text

    return run


def post_all(run: Run, posts: Posts) -> None:
    for number, kind, content in posts:
        private = kind == "note"
        run.talks[number].add(None, content, posted=True, private=private)


def found(run: Run, accepted: t.Mapping[int, float]) -> dict[str, t.Any]:
    return {name: texts for name, texts in broken(run, accepted, {}).items() if texts}
