"""Give a conversation to people: attribute, status, assignment, and a note."""

from __future__ import annotations

import json
import logging
import time
import typing as t
from dataclasses import dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.config import Config
from flask_chatwoot.errors import APIError, PermanentError
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership import mode
from flask_chatwoot.ownership.gate import Gate
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.store import Holding, Memory
from flask_chatwoot.payloads.fields import Object, as_id, as_object, as_seconds
from flask_chatwoot.payloads.versions import merges_attributes
from flask_chatwoot.replies import Handoff, Turn

EXCERPT: t.Final = 300
"""Characters of a text that a note quotes."""

_ASK_VERSION_AGAIN: t.Final = 3600.0

log = logging.getLogger(__name__)


def encode(handoff: Handoff) -> str:
    """What has to be remembered of a hand-off until it is done."""
    return json.dumps({"team": handoff.team_id, "assignee": handoff.assignee_id})


def note(handoff: Handoff, turn: Turn, said: str) -> str:
    """What operators are told, in Markdown.

    :param said: What the customer was told; may be empty.
    """
    reason = f" Reason: {handoff.reason}" if handoff.reason else ""
    count = len(turn.messages)
    lines = [f"**The bot hands this conversation over.**{reason}"]

    if turn.text.strip():
        lines.append(f"The customer wrote{_several(count)}:\n\n{_quote(turn.text)}")

    if said.strip():
        lines.append(f"The bot answered:\n\n{_quote(said)}")

    return "\n\n".join(lines)


def failure_note(reason: Reason, *, handed_off: bool) -> str:
    """What operators are told when a turn failed for good."""
    what = f"**The bot could not answer.** {_FAILURES.get(reason, reason)}"

    return f"{what} The conversation is handed over." if handed_off else what


_FAILURES: t.Final = {
    Reason.PROVIDER_FAILED: "Its reply function failed, on every attempt.",
    Reason.PROVIDER_INVALID: "Its reply function returned something unusable.",
    Reason.NO_PROVIDER: "No reply function is registered.",
    Reason.REFUSED: "Chatwoot did not accept its message.",
    Reason.RATE_LIMITED: "Chatwoot was asked too often.",
    Reason.SERVER_ERROR: "Chatwoot failed, on every attempt.",
    Reason.UNREACHABLE: "Chatwoot could not be reached.",
    Reason.UNCONFIRMED: "A reply was sent, but does not seem to have arrived.",
    Reason.CRASHED: "Its process ended in the middle, on every attempt.",
}


def _several(count: int) -> str:
    return f" {count} messages" if count > 1 else ""


def _quote(text: str) -> str:
    short = text.strip()

    if len(short) > EXCERPT:
        short = f"{short[:EXCERPT].rstrip()}…"

    return "\n".join(f"> {line}" for line in short.splitlines())


@dataclass(eq=False, repr=False, kw_only=True)
class Handover:
    """Changes conversations in Chatwoot. Every step may be repeated. Threads share it.

    Each method blocks while Chatwoot is asked, and raises an
    :class:`~flask_chatwoot.errors.APIError` if it can not be done.
    """

    config: Config
    client: ChatwootClient
    gate: Gate
    memory: Memory
    _merges: bool | None = field(default=None, init=False)
    _ask_version_at: float = field(default=0.0, init=False)

    def perform(self, conversation_id: int, known: Object, handoff: str) -> None:
        """Give a conversation to people.

        :param known: The conversation as of the newest delivery, for tokens that may
            not read it.
        :param handoff: As from :func:`encode`.
        """
        self.memory.take(conversation_id)
        current = self._current(conversation_id, known)
        refused: PermanentError | None = None

        # What one step is refused for need not keep people from the conversation.
        for step in self._steps(conversation_id, current, handoff):
            try:
                step()
            except PermanentError as error:
                refused = refused or error

        if refused is not None:
            raise refused

    def _steps(
        self, conversation_id: int, current: Object, handoff: str
    ) -> t.Iterator[t.Callable[[], None]]:
        client = self.client
        wanted = as_object(json.loads(handoff))
        team_id = as_id(wanted.get("team"))
        assignee_id = as_id(wanted.get("assignee"))

        yield lambda: self._mark(conversation_id, current)

        if current.get("status") == "pending":
            yield lambda: client.toggle_status(conversation_id, "open")

        if team_id:
            yield lambda: client.assign(conversation_id, team_id=team_id)

        if assignee_id:
            yield lambda: client.assign(conversation_id, assignee_id=assignee_id)

    def mark(self, conversation_id: int, known: Object) -> None:
        """Set the attribute of a conversation to human, and nothing else."""
        self._mark(conversation_id, self._current(conversation_id, known))

    def show(self, conversation_id: int, known: Object) -> None:
        """Open a pending conversation, which operators do not see."""
        if known.get("status") != "pending":
            return

        if self._current(conversation_id, known).get("status") == "pending":
            self.client.toggle_status(conversation_id, "open")

    def restore(self, conversation_id: int, known: Object, holding: Holding) -> None:
        """Let the attribute say what it said before it was set to human here.

        :param holding: What was known when that was found to be due. Its ``former``
            is not ``None``.
        """
        attribute = self.config.support_mode_attr
        current = self._current(conversation_id, known)
        attributes = dict(as_object(current.get("custom_attributes")))
        value = json.loads(t.cast(str, holding.former))

        if mode.meaning(attributes.get(attribute), self.config.words) is Mode.HUMAN:
            before = {k: v for k, v in attributes.items() if k != attribute}
            change = {} if value is None else {attribute: value}
            self.client.set_custom_attributes(conversation_id, {**before, **change})

        self.memory.give_back(conversation_id, newest=holding.operator_message_id)

    def _current(self, conversation_id: int, known: Object) -> Object:
        live = self.gate.ask(conversation_id)

        return known if live is None else live

    def _mark(self, conversation_id: int, current: Object) -> None:
        attribute = self.config.support_mode_attr
        attributes = dict(as_object(current.get("custom_attributes")))
        value = attributes.get(attribute)
        former = None

        # Each write makes Chatwoot tell everybody; what is right is left alone.
        if mode.meaning(value, self.config.words) is not Mode.HUMAN:
            chosen = mode.human_value(value, self.config.human_values)
            self._write(conversation_id, attributes, {attribute: chosen})
            former = json.dumps(value)

        self.memory.marked(conversation_id, former)
        self._note_time(conversation_id, current)

    def _note_time(self, conversation_id: int, before: Object) -> None:
        """Note since when the attribute says human, by whichever clock is ahead.

        An agent bot before 4.13 is not told when an operator sets it to bot again, but
        by the state that comes with the next message.
        """
        seen = as_seconds(before.get("updated_at")) or 0.0
        now = self.gate.inbox.clock()
        self.memory.seen_human(conversation_id, max(now, seen))

    def _write(self, conversation_id: int, before: Object, change: Object) -> None:
        """Change attributes and keep the others, which Chatwoot would drop."""
        if self._server_merges():
            after = self.client.set_custom_attributes(
                conversation_id, change, merge=True
            )

            if all(key in after for key in before):
                return

        self.client.set_custom_attributes(conversation_id, {**before, **change})

    def _server_merges(self) -> bool:
        """Whether the server knows ``merge``; asked again after an hour."""
        if self._merges is None or time.monotonic() > self._ask_version_at:
            self._ask_version_at = time.monotonic() + _ASK_VERSION_AGAIN

            try:
                self._merges = merges_attributes(self.client.server_version())
            except APIError as error:
                log.info("the server's version is unknown: %s", error)
                self._merges = False

        return self._merges
