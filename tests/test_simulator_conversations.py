"""What the simulator makes of changes to a conversation: by its API and by people."""

from __future__ import annotations

import typing as t
from collections.abc import Callable, Iterator

import pytest
import requests
from test_simulator import Client, Receiver

from flask_chatwoot.simulator import Simulator, Talk
from flask_chatwoot.simulator.payloads import JSON, Contact, Message, MessageType

EVENTS: t.Final = [
    *("message_created", "message_updated", "conversation_updated"),
    *("conversation_status_changed", "conversation_typing_on"),
    "conversation_typing_off",
]
WHATSAPP: t.Final = "Channel::Whatsapp"
EMAIL: t.Final = "Channel::Email"
FORM: t.Final = [{"name": "city", "label": "City"}, {"name": "zip", "label": "Zip"}]
ITEMS: t.Final = [{"title": "Yes", "value": "y"}, {"title": "No", "value": "n"}]

Start = Callable[..., Simulator]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Simulator] = []

    def start(**options: t.Any) -> Simulator:
        sim = Simulator(retry_pause=0.0, **options)
        sim.start()
        started.append(sim)
        return sim

    yield start

    for sim in started:
        sim.stop()


@pytest.fixture
def sim(start: Start) -> Simulator:
    return start()


@pytest.fixture
def hook() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


@pytest.fixture
def user(sim: Simulator) -> Client:
    return Client(sim, sim.user_token)


@pytest.fixture
def bot(sim: Simulator) -> Client:
    return Client(sim, sim.bot_token)


def post(client: Client, talk: Talk, what: str, body: t.Any) -> requests.Response:
    return client.post(f"/accounts/1/conversations/{talk.id}/{what}", body)


def upload(
    sim: Simulator, talk: Talk, files: list[t.Any], **fields: str
) -> requests.Response:
    """Post a form with attachments; each is (name, content, type)."""
    return requests.post(
        f"{sim.url}/api/v1/accounts/1/conversations/{talk.id}/messages",
        data=fields,
        files=[("attachments[]", file) for file in files],
        headers={"Api-Access-Token": sim.bot_token},
        timeout=5,
    )


def events(sim: Simulator, hook: Receiver) -> list[str]:
    sim.drain()

    return [body["event"] for body in hook.bodies]


# The status


@pytest.mark.parametrize("status", ["open", "resolved", "pending", "snoozed"])
def test_the_status_is_set(sim: Simulator, user: Client, status: str) -> None:
    talk = sim.conversation(id=42)

    answer = post(user, talk, "toggle_status", {"status": status})

    assert talk.status == status
    assert answer.json() == {
        "meta": {},
        "payload": {
            "success": True,
            "conversation_id": 42,
            "current_status": status,
            "snoozed_until": None,
        },
    }


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("open", "resolved"),
        ("resolved", "open"),
        ("pending", "open"),
        ("snoozed", "open"),
    ],
)
@pytest.mark.parametrize("body", [None, {}, {"status": ""}])
def test_without_a_status_it_is_toggled(
    sim: Simulator, bot: Client, before: str, after: str, body: JSON | None
) -> None:
    talk = sim.conversation(status=before)

    answer = post(bot, talk, "toggle_status", body).json()

    assert talk.status == answer["payload"]["current_status"] == after
    assert answer["payload"]["success"] is True


@pytest.mark.parametrize(
    "body",
    [
        {"status": "closed"},
        {"status": ["open"]},
        {"status": "snoozed", "snoozed_until": "tomorrow"},
        {"status": "snoozed", "snoozed_until": ""},
    ],
)
def test_a_strange_status_is_an_error_of_the_server(
    sim: Simulator, user: Client, body: JSON
) -> None:
    talk = sim.conversation()

    answer = post(user, talk, "toggle_status", body)

    assert (answer.status_code, answer.text) == (500, "")
    assert talk.status == "open"


def test_a_snoozed_conversation_knows_when_to_wake(
    sim: Simulator, hook: Receiver, user: Client
) -> None:
    sim.connect(hook.url, events=["conversation_updated"])
    talk = sim.conversation()
    wakes = {"status": "snoozed", "snoozed_until": 1757506877}

    answer = post(user, talk, "toggle_status", wakes).json()
    read = user.get(f"/accounts/1/conversations/{talk.id}").json()
    post(user, talk, "toggle_status", {"status": "open", "snoozed_until": False})
    sim.drain()

    assert answer["payload"]["snoozed_until"] == "2025-09-10T12:21:17.000Z"
    assert read["snoozed_until"] == "2025-09-10T12:21:17.000Z"
    assert [body["snoozed_until"] for body in hook.bodies] == [
        "2025-09-10T12:21:17.000Z",
        None,
    ]


