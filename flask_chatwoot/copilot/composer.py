"""Answers Chatwoot's composer, as a language model's server would.

What asks for a reply, or for a change of one, gets the answer of the reply provider for
that conversation; all else is the completion provider's.
"""

from __future__ import annotations

import secrets
import time
import typing as t

from flask_chatwoot.errors import APIError, PayloadError
from flask_chatwoot.payloads.composer import (
    ComposerRequest,
    Task,
    composer_request_from,
)
from flask_chatwoot.payloads.conversation import ChatwootMessage
from flask_chatwoot.payloads.listed import PAGE
from flask_chatwoot.runtime import Runtime
from flask_chatwoot.texts import Texts

from . import drafting, proof, suggestions
from .completions import complete
from .refusals import RefusedError

MODEL: t.Final = "flask-chatwoot"
"""The name of the model, where Chatwoot wants none."""

PROBE: t.Final = "flask_chatwoot_probe"
"""The model that ``doctor`` wants. Nobody is asked then, and nothing is logged."""

_PAGES: t.Final = 3
"""Requests for earlier messages, at most, where the newest are notes."""

_LONGEST_NAME: t.Final = 100


def answer(runtime: Runtime, body: bytes) -> dict[str, t.Any]:
    """The answer to a request. Needs an app context.

    Blocks for :data:`.drafting.PATIENCE` at most, besides looks into the database.

    :raises RefusedError: There is none; its text is for the operator.
    """
    try:
        request = composer_request_from(body)
    except PayloadError:
        raise RefusedError("invalid") from None

    if request.stream:
        raise RefusedError("stream")

    if request.model == PROBE:
        return _completion(PROBE, "The composer's endpoint can be reached.")

    return _completion(request.model[:_LONGEST_NAME] or MODEL, _text(runtime, request))


def texts_of(runtime: Runtime) -> Texts:
    """What operators read, in their language as far as it is known. Does not block."""
    if runtime.config.missing:
        return Texts(runtime.config.locale, runtime.config.texts)

    return runtime.configured.turns.language.known()


def models(*, multithread: bool) -> dict[str, t.Any]:
    """The models that there are. Chatwoot looks whether its key is taken.

    :param multithread: Whether the server has several threads, for ``doctor``.
    """
    model = {"id": MODEL, "object": "model", "created": 0, "owned_by": MODEL}

    return {"object": "list", "data": [model], "multithread": multithread}


def _text(runtime: Runtime, request: ComposerRequest) -> str:
    with drafting.waiting.place() as until:
        if request.task is Task.REPLY_SUGGESTION:
            return _suggested(runtime, request)

        if request.task is Task.FOLLOW_UP:
            revised = _revised(runtime, request)

            if revised is not None:
                return revised

        return complete(
            runtime.app, runtime.find_completion(), request.messages, until=until
        )


def _suggested(runtime: Runtime, request: ComposerRequest) -> str:
    if request.conversation_id is None:
        raise RefusedError("no_conversation")

    if runtime.config.missing:
        raise RefusedError("not_configured")

    # While there is time for it: a refusal below is in this language.
    runtime.configured.turns.language.texts()
    conversation, messages = suggestions.read(runtime, request.conversation_id)

    if not (
        runtime.config.copilot_one_account or _is_proven(runtime, request, messages)
    ):
        raise RefusedError("other_account")

    return suggestions.suggest(runtime, conversation, messages)


def _revised(runtime: Runtime, request: ComposerRequest) -> str | None:
    """A changed suggestion, if the text was suggested."""
    return None if runtime.config.missing else suggestions.revise(runtime, request)


def _is_proven(
    runtime: Runtime, request: ComposerRequest, newest: list[ChatwootMessage]
) -> bool:
    """Whether the transcript is that of a conversation of this account."""
    now = time.time()
    listed, page = newest, newest
    reader = runtime.configured.turns.history.reader

    for _ in range(_PAGES):
        if len(page) < PAGE or proof.suffices(proof.said_in(listed), now=now):
            break

        before = min(each.id for each in page)

        try:
            page = reader.messages(t.cast(int, request.conversation_id), before=before)
        except APIError as error:
            raise suggestions.unreadable(error) from None

        listed = [*page, *listed]

    return proof.proves(request.transcript, proof.said_in(listed), now=now)


def _completion(model: str, text: str) -> dict[str, t.Any]:
    """An answer in the shape of OpenAI's."""
    message = {"role": "assistant", "content": text}

    return {
        "id": f"chatcmpl-{secrets.token_hex(12)}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }
