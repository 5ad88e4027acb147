"""What a hand-off changes in Chatwoot, and the notes it makes."""

from __future__ import annotations

import functools
import json
import typing as t

import pytest
import responses
from support.apps import AppFactory, components_of, ending_of, see
from support.chatwoot import BASE_URL, SAID, ChatwootStub
from support.deliveries import deliver, message

from flask_chatwoot import Chatwoot
from flask_chatwoot.errors import APIError, PermanentError, TransientError, UnknownError
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.state import (
    Ownership,
    operator_wrote,
    resolved,
    returned,
)
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.payloads.conversation import Conversation
from flask_chatwoot.replies import Handoff, Message, Turn
from flask_chatwoot.simulator import Fault, Simulator, Talk
from flask_chatwoot.simulator.payloads import JSON
from flask_chatwoot.simulator.state import Token
from flask_chatwoot.turns.handoff import (
    EXCERPT,
    ConversationChanges,
    encode,
    failure_note,
    note,
    told_since,
)

UNKNOWN: t.Final = Conversation(42)
NOTHING: t.Final = encode(Handoff())
KEPT: t.Final = {"topic": "Invoice", "number": 7, "done": False}


class Parts(t.NamedTuple):
    changes: ConversationChanges
    ownership: OwnershipStore


class Desk:
    """A conversation in the simulator, and what changes it."""

    def __init__(self, sim: Simulator, talk: Talk, parts: Parts) -> None:
        self.sim, self.talk = sim, talk
        self.changes, self.ownership = parts

    def hand_off(self, handoff: str = NOTHING, **known: t.Any) -> None:
        self.changes.hand_off(self.talk.id, Conversation(42, **known), handoff)

    def see(self, event: t.Callable[..., Ownership], *values: t.Any) -> None:
        see(self.ownership, self.talk.id, event, *values)

    @property
    def holding(self) -> Ownership:
        return self.ownership.load(self.talk.id)

    @property
    def attributes(self) -> JSON:
        return dict(self.talk.current.custom_attributes)

    @property
    def writes(self) -> list[str]:
        """The endpoints by which something was changed."""
        return [str(c.endpoint) for c in self.sim.calls if c.method == "POST"]


Make = t.Callable[..., Parts]


@pytest.fixture
def make(make_app: AppFactory) -> Make:
    def make(**settings: t.Any) -> Parts:
        components = components_of(make_app(**settings))
        return Parts(components.turns.changes, components.ownership)

    return make


@pytest.fixture
def whose() -> Token:
    """The app's token; tests override it with ``parametrize``."""
    return "user"


@pytest.fixture
def status() -> str:
    return "pending"


@pytest.fixture
def desk(make: Make, sim: Simulator, whose: Token, status: str) -> Desk:
    token = sim.bot_token if whose == "bot" else sim.user_token
    attributes = {"support_mode": "bot", **KEPT}
    talk = sim.conversation(id=42, status=status, custom_attributes=attributes)

    return Desk(sim, talk, make(base_url=sim.url, api_access_token=token))


def written(attributes: JSON, **more: t.Any) -> tuple[str, JSON]:
    """A change of a conversation's attributes."""
    return "custom_attributes", {"custom_attributes": attributes, **more}


# The attribute


@pytest.mark.parametrize("version", ["4.2.0", "4.14.2", "4.16.2", "4.17.0"])
@pytest.mark.parametrize("whose", ["user", "bot"])
def test_the_attribute_says_human_and_the_others_stay(desk: Desk) -> None:
    desk.hand_off(custom_attributes=desk.attributes)
    assert desk.attributes == {"support_mode": "human", **KEPT}
    assert (desk.holding.taken, desk.holding.marked) == (True, True)


@pytest.mark.parametrize("version", ["4.17.0"])
def test_a_server_that_merges_gets_only_the_one_attribute(desk: Desk) -> None:
    desk.hand_off()
    (call,) = [c for c in desk.sim.calls if c.endpoint == "custom_attributes"]
    assert call.json == written({"support_mode": "human"}, merge=True)[1]


def test_a_server_that_says_it_merges_but_replaces_loses_nothing(
    make: Make, api: ChatwootStub
) -> None:
    api.version = "4.17.0"  # and yet it answers with no more than it was given
    api.live = {"status": "open", "custom_attributes": {"support_mode": "bot", **KEPT}}
    make().changes.hand_off(42, UNKNOWN, NOTHING)

    assert api.changes == [
        written({"support_mode": "human"}, merge=True),
        written({"support_mode": "human", **KEPT}),
    ]


