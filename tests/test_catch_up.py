"""What was not delivered is found in Chatwoot, and answered once."""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import shutil
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path
from types import SimpleNamespace

import pytest
from flask import Flask
from support.apps import (
    AppFactory,
    components_of,
    database_of,
    jobs_of,
    store_of,
    work,
)
from support.commands import outcome
from support.databases import set_clock
from support.queue import open_store, read
from support.servers import new_talk
from support.waiting import Clock
from support.workers import Worker, comes_true, served, settings_of

from flask_chatwoot import Chatwoot, Turn
from flask_chatwoot.catch_up import reader
from flask_chatwoot.catch_up.rules import (
    Question,
    Times,
    Verdict,
    judge,
    pause_after,
    young_for,
)
from flask_chatwoot.catch_up.sweep import CatchUp
from flask_chatwoot.catch_up.thread import CatchUpThread
from flask_chatwoot.errors import APIError, TransientError
from flask_chatwoot.queue import sweeps as module
from flask_chatwoot.simulator import Fault, Simulator, Talk, payloads
from flask_chatwoot.simulator.encoding import to_json
from flask_chatwoot.simulator.payloads import Agent, ContactRecord, MessageRecord
from flask_chatwoot.testing import SimulatorFactory, customer_message, deliver

HOUR: t.Final = 3600.0
DAY: t.Final = 24 * HOUR
YOUNG: t.Final = 10.0
"""Seconds for which a message is surely left to its delivery."""

# -- the rule ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "facts", "verdict"),
    [
        (60, {}, Verdict.TAKEN_IN),
        (15, {}, Verdict.TAKEN_IN),
        (14, {}, Verdict.YOUNG),
        (-5, {}, Verdict.YOUNG),
        (60, {"known": True}, Verdict.KNOWN),
        (14, {"known": True}, Verdict.KNOWN),
        (60, {"answered": True}, Verdict.ANSWERED),
        (14, {"answered": True}, Verdict.ANSWERED),
        (60, {"deleted": True}, Verdict.DELETED),
        (HOUR + 1, {}, Verdict.TOO_OLD),
        (HOUR + 1, {"answered": True}, Verdict.ANSWERED),
        (2 * HOUR + 1, {}, Verdict.BEFORE),
        (2 * HOUR + 1, {"id": 99}, Verdict.BEFORE),
        (2 * HOUR + 1, {"id": 100}, Verdict.TOO_OLD),
        (8 * DAY, {"id": 100}, Verdict.BEFORE),
    ],
)
def test_what_becomes_of_a_message(
    age: float, facts: dict[str, t.Any], verdict: Verdict
) -> None:
    now = 1_750_000_000.0
    times = Times(now, began_at=now - 2 * HOUR, began_with=100, young_for=15.0)

    assert judge(Question(**{"id": 50, "written_at": now - age, **facts}), times) is (
        verdict
    )


@pytest.mark.parametrize("ahead", [2 * HOUR, -2 * HOUR])
def test_no_message_is_left_because_one_clock_is_wrong(ahead: float) -> None:
    """The database keeps the time of a clock that was set since, or the reverse."""
    now = 1_750_000_000.0
    times = Times(now, began_at=now - 600, young_for=15.0, max_age=HOUR, ahead=ahead)

    for right in (now, now - ahead):
        assert judge(Question(50, right - 60), times) is Verdict.TAKEN_IN


def test_half_a_short_interval_is_enough_for_a_delivery_and_none_at_a_start() -> None:
    assert young_for(60.0, at_start=False) == 15.0
    assert young_for(4.0, at_start=False) == 2.0
    assert young_for(60.0, at_start=True) == 0.0


@pytest.mark.parametrize(
    ("interval", "pauses"),
    [(60.0, [60, 120, 240, 480, 900, 900]), (1800.0, [1800, 1800])],
)
def test_the_interval_doubles_with_each_failure(
    interval: float, pauses: list[float]
) -> None:
    assert [pause_after(n, interval, 900.0) for n in range(len(pauses))] == pauses


# -- an app, a Chatwoot, and deliveries that are lost ------------------------------


