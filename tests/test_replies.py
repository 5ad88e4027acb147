"""Which functions are providers, what they return, and what a turn contains."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import functools
import importlib.util
import inspect
import json
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.payload_samples import ADA, CONTACT, MESSAGE

from flask_chatwoot import Chatwoot
from flask_chatwoot.errors import ProviderError
from flask_chatwoot.history import HistoryEntry
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.attachments import Attachment
from flask_chatwoot.payloads.conversation import Contact
from flask_chatwoot.payloads.events import MessageEvent, parse
from flask_chatwoot.replies import (
    MOST_FILES,
    Answer,
    Handoff,
    Message,
    Provider,
    Registry,
    Reply,
    Turn,
    as_answer,
    choices_of,
    uploads_of,
)
from flask_chatwoot.turns.drafts import is_note
from flask_chatwoot.turns.messages import turn_of

BOT, HUMAN = Mode.BOT, Mode.HUMAN
TURN = Turn(text="Hello", mode=BOT)
FILE = ("a.txt", b"x", "text/plain")

Place = tuple[str | None, int | None]


def registered(function: t.Any) -> Provider:
    registry = Registry()
    registry.add(function, mode=None, inbox_id=None)
    provider = registry.find(BOT, None)
    assert provider is not None

    return provider


# -- providers of every shape --------------------------------------------------------


def one(text: str) -> str:
    return text


def two(text: str, turn: Turn) -> str:
    return text + turn.mode


def three(text: str, turn: Turn, model: str) -> str:
    return text + turn.mode + model


async def coroutine(text: str) -> str:
    return text


async def coroutine_two(text: str, turn: Turn) -> str:
    return text + turn.mode


def generator(text: str) -> t.Iterator[str]:
    yield text


async def async_generator(text: str) -> t.AsyncIterator[str]:
    yield text


class Answerer:
    def method(self, text: str, turn: Turn) -> str:
        return text + turn.mode

    @classmethod
    def class_method(cls, text: str) -> str:
        return text

    @staticmethod
    def static_method(text: str, turn: Turn) -> str:
        return text + turn.mode

    def __call__(self, text: str) -> str:
        return text


class AsyncAnswerer:
    async def __call__(self, text: str, turn: Turn) -> str:
        return text + turn.mode


@functools.wraps(two)
def decorated(*args: t.Any, **kwargs: t.Any) -> str:
    return two(*args, **kwargs)


TEXT: dict[str, t.Any] = {
    "function": one,
    "text=''": lambda text="": text,
    "text, *, limit=3": lambda text, *, limit=3: text,
    "text, *args, **kwargs": lambda text, *args, **kwargs: text,
    "*args": lambda *args: args[0],
    "partial with a turn": functools.partial(two, turn=TURN),
    "partial": functools.partial(one),
    "class method": Answerer.class_method,
    "object": Answerer(),
    "coroutine": coroutine,
}
BOTH: dict[str, t.Any] = {
    "function": two,
    "text, turn=None": lambda text, turn=None: text,
    "text, turn, limit=3": lambda text, turn, limit=3: text,
    "text, turn, /": lambda text, turn, /: text,
    "decorated": decorated,
    "partial of three": functools.partial(three, model="x"),
    "method": Answerer().method,
    "static method": Answerer.static_method,
    "async object": AsyncAnswerer(),
    "coroutine": coroutine_two,
    "partial coroutine": functools.partial(coroutine_two),
}


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        *(pytest.param(f, ("Hello",), id=f"{id}: text") for id, f in TEXT.items()),
        *(pytest.param(f, ("Hello", TURN), id=f"{id}: turn") for id, f in BOTH.items()),
    ],
)
def test_a_provider_gets_what_it_declares(function: t.Any, arguments: t.Any) -> None:
    provider = registered(function)
    assert provider.arguments(TURN) == arguments
    inspect.signature(provider.function).bind(*arguments)


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        *((one, False), (coroutine, True), (functools.partial(coroutine_two), True)),
        *((Answerer(), False), (AsyncAnswerer(), True)),
    ],
)
def test_an_async_provider_is_a_coroutine(function: t.Any, is_async: bool) -> None:
    assert inspect.iscoroutinefunction(registered(function).function) is is_async


class AsyncCompleter:
    async def __call__(self, messages: list[t.Any]) -> str:
        return "Done."


async def complete(messages: list[t.Any]) -> str:
    return "Done."


@pytest.mark.parametrize(
    "register",
    [
        lambda chatwoot: chatwoot.reply_provider(coroutine),
        lambda chatwoot: chatwoot.reply_provider(mode="bot")(coroutine_two),
        lambda chatwoot: chatwoot.reply_provider(AsyncAnswerer()),
        lambda chatwoot: chatwoot.reply_provider(functools.partial(coroutine)),
        lambda chatwoot: chatwoot.completion_provider(complete),
        lambda chatwoot: chatwoot.completion_provider(AsyncCompleter()),
    ],
    ids=[
        *("function", "for a mode", "object", "partial"),
        *("completion", "completing object"),
    ],
)
def test_async_without_its_library_cannot_be_registered(
    monkeypatch: pytest.MonkeyPatch, register: t.Callable[[Chatwoot], object]
) -> None:
    find = importlib.util.find_spec

    def find_others(name: str) -> object:
        return None if name == "asgiref" else find(name)

    monkeypatch.setattr(importlib.util, "find_spec", find_others)

    with pytest.raises(ProviderError, match=r"needs the extra Flask-Chatwoot\[async\]"):
        register(Chatwoot())


NO_PROVIDERS: dict[str, t.Any] = {
    "no parameter": lambda: "",
    "*, text": lambda *, text: text,
    "text, *, turn": lambda text, *, turn: text,
    "**kwargs": lambda **kwargs: "",
    "three parameters": three,
    "partial with the text": functools.partial(one, "bound"),
    "generator": generator,
    "async generator": async_generator,
    "partial generator": functools.partial(generator),
    "class": Answerer,
    "object without __call__": object(),
    "built-in": max,
    "name": "reply",
    "None": None,
}


@pytest.mark.parametrize("function", NO_PROVIDERS.values(), ids=NO_PROVIDERS)
def test_what_cannot_be_a_provider_is_refused_at_once(function: t.Any) -> None:
    with pytest.raises(ProviderError):
        registered(function)


def test_a_refusal_names_the_function_and_what_it_should_take() -> None:
    with pytest.raises(ProviderError, match=r"three\(text.*the text, or the text and"):
        registered(three)


# -- which provider answers ----------------------------------------------------------

EVERYWHERE = ((None, None), ("bot", None), ("human", None), (None, 3), ("bot", 3))


@pytest.mark.parametrize(
    ("places", "mode", "inbox_id", "expected"),
    [
        (EVERYWHERE, BOT, 3, ("bot", 3)),
        (EVERYWHERE, HUMAN, 3, (None, 3)),
        (EVERYWHERE, BOT, 4, ("bot", None)),
        (EVERYWHERE, HUMAN, 4, ("human", None)),
        (EVERYWHERE, BOT, None, ("bot", None)),
        (EVERYWHERE[::-1], BOT, 3, ("bot", 3)),
        ([(None, None)], HUMAN, 3, (None, None)),
        ([("bot", None), (None, 3)], BOT, 3, (None, 3)),
        ([("bot", None)], HUMAN, 3, None),
        ([(Mode.BOT, None)], BOT, 3, (Mode.BOT, None)),
        *(([(None, 3)], BOT, inbox_id, None) for inbox_id in (4, None)),
        ([], BOT, 3, None),
    ],
)
def test_the_narrowest_match_answers(
    places: t.Sequence[Place], mode: Mode, inbox_id: int | None, expected: Place | None
) -> None:
    registry = Registry()

    for place in places:
        registry.add(one, mode=place[0], inbox_id=place[1])

    found = registry.find(mode, inbox_id)

    assert bool(registry) is bool(places)
    assert (found and (found.mode, found.inbox_id)) == expected


@pytest.mark.parametrize(
    ("mode", "inbox_id", "words"),
    [
        (None, None, "every mode in every Chatwoot inbox"),
        ("bot", None, "mode bot in every Chatwoot inbox"),
        (None, 3, "every mode in inbox 3"),
        ("human", 3, "mode human in inbox 3"),
    ],
)
def test_a_place_is_taken_once(mode: t.Any, inbox_id: int | None, words: str) -> None:
    registry = Registry()
    registry.add(one, mode=mode, inbox_id=inbox_id)

    with pytest.raises(ProviderError, match=rf"{words}.*one\.$"):
        registry.add(two, mode=mode, inbox_id=inbox_id)

    found = registry.find(HUMAN if mode == "human" else BOT, 3)
    assert found is not None
    assert found.function is one


NO_MODES: t.Final[tuple[t.Any, ...]] = ("", "robot", "BOT", 1, [], ("bot",))


@pytest.mark.parametrize(
    ("mode", "inbox", "words"),
    [
        *((mode, None, "'bot', 'human'") for mode in NO_MODES),
        *((None, i, "above zero") for i in (0, -1, True, "3", 3.0, 2**63, [3])),
    ],
)
def test_an_impossible_place_is_refused(mode: t.Any, inbox: t.Any, words: str) -> None:
    with pytest.raises(ProviderError, match=words):
        Registry().add(one, mode=mode, inbox_id=inbox)


# -- what a provider returns ---------------------------------------------------------

ALONE = Reply(attachments=["invoice.pdf"])


@pytest.mark.parametrize(
    ("value", "replies"),
    [
        ("  kept \n", [Reply("  kept \n")]),
        (Reply("x", private=False), [Reply("x", private=False)]),
        ("a\0b", [Reply("ab")]),
        (Reply("a\0b", private=True), [Reply("ab", private=True)]),
        ("a\ud800b", [Reply("a?b")]),
        ("👩‍🚀 naïve Привет", [Reply("👩‍🚀 naïve Привет")]),
        (["one", None, Reply("two"), " "], [Reply("one"), Reply("two")]),
        ([Reply("two", private=True), "3"], [Reply("two", private=True), Reply("3")]),
        (ALONE, [ALONE]),
    ],
)
def test_text_and_replies_are_an_answer(value: t.Any, replies: list[Reply]) -> None:
    assert as_answer(value) == Answer(tuple(replies))


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", "\n\t \u00a0", "\0", " \0 "),
        *("\u200b", "\ufeff", "\u2060\u200b", "\u00ad", "\u200e", "\u3164", "\u2800"),
        " \u200b\n\u200b ",
        *(Reply(""), Reply(" ", private=True), Reply(choices=["A"])),
        *([], (), [None, ""], [Reply("")]),
    ],
)
def test_blank_text_is_no_answer(value: t.Any) -> None:
    assert as_answer(value) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("\U0001f469\u200d\U0001f4bb", id="emoji of two"),
        pytest.param("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647", id="Persian"),
        pytest.param("\u200b\u2764\ufe0f", id="emoji behind a zero width space"),
    ],
)
def test_a_visible_text_keeps_its_invisible_characters(text: str) -> None:
    assert as_answer(text) == Answer((Reply(text),))


@pytest.mark.parametrize(
    "value", [0, 1, True, False, 1.5, b"4111", {}, {"4111": 1}, {"a"}, object(), Answer]
)
@pytest.mark.parametrize("listed", [False, True])
def test_anything_else_is_no_reply(value: t.Any, listed: bool) -> None:
    with pytest.raises(ProviderError) as caught:
        as_answer(["fine", value] if listed else value)

    what = "a list that holds " if listed else ""
    assert f"returned {what}{type(value).__name__};" in str(caught.value)
    assert "4111" not in str(caught.value)


def test_a_coroutine_or_a_list_in_a_list_is_no_reply() -> None:
    with pytest.raises(ProviderError, match="returned a list that holds list;"):
        as_answer([["one"]])

    with (
        contextlib.closing(coroutine("x")) as without_await,
        pytest.raises(ProviderError, match="coroutine"),
    ):
        as_answer(without_await)


@settings(deadline=None)
@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_every_text_can_be_stored(text: str) -> None:
    answer = as_answer(text)

    if answer is not None:
        (reply,) = answer.replies
        assert "\0" not in reply.content
        assert reply.content.encode().decode() == reply.content


# -- hand-off ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "replies", "handoff"),
    [
        (Handoff("asked"), (), Handoff("asked")),
        (Handoff(), (), Handoff()),
        (Reply("Hi", handoff=True), (Reply("Hi", handoff=True),), Handoff()),
        (Reply(handoff=True), (), Handoff()),
        (Reply(" ", handoff=Handoff("x", team_id=2)), (), Handoff("x", team_id=2)),
        (["Hi", Handoff(assignee_id=4)], (Reply("Hi"),), Handoff(assignee_id=4)),
        ([Handoff("first"), Handoff("second")], (), Handoff("first")),
        ([None, Handoff()], (), Handoff()),
    ],
)
def test_providers_may_hand_off(value: t.Any, replies: t.Any, handoff: Handoff) -> None:
    assert as_answer(value) == Answer(replies, handoff)


def test_a_hand_off_takes_the_ids_of_an_enumeration() -> None:
    class Team(enum.IntEnum):
        SALES = 3

    assert Handoff(team_id=Team.SALES).team_id == 3


def test_the_repr_of_a_hand_off_has_ids_and_no_reason() -> None:
    described = repr(Handoff("secret words", team_id=2))
    assert "team_id=2" in described
    assert "secret words" not in described


@pytest.mark.parametrize("number", ["3", 0, -1, True, 1.5, [3]], ids=repr)
@pytest.mark.parametrize("field", ["team_id", "assignee_id"])
def test_a_hand_off_to_what_is_no_id_is_refused(field: str, number: t.Any) -> None:
    with pytest.raises((TypeError, ValueError), match=rf"Handoff\({field}\)"):
        Handoff("x", **{field: number})


# -- choices and attachments ---------------------------------------------------------


@pytest.mark.parametrize(
    ("choices", "items"),
    [
        ([], []),
        (["A", "B"], [("A", "A"), ("B", "B")]),
        ([("Yes", "y"), "No"], [("Yes", "y"), ("No", "No")]),
        ((["Yes", "y"],), [("Yes", "y")]),
    ],
)
def test_choices_are_texts_or_titles_with_values(choices: t.Any, items: t.Any) -> None:
    assert choices_of(Reply("Which one?", choices=choices)) == items


def test_choices_are_changed_to_what_can_be_stored() -> None:
    answer = as_answer(Reply("Which one?", choices=["a\ud800b", ("c\0d", "e\udfff")]))
    assert answer is not None
    assert choices_of(answer.replies[0]) == [("a?b", "a?b"), ("cd", "e?")]


def test_files_are_read_from_the_disk_or_taken_as_they_are(tmp_path: Path) -> None:
    path, odd = tmp_path / "invoice.pdf", tmp_path / "no extension"
    path.write_bytes(b"%PDF")
    odd.write_bytes(b"")

    assert uploads_of(Reply(attachments=[path, str(odd), FILE])) == [
        ("invoice.pdf", b"%PDF", "application/pdf"),
        ("no extension", b"", "application/octet-stream"),
        FILE,
    ]


@pytest.mark.parametrize(
    "attachment",
    [
        *(None, 1, b"x", [], {"name": "a"}, Attachment("image")),
        *(("a",), ("a", b"x"), ("a", "x", "text/plain"), (1, b"x", "text/plain")),
        *(("a", b"x", None), ("a", bytearray(b"x"), "text/plain")),
    ],
    ids=repr,
)
def test_an_attachment_of_another_type_is_refused(attachment: t.Any) -> None:
    with pytest.raises(ProviderError, match=rf"not {type(attachment).__name__}\.$"):
        uploads_of(Reply(attachments=[attachment]))


@pytest.mark.parametrize("name", ["gone", "", "x" * 300, "a\0b", "a\ud800b"], ids=repr)
def test_a_file_that_cannot_be_read_is_counted_and_not_named(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / name

    with pytest.raises(ProviderError, match="Attachment 2 cannot be") as caught:
        uploads_of(Reply(attachments=[FILE, path]))

    assert str(tmp_path) not in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError | ValueError)


def test_a_message_takes_fifteen_files_and_no_more() -> None:
    assert len(uploads_of(Reply(attachments=[FILE] * MOST_FILES))) == 15

    with pytest.raises(ValueError, match="holds 16 files; Chatwoot takes 15"):
        Reply(attachments=[FILE] * 16)


# -- replies -------------------------------------------------------------------------

NO_CHOICES: t.Final[tuple[t.Any, ...]] = (
    *(None, 1, True, b"A", {"title": "A"}, (), ("A",), ("A", 1), ("A", "B", "C")),
)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        *(("content", v, type(v).__name__) for v in (None, 1, b"x", ["x"], Reply("x"))),
        *(("handoff", v, "must be a bool") for v in (None, 1, "yes")),
        *(("choices", v, "must be a list") for v in (None, 1, True, object(), "AB")),
        *(("choices", ["A", v], rf"not {type(v).__name__}\.") for v in NO_CHOICES),
        *(("attachments", v, "must be a list") for v in (None, 1, "a.pdf", b"b.pdf")),
    ],
)
def test_a_field_of_wrong_type_is_refused(field: str, value: t.Any, words: str) -> None:
    with pytest.raises(TypeError, match=rf"Reply\({field}\).*{words}"):
        Reply(**{"content": "Which one?", field: value})


@pytest.mark.parametrize(
    ("mode", "private", "expected"),
    [
        *((BOT, private, False) for private in (None, False)),
        *((BOT, private, True) for private in (True, 1, "yes", [True])),
        *((HUMAN, private, True) for private in (None, True, False)),
    ],
)
def test_only_bot_mode_makes_public_messages_and_only_if_private_is_false(
    mode: Mode, private: t.Any, expected: bool
) -> None:
    assert is_note(Reply("x", private=private), mode) is expected


def test_a_reply_is_frozen_and_its_repr_has_no_text() -> None:
    words = "secret words"
    reply = Reply(words, private=True, attachments=[f"{words}.pdf"], choices=[words])

    with pytest.raises(dataclasses.FrozenInstanceError):
        reply.private = False  # type: ignore[misc]

    assert words not in repr(reply)
    assert "private=True" in repr(reply)


# -- turns ---------------------------------------------------------------------------

PICTURE: t.Final = Attachment(type="image", url="https://x.example/1", size=10)
SOUND: t.Final = Attachment(type="audio")
MESSAGES: t.Final = (
    Message(8999, "as typed", (PICTURE,)),
    Message(9000, ""),
    Message(9001, "and more", (SOUND,)),
)


def event(sender: t.Any = CONTACT, **conversation: t.Any) -> MessageEvent:
    """The delivery of a message in a conversation with these fields."""
    raw = MESSAGE | {"sender": sender, "conversation": {"id": 42, **conversation}}
    return t.cast(MessageEvent, parse(json.dumps(raw).encode()))


EVENT: t.Final = event(
    custom_attributes={"topic": "Invoice"},
    additional_attributes={"browser_language": "de"},
)


def test_a_turn_contains_all_that_is_known_of_its_messages() -> None:
    assert turn_of(EVENT, MESSAGES, mode=BOT) == Turn(
        text="as typed\nand more",
        mode=BOT,
        account_id=1,
        conversation_id=42,
        inbox_id=3,
        message_id=9001,
        messages=MESSAGES,
        contact=ADA,
        custom_attributes={"topic": "Invoice"},
        language="de",
        attachments=(PICTURE, SOUND),
        raw=EVENT.raw,
    )


def test_a_turn_of_attachments_has_no_text() -> None:
    turn = turn_of(EVENT, (Message(1, "", (PICTURE,)),), mode=BOT)
    assert (turn.text, turn.attachments) == ("", (PICTURE,))


@pytest.mark.parametrize("conversation", [{}, {"custom_attributes": [1]}])
def test_a_turn_of_a_bare_message_has_nothing_else(conversation: t.Any) -> None:
    bare = event(None, **conversation)
    turn = turn_of(bare, (Message(9001, "x"),), mode=HUMAN)

    assert (turn.contact, turn.custom_attributes) == (Contact(), {})
    assert (turn.language, turn.attachments) == (None, ())


def test_a_turn_is_frozen_and_its_repr_has_nothing_of_the_customer() -> None:
    turn = turn_of(EVENT, (Message(1, "secret words", (PICTURE,)),), mode=BOT)

    with pytest.raises(dataclasses.FrozenInstanceError):
        turn.text = "other words"  # type: ignore[misc]

    secrets = ("secret words", "Ada", "ada@example.com", "Invoice", "x.example")
    assert [words for words in secrets if words in repr(turn)] == []


def test_the_history_is_read_only_on_demand() -> None:
    asked: list[tuple[int, int]] = []
    said = [HistoryEntry(role="user", content="Hello")]

    def read(limit: int, characters: int) -> list[HistoryEntry]:
        asked.append((limit, characters))
        return said

    turn = turn_of(EVENT, MESSAGES, mode=BOT, read_history=read)

    assert asked == []
    assert turn.history() == turn.history(limit=3, characters=50) == said
    assert turn.history(3, 50) == said
    assert asked == [(20, 20_000), (3, 50), (3, 50)]


def test_a_turn_without_a_conversation_has_no_history() -> None:
    assert TURN.history() == []
