"""How deliveries and turns end: the closed lists of outcomes and reasons."""

from __future__ import annotations

import typing as t
from enum import StrEnum


class _Ending(StrEnum):
    """A value with the description that ``flask chatwoot outcomes`` prints."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> t.Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning

        return member


class DeliveryOutcome(_Ending):
    """The result of a delivery, and the ``status`` in its answer."""

    ACCEPTED = "accepted", "Stored, or already handled by the inline backend."
    DUPLICATE = "duplicate", "This message was accepted before."
    IGNORED = "ignored", "Authentic, but nothing is to be done. Always with a reason."


class TurnOutcome(_Ending):
    """How a turn ended."""

    REPLIED = "replied", "The customer got the answer."
    NOTED = "noted", "Operators got the answer as a private note."
    HANDED_OFF = "handed_off", "Operators have the conversation, and a note says why."
    TAKEN_OVER = (
        "taken_over",
        "An operator's reply was seen, and the conversation put into human mode.",
    )
    DECLINED = "declined", "Nothing was posted, on purpose."
    DEAD = (
        "dead",
        "The attempts are used up, or repeating cannot help; kept for "
        "flask chatwoot jobs retry. Always with a reason.",
    )


class Reason(_Ending):
    """Why a delivery was ignored, or a turn ended otherwise than with a reply."""

    # deliveries that are ignored
    NOT_CONFIGURED = "not_configured", "URL, account or token of Chatwoot is not set."
    OTHER_EVENT = (
        "other_event",
        "Neither a customer's message nor another event that is used.",
    )
    CONVERSATION = (
        "conversation",
        "About a conversation: its status and mode were stored.",
    )
    OTHER_INBOX = "other_inbox", "Not from one of CHATWOOT_INBOXES."
    OTHER_ACCOUNT = "other_account", "Not from CHATWOOT_ACCOUNT_ID."
    OUTGOING = (
        "outgoing",
        "Written by an operator, an automation, another bot, or this bot.",
    )
    PRIVATE = "private", "A note between operators."
    TEMPLATE = "template", "A greeting, an out-of-office text or a survey."
    ACTIVITY = "activity", "A line about the conversation, such as an assignment."
    UNKNOWN_TYPE = "unknown_type", "A type of message that this version does not know."
    EMPTY = (
        "empty",
        "Neither text nor attachments; or no text, and the provider takes only text.",
    )
    AUTO_REPLY = (
        "auto_reply",
        "An e-mail written by a machine; an answer could cause a mail loop.",
    )
    BLOCKED = "blocked", "From a contact whom operators have blocked."
    CALL = "call", "A call, which rings or has ended."
    REACTION = "reaction", "A reaction to a message, such as a thumb, or its removal."
    SURVEY = "survey", "The answer to a satisfaction survey."
    UPDATED = (
        "updated",
        "A message changed in a way that asks nothing, such as a read receipt.",
    )
    EDITED = (
        "edited",
        "A message was edited: a turn that has not answered it uses the new text.",
    )

    # deliveries that are ignored, and turns that end without an answer
    DELETED = "deleted", "The message was deleted before it was answered."

    # turns whose answer became a note, or was withheld
    TAKEN = "taken", "An operator has taken over the conversation."
    ANSWERED = "answered", "An operator has answered this very question."
    OTHER_BOT = (
        "other_bot",
        "Another bot, such as Captain, has answered this very question.",
    )
    STATUS = "status", "The conversation is in none of CHATWOOT_BOT_STATUSES."
    ASSIGNED = (
        "assigned",
        "An operator is assigned, and CHATWOOT_YIELD_TO_ASSIGNEE is set.",
    )
    TOO_OLD = "too_old", "The message is older than CHATWOOT_MAX_AGE."
    WINDOW_CLOSED = (
        "window_closed",
        "The channel takes no more messages for now (can_reply is false).",
    )
    POLICY_FAILED = (
        "policy_failed",
        "The host's policy raised, or returned no decision.",
    )
    POLICY = "policy", "The host's policy decided so, and gave no reason."
    SUPERSEDED = (
        "superseded",
        "The customer wrote again: the note was withheld; the next turn answers both.",
    )

    REPEATED_TEXT = (
        "repeated_text",
        "The same text came more than CHATWOOT_MAX_REPEATS times in a row within an "
        "hour.",
    )
    TOO_MANY_TURNS = (
        "too_many_turns",
        "The conversation had more than CHATWOOT_MAX_TURNS_PER_HOUR turns in an hour.",
    )

    # turns that end without an answer
    NO_ANSWER = "no_answer", "The provider returned None or blank text."
    NO_REPLY = "no_reply", "The provider returned NoReply()."
    NO_DRAFT_NOTES = (
        "no_draft_notes",
        "Only operators may see the answer, and CHATWOOT_DRAFT_NOTES is false.",
    )
    NO_PROVIDER = (
        "no_provider",
        "No provider is registered for this mode and Chatwoot inbox.",
    )
    PROVIDER_FAILED = (
        "provider_failed",
        "The provider raised, on every attempt, or gave up (GiveUp).",
    )
    PROVIDER_TIMEOUT = (
        "provider_timeout",
        "The provider did not answer within CHATWOOT_PROVIDER_TIMEOUT.",
    )
    PROVIDER_INVALID = (
        "provider_invalid",
        "The provider returned something that is not a reply, or cannot be called.",
    )
    UNAUTHORIZED = (
        "unauthorized",
        "Chatwoot answered 401 twice, or 403: wrong token, or no access to the "
        "conversation.",
    )
    NOT_FOUND = (
        "not_found",
        "Chatwoot answered 404: wrong account, or the conversation is gone.",
    )
    REFUSED = (
        "refused",
        "Chatwoot answered 422 or another status between 400 and 499.",
    )
    REDIRECTED = (
        "redirected",
        "CHATWOOT_BASE_URL answers with a redirect, which is not followed.",
    )
    NOT_CHATWOOT = (
        "not_chatwoot",
        "Something else answered in Chatwoot's place, on every attempt: a proxy, a "
        "maintenance page, or another program at CHATWOOT_BASE_URL.",
    )
    RATE_LIMITED = "rate_limited", "Chatwoot answered 429, on every attempt."
    SERVER_ERROR = "server_error", "Chatwoot answered 5xx, on every attempt."
    UNREACHABLE = "unreachable", "No connection to Chatwoot, on every attempt."
    UNCONFIRMED = (
        "unconfirmed",
        "Requests were sent, no answer came, and the message was not found.",
    )
    CRASHED = (
        "crashed",
        "The process ended or an internal error occurred, on every attempt.",
    )
    UNDELIVERED = (
        "undelivered",
        "The channel refused a message after Chatwoot had accepted it.",
    )
    UNREADABLE = "unreadable", "The stored delivery cannot be parsed any more."


class DraftVerdict(_Ending):
    """What became of a draft when an operator had replied."""

    USED = "used", "The reply is the draft, or nearly (a similarity of 0.95 or more)."
    EDITED = "edited", "At least half of it is (a similarity of 0.5 or more)."
    IGNORED = "ignored", "The operator wrote something else."


class Receipt(t.NamedTuple):
    """The outcome of a delivery, with the reason if it was ignored."""

    outcome: DeliveryOutcome
    reason: Reason | None = None
