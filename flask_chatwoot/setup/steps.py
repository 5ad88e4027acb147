"""The steps of a setup. Each knows how to look, what it would do, and how to do it."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlencode

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import SetupError
from flask_chatwoot.ownership.mode import Mode, Vocabulary

from . import account
from .account import EVENTS, JSON, Account
from .undo import (
    MARK,
    NOTE,
    AddedEvents,
    AddedOptions,
    Done,
    LinkedBot,
    Look,
    MadeAttribute,
    MadeBot,
    MadeWebhook,
    ShownField,
    enabled,
    listed,
)

OPTIONS: t.Final = {Mode.BOT: "AI agent", Mode.HUMAN: "Human"}

_LIST: t.Final = 6
_CONVERSATION: t.Final = 0
_WEBHOOK_BOT: t.Final = 0
"""Chatwoot's numbers for a list, for conversations, and for a bot with a webhook."""


@dataclass(frozen=True)
class Attribute:
    """A list of options for the customer to choose from."""

    key: str
    label: str
    options: t.Mapping[Mode, str | None]
    words: Vocabulary = field(repr=False)

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing.

        :raises SetupError: The attribute is there, but is no list.
        """
        row = seen.attribute(self.key)

        if row is None:
            return Look(
                True,
                f"Create the attribute {self.key} of conversations, {self.label!r}: a "
                f"list of {listed(self._missing([]))}.",
            )

        if row.get("attribute_display_type") != "list":
            raise SetupError(
                f"The attribute {self.key} is there, but is of type "
                f"{row.get('attribute_display_type')} and not a list. Delete it in "
                "Settings → Custom Attributes, or set CHATWOOT_SUPPORT_MODE_ATTR to "
                "another key."
            )

        if missing := self._missing(row.get("attribute_values") or []):
            return Look(
                True, f"Add {listed(missing)} to the options of attribute {self.key}."
            )

        return Look(False, f"The attribute {self.key} is there, with its options.")

    def apply(self, client: ChatwootClient) -> Done:
        """Make the attribute, or add what it lacks."""
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

        return Done(
            f"Created the attribute {self.key}.", MadeAttribute(_id(made), self.key)
        )

    def _extend(self, client: ChatwootClient, row: JSON) -> Done:
        values = row.get("attribute_values") or []
        missing = self._missing(values)

        if not missing:
            return Done(f"The attribute {self.key} had its options.")

        path = f"/custom_attribute_definitions/{row['id']}"
        client.call("PATCH", path, {"attribute_values": [*values, *missing]})

        return Done(
            f"Added {listed(missing)} to the options of attribute {self.key}.",
            AddedOptions(row["id"], self.key, missing),
        )

    def _missing(self, values: t.Sequence[str]) -> list[str]:
        """The options to add, the bot's first."""
        meant = {meaning(value, self.words) for value in values}
        missing = []

        for mode, usual in OPTIONS.items():
            wanted = self.options.get(mode)

            if wanted is None and mode not in meant:
                missing.append(usual)
            elif wanted is not None and wanted not in values:
                missing.append(wanted)

        return missing


