"""Turns, replies, and the registry of reply providers."""

import importlib.util
import inspect
import mimetypes
import os
import typing as t
from dataclasses import dataclass, field, replace
from pathlib import Path

from .errors import ProviderError, name_of
from .history import HistoryEntry, HistoryReader, no_history
from .ownership.mode import Mode
from .payloads.attachments import Attachment
from .payloads.channels import Channel
from .payloads.conversation import Contact
from .payloads.fields import Object, Upload, as_id, is_visible, storable


class Message(t.NamedTuple):
    """One message of a customer.

    :ivar id: Chatwoot's id for it; for a button or form, that of the question.
    :ivar text: What the customer wrote, or picked.
    :ivar picked: The text comes from a button or a form.
    :ivar in_reply_to: The id of the message that it replies to, if it quotes one;
        ``chatwoot.client.messages(…, before=in_reply_to + 1)`` ends with that.
    :ivar edited: The customer has changed it since, where the channel tells.
    :ivar deleted: The customer or an operator has deleted it.
    :ivar reaction: It is a reaction to the other message, such as a thumb.
    """

    id: int
    text: str
    attachments: tuple[Attachment, ...] = ()
    picked: bool = False
    in_reply_to: int | None = None
    edited: bool = False
    deleted: bool = False
    reaction: bool = False

    def __repr__(self) -> str:
        return f"<Message {self.id}>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """The customer messages to answer. The second argument of a provider.

    The conversation and the contact are those of the newest message. The ids are
    ``None`` when the question came through ``/copilot``, where there is no
    conversation.

    :ivar text: What the customer wrote; several messages are joined by line breaks.
        Empty if there are attachments only.
    :ivar mode: ``human`` also when an operator has taken the conversation over.
    :ivar conversation_id: The number in the conversation's URL, unique per account.
    :ivar inbox_id: The Chatwoot inbox, ``None`` when Chatwoot does not say.
    :ivar message_id: The newest message.
    :ivar messages: The messages one by one, oldest first.
    :ivar custom_attributes: Those of the conversation.
    :ivar language: The browser's language, ``"de"`` for instance, or ``None``.
    :ivar channel: Where the customer reads the answer, and how many characters one
        message may have there, for a model to be told.
    :ivar attachments: Those of all messages.
    :ivar raw: The newest delivery's payload, in the shape the server sent it. Of a
        message that catch-up found, what Chatwoot's API lists, in the shape of a
        delivery.
    :ivar found_by: ``"delivery"``; or ``"catch_up"`` if one of the messages was not
        delivered, and catch-up found it in Chatwoot.
    :ivar late: A later message of the customer had its turn before this one, which was
        found after that.
    :ivar purpose: ``"reply"``; or ``"suggestion"`` when an operator has asked for a
        text to send. Then ``text`` is what the customer wrote since the last public
        answer, else the customer's last message; ``raw`` is empty; and only text is
        used of what the provider returns.
    :ivar instruction: What the operator asks for, such as "shorter, please", or
        ``None``. Only for a suggestion.
    :ivar earlier_suggestion: The text that the instruction is about, as it was returned
        to the operator; ``None`` without an instruction.
    """

    text: str = field(repr=False)
    mode: Mode
    account_id: int | None = None
    conversation_id: int | None = None
    inbox_id: int | None = None
    message_id: int | None = None
    messages: tuple[Message, ...] = ()
    contact: Contact = field(default_factory=Contact)
    custom_attributes: Object = field(default_factory=dict, repr=False)
    language: str | None = None
    channel: Channel = field(default_factory=Channel)
    attachments: tuple[Attachment, ...] = ()
    raw: Object = field(default_factory=dict, repr=False)
    found_by: str = "delivery"
    late: bool = False
    purpose: t.Literal["reply", "suggestion"] = "reply"
    instruction: str | None = field(default=None, repr=False)
    earlier_suggestion: str | None = field(default=None, repr=False)
    _read_history: HistoryReader = field(default=no_history, repr=False, compare=False)

    def history(self, limit: int = 20, characters: int = 20_000) -> list[HistoryEntry]:
        """Earlier messages of the conversation, oldest first, as models take them.

        Blocks during requests to Chatwoot. Messages of customers have the role
        ``user``, those of operators and bots ``assistant``. Without notes, greetings,
        this turn's own messages, and all from before the conversation was last
        resolved. A file is a line such as ``[image: order.png]``, and what a message
        replies to is quoted before it. Empty if Chatwoot does not answer; the log says
        why.

        :param limit: Messages at most.
        :param characters: At most, in all; the oldest are left out.
        """
        return self._read_history(limit, characters)


@dataclass(frozen=True, slots=True)
class Handoff:
    """Hands the conversation off to operators.

    :ivar reason: For the operators' note, ``"asked for a human"`` for instance.
    :ivar team_id: Chatwoot's id of a team to assign, or ``None``.
    :ivar assignee_id: Chatwoot's id of an operator to assign, or ``None``.
    :raises TypeError: An id is not a number.
    :raises ValueError: An id is not above zero.
    """

    reason: str | None = field(default=None, repr=False)
    team_id: int | None = None
    assignee_id: int | None = None

    def __post_init__(self) -> None:
        ids: dict[str, t.Any] = {
            "team_id": self.team_id,
            "assignee_id": self.assignee_id,
        }

        for name, value in ids.items():
            if value is not None and as_id(value) is None:
                kind = TypeError if not isinstance(value, int) else ValueError
                raise kind(f"Handoff({name}) must be a whole number above zero.")


@dataclass(frozen=True, slots=True)
class NoReply:
    """No answer, on purpose: the customer is to get none, and nothing changes.

    With ``None`` or blank text instead, a pending conversation, which operators do not
    see, is handed off to them.
    """


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with its audience, files, choices and hand-off.

    :ivar content: Markdown, as Chatwoot shows it. Blank text, also of invisible
        characters, is not posted, unless there are attachments.
    :ivar private: ``True`` makes it a note in bot mode, too. In human mode it is
        always a note.
    :ivar handoff: ``True``, or a :class:`Handoff` that says more: operators
        have the conversation after this reply. In human mode only notes are posted.
    :ivar attachments: Absolute paths, or ``(name, bytes, media type)``; 15 at most.
    :ivar choices: Texts, or ``(title, value)``, for the customer to pick from. In a
        note, and where the channel may show no buttons, the text lists them.
    :raises TypeError: A value is of the wrong type.
    :raises ValueError: Too many attachments.
    """

    content: str = field(default="", repr=False)
    private: bool | None = None
    handoff: bool | Handoff = False
    attachments: t.Sequence[str | os.PathLike[str] | tuple[str, bytes, str]] = field(
        default=(), repr=False
    )
    choices: t.Sequence[str | tuple[str, str]] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        content: t.Any = self.content

        if not isinstance(content, str):
            kind = type(content).__name__
            raise TypeError(f"Reply(content) must be text, not {kind}.")

        if not isinstance(self.handoff, bool | Handoff):
            raise TypeError("Reply(handoff) must be a bool or a Handoff.")

        for name, several in (
            ("attachments", self.attachments),
            ("choices", self.choices),
        ):
            if not isinstance(several, list | tuple):
                raise TypeError(f"Reply({name}) must be a list.")

        if len(self.attachments) > MOST_FILES:
            raise ValueError(
                f"Reply(attachments) holds {len(self.attachments)} files; "
                f"Chatwoot takes {MOST_FILES}."
            )

        choices_of(self)  # raises here, where the mistake was made


