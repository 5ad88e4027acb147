"""The playground's server, over real HTTP, with the page's own requests."""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import threading
import time
import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask, request
from support.apps import AppFactory, jobs_of, runtime_of
from support.commands import outcome, spawn
from support.deliveries import SECRET
from support.pictures import COMMAND, digest, mark_of
from support.playground import (
    ASKED,
    BUTTONS,
    JSON,
    OFF,
    QUESTION,
    Page,
    call_chatwoot,
)
from support.simulation import verify
from support.waiting import wait_until
from werkzeug import Request, Response

from flask_chatwoot import Chatwoot, Handoff, Reply, Turn
from flask_chatwoot.errors import SignatureError, TransientError
from flask_chatwoot.payloads.events import SUBSCRIPTIONS
from flask_chatwoot.playground import page as page_module
from flask_chatwoot.playground import serve
from flask_chatwoot.playground.page import is_loopback, is_ours
from flask_chatwoot.playground.traffic import Traffic
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.simulator.server import Server
from flask_chatwoot.texts import PAGE
from flask_chatwoot.turns.retry import pause_after

ANSWER = "On its way."
FORM = {"name": "Ada", "choice": "AI agent", "text": QUESTION, "language": "en"}


@pytest.fixture
def app(tmp_path: Path, chatwoot: Chatwoot) -> Flask:
    """An app with a provider, and without any configuration of Chatwoot."""
    app = Flask("host", instance_path=str(tmp_path / "instance"))
    chatwoot.init_app(app)
    chatwoot.reply_provider(lambda text: ANSWER)
    return app


@pytest.fixture
def turns(chatwoot: Chatwoot) -> list[Turn]:
    """The turns of a provider that takes whole turns."""
    turns: list[Turn] = []

    @chatwoot.reply_provider(mode="bot")
    def reply(text: str, turn: Turn) -> str:
        turns.append(turn)
        return ANSWER

    return turns


@contextlib.contextmanager
def playing(app: Flask, **how: t.Any) -> t.Iterator[Page]:
    with serve(app, **how) as address, contextlib.closing(Page(address)) as page:
        yield page


@pytest.fixture
def slow() -> float:
    """Seconds a slow provider takes."""
    return 6.0


@pytest.fixture
def page(app: Flask, slow: float) -> t.Iterator[Page]:
    with playing(app, slow=slow) as page:
        yield page


def shown(lines: t.Iterable[JSON], names: str) -> list[tuple[t.Any, ...]]:
    """These values of each line of the traffic."""
    return [tuple(line[name] for name in names.split()) for line in lines]


# -- the customer ----------------------------------------------------------------


MODES = {"AI agent": "bot", "AI агент": "bot", "Human": "human", "Человек": "human"}


@pytest.mark.parametrize(("choice", "mode"), MODES.items())
def test_the_choice_decides_who_gets_the_answer(
    page: Page, choice: str, mode: str
) -> None:
    page.begin(choice)
    page.wait_until(lambda: len(page.messages()) == 2)
    answers = [("customer", QUESTION, False), ("bot", ANSWER, mode == "human")]
    assert shown(page.messages(), "author text private") == answers
    assert page.replies() == [ANSWER] * (mode == "bot")
    assert page.conversation()["name"] == "Ada"
    assert page.conversation()["mode"] == mode


def test_a_provider_gets_the_fields_of_the_form(turns: list[Turn], page: Page) -> None:
    assert page.begin_and_wait() != page.begin_and_wait()
    first, second = turns

    assert (first.contact.name, first.language) == ("Ada", "en")
    assert first.custom_attributes == {"support_mode": "AI agent"}
    # The same name is the same customer.
    assert first.raw["sender"]["id"] == second.raw["sender"]["id"]


