"""``flask chatwoot why``: the story of a conversation, as the inbox knows it."""

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
    """Tell what became of the messages of CONVERSATION, turn by turn, and why.

    The number is the one in the conversation's URL. No text of anybody is shown.
    """
    answering = current_runtime().answering

    if answering is None:
        missing = ", ".join(current_runtime().config.missing)
        raise click.ClickException(f"Chatwoot is not configured; set {missing}.")

    chapters = answering.inbox.story(conversation)
    now = answering.inbox.clock()

    if not chapters:
        raise click.ClickException(
            f"Nothing is remembered of conversation {conversation}: no delivery of it "
            "was accepted, or it was forgotten. See flask chatwoot doctor."
        )

    for chapter in chapters:
        click.echo("\n".join([_head(chapter), *_lines(chapter, now)]))

    click.echo(_whose(answering.memory.holding(conversation)))


def _head(chapter: Chapter) -> str:
    what = "an operator's reply" if chapter.kind == TAKE_OVER else "the customer"
    more = f", {chapter.messages} messages" if chapter.messages > 1 else ""

    return f"{_at(chapter.received_at)}  {what}, message {chapter.message_id}{more}"


def _lines(chapter: Chapter, now: float) -> t.Iterator[str]:
    for post in chapter.posts:
        yield f"  {_post(post)}"

    yield f"  {_state(chapter, now)}"


def _post(post: Draft) -> str:
    kind = "note" if post.private else "message"

    if post.message_id is not None:
        return f"{kind} posted as {post.message_id}"

    if post.sent_at is not None:
        return f"{kind} sent {_at(post.sent_at)}, no answer known"

    return f"{kind} kept, not posted"


def _state(chapter: Chapter, now: float) -> str:
    tried = _counted(chapter.attempts, "attempt")
    because = f", because: {chapter.reason}" if chapter.reason else ""

    if chapter.outcome is not None and chapter.finished_at is not None:
        return f"{chapter.outcome} {_at(chapter.finished_at)} after {tried}{because}"

    if chapter.claimed:
        return f"being answered, {tried} so far{because}"

    if chapter.due_at is None:
        return "waits for the turn before it"

    if chapter.due_at > now:
        wait = f"{chapter.due_at - now:.0f} s"
        return f"again in {wait}, {tried} so far{because}"

    return f"due for {now - chapter.due_at:.0f} s, {tried} so far{because}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _whose(holding: Holding) -> str:
    if holding.taken:
        return "A person has the conversation: answers become notes."

    return "No person has taken the conversation."


def _at(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
