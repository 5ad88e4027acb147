"""What hosts use in their tests: conversations, payloads, posts, and the plugin."""

from __future__ import annotations

import dataclasses
import functools
import os
import shutil
import subprocess
import sys
import threading
import tomllib
import typing as t
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.apps import AppFactory
from support.simulation import values, verify

import flask_chatwoot
from flask_chatwoot import (
    Chatwoot,
    DeliveryOutcome,
    Post,
    Reason,
    Reply,
    Turn,
    TurnOutcome,
)
from flask_chatwoot.errors import ConfigError, SignatureError
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.testing import (
    CHANNELS,
    VERSIONS,
    ChatwootSim,
    ChatwootTalk,
    SimulatorFactory,
    captured_posts,
    conversation_event,
    customer_message,
    deliver,
    encoded,
    operator_message,
    signed,
)
from flask_chatwoot.testing.samples import Channel, Kind

QUESTION = "Where is my order?"
ROOT = Path(__file__).parent.parent
PROGRAMS = Path(__file__).parent / "support" / "programs"


Host = t.Callable[[str, str], Flask]


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """Makes an app with a name, and a provider that gives one answer."""

    def make(name: str, answer: str) -> Flask:
        app = Flask(name, instance_path=str(tmp_path / name))
        Chatwoot(app).reply_provider(lambda text: answer)
        return app

    return make


@pytest.fixture
def bare(tmp_path: Path, chatwoot: Chatwoot) -> Flask:
    """An app with a provider, and without any configuration of Chatwoot."""
    app = Flask("bare", instance_path=str(tmp_path / "bare"))
    chatwoot.init_app(app)
    chatwoot.reply_provider(lambda text: f"You said {text}")
    return app


@dataclasses.dataclass
class Bench:
    """An app with a provider, and the simulator of the test."""

    sim: ChatwootSim
    app: Flask
    chatwoot: Chatwoot

    def begin(self, **options: t.Any) -> ChatwootTalk:
        """Begin a conversation with the app."""
        return self.sim.conversation(self.app, **options)

    @functools.cached_property
    def talk(self) -> ChatwootTalk:
        """A conversation in bot mode."""
        return self.begin()


@pytest.fixture
def bench(chatwoot_sim: ChatwootSim, bare: Flask, chatwoot: Chatwoot) -> Bench:
    return Bench(chatwoot_sim, bare, chatwoot)


@pytest.fixture
def talk(bench: Bench) -> ChatwootTalk:
    return bench.talk


# -- conversations -------------------------------------------------------------


def test_in_bot_mode_the_last_reply_is_there_at_once(talk: ChatwootTalk) -> None:
    assert (talk.last_reply, talk.outcome) == (None, None)

    for text in ("one", "two", "three"):
        talk.customer_says(text)
        assert talk.last_reply == f"You said {text}"

    assert talk.replies == ["You said one", "You said two", "You said three"]
    assert talk.notes == []
    assert (talk.outcome, talk.reason) == (TurnOutcome.REPLIED, None)


def test_a_conversation_has_the_mode_that_is_given_or_the_default_of_the_app(
    chatwoot_sim: ChatwootSim, make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")
    app = make_app(chatwoot, default_mode="bot", support_mode_attr="who")
    default = chatwoot_sim.conversation(app, mode=None)
    human = chatwoot_sim.conversation(app, mode="Operator")
    default.customer_says(QUESTION)
    human.customer_says(QUESTION)

    assert default.replies == human.notes == ["On its way."]
    assert (human.last_reply, human.outcome) == (None, TurnOutcome.NOTED)
    assert dict(human.talk.current.custom_attributes) == {"who": "Operator"}


def test_the_fixture_shows_its_version_and_the_number_of_its_apps(
    chatwoot_sim: ChatwootSim, bare: Flask
) -> None:
    chatwoot_sim.conversation(bare)
    assert repr(chatwoot_sim) == f"<ChatwootSim {chatwoot_sim.version}, apps: 1>"


def test_conversations_of_one_app_are_separate(bench: Bench) -> None:
    @bench.chatwoot.reply_provider(mode="bot")
    def reply(text: str, turn: Turn) -> str:
        return f"{turn.conversation_id}: {text}"

    first, second = bench.begin(id=7), bench.begin()
    second.customer_says("b")
    first.customer_says("a")
    assert (first.replies, second.replies) == (["7: a"], [f"{second.id}: b"])


def test_customers_may_write_at_the_same_time(talk: ChatwootTalk) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(talk.customer_says, "1234"))

    assert {*"1234"} <= {*"".join(talk.replies)}


