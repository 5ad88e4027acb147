from __future__ import annotations

import contextlib
import importlib.metadata
import json
import re
import signal
import sys
import time
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from support.apps import AppFactory, database_of, store_of
from support.commands import outcome as run
from support.commands import spawn
from support.databases import environment_of, set_clock
from support.deliveries import as_bytes, message
from support.queue import DAY, Store, open_store
from support.waiting import Clock, wait_until

from flask_chatwoot import Chatwoot, cli
from flask_chatwoot.cli.output import counted
from flask_chatwoot.queue.schema import JobState
from flask_chatwoot.simulator import Fault, Simulator


@pytest.fixture
def store(app: Flask, clock: Clock) -> Store:
    set_clock(database_of(app), clock)
    return Store.of(database_of(app))


@pytest.fixture
def filled(app: Flask, store: Store) -> Flask:
    """Jobs 1 to 4: done two days ago, dead, claimed, waiting."""
    store.put(1, conversation_id=41)
    store.finish("declined", "no_answer")
    store.advance(2 * DAY)
    store.put(2)
    store.finish("dead", "refused")
    store.advance(3 * 3600)
    store.put(3, conversation_id=43)
    store.advance(600)
    store.claim()
    store.put(4, conversation_id=44)
    store.advance(5)

    return app


def listed(app: Flask, arguments: str = "") -> list[dict[str, t.Any]]:
    code, printed = run(app, "jobs", "--json", *arguments.split())
    assert code == 0
    return t.cast(list[dict[str, t.Any]], json.loads(printed))


@pytest.mark.parametrize("group", [(), ("jobs",), ("database",)], ids=str)
def test_help_lists_each_command_with_a_whole_sentence(
    app: Flask, group: tuple[str, ...]
) -> None:
    code, printed = run(app, *group, "--help")
    _, _, commands = printed.partition("Commands:\n")

    assert code == 0
    assert commands
    assert [line for line in commands.splitlines() if not line.endswith(".")] == []
    assert "..." not in commands


def test_the_version_is_the_installed_one(app: Flask) -> None:
    version = importlib.metadata.version("Flask-Chatwoot")
    assert run(app, "--version") == (0, f"Flask-Chatwoot {version}\n")


def test_jobs_are_listed_as_a_table(filled: Flask) -> None:
    code, printed = run(filled, "jobs")

    assert (code, printed.splitlines()) == (
        0,
        [
            "    ID  CONVERSATION  STATE          AGE  ATTEMPTS  OUTCOME    REASON",
            "     4            44  ready          5 s         0",
            "     3            43  leased        10 m         1",
            "     2            42  dead           3 h         1  dead       refused",
            "     1            41  done           2 d         1  declined   no_answer",
        ],
    )


def test_jobs_are_listed_as_json(filled: Flask) -> None:
    assert listed(filled)[2] == {
        **{"id": 2, "conversation_id": 42, "message_id": 2, "state": "dead"},
        **{"attempts": 1, "report_attempts": 0},
        **{"provider_attempts": 0, "chatwoot_attempts": 0},
        **{"age": pytest.approx(3 * 3600 + 605), "outcome": "dead"},
        "reason": "refused",
    }


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ("", [4, 3, 2, 1]),
        ("--state ready", [4]),
        ("--state leased", [3]),
        ("--state done", [1]),
        ("--limit 2", [4, 3]),
        ("--state dead --limit 1", [2]),
    ],
)
def test_the_list_can_be_limited(filled: Flask, arguments: str, ids: list[int]) -> None:
    assert [job["id"] for job in listed(filled, arguments)] == ids


def test_a_hundred_jobs_are_listed_by_default(app: Flask, store: Store) -> None:
    for number in range(1, 121):
        store.put(number)

    assert len(listed(app)) == 100
    assert len(listed(app, "--limit 0")) == 120


def test_an_empty_queue_has_no_rows(app: Flask) -> None:
    assert len(run(app, "jobs")[1].splitlines()) == 1
    assert run(app, "jobs", "--json") == (0, "[]\n")
    assert run(app, "jobs", "retry", "--dead") == (0, "0 jobs will be retried.\n")


def states(app: Flask) -> dict[int, str]:
    return {job.id: job.state for job in store_of(app).inspection.jobs()}


OTHERS = "Error: Not dead: 1, 3, 99. See flask chatwoot jobs.\n"
ONE, IDS = "1 job will be retried.\n", "Error: Give job ids, or --dead.\n"


