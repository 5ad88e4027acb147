"""As whom the app posts: with a user's token, or as an agent bot."""

from __future__ import annotations

from dataclasses import dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError
from flask_chatwoot.logs import logger
from flask_chatwoot.payloads.conversation import (
    Assignee,
    ChatwootMessage,
    is_post_of,
)
from flask_chatwoot.queue.outbox import Outbox

from .store import OwnershipStore

log = logger(__name__)


@dataclass(eq=False, repr=False, kw_only=True)
class Identity:
    """As whom an app posts. Threads share it.

    :ivar client: With the app's own token.
    """

    client: ChatwootClient
    store: OwnershipStore
    _is_bot: bool | None = field(default=None, init=False)

    def is_bot(self) -> bool:
        """Whether the token is an agent bot's. Blocks once, for one request.

        Chatwoot refuses a bot its profile
        (``app/controllers/concerns/access_token_auth_helper.rb``).
        """
        if self._is_bot is None:
            try:
                self.client.profile()
            except APIError as error:
                if error.status != 401:
                    log.debug("it is unknown whose token this is: %s", error)
                    return False

                self._is_bot = True
            else:
                self._is_bot = False

        return self._is_bot

    def is_assigned(self, assignee: Assignee) -> bool:
        """Whether a conversation is assigned to this app's own bot."""
        if assignee.type != "agent_bot":
            return False

        # Its id shows with the delivery of its first post; until then any may be it.
        bots = self.store.bots()

        return assignee.id in bots if bots else self.is_bot()


def is_by_other_bot(message: ChatwootMessage, store: OwnershipStore) -> bool:
    """Whether another bot wrote a message. A post of this app must be known as one.

    A message with our marker is another instance's of this package, or one that this
    database has forgotten.
    """
    return (
        message.bot is not None
        and message.marker is None
        and message.bot not in store.bots()
    )


def is_ours(outbox: Outbox, conversation_id: int, message: ChatwootMessage) -> bool:
    """Whether this app or its host posted a message of Chatwoot."""
    # In this order: a post that is confirmed between the two is found by the second.
    drafts = outbox.under_way(conversation_id, message_id=message.id)
    posts = outbox.by_host.under_way(
        conversation_id, message_id=message.id, marker=message.marker
    )

    if drafts or posts:
        by_text = not outbox.keeps_markers()

        if any(is_post_of(each, message, by_text=by_text) for each in drafts):
            return True

        if any(
            is_post_of(each, message, by_text=by_text, blank=True) for each in posts
        ):
            return True

    return outbox.is_ours(message.id) or outbox.by_host.is_known(message.id)
