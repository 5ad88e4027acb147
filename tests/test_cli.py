from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from support.apps import AppFactory, database_of, store_of
from support.deliveries import message
from support.queue import open_store
from support.waiting import Clock, wait_until

from flask_chatwoot import Chatwoot, cli
from flask_chatwoot.queue.schema import JobState
from flask_chatwoot.queue.store import Store
from flask_chatwoot.simulator import Fault, Simulator
from flask_chatwoot.workers import ThreadBackend

DAY = 86400.0


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    """What ``flask chatwoot`` leaves with and prints, errors included."""
    result = app.test_cli_runner().invoke(args=["chatwoot", *arguments])

    return result.exit_code, result.output


def put(
    store: Store, number: int, *, conversation: int | None = None, text: str = "Hello"
) -> None:
    conversation = conversation or 40 + number
    body = message(text, id=number, conversation_id=conversation)
    store.queue.put(
        f"1:message_created:{number}",
        conversation_id=conversation,
        message_id=number,
        payload=json.dumps(body).encode(),
    )


def finish(store: Store, *ending: str | None) -> int:
    """Claim a job and end it; its message."""
    job = store.queue.claim()
    assert job is not None
    store.queue.settle(job, *t.cast(tuple[str, str], ending))

    return job.message_id


@pytest.fixture
def filled(app: Flask, clock: Clock) -> Flask:
    """Jobs 1 to 4: done two days ago, dead, claimed, waiting."""
    store = store_of(app)
    database_of(app).clock = clock
    put(store, 1)
    finish(store, "declined", "no_answer")
    clock.advance(2 * DAY)
    put(store, 2)
    finish(store, "dead", "refused")
    clock.advance(3 * 3600)
    put(store, 3)
    clock.advance(600)
    assert store.queue.claim() is not None
    put(store, 4)
    clock.advance(5)

    return app


# -- jobs ----------------------------------------------------------------------


def test_jobs_are_listed_as_a_table(filled: Flask) -> None:
    code, printed = run(filled, "jobs")

    assert code == 0
    assert printed.splitlines() == [
        "    ID  CONVERSATION  STATE          AGE  ATTEMPTS  OUTCOME    REASON",
        "     4            44  ready          5 s         0",
        "     3            43  leased        10 m         1",
        "     2            42  dead           3 h         1  dead       refused",
        "     1            41  done           2 d         1  declined   no_answer",
    ]


def test_jobs_are_listed_as_json(filled: Flask) -> None:
    code, printed = run(filled, "jobs", "--json")

    assert code == 0
    jobs = json.loads(printed)
    assert [job["id"] for job in jobs] == [4, 3, 2, 1]
    assert jobs[2] == {
        "id": 2,
        "conversation_id": 42,
        "message_id": 2,
        "state": "dead",
        "age": pytest.approx(3 * 3600 + 605),
        "attempts": 1,
        "provider_attempts": 0,
        "chatwoot_attempts": 0,
        "outcome": "dead",
        "reason": "refused",
    }


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--state", "ready"], [4]),
        (["--state", "leased"], [3]),
        (["--state", "dead"], [2]),
        (["--state", "done"], [1]),
        (["--limit", "2"], [4, 3]),
        (["--limit", "0"], [4, 3, 2, 1]),
        (["--state", "dead", "--limit", "1"], [2]),
    ],
)
def test_fewer_jobs_can_be_asked_for(
    filled: Flask, arguments: list[str], ids: list[int]
) -> None:
    code, printed = run(filled, "jobs", "--json", *arguments)

    assert (code, [job["id"] for job in json.loads(printed)]) == (0, ids)


def test_a_hundred_jobs_are_listed_unless_told(app: Flask) -> None:
    for number in range(1, 121):
        put(store_of(app), number)

    assert len(json.loads(run(app, "jobs", "--json")[1])) == 100
    assert len(json.loads(run(app, "jobs", "--json", "--limit", "0")[1])) == 120


def test_an_empty_queue_has_no_rows(app: Flask) -> None:
    code, printed = run(app, "jobs")

    assert (code, len(printed.splitlines())) == (0, 1)
    assert run(app, "jobs", "--json") == (0, "[]\n")


def test_a_state_that_does_not_exist_is_refused(app: Flask) -> None:
    code, printed = run(app, "jobs", "--state", "lost")

    assert code == 2
    assert "'blocked', 'waiting', 'ready', 'leased'" in printed


# -- retry ---------------------------------------------------------------------


def states(app: Flask) -> dict[int, str]:
    return {job.id: job.state for job in store_of(app).inspection.jobs()}


