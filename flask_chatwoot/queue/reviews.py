"""Drafts that wait for an operator's reply, and how many were used.

A draft's row has its text, and later that of the reply. Whoever has compared them
deletes the row and counts the verdict in one commit, so that each draft is counted
once. A draft without a reply is deleted after :data:`LONGEST`.
"""

from __future__ import annotations

import time
import typing as t
from collections import Counter

from flask_chatwoot.outcomes import DraftVerdict

from .database import Database, Transaction, execute

LONGEST: t.Final = 86_400.0 - 120.0
"""Seconds for which a text is kept: a day, less the time between two looks."""

COUNTED: t.Final = 366
"""Days for which the counts are kept."""

NOTE: t.Final = "note"
SUGGESTION: t.Final = "suggestion"

_NOTE_ID: t.Final = """
(SELECT min(message_id) FROM draft WHERE draft.job_id = review.job_id AND draft.private)
"""

_OPEN: t.Final = """
account_id = :account AND conversation_id = :conversation AND reply IS NULL
"""

_IS_OPEN: t.Final = f"SELECT 1 FROM review WHERE {_OPEN} LIMIT 1"  # noqa: S608 - from constants

_IS_THERE: t.Final = f"""
SELECT 1 FROM review WHERE job_id = :job
UNION ALL
SELECT 1 FROM review WHERE {_OPEN} AND draft = :draft
AND (job_id IS NULL OR {_NOTE_ID} IS NOT NULL)
"""  # noqa: S608 - from constants

_OF_JOB: t.Final = "DELETE FROM review WHERE job_id = :job AND reply IS NULL"

_FORGET_EARLIER: t.Final = f"""
DELETE FROM review WHERE {_OPEN} AND draft = :earlier AND job_id IS NULL
"""  # noqa: S608 - from constants

_KEEP: t.Final = """
INSERT INTO review (
    account_id, conversation_id, job_id, about, after_id, draft, kept_at
) VALUES (:account, :conversation, :job, :about, :after, :draft, :now)
"""

_ANSWER: t.Final = f"""
UPDATE review SET reply = :reply
WHERE {_OPEN} AND kept_at > :now - {LONGEST}
AND CASE WHEN job_id IS NULL THEN after_id ELSE {_NOTE_ID} END < :message
"""  # noqa: S608 - from constants

_FORGET_UNSEEN: t.Final = f"""
DELETE FROM review WHERE {_OPEN} AND job_id IS NOT NULL AND after_id < :message
AND {_NOTE_ID} IS NULL
"""  # noqa: S608 - from constants

_ANSWERED: t.Final = """
SELECT id, conversation_id, job_id, about, draft, reply FROM review
WHERE account_id = :account AND reply IS NOT NULL ORDER BY id LIMIT 1
"""

_END: t.Final = "DELETE FROM review WHERE id = :review AND reply IS NOT NULL"

_COUNT: t.Final = """
INSERT INTO review_count (account_id, day, kind, verdict, drafts)
VALUES (:account, :day, :kind, :verdict, 1)
ON CONFLICT (account_id, day, kind, verdict)
DO UPDATE SET drafts = review_count.drafts + 1
"""

_COUNTS: t.Final = """
SELECT day, kind, verdict, drafts FROM review_count
WHERE account_id = :account AND day > :day ORDER BY day DESC, kind
"""

_IS_OLD: t.Final = f"""
SELECT 1 FROM review WHERE account_id = :account AND kept_at <= :now - {LONGEST} LIMIT 1
"""  # noqa: S608 - from constants

_FORGET_OLD: t.Final = f"""
DELETE FROM review WHERE account_id = :account AND kept_at <= :now - {LONGEST}
"""  # noqa: S608 - from constants


class ShownDraft(t.NamedTuple):
    """A draft that operators may see.

    :ivar job_id: The job whose note it is; ``None`` of a suggestion.
    :ivar about: What to keep of its turn, as JSON.
    :ivar after_id: The newest message of the conversation that it knows.
    """

    conversation_id: int
    job_id: int | None
    about: str
    after_id: int
    text: str

    def __repr__(self) -> str:
        return f"<ShownDraft in conversation {self.conversation_id}>"


class Answered(t.NamedTuple):
    """A draft, and what an operator replied."""

    id: int
    conversation_id: int
    job_id: int | None
    about: str
    draft: str
    reply: str

    def __repr__(self) -> str:
        return f"<Answered draft in conversation {self.conversation_id}>"


class Count(t.NamedTuple):
    """How many drafts of a day got a verdict.

    :ivar day: In UTC, like ``2026-11-29``.
    :ivar kind: ``note`` or ``suggestion``.
    """

    day: str
    kind: str
    verdict: str
    drafts: int


