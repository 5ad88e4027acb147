from __future__ import annotations

import contextlib
import json
import socket
import ssl
import struct
import subprocess
import sys
import textwrap
import threading
import traceback
import typing as t
from email import message_from_bytes
from email.policy import HTTP
from pathlib import Path
from types import MappingProxyType

import pytest
import requests
import responses
from responses import matchers
from urllib3 import exceptions as urllib3_errors

from flask_chatwoot.client import ChatwootClient, NoAnswer, RawAnswer, exchange
from flask_chatwoot.errors import APIError, PermanentError, TransientError, UnknownError
from flask_chatwoot.payloads.channels import LIMIT
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation, Speaker
from flask_chatwoot.payloads.fields import Upload
from flask_chatwoot.payloads.liquid import escape
from flask_chatwoot.simulator import Simulator

BASE_URL = "https://chatwoot.test"
TOKEN = "hunter2-token"
WORDS = "words of a customer"
ACCOUNT = f"{BASE_URL}/api/v1/accounts/7"
CONVERSATION = f"{ACCOUNT}/conversations/42"
MESSAGES = f"{CONVERSATION}/messages"

FILE = Upload("invoice.pdf", b"%PDF \x00\xff" + WORDS.encode(), "application/pdf")

Client = ChatwootClient
Mock = responses.RequestsMock
Call = t.Callable[[Client], object]

POSTS: t.Final[dict[str, Call]] = {
    "message": lambda client: client.create_message(42, WORDS),
    "note": lambda client: client.create_note(42, WORDS),
}
GETS: t.Final[dict[str, Call]] = {
    "messages": lambda client: client.messages(42),
    "conversation": lambda client: client.conversation(42),
    "profile": lambda client: client.profile(),
    "version": lambda client: client.server_version(),
}
CHANGES: t.Final[dict[str, Call]] = {
    "status": lambda client: client.toggle_status(42, "open"),
    "typing": lambda client: client.toggle_typing_status(42, on=True),
    "assign": lambda client: client.assign(42, assignee_id=4),
    "attributes": lambda client: client.set_custom_attributes(42, {"topic": WORDS}),
    "call": lambda client: client.call("POST", "/labels", {"title": WORDS}),
}
FILED: t.Final[dict[str, Call]] = {
    "message": lambda client: client.create_message(42, WORDS, files=[FILE]),
    "note": lambda client: client.create_note(42, WORDS, files=[FILE]),
}
CALLS = POSTS | GETS | CHANGES
ENDPOINTS = {
    "message": "POST /api/v1/accounts/7/conversations/42/messages",
    "note": "POST /api/v1/accounts/7/conversations/42/messages",
    "messages": "GET /api/v1/accounts/7/conversations/42/messages",
    "conversation": "GET /api/v1/accounts/7/conversations/42",
    "profile": "GET /api/v1/profile",
    "version": "GET /api",
    "status": "POST /api/v1/accounts/7/conversations/42/toggle_status",
    "typing": "POST /api/v1/accounts/7/conversations/42/toggle_typing_status",
    "assign": "POST /api/v1/accounts/7/conversations/42/assignments",
    "attributes": "POST /api/v1/accounts/7/conversations/42/custom_attributes",
    "call": "POST /api/v1/accounts/7/labels",
}
every_call = pytest.mark.parametrize("name", CALLS)


@pytest.fixture
def client() -> ChatwootClient:
    return ChatwootClient(f"{BASE_URL}/", 7, TOKEN)


@pytest.fixture
def mock() -> t.Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def contents(mock: Mock) -> list[dict[str, t.Any]]:
    """What was posted, decoded."""
    return [json.loads(t.cast(bytes, call.request.body)) for call in mock.calls]


def answer(mock: Mock, name: str, **values: t.Any) -> None:
    """Let one of the calls be answered with this."""
    method, path = ENDPOINTS[name].split()
    mock.add(method, BASE_URL + path, **values)


def failure(client: Client, name: str) -> APIError:
    """The error of a call, once it is sure that it tells no secrets."""
    with pytest.raises(APIError) as caught:
        CALLS[name](client)

    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)

    for secret in (TOKEN, WORDS, "words of Chatwoot"):
        assert secret not in told

    return caught.value


# What is asked


@pytest.mark.parametrize(("name", "private"), [("message", False), ("note", True)])
def test_a_message_and_a_note_differ_in_one_word_on_the_wire(
    mock: Mock, client: Client, name: str, private: bool
) -> None:
    body = {"content": WORDS, "private": private}
    answer(
        mock,
        name,
        json={"id": 9001},
        match=[matchers.json_params_matcher(body), matchers.query_param_matcher({})],
    )

    assert CALLS[name](client) == 9001


@pytest.mark.parametrize("private", [False, True])
def test_a_marker_travels_with_the_message(
    mock: Mock, client: Client, private: bool
) -> None:
    body = {
        "content": "Hello",
        "private": private,
        "content_attributes": {"flask_chatwoot": "job-1"},
    }
    mock.post(MESSAGES, json={"id": 1}, match=[matchers.json_params_matcher(body)])
    create = client.create_note if private else client.create_message

    assert create(42, "Hello", marker="job-1") == 1


