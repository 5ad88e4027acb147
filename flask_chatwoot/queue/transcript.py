"""The messages of conversations, for bots that may not list messages.

A bot's own token may not list the messages of a conversation. Those that its webhook
received are kept here, until the conversation is resolved.
"""

import typing as t

from flask_chatwoot.history import Role

from .database import Database, Deletion, Transaction, execute, joined

_KEPT: t.Final = 100
"""The number of messages that are kept of a conversation."""

_READ: t.Final = """
SELECT message_id, role, content FROM transcript
WHERE account_id = :account AND conversation_id = :conversation
AND message_id < :before
ORDER BY message_id DESC, role DESC LIMIT :limit
"""
# A picked choice has the id of its question, and comes after it.

_ADD: t.Final = """
INSERT INTO transcript (
    account_id, conversation_id, message_id, role, content, said_at
) VALUES (:account, :conversation, :message, :role, :content, :now)
ON CONFLICT DO NOTHING
"""

_REVISE: t.Final = """
UPDATE transcript SET content = :content WHERE account_id = :account
AND conversation_id = :conversation AND message_id = :message AND role = :role
AND content <> :content
"""

_REMOVE: t.Final = """
DELETE FROM transcript WHERE account_id = :account
AND conversation_id = :conversation AND message_id = :message AND role = :role
"""

_CUT: t.Final = """
DELETE FROM transcript WHERE account_id = :account AND conversation_id = :conversation
AND message_id < (
    SELECT message_id FROM transcript
    WHERE account_id = :account AND conversation_id = :conversation
    ORDER BY message_id DESC LIMIT 1 OFFSET :kept - 1
)
"""

_FORGET: t.Final = """
DELETE FROM transcript WHERE account_id = :account AND conversation_id = :conversation
AND (:newest = 0 OR message_id <= :newest)
"""

_PRUNE: t.Final = Deletion(
    """
    SELECT conversation_id, message_id, role FROM transcript
    WHERE account_id = :account AND said_at < :now - :age LIMIT :limit
    """,
    ("conversation", "message", "role"),
    """
    DELETE FROM transcript WHERE account_id = :account
    AND conversation_id = :conversation AND message_id = :message AND role = :role
    """,
)

_NEWEST_ID: t.Final = 2**63 - 1


class TranscriptEntry(t.NamedTuple):
    """A public message, or the choice that was picked in one."""

    message_id: int
    role: Role
    content: str

    def __repr__(self) -> str:
        return f"<TranscriptEntry {self.message_id}>"


class Transcript:
    """The messages of the conversations of one Chatwoot account. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def is_kept(self) -> bool:
        """Whether messages have to be kept, because the token may not list them."""
        with self._database.read() as tx:
            row = tx.execute(
                "SELECT 1 FROM trait"
                " WHERE account_id = :account AND name = 'remembers'",
                self._names(),
            ).fetchone()

        return row is not None

    def set_kept(self, wanted: bool) -> None:
        """Start or stop keeping messages, in all processes."""
        statement = (
            "INSERT INTO trait (account_id, name) VALUES (:account, 'remembers')"
            " ON CONFLICT DO NOTHING"
            if wanted
            else "DELETE FROM trait WHERE account_id = :account AND name = 'remembers'"
        )

        execute(self._database, statement, self._names())

    def add(self, conversation_id: int, entries: t.Iterable[TranscriptEntry]) -> None:
        """Keep public messages, the hundred newest of each conversation."""
        names = self._names(conversation_id)

        rows = [
            names | {"message": message_id, "role": role, "content": content}
            for message_id, role, content in entries
        ]

        def add(tx: Transaction, _: bool) -> None:
            tx.executemany(_ADD, [row | {"now": tx.now} for row in rows])
            tx.execute(_CUT, names | {"kept": _KEPT})

        self._database.write(add, conversation_id=conversation_id)

    def revise(self, conversation_id: int, entry: TranscriptEntry) -> None:
        """Change what is kept of a message, if anything is.

        :param entry: As it is now; without content it is deleted.
        """
        message_id, role, content = entry
        values = self._names(conversation_id) | {"message": message_id, "role": role}
        statement = _REVISE if content else _REMOVE

        execute(
            self._database,
            statement,
            values | {"content": content},
            conversation_id=conversation_id,
        )

    def read(
        self, conversation_id: int, *, before: int | None, limit: int
    ) -> list[TranscriptEntry]:
        """The newest messages, oldest first.

        :param before: Only older ones than this; ``None``: all.
        """
        names = self._names(conversation_id) | {"limit": limit}
        names["before"] = _NEWEST_ID if before is None else before

        with self._database.read() as tx:
            rows = tx.execute(_READ, names).fetchall()

        return [TranscriptEntry(*row) for row in reversed(rows)]

    def forget(
        self, conversation_id: int, *, newest: int, tx: Transaction | None = None
    ) -> None:
        """Delete messages up to one.

        :param newest: The id of that message; 0 deletes all.
        :param tx: A transaction to join.
        """
        with joined(self._database, tx, conversation_id=conversation_id) as tx:
            tx.execute(_FORGET, self._names(conversation_id) | {"newest": newest})

    def prune(self, older_than: float, *, at_most: int | None = None) -> int:
        """Delete messages that are older than this many seconds; return their number.

        Blocks for long if there are many, and leaves other writers half of that time.

        :param at_most: Messages to delete; ``None``: all.
        """
        return _PRUNE.run(self._database, {"age": older_than}, at_most=at_most)

    def _names(self, conversation_id: int = 0) -> dict[str, t.Any]:
        return {
            "account": self._database.account_id,
            "conversation": conversation_id,
        }
