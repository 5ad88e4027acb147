"""Changes of a conversation in the simulator: by its API and by its users."""

from __future__ import annotations

import typing as t

import pytest
from support.simulation import JSON, Bench, Client, Hook, activities, values

from flask_chatwoot.simulator import Simulator, Talk
from flask_chatwoot.simulator.payloads import (
    ContactRecord,
    MessageRecord,
    MessageType,
    parse_version,
)

STATUS_EVENTS: t.Final = ["conversation_status_changed", "conversation_updated"]
TYPING_EVENTS: t.Final = ["conversation_typing_on", "conversation_typing_off"]
MESSAGE_EVENTS: t.Final = ["message_created", "message_updated"]
EVENTS: t.Final = [*MESSAGE_EVENTS, *STATUS_EVENTS, *TYPING_EVENTS]
WHATSAPP: t.Final = "Channel::Whatsapp"
EMAIL: t.Final = "Channel::Email"
FORM: t.Final = [{"name": "city", "label": "City"}, {"name": "zip", "label": "Zip"}]
TO_BOT: t.Final = {"assignee_type": "AgentBot"}
ITEMS: t.Final = [{"title": "Yes", "value": "y"}, {"title": "No", "value": "n"}]
WAKES: t.Final = "2025-09-10T12:21:17.000Z"


@pytest.fixture
def subscriptions() -> t.Sequence[str]:
    """The webhook of this file gets the changes of conversations too."""
    return EVENTS


# -- the status ----------------------------------------------------------------


@pytest.mark.parametrize("status", ["open", "resolved", "pending", "snoozed"])
def test_the_status_is_set(sim: Simulator, user: Client, status: str) -> None:
    talk = sim.conversation(id=42)
    answer = user.do(talk, "toggle_status", {"status": status}).json()
    changed = {"conversation_id": 42, "current_status": status, "snoozed_until": None}

    assert talk.status == status
    assert answer == {"meta": {}, "payload": {"success": True, **changed}}


@pytest.mark.parametrize("before", ["open", "resolved", "pending", "snoozed"])
@pytest.mark.parametrize("body", [None, {}, {"status": ""}])
def test_without_a_status_it_is_toggled(bench: Bench, before: str, body: t.Any) -> None:
    talk = bench.sim.conversation(status=before)
    answer = bench.bot.do(talk, "toggle_status", body).json()["payload"]
    assert talk.status == ("resolved" if before == "open" else "open")
    assert values(answer, "current_status success") == [talk.status, True]


@pytest.mark.parametrize("subscriptions", [["conversation_updated"]])
def test_a_snooze_has_an_end(webhook: Hook, user: Client, talk: Talk) -> None:
    snooze = {"status": "snoozed", "snoozed_until": 1757506877}
    answer = user.do(talk, "toggle_status", snooze).json()
    read = user.read(talk)
    user.do(talk, "toggle_status", {"status": "open", "snoozed_until": False})

    assert answer["payload"]["snoozed_until"] == read["snoozed_until"] == WAKES
    assert [body["snoozed_until"] for body in webhook.bodies] == [WAKES, None]
    assert webhook.changes[0]["snoozed_until"] == (None, WAKES)


def test_a_snooze_ends_with_the_customers_next_message(sim: Simulator) -> None:
    talk = sim.conversation(status="snoozed", snoozed_until=1757506877.0)
    talk.customer_says("Hi")
    assert (talk.status, talk.current.snoozed_until) == ("open", None)


@pytest.mark.parametrize("kind", ["bot"])
def test_a_bot_hands_off_by_opening(sim: Simulator, webhook: Hook, bot: Client) -> None:
    talk = sim.conversation()
    owner = talk.current.assignee
    answer = bot.do(talk, "toggle_status", {"status": "open"}).json()["payload"]
    changes = {"status": ("pending", "open"), "assignee_agent_bot_id": (3, None)}

    assert (owner, talk.current.assignee) == (sim.bot, None)
    assert values(answer, "success current_status") == [None, "open"]
    assert webhook.events == ["conversation_opened", *STATUS_EVENTS]
    assert webhook.changes[2] == changes