@pytest.mark.parametrize("kept", [{}, {"topic": "Invoice"}])
def test_a_server_that_does_not_return_what_it_kept_gets_all_attributes(
    make: Make, kept: JSON
) -> None:
    known = Conversation(42, custom_attributes=KEPT)
    url = f"{BASE_URL}/api/v1/accounts/1/conversations/42"

    with responses.RequestsMock() as mock:
        mock.get(f"{BASE_URL}/api", json={"version": "5.0.0"})
        mock.get(url, status=401, body=SAID)
        mock.post(f"{url}/custom_attributes", json={"custom_attributes": kept})
        make().changes.hand_off(42, known, NOTHING)
        last = json.loads(t.cast(bytes, mock.calls[-1].request.body))

    assert last == written({**KEPT, "support_mode": "human"})[1]


@pytest.mark.parametrize("version", [None, "", "next", "4", "4.16.99", "3.99.0"])
def test_a_server_whose_version_is_unknown_or_old_gets_all_attributes(
    make: Make, api: ChatwootStub, version: str | None
) -> None:
    api.version = version
    api.live = {"custom_attributes": KEPT}
    make().changes.set_human(42, UNKNOWN)

    assert api.changes == [written({**KEPT, "support_mode": "human"})]


@pytest.mark.parametrize(
    ("chosen", "settings", "human"),
    [
        ("AI агент", {}, "Человек"),
        ("AI agent", {"human_values": "Mensch, Person"}, "Mensch"),
        ("Maschine", {"bot_values": "Maschine"}, "Human"),
    ],
)
def test_the_attribute_is_written_in_the_words_of_the_form(
    make: Make, api: ChatwootStub, chosen: str, settings: JSON, human: str
) -> None:
    api.live = {"custom_attributes": {"support_mode": chosen}}
    make(**settings).changes.set_human(42, UNKNOWN)
    assert api.changes == [written({"support_mode": human})]


@pytest.mark.parametrize("chosen", ["human", "Человек", " OPERATOR ", "Mensch"])
def test_nothing_is_written_when_it_says_human_already(
    make: Make, api: ChatwootStub, chosen: str
) -> None:
    api.live = {"status": "open", "custom_attributes": {"support_mode": chosen}}
    parts = make(human_values="Mensch")

    parts.changes.hand_off(42, UNKNOWN, NOTHING)

    assert api.changes == []
    assert parts.ownership.load(42).marked


@pytest.mark.parametrize(
    ("attributes", "settings", "after"),
    [
        (
            {"who": "bot", "a": "b"},
            {"support_mode_attr": "who"},
            {"who": "human", "a": "b"},
        ),
        (None, {}, {"support_mode": "human"}),
        ("x", {}, {"support_mode": "human"}),
        ([["support_mode", "bot"]], {}, {"support_mode": "human"}),
    ],
)
def test_the_attribute_may_have_another_name_and_the_others_a_strange_type(
    make: Make, api: ChatwootStub, attributes: t.Any, settings: JSON, after: JSON
) -> None:
    api.live = {"custom_attributes": attributes}
    make(**settings).changes.set_human(42, UNKNOWN)
    assert api.changes == [written(after)]


# Status and assignment


@pytest.mark.parametrize("status", ["open", "pending", "resolved", "snoozed"])
@pytest.mark.parametrize("whose", ["user", "bot"])
def test_only_a_pending_conversation_is_opened(desk: Desk, status: str) -> None:
    desk.hand_off()

    opened = ["toggle_status"] if status == "pending" else []
    assert desk.talk.status == ("open" if opened else status)
    assert desk.writes == ["custom_attributes", *opened]


def test_set_human_changes_the_attribute_and_nothing_else(desk: Desk) -> None:
    desk.changes.set_human(42, UNKNOWN)
    assert desk.writes == ["custom_attributes"]


def test_a_team_and_an_operator_are_assigned(desk: Desk) -> None:
    team, operator = desk.sim.team, desk.sim.operator
    desk.hand_off(encode(Handoff(team_id=team.id, assignee_id=operator.id)))

    current = desk.talk.current
    assert (current.team, current.assignee) == (team, operator)
    assert desk.writes.count("assignments") == 2


def test_a_hand_off_may_be_repeated(desk: Desk) -> None:
    desk.sim.inject(Fault.SERVER_ERROR, endpoint="toggle_status")

    with pytest.raises(TransientError):
        desk.hand_off()

    desk.hand_off()
    assert desk.talk.status == "open"
    assert desk.attributes == {**KEPT, "support_mode": "human"}
    assert desk.writes == ["custom_attributes", "toggle_status", "toggle_status"]


@pytest.mark.parametrize(
    ("known", "live", "opened"),
    [
        ("pending", "pending", True),
        ("pending", "open", False),
        ("pending", None, True),
        ("open", "pending", False),
        (None, "pending", False),
    ],
)
def test_a_pending_conversation_is_opened_if_it_still_is_pending(
    make: Make, api: ChatwootStub, known: str | None, live: str | None, opened: bool
) -> None:
    api.live = None if live is None else {"status": live}
    make().changes.open_pending(42, Conversation(42, status=known))
    assert api.changes == ([("toggle_status", {"status": "open"})] if opened else [])


