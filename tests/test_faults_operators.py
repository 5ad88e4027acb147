"""What an operator or Chatwoot did last decides, however the app learns of it."""

from __future__ import annotations

import contextlib
import time
import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask
from support.apps import dismantle
from support.stories import LATER, Begin, Story, Thinker
from werkzeug.exceptions import BadGateway

from flask_chatwoot import Chatwoot, Reply
from flask_chatwoot.simulator import Delivery, Simulator, Talk
from flask_chatwoot.simulator.server import serving

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

EVENTS: t.Final = (
    *("message_created", "message_updated"),
    *("conversation_status_changed", "conversation_updated"),
)
HANDED_OFF: t.Final = "A colleague takes over."
ASKED_AND_NOTED: t.Final = [
    "Ada Lovelace: Where is my order?",
    "Assistant (note): You asked: Where is my order?",
]


def reply(text: str) -> str | Reply:
    """A provider that hands off when the customer asks for an operator."""
    if "operator" in text:
        return Reply(HANDED_OFF, handoff=True)

    return f"You asked: {text}"


# -- deliveries that are late or lost ------------------------------------------


class Clock:
    """That of Chatwoot's machine.

    :ivar ahead: Seconds by which it is ahead of this machine's.
    """

    def __init__(self, ahead: float) -> None:
        self.ahead = ahead

    def __call__(self) -> float:
        return time.time() + self.ahead


class Server:
    """A Chatwoot, and one process of an app after the other behind a reverse proxy.

    While no app runs, the proxy refuses deliveries with 502. The app works in the
    request, so that everything has ended after :meth:`settle`.
    """

    def __init__(self, sim: Simulator, kind: str, folder: Path, clock: Clock) -> None:
        self.sim = sim
        self.clock = clock
        self._app: Flask | None = None
        self._kind = kind
        self._folder = folder

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> t.Iterable[bytes]:
        return (self._app or BadGateway())(environ, start_response)

    def start(self) -> None:
        """Start the app, on the database of the one before."""
        app = Flask("host", instance_path=str(self._folder))
        app.config.update(
            CHATWOOT_BACKEND="inline", CHATWOOT_USER_ACCESS_TOKEN=self.sim.user_token
        )
        app.config.update(self.sim.settings("bot" if self._kind == "bot" else "user"))
        Chatwoot(app).reply_provider(reply)
        self._app = app

    def stop(self) -> None:
        """End the app. What is delivered from now on is lost."""
        app, self._app = self._app, None

        if app is not None:
            dismantle(app)

    @contextlib.contextmanager
    def missing(self) -> t.Iterator[list[Delivery]]:
        """Let the app miss deliveries inside; on leaving they are in the list."""
        missed: list[Delivery] = []
        known = len(self.sim.deliveries)
        app, self._app = self._app, None

        yield missed

        self.settle()
        missed += self.sim.deliveries[known:]
        self._app = app

    def repeat(self, deliveries: t.Iterable[Delivery]) -> None:
        for delivery in deliveries:
            self.sim.repeat(delivery)

        self.settle()

    def says(self, talk: Talk, *texts: str) -> None:
        """Write as the customer, and let the app finish each turn."""
        for text in texts:
            talk.customer_says(text)
            self.settle()

    def settle(self) -> None:
        """Block until no delivery is on its way."""
        self.sim.drain()


@pytest.fixture
def serve(tmp_path: Path) -> t.Iterator[t.Callable[..., Server]]:
    """Prepares a server whose app is not started."""
    with contextlib.ExitStack() as stack:

        def make(kind: t.Any, version: str = "4.16.2", ahead: float = 0.0) -> Server:
            clock = Clock(ahead)
            sim = stack.enter_context(Simulator(version=version, clock=clock))
            server = Server(sim, kind, tmp_path, clock)
            url = stack.enter_context(serving(server, wait=False))
            stack.callback(server.stop)
            sim.connect(f"{url}/chatwoot/webhook", kind=kind, events=EVENTS)

            return server

        yield make