@pytest.mark.parametrize(
    ("arguments", "code", "printed", "changed"),
    [
        ("2", 0, ONE, {2: "ready"}),
        ("--dead", 0, ONE, {2: "ready"}),
        (
            "1 2 3 99",
            1,
            f"{ONE}Error: Not dead: 1, 3, 99. See flask chatwoot jobs.\n",
            {2: "ready"},
        ),
        ("", 2, IDS, {}),
        ("2 --dead", 2, IDS, {}),
        ("two", 2, "'two' is not a valid integer range.\n", {}),
        ("0", 2, "0 is not in the range 1<=x<=9223372036854775807.\n", {}),
        ("9" * 20, 2, "is not in the range 1<=x<=9223372036854775807.\n", {}),
    ],
)
def test_only_dead_jobs_are_retried(
    filled: Flask, arguments: str, code: int, printed: str, changed: dict[int, str]
) -> None:
    before = states(filled)

    actual, output = run(filled, "jobs", "retry", *arguments.split())

    assert actual == code
    assert output.endswith(printed) if code == 2 else output == printed
    assert before == {1: "done", 2: "dead", 3: "leased", 4: "ready"}
    assert states(filled) == before | changed


def test_dead_jobs_are_retried_in_their_order(app: Flask, store: Store) -> None:
    for number in (1, 2, 3):
        store.put(number)
        store.finish("dead", "unauthorized")

    assert run(app, "jobs", "retry", "--dead") == (0, "3 jobs will be retried.\n")
    assert [store.finish() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("arguments", "printed", "left"),
    [
        ("", "0 jobs deleted.\n", [4, 3, 2, 1]),
        ("--days 1", "1 job deleted.\n", [4, 3, 2]),
        ("--days 0.01 --dead", "2 jobs deleted.\n", [4, 3]),
        ("--dead", "0 jobs deleted.\n", [4, 3, 2, 1]),
        ("--days 36500", "0 jobs deleted.\n", [4, 3, 2, 1]),
    ],
)
def test_finished_jobs_are_deleted(
    filled: Flask, arguments: str, printed: str, left: list[int]
) -> None:
    assert run(filled, "jobs", "prune", *arguments.split()) == (0, printed)
    assert list(states(filled)) == left


@pytest.mark.sqlite
@pytest.mark.parametrize("command", ["jobs", "jobs retry --dead", "jobs prune"])
def test_an_error_of_the_database_is_reported(app: Flask, command: str) -> None:
    Path(database_of(app).path).write_bytes(b"no database at all. " * 50)
    code, printed = run(app, *command.split())
    assert (code, printed.startswith("Error: The database '")) == (1, True)
    assert printed.endswith(
        "failed: file is not a database; set CHATWOOT_DATABASE_URL to another file.\n"
    )


def test_an_app_without_the_extension_is_an_error() -> None:
    app = Flask("bare")
    app.cli.add_command(cli.chatwoot)
    code, printed = run(app, "jobs")

    assert code == 1
    assert printed.startswith("Error: The app 'bare' has no Chatwoot; call Chatwoot(")


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ("--help", 0, "work +Answer what is in the database"),
        ("jobs --state lost", 2, "'blocked', 'waiting', 'ready', 'leased'"),
        ("jobs --limit -1", 2, "-1 is not in the range"),
        ("jobs --limit 99999999999999999999", 2, "is not in the range"),
        ("jobs prune --days -1", 2, "-1.0 is not in the range"),
        ("jobs prune --days nan", 2, "'nan' is not a number"),
        ("jobs prune --days -inf", 2, "-inf is not in the range"),
        ("jobs prune --days inf", 2, "inf is not in the range 0<=x<=36500"),
        ("jobs prune --days 1e300", 2, "is not in the range 0<=x<=36500"),
        ("jobs prune --days a_week", 2, "is not a valid float range"),
        ("simulate Hello --timeout nan", 2, "'nan' is not a number"),
        ("simulate Hello --timeout inf", 2, "inf is not in the range 0<x<=86400"),
        ("simulate Hello --timeout 0", 2, "0.0 is not in the range 0<x<=86400"),
        ("playground --port 65536", 2, "65536 is not in the range 0<=x<=65535"),
        ("why 0", 2, "0 is not in the range"),
        ("setup --url https://app.example --inbox 0", 2, "0 is not in the range"),
    ],
)
def test_commands_explain_what_they_accept(
    app: Flask, arguments: str, code: int, text: str
) -> None:
    actual, printed = run(app, *arguments.split())
    assert actual == code
    assert re.search(text, printed)


@pytest.mark.parametrize("arguments", ["", "jobs", "database"])
def test_the_list_of_commands_cuts_no_sentence(app: Flask, arguments: str) -> None:
    code, printed = run(app, *arguments.split(), "--help")
    _, _, commands = printed.partition("Commands:\n")

    assert code == 0
    assert [line for line in commands.splitlines() if not line.endswith(".")] == []
    assert "..." not in commands


