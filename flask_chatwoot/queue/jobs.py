"""The durable inbox: jobs, in the order of their conversations, and their drafts.

Each conversation is a line. Its first unfinished job, and no other, has a ``due_at``;
the next gets one when the first is finished. So a claim is one look-up in an index,
however many jobs wait and however long one line is. A claimed job's ``due_at`` is the
end of its lease: a worker that died is a job that is due.

A delivery is in a hurry and leaves that index alone: the job of an arrival, if it is
the first of its line, has its ``due_at`` below zero, until whoever claims next enters
it. Ids only grow, so arrivals are found behind the last job that was seen.

A customer's message joins the waiting job of its conversation, if there is one that
nobody has begun to answer: it becomes a follow-up of that job, and the whole burst is
one turn. Only the newest payload of a job is kept.
"""

import json
import secrets
import sqlite3
import time
import typing as t

from flask_chatwoot.errors import LeaseLostError

from .inspection import DRAFT, Draft, Ledger, draft_in
from .sqlite import transaction

MESSAGE: t.Final = "message"
"""Kind of job: a customer wrote. All other kinds are alone in their turn."""

_OPEN: t.Final = """
    SELECT max(id) FROM job AS open WHERE account_id = :account
    AND conversation_id = :conversation AND done = 0
    AND finished_at IS NULL AND claim IS NULL
    AND kind = 'message' AND failure IS NULL
    AND NOT EXISTS (SELECT 1 FROM draft WHERE job_id = open.id)
"""
"""The job of a conversation that a message may join."""

_LINE: t.Final = """
    SELECT 1 FROM job WHERE account_id = :account
    AND conversation_id = :conversation AND done = 0 AND finished_at IS NULL
"""

_PUT_FIRST: t.Final = """
INSERT OR IGNORE INTO job (
    account_id, conversation_id, message_id, key, kind, payload, received_at, due_at
) VALUES (?, ?, ?, CASE
    WHEN EXISTS (
        SELECT 1 FROM job WHERE account_id = ? AND conversation_id = ?
        AND done = 0 AND finished_at IS NULL
    ) OR EXISTS (
        SELECT 1 FROM job WHERE account_id = ? AND conversation_id = ?
        AND done = 1 AND key = ?
    ) OR EXISTS (SELECT 1 FROM follow_up WHERE key = ?) THEN NULL ELSE ?
END, ?, ?, ?, ?)
"""
# No key is no row, like a key that is there: a SELECT with conditions instead of VALUES
# would be copied to a table of its own first, body and all. Question marks, because
# every name costs a look-up, and this statement is in a hurry.

_PUT: t.Final = f"""
INSERT INTO job (
    account_id, conversation_id, message_id, key, kind, payload, received_at, due_at
) VALUES (
    :account, :conversation, :message, :key, :kind, :payload, :now,
    CASE WHEN EXISTS ({_LINE}) THEN NULL ELSE :now + :window END
)
"""  # noqa: S608 - put together from constants

_PUT_CLAIMED: t.Final = """
INSERT INTO job (
    account_id, conversation_id, message_id, key, kind, payload, received_at, due_at,
    claim, attempts
) VALUES (
    :account, :conversation, :message, :key, :kind, :payload, :now, :now + :lease,
    :claim, 1
)
"""

_KNOWN: t.Final = """
SELECT 1 FROM job WHERE account_id = :account AND conversation_id = :conversation
AND done IN (0, 1) AND key = :key
UNION ALL SELECT 1 FROM follow_up WHERE key = :key
"""

_MAKE_ROOM: t.Final = """
UPDATE follow_up SET payload = NULL WHERE job_id = ? AND payload IS NOT NULL
"""

_JOIN: t.Final = """
INSERT INTO follow_up (job_id, message_id, key, said, payload, received_at)
VALUES (:job, :message, :key, :said, :payload, :now)
"""

_WAIT_FOR_MORE: t.Final = """
UPDATE job SET due_at = min(:now + :window, received_at + :longest)
WHERE id = :job AND due_at IS NOT NULL AND attempts = 0
"""

_DUE: t.Final = """
SELECT id, conversation_id, message_id, kind, payload, received_at, attempts, handoff,
    failure FROM job
WHERE account_id = ? AND due_at BETWEEN 0 AND ? ORDER BY due_at LIMIT 1
"""

