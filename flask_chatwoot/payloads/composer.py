"""What Chatwoot's composer asks of a language model (``lib/captain``).

Everything after the first line of a transcript may be a customer's text, and everything
in a request for changes may be the operator's browser's: neither names a conversation
by itself.
"""

import re
import typing as t
from dataclasses import dataclass, field
from enum import StrEnum

from flask_chatwoot.errors import PayloadError

from .events import decode
from .fields import Object, as_object, as_text, storable

_TELLING: t.Final = 200
"""Characters of Chatwoot's prompt that tell the task; later ones may be quotations."""


class Task(StrEnum):
    """What the operator wants."""

    REPLY_SUGGESTION = "reply_suggestion"
    SUMMARIZE = "summarize"
    REWRITE = "rewrite"
    LABEL_SUGGESTION = "label_suggestion"
    FOLLOW_UP = "follow_up"
    OTHER = "other"


_SIGNS: t.Final[t.Sequence[tuple[Task, t.Sequence[str]]]] = (
    # The first, because it names the task before.
    (Task.FOLLOW_UP, ("you just performed", "refine the result")),
    (Task.REPLY_SUGGESTION, ("draft their next reply", "suggest a reply")),
    (Task.SUMMARIZE, ("summarization tool", "summarize the conversation")),
    (Task.LABEL_SUGGESTION, ("labels", "as an assistant to a customer support agent")),
    (Task.REWRITE, ("writing assistant",)),
)
"""Parts of Chatwoot's prompts (``lib/captain/editor_prompts``)."""


@dataclass(frozen=True, kw_only=True)
class ComposerRequest:
    """A request of the composer.

    :ivar messages: As they came: objects with a ``role`` and a ``content``.
    :ivar conversation_id: The number in the first line; ``None`` if there is none. It
        names a conversation of some account of the Chatwoot installation.
    :ivar transcript: What follows it: entries, and perhaps attributes.
    :ivar suggestion: The text that is to be changed, of the newest answer.
    :ivar instruction: How it is to be changed.
    :ivar model: The name of the model that Chatwoot wants.
    :ivar stream: Whether it wants the answer in parts.
    """

    task: Task
    messages: t.Sequence[Object] = field(repr=False)
    conversation_id: int | None = None
    transcript: str = field(default="", repr=False)
    suggestion: str | None = field(default=None, repr=False)
    instruction: str | None = field(default=None, repr=False)
    model: str = field(default="", repr=False)
    stream: bool = False


def composer_request_from(body: bytes) -> ComposerRequest:
    """Read a request.

    :raises PayloadError: It is none that a language model could answer.
    """
    raw = decode(body)
    messages = _messages(raw.get("messages"))
    task = _task(messages)
    first = next((_text(each) for each in messages if each["role"] == "user"), "")
    number, transcript = _named(first)
    suggestion = instruction = None

    if task is Task.FOLLOW_UP:
        suggestion, instruction = _wanted(messages)

    return ComposerRequest(
        task=task,
        messages=messages,
        conversation_id=number,
        transcript=transcript,
        suggestion=suggestion,
        instruction=instruction,
        model=storable(as_text(raw.get("model")) or ""),
        stream=raw.get("stream") not in (None, False),
    )


def _messages(given: t.Any) -> tuple[Object, ...]:
    listed = given if isinstance(given, list) else []
    messages = tuple(as_object(each) for each in listed)

    if not messages or not all(isinstance(each.get("role"), str) for each in messages):
        raise PayloadError('The body must have "messages", each with a role.')

    return messages


def _task(messages: t.Iterable[Object]) -> Task:
    prompts = (
        _text(each) for each in messages if each["role"] in ("developer", "system")
    )
    begin = " ".join(next(prompts, "")[:_TELLING].lower().split())

    for task, signs in _SIGNS:
        if any(sign in begin for sign in signs):
            return task

    return Task.OTHER


def _named(text: str) -> tuple[int | None, str]:
    """The number of a conversation, and its transcript."""
    first, _, rest = text.partition("\n")
    found = re.fullmatch("Conversation ID: #([1-9][0-9]{0,17})", first)
    _, _, transcript = f"\n{rest}".partition("\nMessage History:\n")

    return (int(found[1]), transcript) if found else (None, "")


def _wanted(messages: t.Sequence[Object]) -> tuple[str | None, str | None]:
    """The newest answer, and what is asked for after it."""
    said = [each for each in messages if each["role"] in ("user", "assistant")]

    if [each["role"] for each in said[-2:]] != ["assistant", "user"]:
        return None, None

    suggestion, instruction = map(_text, said[-2:])

    return suggestion or None, instruction.strip() or None


def _text(message: Object) -> str:
    """The text of a message, which may come in parts."""
    content = message.get("content")

    if isinstance(content, list):
        parts = (as_text(as_object(each).get("text")) for each in content)
        content = "\n".join(filter(None, parts))

    return storable(content) if isinstance(content, str) else ""


# -- transcripts -------------------------------------------------------------------


def ends_of(transcript: str) -> t.Iterator[int]:
    """Where the entries of a transcript may end, the last place first.

    Chatwoot adds the attributes of the conversation after a blank line. A customer can
    write the same line, in a message or in an attribute.
    """
    yield len(transcript)
    place = len(transcript)

    for _ in range(_MOST_ENDS):
        place = transcript.rfind(f"\n{_AFTER}", 0, place)

        if place < 0:
            return

        yield place


_AFTER: t.Final = "Conversation Attributes:\n"

_MOST_ENDS: t.Final = 1000
"""Places that are looked at. Nobody but an attacker writes more such lines."""
