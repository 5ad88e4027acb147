"""Jobs, in the order of their conversations.

The unfinished jobs of a conversation are its line. The first of them, and no other, has
a ``due_at``; the next gets one when the first is finished. So a claim is one look-up in
an index, whatever the number of jobs and the length of a line. While a job is claimed
its ``due_at`` is the end of its lease: the job of a worker that died is due again.

A customer's message joins the waiting job of its conversation, if there is one that no
worker has begun to answer: it becomes a follow-up of that job, and the whole burst is
one turn. Only the newest payload of a job is kept.

A due time further ahead than any pause was stored by a clock that was wrong: it counts
as due.

The states of a job, and what changes them, are described in
:mod:`~flask_chatwoot.queue.schema`.
"""

import contextlib
import enum
import secrets
import typing as t

from flask_chatwoot.outcomes import Reason

from . import leases, line
from .claimed import FollowUp, Job
from .database import Database, Result, Transaction, Work, execute
from .due import JOB, Due, Row
from .line import MESSAGE, Window
from .outbox import (
    Draft,
    DraftPart,
    drafts_of,
    erase,
    expect_one,
    expect_unchanged,
    keep_all,
    keep_message_id,
)
from .recent import hash_of, messages_until
from .schema import LONGEST_PAUSE

_CLAIMED: t.Final = f"{JOB} AND due_at IS NOT NULL AND claim = :claim"

_CLAIM: t.Final = """
UPDATE job SET claim = :claim, worker = :worker, due_at = :due, attempts = attempts + 1
WHERE id = :job
"""

_RENEW: t.Final = """
UPDATE job SET due_at = :now + :lease
WHERE id = :job AND claim = :claim AND due_at > :now
"""

_FOLLOW_UPS: t.Final = """
SELECT message_id, said, payload, received_at FROM follow_up WHERE job_id = :job
ORDER BY received_at, id
"""

_END: t.Final = """
UPDATE job SET finished_at = :now, outcome = :outcome, reason = :reason, due_at = NULL,
    claim = NULL,
    payload = CASE WHEN :outcome = 'dead' THEN payload END,
    handoff = CASE WHEN :outcome = 'dead' THEN handoff END
WHERE id = :job AND claim = :claim
"""

_ENDED: t.Final = "SELECT 1 FROM job WHERE id = :job AND outcome = :outcome"

_POSTPONE: t.Final = """
UPDATE job SET due_at = :due, claim = NULL, attempts = attempts - :free,
    reason = coalesce(:reason, reason)
WHERE id = :job AND claim = :claim
"""

_COUNTS: t.Final = """
SELECT provider_attempts, chatwoot_attempts FROM job WHERE id = :job AND claim = :claim
"""

_FAILED: t.Final = """
UPDATE job SET provider_attempts = provider_attempts + :provider,
    chatwoot_attempts = chatwoot_attempts + :chatwoot
WHERE id = :job AND claim = :claim
"""

_GIVE_UP: t.Final = """
UPDATE job SET failure = :failure, handoff = :handoff, due_at = :now, claim = NULL,
    earlier_attempts = earlier_attempts + attempts, attempts = 0
WHERE id = :job AND claim = :claim
"""

_HEIR: t.Final = """
SELECT min(id) FROM job WHERE account_id = :account
AND conversation_id = :conversation AND id > :job
AND finished_at IS NULL AND kind = 'message'
AND NOT EXISTS (SELECT 1 FROM draft WHERE job_id = job.id)
AND NOT EXISTS (
    SELECT 1 FROM job AS late WHERE late.account_id = :account
    AND late.conversation_id = :conversation AND late.finished_at IS NULL
    AND late.late AND late.id BETWEEN :job AND job.id
)
"""
"""The turn that may answer another's messages too: none beyond a late message, which
may be newer than they are."""

_ADD_TO_HEIR: t.Final = """
INSERT INTO follow_up (job_id, message_id, said, received_at)
VALUES (:heir, :message, :said, :since)
"""


class FailedBy(enum.StrEnum):
    """The side whose failure ended an attempt; each has its own count."""

    PROVIDER = "provider"
    CHATWOOT = "chatwoot"


