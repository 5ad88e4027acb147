"""Prove that a delivery comes from Chatwoot. Bytes in, an error out.

The recipe is Chatwoot's ``lib/webhooks/trigger.rb`` (4.12 and later): HMAC-SHA256
over the timestamp header, a full stop and the raw body, keyed with the secret's
characters as they are shown, in hexadecimal after ``sha256=``.
"""

from __future__ import annotations

import functools
import hmac
import time
import typing as t

from flask_chatwoot.errors import SignatureError

SIGNATURE_HEADER: t.Final = "X-Chatwoot-Signature"
TIMESTAMP_HEADER: t.Final = "X-Chatwoot-Timestamp"

TOLERANCE: t.Final = 300
"""Seconds a timestamp may lie in the past or in the future."""


def sign(body: bytes, *, secret: str, timestamp: str) -> str:
    """The value of the signature header for a body.

    :param timestamp: Unix seconds as decimal text, exactly as sent in its header.
    """
    signed = _keyed(secret).copy()
    signed.update(timestamp.encode() + b".")
    signed.update(body)

    return "sha256=" + signed.hexdigest()


@functools.lru_cache(maxsize=16)
def _keyed(secret: str) -> hmac.HMAC:
    """The part of a signature that is the same for every delivery."""
    return hmac.new(secret.encode(), digestmod="sha256")


def verify(
    body: bytes,
    *,
    secrets: t.Sequence[str],
    signature: str | None,
    timestamp: str | None,
    now: float | None = None,
) -> None:
    """Return if any of the secrets signed this body a moment ago.

    :param body: The raw bytes; a body that was parsed and written again differs.
    :param secrets: More than one while a secret is being replaced.
    :param now: Unix seconds; ``None`` means the clock.
    :raises SignatureError: Missing, wrong, stale or malformed. The text names the
        cause, for tests and for the log; no answer may quote it.
    """
    if not signature or not timestamp:
        raise SignatureError("The delivery is not signed.")

    # Up to twelve plain digits: int() would also take spaces, underscores and other
    # alphabets' digits, and is slow on a header of thousands of them.
    if not (len(timestamp) <= 12 and timestamp.isascii() and timestamp.isdigit()):
        raise SignatureError("The timestamp is not a number.")

    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE:
        raise SignatureError("The delivery is too old, or one of the clocks is wrong.")

    given = signature.encode(errors="replace")

    for secret in secrets:
        wanted = sign(body, secret=secret, timestamp=timestamp).encode()

        if hmac.compare_digest(wanted, given):
            return

    raise SignatureError("The signature does not match.")
