"""What an operator should know of a database that several machines share."""

from __future__ import annotations

import time
import typing as t

from .beats import DEAD_AFTER
from .database import PostgreSQLDatabase
from .listener import Listener
from .schema import VERSION

_PROBE: t.Final = 8.0
"""Seconds until it is known whether notifications arrive."""

_POLL: t.Final = 0.02

_BESIDE: t.Final = 3
"""Connections of a process for its beats, and to send and to get notifications."""

_SERVER: t.Final = """
SELECT current_setting('server_version'), (SELECT version FROM meta)
"""

_MACHINES: t.Final = f"""
SELECT process.machine, count(*), CAST(coalesce(sum(worker.threads), 0) AS bigint)
FROM process LEFT JOIN worker ON worker.account_id = process.account_id
    AND worker.name = process.name
WHERE process.account_id = :account AND process.beaten_at > :now - {DEAD_AFTER}
GROUP BY process.machine ORDER BY process.machine
"""  # noqa: S608 - from constants

_CONNECTIONS: t.Final = """
SELECT least(
    CAST(current_setting('max_connections') AS bigint)
        - CAST(current_setting('superuser_reserved_connections') AS bigint),
    (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user),
    (SELECT nullif(datconnlimit, -1) FROM pg_database
        WHERE datname = current_database())
), (
    SELECT count(*) FROM pg_stat_activity
    WHERE datid IS NOT NULL AND usename <> current_user
)
"""
"""How many the user may have, and how many others have."""


class Machine(t.NamedTuple):
    """A machine with processes that work.

    :ivar threads: Those of them that are known: a process reports them every ten
        seconds.
    """

    name: str
    processes: int
    threads: int


class Overview(t.NamedTuple):
    """What is true of a database at the moment.

    :ivar server: The version of PostgreSQL.
    :ivar version: Of the tables.
    :ivar skew: Seconds by which the database's clock is ahead of this machine's.
    :ivar wanted: Connections that the processes which work may open in all; at least
        those of one process.
    :ivar allowed: Connections that the user may have.
    :ivar others: Connections that other users have.
    """

    server: str
    version: int
    skew: float
    machines: tuple[Machine, ...]
    wanted: int
    allowed: int
    others: int


def overview(database: PostgreSQLDatabase) -> Overview:
    """Look at a database. Blocks for a few queries.

    :raises DatabaseError: It cannot be reached, or used.
    """
    with database.read() as tx:
        server, version = tx.execute(_SERVER).fetchone()
        values = {"account": database.account_id, "now": tx.now}
        found = tuple(Machine(*row) for row in tx.execute(_MACHINES, values))
        allowed, others = tx.execute(_CONNECTIONS).fetchone()

    processes = sum(machine.processes for machine in found)

    return Overview(
        server=server.partition(" ")[0],
        version=version or VERSION,  # nothing is stored in them yet
        skew=database.processes.skew(),
        machines=found,
        wanted=max(processes, 1) * (database.most_connections + _BESIDE),
        allowed=allowed,
        others=others,
    )


def hears(database: PostgreSQLDatabase) -> bool | None:
    """Whether notifications arrive; ``None`` if that cannot be known now.

    Blocks for some seconds where they do not.
    """
    listener = Listener(database.connect, database.schema, lambda: None)
    until = time.monotonic() + _PROBE
    listener.start()

    while listener.works is None and time.monotonic() < until:
        time.sleep(_POLL)

    listener.stop()

    return listener.works
