"""What the package costs, in ratios to what it cannot do without.

``python tests/benchmark.py`` prints a table, ``--json`` the same for programs, and
``--rows acknowledgement,claim`` only some of it. Both sides of a ratio are measured in
one run, in alternating rounds. A row that misses its bar is measured once more; the
exit code is 1 if it misses it again. Throughput has to reach its bar, every other row
may not exceed it. ``--cpu`` measures only what takes processor time, and
``--tolerance 0.25`` lets rows miss their bars by a quarter: how a database's work
compares with Flask's depends on the processor. ``million_rows``, and what needs
PostgreSQL, which is started from Debian's binaries, take minutes: they are measured
only when they are named.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import itertools
import json
import logging
import os
import resource
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from functools import partial
from pathlib import Path

import requests
from flask import Flask, request
from flask.typing import ResponseReturnValue
from werkzeug.test import create_environ

from flask_chatwoot import Chatwoot
from flask_chatwoot.queue.inspection import Inspection
from flask_chatwoot.queue.jobs import Queue
from flask_chatwoot.queue.sqlite import SQLiteDatabase
from flask_chatwoot.testing import customer_message, encoded, signed

SECRET: t.Final = "benchmark"
SYNC: t.Final = ("normal", "full")
WEBHOOK: t.Final = "/chatwoot/webhook"
MESSAGES: t.Final = "/api/v1/accounts/1/conversations/1/messages"
HEALTH: t.Final = "/chatwoot/health"
PAYLOAD: t.Final = bytes(3700)

BARS: t.Final[t.Mapping[str, float]] = {
    "acknowledgement, normal / bare route": 2.5,
    "acknowledgement, full / bare route": 4.0,
    "inline turn, normal / requests post": 2.5,
    "inline turn, full / requests post": 2.5,
    "claim, 200 000 done / 1 000": 1.5,
    "claim, 200 000 unfinished / 1 000": 1.5,
    "import / import flask, requests": 1.2,
    "throughput, normal / bare route": 0.45,
    "throughput, full / bare route": 0.30,
    "p99, normal / its median": 25.0,
    "p99, full / its median": 6.0,
    "p99 beside health, 1 000 000 jobs / without": 2.0,
    "p99 beside prune, 1 000 000 jobs / without": 2.0,
    "claim, PostgreSQL, 200 000 done / 1 000": 1.5,
    "claim, PostgreSQL, 200 000 unfinished / 1 000": 1.5,
    "claim, PostgreSQL, old snapshot / 1 000": 1.5,
    "throughput of turns, 3 workers / 1": 2.7,
}

Rows = dict[str, float]

_ids = itertools.count(1)


# -- what the package's insides are used for -----------------------------------------


_VALUES: t.Final = {
    "done": "NULL, NULL, 0, 'replied'",
    # Three jobs a conversation, of which the first is due.
    "unfinished": ":payload, iif(n % 3, NULL, 0), NULL, NULL",
}

_FILL: t.Final = """
INSERT INTO job (account_id, conversation_id, message_id, key, kind, received_at,
    payload, due_at, finished_at, outcome)
WITH RECURSIVE number (n) AS (
    SELECT 3000000000 UNION ALL SELECT n + 1 FROM number LIMIT :rows
)
SELECT 1, n / 3, n, '1:message_created:' || n, 'message', 0, {} FROM number
"""


def filled_database(path: Path, state: str, rows: int) -> SQLiteDatabase:
    """One with many jobs. To put them in one by one would take minutes."""
    database = SQLiteDatabase(str(path), account_id=1, sync="normal")
    put(Queue(database), 1)  # makes the tables

    with contextlib.closing(sqlite3.connect(path)) as db, db:
        db.execute(_FILL.format(_VALUES[state]), {"rows": rows, "payload": PAYLOAD})

    return database


def put(queue: Queue, count: int) -> None:
    for n in itertools.islice(_ids, count):
        queue.put(str(n), conversation_id=n, message_id=n, payload=PAYLOAD)


# -- deliveries and apps -------------------------------------------------------------


def delivery() -> bytes:
    """A website visitor's message, as long as Chatwoot's: 3.7 KB."""
    number = next(_ids)
    payload = customer_message(id=number, conversation_id=number)
    padding = "x" * (3700 - len(encoded(payload | {"padding": ""})))

    return encoded(payload | {"padding": padding})


def environ() -> dict[str, t.Any]:
    """A signed delivery as a WSGI server passes it to the app."""
    body = delivery()
    headers = [*signed(body, SECRET).items()]

    return create_environ(WEBHOOK, method="POST", data=body, headers=headers)


def bare_app() -> Flask:
    app = Flask("bare")

    @app.post(WEBHOOK)
    def webhook() -> ResponseReturnValue:
        request.get_json()
        return {"status": "accepted"}, 202

    return app


def chatwoot_app(path: Path | str, sync: str, **settings: str) -> Flask:
    """An app that stores deliveries in the file, and runs no turns unless inline."""
    app = Flask("chatwoot")
    app.config.update(
        CHATWOOT_BASE_URL="http://127.0.0.1:9",
        CHATWOOT_ACCOUNT_ID=1,
        CHATWOOT_API_ACCESS_TOKEN="benchmark",
        CHATWOOT_WEBHOOK_SECRET=SECRET,
        CHATWOOT_HEALTH_TOKEN=SECRET,
        CHATWOOT_DATABASE_URL=f"sqlite:///{path}",
        CHATWOOT_DATABASE_SYNC=sync,
        CHATWOOT_WORKERS=0,
        CHATWOOT_BURST_WINDOW=0,
    )
    app.config.update(settings)
    Chatwoot(app).reply_provider(lambda text: "On its way.")

    return app


def chatwoot_stub() -> Flask:
    """Accepts every message, and shows a bot's token no conversation."""
    app = Flask("stub")
    refused = {"error": "Access to this endpoint is not authorized for bots"}
    app.add_url_rule("/<path:_>", view_func=lambda _: (refused, 401))
    app.add_url_rule("/<path:_>", "post", lambda _: {"id": 1}, methods=["POST"])

    return app


