"""Undo what setup did in Chatwoot, and nothing else.

How it knows: whatever setup does leaves an *undo* in a file beside the durable inbox,
written right after the step. An undo names the thing by its id in Chatwoot and by what
made it ours (the webhook's URL, the attribute's key), and both must still fit: a
webhook that was pointed elsewhere since, or a bot that was unlinked, is left alone.
What setup merely changed is changed back by the difference, read anew at that moment:
the option it added is taken out of the list, the field out of the form, and everything
else there stays as it is. An attribute goes only if no form shows it any more.

If the file is lost, what setup made is recognised by the name or the description that
setup gave it, and by the URL. What it merely changed then stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import typing as t
from dataclasses import asdict, dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, SetupError

from . import account
from .account import JSON, Account

MARK: t.Final = "Flask-Chatwoot"
"""The name of the webhooks and bots that setup makes."""

NOTE: t.Final = "Made by flask chatwoot setup."
"""The description of the attributes and bots that setup makes."""


class Look(t.NamedTuple):
    """What a step finds before it does anything: is there something to do, and what."""

    needed: bool
    text: str


@dataclass(frozen=True)
class Done:
    """What a step did.

    :ivar undo: How to undo it.
    :ivar environment: What the app has to know from now on; secrets among it.
    """

    text: str
    undo: Undo | None = None
    environment: t.Mapping[str, str] = field(default_factory=dict, repr=False)


class Step(t.Protocol):
    """One thing to do in Chatwoot, that knows when it is done already."""

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing."""

    def apply(self, client: ChatwootClient) -> Done:
        """Do it, by what is there at this moment."""


class Undo(Step, t.Protocol):
    """A step that undoes another; a frozen dataclass of what JSON can hold.

    What can not be undone yet comes back as ``Done.undo``.
    """


# -- undoes --------------------------------------------------------------------


@dataclass(frozen=True)
class MadeAttribute:
    """Setup made a custom attribute."""

    id: int
    key: str

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing."""
        row = seen.attribute(self.key)

        if row is None or row.get("id") != self.id:
            return Look(False, f"The attribute {self.key} of setup is gone already.")

        return Look(True, f"Delete the attribute {self.key}, if no form shows it.")

    def apply(self, client: ChatwootClient) -> Done:
        """Delete it. Chatwoot would take it out of every form; so there must be none.

        Conversations keep the values they have.
        """
        forms = [
            account.name_of(inbox)
            for inbox in account.inboxes(client)
            if account.field_of(inbox, self.key)
        ]

        if forms:
            where = ", ".join(forms)
            return Done(
                f"Kept the attribute {self.key}: the form of {where} shows it, and "
                "not by setup. Take it out there and run teardown again.",
                undo=self,
            )

        _delete(client, f"/custom_attribute_definitions/{self.id}")

        return Done(f"Deleted the attribute {self.key}.")


@dataclass(frozen=True)
class AddedOptions:
    """Setup added options to a list that was there."""

    id: int
    key: str
    options: list[str]

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing."""
        row = seen.attribute(self.key) or {}
        there = [o for o in self.options if o in _values(row)]

        if row.get("id") != self.id or not there:
            return Look(
                False, f"The options setup added to {self.key} are gone already."
            )

        return Look(
            True,
            f"Take {listed(there)} out of the options of the attribute {self.key}.",
        )

    def apply(self, client: ChatwootClient) -> Done:
        """Take the options out; those that others added stay."""
        rows = account.attributes(client)
        values = _values(next((row for row in rows if row.get("id") == self.id), {}))
        left = [value for value in values if value not in self.options]

        if not left:
            return Done(
                f"Kept the options of attribute {self.key}: there are no others.",
                undo=self,
            )

        if left != values:
            path = f"/custom_attribute_definitions/{self.id}"
            client.call("PATCH", path, {"attribute_values": left})

        return Done(f"The attribute {self.key} has the options {listed(left)} now.")


