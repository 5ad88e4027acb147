"""The endpoints. They verify, store and answer at once."""

from __future__ import annotations

import functools
import hmac
import json
import threading
import time
import typing as t
import weakref

from flask import Blueprint, Flask, Request, Response, current_app, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import (
    ClientDisconnected,
    HTTPException,
    LengthRequired,
    NotFound,
    RequestEntityTooLarge,
)

from . import signals
from .config import Config
from .copilot.plain import suggest
from .copilot.refusals import RefusedError
from .errors import (
    DatabaseError,
    DeliveryError,
    GiveUp,
    NoProviderError,
    PayloadError,
    ProviderError,
    ProviderFailedError,
    SignatureError,
    trace,
)
from .logs import logger
from .outcomes import DeliveryOutcome, Receipt
from .payloads import signature
from .payloads.events import decode
from .runtime import Runtime, current_runtime

log = logger(__name__)

blueprint = Blueprint("chatwoot", __name__)


@blueprint.post("/webhook", strict_slashes=False)  # with a slash at its end, too
def webhook() -> ResponseReturnValue:
    """Receive a delivery: verify, parse and store it, then answer."""
    runtime = current_runtime()
    # Not the proxy: each access through it costs a third of the hashing.
    delivery: Request = request._get_current_object()  # type: ignore[attr-defined]
    body = _body(delivery, runtime.config.max_body)
    _authenticate(runtime.config, delivery, body)
    receipt = runtime.receive(body)
    status = 202 if receipt.outcome is DeliveryOutcome.ACCEPTED else 200

    return Response(_acknowledgement(receipt), status, content_type="application/json")


@blueprint.post("/copilot")
def copilot() -> ResponseReturnValue:
    """A suggestion for operators. Posts nothing."""
    runtime = current_runtime()
    _authorize(runtime.config.copilot_token, "CHATWOOT_COPILOT_TOKEN")
    body = _body(request, runtime.config.max_body)

    return {"suggestion": suggest(runtime, _question(body))}


@blueprint.post("/v1/chat/completions")
def completions() -> ResponseReturnValue:
    """What Chatwoot's composer asks; 404 without CHATWOOT_COPILOT_TOKEN."""
    return _for_composer(_completed)


@blueprint.get("/v1/models")
def models() -> ResponseReturnValue:
    """What Chatwoot asks to check its key; 404 without CHATWOOT_COPILOT_TOKEN."""
    return _for_composer(_models)


@blueprint.get("/health")
def health() -> ResponseReturnValue:
    """The state of the queue, for monitoring; 404 without CHATWOOT_HEALTH_TOKEN."""
    runtime = current_runtime()

    token = runtime.config.health_token

    if token is None:
        raise NotFound

    _authorize([token], "CHATWOOT_HEALTH_TOKEN")

    try:
        report = runtime.components.health(runtime.config.health_max_age)
    except DatabaseError as error:
        log.error("health: %s", error)  # noqa: TRY400
        report = {"status": "no_database"}

    return report, 200 if report["status"] == "ok" else 503


@functools.cache
def _acknowledgement(receipt: Receipt) -> bytes:
    """The JSON for a receipt, of which there are about a dozen."""
    answer = {"status": receipt.outcome, "reason": receipt.reason}

    return json.dumps({key: value for key, value in answer.items() if value}).encode()


def _body(request: Request, limit: int) -> bytes:
    """The raw body, of which at most one byte more than the limit is read.

    :raises LengthRequired: It is chunked, and the server does not show where it ends,
        as under uWSGI: Werkzeug reads nothing then.
    """
    if _is_endless(request.environ):
        raise LengthRequired

    own = request.max_content_length
    # One more, because a chunked body is cut off there without an error.
    request.max_content_length = limit + 1 if own is None else min(limit + 1, own)
    body = request.get_data()

    if len(body) > limit:
        raise RequestEntityTooLarge

    return body


