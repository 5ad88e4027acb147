from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import typing as t
from pathlib import Path

import pytest
from flask import Blueprint, Flask, request_started
from flask.testing import FlaskClient
from support.apps import (
    AppFactory,
    components_of,
    dismantle,
    job_of,
    jobs_of,
    recorded,
    runtime_of,
)
from support.chatwoot import ChatwootStub
from support.deliveries import SECRET, deliver, message, signed

from flask_chatwoot import Chatwoot, Turn, turn_finished
from flask_chatwoot.errors import ConfigError, ProviderError
from flask_chatwoot.runtime import current_runtime

ANSWER = "On its way."


# -- wiring --------------------------------------------------------------------


def test_an_app_may_be_given_at_once(tmp_path: Path, api: ChatwootStub) -> None:
    app = Flask("host", instance_path=str(tmp_path))
    app.testing = True
    app.config.update(
        CHATWOOT_BASE_URL="https://chatwoot.test",
        CHATWOOT_ACCOUNT_ID=1,
        CHATWOOT_API_ACCESS_TOKEN="t",
        CHATWOOT_WEBHOOK_SECRET=SECRET,
    )
    chatwoot = Chatwoot(app)
    chatwoot.reply_provider(lambda text: ANSWER)

    assert deliver(app.test_client(), message()).status_code == 202
    assert api.public == [ANSWER]
    dismantle(app)


@pytest.mark.parametrize("first", ["the provider", "the app"])
def test_a_factory_gives_the_app_before_or_after_the_provider(
    make_app: AppFactory, api: ChatwootStub, chatwoot: Chatwoot, first: str
) -> None:
    if first == "the app":
        app = make_app(chatwoot)
        chatwoot.reply_provider(lambda text: ANSWER)
    else:
        chatwoot.reply_provider(lambda text: ANSWER)
        app = make_app(chatwoot)

    assert deliver(app.test_client(), message()).status_code == 202
    assert api.public == [ANSWER]


def test_the_runtime_of_the_current_app_is_found(app: Flask) -> None:
    with app.app_context():
        assert current_runtime() is runtime_of(app)


def test_an_app_takes_one_extension(make_app: AppFactory, chatwoot: Chatwoot) -> None:
    app = make_app(chatwoot)

    for second in (chatwoot, Chatwoot()):
        with pytest.raises(ConfigError, match="'host' has a Chatwoot extension alread"):
            second.init_app(app)

    assert deliver(app.test_client(), message()).status_code == 202


def test_a_wrong_setting_leaves_the_app_untouched(make_app: AppFactory) -> None:
    app = Flask("host")
    app.config["CHATWOOT_TIMEOUT"] = "soon"

    with pytest.raises(ConfigError, match="CHATWOOT_TIMEOUT is 'soon', which must be"):
        Chatwoot(app)

    app.config["CHATWOOT_TIMEOUT"] = None
    Chatwoot(app)


def test_later_changes_of_settings_have_no_effect(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: ANSWER)
    app.config["CHATWOOT_WEBHOOK_SECRET"] = "another"
    app.config["CHATWOOT_DEFAULT_MODE"] = "bot"

    assert deliver(client, message(mode=None)).status_code == 202
    assert api.notes == [ANSWER]


# -- several apps --------------------------------------------------------------


def two_apps(
    make_app: AppFactory, tmp_path: Path, first: Chatwoot, second: Chatwoot
) -> tuple[Flask, Flask]:
    return (
        make_app(first, account_id=1, database_url=f"sqlite:///{tmp_path / 'first'}"),
        make_app(
            second,
            account_id=2,
            database_url=f"sqlite:///{tmp_path / 'second'}",
            webhook_secret="of-the-second",
            url_prefix="/second",
        ),
    )


