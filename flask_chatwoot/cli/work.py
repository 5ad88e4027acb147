"""``flask chatwoot work``: a process that runs turns and serves no requests."""

from __future__ import annotations

import os
import typing as t

import click
from flask.cli import with_appcontext

from flask_chatwoot.config.loading import misspelled
from flask_chatwoot.config.table import MOST_WORKERS
from flask_chatwoot.errors import DatabaseError, UnusableError
from flask_chatwoot.queue.database import Database
from flask_chatwoot.runtime import current_runtime
from flask_chatwoot.workers import ThreadBackend

from .output import tell
from .stop import Stop

_START_PAUSE: t.Final = 1.0
"""Seconds between two tries to start the first thread."""


@click.command()
@click.option(
    "--threads",
    type=click.IntRange(1, MOST_WORKERS),
    help="Turns at the same time; CHATWOOT_WORKERS by default, or 4 if that is 0.",
)
@with_appcontext
def work(threads: int | None) -> None:
    """Answer what is in the database, until SIGTERM or Ctrl-C.

    A database that cannot be reached is tried again; one that belongs to another
    Chatwoot account, or to another release, is an error.
    """
    runtime = current_runtime()
    configured = runtime.configured
    _check(configured.store.database)
    stop = Stop()
    backend = ThreadBackend(
        configured.runner,
        configured.upkeep,
        threads=threads or runtime.config.workers or 4,
    )

    for sentence in misspelled([*runtime.app.config, *os.environ]):
        tell(sentence)

    tell("Working. Ctrl-C stops.")

    # Where no thread can be started at the moment, there is none that tries again.
    while not (backend.start() or backend.busy or stop.wait(_START_PAUSE)):
        pass

    stop.wait()
    tell("Finishing the turns that run.")
    backend.stop()

    if backend.busy:
        # At exit, Python would wait for a provider written with "async def", without a
        # limit.
        os._exit(0)


def _check(database: Database) -> None:
    """Look whether the database may be used. Blocks for three seconds at most.

    :raises UnusableError: It may not.
    """
    try:
        with database.read():
            pass
    except UnusableError:
        raise
    except DatabaseError:
        pass  # the workers log it, and try again
