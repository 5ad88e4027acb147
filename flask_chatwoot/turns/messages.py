"""The customer messages of a job: what the queue keeps of them, and reads again."""

from __future__ import annotations

import json
import typing as t

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, PayloadError
from flask_chatwoot.history import HistoryReader, no_history
from flask_chatwoot.logs import logger
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads import attachments, events, versions
from flask_chatwoot.payloads.channels import channel_of
from flask_chatwoot.payloads.conversation import ChatwootMessage
from flask_chatwoot.payloads.events import MessageEvent, MessageUpdate
from flask_chatwoot.payloads.typed import unrendered
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.replies import Message, Turn

TAKEOVER: t.Final = "takeover"
"""Kind of job: an operator took over, and the attribute must still be set."""

UNDELIVERED: t.Final = "undelivered"
"""Kind of job: the channel refused a post that Chatwoot had accepted."""

UNANSWERED: t.Final = "unanswered"
"""Kind of job: a message was found too late, and operators must get it."""

CATCH_UP: t.Final = "catch_up"
"""Found by catch-up, and not delivered."""

log = logger(__name__)


def event_in(payload: bytes) -> MessageEvent:
    """The message of a stored delivery.

    :raises PayloadError: There is none.
    """
    event = events.parse(payload)

    if isinstance(event, MessageUpdate):
        return event.as_message

    if not isinstance(event, MessageEvent):
        raise PayloadError("The stored delivery is not a message.")

    return event


def follow_up(event: MessageEvent) -> str:
    """What is stored of a message that joins a job, as JSON."""
    message = event.message

    return _dump(message, rendered=message.rendered, picked=bool(event.digest))


def follow_up_of(message: Message) -> str:
    """The same of a message that its turn has not answered."""
    return _dump(message, rendered=False, picked=message.picked)


def messages_of(
    job: Job, event: MessageEvent, client: ChatwootClient
) -> tuple[Message, ...]:
    """All messages of a job, in the order in which the customer wrote them.

    As they are by now: edited ones with their new text, and without deleted ones.

    :param event: The job's newest delivery.
    :param client: Requests the server's version if a text may be rendered.
    :raises PayloadError: What is stored is no message.
    """
    if not job.follow_ups:
        return (_from_event(event, client),)

    dated = [(job.received_at, _from_event(event_in(job.payload), client))]
    # Parsed at once, so that a burst of twenty costs little more than one message.
    kept = json.loads(f"[{','.join(each.said for each in job.follow_ups)}]")
    changed: dict[int, Message | None] = {}

    for each, what in zip(job.follow_ups, kept, strict=True):
        if isinstance(what, list):
            message = _restored(each.message_id, what, client)
            dated.append((each.received_at, message))
        else:  # see changes.change_of()
            now = what["now"]
            changed[each.message_id] = now and _restored(each.message_id, now, client)

    dated.sort(key=lambda pair: pair[0])  # keeps the order of what is equal
    found = [
        message if message.picked else changed.get(message.id, message)
        for _, message in dated
    ]

    return _as_written([message for message in found if message is not None])


def listed_in(message: ChatwootMessage) -> Message:
    """A message of the customer as Chatwoot lists it, where no text is rendered."""
    return Message(message.id, message.text, message.attachments, **_facts(message))


def turn_of(
    event: MessageEvent,
    messages: tuple[Message, ...],
    *,
    mode: Mode,
    job: Job | None = None,
    read_history: HistoryReader = no_history,
) -> Turn:
    """The turn that answers these messages, the newest of which the event is about."""
    found = job is not None and job.found_after is not None

    return Turn(
        text="\n".join(message.text for message in messages if message.text),
        mode=mode,
        account_id=event.account_id,
        conversation_id=event.conversation.id,
        inbox_id=event.conversation.inbox_id,
        message_id=event.message.id,
        messages=messages,
        contact=event.conversation.contact,
        custom_attributes=event.conversation.custom_attributes,
        language=event.conversation.language,
        channel=channel_of(event.conversation),
        attachments=tuple(file for one in messages for file in one.attachments),
        raw=event.raw,
        found_by=CATCH_UP if found else "delivery",
        late=job is not None and job.late,
        _read_history=read_history,
    )


def _dump(message: ChatwootMessage | Message, *, rendered: bool, picked: bool) -> str:
    files = [attachments.stored(each) for each in message.attachments]

    return json.dumps([message.text, rendered, files, picked, _facts(message)])


def _facts(message: ChatwootMessage | Message) -> dict[str, t.Any]:
    """What else is known of a message, for its :class:`Message`."""
    values = {
        "in_reply_to": message.in_reply_to,
        "edited": message.edited,
        "deleted": message.deleted,
        "reaction": message.reaction,
    }

    return {name: value for name, value in values.items() if value}


def _from_event(event: MessageEvent, client: ChatwootClient) -> Message:
    message = event.message
    text = _typed(message.text, rendered=message.rendered, client=client)

    return Message(
        message.id, text, message.attachments, bool(event.digest), **_facts(message)
    )


def _restored(message_id: int, kept: list[t.Any], client: ChatwootClient) -> Message:
    text, rendered, files, picked, *facts = kept

    return Message(
        message_id,
        _typed(text, rendered=rendered, client=client),
        tuple(map(attachments.restored, files)),
        picked,
        **(facts[0] if facts else {}),  # an earlier release stored none
    )


def shown(message: Message) -> str:
    """A message of the customer as the history shows it."""
    if message.deleted:
        return ""

    files = message.attachments

    return attachments.described(message.text, files) if files else message.text


def _typed(text: str, *, rendered: bool, client: ChatwootClient) -> str:
    """What the customer typed; may request the server's version."""
    if not rendered:
        return text

    try:
        version = client.server_version()
    except APIError as error:
        log.warning("it is unknown whether a text is rendered: %s", error)
        return text

    return unrendered(text) if versions.renders_content(version) else text


def _as_written(messages: t.Sequence[Message]) -> tuple[Message, ...]:
    """Messages in the order of their ids, as deliveries may arrive in another.

    What was picked has the id of its question, so it keeps its place.
    """
    ids = [each.id for each in messages]

    if ids == sorted(ids):  # the usual case
        return tuple(messages)

    written = [each for each in messages if not each.picked]
    written.sort(key=lambda each: each.id)
    following = iter(written)

    return tuple(each if each.picked else next(following) for each in messages)
