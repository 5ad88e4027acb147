"""The simulator: deliveries, conversations, messages through the API, and faults."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
import typing as t

import pytest
import requests
from flask import Response
from support.simulation import (
    JSON,
    NO_BOTS,
    NOT_FOUND,
    Bench,
    Client,
    Hook,
    Start,
    delivery_of,
    hooked,
    running,
    values,
    verify,
)
from support.waiting import wait_until

from flask_chatwoot.errors import SignatureError
from flask_chatwoot.simulator import ENDPOINTS, Fault, Simulator, Talk, payloads, routes
from flask_chatwoot.simulator.conversations import FLOOD, NO_INCOMING, TOO_LONG
from flask_chatwoot.simulator.deliveries import Kind
from flask_chatwoot.simulator.payloads import ContactRecord, MessageType

MESSAGES: t.Final = "/accounts/1/conversations/1/messages"
ID: t.Final = "X-Chatwoot-Delivery"
REPLY: t.Final = {"in_reply_to": 1001}

# -- deliveries ----------------------------------------------------------------


def test_a_customers_message_is_delivered(sim: Simulator, webhook: Hook) -> None:
    mode = {"support_mode": "bot"}
    talk = sim.conversation(custom_attributes=mode, inbox_id=8)
    message = talk.customer_says("Where is my order?", source_id="x-1")
    [body] = webhook.bodies
    outer = ["message_created", message.id, "Where is my order?", "x-1", "incoming", 8]
    inner = [talk.id, "open", mode]

    assert values(body, "event id content source_id message_type inbox.id") == outer
    assert values(body["conversation"], "id status custom_attributes") == inner
    assert (body["sender"]["id"], talk.id) == (talk.current.contact.id, 1)


def test_a_delivery_is_listed_with_its_answer(sim: Simulator, webhook: Hook) -> None:
    delivery = delivery_of(sim, "secret words")

    assert values(delivery, "event conversation_id url status ok error attempt") == [
        *("message_created", 1, webhook.url, 202, True, None, 1)
    ]
    assert delivery.message_id == webhook.bodies[0]["id"]
    assert delivery.answer == {"status": "accepted"}
    assert 0 < delivery.seconds < 5
    assert json.loads(delivery.body) == webhook.bodies[0]
    assert "secret words" not in repr(delivery)


def test_bytes_are_as_from_rails_and_are_signed(sim: Simulator, webhook: Hook) -> None:
    delivery = delivery_of(sim, "<ü>&\u2028\u2029\ud800")
    assert b'"\\u003c\xc3\xbc\\u003e\\u0026\\u2028\\u2029?"' in delivery.body
    assert webhook.contents == ["<ü>&\u2028\u2029?"]
    assert values(delivery.headers, "Content-Type Accept") == ["application/json"] * 2
    verify(delivery.body, webhook.headers[0], sim.secret)


@pytest.mark.parametrize(
    ("version", "kind", "signed"),
    [
        ("4.11.2", "account", False),
        ("4.12.0", "account", True),
        ("4.12.1", "bot", False),
        ("4.13.0", "bot", True),
    ],
)
def test_only_versions_that_can_sign_do(bench: Bench, kind: Kind, signed: bool) -> None:
    bench.talk.customer_says("Hi")
    settings = bench.sim.settings("bot" if kind == "bot" else "user")
    [headers] = bench.webhook.headers

    assert ("X-Chatwoot-Signature" in headers) == (ID in headers) == signed
    assert ("CHATWOOT_WEBHOOK_SECRET" in settings) == signed


def test_settings_are_what_an_app_needs(sim: Simulator) -> None:
    assert sim.settings() == {
        "CHATWOOT_BASE_URL": sim.url,
        "CHATWOOT_ACCOUNT_ID": 1,
        "CHATWOOT_API_ACCESS_TOKEN": sim.user_token,
        "CHATWOOT_WEBHOOK_SECRET": sim.secret,
    }
    assert sim.settings("bot")["CHATWOOT_API_ACCESS_TOKEN"] == sim.bot_token
    assert len(sim.secret) == 24
    assert len({sim.secret, sim.user_token, sim.bot_token}) == 3


def test_held_deliveries_leave_in_reverse_order(bench: Bench) -> None:
    with bench.sim.holding():
        bench.talk.customer_says("a")

        with bench.sim.holding():
            bench.talk.customer_says("b")
            bench.talk.customer_says("c")

        assert bench.webhook.contents == []

    assert bench.webhook.contents == ["b", "c", "a"]


def test_every_connected_webhook_gets_the_event(sim: Simulator, webhook: Hook) -> None:
    with hooked() as other:
        sim.connect(other.url, kind="bot")
        sim.conversation().customer_says("Hi")
        sim.drain()

    assert webhook.contents == other.contents == ["Hi"]
    assert webhook.headers[0][ID] != other.headers[0][ID]


def test_only_texts_of_operators_are_delivered(webhook: Hook, talk: Talk) -> None:
    talk.operator_says("Hello")
    talk.operator_says("a difficult one", private=True)
    talk.add(None, "assigned", type=MessageType.ACTIVITY)
    fields = "message_type private sender.type"
    shown = [values(body, fields) for body in webhook.bodies]

    assert shown == [["outgoing", private, "user"] for private in (False, True)]
    assert talk.messages[2].content == "assigned"
    assert talk.replies == talk.notes == []


@pytest.mark.parametrize(("options", "ids"), [({}, 3), ({"delivery_id": "same"}, 2)])
def test_a_message_can_be_redelivered(bench: Bench, options: JSON, ids: int) -> None:
    message = bench.talk.customer_says("Hi")
    bench.sim.deliver(message, times=2, **options)
    sent = [headers[ID] for headers in bench.webhook.headers]

    assert [body["id"] for body in bench.webhook.bodies] == [message.id] * 3
    assert len(set(sent)) == ids
    assert not options or sent[1:] == ["same", "same"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"signing": "absent"}, "not signed"),
        ({"signing": "wrong"}, "does not match"),
        ({"age": 301.0}, "too old"),
        ({"age": -310.0}, "too old"),
    ],
)
def test_a_delivery_can_be_forged(bench: Bench, options: JSON, reason: str) -> None:
    bench.sim.deliver(bench.talk.customer_says("Hi"), **options)
    headers = bench.webhook.headers[1]

    with pytest.raises(SignatureError, match=reason):
        verify(bench.sim.deliveries[1].body, headers, bench.sim.secret)


@pytest.mark.parametrize(
    ("version", "kind", "before", "codes", "end"),
    [
        ("4.16.2", "bot", "pending", [429] * 3, "open"),
        ("4.16.2", "bot", "pending", [500] * 3, "open"),
        *(("4.16.2", "bot", "pending", [code], "open") for code in (503, 302)),
        *((old, "bot", "pending", [500], "open") for old in ("4.11.2", "4.7.0")),
        ("4.6.0", "bot", "pending", [500], "pending"),
        ("4.16.2", "bot", "pending", [500, 200], "pending"),
        ("4.16.2", "bot", "snoozed", [404], "snoozed"),
        ("4.16.2", "account", "pending", [500], "pending"),
    ],
)
def test_a_failed_delivery_to_a_bot_is_retried_and_opens_what_is_pending(
    bench: Bench, before: str, codes: list[int], end: str
) -> None:
    answers = iter(codes)
    bench.webhook.answer = lambda body: Response("no", next(answers, codes[-1]))
    talk = bench.sim.conversation(status=before)
    say = talk.operator_says if before == "snoozed" else talk.customer_says
    say("Hi")
    bench.sim.drain()
    tries = [d for d in bench.sim.deliveries if d.event == "message_created"]

    assert [(d.attempt, d.status) for d in tries] == list(enumerate(codes, 1))
    assert (tries[-1].ok, tries[-1].answer) == (codes[-1] == 200, "no")
    assert len({d.headers.get(ID) for d in tries}) == 1
    assert talk.status == end
    assert len(talk.messages) == (2 if end == "open" else 1)
    assert (talk.messages[-1].type is MessageType.ACTIVITY) == (end == "open")


def test_each_attempt_is_signed_anew(start: Start, hook: Hook) -> None:
    seconds = iter(range(1_000, 2_000))
    hook.answers(500)
    sim = start(clock=lambda: float(next(seconds)))
    hook.connect(sim, kind="bot")
    sim.conversation().customer_says("Hi")
    tries = hook.headers[: hook.events.count("message_created")]

    assert len({headers["X-Chatwoot-Timestamp"] for headers in tries}) == 3
    assert len({headers["X-Chatwoot-Signature"] for headers in tries}) == 3


def test_a_failed_status_event_opens_nothing(sim: Simulator, bot_webhook: Hook) -> None:
    bot_webhook.answers(404)
    talk = sim.conversation(status="open")
    talk.change_status("pending")
    sim.drain()

    assert talk.status == "pending"


def test_the_pause_before_a_retry_ends_with_the_simulator(hook: Hook) -> None:
    hook.answers(500)

    with Simulator(retry_pause=60.0) as sim:
        hook.connect(sim, kind="bot")
        talk = sim.conversation()
        talk.customer_says("Hi")
        talk.customer_says("never delivered")
        sim.wait_until(lambda: sim.deliveries)

    sim.drain()
    talk.customer_says("never delivered")

    assert hook.contents == ["Hi"]
    assert talk.status == "pending"


def test_no_answer_in_time_is_a_failure(start: Start, hook: Hook) -> None:
    sim = start(delivery_timeout=0.05)
    hook.blocks()
    sim.connect(hook.url)
    assert values(delivery_of(sim), "status error ok") == [None, "ReadTimeout", False]


def test_a_slow_webhook_blocks_no_call(bench: Bench) -> None:
    bench.webhook.blocks()
    bench.talk.customer_says("Hi")
    assert bench.bot.create(bench.talk, "Hello").status_code == 200


def test_no_server_at_the_url_is_a_failure(sim: Simulator) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        sim.connect(f"http://127.0.0.1:{free.getsockname()[1]}/hook")
        assert delivery_of(sim).error == "ConnectionError"


@pytest.mark.parametrize("host", ["example.com", "192.168.0.1", "127.0.0.1.x.com", ""])
def test_deliveries_stay_on_this_machine(sim: Simulator, host: str) -> None:
    for loopback in ("localhost", "[::1]"):
        sim.connect(f"http://{loopback}:1/")

    with pytest.raises(ValueError, match="this machine"):
        sim.connect(f"http://{host}/")


# -- conversations -------------------------------------------------------------


def test_conversations_are_numbered(sim: Simulator) -> None:
    assert [sim.conversation(id=id).id for id in (None, 7, None)] == [1, 7, 8]
    with pytest.raises(ValueError, match="already"):
        sim.conversation(id=7)


def test_contacts_differ_unless_given(sim: Simulator) -> None:
    ada = ContactRecord(id=5, name="Ada", email="ada@example.com")
    ids = [sim.conversation(contact=c).current.contact.id for c in (None, None, ada)]
    assert (len(set(ids)), ids[2]) == (3, 5)


@pytest.mark.parametrize("kind", ["bot"])
@pytest.mark.parametrize(("version", "by"), [("4.16.1", None), ("4.16.2", "AgentBot")])
def test_the_bot_owns_new_conversations_since_4_16_2(bench: Bench, by: t.Any) -> None:
    bench.talk.customer_says("Hi")
    conversation = bench.webhook.bodies[0]["conversation"]
    assert values(conversation, "meta.assignee_type status") == [by, "pending"]


@pytest.mark.parametrize(
    ("before", "kind", "blocked", "after"),
    [
        ("open", "account", False, "open"),
        ("snoozed", "bot", False, "open"),
        ("snoozed", "account", True, "snoozed"),
        ("resolved", "account", False, "open"),
        ("resolved", "bot", False, "pending"),
        ("resolved", "bot", True, "resolved"),
    ],
)
def test_a_customers_message_reopens_the_conversation(
    bench: Bench, before: str, blocked: bool, after: str
) -> None:
    contact = ContactRecord(id=1, blocked=blocked)
    talk = bench.sim.conversation(status=before, contact=contact)
    talk.operator_says("Hello")
    assert talk.status == before
    talk.customer_says("Hi")
    assert talk.status == after


CHANGED: t.Final = ("conversation_status_changed", "conversation_updated")


@pytest.mark.parametrize(("version", "changed"), [("4.12.0", ()), ("4.13.0", CHANGED)])
def test_a_bot_gets_status_events(sim: Simulator, hook: Hook, changed: t.Any) -> None:
    hook.connect(sim, kind="bot", events=["ignored"])
    talk = sim.conversation()

    for status in ("open", "open", "resolved", "pending"):
        talk.change_status(status)

    opened, resolved = "conversation_opened", "conversation_resolved"
    assert hook.events == [opened, *changed, resolved, *changed, *changed]


def test_a_webhook_gets_its_subscriptions(sim: Simulator, hook: Hook) -> None:
    events = ["conversation_created", "conversation_status_changed"]
    hook.connect(sim, events=events)
    talk = sim.conversation()
    talk.customer_says("Hi")
    talk.change_status("resolved")

    assert hook.events == events
    assert values(hook.bodies[1], "id status") == [talk.id, "resolved"]
    assert "conversation" not in hook.bodies[1]
    assert hook.changes[1] == {"status": ("open", "resolved")}
    assert sim.deliveries[0].message_id is None


def test_the_transcript_has_messages_and_authors(bot: Client, talk: Talk) -> None:
    talk.customer_says("Hi")
    bot.create(talk, "Hello")
    talk.operator_says("hm", private=True)
    talk.operator_takes()
    talk.operator_says_from_phone("It is me\nagain", attachments=[("a b.txt", b"")])
    talk.automation_says("We are closed.")
    talk.add(None, "How was it?", type=MessageType.TEMPLATE)
    talk.customer_says(attachments=[{"file_type": "location"}])

    assert talk.transcript.splitlines() == [
        "Ada Lovelace: Hi",
        "Assistant: Hello",
        "Olga Operator (note): hm",
        "Operator: It is me",
        "    again [a b.txt]",
        "Automation: We are closed.",
        "Chatwoot: How was it?",
        "Ada Lovelace: [location]",
    ]


# -- messages through the API --------------------------------------------------


def test_a_reply_is_stored_and_echoed(webhook: Hook, bot: Client, talk: Talk) -> None:
    marker = {"marker": 1}
    answer = bot.create(talk, "Hello", echo_id="e1", content_attributes=marker).json()
    [body] = webhook.bodies
    fields = "content conversation_id message_type private echo_id sender.type"

    assert (talk.replies, talk.notes) == (["Hello"], [])
    assert answer["id"] == talk.messages[0].id == body["id"]
    assert values(answer, fields) == ["Hello", talk.id, 1, False, "e1", "agent_bot"]
    assert isinstance(answer["created_at"], int)
    assert values(body, "content_attributes sender.type") == [marker, "agent_bot"]
    assert "echo_id" not in body


@pytest.mark.parametrize("private", [None, False, "", "false", "0"])
def test_private_is_cast_as_in_rails(user: Client, private: t.Any, talk: Talk) -> None:
    user.create(talk, "Hello", private=private)
    note = user.create(talk, "psst", private="true").json()

    assert (talk.replies, talk.notes) == (["Hello"], ["psst"])
    assert values(note, "private sender.type") == [True, "user"]
    assert "echo_id" not in note


@pytest.mark.parametrize("id", [3, "3", 99], ids=["a bot", "a bot by text", "unknown"])
def test_a_user_may_post_as_a_bot(user: Client, talk: Talk, id: t.Any) -> None:
    answer = user.create(talk, "Hello", sender_type="AgentBot", sender_id=id).json()
    assert answer["sender"]["type"] == ("user" if id == 99 else "agent_bot")


def test_incoming_messages_are_for_api_inboxes(sim: Simulator, user: Client) -> None:
    talk, text = sim.conversation(channel="Channel::Api"), "Hi {{contact.name}}"
    answer = user.create(talk, text, message_type="incoming").json()
    assert values(answer, "message_type sender.type content") == [0, "contact", text]


@pytest.mark.parametrize(
    ("body", "stored"),
    [
        *((None, None), ({"content": None}, None)),
        *(({"content": ""}, ""), ({"content": 5}, "5")),
    ],
)
def test_content_may_be_missing(bench: Bench, body: t.Any, stored: t.Any) -> None:
    assert bench.bot.do(bench.talk, "messages", body).json()["content"] == stored
    assert bench.talk.replies == [stored or ""]


@pytest.mark.parametrize(
    ("version", "given", "kept"),
    [
        ("4.9.0", {"marker": 1, "items": []}, {"marker": 1, "items": []}),
        ("4.8.0", {"marker": 1, "items": []}, {"items": []}),
        ("4.8.0", {"automation_rule_id": 2}, {"automation_rule_id": 2}),
        ("4.16.2", '{"marker": 1}', {"marker": 1}),
        *(("4.16.2", given, {}) for given in ("no json", [1])),
        ("4.16.2", {"in_reply_to": 1}, {"in_reply_to": None}),
        *((version, REPLY, REPLY) for version in ("4.8.0", "4.16.2")),
    ],
)
def test_content_attributes_are_kept(bench: Bench, given: t.Any, kept: JSON) -> None:
    bench.talk.customer_says("Hi")
    answer = bench.bot.create(bench.talk, "x", content_attributes=given)
    assert answer.json()["content_attributes"] == kept


@pytest.mark.parametrize(
    ("body", "code", "error"),
    [
        ({"content": "ü" * 150_001}, 422, TOO_LONG),
        ({"content": "a\0b"}, 422, "string contains null byte"),
        ({"content": "Hi", "message_type": "incoming"}, 422, NO_INCOMING),
        ("text", 400, "Bad Request"),
        ([], 400, "Bad Request"),
    ],
    ids=["too long", "null byte", "incoming on a website", "a text", "a list"],
)
def test_a_bad_message_fails(bench: Bench, body: t.Any, code: int, error: str) -> None:
    answer = bench.bot.do(bench.talk, "messages", body)
    assert (answer.status_code, answer.json()) == (code, {"error": error})
    assert bench.talk.messages == []


def test_a_text_may_have_150_000_characters(bot: Client, talk: Talk) -> None:
    assert bot.create(talk, "ü" * 150_000).status_code == 200


def test_a_flood_is_refused_for_a_minute(start: Start) -> None:
    now = [1_000.0]
    sim = start(message_limit=2, clock=lambda: now[0])
    talk, client = sim.conversation(), Client(sim, sim.bot_token)
    talk.customer_says("Hi")
    codes = [client.create(talk, "Hello").status_code for _ in range(2)]
    error = client.create(talk, "Hello").json()
    now[0] += 61
    codes.append(client.create(talk, "Hello").status_code)

    assert codes == [200, 422, 200]
    assert error == {"error": FLOOD}


def test_the_default_message_limit_is_200_a_minute(bot: Client, talk: Talk) -> None:
    for _ in range(199):
        talk.customer_says("Hi")
    assert [bot.create(talk, "x").status_code for _ in range(2)] == [200, 422]


def test_messages_come_in_pages(user: Client, talk: Talk) -> None:
    ids = [talk.customer_says(str(number)).id for number in range(130)]

    assert user.ids(talk) == ids[-20:]
    assert user.ids(talk, before=ids[50]) == ids[30:50]
    assert user.ids(talk, before=ids[3]) == ids[:3]
    assert user.ids(talk, after=ids[9]) == ids[10:110]
    assert user.ids(talk, after=ids[3], before=ids[120]) == ids[3:120]
    assert user.ids(talk, after="", before=" ") == ids[-20:]
    assert user.ids(talk, after="x") == ids[:100]
    assert user.ids(talk, before=f"{ids[5]}abc") == ids[:5]


def test_a_span_of_messages_ends_after_1000(user: Client, talk: Talk) -> None:
    talk._stored.messages.extend([talk.customer_says("Hi")] * 1_100)
    assert len(user.ids(talk, after=1, before=9_999)) == 1_000


# -- the other endpoints, and who may use them ----------------------------------


def test_the_profile_is_the_users(sim: Simulator, user: Client) -> None:
    answer = user.get("/profile").json()
    assert values(answer, "id access_token") == [sim.user.id, sim.user_token]
    assert [account["id"] for account in answer["accounts"]] == [1]


def test_the_version_needs_no_token(sim: Simulator) -> None:
    answer = requests.get(f"{sim.url}/api", timeout=5).json()
    assert values(answer, "version queue_services") == ["4.16.2", "ok"]


NO_LOGIN: t.Final = {"errors": ["You need to sign in or sign up before continuing."]}
NOT_YOURS: t.Final = {"error": "You are not authorized to access this account"}
NOT_OF_BOT: t.Final = {"error": "Bot is not authorized to access this account"}
ELSEWHERE: t.Final = "/accounts/2/conversations/1/messages"
UNKNOWN: t.Final = "/accounts/1/conversations/9/messages"


@pytest.mark.parametrize(
    ("token", "method", "path", "code", "error"),
    [
        ("bot", "GET", "/profile", 401, NO_BOTS),
        ("bot", "GET", MESSAGES, 401, NO_BOTS),
        ("wrong", "GET", "/profile", 401, {"error": "Invalid Access Token"}),
        ("", "GET", "/profile", 401, NO_LOGIN),
        ("user", "GET", ELSEWHERE, 401, NOT_YOURS),
        ("bot", "POST", ELSEWHERE, 401, NOT_OF_BOT),
        ("bot", "POST", UNKNOWN, 404, NOT_FOUND),
    ],
)
@pytest.mark.usefixtures("talk")
def test_a_call_without_the_right_is_refused(
    sim: Simulator, token: str, method: str, path: str, code: int, error: JSON
) -> None:
    tokens = {"bot": sim.bot_token, "user": sim.user_token}
    answer = Client(sim, tokens.get(token, token)).request(method, path)
    assert (answer.status_code, answer.json()) == (code, error)


def test_the_token_may_come_with_underscores(sim: Simulator) -> None:
    headers = {"api_access_token": sim.user_token}
    url = f"{sim.url}/api/v1/profile"
    assert requests.get(url, headers=headers, timeout=5).status_code == 200


def test_an_unknown_path_is_not_found_and_listed(sim: Simulator, user: Client) -> None:
    codes = [user.get("/nowhere").status_code, user.post("/profile", {}).status_code]
    assert codes == [404, 404]
    assert [call.endpoint for call in sim.calls] == [None, None]


def test_calls_are_listed(sim: Simulator, bot: Client, talk: Talk) -> None:
    created = bot.create(talk, "secret words").json()
    bot.get("/profile", after="1")
    Client(sim, "wrong").get("/profile")
    body = {"content": "secret words"}

    assert [values(c, "endpoint json status token fault") for c in sim.calls] == [
        ["create_message", body, 200, "bot", None],
        ["profile", None, 401, "bot", None],
        ["profile", None, 401, None, None],
    ]
    assert values(sim.calls[0], "method path") == ["POST", f"/api/v1{MESSAGES}"]
    assert values(sim.calls[0], "answer query") == [created, {}]
    assert values(sim.calls[1], "answer query") == [NO_BOTS, {"after": "1"}]
    assert 0 <= sim.calls[0].seconds < 5
    assert "secret words" not in repr(sim.calls)


# -- faults --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.UNAUTHORIZED, 401),
        (Fault.NOT_FOUND, 404),
        (Fault.UNPROCESSABLE, 422),
        (Fault.RATE_LIMITED, 429),
        (Fault.SERVER_ERROR, 500),
    ],
)
def test_the_api_can_fail(bench: Bench, fault: Fault, code: int) -> None:
    bench.sim.inject(fault)
    codes = [bench.bot.create(bench.talk, "Hello").status_code for _ in range(2)]
    calls = [(call.fault, call.status) for call in bench.sim.calls]

    assert codes == [code, 200]
    assert bench.talk.replies == ["Hello"]
    assert calls == [(fault, code), (None, 200)]


def test_a_rate_limit_is_plain_text(sim: Simulator, bot: Client, talk: Talk) -> None:
    sim.inject(Fault.RATE_LIMITED)
    answer = bot.create(talk, "Hello")
    assert answer.text == "Retry later\n"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("fault", "error", "replies"),
    [
        (Fault.CUT_BEFORE, requests.ConnectionError, []),
        (Fault.CUT_AFTER, requests.ConnectionError, ["Hello"]),
        (Fault.HANG, requests.Timeout, []),
        (Fault.HANG_AFTER, requests.Timeout, ["Hello"]),
    ],
)
def test_a_call_may_end_without_an_answer_before_or_after_message_and_echo(
    bench: Bench, fault: Fault, error: type[Exception], replies: list[str]
) -> None:
    bench.sim.inject(fault)
    timeout = 0.05 if error is requests.Timeout else 5
    path = f"/accounts/1/conversations/{bench.talk.id}/messages"

    with pytest.raises(error):
        bench.bot.request("POST", path, json={"content": "Hello"}, timeout=timeout)

    # The client may leave before the call is read.
    bench.sim.wait_until(lambda: bench.sim.calls)
    assert [(c.status, c.fault) for c in bench.sim.calls] == [(None, fault)]
    assert bench.talk.replies == bench.webhook.contents == replies


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HANG_AFTER])
def test_a_hanging_call_does_not_delay_the_stop(bench: Bench, fault: Fault) -> None:
    bench.sim.inject(fault)

    def call() -> None:
        with pytest.raises(requests.ConnectionError):
            bench.bot.create(bench.talk, "Hello")

    with running(call):
        bench.sim.wait_until(lambda: bench.sim.calls)
        before = time.monotonic()
        bench.sim.stop()
        seconds = time.monotonic() - before

    assert seconds < 1


def test_stopping_ends_idle_connections_and_threads() -> None:
    before = set(threading.enumerate())
    sim = Simulator()

    with sim, requests.Session() as session:
        session.get(f"{sim.url}/api", timeout=5)
        sim.stop()

        with pytest.raises(RuntimeError, match="not started"):
            sim.url.lower()

    wait_until(lambda: set(threading.enumerate()) <= before)


def test_starting_and_stopping_may_be_repeated() -> None:
    sim = Simulator()
    sim.start()
    url = sim.url
    sim.start()
    assert sim.url == url
    assert url in repr(sim)

    sim.stop()
    sim.stop()
    assert "not started" in repr(sim)
    assert sim.secret not in repr(sim)


def test_faults_queue_up_per_endpoint(sim: Simulator, user: Client, talk: Talk) -> None:
    sim.inject(Fault.SERVER_ERROR, times=2)
    sim.inject(Fault.RATE_LIMITED)
    sim.inject(Fault.NOT_FOUND, endpoint="profile", times=None)
    codes = [user.create(talk, "x").status_code for _ in range(4)]
    lasting = [user.get("/profile").status_code for _ in range(3)]
    sim.clear_faults()

    assert (codes, lasting) == ([500, 500, 429, 200], [404, 404, 404])
    assert user.get("/profile").status_code == 200


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_can_fail(bench: Bench, endpoint: str) -> None:
    method, path = routes.BY_NAME[endpoint][:2]
    path = re.sub(r"<(int:)?\w*id>", str(bench.talk.id), path)
    path = path.replace("<key>", "key").replace("<path:name>", "x")
    headers = {"Api-Access-Token": bench.sim.user_token}
    bench.sim.inject(Fault.SERVER_ERROR, endpoint=endpoint)
    answer = requests.request(method, bench.sim.url + path, headers=headers, timeout=5)

    assert answer.status_code == 500
    assert [values(call, "endpoint fault") for call in bench.sim.calls] == [
        [endpoint, Fault.SERVER_ERROR]
    ]


@pytest.mark.parametrize(
    ("options", "error"),
    [({"endpoint": "create_mesage"}, "create_message"), ({"times": 0}, "1 or more")],
)
def test_a_mistyped_fault_is_refused(sim: Simulator, options: JSON, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        sim.inject(Fault.HANG, **options)


# -- waiting -------------------------------------------------------------------


def test_waiting_returns_the_value(sim: Simulator, bot: Client, talk: Talk) -> None:
    with running(lambda: bot.create(talk, "Hello")):
        assert sim.wait_until(lambda: talk.replies) == ["Hello"]


def test_a_timeout_lists_what_there_is_without_content(bench: Bench) -> None:
    bench.talk.customer_says("secret words")
    bench.bot.create(bench.talk, "secret words")
    bench.sim.drain()
    bench.sim.inject(Fault.SERVER_ERROR)
    bench.bot.create(bench.talk, "secret words")

    with pytest.raises(TimeoutError) as caught:
        bench.sim.wait_until(lambda: False, timeout=0.0)

    assert str(caught.value) == (
        "Not within 0 s. Deliveries: 2 x message_created 202; under way: 0. "
        "Calls: 1 x create_message 200, 1 x create_message 500. "
        "Conversations: 1 open with 2 messages."
    )


def test_a_timeout_may_have_nothing_to_list(sim: Simulator) -> None:
    with pytest.raises(TimeoutError, match=r"Deliveries: none.*Conversations: none"):
        sim.wait_until(list, timeout=0.06)


def test_many_threads_may_write(sim: Simulator, webhook: Hook, bot: Client) -> None:
    talks = [sim.conversation() for _ in range(4)]

    def chat(talk: Talk) -> None:
        for number in range(10):
            talk.customer_says(f"{number}?")
            bot.create(talk, f"{number}!")

    with running(*(lambda talk=talk: chat(talk) for talk in talks)):
        pass

    assert all(talk.replies == [f"{n}!" for n in range(10)] for talk in talks)
    assert len({body["id"] for body in webhook.bodies}) == len(webhook.bodies) == 80


@pytest.mark.parametrize("kind", ["bot"])
def test_nothing_is_logged(
    bench: Bench, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    bench.webhook.answers(500)
    bench.talk.customer_says("secret words")
    bench.bot.create(bench.talk, "secret words")
    bench.sim.drain()

    assert not [r for r in caplog.records if r.name.startswith("flask_chatwoot")]
    assert "secret words" not in caplog.text
    assert capfd.readouterr().err == ""


def test_the_newest_version_is_the_default(sim: Simulator) -> None:
    assert payloads.parse_version(sim.version) == payloads.NEWEST

    with pytest.raises(ValueError, match="not a version"):
        Simulator(version="latest")


def test_the_account_says_its_language(
    sim: Simulator, user: Client, bot: Client
) -> None:
    sim.locale = "pt_BR"

    assert user.get("/accounts/1").json()["locale"] == "pt_BR"
    assert bot.get("/accounts/1").json() == NO_BOTS
    assert user.get("/accounts/2").status_code == 401
