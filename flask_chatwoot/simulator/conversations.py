"""What the simulated API does with a conversation and its messages.

An endpoint is a row in ``routes.CONVERSATIONS`` and a method of
:class:`ConversationEndpoints` with the same name.
"""

from __future__ import annotations

import re
import typing as t

from werkzeug.wrappers import Request

from . import liquid, payloads
from .encoding import from_json
from .files import File
from .parameters import as_id, as_integer, as_list, is_true, parameters
from .payloads import JSON, Agent, MessageRecord, MessageType
from .refusals import RefusedError, check_attributes, check_parts
from .state import API_CHANNEL, State, StoredConversation

BOTS_ASSIGNED: t.Final = (4, 8)
MERGES: t.Final = (4, 17)
LONG_ATTRIBUTES: t.Final = (4, 9)
SHORT_ATTRIBUTES: t.Final = frozenset({"items", "in_reply_to", "automation_rule_id"})

MAX_CONTENT: t.Final = 150_000
FLOOD: t.Final = "Validation failed: Too many messages"
TOO_LONG: t.Final = (
    "Validation failed: Content is too long (maximum is 150000 characters)"
)
NO_INCOMING: t.Final = "Incoming messages are only allowed in Api inboxes"
NULL_BYTE: t.Final = "string contains null byte"

STATUSES: t.Final = frozenset({"open", "resolved", "pending", "snoozed"})
PRIORITIES: t.Final = frozenset({"low", "medium", "high", "urgent"})


