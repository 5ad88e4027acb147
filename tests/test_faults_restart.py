"""Processes that are killed, stopped and started, and clocks that are set back."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import requests
from flask import has_request_context
from support.apps import AppFactory
from support.servers import all_ended, ask, comes_true, new_talk, work_until
from support.waiting import wait_until

from flask_chatwoot import Chatwoot
from flask_chatwoot.simulator import Simulator, Talk
from flask_chatwoot.testing import customer_message, deliver, operator_message

QUESTION: t.Final = "Where is my order?"
ANSWER: t.Final = f"Answer to {QUESTION}"

APP: t.Final = """
import os, time
from pathlib import Path

folder = Path(__file__).parent
true_time = time.time

def set_time():
    return true_time() + float((folder / "ahead").read_text() or 0)

time.time = set_time  # before anything else has a reference to it
time.time_ns = lambda: int(set_time() * 1e9)

from flask import Flask
from flask_chatwoot import Chatwoot

app = Flask(__name__, instance_path=str(folder))
chatwoot = Chatwoot(app)

@chatwoot.reply_provider
def reply(text):
    with (folder / "asked").open("a") as asked:
        asked.write(f"{os.getpid()}\\n")

    while (folder / "shut").exists():
        time.sleep(0.02)

    return f"Answer to {text}"

with (folder / "imported").open("a") as imported:
    imported.write(f"{os.getpid()}\\n")
"""

DELIVER: t.Final = """
import json, sys
from host import app
from flask_chatwoot.testing import deliver

for payload in json.load(sys.stdin):
    assert deliver(app.test_client(), payload).status_code == 202
