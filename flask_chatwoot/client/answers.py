"""What an answer, or none, means: its JSON, or an error."""

from __future__ import annotations

import json
import ssl
import typing as t

import requests
from urllib3 import exceptions as urllib3_errors

from flask_chatwoot.errors import (
    APIError,
    TooLargeError,
    TransientError,
    UnknownError,
)
from flask_chatwoot.payloads.refusals import origin_of, refusal

from .connections import Answer, AnswerTooLongError, Call


class Request(t.NamedTuple):
    """A request, as far as the meaning of its answer depends on it.

    :ivar creates: It creates something with each repetition: if it is unknown whether
        Chatwoot obeyed, the error must say so.
    """

    method: str
    path: str
    creates: bool = False

    @property
    def endpoint(self) -> str:
        """What errors name."""
        return f"{self.method} {self.path}"


def read(answer: Answer, request: Request, *, anything: bool, token_key: str) -> t.Any:
    """Decode an answer: a JSON object, or any JSON or nothing with ``anything``.

    :param token_key: The setting that the token is from, for errors.

    :raises APIError: It is a refusal, or not one of Chatwoot's.
    """
    if not 200 <= answer.status < 300:
        raise refusal(
            answer.status,
            answer.headers,
            answer.body,
            endpoint=request.endpoint,
            creates=request.creates,
            token_key=token_key,
        )

    if anything and not answer.body.strip():
        return None

    try:
        decoded = json.loads(answer.body)
    except (ValueError, RecursionError):
        anything, decoded = False, None

    if not anything and not isinstance(decoded, dict):
        raise not_chatwoot(request, answer.status)

    return decoded


def not_chatwoot(request: Request, status: int = 200) -> APIError:
    """The error of an answer that says yes and is none of Chatwoot's.

    A maintenance page, or another program: that may pass, so it is not permanent.
    """
    kind = UnknownError if request.creates else TransientError

    return kind(_NOT_CHATWOOT, endpoint=request.endpoint, status=status)


_NOT_CHATWOOT: t.Final = (
    "the answer is not one of Chatwoot's; check that CHATWOOT_BASE_URL is the address "
    "of the Chatwoot server."
)


def no_answer(
    error: Exception, request: Request, call: Call, base_url: str
) -> APIError:
    """Return the error of a request without an answer that can be read.

    It names only the exception's class, because the exception's text may contain the
    password of a proxy.
    """
    kind, endpoint = type(error).__name__, request.endpoint
    where = origin_of(base_url) or "CHATWOOT_BASE_URL"

    if not call.sent and _never_sent(error):
        return TransientError(_unsent(error, where), endpoint=endpoint)

    if request.method == "GET" and isinstance(error, AnswerTooLongError):
        return TooLargeError("the answer is too long.", endpoint=endpoint)

    see = "see its log, and CHATWOOT_TIMEOUT."

    if request.method == "GET":
        return TransientError(
            f"no answer from {where} ({kind}); {see}", endpoint=endpoint
        )

    return UnknownError(
        f"the request was sent to {where} and no answer came ({kind}); {see}",
        endpoint=endpoint,
    )


def _unsent(error: Exception, where: str) -> str:
    """What is wrong with a request that was not sent, and what to do."""
    kind = type(error).__name__

    if not _is_of_requests(error):
        return (
            f"it cannot be sent to {where} ({kind}); check CHATWOOT_BASE_URL, the "
            "token, and REQUESTS_CA_BUNDLE."
        )

    if isinstance(error, requests.exceptions.SSLError):
        return (
            f"no connection to {where} ({kind}); its certificate is not trusted, and "
            "flask chatwoot doctor says why."
        )

    return (
        f"no connection to {where} ({kind}); check CHATWOOT_BASE_URL, whether this "
        "machine may connect to it, and HTTPS_PROXY."
    )


def _is_of_requests(error: Exception) -> bool:
    return isinstance(error, requests.RequestException)


def _never_sent(error: Exception) -> bool:
    """Whether the request did not reach Chatwoot, as far as the exception tells.

    A ``ProxyError`` does not tell: urllib3 also raises it when a proxy breaks the
    connection on which the request was sent. :attr:`.Call.sent` tells that.
    """
    if not _is_of_requests(error):
        return True

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