class ConversationEndpoints:
    """The endpoints below a conversation. Called under the state's lock.

    Each method gets the conversation, the request, and the user or bot of its token.
    """

    def __init__(self, state: State, *, message_limit: int) -> None:
        self._state = state
        self._message_limit = message_limit

    def answer(
        self, name: str, stored: StoredConversation, request: Request, by: Agent
    ) -> JSON | str | None:
        """The body of the answer; its status is 200.

        :param name: One of ``routes.CONVERSATIONS``.
        :raises RefusedError: The answer is an error.
        """
        body: JSON | str | None = getattr(self, name)(stored, request, by)

        return body

    # Messages

    def create_message(
        self, stored: StoredConversation, request: Request, by: Agent
    ) -> JSON:
        """See ``app/builders/messages/message_builder.rb``."""
        given = parameters(request)
        uploads = request.files.getlist("attachments[]")
        attributes = self._content_attributes(given, stored)
        check_parts(given, attributes, len(uploads))
        incoming = given.get("message_type") == "incoming"
        content = None if given.get("content") is None else str(given["content"])
        self._check(stored, content or "", incoming)
        author = stored.current.contact if incoming else self._author(given, by)

        if content and not incoming:
            content = liquid.render(content, payloads.drops(stored.current, author))

        message = self._state.add(
            stored,
            author,
            content,
            posted=True,
            private=is_true(given.get("private")),
            content_type=given.get("content_type") or "text",
            content_attributes=attributes,
            attachments=[
                File(upload.filename or "file", upload.read(), upload.mimetype)
                for upload in uploads
            ],
            source_id=given.get("source_id"),
        )
        answer = payloads.api_message(
            message, stored.current, version=self._state.version
        )

        return answer | {k: given[k] for k in ("echo_id",) if given.get(k)}

    def _check(self, stored: StoredConversation, content: str, incoming: bool) -> None:
        """Refuse what ``message_builder.rb`` and the database do not store."""
        recent = self._state.clock() - 60
        count = sum(message.created_at >= recent for message in stored.messages)

        if count >= self._message_limit:
            raise RefusedError(422, FLOOD)

        if len(content) > MAX_CONTENT:
            raise RefusedError(422, TOO_LONG)

        if "\0" in content:
            raise RefusedError(422, NULL_BYTE)

        if incoming and stored.current.inbox.channel != API_CHANNEL:
            raise RefusedError(422, NO_INCOMING)

    def _author(self, given: JSON, by: Agent) -> Agent:
        named = (given.get("sender_type"), as_id(given.get("sender_id")))

        return self._state.bot if named == ("AgentBot", self._state.bot.id) else by

    def _content_attributes(self, given: JSON, stored: StoredConversation) -> JSON:
        """The attributes that are stored; an unknown ``in_reply_to`` becomes null."""
        kept = given.get("content_attributes")

        if isinstance(kept, str):
            kept = from_json(kept.encode())

        if not isinstance(kept, dict):
            return {}

        if self._state.version < LONG_ATTRIBUTES:
            kept = {key: kept[key] for key in kept.keys() & SHORT_ATTRIBUTES}

        if kept.get("in_reply_to") not in [message.id for message in stored.messages]:
            kept = {key: None if key == "in_reply_to" else kept[key] for key in kept}

        return kept

    def list_messages(
        self, stored: StoredConversation, request: Request, by: Agent
    ) -> JSON:
        """One page of the messages."""
        page = _page(stored.messages, request.args)

        return payloads.api_messages(page, stored.current, version=self._state.version)

    # The conversation

    def conversation(
        self, stored: StoredConversation, request: Request, by: Agent
    ) -> JSON:
        """The conversation as it is now."""
        return payloads.api_conversation(
            stored.current, stored.messages, version=self._state.version
        )

    def toggle_status(
        self, stored: StoredConversation, request: Request, by: Agent
    ) -> JSON:
        """See ``app/controllers/api/v1/accounts/conversations_controller.rb``."""
        given = parameters(request)
        wanted = given.get("status")
        success: bool | None = True

        if by.bot and (stored.status, wanted) == ("pending", "open"):
            self._state.hand_off(stored, by)
            success = None
        elif wanted:
            self._state.change(stored, by=by, **_wanted_status(given))
        else:
            other = "resolved" if stored.status == "open" else "open"
            self._state.change(stored, by=by, status=other)

        if not by.bot and self._state.role == "agent" and stored.status == "open":
            self._state.change(stored, by=by, assignee=by)

        return payloads.api_status(stored.current, success=success)

    def toggle_priority(
        self, stored: StoredConversation, request: Request, by: Agent
    ) -> str:
        """Set or remove the priority; a value that is not in Ruby's enum is a 500."""
        priority = parameters(request).get("priority") or None

        if priority is not None and str(priority) not in PRIORITIES:
            raise RefusedError(500)

        self._state.change(stored, by=by, priority=priority)

        return ""

    def toggle_typing_status(
        self, stored: StoredConversation, request: Request, by: Agent
    ) -> str:
        """See ``app/services/conversations/typing_status_manager.rb``."""
        given = parameters(request)
        status = given.get("typing_status")

        if status in ("on", "off"):
            private = is_true(given.get("is_private"))
            self._state.type(stored, by, status, private=private)

        return ""

    def custom_attributes(
        self, stored: StoredConversation, request: Request, by: Agent
    ) -> JSON:
        """Replace all of them, or with ``merge`` those that are named.

        Merging came after 4.16.2; that 4.17.0 has it is not verified (``merge`` in
        ``app/controllers/concerns/conversation_custom_attributes_concern.rb``).
        """
        given = parameters(request)
        new = given.get("custom_attributes")
        new = new if isinstance(new, dict) else None

        if self._state.version >= MERGES and is_true(given.get("merge")):
            new = {**stored.current.custom_attributes, **(new or {})}

        if new is None:
            raise RefusedError(500)

        check_attributes(new)
        self._state.change(stored, by=by, custom_attributes=new)

        return {"custom_attributes": new}

    def labels(self, stored: StoredConversation, request: Request, by: Agent) -> JSON:
        """All labels."""
        return {"payload": list(stored.current.labels)}

    def set_labels(
        self, stored: StoredConversation, request: Request, by: Agent
    ) -> JSON:
        """Replace all labels: ``app/controllers/concerns/label_concern.rb``."""
        given = parameters(request).get("labels")
        labels = [str(label).strip() for label in as_list(given)]
        kept = tuple(dict.fromkeys(filter(None, labels)))
        self._state.change(stored, by=by, labels=kept)

        return self.labels(stored, request, by)

    # The assignee

    def assignments(
        self, stored: StoredConversation, request: Request, by: Agent
    ) -> JSON | None:
        """See ``app/controllers/api/v1/accounts/conversations/assignments_controller``.

        An unknown user or team removes the assignee or the team; an unknown bot changes
        nothing (``app/services/conversations/assignment_service.rb``).
        """
        given = parameters(request)
        bots = self._state.version >= BOTS_ASSIGNED

        if bots and given.get("assignee_type") == "AgentBot":
            return self._assign_bot(stored, by, given.get("assignee_id"))

        if "assignee_id" in given:
            return self._assign_user(stored, by, given["assignee_id"])

        if "team_id" in given:
            return self._assign_team(stored, by, given["team_id"])

        return None

    def _assign_bot(
        self, stored: StoredConversation, by: Agent, id: t.Any
    ) -> JSON | None:
        state = self._state

        if as_id(id) != state.bot.id:
            return None

        state.change(stored, by=by, assignee=state.bot)

        return payloads.api_assignee(state.bot, state.account)

    def _assign_user(
        self, stored: StoredConversation, by: Agent, id: t.Any
    ) -> JSON | None:
        state = self._state
        users = (state.user, state.operator)
        user = next((user for user in users if user.id == as_id(id)), None)
        state.change(stored, by=by, assignee=user)

        if user is None:
            return None

        role = state.role if user is state.user else "agent"

        return payloads.api_assignee(user, state.account, role=role)

    def _assign_team(
        self, stored: StoredConversation, by: Agent, id: t.Any
    ) -> JSON | None:
        state = self._state
        team = state.team if as_id(id) == state.team.id else None
        state.change(stored, by=by, team=team)

        return payloads.api_team(team, state.account) if team else None


