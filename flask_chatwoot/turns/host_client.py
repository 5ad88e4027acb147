"""The client that hosts use: the database knows what they post with it."""

from __future__ import annotations

import re
import typing as t

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.client.connections import LONGEST_ANSWER
from flask_chatwoot.errors import APIError, DatabaseError, UnknownError
from flask_chatwoot.logs import about, logger
from flask_chatwoot.ownership.attributes import ToldAttributes
from flask_chatwoot.payloads.fields import (
    MARKER,
    Object,
    Upload,
    as_id,
    as_object,
    as_text,
)
from flask_chatwoot.queue.host_posts import HostPost, HostPosts

log = logger(__name__)

T = t.TypeVar("T")


class HostClient(ChatwootClient):
    """A client whose posts are this app's, and not an operator's, whoever's the token.

    Each message gets a marker, or the ``marker`` that is given, and is recorded before
    its request goes out.

    :raises DatabaseError: A message could not be recorded; it was not sent.
    """

    def __init__(
        self, client: ChatwootClient, posts: HostPosts, told: ToldAttributes
    ) -> None:
        super().__init__(
            client.base_url, client.account_id, client._token, client.timeout
        )
        self._posts = posts
        self._told = told

    def set_custom_attributes(
        self, conversation_id: int, values: Object, *, merge: bool = False
    ) -> Object:
        """Write custom attributes; a hand-off after that keeps them."""
        written = super().set_custom_attributes(conversation_id, values, merge=merge)
        self._record(lambda: self._told.wrote(conversation_id, written))

        return written

    def call(
        self,
        method: str,
        path: str,
        body: t.Mapping[str, t.Any] | None = None,
        *,
        params: t.Mapping[str, t.Any] | None = None,
        timeout: float | None = None,
        limit: int = LONGEST_ANSWER,
    ) -> t.Any:
        """Call any other endpoint. Messages that it posts are recorded as well."""

        def send(body: t.Mapping[str, t.Any] | None) -> t.Any:
            return super(HostClient, self).call(
                method, path, body, params=params, timeout=timeout, limit=limit
            )

        found = _Posted.of(method, path, body)

        if found is None:
            return send(body)

        message = found.message
        marker = as_text(as_object(message.get("content_attributes")).get(MARKER))
        post = self._posts.begin(
            found.conversation_id,
            as_text(message.get("content")) or "",
            private=bool(message.get("private")),
            marker=marker,
        )

        with about(found.conversation_id):
            return self._send(
                post, lambda: send(found.marked(post.marker)), found.id_in
            )

    def _create(
        self,
        conversation_id: int,
        content: str,
        marker: str | None,
        files: t.Sequence[Upload],
        *,
        choices: t.Sequence[tuple[str, str]] = (),
        private: bool = False,
    ) -> int:
        post = self._posts.begin(
            conversation_id, content, private=private, files=len(files), marker=marker
        )
        create = super()._create

        def send() -> int:
            return create(
                conversation_id,
                content,
                post.marker,
                files,
                choices=choices,
                private=private,
            )

        with about(conversation_id):
            return self._send(post, send, lambda message_id: message_id)

    def _send(
        self,
        post: HostPost,
        send: t.Callable[[], T],
        id_in: t.Callable[[T], int | None],
    ) -> T:
        try:
            answer = send()
        except APIError as error:
            # Otherwise it may have been made, and its delivery may still come.
            if not isinstance(error, UnknownError):
                self._record(lambda: self._posts.unmade(post))

            raise

        message_id = id_in(answer)

        if message_id is not None:
            self._record(lambda: self._posts.made(post, message_id))

        return answer

    def _record(self, write: t.Callable[[], None]) -> None:
        """Write what follows from an answer. An error would make the host repeat it."""
        try:
            write()
        except DatabaseError as error:
            log.warning("what the host did in Chatwoot was not recorded: %s", error)


class _Posted(t.NamedTuple):
    """A message in a request to any endpoint.

    :ivar conversation_id: 0: it begins a conversation.
    """

    conversation_id: int
    body: Object
    message: Object

    def __repr__(self) -> str:
        return f"<Post in conversation {self.conversation_id}>"

    @classmethod
    def of(cls, method: str, path: str, body: Object | None) -> t.Self | None:
        """The message that a request posts; ``None`` if it posts none."""
        place = re.fullmatch(r"/conversations(?:/(\d+)/messages)?/?", path)

        if method.upper() != "POST" or place is None or body is None:
            return None

        if place[1] is None:
            conversation_id, message = 0, as_object(body.get("message"))
        else:
            conversation_id, message = int(place[1]), body

        # In an API inbox, an app may pass on what customers write.
        if not message or message.get("message_type") == "incoming":
            return None

        return cls(conversation_id, body, message)

    def marked(self, marker: str) -> Object:
        """The body of the request, with a marker."""
        attributes = as_object(self.message.get("content_attributes"))
        change = {"content_attributes": {**attributes, MARKER: marker}}

        if self.message is self.body:
            return {**self.body, **change}

        return {**self.body, "message": {**self.message, **change}}

    def id_in(self, answer: t.Any) -> int | None:
        """The id of the message, from the answer: the message or the conversation."""
        found = as_object(answer)

        if not self.conversation_id:
            found = as_object(found.get("last_non_activity_message"))

        return as_id(found.get("id"))
