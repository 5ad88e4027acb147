"""Suggestions for operators, without a conversation."""

from __future__ import annotations

from .errors import NoProviderError
from .ownership.mode import Mode
from .payloads.fields import is_visible
from .replies import Turn, text_of
from .runtime import Runtime
from .turns.providers import ask


def suggest(runtime: Runtime, text: str, mode: Mode = Mode.HUMAN) -> str | None:
    """The provider's answer to a text; ``None`` if it is empty. Posts nothing.

    :raises ProviderError: There is no provider, or its answer is not a reply.
    :raises ProviderFailedError: The provider raised.
    """
    turn = Turn(text=text, mode=mode)
    provider = runtime.providers.find(turn.mode, None)

    if provider is None:
        raise NoProviderError(
            f"No reply provider is registered for mode {mode} in every inbox."
        )

    answer = ask(runtime.app, provider, turn)
    texts = map(text_of, answer.replies) if answer else ()

    return "\n\n".join(text for text in texts if is_visible(text)) or None