@pytest.mark.parametrize("how", ["late", "repeated"])
@pytest.mark.parametrize("kind", ["account", "bot"])
def test_a_late_or_repeated_resolve_does_not_undo_a_newer_hand_off(
    serve: t.Callable[..., Server], kind: str, how: str
) -> None:
    at = serve(kind)
    at.start()
    talk = at.sim.conversation(custom_attributes={"support_mode": "bot"})
    at.says(talk, "Hello")

    with at.missing() as resolved:
        talk.resolve()

    if how == "repeated":
        at.repeat(resolved)

    at.says(talk, "An operator, please.")
    at.repeat(resolved)
    at.says(talk, "Are you still there?")

    assert talk.replies == ["You asked: Hello", HANDED_OFF]
    assert talk.notes[-1] == "You asked: Are you still there?"
    assert talk.current.custom_attributes == {"support_mode": "human"}


FORM: t.Final = ("form.pdf", b"%PDF-1.4", "application/pdf")


@pytest.mark.parametrize(
    "takes_over",
    [
        lambda talk: talk.operator_says("Which street do you live in?"),
        lambda talk: talk.operator_says(None, attachments=[FORM]),
    ],
    ids=["writes", "sends a file"],
)
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
@pytest.mark.parametrize(
    ("kind", "version"),
    [("account", "4.16.2"), ("account", "4.8.0"), ("bot", "4.16.2")],
)
def test_a_takeover_while_the_app_was_down_is_seen_after_the_start(
    serve: t.Callable[..., Server],
    kind: str,
    version: str,
    known: bool,
    takes_over: t.Callable[[Talk], object],
) -> None:
    at = serve(kind, version)
    talk = at.sim.conversation(status="open", custom_attributes={"support_mode": "bot"})
    at.start()

    if known:
        at.says(talk, "Where is my order?")

    earlier = talk.replies
    at.stop()
    takes_over(talk)
    at.settle()
    at.start()
    at.says(talk, "Elm Street", "Number 5")

    assert talk.replies == earlier
    assert talk.notes == ["You asked: Elm Street", "You asked: Number 5"]


@pytest.mark.parametrize("kind", ["account", "bot"])
def test_a_lost_takeover_that_a_resolve_ended_is_not_seen(
    serve: t.Callable[..., Server], kind: str
) -> None:
    at = serve(kind)
    at.start()
    talk = at.sim.conversation(status="open", custom_attributes={"support_mode": "bot"})

    with at.missing():
        talk.operator_says("Which street do you live in?")

    talk.resolve()
    at.says(talk, "Hello")

    assert talk.replies == ["You asked: Hello"]


@pytest.mark.parametrize("kind", ["account", "bot"])
def test_a_lost_takeover_is_seen_before_the_attribute_is_restored(
    serve: t.Callable[..., Server], kind: str
) -> None:
    """Its restoring is told like an operator's return."""
    at = serve(kind)
    at.start()
    talk = at.sim.conversation(status="open", custom_attributes={"support_mode": "bot"})
    takes_over(at, talk)
    resolves(at, talk)

    with at.missing():
        talk.operator_says("Which street do you live in?")

    at.says(talk, "Elm Street", "Number 5")

    assert talk.replies == []
    assert talk.notes == ["You asked: Elm Street", "You asked: Number 5"]


def test_a_conversation_that_was_opened_before_it_was_seen_is_the_operators(
    serve: t.Callable[..., Server],
) -> None:
    at = serve("bot", "4.13.0")
    at.start()
    talk = at.sim.conversation(custom_attributes={"support_mode": "bot"})
    opens(at, talk)
    at.says(talk, "Hello")

    assert talk.notes == ["You asked: Hello"]


def test_a_lost_takeover_shows_with_the_next_change(
    serve: t.Callable[..., Server],
) -> None:
    """A bot may not list messages."""
    at = serve("bot", "4.13.0")
    at.start()
    talk = at.sim.conversation(status="open", custom_attributes={"support_mode": "bot"})
    at.says(talk, "Where is my order?")

    with at.missing():
        talk.operator_says("Which street do you live in?")

    talk.set_attribute("order_id", "4711")
    at.says(talk, "Elm Street")

    assert talk.notes == ["You asked: Elm Street"]


def test_a_hand_off_of_a_question_before_a_resolve_is_not_made(
    begin: Begin, chatwoot: Chatwoot
) -> None:
    thinker = chatwoot.reply_provider(Thinker(Reply(HANDED_OFF, handoff=True)))
    story = begin()

    with story.during(thinker, "An operator, please.", delivered=True):
        story.talk.resolve()

    assert story.attributes == {"support_mode": "bot"}
    story.asks()
    assert story.talk.replies == [HANDED_OFF]


