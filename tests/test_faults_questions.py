"""What is a question, and what is none."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import time
import typing as t
from datetime import UTC, datetime

import pytest
import requests
from flask import Flask
from support.apps import AppFactory
from support.stories import QUESTION, REPLY, Begin, Story, Thinker

from flask_chatwoot import Chatwoot
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.testing import ChatwootSim, customer_message, deliver

JSON = dict[str, t.Any]

DAY: t.Final = 86_400

# -- no question ---------------------------------------------------------------

REACTION: t.Final[JSON] = {
    "is_reaction": True,
    "in_reply_to_external_id": "wamid.HBgNNDkxNTExMjM0",
}  # app/services/whatsapp/session/inbound/reaction_store.rb, fazer-ai/chatwoot
RINGING: t.Final[JSON] = {"data": {"status": "ringing"}}


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("Voice Call", {"content_type": "voice_call", "content_attributes": RINGING}),
        ("👍", {"content_attributes": REACTION}),
    ],
    ids=["voice call", "reaction"],
)
def test_what_is_no_text_of_the_customer_begins_no_turn(
    begin: Begin, asked: list[str], text: str, fields: JSON
) -> None:
    story = begin(channel="whatsapp")
    story.asks(text, **fields)

    assert story.endings() == []
    assert asked == []
    assert story.talk.posted == []


def deliver_old(app: Flask, story: Story, days: int, **options: t.Any) -> None:
    """Deliver a message that was written some days ago."""
    written = {"created_at": time.time() - days * DAY}
    payload = customer_message(
        "Old", conversation_id=story.talk.id, message=written, **options
    )
    deliver(app.test_client(), payload)
    story.rest()


@pytest.mark.parametrize("days", [1, 3, 31, 45, 4000])
def test_a_message_from_an_import_is_not_answered_however_old(
    begin: Begin, app: Flask, asked: list[str], days: int
) -> None:
    story = begin(channel="whatsapp")
    deliver_old(app, story, days, channel="whatsapp")

    assert story.talk.replies == []
    assert story.talk.notes == []
    assert asked == []


@pytest.mark.parametrize("days", [3, 45])
def test_an_old_message_in_a_pending_conversation_opens_it_with_one_note(
    begin: Begin, app: Flask, asked: list[str], days: int
) -> None:
    story = begin(kind="bot")
    deliver_old(app, story, days, kind="bot")

    assert asked == []
    assert story.talk.replies == []
    assert len(story.talk.notes) == 1
    assert story.talk.status == "open"


def imported() -> JSON:
    """A text that an integration copied from elsewhere just now."""
    return {"content_attributes": {"external_created_at": int(time.time()) - 45 * DAY}}


def old_mail() -> JSON:
    """A mail that was fetched just now."""
    sent = datetime.fromtimestamp(time.time() - 45 * DAY, UTC)
    mail = {
        "subject": "Question",
        "date": sent.isoformat(timespec="milliseconds"),
        "text_content": {"full": "Old", "reply": "Old", "quoted": "Old"},
        "html_content": {},
        "auto_reply": False,
    }

    return {"content_type": "incoming_email", "content_attributes": {"email": mail}}


@pytest.mark.parametrize(
    ("channel", "fields"), [("whatsapp", imported), ("email", old_mail)]
)
def test_a_message_is_as_old_as_its_oldest_time(
    begin: Begin, asked: list[str], channel: str, fields: t.Callable[[], JSON]
) -> None:
    story = begin(channel=channel)
    story.asks("Old", **fields())

    assert story.talk.posted == []
    assert asked == []


# -- edited and deleted --------------------------------------------------------

EDITED: t.Final[JSON] = {
    "content": "One piece, not ten",
    "content_attributes": {"is_edited": True},
}
DELETED: t.Final[JSON] = {
    "content": "This message was deleted",
    "content_attributes": {"deleted": True},
}


@pytest.mark.parametrize(
    ("change", "expected"),
    [(EDITED, ["Hello", "One piece, not ten"]), (DELETED, ["Hello"])],
    ids=["edited", "deleted"],
)
def test_a_turn_uses_its_message_as_it_is_when_the_turn_begins(
    begin: Begin, thinker: Thinker, change: JSON, expected: list[str]
) -> None:
    story = begin(channel="whatsapp")

    with story.during(
        thinker, "Hello", delivered=True
    ):  # the next turn of the conversation waits
        story.talk.edit(story.talk.customer_says("Ten pieces"), **change)

    assert thinker.asked == expected
    assert story.talk.replies == [f"You asked: {each}" for each in expected]


def test_a_deleted_message_is_left_out_of_its_burst(
    begin: Begin, thinker: Thinker
) -> None:
    story = begin(channel="whatsapp")

    with story.during(thinker, "Hello", delivered=True):
        ordered = story.talk.customer_says("Ten pieces")
        story.talk.customer_says("No, twenty")
        story.talk.edit(ordered, **DELETED)

    assert thinker.asked == ["Hello", "No, twenty"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [(EDITED, ["You asked: One piece, not ten"]), (DELETED, [])],
    ids=["edited", "deleted"],
)
def test_what_is_changed_during_its_turn_is_not_answered_as_it_was(
    begin: Begin, thinker: Thinker, change: JSON, expected: list[str]
) -> None:
    story = begin(channel="whatsapp")

    with story.during(thinker, "Ten pieces", delivered=True) as ordered:
        story.talk.edit(ordered, **change)

    assert story.talk.replies == expected


# -- other machines ------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "texts"),
    [
        pytest.param(
            {},
            ["Thank you. We are closed until Monday."] * 6,
            id="the sixth equal text in a row",
        ),
        pytest.param(
            {"max_turns_per_hour": 3},
            [f"Your ticket has number {number}." for number in range(4)],
            id="one turn more than an hour may have",
        ),
    ],
)
@pytest.mark.usefixtures("asked")
def test_a_machine_that_writes_again_and_again_is_handed_off(
    chatwoot_sim: ChatwootSim,
    make_app: AppFactory,
    chatwoot: Chatwoot,
    settings: JSON,
    texts: list[str],
) -> None:
    app = make_app(chatwoot, **settings)
    story = Story(chatwoot_sim, app, channel="whatsapp")

    for text in texts:
        story.asks(text)

    assert story.talk.replies == [REPLY] * (len(texts) - 1)
    assert len(story.talk.notes) == 1
    assert story.attributes == {"support_mode": "human"}


@pytest.mark.parametrize(
    "address", ["MAILER-DAEMON@mx.example.com", "mailer-daemon@example.com"]
)
def test_a_mail_from_a_mail_daemon_begins_no_turn(
    begin: Begin, asked: list[str], address: str
) -> None:
    story = begin(channel="email")
    talk = story.talk
    daemon = dataclasses.replace(talk.current.contact, email=address)
    talk.current = dataclasses.replace(talk.current, contact=daemon)

    talk.customer_mails("Your message could not be delivered.")

    assert story.endings() == []
    assert asked == []


@pytest.mark.parametrize("held", [False, True], ids=["delivered", "only in Chatwoot"])
def test_no_answer_is_posted_beside_that_of_another_bot(
    begin: Begin, thinker: Thinker, held: bool
) -> None:
    story = begin()
    other = dataclasses.replace(story.sim.bot, id=9, name="Captain")

    with story.during(thinker, delivered=True), contextlib.ExitStack() as stack:
        if held:
            stack.enter_context(story.sim.holding())

        story.talk.add(other, "It left this morning.")

        if held:
            thinker.answer()
            story.sim.wait_until(lambda: story.calls("conversation"))

    assert story.lines() == [
        f"Ada Lovelace: {QUESTION}",
        "Captain: It left this morning.",
    ]


# -- what else writes to customers ---------------------------------------------

SETUP: t.Final = ("setup", "--url", "https://app.example.com", "--inbox", "3", "--yes")


def command(app: Flask, *arguments: str) -> str:
    """What ``flask chatwoot`` prints."""
    return app.test_cli_runner().invoke(args=["chatwoot", *arguments]).output


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    """A Chatwoot that is not connected to the app yet."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def configured_app(make_app: AppFactory, sim: Simulator) -> Flask:
    """An app with a token for that Chatwoot."""
    return make_app(base_url=sim.url, api_access_token=sim.user_token)


