"""Setting Chatwoot up through its API and undoing just that, over real HTTP."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from conftest import Clock

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import SetupError, TransientError
from flask_chatwoot.ownership.mode import Mode, vocabulary
from flask_chatwoot.setup import account
from flask_chatwoot.setup.plan import Plan, Wishes, environment, is_private, plan_setup
from flask_chatwoot.setup.undo import (
    MARK,
    NOTE,
    AddedEvents,
    MadeAttribute,
    MadeBot,
    MadeWebhook,
    Record,
    ShownField,
    Undo,
    undoes,
)
from flask_chatwoot.simulator import Fault, Simulator, admin

JSON = dict[str, t.Any]
URL = "https://app.example.com/chatwoot/webhook"
ALL_EVENTS = [
    *("message_created", "message_updated"),
    *("conversation_status_changed", "conversation_updated"),
]


class Start(t.Protocol):
    def __call__(self, **options: t.Any) -> Office: ...


class Office:
    """A simulated Chatwoot with one website inbox, and an administrator's client."""

    def __init__(self, sim: Simulator, path: Path) -> None:
        self.sim = sim
        self.client = ChatwootClient(sim.url, sim.account_id, sim.user_token)
        self.path = path
        del sim.office.inboxes[4]

    @property
    def record(self) -> Record:
        """As the next process would read it."""
        return Record(str(self.path), base_url=self.sim.url, account_id=1)

    def look(self) -> account.Account:
        return account.look(self.client)

    def plan(self, **wishes: t.Any) -> Plan:
        return plan_setup(self.look(), Wishes(**{"url": URL, **wishes}))

    def set_up(self, **wishes: t.Any) -> dict[str, str]:
        """Do what is planned; what the app has to know from then on."""
        lines: dict[str, str] = {}
        record = self.record

        for step, _ in self.plan(**wishes).steps:
            done = step.apply(self.client)
            lines |= done.environment

            if done.undo:
                record.add(done.undo)

        return lines

    def tear_down(self, url: str | None = None) -> list[str]:
        """Undo it; what was said about each step."""
        seen, record, said = self.look(), self.record, []

        for undo in undoes(seen, record, url):
            if undo.look(seen).needed:
                done = undo.apply(self.client)
                said.append(done.text)

                if done.undo:
                    continue

            record.remove(undo)

        return said

    @property
    def state(self) -> t.Any:
        """All that can be set up, without what was made up by the simulator."""
        office = self.sim.office

        return json.loads(
            json.dumps(
                [
                    [*office.attributes.values()],
                    [*office.inboxes.values()],
                    [*office.webhooks.values()],
                    [*office.bots.values()],
                    [*office.links.items()],
                ]
            )
        )

    @property
    def writes(self) -> list[str | None]:
        return [c.endpoint for c in self.sim.calls if c.method != "GET"]

    @property
    def attribute(self) -> JSON:
        (row,) = self.sim.office.attributes.values()
        return row

    @property
    def webhook(self) -> JSON:
        (row,) = self.sim.office.webhooks.values()
        return row

    def form(self, inbox_id: int = 3) -> list[JSON]:
        row = self.sim.office.inboxes[inbox_id]
        fields: list[JSON] = row["pre_chat_form_options"]["pre_chat_fields"]
        return fields

    def make(self, path: str, body: JSON) -> t.Any:
        """Let somebody else set something up."""
        return self.client.call("POST", path, body)


@pytest.fixture
def start(tmp_path: Path) -> t.Iterator[Start]:
    started: list[Simulator] = []

    def start(**options: t.Any) -> Office:
        sim = Simulator(retry_pause=0.0, **options)
        sim.start()
        started.append(sim)
        return Office(sim, tmp_path / "inbox.sqlite3.setup.json")

    yield start

    for sim in started:
        # Whatever a test was about: what was sent is what Chatwoot describes.
        assert_described(sim)
        sim.stop()


@pytest.fixture
def office(start: Start) -> Office:
    return start()


# -- what Chatwoot describes ---------------------------------------------------

