"""One attempt at a turn: call the provider, post its answer, settle the job."""

from __future__ import annotations

import contextlib
import functools
import time
import typing as t

from flask_chatwoot import signals
from flask_chatwoot.errors import (
    APIError,
    ChatwootError,
    DatabaseError,
    GiveUp,
    LeaseLostError,
    ProviderError,
    ProviderFailedError,
)
from flask_chatwoot.logs import logger
from flask_chatwoot.outcomes import Reason, TurnOutcome
from flask_chatwoot.ownership.gate import OutdatedError, PostDecision, TurnDecision
from flask_chatwoot.ownership.policy import Audience, Decision
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.jobs import FailedBy
from flask_chatwoot.queue.outbox import Draft
from flask_chatwoot.queue.transcript import TranscriptEntry
from flask_chatwoot.replies import Turn

from .calls import LateAnswerError
from .changes import (
    ChangedError,
    fail_if_changed,
    is_changed_since,
    keep_changes,
)
from .composing import Composed, Composer
from .drafts import answer_in, as_note, said_in, shown_in
from .ending import Ending, HandoffError, log_end
from .giving_up import last_posts, rest_of
from .handoff import because as handed_off_because
from .messages import follow_up_of, shown
from .parts import TurnParts
from .posting import TooSoonError
from .retry import allows_posts, attempts_of, crashed, postponed, reason_of, unconfirmed

log = logger(__name__)


