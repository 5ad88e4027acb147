"""Drafts: the posts of a reply, kept until Chatwoot has them.

A draft and the request that is about to post it are in the database before that request
goes out, so that the provider is not called twice and no reply is posted twice. The
states of a draft are described in :mod:`~flask_chatwoot.queue.schema`.
"""

import json
import secrets
import typing as t

from flask_chatwoot.errors import LeaseLostError
from flask_chatwoot.payloads.fields import Upload

from .database import Database, Transaction, execute
from .host_posts import HostPosts
from .recent import hashes_of
from .schema import HELD

_COLUMNS: t.Final = """
    draft.id, draft.marker, draft.private, draft.content, draft.sent_at,
    draft.unconfirmed_at, draft.message_id, draft.choices, draft.files
"""

_KEEP: t.Final = """
INSERT INTO draft (
    marker, private, content, choices, files, about_failure, job_id
)
SELECT :marker, :private, :content, :choices, :files, :about_failure, id
FROM job WHERE id = :job AND claim = :claim
RETURNING id
"""

_KEEP_OF_JOB: t.Final = """
UPDATE job SET handoff = coalesce(:handoff, handoff), offered = :offered
WHERE id = :job AND claim = :claim
"""

_KEEP_FILE: t.Final = """
INSERT INTO file (draft_id, name, content, media_type)
VALUES (:draft, :name, :content, :media_type)
"""

_SENDING: t.Final = f"""
UPDATE draft SET sent_at = :now, unconfirmed_at = NULL, private = private OR :private,
    content = :content, choices = :choices
WHERE id = :draft
AND EXISTS (SELECT 1 FROM job WHERE job.id = :job AND {HELD})
"""  # noqa: S608 - from constants

_UNSENT: t.Final = """
UPDATE draft SET sent_at = NULL, unconfirmed_at = NULL WHERE id = :draft
AND EXISTS (SELECT 1 FROM job WHERE id = :job AND claim = :claim)
"""

_IS_GONE: t.Final = """
SELECT 1 FROM job WHERE id = :job AND claim = :claim
AND NOT EXISTS (SELECT 1 FROM draft WHERE id = :draft)
"""
"""Whether the answer was deleted in a commit that had no answer."""

_POSTED: t.Final = "UPDATE draft SET message_id = :message WHERE id = :draft"

_UNDER_WAY: t.Final = f"""
SELECT {_COLUMNS} FROM job JOIN draft ON draft.job_id = job.id
WHERE account_id = :account AND conversation_id = :conversation
AND (finished_at IS NULL OR outcome = 'dead')
AND job.message_id < :message AND sent_at IS NOT NULL AND draft.message_id IS NULL
AND NOT EXISTS (SELECT 1 FROM draft AS other WHERE other.message_id = :message)
"""  # noqa: S608 - from constants


_COUNT: t.Final = "SELECT count(*) FROM follow_up WHERE job_id = :job"
"""A job that a worker has gets no follow-ups but changes of its messages."""


_SENT: t.Final = """
SELECT 1 FROM draft WHERE job_id = :job AND NOT about_failure AND sent_at IS NOT NULL
"""

_TAKE_BACK: t.Final = (
    f"""
    UPDATE job SET handoff = NULL
    WHERE id = :job AND failure IS NULL AND NOT EXISTS ({_SENT})
    """,  # noqa: S608 - from constants
    f"""
    DELETE FROM draft WHERE job_id = :job AND NOT about_failure
    AND NOT EXISTS ({_SENT})
    """,  # noqa: S608 - from constants
)


