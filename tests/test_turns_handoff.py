"""What a hand-off changes in Chatwoot, and the notes it makes."""

from __future__ import annotations

import json
import typing as t

import pytest
import responses
from responses import matchers
from support.apps import AppFactory, components_of, ending_of, see
from support.chatwoot import BASE_URL, ChatwootStub
from support.deliveries import deliver, message

from flask_chatwoot import Chatwoot
from flask_chatwoot.errors import APIError, PermanentError, TransientError
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.state import operator_wrote, resolved
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.payloads.conversation import Conversation
from flask_chatwoot.replies import Handoff, Message, Turn
from flask_chatwoot.simulator import Fault, Simulator, payloads
from flask_chatwoot.simulator.payloads import JSON
from flask_chatwoot.simulator.state import Token
from flask_chatwoot.turns.handoff import (
    EXCERPT,
    ConversationChanges,
    encode,
    failure_note,
    note,
)

UNKNOWN: t.Final = Conversation(42)
NOTHING: t.Final = encode(Handoff())
KEPT: t.Final = {"topic": "Invoice", "number": 7, "done": False}


class Parts(t.NamedTuple):
    changes: ConversationChanges
    ownership: OwnershipStore


Make = t.Callable[..., Parts]


@pytest.fixture(name="make")
def make_parts(make_app: AppFactory) -> Make:
    def make(
        sim: Simulator | None = None, whose: Token = "user", **settings: t.Any
    ) -> Parts:
        if sim is not None:
            key = sim.bot_token if whose == "bot" else sim.user_token
            settings = {**settings, "base_url": sim.url, "api_access_token": key}

        components = components_of(make_app(**settings))

        return Parts(components.turns.changes, components.ownership)

    return make


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    with Simulator() as sim:
        yield sim


def writes(sim: Simulator) -> list[str]:
    """The endpoints by which something was changed."""
    return [str(c.endpoint) for c in sim.calls if c.method == "POST"]


def written(attributes: JSON, **more: t.Any) -> tuple[str, JSON]:
    """A change of a conversation's attributes."""
    return "custom_attributes", {"custom_attributes": attributes, **more}


# The attribute


@pytest.mark.parametrize("version", ["4.2.0", "4.14.2", "4.16.2", "4.17.0"])
@pytest.mark.parametrize("whose", ["user", "bot"])
def test_the_attribute_says_human_and_the_others_stay(
    make: Make, version: str, whose: Token
) -> None:
    with Simulator(version=version) as sim:
        parts = make(sim, whose)
        talk = sim.conversation(custom_attributes={"support_mode": "bot", **KEPT})
        before = dict(talk.current.custom_attributes)
        known = Conversation(talk.id, custom_attributes=before)
        parts.changes.hand_off(talk.id, known, NOTHING)

        assert talk.current.custom_attributes == {"support_mode": "human", **KEPT}

    holding = parts.ownership.load(talk.id)
    assert (holding.taken, holding.marked) == (True, True)


def test_a_server_that_merges_gets_only_the_one_attribute(make: Make) -> None:
    with Simulator(version="4.17.0") as sim:
        parts = make(sim)
        talk = sim.conversation(custom_attributes={"support_mode": "bot", **KEPT})
        parts.changes.hand_off(talk.id, UNKNOWN, NOTHING)

        (call,) = [c for c in sim.calls if c.endpoint == "custom_attributes"]
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


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", '{"custom_attributes": 1}'])
def test_a_server_that_does_not_return_what_it_kept_gets_all_attributes(
    make: Make, body: str
) -> None:
    known = Conversation(42, custom_attributes=KEPT)
    url = f"{BASE_URL}/api/v1/accounts/1/conversations/42"
    everything = written({**KEPT, "support_mode": "human"})[1]

    with responses.RequestsMock() as mock:
        mock.get(f"{BASE_URL}/api", json={"version": "5.0.0"})
        mock.get(url, status=401)
        first = mock.post(f"{url}/custom_attributes", body=body)
        second = mock.post(
            f"{url}/custom_attributes",
            body=body,
            match=[matchers.json_params_matcher(everything)],
        )
        make().changes.hand_off(42, known, NOTHING)

    assert (first.call_count, second.call_count) == (1, 1)


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
        ("bot", {}, "human"),
        ("AI agent", {}, "Human"),
        ("AI агент", {}, "Человек"),
        (None, {}, "human"),
        ({"odd": 1}, {}, "human"),
        ("AI agent", {"human_values": "Mensch, Person"}, "Mensch"),
        ("Maschine", {"bot_values": "Maschine"}, "Human"),
    ],
)
def test_the_attribute_is_written_in_the_words_of_the_form(
    make: Make, api: ChatwootStub, chosen: t.Any, settings: dict[str, str], human: str
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
            {"who": "bot", "support_mode": "bot"},
            {"support_mode_attr": "who"},
            {"who": "human", "support_mode": "bot"},
        ),
        *(
            (strange, {}, {"support_mode": "human"})
            for strange in (None, [], "x", 5, [["support_mode", "bot"]])
        ),
    ],
)
def test_the_attribute_may_have_another_name_and_the_others_a_strange_type(
    make: Make,
    api: ChatwootStub,
    attributes: t.Any,
    settings: dict[str, str],
    after: JSON,
) -> None:
    api.live = {"custom_attributes": attributes}
    make(**settings).changes.set_human(42, UNKNOWN)

    assert api.changes == [written(after)]


