"""Chatwoot's Application API on ``requests``: the only door to the network.

Works without Flask::

    client = ChatwootClient("https://chatwoot.example.com", 1, token)
    client.create_message(42, "On its way.")
"""

from __future__ import annotations

import json
import math
import os
import re
import ssl
import threading
import time
import typing as t
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import exceptions as urllib3_errors

from .errors import (
    APIError,
    PermanentError,
    TransientError,
    UnknownError,
)
from .payloads.fields import MARKER, Object, Upload, as_id, as_object

LIMIT: t.Final = 150_000
"""Characters one message may have (Chatwoot's ``app/models/message.rb``)."""

LONGEST_PAUSE: t.Final = 3600.0
"""Seconds. A longer ``Retry-After`` is taken for a mistake."""


class ChatwootClient:
    """One account of one Chatwoot, seen with one token.

    Threads may share it; each has its own pooled connections. Every method blocks
    until Chatwoot answers and raises an :class:`~flask_chatwoot.errors.APIError`:
    transient, permanent or unknown. No redirect is followed, so the token goes to
    ``base_url`` only. Nothing is repeated here.

    :param base_url: ``https://chatwoot.example.com``.
    :param api_access_token: A user's or an agent bot's.
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
        # Plain, as it is copied with each call; spelled as requests looks keys up.
        self._headers: t.Any = {
            # Chatwoot's own spelling has underscores, and nginx drops those.
            "Api-Access-Token": api_access_token,
            "Accept": "application/json",
            "User-Agent": "Flask-Chatwoot",
        }
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
    ) -> list[int]:
        """Write to the customer; return the ids of the messages made.

        More than one only if the text is longer than a message may be. If a later one
        fails, the error does not tell the ids of those before it.

        :param conversation_id: The number in the conversation's URL.
        :param content: Shown as given: what Chatwoot would take for Liquid is escaped.
        :param marker: Stored with the message by Chatwoot 4.9 and later.
        :param choices: Titles and values to pick from, shown with the last message.
        :param files: Sent with the last message.
        """
        return self._create_all(conversation_id, content, marker, choices, files)

    def create_note(
        self,
        conversation_id: int,
        content: str,
        *,
        marker: str | None = None,
        files: t.Sequence[Upload] = (),
    ) -> list[int]:
        """Write a private note, which only operators see; otherwise the same."""
        return self._create_all(
            conversation_id, content, marker, (), files, private=True
        )

    def messages(
        self,
        conversation_id: int,
        *,
        after: int | None = None,
        before: int | None = None,
    ) -> list[dict[str, t.Any]]:
        """Messages of a conversation, oldest first. User tokens only.

        Without bounds the last 20; ``before`` an id, the 20 older ones; ``after`` an
        id, the next 100; with both, up to 1000 from ``after`` on, that one included
        (Chatwoot's ``app/finders/message_finder.rb``).
        """
        path = self._path(conversation_id) + "/messages"
        bounds = {"after": after, "before": before}
        listed = self._request("GET", path, params=bounds).get("payload")

        if not isinstance(listed, list):
            raise PermanentError(_NOT_CHATWOOT, endpoint=f"GET {path}", status=200)

        return [message for message in listed if isinstance(message, dict)]

    # -- other reads -----------------------------------------------------------

    def conversation(self, conversation_id: int) -> dict[str, t.Any]:
        """A conversation as it is now. Bot tokens only from Chatwoot 4.14.2 on."""
        conversation: dict[str, t.Any] = self._request(
            "GET", self._path(conversation_id)
        )

        return conversation

    def profile(self) -> dict[str, t.Any]:
        """Whose token this is. User tokens only; a bot's is refused with 401.

        Without the secrets that Chatwoot sends along.
        """
        profile = self._request("GET", "/api/v1/profile")

        return {k: v for k, v in profile.items() if k not in _PROFILE_SECRETS}

    def server_version(self) -> str:
        """Chatwoot's version, ``"4.16.2"`` for instance. Needs no token."""
        version = self._request("GET", "/api").get("version")

        if not isinstance(version, str):
            raise PermanentError(_NOT_CHATWOOT, endpoint="GET /api", status=200)

        return version

    # -- the state of a conversation ----------------------------------------------

    def set_custom_attributes(
        self, conversation_id: int, values: Object, *, merge: bool = False
    ) -> Object:
        """Write a conversation's attributes; return those it has then.

        :param values: All of them: Chatwoot replaces the whole object.
        :param merge: Replace only the keys given. Chatwoot takes it for no more than
            an unknown parameter before pull request 15119 (after 4.16.2).
        """
        body: dict[str, t.Any] = {"custom_attributes": dict(values)}
        answer = self._conversation_call(
            conversation_id,
            "custom_attributes",
            body | ({"merge": True} if merge else {}),
        )

        return as_object(as_object(answer).get("custom_attributes"))

    def toggle_status(self, conversation_id: int, status: str) -> None:
        """Set the status: ``open``, ``pending``, ``resolved`` or ``snoozed``."""
        self._conversation_call(conversation_id, "toggle_status", {"status": status})

    def toggle_typing_status(self, conversation_id: int, *, on: bool) -> None:
        """Show the customer that somebody types, for at most 30 s, or no longer.

        A bot's token may do so from Chatwoot 4.12 on.
        """
        status = {"typing_status": "on" if on else "off"}
        self._conversation_call(conversation_id, "toggle_typing_status", status)

    def assign(
        self,
        conversation_id: int,
        *,
        assignee_id: int | None = None,
        team_id: int | None = None,
    ) -> None:
        """Assign an operator, or a team. An id Chatwoot does not know unassigns."""
        who = {"assignee_id": assignee_id} if assignee_id else {"team_id": team_id}
        self._conversation_call(conversation_id, "assignments", who)

    def _conversation_call(
        self, conversation_id: int, name: str, body: t.Mapping[str, t.Any]
    ) -> t.Any:
        path = f"{self._path(conversation_id)}/{name}"

        return self._request("POST", path, body, anything=True)

    # -- the wire --------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        body: t.Mapping[str, t.Any] | None = None,
        *,
        params: t.Mapping[str, t.Any] | None = None,
    ) -> t.Any:
        """Any other endpoint of the account.

        :param path: What follows ``/api/v1/accounts/<id>``; begins with a slash.
        :param body: Sent as JSON.
        :param params: Of the query; ``None`` values are left out.
        :return: The decoded JSON, or ``None`` if the answer is empty.
        """
        return self._request(
            method,
            f"/api/v1/accounts/{self.account_id}{path}",
            body,
            params=params,
            anything=True,
        )

    def _create_all(
        self,
        conversation_id: int,
        content: str,
        marker: str | None,
        choices: t.Sequence[tuple[str, str]],
        files: t.Sequence[Upload],
        *,
        private: bool = False,
    ) -> list[int]:
        texts = pieces(content)
        attributes: dict[str, t.Any] = {} if marker is None else {MARKER: marker}
        ids = []

        for number, text in enumerate(texts, 1):
            message: dict[str, t.Any] = {"content": text, "private": private}
            last = number == len(texts)

            if last and choices:
                message["content_type"] = "input_select"
                attributes["items"] = [
                    {"title": title, "value": value} for title, value in choices
                ]

            if attributes:
                message["content_attributes"] = attributes

            ids.append(self._create(conversation_id, message, files if last else ()))

        return ids

    def _create(
        self, conversation_id: int, message: dict[str, t.Any], files: t.Sequence[Upload]
    ) -> int:
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
    ) -> t.Any:
        endpoint = f"{method} {path}"

        try:
            line = self._line()
            response = line.adapter.send(
                self._prepare(method, line.base_url + path, body, params, files),
                timeout=self.timeout,
                proxies=line.proxies,
                verify=line.verify,
            )
            content = _content(response)
        except requests.RequestException as error:
            raise _no_answer(error, method, endpoint) from None
        except (OSError, ValueError, urllib3_errors.HTTPError) as error:
            raise TransientError(
                f"can not be asked ({type(error).__name__}).", endpoint=endpoint
            ) from None

        return _read(response, content, method, endpoint, anything=anything)

    def _prepare(
        self,
        method: str,
        url: str,
        body: t.Mapping[str, t.Any] | None,
        params: t.Mapping[str, t.Any] | None,
        files: t.Sequence[Upload],
    ) -> requests.PreparedRequest:
        # Most of what requests does for each URL needs doing but once, as only the
        # path differs.
        request = requests.PreparedRequest()
        request.prepare_method(method)
        request.headers = self._headers.copy()
        request.url = url

        if params is not None:
            request.prepare_url(url, params)

        if files:
            request.prepare_body(_form(body or {}), _parts(files))
        elif body is not None:
            request.body = json.dumps(body).encode()
            request.headers["Content-Type"] = "application/json"
            request.headers["Content-Length"] = str(len(request.body))

        return request

    def _line(self) -> _Line:
        """This thread's connections, made anew after a fork."""
        line: _Line | None = getattr(self._local, "line", None)

        if line is None or self._local.pid != os.getpid():
            line = self._local.line = _Line.to(self.base_url)
            self._local.pid = os.getpid()

        return line


