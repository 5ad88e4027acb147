"""What commands print where it cannot be printed as it is, or not at all.

Each command runs in a process of its own, with a simulator as Chatwoot.
"""

from __future__ import annotations

import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from support.apps import AppFactory
from support.deliveries import as_bytes, message
from support.queue import Store, open_store
from support.waiting import wait_until

from flask_chatwoot.simulator import Simulator

APP: t.Final = "https://app.example.com"
SETUP: t.Final = ("setup", "--url", APP, "--inbox", "3", "--yes")
FULL: t.Final = Path("/dev/full")
NO_SPACE: t.Final = "Error: Standard output cannot be written: No space left on device"

pytestmark = pytest.mark.sqlite  # each app has a file of its own

needs_full = pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")

HOST: t.Final = """
from flask import Flask
from flask_chatwoot import Chatwoot

app = Flask(__name__)
Chatwoot(app).reply_provider(lambda text: f"{text} → ✓")
"""


class Host:
    """An app in a folder of its own, and the account that its commands change."""

    def __init__(self, folder: Path, sim: Simulator) -> None:
        self.folder, self.sim = folder, sim
        (folder / "host.py").write_text(HOST, encoding="utf-8")
        self.database = folder / "chatwoot.sqlite3"

    @property
    def environ(self) -> dict[str, str]:
        database = {"CHATWOOT_DATABASE_URL": f"sqlite:///{self.database}"}
        settings = {**self.sim.settings(), **database}
        return {**os.environ, **{key: str(value) for key, value in settings.items()}}

    def start(
        self, *arguments: str, env: t.Mapping[str, str], **streams: t.Any
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "flask", "--app", "host", "chatwoot", *arguments],
            cwd=self.folder,
            env={**self.environ, **env},
            stdin=subprocess.DEVNULL,
            **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        )

    def run(self, *arguments: str, **streams: t.Any) -> tuple[int, bytes, str]:
        """Exit code, stdout, and stderr."""
        env = streams.pop("env", {})

        with self.start(*arguments, env=env, **streams) as process:
            out, err = process.communicate(timeout=60)

        return process.returncode, out, (err or b"").decode()

    def run_full(self, *arguments: str) -> tuple[int, str]:
        """Exit code and stderr of a command whose output goes to a full disk."""
        with FULL.open("wb") as full:
            code, _, err = self.run(*arguments, stdout=full)

        return code, err

    @property
    def store(self) -> Store:
        return open_store(self.database)


@pytest.fixture
def host(tmp_path: Path) -> t.Iterator[Host]:
    with Simulator(retry_pause=0.0) as sim:
        yield Host(tmp_path, sim)


# -- encodings -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "printed"),
    [
        ("utf-8", "Привет café → ✓"),
        ("ascii", r"\u041f\u0440\u0438\u0432\u0435\u0442 caf\xe9 -> ok"),
        ("latin-1", r"\u041f\u0440\u0438\u0432\u0435\u0442 café -> ok"),
        ("cp1252", r"\u041f\u0440\u0438\u0432\u0435\u0442 café -> ok"),
        ("cp866", r"Привет caf\xe9 -> ok"),
        ("cp1252:replace", "?????? café ? ?"),
    ],
)
def test_a_sign_that_the_encoding_does_not_have_is_written_in_ascii(
    host: Host, encoding: str, printed: str
) -> None:
    code, out, err = host.run("ask", "Привет café", env={"PYTHONIOENCODING": encoding})

    assert (code, err) == (0, "")
    assert out.decode(encoding.partition(":")[0]).strip() == printed


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "cp866", "latin-1"])
def test_every_command_prints_in_every_encoding(
    host: Host, make_app: AppFactory, encoding: str
) -> None:
    usual: t.Any = {"base_url": host.sim.url, "api_access_token": host.sim.user_token}
    app = make_app(**usual, fallback_message="Ждите… ✓" * 9)
    runner = app.test_cli_runner(charset=encoding)
    setup = (*SETUP, "--bot-option", "ИИ", "--human-option", "Человек")

    for command in [
        *(setup, setup, ("doctor",), ("doctor", "--json"), ("teardown", "--yes")),
        *(("settings", "--all"), ("outcomes",), ("simulate", "Где заказ?")),
        *(("jobs",), ("catch-up", "--dry-run")),
    ]:
        result = runner.invoke(args=["chatwoot", *command])
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert result.stdout


