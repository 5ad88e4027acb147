from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import traceback
import typing as t
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

import pytest
import requests
import responses
from responses import matchers
from support.wire import (
    Field,
    Script,
    Wire,
    answering,
    form_of,
    hanging,
    http,
    repeating,
    resetting,
)
from urllib3 import exceptions as urllib3_errors

from flask_chatwoot.client import ChatwootClient, connections
from flask_chatwoot.client.raw import NoAnswer, RawAnswer, exchange
from flask_chatwoot.errors import APIError, PermanentError, TransientError, UnknownError
from flask_chatwoot.payloads.channels import LIMIT
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation, Speaker
from flask_chatwoot.payloads.fields import Upload
from flask_chatwoot.payloads.liquid import escape
from flask_chatwoot.payloads.refusals import refusal
from flask_chatwoot.simulator import Simulator, Talk

BASE_URL = "https://chatwoot.test"
TOKEN = "hunter2-token"
WORDS = "words of a customer"
THEIRS = "words of Chatwoot"
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
FORKED = Path(__file__).parent / "support" / "programs" / "forked_client.py"
FILE = Upload("invoice.pdf", b"%PDF \x00\xff" + WORDS.encode(), "application/pdf")
FILES = [FILE]

Client = ChatwootClient
Env = pytest.MonkeyPatch
Kind = type[APIError]
Call = t.Callable[[Client], object]

