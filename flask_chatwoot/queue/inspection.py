"""What operators see of jobs, and the revival and deletion of finished jobs."""

import typing as t

from . import schema
from .database import Database, Deletion, Transaction
from .schema import DraftState, JobState, WorkerLimit

KEEP: t.Final = 7 * 24 * 3600.0
"""Seconds for which a finished job is kept, so that a duplicate is recognised."""

ALIVE: t.Final = 30.0
"""Seconds after its last heartbeat for which a process counts as working."""

_ATTEMPTS: t.Final = """
CASE WHEN failure IS NULL THEN attempts ELSE earlier_attempts END,
CASE WHEN failure IS NULL THEN 0 ELSE attempts END,
provider_attempts, chatwoot_attempts
"""
"""At the turn, and at the posts about its failure; and those of both that failed."""

_LIST: t.Final = f"""
SELECT * FROM (
    SELECT id, conversation_id, message_id, {schema.JOB_STATE} AS state,
        :now - received_at, {_ATTEMPTS}, outcome, reason
    FROM job {{among}} AND account_id = :account
) AS listed WHERE state IN ({{states}}) ORDER BY id DESC LIMIT :limit
"""  # noqa: S608 - from constants

_REVIVE: t.Final = """
UPDATE job SET finished_at = NULL, outcome = NULL, reason = NULL, attempts = 0,
    provider_attempts = 0, chatwoot_attempts = 0, earlier_attempts = 0,
    last_attempt = false,
    failure = NULL, handoff = CASE WHEN failure IS NULL THEN handoff END,
    due_at = CASE WHEN EXISTS (
        SELECT 1 FROM job AS other WHERE other.account_id = job.account_id
        AND other.conversation_id = job.conversation_id AND other.finished_at IS NULL
    ) THEN NULL ELSE :now END
WHERE id = :job AND account_id = :account AND outcome = 'dead'
"""

_CONVERSATION: t.Final = """
SELECT conversation_id FROM job WHERE id = :job AND account_id = :account
"""

_AMONG: t.Final[t.Mapping[tuple[bool, bool, bool], str]] = {
    (True, False, False): "WHERE finished_at IS NULL",
    (False, True, False): "WHERE outcome = 'dead'",
}
"""How to find the unfinished or the dead jobs, if only these are wanted."""

_ALL: t.Final = "NOT INDEXED WHERE true"
"""How to read all jobs, newest first, up to the limit."""

_FINISHED: t.Final = "finished_at < :now - :age AND (outcome <> 'dead' OR :dead)"

_NEXT_OUTCOME: t.Final = """
SELECT min(outcome) FROM job WHERE account_id = :account AND finished_at IS NOT NULL
"""

_KNOWN: t.Final = f"""
WITH RECURSIVE known (name) AS (
    {_NEXT_OUTCOME}
    UNION ALL
    SELECT ({_NEXT_OUTCOME} AND outcome > known.name) FROM known
    WHERE name IS NOT NULL
)
"""  # noqa: S608 - from constants
"""The outcomes of the finished jobs, with one look into an index for each."""

_PRUNE: t.Final = Deletion(
    f"""
    {_KNOWN}
    SELECT id FROM known CROSS JOIN job
    WHERE account_id = :account AND outcome = known.name AND {_FINISHED}
    AND id < (SELECT max(id) FROM job)  -- or SQLite would use its id again,
    -- and an operator would confuse two jobs
    LIMIT :limit
    """,  # noqa: S608 - from constants
    ("job",),
    f"DELETE FROM job WHERE id = :job AND {_FINISHED}",  # noqa: S608 - the same
)

_PRUNE_WORKERS: t.Final = """
DELETE FROM worker
WHERE account_id = :account
AND ((threads = 0 AND stuck = 0) OR seen_at < :now - 3600)
"""

_STORY: t.Final = f"""
SELECT id, message_id, kind, {schema.JOB_STATE}, received_at, finished_at, due_at,
    {_ATTEMPTS}, outcome, reason, 1 + (
        SELECT count(DISTINCT message_id) FROM follow_up
        WHERE job_id = job.id AND message_id <> job.message_id
    ), found_after
FROM job WHERE account_id = :account AND conversation_id = :conversation ORDER BY id
"""  # noqa: S608 - from constants

_STORY_DRAFTS: t.Final = f"""
SELECT job_id, {schema.DRAFT_STATE}, private, sent_at, draft.message_id
FROM draft JOIN job ON job.id = draft.job_id
WHERE account_id = :account AND conversation_id = :conversation ORDER BY draft.id
"""  # noqa: S608 - from constants

