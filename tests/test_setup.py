"""Setting Chatwoot up through its API and undoing just that, over real HTTP."""

from __future__ import annotations

import copy
import typing as t
from collections.abc import Callable
from pathlib import Path

import pytest
from support.commands import Administered

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import SetupError, TransientError
from flask_chatwoot.ownership.mode import Mode, vocabulary
from flask_chatwoot.payloads.events import SUBSCRIPTIONS
from flask_chatwoot.setup import account
from flask_chatwoot.setup.plan import (
    SetupPlan,
    SetupRequest,
    environment,
    is_private,
    plan_setup,
)
from flask_chatwoot.setup.record import SetupRecord, undo_steps
from flask_chatwoot.setup.undo import (
    MARK,
    NOTE,
    AddedEvents,
    MadeAttribute,
    MadeBot,
    MadeWebhook,
    ShownField,
    UndoStep,
)
from flask_chatwoot.simulator import Fault, Simulator, admin

JSON = dict[str, t.Any]
URL = "https://app.example.com/chatwoot/webhook"
OTHER_URL = "https://other.example.com/chatwoot/webhook"

with_and_without_bot = pytest.mark.parametrize("bot", [False, True])


class Scene(Administered):
    """A simulated Chatwoot with one website inbox, and an administrator's client."""

    def __init__(self, sim: Simulator, path: Path) -> None:
        self.sim = sim
        self.client = ChatwootClient(sim.url, sim.account_id, sim.user_token)
        self.path = path
        del self.settings.inboxes[4]

    @property
    def record(self) -> SetupRecord:
        """As the next process would read it."""
        return SetupRecord(str(self.path), base_url=self.sim.url, account_id=1)

    def plan(self, **wanted: t.Any) -> SetupPlan:
        request = SetupRequest(**{"url": URL, **wanted})
        return plan_setup(account.read(self.client), request)

    def apply(self, plan: SetupPlan) -> dict[str, str]:
        """Do what is planned; the settings that the app needs from then on."""
        lines: dict[str, str] = {}
        record = self.record

        for step, _ in plan.steps:
            result = step.apply(self.client)
            lines |= result.environment

            if result.undo:
                record.add(result.undo)

        return lines

    def set_up(self, **wanted: t.Any) -> dict[str, str]:
        return self.apply(self.plan(**wanted))

    def tear_down(self, url: str | None = None) -> list[str]:
        """Undo it; what was said about each step."""
        current, record, texts = account.read(self.client), self.record, []

        for step in undo_steps(current, record, url):
            undo = None

            if step.check(current).needed:
                result = step.apply(self.client)
                texts.append(result.text)
                undo = result.undo

            if undo is None:
                record.remove(step)

        return texts

    @property
    def state(self) -> t.Any:
        """All that can be set up, without what the simulator generates."""
        names = ("attributes", "inboxes", "webhooks", "bots", "links")
        return copy.deepcopy([[*getattr(self.settings, n).items()] for n in names])

    @property
    def shown(self) -> list[str]:
        """The names of the fields of the form."""
        return [field["name"] for field in self.form]

    def form_of(self, id: int) -> t.Any:
        return self.settings.inboxes[id]["pre_chat_form_options"]["pre_chat_fields"]

    # -- what others set up --------------------------------------------------------

    def make(self, path: str, body: JSON) -> t.Any:
        return self.client.call("POST", path, body)

    def set_form(self, options: JSON, *, on: bool = True, id: int = 3) -> None:
        self.settings.inboxes[id] |= {
            "pre_chat_form_enabled": on,
            "pre_chat_form_options": options,
        }

    def add_inbox(self, id: int, name: str = "Website") -> None:
        self.settings.inboxes[id] = {**self.settings.inboxes[3], "id": id, "name": name}

    def add_attribute(self, *values: str, type: int = 6, model: int = 0) -> None:
        kinds = {"attribute_display_type": type, "attribute_model": model}
        names = {"attribute_display_name": "Who", "attribute_key": "support_mode"}
        body = {**names, **kinds, "attribute_values": [*values]}
        self.make("/custom_attribute_definitions", body)

    def add_webhook(self, *events: str, url: str = URL) -> None:
        self.make("/webhooks", {"url": url, "subscriptions": [*events]})

    def link(self, bot_id: int, *, inbox_id: int = 3) -> None:
        self.make(f"/inboxes/{inbox_id}/set_agent_bot", {"agent_bot": bot_id})