def test_every_character_arrives(mock: Mock, client: Client) -> None:
    text = 'Привет 👩‍🚀 "x" \\ \u2028 <b> & \x07\nü'
    mock.post(
        MESSAGES,
        json={"id": 1},
        match=[matchers.json_params_matcher({"content": text, "private": False})],
    )

    client.create_message(42, text)


def test_what_chatwoot_would_evaluate_is_escaped_in_notes_too(
    mock: Mock, client: Client
) -> None:
    mock.post(MESSAGES, json={"id": 1})

    for create in (client.create_message, client.create_note):
        create(42, "{{contact.email}}")

    assert [body["content"] for body in contents(mock)] == [
        escape("{{contact.email}}")
    ] * 2


def test_a_text_is_one_message_however_long_it_is(mock: Mock, client: Client) -> None:
    mock.post(MESSAGES, json={"id": 11})
    text = "a\n\n" * LIMIT

    assert client.create_message(42, text) == client.create_note(42, text) == 11
    assert [body["content"] for body in contents(mock)] == [text] * 2


@every_call
def test_every_call_carries_the_token_in_a_header_that_nginx_passes_on(
    mock: Mock, client: Client, name: str
) -> None:
    answer(mock, name, json={"id": 1, "payload": [], "version": "4.16.2"})

    CALLS[name](client)

    headers = mock.calls[0].request.headers
    assert headers["Api-Access-Token"] == TOKEN
    assert headers["Accept"] == "application/json"
    assert headers.get("Content-Type") == (None if name in GETS else "application/json")
    assert not any("_" in header for header in headers)
    assert not {"Authorization", "Cookie"} & set(headers)


@pytest.mark.parametrize(
    ("bounds", "params"),
    [
        ({}, {}),
        ({"after": 5}, {"after": "5"}),
        ({"before": 9}, {"before": "9"}),
        ({"after": 5, "before": 9}, {"after": "5", "before": "9"}),
        ({"after": 0}, {"after": "0"}),
    ],
)
def test_messages_are_listed_within_bounds(
    mock: Mock, client: Client, bounds: dict[str, int], params: dict[str, str]
) -> None:
    listed = [{"id": 6, "content": "a"}, {"id": 7, "content": "b"}]
    mock.get(
        MESSAGES,
        json={"meta": {}, "payload": listed},
        match=[matchers.query_param_matcher(params)],
    )

    found = client.messages(42, **bounds)

    assert [(each.id, each.content) for each in found] == [(6, "a"), (7, "b")]


def test_what_is_no_message_is_left_out_of_the_list(mock: Mock, client: Client) -> None:
    mock.get(MESSAGES, json={"payload": [None, 1, {"id": 6}, {}, [], "x"]})

    assert client.messages(42) == [ChatwootMessage(6, speaker=Speaker.MACHINE)]


def test_a_conversation_is_shown_as_it_is(mock: Mock, client: Client) -> None:
    mock.get(CONVERSATION, json={"id": 42, "status": "open"})

    assert client.conversation(42) == Conversation(42, status="open")


def test_a_profile_comes_without_secrets(mock: Mock, client: Client) -> None:
    mock.get(
        f"{BASE_URL}/api/v1/profile",
        json={
            "id": 5,
            "name": "Olga",
            "accounts": [{"id": 7, "role": "administrator"}],
            "access_token": "s1",
            "pubsub_token": "s2",
            "hmac_identifier": "s3",
        },
    )

    assert client.profile() == {
        "id": 5,
        "name": "Olga",
        "accounts": [{"id": 7, "role": "administrator"}],
    }


def test_the_version_of_the_server_is_read(mock: Mock, client: Client) -> None:
    mock.get(f"{BASE_URL}/api", json={"version": "4.16.2", "queue_services": "ok"})

    assert client.server_version() == "4.16.2"


def test_a_chatwoot_may_live_below_a_path(mock: Mock) -> None:
    mock.get("https://x.test/support/api", json={"version": "4.2.0"})

    assert ChatwootClient("https://x.test/support/", 7, TOKEN).server_version()


def test_a_client_does_not_show_its_token(client: Client) -> None:
    assert repr(client) == "<ChatwootClient https://chatwoot.test account 7>"


# What an answer means


STATUSES: t.Final = [
    *[(status, TransientError) for status in (408, 425, 429, 500, 502, 503, 504, 599)],
    *[(status, PermanentError) for status in (400, 401, 402, 403, 404, 405, 409, 410)],
    *[(status, PermanentError) for status in (413, 415, 418, 422, 451)],
    *[(status, PermanentError) for status in (300, 301, 302, 303, 307, 308)],
]


