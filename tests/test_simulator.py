from __future__ import annotations

import json
import re
import socket
import threading
import time
import typing as t
from collections.abc import Iterator

import pytest
import requests
from flask import Response
from support.simulation import JSON, Answer, Client, Hook, Start, hooked

from flask_chatwoot.errors import SignatureError
from flask_chatwoot.payloads import signature
from flask_chatwoot.simulator import (
    ENDPOINTS,
    Fault,
    Simulator,
    Talk,
    payloads,
    routes,
)
from flask_chatwoot.simulator.payloads import Contact, MessageType


def status(code: int) -> Answer:
    return lambda body: Response("no", code)


# Deliveries


def test_what_the_customer_says_is_delivered(sim: Simulator, webhook: Hook) -> None:
    talk = sim.conversation(custom_attributes={"support_mode": "bot"}, inbox_id=8)

    message = talk.customer_says("Where is my order?", source_id="x-1")
    [body] = webhook.bodies

    assert body["event"] == "message_created"
    assert body["id"] == message.id
    assert body["content"] == "Where is my order?"
    assert body["source_id"] == "x-1"
    assert body["message_type"] == "incoming"
    assert body["sender"]["id"] == talk.current.contact.id
    assert body["inbox"]["id"] == 8
    assert body["conversation"]["id"] == talk.id == 1
    assert body["conversation"]["status"] == "open"
    assert body["conversation"]["custom_attributes"] == {"support_mode": "bot"}


def test_a_delivery_is_listed_with_its_answer(sim: Simulator, webhook: Hook) -> None:
    message = sim.conversation().customer_says("secret words")
    [delivery] = sim.wait_until(lambda: sim.deliveries)

    assert delivery.event == "message_created"
    assert delivery.message_id == message.id
    assert delivery.conversation_id == 1
    assert delivery.url == webhook.url
    assert delivery.status == 202
    assert delivery.ok
    assert delivery.answer == {"status": "accepted"}
    assert delivery.error is None
    assert delivery.attempt == 1
    assert 0 < delivery.seconds < 5
    assert json.loads(delivery.body) == webhook.bodies[0]
    assert "secret words" not in repr(delivery)


def test_a_delivery_is_signed_over_its_bytes(sim: Simulator, webhook: Hook) -> None:
    sim.conversation().customer_says("Grüße")
    [delivery] = sim.wait_until(lambda: sim.deliveries)

    assert delivery.headers["Content-Type"] == "application/json"
    assert delivery.headers["Accept"] == "application/json"
    signature.verify(
        delivery.body,
        secrets=[sim.secret],
        signature=webhook.headers[0]["X-Chatwoot-Signature"],
        timestamp=webhook.headers[0]["X-Chatwoot-Timestamp"],
    )


def test_bodies_are_written_as_rails_writes_them(sim: Simulator, webhook: Hook) -> None:
    sim.conversation().customer_says("<ü>&\u2028\u2029\ud800")
    [delivery] = sim.wait_until(lambda: sim.deliveries)

    assert b'"\\u003c\xc3\xbc\\u003e\\u0026\\u2028\\u2029?"' in delivery.body
    assert webhook.contents == ["<ü>&\u2028\u2029?"]


@pytest.mark.parametrize(
    ("version", "kind", "signed"),
    [
        ("4.11.2", "account", False),
        ("4.12.0", "account", True),
        ("4.12.1", "bot", False),
        ("4.13.0", "bot", True),
    ],
)
def test_only_versions_that_can_sign_do(
    sim: Simulator,
    webhook: Hook,
    kind: t.Literal["account", "bot"],
    signed: bool,
) -> None:
    sim.conversation().customer_says("Hi")
    sim.drain()
    settings = sim.settings("bot" if kind == "bot" else "user")

    assert ("X-Chatwoot-Signature" in webhook.headers[0]) == signed
    assert ("X-Chatwoot-Delivery" in webhook.headers[0]) == signed
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


def test_order_is_kept(webhook: Hook, talk: Talk) -> None:
    for number in range(20):
        talk.customer_says(str(number))

    assert webhook.contents == [str(number) for number in range(20)]


