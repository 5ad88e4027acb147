"""A claimed job, as the worker that has it sees it."""

import typing as t

from .line import MESSAGE
from .outbox import Draft
from .recent import RecentMessage


class FollowUp(t.NamedTuple):
    """A further message of a job's customer, or a change of one that the job has.

    :ivar said: The ``said`` of :meth:`Queue.put` or :meth:`.Revisions.add`.
    :ivar payload: The delivery's body, of the newest one only.
    """

    message_id: int
    said: str
    payload: bytes | None
    received_at: float

    def __repr__(self) -> str:
        return f"<FollowUp {self.message_id}>"


class Job(t.NamedTuple):
    """A claimed row.

    :ivar message_id: The customer's first message.
    :ivar payload: The body of its delivery.
    :ivar attempts: How often the job was claimed, this time included; of a job that was
        given up, how often since then.
    :ivar provider_attempts: Those that failed because of the provider.
    :ivar last_attempt: The provider has no other one, as the customer wrote again.
    :ivar claim: The token of this lease; a later one of the same job has another.
    :ivar drafts: The kept reply; empty before the provider has answered. Of a job
        that was given up, the messages about that.
    :ivar received_at: Unix seconds.
    :ivar handoff: What was kept about the hand-off of the conversation, or ``None``.
    :ivar failure: The reason why the job was given up, or ``None``.
    :ivar reason: Why the attempt before this one failed, or ``None``.
    :ivar found_after: Seconds from when a message of it was written until catch-up
        found it; ``None`` if all were delivered.
    :ivar late: A later message of the conversation had its turn before this one.
    :ivar recent: The customer's messages of the last hour, those of the job last.
    :ivar follow_ups: Further messages, oldest first. Those of a turn that this one
        superseded are older than the job's own.
    """

    id: int
    conversation_id: int
    message_id: int
    payload: bytes
    attempts: int
    claim: str
    drafts: tuple[Draft, ...]
    received_at: float = 0.0
    kind: str = MESSAGE
    handoff: str | None = None
    failure: str | None = None
    reason: str | None = None
    follow_ups: tuple[FollowUp, ...] = ()
    found_after: float | None = None
    late: bool = False
    recent: tuple[RecentMessage, ...] = ()
    provider_attempts: int = 0
    last_attempt: bool = False

    def __repr__(self) -> str:
        return f"<Job {self.id} of conversation {self.conversation_id}>"

    @property
    def since(self) -> float:
        """Unix seconds when its oldest message was received."""
        return min([self.received_at, *(each.received_at for each in self.follow_ups)])

    @property
    def until(self) -> float:
        """Unix seconds when its newest message was received, or a change of one."""
        return max([self.received_at, *(each.received_at for each in self.follow_ups)])

    @property
    def newest(self) -> bytes:
        """The body of the newest delivery."""
        kept = [each.payload for each in self.follow_ups if each.payload is not None]

        return kept[-1] if kept else self.payload

    @property
    def newest_at(self) -> float:
        """Unix seconds when the newest delivery was received."""
        kept = [
            each.received_at for each in self.follow_ups if each.payload is not None
        ]

        return kept[-1] if kept else self.received_at
