"""Suggestions for operators, without a conversation."""

from __future__ import annotations

import typing as t

from flask_chatwoot.errors import NoProviderError
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.conversation import Contact
from flask_chatwoot.replies import Turn
from flask_chatwoot.runtime import Runtime
from flask_chatwoot.turns.providers import ask, provider_for

from .answers import text_in

SAMPLE: t.Final = Contact(name="Ada Lovelace")
"""Who asks where a provider is only tried, as in the simulator."""


def suggest(
    runtime: Runtime,
    text: str,
    mode: Mode = Mode.HUMAN,
    *,
    contact: Contact | None = None,
) -> str | None:
    """The provider's answer to a text; ``None`` if it is empty. Posts nothing.

    :param contact: ``None`` if it is not known who asks.
    :raises ProviderError: There is no provider, or its answer is not a reply.
    :raises ProviderFailedError: The provider raised.
    """
    turn = Turn(text=text, mode=mode, contact=contact or Contact())
    provider = provider_for(runtime.providers, turn)

    if provider is None:
        raise NoProviderError(
            f"No reply provider is registered for mode {mode} and all inboxes; each "
            "has another mode, or an inbox_id."
        )

    return text_in(ask(runtime.app, provider, turn))
