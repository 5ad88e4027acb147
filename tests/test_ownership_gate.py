"""The gate decides before the provider and before each post."""

from __future__ import annotations

import functools
import json
import time
import typing as t
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import responses
from support.apps import see
from support.chatwoot import BASE_URL, SAID, TOKEN, ChatwootStub
from support.queue import Store, open_store
from support.waiting import Clock

from flask_chatwoot import Audience, PolicyContext, PolicySettings, Reason
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, PermanentError, TransientError
from flask_chatwoot.ownership.deliveries import (
    record_bot,
    record_human,
    record_operator,
    transition_of,
)
from flask_chatwoot.ownership.gate import Gate
from flask_chatwoot.ownership.identity import Identity, is_ours
from flask_chatwoot.ownership.live import REFUSALS, RETRY_AFTER, LiveState
from flask_chatwoot.ownership.mode import Mode, ModeAttribute, vocabulary
from flask_chatwoot.ownership.policy import Decision, default_policy
from flask_chatwoot.ownership.search import OperatorSearch
from flask_chatwoot.ownership.state import (
    Ownership,
    attribute_set,
    bot_wrote,
    handed_off,
    operator_wrote,
)
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.conversation import Assignee, Speaker, conversation_from
from flask_chatwoot.payloads.events import ConversationEvent, MessageEvent
from flask_chatwoot.payloads.liquid import escape
from flask_chatwoot.queue.inspection import KEEP
from flask_chatwoot.queue.outbox import Draft
from flask_chatwoot.simulator import Fault, Simulator, payloads
from flask_chatwoot.simulator.payloads import (
    Agent,
    ContactRecord,
    ConversationRecord,
    MessageRecord,
    MessageType,
    parse_version,
)
from flask_chatwoot.simulator.state import Token
from flask_chatwoot.simulator.talk import Talk

VERSIONS: t.Final = ["4.2.0", "4.7.0", "4.8.0", "4.9.0", "4.12.0", "4.14.2", "4.16.2"]
SLACK: t.Final = {"sender_name": "Otto"}
OLGA: t.Final = Agent(id=4, name="Olga")
T0: t.Final = 1_750_000_000.0
DAY: t.Final = 86_400.0

CUSTOMER: t.Final = Decision(Audience.CUSTOMER)
TAKEN: t.Final = Decision(Audience.OPERATORS, Reason.TAKEN)
ANSWERED: t.Final = Decision(Audience.NOBODY, Reason.ANSWERED)
BLOCKED: t.Final = Decision(Audience.NOBODY, Reason.BLOCKED)
BESIDE_BOT: t.Final = Decision(Audience.NOBODY, Reason.OTHER_BOT)


@dataclass
class GateCase:
    """A gate, its stores, and the contexts that its policy got, oldest first."""

    gate: Gate
    store: Store
    ownership: OwnershipStore
    seen: list[PolicyContext]

    @property
    def taken(self) -> bool:
        return self.ownership.load(42).taken

    @property
    def facts(self) -> PolicyContext:
        return self.seen[-1]

    def see(self, event: t.Callable[..., Ownership], *values: t.Any) -> None:
        """Apply an event to the ownership of conversation 42."""
        see(self.ownership, 42, event, *values)

    def sees_message(self, event: MessageEvent) -> bool:
        """Apply the delivery of a message; return whether it takes over."""
        ours = is_ours(self.store.outbox, event.conversation_id, event.message)

        if ours or not event.message.by_operator:
            return False

        with self.store.queue.transaction(event.conversation_id) as tx:
            takes_over = record_operator(self.ownership, event, self.gate.modes, tx)
            record_human(self.ownership, event, self.gate.modes, tx)

        return takes_over

    def sees_conversation(self, event: ConversationEvent) -> None:
        """Apply the delivery of a conversation."""
        transition = transition_of(event, self.gate.modes)
        self.ownership.apply(event.conversation_id, transition)

    def before(self, event: MessageEvent, received_at: float = T0) -> Decision:
        """Decide before the provider."""
        return self.gate.may_hear_turn(event, received_at=received_at).decision

    def before_post(self, event: MessageEvent, *, private: bool = False) -> Decision:
        """Decide before a post. The context before the provider is dropped."""
        turn = self.gate.may_hear_turn(event, received_at=T0)
        self.seen.pop()
        return self.gate.may_hear_post(turn, private=private).decision

    def sending(self, content: str) -> Draft:
        """A draft whose request was sent, and has had no answer yet."""
        self.store.put(100)
        return self.store.sent(self.store.claim(), content)


