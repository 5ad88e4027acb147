"""What the package costs, as ratios to what it can not do without.

Run it with ``python tests/benchmark.py``. Both sides of a ratio are measured in one
run, in alternating rounds, and the cheapest round of each side counts.
"""

from __future__ import annotations

import contextlib
import gc
import io
import itertools
import json
import logging
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import typing as t
from pathlib import Path

import requests
from flask import Flask, Response, request
from flask.typing import ResponseReturnValue

from flask_chatwoot import Chatwoot
from flask_chatwoot.payloads.signature import sign
from flask_chatwoot.queue.jobs import Inbox
from flask_chatwoot.workers import Heartbeat, run_once

SECRET = "benchmark"
Environ = dict[str, t.Any]
Seconds = float

_ids = itertools.count(1)


def delivery(conversation_id: int | None = None) -> bytes:
    """A website visitor's message as Chatwoot 4.16 delivers it: 3.7 KB."""
    number = next(_ids)
    contact = {
        "id": 55, "name": "Ada", "email": "ada@example.com", "blocked": False,
        "custom_attributes": {f"attribute_{n}": f"a value {n}" for n in range(60)},
    }  # fmt: skip
    payload = {
        "event": "message_created",
        "id": number,
        "content": "Where is my order? It should have been here on Monday.",
        "content_type": "text",
        "content_attributes": {},
        "message_type": "incoming",
        "private": False,
        "created_at": "2026-07-27T09:12:33.123Z",
        "sender": contact | {"custom_attributes": {}},
        "account": {"id": 1, "name": "Acme"},
        "inbox": {"id": 3, "name": "Website"},
        "conversation": {
            "id": conversation_id or number,
            "inbox_id": 3,
            "channel": "Channel::WebWidget",
            "status": "open",
            "can_reply": True,
            "custom_attributes": {"support_mode": "bot"},
            "additional_attributes": {"browser_language": "de"},
            "meta": {"sender": contact, "assignee": None, "team": None},
            "messages": [{"id": number, "content": "Where is my order?"}],
        },
    }
    body = json.dumps(payload).encode()
    padding = max(3700 - len(body) - len(', "padding": ""'), 0)

    return json.dumps(payload | {"padding": "x" * padding}).encode()


def environ(body: bytes) -> Environ:
    """A signed request as a WSGI server hands it over."""
    now = str(int(time.time()))

    return {
        "REQUEST_METHOD": "POST", "PATH_INFO": "/chatwoot/webhook", "SCRIPT_NAME": "",
        "QUERY_STRING": "", "SERVER_NAME": "localhost", "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1", "HTTP_HOST": "localhost",
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": str(len(body)),
        "HTTP_X_CHATWOOT_TIMESTAMP": now,
        "HTTP_X_CHATWOOT_SIGNATURE": sign(body, secret=SECRET, timestamp=now),
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr,
    }  # fmt: skip


def bare_app() -> Flask:
    app = Flask("bare")

    @app.post("/chatwoot/webhook")
    def webhook() -> ResponseReturnValue:
        request.get_json()
        return {"status": "accepted"}, 202

    return app


def forcing_app(folder: str) -> Flask:
    """A bare route that forces as little as it can to the disk: what the machine asks.

    A process that sleeps for the disk finds its caches cold, which costs some machines
    more than all that ours does besides.
    """
    app = bare_app()
    file = os.open(Path(folder) / "forced", os.O_CREAT | os.O_RDWR, 0o600)
    size = 4096 * 1000
    os.pwrite(file, bytes(size), 0)
    places = itertools.cycle(range(0, size, 4096))

    @app.after_request
    def force(response: Response) -> Response:
        os.pwrite(file, b"x" * 1024, next(places))
        os.fdatasync(file)
        return response

    return app


def bot_app(folder: str, **settings: t.Any) -> Flask:
    app = Flask("bot")
    app.config.update(
        CHATWOOT_BASE_URL="http://127.0.0.1:9",
        CHATWOOT_ACCOUNT_ID=1,
        CHATWOOT_API_ACCESS_TOKEN="benchmark",
        CHATWOOT_WEBHOOK_SECRET=SECRET,
        CHATWOOT_DATABASE_URL=f"sqlite:///{Path(folder) / f'{next(_ids)}.sqlite3'}",
        CHATWOOT_DATABASE_SYNC="normal",
        CHATWOOT_WORKERS=0,
    )
    app.config.update(settings)
    Chatwoot(app).reply_provider(lambda text: "On its way.")

    return app


class Answer:
    """What a WSGI server keeps of an answer, with as little ado as possible."""

    status = ""

    def start(self, status: str, *rest: object) -> t.Callable[[bytes], object]:
        self.status = status
        return lambda chunk: None


