"""Conversations and messages as frozen values, from deliveries and from the API.

The shapes are those of Chatwoot 4.2 to 4.16 (``app/models/message.rb``,
``webhook_data``; ``app/presenters/conversations/event_data_presenter.rb``). Later
versions only added keys, so unknown keys are ignored; a value of an unexpected type
counts as absent.
"""

import typing as t
from types import MappingProxyType

from .attachments import Attachment, attachments_from
from .authors import Speaker as Speaker
from .authors import author_of
from .fields import (
    MARKER,
    Object,
    as_id,
    as_object,
    as_seconds,
    as_text,
    storable,
)
from .liquid import escape
from .mail import is_by_machine
from .questions import written_at
from .typed import typed

_NOTHING: t.Final[Object] = MappingProxyType({})

_TYPES: t.Final = ("incoming", "outgoing", "activity", "template")
"""Chatwoot's message types. The API uses their positions in this list."""


class Contact(t.NamedTuple):
    """The customer. A value that Chatwoot omits is ``None``, false or empty."""

    id: int | None = None
    name: str | None = None
    email: str | None = None
    phone_number: str | None = None
    identifier: str | None = None
    custom_attributes: Object = _NOTHING
    additional_attributes: Object = _NOTHING
    blocked: bool = False

    def __repr__(self) -> str:
        return f"Contact(id={self.id})"


class Assignee(t.NamedTuple):
    """The operator or bot to whom a conversation is assigned.

    :ivar type: ``"user"``, ``"agent_bot"``, or ``"machine"`` for any other, such as
        Captain (since Chatwoot 4.18). A user and a bot may have the same id.
    """

    type: str
    id: int | None

    @property
    def is_operator(self) -> bool:
        """Whether it is an operator."""
        return self.type == "user"


class ChatwootMessage(t.NamedTuple):
    """One message of a conversation.

    :ivar type: One of Chatwoot's message types, or ``"unknown"``.
    :ivar content: As Chatwoot sends it; empty if there is none.
    :ivar text: As the author typed it; of an e-mail, without the quoted history, or
        its subject if there is no text.
    :ivar rendered: Whether the text looks like the HTML that Chatwoot 4.9.0 to 4.12.0
        renders. Only the server's version shows whether it is.
    :ivar speaker: ``None`` for notes and activities.
    :ivar bot: The id of the agent bot that wrote it in public; 0 for a bot that
        Chatwoot does not name, such as Dialogflow
        (``lib/integrations/dialogflow/processor_service.rb``); ``None`` if no bot did.
    :ivar presumed: The speaker counts as an operator, and may be a bot without a name:
        the list of messages does not show which.
    :ivar marker: Our marker, if this package created it and Chatwoot stored the marker.
    :ivar picked: The customer's answer, if the message has buttons or a form; else
        empty.
    :ivar created_at: Unix seconds.
    :ivar auto_reply: Whether it is an e-mail that a machine wrote.
    :ivar author: Its sender's type, such as ``"user"`` or ``"agent_bot"``, and id.
    :ivar refusal: Why the channel did not take it after Chatwoot had; else empty. A
        text of the channel's (``app/services/messages/status_update_service.rb``).
    :ivar reaction: Whether it is a reaction to another message, such as a thumb
        (``app/services/whatsapp/session/inbound/reaction_store.rb`` of
        fazer-ai/chatwoot).
    :ivar in_reply_to: The id of the message that it replies to, if it quotes one.
    :ivar edited: Whether its author has changed it since, where the channel tells.
    :ivar content_type: Chatwoot's name for the kind of content.
    :ivar written_at: The oldest time that it states, Unix seconds.
    """

    id: int
    type: str = "unknown"
    private: bool = False
    content: str = ""
    text: str = ""
    rendered: bool = False
    speaker: Speaker | None = None
    bot: int | None = None
    presumed: bool = False
    marker: str | None = None
    picked: str = ""
    attachments: tuple[Attachment, ...] = ()
    created_at: float | None = None
    auto_reply: bool = False
    deleted: bool = False
    author: tuple[str, int] | None = None
    refusal: str = ""
    reaction: bool = False
    in_reply_to: int | None = None
    edited: bool = False
    content_type: str = "text"
    written_at: float | None = None

    def __repr__(self) -> str:
        return f"<ChatwootMessage {self.id}>"

    @property
    def by_operator(self) -> bool:
        """Whether an operator wrote this to the customer.

        Also true for our own posts with a user's token on Chatwoot before 4.9, which
        drops the marker.
        """
        return self.speaker is Speaker.OPERATOR