class Draft(t.NamedTuple):
    """A post kept until Chatwoot has it.

    :ivar marker: Random text that identifies the post in Chatwoot.
    :ivar sent_at: Unix seconds when the last request for it was about to go out;
        ``None`` if none did.
    :ivar unconfirmed_at: Unix seconds when that request ended without an answer;
        ``None`` as long as it has not.
    :ivar message_id: Chatwoot's id for it; ``None`` until that is known.
    :ivar choices: Titles and values.
    :ivar files: The number of its files; see :meth:`Outbox.files`.
    """

    id: int
    marker: str
    private: bool
    content: str
    sent_at: float | None = None
    unconfirmed_at: float | None = None
    message_id: int | None = None
    choices: tuple[tuple[str, str], ...] = ()
    files: int = 0

    def __repr__(self) -> str:
        return f"<Draft {self.id}>"


class DraftPart(t.NamedTuple):
    """One post of a reply, to be kept as a draft.

    :ivar choices: Titles and values.
    """

    content: str
    private: bool
    choices: t.Sequence[tuple[str, str]] = ()
    files: t.Sequence[Upload] = ()

    def __repr__(self) -> str:
        return f"<DraftPart of {len(self.content)} characters>"


class Leased(t.Protocol):
    """A claimed job, as far as drafts need it."""

    @property
    def id(self) -> int:
        """Its number."""

    @property
    def claim(self) -> str:
        """The token of its lease."""

    @property
    def conversation_id(self) -> int:
        """The number in the conversation's URL."""

    @property
    def follow_ups(self) -> t.Sequence[t.Any]:
        """Its further messages, and changes of messages, as of its claim."""