def field(name: str, *, enabled: bool = True) -> JSON:
    return {"field_type": "conversation_attribute", "name": name, "enabled": enabled}


@pytest.fixture
def scene(version: str, tmp_path: Path) -> t.Iterator[Scene]:
    with Simulator(retry_pause=0.0, version=version) as sim:
        yield Scene(sim, tmp_path / "setup.json")
        # In every test, only what Chatwoot describes may be sent.
        assert_described(sim)


# -- what Chatwoot describes ---------------------------------------------------

SUBSCRIBABLE: t.Final = {
    *("conversation_created", "conversation_status_changed", "conversation_updated"),
    *("message_created", "message_updated", "contact_created", "contact_updated"),
    "webwidget_triggered",
}
FIELD: t.Final = {
    **dict.fromkeys(("field_type", "label", "placeholder", "name", "type"), str),
    **{"locale": str, "values": [str], "required": bool, "enabled": bool},
}
CHANNEL: t.Final = {
    "pre_chat_form_enabled": bool,
    "pre_chat_form_options": {"pre_chat_message": object, "pre_chat_fields": [FIELD]},
}
"""What ``EDITABLE_ATTRS`` of ``web_widget.rb`` lets through."""

DESCRIBED: t.Final[t.Mapping[str, t.Mapping[str, t.Any]]] = {
    "create_attribute": {
        **{"attribute_display_name": str, "attribute_display_type": int},
        **{"attribute_description": str, "attribute_key": str},
        **{"attribute_values": [str], "attribute_model": int},
    },
    "update_attribute": {"attribute_values": [str]},
    "create_webhook": {"url": str, "subscriptions": SUBSCRIBABLE, "name": str},
    "update_webhook": {"url": str, "subscriptions": SUBSCRIBABLE},
    "create_bot": {
        **{"name": str, "description": str, "outgoing_url": str},
        **{"bot_type": int, "bot_config": object},
    },
    "set_inbox_bot": {"agent_bot": (int, type(None))},
    "update_inbox": {"channel": CHANNEL},
}
"""Key to type of what may be sent, or to the values a list may have, as Chatwoot's
OpenAPI description has it; a webhook's ``name`` and the ``null`` that unlinks a bot are
from its controllers."""

REQUIRED: t.Final[t.Mapping[str, set[str]]] = {
    "create_attribute": {"attribute_display_name", "attribute_key"},
    "create_webhook": {"url", "subscriptions"},
    "set_inbox_bot": {"agent_bot"},
    "update_inbox": {"channel"},
}


def assert_described(sim: Simulator) -> None:
    for call in sim.calls:
        if call.method in ("POST", "PATCH"):
            assert REQUIRED.get(str(call.endpoint), set()) <= call.json.keys()
            assert fits(call.json, DESCRIBED[str(call.endpoint)]), call


def fits(value: t.Any, kind: t.Any) -> bool:
    if isinstance(kind, dict):
        known = value.keys() <= kind.keys()
        return known and all(fits(value[key], kind[key]) for key in value)

    if isinstance(kind, list):
        return isinstance(value, list) and all(fits(each, kind[0]) for each in value)

    if isinstance(kind, set):
        return isinstance(value, list) and kind.issuperset(value)

    return isinstance(value, kind)


# -- setup ---------------------------------------------------------------------