@dataclass(frozen=True)
class ShownField:
    """Setup made a pre-chat form show an attribute.

    :ivar added: The field was not there; else it was there, but not enabled.
    :ivar switched: The form was off.
    :ivar others: Names of the other fields that were enabled.
    """

    inbox_id: int
    key: str
    added: bool
    switched: bool
    others: list[str]

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing."""
        inbox = seen.websites.get(self.inbox_id, {})
        field = account.field_of(inbox, self.key)
        where = account.name_of(inbox) if inbox else f"inbox {self.inbox_id}"

        if field is None or not (self.added or field.get("enabled")):
            return Look(
                False, f"The form of {where} does not show {self.key} any more."
            )

        off = ", and switch the form off" if self._switches_off(inbox) else ""

        return Look(True, f"Take {self.key} out of the form of {where}{off}.")

    def apply(self, client: ChatwootClient) -> Done:
        """Take the field out of the form as it is now."""
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

        return Done(f"Took {self.key} out of the form of {account.name_of(inbox)}.")

    def _switches_off(self, inbox: JSON) -> bool:
        """A form that shows what it did not show then is in use by others."""
        return self.switched and set(enabled(inbox, but=self.key)) <= set(self.others)


@dataclass(frozen=True)
class MadeWebhook:
    """Setup made an account webhook."""

    id: int
    place: str

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing."""
        if _by_id(seen.webhooks_to(self.place), self.id) is None:
            return Look(
                False, f"The webhook {self.id} does not point to {self.place} any more."
            )

        return Look(True, f"Delete the webhook to {self.place}.")

    def apply(self, client: ChatwootClient) -> Done:
        """Delete it."""
        _delete(client, f"/webhooks/{self.id}")

        return Done(f"Deleted the webhook to {self.place}.")


@dataclass(frozen=True)
class AddedEvents:
    """Setup subscribed a webhook that was there to further events."""

    id: int
    place: str
    events: list[str]

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing."""
        row = _by_id(seen.webhooks_to(self.place), self.id) or {}
        there = [e for e in self.events if e in (row.get("subscriptions") or [])]

        if not there:
            return Look(
                False, f"The events setup added to webhook {self.id} are gone already."
            )

        return Look(
            True,
            f"End the subscription of the webhook to {self.place} to {listed(there)}.",
        )

    def apply(self, client: ChatwootClient) -> Done:
        """Subscribe it to the rest."""
        row = _by_id(account.webhooks(client), self.id) or {}
        events = row.get("subscriptions") or []
        left = [event for event in events if event not in self.events]

        if not left:
            return Done(
                f"Kept the events of the webhook to {self.place}: there are no others.",
                undo=self,
            )

        if left != events:
            change = {"url": row.get("url"), "subscriptions": left}
            client.call("PATCH", f"/webhooks/{self.id}", change)

        return Done(f"The webhook to {self.place} subscribes to {listed(left)} now.")


@dataclass(frozen=True)
class MadeBot:
    """Setup made an agent bot."""

    id: int
    place: str

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing."""
        if _by_id(seen.bots_to(self.place), self.id) is None:
            return Look(
                False,
                f"The agent bot {self.id} does not point to {self.place} any more.",
            )

        return Look(True, f"Delete the agent bot {self.id}, and with it its token.")

    def apply(self, client: ChatwootClient) -> Done:
        """Delete it, unless it was linked to further inboxes."""
        inboxes = [
            account.name_of(inbox)
            for inbox in account.inboxes(client)
            if (account.linked_bot(client, inbox["id"]) or {}).get("id") == self.id
        ]

        if inboxes:
            where = ", ".join(inboxes)
            return Done(
                f"Kept the agent bot {self.id}: it is linked to {where}, and not by "
                "setup. Unlink it there and run teardown again.",
                undo=self,
            )

        _delete(client, f"/agent_bots/{self.id}")

        return Done(f"Deleted the agent bot {self.id}.")


@dataclass(frozen=True)
class LinkedBot:
    """Setup linked a bot to an inbox."""

    inbox_id: int
    bot_id: int

    def look(self, seen: Account) -> Look:
        """Compare with what is there. Changes nothing."""
        if seen.links.get(self.inbox_id) != self.bot_id:
            return Look(
                False, f"The bot of setup is not linked to inbox {self.inbox_id}."
            )

        where = account.name_of(seen.inboxes[self.inbox_id])

        return Look(
            True,
            f"Unlink the agent bot from {where}. New conversations are open again; "
            "those that are pending stay so.",
        )

    def apply(self, client: ChatwootClient) -> Done:
        """Unlink it, if it still is the one."""
        bot = account.linked_bot(client, self.inbox_id) or {}

        if bot.get("id") == self.bot_id:
            path = f"/inboxes/{self.inbox_id}/set_agent_bot"
            client.call("POST", path, {"agent_bot": None})

        return Done(f"Unlinked the agent bot from inbox {self.inbox_id}.")


