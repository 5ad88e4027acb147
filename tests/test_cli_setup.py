"""``flask chatwoot setup`` and ``teardown``, with the simulator as Chatwoot."""

from __future__ import annotations

import copy
import errno
import os
import shlex
import socket
import tempfile
import typing as t
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import pytest
from flask import Flask
from support.apps import AppFactory
from support.commands import Administered, outcome

from flask_chatwoot import Chatwoot
from flask_chatwoot.simulator import Fault, Simulator

APP = "https://app.example.com"
SETUP = ("setup", "--url", APP, "--inbox", "3")
WEBHOOK = f"{APP}/chatwoot/webhook"
NOTHING = "There is nothing to do.\n"

with_and_without_bot = pytest.mark.parametrize("bot", [(), ("--agent-bot",)])


class Scene(Administered):
    """An app, and the simulator that its commands change."""

    def __init__(self, make_app: AppFactory, sim: Simulator) -> None:
        self._make_app = make_app
        self.sim = sim

    @cached_property
    def app(self) -> Flask:
        """The app whose commands run; a test may set another one before."""
        return self.make()

    def make(self, chatwoot: Chatwoot | None = None, **settings: t.Any) -> Flask:
        usual = {"base_url": self.sim.url, "api_access_token": self.sim.user_token}
        return self._make_app(chatwoot, **{**usual, **settings})

    def make_for(self, sim: Simulator, **settings: t.Any) -> Flask:
        """An app for another account, with the same instance folder."""
        there = {"base_url": sim.url, "api_access_token": sim.user_token}
        database = "sqlite:///other.sqlite3"
        return self.make(**{**there, "database_url": database, **settings})

    def run(self, *arguments: str, answer: str | None = None) -> tuple[int, str]:
        """Exit code and output of ``flask chatwoot``; ``answer`` is typed."""
        return outcome(self.app, *arguments, answer=answer)

    def set_up(self, *arguments: str, answer: str | None = None) -> tuple[int, str]:
        """Of inbox 3; confirmed unless something is typed."""
        yes = () if answer else ("--yes",)
        return self.run(*SETUP, *arguments, *yes, answer=answer)

    def tear_down(self, *arguments: str) -> tuple[int, int, int]:
        """Exit code, and how many steps were not needed and how many were done."""
        code, printed = self.run("teardown", *arguments, "--yes")
        return code, printed.count("  = "), printed.count("  ✓ ")


def environment_in(printed: str) -> dict[str, str]:
    """The lines for the environment, as a shell would read them."""
    _, _, lines = printed.partition("Set in the environment of the app:\n")
    settings = [line for line in lines.splitlines() if line.startswith("CHATWOOT_")]
    return dict(shlex.split(line)[0].split("=", 1) for line in settings)


@pytest.fixture
def scene(make_app: AppFactory) -> Iterator[Scene]:
    with Simulator(retry_pause=0.0) as simulator:
        yield Scene(make_app, simulator)


@pytest.fixture
def done(scene: Scene) -> Scene:
    """After a setup."""
    scene.set_up()
    return scene


@pytest.mark.parametrize(
    ("arguments", "answer", "code", "text"),
    [
        ((), "n\n", 1, "Change this in Chatwoot? [y/N]: n\nAborted!\n"),
        (("--dry-run", "--yes"), None, 0, "Nothing was changed.\n"),
    ],
    ids=["not confirmed", "dry run"],
)
def test_setup_shows_its_plan_and_changes_nothing(
    scene: Scene, arguments: tuple[str, ...], answer: str | None, code: int, text: str
) -> None:
    actual, printed = scene.run(*SETUP, *arguments, answer=answer)
    assert (actual, scene.writes) == (code, [])
    assert (printed.count("  + "), environment_in(printed)) == (3, {})
    assert printed.endswith(text)


def test_setup_makes_the_confirmed_changes_and_prints_each(scene: Scene) -> None:
    code, printed = scene.set_up(answer="y\n")

    assert code == 0
    assert scene.writes == ["create_attribute", "update_inbox", "create_webhook"]
    assert [line for line in printed.splitlines() if "✓" in line] == [
        "  ✓ Created the attribute support_mode.",
        "  ✓ The pre-chat form of inbox 3 (Website) shows support_mode.",
        f"  ✓ Created a webhook to {WEBHOOK}.",
    ]


