"""``flask chatwoot jobs``: list, retry, prune and move the jobs of the queue."""

from __future__ import annotations

import json
import os
import typing as t

import click
from flask.cli import with_appcontext

from flask_chatwoot.config.converters import SQLITE
from flask_chatwoot.config.converters import schema as schema_name
from flask_chatwoot.queue.inspection import KEEP, Inspection, JobRow
from flask_chatwoot.queue.postgresql.url import Address, parse
from flask_chatwoot.queue.schema import JobState
from flask_chatwoot.runtime import current_runtime

from .options import FiniteRange, checked, needs_driver
from .output import counted, show, tell

if t.TYPE_CHECKING:
    from flask_chatwoot.queue.move import Moved, Target

_MOST_DAYS: t.Final = 36_500
"""A century: a time before that is one that no database need know."""


def _inspection() -> Inspection:
    return current_runtime().configured.store.inspection


@click.group(invoke_without_command=True)
@click.option(
    "--state",
    type=click.Choice([state.value for state in JobState]),
    help="Only jobs in this state.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.option(
    "--limit",
    type=click.IntRange(0, 1_000_000),
    default=100,
    show_default=True,
    help="Newest jobs; 0 for all.",
)
@click.pass_context
@with_appcontext
def jobs(ctx: click.Context, state: str | None, as_json: bool, limit: int) -> None:
    """List jobs, newest first."""
    if ctx.invoked_subcommand is None:
        states = [] if state is None else [JobState(state)]
        rows = _inspection().jobs(*states, limit=limit or None)
        show(_as_json(rows) if as_json else _as_table(rows))


@jobs.command()
@click.argument("ids", nargs=-1, type=click.IntRange(1, 2**63 - 1))
@click.option("--dead", is_flag=True, help="Every dead job.")
@with_appcontext
def retry(ids: tuple[int, ...], dead: bool) -> None:
    """Retry dead jobs, with all their attempts."""
    if bool(ids) == dead:
        raise click.UsageError("Give job ids, or --dead.")

    inspection = _inspection()
    found = inspection.jobs(JobState.DEAD) if dead else []
    wanted = [job.id for job in found] or list(ids)
    retried = inspection.retry(wanted)
    tell(f"{counted(len(retried), 'job')} will be retried.")

    if others := sorted(set(wanted) - set(retried)):
        raise click.ClickException(
            f"Not dead: {', '.join(map(str, others))}. See flask chatwoot jobs."
        )


@jobs.command()
@click.option(
    "--days",
    type=FiniteRange(0, _MOST_DAYS),
    default=KEEP / 86400,
    show_default=True,
    help="Only jobs that finished more than this many days ago.",
)
@click.option("--dead", is_flag=True, help="Dead jobs too; they cannot be restored.")
@with_appcontext
def prune(days: float, dead: bool) -> None:
    """Delete finished jobs, but never the newest job.

    Later duplicates of their messages are answered again.
    """
    store = current_runtime().configured.store
    pruned = store.inspection.prune(older_than=days * 86400, dead=dead)
    # Catch-up cannot know any more what of that time was answered.
    store.sweeps.begin_again(store.database.clock() - days * 86400)
    tell(f"{counted(pruned, 'job')} deleted.")


@jobs.command()
@click.option(
    "--to",
    "url",
    metavar="URL",
    required=True,
    callback=checked(parse),
    help="postgresql://user@host/name; the password may be in libpq's password file.",
)
@click.option(
    "--schema",
    callback=checked(schema_name),
    help="CHATWOOT_DATABASE_SCHEMA by default.",
)
@with_appcontext
def move(url: Address, schema: str | None) -> None:
    """Move jobs, and all that is known of conversations, to PostgreSQL.

    From the SQLite file that is configured. Stop the app and all its workers before.
    The command may be repeated if it was interrupted.
    """
    config = current_runtime().config

    if config.database_address is not None:
        raise click.UsageError(
            "CHATWOOT_DATABASE_URL names PostgreSQL already, and jobs are moved from "
            "an SQLite file. For this command, set it to the file's URL: "
            f"{SQLITE}chatwoot.sqlite3, unless you had another."
        )

    needs_driver("--to")
    from flask_chatwoot.queue import move as moving

    if config.account_id is None or config.base_url is None:
        raise config.incomplete()

    if not os.path.exists(config.database_path):
        raise click.ClickException(f"There is no file {config.database_path!r}.")

    target = moving.Target(url, schema or config.database_schema, config.base_url)
    moved = moving.move(config.database_path, config.account_id, target)
    tell(_as_text(moved, target))


def _as_text(moved: Moved, target: Target) -> str:
    what = "The jobs had been moved"

    if not moved.again:
        what = f"Moved: {counted(moved.unfinished, 'job')}, and {moved.dead} dead,"

    return (
        f"{what} to {target}.\n"
        "Set CHATWOOT_DATABASE_URL and CHATWOOT_DATABASE_SCHEMA to these, and start "
        "the app. Delete the file when it works: texts of customers are in it."
    )


def _as_json(rows: list[JobRow]) -> str:
    return json.dumps([row._asdict() for row in rows], indent=2)


_ROW = "{:>6}  {:>12}  {:<9}  {:>7}  {:>8}  {:<9}  {}"


def _as_table(rows: list[JobRow]) -> str:
    head = ("ID", "CONVERSATION", "STATE", "AGE", "ATTEMPTS", "OUTCOME", "REASON")
    lines = [
        (
            row.id,
            row.conversation_id,
            row.state,
            _age(row.age),
            row.attempts,
            row.outcome or "",
            row.reason or "",
        )
        for row in rows
    ]

    return "\n".join(_ROW.format(*line).rstrip() for line in (head, *lines))


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"

    return f"{max(seconds, 0):.0f} s"