def test_a_snooze_ends_with_the_customers_next_message(
    sim: Simulator, user: Client
) -> None:
    talk = sim.conversation(status="snoozed", snoozed_until=1757506877.0)

    talk.customer_says("Hi")

    assert (talk.status, talk.current.snoozed_until) == ("open", None)


def test_a_bot_hands_over_by_opening(
    sim: Simulator, hook: Receiver, bot: Client
) -> None:
    sim.connect(hook.url, kind="bot")
    talk = sim.conversation()
    owner = talk.current.assignee

    answer = post(bot, talk, "toggle_status", {"status": "open"}).json()

    assert owner == sim.bot
    assert talk.current.assignee is None
    assert answer["payload"]["success"] is None
    assert answer["payload"]["current_status"] == "open"
    assert events(sim, hook) == [
        "conversation_opened",
        "conversation_status_changed",
        "conversation_updated",
    ]
    assert hook.bodies[2]["changed_attributes"] == [
        {"status": {"previous_value": "pending", "current_value": "open"}},
        {"assignee_agent_bot_id": {"previous_value": 3, "current_value": None}},
    ]


@pytest.mark.parametrize("assigned", [True, False])
def test_a_handover_takes_nothing_from_people(
    sim: Simulator, bot: Client, assigned: bool
) -> None:
    owner = sim.operator if assigned else None
    talk = sim.conversation(status="pending", assignee=owner)

    post(bot, talk, "toggle_status", {"status": "open"})

    assert (talk.status, talk.current.assignee) == ("open", owner)


def test_opening_again_is_no_handover(
    sim: Simulator, hook: Receiver, bot: Client
) -> None:
    sim.connect(hook.url, events=EVENTS)
    talk = sim.conversation(status="open")

    answer = post(bot, talk, "toggle_status", {"status": "open"}).json()

    assert answer["payload"]["success"] is True
    assert events(sim, hook) == []


@pytest.mark.parametrize(
    ("role", "status", "assigned"),
    [
        ("agent", "open", True),
        ("agent", "resolved", False),
        ("administrator", "open", False),
    ],
)
def test_an_agent_who_opens_a_conversation_gets_it(
    start: Start, role: str, status: str, assigned: bool
) -> None:
    sim = start(role=role)
    talk = sim.conversation(status="pending")
    client = Client(sim, sim.user_token)

    post(client, talk, "toggle_status", {"status": status})

    assert talk.current.assignee == (sim.user if assigned else None)
    assert ("Uma User self-assigned this conversation" in activities(talk)) == assigned
    assert client.get("/profile").json()["role"] == role


def test_a_bot_that_opens_a_conversation_does_not_get_it(start: Start) -> None:
    sim = start(role="agent")
    talk = sim.conversation(status="pending")

    post(Client(sim, sim.bot_token), talk, "toggle_status", {})

    assert talk.current.assignee is None


# Typing


def test_typing_is_remembered_and_told(
    sim: Simulator, hook: Receiver, bot: Client, user: Client
) -> None:
    sim.connect(hook.url, events=EVENTS)
    talk = sim.conversation()
    what = "toggle_typing_status"

    answer = post(bot, talk, what, {"typing_status": "on"})
    post(user, talk, what, {"typing_status": "off", "is_private": True})
    post(user, talk, what, {"typing_status": "perhaps"})

    assert (answer.status_code, answer.text) == (200, "")
    assert talk.typing == ["on", "off"]
    assert events(sim, hook) == ["conversation_typing_on", "conversation_typing_off"]
    assert [b["user"]["type"] for b in hook.bodies] == ["agent_bot", "user"]
    assert [b["is_private"] for b in hook.bodies] == [False, True]
    assert hook.bodies[0]["conversation"]["id"] == talk.id
    assert {d.message_id for d in sim.deliveries} == {None}


# Custom attributes


