"""The typing indicator is shown while a provider works."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
import typing as t
from pathlib import Path

import pytest
import responses
from support.chatwoot import BASE_URL
from support.waiting import wait_until

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.simulator import Fault, Simulator
from flask_chatwoot.simulator.talk import Talk
from flask_chatwoot.turns import typing_indicator
from flask_chatwoot.turns.typing_indicator import TypingIndicator

THREAD: t.Final = "chatwoot-typing"
PROGRAM: t.Final = Path(__file__).parent / "support/programs/typing_in_a_fork.py"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything happens ten times as fast, and the thread ends soon."""
    monkeypatch.setattr(typing_indicator, "AFTER", 0.03)
    monkeypatch.setattr(typing_indicator, "_LOOK", 0.01)
    monkeypatch.setattr(typing_indicator, "_IDLE", 0.05)
    wait_until(lambda: not threads())  # those that other tests have left


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    with Simulator() as sim:
        yield sim
        wait_until(lambda: not threads())  # before the server goes away


@pytest.fixture
def talk(sim: Simulator) -> Talk:
    return sim.conversation()


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == THREAD]


@pytest.fixture
def typing(sim: Simulator) -> TypingIndicator:
    return TypingIndicator(ChatwootClient(sim.url, 1, sim.user_token))


def test_it_is_shown_while_the_provider_works(
    talk: Talk, typing: TypingIndicator
) -> None:
    with typing.shown(talk.id):
        wait_until(lambda: talk.typing == ["on"])

    wait_until(lambda: talk.typing == ["on", "off"])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_it_is_hidden_however_the_work_ends(
    talk: Talk, error: type[BaseException], typing: TypingIndicator
) -> None:
    def work() -> None:
        with typing.shown(talk.id):
            wait_until(lambda: talk.typing == ["on"])
            raise error

    with pytest.raises(error):
        work()

    wait_until(lambda: talk.typing == ["on", "off"])


def test_it_is_not_shown_for_a_fast_answer(
    sim: Simulator, talk: Talk, monkeypatch: pytest.MonkeyPatch, typing: TypingIndicator
) -> None:
    monkeypatch.setattr(typing_indicator, "AFTER", 60.0)

    for _ in range(3):
        with typing.shown(talk.id):
            pass

    wait_until(lambda: not threads())  # it has looked, and seen that all is over

    assert sim.calls == []


def test_it_is_shown_after_a_delay(talk: Talk, typing: TypingIndicator) -> None:
    started = time.monotonic()

    with typing.shown(talk.id):
        wait_until(lambda: talk.typing)

    assert time.monotonic() - started >= 0.03


def test_it_is_refreshed_before_the_widget_hides_it(
    talk: Talk, monkeypatch: pytest.MonkeyPatch, typing: TypingIndicator
) -> None:
    assert typing_indicator.REFRESH < 30
    monkeypatch.setattr(typing_indicator, "REFRESH", 0.02)

    with typing.shown(talk.id):
        wait_until(lambda: len(talk.typing) >= 3)

    wait_until(lambda: talk.typing[-1] == "off")
    assert set(talk.typing[:-1]) == {"on"}


def test_it_is_not_refreshed_at_every_look(
    sim: Simulator, talk: Talk, typing: TypingIndicator
) -> None:
    other = sim.conversation()

    with typing.shown(talk.id):
        wait_until(lambda: talk.typing)

        for _ in range(3):  # the thread has looked at both meanwhile
            with typing.shown(other.id):
                wait_until(lambda: other.typing[-1:] == ["on"])

            wait_until(lambda: other.typing[-1:] == ["off"])

        assert talk.typing == ["on"]


def test_conversations_are_independent(sim: Simulator, typing: TypingIndicator) -> None:
    one, two = sim.conversation(), sim.conversation()

    with typing.shown(one.id):
        with typing.shown(two.id):
            wait_until(lambda: one.typing == two.typing == ["on"])

        wait_until(lambda: two.typing == ["on", "off"])
        assert one.typing == ["on"]

    wait_until(lambda: one.typing == ["on", "off"])


