from __future__ import annotations

import contextlib
import json
import time
import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest
import responses
from support.apps import see
from support.chatwoot import BASE_URL, TOKEN, ChatwootStub
from support.queue import open_store
from support.waiting import Clock

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, PermanentError, TransientError
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership import policy
from flask_chatwoot.ownership.context import LONGEST_DELAY
from flask_chatwoot.ownership.deliveries import see_human, see_operator, transition_of
from flask_chatwoot.ownership.gate import Gate, TurnDecision, is_ours
from flask_chatwoot.ownership.live import REFUSALS, RETRY_AFTER, LiveState
from flask_chatwoot.ownership.mode import Mode, ModeAttribute, vocabulary
from flask_chatwoot.ownership.policy import (
    Audience,
    Decision,
    PolicyContext,
    PolicySettings,
)
from flask_chatwoot.ownership.state import (
    Ownership,
    attribute_set,
    handed_off,
    operator_wrote,
)
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.conversation import Assignee, Speaker, conversation_from
from flask_chatwoot.payloads.events import ConversationEvent, MessageEvent
from flask_chatwoot.payloads.liquid import escape
from flask_chatwoot.queue.inspection import KEEP
from flask_chatwoot.queue.outbox import Draft, DraftPart
from flask_chatwoot.queue.store import Store
from flask_chatwoot.simulator import Fault, Simulator, payloads
from flask_chatwoot.simulator.payloads import (
    Agent,
    Contact,
    Conversation,
    Message,
    MessageType,
    parse_version,
)
from flask_chatwoot.simulator.state import Token
from flask_chatwoot.simulator.talk import Talk

VERSIONS: t.Final = ["4.2.0", "4.7.0", "4.8.0", "4.9.0", "4.12.0", "4.14.2", "4.16.2"]
OLGA: t.Final = Agent(id=4, name="Olga")


class Gatehouse(t.NamedTuple):
    """A gate, what it reads, and the contexts that its policy was given."""

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
        """Let something happen to conversation 42."""
        see(self.ownership, 42, event, *values)

    def sees_message(self, event: MessageEvent) -> bool:
        """Take a message in; whether it takes the conversation over."""
        ours = is_ours(self.store.outbox, event.conversation_id, event.message)

        if ours or not event.message.by_operator:
            return False

        with self.store.queue.transaction() as tx:
            takes_over = see_operator(self.ownership, event, tx)
            see_human(self.ownership, event, self.gate.modes, tx)

        return takes_over

    def sees_conversation(self, event: ConversationEvent) -> None:
        """Take a conversation's state in."""
        transition = transition_of(event, self.gate.modes)
        self.ownership.apply(event.conversation_id, transition)


class GateFactory(t.Protocol):
    def __call__(
        self, url: str = ..., token: str = ..., **settings: t.Any
    ) -> Gatehouse: ...


@pytest.fixture
def make_house(tmp_path: Path, clock: Clock) -> t.Iterator[GateFactory]:
    with contextlib.ExitStack() as stack:

        def make(
            url: str = BASE_URL, token: str = TOKEN, **settings: t.Any
        ) -> Gatehouse:
            store = open_store(tmp_path / "chatwoot.sqlite3", clock)
            stack.callback(store.database.close)
            ownership = OwnershipStore(store.database)
            seen: list[PolicyContext] = []

            def noted(context: PolicyContext) -> Decision:
                seen.append(context)
                return policy.default_policy(context)

            gate = Gate(
                find_policy=lambda: noted,
                settings=PolicySettings(**settings),
                modes=ModeAttribute("support_mode", vocabulary(), Mode.HUMAN),
                live=LiveState(client=ChatwootClient(url, 1, token)),
                store=ownership,
                outbox=store.outbox,
                clock=clock,
            )

            return Gatehouse(gate, store, ownership, seen)

        yield make


@pytest.fixture
def house(make_house: GateFactory) -> Gatehouse:
    return make_house()


def event_of(body: t.Any) -> MessageEvent:
    event = events.parse(json.dumps(body).encode())
    assert isinstance(event, MessageEvent)

    return event


