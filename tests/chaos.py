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
import random
import re
import statistics
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
CATCH_UP: t.Final = 2.0

SETTINGS: t.Final = {
    "CHATWOOT_CATCH_UP": str(CATCH_UP),
    "CHATWOOT_DATABASE_SYNC": "normal",
    "CHATWOOT_LEASE": str(LEASE),
    "CHATWOOT_MAX_AGE": "86400",  # the clock jumps
    "CHATWOOT_MAX_ATTEMPTS": "100",
    "CHATWOOT_RETRY_PAUSE": "0.1",
    "CHATWOOT_SETTLE_TIME": "3.5",
    "CHATWOOT_TIMEOUT": "2",
}

STALE: t.Final = 5.0
"""Seconds for which a post may rest on a look before an operator wrote."""

FOUND: t.Final = 20.0
"""Seconds after which an operator's message is known, if no delivery told it."""

PATIENCE: t.Final = 45.0
"""Seconds without a post after which what is not answered is lost."""

TEXT: t.Final = re.compile(r"\bc\d+t\d+\b")


# -- the plan ------------------------------------------------------------------------


class Step(t.NamedTuple):
    """What happens, and when: seconds after the start.

    :ivar value: The number of a conversation, or of seconds.
    """

    at: float
    act: str
    value: float = 0.0


def plan(options: argparse.Namespace) -> list[Step]:
    """All that will happen, oldest first."""
    chance = random.Random(options.seed)  # noqa: S311 - the same plan each time
    end = options.seconds
    steps = [*_kills(chance, options), *_freezes(end), *_jumps(chance, end)]

    while sum(step.act == "say" for step in steps) < options.texts:
        at, talk = chance.uniform(0, end), chance.randrange(options.conversations)
        burst = chance.choice([1, 1, 1, 3])
        steps += [Step(at + 0.05 * n, "say", talk) for n in range(burst)]

    for talk in range(0, options.conversations, 6):  # all in bot mode
        steps.append(Step(chance.uniform(0, end), "take", talk))

    return sorted(steps)


def _kills(chance: random.Random, options: argparse.Namespace) -> t.Iterator[Step]:
    ways = ["kill a child of server", "kill worker 1", "kill worker 2", "kill server"]

    for number in range(options.kills):
        at = (number + chance.random()) * options.seconds / options.kills
        yield Step(at, ways[number % len(ways)])
        yield Step(at + chance.uniform(0.0, 2.0), "start")


def _freezes(end: float) -> t.Iterator[Step]:
    """Every other time for longer than the lease."""
    names = itertools.cycle(["server", "worker 1", "worker 2"])
    longer = itertools.cycle([LEASE + 2.0, 1.0])
    at = 2.0

    while at < end:
        yield Step(at, f"freeze {next(names)}")
        yield Step(at := at + next(longer), "thaw")
        at += 4.0


def _jumps(chance: random.Random, end: float) -> t.Iterator[Step]:
    at = chance.uniform(1.0, 6.0)

    while at < end:
        yield Step(at, "clock", chance.choice([-3600.0, 3600.0]))
        yield Step(at + 3.0, "clock", 0.0)
        at += chance.uniform(12.0, 24.0)


# -- the run -------------------------------------------------------------------------