class Outbox:
    """The drafts of one Chatwoot account. Threads share it.

    :ivar by_host: The posts that are no draft's.

    Every method raises :class:`~flask_chatwoot.errors.DatabaseError` when the database
    cannot be read or written. Those that take ``tx`` join that transaction.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._markers_kept = False
        self.by_host = HostPosts(database)

    def keep(
        self, job: Leased, parts: t.Iterable[DraftPart], *, handoff: str | None = None
    ) -> list[Draft]:
        """Keep a reply, so that the provider is not called again.

        :param handoff: What to keep about the hand-off of the conversation.
        :raises LeaseLostError: Another worker has the job now, or one of its messages
            was changed since it was claimed.
        """
        parts = list(parts)
        choices = [choice for part in parts for choice in part.choices]
        values = {
            "handoff": handoff,
            "offered": hashes_of(choices, job.conversation_id),
            "job": job.id,
            "claim": job.claim,
        }

        def keep(tx: Transaction, again: bool) -> list[Draft]:
            # The first commit may have had no answer.
            if again and parts and (kept := drafts_of(tx, job.id, about_failure=False)):
                return [*kept]

            expect_unchanged(tx, job)

            if handoff is not None or choices:
                changed = tx.execute(_KEEP_OF_JOB, values)
                expect_one(changed.rowcount, job)

            return keep_all(tx, job, parts, about_failure=False)

        return self._database.write(keep, conversation_id=job.conversation_id)

    def sending(self, job: Leased, draft: Draft, *, reserve: float = 0.0) -> None:
        """Record that a request for the draft is about to be sent, as it is now.

        Its text is kept as well: an answer that became a note is recognised and
        repeated as that note. A draft that was kept as a note stays one, whatever the
        argument says.

        :param reserve: Seconds of the lease that must be left: as long as the request
            may take, or another worker could send the draft meanwhile.
        :raises LeaseLostError: Another worker has the job now, or may soon have it;
            do not send.
        """
        values = {
            "private": draft.private,
            "content": draft.content,
            "choices": _dumped(draft.choices),
            "reserve": reserve,
            "draft": draft.id,
            "job": job.id,
            "claim": job.claim,
        }

        written = execute(
            self._database,
            _SENDING,
            values,
            durable=True,
            conversation_id=job.conversation_id,
        )

        if written != 1:
            raise LeaseLostError(
                f"Job {job.id} was claimed by another worker, or may be before the "
                "request ends."
            )

    def posted(
        self,
        draft: Draft,
        message_id: int,
        *,
        tx: Transaction | None = None,
    ) -> None:
        """Record that Chatwoot has the draft, whichever worker has the job."""
        if tx is not None:
            keep_message_id(tx, draft, message_id)
            return

        self._database.write(
            lambda tx, _: keep_message_id(tx, draft, message_id), durable=True
        )

    def unconfirmed(self, draft: Draft) -> None:
        """Record that the request for the draft ended now, without an answer."""
        execute(
            self._database,
            "UPDATE draft SET unconfirmed_at = :now WHERE id = :draft",
            {"draft": draft.id},
        )

    def unsent(self, job: Leased, draft: Draft, *, outdated: bool = False) -> bool:
        """Record that the request for the draft certainly created no message.

        Nothing happens if the lease was lost: another worker may have sent one since.

        :param outdated: A message of the job was changed before this claim, and after
            the draft was sent.
        :return: Whether the whole answer is deleted: a message was changed since, and
            no other part of it may have been sent.
        """
        values = {"draft": draft.id, "job": job.id, "claim": job.claim}

        def unsend(tx: Transaction, again: bool) -> bool:
            if not tx.execute(_UNSENT, values).rowcount:
                return again and tx.execute(_IS_GONE, values).fetchone() is not None

            return (outdated or is_changed(tx, job)) and take_back(tx, job.id)

        return self._database.write(unsend, conversation_id=job.conversation_id)

    def refused(self, message_id: int) -> None:
        """Record that the channel did not take a post that Chatwoot has."""
        execute(
            self._database,
            "UPDATE draft SET refused_at = :now"
            " WHERE message_id = :message AND refused_at IS NULL",
            {"message": message_id},
        )

    def files(self, draft: Draft) -> list[Upload]:
        """The files of a draft."""
        with self._database.read() as tx:
            rows = tx.execute(
                "SELECT name, content, media_type FROM file WHERE draft_id = :draft"
                " ORDER BY id",
                {"draft": draft.id},
            )

            return [Upload(*row) for row in rows]

    def is_ours(self, message_id: int, *, but: Draft | None = None) -> bool:
        """Whether a message of Chatwoot is known to be the post of a draft.

        :param but: Ignore this draft.
        """
        values = {"message": message_id, "but": but.id if but else 0}

        with self._database.read() as tx:
            found = tx.execute(
                "SELECT 1 FROM draft WHERE message_id = :message AND id <> :but", values
            )

            return found.fetchone() is not None

    def keeps_markers(self) -> bool:
        """Whether this Chatwoot is known to keep the markers of messages."""
        if not self._markers_kept:
            with self._database.read() as tx:
                found = tx.execute(
                    "SELECT 1 FROM trait WHERE account_id = :account"
                    " AND name = 'markers'",
                    {"account": self._database.account_id},
                )
                self._markers_kept = found.fetchone() is not None

        return self._markers_kept

    def note_markers(self) -> None:
        """Keep, for all processes, that this Chatwoot keeps markers."""
        if self.keeps_markers():
            return

        execute(
            self._database,
            "INSERT INTO trait (account_id, name) VALUES (:account, 'markers')"
            " ON CONFLICT DO NOTHING",
            {"account": self._database.account_id},
        )

    def has_marker(self, conversation_id: int, marker: str) -> bool:
        """Whether a marker is that of a draft of the conversation."""
        values = {
            "account": self._database.account_id,
            "conversation": conversation_id,
            "marker": marker,
        }

        with self._database.read() as tx:
            found = tx.execute(
                "SELECT 1 FROM job JOIN draft ON draft.job_id = job.id"
                " WHERE account_id = :account AND conversation_id = :conversation"
                " AND marker = :marker",
                values,
            )

            return found.fetchone() is not None

    def under_way(self, conversation_id: int, *, message_id: int) -> list[Draft]:
        """Drafts of which a message seen in Chatwoot may be the post.

        Those for which a request may have gone out and no answer is known, if the
        message is newer than the customer's and no other draft's post.
        """
        values = {
            "account": self._database.account_id,
            "conversation": conversation_id,
            "message": message_id,
        }

        with self._database.read() as tx:
            return [_draft_in(row) for row in tx.execute(_UNDER_WAY, values)]


def keep_message_id(tx: Transaction, draft: Draft, message_id: int) -> None:
    """Keep the id that a draft has in Chatwoot."""
    tx.execute(_POSTED, {"message": message_id, "draft": draft.id})


def keep_all(
    tx: Transaction, job: Leased, parts: t.Iterable[DraftPart], *, about_failure: bool
) -> list[Draft]:
    """Keep posts as drafts of a job.

    :param about_failure: The posts say that the turn failed.
    :raises LeaseLostError: Another worker has the job now.
    """
    return [_keep(tx, job, part, about_failure=about_failure) for part in parts]


def _keep(
    tx: Transaction, job: Leased, part: DraftPart, *, about_failure: bool
) -> Draft:
    marker = secrets.token_hex(16)
    values = {
        "marker": marker,
        "private": part.private,
        "content": part.content,
        "choices": _dumped(part.choices),
        "files": len(part.files),
        "about_failure": about_failure,
        "job": job.id,
        "claim": job.claim,
    }
    kept = tx.execute(_KEEP, values).fetchall()
    expect_one(len(kept), job)
    ((draft_id,),) = kept

    for name, content, media_type in part.files:
        file = {"name": name, "content": content, "media_type": media_type}
        tx.execute(_KEEP_FILE, file | {"draft": draft_id})

    return Draft(
        id=draft_id,
        marker=marker,
        private=part.private,
        content=part.content,
        choices=tuple(part.choices),
        files=len(part.files),
    )


def _dumped(choices: t.Sequence[tuple[str, str]]) -> str | None:
    return json.dumps(choices) if choices else None


def drafts_of(
    tx: Transaction, job_id: int, *, about_failure: bool
) -> tuple[Draft, ...]:
    """The drafts of a job, in the order of their posts."""
    rows = tx.execute(
        f"SELECT {_COLUMNS} FROM draft"  # noqa: S608 - from constants
        " WHERE job_id = :job AND about_failure = :about_failure ORDER BY id",
        {"job": job_id, "about_failure": about_failure},
    )

    return tuple(_draft_in(row) for row in rows)


def erase(tx: Transaction, job_id: int) -> None:
    """Erase the text of a job's drafts; the rest stays as evidence."""
    erased = tx.execute(
        "UPDATE draft SET content = '', choices = NULL WHERE job_id = :job"
        " RETURNING id, files",
        {"job": job_id},
    )

    for draft_id, files in erased.fetchall():
        if files:
            tx.execute("DELETE FROM file WHERE draft_id = :draft", {"draft": draft_id})


