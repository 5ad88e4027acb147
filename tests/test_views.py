"""Every answer of the endpoints, and that nothing is done before they verified."""

from __future__ import annotations

import copy
import io
import json
import logging
import sqlite3
import time
import typing as t
from pathlib import Path

import hypothesis
import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from hypothesis import strategies as st
from support.apps import AppFactory, Scene, database_of, job_of, jobs_of
from support.deliveries import SECRET, WEBHOOK, as_bytes, deliver, message, signed
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

Send = t.Callable[[FlaskClient, bytes], TestResponse]


@pytest.fixture
def given() -> JSON:
    """Settings of the app. Tests override it with ``parametrize``."""
    return {}


@pytest.fixture
def app(make_app: AppFactory, chatwoot: Chatwoot, given: JSON) -> Flask:
    return make_app(chatwoot, **given)


def with_settings(**values: t.Any) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("given", [values], ids=["settings"])


@pytest.fixture
def asked(chatwoot: Chatwoot) -> list[str]:
    """What the provider was asked."""
    texts: list[str] = []

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        texts.append(text)
        return ANSWER

    return texts


def parts(answer: TestResponse) -> tuple[int, t.Any]:
    return answer.status_code, answer.json


def refusal(answer: TestResponse) -> int:
    """The status of an answer whose body is an error and nothing else."""
    assert set(t.cast(JSON, answer.json)) == {"error"}

    return answer.status_code


# -- the webhook's answers -------------------------------------------------------


def test_a_message_is_accepted(scene: Scene, asked: list[str]) -> None:
    answer = deliver(scene.client, message())

    assert parts(answer) == (202, {"status": "accepted"})
    assert answer.mimetype == "application/json"
    assert asked == ["Where is my order?"]


@pytest.mark.parametrize("ids", [[None] * 2, [None] * 4, ["delivery-1", "delivery-2"]])
def test_a_message_that_is_delivered_again_is_a_duplicate(
    scene: Scene, asked: list[str], ids: list[str | None]
) -> None:
    delivery = signed(message())
    answers = []

    for id in ids:
        if id is not None:
            delivery["headers"]["X-Chatwoot-Delivery"] = id

        answers.append(parts(scene.client.post(WEBHOOK, **delivery)))

    assert answers[1:] == [(200, {"status": "duplicate"})] * (len(ids) - 1)
    assert (len(asked), len(scene.api.attempts)) == (1, 1)


Q: t.Final = message()
IGNORED: list[tuple[str, JSON]] = [
    ("other_event", Q | {"event": "message_updated"}),
    ("conversation", conversation_event("conversation_opened", Conversation())),
    ("other_account", message(account_id=2)),
    ("outgoing", message(type=MessageType.OUTGOING)),
    ("private", message(type=MessageType.OUTGOING, private=True)),
    ("template", message(type=MessageType.TEMPLATE, sender=None)),
    ("activity", message(type=MessageType.ACTIVITY, sender=None)),
    ("unknown_type", Q | {"message_type": "shout"}),
    ("empty", message(" \n")),
]


@pytest.mark.parametrize(("reason", "body"), IGNORED)
def test_what_needs_no_answer_is_ignored_with_a_reason(
    app: Flask, client: FlaskClient, asked: list[str], reason: str, body: JSON
) -> None:
    answer = deliver(client, body)
    assert parts(answer) == (200, {"status": "ignored", "reason": reason})
    assert (asked, jobs_of(app)) == ([], [])


@pytest.mark.parametrize(
    "given", [{key: None} for key in ("base_url", "account_id", "api_access_token")]
)
def test_without_configuration_a_delivery_is_ignored(
    client: FlaskClient, asked: list[str], tmp_path: Path
) -> None:
    answer = deliver(client, message())
    assert parts(answer) == (200, {"status": "ignored", "reason": "not_configured"})
    assert deliver(client, b"{").status_code == 400
    assert client.post(WEBHOOK, data=b"{}").status_code == 401
    assert (asked, list(tmp_path.iterdir())) == ([], [])


