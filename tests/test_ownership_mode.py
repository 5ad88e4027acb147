from __future__ import annotations

import typing as t

import pytest

from flask_chatwoot.errors import ConfigError
from flask_chatwoot.ownership.mode import (
    Mode,
    ModeAttribute,
    human_value,
    meaning,
    vocabulary,
)
from flask_chatwoot.payloads.conversation import conversation_from
from flask_chatwoot.payloads.fields import as_object

JSON = dict[str, t.Any]
BOT, HUMAN = Mode.BOT, Mode.HUMAN
ATTRIBUTE = "support_mode"
WORDS = vocabulary()

HOLDERS: t.Final = (
    ("conversation",),
    ("contact",),
    ("conversation", "meta", "sender"),
    ("sender",),
)
PLACES: t.Final = [
    (*holder, attributes, key)
    for holder in HOLDERS
    for key in (ATTRIBUTE, "preferred_channel")
    for attributes in ("custom_attributes", "additional_attributes")
]
"""Every place of the choice, in the order of their precedence."""


def put(raw: JSON, place: tuple[str, ...], value: t.Any) -> JSON:
    *path, key = place
    holder = raw

    for part in path:
        holder = holder.setdefault(part, {})

    holder[key] = value

    return raw


def who(raw: t.Mapping[str, t.Any], *, default: Mode = HUMAN) -> Mode:
    conversation = conversation_from(as_object(raw.get("conversation")), raw)
    return ModeAttribute(ATTRIBUTE, WORDS, default).resolve(conversation)


def other(mode: Mode) -> Mode:
    return HUMAN if mode is BOT else BOT


# -- option texts -------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "texts"),
    [
        (BOT, ["bot", "ai", "ai agent", "AI агент", "ИИ агент", "бот"]),
        (BOT, ["BOT", "Ai Agent", "ИИ АГЕНТ", "Бот", "ai АГЕНТ"]),
        (BOT, [" bot ", "\tбот\n", "\u00a0AI agent\u00a0"]),
        (HUMAN, ["human", "person", "agent", "operator", "Человек", "оператор"]),
        (HUMAN, ["HUMAN", "Agent", "ЧЕЛОВЕК", "Оператор"]),
        (BOT, ["KI-Agent", "Agent IA", "Agente de IA"]),
        (HUMAN, ["Mensch", "Humain", "Humano"]),
    ],
)
def test_option_texts_are_known_in_any_case(mode: Mode, texts: list[str]) -> None:
    assert [meaning(text, WORDS) for text in texts] == [mode] * len(texts)


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", "robot", "both", "bot!", "b o t", "ai  agent", "чатбот"),
        *(None, True, 1, 1.5, [], ["bot"], {}, {"bot": True}, {"value": "bot"}),
    ],
    ids=repr,
)
def test_an_unknown_value_means_no_mode(value: t.Any) -> None:
    assert meaning(value, WORDS) is None


@pytest.mark.parametrize("raw", [{}, put({}, PLACES[0], "")])
@pytest.mark.parametrize("default", list(Mode))
def test_without_a_known_value_the_default_decides(raw: t.Any, default: Mode) -> None:
    assert who(raw, default=default) is default


# -- places of the choice ------------------------------------------------------


@pytest.mark.parametrize("place", PLACES, ids=".".join)
@pytest.mark.parametrize("mode", list(Mode))
def test_every_place_is_read(place: tuple[str, ...], mode: Mode) -> None:
    assert who(put({}, place, str(mode)), default=other(mode)) is mode


@pytest.mark.parametrize("number", range(len(PLACES)))
def test_the_first_place_with_a_known_value_decides(number: int) -> None:
    raw: JSON = {}

    for place in PLACES[:number]:
        put(raw, place, "an option of another form")

    put(raw, PLACES[number], "bot")

    for place in PLACES[number + 1 :]:
        put(raw, place, "human")

    assert who(raw) is BOT


WITHIN = ("meta", "custom_attributes", "additional_attributes")
OBJECTS = [*HOLDERS, *(("conversation", name) for name in WITHIN)]


@pytest.mark.parametrize("path", OBJECTS, ids=".".join)
@pytest.mark.parametrize(
    "value", [None, "bot", 1, True, [], ["bot"], [ATTRIBUTE], [{}]], ids=repr
)
def test_what_is_no_object_is_skipped(path: tuple[str, ...], value: t.Any) -> None:
    elsewhere = PLACES[-1] if path[0] != "sender" else PLACES[0]
    raw = put({}, path, value)
    assert who(raw) is HUMAN
    assert who(put(put({}, elsewhere, "bot"), path, value)) is BOT


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *(("user", HUMAN), ("agent_bot", HUMAN), ("captain_assistant", HUMAN)),
        *((1, HUMAN), ({}, HUMAN), ("contact", BOT), ("Contact", BOT)),
    ],
)
def test_only_a_sender_that_is_the_contact_counts(kind: t.Any, mode: Mode) -> None:
    raw = put({}, ("sender", "custom_attributes", ATTRIBUTE), "bot")
    assert who(put(raw, ("sender", "type"), kind)) is mode


def test_the_attribute_may_have_another_name() -> None:
    attributes = {ATTRIBUTE: "human", "topic": "bot"}
    conversation = conversation_from({"custom_attributes": attributes})
    assert ModeAttribute("topic", WORDS, HUMAN).resolve(conversation) is BOT


# -- the vocabulary ------------------------------------------------------------


def test_option_texts_of_a_host_are_added_and_take_precedence() -> None:
    words = vocabulary(bot=["  Maschine ", "Agent"], human=["MENSCH", "AI"])
    assert (words["maschine"], words["agent"], words["бот"]) == (BOT, BOT, BOT)
    assert (words["mensch"], words["ai"]) == (HUMAN, HUMAN)


def test_a_text_cannot_mean_both() -> None:
    words = "CHATWOOT_BOT_VALUES and CHATWOOT_HUMAN_VALUES both list 'yes'; remove it"

    with pytest.raises(ConfigError, match=words):
        vocabulary(bot=["Yes", "a"], human=[" yes", "b"])


# -- the text for human --------------------------------------------------------


@pytest.mark.parametrize(
    ("current", "written"),
    [
        *[(value, "human") for value in ("bot", "ai agent", "", "  ", "🤖", "1")],
        *[(value, "Human") for value in ("Bot", "AI agent", "Ärzte-Bot")],
        *[(value, "Человек") for value in ("AI агент", "бот", "Бот 🤖")],
        *[("KI-Agent", "Mensch"), ("ki-agent", "mensch"), ("Agent IA", "Humain")],
        *[("Agente de IA", "Humano"), ("KI Maschine", "Human")],
        *[(value, "human") for value in (None, True, 0, ["Bot"], {"a": "Bot"})],
        ("\ud800", "human"),
        ("B" * 100_000, "Human"),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_the_text_for_human_has_the_language_and_case_of_the_current_value(
    current: t.Any, written: str
) -> None:
    assert human_value(current, ()) == written
    assert meaning(written, WORDS) is HUMAN


@pytest.mark.parametrize("current", ["bot", "AI агент", None, 1])
def test_the_first_configured_word_is_written_if_there_is_any(current: t.Any) -> None:
    configured = ("Bitte mit Menschen", "Mensch")
    assert human_value(current, configured) == "Bitte mit Menschen"
