from __future__ import annotations

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
from flask.testing import FlaskClient
from support.apps import (
    AppFactory,
    components_of,
    database_of,
    job_of,
    jobs_of,
    runtime_of,
    store_of,
    work,
)
from support.chatwoot import ChatwootStub
from support.deliveries import deliver, message
from support.queue import open_store
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
    return [
        thread
        for thread in threading.enumerate()
        if thread.name.startswith("chatwoot-worker")
    ]


def all_ended(app: Flask, count: int = 1) -> bool:
    ended = [job for job in jobs_of(app) if job.state in ("done", "dead")]

    return len(ended) == count


# -- what every backend does ---------------------------------------------------


@pytest.fixture(params=["inline", "thread"])
def any_app(
    request: pytest.FixtureRequest, make_app: AppFactory, chatwoot: Chatwoot
) -> Flask:
    return make_app(chatwoot, backend=request.param, workers=2, **QUICK)


@pytest.fixture
def any_client(any_app: Flask) -> FlaskClient:
    return any_app.test_client()


def test_a_delivery_is_answered(
    any_app: Flask, any_client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: ANSWER)

    answer = deliver(any_client, message())

    assert (answer.status_code, answer.json) == (202, {"status": "accepted"})
    wait_until(lambda: all_ended(any_app))
    assert api.public == [ANSWER]


def test_a_repeat_is_answered_once(
    any_app: Flask, any_client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: ANSWER)
    deliver(any_client, message())

    for _ in range(3):
        assert deliver(any_client, message()).json == {"status": "duplicate"}

    wait_until(lambda: all_ended(any_app))
    assert api.public == [ANSWER]


def test_a_conversation_is_answered_in_its_order(
    any_app: Flask, any_client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: text)
    texts = [f"Message {number}." for number in range(20)]

    for number, text in enumerate(texts):
        deliver(any_client, message(text, id=9001 + number))

    def answered() -> list[str]:
        return "\n".join(api.public).splitlines()

    # Those that came while a turn ran are answered together.
    wait_until(lambda: len(answered()) == 20 and all_ended(any_app, len(api.public)))
    assert answered() == texts


