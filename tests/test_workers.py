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
from pathlib import Path

import pytest
from flask import Flask
from support.apps import (
    AppFactory,
    Scene,
    components_of,
    database_of,
    job_of,
    jobs_of,
    runtime_of,
    store_of,
    work,
)
from support.chatwoot import ChatwootStub
from support.deliveries import as_bytes, deliver, message
from support.queue import Store, open_store
from support.waiting import wait_until

from flask_chatwoot import Chatwoot, Turn
from flask_chatwoot import workers as workers_module
from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.queue.inspection import Inspection
from flask_chatwoot.queue.jobs import Job, Queue
from flask_chatwoot.queue.outbox import Outbox
from flask_chatwoot.queue.sqlite import SQLiteDatabase
from flask_chatwoot.workers import ThreadBackend

ANSWER = "On its way."
QUICK = {"lease": 0.5, "retry_pause": 0.01}


def workers() -> list[threading.Thread]:
    named = "chatwoot-worker"

    return [each for each in threading.enumerate() if each.name.startswith(named)]


def all_ended(app: Flask, count: int = 1) -> bool:
    ended = [job for job in jobs_of(app) if job.state in ("done", "dead")]

    return len(ended) == count


def fail(*_: object, **__: object) -> t.Any:
    raise DatabaseError("The disk is gone.")


@contextlib.contextmanager
def other_process(app: Flask, ahead: float = 0.0) -> t.Iterator[Store]:
    """The database of an app as another process has it, its clock ahead."""
    store = open_store(database_of(app).path, lambda: time.time() + ahead)

    try:
        yield store
    finally:
        store.close()


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
def running(target: t.Callable[..., object], *args: object) -> t.Iterator[None]:
    """Call something in a thread, which has ended after the block."""
    thread = threading.Thread(target=target, args=args)
    thread.start()
    yield
    thread.join(20)
    assert not thread.is_alive()


# -- what every backend does -----------------------------------------------------


@pytest.fixture(params=["inline", "thread"])
def either(
    request: pytest.FixtureRequest,
    make_app: AppFactory,
    chatwoot: Chatwoot,
    api: ChatwootStub,
) -> Scene:
    """A scene with each backend."""
    app = make_app(chatwoot, backend=request.param, workers=2, **QUICK)

    return Scene(app, app.test_client(), api, chatwoot)


def test_a_message_is_answered_once_however_often_it_is_delivered(
    either: Scene,
) -> None:
    either.chatwoot.reply_provider(lambda text: ANSWER)
    answers = [deliver(either.client, message()) for _ in range(4)]

    assert [(answer.status_code, answer.json) for answer in answers] == [
        (202, {"status": "accepted"}),
        *[(200, {"status": "duplicate"})] * 3,
    ]
    wait_until(lambda: all_ended(either.app))
    assert either.api.public == [ANSWER]


def test_a_conversation_is_answered_in_its_order(either: Scene) -> None:
    either.chatwoot.reply_provider(lambda text: text)
    texts = [f"Message {number}." for number in range(20)]

    for number, text in enumerate(texts):
        deliver(either.client, message(text, id=9001 + number))

    def answered() -> list[str]:
        return "\n".join(either.api.public).splitlines()

    # Those that came while a turn ran are answered together.
    wait_until(lambda: len(answered()) == 20)
    wait_until(lambda: all_ended(either.app, len(either.api.public)))
    assert answered() == texts


def test_messages_that_wait_are_answered_together(either: Scene, held: Held) -> None:
    client = either.app.test_client()

    with running(deliver, client, message("0", id=9000)):
        held.wait()

        for number in range(1, 6):
            body = message(str(number), id=9000 + number)
            assert deliver(either.client, body).status_code == 202

        again = deliver(either.client, message("3", id=9003))
        assert again.json == {"status": "duplicate"}
        held.release()

    wait_until(lambda: all_ended(either.app, 2))
    assert held.asked == ["0", "1\n2\n3\n4\n5"]
    assert either.api.public == ["1 answered", "5 answered"]


