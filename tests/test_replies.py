from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import json
import typing as t
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_chatwoot.errors import ProviderError
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.conversation import Attachment, Contact
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


def registered(function: t.Any) -> Provider:
    registry = Registry()
    registry.add(function, mode=None, inbox_id=None)
    provider = registry.find(BOT, None)
    assert provider is not None

    return provider


# Providers of every shape


def one(text: str) -> str:
    return text


def two(text: str, turn: Turn) -> str:
    return text + turn.mode


def with_default(text: str = "") -> str:
    return text


def with_default_turn(text: str, turn: Turn | None = None) -> str:
    return text + (turn.mode if turn else "")


def with_third_default(text: str, turn: Turn, limit: int = 3) -> str:
    return text + turn.mode + str(limit)


def positional_only(text: str, turn: Turn, /) -> str:
    return text + turn.mode


def with_keyword_only_default(text: str, *, limit: int = 3) -> str:
    return text + str(limit)


def with_all(text: str, *args: t.Any, **kwargs: t.Any) -> str:
    return text + str(len(args) + len(kwargs))


def anything(*args: t.Any) -> str:
    return str(args[0])


def three(text: str, turn: Turn, model: str) -> str:
    return text + turn.mode + model


async def coroutine_one(text: str) -> str:
    return text


async def coroutine_two(text: str, turn: Turn) -> str:
    return text + turn.mode


class Answerer:
    def method(self, text: str) -> str:
        return text

    def method_two(self, text: str, turn: Turn) -> str:
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


@pytest.mark.parametrize(
    ("function", "takes_turn"),
    [
        (one, False),
        (two, True),
        (with_default, False),
        (with_default_turn, True),
        (with_third_default, True),
        (positional_only, True),
        (with_keyword_only_default, False),
        (with_all, False),
        (anything, False),
        pytest.param(decorated, True, id="decorated"),
        (lambda text: text, False),
        (lambda text, turn: text, True),
        (functools.partial(three, model="x"), True),
        (functools.partial(two, turn=TURN), False),
        (functools.partial(one), False),
        (Answerer().method, False),
        (Answerer().method_two, True),
        (Answerer.class_method, False),
        (Answerer.static_method, True),
        (Answerer(), False),
        (AsyncAnswerer(), True),
        (coroutine_one, False),
        (coroutine_two, True),
        (functools.partial(coroutine_two), True),
    ],
)
def test_a_provider_is_called_with_what_it_declares(
    function: t.Any, takes_turn: bool
) -> None:
    provider = registered(function)

    arguments = provider.arguments(TURN)

    assert arguments == (("Hello", TURN) if takes_turn else ("Hello",))
    inspect.signature(provider.function).bind(*arguments)


@pytest.mark.parametrize(
    ("function", "is_async"),
    [
        (one, False),
        (coroutine_one, True),
        (functools.partial(coroutine_two), True),
        (Answerer(), False),
        (AsyncAnswerer(), True),
    ],
)
def test_an_async_provider_can_be_told_from_its_function(
    function: t.Any, is_async: bool
) -> None:
    assert inspect.iscoroutinefunction(registered(function).function) is is_async


def no_parameter() -> str:
    return ""


def only_keyword(*, text: str) -> str:
    return text


def needs_keyword(text: str, *, turn: Turn) -> str:
    return text + turn.mode


def only_keywords(**kwargs: str) -> str:
    return str(kwargs)


def generator(text: str) -> t.Iterator[str]:
    yield text


async def async_generator(text: str) -> t.AsyncIterator[str]:
    yield text


class NoAnswerer:
    """Has no ``__call__``."""


@pytest.mark.parametrize(
    "function",
    [
        no_parameter,
        only_keyword,
        needs_keyword,
        only_keywords,
        three,
        functools.partial(one, "bound"),
        pytest.param(lambda: "", id="lambda of none"),
        pytest.param(lambda a, b, c: "", id="lambda of three"),
        generator,
        async_generator,
        functools.partial(generator),
        Answerer,
        NoAnswerer,
        NoAnswerer(),
        max,
        "reply",
        None,
        42,
        [one],
        two("", TURN),
    ],
)
def test_what_cannot_be_a_provider_is_refused_at_once(function: t.Any) -> None:
    registry = Registry()

    with pytest.raises(ProviderError):
        registry.add(function, mode=None, inbox_id=None)

    assert not registry


