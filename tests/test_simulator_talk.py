"""What customers and operators do besides writing texts."""

from __future__ import annotations

import typing as t

import pytest
from support.simulation import JSON, Hook, values

from flask_chatwoot.simulator import Talk

CREATED, UPDATED = "message_created", "message_updated"
CUSTOMER, OPERATOR = "incoming", "outgoing"
GONE: t.Final = "This message was deleted"
FILE: t.Final[JSON] = {"file_type": "image", "data_url": "https://example.com/a.png"}
RATED: t.Final[JSON] = {"rating": 4, "feedback_message": "Fine"}
REACTION: t.Final[JSON] = {
    "is_reaction": True,
    "in_reply_to_external_id": "wamid.SIMULATED",
}


def read_twice(talk: Talk) -> None:
    talk.operator_says("Ten")
    talk.customer_reads()
    talk.customer_reads()


ACTS: t.Final[dict[str, tuple[t.Callable[[Talk], object], list[t.Any]]]] = {
    "a customer edits": (
        lambda talk: talk.customer_edits(talk.customer_says("Ten"), "Twenty"),
        [CREATED, CUSTOMER, "Ten", {}, UPDATED, CUSTOMER, "Twenty", {}],
    ),
    "a customer deletes": (
        lambda talk: talk.customer_deletes(
            talk.customer_says("Ten", content_attributes={"a": 1})
        ),
        [
            *(CREATED, CUSTOMER, "Ten", {"a": 1}),
            *(UPDATED, CUSTOMER, GONE, {"a": 1, "deleted": True}),
        ],
    ),
    "an operator deletes": (
        lambda talk: talk.operator_deletes(
            talk.operator_says("Ten", content_attributes={"a": 1}, attachments=[FILE])
        ),
        [
            *(CREATED, OPERATOR, "Ten", {"a": 1}),
            *(UPDATED, OPERATOR, GONE, {"deleted": True}),
        ],
    ),
    "a customer reacts": (
        lambda talk: talk.customer_reacts("👍"), [CREATED, CUSTOMER, "👍", REACTION],
    ),
    "a customer reads": (
        read_twice,
        [CREATED, OPERATOR, "Ten", {}, UPDATED, OPERATOR, "Ten", {}],
    ),
    "a customer calls": (
        lambda talk: talk.customer_calls(),
        [
            *(CREATED, CUSTOMER, "Voice Call", {"data": {"status": "ringing"}}),
            *(UPDATED, CUSTOMER, "Voice Call", {"data": {"status": "no-answer"}}),
        ],
    ),
    "a customer rates": (
        lambda talk: talk.customer_rates(4, "Fine"),
        [
            *(CREATED, "template", "Please rate the conversation", {}),
            *(UPDATED, "template", "Please rate the conversation"),
            {"submitted_values": {"csat_survey_response": RATED}},
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("subscriptions", [[CREATED, UPDATED]])
@pytest.mark.parametrize(("act", "delivered"), ACTS.values(), ids=ACTS)
def test_it_is_delivered(
    webhook: Hook, talk: Talk, act: t.Callable[[Talk], object], delivered: list[t.Any]
) -> None:
    act(talk)
    keys = "event message_type content content_attributes"

    assert [each for body in webhook.bodies for each in values(body, keys)] == delivered
    assert "attachments" not in webhook.bodies[-1]


def test_a_colleague_in_slack_has_a_name_and_no_user(webhook: Hook, talk: Talk) -> None:
    talk.operator_says_from_slack("I look it up.")
    [body] = webhook.bodies

    assert values(body, "message_type sender content_type") == [
        "outgoing",
        None,
        "text",
    ]
    assert body["additional_attributes"] == {"sender_name": "Otto"}