def test_held_deliveries_leave_in_reverse_order(
    sim: Simulator, webhook: Hook, talk: Talk
) -> None:
    with sim.holding():
        for content in ("a", "b", "c"):
            talk.customer_says(content)

        sim.drain()
        assert webhook.contents == []

    assert webhook.contents == ["c", "b", "a"]


def test_holding_within_holding_turns_the_inner_ones_twice(
    sim: Simulator, webhook: Hook, talk: Talk
) -> None:
    with sim.holding():
        talk.customer_says("a")

        with sim.holding():
            talk.customer_says("b")
            talk.customer_says("c")

    assert webhook.contents == ["b", "c", "a"]


def test_every_connected_webhook_gets_the_event(sim: Simulator, webhook: Hook) -> None:
    with hooked() as other:
        sim.connect(other.url, kind="bot")
        sim.conversation().customer_says("Hi")
        sim.drain()

    ids = {receiver.headers[0]["X-Chatwoot-Delivery"] for receiver in (webhook, other)}
    assert webhook.contents == other.contents == ["Hi"]
    assert len(ids) == 2


def test_operators_and_their_notes_are_delivered_too(webhook: Hook, talk: Talk) -> None:
    talk.operator_says("Hello")
    talk.operator_says("a difficult one", private=True)

    assert [body["message_type"] for body in webhook.bodies] == ["outgoing"] * 2
    assert [body["private"] for body in webhook.bodies] == [False, True]
    assert webhook.bodies[0]["sender"]["type"] == "user"
    assert talk.replies == talk.notes == []


def test_activities_are_not_delivered(webhook: Hook, talk: Talk) -> None:
    talk.add(None, "assigned", type=MessageType.ACTIVITY)

    assert webhook.bodies == []
    assert [message.content for message in talk.messages] == ["assigned"]


def test_a_message_can_be_delivered_again(sim: Simulator, webhook: Hook) -> None:
    message = sim.conversation().customer_says("Hi")

    sim.deliver(message, times=2)

    assert [body["id"] for body in webhook.bodies] == [message.id] * 3
    assert len({headers["X-Chatwoot-Delivery"] for headers in webhook.headers}) == 3


def test_a_delivery_can_repeat_its_id(sim: Simulator, webhook: Hook) -> None:
    message = sim.conversation().customer_says("Hi")

    sim.deliver(message, times=2, delivery_id="same")

    assert [h["X-Chatwoot-Delivery"] for h in webhook.headers][1:] == ["same", "same"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"signing": "absent"}, "not signed"),
        ({"signing": "wrong"}, "does not match"),
        ({"age": 301.0}, "too old"),
        ({"age": -310.0}, "too old"),
    ],
)
def test_a_delivery_can_be_forged(
    sim: Simulator, hook: Hook, options: JSON, reason: str
) -> None:
    message = sim.conversation().customer_says("Hi")
    hook.connect(sim)

    sim.deliver(message, **options)
    [delivery] = sim.wait_until(lambda: sim.deliveries)

    with pytest.raises(SignatureError, match=reason):
        signature.verify(
            delivery.body,
            secrets=[sim.secret],
            signature=hook.headers[-1].get("X-Chatwoot-Signature"),
            timestamp=hook.headers[-1].get("X-Chatwoot-Timestamp"),
        )


def test_an_account_delivery_is_never_repeated(sim: Simulator, webhook: Hook) -> None:
    webhook.answer = status(500)
    talk = sim.conversation(status="pending")

    talk.customer_says("Hi")
    sim.drain()
    [delivery] = sim.deliveries

    assert not delivery.ok
    assert delivery.answer == "no"
    assert talk.status == "pending"


@pytest.mark.parametrize(
    ("version", "code", "attempts", "end"),
    [
        ("4.16.2", 429, 3, "open"),
        ("4.16.2", 500, 3, "open"),
        ("4.16.2", 503, 1, "open"),
        ("4.16.2", 302, 1, "open"),
        ("4.11.2", 500, 1, "open"),
        ("4.7.0", 500, 1, "open"),
        ("4.6.0", 500, 1, "pending"),
    ],
)
def test_a_failed_delivery_to_a_bot_is_retried_and_opens_the_conversation(
    sim: Simulator, bot_webhook: Hook, code: int, attempts: int, end: str, talk: Talk
) -> None:
    bot_webhook.answer = status(code)
    before = talk.status

    talk.customer_says("Hi")
    sim.drain()
    tries = [d for d in sim.deliveries if d.event == "message_created"]

    assert [d.attempt for d in tries] == list(range(1, attempts + 1))
    assert {d.status for d in tries} == {code}
    assert len({d.headers.get("X-Chatwoot-Delivery") for d in tries}) == 1
    assert (before, talk.status) == ("pending", end)
    last = talk.messages[-1].type
    assert (last is MessageType.ACTIVITY) == (end == "open")