class Place:
    """An app and a Chatwoot with one clock. Messages are delivered by hand, or not.

    :ivar turns: What the provider was asked, in this order.
    """

    def __init__(self, sim: Simulator, clock: Clock, make_app: AppFactory) -> None:
        self.sim = sim
        self.clock = clock
        self.turns: list[Turn] = []
        self._make_app = make_app
        self._read = 0
        self.app = self.new_app()

    def new_app(self, **settings: t.Any) -> Flask:
        chatwoot = Chatwoot()
        app = self._make_app(
            chatwoot,
            **{
                "backend": "thread",
                "workers": 0,
                "base_url": self.sim.url,
                "api_access_token": self.sim.user_token,
                "retry_pause": 0.01,
                "timeout": 5.0,
                **settings,
            },
        )
        set_clock(database_of(app), self.clock)

        @chatwoot.reply_provider
        def reply(text: str, turn: Turn) -> str:
            self.turns.append(turn)
            return f"About {text}"

        return app

    def talk(self, mode: str = "bot", **fields: t.Any) -> Talk:
        return self.sim.conversation(custom_attributes={"support_mode": mode}, **fields)

    def begin(self) -> Talk:
        """A conversation of which a message was delivered and answered."""
        talk = self.talk()
        self.delivered(talk, "Hello")

        return talk

    def delivered(self, talk: Talk, text: str) -> None:
        """Let the customer write, and answer."""
        message = talk.customer_says(text)
        self.deliver(talk, message)
        work(self.app)

    def deliver(self, talk: Talk, message: MessageRecord) -> int:
        """Deliver a message; the status of the answer."""
        payload = customer_message(
            message.content or "",
            id=message.id,
            conversation_id=talk.id,
            inbox_id=talk.current.inbox.id,
            status=talk.status,
            mode=talk.current.custom_attributes["support_mode"],
            message={"created_at": message.created_at},
        )

        return deliver(self.app.test_client(), payload).status_code

    def later(self, seconds: float = 60.0) -> None:
        self.clock.advance(seconds)

    def sweep(self, *, at_start: bool = False, app: Flask | None = None) -> int | None:
        """Make a sweep that is due, and work off what it found."""
        app = app or self.app
        started_at = self.clock() if at_start else self.clock() - DAY
        count = components_of(app).catch_up.sweep(
            started_at=started_at, now=True, wait=lambda seconds: None
        )
        work(app)

        return count

    @property
    def reads(self) -> t.Sequence[str | None]:
        """The requests of sweeps since the last look."""
        names = [
            call.endpoint
            for call in self.sim.calls
            if call.endpoint in ("list_conversations", "list_messages")
        ]
        before, self._read = self._read, len(names)

        return names[before:]


@pytest.fixture
def clock() -> Clock:
    return Clock(1_900_000_000.0)


@pytest.fixture
def sim(clock: Clock) -> t.Iterator[Simulator]:
    with Simulator(clock=clock) as sim:
        yield sim


@pytest.fixture
def place(sim: Simulator, clock: Clock, make_app: AppFactory) -> Place:
    return Place(
        sim, clock, lambda *a, **k: make_app(*a, **{"webhook_secret": None, **k})
    )


def test_a_lost_message_is_answered_and_the_turn_says_how_it_was_found(
    place: Place,
) -> None:
    talk = place.begin()
    place.later()
    talk.customer_says("Where is it?")
    place.later(42)

    assert place.sweep() == 1
    assert talk.replies == ["About Hello", "About Where is it?"]
    assert [turn.found_by for turn in place.turns] == ["delivery", "catch_up"]
    assert not place.turns[-1].late
    assert (
        "found by catch-up, 42 s after it was written"
        in outcome(place.app, "why", str(talk.id))[1]
    )


def test_what_is_known_is_not_taken_in_again(place: Place) -> None:
    talk = place.begin()
    place.later()
    place.sweep()
    place.later()

    assert place.sweep() == 0
    assert talk.replies == ["About Hello"]


def test_a_young_message_is_left_to_its_delivery_except_at_a_start(
    place: Place,
) -> None:
    talk = place.begin()
    place.later()
    talk.customer_says("One")
    place.later(YOUNG)

    assert place.sweep() == 0
    place.later(YOUNG)
    assert place.sweep() == 1

    talk.customer_says("Two")
    place.later(1)
    assert place.sweep(at_start=True) == 1
    assert talk.replies == ["About Hello", "About One", "About Two"]


def test_a_late_delivery_of_what_was_found_is_a_duplicate(place: Place) -> None:
    talk = place.begin()
    message = talk.customer_says("One")
    place.later()
    place.sweep()

    assert place.deliver(talk, message) == 200
    work(place.app)
    assert talk.replies == ["About Hello", "About One"]


def test_messages_found_before_a_later_one_was_answered_keep_their_order(
    place: Place,
) -> None:
    talk = place.begin()
    talk.customer_says("One")
    place.later(1)
    three = talk.customer_says("Two"), talk.customer_says("Three")
    place.later()
    place.deliver(talk, three[1])

    assert place.sweep() == 2
    assert talk.replies == ["About Hello", "About One\nTwo\nThree"]
    assert (place.turns[-1].found_by, place.turns[-1].late) == ("catch_up", False)


def test_a_text_found_after_a_later_one_was_answered_gets_a_late_turn(
    place: Place,
) -> None:
    talk = place.begin()
    talk.customer_says("Lost")
    place.delivered(talk, "Two")
    place.later()
    components_of(place.app).catch_up.sweep(
        started_at=0.0, now=True, wait=lambda seconds: None
    )
    place.delivered(talk, "Three")

    assert talk.replies == ["About Hello", "About Two", "About Lost", "About Three"]
    assert [(turn.found_by, turn.late) for turn in place.turns[2:]] == [
        ("catch_up", True),
        ("delivery", False),
    ]