def asked(
    message: Message | None = None, *, version: str = "4.16.2", **fields: t.Any
) -> MessageEvent:
    """A customer's question, in a conversation with the bot unless told otherwise."""
    fields = {"custom_attributes": {"support_mode": "bot"}, **fields}

    return event_of(
        payloads.message_event(
            message or Message(id=100, content="Where is it?"),
            Conversation(**fields),
            version=parse_version(version),
        )
    )


def written(
    content: str | None = "I do it.",
    *,
    id: int = 101,
    sender: payloads.Sender = OLGA,
    version: str = "4.16.2",
    conversation: Conversation | None = None,
    **fields: t.Any,
) -> MessageEvent:
    """Something that was said to the customer."""
    said = Message(
        id=id, content=content, sender=sender, type=MessageType.OUTGOING, **fields
    )

    return event_of(
        payloads.message_event(
            said, conversation or Conversation(), version=parse_version(version)
        )
    )


def asked_about(
    house: Gatehouse, event: MessageEvent, since: float = 1_750_000_000.0
) -> TurnDecision:
    return house.gate.may_hear_turn(event, received_at=since)


def before(house: Gatehouse, event: MessageEvent) -> Decision:
    return asked_about(house, event).decision


def before_post(
    house: Gatehouse, event: MessageEvent, *, private: bool = False
) -> Decision:
    turn = asked_about(house, event)
    house.seen.pop()  # that was the question before the provider

    return house.gate.may_hear_post(turn, private=private)


def under_way(house: Gatehouse, content: str, *, conversation_id: int = 42) -> Draft:
    """A draft that was sent, and of which nobody knows whether it arrived."""
    house.store.queue.put(
        f"key {content}", conversation_id=conversation_id, message_id=100, payload=b"x"
    )
    job = house.store.queue.claim()
    assert job is not None
    (draft,) = house.store.outbox.keep(job, [DraftPart(content, False)])
    house.store.outbox.sending(job, draft)

    return draft


# PolicyContext, as far as the delivery tells


