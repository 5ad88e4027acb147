"""What a provider is asked, what it may answer, and which provider is asked."""

from __future__ import annotations

import inspect
import typing as t
from dataclasses import dataclass, field, replace

from . import events
from .errors import ProviderError
from .events import Attachment, Contact, MessageEvent, Object
from .mode import Mode


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What is being answered. The second argument of a provider.

    The ids are ``None`` when the question came through ``/copilot``, where there is
    no conversation.

    :ivar text: What the customer wrote.
    :ivar conversation_id: The number in the conversation's URL, unique per account.
    :ivar inbox_id: The Chatwoot inbox, ``None`` when Chatwoot does not say.
    :ivar custom_attributes: Those of the conversation.
    :ivar language: The browser's language, ``"de"`` for instance, or ``None``.
    :ivar raw: The delivery's decoded payload, in the shape the server sent it.
    """

    text: str = field(repr=False)
    mode: Mode
    account_id: int | None = None
    conversation_id: int | None = None
    inbox_id: int | None = None
    message_id: int | None = None
    contact: Contact = field(default_factory=Contact)
    custom_attributes: Object = field(default_factory=dict, repr=False)
    language: str | None = None
    attachments: tuple[Attachment, ...] = ()
    raw: Object = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, event: MessageEvent, *, mode: Mode, text: str) -> t.Self:
        """The turn that answers one message."""
        conversation = events.as_object(event.raw.get("conversation"))

        return cls(
            text=text,
            mode=mode,
            account_id=event.account_id,
            conversation_id=event.conversation_id,
            inbox_id=event.inbox_id,
            message_id=event.message_id,
            contact=events.contact(event.raw),
            custom_attributes=events.as_object(conversation.get("custom_attributes")),
            language=events.language(event.raw),
            attachments=events.attachments(event.raw),
            raw=event.raw,
        )


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, with a say in who sees it.

    :ivar content: Markdown, as Chatwoot shows it. Blank text says nothing.
    :ivar private: ``True`` makes a note of it in bot mode too. Nothing makes a public
        message of it in human mode.
    :raises TypeError: The content is not text.
    """

    content: str = field(repr=False)
    private: bool | None = None

    def __post_init__(self) -> None:
        content: t.Any = self.content

        if not isinstance(content, str):
            kind = type(content).__name__
            raise TypeError(f"Reply(content) must be text, not {kind}.")

    def is_private(self, mode: Mode) -> bool:
        """Whether this is a note, given who is answering."""
        return mode is Mode.HUMAN or bool(self.private)


ProviderFunction = t.Callable[..., t.Any]
"""``(text)`` or ``(text, turn)`` to ``str | Reply | None``, sync or async."""

F = t.TypeVar("F", bound=ProviderFunction)


class Provider(t.NamedTuple):
    """A registered function and the place it was registered for."""

    function: ProviderFunction
    takes_turn: bool
    mode: Mode | None
    inbox_id: int | None

    def arguments(self, turn: Turn) -> tuple[t.Any, ...]:
        """What to call the function with."""
        return (turn.text, turn) if self.takes_turn else (turn.text,)

    def matches(self, mode: Mode, inbox_id: int | None) -> bool:
        """Whether it was registered for this place, or for a wider one."""
        return self.mode in (None, mode) and self.inbox_id in (None, inbox_id)

    @property
    def narrowness(self) -> tuple[bool, bool]:
        """Sorts by how little else a provider answers; an inbox is less than a mode."""
        return self.inbox_id is not None, self.mode is not None


class Registry:
    """The providers of one extension object. Filled at import, read by all threads."""

    def __init__(self) -> None:
        self._providers: dict[tuple[Mode | None, int | None], Provider] = {}

    def __bool__(self) -> bool:
        return bool(self._providers)

    def add(
        self, function: ProviderFunction, *, mode: str | None, inbox_id: int | None
    ) -> None:
        """Register a function for a place.

        :raises ProviderError: Not a function of one or two parameters, not a mode,
            not an inbox id, or the place is taken.
        """
        place = (_checked_mode(mode), _checked_inbox(inbox_id))

        if place in self._providers:
            taken = _name(self._providers[place].function)
            raise ProviderError(
                f"There is a reply provider for {_describe(place)} already: {taken}."
            )

        takes_turn = _takes_turn(function)
        self._providers[place] = Provider(_plain(function), takes_turn, *place)

    def find(self, mode: Mode, inbox_id: int | None) -> Provider | None:
        """The narrowest provider for a place, or ``None``."""
        matching = [
            provider
            for provider in self._providers.values()
            if provider.matches(mode, inbox_id)
        ]

        return max(matching, key=lambda provider: provider.narrowness, default=None)


def as_reply(value: t.Any) -> Reply | None:
    """What a provider returned, as a reply; ``None`` if it says nothing.

    :raises ProviderError: Neither text nor a reply nor ``None``.
    """
    reply = Reply(value) if isinstance(value, str) else value

    if reply is None:
        return None

    if not isinstance(reply, Reply):
        kind = type(reply).__name__
        raise ProviderError(
            f"A reply provider returned {kind}; return text, a Reply, or None."
        )

    content = _storable(reply.content)

    if not content.strip():
        return None

    return reply if content == reply.content else replace(reply, content=content)


def _storable(text: str) -> str:
    """Without what neither UTF-8 nor Chatwoot's database can hold."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _takes_turn(function: t.Any) -> bool:
    name = _name(function)

    if not callable(function):
        raise ProviderError(f"A reply provider must be a function, not {name}.")

    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ProviderError(f"{name} is a generator; a reply provider returns text.")

    try:
        signature = inspect.signature(function)
    except ValueError:
        raise ProviderError(
            f"The parameters of {name} can not be seen; wrap it in a function."
        ) from None

    parameters = list(signature.parameters.values())
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    needed = [p for p in parameters if p.default is p.empty and p.kind not in _VARIADIC]
    too_many = [p for p in needed if p not in positional[:2]]
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)

    if too_many or not (positional or takes_any):
        raise ProviderError(
            f"The reply provider {name}{signature} must take the "
            "text, or the text and the turn, and nothing else."
        )

    return len(positional) >= 2


def _plain(function: ProviderFunction) -> ProviderFunction:
    """The method behind an object with an async ``__call__``, else the function."""
    call = getattr(function, "__call__", function)  # noqa: B004 - to look at it

    return call if inspect.iscoroutinefunction(call) else function


_POSITIONAL: t.Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_VARIADIC: t.Final = (
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.VAR_KEYWORD,
)


def _checked_mode(value: str | None) -> Mode | None:
    try:
        return None if value is None else Mode(value)
    except ValueError:
        known = ", ".join(repr(str(mode)) for mode in Mode)
        raise ProviderError(f"There is no mode {value!r}; use {known}.") from None


def _checked_inbox(value: t.Any) -> int | None:
    if value is None or events.as_id(value) is not None:
        return t.cast("int | None", value)

    raise ProviderError(f"inbox_id must be a number above zero, not {value!r}.")


def _name(function: t.Any) -> str:
    return getattr(function, "__qualname__", None) or type(function).__qualname__


def _describe(place: tuple[Mode | None, int | None]) -> str:
    mode, inbox_id = place
    where = "every Chatwoot inbox" if inbox_id is None else f"inbox {inbox_id}"

    return f"{'every mode' if mode is None else f'mode {mode}'} in {where}"