def test_messages_that_wait_are_answered_together(
    any_app: Flask, any_client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    asked: list[str] = []
    begun, go_on = threading.Event(), threading.Event()

    @chatwoot.reply_provider
    def provide(text: str, turn: Turn) -> str:
        asked.append(text)
        begun.set()
        assert go_on.wait(20)
        return f"{len(turn.messages)} answered"

    request = threading.Thread(
        target=deliver, args=(any_app.test_client(), message("0", id=9000))
    )
    request.start()
    assert begun.wait(10)

    for number in range(1, 6):
        assert (
            deliver(any_client, message(str(number), id=9000 + number)).status_code
            == 202
        )

    assert deliver(any_client, message("3", id=9003)).json == {"status": "duplicate"}
    go_on.set()
    request.join()
    wait_until(lambda: all_ended(any_app, 2))
    assert asked == ["0", "1\n2\n3\n4\n5"]
    assert api.public == ["1 answered", "5 answered"]


@pytest.mark.parametrize("code", [0, 1, "text"])
def test_a_provider_that_calls_sys_exit_ends_its_turn_and_nothing_else(
    any_app: Flask,
    any_client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    code: int | str,
) -> None:
    @chatwoot.reply_provider
    def provide(text: str) -> str:
        if text == "leave":
            sys.exit(code)

        return ANSWER

    assert deliver(any_client, message("leave")).status_code == 202
    deliver(any_client, message("stay", id=9002, conversation_id=43))

    def states() -> dict[int, str]:
        return {job.message_id: job.state for job in jobs_of(any_app)}

    wait_until(lambda: states()[9002] == "done")
    assert states()[9001] != "done"
    assert api.public == [ANSWER]


def test_a_provider_that_raises_ends_its_turn_and_nothing_else(
    any_app: Flask, any_client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    @chatwoot.reply_provider
    def provide(text: str) -> str:
        if text == "break":
            raise RuntimeError

        return ANSWER

    assert deliver(any_client, message("break")).status_code == 202
    deliver(any_client, message("stay", id=9002, conversation_id=43))

    wait_until(lambda: api.public == [ANSWER])


def test_an_error_of_our_own_ends_one_attempt_and_nothing_else(
    any_app: Flask,
    any_client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    chatwoot.reply_provider(lambda text: ANSWER)
    keep = Outbox.keep
    broken = [True]

    def break_once(*args: t.Any, **values: t.Any) -> t.Any:
        if broken and broken.pop():
            raise ZeroDivisionError

        return keep(*args, **values)

    monkeypatch.setattr(Outbox, "keep", break_once)
    assert deliver(any_client, message()).status_code == 202
    deliver(any_client, message(id=9002, conversation_id=43))

    wait_until(lambda: "stopped: builtins.ZeroDivisionError" in caplog.text)

    def both_answered() -> bool:
        work(any_app)  # inline nothing happens between requests
        return len(api.public) == 2

    wait_until(both_answered)


def test_a_lost_lease_ends_the_turn_here(
    any_app: Flask,
    any_client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other = open_store(database_of(any_app).path, lambda: time.time() + 3600)

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        job = other.queue.claim()
        assert job is not None
        other.queue.settle(job, "declined", "no_answer")
        return ANSWER

    deliver(any_client, message())

    wait_until(lambda: "Its turn was abandoned here" in caplog.text)
    assert api.attempts == []
    assert (job_of(any_app).outcome, job_of(any_app).state) == ("declined", "done")
    other.database.close()


def test_a_slow_turn_keeps_its_lease(
    any_app: Flask, any_client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        begun.set()
        assert go_on.wait(20)
        return ANSWER

    other = open_store(database_of(any_app).path)
    request = threading.Thread(target=deliver, args=(any_client, message()))
    request.start()
    assert begun.wait(10)

    until = time.monotonic() + 4 * store_of(any_app).queue.lease
    claimed = []

    while time.monotonic() < until:
        claimed.append(other.queue.claim())
        time.sleep(0.05)

    go_on.set()
    request.join()
    other.database.close()
    assert set(claimed) == {None}
    wait_until(lambda: all_ended(any_app))
    assert api.public == [ANSWER]
    assert job_of(any_app).attempts == 1


def test_a_delivery_that_cannot_be_stored_is_an_error(any_app: Flask) -> None:
    Path(database_of(any_app).path).write_bytes(b"no database at all. " * 50)

    answer = deliver(any_app.test_client(), message())

    assert answer.status_code == 500


def test_making_an_app_starts_nothing_and_opens_nothing(
    any_app: Flask, tmp_path: Path
) -> None:
    assert workers() == []
    assert list(tmp_path.iterdir()) == []


def test_an_unconfigured_app_starts_nothing(make_app: AppFactory) -> None:
    app = make_app(backend="thread", base_url=None)
    app.test_client().get("/")

    assert workers() == []


# -- inline --------------------------------------------------------------------


def test_inline_a_request_ends_with_its_turn(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: ANSWER)
    deliver(client, message())

    assert api.public == [ANSWER]
    assert job_of(app).state == "done"


def test_inline_what_was_stored_is_accepted_even_if_no_more_can_be_claimed(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    claim = Queue.claim

    def broken(queue: Queue, *, tx: t.Any = None) -> t.Any:
        if tx is None:
            raise DatabaseError("The disk is gone.")

        return claim(queue, tx=tx)

    chatwoot.reply_provider(lambda text: ANSWER)
    monkeypatch.setattr(Queue, "claim", broken)

    assert deliver(client, message()).status_code == 202
    assert "no job could be claimed: The disk is gone." in caplog.text


def test_inline_a_request_also_handles_what_was_left(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: text)
    left = message("left", id=9000, conversation_id=43)
    store_of(app).queue.put(
        "left", conversation_id=43, message_id=9000, payload=json.dumps(left).encode()
    )
    deliver(client, message("new"))

    assert sorted(api.public) == ["left", "new"]


# -- threads -------------------------------------------------------------------


@pytest.fixture
def threaded(make_app: AppFactory, chatwoot: Chatwoot) -> Flask:
    return make_app(chatwoot, backend="thread", workers=3, **QUICK)


def test_threads_start_with_the_first_request_whatever_it_is(threaded: Flask) -> None:
    threaded.add_url_rule("/about", view_func=lambda: "about")

    with threaded.app_context():
        assert workers() == []

    assert threaded.test_client().get("/about").text == "about"
    assert len(workers()) == 3
    threaded.test_client().get("/about")
    assert len(workers()) == 3


def test_what_was_left_is_handled_after_a_restart(
    threaded: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: ANSWER)
    store_of(threaded).queue.put(
        "left",
        conversation_id=42,
        message_id=9000,
        payload=json.dumps(message()).encode(),
    )
    threaded.test_client().get("/no such page")

    wait_until(lambda: api.public == [ANSWER])


def test_many_first_requests_at_once_start_the_threads_once(threaded: Flask) -> None:
    backend = components_of(threaded).backend
    barrier = threading.Barrier(8)

    def start() -> None:
        barrier.wait()
        backend.start()

    starters = [threading.Thread(target=start) for _ in range(8)]

    for starter in starters:
        starter.start()

    for starter in starters:
        starter.join()

    assert len(workers()) == 3


def test_without_workers_a_process_only_stores(
    make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    app = make_app(chatwoot, backend="thread", workers=0)

    assert deliver(app.test_client(), message()).status_code == 202
    assert workers() == []
    assert job_of(app).state == "ready"
    assert api.attempts == []


def test_conversations_are_answered_side_by_side_while_one_is_slow(
    threaded: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    go_on = threading.Event()

    @chatwoot.reply_provider
    def provide(text: str, turn: Turn) -> str:
        assert text != "slow" or go_on.wait(20)
        return text

    client = threaded.test_client()
    deliver(client, message("slow", id=9001, conversation_id=42))
    # A message joins a turn that has not begun yet.
    wait_until(lambda: job_of(threaded).state == "leased")
    deliver(client, message("patient", id=9002, conversation_id=42))
    texts = [f"Message {number}." for number in range(10)]

    for number, text in enumerate(texts):
        deliver(client, message(text, id=9003 + number, conversation_id=43 + number))

    wait_until(lambda: sorted(api.public) == sorted(texts))
    go_on.set()
    wait_until(lambda: len(api.public) == 12)
    assert api.public[-2:] == ["slow", "patient"]


def test_as_many_turns_run_side_by_side_as_there_are_threads(
    threaded: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    together = threading.Barrier(3, timeout=20)

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        together.wait()
        return ANSWER

    for number in range(3):
        deliver(
            threaded.test_client(),
            message(id=9001 + number, conversation_id=42 + number),
        )

    wait_until(lambda: len(api.public) == 3)


def test_a_job_another_process_stored_is_found(
    threaded: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: ANSWER)
    threaded.test_client().get("/")
    other = open_store(database_of(threaded).path)
    other.queue.put(
        "k", conversation_id=42, message_id=9001, payload=json.dumps(message()).encode()
    )
    other.database.close()

    wait_until(lambda: api.public == [ANSWER])


def test_a_failing_inbox_does_not_end_the_threads(
    threaded: Flask,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    claim = Queue.claim
    broken = threading.Event()

    def break_at_first(queue: Queue) -> t.Any:
        if not broken.is_set():
            raise DatabaseError("The disk is gone.")

        return claim(queue)

    chatwoot.reply_provider(lambda text: ANSWER)
    monkeypatch.setattr(workers_module, "_DATABASE_PAUSE", 0.01)
    monkeypatch.setattr(Queue, "claim", break_at_first)
    deliver(threaded.test_client(), message())
    wait_until(lambda: "no job could be claimed: The disk is gone." in caplog.text)
    broken.set()

    wait_until(lambda: api.public == [ANSWER])


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize(
    ("store", "chore", "complaint"),
    [
        (Inspection, "prune", "the database was not pruned: The disk is gone."),
        (
            SQLiteDatabase,
            "checkpoint",
            "SQLite's log was not checkpointed: The disk is gone.",
        ),
    ],
)
def test_workers_keep_house_in_quiet_moments(
    threaded: Flask,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    store: type,
    chore: str,
    complaint: str,
    broken: bool,
) -> None:
    done = threading.Semaphore(0)

    def do(_: object) -> int:
        done.release()

        if broken:
            raise DatabaseError("The disk is gone.")

        return 0

    monkeypatch.setattr(workers_module, f"_{chore.upper()}_EVERY", 0.0)
    monkeypatch.setattr(store, chore, do)
    threaded.test_client().get("/")

    assert done.acquire(timeout=10)
    assert done.acquire(timeout=10)
    wait_until(lambda: not broken or complaint in caplog.text)
    assert len(workers()) == 3


def test_workers_move_the_log_into_the_file(
    threaded: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers_module, "_CHECKPOINT_EVERY", 0.0)
    file = Path(runtime_of(threaded).config.database_path)
    threaded.test_client().get("/")

    # Without, the file has one page until there are 64 MB of log.
    wait_until(lambda: file.exists() and file.stat().st_size > 2048)


def test_a_lease_that_cannot_be_renewed_is_logged_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renewals: list[int] = []

    def broken(_: Queue, job: Job) -> None:
        renewals.append(job.id)
        raise DatabaseError("The disk is gone.")

    monkeypatch.setattr(Queue, "renew", broken)
    store = open_store(tmp_path / "chatwoot.sqlite3", lease=0.03)
    store.queue.put("k", conversation_id=42, message_id=9001, payload=b"{}")
    job = store.queue.claim()
    assert job is not None
    heartbeat = workers_module.Heartbeat(store.queue)
    heartbeat.watch(job)

    wait_until(lambda: len(renewals) >= 2)
    assert "the lease of job 1 was not renewed: The disk is gone." in caplog.text
    heartbeat.leave(job)
    assert heartbeat.running() == []
    store.database.close()


# -- the end -------------------------------------------------------------------


def test_stopping_lets_running_turns_finish_and_claims_no_more(
    threaded: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        begun.set()
        assert go_on.wait(20)
        return ANSWER

    client = threaded.test_client()
    deliver(client, message(id=9001))
    assert begun.wait(10)  # or the next message would join this turn
    deliver(client, message(id=9002))
    stopping = threading.Thread(target=components_of(threaded).backend.stop)
    stopping.start()
    wait_until(lambda: len(workers()) == 1)  # those that have nothing to do leave
    go_on.set()
    stopping.join(10)

    assert not stopping.is_alive()
    assert workers() == []
    assert [job.state for job in jobs_of(threaded)] == ["ready", "done"]
    assert api.public == [ANSWER]


def test_stopping_gives_back_what_does_not_finish(
    threaded: Flask,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        begun.set()
        assert go_on.wait(20)
        return ANSWER

    backend = components_of(threaded).backend
    assert isinstance(backend, ThreadBackend)
    deliver(threaded.test_client(), message())
    assert begun.wait(10)
    started = time.monotonic()
    backend.stop(grace=0.1)

    assert time.monotonic() - started < 5
    assert (job_of(threaded).state, job_of(threaded).attempts) == ("ready", 0)
    other = open_store(database_of(threaded).path)
    assert other.queue.claim() is not None
    other.database.close()

    go_on.set()
    wait_until(lambda: "Its turn was abandoned here" in caplog.text)
    wait_until(lambda: workers() == [])
    assert api.attempts == []


def test_what_cannot_be_given_back_is_logged(
    threaded: Flask,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def broken(*_: t.Any, **__: t.Any) -> None:
        raise DatabaseError("The disk is gone.")

    @chatwoot.reply_provider
    def provide(text: str) -> str:
        begun.set()
        assert go_on.wait(20)
        return ANSWER

    backend = components_of(threaded).backend
    assert isinstance(backend, ThreadBackend)
    deliver(threaded.test_client(), message())
    assert begun.wait(10)
    monkeypatch.setattr(Queue, "postpone", broken)
    backend.stop(grace=0.0)
    go_on.set()

    assert "job 1 was not released: The disk is gone." in caplog.text
    wait_until(lambda: workers() == [])


def test_stopping_twice_or_unstarted_is_harmless(threaded: Flask) -> None:
    components_of(threaded).backend.stop()
    threaded.test_client().get("/")
    components_of(threaded).backend.stop()
    components_of(threaded).backend.stop()

    assert workers() == []


# -- processes -----------------------------------------------------------------

HOST = """
import json, sys, threading, time
from flask import Flask
from flask_chatwoot import Chatwoot

app = Flask("host")
app.config.update(
    CHATWOOT_BASE_URL="http://127.0.0.1:9", CHATWOOT_ACCOUNT_ID=1,
    CHATWOOT_API_ACCESS_TOKEN="t", CHATWOOT_DATABASE_URL="sqlite:///" + sys.argv[1],
    CHATWOOT_WORKERS=2, CHATWOOT_COPILOT_TOKEN="t", CHATWOOT_WEBHOOK_SECRET="s",
)
chatwoot = Chatwoot(app)
parts = app.extensions["chatwoot"].configured
store = parts.store

def put(number):
    body = {
        "event": "message_created", "id": number, "content": "Hello",
        "message_type": "incoming", "account": {"id": 1},
        "conversation": {"id": number},
    }
    store.queue.put(str(number), conversation_id=number, message_id=number,
              payload=json.dumps(body).encode())
"""

FORK = f"""{HOST}
import os, warnings

warnings.simplefilter("ignore")  # threads and fork do not mix, which is the point
seen = threading.Event()

@chatwoot.reply_provider
def provide(text):
    seen.set()

def names():
    return sorted(t.name for t in threading.enumerate() if "worker" in t.name)

def serve(number):
    seen.clear()
    put(number)
    app.test_client().get("/")
    assert seen.wait(20)
    while store.inspection.jobs()[0].state != "done":
        time.sleep(0.01)
    return names()

told = [names(), serve(1)]
read, write = os.pipe()
child = os.fork()
if not child:
    os.write(write, json.dumps([names(), serve(2)]).encode())
    parts.backend.stop()
    os._exit(0)
code = os.waitpid(child, 0)[1]
told += [code, json.loads(os.read(read, 10_000)), serve(3)]
parts.backend.stop()
print(json.dumps(told))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_starts_threads_of_its_own(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, str(tmp_path / "chatwoot.sqlite3")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    both = ["chatwoot-worker-0", "chatwoot-worker-1"]
    assert json.loads(done.stdout) == [[], both, 0, [[], both], both]


EXIT = f"""{HOST}
import asyncio, concurrent.futures.thread

begun = threading.Event()

@chatwoot.reply_provider
async def provide(text):
    begun.set()
    while not (parts.backend.stopped or concurrent.futures.thread._shutdown):
        await asyncio.sleep(0.01)
    put(2)
    patience = time.monotonic() + 1
    while store.inspection.jobs()[0].attempts == 0 and time.monotonic() < patience:
        await asyncio.sleep(0.01)

put(1)
app.test_client().get("/")
assert begun.wait(20)
"""


def test_a_process_that_ends_waits_for_its_turns_and_claims_no_more(
    tmp_path: Path,
) -> None:
    """A provider written with ``async def``, whose thread Python waits for itself."""
    path = str(tmp_path / "chatwoot.sqlite3")
    done = subprocess.run(
        [sys.executable, "-c", EXIT, path],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

    inbox = open_store(path)
    jobs = [(job.state, job.outcome, job.attempts) for job in inbox.inspection.jobs()]
    inbox.database.close()

    assert jobs == [("ready", None, 0), ("done", "declined", 1)]
