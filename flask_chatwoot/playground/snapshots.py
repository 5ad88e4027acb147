"""A conversation as the page shows it, for the customer and the operator."""

from __future__ import annotations

import typing as t

from flask_chatwoot.config import Config
from flask_chatwoot.ownership.mode import Mode, meaning
from flask_chatwoot.simulator import Talk
from flask_chatwoot.simulator.payloads import (
    JSON,
    Agent,
    ContactRecord,
    MessageRecord,
    Sender,
)


def conversation_snapshot(talk: Talk, config: Config, operator: Agent) -> JSON:
    """Everything about a conversation, private notes included.

    :param operator: The user of the operator's part of the page.
    """
    current = talk.current
    choice = current.custom_attributes.get(config.support_mode_attr)

    return {
        "id": talk.id,
        "name": current.contact.name,
        "status": current.status,
        "mode": _mode_of(choice, config),
        "choice": choice,
        "assignee": current.assignee and current.assignee.name,
        "mine": current.assignee == operator,
        "typing": talk.typing[-1:] == ["on"],
        "messages": [_message(message, operator) for message in talk.messages],
    }


def _mode_of(choice: t.Any, config: Config) -> Mode:
    """The mode that the attribute selects, or the default mode."""
    return meaning(choice, config.words) or config.default_mode


def _message(message: MessageRecord, operator: Agent) -> JSON:
    attributes = message.content_attributes
    picked = attributes.get("submitted_values") or []

    return {
        "id": message.id,
        "text": message.content,
        "type": message.type.name.lower(),
        "private": message.private,
        "author": _author(message.sender, operator),
        "name": message.sender.name if message.sender else None,
        "time": message.created_at,
        "attachments": [_attachment(given) for given in message.attachments],
        "buttons": _buttons(message),
        "picked": [item["value"] for item in picked if "value" in item],
    }


def _author(sender: Sender, operator: Agent) -> str:
    """Any other user or bot is the owner of the app's token."""
    if sender is None:
        return "system"

    if isinstance(sender, ContactRecord):
        return "customer"

    return "operator" if sender == operator else "bot"


def _buttons(message: MessageRecord) -> list[t.Any]:
    if message.content_type != "input_select":
        return []

    return list(message.content_attributes.get("items") or [])


def _attachment(given: t.Mapping[str, t.Any]) -> JSON:
    return {
        "kind": given.get("file_type"),
        "url": given.get("data_url"),
        "size": given.get("file_size"),
    }
