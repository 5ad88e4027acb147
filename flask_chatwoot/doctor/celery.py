"""Checks of Celery, where it runs the turns: broker, sweeps, time limits."""

from __future__ import annotations

import typing as t

from flask_chatwoot.errors import ConfigError, DatabaseError

from .facts import DoctorContext, Finding, Findings, failed, passed, warned

if t.TYPE_CHECKING:
    from flask_chatwoot.celery import CeleryBackend

_BROKER_WITHIN: t.Final = 5.0

_LATE: t.Final = 30.0
"""Seconds since the last sweep from which there is a warning."""

_REQUEST: t.Final = 5.0
"""Seconds that a turn needs beside its provider and the longest request."""

_PROVIDER: t.Final = 30.0
"""Seconds that a provider should have at least."""


def celery(context: DoctorContext) -> Findings:
    """Celery's broker, workers and beat are there, and let a turn end."""
    if context.config.backend != "celery":
        return

    backend = t.cast("CeleryBackend", context.runtime.configured.backend)

    try:
        yield _broker(backend)
        yield from _limits(context, backend)
    except ConfigError as error:
        yield failed("broker", str(error), "Until then no worker is woken.")

    try:
        yield _sweep(context.store.wakes.age())
    except DatabaseError:  # reported by the check of the database
        return


def _broker(backend: CeleryBackend) -> Finding:
    problem = backend.problem_of_broker(within=_BROKER_WITHIN)

    if problem is None:
        return passed("broker", "Celery's broker answers.")

    return failed(
        "broker",
        f"Celery's broker does not answer ({problem}).",
        "Is broker_url right, and does the broker run? Until then, flask chatwoot work "
        "answers.",
    )


def _limits(context: DoctorContext, backend: CeleryBackend) -> Findings:
    limit = backend.time_limit()

    if limit is None:
        return

    rest = limit - context.config.timeout - _REQUEST
    what = (
        f"Celery ends a task after {limit:g} s: beside CHATWOOT_TIMEOUT and "
        f"{_REQUEST:g} s, this leaves {max(0.0, rest):g} s to the provider."
    )

    if rest < _PROVIDER:
        yield warned(
            "limits",
            what,
            "If that may be too short, raise task_time_limit and task_soft_time_limit, "
            "or set both for flask_chatwoot.wake in task_annotations.",
        )
    else:
        yield passed("limits", what)


def _sweep(age: float | None) -> Finding:
    remedy = "Run celery worker and celery beat with the app; one beat in all."

    if age is None:
        return warned("sweep", "No worker of Celery has made a sweep yet.", remedy)

    if age > _LATE:
        return warned("sweep", f"The last sweep was {age:.0f} s ago.", remedy)

    return passed("sweep", f"The last sweep was {age:.0f} s ago.")