EVENTS: t.Final = {
    *("conversation_created", "conversation_status_changed", "conversation_updated"),
    *("message_created", "message_updated", "contact_created", "contact_updated"),
    "webwidget_triggered",
}
DESCRIBED: t.Final[t.Mapping[str, t.Mapping[str, t.Any]]] = {
    "create_attribute": {
        "attribute_display_name": str,
        "attribute_display_type": int,
        "attribute_description": str,
        "attribute_key": str,
        "attribute_values": [str],
        "attribute_model": int,
    },
    "update_attribute": {"attribute_values": [str]},
    "create_webhook": {"url": str, "subscriptions": EVENTS, "name": str},
    "update_webhook": {"url": str, "subscriptions": EVENTS},
    "create_bot": {
        "name": str,
        "description": str,
        "outgoing_url": str,
        "bot_type": int,
        "bot_config": dict,
    },
    "set_inbox_bot": {"agent_bot": (int, type(None))},
    "update_inbox": {"channel": dict},
}
"""Key to type of what may be sent, or to the values a list may have, as Chatwoot's
OpenAPI description has it; a webhook's ``name`` and the ``null`` that unlinks a bot are
from its controllers."""

_REQUIRED: t.Final[t.Mapping[str, set[str]]] = {
    "create_attribute": {"attribute_display_name", "attribute_key"},
    "create_webhook": {"url", "subscriptions"},
    "set_inbox_bot": {"agent_bot"},
}


def assert_described(sim: Simulator) -> None:
    for call in sim.calls:
        if call.method in ("POST", "PATCH"):
            assert call.endpoint in DESCRIBED
            described = DESCRIBED[str(call.endpoint)]
            assert _REQUIRED.get(str(call.endpoint), set()) <= call.json.keys()

            for key, value in call.json.items():
                assert fits(value, described[key]), (call.endpoint, key, value)

            if call.endpoint == "update_inbox":
                assert_form(call.json["channel"])


def assert_form(channel: JSON) -> None:
    """What ``EDITABLE_ATTRS`` of ``web_widget.rb`` lets through."""
    texts = {"field_type", "label", "placeholder", "name", "type", "locale"}
    assert channel.keys() <= {"pre_chat_form_enabled", "pre_chat_form_options"}
    assert isinstance(channel.get("pre_chat_form_enabled", True), bool)
    options = channel["pre_chat_form_options"]
    assert options.keys() <= {"pre_chat_message", "pre_chat_fields"}

    for field in options["pre_chat_fields"]:
        assert field.keys() <= admin.FIELD_KEYS
        assert all(isinstance(field[key], str) for key in texts & field.keys())
        assert all(fits(field.get(key, True), bool) for key in ("required", "enabled"))
        assert fits(field.get("values", []), [str])


