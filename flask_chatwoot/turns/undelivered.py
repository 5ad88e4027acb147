"""What follows if the channel refuses a post after Chatwoot has accepted it."""

from __future__ import annotations

from flask_chatwoot import signals
from flask_chatwoot.errors import ChatwootError
from flask_chatwoot.outcomes import Reason, TurnOutcome
from flask_chatwoot.ownership.policy import Audience
from flask_chatwoot.queue.outbox import Draft
from flask_chatwoot.replies import Handoff

from .attempt import Attempt
from .composing import Composed
from .ending import Ending, log_end
from .giving_up import last_posts
from .handoff import encode


class RefusalAttempt(Attempt):
    """One attempt at the job about a post that the channel refused.

    Operators get a note, and the conversation, as after a turn that failed for good.
    The fallback message is not posted, as the channel would refuse it as well. Nothing
    is done where operators have the conversation: Chatwoot shows them the refusal.
    """

    def _compose(self, silent: str | None) -> Composed | Ending:
        if self._decision.audience is Audience.NOBODY:
            return Ending(TurnOutcome.DECLINED, self._decision.reason)

        reason, config = Reason.UNDELIVERED, self._parts.config
        posts, handoff = last_posts(
            reason, self._known.context, config, self._parts.language.texts
        )
        notes = [post for post in posts if post.private]

        if not notes:
            return Ending(TurnOutcome.DECLINED, reason)

        return notes, handoff and encode(Handoff(), because=reason)

    def _is_of_answer(self, draft: Draft) -> bool:
        return False

    def _is_superseded(self) -> bool:
        return False  # another turn does not answer for it

    def _give_up(
        self, reason: Reason, error: ChatwootError | None = None
    ) -> Ending | None:
        return self._end_without_last_posts(reason)

    def _finish(self, ending: Ending) -> None:
        log_end(ending.outcome, ending.reason)
        message = self._known.event.message
        signals.send(
            signals.undelivered,
            self._parts.app,
            conversation_id=self._job.conversation_id,
            message_id=message.id,
            error=message.refusal,
            outcome=ending.outcome,
            reason=ending.reason,
        )