def test_setup_prints_the_environment_and_the_secret_once(scene: Scene) -> None:
    where = {"CHATWOOT_BASE_URL": scene.sim.url, "CHATWOOT_ACCOUNT_ID": "1"}
    _, printed = scene.set_up()

    secret = scene.webhook["secret"]
    assert environment_in(printed) == {**where, "CHATWOOT_WEBHOOK_SECRET": secret}
    assert printed.count(secret) == 1
    assert scene.sim.user_token not in printed

    code, printed = scene.run(*SETUP)  # a second time

    assert (code, len(scene.writes), printed.count("  = ")) == (0, 3, 3)
    assert "There is nothing to do." in printed
    assert secret not in printed
    assert environment_in(printed) == where


@pytest.mark.parametrize("url", [APP, f"{APP}/", WEBHOOK])
def test_setup_prints_what_lets_the_composer_ask_the_app(
    scene: Scene, chatwoot: Chatwoot, url: str
) -> None:
    scene.app = scene.make(chatwoot)
    code, printed = scene.run("setup", "--url", url, "--copilot")

    assert (code, scene.sim.calls) == (0, [])
    assert f"CAPTAIN_OPEN_AI_ENDPOINT  {APP}/chatwoot\n" in printed
    assert "CAPTAIN_OPEN_AI_API_KEY   token-of-a-page\n" in printed
    assert "every account" in printed
    assert "CHATWOOT_COPILOT_ONE_ACCOUNT" in printed
    assert "@chatwoot.completion_provider" in printed
    assert environment_in(printed) == {}


def test_setup_makes_a_key_for_the_composer_if_there_is_none(scene: Scene) -> None:
    scene.app = scene.make(copilot_token=None, api_access_token=None)
    _, printed = scene.run("setup", "--url", APP, "--copilot")
    _, again = scene.run("setup", "--url", APP, "--copilot")

    key = environment_in(printed)["CHATWOOT_COPILOT_TOKEN"]
    assert len(key) >= 32
    assert f"CAPTAIN_OPEN_AI_API_KEY   {key}\n" in printed
    assert key not in again


def test_setup_says_of_the_composer_only_what_is_of_use(
    scene: Scene, chatwoot: Chatwoot
) -> None:
    chatwoot.completion_provider(lambda messages: "x")
    scene.app = scene.make(chatwoot, copilot_one_account=True)
    _, printed = scene.run("setup", "--url", APP, "--copilot")

    assert "ONE_ACCOUNT" not in printed
    assert "@chatwoot" not in printed


def test_setup_names_the_place_of_a_lost_secret(scene: Scene) -> None:
    scene.app = scene.make(webhook_secret=None)
    printed = [scene.set_up()[1] for _ in range(2)]
    assert ["Integrations → Webhooks" in each for each in printed] == [False, True]


def test_setup_takes_the_texts_of_the_options(scene: Scene) -> None:
    texts = ("--bot-option", "KI Agent", "--human-option", "Человек", "--label", "Wer?")
    _, printed = scene.set_up(*texts)

    assert scene.attribute["attribute_display_name"] == "Wer?"
    assert scene.attribute["attribute_values"] == ["KI Agent", "Человек"]
    # The app knows the second one without a setting.
    assert environment_in(printed)["CHATWOOT_BOT_VALUES"] == "KI Agent"
    assert "CHATWOOT_HUMAN_VALUES" not in printed


def test_setup_warns_of_changes_by_a_bot_before_the_question(scene: Scene) -> None:
    _, printed = scene.set_up("--agent-bot", answer="y\n")

    before, _, after = printed.partition("Change this in Chatwoot?")
    assert "begin as pending" in before
    assert "greetings" in before
    assert environment_in(after) == {
        "CHATWOOT_BASE_URL": scene.sim.url,
        "CHATWOOT_ACCOUNT_ID": "1",
        "CHATWOOT_WEBHOOK_SECRET": scene.bot["secret"],
        "CHATWOOT_API_ACCESS_TOKEN": scene.bot["access_token"],
    }
    assert "Keep your own as CHATWOOT_ADMIN_TOKEN" in after


