"""The states of jobs and drafts, older files, and how rows are found."""

from __future__ import annotations

import contextlib
import math
import re
import sqlite3
import typing as t
from pathlib import Path

import pytest
from support.queue import (
    BODY,
    LEASE,
    Store,
    everything,
    follow_ups,
    is_intact,
    open_store,
    public,
    read,
)
from support.waiting import Clock

from flask_chatwoot.errors import DatabaseError, LeaseLostError
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership.state import Ownership
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.payloads.fields import Upload
from flask_chatwoot.queue import migrations, schema
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.outbox import Draft, DraftPart
from flask_chatwoot.queue.schema import DraftState, JobState
from flask_chatwoot.queue.transcript import TranscriptEntry
from flask_chatwoot.turns.messages import TAKEOVER

pytestmark = pytest.mark.sqlite

NONE: t.Final = "(none)"
PAUSE: t.Final = 5.0
DRAFT: t.Final = Draft(1, "", False, "")


def tables_in(docstring: str) -> list[dict[str, tuple[list[str], str]]]:
    """The transition tables: of each event where it starts from, and the next state."""
    tables: list[dict[str, tuple[list[str], str]]] = []

    for line in docstring.splitlines():
        cells = re.split(r"\s{2,}", line)

        if cells[0] == "event":
            tables.append({})
        elif len(cells) in (3, 4) and not line.startswith("="):
            tables[-1][cells[0]] = (cells[1].split(), cells[2])

    return tables


JOBS, DRAFTS = tables_in(schema.__doc__ or "")

# -- jobs ------------------------------------------------------------------------


class Scene(t.NamedTuple):
    """A conversation, and the job about message 9001.

    :ivar leases: Those that the job had so far.
    """

    store: Store
    clock: Clock
    leases: list[Job]

    def claim(self) -> Job:
        self.leases.append(self.store.claim())
        return self.leases[-1]

    @property
    def lease(self) -> Job:
        """The newest; one that no job has if there was none."""
        no_lease = Job(1, 42, 9001, BODY, 1, "no token", ())
        return self.leases[-1] if self.leases else no_lease

    @property
    def state(self) -> str:
        states = {job.message_id: job.state for job in self.store.inspection.jobs()}
        return states.get(9001, NONE)

    def postpone(self, *, free: bool = False, reason: str | None = None) -> None:
        self.store.queue.postpone(self.lease, PAUSE, free=free, reason=reason)

    def give_up(self) -> None:
        self.store.queue.give_up(self.lease, "refused", public("Sorry"), handoff=None)

    def settle(self, outcome: str) -> None:
        self.store.settle(self.lease, outcome, None)


class DeadProcess:
    """Claims jobs, and is found dead when somebody looks."""

    keep_leases = False

    def enter(self) -> str:
        return "a process"

    def dead(self) -> t.Iterator[str]:
        yield "a process"

    def since_set_forward(self, clock: float) -> float:
        return math.inf

    def leave(self) -> None: ...


@pytest.fixture
def scene(path: str, clock: Clock) -> t.Iterator[Scene]:
    store = open_store(path, clock, lease=LEASE, window=PAUSE)
    store.database.processes = DeadProcess()
    yield Scene(store, clock, [])
    store.close()


def come_behind(scene: Scene) -> None:
    scene.store.put(9000)
    scene.store.put(9001)


def reach_leased(
    scene: Scene, end: t.Callable[[Scene], None] = lambda scene: None
) -> None:
    scene.store.put(9001)
    scene.claim()
    end(scene)


def reach_retrying(scene: Scene) -> None:
    scene.store.say(9001)
    scene.clock.advance(PAUSE)
    scene.claim()
    scene.postpone()


REACH: dict[str, t.Callable[[Scene], t.Any]] = {
    NONE: lambda scene: None,
    "blocked": come_behind,
    "waiting": lambda scene: scene.store.say(9001),
    "ready": lambda scene: scene.store.put(9001),
    "leased": reach_leased,
    "retrying": reach_retrying,
    "giving_up": lambda scene: reach_leased(scene, Scene.give_up),
    "done": lambda scene: reach_leased(scene, EVENTS["its turn ends"]),
    "dead": lambda scene: reach_leased(scene, EVENTS["its turn ends dead"]),
}


def end_lease(scene: Scene) -> None:
    if scene.state == "leased":
        scene.clock.advance(LEASE)


def end_line(scene: Scene) -> None:
    if scene.state == "blocked":
        scene.store.finish()


