"""Celery as the engine, with a real broker, real workers and a real beat."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
import requests
from celery import Celery
from flask import Flask
from support import databases
from support.apps import (
    AppFactory,
    components_of,
    database_of,
    jobs_of,
    recorded,
    runtime_of,
    store_of,
)
from support.celery import (
    Broker,
    beat,
    broker,
    celery_init_app,
    frozen_server,
    worker,
)
from support.commands import outcome
from support.deliveries import signed
from support.servers import all_ended, ask, new_talk
from support.waiting import wait_until
from support.workers import Worker, settings_of

from flask_chatwoot import Chatwoot, Mode, Turn, draft_reviewed, turn_due
from flask_chatwoot.celery import CeleryBackend
from flask_chatwoot.celery.publisher import SWEEP, WAKE
from flask_chatwoot.doctor import celery as celery_doctor
from flask_chatwoot.doctor.celery import celery as celery_checks
from flask_chatwoot.doctor.facts import DoctorContext
from flask_chatwoot.errors import ConfigError
from flask_chatwoot.queue.postgresql.beats import Beats
from flask_chatwoot.simulator import Simulator
from flask_chatwoot.testing import customer_message, deliver, operator_message
from flask_chatwoot.workers import JobRunner

pytestmark = pytest.mark.postgresql

JSON = dict[str, t.Any]

POOLS: t.Final = ("threads", "prefork")


class MakeHost(t.Protocol):
    """Makes apps with Celery as the engine."""

    def __call__(self, celery: JSON | None = None, **settings: t.Any) -> Flask:
        """``celery`` are Celery's settings besides the usual ones."""


@pytest.fixture
def redis() -> t.Iterator[Broker]:
    with broker() as made:
        yield made


@pytest.fixture
def make_host(
    make_app: AppFactory, sim: Simulator, tmp_path: Path
) -> t.Iterator[MakeHost]:
    databases.serve()

    def make(celery: JSON | None = None, **settings: t.Any) -> Flask:
        chatwoot = Chatwoot()
        chatwoot.reply_provider(lambda text: "On its way.")
        app = make_app(
            chatwoot,
            **{
                **settings_of(sim),
                "backend": "celery",
                "database_url": databases.POSTGRESQL_URL,
                "database_schema": databases.schema_of(tmp_path / "database"),
                **settings,
            },
        )
        app.config["CELERY"] = celery or {}
        celery_init_app(app)

        return app

    yield make
    # Nothing may keep the app, or that of the next test could not have its schema.
    Celery().set_default()


@pytest.fixture
def host(make_host: MakeHost, redis: Broker) -> Flask:
    """An app that receives, in this process."""
    return make_host(redis.settings)


def backend_of(app: Flask) -> CeleryBackend:
    return t.cast(CeleryBackend, components_of(app).backend)


LONG: t.Final = 45.0
"""Seconds in which processes start and answer, on a machine that is busy."""


def ended(app: Flask) -> None:
    wait_until(lambda: all_ended(app), LONG)


def calls(folder: Path) -> list[str]:
    """What the provider was asked, in order, with the process that asked."""
    path = folder / "calls"

    return path.read_text().splitlines() if path.exists() else []


def swept(app: Flask) -> bool:
    """Whether a worker has made a sweep."""
    return store_of(app).wakes.age() is not None


