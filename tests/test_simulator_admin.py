"""What an administrator sets up through the simulator's API, over real HTTP."""

from __future__ import annotations

import typing as t

import pytest
import requests
from support.simulation import JSON, NO_BOTS, NOT_FOUND, Client, Hook, values, verify

from flask_chatwoot.simulator import Simulator, admin, routes

ATTRIBUTES = "/custom_attribute_definitions"
MODEL = "conversation_attribute"
VALUES = ["Invoice", "Delivery"]
TOPIC = {
    **{"attribute_display_name": "Topic", "attribute_key": "topic"},
    **{"attribute_display_type": 6, "attribute_model": 0, "attribute_values": VALUES},
}
HOOK = {"url": "https://app.example.com/hook", "subscriptions": ["message_created"]}
NO_EVENTS: list[t.Any] = [[], ["tea_made"], [{}]]
INVALID = "Subscriptions Invalid events"
TAKEN = "https://app.example.com/taken"
BOT = {"name": "Assistant", "outgoing_url": "https://app.example.com/hook"}
LINK = "/inboxes/3/set_agent_bot"
PATHS = ("/inboxes", "/webhooks", "/agent_bots")
NO_RIGHT = {"error": "You are not authorized to do this action"}
FIELD = {
    **{"field_type": MODEL, "name": "topic", "type": "list"},
    **{"label": "Topic", "placeholder": "Pick one", "values": VALUES},
    **{"required": True, "enabled": True},
}


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

    def webhook(self, **fields: t.Any) -> JSON:
        """Create a webhook."""
        body = self.ok("POST", "/webhooks", HOOK | fields)["payload"]["webhook"]
        return t.cast(JSON, body)

    def link(self, bot_id: t.Any) -> None:
        """Make a bot, or none, the bot of inbox 3."""
        body = {"agent_bot": bot_id}
        assert self.ok("POST", LINK, body) is None

    def linked(self, inbox_id: int = 3) -> t.Any:
        return self.ok("GET", f"/inboxes/{inbox_id}/agent_bot")["agent_bot"]

    def show(self, *fields: JSON, **options: t.Any) -> t.Any:
        """Set the fields of the form of inbox 3, and return its options."""
        channel = {"pre_chat_form_options": {"pre_chat_fields": fields, **options}}
        changed = self.ok("PATCH", "/inboxes/3", {"channel": channel})
        return changed["pre_chat_form_options"]

    def form(self, id: int = 3) -> t.Any:
        return self.ok("GET", f"/inboxes/{id}")["pre_chat_form_options"]

    def fields(self) -> t.Any:
        return self.form()["pre_chat_fields"]


@pytest.fixture
def call(sim: Simulator) -> Account:
    return Account(sim)


# -- who may -------------------------------------------------------------------


def path_of(endpoint: str) -> tuple[str, str]:
    method, path = routes.ADMIN[endpoint][:2]
    path = path.removeprefix("/api/v1/accounts/<int:account_id>")
    return method, path.replace("<int:id>", "3")


@pytest.mark.parametrize("endpoint", routes.ADMIN)
def test_a_bot_token_is_accepted_nowhere(sim: Simulator, endpoint: str) -> None:
    answer = Account(sim, sim.bot_token)(*path_of(endpoint), {})
    assert (answer.status_code, answer.json()) == (401, NO_BOTS)


@pytest.mark.parametrize("endpoint", routes.ADMIN)
@pytest.mark.parametrize("role", ["agent"])
def test_an_agent_may_look_at_some_things(call: Account, endpoint: str) -> None:
    answer = call(*path_of(endpoint), {})
    looks = {"list_attributes", "list_inboxes", "inbox", "inbox_bot", "list_bots"}
    assert answer.status_code == (200 if endpoint in looks else 401)
    assert endpoint in looks or answer.json() == NO_RIGHT


@pytest.mark.parametrize(("version", "status"), [("4.13.0", 200), ("4.14.0", 401)])
@pytest.mark.parametrize("role", ["agent"])
def test_agents_could_define_attributes_before_4_14(call: Account, status: int) -> None:
    assert call("POST", ATTRIBUTES, TOPIC).status_code == status