@pytest.fixture
def case(path: str, clock: Clock) -> t.Iterator[GateCase]:
    store = open_store(path, clock)
    ownership = OwnershipStore(store.database)
    seen: list[PolicyContext] = []

    def recording(context: PolicyContext) -> Decision:
        seen.append(context)
        return default_policy(context)

    client = ChatwootClient(BASE_URL, 1, TOKEN)
    live = LiveState(client=client)
    gate = Gate(
        find_policy=lambda: recording,
        settings=PolicySettings(),
        modes=ModeAttribute("support_mode", vocabulary(), Mode.HUMAN),
        live=live,
        search=OperatorSearch(live=live, store=ownership, outbox=store.outbox),
        identity=Identity(client=client, store=ownership),
        store=ownership,
        outbox=store.outbox,
        clock=clock,
        ahead=lambda: 0.0,
    )

    yield GateCase(gate, store, ownership, seen)
    store.database.close()


def event_of(body: t.Any) -> MessageEvent:
    event = events.parse(json.dumps(body).encode())
    assert isinstance(event, MessageEvent)
    return event


def delivered(
    message: MessageRecord, conversation: ConversationRecord, version: str = "4.16.2"
) -> MessageEvent:
    number = parse_version(version)
    return event_of(payloads.message_event(message, conversation, version=number))


def asked(
    message: MessageRecord | None = None, *, version: str = "4.16.2", **fields: t.Any
) -> MessageEvent:
    """A customer's question, in a conversation in bot mode by default."""
    fields = {"custom_attributes": {"support_mode": "bot"}, **fields}
    question = message or MessageRecord(id=100, content="Where is it?")
    return delivered(question, ConversationRecord(**fields), version)


def written(
    content: str | None = "I do it.",
    *,
    id: int = 101,
    sender: payloads.Sender = OLGA,
    version: str = "4.16.2",
    conversation_id: int = 42,
    **fields: t.Any,
) -> MessageEvent:
    """A message to the customer."""
    said = MessageRecord(
        id=id, content=content, sender=sender, type=MessageType.OUTGOING, **fields
    )

    return delivered(said, ConversationRecord(id=conversation_id), version)


# -- the policy's context, from a delivery -----------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_delivers_the_whole_context(case: GateCase, version: str) -> None:
    said = MessageRecord(id=100, content="x", created_at=T0 - 90)
    contact, inbox = ContactRecord(blocked=True), payloads.Inbox(id=7)
    fields = {"status": "pending", "assignee": OLGA, "can_reply": False}
    event = asked(said, version=version, contact=contact, inbox=inbox, **fields)

    assert case.before(event) == BLOCKED
    assert case.facts == PolicyContext(
        mode=Mode.BOT,
        status="pending",
        assignee=Assignee("user", 4),
        last_speaker=Speaker.CUSTOMER,
        blocked=True,
        can_reply=False,
        age=90.0,
        inbox_id=7,
    )


@pytest.mark.parametrize("version", VERSIONS)
def test_an_agent_bot_is_no_operator_with_its_id(case: GateCase, version: str) -> None:
    case.before(asked(version=version, assignee=Agent(id=4, bot=True)))
    known = parse_version(version) >= (4, 8)
    assert case.facts.assignee == (Assignee("agent_bot", 4) if known else None)


def test_the_context_has_the_settings(case: GateCase) -> None:
    case.gate.settings = PolicySettings(frozenset({"open"}), True, 5.0)
    case.before(asked())
    assert case.facts.settings is case.gate.settings


@pytest.mark.parametrize(
    ("digest", "waited", "age"),
    [
        ("", 100, 100.0),
        ("", -50, 10.0),
        ("", 8 * DAY, 8 * DAY),
        ("", 4000 * DAY, 4000 * DAY),
        (":abc", KEEP - 1, 10.0),
        (":abc", KEEP + 1, KEEP + 1),
        (":abc", 4000 * DAY, 4000 * DAY),
    ],
)
def test_the_age_is_that_of_the_message_or_of_its_delivery(
    case: GateCase, digest: str, waited: float, age: float
) -> None:
    """The server's clock may be behind; a click has the time of its question."""
    event = asked(MessageRecord(id=100, created_at=T0 - waited))
    case.before(event._replace(digest=digest) if digest else event, T0 - 10)
    assert case.facts.age == pytest.approx(age)


