"""What an operator reads in place of an answer."""

from __future__ import annotations

from flask_chatwoot.errors import ChatwootError
from flask_chatwoot.texts import ENGLISH, Texts


class RefusedError(ChatwootError):
    """A request of the composer is refused. The message is English, for the log.

    :ivar code: The name of the reason.
    """

    def __init__(self, code: str) -> None:
        super().__init__(ENGLISH.get(f"composer_{code}"))
        self.code = code

    def sentence(self, texts: Texts) -> str:
        """What the operator reads."""
        return texts.get(f"composer_{self.code}")