MOST_FILES: t.Final = 15
"""Files one message may have (Chatwoot's ``app/models/message.rb``)."""


def choices_of(reply: Reply) -> list[tuple[str, str]]:
    """The choices of a reply as titles and values."""
    return [_choice(choice) for choice in reply.choices]


def text_of(reply: Reply) -> str:
    """The text of a reply with its choices, for operators, who cannot pick one."""
    return listed_in(reply.content, choices_of(reply))


def listed_in(content: str, choices: t.Sequence[tuple[str, str]]) -> str:
    """A text with these choices at its end, unless it ends with them already."""
    lines = "\n".join(lines_of(choices))

    if not lines or f"\n{content}".endswith(f"\n{lines}"):
        return content

    return "\n".join(filter(None, [content, lines]))


def lines_of(choices: t.Sequence[tuple[str, str]]) -> list[str]:
    """The lines of these choices in a text."""
    return [f"- {title}" for title, _ in choices]


def uploads_of(reply: Reply) -> list[Upload]:
    """The attachments of a reply, read from the disk where they are paths.

    :raises ProviderError: One cannot be read, or is none.
    """
    return [_file(each, number) for number, each in enumerate(reply.attachments, 1)]


def is_blank(reply: Reply) -> bool:
    """Whether a reply has neither text nor attachments."""
    return not (is_visible(reply.content) or reply.attachments)