@pytest.mark.parametrize(
    ("given", "full"), [*VERSIONS.items(), ("4.10.1", "4.10.1"), ("4.14.2", "4.14.2")]
)
def test_the_version_can_be_chosen(bare: Flask, given: str, full: str) -> None:
    with ChatwootSim(version=given) as sim:
        talk = sim.conversation(bare)
        talk.customer_says("a < b & c")
        assert sim.simulator(bare).version == full

    assert talk.last_reply == "You said a < b & c"


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_conversation_can_be_in_any_channel(bench: Bench, channel: str) -> None:
    seen: list[str] = []

    @bench.chatwoot.reply_provider(mode="bot")
    def reply(text: str, turn: Turn) -> None:
        seen.append(turn.raw["conversation"]["channel"])

    talk = bench.begin(channel=channel)
    talk.customer_says(QUESTION)
    assert seen == [CHANNELS[channel]]
    assert (talk.outcome, talk.reason) == (TurnOutcome.DECLINED, Reason.NO_ANSWER)


def test_the_call_returns_once_a_message_is_ignored(talk: ChatwootTalk) -> None:
    talk.customer_says(" ", wait=5)
    assert (talk.outcome, talk.reason) == (DeliveryOutcome.IGNORED, Reason.EMPTY)
    assert talk.last_reply is None


def test_the_call_returns_once_an_operators_message_is_delivered(bench: Bench) -> None:
    talk = bench.talk
    spoken = talk.operator_says("Let me see.")
    noted = talk.operator_says("Rude.", private=True)

    # The worker may have set the attribute by now, which is delivered too.
    deliveries = bench.sim.simulator(bench.app).deliveries
    made = [d.message_id for d in deliveries if d.event == "message_created"]
    assert made == [spoken.id, noted.id]
    assert talk.replies == talk.notes == []
    assert [m.content for m in talk.messages] == ["Let me see.", "Rude."]


def test_an_operator_gets_a_suggestion(bench: Bench) -> None:
    @bench.chatwoot.reply_provider(mode="human")
    def reply(text: str, turn: Turn) -> str:
        return turn.instruction or f"You said {text}"

    talk = bench.begin(mode="human")
    assert talk.suggest_reply().error == (
        "There is no suggestion: the customer has not written yet."
    )

    talk.customer_says("There?")
    suggestion = talk.suggest_reply()

    assert (suggestion.text, suggestion.error) == ("You said There?", None)
    changed = bench.sim.simulator(bench.app).follow_up(suggestion, "Shorter")
    assert (changed.text, changed.error) == ("Shorter", None)


def test_a_dead_turn_has_its_reason(bench: Bench) -> None:
    asked: list[str] = []

    @bench.chatwoot.reply_provider(mode="bot")
    def reply(text: str) -> str:
        asked.append(text)
        raise LookupError

    with ChatwootSim(max_attempts=2) as sim:
        talk = sim.conversation(bench.app)
        talk.customer_says(QUESTION)

    assert (talk.outcome, talk.reason) == (TurnOutcome.DEAD, Reason.PROVIDER_FAILED)
    assert asked == [QUESTION] * 2


@pytest.fixture
def go_on() -> t.Iterator[threading.Event]:
    """Set at the end of the test."""
    event = threading.Event()
    yield event
    event.set()


