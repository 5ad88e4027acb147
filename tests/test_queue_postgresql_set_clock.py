"""The clock of PostgreSQL's server, set while processes use it."""

from __future__ import annotations

import contextlib
import math
import time
import typing as t
import uuid

import pytest
from support.postgresql import HOST, Program, postgresql
from support.waiting import wait_until

from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.database import passed
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.queue.postgresql import set_clock
from flask_chatwoot.queue.postgresql.database import PostgreSQLDatabase
from flask_chatwoot.queue.postgresql.url import parse
from flask_chatwoot.queue.schema import JobState
from flask_chatwoot.queue.store import Store

pytestmark = pytest.mark.postgresql

HOUR: t.Final = 3600.0
PAUSE: t.Final = 60.0

_CLOCK: t.Final = """
CREATE SCHEMA {name};
CREATE TABLE {name}.ahead AS SELECT interval '0' AS by;
CREATE FUNCTION {name}.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.clock_timestamp() + by FROM {name}.ahead';
CREATE ROLE {name} LOGIN SUPERUSER;
ALTER ROLE {name} SET search_path = {name}, pg_catalog;
"""


class Site:
    """A server whose clock can be set, as its clients see it, and their stores."""

    def __init__(self, server: Program, name: str) -> None:
        self._server = server
        self._name = name
        self._url = f"postgresql://{name}@{HOST}:{server.port}/postgres"
        self._stack = contextlib.ExitStack()
        server.execute(_CLOCK.format(name=name))

    def set_clock(self, by: float) -> None:
        """Let the clock jump by some seconds."""
        self._server.execute(
            f"UPDATE {self._name}.ahead SET by = by + %s * interval '1 second'", by
        )

    def open_store(self) -> Store:
        """The stores as another process opens them."""
        database = PostgreSQLDatabase(
            parse(self._url), schema=f"{self._name}_rows", account_id=1
        )
        self._stack.callback(database.close)

        return Store.of(database)

    def rows(self, query: str) -> list[tuple[t.Any, ...]]:
        return self._server.execute(query.format(rows=f"{self._name}_rows"))

    def close(self) -> None:
        self._stack.close()


@pytest.fixture(scope="module")
def server() -> t.Iterator[Program]:
    with postgresql() as program:
        yield program


@pytest.fixture
def site(server: Program) -> t.Iterator[Site]:
    with contextlib.closing(Site(server, f"c_{uuid.uuid4().hex[:12]}")) as site:
        yield site


def put(store: Store, number: int) -> None:
    store.queue.put(
        f"1:message_created:{number}",
        conversation_id=number,
        message_id=number,
        payload=b"{}",
    )


def claim(store: Store) -> Job:
    job = store.queue.claim()
    assert job is not None

    return job


def taken_over(store: Store) -> Job | None:
    store.queue.end_leases()

    return store.queue.claim()


def is_steady(store: Store) -> bool:
    return bool(t.cast(PostgreSQLDatabase, store.database).processes.is_steady())


def pauses(site: Site, store: Store) -> list[float]:
    """Seconds for which the jobs still wait."""
    due = site.rows(
        "SELECT due_at FROM {rows}.job WHERE due_at IS NOT NULL ORDER BY id"
    )

    with store.database.read() as tx:
        return [at - tx.now for (at,) in due]


# -- what waits --------------------------------------------------------------------


@pytest.mark.parametrize("by", [-HOUR, -90.0])
def test_a_clock_that_is_set_back_stalls_no_job(site: Site, by: float) -> None:
    store, other = site.open_store(), site.open_store()
    began = time.monotonic()
    put(store, 1)
    store.queue.postpone(claim(store), PAUSE)
    put(store, 2)
    site.set_clock(by)
    assert store.queue.claim() is None

    store.database.checkpoint()
    other.database.checkpoint()  # once, although each process looks

    assert claim(store).message_id == 2
    took = time.monotonic() - began
    assert pauses(site, store)[0] == pytest.approx(PAUSE, abs=1.0 + took)


def test_a_clock_that_is_set_back_while_no_process_runs_stalls_no_job(
    site: Site,
) -> None:
    store = site.open_store()
    put(store, 1)
    store.database.close()
    site.set_clock(-HOUR)

    later = site.open_store()
    later.database.checkpoint()
    assert claim(later).message_id == 1


