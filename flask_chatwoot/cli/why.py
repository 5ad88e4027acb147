"""``flask chatwoot why``: what became of each message of a conversation."""

from __future__ import annotations

import time
import typing as t

import click
from flask.cli import with_appcontext

from flask_chatwoot.ownership.store import Holding
from flask_chatwoot.queue.inspection import Chapter, Draft
from flask_chatwoot.runtime import current_runtime
from flask_chatwoot.turns.service import TAKE_OVER


@click.command()
@click.argument("conversation", type=click.IntRange(1, 2**63 - 1))
@with_appcontext
def why(conversation: int) -> None:
    """Explain what became of the messages of CONVERSATION, turn by turn, and why.

    The number is the one in the conversation's URL. No text of a message is shown.
    """
    answering = current_runtime().configured
    chapters = answering.inbox.story(conversation)
    now = answering.inbox.clock()

    if not chapters:
        raise click.ClickException(
            f"The database has nothing of conversation {conversation}: no delivery of "
            "it was accepted, or its jobs were deleted. See flask chatwoot doctor."
        )

    for chapter in chapters:
        click.echo("\n".join([_head(chapter), *_lines(chapter, now)]))

    click.echo(_owner(answering.memory.holding(conversation)))


def _head(chapter: Chapter) -> str:
    what = "an operator's reply" if chapter.kind == TAKE_OVER else "the customer"
    more = f", {chapter.messages} messages" if chapter.messages > 1 else ""

    return f"{_at(chapter.received_at)}  {what}, message {chapter.message_id}{more}"


def _lines(chapter: Chapter, now: float) -> t.Iterator[str]:
    for draft in chapter.posts:
        yield f"  {_draft(draft)}"

    yield f"  {_state(chapter, now)}"


def _draft(draft: Draft) -> str:
    kind = "note" if draft.private else "message"

    if draft.message_id is not None:
        return f"{kind} posted as {draft.message_id}"

    if draft.sent_at is not None:
        return f"{kind} sent {_at(draft.sent_at)}, no answer known"

    return f"{kind} kept, not posted"


def _state(chapter: Chapter, now: float) -> str:
    tried = f"{chapter.attempts} attempt{'' if chapter.attempts == 1 else 's'}"
    because = f", because: {chapter.reason}" if chapter.reason else ""

    if chapter.outcome is not None and chapter.finished_at is not None:
        return f"{chapter.outcome} {_at(chapter.finished_at)} after {tried}{because}"

    if chapter.claimed:
        return f"being answered, {tried} so far{because}"

    if chapter.due_at is None:
        return "waits for the turn before it"

    if chapter.due_at > now:
        wait = f"{chapter.due_at - now:.0f} s"
        return f"next attempt in {wait}, {tried} so far{because}"

    return f"due for {now - chapter.due_at:.0f} s, {tried} so far{because}"


def _owner(holding: Holding) -> str:
    if holding.taken:
        return "An operator has the conversation: answers become notes."

    return "No operator has taken over the conversation."


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