def expect_one(rows: int, job: Leased) -> None:
    """Check that a statement which names the lease has found it.

    :raises LeaseLostError: Another worker has the job now.
    """
    if rows != 1:
        raise LeaseLostError(f"Job {job.id} was claimed by another worker.")


def is_changed(tx: Transaction, job: Leased) -> bool:
    """Whether a message of a job was changed since it was claimed."""
    (found,) = tx.execute(_COUNT, {"job": job.id}).fetchone()

    return bool(found != len(job.follow_ups))


def expect_unchanged(tx: Transaction, job: Leased) -> None:
    """Check that the messages of a job are as they were when it was claimed.

    :raises LeaseLostError: One of them was changed.
    """
    if is_changed(tx, job):
        raise LeaseLostError(f"A message of job {job.id} was changed.")


def take_back(tx: Transaction, job_id: int) -> bool:
    """Delete the answer of a job, unless a request for a part of it may be out."""
    row = {"job": job_id}

    return [tx.execute(each, row).rowcount for each in _TAKE_BACK][-1] > 0


def _draft_in(row: t.Sequence[t.Any]) -> Draft:
    """A draft from its columns, :data:`_COLUMNS`."""
    draft = Draft(*row)
    choices: t.Any = draft.choices
    listed = json.loads(choices) if choices else ()

    return draft._replace(
        private=bool(draft.private),
        choices=tuple((title, value) for title, value in listed),
    )
