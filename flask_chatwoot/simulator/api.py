"""The Application API of a pretended Chatwoot.

Who may call what, what is kept of a request, what can go wrong. A new endpoint is a
line in ``_ENDPOINTS`` and a method of :class:`API` with the same name and a leading
underscore; it gets the request and, if its path names one, the conversation.
"""

from __future__ import annotations

import re
import time
import typing as t
from dataclasses import dataclass, field
from enum import StrEnum

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from . import liquid, payloads
from .deliveries import from_json, to_json
from .payloads import JSON, Agent, Message, MessageType
from .server import Silence
from .state import State, Talk, Token

MAX_CONTENT: t.Final = 150_000
LONG_ATTRIBUTES: t.Final = (4, 9)
SHORT_ATTRIBUTES: t.Final = frozenset({"items", "in_reply_to", "automation_rule_id"})

NOT_FOUND: t.Final = "Resource could not be found"
NO_LOGIN: t.Final = "You need to sign in or sign up before continuing."
BAD_TOKEN: t.Final = "Invalid Access Token"  # noqa: S105
NO_BOTS: t.Final = "Access to this endpoint is not authorized for bots"
NO_ACCOUNT: t.Final = "not authorized to access this account"
FLOOD: t.Final = "Validation failed: Too many messages"
TOO_LONG: t.Final = (
    "Validation failed: Content is too long (maximum is 150000 characters)"
)
NO_INCOMING: t.Final = "Incoming messages are only allowed in Api inboxes"
NULL_BYTE: t.Final = "string contains null byte"

_FALSE: t.Final = (None, False, 0, "", "0", "f", "F", "false", "FALSE", "off", "OFF")


class Fault(StrEnum):
    """What the API can be told to do wrong."""

    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    UNPROCESSABLE = "unprocessable"
    RATE_LIMITED = "rate_limited"
    """429 in plain text, without ``Retry-After``."""
    SERVER_ERROR = "server_error"
    HANG = "hang"
    """Nothing is done and nothing answered until the simulator stops or the client
    leaves."""
    CUT_BEFORE = "cut_before"
    """Nothing is done; the connection is closed."""
    CUT_AFTER = "cut_after"
    """All is done, echo included; then the connection is closed without an answer."""
    HANG_AFTER = "hang_after"
    """All is done, but no answer comes."""


_ANSWERS: t.Final[t.Mapping[Fault, tuple[int, JSON | str]]] = {
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
    """One request to the API, listed when its answer is about to leave.

    :ivar endpoint: One of :data:`ENDPOINTS`, or ``None`` for an unknown address.
    :ivar status: ``None`` when a fault keeps the answer back.
    :ivar json: The body sent, or ``None`` if there was no JSON.
    :ivar token: Whose token came with it; ``None`` for none or a wrong one.
    :ivar seconds: From reading the request to knowing the answer.
    """

    method: str
    path: str
    endpoint: str | None
    status: int | None
    fault: Fault | None
    json: t.Any = field(repr=False)
    token: Token | None
    seconds: float


class _Endpoint(t.NamedTuple):
    method: str
    path: str
    bots: payloads.Version | None = None
    """The first version that lets bots in; ``None``: none so far."""
    login: bool = True


_TALK = "/api/v1/accounts/<int:account_id>/conversations/<int:display_id>"
_ENDPOINTS: t.Final[t.Mapping[str, _Endpoint]] = {
    "create_message": _Endpoint("POST", f"{_TALK}/messages", bots=(4, 2)),
    "list_messages": _Endpoint("GET", f"{_TALK}/messages"),
    "conversation": _Endpoint("GET", _TALK, bots=(4, 14, 2)),
    "profile": _Endpoint("GET", "/api/v1/profile"),
    "api": _Endpoint("GET", "/api", login=False),
}
_ROUTES: t.Final = Map(
    [Rule(e.path, endpoint=name, methods=[e.method]) for name, e in _ENDPOINTS.items()]
)

ENDPOINTS: t.Final = tuple(_ENDPOINTS)
"""The names under which faults can be injected."""


@dataclass(slots=True)
class Plan:
    """A fault to come. ``times`` is ``None`` for "until cleared"."""

    fault: Fault
    endpoint: str
    times: int | None


class _RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, error: str, **body: t.Any) -> None:
        super().__init__(status)
        self.status = status
        self.body: JSON = body or {"error": error}


