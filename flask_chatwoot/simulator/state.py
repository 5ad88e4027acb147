"""What a pretended Chatwoot remembers, and what it has to tell. No HTTP.

One lock guards all of it. Whatever changes something does so inside
:meth:`State.changing`, which wakes those who wait.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import string
import threading
import typing as t
from dataclasses import dataclass, replace

from . import activities, payloads
from .files import Attached, Files, name_in
from .payloads import (
    JSON,
    Account,
    Agent,
    Contact,
    Conversation,
    Message,
    MessageType,
    Team,
)

Token = t.Literal["user", "bot"]
Role = t.Literal["administrator", "agent"]

WEBSITE: t.Final = "Channel::WebWidget"
API_CHANNEL: t.Final = "Channel::Api"

BOTS_GIVE_UP: t.Final = (4, 7)
BOTS_OWN: t.Final = (4, 16, 2)


def random_text() -> str:
    """24 letters: a token or a secret."""
    return "".join(secrets.choice(string.ascii_letters) for _ in range(24))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something webhooks are told, as it was when it happened."""

    event: str
    talk: Talk
    body: JSON
    message_id: int | None = None


class Talk:
    """One conversation, seen from outside. Made by ``Simulator.conversation``.

    :ivar current: The conversation as it stands; replaced as a whole upon changes.
    """

    def __init__(self, state: State, current: Conversation) -> None:
        self._state = state
        self._messages: list[Message] = []
        self._posted: list[Message] = []
        self._typing: list[str] = []
        self.current = current

    @property
    def id(self) -> int:
        """The display id."""
        return self.current.id

    @property
    def status(self) -> str:
        """``open``, ``pending``, ``snoozed`` or ``resolved``."""
        return self.current.status

    @property
    def messages(self) -> list[Message]:
        """All of them, activities and notes included, oldest first."""
        with self._state.lock:
            return list(self._messages)

    @property
    def posted(self) -> list[Message]:
        """The messages that were made through the API, oldest first."""
        with self._state.lock:
            return list(self._posted)

    @property
    def replies(self) -> list[str]:
        """What was posted through the API for the customer, oldest first."""
        return [m.content or "" for m in self.posted if not m.private]

    @property
    def notes(self) -> list[str]:
        """What was posted through the API for operators only, oldest first."""
        return [m.content or "" for m in self.posted if m.private]

    @property
    def typing(self) -> list[str]:
        """Each ``"on"`` and ``"off"`` the API was told about typing, oldest first."""
        with self._state.lock:
            return list(self._typing)

    @property
    def transcript(self) -> str:
        """Who said what, oldest first; further lines of a message are indented.

        Files and what was picked or filled in stand in brackets. Activities are left
        out: nobody said them.
        """
        return "\n".join(
            _line(message)
            for message in self.messages
            if message.type is not MessageType.ACTIVITY
        )

    def customer_says(
        self,
        content: str | None = None,
        *,
        attachments: t.Sequence[Attached] = (),
        **fields: t.Any,
    ) -> Message:
        """Store an incoming message, and deliver it in the background.

        A snoozed conversation opens; a resolved one goes to the bot, or opens.

        :param attachments: Files as ``(name, bytes, content type)``, which can be
            fetched at the address in the delivery; or what a payload says of an
            attachment, as it is.
        :param fields: Further fields of :class:`payloads.Message`.
        :raises RuntimeError: There are files, and the simulator is not started.
        """
        return self.add(
            self.current.contact, content, attachments=attachments, **fields
        )

    def customer_mails(self, reply: str, **fields: t.Any) -> Message:
        """Store a customer's e-mail, and deliver it, quoted history included.

        :param fields: Of :func:`payloads.incoming_email`, such as ``quoted``,
            ``subject`` or ``auto_reply``.
        """
        mail = payloads.incoming_email(reply, version=self._state.version, **fields)

        return self.customer_says(
            mail.content,
            content_type=mail.content_type,
            content_attributes=mail.content_attributes,
        )

    def customer_picks(self, message: Message, item: str) -> Message:
        """Choose an item of an ``input_select``, and deliver the choice.

        A website stores it in the message itself, so that ``message_updated`` comes
        (``app/javascript/widget/components/AgentMessageBubble.vue``); elsewhere the
        customer sends the title as a new message, as
        ``app/services/whatsapp/incoming_message_service_helpers.rb`` reads it.

        :param item: Its title or its value.
        :return: The message that was stored or changed.
        :raises ValueError: There is no such item, or no such message here.
        """
        items = message.content_attributes.get("items") or []
        picked = [i for i in items if item in (i.get("title"), i.get("value"))]

        if not picked:
            raise ValueError(f"There is no {item!r} to pick.")

        if self.current.inbox.channel != WEBSITE:
            return self.customer_says(str(picked[0]["title"]))

        chosen = {"title": picked[0]["title"], "value": picked[0]["value"]}
        attributes = {**message.content_attributes, "submitted_values": [chosen]}

        return self.edit(message, content_attributes=attributes)

    def customer_fills(
        self, message: Message, answers: t.Mapping[str, t.Any]
    ) -> Message:
        """Send a ``form`` on the website, and deliver ``message_updated``.

        Other channels show no form, so there is nothing to fill in
        (``app/javascript/widget/components/AgentMessageBubble.vue``).

        :param answers: Name of the field to its value. Others stay out, as they do when
            they are left empty.
        :return: The message that was changed.
        :raises ValueError: It is no form with these fields, or this is no website.
        """
        fields = message.content_attributes.get("items") or []
        names = [field.get("name") for field in fields]

        if message.content_type != "form" or answers.keys() - {*names}:
            raise ValueError(f"There is no form with {', '.join(answers)} to fill in.")

        if self.current.inbox.channel != WEBSITE:
            raise ValueError(f"{self.current.inbox.channel} shows no forms.")

        given = [{"name": n, "value": answers[n]} for n in names if n in answers]
        attributes = {**message.content_attributes, "submitted_values": given}

        return self.edit(message, content_attributes=attributes)

    def operator_says(
        self, content: str | None, *, private: bool = False, **fields: t.Any
    ) -> Message:
        """Store what a person wrote in the dashboard, and deliver it."""
        return self.add(self._state.operator, content, private=private, **fields)

    def operator_says_from_phone(self, content: str | None, **fields: t.Any) -> Message:
        """Store what a person wrote in the channel's own app, and deliver it.

        Chatwoot hears of it as an echo, and so does not know the person: no sender, but
        ``external_echo`` among the content attributes.
        """
        return self._unsigned(content, {"external_echo": True}, fields)

    def automation_says(
        self, content: str | None, *, rule_id: int = 1, **fields: t.Any
    ) -> Message:
        """Store what an automation rule sends, and deliver it.

        It has no sender, but its rule's number
        (``app/services/automation_rules/action_service.rb``).
        """
        return self._unsigned(content, {"automation_rule_id": rule_id}, fields)

    def _unsigned(self, content: str | None, mark: JSON, fields: JSON) -> Message:
        attributes = {**mark, **fields.pop("content_attributes", {})}

        return self.add(None, content, content_attributes=attributes, **fields)

    def operator_takes(self) -> None:
        """Let the operator open the conversation and have it assigned."""
        with self._state.changing():
            self.reopen()
            self.assign(self._state.operator)

    def assign(self, agent: Agent | None, *, by: Agent | None = None) -> None:
        """Give it to a person or a bot, or with ``None`` to nobody.

        :param by: Who does it; ``None``: the operator.
        """
        self._state.change(self, by=by or self._state.operator, assignee=agent)

    def resolve(self) -> None:
        """Settle it, as the button in the dashboard does."""
        self.change_status("resolved")

    def reopen(self) -> None:
        """Open it, whatever it was."""
        self.change_status("open")

    def set_attribute(self, key: str, value: t.Any) -> None:
        """Change a custom attribute as an operator does: the others stay."""
        with self._state.changing():
            attributes = {**self.current.custom_attributes, key: value}
            self._state.change(
                self, by=self._state.operator, custom_attributes=attributes
            )

    def change_status(self, status: str) -> None:
        """Set the status, as the operator. Webhooks that want to know are told."""
        self._state.change(self, by=self._state.operator, status=status)

    def edit(self, message: Message, **fields: t.Any) -> Message:
        """Change a message, and deliver ``message_updated``.

        :param fields: Fields of :class:`payloads.Message`, with new values.
        :return: The message as it is now.
        :raises ValueError: It is not one of this conversation.
        """
        with self._state.changing():
            stored = next((m for m in self._messages if m.id == message.id), None)

            if stored is None:
                raise ValueError(f"There is no message {message.id} here.")

            edited = replace(stored, **fields)

            for kept in (self._messages, self._posted):
                kept[:] = [edited if m.id == message.id else m for m in kept]

            self._state.tell_edit(self, edited)

        return edited

    def type(self, author: Agent, status: str, *, private: bool = False) -> None:
        """Note that somebody types, or no longer does. Webhooks may want to know.

        :param status: ``"on"`` or ``"off"``.
        """
        with self._state.changing():
            self._typing.append(status)
            self._state.tell_typing(self, author, status, private=private)

    def add(
        self,
        sender: payloads.Sender,
        content: str | None,
        *,
        posted: bool = False,
        attachments: t.Sequence[Attached] = (),
        **fields: t.Any,
    ) -> Message:
        """Store a message of anyone, and deliver it unless it is an activity.

        :param posted: Whether it counts as made through the API.
        :param attachments: See :meth:`customer_says`.
        """
        with self._state.changing():
            files = tuple(map(self._state.files.attachment, attachments))
            message = self._state.new_message(
                sender, content, attachments=files, **fields
            )
            self._messages.append(message)

            if posted:
                self._posted.append(message)

            self._state.tell_message(self, message)

        return message


