"""Decides who gets an answer: before the provider, and right before each post."""

from __future__ import annotations

import math
import time
import typing as t
from dataclasses import dataclass

from flask_chatwoot.errors import APIError, ChatwootError, described
from flask_chatwoot.logs import logger
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.queue.inspection import KEEP
from flask_chatwoot.queue.outbox import Outbox

from . import context, state
from .deliveries import shown_by
from .identity import Identity, is_by_other_bot, is_ours
from .live import LiveState
from .mode import ModeAttribute
from .policy import (
    Audience,
    Decision,
    Policy,
    PolicyContext,
    PolicySettings,
    decision_from,
)
from .search import NOTHING, Found, OperatorSearch
from .state import Ownership
from .store import OwnershipStore

OUTDATED: t.Final = 1.0
"""Seconds after which a look is repeated before a public post. Most posts follow at
once; a policy, receivers of ``before_post`` and a search may take longer."""

log = logger(__name__)


class OutdatedError(ChatwootError):
    """What was decided about a post may no longer hold."""


class TurnDecision(t.NamedTuple):
    """The decision about a turn, and what it was based on.

    :ivar at: When it was made, Unix seconds.
    :ivar after: The messages that looks list are newer than this one: those of the turn
        and all later ones.
    :ivar seen: Messages that the looks before posts have shown; they grow.
    """

    event: MessageEvent
    ownership: Ownership
    context: PolicyContext
    decision: Decision
    at: float
    after: int
    seen: list[ChatwootMessage]

    def __repr__(self) -> str:
        return f"<TurnDecision about {self.event!r}>"


class PostDecision(t.NamedTuple):
    """The decision about a post, and what it was based on.

    :ivar until: When the look is outdated, by :func:`time.monotonic`; never for a note.
    """

    decision: Decision
    context: PolicyContext
    until: float