def test_an_empty_account_gets_attribute_form_and_webhook(scene: Scene) -> None:
    plan = scene.plan()

    assert [text for _, text in plan.steps] == [
        "Create the attribute support_mode of conversations, 'Whom do you want to "
        "write to?': a list of AI agent, Human.",
        "Show support_mode in the pre-chat form of inbox 3 (Website) (its 3 other "
        "fields stay), and switch the form on.",
        f"Create an account webhook to {URL} for message_created, message_updated, "
        "conversation_status_changed, conversation_updated.",
    ]
    assert (plan.warnings, scene.writes) == ((), [])

    lines = scene.apply(plan)

    assert scene.attribute == scene.attribute | {
        "attribute_key": "support_mode",
        "attribute_display_type": "list",
        "attribute_model": "conversation_attribute",
        "attribute_values": ["AI agent", "Human"],
    }
    assert scene.inbox["pre_chat_form_enabled"] is True
    assert scene.form[-1] == {
        **field("support_mode"),
        "type": "list",
        "label": "Whom do you want to write to?",
        "placeholder": "Whom do you want to write to?",
        "values": ["AI agent", "Human"],
        "required": True,
    }
    wanted = {"url": URL, "name": MARK, "subscriptions": [*SUBSCRIPTIONS]}
    assert scene.webhook == scene.webhook | wanted
    assert lines == {"CHATWOOT_WEBHOOK_SECRET": scene.webhook["secret"]}


@with_and_without_bot
@pytest.mark.parametrize("version", ["4.2.0", "4.12.0", "4.15.0", "4.16.2"])
def test_a_second_setup_changes_nothing(scene: Scene, bot: bool) -> None:
    scene.set_up(agent_bot=bot)
    before = scene.state
    plan = scene.plan(agent_bot=bot)

    assert (plan.steps, len(plan.already)) == ((), 3 + bot)
    assert scene.apply(plan) == {}
    assert scene.state == before


def test_the_texts_of_the_options_can_be_chosen(scene: Scene) -> None:
    options = {Mode.BOT: "AI агент", Mode.HUMAN: "Человек"}
    scene.set_up(options=options)

    texts = ["AI агент", "Человек"]
    assert scene.attribute["attribute_values"] == scene.form[-1]["values"] == texts
    assert scene.plan(options=options).steps == ()
    assert scene.plan().steps == ()  # other texts with the same meaning will do


def test_other_fields_of_a_form_and_their_order_stay(scene: Scene) -> None:
    plan = scene.plan()  # the form is read again right before it is changed
    fields = [field("topic"), *admin.default_options()["pre_chat_fields"][::-1]]
    scene.set_form({"pre_chat_message": "Hello", "pre_chat_fields": fields})
    scene.apply(plan)

    assert (scene.form[:-1], scene.shown[-1]) == (fields, "support_mode")
    assert scene.inbox["pre_chat_form_options"]["pre_chat_message"] == "Hello"


def test_a_disabled_field_is_enabled_in_its_position(scene: Scene) -> None:
    scene.set_up()
    *others, own = scene.form
    off = {**own, "enabled": False, "required": False}
    scene.set_form({"pre_chat_fields": [off, *others]}, on=False)
    scene.set_up()

    assert scene.form == [{**off, "enabled": True}, *others]
    assert scene.inbox["pre_chat_form_enabled"] is True


def test_several_inboxes_can_be_chosen(scene: Scene) -> None:
    scene.add_inbox(7)
    scene.add_inbox(8)
    scene.set_up(inbox_ids=(3, 8, 3))
    assert [len(scene.form_of(id)) for id in (3, 7, 8)] == [4, 3, 4]


def test_missing_options_are_added_to_an_attribute(scene: Scene) -> None:
    scene.add_attribute("Robot", "Mensch")
    words = vocabulary(bot=["robot"], human=["mensch"])
    exists = "The attribute support_mode exists, with its options."
    assert scene.plan(words=words).already == (exists,)
    scene.attribute["attribute_values"] = ["Robot", "Human"]
    scene.set_up()

    assert scene.attribute["attribute_values"] == ["Robot", "Human", "AI agent"]
    assert scene.attribute["attribute_display_name"] == scene.form[-1]["label"]
    assert scene.form[-1]["label"] == "Who"


def test_an_attribute_of_contacts_is_another_one(scene: Scene) -> None:
    scene.add_attribute(model=1)
    assert "Create the attribute" in scene.plan().steps[0][1]


def test_an_existing_webhook_is_subscribed_to_missing_events(scene: Scene) -> None:
    scene.add_webhook("webwidget_triggered", "message_created")
    assert scene.set_up() == {}
    assert {*scene.webhook["subscriptions"]} == {*SUBSCRIPTIONS, "webwidget_triggered"}
    assert scene.webhook["name"] is None


