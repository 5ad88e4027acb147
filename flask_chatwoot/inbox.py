"""The durable store of work: one SQLite file, and the only SQL of the package.

Each conversation is a line. Its first unfinished job, and no other, has a ``due_at``;
the next gets one when the first is finished. So a claim is one look-up in an index,
however many jobs wait and however long one line is. A claimed job's ``due_at`` is the
end of its lease: a worker that died is a job that is due.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
import typing as t
import uuid
import weakref
from contextlib import contextmanager

from .errors import InboxError, LeaseLostError

KEEP: t.Final = 7 * 24 * 3600.0
"""Seconds a finished job is remembered, so that a repeat is recognised."""

_BUSY: t.Final = 2.0
"""Seconds to wait for another thread, and again for another process. Chatwoot waits
five for its answer."""

_VERSION: t.Final = 1

_SCHEMA: t.Final = """
CREATE TABLE IF NOT EXISTS job (
    id INTEGER PRIMARY KEY,
    account_id INTEGER NOT NULL,
    conversation_id INTEGER NOT NULL,
    message_id INTEGER NOT NULL,
    key TEXT NOT NULL UNIQUE,
    payload BLOB,
    received_at REAL NOT NULL,
    due_at REAL,
    claim TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    finished_at REAL,
    outcome TEXT,
    reason TEXT
);
CREATE INDEX IF NOT EXISTS job_due ON job (account_id, due_at)
    WHERE due_at IS NOT NULL;
CREATE INDEX IF NOT EXISTS job_line ON job (account_id, conversation_id)
    WHERE finished_at IS NULL OR outcome = 'dead';
CREATE TABLE IF NOT EXISTS draft (
    id INTEGER PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES job (id) ON DELETE CASCADE,
    marker TEXT NOT NULL,
    private INTEGER NOT NULL,
    content TEXT,
    sent_at REAL,
    message_id INTEGER
);
CREATE INDEX IF NOT EXISTS draft_job ON draft (job_id);
CREATE INDEX IF NOT EXISTS draft_made ON draft (message_id)
    WHERE message_id IS NOT NULL;
"""

_PUT: t.Final = """
INSERT INTO job (
    account_id, conversation_id, message_id, key, payload, received_at, due_at
) VALUES (
    :account, :conversation, :message, :key, :payload, :now,
    CASE WHEN EXISTS (
        SELECT 1 FROM job WHERE account_id = :account
        AND conversation_id = :conversation AND finished_at IS NULL
    ) THEN NULL ELSE :now END
) ON CONFLICT (key) DO NOTHING
"""

_PUT_CLAIMED: t.Final = """
INSERT INTO job (
    account_id, conversation_id, message_id, key, payload, received_at, due_at,
    claim, attempts
) VALUES (
    :account, :conversation, :message, :key, :payload, :now, :now + :lease, :claim, 1
) ON CONFLICT (key) DO NOTHING
"""

_BUSY_LINE: t.Final = """
SELECT 1 FROM job WHERE account_id = :account AND conversation_id = :conversation
AND finished_at IS NULL LIMIT 1
"""

_DUE: t.Final = """
SELECT id, conversation_id, message_id, payload, attempts FROM job
WHERE account_id = ? AND due_at <= ? ORDER BY due_at LIMIT 1
"""

_CLAIM: t.Final = """
UPDATE job SET claim = ?, due_at = ?, attempts = attempts + 1 WHERE id = ?
"""

_NEXT_IN_LINE: t.Final = """
UPDATE job SET due_at = received_at WHERE due_at IS NULL AND id = (
    SELECT min(id) FROM job
    WHERE account_id = ? AND conversation_id = ? AND finished_at IS NULL
)
"""

_KEEP: t.Final = """
INSERT INTO draft (marker, private, content, job_id)
SELECT ?, ?, ?, id FROM job WHERE id = ? AND claim = ?
"""

_SETTLE: t.Final = """
UPDATE job SET finished_at = ?, outcome = ?, reason = ?, due_at = NULL, claim = NULL,
    payload = CASE WHEN ? THEN payload END