def served(name: str, path: str) -> Flask:
    """The app of that name for gunicorn, which imports this file."""
    logging.disable(logging.CRITICAL)

    if name in SYNC:
        return chatwoot_app(path, name)

    return {"bare": bare_app, "stub": chatwoot_stub}[name]()


@contextlib.contextmanager
def gunicorn(name: str, path: Path | str = "") -> t.Iterator[str]:
    """The URL of an app that two processes with four threads each serve."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = f"benchmark:served({name!r}, '{path}')"
        options = (
            "--workers 2 --worker-class gthread --threads 4 --keep-alive 60 --preload"
            f" --log-level critical --bind fd://{listener.fileno()} --pythonpath"
        )
        python = [sys.executable, "-m", "gunicorn", served, *options.split()]
        command = [*python, str(Path(__file__).parent)]
        process = subprocess.Popen(command, pass_fds=[listener.fileno()])

        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            requests.get(url, timeout=60)  # waits until it serves
            yield url
        finally:
            process.terminate()
            process.wait()


def cheapest(rounds: int, *sides: t.Callable[[], float]) -> list[float]:
    """The cheapest round of each side: what else the machine does only adds to it."""
    costs = [[measure() for measure in sides] for _ in range(rounds)]

    return [min(seconds) for seconds in zip(*costs, strict=True)]


def cpu(work: t.Callable[[], object]) -> float:
    """CPU seconds of this process, all threads."""
    gc.collect()
    started = time.process_time()
    work()

    return time.process_time() - started


def cpu_of_deliveries(app: Flask, count: int) -> float:
    """Calls the app as a WSGI server does; Flask's test client costs more than it."""
    environs = [environ() for _ in range(count)]
    answers: list[str] = []

    def start(status: str, *_: object) -> t.Callable[[bytes], object]:
        answers.append(status)
        return bytes

    seconds = cpu(lambda: [b"".join(app(each, start)) for each in environs])

    if {*answers} != {"202 ACCEPTED"}:
        raise AssertionError(f"Deliveries were answered {', '.join({*answers})}.")

    return seconds


# -- the measurements ------------------------------------------------------------------


def acknowledgement(folder: Path) -> Rows:
    """CPU of an acknowledged delivery to a bare route that parses the same JSON."""

    def measure(sync: str, app: Flask) -> float:
        seconds = cpu_of_deliveries(app, 500)

        # As workers do once a second.
        with contextlib.closing(sqlite3.connect(folder / sync)) as db:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)")

        return seconds

    apps = [partial(measure, sync, chatwoot_app(folder / sync, sync)) for sync in SYNC]
    bare, *costs = cheapest(25, partial(cpu_of_deliveries, bare_app(), 500), *apps)

    return {
        f"acknowledgement, {sync} / bare route": cost / bare
        for sync, cost in zip(SYNC, costs, strict=True)
    }


