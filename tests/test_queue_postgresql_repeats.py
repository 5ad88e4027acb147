"""Writes to PostgreSQL whose connection is reset at the commit.

Whether that is lost before the server gets it, or its answer is: what was to be written
is there once, and whoever writes gets the same result as ever.
"""

from __future__ import annotations

import contextlib
import functools
import typing as t
from pathlib import Path
from unittest import mock

import pytest
from support.databases import POSTGRESQL_URL, schema_of
from support.queue import public
from support.relay import HOST, Relay
from support.waiting import wait_until

from flask_chatwoot.ownership import state
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.database import Transaction
from flask_chatwoot.queue.jobs import FailedBy
from flask_chatwoot.queue.outbox import Draft
from flask_chatwoot.queue.postgresql.database import PostgreSQLDatabase
from flask_chatwoot.queue.postgresql.url import parse
from flask_chatwoot.queue.reviews import ShownDraft
from flask_chatwoot.queue.store import Store
from flask_chatwoot.queue.suggestions import Claimed, Ended, Wanted
from flask_chatwoot.queue.sweeps import Reading
from flask_chatwoot.queue.transcript import TranscriptEntry
from flask_chatwoot.workers import InlineBackend

pytestmark = pytest.mark.postgresql

HERE: t.Final = 7
"""The conversation that all is about."""


class Site:
    """Stores that reach the database through a relay, and what they hold."""

    def __init__(self, relay: Relay, schema: str) -> None:
        address = parse(POSTGRESQL_URL)
        url = f"postgresql://{address.user}@{HOST}:{relay.port}/{address.database}"
        self.relay = relay
        self.database = PostgreSQLDatabase(parse(url), schema=schema, account_id=1)
        self.store = Store.of(self.database)
        self.ownership = OwnershipStore(self.database)

    def put(self, number: int, tx: Transaction | None = None) -> bool:
        return self.store.queue.put(
            f"1:message_created:{number}",
            conversation_id=HERE,
            message_id=number,
            payload=b"{}",
            tx=tx,
        )

    def claimed(self) -> Job:
        self.put(1)
        job = self.store.queue.claim()
        assert job is not None

        return job

    def sent(self, job: Job) -> Draft:
        (draft,) = self.store.outbox.keep(job, public("Hello"))
        self.store.outbox.sending(job, draft)

        return draft

    def rows(self, query: str) -> list[tuple[t.Any, ...]]:
        with self.database.read() as tx:
            return tx.execute(query).fetchall()


Opener = t.Callable[[str], Site]


@pytest.fixture
def open_site(tmp_path: Path) -> t.Iterator[Opener]:
    port = int(parse(POSTGRESQL_URL).hosts[0].port or 5432)

    with contextlib.ExitStack() as stack:
        relay = stack.enter_context(Relay(port))

        def open_one(name: str) -> Site:
            site = Site(relay, schema_of(tmp_path / name))
            stack.callback(site.database.close)

            with site.database.transaction(conversation_id=0):
                pass  # its tables are made, and are the account's

            return site

        yield open_one


Write = t.Callable[[], object]
Prepare = t.Callable[[Site], Write]
"""Returns what writes, once all is there that it needs."""


def put(site: Site) -> Write:
    return lambda: site.put(1)


def claim(site: Site) -> Write:
    site.put(1)
    site.database.processes.enter()

    # The server may need a moment to notice that the first claim is gone.
    return lambda: wait_until(lambda: site.store.queue.claim() is not None)


def keep(site: Site) -> Write:
    job = site.claimed()

    return lambda: len(site.store.outbox.keep(job, public("Hello")))


def unsent(site: Site) -> Write:
    job = site.claimed()
    draft = site.sent(job)

    return lambda: site.store.outbox.unsent(job, draft)


def unsent_and_outdated(site: Site) -> Write:
    job = site.claimed()
    draft = site.sent(job)

    return lambda: site.store.outbox.unsent(job, draft, outdated=True)


