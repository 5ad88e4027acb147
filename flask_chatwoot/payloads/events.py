"""What Chatwoot delivers: bytes in, frozen values out.

Unknown keys and events pass; what is present but of a foreign type is treated as
absent, unless the message cannot be answered without it.
"""

import hashlib
import json
import math
import typing as t

from flask_chatwoot.errors import PayloadError
from flask_chatwoot.outcomes import Reason

from .conversation import (
    ChatwootMessage,
    Conversation,
    Speaker,
    conversation_from,
    message_from,
)
from .fields import Object, as_id, as_object

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


class OtherEvent(t.NamedTuple):
    """Something that happened in Chatwoot and that has no class of its own.

    :ivar name: Chatwoot's name for it. Unknown names pass through.
    :ivar raw: The decoded payload.
    """

    name: str
    raw: Object

    def __repr__(self) -> str:
        return f"<OtherEvent {self.name}>"


class MessageEvent(t.NamedTuple):
    """A message was created, or a customer answered with a button or a form.

    Such an answer is a message of the customer with the id of the question.

    :ivar digest: Of an answer given by a button or a form, whose message may get
        another one; else empty.
    :ivar raw: The decoded payload, for what is not named here.
    """

    name: str
    account_id: int
    message: ChatwootMessage
    conversation: Conversation
    digest: str
    raw: Object

    def __repr__(self) -> str:
        return f"<MessageEvent {self.key}>"

    @property
    def key(self) -> str:
        """The same for every delivery of this message.

        The delivery id is no part of it: it is not signed, and two bots on one
        conversation get two ids for one message.
        """
        return f"{self.account_id}:{self.name}:{self.message.id}{self.digest}"

    @property
    def conversation_id(self) -> int:
        """The number in the conversation's URL, unique per account."""
        return self.conversation.id

    @property
    def message_id(self) -> int:
        """Chatwoot's id for the message."""
        return self.message.id

    def reason_to_ignore(self, account_id: int) -> Reason | None:
        """Why this message needs no answer; ``None`` if it needs one."""
        message = self.message

        if self.account_id != account_id:
            return Reason.OTHER_ACCOUNT

        if message.private:
            return Reason.PRIVATE

        if message.type != "incoming":
            return _IGNORED_TYPES.get(message.type, Reason.UNKNOWN_TYPE)

        if message.auto_reply:
            return Reason.AUTO_REPLY

        # Webhooks go on for blocked contacts (app/models/conversation.rb).
        if self.conversation.blocked:
            return Reason.BLOCKED

        return None if message.text.strip() or message.attachments else Reason.EMPTY


_IGNORED_TYPES: t.Final = {
    "outgoing": Reason.OUTGOING,
    "template": Reason.TEMPLATE,
    "activity": Reason.ACTIVITY,
}


class ConversationEvent(t.NamedTuple):
    """Something about a conversation changed.

    :ivar account_id: ``None`` before Chatwoot 4.14.2, which does not say.
    :ivar changes: What changed, with its value before and after.
    :ivar raw: The decoded payload; it is the conversation itself.
    """

    name: str
    account_id: int | None
    conversation: Conversation
    changes: tuple[tuple[str, t.Any, t.Any], ...]
    raw: Object

    def __repr__(self) -> str:
        return f"<ConversationEvent {self.name} {self.conversation.id}>"

    @property
    def conversation_id(self) -> int:
        """The number in the conversation's URL, unique per account."""
        return self.conversation.id

    @property
    def resolves(self) -> bool:
        """Whether the conversation was resolved just now, and not merely is.

        The customer may have opened it again since: Chatwoot writes a delivery when its
        queue gets to it, and shows the status as it is by then.
        """
        says_so = self.name in ("conversation_resolved", "conversation_status_changed")

        if says_so and self.conversation.status == "resolved":
            return True

        return any(
            name == "status" and after == "resolved" for name, _, after in self.changes
        )

    def change_of(self, attribute: str) -> tuple[t.Any, t.Any] | None:
        """A custom attribute before and after, or ``None`` if it did not change."""
        for name, before, after in self.changes:
            values = as_object(before).get(attribute), as_object(after).get(attribute)

            if name == "custom_attributes" and values[0] != values[1]:
                return values

        return None


# -- parsing -------------------------------------------------------------------


def parse(body: bytes) -> MessageEvent | ConversationEvent | OtherEvent:
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
        return _answer(name, payload) or OtherEvent(name, payload)

    return _conversation(name, payload) or OtherEvent(name, payload)


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
    content = payload.get("content")

    if content is not None and not isinstance(content, str):
        raise PayloadError("The message's content is not text.")

    return _any_message(name, payload)


def _any_message(name: str, payload: Object) -> MessageEvent:
    raw = as_object(payload.get("conversation"))
    conversation = conversation_from(raw, payload)
    message = message_from(payload, raw)

    if message is None:
        raise PayloadError("The message has no usable id.")

    if conversation.account_id is None:
        raise PayloadError("The message has no usable account.id.")

    if not conversation.id:
        raise PayloadError("The message has no usable conversation.id.")

    if "message_type" not in payload:
        raise PayloadError("The message has no message_type.")

    return MessageEvent(
        name, conversation.account_id, message, conversation, "", payload
    )


def _answer(name: str, payload: Object) -> MessageEvent | None:
    """What a customer answered with a button or a form, if that is what happened.

    Chatwoot reports every change of a message in the same way, and not what changed.
    """
    try:
        asked = _any_message(name, payload)
    except PayloadError:
        return None

    picked = asked.message.picked

    if not picked or asked.message.type != "outgoing":
        return None

    values = as_object(payload.get("content_attributes")).get("submitted_values")
    digest = hashlib.sha256(repr(values).encode(errors="replace")).hexdigest()
    # The customer's, though the author of the message is whoever asked.
    message = asked.message._replace(
        type="incoming",
        text=picked,
        rendered=False,
        speaker=asked.message.speaker and Speaker.CUSTOMER,
    )

    return asked._replace(message=message, digest=f":{digest[:16]}")


def _conversation(name: str, payload: Object) -> ConversationEvent | None:
    if name not in CONVERSATION_EVENTS or as_id(payload.get("id")) is None:
        return None

    conversation = conversation_from(payload)
    changes = tuple(_changes(payload.get("changed_attributes")))

    return ConversationEvent(
        name, conversation.account_id, conversation, changes, payload
    )


def _changes(listed: t.Any) -> t.Iterator[tuple[str, t.Any, t.Any]]:
    for item in listed if isinstance(listed, list) else ():
        for name, change in as_object(item).items():
            values = as_object(change)

            if values:
                yield name, values.get("previous_value"), values.get("current_value")