def test_a_click_that_was_lost_is_found(place: Place) -> None:
    talk = place.begin()
    items = [{"title": "Order", "value": "order"}]
    question = talk.add(
        place.sim.bot,
        "Which?",
        content_type="input_select",
        content_attributes={"items": items, "automation_rule_id": 1},
    )
    talk.customer_picks(question, "Order")
    place.later()

    assert place.sweep() == 1
    assert talk.replies[-1] == "About Order"
    place.later()
    talk.set_attribute("other", "value")
    assert place.sweep() == 0


# -- who answered since ------------------------------------------------------------


def test_an_operators_lost_reply_is_learnt_and_answers_what_came_before(
    place: Place,
) -> None:
    talk = place.begin()
    talk.customer_says("One")
    talk.operator_says("Olga here.")
    place.later()
    place.sweep()

    assert talk.replies == ["About Hello"]
    assert talk.current.custom_attributes["support_mode"] == "human"

    place.delivered(talk, "Two")
    assert talk.notes == ["About Two"]


@pytest.mark.parametrize(
    ("attributes", "replies"),
    [({}, 1), ({"automation_rule_id": 1}, 2)],
    ids=["another bot", "an automation"],
)
def test_what_another_bot_answered_is_not_answered(
    place: Place, attributes: dict[str, t.Any], replies: int
) -> None:
    talk = place.begin()
    talk.customer_says("One")
    other = Agent(id=99, name="Captain", bot=True)
    talk.add(other, "I can help.", content_attributes=attributes)
    place.later()
    place.sweep()

    assert len(talk.replies) == replies


@pytest.mark.parametrize(
    ("fields", "takes_over"),
    [
        ({"additional_attributes": {"sender_name": "Otto"}}, True),
        ({"content_attributes": {"external_echo": True}}, True),
        ({"content_attributes": {"automation_rule_id": 1}}, False),
        ({"content": None}, False),  # a file that an automation sends
    ],
    ids=["Slack", "the channel's app", "an automation", "an automation's file"],
)
@pytest.mark.parametrize("then", [[], ["Are you there?"]], ids=["newest", "hidden"])
def test_an_operator_without_a_user_takes_over(
    place: Place, fields: dict[str, t.Any], takes_over: bool, then: list[str]
) -> None:
    talk = place.begin()
    place.later()
    talk.add(None, **{"content": "I am looking it up.", **fields})

    for text in then:
        talk.customer_says(text)

    place.later()
    place.sweep()

    assert components_of(place.app).ownership.load(talk.id).taken is takes_over
    assert len(talk.replies) == (1 if takes_over else 1 + len(then))


@pytest.mark.parametrize("known", ["by its id", "by its marker", "in no database"])
def test_what_the_host_posted_is_no_other_instances_nor_an_operators(
    place: Place, known: str
) -> None:
    chatwoot = Chatwoot()
    talk = place.begin()
    place.later()
    place.sweep()

    if known == "by its marker":
        place.sim.inject(Fault.CUT_AFTER, endpoint="create_message")

    with place.app.app_context(), contextlib.suppress(APIError):
        chatwoot.client.create_message(talk.id, "An offer.")

    if known == "in no database":
        store_of(place.app).outbox.by_host.prune(-1.0)

    talk.customer_says("Two")
    place.later()

    assert place.sweep() == 1
    assert talk.replies == ["About Hello", "An offer.", "About Two"]
    assert store_of(place.app).sweeps.state().foreign_id is None  # type: ignore[union-attr]


@pytest.mark.parametrize("swept", [True, False], ids=["swept", "only delivered"])
def test_an_operator_who_began_the_conversation_has_it(
    place: Place, swept: bool
) -> None:
    """The search before a post finds it, and the sweep sets the attribute."""
    place.begin()
    talk = place.talk()
    talk.operator_says("May I help you?")
    place.later()

    if swept:
        place.sweep()

    place.delivered(talk, "One")
    assert (talk.replies, talk.notes) == ([], ["About One"])
    place.later()
    place.sweep()
    assert talk.current.custom_attributes["support_mode"] == "human"


def test_a_message_that_was_saved_after_a_newer_one_is_found(place: Place) -> None:
    talk = place.begin()
    saved, reply = talk._stored.messages, talk.operator_says("Olga here.")
    place_of_it = saved.index(reply)
    saved.remove(reply)
    talk.customer_says("One")
    place.later()
    place.sweep()
    assert talk.replies == ["About Hello", "About One"]

    saved.insert(place_of_it, reply)
    talk.set_attribute("order_id", "4711")
    place.later()
    place.sweep()
    place.delivered(talk, "Two")
    assert talk.notes == ["About Two"]


@pytest.mark.parametrize(
    "change",
    [
        {"custom_attributes": ({"support_mode": "human"}, {"support_mode": "bot"})},
        {"status": ("open", "resolved")},
    ],
    ids=["return", "resolve"],
)
def test_an_operators_lost_reply_from_before_an_end_takes_nothing_over(
    place: Place, change: t.Mapping[str, tuple[t.Any, t.Any]]
) -> None:
    talk = place.begin()
    talk.operator_says("Olga here.")
    ended = payloads.conversation_event(
        "conversation_updated", talk.current, history=talk.messages, changed=change
    )
    deliver(place.app.test_client(), ended)
    place.later()
    place.sweep()
    place.delivered(talk, "Two")

    assert talk.replies == ["About Hello", "About Two"]