@every_call
@pytest.mark.parametrize(("status", "kind"), STATUSES)
def test_a_status_says_whether_to_try_again(
    mock: Mock, client: Client, name: str, status: int, kind: type[APIError]
) -> None:
    answer(mock, name, status=status, json={"error": "words of Chatwoot"})

    error = failure(client, name)

    assert type(error) is kind
    assert error.status == status
    assert error.endpoint == ENDPOINTS[name]
    assert str(error).startswith(f"{ENDPOINTS[name]}: ")
    assert BASE_URL not in str(error)
    assert len(mock.calls) == 1


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (401, "CHATWOOT_API_ACCESS_TOKEN"),
        (403, "plan"),
        (404, "CHATWOOT_ACCOUNT_ID"),
        (422, "does not accept"),
        (409, "answered 409"),
        (503, "answered 503"),
    ],
)
def test_a_refusal_says_what_to_look_at(
    mock: Mock, client: Client, status: int, hint: str
) -> None:
    answer(mock, "message", status=status, body="words of Chatwoot")

    assert hint in str(failure(client, "message"))


def test_a_plain_text_answer_to_too_many_requests_is_understood(
    mock: Mock, client: Client
) -> None:
    answer(mock, "message", status=429, body="Retry later\n", content_type="text/plain")

    error = failure(client, "message")

    assert isinstance(error, TransientError)
    assert error.retry_after is None


@pytest.mark.parametrize("status", [429, 503])
def test_the_error_carries_the_retry_after_header(
    mock: Mock, client: Client, status: int
) -> None:
    answer(mock, "message", status=status, headers={"Retry-After": "17"})

    assert failure(client, "message").retry_after == 17.0


NOT_CHATWOOT: t.Final[t.Mapping[str, str]] = {
    "nothing": "",
    "a page": "<html>words of Chatwoot</html>",
    "a list": '["words of Chatwoot"]',
    "text": '"words of Chatwoot"',
    "a number": "1",
    "null": "null",
    "half an object": '{"id": 1',
    "5000 digits": '{"id": ' + "9" * 5000 + "}",
    "100 000 brackets": '{"id": ' + "[" * 100_000,
}


@pytest.mark.parametrize("name", POSTS)
@pytest.mark.parametrize("body", NOT_CHATWOOT.values(), ids=NOT_CHATWOOT)
def test_after_a_strange_answer_it_is_unknown_whether_a_message_was_made(
    mock: Mock, client: Client, name: str, body: str
) -> None:
    answer(mock, name, body=body)

    error = failure(client, name)

    assert isinstance(error, UnknownError)
    assert error.status == 200
    assert error.endpoint == ENDPOINTS[name]
    assert "CHATWOOT_BASE_URL" in str(error)


@pytest.mark.parametrize("name", GETS)
@pytest.mark.parametrize("body", NOT_CHATWOOT.values(), ids=NOT_CHATWOOT)
def test_a_strange_answer_to_a_question_will_not_get_better(
    mock: Mock, client: Client, name: str, body: str
) -> None:
    answer(mock, name, body=body)

    error = failure(client, name)

    assert isinstance(error, PermanentError)
    assert error.endpoint == ENDPOINTS[name]
    assert "CHATWOOT_BASE_URL" in str(error)


NO_LISTS: t.Final[t.Sequence[t.Any]] = (None, {}, "x", 1, {"messages": []})


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [
        *[
            ("message", {"id": number}, UnknownError)
            for number in (None, 0, -1, True, "1", 1.5, 2**63, [1])
        ],
        ("note", {"content": "words of Chatwoot"}, UnknownError),
        *[("messages", {"payload": value}, PermanentError) for value in NO_LISTS],
        ("messages", {}, PermanentError),
        *[
            ("version", {"version": value}, PermanentError)
            for value in (None, 4.16, ["4", "16"])
        ],
        ("version", {}, PermanentError),
    ],
    ids=repr,
)
def test_an_answer_without_what_was_asked_for_is_an_error(
    mock: Mock, client: Client, name: str, body: t.Any, kind: type[APIError]
) -> None:
    answer(mock, name, json=body)

    error = failure(client, name)

    assert type(error) is kind
    assert error.endpoint == ENDPOINTS[name]


@pytest.mark.parametrize("status", [201, 202, 204])
def test_the_status_of_a_strange_answer_is_the_real_one(
    mock: Mock, client: Client, status: int
) -> None:
    answer(mock, "message", status=status)

    assert failure(client, "message").status == status