class _Line(t.NamedTuple):
    """What one thread needs of a ``requests.Session`` to talk to one server.

    A session would follow redirects, keep cookies, and read the environment for each
    call, where a .netrc may add a password. This reads it once, for proxies and
    certificates.

    :ivar base_url: As it goes over the wire.
    """

    adapter: HTTPAdapter
    base_url: str
    proxies: dict[str, str]
    verify: bool | str

    @classmethod
    def to(cls, base_url: str) -> t.Self:
        request = requests.PreparedRequest()
        request.prepare_url(base_url, None)
        bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get(
            "CURL_CA_BUNDLE"
        )

        return cls(
            adapter=HTTPAdapter(),
            base_url=(request.url or base_url).rstrip("/"),
            proxies=get_environ_proxies(base_url),
            verify=bundle or True,
        )


_PROFILE_SECRETS: t.Final = ("access_token", "pubsub_token", "hmac_identifier")

_NOT_CHATWOOT: t.Final = (
    "the answer is not one of Chatwoot's; is CHATWOOT_BASE_URL the address of the "
    "Chatwoot server itself?"
)


# -- what an answer means --------------------------------------------------------


def _content(response: requests.Response) -> bytes:
    """The whole body at once; ``response.content`` gathers it in pieces.

    :raises requests.ConnectionError: It broke off, or is not what its headers say.
    """
    try:
        content: bytes = response.raw.read(decode_content=True)
    except (urllib3_errors.HTTPError, OSError) as error:
        raise requests.ConnectionError(error) from error

    return content


