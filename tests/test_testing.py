"""What hosts use in their tests: conversations, payloads, posts, and the plugin."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import tomllib
import typing as t
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from support.apps import AppFactory, job_of, jobs_of

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
from flask_chatwoot.payloads import signature
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.testing import (
    CHANNELS,
    VERSIONS,
    ChatwootSim,
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


@pytest.fixture
def bare(tmp_path: Path, chatwoot: Chatwoot) -> Flask:
    """An app without any configuration of Chatwoot."""
    app = Flask("bare", instance_path=str(tmp_path / "bare"))
    chatwoot.init_app(app)

    return app


def host(name: str, answer: str, folder: Path) -> Flask:
    app = Flask(name, instance_path=str(folder / name))
    Chatwoot(app).reply_provider(lambda text: answer)

    return app


# -- conversations -------------------------------------------------------------


def test_in_bot_mode_the_last_reply_is_there_at_once(
    chatwoot_sim: ChatwootSim, bare: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: f"You said {text}")

    talk = chatwoot_sim.conversation(bare, mode="bot")
    assert (talk.last_reply, talk.outcome) == (None, None)

    for text in ("one", "two", "three"):
        talk.customer_says(text)
        assert talk.last_reply == f"You said {text}"

    assert talk.replies == ["You said one", "You said two", "You said three"]
    assert talk.notes == []
    assert (talk.outcome, talk.reason) == (TurnOutcome.REPLIED, None)


def test_in_human_mode_there_is_a_note_and_no_reply(
    chatwoot_sim: ChatwootSim, bare: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")

    talk = chatwoot_sim.conversation(bare, mode="human")
    talk.customer_says(QUESTION)

    assert talk.notes == ["On its way."]
    assert talk.last_reply is None
    assert talk.outcome is TurnOutcome.NOTED


def test_a_customer_who_chose_nobody_gets_the_default_of_the_app(
    chatwoot_sim: ChatwootSim, make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")
    app = make_app(chatwoot, default_mode="bot", support_mode_attr="who")

    nobody = chatwoot_sim.conversation(app, mode=None)
    person = chatwoot_sim.conversation(app, mode="Operator")
    nobody.customer_says(QUESTION)
    person.customer_says(QUESTION)

    assert nobody.replies == ["On its way."]
    assert person.notes == ["On its way."]
    assert dict(person.talk.current.custom_attributes) == {"who": "Operator"}


def test_an_app_under_test_with_its_own_chatwoot_is_left_as_it_was(
    app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")
    own = app.extensions["chatwoot"]

    with ChatwootSim() as sim:
        talk = sim.conversation(app)
        talk.customer_says(QUESTION)
        assert app.extensions["chatwoot"] is not own

    assert talk.replies == ["On its way."]
    assert app.extensions["chatwoot"] is own
    assert jobs_of(app) == []


def test_conversations_do_not_see_each_other(
    chatwoot_sim: ChatwootSim, bare: Flask, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        return f"{turn.conversation_id}: {text}"

    first = chatwoot_sim.conversation(bare, id=7)
    second = chatwoot_sim.conversation(bare)
    second.customer_says("b")
    first.customer_says("a")

    assert first.replies == ["7: a"]
    assert second.replies == [f"{second.id}: b"]


def test_several_apps_have_a_chatwoot_each(
    chatwoot_sim: ChatwootSim, tmp_path: Path
) -> None:
    shop, bank = host("shop", "Shipped.", tmp_path), host("bank", "Paid.", tmp_path)

    here, there = chatwoot_sim.conversation(shop), chatwoot_sim.conversation(bank)
    here.customer_says(QUESTION)
    there.customer_says(QUESTION)

    assert (here.replies, there.replies) == (["Shipped."], ["Paid."])
    assert chatwoot_sim.simulator(shop) is not chatwoot_sim.simulator(bank)


def test_customers_may_write_at_the_same_time(
    chatwoot_sim: ChatwootSim, bare: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: f"Re: {text}")
    talk = chatwoot_sim.conversation(bare)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(talk.customer_says, "abcd"))

    said = "".join(talk.replies)
    assert all(text in said for text in "abcd")


@pytest.mark.parametrize(
    ("given", "full"), [*VERSIONS.items(), ("4.10.1", "4.10.1"), ("4.14.2", "4.14.2")]
)
def test_the_version_can_be_chosen(
    chatwoot_simulator: SimulatorFactory,
    bare: Flask,
    chatwoot: Chatwoot,
    given: str,
    full: str,
) -> None:
    chatwoot.reply_provider(lambda text: f"You said {text}")
    sim = chatwoot_simulator(version=given)

    talk = sim.conversation(bare)
    talk.customer_says("a < b & c")

    assert sim.simulator(bare).version == full
    assert talk.last_reply == "You said a < b & c"


@pytest.mark.parametrize("channel", CHANNELS)
def test_a_conversation_can_be_in_any_channel(
    chatwoot_sim: ChatwootSim, bare: Flask, chatwoot: Chatwoot, channel: str
) -> None:
    seen: list[str] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> None:
        seen.append(turn.raw["conversation"]["channel"])

    talk = chatwoot_sim.conversation(bare, channel=channel)
    talk.customer_says(QUESTION)

    assert seen == [CHANNELS[channel]]
    assert (talk.outcome, talk.reason) == (TurnOutcome.DECLINED, Reason.NO_ANSWER)


def test_a_message_that_is_ignored_is_not_waited_for(
    chatwoot_sim: ChatwootSim, bare: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")

    talk = chatwoot_sim.conversation(bare)
    talk.customer_says(" ", wait=5)

    assert (talk.outcome, talk.reason) == (DeliveryOutcome.IGNORED, Reason.EMPTY)
    assert talk.last_reply is None


def test_a_person_is_heard_before_the_test_goes_on(
    chatwoot_sim: ChatwootSim, bare: Flask
) -> None:
    talk = chatwoot_sim.conversation(bare)

    spoken = talk.operator_says("Let me see.")
    noted = talk.operator_says("Rude.", private=True)

    # The worker may have set the attribute by now, which is told too.
    deliveries = chatwoot_sim.simulator(bare).deliveries
    told = [d.message_id for d in deliveries if d.event == "message_created"]
    assert told == [spoken.id, noted.id]
    assert talk.replies == talk.notes == []
    assert [m.content for m in talk.messages] == ["Let me see.", "Rude."]


def test_a_turn_that_is_given_up_says_why(
    chatwoot_simulator: SimulatorFactory, bare: Flask, chatwoot: Chatwoot
) -> None:
    asked: list[str] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        asked.append(text)
        raise LookupError

    talk = chatwoot_simulator(max_attempts=2).conversation(bare)
    talk.customer_says(QUESTION)

    assert (talk.outcome, talk.reason) == (TurnOutcome.DEAD, Reason.PROVIDER_FAILED)
    assert asked == [QUESTION] * 2


def test_a_provider_that_hangs_is_told_of(
    chatwoot_sim: ChatwootSim, bare: Flask, chatwoot: Chatwoot
) -> None:
    go_on = threading.Event()
    chatwoot.reply_provider(lambda text: go_on.wait(20) and "Late.")
    talk = chatwoot_sim.conversation(bare)

    try:
        with pytest.raises(TimeoutError) as caught:
            talk.customer_says(QUESTION, wait=0.3)
    finally:
        go_on.set()

    said = str(caught.value)
    assert said.startswith(
        f"Message {talk.messages[0].id} of conversation {talk.id} was not dealt with. "
        "Its delivery was accepted. Does the provider take that long? "
        "Not within 0.3 s. Deliveries: 1 x message_created 202; under way: 0. "
        "Calls: none."
    )
    assert QUESTION not in said


def test_an_app_that_hangs_is_told_of(
    chatwoot_simulator: SimulatorFactory, bare: Flask
) -> None:
    go_on = threading.Event()

    @bare.before_request
    def wait() -> None:
        go_on.wait(20)

    talk = chatwoot_simulator(wait=0.3).conversation(bare)

    try:
        with pytest.raises(TimeoutError, match="has not answered its delivery"):
            talk.customer_says(QUESTION)
    finally:
        go_on.set()


@pytest.mark.parametrize("status", [200, 302, 403, 503])
def test_something_that_stands_before_the_webhook_is_told_of(
    chatwoot_sim: ChatwootSim, bare: Flask, status: int
) -> None:
    bare.before_request(lambda: ("Log in first.", status))

    with pytest.raises(RuntimeError, match=f"answered {status} to the delivery"):
        chatwoot_sim.conversation(bare).customer_says(QUESTION)


def test_an_app_without_the_extension_is_told_what_is_missing(
    chatwoot_sim: ChatwootSim,
) -> None:
    with pytest.raises(ConfigError, match=r"call Chatwoot\(app\)"):
        chatwoot_sim.conversation(Flask("forgetful"))


def test_an_app_has_one_simulator_at_a_time(
    chatwoot_simulator: SimulatorFactory, tmp_path: Path
) -> None:
    app = host("shop", "Shipped.", tmp_path)

    with chatwoot_simulator(version="4.2") as old:
        old.conversation(app)

        with pytest.raises(RuntimeError, match="'shop' is in front of another"):
            chatwoot_simulator().conversation(app)

    talk = chatwoot_simulator().conversation(app)
    talk.customer_says(QUESTION)

    assert talk.replies == ["Shipped."]


def test_nothing_is_started_before_it_is_needed() -> None:
    before = {*threading.enumerate()}

    with ChatwootSim(version="no version at all"):
        assert {*threading.enumerate()} <= before


# -- faults --------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", ["server_error", "rate_limited", "cut_before", "cut_after", "hang_after"]
)
@pytest.mark.parametrize("first", [True, False], ids=["before the app", "after it"])
def test_a_fault_costs_neither_the_reply_nor_the_test_its_time(
    chatwoot_sim: ChatwootSim,
    bare: Flask,
    chatwoot: Chatwoot,
    fault: str,
    first: bool,
) -> None:
    chatwoot.reply_provider(lambda text: "Once.")

    if first:
        chatwoot_sim.inject(fault)

    talk = chatwoot_sim.conversation(bare)

    if not first:
        chatwoot_sim.inject(fault)

    talk.customer_says(QUESTION)
    made = [
        call.fault
        for call in chatwoot_sim.simulator(bare).calls
        if call.endpoint == "create_message"
    ]

    assert made[0] == fault
    assert talk.replies == ["Once."]


def test_a_fault_strikes_every_app_until_it_is_cleared(
    chatwoot_simulator: SimulatorFactory, tmp_path: Path
) -> None:
    sim = chatwoot_simulator(max_attempts=1)
    talks = [sim.conversation(host(name, "Yes.", tmp_path)) for name in "ab"]

    sim.inject("not_found", times=None)
    for talk in talks:
        talk.customer_says(QUESTION)
    reasons = [talk.reason for talk in talks]

    sim.clear_faults()
    for talk in talks:
        talk.customer_says(QUESTION)

    assert reasons == [Reason.NOT_FOUND] * 2
    assert [talk.replies for talk in talks] == [["Yes."]] * 2


def test_an_unknown_fault_is_refused_at_once(chatwoot_sim: ChatwootSim) -> None:
    with pytest.raises(ValueError, match="sulk"):
        chatwoot_sim.inject("sulk")

    with pytest.raises(ValueError, match="create_mess"):
        chatwoot_sim.inject("hang", endpoint="create_mess")


# -- posts ---------------------------------------------------------------------


def test_every_attempt_to_post_is_captured_with_its_result(
    chatwoot_sim: ChatwootSim, bare: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: Reply("Secret.", private=True))
    talk = chatwoot_sim.conversation(bare)
    chatwoot_sim.inject("rate_limited")

    with captured_posts(bare) as posts:
        assert posts == []
        talk.customer_says(QUESTION)

    failed, made = posts
    assert isinstance(failed, Post)
    assert [post.content for post in posts] == ["Secret."] * 2
    assert [post.private for post in posts] == [True, True]
    assert [post.attempt for post in posts] == [1, 2]
    assert (failed.message_id, getattr(failed.error, "status", None)) == (None, 429)
    assert (made.message_id, made.error) == (talk.messages[-1].id, None)
    assert made.conversation_id == talk.id


def test_posts_of_other_apps_and_other_times_are_not_captured(
    chatwoot_sim: ChatwootSim, tmp_path: Path
) -> None:
    ours, theirs = host("ours", "A", tmp_path), host("theirs", "B", tmp_path)
    here, there = chatwoot_sim.conversation(ours), chatwoot_sim.conversation(theirs)
    here.customer_says("before")

    with captured_posts(ours) as posts:
        there.customer_says("elsewhere")
        here.customer_says("now")

    here.customer_says("after")

    assert [post.content for post in posts] == ["A"]
    assert posts[0].message_id == here.talk.posted[1].id


# -- payloads ------------------------------------------------------------------


@pytest.mark.parametrize("kind", t.get_args(Kind))
@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("version", VERSIONS)
def test_what_any_chatwoot_delivers_is_answered(
    make_app: AppFactory, version: str, channel: Channel, kind: Kind
) -> None:
    """Through the real view, and into the right conversation of a real API."""
    chatwoot = Chatwoot()
    turns: list[Turn] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        turns.append(turn)
        return f"You said {text}"

    with Simulator(version=VERSIONS[version]) as sim:
        token: t.Literal["user", "bot"] = "bot" if kind == "bot" else "user"
        secret = sim.settings(token).get("CHATWOOT_WEBHOOK_SECRET")
        app = make_app(
            chatwoot,
            base_url=sim.url,
            account_id=sim.account_id,
            api_access_token=getattr(sim, f"{token}_token"),
            webhook_secret=secret,
        )
        sim.conversation(id=17)
        talk = sim.conversation(
            id=18,
            channel=CHANNELS[channel],
            status="pending" if kind == "bot" else "open",
            custom_attributes={"support_mode": "bot"},
        )
        payload = customer_message(
            "a < b", version=version, channel=channel, kind=kind, conversation_id=18
        )

        answer = deliver(app.test_client(), payload)

        assert (answer.status_code, answer.json) == (202, {"status": "accepted"})
        assert talk.replies == ["You said a < b"]
        assert sim.conversation(id=19).messages == []

    [turn] = turns
    assert (turn.conversation_id, turn.message_id) == (18, payload["id"])
    assert turn.raw["conversation"]["channel"] == CHANNELS[channel]
    assert (secret is not None) == (version in SIGNING[kind])


SIGNING = {"account": {"4.12", "4.16"}, "bot": {"4.16"}}


def test_payloads_differ_as_the_versions_do() -> None:
    old = customer_message("Hi", version="4.2")
    rendering = customer_message("Hi", version="4.9")
    new = customer_message("Hi", version="4.16")

    assert old["content"] == new["content"] == "Hi"
    assert rendering["content"] == "<p>Hi</p>\n"
    assert "account" in new["conversation"]
    assert "account" not in old["conversation"]


@pytest.mark.parametrize(
    ("version", "kind", "status", "owner"),
    [
        ("4.16", "account", "open", None),
        ("4.16", "bot", "pending", "AgentBot"),
        ("4.12", "bot", "pending", None),
    ],
)
def test_a_bot_is_told_of_conversations_that_wait_for_it(
    version: str, kind: Kind, status: str, owner: str | None
) -> None:
    conversation = customer_message(version=version, kind=kind)["conversation"]

    assert conversation["status"] == status
    assert conversation["meta"]["assignee_type"] == owner


def test_payloads_show_the_channel() -> None:
    mail = customer_message("Hi", channel="email")
    phone = customer_message("Hi", channel="whatsapp")
    page = customer_message("Hi", channel="website")

    assert mail["content"].startswith("Hi\n\nOn Monday")
    assert mail["content_attributes"]["email"]["text_content"]["quoted"] == "Hi"
    assert mail["sender"]["email"] == "ada@example.com"
    assert phone["sender"]["phone_number"] == "+4915112345678"
    assert phone["source_id"].startswith("wamid.")
    assert page["conversation"]["additional_attributes"]["browser_language"] == "en"


def test_payloads_take_what_they_are_told() -> None:
    payload = customer_message(
        None,
        mode="human",
        attribute="who",
        account_id=2,
        inbox_id=4,
        id=77,
        status="snoozed",
        message={"attachments": ({"file_type": "audio"},)},
        conversation={"labels": ("vip",)},
    )
    conversation = payload["conversation"]

    assert (payload["id"], payload["content"]) == (77, None)
    assert (payload["account"]["id"], payload["inbox"]["id"]) == (2, 4)
    assert payload["attachments"][0]["file_type"] == "audio"
    assert conversation["custom_attributes"] == {"who": "human"}
    assert (conversation["status"], conversation["labels"]) == ("snoozed", ["vip"])
    assert not customer_message(mode=None)["conversation"]["custom_attributes"]


def test_every_message_is_another() -> None:
    assert customer_message()["id"] != customer_message()["id"]


@pytest.mark.parametrize(
    "wrong", [{"channel": "fax"}, {"kind": "owner"}, {"version": "four"}]
)
def test_what_chatwoot_does_not_know_is_refused(wrong: t.Any) -> None:
    with pytest.raises(ValueError, match=str(*wrong.values())):
        customer_message(**wrong)


def test_a_message_is_written_now_unless_told() -> None:
    then = customer_message(message={"created_at": 0.0})["created_at"]
    told = datetime.fromisoformat(customer_message()["created_at"])

    assert abs(datetime.now(UTC) - told) < timedelta(minutes=1)
    assert then == "1970-01-01T00:00:00.000Z"


def test_what_operators_write_has_payloads_too() -> None:
    spoken = operator_message("Let me see.", version="4.2", channel="api")
    noted = operator_message("Rude.", private=True)

    assert (spoken["message_type"], spoken["content"]) == ("outgoing", "Let me see.")
    assert (spoken["private"], noted["private"]) == (False, True)
    assert spoken["sender"]["type"] == "user"
    assert spoken["conversation"]["channel"] == "Channel::Api"


def test_what_happens_to_conversations_has_payloads_too() -> None:
    payload = conversation_event(
        changed={"status": ("open", "resolved")}, status="resolved", conversation_id=7
    )

    assert payload["event"] == "conversation_status_changed"
    assert (payload["id"], payload["status"]) == (7, "resolved")
    assert payload["changed_attributes"] == [
        {"status": {"previous_value": "open", "current_value": "resolved"}}
    ]


@pytest.mark.parametrize(
    "payload",
    [operator_message(private=True, version="4.2"), conversation_event(kind="bot")],
)
def test_other_deliveries_are_acknowledged_and_not_answered(
    client: FlaskClient, payload: dict[str, t.Any]
) -> None:
    answer = deliver(client, payload)

    assert answer.status_code == 200
    assert answer.get_json()["status"] == "ignored"


# -- deliveries ----------------------------------------------------------------


def test_a_delivery_is_signed_with_what_the_app_expects(
    app: Flask, client: FlaskClient
) -> None:
    assert deliver(client, customer_message()).status_code == 202
    assert job_of(app).conversation_id == 42


@pytest.mark.parametrize("secret", ["another", ""])
def test_a_delivery_with_another_secret_or_none_is_refused(
    client: FlaskClient, secret: str
) -> None:
    assert deliver(client, customer_message(), secret).status_code == 401


def test_a_delivery_finds_the_webhook_wherever_it_is(make_app: AppFactory) -> None:
    app = make_app(webhook_secret=None, webhook_token="in-url", url_prefix="/bots/")

    assert deliver(app.test_client(), customer_message()).status_code == 202
    assert app.test_client().post("/bots/webhook", json={}).status_code == 401


def test_headers_prove_the_origin_of_a_body() -> None:
    body = encoded(customer_message("<ü>"))
    headers, stale = signed(body, "s3cret"), signed(body, "s3cret", age=600)

    def verify(headers: t.Mapping[str, str]) -> None:
        signature.verify(
            body,
            secrets=["s3cret"],
            signature=headers["X-Chatwoot-Signature"],
            timestamp=headers["X-Chatwoot-Timestamp"],
        )

    assert "\\u003cü\\u003e".encode() in body
    verify(headers)

    with pytest.raises(SignatureError):
        verify(stale)


# -- the plugin ----------------------------------------------------------------

HOST = """
import sys

