"""Suggestions for the composer, from the provider that answers the customer.

A suggestion is not posted, starts no turn, and changes nothing about who has the
conversation.
"""

from __future__ import annotations

import functools
import typing as t
from collections.abc import Sequence
from dataclasses import replace

from flask_chatwoot import signals
from flask_chatwoot.errors import (
    APIError,
    DatabaseError,
    GiveUp,
    ProviderError,
    ProviderFailedError,
    described,
)
from flask_chatwoot.history import HistoryReader
from flask_chatwoot.logs import about, logger
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation
from flask_chatwoot.payloads.fields import storable
from flask_chatwoot.payloads.listed import PAGE
from flask_chatwoot.queue.suggestions import Ended, Wanted, hash_of
from flask_chatwoot.replies import Message, Provider, Turn
from flask_chatwoot.runtime import Runtime
from flask_chatwoot.turns.providers import ask, can_read

from . import drafting, questions
from .answers import text_in
from .refusals import RefusedError

_PAGES: t.Final = 4
"""Requests for earlier messages, at most."""

log = logger(__name__)


class Revision(t.Protocol):
    """What a request for changes of a suggestion says."""

    @property
    def conversation_id(self) -> int | None:
        """That of the text. The browser says it, so it names none by itself."""

    @property
    def suggestion(self) -> str | None:
        """The text to change."""

    @property
    def instruction(self) -> str | None:
        """How to change it."""


def suggest(
    runtime: Runtime, conversation: Conversation, messages: Sequence[ChatwootMessage]
) -> str:
    """A text that the operator may send, from the provider. Needs an app context.

    Blocks for :data:`.drafting.PATIENCE` at most, or for what is left of it.

    :param messages: The newest, as Chatwoot lists them.
    :raises RefusedError: There is no text, or none yet.
    """
    with about(conversation.id), drafting.waiting.place() as until:
        return _suggested(runtime, conversation, messages, until=until)


def revise(runtime: Runtime, request: Revision) -> str | None:
    """A changed suggestion; ``None`` if the text is none of the last hour in there, or
    if the provider does not take the turn, and so would not know of the change.

    Reads the conversation again, and blocks like :func:`suggest`.

    :raises RefusedError: There is no text, or none yet.
    """
    if not (request.suggestion and request.instruction):
        return None

    conversation_id = _conversation_of(runtime, request)

    if conversation_id is None:
        return None

    with about(conversation_id), drafting.waiting.place() as until:
        conversation, messages = read(runtime, conversation_id)
        _, provider = _provider(runtime, conversation)

        if not provider.takes_turn:
            return None

        return _suggested(
            runtime,
            conversation,
            messages,
            request.instruction,
            request.suggestion,
            until=until,
        )


def read(
    runtime: Runtime, conversation_id: int
) -> tuple[Conversation, list[ChatwootMessage]]:
    """A conversation and its newest messages, as Chatwoot lists them.

    :raises RefusedError: They cannot be read.
    """
    reader = runtime.configured.turns.history.reader

    with about(conversation_id):
        try:
            found = reader.conversation(conversation_id)
            return found, reader.messages(conversation_id)
        except APIError as error:
            raise unreadable(error) from None


def _conversation_of(runtime: Runtime, request: Revision) -> int | None:
    """The conversation in which a text was suggested, if the request is about it.

    Other accounts ask here, too, and may have the same text from elsewhere. Chatwoot
    keeps the first request with a suggestion (``lib/captain/follow_up_service.rb``).
    """
    try:
        found = runtime.configured.store.suggestions.conversations_of(
            request.suggestion or ""
        )
    except DatabaseError as error:
        raise _unstored(error) from None

    return request.conversation_id if request.conversation_id in found else None


