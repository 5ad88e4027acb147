"""The files that customers send, kept in memory and served to the page and the app."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import threading
import typing as t
from urllib.parse import quote

from flask_chatwoot.simulator.payloads import JSON


class UploadedFile(t.NamedTuple):
    """One file.

    :ivar type: Its media type, as the browser sent it.
    """

    name: str
    type: str
    data: bytes


class Uploads:
    """All files. Thread-safe.

    :ivar files: Each file by the key of its URL.
    """

    def __init__(self, files: t.Mapping[str, UploadedFile] | None = None) -> None:
        self.files: dict[str, UploadedFile] = dict(files or {})
        self._lock = threading.Lock()

    def keep(self, given: JSON, address: str) -> JSON:
        """Keep a file, and describe it as an attachment of a message.

        :param given: ``name``, ``type`` and in Base64 ``data``.
        :param address: Where the page is served, with a slash at the end.
        :raises ValueError: A part is missing or not valid.
        :raises TypeError: A part is not text.
        """
        file = _upload(given)
        key = secrets.token_urlsafe(12)

        with self._lock:
            self.files[key] = file

        kind = _kind(file.type)
        url = f"{address}files/{key}/{quote(file.name, safe='')}"

        return {
            "file_type": kind,
            "data_url": url,
            "thumb_url": url if kind == "image" else "",
            "file_size": len(file.data),
            "content_type": file.type,
        }

    def get(self, key: str) -> UploadedFile:
        """A file that was kept.

        :raises LookupError: There is none with this key.
        """
        with self._lock:
            if key in self.files:
                return self.files[key]

        raise LookupError("There is no such file.")


def _upload(given: JSON) -> UploadedFile:
    name, kind, data = (given.get(part) for part in ("name", "type", "data"))

    if not (isinstance(name, str) and isinstance(kind, str) and isinstance(data, str)):
        raise TypeError("A file must have a name, a type and data.")

    if not re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind, re.ASCII):
        kind = "application/octet-stream"

    try:
        content = base64.b64decode(data, validate=True)
    except binascii.Error:
        raise ValueError("The data of a file must be Base64.") from None

    return UploadedFile(name.replace("/", "_") or "file", kind, content)


def _kind(media_type: str) -> str:
    """Chatwoot's kind of attachment (``app/helpers/file_type_helper.rb``)."""
    kind, _, format = media_type.partition("/")

    # An SVG may contain a script, so Chatwoot does not display it.
    if kind not in ("image", "audio", "video") or format == "svg+xml":
        return "file"

    return kind