_ARRIVALS: t.Final = """
SELECT id FROM job WHERE id > ? AND due_at < 0 ORDER BY id LIMIT 100
"""
# Of all accounts in the file: it is the same work, whoever does it.

_LOOK: t.Final = f"""
SELECT (SELECT max(id) FROM job), EXISTS ({_ARRIVALS}), EXISTS ({_DUE})
"""  # noqa: S608 - put together from constants

_ENTER: t.Final = "UPDATE job SET due_at = -due_at WHERE id = ?"

_CLAIM: t.Final = """
UPDATE job SET claim = ?, due_at = ?, attempts = attempts + 1 WHERE id = ?
"""

_NEXT_IN_LINE: t.Final = """
UPDATE job SET due_at = CASE WHEN kind <> 'message' THEN received_at ELSE min(
    received_at + :longest,
    :window + max(received_at, coalesce(
        (SELECT max(received_at) FROM follow_up WHERE job_id = job.id), 0
    ))
) END WHERE due_at IS NULL AND id = (
    SELECT min(id) FROM job WHERE account_id = :account
    AND conversation_id = :conversation AND done = 0 AND finished_at IS NULL
)
"""

_KEEP: t.Final = """
INSERT INTO draft (marker, private, content, choices, files, last_words, job_id)
SELECT ?, ?, ?, ?, ?, ?, id FROM job WHERE id = ? AND claim = ?
"""

_SETTLE: t.Final = """
UPDATE job SET finished_at = ?, outcome = ?, reason = ?, due_at = NULL, claim = NULL,
    done = NOT ?, payload = CASE WHEN ? THEN payload END,
    handoff = CASE WHEN ? THEN handoff END
WHERE id = ? AND claim = ?
"""

_POSTPONE: t.Final = """
UPDATE job SET due_at = ?, claim = NULL, attempts = attempts - ?,
    reason = coalesce(?, reason)
WHERE id = ? AND claim = ?
"""

_GIVE_UP: t.Final = """
UPDATE job SET failure = ?, handoff = ?, due_at = ?, claim = NULL, attempts = 0
WHERE id = ? AND claim = ?
"""

_NEXT: t.Final = """
SELECT min(id) FROM job WHERE account_id = ? AND conversation_id = ? AND id > ?
AND done = 0 AND finished_at IS NULL AND kind = 'message'
AND NOT EXISTS (SELECT 1 FROM draft WHERE job_id = job.id)
"""

_SENDING: t.Final = """
UPDATE draft SET sent_at = ?, private = max(private, ?) WHERE id = ?
AND EXISTS (SELECT 1 FROM job WHERE id = ? AND claim = ?)
"""

_POSTED: t.Final = "UPDATE draft SET message_id = ? WHERE id = ?"

_ERASE: t.Final = """
UPDATE draft SET content = '', choices = NULL,
    message_id = CASE id WHEN ? THEN ? ELSE message_id END
WHERE job_id = ?
"""

_UNDER_WAY: t.Final = f"""
SELECT {DRAFT}
FROM job JOIN draft ON draft.job_id = job.id
WHERE account_id = :account AND conversation_id = :conversation
AND done = 0 AND job.message_id < :message AND sent_at IS NOT NULL
AND draft.message_id IS NULL
AND NOT EXISTS (SELECT 1 FROM draft AS made WHERE made.message_id = :message)
"""  # noqa: S608 - put together from constants


class File(t.NamedTuple):
    """A file that goes with a draft."""

    name: str
    content: bytes
    kind: str

    def __repr__(self) -> str:
        return f"<File of {len(self.content)} bytes>"


class Part(t.NamedTuple):
    """One post of a reply, to be kept as a draft.

    :ivar choices: Titles and values.
    :ivar files: Name, content and media type.
    """

    content: str
    private: bool
    choices: t.Sequence[tuple[str, str]] = ()
    files: t.Sequence[tuple[str, bytes, str]] = ()

    def __repr__(self) -> str:
        return f"<Part of {len(self.content)} characters>"


class FollowUp(t.NamedTuple):
    """A further message of a job's customer.

    :ivar said: What :meth:`Inbox.put` was given to remember of it.
    :ivar payload: The delivery's body, of the newest one only.
    """

    message_id: int
    said: str
    payload: bytes | None
    received_at: float

    def __repr__(self) -> str:
        return f"<FollowUp {self.message_id}>"


