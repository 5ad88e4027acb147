"""The Application API of a pretended Chatwoot.

Who may call what, what is kept of a request, what can go wrong. A new endpoint is a
line in ``_ENDPOINTS`` and a method of :class:`API` with the same name and a leading
underscore; it gets the request and, if its path names one, the conversation or file.
"""

from __future__ import annotations

import os
import re
import time
import typing as t
from dataclasses import dataclass, field
from enum import StrEnum

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response

from . import admin, files, liquid, payloads
from .deliveries import Post, from_json, to_json
from .files import File
from .payloads import JSON, Agent, Message, MessageType
from .redaction import redacted
from .refusals import (
    RefusedError,
    check_attributes,
    check_parts,
    listed,
)
from .server import Silence
from .state import State, Talk, Token

MAX_CONTENT: t.Final = 150_000
BOTS_ASSIGNED: t.Final = (4, 8)
MERGES: t.Final = (4, 17)
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

STATUSES: t.Final = frozenset({"open", "resolved", "pending", "snoozed"})
PRIORITIES: t.Final = frozenset({"low", "medium", "high", "urgent"})
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
    """One request to the API, listed when its answer is about to leave.

    Tokens and secrets are hidden wherever they stand; headers are not kept.

    :ivar endpoint: One of :data:`ENDPOINTS`, or ``None`` for an unknown address.
    :ivar status: ``None`` when a fault keeps the answer back.
    :ivar query: What stood behind the question mark.
    :ivar json: The body sent. Of a form its fields, and of files their name, type and
        size. ``None`` if there was neither JSON nor a form.
    :ivar answer: The body answered, JSON or text; ``None`` if it was empty, a file or
        kept back.
    :ivar token: Whose token came with it; ``None`` for none or a wrong one.
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
    token: Token | None
    began: float = field(repr=False)
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
    "toggle_status": _Endpoint("POST", f"{_TALK}/toggle_status", bots=(4, 2)),
    "toggle_priority": _Endpoint("POST", f"{_TALK}/toggle_priority", bots=(4, 2)),
    "toggle_typing_status": _Endpoint(
        "POST", f"{_TALK}/toggle_typing_status", bots=(4, 12)
    ),
    "custom_attributes": _Endpoint("POST", f"{_TALK}/custom_attributes", bots=(4, 2)),
    "assignments": _Endpoint("POST", f"{_TALK}/assignments", bots=(4, 2)),
    "labels": _Endpoint("GET", f"{_TALK}/labels", bots=(4, 14, 2)),
    "set_labels": _Endpoint("POST", f"{_TALK}/labels", bots=(4, 14, 2)),
    "profile": _Endpoint("GET", "/api/v1/profile"),
    "api": _Endpoint("GET", "/api", login=False),
    "file": _Endpoint("GET", f"{files.PUBLIC}/<key>/<path:name>", login=False),
    "stored_file": _Endpoint("GET", f"{files.STORE}/<key>/<path:name>", login=False),
    **{name: _Endpoint(*place) for name, place in admin.ENDPOINTS.items()},
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


class API:
    """Answers requests, one at a time, and lists them.

    :ivar plans: Faults to come, the next one first.
    """

    def __init__(self, state: State, post: Post, *, message_limit: int) -> None:
        self.office = admin.Office(state, post)
        self.calls: list[Call] = []
        self.plans: list[Plan] = []
        self._state = state
        self._message_limit = message_limit

    def take(self, request: Request) -> Response | Silence:
        """Answer one request and list it. Safe between threads."""
        request.get_data()  # before the lock: the client may be slow
        began = time.monotonic()

        with request, self._state.changing():  # leaving closes files of a form
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
                    query=redacted(request.args.to_dict()),
                    json=redacted(_sent(request)),
                    answer=None if silence else _kept(body),
                    token=self._caller(request),
                    began=began,
                    seconds=time.monotonic() - began,
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
        parts: t.Mapping[str, t.Any],
        fault: Fault | None,
    ) -> tuple[int, Body]:
        if name is None or fault in _UNDONE:
            return 404, ""

        if fault and fault in _ANSWERS:
            return _ANSWERS[fault]

        try:
            self._admit(request, _ENDPOINTS[name], parts)

            if name in admin.ENDPOINTS:
                ids = {key: parts[key] for key in parts if key == "id"}
                given = {**request.args, **_given(request)}
                return self.office.answer(name, given, **ids)

            body = getattr(self, f"_{name}")(request, **self._found(parts))
        except RefusedError as error:
            return error.status, error.body

        return body.status_code if isinstance(body, Response) else 200, body

    # Who may

    def _caller(self, request: Request) -> Token | None:
        tokens: dict[str, Token] = {
            self._state.user_token: "user",
            **dict.fromkeys(self.office.bot_tokens, "bot"),
        }

        return tokens.get(request.headers.get("Api-Access-Token", ""))

    def _admit(
        self, request: Request, endpoint: _Endpoint, parts: t.Mapping[str, t.Any]
    ) -> None:
        """Let in or refuse, as ``access_token_auth_helper.rb`` does."""
        if not endpoint.login:
            return

        if not request.headers.get("Api-Access-Token"):
            raise RefusedError(401, errors=[NO_LOGIN])

        bot = self._bot_calls(request, endpoint)

        if parts.get("account_id", self._state.account.id) != self._state.account.id:
            who = "Bot is" if bot else "You are"
            raise RefusedError(401, f"{who} {NO_ACCOUNT}")

    def _bot_calls(self, request: Request, endpoint: _Endpoint) -> bool:
        caller = self._caller(request)

        if caller is None:
            raise RefusedError(401, BAD_TOKEN)

        if caller == "user":
            return False

        if endpoint.bots is None or self._state.version < endpoint.bots:
            raise RefusedError(401, NO_BOTS)

        return True

    def _actor(self, request: Request) -> Agent:
        """Whom the token belongs to. The caller was let in."""
        bot = self._caller(request) == "bot"

        return self._state.bot if bot else self._state.user

    def _found(self, parts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
        """What the path names: a conversation or a file."""
        if "key" in parts:
            return {"key": parts["key"]}

        if "display_id" not in parts:
            return {}

        talk = self._state.talks.get(parts["display_id"])

        if talk is None:
            raise RefusedError(404, NOT_FOUND)

        return {"talk": talk}

    # Endpoints

    def _create_message(self, request: Request, talk: Talk) -> JSON:
        given = _given(request)
        uploads = request.files.getlist("attachments[]")
        attributes = self._attributes(given, talk)
        check_parts(given, attributes, len(uploads))
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
            content_attributes=attributes,
            attachments=[
                File(upload.filename or "file", upload.read(), upload.mimetype)
                for upload in uploads
            ],
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
            raise RefusedError(422, FLOOD)

        if len(content) > MAX_CONTENT:
            raise RefusedError(422, TOO_LONG)

        if "\0" in content:
            raise RefusedError(422, NULL_BYTE)

        if incoming and talk.current.inbox.channel != "Channel::Api":
            raise RefusedError(422, NO_INCOMING)

    def _author(self, request: Request, given: JSON) -> Agent:
        named = (given.get("sender_type"), _id(given.get("sender_id")))

        if named == ("AgentBot", self._state.bot.id):
            return self._state.bot

        return self._actor(request)

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

    def _toggle_status(self, request: Request, talk: Talk) -> JSON:
        """See ``app/controllers/api/v1/accounts/conversations_controller.rb``."""
        given = _given(request)
        wanted, by = given.get("status"), self._actor(request)
        success: bool | None = True

        if by.bot and (talk.status, wanted) == ("pending", "open"):
            self._state.hand_over(talk, by)
            success = None
        elif wanted:
            self._state.change(talk, by=by, **_wanted_status(given))
        else:
            other = "resolved" if talk.status == "open" else "open"
            self._state.change(talk, by=by, status=other)

        if not by.bot and self._state.role == "agent" and talk.status == "open":
            talk.assign(by, by=by)

        return payloads.api_status(talk.current, success=success)

    def _toggle_priority(self, request: Request, talk: Talk) -> str:
        """Set it, or take it away; what Ruby does not know is the server's error."""
        priority = _given(request).get("priority") or None

        if priority is not None and priority not in PRIORITIES:
            raise RefusedError(500)

        self._state.change(talk, by=self._actor(request), priority=priority)

        return ""

    def _toggle_typing_status(self, request: Request, talk: Talk) -> str:
        """See ``app/services/conversations/typing_status_manager.rb``."""
        given = _given(request)
        status = given.get("typing_status")

        if status in ("on", "off"):
            private = given.get("is_private") not in _FALSE
            talk.type(self._actor(request), status, private=private)

        return ""

    def _custom_attributes(self, request: Request, talk: Talk) -> JSON:
        """Replace all of them, or with ``merge`` those that are named.

        Merging came after 4.16.2; that 4.17.0 has it is not verified (``merge`` in
        ``app/controllers/concerns/conversation_custom_attributes_concern.rb``).
        """
        given = _given(request)
        new = given.get("custom_attributes")
        new = new if isinstance(new, dict) else None

        if self._state.version >= MERGES and given.get("merge") not in _FALSE:
            new = {**talk.current.custom_attributes, **(new or {})}

        if new is None:
            raise RefusedError(500)

        check_attributes(new)
        self._state.change(talk, by=self._actor(request), custom_attributes=new)

        return {"custom_attributes": new}

    def _assignments(self, request: Request, talk: Talk) -> JSON | None:
        """See ``app/controllers/api/v1/accounts/conversations/assignments_controller``.

        An unknown person or team takes the conversation from whoever has it; an unknown
        bot changes nothing (``app/services/conversations/assignment_service.rb``).
        """
        given, by = _given(request), self._actor(request)
        bots = self._state.version >= BOTS_ASSIGNED

        if bots and given.get("assignee_type") == "AgentBot":
            return self._assign_bot(talk, by, given.get("assignee_id"))

        if "assignee_id" in given:
            return self._assign_user(talk, by, given["assignee_id"])

        if "team_id" in given:
            return self._assign_team(talk, by, given["team_id"])

        return None

    def _assign_bot(self, talk: Talk, by: Agent, id: t.Any) -> JSON | None:
        state = self._state

        if _id(id) != state.bot.id:
            return None

        talk.assign(state.bot, by=by)

        return payloads.api_assignee(state.bot, state.account)

    def _assign_user(self, talk: Talk, by: Agent, id: t.Any) -> JSON | None:
        state = self._state
        people = (state.user, state.operator)
        user = next((person for person in people if person.id == _id(id)), None)
        talk.assign(user, by=by)

        if user is None:
            return None

        role = state.role if user is state.user else "agent"

        return payloads.api_assignee(user, state.account, role=role)

    def _assign_team(self, talk: Talk, by: Agent, id: t.Any) -> JSON | None:
        team = self._state.team if _id(id) == self._state.team.id else None
        self._state.change(talk, by=by, team=team)

        return payloads.api_team(team, self._state.account) if team else None

    def _labels(self, request: Request, talk: Talk) -> JSON:
        return {"payload": list(talk.current.labels)}

    def _set_labels(self, request: Request, talk: Talk) -> JSON:
        """Replace all labels: ``app/controllers/concerns/label_concern.rb``."""
        given = _given(request).get("labels")
        labels = [str(label).strip() for label in listed(given)]
        kept = tuple(dict.fromkeys(filter(None, labels)))
        self._state.change(talk, by=self._actor(request), labels=kept)

        return self._labels(request, talk)

    def _profile(self, request: Request) -> JSON:
        state = self._state

        return payloads.profile(
            state.user, state.account, token=state.user_token, role=state.role
        )

    def _api(self, request: Request) -> JSON:
        now = time.gmtime(self._state.clock())

        return {
            "version": ".".join(map(str, self._state.version)),
            "timestamp": time.strftime("%Y-%m-%d %H:%M:%S", now),
            "queue_services": "ok",
            "data_services": "ok",
        }

    def _file(self, request: Request, key: str) -> Response:
        path = files.store_path(key, self._kept_file(key))

        return redirect(request.host_url.rstrip("/") + path)

    def _stored_file(self, request: Request, key: str) -> Response:
        file = self._kept_file(key)

        return Response(file.content, content_type=file.content_type)

    def _kept_file(self, key: str) -> File:
        file = self._state.files.find(key)

        if file is None:
            raise RefusedError(404)

        return file


