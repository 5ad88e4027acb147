"""Messages that the customer edited or deleted before they were answered.

Chatwoot tells of a change by ``message_updated``, and the looks before posts may show
one that was not delivered. A turn that has not posted anything begins again then.
"""

from __future__ import annotations

import re
import typing as t

from flask_chatwoot.errors import LeaseLostError, PayloadError
from flask_chatwoot.ownership.gate import TurnDecision
from flask_chatwoot.payloads.conversation import ChatwootMessage
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.revisions import IsKnown, Revisions
from flask_chatwoot.replies import Message

from .messages import event_in, follow_up

_CHANGE: t.Final = '{"now": '
"""How begins what is stored of a message that was changed."""

NOTHING: t.Final = f"{_CHANGE}null}}"
"""What is stored of a message that was deleted."""


def change_of(event: MessageEvent) -> str:
    """What is stored of a message that changed, as JSON.

    :param event: The message as it is now.
    """
    return NOTHING if event.message.deleted else _now(follow_up(event))


def changes_of(job: Job) -> int:
    """How often the messages of a job were changed."""
    return sum(each.said.startswith(_CHANGE) for each in job.follow_ups)


def is_known(change: str) -> IsKnown:
    """Whether a message is already as a change says, by what is stored of it."""

    def compare(kept: str | None, payload: bytes) -> bool:
        if kept is not None:
            return change in (kept, _now(kept))

        try:
            return change_of(event_in(payload)) == change
        except PayloadError:
            return False

    return compare


def _now(said: str) -> str:
    return f"{_CHANGE}{said}}}"


def _changes_seen(
    known: TurnDecision, messages: t.Iterable[Message]
) -> list[MessageEvent]:
    """Those messages of a turn that the looks have shown to say something else by now.

    What was picked has the id of its question, which is another message.
    """
    asked = {each.id: each for each in messages if not each.picked}
    now = {each.id: each for each in known.seen if each.id in asked}

    return [
        known.event._replace(message=each, digest="")
        for each in now.values()
        if says_another(asked[each.id], each)
    ]


def says_another(message: Message, now: ChatwootMessage) -> bool:
    """Whether a message was edited or deleted since a turn was made of it."""
    return now.deleted or _plain(now.text) != _plain(message.text)


def keep_changes(
    revisions: Revisions, job: Job, known: TurnDecision, messages: t.Iterable[Message]
) -> None:
    """Keep what the looks have shown of a turn's messages.

    :raises LeaseLostError: There is something new among it.
    """
    changed = _changes_seen(known, messages)

    for event in changed:
        change = change_of(event)
        revisions.add(
            job.conversation_id, event.message.id, change, is_known=is_known(change)
        )

    if changed:
        fail_if_changed(revisions, job)


class ChangedError(LeaseLostError):
    """A message was changed, and no part of the answer to it is posted."""


def is_changed_since(job: Job, at: float) -> bool:
    """Whether a change of a message came since, by the database's time."""
    return any(
        each.received_at >= at and each.said.startswith(_CHANGE)
        for each in job.follow_ups
    )


def fail_if_changed(revisions: Revisions, job: Job) -> None:
    """Do not go on with messages that are not what they were.

    :raises LeaseLostError: One of them was changed since the job was claimed.
    """
    if revisions.are_new(job):
        raise LeaseLostError(f"A message of job {job.id} was changed.")


def _plain(text: str) -> str:
    """A text without what Chatwoot removes in deliveries only.

    See ``app/services/messages/webhook_content_normalizer.rb``.
    """
    return " ".join(re.sub(r"\\(?=\r?\n)", "", text).split())
