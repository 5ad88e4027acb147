"""What follows from a failed attempt: its reason, whether and when it is retried."""

from __future__ import annotations

import logging
import random
import typing as t

from flask_chatwoot.config import Config
from flask_chatwoot.errors import (
    APIError,
    ChatwootError,
    NoProviderError,
    ProviderFailedError,
    UnknownError,
)
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.queue.jobs import FailedBy, Job, Queue

LONGEST_PAUSE: t.Final = 600.0
"""Seconds between two attempts, unless Chatwoot's ``Retry-After`` is longer."""

_BY_STATUS: t.Final = {
    401: Reason.UNAUTHORIZED,
    403: Reason.UNAUTHORIZED,
    404: Reason.NOT_FOUND,
    408: Reason.UNREACHABLE,
    429: Reason.RATE_LIMITED,
}


log = logging.getLogger(__name__)


def postponed(queue: Queue, config: Config, job: Job, error: ChatwootError) -> bool:
    """Release a failed job for another attempt, if that may succeed; whether it may."""
    queue.failed(job, _cause_of(error))
    reason = reason_of(error)
    left = config.max_attempts - job.attempts
    # After the last attempt a post may still be searched for.
    again = left > 0 or (left == 0 and isinstance(error, UnknownError))

    if not (again and is_temporary(error)):
        log.error("job %s is dead (%s): %s", job.id, reason, error)
        return False

    pause = pause_after(error, job.attempts, config.retry_pause)
    queue.postpone(job, pause, reason=reason)
    log.warning("job %s failed (%s), again in %.0f s: %s", job.id, reason, pause, error)

    return True


def is_temporary(error: ChatwootError) -> bool:
    """Whether another attempt may succeed."""
    if isinstance(error, APIError):
        return error.kind != "permanent"

    return isinstance(error, ProviderFailedError)


def _cause_of(error: ChatwootError) -> FailedBy:
    return FailedBy.CHATWOOT if isinstance(error, APIError) else FailedBy.PROVIDER


def allows_posts(error: ChatwootError) -> bool:
    """Whether Chatwoot may accept another post in the conversation after this error.

    A 422 refuses one message; any other refusal applies to all of them.
    """
    is_final = isinstance(error, APIError) and error.kind == "permanent"

    return not is_final or getattr(error, "status", None) == 422


def reason_of(error: ChatwootError) -> Reason:
    """The reason of a turn that ends with this error."""
    if isinstance(error, APIError):
        return _api_reason(error)

    if isinstance(error, ProviderFailedError):
        return Reason.PROVIDER_FAILED

    if isinstance(error, NoProviderError):
        return Reason.NO_PROVIDER

    return Reason.PROVIDER_INVALID


def _api_reason(error: APIError) -> Reason:
    if isinstance(error, UnknownError):
        return Reason.UNCONFIRMED

    if error.status is None:
        return Reason.UNREACHABLE

    if 300 <= error.status < 400:
        return Reason.REDIRECTED

    if error.status >= 500:
        return Reason.SERVER_ERROR

    return _BY_STATUS.get(error.status, Reason.REFUSED)


def pause_after(error: ChatwootError, attempt: int, base: float) -> float:
    """Seconds to wait after an attempt: growing sixfold, spread by a fifth.

    With five attempts and the default base of 2 s they span about eight minutes,
    enough for Chatwoot to be upgraded.

    :param attempt: The one that failed, from 1.
    :param base: Seconds after the first.
    """
    pause = min(base * 6.0 ** min(attempt - 1, 20), LONGEST_PAUSE)
    spread = pause * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret

    return max(spread, getattr(error, "retry_after", None) or 0.0)
