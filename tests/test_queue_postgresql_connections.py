"""Connections to PostgreSQL: their number, their limits, and what breaks them."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import typing as t
import uuid
from pathlib import Path

import psycopg
import pytest
from psycopg_pool import ConnectionPool
from support.databases import POSTGRESQL_URL
from support.postgresql import Program, pgbouncer, postgresql
from support.relay import Relay
from support.waiting import wait_until

from flask_chatwoot.queue.postgresql import connections as module
from flask_chatwoot.queue.postgresql.connections import (
    Connection,
    Connections,
    ExhaustedError,
    LateError,
    NotConnectedError,
)
from flask_chatwoot.queue.postgresql.failures import failed
from flask_chatwoot.queue.postgresql.guard import Guard
from flask_chatwoot.queue.postgresql.url import parse

pytestmark = pytest.mark.postgresql

PROGRAM = Path(__file__).parent / "support/programs/forked_connections.py"

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

Maker = t.Callable[..., Connections]


@pytest.fixture(scope="session")
def url() -> str:
    """A server that all tests share."""
    try:
        psycopg.connect(POSTGRESQL_URL, connect_timeout=2).close()
    except psycopg.OperationalError:
        pytest.skip(
            f"No PostgreSQL answers at {POSTGRESQL_URL}; set CHATWOOT_TEST_POSTGRESQL."
        )

    return POSTGRESQL_URL


@pytest.fixture(scope="module")
def server() -> t.Iterator[Program]:
    """A server of this module, which tests may stop."""
    with postgresql() as server:
        yield server


@pytest.fixture
def make() -> t.Iterator[Maker]:
    """Makes connections to a URL, which are closed after the test."""
    with contextlib.ExitStack() as stack:

        def make(url: str, *, most: int = 3) -> Connections:
            connections = Connections(parse(url), most=most)
            stack.callback(connections.close)
            return connections

        yield make


def named(url: str) -> tuple[str, str]:
    """A URL whose connections can be told from others, and their name."""
    name = f"test-{uuid.uuid4().hex}"
    return f"{url}{'&' if '?' in url else '?'}application_name={name}", name


def backend(connection: Connection) -> int:
    """The server's process for a connection."""
    [found] = connection.execute("SELECT pg_backend_pid()").fetchone() or [0]
    return int(found)


def borrowed(connections: Connections) -> int:
    with connections.borrow() as connection:
        return backend(connection)


def asked(url: str, sql: str, *values: t.Any) -> list[tuple[t.Any, ...]]:
    """Rows that a connection of its own reads."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(sql, values).fetchall()


def backends(url: str, name: str) -> set[int]:
    """The server's processes for connections of this name."""
    sql = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
    return {pid for (pid,) in asked(url, sql, name)}


def terminate(url: str, pid: int) -> None:
    """Cut a connection, and wait until it is."""
    asked(url, "SELECT pg_terminate_backend(%s)", pid)
    sql = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
    wait_until(lambda: not asked(url, sql, pid))


def refused(connections: Connections, **options: float) -> tuple[psycopg.Error, float]:
    """The error of a block that gets no connection, and the seconds that it took."""
    began = time.monotonic()

    with (
        pytest.raises(psycopg.OperationalError) as caught,
        connections.borrow(**options),
    ):
        pytest.fail("There was a connection.")

    return caught.value, time.monotonic() - began


@contextlib.contextmanager
def ends_with(
    error: type[psycopg.Error], connections: Connections, seconds: float = 2.0
) -> t.Iterator[Connection]:
    """A block with a connection, which must raise this error."""
    until = time.monotonic() + seconds

    with pytest.raises(error), connections.borrow(until=until) as connection:
        yield connection


def run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.execute(statement)


def late(connections: Connections, sql: str, seconds: float) -> float:
    """The seconds that a block took, which was shut down."""
    began = time.monotonic()

    with (
        pytest.raises(LateError) as caught,
        connections.borrow(until=began + seconds) as connection,
    ):
        connection.execute(sql)

    assert "within three seconds" in str(failed(caught.value, connections.address))

    return time.monotonic() - began


# -- the pool ------------------------------------------------------------------------