def test_a_secret_is_printed_even_if_a_later_step_fails(scene: Scene) -> None:
    scene.sim.inject(Fault.UNPROCESSABLE, endpoint="set_inbox_bot")

    code, printed = scene.set_up("--agent-bot")

    assert code == 1
    assert environment_in(printed)["CHATWOOT_WEBHOOK_SECRET"] == scene.bot["secret"]
    assert "Error: POST /api/v1/accounts/1/inboxes/3/set_agent_bot:" in printed
    assert scene.set_up("--agent-bot")[0] == 0
    assert scene.settings.links == {3: scene.bot["id"]}


@pytest.mark.parametrize(
    "url",
    [
        *("app.example.com", "ftp://app.example.com", "https://"),
        *("https://me@app.example.com", "https://app.example.com?token=x"),
        "https://app.example.com:x",
    ],
)
def test_an_invalid_address_is_refused(scene: Scene, url: str) -> None:
    code, printed = scene.run("setup", "--url", url, "--yes")
    assert (code, scene.sim.calls) == (2, [])
    assert "Give the address alone, like https://app.example.com." in printed


@pytest.mark.parametrize(
    ("prefix", "url", "webhook"),
    [
        ("/chatwoot", f"{APP}/", WEBHOOK),
        ("/chatwoot", WEBHOOK, WEBHOOK),
        ("/bots/chat", APP, f"{APP}/bots/chat/webhook"),
    ],
)
def test_the_address_may_be_that_of_the_app_or_of_its_webhook(
    scene: Scene, prefix: str, url: str, webhook: str
) -> None:
    scene.app = scene.make(url_prefix=prefix)
    scene.run("setup", "--url", url, "--inbox", "3", "--yes")
    assert scene.webhook["url"] == webhook


