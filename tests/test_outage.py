"""An app under gunicorn whose PostgreSQL cannot be used, from its start on."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
import requests
from support.host import PROGRAMS
from support.postgresql import Program, free_port, postgresql, standby
from support.relay import Relay
from support.waiting import wait_until

from flask_chatwoot.simulator import Simulator
from flask_chatwoot.testing import samples

pytestmark = pytest.mark.postgresql

pytest.importorskip("gunicorn", reason="needs gunicorn to run real processes")

SECRET: t.Final = "of-the-webhook"
HEALTH: t.Final = "of-the-monitoring"
PASSWORD: t.Final = "hunter2"
TABLES: t.Final = "SELECT schemaname FROM pg_tables WHERE tablename = 'worker'"
RECEIVED: t.Final = "SELECT count(*) FROM of_the_test.job"
CLAIMED: t.Final = "SELECT 1 FROM of_the_test.job WHERE attempts > 0"


class Host:
    """A gunicorn with one process, whose log is a file."""

    def __init__(self, url: str, log: Path) -> None:
        self.log = log
        self.url = url

    def deliver(self, id: int) -> tuple[int, float]:
        """Deliver a message: the status, and the seconds that it took."""
        body = samples.encoded(samples.customer_message(id=id, conversation_id=id))
        headers = samples.signed(body, SECRET)
        started = time.monotonic()
        answer = requests.post(
            f"{self.url}/chatwoot/webhook", data=body, headers=headers, timeout=10
        )

        return answer.status_code, time.monotonic() - started

    def health(self) -> tuple[int, str]:
        answer = self._health()

        return answer.status_code, answer.json()["status"]

    def figures(self) -> dict[str, t.Any]:
        return t.cast(dict[str, t.Any], self._health().json())

    def _health(self) -> requests.Response:
        headers = {"Authorization": f"Bearer {HEALTH}"}

        return requests.get(f"{self.url}/chatwoot/health", headers=headers, timeout=10)

    def is_up(self) -> bool:
        with contextlib.suppress(requests.ConnectionError):
            return requests.get(f"{self.url}/own", timeout=30).ok

        return False

    @contextlib.contextmanager
    def serving_its_own(self) -> t.Iterator[list[float]]:
        """Ask a route of the host all the time: the seconds that it took."""
        took: list[float] = []
        ended = threading.Event()

        def ask() -> None:
            while not ended.wait(0.02):
                started = time.monotonic()
                assert requests.get(f"{self.url}/own", timeout=10).ok
                took.append(time.monotonic() - started)

        asking = threading.Thread(target=ask)
        asking.start()

        try:
            yield took
        finally:
            ended.set()
            asking.join()

    def errors(self) -> list[str]:
        return errors_in(self.log)


def errors_in(log: Path) -> list[str]:
    return [line for line in log.read_text().splitlines() if line.startswith("ERROR")]


class Serve(t.Protocol):
    def __call__(
        self, database_url: str
    ) -> contextlib.AbstractContextManager[Host]: ...


class Start(t.Protocol):
    def __call__(
        self, database_url: str, *arguments: str
    ) -> contextlib.AbstractContextManager[Path]:
        """Run a module of Python for a block: its log."""


@pytest.fixture
def start(tmp_path: Path) -> t.Iterator[Start]:
    with Simulator() as sim:

        @contextlib.contextmanager
        def run(database_url: str, *arguments: str) -> t.Iterator[Path]:
            log = tmp_path / "log"
            env = {
                **os.environ,
                **{key: str(value) for key, value in sim.settings().items()},
                "CHATWOOT_WEBHOOK_SECRET": SECRET,
                "CHATWOOT_HEALTH_TOKEN": HEALTH,
                "CHATWOOT_DATABASE_URL": database_url,
                "CHATWOOT_DATABASE_SCHEMA": "of_the_test",
            }

            with log.open("wb") as file:
                process = subprocess.Popen(
                    [sys.executable, "-m", *arguments],
                    cwd=PROGRAMS,
                    env=env,
                    stdout=file,
                    stderr=file,
                )

            try:
                yield log
            finally:
                process.terminate()
                process.wait(20)

        yield run


@pytest.fixture
def serve(start: Start) -> Serve:
    @contextlib.contextmanager
    def serve(database_url: str) -> t.Iterator[Host]:
        port = free_port()
        command = [
            *("gunicorn", "--bind", f"127.0.0.1:{port}"),
            *("--worker-class", "gthread", "--threads", "8", "outage_app:app"),
        ]

        with start(database_url, *command) as log:
            host = Host(f"http://127.0.0.1:{port}", log)
            wait_until(host.is_up, 30.0)
            yield host

    return serve


@pytest.fixture(scope="module")
def server() -> t.Iterator[Program]:
    with postgresql() as program:
        program.execute("CREATE ROLE reader LOGIN")
        yield program


@pytest.mark.slow
def test_an_app_works_as_soon_as_its_server_is_there(serve: Serve) -> None:
    with postgresql() as own:
        url = own.url.replace("postgres@", f"postgres:{PASSWORD}@")
        own.stop()

        with serve(url) as host:
            wait_until(host.errors)

            with host.serving_its_own() as took:
                for number in range(1, 6):
                    status, seconds = host.deliver(number)
                    assert (status, seconds < 3.0) == (500, True)

                assert host.health() == (503, "no_database")

            assert max(took) < 0.5
            own.start()
            status, seconds = host.deliver(6)
            assert (status, seconds < 1.0) == (202, True)
            assert host.health() == (200, "ok")
            began = time.monotonic()
            wait_until(lambda: own.execute(CLAIMED))
            assert time.monotonic() - began < 2.0

        assert PASSWORD not in host.log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("user", "database", "remedy"),
    [
        (f"reader:{PASSWORD}", "nowhere", "there is no such database; create it"),
        (f"reader:{PASSWORD}", "postgres", "the user lacks a right; let an"),
        (f"stranger:{PASSWORD}", "postgres", "there is no such user; create it"),
    ],
)
def test_what_is_wrong_is_one_error_with_its_remedy(
    serve: Serve, server: Program, user: str, database: str, remedy: str
) -> None:
    with serve(f"postgresql://{user}@127.0.0.1:{server.port}/{database}") as host:
        wait_until(host.errors)
        time.sleep(7.0)  # longer than the pause of workers: they say it once
        (line,) = host.errors()
        assert remedy in line
        assert "CHATWOOT_DATABASE_URL" in line
        assert host.deliver(1)[0] == 500
        assert host.health() == (503, "no_database")

    assert PASSWORD not in host.log.read_text()


@pytest.mark.slow
def test_a_worker_that_is_started_too_early_says_so_once_and_works_later(
    start: Start,
) -> None:
    with postgresql() as own:
        own.stop()
        work = ("flask", "--app", "outage_app", "chatwoot", "work")

        with start(own.url, *work) as log:
            wait_until(lambda: errors_in(log))
            time.sleep(3.0)  # several more tries
            own.start()
            began = time.monotonic()
            wait_until(lambda: own.execute(TABLES) == [("of_the_test",)])
            wait_until(lambda: own.execute("SELECT 1 FROM of_the_test.worker"))
            assert time.monotonic() - began < 3.0
            (line,) = errors_in(log)

    assert "the server cannot be reached; check that it runs" in line


# -- a database that does not answer -----------------------------------------------

Obstacle = t.Callable[[Program, Relay], contextlib.AbstractContextManager[object]]


def held(statement: str) -> Obstacle:
    """A transaction of another program, which holds a lock."""

    @contextlib.contextmanager
    def hold(server: Program, relay: Relay) -> t.Iterator[None]:
        with server.connect(autocommit=False) as other:
            other.execute(statement)
            yield

    return hold


@contextlib.contextmanager
def stalled(server: Program, relay: Relay) -> t.Iterator[None]:
    """No byte passes, on connections that are open as on new ones."""
    relay.stall()

    try:
        yield
    finally:
        relay.join()


def frozen(server: Program, relay: Relay) -> contextlib.AbstractContextManager[object]:
    return server.frozen()


OBSTACLES: t.Final[dict[str, Obstacle]] = {
    "the conversation is locked": held(
        "SELECT pg_advisory_xact_lock(hashtextextended("
        "'flask_chatwoot:of_the_test:1:7', 0))"
    ),
    "the table is locked": held("LOCK TABLE of_the_test.job"),
    "the network is stalled": stalled,
    "the server is frozen": frozen,
}


@pytest.mark.slow
@pytest.mark.parametrize("obstacle", OBSTACLES.values(), ids=OBSTACLES)
def test_a_delivery_is_refused_in_three_seconds_while_the_database_waits(
    serve: Serve, server: Program, obstacle: Obstacle
) -> None:
    server.execute("DROP SCHEMA IF EXISTS of_the_test CASCADE")

    with Relay(server.port) as relay:
        url = f"postgresql://postgres@127.0.0.1:{relay.port}/postgres"

        with serve(url) as host:
            assert host.deliver(6)[0] == 202

            with obstacle(server, relay):
                took = [host.deliver(7) for _ in range(2)]

            assert {status for status, _ in took} == {500}
            # Half a second is for a machine that runs other tests.
            assert max(seconds for _, seconds in took) < 3.5
            assert host.deliver(7)[0] == 202


# -- another server takes over -----------------------------------------------------


@pytest.mark.slow
def test_an_app_goes_on_with_the_standby_that_takes_over(serve: Serve) -> None:
    """Its URL names both, and nobody restarts it."""
    with postgresql() as primary, standby(primary) as second:
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{second.port}"

        with serve(f"postgresql://postgres@{hosts}/postgres") as host:
            assert host.deliver(1)[0] == 202
            wait_until(lambda: second.execute(TABLES))
            wait_until(lambda: second.execute(RECEIVED) == [(1,)])
            primary.stop()
            status, seconds = host.deliver(2)
            assert (status, seconds < 3.5) == (500, True)

            assert second.execute("SELECT pg_promote()") == [(True,)]
            began = time.monotonic()
            wait_until(lambda: host.deliver(2)[0] == 202)
            assert time.monotonic() - began < 5.0
            assert host.deliver(1)[0] == 200  # a duplicate: it was not lost
            wait_until(lambda: len(second.execute(CLAIMED)) == 2)
            assert "failover" in host.figures()

        assert "Another server of PostgreSQL has taken over" in host.log.read_text()