def supersede(scene: Scene) -> None:
    scene.store.put(9001)  # or the next message would be first in line
    scene.store.put(9004)
    scene.store.say(9005)
    scene.store.queue.supersede(scene.lease, [(9001, "")], "superseded")


def revive_in_line(scene: Scene) -> None:
    scene.store.put(9006)
    scene.store.inspection.retry([1])


def write_again(scene: Scene) -> None:
    if scene.state == "retrying":
        scene.clock.advance(PAUSE)
        scene.claim()
        scene.postpone(reason=Reason.PROVIDER_FAILED)

    scene.store.say(9008)


def prune(scene: Scene, *, dead: bool) -> None:
    scene.store.put(9007, conversation_id=44)  # the newest row is kept
    scene.store.inspection.prune(older_than=-1, dead=dead)


EVENTS: dict[str, t.Callable[[Scene], t.Any]] = {
    "a delivery is first in line": lambda scene: scene.store.put(9001),
    "a message opens a debounce window": lambda scene: scene.store.say(9001),
    "a delivery comes behind another": come_behind,
    "its window or pause ends": lambda scene: scene.clock.advance(PAUSE),
    "the customer writes again": write_again,
    "its lease ends": end_lease,
    "its process has died": lambda scene: scene.store.queue.end_leases(),
    "a worker claims it": lambda scene: scene.store.queue.claim(),
    "its attempt fails": Scene.postpone,
    "its attempt does not count": lambda scene: scene.postpone(free=True),
    "its turn is given up": Scene.give_up,
    "its turn ends": lambda scene: scene.settle("replied"),
    "its turn ends dead": lambda scene: scene.settle("dead"),
    "the next turn answers it too": supersede,
    "the job before it ends": end_line,
    "an operator revives it": lambda scene: scene.store.inspection.retry([1]),
    "an operator revives it in a line": revive_in_line,
    "it is pruned": lambda scene: prune(scene, dead=False),
    "it is pruned with the dead": lambda scene: prune(scene, dead=True),
}

NEEDS_LEASE = {event for event, (starts, _) in JOBS.items() if starts == ["leased"]}
NEEDS_LEASE -= {"its lease ends", "its process has died"}


def test_every_event_of_the_tables_is_tested_and_every_state_is_reached() -> None:
    assert list(EVENTS) == list(JOBS)
    assert list(DRAFT_EVENTS) == list(DRAFTS)
    assert set(REACH) == {*JobState, NONE}
    assert set(REACH_DRAFT) == {*DraftState, NONE}


@pytest.mark.parametrize("state", REACH)
@pytest.mark.parametrize("event", EVENTS)
def test_every_event_does_as_the_table_says(
    scene: Scene, event: str, state: str
) -> None:
    starts, target = JOBS[event]

    if state == NONE and NONE not in starts:
        return  # there is no job that anything could happen to

    REACH[state](scene)
    assert scene.state == state
    expected = target if state in starts else state

    lost = event in NEEDS_LEASE and state != "leased"

    with contextlib.suppress(LeaseLostError) if lost else contextlib.nullcontext():
        EVENTS[event](scene)

    assert scene.state == expected


@pytest.mark.parametrize(
    ("end", "state"), [("its turn ends", "done"), ("its attempt fails", "retrying")]
)
def test_a_late_worker_may_end_its_lease(scene: Scene, end: str, state: str) -> None:
    reach_leased(scene)
    scene.clock.advance(LEASE)
    assert scene.state == "ready"
    EVENTS[end](scene)
    assert scene.state == state


def test_a_job_that_was_given_up_is_giving_up_until_it_ends(scene: Scene) -> None:
    REACH["giving_up"](scene)
    scene.claim()
    assert scene.state == "leased"
    scene.clock.advance(LEASE)
    assert scene.state == "giving_up"
    scene.claim()
    scene.postpone()
    assert scene.state == "giving_up"
    scene.clock.advance(PAUSE)
    scene.claim()
    scene.settle("dead")
    assert scene.state == "dead"


# -- drafts ----------------------------------------------------------------------


def draft_state(store: Store) -> str:
    (job,) = store.inspection.story(42)
    return job.drafts[0].state if job.drafts else NONE


def settle(outcome: str, *, keeps: bool = False) -> t.Callable[[Store, Job], None]:
    def end(store: Store, job: Job) -> None:
        if keeps:
            store.keep(job)

        store.settle(job, outcome)

    return end


