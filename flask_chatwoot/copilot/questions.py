"""What the provider is asked for a suggestion. Pure."""

from __future__ import annotations

import hashlib
import json
import typing as t
from dataclasses import replace

from flask_chatwoot.history import HistoryReader
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.payloads.questions import why_no_question
from flask_chatwoot.replies import Message, Turn
from flask_chatwoot.turns.messages import listed_in, turn_of


def question_in(messages: t.Iterable[ChatwootMessage]) -> tuple[Message, ...]:
    """The customer's messages after the last public answer, else the customer's last.

    :param messages: In any order. What was picked comes after its question.
    :return: Oldest first; empty if the customer wrote none of them.
    """
    open_: list[Message] = []
    last: tuple[Message, ...] = ()

    for each in _public(messages):
        if each.type == "incoming" and why_no_question(each) is None:
            open_.append(listed_in(each))
        elif each.type == "outgoing":
            last = tuple(open_[-1:]) or last
            open_ = [Message(each.id, each.picked, picked=True)] if each.picked else []

    return tuple(open_) or last


def is_cut(messages: t.Sequence[ChatwootMessage]) -> bool:
    """Whether earlier messages may be a part of the question."""
    public = _public(messages)
    answered = any(each.type == "outgoing" for each in public)

    return not (answered and question_in(public))


def turn_for(
    conversation: Conversation,
    messages: tuple[Message, ...],
    *,
    account_id: int,
    mode: Mode,
    read_history: HistoryReader,
) -> Turn:
    """The turn that asks for a suggestion."""
    newest = ChatwootMessage(messages[-1].id)
    event = MessageEvent("message_created", account_id, newest, conversation, "", {})
    turn = turn_of(event, messages, mode=mode, read_history=read_history)

    return replace(turn, purpose="suggestion")


def fingerprint(
    conversation: Conversation,
    messages: t.Sequence[ChatwootMessage],
    question: t.Sequence[Message],
) -> bytes:
    """The same as long as the provider would be asked the same.

    Notes, activities and assignments count for nothing. So earlier messages than those
    of the question count for nothing: notes move them out of Chatwoot's list.

    :param messages: All since the question, and perhaps earlier ones.
    """
    seen = [
        conversation.status,
        conversation.custom_attributes,
        conversation.contacts,
        [
            (each.id, each.text, each.picked, each.attachments)
            for each in _public(messages)
            if each.id >= question[0].id
        ],
    ]
    plain = json.dumps(seen, sort_keys=True, default=_plain)

    return hashlib.sha256(plain.encode()).digest()


def _public(messages: t.Iterable[ChatwootMessage]) -> list[ChatwootMessage]:
    """What the customer and those who answer said, oldest first."""
    said = [
        each
        for each in messages
        if each.type in ("incoming", "outgoing")
        and not each.private
        and not each.deleted
    ]

    return sorted(said, key=lambda each: each.id)


def _plain(value: t.Any) -> t.Any:
    return dict(value) if isinstance(value, t.Mapping) else str(value)