@pytest.mark.parametrize("version", VERSIONS)
def test_facts_are_read_from_deliveries_of_every_version(
    house: Gatehouse, clock: Clock, version: str
) -> None:
    event = asked(
        Message(id=100, content="x", created_at=clock.now - 90),
        version=version,
        status="pending",
        assignee=OLGA,
        can_reply=False,
        contact=Contact(blocked=True),
        inbox=payloads.Inbox(id=7),
    )

    decision = before(house, event)

    assert decision == Decision(Audience.NOBODY, Reason.BLOCKED)
    assert house.facts == PolicyContext(
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
def test_a_bot_with_the_id_of_a_person_is_not_that_person(
    house: Gatehouse, version: str
) -> None:
    before(house, asked(version=version, assignee=Agent(id=4, bot=True)))

    known = parse_version(version) >= (4, 8)
    assert house.facts.assignee == (Assignee("agent_bot", 4) if known else None)


def test_the_settings_are_among_the_facts(make_house: GateFactory) -> None:
    house = make_house(
        statuses=frozenset({"open"}), max_age=5.0, yield_to_assignee=True
    )

    before(house, asked())

    assert house.facts.settings == policy.PolicySettings(
        statuses=frozenset({"open"}), max_age=5.0, yield_to_assignee=True
    )


@pytest.mark.parametrize(
    ("created_at", "age"),
    [
        (-100, 100.0),
        (50, 10.0),
        (-LONGEST_DELAY - 5, 10.0),
        (-5, 10.0),
    ],
)
def test_the_age_is_from_the_server_unless_its_clock_is_wrong(
    house: Gatehouse, clock: Clock, created_at: float, age: float
) -> None:
    event = asked(Message(id=100, created_at=clock.now + created_at))

    asked_about(house, event, clock.now - 10)

    assert house.facts.age == pytest.approx(age)


@pytest.mark.parametrize(
    ("question", "age"),
    [
        (3 * 3600.0, 10.0),
        (KEEP - 1, 10.0),
        (KEEP + 1, KEEP + 1),
        (LONGEST_DELAY + 5, LONGEST_DELAY + 5),
    ],
)
def test_a_click_is_as_old_as_its_delivery_unless_it_may_be_a_repeat(
    house: Gatehouse, clock: Clock, question: float, age: float
) -> None:
    event = asked(Message(id=100, created_at=clock.now - question))

    asked_about(house, event._replace(digest=":abc"), clock.now - 10)

    assert house.facts.age == pytest.approx(age)


@pytest.mark.parametrize(
    "conversation",
    [
        {"status": 5, "meta": [], "can_reply": None},
        {"status": ["open"], "meta": {"assignee": "Olga", "sender": 5}},
        {"can_reply": "false", "updated_at": "never", "custom_attributes": 1},
        {"messages": {}, "custom_attributes": {"support_mode": {}}},
    ],
)
def test_what_is_of_a_strange_type_is_taken_for_absent(
    house: Gatehouse, conversation: dict[str, t.Any]
) -> None:
    body = dict(asked().raw)
    body["conversation"] = {"id": 42, **conversation}
    body["created_at"] = ["x"]
    house.see(handed_off)

    with responses.RequestsMock() as mock:
        mock.get(f"{BASE_URL}/api/v1/accounts/1/conversations/42", status=401)
        before(house, event_of(body))

    assert house.facts.status is None
    assert house.facts.assignee is None
    assert house.facts.can_reply
    assert house.facts.taken


# Who has taken it


@pytest.mark.parametrize("version", VERSIONS)
def test_a_person_who_answers_has_the_conversation(
    house: Gatehouse, api: ChatwootStub, version: str
) -> None:
    assert house.sees_message(written(version=version))
    assert not house.sees_message(written("And more.", id=103, version=version))

    assert before(house, asked(Message(id=102))) == Decision(
        Audience.NOBODY, Reason.ANSWERED
    )
    assert house.facts.last_speaker is Speaker.OPERATOR
    assert before(house, asked(Message(id=104))) == Decision(
        Audience.OPERATORS, Reason.TAKEN
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"private": True},
        {"sender": Agent(bot=True)},
        {"sender": None},
        {"sender": None, "content_attributes": {"automation_rule_id": 1}},
        {"content_attributes": {"flask_chatwoot": "ours"}},
        {"additional_attributes": {"campaign_id": 3}},
    ],
    ids=repr,
)
def test_a_note_or_a_machine_takes_nothing(
    house: Gatehouse, fields: dict[str, t.Any]
) -> None:
    assert not house.sees_message(written(**fields))
    assert not house.taken


def test_a_person_on_a_phone_takes_the_conversation(house: Gatehouse) -> None:
    event = written(sender=None, content_attributes={"external_echo": True})

    assert house.sees_message(event)
    assert house.taken


def test_our_own_post_is_known_by_its_id(house: Gatehouse) -> None:
    draft = under_way(house, "On its way.")
    house.store.outbox.posted(draft, 101)

    assert not house.sees_message(written("whatever it says", id=101))
    assert not house.taken


@pytest.mark.parametrize("content", ["On its way.", "{{x}} and {% y %}"])
@pytest.mark.parametrize("escaped", [False, True])
def test_our_own_post_under_way_is_known_by_its_text(
    house: Gatehouse, content: str, escaped: bool
) -> None:
    under_way(house, content)
    text = escape(content) if escaped else content

    assert not house.sees_message(written(f" {text}\n"))
    assert not house.taken


def test_our_own_post_is_known_while_it_ends(
    house: Gatehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = under_way(house, "On its way.")

    def then_ends(look: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def wrapped(*args: t.Any, **names: t.Any) -> t.Any:
            found = look(*args, **names)
            house.store.outbox.posted(draft, 101)
            return found

        return wrapped

    outbox = house.store.outbox

    for look in ("is_ours", "under_way"):
        monkeypatch.setattr(outbox, look, then_ends(getattr(outbox, look)))

    assert not house.sees_message(written("On its way."))


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(written("Another text."), id="another text"),
        pytest.param(written("On its way.", id=99), id="older than the question"),
        pytest.param(
            written("On its way.", conversation=Conversation(id=43)),
            id="another conversation",
        ),
    ],
)
def test_a_persons_text_is_not_taken_for_a_post_under_way(
    house: Gatehouse, event: MessageEvent
) -> None:
    under_way(house, "On its way.")

    assert house.sees_message(event)