def test_two_apps_with_one_object_share_its_providers_and_nothing_else(
    make_app: AppFactory, tmp_path: Path, chatwoot: Chatwoot
) -> None:
    turns: list[Turn] = []

    @chatwoot.reply_provider
    def provide(text: str, turn: Turn) -> None:
        turns.append(turn)

    first, second = two_apps(make_app, tmp_path, chatwoot, chatwoot)

    with (
        recorded(turn_finished, first) as here,
        recorded(turn_finished, second) as there,
    ):
        deliver(first.test_client(), message(id=1))
        second.test_client().post(
            "/second/webhook",
            **signed(message(id=2, account_id=2), secret="of-the-second"),
        )

    assert [turn.account_id for turn in turns] == [1, 2]
    assert [told["turn"].message_id for told in here] == [1]
    assert [told["turn"].message_id for told in there] == [2]
    assert job_of(first).message_id == 1
    assert job_of(second).message_id == 2
    assert second.test_client().post("/chatwoot/webhook").status_code == 404
    assert first.test_client().post("/second/webhook").status_code == 404


def test_two_apps_with_two_objects_do_not_see_each_others_providers(
    make_app: AppFactory, tmp_path: Path
) -> None:
    one, other = Chatwoot(), Chatwoot()
    one.reply_provider(lambda text: None)
    first, second = two_apps(make_app, tmp_path, one, other)
    # In human mode a failed turn posts nothing.
    deliver(first.test_client(), message(mode="human"))
    second.test_client().post(
        "/second/webhook",
        **signed(message(account_id=2, mode="human"), secret="of-the-second"),
    )

    assert job_of(first).reason == "no_answer"
    assert job_of(second).reason == "no_provider"


def test_one_apps_secret_opens_no_other(make_app: AppFactory, tmp_path: Path) -> None:
    _, second = two_apps(make_app, tmp_path, Chatwoot(), Chatwoot())
    answer = second.test_client().post("/second/webhook", **signed(message()))

    assert answer.status_code == 401
    assert jobs_of(second) == []


# -- the endpoints ------------------------------------------------------------


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        (None, "/chatwoot/webhook"),
        ("/support", "/support/webhook"),
        ("/support/", "/support/webhook"),
        ("/a/b", "/a/b/webhook"),
        ("/", "/webhook"),
    ],
)
def test_the_endpoints_are_below_the_prefix(
    make_app: AppFactory, prefix: str | None, path: str
) -> None:
    client = make_app(url_prefix=prefix).test_client()

    assert client.post(path, **signed(message())).status_code == 202


def test_the_endpoints_can_be_exempted_from_csrf() -> None:
    assert isinstance(Chatwoot.blueprint, Blueprint)
    assert Chatwoot().blueprint is Chatwoot.blueprint
    assert (Chatwoot.blueprint.name, Chatwoot.blueprint.import_name) == (
        "chatwoot",
        "flask_chatwoot.views",
    )


def test_a_url_can_be_built(app: Flask) -> None:
    with app.test_request_context():
        assert app.url_for("chatwoot.webhook") == "/chatwoot/webhook"
        assert app.url_for("chatwoot.copilot") == "/chatwoot/copilot"


# -- warnings ------------------------------------------------------------------

UNSET: t.Final = dict.fromkeys(("base_url", "account_id", "api_access_token"))
MISSING: t.Final = "Chatwoot is not configured: CHATWOOT_{} missing."
COPILOT: t.Final = "Anybody may call /copilot (CHATWOOT_COPILOT_TOKEN)."
WEBHOOK: t.Final = "Anybody may call /webhook (CHATWOOT_WEBHOOK_SECRET)."