def test_any_good_status_will_do_for_a_good_answer(mock: Mock, client: Client) -> None:
    answer(mock, "message", status=201, json={"id": 5})

    assert client.create_message(42, WORDS) == 5


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://right.test/", "set CHATWOOT_BASE_URL to https://right.test"),
        ("http://right.test:3000/api?token=s1", "to http://right.test:3000"),
        ("https://me:s1@right.test/x#s1", "to https://right.test"),
        ("/login?token=s1", "to the final address"),
        ("//right.test/s1", "to the final address"),
        ("", "to the final address"),
        ("s1", "to the final address"),
        ("https://", "to the final address"),
        ("http://[s1", "to the final address"),
        ("http://right.test:port/s1", "redirects"),
        ("javascript:alert('s1')", "to the final address"),
        ("http://\u00fc.test/s1", "redirects"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("name", ["message", "version"])
def test_a_redirect_names_the_right_address_and_no_more(
    mock: Mock, client: Client, name: str, location: str, told: str
) -> None:
    answer(mock, name, status=302, headers={"Location": location})

    error = failure(client, name)

    assert isinstance(error, PermanentError)
    assert error.status == 302
    assert told in str(error)
    assert "s1" not in str(error)
    assert len(mock.calls) == 1


# What is left of an answer that never came


def certificate_error(reason: Exception) -> requests.exceptions.SSLError:
    """What ``requests`` raises when the handshake fails for a reason."""
    pool = t.cast(t.Any, None)
    retries = urllib3_errors.MaxRetryError(pool, "/", urllib3_errors.SSLError(reason))

    return requests.exceptions.SSLError(retries)


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (requests.ConnectTimeout("words of Chatwoot"), False),
        (certificate_error(ssl.SSLCertVerificationError("words of Chatwoot")), False),
        (certificate_error(ssl.SSLError("words of Chatwoot")), True),
        (requests.exceptions.SSLError("words of Chatwoot"), True),
        (requests.exceptions.SSLError(), True),
        (
            requests.ConnectionError(
                urllib3_errors.MaxRetryError(
                    t.cast(t.Any, None), "/", urllib3_errors.SSLError()
                )
            ),
            True,
        ),
        (requests.ReadTimeout("words of Chatwoot"), True),
        (requests.ConnectionError("words of Chatwoot"), True),
        (requests.ConnectionError(), True),
        (requests.exceptions.ChunkedEncodingError("words of Chatwoot"), True),
        (requests.exceptions.ContentDecodingError("words of Chatwoot"), True),
        (requests.RequestException("words of Chatwoot"), True),
    ],
    ids=repr,
)
def test_in_doubt_a_message_may_have_been_made(
    mock: Mock, client: Client, error: Exception, sent: bool
) -> None:
    answer(mock, "message", body=error)
    answer(mock, "conversation", body=error)

    posted, asked = failure(client, "message"), failure(client, "conversation")

    assert type(posted) is (UnknownError if sent else TransientError)
    assert type(asked) is TransientError
    assert (posted.status, asked.status) == (None, None)
    assert type(error).__name__ in str(posted)


@pytest.mark.parametrize(
    ("base_url", "token"),
    [
        ("https://chat..test", TOKEN),
        ("https://.test", TOKEN),
        (f"https://{'a' * 70}.test", TOKEN),
        ("http://*.test", TOKEN),
        ("chatwoot.test", TOKEN),
        ("ftp://chatwoot.test", TOKEN),
        (BASE_URL, f"{TOKEN}\nX-Evil: 1"),
        ("http://127.0.0.1:1", f"{TOKEN}-ключ"),
    ],
    ids=ascii,
)
@pytest.mark.parametrize("name", ["message", "conversation"])
def test_a_request_that_cannot_be_written_was_not_sent(
    name: str, base_url: str, token: str
) -> None:
    error = failure(ChatwootClient(base_url, 7, token, timeout=1.0), name)

    assert not isinstance(error, UnknownError)
    assert error.status is None


@pytest.mark.parametrize("name", ["message", "conversation"])
def test_certificates_that_are_not_there_mean_that_nothing_was_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))

    error = failure(ChatwootClient("https://127.0.0.1:1", 7, TOKEN), name)

    assert not isinstance(error, UnknownError)
    assert error.status is None


# The wire


class Request(t.NamedTuple):
    """One request as it came; ``connection`` counts from 0."""

    connection: int
    line: str
    headers: dict[str, str]
    body: bytes


