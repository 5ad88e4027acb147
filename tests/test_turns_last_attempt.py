"""After the last attempt: what arrived is found, and nothing is sent twice."""

from __future__ import annotations

import typing as t
from contextlib import ExitStack
from pathlib import Path

import pytest
from flask import Flask
from support.apps import store_of

from flask_chatwoot import Chatwoot
from flask_chatwoot.hosting import hosted
from flask_chatwoot.queue.inspection import JobRow
from flask_chatwoot.queue.store import Store
from flask_chatwoot.simulator import Fault, Simulator, Talk

ANSWER = "On its way."
Ask = t.Callable[[Fault, str], tuple[Simulator, Talk, Store]]


@pytest.fixture
def ask(tmp_path: Path) -> t.Iterator[Ask]:
    """Makes a customer ask an app that has one attempt, and a user's or bot's token."""
    app = Flask("host", instance_path=str(tmp_path))
    Chatwoot(app).reply_provider(lambda text: ANSWER)

    with ExitStack() as stack:

        def asks(fault: Fault, token: str) -> tuple[Simulator, Talk, Store]:
            sim = stack.enter_context(Simulator())
            settings = {
                "max_attempts": 1, "settle_time": 1.5, "retry_pause": 0.05,
                "timeout": 0.5, "lease": 5.0,
                "api_access_token": getattr(sim, f"{token}_token"),
            }  # fmt: skip
            stack.enter_context(hosted(app, sim, **settings))
            sim.inject(fault)
            talk = sim.conversation(custom_attributes={"support_mode": "bot"})
            talk.customer_says("Where is my order?")

            return sim, talk, store_of(app)

        yield asks


def ended(store: Store) -> list[JobRow]:
    return [job for job in store.inspection.jobs() if job.state in ("done", "dead")]


@pytest.mark.parametrize("token", ["user", "bot"])
@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.HANG_AFTER])
def test_what_the_last_attempt_sent_is_found(
    ask: Ask, fault: Fault, token: str
) -> None:
    sim, talk, store = ask(fault, token)
    [job] = sim.wait_until(lambda: ended(store))

    assert (job.outcome, job.reason) == ("replied", None)
    assert talk.replies == [ANSWER]


@pytest.mark.slow
@pytest.mark.parametrize("token", ["user", "bot"])
def test_what_did_not_arrive_is_dead_and_not_sent_again(ask: Ask, token: str) -> None:
    sim, talk, store = ask(Fault.CUT_BEFORE, token)
    [job] = sim.wait_until(lambda: ended(store))

    assert (job.outcome, job.reason) == ("dead", "unconfirmed")
    assert talk.replies == []
    assert talk.notes == [
        "**The bot could not answer.** A reply was sent, but does not seem to have "
        "arrived. The conversation is handed off."
    ]
    assert talk.current.custom_attributes == {"support_mode": "human"}

    talk.set_attribute("support_mode", "bot")
    sim.drain()
    store.inspection.retry([job.id])
    sim.wait_until(lambda: talk.replies and ended(store))
    assert talk.replies == [ANSWER]
    assert len(talk.notes) == 1


def test_what_is_retried_while_operators_have_it_becomes_a_note(ask: Ask) -> None:
    sim, talk, store = ask(Fault.CUT_BEFORE, "user")
    [job] = sim.wait_until(lambda: ended(store))

    store.inspection.retry([job.id])
    [job] = sim.wait_until(lambda: ended(store))
    assert (job.outcome, job.reason) == ("noted", "taken")
    assert (talk.replies, talk.notes[1:]) == ([], [ANSWER])


@pytest.mark.slow
def test_an_echo_that_comes_after_the_end_saves_the_retry(ask: Ask) -> None:
    with ExitStack() as late:
        sim, talk, store = ask(Fault.HANG_AFTER, "bot")
        # The customer's message is on its way already; what follows is held back.
        late.enter_context(sim.holding())
        [job] = sim.wait_until(lambda: ended(store))

    if job.outcome == "dead":  # unless the echo was faster than the hold
        sim.drain()
        store.inspection.retry([job.id])
        [job] = sim.wait_until(lambda: ended(store))

    assert job.outcome == "replied"
    assert talk.replies == [ANSWER]


def test_a_worker_that_dies_after_the_last_post_leaves_it_answered(ask: Ask) -> None:
    sim, talk, store = ask(Fault.RATE_LIMITED, "user")
    [job] = sim.wait_until(lambda: ended(store))
    assert (job.outcome, job.reason) == ("dead", "rate_limited")

    # As if a worker had died between the post and the end of the turn.
    talk.set_attribute("support_mode", "bot")
    sim.drain()
    store.inspection.retry([job.id])
    sim.wait_until(lambda: talk.replies and ended(store))
    with store.database.transaction() as tx:
        tx.execute(
            "UPDATE job SET finished_at = NULL, outcome = NULL, payload = :payload,"
            " due_at = 0, claim = NULL, attempts = 1",
            {"payload": sim.deliveries[0].body},
        )

    [job] = sim.wait_until(lambda: ended(store))
    assert (job.outcome, job.reason, job.attempts) == ("replied", None, 2)
    assert talk.replies == [ANSWER]