@pytest.mark.parametrize("merge", [{}, {"merge": True}])
def test_attributes_are_replaced_as_a_whole(
    sim: Simulator, hook: Receiver, bot: Client, merge: JSON
) -> None:
    sim.connect(hook.url, events=["conversation_updated"])
    talk = sim.conversation(custom_attributes={"topic": "Invoice"})
    body = {"custom_attributes": {"mood": "good"}, **merge}

    answer = post(bot, talk, "custom_attributes", body)
    sim.drain()

    assert answer.json() == {"custom_attributes": {"mood": "good"}}
    assert talk.current.custom_attributes == {"mood": "good"}
    assert [body["changed_attributes"] for body in hook.bodies] == [
        [
            {
                "custom_attributes": {
                    "previous_value": {"topic": "Invoice"},
                    "current_value": {"mood": "good"},
                }
            }
        ]
    ]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"custom_attributes": {"b": 2}, "merge": True}, {"a": 1, "b": 2}),
        ({"custom_attributes": {"b": 2}, "merge": "false"}, {"b": 2}),
        ({"custom_attributes": {"b": 2}}, {"b": 2}),
        ({"merge": True}, {"a": 1}),
    ],
)
def test_attributes_can_be_merged_after_4_16_2(
    start: Start, body: JSON, expected: JSON
) -> None:
    sim = start(version="4.17.0")
    talk = sim.conversation(custom_attributes={"a": 1})

    answer = post(Client(sim, sim.user_token), talk, "custom_attributes", body)

    assert answer.json() == {"custom_attributes": expected}
    assert talk.current.custom_attributes == expected


@pytest.mark.parametrize(
    "body", [{}, {"custom_attributes": None}, {"custom_attributes": [1]}]
)
def test_no_attributes_are_an_error_of_the_server(
    sim: Simulator, user: Client, body: JSON
) -> None:
    talk = sim.conversation(custom_attributes={"a": 1})

    assert post(user, talk, "custom_attributes", body).status_code == 500
    assert talk.current.custom_attributes == {"a": 1}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("ü" * 1_500, 200),
        ("ü" * 1_501, 422),
        (9_999_999_999, 200),
        (10_000_000_000, 422),
        (None, 200),
    ],
)
def test_attributes_have_limits(
    sim: Simulator, user: Client, value: t.Any, code: int
) -> None:
    talk = sim.conversation()

    answer = post(user, talk, "custom_attributes", {"custom_attributes": {"k": value}})

    assert answer.status_code == code
    assert answer.json().get("attributes") == (
        ["custom_attributes"] if code == 422 else None
    )
    assert talk.current.custom_attributes == ({"k": value} if code == 200 else {})


def test_equal_attributes_are_no_event(
    sim: Simulator, hook: Receiver, user: Client
) -> None:
    sim.connect(hook.url, events=EVENTS)
    talk = sim.conversation(custom_attributes={"a": 1})

    post(user, talk, "custom_attributes", {"custom_attributes": {"a": 1}})

    assert events(sim, hook) == []


# Assignments


def test_a_person_is_assigned_and_taken_away(
    sim: Simulator, hook: Receiver, bot: Client
) -> None:
    sim.connect(hook.url, events=["conversation_updated"])
    talk = sim.conversation()

    given = post(bot, talk, "assignments", {"assignee_id": "2"}).json()
    owner = talk.current.assignee
    taken = post(bot, talk, "assignments", {"assignee_id": None}).json()
    sim.drain()

    assert (given["name"], given["role"]) == ("Olga Operator", "agent")
    assert owner == sim.operator
    assert taken is talk.current.assignee is None
    assert [body["changed_attributes"] for body in hook.bodies] == [
        [{"assignee_id": {"previous_value": None, "current_value": 2}}],
        [{"assignee_id": {"previous_value": 2, "current_value": None}}],
    ]


def test_the_user_of_the_token_can_be_assigned(sim: Simulator, user: Client) -> None:
    talk = sim.conversation()

    answer = post(user, talk, "assignments", {"assignee_id": sim.user.id}).json()

    assert answer["role"] == "administrator"
    assert talk.current.assignee == sim.user


def test_an_unknown_person_is_nobody(sim: Simulator, user: Client) -> None:
    talk = sim.conversation(assignee=sim.operator)

    answer = post(user, talk, "assignments", {"assignee_id": 99})

    assert (answer.status_code, answer.text) == (200, "null")
    assert talk.current.assignee is None


@pytest.mark.parametrize(("version", "assigned"), [("4.7.0", False), ("4.8.0", True)])
def test_a_bot_is_assigned_since_4_8(
    start: Start, version: str, assigned: bool
) -> None:
    sim = start(version=version)
    talk = sim.conversation()
    body = {"assignee_type": "AgentBot", "assignee_id": sim.bot.id}

    answer = post(Client(sim, sim.user_token), talk, "assignments", body).json()

    assert (answer and answer["name"]) == ("Assistant" if assigned else None)
    assert talk.current.assignee == (sim.bot if assigned else None)