REACH_DRAFT: dict[str, t.Callable[[Store, Job], t.Any]] = {
    NONE: lambda store, job: None,
    "kept": Store.keep,
    "sending": Store.sent,
    "unconfirmed": lambda store, job: store.outbox.unconfirmed(store.sent(job)),
    "posted": lambda store, job: store.outbox.posted(store.sent(job), 20001),
    "withheld": settle("replied", keeps=True),
    "undelivered": settle("dead", keeps=True),
}

DRAFT_EVENTS: dict[str, t.Callable[[Store, Job], t.Any]] = {
    "a provider has answered": Store.keep,
    "a request is about to go out": lambda store, job: store.outbox.sending(job, DRAFT),
    "the request surely made nothing": lambda store, job: store.outbox.unsent(
        job, DRAFT
    ),
    "the request has no answer": lambda store, job: store.outbox.unconfirmed(DRAFT),
    "Chatwoot has it": lambda store, job: store.outbox.posted(DRAFT, 20001),
    "evidence of it is found": lambda store, job: store.outbox.posted(DRAFT, 20001),
    "its question is changed": lambda store, job: store.revisions.add(
        42, 9001, "new", is_known=lambda kept, payload: False
    ),
    "the channel refuses it": lambda store, job: store.outbox.refused(20001),
    "its job is done": settle("replied"),
    "its job is done unconfirmed": settle("replied"),
    "its job is dead": settle("dead"),
    "its job is dead while it is sent": settle("dead"),
}


@pytest.mark.parametrize(
    ("event", "state"),
    [(event, state) for event, (starts, _) in DRAFTS.items() for state in starts],
)
def test_every_event_of_a_draft_is_as_in_the_table(
    store: Store, event: str, state: str
) -> None:
    store.say(9001)
    job = store.claim()
    REACH_DRAFT[state](store, job)
    assert draft_state(store) == state

    DRAFT_EVENTS[event](store, job)

    assert draft_state(store) == DRAFTS[event][1]


def test_the_answer_of_a_job_that_was_given_up_is_undelivered(store: Store) -> None:
    store.put(9001)
    job = store.claim()
    store.keep(job)
    store.sent(job)
    store.queue.give_up(job, "refused", public("Sorry."), handoff=None)

    (story,) = store.inspection.story(42)
    states = [draft.state for draft in story.drafts]
    assert states == ["undelivered", "unconfirmed", "kept"]


# -- older files -----------------------------------------------------------------

OLD_VERSIONS: t.Final = (3, 4, 5, 6, 7)


@pytest.fixture(params=OLD_VERSIONS)
def old(path: str, request: pytest.FixtureRequest) -> str:
    """The path of a file of an older version, with rows in every table."""
    script = Path(__file__).parent / f"support/schema_{request.param}.sql"
    db = sqlite3.connect(path)
    db.executescript(script.read_text(encoding="utf-8"))
    db.close()

    return path


def test_every_older_version_is_migrated() -> None:
    assert set(migrations.MIGRATIONS) == {0, *OLD_VERSIONS}


def test_an_older_file_is_migrated_with_all_it_holds(old: str, clock: Clock) -> None:
    store = open_store(old, clock)

    states = [job.state for job in store.inspection.jobs()]
    assert states == ["ready", "leased", "blocked", "ready", "dead", "done"]
    assert not store.queue.put("k1", conversation_id=41, message_id=1, payload=BODY)
    assert store.outbox.is_ours(20001)
    job = store.claim()
    assert (job.id, job.payload, follow_ups(job)) == (3, b"3", [(9006, "said", b"6")])
    store.settle(job)
    assert store.claim().id == 4
    assert store.claim().kind == TAKEOVER
    assert store.inspection.retry([2]) == [2]

    known = OwnershipStore(store.database).load(42)
    assert known._replace(former=None) == Ownership(True, True, None, 9000, 5.5, 8000)
    entries = [TranscriptEntry(8999, "user", "Hello")]
    assert store.transcript.read(42, before=None, limit=9) == entries
    assert store.transcript.is_kept()
    assert store.inspection.health().workers == 4

    clock.now = 2e9
    job = store.claim_of(43)
    (draft,) = job.drafts
    assert (job.attempts, draft.choices, draft.sent_at) == (3, (("A", "a"),), 17.0)
    assert store.inspection.story(43)[0].drafts[0].state is DraftState.UNCONFIRMED
    assert store.outbox.files(draft) == [Upload("a.txt", b"a", "text/plain")]
    store.close()
    assert is_intact(old)