class State:
    """Everything remembered; see ``Simulator`` for the parameters.

    :ivar bots: Whether a bot is connected: new conversations then wait for it.
    :ivar on_notice: Called under the lock with whatever webhooks are told.
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

        self.bots = False
        self.on_notice: t.Callable[[Notice], None] = lambda notice: None
        self.talks: dict[int, Talk] = {}
        self.talk_of: dict[int, Talk] = {}
        """Message id to its conversation."""

        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.changes = 0
        self._message_ids = itertools.count(1001)
        self._contact_ids = itertools.count(55)

    @contextlib.contextmanager
    def changing(self) -> t.Iterator[None]:
        """Hold the lock, and wake those who wait."""
        with self.changed:
            try:
                yield
            finally:
                self.changes += 1
                self.changed.notify_all()

    def wait(self, seen: int, seconds: float) -> int:
        """Block until :attr:`changes` is another number; return what it is."""
        with self.changed:
            self.changed.wait_for(lambda: self.changes != seen, seconds)

            return self.changes

    def new_talk(
        self, *, id: int | None, contact: Contact | None, **fields: t.Any
    ) -> Talk:
        """See ``Simulator.conversation``."""
        with self.changing():
            contact = contact or Contact(id=next(self._contact_ids))
            id = max(self.talks, default=0) + 1 if id is None else id

            if id in self.talks:
                raise ValueError(f"There is a conversation {id} already.")

            current = Conversation(
                id=id,
                account=self.account,
                contact=contact,
                created_at=self.clock(),
                **{**self._beginning(contact), **fields},
            )
            talk = self.talks[id] = Talk(self, current)
            self._tell(talk, "conversation_created")

        return talk

    def _beginning(self, contact: Contact) -> JSON:
        """How a conversation begins (``determine_conversation_status``)."""
        if contact.blocked:
            return {"status": "resolved"}

        if not self.bots:
            return {}

        owned = {"assignee": self.bot} if self.version >= BOTS_OWN else {}

        return {"status": "pending", **owned}

    def new_message(
        self, sender: payloads.Sender, content: str | None, **fields: t.Any
    ) -> Message:
        """A message with an id and a time, not stored anywhere yet."""
        kind = MessageType.OUTGOING

        if isinstance(sender, Contact):
            kind = MessageType.INCOMING

        return Message(
            id=next(self._message_ids),
            content=content,
            sender=sender,
            created_at=self.clock(),
            **{"type": kind, **fields},
        )

    def tell_message(self, talk: Talk, message: Message) -> None:
        """Do what a new message brings about (``app/models/message.rb``)."""
        self.talk_of[message.id] = talk

        if message.type is MessageType.INCOMING:
            self._reopen(talk)

        if message.type is not MessageType.ACTIVITY:
            self.on_notice(self.message_notice(talk, message))

    def tell_edit(self, talk: Talk, message: Message) -> None:
        """Send ``message_updated``."""
        self.on_notice(self.message_notice(talk, message, "message_updated"))

    def tell_typing(
        self, talk: Talk, author: Agent, status: str, *, private: bool
    ) -> None:
        """Send ``conversation_typing_on`` or ``conversation_typing_off``."""
        body = payloads.typing_event(
            f"conversation_typing_{status}",
            talk.current,
            author,
            private=private,
            history=talk.messages,
            version=self.version,
        )
        self.on_notice(Notice(event=body["event"], talk=talk, body=body))

    def message_notice(
        self, talk: Talk, message: Message, event: str = "message_created"
    ) -> Notice:
        """What is told of a message, as it would be written now."""
        body = payloads.message_event(
            message,
            talk.current,
            history=talk.messages,
            version=self.version,
            event=event,
        )

        return Notice(event=body["event"], talk=talk, body=body, message_id=message.id)

    def change(self, talk: Talk, *, by: Agent | None = None, **fields: t.Any) -> None:
        """Save a conversation with new values, and tell what differs.

        Only snoozed ones have a time to wake (``app/models/conversation.rb``).

        :param by: Who does it, for the activities; ``None``: nobody in particular, and
            none are noted.
        """
        with self.changing():
            before, after = talk.current, replace(talk.current, **fields)

            if after.status != "snoozed":
                after = replace(after, snoozed_until=None)

            talk.current = after
            changed = payloads.changes(before, after)

            if "status" in changed:
                self._tell_status(talk, {"status": changed["status"]})

            if changed:
                self._tell(talk, "conversation_updated", changed)

            for text in activities.texts(before, after, by) if by else ():
                self.note(talk, text)

    def note(self, talk: Talk, text: str) -> None:
        """Store an activity, of which no webhook is told."""
        talk.add(None, text, type=MessageType.ACTIVITY)

    def hand_over(self, talk: Talk, by: Agent) -> None:
        """Open it for people; a bot that owns it loses it (``bot_handoff!``)."""
        owner = talk.current.assignee
        kept = None if owner and owner.bot else owner

        self.change(talk, by=by, status="open", assignee=kept)

    def _tell_status(
        self, talk: Talk, change: t.Mapping[str, tuple[t.Any, t.Any]]
    ) -> None:
        if talk.status in ("open", "resolved"):
            self._tell(talk, f"conversation_{talk.status}".replace("_open", "_opened"))

        self._tell(talk, "conversation_status_changed", change)

    def give_up(self, talk: Talk) -> None:
        """Hand over what its bot failed to take (``lib/webhooks/trigger.rb``)."""
        with self.changing():
            if self.version >= BOTS_GIVE_UP and talk.status == "pending":
                self.change(talk, status="open")
                self.note(talk, activities.GAVE_UP)

    def _reopen(self, talk: Talk) -> None:
        """See ``reopen_conversation`` in ``app/models/message.rb``."""
        if talk.current.contact.blocked:
            return

        if talk.status == "snoozed":
            self.change(talk, status="open")
        elif talk.status == "resolved" and self.bots:
            self.change(talk, status="pending")
        elif talk.status == "resolved":
            self.change(talk, status="open")

            if talk.current.inbox.channel == API_CHANNEL:
                self.note(talk, activities.REOPENED)

    def _tell(
        self,
        talk: Talk,
        event: str,
        changed: t.Mapping[str, tuple[t.Any, t.Any]] | None = None,
    ) -> None:
        body = payloads.conversation_event(
            event,
            talk.current,
            history=talk.messages,
            version=self.version,
            changed=changed,
        )
        self.on_notice(Notice(event=event, talk=talk, body=body))


def _line(message: Message) -> str:
    attributes = message.content_attributes
    said = [message.content or "", *(f"[{name_in(a)}]" for a in message.attachments)]
    values = attributes.get("submitted_values")

    for value in values if isinstance(values, list) else ():
        named = f"{value['name']}: " if "name" in value else ""
        said.append(f"[{named}{value.get('title', value.get('value'))}]")

    mark = " (note)" if message.private else ""
    text = " ".join(filter(None, said)).replace("\n", "\n    ")

    return f"{_author(message)}{mark}: {text}"


def _author(message: Message) -> str:
    if message.sender:
        return message.sender.name

    if message.content_attributes.get("external_echo"):
        return "Operator"

    rule = message.content_attributes.get("automation_rule_id")

    return "Automation" if rule else "Chatwoot"