def test_each_attempt_is_signed_anew(start: Start, hook: Hook) -> None:
    seconds = iter(range(1_000, 2_000))
    hook.answer = status(500)
    sim = start(clock=lambda: float(next(seconds)))
    hook.connect(sim, kind="bot")
    sim.conversation().customer_says("Hi")
    sim.drain()
    tries = [
        headers
        for headers, body in zip(hook.headers, hook.bodies, strict=True)
        if body["event"] == "message_created"
    ]

    assert len(tries) == 3
    assert len({headers["X-Chatwoot-Timestamp"] for headers in tries}) == 3
    assert len({headers["X-Chatwoot-Signature"] for headers in tries}) == 3


def test_a_retry_that_succeeds_leaves_the_conversation_pending(
    sim: Simulator, bot_webhook: Hook, talk: Talk
) -> None:
    bot_webhook.answer = lambda body: Response("", 200 if bot_webhook.got else 500)

    talk.customer_says("Hi")
    sim.drain()

    assert [d.status for d in sim.deliveries] == [500, 200]
    assert talk.status == "pending"


def test_only_a_pending_conversation_is_opened(
    sim: Simulator, bot_webhook: Hook
) -> None:
    bot_webhook.answer = status(404)
    talk = sim.conversation(status="snoozed")

    talk.operator_says("Hi")
    sim.drain()

    assert talk.status == "snoozed"
    assert len(talk.messages) == 1


def test_a_failed_conversation_event_opens_nothing(
    sim: Simulator, bot_webhook: Hook
) -> None:
    bot_webhook.answer = status(404)
    talk = sim.conversation(status="open")

    talk.change_status("pending")
    sim.drain()

    assert talk.status == "pending"


def test_the_pause_before_a_repeat_ends_with_the_simulator(hook: Hook) -> None:
    hook.answer = status(500)

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


@pytest.fixture
def blocked(hook: Hook) -> Iterator[Hook]:
    """A webhook that does not answer before the test ends."""
    release = threading.Event()

    def answer(body: JSON) -> Response:
        release.wait(10)
        return Response()

    hook.answer = answer
    yield hook
    release.set()


def test_no_answer_in_time_is_a_failure(start: Start, blocked: Hook) -> None:
    sim = start(delivery_timeout=0.05)
    blocked.connect(sim)
    sim.conversation().customer_says("Hi")
    [delivery] = sim.wait_until(lambda: sim.deliveries)

    assert (delivery.status, delivery.error) == (None, "ReadTimeout")
    assert not delivery.ok


def test_a_slow_webhook_does_not_block_the_api(
    sim: Simulator, blocked: Hook, bot: Client, talk: Talk
) -> None:
    blocked.connect(sim)
    talk.customer_says("Hi")

    assert bot.create(talk, "Hello").status_code == 200


def test_no_server_at_the_url_is_a_failure(sim: Simulator) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        sim.connect(f"http://127.0.0.1:{free.getsockname()[1]}/hook")
        sim.conversation().customer_says("Hi")
        [delivery] = sim.wait_until(lambda: sim.deliveries)

    assert delivery.error == "ConnectionError"


@pytest.mark.parametrize(
    "url",
    ["http://example.com/", "http://192.168.0.1/", "//x", "http://127.0.0.1.evil.com/"],
)
def test_deliveries_stay_on_this_machine(sim: Simulator, url: str) -> None:
    with pytest.raises(ValueError, match="this machine"):
        sim.connect(url)


@pytest.mark.parametrize("url", ["http://localhost:1/", "http://[::1]:1/"])
def test_loopback_has_several_names(sim: Simulator, url: str) -> None:
    sim.connect(url)


# Conversations


