"""The records of a simulated Chatwoot, and the effects of their changes. No HTTP.

One lock guards all records. Code that changes a record runs inside
:meth:`State.changing`, which wakes the threads that wait for a change.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import string
import threading
import typing as t
from dataclasses import dataclass, field, replace

from . import activities, payloads
from .files import Attached, Files
from .payloads import (
    JSON,
    Account,
    Agent,
    ContactRecord,
    ConversationRecord,
    MessageRecord,
    MessageType,
    Team,
)

Token = t.Literal["user", "bot"]
Role = t.Literal["administrator", "agent"]
Changes = t.Mapping[str, tuple[t.Any, t.Any]]
"""Column to (before, after)."""

WEBSITE: t.Final = "Channel::WebWidget"
API_CHANNEL: t.Final = "Channel::Api"

FAILURES_OPEN: t.Final = (4, 7)
"""First version that opens a conversation when its bot's webhook fails."""
BOTS_OWN: t.Final = (4, 16, 2)
"""First version that assigns new conversations to the bot."""


def random_text() -> str:
    """24 letters: a token or a secret."""
    return "".join(secrets.choice(string.ascii_letters) for _ in range(24))


@dataclass(slots=True, eq=False)
class StoredConversation:
    """A conversation with its messages. Guarded by the state's lock.

    :ivar current: The record as it is now; replaced as a whole upon changes.
    :ivar posted: The messages that were made through the API.
    :ivar typing: Each ``"on"`` and ``"off"`` of the typing indicator.
    """

    current: ConversationRecord
    messages: list[MessageRecord] = field(default_factory=list)
    posted: list[MessageRecord] = field(default_factory=list)
    typing: list[str] = field(default_factory=list)

    @property
    def id(self) -> int:
        """The display id."""
        return self.current.id

    @property
    def status(self) -> str:
        """``open``, ``pending``, ``snoozed`` or ``resolved``."""
        return self.current.status


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEvent:
    """An event for webhooks, with the conversation as it was at that time."""

    name: str
    conversation: StoredConversation
    body: JSON
    message_id: int | None = None


