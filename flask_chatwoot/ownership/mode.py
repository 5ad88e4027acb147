"""Who answers a conversation: the bot or operators. Pure functions."""

from __future__ import annotations

import typing as t
import unicodedata
from enum import StrEnum

from flask_chatwoot.errors import ConfigError
from flask_chatwoot.payloads.conversation import Contact, Conversation

ALTERNATIVE_ATTRIBUTE: t.Final = "preferred_channel"
"""Is looked up after the configured attribute."""


class Mode(StrEnum):
    """Who answers a conversation."""

    BOT = "bot"
    """The provider's answer goes to the customer."""

    HUMAN = "human"
    """Operators answer; the provider's answer is a note for them."""


Vocabulary = t.Mapping[str, Mode]
"""Option texts, trimmed and case-folded, and what they mean."""

_BUILT_IN: t.Final = (
    (("bot", "ai", "ai agent"), ("human", "person", "agent", "operator")),
    (("ai агент", "ии агент", "бот"), ("человек", "оператор")),
    (("ki-agent",), ("mensch",)),
    (("agent ia",), ("humain",)),
    (("agente de ia",), ("humano",)),
)
"""Texts that mean bot, and that mean human, case-folded: in English, Russian, German,
French, and in Spanish and Portuguese. A hand-off writes the first that means human."""


def vocabulary(*, bot: t.Iterable[str] = (), human: t.Iterable[str] = ()) -> Vocabulary:
    """The built-in option texts and these, which take precedence.

    :raises ConfigError: A text is listed for both modes.
    """
    bot_words = {_fold(word) for word in bot}
    human_words = {_fold(word) for word in human}

    if both := bot_words & human_words:
        raise ConfigError(
            "CHATWOOT_BOT_VALUES and CHATWOOT_HUMAN_VALUES both list "
            f"{', '.join(map(repr, sorted(both)))}; remove it from one of them."
        )

    known: dict[str, Mode] = {}

    for bot_texts, human_texts in _BUILT_IN:
        known |= dict.fromkeys(bot_texts, Mode.BOT)
        known |= dict.fromkeys(human_texts, Mode.HUMAN)

    return (
        known
        | dict.fromkeys(bot_words, Mode.BOT)
        | dict.fromkeys(human_words, Mode.HUMAN)
    )


class ModeAttribute(t.NamedTuple):
    """The custom attribute that holds the customer's choice.

    :ivar name: ``CHATWOOT_SUPPORT_MODE_ATTR``.
    :ivar words: What its values mean.
    :ivar default: The mode of a conversation without a choice.
    :ivar human_values: ``CHATWOOT_HUMAN_VALUES``; the first is written at a hand-off.
    """

    name: str
    words: Vocabulary
    default: Mode
    human_values: tuple[str, ...] = ()

    def meaning(self, value: t.Any) -> Mode | None:
        """The mode that a value means, or ``None`` if it is unknown."""
        return meaning(value, self.words)

    def choice(self, conversation: Conversation) -> Mode | None:
        """The mode in the conversation's own attribute; ``None`` without one."""
        return self.meaning(conversation.custom_attributes.get(self.name))

    def resolve(self, conversation: Conversation) -> Mode:
        """The first known value, or the default.

        The conversation comes before the contact: a form's answer belongs to one
        conversation, while a contact keeps a choice that may be old.
        """
        holders: list[Conversation | Contact] = [conversation, *conversation.contacts]

        for holder in holders:
            for key in (self.name, ALTERNATIVE_ATTRIBUTE):
                for attributes in (
                    holder.custom_attributes,
                    holder.additional_attributes,
                ):
                    mode = self.meaning(attributes.get(key))

                    if mode is not None:
                        return mode

        return self.default

    def human_value(self, current: t.Any) -> str:
        """The option text that means human, to write in place of another value."""
        return human_value(current, self.human_values)


def meaning(value: t.Any, words: Vocabulary) -> Mode | None:
    """The mode that an attribute's value means, or ``None`` if it is unknown."""
    return words.get(_fold(value)) if isinstance(value, str) else None


def human_value(current: t.Any, configured: t.Sequence[str]) -> str:
    """The option text that means human, to write in place of another one.

    :param configured: ``CHATWOOT_HUMAN_VALUES``; the first is taken. Without any, the
        built-in text in the language and case of the current value.
    """
    text = current if isinstance(current, str) else ""

    if configured:
        return configured[0]

    if any("CYRILLIC" in unicodedata.name(letter, "") for letter in text):
        return "Человек"

    known = (human[0] for bot, human in _BUILT_IN if _fold(text) in bot)
    word = next(known, "human")

    return word.capitalize() if text[:1].isupper() else word


def _fold(value: str) -> str:
    return value.strip().casefold()
