"""Everything this package raises.

::

    ChatwootError
    ├── ConfigError            a CHATWOOT_* key is missing or wrong
    ├── SetupError             Chatwoot cannot be set up as it was asked for
    ├── ProviderError          a reply provider cannot be registered or used
    │   └── NoProviderError    none is registered
    ├── ProviderFailedError    a reply provider raised
    ├── DeliveryError          a delivery is refused; carries the HTTP status
    │   ├── SignatureError     401
    │   └── PayloadError       400
    ├── DatabaseError             the durable inbox cannot be read or written
    │   └── LeaseLostError     another worker has taken the job over
    └── APIError               Chatwoot's API did not do what was asked
        ├── TransientError     it did nothing; try again later
        ├── PermanentError     it refused; trying again will not help
        └── UnknownError       it may or may not have done it
"""

from __future__ import annotations

import traceback
import typing as t


class ChatwootError(Exception):
    """Base of every error of this package."""


class ConfigError(ChatwootError):
    """A setting is missing or wrong. The text names the key and the remedy."""


class SetupError(ChatwootError):
    """Something in Chatwoot stands in the way. The text says what, and the remedy."""


class ProviderError(ChatwootError):
    """A reply provider has the wrong shape, is doubled, or returned no reply."""


class NoProviderError(ProviderError):
    """No reply provider is registered."""


class ProviderFailedError(ChatwootError):
    """A reply provider raised. Says where, not what: that may quote a customer."""


class DeliveryError(ChatwootError):
    """A delivery is refused. ``status`` is the HTTP answer Chatwoot gets."""

    status: t.ClassVar[int]


class SignatureError(DeliveryError):
    """The delivery cannot be shown to come from Chatwoot."""

    status = 401


class PayloadError(DeliveryError):
    """The body is not what Chatwoot sends."""

    status = 400


class DatabaseError(ChatwootError):
    """The inbox is locked, full, corrupt or out of reach."""


class LeaseLostError(DatabaseError):
    """The job was claimed by another worker; this one must let go of it."""


class APIError(ChatwootError):
    """Chatwoot's API did not do what was asked.

    :ivar kind: ``"transient"``, ``"permanent"`` or ``"unknown"``.
    :ivar status: The HTTP status, or ``None`` when no answer came.
    :ivar endpoint: Method and path, without host, query or body.
    :ivar retry_after: Seconds Chatwoot asked to wait, or ``None``.
    """

    kind: t.ClassVar[str]

    def __init__(
        self,
        message: str,
        *,
        endpoint: str,
        status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{endpoint}: {message}")
        self.endpoint = endpoint
        self.status = status
        self.retry_after = retry_after


class TransientError(APIError):
    """Chatwoot was out of reach, busy, or failed. Safe to try again later."""

    kind = "transient"


class PermanentError(APIError):
    """Chatwoot refused. The same request will be refused again."""

    kind = "permanent"


class UnknownError(APIError):
    """The request was sent and no usable answer came: it may have been obeyed."""

    kind = "unknown"


def trace(error: BaseException) -> str:
    """Where an error of foreign code comes from, without what it says.

    The text of such an error often quotes its input, which here is what a
    customer wrote, and so must not reach a log.
    """
    frames = "".join(traceback.format_tb(error.__traceback__))

    return f"{type(error).__module__}.{type(error).__qualname__}\n{frames}".rstrip()