# How it is given back


def told(
    before: t.Any = None,
    after: t.Any = None,
    *,
    status: str = "open",
    conversation_id: int = 42,
    **fields: t.Any,
) -> ConversationEvent:
    """A conversation's attribute changed."""
    attributes = {"support_mode": before}, {"support_mode": after}
    body = payloads.conversation_event(
        "conversation_updated",
        Conversation(id=conversation_id, status=status),
        changed={"custom_attributes": attributes},
    )
    event = events.parse(json.dumps({**body, **fields}).encode())
    assert isinstance(event, ConversationEvent)

    return event


@pytest.mark.parametrize(
    ("before", "after", "taken"),
    [
        ("human", "bot", False),
        ("Человек", "AI агент", False),
        (None, "bot", False),
        ("something", "Bot", False),
        ("bot", "human", True),
        ("bot", "ai agent", True),
        ("human", None, True),
        ("human", "something", True),
        ("human", ["bot"], True),
        ({}, 1, True),
    ],
)
def test_an_operator_who_sets_the_attribute_to_bot_gives_it_back(
    house: Gatehouse, before: t.Any, after: t.Any, taken: bool
) -> None:
    house.see(handed_off)

    house.sees_conversation(told(before, after))

    assert house.taken is taken


def test_a_change_that_was_undone_when_it_was_told_gives_nothing_back(
    house: Gatehouse,
) -> None:
    house.see(handed_off)

    house.sees_conversation(
        told("human", "bot", custom_attributes={"support_mode": "human"})
    )

    assert house.taken


def test_another_conversation_given_back_is_another(house: Gatehouse) -> None:
    house.see(handed_off)

    house.sees_conversation(told("human", "bot", conversation_id=43))

    assert house.taken


def test_a_conversation_that_is_resolved_begins_anew(house: Gatehouse) -> None:
    house.see(handed_off)

    house.sees_conversation(
        told(
            status="resolved",
            messages=[{"id": 120}],
            changed_attributes=[
                {"status": {"previous_value": "open", "current_value": "resolved"}}
            ],
        )
    )

    assert house.ownership.load(42) == house.ownership.load(43)._replace(
        resolved_message_id=120
    )


@pytest.mark.parametrize(
    ("current", "taken"), [("resolved", False), ("open", True), ("snoozed", True)]
)
def test_a_resolve_counts_even_if_the_customer_has_written_since(
    house: Gatehouse, current: str, taken: bool
) -> None:
    """The status is as of the delivery, the change as of the event."""
    house.see(handed_off)
    change = {"previous_value": "open", "current_value": current}

    house.sees_conversation(
        told(
            event="conversation_status_changed",
            status="open",
            changed_attributes=[{"status": change}],
        )
    )

    assert house.taken is taken


def state(value: t.Any, at: t.Any) -> dict[str, t.Any]:
    """A conversation as some delivery shows it."""
    return {"id": 42, "custom_attributes": {"support_mode": value}, "updated_at": at}


def shown(value: t.Any, at: t.Any, *, id: int = 100) -> MessageEvent:
    body = {**asked(Message(id=id)).raw, "conversation": state(value, at)}

    return event_of(body)


T0: t.Final = 1_750_000_000.0


