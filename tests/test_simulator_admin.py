"""What the simulated Chatwoot lets an administrator set up, over real HTTP."""

from __future__ import annotations

import typing as t

import pytest
import requests
from support.simulation import JSON, Client, Hook, Start

from flask_chatwoot.payloads import signature
from flask_chatwoot.simulator import Simulator, admin, routes

ATTRIBUTES = "/custom_attribute_definitions"
TOPIC = {
    "attribute_display_name": "Topic",
    "attribute_key": "topic",
    "attribute_display_type": 6,
    "attribute_model": 0,
    "attribute_values": ["Invoice", "Delivery"],
}
HOOK = {"url": "https://app.example.com/hook", "subscriptions": ["message_created"]}
BOT = {"name": "Assistant", "outgoing_url": "https://app.example.com/hook"}
NO_RIGHT = {"error": "You are not authorized to do this action"}


class Account(Client):
    """Calls the endpoints of the account."""

    def __call__(
        self, method: str, path: str, body: t.Any = None, **query: t.Any
    ) -> requests.Response:
        return self.request(method, f"/accounts/1{path}", json=body, params=query)

    def ok(self, method: str, path: str, body: t.Any = None, **query: t.Any) -> t.Any:
        answer = self(method, path, body, **query)
        assert answer.status_code == 200, answer.text

        return answer.json() if answer.content else None


@pytest.fixture
def call(sim: Simulator) -> Account:
    return Account(sim)


# -- who may -------------------------------------------------------------------


def path_of(endpoint: str) -> tuple[str, str]:
    endpoint_ = routes.ADMIN[endpoint]
    path = endpoint_.path.removeprefix("/api/v1/accounts/<int:account_id>")

    return endpoint_.method, path.replace("<int:id>", "3")


@pytest.mark.parametrize("endpoint", routes.ADMIN)
def test_a_bot_token_is_let_in_nowhere(sim: Simulator, endpoint: str) -> None:
    answer = Account(sim, sim.bot_token)(*path_of(endpoint), {})

    assert answer.status_code == 401
    assert answer.json() == {
        "error": "Access to this endpoint is not authorized for bots"
    }


@pytest.mark.parametrize("endpoint", routes.ADMIN)
def test_an_agent_may_look_at_some_things(start: Start, endpoint: str) -> None:
    answer = Account(start(role="agent"))(*path_of(endpoint), {})

    if endpoint in (
        *("list_attributes", "list_inboxes", "inbox", "inbox_bot", "list_bots"),
    ):
        assert answer.status_code == 200
    else:
        assert (answer.status_code, answer.json()) == (401, NO_RIGHT)


@pytest.mark.parametrize(("version", "status"), [("4.13.0", 200), ("4.14.0", 401)])
def test_agents_could_define_attributes_before_4_14(
    start: Start, version: str, status: int
) -> None:
    call = Account(start(version=version, role="agent"))

    assert call("POST", ATTRIBUTES, TOPIC).status_code == status


@pytest.mark.parametrize(
    ("version", "status"), [("4.15.0", 200), ("4.16.0", 500), ("4.16.1", 200)]
)
def test_4_16_0_fails_to_serve_agent_bots(
    start: Start, version: str, status: int
) -> None:
    call = Account(start(version=version))

    assert call("GET", "/agent_bots").status_code == status
    assert call("POST", "/agent_bots", BOT).status_code == status
    assert call("GET", "/inboxes/3/agent_bot").status_code == 200


@pytest.mark.parametrize(
    "path",
    [f"{ATTRIBUTES}/99", "/inboxes/99", "/webhooks/99", "/agent_bots/99"],
)
def test_what_is_not_there_is_404(call: Account, path: str) -> None:
    answer = call("PATCH", path, {})

    assert answer.status_code == 404
    assert answer.json() == {"error": "Resource could not be found"}


# -- custom attributes ---------------------------------------------------------


def test_an_attribute_is_stored_and_shown_with_names(call: Account) -> None:
    made = call.ok("POST", ATTRIBUTES, TOPIC)

    assert made["attribute_display_type"] == "list"
    assert made["attribute_model"] == "conversation_attribute"
    assert made["attribute_values"] == ["Invoice", "Delivery"]
    assert call.ok("GET", ATTRIBUTES) == [made]