@pytest.mark.parametrize(
    "error",
    [SystemExit(0), SystemExit(1), SystemExit("text"), RuntimeError()],
    ids=repr,
)
def test_a_provider_that_raises_ends_its_turn_and_nothing_else(
    either: Scene, error: BaseException
) -> None:
    @either.chatwoot.reply_provider
    def provide(text: str) -> str:
        if text == "raise":
            raise error

        return ANSWER

    assert deliver(either.client, message("raise")).status_code == 202
    deliver(either.client, message("answer", id=9002, conversation_id=43))

    def states() -> dict[int, str]:
        return {job.message_id: job.state for job in jobs_of(either.app)}

    wait_until(lambda: states()[9002] == "done")
    assert states()[9001] != "done"
    assert either.api.public == [ANSWER]


def test_an_error_of_our_own_ends_one_attempt_and_nothing_else(
    either: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    either.chatwoot.reply_provider(lambda text: ANSWER)
    keep = Outbox.keep
    broken = [True]

    def break_once(*args: t.Any, **values: t.Any) -> t.Any:
        if broken and broken.pop():
            raise ZeroDivisionError

        return keep(*args, **values)

    monkeypatch.setattr(Outbox, "keep", break_once)
    assert deliver(either.client, message()).status_code == 202
    deliver(either.client, message(id=9002, conversation_id=43))

    wait_until(lambda: "stopped: builtins.ZeroDivisionError" in caplog.text)

    def both_answered() -> bool:
        work(either.app)  # inline nothing happens between requests
        return len(either.api.public) == 2

    wait_until(both_answered)


def test_a_lost_lease_ends_the_turn_here(
    either: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    with other_process(either.app, ahead=3600) as other:

        @either.chatwoot.reply_provider
        def provide(text: str) -> str:
            other.settle(other.claim(), "declined", "no_answer")
            return ANSWER

        deliver(either.client, message())
        wait_until(lambda: "Its turn was abandoned here" in caplog.text)

    assert either.api.attempts == []
    job = job_of(either.app)
    assert (job.outcome, job.state) == ("declined", "done")


@pytest.mark.slow
def test_a_slow_turn_keeps_its_lease(either: Scene, held: Held) -> None:
    claimed = []

    with other_process(either.app) as other, running(deliver, either.client, message()):
        held.wait()
        until = time.monotonic() + 4 * store_of(either.app).queue.lease

        while time.monotonic() < until:
            claimed.append(other.queue.claim())
            time.sleep(0.05)

        held.release()

    assert set(claimed) == {None}
    wait_until(lambda: all_ended(either.app))
    assert either.api.public == ["1 answered"]
    assert job_of(either.app).attempts == 1


def test_a_delivery_that_cannot_be_stored_is_an_error(either: Scene) -> None:
    Path(database_of(either.app).path).write_bytes(b"no database at all. " * 50)
    assert deliver(either.client, message()).status_code == 500


@pytest.mark.usefixtures("either")
def test_making_an_app_starts_nothing_and_opens_nothing(tmp_path: Path) -> None:
    assert workers() == []
    assert list(tmp_path.iterdir()) == []


def test_an_unconfigured_app_starts_nothing(make_app: AppFactory) -> None:
    make_app(backend="thread", base_url=None).test_client().get("/")
    assert workers() == []


# -- inline ----------------------------------------------------------------------


def test_inline_a_request_ends_with_its_turn(scene: Scene) -> None:
    scene.chatwoot.reply_provider(lambda text: ANSWER)
    deliver(scene.client, message())

    assert scene.api.public == [ANSWER]
    assert job_of(scene.app).state == "done"


def test_inline_what_was_stored_is_accepted_even_if_no_more_can_be_claimed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = Queue.claim

    def broken(queue: Queue, *, tx: t.Any = None) -> t.Any:
        return fail() if tx is None else original(queue, tx=tx)

    scene.chatwoot.reply_provider(lambda text: ANSWER)
    monkeypatch.setattr(Queue, "claim", broken)

    assert deliver(scene.client, message()).status_code == 202
    assert "no job could be claimed: The disk is gone." in caplog.text


def test_inline_a_request_also_handles_what_was_left(scene: Scene) -> None:
    scene.chatwoot.reply_provider(lambda text: text)
    put(store_of(scene.app).queue, 9000, conversation_id=43)
    deliver(scene.client, message("new"))

    assert sorted(scene.api.public) == ["new", "stored"]


# -- threads ---------------------------------------------------------------------


@pytest.fixture
def threads(make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub) -> Scene:
    """A scene with three worker threads."""
    app = make_app(chatwoot, backend="thread", workers=3, **QUICK)

    return Scene(app, app.test_client(), api, chatwoot)


def backend_of(app: Flask) -> ThreadBackend:
    return t.cast(ThreadBackend, components_of(app).backend)


def test_threads_start_with_the_first_request_whatever_it_is(threads: Scene) -> None:
    threads.app.add_url_rule("/about", view_func=lambda: "about")

    with threads.app.app_context():
        assert workers() == []

    assert threads.client.get("/about").text == "about"
    assert len(workers()) == 3
    threads.client.get("/about")
    assert len(workers()) == 3


def test_what_was_left_is_handled_after_a_restart(threads: Scene) -> None:
    threads.chatwoot.reply_provider(lambda text: ANSWER)
    put(store_of(threads.app).queue)
    threads.client.get("/no such page")

    wait_until(lambda: threads.api.public == [ANSWER])


def test_many_first_requests_at_once_start_the_threads_once(threads: Scene) -> None:
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        backend_of(threads.app).start()

    with contextlib.ExitStack() as stack:
        for _ in range(8):
            stack.enter_context(running(start))

    assert len(workers()) == 3


def test_without_workers_a_process_only_stores(
    make_app: AppFactory, api: ChatwootStub
) -> None:
    app = make_app(backend="thread", workers=0)

    assert deliver(app.test_client(), message()).status_code == 202
    assert workers() == []
    assert job_of(app).state == "ready"
    assert api.attempts == []


def test_other_conversations_are_answered_while_one_is_slow(threads: Scene) -> None:
    go_on = threading.Event()

    @threads.chatwoot.reply_provider
    def provide(text: str, turn: Turn) -> str:
        assert text != "slow" or go_on.wait(20)
        return text

    deliver(threads.client, message("slow", id=9001))
    # A message joins a turn that has not begun yet.
    wait_until(lambda: job_of(threads.app).state == "leased")
    deliver(threads.client, message("next", id=9002))
    texts = [f"Message {number}." for number in range(10)]

    for number, text in enumerate(texts):
        body = message(text, id=9003 + number, conversation_id=43 + number)
        deliver(threads.client, body)

    wait_until(lambda: sorted(threads.api.public) == sorted(texts))
    go_on.set()
    wait_until(lambda: len(threads.api.public) == 12)
    assert threads.api.public[-2:] == ["slow", "next"]


def test_as_many_turns_run_side_by_side_as_there_are_threads(threads: Scene) -> None:
    together = threading.Barrier(3, timeout=20)

    @threads.chatwoot.reply_provider
    def provide(text: str) -> str:
        together.wait()
        return ANSWER

    for number in range(3):
        body = message(id=9001 + number, conversation_id=42 + number)
        deliver(threads.client, body)

    wait_until(lambda: len(threads.api.public) == 3)


def test_a_job_another_process_stored_is_found(threads: Scene) -> None:
    threads.chatwoot.reply_provider(lambda text: ANSWER)
    threads.client.get("/")

    with other_process(threads.app) as other:
        put(other.queue)

    wait_until(lambda: threads.api.public == [ANSWER])


def test_a_failing_database_does_not_end_the_threads(
    threads: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = Queue.claim
    repaired = threading.Event()
    threads.chatwoot.reply_provider(lambda text: ANSWER)
    monkeypatch.setattr(workers_module, "_DATABASE_PAUSE", 0.01)
    monkeypatch.setattr(
        Queue, "claim", lambda queue: (original if repaired.is_set() else fail)(queue)
    )
    deliver(threads.client, message())
    wait_until(lambda: "no job could be claimed: The disk is gone." in caplog.text)
    repaired.set()

    wait_until(lambda: threads.api.public == [ANSWER])


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (None, ""),
        (DatabaseError("The disk is gone."), "The disk is gone."),
        (ZeroDivisionError(), "builtins.ZeroDivisionError"),
    ],
)
@pytest.mark.parametrize(
    ("store", "duty", "warning"),
    [
        (Inspection, "prune", "the database was not pruned: "),
        (SQLiteDatabase, "checkpoint", "SQLite's log was not checkpointed: "),
    ],
)
def test_workers_prune_and_checkpoint_the_database(
    threads: Scene,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    store: type,
    duty: str,
    warning: str,
    error: Exception | None,
    text: str,
) -> None:
    done = threading.Semaphore(0)

    def do(_: object) -> int:
        done.release()
        if error is not None:
            raise error
        return 0

    monkeypatch.setattr(workers_module, f"_{duty.upper()}_EVERY", 0.0)
    monkeypatch.setattr(store, duty, do)
    threads.client.get("/")

    assert done.acquire(timeout=10)
    assert done.acquire(timeout=10)
    wait_until(lambda: error is None or f"{warning}{text}" in caplog.text)
    assert len(workers()) == 3


def test_workers_move_the_log_into_the_file(
    threads: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "_CHECKPOINT_EVERY", 0.0)
    file = Path(runtime_of(threads.app).config.database_path)
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
    heartbeat = workers_module.Heartbeat(store.queue)
    heartbeat.watch(job)

    wait_until(lambda: len(renewals) >= 2)
    assert "the lease of job 1 was not renewed: The disk is gone." in caplog.text
    heartbeat.leave(job)
    assert heartbeat.running() == []
    store.close()


# -- stopping --------------------------------------------------------------------


def test_stopping_lets_running_turns_finish_and_claims_no_more(
    threads: Scene, held: Held
) -> None:
    deliver(threads.client, message(id=9001))
    held.wait()  # or the next message would join this turn
    deliver(threads.client, message(id=9002))

    with running(backend_of(threads.app).stop):
        wait_until(lambda: len(workers()) == 1)  # those that have nothing to do leave
        held.release()

    assert workers() == []
    assert [job.state for job in jobs_of(threads.app)] == ["ready", "done"]
    assert threads.api.public == ["1 answered"]


def test_stopping_releases_what_does_not_finish(
    threads: Scene, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(threads.client, message())
    held.wait()
    started = time.monotonic()
    backend_of(threads.app).stop(grace=0.1)

    assert time.monotonic() - started < 5
    job = job_of(threads.app)
    assert (job.state, job.attempts) == ("ready", 0)

    with other_process(threads.app) as other:
        assert other.queue.claim() is not None

    held.release()
    wait_until(lambda: "Its turn was abandoned here" in caplog.text)
    wait_until(lambda: workers() == [])
    assert threads.api.attempts == []


def test_what_cannot_be_released_is_logged(
    threads: Scene,
    held: Held,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    deliver(threads.client, message())
    held.wait()
    monkeypatch.setattr(Queue, "postpone", fail)
    backend_of(threads.app).stop(grace=0.0)
    held.release()

    assert "job 1 was not released: The disk is gone." in caplog.text
    wait_until(lambda: workers() == [])


def test_stopping_twice_or_unstarted_is_harmless(threads: Scene) -> None:
    backend_of(threads.app).stop()
    threads.client.get("/")
    backend_of(threads.app).stop()
    backend_of(threads.app).stop()

    assert workers() == []


# -- processes -------------------------------------------------------------------

PROGRAM = Path(__file__).parent / "support" / "programs" / "worker_threads.py"


def run(path: str, what: str) -> str:
    """Run the program to its end; what it prints."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), path, what],
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
