"""``flask chatwoot setup`` and ``teardown``, in front of the simulator."""

from __future__ import annotations

import copy
import re
import shlex
import threading
import typing as t
from collections.abc import Callable, Iterable, Iterator

import pytest
from conftest import AppFactory
from flask import Flask
from werkzeug.serving import WSGIRequestHandler, make_server

from flask_chatwoot import Chatwoot
from flask_chatwoot.simulator import Fault, Simulator

SETUP = ("setup", "--url", "https://app.example.com", "--inbox", "3")
WEBHOOK = "https://app.example.com/chatwoot/webhook"


def run(app: Flask, *arguments: str, answer: str = "") -> tuple[int, str]:
    """What ``flask chatwoot`` leaves with and prints; ``answer`` is typed."""
    result = app.test_cli_runner().invoke(
        args=["chatwoot", *arguments], input=answer or None
    )

    return result.exit_code, result.output


def environment_in(printed: str) -> dict[str, str]:
    """The lines to keep, as a shell would read them."""
    _, _, lines = printed.partition("Keep in the environment of the app:\n")
    settings = [line for line in lines.splitlines() if line.startswith("CHATWOOT_")]

    return dict(shlex.split(line)[0].split("=", 1) for line in settings)


def writes(sim: Simulator) -> list[str | None]:
    return [call.endpoint for call in sim.calls if call.method != "GET"]


@pytest.fixture
def sim() -> Iterator[Simulator]:
    with Simulator(retry_pause=0.0) as simulator:
        yield simulator


@pytest.fixture
def app(make_app: AppFactory, sim: Simulator) -> Flask:
    return make_app(base_url=sim.url, api_access_token=sim.user_token)


# -- setup ---------------------------------------------------------------------


def test_setup_shows_its_plan_and_asks(app: Flask, sim: Simulator) -> None:
    code, printed = run(app, *SETUP, answer="n\n")

    assert code == 1
    assert writes(sim) == []
    assert printed.count("  + ") == 3
    assert "Change this in Chatwoot? [y/N]: n" in printed
    assert "Keep in the environment" not in printed


def test_setup_does_what_was_agreed_to_and_says_so(app: Flask, sim: Simulator) -> None:
    code, printed = run(app, *SETUP, answer="y\n")

    assert code == 0
    assert writes(sim) == ["create_attribute", "update_inbox", "create_webhook"]
    assert [line for line in printed.splitlines() if "✓" in line] == [
        "  ✓ Created the attribute support_mode.",
        "  ✓ The pre-chat form of inbox 3 (Website) shows support_mode.",
        f"  ✓ Created a webhook to {WEBHOOK}.",
    ]


def test_setup_prints_the_environment_and_the_secret_once(
    app: Flask, sim: Simulator
) -> None:
    _, printed = run(app, *SETUP, "--yes")

    (webhook,) = sim.office.webhooks.values()
    assert environment_in(printed) == {
        "CHATWOOT_BASE_URL": sim.url,
        "CHATWOOT_ACCOUNT_ID": "1",
        "CHATWOOT_WEBHOOK_SECRET": webhook["secret"],
    }
    assert printed.count(webhook["secret"]) == 1
    assert sim.user_token not in printed


def test_setup_run_twice_changes_nothing(app: Flask, sim: Simulator) -> None:
    run(app, *SETUP, "--yes")
    (webhook,) = sim.office.webhooks.values()

    code, printed = run(app, *SETUP)

    assert code == 0
    assert len(writes(sim)) == 3
    assert printed.count("  = ") == 3
    assert "There is nothing to do." in printed
    assert webhook["secret"] not in printed
    assert environment_in(printed).keys() == {
        "CHATWOOT_BASE_URL",
        "CHATWOOT_ACCOUNT_ID",
    }


def test_who_lost_the_secret_is_told_where_it_is(
    make_app: AppFactory, sim: Simulator
) -> None:
    app = make_app(
        base_url=sim.url, api_access_token=sim.user_token, webhook_secret=None
    )
    assert "Integrations → Webhooks" not in run(app, *SETUP, "--yes")[1]

    assert "Integrations → Webhooks" in run(app, *SETUP, "--yes")[1]