# -- bodies ----------------------------------------------------------------------


HOSTILE: dict[str, bytes | JSON] = {
    "nothing": b"",
    "no JSON": b"event=message_created",
    "not UTF-8": '{"event": "grüße"}'.encode("latin-1"),
    "never closed": b"[" * 100_000,
    "a number as content": Q | {"content": 7},
    "no account": {key: value for key, value in Q.items() if key != "account"},
}


@pytest.mark.parametrize("body", HOSTILE)
def test_a_malformed_body_is_refused_and_nothing_is_stored(
    app: Flask, client: FlaskClient, asked: list[str], body: str
) -> None:
    assert refusal(deliver(client, HOSTILE[body])) == 400
    assert (asked, jobs_of(app)) == ([], [])


STRANGE: dict[str, JSON] = {
    "attributes are null": {"custom_attributes": None, "additional_attributes": None},
    "attributes are lists": {"custom_attributes": [], "additional_attributes": [1]},
    "the choice is a list": {"custom_attributes": {"support_mode": ["bot"]}},
    "the choice is an object": {"custom_attributes": {"support_mode": {"a": 1}}},
    "the sender is a list": {"meta": {"sender": [1]}},
    "messages hold null": {"messages": [None]},
    "the inbox is text": {"inbox_id": "3"},
}


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("strange", STRANGE)
def test_an_unusual_conversation_is_answered_with_a_note(
    scene: Scene, strange: str
) -> None:
    given = message(mode=None)
    given["conversation"].update(STRANGE[strange])

    assert deliver(scene.client, given).status_code == 202
    assert (scene.api.public, scene.api.notes) == ([], [ANSWER])


BESIDE = (
    *("sender", "contact", "inbox", "attachments", "content_attributes"),
    *("additional_attributes", "content_type", "created_at", "source_id"),
)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("value", [None, 7, "text", [], [None], {"a": [1]}, True])
@pytest.mark.parametrize("key", BESIDE)
def test_an_unusual_value_beside_the_text_changes_nothing(
    scene: Scene, key: str, value: t.Any
) -> None:
    assert deliver(scene.client, Q | {key: value}).status_code == 202
    assert scene.api.public == [ANSWER]


@pytest.mark.parametrize(
    "text", ["\ud800", "\0", "🙂" * 1000, "\u202e", "<p>" * 1000, "{{contact.email}}"]
)
def test_an_unusual_text_is_answered(scene: Scene, asked: list[str], text: str) -> None:
    assert deliver(scene.client, message(text)).status_code == 202
    assert asked == [text]
    assert scene.api.public == [ANSWER]


# -- sizes -----------------------------------------------------------------------


def chunked(client: FlaskClient, body: bytes) -> TestResponse:
    """A delivery without a length header."""
    return client.post(
        WEBHOOK,
        input_stream=io.BytesIO(body),
        headers={**signed(body)["headers"], "Transfer-Encoding": "chunked"},
        content_type="application/json",
        environ_overrides={"wsgi.input_terminated": True},
    )


def padded(size: int) -> bytes:
    """A delivery of exactly so many bytes."""
    raw = as_bytes(message())

    return raw + b" " * (size - len(raw))


both_ways = pytest.mark.parametrize(
    "send", [deliver, chunked], ids=["with length", "chunked"]
)


@both_ways
@with_settings(max_body=5000)
def test_a_body_of_the_largest_size_is_accepted_and_one_byte_more_is_not(
    scene: Scene, asked: list[str], send: Send
) -> None:
    assert refusal(send(scene.client, padded(5001))) == 413
    assert (asked, jobs_of(scene.app)) == ([], [])
    assert send(scene.client, padded(5000)).status_code == 202


