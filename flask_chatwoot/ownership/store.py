"""What is kept of conversations: who has them."""

import typing as t

from flask_chatwoot.queue.database import Database, Transaction, joined
from flask_chatwoot.queue.transcript import Transcript


class Holding(t.NamedTuple):
    """Who has a conversation.

    :ivar taken: A person has answered in public, or was handed the conversation, and
        has not given it back since.
    :ivar marked: The attribute said human after that.
    :ivar former: The attribute still says human, and the conversation was resolved:
        what it said before, as JSON; else ``None``.
    :ivar operator_message_id: The newest public message a person wrote; 0 if none is
        known.
    :ivar human_at: Chatwoot's time of the newest state of the conversation in which
        the attribute said human, of those since it was taken; ``None`` if it was not
        seen.
    :ivar resolved_message_id: The newest public message when the conversation was
        last resolved; 0 if it never was.
    """

    taken: bool = False
    marked: bool = False
    former: str | None = None
    operator_message_id: int = 0
    human_at: float | None = None
    resolved_message_id: int = 0


_OPERATOR_WROTE: t.Final = """
INSERT INTO conversation (account_id, id, taken, operator_message_id, touched_at)
VALUES (:account, :id, 1, :message, :now)
ON CONFLICT (account_id, id) DO UPDATE SET marked = taken AND marked,
    taken = taken OR :message > max(operator_message_id, resolved_message_id),
    touched_at = :now, operator_message_id = max(operator_message_id, :message)
"""
# Deliveries overtake each other, and come twice: a message that is no newer than what
# was known when the conversation was resolved, or given back, is one of those.

_IS_NO_NEWS: t.Final = """
SELECT CASE WHEN taken THEN marked OR operator_message_id <> :message
    ELSE :message <= max(operator_message_id, resolved_message_id) END
FROM conversation WHERE account_id = :account AND id = :id
"""

_TAKE: t.Final = """
INSERT INTO conversation (account_id, id, taken, touched_at)
VALUES (:account, :id, 1, :now)
ON CONFLICT (account_id, id) DO UPDATE SET marked = taken AND marked, taken = 1,
    touched_at = :now
"""

_GIVE_BACK: t.Final = """
UPDATE conversation SET marked = 0, former = NULL, human_at = NULL, touched_at = :now,
    taken = operator_message_id > coalesce(:newest, operator_message_id)
WHERE account_id = :account AND id = :id
"""

_RESOLVED: t.Final = """
INSERT INTO conversation (account_id, id, resolved_message_id, touched_at)
VALUES (:account, :id, :newest, :now)
ON CONFLICT (account_id, id) DO UPDATE SET
    taken = taken AND :newest AND operator_message_id > :newest,
    marked = marked AND :newest AND operator_message_id > :newest,
    human_at = CASE WHEN :newest AND operator_message_id > :newest THEN human_at END,
    resolved_message_id = max(resolved_message_id, :newest), touched_at = :now
"""
# A person whose message is newer took it after that resolve, of which we hear late.

_SEEN_HUMAN: t.Final = """
UPDATE conversation SET human_at = max(coalesce(human_at, 0), :at)
WHERE account_id = :account AND id = :id AND taken
"""

_FORGOTTEN: t.Final = """
DELETE FROM conversation WHERE touched_at < :old AND NOT taken AND former IS NULL
AND (resolved_message_id = 0 OR touched_at < :oldest)
"""

LONGEST_ABSENCE: t.Final = 365 * 86_400.0
"""Seconds after which nobody is expected to come back to a resolved conversation."""


class Memory:
    """Rows about conversations, in the database. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written. Those that take ``tx`` join that transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._transcript = Transcript(database)

    def holding(self, conversation_id: int) -> Holding:
        """Who has a conversation; nobody in particular if nothing is known."""
        with self._database.read() as tx:
            row = tx.execute(
                "SELECT taken, marked, CASE WHEN taken THEN NULL ELSE former END,"
                " operator_message_id, human_at, resolved_message_id"
                " FROM conversation WHERE account_id = :account AND id = :id",
                self._names(conversation_id),
            ).fetchone()

        if row is None:
            return Holding()

        taken, marked, *rest = row

        return Holding(bool(taken), bool(marked), *rest)

    def operator_wrote(
        self, conversation_id: int, message_id: int, *, tx: Transaction | None = None
    ) -> bool:
        """Note a person's public message; whether it took the conversation.

        ``True`` again for the same message until the attribute is :meth:`marked`: a
        look at the conversation may see it a moment before its delivery does, which
        has the attribute set. One from before the last resolve takes nothing.
        """
        names = self._names(conversation_id) | {"message": message_id}

        with joined(self._database, tx, durable=True) as tx:
            known = tx.execute(_IS_NO_NEWS, names).fetchone()
            tx.execute(_OPERATOR_WROTE, names)

        return not (known and known[0])

    def take(self, conversation_id: int) -> None:
        """Note that people have the conversation."""
        self._write(_TAKE, conversation_id)

    def give_back(self, conversation_id: int, *, newest: int | None = None) -> None:
        """Note that the bot has the conversation again.

        :param newest: The newest message of a person that was known when that was
            seen: who wrote since then has taken it again. ``None``: nobody did.
        """
        self._write(_GIVE_BACK, conversation_id, newest=newest)

    def resolved(
        self, conversation_id: int, newest: int, *, tx: Transaction | None = None
    ) -> None:
        """Note that a conversation was resolved: nobody has it, and it begins anew.

        Unless a person wrote since, and it is only told late.

        :param newest: The newest public message at that time; 0 if that is unknown.
        """
        names = self._names(conversation_id) | {"newest": newest}

        with joined(self._database, tx, durable=True) as tx:
            tx.execute(_RESOLVED, names)
            self._transcript.forget(conversation_id, newest=newest, tx=tx)

    def marked(self, conversation_id: int, former: str | None = None) -> None:
        """Note that the attribute of a conversation says human.

        It may have been resolved a moment ago.

        :param former: What it said before we set it, as JSON; ``None`` if somebody
            else did.
        """
        self._write(
            "UPDATE conversation SET marked = taken, former = coalesce(:former, former)"
            " WHERE account_id = :account AND id = :id",
            conversation_id,
            former=former,
        )

    def seen_human(self, conversation_id: int, at: float) -> None:
        """Note that the attribute of a taken conversation said human then."""
        self._write(_SEEN_HUMAN, conversation_id, at=at)

    def prune(self, older_than: float) -> None:
        """Forget conversations of which nothing is left to know.

        A customer may come back long after a resolve: where it was, and what the
        attribute said before, is still needed then.
        """
        with self._database.transaction() as tx:
            tx.execute(
                _FORGOTTEN,
                {"old": tx.now - older_than, "oldest": tx.now - LONGEST_ABSENCE},
            )

    def _write(self, statement: str, conversation_id: int, **more: t.Any) -> None:
        with self._database.transaction() as tx:
            tx.execute(statement, self._names(conversation_id) | more)

    def _names(self, conversation_id: int) -> dict[str, t.Any]:
        return {
            "account": self._database.account_id,
            "id": conversation_id,
            "now": self._database.clock(),
        }
