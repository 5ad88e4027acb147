"""What a provider has to know of a question, and how its answer is shown."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import typing as t
from collections.abc import Iterator, Mapping

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.chatwoot import ChatwootStub
from support.deliveries import WEBHOOK, as_bytes, message, signed
from support.stories import REPLY, Begin, Thinker
from werkzeug.test import EnvironBuilder, run_wsgi_app

from flask_chatwoot import Channel, Chatwoot, HistoryEntry, Mode, Reply, Turn
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.queue.outbox import Draft
from flask_chatwoot.queue.store import Store
from flask_chatwoot.replies import Answer
from flask_chatwoot.turns.drafts import as_note, parts_of
from flask_chatwoot.turns.messages import (
    event_in,
    follow_up,
    follow_up_of,
    messages_of,
)

JSON = dict[str, t.Any]

# -- what a provider is given --------------------------------------------------


def values_in(thing: t.Any) -> Iterator[t.Any]:
    """Every single value of a nested one, also what its ``repr`` leaves out."""
    if dataclasses.is_dataclass(thing):
        parts = [getattr(thing, each.name) for each in dataclasses.fields(thing)]
    elif isinstance(thing, Mapping):
        parts = list(thing.values())
    elif isinstance(thing, list | tuple):
        parts = list(thing)
    else:
        yield thing
        return

    for part in parts:
        yield from values_in(part)


@pytest.fixture
def turns(chatwoot: Chatwoot) -> tuple[list[Turn], Thinker]:
    """The turns the app's provider was given, and whom it waits for."""
    seen: list[Turn] = []
    thinker = Thinker()

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> t.Any:
        seen.append(turn)
        return thinker(text, turn)

    return seen, thinker


def test_a_mail_without_text_is_asked_with_its_subject(
    begin: Begin, asked: list[str]
) -> None:
    subject = "Can I return order 4711?"
    mail = {"subject": subject, "text_content": {}, "html_content": {}}
    fields = {"additional_attributes": {"mail_subject": subject}}
    story = begin(kind="bot", channel="email", **fields)
    story.asks(None, content_type="incoming_email", content_attributes={"email": mail})

    assert asked == [subject]
    assert story.talk.replies == [REPLY]


LOCATION: t.Final = {
    "file_type": "location",
    "coordinates_lat": 52.5219,
    "coordinates_long": 13.4132,
    "fallback_title": "Alexanderplatz",
}
VOICE: t.Final = {
    "file_type": "audio",
    "data_url": "https://files.example.com/1.ogg",
    "transcribed_text": "Where is my parcel?",
}
CARD: t.Final = {
    "file_type": "contact",
    "fallback_title": "+491511234567",
    "meta": {"firstName": "Otto"},
}


@pytest.mark.parametrize(
    ("file", "facts"),
    [
        (LOCATION, ["52.5219", "13.4132", "Alexanderplatz"]),
        (VOICE, ["Where is my parcel?"]),
        (CARD, ["+491511234567", "Otto"]),
    ],
    ids=["location", "transcript", "contact card"],
)
def test_what_chatwoot_says_of_an_attachment_is_kept_in_a_burst(
    begin: Begin, turns: tuple[list[Turn], Thinker], file: JSON, facts: list[str]
) -> None:
    seen, thinker = turns
    story = begin(channel="whatsapp")

    with story.during(thinker, "Hello", delivered=True):
        story.talk.customer_says(None, attachments=[file])
        story.talk.customer_says("Please see above")

    text = " ".join(map(str, values_in(seen[-1].messages)))
    assert len(seen[-1].messages) == 2
    assert [fact for fact in facts if fact not in text] == []


def test_what_a_message_replies_to_is_kept_in_a_burst(
    begin: Begin, turns: tuple[list[Turn], Thinker]
) -> None:
    seen, thinker = turns
    story = begin(channel="whatsapp")

    with story.during(thinker, "The red one or the blue one?", delivered=True) as first:
        quoted = {"in_reply_to": first.id}
        story.talk.customer_says("This one, please", content_attributes=quoted)
        story.talk.customer_says("And quickly")

    assert len(seen[-1].messages) == 2
    assert first.id in list(values_in(seen[-1].messages))


FACTS: t.Final = {
    "edited": {"is_edited": True},
    "deleted": {"deleted": True},
    "reaction": {"is_reaction": True},
    "in_reply_to": {"in_reply_to": 17},
}


@pytest.mark.parametrize(("name", "attributes"), FACTS.items(), ids=FACTS)
def test_what_chatwoot_says_of_a_message_is_kept_in_a_burst(
    store: Store, name: str, attributes: JSON
) -> None:
    client = ChatwootClient("http://chatwoot.invalid", 1, "token")
    bodies = [
        as_bytes(message("Hm", id=number, content_attributes=attributes))
        for number in (1, 2)
    ]
    events = [event_in(body) for body in bodies]

    for body, event in zip(bodies, events, strict=True):
        store.queue.put(
            event.key,
            conversation_id=42,
            message_id=event.message.id,
            payload=body,
            said=functools.partial(follow_up, event),
        )

    job = store.queue.claim()
    assert job is not None
    kept = messages_of(job, events[-1], client)
    [again] = [json.loads(follow_up_of(each))[-1] for each in kept if each.id == 2]

    value = attributes.get("in_reply_to", True)
    assert [each._asdict()[name] for each in kept] == [value, value]
    assert again == {name: value}  # also if the turn does not answer it


