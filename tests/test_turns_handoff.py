from __future__ import annotations

import json
import typing as t

import pytest
import responses
from responses import matchers
from support.apps import AppFactory, components_of, ending_of, see
from support.chatwoot import BASE_URL, TOKEN, ChatwootStub
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


class PartsFactory(t.Protocol):
    def __call__(self, url: str = ..., key: str = ..., **settings: t.Any) -> Parts: ...


@pytest.fixture
def make_parts(make_app: AppFactory) -> PartsFactory:
    def make(url: str = BASE_URL, key: str = TOKEN, **settings: t.Any) -> Parts:
        app = make_app(base_url=url, api_access_token=key, **settings)
        components = components_of(app)

        return Parts(components.turns.changes, components.ownership)

    return make


def parts_for(
    make_parts: PartsFactory, sim: Simulator, whose: Token = "user", **settings: t.Any
) -> Parts:
    key = sim.bot_token if whose == "bot" else sim.user_token

    return make_parts(sim.url, key, **settings)


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    with Simulator() as sim:
        yield sim


def writes(sim: Simulator) -> list[str]:
    """The endpoints by which something was changed."""
    return [str(c.endpoint) for c in sim.calls if c.method == "POST"]


# The attribute


@pytest.mark.parametrize("version", ["4.2.0", "4.14.2", "4.16.2", "4.17.0"])
@pytest.mark.parametrize("whose", ["user", "bot"])
def test_the_attribute_says_human_and_the_others_stay(
    make_parts: PartsFactory, version: str, whose: Token
) -> None:
    with Simulator(version=version) as sim:
        parts = parts_for(make_parts, sim, whose)
        talk = sim.conversation(custom_attributes={"support_mode": "bot", **KEPT})
        known = Conversation(
            talk.id, custom_attributes=dict(talk.current.custom_attributes)
        )

        parts.changes.hand_off(talk.id, known, NOTHING)

        assert talk.current.custom_attributes == {"support_mode": "human", **KEPT}

    holding = parts.ownership.load(talk.id)
    assert (holding.taken, holding.marked) == (True, True)


def test_what_was_written_meanwhile_stays_on_a_server_that_merges(
    make_parts: PartsFactory,
) -> None:
    with Simulator(version="4.17.0") as sim:
        parts = parts_for(make_parts, sim)
        talk = sim.conversation(custom_attributes={"support_mode": "bot", **KEPT})

        parts.changes.hand_off(talk.id, UNKNOWN, NOTHING)

        (call,) = [c for c in sim.calls if c.endpoint == "custom_attributes"]
        assert call.json == {
            "custom_attributes": {"support_mode": "human"},
            "merge": True,
        }


ATTRIBUTES: t.Final = f"{BASE_URL}/api/v1/accounts/1/conversations/42/custom_attributes"


def test_a_server_that_says_it_merges_but_replaces_loses_nothing(
    make_parts: PartsFactory, api: ChatwootStub
) -> None:
    api.version = "4.17.0"  # and yet it answers with no more than it was given
    api.live = {"status": "open", "custom_attributes": {"support_mode": "bot", **KEPT}}

    make_parts().changes.hand_off(42, UNKNOWN, NOTHING)

    assert api.changes == [
        (
            "custom_attributes",
            {"custom_attributes": {"support_mode": "human"}, "merge": True},
        ),
        (
            "custom_attributes",
            {"custom_attributes": {"support_mode": "human", **KEPT}},
        ),
    ]


@pytest.mark.parametrize("body", ["", "null", "[]", "{}", '{"custom_attributes": 1}'])
def test_a_server_that_does_not_say_what_it_kept_is_told_everything(
    make_parts: PartsFactory, body: str
) -> None:
    known = Conversation(42, custom_attributes=KEPT)

    with responses.RequestsMock() as mock:
        mock.get(f"{BASE_URL}/api", json={"version": "5.0.0"})
        mock.get(f"{BASE_URL}/api/v1/accounts/1/conversations/42", status=401)
        first = mock.post(ATTRIBUTES, body=body)
        second = mock.post(
            ATTRIBUTES,
            body=body,
            match=[
                matchers.json_params_matcher(
                    {"custom_attributes": {**KEPT, "support_mode": "human"}}
                )
            ],
        )
        make_parts().changes.hand_off(42, known, NOTHING)

    assert (first.call_count, second.call_count) == (1, 1)


@pytest.mark.parametrize("version", [None, "", "next", "4", "4.16.99", "3.99.0"])
def test_a_server_whose_version_is_unknown_or_old_gets_all_attributes(
    make_parts: PartsFactory, api: ChatwootStub, version: str | None
) -> None:
    api.version = version
    api.live = {"custom_attributes": KEPT}

    make_parts().changes.set_human(42, UNKNOWN)

    assert api.changes == [
        (
            "custom_attributes",
            {"custom_attributes": {**KEPT, "support_mode": "human"}},
        )
    ]


