"""The record of what setup did: undo steps, in a file in the app's instance folder.

Each is written right after its step. If the file is lost, what setup made is recognised
by the name or the description that setup gave it, and by the URL; what setup changed in
things of others then stays.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import typing as t
from dataclasses import asdict

from flask_chatwoot.errors import SetupError

from . import account
from .account import JSON, AccountSettings
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
    UndoStep,
)

FILE_NAME: t.Final = "chatwoot.setup.json"
"""In the app's instance folder."""

_KINDS: t.Final[t.Mapping[str, t.Callable[..., UndoStep]]] = {
    "made_attribute": MadeAttribute,
    "added_options": AddedOptions,
    "shown_field": ShownField,
    "made_webhook": MadeWebhook,
    "added_events": AddedEvents,
    "made_bot": MadeBot,
    "linked_bot": LinkedBot,
}


class SetupRecord:
    """The undo steps of one account. Accounts may share the file; it holds no secret.

    Reads the file at once, and writes it with each change.

    :ivar where: The server and the account.

    :raises SetupError: The file cannot be read.
    """

    def __init__(self, path: str, *, base_url: str, account_id: int) -> None:
        self.path = path
        self.where = f"{base_url} account {account_id}"
        self._entries = self._load()

    @property
    def steps(self) -> list[UndoStep]:
        """In the order in which setup did what they undo.

        :raises SetupError: An entry is none of this package's.
        """
        try:
            return [
                _KINDS[entry["kind"]](**entry["values"])
                for entry in self._entries
                if entry["where"] == self.where
            ]
        except (KeyError, TypeError):
            raise self._unreadable() from None

    @property
    def elsewhere(self) -> list[str]:
        """The other servers and accounts of which the file holds steps."""
        where = {str(entry["where"]) for entry in self._entries if "where" in entry}

        return sorted(where - {self.where})

    def expect_writable(self) -> None:
        """Check that the file can be written, before there is something to keep.

        :raises SetupError: It cannot.
        """
        with self._writing():
            os.makedirs(self._folder, exist_ok=True)

            with tempfile.TemporaryFile(dir=self._folder):
                pass

    def add(self, step: UndoStep) -> None:
        """Keep an undo step.

        :raises SetupError: The file cannot be written.
        """
        if (entry := self._entry(step)) not in self._entries:
            self._entries.append(entry)
            self._save()

    def remove(self, step: UndoStep) -> None:
        """Remove an undo step; with the last one the file is deleted.

        :raises SetupError: The file cannot be written.
        """
        if (entry := self._entry(step)) in self._entries:
            self._entries.remove(entry)
            self._save()

    def _entry(self, step: UndoStep) -> JSON:
        (kind,) = [name for name, cls in _KINDS.items() if cls is type(step)]
        values = asdict(t.cast(t.Any, step))

        return {"where": self.where, "kind": kind, "values": values}

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

        if not all(isinstance(entry, dict) for entry in entries):
            raise self._unreadable()

        return entries

    def _save(self) -> None:
        with self._writing():
            if self._entries:
                self._write()
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self.path)

    def _write(self) -> None:
        os.makedirs(self._folder, exist_ok=True)
        new = f"{self.path}.new"

        with open(new, "w", encoding="utf-8") as file:
            json.dump(self._entries, file, indent=2, ensure_ascii=False)

        os.replace(new, self.path)

    @property
    def _folder(self) -> str:
        return os.path.dirname(self.path) or "."

    @contextlib.contextmanager
    def _writing(self) -> t.Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SetupError(
                f"The setup record {self.path!r} cannot be written: {error.strerror}. "
                "Let this process write there."
            ) from None

    def _unreadable(self) -> SetupError:
        return SetupError(
            f"The setup record {self.path!r} cannot be read. Move it away: what setup "
            "made is then recognised by its name."
        )


def undo_steps(
    current: AccountSettings, record: SetupRecord, url: str | None
) -> list[UndoStep]:
    """Everything to undo, the last first.

    :param url: The webhook's, to recognise what the record does not hold; ``None``:
        only what the record holds.
    """
    known = record.steps
    made = [step for step in recognised(current, url) if step not in known]

    if known:
        # The setup of another app may have made it: an attribute has no URL.
        made = [step for step in made if not isinstance(step, MadeAttribute)]

    return [*made, *reversed(known)]


def recognised(current: AccountSettings, url: str | None) -> list[UndoStep]:
    """Webhooks and bots with the name that setup gives and the URL, newest first."""
    if url is None:
        return []

    address = account.address_of(url)
    bots = [b for b in current.bots_to(url) if b.get("description") == NOTE]
    ids = [bot["id"] for bot in bots]
    found: list[UndoStep] = [
        LinkedBot(inbox, bot) for inbox, bot in current.links.items() if bot in ids
    ]
    found += [MadeBot(id, address) for id in ids]
    found += [
        MadeWebhook(row["id"], address)
        for row in current.webhooks_to(url)
        if row.get("name") == MARK
    ]
    found += [
        MadeAttribute(row["id"], row["attribute_key"])
        for row in current.attributes
        if row.get("attribute_description") == NOTE
    ]

    return found