def test_the_adaptation_is_one_line_of_the_log(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    store = site.open_store()
    store.inspection.report("a", 1)
    put(store, 1)
    site.set_clock(-HOUR - 30)  # it is seen some time later

    for _ in range(3):
        store.database.checkpoint()

    (record,) = caplog.records
    assert "The clock of the database's server was set back by 36" in record.message


def test_a_clock_that_goes_on_adapts_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    store = site.open_store()
    store.database.checkpoint()  # there is nothing yet
    put(store, 1)
    store.inspection.report("a", 1)
    store.queue.postpone(claim(store), PAUSE)
    store.database.checkpoint()

    assert pauses(site, store)[0] == pytest.approx(PAUSE, abs=1.0)
    assert passed(store.database, store.database.clock() - HOUR) == pytest.approx(HOUR)
    assert caplog.text == ""


def test_a_clock_that_is_set_forward_ends_the_pauses(site: Site) -> None:
    store = site.open_store()
    put(store, 1)
    store.queue.postpone(claim(store), PAUSE)
    site.set_clock(HOUR)

    assert claim(store).message_id == 1


def test_a_post_counts_as_sent_when_it_was(site: Site) -> None:
    """Its settle time is neither over nor an hour longer."""
    store = site.open_store()
    put(store, 1)
    job = claim(store)
    (draft,) = store.outbox.keep(job, [DraftPart("Hello", False)])
    store.outbox.sending(job, draft)
    site.set_clock(-HOUR)
    store.database.checkpoint()

    ((sent_at,),) = site.rows("SELECT sent_at FROM {rows}.draft")
    assert store.database.clock() - sent_at == pytest.approx(0.0, abs=2.0)


def sent_without_an_answer(store: Store) -> None:
    """Let a request for a draft go out; its job is due after a pause."""
    put(store, 1)
    job = claim(store)
    (draft,) = store.outbox.keep(job, [DraftPart("Hello", False)])
    store.outbox.sending(job, draft)
    store.queue.postpone(job, PAUSE)


def seconds_since_sent(store: Store) -> float:
    (draft,) = claim(store).drafts
    assert draft.sent_at is not None

    return passed(store.database, draft.unconfirmed_at or draft.sent_at)


def has_noticed(store: Store) -> bool:
    processes = t.cast(PostgreSQLDatabase, store.database).processes

    return bool(processes.set_forward_at > -math.inf)


@pytest.mark.parametrize("noticed", [False, True], ids=["just now", "a beat ago"])
def test_a_clock_that_is_set_forward_ends_no_settle_time(
    site: Site, noticed: bool
) -> None:
    """A post that Chatwoot is still working on would be made twice."""
    store = site.open_store()
    sent_without_an_answer(store)
    site.set_clock(HOUR)

    if noticed:
        wait_until(lambda: has_noticed(store))

    assert 0.0 <= seconds_since_sent(store) < 5.0


def test_a_settle_time_goes_on_after_the_clock_was_set_forward(site: Site) -> None:
    store = site.open_store()
    sent_without_an_answer(store)
    site.set_clock(HOUR)
    wait_until(lambda: has_noticed(store))

    before = seconds_since_sent(store)
    sent_at = store.database.clock() - HOUR
    wait_until(lambda: passed(store.database, sent_at) > before + 0.5)


def test_a_process_that_starts_later_learns_that_the_clock_was_set_forward(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    store = site.open_store()
    sent_without_an_answer(store)
    site.set_clock(HOUR)
    wait_until(lambda: has_noticed(store))

    for _ in range(3):
        store.database.checkpoint()

    assert 0.0 <= seconds_since_sent(site.open_store()) < 5.0
    (record,) = caplog.records
    assert "The clock of the database's server was set forward." in record.message


@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_sweeps_go_on(site: Site, by: float) -> None:
    """That which was under way belongs to a process that may be gone."""
    store = site.open_store()
    store.sweeps.begin()
    store.sweeps.delivered(1, 0.0, None)
    names: dict[str, t.Any] = {"interval": PAUSE, "hold": PAUSE}
    started_at = store.database.clock()
    assert store.sweeps.claim(started_at=started_at, **names) is not None
    assert store.wakes.claim() is not None
    put(store, 1)
    site.set_clock(by)
    store.database.checkpoint()

    assert store.sweeps.claim(started_at=started_at, now=True, **names) is not None
    assert store.wakes.claim() is not None


# -- who has a job -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_a_running_turn_keeps_its_job(site: Site, by: float) -> None:
    store, other = site.open_store(), site.open_store()
    put(store, 1)
    job = claim(store)
    (draft,) = store.outbox.keep(job, [DraftPart("Hello", False)])
    other.database.processes.enter()
    wait_until(lambda: is_steady(other))

    site.set_clock(by)
    found: list[Job | None] = []

    def looks(*, steady: bool) -> bool:
        found.append(taken_over(other))
        other.database.checkpoint()

        return is_steady(other) is steady

    wait_until(lambda: looks(steady=False))  # its next beat finds the gap
    wait_until(lambda: looks(steady=True))

    assert {*found} == {None}
    store.outbox.sending(job, draft)
    assert [each.state for each in store.inspection.jobs()] == [JobState.LEASED]


@pytest.mark.slow
@pytest.mark.parametrize("by", [-HOUR, HOUR])
def test_the_job_of_a_killed_process_is_taken_over(site: Site, by: float) -> None:
    store, other = site.open_store(), site.open_store()
    put(store, 1)
    claim(store)
    other.database.processes.enter()
    processes = t.cast(PostgreSQLDatabase, store.database).processes

    with processes._lock:  # it beats no more
        site.set_clock(by)
        wait_until(lambda: taken_over(other))

    assert [job.attempts for job in store.inspection.jobs()] == [2]


def test_what_was_stored_since_a_transaction_began_is_not_in_the_future(
    site: Site,
) -> None:
    frozen, other = site.open_store().database, site.open_store()
    put(other, 1)

    with frozen.transaction(conversation_id=0) as tx:
        site.set_clock(PAUSE)
        put(other, 2)
        assert set_clock.back_by(tx) == 0.0
