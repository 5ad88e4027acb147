"""What an operator reads in place of an answer."""

from __future__ import annotations

from flask_chatwoot.errors import ChatwootError
from flask_chatwoot.payloads.fields import is_visible, storable
from flask_chatwoot.texts import ENGLISH, Texts


class RefusedError(ChatwootError):
    """A request of the composer is refused. The message is English, for the log.

    :ivar code: The name of the reason.
    :ivar given: The host's own reason, for the operator alone; else empty.
    """

    def __init__(self, code: str, given: str = "") -> None:
        super().__init__(ENGLISH.get(f"composer_{code}"))
        self.code = code
        self.given = given

    def sentence(self, texts: Texts) -> str:
        """What the operator reads."""
        sentence = texts.get(f"composer_{self.code}")

        if not is_visible(self.given):
            return sentence

        return f"{sentence} {texts.get('reason', reason=storable(self.given.strip()))}"