# Status and assignment


@pytest.mark.parametrize("status", ["open", "pending", "resolved", "snoozed"])
@pytest.mark.parametrize("whose", ["user", "bot"])
def test_only_a_pending_conversation_is_opened(
    make: Make, sim: Simulator, whose: Token, status: str
) -> None:
    parts = make(sim, whose)
    talk = sim.conversation(status=status)
    parts.changes.hand_off(talk.id, UNKNOWN, NOTHING)

    assert talk.status == ("open" if status == "pending" else status)
    assert ("toggle_status" in writes(sim)) is (status == "pending")
    assert "assignments" not in writes(sim)


def test_set_human_changes_the_attribute_and_nothing_else(
    make: Make, sim: Simulator
) -> None:
    parts = make(sim)
    talk = sim.conversation(status="pending")
    parts.changes.set_human(talk.id, UNKNOWN)

    assert writes(sim) == ["custom_attributes"]
    assert talk.status == "pending"


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


def test_a_team_and_an_operator_are_assigned(make: Make, sim: Simulator) -> None:
    parts = make(sim)
    talk = sim.conversation(status="pending")
    wanted = Handoff(team_id=sim.team.id, assignee_id=sim.operator.id)

    parts.changes.hand_off(talk.id, UNKNOWN, encode(wanted))

    assert talk.current.team == sim.team
    assert talk.current.assignee == sim.operator
    assert writes(sim).count("assignments") == 2


def test_a_hand_off_may_be_repeated(make: Make, sim: Simulator) -> None:
    parts = make(sim)
    talk = sim.conversation(status="pending", custom_attributes=KEPT)
    sim.inject(Fault.SERVER_ERROR, endpoint="toggle_status")

    with pytest.raises(TransientError):
        parts.changes.hand_off(talk.id, UNKNOWN, NOTHING)

    parts.changes.hand_off(talk.id, UNKNOWN, NOTHING)

    assert talk.status == "open"
    assert talk.current.custom_attributes == {**KEPT, "support_mode": "human"}
    assert writes(sim) == ["custom_attributes", "toggle_status", "toggle_status"]


@pytest.mark.parametrize(
    ("endpoint", "fault", "kind"),
    [
        ("conversation", Fault.SERVER_ERROR, TransientError),
        ("custom_attributes", Fault.SERVER_ERROR, TransientError),
        ("custom_attributes", Fault.UNAUTHORIZED, PermanentError),
        ("assignments", Fault.NOT_FOUND, PermanentError),
    ],
)
def test_a_step_that_fails_is_an_error_and_operators_have_it_nevertheless(
    make: Make, sim: Simulator, endpoint: str, fault: Fault, kind: type[APIError]
) -> None:
    parts = make(sim)
    talk = sim.conversation(custom_attributes={"support_mode": "bot", **KEPT})
    sim.inject(fault, endpoint=endpoint)

    with pytest.raises(kind):
        parts.changes.hand_off(talk.id, UNKNOWN, encode(Handoff(team_id=sim.team.id)))

    assert parts.ownership.load(talk.id).taken
    assert KEPT.items() <= talk.current.custom_attributes.items()


