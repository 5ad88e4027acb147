from __future__ import annotations

import copy
import io
import json
import logging
import sqlite3
import time
import typing as t
from pathlib import Path

import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from hypothesis import given, settings
from hypothesis import strategies as st
from support.apps import AppFactory, database_of, job_of, jobs_of
from support.chatwoot import ChatwootStub
from support.deliveries import SECRET, WEBHOOK, deliver, message, signed
from werkzeug.test import TestResponse

from flask_chatwoot import Chatwoot, Reply, Turn
from flask_chatwoot.errors import ConfigError
from flask_chatwoot.outcomes import DeliveryOutcome, Reason
from flask_chatwoot.payloads import signature
from flask_chatwoot.simulator.payloads import (
    JSON,
    Conversation,
    MessageType,
    conversation_event,
)

COPILOT = "/chatwoot/copilot"
BEARER = {"Authorization": "Bearer token-of-a-page"}
INVALID = {"error": "invalid signature"}
ANSWER = "On its way."


@pytest.fixture
def asked(chatwoot: Chatwoot) -> list[str]:
    """What the provider was asked."""
    texts: list[str] = []

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        texts.append(text)
        return ANSWER

    return texts


def told(answer: TestResponse) -> tuple[int, t.Any]:
    return answer.status_code, answer.json


# -- the webhook's answers -----------------------------------------------------


def test_a_message_is_accepted(
    client: FlaskClient, asked: list[str], api: ChatwootStub
) -> None:
    answer = deliver(client, message())

    assert told(answer) == (202, {"status": "accepted"})
    assert answer.mimetype == "application/json"
    assert asked == ["Where is my order?"]


@pytest.mark.parametrize("times", [1, 3])
def test_a_replay_inside_the_window_is_a_duplicate(
    client: FlaskClient, asked: list[str], api: ChatwootStub, times: int
) -> None:
    delivery = signed(message())
    client.post(WEBHOOK, **delivery)

    for _ in range(times):
        assert told(client.post(WEBHOOK, **delivery)) == (200, {"status": "duplicate"})

    assert (len(asked), len(api.attempts)) == (1, 1)


def test_a_message_delivered_with_two_ids_is_a_duplicate(
    client: FlaskClient, asked: list[str], api: ChatwootStub
) -> None:
    for number in (1, 2):
        delivery = signed(message())
        delivery["headers"]["X-Chatwoot-Delivery"] = f"delivery-{number}"
        client.post(WEBHOOK, **delivery)

    assert len(api.attempts) == 1


IGNORED: dict[Reason, JSON] = {
    Reason.OTHER_EVENT: {"event": "webwidget_triggered", "account": {"id": 1}},
    Reason.CONVERSATION: conversation_event("conversation_opened", Conversation()),
    Reason.OTHER_ACCOUNT: message(account_id=2),
    Reason.OUTGOING: message(type=MessageType.OUTGOING),
    Reason.PRIVATE: message(type=MessageType.OUTGOING, private=True),
    Reason.TEMPLATE: message(type=MessageType.TEMPLATE, sender=None),
    Reason.ACTIVITY: message(type=MessageType.ACTIVITY, sender=None),
    Reason.UNKNOWN_TYPE: {**message(), "message_type": "shout"},
    Reason.EMPTY: message(" \n"),
}


@pytest.mark.parametrize("reason", IGNORED)
def test_what_needs_no_answer_is_ignored_with_a_reason(
    app: Flask, client: FlaskClient, asked: list[str], reason: Reason
) -> None:
    answer = deliver(client, IGNORED[reason])

    assert told(answer) == (200, {"status": "ignored", "reason": reason})
    assert (asked, jobs_of(app)) == ([], [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"event": "message_updated"}, "other_event"),
        ({"event": "automation_event.message_created"}, "other_event"),
        ({"event": "something_new"}, "other_event"),
        ({"content": None}, "empty"),
        ({"content": ""}, "empty"),
        ({"message_type": 1}, "outgoing"),
        ({"message_type": 2}, "activity"),
        ({"message_type": 3}, "template"),
        ({"message_type": 9}, "unknown_type"),
        ({"message_type": None}, "unknown_type"),
        ({"message_type": ["incoming"]}, "unknown_type"),
        ({"private": True}, "private"),
        ({"private": "false"}, "private"),
    ],
)
def test_every_shape_of_what_needs_no_answer_is_known(
    app: Flask, client: FlaskClient, asked: list[str], change: JSON, reason: str
) -> None:
    answer = deliver(client, {**message(), **change})

    assert told(answer) == (200, {"status": "ignored", "reason": reason})
    assert (asked, jobs_of(app)) == ([], [])


