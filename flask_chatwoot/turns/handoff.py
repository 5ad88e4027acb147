"""The hand-off: attribute, status, assignment, and a note for operators."""

from __future__ import annotations

import contextlib
import functools
import json
import time
import typing as t
from dataclasses import dataclass, field

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError
from flask_chatwoot.logs import logger
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership import state
from flask_chatwoot.ownership.attributes import ToldAttributes
from flask_chatwoot.ownership.gate import Gate
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.state import Ownership
from flask_chatwoot.payloads import versions
from flask_chatwoot.payloads.conversation import Conversation
from flask_chatwoot.payloads.fields import (
    Object,
    as_id,
    as_object,
    as_text,
    is_visible,
    storable,
)
from flask_chatwoot.replies import Handoff, Turn
from flask_chatwoot.texts import ENGLISH, Texts

EXCERPT: t.Final = 300
"""Characters of a text that a note quotes."""

_ENDS: t.Final = (".", "!", "?", "…")
"""Of a sentence, in the languages of the notes."""

_TAKEN: t.Final = "taken"
"""The step that is done in the database: operators have the conversation."""
LONGEST_WAY: t.Final = 30.0
"""Seconds that a delivery may be under way, with retries
(``app/jobs/agent_bots/webhook_job.rb``)."""

_VERSION_TTL: t.Final = 3600.0
"""Seconds after which the server's version is requested again."""

log = logger(__name__)


def encode(handoff: Handoff, *, because: str | None = None, notes: int = 1) -> str:
    """What is stored of a hand-off until it is done, as JSON.

    :param because: The reason of the turn, where it is not the answer that hands off.
    :param notes: How many of the turn's posts, the last ones, tell operators of it.
    """
    stored: dict[str, t.Any] = {
        "team": handoff.team_id,
        "assignee": handoff.assignee_id,
        **({"because": because} if because else {}),
        **({"notes": notes} if notes > 1 else {}),
    }

    return json.dumps(stored)


def notes_in(handoff: str | None) -> int:
    """How many of a turn's posts, the last ones, tell operators of its hand-off."""
    if handoff is None:
        return 0

    return as_id(as_object(json.loads(handoff)).get("notes")) or 1


def because(handoff: str | None) -> str | None:
    """The reason that was stored with a hand-off, or ``None``."""
    return as_text(as_object(json.loads(handoff)).get("because")) if handoff else None


def note(handoff: Handoff, turn: Turn, said: str, texts: Texts = ENGLISH) -> str:
    """The note for operators, in Markdown.

    :param said: What the bot answered the customer; may be empty.
    """
    lines = [texts.get("handoff")]

    if handoff.reason:
        lines = [f"{lines[0]} {texts.get('reason', reason=handoff.reason)}"]

    if turn.text.strip():
        wrote = texts.get("wrote", count=max(len(turn.messages), 1))
        lines.append(f"{wrote}\n\n{quote(turn.text)}")

    if said.strip():
        lines.append(f"{texts.get('answered')}\n\n{quote(said)}")

    return "\n\n".join(lines)


def failure_note(
    reason: Reason,
    *,
    handed_off: bool,
    texts: Texts = ENGLISH,
    given: str | None = None,
) -> str:
    """The note for operators about a turn that failed for good.

    :param given: The reason in the host's own words.
    """
    why = texts.find(f"failed_{reason.value}") or reason.value

    if given and is_visible(given):
        why = _sentence(texts.get("reason", reason=_shortened(storable(given))))

    what = f"{texts.get('failed')} {why}"

    return f"{what} {texts.get('handed_off')}" if handed_off else what


def quote(text: str) -> str:
    """The beginning of a text, in Markdown."""
    return "\n".join(f"> {line}" for line in _shortened(text).splitlines())


def _sentence(text: str) -> str:
    """A text that another sentence may follow."""
    return text if text.endswith(_ENDS) else f"{text}."


def _shortened(text: str) -> str:
    short = text.strip()

    return short if len(short) <= EXCERPT else f"{short[:EXCERPT].rstrip()}…"


