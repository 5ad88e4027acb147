"""What running servers sent and answered, and what the app makes of it."""

from __future__ import annotations

import json
import re
import typing as t
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from support.apps import AppFactory
from support.chatwoot import BASE_URL, TOKEN
from support.recordings import (
    RECORDED,
    Answer,
    ChatwootOfRecording,
    Recorded,
    Replay,
    Step,
    deliveries,
    lines,
)

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import (
    APIError,
    PermanentError,
    SignatureError,
    TransientError,
    UnknownError,
)
from flask_chatwoot.payloads import events, signature
from flask_chatwoot.payloads.events import ConversationEvent, MessageEvent
from flask_chatwoot.payloads.listed import conversations_in

SENT: t.Final = ("4.17-webhook", "4.17-agent-bot", "4.2.0-webhook")
ANSWERED: t.Final = (
    *("4.17-admin", "4.17-bot-token", "4.17-user-token"),
    *("4.2.0-admin", "4.2.0-user-token"),
)

every_recording = pytest.mark.parametrize("name", SENT)


# -- deliveries ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["4.17-webhook", "4.17-agent-bot"])
def test_each_signature_verifies_over_the_raw_bytes(name: str) -> None:
    for delivery in deliveries(name):
        verify(delivery, delivery.body)

        with pytest.raises(SignatureError):
            verify(delivery, json.dumps(delivery.payload))


def verify(delivery: Recorded, body: str) -> None:
    signature.verify(
        body.encode(),
        secrets=[t.cast(str, delivery.secret)],
        signature=delivery.headers[signature.SIGNATURE_HEADER],
        timestamp=delivery.headers[signature.TIMESTAMP_HEADER],
        now=delivery.at,
    )


@every_recording
def test_each_delivery_is_parsed(name: str) -> None:
    for delivery in deliveries(name):
        payload = delivery.payload
        event = events.parse(delivery.body.encode())
        assert event.name == payload["event"]

        if isinstance(event, MessageEvent):
            within, id = payload["conversation"], payload["id"]
            assert (event.conversation_id, event.message_id) == (within["id"], id)
            assert event.account_id == 1
        elif isinstance(event, ConversationEvent):
            assert event.conversation_id == payload["id"]
            assert event.account_id == (1 if "4.17" in name else None)
            assert event.conversation.status == payload["status"]
        else:
            assert event.name == "message_updated"


# -- who is answered where ---------------------------------------------------------

Heard = dict[int, list[tuple[str, str]]]
"""Of each conversation what its customer said, and who heard the answer."""

STORY: t.Final = [
    ("Where is my order?", "customer"),
    ("It is 4711.", "customer"),
    ("[image]", "customer"),
    ("About that one", "customer"),
    # an operator writes
    ("[Two]", "note: taken"),
    # assigned to an operator and to nobody, set to human, snoozed
    ("Hello?", "note: taken"),
    # resolved: the customer's first choice is in force again
    ("One more thing", "customer"),
    # muted
    ("And now?", "nobody: blocked"),
]
EXPECTED: t.Final[dict[str, Heard]] = {
    "4.17-webhook": {116: STORY, 117: [("From the app", "customer")]},
    "4.17-agent-bot": {118: STORY},
    "4.2.0-webhook": {41: STORY, 42: [("From the app", "customer")]},
}


class Play(t.Protocol):
    def __call__(self, name: str, *, looks: bool = True) -> list[Step]: ...


@pytest.fixture
def play(make_app: AppFactory) -> Play:
    """Replays a recording to an app of its own."""

    def play(name: str, *, looks: bool = True) -> list[Step]:
        stub = ChatwootOfRecording(looks=looks)
        stub.keeps_markers = not name.startswith("4.2.0")
        stub.version = "4.17.0"
        stub.lists = 200 if looks and name != "4.17-agent-bot" else 401

        with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
            stub.install(mock)
            return Replay(deliveries(name), make_app, stub).steps

    return play


@every_recording
def test_each_delivery_has_the_outcome_in_the_table(play: Play, name: str) -> None:
    """The table stands beside the recording; its lines are in the same order."""
    table = (RECORDED / f"deliveries-{name}.outcomes").read_text(encoding="utf-8")
    wanted = [tuple(re.split(" {2,}", line)) for line in table.splitlines()]
    steps = play(name)

    assert wanted == [
        (step.outcome, step.delivery.payload["event"], step.delivery.action)
        for step in steps
    ]


