"""The files of a simulated Chatwoot: what was attached, and its URLs.

As in Chatwoot, the URL in a payload needs no token and redirects to the store (Rails'
``ActiveStorage::Blobs::RedirectController`` and its ``DiskController``).
"""

from __future__ import annotations

import secrets
import typing as t
from urllib.parse import quote, unquote

from .payloads import JSON

PUBLIC: t.Final = "/rails/active_storage/blobs/redirect"
STORE: t.Final = "/rails/active_storage/disk"

IMAGES: t.Final = frozenset(
    f"image/{kind}" for kind in ("jpeg", "png", "gif", "bmp", "webp")
)
VIDEOS: t.Final = frozenset(
    f"video/{kind}" for kind in ("ogg", "mp4", "webm", "quicktime")
)


class File(t.NamedTuple):
    """A file to attach; a plain tuple works as well."""

    name: str
    content: bytes
    content_type: str = "application/octet-stream"


Attached = File | tuple[str, bytes] | tuple[str, bytes, str] | t.Mapping[str, t.Any]
"""A file; or the payload of an attachment without a file, such as a location."""


class Files:
    """All attached files.

    :ivar base_url: The simulator's URL; ``None`` before it is started.
    :ivar kept: Each file by the key of its URL.
    """

    def __init__(self) -> None:
        self.base_url: str | None = None
        self.kept: dict[str, File] = {}

    def attachment(self, given: Attached) -> t.Mapping[str, t.Any]:
        """Keep a file, and return the payload of the attachment.

        :raises RuntimeError: The simulator is not started, so it has no URL.
        """
        if isinstance(given, t.Mapping):
            return given

        if self.base_url is None:
            raise RuntimeError("Start the simulator before you attach files.")

        file, key = File(*given), secrets.token_hex(16)
        self.kept[key] = file
        kind = file_type(file.content_type)
        url = f"{self.base_url}{PUBLIC}/{key}/{_quoted(file.name)}"
        body: JSON = {
            "file_type": kind,
            "data_url": url,
            "thumb_url": url if kind == "image" else "",
            "file_size": len(file.content),
            "content_type": file.content_type,
        }

        return body

    def find(self, key: str) -> File | None:
        """The file with this key of its URL, or ``None``."""
        return self.kept.get(key)


def store_path(key: str, file: File) -> str:
    """The path to which the public URL redirects."""
    return f"{STORE}/{key}/{_quoted(file.name)}"


def file_type(content_type: str) -> str:
    """The kind of attachment (``app/helpers/file_type_helper.rb``)."""
    if content_type in IMAGES:
        return "image"

    if content_type in VIDEOS:
        return "video"

    return "audio" if "audio/" in content_type else "file"


def name_in(attachment: t.Mapping[str, t.Any]) -> str:
    """The name of an attachment in a text: its file's name, or its kind."""
    last = str(attachment.get("data_url") or "").rpartition("/")[2]

    return unquote(last) or str(attachment.get("file_type") or "image")


def _quoted(name: str) -> str:
    return quote(name, safe="") or "file"