def test_a_message_is_not_old_because_it_came_by_a_clock_that_was_behind(
    case: GateCase,
) -> None:
    case.before(asked(MessageRecord(id=100, created_at=T0 - 20)), T0 - 9 * DAY)
    assert case.facts.age == pytest.approx(320.0)


@pytest.mark.parametrize("ahead", [7200.0, -7200.0])
def test_a_message_is_not_old_because_one_clock_is_wrong(
    case: GateCase, ahead: float
) -> None:
    """The database keeps the time of a clock that was set since, or the reverse."""
    case.gate.ahead = lambda: ahead

    for right in (T0, T0 - ahead):
        case.before(asked(MessageRecord(id=100, created_at=right - 100)), T0 - 10)
        assert case.facts.age <= 100.0


@pytest.mark.parametrize(
    "conversation",
    [
        {"status": 5, "meta": [], "can_reply": None},
        {"status": ["open"], "meta": {"assignee": "Olga", "sender": 5}},
        {"can_reply": "false", "updated_at": "never", "custom_attributes": 1},
        {"messages": {}, "custom_attributes": {"support_mode": {}}},
    ],
)
@pytest.mark.usefixtures("api")
def test_a_field_of_an_unexpected_type_counts_as_absent(
    case: GateCase, conversation: dict[str, t.Any]
) -> None:
    case.see(handed_off)
    shown = {"created_at": ["x"], "conversation": {"id": 42, **conversation}}
    case.before(event_of({**asked().raw, **shown}))

    facts = case.facts
    assert (facts.status, facts.assignee) == (None, None)
    assert (facts.can_reply, facts.taken) == (True, True)


@pytest.mark.usefixtures("api")
def test_an_earlier_answer_is_none_to_a_click(case: GateCase) -> None:
    case.see(operator_wrote, 105)
    case.before(asked()._replace(digest=":abc"))
    assert not case.facts.answered


# -- takeovers ---------------------------------------------------------------------


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.usefixtures("api")
def test_an_operator_who_answers_takes_over(case: GateCase, version: str) -> None:
    assert case.sees_message(written(version=version))
    assert not case.sees_message(written("And more.", id=103, version=version))

    assert case.before(asked(MessageRecord(id=102))) == ANSWERED
    assert case.facts.last_speaker is Speaker.OPERATOR
    assert case.before(asked(MessageRecord(id=104))) == TAKEN


@pytest.mark.parametrize(
    ("attributes", "taken"),
    [({"automation_rule_id": 1}, False), ({"external_echo": True}, True)],
)
def test_only_an_operator_or_the_channels_own_app_takes_over(
    case: GateCase, attributes: dict[str, t.Any], taken: bool
) -> None:
    event = written(sender=None, content_attributes=attributes)
    assert case.sees_message(event) is taken
    assert case.taken is taken


def test_the_apps_post_is_recognised_by_its_id(case: GateCase) -> None:
    case.store.outbox.posted(case.sending("On its way."), 101)
    assert not case.sees_message(written("any text", id=101))
    assert not case.taken


@pytest.mark.parametrize(
    ("sent", "event", "taken"),
    [
        ("On its way.", written(" On its way.\n"), False),
        ("On its way.", written(f" {escape('On its way.')}\n"), False),
        ("{{x}} and {% y %}", written(" {{x}} and {% y %}\n"), False),
        ("{{x}} and {% y %}", written(f" {escape('{{x}} and {% y %}')}\n"), False),
        ("On its way.", written("Another text."), True),
        ("On its way.", written("On its way.", id=99), True),
        ("On its way.", written("On its way.", conversation_id=43), True),
    ],
    ids=[
        *("same text", "escaped text", "template", "escaped template"),
        *("another text", "older than the question", "another conversation"),
    ],
)
def test_a_post_that_is_being_sent_is_recognised_by_its_text(
    case: GateCase, sent: str, event: MessageEvent, taken: bool
) -> None:
    case.sending(sent)
    assert case.sees_message(event) is taken
    assert case.ownership.load(event.conversation_id).taken is taken


