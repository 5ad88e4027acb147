"""``Chatwoot``: apps, settings, registrations, and that nothing starts early."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing.process
import os
import signal
import subprocess
import sys
import threading
import types
import typing as t
from pathlib import Path

import click
import pytest
from flask import Blueprint, Flask, request_started
from support.apps import (
    AppFactory,
    Scene,
    components_of,
    job_of,
    recorded,
    runtime_of,
    store_of,
)
from support.chatwoot import ChatwootStub
from support.deliveries import SECRET, deliver, message, signed
from support.waiting import wait_until

from flask_chatwoot import Chatwoot, Turn, extension, turn_finished
from flask_chatwoot.errors import ConfigError, ProviderError
from flask_chatwoot.queue.schema import WorkerLimit
from flask_chatwoot.workers import ThreadBackend

ANSWER = "On its way."


# -- initialisation --------------------------------------------------------------


@pytest.mark.parametrize("first", ["the provider", "the app"])
def test_the_provider_is_registered_before_or_after_init_app(
    make_app: AppFactory, api: ChatwootStub, chatwoot: Chatwoot, first: str
) -> None:
    app = make_app(chatwoot) if first == "the app" else None
    chatwoot.reply_provider(lambda text: ANSWER)
    app = app or make_app(chatwoot)

    assert deliver(app.test_client(), message()).status_code == 202
    assert api.public == [ANSWER]


def test_an_app_takes_one_extension(scene: Scene) -> None:
    for second in (scene.chatwoot, Chatwoot()):
        with pytest.raises(ConfigError, match="'host' has a Chatwoot extension alread"):
            second.init_app(scene.app)

    assert deliver(scene.client, message()).status_code == 202


def test_a_wrong_setting_leaves_the_app_untouched() -> None:
    app = Flask("host")
    app.config["CHATWOOT_TIMEOUT"] = "soon"

    with pytest.raises(ConfigError, match="CHATWOOT_TIMEOUT is 'soon', which must be"):
        Chatwoot(app)

    app.config["CHATWOOT_TIMEOUT"] = None
    Chatwoot(app)


def test_later_changes_of_settings_have_no_effect(scene: Scene) -> None:
    scene.chatwoot.reply_provider(lambda text: ANSWER)
    scene.app.config["CHATWOOT_WEBHOOK_SECRET"] = "another"
    scene.app.config["CHATWOOT_DEFAULT_MODE"] = "bot"

    assert deliver(scene.client, message(mode=None)).status_code == 202
    assert scene.api.notes == [ANSWER]


# -- several apps ----------------------------------------------------------------

TwoApps = t.Callable[[Chatwoot, Chatwoot], tuple[Flask, Flask]]


@pytest.fixture
def two_apps(make_app: AppFactory, tmp_path: Path) -> TwoApps:
    """Makes an app of account 1, and one of account 2 at ``/second``."""
    url = f"sqlite:///{tmp_path}"
    other: t.Any = {"webhook_secret": "of-the-second", "url_prefix": "/second"}

    return lambda one, two: (
        make_app(one, account_id=1, database_url=f"{url}/first"),
        make_app(two, account_id=2, database_url=f"{url}/second", **other),
    )


def deliver_second(app: Flask, **fields: t.Any) -> None:
    delivery = signed(message(account_id=2, **fields), secret="of-the-second")
    app.test_client().post("/second/webhook", **delivery)


def test_two_apps_with_one_object_share_its_providers_and_nothing_else(
    two_apps: TwoApps, chatwoot: Chatwoot
) -> None:
    turns: list[Turn] = []

    @chatwoot.reply_provider
    def provide(text: str, turn: Turn) -> None:
        turns.append(turn)

    one, two = two_apps(chatwoot, chatwoot)

    with recorded(turn_finished, one) as here, recorded(turn_finished, two) as there:
        deliver(one.test_client(), message(id=1))
        deliver_second(two, id=2)

    assert [turn.account_id for turn in turns] == [1, 2]
    assert [each["turn"].message_id for each in here] == [1]
    assert [each["turn"].message_id for each in there] == [2]
    assert (job_of(one).message_id, job_of(two).message_id) == (1, 2)
    answer = two.test_client().post("/second/webhook", **signed(message()))
    assert answer.status_code == 401  # the secret is the other's
    assert two.test_client().post("/chatwoot/webhook").status_code == 404
    assert one.test_client().post("/second/webhook").status_code == 404


def test_two_apps_with_two_objects_do_not_share_providers(two_apps: TwoApps) -> None:
    first = Chatwoot()
    first.reply_provider(lambda text: None)
    one, two = two_apps(first, Chatwoot())
    # In human mode a failed turn posts nothing.
    deliver(one.test_client(), message(mode="human"))
    deliver_second(two, mode="human")

    assert job_of(one).reason == "no_answer"
    assert job_of(two).reason == "no_provider"


# -- the endpoints ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        (None, "/chatwoot/webhook"),
        *((prefix, "/support/webhook") for prefix in ("/support", "/support/")),
        *(("/a/b", "/a/b/webhook"), ("/", "/webhook")),
    ],
)
def test_the_endpoints_are_below_the_prefix(
    make_app: AppFactory, prefix: str | None, path: str
) -> None:
    client = make_app(url_prefix=prefix).test_client()
    assert client.post(path, **signed(message())).status_code == 202


def test_the_endpoints_have_names_and_can_be_exempted_from_csrf(app: Flask) -> None:
    blueprint = Chatwoot.blueprint
    assert isinstance(blueprint, Blueprint)
    assert Chatwoot().blueprint is blueprint
    assert blueprint.name == "chatwoot"
    assert blueprint.import_name == "flask_chatwoot.views"

    with app.test_request_context():
        assert app.url_for("chatwoot.webhook") == "/chatwoot/webhook"
        assert app.url_for("chatwoot.copilot") == "/chatwoot/copilot"


# -- warnings --------------------------------------------------------------------

MISSING: t.Final = "Chatwoot is not configured: CHATWOOT_{} missing."
COPILOT: t.Final = "Anybody may call /copilot (CHATWOOT_COPILOT_TOKEN)."
WEBHOOK: t.Final = "Anybody may call /webhook (CHATWOOT_WEBHOOK_SECRET)."
BOTH: t.Final = "Anybody may call /webhook (CHATWOOT_WEBHOOK_SECRET) and /copilot ("
KEYS: t.Final = "base_url account_id api_access_token"
SECRETS: t.Final = "webhook_secret copilot_token"
ALL: t.Final = "BASE_URL, CHATWOOT_ACCOUNT_ID, CHATWOOT_API_ACCESS_TOKEN"
IGNORED: t.Final = "Deliveries are acknowledged and ignored (not_configured)."
SET: t.Final = "Set the key."
TOKEN = "For Chatwoot before 4.12, which cannot sign, set CHATWOOT_WEBHOOK_TOKEN."


@pytest.mark.parametrize(
    ("unset", "begin", "end"),
    [
        ("base_url", MISSING.format("BASE_URL"), IGNORED),
        (KEYS, MISSING.format(ALL), IGNORED),
        (f"{KEYS} {SECRETS}", MISSING.format(ALL), f"{IGNORED} {COPILOT} {SET}"),
        (SECRETS, BOTH, TOKEN),
        ("webhook_secret", WEBHOOK, TOKEN),
        ("copilot_token", COPILOT, SET),
        (f"{SECRETS} but webhook_token", COPILOT, SET),
    ],
)
def test_one_warning_names_what_is_missing_and_what_is_unprotected(
    make_app: AppFactory,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    unset: str,
    begin: str,
    end: str,
) -> None:
    monkeypatch.setattr(extension, "_logged", set())  # as in a new process
    without, _, token = unset.partition(" but ")
    settings: t.Any = dict.fromkeys(without.split()) | dict.fromkeys(token.split(), "t")

    with caplog.at_level(logging.WARNING):
        make_app(**settings)

    (warning,) = caplog.messages
    assert warning.startswith(begin)
    assert warning.endswith(end)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_warning_is_given_once_under_the_reloader(tmp_path: Path) -> None:
    """Which loads the app in two processes, of which one serves."""
    program = tmp_path / "host.py"
    program.write_text(
        "from flask import Flask\n"
        "from flask_chatwoot import Chatwoot\n"
        f"app = Flask('host', instance_path={str(tmp_path)!r})\n"
        "Chatwoot(app)\n"
    )
    command = [sys.executable, "-m", "flask", "--app", str(program), "run"]
    seen = []

    with subprocess.Popen(
        [*command, "--debug", "--port", "0"], stderr=subprocess.PIPE, text=True
    ) as process:
        for line in process.stderr or ():
            seen.append(line)

            if "Debugger PIN" in line:  # the child serves now
                process.terminate()

    assert sum("Chatwoot is not configured" in line for line in seen) == 1


@pytest.mark.usefixtures("app")
def test_a_protected_app_logs_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert caplog.get_records("setup") == []


# -- registration ----------------------------------------------------------------


def bare(text: str) -> str:
    return ANSWER


def with_turn(text: str, turn: Turn) -> str:
    return ANSWER


@pytest.mark.parametrize("place", [{}, {"mode": "bot"}, {"mode": "bot", "inbox_id": 3}])
@pytest.mark.parametrize("function", [bare, with_turn])
def test_the_decorator_returns_the_function_and_takes_one_for_a_place(
    chatwoot: Chatwoot, function: t.Any, place: dict[str, t.Any]
) -> None:
    assert chatwoot.reply_provider(**place)(function) is function

    with pytest.raises(ProviderError, match=rf"already: .*{function.__name__}\."):
        chatwoot.reply_provider(**place)(lambda text: ANSWER)


def test_the_decorator_may_be_used_without_a_call(chatwoot: Chatwoot) -> None:
    assert chatwoot.reply_provider(bare) is bare

    with pytest.raises(ProviderError, match=r"every mode in every Chatwoot inbox"):
        chatwoot.reply_provider()(bare)


# -- nothing starts early --------------------------------------------------------

SHOP = Path(__file__).parent / "support" / "programs" / "shop.py"


def test_listing_the_routes_starts_nothing_and_makes_no_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'chatwoot.sqlite3'}"
    settings = {
        **{"CHATWOOT_BASE_URL": "http://127.0.0.1:9", "CHATWOOT_ACCOUNT_ID": "1"},
        **{"CHATWOOT_API_ACCESS_TOKEN": "t", "CHATWOOT_COPILOT_TOKEN": "t"},
        **{"CHATWOOT_WEBHOOK_SECRET": SECRET, "CHATWOOT_DATABASE_URL": url},
    }
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", str(SHOP), "routes"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **settings, "PYTHONDONTWRITEBYTECODE": "1"},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "/chatwoot/webhook" in done.stdout
    assert "/chatwoot/copilot" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_only_the_first_request_starts_the_backend(make_app: AppFactory) -> None:
    before = set(threading.enumerate())  # of other tests; they may end meanwhile
    app = make_app(backend="thread")
    app.get("/hello")(lambda: "Hello")
    assert set(threading.enumerate()) <= before

    listeners = [len(list(request_started.receivers_for(app)))]
    app.test_client().get("/hello")
    listeners.append(len(list(request_started.receivers_for(app))))
    assert (listeners, app.before_request_funcs) == ([1, 0], {})


def started(app: Flask) -> bool:
    return t.cast(ThreadBackend, components_of(app).backend).busy


def threads() -> set[threading.Thread]:
    """Those of this process, but for psycopg's pool, which starts its own when it
    needs them. Those of other tests may end meanwhile."""
    every = threading.enumerate()

    return {each for each in every if not each.name.startswith("chatwoot-connections")}


@pytest.fixture
def threaded(make_app: AppFactory, chatwoot: Chatwoot) -> t.Iterator[Flask]:
    """An app whose workers have not started."""
    former = signal.getsignal(signal.SIGTERM)
    app = make_app(chatwoot, backend="thread", workers=1)
    assert not started(app)
    yield app
    signal.signal(signal.SIGTERM, former)


def test_start_starts_the_workers_once(threaded: Flask, chatwoot: Chatwoot) -> None:
    chatwoot.start(threaded)
    running = threads()
    chatwoot.start(threaded)
    threaded.test_client().get("/")

    assert started(threaded)
    assert threads() <= running


@pytest.mark.parametrize("late", [False, True], ids=["start()", "a request"])
def test_operators_see_which_workers_had_to_wait_for_a_request(
    threaded: Flask, chatwoot: Chatwoot, late: bool
) -> None:
    if late:
        threaded.test_client().get("/")
    else:
        chatwoot.start(threaded)

    inspection = store_of(threaded).inspection
    wait_until(lambda: inspection.health().workers)

    assert (WorkerLimit.LATE_START in inspection.limits()) == late


def test_start_needs_an_app_with_the_extension(chatwoot: Chatwoot) -> None:
    with pytest.raises(ConfigError, match="has no Chatwoot"):
        chatwoot.start(Flask("bare"))


def test_start_leaves_an_app_alone_that_is_not_configured(
    make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    chatwoot.start(make_app(chatwoot, base_url=None))


@contextlib.contextmanager
def under_celery(patch: pytest.MonkeyPatch) -> t.Iterator[None]:
    class CeleryCommand(click.Command):
        __module__ = "celery.bin.base"

    with click.Context(CeleryCommand("worker")):
        yield


@contextlib.contextmanager
def in_a_spawned_child(patch: pytest.MonkeyPatch) -> t.Iterator[None]:
    patch.setattr(multiprocessing.process, "_parent_process", object())
    yield


@pytest.mark.parametrize("somewhere", [under_celery, in_a_spawned_child])
def test_start_does_nothing_where_no_server_runs(
    threaded: Flask,
    chatwoot: Chatwoot,
    monkeypatch: pytest.MonkeyPatch,
    somewhere: t.Callable[
        [pytest.MonkeyPatch], contextlib.AbstractContextManager[None]
    ],
) -> None:
    with somewhere(monkeypatch):
        chatwoot.start(threaded)

    assert not started(threaded)


def test_start_waits_until_uwsgi_has_forked(
    threaded: Flask, chatwoot: Chatwoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked: list[str] = []
    uwsgi: t.Any = types.SimpleNamespace(
        worker_id=lambda: 0, post_fork_hook=lambda: hooked.append("the host's")
    )
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)

    chatwoot.start(threaded)
    uwsgi.post_fork_hook()  # as in a mule, which serves no requests
    assert not started(threaded)

    uwsgi.worker_id = lambda: 1
    uwsgi.post_fork_hook()
    assert started(threaded)
    assert hooked == ["the host's"] * 2


def test_two_apps_cannot_share_a_database(make_app: AppFactory, tmp_path: Path) -> None:
    _first = make_app()

    with pytest.raises(ConfigError, match=r"CHATWOOT_DATABASE_URL .* another app"):
        make_app()

    make_app(database_url=f"sqlite:///{tmp_path / 'other.sqlite3'}")


def test_two_apps_can_share_a_server_but_no_schema(make_app: AppFactory) -> None:
    url = "postgresql://me@127.0.0.1:1/shop"  # nobody connects to it here
    _first = make_app(database_url=url, database_schema="one")

    with pytest.raises(ConfigError, match=r"a CHATWOOT_DATABASE_SCHEMA of its own"):
        make_app(database_url=url, database_schema="one")

    make_app(database_url=url, database_schema="two")


def test_a_database_is_free_again_when_its_app_is_collected(tmp_path: Path) -> None:
    for _ in range(2):
        app = Flask("host", instance_path=str(tmp_path))
        app.config["CHATWOOT_DATABASE_URL"] = f"sqlite:///{tmp_path / 'x.sqlite3'}"
        app.config.update(CHATWOOT_BASE_URL="https://chatwoot.test")
        app.config.update(CHATWOOT_ACCOUNT_ID=1, CHATWOOT_API_ACCESS_TOKEN="t")
        Chatwoot(app)
        del app


# -- the client ------------------------------------------------------------------


def test_the_client_is_the_current_apps(two_apps: TwoApps, chatwoot: Chatwoot) -> None:
    for app in two_apps(chatwoot, chatwoot):
        with app.app_context():
            assert chatwoot.client is components_of(app).host_client
            assert chatwoot.client.account_id == runtime_of(app).config.account_id

    with pytest.raises(RuntimeError, match="application context"):
        _ = chatwoot.client


def test_the_error_names_what_to_set(make_app: AppFactory, chatwoot: Chatwoot) -> None:
    app = make_app(chatwoot, base_url=None)

    with app.app_context(), pytest.raises(ConfigError, match=r"; set CHATWOOT_BASE_U"):
        _ = chatwoot.client
