"""What happens in a run of the chaos program, and when. The same for the same seed."""

from __future__ import annotations

import argparse
import itertools
import random
import typing as t

LEASE: t.Final = 8.0
"""``CHATWOOT_LEASE`` of the app."""

UNSEEN: t.Final = 0.3
"""Rate of the acts of which nothing is delivered."""

TAKES: t.Final = (
    *("writes", "writes by phone", "writes in Slack", "sends a file"),
    *("sets human", "assigns"),
)
BETWEEN: t.Final = ("edits own", "deletes own", "deletes reply")
ENDS: t.Final = ("resolves", "sets bot", "sets pending")
OPERATORS: t.Final = frozenset(TAKES + BETWEEN + ENDS)
"""What operators do."""

CHANGES: t.Final = ("edits", "deletes")
NO_QUESTIONS: t.Final = ("reacts", "reacts no more", "calls", "rates", "reads")
"""What customers do besides writing."""


class Step(t.NamedTuple):
    """What happens, and when: seconds after the start.

    :ivar who: A process, or the number of a conversation, or of seconds.
    :ivar seen: Whether deliveries are made of it; those may be lost nevertheless.
    """

    at: float
    act: str
    who: t.Any = None
    seen: bool = True

    def __str__(self) -> str:
        who, unseen = "" if self.who is None else self.who, " unseen" * (not self.seen)

        return f"{self.at:8.2f}  {self.act} {who}{unseen}"


def mode_of(number: int) -> str:
    """The choice of a conversation's customer."""
    return "human" if number % 3 == 2 else "bot"


def planned(options: argparse.Namespace) -> list[Step]:
    """All that will happen, oldest first."""
    chance = random.Random(options.seed)  # noqa: S311 - the same plan each time
    end, talks = options.seconds, options.conversations
    texts = [*itertools.islice(texts_of(chance, end, talks), options.texts)]
    steps = [
        *_kills(chance, end, options.kills),
        *_freezes(end),
        *_jumps(chance, end),
        *texts,
        *_changes(chance, texts),
        *_no_questions(chance, end, talks, options.texts // 10),
    ]

    for talk in range(0, talks, 3):  # in bot mode, and every fourth in human mode
        steps += _operator(chance, end, talk + (2 if talk % 12 == 9 else 0))

    steps += _meanwhile(chance, end, talks, options.texts // 50)

    return sorted(steps, key=lambda step: step.at)


def texts_of(chance: random.Random, end: float, talks: int) -> t.Iterator[Step]:
    """What customers write, without end and in no order; some write bursts."""
    while True:
        at, talk = chance.uniform(0, end), chance.randrange(talks)

        for number in range(chance.choice([1, 1, 3])):
            yield Step(at + 0.05 * number, "text", talk)


def _changes(chance: random.Random, texts: t.Sequence[Step]) -> t.Iterator[Step]:
    """Some texts are changed soon: before, during or after their turn."""
    for text in chance.sample(texts, len(texts) // 8):
        at = text.at + chance.uniform(0.0, 1.5)
        seen = chance.random() > UNSEEN
        yield Step(at, chance.choice(CHANGES), text.who, seen)


def _no_questions(
    chance: random.Random, end: float, talks: int, count: int
) -> t.Iterator[Step]:
    for number in range(count):
        act = NO_QUESTIONS[number % len(NO_QUESTIONS)]
        yield Step(chance.uniform(0, end), act, chance.randrange(talks))


def _operator(chance: random.Random, end: float, talk: int) -> t.Iterator[Step]:
    """Takes a conversation and lets it go, again and again."""
    at = chance.uniform(0, end / 2)

    for acts in itertools.cycle([TAKES, TAKES + BETWEEN, TAKES + BETWEEN, ENDS]):
        if at > end:
            return

        yield Step(at, chance.choice(acts), talk, chance.random() > UNSEEN)
        at += chance.uniform(1.0, max(2.0, end / 4))


def _meanwhile(
    chance: random.Random, end: float, talks: int, count: int
) -> t.Iterator[Step]:
    """An operator takes a conversation while the provider works."""
    for _ in range(count):
        at, talk = chance.uniform(0, end / 2), chance.randrange(0, talks, 3)
        yield Step(at, "slow text", talk)
        yield Step(at + 1.0, chance.choice(TAKES), talk, chance.random() > UNSEEN)


def _kills(chance: random.Random, end: float, kills: int) -> t.Iterator[Step]:
    ways = [
        *(("kill child", "server"), ("kill", "worker 1")),
        *(("kill", "server"), ("kill", "worker 2")),
    ]

    for number in range(kills):
        at = (number + chance.random()) * end / kills
        yield Step(at, *ways[number % len(ways)])
        yield Step(at + chance.uniform(0.0, 2.0), "restart")


def _freezes(end: float) -> t.Iterator[Step]:
    """Every other time for longer than the lease."""
    names = itertools.cycle(["server", "worker 1", "worker 2"])
    lengths = itertools.cycle([LEASE + 2.0, 1.0])
    at = 0.5

    while at < end:
        yield Step(at, "freeze", next(names))
        yield Step(at := at + next(lengths), "thaw")
        at += 4.0


def _jumps(chance: random.Random, end: float) -> t.Iterator[Step]:
    jumps = itertools.cycle([3600.0, -3600.0])
    at = chance.uniform(1.0, 6.0)

    while at < end:
        yield Step(at, "clock", next(jumps))
        yield Step(at + 3.0, "clock", 0.0)
        at += chance.uniform(12.0, 24.0)
