from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
from conftest import AppFactory, Clock, inbox_of, message, wait_until
from flask import Flask

from flask_chatwoot import Chatwoot, cli
from flask_chatwoot.queue.jobs import Inbox
from flask_chatwoot.simulator import Fault, Simulator
from flask_chatwoot.workers import ThreadBackend

DAY = 86400.0


def run(app: Flask, *arguments: str) -> tuple[int, str]:
    """What ``flask chatwoot`` leaves with and prints, errors included."""
    result = app.test_cli_runner().invoke(args=["chatwoot", *arguments])

    return result.exit_code, result.output


@pytest.fixture
def filled(app: Flask, clock: Clock) -> Flask:
    """Jobs 1 to 4: done two days ago, dead, claimed, waiting."""
    inbox = inbox_of(app)
    inbox.clock = clock

    for number, ending in enumerate(
        (("declined", "no_answer"), ("dead", "refused")), 1
    ):
        put(inbox, number)
        job = inbox.claim()
        assert job is not None
        inbox.settle(job, *ending)
        clock.advance(2 * DAY if number == 1 else 3 * 3600)

    put(inbox, 3)
    clock.advance(600)
    assert inbox.claim() is not None
    put(inbox, 4)
    clock.advance(5)

    return app


def put(inbox: Inbox, number: int, body: bytes = b"{}") -> None:
    inbox.put(
        f"1:message_created:{number}",
        conversation_id=40 + number,
        message_id=number,
        payload=body,
    )


# -- jobs ----------------------------------------------------------------------


def test_jobs_are_listed_as_a_table(filled: Flask) -> None:
    code, printed = run(filled, "jobs")

    assert code == 0
    assert printed.splitlines() == [
        "    ID  CONVERSATION  STATE          AGE  ATTEMPTS  OUTCOME    REASON",
        "     4            44  waiting        5 s         0",
        "     3            43  claimed       10 m         1",
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
        "outcome": "dead",
        "reason": "refused",
    }


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        (["--state", "waiting"], [4]),
        (["--state", "claimed"], [3]),
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
        put(inbox_of(app), number)

    assert len(json.loads(run(app, "jobs", "--json")[1])) == 100
    assert len(json.loads(run(app, "jobs", "--json", "--limit", "0")[1])) == 120


def test_an_empty_queue_has_no_rows(app: Flask) -> None:
    code, printed = run(app, "jobs")

    assert (code, len(printed.splitlines())) == (0, 1)
    assert run(app, "jobs", "--json") == (0, "[]\n")


def test_a_state_that_does_not_exist_is_refused(app: Flask) -> None:
    code, printed = run(app, "jobs", "--state", "lost")

    assert code == 2
    assert "'waiting', 'claimed', 'done', 'dead'" in printed


# -- retry ---------------------------------------------------------------------


def states(app: Flask) -> dict[int, str]:
    return {job.id: job.state for job in inbox_of(app).jobs()}


@pytest.mark.parametrize("arguments", [["2"], ["--dead"]])
def test_dead_jobs_are_retried(filled: Flask, arguments: list[str]) -> None:
    assert run(filled, "jobs", "retry", *arguments) == (0, "1 job will be retried.\n")
    assert states(filled)[2] == "waiting"


def test_all_dead_jobs_are_retried_in_their_order(app: Flask) -> None:
    inbox = inbox_of(app)

    for number in (1, 2, 3):
        inbox.put(
            str(number), conversation_id=42, message_id=9000 + number, payload=b"{}"
        )
        job = inbox.claim()
        assert job is not None
        inbox.settle(job, "dead", "unauthorized")

    assert run(app, "jobs", "retry", "--dead") == (0, "3 jobs will be retried.\n")

    for number in (1, 2, 3):
        job = inbox.claim()
        assert job is not None
        assert job.message_id == 9000 + number
        inbox.settle(job, "replied", None)


def test_where_no_job_is_dead_none_is_retried(app: Flask) -> None:
    assert run(app, "jobs", "retry", "--dead") == (0, "0 jobs will be retried.\n")


def test_jobs_that_are_not_dead_are_named(filled: Flask) -> None:
    code, printed = run(filled, "jobs", "retry", "1", "2", "3", "99")

    assert code == 1
    assert printed.splitlines() == [
        "1 job will be retried.",
        "Error: Not dead: 1, 3, 99.",
    ]
    assert states(filled) == {1: "done", 2: "waiting", 3: "claimed", 4: "waiting"}


@pytest.mark.parametrize("arguments", [[], ["2", "--dead"]])
def test_retry_needs_ids_or_the_option(filled: Flask, arguments: list[str]) -> None:
    code, printed = run(filled, "jobs", "retry", *arguments)

    assert code == 2
    assert "Error: Give job ids, or --dead." in printed
    assert states(filled)[2] == "dead"


def test_a_job_id_is_a_number(app: Flask) -> None:
    assert run(app, "jobs", "retry", "two")[0] == 2


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
    Path(inbox_of(app).path).write_bytes(b"no database at all. " * 50)

    code, printed = run(app, *command)

    assert code == 1
    assert printed.startswith("Error: The inbox '")
    assert printed.endswith("failed: file is not a database.\n")


def test_an_app_without_the_extension_is_reported_in_a_sentence() -> None:
    app = Flask("bare")
    app.cli.add_command(cli.chatwoot)

    code, printed = run(app, "jobs")

    assert code == 1
    assert printed.startswith("Error: The app 'bare' has no Chatwoot; call Chatwoot(")