class Job(t.NamedTuple):
    """A claimed row.

    :ivar message_id: The customer's first message.
    :ivar payload: The body of its delivery.
    :ivar attempts: How often the job was claimed, this time included.
    :ivar claim: Names this claim; a later claim of the same job has another.
    :ivar drafts: The kept reply; empty when no provider has answered yet. Of a job
        that was given up, what there is to say about that.
    :ivar received_at: Unix seconds.
    :ivar handoff: What was kept about handing the conversation over, or ``None``.
    :ivar failure: The reason why the job was given up, or ``None``.
    :ivar follow_ups: Further messages, oldest first. Those of a turn that this one
        took over are older than the job's own.
    """

    id: int
    conversation_id: int
    message_id: int
    payload: bytes
    attempts: int
    claim: str
    drafts: tuple[Draft, ...]
    received_at: float = 0.0
    kind: str = MESSAGE
    handoff: str | None = None
    failure: str | None = None
    follow_ups: tuple[FollowUp, ...] = ()

    def __repr__(self) -> str:
        return f"<Job {self.id} of conversation {self.conversation_id}>"

    @property
    def since(self) -> float:
        """When the oldest of its messages came, Unix seconds."""
        return min([self.received_at, *(each.received_at for each in self.follow_ups)])

    @property
    def newest(self) -> bytes:
        """The body of the newest delivery."""
        kept = [each.payload for each in self.follow_ups if each.payload is not None]

        return kept[-1] if kept else self.payload