class Queue:
    """The jobs of one Chatwoot account. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written. Those that take ``tx`` join that transaction.

    :param lease: Seconds that a claimed job stays with a worker that does not renew it.
    :param window: Seconds to wait for more messages before a turn begins.
    :param longest: Seconds to wait in all.
    """

    def __init__(
        self,
        database: Database,
        *,
        lease: float = 30.0,
        window: float = 0.0,
        longest: float = 30.0,
    ) -> None:
        self.lease = lease
        self._database = database
        self._window = Window(window, longest)
        self._due = Due(database)

    def transaction(
        self, conversation_id: int, *, durable: bool = False
    ) -> contextlib.AbstractContextManager[Transaction]:
        """A transaction about a conversation, which several stores may join."""
        return self._database.transaction(
            durable=durable, conversation_id=conversation_id
        )

    def write(self, conversation_id: int, work: Work[Result]) -> Result:
        """What :meth:`.Database.write` returns, durably and about a conversation."""
        return self._database.write(work, durable=True, conversation_id=conversation_id)

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
        found_after: float | None = None,
        text: str = "",
        tx: Transaction | None = None,
    ) -> bool:
        """Store a delivery; ``False`` if its key is known already.

        :param said: Returns what to keep of a message when a newer one replaces its
            payload. Called only if the message joins a job.
        :param found_after: Catch-up found it so many seconds after it was written;
            ``None``: Chatwoot delivered it.
        :param text: What the customer wrote, of which a hash is kept; empty of what was
            picked.
        """
        row: dict[str, t.Any] = {
            "account": self._database.account_id,
            "conversation": conversation_id,
            "message": message_id,
            "key": key,
            "kind": kind,
            "payload": payload,
            "found_after": found_after,
            "text_hash": hash_of(text, conversation_id),
        }

        def add(tx: Transaction, again: bool) -> bool:
            row["now"] = tx.now

            return line.add(tx, row, said, self._window) or again

        if tx is not None:
            return add(tx, False)

        return self._database.write(add, durable=True, conversation_id=conversation_id)

    def is_known(self, conversation_id: int, key: str) -> bool:
        """Whether a delivery was stored, and its job is not pruned since."""
        row = {
            "account": self._database.account_id,
            "conversation": conversation_id,
            "key": key,
        }

        with self._database.read() as tx:
            return line.is_known(tx, row)

    # -- work ------------------------------------------------------------------

    def claim(
        self,
        *,
        conversation_id: int | None = None,
        tx: Transaction | None = None,
        token: str | None = None,
        again: bool = False,
    ) -> Job | None:
        """Take the oldest due job for the length of a lease, or ``None``.

        :param conversation_id: Take that of this one, if it is due.
        :param token: Becomes the job's ``claim``, where ``tx`` may be repeated.
        :param again: A job with this token may have been claimed before.
        """
        if tx is not None:
            return self._claim_due(tx, token or secrets.token_hex(16), again=again)

        # Most claims find nothing, and reading does not block writers.
        if conversation_id is None:
            with self._database.read() as seen:
                if not self._due.is_any(seen):
                    return None

        self._database.processes.enter()  # here: it may block
        claim = secrets.token_hex(16)

        return self._database.write(
            lambda tx, again: self._claim_due(tx, claim, conversation_id, again=again),
            conversation_id=conversation_id,
        )

    def _claim_due(
        self,
        tx: Transaction,
        claim: str,
        conversation_id: int | None = None,
        *,
        again: bool = False,
    ) -> Job | None:
        values = {
            "account": self._database.account_id,
            "claim": claim,
            "worker": self._database.processes.enter(),
            "due": tx.now + self.lease,
        }

        if again and (row := tx.execute(_CLAIMED, values).fetchone()):
            return self._job(tx, claim, row)

        row = self._due.first(tx, conversation_id)

        if row is None:
            return None

        tx.execute(_CLAIM, values | {"job": row[0]})

        return self._job(tx, claim, row)._replace(attempts=row[6] + 1)

    def _job(self, tx: Transaction, claim: str, row: Row) -> Job:
        job_id, conversation, message, kind, payload, received, attempts, *rest = row
        handoff, failure, reason, found_after, late, failed, is_last, _ = rest
        follow_ups = tx.execute(_FOLLOW_UPS, {"job": job_id}).fetchall()

        return Job(
            id=job_id,
            conversation_id=conversation,
            message_id=message,
            kind=kind,
            payload=payload,
            received_at=received,
            attempts=attempts,
            claim=claim,
            handoff=handoff,
            failure=failure,
            reason=reason,
            drafts=drafts_of(tx, job_id, about_failure=failure is not None),
            follow_ups=tuple(FollowUp(*each) for each in follow_ups),
            found_after=found_after,
            late=bool(late),
            provider_attempts=failed,
            last_attempt=bool(is_last),
            recent=messages_until(
                tx,
                account_id=self._database.account_id,
                conversation_id=conversation,
                job_id=job_id,
                received_at=received,
            ),
        )

    def renew(self, job: Job) -> None:
        """Restart the lease; do nothing if it was lost or has ended.

        A worker that stood still beyond its lease must not have it again: what it
        knows of the conversation is old.
        """
        if self._database.processes.keep_leases:
            return

        names = _lease(job) | {"lease": self.lease}
        execute(self._database, _RENEW, names, conversation_id=job.conversation_id)

    def end_leases(self) -> int:
        """End the leases of processes that have died; return their number.

        Their attempts count.
        """
        return leases.end_of_dead(self._database)

    def let_go(self, running: t.Collection[str]) -> int:
        """End the leases of jobs that this process does not run; see :func:`.let_go`.

        :param running: The claims of the turns that it runs.
        """
        return leases.let_go(self._database, running)

    def postpone(
        self,
        job: Job,
        seconds: float,
        *,
        free: bool = False,
        reason: str | None = None,
    ) -> None:
        """End the lease; the job is due again after some seconds.

        At once, if its provider raised and the customer wrote again meanwhile.

        :param free: This claim does not count as an attempt.
        :param reason: Why the attempt failed, for operators.
        :raises LeaseLostError: Another worker has the job now.
        """
        values = _lease(job) | {"free": int(free), "reason": reason}

        def end(tx: Transaction, again: bool) -> int:
            values["due"] = tx.now + min(seconds, LONGEST_PAUSE)
            ended = tx.execute(_POSTPONE, values).rowcount or int(again)

            if reason == Reason.PROVIDER_FAILED:
                line.end_pause(
                    tx, self._database.account_id, job.conversation_id, job.id
                )

            return ended

        expect_one(self._database.write(end, conversation_id=job.conversation_id), job)

    def failed(self, job: Job, by: FailedBy) -> None:
        """Count an attempt as failed because of the provider or of Chatwoot.

        Nothing happens if the lease was lost.
        """
        counts = {each.value: int(each is by) for each in FailedBy}
        names, counted = _lease(job), list[t.Any]()

        def count(tx: Transaction, _: bool) -> None:
            # Nobody else counts for this claim: another number was counted here.
            counted.append(tx.execute(_COUNTS, names).fetchone())

            if counted[-1] == counted[0]:
                tx.execute(_FAILED, names | counts)

        self._database.write(count, conversation_id=job.conversation_id)

    def give_up(
        self,
        job: Job,
        failure: str,
        parts: t.Iterable[DraftPart],
        *,
        handoff: str | None,
    ) -> None:
        """Keep the messages about a failed turn, and make the job due again.

        Its drafts so far stay as evidence, and for :meth:`.Inspection.retry`.

        :raises LeaseLostError: Another worker has the job now.
        """
        values = _lease(job) | {"failure": failure, "handoff": handoff}

        def end(tx: Transaction, again: bool) -> None:
            keep_all(tx, job, parts, about_failure=True)
            expect_one(tx.execute(_GIVE_UP, {**values, "now": tx.now}).rowcount, job)

        parts = list(parts)
        self._database.write(end, conversation_id=job.conversation_id)

    def supersede(
        self, job: Job, said: t.Iterable[tuple[int, str]], reason: str
    ) -> bool:
        """Let the next turn answer this one's messages too, and end this one.

        :param said: Ids, and what to keep of the messages.
        :return: ``False`` if no message waits; nothing is changed then.
        :raises LeaseLostError: Another worker has the job now, or one of its messages
            was changed since it was claimed.
        """
        values = {
            "account": self._database.account_id,
            "conversation": job.conversation_id,
            "job": job.id,
        }

        kept = [{"message": id, "said": text, "since": job.since} for id, text in said]

        def supersede(tx: Transaction, again: bool) -> bool:
            if again and _has_ended(tx, job, "declined"):
                return True

            (heir,) = tx.execute(_HEIR, values).fetchone()

            if heir is None:
                return False

            expect_unchanged(tx, job)
            tx.executemany(_ADD_TO_HEIR, [{**each, "heir": heir} for each in kept])
            expect_one(self._end(tx, job, "declined", reason), job)

            return True

        return self._database.write(
            supersede, durable=True, conversation_id=job.conversation_id
        )

    def settle(
        self,
        job: Job,
        outcome: str,
        reason: str | None,
        *,
        posted: tuple[Draft, int] | None = None,
    ) -> None:
        """End a job, and make the next one of its conversation due.

        The text is erased, unless the job is dead and may be revived.

        :param posted: A draft and the id of its message, to keep in the same commit,
            even if the lease was lost.
        :raises LeaseLostError: Another worker has the job now.
        """

        def end(tx: Transaction, again: bool) -> int:
            if posted is not None:
                keep_message_id(tx, *posted)

            return self._end(tx, job, outcome, reason) or (
                int(again and _has_ended(tx, job, outcome))
            )

        ended = self._database.write(
            end, durable=True, conversation_id=job.conversation_id
        )
        expect_one(ended, job)

    def _end(self, tx: Transaction, job: Job, outcome: str, reason: str | None) -> int:
        """End a job; return 1, or 0 if the lease was lost."""
        values = _lease(job) | {"now": tx.now, "outcome": outcome, "reason": reason}

        if not tx.execute(_END, values).rowcount:
            return 0

        account_id = self._database.account_id
        line.bring_forward(tx, account_id, job.conversation_id, self._window)

        if outcome != "dead":
            tx.execute(
                "UPDATE follow_up SET said = '', payload = NULL WHERE job_id = :job",
                values,
            )
            erase(tx, job.id)

        return 1


def _has_ended(tx: Transaction, job: Job, outcome: str) -> bool:
    """Whether a job ended like this, as far as can be known after the lease is gone."""
    found = tx.execute(_ENDED, {"job": job.id, "outcome": outcome})

    return found.fetchone() is not None


def _lease(job: Job) -> dict[str, t.Any]:
    return {"job": job.id, "claim": job.claim}