def fits(value: t.Any, kind: t.Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(isinstance(v, kind[0]) for v in value)

    if isinstance(kind, set | frozenset):
        return isinstance(value, list) and kind.issuperset(value)

    return isinstance(value, kind)


@pytest.mark.parametrize(
    ("value", "kind", "right"),
    [
        ("a", str, True),
        (6, str, False),
        (["a"], [str], True),
        ([6], [str], False),
        (["message_created"], {*ALL_EVENTS}, True),
        (["tea_made"], {*ALL_EVENTS}, False),
        (None, (int, type(None)), True),
    ],
)
def test_a_request_that_is_not_described_is_noticed(
    value: t.Any, kind: t.Any, right: bool
) -> None:
    assert fits(value, kind) is right


# -- setup ---------------------------------------------------------------------


def test_an_empty_account_gets_attribute_form_and_webhook(office: Office) -> None:
    lines = office.set_up()

    assert office.attribute["attribute_key"] == "support_mode"
    assert office.attribute["attribute_display_type"] == "list"
    assert office.attribute["attribute_model"] == "conversation_attribute"
    assert office.attribute["attribute_values"] == ["AI agent", "Human"]
    assert office.sim.office.inboxes[3]["pre_chat_form_enabled"] is True
    assert office.form()[-1] == {
        "field_type": "conversation_attribute",
        "name": "support_mode",
        "type": "list",
        "label": "Whom do you want to write to?",
        "placeholder": "Whom do you want to write to?",
        "values": ["AI agent", "Human"],
        "required": True,
        "enabled": True,
    }
    assert office.webhook["url"] == URL
    assert office.webhook["name"] == MARK
    assert office.webhook["subscriptions"] == ALL_EVENTS
    assert lines == {"CHATWOOT_WEBHOOK_SECRET": office.webhook["secret"]}


def test_the_plan_says_what_will_be_done(office: Office) -> None:
    plan = office.plan()

    assert [text for _, text in plan.steps] == [
        "Create the attribute support_mode of conversations, 'Whom do you want to "
        "write to?': a list of AI agent, Human.",
        "Show support_mode in the pre-chat form of inbox 3 (Website) (its 3 other "
        "fields stay), and switch the form on.",
        f"Create an account webhook to {URL} for message_created, message_updated, "
        "conversation_status_changed, conversation_updated.",
    ]
    assert plan.warnings == ()
    assert office.writes == []


@pytest.mark.parametrize("agent_bot", [False, True])
@pytest.mark.parametrize("version", ["4.2.0", "4.12.0", "4.15.0", "4.16.2"])
def test_a_second_setup_changes_nothing(
    start: Start, version: str, agent_bot: bool
) -> None:
    office = start(version=version)
    office.set_up(agent_bot=agent_bot)
    before, writes = office.state, len(office.writes)

    plan = office.plan(agent_bot=agent_bot)
    lines = office.set_up(agent_bot=agent_bot)

    assert plan.steps == ()
    assert len(plan.already) == 3 + agent_bot
    assert lines == {}
    assert office.state == before
    assert len(office.writes) == writes


def test_the_texts_of_the_options_can_be_chosen(office: Office) -> None:
    options = {Mode.BOT: "AI агент", Mode.HUMAN: "Человек"}

    office.set_up(options=options)

    assert office.attribute["attribute_values"] == ["AI агент", "Человек"]
    assert office.form()[-1]["values"] == ["AI агент", "Человек"]
    assert office.plan(options=options).steps == ()
    assert office.plan().steps == ()  # other texts that mean the same will do


def test_other_fields_of_a_form_and_their_order_stay(office: Office) -> None:
    own = {"field_type": "conversation_attribute", "name": "topic", "enabled": True}
    options = admin.default_options()
    fields = [own, *options["pre_chat_fields"][::-1]]
    channel = {"pre_chat_message": "Hello", "pre_chat_fields": fields}
    set_form(office, channel)

    office.set_up()

    assert office.form()[:-1] == fields
    kept = office.sim.office.inboxes[3]["pre_chat_form_options"]
    assert kept["pre_chat_message"] == "Hello"


def set_form(office: Office, options: JSON, *, on: bool = True, id: int = 3) -> None:
    office.sim.office.inboxes[id] |= {
        "pre_chat_form_enabled": on,
        "pre_chat_form_options": options,
    }


def test_a_form_is_read_when_it_is_changed_not_when_it_was_planned(
    office: Office,
) -> None:
    plan = office.plan()
    own = {"field_type": "conversation_attribute", "name": "late", "enabled": True}
    set_form(office, {"pre_chat_fields": [own]})

    apply(plan, office)

    assert [field["name"] for field in office.form()] == ["late", "support_mode"]


def test_a_field_that_is_switched_off_is_switched_on_in_its_place(
    office: Office,
) -> None:
    office.set_up()
    fields = [{**office.form()[-1], "enabled": False, "required": False}]
    set_form(office, {"pre_chat_fields": [*fields, *office.form()[:3]]}, on=False)

    office.set_up()

    assert office.form()[0] == {**fields[0], "enabled": True}
    assert len(office.form()) == 4
    assert office.sim.office.inboxes[3]["pre_chat_form_enabled"] is True


def test_several_inboxes_can_be_chosen(start: Start) -> None:
    office = start()
    office.sim.office.inboxes[7] = {**office.sim.office.inboxes[3], "id": 7}
    office.sim.office.inboxes[8] = {**office.sim.office.inboxes[3], "id": 8}

    office.set_up(inbox_ids=(3, 8, 3))

    assert [len(office.form(id)) for id in (3, 7, 8)] == [4, 3, 4]


def test_one_of_several_inboxes_must_be_chosen(office: Office) -> None:
    office.sim.office.inboxes[7] = {
        **office.sim.office.inboxes[3],
        "id": 7,
        "name": "Shop",
    }

    with pytest.raises(SetupError, match=r"--inbox.*3 \(Website\), inbox 7 \(Shop\)"):
        office.plan()

    with pytest.raises(SetupError, match=r"no inbox 9 .* inbox 3 \(Website\)"):
        office.plan(inbox_ids=(9,))


def test_an_inbox_without_a_form_is_warned_about(office: Office) -> None:
    plan = office.plan(inbox_ids=(5,))

    assert len(plan.steps) == 2  # no form
    assert plan.warnings == (
        "No website inbox is chosen, so no form asks the customer, and "
        "CHATWOOT_DEFAULT_MODE decides.",
        "inbox 5 (Mail) is no website and has no pre-chat form.",
    )


def test_an_attribute_that_understands_both_is_left_alone(office: Office) -> None:
    add_attribute(office, "KI", "Mensch")
    words = vocabulary(bot=["ki"], human=["mensch"])

    plan = office.plan(words=words)

    assert plan.already == ("The attribute support_mode is there, with its options.",)


def add_attribute(office: Office, *values: str, kind: int = 6) -> JSON:
    made: JSON = office.make(
        "/custom_attribute_definitions",
        {
            "attribute_display_name": "Who",
            "attribute_key": "support_mode",
            "attribute_display_type": kind,
            "attribute_model": 0,
            "attribute_values": [*values],
        },
    )

    return made


def test_options_that_lack_are_added(office: Office) -> None:
    add_attribute(office, "Robot", "Human")

    office.set_up()

    assert office.attribute["attribute_values"] == ["Robot", "Human", "AI agent"]
    assert office.attribute["attribute_display_name"] == "Who"
    assert office.form()[-1]["label"] == "Who"


@pytest.mark.parametrize(("label", "warned"), [(None, 0), ("Who", 0), ("Whom?", 1)])
def test_another_question_than_there_is_stays_and_is_told(
    office: Office, label: str | None, warned: int
) -> None:
    add_attribute(office, "AI agent", "Human")

    plan = office.plan(label=label)

    told = [each for each in plan.warnings if "asks 'Who', which stays" in each]
    assert len(told) == warned


def test_an_attribute_of_another_type_is_in_the_way(office: Office) -> None:
    add_attribute(office, kind=0)

    with pytest.raises(SetupError, match=r"of type text .* CHATWOOT_SUPPORT_MODE_ATTR"):
        office.plan()


def test_an_attribute_of_contacts_is_another_one(office: Office) -> None:
    office.make(
        "/custom_attribute_definitions",
        {
            "attribute_display_name": "Who",
            "attribute_key": "support_mode",
            "attribute_model": 1,
        },
    )

    assert "Create the attribute" in office.plan().steps[0][1]


@pytest.mark.parametrize(
    "options",
    [{Mode.BOT: "Human"}, {Mode.HUMAN: "bot"}, {Mode.BOT: "X", Mode.HUMAN: " x"}],
)
def test_options_that_would_be_confused_are_refused(
    office: Office, options: t.Any
) -> None:
    with pytest.raises(SetupError):
        office.plan(options=options)


def test_an_option_the_environment_can_not_name_is_refused(office: Office) -> None:
    options: t.Any = {Mode.HUMAN: "A person, please"}

    with pytest.raises(SetupError, match="comma, and CHATWOOT_HUMAN_VALUES"):
        office.plan(options=options)

    # It is no matter where the app knows it already.
    words = vocabulary(human=["A person, please"])
    assert "A person, please" in office.plan(options=options, words=words).steps[0][1]


def test_a_webhook_that_is_there_is_subscribed_to_the_rest(office: Office) -> None:
    add_webhook(office, "webwidget_triggered", "message_created")

    lines = office.set_up()

    assert set(office.webhook["subscriptions"]) == {*ALL_EVENTS, "webwidget_triggered"}
    assert office.webhook["name"] is None
    assert lines == {}


def add_webhook(office: Office, *events: str, url: str = URL) -> JSON:
    answer = office.make("/webhooks", {"url": url, "subscriptions": [*events]})
    made: JSON = answer["payload"]["webhook"]

    return made


@pytest.mark.parametrize("agent_bot", [False, True])
def test_two_setups_at_once_do_everything_once(office: Office, agent_bot: bool) -> None:
    plans = [office.plan(agent_bot=agent_bot) for _ in range(2)]
    first, second = [
        [step.apply(office.client) for step, _ in plan.steps] for plan in plans
    ]

    assert len([done for done in first if done.undo]) == 3 + agent_bot
    assert [done.undo for done in second] == [None] * (3 + agent_bot)
    assert len(office.sim.office.attributes) == 1
    assert len(office.sim.office.webhooks) == 1 - agent_bot
    assert len(office.sim.office.bots) == 1 + agent_bot
    assert len(office.form()) == 4
    assert len(office.writes) == 3 + agent_bot


def apply(plan: Plan, office: Office) -> None:
    for step, _ in plan.steps:
        step.apply(office.client)


def test_a_bot_that_comes_between_plan_and_setup_is_in_the_way(
    office: Office,
) -> None:
    plan = office.plan(agent_bot=True)
    office.make("/inboxes/3/set_agent_bot", {"agent_bot": office.sim.bot.id})

    with pytest.raises(SetupError, match="agent bot 3 answers in inbox 3"):
        apply(plan, office)

    assert office.sim.office.links == {3: office.sim.bot.id}


@pytest.mark.parametrize("endpoint", ["create_attribute", "create_webhook"])
def test_an_answer_that_names_no_id_is_an_error(
    office: Office, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = office.client.call

    def garble(method: str, *args: t.Any, **kwargs: t.Any) -> t.Any:
        answer = call(method, *args, **kwargs)
        return {} if method == "POST" else answer

    monkeypatch.setattr(office.client, "call", garble)
    steps = [step for step, _ in office.plan().steps]

    with pytest.raises(SetupError, match="names no id"):
        steps[0 if "attribute" in endpoint else -1].apply(office.client)


# -- URLs and tokens -----------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "agent_bot", "signs"),
    [
        ("4.11.0", False, False),
        ("4.12.0", False, True),
        ("4.12.0", True, False),
        ("4.13.0", True, True),
    ],
)
def test_where_deliveries_are_not_signed_the_url_gets_a_token(
    start: Start, version: str, agent_bot: bool, signs: bool
) -> None:
    office = start(version=version)

    lines = office.set_up(agent_bot=agent_bot)

    row = [*office.sim.office.bots.values(), *office.sim.office.webhooks.values()][-1]
    url = row.get("url") or row["outgoing_url"]
    token = lines.get("CHATWOOT_WEBHOOK_TOKEN")
    assert ("CHATWOOT_WEBHOOK_SECRET" in lines) is signs

    if signs:
        assert (url, token) == (URL, None)
    else:
        assert token is not None
        assert len(token) >= 24
        assert url == f"{URL}?token={token}"


def test_a_token_the_app_has_is_used(office: Office) -> None:
    lines = office.set_up(token="a b&c")

    assert office.webhook["url"] == f"{URL}?token=a+b%26c"
    assert "CHATWOOT_WEBHOOK_TOKEN" not in lines
    assert office.plan(token="a b&c").steps == ()

    with pytest.raises(SetupError, match="CHATWOOT_WEBHOOK_TOKEN"):
        office.plan(token="another")


def test_a_plan_shows_no_token(office: Office) -> None:
    plan = office.plan(token="very-secret")

    assert "very-secret" not in repr(plan)
    assert f"{URL}?token=… for" in plan.steps[-1][1]


@pytest.mark.parametrize(
    ("url", "private"),
    [
        ("http://app:5000", True),
        ("http://192.168.1.5/", True),
        ("https://127.0.0.1:80", True),
        ("http://[::1]/", True),
        ("http://app.internal", True),
        ("https://app.example.com", False),
        ("https://1.1.1.1", False),
    ],
)
def test_private_urls_are_told_from_public_ones(url: str, private: bool) -> None:
    assert is_private(url) is private


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        ("4.13.0", None),
        ("4.14.0", "Upgrade to 4.14.1"),
        ("4.14.1", "Set SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true"),
    ],
)
def test_a_private_url_is_warned_about_where_it_is_refused(
    start: Start, version: str, remedy: str | None
) -> None:
    warnings = start(version=version).plan(url="http://app:5000/hook").warnings

    assert [remedy] == [remedy for text in warnings if remedy and remedy in text] or (
        remedy is None and warnings == ()
    )


