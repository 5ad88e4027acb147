"""Bodies of requests and of answers."""

import json
import time
import typing as t

from flask_chatwoot.errors import TooLargeError, TransientError

from .fields import Object


class Limits(t.NamedTuple):
    """Limits for one answer.

    :ivar seconds: In all.
    :ivar size: Bytes, after decompression.
    """

    seconds: float
    size: int


def read_within(limits: Limits, parts: t.Iterable[bytes], endpoint: str) -> bytes:
    """The body of an answer, of which the parts are read one after another.

    :raises TooLargeError: It is longer.
    :raises TransientError: The time is up.
    """
    deadline = time.monotonic() + limits.seconds
    body = bytearray()

    for part in parts:
        body += part

        if len(body) > limits.size:
            raise TooLargeError("the answer is too long.", endpoint=endpoint)

        if time.monotonic() > deadline:
            raise TransientError("the answer takes too long.", endpoint=endpoint)

    return bytes(body)


def encoded(body: Object, *, form: bool) -> tuple[dict[str, str], t.Any]:
    """Headers and content of a request. In a form, objects are encoded as JSON."""
    if not form:
        return {"Content-Type": "application/json"}, json.dumps(body).encode()

    return {}, {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in body.items()
    }