def test_an_unknown_bot_changes_nothing(sim: Simulator, user: Client) -> None:
    talk = sim.conversation(assignee=sim.operator)
    body = {"assignee_type": "AgentBot", "assignee_id": 99}

    assert post(user, talk, "assignments", body).json() is None
    assert talk.current.assignee == sim.operator


def test_a_team_is_assigned_and_taken_away(sim: Simulator, user: Client) -> None:
    talk = sim.conversation()

    given = post(user, talk, "assignments", {"team_id": sim.team.id}).json()
    read = user.get(f"/accounts/1/conversations/{talk.id}").json()
    taken = post(user, talk, "assignments", {"team_id": 99}).json()

    assert given["name"] == "support"
    assert given["account_id"] == 1
    assert read["meta"]["team"] == {"id": 1, "name": "support"}
    assert taken is talk.current.team is None


def test_an_assignment_of_nothing_is_nothing(sim: Simulator, user: Client) -> None:
    talk = sim.conversation(assignee=sim.operator, team=sim.team)

    assert post(user, talk, "assignments", {}).json() is None
    assert (talk.current.assignee, talk.current.team) == (sim.operator, sim.team)


# Labels


def test_labels_are_replaced(sim: Simulator, hook: Receiver, bot: Client) -> None:
    sim.connect(hook.url, events=["conversation_updated"])
    talk = sim.conversation(labels=("old",))
    path = f"/accounts/1/conversations/{talk.id}/labels"

    before = bot.get(path).json()
    answer = bot.post(path, {"labels": ["a", " b ", "a", ""]}).json()
    sim.drain()

    assert before == {"payload": ["old"]}
    assert answer == bot.get(path).json() == {"payload": ["a", "b"]}
    assert hook.bodies[0]["changed_attributes"] == [
        {"label_list": {"previous_value": ["old"], "current_value": ["a", "b"]}}
    ]


@pytest.mark.parametrize("body", [{}, {"labels": None}, {"labels": "a"}])
def test_no_list_of_labels_is_an_empty_one(
    sim: Simulator, user: Client, body: JSON
) -> None:
    talk = sim.conversation(labels=("old",))

    assert post(user, talk, "labels", body).json() == {"payload": []}
    assert talk.current.labels == ()


# Who may


@pytest.mark.parametrize(
    ("method", "what", "since"),
    [
        ("POST", "toggle_status", "4.2.0"),
        ("POST", "toggle_priority", "4.2.0"),
        ("POST", "custom_attributes", "4.2.0"),
        ("POST", "assignments", "4.2.0"),
        ("POST", "toggle_typing_status", "4.12.0"),
        ("GET", "labels", "4.14.2"),
        ("POST", "labels", "4.14.2"),
    ],
)
@pytest.mark.parametrize("version", ["4.2.0", "4.11.2", "4.12.0", "4.14.1", "4.14.2"])
def test_bots_may_do_what_their_version_lets_them(
    start: Start, method: str, what: str, since: str, version: str
) -> None:
    sim = start(version=version)
    sim.conversation()
    path = f"/accounts/1/conversations/1/{what}"
    body: JSON = {"custom_attributes": {}}

    codes = {
        token: requests.request(
            method,
            f"{sim.url}/api/v1{path}",
            json=body,
            headers={"Api-Access-Token": token},
            timeout=5,
        ).status_code
        for token in (sim.bot_token, sim.user_token)
    }
    allowed = tuple(map(int, version.split("."))) >= tuple(map(int, since.split(".")))

    assert codes == {sim.bot_token: 200 if allowed else 401, sim.user_token: 200}


@pytest.mark.parametrize(
    "what",
    [
        *("toggle_status", "toggle_priority", "toggle_typing_status"),
        *("assignments", "labels"),
    ],
)
def test_what_is_no_object_changes_nothing(
    sim: Simulator, user: Client, what: str
) -> None:
    talk = sim.conversation()
    before = talk.current

    assert post(user, talk, what, ["open"]).status_code == 400
    assert talk.current == before


# Files and forms


