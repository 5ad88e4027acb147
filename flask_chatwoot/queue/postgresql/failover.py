"""Notice that another server has taken over, which may lack the last commits.

Where a standby is promoted, or a backup is restored up to a point in time, PostgreSQL
begins a new timeline. The last one that a process has worked with is kept beside the
version of the tables. Of what was committed under the former one the last part may be
lost: that a draft was sent, for instance. So each draft of a job that is not finished
counts as sent, until it is looked for in Chatwoot, and catch-up looks for messages.
"""

from __future__ import annotations

import typing as t

import psycopg

from flask_chatwoot.logs import logger

from .beats import NOW
from .schema import qualified

TIMELINE: t.Final = """CASE WHEN pg_is_in_recovery() THEN ''
    ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"""
"""Empty on a server that is read-only, whose next timeline nobody knows."""

_FIRST: t.Final = "UPDATE meta SET timeline = %(now)s WHERE timeline = ''"

_CHANGED: t.Final = f"""
UPDATE meta SET timeline = %(now)s, failed_over_at = {NOW} WHERE timeline <> %(now)s
"""  # noqa: S608 - from constants
"""Of processes that notice it at once, the others wait here for the first."""

_MAYBE_SENT: t.Final = f"""
UPDATE draft SET sent_at = {NOW}, unconfirmed_at = NULL WHERE message_id IS NULL
AND job_id IN (SELECT id FROM job WHERE finished_at IS NULL OR outcome = 'dead')
"""  # noqa: S608 - from constants

_CATCH_UP: t.Final = f"""
UPDATE sweep SET settled = false, running_since = {NOW}, due_at = {NOW}, claim = NULL
"""  # noqa: S608 - from constants

_AGE: t.Final = f"SELECT {NOW} - failed_over_at FROM meta"  # noqa: S608

log = logger(__name__)


def noticed(connection: psycopg.Connection[t.Any], schema: str) -> str | None:
    """The timeline, after what its change means was stored.

    ``None`` where the server does not tell it, as some of a cloud.

    :param connection: Outside of a transaction.
    """
    try:
        row = connection.execute(f"SELECT {TIMELINE}").fetchone()
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError):
            raise

        return None

    timeline = str(row[0]) if row else ""

    if timeline:
        _compare(connection, schema, timeline)

    return timeline


def _compare(connection: psycopg.Connection[t.Any], schema: str, timeline: str) -> None:
    def run(statement: str) -> int:
        return connection.execute(
            qualified(statement, schema), {"now": timeline}
        ).rowcount

    with connection.transaction():
        # Nothing is written where nothing has changed.
        known = connection.execute(qualified("SELECT timeline FROM meta", schema))

        if known.fetchone() == (timeline,) or run(_FIRST) or not run(_CHANGED):
            return

        drafts = run(_MAYBE_SENT)
        run(_CATCH_UP)

    log.warning(
        "Another server of PostgreSQL has taken over, or a backup was restored. What "
        "was stored last may be lost: catch-up looks for messages, and replies are "
        "looked for in Chatwoot before they are sent (%d).",
        drafts,
    )


def age(connection: psycopg.Connection[t.Any], schema: str) -> float | None:
    """Seconds since the last change; ``None`` if there was none."""
    row = connection.execute(qualified(_AGE, schema)).fetchone()

    return None if row is None or row[0] is None else max(0.0, row[0])
