"""What an operator reads in place of an answer."""

from __future__ import annotations

import typing as t

from flask_chatwoot.errors import ChatwootError

SENTENCES: t.Final[t.Mapping[str, str]] = {
    "still_writing": "The draft is still being written. Press again in a moment.",
    "busy": "Too many drafts are being written. Press again in a moment.",
    "provider_failed": "The reply function of the app failed. The app's log says why.",
    "no_suggestion": (
        "There is no suggestion: the reply function of the app gave no answer."
    ),
    "no_reply_provider": "The app has no reply function for this inbox.",
    "no_question": "There is no suggestion: the customer has not written yet.",
    "no_conversation": "The request names no conversation.",
    "other_account": (
        "This is not a conversation of this account, as far as its messages show: they "
        "may be too few, too short, or younger than 15 seconds."
    ),
    "other_inbox": "The app does not answer in this inbox (CHATWOOT_INBOXES).",
    "no_right": (
        "An agent bot may not read messages. Set CHATWOOT_USER_ACCESS_TOKEN of the app "
        "to a user's token."
    ),
    "unreadable": "The app could not read the conversation. Press again in a moment.",
    "database": "The app's database does not answer. Press again in a moment.",
    "not_configured": "The app is not configured for Chatwoot.",
    "no_completion_provider": (
        "The app can only suggest replies: it has no function for other texts."
    ),
    "completion_failed": (
        "The app's function for other texts failed. The app's log says why."
    ),
    "no_completion": "The app's function for other texts gave no text.",
    "too_slow": "The app's function for other texts takes too long. Press again.",
    "stream": "The app does not answer in parts; stream must be false.",
    "invalid": "The app cannot read the request.",
    "too_large": "The request is too large for the app (CHATWOOT_MAX_BODY).",
    "failed": "The app failed. Its log says why.",
    "wrong_key": (
        "The key is not the app's. Compare CAPTAIN_OPEN_AI_API_KEY in Chatwoot, or the "
        "key of the account's OpenAI integration, with CHATWOOT_COPILOT_TOKEN."
    ),
    "disabled": "The app does not answer the composer: set CHATWOOT_COPILOT_TOKEN.",
}
"""By the name of the reason."""


class RefusedError(ChatwootError):
    """A request of the composer is refused. The message is for the operator.

    :ivar code: The name of the reason.
    """

    def __init__(self, code: str) -> None:
        super().__init__(SENTENCES[code])
        self.code = code
