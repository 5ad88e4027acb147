"""What is a question, and what is none."""

from __future__ import annotations

import dataclasses
import re
import time
import typing as t
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import requests
from flask import Flask
from support.apps import AppFactory
from support.stories import Story, Thinker

from flask_chatwoot import Chatwoot
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.testing import (
    ChatwootSim,
    SimulatorFactory,
    customer_message,
    deliver,
)

JSON = dict[str, t.Any]
Fields = t.Callable[[], JSON]

DAY: t.Final = 86_400
QUESTION: t.Final = "Where is my order?"


@pytest.fixture
def asked(chatwoot: Chatwoot) -> list[str]:
    """What the app's provider was asked; it always gives the same answer."""
    texts: list[str] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        texts.append(text)
        return "On its way."

    return texts


@pytest.fixture
def thinker(chatwoot: Chatwoot) -> Thinker:
    """The app's provider, which answers once it may."""
    return chatwoot.reply_provider(Thinker())


# -- no question ---------------------------------------------------------------


@missing("Calls and reactions are given to the provider as if they were texts.")
@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (
            "Voice Call",
            {
                "content_type": "voice_call",
                "content_attributes": {"data": {"status": "ringing"}},
            },
        ),
        (  # app/services/whatsapp/session/inbound/reaction_store.rb, fazer-ai/chatwoot
            "👍",
            {
                "content_attributes": {
                    "is_reaction": True,
                    "in_reply_to_external_id": "wamid.HBgNNDkxNTExMjM0",
                }
            },
        ),
    ],
    ids=["voice call", "reaction"],
)
def test_what_is_no_text_of_the_customer_begins_no_turn(
    chatwoot_sim: ChatwootSim, app: Flask, asked: list[str], text: str, fields: JSON
) -> None:
    story = Story(chatwoot_sim, app, channel="whatsapp")

    story.talk.customer_says(text, **fields)

    assert story.endings() == []
    assert asked == []
    assert story.talk.posted == []


@missing("A message older than CHATWOOT_MAX_AGE is given to the provider, and one "
    "older than 30 days is even answered in public.")
@pytest.mark.parametrize("days", [1, 3, 31, 45, 4000])
def test_a_message_from_an_import_is_not_answered_however_old(
    chatwoot_sim: ChatwootSim, app: Flask, asked: list[str], days: int
) -> None:
    story = Story(chatwoot_sim, app, channel="whatsapp")
    written = {"created_at": time.time() - days * DAY}

    deliver(
        app.test_client(),
        customer_message(
            "Old", channel="whatsapp", conversation_id=story.talk.id, message=written
        ),
    )
    story.rest()

    assert story.talk.replies == []
    assert story.talk.notes == []
    assert asked == []


@missing("An old message in a pending conversation is given to the provider, and the "
    "conversation is not opened with a note.")
@pytest.mark.parametrize("days", [3, 45])
def test_an_old_message_in_a_pending_conversation_opens_it_with_one_note(
    chatwoot_simulator: SimulatorFactory, app: Flask, asked: list[str], days: int
) -> None:
    story = Story(chatwoot_simulator(kind="bot"), app)
    written = {"created_at": time.time() - days * DAY}

    deliver(
        app.test_client(),
        customer_message(
            "Old", kind="bot", conversation_id=story.talk.id, message=written
        ),
    )
    story.rest()

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


@missing("The age of a message is that of its row in Chatwoot; when it was written "
    "is not read.")
@pytest.mark.parametrize(
    ("channel", "fields"), [("whatsapp", imported), ("email", old_mail)]
)
def test_a_message_is_as_old_as_its_oldest_time(
    chatwoot_sim: ChatwootSim,
    app: Flask,
    asked: list[str],
    channel: str,
    fields: Fields,
) -> None:
    story = Story(chatwoot_sim, app, channel=channel)

    story.talk.customer_says("Old", **fields())
    story.rest()

    assert story.talk.posted == []
    assert asked == []


