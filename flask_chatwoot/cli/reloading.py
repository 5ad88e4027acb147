"""Restart a command in a new process whenever the app's code changes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import typing as t
from pathlib import Path

from .output import tell
from .stop import Stop

FOLDER: t.Final = "FLASK_CHATWOOT_RELOADING"
"""In the environment of the child: the folder that all children share."""

PARENT: t.Final = "FLASK_CHATWOOT_RELOADER"
"""In the environment of the child: the id of the process that started it."""

CHANGED: t.Final = 3
"""The child's exit code when it wants to be started again."""

POLL: t.Final = 0.3
"""Seconds between two looks at the files."""

Times = dict[str, float]


def shared_folder() -> str | None:
    """The folder that the children share; ``None``: this process is no child."""
    return os.environ.get(FOLDER)


def can_restart(group: str, command: str) -> bool:
    """Whether this process was started by this command, and not by a test runner."""
    return (group, command) in itertools.pairwise(sys.argv)


def supervise() -> t.NoReturn:
    """Run this command in child processes until one of them ends by itself.

    A child that cannot begin, because the new code is broken, is started again once a
    file has changed.
    """
    stop = Stop()

    with tempfile.TemporaryDirectory(prefix="flask-chatwoot-") as folder:
        files = Path(folder) / "files.json"
        code = _run(folder, stop)

        while not stop.wait(0) and (code == CHANGED or (code and files.exists())):
            if code != CHANGED:
                tell("The app could not be loaded. Waiting for a change.")
                _wait_for_change(json.loads(files.read_text(encoding="utf-8")), stop)

            if not stop.wait(0):
                tell("A file has changed. Loading the app anew.")

            code = _run(folder, stop)

    sys.exit(0 if stop.wait(0) else code)


def _run(folder: str, stop: Stop) -> int:
    """Run one child; its exit code."""
    command = [sys.executable, *sys.orig_argv[1:]]
    environment = {**os.environ, FOLDER: folder, PARENT: str(os.getpid())}

    with subprocess.Popen(command, env=environment) as child:  # noqa: S603 - ourselves
        while child.poll() is None:
            if stop.wait(POLL):
                child.terminate()
                break

    return child.returncode


def wait_for_change(stop: Stop, folder: str) -> None:
    """Block until the app's code has changed, or the process is to stop.

    It stops, too, when the process that started it was killed.

    :raises SystemExit: The code has changed.
    """
    times = _times(_own_files())
    _write(folder, times)

    while not (stop.wait(POLL) or _is_orphan()):
        if _has_changed(times):
            sys.exit(CHANGED)

        # What is imported later counts from then on.
        later = [file for file in _own_files() if file not in times]
        times.update(_times(later))

        if later:
            _write(folder, times)


def _is_orphan() -> bool:
    """Whether the process that started this one is gone.

    Windows does not tell: there, a process keeps the id of a parent that has ended.
    """
    return os.name == "posix" and os.getppid() != int(os.environ[PARENT])


def _wait_for_change(times: Times, stop: Stop) -> None:
    while not (_has_changed(times) or stop.wait(POLL)):
        pass


def _write(folder: str, times: Times) -> None:
    path = Path(folder) / "files.json"
    path.write_text(json.dumps(times), encoding="utf-8")


def _has_changed(times: Times) -> bool:
    return _times(times) != times


def _times(files: t.Iterable[str]) -> Times:
    """When each file was changed last; 0 for those that are gone."""
    return {
        file: os.stat(file).st_mtime if os.path.exists(file) else 0.0 for file in files
    }


def _own_files() -> list[str]:
    """The files of all modules that are neither Python's nor installed."""
    foreign = tuple({*sysconfig.get_paths().values()})
    files = [getattr(module, "__file__", None) for module in [*sys.modules.values()]]

    return [file for file in files if file and not file.startswith(foreign)]
