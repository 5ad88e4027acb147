"""Looks for operators' messages whose deliveries may be lost."""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field

from flask_chatwoot.payloads.conversation import (
    ChatwootMessage,
    Conversation,
    Speaker,
    identified,
)
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.payloads.listed import PAGE, PAGE_AFTER
from flask_chatwoot.queue.outbox import Outbox

from . import context
from .identity import is_by_other_bot, is_ours
from .live import LiveState
from .state import Ownership
from .store import OwnershipStore

PAGES: t.Final = 25
"""The most requests for one conversation."""

REMEMBERED: t.Final = 10_000
"""Conversations of which is remembered that they were searched."""


class Found(t.NamedTuple):
    """What a search has found.

    :ivar operator_id: The newest message of an operator; 0 if none is found.
    :ivar bot_message_id: The newest message of another bot; 0 if none is found.
    :ivar last_speaker: Who wrote last in public; ``None`` if that is unknown.
    :ivar messages: What was read. If a list was, those of the turn are among them.
    """

    operator_id: int
    bot_message_id: int
    last_speaker: Speaker | None
    messages: t.Sequence[ChatwootMessage] = ()


NOTHING: t.Final = Found(0, 0, None)


@dataclass(eq=False, repr=False, kw_only=True)
class OperatorSearch:
    """Finds the newest operator's message. Threads share it.

    Before the first public post of this process in a conversation all messages since
    the last resolve or return are searched; later those since the question.
    """

    live: LiveState
    store: OwnershipStore
    outbox: Outbox
    _searched: set[int] = field(default_factory=set, init=False)

    def newest(
        self,
        event: MessageEvent,
        live: Conversation,
        ownership: Ownership,
        *,
        after: int,
    ) -> Found:
        """Search a conversation before a public post. Blocks for its requests.

        :param after: The messages of the turn are newer than this one.
        :raises APIError: Its messages could not be listed.
        """
        conversation_id = event.conversation.id
        first = conversation_id not in self._searched and not ownership.taken
        last = live.last_message
        shown = [] if last is None or last.speaker is None else [last]

        if first:
            listed = self._since_end(conversation_id, live, ownership)
        elif context.needs_list(live, event.message.id) or any(
            # A post of ours may hide it, too, where it has no marker.
            each.by_operator and is_ours(self.outbox, conversation_id, each)
            for each in shown
        ):
            listed = self.live.messages(conversation_id, after)
        else:
            listed = []

        if any(each.presumed for each in listed):
            known = identified(listed, shown, bots_until=ownership.bot_message_id)
            return self._found(conversation_id, known)

        return self._found(conversation_id, [*listed, *shown])

    def note(self, conversation_id: int, ownership: Ownership) -> None:
        """Note that what was found in a conversation is stored."""
        if ownership.taken or conversation_id in self._searched:
            return

        if len(self._searched) >= REMEMBERED:
            self._searched = set()

        self._searched.add(conversation_id)

    def _found(
        self, conversation_id: int, messages: t.Sequence[ChatwootMessage]
    ) -> Found:
        newest_first = sorted(messages, key=lambda each: each.id, reverse=True)
        by_operators = (
            each.id
            for each in newest_first
            if each.speaker is Speaker.OPERATOR
            and not is_ours(self.outbox, conversation_id, each)
        )
        by_bots = (
            each.id
            for each in newest_first
            if is_by_other_bot(each, self.store)
            and not is_ours(self.outbox, conversation_id, each)
        )

        return Found(
            next(by_operators, 0),
            next(by_bots, 0),
            context.last_speaker(messages),
            messages,
        )

    def _since_end(
        self, conversation_id: int, live: Conversation, ownership: Ownership
    ) -> list[ChatwootMessage]:
        """The messages since the last resolve or return, oldest first.

        Of very many, the oldest, and the newest back to an operator's.
        """
        # Not taken: what is known of operators is older than its end.
        end = max(ownership.ended_message_id, ownership.operator_message_id)
        listed = self.live.messages(conversation_id, end)

        if not end:
            campaign = context.campaign_in(listed, live)
            listed = [each for each in listed if each.id not in campaign]

        if len(listed) < PAGE_AFTER:
            return listed

        return [*listed, *self._back_to(conversation_id, listed[-1].id)]

    def _back_to(self, conversation_id: int, known: int) -> list[ChatwootMessage]:
        found: list[ChatwootMessage] = []
        before: int | None = None

        for _ in range(PAGES):
            page = self.live.messages_before(conversation_id, before)
            found[:0] = [each for each in page if each.id > known]
            before = min((each.id for each in page), default=0)

            if len(page) < PAGE or before <= known:
                break

            if self._found(conversation_id, page).operator_id:
                break

        return found
