"""What the error of an attempt means, and the pause after it."""

from __future__ import annotations

import typing as t

import pytest

from flask_chatwoot.errors import (
    APIError,
    ChatwootError,
    NoProviderError,
    PermanentError,
    ProviderError,
    ProviderFailedError,
    TransientError,
    UnknownError,
)
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.turns.retry import (
    LONGEST_PAUSE,
    allows_posts,
    is_temporary,
    pause_after,
    reason_of,
)

SPREAD = 0.2


def api(
    cls: type[APIError], status: int | None = None, wait: float | None = None
) -> APIError:
    return cls("no.", endpoint="POST /x", status=status, retry_after=wait)


MEANINGS: t.Final = [
    # an error, whether the job is retried, whether more can be sent, the reason
    (api(TransientError), True, True, Reason.UNREACHABLE),
    (api(TransientError, 408), True, True, Reason.UNREACHABLE),
    (api(TransientError, 429), True, True, Reason.RATE_LIMITED),
    (api(TransientError, 500), True, True, Reason.SERVER_ERROR),
    (api(TransientError, 503), True, True, Reason.SERVER_ERROR),
    (api(TransientError, 599), True, True, Reason.SERVER_ERROR),
    (api(UnknownError), True, True, Reason.UNCONFIRMED),
    (api(UnknownError, 200), True, True, Reason.UNCONFIRMED),
    (api(PermanentError, 200), False, False, Reason.REFUSED),
    (api(PermanentError, 301), False, False, Reason.REDIRECTED),
    (api(PermanentError, 308), False, False, Reason.REDIRECTED),
    (api(PermanentError, 400), False, False, Reason.REFUSED),
    (api(PermanentError, 401), False, False, Reason.UNAUTHORIZED),
    (api(PermanentError, 403), False, False, Reason.UNAUTHORIZED),
    (api(PermanentError, 404), False, False, Reason.NOT_FOUND),
    (api(PermanentError, 422), False, True, Reason.REFUSED),
    (ProviderFailedError("raised"), True, True, Reason.PROVIDER_FAILED),
    (ProviderError("returned a number"), False, True, Reason.PROVIDER_INVALID),
    (NoProviderError("none"), False, True, Reason.NO_PROVIDER),
    (ChatwootError("something else"), False, True, Reason.PROVIDER_INVALID),
]


@pytest.mark.parametrize(("error", "expected"), [(row[0], row[1]) for row in MEANINGS])
def test_a_job_is_retried_if_that_may_succeed(
    error: ChatwootError, expected: bool
) -> None:
    assert is_temporary(error) is expected


@pytest.mark.parametrize(("error", "expected"), [(row[0], row[2]) for row in MEANINGS])
def test_the_last_posts_are_made_if_chatwoot_may_accept_them(
    error: ChatwootError, expected: bool
) -> None:
    assert allows_posts(error) is expected


@pytest.mark.parametrize(("error", "reason"), [(row[0], row[3]) for row in MEANINGS])
def test_every_failure_has_a_reason(error: ChatwootError, reason: Reason) -> None:
    assert reason_of(error) is reason


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 2), (2, 12), (3, 72), (4, 432), (5, LONGEST_PAUSE)]
)
def test_pauses_grow_sixfold_up_to_a_limit(attempt: int, seconds: float) -> None:
    pauses = [pause_after(api(TransientError), attempt, 2.0) for _ in range(200)]

    assert min(pauses) >= seconds * (1 - SPREAD)
    assert max(pauses) <= seconds * (1 + SPREAD)


def test_pauses_are_spread() -> None:
    pauses = [pause_after(api(TransientError), 1, 100.0) for _ in range(200)]

    assert max(pauses) - min(pauses) > 10


def test_five_attempts_span_about_eight_minutes() -> None:
    pauses = [pause_after(api(TransientError), attempt, 2.0) for attempt in range(1, 5)]

    assert 6 * 60 < sum(pauses) < 11 * 60


@pytest.mark.parametrize("attempt", [100, 397, 1000, 10**18])
def test_the_pause_after_many_attempts_has_the_same_limit(attempt: int) -> None:
    pause = pause_after(api(TransientError), attempt, 2.0)

    assert pause <= LONGEST_PAUSE * (1 + SPREAD)


@pytest.mark.parametrize("wait", [700.0, 3600.0])
def test_retry_after_makes_a_pause_longer(wait: float) -> None:
    assert pause_after(api(TransientError, 429, wait), 1, 2.0) == wait


@pytest.mark.parametrize("wait", [None, 0.0, 0.5])
def test_retry_after_does_not_make_a_pause_shorter(wait: float | None) -> None:
    assert pause_after(api(TransientError, 429, wait), 2, 2.0) >= 12 * (1 - SPREAD)


def test_a_provider_that_raised_is_called_again_after_a_pause() -> None:
    assert 1.6 <= pause_after(ProviderFailedError("raised"), 1, 2.0) <= 2.4