@pytest.mark.parametrize(
    ("settings", "begin", "end"),
    [
        ({"base_url": None}, MISSING.format("BASE_URL"), "(not_configured)."),
        ({"account_id": None}, MISSING.format("ACCOUNT_ID"), "(not_configured)."),
        ({"api_access_token": None}, MISSING.format("API_ACCESS_TOKEN"), "gured)."),
        (
            UNSET,
            MISSING.format("BASE_URL, CHATWOOT_ACCOUNT_ID, CHATWOOT_API_ACCESS_TOKEN"),
            "Deliveries are acknowledged and ignored (not_configured).",
        ),
        (
            UNSET | {"webhook_secret": None, "copilot_token": None},
            "Chatwoot is not configured: ",
            f"(not_configured). {COPILOT} Set the key in",
        ),
        (
            {"webhook_secret": None, "copilot_token": None},
            "Anybody may call /webhook (CHATWOOT_WEBHOOK_SECRET) and /copilot (",
            "CHATWOOT_WEBHOOK_TOKEN.",
        ),
        ({"webhook_secret": None}, WEBHOOK, "CHATWOOT_WEBHOOK_TOKEN."),
        ({"copilot_token": None}, COPILOT, "CHATWOOT_WEBHOOK_TOKEN."),
        (
            {"webhook_secret": None, "webhook_token": "t", "copilot_token": None},
            COPILOT,
            "CHATWOOT_WEBHOOK_TOKEN.",
        ),
    ],
)
def test_one_warning_names_what_is_missing_and_what_is_unprotected(
    make_app: AppFactory,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    settings: dict[str, t.Any],
    begin: str,
    end: str,
) -> None:
    with caplog.at_level(logging.WARNING):
        make_app(**settings)

    (warning,) = caplog.messages
    assert warning.startswith(begin)
    assert end in warning
    assert list(tmp_path.iterdir()) == []


def test_a_protected_app_logs_no_warning(
    make_app: AppFactory, caplog: pytest.LogCaptureFixture
) -> None:
    make_app()

    assert caplog.messages == []


# -- registration --------------------------------------------------------------


def test_the_decorator_returns_the_function(chatwoot: Chatwoot) -> None:
    def bare(text: str) -> str:
        return ANSWER

    def narrowed(text: str, turn: Turn) -> str:
        return ANSWER

    assert chatwoot.reply_provider(bare) is bare
    assert chatwoot.reply_provider(mode="human")(narrowed) is narrowed
    assert chatwoot.reply_provider(inbox_id=3)(narrowed) is narrowed
    assert chatwoot.reply_provider(mode="bot", inbox_id=3)(bare) is bare
    assert bare("Hello") == ANSWER


def test_the_decorator_may_be_called_without_arguments(chatwoot: Chatwoot) -> None:
    @chatwoot.reply_provider()
    def provide(text: str) -> str:
        return ANSWER

    with pytest.raises(ProviderError, match=r"every mode in every Chatwoot inbox"):
        chatwoot.reply_provider(lambda text: ANSWER)


@pytest.mark.parametrize(
    "place", [{}, {"mode": "bot"}, {"inbox_id": 3}, {"mode": "bot", "inbox_id": 3}]
)
def test_a_second_provider_for_one_place_is_an_error(
    chatwoot: Chatwoot, place: dict[str, t.Any]
) -> None:
    @chatwoot.reply_provider(**place)
    def first(text: str) -> str:
        return ANSWER

    with pytest.raises(ProviderError, match=r"already: .*first\."):
        chatwoot.reply_provider(**place)(lambda text: ANSWER)


@pytest.mark.parametrize(
    "function",
    [
        lambda: ANSWER,
        lambda text, turn, more: ANSWER,
        lambda text, *, needed: ANSWER,
        lambda *, text: ANSWER,
        "text",
        7,
    ],
    ids=["none", "three", "a needed keyword", "no position", "text", "number"],
)
def test_a_wrong_signature_is_an_error_at_registration(
    chatwoot: Chatwoot, function: t.Any
) -> None:
    with pytest.raises(ProviderError):
        chatwoot.reply_provider()(function)


