"""Every answer of the endpoints, and that nothing is done before they verified."""

from __future__ import annotations

import copy
import io
import json
import logging
import sqlite3
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from flask import Flask, request
from flask.testing import FlaskClient
from hypothesis import strategies as st
from support.apps import (
    AppFactory,
    Scene,
    database_of,
    dismantle,
    job_of,
    jobs_of,
    recorded,
)
from support.chatwoot import BASE_URL, chatwoot_stub
from support.deliveries import SECRET, WEBHOOK, as_bytes, deliver, message, signed
from support.waiting import Clock
from werkzeug.test import TestResponse

from flask_chatwoot import Chatwoot, GiveUp, Reply, Turn, got_exception, views
from flask_chatwoot.errors import ConfigError
from flask_chatwoot.outcomes import DeliveryOutcome, Reason
from flask_chatwoot.payloads import signature
from flask_chatwoot.simulator.payloads import (
    JSON,
    ConversationRecord,
    MessageType,
    conversation_event,
)

COPILOT = "/chatwoot/copilot"
BEARER = {"Authorization": "Bearer token-of-a-page"}
INVALID = {"error": "unauthorized"}
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


@dataclass(frozen=True)
class Views(Scene):
    """A scene with a provider.

    :ivar asked: What it was asked.
    """

    asked: list[str]

    @property
    def untouched(self) -> bool:
        """Whether nothing was asked, stored or posted."""
        return not (self.asked or jobs_of(self.app) or self.api.attempts)

    def deliver(self, body: bytes | JSON) -> TestResponse:
        return deliver(self.client, body)

    def post(self, query: str = "", **delivery: t.Any) -> TestResponse:
        return self.client.post(f"{WEBHOOK}{query}", **delivery)


@pytest.fixture
def scene(scene: Scene, asked: list[str]) -> Views:
    return Views(scene.app, scene.client, scene.api, scene.chatwoot, asked)


# -- the webhook's answers -------------------------------------------------------


def test_a_message_is_accepted(scene: Views) -> None:
    answer = scene.deliver(message())
    assert parts(answer) == (202, {"status": "accepted"})
    assert answer.mimetype == "application/json"
    assert scene.asked == ["Where is my order?"]


@pytest.mark.parametrize("ids", [["one"] * 3, ["one", "two"]])
def test_a_second_delivery_is_a_duplicate(scene: Views, ids: list[str]) -> None:
    delivery = signed(message())
    answers = []

    for id in ids:
        delivery["headers"]["X-Chatwoot-Delivery"] = id
        answers.append(parts(scene.post(**delivery)))

    assert answers[1:] == [(200, {"status": "duplicate"})] * (len(ids) - 1)
    assert (len(scene.asked), len(scene.api.attempts)) == (1, 1)


Q: t.Final = message()
UPDATED: t.Final = {"event": "message_updated"}
REMOVED: t.Final[JSON] = {"is_reaction": True, "deleted": True}
SURVEY: t.Final = (
    message(
        "Rate us",
        type=MessageType.TEMPLATE,
        content_type="input_csat",
        content_attributes={
            "submitted_values": {"csat_survey_response": {"rating": 5}}
        },
    )
    | UPDATED
)
IGNORED: list[tuple[str, JSON]] = [
    ("other_event", Q | {"event": "contact_created"}),
    ("updated", Q | UPDATED),
    ("updated", message(type=MessageType.OUTGOING) | UPDATED),
    ("deleted", message(content_attributes={"deleted": True})),
    ("call", message("Voice Call", content_type="voice_call")),
    ("call", message("A video call", content_type="integrations")),
    ("survey", message("Rate us", content_type="input_csat")),
    ("survey", SURVEY),
    ("reaction", message("👍", content_attributes={"is_reaction": True})),
    ("reaction", message("", content_attributes=REMOVED)),
    (
        "reaction",
        message("", content_attributes=REMOVED) | {"event": "message_updated"},
    ),
    ("conversation", conversation_event("conversation_opened", ConversationRecord())),
    ("other_account", message(account_id=2)),
    ("outgoing", message(type=MessageType.OUTGOING)),
    ("private", message(type=MessageType.OUTGOING, private=True)),
    ("template", message(type=MessageType.TEMPLATE, sender=None)),
    ("activity", message(type=MessageType.ACTIVITY, sender=None)),
    ("unknown_type", Q | {"message_type": "shout"}),
    ("empty", message(" \n")),
]