def failed(site: Site) -> Write:
    job = site.claimed()

    return lambda: site.store.queue.failed(job, FailedBy.PROVIDER)


def superseded(site: Site) -> Write:
    job = site.claimed()
    site.put(2)

    return lambda: site.store.queue.supersede(job, [(1, "Hello")], "superseded")


def settled(site: Site) -> Write:
    job = site.claimed()

    return lambda: site.store.queue.settle(job, "replied", None)


def let_go(site: Site) -> Write:
    site.claimed()
    site.rows("UPDATE job SET due_at = due_at - 60 RETURNING id")

    return lambda: site.store.queue.let_go(set())


def revised(site: Site) -> Write:
    site.put(1)
    add = site.store.revisions.add

    return lambda: add(HERE, 1, "Bye", is_known=lambda said, _: said == "Bye")


def revived(site: Site) -> Write:
    job = site.claimed()
    site.store.queue.settle(job, "dead", "provider_failed")

    return lambda: site.store.inspection.retry([job.id])


def remembered(site: Site) -> Write:
    entries = [TranscriptEntry(1, "user", "Hello")]

    return lambda: site.store.transcript.add(HERE, entries)


def taken_over(site: Site) -> Write:
    site.put(1)
    wrote = functools.partial(state.operator_wrote, message_id=1)

    return lambda: site.ownership.apply(HERE, wrote)


def host_post(site: Site) -> Write:
    begin = site.store.outbox.by_host.begin

    return lambda: begin(HERE, "Hello", private=False, marker="m")._replace(id=0)


def wake_claimed(site: Site) -> Write:
    return lambda: site.store.wakes.claim() is not None


def woken(site: Site) -> Write:
    site.put(1)

    return lambda: site.store.wakes.take_due(10)


def begun(site: Site) -> None:
    site.store.sweeps.begin()
    site.store.sweeps.delivered(1, 0.0, None)


def delivered(site: Site) -> Write:
    site.store.sweeps.begin()

    return lambda: site.store.sweeps.delivered(1, 0.0, None)


def claim_sweep(site: Site) -> bool:
    claimed = site.store.sweeps.claim(
        interval=60.0, started_at=0.0, hold=60.0, now=True
    )

    return claimed is not None


def sweep_claimed(site: Site) -> Write:
    begun(site)

    return lambda: claim_sweep(site)


def swept(site: Site) -> Write:
    begun(site)
    claimed = site.store.sweeps.claim(
        interval=60.0, started_at=0.0, hold=60.0, now=True
    )
    assert claimed is not None

    return lambda: site.store.sweeps.swept(
        claimed[0], began=1.0, interval=60.0, newest_id=1, floor=0.0
    )


def swept_in_vain(site: Site) -> Write:
    begun(site)
    claimed = site.store.sweeps.claim(
        interval=60.0, started_at=0.0, hold=60.0, now=True
    )
    assert claimed is not None

    return lambda: site.store.sweeps.failed(
        claimed[0], "no answer", failures=1, due=1.0, by_inbox=0.0
    )


def stopped(site: Site) -> Write:
    begun(site)

    return lambda: site.store.sweeps.stop(9)


def read_by_catch_up(site: Site) -> Write:
    return lambda: site.store.sweeps.note(HERE, Reading(1, 2.0))


REPLY: t.Final = Wanted(HERE, b"state")


def asked(site: Site) -> Write:
    def claims() -> bool:
        found = site.store.suggestions.ask(REPLY)
        assert isinstance(found, Claimed)

        return site.rows("SELECT claim FROM suggestion") == [(found.claim,)]

    return claims


def asked_for_the_same(site: Site) -> Write:
    site.store.suggestions.ask(REPLY)

    return lambda: site.store.suggestions.ask(REPLY)


