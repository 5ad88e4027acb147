"""Checks of PostgreSQL, where several machines share the database."""

from __future__ import annotations

import typing as t

from flask_chatwoot.errors import DatabaseError

from .facts import DoctorContext, Finding, Findings, passed, warned

if t.TYPE_CHECKING:
    from flask_chatwoot.queue.postgresql.database import PostgreSQLDatabase
    from flask_chatwoot.queue.postgresql.overview import Overview

_SKEW: t.Final = 5.0
"""Seconds. A larger difference of the clocks gets a warning."""


def postgresql(context: DoctorContext) -> Findings:
    """The tables can be used, and machines hear of each other's jobs."""
    if context.config.database_address is None:
        return

    # Needs an extra.
    from flask_chatwoot.queue.postgresql.overview import hears, overview

    database = t.cast("PostgreSQLDatabase", context.store.database)

    try:
        seen = overview(database)
        heard = hears(database)
    except DatabaseError:  # reported by the check of the database
        return

    yield passed(
        "tables",
        f"PostgreSQL {seen.server} has the tables of version {seen.version} in the "
        f"schema {database.schema}.",
    )
    yield _skew(seen.skew)
    yield _notifications(heard)

    if seen.machines:  # that none works is a finding of the check of the workers
        yield _machines(seen)

    yield _connections(seen)


def _skew(skew: float) -> Finding:
    side = "behind" if skew < 0 else "ahead of"
    what = f"The database's clock is {abs(skew):.1f} s {side} this machine's."

    if abs(skew) > _SKEW:
        return warned("skew", what, "Synchronise both clocks (NTP).")

    return passed("skew", what)


def _notifications(heard: bool | None) -> Finding:
    if heard is None:
        return warned(
            "notifications",
            "It is unknown whether notifications (LISTEN) arrive: the database was "
            "too slow.",
            "Run flask chatwoot doctor again.",
        )

    if not heard:
        return warned(
            "notifications",
            "Notifications (LISTEN) do not arrive, so workers look every second.",
            "That is right behind PgBouncer in transaction mode. Elsewhere, and if a "
            "second matters, connect to PostgreSQL itself.",
        )

    return passed("notifications", "Notifications (LISTEN) arrive.")


def _machines(seen: Overview) -> Finding:
    each = [
        f"{machine.processes} on {machine.name} ({machine.threads} threads)"
        for machine in seen.machines
    ]

    return passed("machines", f"Processes that work: {', '.join(each)}.")


def _connections(seen: Overview) -> Finding:
    who = "The processes that work" if seen.machines else "A process that works"
    what = (
        f"{who} may open {seen.wanted} connections; the server allows {seen.allowed}, "
        f"and other users have {seen.others}."
    )

    if seen.wanted + seen.others > seen.allowed:
        return warned(
            "connections",
            what,
            "Raise max_connections, run fewer processes or threads, or put PgBouncer "
            "in front of the server.",
        )

    return passed("connections", what)
