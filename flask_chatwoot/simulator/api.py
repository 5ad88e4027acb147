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
from urllib.parse import quote

from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request, Response

from . import liquid, payloads
from .deliveries import from_json, to_json
from .payloads import JSON, Agent, Message, MessageType
from .server import Silence
from .state import State, Talk, Token, random_text

MAX_CONTENT: t.Final = 150_000
MAX_ATTACHMENTS: t.Final = 15
MAX_TEXT_VALUE: t.Final = 1_500
MAX_NUMBER_VALUE: t.Final = 9_999_999_999
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
TOO_MANY_FILES: t.Final = "Validation failed: Attachments exceeded maximum allowed"
NO_UPLOAD: t.Final = "ActiveSupport::MessageVerifier::InvalidSignature"
NO_ITEMS: t.Final = (
    "Validation failed: Content attributes At least one item is required."
)
STRANGE_ITEMS: t.Final = (
    "Validation failed: Content attributes contains invalid keys for items : [{}]"
)

STATUSES: t.Final = frozenset({"open", "resolved", "pending", "snoozed"})
CONTENT_TYPES: t.Final = frozenset(
    {
        *("text", "input_text", "input_textarea", "input_email", "input_select"),
        *("cards", "form", "article", "incoming_email", "input_csat"),
        *("integrations", "sticker", "voice_call"),
    }
)
IMAGES: t.Final = frozenset(
    f"image/{kind}" for kind in ("jpeg", "png", "gif", "bmp", "webp")
)
VIDEOS: t.Final = frozenset(
    f"video/{kind}" for kind in ("ogg", "mp4", "webm", "quicktime")
)

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


Body = JSON | str | None
"""An object, plain text, or JSON's ``null``."""

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
    "toggle_status": _Endpoint("POST", f"{_TALK}/toggle_status", bots=(4, 2)),
    "toggle_typing_status": _Endpoint(
        "POST", f"{_TALK}/toggle_typing_status", bots=(4, 12)
    ),
    "custom_attributes": _Endpoint("POST", f"{_TALK}/custom_attributes", bots=(4, 2)),
    "assignments": _Endpoint("POST", f"{_TALK}/assignments", bots=(4, 2)),
    "labels": _Endpoint("GET", f"{_TALK}/labels", bots=(4, 14, 2)),
    "set_labels": _Endpoint("POST", f"{_TALK}/labels", bots=(4, 14, 2)),
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

    def __init__(self, status: int, error: str = "", **body: t.Any) -> None:
        super().__init__(status)
        self.status = status
        self.body: JSON | str = body or (error and {"error": error})


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
    ) -> tuple[int, Body]:
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
            raise _RefusedError(401, errors=[NO_LOGIN])

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
        given = _given(request)
        files = request.files.getlist("attachments[]")
        attributes = self._attributes(given, talk)
        _check_parts(given, attributes, files)
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
            attachments=tuple(_attachment(request, file) for file in files),
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
        named = (given.get("sender_type"), _id(given.get("sender_id")))

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

    def _toggle_status(self, request: Request, talk: Talk) -> JSON:
        """See ``app/controllers/api/v1/accounts/conversations_controller.rb``."""
        given = _given(request)
        wanted, bot = given.get("status"), self._caller(request) == "bot"
        success: bool | None = True

        if bot and (talk.status, wanted) == ("pending", "open"):
            self._state.hand_over(talk)
            success = None
        elif wanted:
            self._state.change(talk, **_wanted_status(given))
        else:
            other = "resolved" if talk.status == "open" else "open"
            self._state.change(talk, status=other)

        if not bot and self._state.role == "agent" and talk.status == "open":
            talk.assign(self._state.user)

        return payloads.api_status(talk.current, success=success)

    def _toggle_typing_status(self, request: Request, talk: Talk) -> str:
        """See ``app/services/conversations/typing_status_manager.rb``."""
        given = _given(request)
        status = given.get("typing_status")

        if status in ("on", "off"):
            bot = self._caller(request) == "bot"
            author = self._state.bot if bot else self._state.user
            talk.type(author, status, private=given.get("is_private") not in _FALSE)

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
            raise _RefusedError(500)

        _check_attributes(new)
        self._state.change(talk, custom_attributes=new)

        return {"custom_attributes": new}

    def _assignments(self, request: Request, talk: Talk) -> JSON | None:
        """See ``app/controllers/api/v1/accounts/conversations/assignments_controller``.

        An unknown person or team takes the conversation from whoever has it; an unknown
        bot changes nothing (``app/services/conversations/assignment_service.rb``).
        """
        given = _given(request)
        bots = self._state.version >= BOTS_ASSIGNED

        if bots and given.get("assignee_type") == "AgentBot":
            return self._assign_bot(talk, given.get("assignee_id"))

        if "assignee_id" in given:
            return self._assign_user(talk, given["assignee_id"])

        return self._assign_team(talk, given["team_id"]) if "team_id" in given else None

    def _assign_bot(self, talk: Talk, id: t.Any) -> JSON | None:
        state = self._state

        if _id(id) != state.bot.id:
            return None

        talk.assign(state.bot)

        return payloads.api_assignee(state.bot, state.account)

    def _assign_user(self, talk: Talk, id: t.Any) -> JSON | None:
        state = self._state
        people = (state.user, state.operator)
        user = next((person for person in people if person.id == _id(id)), None)
        talk.assign(user)

        if user is None:
            return None

        role = state.role if user is state.user else "agent"

        return payloads.api_assignee(user, state.account, role=role)

    def _assign_team(self, talk: Talk, id: t.Any) -> JSON | None:
        team = self._state.team if _id(id) == self._state.team.id else None
        self._state.change(talk, team=team)

        return payloads.api_team(team, self._state.account) if team else None

    def _labels(self, request: Request, talk: Talk) -> JSON:
        return {"payload": list(talk.current.labels)}

    def _set_labels(self, request: Request, talk: Talk) -> JSON:
        """Replace all labels: ``app/controllers/concerns/label_concern.rb``."""
        given = _given(request).get("labels")
        labels = [str(label).strip() for label in _list(given)]
        self._state.change(talk, labels=tuple(dict.fromkeys(filter(None, labels))))

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


