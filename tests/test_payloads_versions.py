from __future__ import annotations

import pytest

from flask_chatwoot.payloads import versions
from flask_chatwoot.payloads.versions import Version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        *[("4.16.2", (4, 16, 2)), ("4.9", (4, 9, 0)), ("4.9.0-rc1", (4, 9, 0))],
        *[("4.12.1.5", (4, 12, 1)), ("4.99999.0", (4, 9999, 0))],
        *[(text, None) for text in ("", "4", "develop", "v", ".", "4.", "-4.9.0")],
        *[("9" * 5000, None), ("4." + "9" * 5000, (4, 9999, 0))],
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_version_is_read_or_is_none(text: str, version: Version | None) -> None:
    assert versions.parse(text) == version


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        *[(text, False) for text in ("4.2.0", "4.8.9", "4.12.1", "4.13.0", "4.16.2")],
        *[(text, True) for text in ("4.9.0", "4.9", "4.10.1", "4.11.2", "4.12.0")],
        *[(text, False) for text in ("3.9.0", "5.9.0", "14.9.0", "develop")],
    ],
)
def test_only_some_versions_render(version: str, expected: bool) -> None:
    assert versions.renders_content(version) is expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [("4.2.0", False), ("4.8.9", False), ("4.9.0", True), ("5.0", True), ("", False)],
)
def test_only_later_versions_keep_markers(version: str, expected: bool) -> None:
    assert versions.keeps_markers(version) is expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        *[(text, False) for text in ("4.16.2", "3.17.0", "", "develop", "4")],
        *[(text, True) for text in ("4.17.0", "4.17", "4.18.0-rc1", "5.0.0")],
    ],
)
def test_only_later_versions_merge_attributes(version: str, expected: bool) -> None:
    assert versions.merges_attributes(version) is expected