def test_a_form_may_carry_files(sim: Simulator, hook: Receiver) -> None:
    sim.connect(hook.url)
    talk = sim.conversation()

    answer = upload(
        sim,
        talk,
        [("a b.png", b"12345", "image/png"), ("x.pdf", b"1", "application/pdf")],
        content="See {{contact.name}}",
        private="false",
        content_attributes='{"marker": 1}',
    ).json()
    sim.drain()
    [body] = hook.bodies
    image, document = body["attachments"]

    assert talk.replies == ["See Ada Lovelace"]
    assert body["content_attributes"] == {"marker": 1}
    assert answer["attachments"] == body["attachments"]
    assert (image["file_type"], image["file_size"]) == ("image", 5)
    assert image["content_type"] == "image/png"
    assert image["data_url"].startswith(f"{sim.url}/rails/active_storage/")
    assert image["data_url"].endswith("/a%20b.png")
    assert image["thumb_url"] == image["data_url"]
    assert (document["file_type"], document["thumb_url"]) == ("file", "")


@pytest.mark.parametrize(
    ("type", "kind"),
    [
        ("image/webp", "image"),
        ("image/svg+xml", "file"),
        ("video/mp4", "video"),
        ("audio/ogg", "audio"),
        ("text/plain", "file"),
    ],
)
def test_the_kind_of_a_file_follows_its_type(
    sim: Simulator, type: str, kind: str
) -> None:
    answer = upload(sim, sim.conversation(), [("x", b"1", type)]).json()

    assert answer["content"] is None
    assert answer["attachments"][0]["file_type"] == kind


@pytest.mark.parametrize(("version", "there"), [("4.12.1", False), ("4.13.0", True)])
def test_the_type_of_a_file_is_told_since_4_13(
    start: Start, version: str, there: bool
) -> None:
    sim = start(version=version)

    answer = upload(sim, sim.conversation(), [("x", b"1", "audio/ogg")]).json()

    assert answer["attachments"][0].get("content_type") == (
        "audio/ogg" if there else None
    )


@pytest.mark.parametrize(("number", "code"), [(15, 200), (16, 422)])
def test_a_message_has_at_most_15_files(sim: Simulator, number: int, code: int) -> None:
    talk = sim.conversation()

    answer = upload(sim, talk, [("x.txt", b"1", "text/plain")] * number)

    assert answer.status_code == code
    assert len(talk.posted) == (code == 200)


def test_the_id_of_an_upload_is_unknown(sim: Simulator, user: Client) -> None:
    talk = sim.conversation()

    assert user.create(talk, "x", attachments=["signed"]).status_code == 422
    assert talk.posted == []


def test_the_id_of_a_sender_may_be_a_text(sim: Simulator, user: Client) -> None:
    talk = sim.conversation()

    answer = user.create(talk, "x", sender_type="AgentBot", sender_id="3").json()

    assert answer["sender"]["type"] == "agent_bot"


# Choices


def test_a_choice_can_be_offered(sim: Simulator, hook: Receiver, bot: Client) -> None:
    sim.connect(hook.url)
    talk = sim.conversation()

    offer(bot, talk)
    sim.drain()

    assert hook.bodies[0]["content_type"] == "input_select"
    assert hook.bodies[0]["content_attributes"] == {"items": ITEMS}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"content_type": "button"}, "'button' is not a valid content_type"),
        (
            {"content_type": "input_select"},
            "Validation failed: Content attributes At least one item is required.",
        ),
        (
            {"content_type": "input_select", "content_attributes": {"items": ["a"]}},
            "Validation failed: Content attributes At least one item is required.",
        ),
        (
            {
                "content_type": "input_select",
                "content_attributes": {"items": [{"title": "a", "id": 1}]},
            },
            "Validation failed: Content attributes contains invalid keys for items "
            ": [:id]",
        ),
        (
            {"content_type": "form", "content_attributes": {"items": []}},
            "Validation failed: Content attributes At least one item is required.",
        ),
        (
            {
                "content_type": "form",
                "content_attributes": {"items": [{"name": "a", "value": 1}]},
            },
            "Validation failed: Content attributes contains invalid keys for items "
            ": [:value]",
        ),
    ],
)
def test_a_choice_has_items_with_title_and_value(
    sim: Simulator, bot: Client, fields: JSON, error: str
) -> None:
    talk = sim.conversation()

    answer = bot.create(talk, "Well?", **fields)

    assert (answer.status_code, answer.json()) == (422, {"error": error})
    assert talk.posted == []


def offer(client: Client, talk: Talk) -> Message:
    client.create(
        talk,
        "Well?",
        content_type="input_select",
        content_attributes={"items": ITEMS},
    )

    return talk.posted[-1]