def _route(request: Request) -> tuple[str | None, t.Mapping[str, int]]:
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
        raise _RefusedError(400, "Bad Request")

    return given


def _form(request: Request) -> JSON:
    """As Rack reads names: what ends in ``[]`` is a list."""
    return {
        name.removesuffix("[]"): values if name.endswith("[]") else values[-1]
        for name, values in request.form.lists()
    }


def _check_parts(given: JSON, attributes: JSON, files: t.Sequence[FileStorage]) -> None:
    """Refuse what ``message.rb`` and ``content_attribute_validator.rb`` refuse.

    A text among the attachments is the id of an upload, and here there are none.
    """
    kind = str(given.get("content_type") or "text")

    if kind not in CONTENT_TYPES:
        raise _RefusedError(422, f"'{kind}' is not a valid content_type")

    if given.get("attachments"):
        raise _RefusedError(422, NO_UPLOAD)

    if len(files) > MAX_ATTACHMENTS:
        raise _RefusedError(422, TOO_MANY_FILES)

    if kind == "input_select":
        _check_items(attributes.get("items"))


def _check_items(items: t.Any) -> None:
    known = [item for item in _list(items) if isinstance(item, dict)]

    if not known:
        raise _RefusedError(422, NO_ITEMS)

    keys = {key for item in known for key in item} - {"title", "value"}

    if keys:
        names = ", ".join(f":{key}" for key in sorted(keys))
        raise _RefusedError(422, STRANGE_ITEMS.format(names))


def _attachment(request: Request, file: FileStorage) -> JSON:
    """What is remembered of a file; its kind is that of ``file_type_helper.rb``."""
    key, name = random_text(), quote(file.filename or "file")
    url = f"{request.host_url}rails/active_storage/blobs/redirect/{key}/{name}"
    kind = _file_type(file.mimetype)

    return {
        "file_type": kind,
        "data_url": url,
        "thumb_url": url if kind == "image" else "",
        "file_size": len(file.read()),
        "content_type": file.mimetype,
    }


def _file_type(content_type: str) -> str:
    if content_type in IMAGES:
        return "image"

    if content_type in VIDEOS:
        return "video"

    return "audio" if "audio/" in content_type else "file"


def _wanted_status(given: JSON) -> JSON:
    """Fields to change; what Ruby can not read is an error of the server."""
    status, wakes = str(given["status"]), given.get("snoozed_until")

    if status not in STATUSES:
        raise _RefusedError(500)

    if wakes is None or wakes is False:
        return {"status": status}

    if not re.fullmatch(r"\d{1,11}", str(wakes), re.ASCII):
        raise _RefusedError(500)

    return {"status": status, "snoozed_until": float(wakes)}


def _check_attributes(attributes: JSON) -> None:
    """Refuse what ``jsonb_attributes_length_validator.rb`` refuses."""
    for key, value in attributes.items():
        if isinstance(value, str) and len(value) > MAX_TEXT_VALUE:
            problem = f"{key} length should be < {MAX_TEXT_VALUE}"
        elif isinstance(value, int) and value > MAX_NUMBER_VALUE:
            problem = f"{key} value maximum limit should be < {MAX_NUMBER_VALUE}"
        else:
            continue

        raise _RefusedError(
            422,
            message=f"Custom attributes {problem}",
            attributes=["custom_attributes"],
        )


def _list(value: t.Any) -> list[t.Any]:
    """The value if it is a list, else none at all."""
    return value if isinstance(value, list) else []


def _id(value: t.Any) -> int | None:
    return None if value is None else _integer(str(value))


def _response(status: int, body: Body) -> Response:
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