@pytest.mark.parametrize(
    ("states", "taken"),
    [
        ([("human", T0), ("bot", T0 + 1)], False),
        ([("human", T0), ("bot", T0 + 0.5)], False),
        ([("human", T0), ("bot", T0)], True),
        ([("human", T0), ("bot", T0 - 1)], True),
        ([("bot", T0)], True),
        ([("bot", T0), ("bot", T0 + 5)], True),
        ([("human", T0), ("human", T0 + 9), ("bot", T0 + 5)], True),
        ([("human", T0 + 9), ("human", T0), ("bot", T0 + 5)], True),
        ([("human", T0), (None, T0 + 5)], True),
        ([("human", T0), ("bot", None)], True),
        ([("human", None), ("bot", T0 + 5)], True),
        ([("human", "2025-06-15T15:06:40Z"), ("bot", "2025-06-15T15:06:41Z")], False),
        ([("human", "2025-06-15T15:06:40Z"), ("bot", "2025-06-15T15:06:39Z")], True),
    ],
    ids=repr,
)
def test_a_later_state_that_says_bot_gives_it_back_and_a_stale_one_does_not(
    house: Gatehouse,
    api: ChatwootStub,
    states: list[tuple[t.Any, t.Any]],
    taken: bool,
) -> None:
    house.see(handed_off)

    for value, at in states:
        before(house, shown(value, at))

    assert house.taken is taken
    assert house.facts.taken is taken


def test_a_person_who_answers_again_takes_it_again(
    house: Gatehouse, api: ChatwootStub
) -> None:
    house.see(handed_off)
    house.sees_conversation(told("human", "bot"))

    assert house.sees_message(written())
    before(house, shown("bot", T0 + 5, id=102))

    assert house.taken


# Asking Chatwoot


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    with Simulator() as sim:
        yield sim


def staged(make_house: GateFactory, sim: Simulator, whose: Token = "user") -> Gatehouse:
    return make_house(sim.url, sim.bot_token if whose == "bot" else sim.user_token)


def begun(sim: Simulator, **fields: t.Any) -> tuple[Talk, MessageEvent]:
    """A conversation with the bot, and its question as it was delivered."""
    fields = {"custom_attributes": {"support_mode": "bot"}, **fields}
    talk = sim.conversation(id=42, **fields)
    question = talk.customer_says("Where is it?")

    return talk, event_of(
        payloads.message_event(question, talk.current, history=talk.messages)
    )


def looks(sim: Simulator, endpoint: str = "conversation") -> int:
    return sum(call.endpoint == endpoint for call in sim.calls)


def test_right_before_a_public_post_chatwoot_is_asked(
    make_house: GateFactory, sim: Simulator
) -> None:
    house = staged(make_house, sim)
    talk, event = begun(sim)
    talk.change_status("snoozed")
    talk.assign(OLGA)
    talk.set_attribute("support_mode", "human")

    assert before(house, event).audience is Audience.CUSTOMER
    assert looks(sim) == 0

    assert before_post(house, event).audience is Audience.OPERATORS
    assert looks(sim) == 1

    delivered, live = house.seen
    assert (delivered.live, live.live) == (False, True)
    assert (delivered.mode, live.mode) == (Mode.BOT, Mode.HUMAN)
    assert (delivered.status, live.status) == ("open", "snoozed")
    assert (delivered.assignee, live.assignee) == (None, Assignee("user", OLGA.id))
    assert live.last_speaker is Speaker.CUSTOMER
    assert not live.answered


def test_before_a_note_nobody_is_asked(make_house: GateFactory, sim: Simulator) -> None:
    house = staged(make_house, sim)
    _, event = begun(sim)

    before_post(house, event, private=True)

    assert looks(sim) == 0
    assert not house.facts.live


def test_a_contact_blocked_meanwhile_is_not_answered(
    house: Gatehouse, api: ChatwootStub
) -> None:
    event = asked()
    current = Conversation(contact=Contact(blocked=True))
    api.live = payloads.api_conversation(current, [])

    assert before(house, event).audience is Audience.CUSTOMER
    assert before_post(house, event) == Decision(Audience.NOBODY, Reason.BLOCKED)


def test_a_person_who_answered_meanwhile_is_seen(
    make_house: GateFactory, sim: Simulator
) -> None:
    house = staged(make_house, sim)
    talk, event = begun(sim)
    talk.operator_says("It is here.")

    assert before_post(house, event) == Decision(Audience.NOBODY, Reason.ANSWERED)
    assert house.facts.last_speaker is Speaker.OPERATOR
    assert looks(sim, "list_messages") == 0


