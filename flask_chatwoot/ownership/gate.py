"""Who has a conversation, and so who may be told: asked before and after the provider.

What webhooks tell is noted as it comes in. Chatwoot itself is asked right before
anything is posted in public, if the token may read.
"""

from __future__ import annotations

import logging
import time
import typing as t
from dataclasses import dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.config import Config
from flask_chatwoot.errors import APIError, PermanentError, trace
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.events import ConversationEvent, MessageEvent
from flask_chatwoot.payloads.fields import (
    Object,
    as_id,
    as_object,
    as_seconds,
    as_text,
    storable,
)
from flask_chatwoot.queue.inspection import KEEP
from flask_chatwoot.queue.jobs import Inbox, Job
from flask_chatwoot.turns.posting import is_post_of

from . import mode, policy
from .mode import Mode
from .policy import Audience, Decision, Policy, PolicyContext, Speaker
from .store import Holding, Memory

ASK_AGAIN: t.Final = 600.0
"""Seconds after which a token that might not read is tried again."""

BLIND_AFTER: t.Final = 3
"""Conversations that a token may not read, and none that it may: it reads none."""

LONGEST_DELAY: t.Final = 30 * 86_400.0
"""Seconds. Chatwoot's queue holds no delivery that long; a message that seems older
comes from a clock that is wrong."""

log = logging.getLogger(__name__)


class Case(t.NamedTuple):
    """What was known, and decided, when a turn began.

    :ivar at: Unix seconds.
    """

    event: MessageEvent
    holding: Holding
    facts: PolicyContext
    decision: Decision
    at: float

    def __repr__(self) -> str:
        return f"<Case of {self.event!r}>"


