"""The line of a conversation: its unfinished jobs, in the order in which they came.

The first of them, and no other, has a ``due_at``. A customer's message joins the
waiting job of its conversation, if there is one that no worker has begun to answer.

A job whose provider raised waits for a while. The customer's next message does not join
it, but ends that pause: the provider has one last attempt, at once.
"""

import typing as t

from flask_chatwoot.outcomes import Reason

from .database import Transaction

MESSAGE: t.Final = "message"
"""Kind of job: a customer wrote. All other kinds are alone in their turn."""

_LINE: t.Final = """
    SELECT 1 FROM job WHERE account_id = :account
    AND conversation_id = :conversation AND finished_at IS NULL
"""

_SAME: t.Final = """
account_id = :account AND conversation_id = :conversation AND message_id = :message
"""

_LOOK: t.Final = f"""
SELECT
    EXISTS (
        SELECT 1 FROM job WHERE account_id = :account
        AND conversation_id = :conversation AND key = :key
    ) OR EXISTS (SELECT 1 FROM follow_up WHERE key = :key),
    EXISTS ({_LINE}),
    EXISTS (SELECT 1 FROM early_change WHERE {_SAME})
"""  # noqa: S608 - from constants
"""Whether a delivery is known, whether jobs are before it in its line, and whether the
message was changed before it came."""

_OPEN: t.Final = f"""
SELECT max(id) FROM job AS open WHERE account_id = :account
AND conversation_id = :conversation AND finished_at IS NULL
AND claim IS NULL AND kind = 'message' AND failure IS NULL AND NOT late
AND NOT last_attempt AND NOT EXISTS (SELECT 1 FROM draft WHERE job_id = open.id)
AND NOT EXISTS ({_LINE} AND late AND id > open.id)
"""  # noqa: S608 - from constants
"""The job of a conversation that a message may join. What is written while a late
message waits is answered after it."""

_IS_LATE: t.Final = """
SELECT 1 FROM job AS other WHERE account_id = :account
AND conversation_id = :conversation AND kind = 'message' AND id <> :joined
AND (message_id > :message OR EXISTS (
    SELECT 1 FROM follow_up WHERE job_id = other.id AND message_id > :message
)) LIMIT 1
"""
"""Whether a later message of the conversation has a turn already."""

_END_PAUSE: t.Final = f"""
UPDATE job SET last_attempt = true,
    due_at = CASE WHEN due_at > :now THEN :now ELSE due_at END
WHERE account_id = :account AND conversation_id = :conversation AND finished_at IS NULL
AND due_at IS NOT NULL AND claim IS NULL AND attempts > 0 AND NOT last_attempt
AND message_id < :next
AND kind = 'message' AND failure IS NULL AND reason = '{Reason.PROVIDER_FAILED}'
AND NOT EXISTS (SELECT 1 FROM draft WHERE job_id = job.id)
"""  # noqa: S608 - from constants

_NEWEST: t.Final = 2**63 - 1
"""Above the id of every message. That of a click is older than the click."""

_WAITS: t.Final = """
SELECT 1 FROM job WHERE account_id = :account AND conversation_id = :conversation
AND finished_at IS NULL AND id > :job AND kind = 'message' AND NOT late LIMIT 1
"""

_PUT: t.Final = """
INSERT INTO job (
    account_id, conversation_id, message_id, key, kind, payload, received_at, due_at,
    found_after, late, text_hash
) VALUES (
    :account, :conversation, :message, :key, :kind, :payload, :now, :due,
    :found_after, :late, :text_hash
)
"""

_MAKE_ROOM: t.Final = """
UPDATE follow_up SET payload = NULL WHERE job_id = :job AND payload IS NOT NULL
"""

_JOIN: t.Final = """
INSERT INTO follow_up (
    job_id, message_id, key, said, payload, received_at, text_hash
) VALUES (:job, :message, :key, :said, :payload, :now, :text_hash)
"""

_JOB_OF: t.Final = """
SELECT id FROM job WHERE account_id = :account AND conversation_id = :conversation
AND key = :key
"""

_CHANGE: t.Final = (
    _MAKE_ROOM,
    f"""
    INSERT INTO follow_up (job_id, message_id, said, payload, received_at)
    SELECT :job, message_id, said, payload, :now FROM early_change WHERE {_SAME}
    """,  # noqa: S608 - from constants
    f"DELETE FROM early_change WHERE {_SAME}",  # noqa: S608 - from constants
)

_FOUND: t.Final = """
UPDATE job SET found_after = coalesce(found_after, :found_after) WHERE id = :job
"""

_WAIT_FOR_MORE: t.Final = """
UPDATE job SET due_at = CASE WHEN :now + :pause < received_at + :longest
    THEN :now + :pause ELSE received_at + :longest END
WHERE id = :job AND due_at IS NOT NULL AND attempts = 0
"""