def test_an_operators_lost_reply_in_a_resolved_conversation_takes_over(
    place: Place,
) -> None:
    talk = place.begin()
    talk.resolve()
    place.later()
    place.sweep()
    talk.operator_says("It was sent today.")
    place.later()
    place.sweep()
    place.delivered(talk, "Two")

    assert talk.notes == ["About Two"]


def test_an_operators_lost_reply_in_a_pending_conversation_takes_over(
    place: Place,
) -> None:
    """It was set back to pending before; that was not delivered, either."""
    talk = place.begin()
    talk.operator_says("Olga here.")
    talk.change_status("snoozed")
    place.later()
    place.sweep()
    talk.change_status("pending")
    talk.operator_says("Olga again.")
    place.later()
    place.sweep()
    place.delivered(talk, "Two")

    assert talk.notes == ["About Two"]


def test_a_campaign_that_begins_a_conversation_takes_nothing_over(place: Place) -> None:
    place.begin()
    talk = place.talk()
    talk.add(place.sim.user, "Hi!", additional_attributes={"campaign_id": 7})
    talk.customer_says("Hello?")
    place.later()

    assert place.sweep() == 1
    assert talk.replies == ["About Hello?"]


@pytest.mark.parametrize(
    ("content", "sender", "attributes"),
    [
        ("", {}, {}),
        ("Hello?", {"blocked": True}, {}),
        ("Undelivered", {}, {"email": {"from": ["mailer-daemon@mx.example.com"]}}),
    ],
    ids=["without text", "of a blocked contact", "of a mail daemon"],
)
def test_what_a_delivery_would_not_begin_a_turn_with_begins_none(
    place: Place,
    content: str,
    sender: dict[str, t.Any],
    attributes: dict[str, t.Any],
) -> None:
    place.begin()
    talk = place.talk(contact=ContactRecord(id=77, **sender))
    talk.customer_says(content, content_attributes=attributes)
    place.later()

    assert place.sweep() == 0


def test_a_deleted_message_is_not_answered(place: Place) -> None:
    talk = place.begin()
    message = talk.customer_says("One")
    talk.edit(message, content="Deleted", content_attributes={"deleted": True})
    place.later()

    assert place.sweep() == 0


# -- status and attributes ---------------------------------------------------------


def test_a_resolve_that_was_lost_ends_the_takeover(place: Place) -> None:
    talk = place.begin()
    talk.operator_says("Olga here.")
    place.later()
    place.sweep()
    assert components_of(place.app).ownership.load(talk.id).taken

    place.later()
    talk.resolve()
    place.later()
    place.sweep()

    assert not components_of(place.app).ownership.load(talk.id).taken


