"""What Chatwoot said: bytes in, frozen values out.

The shapes are those of Chatwoot 4.2 to 4.16 (``app/models/message.rb``,
``webhook_data``; ``app/presenters/conversations/event_data_presenter.rb``). They only
ever grew, so unknown keys pass; what is present but of a foreign type is treated as
absent, unless the message can not be answered without it.
"""

import hashlib
import json
import math
import re
import typing as t
from html import unescape
from types import MappingProxyType

from flask_chatwoot.errors import PayloadError
from flask_chatwoot.outcomes import Reason

from .fields import MARKER, Object, as_id, as_object, as_text

_TYPES: t.Final = ("incoming", "outgoing", "activity", "template")
"""Chatwoot's message types; the position is the number used outside webhooks."""


class Event(t.NamedTuple):
    """Something that happened in Chatwoot and that has no class of its own.

    :ivar name: Chatwoot's name for it. Unknown names pass through.
    :ivar raw: The decoded payload.
    """

    name: str
    raw: Object

    def __repr__(self) -> str:
        return f"<Event {self.name}>"


class MessageEvent(t.NamedTuple):
    """A message was created, or a customer answered with a button or a form.

    :ivar conversation_id: The number in the conversation's URL, unique per account.
    :ivar inbox_id: The Chatwoot inbox, or ``None`` when the payload does not say.
    :ivar type: One of Chatwoot's message types, or ``"unknown"``.
    :ivar text: What the author typed; empty when there is no text.
    :ivar rendered: The text looks like HTML that Chatwoot 4.9.0 to 4.12.0 made of
        what was typed. Only the server's version can tell whether it did.
    :ivar raw: The decoded payload, for what is not named here.
    :ivar digest: Of an answer given by a button or a form, whose message may get
        another one; else empty.
    """

    name: str
    account_id: int
    conversation_id: int
    inbox_id: int | None
    message_id: int
    type: str
    private: bool
    text: str
    rendered: bool
    raw: Object
    digest: str = ""

    def __repr__(self) -> str:
        return f"<MessageEvent {self.key}>"

    @property
    def key(self) -> str:
        """The same for every delivery of this message.

        The delivery id is no part of it: it is not signed, and two bots on one
        conversation get two ids for one message.
        """
        return f"{self.account_id}:{self.name}:{self.message_id}{self.digest}"

    @property
    def marker(self) -> str | None:
        """Our marker, if this package made the message and Chatwoot kept it."""
        return marker_of(self.raw)

    def reason_to_ignore(self, account_id: int) -> Reason | None:
        """Why this message needs no answer; ``None`` if it needs one."""
        if self.account_id != account_id:
            return Reason.OTHER_ACCOUNT

        if self.private:
            return Reason.PRIVATE

        if self.type != "incoming":
            return _IGNORED_TYPES.get(self.type, Reason.UNKNOWN_TYPE)

        if self.auto_reply:
            return Reason.AUTO_REPLY

        # Webhooks go on for blocked contacts (app/models/conversation.rb).
        for person in contact_candidates(self.raw):
            if person.get("blocked") is True:
                return Reason.BLOCKED

        speaks = self.text.strip() or self.raw.get("attachments")

        return None if speaks else Reason.EMPTY

    @property
    def auto_reply(self) -> bool:
        """Whether it is an e-mail that a machine wrote."""
        return _mail(self.raw).get("auto_reply") is True

    @property
    def by_operator(self) -> bool:
        """Whether a person wrote this to the customer."""
        return is_by_operator(self.raw)


_IGNORED_TYPES: t.Final = {
    "outgoing": Reason.OUTGOING,
    "template": Reason.TEMPLATE,
    "activity": Reason.ACTIVITY,
}


class Contact(t.NamedTuple):
    """The customer. Everything but ``custom_attributes`` may be ``None``."""

    id: int | None = None
    name: str | None = None
    email: str | None = None
    phone_number: str | None = None
    identifier: str | None = None
    custom_attributes: Object = MappingProxyType({})

    def __repr__(self) -> str:
        return f"Contact(id={self.id})"


class Attachment(t.NamedTuple):
    """A file the customer sent.

    :ivar type: Chatwoot's ``file_type``: ``image``, ``audio``, ``file``, …
    :ivar url: Answers with a redirect to the file and needs no token; ``None`` for
        kinds without a file, such as a location.
    :ivar size: Bytes, or ``None``.
    """

    type: str
    url: str | None = None
    size: int | None = None

    def __repr__(self) -> str:
        return f"Attachment(type={self.type!r}, size={self.size})"