@with_and_without_bot
def test_two_setups_at_once_do_everything_once(scene: Scene, bot: bool) -> None:
    plans = [scene.plan(agent_bot=bot) for _ in range(2)]
    undone = [
        [step.apply(scene.client).undo is not None for step, _ in plan.steps]
        for plan in plans
    ]
    tables = (scene.settings.attributes, scene.settings.webhooks, scene.settings.bots)

    assert undone == [[True] * (3 + bot), [False] * (3 + bot)]
    assert [*map(len, tables)] == [1, 1 - bot, 1 + bot]
    assert (len(scene.form), len(scene.writes)) == (4, 3 + bot)


# -- what setup refuses --------------------------------------------------------

COMMA: t.Final = {Mode.HUMAN: "A human, please"}
BOT = {"agent_bot": True}
NO_ADMINISTRATOR = r"mistyped, or not .* CHATWOOT_ADMIN_TOKEN .* administrator"
OTHER_BOT = "agent bot 3 answers in inbox 3"
Prepare = Callable[[Scene], object]


def nothing(_: Scene) -> None:
    """Prepare nothing."""


def use_the_bots_token(scene: Scene) -> None:
    scene.client = ChatwootClient(scene.sim.url, 1, scene.sim.bot_token)


def refuse(scene: Scene, message: str, **wanted: t.Any) -> None:
    with pytest.raises(SetupError, match=message):
        scene.plan(**wanted)


@pytest.mark.parametrize(
    ("prepare", "wanted", "message"),
    [
        (lambda s: s.add_inbox(7, "Shop"), {}, r"--inbox.*3 \(Web.*inbox 7 \(Shop\)"),
        (nothing, {"inbox_ids": (9,)}, r"no inbox 9\. .* inbox 3 \(Website\)"),
        (lambda s: s.add_attribute(type=0), {}, "of type text .*_SUPPORT_MODE_ATTR"),
        (nothing, {"options": {Mode.BOT: "Human"}}, "means human to this app"),
        (nothing, {"options": {Mode.HUMAN: "bot"}}, "means bot to this app"),
        (nothing, {"options": {Mode.BOT: "X", Mode.HUMAN: " x"}}, "must differ"),
        (nothing, {"options": COMMA}, "comma, and CHATWOOT_HUMAN_VALUES"),
        (lambda s: s.link(s.sim.bot.id), BOT, f"{OTHER_BOT} .*'Assistant'.*--inbox"),
        (use_the_bots_token, {}, NO_ADMINISTRATOR),
        (lambda s: setattr(s.sim._state, "role", "agent"), {}, NO_ADMINISTRATOR),
    ],
)
def test_what_prevents_setup_is_an_error_with_a_remedy(
    scene: Scene, prepare: Prepare, wanted: JSON, message: str
) -> None:
    prepare(scene)
    refuse(scene, message, **wanted)


def test_the_app_may_configure_an_option_with_a_comma(scene: Scene) -> None:
    words = vocabulary(human=COMMA.values())
    assert COMMA[Mode.HUMAN] in scene.plan(options=COMMA, words=words).steps[0][1]


@pytest.mark.parametrize("version", ["4.16.0"])
def test_4_16_0_cannot_list_bots(scene: Scene) -> None:
    refuse(scene, r"4\.16\.1", agent_bot=True)
    assert len(scene.plan().steps) == 3


def test_an_error_of_the_server_does_not_mean_missing_rights(scene: Scene) -> None:
    scene.sim.inject(Fault.SERVER_ERROR, endpoint="list_webhooks")

    with pytest.raises(TransientError):
        scene.plan()


def test_a_bot_that_was_linked_after_the_plan_stays(scene: Scene) -> None:
    plan = scene.plan(agent_bot=True)
    scene.link(scene.sim.bot.id)

    with pytest.raises(SetupError, match=OTHER_BOT):
        scene.apply(plan)

    assert scene.settings.links == {3: scene.sim.bot.id}