# -- turns -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("pool", [*POOLS, "gevent"])
def test_a_worker_answers_what_was_delivered(
    host: Flask, sim: Simulator, tmp_path: Path, pool: str
) -> None:
    talks = [new_talk(sim) for _ in range(5)]

    with worker(host, tmp_path, pool) as process:
        for talk in talks:
            ask(host, talk, "One?")
            ask(host, talk, "Two?")

        ended(host)
        wait_until(lambda: components_of(host).health(300.0)["workers"] == 2)
        assert process.finish() == 0

    assert components_of(host).health(300.0)["workers"] == 0

    assert {job.outcome for job in jobs_of(host)} == {"replied"}
    assert all(1 <= len(talk.replies) <= 2 for talk in talks)
    assert all("Two?" in talk.replies[-1] for talk in talks)


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_the_messages_of_a_conversation_are_answered_in_their_order(
    host: Flask, sim: Simulator, tmp_path: Path, pool: str
) -> None:
    talk = new_talk(sim)

    with worker(host, tmp_path, pool, PROVIDER_SECONDS="0.3"):
        for number in range(4):
            ask(host, talk, f"Question {number}?")
            wait_until(lambda n=number: len(calls(tmp_path)) > n, LONG)  # type: ignore[misc]

        ended(host)

    assert talk.replies == [f"Answer to Question {n}?" for n in range(4)]


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_turn_whose_provider_does_not_answer_is_given_up(
    host: Flask, sim: Simulator, tmp_path: Path, pool: str
) -> None:
    talk = new_talk(sim)
    limit = {"FIRST_SECONDS": "12", "CHATWOOT_PROVIDER_TIMEOUT": "0.5"}

    with worker(host, tmp_path, pool, **limit):
        ask(host, talk)
        ended(host)
        wait_until(lambda: components_of(host).health(300.0).get("stuck") == 1)
        assert len(calls(tmp_path)) == 1

    assert [job.reason for job in jobs_of(host)] == ["provider_timeout"]
    assert (talk.replies, len(talk.notes)) == ([], 1)


# -- wakes that are lost ---------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_worker_that_starts_answers_what_no_task_is_about(
    host: Flask, sim: Simulator, redis: Broker, tmp_path: Path, pool: str
) -> None:
    talk = new_talk(sim)
    ask(host, talk)
    wait_until(redis.waiting)
    redis.lose_all()

    with worker(host, tmp_path, pool):
        ended(host)

    assert len(talk.replies) == 1


@pytest.mark.slow
def test_the_sweep_of_beat_finds_what_no_task_is_about(
    host: Flask, sim: Simulator, redis: Broker, tmp_path: Path
) -> None:
    with worker(host, tmp_path) as process, beat(host, tmp_path):
        wait_until(lambda: swept(host), LONG)
        host.extensions["celery"] = Celery(broker="redis://127.0.0.1:1/0")
        talk = new_talk(sim)
        ask(host, talk)
        assert f"{SWEEP}[" in process.log

        ended(host)

    assert len(talk.replies) == 1


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_the_turn_of_a_killed_worker_goes_on_long_before_its_lease_ends(
    make_host: MakeHost, sim: Simulator, redis: Broker, tmp_path: Path, pool: str
) -> None:
    host = make_host(redis.settings, lease=10 * LONG)
    talk = new_talk(sim)

    with worker(host, tmp_path, pool, FIRST_SECONDS="600"):
        ask(host, talk)
        (call,) = wait_until(lambda: calls(tmp_path), LONG)

        with worker(host, tmp_path), beat(host, tmp_path):
            wait_until(lambda: (store_of(host).wakes.age() or 99) < 1, LONG)
            os.kill(int(call.split()[0]), signal.SIGKILL)
            ended(host)

    assert len(talk.replies) == 1


@pytest.mark.slow
def test_a_retry_is_made_when_it_is_due(
    host: Flask, sim: Simulator, tmp_path: Path
) -> None:
    talk = new_talk(sim)

    with worker(host, tmp_path, FAILURES="1"), beat(host, tmp_path):
        ask(host, talk)
        ended(host)

    assert len(talk.replies) == 1
    assert len(calls(tmp_path)) == 2


@pytest.mark.slow
def test_a_sweep_finds_what_was_not_delivered(
    make_host: MakeHost, sim: Simulator, redis: Broker, tmp_path: Path
) -> None:
    host = make_host(redis.settings, catch_up=1)
    talk = new_talk(sim)

    with worker(host, tmp_path), beat(host, tmp_path):
        ask(host, talk, "One?")
        ended(host)
        talk.customer_says("Two?")
        wait_until(lambda: len(talk.replies) == 2, LONG)

    assert talk.replies[1] == "Answer to Two?"


