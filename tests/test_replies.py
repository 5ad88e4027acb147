from __future__ import annotations

import dataclasses
import functools
import inspect
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_chatwoot.errors import ProviderError
from flask_chatwoot.events import Attachment, Contact, MessageEvent
from flask_chatwoot.mode import Mode
from flask_chatwoot.replies import Provider, Registry, Reply, Turn, as_reply

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
def test_what_can_not_be_a_provider_is_refused_at_once(function: t.Any) -> None:
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
    assert as_reply(value) == reply


@pytest.mark.parametrize(
    "value",
    [None, "", " ", "\n\t \u00a0", "\0", " \0 ", Reply(""), Reply(" ", private=True)],
)
def test_blank_text_says_nothing(value: t.Any) -> None:
    assert as_reply(value) is None


@pytest.mark.parametrize(
    "value", [0, 1, True, False, 1.5, b"4111", [], ["4111"], {}, ("a", "b"), object()]
)
def test_anything_else_is_no_reply(value: t.Any) -> None:
    with pytest.raises(ProviderError) as caught:
        as_reply(value)

    assert f"returned {type(value).__name__};" in str(caught.value)
    assert "4111" not in str(caught.value)


def test_what_a_forgotten_await_leaves_is_no_reply() -> None:
    coroutine = coroutine_one("x")

    with pytest.raises(ProviderError, match="coroutine"):
        as_reply(coroutine)

    coroutine.close()


@settings(deadline=None)
@given(st.text(st.characters(codec=None, exclude_categories=())))
def test_every_text_can_be_stored(text: str) -> None:
    reply = as_reply(text)

    if reply is not None:
        assert "\0" not in reply.content
        assert reply.content.encode().decode() == reply.content


@pytest.mark.parametrize("content", [None, 1, b"x", ["x"], Reply("x")])
def test_the_content_of_a_reply_must_be_text(content: t.Any) -> None:
    with pytest.raises(TypeError, match=type(content).__name__):
        Reply(content)


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
    assert Reply("x", private=private).is_private(mode) is expected


@pytest.mark.parametrize("private", [1, "yes", [True]])
def test_a_sloppy_wish_for_a_note_never_becomes_public(private: t.Any) -> None:
    try:
        reply = Reply("x", private=private)
    except TypeError:
        return

    assert reply.is_private(BOT)


def test_a_reply_can_not_be_changed_and_shows_no_text() -> None:
    reply = Reply("secret words", private=True)

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
    "attachments": [
        {"file_type": "image", "data_url": "https://x.example/1", "file_size": 10}
    ],
}


def event(raw: t.Mapping[str, t.Any]) -> MessageEvent:
    return MessageEvent(
        name="message_created",
        raw=raw,
        account_id=1,
        conversation_id=42,
        inbox_id=3,
        message_id=9001,
        type="incoming",
        private=False,
        text="as delivered",
        rendered=False,
    )


def test_a_turn_tells_all_that_is_known_of_a_message() -> None:
    turn = Turn.of(event(RAW), mode=BOT, text="as typed")

    assert turn == Turn(
        text="as typed",
        mode=BOT,
        account_id=1,
        conversation_id=42,
        inbox_id=3,
        message_id=9001,
        contact=Contact(id=55, name="Ada", email="ada@example.com"),
        custom_attributes={"topic": "Invoice"},
        language="de",
        attachments=(Attachment(type="image", url="https://x.example/1", size=10),),
        raw=RAW,
    )


@pytest.mark.parametrize("conversation", [None, [], "x", {"custom_attributes": [1]}])
def test_a_turn_of_a_bare_message_has_nothing_else(conversation: t.Any) -> None:
    raw = {"conversation": conversation}

    turn = Turn.of(event(raw), mode=HUMAN, text="x")

    assert turn.contact == Contact()
    assert turn.custom_attributes == {}
    assert turn.language is None
    assert turn.attachments == ()


def test_a_turn_can_not_be_changed_and_shows_nothing_of_the_customer() -> None:
    turn = Turn.of(event(RAW), mode=BOT, text="secret words")

    with pytest.raises(dataclasses.FrozenInstanceError):
        turn.text = "other words"  # type: ignore[misc]

    for words in ("secret words", "Ada", "ada@example.com", "Invoice", "x.example"):
        assert words not in repr(turn)
