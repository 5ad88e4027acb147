"""Fixtures that several test files share."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support import databases
from support.apps import AppFactory, Scene, dismantle
from support.chatwoot import BASE_URL, TOKEN, ChatwootStub, chatwoot_stub
from support.deliveries import SECRET
from support.queue import open_store
from support.waiting import Clock

from flask_chatwoot import Chatwoot
from flask_chatwoot.queue.store import Store

pytest_plugins = ["flask_chatwoot.testing", "support.simulation", "support.stories"]
# The first as if this package were not installed.

MEMORY: t.Final = "/dev/shm"  # noqa: S108 - a folder of pytest is made there
ROOM: t.Final = 2 * 1024**3
"""Bytes; a test makes a virtual environment."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database",
        choices=["sqlite", "postgresql"],
        default="sqlite",
        help="the database of all tests that are not about one of them",
    )


def pytest_configure(config: pytest.Config) -> None:
    # No turn waits for further messages, but in tests that are about that.
    os.environ["CHATWOOT_BURST_WINDOW"] = "0"

    # Or each of hundreds of processes that tests start would compile the package.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    _keep_files_in_memory()

    databases.use(config.getoption("--database"))

    # One for all processes of a run, which this one starts.
    if databases.kind == "postgresql" and not hasattr(config, "workerinput"):
        databases.serve()


def _keep_files_in_memory() -> None:
    """Let ``tmp_path`` be in memory, where that has room.

    No test cuts the power, and to wait for the disk took half of the time.
    """
    if sys.platform != "linux" or not os.access(MEMORY, os.W_OK):
        return

    there = os.statvfs(MEMORY)
    runs_programs = not there.f_flag & os.ST_NOEXEC  # as Docker's does not

    if runs_programs and there.f_bavail * there.f_frsize >= ROOM:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    other = "sqlite" if databases.kind == "postgresql" else "postgresql"
    left_out = [item for item in items if item.get_closest_marker(other)]

    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in {*left_out}]

    # What takes long begins first, so that the processes of a run end together.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    # Thousands of tests, which each collection of garbage would look through.
    gc.freeze()


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # plugins look for garbage, and for who refers to what, at the end
    databases.drop_all()


@pytest.fixture(autouse=True)
def _empty_databases() -> t.Iterator[None]:
    yield
    databases.empty_all()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api() -> t.Iterator[ChatwootStub]:
    with chatwoot_stub() as stub:
        yield stub


@pytest.fixture
def make_app(tmp_path: Path) -> t.Iterator[AppFactory]:
    usual = {
        "base_url": BASE_URL,
        "account_id": 1,
        "api_access_token": TOKEN,
        "webhook_secret": SECRET,
        "copilot_token": "token-of-a-page",
        "backend": "inline",
        "database_sync": "normal",
        **databases.settings_of(tmp_path / "chatwoot.sqlite3"),
    }

    with contextlib.ExitStack() as stack:

        def make(chatwoot: Chatwoot | None = None, **settings: t.Any) -> Flask:
            app = Flask("host", instance_path=str(tmp_path / "instance"))
            app.testing = True
            app.config.update(
                {f"CHATWOOT_{k.upper()}": v for k, v in {**usual, **settings}.items()}
            )
            (chatwoot or Chatwoot()).init_app(app)
            stack.callback(dismantle, app)

            return app

        yield make


@pytest.fixture
def chatwoot() -> Chatwoot:
    return Chatwoot()


@pytest.fixture
def app(make_app: AppFactory, chatwoot: Chatwoot) -> Flask:
    return make_app(chatwoot)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def scene(
    app: Flask, client: FlaskClient, api: ChatwootStub, chatwoot: Chatwoot
) -> Scene:
    """The app, a client of it, its Chatwoot and its extension, in one."""
    return Scene(app, client, api, chatwoot)


# -- a store without an app --------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> str:
    path = str(tmp_path / "chatwoot.sqlite3")
    databases.reserve(path)

    return path


@pytest.fixture
def store(path: str, clock: Clock) -> t.Iterator[Store]:
    store = open_store(path, clock)
    yield store
    store.database.close()


@pytest.fixture
def neighbour(path: str, clock: Clock) -> t.Iterator[Store]:
    """The store of another account in the same file."""
    store = open_store(path, clock, account_id=2)
    yield store
    store.database.close()