def test_a_post_that_is_confirmed_meanwhile_is_recognised(
    case: GateCase, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox, draft = case.store.outbox, case.sending("On its way.")

    def confirmed_after(
        find: t.Callable[..., t.Any], *args: t.Any, **names: t.Any
    ) -> t.Any:
        found = find(*args, **names)
        outbox.posted(draft, 101)
        return found

    for name in ("is_ours", "under_way"):
        find = getattr(outbox, name)
        monkeypatch.setattr(outbox, name, functools.partial(confirmed_after, find))

    assert not case.sees_message(written("On its way."))


# -- returns and resolves ----------------------------------------------------------


def changed(
    before: t.Any = None, after: t.Any = None, **fields: t.Any
) -> ConversationEvent:
    """The delivery of a changed attribute."""
    attributes = {"support_mode": before}, {"support_mode": after}
    body = payloads.conversation_event(
        "conversation_updated",
        ConversationRecord(id=42),
        changed={"custom_attributes": attributes},
    )
    event = events.parse(json.dumps({**body, **fields}).encode())
    assert isinstance(event, ConversationEvent)

    return event


def status_changed(current: str, **fields: t.Any) -> ConversationEvent:
    """The status is as of the delivery, the change as of the event."""
    change = {"status": {"previous_value": "open", "current_value": current}}
    fields = {"event": "conversation_status_changed", **fields}
    return changed(changed_attributes=[change], **fields)


def other_change(change: t.Any) -> ConversationEvent:
    return changed(status="resolved", changed_attributes=change)


@pytest.mark.parametrize(
    ("event", "taken"),
    [
        (changed("Человек", "AI агент"), False),
        (changed(None, "bot"), False),
        (changed("something", "Bot"), False),
        (changed("bot", "human"), True),
        (changed("bot", "ai agent"), True),
        (changed("human", None), True),
        (changed("human", "something"), True),
        (changed("human", ["bot"]), True),
        # undone before the delivery was made
        (changed("human", "bot", custom_attributes={"support_mode": "human"}), True),
        (changed("human", "bot", id=43), True),
        (status_changed("resolved"), False),
        (status_changed("open"), True),
        (status_changed("snoozed"), True),
        # another change of a resolved conversation
        (other_change(None), True),
        (other_change([]), True),
        (other_change([{"labels": {"current_value": ["x"]}}]), True),
    ],
)
def test_a_return_or_a_resolve_ends_a_takeover(
    case: GateCase, event: ConversationEvent, taken: bool
) -> None:
    case.see(handed_off)
    case.sees_conversation(event)
    assert case.taken is taken


def test_a_resolve_keeps_the_newest_message_only(case: GateCase) -> None:
    case.see(handed_off)
    case.sees_conversation(status_changed("resolved", messages=[{"id": 120}]))
    known = case.ownership.load(42)
    assert (known.taken, known.resolved_message_id) == (False, 120)


@pytest.mark.usefixtures("api")
def test_a_mode_that_the_app_has_set_ends_with_a_resolve(case: GateCase) -> None:
    in_human_mode = asked(custom_attributes={"support_mode": "human"})
    case.see(handed_off)
    case.see(attribute_set, '"bot"')
    assert case.before(in_human_mode) == TAKEN

    case.sees_conversation(status_changed("resolved", messages=[{"id": 99}]))
    assert case.before(in_human_mode) == CUSTOMER


def shown(value: t.Any, at: t.Any, *, id: int = 100) -> MessageEvent:
    """A question whose delivery shows the attribute, and the time of that state."""
    attributes = {"support_mode": value}
    state = {"id": 42, "custom_attributes": attributes, "updated_at": at}
    return event_of({**asked(MessageRecord(id=id)).raw, "conversation": state})


@pytest.mark.parametrize(
    ("states", "taken"),
    [
        ([("human", T0), ("bot", T0 + 0.5)], False),
        ([("human", T0), ("bot", T0)], True),
        ([("human", T0), ("bot", T0 - 1)], True),
        ([("bot", T0), ("bot", T0 + 5)], True),
        ([("human", T0), (None, T0 + 5)], True),
        ([("human", T0), ("bot", None)], True),
        ([("human", None), ("bot", T0 + 5)], True),
        ([("human", "2025-06-15T15:06:40Z"), ("bot", "2025-06-15T15:06:41Z")], False),
        ([("human", "2025-06-15T15:06:40Z"), ("bot", "2025-06-15T15:06:39Z")], True),
    ],
    ids=repr,
)
@pytest.mark.usefixtures("api")
def test_only_a_later_state_that_says_bot_returns_the_conversation(
    case: GateCase, states: list[tuple[t.Any, t.Any]], taken: bool
) -> None:
    case.see(handed_off)

    for value, at in states:
        case.before(shown(value, at))

    assert case.taken is taken
    assert case.facts.taken is taken


# -- the live state ----------------------------------------------------------------


@pytest.fixture
def token() -> Token:
    """The gate's token; tests override it with ``parametrize``."""
    return "user"


@dataclass
class LiveCase(GateCase):
    """A gate in front of the simulator.

    :ivar talk: A conversation in bot mode.
    :ivar event: A question in it, as it was delivered.
    """

    sim: Simulator
    talk: Talk
    event: MessageEvent

    def asks(self, text: str = "Where is it?") -> MessageEvent:
        """Another question, as it was delivered."""
        return delivered(self.talk.customer_says(text), self.talk.current)

    def audience(self) -> Audience:
        """Of a public post that answers the question."""
        return self.before_post(self.event).audience

    def reads(self, endpoint: str = "conversation") -> int:
        return sum(call.endpoint == endpoint for call in self.sim.calls)


@pytest.fixture
def live(case: GateCase, sim: Simulator, token: Token) -> LiveCase:
    key = sim.bot_token if token == "bot" else sim.user_token
    client = ChatwootClient(sim.url, 1, key)
    case.gate.live = case.gate.search.live = LiveState(client=client)
    case.gate.identity = Identity(client=client, store=case.ownership)
    talk = sim.conversation(id=42, custom_attributes={"support_mode": "bot"})
    event = delivered(talk.customer_says("Where is it?"), talk.current)

    return LiveCase(case.gate, case.store, case.ownership, case.seen, sim, talk, event)


def test_the_live_state_is_read_right_before_a_public_post(live: LiveCase) -> None:
    live.talk.change_status("snoozed")
    live.talk.assign(OLGA)
    live.talk.set_attribute("support_mode", "human")

    assert (live.before(live.event), live.reads()) == (CUSTOMER, 0)
    assert (live.audience(), live.reads()) == (Audience.OPERATORS, 1)
    before, now = (facts._replace(age=0.0) for facts in live.seen)
    assert (before.mode, before.status, before.live) == (Mode.BOT, "open", False)
    assert now == before._replace(
        mode=Mode.HUMAN, status="snoozed", assignee=Assignee("user", 4), live=True
    )


def test_the_live_state_is_not_read_before_a_note(live: LiveCase) -> None:
    live.before_post(live.event, private=True)
    assert (live.reads(), live.facts.live) == (0, False)


def test_who_is_blocked_later_gets_no_answer(case: GateCase, api: ChatwootStub) -> None:
    current = ConversationRecord(contact=ContactRecord(blocked=True))
    api.live = payloads.api_conversation(current, [])
    assert (case.before(asked()), case.before_post(asked())) == (CUSTOMER, BLOCKED)


@pytest.mark.parametrize(
    ("token", "later", "decision", "last_speaker", "lists"),
    [
        ("user", "", CUSTOMER, Speaker.CUSTOMER, 1),
        ("user", "answer", ANSWERED, Speaker.OPERATOR, 1),
        ("user", "answer" + " note" * 30, ANSWERED, Speaker.OPERATOR, 1),
        ("user", "answer rule thanks", ANSWERED, Speaker.CUSTOMER, 1),
        ("user", "slack", ANSWERED, Speaker.OPERATOR, 1),
        ("user", "slack thanks", ANSWERED, Speaker.CUSTOMER, 1),
        ("user", "flow thanks", BESIDE_BOT, Speaker.CUSTOMER, 1),
        ("user", "file thanks", CUSTOMER, Speaker.CUSTOMER, 1),
        # A bot's token reads only the last message.
        ("bot", "answer rule thanks", CUSTOMER, Speaker.CUSTOMER, 1),
    ],
)
def test_an_operators_answer_since_the_question_is_found(
    live: LiveCase, later: str, decision: Decision, last_speaker: Speaker, lists: int
) -> None:
    says: dict[str, t.Callable[[str], t.Any]] = {
        "answer": live.talk.operator_says,
        "note": functools.partial(live.talk.operator_says, private=True),
        "rule": live.talk.automation_says,
        "thanks": live.talk.customer_says,
        "slack": functools.partial(live.talk.add, None, additional_attributes=SLACK),
        "file": lambda text: live.talk.add(None, None),  # as an automation sends it
        "flow": lambda text: is_dialogflow(live),
    }
    for kind in later.split():
        says[kind]("It is here.")

    found = (live.before_post(live.event), live.facts.last_speaker)
    assert found == (decision, last_speaker)
    assert live.reads("list_messages") == lists


def test_an_answer_whose_delivery_is_lost_takes_over(live: LiveCase) -> None:
    live.talk.operator_says("It is here.")
    live.before_post(live.event)
    assert live.before_post(live.asks("And the invoice?")) == TAKEN


@pytest.mark.parametrize(
    ("by_operator", "decision"), [(False, CUSTOMER), (True, TAKEN)]
)
def test_an_earlier_message_is_no_answer(
    live: LiveCase, by_operator: bool, decision: Decision
) -> None:
    says = live.talk.operator_says if by_operator else live.talk.automation_says
    says("Earlier.")
    event = live.asks()
    live.talk.operator_says("A note", private=True)

    assert live.before_post(event) == decision
    assert not live.facts.answered


@pytest.mark.parametrize(("before", "after"), [(150, 5), (5, 150), (130, 60)])
def test_an_earlier_message_of_an_operator_is_found_among_many(
    live: LiveCase, before: int, after: int
) -> None:
    for number in range(before):
        live.talk.automation_says(f"{number}")

    live.talk.operator_says(None, attachments=[{"file_type": "file"}])

    for number in range(after):
        live.talk.automation_says(f"{number}")

    assert live.before_post(live.asks()) == TAKEN
    assert live.reads("list_messages") <= 5


def test_the_search_begins_with_the_last_resolve_and_is_made_once(
    live: LiveCase,
) -> None:
    newest = live.talk.operator_says("It is here.").id
    resolved = status_changed("resolved", messages=[{"id": newest}])
    live.sees_conversation(resolved)

    for _ in range(2):
        assert live.before_post(live.asks()) == CUSTOMER
        assert live.reads("list_messages") == 1


@pytest.mark.parametrize(
    ("fields", "decision"),
    [({"additional_attributes": {"campaign_id": 7}}, CUSTOMER), ({}, TAKEN)],
    ids=["a campaign", "an operator"],
)
def test_a_campaign_that_begins_a_conversation_is_no_operator(
    live: LiveCase, fields: dict[str, t.Any], decision: Decision
) -> None:
    talk = live.sim.conversation(id=43, custom_attributes={"support_mode": "bot"})
    talk.add(OLGA, "Hi!", **fields)
    event = delivered(talk.customer_says("Hello"), talk.current)

    assert live.before_post(event) == decision


@pytest.mark.parametrize("token", ["bot"])
def test_a_refused_list_is_not_asked_for_in_every_conversation(live: LiveCase) -> None:
    for number in range(100, 100 + REFUSALS + 2):
        assert live.gate.live.messages(number, 0) == []

    assert live.reads("list_messages") == REFUSALS


@pytest.mark.parametrize("token", ["bot"])
def test_without_the_right_to_list_messages_deliveries_count(live: LiveCase) -> None:
    answer = live.talk.operator_says("It is here.")
    live.talk.operator_says("A note", private=True)

    assert (live.audience(), live.facts.live) == (Audience.CUSTOMER, True)
    live.sees_message(delivered(answer, live.talk.current))
    assert live.before_post(live.event) == ANSWERED


@pytest.mark.parametrize("by_host", [False, True])
@pytest.mark.parametrize("version", ["4.8.0"])
def test_an_answer_before_a_post_of_the_app_without_a_marker_is_found(
    live: LiveCase, by_host: bool
) -> None:
    live.talk.operator_says("It is here.")
    ours = live.talk.operator_says("On its way.")

    if by_host:
        posts = live.store.outbox.by_host
        posts.made(posts.begin(42, "On its way.", private=False), ours.id)
    else:
        live.store.outbox.posted(live.sending("On its way."), ours.id)

    assert live.before_post(live.event) == ANSWERED


def test_the_apps_post_is_no_answer_of_an_operator(live: LiveCase) -> None:
    draft = live.sending("On its way.")
    ours = live.talk.operator_says("On its way.")
    assert live.audience() is Audience.CUSTOMER

    live.store.outbox.posted(draft, ours.id)
    assert live.audience() is Audience.CUSTOMER

    live.talk.operator_says("It is here.")
    assert live.audience() is Audience.NOBODY


def test_a_live_bot_mode_returns_it_once_the_attribute_was_set(live: LiveCase) -> None:
    live.see(handed_off)
    assert (live.before(live.event), live.reads(), live.taken) == (TAKEN, 1, True)

    live.see(attribute_set)
    assert (live.before(live.event), live.taken) == (CUSTOMER, False)


@pytest.fixture
def interrupted(case: GateCase, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator answers between Chatwoot's answer and its arrival."""

    raw = {
        "id": 42,
        "custom_attributes": {"support_mode": "bot"},
        "last_non_activity_message": {"id": 100, "message_type": 0},
    }

    def conversation(_: int) -> t.Any:
        case.sees_message(written(id=101))
        return conversation_from(raw)

    monkeypatch.setattr(case.gate.live.client, "conversation", conversation)
    monkeypatch.setattr(case.gate.live.client, "messages", lambda *_, **__: [])


@pytest.mark.usefixtures("interrupted")
def test_an_answer_during_the_read_takes_over(case: GateCase) -> None:
    assert case.before_post(asked()) == ANSWERED
    assert case.facts.taken


@pytest.mark.usefixtures("interrupted")
def test_an_answer_during_the_read_is_not_undone_by_a_return(case: GateCase) -> None:
    case.see(operator_wrote, 99)
    case.see(attribute_set)

    assert [case.before(asked()), case.before(asked())] == [ANSWERED] * 2
    assert case.taken


def test_the_live_state_does_not_return_a_resolved_conversation(live: LiveCase) -> None:
    """An operator may write in a resolved conversation, and takes it over then."""
    live.see(handed_off)
    live.talk.resolve()
    live.before(live.event)

    assert live.taken


def test_a_failed_read_before_the_provider_is_only_logged(
    live: LiveCase, caplog: pytest.LogCaptureFixture
) -> None:
    live.see(handed_off)
    live.sim.inject(Fault.SERVER_ERROR, endpoint="conversation")

    assert live.before(live.event) == TAKEN
    assert "the conversation could not be read" in caplog.text


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.SERVER_ERROR, TransientError),
        (Fault.CUT_BEFORE, TransientError),
        (Fault.NOT_FOUND, PermanentError),
    ],
)
@pytest.mark.parametrize("endpoint", ["conversation", "list_messages"])
def test_nothing_public_may_be_posted_after_a_failed_read(
    live: LiveCase, fault: Fault, kind: type[APIError], endpoint: str
) -> None:
    live.talk.operator_says("A note", private=True)
    live.sim.inject(fault, endpoint=endpoint)

    with pytest.raises(kind):
        live.before_post(live.event)

    assert live.seen == []
    assert live.audience() is Audience.CUSTOMER