# -- brokers that fail -----------------------------------------------------------------


def refusing() -> str:
    """The address of a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@contextlib.contextmanager
def broken(how: str) -> t.Iterator[str]:
    """The URL of a broker that refuses connections, or is frozen."""
    with (
        frozen_server()
        if how == "frozen"
        else contextlib.nullcontext(refusing()) as address
    ):
        yield f"redis://{address}/0"


@pytest.mark.parametrize("how", ["refused", "frozen"])
def test_deliveries_are_accepted_at_their_usual_speed_without_a_broker(
    make_host: MakeHost, sim: Simulator, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    with broken(how) as url:
        host = make_host({"broker_url": url})
        ask(host, new_talk(sim))  # opens the database
        started = time.monotonic()

        for _ in range(20):
            ask(host, new_talk(sim))

        assert time.monotonic() - started < 2

        if how == "refused":
            wait_until(lambda: "wakes that Celery did not get: 1;" in caplog.text)
            assert caplog.text.count("wakes that Celery did not get") == 1

    assert len(jobs_of(host)) == 21


def test_simulate_needs_no_broker(make_host: MakeHost) -> None:
    host = make_host({"broker_url": f"redis://{refusing()}/0"})
    code, printed = outcome(host, "simulate", "Anybody there?")

    assert (code, "  bot       " in printed) == (0, True), printed


def test_what_does_not_fit_into_the_queue_is_dropped_with_one_line(
    make_host: MakeHost, caplog: pytest.LogCaptureFixture
) -> None:
    with broken("frozen") as url:
        backend = backend_of(make_host({"broker_url": url}))
        started = time.monotonic()

        for number in range(3000):
            backend.wake(number)

        assert time.monotonic() - started < 1

    (line,) = [r.getMessage() for r in caplog.records if "wakes" in r.getMessage()]
    assert line.endswith("the broker does not take them")


@pytest.mark.slow
def test_a_worker_of_the_package_answers_without_a_broker(
    make_host: MakeHost, sim: Simulator, chatwoot: Chatwoot
) -> None:
    with broken("refused") as url:
        host = make_host({"broker_url": url})
        talk = new_talk(sim)
        ask(host, talk)

        with Worker(host):
            ended(host)

    assert len(talk.replies) == 1


def test_few_tasks_wait_in_the_broker_while_no_worker_runs(
    host: Flask, sim: Simulator, redis: Broker
) -> None:
    for _ in range(60):
        ask(host, new_talk(sim))

    backend_of(host).stop()
    assert 1 <= redis.waiting() <= 10


def test_every_wake_is_published_while_workers_sweep(
    host: Flask, sim: Simulator, redis: Broker
) -> None:
    backend_of(host).sweep()

    for _ in range(20):
        ask(host, new_talk(sim))

    backend_of(host).stop()
    assert redis.waiting() == 20


def test_a_process_that_works_again_after_its_end_is_reported(host: Flask) -> None:
    def is_reported() -> bool:
        return bool(components_of(host).health(300.0)["workers"] == 1)

    for _ in range(2):
        backend_of(host).sweep()
        wait_until(is_reported)
        backend_of(host).stop()
        assert not is_reported()


def upkeep_has_ended() -> bool:
    return all(each.name != "chatwoot-upkeep" for each in threading.enumerate())


def test_a_process_makes_no_step_after_its_end(
    host: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[JobRunner] = []
    monkeypatch.setattr(JobRunner, "let_go", lambda runner: steps.append(runner))
    backend_of(host).begin()  # a pause comes before the first step
    backend_of(host).stop()
    wait_until(upkeep_has_ended)
    assert steps == []


def test_a_process_that_ends_within_a_step_is_not_taken_for_alive(
    host: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, go_on = threading.Event(), threading.Event()
    really_let_go = JobRunner.let_go

    def let_go(runner: JobRunner) -> None:
        entered.set()
        assert go_on.wait(20)
        really_let_go(runner)

    monkeypatch.setattr(JobRunner, "let_go", let_go)
    backend_of(host).begin()
    assert entered.wait(10)
    backend_of(host).stop()
    go_on.set()
    wait_until(upkeep_has_ended)

    beats = t.cast(Beats, components_of(host).store.database.processes)
    assert not beats.is_beating()
    assert components_of(host).health(300.0)["workers"] == 0


# -- tasks -----------------------------------------------------------------------------


def test_a_task_holds_ids_expires_and_is_fixed_whatever_the_host_configures(
    make_host: MakeHost, sim: Simulator, redis: Broker
) -> None:
    host = make_host(
        {
            **redis.settings,
            "task_acks_late": True,
            "task_reject_on_worker_lost": True,
            "task_serializer": "pickle",
            "task_ignore_result": False,
            "task_store_errors_even_if_ignored": True,
            "result_backend": redis.url,
        }
    )
    talk = new_talk(sim)
    ask(host, talk)
    wait_until(redis.waiting)
    (headers,) = redis.tasks()
    tasks = host.extensions["celery"].tasks

    assert headers["task"] == WAKE
    assert headers["argsrepr"] == f"(1, {talk.id})"
    assert headers["expires"] is not None
    assert headers["ignore_result"] is True

    for name in (WAKE, SWEEP):
        task = tasks[name]
        assert (task.acks_late, task.reject_on_worker_lost) == (False, False)
        assert (task.ignore_result, task.store_errors_even_if_ignored) == (True, False)
        assert (task.serializer, task.max_retries) == ("json", 0)


@pytest.mark.parametrize(
    ("settings", "celery", "queue"),
    [
        ({}, {}, "celery"),
        ({}, {"task_default_queue": "usual"}, "usual"),
        ({}, {"task_routes": {"flask_chatwoot.*": "routed"}}, "routed"),
        ({"celery_queue": "own"}, {"task_default_queue": "usual"}, "own"),
        ({"celery_queue": "own"}, {"task_routes": {"*": "routed"}}, "own"),
    ],
)
def test_the_queue_is_the_one_that_is_set_or_celerys(
    make_host: MakeHost,
    sim: Simulator,
    redis: Broker,
    settings: JSON,
    celery: JSON,
    queue: str,
) -> None:
    host = make_host({**redis.settings, **celery}, **settings)
    ask(host, new_talk(sim))
    wait_until(lambda: redis.waiting(queue))
    loaded(host)
    entry = host.extensions["celery"].conf.beat_schedule[SWEEP]

    assert entry["options"].get("queue") == settings.get("celery_queue")


def test_a_turn_in_a_burst_is_woken_for_when_the_burst_may_be_over(
    make_host: MakeHost, sim: Simulator, redis: Broker
) -> None:
    ask(make_host(redis.settings, burst_window=20), new_talk(sim))
    wait_until(redis.waiting)
    (headers,) = redis.tasks()

    assert headers["eta"] is not None


def test_no_task_waits_in_the_broker_for_a_minute(
    make_host: MakeHost, sim: Simulator, redis: Broker
) -> None:
    host = make_host(redis.settings, burst_window=70, burst_max=80)
    ask(host, new_talk(sim))
    backend_of(host).stop()

    assert redis.waiting() == 0


# -- the host's Celery app -------------------------------------------------------------


def loaded(app: Flask) -> None:
    """What Celery's worker and beat do when they have imported the host."""
    app.extensions["celery"].loader.import_default_modules()


