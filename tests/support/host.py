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
    "flask run": ("flask", "--app", "chaos_app", "run", "--port", "PORT"),
}
WORK: t.Final = ("flask", "--app", "chaos_app", "chatwoot", "work")


class Machine:
    """Runs one server and some processes of ``flask chatwoot work``.

    :param env: Settings of the app.
    :ivar url: Where the server listens.
    """

    def __init__(self, folder: Path, env: t.Mapping[str, str], *, server: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])

        self.url = f"http://127.0.0.1:{port}"
        self._clock = folder / "clock"
        self._log = (folder / "log").open("ab")
        self._env = {**os.environ, **env, "CHAOS_CLOCK": str(self._clock)}
        self._server = [each.replace("PORT", port) for each in SERVERS[server]]
        self.set_clock(0.0)
        self._running = {
            name: self._start(name) for name in ("server", "worker 1", "worker 2")
        }

    def set_clock(self, ahead: float) -> None:
        """Let the time of all processes be ahead of the true one, or behind it."""
        new = self._clock.with_suffix(".new")
        new.write_text(str(ahead))
        new.replace(self._clock)

    def kill(self, name: str, *, alone: bool = False) -> None:
        """Kill a process with its children.

        :param alone: Kill one child of it, if it has any, which it replaces.
        """
        process = self._running[name]

        if alone and (children := self._children(process.pid)):
            _send(random.choice(children), signal.SIGKILL)  # noqa: S311
            return

        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def start_missing(self) -> None:
        """Start again what has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                self._running[name] = self._start(name)

    def freeze(self, name: str) -> None:
        """Stop a process, or the first child of it, as soon as it makes no post."""
        pid = self._running[name].pid
        _send([*self._children(pid), pid][0], signal.SIGUSR2)

    def thaw(self) -> None:
        """Let every frozen process go on."""
        for process in self._running.values():
            for pid in (process.pid, *self._children(process.pid)):
                _send(pid, signal.SIGCONT)

    def close(self) -> None:
        for name, process in self._running.items():
            if process.poll() is None:
                self.kill(name)

        self._log.close()

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", *(self._server if name == "server" else WORK)],
            cwd=PROGRAMS,
            env=self._env,
            process_group=0,
            stdout=subprocess.DEVNULL,
            stderr=self._log,
        )

    @staticmethod
    def _children(pid: int) -> list[int]:
        with contextlib.suppress(OSError):
            found = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            return [int(each) for each in found.split()]

        return []


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