def test_a_message_from_before_a_hand_off_does_not_return_it(
    begin: Begin, chatwoot: Chatwoot
) -> None:
    """It shows the attribute as it was, and the question's delivery took a while."""
    thinker = chatwoot.reply_provider(Thinker(Reply(HANDED_OFF, handoff=True)))
    story = begin(version="4.2.0", kind="bot", status="open")

    with story.during(thinker, "An operator, please.", delivered=True):
        story.later(5.0)
        story.talk.customer_says("It is urgent.")

    assert story.talk.replies == [HANDED_OFF]


# -- clocks that differ ----------------------------------------------------------


def hands_off(at: Server, talk: Talk) -> None:
    at.says(talk, "An operator, please.")


def sets_bot(at: Server, talk: Talk) -> None:
    at.clock.ahead += LATER
    talk.set_attribute("support_mode", "bot")
    at.settle()


def takes_over(at: Server, talk: Talk) -> None:
    talk.operator_says("I do it.")
    at.settle()


def opens(at: Server, talk: Talk) -> None:
    talk.change_status("open")
    at.settle()


def opens_unseen(at: Server, talk: Talk) -> None:
    with at.missing():
        talk.change_status("open")


def sets_pending(at: Server, talk: Talk) -> None:
    talk.change_status("pending")
    at.settle()


def resolves(at: Server, talk: Talk) -> None:
    talk.resolve()
    at.settle()


def asks_late(at: Server, talk: Talk) -> None:
    """A message from before the hand-off, delivered after it."""
    with at.missing() as missed:
        talk.customer_says("Hello?")

    hands_off(at, talk)
    at.repeat(missed)


@pytest.mark.parametrize("ahead", [-10.0, 0.0, 10.0])
@pytest.mark.parametrize(
    ("kind", "version", "status", "acts", "private"),
    [
        ("bot", "4.2.0", "open", [hands_off], True),
        ("bot", "4.2.0", "open", [hands_off, sets_bot], False),
        ("bot", "4.2.0", "open", [asks_late], True),
        ("bot", "4.2.0", "open", [takes_over, sets_bot], False),
        ("bot", "4.2.0", "pending", [opens], True),
        ("bot", "4.2.0", "pending", [opens_unseen], True),
        ("bot", "4.2.0", "pending", [opens, resolves], False),
        ("bot", "4.16.2", "pending", [opens, sets_pending], False),
        ("bot", "4.16.2", "pending", [opens, sets_pending, takes_over], True),
        ("bot", "4.16.2", "pending", [takes_over, opens, sets_pending], False),
        ("account", "4.16.2", "open", [takes_over, sets_pending], False),
        ("account", "4.16.2", "open", [asks_late], True),
        ("account", "4.16.2", "open", [hands_off, sets_bot], False),
        ("account", "4.16.2", "open", [hands_off, sets_bot, hands_off], True),
    ],
)
def test_no_clock_of_another_machine_decides(
    serve: t.Callable[..., Server],
    kind: str,
    version: str,
    status: str,
    acts: list[t.Callable[[Server, Talk], None]],
    private: bool,
    ahead: float,
) -> None:
    at = serve(kind, version, ahead)
    at.start()
    talk = at.sim.conversation(status=status, custom_attributes={"support_mode": "bot"})
    at.says(talk, "Hello")

    for act in acts:
        act(at, talk)

    at.says(talk, "Where is my order?")
    last = talk.posted[-1]

    assert (last.content, last.private) == ("You asked: Where is my order?", private)


# -- a token that may not look -------------------------------------------------


@pytest.mark.parametrize(
    ("version", "change"),
    [
        ("4.13.0", "human"),
        ("4.13.0", "snoozed"),
        ("4.13.0", "resolved"),
        ("4.2.0", "resolved"),  # the only one of these that such a bot gets
    ],
)
def test_without_a_look_the_newest_delivered_state_decides(
    begin: Begin, thinker: Thinker, version: str, change: str
) -> None:
    story = begin(version=version, kind="bot", status="open")

    with story.during(thinker, delivered=True):
        if change == "human":
            story.talk.set_attribute("support_mode", change)
        else:
            story.talk.change_status(change)

    assert story.lines() == ASKED_AND_NOTED


