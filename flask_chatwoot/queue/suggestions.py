"""What operators were suggested, and the suggestions that are being written.

A suggestion is written once for a state of its conversation, whoever asks for it in
which process. Whoever begins has a claim on its row, which ends unless it is renewed;
the others wait. Its text is erased when nobody waits for it any more, and after an
hour. For as long, the hash of a text that was returned is kept with its conversation,
so that the operator can ask for changes of it.
"""

from __future__ import annotations

import hashlib
import secrets
import typing as t

from .database import Database, Deletion, Result, Transaction, Values, execute

REMEMBERED: t.Final = 3600.0
"""Seconds for which texts and hashes are kept."""

CLAIM: t.Final = 10.0
"""Seconds after which a claim ends that was not renewed: its process has died."""

_NEWS: t.Final = 60.0
"""Seconds after the end of its claim in which a failure is told to the next one."""

_ROW: t.Final = """
account_id = :account AND conversation_id = :conversation
AND fingerprint = :fingerprint AND request = :request
"""

_FIND: t.Final = f"""
SELECT claim, claimed_until, waiting, content, failure
FROM suggestion WHERE {_ROW} AND began_at > :now - {REMEMBERED}
"""  # noqa: S608 - from constants

_CLAIM: t.Final = """
INSERT INTO suggestion (
    account_id, conversation_id, fingerprint, request, claim, claimed_until, waiting,
    began_at
) VALUES (
    :account, :conversation, :fingerprint, :request, :claim, :until, :waiting, :now
)
ON CONFLICT (account_id, conversation_id, fingerprint, request) DO UPDATE SET
    claim = :claim, claimed_until = :until, waiting = :waiting, content = NULL,
    failure = NULL, began_at = :now
"""

_WAIT: t.Final = f"UPDATE suggestion SET waiting = waiting + :by WHERE {_ROW}"  # noqa: S608 - from constants

_FORGET: t.Final = f"DELETE FROM suggestion WHERE {_ROW}"  # noqa: S608 - from constants

# What is still written ends as one of these.
_FORGET_OTHERS: t.Final = f"""
DELETE FROM suggestion
WHERE account_id = :account AND conversation_id = :conversation AND waiting <= 0
AND (content IS NOT NULL OR failure IS NOT NULL OR claimed_until <= :now)
AND (fingerprint <> :fingerprint OR began_at <= :now - {REMEMBERED})
"""  # noqa: S608 - from constants

_RENEW: t.Final = f"""
UPDATE suggestion SET claimed_until = :now + {CLAIM}
WHERE account_id = :account AND conversation_id = :conversation AND claim = :claim
"""  # noqa: S608 - from constants

_END: t.Final = """
UPDATE suggestion SET content = :content, failure = :failure
WHERE account_id = :account AND conversation_id = :conversation AND claim = :claim
"""

_REMEMBER: t.Final = """
INSERT INTO suggested (account_id, conversation_id, text_hash, suggested_at)
VALUES (:account, :conversation, :hash, :now)
"""

_FORGET_HASHES: t.Final = f"""
UPDATE suggested SET text_hash = NULL
WHERE account_id = :account AND text_hash IS NOT NULL
AND suggested_at <= :now - {REMEMBERED}
"""  # noqa: S608 - from constants

_CONVERSATIONS: t.Final = f"""
SELECT DISTINCT conversation_id FROM suggested
WHERE account_id = :account AND text_hash = :hash
AND suggested_at > :now - {REMEMBERED}
"""  # noqa: S608 - from constants

_TIMES: t.Final = """
SELECT suggested_at FROM suggested
WHERE account_id = :account AND conversation_id = :conversation ORDER BY id
"""

_IS_OLD: t.Final = f"""
SELECT 1 FROM suggestion
WHERE account_id = :account AND began_at <= :now - {REMEMBERED}
UNION ALL
SELECT 1 FROM suggested WHERE account_id = :account AND text_hash IS NOT NULL
AND suggested_at <= :now - {REMEMBERED}
LIMIT 1
"""  # noqa: S608 - from constants

