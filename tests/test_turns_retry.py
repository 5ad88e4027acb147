from __future__ import annotations

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
    can_be_told,
    passes,
    pause_after,
    reason_of,
)

SPREAD = 0.2


def api(
    cls: type[APIError], status: int | None = None, wait: float | None = None
) -> APIError:
    return cls("no.", endpoint="POST /x", status=status, retry_after=wait)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (api(TransientError), True),
        (api(TransientError, 429), True),
        (api(TransientError, 500), True),
        (api(UnknownError), True),
        (api(UnknownError, 200), True),
        (api(PermanentError, 401), False),
        (api(PermanentError, 404), False),
        (api(PermanentError, 422), False),
        (api(PermanentError, 301), False),
        (ProviderFailedError("raised"), True),
        (ProviderError("returned a number"), False),
        (NoProviderError("none"), False),
        (ChatwootError("something else"), False),
    ],
)
def test_what_may_fare_better_is_tried_again(
    error: ChatwootError, expected: bool
) -> None:
    assert passes(error) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (api(TransientError), True),
        (api(TransientError, 429), True),
        (api(TransientError, 500), True),
        (api(UnknownError), True),
        (api(PermanentError, 422), True),
        (api(PermanentError, 400), False),
        (api(PermanentError, 401), False),
        (api(PermanentError, 403), False),
        (api(PermanentError, 404), False),
        (api(PermanentError, 301), False),
        (api(PermanentError, 200), False),
        (ProviderFailedError("raised"), True),
        (ProviderError("returned a number"), True),
        (NoProviderError("none"), True),
        (ChatwootError("something else"), True),
    ],
)
def test_the_customer_is_told_of_a_failure_if_anything_can_be_said(
    error: ChatwootError, expected: bool
) -> None:
    assert can_be_told(error) is expected


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (api(TransientError), Reason.UNREACHABLE),
        (api(TransientError, 408), Reason.UNREACHABLE),
        (api(TransientError, 429), Reason.RATE_LIMITED),
        (api(TransientError, 500), Reason.SERVER_ERROR),
        (api(TransientError, 503), Reason.SERVER_ERROR),
        (api(TransientError, 599), Reason.SERVER_ERROR),
        (api(UnknownError), Reason.UNCONFIRMED),
        (api(UnknownError, 200), Reason.UNCONFIRMED),
        (api(PermanentError, 200), Reason.REFUSED),
        (api(PermanentError, 301), Reason.REDIRECTED),
        (api(PermanentError, 308), Reason.REDIRECTED),
        (api(PermanentError, 400), Reason.REFUSED),
        (api(PermanentError, 401), Reason.UNAUTHORIZED),
        (api(PermanentError, 403), Reason.UNAUTHORIZED),
        (api(PermanentError, 404), Reason.NOT_FOUND),
        (api(PermanentError, 422), Reason.REFUSED),
        (ProviderFailedError("raised"), Reason.PROVIDER_FAILED),
        (ProviderError("returned a number"), Reason.PROVIDER_INVALID),
        (NoProviderError("none"), Reason.NO_PROVIDER),
    ],
)
def test_every_failure_has_a_reason(error: ChatwootError, reason: Reason) -> None:
    assert reason_of(error) is reason


@pytest.mark.parametrize(
    ("attempt", "seconds"), [(1, 2), (2, 12), (3, 72), (4, 432), (5, LONGEST_PAUSE)]
)
def test_pauses_grow_sixfold_up_to_a_limit(attempt: int, seconds: float) -> None:
    pauses = [pause_after(api(TransientError), attempt, 2.0) for _ in range(200)]

    assert min(pauses) >= seconds * (1 - SPREAD)
    assert max(pauses) <= seconds * (1 + SPREAD)


def test_jobs_that_failed_together_do_not_come_back_together() -> None:
    pauses = [pause_after(api(TransientError), 1, 100.0) for _ in range(200)]

    assert max(pauses) - min(pauses) > 10


def test_five_attempts_span_about_eight_minutes() -> None:
    pauses = [pause_after(api(TransientError), attempt, 2.0) for attempt in range(1, 5)]

    assert 6 * 60 < sum(pauses) < 11 * 60


@pytest.mark.parametrize("attempt", [100, 397, 1000, 10**18])
def test_many_attempts_do_not_break_the_pause(attempt: int) -> None:
    pause = pause_after(api(TransientError), attempt, 2.0)

    assert pause <= LONGEST_PAUSE * (1 + SPREAD)


@pytest.mark.parametrize("wait", [700.0, 3600.0])
def test_chatwoot_may_ask_for_a_longer_pause(wait: float) -> None:
    assert pause_after(api(TransientError, 429, wait), 1, 2.0) == wait


@pytest.mark.parametrize("wait", [None, 0.0, 0.5])
def test_chatwoot_cannot_shorten_a_pause(wait: float | None) -> None:
    assert pause_after(api(TransientError, 429, wait), 2, 2.0) >= 12 * (1 - SPREAD)


def test_a_provider_that_raised_is_asked_again_after_a_pause() -> None:
    assert 1.6 <= pause_after(ProviderFailedError("raised"), 1, 2.0) <= 2.4
