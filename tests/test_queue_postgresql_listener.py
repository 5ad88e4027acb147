"""What wakes the workers of other machines, and where it does not arrive."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import threading
import time
import typing as t
import uuid

import psycopg
import pytest
from support.postgresql import Program, pgbouncer, postgresql
from support.waiting import wait_until

from flask_chatwoot.queue.postgresql import listener as module
from flask_chatwoot.queue.postgresql.listener import Listener, Notifier
from flask_chatwoot.queue.postgresql.own_connection import LIMIT

SOON: t.Final = 0.9
"""Seconds: sooner than a worker that looks every second."""

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX"),
]


@pytest.fixture(scope="module")
def server() -> t.Iterator[Program]:
    with postgresql() as server:
        yield server


@pytest.fixture
def schema() -> str:
    """It need not exist to name a channel; this name must be quoted."""
    return f"Wärme {uuid.uuid4().hex[:8]}"


def connecting_to(program: Program, name: str) -> t.Callable[[], psycopg.Connection]:
    return lambda: program.connect(connect_timeout=2, application_name=name)


class Ear(Listener):
    """Counts how often it was called back.

    :ivar calls: When, by the monotonic clock.
    """

    def __init__(self, program: Program, schema: str) -> None:
        self.calls: list[float] = []
        super().__init__(
            connecting_to(program, "listener"),
            schema,
            lambda: self.calls.append(time.monotonic()),
        )

    def is_listening(self) -> bool:
        """Still true some seconds after a connection was lost without a sign."""
        silence = time.monotonic() - self._heard_at
        longest = module._PING_EVERY + LIMIT + 0.5

        return self._connection is not None and silence < longest


class Listen(t.Protocol):
    def __call__(self, program: Program | None = None) -> Ear: ...


@pytest.fixture
def listen(server: Program, schema: str) -> t.Iterator[Listen]:
    """Starts listeners; a direct one listens when it is returned."""
    with contextlib.ExitStack() as stack:

        def make(program: Program | None = None) -> Ear:
            ear = Ear(program or server, schema)
            stack.callback(end, ear)
            ear.start()

            if program is None:
                wait_until(lambda: ear.calls and ear.is_listening())

            return ear

        yield make


def end(ear: Ear) -> None:
    ear.stop()
    wait_until(lambda: ear._thread._thread is None)


@pytest.fixture
def notifier(
    server: Program, schema: str, monkeypatch: pytest.MonkeyPatch
) -> t.Iterator[Notifier]:
    monkeypatch.setattr(module, "_IDLE", 0.3)
    notifier = Notifier(connecting_to(server, "notifier"), schema)
    yield notifier
    wait_until(lambda: notifier._thread._thread is None)


def called_after(ear: Ear, act: t.Callable[[], object]) -> float:
    """Seconds until it calls back."""
    before, since = len(ear.calls), time.monotonic()
    act()
    wait_until(lambda: len(ear.calls) > before)

    return time.monotonic() - since


def connections(server: Program, name: str) -> int:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"

    return int(server.execute(sql, name)[0][0])


# -- notifications -----------------------------------------------------------------


def test_a_notification_reaches_every_listener_at_once(
    listen: Listen, notifier: Notifier
) -> None:
    ears = [listen(), listen()]
    assert [ear.works for ear in ears] == [True, True]

    assert called_after(ears[0], notifier.notify) < SOON
    wait_until(lambda: len(ears[1].calls) == 2)


def test_probes_of_others_call_nobody_back(listen: Listen) -> None:
    first = listen()
    listen()

    assert len(first.calls) == 1  # when it connected


def test_many_at_once_are_few_and_the_last_is_not_lost(
    server: Program, schema: str, notifier: Notifier
) -> None:
    arrived: list[float] = []
    sent: list[float] = []

    with server.connect() as connection:
        connection.execute(f'LISTEN "{schema}"')

        def ask() -> None:
            until = time.monotonic() + 0.5

            while time.monotonic() < until:
                sent.append(time.monotonic())
                notifier.notify()
                time.sleep(0.0005)

        threads = [threading.Thread(target=ask) for _ in range(3)]

        for each in threads:
            each.start()

        for _ in connection.notifies(timeout=1.0):
            arrived.append(time.monotonic())

        for each in threads:
            each.join()

    first, last = min(sent), max(sent)
    assert 3 <= len(arrived) <= (last - first) / 0.05 + 2
    assert arrived[-1] > last


def test_its_thread_and_connection_end_when_there_is_nothing_to_send(
    server: Program, notifier: Notifier
) -> None:
    assert connections(server, "notifier") == 0

    def sends() -> bool:
        notifier.notify()  # each time, as it ends soon
        return connections(server, "notifier") == 1

    wait_until(sends)
    wait_until(lambda: notifier._thread._thread is None)
    wait_until(lambda: connections(server, "notifier") == 0)


@pytest.mark.slow
def test_to_notify_never_blocks_and_never_fails(
    server: Program, schema: str, listen: Listen, notifier: Notifier
) -> None:
    ear = listen()
    called_after(ear, notifier.notify)

    def duration() -> float:
        time.sleep(0.005)
        since = time.monotonic()
        notifier.notify()

        return time.monotonic() - since

    with server.frozen():
        slowest = max(duration() for _ in range(300))

    server.stop()
    slowest = max(slowest, *(duration() for _ in range(50)))
    server.start()

    assert slowest < 1.0  # to connect takes 2 s at most
    wait_until(ear.is_listening)
    assert called_after(ear, notifier.notify) < 2.5


def test_a_cut_connection_loses_no_notification(
    server: Program, listen: Listen, notifier: Notifier
) -> None:
    ear = listen()

    def is_cut() -> bool:
        """Its connection; it may have ended by itself."""
        called_after(ear, notifier.notify)
        return server.cut("notifier") == 1

    for _ in range(3):
        wait_until(is_cut)
        assert called_after(ear, notifier.notify) < SOON


# -- listeners ---------------------------------------------------------------------


def test_nothing_runs_before_it_is_started_and_after_it_is_stopped(
    server: Program, schema: str
) -> None:
    ear = Ear(server, schema)
    assert (ear.works, ear.is_listening(), ear._thread._thread) == (None, False, None)

    for _ in range(2):
        ear.start()
        wait_until(ear.is_listening)
        assert connections(server, "listener") == 1
        end(ear)
        assert not ear.is_listening()
        wait_until(lambda: connections(server, "listener") == 0)

    assert len(ear.calls) == 2


def test_after_a_cut_it_calls_back_since_some_may_be_lost(
    server: Program, listen: Listen, notifier: Notifier
) -> None:
    ear = listen()

    for _ in range(3):
        assert called_after(ear, lambda: server.cut("listener")) < 1.0
        wait_until(ear.is_listening)
        assert called_after(ear, notifier.notify) < SOON


@pytest.mark.slow
def test_a_connection_that_is_lost_without_a_sign_is_noticed(
    server: Program, listen: Listen
) -> None:
    ear = listen()

    with server.frozen():
        wait_until(lambda: not ear.is_listening())

    assert called_after(ear, lambda: None) < 3.0
    assert (ear.is_listening(), ear.works) == (True, True)


@pytest.mark.slow
def test_it_is_there_again_after_the_server_was_away(
    server: Program, listen: Listen, notifier: Notifier
) -> None:
    ear = listen()
    server.stop()
    wait_until(lambda: not ear.is_listening())
    assert called_after(ear, server.start) < 3.0
    assert called_after(ear, notifier.notify) < 2.0


@pytest.mark.slow
def test_a_server_that_stands_still_during_the_probe_proves_nothing(
    server: Program, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second connection is that of the sender."""
    ear, frozen = Ear(server, schema), threading.Event()
    connect, connected = ear._connect, itertools.count(1)

    def freeze_before_the_probe() -> psycopg.Connection:
        if next(connected) == 2:
            server.freeze()
            frozen.set()

        return connect()

    monkeypatch.setattr(ear, "_connect", freeze_before_the_probe)
    ear.start()
    wait_until(frozen.is_set)
    wait_until(lambda: ear._failed)
    server.thaw()
    assert ear.works is None

    wait_until(ear.is_listening)
    end(ear)


