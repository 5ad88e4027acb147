"""What the package promises, while processes die and the network loses messages.

``python tests/chaos.py --seconds 120`` prints what it does and then a table; ``--json``
prints the same for programs. A simulated Chatwoot and an app in several processes on
one SQLite file exchange messages. Processes are killed and frozen, the clock jumps,
deliveries are lost, doubled and late, and answers of Chatwoot are lost, late or
nonsense. Operators write, take conversations, let them go, edit and delete; customers
write, edit, delete, react, call, rate and read. In the end Chatwoot's own record tells
which promises held; the exit code is 1 if one did not. The same seed makes the same
plan. It needs Linux.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import typing as t
from pathlib import Path

from support.chaos_plan import LEASE, Step, planned
from support.chaos_run import Run, Text
from support.chaos_verdict import (
    Seen,
    answers,
    broken,
    lost,
    posts,
    was_let_go,
)
from support.host import SERVERS, Machine
from support.network import ApiProxy, DeliveryProxy

from flask_chatwoot.payloads.events import SUBSCRIPTIONS
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.simulator.server import serving

SETTLE_TIME: t.Final = 6.0
TIMEOUT: t.Final = 2.0

SETTINGS: t.Final = {
    "CHATWOOT_CATCH_UP": "2",
    "CHATWOOT_DATABASE_SYNC": "normal",
    "CHATWOOT_LEASE": str(LEASE),
    "CHATWOOT_MAX_AGE": "86400",  # the clock jumps by less
    "CHATWOOT_MAX_ATTEMPTS": "100",
    "CHATWOOT_MAX_TURNS_PER_HOUR": "0",  # a long run has more
    "CHATWOOT_RETRY_PAUSE": "0.1",
    "CHATWOOT_SETTLE_TIME": str(SETTLE_TIME),
    "CHATWOOT_TIMEOUT": str(TIMEOUT),
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
        "posts": len(posts(run)),
        "posts: public, after an operator had it": sum(
            was_let_go(run, post) for post in posts(run)
        ),
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
        sim.connect(f"{webhook}/chatwoot/webhook", events=SUBSCRIPTIONS)
        run = Run(sim, machine, options.conversations)
        run.begin()
        api.rate = options.faults
        run.follow(planned(options), report)
        api.rate = 0.0
        machine.set_clock(0.0)
        # Late deliveries come, and what was sent without an answer is sent again.
        least = SETTLE_TIME + TIMEOUT + 1.0
        run.wait_for_answers(lambda: not lost(run), options.patience, least)

        numbers = {"seed": options.seed} | figures(run, sent, api)

        return numbers, broken(run, Seen(sent.accepted, sent.changed, api.reads))


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