_FORGET_OLD: t.Final = f"""
DELETE FROM suggestion
WHERE account_id = :account AND began_at <= :now - {REMEMBERED}
"""  # noqa: S608 - from constants

_PRUNE: t.Final = Deletion(
    """
    SELECT id FROM suggested WHERE account_id = :account AND suggested_at < :now - :age
    LIMIT :limit
    """,
    ("row",),
    "DELETE FROM suggested WHERE id = :row",
)


class Wanted(t.NamedTuple):
    """What identifies a suggestion.

    :ivar fingerprint: Of the state of the conversation.
    :ivar request: Hash of what the operator asks for; empty if for a reply.
    """

    conversation_id: int
    fingerprint: bytes
    request: bytes = b""


class Claimed(t.NamedTuple):
    """The caller has to write it.

    :ivar claim: The token for :meth:`Suggestions.end`.
    """

    conversation_id: int
    claim: str


class Ended(t.NamedTuple):
    """It was written, or nobody could.

    :ivar content: The text; ``None`` if there is none.
    :ivar failure: The name of the reason for that; in further lines, what the host
        says about it.
    """

    content: str | None
    failure: str | None

    def __repr__(self) -> str:
        name, _, _ = (self.failure or "with a text").partition("\n")

        return f"<Ended {name}>"