def test_a_forked_process_has_neither_connection_nor_thread(
    server: Program, listen: Listen, notifier: Notifier
) -> None:
    ear = listen()
    called_after(ear, notifier.notify)
    calls = len(ear.calls)

    if (pid := os.fork()) == 0:  # the child
        is_clean = not ear.is_listening() and ear._thread._thread is None
        notifier.notify()
        wait_until(lambda: notifier._thread._thread is None)  # it has sent it
        os._exit(0 if is_clean else 1)

    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0

    # The child's notification arrives at the parent, whose connections still work.
    wait_until(lambda: len(ear.calls) > calls)
    assert called_after(ear, notifier.notify) < SOON
    assert connections(server, "listener") == 1


# -- poolers -----------------------------------------------------------------------


@pytest.mark.slow
def test_where_a_pooler_has_no_sessions_it_gives_up(
    server: Program, listen: Listen
) -> None:
    with pgbouncer(server) as pooler:
        ear = listen(pooler)
        wait_until(lambda: ear.works is False)
        wait_until(lambda: ear._thread._thread is None)

        assert (ear.calls, ear.is_listening()) == ([], False)
        ear.start()
        assert ear._thread._thread is None


@pytest.mark.slow
def test_where_a_pooler_has_sessions_it_works(
    server: Program, listen: Listen, notifier: Notifier
) -> None:
    with pgbouncer(server, mode="session") as pooler:
        ear = listen(pooler)
        wait_until(ear.is_listening)
        assert called_after(ear, notifier.notify) < SOON
        end(ear)


def test_notifications_pass_a_pooler_that_has_no_sessions(
    server: Program, schema: str, listen: Listen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_IDLE", 0.1)
    ear = listen()

    with pgbouncer(server) as pooler:
        through = Notifier(connecting_to(pooler, "notifier"), schema)

        for _ in range(3):
            assert called_after(ear, through.notify) < SOON

        wait_until(lambda: through._thread._thread is None)