def test_a_dry_run_changes_nothing(app: Flask, sim: Simulator) -> None:
    code, printed = run(app, *SETUP, "--dry-run", "--yes")

    assert code == 0
    assert printed.count("  + ") == 3
    assert printed.endswith("Nothing was changed.\n")
    assert writes(sim) == []


def test_setup_takes_the_texts_of_the_options(app: Flask, sim: Simulator) -> None:
    texts = ("--bot-option", "KI Agent", "--human-option", "Человек", "--label", "Wer?")

    _, printed = run(app, *SETUP, "--yes", *texts)

    (attribute,) = sim.office.attributes.values()
    assert attribute["attribute_display_name"] == "Wer?"
    assert attribute["attribute_values"] == ["KI Agent", "Человек"]
    # The app knows the second by itself.
    assert environment_in(printed)["CHATWOOT_BOT_VALUES"] == "KI Agent"
    assert "CHATWOOT_HUMAN_VALUES" not in printed


def test_setup_warns_of_what_a_bot_changes_before_it_asks(
    app: Flask, sim: Simulator
) -> None:
    _, printed = run(app, *SETUP, "--agent-bot", answer="y\n")

    before, _, after = printed.partition("Change this in Chatwoot?")
    assert "begin as pending" in before
    assert "Greetings" in before
    bot = sim.office.bots[sim.office.links[3]]
    assert environment_in(after) == {
        "CHATWOOT_BASE_URL": sim.url,
        "CHATWOOT_ACCOUNT_ID": "1",
        "CHATWOOT_WEBHOOK_SECRET": bot["secret"],
        "CHATWOOT_API_ACCESS_TOKEN": bot["access_token"],
    }
    assert "Keep your own as CHATWOOT_ADMIN_TOKEN" in after


def test_a_secret_is_shown_even_if_a_later_step_fails(
    app: Flask, sim: Simulator
) -> None:
    sim.inject(Fault.UNPROCESSABLE, endpoint="set_inbox_bot")

    code, printed = run(app, *SETUP, "--agent-bot", "--yes")

    bot = next(row for row in sim.office.bots.values() if row["outgoing_url"])
    assert code == 1
    assert environment_in(printed)["CHATWOOT_WEBHOOK_SECRET"] == bot["secret"]
    assert "Error: POST /api/v1/accounts/1/inboxes/3/set_agent_bot:" in printed
    assert run(app, *SETUP, "--agent-bot", "--yes")[0] == 0
    assert sim.office.links == {3: bot["id"]}


@pytest.mark.parametrize(
    "url",
    [
        "app.example.com",
        "ftp://app.example.com",
        "https://",
        "https://me@app.example.com",
        "https://app.example.com?token=x",
        "https://app.example.com:x",
    ],
)
def test_a_url_that_is_none_is_refused(app: Flask, sim: Simulator, url: str) -> None:
    code, printed = run(app, "setup", "--url", url, "--yes")

    assert code == 2
    assert "Write the address alone, like https://app.example.com." in printed
    assert sim.calls == []


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com",
        "https://app.example.com/",
        "https://app.example.com/chatwoot/webhook",
    ],
)
def test_the_url_of_the_app_or_of_its_webhook_will_do(
    app: Flask, sim: Simulator, url: str
) -> None:
    run(app, "setup", "--url", url, "--inbox", "3", "--yes")

    assert [row["url"] for row in sim.office.webhooks.values()] == [WEBHOOK]


def test_the_prefix_of_the_app_is_part_of_the_url(
    make_app: AppFactory, sim: Simulator
) -> None:
    app = make_app(
        base_url=sim.url, api_access_token=sim.user_token, url_prefix="/bots/chat"
    )

    run(app, *SETUP, "--yes")

    (webhook,) = sim.office.webhooks.values()
    assert webhook["url"] == "https://app.example.com/bots/chat/webhook"


