"""Hide tokens and secrets in the lists of calls and deliveries."""

from __future__ import annotations

import typing as t
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

HIDDEN: t.Final = "***"

_KEYS: t.Final = frozenset(
    {
        *("access_token", "api_access_token", "hmac_token", "pubsub_token"),
        *("secret", "token", "website_token"),
    }
)


def redacted(value: t.Any) -> t.Any:
    """A copy of a JSON value with the values of secret keys hidden.

    Empty values, such as ``"secret": null``, stay visible. A value that is nested too
    deeply to be copied is hidden as a whole.
    """
    try:
        return _redacted(value)
    except RecursionError:
        return HIDDEN


def _redacted(value: t.Any) -> t.Any:
    if isinstance(value, dict):
        return {
            key: HIDDEN if key in _KEYS and inner else _redacted(inner)
            for key, inner in value.items()
        }

    return [_redacted(inner) for inner in value] if isinstance(value, list) else value


def redacted_url(url: str) -> str:
    """The same URL without the password and the secrets in its query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{HIDDEN}@{host}" if host != parts.netloc else host
    query = parse_qsl(parts.query, keep_blank_values=True)

    if any(key in _KEYS for key, _ in query):
        shown = [(key, HIDDEN if key in _KEYS else value) for key, value in query]
        parts = parts._replace(query=urlencode(shown, safe="*"))

    return urlunsplit(parts._replace(netloc=netloc))