@pytest.mark.parametrize(
    ("version", "status"), [("4.15.0", 200), ("4.16.0", 500), ("4.16.1", 200)]
)
def test_4_16_0_fails_to_serve_agent_bots(call: Account, status: int) -> None:
    assert call("GET", "/agent_bots").status_code == status
    assert call("POST", "/agent_bots", BOT).status_code == status
    assert call("GET", "/inboxes/3/agent_bot").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        *(("PATCH", f"{path}/99", {}) for path in (ATTRIBUTES, *PATHS)),
        *(("POST", LINK, {"agent_bot": id}) for id in (99, "x", "²")),
    ],
)
def test_an_unknown_id_is_not_found(
    call: Account, method: str, path: str, body: JSON
) -> None:
    answer = call(method, path, body)
    assert (answer.status_code, answer.json()) == (404, NOT_FOUND)


# -- custom attributes ---------------------------------------------------------


@pytest.mark.parametrize("model", [MODEL, "0"])
def test_attributes_are_shown_with_names(call: Account, model: str) -> None:
    made = call.ok("POST", ATTRIBUTES, TOPIC)
    other = call.ok("POST", ATTRIBUTES, {**TOPIC, "attribute_model": 1})
    types = values(made, "attribute_display_type attribute_model")

    assert (types, made["attribute_values"]) == (["list", MODEL], VALUES)
    assert call.ok("GET", ATTRIBUTES) == [made, other]
    assert call.ok("GET", ATTRIBUTES, attribute_model=model) == [made]


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("attribute_key", None, "Attribute key can't be blank"),
        ("attribute_display_name", " ", "Attribute display name can't be blank"),
        ("attribute_key", "a b", "Attribute key has an invalid format"),
        ("attribute_key", "status", "Attribute key conflicts with a default attribute"),
        ("attribute_key", "taken", "Attribute key has already been taken"),
        ("attribute_display_type", "table", None),
    ],
)
def test_a_bad_attribute_is_refused(
    call: Account, key: str, value: str | None, problem: str | None
) -> None:
    call.ok("POST", ATTRIBUTES, {**TOPIC, "attribute_key": "taken"})
    answer = call("POST", ATTRIBUTES, {**TOPIC, key: value})

    assert answer.status_code == (422 if problem else 500)
    assert not problem or answer.json()["message"] == problem
    assert len(call.ok("GET", ATTRIBUTES)) == 1


def test_the_forms_follow_an_attribute(call: Account) -> None:
    path = f"{ATTRIBUTES}/{call.ok('POST', ATTRIBUTES, TOPIC)['id']}"
    call.show(FIELD, {**FIELD, "name": "other"})
    call.ok("PATCH", path, {"attribute_values": ["Other"]})
    shown = call.fields()[0]
    answer = call("DELETE", path)

    assert values(shown, "values placeholder required") == [["Other"], "Topic", True]
    assert (answer.status_code, answer.content) == (204, b"")
    assert [field["name"] for field in call.fields()] == ["other"]
    assert call.ok("GET", ATTRIBUTES) == []


# -- inboxes -------------------------------------------------------------------


def test_there_are_inboxes_to_begin_with(call: Account) -> None:
    inboxes = call.ok("GET", "/inboxes")["payload"]
    first, _, third = inboxes
    names = [field["name"] for field in call.fields()]

    assert [values(inbox, "id channel_type") for inbox in inboxes] == [
        *([id, "Channel::WebWidget"] for id in (3, 4)),
        [5, "Channel::Email"],
    ]
    assert names == ["emailAddress", "fullName", "phoneNumber"]
    assert first["pre_chat_form_enabled"] is False
    assert first["pre_chat_form_options"] == call.form()
    assert "pre_chat_form_options" not in third


@pytest.mark.parametrize(
    ("fields", "options", "after"),
    [
        ([FIELD], {}, {"pre_chat_fields": [FIELD]}),
        ([], {"pre_chat_message": "Hello"}, admin.default_options()),
        ([{**FIELD, "by": "me"}], {"colour": "red"}, {"pre_chat_fields": [FIELD]}),
    ],
    ids=["replaced as a whole", "no fields", "unknown keys"],
)
def test_the_options_of_a_form_are_replaced(
    call: Account, fields: list[JSON], options: JSON, after: JSON
) -> None:
    call.show(FIELD, pre_chat_message="Hello")
    assert call.show(*fields, **options) == after
    assert call.form(4) == admin.default_options()


def test_a_field_that_is_not_in_the_request_is_unchanged(call: Account) -> None:
    call.show(FIELD)
    call.ok("PATCH", "/inboxes/3", {"channel": {"pre_chat_form_enabled": True}})
    changed = call.ok("PATCH", "/inboxes/3", {"greeting_enabled": True})

    assert values(changed, "pre_chat_form_enabled greeting_enabled") == [True, True]
    assert changed["pre_chat_form_options"]["pre_chat_fields"] == [FIELD]


