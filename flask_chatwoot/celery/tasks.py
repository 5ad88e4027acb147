"""The tasks, and the hooks of Celery's workers and of its beat.

The tasks are shared ones: every Celery app of the process has them, whenever it is
made.
"""

from __future__ import annotations

import typing as t

from celery import Task, shared_task, signals
from celery._state import connect_on_app_finalize, get_current_app

from flask_chatwoot.logs import about, logger

from .backend import CATCH_UP_FOR, all_backends, backends_of, limits_of, process
from .publisher import SWEEP, SWEEP_EVERY, WAKE, WAKE_EXPIRES

log = logger(__name__)

_ATTRIBUTES: t.Final[dict[str, t.Any]] = {
    "bind": True,
    "acks_late": False,
    "reject_on_worker_lost": False,
    "ignore_result": True,
    "store_errors_even_if_ignored": False,
    "track_started": False,
    "autoretry_for": (),
    "max_retries": 0,
    "serializer": "json",
}
"""Fixed, whatever the host has configured for its own tasks."""


@shared_task(name=WAKE, expires=WAKE_EXPIRES, **_ATTRIBUTES)
def wake(task: Task[..., None], account_id: int, conversation_id: int) -> None:
    """Handle at most one job of a conversation."""
    found = [each for each in backends_of(task.app) if each.account_id == account_id]

    if not found:
        with about(conversation_id):
            log.warning("no app of this worker answers in account %d", account_id)

    for backend in found:
        backend.handle(conversation_id, sweeps=not task.request.is_eager)


@shared_task(name=SWEEP, expires=SWEEP_EVERY, **_ATTRIBUTES)
def sweep(task: Task[..., None]) -> None:
    """Wake what is due and was not woken, and look for what was not delivered."""
    seconds = min([CATCH_UP_FOR, *(each / 2 for each in limits_of(task))])

    for backend in backends_of(task.app):
        backend.sweep(seconds)


# -- hooks -----------------------------------------------------------------------------


@signals.import_modules.connect
def _schedule(sender: t.Any, **_: object) -> None:
    """Add the sweep, late: a host may write its beat_schedule at the end."""
    for backend in backends_of(sender):
        backend.schedule(sender)


@connect_on_app_finalize
def _schedule_later(celery_app: t.Any) -> None:
    """The same for hosts whose Flask app is in a module that Celery imports itself."""
    if celery_app.configured:
        _schedule(celery_app)


@signals.worker_ready.connect
def _on_ready(sender: t.Any, **_: object) -> None:
    """Sweep when a worker starts: jobs may wait since long ago."""
    worker = sender.controller
    is_here = not worker.pool_cls.__module__.endswith((".prefork", ".solo"))

    if is_here:
        process.threads = worker.concurrency

    for backend in backends_of(sender.app):
        backend.wake()

        if is_here:
            backend.begin()


@signals.worker_process_init.connect
def _on_process(**_: object) -> None:
    """A process of the pool starts."""
    process.threads = 1

    for backend in backends_of(get_current_app()):
        backend.begin()


@signals.worker_process_shutdown.connect
@signals.worker_shutdown.connect
def _on_shutdown(**_: object) -> None:
    for backend in all_backends():
        backend.close()
