"""PostgreSQL as the database: its transactions, its tables, and what breaks it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import signal
import threading
import time
import typing as t
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from support.postgresql import Program, pgbouncer, postgresql
from support.waiting import wait_until

from flask_chatwoot.errors import DatabaseError, LeaseLostError
from flask_chatwoot.queue import deadline, due
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.queue.postgresql import database as module
from flask_chatwoot.queue.postgresql import failover, migration
from flask_chatwoot.queue.postgresql.database import PostgreSQLDatabase
from flask_chatwoot.queue.postgresql.schema import VERSION as TABLES
from flask_chatwoot.queue.postgresql.schema import prepared
from flask_chatwoot.queue.postgresql.url import parse
from flask_chatwoot.queue.store import Store

pytestmark = pytest.mark.postgresql

Opener = t.Callable[..., Store]


@pytest.fixture(scope="module")
def server() -> t.Iterator[Program]:
    # Nothing gets to the disk by itself, so that a test sees what does.
    with postgresql(max_connections="100", wal_writer_delay="10s") as program:
        yield program


@pytest.fixture
def schema(server: Program) -> t.Iterator[str]:
    name = f"s_{uuid.uuid4().hex[:12]}"
    yield name
    server.execute(f'DROP SCHEMA IF EXISTS "{name}" CASCADE')


@pytest.fixture
def open_store(server: Program, schema: str) -> t.Iterator[Opener]:
    with contextlib.ExitStack() as stack:

        def open_one(url: str | None = None, **options: t.Any) -> Store:
            options = {"schema": schema, "account_id": 1, "threads": 12, **options}
            database = PostgreSQLDatabase(parse(url or server.url), **options)
            stack.callback(database.close)

            return Store.of(database)

        yield open_one


@pytest.fixture
def store(open_store: Opener) -> Store:
    return open_store()


def put(store: Store, number: int, conversation_id: int = 42) -> bool:
    return store.queue.put(
        f"1:message_created:{number}",
        conversation_id=conversation_id,
        message_id=number,
        payload=b"{}",
    )


def database_of(store: Store) -> PostgreSQLDatabase:
    return t.cast(PostgreSQLDatabase, store.database)


def cut(server: Program, tx: t.Any) -> None:
    """Cut the connection of a transaction, as a failing network does."""
    pid = tx._connection.info.backend_pid
    server.execute("SELECT pg_terminate_backend(%s, 5000)", pid)


# -- transactions ------------------------------------------------------------------


def test_two_messages_at_once_make_one_turn(store: Store) -> None:
    """What is read before the lock would find no job, and make a second one."""
    conversations = range(1, 101)

    with ThreadPoolExecutor(12) as pool:
        for conversation in conversations:
            new = pool.map(
                lambda n, to=conversation: put(store, to * 10 + n, to), range(4)
            )
            assert [*new] == [True] * 4

    jobs = store.inspection.jobs()
    assert sorted(job.conversation_id for job in jobs) == [*conversations]


def test_a_delivery_that_comes_twice_at_once_is_stored_once(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        for number in range(1, 41):
            new = [*pool.map(lambda _, n=number: put(store, n, n), range(4))]
            assert sum(new) == 1


def test_workers_that_claim_at_once_get_different_jobs(store: Store) -> None:
    for number in range(1, 61):
        put(store, number, number)

    with ThreadPoolExecutor(8) as pool:
        claimed = [*pool.map(lambda _: store.queue.claim(), range(60))]

    ids = [job.id for job in claimed if job]
    assert len(ids) == len({*ids})
    # A worker that finds each job in another's hands looks again later.
    while (job := store.queue.claim()) is not None:
        ids.append(job.id)

    assert sorted(ids) == [*range(1, 61)]


def test_a_message_that_comes_while_its_turn_is_claimed_is_lost_by_none(
    store: Store,
) -> None:
    """It joins before the claim, or gets a turn of its own."""
    answered: list[int] = []

    def claim_all() -> None:
        while (job := store.queue.claim()) is not None:
            answered.append(job.message_id)
            answered.extend(each.message_id for each in job.follow_ups)
            store.queue.settle(job, "replied", None)

    with ThreadPoolExecutor(6) as pool:
        for number in range(1, 200):
            pool.submit(put, store, number, number % 5 + 1)
            pool.submit(claim_all)

    claim_all()
    assert sorted(answered) == [*range(1, 200)]


def test_a_transaction_that_waits_too_long_for_another_fails(
    store: Store, server: Program
) -> None:
    put(store, 1)
    key = database_of(store).line_key(42)

    with server.connect() as other:
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [key])
        started = time.monotonic()

        with pytest.raises(DatabaseError, match="failed"):
            put(store, 2)

        assert time.monotonic() - started < 3.2
        assert put(store, 3, 43)

    assert put(store, 2)


def test_what_is_not_durable_does_not_wait_for_the_disk(store: Store) -> None:
    def level(**options: t.Any) -> str:
        with store.database.transaction(**options) as tx:
            return str(tx.execute("SHOW synchronous_commit").fetchone()[0])

    assert (level(), level(durable=True)) == ("off", "on")
    database_of(store)._sync = "normal"
    assert level(durable=True) == "off"


def test_what_is_forced_is_on_the_disk(open_store: Opener) -> None:
    with postgresql(wal_writer_delay="10s", wal_writer_flush_after="1GB") as own:
        database = database_of(open_store(own.url))

        with database.transaction() as tx:
            tx.execute("INSERT INTO trait (account_id, name) VALUES (1, 'one')")

        ((written, is_flushed),) = own.execute(
            "SELECT pg_current_wal_insert_lsn()::text,"
            " pg_current_wal_flush_lsn() >= pg_current_wal_insert_lsn()"
        )
        assert not is_flushed
        database.force()
        assert own.execute(
            "SELECT pg_current_wal_flush_lsn() >= %s::pg_lsn", written
        ) == [(True,)]
        database.close()


def test_text_that_postgresql_cannot_store_is_stored_without_it(store: Store) -> None:
    put(store, 1)
    job = store.queue.claim()
    assert job is not None
    store.outbox.keep(job, [DraftPart("a\0b\ud800c", False)])
    store.queue.postpone(job, 0.0)
    again = store.queue.claim()

    assert again is not None
    assert again.drafts[0].content == "a\ufffdb?c"


# -- what breaks it ----------------------------------------------------------------


def test_a_write_whose_connection_is_cut_is_repeated(
    store: Store, server: Program
) -> None:
    calls: list[bool] = []

    def work(tx: t.Any, again: bool) -> int:
        calls.append(again)
        tx.execute("INSERT INTO trait (account_id, name) VALUES (1, 'one')")

        if not again:
            cut(server, tx)

        return 7

    assert store.database.write(work) == 7
    assert calls == [False, True]


def _lost_once(monkeypatch: pytest.MonkeyPatch, *, committed: bool) -> None:
    """Lose a connection once: before the commit, or before its answer."""
    ended, lost = module._ended, iter([True])

    def lose(connection: t.Any) -> None:
        if next(lost, False):
            connection.close()
            raise psycopg.OperationalError("the connection is lost")

    @contextlib.contextmanager
    def end(connection: t.Any) -> t.Iterator[None]:
        with ended(connection):
            yield

            if not committed:
                lose(connection)

        lose(connection)

    monkeypatch.setattr(module, "_ended", end)


@pytest.mark.parametrize("state", ["40001", "40P01", "55P03", "57P01", "25006"])
@pytest.mark.parametrize("times", [1, 2])
def test_what_may_succeed_on_another_connection_is_tried_there_once(
    store: Store, state: str, times: int
) -> None:
    connections: list[t.Any] = []

    def work(tx: t.Any, again: bool) -> None:
        connections.append(tx._connection)
        tx.execute("INSERT INTO trait (account_id, name) VALUES (1, 'one')")

        if len(connections) <= times:
            tx.execute(f"DO $$ BEGIN RAISE SQLSTATE '{state}'; END $$")

    if times == 1:
        store.database.write(work)
    else:
        with pytest.raises(DatabaseError):
            store.database.write(work)

    assert len(connections) == 2


def test_a_block_that_goes_on_after_an_error_is_not_taken_for_stored(
    store: Store,
) -> None:
    def work(tx: t.Any, again: bool) -> None:
        tx.execute("INSERT INTO trait (account_id, name) VALUES (1, 'one')")

        with contextlib.suppress(psycopg.Error):
            tx.execute("SELECT 1 / 0")

    with pytest.raises(DatabaseError, match="InFailedSqlTransaction"):
        store.database.write(work)


def test_a_delivery_whose_commit_had_no_answer_is_accepted_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, 1)
    _lost_once(monkeypatch, committed=True)

    assert put(store, 2)
    assert not put(store, 2)


def test_a_claim_whose_commit_had_no_answer_is_found_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, 1, 1)
    put(store, 2, 2)
    store.database.processes.enter()
    _lost_once(monkeypatch, committed=True)
    first, second = store.queue.claim(), store.queue.claim()

    assert first is not None
    assert second is not None
    assert [(job.message_id, job.attempts) for job in (first, second)] == [
        (1, 1),
        (2, 1),
    ]


def test_a_turn_whose_end_had_no_answer_has_ended(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, 1)
    job = store.queue.claim()
    assert job is not None
    _lost_once(monkeypatch, committed=True)
    store.queue.settle(job, "replied", None)

    assert [each.outcome for each in store.inspection.jobs()] == ["replied"]


@pytest.mark.parametrize("committed", [False, True])
def test_what_a_turn_writes_is_repeated_where_the_connection_broke(
    store: Store, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """Else an answer of the provider would be lost, and it be asked again."""
    put(store, 1)
    job = store.queue.claim()
    assert job is not None
    lose = functools.partial(_lost_once, monkeypatch, committed=committed)
    lose()
    (draft,) = store.outbox.keep(job, [DraftPart("Hello", False)])
    lose()
    store.outbox.sending(job, draft)
    lose()
    store.outbox.unconfirmed(draft)
    lose()
    store.queue.postpone(job, 0.0)
    again = store.queue.claim()

    assert again is not None
    assert again.attempts == 2
    assert [each.marker for each in again.drafts] == [draft.marker]
    assert again.drafts[0].unconfirmed_at is not None
    lose()
    store.outbox.posted(draft, 77)
    assert store.outbox.is_ours(77)


@pytest.mark.parametrize("committed", [False, True])
def test_a_turn_is_given_up_once_where_the_connection_broke(
    store: Store, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    put(store, 1)
    job = store.queue.claim()
    assert job is not None
    lose = functools.partial(_lost_once, monkeypatch, committed=committed)
    lose()

    with contextlib.suppress(LeaseLostError):  # it is done: nothing is left to do
        store.queue.give_up(job, "crashed", [DraftPart("Sorry", True)], handoff=None)

    again = store.queue.claim()
    assert again is not None
    assert (again.failure, len(again.drafts)) == ("crashed", 1)


def test_a_server_that_is_read_only_is_not_written_to(
    store: Store, server: Program
) -> None:
    put(store, 1)
    server.execute("ALTER ROLE postgres SET default_transaction_read_only = on")
    store.database.close()

    try:
        with pytest.raises(DatabaseError, match="read-only"):
            put(store, 2)
    finally:
        with server.connect() as db:
            db.execute("SET default_transaction_read_only = off")
            db.execute("ALTER ROLE postgres RESET default_transaction_read_only")

    store.database.close()
    assert put(store, 2)


@pytest.mark.slow
def test_the_first_delivery_after_an_outage_is_stored(
    open_store: Opener, schema: str
) -> None:
    with postgresql() as own:
        store = open_store(own.url)
        put(store, 1)
        own.stop()
        started = time.monotonic()

        with pytest.raises(DatabaseError, match=r"127\.0\.0\.1"):
            put(store, 2)

        assert time.monotonic() - started < 3.0
        own.start()
        started = time.monotonic()
        assert put(store, 2)
        assert time.monotonic() - started < 1.0
        store.database.close()


@pytest.mark.slow
def test_a_frozen_server_holds_no_thread_longer_than_three_seconds(
    open_store: Opener,
) -> None:
    with postgresql() as own:
        store = open_store(own.url)
        put(store, 1)

        with own.frozen():
            started = time.monotonic()

            with ThreadPoolExecutor(6) as pool:
                failed = [pool.submit(put, store, 10 + n, n + 1) for n in range(6)]

            assert all(isinstance(each.exception(), DatabaseError) for each in failed)
            assert time.monotonic() - started < 3.6

        assert put(store, 2)
        store.database.close()


def held(store: Store, server: Program, *conversation_ids: int) -> psycopg.Connection:
    """Another session, which holds the locks of these conversations."""
    other = server.connect()

    for each in conversation_ids:
        key = database_of(store).line_key(each)
        other.execute("SELECT pg_advisory_lock(hashtextextended(%s, 0))", [key])

    return other


@pytest.mark.slow
def test_the_calls_of_one_delivery_share_its_three_seconds(
    store: Store, server: Program
) -> None:
    put(store, 1)

    with held(store, server, 1, 2, 3):
        started = time.monotonic()

        with deadline.within(deadline.LONGEST):
            for number in (1, 2, 3):
                with pytest.raises(DatabaseError):
                    put(store, 10 + number, number)

        assert time.monotonic() - started < 3.0

    assert put(store, 11, 1)


@pytest.mark.slow
def test_a_thread_waits_three_seconds_at_most_for_one_that_makes_the_tables(
    store: Store,
) -> None:
    with database_of(store)._migrating:
        started = time.monotonic()

        with pytest.raises(DatabaseError):
            put(store, 1)

        assert time.monotonic() - started < 3.0

    assert put(store, 1)


def promote(server: Program) -> None:
    """Restart a server as a standby that takes over: a new timeline begins."""
    ((folder,),) = server.execute("SHOW data_directory")
    server.stop()
    Path(folder, "standby.signal").touch()
    server.start()
    assert server.execute("SELECT pg_promote()") == [(True,)]


@pytest.mark.slow
@pytest.mark.parametrize("restarted", [False, True])
def test_after_a_failover_each_unfinished_draft_may_have_been_sent(
    open_store: Opener, caplog: pytest.LogCaptureFixture, restarted: bool
) -> None:
    with postgresql() as own:
        store = open_store(own.url)
        put(store, 1)
        job = store.queue.claim()
        assert job is not None
        store.outbox.keep(job, [DraftPart("Hello", False)])
        assert store.database.failover_age() is None
        store.database.force()
        promote(own)
        after = open_store(own.url) if restarted else store

        with ThreadPoolExecutor(4) as pool:  # one of them sees to it
            assert all(pool.map(lambda n: put(after, n, n), range(2, 6)))

        rows = own.execute(
            f'SELECT sent_at IS NOT NULL FROM "{database_of(store).schema}".draft'
        )
        age = after.database.failover_age()
        assert rows == [(True,)]
        assert age is not None
        assert age < 10.0
        assert caplog.text.count("has taken over") == 1
        store.queue.postpone(job, 0.0)
        again = after.queue.claim(conversation_id=42)
        assert again is not None
        assert again.drafts[0].sent_at is not None
        after.database.close()
        store.database.close()


@pytest.mark.slow
def test_after_a_failover_catch_up_begins_at_once(open_store: Opener) -> None:
    with postgresql() as own:
        store = open_store(own.url)
        schema = database_of(store).schema
        store.sweeps.begin()
        own.execute(f'UPDATE "{schema}".sweep SET settled = true, due_at = due_at + 60')
        promote(own)
        put(store, 1)
        state = store.sweeps.state()
        assert state is not None
        assert not state.settled
        assert state.due_at <= store.database.clock()
        store.database.close()


def test_a_server_that_tells_no_timeline_is_used_all_the_same(
    open_store: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failover, "TIMELINE", "pg_no_such_function()")
    store = open_store()

    assert put(store, 1)
    assert store.database.failover_age() is None


def test_everything_works_through_pgbouncer(
    open_store: Opener, server: Program
) -> None:
    with pgbouncer(server) as pooler:
        store = open_store(pooler.url)

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(lambda n: put(store, n, n), range(1, 41)))

        while (job := store.queue.claim()) is not None:
            store.queue.settle(job, "replied", None)

        assert store.inspection.health().outcomes == {"replied": 40}
        store.database.close()


# -- the tables --------------------------------------------------------------------


def test_processes_that_make_the_tables_at_once_wait_for_each_other(
    open_store: Opener,
) -> None:
    stores = [open_store() for _ in range(8)]
    ready = threading.Barrier(8)

    def work(number: int) -> bool:
        ready.wait(10)
        return put(stores[number], number + 1)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_the_tables_are_there_when_a_process_beats_first(store: Store) -> None:
    assert store.database.processes.enter()


def test_a_schema_is_for_one_account_of_one_server(open_store: Opener) -> None:
    chatwoot = {"base_url": "https://chat.example.com", "account_id": 1}
    put(open_store(**chatwoot), 1)

    for other in ({"account_id": 2}, {"base_url": "https://other.example.com"}):
        with pytest.raises(DatabaseError, match="belongs to account 1 of https://chat"):
            put(open_store(**{**chatwoot, **other}), 2)

    assert put(open_store(**chatwoot), 2)


def test_a_chatwoot_with_another_address_keeps_its_schema(
    server: Program, open_store: Opener
) -> None:
    put(open_store(base_url="http://localhost:3000"), 1)
    moved = {"base_url": "https://chat.example.com/o'hara"}

    with pytest.raises(DatabaseError, match="same Chatwoot under another") as caught:
        put(open_store(**moved), 2)

    statement = str(caught.value).partition(" run: ")[2].removesuffix(".")

    server.execute(statement)
    assert put(open_store(**moved), 2)


@pytest.mark.parametrize(("version", "oldest"), [(99, 98), (1, 1)])
def test_the_tables_of_another_release_are_refused(
    store: Store, open_store: Opener, server: Program, version: int, oldest: int
) -> None:
    put(store, 1)
    schema = database_of(store).schema
    server.execute(
        f'UPDATE "{schema}".meta SET version = %s, oldest = %s', version, oldest
    )

    with pytest.raises(DatabaseError, match=f"have version {version}"):
        put(open_store(), 2)


def test_the_tables_of_a_release_that_only_added_to_them_are_used(
    store: Store, open_store: Opener, server: Program
) -> None:
    put(store, 1)
    schema = database_of(store).schema
    server.execute(f'UPDATE "{schema}".meta SET version = 99')

    assert put(open_store(), 2)


def make_older(server: Program, schema: str) -> None:
    """As if the release before had made the tables."""
    server.execute(f'DROP TABLE "{schema}".reading')
    server.execute(f'ALTER TABLE "{schema}".job DROP COLUMN last_attempt')
    server.execute(f'UPDATE "{schema}".meta SET version = version - 1')


def test_the_tables_of_an_older_release_get_what_this_one_has_added(
    store: Store, open_store: Opener, server: Program, schema: str
) -> None:
    put(store, 1)
    make_older(server, schema)

    with ThreadPoolExecutor(4) as pool:
        others = [open_store() for _ in range(4)]
        new = [*pool.map(lambda n: put(others[n], n + 50, n + 50), range(4))]

    assert new == [True] * 4
    assert put(store, 9)  # a process of the older release
    assert server.execute(f'SELECT count(*) FROM "{schema}".reading') == [(0,)]
    added = f'SELECT bool_or(last_attempt) FROM "{schema}".job'
    assert server.execute(added) == [(False,)]
    read = f'SELECT version FROM "{schema}".meta'
    assert server.execute(read) == [(TABLES,)]


def test_an_administrator_adds_to_the_tables_where_the_app_may_not(
    store: Store, open_store: Opener, server: Program, schema: str
) -> None:
    put(store, 1)
    make_older(server, schema)
    name = f"user_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE ROLE {name} LOGIN")

    for statement in migration.grants(schema, name):
        server.execute(statement)

    url = server.url.replace("postgres@", f"{name}@")

    with pytest.raises(DatabaseError, match="flask chatwoot database sql"):
        put(open_store(url), 2)

    for statement in [*migration.statements(schema), *migration.grants(schema, name)]:
        server.execute(statement)

    assert put(open_store(url), 2)
    server.execute(f"DROP OWNED BY {name}")
    server.execute(f"DROP ROLE {name}")


def test_a_user_without_the_right_to_create_uses_what_is_there(
    store: Store, open_store: Opener, server: Program, schema: str
) -> None:
    put(store, 1)
    name = f"user_{uuid.uuid4().hex[:8]}"
    server.execute(f"CREATE ROLE {name} LOGIN")
    server.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO {name}')
    rights = "SELECT, INSERT, UPDATE, DELETE"
    server.execute(f'GRANT {rights} ON ALL TABLES IN SCHEMA "{schema}" TO {name}')
    server.execute(f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA "{schema}" TO {name}')
    other = open_store(server.url.replace("postgres@", f"{name}@"))

    assert put(other, 2)
    job = other.queue.claim()
    assert job is not None
    other.queue.settle(job, "replied", None)
    other.database.close()

    with pytest.raises(DatabaseError, match="right"):
        put(
            open_store(
                server.url.replace("postgres@", f"{name}@"), schema="one_of_its_own"
            ),
            1,
        )

    server.execute(f"DROP OWNED BY {name}")
    server.execute(f"DROP ROLE {name}")


def test_a_copy_of_the_tables_has_another_identity(
    store: Store, open_store: Opener, server: Program
) -> None:
    put(store, 1)
    schema = database_of(store).schema
    before = open_store().database.identity()
    assert before == store.database.identity() != ""
    server.execute(f'DROP SCHEMA "{schema}" CASCADE')

    assert open_store().database.identity() != before


def test_an_administrator_can_run_the_statements(
    server: Program, open_store: Opener
) -> None:
    schema = f"s_{uuid.uuid4().hex[:8]}"

    for statement in migration.statements(schema):
        server.execute(statement)

    assert put(open_store(schema=schema), 1)
    server.execute(f'DROP SCHEMA "{schema}" CASCADE')


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_while_the_tables_are_made_leaves_no_lock_in_the_child(
    store: Store,
) -> None:
    with database_of(store)._migrating:  # as another thread has it
        pid = os.fork()

        if pid == 0:
            os._exit(0 if put(store, 1) else 1)

    try:
        wait_until(lambda: os.waitpid(pid, os.WNOHANG)[0])
    except BaseException:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise

    assert len(store.inspection.jobs()) == 1


def test_a_claim_sorts_nothing_however_much_is_due_at_once(
    server: Program, store: Store
) -> None:
    put(store, 1)
    schema = database_of(store).schema
    claim = prepared(module._filled(module._FIRST_FREE, due._DUE), schema)
    values = {"account": 1, "floor": 0.0, "now": 0.0, "steady": True, "line": ""}

    with server.connect(cursor_factory=psycopg.ClientCursor) as db:
        db.execute("SET enable_seqscan = off; SET enable_bitmapscan = off")
        plan = [line for (line,) in db.execute(f"EXPLAIN {claim}", values)]

    assert any("job_due" in line for line in plan)
    assert not any("Sort" in line for line in plan)


# -- leases ------------------------------------------------------------------------


def test_a_turn_that_takes_long_keeps_its_job_without_a_write(
    open_store: Opener, server: Program
) -> None:
    store = open_store(lease=1.0)
    store = dataclasses.replace(store, queue=type(store.queue)(store.database, lease=1))
    put(store, 1)
    job = store.queue.claim()
    assert job is not None
    before = _version_of(server, store)
    deadline = time.monotonic() + 2.5

    while time.monotonic() < deadline:
        assert store.queue.claim() is None
        time.sleep(0.1)

    assert [each.state for each in store.inspection.jobs()] == ["leased"]
    assert _version_of(server, store) == before
    store.queue.settle(job, "replied", None)


def test_many_turns_that_take_long_keep_no_other_job_from_workers(
    open_store: Opener, server: Program, schema: str
) -> None:
    store = open_store()
    kept = range(1, 121)

    for number in kept:
        put(store, number, number)

    assert all(store.queue.claim() for _ in kept)
    server.execute(f'UPDATE "{schema}".job SET due_at = due_at - 31')
    put(store, 500, 500)
    job = store.queue.claim()

    assert job is not None
    assert job.message_id == 500


def _version_of(server: Program, store: Store) -> t.Any:
    return server.execute(f'SELECT xmin FROM "{database_of(store).schema}".job')


def test_a_post_does_not_start_after_the_beats_have_stopped(
    open_store: Opener, server: Program
) -> None:
    store = open_store()
    put(store, 1)
    job = store.queue.claim()
    assert job is not None
    (draft,) = store.outbox.keep(job, [DraftPart("Hello", False)])
    schema = database_of(store).schema
    database_of(store).processes.leave()
    server.execute(f'UPDATE "{schema}".process SET beaten_at = beaten_at - 60')

    with pytest.raises(LeaseLostError):
        store.outbox.sending(job, draft)