ALL_STEPS: t.Final = ["custom_attributes", "toggle_status", "assignments"]


@pytest.mark.parametrize(
    ("endpoint", "fault", "kind", "steps"),
    [
        ("conversation", Fault.SERVER_ERROR, TransientError, []),
        ("custom_attributes", Fault.CUT_BEFORE, UnknownError, ALL_STEPS[:1]),
        ("custom_attributes", Fault.SERVER_ERROR, TransientError, ALL_STEPS),
        ("custom_attributes", Fault.UNAUTHORIZED, PermanentError, ALL_STEPS),
        ("toggle_status", Fault.UNPROCESSABLE, PermanentError, ALL_STEPS),
        ("assignments", Fault.NOT_FOUND, PermanentError, ALL_STEPS),
    ],
)
def test_a_step_that_fails_keeps_off_the_next_steps_only_without_an_answer(
    desk: Desk, endpoint: str, fault: Fault, kind: type[APIError], steps: list[str]
) -> None:
    desk.sim.inject(fault, endpoint=endpoint)

    with pytest.raises(kind):
        desk.hand_off(encode(Handoff(team_id=desk.sim.team.id)))

    assert desk.writes == steps
    assert desk.holding.taken
    assert KEPT.items() <= desk.attributes.items()


@pytest.mark.parametrize("fault", [Fault.UNPROCESSABLE, Fault.SERVER_ERROR])
@pytest.mark.parametrize("endpoint", ALL_STEPS)
@pytest.mark.parametrize("whose", ["user", "bot"])
@pytest.mark.parametrize("version", ["4.13.0"])
def test_only_the_step_that_failed_is_repeated(
    desk: Desk, endpoint: str, fault: Fault
) -> None:
    wanted = Handoff(team_id=desk.sim.team.id, assignee_id=desk.sim.operator.id)
    kept = [encode(wanted)]
    known = Conversation(42, status="pending", custom_attributes=desk.attributes)
    desk.sim.inject(fault, endpoint=endpoint)

    with pytest.raises(APIError):
        desk.changes.hand_off(42, known, kept[-1], kept.append)

    before = desk.writes
    desk.changes.hand_off(42, known, kept[-1], kept.append)
    desk.changes.hand_off(42, known, kept[-1], kept.append)

    assert desk.writes == [*before, endpoint]
    assert desk.attributes == {**KEPT, "support_mode": "human"}
    assert (desk.talk.status, desk.talk.current.team) == ("open", desk.sim.team)


@pytest.mark.parametrize(
    ("told", "delivered", "received_at", "since"),
    [
        (110.0, 100.0, 500.0, 510.0),
        (None, 100.0, 500.0, None),
        (110.0, 1.0, None, None),
    ],
)
def test_no_time_counts_twice_in_a_state_that_is_told_later(
    told: float | None, delivered: float, received_at: float | None, since: float | None
) -> None:
    states = Conversation(42, updated_at=told), Conversation(42, updated_at=delivered)
    assert told_since(*states, received_at) == since


@pytest.mark.parametrize("over", [functools.partial(resolved, newest=0), returned])
def test_a_hand_off_that_is_over_is_not_continued(
    desk: Desk, over: t.Callable[[Ownership], Ownership]
) -> None:
    kept = [NOTHING]
    desk.sim.inject(Fault.UNPROCESSABLE, endpoint="custom_attributes")

    with pytest.raises(APIError):
        desk.changes.hand_off(42, UNKNOWN, kept[-1], kept.append)

    before = desk.writes
    desk.see(over)
    desk.changes.hand_off(42, UNKNOWN, kept[-1], kept.append)

    assert desk.writes == before
    assert not desk.holding.taken


@pytest.mark.parametrize(
    "handoff", ["{}", "null", "[]", '{"team": "1", "assignee": [2]}', '{"team": true}']
)
def test_odd_ids_are_not_assigned(make: Make, api: ChatwootStub, handoff: str) -> None:
    api.live = {"custom_attributes": {"support_mode": "human"}}
    make().changes.hand_off(42, UNKNOWN, handoff)
    assert api.changes == []


def test_only_what_is_needed_later_is_kept_of_a_hand_off() -> None:
    kept = json.loads(encode(Handoff("asked for a person", team_id=2, assignee_id=4)))
    assert kept == {"team": 2, "assignee": 4}


# The notes


def turn_of(*texts: str) -> Turn:
    messages = tuple(Message(number, text) for number, text in enumerate(texts, 1))
    return Turn(text="\n".join(texts), mode=Mode.BOT, messages=messages)