# -- reads that are refused ----------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_read_is_repeated_after_ten_minutes(
    case: GateCase, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    now = Clock(time.monotonic())
    monkeypatch.setattr(f"{LiveState.__module__}.time", SimpleNamespace(monotonic=now))

    with responses.RequestsMock() as mock:
        url = f"{BASE_URL}/api/v1/accounts/1/conversations/42"
        refused = mock.get(url, status=status, body=SAID)

        for seconds, calls in ((0, 1), (RETRY_AFTER - 1, 1), (2, 2)):
            now.advance(seconds)
            assert case.before_post(asked()) == CUSTOMER
            assert (case.facts.live, refused.call_count) == (False, calls)


def test_a_refused_read_does_not_count_for_other_conversations(live: LiveCase) -> None:
    """An operator's token may read those of some Chatwoot inboxes only."""
    live.sim.conversation(id=43, custom_attributes={"support_mode": "human"})
    live.sim.inject(Fault.UNAUTHORIZED, endpoint="conversation")
    other = live.event._replace(conversation=live.event.conversation._replace(id=43))

    assert live.audience() is Audience.CUSTOMER
    assert live.before_post(other).audience is Audience.OPERATORS
    assert live.facts.live


@pytest.mark.parametrize(("version", "token"), [("4.12.0", "bot")])
def test_a_token_that_may_read_nothing_is_not_used_for_every_conversation(
    live: LiveCase,
) -> None:
    for number in range(100, 100 + REFUSALS + 2):
        assert live.gate.live.conversation(number) is None

    assert live.reads() == REFUSALS