class Inbox(Ledger):
    """Jobs and drafts of one Chatwoot account.

    :param lease: Seconds a claimed job stays with a worker that gives no sign of life.
    :param window: Seconds to wait for more messages before a turn begins.
    :param longest: Seconds to wait in all.
    """

    def __init__(
        self,
        path: str,
        *,
        account_id: int,
        sync: str = "full",
        lease: float = 30.0,
        window: float = 0.0,
        longest: float = 30.0,
        clock: t.Callable[[], float] = time.time,
    ) -> None:
        super().__init__(path, account_id=account_id, sync=sync, clock=clock)
        self.lease = lease
        self._window = window
        self._keeps_files = False
        self._longest = longest
        self._seen = 0

    def _open(self) -> sqlite3.Connection:
        self._seen = 0  # it may be another file

        return super()._open()

    # -- deliveries ------------------------------------------------------------

    def put(
        self,
        key: str,
        *,
        conversation_id: int,
        message_id: int,
        payload: bytes,
        kind: str = MESSAGE,
        said: t.Callable[[], str] = str,
    ) -> bool:
        """Store a delivery; ``False`` if its key is known already.

        :param said: What to remember of a message besides its payload, which makes
            room for the payload of the next one. Called only if it is needed.
        """
        now = self.clock()
        due = now + self._window if kind == MESSAGE else now
        line = self.account_id, conversation_id
        known = (*line, *line, key, key)
        first = (*line, message_id, *known, key, kind, payload, now, -due)

        with self.use(durable=True) as db:
            if db.execute(_PUT_FIRST, first).rowcount == 1:
                return True

            with transaction(db):
                values = self._row(key, conversation_id, message_id, payload, kind)
                return self._put(db, values, said)

    def put_and_claim(
        self,
        key: str,
        *,
        conversation_id: int,
        message_id: int,
        payload: bytes,
        kind: str = MESSAGE,
        said: t.Callable[[], str] = str,
    ) -> tuple[bool, Job | None]:
        """Store a delivery and claim it in one go, if nothing is before it in line.

        Not forced to the disk yet: see :meth:`force`.

        :return: Whether it was new, and the job if it was claimed.
        """
        values = self._row(key, conversation_id, message_id, payload, kind)
        claim = secrets.token_hex(16)

        with self.use() as db, transaction(db):
            if self._window or db.execute(f"{_LINE} LIMIT 1", values).fetchone():
                return self._put(db, values, said), None

            if db.execute(_KNOWN, values).fetchone():
                return False, None

            values |= {"claim": claim, "lease": self.lease}
            job_id = db.execute(_PUT_CLAIMED, values).lastrowid

        return True, Job(
            id=t.cast(int, job_id),
            conversation_id=conversation_id,
            message_id=message_id,
            payload=payload,
            attempts=1,
            claim=claim,
            drafts=(),
            received_at=values["now"],
            kind=kind,
        )

    def _row(
        self,
        key: str,
        conversation_id: int,
        message_id: int,
        payload: bytes,
        kind: str,
    ) -> dict[str, t.Any]:
        return {
            "account": self.account_id,
            "conversation": conversation_id,
            "message": message_id,
            "key": key,
            "kind": kind,
            "payload": payload,
            "now": self.clock(),
            "window": self._window if kind == MESSAGE else 0.0,
        }

    def _put(
        self,
        db: sqlite3.Connection,
        values: dict[str, t.Any],
        said: t.Callable[[], str],
    ) -> bool:
        """Add a delivery at the end of its line; ``False`` if its key is known."""
        if db.execute(_KNOWN, values).fetchone():
            return False

        joins = values["kind"] == MESSAGE
        waiting = db.execute(_OPEN, values).fetchone()[0] if joins else None

        if waiting is None:
            db.execute(_PUT, values)
        else:
            self._join(db, waiting, values, said())

        return True

    def _join(
        self, db: sqlite3.Connection, job_id: int, values: dict[str, t.Any], said: str
    ) -> None:
        """Add a message to the job that waits."""
        values |= {"job": job_id, "said": said, "longest": self._longest}
        db.execute(_MAKE_ROOM, (job_id,))
        db.execute(_JOIN, values)

        if self._window:
            db.execute(_WAIT_FOR_MORE, values)

    def under_way(self, conversation_id: int, *, message_id: int) -> list[Draft]:
        """Drafts of which a message seen in Chatwoot may be the post.

        Those for which a request may have gone out and no answer is known, if the
        message is newer than the customer's and no other draft's post.
        """
        values = {
            "account": self.account_id,
            "conversation": conversation_id,
            "message": message_id,
        }

        with self.use() as db:
            return [draft_in(row) for row in db.execute(_UNDER_WAY, values)]

    # -- work ------------------------------------------------------------------

    def claim(self) -> Job | None:
        """Take the oldest due job for the length of a lease, or ``None``."""
        now = self.clock()
        due = (self.account_id, now)

        with self.use() as db:
            # Most looks find nothing, and a mere look takes no lock from others.
            if not self._look(db, due):
                return None

            with transaction(db):
                seen = self._enter_arrivals(db)
                row = db.execute(_DUE, due).fetchone()
                job = None if row is None else self._claim(db, row, now)

            self._seen = seen  # not before it is committed

        return job

    def _look(self, db: sqlite3.Connection, due: tuple[int, float]) -> bool:
        """Whether there are arrivals or due jobs, at one and the same moment."""
        newest, arrivals, waits = db.execute(_LOOK, (self._seen, *due)).fetchone()

        if not arrivals:  # then no job so far has to be looked at again
            self._seen = newest or 0

        return bool(arrivals or waits)

    def _enter_arrivals(self, db: sqlite3.Connection) -> int:
        """Enter arrivals in the index of due jobs; the last job that was seen.

        A hundred at most, the oldest, so that nobody waits while thousands are entered.
        """
        arrivals = db.execute(_ARRIVALS, (self._seen,)).fetchall()
        db.executemany(_ENTER, arrivals)

        return arrivals[-1][0] if arrivals else self._seen

    def _claim(self, db: sqlite3.Connection, row: tuple[t.Any, ...], now: float) -> Job:
        job_id, conversation, message, kind, payload, received, attempts, *rest = row
        handoff, failure = rest
        claim = secrets.token_hex(16)
        db.execute(_CLAIM, (claim, now + self.lease, job_id))

        return Job(
            id=job_id,
            conversation_id=conversation,
            message_id=message,
            kind=kind,
            payload=payload,
            received_at=received,
            attempts=attempts + 1,
            claim=claim,
            handoff=handoff,
            failure=failure,
            drafts=_drafts(db, job_id, last_words=failure is not None),
            follow_ups=_follow_ups(db, job_id),
        )

    def renew(self, job: Job) -> None:
        """Begin the lease anew; nothing happens if it was lost or given back."""
        values = (self.clock() + self.lease, job.id, job.claim)

        with self.use() as db:
            db.execute("UPDATE job SET due_at = ? WHERE id = ? AND claim = ?", values)

    def keep(
        self,
        job: Job,
        parts: t.Iterable[tuple[t.Any, ...]],
        *,
        handoff: str | None = None,
    ) -> list[Draft]:
        """Keep a reply, as :class:`Part` values, so that nobody asks again.

        :param handoff: What to remember about handing the conversation over.
        :raises LeaseLostError: The job is another worker's now.
        """
        wanted = [Part(*part) for part in parts]

        with self.use() as db:
            if len(wanted) == 1 and handoff is None and not wanted[0].files:
                return [_keep(db, job, wanted[0], last_words=False)]  # one statement

            with transaction(db):
                drafts = self._keep_all(db, job, wanted, handoff)

        self._keeps_files |= any(draft.files for draft in drafts)

        return drafts

    def _keep_all(
        self,
        db: sqlite3.Connection,
        job: Job,
        parts: t.Sequence[Part],
        handoff: str | None,
    ) -> list[Draft]:
        if handoff is not None:
            values = (handoff, job.id, job.claim)
            changed = db.execute(
                "UPDATE job SET handoff = ? WHERE id = ? AND claim = ?", values
            )
            _expect_one(changed.rowcount, job)

        return [_keep(db, job, part, last_words=False) for part in parts]

    def give_up(
        self,
        job: Job,
        failure: str,
        parts: t.Iterable[tuple[t.Any, ...]],
        *,
        handoff: str | None,
    ) -> None:
        """Keep what is to be said about a failed turn, and let the job begin anew.

        Its drafts so far stay as evidence, and for :meth:`retry`.

        :raises LeaseLostError: The job is another worker's now.
        """
        values = (failure, handoff, self.clock(), job.id, job.claim)

        with self.use() as db, transaction(db):
            for part in parts:
                _keep(db, job, Part(*part), last_words=True)

            _expect_one(db.execute(_GIVE_UP, values).rowcount, job)

    def supersede(
        self, job: Job, said: t.Iterable[tuple[int, str]], reason: str
    ) -> bool:
        """Let the next turn answer this one's messages too, and end this one.

        :param said: Ids, and what to remember of the messages.
        :return: ``False``, and nothing has happened, if no message waits.
        :raises LeaseLostError: The job is another worker's now.
        """
        line = (self.account_id, job.conversation_id, job.id)

        with self.use(durable=True) as db, transaction(db):
            (heir,) = db.execute(_NEXT, line).fetchone()

            if heir is None:
                return False

            db.executemany(
                "INSERT INTO follow_up (job_id, message_id, said, received_at)"
                " VALUES (?, ?, ?, ?)",
                [(heir, message_id, text, job.since) for message_id, text in said],
            )
            mine = self._settle(db, job, "declined", reason)
            _expect_one(mine, job)

        return True

    def files(self, draft: Draft) -> list[File]:
        """What goes with a draft."""
        with self.use() as db:
            rows = db.execute(
                "SELECT name, content, kind FROM file WHERE draft_id = ? ORDER BY id",
                (draft.id,),
            )
            return [File(*row) for row in rows]

    def sending(self, job: Job, draft: Draft) -> None:
        """Note that a request for the draft is about to go out.

        What was kept as a note stays one, whatever the draft says.

        :raises LeaseLostError: The job is another worker's now; do not send.
        """
        values = (self.clock(), draft.private, draft.id, job.id, job.claim)

        with self.use(durable=True) as db:
            mine = db.execute(_SENDING, values).rowcount

        _expect_one(mine, job)

    def posted(self, draft: Draft, message_id: int) -> None:
        """Note that Chatwoot has the draft, whoever holds the job."""
        with self.use(durable=True) as db:
            db.execute(_POSTED, (message_id, draft.id))

    def finish(
        self, job: Job, draft: Draft, message_id: int, outcome: str, reason: str | None
    ) -> None:
        """Note that Chatwoot has a job's last draft, and end the job, in one go.

        :raises LeaseLostError: The job is another worker's now. The draft is noted.
        """
        with self.use(durable=True) as db, transaction(db):
            mine = self._settle(db, job, outcome, reason, posted=(draft.id, message_id))

            if not mine or outcome == "dead":
                db.execute(_POSTED, (message_id, draft.id))

        _expect_one(mine, job)

    def made(self, message_id: int, *, but: Draft | None = None) -> bool:
        """Whether a message of Chatwoot is known to be one of our posts.

        :param but: Of another draft than this.
        """
        with self.use() as db:
            found = db.execute(
                "SELECT 1 FROM draft WHERE message_id = ? AND id <> ?",
                (message_id, but.id if but else 0),
            )
            return found.fetchone() is not None

    def settle(self, job: Job, outcome: str, reason: str | None) -> None:
        """End a job and let the next of its conversation come forward.

        The text is erased, unless the job is dead and may be revived.

        :raises LeaseLostError: The job is another worker's now.
        """
        with self.use(durable=True) as db, transaction(db):
            mine = self._settle(db, job, outcome, reason)

        _expect_one(mine, job)

    def _settle(
        self,
        db: sqlite3.Connection,
        job: Job,
        outcome: str,
        reason: str | None,
        *,
        posted: tuple[int, int] = (0, 0),
    ) -> int:
        """End a job; how many that were, one or none.

        :param posted: A draft and its message, to note where drafts are erased.
        """
        dead = outcome == "dead"
        values = (self.clock(), outcome, reason, dead, dead, dead, job.id, job.claim)
        mine = db.execute(_SETTLE, values).rowcount

        if mine:
            line = {
                "account": self.account_id,
                "conversation": job.conversation_id,
                "window": self._window,
                "longest": self._longest,
            }
            db.execute(_NEXT_IN_LINE, line)

        if mine and not dead:
            files = self._keeps_files or any(draft.files for draft in job.drafts)
            _erase(db, job, posted, files=files)

        return mine

    def unanswered(self, draft: Draft) -> None:
        """Note that the request for the draft was given up just now."""
        values = (self.clock(), draft.id)

        with self.use() as db:
            db.execute("UPDATE draft SET sent_at = ? WHERE id = ?", values)

    def unsent(self, draft: Draft) -> None:
        """Note that the request for the draft surely did nothing."""
        with self.use() as db:
            db.execute("UPDATE draft SET sent_at = NULL WHERE id = ?", (draft.id,))

    def postpone(
        self,
        job: Job,
        seconds: float,
        *,
        free: bool = False,
        reason: str | None = None,
    ) -> None:
        """Give a job back, due again after some seconds.

        :param free: This claim does not count as an attempt.
        :param reason: Why the attempt failed, for operators.
        :raises LeaseLostError: The job is another worker's now.
        """
        values = (self.clock() + seconds, int(free), reason, job.id, job.claim)

        with self.use() as db:
            postponed = db.execute(_POSTPONE, values).rowcount

        _expect_one(postponed, job)