import pytest
from flask import Flask
from flask_chatwoot import Chatwoot


@pytest.fixture
def app(tmp_path):
    app = Flask("host", instance_path=str(tmp_path))
    app.testing = True
    chatwoot = Chatwoot(app)

    @chatwoot.reply_provider
    def reply(text):
        return "On its way."

    return app


def test_costs_nothing_until_it_is_used():
    assert "flask_chatwoot.testing" in sys.modules
    assert "flask_chatwoot.hosting" not in sys.modules
    assert "flask_chatwoot.simulator" not in sys.modules


def test_answers_orders(chatwoot_sim, app):
    talk = chatwoot_sim.conversation(app, mode="bot")
    talk.customer_says("Where is my order?")

    assert talk.last_reply == "On its way."
    assert talk.notes == []


@pytest.mark.parametrize("version", ["4.2", "4.9", "4.12", "4.16"])
def test_answers_every_version(chatwoot_simulator, app, version):
    talk = chatwoot_simulator(version=version).conversation(app, mode="human")
    talk.customer_says("Where is my order?")

    assert talk.notes == ["On its way."]
"""


class HostProject(t.Protocol):
    """Runs pytest in a project that knows this package by its entry points only."""

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def project(tmp_path: Path) -> HostProject:
    """The entry points are what an installation makes of ``pyproject.toml``."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    lines = [
        f"{name} = {value}"
        for name, value in declared["project"]["entry-points"]["pytest11"].items()
    ]
    site = tmp_path / "site"
    installed = site / "flask_chatwoot-0.1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Name: Flask-Chatwoot\nVersion: 0.1.0\n")
    (installed / "entry_points.txt").write_text("\n".join(["[pytest11]", *lines]))
    package = Path(flask_chatwoot.__file__).parent.parent
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (folder / "test_host.py").write_text(textwrap.dedent(HOST))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": f"{site}{os.pathsep}{package}"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run


@pytest.mark.parametrize(
    ("arguments", "passed"),
    [
        (["-p", "no:xdist"], 6),
        (["-n", "2", "-k", "answers"], 5),
        # Named as well, which must not load it a second time.
        (["-p", "flask_chatwoot.testing", "-p", "no:xdist", "-k", "orders"], 1),
    ],
    ids=["alone", "xdist", "named"],
)
def test_pytest_finds_the_fixtures_by_the_entry_point(
    project: HostProject, arguments: list[str], passed: int
) -> None:
    result = project(*arguments)

    assert f"{passed} passed" in result.stdout, result.stdout + result.stderr
    assert result.returncode == 0
    assert "warning" not in (result.stdout + result.stderr).lower()


def test_the_plugin_can_be_switched_off(project: HostProject) -> None:
    result = project("-p", "no:flask_chatwoot.testing", "-p", "no:xdist")

    assert result.returncode == 1
    assert "fixture 'chatwoot_sim' not found" in result.stdout
    assert "1 failed, 5 errors" in result.stdout