def _route(request: Request) -> tuple[str | None, t.Mapping[str, t.Any]]:
    try:
        return _ROUTES.bind_to_environ(request.environ).match()
    except HTTPException:
        return None, {}


def _given(request: Request) -> JSON:
    """The parameters, be they JSON or a form. No body is no parameters."""
    if request.mimetype == "multipart/form-data":
        return _form(request)

    given = from_json(request.get_data() or b"{}")

    if not isinstance(given, dict):
        raise RefusedError(400, "Bad Request")

    return given


def _form(request: Request) -> JSON:
    """As Rack reads names: what ends in ``[]`` is a list."""
    return {
        name.removesuffix("[]"): values if name.endswith("[]") else values[-1]
        for name, values in request.form.lists()
    }


def _sent(request: Request) -> t.Any:
    """What is worth to be kept of a body, without the content of files."""
    if request.mimetype != "multipart/form-data":
        return from_json(request.get_data())

    uploads = {
        name: [
            {
                "name": upload.filename,
                "content_type": upload.mimetype,
                "size": upload.stream.seek(0, os.SEEK_END),
            }
            for upload in uploads
        ]
        for name, uploads in request.files.lists()
    }

    return {**_form(request), **uploads}


def _kept(body: Body) -> t.Any:
    return redacted(body) or None if isinstance(body, dict | str) else None


def _wanted_status(given: JSON) -> JSON:
    """Fields to change; what Ruby can not read is an error of the server."""
    status, wakes = str(given["status"]), given.get("snoozed_until")

    if status not in STATUSES:
        raise RefusedError(500)

    if wakes is None or wakes is False:
        return {"status": status}

    if not re.fullmatch(r"\d{1,11}", str(wakes), re.ASCII):
        raise RefusedError(500)

    return {"status": status, "snoozed_until": float(wakes)}


def _id(value: t.Any) -> int | None:
    return None if value is None else _integer(str(value))


def _response(status: int, body: Body) -> Response:
    if isinstance(body, Response):
        return body

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
