"""What several test files share: an app, signed deliveries, a Chatwoot in memory."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import threading
import time
import typing as t
from pathlib import Path

import pytest
import requests
import responses
from blinker import NamedSignal
from flask import Flask
from flask.testing import FlaskClient
from urllib3 import exceptions as urllib3_errors
from urllib3.connection import HTTPConnection
from werkzeug.test import TestResponse

from flask_chatwoot import Chatwoot
from flask_chatwoot.payloads import signature
from flask_chatwoot.queue.inspection import JobRow
from flask_chatwoot.queue.jobs import Inbox
from flask_chatwoot.runtime import KEY, Runtime
from flask_chatwoot.simulator import payloads
from flask_chatwoot.simulator.payloads import (
    JSON,
    Account,
    Agent,
    Conversation,
    Message,
    MessageType,
    Version,
)
from flask_chatwoot.workers import Heartbeat, run_once

pytest_plugins = ["flask_chatwoot.testing"]  # as if this package were not installed

BASE_URL: t.Final = "https://chatwoot.test"
TOKEN: t.Final = "token-of-a-user"
SECRET: t.Final = "whsec_example_123"
WEBHOOK: t.Final = "/chatwoot/webhook"

T = t.TypeVar("T")


# -- time ----------------------------------------------------------------------


class Clock:
    """Stands still until told otherwise."""

    def __init__(self, now: float = 1_750_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


def wait_until(predicate: t.Callable[[], T], timeout: float = 10.0) -> T:
    """What the predicate says as soon as it is true; fails after a while."""
    deadline = time.monotonic() + timeout

    while True:
        if result := predicate():
            return result

        if time.monotonic() > deadline:
            pytest.fail(f"This did not come true within {timeout:g} s.")

        time.sleep(0.005)


@pytest.fixture
def clock() -> Clock:
    return Clock()


# -- deliveries ----------------------------------------------------------------


def message(
    text: str | None = "Where is my order?",
    *,
    id: int = 9001,
    conversation_id: int = 42,
    mode: str | None = "bot",
    account_id: int = 1,
    inbox_id: int = 3,
    version: Version = payloads.NEWEST,
    **fields: t.Any,
) -> JSON:
    """The body of a delivery about one message, from a customer unless told."""
    conversation = Conversation(
        id=conversation_id,
        account=Account(id=account_id),
        inbox=payloads.Inbox(id=inbox_id),
        custom_attributes={} if mode is None else {"support_mode": mode},
    )

    return payloads.message_event(
        Message(id=id, content=text, **fields), conversation, version=version
    )


def echo(created: JSON, **fields: t.Any) -> JSON:
    """The delivery by which Chatwoot tells of a message made through its API."""
    return message(
        created["content"],
        id=created["id"],
        conversation_id=created["conversation_id"],
        private=created["private"],
        type=MessageType.OUTGOING,
        sender=Agent(),
        content_attributes=created["content_attributes"],
        **fields,
    )


def as_bytes(body: JSON | bytes) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def signed(
    body: JSON | bytes, *, secret: str = SECRET, age: float = 0.0
) -> dict[str, t.Any]:
    """Arguments for ``client.post``: the body, and headers that prove its origin."""
    raw = as_bytes(body)
    timestamp = str(int(time.time() - age))

    return {
        "data": raw,
        "content_type": "application/json",
        "headers": {
            signature.TIMESTAMP_HEADER: timestamp,
            signature.SIGNATURE_HEADER: signature.sign(
                raw, secret=secret, timestamp=timestamp
            ),
        },
    }


def deliver(client: FlaskClient, body: JSON | bytes) -> TestResponse:
    return client.post(WEBHOOK, **signed(body))


# -- Chatwoot ------------------------------------------------------------------


class Fault(t.NamedTuple):
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
        self._faults: list[Fault] = []
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
        self._faults += [Fault(status, headers or {}, error, stored)] * times

    def add(
        self,
        content: str,
        *,
        id: int | None = None,
        conversation_id: int = 42,
        private: bool = False,
        type: MessageType = MessageType.OUTGOING,
        attributes: JSON | None = None,
    ) -> JSON:
        """Put a message into a conversation."""
        created = payloads.api_message(
            Message(
                id=next(self._ids) if id is None else id,
                content=content,
                private=private,
                type=type,
                sender=Agent(),
                content_attributes=attributes or {},
            ),
            Conversation(id=conversation_id),
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
                return fault.status, fault.headers, fault.error or "{}"

            created = self.add(
                given["content"],
                conversation_id=_conversation(request),
                private=given["private"],
                attributes=given.get("content_attributes")
                if self.keeps_markers
                else {},
            )

        if fault:
            return fault.status, fault.headers, fault.error or "{}"

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

        return self.lists, {}, json.dumps({"meta": {}, "payload": page})

    def _show(self, request: t.Any) -> tuple[int, t.Mapping[str, str], str]:
        if self.live is None:
            return 401, {}, "{}"

        return self.shows, {}, json.dumps(self.live)

    def _change(self, request: t.Any) -> tuple[int, t.Mapping[str, str], str]:
        name = request.url.rpartition("/")[2]
        given = json.loads(request.body)

        if name == "toggle_typing_status":  # from a thread that no turn waits for
            return 200, {}, ""

        if self.change_faults:
            return self.change_faults.pop(0), {}, "{}"

        self.changes.append((name, given))

        return 200, {}, json.dumps(given)

    def _probe(self, request: t.Any) -> tuple[int, t.Mapping[str, str], str]:
        if self.version is None:
            return 500, {}, ""

        return 200, {}, json.dumps({"version": self.version})


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


@pytest.fixture
def api() -> t.Iterator[ChatwootStub]:
    stub = ChatwootStub()

    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        stub.install(mock)
        yield stub


# -- the app -------------------------------------------------------------------


class AppFactory(t.Protocol):
    """Makes apps; settings are the keys without ``CHATWOOT_``, in lower case."""

    def __call__(self, chatwoot: Chatwoot | None = None, **settings: t.Any) -> Flask:
        """``None`` takes a setting away."""


@pytest.fixture
def make_app(tmp_path: Path) -> t.Iterator[AppFactory]:
    usual = {
        "base_url": BASE_URL,
        "account_id": 1,
        "api_access_token": TOKEN,
        "webhook_secret": SECRET,
        "copilot_token": "token-of-a-page",
        "backend": "inline",
        "database_url": f"sqlite:///{tmp_path / 'inbox.sqlite3'}",
        "database_sync": "normal",
    }

    with contextlib.ExitStack() as stack:

        def make(chatwoot: Chatwoot | None = None, **settings: t.Any) -> Flask:
            app = Flask("host", instance_path=str(tmp_path / "instance"))
            app.testing = True
            app.config.update(
                {f"CHATWOOT_{k.upper()}": v for k, v in {**usual, **settings}.items()}
            )
            (chatwoot or Chatwoot()).init_app(app)
            stack.callback(dismantle, app)

            return app

        yield make


def dismantle(app: Flask) -> None:
    bot_of(app).backend.stop()

    if bot_of(app).poster is not None:
        inbox_of(app).close()


def bot_of(app: Flask) -> Runtime:
    return t.cast(Runtime, app.extensions[KEY])


def inbox_of(app: Flask) -> Inbox:
    poster = bot_of(app).poster
    assert poster is not None

    return poster.inbox


def jobs_of(app: Flask) -> list[JobRow]:
    return inbox_of(app).jobs()


def job_of(app: Flask) -> JobRow:
    """The only one."""
    (job,) = jobs_of(app)

    return job


def ending_of(app: Flask) -> tuple[str | None, str | None]:
    """How the only job ended."""
    job = job_of(app)

    return job.outcome, job.reason


def work(app: Flask) -> None:
    """Handle everything that is due, as ``flask chatwoot work`` would."""
    heartbeat = Heartbeat()

    while run_once(bot_of(app), heartbeat):
        pass


@pytest.fixture
def chatwoot() -> Chatwoot:
    return Chatwoot()


@pytest.fixture
def app(make_app: AppFactory, chatwoot: Chatwoot) -> Flask:
    return make_app(chatwoot)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@contextlib.contextmanager
def recorded(signal: NamedSignal, app: Flask) -> t.Iterator[list[dict[str, t.Any]]]:
    """Everything a signal sends for an app."""
    seen: list[dict[str, t.Any]] = []

    def note(_: Flask, **values: t.Any) -> None:
        seen.append(values)

    with signal.connected_to(note, sender=app):
        yield seen