_FIRST_IN_LINE: t.Final = """
SELECT id, kind, received_at,
    (SELECT max(received_at) FROM follow_up WHERE job_id = job.id)
FROM job WHERE account_id = :account AND conversation_id = :conversation
AND finished_at IS NULL ORDER BY id LIMIT 1
"""


class Window(t.NamedTuple):
    """The debounce window: how long a turn waits for more messages.

    :ivar pause: Seconds after the newest message.
    :ivar longest: The most seconds after the first message.
    """

    pause: float
    longest: float

    def due(self, kind: str, first_at: float, newest_at: float) -> float:
        """Unix seconds from which a job with such messages may be claimed."""
        if kind != MESSAGE:
            return first_at

        return min(newest_at + self.pause, first_at + self.longest)


def add(
    tx: Transaction,
    row: dict[str, t.Any],
    said: t.Callable[[], str],
    window: Window,
) -> bool:
    """Add a delivery to its line; ``False`` if it is known.

    :param row: Values of the columns that describe the delivery.
    :param said: Returns what to keep of a message besides its payload, if it joins.
    """
    known, behind, changed = tx.execute(_LOOK, row).fetchone()

    if known:
        return False

    joins = behind and row["kind"] == MESSAGE
    waiting = tx.execute(_OPEN, row).fetchone()[0] if joins else None
    row["late"] = _is_late(tx, row, waiting)

    if joins and not row["late"] and _ends_pause(tx, row):
        waiting = tx.execute(_OPEN, row).fetchone()[0]

    if waiting is not None and not row["late"]:
        _join(tx, row | {"job": waiting, "said": said()}, window)
    else:
        due = None if behind else window.due(row["kind"], tx.now, tx.now)
        tx.execute(_PUT, row | {"due": due})
        waiting = None

    if changed and row["kind"] == MESSAGE:
        _change(tx, row, waiting)

    return True


def is_known(tx: Transaction, row: t.Mapping[str, t.Any]) -> bool:
    """Whether a delivery was stored.

    :param row: ``account``, ``conversation`` and ``key``.
    """
    return bool(tx.execute(_LOOK, {"message": 0, **row}).fetchone()[0])


def _ends_pause(tx: Transaction, row: dict[str, t.Any]) -> bool:
    """End the pause of a job whose provider raised; whether there was one.

    What catch-up has found may be older than the job.
    """
    following = _NEWEST if row["found_after"] is None else row["message"]

    return bool(tx.execute(_END_PAUSE, row | {"next": following}).rowcount)


def _is_late(tx: Transaction, row: dict[str, t.Any], waiting: int | None) -> bool:
    """Whether a message was found after a later one got a turn that it cannot join."""
    if row["found_after"] is None or row["kind"] != MESSAGE:
        return False

    found = tx.execute(_IS_LATE, row | {"joined": waiting or 0}).fetchone()

    return found is not None


def _join(tx: Transaction, row: dict[str, t.Any], window: Window) -> None:
    """Add a message to the job that waits at the end of its line."""
    tx.execute(_MAKE_ROOM, row)
    tx.execute(_JOIN, row)

    if row["found_after"] is not None:
        tx.execute(_FOUND, row)

    if window.pause:
        tx.execute(_WAIT_FOR_MORE, row | window._asdict())


def _change(tx: Transaction, row: dict[str, t.Any], job: int | None) -> None:
    """Add the change that came before its message; see :class:`.Revisions`.

    :param job: The job that the message has joined, if it has not one of its own.
    """
    if job is None:
        (job,) = tx.execute(_JOB_OF, row).fetchone()

    for statement in _CHANGE:
        tx.execute(statement, row | {"job": job})


def end_pause(tx: Transaction, account_id: int, conversation_id: int, job: int) -> None:
    """End the pause of a job, if its provider raised and the customer wrote again."""
    values = {"account": account_id, "conversation": conversation_id, "job": job}

    if tx.execute(_WAITS, values).fetchone():
        tx.execute(_END_PAUSE, values | {"now": tx.now, "next": _NEWEST})


def bring_forward(
    tx: Transaction, account_id: int, conversation_id: int, window: Window
) -> None:
    """Make the first job of a line due."""
    line = {"account": account_id, "conversation": conversation_id}
    first = tx.execute(_FIRST_IN_LINE, line).fetchone()

    if first is None:
        return

    job_id, kind, received_at, newest_at = first
    due = window.due(kind, received_at, max(received_at, newest_at or 0.0))
    # What came by a clock that was ahead waits no longer than what comes now.
    due = min(due, window.due(kind, tx.now, tx.now))
    tx.execute(
        "UPDATE job SET due_at = :due WHERE id = :job AND due_at IS NULL",
        {"due": due, "job": job_id},
    )
