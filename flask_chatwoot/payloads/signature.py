"""Sign and verify deliveries.

The algorithm is that of Chatwoot's ``lib/webhooks/trigger.rb`` (4.12 and later):
HMAC-SHA256 over the timestamp header, a full stop and the raw body, in hexadecimal
after ``sha256=``. The key is the secret as Chatwoot shows it, not decoded.
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
"""The most seconds between a timestamp and now, before or after."""


def sign(body: bytes, *, secret: str, timestamp: str) -> str:
    """Return the value of the signature header for a body.

    :param timestamp: Unix seconds as decimal text, exactly as sent in its header.
    """
    signed = _keyed(secret).copy()
    signed.update(timestamp.encode() + b".")
    signed.update(body)

    return "sha256=" + signed.hexdigest()


@functools.lru_cache(maxsize=16)
def _keyed(secret: str) -> hmac.HMAC:
    """Return the state of the HMAC that is the same for every delivery."""
    return hmac.new(secret.encode(), digestmod="sha256")


def verify(
    body: bytes,
    *,
    secrets: t.Sequence[str],
    signature: str | None,
    timestamp: str | None,
    now: float | None = None,
) -> None:
    """Return if one of the secrets signed this body within the tolerance.

    :param body: The raw bytes; a body that was parsed and encoded again differs.
    :param secrets: More than one while a secret is being replaced.
    :param now: Unix seconds; ``None`` means the clock.
    :raises SignatureError: The signature or the timestamp is missing, wrong or too
        old. The message names the cause, for the log; no answer may quote it.
    """
    if not signature or not timestamp:
        raise SignatureError(
            "The delivery is not signed. Before 4.12 Chatwoot cannot sign: then set "
            "CHATWOOT_WEBHOOK_TOKEN, and no CHATWOOT_WEBHOOK_SECRET."
        )

    # Up to twelve ASCII digits: int() also accepts spaces, underscores and digits of
    # other scripts, and is slow for thousands of digits.
    if not (len(timestamp) <= 12 and timestamp.isascii() and timestamp.isdigit()):
        raise SignatureError("The timestamp is not a number.")

    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE:
        raise SignatureError("The delivery is too old, or one of the clocks is wrong.")

    given = signature.encode(errors="replace")

    for secret in secrets:
        wanted = sign(body, secret=secret, timestamp=timestamp).encode()

        if hmac.compare_digest(wanted, given):
            return

    raise SignatureError(
        "The signature does not match CHATWOOT_WEBHOOK_SECRET. Copy the secret of this "
        "webhook, or of this bot, from Chatwoot again."
    )