def test_only_websites_have_a_form(call: Account) -> None:
    body = {"channel": {"pre_chat_form_enabled": True}}
    assert "pre_chat_form_enabled" not in call.ok("PATCH", "/inboxes/5", body)


# -- webhooks ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "keys"),
    [("4.2.0", set()), ("4.8.0", {"name"}), ("4.12.0", {"name", "secret"})],
)
def test_a_webhook_has_what_its_version_knows(call: Account, keys: set[str]) -> None:
    made = call.webhook(name="App")
    assert set(made) == {"id", "url", "account_id", "subscriptions"} | keys
    assert call.ok("GET", "/webhooks") == {"payload": {"webhooks": [made]}}


def test_a_webhook_may_be_wrapped_in_its_name(call: Account) -> None:
    made = call.ok("POST", "/webhooks", {"webhook": HOOK})["payload"]["webhook"]
    assert made["url"] == HOOK["url"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"url": TAKEN}, "Url has already been taken"),
        *(({"url": url}, "Url is invalid") for url in ("app.example.com", None)),
        *(({"subscriptions": s}, INVALID) for s in NO_EVENTS),
    ],
    ids=repr,
)
def test_a_bad_webhook_is_refused(call: Account, change: JSON, message: str) -> None:
    call.webhook(url=TAKEN)
    made = call.webhook()
    refused = call("PATCH", f"/webhooks/{made['id']}", change)

    assert (refused.status_code, refused.json()["message"]) == (422, message)
    assert made in call.ok("GET", "/webhooks")["payload"]["webhooks"]


def test_a_webhook_gets_what_it_subscribes_to_until_it_is_deleted(
    sim: Simulator, call: Account, hook: Hook
) -> None:
    hook.sim = sim
    made = call.webhook(url=hook.url)
    path = f"/webhooks/{made['id']}"
    talk = sim.conversation()
    talk.customer_says("Hello")
    [(body, headers)] = hook.drained()
    verify(body, headers, made["secret"])

    change = {"subscriptions": ["conversation_status_changed"]}
    changed = call.ok("PATCH", path, change)["payload"]["webhook"]
    talk.customer_says("Hello")
    talk.resolve()
    assert changed == {**made, **change}
    assert hook.events == ["message_created", "conversation_status_changed"]

    call.ok("DELETE", path)
    talk.reopen()
    assert len(hook.events) == 2


def test_deliveries_do_not_leave_this_machine(sim: Simulator, call: Account) -> None:
    call.webhook()
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
def test_the_secrets_of_a_bot_are_shown(call: Account, keys: set[str]) -> None:
    [bot] = call.ok("GET", "/agent_bots")
    assert bot.keys() & {"access_token", "secret"} == keys


def test_a_bot_is_linked_to_one_inbox_until_it_is_deleted(call: Account) -> None:
    made = call.ok("POST", "/agent_bots", BOT)
    before = call.linked()
    call.link(made["id"])
    assert (before, call.linked(), call.linked(4)) == ({}, made, {})

    call.link(None)
    assert call.linked() == {}

    call.link(made["id"])
    call.ok("DELETE", f"/agent_bots/{made['id']}")
    assert call.linked() == {}
    assert made not in call.ok("GET", "/agent_bots")


def test_a_linked_bot_gets_the_deliveries_of_its_inbox(
    sim: Simulator, call: Account, hook: Hook
) -> None:
    made = call.ok("POST", "/agent_bots", {**BOT, "outgoing_url": hook.url})
    call.link(made["id"])
    talks = [sim.conversation(inbox_id=id) for id in (3, 4)]

    for talk in talks:
        talk.customer_says("Hello")

    sim.drain()
    [(body, headers)] = hook.got
    verify(body, headers, made["secret"])
    call.ok("POST", LINK, {})

    assert talks[0].status == "pending"
    assert sim.conversation().status == "open"


def test_a_url_of_a_bot_has_a_limit(call: Account) -> None:
    long = {**BOT, "outgoing_url": "https://app.example.com/" + "x" * 2048}
    assert call("POST", "/agent_bots", long).status_code == 422
    assert call("POST", "/agent_bots", {**BOT, "outgoing_url": 5}).status_code == 200
