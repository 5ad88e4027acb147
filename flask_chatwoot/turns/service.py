"""One attempt at a claimed job: what to say, to whom, and what comes after."""

from __future__ import annotations

import json
import logging
import typing as t
from dataclasses import dataclass

from flask import Flask

from flask_chatwoot import signals
from flask_chatwoot.client import split
from flask_chatwoot.config import Config
from flask_chatwoot.errors import (
    APIError,
    ChatwootError,
    NoProviderError,
    PayloadError,
    ProviderError,
    ProviderFailedError,
    UnknownError,
    trace,
)
from flask_chatwoot.outcomes import Reason, TurnOutcome
from flask_chatwoot.ownership.gate import Gate
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.policy import Audience, Decision
from flask_chatwoot.ownership.store import Memory, Said
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.channels import LIMIT
from flask_chatwoot.payloads.events import Attachment, MessageEvent
from flask_chatwoot.payloads.fields import Object, as_object, storable
from flask_chatwoot.payloads.versions import renders_content
from flask_chatwoot.queue.inspection import Draft
from flask_chatwoot.queue.jobs import MESSAGE, Inbox, Job, Part
from flask_chatwoot.replies import (
    Answer,
    Handoff,
    Message,
    Provider,
    Registry,
    Reply,
    Turn,
    as_answer,
)

from . import handoff
from .handoff import Handover
from .history import History
from .posting import Ending, Poster, TooSoonError
from .retry import can_be_told, passes, pause_after, reason_of
from .typing_indicator import Indicator

TAKE_OVER: t.Final = "take_over"
"""Kind of job: a person has answered, and the attribute is to say so."""

log = logging.getLogger(__name__)


class _HandoverError(ChatwootError):
    """What was to be said is said, but the conversation could not be handed over."""

    def __init__(self, error: APIError) -> None:
        super().__init__(f"The conversation was not handed over: {error}")
        self.error = error


@dataclass(eq=False, repr=False, kw_only=True)
class Answering:
    """Brings the jobs of one app forward. Threads share it."""

    app: Flask
    config: Config
    providers: Registry
    poster: Poster
    gate: Gate
    memory: Memory
    history: History
    handover: Handover
    indicator: Indicator

    @property
    def inbox(self) -> Inbox:
        """Where the jobs are."""
        return self.poster.inbox

    def handle(self, job: Job, event: MessageEvent | None = None) -> None:
        """Bring a claimed job one attempt further. Blocks for as long as that takes.

        :param event: The job's newest payload, if it is parsed already.
        :raises DatabaseError: The inbox failed, or the job is another worker's now.
        """
        try:
            event = event or message_in(job.newest)
            messages = self._messages(job, event)
            # The delivery that came last need not be about the message written last.
            event = event._replace(message_id=messages[-1].id)
        except PayloadError:
            self.inbox.settle(job, TurnOutcome.DEAD, Reason.UNREADABLE)
            log.error("job %s is dead (%s)", job.id, Reason.UNREADABLE)  # noqa: TRY400
            return

        with self.app.app_context():
            if job.kind == TAKE_OVER:
                self._take_over(job, event)
            else:
                _Attempt(self, job, event, messages).run()

    def _messages(self, job: Job, event: MessageEvent) -> tuple[Message, ...]:
        """All messages of a job, oldest first."""
        if not job.follow_ups:
            return (self._message(event),)

        first = message_in(job.payload)
        dated = [(job.received_at, self._message(first))]
        # All at once: a burst of twenty may cost little more than one message.
        said = json.loads(f"[{','.join(each.said for each in job.follow_ups)}]")
        dated += [
            (each.received_at, self._recalled(each.message_id, *what))
            for each, what in zip(job.follow_ups, said, strict=True)
        ]
        dated.sort(key=lambda pair: pair[0])  # keeps the order of what is equal

        return _as_written([message for _, message in dated])

    def _message(self, event: MessageEvent) -> Message:
        text = self._typed(event.text, rendered=event.rendered)
        files = events.attachments(event.raw)

        return Message(event.message_id, text, files, bool(event.digest))

    def _recalled(
        self,
        message_id: int,
        text: str,
        rendered: bool,
        files: list[t.Any],
        picked: bool = False,
    ) -> Message:
        attachments = tuple(Attachment(*file) for file in files) if files else ()
        text = self._typed(text, rendered=rendered)

        return Message(message_id, text, attachments, picked)

    def _typed(self, text: str, *, rendered: bool) -> str:
        """What the customer typed; asks for the server's version if it must."""
        if not rendered:
            return text

        try:
            version = self.poster.client.server_version()
        except APIError as error:
            log.warning("could not tell whether a text was rendered: %s", error)
            return text

        return events.unrendered(text) if renders_content(version) else text

    def _take_over(self, job: Job, event: MessageEvent) -> None:
        """Let the attribute say that a person has the conversation."""
        try:
            if not self.memory.holding(job.conversation_id).taken:
                self.inbox.settle(job, TurnOutcome.DECLINED, None)
                return

            self.handover.mark(job.conversation_id, conversation_in(event))
            self.inbox.settle(job, TurnOutcome.TAKEN_OVER, None)
        except APIError as error:
            if not self.postponed(job, error):
                self.inbox.settle(job, TurnOutcome.DEAD, reason_of(error))

    def postponed(self, job: Job, error: ChatwootError) -> bool:
        """Give a failed job back if another attempt may fare better."""
        reason = reason_of(error)
        left = self.config.max_attempts - job.attempts
        # After the last attempt there may at least be something left to look for.
        again = left > 0 or (left == 0 and isinstance(error, UnknownError))

        if not (again and passes(error)):
            log.error("job %s is dead (%s): %s", job.id, reason, error)
            return False

        pause = pause_after(error, job.attempts, self.config.retry_pause)
        self.inbox.postpone(job, pause, reason=reason)
        log.warning(
            "job %s failed (%s), again in %.0f s: %s", job.id, reason, pause, error
        )

        return True


