"""A broker, and Celery's workers and beat in processes of their own."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import typing as t
import uuid
from pathlib import Path

import pytest
import redis
from celery import Celery, Task
from flask import Flask

from .postgresql import free_port
from .waiting import wait_until

REDIS: t.Final = os.environ.get("CHATWOOT_TEST_REDIS", "redis://127.0.0.1:6379/9")

PROGRAM: t.Final = "support.programs.celery_host:celery_app"


def celery_init_app(app: Flask) -> Celery:
    """As Flask's documentation teaches it."""

    class FlaskTask(Task):  # type: ignore[type-arg]
        def __call__(self, *args: object, **kwargs: object) -> object:
            with app.app_context():
                return self.run(*args, **kwargs)

    celery_app: Celery = Celery(app.name, task_cls=FlaskTask)
    celery_app.config_from_object(app.config["CELERY"])
    celery_app.set_default()
    app.extensions["celery"] = celery_app

    return celery_app


class Broker:
    """The keys of one test in Redis.

    :ivar url: For Celery.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"test-{uuid.uuid4().hex}:"
        self._redis = redis.Redis.from_url(url)
        # What an app publishes when it is dismantled comes after the end of the test.
        atexit.register(self.close)

    @property
    def settings(self) -> dict[str, t.Any]:
        """Celery's settings with it."""
        return {
            "broker_url": self.url,
            "broker_transport_options": {"global_keyprefix": self.prefix},
            "broker_connection_retry_on_startup": True,
            "worker_hijack_root_logger": False,
        }

    def waiting(self, queue: str = "celery") -> int:
        """The number of tasks in a queue."""
        return self._redis.llen(f"{self.prefix}{queue}")

    def tasks(self, queue: str = "celery") -> list[dict[str, t.Any]]:
        """The headers of the tasks in a queue, newest first."""
        rows = t.cast(list[bytes], self._redis.lrange(f"{self.prefix}{queue}", 0, -1))

        return [json.loads(row)["headers"] for row in rows]

    def lose_all(self) -> None:
        """Take everything out of it."""
        for key in self._redis.scan_iter(f"*{self.prefix.strip(':')}*"):
            self._redis.delete(key)

    def close(self) -> None:
        self.lose_all()
        self._redis.close()


@functools.cache
def redis_url() -> str:
    """A Redis that answers, which is started if there is none; or a skipped test."""
    if _answers(REDIS):
        return REDIS

    program = shutil.which("redis-server", path=f"{os.environ['PATH']}:/usr/sbin")

    if program is None:
        pytest.skip(f"No Redis answers at {REDIS}, and redis-server is not installed.")

    port = free_port()
    server = subprocess.Popen(
        [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
        cwd=tempfile.gettempdir(),
        stdout=subprocess.DEVNULL,
    )
    atexit.register(server.wait)
    atexit.register(server.terminate)
    url = f"redis://127.0.0.1:{port}/9"
    wait_until(lambda: _answers(url))

    return url


def _answers(url: str) -> bool:
    with (
        contextlib.suppress(redis.ConnectionError),
        contextlib.closing(redis.Redis.from_url(url)) as server,
    ):
        return bool(server.ping())

    return False


@contextlib.contextmanager
def broker() -> t.Iterator[Broker]:
    """The keys of a block in Redis, which are deleted after it."""
    with contextlib.closing(Broker(redis_url())) as made:
        yield made


@contextlib.contextmanager
def frozen_server() -> t.Iterator[str]:
    """A server that accepts connections and never answers; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


class Process:
    """A process of Celery's command, in the context of an app of this process.

    :param command: ``worker``, ``beat``, and options.
    """

    def __init__(
        self, app: Flask, folder: Path, *command: str, **environment: str
    ) -> None:
        settings = {
            key: str(value)
            for key, value in app.config.items()
            if key.startswith("CHATWOOT_")
        }
        self._log = folder / f"{command[0]}-{uuid.uuid4().hex[:6]}.log"
        tests = Path(__file__).parents[1]
        path = [str(tests), str(tests.parent), os.environ.get("PYTHONPATH", "")]

        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "--app", PROGRAM, "--quiet"),
                    *(*command, "--loglevel", "INFO"),
                ],
                cwd=folder,
                env={
                    **os.environ,
                    **settings,
                    "PYTHONPATH": os.pathsep.join(filter(None, path)),
                    "CELERY": json.dumps(app.config["CELERY"]),
                    "CALLS": str(folder / "calls"),
                    "PROVIDER_SECONDS": "0",
                    "FIRST_SECONDS": "0",
                    "FAILURES": "0",
                    **environment,
                },
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

        self._process.wait(10)

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text(encoding="utf-8")

    def finish(self) -> int:
        """End it as a service manager does; its exit code."""
        self._process.terminate()

        return self._process.wait(20)


def worker(
    app: Flask, folder: Path, pool: str = "threads", **environment: str
) -> Process:
    """A worker with two slots."""
    return Process(
        app,
        folder,
        *("worker", "--pool", pool, "--concurrency", "2"),
        *("--without-mingle", "--without-gossip"),
        **environment,
    )


def beat(app: Flask, folder: Path) -> Process:
    """What publishes the periodic tasks."""
    return Process(app, folder, "beat", "--schedule", str(folder / "schedule"))
