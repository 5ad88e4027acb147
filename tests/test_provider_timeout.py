"""A provider that does not answer within ``CHATWOOT_PROVIDER_TIMEOUT``."""

from __future__ import annotations

import threading
import time
import typing as t
from dataclasses import dataclass

import pytest
from flask import Flask
from support.apps import AppFactory, components_of, job_of, jobs_of, recorded, store_of
from support.chatwoot import ChatwootStub
from support.deliveries import deliver, message
from support.waiting import wait_until

from flask_chatwoot import Chatwoot, turn_finished
from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.queue.jobs import Queue
from flask_chatwoot.workers import ThreadBackend

ANSWER: t.Final = "On its way."
HANGS: t.Final = "hang"
NOTE: t.Final = (
    "**The bot could not answer.** Its reply function did not answer in time. The "
    "conversation is handed off."
)
QUICK: t.Final = {
    **{"lease": 4.1, "timeout": 0.05, "settle_time": 1.1, "retry_pause": 0.01},
    "provider_timeout": 0.2,
}


@dataclass
class Hanging:
    """An app whose provider hangs when it is asked to, until the test lets it go on.

    :ivar released: Set to let the provider answer.
    """

    app: Flask
    api: ChatwootStub
    caplog: pytest.LogCaptureFixture
    released: threading.Event

    def say(self, text: str = HANGS, conversation: int = 42, **fields: t.Any) -> None:
        """Deliver a message, in a thread, as Chatwoot does not wait for long."""
        id = 9000 + conversation
        body = message(text, id=id, conversation_id=conversation, **fields)
        client = self.app.test_client()
        threading.Thread(target=deliver, args=(client, body), daemon=True).start()

    def wait_for_end(self, count: int = 1) -> None:
        """Block until so many turns have ended, and none is under way."""
        wait_until(lambda: [*self._states()] == ["done or dead"] * count)

    def _states(self) -> t.Iterator[str]:
        for job in jobs_of(self.app):
            yield "done or dead" if job.outcome else job.state

    def wait_for_drop(self) -> None:
        """Let the providers answer, and block until that was dropped."""
        self.released.set()
        wait_until(lambda: "and was dropped" in self.caplog.text)

    @property
    def ending(self) -> tuple[str | None, str | None]:
        job = job_of(self.app)
        return job.outcome, job.reason

    @property
    def health(self) -> dict[str, t.Any]:
        with self.app.app_context():
            return components_of(self.app).health(300)

    @property
    def backend(self) -> ThreadBackend:
        return t.cast(ThreadBackend, components_of(self.app).backend)


class MakeHanging(t.Protocol):
    def __call__(self, **settings: t.Any) -> Hanging: ...


@pytest.fixture
def make_hanging(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
) -> t.Iterator[MakeHanging]:
    released = threading.Event()

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        if text.startswith(HANGS):
            assert released.wait(20)

        if text.endswith("raise"):
            raise RuntimeError

        return ANSWER

    def make(**settings: t.Any) -> Hanging:
        app = make_app(chatwoot, **{**QUICK, **settings})
        return Hanging(app, api, caplog, released)

    yield make
    released.set()


@pytest.fixture(params=["inline", "thread"])
def either(request: pytest.FixtureRequest, make_hanging: MakeHanging) -> Hanging:
    """With each backend."""
    return make_hanging(backend=request.param, workers=2)


@pytest.fixture
def threads(make_hanging: MakeHanging) -> Hanging:
    """With one thread."""
    return make_hanging(backend="thread", workers=1)


def workers() -> list[threading.Thread]:
    named = "chatwoot-worker"
    return [each for each in threading.enumerate() if each.name.startswith(named)]


# -- the turn ----------------------------------------------------------------------


@pytest.mark.parametrize("end", ["", " and raise"])
def test_operators_get_the_conversation_and_the_late_answer_is_dropped(
    either: Hanging, end: str
) -> None:
    with recorded(turn_finished, either.app) as ended:
        either.say(HANGS + end)
        either.wait_for_end()
        either.wait_for_drop()

    assert either.ending == ("dead", "provider_timeout")
    assert (either.api.public, either.api.notes) == ([], [NOTE])
    assert either.api.changes == [
        ("custom_attributes", {"custom_attributes": {"support_mode": "human"}})
    ]
    assert [each["reason"] for each in ended] == ["provider_timeout"]
    assert "no answer within 0.2 s (CHATWOOT_PROVIDER_TIMEOUT)" in either.caplog.text
    job = job_of(either.app)
    assert (job.attempts, job.report_attempts, job.provider_attempts) == (1, 1, 1)


