"""Jobs that a living process has claimed, and that none of its workers has."""

from __future__ import annotations

import typing as t

import pytest
from support.apps import AppFactory, job_of
from support.chatwoot import ChatwootStub
from support.deliveries import deliver, message
from support.queue import Store
from support.waiting import wait_until

from flask_chatwoot import Chatwoot
from flask_chatwoot.errors import DatabaseError, LeaseLostError
from flask_chatwoot.queue.jobs import Queue
from flask_chatwoot.queue.outbox import Outbox


@pytest.mark.parametrize("error", [DatabaseError, LeaseLostError])
def test_a_turn_that_the_database_ends_begins_again_at_once(
    make_app: AppFactory,
    api: ChatwootStub,
    chatwoot: Chatwoot,
    monkeypatch: pytest.MonkeyPatch,
    error: type[DatabaseError],
) -> None:
    fail_once(monkeypatch, Outbox, "keep", error("The connection was cut."))
    app = make_app(chatwoot, backend="thread", workers=1)
    chatwoot.reply_provider(lambda text: "On its way.")
    deliver(app.test_client(), message("Hello"))

    wait_until(lambda: api.public == ["On its way."], timeout=5.0)
    wait_until(lambda: job_of(app).state == "done")
    assert job_of(app).attempts == 2


def test_a_job_that_cannot_be_released_at_once_is_released_before_the_next_claim(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put(1)
    job = store.claim()

    fail_once(monkeypatch, Queue, "postpone", DatabaseError("It is away."))
    store.queue.abandon(job)
    assert store.only().state == "leased"

    again = store.claim()
    assert (again.id, again.attempts) == (job.id, 1)  # an outage is no attempt


def test_a_job_is_not_lost_with_the_answer_to_its_claim(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_and_lose_the_answer(*args: t.Any, **values: t.Any) -> t.Any:
        write(*args, **values)
        raise DatabaseError("The answer to the commit was lost.")

    store.put(1)
    write = store.database.write
    monkeypatch.setattr(store.database, "write", write_and_lose_the_answer)

    with pytest.raises(DatabaseError):
        store.queue.claim()

    monkeypatch.undo()
    assert store.only().state == "leased"
    assert store.claim().attempts == 1


def fail_once(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: Exception
) -> None:
    """Let a method raise when it is called for the first time."""
    errors, original = [error], getattr(owner, name)

    def call(*args: t.Any, **values: t.Any) -> t.Any:
        if errors:
            raise errors.pop()

        return original(*args, **values)

    monkeypatch.setattr(owner, name, call)