Owned = tuple[str, str | None]
"""The status of a conversation, and who owns it."""


@pytest.mark.parametrize(
    ("role", "by", "before", "wanted", "after"),
    [
        ("administrator", "bot", ("pending", "operator"), "open", ("open", "operator")),
        ("administrator", "bot", ("pending", None), "open", ("open", None)),
        ("administrator", "bot", ("open", None), "open", ("open", None)),
        ("agent", "bot", ("pending", None), None, ("open", None)),
        ("agent", "user", ("pending", None), "open", ("open", "user")),
        ("agent", "user", ("pending", None), "resolved", ("resolved", None)),
        ("administrator", "user", ("pending", None), "open", ("open", None)),
    ],
)
def test_an_agent_who_opens_a_conversation_gets_it_but_a_bot_does_not(
    bench: Bench, role: str, by: str, before: Owned, wanted: t.Any, after: Owned
) -> None:
    owners = {None: None, "operator": bench.sim.operator, "user": bench.sim.user}
    talk = bench.sim.conversation(status=before[0], assignee=owners[before[1]])
    answer = getattr(bench, by).do(talk, "toggle_status", {"status": wanted}).json()
    hand_off = (by, before[0], wanted) == ("bot", "pending", "open")
    assigned = "Uma User self-assigned this conversation" in activities(talk)

    assert answer["payload"]["success"] is (None if hand_off else True)
    assert (talk.status, talk.current.assignee) == (after[0], owners[after[1]])
    assert assigned == (after[1] == "user")
    assert bool(bench.webhook.events) == (before[0] != after[0])
    assert bench.user.get("/profile").json()["role"] == role


# -- typing and the priority ---------------------------------------------------


def test_typing_is_stored_and_delivered(bench: Bench) -> None:
    talk, what = bench.talk, "toggle_typing_status"
    answer = bench.bot.do(talk, what, {"typing_status": "on"})
    bench.user.do(talk, what, {"typing_status": "off", "is_private": True})
    bench.user.do(talk, what, {"typing_status": "perhaps"})
    fields = "event user.type user.id is_private conversation.id"
    on, off = bench.webhook.bodies

    assert (answer.status_code, answer.text) == (200, "")
    assert talk.typing == ["on", "off"]
    assert on.keys() == {"conversation", "event", "is_private", "user"}
    assert values(on, fields) == [TYPING_EVENTS[0], "agent_bot", 3, False, talk.id]
    assert values(off, fields) == [TYPING_EVENTS[1], "user", 1, True, talk.id]
    assert {d.message_id for d in bench.sim.deliveries} == {None}


@pytest.mark.parametrize("body", [{}, {"priority": None}, {"priority": ""}])
def test_a_priority_is_set_and_removed(bench: Bench, body: JSON) -> None:
    answer = bench.bot.do(bench.talk, "toggle_priority", {"priority": "high"})
    bench.bot.do(bench.talk, "toggle_priority", body)
    high, none = bench.webhook.changes

    assert (answer.status_code, answer.text) == (200, "")
    assert (high, none) == ({"priority": (None, "high")}, {"priority": ("high", None)})
    assert bench.talk.current.priority is None


# -- custom attributes ---------------------------------------------------------

NEW: t.Final = {"custom_attributes": {"b": 2}}


@pytest.mark.parametrize(
    ("version", "body", "after"),
    [
        ("4.16.2", NEW, {"b": 2}),
        ("4.16.2", {**NEW, "merge": True}, {"b": 2}),
        ("4.16.2", {"custom_attributes": {"a": 1}}, {"a": 1}),
        ("4.17.0", NEW, {"b": 2}),
        ("4.17.0", {**NEW, "merge": True}, {"a": 1, "b": 2}),
        ("4.17.0", {**NEW, "merge": "false"}, {"b": 2}),
        ("4.17.0", {"merge": True}, {"a": 1}),
    ],
)
def test_attributes_can_merge_since_4_17(bench: Bench, body: JSON, after: JSON) -> None:
    before = {"a": 1}
    talk = bench.sim.conversation(custom_attributes=before)
    answer = bench.user.do(talk, "custom_attributes", body).json()
    changes = [{"custom_attributes": (before, after)}] if after != before else []

    assert answer == {"custom_attributes": after}
    assert talk.current.custom_attributes == after
    assert bench.webhook.changes == changes


