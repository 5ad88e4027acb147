"""The processes of an app on one machine, to kill, freeze and start again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
import typing as t
from collections import Counter
from pathlib import Path

PROGRAMS: t.Final = Path(__file__).parent / "programs"
SERVERS: t.Final[t.Mapping[str, t.Sequence[str]]] = {
    "gunicorn": (
        *("gunicorn", "chaos_app:app", "--workers", "2", "--worker-class", "gthread"),
        *("--threads", "4", "--log-level", "critical", "--bind", "127.0.0.1:PORT"),
    ),
    "flask-run": ("flask", "--app", "chaos_app", "run", "--port", "PORT"),
}
WORK: t.Final = ("flask", "--app", "chaos_app", "chatwoot", "work")

PUBLISHED: t.Final = "published"
"""The queue into which apps publish Celery's tasks."""

CONSUMED: t.Final = "consumed"
"""The queue from which workers take them."""

_CELERY: t.Final = ("celery", "--app", "chaos_app:celery_app", "--quiet")
CELERY: t.Final = (
    *(*_CELERY, "worker", "--pool", "threads", "--concurrency", "4"),
    *("--without-mingle", "--without-gossip", "--queues", CONSUMED),
)
BEAT: t.Final = (*_CELERY, "beat", "--schedule", "FOLDER/schedule")

FREEZE: t.Final = signal.SIGUSR2
FREEZE_IN_TRANSACTION: t.Final = signal.SIGURG
"""What ``chaos_app`` understands."""

Accidents = t.Mapping[str, t.Callable[[t.Any], object]]
"""What can happen to a host: the name of a step to what does it."""


class Stop(t.NamedTuple):
    """A time during which a process may have been frozen, by the monotonic clock."""

    pid: int
    since: float
    until: float


class Machine:
    """Runs one server and some workers.

    :param folder: Of this machine alone; the processes keep their records there.
    :param env: Settings of the app.
    :param work: The commands of the workers.
    :param ahead: Seconds by which its clock is ahead of the true time.
    :ivar urls: Where the server listens.
    :ivar accidents: What can happen to it.
    :ivar stops: When which process was frozen.
    :ivar seen: How many processes were found frozen.
    """

    def __init__(
        self,
        folder: Path,
        env: t.Mapping[str, str],
        server: str,
        work: t.Sequence[t.Sequence[str]] = (WORK, WORK),
        ahead: float = 0.0,
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])

        self.urls = [f"http://127.0.0.1:{port}"]
        self.stops: list[Stop] = []
        self.seen: Counter[str] = Counter()
        self.accidents: Accidents = {
            "kill": self.kill,
            "kill child": self.kill_child,
            "restart": lambda _: self.start_missing(),
            "freeze": self.freeze,
            "thaw": self.thaw,
            "clock": self.set_clock,
        }
        self._clock = folder / "clock"
        self._log = folder / "log"
        self._env = {**os.environ, **env, "CHAOS_FOLDER": str(folder)}
        self._commands = {
            "server": [each.replace("PORT", port) for each in SERVERS[server]],
            **{
                f"worker {number}": [
                    each.replace("FOLDER", str(folder)) for each in one
                ]
                for number, one in enumerate(work, start=1)
            },
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._frozen: dict[int, float] = {}
        self.set_clock(ahead)
        self.start_missing()

    def set_clock(self, ahead: float) -> None:
        """Let the time of all processes be ahead of the true one, or behind it."""
        new = self._clock.with_suffix(".new")
        new.write_text(str(ahead))
        new.replace(self._clock)

    def start_missing(self) -> None:
        """Start what has ended."""
        for name, command in self._commands.items():
            process = self._running.get(name)

            if process is None or process.poll() is not None:
                with self._log.open("ab") as log:
                    self._running[name] = subprocess.Popen(
                        [sys.executable, "-m", *command],
                        cwd=PROGRAMS,
                        env=self._env,
                        process_group=0,
                        stdout=subprocess.DEVNULL,
                        stderr=log,
                    )

    def recover(self) -> None:
        """Let everything run."""
        self.thaw()
        self.start_missing()

    def kill(self, name: str) -> None:
        """Kill a process with its children."""
        process = self._running[name]

        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)

    def kill_child(self, name: str) -> None:
        """Kill a child of a process, which starts another; without one, itself."""
        process, *children = _pids(self._running[name])
        _send(random.choice(children or [process]), signal.SIGKILL)  # noqa: S311

    def freeze(self, name: str, how: signal.Signals = FREEZE) -> None:
        """Stop a process, or its newest child, as a whole; see ``chaos_app``."""
        *others, newest = _pids(self._running[name])

        if others or self._commands[name][0] != "gunicorn":  # which upgrades itself
            self._frozen.setdefault(newest, time.monotonic())
            _send(newest, how)

    def thaw(self, name: str | None = None) -> None:
        """Let a frozen process go on; ``None``: every one."""
        names = self._running if name is None else [name]

        for pid in (pid for each in names for pid in _pids(self._running[each])):
            if pid in self._frozen:
                self.seen["frozen"] += _is_stopped(pid)

            _send(pid, signal.SIGCONT)
            since = self._frozen.pop(pid, None)

            if since is not None:
                self.stops.append(Stop(pid, since, time.monotonic()))

    def close(self) -> None:
        for name in self._running:
            self.kill(name)


def _pids(process: subprocess.Popen[bytes]) -> list[int]:
    """Of a process and its children."""
    with contextlib.suppress(OSError):
        path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        return [process.pid, *map(int, path.read_text().split())]

    return [process.pid]


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state == "T"

    return False
