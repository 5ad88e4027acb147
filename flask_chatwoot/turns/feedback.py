"""Finds out whether operators use the drafts that they get.

A draft is kept when operators may see it: right before the request for its note, or
when a suggestion is returned. The delivery of an operator's reply only stores the text
beside it; a worker compares them.
"""

from __future__ import annotations

import contextvars
import json
import typing as t
from dataclasses import dataclass

from flask import Flask

from flask_chatwoot import signals
from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.logs import logger
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.payloads.fields import is_visible
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.reviews import Answered, Reviews, ShownDraft
from flask_chatwoot.replies import Message, Turn

from .similarity import similarity_of, verdict_on

log = logger(__name__)


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class DraftFeedback:
    """The review of one app's drafts. Threads share it.

    :ivar wanted: ``CHATWOOT_DRAFT_FEEDBACK``. Without it nothing is kept.
    """

    app: Flask
    account_id: int
    reviews: Reviews
    wanted: bool

    def keep_note(self, job: Job, turn: Turn, text: str) -> None:
        """Keep what a note is about to show operators.

        :raises DatabaseError: The database failed.
        """
        if self.wanted and is_visible(text):
            self.reviews.keep(self._draft(turn, turn.message_id, text, job.id))

    def keep_suggestion(self, turn: Turn, newest: int, text: str) -> None:
        """Keep what is returned to an operator, who gets it in any case.

        :param newest: The newest message that is known of the conversation.
        """
        if not self.wanted:
            return

        try:
            self.reviews.keep(
                self._draft(turn, newest, text), earlier=turn.earlier_suggestion
            )
        except DatabaseError as error:
            log.warning("a suggestion will get no verdict: %s", error)

    def _draft(
        self, turn: Turn, after: int | None, text: str, job_id: int | None = None
    ) -> ShownDraft:
        return ShownDraft(
            turn.conversation_id or 0, job_id, _about(turn), after or 0, text
        )

    def answered(self, event: MessageEvent) -> bool:
        """Keep an operator's public reply with the drafts before it.

        A reply without text, such as a picture, says nothing about them; nor does one
        that may be a bot's.

        :return: Whether a worker has something to compare.
        :raises DatabaseError: The database failed.
        """
        text = event.message.text

        if not self.wanted or event.message.presumed or not is_visible(text):
            return False

        return self.reviews.answer(event.conversation.id, event.message.id, text)

    def review_one(self) -> bool:
        """Compare one draft with its reply, if there is one; ``False`` if not.

        Its texts are deleted and its verdict is counted before the signal is sent: if
        the process ends in between, the signal is not sent, and the count is right.

        :raises DatabaseError: The database failed.
        """
        answered = self.reviews.next() if self.wanted else None

        if answered is None:
            return False

        similarity = similarity_of(answered.draft, answered.reply)
        verdict = verdict_on(similarity)

        if self.reviews.end(answered, verdict):
            # No receiver sees the context of a request.
            contextvars.Context().run(self._send, answered, verdict, similarity)

        return True

    def _send(self, answered: Answered, verdict: str, similarity: float) -> None:
        with self.app.app_context():
            signals.send(
                signals.draft_reviewed,
                self.app,
                turn=_turn(answered, self.account_id),
                draft=answered.draft,
                reply=answered.reply,
                verdict=verdict,
                similarity=similarity,
            )


def _about(turn: Turn) -> str:
    """The ids of a turn, as JSON: nothing of what the customer wrote."""
    return json.dumps(
        {
            "mode": turn.mode,
            "purpose": turn.purpose,
            "inbox": turn.inbox_id,
            "message": turn.message_id,
            "messages": [each.id for each in turn.messages],
        }
    )


def _turn(answered: Answered, account_id: int) -> Turn:
    known: dict[str, t.Any] = json.loads(answered.about)

    return Turn(
        text="",
        mode=Mode(known["mode"]),
        account_id=account_id,
        conversation_id=answered.conversation_id,
        inbox_id=known["inbox"],
        message_id=known["message"],
        messages=tuple(Message(id, "") for id in known["messages"]),
        purpose=known["purpose"],
    )