@pytest.mark.parametrize("first", ["celery", "chatwoot"])
def test_both_orders_of_init_register_the_tasks_and_the_sweep(
    make_app: AppFactory, sim: Simulator, tmp_path: Path, first: str
) -> None:
    databases.serve()
    own = {"own": {"task": "host.own", "schedule": 60.0}}
    celery_app = Celery("host", set_as_current=False)
    celery_app.conf.beat_schedule = own

    if first == "celery":
        celery_app.finalize()

    app = make_app(
        **settings_of(sim),
        backend="celery",
        database_url=databases.POSTGRESQL_URL,
        database_schema=databases.schema_of(tmp_path / "database"),
    )
    app.extensions["celery"] = celery_app
    loaded(app)

    assert {WAKE, SWEEP} <= {*celery_app.tasks}
    assert {*celery_app.conf.beat_schedule} == {"own", SWEEP}
    assert {*own} == {"own"}, "the host's dictionary was changed"
    assert celery_app.conf.beat_schedule[SWEEP]["schedule"] == 5.0
    assert celery_app.conf.beat_schedule[SWEEP]["options"]["expires"] == 5.0


def test_two_apps_of_a_process_have_a_celery_app_and_a_broker_each(
    make_host: MakeHost, sim: Simulator, redis: Broker, tmp_path: Path
) -> None:
    with broker() as other:
        first = make_host(redis.settings)
        schema = databases.schema_of(tmp_path / "other")
        second = make_host(other.settings, database_schema=schema)

        ask(first, new_talk(sim))
        wait_until(redis.waiting)
        assert other.waiting() == 0

        ask(second, new_talk(sim))
        wait_until(other.waiting)
        assert redis.waiting() == 1

        run_wake(first, 1)
        assert [len(jobs_of(app)) for app in (first, second)] == [1, 1]
        assert all_ended(first)
        assert not all_ended(second)


