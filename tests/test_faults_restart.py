"""Processes that are killed, stopped and started, and clocks that are set back."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask, has_request_context
from support.apps import AppFactory, dismantle
from support.queue import open_store
from support.servers import ask, comes_true, ended, new_talk, thread_settings
from support.waiting import wait_until

from flask_chatwoot import Chatwoot
from flask_chatwoot.queue.schema import WorkerLimit
from flask_chatwoot.simulator import Simulator, Talk
from flask_chatwoot.testing import customer_message, deliver, operator_message

QUESTION: t.Final = "Where is my order?"
ANSWER: t.Final = f"Answer to {QUESTION}"

PROGRAM: t.Final = Path(__file__).parent / "support/programs/restart_host.py"
WORK: t.Final = ("flask", "--app", "host", "chatwoot", "work", "--threads", "1")


class Host:
    """An app in processes of its own; its provider waits while it is shut."""

    def __init__(self, sim: Simulator, folder: Path) -> None:
        self._folder = folder
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._processes: list[subprocess.Popen[bytes]] = []
        self._settings = sim.settings()
        self._env = {
            **os.environ,
            **{key: str(value) for key, value in self._settings.items()},
            "PYTHONUNBUFFERED": "1",
        }
        shutil.copy(PROGRAM, folder / "host.py")
        (folder / "patched.py").write_text("from gevent.monkey import *; patch_all()")
        self.set_clock(0.0)

    def set_clock(self, ahead: float) -> None:
        """Let the time of all processes be ahead of the true one, or behind it."""
        new = self._folder / "new"
        new.write_text(str(ahead))
        new.replace(self._folder / "ahead")

    def touch(self, name: str) -> None:
        """Make a file that the app obeys."""
        (self._folder / name).touch()

    def shut(self) -> None:
        self.touch("shut")

    def open(self) -> None:
        (self._folder / "shut").unlink()

    def store(self, *talks: Talk) -> None:
        """Let customers write, to an app that only stores and then ends."""
        app = Flask("host", instance_path=str(self._folder))
        app.config.update(self._settings, CHATWOOT_WORKERS=0)
        Chatwoot(app)

        for talk in talks:
            payload = customer_message(
                QUESTION, id=talk.customer_says(QUESTION).id, conversation_id=talk.id
            )
            answer = deliver(app.test_client(), payload).get_json()
            # A worker that has just started may have found the message by catch-up.
            assert answer["status"] in ("accepted", "duplicate")

        dismantle(app)

    @property
    def limits(self) -> set[WorkerLimit]:
        """What the processes with workers cannot do under their servers."""
        [path] = self._folder.rglob("chatwoot.sqlite3")

        with contextlib.closing(open_store(path)) as store:
            return store.inspection.limits()

    def start_shut(self, *module: str) -> subprocess.Popen[bytes]:
        """Start a process, and block until its provider waits."""
        self.shut()
        process = self.start(*module)
        wait_until(lambda: self.askers)

        return process

    def work(self) -> subprocess.Popen[bytes]:
        """Start a worker, and block until it has imported the app."""
        process = self.start(*WORK)
        wait_until(lambda: process.pid in self.importers)

        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill a process, and let the provider answer from now on."""
        process.kill()
        process.wait(10)
        self.open()

    def start(self, *module: str) -> subprocess.Popen[bytes]:
        """Start a module of Python; "FD" stands for the number of a socket."""
        fd = self._socket.fileno()

        with (self._folder / "log").open("ab") as log:
            arguments = [each.replace("FD", str(fd)) for each in module]
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self._folder,
                env=self._env,
                pass_fds=[fd],
                process_group=0,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

        self._processes.append(process)

        return process

    @property
    def pids(self) -> set[int]:
        """The processes that were started here; not their children."""
        return {process.pid for process in self._processes}

    @property
    def importers(self) -> list[int]:
        """The processes that have imported the app."""
        return self._pids("imported")

    @property
    def askers(self) -> list[int]:
        """The processes that have called the provider, once for each time."""
        return self._pids("asked")

    @property
    def starters(self) -> list[int]:
        """The processes that have started workers, once for each."""
        return self._pids("started")

    def _pids(self, name: str) -> list[int]:
        path = self._folder / name

        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    @property
    def log(self) -> str:
        """What all processes have written."""
        return (self._folder / "log").read_text()

    @property
    def address(self) -> str | None:
        """The address that a server has logged."""
        found = re.search(r"http://127\.0\.0\.1:\d+", self.log)

        return found and found[0]

    def close(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

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
GEVENT: t.Final = ("--worker-class", "gevent")
FLASK_RUN: t.Final = ("flask", "--app", "host", "run", "--port", "0")
WAITRESS: t.Final = ("waitress", "--listen", "127.0.0.1:0", "host:app")
UVICORN: t.Final = ("uvicorn", "--interface", "wsgi", "--port", "0", "host:app")

SERVERS: t.Final = {
    "gunicorn sync": (*GUNICORN, "host:app"),
    "gunicorn sync --preload": (*GUNICORN, "--preload", "host:app"),
    "gunicorn gthread": (*GUNICORN, *THREADS, "host:app"),
    "gunicorn gthread --preload": (*GUNICORN, *THREADS, "--preload", "host:app"),
    "gunicorn gevent": (*GUNICORN, *GEVENT, "host:app"),
    "gunicorn gevent --preload, patched before": (
        *(*GUNICORN, *GEVENT, "--preload", "--config", "python:patched", "host:app"),
    ),
    "flask run": FLASK_RUN,
    "flask run --reload": (*FLASK_RUN, "--reload"),
    "waitress and start()": WAITRESS,
    "uvicorn and start()": UVICORN,
}


def need(server: str) -> None:
    """Skip the test where a server is not installed."""
    for name in ("gunicorn", "gevent", "waitress", "uvicorn"):
        if name in server:
            pytest.importorskip(name)


PARENTS: t.Final = {name for name in SERVERS if "gunicorn" in name or "reload" in name}
"""Those whose first process serves no requests."""


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_what_waited_is_answered_within_5_s_of_a_restart_without_any_request(
    sim: Simulator, host: Host, server: str
) -> None:
    need(server)
    talk = new_talk(sim)
    host.store(talk)
    host.touch("slow")  # providers are registered after a while

    if "start()" in server:
        host.touch("starts")

    process = host.start(*SERVERS[server])
    imports = 2 if "--reload" in server else 1  # the parent's, and its child's
    wait_until(lambda: len(host.importers) == imports, timeout=60.0)
    comes_true(lambda: talk.replies, within=5.0)

    assert talk.replies == [ANSWER]
    assert (process.pid in host.starters) == (server not in PARENTS)
    # Its parent would kill it, as doctor says.
    assert host.limits == ({WorkerLimit.NO_GRACE} if "--reload" in server else set())


@pytest.mark.slow
def test_gevent_is_refused_where_the_app_was_imported_before_it(host: Host) -> None:
    need("gunicorn gevent")

    process = host.start(*GUNICORN, *GEVENT, "--preload", "host:app")

    assert process.wait(30) != 0
    assert "Leave --preload out, or begin gunicorn.conf.py with: from gev" in host.log
    assert host.starters == []


IMPORTERS: t.Final = {
    "a script": (("timeit", "-n", "1", "-r", "1", "import host"), False),
    "pytest": (("pytest", "--collect-only", "host.py"), False),
    "flask shell": (("flask", "--app", "host", "shell"), True),
    "flask routes": (("flask", "--app", "host", "routes"), True),
    "gunicorn --check-config": (("gunicorn", "--check-config", "host:app"), True),
}
"""What imports the app and serves no requests; and whether the app calls start()."""


@pytest.mark.slow
@pytest.mark.parametrize("who", IMPORTERS)
def test_whoever_merely_imports_the_app_starts_nothing(
    sim: Simulator, host: Host, who: str
) -> None:
    need(who)
    module, starts = IMPORTERS[who]
    host.store(talk := new_talk(sim))

    if starts:
        host.touch("starts")

    host.start(*module).wait(60)

    assert len(host.importers) == 1
    assert host.starters == []
    assert talk.replies == []


@pytest.mark.slow
@pytest.mark.parametrize("who", ["another process", "the process after it"])
def test_the_turn_of_a_killed_process_goes_on_within_3_s(
    sim: Simulator, host: Host, who: str
) -> None:
    talk = new_talk(sim)
    host.store(talk)
    host.touch("forks")  # the provider has a child process, which lives on
    killed = host.start_shut(*WORK)

    if who == "another process":
        host.work()

    host.kill(killed)

    if who == "the process after it":
        host.work()

    comes_true(lambda: talk.replies, within=3.0)

    assert talk.replies == [ANSWER]
    assert set(host.starters) <= host.pids  # and no child of a provider


# -- stopped by a signal ---------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "server",
    [FLASK_RUN, WAITRESS, UVICORN],
    ids=["flask run", "waitress", "uvicorn"],
)
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