def test_a_state_that_is_older_than_what_is_known_is_not_taken_in(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = place.begin()
    talk.resolve()
    place.later()
    ownership = components_of(place.app).ownership
    messages = reader.Reader.messages

    def meanwhile(*arguments: t.Any) -> t.Any:
        ownership.apply(talk.id, lambda state: state._replace(taken=True))
        return messages(*arguments)

    monkeypatch.setattr(reader.Reader, "messages", meanwhile)
    place.sweep()

    assert ownership.load(talk.id).taken


def test_beside_an_agent_bots_token_a_users_token_reads(
    place: Place, tmp_path: Path
) -> None:
    """Chatwoot lets no bot list conversations."""
    tokens = {
        "api_access_token": place.sim.bot_token,
        "database_url": f"sqlite:///{tmp_path / 'bot'}",
    }
    place.app = place.new_app(**tokens)
    talk = place.begin()
    talk.customer_says("One")
    place.later()

    with pytest.raises(APIError, match="401"):
        place.sweep()

    code, printed = outcome(place.app, "catch-up")
    assert code == 1
    assert "Set CHATWOOT_USER_ACCESS_TOKEN" in printed

    tokens["database_url"] += "s"
    place.app = place.new_app(**tokens, user_access_token=place.sim.user_token)
    place.delivered(talk, "Two")
    place.later()
    place.sweep()
    talk.customer_says("Three")
    place.later()

    assert place.sweep() == 1
    assert talk.replies[-1] == "About Three"


# -- the beginning, copies, and other instances ------------------------------------


def test_nothing_is_asked_for_before_a_verified_delivery_of_the_account(
    place: Place,
) -> None:
    talk = place.talk()
    talk.customer_says("One")
    place.later()

    assert place.sweep() is None
    foreign = customer_message("Hello", id=5, conversation_id=9, account_id=2)
    deliver(place.app.test_client(), foreign)
    assert place.sweep() is None
    assert place.reads == []


def test_an_inbox_of_which_nothing_was_ever_delivered_is_left(place: Place) -> None:
    """An agent bot is linked to some inboxes only."""
    place.begin()
    talk = place.talk(inbox_id=4)
    talk.customer_says("One")
    place.later()

    assert place.sweep() == 0
    place.delivered(talk, "Two")
    place.later()
    assert place.sweep() == 1


def test_what_was_written_before_a_new_database_began_is_left(place: Place) -> None:
    before = place.talk(status="pending")
    before.customer_says("Before")
    place.later(1)
    place.begin()
    place.later(2 * HOUR)
    before.set_attribute("touched", "now")
    place.later()

    assert place.sweep() == 0
    assert (before.replies, before.notes, before.status) == ([], [], "pending")


@pytest.mark.sqlite
def test_a_copy_of_a_database_needs_a_delivery_of_its_own(
    place: Place, tmp_path: Path
) -> None:
    talk = place.begin()
    talk.customer_says("One")
    place.later()
    copied = copy_of(place, tmp_path)

    assert place.sweep(app=copied) is None
    assert talk.replies == ["About Hello"]


def copy_of(place: Place, folder: Path) -> Flask:
    """An app with a copy of the database as it is now."""
    database_of(place.app).close()
    path = folder / "copy.sqlite3"
    shutil.copy(database_of(place.app).path, path)

    return place.new_app(database_url=f"sqlite:///{path}")


def test_a_post_that_is_not_ours_means_another_instance_and_stops_catch_up(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    talk = place.begin()
    place.later()
    place.sweep()
    place.later()
    other = talk.add(
        place.sim.user, "Mine", content_attributes={"flask_chatwoot": "0" * 32}
    )
    lost = place.begin()
    lost.customer_says("One")
    place.later()

    with caplog.at_level(logging.ERROR):
        place.sweep()
        place.later()
        assert place.sweep() is None

    (error,) = caplog.records
    assert f"message {other.id}" in error.getMessage()
    assert lost.replies == ["About Hello"]

    code, printed = outcome(place.app, "catch-up")
    assert code == 1
    assert str(other.id) in printed

    code, printed = outcome(place.app, "catch-up", "--dry-run")
    assert printed.startswith("Nothing is taken in now. Another instance has posted")
    assert "would then be taken in.\n" in printed

    code, printed = outcome(place.app, "catch-up", "--resume")
    assert (code, printed) == (0, "1 message found and stored for the workers.\n")


@pytest.mark.sqlite
def test_an_older_copy_of_the_database_leaves_what_it_may_have_answered(
    place: Place, tmp_path: Path
) -> None:
    old = place.begin()
    place.later()
    place.sweep()
    copied = copy_of(place, tmp_path)
    pending = place.talk(status="pending")
    pending.customer_says("Unanswered")
    place.later(1)
    place.delivered(old, "After the copy")
    place.later(2 * HOUR)
    recent = place.talk()
    recent.customer_says("Recent")
    place.later()
    place.app = copied
    place.delivered(place.talk(), "Of its own")

    assert place.sweep() == 1
    assert old.replies == ["About Hello", "About After the copy"]
    assert (pending.notes, pending.status) == ([], "pending")
    assert recent.replies == ["About Recent"]


@pytest.mark.sqlite
def test_a_click_that_an_older_copy_does_not_know_is_not_answered_again(
    place: Place, tmp_path: Path
) -> None:
    talk = place.begin()
    place.later()
    place.sweep()
    copied = copy_of(place, tmp_path)
    items = [{"title": "Order", "value": "order"}]
    question = talk.add(
        place.sim.bot,
        "Which?",
        content_type="input_select",
        content_attributes={"items": items, "automation_rule_id": 1},
    )
    talk.customer_picks(question, "Order")
    place.later()
    assert place.sweep() == 1
    place.later(600)
    place.app = copied
    place.delivered(place.talk(), "Of its own")
    place.sweep()

    assert talk.replies.count("About Order") == 1


# -- too old -----------------------------------------------------------------------


def test_what_is_too_old_is_left_and_a_pending_conversation_of_ours_is_opened(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    place.begin()
    place.later()
    place.sweep()
    pending, open_, theirs = (
        place.talk(status="pending"),
        place.talk(),
        place.talk(status="pending", assignee=place.sim.operator),
    )
    others = [
        place.talk(status="pending", assignee=Agent(id=99, name="Another", bot=True)),
        place.talk(status="pending", contact=ContactRecord(id=9, blocked=True)),
    ]

    for talk in (pending, open_, theirs, *others):
        talk.customer_says("One")
        talk.customer_says("Two")

    place.later(HOUR + 60)

    with caplog.at_level(logging.WARNING):
        assert place.sweep() == 0

    assert len(place.turns) == 1
    assert pending.status == "open"
    (note,) = pending.notes
    assert "did not answer" in note
    assert (open_.notes, theirs.notes, theirs.status) == ([], [], "pending")
    assert [(talk.notes, talk.status) for talk in others] == [([], "pending")] * 2
    (warning,) = [each for each in caplog.records if "MAX_AGE" in each.getMessage()]
    assert warning.getMessage().endswith("CHATWOOT_MAX_AGE: 6")

    place.later()
    assert place.sweep() == 0
    assert len(pending.notes) == 1


def test_a_message_is_as_old_as_it_says_and_a_late_delivery_adds_no_note(
    place: Place,
) -> None:
    place.begin()
    place.later()
    place.sweep()
    pending = place.talk(status="pending")
    imported = {"external_created_at": place.clock() - 45 * DAY}
    first = pending.customer_says("One", content_attributes=imported)
    last = pending.customer_says("Two", content_attributes=imported)
    place.later()
    place.sweep()
    assert (len(pending.notes), pending.status) == (1, "open")

    place.later(HOUR)

    assert [place.deliver(pending, each) for each in (first, last)] == [202, 200]
    work(place.app)
    assert len(place.turns) == 1
    assert len(pending.notes) == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"content_type": "voice_call"},
        {"content_attributes": {"is_reaction": True}},
    ],
)
def test_what_asks_nothing_is_not_taken_in(
    place: Place, fields: dict[str, t.Any], caplog: pytest.LogCaptureFixture
) -> None:
    place.begin()
    place.later()
    place.sweep()
    talk = place.talk(status="pending")
    talk.customer_says("👍", **fields)

    for seconds in (60, 2 * HOUR):
        place.later(seconds)
        assert place.sweep() == 0

    assert len(place.turns) == 1
    assert (talk.notes, talk.status) == ([], "pending")
    assert "MAX_AGE" not in caplog.text


