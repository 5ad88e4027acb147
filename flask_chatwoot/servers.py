"""The servers that run an app: when it may start its workers, and SIGTERM.

Workers must not start before the app's import has ended, nor in a process that merely
imports the app, or that forks those that serve. gunicorn and ``flask run`` are
recognised by their functions that import the app, and each has a moment when it is
ready. Other servers have none that an app could know.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
import types
import typing as t

import click
from flask.cli import FlaskGroup, ScriptInfo
from flask.helpers import get_debug_flag

from .background import (
    Forkable,
    is_patched_since,
    new_thread,
    register_for_forks,
    try_to_start,
)
from .errors import ConfigError

Callback = t.Callable[[], object]

_POLL: t.Final = 0.05
"""Seconds between two looks whether ``flask run`` has imported the app."""


# -- ready to serve ----------------------------------------------------------------


def call_when_ready(start: Callback) -> None:
    """Call a function when the server that imports the app now is ready.

    It is called once in each process that serves requests, and never in others. Nothing
    happens under servers that do not say when they are ready.
    """
    worker = _found("gunicorn.workers.base", "load_wsgi", local="self")

    if worker is not None:
        _call_after_init(worker, start)
    elif (run := _flask_run()) is not None and _serves(run):
        _call_after_import(run.find_object(ScriptInfo), start)


def call_when_ready_in_child(start: Callback) -> None:
    """The same for a process that was forked just now, after the import of the app.

    Children that a provider forks are not meant: only gunicorn's own, with
    ``--preload``.
    """
    forked_by = next(_frames(but=_FORKS), None)

    if forked_by is not None and _is_in(forked_by, "gunicorn.arbiter", "spawn_worker"):
        _call_after_init(forked_by.f_locals["worker"], start)


_FORKS: t.Final = ("flask_chatwoot", "gevent")
"""Packages whose functions are called between ``os.fork`` and this module."""


def is_importing() -> bool:
    """Whether a server imports the app now that says later when it is ready."""
    return (
        _found("gunicorn.app.base", "wsgi", local="self") is not None
        or _found("gunicorn.app.wsgiapp", "load", local="self") is not None
        or _flask_run() is not None
    )


def never_serves() -> bool:
    """Whether this process only imports the app, and no server will call it.

    That is so for Celery's commands, and for children that a provider starts with
    :mod:`multiprocessing`: those that spawn import the app's module once more.
    """
    context = click.get_current_context(silent=True)
    command = context and context.find_root().command
    process = sys.modules.get("multiprocessing.process")  # which every child has loaded
    packages = {_package_of(frame) for frame in _frames()}

    return type(command).__module__.startswith("celery.") or (
        process is not None
        and process.parent_process() is not None
        and packages.isdisjoint(_SPAWN_WORKERS)
    )


_SPAWN_WORKERS: t.Final = ("uvicorn", "hypercorn", "granian")
"""Servers whose workers are children of that kind too."""


def call_here(start: Callback) -> None:
    """Call a function now, or in the processes that serve if this one only forks them.

    uWSGI imports the app before it forks, unless it has ``--lazy-apps``, and calls a
    hook in each child. Python's own hooks for forks are not called there.
    """
    uwsgi: t.Any = sys.modules.get("uwsgi")  # exists in its processes only

    if uwsgi is None or uwsgi.worker_id():
        start()
        return

    former = getattr(uwsgi, "post_fork_hook", None)

    def post_fork_hook() -> None:
        if former is not None:
            former()

        if uwsgi.worker_id():
            start()

    uwsgi.post_fork_hook = post_fork_hook


def _call_after_init(worker: t.Any, start: Callback) -> None:
    """Add to a hook of gunicorn's, which a worker calls before it serves requests.

    By then the app is imported, and the user is the configured one
    (``gunicorn/workers/base.py``). The configuration is this process's own.
    """
    former = worker.cfg.post_worker_init

    def post_worker_init(worker: t.Any) -> None:
        _refuse_late_patch()
        former(worker)
        start()

    worker.cfg.set("post_worker_init", post_worker_init)


def _refuse_late_patch() -> None:
    if is_patched_since():
        raise ConfigError(
            "gunicorn's worker has patched Python's threads after --preload imported "
            "the app, whose locks would block all requests. Leave --preload out, or "
            "begin gunicorn.conf.py with: from gevent import monkey; "
            "monkey.patch_all()"
        )


def _flask_run() -> click.Context | None:
    """The context of ``flask run``, in processes that it runs in."""
    context = click.get_current_context(silent=True)

    if context is None:
        return None

    root = context.find_root()
    runs = isinstance(root.command, FlaskGroup) and root.invoked_subcommand == "run"

    return context if runs else None


def is_watching() -> bool:
    """Whether this process only waits for changes of files, and its child serves."""
    run = _flask_run()

    return run is not None and not _serves(run)


def _serves(run: click.Context) -> bool:
    """Whether it serves requests itself; with the reloader, its child does."""
    reloads = run.params.get("reload")

    if reloads is None:
        reloads = get_debug_flag()

    return not reloads or _is_reloaded()


def _call_after_import(info: ScriptInfo | None, start: Callback) -> None:
    def wait() -> None:
        # Flask has no signal for that; it keeps the app once it is imported.
        while getattr(info, "_loaded_app", None) is None:
            time.sleep(_POLL)

        start()

    if hasattr(info, "_loaded_app"):
        try_to_start(new_thread(wait, "chatwoot-start"))


# -- SIGTERM -----------------------------------------------------------------------


def call_before_sigterm(stop: Callback, *, always: bool = False) -> None:
    """Call a function before SIGTERM ends the process, in a thread of its own.

    Only from the main thread, while the system or uvicorn handles the signal. Then the
    signal is sent again, to the former handler, as is a second one at once.

    :param always: Under any server; else only where one imports the app now that is
        known to need it.
    """
    if threading.current_thread() is not threading.main_thread():
        return

    if _is_abrupt() or (always and not _handles_signals_in_c()):
        _sigterm.handle(stop)


def is_ended_by_sigterm() -> bool:
    """Whether SIGTERM ends this process at once, whatever it does. In any thread.

    Werkzeug's reloader kills its child then (``werkzeug/_reloader.py``).
    """
    is_default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    return _is_reloaded() or (is_default and not _handles_signals_in_c())


def _is_reloaded() -> bool:
    """Whether this process is the child of Werkzeug's reloader."""
    return os.environ.get("WERKZEUG_RUN_MAIN") == "true"