WHERE id = ? AND claim = ?
"""

_POSTPONE: t.Final = """
UPDATE job SET due_at = ?, claim = NULL, attempts = attempts - ?
WHERE id = ? AND claim = ?
"""

_SENDING: t.Final = """
UPDATE draft SET sent_at = ? WHERE id = ?
AND EXISTS (SELECT 1 FROM job WHERE id = ? AND claim = ?)
"""

_POSTED: t.Final = "UPDATE draft SET message_id = ? WHERE id = ?"

_UNDER_WAY: t.Final = """
SELECT draft.id, marker, private, content, sent_at, draft.message_id
FROM job JOIN draft ON draft.job_id = job.id
WHERE account_id = :account AND conversation_id = :conversation
AND (finished_at IS NULL OR outcome = 'dead') AND job.message_id < :message
AND sent_at IS NOT NULL AND draft.message_id IS NULL
AND NOT EXISTS (SELECT 1 FROM draft AS made WHERE made.message_id = :message)
"""

_LIST: t.Final = """
SELECT id, conversation_id, message_id,
    CASE WHEN outcome = 'dead' THEN 'dead' WHEN finished_at IS NOT NULL THEN 'done'
        WHEN claim IS NOT NULL THEN 'claimed' ELSE 'waiting' END AS state,
    :now - received_at, attempts, outcome, reason
FROM job WHERE account_id = :account AND (:state IS NULL OR state = :state)
ORDER BY id DESC LIMIT :limit
"""

_REVIVE: t.Final = """
UPDATE job SET finished_at = NULL, outcome = NULL, reason = NULL, attempts = 0,
    due_at = CASE WHEN EXISTS (
        SELECT 1 FROM job AS other WHERE other.account_id = job.account_id
        AND other.conversation_id = job.conversation_id AND other.finished_at IS NULL
    ) THEN NULL ELSE ? END
