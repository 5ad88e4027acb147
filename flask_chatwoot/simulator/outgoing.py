"""The HTTP requests that a simulated Chatwoot makes: only to this machine."""

from __future__ import annotations

import ipaddress
import typing as t
from urllib.parse import urlsplit

import requests


class Outgoing(t.NamedTuple):
    """How a request ended.

    :ivar status: ``None`` when no answer came; ``error`` then names the exception.
    """

    status: int | None
    content: bytes
    error: str | None


def post(
    url: str, body: bytes, headers: t.Mapping[str, str], *, timeout: float
) -> Outgoing:
    """Send a request, without following redirects. Raises nothing.

    :param timeout: Seconds to connect, and again to wait for an answer.
    """
    with requests.Session() as session:
        session.trust_env = False

        try:
            response = session.post(
                url,
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            return Outgoing(None, b"", type(error).__name__)

    return Outgoing(response.status_code, response.content, None)


def check_local(url: str) -> None:
    """Check that a URL is on this machine.

    :raises ValueError: It is not.
    """
    if not _is_local(url):
        raise ValueError(f"{url} is not on this machine; use a loopback address.")


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