class API:
    """Answers requests, one at a time, and lists them.

    :ivar plans: Faults to come, the next one first.
    """

    def __init__(self, state: State, *, message_limit: int) -> None:
        self.calls: list[Call] = []
        self.plans: list[Plan] = []
        self._state = state
        self._message_limit = message_limit

    def take(self, request: Request) -> Response | Silence:
        """Answer one request and list it. Safe between threads."""
        request.get_data()  # before the lock: the client may be slow
        started = time.monotonic()

        with self._state.changing():
            name, parts = _route(request)
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
                    json=from_json(request.get_data()),
                    token=self._caller(request),
                    seconds=time.monotonic() - started,
                )
            )

        return silence or _response(status, body)

    def _next_fault(self, name: str | None) -> Fault | None:
        plan = next((plan for plan in self.plans if plan.endpoint == name), None)

        if plan is None:
            return None

        if plan.times is not None:
            plan.times -= 1

            if plan.times <= 0:
                self.plans.remove(plan)

        return plan.fault

    def _answer(
        self,
        request: Request,
        name: str | None,
        parts: t.Mapping[str, int],
        fault: Fault | None,
    ) -> tuple[int, JSON | str]:
        if name is None or fault in _UNDONE:
            return 404, ""

        if fault and fault in _ANSWERS:
            return _ANSWERS[fault]

        try:
            self._admit(request, _ENDPOINTS[name], parts)
            return 200, getattr(self, f"_{name}")(request, **self._found(parts))
        except _RefusedError as error:
            return error.status, error.body

    # Who may

    def _caller(self, request: Request) -> Token | None:
        tokens: dict[str, Token] = {
            self._state.user_token: "user",
            self._state.bot_token: "bot",
        }

        return tokens.get(request.headers.get("Api-Access-Token", ""))

    def _admit(
        self, request: Request, endpoint: _Endpoint, parts: t.Mapping[str, int]
    ) -> None:
        """Let in or refuse, as ``access_token_auth_helper.rb`` does."""
        if not endpoint.login:
            return

        if not request.headers.get("Api-Access-Token"):
            raise _RefusedError(401, "", errors=[NO_LOGIN])

        bot = self._bot_calls(request, endpoint)

        if parts.get("account_id", self._state.account.id) != self._state.account.id:
            who = "Bot is" if bot else "You are"
            raise _RefusedError(401, f"{who} {NO_ACCOUNT}")

    def _bot_calls(self, request: Request, endpoint: _Endpoint) -> bool:
        caller = self._caller(request)

        if caller is None:
            raise _RefusedError(401, BAD_TOKEN)

        if caller == "user":
            return False

        if endpoint.bots is None or self._state.version < endpoint.bots:
            raise _RefusedError(401, NO_BOTS)

        return True

    def _found(self, parts: t.Mapping[str, int]) -> dict[str, Talk]:
        if "display_id" not in parts:
            return {}

        talk = self._state.talks.get(parts["display_id"])

        if talk is None:
            raise _RefusedError(404, NOT_FOUND)

        return {"talk": talk}

    # Endpoints

    def _create_message(self, request: Request, talk: Talk) -> JSON:
        given = from_json(request.get_data())

        if not isinstance(given, dict):
            raise _RefusedError(400, "Bad Request")

        incoming = given.get("message_type") == "incoming"
        content = None if given.get("content") is None else str(given["content"])
        self._check(talk, content or "", incoming)
        author = talk.current.contact if incoming else self._author(request, given)

        if content and not incoming:
            content = liquid.render(content, payloads.drops(talk.current, author))

        message = talk.add(
            author,
            content,
            posted=True,
            private=given.get("private") not in _FALSE,
            content_type=given.get("content_type") or "text",
            content_attributes=self._attributes(given, talk),
            source_id=given.get("source_id"),
        )
        answer = payloads.api_message(
            message, talk.current, version=self._state.version
        )

        return answer | {k: given[k] for k in ("echo_id",) if given.get(k)}

    def _check(self, talk: Talk, content: str, incoming: bool) -> None:
        """Refuse what ``message_builder.rb`` and the database would not store."""
        recent = self._state.clock() - 60
        count = sum(message.created_at >= recent for message in talk.messages)

        if count >= self._message_limit:
            raise _RefusedError(422, FLOOD)

        if len(content) > MAX_CONTENT:
            raise _RefusedError(422, TOO_LONG)

        if "\0" in content:
            raise _RefusedError(422, NULL_BYTE)

        if incoming and talk.current.inbox.channel != "Channel::Api":
            raise _RefusedError(422, NO_INCOMING)

    def _author(self, request: Request, given: JSON) -> Agent:
        named = (given.get("sender_type"), given.get("sender_id"))

        if self._caller(request) == "bot" or named == ("AgentBot", self._state.bot.id):
            return self._state.bot

        return self._state.user

    def _attributes(self, given: JSON, talk: Talk) -> JSON:
        """What is kept of ``content_attributes``; a strange ``in_reply_to`` is not."""
        kept = given.get("content_attributes")

        if isinstance(kept, str):
            kept = from_json(kept.encode())

        if not isinstance(kept, dict):
            return {}

        if self._state.version < LONG_ATTRIBUTES:
            kept = {key: kept[key] for key in kept.keys() & SHORT_ATTRIBUTES}

        if kept.get("in_reply_to") not in [message.id for message in talk.messages]:
            kept = {key: None if key == "in_reply_to" else kept[key] for key in kept}

        return kept

    def _list_messages(self, request: Request, talk: Talk) -> JSON:
        page = _page(talk.messages, request.args)

        return payloads.api_messages(page, talk.current, version=self._state.version)

    def _conversation(self, request: Request, talk: Talk) -> JSON:
        return payloads.api_conversation(
            talk.current, talk.messages, version=self._state.version
        )

    def _profile(self, request: Request) -> JSON:
        state = self._state

        return payloads.profile(state.user, state.account, token=state.user_token)

    def _api(self, request: Request) -> JSON:
        now = time.gmtime(self._state.clock())

        return {
            "version": ".".join(map(str, self._state.version)),
            "timestamp": time.strftime("%Y-%m-%d %H:%M:%S", now),
            "queue_services": "ok",
            "data_services": "ok",
        }