BEGIN: t.Final = "**The bot hands this conversation off.**"
WHOLE_NOTE: t.Final = (
    f"{BEGIN} Reason: asked for a person\n\n"
    "The customer wrote 2 messages:\n\n> Hello.\n> A person!\n\n"
    "The bot answered:\n\n> One moment."
)


@pytest.mark.parametrize(
    ("reason", "texts", "said", "expected"),
    [
        ("asked for a person", ["Hello.", "A person!"], "One moment.", WHOLE_NOTE),
        (None, ["Hello"], "", f"{BEGIN}\n\nThe customer wrote:\n\n> Hello"),
        ("", ["Hello"], "", f"{BEGIN}\n\nThe customer wrote:\n\n> Hello"),
        (None, [""], " ", BEGIN),
    ],
    ids=["everything", "no reason", "empty reason", "attachments"],
)
def test_a_note_contains_the_reason_and_what_was_said(
    reason: str | None, texts: list[str], said: str, expected: str
) -> None:
    assert note(Handoff(reason), turn_of(*texts), said) == expected


@pytest.mark.parametrize("text", ["x" * 5000, "word " * 1000, "line\n" * 1000])
def test_a_note_quotes_no_more_than_an_excerpt(text: str) -> None:
    quotes = note(Handoff(), turn_of(text), text)
    quoted = [line for line in quotes.splitlines() if line.startswith(">")]

    assert len("".join(quoted)) < 4 * EXCERPT
    assert quotes.count("…") == 2


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\n\na\n\n# b\n", "> a\n\n- b"])
def test_every_line_of_a_quote_is_marked(text: str) -> None:
    _, _, quote = note(Handoff(), turn_of(text), "").partition("wrote:\n\n")
    assert all(line.startswith("> ") for line in quote.splitlines())


IN_WORDS: t.Final = (
    *(Reason.PROVIDER_FAILED, Reason.PROVIDER_INVALID, Reason.NO_PROVIDER),
    *(Reason.REFUSED, Reason.RATE_LIMITED, Reason.SERVER_ERROR),
    *(Reason.NOT_CHATWOOT, Reason.REDIRECTED),
    *(Reason.UNREACHABLE, Reason.UNCONFIRMED, Reason.CRASHED),
)


@pytest.mark.parametrize("reason", list(Reason))
@pytest.mark.parametrize("handed_off", [False, True])
def test_a_note_about_a_failure_says_what_failed_and_no_more(
    reason: Reason, handed_off: bool
) -> None:
    text = failure_note(reason, handed_off=handed_off)

    assert text.startswith("**The bot could not answer.** ")
    assert ("handed off" in text) is handed_off
    assert "Traceback" not in text
    assert len(text) < 250
    assert reason not in text or reason not in IN_WORDS


# In an app


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("A person!", "asked for a person"),
        ("half a character: \ud83d", "asked"),
        ("A person!", "half a character: \ud83d"),
        ("A person!", "not\0storable"),
        ("{{contact.email}}", "{% raw %}"),
        ("x" * 10_000, "y" * 10_000),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_turn_ends_with_a_note_and_a_hand_off_whatever_was_written(
    make_app: AppFactory, chatwoot: Chatwoot, sim: Simulator, text: str, reason: str
) -> None:
    chatwoot.reply_provider(lambda text: ["One moment.", Handoff(reason)])
    talk = sim.conversation(id=42, custom_attributes={"support_mode": "bot"})
    app = make_app(chatwoot, base_url=sim.url, api_access_token=sim.user_token)
    deliver(app.test_client(), message(text))

    assert ending_of(app) == ("handed_off", None)
    assert talk.replies == ["One moment."]
    (posted,) = talk.notes
    assert posted.startswith(f"{BEGIN} Reason: ")
    assert "\0" not in posted
    assert talk.current.custom_attributes == {"support_mode": "human"}


@pytest.mark.parametrize("meanwhile", [False, True])
def test_an_operator_who_writes_while_the_attribute_is_set_back_has_the_conversation(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    desk.see(operator_wrote, 101)
    desk.changes.set_human(42, UNKNOWN)
    desk.see(resolved, 101)
    write = desk.changes.client.set_custom_attributes

    def write_slowly(*args: t.Any, **names: t.Any) -> t.Any:
        if meanwhile:
            desk.see(operator_wrote, 102)

        return write(*args, **names)

    monkeypatch.setattr(desk.changes.client, "set_custom_attributes", write_slowly)
    desk.changes.restore_choice(42, UNKNOWN, desk.holding)

    assert desk.attributes == {"support_mode": "bot", **KEPT}
    after = desk.holding
    assert (after.taken, after.marked, after.former) == (meanwhile, False, None)