"""

WORK: t.Final = ("flask", "--app", "host", "chatwoot", "work", "--threads", "1")


class Host:
    """An app in processes of its own; its provider waits while it is shut."""

    def __init__(self, sim: Simulator, folder: Path) -> None:
        self._folder = folder
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._env = {
            **os.environ,
            **{key: str(value) for key, value in sim.settings().items()},
            "PYTHONUNBUFFERED": "1",
        }
        (folder / "host.py").write_text(APP)
        self.set_clock(0.0)

    def set_clock(self, ahead: float) -> None:
        """Let the time of all processes be ahead of the true one, or behind it."""
        new = self._folder / "new"
        new.write_text(str(ahead))
        new.replace(self._folder / "ahead")

    def shut(self) -> None:
        (self._folder / "shut").touch()

    def open(self) -> None:
        (self._folder / "shut").unlink()

    def store(self, *talks: Talk) -> None:
        """Let customers write, to a process that only stores and then ends."""
        payloads = [
            customer_message(
                QUESTION, id=talk.customer_says(QUESTION).id, conversation_id=talk.id
            )
            for talk in talks
        ]
        subprocess.run(
            [sys.executable, "-c", DELIVER],
            cwd=self._folder,
            env={**self._env, "CHATWOOT_WORKERS": "0"},
            input=json.dumps(payloads).encode(),
            check=True,
        )

    def start(self, *module: str) -> subprocess.Popen[bytes]:
        """Start a module of Python; "FD" stands for the number of a socket."""
        fd = self._socket.fileno()

        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    *(each.replace("FD", str(fd)) for each in module),
                ],
                cwd=self._folder,
                env=self._env,
                pass_fds=[fd],
                process_group=0,
                stdout=log,
                stderr=log,
            )

        self._processes.append(process)

        return process

    @property
    def importers(self) -> list[int]:
        """The processes that have imported the app."""
        return self._pids("imported")

    @property
    def askers(self) -> list[int]:
        """The processes that have asked the provider, once for each time."""
        return self._pids("asked")

    def _pids(self, name: str) -> list[int]:
        path = self._folder / name

        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    @property
    def address(self) -> str | None:
        """Where a server says that it listens."""
        found = re.search(
            r"http://127\.0\.0\.1:\d+", (self._folder / "log").read_text()
        )

        return found and found[0]

    def close(self) -> None:
        for process in self._processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            finally:
                process.wait(10)

        self._socket.close()


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    with Simulator() as sim:
        yield sim


@pytest.fixture
def host(sim: Simulator, tmp_path: Path) -> t.Iterator[Host]:
    host = Host(sim, tmp_path)
    yield host
    host.close()


# -- started again ---------------------------------------------------------------

GUNICORN: t.Final = ("gunicorn", "--bind", "fd://FD", "--graceful-timeout", "1")
THREADS: t.Final = ("--worker-class", "gthread", "--threads", "2")
FLASK_RUN: t.Final = ("flask", "--app", "host", "run", "--port", "0")

SERVERS: t.Final = {
    "gunicorn sync": (*GUNICORN, "host:app"),
    "gunicorn sync --preload": (*GUNICORN, "--preload", "host:app"),
    "gunicorn gthread": (*GUNICORN, *THREADS, "host:app"),
    "gunicorn gthread --preload": (*GUNICORN, *THREADS, "--preload", "host:app"),
    "flask run": FLASK_RUN,
    "flask run --reload": (*FLASK_RUN, "--reload"),
}


@pytest.mark.parametrize("server", SERVERS)
@known_fault("Workers start with the first request, and not with the process.")
def test_what_waited_is_answered_within_5_s_of_a_restart_without_any_request(
    sim: Simulator, host: Host, server: str
) -> None:
    if server.startswith("gunicorn"):
        pytest.importorskip("gunicorn")

    talk = new_talk(sim)
    host.store(talk)
    stored_by = len(host.importers)

    host.start(*SERVERS[server])
    comes_true(lambda: talk.replies, within=5.0)

    assert len(host.importers) > stored_by
    assert talk.replies == [ANSWER]


@pytest.mark.parametrize("who", ["another process", "the process after it"])
@known_fault("The turn of a killed process goes on after the lease only.")
def test_the_turn_of_a_killed_process_goes_on_within_3_s(
    sim: Simulator, host: Host, who: str
) -> None:
    talk = new_talk(sim)
    host.store(talk)
    host.shut()
    killed = host.start(*WORK)
    wait_until(lambda: host.askers)

    if who == "another process":
        other = host.start(*WORK)
        wait_until(lambda: other.pid in host.importers)

    killed.kill()
    killed.wait(10)
    host.open()

    if who == "the process after it":
        other = host.start(*WORK)
        wait_until(lambda: other.pid in host.importers)

    comes_true(lambda: talk.replies, within=3.0)

    assert talk.replies == [ANSWER]


# -- told to stop ----------------------------------------------------------------


@pytest.mark.parametrize(
    "server",
    [FLASK_RUN, ("waitress", "--listen", "127.0.0.1:0", "host:app")],
    ids=["flask run", "waitress"],
)
@known_fault("Servers that leave SIGTERM to the system end in the middle of a turn.")
def test_a_running_turn_gets_its_grace_on_sigterm(
    sim: Simulator, host: Host, server: tuple[str, ...]
) -> None:
    pytest.importorskip(server[0])
    talk = new_talk(sim)
    host.store(talk)
    host.shut()
    process = host.start(*server)
    wait_until(lambda: host.address)
    requests.get(str(host.address), timeout=10)
    wait_until(lambda: host.askers)

    process.terminate()
    comes_true(lambda: process.poll() is not None, within=0.5)
    host.open()
    process.wait(10)

    assert talk.replies == [ANSWER]


# -- the clock is set back ---------------------------------------------------------

HOUR: t.Final = 3600.0
DAY: t.Final = 24 * HOUR


@known_fault("What is due by the old time waits until the clock is there again.")
def test_a_clock_set_back_in_a_running_process_keeps_nothing_waiting(
    sim: Simulator, host: Host
) -> None:
    talk, other = new_talk(sim), new_talk(sim)
    host.store(talk)
    host.shut()
    host.start(*WORK)
    wait_until(lambda: host.askers)
    host.store(talk, other)

    host.set_clock(-HOUR)
    host.open()
    comes_true(lambda: len(talk.replies) == 2 and other.replies, within=3.0)

    assert talk.replies == [ANSWER, ANSWER]
    assert other.replies == [ANSWER]


@pytest.mark.parametrize("job", ["waiting", "leased"])
@known_fault("A due time far ahead is waited for after a clock was set back.")
def test_a_clock_set_back_before_a_start_keeps_nothing_waiting(
    sim: Simulator, host: Host, job: str
) -> None:
    talk = new_talk(sim)
    host.set_clock(DAY)
    host.store(talk)

    if job == "leased":
        host.shut()
        killed = host.start(*WORK)
        wait_until(lambda: host.askers)
        killed.kill()
        killed.wait(10)
        host.open()

    host.set_clock(0.0)
    worker = host.start(*WORK)
    wait_until(lambda: worker.pid in host.importers)
    comes_true(lambda: talk.replies, within=3.0)

    assert talk.replies == [ANSWER]


# -- half of a delivery ------------------------------------------------------------

WRITES: t.Final = r"(?i)\s*(BEGIN|INSERT|UPDATE|DELETE|REPLACE)\b"


class Disk:
    """Lets the second transaction of each request fail, as if the process died there.

    :ivar fails: From when on.
    :ivar begun: How many transactions requests have begun since.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.fails = False
        self.begun = 0
        connect = sqlite3.connect
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *values: t.Any) -> sqlite3.Cursor:
                if not self.in_transaction and re.match(WRITES, sql):
                    disk.begin()

                return super().execute(sql, *values)

        def connect_here(*args: t.Any, **options: t.Any) -> sqlite3.Connection:
            opened: sqlite3.Connection = connect(
                *args, **{"factory": Connection, **options}
            )

            return opened

        patch.setattr(sqlite3, "connect", connect_here)

    def begin(self) -> None:
        if not (self.fails and has_request_context()):
            return

        self.begun += 1

        if self.begun == 2:
            raise sqlite3.OperationalError("disk I/O error")


def test_a_takeover_of_which_half_was_stored_still_sets_the_mode(
    sim: Simulator,
    make_app: AppFactory,
    chatwoot: Chatwoot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = Disk(monkeypatch)
    chatwoot.reply_provider(lambda text: f"Answer to {text}")
    app = make_app(
        chatwoot,
        backend="thread",
        workers=0,
        base_url=sim.url,
        api_access_token=sim.user_token,
        retry_pause=0.01,
    )
    ask(app, new_talk(sim))  # the database is made
    work_until(app, lambda: all_ended(app))
    talk = new_talk(sim)
    message = talk.operator_says("I take this one.")
    payload = operator_message(
        "I take this one.", id=message.id, conversation_id=talk.id
    )

    disk.fails = True
    deliver(app.test_client(), payload)
    disk.fails = False
    ask(app, talk, "Thank you!")
    work_until(app, lambda: all_ended(app))

    assert disk.begun > 0
    assert talk.replies == []
    assert talk.current.custom_attributes == {"support_mode": "human"}
