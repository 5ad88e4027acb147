"""The errors for HTTP statuses other than 2xx, of Chatwoot or a proxy."""

import math
import re
import time
import typing as t
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from flask_chatwoot.errors import APIError, PermanentError, TransientError

LONGEST_PAUSE: t.Final = 3600.0
"""Seconds. A longer ``Retry-After`` is shortened to this."""


def refusal(status: int, headers: t.Mapping[str, str], endpoint: str) -> APIError:
    """Return the error for a status other than 2xx.

    :param headers: The headers of the answer, with case-insensitive keys.
    :param endpoint: The endpoint that the error names.
    """
    if status in (408, 425, 429) or status >= 500:
        return TransientError(
            f"Chatwoot answered {status}.",
            endpoint=endpoint,
            status=status,
            retry_after=retry_after(headers.get("Retry-After")),
        )

    if 300 <= status < 400:
        return PermanentError(
            _redirected(headers.get("Location", "")), endpoint=endpoint, status=status
        )

    return PermanentError(
        _HINTS.get(status, f"Chatwoot answered {status}."),
        endpoint=endpoint,
        status=status,
    )


_HINTS: t.Final = {
    401: (
        "Chatwoot answered 401. The token is wrong, has no access to this account or "
        "conversation, or was removed by a proxy; see CHATWOOT_API_ACCESS_TOKEN."
    ),
    403: "Chatwoot answered 403. The account's plan does not include the API.",
    404: (
        "Chatwoot answered 404. There is no such conversation in the account; see "
        "CHATWOOT_ACCOUNT_ID."
    ),
    422: "Chatwoot answered 422. It does not accept the message.",
}


def _redirected(location: str) -> str:
    try:
        target = urlsplit(location)
    except ValueError:
        target = urlsplit("")

    # Only the origin, because a query may contain a secret.
    if target.scheme and target.hostname:
        right = f"{target.scheme}://{target.netloc.rpartition('@')[2]}"
        return f"it redirects; set CHATWOOT_BASE_URL to {right}"

    return "it redirects; set CHATWOOT_BASE_URL to the final address"


def retry_after(value: str | None, *, now: float | None = None) -> float | None:
    """Return the seconds of a ``Retry-After`` header, or ``None`` if it has none.

    :param value: A number of seconds or an HTTP date.
    :param now: Unix seconds; ``None`` means the clock.
    """
    if value is None:
        return None

    text = value.strip()

    try:
        if re.fullmatch(r"[0-9]{1,9}", text):
            seconds = float(text)
        else:
            moment = parsedate_to_datetime(text).timestamp()
            seconds = moment - (time.time() if now is None else now)
    except (TypeError, ValueError, OverflowError):
        return None

    return min(max(seconds, 0.0), LONGEST_PAUSE) if math.isfinite(seconds) else None
