"""The processes of an app on one machine, to kill, freeze and start again."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import typing as t
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


class Machine:
    """Runs one server and two processes of ``flask chatwoot work``.

    :param env: Settings of the app.
    :ivar url: Where the server listens.
    """

    def __init__(self, folder: Path, env: t.Mapping[str, str], server: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])

        self.url = f"http://127.0.0.1:{port}"
        self._clock = folder / "clock"
        self._log = folder / "log"
        self._env = {**os.environ, **env, "CHAOS_CLOCK": str(self._clock)}
        self._commands = {
            "server": [each.replace("PORT", port) for each in SERVERS[server]],
            "worker 1": WORK,
            "worker 2": WORK,
        }
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.set_clock(0.0)
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

    def freeze(self, name: str) -> None:
        """Stop a process, or its newest child, as a whole; see ``chaos_app``."""
        *others, newest = _pids(self._running[name])

        if others or self._commands[name][0] != "gunicorn":  # which upgrades itself
            _send(newest, signal.SIGUSR2)

    def thaw(self) -> None:
        """Let every frozen process go on."""
        for process in self._running.values():
            for pid in _pids(process):
                _send(pid, signal.SIGCONT)

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