def newest(event: MessageEvent, message_id: int) -> MessageEvent:
    """The event, as if its message were this one."""
    return event._replace(message=event.message._replace(id=message_id))


def test_a_person_whose_delivery_is_lost_has_the_conversation_too(
    make_house: GateFactory, sim: Simulator
) -> None:
    house = staged(make_house, sim)
    talk, event = begun(sim)
    talk.operator_says("It is here.")
    before_post(house, event)
    talk.customer_says("And the invoice?")

    assert before_post(house, newest(event, talk.messages[-1].id)) == (
        Audience.OPERATORS,
        Reason.TAKEN,
    )


def test_the_attribute_has_to_say_so_although_a_look_was_first(
    house: Gatehouse,
) -> None:
    house.see(operator_wrote, 101)

    assert house.sees_message(written(id=101))
    house.see(attribute_set)
    assert not house.sees_message(written(id=101))


def test_the_attribute_has_to_say_so_although_a_look_is_a_moment_faster(
    house: Gatehouse,
) -> None:
    event = written()
    house.see(operator_wrote, event.message_id)

    assert house.sees_message(event)


@pytest.mark.parametrize("notes", [1, 30])
def test_a_persons_answer_behind_notes_is_seen(
    make_house: GateFactory, sim: Simulator, notes: int
) -> None:
    house = staged(make_house, sim)
    talk, event = begun(sim)
    talk.operator_says("It is here.")

    for number in range(notes):
        talk.operator_says(f"Note {number}", private=True)

    assert before_post(house, event) == Decision(Audience.NOBODY, Reason.ANSWERED)
    assert house.facts.last_speaker is Speaker.OPERATOR


@pytest.mark.parametrize(
    ("whose", "audience"), [("user", Audience.NOBODY), ("bot", Audience.CUSTOMER)]
)
def test_a_persons_answer_is_seen_behind_what_the_customer_wrote_on(
    make_house: GateFactory, sim: Simulator, whose: Token, audience: Audience
) -> None:
    """A bot's token sees no more than the last message."""
    house = staged(make_house, sim, whose)
    talk, event = begun(sim)
    talk.operator_says("It is here.")
    talk.automation_says("We are busy today.")
    talk.customer_says("Thank you.")

    assert before_post(house, event).audience is audience
    assert house.facts.last_speaker is Speaker.CUSTOMER


def test_nothing_is_listed_if_nothing_came_after_the_question(
    make_house: GateFactory, sim: Simulator
) -> None:
    house = staged(make_house, sim)
    _, event = begun(sim)

    assert before_post(house, event).audience is Audience.CUSTOMER
    assert looks(sim, "list_messages") == 0


@pytest.mark.parametrize("person", [False, True])
def test_what_was_said_before_the_question_is_no_answer_to_it(
    make_house: GateFactory, sim: Simulator, person: bool
) -> None:
    house = staged(make_house, sim)
    talk = sim.conversation(id=42, custom_attributes={"support_mode": "bot"})
    talk.operator_says("Earlier.") if person else talk.automation_says("Earlier.")
    question = talk.customer_says("Where is it?")
    talk.operator_says("A note", private=True)
    event = event_of(payloads.message_event(question, talk.current))

    assert before_post(house, event) == Decision(Audience.CUSTOMER)
    assert not house.facts.answered


def test_a_bot_that_may_not_list_messages_goes_by_the_webhooks(
    make_house: GateFactory, sim: Simulator
) -> None:
    house = staged(make_house, sim, "bot")
    talk, event = begun(sim)
    answer = talk.operator_says("It is here.")
    talk.operator_says("A note", private=True)

    assert before_post(house, event).audience is Audience.CUSTOMER
    assert house.facts.live

    said = payloads.message_event(answer, talk.current)
    house.sees_message(event_of(said))

    assert before_post(house, event) == Decision(Audience.NOBODY, Reason.ANSWERED)