def call_all(app: Flask, environs: t.Iterable[Environ]) -> None:
    for each in environs:
        answer = Answer()
        b"".join(app(each, answer.start))

        if not answer.status.startswith("202"):
            raise AssertionError(f"The delivery was answered {answer.status}.")


def call(app: Flask, each: Environ) -> None:
    call_all(app, [each])


def cheapest(
    rounds: int, sides: t.Mapping[str, t.Callable[[], Seconds]]
) -> dict[str, Seconds]:
    """Measure the sides in turn; the cheapest round of each."""
    costs: dict[str, list[Seconds]] = {name: [] for name in sides}

    for _ in range(rounds):
        for name, measure in sides.items():
            costs[name].append(measure())

    return {name: min(seconds) for name, seconds in costs.items()}


def cpu(work: t.Callable[[], object]) -> Seconds:
    gc.collect()
    started = time.process_time()
    work()

    return time.process_time() - started


# -- the measurements ------------------------------------------------------------


def acknowledgement() -> dict[str, float]:
    """CPU of one acknowledged delivery to a bare route that parses the same JSON."""
    with tempfile.TemporaryDirectory() as folder:
        apps = {
            "bare": bare_app(),
            "forcing": forcing_app(folder),
            "normal": bot_app(folder),
            "full": bot_app(folder, CHATWOOT_DATABASE_SYNC="full"),
        }

        moving: list[Seconds] = []

        def measure(app: Flask) -> Seconds:
            environs = [environ(delivery()) for _ in range(1000)]
            seconds = cpu(lambda: call_all(app, environs))

            # What workers do once a second; a row of its own, not counted above.
            if bot := app.extensions.get("chatwoot"):
                moving.append(cpu(bot.poster.inbox.checkpoint))

            return seconds

        costs = cheapest(
            20,
            {name: lambda app=app: measure(app) for name, app in apps.items()},  # type: ignore[misc]
        )

    return {
        "bare route with a forced write / bare route": costs["forcing"] / costs["bare"],
        "a worker's share of SQLite's log / bare route": min(moving) / costs["bare"],
        "acknowledged delivery / bare route, normal": costs["normal"] / costs["bare"],
        "acknowledged delivery / bare route, full": costs["full"] / costs["bare"],
    }


LIVE = {
    "id": 1, "status": "open", "can_reply": True, "inbox_id": 3,
    "custom_attributes": {"support_mode": "bot"},
    "meta": {"sender": {"id": 55, "name": "Ada", "blocked": False}, "assignee": None},
    "messages": [], "last_non_activity_message": {
        "id": 1, "content": "Where is my order?", "message_type": 0, "private": False,
    },
}  # fmt: skip
"""A conversation as Chatwoot shows it."""


def _answer_calls(ready: t.Any, readable: bool) -> None:
    """A Chatwoot that takes every message; a process of its own, to cost us nothing.

    :param readable: Conversations may be read, which takes a user's token, or a bot's
        from Chatwoot 4.14.2 on.
    """
    import http.server

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(b"200 OK", b'{"id": 1}')

        def do_GET(self) -> None:
            if readable:
                self.answer(b"200 OK", json.dumps(LIVE).encode())
            else:
                self.answer(b"401 Unauthorized", b"{}")

        def answer(self, status: bytes, body: bytes) -> None:
            self.wfile.write(
                b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                b"Content-Length: %d\r\n\r\n%s" % (status, len(body), body)
            )

        def log_message(self, *args: object) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    ready.send(server.server_port)
    server.serve_forever()


@contextlib.contextmanager
def chatwoot_process(*, readable: bool = False) -> t.Iterator[str]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(
        target=_answer_calls, args=(theirs, readable), daemon=True
    )
    process.start()

    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        process.terminate()
        process.join()


def inline_turn() -> dict[str, float]:
    """CPU of a whole inline turn to a plain post of the same message."""
    with tempfile.TemporaryDirectory() as folder, chatwoot_process() as url:
        turns = {
            sync: bot_app(
                folder,
                CHATWOOT_BASE_URL=url,
                CHATWOOT_BACKEND="inline",
                CHATWOOT_DATABASE_SYNC=sync,
            )
            for sync in ("normal", "full")
        }
        session = requests.Session()
        session.headers["Api-Access-Token"] = "benchmark"
        message: dict[str, t.Any] = {
            "content": "On its way.",
            "private": False,
            "content_attributes": {"flask_chatwoot": "0" * 32},
        }

        def post_all() -> None:
            for _ in range(100):
                session.post(
                    f"{url}/api/v1/accounts/1/conversations/1/messages",
                    json=message,
                    timeout=10,
                ).json()

        def measure(app: Flask) -> Seconds:
            environs = [environ(delivery()) for _ in range(100)]
            return cpu(lambda: call_all(app, environs))

        costs = cheapest(
            60,
            {
                "post": lambda: cpu(post_all),
                "normal": lambda: measure(turns["normal"]),
                "full": lambda: measure(turns["full"]),
            },
        )

    return {
        "inline turn / requests' post, normal": costs["normal"] / costs["post"],
        "inline turn / requests' post, full": costs["full"] / costs["post"],
    }