def test_conversations_are_numbered(sim: Simulator) -> None:
    ids = [sim.conversation(id=id).id for id in (None, 7, None)]

    assert ids == [1, 7, 8]


def test_a_conversation_id_is_taken_once(sim: Simulator) -> None:
    sim.conversation(id=7)

    with pytest.raises(ValueError, match="already"):
        sim.conversation(id=7)


def test_message_ids_count_through_all_conversations(sim: Simulator) -> None:
    talks = [sim.conversation(), sim.conversation()]

    ids = [talks[number % 2].customer_says("Hi").id for number in range(4)]

    assert ids == sorted(set(ids))


def test_contacts_differ_unless_given(sim: Simulator) -> None:
    ada = Contact(id=5, name="Ada", email="ada@example.com")

    ids = [sim.conversation(contact=c).current.contact.id for c in (None, None, ada)]

    assert len(set(ids)) == 3
    assert ids[2] == 5


@pytest.mark.parametrize(
    ("version", "assignee"), [("4.16.1", None), ("4.16.2", "AgentBot")]
)
def test_the_bot_owns_new_conversations_since_4_16_2(
    sim: Simulator,
    bot_webhook: Hook,
    assignee: str | None,
) -> None:
    sim.conversation().customer_says("Hi")

    assert bot_webhook.bodies[0]["conversation"]["meta"]["assignee_type"] == assignee
    assert bot_webhook.bodies[0]["conversation"]["status"] == "pending"


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
def test_a_message_of_the_customer_reopens(
    sim: Simulator,
    webhook: Hook,
    before: str,
    blocked: bool,
    after: str,
) -> None:
    talk = sim.conversation(status=before, contact=Contact(id=1, blocked=blocked))

    talk.operator_says("Hello")
    assert talk.status == before

    talk.customer_says("Hi")
    assert talk.status == after


@pytest.mark.parametrize(
    ("version", "events"),
    [
        ("4.12.0", ["conversation_opened", "conversation_resolved"]),
        (
            "4.13.0",
            [
                *("conversation_opened", "conversation_status_changed"),
                *("conversation_updated", "conversation_resolved"),
                *("conversation_status_changed", "conversation_updated"),
                *("conversation_status_changed", "conversation_updated"),
            ],
        ),
    ],
)
def test_a_bot_gets_the_events_of_the_status(
    sim: Simulator, hook: Hook, events: list[str]
) -> None:
    hook.connect(sim, kind="bot", events=["ignored"])
    talk = sim.conversation()

    for status in ("open", "open", "resolved", "pending"):
        talk.change_status(status)

    assert [body["event"] for body in hook.bodies] == events


def test_an_account_webhook_gets_the_events_of_its_subscriptions(
    sim: Simulator, hook: Hook
) -> None:
    hook.connect(sim, events=["conversation_created", "conversation_status_changed"])
    talk = sim.conversation()

    talk.customer_says("Hi")
    talk.change_status("resolved")

    assert hook.events == ["conversation_created", "conversation_status_changed"]
    assert hook.bodies[1]["id"] == talk.id
    assert hook.changes[1] == {"status": ("open", "resolved")}
    assert sim.deliveries[0].message_id is None


def test_the_transcript_has_all_messages_with_their_authors(
    bot: Client, talk: Talk
) -> None:
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


# The API


def test_a_reply_is_stored_and_echoed(
    sim: Simulator, webhook: Hook, bot: Client, talk: Talk
) -> None:
    answer = bot.create(
        talk, "Hello", echo_id="e1", content_attributes={"marker": 1}
    ).json()
    sim.drain()

    assert talk.replies == ["Hello"]
    assert talk.notes == []
    assert answer["id"] == talk.messages[0].id == webhook.bodies[0]["id"]
    assert answer["content"] == "Hello"
    assert answer["conversation_id"] == talk.id
    assert answer["message_type"] == 1
    assert answer["private"] is False
    assert answer["echo_id"] == "e1"
    assert answer["sender"]["type"] == "agent_bot"
    assert isinstance(answer["created_at"], int)
    assert webhook.bodies[0]["content_attributes"] == {"marker": 1}
    assert webhook.bodies[0]["sender"]["type"] == "agent_bot"
    assert "echo_id" not in webhook.bodies[0]


