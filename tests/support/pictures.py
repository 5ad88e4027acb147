"""Pictures of the playground, which say of which page they are."""

from __future__ import annotations

import hashlib
import struct
import typing as t
import zlib
from pathlib import Path

from flask_chatwoot.playground import page
from flask_chatwoot.texts import PAGE

KEY: t.Final = b"Page\0"
"""Of the text in the file, as PNG writes it (chunk ``tEXt``)."""

COMMAND: t.Final = (
    "PLAYGROUND_PICTURES=examples pytest tests/test_playground_browser.py -k takes_over"
)
"""Makes the picture of the README."""


def digest() -> str:
    """A number for the files of the page and its English texts as they are now."""
    folder = Path(page.page.static_folder or "")
    files = sorted(path for path in folder.iterdir() if path.is_file())
    parts = [*(path.read_bytes() for path in files), repr(PAGE["en"]).encode()]

    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def marked(picture: bytes) -> bytes:
    """A picture of the page with its number."""
    content = b"tEXt" + KEY + digest().encode()
    check = struct.pack(">I", zlib.crc32(content))
    chunk = struct.pack(">I", len(content) - 4) + content + check
    end = picture.rindex(b"IEND") - 4

    return picture[:end] + chunk + picture[end:]


def mark_of(picture: bytes) -> str:
    """The number in a picture; an empty text: there is none."""
    _, _, rest = picture.partition(b"tEXt" + KEY)

    return rest[:64].decode("ascii", "replace")