def test_an_unprotected_public_url_is_warned_about(office: Office) -> None:
    (warning,) = office.plan(url="http://app.example.com/hook").warnings

    assert "is not https" in warning


# -- agent bots ----------------------------------------------------------------


def test_a_bot_is_made_and_linked(office: Office) -> None:
    lines = office.set_up(agent_bot=True)

    bot = office.sim.office.bots[office.sim.office.links[3]]
    assert bot["outgoing_url"] == URL
    assert (bot["name"], bot["description"]) == (MARK, NOTE)
    assert office.sim.office.webhooks == {}
    assert lines == {
        "CHATWOOT_WEBHOOK_SECRET": bot["secret"],
        "CHATWOOT_API_ACCESS_TOKEN": bot["access_token"],
    }


def test_what_binding_a_bot_changes_is_said_before(office: Office) -> None:
    office.sim.office.inboxes[3]["greeting_enabled"] = True

    pending, greetings = office.plan(agent_bot=True).warnings

    assert "new conversations in inbox 3 (Website) begin as pending" in pending
    assert "should be switched off: inbox 3 (Website)." in greetings


def test_old_versions_strand_what_their_bot_misses(start: Start) -> None:
    warnings = start(version="4.6.0").plan(agent_bot=True).warnings

    assert any("stays pending" in warning for warning in warnings)