def test_the_first_block_connects_and_the_next_uses_the_same(
    url: str, make: Maker
) -> None:
    own, name = named(url)
    connections = make(own)
    assert backends(url, name) == set()

    first = borrowed(connections)

    assert [borrowed(connections) for _ in range(3)] == [first] * 3
    assert backends(url, name) == {first}


def test_threads_get_no_more_connections_than_allowed(url: str, make: Maker) -> None:
    own, name = named(url)
    connections = make(own, most=3)
    seen: list[int] = []

    def work() -> None:
        for _ in range(40):
            seen.append(borrowed(connections))

    threads = [threading.Thread(target=work) for _ in range(8)]

    for each in threads:
        each.start()

    for each in threads:
        each.join()

    assert len(seen) == 320
    assert {*seen} == backends(url, name)
    assert len({*seen}) <= 3


def test_a_connection_needs_no_session_and_no_transaction(
    url: str, make: Maker
) -> None:
    prepared = "SELECT count(*) FROM pg_prepared_statements"

    with make(url).borrow() as connection:
        for _ in range(10):
            connection.execute("SELECT %s", ["x"])

        assert connection.execute(prepared).fetchone() == (0,)
        assert isinstance(connection.cursor(), psycopg.ClientCursor)
        assert connection.autocommit
        assert connection.info.transaction_status.name == "IDLE"
        assert connection.info.encoding == "utf-8"


def test_a_block_that_ends_in_a_transaction_loses_its_connection(
    url: str, make: Maker
) -> None:
    connections = make(url, most=1)

    with connections.borrow() as connection:
        left = backend(connection)
        connection.execute("BEGIN")

    assert borrowed(connections) != left
    wait_until(lambda: not asked(url, "SELECT 1 FROM pg_locks WHERE pid = %s", left))


def test_an_error_of_a_statement_keeps_the_connection(url: str, make: Maker) -> None:
    connections = make(url)
    before = borrowed(connections)

    with pytest.raises(psycopg.errors.DivisionByZero), connections.borrow() as db:
        db.execute("SELECT 1 / 0")

    assert borrowed(connections) == before


@pytest.mark.slow
def test_a_block_waits_two_seconds_while_others_use_all_connections(
    url: str, make: Maker
) -> None:
    connections = make(url, most=2)

    with connections.borrow(), connections.borrow():
        error, seconds = refused(connections)

        assert isinstance(error, ExhaustedError)
        assert 1.9 < seconds < 2.5
        assert "all connections were in use" in str(failed(error, connections.address))

    assert borrowed(connections)


def test_threads_get_a_connection_in_the_order_in_which_they_came(
    url: str, make: Maker
) -> None:
    connections = make(url, most=1)
    slots, done = connections._slots, threading.Event()
    got: list[int] = []

    def work(number: int) -> None:
        with connections.borrow():
            got.append(number)

    def waits(number: int) -> bool:
        return len(slots._waiting) == number

    def hurry() -> None:
        while not done.is_set():
            borrowed(connections)

    threads = [threading.Thread(target=work, args=[number]) for number in range(5)]
    hurrying = threading.Thread(target=hurry)

    with connections.borrow():
        for number, each in enumerate(threads, start=1):
            each.start()
            wait_until(functools.partial(waits, number))

        hurrying.start()

    for each in threads:
        each.join()

    done.set()
    hurrying.join()
    assert got == [0, 1, 2, 3, 4]


def test_who_waits_in_vain_takes_no_place(url: str, make: Maker) -> None:
    connections = make(url, most=1)

    with connections.borrow():
        error, _ = refused(connections, until=time.monotonic() + 0.1)

    assert isinstance(error, ExhaustedError)
    assert borrowed(connections)
    assert not connections._slots._waiting


def test_a_block_gets_the_connection_that_another_returns(
    url: str, make: Maker
) -> None:
    connections = make(url, most=1)
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(borrowed(connections)))

    with connections.borrow() as connection:
        thread.start()
        mine = backend(connection)

    thread.join()
    assert found == [mine]


