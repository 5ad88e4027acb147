"""Who answers a conversation: the bot or a person. Pure functions."""

from __future__ import annotations

import typing as t
from enum import StrEnum

from .errors import ConfigError
from .events import MessageEvent, Object, as_object, contact_candidates

ALTERNATIVE_ATTRIBUTE: t.Final = "preferred_channel"
"""Looked up after the configured attribute."""


class Mode(StrEnum):
    """Who is answering a conversation."""

    BOT = "bot"
    """The provider's answer goes to the customer."""

    HUMAN = "human"
    """A person answers; the provider's answer is a note for them."""


Vocabulary = t.Mapping[str, Mode]
"""Option texts, trimmed and case-folded, and what they mean."""

_BUILT_IN: t.Final = {
    Mode.BOT: ("bot", "ai", "ai agent", "AI агент", "ИИ агент", "бот"),
    Mode.HUMAN: ("human", "person", "agent", "operator", "Человек", "оператор"),
}


def vocabulary(*, bot: t.Iterable[str] = (), human: t.Iterable[str] = ()) -> Vocabulary:
    """The built-in option texts and these; these win where they differ.

    :raises ConfigError: A text is listed for both modes.
    """
    bot_words = {_fold(word) for word in bot}
    human_words = {_fold(word) for word in human}

    if both := bot_words & human_words:
        raise ConfigError(
            "CHATWOOT_BOT_VALUES and CHATWOOT_HUMAN_VALUES both list "
            f"{', '.join(map(repr, sorted(both)))}; remove it from one of them."
        )

    known = {_fold(word): mode for mode, words in _BUILT_IN.items() for word in words}

    return (
        known
        | dict.fromkeys(bot_words, Mode.BOT)
        | dict.fromkeys(human_words, Mode.HUMAN)
    )


def resolve(
    event: MessageEvent, *, attribute: str, words: Vocabulary, default: Mode
) -> Mode:
    """The first choice that can be understood, or the default.

    The conversation is asked before the contact: a form's answer belongs to one
    conversation, while a contact keeps what was chosen long ago.
    """
    for attributes, key in _attributes(event.raw, attribute):
        value = attributes.get(key)
        mode = words.get(_fold(value)) if isinstance(value, str) else None

        if mode is not None:
            return mode

    return default


def _attributes(raw: Object, attribute: str) -> t.Iterator[tuple[Object, str]]:
    """Every place a choice may be, in the order of precedence."""
    for holder in (as_object(raw.get("conversation")), *contact_candidates(raw)):
        for key in (attribute, ALTERNATIVE_ATTRIBUTE):
            yield as_object(holder.get("custom_attributes")), key
            yield as_object(holder.get("additional_attributes")), key


def _fold(value: str) -> str:
    return value.strip().casefold()