class Attempt:
    """One attempt at a turn.

    :param known: Who may hear the turn, as decided when the attempt began.
    """

    def __init__(
        self, parts: TurnParts, job: Job, known: TurnDecision, turn: Turn
    ) -> None:
        self._parts = parts
        self._job = job
        self._known = known
        self._decision = known.decision
        self._turn = turn
        self._delivered = known.event.conversation
        self._posted: list[TranscriptEntry] = []
        self._drafts: t.Sequence[Draft] = job.drafts
        self._handoff = job.handoff
        self._is_silent = False
        self._is_kept = False
        self._made = {draft.id for draft in job.drafts if draft.message_id is not None}
        self._note_error: APIError | None = None

    def run(self) -> None:
        """Make the attempt. Blocks while the provider and Chatwoot work.

        :raises DatabaseError: The database failed, or another worker has the job now.
        """
        with contextlib.suppress(LateAnswerError):
            self._conclude(self._end())

    def _conclude(self, ending: Ending | None) -> None:
        """Settle the turn, if it is over."""
        if ending is None:
            return

        if not ending.settled:
            self._parts.queue.settle(self._job, ending.outcome, ending.reason)

        self._finish(ending)

    def _finish(self, ending: Ending) -> None:
        """Tell the host how the turn ended."""
        log_end(ending.outcome, ending.reason)
        self._keep_transcript()

        if ending[:2] == (TurnOutcome.DECLINED, Reason.TOO_OLD):
            self._parts.left.add()

        signals.send(
            signals.turn_finished,
            self._parts.app,
            turn=self._turn,
            outcome=ending.outcome,
            reason=ending.reason,
        )

    def _end(self) -> Ending | None:
        """How the turn ended, or ``None`` if it is not over."""
        try:
            return self._end_unless_crashed()
        except LeaseLostError as error:
            changed = isinstance(error, ChangedError)

            if not (changed or self._parts.revisions.are_new(self._job)):
                raise

            log.debug("the job begins again: a message was changed")
            self._parts.queue.postpone(self._job, 0.0, free=True)
            return None
        except (DatabaseError, LateAnswerError):
            raise
        except Exception as error:  # noqa: BLE001 - whatever a message can cause
            signals.report(self._parts.app, "turn", error, self._turn)

            if crashed(self._parts.queue, self._parts.config, self._job, error):
                return None

            return self._give_up(Reason.CRASHED)

    def _end_unless_crashed(self) -> Ending | None:
        job = self._job

        try:
            if attempts_of(job) > self._parts.config.max_attempts:
                return self._end_without_attempts()

            return self._answer()
        except TooSoonError as error:
            reason = job.reason or Reason.UNCONFIRMED
            self._parts.queue.postpone(job, error.seconds, free=True, reason=reason)
            return None
        except HandoffError as failed:
            if self._is_postponed(failed):
                return None

            return Ending(TurnOutcome.DEAD, job.failure or reason_of(failed.error))
        except (APIError, ProviderError, ProviderFailedError) as error:
            if not isinstance(error, APIError | GiveUp):
                signals.report(self._parts.app, "provider", error, self._turn)

            if postponed(self._parts.queue, self._parts.config, job, error):
                return None

            fail_if_changed(self._parts.revisions, job)
            return self._give_up(reason_of(error), error)

    def _is_postponed(self, failed: HandoffError) -> bool:
        """Whether what is left of the hand-off is tried again.

        Also if it was refused: operators wait for it, and a right or a team may be
        changed meanwhile.
        """
        queue, config = self._parts.queue, self._parts.config

        return postponed(queue, config, self._job, failed.error, refused_too=True)

    # -- the provider ------------------------------------------------------------

    def _answer(self) -> Ending:
        job = self._job
        drafts: t.Sequence[Draft] = job.drafts
        handoff = job.handoff
        because = handed_off_because(handoff)

        if not drafts and job.failure is None and (handoff is None or because):
            posts = self._compose(because)

            if isinstance(posts, Ending):
                fail_if_changed(self._parts.revisions, self._job)
                return posts

            parts, handoff = posts
            drafts = self._drafts = self._parts.outbox.keep(job, parts, handoff=handoff)
            self._handoff = handoff

        ending = self._post_all(drafts, handoff)

        if self._is_silent and handoff is None:
            self._parts.changes.open_pending(job.conversation_id, self._delivered)

        if handoff is None or ending.settled:
            return ending

        because = handed_off_because(handoff)

        # An operator has answered meanwhile.
        if because and not ending.posted and self._note_error is None:
            return ending

        if self._is_other_bots(ending):
            return ending

        return self._hand_off(handoff, because) or ending

    def _compose(self, silent: str | None) -> Composed | Ending:
        composer = Composer(
            self._parts,
            self._job,
            self._known,
            self._turn,
            keep_transcript=self._keep_transcript,
            supersede=self._is_superseded,
            time_out=self._time_out,
        )

        return composer.compose(silent)

    def _is_other_bots(self, ending: Ending) -> bool:
        """Whether another bot has answered, and this app has not: it is not ours."""
        reasons = (ending.reason, self._decision.reason)

        return Reason.OTHER_BOT in reasons and not self._made

    # -- posting -----------------------------------------------------------------

    def _post_all(self, drafts: t.Sequence[Draft], handoff: str | None) -> Ending:
        """Post the drafts that their audience may still see."""
        ending = Ending(TurnOutcome.DECLINED, self._decision.reason)

        for draft in drafts:
            is_last = draft is drafts[-1] and handoff is None

            try:
                ending = self._post(draft, ending, is_last=is_last)
            except APIError as error:
                # Operators get the conversation first, and then the note again.
                is_of_handoff = draft.private and handoff and not self._job.failure

                if not is_of_handoff or error.status is None:
                    raise

                self._note_error = self._note_error or error

            if ending.settled:
                break

        return self._unless_failed(ending)

    def _post(self, draft: Draft, before: Ending, *, is_last: bool) -> Ending:
        """Post a draft if it may be seen; how the turn ends after it."""
        if self._parts.poster.find(self._job, draft) is not None:
            return before.after(draft, self._decision.reason)

        self._expect_current(draft)

        try:
            return self._make(draft, before, is_last=is_last)
        except OutdatedError:  # decide once more
            return self._make(draft, before, is_last=is_last)

    def _make(self, draft: Draft, before: Ending, *, is_last: bool) -> Ending:
        """Decide about a draft, and post it if it may be seen.

        :raises OutdatedError: The decision no longer holds; nothing was sent.
        """
        decided = self._parts.gate.may_hear_post(self._known, private=draft.private)
        decision = decided.decision
        self._keep_changes()

        if self._is_withheld(draft, decision):
            reason = Reason.NO_DRAFT_NOTES if self._is_silent else decision.reason
            return before if before.posted else before._replace(reason=reason)

        if decision.audience is Audience.OPERATORS:
            draft = as_note(draft)

            if not before.posted and self._is_superseded():
                return Ending(TurnOutcome.DECLINED, Reason.SUPERSEDED, settled=True)

            self._keep_for_review(draft)

        said = said_in(draft, self._parts.outbox.files)
        after = self._unless_failed(before.after(draft, decision.reason))
        message_id = self._parts.poster.ensure_posted(
            self._job,
            draft,
            mode=self._turn.mode,
            settle=functools.partial(self._settle, after, draft) if is_last else None,
            expect=functools.partial(self._expect_same, draft, decided),
        )

        self._made.add(draft.id)

        if not draft.private:
            self._posted.append(TranscriptEntry(message_id, "assistant", said))

        return after._replace(settled=is_last)

    def _expect_same(self, draft: Draft, decided: PostDecision) -> None:
        """Look again if the post was delayed; see :meth:`.Gate.look_again`."""
        if not draft.private and time.monotonic() > decided.until:
            self._parts.gate.look_again(self._known, decided)
            self._keep_changes()

    def _keep_changes(self) -> None:
        """Keep what the look has shown of the customer's messages.

        :raises ChangedError: One was changed; the turn must begin again.
        """
        if self._job.failure is None and not self._made:
            revisions, messages = self._parts.revisions, self._turn.messages
            keep_changes(revisions, self._job, self._known, messages)

    def _expect_current(self, draft: Draft) -> None:
        """Do not send once more what was sent before a message was changed.

        :raises ChangedError: The turn must begin again.
        """
        job, sent_at = self._job, draft.sent_at

        if sent_at is None or self._made or job.failure is not None:
            return

        # It did not arrive, as the search has shown.
        if is_changed_since(job, sent_at) and self._parts.outbox.unsent(
            job, draft, outdated=True
        ):
            raise ChangedError(f"A message of job {job.id} was changed.")

    def _unless_failed(self, ending: Ending) -> Ending:
        """The posts of a turn that failed do not change how it ended."""
        if self._job.failure is None:
            return ending

        return Ending(TurnOutcome.DEAD, self._job.failure, ending.settled)

    def _settle(self, ending: Ending, draft: Draft, message_id: int) -> None:
        """End the turn with its last post."""
        self._parts.queue.settle(
            self._job, ending.outcome, ending.reason, posted=(draft, message_id)
        )

    def _is_withheld(self, draft: Draft, decision: Decision) -> bool:
        if decision.audience is Audience.NOBODY:
            return True

        if self._is_of_answer(draft) and not self._parts.config.draft_notes:
            self._is_silent |= decision.audience is Audience.OPERATORS

            return self._is_silent

        # The fallback message is for the customer; operators have a note of their own.
        return (
            self._job.failure is not None
            and not draft.private
            and decision.audience is Audience.OPERATORS
        )

    def _is_of_answer(self, draft: Draft) -> bool:
        """Whether a draft is a part of the answer, not a note about how it ended."""
        parts = answer_in(self._drafts, self._handoff)

        return self._job.failure is None and draft.id in {each.id for each in parts}

    def _keep_for_review(self, draft: Draft) -> None:
        """Keep what operators will see of the answer, before its first note."""
        feedback = self._parts.feedback

        if not feedback.wanted or self._is_kept or not self._is_of_answer(draft):
            return

        parts = answer_in(self._drafts, self._handoff)
        text = shown_in(parts, self._made, self._parts.language.texts())
        feedback.keep_note(self._job, self._turn, text)
        self._is_kept = True

    def _is_superseded(self) -> bool:
        """Whether the customer wrote again, so that the next turn's note has both.

        Only for the time that a burst may take: a customer who does not stop writing
        must not keep operators without any note.
        """
        job = self._job
        waited = self._parts.clock() - job.since

        if job.failure or waited > self._parts.config.burst_max:
            return False

        kept = [(message.id, follow_up_of(message)) for message in self._turn.messages]

        return self._parts.queue.supersede(job, kept, Reason.SUPERSEDED)

    def _hand_off(self, handoff: str, reason: str | None = None) -> Ending | None:
        """How the turn ends after it; ``None`` if the conversation was resolved."""

        def keep(rest: str) -> None:
            self._parts.outbox.keep(self._job, [], handoff=rest)

        try:
            done = self._parts.changes.hand_off(
                self._job.conversation_id,
                self._delivered,
                handoff,
                keep,
                received_at=self._job.newest_at,
            )
        except APIError as error:
            raise HandoffError(error) from error

        if self._note_error is not None:
            raise HandoffError(self._note_error) from self._note_error

        if self._job.failure is not None:
            return Ending(TurnOutcome.DEAD, self._job.failure)

        return Ending(TurnOutcome.HANDED_OFF, reason) if done else None

    def _keep_transcript(self) -> None:
        if not self._parts.providers.take_turns:
            return

        asked = [
            TranscriptEntry(each.id, "user", shown(each))
            for each in self._turn.messages
        ]
        replies = {m.id: m.in_reply_to for m in self._turn.messages if m.in_reply_to}
        self._parts.history.keep(
            self._job.conversation_id, [*asked, *self._posted], replies=replies
        )

    # -- giving up ---------------------------------------------------------------

    def _end_without_attempts(self) -> Ending | None:
        """No attempt is left, but the last one may have reached Chatwoot."""
        job = self._job
        missing = [
            draft for draft in job.drafts if self._parts.poster.find(job, draft) is None
        ]

        if job.drafts and not missing:
            return self._answer()  # nothing is left to post

        self._made |= {each.id for each in job.drafts if each not in missing}
        sent = any(draft.sent_at is not None for draft in missing)
        reason = unconfirmed(job) if sent else Reason.CRASHED
        log.error("the job is dead (%s)", reason)

        return self._give_up(reason)

    def _give_up(
        self, reason: Reason, error: ChatwootError | None = None
    ) -> Ending | None:
        """End a failed turn; first with a note and a hand-off, if they can be made."""
        job = self._job

        if job.failure is not None:
            return self._end_without_last_posts(job.failure)

        texts = self._parts.language.texts
        posts, handoff = last_posts(
            reason,
            self._known.context,
            self._parts.config,
            texts,
            given=error.reason if isinstance(error, GiveUp) else None,
        )

        if not self._is_silent:
            posts += rest_of(self._drafts, self._made, self._parts.outbox.files, texts)

        if not posts or (error is not None and not allows_posts(error)):
            return Ending(TurnOutcome.DEAD, reason)

        self._parts.queue.give_up(job, reason, posts, handoff=handoff)

        return None

    def _time_out(self) -> None:
        """Give the turn up, in another thread, while its provider is at work."""
        job, reason = self._job, Reason.PROVIDER_TIMEOUT
        limit = self._parts.config.provider_timeout
        text = "the job is dead (%s): no answer within %g s (CHATWOOT_PROVIDER_TIMEOUT)"
        log.error(text, reason, limit)
        self._parts.queue.failed(job, FailedBy.PROVIDER)

        with self._parts.app.app_context():
            self._conclude(self._give_up(reason))

    def _end_without_last_posts(self, failure: str) -> Ending | None:
        """The last posts failed too; operators get the conversation, if possible."""
        try:
            if self._job.handoff is not None:
                self._hand_off(self._job.handoff)
        except HandoffError as failed:
            if self._is_postponed(failed):
                return None

        return Ending(TurnOutcome.DEAD, failure)
