"""Real processes are killed with SIGKILL: the customer gets one reply in each case."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
import typing as t
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from support.databases import environment_of
from support.queue import open_store

from flask_chatwoot.queue.inspection import JobRow
from flask_chatwoot.simulator import Fault, Simulator, Talk

pytest.importorskip("gunicorn", reason="needs gunicorn to run real processes")
pytestmark = pytest.mark.slow

PROGRAMS = Path(__file__).parent / "support" / "programs"

ONE = ["Where is my order?"]
BURST = ["Hello?", "My parcel", "is late.", "Number 7.", "Where is it?"]


def reply_to(texts: t.Sequence[str]) -> str:
    return "Answer to " + "\n".join(texts)


class Host:
    """The app of ``crash_app`` under gunicorn. Its socket stays open without it.

    :ivar talk: A conversation in bot mode.
    """

    def __init__(self, sim: Simulator, folder: Path, **env: str) -> None:
        self.sim = sim
        self.talk = new_talk(sim)
        self.crashed = folder / "crashed"
        self.database_path = folder / "chatwoot.sqlite3"
        self._asked = folder / "asked"
        self._reviewed = folder / "reviewed"
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._processes: list[subprocess.Popen[bytes]] = []
        self._env = {
            **os.environ,
            **{key: str(value) for key, value in sim.settings().items()},
            "ASKED": str(self._asked),
            "REVIEWED": str(self._reviewed),
            "CRASH_MARK": str(self.crashed),
            **environment_of(self.database_path),
            # The sweep of a worker that starts may come before a delivery.
            "CHATWOOT_CATCH_UP": "0",
            "CHATWOOT_LEASE": "6",
            "CHATWOOT_RETRY_PAUSE": "0.1",
            "CHATWOOT_SETTLE_TIME": "2",
            "CHATWOOT_TIMEOUT": "1",
            **env,
        }
        sim.connect(f"{self._url}/chatwoot/webhook")

    # -- processes -------------------------------------------------------------

    def serve(self, crew: str, *, workers: int) -> None:
        """Start gunicorn, which replaces workers that die.

        :param crew: ``"two workers"`` if two other processes handle the jobs.
        """
        env = {} if crew == "web" else {"CHATWOOT_WORKERS": "0"}
        fd = self._socket.fileno()
        self._start(
            "-m", "gunicorn", "--bind", f"fd://{fd}", "--workers", str(workers),
            "--worker-class", "gthread", "--threads", "4", "--log-level", "error",
            "--graceful-timeout", "5", "crash_app:app",
            pass_fds=[fd], env=env,
        )  # fmt: skip
        self.poke()

        if crew != "web":
            self.work(2)

    def work(self, count: int = 1) -> None:
        """Start processes of ``flask chatwoot work``."""
        for _ in range(count):
            self._start("-m", "flask", "--app", "crash_app.py", "chatwoot", "work")

    def _start(
        self, *args: str, env: t.Mapping[str, str] | None = None, **options: t.Any
    ) -> None:
        process = subprocess.Popen(
            [sys.executable, *args],
            cwd=PROGRAMS,
            env={**self._env, **(env or {})},
            process_group=0,
            stdout=subprocess.DEVNULL,
            **options,
        )
        self._processes.append(process)

    def poke(self) -> int:
        """Make a request; the id of the process that answers it."""
        for _ in range(100):
            try:
                return int(requests.get(f"{self._url}/pid", timeout=5).text)
            except requests.RequestException:  # died while it had our request
                continue

        raise AssertionError("The host does not answer.")

    def kill(self, count: int | None = None) -> None:
        """Kill that many of the processes, the newest first; ``None``: all."""
        for _ in range(len(self._processes) if count is None else count):
            process = self._processes.pop()

            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

            process.wait(10)

    def refuse(self) -> None:
        """Kill all processes, and refuse deliveries from now on."""
        self.kill()
        self._socket.close()
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))  # does not listen, and keeps its port
        self.sim.connect(f"http://127.0.0.1:{self._socket.getsockname()[1]}/")

    def close(self) -> None:
        self.kill()
        self._socket.close()

    # -- what happened ---------------------------------------------------------

    def jobs(self) -> list[JobRow]:
        store = open_store(self.database_path, account_id=self.sim.account_id)

        try:
            return store.inspection.jobs()
        finally:
            store.database.close()

    def all_ended(self) -> bool:
        return {job.state for job in self.jobs()} <= {"done", "dead"}

    def questions(self) -> list[str]:
        """Of each call of the provider, the newest message and the process."""
        return self._asked.read_text().split() if self._asked.exists() else []

    def verdicts(self) -> list[str]:
        """Those of ``draft_reviewed``, in all processes."""
        return self._reviewed.read_text().split() if self._reviewed.exists() else []

    def reviewed(self) -> list[int]:
        """The drafts that wait for a verdict, and those that have one."""
        store = open_store(self.database_path, account_id=self.sim.account_id)

        try:
            waiting = int(store.reviews.next() is not None)
            return [waiting, sum(each.drafts for each in store.reviews.counts(2))]
        finally:
            store.database.close()

    def asker(self) -> int:
        """The id of the process that called the provider last."""
        return int(self.questions()[-1].partition(":")[2])

    def statuses(self) -> list[int | None]:
        return [delivery.status for delivery in self.sim.deliveries]

    def say(self, texts: t.Sequence[str]) -> None:
        """Send messages of the customer. A burst is acknowledged before this ends."""
        for text in texts:
            self.talk.customer_says(text)

        self.sim.drain()

        if len(texts) > 1:
            statuses = [d.status for d in self.sim.deliveries if d.message_id]
            assert statuses[: len(texts)] == [202] * len(texts)

    def say_and_wait_for_the_provider(self, texts: t.Sequence[str]) -> None:
        self.say(texts)
        self.sim.wait_until(self.questions, timeout=20)

    def wait_for_replies(self, jobs: int = 1, *, serves: bool = True) -> list[str]:
        """Wait until there is a reply, and that many jobs, all of which have ended.

        :param serves: Whether gunicorn runs, and must do so again.
        :return: All replies.
        """

        def settled() -> bool:
            return len(self.jobs()) == jobs and self.all_ended()

        self.sim.wait_until(
            lambda: (not serves or self.poke()) and self.talk.replies and settled(),
            timeout=20,
        )
        self.sim.drain()

        return self.talk.replies


Start = t.Callable[..., Host]


@pytest.fixture
def make_host(tmp_path: Path) -> t.Iterator[Start]:
    """Makes a host that runs in front of a simulator."""
    with ExitStack() as stack:

        def make(
            texts: t.Sequence[str] = ONE,
            crew: str = "web",
            *,
            caller: str = "user",
            workers: int = 1,
            **env: str,
        ) -> Host:
            window = {"CHATWOOT_BURST_WINDOW": "1"} if len(texts) > 1 else {}
            sim = stack.enter_context(Simulator())
            window["CHATWOOT_API_ACCESS_TOKEN"] = getattr(sim, f"{caller}_token")
            host = Host(sim, tmp_path, **window, **env)
            stack.callback(host.close)
            host.serve(crew, workers=workers)

            return host

        yield make


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """The file for which the provider waits if the host has its name."""
    return tmp_path / "gate"


def new_talk(sim: Simulator) -> Talk:
    return sim.conversation(custom_attributes={"support_mode": "bot"})


# -- one message -----------------------------------------------------------------


def test_killed_on_receipt_nothing_is_acknowledged_or_stored(make_host: Start) -> None:
    host = make_host(CRASH_AT="received")
    host.say(ONE)
    assert host.statuses() == [None]
    assert not host.database_path.exists() or host.jobs() == []

    host.sim.deliver(host.talk.messages[0])
    assert host.wait_for_replies() == [reply_to(ONE)]


def test_killed_after_storing_a_repeat_is_a_duplicate(make_host: Start) -> None:
    host = make_host(CRASH_AT="stored", CHATWOOT_WORKERS="0")
    host.say(ONE)
    host.work()
    host.sim.deliver(host.talk.messages[0])

    assert host.wait_for_replies() == [reply_to(ONE)]
    assert host.statuses()[:2] == [None, 200]


def test_killed_after_the_answer_another_process_replies(make_host: Start) -> None:
    host = make_host(CHATWOOT_WORKERS="0")
    host.say(ONE)
    assert [job.state for job in host.jobs()] == ["ready"]
    host.refuse()
    host.work()

    assert host.wait_for_replies(serves=False) == [reply_to(ONE)]
    assert host.statuses()[0] == 202


def test_a_worker_finishes_its_turn_after_sigterm(make_host: Start, gate: Path) -> None:
    host = make_host(GATE=str(gate))
    worker = host.poke()
    host.say_and_wait_for_the_provider(ONE)
    os.kill(worker, signal.SIGTERM)
    assert host.talk.replies == []
    gate.touch()

    assert host.wait_for_replies() == [reply_to(ONE)]
    assert len(host.questions()) == 1


# -- one message or a burst ------------------------------------------------------

SITUATIONS: t.Final[dict[str, tuple[list[str], str]]] = {
    "one message": (ONE, "web"),
    "burst": (BURST, "web"),
    "burst, two workers": (BURST, "two workers"),
}


@pytest.mark.parametrize(("texts", "crew"), SITUATIONS.values(), ids=SITUATIONS)
@pytest.mark.parametrize(
    ("place", "asked"), [("claimed", 2), ("kept", 1), ("posted", 1)]
)
def test_killed_in_a_turn_only_a_question_without_an_answer_is_repeated(
    make_host: Start, texts: list[str], crew: str, place: str, asked: int
) -> None:
    host = make_host(texts, crew, CRASH_AT=place)
    host.say(texts)

    assert host.wait_for_replies() == [reply_to(texts)]
    host.sim.wait_until(host.crashed.exists, timeout=20)
    assert len(host.questions()) == asked
    assert [job.outcome for job in host.jobs()] == ["replied"]


CALLERS: t.Final = {
    **{name: (*each, "user") for name, each in SITUATIONS.items()},
    "one message, bot": (ONE, "web", "bot"),
}


@pytest.mark.parametrize(("texts", "crew", "caller"), CALLERS.values(), ids=CALLERS)
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HANG_AFTER])
def test_killed_while_waiting_for_chatwoot_the_post_is_looked_for(
    make_host: Start, texts: list[str], crew: str, caller: str, fault: Fault
) -> None:
    """HANG: the request had no effect. HANG_AFTER: the message was created."""
    host = make_host(texts, crew, caller=caller)
    host.sim.inject(fault)
    host.say(texts)

    def sent() -> object:
        if fault is Fault.HANG:
            # It has come and gets no answer; the next one would get one.
            return any(call.fault is fault for call in host.sim.calls)

        # A bot's only evidence is the echo, which has to come back first.
        return host.talk.replies if len(texts) > 1 else len(host.statuses()) == 2

    host.sim.wait_until(sent, timeout=20)
    os.kill(host.asker(), signal.SIGKILL)

    assert host.wait_for_replies() == [reply_to(texts)]
    assert len(host.questions()) == 1


# -- bursts --------------------------------------------------------------------


def test_killed_between_messages_of_a_burst_there_is_one_reply(
    make_host: Start,
) -> None:
    host = make_host(CRASH_AT="stored", CHATWOOT_WORKERS="0")

    for text in BURST:
        host.talk.customer_says(text)

    redeliver_until_accepted(host.sim, [host.talk])
    assert host.crashed.exists()
    assert None in host.statuses()
    host.work(2)

    (reply,) = host.wait_for_replies()
    assert sorted(answered(host.talk)) == sorted(BURST)
    assert reply.startswith("Answer to ")


@pytest.mark.parametrize("crew", ["web", "two workers"])
def test_killed_while_a_burst_waits_for_the_turn_before_it(
    make_host: Start, crew: str, gate: Path
) -> None:
    host = make_host(crew=crew, GATE=str(gate))
    host.say_and_wait_for_the_provider(BURST[:1])
    host.say(BURST[1:])
    os.kill(host.asker(), signal.SIGKILL)
    gate.touch()

    replies = host.wait_for_replies(jobs=2)
    assert replies == [reply_to(BURST[:1]), reply_to(BURST[1:])]
    assert len(host.questions()) == 3


# -- everything at once ----------------------------------------------------------


def test_workers_that_die_often_answer_once_and_in_order(make_host: Start) -> None:
    host = make_host(workers=2, CHATWOOT_MAX_ATTEMPTS="50", CHATWOOT_WORKERS="8")
    host.work(2)
    chance = random.Random(7)  # noqa: S311 - the same story each time
    faults = [
        Fault.CUT_AFTER, Fault.CUT_BEFORE, Fault.SERVER_ERROR, Fault.RATE_LIMITED
    ]  # fmt: skip
    talks = [new_talk(host.sim) for _ in range(20)]

    for number in range(5):
        for talk in talks:
            talk.customer_says(f"{number}")

        host.sim.inject(chance.choice(faults), times=3)

        if chance.random() < 0.5:
            os.kill(host.poke(), signal.SIGKILL)
        else:
            host.kill(1)
            host.work()

    redeliver_until_accepted(host.sim, talks)
    host.sim.wait_until(
        lambda: host.poke() and sum(len(answered(talk)) for talk in talks) >= 100,
        timeout=60,
    )
    host.sim.wait_until(lambda: host.poke() and host.all_ended(), timeout=20)

    for talk in talks:
        assert sorted(answered(talk)) == [str(number) for number in range(5)]
        assert in_order(host.sim, talk)


def answered(talk: Talk) -> list[str]:
    """The messages that were answered, whether alone or together."""
    texts = [reply.removeprefix("Answer to ") for reply in talk.replies]
    return [line for text in texts for line in text.splitlines()]


def in_order(sim: Simulator, talk: Talk) -> bool:
    """Whether replies follow the messages whose first delivery was acknowledged."""
    first = {d.message_id: d.status for d in reversed(sim.deliveries)}
    expected = [
        message.content
        for message in talk.messages
        if message not in talk.posted and first[message.id] == 202
    ]

    return [text for text in answered(talk) if text in expected] == expected


def redeliver_until_accepted(sim: Simulator, talks: list[Talk]) -> None:
    """Repeat what was not acknowledged, as Chatwoot does."""
    messages = [message for talk in talks for message in talk.messages]
    deadline = time.monotonic() + 30

    while time.monotonic() < deadline:
        sim.drain()
        accepted = {d.message_id for d in sim.deliveries if d.status in (200, 202)}
        lost = [message for message in messages if message.id not in accepted]

        if not lost:
            return

        for message in lost:
            sim.deliver(message)

    raise AssertionError("Some deliveries were never acknowledged.")


# -- drafts that are compared ------------------------------------------------------


def draft_and_reply(host: Host) -> None:
    """Let a note be posted by a worker that is killed then, and an operator reply."""
    talk = host.sim.conversation(custom_attributes={"support_mode": "human"})
    host.work()
    talk.customer_says(ONE[0])
    host.sim.wait_until(lambda: talk.notes and host.all_ended(), timeout=20)
    host.kill(1)
    host.sim.drain()
    talk.operator_says(talk.notes[0])
    host.sim.drain()


def test_a_reply_that_was_stored_is_compared_once_after_a_restart(
    make_host: Start,
) -> None:
    host = make_host(CHATWOOT_WORKERS="0", CHATWOOT_DRAFT_FEEDBACK="true")
    draft_and_reply(host)
    assert host.reviewed() == [1, 0]
    host.kill()
    host.work(2)

    host.sim.wait_until(host.verdicts, timeout=20)
    assert (host.verdicts(), host.reviewed()) == (["used"], [0, 1])


def test_killed_after_the_verdict_it_is_counted_once_and_not_sent_again(
    make_host: Start,
) -> None:
    host = make_host(
        CHATWOOT_WORKERS="0", CHATWOOT_DRAFT_FEEDBACK="true", CRASH_AT="reviewed"
    )
    draft_and_reply(host)
    host.work(2)

    host.sim.wait_until(host.crashed.exists, timeout=20)
    assert (host.verdicts(), host.reviewed()) == ([], [0, 1])