@pytest.mark.parametrize("number", [0, -1], ids=["attribute", "webhook"])
def test_an_answer_without_an_id_is_an_error(
    scene: Scene, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    step, _ = scene.plan().steps[number]
    empty: JSON = {"GET": [], "POST": {}}
    monkeypatch.setattr(scene.client, "call", lambda how, *_, **__: empty[how])

    with pytest.raises(SetupError, match="contains no id"):
        step.apply(scene.client)


# -- warnings --------------------------------------------------------------------

APP = {"url": "http://app:5000/hook"}
PENDING = "new conversations in inbox 3 (Website) begin as pending"
LABEL = "exists with the label 'Who'; setup does not change that"
NO_FORM = "No website inbox is chosen, so no form asks the customer"
OFF = "should be switched off"
TWICE = "every message would arrive twice"


def greet(scene: Scene) -> None:
    scene.inbox["greeting_enabled"] = True


def send_anyway(scene: Scene) -> None:
    texts = {"working_hours_enabled": True, "out_of_office_message": "Closed."}
    scene.inbox.update(enable_email_collect=True, **texts)


def connect_others(scene: Scene) -> None:
    scene.add_inbox(7, "Shop")
    scene.settings.integrations.dialogflow.append(3)
    scene.settings.integrations.captain["Cap"] = [3, 7]
    scene.link(scene.sim.bot.id)


def set_up_elsewhere(scene: Scene) -> None:
    scene.set_up(url=URL.replace("app.", "old."))
    scene.set_up(url="https://app.example.com/another/path")


def name_who(scene: Scene) -> None:
    scene.add_attribute("AI agent", "Human")


@pytest.mark.parametrize(
    ("version", "prepare", "wanted", "texts"),
    [
        ("4.16.2", nothing, {"inbox_ids": (5,)}, [NO_FORM, "inbox 5 (Mail) is no web"]),
        ("4.13.0", nothing, APP, []),
        ("4.14.0", nothing, APP, ["Upgrade to 4.14.1"]),
        ("4.14.1", nothing, APP, ["Set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true"]),
        ("4.16.2", nothing, {"url": "http://app.example.com/"}, ["is not https"]),
        ("4.16.2", nothing, BOT, [PENDING, f"{OFF}: none."]),
        ("4.6.0", nothing, BOT, [PENDING, OFF, "stays pending"]),
        ("4.16.2", greet, BOT, [PENDING, f"{OFF}: inbox 3 (Website)."]),
        ("4.16.2", greet, {}, [f"{OFF}: inbox 3 (Website)."]),
        ("4.16.2", send_anyway, {}, ["for the customer's e-mail address: inbox 3"]),
        ("4.16.2", send_anyway, BOT, [PENDING, "an out-of-office text: inbox 3"]),
        (
            "4.16.2",
            connect_others,
            {"inbox_ids": (3,)},
            [
                "(Website) are also answered by the agent bot 3 (Assistant), Captain "
                "(Cap), Dialogflow; they",
                "inbox 7 (Shop) are also answered by Captain (Cap); they",
            ],
        ),
        ("4.16.2", name_who, {"label": None}, []),
        ("4.16.2", name_who, {"label": "Who"}, []),
        ("4.16.2", name_who, {"label": "Whom?"}, [LABEL]),
        ("4.16.2", lambda s: s.set_up(**BOT), {}, [TWICE]),
        ("4.16.2", lambda s: s.set_up(), BOT, [TWICE, PENDING, OFF]),
        ("4.16.2", set_up_elsewhere, {}, ["A webhook to https://old.example.com/chat"]),
    ],
)
def test_a_plan_warns_of_what_an_administrator_should_know(
    scene: Scene, prepare: Prepare, wanted: JSON, texts: list[str]
) -> None:
    prepare(scene)

    for text, warning in zip(texts, scene.plan(**wanted).warnings, strict=True):
        assert text in warning


@with_and_without_bot
def test_an_inbox_without_a_form_gets_no_field(scene: Scene, bot: bool) -> None:
    scene.set_up(agent_bot=bot, inbox_ids=(5,))
    assert (len(scene.writes), [*scene.settings.links]) == (2 + bot, [5] * bot)


# -- URLs and tokens -----------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "bot", "signs"),
    [
        ("4.11.0", False, False),
        ("4.12.0", False, True),
        ("4.12.0", True, False),
        ("4.13.0", True, True),
    ],
)
def test_the_url_gets_a_token_where_deliveries_are_not_signed(
    scene: Scene, bot: bool, signs: bool
) -> None:
    lines = scene.set_up(agent_bot=bot)

    url = scene.bot["outgoing_url"] if bot else scene.webhook["url"]
    token = lines.get("CHATWOOT_WEBHOOK_TOKEN", "")
    assert ("CHATWOOT_WEBHOOK_SECRET" in lines) is signs
    assert url == (URL if signs else f"{URL}?token={token}")
    assert len(token) >= 24 or (signs and not token)