class Wire:
    """A server on loopback whose every connection does as it is told.

    :param script: Called with each connection that comes in, in a thread of its own.
    """

    def __init__(self, script: t.Callable[[Wire, int, socket.socket], None]) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self._script = script
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> t.Self:
        self._threads[0].start()

        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

        self._threads[0].join(10)

        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

        for thread in self._threads:
            thread.join(10)

        self._listener.close()

    def read(self, number: int, connection: socket.socket) -> bool:
        """Take in one request; ``False`` if the other side has hung up."""
        seen = b""

        while b"\r\n\r\n" not in seen:
            if not (chunk := connection.recv(65536)):
                return False

            seen += chunk

        head, _, body = seen.partition(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)

        while len(body) < int(headers.get("Content-Length", 0)):
            body += connection.recv(65536)

        self.requests.append(Request(number, line, headers, body))

        return True

    def wait_for(self, number: int) -> None:
        """Return once a connection was closed from this side."""
        self._threads[number + 1].join(10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return

            number, self.connections = self.connections, self.connections + 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(number, connection))
            self._threads.append(thread)
            thread.start()

    def _serve(self, number: int, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._script(self, number, connection)


def http(status: str = "200 OK", body: str = '{"id": 1}', *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]

    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()


def answering(data: bytes, times: int = sys.maxsize) -> t.Any:
    """Answers so many requests of a connection, then hangs up."""

    def script(wire: Wire, number: int, connection: socket.socket) -> None:
        for _ in range(times):
            if not wire.read(number, connection):
                return

            connection.sendall(data)

    return script


def hanging(wire: Wire, number: int, connection: socket.socket) -> None:
    """Reads a request, and waits until the other side has had enough."""
    wire.read(number, connection)
    connection.recv(1)


def cutting_before_reading(_: Wire, __: int, connection: socket.socket) -> None:
    """Resets a connection at once."""
    linger = struct.pack("ii", 1, 0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def cutting_after_reading(wire: Wire, number: int, connection: socket.socket) -> None:
    """Reads a request, and hangs up."""
    wire.read(number, connection)


def cutting_in_turn(wire: Wire, number: int, connection: socket.socket) -> None:
    """The first connection is cut before its second answer; others are served."""
    if number:
        answering(http())(wire, number, connection)
        return

    wire.read(number, connection)
    connection.sendall(http())
    wire.read(number, connection)


def client_of(wire: Wire, timeout: float = 10.0) -> ChatwootClient:
    return ChatwootClient(wire.url, 7, TOKEN, timeout=timeout)


def test_two_calls_share_a_connection() -> None:
    with Wire(answering(http())) as wire:
        client = client_of(wire)
        client.create_message(42, "one")
        client.conversation(42)

    assert [request.connection for request in wire.requests] == [0, 0]
    assert wire.requests[0].line.endswith("/conversations/42/messages HTTP/1.1")
    assert wire.requests[0].headers["Content-Type"] == "application/json"
    assert json.loads(wire.requests[0].body) == {"content": "one", "private": False}


def test_what_one_server_sets_as_a_cookie_is_not_sent_back() -> None:
    with Wire(answering(http("200 OK", '{"id": 1}', "Set-Cookie: a=b"))) as wire:
        client = client_of(wire)
        client.conversation(42)
        client.conversation(42)

    assert "Cookie" not in wire.requests[1].headers


def test_every_thread_has_a_connection_of_its_own() -> None:
    with Wire(answering(http())) as wire:
        client = client_of(wire)

        for _ in range(3):
            thread = threading.Thread(target=client.conversation, args=(42,))
            thread.start()
            thread.join(10)

        client.conversation(42)
        client.conversation(42)

    assert [request.connection for request in wire.requests] == [0, 1, 2, 3, 3]


def test_a_forked_process_does_not_share_its_parents_connection() -> None:
    program = """
        import os, sys
        from flask_chatwoot.client import ChatwootClient

        client = ChatwootClient(sys.argv[1], 7, "token")
        client.conversation(1)
        child = os.fork()
        client.conversation(2 if child else 3)

        if child:
            status = os.waitpid(child, 0)[1]
            client.conversation(4)
            sys.exit(status)
    """

    with Wire(answering(http())) as wire:
        subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), wire.url],
            check=True,
            timeout=60,
        )

    connections = {
        request.line.split()[1].rpartition("/")[2]: request.connection
        for request in wire.requests
    }
    assert connections["1"] == connections["2"] == connections["4"] == 0
    assert connections["3"] == 1


def test_a_refused_connection_means_that_nothing_was_sent() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and never listens
        port = unused.getsockname()[1]
        client = ChatwootClient(f"http://127.0.0.1:{port}", 7, TOKEN)

        for name in CALLS:
            error = failure(client, name)
            assert type(error) is TransientError
            assert error.status is None
            assert "no connection" in str(error)


def test_an_unknown_host_name_means_that_nothing_was_sent() -> None:
    error = failure(ChatwootClient("http://chatwoot.invalid", 7, TOKEN), "message")

    assert type(error) is TransientError
    assert "no connection" in str(error)


def test_a_connection_that_takes_too_long_means_that_nothing_was_sent() -> None:
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)

        for _ in range(4):  # more than a queue of none takes
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())

        port = full.getsockname()[1]
        client = ChatwootClient(f"http://127.0.0.1:{port}", 7, TOKEN, timeout=0.2)
        error = failure(client, "message")

    assert type(error) is TransientError
    assert "ConnectTimeout" in str(error)