def test_a_note_is_not_a_reply(user: Client, talk: Talk) -> None:
    answer = user.create(talk, "psst", private=True).json()

    assert talk.replies == []
    assert talk.notes == ["psst"]
    assert answer["private"] is True
    assert answer["sender"]["type"] == "user"
    assert "echo_id" not in answer


@pytest.mark.parametrize("private", [None, False, "", "false", "0"])
def test_private_is_read_as_rails_reads_it(
    user: Client, private: t.Any, talk: Talk
) -> None:
    user.create(talk, "Hello", private=private)
    user.create(talk, "psst", private="true")

    assert talk.replies == ["Hello"]
    assert talk.notes == ["psst"]


def test_a_user_may_post_in_the_name_of_a_bot(user: Client, talk: Talk) -> None:
    as_bot = user.create(talk, "Hello", sender_type="AgentBot", sender_id=3).json()
    nobody = user.create(talk, "Hello", sender_type="AgentBot", sender_id=99).json()

    assert as_bot["sender"]["type"] == "agent_bot"
    assert nobody["sender"]["type"] == "user"


def test_incoming_messages_are_for_api_inboxes(sim: Simulator, user: Client) -> None:
    web, api = sim.conversation(), sim.conversation(channel="Channel::Api")

    refused = user.create(web, "Hi", message_type="incoming")
    taken = user.create(api, "Hi {{contact.name}}", message_type="incoming").json()

    assert refused.status_code == 422
    assert taken["message_type"] == 0
    assert taken["sender"]["type"] == "contact"
    assert taken["content"] == "Hi {{contact.name}}"


def test_liquid_in_a_reply_is_evaluated(sim: Simulator, bot: Client) -> None:
    talk = sim.conversation(contact=Contact(id=1, name="Ada", email="a@example.com"))

    bot.create(talk, "{{contact.email}} {{nobody}}`{{contact.email}}`")
    bot.create(talk, "{{contact.email}} {% broken")

    assert talk.replies == [
        "a@example.com `{{contact.email}}`",
        "{{contact.email}} {% broken",
    ]


@pytest.mark.parametrize(("content", "stored"), [(None, None), ("", ""), (5, "5")])
def test_content_may_be_missing_or_a_number(
    bot: Client, content: t.Any, stored: str | None, talk: Talk
) -> None:
    assert bot.create(talk, content).json()["content"] == stored
    assert talk.replies == [stored or ""]


@pytest.mark.parametrize(
    ("version", "given", "kept"),
    [
        ("4.9.0", {"marker": 1, "items": []}, {"marker": 1, "items": []}),
        ("4.8.0", {"marker": 1, "items": []}, {"items": []}),
        ("4.8.0", {"automation_rule_id": 2}, {"automation_rule_id": 2}),
        ("4.16.2", '{"marker": 1}', {"marker": 1}),
        ("4.16.2", "no json", {}),
        ("4.16.2", [1], {}),
        ("4.16.2", {"in_reply_to": 1}, {"in_reply_to": None}),
        ("4.16.2", {"in_reply_to": 1001}, {"in_reply_to": 1001}),
        ("4.8.0", {"in_reply_to": 1001}, {"in_reply_to": 1001}),
    ],
)
def test_content_attributes_are_kept_as_that_version_keeps_them(
    given: t.Any, kept: JSON, bot: Client, talk: Talk
) -> None:
    talk.customer_says("Hi")

    answer = bot.create(talk, "x", content_attributes=given)

    assert answer.json()["content_attributes"] == kept


def test_a_text_of_more_than_150_000_characters_is_refused(
    bot: Client, talk: Talk
) -> None:
    assert bot.create(talk, "ü" * 150_000).status_code == 200
    assert bot.create(talk, "ü" * 150_001).status_code == 422
    assert len(talk.replies) == 1


def test_a_null_byte_is_refused(sim: Simulator, bot: Client) -> None:
    answer = bot.create(sim.conversation(), "a\0b")

    assert (answer.status_code, answer.json()) == (
        422,
        {"error": "string contains null byte"},
    )


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
    assert error == {"error": "Validation failed: Too many messages"}


def test_the_default_message_limit_is_200_a_minute(bot: Client, talk: Talk) -> None:
    for _ in range(199):
        talk.customer_says("Hi")

    assert [bot.create(talk, "x").status_code for _ in range(2)] == [200, 422]


