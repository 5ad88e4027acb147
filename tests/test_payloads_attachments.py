from __future__ import annotations

import json
import pickle
import typing as t

import pytest

from flask_chatwoot.payloads.attachments import (
    Attachment,
    attachment_of,
    attachments_from,
    described,
    restored,
    stored,
)
from flask_chatwoot.payloads.fields import Upload

JSON = dict[str, t.Any]

FILES = "https://files.example.com/rails"
BERLIN = {"coordinates_lat": 52.5219, "coordinates_long": 13, "fallback_title": "Alex"}
OTTO = {"firstName": "Otto", "lastName": "Normal"}

READ: dict[str, tuple[JSON, Attachment, str]] = {
    "image": (
        {"file_type": "image", "data_url": f"{FILES}/a%20b.png", "file_size": 7},
        Attachment("image", f"{FILES}/a%20b.png", 7),
        "[image: a b.png]",
    ),
    "voice": (
        {"file_type": "audio", "data_url": f"{FILES}/1.ogg", "transcribed_text": "Hm?"},
        Attachment("audio", f"{FILES}/1.ogg", transcript="Hm?"),
        "[audio: 1.ogg] Hm?",
    ),
    "voice without a transcript": (
        {"file_type": "audio", "data_url": None, "transcribed_text": ""},
        Attachment("audio"),
        "[audio]",
    ),
    "location": (
        {"file_type": "location", "data_url": None, **BERLIN},
        Attachment("location", title="Alex", latitude=52.5219, longitude=13.0),
        "[location: Alex, 52.5219, 13.0]",
    ),
    "nowhere": (
        {"file_type": "location", "coordinates_lat": "52", "coordinates_long": True},
        Attachment("location"),
        "[location]",
    ),
    "contact card": (
        {"file_type": "contact", "fallback_title": "+49151", "meta": OTTO},
        Attachment("contact", title="+49151", details=OTTO),
        "[contact: Otto Normal, +49151]",
    ),
    "contact card without a name": (
        {"file_type": "contact", "fallback_title": "+49151", "meta": [1]},
        Attachment("contact", title="+49151"),
        "[contact: +49151]",
    ),
    "link": (
        {"file_type": "fallback", "data_url": "https://x.example/", **BERLIN},
        Attachment("fallback", "https://x.example/", title="Alex"),
        "[fallback: Alex]",
    ),
    "no address": (
        {"file_type": "file", "data_url": "http://[x"},
        Attachment("file", "http://[x"),
        "[file]",
    ),
    "several lines": (
        {"file_type": "file", "data_url": f"{FILES}/a%0A%5Bb%5D.pdf"},
        Attachment("file", f"{FILES}/a%0A%5Bb%5D.pdf"),
        "[file: a [b].pdf]",
    ),
}


@pytest.mark.parametrize(("raw", "read", "line"), READ.values(), ids=READ)
def test_an_attachment_is_read_kept_and_described(
    raw: JSON, read: Attachment, line: str
) -> None:
    assert attachments_from([raw]) == (read,)
    assert restored(json.loads(json.dumps(stored(read)))) == read
    assert described(" See: ", [read, read]) == f"See:\n{line}\n{line}"
    assert described("", [read]) == line


def test_what_an_earlier_release_kept_is_read() -> None:
    kept = ["image", "https://x.example/1", 10]
    assert restored(kept) == Attachment("image", "https://x.example/1", 10)


@pytest.mark.parametrize(
    ("name", "media_type", "line"),
    [
        ("a/b 1.png", "image/png", "[image: a/b 1.png]"),
        ("4711.pdf", "application/pdf", "[file: 4711.pdf]"),
        ("x" * 300, "audio/ogg", f"[audio: {'x' * 200}]"),
        ("", "", "[file]"),
    ],
)
def test_a_file_that_is_sent_is_described(
    name: str, media_type: str, line: str
) -> None:
    assert described("", [attachment_of(Upload(name, b"", media_type))]) == line


def test_the_repr_has_nothing_of_the_customer() -> None:
    shown = "".join(repr(read) for _, read, _ in READ.values())
    assert not [each for each in ("Otto", "Alex", "Hm?", "example") if each in shown]


@pytest.mark.parametrize("kind", READ)
def test_a_host_may_send_an_attachment_to_another_process(kind: str) -> None:
    [read] = attachments_from([READ[kind][0]])

    assert pickle.loads(pickle.dumps(read)) == read  # noqa: S301 - our own bytes
    assert json.loads(json.dumps(read._asdict())) == read._asdict()
