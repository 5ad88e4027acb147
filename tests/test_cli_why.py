"""``flask chatwoot why``: what became of each message of a conversation."""

from __future__ import annotations

import pytest
from click.testing import Result
from flask import Flask
from support.apps import AppFactory, database_of, store_of, work
from support.chatwoot import ChatwootStub
from support.deliveries import deliver, echo, message
from support.waiting import Clock

from flask_chatwoot import Chatwoot
from flask_chatwoot.simulator.payloads import Agent, MessageType

QUESTION = "Where is my order?"


@pytest.fixture
def clock(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(database_of(app), "clock", clock)

    return clock


@pytest.fixture
def app(make_app: AppFactory, chatwoot: Chatwoot) -> Flask:
    return make_app(chatwoot, backend="thread", workers=0)


def why(app: Flask, conversation: int | str = 42) -> Result:
    return app.test_cli_runner().invoke(args=["chatwoot", "why", str(conversation)])


def lines_of(app: Flask) -> list[str]:
    """The lines, without the times."""
    result = why(app)
    assert result.exit_code == 0, result.output

    return [
        line if line.startswith("  ") else line.partition("  ")[2] or line
        for line in result.output.splitlines()
    ]


def test_a_message_that_was_answered(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")
    deliver(app.test_client(), message(QUESTION))
    work(app)

    first, post, end, owner = lines_of(app)

    assert first == "the customer, message 9001"
    assert post == "  message posted as 20001"
    assert end.startswith("  replied ")
    assert end.endswith(" after 1 attempt")
    assert owner == "No operator has taken over the conversation."


def test_a_burst_is_one_turn(app: Flask, chatwoot: Chatwoot) -> None:
    for number in (1, 2, 3):
        deliver(app.test_client(), message(QUESTION, id=number))

    first, state, _ = lines_of(app)

    assert first == "the customer, message 1, 3 messages"
    assert state.startswith("  ready, due for ")


def test_why_an_answer_became_a_note(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")
    operator = message(
        "I take this.", id=9000, type=MessageType.OUTGOING, sender=Agent()
    )
    deliver(app.test_client(), operator)
    deliver(app.test_client(), message(QUESTION))
    work(app)

    taken, taken_end, first, post, end, owner = lines_of(app)

    assert taken == "an operator's reply, message 9000"
    assert taken_end.startswith("  taken_over ")
    assert first == "the customer, message 9001"
    assert post == "  note posted as 20001"
    assert end.endswith(" after 1 attempt, because: taken")
    assert owner == "An operator has the conversation: answers become notes."


def test_why_there_is_no_answer_yet(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, clock: Clock
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")
    api.fail(500)
    deliver(app.test_client(), message(QUESTION))
    work(app)

    _, post, state, _ = lines_of(app)

    assert post.startswith("  message unconfirmed, sent ")
    assert state.startswith("  retrying, due in ")
    assert state.endswith(
        " s, 1 attempt (1 failed by Chatwoot) so far, because: server_error"
    )


def test_a_running_turn_and_the_one_behind_it(app: Flask, clock: Clock) -> None:
    deliver(app.test_client(), message(QUESTION, id=1))
    assert store_of(app).queue.claim()
    deliver(app.test_client(), message(QUESTION, id=2))

    _, running, _, waiting, _ = lines_of(app)

    assert running == "  leased, its lease ends in 30 s, 1 attempt so far"
    assert waiting == "  blocked: an earlier turn of the conversation is not over"


def test_no_text_is_shown(app: Flask, chatwoot: Chatwoot, api: ChatwootStub) -> None:
    chatwoot.reply_provider(lambda text: "secret answer")
    deliver(app.test_client(), message("secret question"))
    work(app)
    deliver(app.test_client(), echo(api.messages[0]))

    assert "secret" not in why(app).output


def test_an_unknown_conversation_is_an_error(app: Flask) -> None:
    result = why(app, 7)

    assert result.exit_code == 1
    assert "The database has nothing of conversation 7" in result.output
    assert "flask chatwoot doctor" in result.output


def test_other_conversations_are_left_out(app: Flask) -> None:
    deliver(app.test_client(), message(QUESTION, conversation_id=43))

    assert why(app).exit_code == 1


def test_without_configuration_it_says_what_is_missing(make_app: AppFactory) -> None:
    result = why(make_app(base_url=None))

    assert result.exit_code == 1
    assert "set CHATWOOT_BASE_URL" in result.output


@pytest.mark.parametrize("number", ["0", "-1", "x", str(2**63)])
def test_only_the_number_of_a_conversation_will_do(app: Flask, number: str) -> None:
    assert why(app, number).exit_code == 2
