"""What a sweep finds in one conversation. Reads only; writes nothing."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass

from flask_chatwoot.errors import PayloadError
from flask_chatwoot.logs import about, logger
from flask_chatwoot.ownership.context import campaign_in
from flask_chatwoot.ownership.identity import is_ours
from flask_chatwoot.ownership.state import Ownership, takes_over
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.conversation import ChatwootMessage
from flask_chatwoot.payloads.events import Event, MessageEvent
from flask_chatwoot.payloads.listed import (
    PAGE,
    ListedConversation,
    ListedMessage,
    delivery_of_message,
    detailed,
)
from flask_chatwoot.payloads.questions import why_no_question
from flask_chatwoot.queue.store import Store
from flask_chatwoot.queue.sweeps import Reading, SweepState

from .reader import CLOCK_MARGIN, Reader
from .rules import (
    Author,
    Question,
    Times,
    Verdict,
    author_of,
    is_of_another_instance,
    judge,
    waits_for_us,
)

PAGES: t.Final = 25
"""The most requests for one conversation."""

log = logger(__name__)


class Finding(t.NamedTuple):
    """A message that the list shows, and what becomes of it.

    :ivar age: Seconds since it was written.
    :ivar event: As it would have been delivered, with its body.
    """

    message_id: int
    verdict: Verdict
    age: float
    event: Event
    body: bytes

    def __repr__(self) -> str:
        return f"<Finding {self.message_id}>"


class Findings(t.NamedTuple):
    """What was found in a conversation.

    :ivar found: In the order in which the messages were written.
    :ivar read: What is then known of it.
    :ivar foreign_id: A post that another instance made; ``None`` if there is none.
    :ivar is_older: It has a post of this app that the database does not know, made
        since the database began: the file may be an older copy.
    :ivar waits: Whether it stays *pending* unless this app opens it.
    :ivar newest_id: The newest message; 0 without messages.
    """

    listed: ListedConversation
    found: tuple[Finding, ...]
    read: Reading
    foreign_id: int | None = None
    is_older: bool = False
    waits: bool = False
    newest_id: int = 0

    def __repr__(self) -> str:
        return f"<Findings in {self.listed!r}>"


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Inspector:
    """Looks at the conversations of one sweep.

    :ivar since: What was written before was read by an earlier sweep, Unix seconds.
    """

    reader: Reader
    store: Store
    ownership: OwnershipStore
    account_id: int
    state: SweepState
    times: Times
    since: float

    def look(self, listed: ListedConversation) -> Findings:
        """Read a conversation that has changed. Blocks for at least one request.

        :raises APIError: It could not be read.
        """
        id = listed.conversation.id
        read = self.store.sweeps.reading(id)
        page = self._page(id, read.message_id)
        ownership = self.ownership.load(id)
        page = detailed(page, listed, bots_until=ownership.bot_message_id)
        authors = {each.message.id: self._author(id, each) for each in page}
        foreign = [each for each in page if authors[each.message.id] is Author.FOREIGN]
        looked = _Looked(listed, page, authors, read.message_id, ownership)
        found = tuple(self._findings(looked))
        young = [each for each in found if each.verdict is Verdict.YOUNG]
        newest = max((each.message.id for each in page), default=0)
        others = [
            each.message.id
            for each in foreign
            if is_of_another_instance(each.message, self.state, self.times)
        ]

        return Findings(
            listed=listed,
            found=found,
            read=self._reading(listed, read, young, newest),
            foreign_id=max(others, default=None),
            is_older=any(self._is_since_beginning(each) for each in foreign),
            waits=waits_for_us(
                listed.conversation,
                taken=ownership.taken,
                others=any(author.answers for author in authors.values()),
            ),
            newest_id=newest,
        )

    def _is_since_beginning(self, each: ListedMessage) -> bool:
        written_at = each.message.created_at or 0.0

        return not self.times.is_before(each.message.id, written_at)

    def _reading(
        self,
        listed: ListedConversation,
        before: Reading,
        young: t.Sequence[Finding],
        newest: int,
    ) -> Reading:
        """What is read of it then: nothing from the first message on that is left."""
        if not young:
            return Reading(
                max(before.message_id, newest), listed.conversation.updated_at or 0.0
            )

        first = min(each.message_id for each in young)

        return Reading(max(before.message_id, first - 1), 0.0)

    def _page(self, conversation_id: int, known: int) -> list[ListedMessage]:
        """The newest messages, back to one that is dealt with."""
        page = self.reader.messages(conversation_id)
        whole = len(page) < PAGE

        for _ in range(PAGES - 1):
            oldest = page[0].message if page else None

            if whole or oldest is None or oldest.id <= known:
                break

            if (oldest.created_at or 0.0) < self.since - CLOCK_MARGIN:
                break

            older = self.reader.messages(conversation_id, oldest.id)
            whole = len(older) < PAGE
            page = [*older, *page]

        return page

    def _author(self, conversation_id: int, each: ListedMessage) -> Author:
        message, outbox = each.message, self.store.outbox

        if message.type != "outgoing":
            return Author.OTHER

        by_host = outbox.by_host
        kept = outbox.is_ours(message.id) or by_host.is_known(message.id)
        pending = not kept and (
            outbox.has_marker(conversation_id, message.marker)
            or by_host.has_marker(message.marker)
            if message.marker is not None
            else is_ours(outbox, conversation_id, message)
        )

        return author_of(message, kept=kept, pending=pending)

    # -- one message after another -----------------------------------------------

    def _findings(self, looked: _Looked) -> t.Iterator[Finding]:
        for each in looked.page:
            try:
                if each.changed:
                    yield from self._change(looked, each)

                if each.message.id > looked.known or looked.is_missed(each.message):
                    yield from self._creation(looked, each)
            except PayloadError as error:  # a delivery of it would be refused, too
                with about(looked.listed.conversation.id):
                    log.warning("catch-up skips message %d: %s", each.message.id, error)

    def _creation(self, looked: _Looked, each: ListedMessage) -> t.Iterator[Finding]:
        message = each.message
        event, body = self._event(looked, each, "message_created")

        if message.type == "incoming" and why_no_question(message):
            return

        if message.type == "incoming":
            yield self._finding(looked, each, event, body, deleted=message.deleted)
            return

        author = looked.authors[message.id]

        if author is Author.UNCONFIRMED or looked.is_missed(message):
            verdict = judge(
                Question(message.id, self._written_at(looked, each)),
                self.times._replace(max_age=float("inf")),
            )
            age = self.times.age(self._written_at(looked, each))
            yield Finding(message.id, verdict, age, event, body)

    def _change(self, looked: _Looked, each: ListedMessage) -> t.Iterator[Finding]:
        """A button or a form was used, the channel refused a post, it was deleted."""
        event, body = self._event(looked, each, "message_updated")

        if isinstance(event, MessageEvent):
            yield self._finding(looked, each, event, body, picked=True)
        elif self._is_since_beginning(each):
            age = self.times.age(self._written_at(looked, each))
            yield Finding(each.message.id, Verdict.TAKEN_IN, age, event, body)

    def _finding(
        self,
        looked: _Looked,
        each: ListedMessage,
        event: Event,
        body: bytes,
        *,
        deleted: bool = False,
        picked: bool = False,
    ) -> Finding:
        """A customer's message, judged."""
        question = Question(
            each.message.id,
            self._written_at(looked, each),
            older=_older(each.message),
            known=isinstance(event, MessageEvent)
            and self.store.queue.is_known(event.conversation.id, event.key),
            answered=looked.answered_until(picked=picked) > each.message.id,
            deleted=deleted,
        )
        verdict = judge(question, self.times)
        updated_at = looked.listed.conversation.updated_at or 0.0

        # Chatwoot does not say when a button was used, only when anything changed last.
        if picked and verdict is Verdict.TAKEN_IN and self.times.is_young(updated_at):
            verdict = Verdict.YOUNG

        age = self.times.age(
            updated_at if picked else question.written_at - question.older
        )

        return Finding(each.message.id, verdict, age, event, body)

    def _written_at(self, looked: _Looked, each: ListedMessage) -> float:
        updated_at = looked.listed.conversation.updated_at

        return each.message.created_at or updated_at or self.times.now

    def _event(
        self, looked: _Looked, each: ListedMessage, name: str
    ) -> tuple[Event, bytes]:
        body = delivery_of_message(
            each, looked.listed, account_id=self.account_id, event=name
        )

        return events.parse(body), body


