"""The database is read for long, locked by another program, or on a full disk."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from support.apps import AppFactory, work
from support.deliveries import echo
from support.stories import QUESTION
from support.workers import (
    ANSWER,
    RawChatwoot,
    Worker,
    all_ended,
    comes_true,
    served,
    settings_of,
)

from flask_chatwoot import Chatwoot, ChatwootError, after_post
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.testing import customer_message, deliver

HEALTH: t.Final = "/chatwoot/health"
STORES: t.Final[dict[str, t.Any]] = {
    "backend": "thread",
    "workers": 0,
    "retry_pause": 0.05,
    "typing": False,
}
"""The settings of an app that stores deliveries and works off none."""


# -- reading beside deliveries --------------------------------------------------------


class Reader(threading.Thread):
    """A request for figures that stops inside its first look into the database.

    :ivar status: Of the answer, once there is one.
    """

    def __init__(self, app: Flask) -> None:
        super().__init__()
        self.status: int | None = None
        self._app = app
        self._looks = threading.Event()
        self._may_go_on = threading.Event()

    def connect(self, *args: t.Any, **options: t.Any) -> sqlite3.Connection:
        """Stand in for :func:`sqlite3.connect`."""
        db: sqlite3.Connection = _connect(*args, **options)
        db.set_trace_callback(self._pause)

        return db

    def run(self) -> None:
        bearer = {"Authorization": "Bearer token-of-a-monitor"}
        self.status = self._app.test_client().get(HEALTH, headers=bearer).status_code

    @contextlib.contextmanager
    def inside(self) -> t.Iterator[None]:
        """The time in which the database is read."""
        self.start()

        try:
            comes_true(lambda: self._looks.is_set() or not self.is_alive(), within=5)

            yield
        finally:
            self._may_go_on.set()
            self.join()

    def _pause(self, statement: str) -> None:
        is_look = statement.lstrip().upper().startswith(("SELECT", "WITH"))

        if threading.current_thread() is self and is_look:
            self._looks.set()
            self._may_go_on.wait(10)


_connect = sqlite3.connect


@pytest.mark.slow
def test_a_delivery_is_accepted_while_health_reads_the_database(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(backend="thread", workers=0, health_token="token-of-a-monitor")
    reader = Reader(app)
    monkeypatch.setattr(sqlite3, "connect", reader.connect)

    with reader.inside():
        delivery = deliver(app.test_client(), customer_message(QUESTION, mode="bot"))

    assert reader.status == 200
    assert delivery.status_code == 202


# -- another program that writes ------------------------------------------------------


@contextlib.contextmanager
def written_by_another(folder: Path) -> t.Iterator[None]:
    """Hold the lock that a backup or a VACUUM holds while it works."""
    (path,) = folder.glob("*.sqlite3")
    db = sqlite3.connect(path, isolation_level=None, timeout=5)
    db.execute("BEGIN IMMEDIATE")

    try:
        yield
    finally:
        db.execute("ROLLBACK")
        db.close()


@pytest.mark.slow
def test_a_question_that_came_while_the_database_was_locked_is_answered(
    make_app: AppFactory, tmp_path: Path
) -> None:
    with Simulator() as sim:
        app = make_app(**settings_of(sim), **STORES, catch_up=1)

        with served(app) as webhook, Worker(app):
            sim.connect(webhook)
            talk = sim.conversation(custom_attributes={"support_mode": "bot"})
            talk.customer_says("Hello")
            sim.wait_until(lambda: talk.replies == [ANSWER], timeout=20)
            sim.drain()

            with written_by_another(tmp_path):
                talk.customer_says(QUESTION)
                sim.drain()

            comes_true(lambda: len(talk.replies) > 1, within=4)

    assert talk.replies == [ANSWER, ANSWER]


# -- a full disk ----------------------------------------------------------------------


class Disk:
    """The disk of this process, as far as it can be written to."""

    def __init__(self) -> None:
        self._resource = pytest.importorskip("resource", reason="needs POSIX limits")
        self._limits = self._resource.getrlimit(self._resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        """Let every write to a file fail."""
        self._limit(0)

    def free(self) -> None:
        self._limit(self._limits[0])

    def _limit(self, size: int) -> None:
        self._resource.setrlimit(self._resource.RLIMIT_FSIZE, (size, self._limits[1]))


@pytest.fixture
def disk() -> t.Iterator[Disk]:
    disk = Disk()
    yield disk
    disk.free()


@pytest.mark.slow
def test_a_post_that_could_not_be_noted_on_a_full_disk_is_not_repeated(
    make_app: AppFactory, chatwoot: Chatwoot, disk: Disk
) -> None:
    chatwoot.reply_provider(lambda text: ANSWER)

    with RawChatwoot() as there:
        there.lists = False
        timing = {"lease": 4.4, "timeout": 0.2, "settle_time": 1.5}
        app = make_app(chatwoot, base_url=there.url, **STORES, **timing)
        attempted = threading.Event()

        def handle() -> bool:
            with contextlib.suppress(ChatwootError):
                work(app)
                return all_ended(app)

            return False

        deliver(app.test_client(), customer_message(QUESTION, mode="bot"))
        there.on_create = disk.fill
        worker = threading.Thread(target=handle)

        def on_attempt(sender: Flask, **values: t.Any) -> None:
            attempted.set()

        with after_post.connected_to(on_attempt, sender=app):
            worker.start()
            attempted.wait(2)

        deliver(app.test_client(), echo(there.made[0], mode="bot"))
        there.on_create = lambda: None
        disk.free()
        worker.join()
        comes_true(handle, within=8)

    assert there.public == [ANSWER]