WHERE id = ? AND account_id = ? AND outcome = 'dead'
"""

_PRUNE: t.Final = """
DELETE FROM job WHERE id IN (
    SELECT id FROM job
    WHERE finished_at < ? AND (outcome <> 'dead' OR ?)
    AND id < (SELECT max(id) FROM job)  -- or SQLite would give its id away again
    ORDER BY id LIMIT 500
)
"""

STATES: t.Final = ("waiting", "claimed", "done", "dead")


class Draft(t.NamedTuple):
    """A post kept until Chatwoot has it.

    :ivar marker: Random text by which the post is found again in Chatwoot.
    :ivar sent_at: Unix seconds at which a request for it may have gone out, or was
        given up without an answer; ``None`` if none did.
    :ivar message_id: Chatwoot's id for it, ``None`` until that is known.
    """

    id: int
    marker: str
    private: bool
    content: str
    sent_at: float | None = None
    message_id: int | None = None

    def __repr__(self) -> str:
        return f"<Draft {self.id}>"


class Job(t.NamedTuple):
    """A claimed row.

    :ivar message_id: The customer's message.
    :ivar payload: The delivery's body.
    :ivar attempts: How often the job was claimed, this time included.
    :ivar claim: Names this claim; a later claim of the same job has another.
    :ivar drafts: The kept reply; empty when no provider has answered yet.
    """

    id: int
    conversation_id: int
    message_id: int
    payload: bytes
    attempts: int
    claim: str
    drafts: tuple[Draft, ...]

    def __repr__(self) -> str:
        return f"<Job {self.id} of conversation {self.conversation_id}>"


class JobInfo(t.NamedTuple):
    """A row as operators see it; no text of anybody.

    :ivar state: One of :data:`STATES`.
    :ivar age: Seconds since the delivery arrived.
    """

    id: int
    conversation_id: int
    message_id: int
    state: str
    age: float
    attempts: int
    outcome: str | None
    reason: str | None


class Inbox:
    """Jobs and drafts of one Chatwoot account.

    Threads and processes of one machine may share it. Every method is one short
    transaction, blocks for four seconds at most while others write, and
    raises :class:`InboxError` when the file can not be read or written.

    :param path: Made on first use, folders included.
    :param sync: ``"full"`` survives power loss, ``"normal"`` a crash of the process.
    :param lease: Seconds a claimed job stays with a worker that gives no sign of life.
    :param clock: Unix seconds.
    """

    def __init__(
        self,
        path: str,
        *,
        account_id: int,
        sync: str = "full",
        lease: float = 30.0,
        clock: t.Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.lease = lease
        self.clock = clock
        self._account_id = account_id
        self._sync = sync
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._level = ""
        self._forced = 0
        self._opened: tuple[int, int] | None = None
        self._look_at = 0.0
        _inboxes.add(self)

    # -- deliveries ------------------------------------------------------------

    def put(
        self, key: str, *, conversation_id: int, message_id: int, payload: bytes
    ) -> bool:
        """Store a delivery; ``False`` if its key is known already."""
        values = self._row(key, conversation_id, message_id, payload)

        with self._use(durable=True) as db:
            return db.execute(_PUT, values).rowcount == 1

    def put_and_claim(
        self, key: str, *, conversation_id: int, message_id: int, payload: bytes
    ) -> tuple[bool, Job | None]:
        """Store a delivery and claim it in one go, if nothing is before it in line.

        Not forced to the disk yet: see :meth:`force`.

        :return: Whether it was new, and the job if it was claimed.
        """
        values = self._row(key, conversation_id, message_id, payload)

        values |= {"claim": uuid.uuid4().hex, "lease": self.lease}

        with self._use() as db, _transaction(db):
            waits = db.execute(_BUSY_LINE, values).fetchone() is not None
            stored = db.execute(_PUT if waits else _PUT_CLAIMED, values)

        if waits or stored.rowcount != 1:
            return stored.rowcount == 1, None

        return True, Job(
            id=t.cast(int, stored.lastrowid),
            conversation_id=conversation_id,
            message_id=message_id,
            payload=payload,
            attempts=1,
            claim=values["claim"],
            drafts=(),
        )

    def force(self) -> None:
        """Have on the disk what this process wrote so far, if it is not there yet."""
        with self._use(durable=True) as db:
            if db.total_changes != self._forced:
                # The log is forced as a whole, so whatever writes a page will do.
                db.execute(f"PRAGMA user_version = {_VERSION}")

    def _row(
        self, key: str, conversation_id: int, message_id: int, payload: bytes
    ) -> dict[str, t.Any]:
        return {
            "account": self._account_id,
            "conversation": conversation_id,
            "message": message_id,
            "key": key,
            "payload": payload,
            "now": self.clock(),
        }

    def under_way(self, conversation_id: int, *, message_id: int) -> list[Draft]:
        """Drafts of which a message seen in Chatwoot may be the post.

        Those for which a request may have gone out and no answer is known, if the
        message is newer than the customer's and no other draft's post.
        """
        values = {
            "account": self._account_id,
            "conversation": conversation_id,
            "message": message_id,
        }

        with self._use() as db:
            return [_draft(row) for row in db.execute(_UNDER_WAY, values)]

    # -- work ------------------------------------------------------------------

    def claim(self) -> Job | None:
        """Take the oldest due job for the length of a lease, or ``None``."""
        now = self.clock()
        due = (self._account_id, now)

        with self._use() as db:
            # Most looks find nothing, and a mere look takes no lock from others.
            if db.execute(_DUE, due).fetchone() is None:
                return None

            with _transaction(db):
                return self._claim(db, db.execute(_DUE, due).fetchone(), now)

    def _claim(
        self, db: sqlite3.Connection, row: tuple[t.Any, ...] | None, now: float
    ) -> Job | None:
        if row is None:
            return None

        job_id, conversation_id, message_id, payload, attempts = row
        claim = uuid.uuid4().hex
        db.execute(_CLAIM, (claim, now + self.lease, job_id))

        return Job(
            id=job_id,
            conversation_id=conversation_id,
            message_id=message_id,
            payload=payload,
            attempts=attempts + 1,
            claim=claim,
            drafts=_drafts(db, job_id),
        )

    def renew(self, job: Job) -> None:
        """Begin the lease anew; nothing happens if it was lost or given back."""
        values = (self.clock() + self.lease, job.id, job.claim)

        with self._use() as db:
            db.execute("UPDATE job SET due_at = ? WHERE id = ? AND claim = ?", values)

    def keep(self, job: Job, contents: t.Iterable[tuple[str, bool]]) -> list[Draft]:
        """Keep a reply, as pairs of text and privacy, so that nobody asks again.

        :raises LeaseLostError: The job is another worker's now.
        """
        drafts = []

        with self._use() as db, _transaction(db):
            for content, private in contents:
                marker = uuid.uuid4().hex
                values = (marker, private, content, job.id, job.claim)
                kept = db.execute(_KEEP, values)
                _expect_one(kept.rowcount, job)
                draft_id = t.cast(int, kept.lastrowid)
                drafts.append(Draft(draft_id, marker, private, content))

        return drafts

    def sending(self, job: Job, draft: Draft) -> None:
        """Note that a request for the draft is about to go out.

        :raises LeaseLostError: The job is another worker's now; do not send.
        """
        values = (self.clock(), draft.id, job.id, job.claim)

        with self._use(durable=True) as db:
            mine = db.execute(_SENDING, values).rowcount

        _expect_one(mine, job)

    def posted(self, draft: Draft, message_id: int) -> None:
        """Note that Chatwoot has the draft, whoever holds the job."""
        with self._use(durable=True) as db:
            db.execute(_POSTED, (message_id, draft.id))

    def finish(
        self, job: Job, draft: Draft, message_id: int, outcome: str, reason: str | None
    ) -> None:
        """Note that Chatwoot has a job's last draft, and end the job, in one go.

        :raises LeaseLostError: The job is another worker's now. The draft is noted.
        """
        with self._use(durable=True) as db, _transaction(db):
            db.execute(_POSTED, (message_id, draft.id))
            mine = self._settle(db, job, outcome, reason)

        _expect_one(mine, job)

    def made(self, message_id: int) -> bool:
        """Whether a message of Chatwoot is known to be one of our posts."""
        with self._use() as db:
            found = db.execute(
                "SELECT 1 FROM draft WHERE message_id = ?", (message_id,)
            )
            return found.fetchone() is not None

    def settle(self, job: Job, outcome: str, reason: str | None) -> None:
        """End a job and let the next of its conversation come forward.

        The text is erased, unless the job is dead and may be revived.

        :raises LeaseLostError: The job is another worker's now.
        """
        with self._use(durable=True) as db, _transaction(db):
            mine = self._settle(db, job, outcome, reason)

        _expect_one(mine, job)

    def _settle(
        self, db: sqlite3.Connection, job: Job, outcome: str, reason: str | None
    ) -> int:
        """End a job; how many that were, one or none."""
        dead = outcome == "dead"
        values = (self.clock(), outcome, reason, dead, job.id, job.claim)
        mine = db.execute(_SETTLE, values).rowcount

        if mine:
            db.execute(_NEXT_IN_LINE, (self._account_id, job.conversation_id))

        if mine and not dead:
            db.execute("UPDATE draft SET content = '' WHERE job_id = ?", (job.id,))

        return mine

    def unanswered(self, draft: Draft) -> None:
        """Note that the request for the draft was given up just now."""
        values = (self.clock(), draft.id)

        with self._use() as db:
            db.execute("UPDATE draft SET sent_at = ? WHERE id = ?", values)

    def unsent(self, draft: Draft) -> None:
        """Note that the request for the draft surely did nothing."""
        with self._use() as db:
            db.execute("UPDATE draft SET sent_at = NULL WHERE id = ?", (draft.id,))

    def postpone(self, job: Job, seconds: float, *, free: bool = False) -> None:
        """Give a job back, due again after some seconds.

        :param free: This claim does not count as an attempt.
        :raises LeaseLostError: The job is another worker's now.
        """
        values = (self.clock() + seconds, int(free), job.id, job.claim)

        with self._use() as db:
            postponed = db.execute(_POSTPONE, values).rowcount

        _expect_one(postponed, job)

    # -- operators -------------------------------------------------------------

    def jobs(self, *, state: str | None = None, limit: int = -1) -> list[JobInfo]:
        """Rows, newest first.

        :param state: One of :data:`STATES`; ``None`` means all.
        :param limit: Below zero means all.
        """
        values = {
            "account": self._account_id,
            "state": state,
            "now": self.clock(),
            "limit": limit,
        }

        with self._use() as db:
            return [JobInfo(*row) for row in db.execute(_LIST, values)]

    def retry(self, job_ids: t.Iterable[int]) -> list[int]:
        """Revive dead jobs with all their attempts; the ids that were dead."""
        revived = []

        with self._use() as db, _transaction(db):
            for job_id in sorted(job_ids):  # revived in the order they came
                values = (self.clock(), job_id, self._account_id)

                if db.execute(_REVIVE, values).rowcount:
                    revived.append(job_id)

        return revived

    def prune(self, *, older_than: float = KEEP, dead: bool = False) -> int:
        """Forget jobs finished this many seconds ago; how many they were.

        Deliveries of forgotten messages are no longer recognised as repeats. In
        several short transactions, so that nobody waits for a large clean-up.

        :param dead: Forget dead jobs too.
        """
        values = (self.clock() - older_than, dead)
        total = 0

        while True:
            with self._use() as db:
                pruned = db.execute(_PRUNE, values).rowcount

            total += pruned

            if not pruned:
                return total

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            self._drop()

    # -- the connection --------------------------------------------------------

    @contextmanager
    def _use(self, *, durable: bool = False) -> t.Iterator[sqlite3.Connection]:
        """This process's one connection, for one thread at a time.

        :param durable: What is written must survive what the inbox promises to
            survive. The rest may be lost with the power, and is then done again.

        One connection behind a lock beats one per thread: a writer waits for its turn
        instead of sleeping until SQLite stops being busy, and a server that makes a
        thread per request opens no file per request.
        """
        if not self._lock.acquire(timeout=_BUSY):
            raise InboxError(f"The inbox {self.path!r} is busy with other threads.")

        try:
            try:
                if durable and self._is_gone():
                    self._drop()

                db = self._db or self._open()
                self._set_sync(db, self._sync if durable else "normal")
                yield db

                if durable:
                    self._forced = db.total_changes
            except (sqlite3.Error, OSError) as error:
                self._drop()
                raise InboxError(f"The inbox {self.path!r} failed: {error}.") from error
        finally:
            self._lock.release()

    def _open(self) -> sqlite3.Connection:
        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        _make_private(self.path)
        db = sqlite3.connect(
            self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False
        )
        self._db = db
        self._level = ""
        self._forced = 0
        self._opened = _identity(self.path)
        self._closing = weakref.finalize(self, db.close)
        self._closing.atexit = False  # threads may still be at work then
        # A commit writes half a dozen pages, most of them of an index: small ones.
        db.execute("PRAGMA page_size = 1024")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        # 16 MB of log before it is moved into the file: fewer pauses, less copying.
        db.execute("PRAGMA wal_autocheckpoint = 8000")
        self._prepare(db)

        return db

    def _prepare(self, db: sqlite3.Connection) -> None:
        deadline = time.monotonic() + _BUSY

        while True:
            try:
                db.execute("PRAGMA journal_mode = WAL")
                self._migrate(db)
            except sqlite3.OperationalError as error:
                # Several processes turn a new file to WAL at once: SQLite does not
                # wait there, whatever its time-out is.
                busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY

                if not busy or time.monotonic() > deadline:
                    raise

                time.sleep(0.01)
            else:
                return

    def _is_gone(self) -> bool:
        """Whether the open file is not the one at its path any more.

        SQLite would go on writing into a file that was deleted, and all would be lost
        with this process. Looked at once a second.
        """
        now = time.monotonic()

        if now < self._look_at:
            return False

        self._look_at = now + 1.0

        return self._db is not None and self._opened != _identity(self.path)

    def _set_sync(self, db: sqlite3.Connection, level: str) -> None:
        if level != self._level:
            db.execute(f"PRAGMA synchronous = {level}")
            self._level = level

    def _migrate(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]

        if version > _VERSION:
            self._drop()
            raise InboxError(
                f"The inbox {self.path!r} was made by a later Flask-Chatwoot "
                f"(version {version} of the file, this one knows {_VERSION}); "
                "upgrade, or set CHATWOOT_INBOX_PATH to another file."
            )

        if version < _VERSION:
            with _transaction(db):
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)

                db.execute(f"PRAGMA user_version = {_VERSION}")

    def _drop(self) -> None:
        if self._db is not None:
            self._closing()
            self._db = None


# SQLite forbids carrying an open file into a forked process, and what it remembers of
# its locks would come along. So every file is closed while a process forks; parent and
# child open it again when they need it.

_inboxes: weakref.WeakSet[Inbox] = weakref.WeakSet()
_forking: list[Inbox] = []


def _before_fork() -> None:
    for inbox in list(_inboxes):
        inbox._lock.acquire()
        inbox._drop()
        _forking.append(inbox)


def _after_fork() -> None:
    while _forking:
        _forking.pop()._lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


def _transaction(db: sqlite3.Connection) -> sqlite3.Connection:
    """A block that is committed as a whole, or rolled back."""
    db.execute("BEGIN IMMEDIATE")

    return db


def _make_private(path: str) -> None:
    """Make the file before SQLite does: what customers write is nobody else's to read.

    A file that is there is left alone: to close it would end the locks that another
    connection of this process has on it, which is how POSIX wants it.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None

    return found.st_dev, found.st_ino


def _expect_one(rows: int, job: Job) -> None:
    if rows != 1:
        raise LeaseLostError(f"Job {job.id} was claimed by another worker.")


def _drafts(db: sqlite3.Connection, job_id: int) -> tuple[Draft, ...]:
    rows = db.execute(
        "SELECT id, marker, private, content, sent_at, message_id"
        " FROM draft WHERE job_id = ? ORDER BY id",
        (job_id,),
    )

    return tuple(_draft(row) for row in rows)


def _draft(row: tuple[t.Any, ...]) -> Draft:
    draft = Draft(*row)

    return draft._replace(private=bool(draft.private))
