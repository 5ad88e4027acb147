"""What happens in a run of the chaos program on several machines, and when."""

from __future__ import annotations

import argparse
import itertools
import random
import typing as t

from .chaos_plan import LEASE, Step, texts_of

FROZEN: t.Final = LEASE + 1.5
"""Seconds for which a process is frozen."""

RESTARTED: t.Final = 2.0
"""Seconds at most until what was killed is started again, and for the database."""

STARTED: t.Final = RESTARTED + 2.0
"""Seconds at most until it does its work."""

OUTAGES: t.Final = {"freeze": 5.0, "stop": 40.0}
"""Seconds for which the database is frozen, and away."""

BROKER_FROZEN: t.Final = 30.0
"""Seconds for which Redis is frozen, in a run that is long enough."""

ENDS: t.Final = {"freeze": "thaw", "stop": "start"}


def planned_for_machines(options: argparse.Namespace) -> list[Step]:
    """All that will happen, oldest first."""
    chance = random.Random(options.seed)  # noqa: S311 - the same plan each time
    end, numbers = options.seconds, range(1, options.machines + 1)
    texts = texts_of(chance, end, options.conversations)
    freezes = [*_freezes(chance, end, options.freezes, numbers)]
    steps = [
        *itertools.islice(texts, options.texts),
        *freezes,
        *_kills(chance, end, options.kills, numbers, freezes),
        *_networks(chance, end, options.cuts, numbers),
        *_databases(chance, end, options.outages, options.restarts),
    ]

    if options.engine == "celery":
        steps += [*_beat(chance, end, options.kills // 10), *_broker(chance, end)]

    return sorted(steps, key=lambda step: step.at)


def _kills(
    chance: random.Random,
    end: float,
    count: int,
    machines: t.Iterable[int],
    freezes: t.Sequence[Step],
) -> t.Iterator[Step]:
    """Whoever is frozen, or soon will be, lives on, if possible."""
    acts = [("kill child", "server"), ("kill", "worker 1"), ("kill", "server")]
    ways = [(act, f"{n} {name}") for (act, name) in acts for n in machines]

    for at, _ in _spread(chance, end, count, ways):
        busy = {
            step.who
            for step in freezes
            if step.act != "thaw" and step.at - STARTED < at < step.at + FROZEN
        }
        way = next((each for each in ways if each[1] not in busy), ways[0])
        ways.remove(way)
        ways.append(way)
        yield Step(at, *way)
        yield Step(at + chance.uniform(0.0, RESTARTED), "restart")


def _freezes(
    chance: random.Random, end: float, count: int, machines: t.Iterable[int]
) -> t.Iterator[Step]:
    """Every other one in the middle of a transaction."""
    names = [*itertools.product(["worker 1", "server"], machines)]
    acts = itertools.cycle(["freeze", "freeze in transaction"])

    for at, (name, machine) in _spread(chance, end, count, names):
        yield Step(at, next(acts), f"{machine} {name}")
        yield Step(at + FROZEN, "thaw", f"{machine} {name}")


def _networks(
    chance: random.Random, end: float, count: int, machines: t.Sequence[int]
) -> t.Iterator[Step]:
    """All connections are reset; one machine's are stalled or cut for some seconds."""
    acts = itertools.cycle(["stall network", "cut network"])

    for at, machine in _spread(chance, end, count, machines):
        yield Step(at, "reset connections")
        later = at + chance.uniform(0.0, end / count / 2)
        yield Step(later, next(acts), machine)
        yield Step(later + chance.uniform(1.0, 6.0), "join network", machine)


def _databases(
    chance: random.Random, end: float, outages: int, restarts: int
) -> t.Iterator[Step]:
    """One after the other, with pauses of the same length."""
    acts = [*OUTAGES] * outages + ["restart"] * restarts
    chance.shuffle(acts)
    busy = sum(OUTAGES.get(act, RESTARTED) for act in acts)
    pause = max(1.0, (end - busy) / (len(acts) + 1))
    at = pause

    for act in acts:
        yield Step(at, f"{act} database")
        at += OUTAGES.get(act, RESTARTED)

        if act in ENDS:
            yield Step(at, f"{ENDS[act]} database")

        at += pause


def _beat(chance: random.Random, end: float, count: int) -> t.Iterator[Step]:
    """Celery's beat is the second worker of the first machine."""
    for at, name in _spread(chance, end, count, ["1 worker 2"]):
        yield Step(at, "kill", name)
        yield Step(at + chance.uniform(0.0, RESTARTED), "restart")


def _broker(chance: random.Random, end: float) -> t.Iterator[Step]:
    length = min(BROKER_FROZEN, end / 3)
    at = chance.uniform(0.0, end - length)
    yield Step(at, "freeze broker")
    yield Step(at + length, "thaw broker")


T = t.TypeVar("T")


def _spread(
    chance: random.Random, end: float, count: int, among: t.Sequence[T]
) -> t.Iterator[tuple[float, T]]:
    """That many times, spread over the run, and whom it happens to, in turn."""
    for number, each in zip(range(count), itertools.cycle(among), strict=False):
        yield (number + chance.random()) * end / count, each