@pytest.mark.parametrize("kind", ["account", "bot"])
@pytest.mark.parametrize("item", ["No", "n"])
def test_a_choice_on_a_website_updates_our_message(
    sim: Simulator,
    hook: Receiver,
    bot: Client,
    kind: t.Literal["account", "bot"],
    item: str,
) -> None:
    sim.connect(hook.url, kind=kind, events=EVENTS)
    talk = sim.conversation()
    message = offer(bot, talk)

    picked = talk.customer_picks(message, item)

    assert events(sim, hook) == ["message_created", "message_updated"]
    assert hook.bodies[1]["id"] == picked.id == message.id
    assert hook.bodies[1]["message_type"] == "outgoing"
    assert hook.bodies[1]["sender"]["type"] == "agent_bot"
    assert hook.bodies[1]["content_attributes"] == {
        "items": ITEMS,
        "submitted_values": [{"title": "No", "value": "n"}],
    }
    assert talk.messages == talk.posted == [picked]
    assert sim.deliveries[1].message_id == message.id


def test_a_choice_elsewhere_is_a_message(
    sim: Simulator, hook: Receiver, bot: Client
) -> None:
    sim.connect(hook.url, events=EVENTS)
    talk = sim.conversation(channel=WHATSAPP)
    message = offer(bot, talk)

    picked = talk.customer_picks(message, "n")

    assert events(sim, hook) == ["message_created", "message_created"]
    assert (picked.type, picked.content) == (MessageType.INCOMING, "No")
    assert talk.posted == [message]


def test_only_what_is_offered_can_be_picked(sim: Simulator, bot: Client) -> None:
    talk = sim.conversation()
    message = offer(bot, talk)

    with pytest.raises(ValueError, match="'Maybe'"):
        talk.customer_picks(message, "Maybe")

    with pytest.raises(ValueError, match="to pick"):
        talk.customer_picks(talk.operator_says("Hello"), "Yes")


def test_only_messages_of_the_conversation_can_be_edited(sim: Simulator) -> None:
    message = sim.conversation().operator_says("Hello")

    with pytest.raises(ValueError, match=str(message.id)):
        sim.conversation().edit(message, content="Goodbye")


# People


def test_an_operator_takes_a_conversation_from_the_bot(
    sim: Simulator, hook: Receiver
) -> None:
    sim.connect(hook.url, kind="bot")
    talk = sim.conversation()

    talk.operator_takes()
    talk.operator_takes()

    assert (talk.status, talk.current.assignee) == ("open", sim.operator)
    assert events(sim, hook) == [
        "conversation_opened",
        "conversation_status_changed",
        "conversation_updated",
        "conversation_updated",
    ]
    assert hook.bodies[3]["changed_attributes"] == [
        {"assignee_id": {"previous_value": None, "current_value": 2}},
        {"assignee_agent_bot_id": {"previous_value": 3, "current_value": None}},
    ]
    assert hook.bodies[3]["meta"]["assignee_type"] == "User"


def test_a_conversation_is_resolved_and_reopened(sim: Simulator) -> None:
    talk = sim.conversation()

    talk.resolve()
    resolved = talk.status
    talk.reopen()

    assert (resolved, talk.status) == ("resolved", "open")


def test_an_operator_changes_one_attribute(sim: Simulator, hook: Receiver) -> None:
    sim.connect(hook.url, events=["conversation_updated"])
    talk = sim.conversation(custom_attributes={"topic": "Invoice", "mode": "bot"})

    talk.set_attribute("mode", "human")
    sim.drain()

    assert hook.bodies[0]["custom_attributes"] == {"topic": "Invoice", "mode": "human"}


def test_an_operator_may_write_from_the_phone(sim: Simulator, hook: Receiver) -> None:
    sim.connect(hook.url)
    talk = sim.conversation(channel=WHATSAPP)

    talk.operator_says_from_phone("On my way", source_id="wamid.1")
    sim.drain()
    [body] = hook.bodies

    assert (body["message_type"], body["sender"]) == ("outgoing", None)
    assert body["content_attributes"] == {"external_echo": True}
    assert body["source_id"] == "wamid.1"
    assert talk.replies == []


def test_an_automation_has_no_sender_but_a_rule(sim: Simulator, hook: Receiver) -> None:
    sim.connect(hook.url)
    talk = sim.conversation()

    talk.automation_says("We are closed.", rule_id=7, content_attributes={"a": 1})
    sim.drain()
    [body] = hook.bodies

    assert (body["message_type"], body["sender"]) == ("outgoing", None)
    assert body["content_attributes"] == {"automation_rule_id": 7, "a": 1}