class ConversationEvent(t.NamedTuple):
    """Something about a conversation changed.

    :ivar account_id: ``None`` before Chatwoot 4.14.2, which does not say.
    :ivar status: Chatwoot's, or ``None``.
    :ivar raw: The decoded payload; it is the conversation itself.
    """

    name: str
    account_id: int | None
    conversation_id: int
    status: str | None
    raw: Object

    def __repr__(self) -> str:
        return f"<ConversationEvent {self.name} {self.conversation_id}>"

    @property
    def resolves(self) -> bool:
        """Whether the conversation was resolved just now, and not merely is.

        The customer may have opened it again since: Chatwoot writes a delivery when its
        queue gets to it, and shows the status as it is by then.
        """
        says_so = self.name in ("conversation_resolved", "conversation_status_changed")

        if says_so and self.status == "resolved":
            return True

        return any(after == "resolved" for _, after in _changes(self.raw, "status"))

    def change_of(self, attribute: str) -> tuple[t.Any, t.Any] | None:
        """A custom attribute before and after, or ``None`` if it did not change."""
        for before, after in _changes(self.raw, "custom_attributes"):
            values = as_object(before).get(attribute), as_object(after).get(attribute)

            if values[0] != values[1]:
                return values

        return None


SUBSCRIPTIONS: t.Final = (
    "message_created",
    "message_updated",
    "conversation_status_changed",
    "conversation_updated",
)
"""The events an account webhook has to subscribe to. Agent bots get them unasked."""

CONVERSATION_EVENTS: t.Final = (
    "conversation_status_changed",
    "conversation_updated",
    "conversation_opened",
    "conversation_resolved",
)


def _changes(payload: Object, name: str) -> t.Iterator[tuple[t.Any, t.Any]]:
    listed = payload.get("changed_attributes")

    for item in listed if isinstance(listed, list) else ():
        change = as_object(as_object(item).get(name))

        if change:
            yield change.get("previous_value"), change.get("current_value")


# -- parsing -------------------------------------------------------------------


def parse(body: bytes) -> Event | MessageEvent | ConversationEvent:
    """Read a delivery's body.

    :raises PayloadError: Not a JSON object in UTF-8, no event name, or a message
        without the ids that are needed to answer it. The text quotes nothing.
    """
    payload = decode(body)
    name = payload.get("event")

    if not isinstance(name, str):
        raise PayloadError("The body names no event.")

    if name == "message_created":
        return _message(name, payload)

    if name == "message_updated":
        return _answer(name, payload) or Event(name, payload)

    return _conversation(name, payload) or Event(name, payload)


_DEEPEST: t.Final = 500
"""Levels a body may have; Chatwoot's have about ten."""

_NO_BRACKETS: t.Final = bytes({*range(256)} - {*b"[{"})


def _finite(text: str) -> float:
    number = float(text)  # NaN and Infinity, which JSON does not know, come here too

    if not math.isfinite(number):
        raise ValueError(text)

    return number


_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def decode(body: bytes) -> Object:
    """Read a JSON object.

    :raises PayloadError: Not UTF-8, not JSON, or not an object.
    """
    try:
        payload = _decoder.decode(body.decode())
    except (ValueError, RecursionError):
        # ValueError: not UTF-8, not JSON, or a number of thousands of digits.
        raise PayloadError("The body is not JSON.") from None

    if not isinstance(payload, dict):
        raise PayloadError("The body is not a JSON object.")

    if len(body.translate(None, _NO_BRACKETS)) > _DEEPEST and _is_deep(payload):
        raise PayloadError("The body is nested too deeply.")

    return payload


def _is_deep(payload: Object) -> bool:
    """How deep the parser itself goes differs between versions of Python."""
    level: list[t.Any] = [payload]

    for _ in range(_DEEPEST):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]

    return bool(level)


