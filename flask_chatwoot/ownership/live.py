"""What Chatwoot says of a conversation now, as far as the token may read it."""

from __future__ import annotations

import logging
import time
import typing as t
from dataclasses import dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import PermanentError
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation

RETRY_AFTER: t.Final = 600.0
"""Seconds after which a read that was refused is tried again."""

REFUSALS: t.Final = 3
"""Conversations that were refused, with none that was read: the token reads none."""

log = logging.getLogger(__name__)


@dataclass(eq=False, repr=False, kw_only=True)
class LiveState:
    """Reads conversations from Chatwoot. Threads share it.

    An operator's token reads the conversations of some Chatwoot inboxes; a bot's reads
    none before Chatwoot 4.14.2. What is refused is not asked again for a while.

    :ivar client: With the token that may read most.
    """

    client: ChatwootClient
    _reads: bool = field(default=False, init=False)
    _blind_until: float = field(default=0.0, init=False)
    _refused: dict[int, float] = field(default_factory=dict, init=False)

    def conversation(self, conversation_id: int) -> Conversation | None:
        """The conversation as it is now; ``None`` if the token may not read it.

        Blocks while Chatwoot is asked.

        :raises APIError: Chatwoot could not be asked.
        """
        now = time.monotonic()

        if now < max(self._blind_until, self._refused.get(conversation_id, 0.0)):
            return None

        try:
            found = self.client.conversation(conversation_id)
        except PermanentError as error:
            if error.status not in (401, 403):
                raise

            # Then what deliveries told counts. A token that may do nothing at all
            # fails when it posts.
            self._note_refusal(conversation_id, now)
            return None

        self._reads = True

        return found

    def messages(self, conversation_id: int, after: int) -> list[ChatwootMessage]:
        """Messages newer than an id, oldest first; none if the token may not list them.

        :raises APIError: Chatwoot could not be asked.
        """
        try:
            return self.client.messages(conversation_id, after=after)
        except PermanentError as error:
            if error.status not in (401, 403):
                raise

            return []

    def _note_refusal(self, conversation_id: int, now: float) -> None:
        still = {key: at for key, at in list(self._refused.items()) if at > now}
        self._refused = {**still, conversation_id: now + RETRY_AFTER}

        if not still:
            log.info("the token may not read conversations; deliveries must do")

        if not self._reads and len(self._refused) >= REFUSALS:
            self._blind_until = now + RETRY_AFTER