def test_a_file_reaches_provider_and_page(turns: list[Turn], page: Page) -> None:
    content = b"<script>alert(1)</script>"
    data = base64.b64encode(content).decode()
    file = {"name": "my page.html", "type": "text/html", "data": data}
    page.talk(page.begin_and_wait(), "customer", text="See this.", files=[file])
    page.wait_until(lambda: len(page.replies()) == 2)
    [attachment] = page.messages()[2]["attachments"]
    response = requests.get(attachment["url"], timeout=10)

    assert [a.url for turn in turns for a in turn.attachments] == [attachment["url"]]
    assert attachment["kind"] == "file"
    assert attachment["url"].endswith("/my%20page.html")
    assert response.content == content
    # The browser saves it, and does not run it even if it is displayed.
    assert response.headers["Content-Disposition"].startswith("attachment")
    assert response.headers["Content-Security-Policy"] == "sandbox"
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_file_without_a_text_is_a_message(page: Page) -> None:
    file = {"name": "a.png", "type": "image/png", "data": "AAAA"}
    page.talk(page.begin(), "customer", files=[file])
    page.wait_until(lambda: any(m["attachments"] for m in page.messages()))
    [sent] = [m for m in page.messages() if m["attachments"]]
    assert (sent["text"], sent["attachments"][0]["kind"]) == (None, "image")


def test_the_customer_presses_a_button_of_a_message(app: Flask, page: Page) -> None:
    number = page.begin_and_wait()
    asked = call_chatwoot(app, f"{number}/messages", **ASKED)
    page.wait_until(lambda: page.messages()[-1]["buttons"])
    [last] = shown(page.messages()[-1:], "id buttons picked")
    assert last == (asked["id"], BUTTONS, [])

    page.talk(number, "pick", message=asked["id"], value="yes")
    page.wait_until(lambda: any(m["picked"] for m in page.messages()))
    assert (asked["id"], ["yes"]) in shown(page.messages(), "id picked")


def test_the_typing_indicator_is_shown(app: Flask, page: Page) -> None:
    path = f"{page.begin_and_wait()}/toggle_typing_status"
    call_chatwoot(app, path, typing_status="on")
    page.wait_until(lambda: page.conversation().get("typing"))
    call_chatwoot(app, path, typing_status="off")
    page.wait_until(lambda: not page.conversation().get("typing"))


# -- the operator ----------------------------------------------------------------


def test_an_operator_answers_in_public_and_by_note(page: Page) -> None:
    number = page.begin("Human")
    expected = [("Let me see.", False), ("Regular customer.", True)]

    for text, private in expected:
        page.talk(number, "operator", text=text, private=private)

    def written() -> list[tuple[t.Any, ...]]:
        messages = [m for m in page.messages() if m["author"] == "operator"]
        return shown(messages, "text private")

    page.wait_until(lambda: len(written()) == 2)
    assert (written(), page.replies()) == (expected, [])


def test_an_operator_resolves_and_reopens(page: Page) -> None:
    number = page.begin()
    page.talk(number, "status", status="resolved")
    page.wait_until(lambda: page.conversation().get("status") == "resolved")
    page.talk(number, "status", status="open")
    page.wait_until(lambda: page.conversation().get("status") == "open")


def test_an_operator_takes_over_and_returns_to_the_bot(page: Page) -> None:
    number = page.begin_and_wait()

    page.talk(number, "assignee", me=True)
    page.talk(number, "choice", choice="Human")
    page.wait_until(lambda: page.conversation().get("mode") == "human")
    assert page.conversation()["mine"]
    page.talk(number, "customer", text="Are you a human?")
    page.wait_until(lambda: any(m["private"] for m in page.messages()))
    assert page.replies() == [ANSWER]

    page.talk(number, "return-to-bot", choice="AI agent")
    page.wait_until(lambda: page.conversation().get("status") == "pending")
    assert page.conversation().get("mode") == "bot"
    assert page.conversation()["assignee"] is None
    page.talk(number, "customer", text="And now?")
    page.wait_until(lambda: page.replies() == [ANSWER, ANSWER])


