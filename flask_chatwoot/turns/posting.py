"""Post a draft once, even if requests fail or the process ends.

Chatwoot's API has no idempotency key: a request that is repeated makes a second
message. So the intent is stored before the request is sent, and before it is sent
*again* the message is searched for in Chatwoot.
"""

from __future__ import annotations

import functools
import time
import typing as t
from dataclasses import dataclass

from flask import Flask

from flask_chatwoot import signals
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import (
    APIError,
    ChatwootError,
    TransientError,
)
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.conversation import ChatwootMessage, is_post_of
from flask_chatwoot.queue.jobs import Job
from flask_chatwoot.queue.outbox import Draft, Outbox

_PAGE: t.Final = 100
"""Messages that Chatwoot lists after one (``app/finders/message_finder.rb``)."""

_PAGES: t.Final = 10
"""Pages to search for a post."""


class Post(t.NamedTuple):
    """A message about to be created in Chatwoot, or just attempted.

    :ivar content: As the provider gave it, or one part of it if it was too long.
    :ivar private: A note that only operators see.
    :ivar attempt: From 1; higher when this turn was tried before.
    """

    account_id: int
    conversation_id: int
    content: str
    private: bool
    mode: Mode
    attempt: int

    def __repr__(self) -> str:
        kind = "note" if self.private else "message"

        return f"<Post of a {kind} in conversation {self.conversation_id}>"


Settle = t.Callable[[int], None]
"""Settles a job and keeps the message id of its last post, in one commit."""


class TooSoonError(ChatwootError):
    """A request whose result is unknown may still take effect.

    :ivar seconds: How long to wait before the next search.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__("The last request may still be under way.")
        self.seconds = seconds


@dataclass(eq=False, repr=False, kw_only=True)
class Poster:
    """Posts the drafts of one app's jobs. Threads share it.

    :ivar reader: With the token that may list messages, if any may.
    :ivar settle_time: Seconds after which a request without an answer that left no
        trace counts as lost.
    """

    app: Flask
    client: ChatwootClient
    reader: ChatwootClient
    outbox: Outbox
    clock: t.Callable[[], float]
    settle_time: float

    def ensure_posted(
        self, job: Job, draft: Draft, *, mode: Mode, settle: Settle | None = None
    ) -> int:
        """Post a draft unless Chatwoot has it; return its message id. Blocks.

        Searches for it first if a request may have been sent. Stores the id.

        :param mode: Of the turn, for the signals.
        :param settle: Settles the job with its last post, instead of keeping the id
            alone: one commit less.
        :raises APIError: Chatwoot does not have it, or that is unknown.
        :raises TooSoonError: It may still arrive; nothing was sent.
        :raises DatabaseError: Nothing was sent, or the id could not be kept.
        """
        message_id = self.find(job, draft)

        if message_id is None:
            keep = settle or functools.partial(self.outbox.posted, draft)
            return self._post(job, draft, mode, keep)

        if settle is not None:
            settle(message_id)

        return message_id

    def _post(
        self, job: Job, draft: Draft, mode: Mode, keep: t.Callable[[int], None]
    ) -> int:
        post = Post(
            account_id=self.client.account_id,
            conversation_id=job.conversation_id,
            content=draft.content,
            private=draft.private,
            mode=mode,
            attempt=job.attempts,
        )
        message_id: int | None = None
        failure: Exception | None = None
        signals.send(signals.before_post, self.app, post=post)
        started = time.perf_counter()

        try:
            self.outbox.sending(job, draft)
            message_id = self._create(draft, post)
            keep(message_id)
        except Exception as error:
            failure = error
            raise
        finally:
            signals.send(
                signals.after_post,
                self.app,
                post=post,
                message_id=message_id,
                error=failure,
                seconds=time.perf_counter() - started,
            )

        return message_id

    def find(self, job: Job, draft: Draft) -> int | None:
        """The message id of a draft that Chatwoot has; ``None`` if it has none.

        Posts nothing; lists messages if a request may have been sent.

        :raises APIError: The messages could not be listed.
        :raises TooSoonError: The request may still take effect.
        """
        if draft.message_id is not None or draft.tried_at is None:
            return draft.message_id

        message_id = self._look(job, draft)

        if message_id is not None:
            self.outbox.posted(draft, message_id)
            return message_id

        # Chatwoot may still work on a request that timed out here. It ends requests
        # after RACK_TIMEOUT_SERVICE_TIMEOUT, 15 s unless set
        # (config/initializers/rack_timeout.rb).
        wait = draft.tried_at + self.settle_time - self.clock()

        if wait > 0:
            # No longer than that, even if the clock was set back meanwhile.
            raise TooSoonError(min(wait, self.settle_time))

        return None

    def _create(self, draft: Draft, post: Post) -> int:
        uploads = self.outbox.files(draft) if draft.files else []

        try:
            # Two calls, so that no mistake with a flag turns a note into a message.
            if draft.private:
                return self.client.create_note(
                    post.conversation_id,
                    draft.content,
                    marker=draft.marker,
                    files=uploads,
                )

            return self.client.create_message(
                post.conversation_id,
                draft.content,
                marker=draft.marker,
                choices=draft.choices,
                files=uploads,
            )
        except APIError as error:
            if _did_nothing(error):
                self.outbox.unsent(draft)
            else:
                self.outbox.unconfirmed(draft)

            raise

    # -- evidence --------------------------------------------------------------

    def _look(self, job: Job, draft: Draft) -> int | None:
        """The post of a draft in Chatwoot's list of messages, or ``None``."""
        after = job.message_id

        for _ in range(_PAGES):
            page = self._page(job.conversation_id, after)

            for message in page:
                if message.id > after and self._is_it(message, draft):
                    return message.id

                after = max(after, message.id)

            if len(page) < _PAGE:
                return None

        return None

    def _is_it(self, message: ChatwootMessage, draft: Draft) -> bool:
        return is_post_of(draft, message) and not self.outbox.is_ours(
            message.id, but=draft
        )

    def _page(self, conversation_id: int, after: int) -> list[ChatwootMessage]:
        try:
            return self.reader.messages(conversation_id, after=after)
        except APIError as error:
            # A bot's token may never list messages. Then the delivery of the post on
            # our own webhook is all the evidence there can be.
            if error.status == 401:
                return []

            raise


def _did_nothing(error: APIError) -> bool:
    """Whether the refused request surely made no message.

    A 5xx does not say: Chatwoot, or a proxy before it, may have failed afterwards.
    """
    if isinstance(error, TransientError):
        return error.status is None or error.status < 500

    return error.kind == "permanent"
