"""What the package promises, while processes die and the network loses messages.

``python tests/chaos.py --seconds 120`` prints what it does and then a table; ``--json``
prints the same for programs. A simulated Chatwoot and an app in several processes on
one SQLite file exchange messages. Processes are killed and frozen, the clock jumps,
deliveries are lost, doubled and late, and answers of Chatwoot are lost, late or
nonsense. In the end Chatwoot's own record tells which promises held; the exit code is
1 if one did not. The same seed makes the same plan. It needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import math
import random
import re
import sys
import tempfile
import time
import typing as t
from collections import Counter, defaultdict
from pathlib import Path

from support.host import SERVERS, Machine
from support.network import ApiProxy, DeliveryProxy

from flask_chatwoot.simulator import Simulator, Talk
from flask_chatwoot.simulator.payloads import MessageRecord
from flask_chatwoot.simulator.server import serving

LEASE: t.Final = 8.0

SETTINGS: t.Final = {
    "CHATWOOT_CATCH_UP": "2",
    "CHATWOOT_DATABASE_SYNC": "normal",
    "CHATWOOT_LEASE": str(LEASE),
    "CHATWOOT_MAX_AGE": "86400",  # the clock jumps by less
    "CHATWOOT_MAX_ATTEMPTS": "100",
    "CHATWOOT_MAX_TURNS_PER_HOUR": "0",  # a long run has more
    "CHATWOOT_RETRY_PAUSE": "0.1",
    "CHATWOOT_SETTLE_TIME": "6",
    "CHATWOOT_TIMEOUT": "2",
}

STALE: t.Final = 6.0
"""Seconds for which a post may rest on a look from before an operator wrote."""

TEXT: t.Final = re.compile(r"\bc(\d+)t(\d+)\b")
"""Each text of a customer is unique: its conversation and its place there."""

Text = tuple[int, int]
Accepted = t.Mapping[int, float]
"""Message id to the time when the app first accepted its delivery, Unix seconds."""

Reads = t.Mapping[int, t.Sequence[float]]
"""Conversation id to the times when the app read its newest messages, Unix seconds."""


# -- the plan ------------------------------------------------------------------------


class Step(t.NamedTuple):
    """What happens, and when: seconds after the start.

    :ivar who: A process, or the number of a conversation, or of seconds.
    """

    at: float
    act: str
    who: t.Any = None

    def __str__(self) -> str:
        return f"{self.at:8.2f}  {self.act} {'' if self.who is None else self.who}"


def planned(options: argparse.Namespace) -> list[Step]:
    """All that will happen, oldest first."""
    chance = random.Random(options.seed)  # noqa: S311 - the same plan each time
    end, talks = options.seconds, options.conversations
    steps = [*_kills(chance, end, options.kills), *_freezes(end), *_jumps(chance, end)]
    steps += [  # of conversations in bot mode
        Step(chance.uniform(0, end), "takeover", talk) for talk in range(0, talks, 6)
    ]
    steps += itertools.islice(_texts(chance, end, talks), options.texts)

    return sorted(steps, key=lambda step: step.at)


def _texts(chance: random.Random, end: float, talks: int) -> t.Iterator[Step]:
    while True:
        at, talk = chance.uniform(0, end), chance.randrange(talks)

        for number in range(chance.choice([1, 1, 3])):
            yield Step(at + 0.05 * number, "text", talk)


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
    at = 2.0

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


# -- the run -------------------------------------------------------------------------


class Run:
    """Does what is planned.

    :ivar texts: What customers wrote.
    :ivar operators: Conversation number to the message of its operator.
    :ivar done: How often each kind of step was done.
    """

    def __init__(self, sim: Simulator, machine: Machine, conversations: int) -> None:
        self.talks = [new_talk(sim, mode_of(n)) for n in range(conversations)]
        self.texts: dict[Text, MessageRecord] = {}
        self.operators: dict[int, MessageRecord] = {}
        self.done: Counter[str] = Counter()
        self._sim = sim
        self._machine = machine
        self._acts: dict[str, t.Callable[[t.Any], None]] = {
            "text": self._write,
            "takeover": self._take_over,
            "kill": machine.kill,
            "kill child": machine.kill_child,
            "restart": lambda _: machine.start_missing(),
            "freeze": machine.freeze,
            "thaw": lambda _: machine.thaw(),
            "clock": machine.set_clock,
        }

    def _write(self, number: int) -> None:
        place = len(self.talks[number].messages)  # unique, and growing
        text = self.talks[number].customer_says(f"c{number}t{place}")
        self.texts[number, place] = text

    def _take_over(self, number: int) -> None:
        self.operators[number] = self.talks[number].operator_says("I do this.")

    def begin(self) -> None:
        """Write until an answer shows that the app runs and knows this Chatwoot."""
        talk = new_talk(self._sim, "bot")

        for number in range(60):
            talk.customer_says(f"Hello {number}")

            with contextlib.suppress(TimeoutError):
                self._sim.wait_until(lambda: talk.replies, timeout=1.0)
                return

        raise AssertionError("The app does not answer.")

    def follow(self, steps: t.Iterable[Step], report: t.Callable[[Step], None]) -> None:
        start = time.monotonic()

        for step in steps:
            time.sleep(max(0.0, start + step.at - time.monotonic()))
            self._acts[step.act](step.who)
            self.done[f"{step.act} {step.who}" if "kill" in step.act else step.act] += 1

            if step.act != "text":
                report(step)

    def wait_for_answers(self, patience: float) -> None:
        """Wait until all is answered and nothing follows.

        :param patience: Seconds without a post, after which the rest counts as lost.
        """
        posts, since = -1, time.monotonic()

        while time.monotonic() - since < (patience if lost(self) else STALE):
            self._machine.thaw()
            self._machine.start_missing()
            before, posts = posts, sum(len(talk.posted) for talk in self.talks)
            since = since if posts == before else time.monotonic()
            time.sleep(0.5)


def mode_of(number: int) -> str:
    return "human" if number % 3 == 2 else "bot"


def new_talk(sim: Simulator, mode: str) -> Talk:
    return sim.conversation(custom_attributes={"support_mode": mode})


# -- the verdict ---------------------------------------------------------------------


class Post(t.NamedTuple):
    """A message of the app.

    :ivar talk: The number of its conversation.
    """

    talk: int
    message: MessageRecord


def answers(run: Run) -> dict[Text, list[Post]]:
    """Of each text, the posts that answer it."""
    found: dict[Text, list[Post]] = defaultdict(list)

    for number, talk in enumerate(run.talks):
        for message in talk.posted:
            for talk_number, place in TEXT.findall(message.content or ""):
                found[int(talk_number), int(place)].append(Post(number, message))

    return found


def lost(run: Run) -> list[Text]:
    """Texts without an answer. If an operator wrote since, they need none."""
    needed = [
        text
        for text, message in run.texts.items()
        if text[0] not in run.operators or run.operators[text[0]].id < message.id
    ]

    return sorted({*needed} - answers(run).keys())


def out_of_order(run: Run, accepted: Accepted) -> list[Text]:
    """Texts answered before an older one that the app had when they were written."""
    first = {text: posts[0].message.id for text, posts in answers(run).items()}
    wrong = set()

    for _, group in itertools.groupby(sorted(first), lambda text: text[0]):
        for older, newer in itertools.combinations(group, 2):
            had = accepted.get(run.texts[older].id)

            if first[newer] < first[older] and had is not None:
                wrong |= {newer} if had < run.texts[newer].created_at else set()

    return sorted(wrong)


def is_misplaced(run: Run, post: Post) -> bool:
    """Whether it is public and should be a note, or the other way round."""
    private = mode_of(post.talk) == "human"

    return post.message.private is not private and post.talk not in run.operators


def is_over_operator(run: Run, post: Post, accepted: Accepted, reads: Reads) -> bool:
    """Whether it is public, and the app knew that an operator had written."""
    operator = run.operators.get(post.talk)

    if operator is None or post.message.private:
        return False

    id = run.talks[post.talk].id
    # Of the process that reads it first, nothing may be left.
    seen = sorted(at for at in reads.get(id, ()) if at > operator.created_at)[1:]
    known = min([*seen, accepted.get(operator.id, math.inf)])

    return post.message.created_at > known + STALE


def broken(run: Run, accepted: Accepted, reads: Reads) -> dict[str, list[Text]]:
    """Of each promise, the texts for which it did not hold."""
    found = answers(run)
    posts = [(text, post) for text, posts in found.items() for post in posts]

    return {
        "lost": lost(run),
        "doubled": [text for text, posts in found.items() if len(posts) > 1],
        "out of order": out_of_order(run, accepted),
        "in another conversation": [x for x, post in posts if post.talk != x[0]],
        "on the wrong side": [x for x, post in posts if is_misplaced(run, post)],
        "over an operator": [
            x for x, post in posts if is_over_operator(run, post, accepted, reads)
        ],
    }


def figures(run: Run, sent: DeliveryProxy, api: ApiProxy) -> dict[str, t.Any]:
    waits = sorted(
        posts[0].message.created_at - run.texts[text].created_at
        for text, posts in answers(run).items()
    ) or [0.0]
    places = {"median": 0.5, "99 %": 0.99, "longest": 1.0}

    return {
        **{f"done: {name}": count for name, count in sorted(run.done.items())},
        **{f"deliveries: {name}": count for name, count in sorted(sent.seen.items())},
        **{f"calls: {name}": count for name, count in sorted(api.seen.items())},
        "posts": sum(len(talk.posted) for talk in run.talks),
        **{
            f"seconds to an answer, {name}": round(waits[int((len(waits) - 1) * at)], 1)
            for name, at in places.items()
        },
    }


# -- the program ---------------------------------------------------------------------


def perform(
    options: argparse.Namespace, folder: Path, report: t.Callable[[Step], None]
) -> tuple[dict[str, t.Any], dict[str, list[Text]]]:
    """Run all of it. Figures, and what is broken."""
    with contextlib.ExitStack() as stack:
        sim = stack.enter_context(Simulator(message_limit=10_000))
        api = ApiProxy(sim.url, options.seed)
        env = {key: str(value) for key, value in sim.settings().items()} | SETTINGS
        env["CHATWOOT_BASE_URL"] = stack.enter_context(serving(api, wait=False))
        env["CHATWOOT_DATABASE_URL"] = f"sqlite:///{folder / 'chatwoot.sqlite3'}"

        if options.no_catch_up:
            env["CHATWOOT_CATCH_UP"] = "0"

        machine = Machine(folder, env, options.server)
        stack.callback(machine.close)
        sent = DeliveryProxy(
            machine.url, options.seed, loss=options.drop, repeats=options.no_catch_up
        )
        webhook = stack.enter_context(serving(sent, wait=False))
        sim.connect(f"{webhook}/chatwoot/webhook")
        run = Run(sim, machine, options.conversations)
        run.begin()
        api.rate = options.faults
        run.follow(planned(options), report)
        api.rate = 0.0
        machine.set_clock(0.0)
        run.wait_for_answers(options.patience)

        numbers = {"seed": options.seed} | figures(run, sent, api)

        return numbers, broken(run, sent.accepted, api.reads)


def options_of(arguments: t.Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--texts", type=int, help="default: 17 a second")
    parser.add_argument("--kills", type=int, help="default: one in 3 s")
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--drop", type=float, default=0.3, help="rate of deliveries")
    parser.add_argument("--faults", type=float, default=0.05, help="rate of calls")
    parser.add_argument("--patience", type=float, default=90.0, help="seconds")
    parser.add_argument("--server", choices=SERVERS, default="gunicorn")
    parser.add_argument("--no-catch-up", action="store_true", help="repeat deliveries")
    parser.add_argument("--keep", type=Path, help="a new folder: database and log")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args(arguments)
    options.texts = options.texts or round(options.seconds * 17)
    options.kills = options.kills or round(options.seconds / 3)
    options.drop = 0.0 if options.no_catch_up else options.drop

    return options


def main(arguments: t.Sequence[str] | None = None) -> int:
    options = options_of(arguments)

    with contextlib.ExitStack() as stack:
        if options.keep:
            options.keep.mkdir()

        folder = options.keep or stack.enter_context(tempfile.TemporaryDirectory())
        report = (lambda step: None) if options.json else print
        numbers, failures = perform(options, Path(folder), report)

    show(numbers, failures, as_json=options.json)

    return 1 if any(failures.values()) else 0


def show(
    numbers: dict[str, t.Any], failures: dict[str, list[Text]], *, as_json: bool
) -> None:
    if as_json:
        print(json.dumps({**numbers, **failures}, indent=2))
        return

    for name, value in (numbers | {k: len(v) for k, v in failures.items()}).items():
        texts = " ".join(f"c{a}t{b}" for a, b in failures.get(name, [])[:10])
        print(f"{name:<40} {value:>8}  {texts}".rstrip())


if __name__ == "__main__":
    sys.exit(main())