def test_the_attribute_and_its_values_are_those_of_the_host(tmp_path: Path) -> None:
    app = Flask("host", instance_path=str(tmp_path))
    app.config.update(CHATWOOT_SUPPORT_MODE_ATTR="wen", CHATWOOT_BOT_VALUES="Maschine")
    Chatwoot(app).reply_provider(lambda text: ANSWER)

    with playing(app) as page:
        page.begin_and_wait("Maschine")

    assert page.known["about"]["attribute"] == "wen"
    assert page.conversation()["choice"] == "Maschine"
    assert page.conversation().get("mode") == "bot"


def test_a_suggestion_is_asked_of_the_app_and_followed_up(
    chatwoot: Chatwoot, page: Page
) -> None:
    @chatwoot.reply_provider(mode="human")
    def draft(text: str, turn: Turn) -> str:
        return f"{turn.purpose}: {turn.instruction or text}"

    page.begin("Human")

    first = page.post("conversations/1/suggestion")
    second = page.post("conversations/1/follow-up", message="Shorter", **_kept(first))

    assert first["message"] == f"suggestion: {QUESTION}"
    assert second["message"] == "suggestion: Shorter"
    page.wait_until(lambda: len(page.traffic("question")) == 2)
    assert shown(page.traffic("question"), "what status signature") == [
        ("reply_suggestion", 200, "key"),
        ("follow_up", 200, "key"),
    ]
    body = page.get(f"traffic/{page.traffic('question')[0]['number']}")
    assert body["request"]["messages"][1]["content"].startswith("Conversation ID: #1")
    assert body["answer"]["choices"]


def _kept(answer: JSON) -> JSON:
    return {"follow_up_context": answer["follow_up_context"]}


CONTEXT: t.Final[JSON] = {
    "event_name": "reply_suggestion",
    "original_context": "Conversation ID: #1",
    "last_response": "Yes.",
}


@pytest.mark.parametrize(
    ("context", "status"),
    [
        (None, 400),
        ([], 400),
        ({}, 422),
        ({**CONTEXT, "event_name": "nonsense"}, 422),
        ({**CONTEXT, "event_name": ["improve"]}, 400),
        ({**CONTEXT, "last_response": ""}, 422),
        ({**CONTEXT, "conversation_history": 5}, 400),
    ],
    ids=str,
)
def test_a_follow_up_without_what_it_follows_is_refused(
    page: Page, context: t.Any, status: int
) -> None:
    page.begin()
    body = {"message": "Shorter", "follow_up_context": context}

    response = page.request("POST", "conversations/1/follow-up", json=body)

    assert response.status_code == status
    assert response.json()["error"]


def test_notes_are_in_the_language_of_the_page(chatwoot: Chatwoot, page: Page) -> None:
    chatwoot.reply_provider(mode="bot")(lambda text: Handoff("Просит человека"))
    page.begin("AI агент", language="ru")
    page.wait_until(lambda: [m for m in page.messages() if m["private"]])

    [note] = [m["text"] for m in page.messages() if m["private"]]
    assert "Бот передаёт" in note


# -- another Chatwoot ------------------------------------------------------------


def test_another_version_and_way_in_begin_anew(app: Flask, page: Page) -> None:
    page.begin_and_wait()
    before = page.known["about"]
    page.post("installation", version="4.2.0", kind="bot")

    with contextlib.closing(Page(page.address)) as again:
        again.begin_and_wait()

        about = again.known["about"]
        assert (about["version"], about["kind"]) == ("4.2.0", "bot")
        assert about["run"] != before["run"]
        assert not about["suggests"]
        assert again.conversation()["status"] == "pending"
        signed, token = (again.traffic(kind)[0] for kind in ("delivery", "call"))
        assert (signed["signature"], token["signature"]) == ("absent", "token_bot")
        assert jobs_of(app)


# -- traffic ---------------------------------------------------------------------


