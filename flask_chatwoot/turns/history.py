"""Earlier messages of a conversation, as models take them."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from types import MappingProxyType

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, ChatwootError
from flask_chatwoot.history import HistoryEntry, Role
from flask_chatwoot.logs import logger
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.payloads.attachments import described
from flask_chatwoot.payloads.conversation import ChatwootMessage
from flask_chatwoot.payloads.fields import storable
from flask_chatwoot.payloads.listed import PAGE
from flask_chatwoot.queue.transcript import Transcript, TranscriptEntry

from .handoff import quote

_PAGES: t.Final = 25
"""Pages to read at most: most of a long conversation may be notes."""

_NO_REPLIES: t.Final[t.Mapping[int, int]] = MappingProxyType({})

log = logger(__name__)


@dataclass(eq=False, repr=False, kw_only=True)
class History:
    """Reads earlier messages. Threads share it.

    :ivar reader: With the token that may list messages, if any may. A bot's never may;
        then what deliveries bring is kept in the transcript.
    """

    reader: ChatwootClient
    ownership: OwnershipStore
    transcript: Transcript
    _learned: bool = field(default=False, init=False)

    def learn(self, conversation_id: int) -> None:
        """Find out, once, whether messages can be listed or must be kept."""
        if self._learned:
            return

        try:
            self.reader.messages(conversation_id)
        except APIError as error:
            if not error.lacks_right:
                return

            self.transcript.set_kept(True)
            log.debug(
                "the token may not list messages; they are kept for turn.history() "
                "from now on. Set CHATWOOT_USER_ACCESS_TOKEN to a user's token to have "
                "them read from Chatwoot."
            )
        else:
            self.transcript.set_kept(False)

        self._learned = True

    def keep(
        self,
        conversation_id: int,
        said: t.Sequence[TranscriptEntry],
        *,
        replies: t.Mapping[int, int] = _NO_REPLIES,
    ) -> None:
        """Keep public messages, if Chatwoot will not list them.

        :param replies: Ids of messages, and of those that they reply to.
        """
        spoken = [
            each._replace(content=storable(each.content))
            for each in said
            if each.content
        ]

        if spoken and self.transcript.is_kept():
            texts = self._quoted(conversation_id, spoken, replies)
            self.transcript.add(
                conversation_id,
                [
                    _quoting(each, texts.get(replies.get(each.message_id)))
                    for each in spoken
                ],
            )

    def _quoted(
        self,
        conversation_id: int,
        said: t.Sequence[TranscriptEntry],
        replies: t.Mapping[int, int],
    ) -> dict[int | None, str]:
        """The texts of the messages that these reply to, as far as they are kept."""
        known = {each.message_id: each.content for each in said}
        texts: dict[int | None, str] = {}

        for number in replies.values():
            before = min(number + 1, 2**63 - 1)  # the database has no higher ones
            kept = self.transcript.read(conversation_id, before=before, limit=1)
            found = {each.message_id: each.content for each in kept} | known
            texts[number] = found.get(number, "")

        return texts

    def revise(self, conversation_id: int, message: ChatwootMessage) -> None:
        """Let what is kept of a message follow what it is now."""
        role = _ROLES.get(message.type)

        if role is None or message.private or not self.transcript.is_kept():
            return

        content = "" if message.deleted else storable(message.text)
        entry = TranscriptEntry(message.id, role, content)
        self.transcript.revise(conversation_id, entry)

    def read(
        self,
        conversation_id: int,
        *,
        before: int | None,
        limit: int,
        characters: int,
        asked: t.Collection[int] = (),
    ) -> list[HistoryEntry]:
        """Messages before one, since the last resolve; oldest first.

        :param before: The message; ``None``: all messages so far.
        :param asked: Ids of the turn's own messages, which are left out.
        """
        if limit < 1:
            return []

        try:
            found = self._newest(conversation_id, before, limit + len(asked))
        except ChatwootError as error:
            log.warning("there is no history: %s", error)
            return []

        earlier = [
            each
            for each in found
            if each.role != "user" or each.message_id not in asked
        ]

        return _cut(earlier[-limit:], characters)

    def _newest(
        self, conversation_id: int, before: int | None, limit: int
    ) -> list[TranscriptEntry]:
        if self.transcript.is_kept():
            return self.transcript.read(conversation_id, before=before, limit=limit)

        return self._list(conversation_id, before, limit)

    def _list(
        self, conversation_id: int, before: int | None, limit: int
    ) -> list[TranscriptEntry]:
        begin = self.ownership.load(conversation_id).resolved_message_id
        found: list[TranscriptEntry] = []
        texts: dict[int | None, str] = {}
        replies: dict[int, int | None] = {}

        for _ in range(_PAGES):
            page = self.reader.messages(conversation_id, before=before)
            oldest = min((message.id for message in page), default=0)
            texts |= {each.id: _said(each) for each in page if not each.private}
            replies |= {each.id: each.in_reply_to for each in page}
            entries = [each for message in page for each in _entries(message)]
            found[:0] = [each for each in entries if each.message_id > begin]

            if len(page) < PAGE or len(found) >= limit or oldest <= begin:
                break

            before = oldest

        return [
            _quoting(each, texts.get(replies[each.message_id]))
            for each in found[-limit:]
        ]


def _quoting(entry: TranscriptEntry, quoted: str | None) -> TranscriptEntry:
    """An entry that begins with what it replies to, if that is known."""
    if not quoted:
        return entry

    return entry._replace(content=f"{quote(quoted)}\n\n{entry.content}")


def _said(message: ChatwootMessage) -> str:
    return "" if message.deleted else described(message.text, message.attachments)


def _entries(message: ChatwootMessage) -> list[TranscriptEntry]:
    """A message as part of the history, and what was picked in it, if anything."""
    role = _ROLES.get(message.type)

    if role is None or message.private or message.deleted:
        return []

    entries = [TranscriptEntry(message.id, role, _said(message))]

    if role == "assistant":
        entries.append(TranscriptEntry(message.id, "user", message.picked))

    return [each for each in entries if each.content]


_ROLES: t.Final[t.Mapping[str, Role]] = MappingProxyType(
    {"incoming": "user", "outgoing": "assistant"}
)


def _cut(said: t.Sequence[TranscriptEntry], characters: int) -> list[HistoryEntry]:
    """The newest entries that fit, without gaps."""
    entries: list[HistoryEntry] = []

    for each in reversed(said):
        characters -= len(each.content)

        if characters < 0:
            break

        entries.insert(0, HistoryEntry(role=each.role, content=each.content))

    return entries
