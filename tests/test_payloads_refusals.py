from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_chatwoot.payloads.refusals import LONGEST_RETRY_AFTER, retry_after

NOON: t.Final = 1_445_412_480.0  # 21 October 2015, 07:28:00 UTC


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        *[("0", 0.0), ("5", 5.0), (" 7\t", 7.0)],
        *[("007", 7.0), ("3600", 3600.0)],
        *[(text, LONGEST_RETRY_AFTER) for text in ("3601", "9" * 9)],
        ("Wed, 21 Oct 2015 07:29:00 GMT", 60.0),
        ("Wed, 21 Oct 2015 07:27:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 09:29:00 +0200", 60.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        *[(text, None) for text in ("", " ", "soon", "-1", "+5", "1.5", "1e3", "0x5")],
        *[(text, None) for text in ("nan", "inf", "5 s", "5, 7", "５", "٥", "²")],
        *[(text, None) for text in ("9" * 10, "9" * 400, "\udcff", "\0")],
        pytest.param("9" * 5000, None, id="5000 digits"),
        *[(text, None) for text in ("Wed, 21 Oct 99999 07:28:00 GMT", "Wed, 21 Oct")],
        *[(text, None) for text in ("Wed, 99 Oct 2015 07:28:00 GMT", "2015-10-21")],
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_a_retry_after_header_is_read(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, now=NOON) == seconds


def test_a_date_is_compared_with_the_clock() -> None:
    dates = "Fri, 31 Dec 9999 23:59:59 GMT", "Wed, 21 Oct 2015 07:28:00 GMT"
    assert [retry_after(date) for date in dates] == [LONGEST_RETRY_AFTER, 0.0]


DATE_PARTS = st.sampled_from(
    [
        *("Wed,", "21", "Oct", "2015", "07:28:00", "GMT", "+9999", "-0000", "99999999"),
        *(":", ",", "(", "-", "+", "0", "24:60:61", "", "EST", "Oct-21-15"),
    ]
)


@settings(deadline=None)
@given(st.text() | st.lists(DATE_PARTS).map(" ".join))
def test_no_header_raises_or_exceeds_the_longest_pause(value: str) -> None:
    seconds = retry_after(value)
    assert seconds is None or 0.0 <= seconds <= LONGEST_RETRY_AFTER