POSTS: t.Final[dict[str, Call]] = {
    "message": lambda client: client.create_message(42, WORDS),
    "note": lambda client: client.create_note(42, WORDS),
    "message with a file": lambda client: client.create_message(42, WORDS, files=FILES),
    "note with a file": lambda client: client.create_note(42, WORDS, files=FILES),
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
CALLS = POSTS | GETS | CHANGES
ENDPOINTS = {
    **dict.fromkeys(POSTS, "POST /api/v1/accounts/7/conversations/42/messages"),
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


class Remote(t.NamedTuple):
    """A client, and the Chatwoot that answers it without a network."""

    client: Client
    mock: responses.RequestsMock

    def answers(self, name: str, **values: t.Any) -> None:
        method, path = ENDPOINTS[name].split()
        self.mock.add(method, BASE_URL + path, **values)

    def failure(self, name: str = "message", call: Call | None = None) -> APIError:
        return failure(self.client, name, call)

    @property
    def bodies(self) -> list[dict[str, t.Any]]:
        """What was sent, decoded."""
        return [json.loads(t.cast(str, x.request.body)) for x in self.mock.calls]


@pytest.fixture
def remote() -> t.Iterator[Remote]:
    with responses.RequestsMock() as mock:
        yield Remote(Client(f"{BASE_URL}/", 7, TOKEN), mock)


@pytest.fixture
def wire() -> t.Iterator[Wire]:
    """A server that answers every request."""
    with Wire(repeating(http())) as wire:
        yield wire


@pytest.fixture(autouse=True)
def environment(monkeypatch: Env) -> None:
    """Without proxies and certificates, for ``requests`` obeys them."""
    proxies = [f"{name}_proxy" for name in ("http", "https", "all", "no")]

    for name in (*proxies, *map(str.upper, proxies), *BUNDLES):
        monkeypatch.delenv(name, raising=False)


def client_of(wire: Wire, timeout: float = 10.0) -> Client:
    return Client(wire.url, 7, TOKEN, timeout=timeout)


def failure(client: Client, name: str, call: Call | None = None) -> APIError:
    """The error of a call, after a check that it quotes no secret and no text."""
    with pytest.raises(APIError) as caught:
        (call or CALLS[name])(client)

    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not [text for text in (TOKEN, WORDS, THEIRS, FILE.name) if text in shown]

    return caught.value


@contextlib.contextmanager
def silence() -> t.Iterator[int]:
    """A local port that refuses connections."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and never listens
        yield unused.getsockname()[1]


def facts(error: APIError) -> tuple[Kind, int | None, str]:
    return type(error), error.status, error.endpoint


# Requests


def sent(content: str, private: bool = False, **attributes: t.Any) -> dict[str, t.Any]:
    body = {"content": content, "private": private}
    return body | ({"content_attributes": attributes} if attributes else {})


ALL_CHARACTERS = 'Привет 👩‍🚀 "x" \\ \u2028 <b> & \x07\nü'
LIQUID = "{{contact.email}}"
LONG = "a\n\n" * LIMIT
CHOICES = [("Nein {{x}}", "n")]
ITEMS = [{"title": "Nein {{x}}", "value": "n"}]
PICK = {"content_type": "input_select"}
ASSIGNED = ({"assignee_id": 4}, {"assignee_id": 0}, {"team_id": 2})
STATES = ("open", "pending", "resolved", "snoozed")

BODIES: t.Final[list[tuple[str, dict[str, t.Any], dict[str, t.Any]]]] = [
    ("message", {"content": WORDS}, sent(WORDS)),
    ("note", {"content": WORDS}, sent(WORDS, private=True)),
    ("message", {"content": "Hi", "marker": "m"}, sent("Hi", flask_chatwoot="m")),
    ("note", {"content": "Hi", "marker": "m"}, sent("Hi", True, flask_chatwoot="m")),
    ("message", {"content": ALL_CHARACTERS}, sent(ALL_CHARACTERS)),
    ("message", {"content": LIQUID}, sent(escape(LIQUID))),
    ("message", {"content": LONG}, sent(LONG)),
    ("message", {"content": "?", "choices": CHOICES}, sent("?", items=ITEMS) | PICK),
    *[("status", {"status": each}, {"status": each}) for each in STATES],
    ("typing", {"on": True}, {"typing_status": "on"}),
    ("typing", {"on": False}, {"typing_status": "off"}),
    *[("assign", who, who) for who in ASSIGNED],
]
METHODS: t.Final[dict[str, t.Callable[..., object]]] = {
    "message": Client.create_message,
    "note": Client.create_note,
    "status": Client.toggle_status,
    "typing": Client.toggle_typing_status,
    "assign": Client.assign,
}


@pytest.mark.parametrize(
    ("name", "values", "body"),
    [pytest.param(*row, id=f"{row[0]}-{ascii(row[1])[:60]}") for row in BODIES],
)
def test_a_call_sends_one_body(
    remote: Remote, name: str, values: dict[str, t.Any], body: dict[str, t.Any]
) -> None:
    remote.answers(name, json={"id": 9001, "payload": {}})
    result = METHODS[name](remote.client, 42, **values)

    assert (result, remote.bodies) == (9001 if name in POSTS else None, [body])


@every_call
def test_nginx_forwards_the_header_of_the_token(remote: Remote, name: str) -> None:
    answer: dict[str, t.Any] = {"id": 1, "version": "4.16.2", "custom_attributes": {}}
    answer["payload"] = [] if name == "messages" else {}
    remote.answers(name, json=answer)
    CALLS[name](remote.client)
    headers = {k: str(v) for k, v in remote.mock.calls[0].request.headers.items()}
    kind = "multipart/form-data" if "file" in name else "application/json"

    assert headers["Api-Access-Token"] == TOKEN
    assert headers["Accept"] == "application/json"
    assert headers.get("Content-Type", "").startswith("" if name in GETS else kind)
    assert ("Content-Type" in headers) is (name not in GETS)
    assert not any("_" in header for header in headers)
    assert not {"Authorization", "Cookie"} & set(headers)


@pytest.mark.parametrize(
    "bounds", [{}, {"after": 5}, {"before": 9}, {"after": 5, "before": 9}, {"after": 0}]
)
def test_the_bounds_of_a_list_are_sent(remote: Remote, bounds: dict[str, int]) -> None:
    listed = [{"id": 6, "content": "a"}, {"id": 7, "content": "b"}]
    query = matchers.query_param_matcher({k: str(v) for k, v in bounds.items()})
    remote.answers("messages", json={"meta": {}, "payload": listed}, match=[query])
    found = remote.client.messages(42, **bounds)

    assert [(each.id, each.content) for each in found] == [(6, "a"), (7, "b")]


MESSAGE = ChatwootMessage(6, speaker=Speaker.MACHINE)
OLGA = {"id": 5, "name": "Olga", "accounts": [{"id": 7, "role": "administrator"}]}
SECRETS = {"access_token": "s1", "pubsub_token": "s2", "hmac_identifier": "s3"}


@pytest.mark.parametrize(
    ("name", "answer", "expected"),
    [
        ("messages", {"payload": [None, 1, {"id": 6}, {}, [], "x"]}, [MESSAGE]),
        ("conversation", {"id": 42, "status": "open"}, Conversation(42, status="open")),
        ("profile", OLGA | SECRETS, OLGA),
        ("version", {"version": "4.16.2", "queue_services": "ok"}, "4.16.2"),
    ],
    ids=["only messages are listed", "a conversation", "no secrets", "a version"],
)
def test_an_answer_is_read(
    remote: Remote, name: str, answer: t.Any, expected: t.Any
) -> None:
    remote.answers(name, json=answer)
    assert CALLS[name](remote.client) == expected


def test_the_base_url_may_have_a_path(remote: Remote) -> None:
    remote.mock.get("https://x.test/support/api", json={"version": "4.2.0"})
    assert Client("https://x.test/support/", 7, TOKEN).server_version()


def test_a_repr_does_not_show_the_token(remote: Remote) -> None:
    assert repr(remote.client) == "<ChatwootClient https://chatwoot.test account 7>"


# Answers


OWN: t.Final = json.dumps({"error": THEIRS})
FINAL, LATER, UNCLEAR = PermanentError, TransientError, UnknownError
CREATING: t.Final = ("message", "note", "message with a file", "call")
READING: t.Final = ("conversation", "messages", "version", "status", "assign")

STATUSES: t.Final = [
    # the statuses, the body, the error after a request that creates, and after another
    ((401, 403, 404, 422), OWN, FINAL, FINAL),
    ((400, 402, 405, 408, 410, 413, 499), OWN, LATER, LATER),
    ((429,), "Retry later\n", LATER, LATER),
    ((500, 502, 503, 599), OWN, UNCLEAR, LATER),
    ((300, 302, 307), OWN, UNCLEAR, LATER),
    ((401, 403, 404, 405, 408, 410, 425, 502), "<html>", UNCLEAR, LATER),
]
NOT_OWN: t.Final = [
    *("", "{}", "[]", "null", '"x"', "{", '{"error": ""}', '{"error": null}'),
    *('{"message": "no Route matched"}', '{"detail": "Not Found"}'),
    '{"timestamp": 1, "status": 404, "error": "Not Found", "path": "/api"}',
]
ALSO_OWN: t.Final = [
    '{"errors": ["You need to sign in or sign up before continuing."]}',
    '{"message": "App has already been taken", "attributes": ["app_id"]}',
]


@pytest.mark.parametrize(("statuses", "body", "created", "other"), STATUSES)
def test_only_chatwoots_own_json_is_a_refusal(
    remote: Remote, statuses: tuple[int, ...], body: str, created: Kind, other: Kind
) -> None:
    """After a POST of a message it is unknown whether it was made, unless it is known
    that it was not."""
    expected = dict.fromkeys(CREATING, created) | dict.fromkeys(READING, other)

    for status in statuses:
        for name, kind in expected.items():
            remote.mock.reset()
            remote.answers(name, status=status, body=body)
            error = remote.failure(name)

            assert facts(error) == (kind, status, ENDPOINTS[name])
            assert BASE_URL not in str(error)
            assert len(remote.mock.calls) == 1


@pytest.mark.parametrize(
    ("body", "kind"),
    [*((body, LATER) for body in NOT_OWN), *((body, FINAL) for body in ALSO_OWN)],
)
def test_chatwoots_json_is_told_from_that_of_others(
    remote: Remote, body: str, kind: Kind
) -> None:
    remote.answers("conversation", status=404, body=body)
    assert type(remote.failure("conversation")) is kind


@pytest.mark.parametrize(
    ("status", "said", "hint"),
    [
        *[(401, OWN, "CHATWOOT_API_ACCESS_TOKEN"), (404, OWN, "CHATWOOT_ACCOUNT_ID")],
        *[
            (403, OWN, "plan"),
            (422, OWN, "does not accept"),
            (409, OWN, "answered 409"),
        ],
        *[(503, "", "answered 503"), (404, "", "CHATWOOT_BASE_URL")],
        (401, "", "CHATWOOT_API_ACCESS_TOKEN"),
    ],
)
def test_a_refusal_has_a_hint(
    remote: Remote, status: int, said: str, hint: str
) -> None:
    remote.answers("message", status=status, body=said)
    assert hint in str(remote.failure())


UNAUTHORIZED: t.Final = [
    (ALSO_OWN[0], "No token has reached it: a proxy drops the header"),
    ('{"error": "Invalid Access Token"}', "It does not know the token; set {} to"),
    (
        '{"error": "You are not authorized to do this action"}',
        "It knows the token in {}, which has no right to this",
    ),
    ("<html>", "A proxy may have given it, or removed the token; see {}."),
]


@pytest.mark.parametrize("key", ["CHATWOOT_API_ACCESS_TOKEN", "CHATWOOT_ADMIN_TOKEN"])
@pytest.mark.parametrize(("said", "hint"), UNAUTHORIZED)
def test_a_401_of_chatwoot_names_the_setting_of_the_token(
    said: str, hint: str, key: str
) -> None:
    error = refusal(
        401, {}, said.encode(), endpoint="GET /api/v1/profile", token_key=key
    )

    assert hint.format(key) in str(error)
    assert key in str(error)


@pytest.mark.parametrize(
    ("said", "is_bad"),
    [
        *[('{"error": "Invalid Access Token"}', True), (ALSO_OWN[0], True)],
        ('{"error": "Access to this endpoint is not authorized for bots"}', False),
        *[
            ('{"error": "You are not authorized to do this action"}', False),
            ("", False),
        ],
    ],
)
def test_a_token_that_is_unknown_is_told_from_one_without_the_right(
    remote: Remote, said: str, is_bad: bool
) -> None:
    remote.answers("conversation", status=401, body=said)
    assert remote.failure("conversation").bad_token is is_bad


@pytest.mark.parametrize(("status", "seconds"), [(429, None), (429, 17), (503, 17)])
def test_the_error_has_the_pause(remote: Remote, status: int, seconds: t.Any) -> None:
    headers = {"Retry-After": str(seconds)} if seconds else {}
    remote.answers("message", status=status, body="Retry later\n", headers=headers)

    assert remote.failure().retry_after == seconds


NOT_CHATWOOT: t.Final = (
    *("", f"<html>{THEIRS}</html>", f'["{THEIRS}"]', f'"{THEIRS}"', "1", "null"),
    *('{"id": 1', '{"id": ' + "9" * 5000 + "}", '{"id": ' + "[" * 100_000),
)
BROKEN_JSON: t.Final = (f"<html>{THEIRS}</html>", '{"id": 1', "[" * 100_000)
CHANGED: t.Final = ("status", "attributes", "assign")
NO_IDS: t.Final = (None, 0, -1, True, "1", 1.5, 2**63, [1])
NO_LISTS: t.Final[t.Sequence[t.Any]] = (None, {}, "x", 1, {"messages": []})
NO_VERSIONS: t.Final[t.Sequence[t.Any]] = (None, 4.16, ["4", "16"])

UNUSABLE: t.Final[list[tuple[str, str, Kind]]] = [
    *[(name, body, UNCLEAR) for name in ("note", "call") for body in BROKEN_JSON],
    *[("message", body, UNCLEAR) for body in NOT_CHATWOOT],
    *[("messages", body, LATER) for body in NOT_CHATWOOT],
    *[(name, body, LATER) for name in CHANGED for body in ("<html>", "[]", '"x"')],
    *[(name, '{"maintenance": true}', LATER) for name in (*CHANGED, "conversation")],
    *[(name, "", LATER) for name in ("status", "attributes")],
    *[("message", json.dumps({"id": id}), UNCLEAR) for id in NO_IDS],
    ("note", json.dumps({"content": THEIRS}), UNCLEAR),
    *[("messages", json.dumps({"payload": x}), LATER) for x in NO_LISTS],
    *[("version", json.dumps({"version": x}), LATER) for x in NO_VERSIONS],
    *[(name, "{}", LATER) for name in ("messages", "version")],
]


@pytest.mark.parametrize(
    ("name", "body", "kind"),
    [pytest.param(*row, id=f"{row[0]}-{row[1][:24]}") for row in UNUSABLE],
)
def test_an_answer_is_unusable(
    remote: Remote, name: str, body: str, kind: Kind
) -> None:
    """After a POST of a message it is unknown whether it was made."""
    remote.answers(name, body=body)
    error = remote.failure(name)

    assert facts(error) == (kind, 200, ENDPOINTS[name])
    assert "CHATWOOT_BASE_URL" in str(error)


@pytest.mark.parametrize("status", [201, 204])
def test_an_unusable_answer_keeps_its_status(remote: Remote, status: int) -> None:
    remote.answers("message", status=status)
    assert remote.failure().status == status


def test_any_2xx_status_is_a_success(remote: Remote) -> None:
    remote.answers("message", status=201, json={"id": 5})
    assert remote.client.create_message(42, WORDS) == 5


@pytest.mark.parametrize(
    ("location", "hint"),
    [
        ("https://right.test/", "set CHATWOOT_BASE_URL to https://right.test"),
        ("http://right.test:3000/api?token=s1", "to http://right.test:3000"),
        ("https://me:s1@right.test/x#s1", "to https://right.test"),
        *[(text, "to the final address") for text in ("/login?token=s1", "", "s1")],
        *[(text, "to the final address") for text in ("//right.test/s1", "https://")],
        ("javascript:alert('s1')", "to the final address"),
        ("http://[s1", "to the final address"),
        *[(f"http://{text}", "redirects") for text in ("right.test:port/s1", "ü.test")],
    ],
    ids=ascii,
)
@pytest.mark.parametrize("name", ["message", "version"])
def test_a_redirect_has_a_hint(
    remote: Remote, name: str, location: str, hint: str
) -> None:
    remote.answers(name, status=302, headers={"Location": location})
    error = remote.failure(name)

    kind = UNCLEAR if name == "message" else LATER
    assert facts(error) == (kind, 302, ENDPOINTS[name])
    assert hint in str(error)
    assert "s1" not in str(error)
    assert len(remote.mock.calls) == 1


# No answer


GET = requests.Request("GET", BASE_URL).prepare()


def gave_up(reason: Exception) -> urllib3_errors.MaxRetryError:
    return urllib3_errors.MaxRetryError(t.cast(t.Any, None), "/", reason)


def certificate_error(reason: Exception) -> requests.exceptions.SSLError:
    """What ``requests`` raises when the handshake fails for a reason."""
    return requests.exceptions.SSLError(gave_up(urllib3_errors.SSLError(reason)))


@pytest.mark.parametrize(
    ("error", "was_sent"),
    [
        (requests.ConnectTimeout(THEIRS), False),
        (certificate_error(ssl.SSLCertVerificationError(THEIRS)), False),
        (certificate_error(ssl.SSLError(THEIRS)), True),
        *[(requests.exceptions.SSLError(*words), True) for words in ([THEIRS], [])],
        (requests.ConnectionError(gave_up(urllib3_errors.SSLError())), True),
        *[(requests.ConnectionError(*words), True) for words in ([THEIRS], [])],
        (requests.RequestException(THEIRS), True),
        # urllib3 raises this for "Content-Length: 5, 6" in an answer.
        (requests.exceptions.InvalidHeader(THEIRS, request=GET), True),
    ],
    ids=repr,
)
def test_in_doubt_it_was_sent(remote: Remote, error: Exception, was_sent: bool) -> None:
    kind = UnknownError if was_sent else TransientError

    for name, expected in (("message", kind), ("conversation", TransientError)):
        remote.answers(name, body=error)
        found = remote.failure(name)
        assert facts(found) == (expected, None, ENDPOINTS[name])
        assert type(error).__name__ in str(found)


@pytest.mark.parametrize(
    ("base_url", "token"),
    [
        *[(f"https://{host}.test", TOKEN) for host in ("chat.", "", "a" * 70)],
        *[(url, TOKEN) for url in ("http://*.test", "chatwoot.test", "ftp://x.test")],
        *[(BASE_URL, f"{TOKEN}\nX-Evil: 1"), ("http://127.0.0.1:1", f"{TOKEN}-ключ")],
    ],
    ids=ascii,
)
@pytest.mark.parametrize("name", ["message", "conversation"])
def test_a_malformed_request_is_not_sent(name: str, base_url: str, token: str) -> None:
    error = failure(Client(base_url, 7, token, timeout=1.0), name)

    assert not isinstance(error, UnknownError)
    assert error.status is None


@pytest.mark.parametrize("name", ["message", "conversation"])
def test_missing_certificates_fail(monkeypatch: Env, name: str) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/missing.pem")
    error = failure(Client("https://127.0.0.1:1", 7, TOKEN), name)

    assert not isinstance(error, UnknownError)
    assert error.status is None


# Connections


def test_two_calls_share_a_connection_but_no_cookie() -> None:
    with Wire(repeating(http("200 OK", '{"id": 1}', "Set-Cookie: a=b"))) as wire:
        client = client_of(wire)
        client.create_message(42, "one")
        client.conversation(42)

    first, second = wire.requests
    assert wire.used == [0, 0]
    assert first.line.endswith("/conversations/42/messages HTTP/1.1")
    assert json.loads(first.body) == {"content": "one", "private": False}
    assert "Cookie" not in second.headers


def test_every_thread_has_its_own_connection(wire: Wire) -> None:
    client = client_of(wire)

    for _ in range(3):
        with ThreadPoolExecutor() as pool:
            pool.submit(client.conversation, 42).result(10)

    client.conversation(42)
    client.conversation(42)
    assert wire.used == [0, 1, 2, 3, 3]


def test_a_forked_process_does_not_share_its_parents_connection(wire: Wire) -> None:
    subprocess.run([sys.executable, FORKED, wire.url], check=True, timeout=60)

    used = {r.line.split()[1].rpartition("/")[2]: r.connection for r in wire.requests}
    assert used == {"1": 0, "2": 0, "4": 0, "3": 1}


@every_call
@pytest.mark.parametrize("host", ["127.0.0.1", "chatwoot.invalid"])
def test_nothing_is_sent_without_a_connection(host: str, name: str) -> None:
    with silence() as port:
        error = failure(Client(f"http://{host}:{port}", 7, TOKEN), name)

    assert facts(error) == (TransientError, None, ENDPOINTS[name])
    assert f"no connection to http://{host}:{port} (" in str(error)
    assert "check CHATWOOT_BASE_URL, whether this machine may connect" in str(error)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{"
BROKEN: t.Final[t.Mapping[str, Script]] = {
    "a closed connection": answering(b""),
    "half a status line": answering(b"HTTP/1.1 20"),
    "half a body": answering(http()[:-4]),
    "half a chunk": answering(CHUNKED),
    "no HTTP": answering(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    "no gzip": answering(http("200 OK", '{"id": 1}', "Content-Encoding: gzip")),
}


UNANSWERED: t.Final = [*POSTS, *CHANGES, "conversation"]


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("name", UNANSWERED)
def test_without_an_answer_only_a_get_may_be_retried(name: str, script: Script) -> None:
    assert_unanswered(name, script)


def test_the_same_holds_if_no_answer_comes_in_time() -> None:
    with ThreadPoolExecutor(len(UNANSWERED)) as pool:
        for done in [pool.submit(assert_unanswered, n, hanging) for n in UNANSWERED]:
            done.result()


def assert_unanswered(name: str, script: Script) -> None:
    """Of a call to such a server, which got the request."""
    with Wire(script) as wire:
        # Far more than it takes to connect, which may fail without the request.
        error = failure(client_of(wire, timeout=1.0), name)

    kind = TransientError if name in GETS else UnknownError
    assert facts(error) == (kind, None, ENDPOINTS[name])
    assert "no answer" in str(error)
    assert f" {wire.url} " in str(error)
    assert len(wire.requests) == wire.connections == 1


@every_call
def test_a_connection_that_is_reset_at_once_is_not_retried(name: str) -> None:
    with Wire(resetting) as wire:
        error = failure(client_of(wire), name)

    # The request may or may not have been written before the reset was noticed.
    possible = {TransientError} if name in GETS else {TransientError, UnknownError}
    assert type(error) in possible
    assert wire.connections == 1


def test_a_connection_that_the_server_has_closed_is_not_reused() -> None:
    with Wire(answering(http())) as wire:
        client = client_of(wire)
        client.create_message(42, "one")
        wire.wait_for(0)
        client.create_message(42, "two")

    assert wire.used == [0, 1]


@pytest.mark.parametrize(("seconds", "used"), [(60.0, [0, 0, 0]), (0.0, [0, 1, 2])])
def test_a_message_gets_only_a_connection_that_was_in_use_just_now(
    monkeypatch: Env, seconds: float, used: list[int]
) -> None:
    monkeypatch.setattr(connections, "_KEPT_TO_WRITE", seconds)

    with Wire(repeating(http())) as wire:
        client = client_of(wire)
        client.conversation(42)
        client.create_message(42, "one")
        client.toggle_typing_status(42, on=False)

    assert wire.used == used


def test_a_message_is_not_repeated_if_its_kept_connection_was_cut() -> None:
    with Wire(answering(http(), b"")) as wire:
        client = client_of(wire)
        client.conversation(42)

        with pytest.raises(UnknownError):
            client.create_message(42, "one")

    assert wire.used == [0, 0]


def test_a_read_is_repeated_if_its_kept_connection_was_cut() -> None:
    with Wire(answering(http(), b"")) as wire:
        client = client_of(wire)
        assert client.conversation(42).id == client.conversation(42).id == 1

    assert wire.used == [0, 0, 1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("name", ["message", "profile"])
def test_a_redirect_does_not_get_the_token(wire: Wire, name: str, status: int) -> None:
    moved = http(f"{status} Moved", "", f"Location: {wire.url}/api")

    with Wire(repeating(moved)) as first:
        error = failure(client_of(first), name)

    kind = UNCLEAR if name == "message" else LATER
    assert facts(error) == (kind, status, ENDPOINTS[name])
    assert wire.url in str(error)
    assert (len(first.requests), wire.connections) == (1, 0)


def test_no_password_of_a_file_is_sent(
    wire: Wire, monkeypatch: Env, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password s1\n", encoding="utf-8")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    client_of(wire).conversation(42)
    exchange("GET", wire.url)

    assert len(wire.requests) == 2
    assert not [each for each in wire.requests if "Authorization" in each.headers]


def test_the_proxy_of_the_environment_is_used(monkeypatch: Env, wire: Wire) -> None:
    url = "http://chatwoot.invalid/api/v1/accounts/7/conversations/42"
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    with Wire(repeating(http())) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        client_of(wire).conversation(42)
        Client("http://chatwoot.invalid", 7, TOKEN).conversation(42)

    assert [request.line for request in proxy.requests] == [f"GET {url} HTTP/1.1"]
    assert len(wire.requests) == 1


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_error_quotes_no_proxy_password(monkeypatch: Env, scheme: str) -> None:
    with silence() as port:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://me:s1@127.0.0.1:{port}")
        error = failure(Client(f"{scheme}://x.invalid", 7, TOKEN), "message")

    assert type(error) is TransientError  # nothing was sent
    assert "s1" not in str(error)
    assert "127.0.0.1" not in str(error)


@pytest.mark.parametrize("name", BUNDLES)
def test_the_certificates_are_used(remote: Remote, monkeypatch: Env, name: str) -> None:
    monkeypatch.setenv(name, "/etc/our-own.pem")
    match = [matchers.request_kwargs_matcher({"verify": "/etc/our-own.pem"})]
    remote.answers("version", json={"version": "4.16.2"}, match=match)

    assert remote.client.server_version() == "4.16.2"


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [("2026-11-28 05:38:25", 1_795_844_305.0), ("soon", None), (None, None)],
)
def test_the_time_of_the_server_is_read(
    remote: Remote, timestamp: str | None, expected: float | None
) -> None:
    remote.answers("version", json={"version": "4.16.2", "timestamp": timestamp})

    assert remote.client.server_time() == expected


# Changes of a conversation


@pytest.mark.parametrize("merge", [False, True])
def test_the_current_attributes_are_returned(remote: Remote, merge: bool) -> None:
    current = {"support_mode": "human", "topic": "Invoice"}
    remote.answers("attributes", json={"custom_attributes": current})
    values = MappingProxyType({"support_mode": "human"})
    body = {"custom_attributes": dict(values)} | ({"merge": True} if merge else {})

    assert remote.client.set_custom_attributes(42, values, merge=merge) == current
    assert remote.bodies == [body]


@pytest.mark.parametrize("name", ["typing", "assign", "call"])
@pytest.mark.parametrize("answer", [(200, ""), (200, "null"), (204, "")])
def test_a_change_needs_no_body(remote: Remote, name: str, answer: t.Any) -> None:
    remote.answers(name, status=answer[0], body=answer[1])
    CHANGES[name](remote.client)


# Any other endpoint


@pytest.mark.parametrize("value", [{"payload": [1]}, [1, 2], "text", 5, None, True])
def test_any_endpoint_can_be_called(remote: Remote, value: t.Any) -> None:
    query = matchers.query_param_matcher({"page": "2", "q": "a&b=c ü"})
    url = f"{BASE_URL}/api/v1/accounts/7/inboxes"
    remote.mock.get(url, json=value, match=[query])
    params = {"page": 2, "q": "a&b=c ü", "nothing": None}

    assert remote.client.call("GET", "/inboxes", params=params) == value
    assert remote.mock.calls[0].request.body is None


@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT", "DELETE"])
def test_a_call_with_a_body_may_have_been_obeyed(remote: Remote, method: str) -> None:
    url = f"{BASE_URL}/api/v1/accounts/7/labels/3"
    remote.mock.add(method, url, body="")

    assert remote.client.call(method, "/labels/3", {"title": "ü"}) is None
    assert remote.bodies == [{"title": "ü"}]

    for answer in ("<html>", requests.ReadTimeout()):
        remote.mock.upsert(method, url, body=answer)
        error = remote.failure(call=lambda client: client.call(method, "/labels/3"))
        assert isinstance(error, UnknownError)


# Files


@pytest.mark.parametrize(
    ("name", "private"),
    [("message with a file", b"false"), ("note with a file", b"true")],
)
def test_files_are_sent_as_a_form(wire: Wire, name: str, private: bytes) -> None:
    assert POSTS[name](client_of(wire)) == 1
    assert form_of(wire.requests[0]) == [
        Field("content", None, "text/plain", WORDS.encode()),
        Field("private", None, "text/plain", private),
        Field("attachments[]", FILE[0], FILE[2], FILE[1]),
    ]


def test_an_object_is_written_into_a_form_as_json(wire: Wire) -> None:
    client_of(wire).create_message(
        42, "Привет", marker="m", choices=CHOICES, files=[FILE, FILE]
    )

    content, private, kind, attributes, *files = form_of(wire.requests[0])
    assert content.content.decode() == "Привет"
    assert (private.content, kind.content) == (b"false", b"input_select")
    assert json.loads(attributes.content) == {"flask_chatwoot": "m", "items": ITEMS}
    assert [file.name for file in files] == ["attachments[]"] * 2


@pytest.mark.parametrize(
    "filename", ["Größe.pdf", "Счёт.pdf", 'a"b.pdf', "a\r\nX-Evil: 1.pdf", "👩‍🚀.png"]
)
def test_a_file_may_have_any_name(sim: Simulator, talk: Talk, filename: str) -> None:
    file = Upload(filename, b"x\0y", "application/pdf")
    client = Client(sim.url, 1, sim.user_token)
    client.create_note(talk.id, "Here", marker="m", files=[file, file])
    client.create_message(talk.id, "", files=[file])

    note, message = talk.posted
    assert not [call for call in sim.calls if "X-Evil" in call.json]
    assert [file["file_size"] for file in note.attachments] == [3, 3]
    assert (note.content, note.private, message.private) == ("Here", True, False)
    assert note.content_attributes == {"flask_chatwoot": "m"}
    assert (len(message.attachments), message.content or "") == (1, "")


# Raw requests


def raw_answer(*answer: str) -> RawAnswer:
    """The answer to one request."""
    with Wire(repeating(http(*answer))) as wire:
        found = exchange("GET", wire.url)

    assert isinstance(found, RawAnswer)
    assert len(wire.requests) == 1

    return found


def test_a_raw_answer_is_returned_unchanged() -> None:
    with Wire(repeating(http("418 Tea", '{"a": 1}', "X-Tea: yes"))) as wire:
        found = exchange("POST", f"{wire.url}/x", headers={"X-A": "b"}, body=b"hello")

    (request,) = wire.requests
    assert isinstance(found, RawAnswer)
    assert (found.status, found.json, found.redirect) == (418, {"a": 1}, None)
    assert (found.headers["x-tea"], request.headers["X-A"]) == ("yes", "b")
    assert (request.line, request.body) == ("POST /x HTTP/1.1", b"hello")


@pytest.mark.parametrize(
    ("header", "target"), [("Location: /else", "/else"), ("A: b", "")]
)
def test_a_raw_redirect_is_not_followed(header: str, target: str) -> None:
    assert raw_answer("302 Found", "", header).redirect == target


@pytest.mark.parametrize(
    ("status", "body", "size"),
    [("200 OK", "x" * 1_000_000, 64 * 1024), ("204 No Content", "", 0)],
)
def test_64_kib_of_a_raw_answer_are_read(status: str, body: str, size: int) -> None:
    found = raw_answer(status, body)
    assert (len(found.body), found.json) == (size, None)


def test_a_raw_request_without_an_answer_in_time_has_a_kind() -> None:
    with Wire(hanging) as wire:
        assert exchange("GET", wire.url, timeout=1.0) == NoAnswer("ReadTimeout")


@pytest.mark.parametrize(
    ("url", "headers", "kind"),
    [
        ("nowhere", {}, "MissingSchema"),
        *[(url, {}, "InvalidURL") for url in ("http://", "http://[::1")],
        ("http://127.0.0.1:1/", {}, "ConnectionError"),
        ("http://127.0.0.1:1", {"X-A": "a\nb"}, "InvalidHeader"),
    ],
)
def test_a_raw_failure_has_a_kind(url: str, headers: dict[str, str], kind: str) -> None:
    assert exchange("GET", url, headers=headers) == NoAnswer(kind)


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (certificate_error(ssl.SSLError(1, "[SSL] wrong version")), "handshake"),
        (requests.exceptions.SSLError(), "the handshake failed"),
        (requests.exceptions.SSLError("words"), "the handshake failed"),
    ],
    ids=repr,
)
def test_a_tls_error_is_named(remote: Remote, error: Exception, problem: str) -> None:
    remote.mock.get(f"{BASE_URL}/", body=error)
    found = exchange("GET", f"{BASE_URL}/")

    assert isinstance(found, NoAnswer)
    assert problem in (found.tls or "")


def test_a_raw_answer_shows_only_its_status() -> None:
    assert repr(RawAnswer(200, {"X-Secret": "a"}, b"b")) == "RawAnswer(status=200)"
