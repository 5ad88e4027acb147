"""What the host posts itself is this app's, and not an operator's."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from flask import Flask
from support.apps import components_of, store_of
from support.queue import Store, everything
from support.stories import Begin, Story, Thinker
from support.waiting import Clock

from flask_chatwoot import Chatwoot, Handoff
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, DatabaseError
from flask_chatwoot.payloads.fields import MARKER, Upload
from flask_chatwoot.queue.host_posts import EXPECTED_FOR
from flask_chatwoot.simulator import Fault

Post = t.Callable[[ChatwootClient, int], object]

OFFER: t.Final = "We have an offer {{today}}."
PDF: t.Final = Upload("offer.pdf", b"%PDF-1.4", "application/pdf")
CHOICES: t.Final = [("Yes", "yes"), ("No", "no")]
BODY: t.Final[dict[str, t.Any]] = {"content": "An offer.", "private": False}

POSTS: t.Final[dict[str, Post]] = {
    "text": lambda client, id: client.create_message(id, OFFER),
    "file": lambda client, id: client.create_message(id, "", files=[PDF]),
    "choices": lambda client, id: client.create_message(id, OFFER, choices=CHOICES),
    "own marker": lambda client, id: client.create_message(id, OFFER, marker="mine"),
    "call": lambda client, id: client.call(
        "POST", f"/conversations/{id}/messages", BODY
    ),
}

VERSIONS: t.Final = ("4.8.0", "4.16.2")  # without markers, and with


def host_posts(
    app: Flask, chatwoot: Chatwoot, story: Story, post: Post, fault: Fault | None = None
) -> None:
    """Post as the host, and wait until the app has handled the delivery."""
    if fault is not None:
        story.sim.inject(fault, endpoint="create_message")

    with app.app_context(), contextlib.suppress(APIError):
        post(chatwoot.client, story.talk.id)

    story.rest()


@pytest.mark.parametrize("post", POSTS.values(), ids=POSTS)
@pytest.mark.parametrize("fault", [None, Fault.CUT_AFTER], ids=["answered", "cut"])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_post_of_the_host_is_no_takeover(
    begin: Begin,
    app: Flask,
    chatwoot: Chatwoot,
    version: str,
    fault: Fault | None,
    post: Post,
) -> None:
    story = begin(version=version, answer="On its way.")
    story.asks()
    host_posts(app, chatwoot, story, post, fault)
    story.asks("Thank you")

    assert story.talk.replies[0::2] == ["On its way.", "On its way."]
    assert (len(story.talk.replies), story.talk.notes) == (3, [])
    assert story.attributes == {"support_mode": "bot"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_post_of_the_host_while_the_provider_works_is_not_the_answer(
    begin: Begin, app: Flask, chatwoot: Chatwoot, thinker: Thinker, version: str
) -> None:
    story = begin(version=version)

    with story.during(thinker, delivered=True), app.app_context():
        chatwoot.client.create_message(story.talk.id, "One moment.")

    assert story.talk.replies == ["One moment.", "You asked: Where is my order?"]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_text_by_an_operator_takes_over(
    begin: Begin, app: Flask, chatwoot: Chatwoot, version: str
) -> None:
    story = begin(version=version, answer="On its way.")

    for fault in (Fault.UNPROCESSABLE, None):  # refused, and then made and known
        host_posts(app, chatwoot, story, POSTS["text"], fault)

    assert story.attributes == {"support_mode": "bot"}
    story.operator(story.talk.replies[0])
    assert story.attributes == {"support_mode": "human"}


def test_a_client_without_an_app_posts_for_an_operator(begin: Begin) -> None:
    story = begin(answer="On its way.")
    client = ChatwootClient(story.sim.url, 1, story.sim.user_token)
    client.create_message(story.talk.id, "Olga here.")
    story.rest()

    assert story.attributes == {"support_mode": "human"}


@pytest.mark.parametrize("kind", ["create", "call"])
def test_what_is_not_recorded_is_not_sent(
    begin: Begin,
    app: Flask,
    chatwoot: Chatwoot,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    story = begin(answer="On its way.")

    def fail(*args: t.Any, **names: t.Any) -> t.Any:
        raise DatabaseError("The disk is full.")

    by_host = store_of(app).outbox.by_host
    post = POSTS["text" if kind == "create" else "call"]

    with app.app_context():
        by_host = components_of(app).store.outbox.by_host
        monkeypatch.setattr(by_host, "made", fail)
        post(chatwoot.client, story.talk.id)  # made, so it must not be repeated
        monkeypatch.setattr(by_host, "begin", fail)

        with pytest.raises(DatabaseError):
            post(chatwoot.client, story.talk.id)

    assert len(story.talk.replies) == 1


def test_what_a_customer_writes_through_the_host_is_not_marked(
    begin: Begin, app: Flask, chatwoot: Chatwoot
) -> None:
    story = begin(answer="On its way.", channel="api")
    written = {"content": "Hello", "message_type": "incoming"}

    with app.app_context():
        path = f"/conversations/{story.talk.id}/messages"
        answer = chatwoot.client.call("POST", path, written)

    assert MARKER not in answer["content_attributes"]
    assert story.lines() == ["Ada Lovelace: Hello", "Uma User: On its way."]


@pytest.mark.parametrize("version", ["4.2.0", "4.13.0"])
def test_a_hand_off_keeps_attributes_that_the_host_has_just_set(
    begin: Begin, chatwoot: Chatwoot, version: str
) -> None:
    @chatwoot.reply_provider
    def reply(text: str, turn: t.Any) -> Handoff:
        attributes = {**turn.custom_attributes, "order_id": "4711"}
        chatwoot.client.set_custom_attributes(turn.conversation_id, attributes)
        return Handoff()

    story = begin(version=version, kind="bot")
    story.asks("An operator, please.")
    assert story.attributes == {"support_mode": "human", "order_id": "4711"}


# -- what is stored ----------------------------------------------------------------


def test_a_post_of_the_host_is_known_by_its_marker_or_its_text(
    store: Store, clock: Clock
) -> None:
    posts = store.outbox.by_host
    marked = posts.begin(42, "Secret", private=False, marker="m")
    new = posts.begin(0, "Hello", private=False)
    posts.begin(43, "Elsewhere", private=False)

    def found(**named: t.Any) -> list[int]:
        values = {"message_id": 20001, "marker": None, **named}
        return [each.id for each in posts.under_way(42, **values)]

    assert found() == [marked.id, new.id]
    assert found(marker="m") == [marked.id, new.id]
    clock.advance(EXPECTED_FOR + 1)
    assert (found(), found(marker="m")) == ([], [marked.id])

    posts.made(marked, 20001)
    assert (found(marker="m"), posts.has_marker("m")) == ([], True)
    assert posts.is_known(20001)


def test_the_text_of_a_post_is_erased_and_the_rest_is_pruned(
    store: Store, path: str, clock: Clock
) -> None:
    posts = store.outbox.by_host
    posts.made(posts.begin(42, "Secret", private=True, files=1), 20001)
    posts.unmade(posts.begin(42, "Secret", private=True))
    assert "Secret" not in str(everything(path))

    assert posts.prune(60.0) == 0
    clock.advance(61.0)
    assert (posts.prune(60.0), posts.is_known(20001)) == (1, False)