def test_a_token_that_is_unknown_for_a_moment_reads_again_at_once(
    live: LiveCase,
) -> None:
    live.sim.inject(Fault.UNAUTHORIZED, endpoint="conversation")

    assert live.gate.live.conversation(live.talk.id) is None
    assert live.gate.live.conversation(live.talk.id) is not None


@pytest.mark.parametrize("token", ["user", "bot"])
@pytest.mark.parametrize("version", ["4.12.0", "4.14.2"])
def test_bots_read_from_4_14_2_on(live: LiveCase, version: str, token: Token) -> None:
    assert live.audience() is Audience.CUSTOMER
    assert live.facts.live is (token == "user" or version == "4.14.2")


ODD: t.Final = {"id": "x", "message_type": [1], "sender": [], "content_attributes": 5}
STRANGE: t.Final[dict[str, t.Any]] = {
    "an empty object": {},
    "no meta": {"status": "open", "meta": None},
    "a meta that is a list": {"meta": [], "status": []},
    "a last message that is text": {"last_non_activity_message": "Hello"},
    "a last message of strange types": {"last_non_activity_message": ODD},
    "strange attributes": {"custom_attributes": [1], "updated_at": {}, "messages": 5},
}


@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("taken", [False, True])
def test_a_live_state_of_unexpected_types_changes_nothing(
    case: GateCase, api: ChatwootStub, answer: t.Any, taken: bool
) -> None:
    api.live = answer

    if taken:
        case.see(handed_off)
        case.see(attribute_set)

    case.before_post(asked())

    facts = case.facts
    assert (facts.live, facts.taken, facts.answered) == (True, taken, False)


