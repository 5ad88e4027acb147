"""What the error of an attempt means, and the pause after it."""

from __future__ import annotations

import typing as t

import pytest

from flask_chatwoot.errors import (
    APIError,
    ChatwootError,
    GiveUp,
    NoProviderError,
    PermanentError,
    ProviderError,
    ProviderFailedError,
    TransientError,
    UnknownError,
)
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.turns.retry import (
    LONGEST_BACKOFF,
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
    (api(UnknownError, 404), True, True, Reason.UNCONFIRMED),
    (api(UnknownError, 302), True, True, Reason.REDIRECTED),
    (api(UnknownError, 502), True, True, Reason.SERVER_ERROR),
    (api(TransientError, 200), True, True, Reason.NOT_CHATWOOT),
    (api(TransientError, 404), True, True, Reason.NOT_CHATWOOT),
    (api(TransientError, 302), True, True, Reason.REDIRECTED),
    (api(PermanentError, 401), False, False, Reason.UNAUTHORIZED),
    (api(PermanentError, 403), False, False, Reason.UNAUTHORIZED),
    (api(PermanentError, 404), False, False, Reason.NOT_FOUND),
    (api(PermanentError, 422), False, True, Reason.REFUSED),
    (ProviderFailedError("raised"), True, True, Reason.PROVIDER_FAILED),
    (GiveUp("a reason"), False, True, Reason.PROVIDER_FAILED),
    (ProviderError("returned a number"), False, True, Reason.PROVIDER_INVALID),
    (NoProviderError("none"), False, True, Reason.NO_PROVIDER),
    (ChatwootError("something else"), False, True, Reason.PROVIDER_INVALID),
]


@pytest.mark.parametrize(("error", "retried", "sends", "reason"), MEANINGS)
def test_an_error_means_retries_last_posts_and_a_reason(
    error: ChatwootError, retried: bool, sends: bool, reason: Reason
) -> None:
    assert is_temporary(error) is retried
    assert allows_posts(error) is sends
    assert reason_of(error) is reason


@pytest.mark.parametrize(
    ("attempt", "seconds"),
    [
        *((1, 2), (2, 12), (3, 72), (4, 432), (5, LONGEST_BACKOFF)),
        *((100, LONGEST_BACKOFF), (397, LONGEST_BACKOFF), (10**18, LONGEST_BACKOFF)),
    ],
)
def test_pauses_grow_sixfold_to_a_limit_with_spread(
    attempt: int, seconds: float
) -> None:
    pauses = [pause_after(api(TransientError), attempt, 2.0) for _ in range(200)]

    assert min(pauses) >= seconds * (1 - SPREAD)
    assert max(pauses) <= seconds * (1 + SPREAD)
    assert max(pauses) - min(pauses) > seconds * SPREAD / 2


@pytest.mark.parametrize(
    ("wait", "longest"), [(700.0, 700.0), (3600.0, 3600.0), (0.0, 2.4), (None, 2.4)]
)
def test_retry_after_makes_a_pause_longer_and_never_shorter(
    wait: float | None, longest: float
) -> None:
    pause = pause_after(api(TransientError, 429, wait), 1, 2.0)
    assert max(wait or 0.0, 1.6) <= pause <= longest


def test_a_provider_that_raised_is_called_again_after_a_pause() -> None:
    assert 1.6 <= pause_after(ProviderFailedError("raised"), 1, 2.0) <= 2.4