def test_one_thread_serves_all_and_ends_without_work(
    talk: Talk, typing: TypingIndicator
) -> None:

    with typing.shown(talk.id), typing.shown(talk.id):
        wait_until(lambda: talk.typing)
        assert len(threads()) == 1

    wait_until(lambda: not threads())

    with typing.shown(talk.id):
        wait_until(lambda: talk.typing[-1] == "on")
        assert len(threads()) == 1


def test_without_the_setting_it_is_not_shown(sim: Simulator, talk: Talk) -> None:
    client = ChatwootClient(sim.url, 1, sim.user_token)

    with TypingIndicator(client, wanted=False).shown(talk.id):
        assert not threads()

    assert sim.calls == []


@pytest.mark.parametrize(
    "fault", [Fault.UNAUTHORIZED, Fault.NOT_FOUND, Fault.UNPROCESSABLE]
)
def test_after_a_refusal_no_more_requests_are_sent(
    sim: Simulator,
    talk: Talk,
    fault: Fault,
    caplog: pytest.LogCaptureFixture,
    typing: TypingIndicator,
) -> None:
    sim.inject(fault, times=None, endpoint="toggle_typing_status")

    with caplog.at_level(logging.INFO, logger="flask_chatwoot"):
        for _ in range(3):
            with typing.shown(talk.id):
                wait_until(lambda: "is not shown any more" in caplog.text)

        wait_until(lambda: not threads())

    assert len(sim.calls) == 1
    assert caplog.text.count("is not shown any more") == 1


def test_a_bots_token_before_4_12_is_refused_once() -> None:
    with Simulator(version="4.11.0") as sim:
        talk = sim.conversation()
        typing = TypingIndicator(ChatwootClient(sim.url, 1, sim.bot_token))

        for _ in range(2):
            with typing.shown(talk.id):
                wait_until(lambda: sim.calls)

        wait_until(lambda: not threads())

        assert [call.status for call in sim.calls] == [401]


@pytest.mark.parametrize(
    "fault", [Fault.SERVER_ERROR, Fault.RATE_LIMITED, Fault.CUT_BEFORE]
)
def test_after_another_failure_the_next_work_is_shown(
    sim: Simulator,
    talk: Talk,
    fault: Fault,
    caplog: pytest.LogCaptureFixture,
    typing: TypingIndicator,
) -> None:
    sim.inject(fault, endpoint="toggle_typing_status")

    with typing.shown(talk.id):
        wait_until(lambda: sim.calls)

    wait_until(lambda: talk.typing == ["off"])

    with typing.shown(talk.id):
        wait_until(lambda: talk.typing == ["off", "on"])

    assert caplog.text == ""


def test_a_server_that_hangs_delays_no_turn(
    sim: Simulator, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = ChatwootClient(sim.url, 1, sim.user_token, timeout=0.5)
    sim.inject(Fault.HANG, endpoint="toggle_typing_status")

    with TypingIndicator(client).shown(talk.id):
        wait_until(lambda: sim.calls)
        started = time.monotonic()

    assert time.monotonic() - started < 0.4
    wait_until(lambda: talk.typing == ["off"])


@pytest.mark.parametrize("body", ["", "null", "<html>", "[]"])
def test_a_strange_answer_does_not_end_the_thread(body: str) -> None:
    url = f"{BASE_URL}/api/v1/accounts/1/conversations/42/toggle_typing_status"

    with responses.RequestsMock() as mock:
        mock.post(url, body=body)
        typing = TypingIndicator(ChatwootClient(BASE_URL, 1, "token"))

        with typing.shown(42):
            wait_until(lambda: len(mock.calls) == 1)

        wait_until(lambda: len(mock.calls) == 2)
        wait_until(lambda: not threads())


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_it_works_in_a_child_forked_during_work() -> None:
    ignored = "ignore::DeprecationWarning"  # of Python 3.12, about threads and forks

    subprocess.run([sys.executable, "-W", ignored, PROGRAM], check=True, timeout=60)
