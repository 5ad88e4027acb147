"""Makes attempts at the claimed jobs of one app."""

from __future__ import annotations

import typing as t

from flask_chatwoot import signals
from flask_chatwoot.errors import APIError, DatabaseError, PayloadError, trace
from flask_chatwoot.history import HistoryReader
from flask_chatwoot.logs import logger
from flask_chatwoot.outcomes import Reason, TurnOutcome
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.policy import Audience
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.replies import Message

from .attempt import Attempt
from .ending import log_end
from .giving_up import last_posts
from .messages import (
    TAKEOVER,
    UNANSWERED,
    UNDELIVERED,
    event_in,
    messages_of,
    turn_of,
)
from .parts import TurnParts
from .retry import attempts_of, crashed, postponed, reason_of
from .unanswered import open_unanswered
from .undelivered import RefusalAttempt

_MOST_LISTED: t.Final = 50
"""Messages of a turn that a look may show. Chatwoot lists a hundred from one on."""

log = logger(__name__)


class Service:
    """Works on the jobs of one app. Threads share it."""

    def __init__(self, parts: TurnParts) -> None:
        self._parts = parts

    def handle(self, job: Job, event: MessageEvent | None = None) -> None:
        """Make one attempt at a claimed job. Blocks while it works.

        :param event: The job's newest delivery, if it is parsed already.
        :raises DatabaseError: The database failed, or another worker has the job now.
        """
        beyond = attempts_of(job) - self._parts.config.max_attempts

        # The turn itself ends a job without attempts, unless the process dies of it.
        if beyond > 1:
            self._end_crashed(job, tell=beyond == 2)
            return

        try:
            self._handle(job, event)
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a message can cause
            signals.report(self._parts.app, "turn", error)

            if not crashed(self._parts.queue, self._parts.config, job, error):
                self._end_crashed(job, tell=True)

    def _handle(self, job: Job, event: MessageEvent | None) -> None:
        try:
            event = event or event_in(job.newest)
            messages = self._messages(job, event)
        except PayloadError:
            log.error("the job is dead (%s)", Reason.UNREADABLE)  # noqa: TRY400
            self._settle(job, TurnOutcome.DEAD, Reason.UNREADABLE)
            return

        with self._parts.app.app_context():
            if job.kind == TAKEOVER:
                self._take_over(job, event)
            elif job.kind == UNDELIVERED:
                self._hand_off_refused(job, event)
            elif job.kind == UNANSWERED:
                self._open_unanswered(job, event, messages)
            else:
                self._turn(job, event, messages)

    def _messages(self, job: Job, event: MessageEvent) -> tuple[Message, ...]:
        try:
            return messages_of(job, event, self._parts.poster.client)
        except PayloadError:
            raise
        except Exception:
            if job.failure is None:
                raise

            # It was given up for that, and its last posts need no text.
            return (Message(event.message.id, "", ()),)

    def _end_crashed(self, job: Job, *, tell: bool) -> None:
        """End a job that no attempt could handle; operators are told if possible."""
        try:
            if tell and self._tell_operators(job):
                return
        except DatabaseError:
            raise
        except Exception as error:  # noqa: BLE001 - what raised before may raise again
            log.error("operators are not told: %s", trace(error))  # noqa: TRY400

        log.error("the job is dead (%s)", Reason.CRASHED)
        self._settle(job, TurnOutcome.DEAD, job.failure or Reason.CRASHED)

    def _settle(self, job: Job, outcome: TurnOutcome, reason: str | None) -> None:
        self._parts.queue.settle(job, outcome, reason)
        log_end(outcome, reason)

    def _tell_operators(self, job: Job) -> bool:
        """Give a turn up with posts about that; false if there are none to make."""
        if job.failure is not None or job.kind == TAKEOVER:
            return False

        event = event_in(job.newest)

        with self._parts.app.app_context():
            known = self._parts.gate.may_hear_turn(event, received_at=job.since)

        posts, handoff = last_posts(
            Reason.CRASHED,
            known.context,
            self._parts.config,
            self._parts.language.texts,
        )

        if posts:
            self._parts.queue.give_up(job, Reason.CRASHED, posts, handoff=handoff)

        return bool(posts)

    def _turn(
        self, job: Job, event: MessageEvent, messages: tuple[Message, ...]
    ) -> None:
        # What was picked is an answer to the message whose id it has.
        written = [message.id for message in messages if not message.picked]

        if messages:
            # The delivery that came last need not be about the message written last.
            newest = event.message._replace(id=messages[-1].id)
            event = event._replace(message=newest)

        known = self._parts.gate.may_hear_turn(
            event,
            received_at=job.since,
            first=min(written[-_MOST_LISTED:], default=None),
        )
        to_customer = known.decision.audience is Audience.CUSTOMER
        turn = turn_of(
            event,
            messages,
            job=job,
            mode=Mode.BOT if to_customer else Mode.HUMAN,
            read_history=self._reader(event.conversation.id, messages, written),
        )

        Attempt(self._parts, job, known, turn).run()

    def _reader(
        self,
        conversation_id: int,
        messages: t.Sequence[Message],
        written: t.Sequence[int],
    ) -> HistoryReader:
        """A function that reads the messages before those of a turn."""
        return lambda limit, characters: self._parts.history.read(
            conversation_id,
            before=min(written, default=None),
            limit=limit,
            characters=characters,
            asked={message.id for message in messages},
        )

    def _hand_off_refused(self, job: Job, event: MessageEvent) -> None:
        """Let operators know of a post that the channel refused."""
        self._parts.outbox.refused(event.message.id)
        known = self._parts.gate.may_hear_turn(event, received_at=job.since)
        turn = turn_of(event, (), mode=Mode.HUMAN)

        RefusalAttempt(self._parts, job, known, turn).run()

    def _take_over(self, job: Job, event: MessageEvent) -> None:
        """Set the attribute to human, as operators have the conversation."""
        try:
            if not self._parts.ownership.load(job.conversation_id).taken:
                self._settle(job, TurnOutcome.DECLINED, None)
                return

            self._parts.changes.set_human(
                job.conversation_id, event.conversation, received_at=job.newest_at
            )
            self._settle(job, TurnOutcome.TAKEN_OVER, None)
        except APIError as error:
            self._postpone_or_end(job, error)

    def _open_unanswered(
        self, job: Job, event: MessageEvent, messages: tuple[Message, ...]
    ) -> None:
        """Give operators a conversation whose message came too late.

        If it did not, because a clock was wrong then, it gets a turn.
        """
        gate = self._parts.gate

        try:
            # Of a click that catch-up found, only the time of its question is known.
            noted = bool(job.drafts or event.digest)

            if noted or gate.is_too_old(event, received_at=job.since):
                open_unanswered(self._parts, job, event)
                return
        except APIError as error:
            self._postpone_or_end(job, error)
            return

        self._turn(job, event, messages)

    def _postpone_or_end(self, job: Job, error: APIError) -> None:
        if not postponed(self._parts.queue, self._parts.config, job, error):
            self._settle(job, TurnOutcome.DEAD, reason_of(error))