@pytest.mark.parametrize(
    ("value", "code"),
    [
        *((value, 200) for value in ("ü" * 1_500, 9_999_999_999, None)),
        *((value, 422) for value in ("ü" * 1_501, 10_000_000_000)),
    ],
)
def test_attributes_have_limits(bench: Bench, value: t.Any, code: int) -> None:
    body = {"custom_attributes": {"k": value}}
    answer = bench.user.do(bench.talk, "custom_attributes", body)
    named = ["custom_attributes"] if code == 422 else None

    assert (answer.status_code, answer.json().get("attributes")) == (code, named)
    assert bench.talk.current.custom_attributes == ({"k": value} if not named else {})


# -- assignments and labels ----------------------------------------------------


def test_an_operator_is_assigned_and_removed(bench: Bench) -> None:
    talk, bot, webhook = bench.talk, bench.bot, bench.webhook
    given = bot.do(talk, "assignments", {"assignee_id": "2"}).json()
    owner = talk.current.assignee
    taken = bot.do(talk, "assignments", {"assignee_id": None}).json()
    team = bot.do(talk, "assignments", {"team_id": 1}).json()
    operator = ["Olga Operator", "agent", 2, 1, "olga@example.com"]

    assert values(given, "name role id account_id email") == operator
    assert owner == bench.sim.operator
    assert taken is talk.current.assignee is None
    assert values(team, "id name account_id") == [1, "support", 1]
    assert webhook.bodies[2]["meta"]["team"] == {"id": 1, "name": "support"}
    assert webhook.changes == [
        *({"assignee_id": (None, 2)}, {"assignee_id": (2, None)}),
        {"team_id": (None, 1)},
    ]


@pytest.mark.parametrize(
    ("version", "body", "name", "after"),
    [
        ("4.16.2", {"assignee_id": 1}, "Uma User", ("Uma User", "support")),
        ("4.16.2", {"assignee_id": 99}, None, (None, "support")),
        ("4.8.0", {**TO_BOT, "assignee_id": 3}, "Assistant", ("Assistant", "support")),
        ("4.7.0", {**TO_BOT, "assignee_id": 3}, None, (None, "support")),
        ("4.16.2", {**TO_BOT, "assignee_id": 99}, None, ("Olga Operator", "support")),
        ("4.16.2", {"team_id": 1}, "support", ("Olga Operator", "support")),
        ("4.16.2", {"team_id": 99}, None, ("Olga Operator", None)),
        ("4.16.2", {}, None, ("Olga Operator", "support")),
    ],
)
def test_an_assignment_changes_the_assignee_or_the_team(
    bench: Bench, body: JSON, name: t.Any, after: tuple[t.Any, t.Any]
) -> None:
    sim, user = bench.sim, bench.user
    talk = sim.conversation(assignee=sim.operator, team=sim.team)
    answer = user.do(talk, "assignments", body)
    assignee, team = (user.read(talk)["meta"].get(key) for key in ("assignee", "team"))

    assert answer.status_code == 200
    assert (answer.json() or {}).get("name") == name
    assert ("email" in (answer.json() or {})) == (name == "Uma User")
    assert (assignee and assignee["name"]) == after[0]
    assert team == (after[1] and {"id": 1, "name": after[1]})


def test_labels_are_replaced(sim: Simulator, webhook: Hook, bot: Client) -> None:
    path = f"/accounts/1/conversations/{sim.conversation(labels=('old',)).id}/labels"
    before = bot.get(path).json()
    answer = bot.post(path, {"labels": ["a", " b ", "a", ""]}).json()

    assert before == {"payload": ["old"]}
    assert answer == bot.get(path).json() == {"payload": ["a", "b"]}
    assert webhook.changes == [{"label_list": (["old"], ["a", "b"])}]


@pytest.mark.parametrize("body", [{}, {"labels": None}, {"labels": "a"}])
def test_no_labels_are_an_empty_list(sim: Simulator, user: Client, body: JSON) -> None:
    talk = sim.conversation(labels=("old",))
    assert user.do(talk, "labels", body).json() == {"payload": []}
    assert talk.current.labels == ()


