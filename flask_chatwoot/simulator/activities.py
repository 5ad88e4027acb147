"""The activities Chatwoot adds to a conversation when it is changed.

Source: ``app/models/concerns/activity_message_handler.rb`` and what it includes, with
the texts of ``config/locales/en.yml``.
"""

from __future__ import annotations

import typing as t

from .payloads import Agent, ConversationRecord

BOT_FAILED: t.Final = (
    "Conversation was marked open by system due to an error with the agent bot."
)
REOPENED: t.Final = "System reopened the conversation due to a new incoming message."

_STATUS: t.Final[t.Mapping[str, str]] = {
    "open": "Conversation was reopened by {}",
    "resolved": "Conversation was marked resolved by {}",
    "pending": "Conversation was marked as pending by {}",
    "snoozed": "Conversation was snoozed by {}",
}


def texts(
    before: ConversationRecord, after: ConversationRecord, by: Agent
) -> list[str]:
    """A text for each change that gets an activity, in Chatwoot's order.

    There is none when a bot is assigned or removed, unlike an operator.
    """
    found = [
        _status(before, after, by),
        _priority(before, after, by),
        *_labels(before, after, by),
        _assignee(before, after, by),
    ]

    return [text for text in found if text]


def _status(before: ConversationRecord, after: ConversationRecord, by: Agent) -> str:
    if before.status == after.status:
        return ""

    return _STATUS[after.status].format(by.name)


def _priority(before: ConversationRecord, after: ConversationRecord, by: Agent) -> str:
    old, new = before.priority, after.priority

    if old == new:
        return ""

    if not new:
        return f"{by.name} removed the priority"

    if not old:
        return f"{by.name} set the priority to {new}"

    return f"{by.name} changed the priority from {old} to {new}"


def _labels(
    before: ConversationRecord, after: ConversationRecord, by: Agent
) -> list[str]:
    added = [label for label in after.labels if label not in before.labels]
    removed = [label for label in before.labels if label not in after.labels]

    return [
        f"{by.name} {verb} {', '.join(labels)}"
        for verb, labels in (("added", added), ("removed", removed))
        if labels
    ]


def _assignee(before: ConversationRecord, after: ConversationRecord, by: Agent) -> str:
    """One text for team and assignee: a changed team names a new assignee too."""
    old, new = _operator(before), _operator(after)

    if before.team != after.team:
        return _team(before, after, by, new if old != new else None)

    if old == new:
        return ""

    if new is None:
        return f"Conversation unassigned by {by.name}"

    if new == by:
        return f"{by.name} self-assigned this conversation"

    return f"Assigned to {new.name} by {by.name}"


def _team(
    before: ConversationRecord,
    after: ConversationRecord,
    by: Agent,
    assigned: Agent | None,
) -> str:
    if after.team:
        via = f"{assigned.name} via " if assigned else ""

        return f"Assigned to {via}{after.team.name} by {by.name}"

    return f"Unassigned from {before.team.name if before.team else ''} by {by.name}"


def _operator(conversation: ConversationRecord) -> Agent | None:
    assignee = conversation.assignee

    return None if assignee and assignee.bot else assignee