def test_our_own_post_is_no_answer_of_a_person(
    make_house: GateFactory, sim: Simulator
) -> None:
    house = staged(make_house, sim)
    talk, event = begun(sim)
    draft = under_way(house, "On its way.")
    ours = talk.operator_says("On its way.")

    assert before_post(house, event).audience is Audience.CUSTOMER

    house.store.outbox.posted(draft, ours.id)
    assert before_post(house, event).audience is Audience.CUSTOMER

    talk.operator_says("It is here.")
    assert before_post(house, event).audience is Audience.NOBODY


def test_after_we_marked_it_a_live_look_that_says_bot_gives_it_back(
    make_house: GateFactory, sim: Simulator
) -> None:
    house = staged(make_house, sim)
    _, event = begun(sim)
    house.see(handed_off)

    assert before(house, event) == Decision(Audience.OPERATORS, Reason.TAKEN)
    assert looks(sim) == 1
    assert house.taken

    house.see(attribute_set)

    assert before(house, event) == Decision(Audience.CUSTOMER)
    assert not house.taken


@pytest.fixture
def interrupted(house: Gatehouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """While Chatwoot is asked, and after it has looked, a person answers."""

    def conversation(_: int) -> t.Any:
        house.sees_message(written(id=101))
        return conversation_from(
            {
                "id": 42,
                "custom_attributes": {"support_mode": "bot"},
                "last_non_activity_message": {"id": 100, "message_type": 0},
            }
        )

    monkeypatch.setattr(house.gate.live.client, "conversation", conversation)


@pytest.mark.usefixtures("interrupted")
def test_a_person_who_writes_while_chatwoot_is_asked_has_the_conversation(
    house: Gatehouse,
) -> None:
    assert before_post(house, asked()) == Decision(Audience.NOBODY, Reason.ANSWERED)
    assert house.facts.taken


@pytest.mark.usefixtures("interrupted")
def test_a_person_who_writes_while_it_is_given_back_keeps_the_conversation(
    house: Gatehouse,
) -> None:
    house.see(operator_wrote, 99)
    house.see(attribute_set)

    for _ in range(2):
        assert before(house, asked()) == Decision(Audience.NOBODY, Reason.ANSWERED)
        assert house.taken


def test_what_is_resolved_already_is_not_given_back_by_a_look(
    make_house: GateFactory, sim: Simulator
) -> None:
    """A person may write in a resolved conversation, and has it then."""
    house = staged(make_house, sim)
    talk, event = begun(sim)
    house.see(handed_off)
    talk.resolve()

    before(house, event)

    assert house.taken


@pytest.mark.parametrize("changed", [None, [], [{"labels": {"current_value": ["x"]}}]])
def test_a_change_of_something_else_in_a_resolved_conversation_is_no_resolve(
    house: Gatehouse, changed: t.Any
) -> None:
    house.see(handed_off)

    house.sees_conversation(told(status="resolved", changed_attributes=changed))

    assert house.taken


def test_a_look_before_the_provider_that_fails_costs_nothing(
    make_house: GateFactory, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    house = staged(make_house, sim)
    _, event = begun(sim)
    house.see(handed_off)
    sim.inject(Fault.SERVER_ERROR, endpoint="conversation")

    assert before(house, event) == Decision(Audience.OPERATORS, Reason.TAKEN)
    assert "who has a conversation could not be read" in caplog.text


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault.SERVER_ERROR, TransientError),
        (Fault.RATE_LIMITED, TransientError),
        (Fault.CUT_BEFORE, TransientError),
        (Fault.NOT_FOUND, PermanentError),
        (Fault.UNPROCESSABLE, PermanentError),
    ],
)
@pytest.mark.parametrize("endpoint", ["conversation", "list_messages"])
def test_when_the_look_fails_nothing_public_may_be_sent(
    make_house: GateFactory,
    sim: Simulator,
    fault: Fault,
    kind: type[APIError],
    endpoint: str,
) -> None:
    house = staged(make_house, sim)
    talk, event = begun(sim)
    talk.operator_says("A note", private=True)
    sim.inject(fault, endpoint=endpoint)

    with pytest.raises(kind):
        before_post(house, event)

    assert house.seen == []
    assert before_post(house, event).audience is Audience.CUSTOMER


