"""Whether the transcript of a request is that of a conversation of this account.

The number of a conversation is unique in its account only, and the composers of all
accounts of a Chatwoot installation ask the same address. What shows the account is what
was said: the newest messages must end the transcript, as Chatwoot writes them
(``lib/llm_formatter/conversation_llm_formatter.rb``). A message is compared as a whole,
so a text that imitates such lines is a part of its own message and of no other.
"""

import typing as t
from collections.abc import Sequence

from flask_chatwoot.payloads.composer import ends_of
from flask_chatwoot.payloads.conversation import ChatwootMessage

SETTLED: t.Final = 15.0
"""Seconds after which a message must be in a transcript: Chatwoot waits for so long,
and younger ones may have come after it was written."""

COMPARED: t.Final = 5
"""The newest of these messages, which must end the transcript."""

_LEAST: t.Final = 20
"""Characters that they must have together: a greeting is in every account."""


def said_in(messages: t.Iterable[ChatwootMessage]) -> list[ChatwootMessage]:
    """The messages that are in a transcript: no notes, no templates, no activities."""
    return [
        each
        for each in messages
        if each.type in ("incoming", "outgoing") and not each.private
    ]


def suffices(said: Sequence[ChatwootMessage], *, now: float) -> bool:
    """Whether there are as many settled messages as are compared."""
    return len(_settled(said, now)) >= COMPARED


def proves(transcript: str, said: Sequence[ChatwootMessage], *, now: float) -> bool:
    """Whether a transcript is that of these messages.

    :param said: The newest messages of :func:`said_in`, as Chatwoot lists them.
    :param now: Unix seconds.
    """
    settled = _settled(said, now)
    compared = settled[-COMPARED:]

    if sum(map(_length, compared)) < _LEAST:
        return False

    young = [each for each in said if each not in settled]
    endings = [[*compared, *young[:number]] for number in range(len(young) + 1)]
    written = transcript if transcript.endswith("\n") else f"{transcript}\n"

    return any(
        _ends_with(written, ending, end)
        for end in (len(written), *ends_of(transcript))
        for ending in endings
    )


def _settled(said: Sequence[ChatwootMessage], now: float) -> list[ChatwootMessage]:
    return [each for each in said if now - (each.created_at or 0.0) > SETTLED]


def _length(message: ChatwootMessage) -> int:
    """The characters that a message tells apart from those of others."""
    return 0 if message.deleted else len(" ".join(message.content.split()))


def _ends_with(text: str, messages: Sequence[ChatwootMessage], end: int) -> bool:
    """Whether the part of a text before a place ends with these messages."""
    for message in reversed(messages):
        written = next(
            (each for each in _entries(message) if text.endswith(each, 0, end)), None
        )

        if written is None:
            return False

        end -= len(written)

    return end == 0 or text[end - 1] == "\n"


def _entries(message: ChatwootMessage) -> t.Iterator[str]:
    """How Chatwoot may have written a message."""
    for role in _roles(message):
        for text in _texts(message):
            yield f"{role}: {text}\n"


def _roles(message: ChatwootMessage) -> Sequence[str]:
    """The names for its sender; the list shows no sender who was deleted since."""
    kind = message.author[0] if message.author else None

    if kind in ("user", "contact"):
        return ("Support Agent" if kind == "user" else "User",)

    if kind is not None:
        return ("Bot",)

    return ("User",) if message.type == "incoming" else ("Bot", "Support Agent")


def _texts(message: ChatwootMessage) -> Sequence[str]:
    """Its text, or what stands for its files (``content_for_llm`` in
    ``app/models/message.rb``); a voice message may have been transcribed since.
    """
    if message.content.strip():
        return (message.content,)

    spoken = " ".join(
        each.transcript
        for each in message.attachments
        if each.type == "audio" and each.transcript
    )
    voice = (f"[Voice Message] {spoken}",) if spoken else ()

    return (*voice, "[Attachment]", "")
