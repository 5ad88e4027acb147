"""One raw request, to find out what is wrong with it.

The client says what to do about an answer; this tells what the answer was.
"""

from __future__ import annotations

import json
import ssl
import typing as t
from dataclasses import dataclass, field

import requests

_ENOUGH: t.Final = 64 * 1024
"""Bytes of an answer that are looked at."""


@dataclass(frozen=True)
class Answer:
    """Something came back, whatever it says."""

    status: int
    headers: t.Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def json(self) -> t.Any:
        """The body, or ``None`` if it is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def redirect(self) -> str | None:
        """Where it sends us, if it does; empty if it does not say."""
        return self.headers.get("Location", "") if 300 <= self.status < 400 else None


@dataclass(frozen=True)
class Failure:
    """Nothing came back.

    :ivar kind: Name of the exception; the text may hold a proxy's password.
    :ivar tls: What is wrong with the certificate or the handshake, if that is it.
    """

    kind: str
    tls: str | None = None


def exchange(
    method: str,
    url: str,
    *,
    headers: t.Mapping[str, str] | None = None,
    body: bytes | None = None,
    timeout: float = 10.0,
) -> Answer | Failure:
    """Send a request and take what comes. Follows no redirect, repeats nothing."""
    try:
        with (
            requests.Session() as session,
            session.request(
                method,
                url,
                headers=dict(headers or {}),
                data=body,
                timeout=timeout,
                allow_redirects=False,
                stream=True,
                auth=_as_it_is,
            ) as response,
        ):
            start = next(response.iter_content(_ENOUGH), b"")

            return Answer(response.status_code, response.headers, start)
    except requests.RequestException as error:
        return Failure(type(error).__name__, _tls(error))
    except (OSError, ValueError) as error:
        return Failure(type(error).__name__)


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from adding a password of the machine's .netrc."""
    return request


def _tls(error: requests.RequestException) -> str | None:
    if not isinstance(error, requests.exceptions.SSLError):
        return None

    cause: t.Any = error

    # requests wraps what urllib3 wraps.
    while cause is not None and not isinstance(cause, ssl.SSLError):
        inner = getattr(cause, "reason", None) or (cause.args[:1] or (None,))[0]
        cause = inner if isinstance(inner, BaseException) else None

    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message

    return getattr(cause, "reason", None) or "the handshake failed"
