"""The errors for HTTP statuses other than 2xx, of Chatwoot or of something before it.

A proxy, a load balancer or a maintenance page answers with the same statuses. Only an
error in Chatwoot's own JSON is the word of Chatwoot.
"""

import json
import math
import re
import time
import typing as t
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from flask_chatwoot.errors import (
    APIError,
    PermanentError,
    TransientError,
    UnknownError,
)

from .endpoints import missing_at, refused_at
from .fields import Object, as_object, as_text

LONGEST_RETRY_AFTER: t.Final = 3600.0
"""Seconds. A longer ``Retry-After`` is shortened to this."""

_FINAL: t.Final = (401, 403, 404, 422)
"""Statuses with which Chatwoot refuses for good. A 401 may also pass; see
:attr:`~flask_chatwoot.errors.APIError.bad_token`."""


def refusal(
    status: int,
    headers: t.Mapping[str, str],
    body: bytes,
    *,
    endpoint: str,
    token_key: str,
    creates: bool = False,
) -> APIError:
    """Return the error for a status other than 2xx.

    :param headers: The headers of the answer, with case-insensitive keys.
    :param endpoint: The endpoint that the error names: a method and a path.
    :param creates: The request creates a message. Unless the answer shows that it did
        not, the error is an :class:`~flask_chatwoot.errors.UnknownError`.
    :param token_key: The setting that the token is from.
    """
    said = own_error(body)

    return _kind(status, creates=creates, own=said is not None)(
        _text(status, headers, said, endpoint, token_key),
        endpoint=endpoint,
        status=status,
        retry_after=retry_after(headers.get("Retry-After")),
        bad_token=status == 401 and said is not None and _is_about_token(said),
    )


def _kind(status: int, *, creates: bool, own: bool) -> type[APIError]:
    if own and status in _FINAL:
        return PermanentError

    # Chatwoot counts requests before all else (config/initializers/rack_attack.rb).
    nothing_made = status == 429 or (own and 400 <= status < 500)

    return UnknownError if creates and not nothing_made else TransientError


def own_error(body: bytes) -> Object | None:
    """The JSON of an error that Chatwoot's application wrote; ``None``: another's.

    Chatwoot writes ``{"error": "…"}``, ``{"errors": ["…"]}`` or ``{"message": "…",
    "attributes": […]}``, and nothing else
    (``app/controllers/concerns/request_exception_handler.rb``). Gateways and other
    frameworks write ``message`` alone, or add a status, a path or a time.
    """
    try:
        said = as_object(json.loads(body))
    except (ValueError, RecursionError):
        return None

    error, errors = as_text(said.get("error")), said.get("errors")
    is_own = (
        (bool(error) and said.keys() <= {"error", "message"})
        or (isinstance(errors, list) and said.keys() <= {"errors", "success"})
        or said.keys() == {"message", "attributes"}
    )

    return said if is_own else None


def _is_about_token(said: Object) -> bool:
    """Whether a 401 means that the token is unknown or was not sent.

    Otherwise it is known and lacks the right: Chatwoot answers 401 to that as well
    (``app/controllers/concerns/access_token_auth_helper.rb``).
    """
    return "errors" in said or said.get("error") == "Invalid Access Token"


def _text(
    status: int,
    headers: t.Mapping[str, str],
    said: Object | None,
    endpoint: str,
    token_key: str,
) -> str:
    if 300 <= status < 400:
        return _redirected(headers.get("Location", ""))

    if said is not None and status in _FINAL:
        hint = _hint(status, said, endpoint, token_key)
        return f"Chatwoot answered {status}. {hint}"

    if said is not None or status == 429 or status >= 500:
        return f"Chatwoot answered {status}."

    hint = "A proxy may have given it; see CHATWOOT_BASE_URL, too."

    if status == 401:
        hint = f"A proxy may have given it, or removed the token; see {token_key}."

    return f"the answer is {status}, and not one of Chatwoot's. {hint}"


def _hint(status: int, said: Object, endpoint: str, token_key: str) -> str:
    """What a refusal means, and what to do."""
    path = endpoint.partition(" ")[2]

    match status:
        case 401:
            return _unauthorized(said, token_key)
        case 404:
            return missing_at(path)
        case 422:
            return refused_at(path)

    return "The account's plan does not include the API."


def _unauthorized(said: Object, token_key: str) -> str:
    if "errors" in said:
        return (
            "No token has reached it: a proxy drops the header Api-Access-Token, or "
            f"{token_key} is not a token."
        )

    if _is_about_token(said):
        return f"It does not know the token; set {token_key} to one that it shows."

    return (
        f"It knows the token in {token_key}, which has no right to this, or no access "
        "to the account or the conversation."
    )


def _redirected(location: str) -> str:
    right = origin_of(location) or "the final address"

    return f"it redirects; set CHATWOOT_BASE_URL to {right}"


def origin_of(url: str) -> str | None:
    """Scheme, host and port of a URL, whose other parts may hold a secret."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return None

    if not (parts.scheme and parts.hostname):
        return None

    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


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

    return (
        min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if math.isfinite(seconds) else None
    )
