"""Parse the deliveries of Chatwoot into frozen values.

Unknown keys and events are accepted. A value of an unexpected type counts as absent,
unless the message cannot be answered without it.
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
from .fields import Object, as_id, as_object, as_seconds, as_text
from .questions import why_no_question

SUBSCRIPTIONS: t.Final = (
    "message_created",
    "message_updated",
    "conversation_status_changed",
    "conversation_updated",
)
"""The events that an account webhook must subscribe to. Agent bots get all events."""

CONVERSATION_EVENTS: t.Final = (
    "conversation_status_changed",
    "conversation_updated",
    "conversation_opened",
    "conversation_resolved",
)


class OtherEvent(t.NamedTuple):
    """An event without a class of its own.

    :ivar name: Chatwoot's name of the event, which may be unknown.
    :ivar raw: The decoded payload.
    """

    name: str
    raw: Object

    def __repr__(self) -> str:
        return f"<OtherEvent {self.name}>"


class MessageEvent(t.NamedTuple):
    """A message was created or refused, or a customer used a button or a form.

    Such an answer is a message of the customer with the id of the question.

    :ivar digest: Identifies an answer with a button or a form, because the same message
        can be answered again; else empty.
    :ivar raw: The decoded payload.
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
        """The deduplication key: the same for every delivery of this message.

        The delivery id is not part of it: it is not signed, and two bots in one
        conversation get two ids for one message.
        """
        suffix = ":refused" if self.refused else self.digest

        return f"{self.account_id}:{self.name}:{self.message.id}{suffix}"

    @property
    def refused(self) -> bool:
        """Whether the channel did not take a message that Chatwoot had accepted.

        Chatwoot may report it more than once, without the message's status.
        """
        written = self.message.type == "outgoing" and not self.message.private

        return written and self.name == "message_updated" and self.message.refusal != ""

    @property
    def conversation_id(self) -> int:
        """The number in the conversation's URL, unique per account."""
        return self.conversation.id

    @property
    def message_id(self) -> int:
        """Chatwoot's id for the message."""
        return self.message.id

    def reason_to_ignore(self, account_id: int) -> Reason | None:
        """Return why this message needs no answer; ``None`` if it needs one."""
        message = self.message

        if self.account_id != account_id:
            return Reason.OTHER_ACCOUNT

        if message.private:
            return Reason.PRIVATE

        if message.type != "incoming":
            return _IGNORED_TYPES.get(message.type, Reason.UNKNOWN_TYPE)

        return why_no_question(message) or self._reason_to_be_silent()

    def _reason_to_be_silent(self) -> Reason | None:
        message = self.message

        if message.deleted:  # Chatwoot may write the delivery after that
            return Reason.DELETED

        if message.auto_reply:
            return Reason.AUTO_REPLY

        # Chatwoot delivers these, too (app/models/conversation.rb).
        if self.conversation.blocked:
            return Reason.BLOCKED

        return None if message.text.strip() or message.attachments else Reason.EMPTY


_IGNORED_TYPES: t.Final = {
    "outgoing": Reason.OUTGOING,
    "template": Reason.TEMPLATE,
    "activity": Reason.ACTIVITY,
}


class MessageUpdate(t.NamedTuple):
    """A message changed, and that is neither an answer nor a refusal.

    It was edited, deleted, read or translated: Chatwoot does not say which.

    :ivar raw: The decoded payload.
    """

    name: str
    account_id: int
    message: ChatwootMessage
    conversation: Conversation
    raw: Object

    def __repr__(self) -> str:
        return f"<MessageUpdate {self.account_id}:{self.message.id}>"

    @property
    def as_message(self) -> MessageEvent:
        """The message as it is now."""
        return MessageEvent(
            self.name, self.account_id, self.message, self.conversation, "", self.raw
        )

    @property
    def changes_question(self) -> bool:
        """Whether it may be about the text of a question."""
        message = self.message
        is_question = message.type == "incoming" and not message.private

        return is_question and why_no_question(message) is None

    @property
    def reason(self) -> Reason:
        """Why it needs no turn, as far as the payload shows."""
        change = Reason.DELETED if self.message.deleted else Reason.UPDATED

        return why_no_question(self.message) or change