def test_nothing_at_all_makes_an_empty_message(bot: Client, talk: Talk) -> None:
    answer = bot.post("/accounts/1/conversations/1/messages", None)

    assert answer.json()["content"] is None
    assert talk.replies == [""]


@pytest.mark.parametrize("body", ["text", []])
def test_what_is_no_object_is_a_bad_request(
    sim: Simulator, bot: Client, body: t.Any
) -> None:
    sim.conversation()

    assert bot.post("/accounts/1/conversations/1/messages", body).status_code == 400


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
    message = talk.customer_says("Hi")
    talk._stored.messages.extend([message] * 1_100)

    assert len(user.ids(talk, after=1, before=9_999)) == 1_000


def test_internal_messages_can_be_left_out(user: Client, talk: Talk) -> None:
    public = talk.customer_says("Hi")
    note = talk.operator_says("psst", private=True)
    activity = talk.add(None, "assigned", type=MessageType.ACTIVITY)

    assert user.ids(talk) == [public.id, note.id, activity.id]
    assert user.ids(talk, filter_internal_messages="") == user.ids(talk)
    assert user.ids(talk, filter_internal_messages="false") == [public.id]


def test_a_conversation_can_be_read(sim: Simulator, user: Client) -> None:
    talk = sim.conversation(status="snoozed")

    answer = user.read(talk)

    assert (answer["id"], answer["status"]) == (talk.id, "snoozed")


def test_the_profile_is_the_users(sim: Simulator, user: Client) -> None:
    answer = user.get("/profile").json()

    assert answer["accounts"][0]["id"] == 1
    assert answer["access_token"] == sim.user_token


def test_the_version_needs_no_token(sim: Simulator) -> None:
    answer = requests.get(f"{sim.url}/api", timeout=5).json()

    assert answer["version"] == "4.16.2"
    assert answer["queue_services"] == "ok"


@pytest.mark.parametrize(
    ("version", "code"), [("4.14.1", 401), ("4.14.2", 200), ("4.2.0", 401)]
)
def test_bots_may_read_a_conversation_since_4_14_2(
    sim: Simulator, code: int, bot: Client
) -> None:
    sim.conversation()

    answer = bot.get("/accounts/1/conversations/1")

    assert answer.status_code == code


MESSAGES: t.Final = "/accounts/1/conversations/1/messages"


@pytest.mark.parametrize(
    ("token", "path", "error"),
    [
        ("bot", "/profile", "Access to this endpoint is not authorized for bots"),
        ("bot", MESSAGES, "Access to this endpoint is not authorized for bots"),
        ("wrong", "/profile", "Invalid Access Token"),
        ("", "/profile", ["You need to sign in or sign up before continuing."]),
        (
            "user",
            "/accounts/2/conversations/1/messages",
            "You are not authorized to access this account",
        ),
    ],
)
def test_a_call_without_the_right_is_refused(
    sim: Simulator, talk: Talk, token: str, path: str, error: t.Any
) -> None:
    tokens = {"bot": sim.bot_token, "user": sim.user_token}

    answer = Client(sim, tokens.get(token, token)).get(path)

    assert answer.status_code == 401
    assert answer.json() == {"errors" if isinstance(error, list) else "error": error}


def test_the_token_may_come_with_underscores(sim: Simulator) -> None:
    answer = requests.get(
        f"{sim.url}/api/v1/profile",
        headers={"api_access_token": sim.user_token},
        timeout=5,
    )

    assert answer.status_code == 200


def test_a_bot_may_not_use_another_account(bot: Client) -> None:
    answer = bot.post("/accounts/2/conversations/1/messages", {})

    assert answer.status_code == 401
    assert answer.json() == {"error": "Bot is not authorized to access this account"}


def test_an_unknown_conversation_is_not_found(bot: Client) -> None:
    answer = bot.post("/accounts/1/conversations/9/messages", {"content": "Hi"})

    assert answer.status_code == 404
    assert answer.json() == {"error": "Resource could not be found"}


def test_an_unknown_path_is_not_found_and_listed(sim: Simulator, user: Client) -> None:
    assert user.get("/nowhere").status_code == 404
    assert user.post("/profile", {}).status_code == 404
    assert [call.endpoint for call in sim.calls] == [None, None]