@pytest.mark.parametrize(("reason", "body"), IGNORED)
def test_what_needs_no_answer_is_ignored(scene: Views, reason: str, body: JSON) -> None:
    answer = scene.deliver(body)
    assert parts(answer) == (200, {"status": "ignored", "reason": reason})
    assert scene.untouched


@pytest.mark.parametrize(
    "given", [{key: None} for key in ("base_url", "account_id", "api_access_token")]
)
def test_without_configuration_all_is_ignored(scene: Views, tmp_path: Path) -> None:
    answer = scene.deliver(message())
    assert parts(answer) == (200, {"status": "ignored", "reason": "not_configured"})
    assert scene.deliver(b"{").status_code == 400
    assert scene.post(data=b"{}").status_code == 401
    assert (scene.asked, list(tmp_path.iterdir())) == ([], [])


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
def test_a_malformed_body_is_refused_and_not_stored(scene: Views, body: str) -> None:
    assert refusal(scene.deliver(HOSTILE[body])) == 400
    assert scene.untouched


@pytest.mark.parametrize(
    "strange",
    [
        {"custom_attributes": None, "additional_attributes": None},
        {"custom_attributes": [], "additional_attributes": [1]},
        {"custom_attributes": {"support_mode": {"a": 1}}},
        {"meta": {"sender": [1]}},
        {"messages": [None]},
        {"inbox_id": "3"},
    ],
    ids=str,
)
def test_an_unusual_conversation_gets_a_note(scene: Views, strange: JSON) -> None:
    given = message(mode=None)
    given["conversation"].update(strange)
    assert scene.deliver(given).status_code == 202
    assert (scene.api.public, scene.api.notes) == ([], [ANSWER])


BESIDE = (
    *("sender", "contact", "inbox", "attachments", "content_attributes"),
    *("additional_attributes", "content_type", "created_at", "source_id"),
)


@pytest.mark.parametrize("value", [None, 7, "text", [], [None], {"a": [1]}, True])
@pytest.mark.parametrize("key", BESIDE)
def test_an_unusual_value_beside_the_text_changes_nothing(
    scene: Views, key: str, value: t.Any
) -> None:
    assert scene.deliver(Q | {key: value}).status_code == 202
    assert scene.api.public == [ANSWER]


@pytest.mark.parametrize(
    "text", ["\ud800", "\0", "🙂" * 1000, "\u202e", "<p>" * 1000, "{{contact.email}}"]
)
def test_an_unusual_text_is_answered(scene: Views, text: str) -> None:
    assert scene.deliver(message(text)).status_code == 202
    assert (scene.asked, scene.api.public) == ([text], [ANSWER])


def test_an_unusual_status_is_stored(scene: Views) -> None:
    given = message()
    given["conversation"]["status"] = "\ud800"
    assert scene.deliver(given).status_code == 202
    assert scene.api.notes == [ANSWER]


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
    scene: Views, send: Send
) -> None:
    assert refusal(send(scene.client, padded(5001))) == 413
    assert scene.untouched
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


@pytest.mark.parametrize("wrong", STREAMS)
def test_a_wrong_length_header_is_refused(scene: Views, wrong: str) -> None:
    length, stream, statuses = STREAMS[wrong]
    answer = scene.post(
        input_stream=stream,
        headers=signed(padded(5000))["headers"],
        environ_overrides={"CONTENT_LENGTH": length},
    )
    assert answer.status_code in statuses
    assert scene.untouched


# -- hosts that read the body first ----------------------------------------------


@both_ways
def test_a_host_may_read_the_body_first(scene: Views, send: Send) -> None:
    seen: list[t.Any] = []
    scene.app.before_request(lambda: seen.append(request.get_json(silent=True)))

    assert send(scene.client, padded(5000)).status_code == 202
    assert seen == [message()]
    assert scene.deliver(b"no JSON").status_code == 400