def run_wake(app: Flask, conversation_id: int, account_id: int = 1) -> None:
    """Run the task as a worker of the app's Celery app does."""
    app.extensions["celery"].tasks[WAKE](account_id, conversation_id)


@pytest.mark.parametrize("task", [WAKE, SWEEP])
def test_a_reply_to_a_draft_is_compared_by_a_task(
    make_host: MakeHost, redis: Broker, sim: Simulator, task: str
) -> None:
    app = make_host(redis.settings, draft_feedback=True)
    draft = Turn(text="", mode=Mode.HUMAN, conversation_id=1)
    components_of(app).turns.feedback.keep_suggestion(draft, 9001, "On its way.")
    reply = operator_message("On its way.", id=9002, conversation_id=1, mode="human")

    with recorded(draft_reviewed, app) as reviewed:
        deliver(app.test_client(), reply)
        assert wait_until(lambda: WAKE in [each["task"] for each in redis.tasks()])
        assert reviewed == []
        app.extensions["celery"].tasks[task](*((1, 1) if task == WAKE else ()))
        wait_until(lambda: reviewed)

    assert [each["verdict"] for each in reviewed] == ["used"]


def test_a_task_for_another_account_is_left_alone(
    host: Flask, sim: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    ask(host, new_talk(sim))
    run_wake(host, 1, account_id=7)

    assert not all_ended(host)
    assert "no app of this worker answers in account 7" in caplog.text


def test_the_celery_app_may_be_named(
    make_host: MakeHost,
    sim: Simulator,
    redis: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = f"shop_{tmp_path.name}"
    settings = redis.settings
    (tmp_path / f"{name}.py").write_text(
        f"from celery import Celery\nown = Celery(set_as_current=False)\n"
        f"own.conf.update({settings!r})\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    host = make_host({"broker_url": "memory://"}, celery_app=f"{name}:own")
    ask(host, new_talk(sim))
    wait_until(redis.waiting)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (None, "The app 'host' has no Celery app"),
        ("no_such_module:app", "whose module cannot be imported (ModuleNotFoundError"),
        ("json:loads", "CHATWOOT_CELERY_APP is 'json:loads', which is no Celery app"),
    ],
)
def test_a_missing_celery_app_is_logged_when_the_app_starts(
    make_host: MakeHost,
    path: str | None,
    message: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = make_host({}, celery_app=path)
    del host.extensions["celery"]

    assert backend_of(host).start()
    assert message in caplog.text


# -- an eager host ---------------------------------------------------------------------


def test_an_eager_celery_app_answers_within_the_delivery(
    make_host: MakeHost, sim: Simulator, chatwoot: Chatwoot
) -> None:
    host = make_host({"task_always_eager": True, "broker_url": "memory://"})
    talk = new_talk(sim)
    ask(host, talk)

    assert talk.replies == ["On its way."]


def test_an_eager_line_is_answered_one_after_the_other(
    make_host: MakeHost, sim: Simulator
) -> None:
    host = make_host({"task_always_eager": True, "broker_url": "memory://"})
    talk = new_talk(sim)

    for number in range(3):
        ask(host, talk, f"Question {number}?")

    assert len(talk.replies) == 3


# -- other engines ---------------------------------------------------------------------


def test_work_handles_one_turn_and_says_whether_another_is_due(
    make_app: AppFactory, sim: Simulator
) -> None:
    chatwoot = Chatwoot()
    chatwoot.reply_provider(lambda text: "On its way.")
    app = make_app(chatwoot, **{**settings_of(sim), "backend": "thread", "workers": 0})
    due: list[tuple[int, int]] = []

    def on_due(sender: Flask, account_id: int, conversation_id: int) -> None:
        due.append((account_id, conversation_id))

    talk, other = new_talk(sim), new_talk(sim)

    with turn_due.connected_to(on_due, sender=app):
        ask(app, talk, "One?")
        ask(app, other, "One?")

    assert due == [(1, talk.id), (1, other.id)]

    with app.app_context():
        assert not chatwoot.work(1, talk.id)
        assert (len(talk.replies), len(other.replies)) == (1, 0)
        assert not chatwoot.work(1, talk.id)

        with pytest.raises(ConfigError, match="the work is for account 7"):
            chatwoot.work(7, other.id)


# -- time limits -----------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS[1:])  # only there Celery ends what takes long
def test_a_turn_that_the_soft_limit_of_the_host_ends_is_tried_again(
    make_host: MakeHost, sim: Simulator, redis: Broker, tmp_path: Path, pool: str
) -> None:
    celery = {**redis.settings, "task_soft_time_limit": 2}
    host = make_host(celery, timeout=1.0, lease=6.0, settle_time=2.0)
    talk = new_talk(sim)

    with worker(host, tmp_path, pool, FIRST_SECONDS="30"), beat(host, tmp_path):
        ask(host, talk)
        ended(host)

    assert len(talk.replies) == 1
    assert len(calls(tmp_path)) == 2


# -- what operators see ----------------------------------------------------------------


def test_health_is_late_when_a_job_is_overdue_by_a_minute(
    host: Flask, sim: Simulator
) -> None:
    ask(host, new_talk(sim))
    components = components_of(host)
    assert components.health(300.0)["status"] == "ok"

    database_of(host).clock = lambda: time.time() + 59
    assert components.health(300.0)["status"] == "ok"

    database_of(host).clock = lambda: time.time() + 61
    assert components.health(300.0)["status"] == "late"


def doctor(app: Flask) -> dict[str, str]:
    """What the checks of Celery find, by check: the mark, and what was found."""
    context = DoctorContext(runtime_of(app))

    return {each.check: f"{each.mark} {each.what}" for each in celery_checks(context)}


def test_doctor_passes_where_broker_and_workers_are_there(host: Flask) -> None:
    backend_of(host).sweep()

    assert doctor(host) == {
        "broker": "✓ Celery's broker answers.",
        "sweep": "✓ The last sweep was 0 s ago.",
    }


@pytest.mark.parametrize(
    ("how", "what"),
    [
        ("refused", "✗ Celery's broker does not answer (ConnectionError)."),
        ("frozen", "✗ Celery's broker does not answer (no answer within 0.5 s)."),
    ],
)
def test_doctor_names_a_broker_that_does_not_answer(
    make_host: MakeHost, how: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_doctor, "_BROKER_WITHIN", 0.5)

    with broken(how) as url:
        assert doctor(make_host({"broker_url": url}))["broker"] == what


def test_doctor_warns_where_no_worker_sweeps(host: Flask) -> None:
    assert doctor(host)["sweep"] == "! No worker of Celery has made a sweep yet."

    backend_of(host).sweep()
    database_of(host).clock = lambda: time.time() + 31

    assert doctor(host)["sweep"] == "! The last sweep was 31 s ago."


@pytest.mark.parametrize(
    ("limits", "finding"),
    [
        ({"task_time_limit": 300}, "✓ Celery ends a task after 300 s: beside "),
        ({"task_soft_time_limit": 44}, "! Celery ends a task after 44 s: beside "),
        (
            {
                "task_time_limit": 10,
                "task_annotations": {WAKE: {"time_limit": 600}},
            },
            "✓ Celery ends a task after 600 s: beside ",
        ),
    ],
)
def test_doctor_compares_the_time_limits_with_what_a_turn_needs(
    make_host: MakeHost, redis: Broker, limits: JSON, finding: str
) -> None:
    found = doctor(make_host({**redis.settings, **limits}))
    assert found["limits"].startswith(finding)


def test_doctor_says_that_there_is_no_celery_app(host: Flask) -> None:
    del host.extensions["celery"]
    assert doctor(host)["broker"].startswith("✗ The app 'host' has no Celery app")


def test_doctor_is_silent_about_celery_elsewhere(make_app: AppFactory) -> None:
    assert doctor(make_app(backend="thread", workers=0)) == {}


def test_sqlite_is_refused_with_the_reason(
    make_app: AppFactory, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_app(backend="celery", database_url=f"sqlite:///{tmp_path / 'file'}")

    assert str(caught.value) == (
        "CHATWOOT_BACKEND is 'celery', which needs PostgreSQL: Celery's workers may "
        "run on machines that cannot share a file. Set CHATWOOT_DATABASE_URL to "
        "postgresql://…, or CHATWOOT_BACKEND to thread."
    )


def test_a_missing_library_is_named_with_its_extra(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "flask_chatwoot.config.loading.importlib.util.find_spec", lambda name: None
    )

    with pytest.raises(ConfigError, match=r'pip install "\.\[celery\]"\.$'):
        make_app(backend="celery")


# -- the example -----------------------------------------------------------------------


ROOT: t.Final = Path(__file__).parents[1]
EXAMPLE: t.Final = ROOT / "examples" / "celery_app.py"


@pytest.mark.slow
def test_the_three_commands_of_the_example_answer(
    host: Flask, sim: Simulator, redis: Broker, tmp_path: Path
) -> None:
    commands = re.findall(r"(?m)^    ((?:flask|celery) .*)", EXAMPLE.read_text())
    queue = redis.prefix.strip(":")
    port = int(refusing().rpartition(":")[2])
    more = {
        "run": ["--port", str(port)],
        "worker": ["--pool", "solo", "--queues", queue],
        "beat": ["--schedule", str(tmp_path / "schedule")],
    }
    settings = {k: str(v) for k, v in host.config.items() if k.startswith("CHATWOOT_")}
    environment = {
        **os.environ,
        **settings,
        "BROKER_URL": redis.url,
        "CHATWOOT_CELERY_QUEUE": queue,
    }
    talk = new_talk(sim)
    assert [command.split()[-1] for command in commands] == [*more]

    with contextlib.ExitStack() as stack:
        for command in commands:
            arguments = [sys.executable, "-m", *command.split()]
            process = subprocess.Popen(
                [*arguments, *more[command.split()[-1]]],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait, 10)
            stack.callback(process.kill)

        wait_until(lambda: answers(port), LONG)
        body = customer_message(
            "Where is my order?",
            id=talk.customer_says("Where is my order?").id,
            conversation_id=talk.id,
        )
        url = f"http://127.0.0.1:{port}/chatwoot/webhook"
        request = signed(body, secret=settings["CHATWOOT_WEBHOOK_SECRET"])
        headers = {**request["headers"], "Content-Type": "application/json"}
        answer = requests.post(url, data=request["data"], headers=headers, timeout=10)

        assert answer.status_code == 202
        wait_until(lambda: talk.replies, LONG)

    assert talk.replies == ["It leaves our warehouse within a day."]


def answers(port: int) -> bool:
    """Whether a server listens."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True

    return False
