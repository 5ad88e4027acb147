"""A Redis that can be frozen, and loses some of the tasks that it is given."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import typing as t
from collections import Counter
from pathlib import Path

import pytest
import redis

from .host import CONSUMED, PUBLISHED
from .postgresql import free_port
from .relay import HOST
from .waiting import wait_until

WAKE: t.Final = "flask_chatwoot.wake"

LOST: t.Final = 3
"""One wake in so many does not reach the workers."""


class Broker:
    """A Redis of its own. Between its two queues tasks are lost.

    :ivar url: For Celery.
    :ivar seen: How many tasks of which name were passed on, and how many were lost.
    """

    def __init__(self, folder: Path) -> None:
        program = shutil.which("redis-server")

        if program is None:
            pytest.skip("Redis is not installed.")

        port = free_port()
        self.url = f"redis://{HOST}:{port}/0"
        self.seen: Counter[str] = Counter()
        self._process = subprocess.Popen(
            [
                *(program, "--bind", HOST, "--port", str(port)),
                *("--save", "", "--appendonly", "no", "--dir", str(folder)),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._redis = redis.Redis.from_url(self.url, socket_timeout=None)
        wait_until(self._answers)
        threading.Thread(target=self._pass_on, daemon=True).start()

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError):
            return bool(self._redis.ping())

        return False

    def _pass_on(self) -> None:
        wakes = 0

        with contextlib.suppress(redis.ConnectionError):  # it was closed
            while True:
                _, task = t.cast("tuple[bytes, bytes]", self._redis.brpop([PUBLISHED]))
                name = json.loads(task)["headers"]["task"]
                wakes += name == WAKE

                if name == WAKE and wakes % LOST == 0:
                    self.seen["wakes lost"] += 1
                else:
                    self.seen[f"passed on: {name}"] += 1
                    self._redis.lpush(CONSUMED, task)

    def freeze(self) -> None:
        """Stop it; connections stay open, and nothing answers."""
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._process.pid, signal.SIGCONT)

    def close(self) -> None:
        self._process.kill()
        self._process.wait(10)
        self._redis.close()
