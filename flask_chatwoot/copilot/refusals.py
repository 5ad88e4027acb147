"""What an operator reads in place of an answer."""

from __future__ import annotations

from flask_chatwoot.errors import ChatwootError


class RefusedError(ChatwootError):
    """A request of the composer is refused. The message is for the operator.

    :ivar code: A short name of the reason.
    """

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code