# Forms and mails


def ask(client: Client, talk: Talk) -> Message:
    client.create(
        talk, "Where?", content_type="form", content_attributes={"items": FORM}
    )

    return talk.posted[-1]


def test_a_form_on_a_website_updates_our_message(
    sim: Simulator, hook: Receiver, bot: Client
) -> None:
    sim.connect(hook.url, events=EVENTS)
    talk = sim.conversation()
    message = ask(bot, talk)

    filled = talk.customer_fills(message, {"zip": "10115"})

    assert events(sim, hook) == ["message_created", "message_updated"]
    assert hook.bodies[1]["id"] == filled.id == message.id
    assert hook.bodies[1]["content_attributes"] == {
        "items": FORM,
        "submitted_values": [{"name": "zip", "value": "10115"}],
    }
    assert talk.transcript == "Assistant: Where? [zip: 10115]"


def test_only_forms_of_websites_can_be_filled_in(sim: Simulator, bot: Client) -> None:
    talk, elsewhere = sim.conversation(), sim.conversation(channel=WHATSAPP)

    with pytest.raises(ValueError, match="street"):
        talk.customer_fills(ask(bot, talk), {"street": "Main"})

    with pytest.raises(ValueError, match="no form"):
        talk.customer_fills(offer(bot, talk), {})

    with pytest.raises(ValueError, match="Whatsapp"):
        elsewhere.customer_fills(ask(bot, elsewhere), {"zip": "10115"})


def test_what_was_picked_stands_in_the_transcript(sim: Simulator, bot: Client) -> None:
    talk = sim.conversation()

    talk.customer_picks(offer(bot, talk), "n")

    assert talk.transcript == "Assistant: Well? [No]"


@pytest.mark.parametrize("auto_reply", [True, False])
def test_a_mail_is_delivered_with_what_chatwoot_found_in_it(
    sim: Simulator, hook: Receiver, user: Client, auto_reply: bool
) -> None:
    sim.connect(hook.url)
    talk = sim.conversation(channel=EMAIL)

    talk.customer_mails("I am away.", quoted="> Hello?", auto_reply=auto_reply)
    sim.drain()
    [body] = hook.bodies
    read = user.get(f"/accounts/1/conversations/{talk.id}").json()

    assert body["content_type"] == "incoming_email"
    assert body["content"] == "I am away.\n\n> Hello?"
    assert body["content_attributes"]["email"]["auto_reply"] is auto_reply
    assert read["messages"][0]["processed_message_content"] == "I am away."


def test_a_mail_may_be_made_by_hand(sim: Simulator, hook: Receiver) -> None:
    sim.connect(hook.url)
    mail = {"subject": "Away", "text_content": None, "auto_reply": True}

    sim.conversation(channel=EMAIL).customer_says(
        "I am away.", content_attributes={"email": mail}
    )
    sim.drain()

    assert hook.bodies[0]["content_attributes"] == {"email": mail}
    assert hook.bodies[0]["conversation"]["messages"][0]["content"] == "I am away."


# The priority


@pytest.mark.parametrize("body", [{}, {"priority": None}, {"priority": ""}])
def test_a_priority_is_set_and_taken_away(
    sim: Simulator, hook: Receiver, bot: Client, body: JSON
) -> None:
    sim.connect(hook.url, events=["conversation_updated"])
    talk = sim.conversation()

    answer = post(bot, talk, "toggle_priority", {"priority": "high"})
    high = talk.current.priority
    post(bot, talk, "toggle_priority", body)
    sim.drain()

    assert (answer.status_code, answer.text) == (200, "")
    assert (high, talk.current.priority) == ("high", None)
    assert [body["changed_attributes"] for body in hook.bodies] == [
        [{"priority": {"previous_value": None, "current_value": "high"}}],
        [{"priority": {"previous_value": "high", "current_value": None}}],
    ]


def test_a_strange_priority_is_an_error_of_the_server(
    sim: Simulator, user: Client
) -> None:
    talk = sim.conversation(priority="low")

    assert post(user, talk, "toggle_priority", {"priority": "huge"}).status_code == 500
    assert talk.current.priority == "low"


# Activities


def activities(talk: Talk) -> list[str | None]:
    return [m.content for m in talk.messages if m.type is MessageType.ACTIVITY]


