"""Real processes, really killed: every row of the crash table ends with one reply."""

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
from support.queue import open_store

from flask_chatwoot.queue.inspection import JobRow
from flask_chatwoot.simulator import Fault, Simulator, Talk

pytest.importorskip("gunicorn", reason="needs gunicorn to run real processes")

HERE = Path(__file__).parent
ANSWER = "Answer to Where is my order?"


class Host:
    """The app of ``crash_app`` under gunicorn, behind a socket that outlives it."""

    def __init__(self, sim: Simulator, folder: Path, **env: str) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._processes: list[subprocess.Popen[bytes]] = []
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self.asked = folder / "asked"
        self.crashed = folder / "crashed"
        self.database_path = str(folder / "chatwoot.sqlite3")
        self._account_id = sim.account_id
        self._env = {
            **os.environ,
            **{key: str(value) for key, value in sim.settings().items()},
            "ASKED": str(self.asked),
            "CRASH_MARK": str(self.crashed),
            "CHATWOOT_DATABASE_URL": f"sqlite:///{self.database_path}",
            "CHATWOOT_LEASE": "1",
            "CHATWOOT_RETRY_PAUSE": "0.1",
            "CHATWOOT_SETTLE_TIME": "1.5",
            "CHATWOOT_TIMEOUT": "20",
            **env,
        }
        sim.connect(f"{self.url}/chatwoot/webhook")

    def serve(self, *, workers: int = 1, **env: str) -> None:
        """Start gunicorn, which replaces workers that die."""
        fd = self._socket.fileno()
        self._start(
            "-m", "gunicorn", "--bind", f"fd://{fd}", "--workers", str(workers),
            "--worker-class", "gthread", "--threads", "4", "--log-level", "error",
            "--graceful-timeout", "5", "crash_app:app",
            pass_fds=[fd], env=env,
        )  # fmt: skip
        self.poke()

    def work(self, **env: str) -> None:
        """Start ``flask chatwoot work``."""
        self._start("-m", "flask", "--app", "crash_app.py", "chatwoot", "work", env=env)

    def _start(
        self, *args: str, env: t.Mapping[str, str], pass_fds: t.Sequence[int] = ()
    ) -> None:
        self._processes.append(
            subprocess.Popen(
                [sys.executable, *args],
                cwd=HERE,
                env={**self._env, **env},
                pass_fds=pass_fds,
                process_group=0,
                stdout=subprocess.DEVNULL,
            )
        )

    def poke(self) -> int:
        """Make a request, as any visitor would; the worker's process id."""
        for _ in range(100):
            try:
                return int(requests.get(f"{self.url}/pid", timeout=5).text)
            except requests.RequestException:  # died while it had our request
                continue

        raise AssertionError("The host does not come up.")

    def kill(self) -> None:
        """Kill every process of the host at once."""
        for process in self._processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)

            process.wait(10)

        self._processes.clear()

    def jobs(self) -> list[JobRow]:
        store = open_store(self.database_path, account_id=self._account_id)

        try:
            return store.inspection.jobs()
        finally:
            store.database.close()

    def all_ended(self) -> bool:
        return {job.state for job in self.jobs()} <= {"done", "dead"}

    def settled(self, count: int = 1) -> bool:
        return len(self.jobs()) == count and self.all_ended()

    def questions(self) -> list[str]:
        """The newest message of each turn a provider was asked about, and by whom."""
        return self.asked.read_text().split() if self.asked.exists() else []

    def asker(self) -> int:
        """The id of the process that asked last."""
        return int(self.questions()[-1].partition(":")[2])

    def close(self) -> None:
        self.kill()
        self._socket.close()


@pytest.fixture
def stage(tmp_path: Path) -> t.Iterator[t.Callable[..., tuple[Simulator, Host]]]:
    """Makes a simulator and a host that is not running yet."""
    with ExitStack() as stack:

        def make(**env: str) -> tuple[Simulator, Host]:
            sim = stack.enter_context(Simulator())
            host = Host(sim, tmp_path, **env)
            stack.callback(host.close)

            return sim, host

        yield make