def turn_with_a_look() -> dict[str, float]:
    """CPU of a whole inline turn that looks first, to a plain look and a plain post."""
    with (
        tempfile.TemporaryDirectory() as folder,
        chatwoot_process(readable=True) as url,
    ):
        app = bot_app(folder, CHATWOOT_BASE_URL=url, CHATWOOT_BACKEND="inline")
        session = requests.Session()
        path = f"{url}/api/v1/accounts/1/conversations/1"
        message: dict[str, t.Any] = {"content": "On its way.", "private": False}

        def call_both() -> None:
            for _ in range(100):
                session.get(path, timeout=10).json()
                session.post(f"{path}/messages", json=message, timeout=10).json()

        def measure() -> Seconds:
            environs = [environ(delivery()) for _ in range(100)]
            return cpu(lambda: call_all(app, environs))

        costs = cheapest(30, {"calls": lambda: cpu(call_both), "turn": measure})

    return {"inline turn with a look / get and post": costs["turn"] / costs["calls"]}


def burst() -> dict[str, float]:
    """CPU of a turn over a burst of twenty messages to one over one message."""
    with (
        tempfile.TemporaryDirectory() as folder,
        chatwoot_process(readable=True) as url,
    ):
        app = bot_app(folder, CHATWOOT_BASE_URL=url)
        heartbeat = Heartbeat()
        bot = app.extensions["chatwoot"]

        def measure(messages: int) -> Seconds:
            for _ in range(50):
                conversation = next(_ids)

                for _ in range(messages):
                    call(app, environ(delivery(conversation)))

            turns = 0

            def work() -> None:
                nonlocal turns

                while run_once(bot, heartbeat):
                    turns += 1

            seconds = cpu(work)

            if turns != 50:
                raise AssertionError(f"There were {turns} turns for 50 bursts.")

            return seconds

        costs = cheapest(20, {"one": lambda: measure(1), "twenty": lambda: measure(20)})

    return {"turn over 20 messages / over one": costs["twenty"] / costs["one"]}