@pytest.mark.parametrize("place", [{"mode": "robot"}, {"mode": ""}, {"inbox_id": 0}])
def test_a_place_that_does_not_exist_is_an_error_at_registration(
    chatwoot: Chatwoot, place: dict[str, t.Any]
) -> None:
    with pytest.raises(ProviderError):
        chatwoot.reply_provider(**place)(lambda text: ANSWER)


# -- nothing happens before it must --------------------------------------------

HOST = """
from flask import Flask
from flask_chatwoot import Chatwoot

app = Flask(__name__)
chatwoot = Chatwoot(app)
"""


def flask(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "host.py").write_text(HOST)

    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "host.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={
            **os.environ,
            "CHATWOOT_BASE_URL": "http://127.0.0.1:9",
            "CHATWOOT_ACCOUNT_ID": "1",
            "CHATWOOT_API_ACCESS_TOKEN": "t",
            "CHATWOOT_WEBHOOK_SECRET": SECRET,
            "CHATWOOT_COPILOT_TOKEN": "t",
            "CHATWOOT_DATABASE_URL": f"sqlite:///{folder / 'chatwoot.sqlite3'}",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
    )


def test_listing_the_routes_starts_nothing_and_makes_no_file(tmp_path: Path) -> None:
    done = flask(tmp_path, "routes")

    assert done.returncode == 0, done.stderr
    assert "/chatwoot/webhook" in done.stdout
    assert "/chatwoot/copilot" in done.stdout
    assert done.stderr == ""
    assert [file.name for file in tmp_path.iterdir()] == ["host.py"]


def test_only_the_first_request_starts_the_backend(make_app: AppFactory) -> None:
    app = make_app()
    app.get("/hello")(lambda: "Hello")
    listeners = [len(list(request_started.receivers_for(app)))]
    app.test_client().get("/hello")
    listeners.append(len(list(request_started.receivers_for(app))))

    assert listeners == [1, 0]
    assert app.before_request_funcs == {}


def test_making_an_app_starts_no_thread(make_app: AppFactory) -> None:
    before = set(threading.enumerate())  # of other tests; they may end meanwhile
    make_app(backend="thread")

    assert set(threading.enumerate()) <= before


def test_two_apps_may_not_share_a_database(
    make_app: AppFactory, tmp_path: Path
) -> None:
    first = make_app(Chatwoot())

    with pytest.raises(ConfigError, match=r"CHATWOOT_DATABASE_URL .* another app"):
        make_app(Chatwoot())

    other = make_app(Chatwoot(), database_url=f"sqlite:///{tmp_path / 'other.sqlite3'}")
    assert first is not other


def test_a_database_is_free_again_when_its_app_is_collected(tmp_path: Path) -> None:
    def make() -> None:
        app = Flask("host")
        app.config.update(
            CHATWOOT_BASE_URL="https://x.example",
            CHATWOOT_ACCOUNT_ID=1,
            CHATWOOT_API_ACCESS_TOKEN="t",
            CHATWOOT_DATABASE_URL=f"sqlite:///{tmp_path / 'chatwoot.sqlite3'}",
        )
        Chatwoot(app)

    make()
    make()


# -- the client ----------------------------------------------------------------


def test_the_client_is_the_one_of_the_current_app(
    make_app: AppFactory, tmp_path: Path, chatwoot: Chatwoot
) -> None:
    for app in two_apps(make_app, tmp_path, chatwoot, chatwoot):
        with app.app_context():
            assert chatwoot.client is components_of(app).client
            assert chatwoot.client.account_id == runtime_of(app).config.account_id


def test_without_configuration_the_client_says_what_to_set(
    make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    app = make_app(chatwoot, base_url=None)

    with app.app_context(), pytest.raises(ConfigError, match=r"; set CHATWOOT_BASE_U"):
        _ = chatwoot.client


def test_the_client_needs_an_app_context(chatwoot: Chatwoot) -> None:
    with pytest.raises(RuntimeError, match="application context"):
        _ = chatwoot.client