def _older(message: ChatwootMessage) -> float:
    """Seconds by which a message is older than its row in Chatwoot."""
    if message.created_at is None or message.written_at is None:
        return 0.0

    return message.created_at - message.written_at


class _Looked(t.NamedTuple):
    """A conversation that is looked at.

    :ivar known: All messages up to this id are dealt with.
    """

    listed: ListedConversation
    page: t.Sequence[ListedMessage]
    authors: t.Mapping[int, Author]
    known: int
    ownership: Ownership

    def answered_until(self, *, picked: bool) -> int:
        """The newest answer that is not known as ours; 0 without one.

        :param picked: An answer to what was picked. It has the id of its question, so
            later messages may be older than the click; but a post of ours that the
            database does not know may be its answer.
        """
        answers = (
            id
            for id, by in self.authors.items()
            if by is Author.FOREIGN or (by.answers and not picked)
        )

        return max(answers, default=0)

    def is_missed(self, message: ChatwootMessage) -> bool:
        """Whether it is an operator's that the database does not know, or not well.

        Chatwoot may save a message after one with a higher id. The search before a post
        learns of a takeover, but does not set the attribute.
        """
        if self.authors.get(message.id) is not Author.OPERATOR:
            return False

        newest = self.ownership.operator_message_id
        known = message.id < newest or (
            message.id == newest and not takes_over(self.ownership, newest)
        )

        return not known and message.id not in self._campaign

    @property
    def _campaign(self) -> set[int]:
        if len(self.page) >= PAGE:
            return set()

        messages = [each.message for each in self.page]

        return campaign_in(messages, self.listed.conversation)
