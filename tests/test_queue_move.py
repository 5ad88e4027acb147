"""The rows of a file move to PostgreSQL: all of them once, whatever happens."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from support import databases
from support.databases import own_role, own_schema
from support.moves import (
    LONG_AGO,
    SERVER,
    content_of_file,
    content_of_schema,
    fill,
    target,
)
from support.queue import Store, everything, open_store, read
from support.waiting import wait_until

from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.queue import moved
from flask_chatwoot.queue.liveness import ProcessLocks
from flask_chatwoot.queue.moved import TABLES
from flask_chatwoot.queue.reviews import ShownDraft
from flask_chatwoot.queue.schema import CREATE
from flask_chatwoot.queue.timeline import Timeline

psycopg = pytest.importorskip("psycopg", reason="needs psycopg")

from flask_chatwoot.queue.move import Moved, move  # noqa: E402
from flask_chatwoot.queue.postgresql.database import PostgreSQLDatabase  # noqa: E402
from flask_chatwoot.queue.postgresql.url import parse  # noqa: E402

pytestmark = pytest.mark.sqlite

PROGRAMS: t.Final = Path(__file__).parent / "support/programs"

FILLED: t.Final = Moved(unfinished=5, dead=1)
"""What a move of the filled file says."""


@pytest.fixture
def schema() -> t.Iterator[str]:
    with own_schema() as name:
        yield name


@pytest.fixture
def filled(path: str) -> str:
    fill(path)
    return path


@contextlib.contextmanager
def opened(schema: str, *, account_id: int = 1) -> t.Iterator[Store]:
    """The stores of a schema, as the app has them after the move."""
    database = PostgreSQLDatabase(
        parse(databases.POSTGRESQL_URL),
        schema=schema,
        account_id=account_id,
        base_url=SERVER,
    )

    with contextlib.closing(database):
        yield Store.of(database)


def execute(path: str, statement: str) -> int:
    """Write as a process that knows nothing of moves; the number of rows."""
    with contextlib.closing(sqlite3.connect(path)) as db, db:
        return db.execute(statement).rowcount


# -- what arrives ------------------------------------------------------------------


def test_all_that_is_known_arrives(filled: str, schema: str) -> None:
    expected = content_of_file(filled)
    assert all(expected.values())

    assert move(filled, 1, target(schema)) == FILLED
    assert content_of_schema(schema) == expected


def test_the_app_goes_on_where_it_was(filled: str, schema: str) -> None:
    move(filled, 1, target(schema))

    with opened(schema) as store:
        assert not store.say(LONG_AGO + 1, conversation_id=41), "a duplicate"
        assert not store.say(4203), "a duplicate of a follow-up"
        assert store.say(4205)
        job = store.claim_of(42)
        assert (job.message_id, job.attempts, job.handoff) == (4201, 2, "{}")
        (draft,) = job.drafts
        assert draft.sent_at == pytest.approx(store.now, abs=30.0)
        assert [each.content for each in store.outbox.files(draft)] == [b"a"]
        store.settle(job)
        burst = store.claim_of(42)
        assert [each.message_id for each in burst.follow_ups] == [4203, 4205]
        assert store.inspection.retry([3]) == [3]
        assert store.outbox.is_ours(9001)


def test_catch_up_goes_on_if_the_file_was_proven(filled: str, schema: str) -> None:
    move(filled, 1, target(schema))

    with opened(schema) as store:
        assert store.sweeps.is_proven(store.sweeps.state())
        assert store.sweeps.inboxes() == [3]


def test_a_copy_of_a_file_proves_nothing(
    filled: str, schema: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy.sqlite3"
    copy.write_bytes(Path(filled).read_bytes())
    move(str(copy), 1, target(schema))

    with opened(schema) as store:
        assert not store.sweeps.is_proven(store.sweeps.state())


def test_times_are_adapted_to_the_clock_of_the_database(
    filled: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((before,),) = read(filled, "SELECT due_at FROM job WHERE message_id = 4301")
    ahead = Timeline.__call__
    monkeypatch.setattr(Timeline, "__call__", lambda self: ahead(self) + 1000)
    move(filled, 1, target(schema))

    with databases.connected() as db:
        ((after,),) = db.execute(
            f'SELECT due_at FROM "{schema}".job WHERE message_id = 4301'  # noqa: S608
        ).fetchall()

    assert after == pytest.approx(before - 1000, abs=5.0)


def test_each_table_is_copied_or_of_no_use_elsewhere() -> None:
    made = {*re.findall(r"CREATE TABLE (\w+)", "\n".join(CREATE))}

    assert made == {*TABLES, "worker", "suggestion", "suggested", "review"}


def test_no_text_of_a_draft_is_left_behind(filled: str, schema: str) -> None:
    store = open_store(filled)
    store.reviews.keep(ShownDraft(42, None, "{}", 1, "Hello"))
    store.close()
    move(filled, 1, target(schema))

    assert read(filled, "SELECT draft FROM review") == []


def test_an_older_file_is_migrated_first(tmp_path: Path, schema: str) -> None:
    path = str(tmp_path / "old.sqlite3")
    script = Path(__file__).parent / "support/schema_5.sql"

    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(script.read_text(encoding="utf-8"))

    assert move(path, 1, target(schema)) == Moved(unfinished=4, dead=1)


def test_a_role_needs_no_right_to_create(filled: str, schema: str) -> None:
    from flask_chatwoot.queue.postgresql import migration

    with own_role() as role, databases.connected() as db:
        for statement in (
            *migration.statements(schema),
            *migration.grants(schema, role),
        ):
            db.execute(statement)

        assert move(filled, 1, target(schema, url=databases.url_of(role))) == FILLED


# -- what is left in the file ------------------------------------------------------


WRITES: t.Final = (
    "UPDATE job SET claim = 'x', due_at = 0 WHERE message_id = 4201",
    "UPDATE job SET finished_at = NULL, outcome = NULL WHERE message_id = 4102",
    "INSERT INTO job (account_id, conversation_id, message_id, key, kind, received_at)"
    " VALUES (1, 42, 9, 'k', 'message', 0)",
    "INSERT INTO conversation (account_id, id, touched_at) VALUES (1, 9, 0)",
    "UPDATE conversation SET taken = 1",
    "UPDATE sweep SET claim = 'x'",
    "INSERT INTO told VALUES (1, 9, '{}', 0)",
    "INSERT INTO worker (account_id, name, threads, seen_at) VALUES (1, 'x', 1, 0)",
)
"""What an app writes, among it whatever would lead to a post."""


@pytest.mark.parametrize("statement", WRITES)
def test_no_release_works_on_with_the_file(
    filled: str, schema: str, statement: str
) -> None:
    move(filled, 1, target(schema))

    with pytest.raises(sqlite3.IntegrityError, match=r"moved .* set CHATWOOT_DATA"):
        execute(filled, statement)


def test_no_job_of_the_file_is_due_or_has_a_turn_to_come(
    filled: str, schema: str
) -> None:
    move(filled, 1, target(schema))

    assert read(filled, "SELECT DISTINCT outcome FROM job ORDER BY 1") == [
        ("moved",),
        ("replied",),
    ]
    assert not read(
        filled,
        "SELECT 1 FROM job WHERE due_at IS NOT NULL OR finished_at IS NULL"
        " OR claim IS NOT NULL",
    )


def test_a_process_that_had_the_file_open_is_refused(filled: str, schema: str) -> None:
    before = open_store(filled, clock=lambda: 1_900_000_000.0)  # keeps no lock
    assert before.inspection.jobs()
    move(filled, 1, target(schema))

    with pytest.raises(DatabaseError, match=r"moved to postgresql.* set CHATWOOT_DATA"):
        before.put(1)

    with pytest.raises(DatabaseError, match="its jobs were moved"):
        before.queue.claim()

    before.close()


def test_a_process_that_opens_the_file_is_told_where_its_rows_are(
    filled: str, schema: str
) -> None:
    move(filled, 1, target(schema))
    store = open_store(filled)

    with pytest.raises(DatabaseError, match=f"moved to postgresql.*schema {schema}; s"):
        store.put(1)


def test_another_account_of_the_file_goes_on(filled: str, schema: str) -> None:
    neighbour = open_store(filled, account_id=2)
    neighbour.put(1)
    neighbour.close()
    move(filled, 1, target(schema))

    assert neighbour.put(2, conversation_id=7)
    assert [neighbour.finish(), neighbour.finish()] == [1, 2]
    neighbour.close()


# -- what is refused ---------------------------------------------------------------


def assert_unchanged(path: str, before: list[tuple[t.Any, ...]]) -> None:
    """Nothing was moved, and the file can be used."""
    assert everything(path) == before
    store = open_store(path)
    assert store.claim_of(46).message_id == 4601
    store.close()


@pytest.mark.parametrize("seen_by", ["the clock's lock", "the process's lock"])
def test_a_file_that_a_process_uses_is_not_moved(
    filled: str, schema: str, seen_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "clock" in seen_by:
        monkeypatch.setattr(ProcessLocks, "are_others_alive", lambda self: False)
    else:
        monkeypatch.setattr(Timeline, "is_alone", lambda self: True)

    holder = subprocess.Popen(
        [sys.executable, str(PROGRAMS / "queue_programs.py"), "hold", filled],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()

        with pytest.raises(DatabaseError, match=r"A process uses .* stop the app"):
            move(filled, 1, target(schema))

        assert holder.stdin is not None
        holder.stdin.close()

    def tried() -> Moved | None:
        with contextlib.suppress(DatabaseError):  # its child is about to end
            return move(filled, 1, target(schema))

        return None

    assert wait_until(tried) == FILLED


def test_a_schema_in_use_is_refused(filled: str, schema: str) -> None:
    with opened(schema) as store:
        store.put(1)

    before = everything(filled)

    with pytest.raises(DatabaseError, match="rows in the table 'job' already"):
        move(filled, 1, target(schema))

    assert_unchanged(filled, before)


def test_an_app_may_have_started_with_the_schema(filled: str, schema: str) -> None:
    with opened(schema) as store:
        store.sweeps.begin()

    assert move(filled, 1, target(schema)) == FILLED


def test_the_schema_of_another_account_is_refused(filled: str, schema: str) -> None:
    with opened(schema, account_id=2) as store:
        store.put(1)  # what only looks claims no schema

    before = everything(filled)

    with pytest.raises(DatabaseError, match="belongs to account 2 of"):
        move(filled, 1, target(schema))

    assert_unchanged(filled, before)


def test_an_error_of_postgresql_leaves_the_file_as_it_was(
    filled: str, schema: str
) -> None:
    with opened(schema) as store:
        store.inspection.health()

    with databases.connected() as db:
        db.execute(f'ALTER TABLE "{schema}".host_post ADD CHECK (files > 7)')

    before = everything(filled)

    with pytest.raises(DatabaseError, match="CheckViolation"):
        move(filled, 1, target(schema))

    assert_unchanged(filled, before)
    assert not content_of_schema(schema)["job"]


def test_what_was_moved_is_not_moved_again(filled: str, schema: str) -> None:
    move(filled, 1, target(schema))
    before = content_of_schema(schema)

    assert move(filled, 1, target(schema)) == Moved(again=True)
    assert content_of_schema(schema) == before

    with (
        own_schema() as other,
        pytest.raises(DatabaseError, match=f"elsewhere.*{schema}"),
    ):
        move(filled, 1, target(other))


@pytest.fixture
def halfway(filled: str, schema: str) -> str:
    """A file whose move ended between the two commits."""

    def fail(self: object, *_: object, **__: object) -> t.NoReturn:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        begin = moved.begin

        def begin_and_fail(*arguments: t.Any) -> None:
            begin(*arguments)
            patch.setattr("psycopg.transaction.BaseTransaction._commit_gen", fail)

        patch.setattr(moved, "begin", begin_and_fail)

        with pytest.raises(KeyboardInterrupt):
            move(filled, 1, target(schema))

    return filled


def test_half_of_a_move_is_named_with_the_remedy(halfway: str) -> None:
    store = open_store(halfway)

    with pytest.raises(DatabaseError, match=r"on their way to .*repeat flask chatwoot"):
        store.put(1)

    with pytest.raises(sqlite3.IntegrityError, match="its jobs were moved"):
        execute(halfway, "DELETE FROM job WHERE outcome = 'moving'")


def test_half_of_a_move_is_undone_if_it_cannot_be_repeated(
    halfway: str, schema: str
) -> None:
    with opened(schema) as store:
        store.put(1)

    with pytest.raises(DatabaseError, match="rows in the table 'job' already"):
        move(halfway, 1, target(schema))

    store = open_store(halfway)
    assert store.claim_of(46).message_id == 4601
    assert store.inspection.retry([3]) == [3]
    store.close()


# -- kills -------------------------------------------------------------------------


@pytest.mark.slow
def test_a_move_that_is_killed_at_any_step_is_repeated(
    filled: str, schema: str
) -> None:
    """Each statement of each database is the last one of a process."""
    expected = content_of_file(filled)

    program = subprocess.run(
        [sys.executable, str(PROGRAMS / "killed_moves.py"), filled, schema],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )

    found = json.loads(program.stdout)
    assert found["wrong"] == []
    assert found["kills"] > 50
    # Before the commit of the file, between the two, and after that of PostgreSQL.
    assert all(found["left"].values()), found["left"]
    assert content_of_schema(schema) == expected
