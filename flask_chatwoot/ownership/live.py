"""The live state of conversations: what Chatwoot's API shows now."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import PermanentError
from flask_chatwoot.logs import logger
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation

RETRY_AFTER: t.Final = 600.0
"""Seconds after which a refused read is repeated."""

REFUSALS: t.Final = 3
"""After so many refused conversations, and none that was read, no other is tried."""

log = logger(__name__)


@dataclass(eq=False, repr=False)
class _Refusals:
    """Reads of one kind that were refused."""

    _reads: bool = field(default=False, init=False)
    _blind_until: float = field(default=0.0, init=False)
    _refused: dict[int, float] = field(default_factory=dict, init=False)

    def has(self, conversation_id: int) -> bool:
        """Whether a read was refused, and is not to be repeated yet."""
        until = max(self._blind_until, self._refused.get(conversation_id, 0.0))

        return time.monotonic() < until

    def clear(self) -> None:
        """Note that a conversation was read."""
        self._reads = True

    def add(self, conversation_id: int) -> bool:
        """Note a refusal; return whether there are no others."""
        now = time.monotonic()
        still = {key: at for key, at in list(self._refused.items()) if at > now}
        self._refused = {**still, conversation_id: now + RETRY_AFTER}

        if not self._reads and len(self._refused) >= REFUSALS:
            self._blind_until = now + RETRY_AFTER

        return not still


@dataclass(eq=False, repr=False, kw_only=True)
class LiveState:
    """Reads conversations from Chatwoot. Thread-safe.

    An operator's token may read the conversations of some Chatwoot inboxes only; a
    bot's token may read none before Chatwoot 4.14.2, and never lists messages. A
    refused read is repeated after :data:`RETRY_AFTER`.

    :ivar client: Has the token with the most rights to read.
    """

    client: ChatwootClient
    _shown: _Refusals = field(default_factory=_Refusals, init=False)
    _listed: _Refusals = field(default_factory=_Refusals, init=False)

    def conversation(self, conversation_id: int) -> Conversation | None:
        """The conversation as it is now; ``None`` if the token may not read it.

        Blocks for one request.

        :raises APIError: The request failed.
        """
        if self._shown.has(conversation_id):
            return None

        try:
            found = self.client.conversation(conversation_id)
        except PermanentError as error:
            # Then the state in deliveries counts. A token that may do nothing at all
            # fails at the post; one that is being replaced may read again soon.
            if _noted(error, self._shown, conversation_id):
                log.debug(
                    "the token may not read conversations; deliveries are used instead"
                )

            return None

        self._shown.clear()

        return found

    def messages(self, conversation_id: int, after: int) -> list[ChatwootMessage]:
        """Messages newer than an id, oldest first; none if the token may not list them.

        :raises APIError: The request failed.
        """
        return self._list(conversation_id, after=after)

    def messages_before(
        self, conversation_id: int, before: int | None
    ) -> list[ChatwootMessage]:
        """The newest messages before one, oldest first, like :meth:`messages`.

        :param before: ``None``: the newest of all.
        """
        return self._list(conversation_id, before=before)

    def time(self) -> float | None:
        """Chatwoot's time, Unix seconds; ``None`` if it does not say.

        :raises APIError: The request failed.
        """
        return self.client.server_time()

    def _list(
        self, conversation_id: int, **bounds: int | None
    ) -> list[ChatwootMessage]:
        if self._listed.has(conversation_id):
            return []

        try:
            found = self.client.messages(conversation_id, **bounds)
        except PermanentError as error:
            _noted(error, self._listed, conversation_id)
            return []

        self._listed.clear()

        return found


def _noted(error: PermanentError, refusals: _Refusals, conversation_id: int) -> bool:
    """Note that a read was refused; return whether it is the only one.

    :raises PermanentError: It failed for another reason.
    """
    if error.status not in (401, 403):
        raise error

    return not error.bad_token and refusals.add(conversation_id)
