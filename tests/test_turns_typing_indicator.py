from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
import typing as t

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


def shower(sim: Simulator, *, wanted: bool = True) -> TypingIndicator:
    return TypingIndicator(ChatwootClient(sim.url, 1, sim.user_token), wanted=wanted)


def test_it_is_shown_while_somebody_works_and_then_no_longer(
    sim: Simulator, talk: Talk
) -> None:
    with shower(sim).shown(talk.id):
        wait_until(lambda: talk.typing == ["on"])

    wait_until(lambda: talk.typing == ["on", "off"])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_it_goes_off_however_the_work_ends(
    sim: Simulator, talk: Talk, error: type[BaseException]
) -> None:
    def work() -> None:
        with shower(sim).shown(talk.id):
            wait_until(lambda: talk.typing == ["on"])
            raise error

    with pytest.raises(error):
        work()

    wait_until(lambda: talk.typing == ["on", "off"])


def test_who_answers_at_once_shows_nothing(
    sim: Simulator, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(typing_indicator, "AFTER", 60.0)
    shown = shower(sim)

    for _ in range(3):
        with shown.shown(talk.id):
            pass

    wait_until(lambda: not threads())  # it has looked, and seen that all is over

    assert sim.calls == []


def test_it_is_shown_after_a_moment_and_not_at_once(sim: Simulator, talk: Talk) -> None:
    started = time.monotonic()

    with shower(sim).shown(talk.id):
        wait_until(lambda: talk.typing)

    assert time.monotonic() - started >= 0.03


def test_it_is_refreshed_before_the_widget_forgets_it(
    sim: Simulator, talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typing_indicator.REFRESH < 30
    monkeypatch.setattr(typing_indicator, "REFRESH", 0.02)

    with shower(sim).shown(talk.id):
        wait_until(lambda: len(talk.typing) >= 3)

    wait_until(lambda: talk.typing[-1] == "off")
    assert set(talk.typing[:-1]) == {"on"}


def test_it_is_not_refreshed_all_the_time(sim: Simulator, talk: Talk) -> None:
    other = sim.conversation()
    shown = shower(sim)

    with shown.shown(talk.id):
        wait_until(lambda: talk.typing)

        for _ in range(3):  # the thread has looked at both meanwhile
            with shown.shown(other.id):
                wait_until(lambda: other.typing[-1:] == ["on"])

            wait_until(lambda: other.typing[-1:] == ["off"])

        assert talk.typing == ["on"]


def test_conversations_do_not_disturb_each_other(sim: Simulator) -> None:
    one, two = sim.conversation(), sim.conversation()
    shown = shower(sim)

    with shown.shown(one.id):
        with shown.shown(two.id):
            wait_until(lambda: one.typing == two.typing == ["on"])

        wait_until(lambda: two.typing == ["on", "off"])
        assert one.typing == ["on"]

    wait_until(lambda: one.typing == ["on", "off"])


def test_one_thread_serves_all_and_ends_when_nothing_is_left(
    sim: Simulator, talk: Talk
) -> None:
    shown = shower(sim)

    with shown.shown(talk.id), shown.shown(talk.id):
        wait_until(lambda: talk.typing)
        assert len(threads()) == 1

    wait_until(lambda: not threads())

    with shown.shown(talk.id):
        wait_until(lambda: talk.typing[-1] == "on")
        assert len(threads()) == 1


def test_who_does_not_want_it_gets_none(sim: Simulator, talk: Talk) -> None:
    with shower(sim, wanted=False).shown(talk.id):
        assert not threads()

    assert sim.calls == []


@pytest.mark.parametrize(
    "fault", [Fault.UNAUTHORIZED, Fault.NOT_FOUND, Fault.UNPROCESSABLE]
)
def test_a_server_that_refuses_it_is_asked_once(
    sim: Simulator, talk: Talk, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    shown = shower(sim)
    sim.inject(fault, times=None, endpoint="toggle_typing_status")

    with caplog.at_level(logging.INFO, logger="flask_chatwoot"):
        for _ in range(3):
            with shown.shown(talk.id):
                wait_until(lambda: "is not shown any more" in caplog.text)

        wait_until(lambda: not threads())

    assert len(sim.calls) == 1
    assert caplog.text.count("is not shown any more") == 1


def test_a_bots_token_before_4_12_is_refused_once() -> None:
    with Simulator(version="4.11.0") as sim:
        talk = sim.conversation()
        shown = TypingIndicator(ChatwootClient(sim.url, 1, sim.bot_token))

        for _ in range(2):
            with shown.shown(talk.id):
                wait_until(lambda: sim.calls)

        wait_until(lambda: not threads())

        assert [call.status for call in sim.calls] == [401]


@pytest.mark.parametrize(
    "fault", [Fault.SERVER_ERROR, Fault.RATE_LIMITED, Fault.CUT_BEFORE]
)
def test_a_server_that_stumbles_is_asked_again_next_time(
    sim: Simulator, talk: Talk, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    shown = shower(sim)
    sim.inject(fault, endpoint="toggle_typing_status")

    with shown.shown(talk.id):
        wait_until(lambda: sim.calls)

    wait_until(lambda: talk.typing == ["off"])

    with shown.shown(talk.id):
        wait_until(lambda: talk.typing == ["off", "on"])

    assert caplog.text == ""


def test_nobody_waits_for_a_server_that_hangs(
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
def test_whatever_the_server_answers_the_thread_goes_on(body: str) -> None:
    url = f"{BASE_URL}/api/v1/accounts/1/conversations/42/toggle_typing_status"

    with responses.RequestsMock() as mock:
        mock.post(url, body=body)
        shown = TypingIndicator(ChatwootClient(BASE_URL, 1, "token"))

        with shown.shown(42):
            wait_until(lambda: len(mock.calls) == 1)

        wait_until(lambda: len(mock.calls) == 2)
        wait_until(lambda: not threads())


FORKING: t.Final = """
import os, sys, time
from flask_chatwoot.turns.typing_indicator import TypingIndicator


class Client:
    calls = []

    def toggle_typing_status(self, conversation_id, *, on):
        self.calls.append((conversation_id, on))


def wait_for(*calls):
    deadline = time.monotonic() + 10

    while Client.calls != [*calls]:
        if time.monotonic() > deadline:
            os._exit(1)

        time.sleep(0.01)


shown = TypingIndicator(Client())

with shown.shown(1):
    wait_for((1, True))
    child = os.fork()

    if not child:
        Client.calls.clear()

        with shown.shown(2):
            wait_for((2, True))

        wait_for((2, True), (2, False))
        os._exit(0)

    status = os.waitpid(child, 0)[1]

wait_for((1, True), (1, False))
sys.exit(1 if status else 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_it_survives_a_fork_in_the_middle_of_work() -> None:
    ignored = "ignore::DeprecationWarning"  # of Python 3.12, about threads and forks

    subprocess.run(
        [sys.executable, "-W", ignored, "-c", FORKING], check=True, timeout=60
    )