def test_every_command_is_explained(app: Flask) -> None:
    code, printed = run(app, "--help")

    assert code == 0
    for name, text in (
        ("work", "Answer what is in the database"),
        ("jobs", "List jobs"),
    ):
        assert name in printed
        assert text in printed


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

HOST = """
import asyncio, logging, time
from pathlib import Path
from flask import Flask
from flask_chatwoot import Chatwoot
from flask_chatwoot.workers import ThreadBackend

ThreadBackend.stop.__defaults__ = (0.3,)  # seconds of grace; nobody waits for more
logging.basicConfig()
app = Flask(__name__)
chatwoot = Chatwoot(app)

@chatwoot.reply_provider
def reply(text):
    if text == "slow":
        Path("asked").touch()
        time.sleep(60)
    return f"Answer to {text}"
"""

ASYNC_HOST = HOST.replace("def reply", "async def reply").replace(
    "time.sleep", "await asyncio.sleep"
)


class Worker:
    """``flask chatwoot work`` in a process of its own."""

    def __init__(
        self, folder: Path, sim: Simulator, *arguments: str, host: str = HOST
    ) -> None:
        (folder / "host.py").write_text(host)
        settings = {key: str(value) for key, value in sim.settings().items()}
        self.process = subprocess.Popen(
            [
                sys.executable,
                *["-m", "flask", "--app", "host.py", "chatwoot", "work"],
                *arguments,
            ],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                **os.environ,
                **settings,
                "CHATWOOT_COPILOT_TOKEN": "t",
                "CHATWOOT_DATABASE_URL": f"sqlite:///{folder / 'inbox.sqlite3'}",
                "CHATWOOT_WORKERS": "0",
                "CHATWOOT_RETRY_PAUSE": "0.05",
                "PYTHONUNBUFFERED": "1",
            },
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None

        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def stop(self, number: int) -> int:
        """Send a signal; the code the process leaves with."""
        self.process.send_signal(number)

        return self.process.wait(20)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()

        self.process.wait(20)
        self._reader.join(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def inbox(tmp_path: Path) -> t.Iterator[Inbox]:
    store = Inbox(str(tmp_path / "inbox.sqlite3"), account_id=1)
    yield store
    store.close()


def store(inbox: Inbox, text: str, *, number: int, conversation_id: int) -> None:
    body = message(text, id=number, conversation_id=conversation_id)
    inbox.put(
        f"1:message_created:{number}",
        conversation_id=conversation_id,
        message_id=number,
        payload=json.dumps(body).encode(),
    )


needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="needs signals")


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_handles_what_is_stored_and_stops_when_told(
    tmp_path: Path, sim: Simulator, inbox: Inbox, number: int
) -> None:
    talk = sim.conversation(id=42, custom_attributes={"support_mode": "bot"})
    store(inbox, "before", number=1, conversation_id=42)
    sim.inject(Fault.RATE_LIMITED)
    worker = Worker(tmp_path, sim)

    try:
        sim.wait_until(lambda: talk.replies == ["Answer to before"])
        store(inbox, "during", number=2, conversation_id=42)
        sim.wait_until(lambda: len(talk.replies) == 2)
        wait_until(lambda: not inbox.jobs(state="claimed"))
        assert worker.stop(number) == 0
    finally:
        worker.close()

    assert "Working. Ctrl-C stops." in worker.lines
    assert worker.lines[-1] == "Finishing the turns that run."
    assert "Traceback" not in "\n".join(worker.lines)
    assert talk.replies == ["Answer to before", "Answer to during"]
    assert {job.outcome for job in inbox.jobs()} == {"replied"}


@needs_signals
@pytest.mark.parametrize("host", [HOST, ASYNC_HOST], ids=["def", "async def"])
def test_a_worker_gives_back_what_does_not_finish(
    tmp_path: Path, sim: Simulator, inbox: Inbox, host: str
) -> None:
    sim.conversation(id=42)
    store(inbox, "slow", number=1, conversation_id=42)
    worker = Worker(tmp_path, sim, "--threads", "1", host=host)

    try:
        wait_until((tmp_path / "asked").exists)
        assert worker.stop(signal.SIGTERM) == 0
    finally:
        worker.close()

    (job,) = inbox.jobs()
    assert (job.state, job.attempts) == ("waiting", 0)


def test_a_worker_has_as_many_threads_as_asked_for(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[int] = []

    class Backend(ThreadBackend):
        def __init__(self, *, threads: int) -> None:
            made.append(threads)
            raise KeyboardInterrupt

    monkeypatch.setattr("flask_chatwoot.cli.work.ThreadBackend", Backend)
    monkeypatch.setattr(signal, "signal", lambda *_: None)

    for workers, arguments in ((3, []), (0, []), (4, ["--threads", "7"])):
        path = str(tmp_path / f"{workers}.sqlite3")
        app = make_app(Chatwoot(), workers=workers, database_url=f"sqlite:///{path}")
        run(app, "work", *arguments)

    assert made == [3, 4, 7]
    assert run(make_app(), "work", "--threads", "0")[0] == 2


def test_an_id_no_job_can_have_is_a_sentence(app: Flask) -> None:
    code, output = run(app, "jobs", "retry", "9" * 20)

    assert code == 2
    assert "is not in the range" in output