@dataclass(eq=False, repr=False, kw_only=True)
class ConversationChanges:
    """Changes conversations in Chatwoot. Every step may be repeated. Threads share it.

    Each method blocks during its requests, and raises an
    :class:`~flask_chatwoot.errors.APIError` if one of them failed or was refused.
    """

    client: ChatwootClient
    gate: Gate
    told: ToldAttributes
    _merges: bool | None = field(default=None, init=False)
    _ask_version_at: float = field(default=0.0, init=False)

    def hand_off(
        self,
        conversation_id: int,
        delivered: Conversation,
        handoff: str,
        keep: t.Callable[[str], object] = lambda handoff: None,
        *,
        received_at: float | None = None,
    ) -> bool:
        """Give a conversation to operators.

        :param delivered: The conversation as of the newest delivery, for tokens that
            may not read it.
        :param handoff: As from :func:`encode`, or as last given to ``keep``.
        :param keep: Called at the end with what to store of the hand-off, so that
            another attempt makes only the steps that are left.
        :param received_at: When that delivery came, by the database's time.
        :return: ``False`` if it was resolved since the question, or resolved or
            returned since the last attempt; then nothing is done.
        """
        wanted = as_object(json.loads(handoff))
        done = {*map(str, wanted.get("done") or ())}

        if not self._is_taken(conversation_id, delivered, again=_TAKEN in done):
            return False

        done.add(_TAKEN)

        try:
            self._make_steps(conversation_id, delivered, wanted, done, received_at)
        finally:
            keep(json.dumps({**wanted, "done": sorted(done)}))

        return True

    def _is_taken(
        self, conversation_id: int, delivered: Conversation, *, again: bool
    ) -> bool:
        """Whether operators have the conversation, from the first attempt on."""
        if again:
            return self.gate.store.load(conversation_id).taken

        gives = functools.partial(
            state.handed_off,
            message_id=delivered.newest_message_id,
            at=delivered.updated_at,
        )

        return self.gate.store.apply(conversation_id, gives).after.taken

    def _make_steps(
        self,
        conversation_id: int,
        delivered: Conversation,
        wanted: Object,
        done: set[str],
        received_at: float | None,
    ) -> None:
        """Make the steps that are not done yet, and add their names."""
        live = self.gate.live.conversation(conversation_id)
        current = live or self._as_told(conversation_id, delivered)
        ahead = _ahead(delivered, received_at) if live is None else None
        self._know(conversation_id, current, ahead)
        failed: APIError | None = None

        # A step that fails does not keep operators from the conversation. Without an
        # answer the others would only wait as long.
        for name, step in self._steps(conversation_id, current, wanted, ahead):
            if name in done:
                continue

            try:
                step()
            except APIError as error:
                if error.status is None:
                    raise

                failed = failed or error
            else:
                done.add(name)

        if failed is not None:
            raise failed

    def _steps(
        self,
        conversation_id: int,
        current: Conversation,
        wanted: Object,
        ahead: float | None,
    ) -> t.Iterator[tuple[str, t.Callable[[], None]]]:
        client = self.client
        team_id = as_id(wanted.get("team"))
        assignee_id = as_id(wanted.get("assignee"))

        yield "attribute", lambda: self._set_human(conversation_id, current, ahead)

        if current.status == "pending":
            yield "status", lambda: client.toggle_status(conversation_id, "open")

        if team_id:
            yield "team", lambda: client.assign(conversation_id, team_id=team_id)

        if assignee_id:
            yield (
                "assignee",
                lambda: client.assign(conversation_id, assignee_id=assignee_id),
            )

    def set_human(
        self,
        conversation_id: int,
        delivered: Conversation,
        *,
        received_at: float | None = None,
    ) -> None:
        """Set the attribute to human, and nothing else; see :meth:`hand_off`."""
        live = self.gate.live.conversation(conversation_id)
        current = live or self._as_told(conversation_id, delivered)
        ahead = _ahead(delivered, received_at) if live is None else None
        self._set_human(conversation_id, current, ahead)

    def open_pending(self, conversation_id: int, delivered: Conversation) -> bool:
        """Open a pending conversation: operators do not see it in their list.

        :return: Whether it was pending, and is open now.
        """
        if delivered.status != "pending":
            return False

        if self._current(conversation_id, delivered).status != "pending":
            return False

        self.client.toggle_status(conversation_id, "open")

        return True

    def restore_choice(
        self, conversation_id: int, delivered: Conversation, ownership: Ownership
    ) -> None:
        """Set the attribute to its value from before this package set it to human.

        :param ownership: As of when that was found to be due: its ``to_restore`` is
            not ``None``.
        """
        current = self._current(conversation_id, delivered)
        value = json.loads(t.cast(str, ownership.to_restore))
        at = current.updated_at

        if self.gate.modes.choice(current) is Mode.HUMAN:
            attribute, before = self.gate.modes.name, current.custom_attributes

            if value is None:
                rest = {k: v for k, v in before.items() if k != attribute}
                self.client.set_custom_attributes(conversation_id, rest)
            else:
                self._write(conversation_id, before, {attribute: value})

            at = self._time_after(conversation_id, current)

        restored = functools.partial(state.attribute_restored, at=at)
        self.gate.store.apply(conversation_id, restored)

    def _time_after(self, conversation_id: int, before: Conversation) -> float | None:
        """Chatwoot's time of the state after a write, or else of the one before it."""
        with contextlib.suppress(APIError):
            live = self.gate.live.conversation(conversation_id)

            if live is not None and self.gate.modes.choice(live) is not Mode.HUMAN:
                return live.updated_at

        return before.updated_at

    def _current(self, conversation_id: int, delivered: Conversation) -> Conversation:
        """The conversation as it is now, or if it may not be read, as it was told."""
        live = self.gate.live.conversation(conversation_id)

        return live or self._as_told(conversation_id, delivered)

    def _as_told(self, conversation_id: int, delivered: Conversation) -> Conversation:
        status = state.newest_status(
            self.gate.store.load(conversation_id),
            delivered.status,
            delivered.updated_at,
        )

        return self.told.newest(delivered)._replace(status=status)

    def _set_human(
        self, conversation_id: int, current: Conversation, ahead: float | None
    ) -> None:
        value = current.custom_attributes.get(self.gate.modes.name)
        former, at = None, current.updated_at

        # Each write makes Chatwoot send events, so a right value is not written again.
        if self.gate.modes.meaning(value) is not Mode.HUMAN:
            change = {self.gate.modes.name: self.gate.modes.human_value(value)}
            self._write(conversation_id, current.custom_attributes, change)
            # Whoever may read the conversation sees a return there; an agent bot before
            # 4.13 sees it in the state that comes with the next message, unless that
            # was made before this and waits for its delivery.
            former, at = json.dumps(value), self._time_now(current, ahead)
            at = None if at is None else at + LONGEST_WAY

        def seen(known: Ownership) -> Ownership:
            known = state.attribute_set(known, former)

            return known if at is None else state.human_seen(known, at)

        self.gate.store.apply(conversation_id, seen)

    def _know(
        self, conversation_id: int, current: Conversation, ahead: float | None
    ) -> None:
        """Record what the hand-off knows, unless that is a resolve."""
        if current.status == "resolved":
            return

        at = current.updated_at if ahead is None else self._time_now(current, ahead)
        self.gate.store.apply(
            conversation_id, functools.partial(state.known_later, at=at)
        )

    def _time_now(self, current: Conversation, ahead: float | None) -> float | None:
        """Chatwoot's time, or somewhat less; ``None`` if it is unknown.

        :param ahead: See :func:`_ahead`.
        """
        if ahead is None:
            return None

        return max(self.gate.clock() + ahead, current.updated_at or 0.0)

    def _write(self, conversation_id: int, before: Object, change: Object) -> None:
        """Change attributes and keep the others, which Chatwoot would drop."""
        if self._server_merges():
            after = self.client.set_custom_attributes(
                conversation_id, change, merge=True
            )

            if not _was_replaced(before, change, after):
                return

        self.client.set_custom_attributes(conversation_id, {**before, **change})

    def _server_merges(self) -> bool:
        """Whether this version should know ``merge``; its answer is checked, too."""
        if self._merges is None or time.monotonic() > self._ask_version_at:
            self._ask_version_at = time.monotonic() + _VERSION_TTL

            try:
                version = self.client.server_version()
                self._merges = versions.merges_attributes(version)
            except APIError as error:
                log.debug("the server's version is unknown: %s", error)
                self._merges = False

        return self._merges


def _ahead(delivered: Conversation, received_at: float | None) -> float | None:
    """Seconds by which Chatwoot's time is ahead of the database's, or somewhat less.

    :param delivered: The state in a delivery, which may be older than the newest one.
    :param received_at: When that came, by the database's time.
    :return: ``None`` if it is unknown.
    """
    if received_at is None or delivered.updated_at is None:
        return None

    return delivered.updated_at - received_at


def _was_replaced(before: Object, change: Object, after: Object) -> bool:
    """Whether the other attributes are gone after a write that should keep them."""
    others = before.keys() - change.keys()
    has_others = change.keys() < after.keys()

    return bool(others) and not has_others