@dataclass(frozen=True)
class Field:
    """The attribute in the pre-chat form of a website inbox."""

    inbox_id: int
    key: str

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing."""
        inbox = seen.websites[self.inbox_id]
        where = account.name_of(inbox)

        if account.shows(inbox, self.key):
            return Look(False, f"The pre-chat form of {where} shows {self.key}.")

        others = len(account.fields_of(inbox))
        kept = f"its {others} other fields stay" if others else "it has no other fields"
        on = "" if inbox.get("pre_chat_form_enabled") else ", and switch the form on"

        return Look(
            True, f"Show {self.key} in the pre-chat form of {where} ({kept}){on}."
        )

    def apply(self, client: ChatwootClient) -> Done:
        """Add the field behind the others, or enable it where it is."""
        # Chatwoot replaces the options as a whole: read now, not when it was planned.
        inbox = account.inbox(client, self.inbox_id)
        fields = account.fields_of(inbox)
        there = account.field_of(inbox, self.key)

        if account.shows(inbox, self.key):  # somebody was faster
            return Done(f"The form of {account.name_of(inbox)} showed {self.key}.")

        if there is None:
            fields = [*fields, self._field(client)]
        else:
            fields = [{**f, "enabled": True} if f is there else f for f in fields]

        options = {**account.options_of(inbox), "pre_chat_fields": fields}
        channel = {"pre_chat_form_enabled": True, "pre_chat_form_options": options}
        client.call("PATCH", f"/inboxes/{self.inbox_id}", {"channel": channel})

        return Done(
            f"The pre-chat form of {account.name_of(inbox)} shows {self.key}.",
            ShownField(
                self.inbox_id,
                self.key,
                added=there is None,
                switched=not inbox.get("pre_chat_form_enabled"),
                others=enabled(inbox, but=self.key),
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
            # Without one, the form would preselect the first option.
            "placeholder": label,
            "values": row.get("attribute_values") or [],
            "required": True,
            "enabled": True,
        }


@dataclass(frozen=True)
class Webhook:
    """An account webhook to us.

    :ivar token: For ``?token=``.
    :ivar configured: The token the app knows already.
    """

    place: str
    token: str | None = field(repr=False)
    configured: str | None = field(repr=False)

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing."""
        row = first(seen.webhooks_to(self.place))

        if row is None:
            return Look(
                True,
                f"Create an account webhook to {_shown(self.place, self.token)} for "
                f"{listed(EVENTS)}.",
            )

        if missing := _missing_events(row):
            return Look(
                True,
                f"Subscribe the webhook to {self.place} to {listed(missing)} too.",
            )

        return Look(False, f"There is a webhook to {self.place} with all events.")

    def apply(self, client: ChatwootClient) -> Done:
        """Make the webhook, or subscribe the one that is there."""
        rows = account.webhooks(client)
        there = [r for r in rows if account.same_place(r.get("url"), self.place)]

        if there:
            return self._extend(client, there[0])

        wanted = {
            "name": MARK,  # kept by Chatwoot 4.8 and later
            "url": _url(self.place, self.token),
            "subscriptions": list(EVENTS),
        }
        answer = client.call("POST", "/webhooks", wanted)
        made = account.inner(answer, "payload", "webhook")

        return Done(
            f"Created a webhook to {self.place}.",
            MadeWebhook(_id(made), self.place),
            _environment(made, self.token, self.configured),
        )

    def _extend(self, client: ChatwootClient, row: JSON) -> Done:
        missing = _missing_events(row)

        if not missing:
            return Done(f"The webhook to {self.place} had all events.")

        events = [*(row.get("subscriptions") or []), *missing]
        change = {"url": row["url"], "subscriptions": events}
        client.call("PATCH", f"/webhooks/{row['id']}", change)

        return Done(
            f"Subscribed the webhook to {self.place} to {listed(missing)}.",
            AddedEvents(row["id"], self.place, missing),
        )


