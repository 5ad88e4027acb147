"""The exceptions of this package.

::

    ChatwootError
    ├── ConfigError            a CHATWOOT_* key is missing or wrong
    ├── SetupError             Chatwoot cannot be set up as requested
    ├── PolicyError            a policy returned no decision
    ├── ProviderError          a reply provider cannot be registered or used
    │   ├── NoProviderError    none is registered
    │   └── GiveUp             a reply provider raises it: no attempt can succeed
    ├── ProviderFailedError    a reply provider raised an exception
    ├── DeliveryError          a delivery is refused; carries the HTTP status
    │   ├── SignatureError     401
    │   └── PayloadError       400
    ├── DatabaseError          the database cannot be read or written
    │   ├── LeaseLostError     another worker has claimed the job
    │   └── UnusableError      another account or release has it
    │       └── MovedError     its rows are in another database
    └── APIError               a call of Chatwoot's API failed
        ├── TransientError     Chatwoot did not obey; a retry may succeed
        │   └── TooLargeError  the answer is longer than is wanted
        ├── PermanentError     Chatwoot refused; a retry cannot succeed
        └── UnknownError       Chatwoot may or may not have obeyed
"""

from __future__ import annotations

import sys
import traceback
import types
import typing as t


class ChatwootError(Exception):
    """Base of every error of this package."""


class ConfigError(ChatwootError):
    """A setting is missing or wrong. The message names the key and the remedy."""


class SetupError(ChatwootError):
    """Chatwoot cannot be set up. The message names the reason and the remedy."""


class PolicyError(ChatwootError):
    """A policy returned something else than a decision."""


class ProviderError(ChatwootError):
    """A provider cannot be called, is registered twice, or returned no reply."""


class NoProviderError(ProviderError):
    """No reply provider is registered."""


class GiveUp(ProviderError):  # noqa: N818 - a host says: raise GiveUp
    """A reply provider raises it where another attempt cannot succeed.

    The turn is then given up as after the last attempt. For a suggestion, and in a
    completion provider, the operator who asks is told.

    :param reason: For operators, in the note or in place of the text: a text, or an
        error that has one. It is in no log.
    """

    reason: str | None = None

    def __init__(self, reason: object = None) -> None:
        super().__init__()
        self.reason = None if reason is None else str(reason)

    # For the log, also of a subclass whose constructor has arguments of its own.
    def __str__(self) -> str:
        return "The reply provider gave up."


class ProviderFailedError(ChatwootError):
    """A reply provider raised an exception, which is the ``__cause__``.

    The message has the place but not the exception's text, which may quote a customer.
    """


class DeliveryError(ChatwootError):
    """A delivery is refused. ``status`` is the HTTP status of the answer."""

    status: t.ClassVar[int]


class SignatureError(DeliveryError):
    """The signature of a delivery is missing, wrong or too old."""

    status = 401


class PayloadError(DeliveryError):
    """The body is not one that Chatwoot sends."""

    status = 400


class DatabaseError(ChatwootError):
    """The database is locked, full, corrupt or unreachable."""


class LeaseLostError(DatabaseError):
    """Another worker has claimed the job; this worker must not change it."""


class UnusableError(DatabaseError):
    """It is not the database of this account and release: no retry can succeed."""


class MovedError(UnusableError):
    """The rows of a file are in PostgreSQL now. The message names the place."""


class APIError(ChatwootError):
    """A call of Chatwoot's API failed.

    :ivar kind: ``"transient"``, ``"permanent"`` or ``"unknown"``.
    :ivar status: The HTTP status, or ``None`` if there was no answer.
    :ivar endpoint: Method and path, without host, query or body.
    :ivar retry_after: Seconds from the header of that name, or ``None``.
    :ivar bad_token: Chatwoot does not know the token, or got none; false if the token
        lacks a right, for which Chatwoot has the same status 401.
    """

    kind: t.ClassVar[str]

    def __init__(
        self,
        message: str,
        *,
        endpoint: str,
        status: int | None = None,
        retry_after: float | None = None,
        bad_token: bool = False,
    ) -> None:
        super().__init__(f"{endpoint}: {message}")
        self.endpoint = endpoint
        self.status = status
        self.retry_after = retry_after
        self.bad_token = bad_token

    @property
    def lacks_right(self) -> bool:
        """Whether Chatwoot knows the token, which may not do this, as some bots'."""
        return self.kind == "permanent" and self.status == 401 and not self.bad_token


class TransientError(APIError):
    """Chatwoot was unreachable or busy, or something else answered in its place.

    It is safe to retry later.
    """

    kind = "transient"


class TooLargeError(TransientError):
    """The answer is longer than the caller wants to read."""


class PermanentError(APIError):
    """Chatwoot itself refused the request, and would refuse a retry.

    With one exception: a 401 may pass, when a token is being replaced.
    """

    kind = "permanent"


class UnknownError(APIError):
    """The request was sent, and no answer shows that Chatwoot did not obey."""

    kind = "unknown"


def trace(error: BaseException) -> str:
    """Return the class and the place of a host's error, in one line without its text.

    The text often quotes its input, here the words of a customer, which must not be
    logged. So may the name of a file, such as a template's: only frames of imported
    modules are named.
    """
    frames = traceback.walk_tb(error.__traceback__)
    places = [f"{name}:{line} in {code.co_name}" for name, code, line in _known(frames)]

    if len(places) > 2 * _PLACES:  # a recursion has a thousand
        places[_PLACES:-_PLACES] = ["…"]

    return " at ".join([_name(type(error)), *filter(None, [" > ".join(places)])])


def described(error: BaseException) -> str:
    """What may be logged of an error: its text if it is ours, else its place."""
    return str(error) if isinstance(error, ChatwootError) else trace(error)


def name_of(function: t.Any) -> str:
    """The name of a host's function, or of the class of an object in its place."""
    return getattr(function, "__qualname__", None) or type(function).__qualname__


_PLACES: t.Final = 4
"""Outer places that are named, and inner ones."""


def _known(
    frames: t.Iterable[tuple[types.FrameType, int]],
) -> t.Iterator[tuple[str, types.CodeType, int]]:
    for frame, line in frames:
        name = frame.f_globals.get("__name__")
        module = sys.modules.get(name) if isinstance(name, str) else None

        if getattr(module, "__dict__", None) is frame.f_globals:
            yield str(name), frame.f_code, line


def _name(kind: type[BaseException]) -> str:
    is_short = kind.__module__ == "builtins" or kind.__module__ not in sys.modules

    return kind.__qualname__ if is_short else f"{kind.__module__}.{kind.__qualname__}"
