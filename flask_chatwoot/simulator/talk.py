"""A conversation as its customer and its operators use it."""

from __future__ import annotations

import typing as t

from . import payloads
from .files import Attached, name_in
from .payloads import JSON, Agent, ConversationRecord, MessageRecord, MessageType
from .state import WEBSITE, State, StoredConversation

DELETED: t.Final = "This message was deleted"
"""What Chatwoot writes in place of a text (``config/locales/en.yml``)."""


class Talk:
    """One conversation, seen from outside. Made by ``Simulator.conversation``.

    Any thread may use it. Its methods store and send events at once; deliveries are
    made in the background.
    """

    def __init__(self, state: State, stored: StoredConversation) -> None:
        self._state = state
        self._stored = stored

    # State

    @property
    def current(self) -> ConversationRecord:
        """The conversation as it is now."""
        return self._stored.current

    @current.setter
    def current(self, conversation: ConversationRecord) -> None:
        with self._state.changing():
            self._stored.current = conversation

    @property
    def id(self) -> int:
        """The display id."""
        return self.current.id

    @property
    def status(self) -> str:
        """``open``, ``pending``, ``snoozed`` or ``resolved``."""
        return self.current.status

    @property
    def messages(self) -> list[MessageRecord]:
        """All of them, activities and notes included, oldest first."""
        with self._state.lock:
            return list(self._stored.messages)

    @property
    def posted(self) -> list[MessageRecord]:
        """The messages that were made through the API, oldest first."""
        with self._state.lock:
            return list(self._stored.posted)

    @property
    def replies(self) -> list[str]:
        """The texts that were posted through the API for the customer, oldest first."""
        return [m.content or "" for m in self.posted if not m.private]

    @property
    def notes(self) -> list[str]:
        """The texts that were posted through the API as notes, oldest first."""
        return [m.content or "" for m in self.posted if m.private]

    @property
    def typing(self) -> list[str]:
        """Each ``"on"`` and ``"off"`` of the typing indicator, oldest first."""
        with self._state.lock:
            return list(self._stored.typing)

    @property
    def transcript(self) -> str:
        """The messages with their authors, oldest first.

        Further lines of a message are indented. Files, picked items and answers of a
        form are in brackets. Activities are left out.
        """
        return "\n".join(
            _line(message)
            for message in self.messages
            if message.type is not MessageType.ACTIVITY
        )

    # The customer

    def customer_says(
        self,
        content: str | None = None,
        *,
        attachments: t.Sequence[Attached] = (),
        **fields: t.Any,
    ) -> MessageRecord:
        """Store an incoming message, and deliver it in the background.

        A snoozed conversation opens; a resolved one becomes *pending* if a bot is
        connected, else it opens.

        :param attachments: Files as ``(name, bytes, content type)``, which can be
            fetched at the URL in the delivery; or the payload of an attachment, used
            as it is.
        :param fields: Further fields of :class:`payloads.MessageRecord`.
        :raises RuntimeError: There are files, and the simulator is not started.
        """
        return self.add(
            self.current.contact, content, attachments=attachments, **fields
        )

    def customer_mails(self, reply: str, **fields: t.Any) -> MessageRecord:
        """Store a customer's e-mail, and deliver it, quoted history included.

        :param fields: Of :func:`payloads.incoming_email`, such as ``quoted``,
            ``subject`` or ``auto_reply``.
        """
        mail = payloads.incoming_email(reply, version=self._state.version, **fields)

        return self.customer_says(
            mail.content,
            content_type=mail.content_type,
            content_attributes=mail.content_attributes,
        )

    def customer_picks(self, message: MessageRecord, item: str) -> MessageRecord:
        """Choose an item of an ``input_select``, and deliver the choice.

        A website stores it in the message itself, so that ``message_updated`` comes
        (``app/javascript/widget/components/AgentMessageBubble.vue``); elsewhere the
        customer sends the title as a new message, as
        ``app/services/whatsapp/incoming_message_service_helpers.rb`` reads it.

        :param item: Its title or its value.
        :return: The message that was stored or changed.
        :raises ValueError: There is no such item, or no such message here.
        """
        items = message.content_attributes.get("items") or []
        picked = [i for i in items if item in (i.get("title"), i.get("value"))]

        if not picked:
            raise ValueError(f"There is no {item!r} to pick.")

        if self.current.inbox.channel != WEBSITE:
            return self.customer_says(str(picked[0]["title"]))

        chosen = {"title": picked[0]["title"], "value": picked[0]["value"]}

        return self._submit(message, chosen)

    def customer_fills(
        self, message: MessageRecord, answers: t.Mapping[str, t.Any]
    ) -> MessageRecord:
        """Send a ``form`` on the website, and deliver ``message_updated``.

        Other channels show no form
        (``app/javascript/widget/components/AgentMessageBubble.vue``).

        :param answers: Name of the field to its value. Fields without an answer are
            left out, as an empty field is on the website.
        :return: The message that was changed.
        :raises ValueError: It is not a form with these fields, or not on a website.
        """
        fields = message.content_attributes.get("items") or []
        names = [field.get("name") for field in fields]

        if message.content_type != "form" or answers.keys() - {*names}:
            raise ValueError(f"There is no form with {', '.join(answers)} to fill in.")

        if self.current.inbox.channel != WEBSITE:
            raise ValueError(f"{self.current.inbox.channel} shows no forms.")

        given = [{"name": n, "value": answers[n]} for n in names if n in answers]

        return self._submit(message, *given)

    def _submit(self, message: MessageRecord, *values: JSON) -> MessageRecord:
        return self._edit_attributes(message, submitted_values=[*values])

    def customer_rates(self, rating: int, feedback: str = "") -> MessageRecord:
        """Answer a survey about the conversation, and deliver ``message_updated``.

        The survey is a template that Chatwoot sends when a conversation is resolved
        (``app/services/message_templates/template/csat_survey.rb``); it is added here.
        The answer is an object, not a list
        (``app/javascript/shared/components/CustomerSatisfaction.vue``).
        """
        survey = self.add(
            None,
            "Please rate the conversation",
            type=MessageType.TEMPLATE,
            content_type="input_csat",
        )
        given = {"rating": rating, "feedback_message": feedback}

        return self._edit_attributes(
            survey, submitted_values={"csat_survey_response": given}
        )

    def customer_edits(self, message: MessageRecord, content: str) -> MessageRecord:
        """Change the text of a customer's message, and deliver ``message_updated``.

        Only the text says so (``app/services/telegram/update_message_service.rb``).
        """
        return self.edit(message, content=content)

    def customer_deletes(self, message: MessageRecord) -> MessageRecord:
        """Unsend a customer's message, and deliver ``message_updated``.

        Its other attributes stay (``app/services/instagram/base_message_text.rb``).
        """
        attributes = {**message.content_attributes, "deleted": True}

        return self.edit(message, content=DELETED, content_attributes=attributes)

    def customer_reacts(self, emoji: str, **fields: t.Any) -> MessageRecord:
        """React to a message, and deliver the reaction.

        It is a message of its own in ``fazer-ai/chatwoot``
        (``app/services/whatsapp/session/inbound/reaction_store.rb``).
        """
        mark = {"is_reaction": True, "in_reply_to_external_id": "wamid.SIMULATED"}

        return self.customer_says(emoji, content_attributes=mark, **fields)

    def customer_reads(self) -> None:
        """Read what is unread, and deliver ``message_updated`` for each message.

        Opening the widget is enough
        (``app/jobs/conversations/update_message_status_job.rb``).
        """
        for message in self.messages:
            if message.type is MessageType.OUTGOING and message.status != "read":
                self.edit(message, status="read")

    def customer_calls(self, content: str = "Voice Call") -> MessageRecord:
        """Call by telephone without an answer, and deliver that twice.

        The call is a message, and its status changes (``content_type`` in
        ``app/models/message.rb``, since 4.6).
        """
        call = self.customer_says(
            content,
            content_type="voice_call",
            content_attributes={"data": {"status": "ringing"}},
        )

        return self._edit_attributes(call, data={"status": "no-answer"})

    def _edit_attributes(
        self, message: MessageRecord, **changed: t.Any
    ) -> MessageRecord:
        attributes = {**message.content_attributes, **changed}

        return self.edit(message, content_attributes=attributes)

    # Operators and automations

    def operator_says(
        self, content: str | None, *, private: bool = False, **fields: t.Any
    ) -> MessageRecord:
        """Store what an operator wrote in the dashboard, and deliver it."""
        return self.add(self._state.operator, content, private=private, **fields)

    def operator_says_from_phone(
        self, content: str | None, **fields: t.Any
    ) -> MessageRecord:
        """Store what an operator wrote in the channel's own app, and deliver it.

        Chatwoot gets it as an echo, without its author: there is no sender, but
        ``external_echo`` among the content attributes.
        """
        return self._add_unsigned(content, {"external_echo": True}, fields)

    def operator_says_from_slack(
        self, content: str | None, *, name: str = "Otto", **fields: t.Any
    ) -> MessageRecord:
        """Store what a colleague without a user wrote in Slack, and deliver it.

        There is no sender, but a name among the additional attributes
        (``lib/integrations/slack/incoming_message_builder.rb``).
        """
        named = {"sender_name": name, **fields.pop("additional_attributes", {})}

        return self.add(None, content, additional_attributes=named, **fields)

    def operator_deletes(self, message: MessageRecord) -> MessageRecord:
        """Delete anyone's message in the dashboard, and deliver ``message_updated``.

        Text, files and all attributes go
        (``app/controllers/api/v1/accounts/conversations/messages_controller.rb``).
        """
        return self.edit(
            message,
            content=DELETED,
            content_type="text",
            content_attributes={"deleted": True},
            attachments=(),
        )

    def automation_says(
        self, content: str | None, *, rule_id: int = 1, **fields: t.Any
    ) -> MessageRecord:
        """Store what an automation rule sends, and deliver it.

        It has no sender, but the id of its rule
        (``app/services/automation_rules/action_service.rb``).
        """
        return self._add_unsigned(content, {"automation_rule_id": rule_id}, fields)

    def _add_unsigned(
        self, content: str | None, mark: JSON, fields: JSON
    ) -> MessageRecord:
        attributes = {**mark, **fields.pop("content_attributes", {})}

        return self.add(None, content, content_attributes=attributes, **fields)

    def operator_takes(self) -> None:
        """Open the conversation and assign it to the operator, as the operator."""
        with self._state.changing():
            self.reopen()
            self.assign(self._state.operator)

    def assign(self, agent: Agent | None, *, by: Agent | None = None) -> None:
        """Assign it to an operator or a bot; ``None`` removes the assignee.

        :param by: The author of the change; ``None``: the operator.
        """
        self._state.change(self._stored, by=by or self._state.operator, assignee=agent)

    def resolve(self) -> None:
        """Set the status ``resolved``, as the operator."""
        self.change_status("resolved")

    def reopen(self) -> None:
        """Set the status ``open``, as the operator."""
        self.change_status("open")

    def change_status(self, status: str) -> None:
        """Set the status, as the operator, and deliver the events that follow."""
        self._state.change(self._stored, by=self._state.operator, status=status)

    def set_attribute(self, key: str, value: t.Any) -> None:
        """Change one custom attribute as an operator does: the others stay."""
        with self._state.changing():
            attributes = {**self.current.custom_attributes, key: value}
            self._state.change(
                self._stored, by=self._state.operator, custom_attributes=attributes
            )

    # Any author

    def add(
        self,
        sender: payloads.Sender,
        content: str | None,
        *,
        posted: bool = False,
        attachments: t.Sequence[Attached] = (),
        **fields: t.Any,
    ) -> MessageRecord:
        """Store a message of any author, and deliver it unless it is an activity.

        :param posted: Whether it counts as made through the API.
        :param attachments: See :meth:`customer_says`.
        """
        return self._state.add(
            self._stored,
            sender,
            content,
            posted=posted,
            attachments=attachments,
            **fields,
        )

    def edit(self, message: MessageRecord, **fields: t.Any) -> MessageRecord:
        """Change a message, and deliver ``message_updated``.

        :param fields: Fields of :class:`payloads.MessageRecord`, with new values.
        :return: The message as it is now.
        :raises ValueError: It is not a message of this conversation.
        """
        return self._state.edit(self._stored, message, **fields)

    def channel_refuses(
        self, message: MessageRecord, error: str = "131047: Re-engagement message"
    ) -> MessageRecord:
        """Report that the channel did not send a message, and deliver it.

        Chatwoot has accepted the message, and learns of it later
        (``app/services/messages/status_update_service.rb``). It may be reported twice.

        :param error: The channel's text.
        :return: The message as it is now.
        """
        attributes = {**message.content_attributes, "external_error": error}

        return self.edit(message, status="failed", content_attributes=attributes)

    def type(self, author: Agent, status: str, *, private: bool = False) -> None:
        """Turn the typing indicator ``"on"`` or ``"off"``, and deliver the event."""
        self._state.type(self._stored, author, status, private=private)


def text_of(message: MessageRecord) -> str:
    """The text, with files, picked items and answers of a form in brackets."""
    attributes = message.content_attributes
    parts = [message.content or "", *(f"[{name_in(a)}]" for a in message.attachments)]
    values = attributes.get("submitted_values")

    for value in values if isinstance(values, list) else ():
        named = f"{value['name']}: " if "name" in value else ""
        parts.append(f"[{named}{value.get('title', value.get('value'))}]")

    return " ".join(filter(None, parts))


def _line(message: MessageRecord) -> str:
    mark = " (note)" if message.private else ""
    text = text_of(message).replace("\n", "\n    ")

    return f"{_author(message)}{mark}: {text}"


def _author(message: MessageRecord) -> str:
    if message.sender:
        return message.sender.name

    if message.content_attributes.get("external_echo"):
        return "Operator"

    rule = message.content_attributes.get("automation_rule_id")

    return "Automation" if rule else "Chatwoot"
