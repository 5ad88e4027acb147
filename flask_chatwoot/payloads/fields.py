"""Fields of Chatwoot's JSON, and values made from them."""

import typing as t


class Upload(t.NamedTuple):
    """A file to send with a message.

    :ivar media_type: ``application/pdf`` for instance.
    """

    name: str
    content: bytes
    media_type: str

    def __repr__(self) -> str:
        return f"<Upload of {len(self.content)} bytes>"