_OLDEST: t.Final = """
SELECT :now - min(received_at) FROM job
WHERE account_id = :account AND finished_at IS NULL
"""

_WORKERS: t.Final = """
SELECT CAST(coalesce(sum(threads), 0) AS INTEGER),
    CAST(coalesce(sum(stuck), 0) AS INTEGER) FROM worker
WHERE account_id = :account AND seen_at > :now - :alive AND seen_at < :now + :alive
"""

_OUTCOMES: t.Final = f"""
{_KNOWN}
SELECT CASE name WHEN 'dead' THEN 'dead' ELSE 'done' END, name, (
    SELECT count(*) FROM job
    WHERE account_id = :account AND outcome = name AND finished_at IS NOT NULL
)
FROM known WHERE name IS NOT NULL
"""  # noqa: S608 - from constants

_STATES: t.Final = f"""
SELECT {schema.JOB_STATE}, NULL, count(*) FROM job
WHERE account_id = :account AND finished_at IS NULL GROUP BY 1
"""  # noqa: S608 - from constants

_BEAT: t.Final = """
INSERT INTO worker (account_id, name, threads, seen_at, limits, stuck)
VALUES (:account, :name, :threads, :now, :limits, :stuck)
ON CONFLICT (account_id, name) DO UPDATE SET
    threads = :threads, seen_at = :now, limits = :limits, stuck = :stuck
"""

_LIMITS: t.Final = """
SELECT limits FROM worker WHERE account_id = :account AND seen_at > :now - :alive
"""

_NO_LIMIT: t.Final = 2**63 - 1


class JobRow(t.NamedTuple):
    """A job as operators see it, without any text.

    :ivar age: Seconds since the delivery arrived.
    :ivar attempts: The number of attempts at its turn since it came or was revived.
    :ivar report_attempts: Those at the posts that report its failure, after it was
        given up.
    :ivar provider_attempts: Those of both that failed because of the provider.
    :ivar chatwoot_attempts: Those that failed because of Chatwoot.
    """

    id: int
    conversation_id: int
    message_id: int
    state: JobState
    age: float
    attempts: int
    report_attempts: int
    provider_attempts: int
    chatwoot_attempts: int
    outcome: str | None
    reason: str | None


class DraftRow(t.NamedTuple):
    """A draft as operators see it, without its text.

    :ivar sent_at: Unix seconds when a request for it last went out, or ``None``.
    :ivar message_id: Chatwoot's id for it, or ``None``.
    """

    state: DraftState
    private: bool
    sent_at: float | None
    message_id: int | None


class JobStory(t.NamedTuple):
    """A job of a conversation and its drafts, without any text.

    :ivar received_at: Unix seconds, like the other times.
    :ivar due_at: When it may be claimed, or its lease ends; ``None`` if it is blocked
        or finished.
    :ivar reason: Of the end, or of the last attempt that failed.
    :ivar messages: The number of messages that it answers.
    :ivar found_after: See :class:`~flask_chatwoot.queue.jobs.Job`.
    """

    id: int
    message_id: int
    kind: str
    state: JobState
    received_at: float
    finished_at: float | None
    due_at: float | None
    attempts: int
    report_attempts: int
    provider_attempts: int
    chatwoot_attempts: int
    outcome: str | None
    reason: str | None
    messages: int
    found_after: float | None = None
    drafts: tuple[DraftRow, ...] = ()


class Health(t.NamedTuple):
    """The figures of the queue.

    :ivar oldest: Seconds since the oldest unfinished job came, or ``None``.
    :ivar states: The number of jobs by state; a state without jobs is left out.
    :ivar outcomes: The number of finished jobs by outcome.
    :ivar workers: Threads of the processes whose heartbeat is recent.
    :ivar stuck: Further threads of theirs, whose providers do not come to an end.
    """

    oldest: float | None
    states: dict[str, int]
    outcomes: dict[str, int]
    workers: int
    stuck: int = 0