def test_the_apps_token_is_used_and_not_shown(scene: Scene) -> None:
    plan = scene.plan(token="a b&c")

    assert "a b&c" not in repr(plan)
    assert f"{URL}?token=… for" in plan.steps[-1][1]

    lines = scene.apply(plan)

    assert scene.webhook["url"] == f"{URL}?token=a+b%26c"
    assert "CHATWOOT_WEBHOOK_TOKEN" not in lines
    assert scene.plan(token="a b&c").steps == ()

    with pytest.raises(SetupError, match="CHATWOOT_WEBHOOK_TOKEN"):
        scene.plan(token="another")


@pytest.mark.parametrize(
    ("url", "private"),
    [
        *((f"http://{host}", True) for host in ("app:5000", "192.168.1.5/", "[::1]/")),
        *(("https://127.0.0.1:80", True), ("http://app.internal", True)),
        *(("https://app.example.com", False), ("https://1.1.1.1", False)),
    ],
)
def test_private_and_public_urls_are_distinguished(url: str, private: bool) -> None:
    assert is_private(url) is private


def test_the_environment_names_what_the_app_cannot_know(scene: Scene) -> None:
    request = SetupRequest(
        url=URL,
        key="who",
        words=vocabulary(bot=["robot", "a, b of app.config"]),
        options={Mode.BOT: "KI jetzt", Mode.HUMAN: "Human"},
    )

    assert environment(request, scene.client) == {
        "CHATWOOT_BASE_URL": scene.sim.url,
        "CHATWOOT_ACCOUNT_ID": "1",
        "CHATWOOT_SUPPORT_MODE_ATTR": "who",
        "CHATWOOT_BOT_VALUES": "robot,KI jetzt",
    }


# -- agent bots ----------------------------------------------------------------


def test_a_bot_is_made_and_linked(scene: Scene) -> None:
    plan = scene.plan(agent_bot=True)
    assert plan.steps[-1][1] == "Link the agent bot to inbox 3 (Website)."

    lines = scene.apply(plan)

    wanted = {"outgoing_url": URL, "name": MARK, "description": NOTE}
    assert scene.bot == scene.bot | wanted
    assert scene.settings.webhooks == {}
    assert lines == {
        "CHATWOOT_WEBHOOK_SECRET": scene.bot["secret"],
        "CHATWOOT_API_ACCESS_TOKEN": scene.bot["access_token"],
    }


# -- teardown ------------------------------------------------------------------


def other_webhook(scene: Scene) -> None:
    scene.add_webhook("message_created", url=OTHER_URL)


def attribute_webhook_and_form(scene: Scene) -> None:
    scene.add_attribute("Robot", "Human")
    scene.add_webhook("message_created", "webwidget_triggered")
    scene.set_form({"pre_chat_message": "Hi", "pre_chat_fields": [field("topic")]})


def disabled_field(scene: Scene) -> None:
    scene.add_attribute("bot", "human")
    scene.set_form({"pre_chat_fields": [field("support_mode", enabled=False)]})


@pytest.mark.parametrize(
    ("version", "existing", "bot", "url", "undone"),
    [
        ("4.2.0", other_webhook, False, None, 3),
        ("4.2.0", other_webhook, True, None, 4),
        ("4.16.2", other_webhook, False, None, 3),
        ("4.16.2", other_webhook, True, None, 4),
        ("4.16.2", attribute_webhook_and_form, False, URL, 3),
        ("4.16.2", disabled_field, False, None, 2),
    ],
)
def test_teardown_leaves_everything_as_it_was(
    scene: Scene, existing: Prepare, bot: bool, url: str | None, undone: int
) -> None:
    existing(scene)
    before = scene.state
    scene.set_up(agent_bot=bot)
    assert scene.state != before
    assert scene.form[-1]["enabled"] is True

    assert len(scene.tear_down(url)) == undone
    assert (scene.state, scene.path.exists()) == (before, False)
    writes = len(scene.writes)
    assert scene.tear_down(URL) == []  # a second time
    assert len(scene.writes) == writes


