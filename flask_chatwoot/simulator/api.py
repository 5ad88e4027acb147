"""The Application API of a simulated Chatwoot.

It finds the endpoint, checks the token, applies faults, and lists the calls. What an
endpoint does is in ``conversations``, ``admin`` and ``webhooks``.
"""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass, field
from enum import StrEnum

from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from . import conversations, files, payloads, routes
from .admin import Admin
from .conversations import FLOOD, ConversationEndpoints
from .deliveries import WebhookSender
from .encoding import to_json
from .files import File
from .parameters import listable, parameters
from .payloads import JSON
from .redaction import redacted
from .refusals import NOT_FOUND, RefusedError
from .server import Silence
from .state import State, Token

NO_LOGIN: t.Final = "You need to sign in or sign up before continuing."
BAD_TOKEN: t.Final = "Invalid Access Token"  # noqa: S105
NO_BOTS: t.Final = "Access to this endpoint is not authorized for bots"
NO_ACCOUNT: t.Final = "not authorized to access this account"


class Fault(StrEnum):
    """How a call to the API can go wrong."""

    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    UNPROCESSABLE = "unprocessable"
    RATE_LIMITED = "rate_limited"
    """429 in plain text, without ``Retry-After``."""
    SERVER_ERROR = "server_error"
    HANG = "hang"
    """Nothing is done, and no answer comes until the simulator stops or the client
    disconnects."""
    CUT_BEFORE = "cut_before"
    """Nothing is done; the connection is closed."""
    CUT_AFTER = "cut_after"
    """All is done, echo included; then the connection is closed without an answer."""
    HANG_AFTER = "hang_after"
    """All is done, but no answer comes."""


Body = JSON | list[JSON] | str | Response | None
"""An object or a list, plain text, something else, or JSON's ``null``."""