class ConversationEvent(t.NamedTuple):
    """A conversation changed.

    :ivar account_id: ``None`` before Chatwoot 4.14.2, which omits it.
    :ivar changes: Name, previous value and current value of what changed.
    :ivar raw: The decoded payload, which is the conversation itself.
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
        """Whether this event resolves the conversation.

        The status alone is no proof: Chatwoot writes a delivery when its queue
        processes it, with the status at that time, and the customer may have reopened
        the conversation.
        """
        says_so = self.name in ("conversation_resolved", "conversation_status_changed")

        if says_so and self.conversation.status == "resolved":
            return True

        return any(
            name == "status" and after == "resolved" for name, _, after in self.changes
        )

    @property
    def changes_status(self) -> bool:
        """Whether the status is what has changed."""
        return self.name != "conversation_updated" or any(
            name == "status" for name, _, _ in self.changes
        )

    @property
    def former_status(self) -> str | None:
        """The status before this change, if Chatwoot tells it and that after it.

        Bots before 4.13 get no event that does.
        """
        now = self.conversation.status
        changes = (
            before
            for name, before, after in self.changes
            if name == "status" and after == now
        )

        return as_text(next(changes, None))

    @property
    def changed_at(self) -> float | None:
        """When it changed: Chatwoot's time, Unix seconds.

        An account's delivery shows the state of the moment when it was built, which is
        later than the change (``app/listeners/webhook_listener.rb``).
        """
        times = (as_seconds(now) for name, _, now in self.changes if name == _SAVED)

        return next(times, None) or self.conversation.updated_at

    @property
    def last_message(self) -> ChatwootMessage | None:
        """The last public message in the conversation when the delivery was built."""
        listed = self.raw.get("messages")

        return message_from(listed[-1]) if isinstance(listed, list) and listed else None

    @property
    def newest_message_id(self) -> int:
        """The newest message when the conversation changed; 0 if that is unknown."""
        last, at = self.last_message, self.changed_at
        newest = self.conversation.newest_message_id

        # Whole seconds: a message of the same second counts as older.
        if last and at and last.id == newest and (last.created_at or 0.0) > at:
            return newest - 1

        return newest

    def change_of(self, attribute: str) -> tuple[t.Any, t.Any] | None:
        """Return a custom attribute before and after its change; ``None`` without."""
        for name, before, after in self.changes:
            values = as_object(before).get(attribute), as_object(after).get(attribute)

            if name == "custom_attributes" and values[0] != values[1]:
                return values

        return None


_SAVED: t.Final = "updated_at"


# -- parsing -------------------------------------------------------------------


Event: t.TypeAlias = MessageEvent | MessageUpdate | ConversationEvent | OtherEvent
"""What a delivery reports."""


def parse(body: bytes) -> Event:
    """Parse the body of a delivery.

    :raises PayloadError: Not a JSON object in UTF-8, no event name, or a message
        without a required id. The error does not quote the body.
    """
    payload = decode(body)
    name = payload.get("event")

    if not isinstance(name, str):
        raise PayloadError("The body names no event.")

    if name == "message_created":
        return _message(name, payload)

    if name == "message_updated":
        return _changed(name, payload) or OtherEvent(name, payload)

    return _conversation(name, payload) or OtherEvent(name, payload)


_DEEPEST: t.Final = 500
"""The most levels of a body; those of Chatwoot have about ten."""

_NO_BRACKETS: t.Final = bytes({*range(256)} - {*b"[{"})


def _finite(text: str) -> float:
    number = float(text)  # also called for NaN and Infinity, which are not JSON

    if not math.isfinite(number):
        raise ValueError(text)

    return number


_decoder = json.JSONDecoder(parse_float=_finite, parse_constant=_finite)


def decode(body: bytes) -> Object:
    """Decode a JSON object.

    :raises PayloadError: Not UTF-8, not JSON, not an object, or nested too deeply.
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
    """Whether a payload is too deep. The parser's own limit differs between Pythons."""
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


def _changed(name: str, payload: Object) -> MessageEvent | MessageUpdate | None:
    """Return a customer's answer with a button or a form, or the channel's refusal.

    Chatwoot reports every change of a message alike, without the change itself. Any
    other change is a :class:`MessageUpdate`.
    """
    try:
        changed = _any_message(name, payload)
    except PayloadError:
        return None

    if changed.message.picked and changed.message.type == "outgoing":
        return _answer(changed, payload)

    if changed.refused:
        return changed

    return MessageUpdate(
        name, changed.account_id, changed.message, changed.conversation, payload
    )


def _answer(asked: MessageEvent, payload: Object) -> MessageEvent:
    values = as_object(payload.get("content_attributes")).get("submitted_values")
    digest = hashlib.sha256(repr(values).encode(errors="replace")).hexdigest()
    # The message is the customer's, although its sender is the author of the question.
    message = asked.message._replace(
        type="incoming",
        text=asked.message.picked,
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