class Conversation(t.NamedTuple):
    """A conversation, from a delivery or from the API.

    :ivar id: The number in the conversation's URL, unique per account; 0 if an answer
        of the API omits it.
    :ivar can_reply: False outside the channel's messaging window.
    :ivar source_id: The customer's address in the channel, such as
        ``whatsapp:+491511234567``; only deliveries have it.
    :ivar updated_at: Unix seconds.
    :ivar contacts: The customer as described in each place of the payload, best first.
    :ivar last_message: The last message that is no activity; only the API has it.
    :ivar newest_message_id: The highest id of the messages in it; 0 without messages.
    :ivar first_reply_at: Unix seconds of the first public message of an operator, or of
        a user's token; ``None`` without one. Automations and campaigns do not count
        (``human_response?`` in ``app/models/message.rb``).
    """

    id: int
    account_id: int | None = None
    inbox_id: int | None = None
    status: str | None = None
    assignee: Assignee | None = None
    custom_attributes: Object = _NOTHING
    additional_attributes: Object = _NOTHING
    can_reply: bool = True
    channel: str | None = None
    source_id: str | None = None
    updated_at: float | None = None
    contacts: tuple[Contact, ...] = ()
    last_message: ChatwootMessage | None = None
    newest_message_id: int = 0
    first_reply_at: float | None = None

    def __repr__(self) -> str:
        return f"<Conversation {self.id}>"

    @property
    def contact(self) -> Contact:
        """The customer."""
        return self.contacts[0] if self.contacts else Contact()

    @property
    def blocked(self) -> bool:
        """Whether operators have blocked the customer."""
        return any(contact.blocked for contact in self.contacts)

    @property
    def waits_for_bot(self) -> bool:
        """Whether it is pending, and assigned to no operator."""
        is_operators = self.assignee is not None and self.assignee.is_operator

        return self.status == "pending" and not is_operators

    @property
    def language(self) -> str | None:
        """The language of the browser, such as ``"de"``; only for website visitors."""
        return as_text(self.additional_attributes.get("browser_language")) or None


# -- conversations -------------------------------------------------------------


def conversation_from(raw: Object, message: Object = _NOTHING) -> Conversation:
    """Read a conversation.

    :param message: The message of the delivery that contains the conversation; it has
        the account, the inbox and the customer.
    """
    meta = as_object(raw.get("meta"))
    owner, inbox = (message or raw).get("account"), message.get("inbox")

    return Conversation(
        id=as_id(raw.get("id")) or 0,
        account_id=as_id(as_object(owner).get("id")),
        inbox_id=as_id(as_object(inbox).get("id")) or as_id(raw.get("inbox_id")),
        status=_status(raw.get("status")),
        assignee=_assignee(meta),
        custom_attributes=as_object(raw.get("custom_attributes")),
        additional_attributes=as_object(raw.get("additional_attributes")),
        can_reply=raw.get("can_reply") is not False,
        channel=as_text(raw.get("channel")) or as_text(meta.get("channel")),
        source_id=as_text(as_object(raw.get("contact_inbox")).get("source_id")),
        updated_at=as_seconds(raw.get("updated_at")),
        contacts=_contacts(meta, message),
        last_message=message_from(raw.get("last_non_activity_message")),
        newest_message_id=_newest(raw.get("messages")),
        first_reply_at=as_seconds(raw.get("first_reply_created_at")),
    )


def _contacts(meta: Object, message: Object) -> tuple[Contact, ...]:
    """Return the customer from every place where a server version puts them.

    A sender without ``type`` is a contact (``app/models/contact.rb``); the top-level
    ``contact`` is from servers before June 2020.
    """
    sender = as_object(message.get("sender"))
    is_contact = sender.get("type", "contact") in ("contact", "Contact")
    places = (
        as_object(message.get("contact")),
        as_object(meta.get("sender")),
        sender if is_contact else None,
    )

    return tuple(_contact(place) for place in places if place)


def _contact(raw: Object) -> Contact:
    return Contact(
        id=as_id(raw.get("id")),
        name=as_text(raw.get("name")),
        email=as_text(raw.get("email")),
        phone_number=as_text(raw.get("phone_number")),
        identifier=as_text(raw.get("identifier")),
        custom_attributes=as_object(raw.get("custom_attributes")),
        additional_attributes=as_object(raw.get("additional_attributes")),
        blocked=raw.get("blocked") is True,
    )


def _assignee(meta: Object) -> Assignee | None:
    found = as_object(meta.get("assignee"))

    if not found:
        return None

    # "assignee_type" is "AgentBot" (4.8 and later), the assignee's "type" "agent_bot".
    kinds = [as_text(meta.get("assignee_type")), as_text(found.get("type"))]
    kind = "user"

    if any(each in ("AgentBot", "agent_bot") for each in kinds):
        kind = "agent_bot"
    elif any(each not in (None, "User", "user") for each in kinds):
        kind = "machine"

    return Assignee(kind, as_id(found.get("id")))


def _status(value: t.Any) -> str | None:
    status = as_text(value)

    return status and storable(status)


def _newest(messages: t.Any) -> int:
    listed = messages if isinstance(messages, list) else ()

    return max((as_id(as_object(each).get("id")) or 0 for each in listed), default=0)


# -- messages ------------------------------------------------------------------