def test_what_people_do_is_noted(sim: Simulator, user: Client) -> None:
    talk = sim.conversation()

    for status in ("resolved", "resolved", "open", "pending", "snoozed"):
        talk.change_status(status)

    talk.assign(sim.operator)
    talk.assign(sim.user)
    talk.assign(None)
    post(user, talk, "assignments", {"team_id": sim.team.id})
    post(user, talk, "assignments", {"team_id": None})
    post(user, talk, "toggle_priority", {"priority": "low"})
    post(user, talk, "toggle_priority", {"priority": "high"})
    post(user, talk, "toggle_priority", {})
    post(user, talk, "labels", {"labels": ["a", "b"]})
    post(user, talk, "labels", {"labels": ["b", "c"]})
    talk.set_attribute("topic", "Invoice")

    assert activities(talk) == [
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


def test_who_is_assigned_with_the_team_is_named_with_it(sim: Simulator) -> None:
    talk = sim.conversation()

    sim._state.change(talk._stored, by=sim.user, team=sim.team, assignee=sim.operator)

    assert activities(talk) == ["Assigned to Olga Operator via support by Uma User"]


def test_what_a_bot_does_is_noted_but_not_what_it_gets(
    sim: Simulator, bot: Client
) -> None:
    talk = sim.conversation(status="pending")
    to_bot = {"assignee_type": "AgentBot", "assignee_id": sim.bot.id}

    post(bot, talk, "assignments", to_bot)
    post(bot, talk, "toggle_status", {"status": "open"})

    assert talk.current.assignee is None
    assert activities(talk) == ["Conversation was reopened by Assistant"]


@pytest.mark.parametrize(
    ("channel", "noted"),
    [
        ("Channel::WebWidget", []),
        (
            "Channel::Api",
            ["System reopened the conversation due to a new incoming message."],
        ),
    ],
)
def test_a_customer_who_comes_back_is_noted_in_api_inboxes(
    sim: Simulator, channel: str, noted: list[str]
) -> None:
    talk = sim.conversation(channel=channel, status="resolved")

    talk.customer_says("One more thing")

    assert talk.status == "open"
    assert activities(talk) == noted


def test_an_activity_is_in_the_api_but_nobody_is_told_and_nobody_said_it(
    sim: Simulator, hook: Receiver, user: Client
) -> None:
    sim.connect(hook.url, events=EVENTS)
    sim.connect(hook.url, kind="bot")
    talk = sim.conversation(status="open")
    said = talk.customer_says("Hi")
    note = talk.operator_says("psst", private=True)

    talk.resolve()
    activity = talk.messages[-1]
    sim.drain()
    read = user.get(f"/accounts/1/conversations/{talk.id}").json()
    [last], told = read["messages"], read["last_non_activity_message"]

    told_of = {body["id"] for body in hook.bodies if "message_type" in body}

    assert told_of == {said.id, note.id}
    assert hook.bodies[-1]["event"].startswith("conversation_")
    assert hook.bodies[-1]["messages"][0]["id"] == said.id
    assert user.ids(talk) == [said.id, note.id, activity.id]
    assert user.ids(talk, filter_internal_messages="1") == [said.id]
    assert (last["id"], last["message_type"]) == (activity.id, 2)
    assert (last["sender_type"], last["sender_id"]) == (None, None)
    assert (told["id"], told["private"]) == (note.id, True)
    assert told["conversation"]["contact_inbox"]["source_id"]
    assert (talk.replies, talk.notes, talk.posted) == ([], [], [])
    assert talk.transcript == "Ada Lovelace: Hi\nOlga Operator (note): psst"


def test_a_conversation_with_somebody_blocked_is_resolved_at_once(
    sim: Simulator, hook: Receiver
) -> None:
    sim.connect(hook.url, kind="bot")

    talk = sim.conversation(contact=Contact(id=1, blocked=True))
    talk.customer_says("Hi")

    assert (talk.status, talk.current.assignee) == ("resolved", None)
    assert events(sim, hook) == ["message_created"]


@pytest.mark.parametrize(("version", "there"), [("4.14.1", False), ("4.14.2", True)])
@pytest.mark.parametrize("kind", ["account", "bot"])
def test_conversation_events_name_the_account_since_4_14_2(
    start: Start,
    hook: Receiver,
    kind: t.Literal["account", "bot"],
    version: str,
    there: bool,
) -> None:
    sim = start(version=version)
    sim.connect(hook.url, kind=kind, events=EVENTS)

    sim.conversation(status="open").resolve()
    told = events(sim, hook)

    assert told[-2:] == ["conversation_status_changed", "conversation_updated"]
    assert {"account" in body for body in hook.bodies} == {there}