_KINDS: t.Final[t.Mapping[str, t.Callable[..., Undo]]] = {
    "made_attribute": MadeAttribute,
    "added_options": AddedOptions,
    "shown_field": ShownField,
    "made_webhook": MadeWebhook,
    "added_events": AddedEvents,
    "made_bot": MadeBot,
    "linked_bot": LinkedBot,
}


# -- what is to be undone ------------------------------------------------------


class Record:
    """The undoes of one account, in a file that other accounts may share.

    No secret is in it.
    """

    def __init__(self, path: str, *, base_url: str, account_id: int) -> None:
        self.path = path
        self._where = f"{base_url} account {account_id}"
        self._entries = self._load()

    @property
    def undoes(self) -> list[Undo]:
        """In the order in which setup did what they undo."""
        try:
            return [
                _KINDS[entry["kind"]](**entry["values"])
                for entry in self._entries
                if entry["where"] == self._where
            ]
        except (KeyError, TypeError):
            raise self._unreadable() from None

    def add(self, undo: Undo) -> None:
        """Remember it, on the disk."""
        if (entry := self._entry(undo)) not in self._entries:
            self._entries.append(entry)
            self._save()

    def remove(self, undo: Undo) -> None:
        """Forget it, on the disk; with the last one the file goes."""
        if (entry := self._entry(undo)) in self._entries:
            self._entries.remove(entry)
            self._save()

    def _entry(self, undo: Undo) -> JSON:
        (kind,) = [name for name, cls in _KINDS.items() if cls is type(undo)]
        values = asdict(t.cast(t.Any, undo))

        return {"where": self._where, "kind": kind, "values": values}

    def _load(self) -> list[JSON]:
        try:
            with open(self.path, encoding="utf-8") as file:
                entries = json.load(file)
        except FileNotFoundError:
            return []
        except (OSError, ValueError):
            raise self._unreadable() from None

        if not isinstance(entries, list):
            raise self._unreadable()

        return entries

    def _save(self) -> None:
        if not self._entries:
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.path)

            return

        os.makedirs(os.path.dirname(self.path) or ".", exist_ok=True)
        new = f"{self.path}.new"

        with open(new, "w", encoding="utf-8") as file:
            json.dump(self._entries, file, indent=2, ensure_ascii=False)

        os.replace(new, self.path)

    def _unreadable(self) -> SetupError:
        return SetupError(
            f"The record of setup {self.path!r} can not be read. Move it away: what "
            "setup made is then recognised by its name."
        )


def undoes(seen: Account, record: Record, url: str | None) -> list[Undo]:
    """What there is to undo, the last first.

    :param url: The webhook's; for what is not in the record. ``None``: only that.
    """
    known = record.undoes
    made = [undo for undo in recognised(seen, url) if undo not in known]

    if known:
        # Another app's setup may have made the attribute: it has no URL to tell.
        made = [undo for undo in made if not isinstance(undo, MadeAttribute)]

    return [*made, *reversed(known)]


def recognised(seen: Account, url: str | None) -> list[Undo]:
    """What has the name that setup gives, and the URL; the last made first."""
    if url is None:
        return []

    place = account.place_of(url)
    bots = [b for b in seen.bots_to(url) if b.get("description") == NOTE]
    ids = [bot["id"] for bot in bots]
    found: list[Undo] = [
        LinkedBot(inbox, bot) for inbox, bot in seen.links.items() if bot in ids
    ]
    found += [MadeBot(id, place) for id in ids]
    found += [
        MadeWebhook(row["id"], place)
        for row in seen.webhooks_to(url)
        if row.get("name") == MARK
    ]
    found += [
        MadeAttribute(row["id"], row["attribute_key"])
        for row in seen.attributes
        if row.get("attribute_description") == NOTE
    ]

    return found


# -- helpers -------------------------------------------------------------------


def enabled(inbox: JSON, *, but: str) -> list[str]:
    """Names of the fields a form shows, without one attribute's."""
    return [
        str(field.get("name"))
        for field in account.fields_of(inbox)
        if field.get("enabled") and not account.is_field(field, but)
    ]


def listed(texts: t.Iterable[str]) -> str:
    """Texts as one."""
    return ", ".join(texts) or "none"


def _values(attribute: JSON) -> list[str]:
    values = attribute.get("attribute_values")

    return values if isinstance(values, list) else []


def _by_id(rows: t.Iterable[JSON], id: int) -> JSON | None:
    return next((row for row in rows if row.get("id") == id), None)


def _delete(client: ChatwootClient, path: str) -> None:
    try:
        client.call("DELETE", path)
    except APIError as error:
        if error.status != 404:  # somebody was faster
            raise