@pytest.mark.parametrize(
    ("chosen", "settings", "written"),
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
    make_parts: PartsFactory,
    api: ChatwootStub,
    chosen: t.Any,
    settings: dict[str, str],
    written: str,
) -> None:
    api.live = {"custom_attributes": {"support_mode": chosen}}

    make_parts(**settings).changes.set_human(42, UNKNOWN)

    ((_, sent),) = api.changes
    assert sent["custom_attributes"] == {"support_mode": written}


@pytest.mark.parametrize("chosen", ["human", "Человек", " OPERATOR ", "Mensch"])
def test_nothing_is_written_when_it_says_human_already(
    make_parts: PartsFactory, api: ChatwootStub, chosen: str
) -> None:
    api.live = {"status": "open", "custom_attributes": {"support_mode": chosen}}
    parts = make_parts(human_values="Mensch")

    parts.changes.hand_off(42, UNKNOWN, NOTHING)

    assert api.changes == []
    assert parts.ownership.load(42).marked


def test_the_attribute_may_have_another_name(
    make_parts: PartsFactory, api: ChatwootStub
) -> None:
    api.live = {"custom_attributes": {"who": "bot", "support_mode": "bot"}}

    make_parts(support_mode_attr="who").changes.set_human(42, UNKNOWN)

    ((_, sent),) = api.changes
    assert sent["custom_attributes"] == {"who": "human", "support_mode": "bot"}


@pytest.mark.parametrize("attributes", [None, [], "x", 5, [["support_mode", "bot"]]])
def test_attributes_of_a_strange_type_are_taken_for_none(
    make_parts: PartsFactory, api: ChatwootStub, attributes: t.Any
) -> None:
    api.live = {"custom_attributes": attributes}

    make_parts().changes.set_human(42, UNKNOWN)

    ((_, sent),) = api.changes
    assert sent["custom_attributes"] == {"support_mode": "human"}


# Status and assignment


@pytest.mark.parametrize("status", ["open", "pending", "resolved", "snoozed"])
@pytest.mark.parametrize("whose", ["user", "bot"])
def test_only_a_pending_conversation_is_opened(
    make_parts: PartsFactory, sim: Simulator, whose: Token, status: str
) -> None:
    parts = parts_for(make_parts, sim, whose)
    talk = sim.conversation(status=status)

    parts.changes.hand_off(talk.id, UNKNOWN, NOTHING)

    assert talk.status == ("open" if status == "pending" else status)
    assert ("toggle_status" in writes(sim)) is (status == "pending")
    assert "assignments" not in writes(sim)


def test_marking_changes_the_attribute_and_nothing_else(
    make_parts: PartsFactory, sim: Simulator
) -> None:
    parts = parts_for(make_parts, sim)
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
def test_a_pending_conversation_is_shown_if_it_still_is_one(
    make_parts: PartsFactory,
    api: ChatwootStub,
    known: str | None,
    live: str | None,
    opened: bool,
) -> None:
    api.live = None if live is None else {"status": live}

    make_parts().changes.open_pending(42, Conversation(42, status=known))

    assert api.changes == ([("toggle_status", {"status": "open"})] if opened else [])


def test_a_team_and_an_operator_are_assigned(
    make_parts: PartsFactory, sim: Simulator
) -> None:
    parts = parts_for(make_parts, sim)
    talk = sim.conversation(status="pending")
    wanted = Handoff(team_id=sim.team.id, assignee_id=sim.operator.id)

    parts.changes.hand_off(talk.id, UNKNOWN, encode(wanted))

    assert talk.current.team == sim.team
    assert talk.current.assignee == sim.operator
    assert writes(sim).count("assignments") == 2


def test_all_of_it_may_be_repeated(make_parts: PartsFactory, sim: Simulator) -> None:
    parts = parts_for(make_parts, sim)
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
def test_what_cannot_be_done_is_an_error_and_people_have_it_nevertheless(
    make_parts: PartsFactory,
    sim: Simulator,
    endpoint: str,
    fault: Fault,
    kind: type[APIError],
) -> None:
    parts = parts_for(make_parts, sim)
    talk = sim.conversation(custom_attributes={"support_mode": "bot", **KEPT})
    sim.inject(fault, endpoint=endpoint)

    with pytest.raises(kind):
        parts.changes.hand_off(talk.id, UNKNOWN, encode(Handoff(team_id=sim.team.id)))

    assert parts.ownership.load(talk.id).taken
    assert KEPT.items() <= talk.current.custom_attributes.items()


@pytest.mark.parametrize(
    "handoff",
    ["{}", "null", "[]", '{"team": "1", "assignee": [2]}', '{"team": true}'],
)
def test_strange_wishes_are_no_assignment(
    make_parts: PartsFactory, api: ChatwootStub, handoff: str
) -> None:
    api.live = {"custom_attributes": {"support_mode": "human"}}

    make_parts().changes.hand_off(42, UNKNOWN, handoff)

    assert api.changes == []


def test_only_what_is_needed_later_is_kept_of_a_hand_off() -> None:
    kept = json.loads(encode(Handoff("asked for a person", team_id=2, assignee_id=4)))

    assert kept == {"team": 2, "assignee": 4}