@pytest.mark.parametrize(
    "handoff", ["{}", "null", "[]", '{"team": "1", "assignee": [2]}', '{"team": true}']
)
def test_strange_ids_are_not_assigned(
    make: Make, api: ChatwootStub, handoff: str
) -> None:
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


@pytest.mark.parametrize(
    ("reason", "texts", "said", "expected"),
    [
        pytest.param(
            "asked for a person",
            ["Hello.", "A person!"],
            "One moment.",
            f"{BEGIN} Reason: asked for a person\n\n"
            "The customer wrote 2 messages:\n\n> Hello.\n> A person!\n\n"
            "The bot answered:\n\n> One moment.",
            id="everything",
        ),
        *(
            pytest.param(
                reason,
                ["Hello"],
                "",
                f"{BEGIN}\n\nThe customer wrote:\n\n> Hello",
                id=f"one message, reason {reason!r}",
            )
            for reason in (None, "")
        ),
        pytest.param(None, [""], " ", BEGIN, id="attachments"),
    ],
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
    assert deliver(app.test_client(), message(text)).status_code == 202

    assert ending_of(app) == ("handed_off", None)
    assert talk.replies == ["One moment."]
    (posted,) = talk.notes
    assert posted.startswith(f"{BEGIN} Reason: ")
    assert talk.current.custom_attributes == {"support_mode": "human"}


def test_a_reason_that_chatwoot_could_not_store_is_cleaned(
    make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: Handoff("not\0storable"))
    deliver(make_app(chatwoot).test_client(), message())

    (posted,) = api.notes
    assert "\0" not in posted
    assert "Reason: notstorable" in posted


@pytest.mark.parametrize("meanwhile", [False, True])
def test_an_operator_who_writes_while_the_attribute_is_set_back_has_the_conversation(
    make: Make, sim: Simulator, monkeypatch: pytest.MonkeyPatch, meanwhile: bool
) -> None:
    parts = make(sim)
    talk = sim.conversation(custom_attributes={"support_mode": "bot", **KEPT})
    see(parts.ownership, talk.id, operator_wrote, 101)
    parts.changes.set_human(talk.id, UNKNOWN)
    see(parts.ownership, talk.id, resolved, 101)
    write = parts.changes.client.set_custom_attributes

    def write_slowly(*args: t.Any, **names: t.Any) -> t.Any:
        if meanwhile:
            see(parts.ownership, talk.id, operator_wrote, 102)

        return write(*args, **names)

    monkeypatch.setattr(parts.changes.client, "set_custom_attributes", write_slowly)
    parts.changes.restore_choice(talk.id, UNKNOWN, parts.ownership.load(talk.id))

    assert talk.current.custom_attributes == {"support_mode": "bot", **KEPT}
    after = parts.ownership.load(talk.id)
    assert (after.taken, after.marked, after.former) == (meanwhile, False, None)


@pytest.mark.parametrize("by", ["an operator", "the bot"])
def test_after_a_resolve_the_next_answer_is_public_again(
    make_app: AppFactory, chatwoot: Chatwoot, sim: Simulator, by: str
) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> t.Any:
        return Handoff() if text == "A person!" else f"Answer to {text}"

    talk = sim.conversation(id=42, custom_attributes={"support_mode": "bot"})
    app = make_app(chatwoot, base_url=sim.url, api_access_token=sim.user_token)
    client = app.test_client()

    def send(said: payloads.Message) -> None:
        history = talk.messages
        deliver(client, payloads.message_event(said, talk.current, history=history))

    if by == "an operator":
        send(talk.operator_says("I am here."))
    else:
        send(talk.customer_says("A person!"))

    assert talk.current.custom_attributes == {"support_mode": "human"}
    send(talk.customer_says("one"))
    talk.resolve()
    changed = {"status": ("open", "resolved")}
    name = "conversation_status_changed"
    history = talk.messages
    deliver(
        client,
        payloads.conversation_event(
            name, talk.current, history=history, changed=changed
        ),
    )
    send(talk.customer_says("two"))

    assert talk.notes[-1] == "Answer to one"
    assert talk.replies == ["Answer to two"]