def _handles_signals_in_c() -> bool:
    """Whether the server does; Python does not know of it then."""
    return not {"uwsgi", "mod_wsgi"}.isdisjoint(sys.modules)


def _is_abrupt() -> bool:
    """Whether a server imports the app now that ends in the middle of turns."""
    names = {frame.f_globals.get("__name__") for frame in _frames()}

    return not names.isdisjoint(_ABRUPT) or _flask_run() is not None


_ABRUPT: t.Final = {"waitress.runner", "uvicorn.config", "uvicorn.importer"}


class _Sigterm(Forkable):
    """The handler of SIGTERM, of which a process has one."""

    def __init__(self) -> None:
        self._former: t.Any = None
        self._stop: Callback = lambda: None
        register_for_forks(self)

    def handle(self, stop: Callback) -> None:
        former = signal.getsignal(signal.SIGTERM)

        if former is signal.SIG_DFL or _is_of_uvicorn(former):
            self._former = former
            self._stop = stop
            signal.signal(signal.SIGTERM, self._on_signal)

    def reset_in_child(self) -> None:
        """A provider's child process ends as if nothing had been changed."""
        if self._former is not None:
            signal.signal(signal.SIGTERM, self._former)
            self._former = None

    def _on_signal(self, number: int, frame: types.FrameType | None) -> None:
        signal.signal(number, self._former)
        self._former = None
        # A Thread may not be started here: the signal may have come while the main
        # thread starts another, and holds the lock for that.
        _thread.start_new_thread(self._finish, (number,))

    def _finish(self, number: int) -> None:
        try:
            self._stop()
        finally:
            os.kill(os.getpid(), number)


def _is_of_uvicorn(handler: t.Any) -> bool:
    """Whether it is uvicorn's, which raises the signal again when it has shut down."""
    return str(getattr(handler, "__module__", "")).startswith("uvicorn.")


_sigterm: t.Final = _Sigterm()


# -- the stack ---------------------------------------------------------------------


def _frames(*, but: t.Collection[str] = ()) -> t.Iterator[types.FrameType]:
    """The calls under way in this thread, innermost first.

    :param but: Leave out those of these packages.
    """
    frame: types.FrameType | None = sys._getframe(1)

    while frame is not None:
        if _package_of(frame) not in but:
            yield frame

        frame = frame.f_back


def _package_of(frame: types.FrameType) -> str:
    return str(frame.f_globals.get("__name__")).partition(".")[0]


def _is_in(frame: types.FrameType, module: str, function: str) -> bool:
    return (
        frame.f_globals.get("__name__") == module and frame.f_code.co_name == function
    )


def _found(module: str, function: str, *, local: str) -> t.Any:
    """A local variable of a call that is under way, or ``None`` without such a call."""
    for frame in _frames():
        if _is_in(frame, module, function):
            return frame.f_locals[local]

    return None