class Unread(io.BytesIO):
    """A stream that must not be read."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise AssertionError("This was read.")


STREAMS: dict[str, tuple[str, io.BytesIO, t.Container[int]]] = {
    "too large": (str(10**12), Unread(), [413]),
    "larger than the body": ("5000", io.BytesIO(padded(5000)[:4000]), [400, 401]),
    **{
        length[:4] or "empty": (length, io.BytesIO(padded(5000)), range(400, 500))
        for length in ("", "-1", "ten", "1" * 400)
    },
}


@pytest.mark.parametrize(
    ("length", "stream", "statuses"), STREAMS.values(), ids=STREAMS
)
def test_a_wrong_length_header_is_refused(
    app: Flask,
    client: FlaskClient,
    length: str,
    stream: io.BytesIO,
    statuses: t.Container[int],
) -> None:
    answer = client.post(
        WEBHOOK,
        input_stream=stream,
        headers=signed(padded(5000))["headers"],
        environ_overrides={"CONTENT_LENGTH": length},
    )

    assert answer.status_code in statuses
    assert jobs_of(app) == []


# -- hosts that read the body first ----------------------------------------------


@both_ways
@pytest.mark.usefixtures("asked")
def test_a_host_may_read_the_body_first(scene: Scene, send: Send) -> None:
    seen: list[t.Any] = []
    scene.app.before_request(lambda: seen.append(request.get_json(silent=True)))

    assert send(scene.client, padded(5000)).status_code == 202
    assert seen == [message()]
    assert deliver(scene.client, b"no JSON").status_code == 400


@pytest.mark.parametrize("reads", [False, True], ids=["leaves it", "reads first"])
def test_a_hosts_own_limit_is_kept(
    app: Flask, client: FlaskClient, reads: bool
) -> None:
    app.config["MAX_CONTENT_LENGTH"] = 4999

    if reads:

        @app.before_request
        def read() -> None:
            request.get_data()

    assert deliver(client, padded(5000)).status_code == 413
    assert chunked(client, padded(5000)).status_code in (401, 413)  # it may be cut off
    assert jobs_of(app) == []
    assert deliver(client, padded(4999)).status_code == 202
    assert chunked(client, padded(4999)).json == {"status": "duplicate"}


@with_settings(max_body=4999)
def test_a_hosts_larger_limit_does_not_raise_ours(client: FlaskClient) -> None:
    client.application.config["MAX_CONTENT_LENGTH"] = 2**30
    assert deliver(client, padded(5000)).status_code == 413


# -- signatures ------------------------------------------------------------------


def forged(header: str, value: str | None) -> dict[str, t.Any]:
    """A signed delivery with one header replaced; ``None`` takes it away."""
    delivery = signed(message())

    if value is None:
        del delivery["headers"][header]
    else:
        delivery["headers"][header] = value

    return delivery


SIGNATURE, TIMESTAMP = signature.SIGNATURE_HEADER, signature.TIMESTAMP_HEADER


FORGED: dict[str, t.Callable[[], dict[str, t.Any]]] = {
    "unsigned": lambda: {"json": message()},
    "no signature": lambda: forged(SIGNATURE, None),
    "no timestamp": lambda: forged(TIMESTAMP, None),
    "other secret": lambda: signed(message(), secret="another"),
    "changed body": lambda: {**signed(message()), "data": padded(5000)},
    "not JSON": lambda: {"data": b"no JSON"},
    "not ASCII": lambda: forged(SIGNATURE, "sha256=äöü"),
    "stale": lambda: signed(message(), age=301),
    "no timestamp but text": lambda: forged(TIMESTAMP, "²³"),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_every_invalid_signature_gets_the_same_answer(
    app: Flask, client: FlaskClient, asked: list[str], forgery: str
) -> None:
    answer = client.post(WEBHOOK, **FORGED[forgery]())
    assert parts(answer) == (401, INVALID)
    assert (asked, jobs_of(app)) == ([], [])


def test_a_repeated_header_is_refused(client: FlaskClient) -> None:
    delivery = signed(message())
    pairs = list(delivery["headers"].items())
    delivery["headers"] = [*pairs, pairs[1]]

    assert parts(client.post(WEBHOOK, **delivery)) == (401, INVALID)


@pytest.mark.usefixtures("asked", "api")
@with_settings(webhook_secret=f"new-one, {SECRET}")
@pytest.mark.parametrize(
    ("secret", "status"), [(SECRET, 202), ("new-one", 202), ("old", 401)]
)
def test_a_secret_can_be_replaced_while_both_are_in_use(
    client: FlaskClient, secret: str, status: int
) -> None:
    answer = client.post(WEBHOOK, **signed(message(), secret=secret))
    assert answer.status_code == status


TOKEN: t.Final = {"webhook_token": "open-sesame"}
UNSIGNED: t.Final = {"webhook_secret": None}


@pytest.mark.parametrize(
    ("given", "query", "signs", "status"),
    [
        (TOKEN | UNSIGNED, "?token=open-sesame", False, 202),
        (TOKEN | UNSIGNED, "", False, 401),
        (TOKEN | UNSIGNED, "?token=", False, 401),
        (TOKEN | UNSIGNED, "?token=open", False, 401),
        (TOKEN | UNSIGNED, "?token=%FF", False, 401),
        (TOKEN | UNSIGNED, "?token=öffne", False, 401),
        (TOKEN | UNSIGNED, "?token=wrong&token=open-sesame", False, 401),
        (TOKEN | UNSIGNED, "?Token=open-sesame", False, 401),
        (TOKEN, "", True, 401),
        (TOKEN, "?token=open-sesame", False, 401),
        (TOKEN, "?token=open-sesame", True, 202),
        (UNSIGNED, "", False, 202),
    ],
)
@pytest.mark.usefixtures("asked", "api")
def test_the_secret_and_the_token_in_the_url_are_required_if_they_are_set(
    client: FlaskClient, query: str, signs: bool, status: int
) -> None:
    delivery = signed(message()) if signs else {"json": message()}
    answer = client.post(f"{WEBHOOK}{query}", **delivery)
    expected = INVALID if status == 401 else {"status": "accepted"}
    assert parts(answer) == (status, expected)


@pytest.mark.parametrize("path", [WEBHOOK, COPILOT])
def test_only_post_is_allowed(client: FlaskClient, path: str) -> None:
    assert (client.get(path).status_code, client.put(path).status_code) == (405, 405)


# -- a database that fails -------------------------------------------------------

NOT_STORED = {"error": "The delivery could not be stored; see the log."}


@pytest.fixture
def corrupt(app: Flask) -> None:
    """The file of the app's database is not one of SQLite."""
    Path(database_of(app).path).write_bytes(b"no database at all. " * 50)