def message_from(
    raw: t.Any, conversation: Object | None = None
) -> ChatwootMessage | None:
    """Read a message; ``None`` if it is no object, or has no id.

    :param conversation: The conversation in the delivery of the message, whose content
        may be rendered; ``None`` for answers of the API.
    """
    raw = as_object(raw)
    message_id = as_id(raw.get("id"))

    if message_id is None:
        return None

    attributes = as_object(raw.get("content_attributes"))
    mail = as_object(attributes.get("email"))
    content = as_text(raw.get("content")) or ""
    created_at = as_seconds(raw.get("created_at"))
    kind = _type(raw.get("message_type"))
    private = raw.get("private") not in (None, False)
    text, rendered = typed(content, mail, message_id, conversation)
    author = author_of(raw, kind, private=private, conversation=conversation)

    return ChatwootMessage(
        id=message_id,
        type=kind,
        private=private,
        content=content,
        text=text,
        rendered=rendered,
        speaker=author.speaker,
        bot=author.bot,
        presumed=author.presumed,
        marker=as_text(attributes.get(MARKER)),
        picked=_picked(attributes.get("submitted_values")),
        attachments=attachments_from(raw.get("attachments")),
        created_at=created_at,
        auto_reply=is_by_machine(mail, as_object(raw.get("sender"))),
        author=_author(as_object(raw.get("sender"))),
        content_type=as_text(raw.get("content_type")) or "text",
        written_at=written_at(created_at, attributes),
        **_marks(attributes),
    )


def _marks(attributes: Object) -> dict[str, t.Any]:
    return {
        "deleted": bool(attributes.get("deleted")),
        "refusal": as_text(attributes.get("external_error")) or "",
        "reaction": attributes.get("is_reaction") is True,
        "in_reply_to": as_id(attributes.get("in_reply_to")),
        "edited": attributes.get("is_edited") is True,
    }


class _Draft(t.Protocol):
    """The values of a draft that identify its post."""

    @property
    def marker(self) -> str: ...
    @property
    def private(self) -> bool: ...
    @property
    def content(self) -> str: ...
    @property
    def files(self) -> int: ...


def is_post_of(
    draft: _Draft, message: ChatwootMessage, *, by_text: bool, blank: bool = False
) -> bool:
    """Whether a message is the post of a draft.

    :param by_text: The server may keep no markers, as before 4.9
        (``app/builders/messages/message_builder.rb``), so that text and number of files
        decide for a message without one. With markers, an equal text is an operator's.
    :param blank: Files without a text count, too.
    """
    if message.marker is not None:
        return message.marker == draft.marker

    return by_text and _says_the_same(draft, message, blank=blank)


def may_have_lost_marker(draft: _Draft, message: ChatwootMessage) -> bool:
    """Whether a message may be the post of a draft, although it has no marker.

    For a server that keeps markers, and a message by the author of our posts: an
    operator who deletes a message, or has a failed one sent again, empties its
    ``content_attributes``; a deleted one loses its text and its files, too
    (``app/controllers/api/v1/accounts/conversations/messages_controller.rb``).
    """
    if message.marker is not None:
        return False

    if message.deleted:
        return message.type == "outgoing" and message.private == draft.private

    return _says_the_same(draft, message)


def _says_the_same(
    draft: _Draft, message: ChatwootMessage, *, blank: bool = False
) -> bool:
    """Whether two texts are equal. Blank ones say nothing, unless files may."""
    text = draft.content.strip()

    return (
        bool(text or (blank and draft.files))
        and message.type == "outgoing"
        and message.private == draft.private
        and message.content.strip() in (text, escape(draft.content).strip())
        and len(message.attachments) == draft.files
    )


def identified(
    messages: t.Iterable[ChatwootMessage],
    shown: t.Sequence[ChatwootMessage] = (),
    *,
    bots_until: int = 0,
) -> list[ChatwootMessage]:
    """Listed messages, with what is known otherwise of their authors.

    :param shown: Messages in a conversation, where Chatwoot shows more of them. What is
        not listed is added at the end.
    :param bots_until: Up to this one, those without a sender are a bot's, as deliveries
        told.
    """
    better = {each.id: each for each in shown}
    found = [better.pop(each.id, each) for each in messages]

    return [_identified(each, bots_until) for each in (*found, *better.values())]


def _identified(message: ChatwootMessage, bots_until: int) -> ChatwootMessage:
    if not message.presumed or message.id > bots_until:
        return message

    return message._replace(speaker=Speaker.MACHINE, bot=0, presumed=False)


def _author(sender: Object) -> tuple[str, int] | None:
    kind, sender_id = as_text(sender.get("type")), as_id(sender.get("id"))

    return (kind.lower(), sender_id) if kind and sender_id else None


def _type(value: t.Any) -> str:
    if type(value) is int:
        return _TYPES[value] if 0 <= value < len(_TYPES) else "unknown"

    return value if value in _TYPES else "unknown"


def _picked(values: t.Any) -> str:
    """Return the titles selected, or the lines of a form (AgentMessageBubble.vue)."""
    lines = []

    for value in map(as_object, values if isinstance(values, list) else ()):
        name, given = as_text(value.get("name")), as_text(value.get("value"))
        line = as_text(value.get("title")) or given
        lines.append(f"{name}: {given}" if name and given else line)

    return "\n".join(line for line in lines if line)
