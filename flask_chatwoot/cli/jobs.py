"""``flask chatwoot jobs``: list, retry and prune the jobs of the queue."""

from __future__ import annotations

import json

import click
from flask.cli import with_appcontext

from flask_chatwoot.queue.inspection import KEEP, Inspection, JobRow
from flask_chatwoot.queue.schema import JobState
from flask_chatwoot.runtime import current_runtime


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
    type=click.IntRange(min=0),
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
        click.echo(_as_json(rows) if as_json else _as_table(rows))


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
    click.echo(f"{_counted(len(retried))} will be retried.")

    if others := sorted(set(wanted) - set(retried)):
        raise click.ClickException(f"Not dead: {', '.join(map(str, others))}.")


@jobs.command()
@click.option(
    "--days",
    type=click.FloatRange(min=0),
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
    click.echo(f"{_counted(pruned)} deleted.")


def _counted(count: int) -> str:
    return f"{count} job{'' if count == 1 else 's'}"


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