@dataclass(eq=False, repr=False, kw_only=True)
class Gate:
    """Decides about the conversations of one app. Threads share it.

    :ivar reader: Whose token may read conversations, if any may.
    """

    config: Config
    policy: Policy
    reader: ChatwootClient
    inbox: Inbox
    memory: Memory
    _reads: bool = field(default=False, init=False)
    _refused: dict[int, float] = field(default_factory=dict, init=False)
    _blind_until: float = field(default=0.0, init=False)

    # -- what webhooks tell ----------------------------------------------------

    def note_message(self, event: MessageEvent) -> bool:
        """Take note of a message that needs no answer.

        :return: Whether a person took the conversation with it, and the attribute has
            still to say so; see :meth:`Memory.operator_wrote`.
        """
        if not event.by_operator or self._is_ours(event):
            return False

        took = self.memory.operator_wrote(event.conversation_id, event.message_id)
        self._note_human(event)

        return took

    def _note_human(self, event: MessageEvent) -> None:
        """The attribute may say human already; then a later state may say bot again."""
        conversation = as_object(event.raw.get("conversation"))
        at = as_seconds(conversation.get("updated_at"))

        if at is not None and self._chosen(conversation) is Mode.HUMAN:
            self.memory.seen_human(event.conversation_id, at)

    def _is_ours(self, event: MessageEvent) -> bool:
        # In this order: a post that ends in between is seen by the second.
        under_way = self.inbox.under_way(
            event.conversation_id, message_id=event.message_id
        )

        if any(is_post_of(draft, event.raw) for draft in under_way):
            return True

        return self.inbox.made(event.message_id)

    def note_conversation(self, event: ConversationEvent) -> None:
        """Take note of a conversation's new status or attribute."""
        if event.resolves:
            self.memory.resolved(
                event.conversation_id, events.newest_message(event.raw)
            )
            return

        change = event.change_of(self.config.support_mode_attr)
        back = change is not None and (
            self._meaning(change[1]) is Mode.BOT
            and self._meaning(change[0]) is not Mode.BOT
        )

        # Chatwoot tells of a change late, and of the state as it is by then.
        if back and self._chosen(event.raw) is not Mode.HUMAN:
            self.memory.give_back(event.conversation_id)
        else:
            self._note_state(event.conversation_id, event.raw)

    def _note_state(self, conversation_id: int, conversation: Object) -> Holding:
        """Tell from a state of a conversation whether it was given back.

        It was, if the attribute says bot in a later state than one that said human.
        """
        holding = self.memory.holding(conversation_id)
        at = as_seconds(conversation.get("updated_at"))

        if not holding.taken or at is None:
            return holding

        chosen = self._chosen(conversation)

        if chosen is Mode.HUMAN:
            self.memory.seen_human(conversation_id, at)
        elif chosen is Mode.BOT and holding.human_at and at > holding.human_at:
            return self._give_back(conversation_id, holding)

        return holding

    def _give_back(self, conversation_id: int, holding: Holding) -> Holding:
        """Who has it after it was given back: a person, if one wrote since we knew."""
        self.memory.give_back(conversation_id, newest=holding.operator_message_id)

        return self.memory.holding(conversation_id)

    def _chosen(self, conversation: Object) -> Mode | None:
        attributes = as_object(conversation.get("custom_attributes"))

        return self._meaning(attributes.get(self.config.support_mode_attr))

    def _meaning(self, value: t.Any) -> Mode | None:
        return mode.meaning(value, self.config.words)

    # -- decisions ---------------------------------------------------------------

    def resolve(self, raw: Object) -> Mode:
        """Who answers by attribute, in any payload with a ``conversation``."""
        return mode.resolve(
            raw,
            attribute=self.config.support_mode_attr,
            words=self.config.words,
            default=self.config.default_mode,
        )

    def before(self, job: Job, event: MessageEvent) -> Case:
        """Whether, and for whom, the provider is asked.

        Chatwoot is asked only if a person has the conversation, who may have given it
        back in the meantime.
        """
        conversation = as_object(event.raw.get("conversation"))
        holding = self._note_state(event.conversation_id, conversation)

        if holding.taken and (live := self._ask_if_possible(event)) is not None:
            holding = self._note_live(event.conversation_id, holding, live)

        facts = self._facts(job, event, holding)

        return Case(event, holding, facts, self._decide(facts), self.inbox.clock())

    def _decide(self, facts: PolicyContext) -> Decision:
        """What the policy says; if it fails, nothing goes to the customer."""
        try:
            decision: t.Any = self.policy(facts)
        except Exception as error:  # noqa: BLE001 - the host's code, any error at all
            log.error("the policy raised %s", trace(error))  # noqa: TRY400
            decision = None

        return _checked(decision) or Decision(Audience.OPERATORS, Reason.POLICY_FAILED)

    def _ask_if_possible(self, event: MessageEvent) -> Object | None:
        try:
            return self.ask(event.conversation_id)
        except APIError as error:
            # No harm: what is posted in public is asked about again.
            log.warning("could not see who has a conversation: %s", error)
            return None

    def before_post(self, case: Case, *, private: bool) -> Decision:
        """Whether, and for whom, a draft is still wanted.

        :raises APIError: Chatwoot could not be asked, so nothing public may be sent.
        """
        event = case.event
        holding = self.memory.holding(event.conversation_id)
        live = None if private else self.ask(event.conversation_id)
        passed = self.inbox.clock() - case.at

        if live is not None:
            holding = self._note_live(event.conversation_id, holding, live)

        facts = case.facts

        if holding != case.holding or passed > 1.0:
            facts = facts._replace(
                taken=holding.taken,
                answered=_answered(event, holding),
                age=facts.age + passed,
            )

        if live is not None:
            facts = self._with_live(facts, event, live, holding)

        return self._decide(facts)

    def _note_answer(self, event: MessageEvent, answer: int) -> bool:
        """Take note of a person's answer, whose own delivery may be late, or lost."""
        if not answer or event.digest:
            return False

        self.memory.operator_wrote(event.conversation_id, answer)

        return True

    # -- facts -------------------------------------------------------------------

    def _facts(self, job: Job, event: MessageEvent, holding: Holding) -> PolicyContext:
        conversation = as_object(event.raw.get("conversation"))
        people = events.contact_candidates(event.raw)
        answered = _answered(event, holding)

        return PolicyContext(
            mode=self._mode(event.raw, holding),
            taken=holding.taken,
            answered=answered,
            status=as_text(conversation.get("status")),
            assignee=policy.assignee_of(conversation),
            last_speaker=Speaker.OPERATOR if answered else Speaker.CUSTOMER,
            blocked=any(person.get("blocked") is True for person in people),
            can_reply=conversation.get("can_reply") is not False,
            auto_reply=event.auto_reply,
            age=self._age(job, event),
            inbox_id=event.inbox_id,
            rules=self.config.policy,
        )

    def _with_live(
        self, facts: PolicyContext, event: MessageEvent, live: Object, holding: Holding
    ) -> PolicyContext:
        last, answer = self._last_public(event, live)
        answered = self._note_answer(event, answer)
        contact = as_object(as_object(live.get("meta")).get("sender"))

        return facts._replace(
            mode=self._mode({"conversation": live}, holding),
            answered=answered or facts.answered,
            status=as_text(live.get("status")),
            assignee=policy.assignee_of(live),
            last_speaker=last or facts.last_speaker,
            blocked=contact.get("blocked") is True,
            can_reply=live.get("can_reply") is not False,
            live=True,
        )

    def _mode(self, raw: Object, holding: Holding) -> Mode:
        """Who answers by attribute. What we wrote there ends with a resolve."""
        conversation = as_object(raw.get("conversation"))

        if holding.former is not None and self._chosen(conversation) is Mode.HUMAN:
            return Mode.BOT

        return self.resolve(raw)

    def _last_public(
        self, event: MessageEvent, live: Object
    ) -> tuple[Speaker | None, int]:
        """Who wrote last in public, and a person's newest answer to the question; 0 if
        there is none."""
        newest = event.message_id
        last = as_object(live.get("last_non_activity_message"))
        speaker = policy.speaker_of(last) if last else None
        seen: list[Object] = [] if speaker is None else [last]
        is_older = bool(seen) and (as_id(last.get("id")) or 0) <= newest

        # What came after the question may hide a person's answer: a note, what the
        # customer wrote on, a machine.
        if not is_older and speaker is not Speaker.OPERATOR:
            seen = [*self._list(event.conversation_id, newest), *seen]

        public = [each for each in seen if policy.speaker_of(each) is not None]
        answers = [
            message_id
            for each in public
            if (message_id := as_id(each.get("id")) or 0) > newest
            and self._by_person(event, each)
        ]
        last_speaker = policy.speaker_of(public[-1]) if public else None

        return last_speaker, max(answers, default=0)

    def _by_person(self, event: MessageEvent, message: Object) -> bool:
        if not events.is_by_operator(message):
            return False

        message_id = as_id(message.get("id")) or 0

        return not self._is_ours(event._replace(message_id=message_id, raw=message))

    def _age(self, job: Job, event: MessageEvent) -> float:
        now = self.inbox.clock()
        written = as_seconds(event.raw.get("created_at"))
        age = now - job.since
        waited = age if written is None else now - written

        # When a button was clicked, nobody tells: that is the time of its question. A
        # question older than the memory of repeats may have been answered long ago.
        counts = waited > KEEP if event.digest else waited < LONGEST_DELAY

        return max(age, waited) if counts else age

    # -- asking Chatwoot ---------------------------------------------------------

    def ask(self, conversation_id: int) -> Object | None:
        """The conversation now; ``None`` if the token may not read it."""
        now = time.monotonic()

        if now < max(self._blind_until, self._refused.get(conversation_id, 0.0)):
            return None

        try:
            live = self.reader.conversation(conversation_id)
        except PermanentError as error:
            if error.status not in (401, 403):
                raise

            # Then what the webhooks told counts. A token that may do nothing at all
            # fails when it posts.
            self._leave_alone(conversation_id, now)
            return None

        self._reads = True

        return live

    def _leave_alone(self, conversation_id: int, now: float) -> None:
        """Ask no more for a while, and for none if the token seems to read none.

        An operator's token reads the conversations of some Chatwoot inboxes, a bot's
        before Chatwoot 4.14.2 none at all.
        """
        still = {key: at for key, at in list(self._refused.items()) if at > now}
        self._refused = {**still, conversation_id: now + ASK_AGAIN}

        if not still:
            log.info("the token may not read conversations; webhooks must tell")

        if not self._reads and len(self._refused) >= BLIND_AFTER:
            self._blind_until = now + ASK_AGAIN

    def _list(self, conversation_id: int, after: int) -> list[dict[str, t.Any]]:
        try:
            return self.reader.messages(conversation_id, after=after)
        except PermanentError as error:
            if error.status not in (401, 403):
                raise

            return []

    def _note_live(
        self, conversation_id: int, holding: Holding, live: Object
    ) -> Holding:
        """Who has it, given a state that was asked for, and who had it before that."""
        # After we have seen it say human, nobody but an operator sets it to bot.
        if holding.taken and holding.marked and self._chosen(live) is Mode.BOT:
            return self._give_back(conversation_id, holding)

        # A person may have written while we asked.
        return self.memory.holding(conversation_id)


def _answered(event: MessageEvent, holding: Holding) -> bool:
    """Whether a person wrote after the question. A button's is older than its click."""
    return holding.operator_message_id > event.message_id and not event.digest


def _checked(decision: t.Any) -> Decision | None:
    """A host's decision, if it can be obeyed and stored as it is."""
    if not isinstance(decision, Decision):
        return None

    given: tuple[t.Any, t.Any] = decision
    audience, reason = given

    if not isinstance(audience, str) or audience not in {*Audience}:
        return None

    if reason is None:
        return Decision(Audience(audience))

    if not isinstance(reason, str):
        return None

    clean = storable(reason)

    # One of ours stays the Reason it is.
    return Decision(Audience(audience), reason if clean == reason else clean)
