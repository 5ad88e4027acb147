"""The lists that real servers answered, read as the deliveries they stand for."""

from __future__ import annotations

import json
import typing as t

import pytest
from support.recordings import lines

from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.events import ConversationEvent, MessageEvent
from flask_chatwoot.payloads.listed import (
    ListedConversation,
    ListedMessage,
    conversations_in,
    delivery_of_conversation,
    delivery_of_message,
    messages_in,
)
from flask_chatwoot.simulator import payloads
from flask_chatwoot.simulator.payloads import ConversationRecord, MessageRecord

ENDS: t.Final = {"conversations": "updated_within=1800", "messages": "/messages"}

every_version = pytest.mark.parametrize("version", ["4.2", "4.17"])


def answer(version: str, kind: str) -> t.Any:
    """What an administrator was answered by 4.2.0, or by what becomes 4.17."""
    (found,) = [
        json.loads(each["answer"])
        for each in lines(f"answers-{version.replace('4.2', '4.2.0')}-admin")
        if (each["who"], each["method"]) == ("administrator", "GET")
        and (each["status"], each["path"].endswith(ENDS[kind])) == (200, True)
    ]

    return found


def conversations(version: str) -> list[ListedConversation]:
    found = conversations_in(answer(version, "conversations"))
    assert found is not None
    return found


def messages(version: str) -> list[ListedMessage]:
    found = messages_in(answer(version, "messages"))
    assert found is not None
    return found


def delivered(version: str, listed: ListedMessage, event: str) -> events.Event:
    within = conversations(version)[0]

    return events.parse(delivery_of_message(listed, within, account_id=1, event=event))


@every_version
def test_a_listed_conversation_has_what_a_sweep_compares(version: str) -> None:
    for each in conversations(version):
        conversation = each.conversation
        assert conversation.id
        assert conversation.inbox_id
        assert conversation.status in ("open", "resolved", "pending", "snoozed")
        assert conversation.updated_at
        assert conversation.updated_at > 1.7e9
        assert conversation.contact.id
        event = events.parse(delivery_of_conversation(each, account_id=1))
        assert isinstance(event, ConversationEvent)
        assert event.account_id == 1
        assert event.resolves == (conversation.status == "resolved")


@every_version
def test_a_listed_message_is_read_as_its_delivery(version: str) -> None:
    for each in messages(version):
        event = delivered(version, each, "message_created")
        assert isinstance(event, MessageEvent)
        assert event.key == f"1:message_created:{each.message.id}"
        assert event.message.type in ("incoming", "outgoing", "activity")
        assert event.message.text == (each.raw["content"] or "")
        assert event.message.created_at == each.raw["created_at"]


@every_version
def test_what_was_deleted_or_picked_has_changed(version: str) -> None:
    changed = [each for each in messages(version) if each.changed]
    picks = [
        event.message.text
        for each in changed
        if isinstance(
            event := delivered(version, each, "message_updated"), MessageEvent
        )
    ]

    assert [each.message.deleted for each in changed] == [True, False]
    assert picks == ["Two"]


@every_version
def test_the_simulator_lists_what_real_servers_list(version: str) -> None:
    simulated = payloads.api_conversations(
        [(ConversationRecord(), [MessageRecord()])],
        version=payloads.parse_version(f"{version}.0"),
    )
    (row,) = simulated["data"]["payload"]
    real = answer(version, "conversations")

    assert simulated["data"]["meta"].keys() == real["data"]["meta"].keys()
    assert {*row} == {*real["data"]["payload"][0]} - {"sla_policy_id"}
    assert {*payloads.api_message(MessageRecord(), ConversationRecord())} == {
        *answer(version, "messages")["payload"][0]
    }


@pytest.mark.parametrize(
    "found", [None, [], {}, {"data": []}, {"data": {"payload": {}}}, "Back soon"]
)
def test_what_is_no_list_of_chatwoots_is_none(found: t.Any) -> None:
    assert conversations_in(found) is None
    assert messages_in(found) is None


def test_items_without_an_id_are_left_out() -> None:
    assert conversations_in({"data": {"payload": [None, {"id": 0}, {"id": "1"}]}}) == []
    assert messages_in({"payload": [None, {"id": True}, []]}) == []
