"""The Flask app of the page, which is separate from the host's app."""

from __future__ import annotations

import ipaddress
import json
import typing as t
from http import HTTPStatus

from flask import Blueprint, Flask, Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import BadRequest, Forbidden, HTTPException, MisdirectedRequest

from flask_chatwoot.simulator import Suggestion
from flask_chatwoot.simulator.payloads import JSON
from flask_chatwoot.texts import PAGE

from .faults import Faults
from .installation import Installation
from .session import Session
from .sessions import Sessions

MAX_BODY: t.Final = 16 * 1024 * 1024
MAX_TEXT: t.Final = 20_000

POLICY: t.Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' http://127.0.0.1:*; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)

page = Blueprint("page", __name__, static_folder="static", static_url_path="/static")


def create(sessions: Sessions, app_name: str, host: str) -> Flask:
    """Make the app.

    :param app_name: The name of the host app.
    :param host: The address or name that the server listens on.
    """
    app = Flask("flask_chatwoot.playground", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.extensions.update(sessions=sessions, app_name=app_name)
    app.register_blueprint(page)
    app.before_request(_guard(host))
    app.after_request(_protected)

    return app


# -- protection ------------------------------------------------------------------


def _guard(host: str) -> t.Callable[[], None]:
    """Refuse requests of other sites in the same browser.

    Another site can point its own name to this address (DNS rebinding), so only
    addresses and the chosen host name are accepted. It can also send forms to this
    address, so a request that changes something must come from this page.
    """

    def check() -> None:
        if not is_ours(request.host, host):
            raise MisdirectedRequest("The playground is not served under this name.")

        if request.method == "POST":
            _check_origin()

    return check


def is_ours(given: str, host: str) -> bool:
    """Whether the page is served under the name in a ``Host`` header.

    :param host: The address or name that the server listens on.
    """
    name = given.rpartition(":")[0] if given.rstrip("0123456789")[-1:] == ":" else given
    name = name.strip("[]").lower()

    if name in ("localhost", host.lower()):
        return True

    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False

    return address.is_loopback or not is_loopback(host)


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to a server that listens there."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _check_origin() -> None:
    origin = request.headers.get("Origin")

    if origin not in (None, request.host_url.rstrip("/")):
        raise Forbidden("Only the playground's own page may send this request.")

    if request.headers.get("Sec-Fetch-Site") not in (None, "same-origin", "none"):
        raise Forbidden("Only the playground's own page may send this request.")


def _protected(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cross-Origin-Resource-Policy"] = "same-origin"
    response.headers["Referrer-Policy"] = "no-referrer"
    response.headers["Cache-Control"] = "no-store"

    return response


# -- the page --------------------------------------------------------------------


@page.get("/")
def index() -> ResponseReturnValue:
    """The page itself."""
    return page.send_static_file("page.html")


@page.get("/words")
def words() -> ResponseReturnValue:
    """The texts of the page, in all languages."""
    return dict(PAGE)


@page.get("/events")
def events() -> ResponseReturnValue:
    """The state of the page, as server-sent events."""
    name = current_app.extensions["app_name"]

    return Response(_stream(_session(), name), mimetype="text/event-stream")


def _stream(session: Session, app_name: str) -> t.Iterator[str]:
    yield f"retry: 500\nevent: hello\ndata: {json.dumps({'app': app_name})}\n\n"

    for update in session.updates():
        yield f"data: {json.dumps(update)}\n\n"


@page.get("/files/<key>/<name>")
def file(key: str, name: str) -> ResponseReturnValue:
    """A file of a customer. The browser saves it and never displays it."""
    kept = _session().uploads.get(key)
    response = Response(kept.data, content_type=kept.type)
    response.headers["Content-Security-Policy"] = "sandbox"
    response.headers.set("Content-Disposition", "attachment", filename=name)

    return response


# -- the customer ----------------------------------------------------------------


@page.post("/conversations")
def begin() -> ResponseReturnValue:
    """The pre-chat form."""
    given = _given()
    number = _session().begin(
        name=_text(given, "name"),
        choice=_text(given, "choice"),
        text=_text(given, "text"),
        language=_text(given, "language"),
    )

    return {"id": number}


@page.post("/conversations/<int:number>/customer")
def say(number: int) -> ResponseReturnValue:
    """A message of the customer, with or without files."""
    given = _given()
    files = given.get("files") or []

    if not (isinstance(files, list) and all(isinstance(f, dict) for f in files)):
        raise BadRequest("files must be a list of objects.")

    kept = [_session().uploads.keep(f, request.host_url) for f in files]
    text = "" if kept and not given.get("text") else _text(given, "text")
    _session().say(number, text, kept)

    return {}


@page.post("/conversations/<int:number>/pick")
def pick(number: int) -> ResponseReturnValue:
    """The customer presses a button of a message."""
    given = _given()
    message = given.get("message")

    if not isinstance(message, int):
        raise BadRequest("message must be a number.")

    _session().pick(number, message, _text(given, "value"))

    return {}


# -- the operator ----------------------------------------------------------------


@page.post("/conversations/<int:number>/operator")
def answer(number: int) -> ResponseReturnValue:
    """A message of the operator, public or as a note."""
    given = _given()
    _session().answer(number, _text(given, "text"), private=_flag(given, "private"))

    return {}


@page.post("/conversations/<int:number>/suggestion")
def suggest(number: int) -> ResponseReturnValue:
    """A suggested reply, as Chatwoot answers its dashboard."""
    return _suggested(_session().suggest(number))


@page.post("/conversations/<int:number>/follow-up")
def follow_up(number: int) -> ResponseReturnValue:
    """Another reply, changed as the operator asks."""
    given = _given()
    context = given.get("follow_up_context")

    if not isinstance(context, dict):
        raise BadRequest("follow_up_context must be an object.")

    return _suggested(_session().follow_up(number, context, _text(given, "message")))


def _suggested(suggestion: Suggestion) -> ResponseReturnValue:
    if suggestion.error:
        return {"error": suggestion.error}, HTTPStatus.UNPROCESSABLE_ENTITY

    return {"message": suggestion.text, "follow_up_context": suggestion.context}


@page.post("/conversations/<int:number>/status")
def status(number: int) -> ResponseReturnValue:
    """Resolve or reopen."""
    _session().set_status(number, _text(_given(), "status"))

    return {}


@page.post("/conversations/<int:number>/choice")
def choice(number: int) -> ResponseReturnValue:
    """Change the custom attribute that holds the mode."""
    _session().set_choice(number, _text(_given(), "choice"))

    return {}


@page.post("/conversations/<int:number>/assignee")
def assignee(number: int) -> ResponseReturnValue:
    """Assign the operator, or remove the assignee."""
    _session().assign(number, me=_flag(_given(), "me"))

    return {}


@page.post("/conversations/<int:number>/return-to-bot")
def return_to_bot(number: int) -> ResponseReturnValue:
    """Return the conversation to the bot."""
    _session().return_to_bot(number, _text(_given(), "choice"))

    return {}


@page.post("/installation")
def install() -> ResponseReturnValue:
    """Begin anew with another version of Chatwoot, or another way in."""
    _sessions().replace(Installation.of(_given()))

    return {}


# -- traffic and faults ----------------------------------------------------------


@page.get("/traffic/<int:number>")
def bodies(number: int) -> ResponseReturnValue:
    """The bodies of a delivery or call."""
    return _session().bodies(number)


@page.post("/traffic/<int:number>/again")
def again(number: int) -> ResponseReturnValue:
    """Send a delivery again."""
    _session().send_again(number)

    return {}


@page.post("/faults")
def faults() -> ResponseReturnValue:
    """Turn faults on and off."""
    _session().set_faults(Faults.of(_given()))

    return {}


# -- reading ---------------------------------------------------------------------


def _session() -> Session:
    return _sessions().current


def _sessions() -> Sessions:
    return t.cast(Sessions, current_app.extensions["sessions"])


def _given() -> JSON:
    given = request.get_json()

    if not isinstance(given, dict):
        raise BadRequest("The body must be a JSON object.")

    return given


def _text(given: JSON, name: str) -> str:
    value = given.get(name)

    if not (isinstance(value, str) and value.strip()) or len(value) > MAX_TEXT:
        raise BadRequest(f"{name} must be text, of {MAX_TEXT} characters at most.")

    return value


def _flag(given: JSON, name: str) -> bool:
    value = given.get(name)

    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false.")

    return value


@page.app_errorhandler(HTTPException)
def _refuse(error: HTTPException) -> ResponseReturnValue:
    return {"error": error.description}, error.code or 500


@page.app_errorhandler(LookupError)
def _not_found(error: LookupError) -> ResponseReturnValue:
    return {"error": str(error)}, 404


@page.app_errorhandler(ValueError)
@page.app_errorhandler(TypeError)
def _refuse_value(error: ValueError | TypeError) -> ResponseReturnValue:
    return {"error": str(error)}, 400