def test_what_is_closed_is_opened_again(url: str, make: Maker) -> None:
    own, name = named(url)
    connections = make(own)
    connections.close()  # nothing is open yet

    with connections.borrow() as used:
        idle = borrowed(connections)
        connections.close()
        wait_until(lambda: idle not in backends(url, name))
        assert backends(url, name) == {backend(used)}

    wait_until(lambda: not backends(url, name))
    assert borrowed(connections) in backends(url, name)


def test_its_threads_see_nothing_of_the_request_that_is_the_first(
    url: str, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret: contextvars.ContextVar[str] = contextvars.ContextVar("secret")
    secret.set("of a customer")
    seen: list[str] = []
    opened = module._Pool.open

    def spy(pool: module._Pool) -> None:
        seen.append(secret.get("nothing"))
        opened(pool)

    monkeypatch.setattr(module._Pool, "open", spy)
    borrowed(make(url))
    assert seen == ["nothing"]


def test_where_no_thread_can_be_started_a_later_block_opens_the_pool(
    url: str, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections = make(url)

    def full(_: threading.Thread) -> t.NoReturn:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        error, _ = refused(connections)

    assert isinstance(error, NotConnectedError)
    assert borrowed(connections)


def test_descriptors_may_have_high_numbers(url: str, make: Maker) -> None:
    fcntl = pytest.importorskip("fcntl")
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = make(url)
    before = borrowed(connections)
    [connection] = connections._tries.opened
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 1600), limits[1]))
    high = fcntl.fcntl(connection.fileno(), fcntl.F_DUPFD_CLOEXEC, 1500)

    try:
        assert not module._is_readable(high)
        terminate(url, before)
        wait_until(lambda: module._is_readable(high))
    finally:
        os.close(high)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_process_that_does_not_close_its_connections_ends_at_once(url: str) -> None:
    began = time.monotonic()
    assert ran("leave_open", url) > 0
    assert time.monotonic() - began < 4.0


def test_a_pooler_in_transaction_mode_is_enough(server: Program, make: Maker) -> None:
    with pgbouncer(server) as bouncer:
        connections = make(bouncer.url)

        for _ in range(5):
            with connections.borrow() as connection:
                run(connection, "BEGIN", "SELECT 1", "COMMIT")
                assert connection.execute("SELECT %s::text", ["x"]).fetchone() == ("x",)


def test_a_pooler_that_cannot_reach_its_server_is_explained(
    server: Program, make: Maker
) -> None:
    with pgbouncer(server) as bouncer:
        connections = make(bouncer.url)

        def said() -> str:
            try:
                with connections.borrow() as connection:
                    connection.execute("SELECT 1")
            except psycopg.Error as error:
                return str(failed(error, connections.address))

            return ""

        server.stop()

        try:
            wait_until(lambda: "server_login_retry" in said())
        finally:
            server.start()


# -- the guard -----------------------------------------------------------------------


def test_a_block_ends_in_time_whatever_the_server_does(url: str, make: Maker) -> None:
    connections = make(url)
    before = borrowed(connections)

    assert 0.3 <= late(connections, "SELECT pg_sleep(30)", 0.3) < 1.0
    assert borrowed(connections) != before


@pytest.mark.slow
def test_a_block_lasts_three_seconds_its_wait_included(url: str, make: Maker) -> None:
    connections = make(url, most=1)
    free, took = threading.Event(), []

    def sleep() -> None:
        took.append(late(connections, "SELECT pg_sleep(30)", 60))

    threads = [threading.Thread(target=sleep) for _ in range(2)]

    with connections.borrow():
        threads[0].start()
        free.wait(1.0)

    threads[0].join()
    assert 2.6 < took[0] < 3.0


def test_a_block_that_is_late_between_its_statements_fails_with_the_next(
    url: str, make: Maker
) -> None:
    connections = make(url)

    with ends_with(LateError, connections, 0.5) as connection:
        connection.execute("SELECT 1")
        wait_until(lambda: is_shut(connection))
        connection.execute("SELECT 1")


def is_shut(connection: Connection) -> bool:
    with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as own:
        own.setblocking(False)

        with contextlib.suppress(BlockingIOError):
            return own.recv(1, socket.MSG_PEEK) == b""

    return False