BROKEN: t.Final[t.Mapping[str, t.Any]] = {
    "nothing comes": hanging,
    "the connection is cut": cutting_after_reading,
    "half a status line comes": answering(b"HTTP/1.1 20", times=1),
    "half a body comes": answering(http(body='{"id": 1}')[:-4], times=1),
    "half a chunk comes": answering(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", times=1
    ),
    "no HTTP comes": answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n", times=1),
    "no gzip comes": answering(
        http("200 OK", '{"id": 1}', "Content-Encoding: gzip"), times=1
    ),
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", [*POSTS, *CHANGES])
def test_a_message_without_an_answer_may_have_been_made(
    name: str, script: t.Any
) -> None:
    with Wire(script) as wire:
        error = failure(client_of(wire, timeout=0.3), name)

    assert type(error) is UnknownError
    assert error.status is None
    assert error.endpoint == ENDPOINTS[name]
    assert len(wire.requests) == 1
    assert wire.connections == 1


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
def test_a_question_without_an_answer_may_be_asked_again(script: t.Any) -> None:
    with Wire(script) as wire:
        error = failure(client_of(wire, timeout=0.3), "conversation")

    assert type(error) is TransientError
    assert error.status is None
    assert "no answer" in str(error)
    assert wire.connections == 1


@pytest.mark.parametrize("name", CALLS)
def test_a_connection_that_is_cut_at_once_is_not_tried_again(name: str) -> None:
    with Wire(cutting_before_reading) as wire:
        error = failure(client_of(wire), name)

    # It is chance whether the request could be written before the end was noticed.
    possible = {TransientError} if name in GETS else {TransientError, UnknownError}
    assert type(error) in possible
    assert wire.connections == 1


def test_a_connection_the_server_has_closed_meanwhile_is_not_used() -> None:
    with Wire(answering(http(), times=1)) as wire:
        client = client_of(wire)
        client.create_message(42, "one")
        wire.wait_for(0)
        client.create_message(42, "two")

    assert [request.connection for request in wire.requests] == [0, 1]


def test_a_kept_connection_that_breaks_does_not_repeat_the_message() -> None:
    with Wire(cutting_in_turn) as wire:
        client = client_of(wire)
        client.create_message(42, "one")
        error = failure(client, "message")
        assert client.create_message(42, "three") == 1

    assert type(error) is UnknownError
    assert [request.connection for request in wire.requests] == [0, 0, 1]
    assert [json.loads(request.body)["content"] for request in wire.requests] == [
        *("one", WORDS, "three")
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["message", "profile"])
def test_no_redirect_carries_the_token_away(name: str, status: int) -> None:
    with Wire(answering(http())) as stranger:
        location = f"Location: {stranger.url}/api"

        with Wire(answering(http(f"{status} Moved", "", location))) as wire:
            error = failure(client_of(wire), name)

    assert isinstance(error, PermanentError)
    assert stranger.url in str(error)
    assert stranger.connections == 0
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda url: ChatwootClient(url, 7, TOKEN).conversation(42),
        lambda url: exchange("GET", url),
    ],
    ids=["client", "raw"],
)
def test_no_password_of_a_netrc_file_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: t.Callable[[str], object]
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s1\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    with Wire(answering(http())) as wire:
        ask(wire.url)

    assert "Authorization" not in wire.requests[0].headers


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.usefixtures("no_proxy")
def test_the_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with Wire(answering(http())) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        ChatwootClient("http://chatwoot.invalid", 7, TOKEN).conversation(42)

    assert proxy.requests[0].line == (
        "GET http://chatwoot.invalid/api/v1/accounts/7/conversations/42 HTTP/1.1"
    )


@pytest.mark.usefixtures("no_proxy")
def test_a_proxy_is_not_used_where_the_environment_forbids_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    with Wire(answering(http())) as proxy, Wire(answering(http())) as wire:
        monkeypatch.setenv("http_proxy", proxy.url)
        client_of(wire).conversation(42)

    assert proxy.connections == 0
    assert len(wire.requests) == 1


@pytest.mark.usefixtures("no_proxy")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down_means_that_nothing_was_sent_and_keeps_its_password(
    monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        proxy = f"http://me:s1@127.0.0.1:{unused.getsockname()[1]}"
        monkeypatch.setenv(f"{scheme}_proxy", proxy)
        error = failure(ChatwootClient(f"{scheme}://x.invalid", 7, TOKEN), "message")

    assert type(error) is TransientError
    assert "s1" not in str(error)
    assert "127.0.0.1" not in str(error)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_certificates_of_the_environment_are_used(
    mock: Mock, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(other, raising=False)

    monkeypatch.setenv(name, "/etc/our-own.pem")
    mock.get(
        f"{BASE_URL}/api",
        json={"version": "4.16.2"},
        match=[matchers.request_kwargs_matcher({"verify": "/etc/our-own.pem"})],
    )

    assert ChatwootClient(BASE_URL, 7, TOKEN).server_version() == "4.16.2"


# Changes of a conversation


def change(mock: Mock, name: str, **values: t.Any) -> t.Any:
    """The one body that was sent to an endpoint of the conversation."""
    answer(mock, name, **({"body": ""} | values))

    return lambda: contents(mock)[-1]


@pytest.mark.parametrize("status", ["open", "pending", "resolved", "snoozed"])
def test_a_status_is_set_by_its_name(mock: Mock, client: Client, status: str) -> None:
    sent = change(mock, "status")

    client.toggle_status(42, status)

    assert sent() == {"status": status}


@pytest.mark.parametrize(("on", "word"), [(True, "on"), (False, "off")])
def test_typing_is_shown_or_not(
    mock: Mock, client: Client, on: bool, word: str
) -> None:
    sent = change(mock, "typing")

    client.toggle_typing_status(42, on=on)

    assert sent() == {"typing_status": word}


@pytest.mark.parametrize(
    "who", [{"assignee_id": 4}, {"team_id": 2}], ids=lambda who: next(iter(who))
)
def test_an_operator_or_a_team_is_assigned(
    mock: Mock, client: Client, who: dict[str, int]
) -> None:
    sent = change(mock, "assign")

    client.assign(42, **who)

    assert sent() == who


@pytest.mark.parametrize("merge", [False, True])
def test_attributes_are_written_and_those_there_are_then_come_back(
    mock: Mock, client: Client, merge: bool
) -> None:
    there = {"support_mode": "human", "topic": "Invoice"}
    sent = change(mock, "attributes", json={"custom_attributes": there})
    values = MappingProxyType({"support_mode": "human"})

    assert client.set_custom_attributes(42, values, merge=merge) == there
    assert sent() == {"custom_attributes": dict(values)} | (
        {"merge": True} if merge else {}
    )


@pytest.mark.parametrize(
    "body",
    ["", " \n", "null", "1", "[]", "{}", '"x"', '{"custom_attributes": ["a"]}'],
    ids=repr,
)
def test_an_answer_without_attributes_counts_as_none(
    mock: Mock, client: Client, body: str
) -> None:
    change(mock, "attributes", body=body)

    assert client.set_custom_attributes(42, {"a": 1}) == {}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    ("status", "body"),
    [(200, ""), (200, "null"), (200, "{}"), (200, "[]"), (201, "{}"), (204, "")],
)
def test_a_change_may_be_answered_with_anything_or_nothing(
    mock: Mock, client: Client, name: str, status: int, body: str
) -> None:
    answer(mock, name, status=status, body=body)

    CHANGES[name](client)

    assert len(mock.calls) == 1


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    "body", ["<html>words of Chatwoot</html>", '{"id": 1', "[" * 100_000]
)
def test_after_a_strange_answer_it_is_unknown_whether_it_was_changed(
    mock: Mock, client: Client, name: str, body: str
) -> None:
    answer(mock, name, body=body)

    error = failure(client, name)

    assert type(error) is UnknownError
    assert "CHATWOOT_BASE_URL" in str(error)