@pytest.mark.slow
def test_a_clock_set_back_in_a_running_process_keeps_nothing_waiting(
    sim: Simulator, host: Host
) -> None:
    talk, other = new_talk(sim), new_talk(sim)
    host.store(talk)
    host.start_shut(*WORK)
    host.store(talk, other)

    host.set_clock(-HOUR)
    host.open()
    comes_true(lambda: len(talk.replies) == 2 and other.replies, within=3.0)

    assert talk.replies == [ANSWER, ANSWER]
    assert other.replies == [ANSWER]


@pytest.mark.slow
@pytest.mark.parametrize("job", ["waiting", "leased"])
def test_a_clock_set_back_before_a_start_keeps_nothing_waiting(
    sim: Simulator, host: Host, job: str
) -> None:
    talk = new_talk(sim)
    host.store(talk)

    if job == "leased":
        host.kill(host.start_shut(*WORK))

    host.set_clock(-24 * HOUR)
    host.work()
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


@pytest.mark.sqlite
def test_a_takeover_of_which_half_was_stored_still_sets_the_mode(
    sim: Simulator,
    make_app: AppFactory,
    chatwoot: Chatwoot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = Disk(monkeypatch)
    chatwoot.reply_provider(lambda text: f"Answer to {text}")
    app = make_app(chatwoot, **thread_settings(sim, 0), retry_pause=0.01)
    ask(app, new_talk(sim))  # the database is made
    ended(app)
    talk = new_talk(sim)
    text = "I take this one."
    message = talk.operator_says(text)
    payload = operator_message(text, id=message.id, conversation_id=talk.id)

    disk.fails = True
    deliver(app.test_client(), payload)
    disk.fails = False
    ask(app, talk, "Thank you!")
    ended(app)

    assert disk.begun > 0
    assert talk.replies == []
    assert talk.current.custom_attributes == {"support_mode": "human"}