@every_recording
@pytest.mark.parametrize("looks", [True, False], ids=["looks", "may not look"])
def test_each_customer_is_answered_where_it_is_right(
    play: Play, name: str, looks: bool
) -> None:
    heard: Heard = {}

    for step in play(name, looks=looks):
        if step.said is not None:
            talk = heard.setdefault(step.conversation_id, [])
            talk.append((step.said, step.heard))

    assert heard == EXPECTED[name]


# -- answers ---------------------------------------------------------------------

Call = t.Callable[[ChatwootClient, int, Answer], t.Any]


def _listed(client: ChatwootClient, id: int, asked: Answer) -> list[int]:
    query = parse_qs(urlsplit(asked["path"]).query)
    bounds = {name: int(value) for name, (value,) in query.items()}

    return [message.id for message in client.messages(id, **bounds)]


def _attributes(client: ChatwootClient, id: int, asked: Answer) -> t.Any:
    body = json.loads(asked["body"])
    merge = bool(body.get("merge"))

    return client.set_custom_attributes(
        id, body["custom_attributes"] or {}, merge=merge
    )


def _assign(client: ChatwootClient, id: int, asked: Answer) -> None:
    client.assign(id, **json.loads(asked["body"]))


def _anything(client: ChatwootClient, id: int, asked: Answer) -> t.Any:
    path = asked["path"].removeprefix("/api/v1/accounts/1")

    return client.call(asked["method"], path)


def _conversations(client: ChatwootClient, id: int, asked: Answer) -> list[int]:
    found = conversations_in(_anything(client, id, asked)) or []

    return [each.conversation.id for each in found]


CALLS: t.Final[dict[str, tuple[Call, t.Callable[[t.Any], t.Any]]]] = {
    "GET /api": (lambda client, *_: client.server_version(), lambda a: a["version"]),
    "GET /api/v1/profile": (
        lambda client, *_: client.profile()["id"], lambda a: a["id"],
    ),
    "GET /api/v1/accounts/1/conversations": (
        _conversations, lambda a: [each["id"] for each in a["data"]["payload"]],
    ),
    "GET conversation": (
        lambda client, id, _: client.conversation(id).id, lambda a: a["id"],
    ),
    "GET conversation/messages": (
        _listed, lambda a: [each["id"] for each in a["payload"]],
    ),
    "POST conversation/messages": (
        lambda client, id, _: client.create_message(id, "x"), lambda a: a["id"],
    ),
    "POST conversation/toggle_status": (
        lambda client, id, _: client.toggle_status(id, "open"), lambda a: None,
    ),
    "POST conversation/toggle_typing_status": (
        lambda client, id, _: client.toggle_typing_status(id, on=True), lambda a: None,
    ),
    "POST conversation/custom_attributes": (
        _attributes, lambda a: a["custom_attributes"],
    ),
    "POST conversation/assignments": (_assign, lambda a: None),
}  # fmt: skip
"""Of each endpoint the client's call, and what of an answer it returns."""


@pytest.mark.parametrize("name", ANSWERED)
def test_each_answer_is_read_by_the_client(name: str) -> None:
    for asked in lines(f"answers-{name}"):
        endpoint, id = endpoint_of(asked)
        call, value = CALLS.get(endpoint, (_anything, lambda a: a))

        with responses.RequestsMock() as mock:
            mock.add(
                asked["method"],
                re.compile(".*"),
                body=asked["answer"],
                status=asked["status"],
                content_type=asked["content_type"],
            )
            client = ChatwootClient(BASE_URL, 1, TOKEN)

            if asked["status"] >= 400:
                with pytest.raises(APIError) as refused:
                    call(client, id, asked)

                kind = error_of(asked, endpoint)
                assert (refused.type, refused.value.status) == (kind, asked["status"])
            else:
                answer = json.loads(asked["answer"]) if asked["answer"] else None
                assert call(client, id, asked) == value(answer)

            assert mock.calls[0].request.url == BASE_URL + asked["path"]


def endpoint_of(asked: Answer) -> tuple[str, int]:
    """The endpoint, and the conversation; 0 without one."""
    path = urlsplit(asked["path"]).path
    found = re.fullmatch(r"/api/v1/accounts/1/conversations/(\d+)(.*)", path)

    if found is None:
        return f"{asked['method']} {path}", 0

    return f"{asked['method']} conversation{found[2]}", int(found[1])


def error_of(asked: Answer, endpoint: str) -> type[APIError]:
    """Only Chatwoot's own JSON below 500 says for good that nothing was done."""
    own = asked["content_type"].startswith("application/json")

    if own and asked["status"] < 500:
        return PermanentError

    creates = endpoint.endswith("/messages") or endpoint not in CALLS

    return UnknownError if creates and asked["method"] == "POST" else TransientError
