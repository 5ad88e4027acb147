"""Suggestions of several real processes that share one database."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import typing as t
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from support.databases import environment_of, rows
from support.waiting import wait_until

from flask_chatwoot.queue.suggestions import CLAIM
from flask_chatwoot.simulator import Simulator, Suggestion, Talk
from flask_chatwoot.texts import ENGLISH

pytest.importorskip("gunicorn", reason="needs gunicorn to run real processes")
pytestmark = pytest.mark.slow

PROGRAMS: t.Final = Path(__file__).parent / "support" / "programs"
KEY: t.Final = "the-key-of-the-composer"
ANSWER: t.Final = "Answer to Where is my order?"
STILL_WRITING: t.Final = ENGLISH.get("composer_still_writing")


class Office:
    """A Chatwoot and servers of one app, each a process with four threads.

    :ivar talk: A conversation, a minute old.
    """

    def __init__(self, sim: Simulator, folder: Path, *, patience: float) -> None:
        self.sim = sim
        self._asked, self._gate = folder / "asked", folder / "gate"
        self._database = folder / "chatwoot.sqlite3"
        self._env = {
            **os.environ,
            **{key: str(value) for key, value in sim.settings().items()},
            **environment_of(self._database),
            "CHATWOOT_COPILOT_TOKEN": KEY,
            "CHATWOOT_CATCH_UP": "0",
            "ASKED": str(self._asked),
            "GATE": str(self._gate),
            "PATIENCE": str(patience),
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self.talk = self._settled()

    def _settled(self) -> Talk:
        clock = self.sim._state.clock
        self.sim._state.clock = lambda: clock() - 60
        talk = self.sim.conversation(custom_attributes={"support_mode": "human"})
        talk.operator_says("Hi, I am Olga. What is it?")
        talk.customer_says("Where is my order?")
        self.sim._state.clock = clock

        return talk

    def serve(self, count: int = 1) -> list[str]:
        """Start servers side by side; their addresses, once each answers."""
        urls = [self._start() for _ in range(count)]
        headers = {"Authorization": f"Bearer {KEY}"}

        for url in urls:
            answer = requests.get(f"{url}/v1/models", headers=headers, timeout=30)
            answer.raise_for_status()

        return urls

    def _start(self) -> str:
        listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        fd, port = listener.fileno(), listener.getsockname()[1]
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gunicorn", "--bind", f"fd://{fd}"),
                *("--worker-class", "gthread", "--threads", "4"),
                *("--log-level", "critical", "copilot_app:app"),
            ],
            cwd=PROGRAMS,
            env=self._env,
            process_group=0,
            stdout=subprocess.DEVNULL,
            pass_fds=[fd],
        )
        self._processes.append(process)
        listener.close()

        return f"http://127.0.0.1:{port}/chatwoot"

    def press(self, url: str) -> Suggestion:
        """Press the button, which asks this server."""
        self.sim.connect_copilot(url, KEY)

        return self.sim.suggest_reply(self.talk)

    def askers(self) -> list[str]:
        """The process of each call of the reply function."""
        return self._asked.read_text().split() if self._asked.exists() else []

    def waiting(self) -> int:
        """How many requests wait for the only draft."""
        ((number,),) = rows(self._database, "SELECT waiting FROM suggestion")

        return int(number)

    def answer(self) -> None:
        """Let the reply function answer, this time and from now on."""
        self._gate.touch()

    def wait_again(self) -> None:
        """Let the reply function wait from now on."""
        self._gate.unlink()

    def kill(self, number: int) -> None:
        process = self._processes[number]

        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)

        process.wait(10)

    def close(self) -> None:
        self.answer()

        for number in range(len(self._processes)):
            self.kill(number)


Start = t.Callable[..., Office]


@pytest.fixture
def start(tmp_path: Path) -> t.Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def start(*, patience: float = 12.0) -> Office:
            sim = stack.enter_context(Simulator())
            office = Office(sim, tmp_path, patience=patience)
            stack.callback(office.close)

            return office

        yield start


def test_a_draft_that_came_too_late_is_given_by_another_process(start: Start) -> None:
    office = start(patience=0.5)
    one, other = office.serve(2)

    assert office.press(one).error == STILL_WRITING
    assert office.press(other).error == STILL_WRITING
    office.answer()
    wait_until(lambda: office.press(other).text == ANSWER)

    assert len(office.askers()) == 1


def test_two_processes_that_are_asked_at_once_ask_the_provider_once(
    start: Start,
) -> None:
    office = start()
    one, other = office.serve(2)

    with ThreadPoolExecutor() as pool:
        first = pool.submit(office.press, one)
        wait_until(office.askers)
        second = pool.submit(office.press, other)
        wait_until(lambda: office.waiting() == 2)
        office.answer()

        assert [first.result().text, second.result().text] == [ANSWER, ANSWER]

    assert len(office.askers()) == 1


def test_a_draft_of_a_killed_process_is_begun_anew(start: Start) -> None:
    office = start(patience=0.5)
    one, other = office.serve(2)

    assert office.press(one).error == STILL_WRITING
    office.kill(0)
    office.answer()
    wait_until(lambda: office.press(other).text == ANSWER, timeout=CLAIM + 10)

    first, second = office.askers()
    assert first != second


def test_deliveries_are_acknowledged_while_200_requests_come(start: Start) -> None:
    office = start(patience=3.0)
    (url,) = office.serve()
    office.sim.connect(f"{url}/webhook")
    office.answer()
    assert office.press(url).text == ANSWER
    office.wait_again()
    body = office.sim.completions[-1].body
    headers = {"Authorization": f"Bearer {KEY}"}

    def ask(_: int) -> tuple[int, str]:
        answer = requests.post(
            f"{url}/v1/chat/completions", json=body, headers=headers, timeout=30
        )

        return answer.status_code, answer.json()["error"]["code"]

    with ThreadPoolExecutor(200) as pool:
        asked = [pool.submit(ask, number) for number in range(200)]
        wait_until(lambda: sum(each.done() for each in asked) > 100, timeout=20)

        for number in range(20):
            office.talk.customer_says(f"Message {number}")

        office.sim.drain()
        deliveries = office.sim.deliveries
        waited = sum(not each.done() for each in asked)
        got = Counter(each.result() for each in asked)

    assert {each.status for each in deliveries} == {202}
    assert max(each.seconds for each in deliveries) < 2
    assert waited == 2
    assert len(office.askers()) == 2  # for the press, and for all of the 200
    assert {*got} == {(400, "busy"), (400, "still_writing")}