def call(story: Story, token: str, path: str, **body: t.Any) -> None:
    """Use Chatwoot's API, as a program of the company does."""
    requests.post(
        f"{story.sim.url}/api/v1/accounts/1/conversations/{story.talk.id}/{path}",
        json=body,
        headers={"Api-Access-Token": token},
        timeout=5,
    ).raise_for_status()


def by_operator(story: Story) -> None:
    story.talk.set_attribute("order_id", "4711")


def by_host(story: Story) -> None:
    """As a provider does that looked an order up."""
    attributes = {**story.attributes, "order_id": "4711"}
    token = story.sim.bot_token
    call(story, token, "custom_attributes", custom_attributes=attributes)


@pytest.mark.parametrize("sets", [by_operator, by_host])
@pytest.mark.parametrize("version", ["4.2.0", "4.13.0"])
def test_a_hand_off_keeps_attributes_that_were_set_during_the_turn(
    begin: Begin, chatwoot: Chatwoot, version: str, sets: t.Callable[[Story], None]
) -> None:
    thinker = chatwoot.reply_provider(Thinker(Reply(HANDED_OFF, handoff=True)))
    story = begin(version=version, kind="bot")

    with story.during(thinker, "An operator, please.", delivered=True):
        sets(story)

        if version == "4.2.0":  # sends attributes with messages only
            story.talk.customer_says("It is urgent.")

    assert story.attributes == {"support_mode": "human", "order_id": "4711"}


# -- operators without a user, and without a message ---------------------------


def answer_from_slack(story: Story) -> None:
    """A colleague without a Chatwoot user: no sender, but a name.

    See ``lib/integrations/slack/slack_message_helper.rb`` of Chatwoot.
    """
    story.talk.add(
        None, "I am looking it up.", additional_attributes={"sender_name": "Otto"}
    )


def test_a_reply_from_slack_takes_over(begin: Begin) -> None:
    story = begin(answer=reply)
    story.asks("Hello")
    answer_from_slack(story)
    story.rest()
    story.asks("Thank you")

    assert story.lines() == [
        "Ada Lovelace: Hello",
        "Uma User: You asked: Hello",
        "Chatwoot: I am looking it up.",
        "Ada Lovelace: Thank you",
        "Uma User (note): You asked: Thank you",
    ]
    assert story.attributes == {"support_mode": "human"}


def test_a_reply_from_slack_while_the_provider_works_is_the_answer(
    begin: Begin, thinker: Thinker
) -> None:
    story = begin()

    with story.during(thinker, delivered=True):
        answer_from_slack(story)

    assert story.lines() == [
        "Ada Lovelace: Where is my order?",
        "Chatwoot: I am looking it up.",
    ]
    assert story.endings()[0] == "declined answered"


@pytest.mark.parametrize("opened", ["by a click", "by an assignment", "by the API"])
@pytest.mark.parametrize("version", ["4.2.0", "4.16.2"])
def test_a_pending_conversation_that_was_opened_is_the_operators_until_resolved(
    begin: Begin, version: str, opened: str
) -> None:
    story = begin(answer=reply, version=version, kind="bot", channel="whatsapp")
    story.asks("Hello")

    if opened == "by a click":
        story.talk.reopen()
    elif opened == "by an assignment":
        story.talk.operator_takes()
    else:
        call(story, story.sim.user_token, "toggle_status", status="open")

    story.rest()
    story.asks("Is anybody there?")
    story.talk.resolve()
    story.rest()
    story.asks()

    assert story.lines() == [
        "Ada Lovelace: Hello",
        "Assistant: You asked: Hello",
        "Ada Lovelace: Is anybody there?",
        "Assistant (note): You asked: Is anybody there?",
        "Ada Lovelace: Where is my order?",
        "Assistant: You asked: Where is my order?",
    ]


@pytest.mark.parametrize("version", ["4.2.0", "4.16.2"])
def test_a_conversation_opened_while_the_provider_works_gets_a_note(
    begin: Begin, thinker: Thinker, version: str
) -> None:
    story = begin(version=version, kind="bot", channel="whatsapp")

    with story.during(thinker, delivered=True):
        story.talk.reopen()

    assert story.lines() == ASKED_AND_NOTED