# -- requests ----------------------------------------------------------------------


def test_a_sweep_costs_one_request_and_one_for_each_conversation_that_changed(
    place: Place,
) -> None:
    first, second = place.begin(), place.begin()
    place.later()
    place.sweep()
    place.later(30)
    assert place.reads

    place.sweep()
    assert place.reads == ["list_conversations"]

    second.customer_says("One")
    place.later(30)
    place.sweep()
    assert place.reads == ["list_conversations", "list_messages"]
    assert first.replies == ["About Hello"]


def test_all_of_a_long_absence_is_read(place: Place) -> None:
    talk = place.begin()
    place.later()
    place.sweep()

    for number in range(45):
        talk.customer_says(f"{number}")

    place.later()

    assert place.sweep() == 45


@pytest.mark.parametrize(
    ("fault", "endpoint"),
    [
        (Fault.RATE_LIMITED, "list_conversations"),
        (Fault.SERVER_ERROR, "list_conversations"),
        (Fault.CUT_BEFORE, "list_conversations"),
        (Fault.SERVER_ERROR, "list_messages"),
    ],
)
def test_after_a_failure_the_interval_doubles_and_each_inbox_is_asked_for(
    place: Place, fault: Fault, endpoint: str
) -> None:
    talk = place.begin()
    place.delivered(place.talk(inbox_id=4), "Hello")
    talk.customer_says("One")
    place.later()
    place.sim.inject(fault, endpoint=endpoint)
    place.reads  # noqa: B018 - those so far

    with pytest.raises(APIError):
        place.sweep()

    state = store_of(place.app).sweeps.state()
    assert state is not None
    assert state.due_at == place.clock() + 120.0
    assert state.error
    place.reads  # noqa: B018

    assert place.sweep() == 1
    assert place.reads[:3] == [*["list_conversations"] * 2, "list_messages"]
    assert talk.replies == ["About Hello", "About One"]


@pytest.mark.parametrize(("wanted", "pause"), [(None, 120.0), (600.0, 600.0)])
def test_the_next_sweep_waits_as_long_as_chatwoot_wants(
    place: Place, monkeypatch: pytest.MonkeyPatch, wanted: float | None, pause: float
) -> None:
    def refuse(*_: t.Any) -> t.NoReturn:
        raise TransientError("Retry later.", endpoint="GET /", retry_after=wanted)

    place.begin()
    monkeypatch.setattr(reader.Reader, "conversations", refuse)

    with pytest.raises(APIError):
        place.sweep()

    state = store_of(place.app).sweeps.state()
    assert state is not None
    assert state.due_at == place.clock() + pause


@pytest.mark.parametrize(
    ("fault", "failures"),
    [(Fault.NOT_FOUND, 0), (Fault.UNAUTHORIZED, 1), (Fault.SERVER_ERROR, 4)],
)
def test_one_conversation_that_cannot_be_read_does_not_keep_the_others_waiting(
    place: Place, monkeypatch: pytest.MonkeyPatch, fault: Fault, failures: int
) -> None:
    bad, good = place.begin(), place.begin()
    bad.customer_says("One")
    good.customer_says("Two")
    place.later()
    messages = reader.Reader.messages

    def refused(look: reader.Reader, id: int, *rest: t.Any) -> t.Any:
        if id == bad.id:
            place.sim.inject(fault, endpoint="list_messages")

        return messages(look, id, *rest)

    monkeypatch.setattr(reader.Reader, "messages", refused)

    for _ in range(failures):
        with pytest.raises(APIError):
            place.sweep()

        place.later()

    place.sweep()
    assert len(good.replies) == 2
    state = store_of(place.app).sweeps.state()
    assert state is not None
    assert state.failures == 0


