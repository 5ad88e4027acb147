"""``flask chatwoot drafts``: how many drafts operators have used."""

from __future__ import annotations

import itertools
import typing as t

import click
from flask.cli import with_appcontext

from flask_chatwoot.outcomes import DraftVerdict
from flask_chatwoot.queue.reviews import COUNTED, Count, rates
from flask_chatwoot.runtime import current_runtime

from .output import counted, show

_COLUMNS: t.Final = "{:<10}  {:<10}  {:>6}  {:>6}  {:>7}"


@click.command(short_help="Count the drafts that operators used, edited or ignored.")
@click.option(
    "--days",
    type=click.IntRange(1, COUNTED),
    default=30,
    show_default=True,
    help="So many days, today included.",
)
@with_appcontext
def drafts(days: int) -> None:
    """Count the drafts that operators used, edited or ignored.

    By day (UTC). Needs CHATWOOT_DRAFT_FEEDBACK. No text is shown, and none is
    kept after the verdict.
    """
    configured = current_runtime().configured
    counts = configured.store.reviews.counts(days)

    if not counts and not configured.turns.feedback.wanted:
        raise click.ClickException(
            "No drafts are compared with what operators send; set "
            "CHATWOOT_DRAFT_FEEDBACK=true."
        )

    show(_COLUMNS.format("DAY", "DRAFT", *(each.upper() for each in DraftVerdict)))

    for (day, kind), rows in itertools.groupby(counts, lambda each: each[:2]):
        show(_line(day, kind, rows))

    found = rates(counts)
    parts = [f"{found[each]:.0%} {each}" for each in DraftVerdict if each in found]
    reviewed = counted(int(found["reviewed"]), "draft")
    show(f"{reviewed}{': ' if parts else ''}{', '.join(parts)}")


def _line(day: str, kind: str, rows: t.Iterable[Count]) -> str:
    numbers = {each.verdict: each.drafts for each in rows}

    return _COLUMNS.format(day, kind, *(numbers.get(each, 0) for each in DraftVerdict))