def _keep(db: sqlite3.Connection, job: Job, part: Part, *, last_words: bool) -> Draft:
    marker = secrets.token_hex(16)
    choices = json.dumps(part.choices) if part.choices else None
    values = (
        marker,
        part.private,
        part.content,
        choices,
        len(part.files),
        last_words,
        job.id,
        job.claim,
    )
    kept = db.execute(_KEEP, values)
    _expect_one(kept.rowcount, job)
    draft_id = t.cast(int, kept.lastrowid)

    for name, content, kind in part.files:
        db.execute(
            "INSERT INTO file (draft_id, name, content, kind) VALUES (?, ?, ?, ?)",
            (draft_id, name, content, kind),
        )

    return Draft(
        id=draft_id,
        marker=marker,
        private=part.private,
        content=part.content,
        choices=tuple(part.choices),
        files=len(part.files),
    )


def _erase(
    db: sqlite3.Connection, job: Job, posted: tuple[int, int], *, files: bool
) -> None:
    """Forget all that anybody wrote."""
    mine = (job.id,)
    db.execute(_ERASE, (*posted, job.id))

    if job.follow_ups:
        db.execute(
            "UPDATE follow_up SET said = '', payload = NULL WHERE job_id = ?", mine
        )

    if files:
        db.execute(
            "DELETE FROM file"
            " WHERE draft_id IN (SELECT id FROM draft WHERE job_id = ? AND files)",
            mine,
        )


def _expect_one(rows: int, job: Job) -> None:
    if rows != 1:
        raise LeaseLostError(f"Job {job.id} was claimed by another worker.")


def _drafts(
    db: sqlite3.Connection, job_id: int, *, last_words: bool
) -> tuple[Draft, ...]:
    rows = db.execute(
        f"SELECT {DRAFT} FROM draft WHERE job_id = ? AND last_words = ? ORDER BY id",  # noqa: S608
        (job_id, last_words),
    )

    return tuple(draft_in(row) for row in rows)


def _follow_ups(db: sqlite3.Connection, job_id: int) -> tuple[FollowUp, ...]:
    rows = db.execute(
        "SELECT message_id, said, payload, received_at FROM follow_up WHERE job_id = ?"
        " ORDER BY received_at, id",
        (job_id,),
    )

    return tuple(FollowUp(*row) for row in rows)