@pytest.mark.parametrize("model", ["conversation_attribute", "0"])
def test_attributes_of_one_kind_can_be_asked_for(call: Account, model: str) -> None:
    made = call.ok("POST", ATTRIBUTES, TOPIC)
    call.ok("POST", ATTRIBUTES, {**TOPIC, "attribute_model": "contact_attribute"})

    assert len(call.ok("GET", ATTRIBUTES)) == 2
    assert call.ok("GET", ATTRIBUTES, attribute_model=model) == [made]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attribute_key": None}, "Attribute key can't be blank"),
        ({"attribute_display_name": " "}, "Attribute display name can't be blank"),
        ({"attribute_key": "a b"}, "Attribute key has an invalid format"),
        (
            {"attribute_key": "status"},
            "Attribute key conflicts with a default attribute",
        ),
        ({"attribute_key": "taken"}, "Attribute key has already been taken"),
    ],
)
def test_a_bad_attribute_is_refused(call: Account, change: JSON, message: str) -> None:
    call.ok("POST", ATTRIBUTES, {**TOPIC, "attribute_key": "taken"})

    answer = call("POST", ATTRIBUTES, {**TOPIC, **change})

    assert answer.status_code == 422
    assert answer.json()["message"] == message
    assert len(call.ok("GET", ATTRIBUTES)) == 1


def test_a_kind_of_attribute_that_is_unknown_is_an_error(call: Account) -> None:
    body = {**TOPIC, "attribute_display_type": "table"}

    assert call("POST", ATTRIBUTES, body).status_code == 500


def test_a_changed_attribute_changes_the_forms_that_show_it(call: Account) -> None:
    made = call.ok("POST", ATTRIBUTES, TOPIC)
    show(call, 3, field())

    call.ok("PATCH", f"{ATTRIBUTES}/{made['id']}", {"attribute_values": ["Other"]})

    (shown,) = form(call, 3)["pre_chat_fields"]
    assert shown["values"] == ["Other"]
    assert shown["placeholder"] == "Topic"
    assert shown["required"] is True