class Run:
    """Does what is planned.

    :ivar texts: What customers wrote, by its own text, which is unique.
    :ivar taken: Conversation number to the message of its operator.
    """

    def __init__(
        self, sim: Simulator, machine: Machine, options: argparse.Namespace
    ) -> None:
        self.talks = [new_talk(sim, n) for n in range(options.conversations)]
        self.texts: dict[str, MessageRecord] = {}
        self.taken: dict[int, MessageRecord] = {}
        self.done: Counter[str] = Counter()
        self._sim = sim
        self._machine = machine
        self._numbers = [itertools.count() for _ in self.talks]

    def begin(self) -> None:
        """Wait until a first text is answered; then the app is known to Chatwoot."""
        first = self._sim.conversation(custom_attributes={"support_mode": "bot"})
        self._sim.wait_until(lambda: self._is_answered(first), timeout=60.0)

    def _is_answered(self, talk: Talk) -> bool:
        if not talk.replies and len(talk.messages) < 60:
            talk.customer_says("Hello?")
            time.sleep(1.0)

        return bool(talk.replies)

    def follow(self, steps: t.Iterable[Step], report: t.Callable[[str], None]) -> None:
        start = time.monotonic()

        for step in steps:
            time.sleep(max(0.0, start + step.at - time.monotonic()))
            self._do(step.act, step.value)

            if step.act != "say":
                self.done[step.act] += 1
                report(f"{step.at:7.2f}  {step.act} {step.value or ''}".rstrip())

    def _do(self, act: str, value: float) -> None:
        verb, _, rest = act.partition(" ")

        if act == "say":
            text = f"c{value:.0f}t{next(self._numbers[int(value)])}"
            self.texts[text] = self.talks[int(value)].customer_says(text)
        elif act == "take":
            self.taken[int(value)] = self.talks[int(value)].operator_says("I do this.")
        elif verb == "kill":
            name = rest.removeprefix("a child of ")
            self._machine.kill(name, alone=name != rest)
        elif verb == "freeze":
            self._machine.freeze(rest)
        elif verb == "thaw":
            self._machine.thaw()
        elif verb == "clock":
            self._machine.set_clock(value)
        else:
            self._machine.start_missing()

    def wait_for_answers(self) -> None:
        """Wait until all is answered and nothing follows, or until patience ends."""
        self._machine.set_clock(0.0)
        count, since = -1, time.monotonic()

        while True:
            self._machine.thaw()
            self._machine.start_missing()
            posts = sum(len(talk.posted) for talk in self.talks)

            if posts != count:
                count, since = posts, time.monotonic()

            enough = PATIENCE if lost(self) else STALE

            if time.monotonic() - since > enough:
                return

            time.sleep(0.5)


def mode_of(number: int) -> str:
    return "human" if number % 3 == 2 else "bot"


def new_talk(sim: Simulator, number: int) -> Talk:
    return sim.conversation(custom_attributes={"support_mode": mode_of(number)})


# -- the verdict ---------------------------------------------------------------------


class Post(t.NamedTuple):
    """A message of the app.

    :ivar talk: The number of its conversation.
    """

    talk: int
    message: MessageRecord


def answers(run: Run) -> dict[str, list[Post]]:
    """Text of a customer to the posts that answer it."""
    found: dict[str, list[Post]] = defaultdict(list)

    for number, talk in enumerate(run.talks):
        for message in talk.posted:
            for text in TEXT.findall(message.content or ""):
                found[text].append(Post(number, message))

    return found


def number_of(text: str) -> int:
    return int(text[1:].partition("t")[0])


def came_after_operator(run: Run, text: str) -> bool | None:
    """``None``: no operator wrote in its conversation."""
    operator = run.taken.get(number_of(text))

    return None if operator is None else run.texts[text].id > operator.id


def lost(run: Run) -> list[str]:
    """Texts without an answer; before an operator's message they need none."""
    found = answers(run)

    return [
        text
        for text in run.texts
        if text not in found and came_after_operator(run, text) is not False
    ]


def is_misplaced(run: Run, text: str, post: Post) -> bool:
    """Whether a post is public and should be a note, or the other way round."""
    if mode_of(post.talk) == "human":
        return not post.message.private

    return post.message.private and post.talk not in run.taken


def is_over_operator(run: Run, post: Post, sent: DeliveryProxy) -> bool:
    """Whether the app knew that an operator wrote, and posted in public."""
    operator = run.taken.get(post.talk)

    if operator is None or post.message.private or mode_of(post.talk) == "human":
        return False

    told = sent.accepted(operator.id)
    known = operator.created_at + FOUND if told is None else told

    return post.message.created_at > known + STALE


def out_of_order(run: Run, sent: DeliveryProxy) -> list[str]:
    """Texts answered before an older one that the app had when they were written."""
    first = {text: posts[0].message.id for text, posts in answers(run).items()}
    wrong: list[str] = []

    for _, group in itertools.groupby(sorted(first, key=order_of), number_of):
        wrong += [
            later
            for earlier, later in itertools.combinations(group, 2)
            if first[later] < first[earlier]
            and (at := sent.accepted(run.texts[earlier].id)) is not None
            and at < run.texts[later].created_at
        ]

    return sorted({*wrong})