def test_the_traffic_shows_deliveries_and_calls_in_order(page: Page) -> None:
    number = page.begin_and_wait()
    page.wait_until(lambda: len(page.deliveries()) == 2)
    page.wait_until(lambda: page.deliveries()[0]["turn"]["outcome"] == "replied")

    names = ("message_created", "create_message")
    lines = [line for line in page.traffic() if line["what"] in names]
    assert shown(lines, "kind what status signature outcome reason") == [
        ("delivery", "message_created", 202, "valid", "accepted", None),
        ("call", "create_message", 200, "token_user", "done", None),
        ("delivery", "message_created", 200, "valid", "ignored", "outgoing"),
    ]
    assert shown(lines[1:], "turn") == [(None,), (None,)]
    assert lines[0]["ms"] > 0
    assert {line["conversation"] for line in page.traffic()} == {number}


def test_the_json_of_both_directions_can_be_read(page: Page) -> None:
    page.begin()
    page.wait_until(page.posts)
    delivery = page.get(f"traffic/{page.traffic('delivery')[0]['number']}")
    [post] = page.traffic("call", "create_message")
    call = page.get(f"traffic/{post['number']}")

    assert delivery["request"]["content"] == QUESTION
    assert delivery["answer"] == {"status": "accepted"}
    assert "X-Chatwoot-Signature" in delivery["headers"]
    assert call["request"]["content"] == ANSWER
    assert call["path"].endswith("/conversations/1/messages")


def test_a_delivery_that_is_sent_again_is_a_duplicate(page: Page) -> None:
    page.begin()
    page.wait_until(lambda: len(page.deliveries()) == 2)
    first = page.deliveries()[0]
    page.post(f"traffic/{first['number']}/again")
    page.wait_until(lambda: len(page.deliveries()) == 3)

    assert first["again"]
    assert shown(page.deliveries()[2:], "status outcome") == [(200, "duplicate")]
    assert page.replies() == [ANSWER]


def test_any_delivery_is_sent_again_unchanged(chatwoot: Chatwoot, page: Page) -> None:
    choice = Reply("Did it come?", choices=["Yes", "No"])
    chatwoot.reply_provider(mode="bot")(lambda text: choice)
    page.faults(forged=True)
    page.begin_and_wait()
    [asked] = [m["id"] for m in page.messages() if m["buttons"]]
    page.talk(1, "pick", message=asked, value="Yes")
    page.wait_until(lambda: len(page.replies()) == 2)
    page.talk(1, "status", status="resolved")
    page.wait_until(lambda: len(page.traffic("delivery")) == 7)
    first = page.traffic("delivery")

    for line in first:
        page.post(f"traffic/{line['number']}/again")

    page.wait_until(lambda: len(page.traffic("delivery")) == 14)
    known = {line["number"] for line in first}
    again = [w for w in page.traffic("delivery") if w["number"] not in known]

    def sent(line: JSON) -> t.Any:
        bodies = page.get(f"traffic/{line['number']}")
        delivery_id = bodies["headers"]["X-Chatwoot-Delivery"]
        return line["what"], line["signature"], delivery_id, bodies["request"]

    assert {line["what"] for line in first} == set(SUBSCRIPTIONS)
    assert "wrong" in [line["signature"] for line in first]
    assert sorted(map(sent, again), key=str) == sorted(map(sent, first), key=str)


def test_a_call_cannot_be_sent_again(page: Page) -> None:
    page.begin()
    page.wait_until(lambda: page.traffic("call"))
    path = f"traffic/{page.traffic('call')[0]['number']}/again"
    response = page.request("POST", path, json={})
    assert response.status_code == 404
    assert "not a delivery" in response.json()["error"]


def test_a_turn_shows_why_there_is_no_answer(chatwoot: Chatwoot, page: Page) -> None:
    chatwoot.reply_provider(mode="bot")(lambda text: None)
    page.begin()
    declined = {"outcome": "declined", "reason": "no_answer"}
    page.wait_until(lambda: declined in [line["turn"] for line in page.traffic()])