@pytest.mark.usefixtures("corrupt")
def test_a_delivery_that_could_not_be_stored_is_not_acknowledged(
    client: FlaskClient, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert parts(deliver(client, message())) == (500, NOT_STORED)
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage().startswith("a delivery was not stored: The database '")
    assert "chatwoot.sqlite3' failed: file is not a database" in record.getMessage()
    assert asked == []


@pytest.mark.slow
@pytest.mark.usefixtures("asked")
def test_a_locked_database_is_reported_before_chatwoot_stops_waiting(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(scene.client, message(id=9000))
    db = sqlite3.connect(database_of(scene.app).path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    started = time.monotonic()

    answer = deliver(scene.client, message())

    assert time.monotonic() - started < 4.5
    assert parts(answer) == (500, NOT_STORED)
    assert "failed: database is locked" in caplog.text
    db.execute("ROLLBACK")
    db.close()
    assert deliver(scene.client, message()).status_code == 202


@pytest.mark.usefixtures("corrupt")
def test_what_needs_no_answer_needs_no_database(client: FlaskClient) -> None:
    for reason, body in IGNORED:
        # Those are looked at for evidence, and for who has the conversation.
        if reason not in ("outgoing", "private", "conversation"):
            assert deliver(client, body).status_code == 200


# -- copilot ---------------------------------------------------------------------


def ask(client: FlaskClient, text: str = "Hello", **values: t.Any) -> TestResponse:
    given = values or {"json": {"message": text}}

    return client.post(COPILOT, headers=BEARER, **given)


def test_a_suggestion_is_made_and_nothing_is_posted(
    scene: Scene, asked: list[str]
) -> None:
    answer = ask(scene.client, json={"message": "Where is my order?", "more": 1})

    assert parts(answer) == (200, {"suggestion": ANSWER})
    assert asked == ["Where is my order?"]
    assert (scene.api.attempts, jobs_of(scene.app)) == ([], [])


def test_a_suggestion_is_made_in_human_mode(
    client: FlaskClient, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider(mode="human")
    async def provide(text: str, turn: Turn) -> Reply:
        return Reply(f"{turn.mode} {turn.conversation_id}", private=False)

    assert ask(client).json == {"suggestion": "human None"}


@pytest.mark.parametrize(
    ("reply", "suggestion"),
    [
        (None, None),
        ("", None),
        (" \n", None),
        (Reply(""), None),
        (["One.", "", Reply("Two.", private=True)], "One.\n\nTwo."),
    ],
)
def test_several_replies_are_one_suggestion_and_no_reply_is_null(
    scene: Scene, reply: t.Any, suggestion: str | None
) -> None:
    scene.chatwoot.reply_provider(lambda text: reply)
    assert parts(ask(scene.client)) == (200, {"suggestion": suggestion})
    assert scene.api.attempts == []


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b"{}", b'{"message": null}', b'{"message": ""}'),
        *(b'{"message": " \\n"}', b'{"message": 7}', b'{"message": ["text"]}'),
        *(b'{"text": "Hello"}', b'{"message": "\xff"}', b"[" * 100_000),
    ],
)
def test_a_question_without_text_is_refused(
    client: FlaskClient, asked: list[str], body: bytes
) -> None:
    assert refusal(ask(client, data=body)) == 400
    assert asked == []


UNAUTHORIZED = (
    *(None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer token-of-a-pag"),
    *("Bearer token-of-a-page token-of-a-page", "Basic token-of-a-page"),
    *("token-of-a-page", "Bearer \xe4\xf6\xfc"),
)


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        *((f"{scheme}token-of-a-page", 200) for scheme in ("Bearer ", "BEARER  ")),
        *((wrong, 401) for wrong in UNAUTHORIZED),
    ],
)
def test_a_suggestion_requires_the_token_after_the_scheme_in_any_case(
    client: FlaskClient, asked: list[str], authorization: str | None, status: int
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client.post(COPILOT, json={"message": "Hello"}, headers=headers)
    assert (answer.status_code, len(asked)) == (status, status == 200)


@pytest.mark.usefixtures("asked")
@with_settings(
    copilot_token=None, base_url=None, account_id=None, api_access_token=None
)
def test_suggestions_need_neither_a_token_nor_a_configuration_of_chatwoot(
    client: FlaskClient,
) -> None:
    answer = client.post(COPILOT, json={"message": "Hi"})
    assert parts(answer) == (200, {"suggestion": ANSWER})


@pytest.mark.usefixtures("asked")
@with_settings(max_body=100)
def test_a_long_question_is_refused(client: FlaskClient) -> None:
    assert ask(client, "x" * 100).status_code == 413
    assert ask(client, "x" * 50).status_code == 200


@pytest.mark.parametrize(
    "wrong", [7, ["text", 7], RuntimeError("of our insides"), SystemExit(1)], ids=repr
)
def test_the_failure_of_a_provider_is_reported_without_its_text(
    client: FlaskClient,
    chatwoot: Chatwoot,
    caplog: pytest.LogCaptureFixture,
    wrong: t.Any,
) -> None:
    @chatwoot.reply_provider
    def provide(text: str) -> t.Any:
        if isinstance(wrong, BaseException):
            raise wrong
        return wrong

    error = {"error": "The reply provider failed; see the log."}
    assert parts(ask(client)) == (502, error)
    assert "no suggestion: " in caplog.text
    assert "of our insides" not in caplog.text


def test_without_a_provider_there_are_no_suggestions(
    client: FlaskClient, chatwoot: Chatwoot
) -> None:
    assert refusal(ask(client)) == 503
    chatwoot.reply_provider(mode="bot")(lambda text: ANSWER)
    assert refusal(ask(client)) == 503


def test_the_endpoints_without_the_extension_are_an_error() -> None:
    app = Flask("bare")
    app.testing = True
    app.register_blueprint(Chatwoot.blueprint, url_prefix="/chatwoot")

    with pytest.raises(ConfigError, match="has no Chatwoot"):
        deliver(app.test_client(), message())


# -- arbitrary values ------------------------------------------------------------

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
    """The path of every value in a delivery."""
    inner: t.Iterable[tuple[t.Any, t.Any]] = ()

    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)

    return [path, *(place for k, v in inner for place in places(v, (*path, k)))][:500]