class State:
    """All records; see ``Simulator`` for the parameters.

    :ivar locale: The account's language.
    :ivar bots: Whether a bot is connected: new conversations then begin as *pending*.
    :ivar on_event: Called under the lock with each event for webhooks.
    """

    def __init__(
        self,
        *,
        version: str,
        account_id: int,
        clock: t.Callable[[], float],
        role: Role = "administrator",
    ) -> None:
        self.version = payloads.parse_version(version)
        self.clock = clock
        self.role = role
        self.account = Account(id=account_id)
        self.user = Agent(id=1, name="Uma User", email="uma@example.com")
        self.operator = Agent(id=2, name="Olga Operator", email="olga@example.com")
        self.bot = Agent(id=3, name="Assistant", bot=True)
        self.team = Team()
        self.user_token = random_text()
        self.bot_token = random_text()
        self.secret = random_text()
        self.files = Files()

        self.locale = "en"
        self.bots = False
        self.on_event: t.Callable[[WebhookEvent], None] = lambda event: None
        self.conversations: dict[int, StoredConversation] = {}
        self.conversation_of: dict[int, StoredConversation] = {}
        """Message id to its conversation."""

        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.changes = 0
        self._message_ids = itertools.count(1001)
        self._contact_ids = itertools.count(55)

    def restore(
        self,
        conversations: t.Mapping[int, StoredConversation],
        tokens: tuple[str, str, str],
    ) -> None:
        """Begin with these records. For a state that has none."""
        self.user_token, self.bot_token, self.secret = tokens
        self.conversations.update(conversations)
        self.conversation_of.update(
            (message.id, stored)
            for stored in conversations.values()
            for message in stored.messages
        )
        self._message_ids = itertools.count(max(self.conversation_of, default=1000) + 1)

    # Waiting

    @contextlib.contextmanager
    def changing(self) -> t.Iterator[None]:
        """Hold the lock, and wake the threads that wait for a change."""
        with self.changed:
            try:
                yield
            finally:
                self.changes += 1
                self.changed.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Block until :attr:`changes` is another number; return that number."""
        with self.changed:
            self.changed.wait_for(lambda: self.changes != seen, seconds)

            return self.changes

    # Conversations

    def new_conversation(
        self, *, id: int | None, contact: ContactRecord | None, **fields: t.Any
    ) -> StoredConversation:
        """See ``Simulator.conversation``."""
        with self.changing():
            contact = contact or ContactRecord(id=next(self._contact_ids))
            id = max(self.conversations, default=0) + 1 if id is None else id

            if id in self.conversations:
                raise ValueError(f"There is a conversation {id} already.")

            current = ConversationRecord(
                id=id,
                account=self.account,
                contact=contact,
                created_at=self.clock(),
                **{
                    "updated_at": self.clock(),
                    **self._beginning(contact),
                    **fields,
                },
            )
            stored = self.conversations[id] = StoredConversation(current)
            self._send(stored, "conversation_created")

        return stored

    def _beginning(self, contact: ContactRecord) -> JSON:
        """Status and assignee at the start (``determine_conversation_status``)."""
        if contact.blocked:
            return {"status": "resolved"}

        if not self.bots:
            return {}

        owned = {"assignee": self.bot} if self.version >= BOTS_OWN else {}

        return {"status": "pending", **owned}

    def change(
        self, stored: StoredConversation, *, by: Agent | None = None, **fields: t.Any
    ) -> None:
        """Save a conversation with new values, and send the events that follow.

        Only a snoozed one keeps ``snoozed_until`` (``app/models/conversation.rb``).

        :param by: The author of the activities; ``None``: there are no activities.
        """
        with self.changing():
            before, after = stored.current, replace(stored.current, **fields)

            if after.status != "snoozed":
                after = replace(after, snoozed_until=None)

            stored.current = after
            self._touch(stored)
            changed = payloads.changes(before, after)

            if "status" in changed:
                self._send_status(stored, {"status": changed["status"]})

            if changed:
                self._send(stored, "conversation_updated", changed)

            for text in activities.texts(before, after, by) if by else ():
                self._add_activity(stored, text)

    def _touch(self, stored: StoredConversation) -> None:
        """A message changes its conversation, too (``touch`` in ``message.rb``)."""
        stored.current = replace(stored.current, updated_at=self.clock())

    def hand_off(self, stored: StoredConversation, by: Agent) -> None:
        """Open it for operators, and remove a bot as assignee (``bot_handoff!``)."""
        assignee = stored.current.assignee
        kept = None if assignee and assignee.bot else assignee

        self.change(stored, by=by, status="open", assignee=kept)

    def open_after_failure(self, stored: StoredConversation) -> None:
        """Open it after a failed delivery to a bot (``lib/webhooks/trigger.rb``)."""
        with self.changing():
            if self.version >= FAILURES_OPEN and stored.status == "pending":
                self.change(stored, status="open")
                self._add_activity(stored, activities.BOT_FAILED)

    def _reopen(self, stored: StoredConversation) -> None:
        """See ``reopen_conversation`` in ``app/models/message.rb``."""
        if stored.current.contact.blocked:
            return

        if stored.status == "snoozed":
            self.change(stored, status="open")
        elif stored.status == "resolved" and self.bots:
            self.change(stored, status="pending")
        elif stored.status == "resolved":
            self.change(stored, status="open")

            if stored.current.inbox.channel == API_CHANNEL:
                self._add_activity(stored, activities.REOPENED)

    # Messages

    def add(
        self,
        stored: StoredConversation,
        sender: payloads.Sender,
        content: str | None,
        *,
        posted: bool = False,
        attachments: t.Sequence[Attached] = (),
        **fields: t.Any,
    ) -> MessageRecord:
        """Store a message with all effects it has in ``app/models/message.rb``.

        :param posted: Whether it counts as made through the API.
        """
        incoming = isinstance(sender, ContactRecord)
        kind = MessageType.INCOMING if incoming else MessageType.OUTGOING

        with self.changing():
            message = MessageRecord(
                content=content,
                sender=sender,
                attachments=tuple(map(self.files.attachment, attachments)),
                id=next(self._message_ids),
                created_at=self.clock(),
                **{"type": kind, **fields},
            )
            stored.messages.append(message)
            self._touch(stored)
            self.conversation_of[message.id] = stored

            if posted:
                stored.posted.append(message)

            if message.type is MessageType.INCOMING:
                self._reopen(stored)

            if message.type is not MessageType.ACTIVITY:
                self.on_event(self.message_event(stored, message))

        return message

    def _add_activity(self, stored: StoredConversation, text: str) -> None:
        self.add(stored, None, text, type=MessageType.ACTIVITY)

    def edit(
        self, stored: StoredConversation, message: MessageRecord, **fields: t.Any
    ) -> MessageRecord:
        """Change a message, and send ``message_updated``.

        :raises ValueError: It is not a message of this conversation.
        """
        with self.changing():
            found = next((m for m in stored.messages if m.id == message.id), None)

            if found is None:
                raise ValueError(
                    f"Conversation {stored.id} has no message {message.id}."
                )

            edited = replace(found, **fields)

            for kept in (stored.messages, stored.posted):
                kept[:] = [edited if m.id == message.id else m for m in kept]

            self._touch(stored)
            self.on_event(self.message_event(stored, edited, "message_updated"))

        return edited

    def type(
        self, stored: StoredConversation, author: Agent, status: str, *, private: bool
    ) -> None:
        """Turn the typing indicator ``"on"`` or ``"off"``, and send the event."""
        with self.changing():
            stored.typing.append(status)
            body = payloads.typing_event(
                f"conversation_typing_{status}",
                stored.current,
                author,
                private=private,
                history=stored.messages,
                version=self.version,
            )
            self.on_event(
                WebhookEvent(name=body["event"], conversation=stored, body=body)
            )

    # Events

    def message_event(
        self,
        stored: StoredConversation,
        message: MessageRecord,
        name: str = "message_created",
    ) -> WebhookEvent:
        """The event of a message, with the conversation as it is now."""
        body = payloads.message_event(
            message,
            stored.current,
            history=stored.messages,
            version=self.version,
            event=name,
        )

        return WebhookEvent(
            name=name, conversation=stored, body=body, message_id=message.id
        )

    def _send_status(self, stored: StoredConversation, change: Changes) -> None:
        if stored.status in ("open", "resolved"):
            name = f"conversation_{stored.status}".replace("_open", "_opened")
            self._send(stored, name)

        self._send(stored, "conversation_status_changed", change)

    def _send(
        self, stored: StoredConversation, name: str, changed: Changes | None = None
    ) -> None:
        body = payloads.conversation_event(
            name,
            stored.current,
            history=stored.messages,
            version=self.version,
            changed=changed,
        )
        self.on_event(WebhookEvent(name=name, conversation=stored, body=body))
