"""Stores an event in ownership and the queue, then wakes a worker.

The views call it after they have verified the delivery, and catch-up for what was not
delivered.
"""

from __future__ import annotations

import contextlib
import functools
import time
import typing as t
from dataclasses import dataclass

from .config import Config
from .errors import DatabaseError
from .logs import about, logger
from .outcomes import DeliveryOutcome, Reason, Receipt
from .ownership.attributes import ToldAttributes
from .ownership.context import is_older_than
from .ownership.deliveries import (
    record_bot,
    record_human,
    record_operator,
    record_shown,
    transition_of,
)
from .ownership.identity import is_ours
from .ownership.mode import Mode, ModeAttribute
from .ownership.state import operator_wrote
from .ownership.store import OwnershipStore
from .payloads.attachments import described
from .payloads.conversation import is_post_of
from .payloads.events import (
    ConversationEvent,
    Event,
    MessageEvent,
    MessageUpdate,
    OtherEvent,
)
from .queue import deadline
from .queue.database import Transaction
from .queue.jobs import Queue
from .queue.line import MESSAGE
from .queue.outbox import Outbox
from .queue.revisions import Revisions
from .queue.sweeps import Sweeps
from .queue.transcript import Transcript, TranscriptEntry
from .signals import turn_due
from .turns.changes import change_of, is_known
from .turns.feedback import DraftFeedback
from .turns.history import History
from .turns.left import LeftUnanswered
from .turns.messages import TAKEOVER, UNANSWERED, UNDELIVERED, follow_up

log = logger(__name__)


class Put(t.Protocol):
    """Stores a delivery; ``False`` if it is a duplicate."""

    def __call__(self, *, tx: Transaction | None = None) -> bool: ...


class Backend(t.Protocol):
    """Runs the jobs of one app."""

    def start(self, *, late: bool = False) -> bool:
        """Called once this process serves requests, or works without any.

        :param late: A request is the reason.
        :return: ``False`` if it must be called again, since no thread could be started.
        """

    def accept(self, put: Put, event: MessageEvent, body: bytes) -> bool:
        """Store a delivery, and handle its job now or later.

        :param put: Stores it, durably unless it is given a transaction; ``False`` if
            it is a duplicate.
        """

    def wake(self, conversation_id: int | None = None) -> None:
        """Called after a job of a conversation was stored by other means."""

    def stop(self) -> None:
        """Let running turns finish, within bounds, and release the rest."""


