"""Undo what setup did in Chatwoot, and nothing else.

Each step of setup gives an undo step, which :mod:`~flask_chatwoot.setup.record` keeps.
A step identifies what setup made by its id in Chatwoot and by a webhook's URL or an
attribute's key. Both must still match: a webhook whose URL was changed since, or a bot
that was unlinked, is not touched. A change is undone as a difference to the current
state: the option that setup added is removed from the list, the field from the form,
and everything else in it stays. An attribute is
deleted only if no form shows it any more.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError

from . import account
from .account import JSON, AccountSettings, listed

MARK: t.Final = "Flask-Chatwoot"
"""The name of the webhooks and bots that setup makes."""

NOTE: t.Final = "Made by flask chatwoot setup."
"""The description of the attributes and bots that setup makes."""


class StepCheck(t.NamedTuple):
    """Whether a step has something to do, and a sentence about it."""

    needed: bool
    text: str


@dataclass(frozen=True)
class StepResult:
    """What a step did.

    :ivar undo: Undoes it; ``None`` if nothing was changed.
    :ivar environment: Settings that the app needs from now on, secrets too.
    """

    text: str
    undo: UndoStep | None = None
    environment: t.Mapping[str, str] = field(default_factory=dict, repr=False)


class SetupStep(t.Protocol):
    """One change in Chatwoot. To apply it again changes nothing."""

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing."""

    def apply(self, client: ChatwootClient) -> StepResult:
        """Read the account again, and make the part of the change that is left."""


class UndoStep(SetupStep, t.Protocol):
    """Undoes a step. A frozen dataclass whose values fit into JSON.

    ``StepResult.undo`` is then the step itself if it could not be undone yet.
    """


@dataclass(frozen=True)
class MadeAttribute:
    """Setup made a custom attribute."""

    id: int
    key: str

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing."""
        row = current.attribute(self.key)

        if row is None or row.get("id") != self.id:
            return StepCheck(
                False, f"The attribute {self.key} of setup is gone already."
            )

        return StepCheck(True, f"Delete the attribute {self.key}, if no form shows it.")

    def apply(self, client: ChatwootClient) -> StepResult:
        """Delete it if no form shows it: Chatwoot would remove it from every form.

        Conversations keep their values.
        """
        forms = [
            account.name_of(inbox)
            for inbox in account.inboxes(client)
            if account.field_of(inbox, self.key)
        ]

        if forms:
            where = ", ".join(forms)
            return StepResult(
                f"Kept the attribute {self.key}: the form of {where} shows it, and "
                "setup did not add it there. Take it out, and run teardown again.",
                undo=self,
            )

        _delete(client, f"/custom_attribute_definitions/{self.id}")

        return StepResult(f"Deleted the attribute {self.key}.")


@dataclass(frozen=True)
class AddedOptions:
    """Setup added options to an existing list."""

    id: int
    key: str
    options: list[str]

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing."""
        row = current.attribute(self.key) or {}
        there = [o for o in self.options if o in _values(row)]

        if row.get("id") != self.id or not there:
            return StepCheck(
                False, f"The options setup added to {self.key} are gone already."
            )

        return StepCheck(
            True,
            f"Take {listed(there)} out of the options of the attribute {self.key}.",
        )

    def apply(self, client: ChatwootClient) -> StepResult:
        """Remove the options; others stay."""
        rows = account.attributes(client)
        values = _values(next((row for row in rows if row.get("id") == self.id), {}))
        left = [value for value in values if value not in self.options]

        if not left:
            return StepResult(
                f"Kept the options of attribute {self.key}: there are no others.",
                undo=self,
            )

        if left != values:
            path = f"/custom_attribute_definitions/{self.id}"
            client.call("PATCH", path, {"attribute_values": left})

        return StepResult(
            f"The attribute {self.key} has the options {listed(left)} now."
        )


