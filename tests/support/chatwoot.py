"""Chatwoot's API in memory, without a wire."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import typing as t

import requests
import responses
from urllib3 import exceptions as urllib3_errors
from urllib3.connection import HTTPConnection

from flask_chatwoot.simulator import payloads
from flask_chatwoot.simulator.payloads import (
    JSON,
    Agent,
    ConversationRecord,
    MessageRecord,
    MessageType,
)

BASE_URL: t.Final = "https://chatwoot.test"
TOKEN: t.Final = "token-of-a-user"


SAID: t.Final = '{"error": "Said by Chatwoot"}'
"""What Chatwoot writes when it refuses."""


class StubFault(t.NamedTuple):
    status: int
    headers: t.Mapping[str, str]
    error: Exception | None
    stored: bool


class ChatwootStub:
    """Chatwoot's message API without a wire.

    :ivar messages: Everything in every conversation, oldest first.
    :ivar attempts: The bodies of all requests to create a message.
    :ivar looks: How often messages were listed.
    :ivar lists: The status of an answer to that; 401 for a bot's token.
    :ivar tokens: Those that messages were made with.
    :ivar readers: Those that messages were listed with.
    :ivar keeps_markers: As Chatwoot does from 4.9 on.
    :ivar live: What a look at a conversation shows; ``None`` refuses it, as Chatwoot
        before 4.14.2 does to a bot's token.
    :ivar shows: The status of an answer to that look.
    :ivar changes: What was changed in conversations: the endpoint, and what was sent.
        Without the typing indicator, which may still be switched by an earlier test.
    :ivar change_faults: Statuses that the next changes are refused with.
    """

    def __init__(self) -> None:
        self.messages: list[JSON] = []
        self.attempts: list[JSON] = []
        self.looks = 0
        self.lists = 200
        self.keeps_markers = True
        self.live: JSON | None = None
        self.shows = 200
        self.changes: list[tuple[str, JSON]] = []
        self.change_faults: list[int] = []
        self.version: str | None = "4.16.2"
        self.tokens: set[str | None] = set()
        self.readers: set[str | None] = set()
        self._faults: list[StubFault] = []
        self._ids = itertools.count(20_001)
        self._lock = threading.Lock()

    def fail(
        self,
        how: int | Exception,
        *,
        times: int = 1,
        stored: bool = False,
        headers: t.Mapping[str, str] | None = None,
    ) -> None:
        """Let the next creations go wrong.

        :param stored: The message is made nevertheless.
        """
        status, error = (how, None) if isinstance(how, int) else (0, how)
        self._faults += [StubFault(status, headers or {}, error, stored)] * times

    def add(
        self,
        content: str,
        *,
        id: int | None = None,
        conversation_id: int = 42,
        private: bool = False,
        type: MessageType = MessageType.OUTGOING,
        attributes: JSON | None = None,
        sender: Agent | None = None,
    ) -> JSON:
        """Put a message into a conversation; by us, unless by another sender."""
        created = payloads.api_message(
            MessageRecord(
                id=next(self._ids) if id is None else id,
                content=content,
                private=private,
                type=type,
                sender=sender or Agent(),
                content_attributes=attributes or {},
            ),
            ConversationRecord(id=conversation_id),
        )
        self.messages.append(created)

        return created

    @property
    def public(self) -> list[str]:
        return [m["content"] for m in self.messages if not m["private"]]

    @property
    def notes(self) -> list[str]:
        return [m["content"] for m in self.messages if m["private"]]

    def install(self, mock: responses.RequestsMock) -> None:
        path = re.compile(
            rf"{BASE_URL}/api/v1/accounts/1/conversations/(\d+)/messages(\?.*)?"
        )
        mock.add_callback(responses.POST, path, self._create)
        mock.add_callback(responses.GET, path, self._list)
        mock.add_callback(responses.GET, f"{BASE_URL}/api", self._probe)
        mock.get(f"{BASE_URL}/api/v1/profile", json={"id": Agent().id})
        conversation = rf"{BASE_URL}/api/v1/accounts/1/conversations/\d+"
        mock.add_callback(responses.GET, re.compile(rf"{conversation}$"), self._show)
        mock.add_callback(
            responses.POST,
            re.compile(
                rf"{conversation}/(custom_attributes|toggle_\w+|assignments|labels)$"
            ),
            self._change,
        )

    def _create(self, request: t.Any) -> tuple[int, t.Mapping[str, str], t.Any]:
        given = json.loads(request.body)

        with self._lock:
            self.attempts.append(given)
            self.tokens.add(request.headers.get("Api-Access-Token"))
            fault = self._faults.pop(0) if self._faults else None

            if fault and not fault.stored:
                return fault.status, fault.headers, fault.error or SAID

            created = self.add(
                given["content"],
                conversation_id=_conversation(request),
                private=given["private"],
                attributes=given.get("content_attributes")
                if self.keeps_markers
                else {},
            )

        if fault:
            return fault.status, fault.headers, fault.error or SAID

        return 200, {}, json.dumps(created)

    def _list(self, request: t.Any) -> tuple[int, t.Mapping[str, str], t.Any]:
        after = int(request.params.get("after", 0))

        with self._lock:
            self.looks += 1
            self.readers.add(request.headers.get("Api-Access-Token"))
            page = [
                m
                for m in self.messages
                if m["conversation_id"] == _conversation(request) and m["id"] > after
            ][:100]

        listed = json.dumps({"meta": {}, "payload": page})

        return self.lists, {}, listed if self.lists == 200 else SAID

    def _show(self, request: t.Any) -> tuple[int, t.Mapping[str, str], str]:
        if self.live is None:
            return 401, {}, SAID

        shown = {"id": _conversation(request), **self.live}

        return self.shows, {}, json.dumps(shown) if self.shows == 200 else SAID

    def _change(self, request: t.Any) -> tuple[int, t.Mapping[str, str], str]:
        name = request.url.rpartition("/")[2]
        given = json.loads(request.body)

        if name == "toggle_typing_status":  # from a thread that no turn waits for
            return 200, {}, ""

        if self.change_faults:
            return self.change_faults.pop(0), {}, SAID

        self.changes.append((name, given))

        return 200, {}, json.dumps({"id": 1, "payload": {}, **given})

    def _probe(self, request: t.Any) -> tuple[int, t.Mapping[str, str], str]:
        if self.version is None:
            return 500, {}, ""

        version = self.version if self.keeps_markers else "4.8.0"

        return 200, {}, json.dumps({"version": version})


def _conversation(request: t.Any) -> int:
    return int(request.url.partition("/conversations/")[2].partition("/")[0])


def refused() -> requests.ConnectionError:
    """What ``requests`` raises if nobody listens."""
    reason = urllib3_errors.NewConnectionError(
        HTTPConnection("chatwoot.test"), "Connection refused"
    )

    return requests.ConnectionError(
        urllib3_errors.MaxRetryError(t.cast(t.Any, None), "/", reason)
    )


@contextlib.contextmanager
def chatwoot_stub() -> t.Iterator[ChatwootStub]:
    """Answer what this process sends to Chatwoot, until the block ends."""
    stub = ChatwootStub()

    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        stub.install(mock)
        yield stub