# -- edited and deleted --------------------------------------------------------

EDITED: t.Final = ("One piece, not ten", {"is_edited": True})
DELETED: t.Final = ("This message was deleted", {"deleted": True})


@missing("A turn uses its messages as they were created; what message_updated says "
    "of them is ignored.")
@pytest.mark.parametrize(
    ("text", "attributes", "expected"),
    [(*EDITED, ["Hello", "One piece, not ten"]), (*DELETED, ["Hello"])],
    ids=["edited", "deleted"],
)
def test_a_turn_uses_its_message_as_it_is_when_the_turn_begins(
    chatwoot_sim: ChatwootSim,
    app: Flask,
    thinker: Thinker,
    text: str,
    attributes: JSON,
    expected: list[str],
) -> None:
    story = Story(chatwoot_sim, app, channel="whatsapp")

    story.talk.customer_says("Hello")
    thinker.wait_until_asked()  # the next turn of this conversation has to wait
    ordered = story.talk.customer_says("Ten pieces")
    story.talk.edit(ordered, content=text, content_attributes=attributes)
    story.sim.drain()
    thinker.answer()
    story.rest()

    assert thinker.asked == expected
    assert story.talk.replies == [f"You asked: {each}" for each in expected]


@missing("A message that is deleted before its turn stays in the text of the burst.")
def test_a_deleted_message_is_left_out_of_its_burst(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_sim, app, channel="whatsapp")
    text, attributes = DELETED

    story.talk.customer_says("Hello")
    thinker.wait_until_asked()
    ordered = story.talk.customer_says("Ten pieces")
    story.talk.customer_says("No, twenty")
    story.talk.edit(ordered, content=text, content_attributes=attributes)
    story.sim.drain()
    thinker.answer()
    story.rest()

    assert thinker.asked == ["Hello", "No, twenty"]


@missing("The answer to a text is posted although the customer edited or deleted the "
    "text while the provider worked.")
@pytest.mark.parametrize(
    ("text", "attributes", "expected"),
    [(*EDITED, ["You asked: One piece, not ten"]), (*DELETED, [])],
    ids=["edited", "deleted"],
)
def test_what_is_changed_during_its_turn_is_not_answered_as_it_was(
    chatwoot_sim: ChatwootSim,
    app: Flask,
    thinker: Thinker,
    text: str,
    attributes: JSON,
    expected: list[str],
) -> None:
    story = Story(chatwoot_sim, app, channel="whatsapp")

    ordered = story.talk.customer_says("Ten pieces")
    thinker.wait_until_asked()
    story.talk.edit(ordered, content=text, content_attributes=attributes)
    story.sim.drain()
    thinker.answer()
    story.rest()

    assert story.talk.replies == expected


# -- other machines ------------------------------------------------------------


@missing("Nothing counts how often a customer sends the same text, so two machines "
    "answer each other without end.")
def test_the_sixth_equal_text_in_a_row_is_handed_off(
    chatwoot_sim: ChatwootSim, app: Flask, asked: list[str]
) -> None:
    story = Story(chatwoot_sim, app, channel="whatsapp")

    for _ in range(6):
        story.talk.customer_says("Thank you. We are closed until Monday.")
        story.rest()

    assert story.talk.replies == ["On its way."] * 5
    assert len(story.talk.notes) == 1
    assert story.attributes == {"support_mode": "human"}


@missing("Nothing limits how many turns a conversation has in an hour.")
def test_one_turn_more_than_an_hour_may_have_is_handed_off(
    chatwoot_sim: ChatwootSim,
    make_app: AppFactory,
    chatwoot: Chatwoot,
    asked: list[str],
) -> None:
    app = make_app(chatwoot, max_turns_per_hour=3)
    story = Story(chatwoot_sim, app, channel="whatsapp")

    for number in range(4):
        story.talk.customer_says(f"Your ticket has number {number}.")
        story.rest()

    assert story.talk.replies == ["On its way."] * 3
    assert len(story.talk.notes) == 1
    assert story.attributes == {"support_mode": "human"}


