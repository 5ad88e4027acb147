"""The files of a pretended Chatwoot: what was attached, and where it can be fetched.

As in Chatwoot, the address in a payload needs no token and answers with a redirect to
the store (Rails' ``ActiveStorage::Blobs::RedirectController`` and its
``DiskController``).
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
    """A file to attach; a plain tuple does as well."""

    name: str
    content: bytes
    content_type: str = "application/octet-stream"


Attached = File | tuple[str, bytes] | tuple[str, bytes, str] | t.Mapping[str, t.Any]
"""A file; or what a payload says of one, for what has no file, such as a location."""


class Files:
    """Everything attached so far.

    :ivar base_url: Where the simulator listens; ``None`` before it does.
    """

    def __init__(self) -> None:
        self.base_url: str | None = None
        self._kept: dict[str, File] = {}

    def attachment(self, given: Attached) -> t.Mapping[str, t.Any]:
        """Keep a file, and tell what a payload says of it.

        :raises RuntimeError: Nobody could fetch it: the simulator is not started.
        """
        if isinstance(given, t.Mapping):
            return given

        if self.base_url is None:
            raise RuntimeError("Start the simulator before files are attached.")

        file, key = File(*given), secrets.token_hex(16)
        self._kept[key] = file
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
        """The file with this key, as its address has it."""
        return self._kept.get(key)


def store_path(key: str, file: File) -> str:
    """Where the redirect leads."""
    return f"{STORE}/{key}/{_quoted(file.name)}"


def file_type(content_type: str) -> str:
    """What kind of attachment it is (``app/helpers/file_type_helper.rb``)."""
    if content_type in IMAGES:
        return "image"

    if content_type in VIDEOS:
        return "video"

    return "audio" if "audio/" in content_type else "file"


def name_in(attachment: t.Mapping[str, t.Any]) -> str:
    """How to call an attachment in a text: its file's name, or its kind."""
    last = str(attachment.get("data_url") or "").rpartition("/")[2]

    return unquote(last) or str(attachment.get("file_type") or "image")


def _quoted(name: str) -> str:
    return quote(name, safe="") or "file"
