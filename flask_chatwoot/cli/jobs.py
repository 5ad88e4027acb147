"""``flask chatwoot inbox``: what operators may ask of the queue, and do with it."""

from __future__ import annotations

import json

import click
from flask.cli import with_appcontext

from flask_chatwoot.queue.inspection import KEEP, Inspection, JobRow
from flask_chatwoot.queue.schema import JobState
from flask_chatwoot.runtime import current_runtime


def configured_jobs() -> Inspection:
    """The jobs of the current app.

    :raises ClickException: Chatwoot is not configured.
    """
    bot = current_runtime()

    if bot.poster is None:
        raise click.ClickException(
            f"Chatwoot is not configured; set {', '.join(bot.config.missing)}."
        )

    return bot.poster.store.inspection


@click.group(invoke_without_command=True)
@click.option(
    "--state",
    type=click.Choice([state.value for state in JobState]),
    help="Only these jobs.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.option("--limit", default=100, show_default=True, help="Newest jobs; 0 for all.")
@click.pass_context
@with_appcontext
def inbox(ctx: click.Context, state: str | None, as_json: bool, limit: int) -> None:
    """List jobs, newest first."""
    if ctx.invoked_subcommand is None:
        states = [] if state is None else [JobState(state)]
        jobs = configured_jobs().jobs(*states, limit=limit or None)
        click.echo(_as_json(jobs) if as_json else _as_table(jobs))


@inbox.command()
@click.argument("ids", nargs=-1, type=click.IntRange(1, 2**63 - 1))
@click.option("--dead", is_flag=True, help="Every dead job.")
@with_appcontext
def retry(ids: tuple[int, ...], dead: bool) -> None:
    """Revive dead jobs, with all their attempts."""
    if bool(ids) == dead:
        raise click.UsageError("Give job ids, or --dead.")

    store = configured_jobs()
    wanted = [job.id for job in store.jobs(JobState.DEAD)] if dead else list(ids)
    revived = store.retry(wanted)
    click.echo(f"Revived {len(revived)} job{'' if len(revived) == 1 else 's'}.")

    if others := sorted(set(wanted) - set(revived)):
        raise click.ClickException(f"Not dead: {', '.join(map(str, others))}.")


@inbox.command()
@click.option(
    "--days", default=KEEP / 86400, show_default=True, help="Finished before."
)
@click.option("--dead", is_flag=True, help="Dead jobs too, for good.")
@with_appcontext
def prune(days: float, dead: bool) -> None:
    """Forget finished jobs. Later repeats of their messages are answered again."""
    pruned = configured_jobs().prune(older_than=days * 86400, dead=dead)
    click.echo(f"Forgot {pruned} job{'' if pruned == 1 else 's'}.")


def _as_json(jobs: list[JobRow]) -> str:
    return json.dumps([job._asdict() for job in jobs], indent=2)


_ROW = "{:>6}  {:>12}  {:<9}  {:>7}  {:>8}  {:<8}  {}"


def _as_table(jobs: list[JobRow]) -> str:
    head = ("ID", "CONVERSATION", "STATE", "AGE", "ATTEMPTS", "OUTCOME", "REASON")
    rows = [
        (
            job.id,
            job.conversation_id,
            job.state,
            _age(job.age),
            job.attempts,
            job.outcome or "",
            job.reason or "",
        )
        for job in jobs
    ]

    return "\n".join(_ROW.format(*row).rstrip() for row in (head, *rows))


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"

    return f"{max(seconds, 0):.0f} s"
