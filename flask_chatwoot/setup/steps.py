"""The steps of a setup."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlencode

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import SetupError
from flask_chatwoot.ownership.mode import Mode, Vocabulary
from flask_chatwoot.payloads.events import SUBSCRIPTIONS

from . import account
from .account import JSON, AccountSettings, listed
from .undo import (
    MARK,
    NOTE,
    AddedEvents,
    AddedOptions,
    LinkedBot,
    MadeAttribute,
    MadeBot,
    MadeWebhook,
    ShownField,
    StepCheck,
    StepResult,
)

OPTIONS: t.Final = {Mode.BOT: "AI agent", Mode.HUMAN: "Human"}
"""Texts of the options where none are chosen."""

_LIST: t.Final = 6
_CONVERSATION: t.Final = 0
_WEBHOOK_BOT: t.Final = 0
"""Chatwoot's numbers for a list, for conversations, and for a bot with a webhook."""


@dataclass(frozen=True)
class AttributeStep:
    """The attribute of conversations that holds the customer's choice."""

    key: str
    label: str
    options: t.Mapping[Mode, str | None]
    words: Vocabulary = field(repr=False)

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing.

        :raises SetupError: The attribute exists, but is no list.
        """
        row = current.attribute(self.key)

        if row is None:
            return StepCheck(
                True,
                f"Create the attribute {self.key} of conversations, {self.label!r}: a "
                f"list of {listed(self._missing([]))}.",
            )

        if row.get("attribute_display_type") != "list":
            raise SetupError(
                f"The attribute {self.key} exists, but is of type "
                f"{row.get('attribute_display_type')} and not a list. Delete it in "
                "Settings → Custom Attributes, or set CHATWOOT_SUPPORT_MODE_ATTR to "
                "another key."
            )

        if missing := self._missing(row.get("attribute_values") or []):
            return StepCheck(
                True, f"Add {listed(missing)} to the options of attribute {self.key}."
            )

        return StepCheck(False, f"The attribute {self.key} exists, with its options.")

    def apply(self, client: ChatwootClient) -> StepResult:
        """Create the attribute, or add the options that it lacks."""
        path = "/custom_attribute_definitions"
        there = [
            row
            for row in account.attributes(client)
            if row.get("attribute_key") == self.key
        ]

        if there:
            return self._extend(client, there[0])

        made = client.call(
            "POST",
            path,
            {
                "attribute_display_name": self.label,
                "attribute_key": self.key,
                "attribute_display_type": _LIST,
                "attribute_model": _CONVERSATION,
                "attribute_values": self._missing([]),
                "attribute_description": NOTE,
            },
        )

        return StepResult(
            f"Created the attribute {self.key}.", MadeAttribute(_id(made), self.key)
        )

    def _extend(self, client: ChatwootClient, row: JSON) -> StepResult:
        values = row.get("attribute_values") or []
        missing = self._missing(values)

        if not missing:
            return StepResult(f"The attribute {self.key} had its options already.")

        path = f"/custom_attribute_definitions/{row['id']}"
        client.call("PATCH", path, {"attribute_values": [*values, *missing]})

        return StepResult(
            f"Added {listed(missing)} to the options of attribute {self.key}.",
            AddedOptions(row["id"], self.key, missing),
        )

    def _missing(self, values: t.Sequence[str]) -> list[str]:
        """The options to add, with the one for the bot first."""
        meant = {meaning(value, self.words) for value in values}
        missing = []

        for mode, default in OPTIONS.items():
            wanted = self.options.get(mode)

            if wanted is None and mode not in meant:
                missing.append(default)
            elif wanted is not None and wanted not in values:
                missing.append(wanted)

        return missing


@dataclass(frozen=True)
class FormFieldStep:
    """The attribute in the pre-chat form of a website inbox."""

    inbox_id: int
    key: str

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing."""
        inbox = current.websites[self.inbox_id]
        where = account.name_of(inbox)

        if account.shows_field(inbox, self.key):
            return StepCheck(False, f"The pre-chat form of {where} shows {self.key}.")

        others = len(account.fields_of(inbox))
        kept = f"its {others} other fields stay" if others else "it has no other fields"
        on = "" if inbox.get("pre_chat_form_enabled") else ", and switch the form on"

        return StepCheck(
            True, f"Show {self.key} in the pre-chat form of {where} ({kept}){on}."
        )

    def apply(self, client: ChatwootClient) -> StepResult:
        """Add the field after the others, or enable it in its position."""
        # Chatwoot replaces the options as a whole, so they are read right before the
        # change.
        inbox = account.inbox(client, self.inbox_id)
        fields = account.fields_of(inbox)
        there = account.field_of(inbox, self.key)

        if account.shows_field(inbox, self.key):  # changed since the plan
            where = account.name_of(inbox)
            return StepResult(f"The form of {where} showed {self.key} already.")

        if there is None:
            fields = [*fields, self._field(client)]
        else:
            fields = [{**f, "enabled": True} if f is there else f for f in fields]

        options = {**account.options_of(inbox), "pre_chat_fields": fields}
        channel = {"pre_chat_form_enabled": True, "pre_chat_form_options": options}
        client.call("PATCH", f"/inboxes/{self.inbox_id}", {"channel": channel})

        return StepResult(
            f"The pre-chat form of {account.name_of(inbox)} shows {self.key}.",
            ShownField(
                self.inbox_id,
                self.key,
                added=there is None,
                switched=not inbox.get("pre_chat_form_enabled"),
                others=account.enabled_fields(inbox, but=self.key),
            ),
        )

    def _field(self, client: ChatwootClient) -> JSON:
        rows = account.attributes(client)
        row = next((r for r in rows if r.get("attribute_key") == self.key), {})
        label = row.get("attribute_display_name") or self.key

        return {
            "field_type": account.CONVERSATION,
            "name": self.key,
            "type": "list",
            "label": label,
            # Without a placeholder, the form preselects the first option.
            "placeholder": label,
            "values": row.get("attribute_values") or [],
            "required": True,
            "enabled": True,
        }


