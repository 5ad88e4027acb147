"""The endpoints. They verify, store and answer at once."""

from __future__ import annotations

import functools
import hmac
import json
import logging
import typing as t

from flask import Blueprint, Request, Response, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import NotFound, RequestEntityTooLarge

from .config import Config
from .copilot import suggest
from .errors import (
    DatabaseError,
    DeliveryError,
    NoProviderError,
    PayloadError,
    ProviderError,
    ProviderFailedError,
    SignatureError,
)
from .ingest import Receipt
from .outcomes import DeliveryOutcome
from .payloads import signature
from .payloads.events import decode
from .runtime import current_runtime

log = logging.getLogger(__name__)

blueprint = Blueprint("chatwoot", __name__)


@blueprint.post("/webhook")
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
    _authorize(runtime.config.copilot_token)
    body = _body(request, runtime.config.max_body)

    return {"suggestion": suggest(runtime, _question(body))}


@blueprint.get("/health")
def health() -> ResponseReturnValue:
    """The state of the queue, for monitoring; 404 without CHATWOOT_HEALTH_TOKEN."""
    runtime = current_runtime()

    if runtime.config.health_token is None:
        raise NotFound

    _authorize(runtime.config.health_token)

    report = runtime.components.health(runtime.config.health_max_age)

    return report, 200 if report["status"] == "ok" else 503


@functools.cache
def _acknowledgement(receipt: Receipt) -> bytes:
    """The JSON for a receipt, of which there are about a dozen."""
    answer = {"status": receipt.outcome, "reason": receipt.reason}

    return json.dumps({key: value for key, value in answer.items() if value}).encode()


def _body(request: Request, limit: int) -> bytes:
    """The raw body, of which at most one byte more than the limit is read."""
    own = request.max_content_length
    # One more, because a chunked body is cut off there without an error.
    request.max_content_length = limit + 1 if own is None else min(limit + 1, own)
    body = request.get_data()

    if len(body) > limit:
        raise RequestEntityTooLarge

    return body


def _authenticate(config: Config, request: Request, body: bytes) -> None:
    if config.webhook_token is not None and not _same(
        request.args.get("token"), config.webhook_token
    ):
        raise SignatureError("The token in the URL is missing or wrong.")

    if config.webhook_secret:
        environ = request.environ  # request.headers converts names on each access
        signature.verify(
            body,
            secrets=config.webhook_secret,
            signature=environ.get(_SIGNATURE),
            timestamp=environ.get(_TIMESTAMP),
        )


def _authorize(token: str | None) -> None:
    if token is None:
        return

    scheme, _, given = request.headers.get("Authorization", "").partition(" ")

    if scheme.lower() != "bearer" or not _same(given.strip(), token):
        raise SignatureError("The bearer token is missing or wrong.")


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


# -- errors ----------------------------------------------------------------------


@blueprint.errorhandler(SignatureError)
def _refuse_unauthenticated(error: SignatureError) -> ResponseReturnValue:
    log.warning("a request to %s was refused: %s", request.path, error)

    return {"error": "unauthorized"}, error.status


@blueprint.errorhandler(DeliveryError)
def _refuse(error: DeliveryError) -> ResponseReturnValue:
    log.warning("a request to %s was refused: %s", request.path, error)

    return {"error": str(error)}, error.status


@blueprint.errorhandler(RequestEntityTooLarge)
def _refuse_size(_: RequestEntityTooLarge) -> ResponseReturnValue:
    return {"error": "The body is too large."}, 413


@blueprint.errorhandler(DatabaseError)
def _not_stored(error: DatabaseError) -> ResponseReturnValue:
    # 500 and not 503: Chatwoot repeats a bot's deliveries on 429 and 500 only
    # (app/jobs/agent_bots/webhook_job.rb).
    log.error("a delivery was not stored: %s", error)

    return {"error": "The delivery could not be stored; see the log."}, 500


@blueprint.errorhandler(NoProviderError)
def _no_provider(error: NoProviderError) -> ResponseReturnValue:
    return {"error": str(error)}, 503


@blueprint.errorhandler(ProviderError)
@blueprint.errorhandler(ProviderFailedError)
def _provider_failed(error: ProviderError | ProviderFailedError) -> ResponseReturnValue:
    log.error("no suggestion: %s", error)

    return {"error": "The reply provider failed; see the log."}, 502