def test_calls_are_listed(sim: Simulator, bot: Client, talk: Talk) -> None:
    bot.create(talk, "secret words")
    bot.get("/profile")
    Client(sim, "wrong").get("/profile")
    first, second, third = sim.calls

    assert (first.method, first.path) == (
        "POST",
        "/api/v1/accounts/1/conversations/1/messages",
    )
    assert first.endpoint == "create_message"
    assert first.json == {"content": "secret words"}
    assert (first.status, first.token, first.fault) == (200, "bot", None)
    assert 0 <= first.seconds < 5
    assert "secret words" not in repr(first)
    assert (second.status, second.token, second.json) == (401, "bot", None)
    assert third.token is None


# Faults


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
def test_the_api_can_fail(
    sim: Simulator, bot: Client, fault: Fault, code: int, talk: Talk
) -> None:
    sim.inject(fault)

    codes = [bot.create(talk, "Hello").status_code for _ in range(2)]

    assert codes == [code, 200]
    assert talk.replies == ["Hello"]
    assert [call.fault for call in sim.calls] == [fault, None]
    assert sim.calls[0].status == code


def test_a_rate_limit_is_plain_text_without_advice(sim: Simulator, bot: Client) -> None:
    sim.inject(Fault.RATE_LIMITED)
    answer = bot.create(sim.conversation(), "Hello")

    assert answer.text == "Retry later\n"
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert "Retry-After" not in answer.headers


@pytest.mark.parametrize(
    ("fault", "replies"), [(Fault.CUT_BEFORE, []), (Fault.CUT_AFTER, ["Hello"])]
)
def test_a_cut_comes_before_or_after_message_and_echo(
    sim: Simulator,
    webhook: Hook,
    bot: Client,
    talk: Talk,
    fault: Fault,
    replies: list[str],
) -> None:
    sim.inject(fault)

    with pytest.raises(requests.ConnectionError):
        bot.create(talk, "Hello")

    assert talk.replies == webhook.contents == replies
    assert [(c.status, c.fault) for c in sim.calls] == [(None, fault)]


@pytest.mark.parametrize(
    ("fault", "replies"), [(Fault.HANG, []), (Fault.HANG_AFTER, ["Hello"])]
)
def test_a_hanging_call_lasts_until_the_client_leaves(
    sim: Simulator, fault: Fault, replies: list[str], talk: Talk
) -> None:
    sim.inject(fault)

    with pytest.raises(requests.Timeout):
        requests.post(
            f"{sim.url}/api/v1/accounts/1/conversations/1/messages",
            json={"content": "Hello"},
            headers={"Api-Access-Token": sim.bot_token},
            timeout=0.05,
        )

    sim.wait_until(lambda: sim.calls)  # the client may leave before it is heard
    assert talk.replies == replies
    assert sim.calls[0].status is None


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HANG_AFTER])
def test_a_hanging_call_does_not_keep_the_simulator_from_stopping(
    sim: Simulator, bot: Client, fault: Fault, talk: Talk
) -> None:
    errors: list[Exception] = []
    sim.inject(fault)

    def call() -> None:
        try:
            bot.create(talk, "Hello")
        except requests.ConnectionError as error:
            errors.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    sim.wait_until(lambda: sim.calls)
    before = time.monotonic()
    sim.stop()
    seconds = time.monotonic() - before
    thread.join(5)

    assert len(errors) == 1
    assert seconds < 1


def test_stopping_ends_idle_connections_and_threads() -> None:
    before = set(threading.enumerate())
    sim = Simulator()

    with sim, requests.Session() as session:
        session.get(f"{sim.url}/api", timeout=5)
        sim.stop()

        with pytest.raises(RuntimeError, match="not started"):
            sim.url.lower()

    left = {thread for thread in threading.enumerate() if thread not in before}

    for thread in left:
        thread.join(5)

    assert not any(thread.is_alive() for thread in left)


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
    sim.inject(Fault.NOT_FOUND, endpoint="profile")

    codes = [user.create(talk, "x").status_code for _ in range(4)]

    assert codes == [500, 500, 429, 200]
    assert user.get("/profile").status_code == 404