@pytest.mark.parametrize("reads", [False, True], ids=["leaves it", "reads first"])
def test_a_hosts_own_limit_is_kept(scene: Views, reads: bool) -> None:
    scene.app.config["MAX_CONTENT_LENGTH"] = 4999
    scene.app.before_request(lambda: request.get_data() and None if reads else None)

    assert scene.deliver(padded(5000)).status_code == 413
    cut_off = chunked(scene.client, padded(5000))
    assert cut_off.status_code in (401, 413)
    assert scene.untouched
    assert scene.deliver(padded(4999)).status_code == 202
    assert chunked(scene.client, padded(4999)).json == {"status": "duplicate"}


@with_settings(max_body=4999)
def test_a_hosts_larger_limit_does_not_raise_ours(scene: Views) -> None:
    scene.app.config["MAX_CONTENT_LENGTH"] = 2**30
    assert scene.deliver(padded(5000)).status_code == 413


# -- signatures ------------------------------------------------------------------


def forged(header: str, *values: str) -> dict[str, t.Any]:
    """A signed delivery with other values of one header."""
    delivery = signed(message())
    others = [pair for pair in delivery["headers"].items() if pair[0] != header]
    delivery["headers"] = [*others, *((header, value) for value in values)]

    return delivery


SIGNATURE, TIMESTAMP = signature.SIGNATURE_HEADER, signature.TIMESTAMP_HEADER


FORGED: dict[str, t.Callable[[], dict[str, t.Any]]] = {
    "unsigned": lambda: {"json": message()},
    "no signature": lambda: forged(SIGNATURE),
    "no timestamp": lambda: forged(TIMESTAMP),
    "other secret": lambda: signed(message(), secret="another"),
    "changed body": lambda: {**signed(message()), "data": padded(5000)},
    "not JSON": lambda: {"data": b"no JSON"},
    "not ASCII": lambda: forged(SIGNATURE, "sha256=äöü"),
    "stale": lambda: signed(message(), age=301),
    "no timestamp but text": lambda: forged(TIMESTAMP, "²³"),
    "two timestamps": lambda: forged(TIMESTAMP, *[f"{int(time.time())}"] * 2),
}


@pytest.mark.parametrize("forgery", FORGED)
def test_invalid_signatures_get_the_same_answer(scene: Views, forgery: str) -> None:
    assert parts(scene.post(**FORGED[forgery]())) == (401, INVALID)
    assert scene.untouched


@with_settings(webhook_secret=f"new-one, {SECRET}")
@pytest.mark.parametrize(
    ("secret", "status"), [(SECRET, 202), ("new-one", 202), ("old", 401)]
)
def test_two_secrets_can_be_in_use(scene: Views, secret: str, status: int) -> None:
    assert scene.post(**signed(message(), secret=secret)).status_code == status


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
def test_the_secret_and_the_token_in_the_url_are_required_if_they_are_set(
    scene: Views, query: str, signs: bool, status: int
) -> None:
    answer = scene.post(query, **(signed(message()) if signs else {"json": message()}))
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