# -- who may use an endpoint, and with what --------------------------------------


@pytest.mark.parametrize(
    ("method", "what", "since"),
    [
        *(("POST", f"/toggle_{what}", "4.2.0") for what in ("status", "priority")),
        *(("POST", what, "4.2.0") for what in ("/custom_attributes", "/assignments")),
        ("POST", "/toggle_typing_status", "4.12.0"),
        *(("GET", what, "4.14.2") for what in ("", "/labels")),
        ("POST", "/labels", "4.14.2"),
    ],
)
@pytest.mark.parametrize("version", ["4.2.0", "4.11.2", "4.12.0", "4.14.1", "4.14.2"])
@pytest.mark.usefixtures("talk")
def test_bots_may_use_what_their_version_permits(
    user: Client, bot: Client, method: str, what: str, since: str, version: str
) -> None:
    path = f"/accounts/1/conversations/1{what}"
    body: JSON = {"custom_attributes": {}}
    codes = [c.request(method, path, json=body).status_code for c in (user, bot)]
    allowed = parse_version(version) >= parse_version(since)
    assert codes == [200, 200 if allowed else 401]


@pytest.mark.parametrize(
    ("what", "body", "code"),
    [
        *(("toggle_status", {"status": value}, 500) for value in ("closed", ["open"])),
        ("toggle_status", {"status": "snoozed", "snoozed_until": "tomorrow"}, 500),
        ("toggle_status", {"status": "snoozed", "snoozed_until": ""}, 500),
        *(("toggle_priority", {"priority": value}, 500) for value in ("huge", ["low"])),
        ("custom_attributes", {}, 500),
        *(("custom_attributes", {"custom_attributes": v}, 500) for v in (None, [1])),
        ("toggle_status", ["open"], 400),
    ],
)
def test_errors_change_nothing(bench: Bench, what: str, body: t.Any, code: int) -> None:
    talk = bench.sim.conversation(priority="low", custom_attributes={"a": 1})
    before = talk.current
    answer = bench.user.do(talk, what, body)
    assert answer.status_code == code
    assert code == 400 or answer.text == ""
    assert talk.current == before


# -- files ---------------------------------------------------------------------


def test_a_form_may_carry_files(bench: Bench) -> None:
    files = [("a b.png", b"12345", "image/png"), ("x.pdf", b"1", "application/pdf")]
    fields = {"private": "false", "content_attributes": '{"marker": 1}'}
    text = "See {{contact.name}}"
    answer = bench.bot.upload(bench.talk, files, content=text, **fields).json()
    [body] = bench.webhook.bodies
    image, document = body["attachments"]
    url, shown = image["data_url"], "file_type file_size content_type thumb_url"

    assert bench.talk.replies == ["See Ada Lovelace"]
    assert body["content_attributes"] == {"marker": 1}
    assert answer["attachments"] == body["attachments"]
    assert values(image, shown) == ["image", 5, "image/png", url]
    assert url.startswith(f"{bench.sim.url}/rails/active_storage/")
    assert url.endswith("/a%20b.png")
    assert values(document, "file_type thumb_url") == ["file", ""]


@pytest.mark.parametrize(
    ("version", "type", "kind"),
    [
        ("4.16.2", "image/webp", "image"),
        *(("4.16.2", type, "file") for type in ("image/svg+xml", "text/plain")),
        ("4.16.2", "video/mp4", "video"),
        *((version, "audio/ogg", "audio") for version in ("4.12.1", "4.13.0")),
    ],
)
def test_the_kind_of_a_file_follows_its_type(
    version: str, type: str, kind: str, bot: Client, talk: Talk
) -> None:
    answer = bot.upload(talk, [("x", b"1", type)]).json()
    [file] = answer["attachments"]

    assert (answer["content"], file["file_type"]) == (None, kind)
    assert file.get("content_type") == (None if version == "4.12.1" else type)


