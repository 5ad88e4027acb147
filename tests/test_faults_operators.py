"""What an operator or Chatwoot said last is respected, however the app learns of it."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask
from support.apps import dismantle
from support.stories import Story, Thinker
from werkzeug.exceptions import BadGateway
from werkzeug.serving import WSGIRequestHandler, make_server

from flask_chatwoot import Chatwoot, Reply
from flask_chatwoot.simulator import Delivery, Simulator, Talk
from flask_chatwoot.testing import SimulatorFactory

if t.TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

Kind = t.Literal["account", "bot"]

EVENTS: t.Final = (
    "message_created",
    "message_updated",
    "conversation_status_changed",
    "conversation_updated",
)
HANDED_OVER = "A colleague takes over."


def reply(text: str) -> str | Reply:
    """A provider that hands over when the customer asks for an operator."""
    if "operator" in text:
        return Reply(HANDED_OVER, handoff=True)

    return f"You asked: {text}"


# -- deliveries that are late or lost ------------------------------------------


class Quiet(WSGIRequestHandler):
    """A handler that writes no access log."""

    def log(self, type: str, message: str, *args: t.Any) -> None:
        """Write nothing."""


class Proxy:
    """A reverse proxy. While no app is behind it, it refuses deliveries with 502.

    :ivar app: The app behind it.
    :ivar url: Of the webhook.
    """

    def __init__(self) -> None:
        self.app: Flask | None = None
        self.url = ""

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> t.Iterable[bytes]:
        target = self.app or BadGateway()

        return target(environ, start_response)


@pytest.fixture
def proxy() -> t.Iterator[Proxy]:
    proxy = Proxy()
    server = make_server("127.0.0.1", 0, proxy, threaded=True, request_handler=Quiet)
    proxy.url = f"http://127.0.0.1:{server.server_port}/chatwoot/webhook"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()

    yield proxy

    server.shutdown()
    thread.join()
    server.server_close()


class Stage:
    """A Chatwoot, a proxy, and one process of an app after the other.

    The app works in the request, so that everything has ended after :meth:`settle`.
    """

    def __init__(self, sim: Simulator, proxy: Proxy, kind: Kind, folder: Path) -> None:
        self.sim = sim
        self._proxy = proxy
        self._kind = kind
        self._folder = folder

    def start(self) -> None:
        """Start the app, on the database of the one before."""
        app = Flask("host", instance_path=str(self._folder))
        app.config.update(
            CHATWOOT_BACKEND="inline", CHATWOOT_USER_ACCESS_TOKEN=self.sim.user_token
        )
        app.config.update(self.sim.settings("bot" if self._kind == "bot" else "user"))
        Chatwoot(app).reply_provider(reply)
        self._proxy.app = app

    def stop(self) -> None:
        """End the app. What is delivered from now on is lost."""
        app, self._proxy.app = self._proxy.app, None

        if app is not None:
            dismantle(app)

    @contextlib.contextmanager
    def missing(self) -> t.Iterator[list[Delivery]]:
        """Let the app miss deliveries inside; on leaving they are in the list."""
        missed: list[Delivery] = []
        known = len(self.sim.deliveries)
        app, self._proxy.app = self._proxy.app, None

        yield missed

        self.settle()
        missed += self.sim.deliveries[known:]
        self._proxy.app = app

    def says(self, talk: Talk, text: str) -> None:
        """Write as the customer, and let the app finish its turn."""
        talk.customer_says(text)
        self.settle()

    def settle(self) -> None:
        """Block until nothing is on its way any more."""
        self.sim.drain()


class StageFactory(t.Protocol):
    """Prepares a :class:`Stage` whose app is not started."""

    def __call__(self, kind: Kind, version: str = ...) -> Stage: ...


@pytest.fixture
def stage(proxy: Proxy, tmp_path: Path) -> t.Iterator[StageFactory]:
    with contextlib.ExitStack() as stack:

        def make(kind: Kind, version: str = "4.16.2") -> Stage:
            sim = stack.enter_context(Simulator(version=version))
            sim.connect(proxy.url, kind=kind, events=EVENTS)
            stage = Stage(sim, proxy, kind, tmp_path)
            stack.callback(stage.stop)

            return stage

        yield make


def hand_on(at: Stage, deliveries: t.Iterable[Delivery]) -> None:
    for delivery in deliveries:
        at.sim.repeat(delivery)

    at.settle()


@missing("A 'resolved' that arrives after a hand-off takes the conversation away "
    "from the operators, because a hand-off has no operator's message to compare with.")
@pytest.mark.parametrize("how", ["late", "repeated"])
@pytest.mark.parametrize("kind", ["account", "bot"])
def test_a_late_or_repeated_resolve_does_not_undo_a_newer_hand_off(
    stage: StageFactory, kind: Kind, how: str
) -> None:
    at = stage(kind)
    at.start()
    talk = at.sim.conversation(custom_attributes={"support_mode": "bot"})
    at.says(talk, "Hello")

    with at.missing() as resolved:
        talk.resolve()

    if how == "repeated":
        hand_on(at, resolved)

    at.says(talk, "An operator, please.")

    hand_on(at, resolved)
    at.says(talk, "Are you still there?")

    assert talk.replies == ["You asked: Hello", HANDED_OVER]
    assert talk.notes[-1] == "You asked: Are you still there?"
    assert talk.current.custom_attributes == {"support_mode": "human"}


def writes(talk: Talk) -> None:
    talk.operator_says("Which street do you live in?")


def sends_a_file(talk: Talk) -> None:
    talk.operator_says(None, attachments=[("form.pdf", b"%PDF-1.4", "application/pdf")])


@missing("An operator's message whose delivery was lost is not looked for, because "
    "the look before a post counts only messages that are newer than the question.")
@pytest.mark.parametrize("takes_over", [writes, sends_a_file])
@pytest.mark.parametrize("known", [True, False], ids=["known", "new"])
@pytest.mark.parametrize(
    ("kind", "version"),
    [("account", "4.16.2"), ("account", "4.8.0"), ("bot", "4.16.2")],
)
def test_a_takeover_while_the_app_was_down_is_seen_after_the_start(
    stage: StageFactory,
    kind: Kind,
    version: str,
    known: bool,
    takes_over: t.Callable[[Talk], None],
) -> None:
    at = stage(kind, version)
    talk = at.sim.conversation(status="open", custom_attributes={"support_mode": "bot"})
    at.start()

    if known:
        at.says(talk, "Where is my order?")

    earlier = talk.replies
    at.stop()
    takes_over(talk)
    at.settle()
    at.start()
    at.says(talk, "Elm Street")
    at.says(talk, "Number 5")

    assert talk.replies == earlier
    assert talk.notes == ["You asked: Elm Street", "You asked: Number 5"]


# -- a token that may not look -------------------------------------------------


@pytest.fixture
def thinker(chatwoot: Chatwoot) -> Thinker:
    """The app's provider, which answers when the test says so."""
    return chatwoot.reply_provider(Thinker())