# -- customers who wait in a pending conversation -----------------------------------


def waits(live: LiveCase, *, pending: bool = True) -> bool:
    if pending:
        live.talk.change_status("pending")

    return live.gate.is_waiting(live.gate.may_hear_turn(live.event, received_at=T0))


def says(live: LiveCase, sender: payloads.Sender, **fields: t.Any) -> None:
    """Let a machine write, and take in the delivery."""
    said = live.talk.add(sender, "Hello", type=MessageType.OUTGOING, **fields)
    event = delivered(said, live.talk.current)
    ours = is_ours(live.store.outbox, 42, event.message)
    record_bot(live.ownership, event, ours=ours)


def answers(live: LiveCase) -> None:
    live.talk.operator_says("I do it.")


def is_listed_only(live: LiveCase) -> None:
    live.talk.add(live.sim.bot, "Its delivery was lost.")


def writes(live: LiveCase) -> None:
    says(live, live.sim.bot)


def writes_before_a_resolve(live: LiveCase) -> None:
    writes(live)
    newest = live.talk.messages[-1].id
    live.sees_conversation(status_changed("resolved", messages=[{"id": newest}]))
    live.event = live.asks("And now?")


def wrote_before(live: LiveCase) -> None:
    see(live.ownership, 42, bot_wrote, live.event.message.id - 1)


