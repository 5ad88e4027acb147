"""Connections to one server, and the total time and size of what comes over them.

``requests`` limits each pause of an answer, not the whole of it, and judges by the kind
of an exception whether a request was sent. So the connections here note what happens on
them in the :class:`Call` that is under way.
"""

from __future__ import annotations

import contextlib
import contextvars
import http.client
import io
import math
import os
import socket
import time
import typing as t
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3 import exceptions as urllib3_errors
from urllib3.connection import HTTPConnection, HTTPSConnection

LONGEST_ANSWER: t.Final = 8 * 1024 * 1024
"""Bytes of an answer, unpacked."""

_CHUNK: t.Final = 16 * 1024
"""Bytes read at once. Packed they may be a thousand times as many, but no more."""

_KEPT: t.Final = 5.0
"""Seconds without a request after which a kept connection is not used again: routers
and load balancers forget idle connections, some of them without telling."""

_KEPT_TO_WRITE: t.Final = 1.0
"""The same for a request that changes something, and so is not sent a second time: the
look right before a post leaves its connection to the post."""


class AnswerTooLongError(requests.RequestException):
    """More bytes came than were asked for."""


@dataclass(eq=False)
class Call:
    """One request, and what has happened to it.

    :ivar deadline: By :func:`time.monotonic`; nothing is sent or read after it.
    :ivar connected: A new connection was opened for it.
    :ivar sent: A byte of it may have left for the server. What a proxy needs to open
        a tunnel does not count.
    """

    deadline: float
    connected: bool = False
    sent: bool = False

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 after it."""
        return max(self.deadline - time.monotonic(), 0.0)


_under_way: contextvars.ContextVar[Call | None] = contextvars.ContextVar(
    "flask_chatwoot_call", default=None
)
"""That of this thread or greenlet."""


_until: contextvars.ContextVar[float] = contextvars.ContextVar(
    "flask_chatwoot_calls_until", default=math.inf
)


@contextlib.contextmanager
def calls_until(deadline: float) -> t.Iterator[None]:
    """A block in which no request of this thread lasts longer than until then.

    :param deadline: By :func:`time.monotonic`.
    """
    before = _until.set(min(deadline, _until.get()))

    try:
        yield
    finally:
        _until.reset(before)


@contextlib.contextmanager
def call_within(seconds: float) -> t.Iterator[Call]:
    """The time in which this thread makes a request."""
    call = Call(min(time.monotonic() + seconds, _until.get()))
    before = _under_way.set(call)

    try:
        yield call
    finally:
        _under_way.reset(before)


# -- what is noted and limited on a connection -----------------------------------


class _BoundedReader(io.RawIOBase):
    """Reads from a socket until the deadline of the call."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = t.cast(t.Any, sock.makefile("rb", buffering=0))

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: t.Any) -> int | None:
        call = _under_way.get()

        if call is not None:
            if not call.left:
                raise TimeoutError("The answer took too long.")

            self._sock.settimeout(call.left)

        read: int | None = self._raw.readinto(buffer)

        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedSocket:
    """The part of a socket that an answer of :mod:`http.client` uses."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def makefile(self, *args: t.Any, **options: t.Any) -> io.BufferedReader:
        return io.BufferedReader(_BoundedReader(self._sock))


class _BoundedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: t.Any, **options: t.Any) -> None:
        super().__init__(t.cast(socket.socket, _BoundedSocket(sock)), *args, **options)


class _Noted(HTTPConnection):
    """A connection that notes what happens in the :class:`Call` under way."""

    response_class = _BoundedResponse
    _opening = False

    def connect(self) -> None:
        if (call := _under_way.get()) is not None:
            call.connected = True

        self._opening = True

        try:
            super().connect()
        finally:
            self._opening = False

    def send(self, data: t.Any) -> None:
        if self.sock is None and self.auto_open:
            self.connect()

        call = None if self._opening else _under_way.get()

        if call is not None:
            if not call.left and not call.sent:
                raise urllib3_errors.ConnectTimeoutError(self, "No time is left.")

            # Never 0, which would mean not to wait at all.
            self.sock.settimeout(max(call.left, 0.001))
            call.sent = True

        super().send(data)


class _NotedTLS(_Noted, HTTPSConnection):
    """The same with TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Noted


class _PoolTLS(HTTPSConnectionPool):
    ConnectionCls = _NotedTLS


_POOLS: t.Final[t.Any] = {"http": _Pool, "https": _PoolTLS}


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: t.Any, **options: t.Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: t.Any) -> t.Any:
        manager = super().proxy_manager_for(proxy, **options)

        # Those of a SOCKS proxy have connections of their own.
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _POOLS

        return manager


# -- sessions --------------------------------------------------------------------


class Answer(t.NamedTuple):
    """An answer that was read to its end."""

    status: int
    headers: t.Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"<Answer {self.status}>"


class Session(requests.Session):
    """Connections to one server: no cookies, no passwords, no redirects.

    Proxies and certificates come from the environment, which is read once. With
    ``trust_env``, requests would read it for each call, and passwords from .netrc too.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        bundles = map(os.environ.get, ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"))
        self.verify = next(filter(None, bundles), True)
        self._used_at: float | None = None

        for scheme in ("http://", "https://"):
            self.mount(scheme, _Adapter())

        # The request itself raises an error for a malformed URL.
        with contextlib.suppress(ValueError):
            self.proxies = get_environ_proxies(url)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: allow_redirects=False still fails on a malformed location."""
        return None

    def fetch(
        self,
        call: Call,
        method: str,
        url: str,
        *,
        limit: int,
        headers: t.Mapping[str, str],
        **options: t.Any,
    ) -> Answer:
        """Send a request, and read the answer to its end. Blocks.

        A kept connection may have been cut while it was idle, which nothing shows
        before it is used. A GET is then sent again on a new one.

        :param limit: Bytes of the body, unpacked.
        :param headers: Besides those of the session.
        :param options: Those of :class:`requests.Request`.
        """
        # Not request(), which takes a tenth of a turn to merge options that a session
        # might have, and this one has not.
        whole = requests.Request(
            method, url, headers={**self.headers, **headers}, **options
        ).prepare()

        if not self._is_fresh(_KEPT if method == "GET" else _KEPT_TO_WRITE):
            self._forget_connections()

        was_kept = self._used_at is not None

        try:
            return self._fetch(call, whole, limit)
        except requests.ConnectionError:
            if method != "GET" or not was_kept or call.connected or not call.left:
                raise

        self._forget_connections()

        return self._fetch(call, whole, limit)

    def _fetch(
        self, call: Call, request: requests.PreparedRequest, limit: int
    ) -> Answer:
        timeout = max(call.left, 0.001)

        with self.send(
            request, timeout=timeout, stream=True, proxies=self.proxies
        ) as response:
            body = _body(response, limit)

        self._used_at = time.monotonic()

        return Answer(response.status_code, response.headers, body)

    def _is_fresh(self, seconds: float) -> bool:
        return self._used_at is not None and time.monotonic() - self._used_at < seconds

    def _forget_connections(self) -> None:
        self.close()
        self._used_at = None


def _body(response: requests.Response, limit: int) -> bytes:
    body = bytearray()

    for chunk in response.iter_content(_CHUNK):
        body += chunk

        if len(body) > limit:
            raise AnswerTooLongError(f"The answer has more than {limit} bytes.")

    return bytes(body)
