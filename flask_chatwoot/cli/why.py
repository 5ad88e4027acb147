"""``flask chatwoot why``: how the turns of a conversation ended, and why."""

from __future__ import annotations

import time
import typing as t

import click
from flask.cli import with_appcontext

from flask_chatwoot.ownership.state import Ownership
from flask_chatwoot.queue.inspection import DraftRow, JobStory
from flask_chatwoot.queue.schema import DraftState, JobState
from flask_chatwoot.runtime import current_runtime
from flask_chatwoot.turns.messages import TAKEOVER, UNANSWERED, UNDELIVERED

from .output import counted, show


@click.command(short_help="List the turns of a conversation, and why each ended.")
@click.argument("conversation", type=click.IntRange(1, 2**63 - 1))
@with_appcontext
def why(conversation: int) -> None:
    """List the turns of CONVERSATION, and how and why they ended.

    Their posts are listed too. The number is the one in the conversation's URL. No text
    of a message is shown.
    """
    configured = current_runtime().configured
    jobs = configured.store.inspection.story(conversation)
    suggested = configured.store.suggestions.times(conversation)
    now = configured.store.database.clock()

    if not (jobs or suggested):
        raise click.ClickException(
            f"The database has nothing of conversation {conversation}: no delivery of "
            "it was accepted, or its jobs were deleted. See flask chatwoot doctor."
        )

    told = [
        *((job.received_at, _story(job, now)) for job in jobs),
        *((at, f"{_at(at)}  suggested to an operator") for at in suggested),
    ]

    for _, text in sorted(told, key=lambda each: each[0]):
        show(text)

    show(_owner(configured.ownership.load(conversation)))


def _story(job: JobStory, now: float) -> str:
    return "\n".join([_head(job), *_lines(job, now)])


def _head(job: JobStory) -> str:
    what = _KINDS.get(job.kind, "the customer")
    more = f", {job.messages} messages" if job.messages > 1 else ""

    return f"{_at(job.received_at)}  {what}, message {job.message_id}{more}{_how(job)}"


_KINDS: t.Final = {
    TAKEOVER: "an operator's reply",
    UNANSWERED: "the customer, too late to be answered",
    UNDELIVERED: "a refusal by the channel",
}


def _how(job: JobStory) -> str:
    if job.found_after is None:
        return ""

    return f", found by catch-up, {job.found_after:.0f} s after it was written"


def _lines(job: JobStory, now: float) -> t.Iterator[str]:
    for draft in job.drafts:
        yield f"  {_draft(draft)}"

    yield f"  {_state(job, now)}"


def _draft(draft: DraftRow) -> str:
    kind = "note" if draft.private else "message"

    if draft.state is DraftState.POSTED:
        return f"{kind} {draft.state} as {draft.message_id}"

    if draft.state is DraftState.UNDELIVERED and draft.message_id is not None:
        return f"{kind} {draft.message_id} {draft.state}: the channel refused it"

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
    """The attempts at the turn, those after it was given up, and which failed."""
    failed = [
        f"{count} failed by {whom}"
        for count, whom in (
            (job.provider_attempts, "the provider"),
            (job.chatwoot_attempts, "Chatwoot"),
        )
        if count
    ]
    details = f" ({', '.join(failed)})" if failed else ""
    tried = counted(job.attempts, "attempt")

    if job.report_attempts:
        tried += f", and {job.report_attempts} to say that it failed"

    return f"{tried}{details}"


def _owner(ownership: Ownership) -> str:
    if ownership.taken:
        return "An operator has the conversation: answers become notes."

    return "No operator has taken over the conversation."


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
