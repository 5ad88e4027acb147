"""The backends: jobs are claimed, handled, kept leased and released."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
import typing as t
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.apps import (
    AppFactory,
    Scene,
    components_of,
    database_of,
    job_of,
    jobs_of,
    store_of,
    work,
)
from support.chatwoot import ChatwootStub
from support.databases import environment_of
from support.deliveries import as_bytes, deliver, message
from support.queue import Store, open_store
from support.waiting import wait_until

from flask_chatwoot import Chatwoot, Turn, upkeep
from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.inspection import Inspection
from flask_chatwoot.queue.jobs import Queue
from flask_chatwoot.queue.outbox import Outbox
from flask_chatwoot.queue.sqlite import SQLiteDatabase
from flask_chatwoot.workers import ThreadBackend
from flask_chatwoot.workers.outage import Outage, pause_after
from flask_chatwoot.workers.runner import Heartbeat

ANSWER = "On its way."
QUICK = {"lease": 4.1, "timeout": 0.05, "settle_time": 1.1, "retry_pause": 0.01}


def workers() -> list[threading.Thread]:
    named = "chatwoot-worker"
    return [each for each in threading.enumerate() if each.name.startswith(named)]


def fail(*_: object, **__: object) -> t.Any:
    raise DatabaseError("The disk is gone.")


def put(queue: Queue, id: int = 9001, conversation_id: int = 42) -> None:
    """Store a delivery as another process would."""
    payload = as_bytes(message("stored", id=id, conversation_id=conversation_id))
    queue.put(str(id), conversation_id=conversation_id, message_id=id, payload=payload)


class Held:
    """A provider whose turns do not end before :meth:`release`."""

    def __init__(self, chatwoot: Chatwoot) -> None:
        self.asked: list[str] = []
        self.begun = threading.Event()
        self._released = threading.Event()
        chatwoot.reply_provider(self._provide)

    def _provide(self, text: str, turn: Turn) -> str:
        self.asked.append(text)
        self.begun.set()
        assert self._released.wait(20)

        return f"{len(turn.messages)} answered"

    def wait(self) -> None:
        """Block until a turn has begun."""
        assert self.begun.wait(10)

    def release(self) -> None:
        self._released.set()


@pytest.fixture
def held(chatwoot: Chatwoot) -> t.Iterator[Held]:
    held = Held(chatwoot)
    yield held
    held.release()


@contextlib.contextmanager
def running(*targets: t.Callable[[], object]) -> t.Iterator[None]:
    """Call functions in threads, which have ended after the block."""
    threads = [threading.Thread(target=target) for target in targets]

    for thread in threads:
        thread.start()

    yield

    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()


@dataclass(frozen=True)
class Workers(Scene):
    """A scene whose jobs may be handled in threads."""

    caplog: pytest.LogCaptureFixture

    @property
    def backend(self) -> ThreadBackend:
        return t.cast(ThreadBackend, components_of(self.app).backend)

    @property
    def states(self) -> dict[int, str]:
        """Of each message that has a job of its own, its state."""
        return {job.message_id: job.state for job in jobs_of(self.app)}

    def say(self, text: str = "Hello", id: int = 9001, conversation: int = 42) -> str:
        """Deliver a message; the status in the answer."""
        body = message(text, id=id, conversation_id=conversation)
        answer: t.Any = deliver(self.app.test_client(), body).json
        return str(answer["status"])

    def answer(self, reply: str = ANSWER) -> None:
        self.chatwoot.reply_provider(lambda text: reply)

    def wait_for(self, *replies: str) -> None:
        """Block until all jobs are done; their replies are these."""
        wait_until(lambda: len(self.api.public) == len(replies))
        wait_until(lambda: {*self.states.values()} == {"done"})
        assert self.api.public == [*replies]

    def wait_for_log(self, text: str) -> None:
        wait_until(lambda: text in self.caplog.text)

    @contextlib.contextmanager
    def other_process(self, ahead: float = 0.0) -> t.Iterator[Store]:
        """The database as another process has it, its clock ahead."""
        store = open_store(database_of(self.app).path, lambda: time.time() + ahead)

        with contextlib.closing(store):
            yield store


class MakeWorkers(t.Protocol):
    def __call__(self, backend: str, workers: int) -> Workers: ...


@pytest.fixture
def make_workers(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> MakeWorkers:
    def make(backend: str, workers: int) -> Workers:
        database = f"sqlite:///{tmp_path / backend}.sqlite3"
        app = make_app(
            chatwoot, backend=backend, workers=workers, database_url=database, **QUICK
        )
        return Workers(app, app.test_client(), api, chatwoot, caplog)

    return make


@pytest.fixture(params=["inline", "thread"])
def either(request: pytest.FixtureRequest, make_workers: MakeWorkers) -> Workers:
    """With each backend."""
    return make_workers(request.param, 2)


@pytest.fixture
def inline(make_workers: MakeWorkers) -> Workers:
    return make_workers("inline", 2)


@pytest.fixture
def threads(make_workers: MakeWorkers) -> Workers:
    """With three threads."""
    return make_workers("thread", 3)


# -- what every backend does -----------------------------------------------------


def test_a_message_that_is_delivered_often_is_answered_once(either: Workers) -> None:
    either.answer()
    assert [either.say() for _ in range(4)] == ["accepted", *["duplicate"] * 3]
    either.wait_for(ANSWER)


def test_messages_that_wait_are_answered_together(either: Workers, held: Held) -> None:
    with running(lambda: either.say("0", 9000)):
        held.wait()
        assert {either.say(str(n), 9000 + n) for n in range(1, 6)} == {"accepted"}
        assert either.say("3", 9003) == "duplicate"
        held.release()

    either.wait_for("1 answered", "5 answered")
    assert held.asked == ["0", "1\n2\n3\n4\n5"]


@pytest.mark.parametrize("error", [SystemExit(0), SystemExit("x"), RuntimeError()])
def test_a_provider_that_raises_ends_its_turn_and_nothing_else(
    either: Workers, error: BaseException
) -> None:
    @either.chatwoot.reply_provider
    def provide(text: str) -> str:
        if text == "raise":
            raise error

        return ANSWER

    assert either.say("raise", 9001) == "accepted"
    either.say("answer", 9002, conversation=43)

    wait_until(lambda: either.states[9002] == "done")
    assert either.states[9001] != "done"
    assert either.api.public == [ANSWER]


def test_an_error_of_our_own_ends_one_attempt_and_nothing_else(
    either: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = Outbox.keep
    broken = [True]

    def break_once(*args: t.Any, **values: t.Any) -> t.Any:
        if broken and broken.pop():
            raise ZeroDivisionError

        return keep(*args, **values)

    either.answer()
    monkeypatch.setattr(Outbox, "keep", break_once)
    assert either.say(id=9001) == "accepted"
    either.say(id=9002, conversation=43)
    either.wait_for_log("failed: ZeroDivisionError")

    def both_answered() -> bool:
        work(either.app)  # inline nothing happens between requests
        return len(either.api.public) == 2

    wait_until(both_answered)


@pytest.mark.sqlite
def test_a_lost_lease_ends_the_turn_here(either: Workers) -> None:
    with either.other_process(ahead=3600) as other:

        @either.chatwoot.reply_provider
        def provide(text: str) -> str:
            other.finish("declined", "no_answer")
            return ANSWER

        either.say()
        either.wait_for_log("Its turn was abandoned here")

    assert (either.api.attempts, job_of(either.app).outcome) == ([], "declined")


@pytest.mark.slow
def test_a_slow_turn_keeps_its_lease(
    inline: Workers, threads: Workers, held: Held
) -> None:
    claimed = []

    with (
        inline.other_process() as one,
        threads.other_process() as other,
        running(inline.say, threads.say),
    ):
        wait_until(lambda: len(held.asked) == 2)
        until = time.monotonic() + 4 * store_of(inline.app).queue.lease

        while time.monotonic() < until:
            claimed += [one.queue.claim(), other.queue.claim()]
            time.sleep(0.05)

        held.release()

    assert set(claimed) == {None}
    inline.wait_for("1 answered", "1 answered")
    assert job_of(inline.app).attempts == 1
    assert job_of(threads.app).attempts == 1


# -- inline ----------------------------------------------------------------------


def test_inline_what_was_stored_is_accepted_even_if_no_more_can_be_claimed(
    inline: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Queue.claim

    def broken(queue: Queue, *, tx: t.Any = None, **_: t.Any) -> t.Any:
        return fail() if tx is None else original(queue, tx=tx)

    inline.answer()
    monkeypatch.setattr(Queue, "claim", broken)

    assert inline.say() == "accepted"
    assert "no job could be claimed: The disk is gone." in inline.caplog.text


def test_inline_a_message_is_stored_while_no_heartbeat_arrives(
    inline: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    inline.answer()

    with monkeypatch.context() as outage:
        outage.setattr(database_of(inline.app).processes, "enter", fail)
        assert inline.say() == "accepted"
        assert "no job could be claimed: The disk is gone." in inline.caplog.text

    inline.say(id=9002)
    inline.wait_for(ANSWER)


def test_inline_a_request_ends_with_its_turn_and_what_was_left(inline: Workers) -> None:
    inline.chatwoot.reply_provider(lambda text: text)
    put(store_of(inline.app).queue, 9000, conversation_id=43)
    inline.say("new")

    assert sorted(inline.api.public) == ["new", "stored"]
    assert inline.states == {9000: "done", 9001: "done"}


# -- threads ---------------------------------------------------------------------


def test_threads_start_with_a_request_and_do_what_was_left(threads: Workers) -> None:
    threads.answer()
    put(store_of(threads.app).queue)

    with threads.app.app_context():
        assert workers() == []

    for _ in range(2):
        threads.client.get("/no such page")
        assert len(workers()) == 3

    threads.wait_for(ANSWER)


def test_many_first_requests_at_once_start_the_threads_once(threads: Workers) -> None:
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        threads.backend.start()

    with running(*[start] * 8):
        pass

    assert len(workers()) == 3


def test_without_workers_a_process_only_stores(make_workers: MakeWorkers) -> None:
    storing = make_workers("thread", 0)
    assert storing.say() == "accepted"
    assert (workers(), storing.states) == ([], {9001: "ready"})


def test_an_unconfigured_app_starts_nothing(make_app: AppFactory) -> None:
    make_app(backend="thread", base_url=None).test_client().get("/")
    assert workers() == []


def test_as_many_turns_run_side_by_side_as_there_are_threads(threads: Workers) -> None:
    together = threading.Barrier(3, timeout=20)

    @threads.chatwoot.reply_provider
    def provide(text: str) -> str:
        together.wait()
        return ANSWER

    for number in range(3):
        threads.say(id=9001 + number, conversation=42 + number)

    threads.wait_for(*[ANSWER] * 3)


@pytest.mark.sqlite
def test_a_job_another_process_stored_is_found(threads: Workers) -> None:
    threads.answer()
    threads.client.get("/")

    with threads.other_process() as other:
        put(other.queue)

    threads.wait_for(ANSWER)


def test_a_failing_database_does_not_end_the_threads(
    threads: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads.answer()

    with monkeypatch.context() as broken:
        broken.setattr(Queue, "claim", fail)
        threads.say()
        threads.wait_for_log("no job could be claimed: The disk is gone.")

    threads.wait_for(ANSWER)


def test_the_pauses_of_an_outage_grow_to_a_second() -> None:
    pauses = [pause_after(failures) for failures in (1, 2, 3, 4, 999)]
    wanted = [0.2, 0.4, 0.8, 1.0, 1.0]

    assert pauses == pytest.approx(wanted, rel=0.25)


class Failures:
    """What an outage reports, and the time in which it does."""

    def __init__(
        self, patch: pytest.MonkeyPatch, log: pytest.LogCaptureFixture
    ) -> None:
        self.outage = Outage()
        self._log = log
        self._now = 0.0
        patch.setattr(time, "monotonic", lambda: self._now)

    def after(self, seconds: float, *failed: str) -> list[tuple[str, str]]:
        """The lines that are logged when this fails some seconds later."""
        self._now += seconds
        self._log.clear()

        for text in failed:
            self.outage.report(text)

        return [
            (record.levelname, record.message.removeprefix("no job could be claimed: "))
            for record in self._log.records
        ]


@pytest.fixture
def failures(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> t.Iterator[Failures]:
    with monkeypatch.context() as patch:
        yield Failures(patch, caplog)


def test_an_outage_is_one_error(failures: Failures) -> None:
    lines = failures.after(0, "Cut.", "Cut.", "Refused.", "Cut.")
    assert lines == [("ERROR", "Cut."), ("WARNING", "Refused.")]
    assert failures.after(99, "Cut.", "Refused.") == []


def test_a_second_outage_is_logged(failures: Failures) -> None:
    failures.after(0, "Cut.", "Refused.")
    failures.outage.end()
    assert failures.after(60, "Cut.") == [("ERROR", "Cut.")]


def test_a_database_that_comes_and_goes_does_not_flood_the_log(
    failures: Failures,
) -> None:
    lines = []

    for _ in range(120):
        lines += failures.after(0.25, "Cut.")
        failures.outage.end()

    assert lines == [("ERROR", "Cut.")] * 3


def test_a_second_outage_that_follows_soon_is_logged_if_it_lasts(
    failures: Failures,
) -> None:
    failures.after(0, "Cut.")
    failures.outage.end()
    assert failures.after(5, "Cut.") == []
    assert failures.after(6, "Cut.") == [("ERROR", "Cut.")]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, ""),
        (DatabaseError("The disk is gone."), "The disk is gone."),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize(
    ("store", "duty", "warning"),
    [
        (Inspection, "prune", "the database was not pruned: "),
        (SQLiteDatabase, "checkpoint", "the database was not maintained: "),
    ],
)
def test_workers_prune_and_checkpoint_the_database(
    threads: Workers,
    monkeypatch: pytest.MonkeyPatch,
    store: type,
    duty: str,
    warning: str,
    error: Exception | None,
    text: str,
) -> None:
    done = threading.Semaphore(0)

    def do(_: object, **__: object) -> int:
        done.release()
        if error is not None:
            raise error
        return 0

    monkeypatch.setattr(upkeep, f"_{duty.upper()}_EVERY", 0.0)
    monkeypatch.setattr(store, duty, do)
    threads.client.get("/")

    assert done.acquire(timeout=10)
    assert done.acquire(timeout=10)
    wait_until(lambda: error is None or f"{warning}{text}" in threads.caplog.text)
    assert len(workers()) == 3


def test_workers_move_the_log_into_the_file(
    threads: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_CHECKPOINT_EVERY", 0.0)
    file = Path(database_of(threads.app).path)
    threads.client.get("/")

    # Without, the file has one page until there are 64 MB of log.
    wait_until(lambda: file.exists() and file.stat().st_size > 2048)


def test_a_lease_that_cannot_be_renewed_is_logged_and_tried_again(
    path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renewals: list[int] = []

    def broken(_: Queue, job: Job) -> None:
        renewals.append(job.id)
        fail()

    monkeypatch.setattr(Queue, "renew", broken)
    store = open_store(path, lease=0.03)
    put(store.queue)
    job = store.claim()
    heartbeat = Heartbeat(store.queue)
    heartbeat.watch(job)

    wait_until(lambda: len(renewals) >= 2)
    assert "job 1: the lease was not renewed: The disk is gone." in caplog.text
    heartbeat.leave(job)
    assert heartbeat.running() == []
    store.close()


# -- stopping --------------------------------------------------------------------


def test_stopping_lets_turns_finish_and_claims_no_more(
    threads: Workers, held: Held
) -> None:
    threads.say(id=9001)
    held.wait()  # or the next message would join this turn
    threads.say(id=9002)

    with running(threads.backend.stop):
        wait_until(lambda: len(workers()) == 1)  # those that have nothing to do leave
        held.release()

    assert workers() == []
    assert threads.states == {9001: "done", 9002: "ready"}
    assert threads.api.public == ["1 answered"]


@pytest.mark.sqlite
def test_stopping_releases_what_does_not_finish(threads: Workers, held: Held) -> None:
    threads.say()
    held.wait()
    started = time.monotonic()
    threads.backend.stop(grace=0.1)

    assert time.monotonic() - started < 5
    job = job_of(threads.app)
    assert (job.state, job.attempts) == ("ready", 0)

    with threads.other_process() as other:
        other.claim()

    held.release()
    threads.wait_for_log("Its turn was abandoned here")
    wait_until(lambda: workers() == [])
    assert threads.api.attempts == []


def test_what_cannot_be_released_is_logged(
    threads: Workers, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads.say()
    held.wait()
    monkeypatch.setattr(Queue, "postpone", fail)
    threads.backend.stop(grace=0.0)
    held.release()

    assert "job 1: the job was not released: The disk is gone." in threads.caplog.text
    wait_until(lambda: workers() == [])


def test_stopping_twice_or_unstarted_is_harmless(threads: Workers) -> None:
    threads.backend.stop()
    threads.client.get("/")
    threads.backend.stop()
    threads.backend.stop()
    assert workers() == []


def test_a_thread_that_is_late_does_not_report_an_ended_process(
    threads: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def checkpoint() -> None:  # which a thread does before it reports
        entered.set()
        assert go_on.wait(20)

    monkeypatch.setattr(upkeep, "_REPORT_EVERY", 0.0)
    monkeypatch.setattr(database_of(threads.app), "checkpoint", checkpoint)
    threads.client.get("/")
    assert entered.wait(10)
    threads.backend.stop(grace=0.0)
    go_on.set()
    wait_until(lambda: workers() == [])

    assert components_of(threads.app).health(300.0)["workers"] == 0


# -- processes -------------------------------------------------------------------

PROGRAM = Path(__file__).parent / "support" / "programs" / "worker_threads.py"


def run(path: str, what: str) -> str:
    """Run the program to its end; what it prints."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), what],
        env={**os.environ, **environment_of(path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

    return done.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_starts_threads_of_its_own(path: str) -> None:
    both = ["chatwoot-worker-0", "chatwoot-worker-1"]
    assert json.loads(run(path, "fork")) == [[], both, 0, [[], both], both]


@pytest.mark.slow
def test_a_process_that_ends_waits_for_its_turns_and_claims_no_more(path: str) -> None:
    """A provider written with ``async def``, whose thread Python waits for itself."""
    run(path, "end")
    store = open_store(path)
    jobs = [(job.state, job.outcome, job.attempts) for job in store.inspection.jobs()]
    store.close()

    assert jobs == [("ready", None, 0), ("done", "declined", 1)]