def test_a_deleted_attribute_leaves_the_forms(call: Account) -> None:
    made = call.ok("POST", ATTRIBUTES, TOPIC)
    show(call, 3, field(), field(name="other"))

    answer = call("DELETE", f"{ATTRIBUTES}/{made['id']}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert [f["name"] for f in form(call, 3)["pre_chat_fields"]] == ["other"]
    assert call.ok("GET", ATTRIBUTES) == []


# -- inboxes -------------------------------------------------------------------


def field(name: str = "topic") -> JSON:
    return {
        "field_type": "conversation_attribute",
        "name": name,
        "type": "list",
        "label": "Topic",
        "placeholder": "Pick one",
        "values": ["Invoice", "Delivery"],
        "required": True,
        "enabled": True,
    }


def show(call: Account, id: int, *fields: JSON, **options: t.Any) -> JSON:
    """Set the fields of a form."""
    channel = {"pre_chat_form_options": {"pre_chat_fields": fields, **options}}
    changed: JSON = call.ok("PATCH", f"/inboxes/{id}", {"channel": channel})

    return changed


def form(call: Account, id: int) -> JSON:
    options: JSON = call.ok("GET", f"/inboxes/{id}")["pre_chat_form_options"]

    return options


def test_there_are_inboxes_to_begin_with(call: Account) -> None:
    listed = call.ok("GET", "/inboxes")["payload"]

    assert [(i["id"], i["channel_type"]) for i in listed] == [
        (3, "Channel::WebWidget"),
        (4, "Channel::WebWidget"),
        (5, "Channel::Email"),
    ]
    assert listed[0]["pre_chat_form_enabled"] is False
    assert [
        f["name"] for f in listed[0]["pre_chat_form_options"]["pre_chat_fields"]
    ] == [
        "emailAddress",
        "fullName",
        "phoneNumber",
    ]
    assert "pre_chat_form_options" not in listed[2]


def test_the_options_of_a_form_are_replaced_as_a_whole(call: Account) -> None:
    changed = show(call, 3, field())

    assert changed["pre_chat_form_options"] == {"pre_chat_fields": [field()]}
    assert form(call, 4) == admin.default_options()


def test_a_form_without_fields_gets_the_three_defaults(call: Account) -> None:
    show(call, 3, field(), pre_chat_message="Hello")

    changed = show(call, 3, pre_chat_message="Hello")

    assert changed["pre_chat_form_options"] == admin.default_options()


def test_unknown_keys_of_a_field_are_dropped(call: Account) -> None:
    changed = show(call, 3, {**field(), "made_by": "me"}, colour="red")

    assert changed["pre_chat_form_options"] == {"pre_chat_fields": [field()]}


def test_what_is_not_named_stays(call: Account) -> None:
    show(call, 3, field())
    call.ok("PATCH", "/inboxes/3", {"channel": {"pre_chat_form_enabled": True}})
    changed = call.ok("PATCH", "/inboxes/3", {"greeting_enabled": True})

    assert changed["pre_chat_form_enabled"] is True
    assert changed["greeting_enabled"] is True
    assert changed["pre_chat_form_options"]["pre_chat_fields"] == [field()]


def test_only_websites_have_a_form(call: Account) -> None:
    channel = {"pre_chat_form_enabled": True}

    changed = call.ok("PATCH", "/inboxes/5", {"channel": channel})

    assert "pre_chat_form_enabled" not in changed


# -- webhooks ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "keys"),
    [
        ("4.2.0", set()),
        ("4.8.0", {"name"}),
        ("4.12.0", {"name", "secret"}),
    ],
)
def test_a_webhook_has_what_its_version_knows(
    start: Start, version: str, keys: set[str]
) -> None:
    call = Account(start(version=version))

    made = call.ok("POST", "/webhooks", {**HOOK, "name": "App"})["payload"]["webhook"]

    assert set(made) == {"id", "url", "account_id", "subscriptions"} | keys
    assert call.ok("GET", "/webhooks") == {"payload": {"webhooks": [made]}}


def test_a_webhook_may_be_wrapped_in_its_name(call: Account) -> None:
    made = call.ok("POST", "/webhooks", {"webhook": HOOK})["payload"]["webhook"]

    assert made["url"] == HOOK["url"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": "https://app.example.com/taken"}, "Url has already been taken"),
        ({"url": "app.example.com"}, "Url is invalid"),
        ({"url": None}, "Url is invalid"),
        ({"subscriptions": []}, "Subscriptions Invalid events"),
        ({"subscriptions": ["tea_made"]}, "Subscriptions Invalid events"),
    ],
)
def test_a_bad_webhook_is_refused(call: Account, change: JSON, message: str) -> None:
    call.ok("POST", "/webhooks", {**HOOK, "url": "https://app.example.com/taken"})
    made = call.ok("POST", "/webhooks", HOOK)["payload"]["webhook"]

    refused = call("PATCH", f"/webhooks/{made['id']}", change)

    assert refused.status_code == 422
    assert refused.json()["message"] == message
    assert made in call.ok("GET", "/webhooks")["payload"]["webhooks"]


def test_a_webhook_keeps_its_secret_when_it_is_changed(call: Account) -> None:
    made = call.ok("POST", "/webhooks", HOOK)["payload"]["webhook"]
    change = {"subscriptions": ["message_updated"]}

    changed = call.ok("PATCH", f"/webhooks/{made['id']}", change)["payload"]["webhook"]

    assert changed == {**made, **change}


def test_a_webhook_made_through_the_api_gets_deliveries(
    sim: Simulator, call: Account, hook: Hook
) -> None:
    made = call.ok("POST", "/webhooks", {**HOOK, "url": hook.url})["payload"]["webhook"]

    sim.conversation().customer_says("Hello")

    sim.drain()
    ((body, headers),) = hook.got
    signature.verify(
        body,
        secrets=[made["secret"]],
        signature=headers[signature.SIGNATURE_HEADER],
        timestamp=headers[signature.TIMESTAMP_HEADER],
    )