@pytest.mark.parametrize(
    "change",
    [{"message_type": 0}, {"private": None}, {"sender": None}, {"inbox": None}],
)
def test_every_shape_of_a_question_is_known(
    client: FlaskClient, asked: list[str], api: ChatwootStub, change: JSON
) -> None:
    assert deliver(client, {**message(), **change}).status_code == 202
    assert len(asked) == 1


@pytest.mark.parametrize("missing", ["base_url", "account_id", "api_access_token"])
def test_without_configuration_a_delivery_is_ignored(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    asked: list[str],
    tmp_path: Path,
    missing: str,
) -> None:
    client = make_app(chatwoot, **{missing: None}).test_client()

    answer = deliver(client, message())
    assert told(answer) == (200, {"status": "ignored", "reason": "not_configured"})
    assert deliver(client, b"{").status_code == 400
    assert client.post(WEBHOOK, data=b"{}").status_code == 401
    assert (asked, list(tmp_path.iterdir())) == ([], [])


# -- bodies --------------------------------------------------------------------


def without(*path: str) -> JSON:
    """A delivery that lacks something."""
    given = message()
    holder = given

    for key in path[:-1]:
        holder = holder[key]

    del holder[path[-1]]

    return given


HOSTILE: dict[str, bytes | JSON] = {
    "nothing": b"",
    "spaces": b"  \n",
    "no JSON": b"event=message_created",
    "half": b'{"event": "message_created"',
    "two": b"{} {}",
    "latin-1": '{"event": "grüße"}'.encode("latin-1"),
    "utf-16": '{"event": "message_created"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "null byte": b'{"event": "message_created"}\0',
    "list": b'[{"event": "message_created"}]',
    "text": b'"message_created"',
    "number": b"7",
    "null": b"null",
    "not a number": b'{"event": "message_created", "id": NaN}',
    "infinity": b'{"event": "message_created", "id": -Infinity}',
    "empty object": b"{}",
    "no event": without("event"),
    "event is null": {**message(), "event": None},
    "event is a list": {**message(), "event": ["message_created"]},
    "deep lists": b'{"event":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "deep objects": b'{"event":' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "never closed": b"[" * 100_000,
    "huge number": b'{"event": "message_created", "id": 1' + b"0" * 5_000 + b"}",
    "huge id": {**message(), "id": 2**63},
    "huge float": b'{"event": "message_created", "id": 1e400}',
    "no id": without("id"),
    "id is text": {**message(), "id": "9001"},
    "id is true": {**message(), "id": True},
    "id is a float": {**message(), "id": 9001.0},
    "id is zero": {**message(), "id": 0},
    "id is negative": {**message(), "id": -1},
    "no account": without("account"),
    "account is a number": {**message(), "account": 1},
    "account without id": without("account", "id"),
    "no conversation": without("conversation"),
    "conversation is a list": {**message(), "conversation": [{"id": 42}]},
    "conversation without id": without("conversation", "id"),
    "conversation id is null": {**message(), "conversation": {"id": None}},
    "no type": without("message_type"),
    "content is a number": {**message(), "content": 7},
    "content is an object": {**message(), "content": {"text": "Hello"}},
    "content is a list": {**message(), "content": ["Hello"]},
}


@pytest.mark.parametrize("body", HOSTILE)
def test_a_hostile_body_is_refused_and_nothing_is_stored(
    app: Flask, client: FlaskClient, asked: list[str], body: str
) -> None:
    answer = deliver(client, HOSTILE[body])

    assert answer.status_code == 400
    assert set(t.cast(JSON, answer.json)) == {"error"}
    assert (asked, jobs_of(app)) == ([], [])


STRANGE: dict[str, JSON] = {
    "attributes are null": {"custom_attributes": None, "additional_attributes": None},
    "attributes are lists": {"custom_attributes": [], "additional_attributes": [1]},
    "attributes are text": {"custom_attributes": "bot"},
    "the choice is a list": {"custom_attributes": {"support_mode": ["bot"]}},
    "the choice is an object": {"custom_attributes": {"support_mode": {"a": 1}}},
    "the choice is a number": {"custom_attributes": {"support_mode": 7}},
    "meta is text": {"meta": "text"},
    "the sender is a list": {"meta": {"sender": [1]}},
    "messages are text": {"messages": "text"},
    "messages hold null": {"messages": [None]},
    "messages hold lists": {"messages": [[1]]},
    "the inbox is text": {"inbox_id": "3"},
}


@pytest.mark.parametrize("strange", STRANGE)
def test_a_strange_conversation_is_answered_with_a_note(
    client: FlaskClient, asked: list[str], api: ChatwootStub, strange: str
) -> None:
    given = message(mode=None)
    given["conversation"].update(STRANGE[strange])

    assert deliver(client, given).status_code == 202
    assert (api.public, api.notes) == ([], [ANSWER])


@pytest.mark.parametrize("value", [None, 7, "text", [], [None], {"a": [1]}, True])
@pytest.mark.parametrize(
    "key",
    [
        "sender",
        "contact",
        "inbox",
        "attachments",
        "content_attributes",
        "additional_attributes",
        "content_type",
        "created_at",
        "source_id",
    ],
)
def test_a_strange_value_beside_the_question_changes_nothing(
    client: FlaskClient, asked: list[str], api: ChatwootStub, key: str, value: t.Any
) -> None:
    assert deliver(client, {**message(), key: value}).status_code == 202
    assert api.public == [ANSWER]


@pytest.mark.parametrize(
    "text", ["\ud800", "\0", "🙂" * 1000, "\u202e", "<p>" * 1000, "{{contact.email}}"]
)
def test_a_strange_text_is_answered(
    client: FlaskClient, asked: list[str], api: ChatwootStub, text: str
) -> None:
    assert deliver(client, message(text)).status_code == 202
    assert asked == [text]
    assert api.public == [ANSWER]


# -- sizes ---------------------------------------------------------------------


def chunked(client: FlaskClient, body: bytes, **headers: str) -> TestResponse:
    """A delivery that does not say how long it is."""
    delivery = signed(body)

    return client.post(
        WEBHOOK,
        input_stream=io.BytesIO(body),
        headers={**delivery["headers"], **headers, "Transfer-Encoding": "chunked"},
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )


def padded(size: int) -> bytes:
    """A delivery of exactly so many bytes."""
    raw = json.dumps(message()).encode()

    return raw + b" " * (size - len(raw))


@pytest.mark.parametrize("send", [deliver, chunked], ids=["announced", "chunked"])
def test_a_body_of_the_largest_size_is_accepted_and_one_byte_more_is_not(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    asked: list[str],
    api: ChatwootStub,
    send: t.Callable[[FlaskClient, bytes], TestResponse],
) -> None:
    app = make_app(chatwoot, max_body=5000)

    answer = send(app.test_client(), padded(5001))
    assert answer.status_code == 413
    assert set(t.cast(JSON, answer.json)) == {"error"}
    assert (asked, jobs_of(app)) == ([], [])

    assert send(app.test_client(), padded(5000)).status_code == 202


@pytest.mark.parametrize("send", [deliver, chunked], ids=["announced", "chunked"])
def test_ten_mebibytes_are_too_much(
    client: FlaskClient, send: t.Callable[[FlaskClient, bytes], TestResponse]
) -> None:
    assert send(client, padded(10 * 2**20)).status_code == 413


def test_a_body_that_claims_to_be_too_large_is_not_read(client: FlaskClient) -> None:
    class Untouchable(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise AssertionError("This was read.")

    answer = client.post(
        WEBHOOK,
        input_stream=Untouchable(),
        environ_overrides={"CONTENT_LENGTH": str(10**12)},
    )

    assert answer.status_code == 413


def test_a_body_shorter_than_it_claims_is_refused(
    app: Flask, client: FlaskClient
) -> None:
    delivery = signed(padded(5000))
    answer = client.post(
        WEBHOOK,
        input_stream=io.BytesIO(delivery["data"][:4000]),
        headers=delivery["headers"],
        environ_overrides={"CONTENT_LENGTH": "5000"},
    )

    assert answer.status_code in (400, 401)
    assert jobs_of(app) == []


@pytest.mark.parametrize("length", ["", "-1", "ten", "1" * 400])
def test_a_hostile_length_is_refused(
    app: Flask, client: FlaskClient, length: str
) -> None:
    delivery = signed(message())
    answer = client.post(
        WEBHOOK,
        input_stream=io.BytesIO(delivery["data"]),
        headers=delivery["headers"],
        environ_overrides={"CONTENT_LENGTH": length},
    )

    assert 400 <= answer.status_code < 500
    assert jobs_of(app) == []


# -- hosts that read first -----------------------------------------------------


def read_first(app: Flask) -> list[t.Any]:
    """A host whose ``before_request`` looks into every JSON body."""
    seen: list[t.Any] = []
    app.before_request(lambda: seen.append(request.get_json(silent=True)))

    return seen


@pytest.mark.parametrize("send", [deliver, chunked], ids=["announced", "chunked"])
def test_a_host_may_read_the_body_first(
    app: Flask,
    client: FlaskClient,
    asked: list[str],
    api: ChatwootStub,
    send: t.Callable[[FlaskClient, bytes], TestResponse],
) -> None:
    seen = read_first(app)

    assert send(client, padded(5000)).status_code == 202
    assert seen == [message()]
    assert deliver(client, b"no JSON").status_code == 400


@pytest.mark.parametrize("reads", [False, True], ids=["leaves it", "reads first"])
def test_a_hosts_own_limit_is_kept(
    app: Flask, client: FlaskClient, reads: bool
) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 4999

    if reads:
        app.before_request(lambda: void(request.get_data()))

    assert deliver(client, padded(5000)).status_code == 413
    assert chunked(client, padded(5000)).status_code in (401, 413)  # it may be cut off
    assert jobs_of(app) == []
    assert deliver(client, padded(4999)).status_code == 202
    assert chunked(client, padded(4999)).json == {"status": "duplicate"}


def void(_: t.Any) -> None: ...


def test_a_hosts_larger_limit_does_not_lift_ours(
    make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    app = make_app(chatwoot, max_body=4999)
    app.config["MAX_CONTENT_LENGTH"] = 2**30

    assert deliver(app.test_client(), padded(5000)).status_code == 413


# -- signatures ----------------------------------------------------------------


def forged(**changes: t.Any) -> dict[str, t.Any]:
    """A signed delivery with headers replaced; ``None`` takes one away."""
    delivery = signed(message())
    names = {
        "signature": signature.SIGNATURE_HEADER,
        "timestamp": signature.TIMESTAMP_HEADER,
    }

    for name, value in changes.items():
        if value is None:
            del delivery["headers"][names[name]]
        else:
            delivery["headers"][names[name]] = value

    return delivery


def resigned(timestamp: str) -> dict[str, t.Any]:
    """Signed with the right secret, whatever the timestamp is."""
    delivery = forged(timestamp=timestamp)
    delivery["headers"][signature.SIGNATURE_HEADER] = signature.sign(
        delivery["data"], secret=SECRET, timestamp=timestamp
    )

    return delivery


FORGED: dict[str, t.Callable[[], dict[str, t.Any]]] = {
    "unsigned": lambda: {"json": message()},
    "no signature": lambda: forged(signature=None),
    "no timestamp": lambda: forged(timestamp=None),
    "empty signature": lambda: forged(signature=""),
    "empty timestamp": lambda: forged(timestamp=""),
    "other secret": lambda: signed(message(), secret="another"),
    "changed body": lambda: {**signed(message()), "data": padded(5000)},
    "no scheme": lambda: forged(
        signature=signed(message())["headers"][signature.SIGNATURE_HEADER][7:]
    ),
    "other scheme": lambda: forged(signature="sha1=" + "0" * 40),
    "not hexadecimal": lambda: forged(signature="sha256=" + "g" * 64),
    "long signature": lambda: forged(signature="sha256=" + "0" * 10_000),
    "not ASCII": lambda: forged(signature="sha256=äöü"),
    "stale": lambda: signed(message(), age=301),
    "future": lambda: signed(message(), age=-302),
    "no number": lambda: resigned("now"),
    "not a number": lambda: resigned("nan"),
    "infinite": lambda: resigned("1e400"),
    "400 digits": lambda: resigned("9" * 400),
    "5000 digits": lambda: resigned("1" * 5000),
    "negative": lambda: resigned("-1"),
    "zero": lambda: resigned("0"),
    "decimal": lambda: resigned(f"{time.time():.3f}"),
    "spaces": lambda: resigned(f"1 {int(time.time())}"),
    "underscore": lambda: resigned(f"{int(time.time()):_}"),
    "two timestamps": lambda: resigned(f"{int(time.time())},{int(time.time())}"),
    "superscript": lambda: forged(timestamp="²³"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_every_stranger_is_told_the_same(
    app: Flask, client: FlaskClient, asked: list[str], forgery: str
) -> None:
    answer = client.post(WEBHOOK, **FORGED[forgery]())

    assert told(answer) == (401, INVALID)
    assert (asked, jobs_of(app)) == ([], [])


@pytest.mark.parametrize("age", [0, 295, -295])
def test_a_clock_may_be_a_little_wrong(
    client: FlaskClient, asked: list[str], api: ChatwootStub, age: float
) -> None:
    assert client.post(WEBHOOK, **signed(message(), age=age)).status_code == 202


def test_a_repeated_header_is_refused(client: FlaskClient) -> None:
    delivery = signed(message())
    pairs = list(delivery["headers"].items())
    delivery["headers"] = [*pairs, pairs[1]]

    assert told(client.post(WEBHOOK, **delivery)) == (401, INVALID)


def test_a_stranger_learns_nothing_about_bodies(client: FlaskClient) -> None:
    assert told(client.post(WEBHOOK, data=b"no JSON")) == (401, INVALID)
    assert told(client.post(WEBHOOK, data=b"")) == (401, INVALID)


def test_a_secret_can_be_replaced_while_both_are_in_use(
    make_app: AppFactory, chatwoot: Chatwoot, asked: list[str], api: ChatwootStub
) -> None:
    client = make_app(chatwoot, webhook_secret=f"new-one, {SECRET}").test_client()

    assert client.post(WEBHOOK, **signed(message(id=1))).status_code == 202
    new = signed(message(id=2), secret="new-one")
    assert client.post(WEBHOOK, **new).status_code == 202
    wrong = signed(message(id=3), secret="old-one")
    assert told(client.post(WEBHOOK, **wrong)) == (401, INVALID)


def test_what_chatwoot_signed_verifies(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: 1750000000.0)
    body = (
        '{"event":"message_created","id":1,'
        r'"content":"\u003cb\u003eGrüße\u003c/b\u003e"}'
    )
    answer = client.post(
        WEBHOOK,
        data=body.encode(),
        headers={
            "X-Chatwoot-Timestamp": "1750000000",
            "X-Chatwoot-Signature": "sha256=36fe0aede2ae2680c35250b0831aa10722e6e20845a"
            "99087fba14bc142728ca0",
        },
    )

    assert told(answer) == (400, {"error": "The message has no usable account.id."})


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("?token=open-sesame", 202),
        ("", 401),
        ("?token=", 401),
        ("?token=open", 401),
        ("?token=%FF", 401),
        ("?token=öffne", 401),
        ("?token=wrong&token=open-sesame", 401),
        ("?Token=open-sesame", 401),
    ],
)
def test_a_server_that_cannot_sign_has_a_token(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    asked: list[str],
    api: ChatwootStub,
    query: str,
    status: int,
) -> None:
    app = make_app(chatwoot, webhook_secret=None, webhook_token="open-sesame")

    answer = app.test_client().post(f"{WEBHOOK}{query}", json=message())

    assert answer.status_code == status
    assert answer.json == (INVALID if status == 401 else {"status": "accepted"})


def test_with_secret_and_token_both_are_wanted(
    make_app: AppFactory, chatwoot: Chatwoot, asked: list[str], api: ChatwootStub
) -> None:
    client = make_app(chatwoot, webhook_token="open-sesame").test_client()
    full = f"{WEBHOOK}?token=open-sesame"

    assert client.post(WEBHOOK, **signed(message())).status_code == 401
    assert client.post(full, json=message()).status_code == 401
    assert client.post(full, **signed(message())).status_code == 202


def test_without_secret_and_token_the_door_is_open(
    make_app: AppFactory, chatwoot: Chatwoot, asked: list[str], api: ChatwootStub
) -> None:
    client = make_app(chatwoot, webhook_secret=None).test_client()

    assert client.post(WEBHOOK, json=message()).status_code == 202


@pytest.mark.parametrize("path", [WEBHOOK, COPILOT])
def test_only_posts_are_taken(client: FlaskClient, path: str) -> None:
    assert client.get(path).status_code == 405
    assert client.put(path).status_code == 405


# -- an inbox that fails -------------------------------------------------------

SORRY = {"error": "The delivery could not be stored; see the log."}


def test_a_delivery_that_could_not_be_stored_is_not_acknowledged(
    app: Flask, client: FlaskClient, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    Path(database_of(app).path).write_bytes(b"no database at all. " * 50)

    assert told(deliver(client, message())) == (500, SORRY)
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage().startswith("a delivery was not stored: The database '")
    assert "chatwoot.sqlite3' failed: file is not a database" in record.getMessage()
    assert asked == []


def test_a_locked_inbox_is_told_within_chatwoots_patience(
    app: Flask,
    client: FlaskClient,
    asked: list[str],
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
) -> None:
    deliver(client, message(id=9000))
    db = sqlite3.connect(database_of(app).path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    started = time.monotonic()

    answer = deliver(client, message())

    assert time.monotonic() - started < 4.5
    assert told(answer) == (500, SORRY)
    assert "failed: database is locked" in caplog.text
    db.execute("ROLLBACK")
    db.close()
    assert deliver(client, message()).status_code == 202


def test_what_needs_no_answer_needs_no_inbox(app: Flask, client: FlaskClient) -> None:
    Path(database_of(app).path).write_bytes(b"no database at all. " * 50)

    for reason, body in IGNORED.items():
        # Those are looked at for evidence, and for who has the conversation.
        if reason not in (Reason.OUTGOING, Reason.PRIVATE, Reason.CONVERSATION):
            assert deliver(client, body).status_code == 200


# -- copilot -------------------------------------------------------------------


def ask(client: FlaskClient, **values: t.Any) -> TestResponse:
    return client.post(COPILOT, headers=BEARER, **values)


def test_a_suggestion_is_made_and_nothing_is_posted(
    app: Flask, client: FlaskClient, asked: list[str], api: ChatwootStub
) -> None:
    answer = ask(client, json={"message": "Where is my order?", "more": 1})

    assert told(answer) == (200, {"suggestion": ANSWER})
    assert asked == ["Where is my order?"]
    assert (api.attempts, jobs_of(app)) == ([], [])


def test_a_suggestion_knows_it_is_for_operators(
    client: FlaskClient, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider(mode="human")
    async def provide(text: str, turn: Turn) -> Reply:
        return Reply(f"{turn.mode} {turn.conversation_id}", private=False)

    assert ask(client, json={"message": "Hello"}).json == {"suggestion": "human None"}


@pytest.mark.parametrize("nothing", [None, "", " \n", Reply("")])
def test_no_suggestion_is_null(
    client: FlaskClient, chatwoot: Chatwoot, nothing: t.Any
) -> None:
    chatwoot.reply_provider(lambda text: nothing)

    assert told(ask(client, json={"message": "Hi"})) == (200, {"suggestion": None})


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"message": null}',
        b'{"message": ""}',
        b'{"message": " \\n"}',
        b'{"message": 7}',
        b'{"message": ["text"]}',
        b'{"text": "Hello"}',
        b'{"message": "\xff"}',
        b"[" * 100_000,
    ],
)
def test_a_question_without_text_is_refused(
    client: FlaskClient, asked: list[str], body: bytes
) -> None:
    answer = ask(client, data=body)

    assert answer.status_code == 400
    assert set(t.cast(JSON, answer.json)) == {"error"}
    assert asked == []


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer wrong",
        "Bearer token-of-a-pag",
        "Bearer token-of-a-page token-of-a-page",
        "Basic token-of-a-page",
        "token-of-a-page",
        "Bearer \xe4\xf6\xfc",
    ],
)
def test_a_stranger_gets_no_suggestion(
    client: FlaskClient, asked: list[str], authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client.post(COPILOT, json={"message": "Hello"}, headers=headers)

    assert (answer.status_code, asked) == (401, [])


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER  "])
def test_the_scheme_may_be_written_as_one_likes(
    client: FlaskClient, asked: list[str], scheme: str
) -> None:
    headers = {"Authorization": f"{scheme}token-of-a-page"}

    assert (
        client.post(COPILOT, json={"message": "Hi"}, headers=headers).status_code == 200
    )


def test_without_a_token_anybody_may_ask(
    make_app: AppFactory, chatwoot: Chatwoot, asked: list[str]
) -> None:
    client = make_app(chatwoot, copilot_token=None).test_client()

    assert client.post(COPILOT, json={"message": "Hi"}).status_code == 200


def test_a_long_question_is_refused(
    make_app: AppFactory, chatwoot: Chatwoot, asked: list[str]
) -> None:
    client = make_app(chatwoot, max_body=100).test_client()

    assert ask(client, json={"message": "x" * 100}).status_code == 413
    assert ask(client, json={"message": "x" * 50}).status_code == 200


@pytest.mark.parametrize("wrong", [7, ["text", 7], RuntimeError("of our insides")])
def test_a_provider_that_fails_is_told_without_its_text(
    client: FlaskClient,
    chatwoot: Chatwoot,
    caplog: pytest.LogCaptureFixture,
    wrong: t.Any,
) -> None:
    @chatwoot.reply_provider
    def provide(text: str) -> t.Any:
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    answer = ask(client, json={"message": "Hello"})

    assert told(answer) == (502, {"error": "The reply provider failed; see the log."})
    assert "no suggestion: " in caplog.text
    assert "of our insides" not in caplog.text


def test_several_replies_are_one_suggestion(
    client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: ["One.", "", Reply("Two.", private=True)])

    answer = ask(client, json={"message": "Hello"})

    assert told(answer) == (200, {"suggestion": "One.\n\nTwo."})
    assert api.attempts == []


def test_a_provider_that_calls_sys_exit_fails_like_any_other(
    client: FlaskClient, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def provide(text: str) -> str:
        raise SystemExit(1)

    assert ask(client, json={"message": "Hello"}).status_code == 502


def test_without_a_provider_there_are_no_suggestions(
    client: FlaskClient, chatwoot: Chatwoot
) -> None:
    assert ask(client, json={"message": "Hello"}).status_code == 503
    chatwoot.reply_provider(mode="bot")(lambda text: ANSWER)

    answer = ask(client, json={"message": "Hello"})
    assert answer.status_code == 503
    assert set(t.cast(JSON, answer.json)) == {"error"}


def test_suggestions_need_no_chatwoot(
    make_app: AppFactory, chatwoot: Chatwoot, asked: list[str]
) -> None:
    app = make_app(chatwoot, base_url=None, account_id=None, api_access_token=None)

    assert ask(app.test_client(), json={"message": "Hi"}).json == {"suggestion": ANSWER}


def test_the_endpoints_alone_ask_for_the_extension() -> None:
    app = Flask("bare")
    app.testing = True
    app.register_blueprint(Chatwoot.blueprint, url_prefix="/chatwoot")

    with pytest.raises(ConfigError, match="has no Chatwoot"):
        deliver(app.test_client(), message())


# -- anything at all -----------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from(["message_created", "incoming", "bot", 1, 42, 2**63, 10**400]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def places(value: t.Any, path: tuple[t.Any, ...] = ()) -> list[tuple[t.Any, ...]]:
    """Where something stands in a delivery."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )

    return [path, *(place for k, v in inner for place in places(v, (*path, k)))][:500]


PLACES = places(message())[1:]


@st.composite
def mutations(draw: st.DrawFn) -> JSON:
    """A delivery in which a few values are replaced or taken away."""
    given = copy.deepcopy(message(id=draw(st.integers(1, 2**40))))

    for path in draw(st.lists(st.sampled_from(PLACES), min_size=1, max_size=3)):
        holder: t.Any = given

        try:
            for key in path[:-1]:
                holder = holder[key]

            if draw(st.booleans()):
                holder[path[-1]] = draw(VALUES)
            else:
                del holder[path[-1]]
        except (KeyError, IndexError, TypeError):
            pass  # an earlier change took this place away

    return given


@pytest.fixture(scope="module")
def sturdy(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[FlaskClient]:
    """An app without workers, whose errors are not turned into answers."""
    folder = tmp_path_factory.mktemp("sturdy")
    app = Flask("sturdy")
    app.testing = True
    app.config.update(
        CHATWOOT_BASE_URL="https://chatwoot.test",
        CHATWOOT_ACCOUNT_ID=1,
        CHATWOOT_API_ACCESS_TOKEN="t",
        CHATWOOT_WEBHOOK_SECRET=SECRET,
        CHATWOOT_COPILOT_TOKEN="token-of-a-page",
        CHATWOOT_BACKEND="thread",
        CHATWOOT_WORKERS=0,
        CHATWOOT_DATABASE_URL=f"sqlite:///{folder / 'chatwoot.sqlite3'}",
        CHATWOOT_DATABASE_SYNC="normal",
    )
    chatwoot = Chatwoot(app)
    chatwoot.reply_provider(lambda text, turn: None)
    yield app.test_client()
    database_of(app).close()


def check(client: FlaskClient, body: bytes) -> None:
    """Whatever was delivered, the answer is one of the documented ones."""
    answer = deliver(client, body)
    given = t.cast(JSON, answer.json)

    if answer.status_code == 400:
        assert set(given) == {"error"}
    else:
        expected = 202 if given["status"] == DeliveryOutcome.ACCEPTED else 200
        assert answer.status_code == expected
        assert given["status"] in ("accepted", "duplicate", "ignored")
        assert ("reason" in given) == (given["status"] == "ignored")
        assert given.get("reason") in {None, *Reason}


@settings(max_examples=150, deadline=None)
@given(value=VALUES)
def test_no_json_whatsoever_is_too_much(sturdy: FlaskClient, value: t.Any) -> None:
    check(sturdy, json.dumps(value).encode())


@settings(max_examples=300, deadline=None)
@given(value=mutations())
def test_no_mutation_of_a_delivery_is_too_much(
    sturdy: FlaskClient, value: JSON
) -> None:
    check(sturdy, json.dumps(value).encode())


@settings(max_examples=100, deadline=None)
@given(body=st.binary(max_size=200))
def test_no_bytes_whatsoever_are_too_much(sturdy: FlaskClient, body: bytes) -> None:
    check(sturdy, body)


@settings(max_examples=100, deadline=None)
@given(value=mutations())
def test_whatever_was_accepted_can_be_handled(value: JSON) -> None:
    answers: list[Turn] = []
    app = Flask("inline")
    app.testing = True
    app.config.update(
        CHATWOOT_BASE_URL="https://chatwoot.test",
        CHATWOOT_ACCOUNT_ID=1,
        CHATWOOT_API_ACCESS_TOKEN="t",
        CHATWOOT_WEBHOOK_SECRET=SECRET,
        CHATWOOT_COPILOT_TOKEN="t",
        CHATWOOT_DATABASE_SYNC="normal",
    )
    chatwoot = Chatwoot(app)
    chatwoot.reply_provider(lambda text, turn: answers.append(turn))

    if deliver(app.test_client(), json.dumps(value).encode()).status_code == 202:
        (job,) = jobs_of(app)
        assert (job.outcome, job.reason) == ("declined", "no_answer")
        assert [turn.message_id for turn in answers] == [job_of(app).message_id]

    database_of(app).close()


@settings(max_examples=50, deadline=None)
@given(value=VALUES)
def test_no_question_to_the_copilot_is_too_much(
    sturdy: FlaskClient, value: t.Any
) -> None:
    for body in (value, {"message": value}):
        answer = sturdy.post(COPILOT, data=json.dumps(body), headers=BEARER)
        assert answer.status_code in (200, 400)