def _read(
    response: requests.Response,
    content: bytes,
    method: str,
    endpoint: str,
    *,
    anything: bool,
) -> t.Any:
    """What was answered: an object, unless anything will do."""
    if not 200 <= response.status_code < 300:
        raise _refusal(response, endpoint)

    if anything and not content.strip():
        return None

    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        anything, answer = False, None

    if not anything and not isinstance(answer, dict):
        # Something answered 200, so a POST may have been obeyed.
        kind = UnknownError if method == "POST" else PermanentError
        raise kind(_NOT_CHATWOOT, endpoint=endpoint, status=response.status_code)

    return answer


def _refusal(response: requests.Response, endpoint: str) -> APIError:
    status = response.status_code

    if status in (408, 425, 429) or status >= 500:
        return TransientError(
            f"Chatwoot answered {status}.",
            endpoint=endpoint,
            status=status,
            retry_after=retry_after(response.headers.get("Retry-After")),
        )

    if 300 <= status < 400:
        return PermanentError(_redirected(response), endpoint=endpoint, status=status)

    return PermanentError(
        _HINTS.get(status, f"Chatwoot answered {status}."),
        endpoint=endpoint,
        status=status,
    )


_HINTS: t.Final = {
    401: (
        "Chatwoot answered 401. The token is wrong, has no access to this account or "
        "conversation, or was dropped by a proxy; see CHATWOOT_API_ACCESS_TOKEN."
    ),
    403: "Chatwoot answered 403. The account's plan does not include the API.",
    404: (
        "Chatwoot answered 404. There is no such conversation in the account; see "
        "CHATWOOT_ACCOUNT_ID."
    ),
    422: "Chatwoot answered 422. It does not accept the message.",
}


