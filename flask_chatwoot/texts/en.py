"""What operators read, in English."""

from __future__ import annotations

import typing as t

TEXTS: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    "handoff": "**The bot hands this conversation off.**",
    "reason": "Reason: {reason}",
    "wrote": {
        "one": "The customer wrote:",
        "other": "The customer wrote {count} messages:",
    },
    "answered": "The bot answered:",
    "failed": "**The bot could not answer.**",
    "failed_provider_failed": "Its reply function failed, on every attempt.",
    "failed_provider_timeout": "Its reply function did not answer in time.",
    "failed_provider_invalid": "Its reply function returned something unusable.",
    "failed_no_provider": "No reply function is registered.",
    "failed_refused": "Chatwoot did not accept its message.",
    "failed_not_chatwoot": "Something else answered in Chatwoot's place.",
    "failed_redirected": "Chatwoot's address answers with a redirect.",
    "failed_rate_limited": "Chatwoot received too many requests.",
    "failed_server_error": "Chatwoot failed, on every attempt.",
    "failed_unreachable": "Chatwoot could not be reached.",
    "failed_unconfirmed": "A reply was sent, but does not seem to have arrived.",
    "failed_undelivered": (
        "The channel refused its message: the customer did not get it."
    ),
    "failed_crashed": "Its process ended in the middle, on every attempt.",
    "handed_off": "The conversation is handed off.",
    "silent_empty": "the message has no content that the bot can read.",
    "silent_no_answer": "the bot has no answer.",
    "silent_no_provider": "the bot has no reply function for this mode.",
    "silent_too_old": "the message is older than CHATWOOT_MAX_AGE.",
    "loop_repeated_text": "the same text came again and again, as if from a machine.",
    "loop_too_many_turns": "too many messages came in an hour, as if from a machine.",
    "too_old": (
        "**The bot did not answer.** The customer's message was older than "
        "CHATWOOT_MAX_AGE when the bot got it."
    ),
    "missing": "**As far as is known, this part of the answer was not posted:**",
    "left_over": (
        "**The answer was too long for the channel. The customer did not get the "
        "rest:**"
    ),
}
