"""Loads and saves who has a conversation, one transaction for each event."""

from __future__ import annotations

import typing as t

from flask_chatwoot.queue.database import Database, Deletion, Transaction, execute

from .state import Ownership, Transition

LONGEST_ABSENCE: t.Final = 365 * 86_400.0
"""Seconds without any change after which a conversation is not expected to go on."""

_COLUMNS: t.Final = Ownership._fields

_LOAD: t.Final = f"""
SELECT {", ".join(_COLUMNS)}
FROM conversation WHERE account_id = :account AND id = :id
"""  # noqa: S608 - from constants

_SAVE: t.Final = f"""
INSERT INTO conversation (account_id, id, {", ".join(_COLUMNS)}, touched_at)
VALUES (:account, :id, {", ".join(f":{name}" for name in _COLUMNS)}, :now)
ON CONFLICT (account_id, id) DO UPDATE SET
    {", ".join(f"{name} = excluded.{name}" for name in _COLUMNS)},
    touched_at = excluded.touched_at
"""  # noqa: S608 - from constants

_BOT: t.Final = "bot:"

_BOTS: t.Final = """
SELECT name FROM trait WHERE account_id = :account AND name LIKE 'bot:%'
"""

_LEARN: t.Final = """
INSERT INTO trait (account_id, name) VALUES (:account, :name) ON CONFLICT DO NOTHING
"""

_FORGOTTEN: t.Final = """
touched_at < :now - :age AND (
    touched_at < :now - :longest
    OR (
        NOT taken AND former IS NULL AND resolved_message_id = 0 AND pending_at IS NULL
    )
)
"""

_PRUNE: t.Final = Deletion(
    f"""
    SELECT id FROM conversation WHERE account_id = :account AND {_FORGOTTEN}
    LIMIT :limit
    """,  # noqa: S608 - from constants
    ("id",),
    f"""
    DELETE FROM conversation WHERE account_id = :account AND id = :id AND {_FORGOTTEN}
    """,  # noqa: S608 - from constants
)


class Change(t.NamedTuple):
    """A conversation's ownership before and after an event."""

    before: Ownership
    after: Ownership


class OwnershipStore:
    """The rows about conversations. Thread-safe.

    :param database: Every method raises
        :class:`~flask_chatwoot.errors.DatabaseError` when it cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._bots: frozenset[int] = frozenset()

    def bots(self) -> frozenset[int]:
        """The ids of the agent bots as which this app has posted."""
        names = {"account": self._database.account_id}

        with self._database.read() as tx:
            rows = tx.execute(_BOTS, names).fetchall()

        self._bots = frozenset(int(name.removeprefix(_BOT)) for (name,) in rows)

        return self._bots

    def learn_bot(self, bot_id: int) -> None:
        """Keep the id of an agent bot as which this app has posted."""
        if bot_id in self._bots or bot_id in self.bots():
            return

        names = {"account": self._database.account_id, "name": f"{_BOT}{bot_id}"}

        execute(self._database, _LEARN, names)

    def load(self, conversation_id: int) -> Ownership:
        """The ownership of a conversation; the default state if nothing is known."""
        with self._database.read() as tx:
            return self._load(tx, conversation_id)

    def apply(
        self,
        conversation_id: int,
        transition: Transition,
        *,
        durable: bool = False,
        tx: Transaction | None = None,
    ) -> Change:
        """Change the state by an event, in one transaction.

        :param transition: A function of :mod:`.state`, with its event filled in.
        :param durable: Commit as durably as ``CHATWOOT_DATABASE_SYNC`` allows.
        :param tx: The transaction of what caused the event; ``None``: one of its own.
        """
        if tx is not None:
            return self._apply(tx, conversation_id, transition)

        # Most events change nothing; a read, which blocks no writer, shows that.
        before = self.load(conversation_id)

        if transition(before) == before:
            return Change(before, before)

        changes: list[Change] = []

        def change(own: Transaction, _: bool) -> Change:
            changes.append(self._apply(own, conversation_id, transition))
            first, last = changes[0], changes[-1]

            return first if last.before == first.after else last

        return self._database.write(
            change, durable=durable, conversation_id=conversation_id
        )

    def touched_since(self, conversation_id: int, at: float) -> bool:
        """Whether the state of a conversation was changed since a time, Unix seconds.

        What was read in Chatwoot before that may be outdated.
        """
        with self._database.read() as tx:
            row = tx.execute(
                "SELECT 1 FROM conversation WHERE account_id = :account AND id = :id"
                " AND touched_at >= :at",
                self._names(conversation_id) | {"at": at},
            ).fetchone()

        return row is not None

    def prune(self, older_than: float, *, at_most: int | None = None) -> int:
        """Delete conversations whose state is no longer needed; return their number.

        A customer may write again long after a takeover or a resolve, and a pending
        conversation may be opened late: for a year their states are kept.
        Blocks for long if there are many, and leaves other writers half of that time.

        :param older_than: Seconds since the last change.
        :param at_most: Conversations to delete; ``None``: all.
        """
        values = {"age": older_than, "longest": LONGEST_ABSENCE}

        return _PRUNE.run(self._database, values, at_most=at_most)

    def _apply(
        self, tx: Transaction, conversation_id: int, transition: Transition
    ) -> Change:
        before = self._load(tx, conversation_id)
        after = transition(before)

        if after != before:
            names = self._names(conversation_id) | after._asdict()
            tx.execute(_SAVE, names | {"now": tx.now})

        return Change(before, after)

    def _load(self, tx: Transaction, conversation_id: int) -> Ownership:
        row = tx.execute(_LOAD, self._names(conversation_id)).fetchone()

        if row is None:
            return Ownership()

        taken, marked, *rest = row

        return Ownership(bool(taken), bool(marked), *rest)

    def _names(self, conversation_id: int) -> dict[str, t.Any]:
        return {"account": self._database.account_id, "id": conversation_id}