@pytest.mark.parametrize(
    ("file", "entry"),
    [
        (("order.png", b"\x89PNG and so on", "image/png"), "[image: order.png]"),
        (VOICE, "Where is my parcel?"),
    ],
    ids=["image", "transcript"],
)
@pytest.mark.parametrize("kind", ["account", "bot"])
def test_files_are_part_of_the_history(
    begin: Begin, kind: str, file: t.Any, entry: str
) -> None:
    histories: list[list[HistoryEntry]] = []

    def reply(text: str, turn: Turn) -> str:
        histories.append(turn.history())
        return REPLY

    story = begin(answer=reply, kind=kind, channel="whatsapp")
    story.asks(None, attachments=[file])
    story.asks("Do you see it?")

    said = [each["content"] for each in histories[-1] if each["role"] == "user"]
    assert entry in "\n".join(said)


@pytest.mark.parametrize("kind", ["account", "bot"])
def test_files_of_a_reply_are_part_of_the_history(begin: Begin, kind: str) -> None:
    histories: list[list[HistoryEntry]] = []

    def reply(text: str, turn: Turn) -> Reply:
        histories.append(turn.history())
        return Reply("Here", attachments=[("1.pdf", b"%PDF", "application/pdf")])

    story = begin(answer=reply, kind=kind)
    story.asks()
    story.asks("Thanks")

    assert histories[-1][-1] == {"role": "assistant", "content": "Here\n[file: 1.pdf]"}


# -- choices -------------------------------------------------------------------


@pytest.mark.parametrize(
    "channel", ["Email", "FacebookPage", "Instagram", "Line", "Sms", "TwilioSms"]
)
def test_choices_are_listed_in_the_text_where_the_channel_shows_none(
    begin: Begin, channel: str
) -> None:
    answer = Reply("Which one?", choices=["Order", "Return"])
    story = begin(answer=answer, channel=f"Channel::{channel}")
    story.asks("Hello")

    [said] = story.talk.replies
    assert [each for each in ("Order", "Return") if each not in said] == []


@pytest.mark.parametrize(
    ("channel", "listed", "buttons"),
    [
        *((each, False, True) for each in ("WebWidget", "Api", "Whatsapp", "Telegram")),
        *((each, True, False) for each in ("Email", "Sms", "TwilioSms", "Instagram")),
        *((each, True, True) for each in ("Line", "FacebookPage", "OfTheFuture")),
        (None, False, True),
    ],
)
def test_choices_are_shown_once_where_that_is_certain(
    channel: str | None, listed: bool, buttons: bool
) -> None:
    turn = Turn(text="Hello", mode=Mode.BOT, channel=Channel(channel))
    reply = Reply("Which one?", choices=["Order", ("Return", "return-4711")])
    [part], _ = parts_of(Answer((reply,)), turn, most=4)

    assert ("- Order\n- Return" in part.content) is listed
    assert bool(part.choices) is buttons

    note = as_note(Draft(1, "m", False, part.content, choices=tuple(part.choices)))
    assert note.content.count("- Order") == 1


def test_choices_of_several_lines_are_listed_once() -> None:
    turn = Turn(text="Hello", mode=Mode.BOT, channel=Channel("Line"))
    reply = Reply("Which one?", choices=["Order\nby post", "Return\u2028it"])
    [part], _ = parts_of(Answer((reply,)), turn, most=4)

    note = as_note(Draft(1, "m", False, part.content, choices=tuple(part.choices)))
    assert note.content.count("- Order") == 1


@pytest.mark.parametrize("count", [2, 30], ids=["one message", "several messages"])
def test_choices_are_listed_whatever_is_left_over_of_a_long_text(count: int) -> None:
    turn = Turn(text="Hello", mode=Mode.BOT, channel=Channel("Sms", 320))
    choices = [f"The order number {number}" for number in range(count)]
    reply = Reply("Well. " * 300, choices=choices)
    parts, _ = parts_of(Answer((reply,)), turn, most=4)

    public = [each.content for each in parts if not each.private]
    assert "\n".join(public).endswith("\n".join(f"- {each}" for each in choices))
    assert (len(public), public[0][:5]) == (4, "Well.")
    assert max(map(len, public)) <= 320


# -- deliveries ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("coding", "length", "protocol"),
    [
        *((each, None, "HTTP/1.1") for each in ("chunked", "Chunked", "gzip, chunked")),
        ("chunked", "7", "HTTP/1.1"),  # the coding counts (RFC 9112, section 6.3)
        *((None, each, "HTTP/2") for each in (None, "")),
    ],
)
@pytest.mark.parametrize("path", ["webhook", "webhook/", "copilot"])
def test_a_body_that_the_server_does_not_end_is_refused_for_its_length(
    app: Flask,
    caplog: pytest.LogCaptureFixture,
    path: str,
    coding: str | None,
    length: str | None,
    protocol: str,
) -> None:
    """As under uWSGI, hypercorn and asgiref's ``WsgiToAsgi``."""
    delivery = signed(message())
    environ = EnvironBuilder(
        path=f"/chatwoot/{path}",
        method="POST",
        content_type="application/json",
        headers=[
            *delivery["headers"].items(),
            ("Authorization", "Bearer token-of-a-page"),
            *([("Transfer-Encoding", coding)] if coding else []),
        ],
    ).get_environ()
    environ.pop("CONTENT_LENGTH", None)
    environ["SERVER_PROTOCOL"] = protocol
    environ |= {} if length is None else {"CONTENT_LENGTH": length}
    environ["wsgi.input"] = io.BytesIO(as_bytes(delivery["data"]))

    _, status, _ = run_wsgi_app(app, environ)

    assert status.startswith("411")
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert "signature" not in caplog.text
    assert "length" in caplog.text


def test_the_webhook_may_have_a_slash_at_its_end(
    client: FlaskClient, api: ChatwootStub, asked: list[str]
) -> None:
    answer = client.post(f"{WEBHOOK}/", **signed(message()))

    assert answer.status_code == 202
    assert api.public == [REPLY]