def left(site: Site) -> Write:
    asked_for_the_same(site)()

    return lambda: site.store.suggestions.leave(REPLY)


def taken(site: Site) -> Write:
    """The text of a suggestion, by the last who waits for it."""
    claimed = site.store.suggestions.ask(REPLY)
    assert isinstance(claimed, Claimed)
    site.store.suggestions.end(claimed, Ended("Hello", None))

    return lambda: site.store.suggestions.ask(REPLY, again=True)


def taken_by_one_of_two(site: Site) -> Write:
    take = taken(site)
    site.rows("UPDATE suggestion SET waiting = 2 RETURNING waiting")

    return take


def kept_for_review(site: Site) -> Write:
    draft = ShownDraft(HERE, None, "{}", 1, "Hello")

    return lambda: site.store.reviews.keep(draft)


def answered(site: Site) -> Write:
    kept_for_review(site)()

    return lambda: site.store.reviews.answer(HERE, 2, "Hello")


def reviewed(site: Site) -> Write:
    answered(site)()
    found = site.store.reviews.next()
    assert found is not None

    return lambda: site.store.reviews.end(found, "used")


class Runner:
    """Runs no jobs."""

    def __init__(self) -> None:
        self.run = mock.Mock()
        self.when_stuck = mock.Mock()

    def run_once(self) -> bool:
        return False


def accepted_inline(site: Site) -> Write:
    site.database.processes.enter()
    runner, event = Runner(), mock.Mock()
    event.conversation.id = HERE
    backend = InlineBackend(t.cast(t.Any, runner), site.store)

    def put(*, tx: Transaction | None = None) -> bool:
        return site.put(1, tx)

    def accept() -> tuple[bool, list[int]]:
        is_new = backend.accept(put, event, b"{}")

        return is_new, [call.args[0].message_id for call in runner.run.call_args_list]

    return accept


WRITES: t.Final[list[Prepare]] = [
    *(put, claim, keep, unsent, unsent_and_outdated, failed, superseded, settled),
    *(let_go, revised, revived, remembered, taken_over, host_post),
    *(wake_claimed, woken, delivered, sweep_claimed, swept, swept_in_vain, stopped),
    *(read_by_catch_up, asked, asked_for_the_same, left, taken, taken_by_one_of_two),
    *(kept_for_review, answered, reviewed, accepted_inline),
]

TABLES: t.Final = {
    "job": "message_id, attempts, provider_attempts, claim IS NULL, worker IS NULL,"
    " outcome",
    "follow_up": "job_id, message_id, said",
    "draft": "job_id, content, sent_at IS NULL",
    "conversation": "id, taken, operator_message_id",
    "transcript": "message_id, content",
    "host_post": "marker, message_id",
    "woken": "conversation_id",
    "waking": "claim IS NULL",
    "sweep": "began_with, settled, claim IS NULL, failures, foreign_id, newest_id",
    "reading": "conversation_id, message_id",
    "suggestion": "conversation_id, waiting, content",
    "suggested": "conversation_id",
    "review": "draft, reply",
    "review_count": "kind, verdict, drafts",
}


def contents(site: Site) -> dict[str, list[tuple[t.Any, ...]]]:
    return {
        table: sorted(site.rows(f"SELECT {columns} FROM {table}"), key=repr)
        for table, columns in TABLES.items()
    }


@pytest.mark.parametrize("passed", [False, True], ids=["commit lost", "answer lost"])
@pytest.mark.parametrize("prepare", WRITES)
def test_a_write_whose_connection_is_reset_at_the_commit_is_made_once(
    open_site: Opener, prepare: Prepare, passed: bool
) -> None:
    sound = open_site("sound")
    expected = prepare(sound)(), contents(sound)

    site = open_site("broken")
    write = prepare(site)
    site.relay.lose(b"COMMIT\0", passed=passed)
    result = write()

    assert site.relay.is_lost
    assert (result, contents(site)) == expected