# Any other endpoint


@pytest.mark.parametrize("value", [{"payload": [1]}, [1, 2], "text", 5, None, True])
def test_any_endpoint_can_be_called(mock: Mock, client: Client, value: t.Any) -> None:
    query = matchers.query_param_matcher({"page": "2", "q": "a&b=c ü"})
    mock.get(f"{ACCOUNT}/inboxes", json=value, match=[query])

    params = {"page": 2, "q": "a&b=c ü", "nothing": None}

    assert client.call("GET", "/inboxes", params=params) == value
    assert mock.calls[0].request.body is None


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_any_endpoint_can_be_called_with_a_body(
    mock: Mock, client: Client, method: str
) -> None:
    mock.add(method, f"{ACCOUNT}/labels/3", body="")

    assert client.call(method, "/labels/3", {"title": "ü"}) is None
    assert contents(mock) == [{"title": "ü"}]


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_any_call_that_is_not_answered_may_have_been_obeyed(method: str) -> None:
    with Wire(hanging) as wire:
        with pytest.raises(UnknownError) as caught:
            client_of(wire, timeout=0.3).call(method, "/labels/3")

        assert WORDS not in str(caught.value)


# Choices and files


@pytest.mark.parametrize("marker", [None, "m"])
def test_choices_are_offered_with_a_message(
    mock: Mock, client: Client, marker: str | None
) -> None:
    mock.post(MESSAGES, json={"id": 1})

    client.create_message(42, "Which?", choices=[("Nein {{x}}", "n")], marker=marker)

    (sent,) = contents(mock)
    assert sent["content_type"] == "input_select"
    assert sent["content_attributes"] == {
        **({"flask_chatwoot": "m"} if marker else {}),
        "items": [{"title": "Nein {{x}}", "value": "n"}],
    }


class Field(t.NamedTuple):
    """One part of a form as it went over the wire."""

    name: str
    filename: str | None
    kind: str
    content: bytes


def form_of(request: Request) -> list[Field]:
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    form = message_from_bytes(head + request.body, policy=HTTP)

    return [
        Field(
            str(part.get_param("name", header="content-disposition")),
            part.get_filename(),
            part.get_content_type(),
            t.cast(bytes, part.get_payload(decode=True)),
        )
        for part in form.iter_parts()
    ]


@pytest.mark.parametrize(
    ("name", "private"), [("message", b"false"), ("note", b"true")]
)
def test_files_are_sent_as_a_form(name: str, private: bytes) -> None:
    with Wire(answering(http())) as wire:
        assert FILED[name](client_of(wire)) == 1

    (request,) = wire.requests
    assert request.headers["Api-Access-Token"] == TOKEN
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    assert form_of(request) == [
        Field("content", None, "text/plain", WORDS.encode()),
        Field("private", None, "text/plain", private),
        Field("attachments[]", FILE[0], FILE[2], FILE[1]),
    ]


def test_what_is_an_object_goes_into_a_form_as_json() -> None:
    with Wire(answering(http())) as wire:
        client_of(wire).create_message(
            42, "Привет", marker="m", choices=[("A", "a")], files=[FILE, FILE]
        )

    content, private, kind, attributes, *files = form_of(wire.requests[0])
    assert content.content.decode() == "Привет"
    assert (private.content, kind.content) == (b"false", b"input_select")
    assert json.loads(attributes.content) == {
        "flask_chatwoot": "m",
        "items": [{"title": "A", "value": "a"}],
    }
    assert [file.name for file in files] == ["attachments[]"] * 2