def fill(path: Path, *, waiting: int = 0, done: int = 0) -> Inbox:
    """An inbox with many rows, written as fast as SQLite can."""
    inbox = Inbox(str(path), account_id=1, sync="normal")
    put(inbox, 1)
    body = delivery()
    rows = [
        (1, n // 3, n, f"1:message_created:{n}", n <= 10**9 + done)
        for n in range(10**9 + 1, 10**9 + 1 + waiting + done)
    ]

    with inbox.use() as db:
        db.execute("BEGIN")
        db.executemany(
            "INSERT INTO job (account_id, conversation_id, message_id, key, kind,"
            " received_at, done, outcome) VALUES (?, ?, ?, ?, 'message', 0, ?,"
            " 'replied')",
            rows,
        )
        db.execute("UPDATE job SET finished_at = 0 WHERE done")
        db.execute("UPDATE job SET payload = ?, outcome = NULL WHERE NOT done", (body,))
        db.execute(
            "UPDATE job SET due_at = 0 WHERE id IN ("
            " SELECT min(id) FROM job WHERE NOT done GROUP BY conversation_id)"
        )
        db.execute("COMMIT")

    return inbox


def put(inbox: Inbox, count: int) -> None:
    for number in itertools.islice(_ids, count):
        inbox.put(
            f"1:message_created:{number}",
            conversation_id=number,
            message_id=number,
            payload=delivery(),
        )


def claim() -> dict[str, float]:
    """Cost of a claim with 200 000 rows to one with 1 000, all done or all waiting."""
    with tempfile.TemporaryDirectory() as folder:
        results = {}

        for state in ("done", "waiting"):
            inboxes = {
                rows: fill(Path(folder) / f"{state}-{rows}", **{state: rows})
                for rows in (1000, 200_000)
            }

            def measure(inbox: Inbox) -> Seconds:
                put(inbox, 200)
                return cpu(lambda: [inbox.claim() for _ in range(200)])

            costs = cheapest(
                9,
                {
                    "few": lambda: measure(inboxes[1000]),  # noqa: B023
                    "many": lambda: measure(inboxes[200_000]),  # noqa: B023
                },
            )
            name = f"claim among 200 000 / among 1 000, {state}"
            results[name] = costs["many"] / costs["few"]

    return results


_RESIDENT = """
import sys, time
from flask_chatwoot.workers import Heartbeat, run_once
from flask_chatwoot.queue.jobs import Inbox
inbox = Inbox(sys.argv[1], account_id=1)
for _ in range(200):
    job = inbox.claim()
    if job: inbox.postpone(job, 0.0, free=True)
inbox.jobs(limit=100)
with open("/proc/self/status") as status:
    print(next(line.split()[1] for line in status if line.startswith("VmRSS")))
"""


def memory() -> dict[str, float]:
    """Resident memory with 100 000 jobs waiting, less that of an empty inbox, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder) / "full", waiting=100_000).close()
        Inbox(str(Path(folder) / "empty"), account_id=1).close()

        def resident(name: str) -> float:
            output = subprocess.run(
                [sys.executable, "-c", _RESIDENT, str(Path(folder) / name)],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
            return int(output) / 1024

        sides = cheapest(
            5, {"full": lambda: resident("full"), "empty": lambda: resident("empty")}
        )

    return {"MB more with 100 000 jobs waiting": sides["full"] - sides["empty"]}


def slow_providers() -> dict[str, float]:
    """99th percentile of the acknowledgement while 64 providers sleep, to none."""
    with tempfile.TemporaryDirectory() as folder, chatwoot_process() as url:

        def percentile(app: Flask) -> Seconds:
            seconds = []

            for _ in range(1000):
                prepared = environ(delivery(conversation_id=10**6))
                started = time.perf_counter()
                call(app, prepared)
                seconds.append(time.perf_counter() - started)

            return statistics.quantiles(seconds, n=100)[98]

        def measure(*, busy: bool) -> Seconds:
            awake = threading.Event()
            asleep = threading.Semaphore(0)
            app = bot_app(
                folder,
                CHATWOOT_BASE_URL=url,
                CHATWOOT_WORKERS=64,
                CHATWOOT_DATABASE_SYNC="full",
            )
            bot = app.extensions["chatwoot"]

            def sleepy(text: str) -> None:
                asleep.release()
                awake.wait(5.0)

            bot.providers._providers.clear()
            bot.providers.add(sleepy, mode=None, inbox_id=None)

            # One conversation holds the rest up, so that no other turn begins.
            for number in range(64 if busy else 1):
                call(app, environ(delivery(conversation_id=10**6 + number)))

            for _ in range(64 if busy else 1):
                asleep.acquire()

            result = percentile(app)
            awake.set()
            bot.backend.stop()

            return result

        costs = cheapest(
            5,
            {"busy": lambda: measure(busy=True), "idle": lambda: measure(busy=False)},
        )

    return {"p99 with 64 sleeping providers / none": costs["busy"] / costs["idle"]}


def import_time() -> dict[str, float]:
    """CPU of the import to that of importing Flask and requests."""
    # Like every installed package, ours has its bytecode on disk.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}

    def measure(statement: str) -> Seconds:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)

        return (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)

    # With the class: it brings Flask, which the package alone does not load.
    ours = (
        "import sys; from flask_chatwoot import Chatwoot;"
        " assert 'celery' not in sys.modules"
    )
    costs = cheapest(
        40,
        {
            "ours": lambda: measure(ours),
            "theirs": lambda: measure("import flask, requests"),
        },
    )

    return {"import flask_chatwoot / flask, requests": costs["ours"] / costs["theirs"]}


LIMITS = {
    "acknowledged delivery / bare route, normal": 2.2,
    "acknowledged delivery / bare route, full": 3.5,
    "inline turn / requests' post, normal": 2.0,
    "inline turn / requests' post, full": 2.0,
    "inline turn with a look / get and post": 2.0,
    "turn over 20 messages / over one": 1.2,
    "claim among 200 000 / among 1 000, done": 1.5,
    "claim among 200 000 / among 1 000, waiting": 1.5,
    "MB more with 100 000 jobs waiting": 30.0,
    "p99 with 64 sleeping providers / none": 3.0,
    "import flask_chatwoot / flask, requests": 1.15,
}


MEASUREMENTS = (
    acknowledgement,
    inline_turn,
    turn_with_a_look,
    burst,
    claim,
    memory,
    slow_providers,
    import_time,
)


def main(names: t.Sequence[str]) -> None:
    """Print the table; with names of measurements, only their rows."""
    logging.disable(logging.CRITICAL)
    print(f"{'':46}  measured  limit")

    for measurement in MEASUREMENTS:
        if names and measurement.__name__ not in names:
            continue

        for name, value in measurement().items():
            limit = LIMITS.get(name)  # without one it is there to compare with
            shown = "" if limit is None else f"{limit:5.2f}"
            verdict = "  over" if limit is not None and value > limit else ""
            print(f"{name:<46}  {value:8.2f}  {shown}{verdict}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