def test_a_bot_may_answer_where_there_is_no_form(office: Office) -> None:
    office.set_up(agent_bot=True, inbox_ids=(5,))

    assert office.sim.office.links.keys() == {5}
    assert len(office.form()) == 3


def test_the_bot_of_somebody_else_is_in_the_way(office: Office) -> None:
    office.make("/inboxes/3/set_agent_bot", {"agent_bot": office.sim.bot.id})

    with pytest.raises(SetupError, match=r"agent bot 3 answers in inbox 3 .*--inbox"):
        office.plan(agent_bot=True)


def test_4_16_0_has_no_bots_to_offer(start: Start) -> None:
    office = start(version="4.16.0")

    with pytest.raises(SetupError, match=r"4\.16\.1"):
        office.plan(agent_bot=True)

    assert len(office.plan().steps) == 3


@pytest.mark.parametrize("agent_bot", [False, True])
def test_deliveries_that_would_come_twice_are_warned_about(
    office: Office, agent_bot: bool
) -> None:
    office.set_up(agent_bot=not agent_bot)

    warnings = office.plan(agent_bot=agent_bot).warnings

    assert any("everything would come twice" in warning for warning in warnings)


# -- rights --------------------------------------------------------------------


def test_an_agent_is_told_what_it_takes(start: Start) -> None:
    with pytest.raises(SetupError, match=r"administrator.*CHATWOOT_ADMIN_TOKEN"):
        start(role="agent").plan()