def test_a_customer_in_human_mode_is_answered_by_operators_as_before(
    either: Hanging,
) -> None:
    either.say(mode="human")
    either.wait_for_end()
    either.wait_for_drop()

    assert either.ending == ("dead", "provider_timeout")
    assert either.api.messages == []


def test_a_provider_in_time_is_not_disturbed(make_hanging: MakeHanging) -> None:
    app = make_hanging(backend="thread", workers=1, provider_timeout=20)
    app.say()
    wait_until(lambda: [job.state for job in jobs_of(app.app)] == ["leased"])
    app.released.set()
    app.wait_for_end()

    assert app.api.public == [ANSWER]


def test_a_turn_that_cannot_be_given_up_yet_is_given_up_later(
    threads: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> t.NoReturn:
        raise DatabaseError("The disk is gone.")

    with monkeypatch.context() as broken:
        broken.setattr(Queue, "give_up", fail)
        threads.say()
        wait_until(
            lambda: "the job was not given up: The disk is gone." in threads.caplog.text
        )
        assert job_of(threads.app).state == "leased"

    threads.wait_for_end()
    assert threads.api.notes == [NOTE]


def test_the_typing_indicator_is_switched_off(
    make_hanging: MakeHanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_hanging(backend="thread", workers=1, provider_timeout=1.0)
    client = components_of(app.app).client
    seen: list[bool] = []

    def toggle(conversation_id: int, *, on: bool) -> None:
        seen.append(on)

    monkeypatch.setattr(client, "toggle_typing_status", toggle)
    app.say()
    app.wait_for_end()

    wait_until(lambda: seen == [True, False])


def test_a_message_after_a_timeout_has_its_turn(threads: Hanging) -> None:
    threads.say()
    threads.wait_for_end()
    deliver(threads.app.test_client(), message("And now?", id=9100))

    threads.wait_for_end(2)
    assert threads.api.notes == [NOTE, ANSWER]


# -- the threads -------------------------------------------------------------------


def test_as_many_stuck_threads_are_replaced_as_there_are_workers(
    threads: Hanging,
) -> None:
    threads.say(conversation=1)
    wait_until(lambda: threads.health.get("stuck") == 1)
    assert wait_until(lambda: threads.health["workers"]) == 1

    threads.say("Hello", conversation=2)
    threads.wait_for_end(2)
    assert threads.api.public == [ANSWER]

    threads.say(conversation=3)
    wait_until(lambda: threads.health.get("stuck") == 2)
    assert (threads.health["workers"], len(workers())) == (0, 2)
    threads.say("Hello", conversation=4)
    wait_until(lambda: len(jobs_of(threads.app)) == 4)
    assert threads.health["states"]["ready"] == 1

    threads.released.set()
    threads.wait_for_end(4)
    wait_until(lambda: "stuck" not in threads.health and len(workers()) == 1)
    assert threads.health["workers"] == 1


def test_a_process_does_not_wait_for_stuck_threads_when_it_ends(
    threads: Hanging,
) -> None:
    threads.say()
    wait_until(lambda: threads.health.get("stuck") == 1)
    started = time.monotonic()
    threads.backend.stop()

    assert time.monotonic() - started < 4
    assert "stuck" not in threads.health


def test_a_process_with_nothing_but_stuck_threads_is_seen(store: t.Any) -> None:
    store.inspection.report("one", 0, stuck=2)
    store.inspection.report("other", 3)
    seen = store.inspection.health()
    assert (seen.workers, seen.stuck) == (3, 2)

    store.inspection.report("one", 0)
    assert store.inspection.health().stuck == 0


def test_a_job_that_another_process_took_over_is_let_alone(
    threads: Hanging, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads.say()
    wait_until(lambda: [job.state for job in jobs_of(threads.app)] == ["leased"])
    queue = store_of(threads.app).queue

    with queue.transaction(42) as tx:
        tx.execute("UPDATE job SET claim = 'of another process'")

    wait_until(lambda: "Its turn was abandoned here" in threads.caplog.text)
    threads.wait_for_drop()
    assert threads.api.messages == []