Stage = t.Callable[..., tuple[Simulator, Host]]


def asks(sim: Simulator) -> Talk:
    talk = sim.conversation(custom_attributes={"support_mode": "bot"})
    talk.customer_says("Where is my order?")

    return talk


def test_killed_on_receipt_nothing_was_acknowledged_and_nothing_is_stored(
    stage: Stage,
) -> None:
    sim, host = stage(CRASH_AT="received")
    host.serve()

    talk = asks(sim)
    sim.drain()

    assert [delivery.status for delivery in sim.deliveries] == [None]
    assert not Path(host.database_path).exists() or host.jobs() == []

    sim.deliver(talk.messages[0])
    sim.wait_until(lambda: talk.replies and host.settled(), timeout=20)

    assert talk.replies == [ANSWER]


def test_killed_after_storing_before_answering_a_repeat_is_a_duplicate(
    stage: Stage,
) -> None:
    sim, host = stage(CRASH_AT="stored", CHATWOOT_WORKERS="0")
    host.serve()

    talk = asks(sim)
    sim.drain()
    host.work()
    sim.deliver(talk.messages[0])
    sim.wait_until(lambda: talk.replies and host.settled(), timeout=20)
    sim.drain()

    assert [delivery.status for delivery in sim.deliveries][:2] == [None, 200]
    assert talk.replies == [ANSWER]


def test_killed_after_the_acknowledgement_another_process_answers(stage: Stage) -> None:
    sim, host = stage(CHATWOOT_WORKERS="0")
    host.serve()

    talk = asks(sim)
    sim.drain()
    assert [job.state for job in host.jobs()] == ["ready"]
    host.kill()
    host.work()
    sim.wait_until(lambda: talk.replies and host.settled(), timeout=20)

    assert sim.deliveries[0].status == 202
    assert talk.replies == [ANSWER]


def test_killed_in_the_provider_the_next_worker_asks_again(stage: Stage) -> None:
    sim, host = stage(CRASH_AT="claimed")
    host.serve()

    talk = asks(sim)
    sim.wait_until(lambda: host.poke() and talk.replies and host.settled(), timeout=20)

    assert talk.replies == [ANSWER]
    assert len(host.questions()) == 2


@pytest.mark.parametrize("place", ["kept", "posted"])
def test_killed_around_the_post_the_provider_is_not_asked_again(
    stage: Stage, place: str
) -> None:
    sim, host = stage(CRASH_AT=place)
    host.serve()

    talk = asks(sim)
    sim.wait_until(lambda: host.poke() and talk.replies and host.settled(), timeout=20)

    assert talk.replies == [ANSWER]
    assert len(host.questions()) == 1
    assert [job.outcome for job in host.jobs()] == ["replied"]


@pytest.mark.parametrize("token", ["user", "bot"])
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HANG_AFTER])
def test_killed_while_waiting_for_chatwoot_the_post_is_looked_for(
    stage: Stage, token: t.Literal["user", "bot"], fault: Fault
) -> None:
    """HANG: the request had no effect. HANG_AFTER: the message was made."""
    sim, host = stage()
    sim.inject(fault)
    host.serve(
        CHATWOOT_API_ACCESS_TOKEN=sim.user_token if token == "user" else sim.bot_token
    )

    talk = asks(sim)

    if fault is Fault.HANG_AFTER:
        # The echo has come back, or a bot would have no evidence at all.
        sim.wait_until(lambda: len(sim.deliveries) == 2, timeout=20)
    else:
        sim.wait_until(lambda: hangs(sim), timeout=20)

    os.kill(host.poke(), signal.SIGKILL)
    sim.wait_until(lambda: host.poke() and talk.replies and host.settled(), timeout=20)

    assert talk.replies == [ANSWER]
    assert len(host.questions()) == 1