# -- faults ----------------------------------------------------------------------


@pytest.mark.slow
def test_what_a_provider_raises_is_in_the_wire_with_its_traceback(
    chatwoot: Chatwoot, page: Page
) -> None:
    @chatwoot.reply_provider(mode="bot")
    def broken(text: str) -> str:
        raise LookupError(f"Nothing about {text}")

    page.begin()
    page.wait_until(lambda: page.traffic("crash"))

    lines = shown(page.traffic("crash"), "what outcome conversation ok")
    assert set(lines) == {("LookupError", "provider", 1, False)}
    text = page.get(f"traffic/{page.traffic('crash')[0]['number']}")["traceback"]
    first, frame, *_ = text.splitlines()
    assert first == "Traceback (most recent call last):"
    assert "in broken" in frame
    assert text.endswith(f"LookupError: Nothing about {QUESTION}\n")
    # The customer sees what a customer would: nothing.
    assert page.replies() == []


@pytest.mark.parametrize(("fault", "code"), [("error", 500), ("limit", 429)])
def test_a_post_is_retried_until_it_succeeds(page: Page, fault: str, code: int) -> None:
    page.faults(api=fault)
    page.begin()
    page.wait_until(lambda: code in page.posts())
    assert page.deliveries()[0]["turn"]["outcome"] == "working"
    assert page.known["faults"]["api"] == fault

    page.faults()
    page.wait_until(lambda: page.replies() and page.posts()[-1] == 200)
    assert page.replies() == [ANSWER]


@pytest.mark.usefixtures("page")
def test_all_attempts_end_within_40_seconds(app: Flask) -> None:
    config = runtime_of(app).config
    error = TransientError("no connection", endpoint="create_message")
    attempts = range(1, config.max_attempts)
    assert sum(pause_after(error, n, config.retry_pause) for n in attempts) < 40


def test_what_was_stored_before_the_cut_is_not_posted_twice(page: Page) -> None:
    page.faults(api="cut")
    page.begin()
    replied = {"outcome": "replied", "reason": None}
    page.wait_until(lambda: replied in [line["turn"] for line in page.traffic()])

    posts = page.traffic("call", "create_message")
    assert shown(posts, "status outcome reason") == [(None, "unanswered", "cut_after")]
    assert page.replies() == [ANSWER]


@pytest.mark.parametrize("slow", [60])
def test_a_slow_provider_delays_only_the_answer(page: Page) -> None:
    page.faults(slow=True)
    page.begin()
    page.wait_until(page.deliveries)
    assert page.deliveries()[0]["turn"]["outcome"] == "working"
    assert page.deliveries()[0]["ms"] < 30_000
    assert page.replies() == []

    page.faults(slow=False)
    page.wait_until(page.replies)


@pytest.mark.parametrize("slow", [0.3])
def test_a_slow_provider_answers_after_its_time(page: Page) -> None:
    page.faults(slow=True)
    began = time.monotonic()
    page.begin_and_wait()
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("slow", [0.05])
def test_an_async_provider_can_be_slow(chatwoot: Chatwoot, page: Page) -> None:
    @chatwoot.reply_provider(mode="bot")
    async def reply(text: str, turn: Turn) -> Reply:
        return Reply(f"{turn.mode}: {text}")

    page.faults(slow=True)
    page.begin_and_wait()
    assert page.replies() == [f"bot: {QUESTION}"]


def test_the_end_does_not_wait_for_a_slow_provider(app: Flask) -> None:
    with playing(app, slow=600) as page:
        page.faults(slow=True)
        page.begin()
        page.wait_until(page.deliveries)
        left = time.monotonic()

    assert time.monotonic() - left < 30