class OnlyStore:
    """A backend that runs nothing: workers elsewhere find what is stored."""

    def start(self, *, late: bool = False) -> bool:
        """There is nothing to start."""
        return True

    def accept(self, put: Put, event: MessageEvent, body: bytes) -> bool:
        """Store a delivery."""
        return put()

    def wake(self, conversation_id: int | None = None) -> None:
        """Nobody waits here."""

    def stop(self) -> None:
        """There is nothing to stop."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Ingest:
    """Stores the events of one app. Threads share it.

    :ivar age_of: Seconds since a question was written that is delivered now.
    :ivar left: Counts those that are left unanswered.
    :ivar notify: Called with ``conversation_id`` after a job of it was stored, if
        somebody wants to know.
    """

    config: Config
    queue: Queue
    outbox: Outbox
    revisions: Revisions
    transcript: Transcript
    ownership: OwnershipStore
    told: ToldAttributes
    modes: ModeAttribute
    history: History
    backend: Backend
    sweeps: Sweeps
    age_of: t.Callable[[MessageEvent], float]
    left: LeftUnanswered
    feedback: DraftFeedback
    notify: t.Callable[..., object]

    def take(self, event: Event, body: bytes) -> Receipt:
        """Store the event of a verified delivery.

        :param body: The delivery that it was parsed from; stored with the job.
        :raises DatabaseError: It could not be stored, and must not be acknowledged.
        """
        with self._limit():
            receipt = self.store(event, body)
            self._note_verified(event)

            return receipt

    def _limit(self) -> contextlib.AbstractContextManager[None]:
        """A turn that runs inside the request takes as long as it takes."""
        if self.config.backend == "inline":
            return contextlib.nullcontext()

        return deadline.within(deadline.LONGEST)

    def _note_verified(self, event: Event) -> None:
        """Record that this database gets the deliveries of its account and inbox."""
        if isinstance(event, OtherEvent | MessageUpdate):
            return

        if event.account_id != self.config.account_id:
            return

        message_id, written_at = 0, 0.0
        inbox_id = event.conversation.inbox_id

        if isinstance(event, MessageEvent):
            message_id = event.message.id
            written_at = event.message.created_at or 0.0

        # Nearly always: nothing of it is new.
        if written_at < self.sweeps.counts_from and (
            inbox_id in self.sweeps.inboxes_seen
        ):
            return

        try:
            self.sweeps.delivered(message_id, written_at, inbox_id)
        except DatabaseError as error:  # the event itself is stored
            with about(event.conversation.id):
                log.warning("a verified delivery was not noted: %s", error)

    def store(
        self, event: Event, body: bytes, *, found_after: float | None = None
    ) -> Receipt:
        """Store an event, from a delivery or from catch-up.

        :param found_after: See :meth:`.Queue.put`.
        :raises DatabaseError: It could not be stored.
        """
        if isinstance(event, ConversationEvent):
            return self._take_conversation(event)

        if isinstance(event, MessageUpdate):
            return self._take_update(event, body)

        if not isinstance(event, MessageEvent):
            return _ignored(Reason.OTHER_EVENT)

        reason = self._reason_to_ignore(event)

        if reason not in (Reason.OTHER_ACCOUNT, Reason.OTHER_INBOX):
            record_shown(self.ownership, event, self.modes)

        if reason is None and self._is_too_old(event):
            return self._take_too_old(event, body, found_after)

        if reason is None:
            put = functools.partial(
                self._put, event, body, MESSAGE, found_after=found_after
            )

            return _receipt(self._accept(put, event, body))

        if reason in (Reason.OUTGOING, Reason.PRIVATE) and (
            event.message.type == "outgoing"
        ):
            self.told.saw(event.conversation)

            return self._take_outgoing(event, body, reason, found_after)

        return _ignored(reason)

    def _reason_to_ignore(self, event: MessageEvent) -> Reason | None:
        reason = event.reason_to_ignore(self.config.account_id or 0)
        inbox_id = event.conversation.inbox_id

        if reason is not Reason.OTHER_ACCOUNT and self._is_other_inbox(inbox_id):
            return Reason.OTHER_INBOX

        if reason is Reason.EMPTY and self._may_be_waiting(event):
            return None

        return reason

    def _may_be_waiting(self, event: MessageEvent) -> bool:
        """Whether a message without content may leave a conversation pending.

        Its turn finds out; an open conversation is seen by operators.
        """
        waits = event.conversation.status not in (None, "open")

        return waits and self.config.on_silence == "open"

    def _is_too_old(self, event: MessageEvent) -> bool:
        """Whether a message seems too old for the provider when it is delivered."""
        written_at, oldest = event.message.written_at, self.config.policy.max_age

        # It is not older than that, and nearly always that alone decides.
        if written_at is None or time.time() - written_at <= oldest:
            return False

        return self.age_of(event) > oldest

    def _take_too_old(
        self, event: MessageEvent, body: bytes, found_after: float | None
    ) -> Receipt:
        """A message that the provider is not asked about, however it came.

        Operators get a pending conversation of ours; others are theirs already. Unless
        the delivery itself shows how old the message is, the job asks Chatwoot's clock.
        """
        waits = event.conversation.waits_for_bot
        is_sure = is_older_than(event, self.config.policy.max_age)

        if waits or not is_sure:
            return _receipt(self.open_unanswered(event, body, found_after))

        if self.queue.is_known(event.conversation.id, event.key):
            return _receipt(False)

        self.left.add()

        return _ignored(Reason.TOO_OLD)

    def open_unanswered(
        self, event: MessageEvent, body: bytes, found_after: float | None
    ) -> bool:
        """Store that operators must get the conversation of a message."""
        put = functools.partial(
            self._put, event, body, UNANSWERED, found_after=found_after
        )

        return self._accept(put, event, body)

    def _accept(self, put: Put, event: MessageEvent, body: bytes) -> bool:
        new = self.backend.accept(put, event, body)

        if new:
            self._tell(event)

        return new

    def _take_update(self, event: MessageUpdate, body: bytes) -> Receipt:
        """A message that was edited or deleted, or else changed.

        An answer to it is not posted any more, unless a request for it may be out.
        """
        if event.account_id != self.config.account_id:
            return _ignored(Reason.OTHER_ACCOUNT)

        if self._is_other_inbox(event.conversation.inbox_id):
            return _ignored(Reason.OTHER_INBOX)

        self.history.revise(event.conversation.id, event.message)
        self.told.saw(event.conversation)

        if not event.changes_question:
            return _ignored(event.reason)

        message = event.as_message
        change = change_of(message)
        changed = self.revisions.add(
            event.conversation.id,
            event.message.id,
            change,
            is_known=is_known(change),
            payload=body,
            key=message._replace(name="message_created").key,
        )

        is_edit = changed and not event.message.deleted

        return _ignored(Reason.EDITED if is_edit else event.reason)

    def _is_other_inbox(self, inbox_id: int | None) -> bool:
        return bool(self.config.inboxes) and inbox_id not in self.config.inboxes

    def _put(
        self,
        event: MessageEvent,
        body: bytes,
        kind: str,
        *,
        found_after: float | None = None,
        tx: Transaction | None = None,
    ) -> bool:
        return self.queue.put(
            event.key,
            conversation_id=event.conversation.id,
            message_id=event.message.id,
            payload=body,
            kind=kind,
            said=lambda: follow_up(event),
            found_after=found_after,
            text="" if event.digest or kind != MESSAGE else event.message.text,
            tx=tx,
        )

    def _take_outgoing(
        self,
        event: MessageEvent,
        body: bytes,
        reason: Reason,
        found_after: float | None,
    ) -> Receipt:
        """Store a message of an operator, an automation, another bot, or this bot."""
        self._confirm_post(event)

        if event.refused:
            return self._take_refusal(event, body)

        self._keep_for_history(event)

        if not event.message.by_operator and event.message.bot is None:
            return _ignored(reason)

        ours = is_ours(self.outbox, event.conversation.id, event.message)
        record_bot(self.ownership, event, ours=ours)

        if not event.message.by_operator or ours:
            return _ignored(reason)

        sets_mode, new = self._take_over(event, body, found_after)

        if self.feedback.answered(event) or new:
            self.backend.wake(event.conversation.id)
            self._tell(event)

        return _receipt(new) if sets_mode else _ignored(reason)

    def _take_over(
        self, event: MessageEvent, body: bytes, found_after: float | None
    ) -> tuple[bool, bool]:
        """Whether the mode must be set, and whether a job for that was stored."""
        tries: list[tuple[bool, bool]] = []

        # In one transaction: after a crash in between, the mode would never be set.
        def take(tx: Transaction, _: bool) -> tuple[bool, bool]:
            takes_over = record_operator(self.ownership, event, self.modes, tx)
            record_human(self.ownership, event, self.modes, tx)
            is_bot = self.modes.resolve(event.conversation) is Mode.BOT
            sets_mode = takes_over and is_bot
            put = functools.partial(self._put, event, body, TAKEOVER, tx=tx)
            tries.append((sets_mode, sets_mode and put(found_after=found_after)))

            # After a commit without an answer the next try finds it done.
            return max(tries)

        return self.queue.write(event.conversation.id, take)

    def _tell(self, event: MessageEvent) -> None:
        if turn_due.receivers:
            self.notify(conversation_id=event.conversation.id)

    def _keep_for_history(self, event: MessageEvent) -> None:
        message = event.message

        if not message.private:
            said = described(message.text, message.attachments)
            entry = TranscriptEntry(message.id, "assistant", said)
            quoted = message.in_reply_to
            replies = {message.id: quoted} if quoted else {}
            self.history.keep(event.conversation.id, [entry], replies=replies)

    def _take_refusal(self, event: MessageEvent, body: bytes) -> Receipt:
        """Store that the channel refused a message, if this app posted it."""
        if not self.outbox.is_ours(event.message.id):
            return _ignored(Reason.OUTGOING)

        put = functools.partial(self._put, event, body, UNDELIVERED)

        return _receipt(self._accept(put, event, body))

    def _confirm_post(self, event: MessageEvent) -> None:
        """The delivery of our own post proves that it arrived."""
        if event.message.marker is not None:
            self.outbox.note_markers()

        candidates = self.outbox.under_way(
            event.conversation.id, message_id=event.message.id
        )

        for draft in candidates:
            by_text = not self.outbox.keeps_markers()

            if is_post_of(draft, event.message, by_text=by_text):
                self.outbox.posted(draft, event.message.id)
                return

        self._confirm_by_host(event)

    def _confirm_by_host(self, event: MessageEvent) -> None:
        """The same of a post of the host."""
        message, posts = event.message, self.outbox.by_host
        candidates = posts.under_way(
            event.conversation.id, message_id=message.id, marker=message.marker
        )

        for post in candidates:
            by_text = not self.outbox.keeps_markers()

            if is_post_of(post, message, by_text=by_text, blank=True):
                posts.made(post, message.id)
                return

    def _take_conversation(self, event: ConversationEvent) -> Receipt:
        # Before 4.14.2 Chatwoot does not say which account it is.
        if event.account_id not in (None, self.config.account_id):
            return _ignored(Reason.OTHER_ACCOUNT)

        if self._is_other_inbox(event.conversation.inbox_id):
            return _ignored(Reason.OTHER_INBOX)

        conversation_id = event.conversation.id
        transition = transition_of(event, self.modes)

        if event.resolves:
            newest = event.newest_message_id

            def resolve(tx: Transaction, _: bool) -> None:
                self.ownership.apply(conversation_id, transition, tx=tx)
                self.transcript.forget(conversation_id, newest=newest, tx=tx)

            self.queue.write(conversation_id, resolve)
        else:
            self.ownership.apply(conversation_id, transition)

        # After that: without the change itself, nobody knows what came first.
        self._take_shown(event)

        self.told.saw(event.conversation)

        return _ignored(Reason.CONVERSATION)

    def _take_shown(self, event: ConversationEvent) -> None:
        """Record the last message if it is an operator's: its delivery may be lost."""
        last = event.last_message

        if last is None or not last.by_operator:
            return

        if not is_ours(self.outbox, event.conversation.id, last):
            wrote = functools.partial(operator_wrote, message_id=last.id)
            self.ownership.apply(event.conversation.id, wrote, durable=True)


def _receipt(new: bool) -> Receipt:
    return Receipt(DeliveryOutcome.ACCEPTED if new else DeliveryOutcome.DUPLICATE)


_ignored = functools.partial(Receipt, DeliveryOutcome.IGNORED)