@dataclass(frozen=True)
class WebhookStep:
    """The account webhook that delivers to the app.

    :ivar token: For ``?token=``.
    :ivar configured: The token that the app's settings hold already.
    """

    address: str
    token: str | None = field(repr=False)
    configured: str | None = field(repr=False)

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing."""
        row = first(current.webhooks_to(self.address))

        if row is None:
            return StepCheck(
                True,
                f"Create an account webhook to {_shown(self.address, self.token)} for "
                f"{listed(SUBSCRIPTIONS)}.",
            )

        if missing := _missing_events(row):
            return StepCheck(
                True,
                f"Subscribe the webhook to {self.address} to {listed(missing)} also.",
            )

        return StepCheck(False, f"A webhook to {self.address} with all events exists.")

    def apply(self, client: ChatwootClient) -> StepResult:
        """Create the webhook, or subscribe the existing one to the missing events."""
        rows = account.webhooks(client)
        there = [r for r in rows if account.same_address(r.get("url"), self.address)]

        if there:
            return self._extend(client, there[0])

        wanted = {
            "name": MARK,  # stored by Chatwoot 4.8 and later
            "url": _url(self.address, self.token),
            "subscriptions": list(SUBSCRIPTIONS),
        }
        answer = client.call("POST", "/webhooks", wanted)
        made = account.nested(answer, "payload", "webhook")

        return StepResult(
            f"Created a webhook to {self.address}.",
            MadeWebhook(_id(made), self.address),
            _environment(made, self.token, self.configured),
        )

    def _extend(self, client: ChatwootClient, row: JSON) -> StepResult:
        missing = _missing_events(row)

        if not missing:
            return StepResult(f"The webhook to {self.address} had all events already.")

        events = [*(row.get("subscriptions") or []), *missing]
        change = {"url": row["url"], "subscriptions": events}
        client.call("PATCH", f"/webhooks/{row['id']}", change)

        return StepResult(
            f"Subscribed the webhook to {self.address} to {listed(missing)}.",
            AddedEvents(row["id"], self.address, missing),
        )


@dataclass(frozen=True)
class AgentBotStep:
    """The agent bot that delivers to the app, instead of a webhook."""

    address: str
    token: str | None = field(repr=False)
    configured: str | None = field(repr=False)

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing.

        :raises SetupError: This version of Chatwoot cannot list agent bots.
        """
        if current.bots is None:
            raise SetupError(
                "Chatwoot 4.16.0 cannot list agent bots for a token (pull request "
                "15088). Upgrade Chatwoot to 4.16.1 or later, or leave out --agent-bot."
            )

        if row := first(current.bots_to(self.address)):
            return StepCheck(
                False, f"The agent bot {row['id']} delivers to {self.address} already."
            )

        return StepCheck(
            True,
            f"Create the agent bot {MARK!r} with deliveries to "
            f"{_shown(self.address, self.token)}.",
        )

    def apply(self, client: ChatwootClient) -> StepResult:
        """Create the agent bot."""
        if row := _to(self.address, account.bots(client)):  # made since the plan
            return StepResult(f"The agent bot {row['id']} existed already.")

        made = client.call(
            "POST",
            "/agent_bots",
            {
                "name": MARK,
                "description": NOTE,
                "outgoing_url": _url(self.address, self.token),
                "bot_type": _WEBHOOK_BOT,
                "bot_config": {},
            },
        )
        environment = _environment(made, self.token, self.configured)

        if token := account.nested(made, "access_token"):
            environment["CHATWOOT_API_ACCESS_TOKEN"] = token

        return StepResult(
            f"Created the agent bot {_id(made)}.",
            MadeBot(_id(made), self.address),
            environment,
        )