class Suggestions:
    """The suggestions in one Chatwoot account. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def ask(self, wanted: Wanted, *, again: bool = False) -> Claimed | Ended | None:
        """Ask for a suggestion; ``None`` if it is being written.

        After ``Claimed`` and ``None`` the caller waits: it asks ``again`` until it is
        ended, or calls :meth:`leave`. An ended one is erased when its last caller has
        it.

        :param again: The caller waits already.
        """
        values = self._values(wanted)

        if again and not self._is_due(values):
            return None

        def ask(tx: Transaction) -> Claimed | Ended | None:
            return self._asked(tx, values | {"now": tx.now}, again)

        return self._write_once(wanted, ask)

    def leave(self, wanted: Wanted) -> None:
        """Wait no more. The text is kept for the next one who asks."""

        def leave(tx: Transaction) -> None:
            tx.execute(_WAIT, self._values(wanted) | {"by": -1})

        self._write_once(wanted, leave)

    def renew(self, claimed: Claimed) -> None:
        """Keep a claim for :data:`CLAIM` seconds more, unless another one has it."""
        self._write(claimed, _RENEW, {})

    def end(self, claimed: Claimed, ended: Ended) -> None:
        """Store what became of it, unless another one has the claim."""
        self._write(claimed, _END, ended._asdict())

    def conversations_of(self, text: str) -> list[int]:
        """The conversations in which a text was returned within the last hour."""
        with self._database.read() as tx:
            values = {"account": self._database.account_id, "hash": hash_of(text)}
            rows = tx.execute(_CONVERSATIONS, values | {"now": tx.now}).fetchall()

        return [number for (number,) in rows]

    def times(self, conversation_id: int) -> list[float]:
        """When something was suggested in a conversation, Unix seconds."""
        values = {
            "account": self._database.account_id,
            "conversation": conversation_id,
        }

        with self._database.inspect() as tx:
            return [at for (at,) in tx.execute(_TIMES, values)]

    def forget(self) -> None:
        """Erase texts and hashes that are older than an hour."""
        values: dict[str, t.Any] = {"account": self._database.account_id}

        with self._database.read() as tx:
            if tx.execute(_IS_OLD, values | {"now": tx.now}).fetchone() is None:
                return

        for statement in (_FORGET_OLD, _FORGET_HASHES):
            execute(self._database, statement, values)

    def prune(self, older_than: float, *, at_most: int | None = None) -> int:
        """Delete what is known of suggestions older than so many seconds.

        Blocks for long if there are many, and leaves other writers half of that time.

        :param at_most: Rows to delete; ``None``: all.
        :return: The number of rows.
        """
        return _PRUNE.run(self._database, {"age": older_than}, at_most=at_most)

    def _is_due(self, values: dict[str, t.Any]) -> bool:
        """Whether a suggestion is not being written: a look that blocks no writer."""
        with self._database.read() as tx:
            found = tx.execute(_FIND, values | {"now": tx.now}).fetchone()

            if found is None:
                return True

            _, until, _, content, failure = found
            ended = content is not None or failure is not None

            return ended or not tx.now < until <= tx.now + CLAIM

    def _asked(
        self, tx: Transaction, values: dict[str, t.Any], again: bool
    ) -> Claimed | Ended | None:
        tx.execute(_FORGET_OTHERS, values)
        found = tx.execute(_FIND, values).fetchone()

        if found is None:
            return self._claimed(tx, values, waiting=1)

        _, until, waiting, content, failure = found
        others = max(waiting - again, 0)

        if content is not None or failure is not None:
            # A failure is for those who waited, or for the next one if nobody did any
            # more: a provider that fails late would never be seen to fail.
            is_told = again or (not others and tx.now <= until + _NEWS)

            if failure is not None and not is_told:
                return self._claimed(tx, values, waiting=others + 1)

            return self._taken(tx, values, others, Ended(content, failure))

        if not tx.now < until <= tx.now + CLAIM:
            return self._claimed(tx, values, waiting=others + 1)

        if not again:
            tx.execute(_WAIT, values | {"by": 1})

        return None

    def _claimed(
        self, tx: Transaction, values: dict[str, t.Any], *, waiting: int
    ) -> Claimed:
        claimed = Claimed(values["conversation"], secrets.token_hex(16))
        named = {"claim": claimed.claim, "until": tx.now + CLAIM, "waiting": waiting}
        tx.execute(_CLAIM, values | named)

        return claimed

    def _taken(
        self, tx: Transaction, values: dict[str, t.Any], others: int, ended: Ended
    ) -> Ended:
        """What a caller gets who then waits no more."""
        if others:
            tx.execute(_WAIT, values | {"by": -1})
        else:
            tx.execute(_FORGET, values)

        if ended.content is not None:
            tx.execute(_REMEMBER, values | {"hash": hash_of(ended.content)})
            tx.execute(_FORGET_HASHES, values)

        return ended

    def _values(self, wanted: Wanted) -> dict[str, t.Any]:
        return {
            "account": self._database.account_id,
            "conversation": wanted.conversation_id,
            "fingerprint": wanted.fingerprint,
            "request": wanted.request,
        }

    def _write_once(
        self, wanted: Wanted, change: t.Callable[[Transaction], Result]
    ) -> Result:
        """Change the row of a suggestion, which says who waits and who writes.

        If the connection broke, and the row is as the change had left it, then that was
        committed.
        """
        left: list[tuple[t.Any, Result]] = []

        def write(tx: Transaction, _: bool) -> Result:
            values = self._values(wanted) | {"now": tx.now}

            for row, result in left:
                if tx.execute(_FIND, values).fetchone() == row:
                    return result

            result = change(tx)
            left.append((tx.execute(_FIND, values).fetchone(), result))

            return result

        return self._database.write(write, conversation_id=wanted.conversation_id)

    def _write(self, claimed: Claimed, sql: str, values: Values) -> None:
        names, conversation_id = self._of(claimed), claimed.conversation_id
        execute(
            self._database, sql, {**names, **values}, conversation_id=conversation_id
        )

    def _of(self, claimed: Claimed) -> dict[str, t.Any]:
        return {
            "account": self._database.account_id,
            "conversation": claimed.conversation_id,
            "claim": claimed.claim,
        }


def hash_of(*texts: str) -> bytes:
    """The same for texts that differ in white space only."""
    plain = "\0".join(" ".join(text.split()) for text in texts)

    return hashlib.sha256(plain.encode(errors="replace")).digest()