def test_a_refusal_names_the_function_and_what_it_should_take() -> None:
    with pytest.raises(ProviderError) as caught:
        registered(three)

    assert "three(text" in str(caught.value)
    assert "the text, or the text and the turn" in str(caught.value)


# Which provider answers


def registry_of(*places: tuple[str | None, int | None]) -> Registry:
    registry = Registry()

    for place in places:

        def function(text: str, place: t.Any = place) -> str:
            return str(place)

        registry.add(function, mode=place[0], inbox_id=place[1])

    return registry


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
        (EVERYWHERE[::-1], HUMAN, 3, (None, 3)),
        ([(None, None)], HUMAN, 3, (None, None)),
        ([(None, None)], BOT, None, (None, None)),
        ([("bot", None), (None, 3)], BOT, 3, (None, 3)),
        ([("bot", None)], HUMAN, 3, None),
        ([(None, 3)], BOT, 4, None),
        ([(None, 3)], BOT, None, None),
        ([("bot", 3)], HUMAN, 3, None),
        ([], BOT, 3, None),
    ],
)
def test_the_narrowest_match_answers(
    places: t.Sequence[tuple[str | None, int | None]],
    mode: Mode,
    inbox_id: int | None,
    expected: tuple[str | None, int | None] | None,
) -> None:
    found = registry_of(*places).find(mode, inbox_id)

    assert (found and (found.mode, found.inbox_id)) == expected


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ((None, None), "every mode in every Chatwoot inbox"),
        (("bot", None), "mode bot in every Chatwoot inbox"),
        ((None, 3), "every mode in inbox 3"),
        (("human", 3), "mode human in inbox 3"),
    ],
)
def test_a_place_can_be_taken_only_once(
    place: tuple[str | None, int | None], words: str
) -> None:
    registry = Registry()
    registry.add(one, mode=place[0], inbox_id=place[1])

    with pytest.raises(ProviderError) as caught:
        registry.add(two, mode=place[0], inbox_id=place[1])

    assert words in str(caught.value)
    assert str(caught.value).endswith("one.")
    found = registry.find(HUMAN if place[0] == "human" else BOT, 3)
    assert found is not None
    assert found.function is one


def test_two_registries_do_not_see_each_other() -> None:
    full, empty = registry_of((None, None)), Registry()

    assert full
    assert not empty
    assert empty.find(BOT, None) is None


@pytest.mark.parametrize("mode", ["", "robot", "BOT", 1, [], ("bot",)])
def test_a_mode_that_is_none_is_refused(mode: t.Any) -> None:
    with pytest.raises(ProviderError, match="'bot', 'human'"):
        Registry().add(one, mode=mode, inbox_id=None)


@pytest.mark.parametrize("inbox_id", [0, -1, True, "3", 3.0, 2**63, [3]])
def test_an_inbox_that_is_no_number_is_refused(inbox_id: t.Any) -> None:
    with pytest.raises(ProviderError, match="number above zero"):
        Registry().add(one, mode=None, inbox_id=inbox_id)


def test_a_mode_may_be_given_as_a_member() -> None:
    registry = Registry()
    registry.add(one, mode=Mode.BOT, inbox_id=None)

    assert registry.find(BOT, None) is not None
    assert registry.find(HUMAN, None) is None


# What a provider returns


@pytest.mark.parametrize(
    ("value", "reply"),
    [
        ("On its way.", Reply("On its way.")),
        ("  kept \n", Reply("  kept \n")),
        (Reply("x"), Reply("x")),
        (Reply("x", private=True), Reply("x", private=True)),
        (Reply("x", private=False), Reply("x", private=False)),
        ("a\0b", Reply("ab")),
        (Reply("a\0b", private=True), Reply("ab", private=True)),
        ("a\ud800b", Reply("a?b")),
        ("👩‍🚀 naïve Привет", Reply("👩‍🚀 naïve Привет")),
    ],
)
def test_text_and_replies_are_replies(value: str | Reply, reply: Reply) -> None:
    assert as_answer(value) == Answer((reply,))