def _route(request: Request) -> tuple[str | None, t.Mapping[str, int]]:
    try:
        return _ROUTES.bind_to_environ(request.environ).match()
    except HTTPException:
        return None, {}


def _response(status: int, body: JSON | str) -> Response:
    if isinstance(body, str):
        return Response(body, status, content_type="text/plain")

    return Response(
        to_json(body), status, content_type="application/json; charset=utf-8"
    )


def _page(messages: list[Message], query: t.Mapping[str, str]) -> list[Message]:
    """The part that is asked for (``app/finders/message_finder.rb``)."""
    before, after = _integer(query.get("before")), _integer(query.get("after"))

    if (query.get("filter_internal_messages") or "").strip():
        messages = [
            m for m in messages if not m.private and m.type is not MessageType.ACTIVITY
        ]

    if before is not None and after is not None:
        return [m for m in messages if after <= m.id < before][:1000]

    if before is not None:
        return [m for m in messages if m.id < before][-20:]

    if after is not None:
        return [m for m in messages if m.id > after][:100]

    return messages[-20:]


def _integer(text: str | None) -> int | None:
    """As Ruby reads it: the digits it begins with, or 0. ``None`` for a blank."""
    if not (text and text.strip()):
        return None

    match = re.match(r"\s*([+-]?\d{1,18})", text, re.ASCII)

    return int(match[1]) if match else 0
