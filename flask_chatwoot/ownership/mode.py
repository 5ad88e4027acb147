"""Who answers a conversation: the bot or a person. Pure functions."""

from __future__ import annotations

import typing as t
import unicodedata
from enum import StrEnum

from flask_chatwoot.errors import ConfigError
from flask_chatwoot.payloads.events import contact_candidates
from flask_chatwoot.payloads.fields import Object, as_object

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


def resolve(raw: Object, *, attribute: str, words: Vocabulary, default: Mode) -> Mode:
    """The first choice in a payload that can be understood, or the default.

    The conversation is asked before the contact: a form's answer belongs to one
    conversation, while a contact keeps what was chosen long ago.
    """
    for attributes, key in _attributes(raw, attribute):
        mode = meaning(attributes.get(key), words)

        if mode is not None:
            return mode

    return default


def meaning(value: t.Any, words: Vocabulary) -> Mode | None:
    """What an attribute's value chooses, or ``None`` if that is unknown."""
    return words.get(_fold(value)) if isinstance(value, str) else None


def human_value(current: t.Any, configured: t.Sequence[str]) -> str:
    """The option text that means human, to write in place of another one.

    :param configured: ``CHATWOOT_HUMAN_VALUES``; the first is taken. Without any, the
        built-in text that looks like the other option.
    """
    text = current if isinstance(current, str) else ""

    if configured:
        return configured[0]

    if any("CYRILLIC" in unicodedata.name(letter, "") for letter in text):
        return "Человек"

    return "Human" if text[:1].isupper() else "human"


def _attributes(raw: Object, attribute: str) -> t.Iterator[tuple[Object, str]]:
    """Every place a choice may be, in the order of precedence."""
    for holder in (as_object(raw.get("conversation")), *contact_candidates(raw)):
        for key in (attribute, ALTERNATIVE_ATTRIBUTE):
            yield as_object(holder.get("custom_attributes")), key
            yield as_object(holder.get("additional_attributes")), key


def _fold(value: str) -> str:
    return value.strip().casefold()