@dataclass(eq=False, repr=False, kw_only=True)
class Gate:
    """Decides about the conversations of one app. Thread-safe.

    :ivar find_policy: Returns the host's policy, which may be registered at any time,
        or the built-in one.
    :ivar clock: The time of the database, Unix seconds.
    :ivar ahead: Seconds by which that is ahead of the machine's clock.
    :ivar on_policy_error: Called with what the policy raised, or what is wrong with
        the value that it returned.
    """

    find_policy: t.Callable[[], Policy]
    settings: PolicySettings
    modes: ModeAttribute
    live: LiveState
    identity: Identity
    search: OperatorSearch
    store: OwnershipStore
    outbox: Outbox
    clock: t.Callable[[], float]
    ahead: t.Callable[[], float]
    on_policy_error: t.Callable[[BaseException], None] | None = None

    def age(self, event: MessageEvent, now: float, *, received_at: float) -> float:
        """Seconds since a question was written; see :func:`.age_of`."""
        return context.age_of(
            event,
            received_at=received_at,
            now=now,
            remembered=KEEP,
            ahead=self.ahead(),
        )

    def age_now(self, event: MessageEvent) -> float:
        """Seconds since a question was written that is delivered now."""
        now = self.clock()

        return self.age(event, now, received_at=now)

    def is_too_old(self, event: MessageEvent, *, received_at: float) -> bool:
        """Whether the provider is not asked about a question.

        If only a clock of ours says so, Chatwoot's own decides: one request.

        :param received_at: When it was delivered, Unix seconds.
        :raises APIError: Chatwoot's time could not be read.
        """
        age = self.age(event, self.clock(), received_at=received_at)

        return self._true_age(event, age) > self.settings.max_age

    def _true_age(self, event: MessageEvent, age: float) -> float:
        """The age of a question, by Chatwoot's clock if it is too old by ours alone.

        :raises APIError: Chatwoot's time could not be read.
        """
        oldest, written_at = self.settings.max_age, event.message.written_at

        # Of a click only the time of its question is known.
        if age <= oldest or event.digest or written_at is None:
            return age

        if context.is_older_than(event, oldest):
            return age

        now = self.live.time()

        return age if now is None else max(now - written_at, 0.0)

    def may_hear_turn(
        self, event: MessageEvent, *, received_at: float, first: int | None = None
    ) -> TurnDecision:
        """Decide whether the provider is called, and for whom.

        Reads the live state only if operators have the conversation: they may have
        returned it meanwhile.

        :param received_at: When the turn's oldest delivery came, Unix seconds.
        :param first: The id of its oldest message that was written, not picked.
        """
        ownership = self._ownership(event)
        now = self.clock()
        age = self.age(event, now, received_at=received_at)

        try:
            age = self._true_age(event, age)
        except APIError as error:
            # Before the provider is asked, this is found out once more.
            log.warning("Chatwoot's time could not be read: %s", error)

        known = context.context_of(
            event, ownership, modes=self.modes, settings=self.settings, age=age
        )

        decision = self._decide(known)
        after = event.message.id if first is None else first - 1

        return TurnDecision(event, ownership, known, decision, now, after, [])

    def may_hear_post(self, turn: TurnDecision, *, private: bool) -> PostDecision:
        """Decide whether a post is still made, and for whom.

        Reads the live state before each public post, if the token may read it.

        :raises APIError: The live state could not be read, so nothing public may be
            posted.
        """
        known, _ = self._now(turn, None) if private else self._look_now(turn)
        until = math.inf if private else time.monotonic() + OUTDATED

        return PostDecision(self._decide(known), known, until)

    def look_again(self, turn: TurnDecision, decided: PostDecision) -> None:
        """Look once more before a public post that was delayed.

        The policy is not asked: as long as its context is the same, apart from the age,
        so is its decision.

        :raises OutdatedError: It is not the same; decide again.
        :raises APIError: The live state could not be read.
        """
        known, _ = self._look_now(turn)

        if known._replace(age=decided.context.age) != decided.context:
            raise OutdatedError(
                f"Conversation {turn.event.conversation.id} has changed while a post "
                "was delayed."
            )

    def look(self, turn: TurnDecision) -> Ownership:
        """The ownership by the live state, as before a public post.

        :raises APIError: The live state could not be read.
        """
        return self._look_now(turn)[1]

    def is_waiting(self, turn: TurnDecision) -> bool:
        """Whether a customer waits where nobody but this app would answer.

        That is so while the conversation is pending, and ours, unless the policy says
        nobody. By the live state, else by the newest delivery. Blocks for its
        requests.

        :raises APIError: The live state could not be read, and the newest delivery
            says pending, or a status that may have changed since.
        """
        event = turn.event
        status = state.newest_status(
            self.store.load(event.conversation.id),
            event.conversation.status,
            event.conversation.updated_at,
        )

        try:
            live = self.live.conversation(event.conversation.id)
        except APIError:
            if status in ("open", None):  # most likely still: operators see it
                return False

            raise

        known, ownership = self._now(turn, live)

        if live is not None:
            status = live.status

        if status != "pending" or self._decide(known).audience is Audience.NOBODY:
            return False

        return self._is_ours(live or event.conversation, event, ownership)

    def _look_now(self, turn: TurnDecision) -> tuple[PolicyContext, Ownership]:
        """Look at the live state, if the token may read it; see :meth:`_now`."""
        return self._now(turn, self.live.conversation(turn.event.conversation.id))

    def _now(
        self, turn: TurnDecision, live: Conversation | None
    ) -> tuple[PolicyContext, Ownership]:
        """The context and the ownership after a look at the live state."""
        event = turn.event
        found = None

        if live is not None:
            found = self.search.newest(event, live, turn.ownership, after=turn.after)

        # After all requests: an operator may have written meanwhile.
        ownership = self.store.load(event.conversation.id)

        if live is not None and found is not None:
            ownership = self._see_live(event, turn.ownership, live, ownership, found)
            self.search.note(event.conversation.id, turn.ownership)

        age = turn.context.age + max(self.clock() - turn.at, 0.0)
        known = turn.context._replace(
            taken=ownership.taken,
            answered=context.is_answered(event, ownership),
            bot_answered=context.is_bot_answered(event, ownership),
            age=self._true_age(event, age),
        )

        if live is None or found is None:
            newest = context.as_delivered(
                event, ownership, mode=known.mode, status=known.status
            )
            return known._replace(**newest), ownership

        turn.seen.extend(found.messages)

        return self._with_live(known, event, live, ownership, found), ownership

    def _with_live(
        self,
        known: PolicyContext,
        event: MessageEvent,
        live: Conversation,
        ownership: Ownership,
        found: Found,
    ) -> PolicyContext:
        return context.with_live(
            known,
            live,
            ownership,
            modes=self.modes,
            last_speaker=found.last_speaker,
            answered=context.is_answer(event, found.operator_id),
            bot_answered=context.is_answer(event, found.bot_message_id),
        )

    def _decide(self, known: PolicyContext) -> Decision:
        """The policy's decision. If the policy fails, the answer is a note."""
        try:
            policy = self.find_policy()

            return decision_from(policy(known), policy)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - the host's code, any error at all
            log.error("the policy failed: %s", described(error))  # noqa: TRY400

            if self.on_policy_error is not None:
                self.on_policy_error(error)

        return Decision(Audience.OPERATORS, Reason.POLICY_FAILED)

    # -- who has the conversation ------------------------------------------------

    def _ownership(self, event: MessageEvent) -> Ownership:
        """The ownership of a conversation, updated by the state in the delivery."""
        ownership = self.store.load(event.conversation.id)
        shown = shown_by(event, self.modes)

        if shown(ownership) != ownership:
            ownership = self.store.apply(event.conversation.id, shown).after

        if not ownership.taken:
            return ownership

        live = self._look(event.conversation.id)

        if live is None:
            return ownership

        return self._see_live(event, ownership, live, ownership)

    def _look(self, conversation_id: int) -> Conversation | None:
        try:
            return self.live.conversation(conversation_id)
        except APIError as error:
            # Harmless: the live state is read again before each public post.
            log.warning("the conversation could not be read: %s", error)
            return None

    def _see_live(
        self,
        event: MessageEvent,
        before: Ownership,
        live: Conversation,
        ownership: Ownership,
        found: Found = NOTHING,
    ) -> Ownership:
        """The ownership, updated by the live state.

        :param before: The ownership before the read: the live state may not include
            an operator's message that came after it.
        """
        newest = before.operator_message_id
        choice = self.modes.choice(live)

        def seen(known: Ownership) -> Ownership:
            known = state.live_mode_seen(known, choice, newest, live.updated_at)

            # Where no conversation is ever pending, its status need not be kept.
            if known.status is not None or live.status != "open":
                known = state.status_seen(
                    known, live.status, live.updated_at, newest=newest
                )

            # Their deliveries may be late or lost.
            if found.operator_id:
                known = state.operator_wrote(known, found.operator_id)

            if context.is_answer(event, found.bot_message_id):
                known = state.bot_wrote(known, found.bot_message_id)

            return known

        if seen(ownership) == ownership:
            return ownership

        return self.store.apply(event.conversation.id, seen, durable=True).after

    # -- whose a conversation is ---------------------------------------------------

    def _is_ours(
        self, conversation: Conversation, event: MessageEvent, ownership: Ownership
    ) -> bool:
        """Whether no other machine answers a conversation.

        Ours: our bot is assigned; or no machine is, and no other bot has written there
        in public since the last resolve, or our bot's own webhook told it. Captain and
        Dialogflow show no assignee before Chatwoot 4.18.
        """
        assignee = conversation.assignee

        if assignee is not None and not assignee.is_operator:
            return self.identity.is_assigned(assignee)

        return not self._has_other_bot(event, ownership) or self.identity.is_bot()

    def _has_other_bot(self, event: MessageEvent, ownership: Ownership) -> bool:
        if ownership.bot_message_id:
            return True

        # Its deliveries may be lost, or from before this database.
        conversation_id = event.conversation.id
        listed = self.live.messages(conversation_id, ownership.resolved_message_id)

        return any(
            (each.presumed or is_by_other_bot(each, self.store))
            and not is_ours(self.outbox, conversation_id, each)
            for each in listed
        )