def sends_by_a_rule(live: LiveCase) -> None:
    says(live, None, content_attributes={"automation_rule_id": 1})


def is_dialogflow(live: LiveCase) -> None:
    says(live, None)


def is_assigned(live: LiveCase) -> None:
    live.talk.assign(live.sim.bot)


@pytest.mark.parametrize(
    ("token", "act", "waiting"),
    [
        ("user", None, True),
        ("user", answers, False),
        ("user", writes, False),
        ("user", is_listed_only, False),
        ("user", is_dialogflow, False),
        ("user", wrote_before, False),
        ("user", writes_before_a_resolve, True),
        ("user", sends_by_a_rule, True),
        ("user", is_assigned, False),
        ("bot", None, True),
        ("bot", answers, False),
        ("bot", is_dialogflow, False),
        ("bot", wrote_before, True),
        ("bot", is_assigned, True),
    ],
)
def test_a_customer_waits_where_no_other_machine_answers(
    live: LiveCase, act: t.Callable[[LiveCase], None] | None, waiting: bool
) -> None:
    if act:
        act(live)

    assert waits(live) is waiting


@pytest.mark.parametrize("token", ["user"])
def test_nobody_waits_unless_the_conversation_is_pending(live: LiveCase) -> None:
    assert not waits(live, pending=False)


@pytest.mark.parametrize("token", ["bot"])
def test_a_bot_that_is_known_waits_for_its_own_conversations_only(
    live: LiveCase,
) -> None:
    live.talk.assign(live.sim.bot)
    live.ownership.learn_bot(live.sim.bot.id + 1)
    assert not waits(live)

    live.ownership.learn_bot(live.sim.bot.id)
    assert waits(live)
    assert not live.gate.identity.is_assigned(Assignee("machine", live.sim.bot.id))


@pytest.mark.parametrize(("token", "version"), [("bot", "4.8.0")])
def test_without_the_live_state_the_newest_delivery_decides(live: LiveCase) -> None:
    pending = asked(status="pending")
    turn = live.gate.may_hear_turn(pending, received_at=T0)
    assert live.gate.is_waiting(turn)

    at = t.cast(float, pending.conversation.updated_at)
    live.sees_conversation(status_changed("open", status="open", updated_at=at + 1))
    assert not live.gate.is_waiting(turn)
