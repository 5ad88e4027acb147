"""How a turn ends, and what of it a post changes."""

from __future__ import annotations

import typing as t

from flask_chatwoot.errors import APIError, ChatwootError
from flask_chatwoot.logs import logger
from flask_chatwoot.outcomes import Reason, TurnOutcome
from flask_chatwoot.queue.outbox import Draft

log = logger(__name__)


class Ending(t.NamedTuple):
    """How a turn ended.

    :ivar reason: One of :class:`Reason`, or the reason of the host's policy.
    :ivar settled: The job is settled already.
    """

    outcome: TurnOutcome
    reason: str | None = None
    settled: bool = False

    @property
    def posted(self) -> bool:
        """Whether anything was posted."""
        return self.outcome is not TurnOutcome.DECLINED

    def after(self, draft: Draft, reason: str | None) -> Ending:
        """How a turn ends that would end like this, after a post."""
        if not draft.private:
            return Ending(TurnOutcome.REPLIED)

        return self if self.posted else Ending(TurnOutcome.NOTED, reason)


class HandoffError(ChatwootError):
    """The hand-off is not complete: a note or a change of the conversation failed.

    Every message to the customer was posted.
    """

    def __init__(self, error: APIError) -> None:
        super().__init__(f"The conversation was not handed off: {error}")
        self.error = error


_REASONS: t.Final[frozenset[str]] = frozenset(Reason)


def log_end(outcome: TurnOutcome, reason: str | None) -> None:
    """The one line of a turn at the level INFO.

    :param reason: Left out in the host's own words, which may quote the customer.
    """
    because = f" ({reason})" if reason in _REASONS else ""
    log.info("%s%s", outcome, because)