@missing("With a token that may not read conversations, the post is decided by the "
    "mode and status of the question, not by what webhooks told since.")
@pytest.mark.parametrize(
    ("version", "change"),
    [
        ("4.13.0", "human"),
        ("4.13.0", "snoozed"),
        ("4.13.0", "resolved"),
        ("4.2.0", "resolved"),  # the only one of these that such a bot is told of
    ],
)
def test_without_a_look_the_newest_delivered_state_decides(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    thinker: Thinker,
    version: str,
    change: str,
) -> None:
    sim = chatwoot_simulator(version=version, kind="bot")
    story = Story(sim, app, status="open")

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()

    if change == "human":
        story.talk.set_attribute("support_mode", change)
    else:
        story.talk.change_status(change)

    story.sim.drain()
    thinker.answer()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Assistant (note): You asked: Where is my order?",
    ]


def by_operator(story: Story) -> None:
    story.talk.set_attribute("order_id", "4711")


def by_host(story: Story) -> None:
    """As a provider does that looked an order up."""
    attributes = {**story.attributes, "order_id": "4711"}
    requests.post(
        f"{story.sim.url}/api/v1/accounts/1/conversations/{story.talk.id}"
        "/custom_attributes",
        json={"custom_attributes": attributes},
        headers={"Api-Access-Token": story.sim.bot_token},
        timeout=5,
    ).raise_for_status()


@missing("Where the conversation cannot be read, the hand-off writes back all "
    "attributes of the customer's delivery, and erases what was set during the turn.")
