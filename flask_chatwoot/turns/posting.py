"""Bring a draft into Chatwoot once, whatever happens on the way.

Chatwoot knows no idempotency: a request that is repeated makes a second message. So
before it is sent its intent is on disk, and before it is sent *again* the message is
looked for in Chatwoot.
"""

import time
import typing as t
from dataclasses import dataclass

from flask import Flask

from flask_chatwoot import signals
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, ChatwootError, TransientError
from flask_chatwoot.outcomes import TurnOutcome
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.fields import Object, Upload, as_id, as_text
from flask_chatwoot.payloads.liquid import escape
from flask_chatwoot.queue.inspection import Draft
from flask_chatwoot.queue.jobs import Inbox, Job
from flask_chatwoot.replies import Turn

_PAGES: t.Final = 10
"""Pages of 100 messages to look through for a post."""


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


class Ending(t.NamedTuple):
    """How a turn ended.

    :ivar reason: One of :class:`Reason`, or what the host's policy said.
    :ivar settled: The inbox knows it already.
    """

    outcome: TurnOutcome
    reason: str | None = None
    settled: bool = False


class TooSoonError(ChatwootError):
    """A request whose fate is unknown may still show its effect.

    :ivar seconds: How long to wait before looking again.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__("The last request may still be under way.")
        self.seconds = seconds


@dataclass(eq=False, repr=False, kw_only=True)
class Poster:
    """Posts the drafts of one app's jobs. Threads share it.

    :ivar reader: Whose token may list messages, if any may.
    :ivar settle_time: Seconds after which a request without an answer that left no
        trace is taken for lost.
    """

    app: Flask
    client: ChatwootClient
    reader: ChatwootClient
    inbox: Inbox
    settle_time: float

    def post(
        self, job: Job, turn: Turn, draft: Draft, *, ending: Ending | None = None
    ) -> int:
        """Create a message in Chatwoot; return its id. Blocks.

        Only after :meth:`arrived` has said that it is not there.

        :param ending: How the turn ends if this was its last draft. Then the job is
            settled in the same step as the post is noted: every write that is forced
            to the disk costs a fourth of the request.
        :raises APIError: Chatwoot does not have it, or nobody knows.
        :raises DatabaseError: Nothing was sent, or what was made could not be noted.
        """
        post = Post(
            account_id=self.client.account_id,
            conversation_id=job.conversation_id,
            content=draft.content,
            private=draft.private,
            mode=turn.mode,
            attempt=job.attempts,
        )
        message_id: int | None = None
        failure: Exception | None = None
        signals.send(signals.before_post, self.app, post=post)
        started = time.perf_counter()

        try:
            self.inbox.sending(job, draft)
            message_id = self._create(draft, post)
            self._note(job, draft, message_id, ending)
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

    def _note(
        self, job: Job, draft: Draft, message_id: int, ending: Ending | None
    ) -> None:
        if ending is None:
            self.inbox.posted(draft, message_id)
        else:
            self.inbox.finish(job, draft, message_id, ending.outcome, ending.reason)

    def _create(self, draft: Draft, post: Post) -> int:
        try:
            return self._call(draft, post.conversation_id)
        except APIError as error:
            if _did_nothing(error):
                self.inbox.unsent(draft)
            else:
                self.inbox.unanswered(draft)

            raise

    def _call(self, draft: Draft, conversation_id: int) -> int:
        files = (
            [Upload(*file) for file in self.inbox.files(draft)] if draft.files else []
        )

        # Two calls, so that no mistake with a flag turns a note into a message.
        if draft.private:
            return self.client.create_note(
                conversation_id, draft.content, marker=draft.marker, files=files
            )

        return self.client.create_message(
            conversation_id,
            draft.content,
            marker=draft.marker,
            choices=draft.choices,
            files=files,
        )

    # -- evidence --------------------------------------------------------------

    def arrived(self, job: Job, draft: Draft) -> bool:
        """Whether Chatwoot has the draft. Sends nothing; may ask Chatwoot.

        :raises APIError: Chatwoot can not be asked.
        :raises TooSoonError: Nobody can know yet.
        """
        if draft.message_id is not None or draft.sent_at is None:
            return draft.message_id is not None

        message_id = self._find(job, draft)

        if message_id is not None:
            self.inbox.posted(draft, message_id)
            return True

        # Chatwoot may be slow to obey a request we have given up on. It ends requests
        # after RACK_TIMEOUT_SERVICE_TIMEOUT, 15 s unless set
        # (config/initializers/rack_timeout.rb).
        wait = draft.sent_at + self.settle_time - self.inbox.clock()

        if wait > 0:
            # No longer than that, even if the clock was set back meanwhile.
            raise TooSoonError(min(wait, self.settle_time))

        return False

    def _find(self, job: Job, draft: Draft) -> int | None:
        """The post of a draft in Chatwoot's message list, or ``None``."""
        after = job.message_id

        for _ in range(_PAGES):
            page = self._page(job.conversation_id, after)

            for message in page:
                message_id = as_id(message.get("id")) or after
                is_new = message_id > after
                after = max(after, message_id)

                if (
                    is_new
                    and is_post_of(draft, message)
                    and not self.inbox.made(message_id, but=draft)
                ):
                    return message_id

            if len(page) < 100:
                return None

        return None

    def _page(self, conversation_id: int, after: int) -> list[dict[str, t.Any]]:
        try:
            return self.reader.messages(conversation_id, after=after)
        except APIError as error:
            # A bot's token may never list messages. Then the echo of the post on our
            # own webhook is all the evidence there can be.
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


def is_post_of(draft: Draft, message: Object) -> bool:
    """Whether a message, from a webhook or from the API, is the post of a draft."""
    marker = events.marker_of(message)

    if marker is not None:
        return marker == draft.marker

    # Before 4.9 Chatwoot drops the marker (app/builders/messages/message_builder.rb).
    content = as_text(message.get("content")) or ""

    return (
        message.get("message_type") in ("outgoing", 1)
        and (message.get("private") is True) == draft.private
        and content.strip() in (draft.content.strip(), escape(draft.content).strip())
    )