def connect_bot(sim: Simulator, name: str) -> None:
    """Give inbox 3 to a bot of another company."""
    account = f"{sim.url}/api/v1/accounts/{sim.account_id}"
    bot = {"name": name, "outgoing_url": "https://other.example.com/hook"}

    with requests.Session() as session:
        session.headers["api_access_token"] = sim.user_token
        made = session.post(f"{account}/agent_bots", json=bot, timeout=5).json()
        connected = {"agent_bot": made["id"]}
        url = f"{account}/inboxes/3/set_agent_bot"
        session.post(url, json=connected, timeout=5).raise_for_status()


@pytest.mark.parametrize(
    "arguments",
    [SETUP, ("doctor", "--url", "https://app.example.com")],
    ids=["setup", "doctor"],
)
def test_another_bot_on_the_inbox_is_named(
    configured_app: Flask, sim: Simulator, arguments: tuple[str, ...]
) -> None:
    command(configured_app, *SETUP)
    connect_bot(sim, "Shop Helper")

    assert "Shop Helper" in command(configured_app, *arguments)


@pytest.mark.parametrize(
    ("field", "name", "options"),
    [
        ("greeting_enabled", "greeting", ()),
        ("enable_email_collect", "e-?mail", ()),
        ("enable_email_collect", "e-?mail", ("--agent-bot",)),
    ],
)
def test_setup_names_what_else_an_inbox_sends_by_itself(
    configured_app: Flask, sim: Simulator, field: str, name: str, options: list[str]
) -> None:
    sim.admin.inboxes[3][field] = True
    printed = command(configured_app, *SETUP, *options)

    assert re.search(name, printed, re.IGNORECASE)