@pytest.mark.parametrize("arguments", [["2"], ["--dead"]])
def test_dead_jobs_are_retried(filled: Flask, arguments: list[str]) -> None:
    assert run(filled, "jobs", "retry", *arguments) == (0, "1 job will be retried.\n")
    assert states(filled)[2] == "ready"


def test_all_dead_jobs_are_retried_in_their_order(app: Flask) -> None:
    store = store_of(app)

    for number in (1, 2, 3):
        put(store, number, conversation=42)
        finish(store, "dead", "unauthorized")

    assert run(app, "jobs", "retry", "--dead") == (0, "3 jobs will be retried.\n")
    assert [finish(store, "replied", None) for _ in range(3)] == [1, 2, 3]


def test_where_no_job_is_dead_none_is_retried(app: Flask) -> None:
    assert run(app, "jobs", "retry", "--dead") == (0, "0 jobs will be retried.\n")


def test_jobs_that_are_not_dead_are_named(filled: Flask) -> None:
    code, printed = run(filled, "jobs", "retry", "1", "2", "3", "99")

    assert code == 1
    assert printed.splitlines() == [
        "1 job will be retried.",
        "Error: Not dead: 1, 3, 99.",
    ]
    assert states(filled) == {1: "done", 2: "ready", 3: "leased", 4: "ready"}


@pytest.mark.parametrize("arguments", [[], ["2", "--dead"]])
def test_retry_needs_ids_or_the_option(filled: Flask, arguments: list[str]) -> None:
    code, printed = run(filled, "jobs", "retry", *arguments)

    assert code == 2
    assert "Error: Give job ids, or --dead." in printed
    assert states(filled)[2] == "dead"


@pytest.mark.parametrize("number", ["two", "0", "9" * 20])
def test_a_job_id_is_a_number_in_range(app: Flask, number: str) -> None:
    assert run(app, "jobs", "retry", number)[0] == 2


# -- prune ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "printed", "left"),
    [
        ([], "0 jobs deleted.\n", [4, 3, 2, 1]),
        (["--days", "1"], "1 job deleted.\n", [4, 3, 2]),
        (["--days", "0.01", "--dead"], "2 jobs deleted.\n", [4, 3]),
        (["--dead"], "0 jobs deleted.\n", [4, 3, 2, 1]),
    ],
)
def test_finished_jobs_are_deleted(
    filled: Flask, arguments: list[str], printed: str, left: list[int]
) -> None:
    assert run(filled, "jobs", "prune", *arguments) == (0, printed)
    assert list(states(filled)) == left


# -- what goes wrong -----------------------------------------------------------

