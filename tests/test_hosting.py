"""An app in front of the simulator, over real HTTP, and the command that does it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask
from support.apps import AppFactory, components_of, store_of

from flask_chatwoot import Chatwoot, Mode, Reply
from flask_chatwoot.hosting import converse, hosted
from flask_chatwoot.simulator import Fault, Simulator
from flask_chatwoot.testing import ChatwootSim
from flask_chatwoot.workers import ThreadBackend

QUESTION = "Where is my order?"


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    """Without any configuration of Chatwoot."""
    return Flask("host", instance_path=str(tmp_path / "instance"))


@pytest.fixture
def chatwoot(app: Flask) -> Chatwoot:
    return Chatwoot(app)


def simulate(app: Flask, *args: str) -> tuple[int, str]:
    result = app.test_cli_runner().invoke(args=["chatwoot", "simulate", *args])

    return result.exit_code, result.output


def test_in_bot_mode_the_customer_sees_the_answer(
    app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")

    code, output = simulate(app, QUESTION)

    assert code == 0
    customer, operators = output.split("What operators see")
    assert customer.splitlines() == [
        "What the customer sees",
        f"  customer  {QUESTION}",
        "  bot       On its way.",
        "",
    ]
    assert "  bot       On its way." in operators


def test_in_human_mode_operators_see_a_note(app: Flask, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")

    code, output = simulate(app, QUESTION, "--mode", "human")

    assert code == 0
    customer, operators = output.split("What operators see")
    assert "On its way." not in customer
    assert "  note      On its way." in operators


def test_several_texts_are_one_conversation(app: Flask, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: f"You said:\n{text}")

    code, output = simulate(app, "Hello", "Goodbye")

    assert code == 0
    assert output.startswith(
        "What the customer sees\n"
        "  customer  Hello\n"
        "  bot       You said:\n"
        "            Hello\n"
        "  customer  Goodbye\n"
    )


def test_the_reason_of_a_silence_is_told_at_once(
    app: Flask, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> str:
        raise ValueError(text)

    code, output = simulate(app, QUESTION)

    assert code == 1
    assert "Error: No answer: provider_failed. See the log." in output


def test_saying_nothing_is_no_failure(app: Flask, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: None)

    code, output = simulate(app, QUESTION)

    assert code == 0
    assert output.count(QUESTION) == 2


def test_a_provider_that_takes_too_long_is_not_waited_for(
    app: Flask, chatwoot: Chatwoot
) -> None:
    import threading

    go_on = threading.Event()
    chatwoot.reply_provider(lambda text: go_on.wait(20) and "Late.")

    try:
        result = app.test_cli_runner().invoke(
            args=["chatwoot", "simulate", QUESTION, "--timeout", "0.2"],
            catch_exceptions=False,
        )
    finally:
        go_on.set()

    assert result.exit_code == 1
    assert "Error: No answer within 0.2 s." in result.output


def test_the_option_texts_of_the_host_are_understood(
    app: Flask, chatwoot_sim: ChatwootSim
) -> None:
    app.config.update(CHATWOOT_SUPPORT_MODE_ATTR="wen", CHATWOOT_BOT_VALUES="Maschine")
    Chatwoot(app).reply_provider(lambda text: "Ja.")

    talk = chatwoot_sim.conversation(app, custom_attributes={"wen": "maschine"})
    talk.customer_says("Da?")

    assert talk.replies == ["Ja."]


def test_what_the_host_uses_for_real_is_out_of_reach(
    app: Flask, tmp_path: Path
) -> None:
    app.config.update(
        CHATWOOT_BASE_URL="http://chatwoot.invalid",
        CHATWOOT_ACCOUNT_ID=7,
        CHATWOOT_API_ACCESS_TOKEN="real-token",
        CHATWOOT_WEBHOOK_SECRET="real-secret",
        CHATWOOT_WEBHOOK_TOKEN="real-url-token",
        CHATWOOT_COPILOT_TOKEN="real-copilot-token",
        CHATWOOT_DATABASE_URL=f"sqlite:///{tmp_path / 'real.sqlite3'}",
        CHATWOOT_WORKERS=0,
    )
    Chatwoot(app).reply_provider(lambda text: Reply("Yes.", private=True))
    own = app.extensions["chatwoot"]

    with Simulator() as sim, hosted(app, sim) as webhook:
        talk = sim.conversation(custom_attributes={"support_mode": "bot"})
        talk.customer_says("There?")
        sim.wait_until(lambda: talk.notes)
        assert requests.post(webhook, data=b"{}", timeout=5).status_code == 401

    assert app.extensions["chatwoot"] is own
    assert not (tmp_path / "real.sqlite3").exists()
    assert {call.token for call in sim.calls} == {"user"}


def test_trouble_is_part_of_the_story(
    app: Flask, chatwoot: Chatwoot, chatwoot_sim: ChatwootSim
) -> None:
    """The connection is cut after Chatwoot stored the message: no second one."""
    chatwoot.reply_provider(lambda text: "Once.")
    chatwoot_sim.inject(Fault.CUT_AFTER)

    talk = chatwoot_sim.conversation(app)
    talk.customer_says(QUESTION)

    assert (talk.outcome, talk.replies) == ("replied", ["Once."])


def test_endings_are_told_in_order(app: Flask, chatwoot: Chatwoot) -> None:
    answers: t.Iterator[str | None] = iter(["One.", None])
    chatwoot.reply_provider(lambda text: next(answers))

    _, endings = converse(app, ["1", "2"], mode=Mode.HUMAN, timeout=20)

    assert [tuple(ending[:2]) for ending in endings] == [
        ("noted", None),
        ("declined", "no_answer"),
    ]


def test_a_delivery_the_app_refuses_is_told_at_once(
    app: Flask, chatwoot: Chatwoot
) -> None:
    app.before_request(lambda: ("Log in first.", 403))

    code, output = simulate(app, QUESTION)

    assert code == 1
    assert "Error: The app answered 403 to the delivery." in output


def test_a_blank_text_is_refused(app: Flask, chatwoot: Chatwoot) -> None:
    code, output = simulate(app, QUESTION, " ")

    assert code == 2
    assert "A text is blank" in output


@pytest.mark.parametrize("token", ["user", "bot"])
@pytest.mark.parametrize("version", ["4.2.0", "4.8.0", "4.10.0", "4.12.0", "4.16.2"])
def test_every_version_is_answered_once_though_the_connection_is_cut(
    app: Flask, chatwoot: Chatwoot, version: str, token: str
) -> None:
    """With a marker or without, by the list or by the echo, signed or not."""
    asked: list[str] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        asked.append(text)
        return "Write to {{contact.email}}, or `{{this}}`."

    with Simulator(version=version) as sim:
        settings: dict[str, t.Any] = {
            "retry_pause": 0.05, "settle_time": 0.5,
            "api_access_token": getattr(sim, f"{token}_token"),
        }  # fmt: skip

        with hosted(app, sim, **settings):
            sim.inject(Fault.CUT_AFTER)
            talk = sim.conversation(custom_attributes={"support_mode": "bot"})
            talk.customer_says(QUESTION)
            store = store_of(app)
            sim.wait_until(
                lambda: [job for job in store.inspection.jobs() if job.outcome]
            )

    assert asked == [QUESTION]
    assert talk.replies == ["Write to {{contact.email}}, or `{{this}}`."]


def test_an_app_that_answers_in_one_inbox_only_can_be_hosted() -> None:
    app = Flask("host")
    app.config["CHATWOOT_INBOXES"] = "7"
    Chatwoot(app).reply_provider(lambda text: "On its way.")

    _, endings = converse(app, ["Where is it?"], mode=Mode.BOT, timeout=10.0)

    assert [ending.outcome for ending in endings] == ["replied"]


def test_the_apps_own_workers_do_not_start_before_the_rehearsal_is_over(
    make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    app = make_app(chatwoot, backend="thread")
    own = t.cast(ThreadBackend, components_of(app).backend)

    with Simulator() as simulator, hosted(app, simulator):
        rehearsing = t.cast(ThreadBackend, components_of(app).backend)
        app.test_client().get("/")
        assert (own.busy, rehearsing.busy) == (False, True)

    app.test_client().get("/")
    assert (own.busy, rehearsing.busy) == (True, False)
