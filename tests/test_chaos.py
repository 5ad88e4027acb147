"""The chaos program, for some seconds, and whether it sees a promise that is broken."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from collections import Counter
from pathlib import Path
from unittest.mock import Mock

import pytest
from chaos import CANNOT_RUN, options_of
from support.chaos_plan import OPERATORS, Step, planned
from support.chaos_plan_machines import planned_for_machines
from support.chaos_run import Run
from support.chaos_verdict import STALE, Seen, broken, limits, posts, was_let_go
from support.host import Stop
from support.waiting import Clock

from flask_chatwoot.simulator import Simulator

POSTGRESQL: t.Final = ("--database", "postgresql")
PROGRAM: t.Final = Path(__file__).parent / "chaos.py"
SOME_SECONDS: t.Final = (
    *("--seconds", "10", "--texts", "150", "--kills", "4"),
    *("--conversations", "30", "--patience", "45"),
)

THREE_MACHINES: t.Final = (
    *("--database", "postgresql", "--machines", "3", "--seconds", "10"),
    *("--texts", "500", "--kills", "10", "--freezes", "5", "--cuts", "2"),
    *("--outages", "0", "--restarts", "1", "--conversations", "30"),
    *("--patience", "30"),
)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and SIGSTOP")
def test_nothing_is_lost_doubled_or_out_of_order_whatever_dies() -> None:
    pytest.importorskip("gunicorn", reason="needs gunicorn to run real processes")
    command = [sys.executable, str(PROGRAM), *SOME_SECONDS, "--json"]
    ended = subprocess.run(command, capture_output=True, check=False, timeout=300)
    result = json.loads(ended.stdout)

    assert result["done: text"] == 150
    assert result["done: unseen"] > 10
    assert result["deliveries: lost"] > 10
    assert ended.returncode == 0, result


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and SIGSTOP")
def test_the_same_holds_on_machines_that_share_nothing_but_postgresql() -> None:
    pytest.importorskip("gunicorn", reason="needs gunicorn to run real processes")
    pytest.importorskip("psycopg", reason="needs the extra postgresql")
    command = [sys.executable, str(PROGRAM), *THREE_MACHINES, "--json"]
    ended = subprocess.run(command, capture_output=True, check=False, timeout=300)

    if ended.returncode == CANNOT_RUN:
        pytest.skip(ended.stderr.decode().strip())

    result = json.loads(ended.stdout)

    assert result["done: text"] == 500
    assert sum(result[each] for each in result if each.startswith("done: kill")) == 10
    assert result["frozen"] >= 3
    assert result["done: restart database"] == 1
    assert ended.returncode == 0, result


def test_the_same_seed_makes_the_same_plan() -> None:
    plans = [planned(options_of(["--seed", seed])) for seed in ("7", "7", "8")]

    assert plans[0] == plans[1] != plans[2]
    assert {step.act for step in plans[0]} >= OPERATORS


def test_on_several_machines_all_that_is_asked_for_is_planned() -> None:
    numbers = {"kills": 20, "freezes": 12, "cuts": 3, "outages": 1, "restarts": 2}
    options = [each for name, n in numbers.items() for each in (f"--{name}", str(n))]
    plan = planned_for_machines(options_of([*POSTGRESQL, "--texts", "70", *options]))
    done = Counter(step.act for step in plan)

    assert plan == planned_for_machines(
        options_of([*POSTGRESQL, "--texts", "70", *options])
    )
    assert done["text"] == 70
    assert done["kill"] + done["kill child"] == done["restart"] == 20
    assert done["freeze"] == done["freeze in transaction"] == 6
    assert done["thaw"] == 12
    assert done["reset connections"] == done["join network"] == 3
    assert done["stall network"] + done["cut network"] == 3
    assert done["freeze database"] == done["stop database"] == 1
    assert done["restart database"] == 2


def test_what_is_frozen_is_not_killed() -> None:
    options = ["--seconds", "60", "--kills", "30", "--freezes", "10"]
    frozen: set[str] = set()

    for step in planned_for_machines(options_of([*POSTGRESQL, *options])):
        if step.act.startswith("freeze") and step.who:
            frozen.add(step.who)
        elif step.act == "thaw":
            frozen.discard(step.who)
        elif step.act.startswith("kill"):
            assert step.who not in frozen


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_the_database_runs_in_the_end_and_is_broken_in_one_way_at_a_time(
    seed: str,
) -> None:
    options = [*POSTGRESQL, "--seed", seed, "--seconds", "20", "--outages", "2"]
    acts = [
        step.act.partition(" ")[0]
        for step in planned_for_machines(options_of(options))
        if step.act.endswith("database") and "restart" not in step.act
    ]

    assert Counter(acts[::2]) == {"freeze": 2, "stop": 2}
    assert [{"freeze": "thaw", "stop": "start"}[act] for act in acts[::2]] == acts[1::2]


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

    assert found(run, accepted=accepted) == expected


def test_older_texts_may_be_answered_later_if_their_delivery_was_lost(
    clock: Clock,
) -> None:
    run = written(clock)
    post_all(run, [WELL[1], WELL[0], *WELL[2:]])

    assert found(run) == {}


# -- the verdict about operators: they act in conversation 1, and c1t0 is answered -----

Know = t.Callable[[Run, Clock], dict[str, t.Any]]
"""How the app knows of what an operator did."""


def by_delivery(run: Run, clock: Clock) -> dict[str, t.Any]:
    return {"accepted": {run.acts[1][-1].message_id: clock()}}


def by_reading(run: Run, clock: Clock) -> dict[str, t.Any]:
    return {"reads": {run.talks[1].id: [clock(), clock()]}}


def by_one_read(run: Run, clock: Clock) -> dict[str, t.Any]:
    return {"reads": {run.talks[1].id: [clock()]}}


def not_at_all(run: Run, clock: Clock) -> dict[str, t.Any]:
    return {}


KNOWN: t.Final[dict[str, tuple[tuple[str, ...], str, Know, bool]]] = {
    "the delivery": (("writes",), "c1t1", by_delivery, True),
    "two reads": (("writes by phone",), "c1t1", by_reading, True),
    "the reader died": (("writes in Slack",), "c1t1", by_one_read, False),
    "a start": (("sends a file",), "c1t1\n-- {clock:.3f}", not_at_all, True),
    "no start": (("writes",), "c1t1\n-- 1.0", not_at_all, False),
    "the look at what is newer": (("writes",), "c1t0", not_at_all, True),
    "the look at the attribute": (("sets human",), "c1t1", not_at_all, True),
    "assigned": (("assigns",), "c1t1", not_at_all, False),
    "resolved": (("writes", "resolves"), "c1t1", by_delivery, False),
    "returned": (("sets human", "sets bot"), "c1t1", not_at_all, False),
    "pending again": (("writes", "sets pending"), "c1t1", by_delivery, False),
    "taken again": (("resolves", "writes"), "c1t1", by_delivery, True),
    "deleted": (("writes", "deletes own"), "c1t0", not_at_all, False),
    "known, then deleted": (("writes", "deletes own"), "c1t0", by_delivery, True),
}


@pytest.mark.parametrize(
    ("acts", "answer", "know", "is_broken"), KNOWN.values(), ids=KNOWN
)
def test_the_verdict_names_replies_after_an_operator_was_known(
    clock: Clock, acts: t.Sequence[str], answer: str, know: Know, is_broken: bool
) -> None:
    run = written(clock)
    post_all(run, [WELL[0], WELL[1], WELL[3]])

    for act in acts:
        clock.advance(1.0)
        run.do(Step(0.0, act, 1))

    clock.advance(1.0)

    if "c1t1" in answer:
        run.texts[1, 1] = run.talks[1].customer_says("c1t1")
        post_all(run, [WELL[2]])

    seen = know(run, clock)
    posted = (1, "reply", answer.format(clock=clock()))
    post_all(run, [posted])
    assert "over an operator" not in found(run, **seen)

    clock.advance(STALE + 1.0)
    post_all(run, [posted])
    assert bool(found(run, **seen).get("over an operator")) is is_broken


def test_replies_after_an_operator_let_go_are_told_from_others(clock: Clock) -> None:
    run = written(clock)

    for act, expected in ((None, 0), ("writes", 0), ("resolves", 1), ("sets human", 1)):
        clock.advance(1.0)

        if act:
            run.do(Step(0.0, act, 1))

        clock.advance(1.0)
        post_all(run, [WELL[2]])
        assert sum(was_let_go(run, post) for post in posts(run)) == expected


# -- the verdict about what is changed, and what is no question -----------------------


@pytest.mark.parametrize("act", ["edits", "deletes"])
def test_the_verdict_names_answers_to_what_a_text_was_before(
    clock: Clock, act: str
) -> None:
    run = written(clock)
    run.do(Step(0.0, act, 1))
    changed = {run.texts[1, 0].id: clock()}
    clock.advance(STALE)
    post_all(run, WELL)
    assert found(run, changed=changed) == {}

    clock.advance(1.0)
    post_all(run, [(1, "reply", "c1t0"), (1, "reply", "c1t0 (edited)")])
    assert found(run, changed=changed)["to an outdated text"] == [(1, 0)]


@pytest.mark.parametrize("act", ["reacts", "reacts no more", "calls", "rates"])
def test_the_verdict_names_answers_to_what_is_no_question(
    clock: Clock, act: str
) -> None:
    run = written(clock)
    post_all(run, WELL)
    run.do(Step(0.0, act, 1))
    assert found(run) == {}

    post_all(run, [(1, "note", "Answer to c1n5"), (1, "note", "Answer to ")])
    ids = [message.id for message in run.talks[1].posted[-2:]]
    assert found(run) == {"to what is no question": [(1, id) for id in ids]}


def test_what_an_operator_deletes_was_an_answer(clock: Clock) -> None:
    run = written(clock)
    post_all(run, WELL)
    run.do(Step(0.0, "deletes reply", 1))
    assert found(run) == {}

    post_all(run, WELL[2:3])
    assert found(run)["doubled"] == [(1, 0)]


def written(clock: Clock) -> Run:
    """Customers have written, each after the delivery of the one before."""
    run = Run(Simulator(clock=clock), Mock(accidents={}), conversations=3, clock=clock)

    for number, place in TEXTS:
        clock.advance(1.0)
        text = run.talks[number].customer_says(f"c{number}t{place}")
        run.texts[number, place] = text

    return run


def post_all(run: Run, posts: Posts) -> None:
    for number, kind, content in posts:
        private = kind == "note"
        run.talks[number].add(None, content, posted=True, private=private)


def found(
    run: Run,
    *,
    accepted: t.Mapping[int, float] | None = None,
    changed: t.Mapping[int, float] | None = None,
    reads: t.Mapping[int, t.Sequence[float]] | None = None,
) -> dict[str, t.Any]:
    seen = Seen(accepted or {}, changed or {}, reads or {})

    return {name: texts for name, texts in broken(run, seen).items() if texts}


# -- the verdict about what accidents may cost ---------------------------------------


def test_each_process_that_dies_or_freezes_may_cost_one_question(clock: Clock) -> None:
    run = written(clock)
    run.done.update({"kill worker 1": 1, "kill child server": 1, "freeze": 1})
    asked = ["c0t0", "c0t0\nc0t1", "c1t0", "Hello 0", "Hello 0", "c1t0"]

    for repeated, is_kept in ((2, True), (3, False)):
        found = limits(run, [*asked, *["c0t0"] * repeated], [], [])
        limit = found["questions to the provider"]
        assert (limit.value, limit.most) == (4 + repeated, 3 + 3)
        assert limit.is_kept is is_kept


def test_a_request_may_not_be_held_unless_its_process_was_frozen(clock: Clock) -> None:
    run = written(clock)
    stops = [Stop(7, 20.0, 30.0)]
    frozen, after = (7, 15.0, 21.0), (7, 31.0, 32.25)
    another = (8, 15.0, 21.0)

    kept = limits(run, [], [frozen, after], stops)["seconds of the longest request"]
    held = limits(run, [], [frozen, another], stops)["seconds of the longest request"]

    assert (kept.value, kept.is_kept) == (1.25, True)
    assert (held.value, held.is_kept) == (6.0, False)
