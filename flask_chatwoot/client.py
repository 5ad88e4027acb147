"""A client of Chatwoot's Application API, built on ``requests``.

Works without Flask::

    client = ChatwootClient("https://chatwoot.example.com", 1, token)
    client.create_message(42, "On its way.")
"""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import threading
import typing as t
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.utils import get_environ_proxies
from urllib3 import exceptions as urllib3_errors

from .background import Forkable, register_for_forks
from .errors import APIError, PermanentError, TransientError, UnknownError
from .payloads.channels import split as split
from .payloads.conversation import (
    ChatwootMessage,
    Conversation,
    conversation_from,
    message_from,
)
from .payloads.fields import MARKER, Object, Upload, as_id, as_object
from .payloads.liquid import escape
from .payloads.refusals import refusal
from .payloads.wire import Limits, encoded, read_within


class ChatwootClient(Forkable):
    """Calls the API of one Chatwoot account with one token.

    Threads may share it; each has its own pooled connections. Every method blocks
    until Chatwoot answers and raises an :class:`~flask_chatwoot.errors.APIError`:
    transient, permanent or unknown. The client follows no redirect, so it sends the
    token to ``base_url`` only, and it retries nothing.

    :param base_url: ``https://chatwoot.example.com``.
    :param api_access_token: The token of a user or an agent bot.
    :param timeout: Seconds to wait for the connection, and for each part of the answer.
    """

    def __init__(
        self,
        base_url: str,
        account_id: int,
        api_access_token: str,
        timeout: float = 10.0,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.account_id = account_id
        self.timeout = timeout
        self._token = api_access_token
        self._local = threading.local()
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """Open new connections; those in use are the parent's."""
        self._local = threading.local()

    def __repr__(self) -> str:
        return f"<ChatwootClient {self.base_url} account {self.account_id}>"

    # -- messages --------------------------------------------------------------

    def create_message(
        self,
        conversation_id: int,
        content: str,
        *,
        marker: str | None = None,
        choices: t.Sequence[tuple[str, str]] = (),
        files: t.Sequence[Upload] = (),
    ) -> int:
        """Create a message to the customer; return its id.

        :param conversation_id: The number in the conversation's URL.
        :param content: The text. Liquid in it is escaped, so that Chatwoot shows it
            unchanged. Chatwoot refuses a text that is too long; see :func:`split`.
        :param marker: Stored with the message by Chatwoot 4.9 and later.
        :param choices: Titles and values that the customer can select.
        """
        return self._create(conversation_id, content, marker, files, choices=choices)

    def create_note(
        self,
        conversation_id: int,
        content: str,
        *,
        marker: str | None = None,
        files: t.Sequence[Upload] = (),
    ) -> int:
        """Create a note, like :meth:`create_message`. Only operators see it."""
        return self._create(conversation_id, content, marker, files, private=True)

    def messages(
        self,
        conversation_id: int,
        *,
        after: int | None = None,
        before: int | None = None,
    ) -> list[ChatwootMessage]:
        """Return messages of a conversation, oldest first. Needs a user's token.

        Without bounds these are the last 20; with ``before``, the 20 messages before
        that id; with ``after``, the next 100; with both, up to 1000 from ``after`` on,
        that one included (Chatwoot's ``app/finders/message_finder.rb``).
        """
        path = self._path(conversation_id) + "/messages"
        bounds = {"after": after, "before": before}
        listed = self._request("GET", path, params=bounds).get("payload")

        if not isinstance(listed, list):
            raise PermanentError(_NOT_CHATWOOT, endpoint=f"GET {path}", status=200)

        return [message for each in listed if (message := message_from(each))]

    def conversation(self, conversation_id: int) -> Conversation:
        """Return a conversation. A bot's token needs Chatwoot 4.14.2 or later."""
        return conversation_from(self._request("GET", self._path(conversation_id)))

    def profile(self) -> dict[str, t.Any]:
        """Return the profile of the token's user, without the secrets in it.

        Chatwoot answers 401 to a bot's token.
        """
        profile = self._request("GET", "/api/v1/profile")

        return {k: v for k, v in profile.items() if k not in _PROFILE_SECRETS}

    def server_version(self) -> str:
        """Return Chatwoot's version, such as ``"4.16.2"``. Needs no token."""
        version = self._request("GET", "/api").get("version")

        if not isinstance(version, str):
            raise PermanentError(_NOT_CHATWOOT, endpoint="GET /api", status=200)

        return version

    # -- the state of a conversation ----------------------------------------------

    def set_custom_attributes(
        self, conversation_id: int, values: Object, *, merge: bool = False
    ) -> Object:
        """Write a conversation's custom attributes; return the resulting ones.

        :param values: All attributes, because Chatwoot replaces the whole object.
        :param merge: Replace only the given keys. Chatwoot ignores this parameter
            before pull request 15119 (after 4.16.2).
        """
        body: dict[str, t.Any] = {"custom_attributes": dict(values)}
        body |= {"merge": True} if merge else {}
        answer = self._change(conversation_id, "custom_attributes", body)

        return as_object(as_object(answer).get("custom_attributes"))

    def toggle_status(self, conversation_id: int, status: str) -> None:
        """Set the status: ``open``, ``pending``, ``resolved`` or ``snoozed``."""
        self._change(conversation_id, "toggle_status", {"status": status})

    def toggle_typing_status(self, conversation_id: int, *, on: bool) -> None:
        """Show the customer a typing indicator for at most 30 s, or remove it.

        A bot's token needs Chatwoot 4.12 or later.
        """
        status = {"typing_status": "on" if on else "off"}
        self._change(conversation_id, "toggle_typing_status", status)

    def assign(
        self,
        conversation_id: int,
        *,
        assignee_id: int | None = None,
        team_id: int | None = None,
    ) -> None:
        """Assign an operator or a team. An unknown id removes the assignment."""
        team = assignee_id is None
        who = {"team_id": team_id} if team else {"assignee_id": assignee_id}
        self._change(conversation_id, "assignments", who)

    def _change(self, conversation_id: int, name: str, body: Object) -> t.Any:
        path = f"{self._path(conversation_id)}/{name}"

        return self._request("POST", path, body, anything=True)

    def call(
        self,
        method: str,
        path: str,
        body: t.Mapping[str, t.Any] | None = None,
        *,
        params: t.Mapping[str, t.Any] | None = None,
        limits: Limits | None = None,
    ) -> t.Any:
        """Call any other endpoint of the account.

        :param path: What follows ``/api/v1/accounts/<id>``; begins with a slash.
        :param body: Sent as JSON.
        :param params: Query parameters; those with the value ``None`` are not sent.
        :param limits: In place of the client's time limit.
        :return: The decoded JSON, or ``None`` if the answer is empty.
        """
        path = f"/api/v1/accounts/{self.account_id}{path}"

        return self._request(
            method, path, body, params=params, anything=True, limits=limits
        )

    def _create(
        self,
        conversation_id: int,
        content: str,
        marker: str | None,
        files: t.Sequence[Upload],
        *,
        choices: t.Sequence[tuple[str, str]] = (),
        private: bool = False,
    ) -> int:
        message: dict[str, t.Any] = {"content": escape(content), "private": private}
        attributes: dict[str, t.Any] = {} if marker is None else {MARKER: marker}

        if choices:
            message["content_type"] = "input_select"
            attributes["items"] = [{"title": a, "value": b} for a, b in choices]

        if attributes:
            message["content_attributes"] = attributes

        path = self._path(conversation_id) + "/messages"
        created = self._request("POST", path, message, files=files)
        message_id = as_id(created.get("id"))

        if message_id is None:
            raise UnknownError(_NOT_CHATWOOT, endpoint=f"POST {path}", status=200)

        return message_id

    def _path(self, conversation_id: int) -> str:
        return f"/api/v1/accounts/{self.account_id}/conversations/{conversation_id}"

    def _request(
        self,
        method: str,
        path: str,
        body: t.Mapping[str, t.Any] | None = None,
        *,
        params: t.Mapping[str, t.Any] | None = None,
        files: t.Sequence[Upload] = (),
        anything: bool = False,
        limits: Limits | None = None,
    ) -> t.Any:
        endpoint = f"{method} {path}"
        form = bool(files)
        headers, content = ({}, None) if body is None else encoded(body, form=form)

        try:
            response = self._session().request(
                method,
                self.base_url + path,
                params=params,
                data=content,
                headers=headers,
                files=[("attachments[]", file) for file in files] or None,
                timeout=self.timeout if limits is None else limits.seconds,
                stream=limits is not None,
            )

            if limits is not None:
                parts = response.iter_content(_ENOUGH)
                with response:  # it keeps there what it has read
                    response._content = read_within(limits, parts, endpoint)
        except requests.RequestException as error:
            raise _no_answer(error, method, endpoint) from None
        except (OSError, ValueError, urllib3_errors.HTTPError) as error:
            raise TransientError(
                f"the request cannot be sent ({type(error).__name__}).",
                endpoint=endpoint,
            ) from None

        return _read(response, method, endpoint, anything=anything)

    def _session(self) -> requests.Session:
        """Return the connections of this thread."""
        session: requests.Session | None = getattr(self._local, "session", None)

        if session is None:
            session = self._local.session = _Session(self.base_url)
            # Chatwoot documents the name with underscores, which nginx drops.
            session.headers["Api-Access-Token"] = self._token
            session.headers["Accept"] = "application/json"
            session.headers["User-Agent"] = "Flask-Chatwoot"

        return session


class _Session(requests.Session):
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

        # The request itself raises an error for a malformed URL.
        with contextlib.suppress(ValueError):
            self.proxies = get_environ_proxies(url)

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return None: allow_redirects=False still fails on a malformed location."""
        return None


_PROFILE_SECRETS: t.Final = ("access_token", "pubsub_token", "hmac_identifier")

_NOT_CHATWOOT: t.Final = (
    "the answer is not one of Chatwoot's; check that CHATWOOT_BASE_URL is the address "
    "of the Chatwoot server."
)


# -- answers ---------------------------------------------------------------------


def _read(
    response: requests.Response, method: str, endpoint: str, *, anything: bool
) -> t.Any:
    """Decode an answer: a JSON object, or any JSON or nothing with ``anything``."""
    if not 200 <= response.status_code < 300:
        raise refusal(response.status_code, response.headers, endpoint)

    if anything and not response.content.strip():
        return None

    try:
        answer = json.loads(response.content)
    except (ValueError, RecursionError):
        anything, answer = False, None

    if not anything and not isinstance(answer, dict):
        # The status is 2xx, so Chatwoot may have obeyed a change.
        kind = PermanentError if method == "GET" else UnknownError
        raise kind(_NOT_CHATWOOT, endpoint=endpoint, status=response.status_code)

    return answer


def _no_answer(
    error: requests.RequestException, method: str, endpoint: str
) -> APIError:
    """Return the error of a request without an answer.

    It names only the exception's class, because the exception's text may contain the
    password of a proxy.
    """
    kind = type(error).__name__

    if _never_sent(error):
        return TransientError(f"no connection ({kind}).", endpoint=endpoint)

    if method == "GET":
        return TransientError(f"no answer ({kind}).", endpoint=endpoint)

    return UnknownError(
        f"the request was sent and no answer came ({kind}).", endpoint=endpoint
    )


def _never_sent(error: requests.RequestException) -> bool:
    """Whether the request certainly did not reach Chatwoot."""
    # With a request, it is a header of the answer that urllib3 cannot read.
    if isinstance(error, requests.exceptions.InvalidHeader) and error.request:
        return False

    # A ValueError: the URL or a header cannot be encoded.
    if isinstance(error, requests.ConnectTimeout | ValueError):
        return True

    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)

    if isinstance(reason, urllib3_errors.SSLError):
        reason = reason.args[0] if reason.args else None

    return isinstance(
        reason,
        urllib3_errors.NewConnectionError
        | urllib3_errors.ConnectTimeoutError
        | urllib3_errors.ProxyError
        | ssl.SSLCertVerificationError,
    )


# -- raw requests ----------------------------------------------------------------

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

    :param timeout: Seconds to wait for the connection, and for each part of the answer.
    """
    try:
        with (
            _Session(url) as session,
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