def _redirected(response: requests.Response) -> str:
    try:
        target = urlsplit(response.headers.get("Location", ""))
    except ValueError:
        target = urlsplit("")

    # No more than the origin: a query could carry a secret.
    if target.scheme and target.hostname:
        right = f"{target.scheme}://{target.netloc.rpartition('@')[2]}"
        return f"it redirects; set CHATWOOT_BASE_URL to {right}"

    return "it redirects; set CHATWOOT_BASE_URL to the final address"


def _no_answer(
    error: requests.RequestException, method: str, endpoint: str
) -> APIError:
    """What kind of failure it is when nothing came back.

    The text of these errors may hold the URL of a proxy with its password, so only
    the kind is told.
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
    """Whether the request surely did not reach Chatwoot. In doubt, it may have."""
    # A ValueError: the address or a header can not be written.
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


def retry_after(value: str | None, *, now: float | None = None) -> float | None:
    """Seconds to wait, from the header of that name; ``None`` if it says nothing.

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


# -- what is sent ----------------------------------------------------------------


def _form(message: t.Mapping[str, t.Any]) -> dict[str, str]:
    """A message as fields of a form; Chatwoot reads JSON where it wants an object."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in message.items()
    }


def _parts(files: t.Sequence[Upload]) -> list[tuple[str, Upload]]:
    return [("attachments[]", file) for file in files]


_SPAN = r"(?s)`(.*?)`"
"""What Chatwoot wraps in a raw block (``app/models/concerns/liquidable.rb``)."""

_OPENING = r"\{(?=[{%]|\Z)"


def escape(text: str) -> str:
    """Text that Chatwoot's Liquid turns back into exactly this text.

    Chatwoot evaluates outgoing text, so ``{{contact.email}}`` in a model's answer
    would be replaced. Between backticks Chatwoot protects it, unless the text there
    ends the protection itself.
    """
    if "{{" not in text and "{%" not in text:
        return text

    parts = []
    end = 0

    for span in re.finditer(_SPAN, text):
        parts.append(_break_up(text[end : span.start()]))
        parts.append(_fence(span[1], text[span.end() : span.end() + 1]))
        end = span.end()

    parts.append(_break_up(text[end:]))

    return "".join(parts)


def _break_up(text: str) -> str:
    # A brace is written as an expression that yields a brace, so that no two
    # characters of the text meet to open one. "{%" must not stand in the literal:
    # Liquid's tokenizer would see a tag.
    return re.sub(_OPENING, "{{ '{' }}", text)


def _fence(inner: str, following: str) -> str:
    if "endraw" not in inner and following != "}":
        return f"`{inner}`"

    # Without a literal backtick Chatwoot does not see a span, and the usual way serves.
    tick = "{{ '%60' | url_decode }}"

    return f"{tick}{_break_up(inner)}{tick}"


def pieces(text: str) -> list[str]:
    """Escaped texts that each fit into one message."""
    return [escape(part) for part in split(text)]


def split(text: str, limit: int = LIMIT) -> list[str]:
    """Cut text at paragraphs, else between words, so that each part fits escaped.

    Only the white space at a cut is lost.

    :param limit: Characters a part may have once it is escaped.
    """
    parts = []
    size = limit

    # Escaping never shortens, so what is far too long need not be escaped to know.
    while len(text) > limit or len(escape(text)) > limit:
        cut = _boundary(text, min(size, len(text)))
        head = text[:cut].rstrip()

        if (length := len(escape(head))) > limit:
            # How much longer escaping makes a text depends on where it is cut.
            size = max(1, min(size * limit // length, len(head) - 1))
            continue

        parts.append(head)
        text = text[cut:].lstrip()
        size = limit

    return [part for part in (*parts, text) if part] if parts else [text]


def _boundary(text: str, size: int) -> int:
    """The best place to cut at or before ``size``, but not far before it."""
    least = size // 2

    for mark in ("\n\n", "\n", " "):
        if (cut := text.rfind(mark, least, size)) > 0:
            return cut

    return size