class _Attempt:
    """One attempt at a turn."""

    def __init__(
        self,
        answering: Answering,
        job: Job,
        event: MessageEvent,
        messages: tuple[Message, ...],
    ) -> None:
        self._all = answering
        self._job = job
        self._event = event
        self._known = conversation_in(event)
        self._case = answering.gate.before(job, event)
        self._decision = self._case.decision
        self._turn = self._turn_of(messages)
        self._said: list[Said] = []

    def _turn_of(self, messages: tuple[Message, ...]) -> Turn:
        to_customer = self._decision.audience is Audience.CUSTOMER
        conversation_id = self._event.conversation_id
        # What was picked is an answer to the message whose id it has.
        written = [message.id for message in messages if not message.picked]
        oldest = min(written, default=None)
        history = self._all.history

        return Turn.of(
            self._event,
            mode=Mode.BOT if to_customer else Mode.HUMAN,
            messages=messages,
            read_history=lambda limit, characters: history.read(
                conversation_id,
                before=oldest,
                limit=limit,
                characters=characters,
                asked={message.id for message in messages},
            ),
        )

    def run(self) -> None:
        ending = self._end()

        if ending is None:
            return

        if not ending.settled:
            self._all.inbox.settle(self._job, ending.outcome, ending.reason)

        self._remember()

        signals.send(
            signals.turn_finished,
            self._all.app,
            turn=self._turn,
            outcome=ending.outcome,
            reason=ending.reason,
        )

    def _end(self) -> Ending | None:
        """How the turn ended, or ``None`` if it is not over."""
        job = self._job

        try:
            if job.attempts > self._all.config.max_attempts:
                return self._last_look()

            return self._answer()
        except TooSoonError as error:
            self._all.inbox.postpone(
                job, error.seconds, free=True, reason=Reason.UNCONFIRMED
            )
            return None
        except _HandoverError as failed:
            if self._all.postponed(job, failed.error):
                return None

            return Ending(TurnOutcome.DEAD, job.failure or reason_of(failed.error))
        except (APIError, ProviderError, ProviderFailedError) as error:
            if self._all.postponed(job, error):
                return None

            return self._give_up(reason_of(error), error)

    # -- the provider ------------------------------------------------------------

    def _answer(self) -> Ending:
        job = self._job
        drafts: t.Sequence[Draft] = job.drafts
        wanted = job.handoff

        if not drafts and wanted is None and job.failure is None:
            self._restore()
            answer = self._ask()

            if isinstance(answer, Ending):
                return answer

            parts, wanted = self._parts(answer)
            drafts = self._all.inbox.keep(job, parts, handoff=wanted)

        ending = self._post_all(drafts, wanted)

        if wanted is None or ending.settled:
            return ending

        return self._hand_over(wanted)

    def _ask(self) -> Answer | Ending:
        if self._decision.audience is Audience.NOBODY:
            return Ending(TurnOutcome.DECLINED, self._decision.reason)

        if self._turn.mode is Mode.HUMAN:
            self._show()

        provider = self._provider()

        if provider is None:
            return Ending(TurnOutcome.DECLINED, Reason.NO_PROVIDER)

        if not (self._turn.text.strip() or provider.takes_turn):
            return Ending(TurnOutcome.DECLINED, Reason.EMPTY)

        if provider.takes_turn:
            self._all.history.learn(self._job.conversation_id)
            self._remember()  # before the next turn may begin

        if self._turn.mode is Mode.HUMAN:
            answer = ask(self._all.app, provider, self._turn)
        else:
            with self._all.indicator.shown(self._job.conversation_id):
                answer = ask(self._all.app, provider, self._turn)

        return answer or Ending(TurnOutcome.DECLINED, Reason.NO_ANSWER)

    def _show(self) -> None:
        """Operators do not see pending conversations: those are the bot's."""
        try:
            self._all.handover.show(self._job.conversation_id, self._known)
        except APIError as error:
            log.warning("a pending conversation was not opened: %s", error)

    def _restore(self) -> None:
        """After a resolve the attribute says again what it said before it was taken."""
        holding = self._case.holding

        if holding.former is None:
            return

        try:
            self._all.handover.restore(self._job.conversation_id, self._known, holding)
        except APIError as error:
            log.warning("the attribute was not set back: %s", error)

    def _provider(self) -> Provider | None:
        if not self._all.providers:
            raise NoProviderError(
                "No reply provider is registered; decorate a function with "
                "@chatwoot.reply_provider where the app is made."
            )

        return self._all.providers.find(self._turn.mode, self._turn.inbox_id)

    def _parts(self, answer: Answer) -> tuple[list[Part], str | None]:
        """The posts of an answer, and what there is to do after them."""
        parts = [
            part for reply in answer.replies for part in _parts(reply, self._turn.mode)
        ]

        if answer.handoff is None:
            return parts, None

        said = "\n".join(part.content for part in parts if not part.private)
        note = handoff.note(answer.handoff, self._turn, said)
        parts.append(Part(storable(note), True))

        if self._turn.mode is Mode.HUMAN:
            return parts, None

        return parts, handoff.encode(answer.handoff)

    # -- posting -----------------------------------------------------------------

    def _post_all(self, drafts: t.Sequence[Draft], wanted: str | None) -> Ending:
        """Bring the drafts into Chatwoot, as far as they are still wanted."""
        ending = Ending(TurnOutcome.DECLINED, self._decision.reason)

        for draft in drafts:
            merges = draft is drafts[-1] and wanted is None
            ending = self._post(draft, ending, merges=merges)

            if ending.settled:
                break

        if self._job.failure is not None:
            return Ending(TurnOutcome.DEAD, self._job.failure, ending.settled)

        return ending

    def _post(self, draft: Draft, before: Ending, *, merges: bool) -> Ending:
        """How the turn would end after this draft, given how it would before."""
        if self._all.poster.arrived(self._job, draft):
            return _after(before, draft, self._decision.reason)

        decision = self._all.gate.before_post(self._case, private=draft.private)

        if self._is_withheld(draft, decision):
            reason = decision.reason
            return before if _posted(before) else before._replace(reason=reason)

        if decision.audience is Audience.OPERATORS:
            draft = _as_note(draft)

            if not _posted(before) and self._is_outdated():
                return Ending(TurnOutcome.DECLINED, Reason.SUPERSEDED, settled=True)

        after = _after(before, draft, decision.reason)
        final = after._replace(settled=True) if merges else None

        if final is not None and self._job.failure is not None:
            final = Ending(TurnOutcome.DEAD, self._job.failure, settled=True)

        message_id = self._all.poster.post(self._job, self._turn, draft, ending=final)

        if not draft.private:
            self._said.append(Said(message_id, "assistant", draft.content))

        return after._replace(settled=merges)

    def _is_withheld(self, draft: Draft, decision: Decision) -> bool:
        if decision.audience is Audience.NOBODY:
            return True

        # "One moment, please" is nothing that operators need to be told.
        return (
            self._job.failure is not None
            and not draft.private
            and decision.audience is Audience.OPERATORS
        )

    def _is_outdated(self) -> bool:
        """Whether the customer wrote on, so that the next turn's note says more.

        Not for longer than a burst may take, or somebody who writes on and on would
        keep operators without any note.
        """
        job = self._job
        waited = self._all.inbox.clock() - job.since

        if job.failure or waited > self._all.config.burst_max:
            return False

        said = [(message.id, _dump(message)) for message in self._turn.messages]

        return self._all.inbox.supersede(job, said, Reason.SUPERSEDED)

    def _hand_over(self, wanted: str) -> Ending:
        try:
            self._all.handover.perform(self._job.conversation_id, self._known, wanted)
        except APIError as error:
            raise _HandoverError(error) from error

        if self._job.failure is not None:
            return Ending(TurnOutcome.DEAD, self._job.failure)

        return Ending(TurnOutcome.HANDED_OFF)

    def _remember(self) -> None:
        if not self._all.providers.take_turns:
            return

        asked = [
            Said(message.id, "user", message.text) for message in self._turn.messages
        ]
        self._all.history.note(self._job.conversation_id, [*asked, *self._said])

    # -- the end of hope ---------------------------------------------------------

    def _last_look(self) -> Ending | None:
        """No attempt is left, but the last one may have been obeyed."""
        job = self._job
        missing = [
            draft for draft in job.drafts if not self._all.poster.arrived(job, draft)
        ]

        if job.drafts and not missing:
            return self._answer()  # nothing is left to post

        sent = any(draft.sent_at is not None for draft in missing)
        reason = Reason.UNCONFIRMED if sent else Reason.CRASHED
        log.error("job %s is dead (%s)", job.id, reason)

        return self._give_up(reason)

    def _give_up(
        self, reason: Reason, error: ChatwootError | None = None
    ) -> Ending | None:
        """End a failed turn; first say so, if there is anybody to tell and a way."""
        job = self._job

        if job.failure is not None:
            return self._give_up_talking(job.failure)

        parts, wanted = self._last_words(reason)

        if not parts or (error is not None and not can_be_told(error)):
            return Ending(TurnOutcome.DEAD, reason)

        self._all.inbox.give_up(job, reason, parts, handoff=wanted)

        return None

    def _give_up_talking(self, failure: str) -> Ending:
        """The last words failed too; people get the conversation, if that can be."""
        try:
            if self._job.handoff is not None:
                self._hand_over(self._job.handoff)
        except _HandoverError as failed:
            log.error("job %s: %s", self._job.id, failed)  # noqa: TRY400

        return Ending(TurnOutcome.DEAD, failure)

    def _last_words(self, reason: Reason) -> tuple[list[Part], str | None]:
        fallback = self._all.config.fallback_message

        if self._case.facts.mode is Mode.BOT and not self._case.facts.taken:
            # The note first: it needs nobody's leave, and may be all that arrives.
            note = handoff.failure_note(reason, handed_off=True)
            public = [Part(fallback, False)] if fallback else []
            return [Part(note, True), *public], handoff.encode(Handoff())

        if self._all.config.note_on_failure:
            note = handoff.failure_note(reason, handed_off=False)
            return [Part(note, True)], None

        return [], None