@dataclass(frozen=True)
class BotLinkStep:
    """The link between an inbox and the agent bot that delivers to the app."""

    inbox_id: int
    address: str

    def check(self, current: AccountSettings) -> StepCheck:
        """Compare with the account. Changes nothing.

        :raises SetupError: Another agent bot is linked.
        """
        where = account.name_of(current.inboxes[self.inbox_id])
        linked = current.links.get(self.inbox_id)
        ours = [row["id"] for row in current.bots_to(self.address)]

        if linked in ours:
            return StepCheck(False, f"The agent bot {linked} is linked to {where}.")

        if linked is not None:
            names = {row["id"]: row.get("name") for row in current.bots or ()}
            raise _taken(where, linked, names.get(linked))

        return StepCheck(True, f"Link the agent bot to {where}.")

    def apply(self, client: ChatwootClient) -> StepResult:
        """Link the agent bot to the inbox.

        :raises SetupError: Another agent bot was linked since the plan.
        """
        bot_id = _id(_to(self.address, account.bots(client)))
        linked = account.linked_bot(client, self.inbox_id) or {}

        if linked.get("id") == bot_id:
            return StepResult(
                f"The agent bot {bot_id} was linked to inbox {self.inbox_id} already."
            )

        if linked:
            raise _taken(f"inbox {self.inbox_id}", linked["id"], linked.get("name"))

        path = f"/inboxes/{self.inbox_id}/set_agent_bot"
        client.call("POST", path, {"agent_bot": bot_id})

        return StepResult(
            f"Linked the agent bot {bot_id} to inbox {self.inbox_id}.",
            LinkedBot(self.inbox_id, bot_id),
        )


def _taken(where: str, bot_id: int, name: str | None) -> SetupError:
    named = f" under the name {name!r}" if name else ""

    return SetupError(
        f"The agent bot {bot_id} answers in {where}{named}, and an inbox can have only "
        "one. Unlink it in Settings → Inboxes → Bot Configuration, or choose another "
        "inbox with --inbox."
    )


def _environment(made: t.Any, token: str | None, configured: str | None) -> JSON:
    """Secrets that the app needs and does not have yet, by setting."""
    lines = {}

    if secret := account.nested(made, "secret"):
        lines["CHATWOOT_WEBHOOK_SECRET"] = secret

    if token and token != configured:
        lines["CHATWOOT_WEBHOOK_TOKEN"] = token

    return lines


def meaning(text: str, words: Vocabulary) -> Mode | None:
    """The mode that an option's text means to the app; ``None`` if it means neither."""
    return words.get(text.strip().casefold())


def _missing_events(row: JSON) -> list[str]:
    return [
        event
        for event in SUBSCRIPTIONS
        if event not in (row.get("subscriptions") or [])
    ]


def _url(address: str, token: str | None) -> str:
    return f"{address}?{urlencode({'token': token})}" if token else address


def _shown(address: str, token: str | None) -> str:
    return f"{address}?token=…" if token else address


def first(rows: t.Sequence[JSON]) -> JSON | None:
    """The first row, or ``None``."""
    return rows[0] if rows else None


def _to(address: str, bots: t.Sequence[JSON]) -> JSON | None:
    """The agent bot that delivers to this address."""
    return first(
        [r for r in bots if account.same_address(r.get("outgoing_url"), address)]
    )


def _id(made: t.Any) -> int:
    """The id in an answer.

    :raises SetupError: There is none.
    """
    id = account.nested(made, "id")

    if not isinstance(id, int):
        raise SetupError(
            "Chatwoot's answer contains no id. Check in Chatwoot's settings whether "
            "something was created, and run setup again."
        )

    return id