@pytest.mark.parametrize(
    ("fault", "copy"),
    [
        ("duplicate", (200, "valid", "duplicate", None)),
        ("forged", (401, "wrong", "refused", "unauthorized")),
    ],
)
def test_with_a_fault_of_its_delivery_a_message_is_answered_once(
    page: Page, fault: str, copy: tuple[t.Any, ...]
) -> None:
    page.faults(**{fault: True})
    page.begin()
    page.wait_until(lambda: len(page.deliveries()) == 3 and page.replies())
    lines = shown(page.deliveries(), "status signature outcome reason")
    genuine = (202, "valid", "accepted", None)
    echo = (200, "valid", "ignored", "outgoing")

    assert sorted(lines, key=str) == sorted([copy, genuine, echo], key=str)
    assert fault != "forged" or lines[:2] == [copy, genuine]
    assert page.replies() == [ANSWER]


def test_traffic_is_in_order_of_beginning_however_late_it_is_read() -> None:
    seconds = iter([0.0, 0.05])

    def answer(request: Request) -> Response:
        time.sleep(next(seconds))
        return Response(status=202)

    with Simulator() as sim:
        traffic = Traffic(sim)
        server = Server(answer)
        sim.connect(f"http://127.0.0.1:{server.server_port}/hook")
        talk = sim.conversation()
        asked = [talk.customer_says(text) for text in ("quick", "slow")]
        sim.wait_until(lambda: len(sim.deliveries) == 2)
        traffic.refresh()
        server.stop()

    bodies = [traffic.bodies(line["number"])["request"] for line in traffic.entries()]
    assert [body["id"] for body in bodies] == [message.id for message in asked]


# -- the page and other pages ----------------------------------------------------


def test_the_page_loads_nothing_from_other_hosts(page: Page) -> None:
    folder = Path(page_module.page.static_folder or "")
    names = {path.name for path in folder.iterdir()}
    assert {"page.html", "page.js", "style.css", "words.js"} <= names
    assert "/static/page.js" in page.request("GET", "").text

    for name in names:
        response = page.request("GET", f"static/{name}")

        if name.startswith("markdown-it"):  # knows addresses, and asks for none
            continue

        addresses = response.text.replace("http://www.w3.org/2000/svg", "")
        assert response.status_code == 200
        assert "http://" not in addresses
        assert "https://" not in addresses


def test_the_page_gets_its_texts_in_every_language(page: Page) -> None:
    assert page.get("words") == PAGE


def test_the_picture_of_the_readme_is_of_this_page() -> None:
    picture = Path(__file__).parents[1] / "examples" / "playground.png"

    assert mark_of(picture.read_bytes()) == digest(), f"It is old. Run {COMMAND}"


def test_what_is_of_others_has_its_licence(page: Page) -> None:
    library = page.request("GET", "static/markdown-it.js")
    licence = page.request("GET", "static/markdown-it.LICENSE.txt").text

    assert library.headers["Content-Type"].startswith("text/javascript")
    [version] = re.findall(r"^/\*! markdown-it (\S+) ", library.text)
    assert f"markdown-it {version} " in licence
    packages = ["linkify-it", "mdurl", "entities", "punycode.js", "uc.micro"]
    assert all(f"{name}\n---" in licence for name in ["markdown-it", *packages])