def test_a_bot_is_told_what_it_takes(office: Office) -> None:
    office.client = ChatwootClient(office.sim.url, 1, office.sim.bot_token)

    with pytest.raises(SetupError, match="administrator"):
        office.plan()


def test_a_chatwoot_that_fails_is_no_matter_of_rights(office: Office) -> None:
    office.sim.inject(Fault.SERVER_ERROR, endpoint="list_webhooks")

    with pytest.raises(TransientError):
        office.plan()


# -- the app's environment -----------------------------------------------------


def test_the_environment_names_what_the_app_would_not_guess(office: Office) -> None:
    wishes = Wishes(
        url=URL,
        key="who",
        words=vocabulary(bot=["robot", "a, b of app.config"]),
        options={Mode.BOT: "KI jetzt", Mode.HUMAN: "Human"},
    )

    assert environment(wishes, office.client) == {
        "CHATWOOT_BASE_URL": office.sim.url,
        "CHATWOOT_ACCOUNT_ID": "1",
        "CHATWOOT_SUPPORT_MODE_ATTR": "who",
        "CHATWOOT_BOT_VALUES": "robot,KI jetzt",
    }


# -- teardown ------------------------------------------------------------------


@pytest.mark.parametrize("agent_bot", [False, True])
@pytest.mark.parametrize("version", ["4.2.0", "4.16.2"])
def test_teardown_leaves_everything_as_it_was(
    start: Start, version: str, agent_bot: bool
) -> None:
    office = start(version=version)
    add_webhook(office, "message_created", url="https://other.example.com/hook")
    before = office.state
    office.set_up(agent_bot=agent_bot)
    assert office.state != before

    said = office.tear_down()

    assert len(said) == 3 + agent_bot
    assert office.state == before
    assert not office.path.exists()


def test_a_second_teardown_does_nothing(office: Office) -> None:
    office.set_up()
    office.tear_down()
    writes = len(office.writes)

    assert office.tear_down(URL) == []
    assert len(office.writes) == writes


def test_what_was_there_before_setup_stays(office: Office) -> None:
    add_attribute(office, "Robot", "Human")
    add_webhook(office, "message_created", "webwidget_triggered")
    own = {"field_type": "conversation_attribute", "name": "topic", "enabled": True}
    set_form(office, {"pre_chat_message": "Hi", "pre_chat_fields": [own]})
    before = office.state

    office.set_up()
    assert office.state != before
    office.tear_down(URL)

    assert office.state == before


