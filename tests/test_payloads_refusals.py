from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_chatwoot.payloads.refusals import LONGEST_RETRY_AFTER, refusal, retry_after

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


ACCOUNT: t.Final = "/api/v1/accounts/7"


@pytest.mark.parametrize(
    ("path", "missing", "refused"),
    [
        (f"{ACCOUNT}/conversations/42", "conversation", "conversation"),
        (f"{ACCOUNT}/conversations/42/messages", "conversation", "message"),
        (
            f"{ACCOUNT}/conversations/42/messages/9",
            "conversation or message",
            "message",
        ),
        (
            f"{ACCOUNT}/conversations/42/assignments",
            "conversation or team",
            "assignment",
        ),
        (
            f"{ACCOUNT}/conversations/42/custom_attributes",
            "conversation",
            "custom attributes",
        ),
        (f"{ACCOUNT}/conversations/42/labels", "conversation", "label"),
        (f"{ACCOUNT}/contacts/5", "contact", "contact"),
        (f"{ACCOUNT}/contacts/5/conversations", "contact", "conversation"),
        (f"{ACCOUNT}/inboxes/3", "inbox", "inbox"),
        (f"{ACCOUNT}/inboxes/3/agent_bot", "inbox", "agent bot"),
        (f"{ACCOUNT}/inboxes/3/set_agent_bot", "inbox or agent bot", "agent bot"),
        (f"{ACCOUNT}/agent_bots/2", "agent bot", "agent bot"),
        (f"{ACCOUNT}/webhooks/1", "webhook", "webhook"),
        (f"{ACCOUNT}/labels/6", "label", "label"),
        (
            f"{ACCOUNT}/custom_attribute_definitions/8",
            "custom attribute",
            "custom attribute",
        ),
        (f"{ACCOUNT}/captain/assistants/4/inboxes", None, "inbox"),
        (f"{ACCOUNT}/conversations", None, "conversation"),
        (f"{ACCOUNT}/csat_survey_responses", None, "request"),
    ],
)
def test_a_refusal_names_what_the_endpoint_is_about(
    path: str, missing: str | None, refused: str
) -> None:
    assert hint(404, path) == (
        f"There is no such {missing} in the account; see CHATWOOT_ACCOUNT_ID."
        if missing
        else "There is nothing of that in the account; see CHATWOOT_ACCOUNT_ID."
    )
    assert hint(422, path) == f"It does not accept the {refused}."


def test_a_404_without_a_part_of_an_account_names_the_account_or_the_path() -> None:
    assert hint(404, ACCOUNT) == "There is no such account; see CHATWOOT_ACCOUNT_ID."
    assert hint(404, "/api/v1/profile") == "It has nothing under this path."


def hint(status: int, path: str) -> str:
    """What an error says after the endpoint and the status."""
    error = refusal(
        status, {}, b'{"error": "no"}', endpoint=f"POST {path}", token_key="KEY"
    )
    begin = f"POST {path}: Chatwoot answered {status}. "
    assert str(error).startswith(begin)

    return str(error).removeprefix(begin)