def test_the_policy_allows_scripts_of_the_page_only(page: Page) -> None:
    policy = page.request("GET", "").headers["Content-Security-Policy"].split("; ")
    allowed = {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"}
    assert allowed <= {*policy}
    assert "unsafe" not in str(policy)


def test_every_page_gets_the_same(page: Page) -> None:
    page.begin_and_wait()
    with contextlib.closing(Page(page.address)) as other:
        other.wait_until(other.replies)
        assert other.messages() == page.messages()


@pytest.mark.parametrize("name", ["evil.example", "evil.example:80", "10.0.0.1", ""])
def test_under_another_name_nothing_is_served(page: Page, name: str) -> None:
    """Another site can point its own name to this address (DNS rebinding)."""
    for path in ("", "events", "static/page.js"):
        response = page.request("GET", path, headers={"Host": name})
        assert response.status_code == 421
        assert "Playground" not in response.text


REFUSED = [
    {"Origin": "http://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", REFUSED, ids=str)
def test_requests_of_other_pages_are_refused(page: Page, headers: t.Any) -> None:
    response = page.request("POST", "conversations", json=FORM, headers=headers)
    page.wait_until(lambda: "about" in page.known)
    assert (response.status_code, page.conversation()) == (403, {})


def test_requests_of_the_page_itself_are_accepted(page: Page) -> None:
    headers = {"Origin": page.address.rstrip("/"), "Sec-Fetch-Site": "same-origin"}
    response = page.request("POST", "conversations", json=FORM, headers=headers)
    assert response.status_code == 200


def test_a_body_of_a_form_is_refused(page: Page) -> None:
    """A form of another page can send it, but not JSON."""
    data = '{"api": "error"}'
    assert page.request("POST", "faults", data=data).status_code == 415


SAY = "conversations/1/customer"
FILE = {"name": "a", "type": "a/b", "data": "?"}
WRONG = [
    ("conversations", {**FORM, "text": " "}),
    ("conversations", {**FORM, "name": 1}),
    ("conversations", ["Ada"]),
    (SAY, {"text": "x" * 20_001}),
    (SAY, {"text": "Hi", "files": "a"}),
    (SAY, {"text": "Hi", "files": [{"name": "a"}]}),
    (SAY, {"files": [FILE]}),
    ("conversations/1/operator", {"text": "Hi", "private": "no"}),
    ("conversations/1/status", {"status": "snoozed"}),
    ("conversations/1/pick", {"message": "x", "value": "a"}),
    ("conversations/1/assignee", {}),
    ("faults", {"api": "none", "slow": 0, "duplicate": 0, "forged": 0}),
    ("faults", {**OFF, "api": "on fire"}),
    ("installation", {"version": "4.2.0", "kind": "fax"}),
    ("installation", {"version": "4", "kind": "bot"}),
    ("installation", {"version": None, "kind": "bot"}),
    ("installation", {"version": "4.2.0"}),
]
UNKNOWN = [
    ("conversations/7/customer", {"text": "Hi"}),
    ("conversations/7/status", {"status": "open"}),
    ("conversations/1/pick", {"message": 7, "value": "a"}),
    *((f"traffic/{number}/again", {}) for number in (0, 99)),
]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [*((*row, 400) for row in WRONG), *((*row, 404) for row in UNKNOWN)],
    ids=lambda each: str(each)[:60],
)
def test_a_body_that_the_page_never_sends_is_refused(
    page: Page, path: str, body: t.Any, status: int
) -> None:
    page.begin()
    response = page.request("POST", path, json=body)
    assert response.status_code == status
    assert response.json()["error"]


@pytest.mark.parametrize("path", ["files/none/a.png", "traffic/0", "traffic/99"])
def test_an_unknown_file_or_number_is_not_found(page: Page, path: str) -> None:
    response = page.request("GET", path)
    assert response.status_code == 404
    assert path.startswith("files") or path[8:] in response.json()["error"]


def test_the_host_app_gets_no_route(app: Flask) -> None:
    before = [str(rule) for rule in app.url_map.iter_rules()]

    with playing(app) as page:
        webhook = page.request("POST", "chatwoot/webhook", json={})
        assert webhook.status_code == 404
        assert [str(rule) for rule in app.url_map.iter_rules()] == before

    assert app.test_client().get("/events").status_code == 404


def test_the_secrets_and_the_database_of_production_are_not_used(
    make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: ANSWER)
    app = make_app(chatwoot)
    own = runtime_of(app)
    seen: list[tuple[bytes, t.Mapping[str, str]]] = []

    @app.before_request
    def look() -> None:
        seen.append((request.get_data(), dict(request.headers)))

    with playing(app) as page:
        page.begin_and_wait()
        config = runtime_of(app).config
        assert not {*config.webhook_secret} & {*own.config.webhook_secret}
        assert config.base_url != own.config.base_url

    assert runtime_of(app) is own
    assert jobs_of(app) == []
    assert seen

    for body, headers in seen:
        with pytest.raises(SignatureError):
            verify(body, headers, SECRET)


# -- where it listens ------------------------------------------------------------

EVERY = "0.0.0.0"  # noqa: S104
LOCAL = "127.0.0.1"
HOSTS = [
    *((name, LOCAL, True) for name in (f"{LOCAL}:5100", "localhost:5100", "LOCALHOST")),
    *((name, "::1", True) for name in ("[::1]:5100", "[::1]")),
    *(("192.168.1.5:5100", EVERY, True), ("192.168.1.5:5100", LOCAL, False)),
    *(("devbox:5100", "devbox", True), ("devbox:5100", LOCAL, False)),
    *(("127.0.0.1.evil.example:5100", LOCAL, False), ("", LOCAL, False)),
    *(("localhost.evil.example", EVERY, False), ("evil.example:5100", EVERY, False)),
]


@pytest.mark.parametrize(("given", "host", "ours"), HOSTS)
def test_only_addresses_and_the_chosen_host_name_are_accepted(
    given: str, host: str, ours: bool
) -> None:
    assert is_ours(given, host) is ours


INSIDE = dict.fromkeys((LOCAL, "127.8.9.1", "localhost", "::1"), True)
OUTSIDE = dict.fromkeys((EVERY, "", "::", "192.168.1.5", "devbox"), False)


@pytest.mark.parametrize(("host", "loopback"), {**INSIDE, **OUTSIDE}.items())
def test_only_loopback_addresses_are_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize("host", [EVERY, "192.168.1.5", "::", ""])
def test_other_machines_are_refused_without_expose(app: Flask, host: str) -> None:
    code, output = outcome(app, "playground", "--host", host, "--port", "0")
    assert code == 2
    assert "--expose" in output


def test_a_port_in_use_is_named(app: Flask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, output = outcome(app, "playground", "--port", port)

    assert code == 1
    assert f"port {port}" in output
    assert "--port" in output


def test_it_listens_on_loopback_only(app: Flask) -> None:
    with serve(app) as address:
        port = int(address.rstrip("/").rpartition(":")[2])
        socket.create_connection(("127.0.0.1", port), timeout=5).close()

        # A server that listens on all addresses accepts this one too.
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), timeout=5)

        assert address == f"http://127.0.0.1:{port}/"