def test_a_sweep_that_read_something_before_it_failed_is_soon_followed(
    place: Place,
) -> None:
    good, bad = place.begin(), place.begin()
    good.customer_says("One")
    bad.customer_says("Two")
    place.later()
    messages = reader.Reader.messages
    failing = [bad.id] * 4

    def refused(look: reader.Reader, id: int, *rest: t.Any) -> t.Any:
        if failing and id == failing[0]:
            place.sim.inject(Fault.SERVER_ERROR, endpoint="list_messages")
            failing.pop()

        return messages(look, id, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reader.Reader, "messages", refused)

        for said, pause in (("", 60.0), ("Three", 60.0), ("", 240.0)):
            if said:
                good.customer_says(said)
                place.later()

            with pytest.raises(APIError):
                place.sweep()

            state = store_of(place.app).sweeps.state()
            assert state is not None
            assert state.due_at == place.clock() + pause


def test_a_message_that_cannot_be_parsed_does_not_keep_the_others_waiting(
    place: Place,
) -> None:
    talk = place.begin()
    deep: list[t.Any] = []

    for _ in range(600):
        deep = [deep]

    talk.customer_says("Odd", content_attributes={"data": deep})
    talk.customer_says("One")
    place.later()

    assert place.sweep() == 1
    assert talk.replies[-1] == "About One"


