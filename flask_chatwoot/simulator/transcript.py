"""A conversation as text, as Chatwoot writes it for a language model.

Source: ``lib/llm_formatter/conversation_llm_formatter.rb``,
``lib/captain/label_suggestion_service.rb`` and ``content_for_llm`` in
``app/models/message.rb`` of Chatwoot.
"""

from __future__ import annotations

import typing as t

from .payloads import (
    JSON,
    ContactRecord,
    ConversationRecord,
    History,
    MessageRecord,
    MessageType,
)

MOST_CHARACTERS: t.Final = 400_000
"""Of all messages together; older ones are left out."""

CHANNELS: t.Final[t.Mapping[str, str]] = {
    "Channel::WebWidget": "Website",
    "Channel::Api": "API",
    "Channel::Email": "Email",
    "Channel::FacebookPage": "Facebook",
    "Channel::TwilioSms": "Twilio SMS",
    "Channel::Line": "LINE",
}
"""The name of a channel, where it is not the last part of its type."""


def conversation_text(
    conversation: ConversationRecord,
    messages: History,
    attributes: t.Iterable[JSON],
    *,
    contact: bool = False,
) -> str:
    """The text that asks for a suggestion or a summary.

    :param attributes: The account's custom attributes, as the API shows them.
    :param contact: Whether the details of the contact are in it.
    """
    channel = conversation.inbox.channel
    sections = [
        f"Conversation ID: #{conversation.id}",
        f"Channel: {CHANNELS.get(channel, channel.rpartition('::')[2])}",
        "Message History:",
        _history(messages) if messages else "No messages in this conversation",
    ]

    if contact:
        sections.append(f"Contact Details: {_contact(conversation.contact)}")

    if values := [
        f"{row['attribute_display_name']}: "
        f"{_ruby(conversation.custom_attributes.get(row['attribute_key']))}"
        for row in attributes
        if row["attribute_model"] == "conversation_attribute"
    ]:
        sections += ["Conversation Attributes:", *values]

    return "\n".join(sections)


def label_text(messages: History, labels: t.Iterable[str]) -> str | None:
    """The text that asks for labels; ``None``: Chatwoot does not ask."""
    listed = ", ".join(labels)
    incoming = [m for m in messages if m.type is MessageType.INCOMING]
    said = _latest(messages, "Customer", "Agent", until_blank=True)

    if not (listed and said) or len(incoming) < 3 or len(messages) > 100:
        return None

    if len(messages) > 20 and messages[-1].type is not MessageType.INCOMING:
        return None

    return f"Messages:\n{''.join(said)}\nLabels:\n{listed}"


def _history(messages: History) -> str:
    return "".join(_latest(messages, "User", "Support Agent", "Bot"))


def _latest(
    messages: History,
    customer: str,
    operator: str,
    bot: str | None = None,
    *,
    until_blank: bool = False,
) -> list[str]:
    """A line for each public message, as many of the newest as are allowed."""
    lines: list[str] = []
    left = MOST_CHARACTERS

    for message in reversed(messages):
        if message.private or message.type not in _SAID:
            continue

        text = _content(message)
        line = f"{_author(message, customer, operator, bot or operator)}: {text}\n"
        left -= len(line)

        if left < 0 or (until_blank and not text.strip()):
            break

        lines.insert(0, line)

    return lines


_SAID: t.Final = (MessageType.INCOMING, MessageType.OUTGOING)


def _author(message: MessageRecord, customer: str, operator: str, bot: str) -> str:
    if isinstance(message.sender, ContactRecord):
        return customer

    return bot if message.sender is None or message.sender.bot else operator


def _content(message: MessageRecord) -> str:
    if message.content and message.content.strip():
        return message.content

    heard = [each.get("transcribed_text") for each in message.attachments]

    if any(heard):
        return f"[Voice Message] {' '.join(filter(None, heard))}"

    return "[Attachment]" if message.attachments else ""


def _contact(contact: ContactRecord) -> str:
    return "\n".join(
        [
            f"Contact ID: #{contact.id}",
            "Contact Attributes:",
            f"Name: {contact.name}",
            f"Email: {contact.email or ''}",
            f"Phone: {contact.phone_number or ''}",
        ]
    )


def _ruby(value: t.Any) -> str:
    """A value of JSON as Ruby puts it into a text."""
    if value is None:
        return ""

    return str(value).lower() if isinstance(value, bool) else str(value)