def outcomes(path: Path) -> set[str | None]:
    """How the turns of a file ended; ``None`` stands for those that have not."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        return {outcome for (outcome,) in db.execute("SELECT outcome FROM job")}


def inline_turn(folder: Path) -> Rows:
    """CPU of an inline turn, from the delivery to the post, to a mere post."""
    message: dict[str, t.Any] = {"content": "On its way.", "private": False}

    with gunicorn("stub") as url, requests.Session() as session:

        def post() -> None:
            for _ in range(100):
                session.post(url + MESSAGES, json=message, timeout=10).json()

        settings = {"CHATWOOT_BASE_URL": url, "CHATWOOT_BACKEND": "inline"}
        apps = [chatwoot_app(folder / sync, sync, **settings) for sync in SYNC]
        turns = [partial(cpu_of_deliveries, app, 100) for app in apps]
        posts, *costs = cheapest(40, partial(cpu, post), *turns)

    for sync in SYNC:
        if (ended := outcomes(folder / sync)) != {"replied"}:
            raise AssertionError(f"Turns ended {ended}, and not with a reply.")

    return {
        f"inline turn, {sync} / requests post": cost / posts
        for sync, cost in zip(SYNC, costs, strict=True)
    }


def claim(folder: Path) -> Rows:
    """CPU of a claim with 200 000 jobs in the database to one with 1 000."""
    rows: Rows = {}

    def measure(queue: Queue) -> float:
        put(queue, 200)

        return cpu(lambda: [queue.claim() for _ in range(200)])

    for state in ("done", "unfinished"):
        few, many = (
            partial(
                measure,
                Queue(filled_database(folder / f"{state}-{count}", state, count)),
            )
            for count in (1000, 200_000)
        )
        fewest, most = cheapest(9, few, many)
        rows[f"claim, 200 000 {state} / 1 000"] = most / fewest

    return rows


def import_time(folder: Path) -> Rows:
    """CPU of the package's import, and of a configured app, to what they need.

    An app loads the other half of the package with ``init_app``.
    """
    # Like every installed package, ours has its bytecode on disk.
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "",
        "CHATWOOT_BASE_URL": "http://127.0.0.1:9",
        "CHATWOOT_ACCOUNT_ID": "1",
        "CHATWOOT_API_ACCESS_TOKEN": "benchmark",
        "CHATWOOT_WEBHOOK_SECRET": SECRET,
        "CHATWOOT_COPILOT_TOKEN": SECRET,
    }

    def measure(statement: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)

        return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)

    # With the class: it brings what the package alone does not load.
    theirs = "import flask, requests"
    ours = f"{theirs}; from flask_chatwoot import Chatwoot"
    app = f"{ours}; Chatwoot(flask.Flask('app', instance_path={str(folder)!r}))"
    cost, whole, needed = cheapest(
        30, *(partial(measure, each) for each in (ours, app, theirs))
    )

    return {
        "import / import flask, requests": cost / needed,
        "import, init_app / import flask, requests": whole / needed,
    }


def write_deliveries(path: Path, count: int = 60_000) -> Path:
    """Write new deliveries for ``wrk``, each with its length before it."""
    with path.open("wb") as file:
        for body in (delivery() for _ in range(count)):
            headers = signed(body, SECRET) | {"Content-Length": len(body)}
            head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            whole = f"POST {WEBHOOK} HTTP/1.1\r\n{head}\r\n".encode() + body
            file.write(b"%8d%s" % (len(whole), whole))

    return path


def loaded(url: str, load: Path) -> dict[str, float]:
    """What eight connections see of a server in three seconds."""
    wrk = ["wrk", "-t1", "-c8", "-d3s", "-s", str(Path(__file__).with_suffix(".lua"))]
    command = [*wrk, url, "--", str(load)]
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    seen: dict[str, float] = json.loads(output.stdout.splitlines()[-1])

    if seen["errors"]:
        raise AssertionError(f"Not every delivery was accepted: {seen}.")

    return seen


def has_wrk(measurement: str) -> bool:
    if found := shutil.which("wrk") is not None:
        return found

    print(f"{measurement}: skipped, wrk is not installed", file=sys.stderr)
    return False


def wall_clock(folder: Path) -> Rows:
    """Throughput and 99th percentile under load from eight connections.

    The times themselves are printed too: they depend on the machine.
    """
    if not has_wrk("wall_clock"):
        return {}

    load = write_deliveries(folder / "load")
    seen: dict[str, list[dict[str, float]]] = {name: [] for name in ("bare", *SYNC)}

    for _, (name, results) in itertools.product(range(3), seen.items()):
        with gunicorn(name, folder / f"{next(_ids)}.sqlite3") as url:
            results.append(loaded(url, load))

    def median(name: str, key: str) -> float:
        return statistics.median(each[key] for each in seen[name])

    rows: Rows = {}

    for name in seen:
        half, most = (median(name, key) / 1000 for key in ("median", "p99"))
        figures = f"median {half:.1f} ms, p99 {most:.1f} ms"
        print(f"wall_clock: {name}: {figures}", file=sys.stderr)

    for sync in SYNC:
        throughput = median(sync, "rate") / median("bare", "rate")
        rows[f"throughput, {sync} / bare route"] = throughput
        rows[f"p99, {sync} / its median"] = median(sync, "p99") / median(sync, "median")

    return rows


@contextlib.contextmanager
def beside(act: t.Callable[[], object]) -> t.Iterator[None]:
    """A block during which something is done about twice a second."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(0.5):
            act()

    thread = threading.Thread(target=repeat)
    thread.start()

    try:
        yield
    finally:
        ended.set()
        thread.join()