def ask(app: Flask, provider: Provider, turn: Turn) -> Answer | None:
    """What a provider says to a turn.

    :raises ProviderError: Its answer is not a reply, or it can not be called.
    :raises ProviderFailedError: It raised.
    """
    try:
        function = app.ensure_sync(provider.function)
    except RuntimeError as error:  # an "async def", and Flask's extra is missing
        raise ProviderError(str(error)) from None

    try:
        answer = function(*provider.arguments(turn))
    except KeyboardInterrupt:
        raise
    # Whatever the host's code does, sys.exit() and cancelled tasks included.
    except BaseException as error:  # noqa: BLE001
        raise ProviderFailedError(f"The reply provider raised {trace(error)}") from None

    return as_answer(answer)


def message_in(payload: bytes) -> MessageEvent:
    """The message of a stored delivery.

    :raises PayloadError: There is none.
    """
    event = events.parse(payload)

    if not isinstance(event, MessageEvent):
        raise PayloadError("The stored delivery is not a message.")

    return event


def conversation_in(event: MessageEvent) -> Object:
    """The conversation as of a message's delivery."""
    return as_object(event.raw.get("conversation"))


def to_store(event: MessageEvent) -> dict[str, t.Any]:
    """What the inbox needs to know of an event besides its body."""
    return {
        "conversation_id": event.conversation_id,
        "message_id": event.message_id,
        "kind": TAKE_OVER if event.type == "outgoing" else MESSAGE,
        "said": lambda: json.dumps(
            [
                event.text,
                event.rendered,
                events.attachments(event.raw),
                bool(event.digest),
            ]
        ),
    }


