"""The messages that the host posts itself, so that they are known as this app's.

A post is in the database before its request goes out: its delivery may come before the
answer, and after a crash no answer comes at all. It is recognised by its message id,
else by its marker, else, on a server that keeps no markers, by its text.
"""

from __future__ import annotations

import secrets
import typing as t

from flask_chatwoot.payloads.fields import BY_HOST

from .database import Database, Deletion, Transaction, execute

EXPECTED_FOR: t.Final = 3600.0
"""Seconds after its request for which a post of unknown id is recognised by its text.
Its delivery may wait that long in Chatwoot's queue."""

_COLUMNS: t.Final = "id, marker, private, content, files"

_BEGIN: t.Final = """
INSERT INTO host_post (
    account_id, conversation_id, marker, private, content, files, begun_at
) VALUES (:account, :conversation, :marker, :private, :content, :files, :now)
RETURNING id
"""

_BEGUN: t.Final = """
SELECT max(id) FROM host_post WHERE account_id = :account
AND conversation_id = :conversation AND marker = :marker AND begun_at >= :since
HAVING max(id) IS NOT NULL
"""
"""The row of a commit without an answer."""

_MADE: t.Final = """
UPDATE host_post SET message_id = :message, content = '' WHERE id = :post
"""

_UNDER_WAY: t.Final = f"""
SELECT {_COLUMNS} FROM host_post
WHERE account_id = :account AND marker = :marker AND message_id IS NULL
UNION ALL
SELECT {_COLUMNS} FROM host_post
WHERE account_id = :account AND message_id IS NULL AND marker <> :marker
AND conversation_id IN (:conversation, 0) AND begun_at > :now - {EXPECTED_FOR}
"""  # noqa: S608 - from constants

_IS_KNOWN: t.Final = """
SELECT 1 FROM host_post WHERE account_id = :account AND message_id = :message
"""

_HAS_MARKER: t.Final = """
SELECT 1 FROM host_post WHERE account_id = :account AND marker = :marker
"""

_PRUNE: t.Final = Deletion(
    """
    SELECT id FROM host_post WHERE account_id = :account AND begun_at < :now - :age
    LIMIT :limit
    """,
    ("post",),
    "DELETE FROM host_post WHERE id = :post",
)


class HostPost(t.NamedTuple):
    """A post of the host whose message is not known yet.

    :ivar files: The number of its files.
    """

    id: int
    marker: str
    private: bool
    content: str
    files: int = 0

    def __repr__(self) -> str:
        return f"<HostPost {self.id}>"


class HostPosts:
    """The posts of the host in one Chatwoot account. Threads share it.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(
        self,
        conversation_id: int,
        content: str,
        *,
        private: bool,
        files: int = 0,
        marker: str | None = None,
    ) -> HostPost:
        """Record that a request for a post is about to go out.

        :param conversation_id: 0: the post begins a conversation.
        """
        marker = marker or f"{BY_HOST}{secrets.token_hex(16)}"
        values = {
            "account": self._database.account_id,
            "conversation": conversation_id,
            "marker": marker,
            "private": private,
            "content": content,
            "files": files,
        }

        times: list[float] = []

        def begin(tx: Transaction, again: bool) -> int:
            times.append(tx.now)
            begun = {**values, "now": tx.now, "since": times[0]}
            found = again and tx.execute(_BEGUN, begun).fetchone()

            return int((found or tx.execute(_BEGIN, begun).fetchone())[0])

        post_id = self._database.write(begin, durable=True)

        return HostPost(post_id, marker, private, content, files)

    def made(self, post: HostPost, message_id: int) -> None:
        """Record the message of a post, and erase its text."""
        made = {"post": post.id, "message": message_id}
        execute(self._database, _MADE, made, durable=True)

    def unmade(self, post: HostPost) -> None:
        """Record that the request for a post certainly created no message."""
        execute(
            self._database, "DELETE FROM host_post WHERE id = :post", {"post": post.id}
        )

    def under_way(
        self, conversation_id: int, *, message_id: int, marker: str | None
    ) -> list[HostPost]:
        """Posts of which a message seen in Chatwoot may be the one; none if it is known
        as another's.

        :param marker: That of the message.
        """
        values = {
            "account": self._database.account_id,
            "conversation": conversation_id,
            "message": message_id,
            "marker": marker or "",
        }

        with self._database.read() as tx:
            rows = tx.execute(_UNDER_WAY, values | {"now": tx.now}).fetchall()

            if not rows or tx.execute(_IS_KNOWN, values).fetchone():
                return []

        return [HostPost(*row)._replace(private=bool(row[2])) for row in rows]

    def is_known(self, message_id: int) -> bool:
        """Whether a message of Chatwoot is known to be a post of the host."""
        return self._finds(_IS_KNOWN, message=message_id)

    def has_marker(self, marker: str) -> bool:
        """Whether a marker is that of a post of the host."""
        return self._finds(_HAS_MARKER, marker=marker)

    def prune(self, older_than: float, *, at_most: int | None = None) -> int:
        """Delete posts that are older than this many seconds; return their number.

        Blocks for long if there are many, and leaves other writers half of that time.

        :param at_most: Posts to delete; ``None``: all.
        """
        return _PRUNE.run(self._database, {"age": older_than}, at_most=at_most)

    def _finds(self, statement: str, **values: t.Any) -> bool:
        names = {"account": self._database.account_id, **values}

        with self._database.read() as tx:
            return tx.execute(statement, names).fetchone() is not None