@dataclass(frozen=True)
class Bot:
    """An agent bot whose deliveries come to us; otherwise like a webhook."""

    place: str
    token: str | None = field(repr=False)
    configured: str | None = field(repr=False)

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing.

        :raises SetupError: This version of Chatwoot has no agent bots to offer.
        """
        if seen.bots is None:
            raise SetupError(
                "Chatwoot 4.16.0 fails to serve agent bots to tokens (its pull request "
                "15088). Upgrade Chatwoot to 4.16.1 or later, or leave out --agent-bot."
            )

        if row := first(seen.bots_to(self.place)):
            return Look(
                False, f"The agent bot {row['id']} delivers to {self.place} already."
            )

        return Look(
            True,
            f"Create the agent bot {MARK!r} with deliveries to "
            f"{_shown(self.place, self.token)}.",
        )

    def apply(self, client: ChatwootClient) -> Done:
        """Make the bot."""
        if row := _to(self.place, account.bots(client)):  # somebody was faster
            return Done(f"The agent bot {row['id']} was there.")

        made = client.call(
            "POST",
            "/agent_bots",
            {
                "name": MARK,
                "description": NOTE,
                "outgoing_url": _url(self.place, self.token),
                "bot_type": _WEBHOOK_BOT,
                "bot_config": {},
            },
        )
        environment = _environment(made, self.token, self.configured)

        if token := account.inner(made, "access_token"):
            environment["CHATWOOT_API_ACCESS_TOKEN"] = token

        return Done(
            f"Created the agent bot {_id(made)}.",
            MadeBot(_id(made), self.place),
            environment,
        )


@dataclass(frozen=True)
class Link:
    """Our agent bot, answering in an inbox."""

    inbox_id: int
    place: str

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing.

        :raises SetupError: Another bot answers there.
        """
        where = account.name_of(seen.inboxes[self.inbox_id])
        linked = seen.links.get(self.inbox_id)
        ours = [row["id"] for row in seen.bots_to(self.place)]

        if linked in ours:
            return Look(False, f"The agent bot {linked} is linked to {where}.")

        if linked is not None:
            raise _taken(where, linked)

        return Look(True, f"Link the agent bot to {where}.")

    def apply(self, client: ChatwootClient) -> Done:
        """Link it.

        :raises SetupError: Another bot answers there by now.
        """
        bot_id = _id(_to(self.place, account.bots(client)))
        linked = account.linked_bot(client, self.inbox_id) or {}

        if linked.get("id") == bot_id:
            return Done(f"The agent bot {bot_id} was linked to inbox {self.inbox_id}.")

        if linked:
            raise _taken(f"inbox {self.inbox_id}", linked["id"])

        path = f"/inboxes/{self.inbox_id}/set_agent_bot"
        client.call("POST", path, {"agent_bot": bot_id})

        return Done(
            f"Linked the agent bot {bot_id} to inbox {self.inbox_id}.",
            LinkedBot(self.inbox_id, bot_id),
        )


def _taken(where: str, bot_id: int) -> SetupError:
    return SetupError(
        f"The agent bot {bot_id} answers in {where}, and there can be but one. Unlink "
        "it in Settings → Inboxes → Bot Configuration, or choose another inbox with "
        "--inbox."
    )


# -- helpers -------------------------------------------------------------------
def _environment(made: t.Any, token: str | None, configured: str | None) -> JSON:
    lines = {}

    if secret := account.inner(made, "secret"):
        lines["CHATWOOT_WEBHOOK_SECRET"] = secret

    if token and token != configured:
        lines["CHATWOOT_WEBHOOK_TOKEN"] = token

    return lines


def meaning(text: str, words: Vocabulary) -> Mode | None:
    """What an option text means to the app."""
    return words.get(text.strip().casefold())


def _missing_events(row: JSON) -> list[str]:
    return [event for event in EVENTS if event not in (row.get("subscriptions") or [])]


def _url(place: str, token: str | None) -> str:
    return f"{place}?{urlencode({'token': token})}" if token else place


def _shown(place: str, token: str | None) -> str:
    return f"{place}?token=…" if token else place


def first(rows: t.Sequence[JSON]) -> JSON | None:
    """The first, if there is any."""
    return rows[0] if rows else None


def _to(place: str, bots: t.Sequence[JSON]) -> JSON | None:
    """The bot that delivers to us."""
    return first([r for r in bots if account.same_place(r.get("outgoing_url"), place)])


def _id(made: t.Any) -> int:
    """The id of what was made.

    :raises SetupError: The answer has none.
    """
    id = account.inner(made, "id")

    if not isinstance(id, int):
        raise SetupError(
            "Chatwoot's answer names no id. Look in its settings whether something was "
            "made, and run setup again."
        )

    return id