@pytest.mark.parametrize(
    ("count", "printed"), [(0, "0 jobs"), (1, "1 job"), (2, "2 jobs"), (11, "11 jobs")]
)
def test_a_number_has_its_plural(count: int, printed: str) -> None:
    assert counted(count, "job") == printed


# Longer than the command waits for an answer; then it waits for this turn to end.
def take_long(text: str) -> None:
    time.sleep(0.8)


def test_a_simulation_waits_for_a_while_only(app: Flask, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(take_long)
    code, printed = run(app, "simulate", "Hello", "--timeout", "0.2")
    assert (code, printed.splitlines()[-1]) == (1, "Error: No answer within 0.2 s.")


needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


class Worker:
    """``flask chatwoot work`` in a process of its own, with a database."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        self.sim, self.asked = sim, folder / "asked"
        self._path = folder / "chatwoot.sqlite3"
        self.store = open_store(self._path)
        self._stack = contextlib.ExitStack()

    def start(self, *arguments: str, **env: str) -> None:
        env = {"CHATWOOT_WORKERS": "0", "CHATWOOT_RETRY_PAUSE": "0.05", **env}
        self._process = spawn(
            *("worker_app.py", "work", *arguments),
            **{**self.sim.settings(), **env, "ASKED": self.asked}
            | environment_of(self._path),
        )
        self._stack.enter_context(self._process)
        self._stack.callback(self._process.kill)

    def ask(self, number: int, text: str) -> None:
        """Store a question, as another process would."""
        self.store.put(number, payload=as_bytes(message(text, id=number)))

    def stop(self, number: int) -> tuple[int, list[str]]:
        """Send a signal; the exit code, and what was printed."""
        self._process.send_signal(number)
        printed, _ = self._process.communicate(timeout=20)
        return self._process.returncode, printed.splitlines()

    def close(self) -> None:
        self._stack.close()
        self.store.database.close()


@pytest.fixture
def worker(tmp_path: Path) -> t.Iterator[Worker]:
    with Simulator() as sim:
        worker = Worker(tmp_path, sim)
        yield worker
        worker.close()


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_answers_and_stops_at_a_signal(worker: Worker, number: int) -> None:
    sim, store = worker.sim, worker.store
    talk = sim.conversation(id=42, custom_attributes={"support_mode": "bot"})
    worker.ask(1, "before")
    sim.inject(Fault.RATE_LIMITED)
    worker.start()
    sim.wait_until(lambda: talk.replies == ["Answer to before"])
    worker.ask(2, "during")
    sim.wait_until(lambda: len(talk.replies) == 2)
    wait_until(lambda: not store.inspection.jobs(JobState.LEASED))

    code, lines = worker.stop(number)
    assert (code, lines[-1]) == (0, "Finishing the turns that run.")
    assert "Working. Ctrl-C stops." in lines
    assert "Traceback" not in "\n".join(lines)
    assert talk.replies == ["Answer to before", "Answer to during"]
    assert {job.outcome for job in store.inspection.jobs()} == {"replied"}


@needs_signals
@pytest.mark.parametrize("env", [{}, {"ASYNC": "1"}], ids=["def", "async def"])
def test_a_slow_turn_is_left_to_another(worker: Worker, env: dict[str, str]) -> None:
    worker.sim.conversation(id=42)
    worker.ask(1, "slow")
    worker.start("--threads", "1", **env)
    wait_until(worker.asked.exists)

    assert worker.stop(signal.SIGTERM)[0] == 0
    (job,) = worker.store.inspection.jobs()
    assert (job.state, job.attempts) == ("ready", 0)


@pytest.mark.parametrize(
    ("workers", "option", "threads"),
    [(3, [], [3]), (0, [], [4]), (4, ["--threads=7"], [7]), (4, ["--threads=0"], [])],
    ids=["setting", "no setting", "option", "no thread"],
)
def test_the_number_of_threads_is_that_of_the_option_or_the_setting(
    make_app: AppFactory,
    monkeypatch: pytest.MonkeyPatch,
    workers: int,
    option: list[str],
    threads: list[int],
) -> None:
    made: list[int] = []

    def backend(*_: object, threads: int) -> t.NoReturn:
        made.append(threads)
        raise KeyboardInterrupt

    monkeypatch.setattr("flask_chatwoot.cli.work.ThreadBackend", backend)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    run(make_app(workers=workers), "work", *option)

    assert made == threads
