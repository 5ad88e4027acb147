"""What a turn posts: the provider's answer, or a hand-off where there is none."""

from __future__ import annotations

import contextlib
import typing as t

from flask_chatwoot.errors import APIError
from flask_chatwoot.logs import logger
from flask_chatwoot.outcomes import Reason, TurnOutcome
from flask_chatwoot.ownership.gate import TurnDecision
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.policy import Audience
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.replies import Answer, Handoff, Provider, Turn

from . import loops, silence
from .changes import changes_of
from .drafts import parts_of
from .ending import Ending
from .handoff import encode
from .parts import TurnParts
from .providers import ask, can_read, provider_for

log = logger(__name__)

Composed = tuple[list[DraftPart], str | None]
"""The posts of a turn, and the hand-off to make after them, as JSON, if any."""


class Composer:
    """Composes what one attempt at a turn posts.

    :param known: Who may hear the turn, as decided when the attempt began.
    :param keep_transcript: Called before the provider, which may read the history.
    :param supersede: Lets the next turn answer this one's messages too, if one waits.
    :param time_out: Gives the turn up while the provider is still at work.
    """

    def __init__(
        self,
        parts: TurnParts,
        job: Job,
        known: TurnDecision,
        turn: Turn,
        *,
        keep_transcript: t.Callable[[], None],
        supersede: t.Callable[[], bool],
        time_out: t.Callable[[], None],
    ) -> None:
        self._parts = parts
        self._job = job
        self._known = known
        self._decision = known.decision
        self._turn = turn
        self._delivered = known.event.conversation
        self._keep_transcript = keep_transcript
        self._supersede = supersede
        self._time_out = time_out
        self._opened = False

    def compose(self, silent: str | None) -> Composed | Ending:
        """What to post and do, from the provider's answer.

        :param silent: An earlier attempt has asked the provider, and got no answer for
            this reason.
        """
        if silent is None:
            self._restore_choice()
            answer = self._ask()

            if isinstance(answer, Answer):
                most = self._parts.config.max_parts
                return parts_of(
                    answer,
                    self._turn,
                    most=most,
                    find_texts=self._parts.language.texts,
                )

            if self._turn.mode is Mode.BOT and answer.reason in loops.REASONS:
                return self._silence(str(answer.reason))

            if not self._is_unwanted(answer):
                return answer

            silent = answer.reason or Reason.NO_ANSWER

        return self._break_silence(silent)

    def _is_unwanted(self, ending: Ending) -> bool:
        return not self._opened and silence.is_unwanted(
            ending.reason,
            self._known.event,
            providers=self._parts.providers,
            config=self._parts.config,
        )

    def _break_silence(self, reason: str) -> Composed | Ending:
        """Hand a conversation off that nobody would answer while it is pending."""
        try:
            waits = self._parts.gate.is_waiting(self._known)
        except APIError:
            undecided = encode(Handoff(), because=reason)
            self._parts.outbox.keep(self._job, [], handoff=undecided)
            raise

        if not waits:
            return Ending(TurnOutcome.DECLINED, reason)

        if self._supersede():
            return Ending(TurnOutcome.DECLINED, Reason.SUPERSEDED, settled=True)

        return self._silence(reason)

    def _silence(self, reason: str) -> Composed:
        texts = self._parts.language.texts()

        return silence.posts_about(reason, self._turn, texts)

    def _ask(self) -> Answer | Ending:
        turn = self._turn

        if not turn.messages:
            return Ending(TurnOutcome.DECLINED, Reason.DELETED)

        if self._decision.audience is Audience.NOBODY:
            return Ending(TurnOutcome.DECLINED, self._decision.reason)

        if self._is_too_old():
            return Ending(TurnOutcome.DECLINED, Reason.TOO_OLD)

        if turn.mode is Mode.HUMAN and not self._parts.config.draft_notes:
            return self._leave_to_operators()

        if turn.mode is Mode.HUMAN:
            self._open_pending()

        return self._ask_provider()

    def _ask_provider(self) -> Answer | Ending:
        turn = self._turn
        provider = provider_for(self._parts.providers, turn)

        if provider is None:
            return Ending(TurnOutcome.DECLINED, Reason.NO_PROVIDER)

        if not can_read(provider, turn):
            return Ending(TurnOutcome.DECLINED, Reason.EMPTY)

        loop = loops.loop_in(
            self._job.recent,
            changes=changes_of(self._job),
            repeats=self._parts.config.max_repeats,
            turns=self._parts.config.max_turns_per_hour,
            answers=turn.mode is Mode.BOT,
        )

        return Ending(TurnOutcome.DECLINED, loop) if loop else self._call(provider)

    def _is_too_old(self) -> bool:
        """Whether even the newest message of the turn is too old to be answered."""
        known = self._known

        # Nearly always, that alone decides.
        if known.context.age <= self._parts.config.policy.max_age:
            return False

        return self._parts.gate.is_too_old(known.event, received_at=self._job.until)

    def _call(self, provider: Provider) -> Answer | Ending:
        if provider.takes_turn:
            self._parts.history.learn(self._job.conversation_id)
            self._keep_transcript()  # before the next turn may begin

        answer = self._answer_of(provider)

        if answer is None:
            return Ending(TurnOutcome.DECLINED, Reason.NO_ANSWER)

        if answer.on_purpose:
            return Ending(TurnOutcome.DECLINED, Reason.NO_REPLY)

        return answer

    def _leave_to_operators(self) -> Ending:
        """No note: without an open conversation operators would know of nothing.

        :raises APIError: It was not opened; the turn is tried again.
        """
        self._opened = self._parts.changes.open_pending(
            self._job.conversation_id, self._delivered
        )

        return Ending(TurnOutcome.DECLINED, Reason.NO_DRAFT_NOTES)

    def _answer_of(self, provider: Provider) -> Answer | None:
        """Call the provider.

        :raises LateAnswerError: It has answered after CHATWOOT_PROVIDER_TIMEOUT.
        """
        calls, turn = self._parts.calls, self._turn

        with self._typing() as hide:

            def give_up() -> None:
                hide()
                self._time_out()

            with calls.limited(self._job, give_up):
                return ask(self._parts.app, provider, turn)

    def _typing(self) -> contextlib.AbstractContextManager[t.Callable[[], None]]:
        """Show the typing indicator to a customer who is going to be answered."""
        if self._turn.mode is Mode.HUMAN:
            return contextlib.nullcontext(_nothing)

        return self._parts.typing.shown(self._job.conversation_id)

    def _open_pending(self) -> None:
        try:
            self._opened = self._parts.changes.open_pending(
                self._job.conversation_id, self._delivered
            )
        except APIError as error:
            log.warning("a pending conversation was not opened: %s", error)

    def _restore_choice(self) -> None:
        """After a resolve, set the attribute to what the customer had chosen."""
        if self._known.ownership.to_restore is None:
            return

        try:
            # Chatwoot tells of this change as of an operator's return: what operators
            # wrote before it would not count any more.
            ownership = self._parts.gate.look(self._known)

            if ownership.to_restore is not None:
                self._parts.changes.restore_choice(
                    self._job.conversation_id, self._delivered, ownership
                )
        except APIError as error:
            log.warning("the attribute was not restored: %s", error)


def _nothing() -> None:
    """There is no typing indicator to hide."""