_ANSWERS: t.Final[t.Mapping[Fault, tuple[int, Body]]] = {
    Fault.UNAUTHORIZED: (401, {"error": BAD_TOKEN}),
    Fault.NOT_FOUND: (404, {"error": NOT_FOUND}),
    Fault.UNPROCESSABLE: (422, {"error": FLOOD}),
    Fault.RATE_LIMITED: (429, "Retry later\n"),
    Fault.SERVER_ERROR: (500, ""),
}
_SILENCE: t.Final[t.Mapping[Fault, Silence]] = {
    Fault.HANG: Silence.HANG,
    Fault.HANG_AFTER: Silence.HANG,
    Fault.CUT_BEFORE: Silence.CUT,
    Fault.CUT_AFTER: Silence.CUT,
}
_UNDONE: t.Final = frozenset({Fault.HANG, Fault.CUT_BEFORE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request to the API, listed right before it is answered.

    Tokens and secrets are hidden in all fields; headers are not kept.

    :ivar endpoint: One of :data:`ENDPOINTS`, or ``None`` for an unknown address.
    :ivar status: ``None`` when a fault prevents the answer.
    :ivar query: The parameters in the URL.
    :ivar json: The body sent. Of a form its fields, and of files their name, type and
        size. ``None`` if there was neither JSON nor a form.
    :ivar answer: The body answered, JSON or text; ``None`` if it was empty or a file,
        or if a fault prevented it.
    :ivar browser: Whether a browser sent it, as for a picture, and not a program.
    :ivar token: Whose token it had; ``None``: it had no token or a wrong one.
    :ivar began: When the request was read, on Python's monotonic clock, in seconds.
    :ivar seconds: From reading the request to knowing the answer.
    """

    method: str
    path: str
    endpoint: str | None
    status: int | None
    fault: Fault | None
    query: t.Mapping[str, str] = field(repr=False)
    json: t.Any = field(repr=False)
    answer: t.Any = field(repr=False)
    browser: bool
    token: Token | None
    began: float = field(repr=False)
    seconds: float


@dataclass(slots=True)
class PlannedFault:
    """A fault of the next calls. ``times`` is ``None`` for "until cleared"."""

    fault: Fault
    endpoint: str
    times: int | None


class API:
    """Answers requests, one at a time, and lists them.

    :ivar faults: The faults of the next calls, in their order.
    """

    def __init__(
        self, state: State, sender: WebhookSender, *, message_limit: int
    ) -> None:
        self.admin = Admin(state, sender)
        self.calls: list[Call] = []
        self.faults: list[PlannedFault] = []
        self._state = state
        self._conversations = ConversationEndpoints(state, message_limit=message_limit)

    def take(self, request: Request) -> Response | Silence:
        """Answer one request and list it. Safe between threads."""
        request.get_data()  # before the lock: the client may be slow
        began = time.monotonic()

        with request, self._state.changing():  # leaving closes files of a form
            name, parts = routes.match(request)
            fault = self._next_fault(name)
            status, body = self._answer(request, name, parts, fault)
            silence = _SILENCE.get(fault) if fault else None
            self.calls.append(
                Call(
                    method=request.method,
                    path=request.path,
                    endpoint=name,
                    status=None if silence else status,
                    fault=fault,
                    query=redacted(request.args.to_dict()),
                    json=redacted(listable(request)),
                    answer=None if silence else _listed(body),
                    browser="Sec-Fetch-Mode" in request.headers,
                    token=self._token_of(request),
                    began=began,
                    seconds=time.monotonic() - began,
                )
            )

        return silence or _response(status, body)

    def _next_fault(self, name: str | None) -> Fault | None:
        planned = next((each for each in self.faults if each.endpoint == name), None)

        if planned is None:
            return None

        if planned.times is not None:
            planned.times -= 1

            if planned.times <= 0:
                self.faults.remove(planned)

        return planned.fault

    def _answer(
        self,
        request: Request,
        name: str | None,
        parts: t.Mapping[str, t.Any],
        fault: Fault | None,
    ) -> tuple[int, Body]:
        if name is None or fault in _UNDONE:
            return 404, ""

        if fault and fault in _ANSWERS:
            return _ANSWERS[fault]

        try:
            self._authorize(request, routes.BY_NAME[name], parts)

            ids = {key: parts[key] for key in parts if key == "id"}

            if name in routes.INTEGRATIONS:
                return self.admin.integrations.answer(name, **ids)

            if name in routes.ADMIN:
                given = {**request.args, **parameters(request)}
                return self.admin.answer(name, given, **ids)

            body = self._body(request, name, parts)
        except RefusedError as error:
            return error.status, error.body

        return body.status_code if isinstance(body, Response) else 200, body

    def _body(self, request: Request, name: str, parts: t.Mapping[str, t.Any]) -> Body:
        if name not in routes.CONVERSATIONS:
            body: Body = getattr(self, f"_{name}")(request, parts.get("key", ""))
            return body

        stored = self._state.conversations.get(parts["display_id"])

        if stored is None:
            raise RefusedError(404, NOT_FOUND)

        bot = self._token_of(request) == "bot"
        by = self._state.bot if bot else self._state.user

        return self._conversations.answer(name, stored, request, by)

    # Who may use an endpoint

    def _token_of(self, request: Request) -> Token | None:
        tokens: dict[str, Token] = {
            self._state.user_token: "user",
            **dict.fromkeys(self.admin.bot_tokens, "bot"),
        }

        return tokens.get(request.headers.get("Api-Access-Token", ""))

    def _authorize(
        self,
        request: Request,
        endpoint: routes.Endpoint,
        parts: t.Mapping[str, t.Any],
    ) -> None:
        """Refuse a request as ``access_token_auth_helper.rb`` does."""
        if not endpoint.login:
            return

        if not request.headers.get("Api-Access-Token"):
            raise RefusedError(401, errors=[NO_LOGIN])

        bot = self._is_bot(request, endpoint)

        if parts.get("account_id", self._state.account.id) != self._state.account.id:
            who = "Bot is" if bot else "You are"
            raise RefusedError(401, f"{who} {NO_ACCOUNT}")

    def _is_bot(self, request: Request, endpoint: routes.Endpoint) -> bool:
        token = self._token_of(request)

        if token is None:
            raise RefusedError(401, BAD_TOKEN)

        if token == "user":  # noqa: S105
            return False

        if endpoint.bots is None or self._state.version < endpoint.bots:
            raise RefusedError(401, NO_BOTS)

        return True

    # Endpoints of the installation

    def _profile(self, request: Request, key: str) -> JSON:
        state = self._state

        return payloads.profile(
            state.user, state.account, token=state.user_token, role=state.role
        )

    def _account(self, request: Request, key: str) -> JSON:
        """What bots need of ``app/views/api/v1/models/_account.json.jbuilder``."""
        account = self._state.account

        return {"id": account.id, "name": account.name, "locale": self._state.locale}

    def _list_conversations(self, request: Request, key: str) -> JSON:
        found = conversations.listed(self._state, request.args)

        return payloads.api_conversations(
            [(each.current, each.messages) for each in found],
            version=self._state.version,
        )

    def _api(self, request: Request, key: str) -> JSON:
        now = time.gmtime(self._state.clock())

        return {
            "version": ".".join(map(str, self._state.version)),
            "timestamp": time.strftime("%Y-%m-%d %H:%M:%S", now),
            "queue_services": "ok",
            "data_services": "ok",
        }

    def _file(self, request: Request, key: str) -> Response:
        path = files.store_path(key, self._find_file(key))

        return redirect(request.host_url.rstrip("/") + path)

    def _stored_file(self, request: Request, key: str) -> Response:
        file = self._find_file(key)

        return Response(file.content, content_type=file.content_type)

    def _find_file(self, key: str) -> File:
        file = self._state.files.find(key)

        if file is None:
            raise RefusedError(404)

        return file


def _listed(body: Body) -> t.Any:
    return redacted(body) or None if isinstance(body, dict | str) else None


def _response(status: int, body: Body) -> Response:
    if isinstance(body, Response):
        return body

    if isinstance(body, str):
        return Response(body, status, content_type="text/plain")

    return Response(
        to_json(body), status, content_type="application/json; charset=utf-8"
    )