def _message(name: str, payload: Object) -> MessageEvent:
    conversation = as_object(payload.get("conversation"))
    content = payload.get("content")

    if content is not None and not isinstance(content, str):
        raise PayloadError("The message's content is not text.")

    text, rendered = _typed(payload, conversation, content or "")

    return MessageEvent(
        name=name,
        raw=payload,
        account_id=_needed_id(payload.get("account"), "account.id"),
        conversation_id=_needed_id(conversation, "conversation.id"),
        inbox_id=_inbox_id(payload, conversation),
        message_id=_needed_id(payload, "id"),
        type=_type(payload),
        private=payload.get("private") not in (None, False),
        text=text,
        rendered=rendered,
    )


def _conversation(name: str, payload: Object) -> ConversationEvent | None:
    conversation_id = as_id(payload.get("id"))

    if name not in CONVERSATION_EVENTS or conversation_id is None:
        return None

    return ConversationEvent(
        name=name,
        account_id=as_id(as_object(payload.get("account")).get("id")),
        conversation_id=conversation_id,
        status=as_text(payload.get("status")),
        raw=payload,
    )


def _answer(name: str, payload: Object) -> MessageEvent | None:
    """What a customer answered with a button or a form, if that is what happened.

    Chatwoot tells of every change of a message in the same way, and not what changed.
    """
    text = picked_in(payload)

    try:
        asked = _message(name, {**payload, "content": text})
    except PayloadError:
        return None

    if not text or asked.type != "outgoing":
        return None

    values = as_object(payload.get("content_attributes")).get("submitted_values")
    digest = hashlib.sha256(repr(values).encode(errors="replace")).hexdigest()

    # The customer's, though the author of the message is whoever asked.
    return asked._replace(
        type="incoming",
        text=text,
        rendered=False,
        raw=payload,
        digest=f":{digest[:16]}",
    )


def picked_in(message: Object) -> str:
    """The titles picked, or the lines of a form (``AgentMessageBubble.vue``); empty if
    the message asked for nothing, or was not answered."""
    values = as_object(message.get("content_attributes")).get("submitted_values")
    lines = []

    for value in map(as_object, values if isinstance(values, list) else ()):
        name, given = as_text(value.get("name")), as_text(value.get("value"))
        line = as_text(value.get("title")) or given
        lines.append(f"{name}: {given}" if name and given else line)

    return "\n".join(line for line in lines if line)


def _needed_id(holder: t.Any, name: str) -> int:
    number = as_id(as_object(holder).get("id"))

    if number is None:
        raise PayloadError(f"The message has no usable {name}.")

    return number


def _inbox_id(payload: Object, conversation: Object) -> int | None:
    inbox = as_object(payload.get("inbox"))

    return as_id(inbox.get("id")) or as_id(conversation.get("inbox_id"))


def _type(payload: Object) -> str:
    if "message_type" not in payload:
        raise PayloadError("The message has no message_type.")

    value = payload["message_type"]

    if type(value) is int:
        return _TYPES[value] if 0 <= value < len(_TYPES) else "unknown"

    return value if value in _TYPES else "unknown"


# -- content as the customer typed it ------------------------------------------

_RENDERED = r"(?s)\s*<(p|ul|ol|h[1-6]|blockquote|pre|table|hr)\b.*>\s*\Z"


def _typed(payload: Object, conversation: Object, content: str) -> tuple[str, bool]:
    """The text as typed, and whether it may still be rendered HTML."""
    rendered = content[:64].lstrip()[:1] == "<" and bool(re.match(_RENDERED, content))
    stored = _stored(payload, conversation) if rendered else None
    trimmed = _trimmed_mail(payload)

    if trimmed is not None:
        text, rendered = trimmed, False
    elif stored is not None:
        text, rendered = stored, False
    else:
        text = content

    # Chatwoot strips these itself from 4.14.2 on.
    return text.rstrip("\r\n"), rendered


def _stored(payload: Object, conversation: Object) -> str | None:
    """The unrendered text, which Chatwoot sends along with its newest message.

    ``messages[0]`` is the newest message when the delivery was written, and so is
    often another one than the delivery is about.
    """
    messages = conversation.get("messages")
    newest = as_object(messages[0]) if isinstance(messages, list) and messages else {}

    if newest.get("id") != payload.get("id"):
        return None

    return as_text(newest.get("content"))


def _trimmed_mail(payload: Object) -> str | None:
    """An e-mail without the history it quotes.

    Chatwoot calls the trimmed part ``quoted`` (``app/presenters/mail_presenter.rb``).
    """
    mail = _mail(payload)

    for part in ("text_content", "html_content") if mail else ():
        text = as_text(as_object(mail.get(part)).get("quoted"))

        if text and text.strip():
            return text

    return None


