"""Who wrote a message, from what Chatwoot shows of it.

An operator is whom Chatwoot itself counts as human (``human_response?`` in
``app/models/message.rb``), and besides who answers from Slack without being a user.
Ids of senders decide nothing: an app may post with an operator's token.
"""

import typing as t
from enum import StrEnum

from .fields import MARKER, Object, as_id, as_object, as_text


class Speaker(StrEnum):
    """The author of a public message."""

    CUSTOMER = "customer"
    OPERATOR = "operator"
    MACHINE = "machine"
    """A bot, an automation, a template."""


class Author(t.NamedTuple):
    """The author of a message.

    :ivar bot: See :class:`.ChatwootMessage`.
    :ivar presumed: See :class:`.ChatwootMessage`.
    """

    speaker: Speaker | None
    bot: int | None = None
    presumed: bool = False


def author_of(
    raw: Object, kind: str, *, private: bool, conversation: Object | None = None
) -> Author:
    """The author of a message.

    :param kind: The message's type.
    :param conversation: That of the delivery; ``None`` for answers of the API.
    """
    if private or kind == "activity":
        return Author(None)

    if kind == "incoming":
        return Author(Speaker.CUSTOMER)

    if kind != "outgoing" or _is_automatic(raw):
        return Author(Speaker.MACHINE, _bot(raw) if kind == "outgoing" else None)

    if _is_by_operator(raw) or _is_from_elsewhere(raw, conversation):
        return Author(Speaker.OPERATOR)

    if _may_be_by_operator(raw):
        return Author(Speaker.OPERATOR, presumed=True)

    return Author(Speaker.MACHINE, _bot(raw))


def _is_automatic(raw: Object) -> bool:
    """Whether this package, an automation or a campaign made an outgoing message."""
    attributes = as_object(raw.get("content_attributes"))
    extra = as_object(raw.get("additional_attributes"))

    return bool(
        MARKER in attributes
        or attributes.get("automation_rule_id")
        or extra.get("campaign_id")
    )


def _is_by_operator(raw: Object) -> bool:
    """Whether a user wrote it, or a colleague on the company's own phone or in Slack.

    Chatwoot knows those without a user by name or not at all: see
    ``lib/integrations/slack/slack_message_helper.rb``, and ``external_echo`` in
    ``app/models/message.rb``.
    """
    sender = as_object(raw.get("sender"))
    attributes = as_object(raw.get("content_attributes"))
    extra = as_object(raw.get("additional_attributes"))

    if sender:
        return sender.get("type") in ("user", "User")

    return bool(extra.get("sender_name")) or any(
        holder.get(key)
        for holder in (raw, attributes, extra)
        for key in ("external_echo", "external_sender_name")
    )


def _is_from_elsewhere(raw: Object, conversation: Object | None) -> bool:
    """Whether Slack or the channel's app made it, in versions that do not name them.

    Before Chatwoot's pull request 13624 a reply from Slack has only its id there, which
    the newest message of a conversation shows; that of a message which Chatwoot copied
    to Slack begins with ``cw-origin-`` (``lib/integrations/slack``). What was written
    in Facebook's own app has the id of its channel, and no mark
    (``app/builders/messages/facebook/message_builder.rb``).
    """
    if as_object(raw.get("sender")) or raw.get("content") is None:
        return False

    messages = (conversation or {}).get("messages")
    newest = as_object(messages[0]) if isinstance(messages, list) and messages else {}
    shown = newest if newest.get("id") == raw.get("id") else raw
    slack = as_text(as_object(shown.get("external_source_ids")).get("slack")) or ""

    if slack and not slack.startswith("cw-origin-"):
        return True

    channel = (conversation or {}).get("channel")

    return channel in _ECHOING and bool(as_text(raw.get("source_id")))


_ECHOING: t.Final = ("Channel::FacebookPage", "Channel::Instagram")


def _may_be_by_operator(raw: Object) -> bool:
    """Whether a message without a sender may be a reply from Slack.

    The list of messages has no ``additional_attributes``
    (``app/views/api/v1/models/_message.json.jbuilder``), so Slack's and Dialogflow's
    are alike there. An automation's file has no text at all
    (``app/services/automation_rules/action_service.rb``); a reply from Slack has an
    empty one.
    """
    is_listed = "additional_attributes" not in raw

    return is_listed and not raw.get("sender") and raw.get("content") is not None


def _bot(raw: Object) -> int | None:
    """The bot that wrote a machine's message; ``None`` for an automation or campaign,
    for our own post in a user's name, and for a contact, who has no type in deliveries.

    An automation's file has neither text nor sender
    (``app/services/automation_rules/action_service.rb``).
    """
    attributes = as_object(raw.get("content_attributes"))
    extra = as_object(raw.get("additional_attributes"))
    sender = as_object(raw.get("sender"))

    if attributes.get("automation_rule_id") or extra.get("campaign_id"):
        return None

    if not sender and raw.get("content") is None:
        return None

    kind = sender.get("type", "contact" if sender else None)

    if kind in ("user", "User", "contact", "Contact"):
        return None

    return (as_id(sender.get("id")) or 0) if kind == "agent_bot" else 0