def _choice(choice: t.Any) -> tuple[str, str]:
    match choice:
        case str():
            return storable(choice), storable(choice)
        case (str(title), str(value)):
            return storable(title), storable(value)

    kind = type(choice).__name__
    raise TypeError(f"Reply(choices) takes texts or (title, value), not {kind}.")


def _file(attachment: t.Any, number: int) -> Upload:
    match attachment:
        case (str(name), bytes(content), str(kind)):
            return Upload(storable(name), content, storable(kind))
        case str() | os.PathLike():
            path = Path(attachment)
        case _:
            kind = type(attachment).__name__
            raise ProviderError(
                "Reply(attachments) takes paths or (name, bytes, media type), "
                f"not {kind}."
            )

    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: no name a file can have
        # Without the path, which may have been made of what the customer wrote.
        why = getattr(error, "strerror", None) or type(error).__name__
        raise ProviderError(f"Attachment {number} cannot be read: {why}.") from error

    guessed, _ = mimetypes.guess_type(path.name)
    media_type = guessed or "application/octet-stream"

    return Upload(storable(path.name), content, media_type)


class Answer(t.NamedTuple):
    """What a provider returned for a turn.

    :ivar on_purpose: There is nothing to post or do, and the provider said so.
    """

    replies: tuple[Reply, ...]
    handoff: Handoff | None = None
    on_purpose: bool = False


ProviderFunction = t.Callable[..., t.Any]
"""``(text)`` or ``(text, turn)`` to text, ``Reply``, ``Handoff``, a list of these,
``NoReply`` or ``None``; sync or async."""

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
        """The narrower a place, the higher; an inbox is narrower than a mode."""
        return self.inbox_id is not None, self.mode is not None


class Registry:
    """The providers of one extension object. Filled at import, read by all threads."""

    def __init__(self) -> None:
        self._providers: dict[tuple[Mode | None, int | None], Provider] = {}

    def __bool__(self) -> bool:
        return bool(self._providers)

    def serves(self, inbox_id: int | None) -> bool:
        """Whether any of them answers in a Chatwoot inbox, in whatever mode."""
        return any(
            provider.inbox_id in (None, inbox_id)
            for provider in self._providers.values()
        )

    @property
    def take_turns(self) -> bool:
        """Whether any of them takes the turn."""
        return any(provider.takes_turn for provider in self._providers.values())

    def add(
        self, function: ProviderFunction, *, mode: str | None, inbox_id: int | None
    ) -> None:
        """Register a function for a place.

        :raises ProviderError: Not a function of one or two parameters, not a mode,
            not an inbox id, the place is taken, or it is async without the extra.
        """
        place = (_checked_mode(mode), _checked_inbox(inbox_id))

        if place in self._providers:
            taken = name_of(self._providers[place].function)
            raise ProviderError(
                f"There is a reply provider for {_describe(place)} already: {taken}."
            )

        takes_turn = _takes_turn(function)
        self._providers[place] = Provider(plain(function), takes_turn, *place)

    def find(self, mode: Mode, inbox_id: int | None) -> Provider | None:
        """The narrowest provider for a place, or ``None``."""
        matching = [
            provider
            for provider in self._providers.values()
            if provider.matches(mode, inbox_id)
        ]

        return max(matching, key=lambda provider: provider.narrowness, default=None)


