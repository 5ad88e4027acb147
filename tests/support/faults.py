"""The mark of the tests of known faults."""

from __future__ import annotations

import pytest


def known_fault(reason: str) -> pytest.MarkDecorator:
    """Mark a test that fails until the fault is mended."""
    return pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError)