@pytest.mark.parametrize(
    "value",
    [
        *(None, "", " ", "\n\t \u00a0", "\0", " \0 "),
        *(Reply(""), Reply(" ", private=True), Reply(choices=["A"])),
        *([], (), [None, ""], [Reply("")]),
    ],
)
def test_blank_text_says_nothing(value: t.Any) -> None:
    assert as_answer(value) is None


@pytest.mark.parametrize(
    "value", [0, 1, True, False, 1.5, b"4111", {}, {"4111": 1}, {"a"}, object(), Answer]
)
@pytest.mark.parametrize("listed", [False, True])
def test_anything_else_is_no_reply(value: t.Any, listed: bool) -> None:
    with pytest.raises(ProviderError) as caught:
        as_answer(["fine", value] if listed else value)

    assert f"returned {type(value).__name__};" in str(caught.value)
    assert "4111" not in str(caught.value)


def test_what_a_forgotten_await_leaves_is_no_reply() -> None:
    coroutine = coroutine_one("x")

    with pytest.raises(ProviderError, match="coroutine"):
        as_answer(coroutine)

    coroutine.close()


@settings(deadline=None)
@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_every_text_can_be_stored(text: str) -> None:
    answer = as_answer(text)

    if answer is not None:
        (reply,) = answer.replies
        assert "\0" not in reply.content
        assert reply.content.encode().decode() == reply.content


@pytest.mark.parametrize("content", [None, 1, b"x", ["x"], Reply("x")])
def test_the_content_of_a_reply_must_be_text(content: t.Any) -> None:
    with pytest.raises(TypeError, match=type(content).__name__):
        Reply(content)


def test_a_provider_may_return_several_messages() -> None:
    answer = as_answer(["one", None, Reply("two", private=True), " ", "three"])

    assert answer == Answer((Reply("one"), Reply("two", private=True), Reply("three")))


def test_a_list_in_a_list_is_no_reply() -> None:
    with pytest.raises(ProviderError, match="returned list;"):
        as_answer([["one"]])


def test_attachments_alone_say_something() -> None:
    reply = Reply(attachments=["invoice.pdf"])

    assert as_answer(reply) == Answer((reply,))


# Handing over


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
def test_a_provider_may_give_the_conversation_away(
    value: t.Any, replies: tuple[Reply, ...], handoff: Handoff
) -> None:
    assert as_answer(value) == Answer(replies, handoff)


class Team(enum.IntEnum):
    SALES = 3


def test_a_hand_off_takes_the_ids_of_an_enumeration() -> None:
    assert Handoff(team_id=Team.SALES).team_id == 3


@pytest.mark.parametrize("number", ["3", 0, -1, True, 1.5, [3]], ids=repr)
@pytest.mark.parametrize("field", ["team_id", "assignee_id"])
def test_a_hand_off_to_something_that_is_no_id_is_refused(
    field: str, number: t.Any
) -> None:
    wrong = {field: number}

    with pytest.raises((TypeError, ValueError, ProviderError)):
        as_answer(Handoff("x", **wrong))


def test_a_hand_off_shows_no_reason() -> None:
    assert "secret words" not in repr(Handoff("secret words", team_id=2))
    assert "team_id=2" in repr(Handoff("secret words", team_id=2))


# Choices


@pytest.mark.parametrize(
    ("choices", "items"),
    [
        ([], []),
        (["A", "B"], [("A", "A"), ("B", "B")]),
        ([("Yes", "y"), "No"], [("Yes", "y"), ("No", "No")]),
        ((["Yes", "y"],), [("Yes", "y")]),
    ],
)
def test_choices_are_texts_or_titles_with_values(
    choices: t.Any, items: list[tuple[str, str]]
) -> None:
    assert choices_of(Reply("Which one?", choices=choices)) == items