@pytest.mark.parametrize("sets", [by_operator, by_host])
@pytest.mark.parametrize("version", ["4.2.0", "4.13.0"])
def test_a_hand_off_keeps_attributes_that_were_set_during_the_turn(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    chatwoot: Chatwoot,
    version: str,
    sets: t.Callable[[Story], None],
) -> None:
    thinker = chatwoot.reply_provider(Thinker(Reply(HANDED_OVER, handoff=True)))
    story = Story(chatwoot_simulator(version=version, kind="bot"), app)

    story.talk.customer_says("An operator, please.")
    thinker.wait_until_asked()
    sets(story)

    if version == "4.2.0":  # told of attributes by messages only
        story.talk.customer_says("It is urgent.")

    story.sim.drain()
    thinker.answer()
    story.rest()

    assert story.attributes == {"support_mode": "human", "order_id": "4711"}


# -- operators without a user, and without a message ---------------------------


def answers_from_slack(story: Story) -> None:
    """A colleague without a Chatwoot user: no sender, but a name.

    See ``lib/integrations/slack/slack_message_helper.rb`` of Chatwoot.
    """
    story.talk.add(
        None, "I am looking it up.", additional_attributes={"sender_name": "Otto"}
    )


@missing("A public reply from Slack, which has no sender, is not taken for an "
    "operator's.")
def test_a_reply_from_slack_takes_over(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(reply)
    story = Story(chatwoot_simulator(), app)

    story.talk.customer_says("Hello")
    story.rest()
    answers_from_slack(story)
    story.rest()
    story.talk.customer_says("Thank you")

    assert story.told() == [
        "Ada Lovelace: Hello",
        "Uma User: You asked: Hello",
        "Chatwoot: I am looking it up.",
        "Ada Lovelace: Thank you",
        "Uma User (note): You asked: Thank you",
    ]
    assert story.attributes == {"support_mode": "human"}


@missing("A public reply from Slack, which has no sender, does not count as the "
    "answer to the question that the provider works on.")
def test_a_reply_from_slack_while_the_provider_works_is_the_answer(
    chatwoot_simulator: SimulatorFactory, app: Flask, thinker: Thinker
) -> None:
    story = Story(chatwoot_simulator(), app)

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    answers_from_slack(story)
    story.sim.drain()
    thinker.answer()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Chatwoot: I am looking it up.",
    ]
    assert story.endings()[0] == "declined answered"


def opens(story: Story) -> None:
    story.talk.reopen()


def opens_and_takes(story: Story) -> None:
    story.talk.operator_takes()


def opens_by_api(story: Story) -> None:
    """As an automation of the company does."""
    requests.post(
        f"{story.sim.url}/api/v1/accounts/1/conversations/{story.talk.id}/toggle_status",
        json={"status": "open"},
        headers={"Api-Access-Token": story.sim.user_token},
        timeout=5,
    ).raise_for_status()


@missing("A pending conversation that was opened for operators is answered by the "
    "bot in public until an operator writes.")
@pytest.mark.parametrize("opened", [opens, opens_and_takes, opens_by_api])
@pytest.mark.parametrize("version", ["4.2.0", "4.16.2"])
def test_a_pending_conversation_that_was_opened_is_the_operators_until_resolved(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    chatwoot: Chatwoot,
    version: str,
    opened: t.Callable[[Story], None],
) -> None:
    chatwoot.reply_provider(reply)
    sim = chatwoot_simulator(version=version, kind="bot")
    story = Story(sim, app, channel="whatsapp")

    story.talk.customer_says("Hello")
    story.rest()
    opened(story)
    story.rest()
    story.talk.customer_says("Is anybody there?")
    story.rest()
    story.talk.resolve()
    story.rest()
    story.talk.customer_says("Where is my order?")

    assert story.told() == [
        "Ada Lovelace: Hello",
        "Assistant: You asked: Hello",
        "Ada Lovelace: Is anybody there?",
        "Assistant (note): You asked: Is anybody there?",
        "Ada Lovelace: Where is my order?",
        "Assistant: You asked: Where is my order?",
    ]


@missing("A pending conversation that is opened for operators while the provider "
    "works gets the bot's answer in public.")
@pytest.mark.parametrize("version", ["4.2.0", "4.16.2"])
def test_a_conversation_opened_while_the_provider_works_gets_a_note(
    chatwoot_simulator: SimulatorFactory, app: Flask, thinker: Thinker, version: str
) -> None:
    sim = chatwoot_simulator(version=version, kind="bot")
    story = Story(sim, app, channel="whatsapp")

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    story.talk.reopen()
    story.sim.drain()
    thinker.answer()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Assistant (note): You asked: Where is my order?",
    ]