@dataclass(frozen=True)
class ShownField:
    """Setup made a pre-chat form show an attribute.

    :ivar added: The form had no such field; else it had one that was not enabled.
    :ivar switched: The form was off.
    :ivar others: Names of the other fields that were enabled.
    """

    inbox_id: int
    key: str
    added: bool
    switched: bool
    others: list[str]

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing."""
        inbox = current.websites.get(self.inbox_id, {})
        field = account.field_of(inbox, self.key)
        where = account.name_of(inbox) if inbox else f"inbox {self.inbox_id}"

        if field is None or not (self.added or field.get("enabled")):
            return StepCheck(
                False, f"The form of {where} does not show {self.key} any more."
            )

        off = ", and switch the form off" if self._switches_off(inbox) else ""

        return StepCheck(True, f"Take {self.key} out of the form of {where}{off}.")

    def apply(self, client: ChatwootClient) -> StepResult:
        """Remove the field; everything else in the form stays."""
        inbox = account.inbox(client, self.inbox_id)
        fields = [
            {**field, "enabled": False} if account.is_field(field, self.key) else field
            for field in account.fields_of(inbox)
            if not (self.added and account.is_field(field, self.key))
        ]
        channel: JSON = {
            # Chatwoot replaces the options as a whole.
            "pre_chat_form_options": {
                **account.options_of(inbox),
                "pre_chat_fields": fields,
            }
        }

        if self._switches_off(inbox):
            channel["pre_chat_form_enabled"] = False

        client.call("PATCH", f"/inboxes/{self.inbox_id}", {"channel": channel})

        return StepResult(
            f"Took {self.key} out of the form of {account.name_of(inbox)}."
        )

    def _switches_off(self, inbox: JSON) -> bool:
        """Whether setup switched the form on, and no other field was added since."""
        return self.switched and set(
            account.enabled_fields(inbox, but=self.key)
        ) <= set(self.others)


@dataclass(frozen=True)
class MadeWebhook:
    """Setup made an account webhook."""

    id: int
    address: str

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing."""
        if _by_id(current.webhooks_to(self.address), self.id) is None:
            return StepCheck(
                False,
                f"The webhook {self.id} does not point to {self.address} any more.",
            )

        return StepCheck(True, f"Delete the webhook to {self.address}.")

    def apply(self, client: ChatwootClient) -> StepResult:
        """Delete it."""
        _delete(client, f"/webhooks/{self.id}")

        return StepResult(f"Deleted the webhook to {self.address}.")


@dataclass(frozen=True)
class AddedEvents:
    """Setup subscribed an existing webhook to further events."""

    id: int
    address: str
    events: list[str]

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing."""
        row = _by_id(current.webhooks_to(self.address), self.id) or {}
        there = [e for e in self.events if e in (row.get("subscriptions") or [])]

        if not there:
            return StepCheck(
                False, f"The events setup added to webhook {self.id} are gone already."
            )

        return StepCheck(
            True,
            f"Take {listed(there)} out of the events of the webhook to {self.address}.",
        )

    def apply(self, client: ChatwootClient) -> StepResult:
        """End the subscription to these events; others stay."""
        row = _by_id(account.webhooks(client), self.id) or {}
        events = row.get("subscriptions") or []
        left = [event for event in events if event not in self.events]

        if not left:
            return StepResult(
                f"Kept the events of the webhook to {self.address}: there are no "
                "others.",
                undo=self,
            )

        if left != events:
            change = {"url": row.get("url"), "subscriptions": left}
            client.call("PATCH", f"/webhooks/{self.id}", change)

        return StepResult(
            f"The webhook to {self.address} subscribes to {listed(left)} now."
        )


@dataclass(frozen=True)
class MadeBot:
    """Setup made an agent bot."""

    id: int
    address: str

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing."""
        if _by_id(current.bots_to(self.address), self.id) is None:
            return StepCheck(
                False,
                f"The agent bot {self.id} does not point to {self.address} any more.",
            )

        return StepCheck(
            True, f"Delete the agent bot {self.id}, and with it its token."
        )

    def apply(self, client: ChatwootClient) -> StepResult:
        """Delete it, unless an inbox is linked to it."""
        inboxes = [
            account.name_of(inbox)
            for inbox in account.inboxes(client)
            if (account.linked_bot(client, inbox["id"]) or {}).get("id") == self.id
        ]

        if inboxes:
            where = ", ".join(inboxes)
            return StepResult(
                f"Kept the agent bot {self.id}: it is linked to {where}, and setup did "
                "not link it there. Unlink it there, and run teardown again.",
                undo=self,
            )

        _delete(client, f"/agent_bots/{self.id}")

        return StepResult(f"Deleted the agent bot {self.id}.")


@dataclass(frozen=True)
class LinkedBot:
    """Setup linked an agent bot to an inbox."""

    inbox_id: int
    bot_id: int

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing."""
        if current.links.get(self.inbox_id) != self.bot_id:
            return StepCheck(
                False, f"The bot of setup is not linked to inbox {self.inbox_id}."
            )

        where = account.name_of(current.inboxes[self.inbox_id])

        return StepCheck(
            True,
            f"Unlink the agent bot from {where}. New conversations are open again; "
            "those that are pending stay so.",
        )

    def apply(self, client: ChatwootClient) -> StepResult:
        """Unlink it, unless another bot was linked since."""
        bot = account.linked_bot(client, self.inbox_id) or {}

        if bot.get("id") == self.bot_id:
            path = f"/inboxes/{self.inbox_id}/set_agent_bot"
            client.call("POST", path, {"agent_bot": None})

        return StepResult(f"Unlinked the agent bot from inbox {self.inbox_id}.")


def _values(attribute: JSON) -> list[str]:
    values = attribute.get("attribute_values")

    return values if isinstance(values, list) else []


def _by_id(rows: t.Iterable[JSON], id: int) -> JSON | None:
    return next((row for row in rows if row.get("id") == id), None)


def _delete(client: ChatwootClient, path: str) -> None:
    try:
        client.call("DELETE", path)
    except APIError as error:
        if error.status != 404:  # deleted since
            raise