def test_a_webhook_gets_deliveries_as_it_is_now(
    sim: Simulator, call: Account, hook: Hook
) -> None:
    made = call.ok("POST", "/webhooks", {**HOOK, "url": hook.url})["payload"]["webhook"]
    talk = sim.conversation()
    path = f"/webhooks/{made['id']}"

    call.ok("PATCH", path, {"subscriptions": ["conversation_status_changed"]})
    talk.customer_says("Hello")
    talk.resolve()
    sim.drain()
    assert [d.event for d in sim.deliveries] == ["conversation_status_changed"]

    call.ok("DELETE", path)
    talk.reopen()
    sim.drain()
    assert len(hook.got) == 1


def test_deliveries_do_not_leave_this_machine(sim: Simulator, call: Account) -> None:
    call.ok("POST", "/webhooks", HOOK)

    sim.conversation().customer_says("Hello")
    sim.drain()

    assert sim.deliveries == []


# -- agent bots ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "role", "keys"),
    [
        ("4.12.0", "administrator", {"access_token"}),
        ("4.13.0", "administrator", {"access_token", "secret"}),
        ("4.15.0", "agent", {"access_token"}),
        ("4.16.1", "agent", set()),
        ("4.16.1", "administrator", {"access_token", "secret"}),
    ],
)
def test_who_sees_the_secrets_of_a_bot(
    start: Start, version: str, role: t.Any, keys: set[str]
) -> None:
    (bot,) = Account(start(version=version, role=role)).ok("GET", "/agent_bots")

    assert bot.keys() & {"access_token", "secret"} == keys


def test_a_bot_is_linked_to_one_inbox_and_unlinked(call: Account) -> None:
    made = call.ok("POST", "/agent_bots", BOT)

    assert call.ok("GET", "/inboxes/3/agent_bot") == {"agent_bot": {}}
    assert (
        call.ok("POST", "/inboxes/3/set_agent_bot", {"agent_bot": made["id"]}) is None
    )
    assert call.ok("GET", "/inboxes/3/agent_bot") == {"agent_bot": made}
    assert call.ok("GET", "/inboxes/4/agent_bot") == {"agent_bot": {}}
    call.ok("POST", "/inboxes/3/set_agent_bot", {"agent_bot": None})
    assert call.ok("GET", "/inboxes/3/agent_bot") == {"agent_bot": {}}


@pytest.mark.parametrize("bot_id", [99, "x"])
def test_an_unknown_bot_is_not_linked(call: Account, bot_id: t.Any) -> None:
    answer = call("POST", "/inboxes/3/set_agent_bot", {"agent_bot": bot_id})

    assert answer.status_code == 404


def test_a_deleted_bot_is_linked_to_nothing(call: Account) -> None:
    made = call.ok("POST", "/agent_bots", BOT)
    call.ok("POST", "/inboxes/3/set_agent_bot", {"agent_bot": made["id"]})

    call.ok("DELETE", f"/agent_bots/{made['id']}")

    assert call.ok("GET", "/inboxes/3/agent_bot") == {"agent_bot": {}}
    assert made not in call.ok("GET", "/agent_bots")


def test_a_url_of_a_bot_has_a_limit(call: Account) -> None:
    long = {**BOT, "outgoing_url": "https://app.example.com/" + "x" * 2048}

    assert call("POST", "/agent_bots", long).status_code == 422


def test_a_linked_bot_gets_the_deliveries_of_its_inbox(
    sim: Simulator, call: Account, hook: Hook
) -> None:
    made = call.ok("POST", "/agent_bots", {**BOT, "outgoing_url": hook.url})
    call.ok("POST", "/inboxes/3/set_agent_bot", {"agent_bot": made["id"]})

    talk = sim.conversation(inbox_id=3)
    assert talk.status == "pending"
    talk.customer_says("Hello")
    sim.conversation(inbox_id=4).customer_says("Hello")

    sim.drain()
    ((body, headers),) = hook.got
    signature.verify(
        body,
        secrets=[made["secret"]],
        signature=headers[signature.SIGNATURE_HEADER],
        timestamp=headers[signature.TIMESTAMP_HEADER],
    )

    call.ok("POST", "/inboxes/3/set_agent_bot", {})
    assert sim.conversation().status == "open"
