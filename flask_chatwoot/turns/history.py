"""Earlier messages of a conversation, as models take them."""

from __future__ import annotations

import logging
import typing as t
from dataclasses import dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, ChatwootError
from flask_chatwoot.ownership.store import Memory, Said
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.fields import Object, as_id, as_object, storable
from flask_chatwoot.replies import HistoryEntry

PAGE: t.Final = 20
"""Messages Chatwoot lists before another one (``app/finders/message_finder.rb``)."""

_PAGES: t.Final = 25
"""Pages to read at most: most of a long conversation may be notes."""

log = logging.getLogger(__name__)


@dataclass(eq=False, repr=False, kw_only=True)
class History:
    """Reads what was said. Threads share it.

    :ivar reader: Whose token may list messages, if any may. A bot's never may; then
        what our own webhook has seen is kept, and told.
    """

    reader: ChatwootClient
    memory: Memory
    _learned: bool = field(default=False, init=False)

    def learn(self, conversation_id: int) -> None:
        """Find out, once, whether messages can be listed or have to be kept."""
        if self._learned:
            return

        try:
            self.reader.messages(conversation_id)
        except APIError as error:
            if error.status != 401:
                return

            self.memory.set_remembering(True)
            log.info(
                "the token may not list messages; what is said is kept for "
                "turn.history() from now on. CHATWOOT_USER_ACCESS_TOKEN may be that "
                "of a user."
            )
        else:
            self.memory.set_remembering(False)

        self._learned = True

    def note(self, conversation_id: int, said: t.Sequence[Said]) -> None:
        """Keep what was said in public, if it has to be kept."""
        spoken = [
            each._replace(content=storable(each.content))
            for each in said
            if each.content
        ]

        if spoken and self.memory.remembers():
            self.memory.remember(conversation_id, spoken)

    def read(
        self,
        conversation_id: int,
        *,
        before: int | None,
        limit: int,
        characters: int,
        asked: t.Collection[int] = (),
    ) -> list[HistoryEntry]:
        """What was said before a message, since the last resolve; oldest first.

        :param before: The message; ``None``: all that was said so far.
        :param asked: Ids of what the customer said just now, which is no history yet.
        """
        if limit < 1:
            return []

        try:
            said = self._said_so_far(conversation_id, before, limit + len(asked))
        except ChatwootError as error:
            log.warning("there is no history: %s", error)
            return []

        earlier = [
            each for each in said if each.role != "user" or each.message_id not in asked
        ]

        return _cut(earlier[-limit:], characters)

    def _said_so_far(
        self, conversation_id: int, before: int | None, limit: int
    ) -> list[Said]:
        if self.memory.remembers():
            return self.memory.recall(conversation_id, before=before, limit=limit)

        return self._list(conversation_id, before, limit)

    def _list(self, conversation_id: int, before: int | None, limit: int) -> list[Said]:
        begin = self.memory.holding(conversation_id).resolved_message_id
        found: list[Said] = []

        for _ in range(_PAGES):
            page = self.reader.messages(conversation_id, before=before)
            ids = [as_id(message.get("id")) or 0 for message in page]
            said = [each for message in page for each in _said(message)]
            found[:0] = [each for each in said if each.message_id > begin]

            if len(page) < PAGE or len(found) >= limit or min(ids) <= begin:
                break

            before = min(ids)

        return found[-limit:]


def _said(message: Object) -> list[Said]:
    """A message as part of the history, and what was picked in it, if anything."""
    kind = message.get("message_type")
    role = _ROLES.get(kind) if isinstance(kind, int | str) else None
    deleted = as_object(message.get("content_attributes")).get("deleted")
    content = events.text_of(message)

    if role is None or message.get("private") or deleted:
        return []

    message_id = as_id(message.get("id")) or 0
    picked = events.picked_in(message) if role == "assistant" else ""
    said = Said(message_id, role, content), Said(message_id, "user", picked)

    return [each for each in said if each.content]


_ROLES: t.Final[dict[t.Any, str]] = {
    0: "user",
    "incoming": "user",
    1: "assistant",
    "outgoing": "assistant",
}


def _cut(said: t.Sequence[Said], characters: int) -> list[HistoryEntry]:
    """The newest that fit."""
    entries: list[HistoryEntry] = []

    for each in reversed(said):
        characters -= len(each.content)

        if characters < 0:
            break

        entries.insert(0, {"role": each.role, "content": each.content})

    return entries
