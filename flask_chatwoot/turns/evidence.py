"""Looks in Chatwoot for the post of a draft.

The evidence, best first: the message's id, which the draft then has; its marker; on a
server that keeps no markers, its text and files; and on one that does, a message by the
author of our posts that has lost its marker, because an operator deleted it or had it
sent again. That one counts, because a reply must not come back after it was deleted. If
there is none of these, the request is not known to have failed: it may still be under
way, for as long as the settle time.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError
from flask_chatwoot.logs import logger
from flask_chatwoot.payloads import versions
from flask_chatwoot.payloads.conversation import (
    ChatwootMessage,
    is_post_of,
    may_have_lost_marker,
)
from flask_chatwoot.payloads.fields import as_id
from flask_chatwoot.payloads.listed import PAGE_AFTER
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.outbox import Draft, Outbox

_PAGES: t.Final = 10
"""Pages to search for a post."""

_VERSION_TTL: t.Final = 3600.0
"""Seconds after which an old server's version is requested again."""

log = logger(__name__)


@dataclass(eq=False, repr=False, kw_only=True)
class Evidence:
    """Finds the posts of one app. Threads share it.

    :ivar client: Has the token that posts.
    :ivar reader: Has the token that may list messages, if any may.
    """

    client: ChatwootClient
    reader: ChatwootClient
    outbox: Outbox
    _ask_version_at: float = field(default=0.0, init=False)
    _author: tuple[str, int | None] | None = field(default=None, init=False)

    def find(self, job: Job, draft: Draft) -> int | None:
        """The message id of a draft's post, or ``None``. Blocks.

        :raises APIError: The messages could not be listed.
        """
        lost: list[ChatwootMessage] = []

        for message in self._since(job):
            if message.marker is not None:
                self.outbox.note_markers()

            if not self._may_be(message, draft):
                continue

            if is_post_of(draft, message, by_text=not self._keeps_markers()):
                return message.id

            if may_have_lost_marker(draft, message):
                lost.append(message)

        ours = [each.id for each in lost if self._is_by_us(each)]

        return min(ours, default=None)

    def _may_be(self, message: ChatwootMessage, draft: Draft) -> bool:
        """Whether a message may be a draft's post, and is not another's."""
        is_candidate = (
            message.marker == draft.marker
            if message.marker is not None
            else may_have_lost_marker(draft, message)
        )

        return is_candidate and not (
            self.outbox.is_ours(message.id, but=draft)
            or self.outbox.by_host.is_known(message.id)
        )

    def _since(self, job: Job) -> t.Iterator[ChatwootMessage]:
        """The messages after the customer's, oldest first."""
        after = job.message_id

        for _ in range(_PAGES):
            page = self._page(job.conversation_id, after)
            yield from (message for message in page if message.id > job.message_id)
            after = max([after, *(message.id for message in page)])

            if len(page) < PAGE_AFTER:
                return

    def _page(self, conversation_id: int, after: int) -> list[ChatwootMessage]:
        try:
            return self.reader.messages(conversation_id, after=after)
        except APIError as error:
            # A bot's token may never list messages. Then the delivery of the post on
            # our own webhook is all the evidence there can be.
            if not error.lacks_right:
                raise

            return []

    # -- the server, and who we are there ------------------------------------------

    def _keeps_markers(self) -> bool:
        """Whether the server keeps markers; false if its version is unknown."""
        if self.outbox.keeps_markers() or time.monotonic() < self._ask_version_at:
            return self.outbox.keeps_markers()

        try:
            version = self.reader.server_version()
        except APIError as error:
            log.debug("the server's version is unknown: %s", error)
            return False

        self._ask_version_at = time.monotonic() + _VERSION_TTL

        if versions.keeps_markers(version):
            self.outbox.note_markers()

        return versions.keeps_markers(version)

    def learn_markers(self) -> None:
        """Find out whether the server keeps markers, before a delivery asks for it."""
        self._keeps_markers()

    def _is_by_us(self, message: ChatwootMessage) -> bool:
        if message.author is None:
            return False

        kind, author_id = self._us()

        return message.author[0] == kind and author_id in (None, message.author[1])

    def _us(self) -> tuple[str, int | None]:
        """The author of our posts. Of a bot only the type is known."""
        if self._author is None:
            try:
                self._author = "user", as_id(self.client.profile().get("id"))
            except APIError as error:
                if not error.lacks_right:
                    raise

                self._author = "agent_bot", None

        return self._author