def test_the_error_names_a_provider_that_hangs(
    go_on: threading.Event, talk: ChatwootTalk, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(mode="bot")(lambda text: go_on.wait(20) and "Late.")

    with pytest.raises(TimeoutError) as caught:
        talk.customer_says(QUESTION, wait=0.3)

    go_on.set()
    assert str(caught.value).startswith(
        f"Message {talk.messages[0].id} of conversation {talk.id} was not handled. "
        "Its delivery was accepted. Does the provider take that long? "
        "Not within 0.3 s. Deliveries: 1 x message_created 202; under way: 0. "
        "Calls: none."
    )
    assert QUESTION not in str(caught.value)


def test_the_error_names_an_app_that_hangs(bare: Flask, go_on: threading.Event) -> None:
    @bare.before_request
    def wait() -> None:
        go_on.wait(20)

    with ChatwootSim(wait=0.3) as sim:
        talk = sim.conversation(bare)

        with pytest.raises(TimeoutError, match="has not answered the delivery"):
            talk.customer_says(QUESTION)

        go_on.set()


@pytest.mark.parametrize("status", [200, 302, 403, 503])
def test_an_answer_of_another_view_is_an_error(bench: Bench, status: int) -> None:
    bench.app.before_request(lambda: ("Log in first.", status))

    with pytest.raises(RuntimeError, match=f"answered {status} to the delivery"):
        bench.talk.customer_says(QUESTION)


def test_an_app_without_the_extension_is_an_error(chatwoot_sim: ChatwootSim) -> None:
    with pytest.raises(ConfigError, match=r"call Chatwoot\(app\)"):
        chatwoot_sim.conversation(Flask("forgetful"))


def test_an_app_has_one_simulator_at_a_time(
    chatwoot_simulator: SimulatorFactory, bare: Flask
) -> None:
    with chatwoot_simulator(version="4.2") as old:
        old.conversation(bare)

        with pytest.raises(RuntimeError, match="'bare' is connected to another"):
            chatwoot_simulator().conversation(bare)

    talk = chatwoot_simulator().conversation(bare)
    talk.customer_says("Hi")
    assert talk.replies == ["You said Hi"]


def test_nothing_is_started_before_it_is_needed() -> None:
    before = {*threading.enumerate()}
    with ChatwootSim(version="no version at all"):
        assert {*threading.enumerate()} <= before


# -- faults --------------------------------------------------------------------

FAULTS = ["server_error", "rate_limited", "cut_before", "cut_after"]
SLOW = pytest.param("hang_after", marks=pytest.mark.slow)


@pytest.mark.parametrize("fault", [*FAULTS, SLOW])
@pytest.mark.parametrize("first", [True, False], ids=["before the app", "after it"])
def test_after_faults_there_is_one_reply(bench: Bench, fault: str, first: bool) -> None:
    if not first:
        bench.begin()

    bench.sim.inject(fault)
    bench.talk.customer_says("Hi")
    calls = bench.sim.simulator(bench.app).calls
    posts = [call.fault for call in calls if call.endpoint == "create_message"]
    assert posts[0] == fault
    assert bench.talk.replies == ["You said Hi"]


def test_a_fault_concerns_every_app_until_it_is_cleared(
    chatwoot_simulator: SimulatorFactory, host: Host
) -> None:
    sim = chatwoot_simulator(max_attempts=1)
    talks = [sim.conversation(host(name, "Yes.")) for name in "ab"]

    def ask() -> list[Reason | None]:
        for talk in talks:
            talk.customer_says(QUESTION)

        return [talk.reason for talk in talks]

    sim.inject("not_found", times=None)
    assert ask() == [Reason.NOT_FOUND] * 2
    sim.clear_faults()
    assert ask() == [None] * 2
    assert [talk.replies for talk in talks] == [["Yes."]] * 2


@pytest.mark.parametrize(
    "wrong", [{"fault": "sulk"}, {"fault": "hang", "endpoint": "create_mess"}]
)
def test_an_unknown_fault_is_refused_at_once(wrong: t.Any) -> None:
    with pytest.raises(ValueError, match=[*wrong.values()][-1]):
        ChatwootSim().inject(**wrong)


# -- posts ---------------------------------------------------------------------


def test_every_attempt_to_post_is_captured_with_its_result(bench: Bench) -> None:
    talk, private = bench.talk, Reply("Secret.", private=True)
    bench.chatwoot.reply_provider(mode="bot")(lambda text: private)
    bench.sim.inject("rate_limited")

    with captured_posts(bench.app) as posts:
        assert posts == []
        talk.customer_says(QUESTION)

    failed, made = posts
    assert isinstance(failed, Post)
    expected = [("Secret.", True, 1), ("Secret.", True, 2)]
    assert [(p.content, p.private, p.attempt) for p in posts] == expected
    assert (failed.message_id, getattr(failed.error, "status", None)) == (None, 429)
    assert (made.message_id, made.error) == (talk.messages[-1].id, None)
    assert made.conversation_id == talk.id


def test_apps_have_a_chatwoot_each_and_posts_of_others_are_not_captured(
    chatwoot_sim: ChatwootSim, host: Host
) -> None:
    ours, theirs = host("ours", "A"), host("theirs", "B")
    here, there = chatwoot_sim.conversation(ours), chatwoot_sim.conversation(theirs)
    here.customer_says("before")

    with captured_posts(ours) as posts:
        there.customer_says("elsewhere")
        here.customer_says("now")

    here.customer_says("after")
    assert (here.replies, there.replies) == (["A", "A", "A"], ["B"])
    assert chatwoot_sim.simulator(ours) is not chatwoot_sim.simulator(theirs)
    assert [post.content for post in posts] == ["A"]
    assert posts[0].message_id == here.talk.posted[1].id


# -- payloads ------------------------------------------------------------------

SIGNING = {"account": {"4.12", "4.16"}, "bot": {"4.16"}}


@pytest.mark.parametrize("kind", t.get_args(Kind))
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_payload_of_any_version_is_answered(
    make_app: AppFactory, version: str, channel: Channel, kind: Kind
) -> None:
    """Through the real view, and into the right conversation of a real API."""
    chatwoot, bot = Chatwoot(), kind == "bot"
    turns: list[Turn] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        turns.append(turn)
        return f"You said {text}"

    place: t.Any = {"version": version, "channel": channel, "conversation_id": 18}
    payload = customer_message("a < b", kind=kind, **place)

    with Simulator(version=VERSIONS[version]) as sim:
        settings = sim.settings("bot" if bot else "user")
        named = {k.removeprefix("CHATWOOT_").lower(): v for k, v in settings.items()}
        app = make_app(chatwoot, **{"webhook_secret": None, **named})
        status = "pending" if bot else "open"
        before = sim.conversation(id=17)
        talk = sim.conversation(channel=CHANNELS[channel], status=status)
        talk.set_attribute("support_mode", "bot")
        answer = deliver(app.test_client(), payload)
        assert (answer.status_code, answer.json) == (202, {"status": "accepted"})
        assert (before.messages, talk.replies) == ([], ["You said a < b"])

    [turn] = turns
    assert (turn.conversation_id, turn.message_id) == (18, payload["id"])
    assert turn.raw["conversation"]["channel"] == CHANNELS[channel]
    assert ("webhook_secret" in named) == (version in SIGNING[kind])


def test_payloads_differ_as_the_versions_do() -> None:
    versions = ("4.2", "4.9", "4.16")
    bodies = [customer_message("Hi", version=version) for version in versions]
    named = ["account" in body["conversation"] for body in bodies]

    assert [body["content"] for body in bodies] == ["Hi", "<p>Hi</p>\n", "Hi"]
    assert (named[0], named[2]) == (False, True)


@pytest.mark.parametrize(
    ("version", "kind", "shown"),
    [
        ("4.16", "account", ["open", None]),
        ("4.16", "bot", ["pending", "AgentBot"]),
        ("4.12", "bot", ["pending", None]),
    ],
)
def test_bot_conversations_are_pending(version: str, kind: Kind, shown: t.Any) -> None:
    conversation = customer_message(version=version, kind=kind)["conversation"]
    assert values(conversation, "status meta.assignee_type") == shown


def test_payloads_show_the_channel() -> None:
    channels: list[Channel] = ["email", "whatsapp", "website"]
    mail, phone, page = (customer_message("Hi", channel=each) for each in channels)

    assert mail["content"].startswith("Hi\n\nOn Monday")
    assert mail["content_attributes"]["email"]["text_content"]["quoted"] == "Hi"
    assert mail["sender"]["email"] == "ada@example.com"
    assert phone["sender"]["phone_number"] == "+4915112345678"
    assert phone["source_id"].startswith("wamid.")
    assert page["conversation"]["additional_attributes"]["browser_language"] == "en"


def test_payloads_take_the_fields_that_are_given() -> None:
    mode: t.Any = {"mode": "human", "attribute": "who", "status": "snoozed"}
    ids: t.Any = {"account_id": 2, "inbox_id": 4, "id": 77}
    sound, marked = {"attachments": ({"file_type": "audio"},)}, {"labels": ("vip",)}
    payload = customer_message(None, message=sound, conversation=marked, **mode, **ids)
    conversation = payload["conversation"]

    assert values(payload, "id content account.id inbox.id") == [77, None, 2, 4]
    assert payload["attachments"][0]["file_type"] == "audio"
    assert values(conversation, "status labels") == ["snoozed", ["vip"]]
    assert conversation["custom_attributes"] == {"who": "human"}
    assert not customer_message(mode=None)["conversation"]["custom_attributes"]
    assert customer_message()["conversation"]["id"] == 42
    assert customer_message()["id"] != customer_message()["id"]


@pytest.mark.parametrize(
    "wrong", [{"channel": "fax"}, {"kind": "owner"}, {"version": "four"}]
)
def test_a_value_that_chatwoot_does_not_know_is_refused(wrong: t.Any) -> None:
    with pytest.raises(ValueError, match=str(*wrong.values())):
        customer_message(**wrong)


def test_a_message_is_written_now_unless_a_time_is_given() -> None:
    then = customer_message(message={"created_at": 0.0})["created_at"]
    now = datetime.fromisoformat(customer_message()["created_at"])
    assert abs(datetime.now(UTC) - now) < timedelta(minutes=1)
    assert then == "1970-01-01T00:00:00.000Z"


def test_payloads_of_operators_messages() -> None:
    spoken = operator_message("Let me see.", version="4.2", channel="api")
    message = ["outgoing", "Let me see.", False, "user"]

    assert values(spoken, "message_type content private sender.type") == message
    assert spoken["conversation"]["channel"] == "Channel::Api"
    assert operator_message("Rude.", private=True)["private"] is True


def test_payloads_of_conversation_events() -> None:
    changed = {"status": ("open", "resolved")}
    payload = conversation_event(changed=changed, status="resolved", conversation_id=7)
    change = {"status": {"previous_value": "open", "current_value": "resolved"}}

    assert values(payload, "id status changed_attributes") == [7, "resolved", [change]]
    assert payload["event"] == "conversation_status_changed"


@pytest.mark.parametrize(
    "payload",
    [operator_message(private=True, version="4.2"), conversation_event(kind="bot")],
    ids=["operator", "conversation"],
)
def test_other_deliveries_are_ignored(client: FlaskClient, payload: t.Any) -> None:
    answer = deliver(client, payload)
    assert (answer.status_code, answer.get_json()["status"]) == (200, "ignored")


# -- deliveries ----------------------------------------------------------------


@pytest.mark.parametrize("secret", ["another", ""])
def test_another_secret_or_none_is_refused(client: FlaskClient, secret: str) -> None:
    assert deliver(client, customer_message(), secret).status_code == 401


def test_the_prefix_and_the_token_are_those_of_the_app(make_app: AppFactory) -> None:
    app = make_app(webhook_secret=None, webhook_token="in-url", url_prefix="/bots/")
    client = app.test_client()
    assert deliver(client, customer_message()).status_code == 202
    assert client.post("/bots/webhook", json={}).status_code == 401


def test_headers_sign_a_body_and_its_time() -> None:
    body = encoded(customer_message("<ü>"))
    assert "\\u003cü\\u003e".encode() in body
    verify(body, signed(body, "s3cret"), "s3cret")

    with pytest.raises(SignatureError):
        verify(body, signed(body, "s3cret", age=600), "s3cret")


# -- the plugin ----------------------------------------------------------------

HostProject = t.Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def project(tmp_path: Path) -> HostProject:
    """Runs pytest in a project that knows this package by its entry points only."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    plugins = declared["project"]["entry-points"]["pytest11"]
    lines = ["[pytest11]", *(f"{name} = {plugins[name]}" for name in plugins)]
    site, folder = tmp_path / "site", tmp_path / "project"
    installed = site / "flask_chatwoot-0.1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Name: Flask-Chatwoot\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text("\n".join(lines))
    package = Path(flask_chatwoot.__file__).parent.parent
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    shutil.copy(PROGRAMS / "host_tests.py", folder / "test_host.py")

    left_out = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]  # takes seconds

    return lambda *arguments: subprocess.run(
        [sys.executable, "-m", "pytest", *left_out, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{package}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


PLUGIN = "flask_chatwoot.testing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        ("-p no:xdist", 6),
        ("-n 2 -k answers", 5),
        # Named as well, which must not load it a second time.
        (f"-p {PLUGIN} -p no:xdist -k orders", 1),
    ],
    ids=["alone", "xdist", "named"],
)
def test_pytest_finds_the_fixtures_by_the_entry_point(
    project: HostProject, arguments: str, passed: int
) -> None:
    result = project(*arguments.split())
    assert f"{passed} passed" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0
    assert "warning" not in (result.stdout + result.stderr).lower()


@pytest.mark.slow
def test_the_plugin_can_be_switched_off(project: HostProject) -> None:
    result = project("-p", f"no:{PLUGIN}", "-p", "no:xdist")
    assert result.returncode == 1
    assert "fixture 'chatwoot_sim' not found" in result.stdout
    assert "1 failed, 5 errors" in result.stdout