# -- output that cannot be written -----------------------------------------------------


@needs_full
def test_setup_does_all_of_its_work_and_shows_the_secret(host: Host) -> None:
    code, err = host.run_full(*SETUP)
    (webhook,) = host.sim.admin.webhooks.values()

    assert code == 1
    assert err.count("  ✓ ") == 3
    assert f"CHATWOOT_WEBHOOK_SECRET={webhook['secret']}" in err
    assert err.splitlines()[-1] == f"{NO_SPACE}; nothing else failed."

    assert host.run_full("teardown", "--yes")[1].count("  ✓ ") == 3
    assert host.sim.admin.webhooks == {}
    assert not list(host.folder.rglob("chatwoot.setup.json"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("closing", ["| head -n 1", ">&-"])
def test_whoever_closes_the_output_stops_no_work(host: Host, closing: str) -> None:
    def in_shell(command: str) -> str:
        program = f"{sys.executable} -m flask --app host chatwoot {command} {closing}"
        streams: t.Any = {"capture_output": True, "text": True, "timeout": 60}
        done = subprocess.run(
            ["/bin/sh", "-c", program],
            cwd=host.folder,
            env=host.environ,
            check=False,
            **streams,
        )
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr

        return f"{done.stdout}{done.stderr}"

    printed = in_shell(" ".join(SETUP))
    (webhook,) = host.sim.admin.webhooks.values()
    assert f"CHATWOOT_WEBHOOK_SECRET={webhook['secret']}" in printed

    in_shell("teardown --yes")
    assert host.sim.admin.webhooks == {}


@needs_full
def test_jobs_are_retried_and_deleted(host: Host) -> None:
    store = host.store

    for number in (1, 2, 3):
        store.put(number)
        store.finish("dead", "refused")

    assert host.run_full("jobs", "retry", "1") == (
        1,
        f"1 job will be retried.\n{NO_SPACE}; nothing else failed.\n",
    )
    assert [job.state for job in store.inspection.jobs()] == ["dead", "dead", "ready"]
    assert host.run_full("jobs", "prune", "--dead", "--days", "0")[0] == 1
    assert [job.id for job in store.inspection.jobs()] == [3, 1]
    store.database.close()


@needs_full
@pytest.mark.parametrize(
    "command", ["jobs", "settings", "outcomes", "doctor", "simulate Hi", "ask Hi"]
)
def test_a_command_that_only_shows_something_says_that_it_cannot(
    host: Host, command: str
) -> None:
    code, err = host.run_full(*command.split())
    assert (code, err) == (1, f"{NO_SPACE}.\n")


@needs_full
def test_a_worker_works(host: Host) -> None:
    talk = host.sim.conversation(id=42, custom_attributes={"support_mode": "bot"})

    with FULL.open("wb") as full:
        process = host.start("work", env={}, stdout=full)

    with process:
        try:
            store = host.store
            store.put(1, payload=as_bytes(message("Hello", id=1)))
            wait_until(lambda: bool(talk.replies))
            store.database.close()
            process.terminate()
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()

    assert b"Finishing the turns that run." in err
    assert b"Traceback" not in err


@needs_full
def test_a_question_is_asked_where_the_plan_is_shown(host: Host) -> None:
    code, err = host.run_full(*SETUP[:-1])  # with no answer in the input

    assert code == 1
    assert err.count("  + ") == 3
    assert err.endswith("Change this in Chatwoot? [y/N]: Aborted!\n")
    assert host.sim.admin.webhooks == {}