@pytest.mark.sqlite
@pytest.mark.usefixtures("corrupt")
def test_a_delivery_that_could_not_be_stored_is_not_acknowledged(
    client: FlaskClient, asked: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert parts(deliver(client, message())) == (500, NOT_STORED)
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage().startswith(
        "conversation 42: a delivery was not stored: The database '"
    )
    assert "chatwoot.sqlite3' failed: file is not a database" in record.getMessage()
    assert asked == []


@pytest.mark.slow
@pytest.mark.sqlite
def test_a_locked_database_is_reported_before_chatwoot_stops_waiting(
    scene: Views, caplog: pytest.LogCaptureFixture
) -> None:
    scene.deliver(message(id=9000))
    db = sqlite3.connect(database_of(scene.app).path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    answer = scene.deliver(message())
    db.close()

    assert time.monotonic() - started < 4.5
    assert parts(answer) == (500, NOT_STORED)
    assert "failed: database is locked" in caplog.text
    assert scene.deliver(message()).status_code == 202


@pytest.mark.sqlite
@pytest.mark.usefixtures("corrupt")
def test_what_needs_no_answer_needs_no_database(client: FlaskClient) -> None:
    for reason, body in IGNORED:
        # Those are looked at for evidence, for who has the conversation, and for what
        # waits for an answer.
        if reason not in ("outgoing", "private", "conversation") and (
            body["event"] != "message_updated"
        ):
            assert deliver(client, body).status_code == 200


# -- copilot ---------------------------------------------------------------------


def ask(client: FlaskClient, text: str = "Hello", **values: t.Any) -> TestResponse:
    given = values or {"json": {"message": text}}
    return client.post(COPILOT, headers=BEARER, **given)


def test_a_suggestion_is_made_and_nothing_is_posted(scene: Views) -> None:
    answer = ask(scene.client, json={"message": "Where is my order?", "more": 1})
    assert parts(answer) == (200, {"suggestion": ANSWER})
    assert scene.asked == ["Where is my order?"]
    assert (scene.api.attempts, jobs_of(scene.app)) == ([], [])


def test_a_suggestion_is_made_in_mode_human(
    client: FlaskClient, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider(mode="human")
    async def provide(text: str, turn: Turn) -> Reply:
        return Reply(f"{turn.mode} {turn.conversation_id}", private=False)

    assert ask(client).json == {"suggestion": "human None"}


@pytest.mark.parametrize(
    ("reply", "suggestion"),
    [
        (
            Reply("Which?", choices=["A"], attachments=[("b.pdf", b"", "text/plain")]),
            "Which?\n- A\n[file: b.pdf]",
        ),
        (Reply("Which?", choices=["Order", "Return"]), "Which?\n- Order\n- Return"),
        (None, None),
        (" \n", None),
        (["One.", "", Reply("Two.", private=True)], "One.\n\nTwo."),
    ],
)
def test_several_replies_are_one_suggestion_and_no_reply_is_null(
    client: FlaskClient, chatwoot: Chatwoot, reply: t.Any, suggestion: str | None
) -> None:
    chatwoot.reply_provider(lambda text: reply)
    assert parts(ask(client)) == (200, {"suggestion": suggestion})


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[]", b"{}", b'{"message": ""}', b'{"message": " \\n"}'),
        *(b'{"message": 7}', b'{"message": "\xff"}', b"[" * 100_000),
    ],
)
def test_a_question_without_text_is_refused(scene: Views, body: bytes) -> None:
    assert refusal(ask(scene.client, data=body)) == 400
    assert scene.untouched


def test_a_provider_that_gives_up_is_no_error_of_the_app(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    caplog: pytest.LogCaptureFixture,
) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> t.NoReturn:
        raise GiveUp("a reason of the host")

    with recorded(got_exception, app) as errors:
        assert refusal(ask(client)) == 502

    assert errors == []
    assert "a reason of the host" not in caplog.text


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


@with_settings(copilot_token="old, new")
@pytest.mark.parametrize(
    ("token", "status"), [("old", 200), ("new", 200), ("old,new", 401), ("ol", 401)]
)
@pytest.mark.usefixtures("asked")
def test_two_tokens_can_be_in_use(scene: Views, token: str, status: int) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    answer = scene.client.post(COPILOT, json={"message": "Hello"}, headers=headers)
    assert answer.status_code == status


@with_settings(
    copilot_token=None, base_url=None, account_id=None, api_access_token=None
)
def test_suggestions_need_neither_token_nor_configuration(scene: Views) -> None:
    answer = scene.client.post(COPILOT, json={"message": "Hi"})
    assert parts(answer) == (200, {"suggestion": ANSWER})


@with_settings(max_body=100)
def test_a_long_question_is_refused(scene: Views) -> None:
    assert ask(scene.client, "x" * 100).status_code == 413
    assert ask(scene.client, "x" * 50).status_code == 200


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
        CHATWOOT_BASE_URL=BASE_URL,
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
    dismantle(app)


@hypothesis.settings(max_examples=300, deadline=None)
@hypothesis.given(value=mutations() | VALUES)
def test_any_body_has_a_documented_answer(storing: FlaskClient, value: t.Any) -> None:
    answer = deliver(storing, json.dumps(value).encode())
    seen = t.cast(JSON, answer.json)

    if answer.status_code == 400:
        assert set(seen) == {"error"}
    else:
        expected = 202 if seen["status"] == DeliveryOutcome.ACCEPTED else 200
        assert answer.status_code == expected
        assert seen["status"] in ("accepted", "duplicate", "ignored")
        assert ("reason" in seen) == (seen["status"] == "ignored")
        assert seen.get("reason") in {None, *Reason}


@pytest.mark.slow
@hypothesis.settings(max_examples=100, deadline=None)
@hypothesis.given(value=mutations())
def test_whatever_was_accepted_can_be_handled(value: JSON) -> None:
    answers: list[Turn] = []
    app = strict_app(lambda text, turn: answers.append(turn))

    with chatwoot_stub():
        if deliver(app.test_client(), json.dumps(value).encode()).status_code == 202:
            (job,) = jobs_of(app)
            assert (job.outcome, job.reason) == ("declined", "no_answer")
            assert [turn.message_id for turn in answers] == [job_of(app).message_id]

        dismantle(app)


@hypothesis.settings(max_examples=50, deadline=None)
@hypothesis.given(value=VALUES)
def test_any_question_to_the_copilot_has_a_documented_answer(
    storing: FlaskClient, value: t.Any
) -> None:
    for body in (value, {"message": value}):
        assert ask(storing, data=json.dumps(body)).status_code in (200, 400)


# -- the log ---------------------------------------------------------------------


def test_refusals_leave_one_line_per_reason_and_minute_with_a_count(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    refusals = views.RefusalLog(clock)

    for _ in range(3):
        refusals.note("too large")

    refusals.note("too old")
    clock.advance(views.REFUSALS_EVERY)
    refusals.note("too large")

    assert caplog.messages == [
        "too large",
        "too old",
        "too large (2 more since the last line)",
    ]


KEYS_OF_ENDPOINTS: t.Final = [
    ("webhook_secret", "post", "webhook", "The delivery is not signed. Before 4.12 "),
    ("webhook_token", "post", "webhook", "The ?token= in the URL is missing, or not "),
    ("copilot_token", "post", "copilot", "The bearer token is missing, or not that "),
    ("health_token", "get", "health", "The bearer token is missing, or not that of "),
]


@pytest.mark.parametrize(("key", "method", "endpoint", "begin"), KEYS_OF_ENDPOINTS)
def test_a_401_names_the_setting_in_the_log_and_not_in_the_answer(
    make_app: AppFactory,
    caplog: pytest.LogCaptureFixture,
    key: str,
    method: str,
    endpoint: str,
    begin: str,
) -> None:
    settings: t.Any = {"webhook_secret": None, key: "hunter2"}
    client = make_app(**settings).test_client()
    caplog.clear()

    answer = getattr(client, method)(f"/chatwoot/{endpoint}")

    assert answer.status_code == 401
    assert "CHATWOOT" not in answer.text
    (line,) = caplog.messages
    assert line.startswith(f"a request to /chatwoot/{endpoint} was refused: {begin}")
    assert f"CHATWOOT_{key.upper()}" in line
    assert "hunter2" not in line


def test_a_signature_of_another_secret_names_the_setting(
    scene: Views, caplog: pytest.LogCaptureFixture
) -> None:
    scene.post(**signed(message(), secret="another"))
    (line,) = caplog.messages
    assert "The signature does not match CHATWOOT_WEBHOOK_SECRET. Copy" in line


@pytest.mark.parametrize(
    ("length", "status", "said"),
    [("20000000", 413, "CHATWOOT_MAX_BODY"), ("9999", 400, "shorter")],
)
def test_a_body_of_another_length_is_logged_without_content(
    scene: Views,
    caplog: pytest.LogCaptureFixture,
    length: str,
    status: int,
    said: str,
) -> None:
    for _ in range(3):
        answer = scene.post(
            input_stream=io.BytesIO(padded(5000)),
            headers=signed(padded(5000))["headers"],
            environ_overrides={"CONTENT_LENGTH": length},
        )
        assert answer.status_code == status

    (line,) = caplog.messages
    assert "was refused" in line
    assert said in line