class Reviews:
    """The drafts in one Chatwoot account. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, draft: ShownDraft, *, earlier: str | None = None) -> None:
        """Keep a draft until an operator has replied.

        The draft that its job had before is replaced. The same text twice is one draft:
        the first.

        :param earlier: The suggestion that the operator had changed into this one: it
            gets no verdict.
        """
        values = {
            **self._values(draft.conversation_id),
            "job": draft.job_id,
            "about": draft.about,
            "after": draft.after_id,
            "draft": draft.text,
            "earlier": earlier,
        }

        def keep(tx: Transaction, _: bool) -> None:
            values["now"] = tx.now
            tx.execute(_FORGET_OLD, values)
            tx.execute(_OF_JOB, values)
            tx.execute(_FORGET_EARLIER, values)

            if tx.execute(_IS_THERE, values).fetchone() is None:
                tx.execute(_KEEP, values)

        self._database.write(keep, conversation_id=draft.conversation_id)

    def answer(self, conversation_id: int, message_id: int, reply: str) -> bool:
        """Keep an operator's reply with the drafts that came before it.

        A note that is not known to have arrived by then gets no verdict.

        :return: Whether there is such a draft, to be compared now.
        """
        values = self._values(conversation_id) | {"message": message_id, "reply": reply}

        # Nearly always there is no draft.
        with self._database.read() as tx:
            if tx.execute(_IS_OPEN, values).fetchone() is None:
                return False

        found: list[int] = []

        def answer(tx: Transaction, _: bool) -> bool:
            found.append(tx.execute(_ANSWER, values | {"now": tx.now}).rowcount)
            tx.execute(_FORGET_UNSEEN, values)

            # After a commit without an answer the next try finds none.
            return any(found)

        return self._database.write(
            answer, durable=True, conversation_id=conversation_id
        )

    def next(self) -> Answered | None:
        """A draft that has a reply and no verdict. Others may get the same."""
        with self._database.read() as tx:
            values = {"account": self._database.account_id}
            row = tx.execute(_ANSWERED, values).fetchone()

        return None if row is None else Answered(*row)

    def end(self, answered: Answered, verdict: str) -> bool:
        """Delete a draft and count its verdict; ``False`` if another one has."""
        kind = SUGGESTION if answered.job_id is None else NOTE
        ended: list[int] = []

        def end(tx: Transaction, _: bool) -> bool:
            ended.append(tx.execute(_END, {"review": answered.id}).rowcount)

            if ended[-1]:
                values = self._values(answered.conversation_id)
                values |= {"day": _day(tx.now), "kind": kind, "verdict": verdict}
                tx.execute(_COUNT, values)

            # After a commit without an answer the next try finds it deleted.
            return any(ended)

        return self._database.write(
            end, durable=True, conversation_id=answered.conversation_id
        )

    def counts(self, days: int) -> list[Count]:
        """The counts of so many days, today included, newest first."""
        with self._database.inspect() as tx:
            since = _day(tx.now - days * 86_400.0)
            values = {"account": self._database.account_id, "day": since}

            return [Count(*row) for row in tx.execute(_COUNTS, values)]

    def forget(self) -> None:
        """Delete the drafts that have waited for too long."""
        values: dict[str, t.Any] = {"account": self._database.account_id}

        with self._database.read() as tx:
            if tx.execute(_IS_OLD, values | {"now": tx.now}).fetchone() is None:
                return

        execute(self._database, _FORGET_OLD, values)

    def prune(self) -> None:
        """Delete the counts of more than :data:`COUNTED` days ago."""

        def prune(tx: Transaction, _: bool) -> None:
            tx.execute(
                "DELETE FROM review_count WHERE account_id = :account AND day <= :day",
                {
                    "account": self._database.account_id,
                    "day": _day(tx.now - COUNTED * 86_400.0),
                },
            )

        self._database.write(prune)

    def _values(self, conversation_id: int) -> dict[str, t.Any]:
        return {
            "account": self._database.account_id,
            "conversation": conversation_id,
        }


def rates(counts: t.Iterable[Count]) -> dict[str, float]:
    """The number of drafts, and which part of them got each verdict.

    Without a draft, the number alone.
    """
    drafts: Counter[str] = Counter()

    for each in counts:
        drafts[each.verdict] += each.drafts

    reviewed = drafts.total()
    parts = {str(each): drafts[each] / (reviewed or 1) for each in DraftVerdict}

    return {"reviewed": reviewed, **(parts if reviewed else {})}


def _day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
