"""What follows from a failed attempt: its reason, whether and when it is retried."""

from __future__ import annotations

import random
import typing as t

from flask_chatwoot.config import Config
from flask_chatwoot.errors import (
    APIError,
    ChatwootError,
    GiveUp,
    NoProviderError,
    ProviderFailedError,
    UnknownError,
    trace,
)
from flask_chatwoot.logs import logger
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.jobs import FailedBy, Queue

LONGEST_BACKOFF: t.Final = 600.0
"""Seconds between two attempts, unless Chatwoot's ``Retry-After`` is longer."""

_BY_STATUS: t.Final = {
    401: Reason.UNAUTHORIZED,
    403: Reason.UNAUTHORIZED,
    404: Reason.NOT_FOUND,
    408: Reason.UNREACHABLE,
    429: Reason.RATE_LIMITED,
}

_PASSING: t.Final = (408, 429)
"""Statuses with a reason of their own, whoever answers with them."""


log = logger(__name__)


def attempts_of(job: Job) -> int:
    """The attempts at a job, this one included, without those that its provider failed.

    Of a job that was given up, those since then.
    """
    failed = job.provider_attempts if job.failure is None else 0

    return job.attempts - failed


def postponed(
    queue: Queue,
    config: Config,
    job: Job,
    error: ChatwootError,
    *,
    refused_too: bool = False,
) -> bool:
    """Release a failed job for another attempt, if that may succeed; whether it may.

    :param refused_too: It may although Chatwoot refused it.
    """
    queue.failed(job, _cause_of(error))
    reason = reason_of(error)
    may_pass = refused_too or is_temporary(error) or _is_first_401(job, error)

    if not (may_pass and _is_another_left(config, job, error)):
        log.error("the job is dead (%s): %s", reason, error)
        return False

    pause = pause_after(error, _number_of(job, error), config.retry_pause)
    queue.postpone(job, pause, reason=reason)
    log.warning("the job failed (%s), again in %.0f s: %s", reason, pause, error)

    return True


def crashed(queue: Queue, config: Config, job: Job, error: Exception) -> bool:
    """Release a job whose attempt raised something unexpected; whether it may go on.

    Without this it would be claimed again for ever, each time its lease ends.
    """
    log.error("the job failed: %s", trace(error))

    if attempts_of(job) >= config.max_attempts:
        return False

    pause = pause_after(error, attempts_of(job), config.retry_pause)
    queue.postpone(job, pause, reason=Reason.CRASHED)

    return True


def _is_another_left(config: Config, job: Job, error: ChatwootError) -> bool:
    """Whether there may be one more attempt after one that failed like this."""
    number = _number_of(job, error)

    if _cause_of(error) is FailedBy.PROVIDER:
        most = min(config.provider_attempts, config.max_attempts)
        return number < most and not job.last_attempt

    # After the last attempt a post may still be searched for.
    return number < config.max_attempts + isinstance(error, UnknownError)


def _number_of(job: Job, error: ChatwootError) -> int:
    """Which attempt has failed, from 1. Those of the provider are counted apart."""
    if _cause_of(error) is FailedBy.PROVIDER:
        return job.provider_attempts + 1

    return attempts_of(job)


def is_temporary(error: ChatwootError) -> bool:
    """Whether another attempt may succeed."""
    if isinstance(error, APIError):
        return error.kind != "permanent"

    return isinstance(error, ProviderFailedError)


def _is_first_401(job: Job, error: ChatwootError) -> bool:
    """Whether Chatwoot refused the token now, and not in the attempt before.

    A token that is being replaced is unknown for a moment.
    """
    refused = isinstance(error, APIError) and error.status == 401

    return refused and (job.attempts == 1 or job.reason != Reason.UNAUTHORIZED)


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

    if isinstance(error, ProviderFailedError | GiveUp):
        return Reason.PROVIDER_FAILED

    if isinstance(error, NoProviderError):
        return Reason.NO_PROVIDER

    return Reason.PROVIDER_INVALID


def unconfirmed(job: Job) -> Reason:
    """The reason of a turn whose last post was answered, if at all, without a yes."""
    answered = (Reason.SERVER_ERROR, Reason.REDIRECTED)

    return Reason(job.reason) if job.reason in answered else Reason.UNCONFIRMED


def _api_reason(error: APIError) -> Reason:
    status, is_unknown = error.status, isinstance(error, UnknownError)

    if status is None:
        return Reason.UNCONFIRMED if is_unknown else Reason.UNREACHABLE

    if 300 <= status < 400:
        return Reason.REDIRECTED

    if status >= 500:
        return Reason.SERVER_ERROR

    if error.kind == "permanent" or status in _PASSING:
        return _BY_STATUS.get(status, Reason.REFUSED)

    return Reason.UNCONFIRMED if is_unknown else Reason.NOT_CHATWOOT


def pause_after(error: Exception, attempt: int, base: float) -> float:
    """Seconds to wait after an attempt: growing sixfold, spread by a fifth.

    With five attempts and the default base of 2 s they span about eight minutes,
    enough for Chatwoot to be upgraded; the three of a provider, less than 20 s.

    :param attempt: The one that failed, from 1.
    :param base: Seconds after the first.
    """
    pause = min(base * 6.0 ** min(attempt - 1, 20), LONGEST_BACKOFF)
    spread = pause * random.uniform(0.8, 1.2)  # noqa: S311 - not a secret

    return max(spread, getattr(error, "retry_after", None) or 0.0)
