"""What operators may ask of the inbox, and do with finished jobs."""

import json
import typing as t

from .sqlite import Store, transaction

KEEP: t.Final = 7 * 24 * 3600.0
"""Seconds a finished job is remembered, so that a repeat is recognised."""

_LIST: t.Final = """
SELECT id, conversation_id, message_id,
    CASE WHEN done THEN 'done' WHEN finished_at IS NOT NULL THEN 'dead'
        WHEN claim IS NOT NULL THEN 'claimed' ELSE 'waiting' END AS state,
    :now - received_at, attempts, outcome, reason
FROM job WHERE account_id = :account AND (:state IS NULL OR state = :state)
ORDER BY id DESC LIMIT :limit
"""

_REVIVE: t.Final = """
UPDATE job SET finished_at = NULL, outcome = NULL, reason = NULL, attempts = 0,
    failure = NULL, handoff = CASE WHEN failure IS NULL THEN handoff END,
    due_at = CASE WHEN EXISTS (
        SELECT 1 FROM job AS other WHERE other.account_id = job.account_id
        AND other.conversation_id = job.conversation_id
        AND other.done = 0 AND other.finished_at IS NULL
    ) THEN NULL ELSE ? END
WHERE id = ? AND account_id = ? AND outcome = 'dead'
"""

_PRUNE: t.Final = """
DELETE FROM job WHERE id IN (
    SELECT id FROM job
    WHERE account_id = ? AND finished_at < ? AND (outcome <> 'dead' OR ?)
    AND id < (SELECT max(id) FROM job)  -- or SQLite would give its id away again, and
    -- Inbox.claim() would not look at the job that gets it
    ORDER BY id LIMIT 500
)
"""

DRAFT: t.Final = (
    "draft.id, marker, private, content, sent_at, draft.message_id, choices, files"
)
"""The columns that :func:`draft_in` reads."""

_STORY: t.Final = """
SELECT id, message_id, kind, received_at, finished_at, abs(due_at), claim IS NOT NULL,
    attempts, outcome, reason,
    1 + (SELECT count(*) FROM follow_up WHERE job_id = job.id)
FROM job WHERE account_id = :account AND conversation_id = :conversation ORDER BY id
"""

_STORY_DRAFTS: t.Final = f"""
SELECT job_id, {DRAFT} FROM draft JOIN job ON job.id = draft.job_id
WHERE account_id = :account AND conversation_id = :conversation ORDER BY draft.id
"""  # noqa: S608 - put together from constants

_OLDEST: t.Final = """
SELECT :now - min(received_at) FROM job
WHERE account_id = :account AND finished_at IS NULL
"""

_WORKERS: t.Final = """
SELECT coalesce(sum(threads), 0) FROM worker
WHERE account_id = :account AND seen_at > :now - :alive
"""

_OUTCOMES: t.Final = """
SELECT outcome, count(*) FROM job WHERE account_id = :account GROUP BY outcome
"""

ALIVE: t.Final = 30.0
"""Seconds after its last sign of life for which a process counts as working."""

STATES: t.Final = ("waiting", "claimed", "done", "dead")


class Draft(t.NamedTuple):
    """A post kept until Chatwoot has it.

    :ivar marker: Random text by which the post is found again in Chatwoot.
    :ivar sent_at: Unix seconds at which a request for it may have gone out, or was
        given up without an answer; ``None`` if none did.
    :ivar message_id: Chatwoot's id for it, ``None`` until that is known.
    :ivar choices: Titles and values.
    :ivar files: How many go with it; see :meth:`Inbox.files`.
    """

    id: int
    marker: str
    private: bool
    content: str
    sent_at: float | None = None
    message_id: int | None = None
    choices: tuple[tuple[str, str], ...] = ()
    files: int = 0

    def __repr__(self) -> str:
        return f"<Draft {self.id}>"


class JobRow(t.NamedTuple):
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


class Chapter(t.NamedTuple):
    """A job as part of its conversation's story; no text of anybody.

    :ivar received_at: Unix seconds, like the other times.
    :ivar due_at: ``None`` if it waits for another job, or is finished.
    :ivar reason: Of the end, or of the last attempt that failed.
    :ivar messages: How many it answers.
    :ivar posts: Kept replies.
    """

    id: int
    message_id: int
    kind: str
    received_at: float
    finished_at: float | None
    due_at: float | None
    claimed: bool
    attempts: int
    outcome: str | None
    reason: str | None
    messages: int
    posts: tuple[Draft, ...] = ()


