"""The newest attributes of a conversation that is not read."""

from __future__ import annotations

import typing as t

import pytest
from support.deliveries import as_bytes, message
from support.queue import Store, read

from flask_chatwoot.ownership.attributes import ToldAttributes
from flask_chatwoot.payloads.conversation import Conversation
from flask_chatwoot.payloads.events import parse
from flask_chatwoot.simulator.payloads import JSON


@pytest.fixture
def told(store: Store) -> ToldAttributes:
    return ToldAttributes(store.database)


def at(seconds: float, **attributes: t.Any) -> Conversation:
    return Conversation(42, updated_at=seconds, custom_attributes=attributes)


def newest(told: ToldAttributes, delivered: Conversation) -> JSON:
    return dict(told.newest(delivered).custom_attributes)


ASKED: t.Final = at(5.0, mode="bot")
ORDER: t.Final = {"mode": "bot", "order": 1}


@pytest.mark.parametrize(
    ("deliveries", "expected"),
    [
        ([], {"mode": "bot"}),
        ([at(6.0, **ORDER)], ORDER),
        ([at(4.0, **ORDER)], {"mode": "bot"}),
        ([at(7.0, **ORDER), at(6.0)], ORDER),
        ([at(6.0), at(7.0, **ORDER)], ORDER),
        ([at(6.0, **ORDER), Conversation(42)], ORDER),
        ([at(6.0)._replace(id=43)], {"mode": "bot"}),
    ],
)
def test_the_newest_of_all_deliveries_counts_in_any_order(
    told: ToldAttributes, store: Store, deliveries: list[Conversation], expected: JSON
) -> None:
    store.put(9001)

    for each in deliveries:
        told.saw(each)

    assert newest(told, ASKED) == expected


def test_only_while_a_turn_is_due_are_attributes_kept(
    told: ToldAttributes, store: Store, path: str
) -> None:
    told.saw(at(6.0, **ORDER))
    assert newest(told, ASKED) == {"mode": "bot"}

    store.put(9001)
    told.saw(at(6.0, **ORDER))
    told.prune()
    assert newest(told, ASKED) == ORDER

    store.settle(store.claim())
    told.prune()
    assert read(path, "SELECT * FROM told") == []


def test_a_message_that_waits_tells_its_attributes(
    told: ToldAttributes, store: Store
) -> None:
    raw = as_bytes(message("Urgent", id=9002, mode="human"))
    store.queue.put("2", conversation_id=42, message_id=9002, payload=raw)
    store.queue.put("3", conversation_id=42, message_id=9003, payload=b"{}")
    event: t.Any = parse(raw)

    assert newest(told, ASKED) == {"support_mode": "human"}
    assert newest(told, at(event.conversation.updated_at + 1)) == {}


def test_what_the_app_wrote_is_newer_than_what_was_told_before(
    told: ToldAttributes, store: Store
) -> None:
    store.put(9001)
    told.saw(ASKED)
    told.wrote(42, ORDER)
    told.saw(ASKED)
    assert newest(told, ASKED) == ORDER

    told.saw(at(5.5, mode="human"))
    assert newest(told, ASKED) == {"mode": "human"}