def _dump(message: Message) -> str:
    return json.dumps([message.text, False, message.attachments, message.picked])


def _as_written(messages: t.Sequence[Message]) -> tuple[Message, ...]:
    """Messages in the order of their ids: deliveries overtake each other.

    What was picked has the id of its question, and so stays where it came.
    """
    ids = [each.id for each in messages]

    if ids == sorted(ids):  # as a rule, and twenty may cost little more than one
        return tuple(messages)

    written = [each for each in messages if not each.picked]
    written.sort(key=lambda each: each.id)
    following = iter(written)

    return tuple(each if each.picked else next(following) for each in messages)


def _parts(reply: Reply, mode: Mode) -> list[Part]:
    """A reply as posts; what goes with it, goes with the last."""
    private = reply.is_private(mode)
    items = reply.items
    content = reply.content

    if private and items:
        content = _with_choices(content, items)

    # The last part may become a note yet, which lists the choices.
    room = len(_with_choices("", items)) if items else 0
    *texts, last = split(content, max(LIMIT - room, LIMIT // 2))
    choices = [] if private else items

    return [
        *(Part(text, private) for text in texts),
        Part(last, private, choices, reply.files()),
    ]


def _as_note(draft: Draft) -> Draft:
    """Nobody but operators sees it, and there is nothing for them to pick."""
    if draft.private or not draft.choices:
        return draft._replace(private=True)

    content = _with_choices(draft.content, draft.choices)

    return draft._replace(private=True, content=content, choices=())


def _with_choices(content: str, choices: t.Sequence[tuple[str, str]]) -> str:
    return "\n".join([content, *(f"- {title}" for title, _ in choices)])


def _posted(ending: Ending) -> bool:
    return ending.outcome is not TurnOutcome.DECLINED


def _after(before: Ending, draft: Draft, reason: str | None) -> Ending:
    """How a turn ends that would end so, once this draft is there too."""
    if not draft.private:
        return Ending(TurnOutcome.REPLIED)

    return before if _posted(before) else Ending(TurnOutcome.NOTED, reason)