class Health(t.NamedTuple):
    """How the work goes.

    :ivar oldest: Seconds since the oldest unfinished job came, or ``None``.
    :ivar waiting: Unfinished jobs.
    :ivar outcomes: How many finished jobs ended how.
    :ivar workers: Threads that gave a sign of life.
    """

    oldest: float | None
    waiting: int
    outcomes: dict[str, int]
    workers: int


class Ledger(Store):
    """The jobs of one Chatwoot account, as operators see them."""

    def jobs(self, *, state: str | None = None, limit: int = -1) -> list[JobRow]:
        """Rows, newest first.

        :param state: One of :data:`STATES`; ``None`` means all.
        :param limit: Below zero means all.
        """
        values = {
            "account": self.account_id,
            "state": state,
            "now": self.clock(),
            "limit": limit,
        }

        with self.use() as db:
            return [JobRow(*row) for row in db.execute(_LIST, values)]

    def story(self, conversation_id: int) -> list[Chapter]:
        """The jobs of a conversation, oldest first, with their posts."""
        names = {"account": self.account_id, "conversation": conversation_id}

        with self.use() as db:
            chapters = [Chapter(*row) for row in db.execute(_STORY, names)]
            drafts: dict[int, list[Draft]] = {}

            for job_id, *row in db.execute(_STORY_DRAFTS, names):
                drafts.setdefault(job_id, []).append(draft_in(tuple(row)))

        return [
            chapter._replace(posts=tuple(drafts.get(chapter.id, ())))
            for chapter in chapters
        ]

    def health(self) -> Health:
        """How the work goes; reads every row."""
        names = {"account": self.account_id, "now": self.clock(), "alive": ALIVE}

        with self.use() as db:
            (oldest,) = db.execute(_OLDEST, names).fetchone()
            (workers,) = db.execute(_WORKERS, names).fetchone()
            outcomes = dict(db.execute(_OUTCOMES, names).fetchall())

        return Health(oldest, outcomes.pop(None, 0), outcomes, workers)

    def report(self, worker: str, threads: int) -> None:
        """A sign of life of a process that works; 0 threads: it ends.

        :param worker: The same name each time, and of no other process.
        """
        values = (self.account_id, worker, threads, self.clock())

        with self.use() as db, transaction(db):
            db.execute("INSERT OR REPLACE INTO worker VALUES (?, ?, ?, ?)", values)
            db.execute("DELETE FROM worker WHERE threads = 0")
            db.execute("DELETE FROM worker WHERE seen_at < ?", (self.clock() - 3600,))

    def retry(self, job_ids: t.Iterable[int]) -> list[int]:
        """Revive dead jobs with all their attempts; the ids that were dead."""
        revived = []

        with self.use() as db, transaction(db):
            for job_id in sorted(job_ids):  # revived in the order they came
                values = (self.clock(), job_id, self.account_id)

                if db.execute(_REVIVE, values).rowcount:
                    revived.append(job_id)
                    db.execute(
                        "DELETE FROM draft WHERE job_id = ? AND last_words", (job_id,)
                    )

        return revived

    def prune(self, *, older_than: float = KEEP, dead: bool = False) -> int:
        """Forget jobs finished this many seconds ago; how many they were.

        Deliveries of forgotten messages are no longer recognised as repeats. In
        several short transactions, so that nobody waits for a large clean-up.

        :param dead: Forget dead jobs too.
        """
        values = (self.account_id, self.clock() - older_than, dead)
        total = 0

        while True:
            with self.use() as db:
                pruned = db.execute(_PRUNE, values).rowcount

            total += pruned

            if not pruned:
                return total


def draft_in(row: tuple[t.Any, ...]) -> Draft:
    """A draft from its columns, :data:`DRAFT`."""
    draft = Draft(*row)
    choices: t.Any = draft.choices
    listed = json.loads(choices) if choices else ()

    return draft._replace(
        private=bool(draft.private),
        choices=tuple((title, value) for title, value in listed),
    )
