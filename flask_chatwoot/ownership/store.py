"""What is remembered of conversations: who has them, and what was said in them."""

import typing as t

from flask_chatwoot.queue.sqlite import Store, transaction


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


class Said(t.NamedTuple):
    """A public message, or what was picked in one.

    :ivar role: ``"user"`` or ``"assistant"``.
    """

    message_id: int
    role: str
    content: str

    def __repr__(self) -> str:
        return f"<Said {self.message_id}>"


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

_RECALL: t.Final = """
SELECT message_id, role, content FROM said
WHERE account_id = :account AND conversation_id = :id
AND message_id < coalesce(:before, 9223372036854775807)
ORDER BY message_id DESC, role DESC LIMIT :limit
"""
# What was picked has the id of its question, and comes after it.

_REMEMBER: t.Final = """
INSERT OR IGNORE INTO said (
    account_id, conversation_id, message_id, role, content, said_at
) VALUES (:account, :id, :message, :role, :content, :now)
"""

_CROWDED: t.Final = """
DELETE FROM said WHERE account_id = :account AND conversation_id = :id
AND message_id < (
    SELECT message_id FROM said WHERE account_id = :account AND conversation_id = :id
    ORDER BY message_id DESC LIMIT 1 OFFSET 99
)
"""


_FORGOTTEN: t.Final = """
DELETE FROM conversation WHERE touched_at < ? AND NOT taken AND former IS NULL
AND (resolved_message_id = 0 OR touched_at < ?)
"""

LONGEST_ABSENCE: t.Final = 365 * 86_400.0
"""Seconds after which nobody is expected to come back to a resolved conversation."""


class Memory:
    """Rows about conversations, in the file of the inbox. Threads share it.

    :param store: Raises :class:`~flask_chatwoot.errors.DatabaseError` from every method
        when it can not be read or written.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    # -- who has a conversation ------------------------------------------------

    def holding(self, conversation_id: int) -> Holding:
        """Who has a conversation; nobody in particular if nothing is known."""
        with self._store.use() as db:
            row = db.execute(
                "SELECT taken, marked, CASE WHEN taken THEN NULL ELSE former END,"
                " operator_message_id, human_at, resolved_message_id"
                " FROM conversation WHERE account_id = ? AND id = ?",
                (self._store.account_id, conversation_id),
            ).fetchone()

        if row is None:
            return Holding()

        taken, marked, *rest = row

        return Holding(bool(taken), bool(marked), *rest)

    def operator_wrote(self, conversation_id: int, message_id: int) -> bool:
        """Note a person's public message; whether it took the conversation.

        ``True`` again for the same message until the attribute is :meth:`marked`: a
        look at the conversation may see it a moment before its delivery does, which
        has the attribute set. One from before the last resolve takes nothing.
        """
        names = self._names(conversation_id) | {"message": message_id}

        with self._store.use(durable=True) as db, transaction(db):
            known = db.execute(_IS_NO_NEWS, names).fetchone()
            db.execute(_OPERATOR_WROTE, names)

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

    def resolved(self, conversation_id: int, newest: int) -> None:
        """Note that a conversation was resolved: nobody has it, and it begins anew.

        Unless a person wrote since, and it is only told late.

        :param newest: The newest public message at that time; 0 if that is unknown.
        """
        names = self._names(conversation_id) | {"newest": newest}

        with self._store.use(durable=True) as db, transaction(db):
            db.execute(_RESOLVED, names)
            db.execute(
                "DELETE FROM said"
                " WHERE account_id = :account AND conversation_id = :id"
                " AND (:newest = 0 OR message_id <= :newest)",
                names,
            )

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

    # -- what was said ---------------------------------------------------------

    def remembers(self) -> bool:
        """Whether what is said is to be kept, because Chatwoot will not tell it."""
        with self._store.use() as db:
            row = db.execute(
                "SELECT 1 FROM trait WHERE account_id = ? AND name = 'remembers'",
                (self._store.account_id,),
            ).fetchone()

        return row is not None

    def set_remembering(self, wanted: bool) -> None:
        """From now on, in all processes."""
        statement = (
            "INSERT OR IGNORE INTO trait VALUES (?, 'remembers')"
            if wanted
            else "DELETE FROM trait WHERE account_id = ? AND name = 'remembers'"
        )

        with self._store.use() as db:
            db.execute(statement, (self._store.account_id,))

    def remember(self, conversation_id: int, said: t.Iterable[Said]) -> None:
        """Keep public messages, a hundred per conversation, for :meth:`recall`."""
        names = self._names(conversation_id)
        rows = [
            names
            | {"message": each.message_id, "role": each.role, "content": each.content}
            for each in said
        ]

        with self._store.use() as db, transaction(db):
            db.executemany(_REMEMBER, rows)
            db.execute(_CROWDED, names)

    def recall(
        self, conversation_id: int, *, before: int | None, limit: int
    ) -> list[Said]:
        """The newest messages, older than one unless that is ``None``, oldest first."""
        names = self._names(conversation_id) | {"before": before, "limit": limit}

        with self._store.use() as db:
            rows = db.execute(_RECALL, names).fetchall()

        return [Said(*row) for row in reversed(rows)]

    def prune(self, older_than: float) -> None:
        """Forget what was said, and conversations of which nothing is left to know.

        A customer may come back long after a resolve: where it was, and what the
        attribute said before, is still needed then.
        """
        now = self._store.clock()

        with self._store.use() as db:
            db.execute("DELETE FROM said WHERE said_at < ?", (now - older_than,))
            db.execute(_FORGOTTEN, (now - older_than, now - LONGEST_ABSENCE))

    def _write(self, statement: str, conversation_id: int, **more: t.Any) -> None:
        with self._store.use() as db:
            db.execute(statement, self._names(conversation_id) | more)

    def _names(self, conversation_id: int) -> dict[str, t.Any]:
        return {
            "account": self._store.account_id,
            "id": conversation_id,
            "now": self._store.clock(),
        }