def test_a_block_without_statements_loses_its_connection_when_it_is_late(
    url: str, make: Maker
) -> None:
    connections = make(url)

    with connections.borrow(until=time.monotonic() + 0.5) as connection:
        before = backend(connection)
        wait_until(lambda: is_shut(connection))

    assert borrowed(connections) != before


def test_a_guard_shuts_down_only_what_is_late_and_then_rests(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flask_chatwoot.queue.postgresql.guard._IDLE", 0.0)
    guard = Guard()
    pairs = [socket.socketpair() for _ in range(2)]
    now = time.monotonic()

    with contextlib.ExitStack() as stack:
        for pair in pairs:
            for each in pair:
                stack.enter_context(each)

        (one, far), (other, _) = pairs
        soon = stack.enter_context(guard.watching(one.fileno(), now + 0.1))
        later = stack.enter_context(guard.watching(other.fileno(), now + 60))
        far.settimeout(5.0)

        assert far.recv(1) == b""
        assert (soon.is_late, later.is_late) == (True, False)
        assert one.fileno() != -1

    wait_until(lambda: guard._thread._thread is None)


# -- a network that fails ------------------------------------------------------------


@pytest.fixture
def relay(url: str) -> t.Iterator[Relay]:
    host = parse(url).hosts[0]

    if host.name not in ("127.0.0.1", "localhost"):
        pytest.skip("The server is not on this machine.")

    with Relay(host.port) as relay:
        yield relay


@pytest.fixture
def relayed(relay: Relay, url: str, make: Maker) -> Connections:
    found = parse(url)
    return make(f"postgresql://{found.user}@127.0.0.1:{relay.port}/{found.database}")


def test_a_network_that_loses_packets_keeps_no_block(
    relay: Relay, relayed: Connections
) -> None:
    with relayed.borrow() as one, relayed.borrow() as other:
        before = {backend(one), backend(other)}

    relay.stall()
    assert 0.3 <= late(relayed, "SELECT 1", 0.3) < 1.0
    relay.join()

    # The other connection was idle meanwhile; it may be lost as well.
    assert borrowed(relayed) not in before


def test_a_server_that_accepts_but_does_not_answer_is_given_up(make: Maker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connections = make(f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/shop")
        error, seconds = refused(connections, until=time.monotonic() + 0.5)

    assert isinstance(error, NotConnectedError)
    assert 0.4 < seconds < 1.0
    assert "check the host and the port" in str(failed(error, connections.address))


@pytest.mark.slow
def test_a_block_waits_two_seconds_for_a_server_that_does_not_answer(
    make: Maker,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connections = make(f"postgresql://me@127.0.0.1:{silent.getsockname()[1]}/shop")
        _, seconds = refused(connections)

    assert 1.9 < seconds < 2.5


def test_connections_that_are_cut_are_replaced(
    relay: Relay, relayed: Connections
) -> None:
    before = borrowed(relayed)

    with ends_with(psycopg.OperationalError, relayed) as connection:
        relay.reset()
        connection.execute("SELECT pg_sleep(5)")

    assert borrowed(relayed) != before


# -- a server that fails -------------------------------------------------------------


def test_a_connection_that_the_server_has_closed_is_not_used(
    url: str, make: Maker
) -> None:
    connections = make(url)

    with connections.borrow() as one, connections.borrow() as other:
        pids = {backend(one), backend(other)}

    for pid in pids:
        terminate(url, pid)

    assert borrowed(connections) not in pids


def test_a_connection_that_is_cut_in_a_block_is_an_error_and_then_replaced(
    url: str, make: Maker
) -> None:
    connections = make(url)

    with ends_with(psycopg.errors.AdminShutdown, connections) as connection:
        before = backend(connection)
        terminate(url, before)
        connection.execute("SELECT 1")

    assert borrowed(connections) != before


@pytest.mark.slow
def test_a_server_that_is_away_costs_less_and_less_until_it_is_back(
    server: Program, make: Maker
) -> None:
    connections = make(server.url)
    borrowed(connections)
    server.stop()

    first, seconds = refused(connections)
    assert seconds < 1.5  # a short outage is waited for
    later = [refused(connections)[1] for _ in range(5)]
    assert max(later) < 0.5

    assert isinstance(first, NotConnectedError)
    assert isinstance(first.__cause__, psycopg.OperationalError)
    assert "cannot be reached; check that it runs" in str(
        failed(first, connections.address)
    )
    server.start()
    began = time.monotonic()
    assert borrowed(connections)
    assert time.monotonic() - began < 1.0


@pytest.mark.slow
def test_a_short_outage_is_waited_for(server: Program, make: Maker) -> None:
    connections = make(server.url)
    borrowed(connections)
    server.stop()
    starting = threading.Thread(target=server.start)
    starting.start()

    with connections.borrow() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)

    starting.join()


@pytest.mark.slow
def test_a_frozen_server_keeps_no_block(server: Program, make: Maker) -> None:
    connections = make(server.url)
    borrowed(connections)

    with server.frozen():
        assert late(connections, "SELECT 1", 0.5) < 1.2
        error, seconds = refused(connections)
        assert isinstance(error, NotConnectedError)
        assert seconds < 2.5

    assert borrowed(connections)


# -- forks ---------------------------------------------------------------------------


def ran(what: str, url: str) -> t.Any:
    """What the program printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM), what, url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")

    return json.loads(done.stdout)


@needs_fork
def test_a_forked_process_connects_for_itself_and_harms_no_connection(
    url: str,
) -> None:
    found = ran("fork", url)

    assert found["after"] == found["before"]
    assert len({*found["child"]}) == 1
    assert not {*found["child"]} & {*found["before"]}


@needs_fork
def test_a_block_that_forks_ends_in_the_parent_only(url: str) -> None:
    found = ran("fork_in_a_block", url)
    assert len({*found.values()}) == 3  # the parent's was left in a transaction


@needs_fork
def test_a_fork_while_other_threads_work_leaves_no_lock_in_the_child(url: str) -> None:
    assert ran("fork_amid_work", url) == 10


@needs_fork
def test_a_killed_process_leaves_no_transaction_to_its_children(url: str) -> None:
    process = subprocess.Popen(
        [sys.executable, str(PROGRAM), "die", url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    with process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert process.wait(10) < 0  # while the child waits for the end of its input
        sql = "SELECT 1 FROM pg_stat_activity WHERE pid = %s"
        wait_until(lambda: not asked(url, sql, pid))


# -- what is said --------------------------------------------------------------------

HBA: t.Final = """
host all postgres 127.0.0.1/32 trust
host all nologin,missing,reader 127.0.0.1/32 trust
host all shop 127.0.0.1/32 scram-sha-256
"""


@pytest.fixture(scope="module")
def strict(server: Program) -> Program:
    """The server of this module, which does not let in everybody."""
    [(path,)] = server.execute("SHOW hba_file")
    server.execute("CREATE ROLE shop LOGIN PASSWORD 'right'")
    server.execute("CREATE ROLE nologin")
    server.execute("CREATE ROLE reader LOGIN")
    server.execute("CREATE ROLE stranger LOGIN")
    server.execute("CREATE DATABASE closed")
    server.execute("REVOKE CONNECT ON DATABASE closed FROM PUBLIC")
    Path(path).write_text(HBA, encoding="ascii")
    server.execute("SELECT pg_reload_conf()")

    return server


@pytest.mark.parametrize(
    ("user", "database", "text"),
    [
        ("shop:hunter2", "postgres", "the password is wrong or missing; write it into"),
        ("shop", "postgres", "the password is wrong or missing; write it into"),
        ("missing", "postgres", "there is no such user; create it, or correct"),
        ("nologin", "postgres", "check the user in CHATWOOT_DATABASE_URL and the"),
        ("stranger", "postgres", "check the user in CHATWOOT_DATABASE_URL and the"),
        ("reader", "nowhere", "there is no such database; create it, or correct"),
        ("reader", "closed", "the user lacks a right; let an"),
        ("reader", "postgres?sslmode=require", "check sslmode and sslrootcert in"),
    ],
)
def test_a_refused_connection_is_explained(
    strict: Program,
    make: Maker,
    monkeypatch: pytest.MonkeyPatch,
    user: str,
    database: str,
    text: str,
) -> None:
    monkeypatch.setattr(module, "_BLIP", 0.0)
    connections = make(f"postgresql://{user}@127.0.0.1:{strict.port}/{database}")
    error, seconds = refused(connections)
    said = str(failed(error, connections.address))

    assert text in said
    assert f"at 127.0.0.1:{strict.port} as '{user.partition(':')[0]}' failed: " in said
    assert f"'{database.partition('?')[0]}'" in said
    assert "hunter2" not in said
    assert seconds < 1.0


def test_the_right_password_is_taken(strict: Program, make: Maker) -> None:
    url = f"postgresql://shop:right@127.0.0.1:{strict.port}/postgres"
    assert borrowed(make(url))


def test_a_standby_is_passed_over_where_there_are_several_hosts(
    strict: Program, make: Maker
) -> None:
    places = f"127.0.0.1:1,127.0.0.1:{strict.port}"
    assert borrowed(make(f"postgresql://reader@{places}/postgres"))
    strict.execute("ALTER ROLE reader SET default_transaction_read_only = on")

    try:
        connections = make(f"postgresql://reader@{places}/postgres")
        error, _ = refused(connections)
    finally:
        strict.execute("ALTER ROLE reader RESET default_transaction_read_only")

    assert "the server is read-only; name the primary" in str(
        failed(error, connections.address)
    )


@pytest.mark.parametrize(
    ("statements", "text"),
    [
        (["SELECT pg_terminate_backend(pg_backend_pid())"], "cut the connection"),
        (["INSERT INTO pg_temp.t VALUES ('hunter2')"] * 2, "UniqueViolation (23505)"),
        (["SELECT 'hunter2'::int"], "InvalidTextRepresentation (22P02)"),
        (["SELECT hunter2"], "UndefinedColumn (42703)"),
        (["SELECT * FROM pg_temp.hunter2"], "a table is gone; restart the app"),
        (
            ["SET ROLE pg_monitor", "CREATE SCHEMA hunter2"],
            "flask chatwoot database sql prints",
        ),
        (["SET statement_timeout = 50", "SELECT pg_sleep(9)"], "longer than three s"),
        (["BEGIN READ ONLY", "CREATE TABLE pg_catalog.t ()"], "server is read-only"),
        (["SELECT 1; DELETE 'hunter2'"], "SyntaxError (42601)"),
    ],
)
def test_a_failed_statement_is_explained_without_its_values(
    url: str, make: Maker, statements: list[str], text: str
) -> None:
    connections = make(url)
    table = "CREATE TEMP TABLE t (v text PRIMARY KEY)"

    with pytest.raises(psycopg.Error) as caught, connections.borrow() as connection:
        run(connection, table, *statements)

    said = str(failed(caught.value, connections.address))
    assert text in said
    assert "hunter2" not in said


def test_an_unknown_error_in_connecting_is_quoted_without_the_password() -> None:
    address = parse("postgresql://me:hunter2@db.example/shop")
    error = psycopg.OperationalError("FATALE: autenticazione di hunter2 fallita\nmore")

    assert str(failed(error, address)) == (
        "The database 'shop' at db.example as 'me' failed: FATALE: autenticazione di "
        "… fallita; check CHATWOOT_DATABASE_URL."
    )


def test_a_server_that_is_too_old_is_refused(
    url: str, make: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, name = named(url)
    connections = make(own)
    monkeypatch.setattr(module, "_BLIP", 0.0)
    monkeypatch.setattr(module, "_OLDEST_SERVER", 990_000)
    error, _ = refused(connections)

    assert "PostgreSQL 13 or later is needed" in str(failed(error, connections.address))
    wait_until(lambda: not backends(url, name))


def test_the_pool_logs_nothing_that_is_raised_and_other_pools_do(
    make: Maker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "psycopg.pool")
    refused(make("postgresql://me@127.0.0.1:1/shop"))
    assert caplog.messages == []

    url = "postgresql://me@127.0.0.1:1/shop"

    with ConnectionPool(url, name="the host's", min_size=1, open=True):
        wait_until(lambda: any("error connecting" in x for x in caplog.messages))