COMMANDS = [["jobs"], ["jobs", "retry", "--dead"], ["jobs", "prune"], ["work"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_without_configuration_a_command_says_what_to_set(
    make_app: AppFactory, command: list[str]
) -> None:
    code, printed = run(make_app(base_url=None, account_id=None), *command)

    assert code == 1
    assert printed == (
        "Error: Chatwoot is not configured; set CHATWOOT_BASE_URL, "
        "CHATWOOT_ACCOUNT_ID.\n"
    )


@pytest.mark.parametrize("command", COMMANDS[:3], ids=" ".join)
def test_a_database_that_fails_is_reported_in_a_sentence(
    app: Flask, command: list[str]
) -> None:
    Path(database_of(app).path).write_bytes(b"no database at all. " * 50)

    code, printed = run(app, *command)

    assert code == 1
    assert printed.startswith("Error: The database '")
    assert printed.endswith("failed: file is not a database; configure another file.\n")


def test_an_app_without_the_extension_is_reported_in_a_sentence() -> None:
    app = Flask("bare")
    app.cli.add_command(cli.chatwoot)

    code, printed = run(app, "jobs")

    assert code == 1
    assert printed.startswith("Error: The app 'bare' has no Chatwoot; call Chatwoot(")


def test_every_command_is_explained(app: Flask) -> None:
    code, printed = run(app, "--help")

    assert code == 0
    assert re.search("work +Answer what is in the database", printed)
    assert re.search("jobs +List jobs", printed)


# -- simulate ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "customer"),
    [
        ("bot", ["  customer  Hello", "  bot       You said Hello"]),
        ("human", ["  customer  Hello"]),
    ],
)
def test_a_conversation_can_be_held_without_chatwoot(
    make_app: AppFactory, tmp_path: Path, mode: str, customer: list[str]
) -> None:
    chatwoot = Chatwoot()
    chatwoot.reply_provider(lambda text: f"You said {text}")
    app = make_app(chatwoot, base_url=None, account_id=None, api_access_token=None)

    code, printed = run(app, "simulate", "Hello", "--mode", mode)

    author = "bot " if mode == "bot" else "note"
    assert code == 0
    assert printed.splitlines() == [
        "What the customer sees",
        *customer,
        "",
        "What operators see",
        "  customer  Hello",
        f"  {author}      You said Hello",
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_conversation_that_fails_says_why(make_app: AppFactory) -> None:
    chatwoot = Chatwoot()

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        raise RuntimeError

    code, printed = run(make_app(chatwoot), "simulate", "Hello")

    assert code == 1
    assert printed.endswith("Error: No answer: provider_failed. The log says more.\n")


def test_a_conversation_without_an_answer_ends(make_app: AppFactory) -> None:
    chatwoot = Chatwoot()
    go_on = threading.Event()

    @chatwoot.reply_provider
    def provide(text: str) -> None:
        # Until the command gives up; it then waits for this turn to end.
        go_on.wait(1)

    code, printed = run(make_app(chatwoot), "simulate", "Hello", "--timeout", "0.2")

    assert code == 1
    assert printed == "Error: No answer within 0.2 s.\n"


# -- work ----------------------------------------------------------------------

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


class Worker:
    """``flask chatwoot work`` in a process of its own, over a database."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        self.sim = sim
        self.asked = folder / "asked"
        self.path = folder / "chatwoot.sqlite3"
        self.store = open_store(self.path)
        self._output = folder / "output"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *arguments: str, **env: str) -> None:
        path = "support/programs/worker_app.py"
        program = ["-m", "flask", "--app", path, "chatwoot", "work"]

        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, *program, *arguments],
                cwd=Path(__file__).parent,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    **{key: str(value) for key, value in self.sim.settings().items()},
                    "ASKED": str(self.asked),
                    "CHATWOOT_DATABASE_URL": f"sqlite:///{self.path}",
                    "CHATWOOT_WORKERS": "0",
                    "CHATWOOT_RETRY_PAUSE": "0.05",
                    **env,
                },
            )

    @property
    def lines(self) -> list[str]:
        """What it printed."""
        return self._output.read_text().splitlines()

    def stop(self, number: int) -> int:
        """Send a signal; the code the process leaves with."""
        assert self._process is not None
        self._process.send_signal(number)

        return self._process.wait(20)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)

        self.store.database.close()


@pytest.fixture
def worker(tmp_path: Path) -> t.Iterator[Worker]:
    with Simulator() as sim:
        worker = Worker(tmp_path, sim)
        yield worker
        worker.close()


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_answers_what_is_stored_and_stops_at_a_signal(
    worker: Worker, number: int
) -> None:
    sim, store = worker.sim, worker.store
    talk = sim.conversation(id=42, custom_attributes={"support_mode": "bot"})
    put(store, 1, conversation=42, text="before")
    sim.inject(Fault.RATE_LIMITED)
    worker.start()

    sim.wait_until(lambda: talk.replies == ["Answer to before"])
    put(store, 2, conversation=42, text="during")
    sim.wait_until(lambda: len(talk.replies) == 2)
    wait_until(lambda: not store.inspection.jobs(JobState.LEASED))

    assert worker.stop(number) == 0
    assert "Working. Ctrl-C stops." in worker.lines
    assert worker.lines[-1] == "Finishing the turns that run."
    assert "Traceback" not in "\n".join(worker.lines)
    assert talk.replies == ["Answer to before", "Answer to during"]
    assert {job.outcome for job in store.inspection.jobs()} == {"replied"}


@needs_signals
@pytest.mark.parametrize("env", [{}, {"ASYNC": "1"}], ids=["def", "async def"])
def test_a_worker_leaves_what_does_not_finish_to_another(
    worker: Worker, env: dict[str, str]
) -> None:
    worker.sim.conversation(id=42)
    put(worker.store, 1, conversation=42, text="slow")
    worker.start("--threads", "1", **env)

    wait_until(worker.asked.exists)

    assert worker.stop(signal.SIGTERM) == 0
    (job,) = worker.store.inspection.jobs()
    assert (job.state, job.attempts) == ("ready", 0)


@pytest.mark.parametrize(
    ("workers", "arguments", "threads"),
    [
        (3, [], [3]),
        (0, [], [4]),
        (4, ["--threads", "7"], [7]),
        (4, ["--threads=0"], []),
    ],
)
def test_a_worker_has_as_many_threads_as_asked_for(
    make_app: AppFactory,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    arguments: list[str],
    threads: list[int],
) -> None:
    made: list[int] = []

    class Backend(ThreadBackend):
        def __init__(self, *_: object, threads: int) -> None:
            made.append(threads)
            raise KeyboardInterrupt

    monkeypatch.setattr("flask_chatwoot.cli.work.ThreadBackend", Backend)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    run(make_app(workers=workers), "work", *arguments)

    assert made == threads