@pytest.mark.parametrize(("number", "code"), [(15, 200), (16, 422)])
def test_a_message_has_at_most_15_files(bench: Bench, number: int, code: int) -> None:
    answer = bench.bot.upload(bench.talk, [("x.txt", b"1", "text/plain")] * number)
    assert answer.status_code == code
    assert len(bench.talk.posted) == (code == 200)


# -- choices and forms ---------------------------------------------------------


def offer(client: Client, talk: Talk, type: str = "input_select") -> MessageRecord:
    """Post a choice, or a form."""
    items = FORM if type == "form" else ITEMS
    fields = {"content_type": type, "content_attributes": {"items": items}}
    client.create(talk, "Well?", **fields)
    return talk.posted[-1]


NO_ITEM = "Validation failed: Content attributes At least one item is required."
BAD_KEYS: t.Final = "Content attributes contains invalid keys for items : [:{}]"


@pytest.mark.parametrize(
    ("type", "fields", "error"),
    [
        ("input_select", {}, NO_ITEM),
        ("input_select", {"items": ["a"]}, NO_ITEM),
        ("input_select", {"items": [{"title": "a", "id": 1}]}, BAD_KEYS.format("id")),
        ("form", {"items": []}, NO_ITEM),
        ("form", {"items": [{"name": "a", "value": 1}]}, BAD_KEYS.format("value")),
        ("button", {}, "'button' is not a valid content_type"),
        ("text", {"attachments": ["signed"]}, "InvalidSignature"),
    ],
)
def test_a_message_that_chatwoot_does_not_know_is_refused(
    bot: Client, talk: Talk, type: str, fields: JSON, error: str
) -> None:
    more = {"content_attributes": fields, **fields}
    answer = bot.create(talk, "Well?", content_type=type, **more)

    assert answer.status_code == 422
    assert answer.json()["error"].endswith(error)
    assert talk.posted == []


@pytest.mark.parametrize("kind", ["account", "bot"])
@pytest.mark.parametrize("item", ["No", "n"])
def test_a_choice_on_a_website_updates_our_message(bench: Bench, item: str) -> None:
    talk = bench.sim.conversation()
    message = offer(bench.bot, talk)
    picked = talk.customer_picks(message, item)
    offered, updated = bench.webhook.bodies
    chosen = {"items": ITEMS, "submitted_values": [{"title": "No", "value": "n"}]}
    fields = "id message_type sender.type content_attributes"

    assert bench.webhook.events == MESSAGE_EVENTS
    assert offered["content_type"] == "input_select"
    assert offered["content_attributes"] == {"items": ITEMS}
    assert values(updated, fields) == [message.id, "outgoing", "agent_bot", chosen]
    assert talk.messages == talk.posted == [picked]
    assert bench.sim.deliveries[1].message_id == picked.id == message.id
    assert talk.transcript == "Assistant: Well? [No]"


def test_a_choice_outside_of_a_website_is_a_message(bench: Bench) -> None:
    talk = bench.sim.conversation(channel=WHATSAPP)
    message = offer(bench.bot, talk)
    picked = talk.customer_picks(message, "n")

    assert bench.webhook.events == ["message_created", "message_created"]
    assert (picked.type, picked.content) == (MessageType.INCOMING, "No")
    assert talk.posted == [message]


def test_what_a_customer_cannot_do_is_an_error(sim: Simulator, bot: Client) -> None:
    talk, elsewhere = sim.conversation(), sim.conversation(channel=WHATSAPP)
    choice, form = offer(bot, talk), offer(bot, talk, "form")
    text, other = talk.operator_says("Hello"), offer(bot, elsewhere, "form")
    wrong: list[tuple[t.Callable[..., MessageRecord], tuple[t.Any, ...], str]] = [
        (talk.customer_picks, (choice, "Maybe"), "'Maybe'"),
        (talk.customer_picks, (text, "Yes"), "to pick"),
        (talk.customer_fills, (form, {"street": "Main"}), "street"),
        (talk.customer_fills, (choice, {}), "no form"),
        (elsewhere.customer_fills, (other, {"zip": "1"}), "Whatsapp"),
        (elsewhere.edit, (text,), str(text.id)),
    ]

    for act, arguments, reason in wrong:
        with pytest.raises(ValueError, match=reason):
            act(*arguments)