@pytest.mark.parametrize(
    "filename", ["Größe.pdf", "Счёт.pdf", 'a"b.pdf', "a\r\nX-Evil: 1.pdf", "👩‍🚀.png"]
)
def test_a_file_may_have_any_name(filename: str) -> None:
    with Simulator() as sim:
        talk = sim.conversation()
        client = ChatwootClient(sim.url, 1, sim.user_token)

        client.create_message(
            talk.id, "Here", files=[Upload(filename, b"x\0y", "application/pdf")]
        )

        (call,) = sim.calls
        (sent,) = talk.posted
        (file,) = sent.attachments

    assert "X-Evil" not in call.json
    assert sent.content == "Here"
    assert file["file_size"] == 3


def test_files_are_sent_with_notes_and_without_text() -> None:
    with Simulator() as sim:
        talk = sim.conversation()
        client = ChatwootClient(sim.url, 1, sim.user_token)

        client.create_note(talk.id, "Here", marker="m", files=[FILE, FILE])
        client.create_message(talk.id, "", files=[FILE])

        note, message = talk.posted

    assert [len(each.attachments) for each in (note, message)] == [2, 1]
    assert [each.private for each in (note, message)] == [True, False]
    assert note.content_attributes == {"flask_chatwoot": "m"}
    assert not message.content


@pytest.mark.parametrize("name", FILED)
@pytest.mark.parametrize(
    ("status", "kind"), [(401, PermanentError), (503, TransientError)]
)
def test_a_form_that_is_refused_shows_nothing_of_the_file(
    mock: Mock, client: Client, name: str, status: int, kind: type[APIError]
) -> None:
    mock.post(MESSAGES, status=status, json={"error": "words of Chatwoot"})

    with pytest.raises(kind) as caught:
        FILED[name](client)

    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not [word for word in (TOKEN, WORDS, FILE[0], "of Chatwoot") if word in told]


@pytest.mark.parametrize("name", FILED)
def test_a_form_without_an_answer_may_have_been_obeyed(name: str) -> None:
    with Wire(cutting_after_reading) as wire, pytest.raises(UnknownError):
        FILED[name](client_of(wire))

    assert wire.connections == 1


# One raw request


def test_an_answer_is_taken_as_it_is() -> None:
    with Wire(answering(http("418 Tea", '{"a": 1}', "X-Tea: yes"))) as wire:
        found = exchange(
            "POST", f"{wire.url}/x", headers={"X-A": "b"}, body=b"hello", timeout=5
        )

    assert isinstance(found, RawAnswer)
    assert (found.status, found.json, found.redirect) == (418, {"a": 1}, None)
    assert found.headers["x-tea"] == "yes"
    (request,) = wire.requests
    assert (request.line, request.body) == ("POST /x HTTP/1.1", b"hello")
    assert request.headers["X-A"] == "b"


@pytest.mark.parametrize(
    ("headers", "target"), [(["Location: /elsewhere"], "/elsewhere"), ([], "")]
)
def test_a_redirect_is_shown_and_not_followed(headers: list[str], target: str) -> None:
    with Wire(answering(http("302 Found", "", *headers))) as wire:
        found = exchange("GET", wire.url)

    assert isinstance(found, RawAnswer)
    assert found.redirect == target
    assert len(wire.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "size"),
    [("200 OK", "x" * 1_000_000, 64 * 1024), ("204 No Content", "", 0)],
)
def test_no_more_of_an_answer_is_read_than_is_needed(
    status: str, body: str, size: int
) -> None:
    with Wire(answering(http(status, body))) as wire:
        found = exchange("GET", wire.url)

    assert isinstance(found, RawAnswer)
    assert len(found.body) == size
    assert found.json is None


def test_no_answer_in_time_is_named() -> None:
    with Wire(hanging) as wire:
        assert exchange("GET", wire.url, timeout=0.2) == NoAnswer("ReadTimeout")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("nowhere", "MissingSchema"),
        ("http://", "InvalidURL"),
        ("http://[::1", "InvalidURL"),
        ("http://127.0.0.1:1/", "ConnectionError"),
    ],
)
def test_a_request_that_cannot_be_sent_is_named(url: str, kind: str) -> None:
    assert exchange("GET", url) == NoAnswer(kind)


def test_a_header_that_cannot_be_written_is_named() -> None:
    assert exchange("GET", "http://127.0.0.1:1", headers={"X-A": "a\nb"}) == NoAnswer(
        "InvalidHeader"
    )


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (certificate_error(ssl.SSLError(1, "[SSL] wrong version")), "handshake"),
        (requests.exceptions.SSLError(), "the handshake failed"),
        (requests.exceptions.SSLError("words"), "the handshake failed"),
    ],
    ids=repr,
)
def test_a_failed_handshake_is_explained(
    mock: Mock, error: Exception, problem: str
) -> None:
    mock.get(f"{BASE_URL}/", body=error)

    found = exchange("GET", f"{BASE_URL}/")

    assert isinstance(found, NoAnswer)
    assert problem in (found.tls or "")


def test_a_raw_answer_shows_only_its_status() -> None:
    assert repr(RawAnswer(200, {"X-Secret": "a"}, b"b")) == "RawAnswer(status=200)"
