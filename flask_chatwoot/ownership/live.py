"""The live state of conversations: what Chatwoot's API shows now."""

from __future__ import annotations

import logging
import time
import typing as t
from dataclasses import dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import PermanentError
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation

RETRY_AFTER: t.Final = 600.0
"""Seconds after which a refused read is repeated."""

REFUSALS: t.Final = 3
"""After so many refused conversations, and none that was read, no other is tried."""

log = logging.getLogger(__name__)


@dataclass(eq=False, repr=False, kw_only=True)
class LiveState:
    """Reads conversations from Chatwoot. Thread-safe.

    An operator's token may read the conversations of some Chatwoot inboxes only; a
    bot's token may read none before Chatwoot 4.14.2. A refused read is repeated after
    :data:`RETRY_AFTER`.

    :ivar client: Has the token with the most rights to read.
    """

    client: ChatwootClient
    _reads: bool = field(default=False, init=False)
    _blind_until: float = field(default=0.0, init=False)
    _refused: dict[int, float] = field(default_factory=dict, init=False)

    def conversation(self, conversation_id: int) -> Conversation | None:
        """The conversation as it is now; ``None`` if the token may not read it.

        Blocks for one request.

        :raises APIError: The request failed.
        """
        now = time.monotonic()

        if now < max(self._blind_until, self._refused.get(conversation_id, 0.0)):
            return None

        try:
            found = self.client.conversation(conversation_id)
        except PermanentError as error:
            if error.status not in (401, 403):
                raise

            # Then the state in deliveries counts. A token that may do nothing at all
            # fails at the post; one that is being replaced may read again soon.
            if not error.bad_token:
                self._note_refusal(conversation_id, now)

            return None

        self._reads = True

        return found

    def messages(self, conversation_id: int, after: int) -> list[ChatwootMessage]:
        """Messages newer than an id, oldest first; none if the token may not list them.

        :raises APIError: The request failed.
        """
        try:
            return self.client.messages(conversation_id, after=after)
        except PermanentError as error:
            if error.status not in (401, 403):
                raise

            return []

    def time(self) -> float | None:
        """Chatwoot's time, Unix seconds; ``None`` if it does not say.

        :raises APIError: The request failed.
        """
        return self.client.server_time()

    def _note_refusal(self, conversation_id: int, now: float) -> None:
        still = {key: at for key, at in list(self._refused.items()) if at > now}
        self._refused = {**still, conversation_id: now + RETRY_AFTER}

        if not still:
            log.info(
                "the token may not read conversations; deliveries are used instead"
            )

        if not self._reads and len(self._refused) >= REFUSALS:
            self._blind_until = now + RETRY_AFTER