@pytest.mark.parametrize("status", [401, 403])
def test_a_look_that_is_refused_is_tried_again_after_ten_minutes(
    house: Gatehouse, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    now = Clock(time.monotonic())
    monkeypatch.setattr(
        "flask_chatwoot.ownership.live.time", SimpleNamespace(monotonic=now)
    )
    url = f"{BASE_URL}/api/v1/accounts/1/conversations/42"

    with responses.RequestsMock() as mock:
        refused = mock.get(url, status=status)

        assert before_post(house, asked()) == Decision(Audience.CUSTOMER)
        assert not house.facts.live

        now.advance(RETRY_AFTER - 1)
        before_post(house, asked())
        assert refused.call_count == 1

        now.advance(2)
        before_post(house, asked())
        assert refused.call_count == 2


def test_a_look_that_is_refused_says_nothing_of_other_conversations(
    make_house: GateFactory, sim: Simulator
) -> None:
    """An operator's token may read those of some Chatwoot inboxes only."""
    house = staged(make_house, sim)
    _, event = begun(sim)
    sim.conversation(id=43, custom_attributes={"support_mode": "human"})
    sim.inject(Fault.UNAUTHORIZED, endpoint="conversation")
    first = before_post(house, event)
    other = event.conversation._replace(id=43)
    second = before_post(house, event._replace(conversation=other))

    assert [first.audience, second.audience] == [
        Audience.CUSTOMER,
        Audience.OPERATORS,
    ]
    assert house.facts.live


@pytest.mark.parametrize(
    ("seen_before", "asked_for"), [(False, REFUSALS), (True, REFUSALS + 3)]
)
def test_a_token_that_seems_to_read_nothing_is_not_tried_everywhere(
    make_house: GateFactory, sim: Simulator, seen_before: bool, asked_for: int
) -> None:
    house = staged(make_house, sim)

    if seen_before:
        house.gate.live.conversation(begun(sim)[0].id)

    sim.inject(Fault.UNAUTHORIZED, times=None, endpoint="conversation")

    for number in range(100, 100 + REFUSALS + 2):
        assert house.gate.live.conversation(number) is None

    looks = [call for call in sim.calls if call.endpoint == "conversation"]
    assert len(looks) == asked_for


@pytest.mark.parametrize("token", ["user", "bot"])
@pytest.mark.parametrize("version", ["4.12.0", "4.14.2"])
def test_a_bot_may_look_from_4_14_2_on(
    make_house: GateFactory, version: str, token: Token
) -> None:
    with Simulator(version=version) as sim:
        house = staged(make_house, sim, token)
        _, event = begun(sim)

        assert before_post(house, event).audience is Audience.CUSTOMER

    assert house.facts.live is (token == "user" or version == "4.14.2")


STRANGE: t.Final[dict[str, t.Any]] = {
    "an empty object": {},
    "an error": {"error": "no"},
    "no meta": {"status": "open", "meta": None},
    "a meta that is a list": {"meta": [], "status": []},
    "a last message that is text": {"last_non_activity_message": "Hello"},
    "a last message of strange types": {
        "last_non_activity_message": {
            "id": "x",
            "message_type": [1],
            "sender": [],
            "content_attributes": 5,
        }
    },
    "strange attributes": {"custom_attributes": [1], "updated_at": {}, "messages": 5},
}


@pytest.mark.parametrize("live", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("taken", [False, True])
def test_a_strange_look_breaks_nothing(
    house: Gatehouse, api: ChatwootStub, live: t.Any, taken: bool
) -> None:
    api.live = live

    if taken:
        house.see(handed_off)
        house.see(attribute_set)

    before_post(house, asked())

    assert house.facts.live
    assert house.facts.taken is taken
    assert not house.facts.answered


def test_after_a_button_an_earlier_answer_does_not_count(
    house: Gatehouse, api: ChatwootStub
) -> None:
    house.see(operator_wrote, 105)
    event = asked()._replace(digest=":abc")

    before(house, event)

    assert not house.facts.answered
