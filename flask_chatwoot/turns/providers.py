"""Calls the host's reply function."""

from __future__ import annotations

from flask import Flask

from flask_chatwoot.errors import (
    GiveUp,
    NoProviderError,
    ProviderError,
    ProviderFailedError,
    trace,
)
from flask_chatwoot.replies import Answer, Provider, Registry, Turn, as_answer


def provider_for(providers: Registry, turn: Turn) -> Provider | None:
    """The provider that answers a turn; ``None`` if none is registered for its place.

    :raises NoProviderError: None is registered at all.
    """
    provider = providers.find(turn.mode, turn.inbox_id)

    if provider is None and not providers:
        raise NoProviderError(
            "No reply provider is registered; decorate a function with "
            "@chatwoot.reply_provider where the app is made."
        )

    return provider


def can_read(provider: Provider, turn: Turn) -> bool:
    """Whether a turn has something for a provider, which may take its text alone."""
    return bool(turn.text.strip() or (provider.takes_turn and turn.attachments))


def ask(app: Flask, provider: Provider, turn: Turn) -> Answer | None:
    """Call a provider; its answer, or ``None`` if it has none. Blocks while it works.

    :raises GiveUp: It raised that.
    :raises ProviderError: Its answer is not a reply, or it cannot be called.
    :raises ProviderFailedError: It raised.
    """
    try:
        function = app.ensure_sync(provider.function)
    except RuntimeError as error:  # an "async def", and Flask's extra is missing
        raise ProviderError(str(error)) from None

    try:
        answer = function(*provider.arguments(turn))
    except (KeyboardInterrupt, GiveUp):
        raise
    # Any error of the host's code, sys.exit() and cancelled tasks included.
    except BaseException as error:
        raise ProviderFailedError(
            f"The reply provider raised {trace(error)}"
        ) from error

    return as_answer(answer, provider.function)
