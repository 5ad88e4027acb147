"""The commands of ``flask chatwoot``."""

from __future__ import annotations

import json
import os

import click
from flask.cli import AppGroup, with_appcontext

from . import cli_setup
from .backends import ThreadBackend
from .bot import current_bot
from .cli_ask import ask
from .cli_playground import playground
from .cli_why import why
from .config import MOST_WORKERS
from .inbox import Inbox
from .ledger import KEEP, STATES, JobInfo
from .mode import Mode
from .outcomes import Outcome

chatwoot = AppGroup("chatwoot")

for _command in (ask, why, playground, *cli_setup.commands):
    chatwoot.add_command(_command)


def _inbox() -> Inbox:
    bot = current_bot()

    if bot.poster is None:
        raise click.ClickException(
            f"Chatwoot is not configured; set {', '.join(bot.config.missing)}."
        )

    return bot.poster.inbox


@chatwoot.command()
@click.option(
    "--threads",
    type=click.IntRange(1, MOST_WORKERS),
    help="Turns side by side; CHATWOOT_WORKERS by default, or 4 if that is 0.",
)
def work(threads: int | None) -> None:
    """Handle jobs until SIGTERM or Ctrl-C."""
    from .cli_stop import Stop  # here, and not for web processes to pay for

    _inbox()
    bot = current_bot()
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


@chatwoot.command()
@click.argument("texts", nargs=-1, required=True)
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.BOT.value,
    show_default=True,
    help="Whom the customer wants to write to.",
)
@click.option("--timeout", default=120.0, show_default=True, help="Seconds per text.")
def simulate(texts: tuple[str, ...], mode: str, timeout: float) -> None:
    """Hold a conversation with this app, in front of a simulated Chatwoot.

    Each of TEXTS is a message of the customer. Nothing leaves this machine, and no
    configuration is needed.
    """
    if not all(text.strip() for text in texts):
        raise click.UsageError("A text is blank, and would be ignored.")

    # Imported here: web processes should not pay for it when they start.
    from .rehearsal import converse

    try:
        transcript, endings = converse(
            current_bot().app, texts, mode=Mode(mode), timeout=timeout
        )
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    except TimeoutError:
        raise click.ClickException(f"No answer within {timeout:g} s.") from None

    click.echo(transcript)

    if failed := [end.reason for end in endings if end.outcome is Outcome.DEAD]:
        raise click.ClickException(f"No answer: {failed[0]}. The log says more.")


@chatwoot.group(invoke_without_command=True)
@click.option("--state", type=click.Choice(STATES), help="Only these jobs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.option("--limit", default=100, show_default=True, help="Newest jobs; 0 for all.")
@click.pass_context
@with_appcontext
def inbox(ctx: click.Context, state: str | None, as_json: bool, limit: int) -> None:
    """List jobs, newest first."""
    if ctx.invoked_subcommand is None:
        jobs = _inbox().jobs(state=state, limit=limit or -1)
        click.echo(_as_json(jobs) if as_json else _as_table(jobs))


@inbox.command()
@click.argument("ids", nargs=-1, type=click.IntRange(1, 2**63 - 1))
@click.option("--dead", is_flag=True, help="Every dead job.")
def retry(ids: tuple[int, ...], dead: bool) -> None:
    """Revive dead jobs, with all their attempts."""
    if bool(ids) == dead:
        raise click.UsageError("Give job ids, or --dead.")

    store = _inbox()
    wanted = [job.id for job in store.jobs(state="dead")] if dead else list(ids)
    revived = store.retry(wanted)
    click.echo(f"Revived {len(revived)} job{'' if len(revived) == 1 else 's'}.")

    if others := sorted(set(wanted) - set(revived)):
        raise click.ClickException(f"Not dead: {', '.join(map(str, others))}.")


@inbox.command()
@click.option(
    "--days", default=KEEP / 86400, show_default=True, help="Finished before."
)
@click.option("--dead", is_flag=True, help="Dead jobs too, for good.")
def prune(days: float, dead: bool) -> None:
    """Forget finished jobs. Later repeats of their messages are answered again."""
    pruned = _inbox().prune(older_than=days * 86400, dead=dead)
    click.echo(f"Forgot {pruned} job{'' if pruned == 1 else 's'}.")


def _as_json(jobs: list[JobInfo]) -> str:
    return json.dumps([job._asdict() for job in jobs], indent=2)


_ROW = "{:>6}  {:>12}  {:<7}  {:>7}  {:>8}  {:<8}  {}"


def _as_table(jobs: list[JobInfo]) -> str:
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