def test_a_form_updates_our_message(webhook: Hook, bot: Client, talk: Talk) -> None:
    message = offer(bot, talk, "form")
    filled = talk.customer_fills(message, {"zip": "10115"})
    submitted = [{"name": "zip", "value": "10115"}]
    updated = [message.id, {"items": FORM, "submitted_values": submitted}]

    assert webhook.events == MESSAGE_EVENTS
    assert values(webhook.bodies[1], "id content_attributes") == updated
    assert filled.id == message.id
    assert talk.transcript == "Assistant: Well? [zip: 10115]"


# -- operators, automations and mails ------------------------------------------


def test_an_operator_takes_over(sim: Simulator, bot_webhook: Hook, talk: Talk) -> None:
    talk.operator_takes()
    talk.operator_takes()
    changes = {"assignee_id": (None, 2), "assignee_agent_bot_id": (3, None)}
    events = ["conversation_opened", *STATUS_EVENTS, "conversation_updated"]

    assert (talk.status, talk.current.assignee) == ("open", sim.operator)
    assert bot_webhook.events == events
    assert bot_webhook.changes[3] == changes
    assert bot_webhook.bodies[3]["meta"]["assignee_type"] == "User"


def test_an_operator_changes_one_attribute(sim: Simulator, webhook: Hook) -> None:
    talk = sim.conversation(custom_attributes={"topic": "Invoice", "mode": "bot"})
    talk.set_attribute("mode", "human")
    [body] = webhook.bodies
    assert body["custom_attributes"] == {"topic": "Invoice", "mode": "human"}


@pytest.mark.parametrize(
    ("method", "fields", "attributes"),
    [
        ("operator_says_from_phone", {}, {"external_echo": True}),
        ("automation_says", {"rule_id": 7}, {"automation_rule_id": 7}),
    ],
)
def test_messages_from_the_phone_and_of_automations_have_no_sender(
    webhook: Hook, talk: Talk, method: str, fields: JSON, attributes: JSON
) -> None:
    say, more = getattr(talk, method), {"a": 1}
    say("Hi", source_id="x1", content_attributes=more, **fields)
    [body] = webhook.bodies

    assert values(body, "message_type sender source_id") == ["outgoing", None, "x1"]
    assert body["content_attributes"] == attributes | more
    assert talk.replies == []


def test_a_mail_is_delivered_with_what_chatwoot_found_in_it(bench: Bench) -> None:
    talk, full = bench.sim.conversation(channel=EMAIL), "I am away.\n\n> Hello?"
    talk.customer_mails("I am away.", quoted="> Hello?", auto_reply=True)
    [body] = bench.webhook.bodies
    [message] = bench.user.read(talk)["messages"]
    mail = body["content_attributes"]["email"]

    assert values(body, "content_type content") == ["incoming_email", full]
    assert values(mail, "text_content.full auto_reply") == [full, True]
    assert mail["text_content"]["quoted"] == "I am away."
    assert message["processed_message_content"] == "I am away."


def test_a_mail_may_be_made_by_hand(sim: Simulator, webhook: Hook) -> None:
    mail = {"subject": "Away", "text_content": None, "auto_reply": True}
    talk = sim.conversation(channel=EMAIL)
    talk.customer_says("I am away.", content_attributes={"email": mail})
    [body] = webhook.bodies

    assert body["content_attributes"] == {"email": mail}
    assert body["conversation"]["messages"][0]["content"] == "I am away."


# -- activities ----------------------------------------------------------------