def hangs(sim: Simulator) -> bool:
    """Whether a request has come and gets no answer; the next one would get one."""
    return any(call.fault is Fault.HANG for call in sim.calls)


def test_a_worker_told_to_stop_finishes_its_turn(stage: Stage, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    sim, host = stage(GATE=str(gate))
    host.serve()
    worker = host.poke()

    talk = asks(sim)
    sim.wait_until(host.questions, timeout=20)
    os.kill(worker, signal.SIGTERM)
    assert talk.replies == []
    gate.touch()
    sim.wait_until(lambda: host.poke() and talk.replies and host.settled(), timeout=20)

    assert talk.replies == [ANSWER]
    assert len(host.questions()) == 1


# -- bursts --------------------------------------------------------------------

TEXTS = ["Hello?", "My parcel", "is late.", "Number 7.", "Where is it?"]
BURST = "Answer to " + "\n".join(TEXTS)


def write_on(talk: Talk, texts: t.Iterable[str]) -> None:
    for text in texts:
        talk.customer_says(text)


def bursts(sim: Simulator) -> Talk:
    """Five messages at once, all of them acknowledged."""
    talk = sim.conversation(custom_attributes={"support_mode": "bot"})
    write_on(talk, TEXTS)
    sim.drain()
    assert [d.status for d in sim.deliveries if d.message_id][:5] == [202] * 5

    return talk


CREWS = ("web", "two workers")


def start(crew: str, host: Host) -> None:
    """Let gunicorn's worker answer, or two processes of their own beside it."""
    if crew == "web":
        host.serve()
        return

    host.serve(CHATWOOT_WORKERS="0")
    host.work()
    host.work()


@pytest.mark.parametrize("crew", CREWS)
@pytest.mark.parametrize(
    ("place", "asked"), [("claimed", 2), ("kept", 1), ("posted", 1)]
)
def test_killed_in_a_turn_over_a_burst_there_is_one_reply(
    stage: Stage, crew: str, place: str, asked: int
) -> None:
    sim, host = stage(CRASH_AT=place, CHATWOOT_BURST_WINDOW="1")
    start(crew, host)

    talk = bursts(sim)
    sim.wait_until(lambda: host.poke() and talk.replies and host.settled(), timeout=20)
    sim.drain()

    assert host.crashed.exists()
    assert talk.replies == [BURST]
    assert len(host.questions()) == asked
    assert [job.outcome for job in host.jobs()] == ["replied"]


def test_killed_between_the_messages_of_a_burst_there_is_one_reply(
    stage: Stage,
) -> None:
    sim, host = stage(CRASH_AT="stored", CHATWOOT_WORKERS="0")
    host.serve()

    talk = sim.conversation(custom_attributes={"support_mode": "bot"})
    write_on(talk, TEXTS)
    redeliver_until_accepted(sim, [talk])
    assert host.crashed.exists()
    assert None in [delivery.status for delivery in sim.deliveries]

    host.work()
    host.work()
    sim.wait_until(lambda: talk.replies and host.settled(), timeout=20)
    sim.drain()

    (reply,) = talk.replies
    assert sorted(answered(talk)) == sorted(TEXTS)
    assert reply.startswith("Answer to ")


@pytest.mark.parametrize("crew", CREWS)
@pytest.mark.parametrize("fault", [Fault.HANG, Fault.HANG_AFTER])
def test_killed_while_the_reply_to_a_burst_is_sent_there_is_one_reply(
    stage: Stage, crew: str, fault: Fault
) -> None:
    sim, host = stage(CHATWOOT_BURST_WINDOW="1")
    sim.inject(fault)
    start(crew, host)

    talk = bursts(sim)
    sim.wait_until(
        lambda: talk.replies if fault is Fault.HANG_AFTER else hangs(sim),
        timeout=20,
    )
    os.kill(host.asker(), signal.SIGKILL)
    sim.wait_until(lambda: host.poke() and talk.replies and host.settled(), timeout=20)
    sim.drain()

    assert talk.replies == [BURST]
    assert len(host.questions()) == 1


@pytest.mark.parametrize("crew", CREWS)
def test_killed_while_a_burst_waits_for_the_turn_before_it(
    stage: Stage, crew: str, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    sim, host = stage(GATE=str(gate))
    start(crew, host)

    talk = sim.conversation(custom_attributes={"support_mode": "bot"})
    write_on(talk, TEXTS[:1])
    sim.wait_until(host.questions, timeout=20)
    write_on(talk, TEXTS[1:])
    sim.drain()
    os.kill(host.asker(), signal.SIGKILL)
    gate.touch()
    sim.wait_until(lambda: host.poke() and host.settled(2), timeout=20)
    sim.drain()

    assert talk.replies == [
        f"Answer to {TEXTS[0]}",
        "Answer to " + "\n".join(TEXTS[1:]),
    ]
    assert len(host.questions()) == 3


# -- all of it -----------------------------------------------------------------


def test_workers_that_die_all_the_time_answer_every_message_once_and_in_order(
    stage: Stage,
) -> None:
    sim, host = stage(CHATWOOT_MAX_ATTEMPTS="50", CHATWOOT_WORKERS="8")
    host.serve(workers=2)
    host.work()
    host.work()
    chance = random.Random(7)  # noqa: S311 - a story that can be told again
    faults = [
        Fault.CUT_AFTER, Fault.CUT_BEFORE, Fault.SERVER_ERROR, Fault.RATE_LIMITED
    ]  # fmt: skip
    talks = [
        sim.conversation(custom_attributes={"support_mode": "bot"}) for _ in range(20)
    ]

    for number in range(5):
        for talk in talks:
            talk.customer_says(f"{number}")

        sim.inject(chance.choice(faults), times=3)
        kill_one(host, chance)

    redeliver_until_accepted(sim, talks)
    sim.wait_until(
        lambda: host.poke() and sum(len(answered(talk)) for talk in talks) >= 100,
        timeout=60,
    )
    sim.wait_until(lambda: host.poke() and host.all_ended(), timeout=20)

    for talk in talks:
        assert sorted(answered(talk)) == [str(number) for number in range(5)]
        assert in_order(sim, talk)


def answered(talk: Talk) -> list[str]:
    """The messages that were answered, whether alone or together."""
    return [
        text
        for reply in talk.replies
        for text in reply.removeprefix("Answer to ").splitlines()
    ]


def in_order(sim: Simulator, talk: Talk) -> bool:
    """Whether replies follow the messages whose first delivery was acknowledged."""
    first = {d.message_id: d.status for d in reversed(sim.deliveries)}
    expected = [
        message.content
        for message in talk.messages
        if message not in talk.posted and first[message.id] == 202
    ]

    return [text for text in answered(talk) if text in expected] == expected


def kill_one(host: Host, chance: random.Random) -> None:
    """Kill a web worker, or a worker process, which is then started anew."""
    if chance.random() < 0.5:
        os.kill(host.poke(), signal.SIGKILL)
        return

    worker = host._processes.pop()
    os.killpg(worker.pid, signal.SIGKILL)
    worker.wait(10)
    host.work()


def redeliver_until_accepted(sim: Simulator, talks: list[Talk]) -> None:
    """What was not acknowledged is Chatwoot's to repeat; pretend that it does."""
    deadline = time.monotonic() + 30

    while time.monotonic() < deadline:
        sim.drain()
        accepted = {d.message_id for d in sim.deliveries if d.status in (200, 202)}
        lost = [
            message
            for talk in talks
            for message in talk.messages
            if message.id not in accepted
        ]

        if not lost:
            return

        for message in lost:
            sim.deliver(message)

    raise AssertionError("Some deliveries were never acknowledged.")
