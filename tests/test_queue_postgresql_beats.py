"""Which processes that share a PostgreSQL live, and which have died."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import typing as t
import uuid
from pathlib import Path

import psycopg
import pytest
from support.postgresql import DATABASE, HOST, USER, Program, pgbouncer, postgresql
from support.relay import Relay
from support.waiting import wait_until

from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.queue.postgresql import beats as module
from flask_chatwoot.queue.postgresql.beats import (
    CREATE,
    IS_BEATING,
    IS_KEPT,
    LEASED_UNTIL,
    STEADY_AFTER,
    Beats,
)
from flask_chatwoot.queue.postgresql.database import PostgreSQLDatabase
from flask_chatwoot.queue.postgresql.own_connection import OwnConnection
from flask_chatwoot.queue.postgresql.url import parse
from flask_chatwoot.queue.store import Store

PROGRAM: t.Final = Path(__file__).parent / "support/programs/beating_process.py"
LEASE: t.Final = 30.0

pytestmark = [
    pytest.mark.postgresql,
    pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX"),
]


@pytest.fixture(scope="module")
def server() -> t.Iterator[Program]:
    with postgresql() as server:
        yield server


@pytest.fixture
def schema(server: Program) -> t.Iterator[str]:
    schema = f"s{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE SCHEMA {schema}")
    server.execute(CREATE.format(schema=schema))
    yield schema
    server.execute(f"DROP SCHEMA {schema} CASCADE")


def connecting_to(program: Program) -> t.Callable[[], psycopg.Connection]:
    """Opens connections whose name the tests know."""
    return lambda: program.connect(connect_timeout=2, application_name="beats")


def connecting_by(relay: Relay) -> t.Callable[[], psycopg.Connection]:
    return lambda: psycopg.connect(
        f"postgresql://{USER}@{HOST}:{relay.port}/{DATABASE}",
        autocommit=True,
        connect_timeout=2,
    )


class Enter(t.Protocol):
    def __call__(self, program: Program | None = None) -> Beats: ...


@pytest.fixture
def beats_of(server: Program, schema: str) -> t.Iterator[Enter]:
    """Makes processes within this one; each has entered."""
    with contextlib.ExitStack() as stack:

        def make(program: Program | None = None) -> Beats:
            beats = Beats(connecting_to(program or server), schema, 1, lease=LEASE)
            stack.callback(beats.leave)
            beats.enter()

            return beats

        yield make


class Process:
    """Another process that beats.

    :ivar said: The lines that it has written.
    """

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.said: list[str] = []
        self._popen = popen
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_until(lambda: self.said)

    def _read(self) -> None:
        assert self._popen.stdout is not None

        for line in self._popen.stdout:
            self.said.append(line.strip())

    @property
    def names(self) -> list[str]:
        return self._which("name")

    @property
    def dead(self) -> list[str]:
        return self._which("dead")

    def _which(self, kind: str) -> list[str]:
        return [line.split()[1] for line in self.said if line.startswith(kind)]

    def send(self, number: signal.Signals) -> None:
        self._popen.send_signal(number)

    def end(self) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.close()  # its child ends with that
        self._popen.kill()
        self._popen.wait(10)
        self._reader.join(10)


class Start(t.Protocol):
    def __call__(self, *options: str, lease: float = LEASE) -> Process: ...


@pytest.fixture
def start(server: Program, schema: str) -> t.Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def start(*options: str, lease: float = LEASE) -> Process:
            popen = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, PROGRAM, server.url, schema, str(lease), *options],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            process = Process(popen)
            stack.callback(process.end)

            return process

        yield start


def rows(server: Program, schema: str) -> set[str]:
    """Names that are in the table."""
    return {name for (name,) in selected(server, "name", f"{schema}.process")}


def selected(server: Program, columns: str, table: str) -> list[tuple[t.Any, ...]]:
    return server.execute(f"SELECT {columns} FROM {table}")


def connections(server: Program) -> int:
    sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'beats'"

    return int(server.execute(sql)[0][0])


def held(beats: Beats) -> contextlib.AbstractContextManager[t.Any]:
    """No beats for a block, as if the process were frozen."""
    return beats._lock


def watch(seconds: float, *processes: Beats) -> list[str]:
    """Those that any of the processes takes for dead within some seconds."""
    until, found = time.monotonic() + seconds, list[str]()

    while time.monotonic() < until:
        found += [name for each in processes for name in each.dead()]
        time.sleep(0.01)

    return found


def first_found(judge: Beats) -> t.Generator[str, None, None]:
    """A look that has found one, and has not gone on."""
    looks: list[t.Generator[str, None, None]] = []

    def look() -> bool:
        looks.append(t.cast(t.Generator[str, None, None], judge.dead()))
        return next(looks[-1], None) is not None

    wait_until(look)

    return looks[-1]


# -- a process and its row ---------------------------------------------------------


def test_a_process_has_a_row_a_thread_and_a_connection_only_while_it_has_entered(
    server: Program, schema: str
) -> None:
    beats = Beats(connecting_to(server), schema, 1)
    assert (rows(server, schema), connections(server)) == (set(), 0)
    assert (beats.is_beating(), list(beats.dead())) == (False, [])

    first = beats.enter()
    assert (beats.enter(), beats.is_beating()) == (first, True)
    assert (rows(server, schema), connections(server)) == ({first}, 1)

    beats.leave()
    assert (rows(server, schema), beats.is_beating()) == (set(), False)
    wait_until(lambda: connections(server) == 0)
    wait_until(lambda: beats._thread._thread is None)

    assert beats.enter() != first
    beats.leave()


def test_it_beats_twice_a_second(server: Program, schema: str, beats_of: Enter) -> None:
    beats_of()

    def beaten_at() -> float:
        return float(selected(server, "beaten_at", f"{schema}.process")[0][0])

    first = beaten_at()
    second = wait_until(lambda: (at := beaten_at()) > first and at)
    third = wait_until(lambda: (at := beaten_at()) > second and at)

    assert 0.4 < third - second < 1.0


def test_its_machine_is_in_the_row(
    server: Program, schema: str, beats_of: Enter
) -> None:
    beats_of()
    row = (1, LEASE, os.uname().nodename, os.getpid())

    assert selected(server, "account_id, lease, machine, pid", f"{schema}.process") == [
        row
    ]


def test_the_clock_of_the_database_is_compared_with_the_machines(
    server: Program, schema: str
) -> None:
    beats = Beats(connecting_to(server), schema, 1)

    assert abs(beats.skew()) < 0.1
    wait_until(lambda: connections(server) == 0)


@pytest.mark.slow
def test_a_forked_process_is_another_one(
    server: Program, schema: str, start: Start, beats_of: Enter
) -> None:
    judge = beats_of()
    process = start("fork")
    wait_until(lambda: len(process.names) == 2)

    assert watch(3.0, judge) == []
    assert rows(server, schema) == {*process.names, judge.enter()}
    assert len(set(process.names)) == 2
    assert "lost" not in process.said


# -- its connection ----------------------------------------------------------------


def test_a_connection_that_nobody_has_any_more_is_closed(server: Program) -> None:
    opened = connecting_to(server)()
    own = OwnConnection(lambda: opened)
    assert own.execute("SELECT 1") == [("1",)]
    assert not opened.closed

    del own
    gc.collect()
    assert opened.closed


def test_a_forked_process_does_not_close_the_connection_of_its_parent(
    server: Program,
) -> None:
    own = [OwnConnection(connecting_to(server))]
    session = own[0].execute("SELECT pg_backend_pid()")

    if (pid := os.fork()) == 0:  # the child
        own.clear()
        gc.collect()
        os._exit(0)

    os.waitpid(pid, 0)
    assert own[0].execute("SELECT pg_backend_pid()") == session


# -- death -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_process_is_noticed_within_three_seconds(
    server: Program, schema: str, start: Start
) -> None:
    victim, *others = start(), start(), start()
    wait_until(lambda: len(rows(server, schema)) == 3)
    time.sleep(STEADY_AFTER + 0.2)  # the others may judge then

    victim.send(signal.SIGKILL)
    killed_at = time.monotonic()
    wait_until(lambda: others[0].dead or others[1].dead)

    assert 1.0 < time.monotonic() - killed_at < 3.0
    wait_until(lambda: len(rows(server, schema)) == 2)
    assert {*others[0].dead, *others[1].dead} == {*victim.names}
    assert [len(each.names) for each in others] == [1, 1]


@pytest.mark.slow
def test_a_frozen_process_is_dead_and_goes_on_as_another(
    server: Program, schema: str, start: Start, beats_of: Enter
) -> None:
    judge, process = beats_of(), start()
    process.send(signal.SIGSTOP)
    assert wait_until(lambda: [*judge.dead()]) == process.names

    process.send(signal.SIGCONT)
    wait_until(lambda: len(process.names) == 2)

    assert rows(server, schema) == {judge.enter(), process.names[1]}
    # Whether it had time to say that it lost the old name: it never had that again.
    assert process.said[-1] == f"name {process.names[1]}"
    assert process.said[1:-1] in ([], ["lost"])
    assert watch(1.0, judge) == []


@pytest.mark.slow
def test_a_process_that_was_frozen_for_a_lease_is_another_even_if_nobody_judged(
    start: Start,
) -> None:
    process = start(lease=1.0)
    process.send(signal.SIGSTOP)
    time.sleep(1.5)
    process.send(signal.SIGCONT)

    wait_until(lambda: len(process.names) == 2)
    wait_until(lambda: process.dead == process.names[:1])


@pytest.mark.slow
def test_a_process_that_beats_after_the_look_keeps_its_row(
    server: Program, schema: str, beats_of: Enter
) -> None:
    judge, other = beats_of(), beats_of()
    name = other.enter()

    with held(other):
        found = first_found(judge)

    wait_until(other.is_beating)
    assert [*found] == []
    assert (other.enter(), name in rows(server, schema)) == (name, True)


@pytest.mark.slow
def test_a_row_stays_while_the_jobs_are_not_taken_over(
    server: Program, schema: str, beats_of: Enter
) -> None:
    judge, other = beats_of(), beats_of()
    name = other.enter()

    with held(other):
        found = first_found(judge)
        found.close()  # as an error of whoever looks does it
        assert name in rows(server, schema)

        assert wait_until(lambda: [*judge.dead()]) == [name]
        assert name not in rows(server, schema)


@pytest.mark.slow
def test_a_process_that_others_think_dead_knows_it_before_them(
    server: Program, schema: str, beats_of: Enter
) -> None:
    """Its network is stalled, and it claims nothing when others take its jobs."""
    with Relay(server.port) as relay:
        judge, other = beats_of(), Beats(connecting_by(relay), schema, 1)
        name = other.enter()
        wait_until(judge.is_steady)

        def found() -> list[str]:
            judge._step()  # as soon as one can be found, not twice a second
            dead = [*judge.dead()]
            assert not (dead and other.is_beating())

            return dead

        relay.stall()
        assert wait_until(found) == [name]

        relay.join()
        wait_until(other.is_beating, timeout=5.0)
        assert other.enter() != name
        assert not other.is_steady()
        other.leave()


def test_threads_that_wait_for_the_first_beat_share_its_error(schema: str) -> None:
    tries: list[float] = []

    def refuse() -> psycopg.Connection:
        tries.append(time.monotonic())
        time.sleep(0.2)
        raise psycopg.OperationalError

    beats, errors = Beats(refuse, schema, 1), list[DatabaseError]()

    def enter() -> None:
        with pytest.raises(DatabaseError) as caught:
            beats.enter()

        errors.append(caught.value)

    threads = [threading.Thread(target=enter) for _ in range(8)]

    for each in threads:
        each.start()

    for each in threads:
        each.join(10)

    assert (len(tries), len(errors)) == (1, 8)


# -- nobody is dead ----------------------------------------------------------------


@pytest.mark.slow
def test_a_frozen_server_kills_nobody(
    server: Program, schema: str, beats_of: Enter, start: Start
) -> None:
    processes, judge = [start(), start()], beats_of()
    wait_until(judge.is_steady)
    names = rows(server, schema)

    with server.frozen():
        assert watch(5.0, judge) == []
        assert not judge.is_beating()

    wait_until(judge.is_beating)
    assert not judge.is_steady()
    assert watch(STEADY_AFTER + 1.5, judge) == []
    assert [each.dead for each in processes] == [[], []]
    assert rows(server, schema) == names
    assert judge.is_steady()


@pytest.mark.slow
def test_cut_connections_kill_nobody(
    server: Program, schema: str, beats_of: Enter
) -> None:
    processes = [beats_of() for _ in range(4)]
    names = rows(server, schema)
    found: list[str] = []

    for _ in range(12):
        assert server.cut("beats") == 4
        found += watch(0.3, *processes)
        wait_until(lambda: connections(server) == 4)

    assert (found, rows(server, schema)) == ([], names)
    assert {each.enter() for each in processes} == names
    assert all(each.is_steady() for each in processes)


@pytest.mark.slow
def test_a_server_that_was_away_kills_nobody_and_meanwhile_nothing_is_claimed(
    server: Program, schema: str, beats_of: Enter
) -> None:
    processes = [beats_of() for _ in range(3)]
    names = rows(server, schema)

    for away in (0.0, 3.0):
        server.stop()
        assert watch(away, *processes) == []

        if away:
            with pytest.raises(DatabaseError, match="so it claims no jobs"):
                processes[0].enter()

        server.start()
        back_at = time.monotonic()
        wait_until(lambda: all(each.is_beating() for each in processes))
        assert time.monotonic() - back_at < 2.0
        assert watch(STEADY_AFTER + 1.0, *processes) == []
        assert {each.enter() for each in processes} == rows(server, schema) == names


@pytest.mark.slow
def test_a_turn_keeps_its_name_when_the_server_was_away_for_a_lease(
    server: Program, schema: str
) -> None:
    beats = Beats(connecting_to(server), schema, 1, lease=1.0)
    name = beats.enter()
    server.stop()
    time.sleep(2.0)
    server.start()

    wait_until(beats.is_beating)
    assert beats.enter() == name
    beats.leave()


def test_a_process_that_cannot_enter_says_why_without_secrets(schema: str) -> None:
    def refuse() -> psycopg.Connection:
        return psycopg.connect("postgresql://root:hunter2@127.0.0.1:1/x")

    beats = Beats(refuse, schema, 1)

    for attempt in (beats.enter, beats.skew):
        with pytest.raises(DatabaseError, match="OperationalError") as caught:
            attempt()

        assert "hunter2" not in repr(caught.value) + str(caught.value)

    beats.leave()


def test_a_table_that_is_missing_is_an_error_until_it_is_there(
    server: Program, schema: str
) -> None:
    server.execute(f"ALTER TABLE {schema}.process RENAME TO away")
    beats = Beats(connecting_to(server), schema, 1)

    with pytest.raises(DatabaseError, match="UndefinedTable"):
        beats.enter()

    server.execute(f"ALTER TABLE {schema}.away RENAME TO process")
    wait_until(lambda: has_entered(beats))
    beats.leave()


def has_entered(beats: Beats) -> bool:
    with contextlib.suppress(DatabaseError):
        return bool(beats.enter())

    return False


@pytest.mark.slow
def test_beats_pass_a_pooler_that_has_no_sessions(
    server: Program, schema: str, beats_of: Enter
) -> None:
    with pgbouncer(server) as pooler:
        processes = [beats_of(pooler) for _ in range(3)]
        names = rows(server, schema)

        for act in (server.cut, pooler.restart, server.restart):
            act()
            assert watch(1.0, *processes) == []

        assert watch(STEADY_AFTER, *processes) == []
        assert rows(server, schema) == names

        name = processes[0].enter()

        with held(processes[0]):
            assert wait_until(lambda: [*processes[1].dead()]) == [name]
            assert rows(server, schema) == names - {name}

        for each in processes:
            each.leave()


STEP: t.Final = 0.5


@pytest.mark.parametrize(
    ("pause", "jump", "is_gap"),
    [
        (STEP, 0.0, False),
        (1.1, 0.0, False),
        (1.5, 0.0, True),  # the database stood still, or this process
        (STEP, 0.5, False),
        (STEP, 30.0, True),  # somebody set the database's clock
        (STEP, -30.0, True),
    ],
)
def test_what_is_a_gap(
    pause: float, jump: float, is_gap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = module._Beat("a", at=100.0, steady_since=90.0, ahead=5.0, dead=[])
    monkeypatch.setattr(module, "_ticks", lambda: 100.0 + pause)
    row = (repr(100.0 + pause + 5.0 + jump), "b", "1.5")

    seen = module._next(last, 100.0 + pause, [row])

    assert seen.steady_since == (100.0 + pause if is_gap else 90.0)
    assert (seen.dead, seen.name) == ([("b", 1.5)], "a")


# -- leases ------------------------------------------------------------------------

NOW: t.Final = 1_000.0


@pytest.mark.parametrize(
    ("due_at", "beaten_at", "until", "is_beating"),
    [
        pytest.param(NOW + 10, NOW, NOW + LEASE, True, id="it runs"),
        pytest.param(NOW - 99, NOW - 1, NOW + LEASE - 1, True, id="a long turn"),
        pytest.param(NOW - 99, NOW - 5, NOW + LEASE - 5, False, id="it is late"),
        pytest.param(NOW - 99, NOW - LEASE - 1, NOW - 1, False, id="nobody judged"),
        pytest.param(NOW + 10, None, NOW + 10, False, id="its row is gone"),
        pytest.param(NOW, None, NOW, False, id="it is dead"),
    ],
)
def test_a_lease_ends_after_the_last_beat(
    server: Program,
    schema: str,
    due_at: float,
    beaten_at: float | None,
    until: float,
    is_beating: bool,
) -> None:
    server.execute(
        f"CREATE TABLE {schema}.job AS SELECT 1 AS account_id, 'w' AS worker,"
        f" 'token' AS claim, {due_at}::float8 AS due_at"
    )

    if beaten_at is not None:
        server.execute(
            f"INSERT INTO {schema}.process VALUES (1, 'w', %s, %s, '', 1)",
            *(beaten_at, LEASE),
        )

    asked = ", ".join([LEASED_UNTIL, IS_KEPT, IS_BEATING]).format(schema=schema)
    is_kept = beaten_at is not None and beaten_at + LEASE > NOW

    assert selected(server, asked.replace(":now", str(NOW)), f"{schema}.job") == [
        (until, is_kept, is_beating)
    ]


def test_what_nobody_has_claimed_is_kept_by_nobody(
    server: Program, schema: str, beats_of: Enter
) -> None:
    """A retry has the name of the worker that made the last attempt."""
    name = beats_of().enter()
    server.execute(
        f"CREATE TABLE {schema}.job AS SELECT 1 AS account_id, '{name}' AS worker,"
        " NULL::text AS claim, 1::float8 AS due_at"
    )
    asked = IS_KEPT.replace(":now", "1").format(schema=schema)

    assert selected(server, asked, f"{schema}.job") == [(False,)]


@pytest.mark.slow
def test_a_turn_that_runs_is_kept_and_one_that_was_abandoned_is_due_again(
    server: Program,
) -> None:
    """One process claims both, lives on, and writes no job meanwhile."""
    schema = f"s{uuid.uuid4().hex[:8]}"
    database = PostgreSQLDatabase(
        parse(server.url), schema=schema, account_id=1, lease=1.0
    )
    queue = Store.of(database, lease=1.0).queue

    for number in (1, 2):
        queue.put(
            f"1:message_created:{number}",
            conversation_id=number,
            message_id=number,
            payload=b"{}",
        )

    runs, abandoned = queue.claim(), queue.claim()
    assert runs is not None
    assert abandoned is not None
    assert queue.let_go({runs.claim}) == 0  # its lease has not ended

    wait_until(database.processes.is_steady)
    assert queue.claim() is None
    assert queue.let_go({runs.claim}) == 1

    again = queue.claim()
    assert again is not None
    assert (again.id, again.attempts) == (abandoned.id, 2)
    assert queue.claim() is None
    queue.settle(runs, "replied", None)
    database.close()