def test_the_token_of_an_administrator_may_be_given_for_the_command(
    make_app: AppFactory, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(base_url=sim.url, api_access_token=sim.bot_token)
    code, printed = run(app, *SETUP, "--yes")
    assert code == 1
    assert "set CHATWOOT_ADMIN_TOKEN for this command" in printed

    monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", sim.user_token)

    assert run(app, *SETUP, "--yes")[0] == 0
    assert len(writes(sim)) == 3


@pytest.mark.parametrize("command", [SETUP, ("teardown",)])
def test_without_configuration_a_command_says_what_to_set(
    make_app: AppFactory, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    app = make_app(base_url=None, api_access_token=None)
    code, printed = run(app, *command)
    assert code == 1
    assert "set CHATWOOT_BASE_URL, CHATWOOT_API_ACCESS_TOKEN." in printed

    monkeypatch.setenv("CHATWOOT_ADMIN_TOKEN", "t")

    assert "set CHATWOOT_BASE_URL." in run(app, *command)[1]


def test_what_is_in_the_way_is_told_in_a_sentence(app: Flask, sim: Simulator) -> None:
    code, printed = run(app, "setup", "--url", "https://app.example.com", "--yes")

    assert code == 1
    assert printed == (
        "Error: Choose with --inbox. Website inboxes: inbox 3 (Website), inbox 4 "
        "(Shop).\n"
    )


# -- teardown ------------------------------------------------------------------


@pytest.mark.parametrize("bot", [(), ("--agent-bot",)])
def test_teardown_undoes_what_setup_made(
    app: Flask, sim: Simulator, bot: tuple[str, ...]
) -> None:
    forms = repr(sim.office.inboxes)
    run(app, *SETUP, *bot, "--yes")

    code, printed = run(app, "teardown", answer="y\n")

    assert code == 0
    assert printed.count("  + ") == printed.count("  ✓ ") == 3 + len(bot)
    assert sim.office.attributes == {}
    assert sim.office.webhooks == {}
    assert sim.office.bots.keys() == {sim.bot.id}
    assert sim.office.links == {}
    assert repr(sim.office.inboxes) == forms
    assert run(app, "teardown") == (0, "There is nothing to do.\n")


@pytest.mark.parametrize("arguments", [("--dry-run",), ()])
def test_teardown_asks_first(
    app: Flask, sim: Simulator, arguments: tuple[str, ...]
) -> None:
    run(app, *SETUP, "--yes")
    before = len(writes(sim))

    run(app, "teardown", *arguments, answer="n\n")

    assert len(writes(sim)) == before
    assert run(app, "teardown", "--yes")[1].count("  ✓ ") == 3


def test_teardown_that_is_interrupted_can_go_on(app: Flask, sim: Simulator) -> None:
    run(app, *SETUP, "--yes")
    sim.inject(Fault.SERVER_ERROR, endpoint="update_inbox")

    code, printed = run(app, "teardown", "--yes")

    assert code == 1
    assert printed.count("  ✓ ") == 1
    assert run(app, "teardown", "--yes")[1].count("  ✓ ") == 2
    assert sim.office.attributes == {}


def test_teardown_says_what_is_gone_already(app: Flask, sim: Simulator) -> None:
    run(app, *SETUP, "--yes")
    sim.office.webhooks.clear()

    code, printed = run(app, "teardown", "--yes")

    assert code == 0
    assert f"does not point to {WEBHOOK} any more." in printed
    assert (printed.count("  = "), printed.count("  ✓ ")) == (1, 2)
    assert run(app, "teardown")[1] == "There is nothing to do.\n"


def test_a_dry_run_forgets_nothing(app: Flask, sim: Simulator) -> None:
    office = sim.office
    forms = copy.deepcopy(office.inboxes)
    run(app, *SETUP, "--yes")
    made = [dict(rows) for rows in (office.inboxes, office.webhooks, office.attributes)]
    office.inboxes.update(forms)
    office.webhooks.clear()
    office.attributes.clear()

    code, printed = run(app, "teardown", "--dry-run")
    assert (code, printed.count("  = ")) == (0, 3)

    for rows, kept in zip(
        (office.inboxes, office.webhooks, office.attributes), made, strict=True
    ):
        rows.update(kept)

    assert run(app, "teardown", "--dry-run")[1].count("  + ") == 3


def test_what_had_to_be_kept_is_not_forgotten(app: Flask, sim: Simulator) -> None:
    run(app, *SETUP, "--yes")
    other, default = sim.office.inboxes[4], copy.deepcopy(sim.office.inboxes[4])
    other |= copy.deepcopy({**sim.office.inboxes[3], "id": 4})

    _, printed = run(app, "teardown", "--yes")
    assert "Kept the attribute support_mode" in printed
    assert len(sim.office.attributes) == 1

    other |= default
    _, printed = run(app, "teardown", "--yes")
    assert printed.count("  ✓ ") == 1
    assert sim.office.attributes == {}


def test_teardown_goes_by_name_where_the_record_is_lost(
    app: Flask, make_app: AppFactory, sim: Simulator, tmp_path: t.Any
) -> None:
    run(app, *SETUP, "--yes")
    elsewhere = make_app(
        base_url=sim.url,
        api_access_token=sim.user_token,
        database_url=f"sqlite:///{tmp_path / 'elsewhere.sqlite3'}",
    )

    assert run(elsewhere, "teardown")[1] == "There is nothing to do.\n"
    _, printed = run(elsewhere, "teardown", "--url", "https://app.example.com", "--yes")

    assert f"Deleted the webhook to {WEBHOOK}." in printed
    assert sim.office.webhooks == {}


# -- from setup to an answer -----------------------------------------------------


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: t.Any) -> None:
        """Nothing."""


Wsgi = Callable[[t.Any, t.Any], Iterable[bytes]]


@pytest.fixture
def host() -> Iterator[tuple[str, list[Wsgi]]]:
    """An address, and a list whose last app answers there."""
    apps: list[Wsgi] = []
    server = make_server(
        "127.0.0.1",
        0,
        lambda environ, start: apps[-1](environ, start),
        threaded=True,
        request_handler=_Quiet,
    )
    thread = threading.Thread(target=server.serve_forever, args=[0.01])
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", apps
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("bot", [(), ("--agent-bot",)])
def test_after_setup_a_customer_gets_an_answer(
    app: Flask,
    make_app: AppFactory,
    sim: Simulator,
    host: tuple[str, list[Wsgi]],
    tmp_path: t.Any,
    bot: tuple[str, ...],
) -> None:
    url, apps = host
    _, printed = run(app, "setup", "--url", url, "--inbox", "3", "--yes", *bot)
    kept = {
        key.removeprefix("CHATWOOT_").lower(): value
        for key, value in environment_in(printed).items()
    }
    chatwoot = Chatwoot()
    chatwoot.reply_provider(lambda text: f"You said {text}")
    own = {
        "api_access_token": sim.user_token,
        "database_url": f"sqlite:///{tmp_path / '2.sqlite3'}",
    }
    apps.append(make_app(chatwoot, **{**own, **kept}))

    (field,) = [
        f
        for f in sim.office.inboxes[3]["pre_chat_form_options"]["pre_chat_fields"]
        if f["enabled"]
    ]
    talk = sim.conversation(custom_attributes={field["name"]: field["values"][0]})
    talk.customer_says("Hello")
    sim.wait_until(lambda: talk.replies)

    assert talk.replies == ["You said Hello"]
    assert talk.status == ("pending" if bot else "open")


def test_the_commands_are_explained(app: Flask) -> None:
    for command in ("setup", "teardown"):
        code, printed = run(app, command, "--help")
        assert code == 0
        assert set(re.findall(r"--[a-z-]+", printed)) >= {"--url", "--yes", "--dry-run"}