def test_a_list_that_is_too_long_is_asked_for_inbox_by_inbox(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.begin()
    other = place.talk(inbox_id=4)
    place.delivered(other, "Hello")
    first.customer_says("One")
    other.customer_says("Two")
    place.later()
    monkeypatch.setattr(reader, "LIST", reader.Limits(30.0, size_of_list(place) - 1))
    place.reads  # noqa: B018

    assert place.sweep() == 2
    assert place.reads[:3] == ["list_conversations"] * 3


def size_of_list(place: Place) -> int:
    """Bytes of the list of all conversations."""
    client = components_of(place.app).client
    answer = client.call("GET", "/conversations", params={"updated_within": 99_999})
    return len(to_json(answer))


def test_no_more_than_five_requests_begin_in_a_second(place: Place) -> None:
    waits: list[float] = []
    look = reader.Reader(components_of(place.app).client, wait=waits.append)

    for _ in range(3):
        look.conversations(60.0)

    assert waits[0] == 0.0
    assert all(0.1 < wait <= reader.PAUSE for wait in waits[1:])


def test_one_process_at_a_time_sweeps(place: Place) -> None:
    place.begin()
    sweeps = store_of(place.app).sweeps
    now = place.clock()
    claim = functools.partial(sweeps.claim, interval=60.0, hold=15.0)

    first = claim(started_at=now + 1)
    assert first is not None
    assert claim(started_at=now + 1) is None

    sweeps.swept(first[0], began=now, interval=60.0, newest_id=0, floor=0.0)
    assert claim(started_at=now) is None
    assert claim(started_at=now + 1) is not None

    place.later(16.0)
    assert claim(started_at=now + 1) is not None


def test_a_process_of_another_machine_sweeps_whatever_that_is_called(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers often have the same name, and each counts its processes itself."""
    place.begin()
    sweeps = store_of(place.app).sweeps
    claim = functools.partial(
        sweeps.claim, interval=60.0, hold=15.0, started_at=place.clock() + 1
    )
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()

    with monkeypatch.context() as there:
        there.setattr("os.getpid", lambda: dead.pid)
        there.setattr("os.readlink", lambda _: "pid:[of another]")
        module._machine.cache_clear()
        assert claim() is not None

    module._machine.cache_clear()
    assert claim() is None

    place.later(16.0)

    with monkeypatch.context() as here:
        here.setattr("os.getpid", lambda: dead.pid)
        assert claim() is not None

    assert claim() is not None  # that one is gone, as can be seen from here


# -- processes ---------------------------------------------------------------------


def test_workers_look_as_soon_as_they_start_and_then_at_every_interval(
    chatwoot_simulator: SimulatorFactory, bare: Flask
) -> None:
    simulator = chatwoot_simulator(catch_up=0.2)
    talk = simulator.conversation(bare)
    talk.customer_says("One")

    with simulator.losing():
        talk.customer_says("Two")
        talk.customer_says("Three")

    assert talk.replies == ["About One", "About Two", "About Three"]


def test_a_process_has_started_by_the_time_of_the_database(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by its own clock, which may have been set since the database was opened."""
    first, store = open_store(path), open_store(path)
    first.put(9001)
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + HOUR)
    starts: queue.SimpleQueue[float] = queue.SimpleQueue()

    def sweep(*, started_at: float, **_: t.Any) -> None:
        starts.put(started_at)

    thread = CatchUpThread(
        t.cast(CatchUp, SimpleNamespace(interval=60.0, store=store, sweep=sweep))
    )
    thread.ensure()

    assert starts.get(timeout=5) == pytest.approx(first.database.clock(), abs=5)
    thread.stop()
    first.close()
    store.close()


@pytest.fixture
def bare(tmp_path: Path, chatwoot: Chatwoot) -> Flask:
    app = Flask("bare", instance_path=str(tmp_path / "bare"))
    chatwoot.init_app(app)
    chatwoot.reply_provider(lambda text: f"About {text}")

    return app


def test_the_thread_ends_with_the_workers_and_starts_anew_in_a_fork(
    place: Place, tmp_path: Path
) -> None:
    other = place.new_app(catch_up=60, database_url=f"sqlite:///{tmp_path / 'other'}")
    thread = CatchUpThread(components_of(other).catch_up)
    thread.ensure()
    thread.stop()
    assert "chatwoot-catch-up" not in [each.name for each in threading.enumerate()]

    thread.ensure()
    assert "chatwoot-catch-up" not in [each.name for each in threading.enumerate()]

    thread.reset_in_child()
    thread.ensure()
    assert "chatwoot-catch-up" in [each.name for each in threading.enumerate()]
    thread.stop()


@pytest.mark.slow
def test_nothing_is_lost_or_doubled_where_deliveries_are_lost_and_workers_killed(
    make_app: AppFactory,
) -> None:
    rounds = [f"{number}" for number in range(7)]

    with Simulator() as sim:
        app = make_app(**settings_of(sim), **QUICK)

        with served(app) as webhook:
            sim.connect(webhook)
            talks = [new_talk(sim) for _ in range(4)]

            for number, text in enumerate(rounds, 1):
                with (
                    sim.losing(0.0 if number == 1 else 0.4, seed=number),
                    Worker(app, PROGRAM),
                ):
                    for talk in talks:
                        talk.customer_says(text)

                    comes_true(
                        functools.partial(has_said, talks[0], number), within=2.5
                    )

            assert sim.lost

            with Worker(app, PROGRAM):
                sim.wait_until(
                    lambda: all(has_said(talk, len(rounds)) for talk in talks), 40
                )

        late = late_messages(app)

        for talk in talks:
            texts = {each.content or "": each.id for each in talk.messages}
            in_time = [text for text in said(talk) if texts[text] not in late]
            assert sorted(said(talk)) == rounds
            assert in_time == sorted(in_time)


PROGRAM: t.Final = "support.programs.worker_app"
QUICK: t.Final[dict[str, t.Any]] = {
    **{"backend": "thread", "workers": 0, "retry_pause": 0.05, "typing": False},
    **{"catch_up": 1, "timeout": 1.0, "lease": 6.0, "settle_time": 2.5},
}


def said(talk: Talk) -> list[str]:
    """The texts that the replies answer, one by one."""
    answers = [reply.removeprefix("Answer to ") for reply in talk.replies]

    return [text for answer in answers for text in answer.splitlines()]


def has_said(talk: Talk, number: int) -> bool:
    """Whether so many texts are answered."""
    return len(said(talk)) >= number


def late_messages(app: Flask) -> set[int]:
    """The messages that were answered after a later one, as they were found late."""
    path = database_of(app).path

    return {id for (id,) in read(path, "SELECT message_id FROM job WHERE late")}


# -- the command -------------------------------------------------------------------


def test_a_rehearsal_shows_what_a_sweep_would_do_and_does_nothing(place: Place) -> None:
    talk = place.begin()
    message = talk.customer_says("A secret question")
    place.later(42)

    code, printed = outcome(place.app, "catch-up", "--dry-run")

    assert code == 0
    assert (
        f"conversation {talk.id}, message {message.id}: is taken in (written 42 s ago)"
        in printed
    )
    assert "1 message would be taken in." in printed
    assert "secret" not in printed
    assert len(jobs_of(place.app)) == 1
    assert place.sweep() == 1


def test_a_rehearsal_shows_what_is_still_left_to_its_delivery(place: Place) -> None:
    talk = place.begin()
    message = talk.customer_says("Just now")
    place.later(2)

    printed = outcome(place.app, "catch-up", "--dry-run")[1]

    assert (
        f"conversation {talk.id}, message {message.id}: is left to its delivery "
        "(written 2 s ago)"
    ) in printed
    assert "0 messages would be taken in." in printed


def test_a_rehearsal_says_why_nothing_is_looked_for_and_counts_nothing(
    place: Place,
) -> None:
    printed = outcome(place.app, "catch-up", "--dry-run")

    assert printed == (
        0,
        "Nothing is taken in now. This database has not accepted a verified delivery "
        "of the account yet. Until then nothing is looked for.\n",
    )


def test_the_command_stores_what_it_finds_and_begins_no_turn(place: Place) -> None:
    talk = place.begin()
    talk.customer_says("One")
    place.later()

    assert outcome(place.app, "catch-up") == (
        0,
        "1 message found and stored for the workers.\n",
    )
    assert len(place.turns) == 1
    work(place.app)
    assert len(talk.replies) == 2


def test_after_pruning_by_hand_nothing_of_that_time_is_answered(place: Place) -> None:
    talk = place.begin()
    place.later(DAY)
    place.delivered(place.talk(), "Today")
    outcome(place.app, "jobs", "prune", "--days", "0.5")
    talk.set_attribute("touched", "now")
    place.later()

    assert place.sweep() == 0
    assert talk.replies == ["About Hello"]