@missing("The address of a mail's sender is not looked at, so a bounce without "
    "Chatwoot's auto_reply flag is answered.")
@pytest.mark.parametrize(
    "address", ["MAILER-DAEMON@mx.example.com", "mailer-daemon@example.com"]
)
def test_a_mail_from_a_mail_daemon_begins_no_turn(
    chatwoot_sim: ChatwootSim, app: Flask, asked: list[str], address: str
) -> None:
    story = Story(chatwoot_sim, app, channel="email")
    talk = story.talk
    daemon = dataclasses.replace(talk.current.contact, email=address)
    talk.current = dataclasses.replace(talk.current, contact=daemon)

    talk.customer_mails("Your message could not be delivered.")

    assert story.endings() == []
    assert asked == []


@missing("The answer of another bot to the same question does not withhold ours.")
@pytest.mark.parametrize("held", [False, True], ids=["delivered", "only in Chatwoot"])
def test_no_answer_is_posted_beside_that_of_another_bot(
    chatwoot_sim: ChatwootSim, app: Flask, thinker: Thinker, held: bool
) -> None:
    story = Story(chatwoot_sim, app)
    other = dataclasses.replace(story.sim.bot, id=9, name="Captain")

    story.talk.customer_says(QUESTION)
    thinker.wait_until_asked()

    if held:
        with story.sim.holding():
            story.talk.add(other, "It left this morning.")
            thinker.answer()
            story.sim.wait_until(lambda: story.calls("conversation"))
    else:
        story.talk.add(other, "It left this morning.")
        story.sim.drain()
        thinker.answer()

    assert story.told() == [
        f"Ada Lovelace: {QUESTION}",
        "Captain: It left this morning.",
    ]


# -- what else writes to customers ---------------------------------------------

SETUP: t.Final = ("setup", "--url", "https://app.example.com", "--inbox", "3", "--yes")


def command(app: Flask, *arguments: str) -> str:
    """What ``flask chatwoot`` prints."""
    return app.test_cli_runner().invoke(args=["chatwoot", *arguments]).output


@pytest.fixture
def sim() -> Iterator[Simulator]:
    """A Chatwoot that is not connected to the app yet."""
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def configured_app(make_app: AppFactory, sim: Simulator) -> Flask:
    """An app with a token for that Chatwoot."""
    return make_app(base_url=sim.url, api_access_token=sim.user_token)


def connect_bot(sim: Simulator, name: str) -> None:
    """Give inbox 3 to a bot of somebody else."""
    account = f"{sim.url}/api/v1/accounts/{sim.account_id}"
    bot = {"name": name, "outgoing_url": "https://other.example.com/hook"}

    with requests.Session() as session:
        session.headers["api_access_token"] = sim.user_token
        made = session.post(f"{account}/agent_bots", json=bot, timeout=5).json()
        session.post(
            f"{account}/inboxes/3/set_agent_bot",
            json={"agent_bot": made["id"]},
            timeout=5,
        ).raise_for_status()


@missing("Neither setup nor doctor looks for another bot on the inbox.")
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

    printed = command(configured_app, *arguments)

    assert "Shop Helper" in printed


@missing("Setup names a greeting only where it connects a bot, and e-mail collection "
    "nowhere.")
@pytest.mark.parametrize(
    ("field", "name", "options"),
    [
        ("greeting_enabled", "greeting", ()),
        ("enable_email_collect", "e-?mail", ()),
        ("enable_email_collect", "e-?mail", ("--agent-bot",)),
    ],
)
def test_setup_names_what_else_an_inbox_sends_by_itself(
    configured_app: Flask,
    sim: Simulator,
    field: str,
    name: str,
    options: tuple[str, ...],
) -> None:
    sim.admin.inboxes[3][field] = True

    printed = command(configured_app, *SETUP, *options)

    assert re.search(name, printed, re.IGNORECASE)