def test_it_can_listen_on_ipv6(app: Flask) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.xfail("this machine has no ::1")

    with playing(app, host="::1") as page:
        assert page.address.startswith("http://[::1]:")
        assert page.begin() == 1


def test_the_end_closes_the_server_and_ends_its_threads(app: Flask) -> None:
    before = {*threading.enumerate()}

    with playing(app) as page:
        page.begin_and_wait()

    with pytest.raises(requests.ConnectionError):
        requests.get(page.address, timeout=5)

    def left() -> list[threading.Thread]:
        threads = {*threading.enumerate()} - before
        return [thread for thread in threads if "playground" in thread.name]

    wait_until(lambda: not left())


def test_the_end_wakes_the_thread_that_follows_the_simulator(app: Flask) -> None:
    with playing(app):
        ended = time.monotonic()

    assert time.monotonic() - ended < 5  # it would wait for ten seconds


@pytest.mark.slow
def test_one_command_starts_it_and_prints_the_address() -> None:
    options = {"PYTHONUNBUFFERED": 1}

    with spawn("shop.py", "playground", "--port", "0", **options) as process:
        assert process.stdout

        try:
            address = process.stdout.readline().removeprefix("Playground: ").strip()

            with contextlib.closing(Page(address)) as page:
                page.begin_and_wait()

            process.terminate()
            assert process.wait(30) == 0
        finally:
            process.kill()