def _is_endless(environ: t.Mapping[str, t.Any]) -> bool:
    """Whether nobody says where the body ends."""
    if "wsgi.input_terminated" in environ:
        return False

    if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
        return True

    # Without a length, a body is empty in HTTP/1 only.
    is_old = environ.get("SERVER_PROTOCOL", "HTTP/1").startswith("HTTP/1")

    return not (is_old or environ.get("CONTENT_LENGTH"))


def _authenticate(config: Config, request: Request, body: bytes) -> None:
    if config.webhook_token is not None and not _same(
        request.args.get("token"), config.webhook_token
    ):
        raise SignatureError(
            "The ?token= in the URL is missing, or not that of CHATWOOT_WEBHOOK_TOKEN."
        )

    if config.webhook_secret:
        environ = request.environ  # request.headers converts names on each access
        signature.verify(
            body,
            secrets=config.webhook_secret,
            signature=environ.get(_SIGNATURE),
            timestamp=environ.get(_TIMESTAMP),
        )


class _BearerError(SignatureError):
    """The bearer token is missing or wrong."""


def _authorize(tokens: t.Sequence[str], key: str) -> None:
    """Require a bearer token, if there are any.

    :param key: The setting that they are from, for the log.
    :raises SignatureError: It is none of them.
    """
    if not tokens:
        return

    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    # Each is compared, so that the time tells nothing about which one fits.
    fits = [_same(given.strip(), token) for token in tokens]

    if scheme.lower() != "bearer" or not any(fits):
        raise _BearerError(f"The bearer token is missing, or not that of {key}.")


def _in_environ(header: str) -> str:
    """A header's key in a WSGI environment."""
    return f"HTTP_{header.upper().replace('-', '_')}"


_SIGNATURE: t.Final = _in_environ(signature.SIGNATURE_HEADER)
_TIMESTAMP: t.Final = _in_environ(signature.TIMESTAMP_HEADER)


def _same(given: str | None, wanted: str) -> bool:
    return hmac.compare_digest((given or "").encode(errors="replace"), wanted.encode())


def _question(body: bytes) -> str:
    message = decode(body).get("message")

    if not isinstance(message, str) or not message.strip():
        raise PayloadError('The body must be {"message": "…"} with some text.')

    return message


# -- the composer ----------------------------------------------------------------


def _completed(runtime: Runtime) -> dict[str, t.Any]:
    body = _body(request, runtime.config.max_body)
    from .copilot import composer  # with what only a configured app needs

    return composer.answer(runtime, body)


def _models(_: Runtime) -> dict[str, t.Any]:
    from .copilot import composer

    return composer.models(multithread=request.is_multithread)


def _for_composer(
    answer: t.Callable[[Runtime], dict[str, t.Any]],
) -> ResponseReturnValue:
    """An answer, or a sentence that Chatwoot shows to the operator.

    Never 429 or 5xx, after which Chatwoot asks three times more (the gem ruby_llm).
    """
    runtime = current_runtime()
    tokens = runtime.config.copilot_token

    try:
        if not tokens:
            return _refusal(runtime, RefusedError("disabled"), 404)

        _authorize(tokens, "CHATWOOT_COPILOT_TOKEN")

        return answer(runtime)
    except SignatureError:
        return _refusal(runtime, RefusedError("wrong_key"), 401)
    except RefusedError as error:
        return _refusal(runtime, error, 400)
    except RequestEntityTooLarge:
        return _refusal(runtime, RefusedError("too_large"), 400)
    except HTTPException:
        return _refusal(runtime, RefusedError("invalid"), 400)
    except Exception as error:  # noqa: BLE001
        log.error("the composer gets no answer: %s", trace(error))  # noqa: TRY400
        signals.report(runtime.app, "turn", error)

        return _refusal(runtime, RefusedError("failed"), 400)


def _refusal(runtime: Runtime, error: RefusedError, status: int) -> ResponseReturnValue:
    """A refusal in the shape of OpenAI's, in the operators' language."""
    from .copilot import composer

    _log_refusal(error)
    sentence = error.sentence(composer.texts_of(runtime))
    shown = {"message": sentence, "type": "invalid_request_error"}

    return {"error": {**shown, "code": error.code}}, status


