"""The migration of older files of SQLite."""

import typing as t

from .schema import (
    CREATE,
    FROM_OUTSIDE,
    INDEXES,
    JOB_COLUMNS,
    REVIEWED,
    SUGGESTED,
    SWEEPS,
)

_KEPT_COLUMNS: t.Final = """
    id, account_id, conversation_id, message_id, key, kind, received_at, claim,
    attempts, handoff, failure, finished_at, outcome, reason, payload
"""

_KNOWN: t.Final = (
    # What an event about a conversation knew; see ownership.state.
    "ALTER TABLE conversation ADD COLUMN handoff_message_id INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE conversation ADD COLUMN taken_at REAL",
    "ALTER TABLE conversation ADD COLUMN returned_message_id INTEGER NOT NULL"
    " DEFAULT 0",
    "ALTER TABLE conversation ADD COLUMN ended_at REAL",
    "ALTER TABLE conversation ADD COLUMN pending_at REAL",
    "ALTER TABLE conversation ADD COLUMN mode TEXT",
    "ALTER TABLE conversation ADD COLUMN mode_at REAL",
    "ALTER TABLE conversation ADD COLUMN restored_at REAL",
)

_ADDED: t.Final = (
    "ALTER TABLE worker ADD COLUMN limits TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE draft ADD COLUMN refused_at REAL",
    "ALTER TABLE conversation ADD COLUMN bot_message_id INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE conversation ADD COLUMN status TEXT",
    "ALTER TABLE conversation ADD COLUMN status_at REAL",
    *_KNOWN,
)

# -- version 6: what a customer wrote before is recognised ----

_HASHED_FOLLOW_UPS: t.Final = ("ALTER TABLE follow_up ADD COLUMN text_hash BLOB",)

_HASHED: t.Final = (
    "ALTER TABLE job ADD COLUMN text_hash BLOB",
    "ALTER TABLE job ADD COLUMN offered BLOB",
    *_HASHED_FOLLOW_UPS,
    next(index for index in INDEXES if " job_ended " in index),
)

# --

# -- version 8: attempts that are counted apart, threads that are stuck, and drafts ----

_COUNTED_JOBS: t.Final = (
    "ALTER TABLE job ADD COLUMN earlier_attempts INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN last_attempt INTEGER NOT NULL DEFAULT 0",
)

_STUCK: t.Final = ("ALTER TABLE worker ADD COLUMN stuck INTEGER NOT NULL DEFAULT 0",)

_COUNTED: t.Final = (*_COUNTED_JOBS, *_STUCK)

# An index over finished turns alone costs a delivery nothing.
_RECENT: t.Final = (
    "DROP INDEX job_recent",
    next(index for index in INDEXES if " job_ended " in index),
)

# --

_FROM_3: t.Final = (
    f"CREATE TABLE new_job ({JOB_COLUMNS})",
    # Until version 3 a due time below zero stood for one that no claim had seen yet.
    f"INSERT INTO new_job ({_KEPT_COLUMNS}, due_at)"  # noqa: S608 - from constants
    f" SELECT {_KEPT_COLUMNS}, abs(due_at) FROM job",
    "DROP TABLE job",
    "ALTER TABLE new_job RENAME TO job",
    "UPDATE job SET kind = 'takeover' WHERE kind = 'take_over'",
    "ALTER TABLE draft RENAME COLUMN last_words TO about_failure",
    "ALTER TABLE draft ADD COLUMN unconfirmed_at REAL",
    *_ADDED,
    "UPDATE draft SET unconfirmed_at = sent_at WHERE message_id IS NULL",
    "ALTER TABLE file RENAME COLUMN kind TO media_type",
    "ALTER TABLE said RENAME TO transcript",
    "ALTER TABLE conversation RENAME COLUMN person_message_id TO operator_message_id",
    *(
        f"DROP INDEX {name}"
        for name in (
            *("follow_up_job", "follow_up_body"),
            *("draft_job", "draft_made", "file_draft"),
        )
    ),
    *SWEEPS,
    *INDEXES,
    *FROM_OUTSIDE,
    *_HASHED_FOLLOW_UPS,
    *SUGGESTED,
    *_STUCK,
    *REVIEWED,
)

_FROM_4: t.Final = (
    "ALTER TABLE job ADD COLUMN worker TEXT",
    *_ADDED,
    "ALTER TABLE job ADD COLUMN found_after REAL",
    "ALTER TABLE job ADD COLUMN late INTEGER NOT NULL DEFAULT 0",
    *SWEEPS,
    *(
        next(index for index in INDEXES if f" {name} " in index)
        for name in ("job_finished", "conversation_touched", "transcript_said")
    ),
    *FROM_OUTSIDE,
    *_HASHED,
    *SUGGESTED,
    *_COUNTED,
    *REVIEWED,
)

_FROM_5: t.Final = (
    *_KNOWN,
    *FROM_OUTSIDE,
    *_HASHED,
    *SUGGESTED,
    *_COUNTED,
    *REVIEWED,
)

MIGRATIONS: t.Final[t.Mapping[int, t.Sequence[str]]] = {
    0: CREATE,
    3: _FROM_3,
    4: _FROM_4,
    5: _FROM_5,
    6: (*SUGGESTED, *_COUNTED, *_RECENT, *REVIEWED),
    7: (*_COUNTED, *_RECENT, *REVIEWED),
}
"""What makes the tables of this version from those of another; 0 is an empty file.
Foreign keys must not be enforced meanwhile."""

COLUMNS: t.Final = _COUNTED
"""Columns that later versions than 6 have added to tables of that."""
