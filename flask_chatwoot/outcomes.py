"""How things end: the closed lists behind "never silent without a reason"."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """How a delivery or a turn ended."""

    ACCEPTED = "accepted"
    """Delivery: stored, or already handled by the inline backend."""

    DUPLICATE = "duplicate"
    """Delivery: this message was accepted before."""

    IGNORED = "ignored"
    """Delivery: authentic, but nothing to do. Always with a reason."""

    REPLIED = "replied"
    """Turn: the customer got the answer."""

    NOTED = "noted"
    """Turn: operators got the answer as a private note."""

    HANDED_OFF = "handed_off"
    """Turn: people have the conversation now, and were told why."""

    TAKEN_OVER = "taken_over"
    """An operator's reply was seen, and the conversation put into human mode."""

    DECLINED = "declined"
    """Turn: nothing was said, on purpose."""

    DEAD = "dead"
    """Turn: given up; kept for ``flask chatwoot inbox retry``. Always with a reason."""


class Reason(StrEnum):
    """Why a delivery was ignored, or a turn ended otherwise than with a reply."""

    # deliveries that are ignored
    NOT_CONFIGURED = "not_configured"
    """URL, account or token of Chatwoot is not set."""

    OTHER_EVENT = "other_event"
    """Not a customer's message, nor anything else that matters here."""

    CONVERSATION = "conversation"
    """About a conversation: its status or attribute was noted."""

    OTHER_INBOX = "other_inbox"
    """Not from one of ``CHATWOOT_INBOXES``."""

    OTHER_ACCOUNT = "other_account"
    """Not from ``CHATWOOT_ACCOUNT_ID``."""

    OUTGOING = "outgoing"
    """Written by an operator, an automation, another bot, or by ourselves."""

    PRIVATE = "private"
    """A note between operators."""

    TEMPLATE = "template"
    """A greeting, an out-of-office text or a survey."""

    ACTIVITY = "activity"
    """A line about the conversation, such as an assignment."""

    UNKNOWN_TYPE = "unknown_type"
    """A kind of message this version does not know."""

    EMPTY = "empty"
    """Neither text nor attachments; or no text, and the provider takes nothing else."""

    AUTO_REPLY = "auto_reply"
    """An e-mail that a machine wrote; answering it would begin a ping-pong."""

    BLOCKED = "blocked"
    """From a contact whom operators have blocked."""

    # turns whose answer became a note, or was withheld
    TAKEN = "taken"
    """A person has answered in this conversation and not given it back."""

    ANSWERED = "answered"
    """A person has answered this very question."""

    STATUS = "status"
    """The conversation is in none of ``CHATWOOT_BOT_STATUSES``."""

    ASSIGNED = "assigned"
    """A person is assigned, and ``CHATWOOT_YIELD_TO_ASSIGNEE`` is set."""

    TOO_OLD = "too_old"
    """The message is older than ``CHATWOOT_MAX_AGE``."""

    WINDOW_CLOSED = "window_closed"
    """The channel takes no more messages for now (``can_reply`` is false)."""

    POLICY_FAILED = "policy_failed"
    """The host's policy raised, or returned no decision."""

    SUPERSEDED = "superseded"
    """The customer wrote on: the note was withheld, and the next turn answers both."""

    # turns that end without an answer
    NO_ANSWER = "no_answer"
    """The provider returned ``None`` or blank text."""

    NO_PROVIDER = "no_provider"
    """No provider is registered for this mode and Chatwoot inbox."""

    PROVIDER_FAILED = "provider_failed"
    """The provider raised, on every attempt."""

    PROVIDER_INVALID = "provider_invalid"
    """The provider returned something that is not a reply, or can not be called."""

    UNAUTHORIZED = "unauthorized"
    """Chatwoot answered 401: wrong token, or no access to the conversation."""

    NOT_FOUND = "not_found"
    """Chatwoot answered 404: wrong account, or the conversation is gone."""

    REFUSED = "refused"
    """Chatwoot answered 422 or another status that repeating does not change."""

    REDIRECTED = "redirected"
    """``CHATWOOT_BASE_URL`` answers with a redirect, which is not followed."""

    RATE_LIMITED = "rate_limited"
    """Chatwoot answered 429, on every attempt."""

    SERVER_ERROR = "server_error"
    """Chatwoot answered 5xx, on every attempt."""

    UNREACHABLE = "unreachable"
    """No connection to Chatwoot, on every attempt."""

    UNCONFIRMED = "unconfirmed"
    """Requests were sent, no answer came, and no trace of the message was found."""

    CRASHED = "crashed"
    """The process died or an internal error struck, until no attempt was left."""

    UNREADABLE = "unreadable"
    """The stored delivery can not be parsed any more."""
