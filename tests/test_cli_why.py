"""``flask chatwoot why``: the jobs and posts of a conversation."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.apps import AppFactory, Scene, database_of, jobs_of, store_of, work
from support.commands import outcome
from support.deliveries import deliver, echo, message
from support.waiting import Clock

from flask_chatwoot import Chatwoot, GiveUp, Handoff, NoReply
from flask_chatwoot.simulator.payloads import JSON, Agent, MessageType

QUESTION = "A secret question"
GIVEN_UP = "A secret question that is given up"
UNANSWERABLE = "A secret question without an answer"


@pytest.fixture
def clock(app: Flask, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(database_of(app), "clock", clock)
    return clock


@pytest.fixture
def app(make_app: AppFactory, chatwoot: Chatwoot) -> Flask:
    @chatwoot.reply_provider
    def reply(text: str) -> str:
        if text == UNANSWERABLE:
            raise RuntimeError(text)

        if text == GIVEN_UP:
            raise GiveUp

        return "secret answer"

    return make_app(chatwoot, backend="thread", workers=0)


def lines_of(scene: Scene, *bodies: JSON) -> list[str]:
    """The lines, without the times, after these deliveries were answered."""
    for body in bodies:
        deliver(scene.client, body)
        work(scene.app)

    code, printed = outcome(scene.app, "why", "42")
    assert code == 0, printed
    assert "secret" not in printed

    return [
        line if line.startswith("  ") else line.partition("  ")[2] or line
        for line in printed.splitlines()
    ]


def test_a_message_that_was_answered(scene: Scene) -> None:
    lines_of(scene, message(QUESTION))

    first, post, end, owner = lines_of(scene, echo(scene.api.messages[0]))

    assert (first, post) == ("the customer, message 9001", "  message posted as 20001")
    assert end.startswith("  replied ")
    assert end.endswith(" after 1 attempt")
    assert owner == "No operator has taken over the conversation."


def test_a_burst_is_one_turn(scene: Scene) -> None:
    for number in (1, 2, 3):
        deliver(scene.client, message(QUESTION, id=number))

    first, state, _ = lines_of(scene)
    assert first == "the customer, message 1, 3 messages"
    assert state.startswith("  ready, due for ")


def test_why_an_answer_became_a_note(scene: Scene) -> None:
    taken = message("secret", id=9000, type=MessageType.OUTGOING, sender=Agent())

    takeover, taken_end, *turn, end, owner = lines_of(scene, taken, message(QUESTION))

    assert takeover == "an operator's reply, message 9000"
    assert taken_end.startswith("  taken_over ")
    assert turn == ["the customer, message 9001", "  note posted as 20001"]
    assert end.endswith(" after 1 attempt, because: taken")
    assert owner == "An operator has the conversation: answers become notes."


@pytest.mark.usefixtures("clock")
def test_why_there_is_no_answer_yet(scene: Scene) -> None:
    scene.api.fail(500)

    _, post, state, _ = lines_of(scene, message(QUESTION))

    assert post.startswith("  message unconfirmed, sent ")
    assert state.startswith("  retrying, due in ")
    assert state.endswith(
        " s, 1 attempt (1 failed by Chatwoot) so far, because: server_error"
    )


def test_all_failures_of_a_dead_turn_are_counted(scene: Scene, clock: Clock) -> None:
    deliver(scene.client, message(UNANSWERABLE))

    for _ in range(5):
        work(scene.app)
        clock.advance(800)

    *_, end, _ = lines_of(scene)
    assert "  dead " in end
    assert end.endswith(
        " after 3 attempts, and 1 to say that it failed (3 failed by the provider), "
        "because: provider_failed"
    )


FAILED: t.Final = "1 attempt, and 1 to say that it failed (1 failed by the provider)"
GAVE_UP: t.Final = f"{FAILED}, because: provider_failed"


@pytest.mark.parametrize(
    ("answer", "status", "ended", "calls"),
    [
        (GiveUp(), "pending", GAVE_UP, 1),
        (42, "pending", f"{FAILED}, because: provider_invalid", 1),
        (Handoff(), "pending", "1 attempt", 1),
        (None, "pending", "1 attempt, because: no_answer", 1),
        (None, "open", "1 attempt, because: no_answer", 1),
        (NoReply(), "pending", "1 attempt, because: no_reply", 1),
        ("Yes.", "pending", "1 attempt", 1),
    ],
    ids=repr,
)
def test_an_attempt_is_a_call_of_the_provider(
    scene: Scene, answer: t.Any, status: str, ended: str, calls: int
) -> None:
    asked: list[str] = []

    @scene.chatwoot.reply_provider(inbox_id=3)
    def reply(text: str) -> t.Any:
        asked.append(text)

        if isinstance(answer, Exception):
            raise answer

        return answer

    body = message(QUESTION)
    body["conversation"]["status"] = status
    deliver(scene.client, body)
    work(scene.app)
    work(scene.app)

    *_, end, _ = lines_of(scene)
    assert end.partition(" after ")[2] == ended
    (job,) = jobs_of(scene.app)
    assert (job.attempts, len(asked)) == (calls, calls)


def test_a_note_that_is_refused_is_counted_apart(scene: Scene, clock: Clock) -> None:
    scene.api.fail(500, times=2)
    deliver(scene.client, message(GIVEN_UP))

    for _ in range(4):
        work(scene.app)
        clock.advance(800)

    *_, end, _ = lines_of(scene)
    assert end.partition(" after ")[2] == (
        "1 attempt, and 3 to say that it failed (1 failed by the provider, 2 failed by "
        "Chatwoot), because: provider_failed"
    )


@pytest.mark.usefixtures("clock")
def test_a_running_turn_and_the_one_behind_it(scene: Scene) -> None:
    deliver(scene.client, message(QUESTION, id=1))
    assert store_of(scene.app).queue.claim()
    deliver(scene.client, message(QUESTION, id=2))

    _, running, _, waiting, _ = lines_of(scene)
    assert running == "  leased, its lease ends in 30 s, 1 attempt so far"
    assert waiting == "  blocked: an earlier turn of the conversation is not over"


def test_a_conversation_without_jobs_is_an_error(scene: Scene) -> None:
    deliver(scene.client, message(QUESTION, conversation_id=43))
    code, printed = outcome(scene.app, "why", "42")

    assert code == 1
    assert "The database has nothing of conversation 42" in printed
    assert "flask chatwoot doctor" in printed


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**63)])
def test_only_the_number_of_a_conversation_is_accepted(app: Flask, number: str) -> None:
    assert outcome(app, "why", number)[0] == 2
