"""Raw requests to any URL, for diagnosis."""

from __future__ import annotations

import json
import ssl
import typing as t
from dataclasses import dataclass, field

import requests

from .connections import Session, call_within

_ENOUGH: t.Final = 64 * 1024
"""The number of bytes that are read of a raw answer."""


@dataclass(frozen=True, eq=False)
class RawAnswer:
    """An answer of any kind."""

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
        """The target of a redirect, empty if it has none; otherwise ``None``."""
        return self.headers.get("Location", "") if 300 <= self.status < 400 else None


class NoAnswer(t.NamedTuple):
    """A request that got no answer.

    :ivar kind: Name of the exception; its text may contain a proxy's password.
    :ivar tls: The problem with the certificate or the handshake, or ``None``.
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
) -> RawAnswer | NoAnswer:
    """Send one request to any URL, for diagnosis. Blocks.

    Follows no redirect, retries nothing and reads only 64 KiB of the answer.

    :param timeout: Seconds to wait for the connection, and in all.
    """
    try:
        with (
            call_within(timeout),
            Session(url) as session,
            session.request(
                method,
                url,
                headers=dict(headers or {}),
                data=body,
                timeout=timeout,
                stream=True,
            ) as response,
        ):
            start = next(response.iter_content(_ENOUGH), b"")

            return RawAnswer(response.status_code, response.headers, start)
    except requests.RequestException as error:
        return NoAnswer(type(error).__name__, _tls_problem(error))
    except (OSError, ValueError) as error:
        return NoAnswer(type(error).__name__)


def _tls_problem(error: requests.RequestException) -> str | None:
    if not isinstance(error, requests.exceptions.SSLError):
        return None

    cause: t.Any = error

    # urllib3 wraps the error of ssl, and requests wraps that.
    while cause is not None and not isinstance(cause, ssl.SSLError):
        inner = getattr(cause, "reason", None) or (cause.args[:1] or (None,))[0]
        cause = inner if isinstance(inner, BaseException) else None

    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message

    return getattr(cause, "reason", None) or "the handshake failed"