def test_what_others_changed_since_stays(office: Office) -> None:
    add_attribute(office, "Robot", "Human")
    add_webhook(office, "message_created")
    office.set_up()

    office.attribute["attribute_values"].append("Nobody")
    office.webhook["subscriptions"].append("contact_created")
    late = {"field_type": "conversation_attribute", "name": "late", "enabled": True}
    office.form().insert(0, late)
    office.tear_down()

    assert office.attribute["attribute_values"] == ["Robot", "Human", "Nobody"]
    assert office.webhook["subscriptions"] == ["message_created", "contact_created"]
    assert [field["name"] for field in office.form()] == [
        *("late", "emailAddress", "fullName", "phoneNumber"),
    ]
    # It shows another field than when setup switched it on.
    assert office.sim.office.inboxes[3]["pre_chat_form_enabled"] is True


def test_a_field_that_setup_switched_on_is_switched_off(office: Office) -> None:
    add_attribute(office, "bot", "human")
    field = {
        "field_type": "conversation_attribute",
        "name": "support_mode",
        "enabled": False,
    }
    set_form(office, {"pre_chat_fields": [field]})
    before = office.form()

    office.set_up()
    assert office.form()[0]["enabled"] is True
    office.tear_down()

    assert office.form() == before


def test_an_attribute_in_another_form_is_kept_until_it_is_not(office: Office) -> None:
    office.set_up()
    field = office.form()[-1]
    office.sim.office.inboxes[7] = {**office.sim.office.inboxes[3], "id": 7}
    set_form(office, {"pre_chat_fields": [field]}, id=7)

    said = office.tear_down()

    assert "Kept the attribute support_mode: the form of inbox 7" in said[-1]
    assert office.attribute
    assert office.form(7) == [field]

    set_form(office, admin.default_options(), id=7)
    assert office.tear_down() == ["Deleted the attribute support_mode."]
    assert office.sim.office.attributes == {}


def test_a_bot_that_answers_elsewhere_too_is_kept(office: Office) -> None:
    office.set_up(agent_bot=True)
    bot_id = office.sim.office.links[3]
    office.make("/inboxes/5/set_agent_bot", {"agent_bot": bot_id})

    said = office.tear_down()

    assert any("Kept the agent bot" in text for text in said)
    assert office.sim.office.links == {5: bot_id}
    assert bot_id in office.sim.office.bots


def test_a_bot_that_took_the_place_of_ours_stays(office: Office) -> None:
    office.set_up(agent_bot=True)
    office.make("/inboxes/3/set_agent_bot", {"agent_bot": office.sim.bot.id})

    office.tear_down()

    assert office.sim.office.links == {3: office.sim.bot.id}
    assert office.sim.office.bots.keys() == {office.sim.bot.id}


def test_a_webhook_that_was_pointed_elsewhere_stays(office: Office) -> None:
    office.set_up()
    office.webhook["url"] = "https://new.example.com/chatwoot/webhook"

    office.tear_down(URL)

    assert office.webhook["url"].startswith("https://new.")


def test_what_is_gone_already_is_no_error(office: Office) -> None:
    office.set_up(agent_bot=True)
    office.set_up()
    todo = undoes(office.look(), office.record, URL)
    office.tear_down()  # somebody else is faster

    said = [undo.apply(office.client).text for undo in todo]

    assert len(said) == 5
    assert [text.partition(" ")[0] for text in said].count("Deleted") == 3


@pytest.mark.parametrize("agent_bot", [False, True])
def test_without_its_record_setup_is_recognised_by_name(
    office: Office, agent_bot: bool
) -> None:
    add_webhook(office, "message_created", url="https://other.example.com/hook")
    office.set_up(agent_bot=agent_bot)
    office.path.unlink()

    said = office.tear_down(URL)

    assert [row["url"] for row in office.sim.office.webhooks.values()] == [
        "https://other.example.com/hook"
    ]
    assert office.sim.office.bots.keys() == {office.sim.bot.id}
    assert office.sim.office.links == {}
    # The form was merely changed, and nothing tells who did.
    assert "Kept the attribute" in said[-1]


def test_the_attribute_that_another_apps_setup_made_stays(office: Office) -> None:
    """No form shows it: that app gives its customers' choices in another way."""
    other = "https://other.example.com/chatwoot/webhook"
    office.set_up(url=other, inbox_ids=(5,))
    office.path.rename(f"{office.path}.other")
    before = office.state
    office.set_up(inbox_ids=(5,))
    assert len(office.record.undoes) == 1  # the webhook

    office.tear_down(URL)

    assert office.state == before


