"""``flask chatwoot work``: a process that only works."""

from __future__ import annotations

import os

import click
from flask.cli import with_appcontext

from flask_chatwoot.config import MOST_WORKERS
from flask_chatwoot.runtime import current_runtime
from flask_chatwoot.workers import ThreadBackend

from .jobs import configured_jobs
from .stop import Stop


@click.command()
@click.option(
    "--threads",
    type=click.IntRange(1, MOST_WORKERS),
    help="Turns side by side; CHATWOOT_WORKERS by default, or 4 if that is 0.",
)
@with_appcontext
def work(threads: int | None) -> None:
    """Handle jobs until SIGTERM or Ctrl-C."""
    configured_jobs()
    bot = current_runtime()
    stop = Stop()
    backend = ThreadBackend(threads=threads or bot.config.workers or 4)
    backend.start(bot)
    click.echo("Working. Ctrl-C stops.")
    stop.wait()
    click.echo("Finishing what runs.")
    backend.stop()

    if backend.busy:
        # Python would wait for a provider written with "async def", however long.
        os._exit(0)
