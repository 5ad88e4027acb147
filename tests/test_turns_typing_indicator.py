"""The typing indicator is shown while a provider works."""

from __future__ import annotations

import contextlib
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
    ended()  # also the threads that other tests have left


def threads() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == THREAD]


def ended() -> None:
    wait_until(lambda: not threads())


class Case:
    """The indicator of an app, and a conversation to show it in."""

    def __init__(self, sim: Simulator, token: str) -> None:
        self.sim, self.talk = sim, sim.conversation()
        self.client = ChatwootClient(sim.url, 1, token, timeout=0.5)
        self.indicator = TypingIndicator(self.client)

    def shown(self, talk: Talk | None = None) -> t.ContextManager[object]:
        return self.indicator.shown((talk or self.talk).id)

    def becomes(self, *switched: str, talk: Talk | None = None) -> None:
        """Wait until it was switched like this, and no further."""
        wait_until(lambda: (talk or self.talk).typing == list(switched))


@pytest.fixture
def case(sim: Simulator) -> t.Iterator[Case]:
    yield Case(sim, sim.user_token)
    ended()  # before the server goes away


@pytest.mark.parametrize("error", [None, RuntimeError, KeyboardInterrupt, SystemExit])
def test_it_is_shown_until_the_work_ends_in_any_way(
    case: Case, error: type[BaseException] | None
) -> None:
    with pytest.raises(error) if error else contextlib.nullcontext(), case.shown():
        case.becomes("on")

        if error:
            raise error

    case.becomes("on", "off")


def test_a_fast_answer_shows_nothing(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typing_indicator, "AFTER", 60.0)

    for _ in range(3):
        with case.shown():
            pass

    ended()  # it has looked, and seen that all is over
    assert case.sim.calls == []


def test_it_is_shown_after_a_delay(case: Case) -> None:
    started = time.monotonic()

    with case.shown():
        wait_until(lambda: case.talk.typing)

    assert time.monotonic() - started >= 0.03


def test_it_is_refreshed_before_the_widget_hides_it(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typing_indicator.REFRESH < 30
    monkeypatch.setattr(typing_indicator, "REFRESH", 0.02)

    with case.shown():
        wait_until(lambda: len(case.talk.typing) >= 3)

    wait_until(lambda: case.talk.typing[-1] == "off")
    assert set(case.talk.typing[:-1]) == {"on"}


def test_it_is_not_refreshed_at_every_look(case: Case) -> None:
    other = case.sim.conversation()

    with case.shown():
        case.becomes("on")

        for _ in range(3):  # the thread has looked at both meanwhile
            with case.shown(other):
                wait_until(lambda: other.typing[-1:] == ["on"])

            wait_until(lambda: other.typing[-1:] == ["off"])

        assert case.talk.typing == ["on"]


def test_conversations_are_independent(case: Case) -> None:
    other = case.sim.conversation()

    with case.shown():
        with case.shown(other):
            wait_until(lambda: case.talk.typing == other.typing == ["on"])

        case.becomes("on", "off", talk=other)
        assert case.talk.typing == ["on"]

    case.becomes("on", "off")


def test_one_thread_serves_all_and_ends_without_work(case: Case) -> None:
    for _ in range(2):
        with case.shown(), case.shown():
            wait_until(lambda: case.talk.typing[-1:] == ["on"])
            assert len(threads()) == 1

        ended()


def test_without_the_setting_it_is_not_shown(case: Case) -> None:
    with TypingIndicator(case.client, wanted=False).shown(case.talk.id):
        assert not threads()

    assert case.sim.calls == []


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.NOT_FOUND])
def test_after_a_refusal_no_more_requests_are_sent(
    case: Case, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    case.sim.inject(fault, times=None, endpoint="toggle_typing_status")

    with caplog.at_level(logging.DEBUG, logger="flask_chatwoot"):
        for _ in range(3):
            with case.shown():
                wait_until(lambda: "is not shown any more" in caplog.text)

        ended()

    assert len(case.sim.calls) == 1
    assert caplog.text.count("is not shown any more") == 1


@pytest.mark.parametrize("version", ["4.11.0"])
def test_a_bots_token_before_4_12_is_refused_once(sim: Simulator) -> None:
    case = Case(sim, sim.bot_token)

    for _ in range(2):
        with case.shown():
            wait_until(lambda: sim.calls)

    ended()
    assert [call.status for call in sim.calls] == [401]


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.CUT_BEFORE])
def test_after_another_failure_the_next_work_is_shown(
    case: Case, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    case.sim.inject(fault, endpoint="toggle_typing_status")

    with case.shown():
        wait_until(lambda: case.sim.calls)

    case.becomes("off")

    with case.shown():
        case.becomes("off", "on")

    assert caplog.text == ""


def test_a_server_that_hangs_delays_no_turn(case: Case) -> None:
    case.sim.inject(Fault.HANG, endpoint="toggle_typing_status")

    with case.shown():
        wait_until(lambda: case.sim.calls)
        started = time.monotonic()

    assert time.monotonic() - started < 0.4
    case.becomes("off")


@pytest.mark.parametrize("body", ["", "null", "<html>", "[]"])
def test_a_strange_answer_does_not_end_the_thread(body: str) -> None:
    url = f"{BASE_URL}/api/v1/accounts/1/conversations/42/toggle_typing_status"

    with responses.RequestsMock() as mock:
        mock.post(url, body=body)
        typing = TypingIndicator(ChatwootClient(BASE_URL, 1, "token"))

        with typing.shown(42):
            wait_until(lambda: len(mock.calls) == 1)

        wait_until(lambda: len(mock.calls) == 2)
        ended()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_it_works_in_a_child_forked_during_work() -> None:
    ignored = "ignore::DeprecationWarning"  # of Python 3.12, about threads and forks
    subprocess.run([sys.executable, "-W", ignored, PROGRAM], check=True, timeout=60)