def million_rows(folder: Path) -> Rows:
    """99th percentile of deliveries while others read or prune many finished jobs."""
    if not has_wrk("million_rows"):
        return {}

    path = folder / "million.sqlite3"
    database = filled_database(path, "done", 1_000_000)
    inspection = Inspection(database)
    bearer = {"Authorization": f"Bearer {SECRET}"}
    seen: dict[str, list[float]] = {"without": [], "health": [], "prune": []}

    with gunicorn("normal", path) as url:
        acts: dict[str, t.Callable[[], object]] = {
            "without": lambda: None,
            "health": lambda: requests.get(url + HEALTH, headers=bearer, timeout=60),
            "prune": lambda: inspection.prune(at_most=2000),
        }

        for _, (name, act) in itertools.product(range(3), acts.items()):
            # New ones: it is cheaper to take in a delivery twice.
            load = write_deliveries(folder / "load", 10_000)

            with beside(act):
                seen[name].append(loaded(url, load)["p99"])

    database.close()
    without = statistics.median(seen.pop("without"))

    return {
        f"p99 beside {name}, 1 000 000 jobs / without": statistics.median(p99) / without
        for name, p99 in seen.items()
    }


def on_postgresql(measurement: str, folder: Path) -> Rows:
    """What needs psycopg and a server."""
    import benchmark_postgresql

    measure: t.Callable[[Path], Rows] = getattr(benchmark_postgresql, measurement)

    return measure(folder)


ON_POSTGRESQL: t.Final = ("postgresql", "claim_postgresql", "scaling")

MEASUREMENTS: t.Final[t.Mapping[str, t.Callable[[Path], Rows]]] = {
    each.__name__: each
    for each in (
        *(acknowledgement, inline_turn, claim, import_time, wall_clock),
        million_rows,
    )
} | {name: partial(on_postgresql, name) for name in ON_POSTGRESQL}

BY_HAND: t.Final = {"million_rows", *ON_POSTGRESQL}
"""What is only measured when it is named."""

CPU: t.Final = ("acknowledgement", "inline_turn", "claim", "import_time")
"""What takes processor time, so that other programs hardly disturb it."""


def missed(rows: Rows, tolerance: float) -> set[str]:
    """The rows that miss their bar by more than this part of it."""
    return {
        name
        for name, value in rows.items()
        if name in BARS and misses(name, value, tolerance)
    }


def misses(name: str, value: float, tolerance: float) -> bool:
    if name.startswith("throughput"):
        return value < BARS[name] * (1 - tolerance)

    return value > BARS[name] * (1 + tolerance)


def measured(measurement: str, tolerance: float) -> Rows:
    """Its rows; those that miss their bar are measured once more."""

    def measure() -> Rows:
        with tempfile.TemporaryDirectory() as folder:
            return MEASUREMENTS[measurement](Path(folder))

    rows = measure()

    if again_wanted := missed(rows, tolerance):
        again = measure()
        rows |= {name: again[name] for name in again_wanted}

    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rows", metavar="NAME,…", help=", ".join(MEASUREMENTS))
    parser.add_argument("--cpu", action="store_true", help=f"rows {', '.join(CPU)}")
    parser.add_argument("--tolerance", type=float, default=0.0, help="part of a bar")
    options = parser.parse_args()
    usual = CPU if options.cpu else [x for x in MEASUREMENTS if x not in BY_HAND]
    wanted = options.rows.split(",") if options.rows else usual
    tolerance: float = options.tolerance

    if unknown := {*wanted} - {*MEASUREMENTS}:
        parser.error(f"there are no rows {', '.join(sorted(unknown))}")

    logging.disable(logging.CRITICAL)
    report: Rows = {}

    for measurement in wanted:
        report |= (rows := measured(measurement, tolerance))

        for name, value in () if options.json else rows.items():
            bar = f"{BARS[name]:.2f}" if name in BARS else ""
            verdict = "missed" if name in missed(rows, tolerance) else ""
            print(f"{name:<44} {value:8.2f} {bar:>6}  {verdict}".rstrip(), flush=True)

    if options.json:
        entries = {k: {"value": v, "bar": BARS.get(k)} for k, v in report.items()}
        print(json.dumps(entries, indent=2))

    return 1 if missed(report, tolerance) else 0


if __name__ == "__main__":
    sys.exit(main())