def test_later_changes_of_others_stay(scene: Scene) -> None:
    scene.add_attribute("Robot", "Human")
    scene.add_webhook("message_created")
    scene.set_up()
    scene.attribute["attribute_values"].append("Nobody")
    scene.webhook["subscriptions"].append("contact_created")
    scene.form.insert(0, field("late"))
    scene.tear_down()

    assert scene.attribute["attribute_values"] == ["Robot", "Human", "Nobody"]
    assert scene.webhook["subscriptions"] == ["message_created", "contact_created"]
    assert scene.shown == ["late", "emailAddress", "fullName", "phoneNumber"]
    # It shows another field than when setup switched it on.
    assert scene.inbox["pre_chat_form_enabled"] is True


def test_an_attribute_is_kept_while_another_form_shows_it(scene: Scene) -> None:
    scene.set_up()
    fields = scene.form[-1:]
    scene.add_inbox(7)
    scene.set_form({"pre_chat_fields": fields}, id=7)

    texts = scene.tear_down()
    assert "Kept the attribute support_mode: the form of inbox 7" in texts[-1]
    assert scene.attribute
    assert scene.form_of(7) == fields

    scene.set_form(admin.default_options(), id=7)
    assert scene.tear_down() == ["Deleted the attribute support_mode."]
    assert scene.settings.attributes == {}


def test_a_bot_that_others_linked_to_an_inbox_is_kept(scene: Scene) -> None:
    scene.set_up(agent_bot=True)
    id = scene.bot["id"]
    scene.link(id, inbox_id=5)

    assert any("Kept the agent bot" in text for text in scene.tear_down())
    assert (scene.settings.links, scene.bot["id"]) == ({5: id}, id)


def test_another_bot_or_url_since_setup_stays(scene: Scene) -> None:
    scene.set_up(agent_bot=True)
    scene.set_up()
    scene.link(scene.sim.bot.id)
    scene.webhook["url"] = OTHER_URL
    scene.tear_down(URL)

    assert scene.settings.links == {3: scene.sim.bot.id}
    assert scene.settings.bots.keys() == {scene.sim.bot.id}
    assert scene.webhook["url"] == OTHER_URL


def test_two_teardowns_at_once_are_no_error(scene: Scene) -> None:
    scene.set_up(agent_bot=True)
    scene.set_up()
    steps = undo_steps(account.read(scene.client), scene.record, URL)
    scene.tear_down()

    words = [step.apply(scene.client).text.split()[0] for step in steps]
    assert (len(words), words.count("Deleted")) == (5, 3)


def test_what_others_undid_is_removed_from_the_record_alone(scene: Scene) -> None:
    scene.add_attribute("Robot", "Human")
    scene.add_webhook("message_created")
    scene.set_up()
    scene.set_up(agent_bot=True)
    scene.attribute["attribute_values"] = ["Robot", "Human"]
    scene.webhook["subscriptions"] = ["message_created"]
    scene.set_form(admin.default_options())
    scene.settings.links.clear()
    scene.bot["outgoing_url"] = "https://elsewhere.example.com/"
    before, writes = scene.state, len(scene.writes)
    current = account.read(scene.client)

    steps = undo_steps(current, scene.record, URL)

    assert [step.check(current).text for step in steps] == [
        "The bot of setup is not linked to inbox 3.",
        f"The agent bot {scene.bot['id']} does not point to {URL} any more.",
        f"The events setup added to webhook {scene.webhook['id']} are gone already.",
        "The form of inbox 3 (Website) does not show support_mode any more.",
        "The options setup added to support_mode are gone already.",
    ]
    assert scene.tear_down(URL) == []
    assert (scene.state, len(scene.writes)) == (before, writes)
    assert not scene.path.exists()