def _suggested(
    runtime: Runtime,
    conversation: Conversation,
    messages: Sequence[ChatwootMessage],
    instruction: str | None = None,
    earlier: str | None = None,
    *,
    until: float,
) -> str:
    mode, provider = _provider(runtime, conversation)
    known, question = _question(runtime, conversation.id, messages)
    turn = replace(
        _turn(runtime, conversation, question, mode),
        instruction=instruction,
        earlier_suggestion=earlier,
    )

    if not can_read(provider, turn):
        raise RefusedError("no_question")

    wanted = Wanted(
        conversation.id,
        questions.fingerprint(conversation, known, question),
        b"" if instruction is None else hash_of(instruction, earlier or ""),
    )
    work = functools.partial(_write, runtime, provider, turn)
    store, longest = runtime.configured.store, runtime.config.provider_timeout

    try:
        text = drafting.written(
            store.suggestions, wanted, work, until=until, longest=longest
        )
    except DatabaseError as error:
        raise _unstored(error) from None

    newest = max(each.id for each in messages)
    runtime.configured.turns.feedback.keep_suggestion(turn, newest, text)
    signals.send(signals.suggested, runtime.app, turn=turn, text=text)

    return text


def _turn(
    runtime: Runtime,
    conversation: Conversation,
    question: tuple[Message, ...],
    mode: Mode,
) -> Turn:
    return questions.turn_for(
        conversation,
        question,
        account_id=runtime.configured.client.account_id,
        mode=mode,
        read_history=_history(runtime, conversation.id, question),
    )


def _provider(runtime: Runtime, conversation: Conversation) -> tuple[Mode, Provider]:
    """The provider for human mode, else that for bot mode; and the mode."""
    inboxes = runtime.config.inboxes

    if inboxes and conversation.inbox_id not in inboxes:
        raise RefusedError("other_inbox")

    for mode in (Mode.HUMAN, Mode.BOT):
        provider = runtime.providers.find(mode, conversation.inbox_id)

        if provider is not None:
            return mode, provider

    raise RefusedError("no_reply_provider")


def _question(
    runtime: Runtime, conversation_id: int, messages: Sequence[ChatwootMessage]
) -> tuple[list[ChatwootMessage], tuple[Message, ...]]:
    """The messages that are known, and those that the customer wants answered.

    Reads earlier ones if need be.
    """
    known, page = list(messages), messages

    for _ in range(_PAGES):
        if len(page) < PAGE or not questions.is_cut(known):
            break

        try:
            page = runtime.configured.turns.history.reader.messages(
                conversation_id, before=min(each.id for each in page)
            )
        except APIError as error:
            raise unreadable(error) from None

        known += page

    question = questions.question_in(known)

    if not question:
        raise RefusedError("no_question")

    return known, question


def _history(
    runtime: Runtime, conversation_id: int, question: tuple[Message, ...]
) -> HistoryReader:
    """A function that reads the messages before those of a question."""
    written = [each.id for each in question if not each.picked]

    return lambda limit, characters: runtime.configured.turns.history.read(
        conversation_id,
        before=min(written, default=None),
        limit=limit,
        characters=characters,
        asked={each.id for each in question},
    )


def _write(runtime: Runtime, provider: Provider, turn: Turn) -> Ended:
    """Ask the provider. Blocks while it works."""
    with about(turn.conversation_id), runtime.app.app_context():
        try:
            text = text_in(ask(runtime.app, provider, turn))
        except GiveUp as error:  # no mistake of the host's code
            return Ended(None, f"{drafting.GAVE_UP}\n{storable(error.reason or '')}")
        except (ProviderError, ProviderFailedError) as error:
            # Without the text of the cause.
            log.error("there is no suggestion: %s", described(error))  # noqa: TRY400
            signals.report(runtime.app, "provider", error, turn)

            return Ended(None, drafting.FAILED)

    return Ended(text, None if text else drafting.EMPTY)


def unreadable(error: APIError) -> RefusedError:
    """What the operator reads if a conversation cannot be read, which is logged."""
    if error.kind == "permanent" and error.status == 404:
        return RefusedError("other_account")

    log.warning("the conversation of a suggestion could not be read: %s", error)

    return RefusedError("no_right" if error.lacks_right else "unreadable")


def _unstored(error: DatabaseError) -> RefusedError:
    log.warning("a suggestion could not be kept: %s", error)

    return RefusedError("database")
