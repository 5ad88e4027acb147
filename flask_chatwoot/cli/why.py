"""``flask chatwoot why``: the story of a conversation, as the database knows it."""

from __future__ import annotations

import time
import typing as t

import click
from flask.cli import with_appcontext

from flask_chatwoot.ownership.store import Holding
from flask_chatwoot.queue.inspection import DraftRow, JobStory
from flask_chatwoot.queue.schema import DraftState, JobState
from flask_chatwoot.runtime import current_runtime
from flask_chatwoot.turns.service import TAKE_OVER


@click.command()
@click.argument("conversation", type=click.IntRange(1, 2**63 - 1))
@with_appcontext
def why(conversation: int) -> None:
    """Tell what became of the messages of CONVERSATION, turn by turn, and why.

    The number is the one in the conversation's URL. No text is shown.
    """
    answering = current_runtime().answering

    if answering is None:
        missing = ", ".join(current_runtime().config.missing)
        raise click.ClickException(f"Chatwoot is not configured; set {missing}.")

    jobs = answering.store.inspection.story(conversation)
    now = answering.store.database.clock()

    if not jobs:
        raise click.ClickException(
            f"Nothing is known of conversation {conversation}: no delivery of it was "
            "accepted, or it was pruned. See flask chatwoot doctor."
        )

    for job in jobs:
        click.echo("\n".join([_head(job), *_lines(job, now)]))

    click.echo(_whose(answering.memory.holding(conversation)))


def _head(job: JobStory) -> str:
    what = "an operator's reply" if job.kind == TAKE_OVER else "the customer"
    more = f", {job.messages} messages" if job.messages > 1 else ""

    return f"{_at(job.received_at)}  {what}, message {job.message_id}{more}"


def _lines(job: JobStory, now: float) -> t.Iterator[str]:
    for draft in job.drafts:
        yield f"  {_draft(draft)}"

    yield f"  {_state(job, now)}"


def _draft(draft: DraftRow) -> str:
    kind = "note" if draft.private else "message"

    if draft.state is DraftState.POSTED:
        return f"{kind} {draft.state} as {draft.message_id}"

    if draft.sent_at is not None:
        return f"{kind} {draft.state}, sent {_at(draft.sent_at)}"

    return f"{kind} {draft.state}"


def _state(job: JobStory, now: float) -> str:
    tried = _tried(job)
    because = f", because: {job.reason}" if job.reason else ""

    if job.finished_at is not None:
        return f"{job.outcome} {_at(job.finished_at)} after {tried}{because}"

    if job.due_at is None:
        return f"{job.state}: an earlier turn of the conversation is not over"

    when = _when(job.due_at - now, leased=job.state is JobState.LEASED)

    return f"{job.state}, {when}, {tried} so far{because}"


def _when(seconds: float, *, leased: bool) -> str:
    if leased:
        return f"its lease ends in {seconds:.0f} s"

    return f"due in {seconds:.0f} s" if seconds > 0 else f"due for {-seconds:.0f} s"


def _tried(job: JobStory) -> str:
    """Its attempts, and whose failures ended them."""
    failed = [
        f"{count} failed by {whom}"
        for count, whom in (
            (job.provider_attempts, "the provider"),
            (job.chatwoot_attempts, "Chatwoot"),
        )
        if count
    ]
    details = f" ({', '.join(failed)})" if failed else ""

    return f"{_counted(job.attempts, 'attempt')}{details}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _whose(holding: Holding) -> str:
    if holding.taken:
        return "A person has the conversation: answers become notes."

    return "No person has taken the conversation."


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
