"""What a customer wrote lately in a conversation, as far as it may show a loop.

Texts are kept as hashes, which outlast them: a text is erased when its turn is over.
"""

import hashlib
import typing as t

from .database import Transaction

SECONDS: t.Final = 3600.0
"""How far back messages count, from the first one of a turn."""

HASH_SIZE: t.Final = 8
"""Bytes of a hash."""

_TURNS: t.Final = """
SELECT id, received_at, text_hash, offered, reason FROM job
WHERE account_id = :account AND conversation_id = :conversation
AND kind = 'message' AND received_at > :since AND id <= :job
"""

# Ended turns and those in line have an index each. What a superseded turn left to the
# next one has no key; it counts where it came.
_RECENT: t.Final = f"""
WITH turn AS (
    {_TURNS} AND finished_at IS NOT NULL UNION ALL {_TURNS} AND finished_at IS NULL
)
SELECT id, received_at, text_hash, offered, reason FROM turn
UNION ALL
SELECT turn.id, follow_up.received_at, follow_up.text_hash, NULL, turn.reason
FROM turn JOIN follow_up ON follow_up.job_id = turn.id
WHERE follow_up.key IS NOT NULL
"""  # noqa: S608 - from constants


class RecentMessage(t.NamedTuple):
    """A message of the customer.

    :ivar turn: The id of its job.
    :ivar text_hash: Of its text; ``None`` if it has none, or was picked.
    :ivar offered: Hashes of the choices in the turn's reply, one after another.
    :ivar reason: Why the turn ended as it did.
    """

    turn: int
    received_at: float
    text_hash: bytes | None = None
    offered: bytes | None = None
    reason: str | None = None


def messages_until(
    tx: Transaction,
    *,
    account_id: int,
    conversation_id: int,
    job_id: int,
    received_at: float,
) -> tuple[RecentMessage, ...]:
    """The messages of a conversation up to those of a job, oldest first."""
    values = {
        "account": account_id,
        "conversation": conversation_id,
        "job": job_id,
        "since": received_at - SECONDS,
    }

    rows = map(RecentMessage._make, tx.execute(_RECENT, values))

    return tuple(sorted(rows, key=lambda row: row[:2]))


def hash_of(text: str, conversation_id: int) -> bytes | None:
    """The same for texts that differ in spaces and capitals only; ``None`` if blank."""
    plain = " ".join(text.split()).casefold().encode(errors="replace")
    key = str(conversation_id).encode()

    return (
        hashlib.blake2b(plain, digest_size=HASH_SIZE, key=key).digest()
        if plain
        else None
    )


def hashes_of(
    choices: t.Iterable[tuple[str, str]], conversation_id: int
) -> bytes | None:
    """The hashes of titles and values, one after another; ``None`` without any."""
    texts = {text for choice in choices for text in choice}
    hashes = [hash_of(text, conversation_id) for text in sorted(texts)]

    return b"".join(filter(None, hashes)) or None
