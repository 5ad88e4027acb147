"""What the package promises, while processes die and the network loses messages.

``python tests/chaos.py --seconds 120`` prints what it does and then a table; ``--json``
prints the same for programs. A simulated Chatwoot and an app in several processes on
one SQLite file exchange messages. Processes are killed and frozen, the clock jumps,
deliveries are lost, doubled and late, and answers of Chatwoot are lost, late or
nonsense. Operators write, take conversations, let them go, edit and delete; customers
write, edit, delete, react, call, rate and read. In the end Chatwoot's own record tells
which promises held; the exit code is 1 if one did not. The same seed makes the same
plan. It needs Linux.

With ``--database postgresql --machines 3`` the app runs on several machines that share
nothing but a PostgreSQL, which the program starts from Debian's binaries. Customers
write, and nobody else does anything. Processes are killed, and frozen for longer than
the lease, also in the middle of a transaction; connections to the database are reset,
stalled and cut; the server is frozen, away and restarted. It counts as well what the
provider was asked, and how long requests were held. With ``--engine celery`` Celery's
workers run the turns, a third of what wakes them is lost, and Redis is frozen.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import typing as t
from pathlib import Path

import pytest
from support.chaos_plan import LEASE, Step, planned
from support.chaos_plan_machines import planned_for_machines
from support.chaos_run import Run, Text
from support.chaos_verdict import (
    Limit,
    Seen,
    answers,
    broken,
    limits,
    lost,
    posts,
    was_let_go,
)
from support.host import SERVERS, Machine
from support.network import ApiProxy, DeliveryProxy

from flask_chatwoot.payloads.events import SUBSCRIPTIONS
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.simulator.server import serving

if t.TYPE_CHECKING:
    from support.machines import Machines

SETTLE_TIME: t.Final = 6.0
TIMEOUT: t.Final = 2.0

CANNOT_RUN: t.Final = 77
"""The exit code where what it needs is not installed."""

T = t.TypeVar("T")

SETTINGS: t.Final = {
    "CHATWOOT_BURST_WINDOW": "0",
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


class Result(t.NamedTuple):
    """What a run has shown.

    :ivar numbers: What happened how often.
    :ivar broken: Of each promise, the texts for which it did not hold.
    :ivar limits: What is counted, and the most that it may be.
    """

    numbers: dict[str, t.Any]
    broken: dict[str, list[Text]]
    limits: dict[str, Limit]

    @property
    def is_good(self) -> bool:
        kept = all(limit.is_kept for limit in self.limits.values())

        return kept and not any(self.broken.values())


@contextlib.contextmanager
def host(
    options: argparse.Namespace, folder: Path, env: t.Mapping[str, str]
) -> t.Iterator[Machine | Machines]:
    """Where the app runs, for a block."""
    if options.database == "postgresql":
        from support.machines import machines

        with machines(
            folder,
            env,
            web=options.server,
            count=options.machines,
            through_pgbouncer=options.pgbouncer,
            engine=options.engine,
        ) as several:
            yield several

        return

    url = f"sqlite:///{folder / 'chatwoot.sqlite3'}"
    machine = Machine(folder, {**env, "CHATWOOT_DATABASE_URL": url}, options.server)

    with contextlib.closing(machine):
        yield machine


def perform(
    options: argparse.Namespace, folder: Path, report: t.Callable[[Step], None]
) -> Result:
    """Run all of it."""
    with contextlib.ExitStack() as stack:
        sim = stack.enter_context(Simulator(message_limit=10_000))
        api = ApiProxy(sim.url, options.seed)
        env = {key: str(value) for key, value in sim.settings().items()} | SETTINGS
        env["CHATWOOT_BASE_URL"] = stack.enter_context(serving(api, wait=False))

        if options.no_catch_up:
            env["CHATWOOT_CATCH_UP"] = "0"

        if options.database == "postgresql":  # which is killed as well
            env["CHATWOOT_DATABASE_SYNC"] = "full"

        app = stack.enter_context(host(options, folder, env))
        sent = DeliveryProxy(
            app.urls, options.seed, loss=options.drop, repeats=options.no_catch_up
        )
        webhook = stack.enter_context(serving(sent, wait=False))
        sim.connect(f"{webhook}/chatwoot/webhook", events=SUBSCRIPTIONS)
        run = Run(sim, app, options.conversations)
        run.begin()
        api.rate = options.faults
        run.follow(steps_of(options), report)
        api.rate = 0.0
        app.recover()
        # Late deliveries come, and what was sent without an answer is sent again.
        least = SETTLE_TIME + TIMEOUT + 1.0
        run.wait_for_answers(lambda: not lost(run), options.patience, least)

        return Result(
            {"seed": options.seed} | figures(run, sent, api) | app.seen,
            broken(run, Seen(sent.accepted, sent.changed, api.reads)),
            costs(run, app),
        )


def steps_of(options: argparse.Namespace) -> list[Step]:
    if options.database == "postgresql":
        return planned_for_machines(options)

    return planned(options)


def costs(run: Run, app: Machine | Machines) -> dict[str, Limit]:
    """On one machine nothing is counted: customers change what they wrote."""
    if isinstance(app, Machine):
        return {}

    return limits(run, app.questions(), app.requests(), app.stops)


def options_of(arguments: t.Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--texts", type=int, help="default: 17 a second")
    parser.add_argument("--kills", type=int, help="default: one in 3 s")
    parser.add_argument("--conversations", type=int, default=100)
    parser.add_argument("--drop", type=float, help="rate of deliveries")
    parser.add_argument("--faults", type=float, help="rate of calls")
    parser.add_argument("--patience", type=float, default=90.0, help="seconds")
    parser.add_argument("--server", choices=SERVERS, default="gunicorn")
    parser.add_argument("--no-catch-up", action="store_true", help="repeat deliveries")
    parser.add_argument("--keep", type=Path, help="a new folder: database and log")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_options_of_machines(parser)
    options = parser.parse_args(arguments)
    several = options.database == "postgresql"
    options.texts = options.texts or round(options.seconds * 17)
    options.kills = default(options.kills, round(options.seconds / 3))
    options.freezes = default(options.freezes, round(options.seconds / 4))
    options.cuts = default(options.cuts, round(options.seconds / 20))
    options.restarts = default(options.restarts, round(options.seconds / 60))
    options.drop = default(options.drop, 0.05 if several else 0.3)
    options.faults = default(options.faults, 0.01 if several else 0.05)
    options.drop = 0.0 if options.no_catch_up else options.drop

    return options


def add_options_of_machines(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("several machines")
    group.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    group.add_argument("--machines", type=int, default=3)
    group.add_argument("--pgbouncer", action="store_true", help="before the server")
    group.add_argument("--engine", choices=["thread", "celery"], default="thread")
    group.add_argument("--freezes", type=int, help="of processes; default: one in 4 s")
    group.add_argument("--cuts", type=int, help="of networks; default: one in 20 s")
    outages = "the server frozen, and away"
    group.add_argument("--outages", type=int, default=1, help=outages)
    group.add_argument("--restarts", type=int, help="default: one in 60 s")


def default(given: T | None, otherwise: T) -> T:
    return otherwise if given is None else given


def main(arguments: t.Sequence[str] | None = None) -> int:
    options = options_of(arguments)

    with contextlib.ExitStack() as stack:
        if options.keep:
            options.keep.mkdir()

        folder = options.keep or stack.enter_context(tempfile.TemporaryDirectory())
        report = (lambda step: None) if options.json else print

        try:
            result = perform(options, Path(folder), report)
        except pytest.skip.Exception as reason:
            print(reason, file=sys.stderr)
            return CANNOT_RUN

    show(result, as_json=options.json)

    return 0 if result.is_good else 1


def show(result: Result, *, as_json: bool) -> None:
    if as_json:
        shown = {**result.numbers, **result.broken, **result.limits}
        print(json.dumps(shown, indent=2))
        return

    counts = {name: len(texts) for name, texts in result.broken.items()}

    for name, value in (result.numbers | counts).items():
        texts = " ".join(f"c{a}t{b}" for a, b in result.broken.get(name, [])[:10])
        print(f"{name:<40} {value:>8}  {texts}".rstrip())

    for name, limit in result.limits.items():
        print(f"{name:<40} {limit.value:>8}  at most {limit.most:g}")


if __name__ == "__main__":
    sys.exit(main())