PLACES = places(message())[1:]


@st.composite
def mutations(draw: st.DrawFn) -> JSON:
    """A delivery in which a few values are replaced or removed."""
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
            pass  # an earlier change removed this place

    return given


def strict_app(answer: t.Callable[[str, Turn], None], **more: t.Any) -> Flask:
    """An app whose errors are not turned into answers."""
    app = Flask("strict")
    app.testing = True
    app.config.update(
        CHATWOOT_BASE_URL="https://chatwoot.test",
        CHATWOOT_ACCOUNT_ID=1,
        CHATWOOT_API_ACCESS_TOKEN="t",
        CHATWOOT_WEBHOOK_SECRET=SECRET,
        CHATWOOT_COPILOT_TOKEN="token-of-a-page",
        CHATWOOT_DATABASE_SYNC="normal",
        **more,
    )
    Chatwoot(app).reply_provider(answer)

    return app


@pytest.fixture(scope="module")
def storing(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[FlaskClient]:
    """A client of a strict app without workers."""
    folder = tmp_path_factory.mktemp("storing")
    app = strict_app(
        lambda text, turn: None,
        CHATWOOT_BACKEND="thread",
        CHATWOOT_WORKERS=0,
        CHATWOOT_DATABASE_URL=f"sqlite:///{folder / 'chatwoot.sqlite3'}",
    )
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


@pytest.mark.slow
@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(value=VALUES)
def test_any_json_has_a_documented_answer(storing: FlaskClient, value: t.Any) -> None:
    check(storing, json.dumps(value).encode())


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(value=mutations())
def test_any_mutation_has_a_documented_answer(
    storing: FlaskClient, value: JSON
) -> None:
    check(storing, json.dumps(value).encode())


@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(body=st.binary(max_size=200))
def test_any_bytes_have_a_documented_answer(storing: FlaskClient, body: bytes) -> None:
    check(storing, body)


@pytest.mark.slow
@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(value=mutations())
def test_whatever_was_accepted_can_be_handled(value: JSON) -> None:
    answers: list[Turn] = []
    app = strict_app(lambda text, turn: answers.append(turn))

    if deliver(app.test_client(), json.dumps(value).encode()).status_code == 202:
        (job,) = jobs_of(app)
        assert (job.outcome, job.reason) == ("declined", "no_answer")
        assert [turn.message_id for turn in answers] == [job_of(app).message_id]

    database_of(app).close()


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(value=VALUES)
def test_any_question_to_the_copilot_has_a_documented_answer(
    storing: FlaskClient, value: t.Any
) -> None:
    for body in (value, {"message": value}):
        assert ask(storing, data=json.dumps(body)).status_code in (200, 400)
