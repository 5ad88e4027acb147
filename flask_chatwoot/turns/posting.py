"""Post a draft once, even if requests fail or the process ends.

Chatwoot's API has no idempotency key: a request that is repeated makes a second
message. So the intent is stored before the request is sent, and before it is sent
*again* the message is searched for in Chatwoot.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import typing as t
from dataclasses import dataclass, field

from flask import Flask

from flask_chatwoot import signals
from flask_chatwoot.background import BackgroundThread, Forkable, register_for_forks
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.config import MARGIN
from flask_chatwoot.errors import (
    APIError,
    ChatwootError,
    DatabaseError,
    LeaseLostError,
    UnknownError,
)
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.mentions import defuse
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.outbox import Draft, Outbox

from .evidence import Evidence

_STORE_EVERY: t.Final = 0.5
"""Seconds between two attempts to store the id of a message."""

_STORE_FOR: t.Final = 3600.0
"""Seconds after which no more attempts are made."""


class Post(t.NamedTuple):
    """A message about to be created in Chatwoot, or just attempted.

    :ivar content: As the provider gave it, or one part of it if it was too long. In a
        note, mentions of operators are plain text.
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


Expect = t.Callable[[], None]
"""Raises if a post may not be made any more."""


class TooSoonError(ChatwootError):
    """A request whose result is unknown may still take effect.

    :ivar seconds: How long to wait before the next search.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__("The last request may still be under way.")
        self.seconds = seconds


class UnstoredIds(Forkable):
    """Ids of messages that Chatwoot has and the database could not store. Thread-safe.

    A thread stores them as soon as the database can be written again: before that, the
    next attempt would not know of the post, if no message can be listed. After
    :data:`_STORE_FOR` it gives up.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._lock = threading.Lock()
        self._ids: dict[int, tuple[Draft, int, float]] = {}
        self._thread = BackgroundThread(
            "chatwoot-ids",
            self._store_all,
            busy=lambda: bool(self._ids),
            every=lambda: _STORE_EVERY,
        )
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """They are the parent's."""
        self._lock = threading.Lock()
        self._ids = {}

    def add(self, draft: Draft, message_id: int) -> None:
        """Store an id later."""
        with self._lock:
            self._ids[draft.id] = draft, message_id, time.monotonic() + _STORE_FOR

        # Without a thread, the next attempt of this process stores it.
        with contextlib.suppress(RuntimeError):
            self._thread.ensure()

    def get(self, draft: Draft) -> int | None:
        """The id of a draft's message, if it is not stored yet."""
        with self._lock:
            known = self._ids.get(draft.id)

        return None if known is None else known[1]

    def forget(self, draft: Draft) -> None:
        """Do not store an id: it is stored."""
        with self._lock:
            self._ids.pop(draft.id, None)

    def _store_all(self) -> None:
        with self._lock:
            waiting = list(self._ids.values())

        for draft, message_id, until in waiting:
            try:
                self._outbox.posted(draft, message_id)
            except DatabaseError:
                if time.monotonic() < until:
                    continue

            self.forget(draft)


@dataclass(eq=False, repr=False, kw_only=True)
class Poster:
    """Posts the drafts of one app's jobs. Threads share it.

    :ivar reader: With the token that may list messages, if any may.
    :ivar passed: Returns the seconds since a stored time; see :func:`.passed`.
    :ivar settle_time: Seconds after which a request without an answer that left no
        trace counts as lost.
    """

    app: Flask
    client: ChatwootClient
    reader: ChatwootClient
    outbox: Outbox
    passed: t.Callable[[float], float]
    settle_time: float
    _evidence: Evidence = field(init=False)
    _unstored: UnstoredIds = field(init=False)

    def __post_init__(self) -> None:
        self._unstored = UnstoredIds(self.outbox)
        self._evidence = Evidence(
            client=self.client, reader=self.reader, outbox=self.outbox
        )

    def ensure_posted(
        self,
        job: Job,
        draft: Draft,
        *,
        mode: Mode,
        settle: Settle | None = None,
        expect: Expect = lambda: None,
    ) -> int:
        """Post a draft unless Chatwoot has it; return its message id. Blocks.

        Searches for it first if a request may have been sent. Stores the id.

        :param mode: Of the turn, for the signals.
        :param settle: Settles the job with its last post, instead of keeping the id
            alone: one commit less.
        :param expect: Called right before the request, after the receivers of
            ``before_post``. If it raises, nothing is sent.
        :raises APIError: Chatwoot does not have it, or that is unknown.
        :raises TooSoonError: It may still arrive; nothing was sent.
        :raises DatabaseError: Nothing was sent, or the id could not be kept.
        """
        message_id = self.find(job, draft)

        if message_id is None:
            keep = settle or functools.partial(self.outbox.posted, draft)
            return self._post(job, draft, mode, keep, expect)

        if settle is not None:
            settle(message_id)

        return message_id

    def _post(
        self, job: Job, draft: Draft, mode: Mode, keep: Settle, expect: Expect
    ) -> int:
        # Also of a reply that became a note just now. What is sent is stored, so that
        # it is recognised in Chatwoot by its text.
        if draft.private:
            draft = draft._replace(content=defuse(draft.content))

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
            expect()
            self._begin(job, draft)
            message_id = self._create(job, draft, post)
            self._keep(draft, message_id, keep)
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

    def _begin(self, job: Job, draft: Draft) -> None:
        """Record that a request begins now, and that there is time for it."""
        looked = time.monotonic()
        self.outbox.sending(job, draft, reserve=self.client.timeout + MARGIN)

        # What is recorded stays: it may be another worker's request by now.
        if time.monotonic() - looked > MARGIN:
            raise LeaseLostError(f"Job {job.id} stood still right before its post.")

    def _keep(
        self, draft: Draft, message_id: int, keep: t.Callable[[int], None]
    ) -> None:
        try:
            keep(message_id)
        except LeaseLostError:  # the id is stored
            raise
        except DatabaseError:
            self._unstored.add(draft, message_id)
            raise

    def find(self, job: Job, draft: Draft) -> int | None:
        """The message id of a draft that Chatwoot has; ``None`` if it has none.

        Posts nothing; lists messages if a request may have been sent.

        :raises APIError: The messages could not be listed.
        :raises TooSoonError: The request may still take effect.
        """
        if draft.message_id is not None or draft.sent_at is None:
            return draft.message_id

        message_id = self._unstored.get(draft) or self._evidence.find(job, draft)

        if message_id is not None:
            self.outbox.posted(draft, message_id)
            self._unstored.forget(draft)
            return message_id

        # Chatwoot may still work on a request that timed out here. It ends requests
        # after RACK_TIMEOUT_SERVICE_TIMEOUT, 15 s unless set
        # (config/initializers/rack_timeout.rb).
        last_sign = draft.unconfirmed_at or draft.sent_at
        wait = self.settle_time - self.passed(last_sign)

        if wait > 0:
            # No longer than that, even if the clock was set back meanwhile.
            raise TooSoonError(min(wait, self.settle_time))

        return None

    def _create(self, job: Job, draft: Draft, post: Post) -> int:
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
            if isinstance(error, UnknownError):
                self.outbox.unconfirmed(draft)
                self._evidence.learn_markers()
            else:
                self.outbox.unsent(job, draft)

            raise