def as_answer(value: t.Any, function: t.Any = None) -> Answer | None:
    """What a provider returned, as replies; ``None`` if there is nothing to post or do.

    :param function: The provider, to be named in the error.
    :raises ProviderError: Something in it is neither text, nor a reply, nor a
        hand-off, nor ``NoReply``, nor ``None``.
    """
    is_listed = isinstance(value, list | tuple)
    listed = value if is_listed else [value]
    on_purpose = any(isinstance(each, NoReply) for each in listed)
    replies = [_as_reply(each, function, is_listed=is_listed) for each in listed]
    handoff = next((reply.handoff for reply in replies if reply.handoff), None)
    spoken = tuple(reply for reply in replies if not is_blank(reply))

    if handoff is None and not spoken:
        return Answer((), on_purpose=True) if on_purpose else None

    if handoff is None:
        return Answer(spoken)

    return Answer(spoken, handoff if isinstance(handoff, Handoff) else Handoff())


def _as_reply(value: t.Any, function: t.Any, *, is_listed: bool) -> Reply:
    match value:
        case None | NoReply():
            return Reply()
        case str():
            return Reply(storable(value))
        case Handoff():
            return Reply(handoff=value)
        case Reply():
            content = storable(value.content)
            return (
                value if content == value.content else replace(value, content=content)
            )

    who = f"The reply provider {name_of(function)}" if function else "A reply provider"
    what = f"{'a list that holds ' * is_listed}{type(value).__name__}"
    raise ProviderError(
        f"{who} returned {what}; return text, a Reply, a Handoff, a list of them, "
        "NoReply(), or None."
    )


def _takes_turn(function: t.Any) -> bool:
    name = name_of(function)

    if not callable(function):
        raise ProviderError(f"A reply provider must be a function, not {name}.")

    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise ProviderError(f"{name} is a generator; a reply provider returns text.")

    try:
        signature = inspect.signature(function)
    except ValueError:
        raise ProviderError(
            f"The parameters of {name} cannot be inspected; wrap it in a function."
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


def plain(function: ProviderFunction) -> ProviderFunction:
    """The method behind an object with an async ``__call__``, else the function.

    :raises ProviderError: It is async, and what Flask needs for that is not there.
    """
    call = getattr(function, "__call__", function)  # noqa: B004 - to look at it
    found = call if inspect.iscoroutinefunction(call) else function

    if (
        inspect.iscoroutinefunction(found)
        and importlib.util.find_spec("asgiref") is None
    ):
        raise ProviderError(
            f'{name_of(function)} is written with "async def", which needs the extra '
            'Flask-Chatwoot[async]; in a checkout: pip install ".[async]".'
        )

    return t.cast(ProviderFunction, found)


_POSITIONAL: t.Final = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
)
_VARIADIC: t.Final = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _checked_mode(value: str | None) -> Mode | None:
    try:
        return None if value is None else Mode(value)
    except ValueError:
        known = ", ".join(repr(str(mode)) for mode in Mode)
        raise ProviderError(f"There is no mode {value!r}; use {known}.") from None


def _checked_inbox(value: t.Any) -> int | None:
    if value is None or as_id(value) is not None:
        return t.cast("int | None", value)

    raise ProviderError(f"inbox_id must be a number above zero, not {value!r}.")


def _describe(place: tuple[Mode | None, int | None]) -> str:
    mode, inbox_id = place
    where = "every Chatwoot inbox" if inbox_id is None else f"inbox {inbox_id}"

    return f"{'every mode' if mode is None else f'mode {mode}'} in {where}"