def test_the_environment_may_hold_an_administrators_token(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.app = scene.make(api_access_token=scene.sim.bot_token)
    code, printed = scene.set_up()
    assert (code, "Set CHATWOOT_ADMIN_TOKEN for this" in printed) == (1, True)

    monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", scene.sim.user_token)
    assert (scene.set_up()[0], len(scene.writes)) == (0, 3)


@pytest.mark.parametrize("arguments", [SETUP, ("teardown",)])
def test_a_server_that_is_not_reached_is_named(
    make_app: AppFactory, arguments: tuple[str, ...]
) -> None:
    with socket.socket() as bound:  # it does not listen
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        code, printed = outcome(make_app(base_url=url), *arguments)

    assert code == 1
    assert printed == (
        f"Error: GET /api: no connection to {url} (ConnectionError); check "
        "CHATWOOT_BASE_URL, whether this machine may connect to it, and HTTPS_PROXY.\n"
    )


def test_a_token_that_chatwoot_does_not_know_is_named(scene: Scene) -> None:
    scene.app = scene.make(api_access_token="unknown")

    assert scene.run("teardown") == (
        1,
        "Error: GET /api/v1/accounts/1/inboxes: Chatwoot answered 401. It does not "
        "know the token; set CHATWOOT_API_ACCESS_TOKEN to one that it shows.\n",
    )


@pytest.mark.parametrize("command", [SETUP, ("teardown",)])
def test_missing_keys_are_named(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    scene.app = scene.make(base_url=None, api_access_token=None)
    code, printed = scene.run(*command)
    assert code == 1
    assert "set CHATWOOT_BASE_URL, CHATWOOT_API_ACCESS_TOKEN." in printed

    monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", "t")
    assert "set CHATWOOT_BASE_URL." in scene.run(*command)[1]


@with_and_without_bot
def test_teardown_undoes_what_setup_made(scene: Scene, bot: tuple[str, ...]) -> None:
    forms = repr(scene.settings.inboxes)
    scene.set_up(*bot)

    code, printed = scene.run("teardown", answer="y\n")

    assert code == 0
    assert printed.count("  + ") == printed.count("  ✓ ") == 3 + len(bot)
    settings = scene.settings
    assert settings.attributes == settings.webhooks == settings.links == {}
    assert (scene.bot["id"], repr(settings.inboxes)) == (scene.sim.bot.id, forms)
    assert scene.run("teardown") == (0, NOTHING)


@pytest.mark.parametrize("arguments", [("--dry-run",), ()])
def test_teardown_changes_nothing_without_confirmation(
    done: Scene, arguments: tuple[str, ...]
) -> None:
    done.run("teardown", *arguments, answer="n\n")
    assert len(done.writes) == 3
    assert done.tear_down() == (0, 0, 3)


def test_a_teardown_can_be_continued_after_an_error(done: Scene) -> None:
    done.sim.inject(Fault.SERVER_ERROR, endpoint="update_inbox")
    assert done.tear_down() == (1, 0, 1)
    assert done.tear_down() == (0, 0, 2)
    assert done.settings.attributes == {}


def test_teardown_names_what_was_deleted_before(done: Scene) -> None:
    done.settings.webhooks.clear()

    printed = done.run("teardown", "--dry-run")[1]
    assert f"does not point to {WEBHOOK} any more." in printed
    assert done.tear_down() == (0, 1, 2)
    assert done.run("teardown") == (0, NOTHING)


def test_a_dry_run_of_teardown_keeps_the_record(done: Scene) -> None:
    record = Path(done.app.instance_path) / "chatwoot.setup.json"
    before = record.read_text()
    done.tear_down()
    record.write_text(before)  # as if others had undone it all

    printed = done.run("teardown", "--dry-run")[1]
    assert (printed.count("  = "), record.read_text()) == (3, before)


def test_what_teardown_keeps_stays_in_the_record(done: Scene) -> None:
    other, before = done.settings.inboxes[4], copy.deepcopy(done.settings.inboxes[4])
    other |= copy.deepcopy({**done.inbox, "id": 4})

    assert "Kept the attribute support_mode" in done.run("teardown", "--yes")[1]
    assert done.attribute

    other |= before
    assert done.tear_down() == (0, 0, 1)
    assert done.settings.attributes == {}


def test_teardown_recognises_names_where_the_record_is_lost(done: Scene) -> None:
    # The record is in the instance folder, wherever the database is.
    (Path(done.app.instance_path) / "chatwoot.setup.json").unlink()

    assert done.run("teardown") == (0, NOTHING)
    _, printed = done.run("teardown", "--url", APP, "--yes")
    assert f"Deleted the webhook to {WEBHOOK}." in printed
    assert done.settings.webhooks == {}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("account", [1, 2])
def test_teardown_names_the_server_that_the_record_is_for(
    done: Scene, account: int, known: bool
) -> None:
    with Simulator(retry_pause=0.0, account_id=account) as other:
        token = other.user_token if known else done.sim.user_token
        done.app = done.make_for(other, account_id=account, api_access_token=token)
        code, printed = done.run("teardown")
        there = f"{other.url} account {account}"

    assert (code, done.writes[3:]) == (int(not known), [])
    assert printed.startswith(
        f"  ! The record of setup is for {done.sim.url} account 1, and not for "
        f"{there}. To undo it, set CHATWOOT_BASE_URL, "
        "CHATWOOT_ACCOUNT_ID and the token to those of that account.\n"
    )
    assert printed.endswith(NOTHING) is known


def test_a_record_of_several_servers_needs_no_word(done: Scene) -> None:
    with Simulator(retry_pause=0.0) as other:
        done.app = done.make_for(other)
        assert done.set_up()[0] == 0
        assert "  ! The record" not in done.run("teardown", "--yes")[1]

    done.app = done.make(database_url="sqlite:///a.sqlite3")
    assert done.tear_down() == (0, 0, 3)


@pytest.mark.parametrize("command", [(*SETUP, "--yes"), ("teardown", "--yes")])
def test_nothing_is_changed_if_the_record_cannot_be_written(
    done: Scene, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    if command[0] == "setup":
        done.tear_down()

    before = len(done.writes)

    def full_disk(**_: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full_disk)
    # The app itself was made before.
    code, printed = done.run(*command)

    assert (code, len(done.writes)) == (1, before)
    assert printed.splitlines()[-1].endswith(
        "chatwoot.setup.json' cannot be written: No space left on device. Let this "
        "process write there."
    )
