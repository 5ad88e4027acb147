"""The requests of a sweep: limited in number, time and size."""

from __future__ import annotations

import math
import time
import typing as t

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, TooLargeError, TransientError
from flask_chatwoot.payloads.listed import (
    ListedConversation,
    ListedMessage,
    conversations_in,
    messages_in,
)


class Limits(t.NamedTuple):
    """Limits for one answer.

    :ivar seconds: In all.
    :ivar size: Bytes, after decompression.
    """

    seconds: float
    size: int


LIST: t.Final = Limits(seconds=30.0, size=64 * 1024 * 1024)
"""For the list of conversations, which is not paged: about 3 KB each."""

PAGE_SIZE: t.Final = 32 * 1024 * 1024
"""Bytes of twenty messages, each of which may be a long e-mail."""

PAUSE: t.Final = 0.2
"""Seconds between the beginnings of two requests."""

CLOCK_MARGIN: t.Final = 60.0
"""Seconds. Chatwoot counts by its own clock, and saves before it can be listed."""

SMALLEST_WINDOW: t.Final = 300.0

T = t.TypeVar("T")


class Reader:
    """Asks Chatwoot. Each method blocks, and raises an :class:`.APIError` on failure.

    :param before: Called before each request with the seconds that it may take.
    :param wait: Blocks for some seconds.
    """

    def __init__(
        self,
        client: ChatwootClient,
        *,
        before: t.Callable[[float], None] = lambda seconds: None,
        wait: t.Callable[[float], object] = time.sleep,
    ) -> None:
        self._client = client
        self._before = before
        self._wait = wait
        self._next_at = 0.0

    def conversations(
        self, within: float, inbox_id: int | None = None
    ) -> list[ListedConversation]:
        """The conversations that changed within so many seconds.

        :param inbox_id: ``None``: in all Chatwoot inboxes.
        :raises TooLargeError: The list is too long.
        """
        parameters = {
            "status": "all",
            "assignee_type": "all",
            "updated_within": math.ceil(within + CLOCK_MARGIN),
            "inbox_id": inbox_id,
        }

        return self._get("/conversations", conversations_in, LIST, parameters)

    def conversations_by_inbox(
        self, within: float, inboxes: t.Iterable[int]
    ) -> tuple[list[ListedConversation], bool]:
        """The same, with a request for each Chatwoot inbox.

        :return: The conversations, and whether they are all.
        """
        found: list[ListedConversation] = []
        complete = True

        for inbox_id in inboxes:
            seconds = within

            while True:
                try:
                    found += self.conversations(seconds, inbox_id)
                    break
                except TooLargeError:
                    complete, seconds = False, seconds / 2

                    if seconds < SMALLEST_WINDOW:
                        break

        return found, complete

    def messages(
        self, conversation_id: int, before: int | None = None
    ) -> list[ListedMessage]:
        """Twenty messages of a conversation, oldest first.

        :param before: Only those before this one; ``None``: the newest.
        """
        path = f"/conversations/{conversation_id}/messages"

        return self._get(path, messages_in, self._page, {"before": before})

    @property
    def _page(self) -> Limits:
        return Limits(self._client.timeout, PAGE_SIZE)

    def _get(
        self,
        path: str,
        read: t.Callable[[t.Any], T | None],
        limits: Limits,
        parameters: t.Mapping[str, t.Any],
    ) -> T:
        self._before(limits.seconds)
        self._wait(max(self._next_at - time.monotonic(), 0.0))
        self._next_at = time.monotonic() + PAUSE
        answer = self._client.call(
            "GET", path, params=parameters, timeout=limits.seconds, limit=limits.size
        )
        found = read(answer)

        if found is None:
            raise TransientError(
                "the answer is not Chatwoot's.", endpoint=f"GET {path}"
            )

        return found


def attempts_at(error: APIError) -> int:
    """How many sweeps try to read a conversation that is answered like this.

    One conversation must not keep all others from being read.
    """
    if isinstance(error, TooLargeError) or error.status == 404:
        return 1

    return 2 if error.status in (401, 403) else 5