def test_without_its_record_and_a_url_nothing_is_touched(office: Office) -> None:
    office.set_up()
    office.path.unlink()
    before = office.state

    assert office.tear_down() == []
    assert office.tear_down("https://other.example.com/chatwoot/webhook")[0].startswith(
        "Kept the attribute"
    )
    assert office.state == before


def test_things_of_the_same_kind_that_setup_did_not_make_stay(office: Office) -> None:
    """Same URL, but neither the name nor the record of setup."""
    add_attribute(office, "bot", "human")
    add_webhook(office, *ALL_EVENTS)
    office.make("/agent_bots", {"name": "B", "outgoing_url": URL})
    before = office.state

    assert office.tear_down(URL) == []
    assert office.state == before


def test_what_others_undid_is_left_alone_and_forgotten(office: Office) -> None:
    add_attribute(office, "Robot", "Human")
    add_webhook(office, "message_created")
    office.set_up()
    office.set_up(agent_bot=True)

    office.attribute["attribute_values"] = ["Robot", "Human"]
    office.webhook["subscriptions"] = ["message_created"]
    set_form(office, admin.default_options())
    office.sim.office.links.clear()
    bot_id = max(office.sim.office.bots)
    office.sim.office.bots[bot_id]["outgoing_url"] = "https://elsewhere.example.com/"
    before, writes = office.state, len(office.writes)

    seen = office.look()
    texts = [undo.look(seen).text for undo in undoes(seen, office.record, URL)]

    assert office.tear_down(URL) == []
    assert (office.state, len(office.writes)) == (before, writes)
    assert not office.path.exists()
    assert texts == [
        "The bot of setup is not linked to inbox 3.",
        f"The agent bot {bot_id} does not point to {URL} any more.",
        f"The events setup added to webhook {office.webhook['id']} are gone already.",
        "The form of inbox 3 (Website) does not show support_mode any more.",
        "The options setup added to support_mode are gone already.",
    ]


def test_a_list_or_a_subscription_is_never_emptied(office: Office) -> None:
    """Chatwoot would refuse, or have a list without options."""
    add_attribute(office, "Robot", "Human")
    add_webhook(office, "contact_created")
    office.set_up()
    office.attribute["attribute_values"] = ["AI agent"]
    office.webhook["subscriptions"] = list(ALL_EVENTS)

    said = office.tear_down()

    assert [text[:4] for text in said] == ["Kept", "Took", "Kept"]
    assert len(office.record.undoes) == 2
    assert office.attribute["attribute_values"] == ["AI agent"]
    assert office.webhook["subscriptions"] == ALL_EVENTS


# -- the record ----------------------------------------------------------------

UNDO = MadeWebhook(7, URL)


def test_the_record_survives_the_process(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "er.json")
    kept: list[Undo] = [
        MadeAttribute(1, "support_mode"),
        ShownField(3, "support_mode", added=True, switched=True, others=["fullName"]),
        AddedEvents(4, URL, ["message_updated"]),
        MadeBot(5, URL),
    ]
    record = Record(path, base_url="https://a", account_id=1)

    for undo in (*kept, kept[0]):
        record.add(undo)

    again = Record(path, base_url="https://a", account_id=1)
    assert again.undoes == kept
    again.remove(kept[1])
    assert Record(path, base_url="https://a", account_id=1).undoes == [
        kept[0],
        *kept[2:],
    ]


def test_accounts_have_their_own_entries(tmp_path: Path) -> None:
    path = str(tmp_path / "record.json")
    Record(path, base_url="https://a", account_id=1).add(UNDO)
    other = Record(path, base_url="https://a", account_id=2)

    assert other.undoes == []
    other.add(UNDO)
    other.remove(UNDO)
    assert Record(path, base_url="https://a", account_id=1).undoes == [UNDO]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[3]",
        '[{"where": "https://a account 1", "kind": "x", "values": {}}]',
        '[{"where": "https://a account 1", "kind": "made_bot", "values": {"x": 1}}]',
    ],
)
def test_a_record_that_can_not_be_read_is_an_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)

    with pytest.raises(SetupError, match=r"record\.json.*Move it away"):
        Record(str(path), base_url="https://a", account_id=1).undoes.clear()


def test_no_secret_is_in_the_record(start: Start, clock: Clock) -> None:
    office = start(version="4.12.0", clock=clock)

    lines = office.set_up() | office.set_up(agent_bot=True)

    written = office.path.read_text()
    assert len(lines) == 3
    assert not [value for value in lines.values() if value in written]