def test_a_list_or_a_subscription_is_never_emptied(scene: Scene) -> None:
    """Chatwoot would refuse, or have a list without options."""
    scene.add_attribute("Robot", "Human")
    scene.add_webhook("contact_created")
    scene.set_up()
    scene.attribute["attribute_values"] = ["AI agent"]
    scene.webhook["subscriptions"] = [*SUBSCRIPTIONS]

    assert [text[:4] for text in scene.tear_down()] == ["Kept", "Took", "Kept"]
    assert len(scene.record.steps) == 2
    assert scene.attribute["attribute_values"] == ["AI agent"]
    assert scene.webhook["subscriptions"] == [*SUBSCRIPTIONS]


# -- teardown without its record -------------------------------------------------


@with_and_without_bot
def test_what_setup_made_is_recognised_by_name_and_url(scene: Scene, bot: bool) -> None:
    other_webhook(scene)
    scene.set_up(agent_bot=bot)
    scene.path.unlink()

    # Setup changed the form, but nothing in it names setup.
    assert "Kept the attribute" in scene.tear_down(URL)[-1]
    assert scene.webhook["url"] == OTHER_URL
    assert scene.settings.bots.keys() == {scene.sim.bot.id}
    assert scene.settings.links == {}


def test_the_attribute_that_another_apps_setup_made_stays(scene: Scene) -> None:
    """No form shows it: that app offers its customers' choices in another way."""
    scene.set_up(url=OTHER_URL, inbox_ids=(5,))
    scene.path.unlink()
    before = scene.state
    scene.set_up(inbox_ids=(5,))
    assert len(scene.record.steps) == 1  # the webhook

    scene.tear_down(URL)
    assert scene.state == before


def test_without_record_and_url_nothing_is_undone(scene: Scene) -> None:
    scene.set_up()
    scene.path.unlink()
    before = scene.state

    assert scene.tear_down() == []
    assert scene.tear_down(OTHER_URL)[0].startswith("Kept the attribute")
    assert scene.state == before


def test_a_webhook_or_bot_with_the_url_and_another_name_stays(scene: Scene) -> None:
    scene.add_attribute("bot", "human")
    scene.add_webhook(*SUBSCRIPTIONS)
    scene.make("/agent_bots", {"name": "B", "outgoing_url": URL})
    before = scene.state

    assert (scene.tear_down(URL), scene.state) == ([], before)


# -- the record ----------------------------------------------------------------


def record_at(path: Path, account_id: int = 1) -> SetupRecord:
    return SetupRecord(str(path), base_url="https://a", account_id=account_id)


def test_another_process_reads_the_same_record(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er.json"
    steps: list[UndoStep] = [
        MadeAttribute(1, "support_mode"),
        ShownField(3, "support_mode", added=True, switched=True, others=["fullName"]),
        AddedEvents(4, URL, ["message_updated"]),
        MadeBot(5, URL),
    ]
    record = record_at(path)

    for step in (*steps, steps[0]):
        record.add(step)

    again = record_at(path)
    assert again.steps == steps
    again.remove(steps[1])
    assert record_at(path).steps == [steps[0], *steps[2:]]


def test_accounts_have_their_own_entries(tmp_path: Path) -> None:
    path, step = tmp_path / "record.json", MadeWebhook(7, URL)
    record_at(path).add(step)
    other = record_at(path, account_id=2)

    assert other.steps == []
    other.add(step)
    other.remove(step)
    assert record_at(path).steps == [step]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", "[3]"),
        '[{"where": "https://a account 1", "kind": "x", "values": {}}]',
        '[{"where": "https://a account 1", "kind": "made_bot", "values": {"x": 1}}]',
    ],
)
def test_a_record_that_cannot_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)

    with pytest.raises(SetupError, match=r"record\.json.*Move it away"):
        record_at(path).steps.clear()


@pytest.mark.parametrize("version", ["4.12.0"])
def test_no_secret_is_in_the_record(scene: Scene) -> None:
    lines = scene.set_up() | scene.set_up(agent_bot=True)
    written = scene.path.read_text()
    assert len(lines) == 3
    assert not [value for value in lines.values() if value in written]