@pytest.mark.parametrize(
    "choice",
    [None, 1, True, b"A", {"title": "A"}, (), ("A",), ("A", 1), ("A", "B", "C")],
)
def test_a_choice_of_another_type_is_refused_where_it_was_made(choice: t.Any) -> None:
    with pytest.raises(TypeError, match=rf"choices.*not {type(choice).__name__}\."):
        Reply("Which one?", choices=["fine", choice])


@pytest.mark.parametrize("choices", [None, 1, True, object()])
def test_choices_that_are_no_list_are_refused(choices: t.Any) -> None:
    with pytest.raises(TypeError):
        Reply("Which one?", choices=choices)


def test_a_text_alone_is_no_list_of_choices() -> None:
    with pytest.raises(TypeError, match="choices"):
        Reply("Which one?", choices="AB")


def test_choices_can_be_stored_too() -> None:
    answer = as_answer(Reply("Which one?", choices=["a\ud800b", ("c\0d", "e\udfff")]))

    assert answer is not None
    assert choices_of(answer.replies[0]) == [("a?b", "a?b"), ("cd", "e?")]


# Attachments


def test_files_are_read_from_the_disk_or_taken_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "invoice.pdf"
    path.write_bytes(b"%PDF")
    odd = tmp_path / "no extension"
    odd.write_bytes(b"")

    files = uploads_of(
        Reply(attachments=[path, str(odd), ("a.txt", b"x", "text/plain")])
    )

    assert files == [
        ("invoice.pdf", b"%PDF", "application/pdf"),
        ("no extension", b"", "application/octet-stream"),
        ("a.txt", b"x", "text/plain"),
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
    with pytest.raises(ProviderError) as caught:
        uploads_of(Reply(attachments=[attachment]))

    assert str(caught.value).endswith(f"not {type(attachment).__name__}.")


@pytest.mark.parametrize("attachments", [None, 1, True, object()])
def test_attachments_that_are_no_list_are_refused(attachments: t.Any) -> None:
    with pytest.raises(TypeError):
        Reply(attachments=attachments)


@pytest.mark.parametrize("name", ["missing.pdf", "", "x" * 300])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name

    with pytest.raises(ProviderError) as caught:
        uploads_of(Reply(attachments=[path]))

    assert repr(str(path)) in str(caught.value)
    assert "cannot be read" in str(caught.value)


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"], ids=repr)
def test_a_path_that_cannot_exist_is_no_attachment(name: str) -> None:
    with pytest.raises(ProviderError, match="cannot be read"):
        uploads_of(Reply(attachments=[name]))


@pytest.mark.parametrize(
    "attachments", ["a.pdf", b"a.pdf", "a long name of a file.pdf"], ids=repr
)
def test_a_name_alone_is_no_list_of_attachments(attachments: t.Any) -> None:
    with pytest.raises(TypeError, match="attachments"):
        Reply(attachments=attachments)


def test_a_message_takes_fifteen_files_and_no_more() -> None:
    file = ("a.txt", b"x", "text/plain")

    assert len(uploads_of(Reply(attachments=[file] * MOST_FILES))) == 15

    with pytest.raises(ValueError, match="holds 16 files; Chatwoot takes 15"):
        Reply(attachments=[file] * 16)


# Who sees it


@pytest.mark.parametrize(
    ("mode", "private", "expected"),
    [
        (BOT, None, False),
        (BOT, False, False),
        (BOT, True, True),
        (HUMAN, None, True),
        (HUMAN, True, True),
        (HUMAN, False, True),
    ],
)
def test_nothing_makes_a_public_message_in_human_mode(
    mode: Mode, private: bool | None, expected: bool
) -> None:
    assert is_note(Reply("x", private=private), mode) is expected


@pytest.mark.parametrize("private", [1, "yes", [True]])
def test_a_sloppy_wish_for_a_note_never_becomes_public(private: t.Any) -> None:
    try:
        reply = Reply("x", private=private)
    except TypeError:
        return

    assert is_note(reply, BOT)


def test_a_reply_cannot_be_changed_and_shows_no_text() -> None:
    reply = Reply(
        "secret words",
        private=True,
        attachments=["secret words.pdf"],
        choices=["secret words"],
    )

    with pytest.raises(dataclasses.FrozenInstanceError):
        reply.private = False  # type: ignore[misc]

    assert "secret words" not in repr(reply)
    assert "private=True" in repr(reply)


# What a provider may ask


RAW: t.Final = {
    "account": {"id": 1},
    "conversation": {
        "id": 42,
        "custom_attributes": {"topic": "Invoice"},
        "additional_attributes": {"browser_language": "de"},
        "meta": {"sender": {"id": 55, "name": "Ada", "email": "ada@example.com"}},
    },
}
PICTURE: t.Final = Attachment(type="image", url="https://x.example/1", size=10)
SOUND: t.Final = Attachment(type="audio")
MESSAGES: t.Final = (
    Message(8999, "as typed", (PICTURE,)),
    Message(9000, ""),
    Message(9001, "and more", (SOUND,)),
)


def event(raw: dict[str, t.Any]) -> MessageEvent:
    delivery = {
        "event": "message_created",
        "id": 9001,
        "account": {"id": 1},
        "inbox": {"id": 3},
        "message_type": "incoming",
        "content": "as delivered",
        **raw,
        "conversation": {"id": 42, **raw.get("conversation", {})},
    }
    event = parse(json.dumps(delivery).encode())
    assert isinstance(event, MessageEvent)

    return event._replace(raw=raw)


def test_a_turn_tells_all_that_is_known_of_its_messages() -> None:
    turn = turn_of(event(RAW), MESSAGES, mode=BOT)

    assert turn == Turn(
        text="as typed\nand more",
        mode=BOT,
        account_id=1,
        conversation_id=42,
        inbox_id=3,
        message_id=9001,
        messages=MESSAGES,
        contact=Contact(id=55, name="Ada", email="ada@example.com"),
        custom_attributes={"topic": "Invoice"},
        language="de",
        attachments=(PICTURE, SOUND),
        raw=RAW,
    )


def test_a_turn_of_attachments_has_no_text() -> None:
    turn = turn_of(event(RAW), (Message(1, "", (PICTURE,)),), mode=BOT)

    assert turn.text == ""
    assert turn.attachments == (PICTURE,)


@pytest.mark.parametrize("conversation", [{}, {"custom_attributes": [1]}])
def test_a_turn_of_a_bare_message_has_nothing_else(conversation: t.Any) -> None:
    raw = {"conversation": conversation}

    turn = turn_of(event(raw), (Message(9001, "x"),), mode=HUMAN)

    assert turn.contact == Contact()
    assert turn.custom_attributes == {}
    assert turn.language is None
    assert turn.attachments == ()


def test_a_turn_cannot_be_changed_and_shows_nothing_of_the_customer() -> None:
    turn = turn_of(event(RAW), (Message(1, "secret words", (PICTURE,)),), mode=BOT)

    with pytest.raises(dataclasses.FrozenInstanceError):
        turn.text = "other words"  # type: ignore[misc]

    for words in ("secret words", "Ada", "ada@example.com", "Invoice", "x.example"):
        assert words not in repr(turn)


def test_the_history_is_read_only_when_it_is_asked_for() -> None:
    asked: list[tuple[int, int]] = []

    def read(limit: int, characters: int) -> list[dict[str, str]]:
        asked.append((limit, characters))
        return [{"role": "user", "content": "Hello"}]

    turn = turn_of(event(RAW), MESSAGES, mode=BOT, read_history=read)

    assert asked == []
    assert turn.history() == [{"role": "user", "content": "Hello"}]
    assert turn.history(limit=3, characters=50) == turn.history(3, 50)
    assert asked == [(20, 20_000), (3, 50), (3, 50)]


def test_a_turn_without_a_conversation_has_no_history() -> None:
    assert TURN.history() == []