# -- errors ----------------------------------------------------------------------


class RefusalLog:
    """Logs refused requests: one line per reason and minute. Thread-safe.

    The first request is logged at once. Further ones are counted, and the first one
    after the minute is logged with their number.
    """

    def __init__(self, clock: t.Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def note(self, reason: str) -> None:
        """Log or count a refused request.

        :param reason: A fixed text, which says nothing of the request's content.
        """
        now = self._clock()

        with self._lock:
            if now < self._next.get(reason, now):
                self._counts[reason] = self._counts.get(reason, 0) + 1
                return

            self._next[reason] = now + REFUSALS_EVERY
            more = self._counts.pop(reason, 0)

        log.warning("%s%s", reason, f" ({more} more since the last line)" * bool(more))


REFUSALS_EVERY: t.Final = 60.0
"""Seconds between two lines about the same reason."""

_refusals: weakref.WeakKeyDictionary[Flask, RefusalLog] = weakref.WeakKeyDictionary()


def _log_refusal(why: object) -> None:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    log_of_app = _refusals.setdefault(app, RefusalLog())
    log_of_app.note(f"a request to {request.path} was refused: {why}")


@blueprint.errorhandler(SignatureError)
def _refuse_unauthenticated(error: SignatureError) -> ResponseReturnValue:
    _log_refusal(error)

    # What is wrong, with the signature or with the token in the URL, is for the log.
    return {"error": "unauthorized"}, error.status


@blueprint.errorhandler(_BearerError)
def _refuse_bearer(error: _BearerError) -> ResponseReturnValue:
    _log_refusal(error)
    answer = {"error": "The bearer token is missing or wrong."}

    return answer, error.status, {"WWW-Authenticate": "Bearer"}


@blueprint.errorhandler(DeliveryError)
def _refuse(error: DeliveryError) -> ResponseReturnValue:
    _log_refusal(error)

    return {"error": str(error)}, error.status


@blueprint.errorhandler(RequestEntityTooLarge)
def _refuse_size(_: RequestEntityTooLarge) -> ResponseReturnValue:
    _log_refusal("The body is larger than CHATWOOT_MAX_BODY or MAX_CONTENT_LENGTH.")

    return {"error": "The body is too large."}, 413


@blueprint.errorhandler(ClientDisconnected)
def _refuse_part(_: ClientDisconnected) -> ResponseReturnValue:
    _log_refusal("The body is shorter than its length header says.")

    return {"error": "The body is incomplete."}, 400


@blueprint.errorhandler(LengthRequired)
def _refuse_chunks(_: LengthRequired) -> ResponseReturnValue:
    _log_refusal(
        "The body is chunked, or has no length, and this server does not pass its end "
        "on to the app; let a proxy before it buffer requests, or use gunicorn."
    )

    return {"error": "The length of the body is missing."}, 411


@blueprint.errorhandler(DatabaseError)
def _not_stored(_: DatabaseError) -> ResponseReturnValue:
    # 500 and not 503: Chatwoot repeats a bot's deliveries on 429 and 500 only
    # (app/jobs/agent_bots/webhook_job.rb).
    return {"error": "The delivery could not be stored; see the log."}, 500


@blueprint.errorhandler(NoProviderError)
def _no_provider(error: NoProviderError) -> ResponseReturnValue:
    return {"error": str(error)}, 503


@blueprint.errorhandler(ProviderError)
@blueprint.errorhandler(ProviderFailedError)
def _provider_failed(error: ProviderError | ProviderFailedError) -> ResponseReturnValue:
    log.error("no suggestion: %s", error)

    if isinstance(error, GiveUp):  # no mistake of the host's code
        return {"error": str(error)}, 502

    signals.report(current_app._get_current_object(), "provider", error)  # type: ignore[attr-defined]

    return {"error": "The reply provider failed; see the log."}, 502