def test_a_fault_can_last_until_cleared(sim: Simulator, user: Client) -> None:
    sim.inject(Fault.SERVER_ERROR, times=None, endpoint="profile")

    codes = [user.get("/profile").status_code for _ in range(3)]
    sim.clear_faults()
    codes.append(user.get("/profile").status_code)

    assert codes == [500, 500, 500, 200]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_every_endpoint_can_fail(sim: Simulator, talk: Talk, endpoint: str) -> None:
    method, path = routes.BY_NAME[endpoint][:2]
    path = re.sub(r"<(int:)?\w*id>", "1", path)
    path = path.replace("<key>", "key").replace("<path:name>", "x")
    headers = {"Api-Access-Token": sim.user_token}
    sim.inject(Fault.SERVER_ERROR, endpoint=endpoint)

    answer = requests.request(method, sim.url + path, headers=headers, timeout=5)

    assert answer.status_code == 500
    assert [(call.endpoint, call.fault) for call in sim.calls] == [
        (endpoint, Fault.SERVER_ERROR)
    ]


def test_a_mistyped_fault_is_refused(sim: Simulator) -> None:
    with pytest.raises(ValueError, match="create_message"):
        sim.inject(Fault.HANG, endpoint="create_mesage")

    with pytest.raises(ValueError, match="1 or more"):
        sim.inject(Fault.HANG, times=0)


# Waiting


def test_waiting_returns_what_was_waited_for(
    sim: Simulator, bot: Client, talk: Talk
) -> None:
    thread = threading.Thread(target=bot.create, args=[talk, "Hello"])
    thread.start()

    assert sim.wait_until(lambda: talk.replies) == ["Hello"]
    thread.join()  # it has yet to read its answer


def test_waiting_notices_what_happens_elsewhere(sim: Simulator) -> None:
    event = threading.Event()
    threading.Timer(0.01, event.set).start()

    assert sim.wait_until(event.is_set) is True


def test_a_wait_that_times_out_lists_what_there_is_without_content(
    sim: Simulator, webhook: Hook, bot: Client, talk: Talk
) -> None:
    talk.customer_says("secret words")
    bot.create(talk, "secret words")
    sim.drain()
    sim.inject(Fault.SERVER_ERROR)
    bot.create(talk, "secret words")

    with pytest.raises(TimeoutError) as caught:
        sim.wait_until(lambda: False, timeout=0.0)

    assert str(caught.value) == (
        "Not within 0 s. Deliveries: 2 x message_created 202; under way: 0. "
        "Calls: 1 x create_message 200, 1 x create_message 500. "
        "Conversations: 1 open with 2 messages."
    )


def test_a_wait_that_times_out_may_have_nothing_to_list(sim: Simulator) -> None:
    with pytest.raises(TimeoutError, match=r"Deliveries: none.*Conversations: none"):
        sim.wait_until(list, timeout=0.06)


def test_many_threads_may_talk_at_once(
    sim: Simulator, webhook: Hook, bot: Client
) -> None:
    talks = [sim.conversation() for _ in range(4)]

    def chat(talk: Talk) -> None:
        for number in range(10):
            talk.customer_says(f"{number}?")
            bot.create(talk, f"{number}!")

    threads = [threading.Thread(target=chat, args=[talk]) for talk in talks]

    for thread in threads:
        thread.start()

    for thread in threads:
        thread.join()

    sim.drain()

    assert all(talk.replies == [f"{n}!" for n in range(10)] for talk in talks)
    assert len({body["id"] for body in webhook.bodies}) == len(webhook.bodies) == 80


def test_nothing_is_logged(
    sim: Simulator,
    bot_webhook: Hook,
    bot: Client,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    talk: Talk,
) -> None:
    bot_webhook.answer = status(500)
    talk.customer_says("secret words")
    bot.create(talk, "secret words")
    sim.drain()

    assert not [r for r in caplog.records if r.name.startswith("flask_chatwoot")]
    assert "secret words" not in caplog.text
    assert capfd.readouterr().err == ""


def test_versions_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="not a version"):
        Simulator(version="latest")


def test_the_newest_version_is_the_default(sim: Simulator) -> None:
    assert payloads.parse_version(sim.version) == payloads.NEWEST