def order_of(text: str) -> tuple[int, int]:
    number, _, place = text[1:].partition("t")

    return int(number), int(place)


Broken = dict[str, list[str]]


def broken(run: Run, sent: DeliveryProxy) -> Broken:
    """Promise to the texts for which it did not hold."""
    posts = [(text, post) for text, found in answers(run).items() for post in found]

    return {
        "lost": lost(run),
        "doubled": [text for text, found in answers(run).items() if len(found) > 1],
        "out of order": out_of_order(run, sent),
        "misplaced": [text for text, post in posts if is_misplaced(run, text, post)],
        "in another conversation": [
            text for text, post in posts if post.talk != number_of(text)
        ],
        "over an operator": [
            text for text, post in posts if is_over_operator(run, post, sent)
        ],
    }


# -- the program ---------------------------------------------------------------------


def seconds_to_answer(run: Run) -> list[float]:
    return sorted(
        posts[0].message.created_at - run.texts[text].created_at
        for text, posts in answers(run).items()
    )


def perform(
    options: argparse.Namespace, folder: Path, report: t.Callable[[str], None]
) -> dict[str, t.Any]:
    """Run all of it; the figures."""
    with contextlib.ExitStack() as stack:
        sim = stack.enter_context(Simulator(message_limit=10_000))
        api = ApiProxy(sim.url, seed=options.seed, rate=0.0)
        base_url = stack.enter_context(serving(api, wait=False))
        env = {key: str(value) for key, value in sim.settings().items()} | SETTINGS
        env["CHATWOOT_BASE_URL"] = base_url
        env["CHATWOOT_DATABASE_URL"] = f"sqlite:///{folder / 'chatwoot.sqlite3'}"

        if options.no_catch_up:
            env["CHATWOOT_CATCH_UP"] = "0"

        machine = Machine(folder, env, server=options.server)
        stack.callback(machine.close)
        sent = DeliveryProxy(
            machine.url,
            seed=options.seed,
            loss=options.drop,
            repeats=options.no_catch_up,
        )
        sim.connect(stack.enter_context(serving(sent, wait=False)))
        run = Run(sim, machine, options)
        run.begin()
        api.rate = options.faults
        run.follow(plan(options), report)
        run.wait_for_answers()

        return figures(run, sent, api)


def figures(run: Run, sent: DeliveryProxy, api: ApiProxy) -> dict[str, t.Any]:
    waits = seconds_to_answer(run) or [0.0]

    return {
        "texts": len(run.texts),
        "posts": sum(len(talk.posted) for talk in run.talks),
        "operators who wrote": len(run.taken),
        **run.done,
        **{f"deliveries {name}": n for name, n in sorted(sent.seen.items())},
        **{f"calls {name}": n for name, n in sorted(api.seen.items())},
        "seconds to an answer, median": round(statistics.median(waits), 1),
        "seconds to an answer, 99 %": round(waits[int(len(waits) * 0.99)], 1),
        "seconds to an answer, longest": round(waits[-1], 1),
        "broken": broken(run, sent),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--texts", type=int, help="default: 17 a second")
    parser.add_argument("--kills", type=int, help="default: one in 3 s")
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--drop", type=float, default=0.3, help="rate of deliveries")
    parser.add_argument("--faults", type=float, default=0.05, help="rate of calls")
    parser.add_argument("--server", choices=SERVERS, default="gunicorn")
    parser.add_argument(
        "--no-catch-up",
        action="store_true",
        help="without catch-up: nothing is lost, and refused deliveries are repeated",
    )
    parser.add_argument("--keep", type=Path, help="folder for database and log")
    parser.add_argument("--json", action="store_true", help="print JSON only")
    options = parser.parse_args()
    options.texts = options.texts or round(options.seconds * 17)
    options.kills = options.kills or round(options.seconds / 3)
    options.drop = 0.0 if options.no_catch_up else options.drop

    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        report = (lambda line: None) if options.json else print
        result = perform(options, folder, report)

    if options.json:
        print(json.dumps(result, indent=2))
    else:
        for name, value in (result | result["broken"]).items():
            if name != "broken":
                shown = len(value) if isinstance(value, list) else value
                print(f"{name:<40} {shown:>8}")

    return 1 if any(result["broken"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
