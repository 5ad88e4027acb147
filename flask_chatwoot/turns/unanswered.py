"""Gives a conversation to operators whose message came too late to be answered."""

from __future__ import annotations

from flask_chatwoot.outcomes import Reason, TurnOutcome
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.outbox import DraftPart

from .ending import log_end
from .parts import TurnParts
from .posting import TooSoonError


def open_unanswered(parts: TurnParts, job: Job, event: MessageEvent) -> None:
    """Post one note in a pending conversation, open it, and settle the job.

    Blocks during its requests. Every step may be repeated.

    :raises APIError: A request failed.
    """
    conversation_id = job.conversation_id

    if not job.drafts and event.conversation.status != "pending":
        _leave(parts, job)
        return

    live = parts.gate.live.conversation(conversation_id) or event.conversation

    if not job.drafts and not (live.waits_for_bot and _is_waiting(parts, job, event)):
        _leave(parts, job)
        return

    drafts = job.drafts or parts.outbox.keep(job, _note(parts))

    try:
        # After a crash there may be a message for the customer besides.
        for draft in [each for each in drafts if each.private]:
            parts.poster.ensure_posted(job, draft, mode=Mode.HUMAN)
    except TooSoonError as error:
        parts.queue.postpone(job, error.seconds, free=True, reason=Reason.UNCONFIRMED)
        return

    parts.changes.open_pending(conversation_id, live)
    parts.queue.settle(job, TurnOutcome.HANDED_OFF, Reason.TOO_OLD)
    log_end(TurnOutcome.HANDED_OFF, Reason.TOO_OLD)


def _note(parts: TurnParts) -> list[DraftPart]:
    return [DraftPart(parts.language.texts().get("too_old"), private=True)]


def _leave(parts: TurnParts, job: Job) -> None:
    parts.queue.settle(job, TurnOutcome.DECLINED, Reason.TOO_OLD)
    log_end(TurnOutcome.DECLINED, Reason.TOO_OLD)

    if job.found_after is None:  # catch-up has a line of its own
        parts.left.add()


def _is_waiting(parts: TurnParts, job: Job, event: MessageEvent) -> bool:
    """Whether the customer waits for this app, as far as is known by now.

    Not where another machine has the conversation, nor if nobody may hear an answer.
    """
    known = parts.gate.may_hear_turn(event, received_at=job.since)

    return parts.gate.is_waiting(known)