def _mail(payload: Object) -> Object:
    """What Chatwoot says about an e-mail; nothing for other messages."""
    attributes = payload.get("content_attributes")

    return as_object(as_object(attributes).get("email")) if attributes else {}


def text_of(message: Object) -> str:
    """What was written, in a message of the API's list; mails without their history."""
    return (_trimmed_mail(message) or as_text(message.get("content")) or "").strip()


def newest_message(conversation: Object) -> int:
    """The id of the newest message that a conversation shows; 0 if it shows none."""
    messages = conversation.get("messages")
    listed = messages if isinstance(messages, list) else []
    ids = [as_id(as_object(each).get("id")) or 0 for each in listed]

    return max(ids, default=0)


def unrendered(html: str) -> str:
    """What was probably typed, from the HTML Chatwoot made of it."""
    for pattern, text in _UNRENDERED:
        html = re.sub(pattern, text, html)

    return unescape(html).strip("\n")


_UNRENDERED: t.Final = (
    (r"\n(?=<)|(?<=>)\n", ""),  # the renderer's own, between tags
    (r"<br ?/?>", "\n"),
    (r"<li>", "- "),
    (r"</li>", "\n"),
    (r"</(?:p|ul|ol|blockquote|pre|h[1-6])>", "\n\n"),
    (r"<[^>]*>", ""),
    (r"\n{3,}", "\n\n"),
)


# -- what a provider may ask about a message -----------------------------------


def contact_candidates(raw: Object) -> tuple[Object, ...]:
    """The places where the contact may be, best first.

    A sender without ``type`` is a contact (``app/models/contact.rb``); the top-level
    ``contact`` is from servers before June 2020.
    """
    sender = as_object(raw.get("sender"))
    meta = as_object(as_object(raw.get("conversation")).get("meta"))
    found = as_object(raw.get("contact")), as_object(meta.get("sender"))

    is_contact = sender.get("type", "contact") in ("contact", "Contact")

    return (*found, sender) if is_contact else found


def contact(raw: Object) -> Contact:
    """The customer of a message, from wherever this server version puts them."""
    found: Object = next((c for c in contact_candidates(raw) if c), {})

    return Contact(
        id=as_id(found.get("id")),
        name=as_text(found.get("name")),
        email=as_text(found.get("email")),
        phone_number=as_text(found.get("phone_number")),
        identifier=as_text(found.get("identifier")),
        custom_attributes=as_object(found.get("custom_attributes")),
    )


def attachments(raw: Object) -> tuple[Attachment, ...]:
    """The files of a message; the key is absent when there are none."""
    listed = raw.get("attachments")

    return tuple(
        Attachment(
            type=as_text(item.get("file_type")) or "file",
            url=as_text(item.get("data_url")),
            size=as_id(item.get("file_size")),
        )
        for item in (listed if isinstance(listed, list) else ())
        if isinstance(item, dict)
    )


def language(raw: Object) -> str | None:
    """The browser's language, ``"de"`` for instance; only website visitors have one."""
    conversation = as_object(raw.get("conversation"))
    additional = as_object(conversation.get("additional_attributes"))

    return as_text(additional.get("browser_language")) or None


def marker_of(message: Object) -> str | None:
    """Our marker on a message, in a webhook or in the API's message list."""
    return as_text(as_object(message.get("content_attributes")).get(MARKER))


def is_by_operator(message: Object) -> bool:
    """Whether a person wrote this to the customer, as far as the message tells.

    Takes the shape of webhooks and that of the API's list. Our own posts by a user's
    token on Chatwoot before 4.9 look just like it.
    """
    if message.get("message_type") not in ("outgoing", 1) or message.get("private"):
        return False

    attributes = as_object(message.get("content_attributes"))
    extra = as_object(message.get("additional_attributes"))

    if MARKER in attributes or "automation_rule_id" in attributes:
        return False

    if extra.get("campaign_id"):
        return False

    sender = as_object(message.get("sender"))

    if sender:
        return sender.get("type") in ("user", "User")

    # Written on the shop's own phone: the channel tells of it, and no user did it.
    return any(
        holder.get(key)
        for holder in (message, attributes, extra)
        for key in ("external_echo", "external_sender_name")
    )