class Inspection:
    """The jobs of one Chatwoot account, as operators see them. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def jobs(self, *states: JobState, limit: int | None = None) -> list[JobRow]:
        """Rows, newest first.

        :param states: Only jobs in these; none means all.
        :param limit: ``None`` means all.
        """
        wanted = {f"state_{n}": state for n, state in enumerate(states or JobState)}
        names = ", ".join(f":{name}" for name in wanted)
        values = {
            **wanted,
            "account": self._database.account_id,
            "limit": _NO_LIMIT if limit is None else limit,
        }
        statement = _LIST.format(states=names, among=_AMONG.get(_kinds(states), _ALL))

        with self._database.inspect() as tx:
            rows = tx.execute(statement, values | {"now": tx.now})

            return [
                JobRow(id, conversation, message, JobState(state), *rest)
                for id, conversation, message, state, *rest in rows
            ]

    def story(self, conversation_id: int) -> list[JobStory]:
        """The jobs of a conversation, oldest first, with their drafts."""
        names = {
            "account": self._database.account_id,
            "conversation": conversation_id,
        }

        with self._database.inspect() as tx:
            jobs = tx.execute(_STORY, names | {"now": tx.now}).fetchall()
            drafts: dict[int, list[DraftRow]] = {}

            for job_id, state, private, *rest in tx.execute(_STORY_DRAFTS, names):
                row = DraftRow(DraftState(state), bool(private), *rest)
                drafts.setdefault(job_id, []).append(row)

        return [
            JobStory(id, message, kind, JobState(state), *rest)._replace(
                drafts=tuple(drafts.get(id, ()))
            )
            for id, message, kind, state, *rest in jobs
        ]

    def health(self) -> Health:
        """The figures of the queue. Reads an index of the finished jobs."""
        names: dict[str, t.Any] = {
            "account": self._database.account_id,
            "alive": ALIVE,
        }
        states: dict[str, int] = {}
        outcomes: dict[str, int] = {}

        with self._database.inspect() as tx:
            names["now"] = tx.now
            (oldest,) = tx.execute(_OLDEST, names).fetchone()
            workers, stuck = tx.execute(_WORKERS, names).fetchone()
            rows = [*tx.execute(_STATES, names), *tx.execute(_OUTCOMES, names)]

        for state, outcome, count in rows:
            states[state] = states.get(state, 0) + count

            if outcome is not None:
                outcomes[outcome] = count

        return Health(oldest, states, outcomes, workers, stuck)

    def limits(self) -> set[WorkerLimit]:
        """Those of the processes whose heartbeat is recent."""
        values = {"account": self._database.account_id, "alive": ALIVE}

        with self._database.read() as tx:
            rows = tx.execute(_LIMITS, values | {"now": tx.now}).fetchall()

        return {WorkerLimit(name) for (names,) in rows for name in names.split()}

    def report(
        self,
        worker: str,
        threads: int,
        limits: t.Iterable[WorkerLimit] = (),
        *,
        stuck: int = 0,
    ) -> None:
        """Record the heartbeat of a process with workers; no threads at all: it ends.

        :param worker: The name of the process, which no other process has.
        :param stuck: Further threads, whose providers do not come to an end.
        """
        values = {
            "account": self._database.account_id,
            "name": worker,
            "threads": threads,
            "limits": " ".join(limits),
            "stuck": stuck,
        }

        def beat(tx: Transaction, _: bool) -> None:
            tx.execute(_BEAT, values | {"now": tx.now})
            tx.execute(_PRUNE_WORKERS, values | {"now": tx.now})

        self._database.write(beat)

    def retry(self, job_ids: t.Iterable[int]) -> list[int]:
        """Revive dead jobs with all their attempts; return the ids of those revived."""
        # In the order they came.
        return [job_id for job_id in sorted(job_ids) if self._revive(job_id)]

    def _revive(self, job_id: int) -> bool:
        values: dict[str, t.Any] = {
            "account": self._database.account_id,
            "job": job_id,
        }

        with self._database.read() as tx:
            found = tx.execute(_CONVERSATION, values).fetchone()

        if found is None:
            return False

        revived: list[int] = []

        def revive(tx: Transaction, _: bool) -> bool:
            # What a commit without an answer has revived is not dead any more.
            revived.append(tx.execute(_REVIVE, values | {"now": tx.now}).rowcount)

            if revived[-1]:
                tx.execute(
                    "DELETE FROM draft WHERE job_id = :job AND about_failure", values
                )

            return any(revived)

        return self._database.write(revive, conversation_id=found[0])

    def prune(
        self,
        *,
        older_than: float = KEEP,
        dead: bool = False,
        at_most: int | None = None,
    ) -> int:
        """Delete jobs finished this many seconds ago; return their number.

        Deliveries of pruned messages are no longer recognised as duplicates. Blocks for
        long if there are many, and leaves other writers half of that time.

        :param dead: Delete dead jobs too.
        :param at_most: Jobs to delete; ``None``: all.
        """
        values = {"age": older_than, "dead": dead}

        return _PRUNE.run(self._database, values, at_most=at_most)


def _kinds(states: t.Collection[JobState]) -> tuple[bool, bool, bool]:
    """Whether unfinished, dead and done jobs are among those in these states."""
    return (
        any(state in schema.UNFINISHED for state in states),
        JobState.DEAD in states,
        JobState.DONE in states,
    )