def test_changes_by_users_become_activities(bench: Bench) -> None:
    for status in ("resolved", "resolved", "open", "pending", "snoozed"):
        bench.talk.change_status(status)

    for agent in (bench.sim.operator, bench.sim.user, None):
        bench.talk.assign(agent)

    for what, body in [
        ("assignments", {"team_id": bench.sim.team.id}),
        ("assignments", {"team_id": None}),
        ("toggle_priority", {"priority": "low"}),
        ("toggle_priority", {"priority": "high"}),
        ("toggle_priority", {}),
        ("labels", {"labels": ["a", "b"]}),
        ("labels", {"labels": ["b", "c"]}),
    ]:
        bench.user.do(bench.talk, what, body)

    bench.talk.set_attribute("topic", "Invoice")

    assert activities(bench.talk) == [
        "Conversation was marked resolved by Olga Operator",
        "Conversation was reopened by Olga Operator",
        "Conversation was marked as pending by Olga Operator",
        "Conversation was snoozed by Olga Operator",
        "Olga Operator self-assigned this conversation",
        "Assigned to Uma User by Olga Operator",
        "Conversation unassigned by Olga Operator",
        "Assigned to support by Uma User",
        "Unassigned from support by Uma User",
        "Uma User set the priority to low",
        "Uma User changed the priority from low to high",
        "Uma User removed the priority",
        "Uma User added a, b",
        "Uma User added c",
        "Uma User removed a",
    ]


def test_a_team_and_assignee_become_one_activity(sim: Simulator, talk: Talk) -> None:
    sim._state.change(talk._stored, by=sim.user, team=sim.team, assignee=sim.operator)
    assert activities(talk) == ["Assigned to Olga Operator via support by Uma User"]


def test_a_bots_assignment_is_no_activity(sim: Simulator, bot: Client) -> None:
    talk = sim.conversation(status="pending")
    bot.do(talk, "assignments", {**TO_BOT, "assignee_id": sim.bot.id})
    bot.do(talk, "toggle_status", {"status": "open"})

    assert talk.current.assignee is None
    assert activities(talk) == ["Conversation was reopened by Assistant"]


REOPENED: t.Final = "System reopened the conversation due to a new incoming message."


@pytest.mark.parametrize(("channel", "added"), [("WebWidget", []), ("Api", [REOPENED])])
def test_api_inboxes_note_reopening(sim: Simulator, channel: str, added: t.Any) -> None:
    talk = sim.conversation(channel=f"Channel::{channel}", status="resolved")
    talk.customer_says("One more thing")
    assert (talk.status, activities(talk)) == ("open", added)


def test_an_activity_is_shown_by_the_api_only(bench: Bench) -> None:
    bench.webhook.connect(bench.sim, kind="bot")
    talk = bench.sim.conversation(status="open")
    said = talk.customer_says("Hi")
    note = talk.operator_says("psst", private=True)
    talk.resolve()
    activity = talk.messages[-1]
    bodies = bench.webhook.bodies
    read = bench.user.read(talk)
    [last], latest = read["messages"], read["last_non_activity_message"]

    assert {b["id"] for b in bodies if "message_type" in b} == {said.id, note.id}
    assert bodies[-1]["event"].startswith("conversation_")
    assert bodies[-1]["messages"][0]["id"] == said.id
    everything = bench.user.ids(talk, filter_internal_messages="")
    assert everything == [said.id, note.id, activity.id]
    assert bench.user.ids(talk, filter_internal_messages="false") == [said.id]
    assert values(last, "id message_type") == [activity.id, 2]
    assert values(last, "sender_type sender_id") == [None, None]
    assert values(latest, "id private") == [note.id, True]
    assert latest["conversation"]["contact_inbox"]["source_id"]
    assert (talk.replies, talk.notes, talk.posted) == ([], [], [])
    assert talk.transcript == "Ada Lovelace: Hi\nOlga Operator (note): psst"


@pytest.mark.parametrize("kind", ["bot"])
def test_a_conversation_of_a_blocked_contact_begins_resolved(bench: Bench) -> None:
    talk = bench.sim.conversation(contact=ContactRecord(id=1, blocked=True))
    talk.customer_says("Hi")
    assert (talk.status, talk.current.assignee) == ("resolved", None)
    assert bench.webhook.events == ["message_created"]


@pytest.mark.parametrize(("version", "named"), [("4.14.1", False), ("4.14.2", True)])
def test_deliveries_name_the_account_since_4_14_2(bench: Bench, named: bool) -> None:
    bench.talk.customer_says("Hi")
    bench.talk.resolve()
    message, *events = bench.webhook.bodies

    assert [event["event"] for event in events] == STATUS_EVENTS
    assert ["account" in x for x in (message["conversation"], *events)] == [named] * 3