def _wanted_status(given: JSON) -> JSON:
    """The fields to change; a value that Ruby cannot read is a 500."""
    status, until = str(given["status"]), given.get("snoozed_until")

    if status not in STATUSES:
        raise RefusedError(500)

    if until is None or until is False:
        return {"status": status}

    if not re.fullmatch(r"\d{1,11}", str(until), re.ASCII):
        raise RefusedError(500)

    return {"status": status, "snoozed_until": float(until)}


def _page(
    messages: list[MessageRecord], query: t.Mapping[str, str]
) -> list[MessageRecord]:
    """The page that the query selects (``app/finders/message_finder.rb``)."""
    before, after = as_integer(query.get("before")), as_integer(query.get("after"))

    if (query.get("filter_internal_messages") or "").strip():
        messages = [
            m for m in messages if not m.private and m.type is not MessageType.ACTIVITY
        ]

    if before is not None and after is not None:
        return [m for m in messages if after <= m.id < before][:1000]

    if before is not None:
        return [m for m in messages if m.id < before][-20:]

    if after is not None:
        return [m for m in messages if m.id > after][:100]

    return messages[-20:]


PER_PAGE: t.Final = 25


def listed(state: State, query: t.Mapping[str, str]) -> list[StoredConversation]:
    """What the query selects (``app/finders/conversation_finder.rb``).

    With ``updated_within`` all of them at once, as 4.2 and 4.17 were seen to answer.
    """
    status = query.get("status") or "open"
    assignee = query.get("assignee_type") or "all"
    inbox_id = as_integer(query.get("inbox_id"))
    within = as_integer(query.get("updated_within"))
    since = 0.0 if within is None else state.clock() - within
    found = [
        stored
        for stored in state.conversations.values()
        if status in ("all", stored.status)
        and _has_assignee(stored, assignee)
        and inbox_id in (None, stored.current.inbox.id)
        and payloads.last_update(stored.current, stored.messages) > since
    ]

    if within is not None:
        return found

    page = as_integer(query.get("page")) or 1

    return found[(page - 1) * PER_PAGE : page * PER_PAGE]


def _has_assignee(stored: StoredConversation, wanted: str) -> bool:
    if wanted == "all":
        return True

    return (wanted == "assigned") == (stored.current.assignee is not None)