# The notes


def turn_of(*texts: str) -> Turn:
    messages = tuple(Message(number, text) for number, text in enumerate(texts, 1))

    return Turn(text="\n".join(texts), mode=Mode.BOT, messages=messages)


def test_a_note_says_why_and_what_was_said() -> None:
    text = note(
        Handoff("asked for a person"), turn_of("Hello.", "A person!"), "One moment."
    )

    assert text == (
        "**The bot hands this conversation off.** Reason: asked for a person\n\n"
        "The customer wrote 2 messages:\n\n"
        "> Hello.\n> A person!\n\n"
        "The bot answered:\n\n"
        "> One moment."
    )


def test_a_note_about_one_message_does_not_count() -> None:
    assert "The customer wrote:\n\n> Hello" in note(Handoff(), turn_of("Hello"), "")


@pytest.mark.parametrize("reason", [None, ""])
def test_a_note_without_a_reason_names_none(reason: str | None) -> None:
    text = note(Handoff(reason), turn_of("Hello"), "")

    assert "Reason" not in text
    assert "answered" not in text


def test_a_note_about_attachments_quotes_nothing() -> None:
    assert note(Handoff(), turn_of(""), " ") == (
        "**The bot hands this conversation off.**"
    )


@pytest.mark.parametrize("text", ["x" * 5000, "word " * 1000, "line\n" * 1000])
def test_a_note_quotes_no_more_than_an_excerpt(text: str) -> None:
    written = note(Handoff(), turn_of(text), text)
    quoted = [line for line in written.splitlines() if line.startswith(">")]

    assert len("".join(quoted)) < 4 * EXCERPT
    assert written.count("…") == 2


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\n\na\n\n# b\n", "> a\n\n- b"])
def test_every_line_of_a_quote_is_marked(text: str) -> None:
    written = note(Handoff(), turn_of(text), "")
    _, _, quote = written.partition("wrote:\n\n")

    assert all(line.startswith("> ") for line in quote.splitlines())


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


@pytest.mark.parametrize(
    "reason",
    [
        *(Reason.PROVIDER_FAILED, Reason.PROVIDER_INVALID, Reason.NO_PROVIDER),
        *(Reason.REFUSED, Reason.RATE_LIMITED, Reason.SERVER_ERROR),
        *(Reason.UNREACHABLE, Reason.UNCONFIRMED, Reason.CRASHED),
    ],
)
def test_a_failure_is_told_in_words(reason: Reason) -> None:
    assert reason not in failure_note(reason, handed_off=False)


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
    make_app: AppFactory, chatwoot: Chatwoot, text: str, reason: str
) -> None:
    chatwoot.reply_provider(lambda text: ["One moment.", Handoff(reason)])

    with Simulator() as sim:
        talk = sim.conversation(id=42, custom_attributes={"support_mode": "bot"})
        app = make_app(chatwoot, base_url=sim.url, api_access_token=sim.user_token)
        assert deliver(app.test_client(), message(text)).status_code == 202

    assert ending_of(app) == ("handed_off", None)
    assert talk.replies == ["One moment."]
    (written,) = talk.notes
    assert written.startswith("**The bot hands this conversation off.** Reason: ")
    assert talk.current.custom_attributes == {"support_mode": "human"}


def test_a_reason_that_chatwoot_could_not_store_is_cleaned(
    make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: Handoff("not\0storable"))
    deliver(make_app(chatwoot).test_client(), message())

    (written,) = api.notes
    assert "\0" not in written
    assert "Reason: notstorable" in written


@pytest.mark.parametrize("meanwhile", [False, True])
def test_a_person_who_writes_while_the_attribute_is_set_back_has_the_conversation(
    make_parts: PartsFactory,
    sim: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: bool,
) -> None:
    parts = parts_for(make_parts, sim)
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


@pytest.mark.parametrize("by", ["a person", "the bot"])
def test_after_a_resolve_the_next_answer_is_public_again(
    make_app: AppFactory, chatwoot: Chatwoot, by: str
) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> t.Any:
        return Handoff() if text == "A person!" else f"Answer to {text}"

    with Simulator() as sim:
        talk = sim.conversation(id=42, custom_attributes={"support_mode": "bot"})
        app = make_app(chatwoot, base_url=sim.url, api_access_token=sim.user_token)
        client = app.test_client()

        def tell(said: payloads.Message) -> None:
            history = talk.messages
            deliver(client, payloads.message_event(said, talk.current, history=history))

        if by == "a person":
            tell(talk.operator_says("I am here."))
        else:
            tell(talk.customer_says("A person!"))

        assert talk.current.custom_attributes == {"support_mode": "human"}
        tell(talk.customer_says("one"))
        talk.resolve()
        resolved = payloads.conversation_event(
            "conversation_status_changed",
            talk.current,
            history=talk.messages,
            changed={"status": ("open", "resolved")},
        )
        deliver(client, resolved)
        tell(talk.customer_says("two"))

    assert talk.notes[-1] == "Answer to one"
    assert talk.replies == ["Answer to two"]