def names_in(path: str) -> list[tuple[t.Any, ...]]:
    """Tables, indexes and columns."""
    made = read(path, "SELECT type, name, tbl_name FROM sqlite_master ORDER BY name")
    columns = [
        (name, *column[1:4])
        for kind, name, _ in made
        if kind == "table"
        for column in read(path, f"PRAGMA table_info({name})")
    ]

    return [*made, *sorted(columns)]


def test_a_migrated_file_has_all_tables(old: str, tmp_path: Path, clock: Clock) -> None:
    new = str(tmp_path / "new")

    for path in (old, new):
        store = open_store(path, clock)
        store.inspection.jobs()
        store.close()

    assert read(old, "PRAGMA user_version") == [(schema.VERSION,)]
    assert read(old, "PRAGMA foreign_key_check") == []
    assert names_in(old) == names_in(new)

    db = sqlite3.connect(old)
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("DELETE FROM job")
    assert db.execute("SELECT count(*) FROM draft").fetchone() == (0,)
    db.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    old: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing = {n: (*each, "no statement") for n, each in migrations.MIGRATIONS.items()}
    before = everything(old)

    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", failing)

        with pytest.raises(DatabaseError, match="syntax error"):
            open_store(old, clock).inspection.jobs()

    assert everything(old) == before
    assert len(open_store(old, clock).inspection.jobs()) == 6


@pytest.mark.parametrize("version", [1, 2, 99])
def test_a_file_of_another_version_is_kept(
    store: Store, path: str, version: int
) -> None:
    store.put(9001)
    store.close()
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {version}")
    db.close()

    for _ in range(2):
        refusal = f"version {version} .* or set CHATWOOT_DATABASE_URL to another file"

        with pytest.raises(DatabaseError, match=refusal):
            store.put(9002)

    assert len(everything(path)) == 1


# -- how rows are found ----------------------------------------------------------


def is_a_search(step: str) -> bool:
    """Whether a step of a plan looks up rows instead of reading them all."""
    return "SCAN" not in step or step == "SCAN CONSTANT ROW"


def test_no_statement_of_a_turn_reads_a_whole_table(store: Store) -> None:
    store.put(9000, conversation_id=1)
    statements: list[str] = []
    db = store.connection
    db.set_trace_callback(statements.append)

    store.put(9001)
    store.put(9002)
    store.put(9003, conversation_id=43)
    store.queue.postpone(store.claim(), 0, free=True)
    store.queue.postpone(store.claim(), 0, free=True)
    job = store.claim()
    store.queue.renew(job)
    draft = store.sent(job)
    store.outbox.under_way(42, message_id=20001)
    store.outbox.unsent(job, draft)
    store.outbox.posted(draft, 20001)
    store.outbox.is_ours(20001)
    store.settle(job, "dead", "refused")
    store.inspection.retry([job.id])
    talk(store)

    db.set_trace_callback(None)
    verbs = ("SELECT", "INSERT", "UPDATE", "DELETE")
    asked = [s for s in statements if s.split()[0] in verbs]
    plans = {s: db.execute(f"EXPLAIN QUERY PLAN {s}").fetchall() for s in asked}
    steps = {s: [row[-1] for row in plan] for s, plan in plans.items()}
    sorting = {s: p for s, p in steps.items() if "TEMP B-TREE" in " ".join(p)}

    assert len(steps) >= 30
    assert {s: p for s, p in steps.items() if not all(map(is_a_search, p))} == {}
    # The messages of one turn may be sorted, since they were found by its number.
    assert all("follow_up USING INDEX follow_up_job" in p[0] for p in sorting.values())


def talk(store: Store) -> None:
    """A conversation with bursts, a hand-off and a failure."""
    store.say(9101, conversation_id=50)
    first = store.claim_of(50)
    store.say(9102, conversation_id=50)
    store.say(9103, conversation_id=50)
    store.queue.supersede(first, [(9101, "one")], "superseded")
    job = store.claim_of(50)
    assert len(job.follow_ups) == 2
    file = Upload("a.txt", b"text", "text/plain")
    part = DraftPart("Which?", False, [("A", "a")], [file])
    (draft,) = store.outbox.keep(job, [part], handoff="{}")
    store.outbox.files(draft)
    store.queue.give_up(job, "refused", public("Sorry."), handoff=None)
    job = store.claim_of(50)
    store.outbox.unconfirmed(draft)
    store.outbox.posted(job.drafts[0], 20002)
    store.settle(job)
