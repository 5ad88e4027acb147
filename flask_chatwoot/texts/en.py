"""The texts in English."""

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
    "composer_still_writing": (
        "The draft is still being written. Press again in a moment."
    ),
    "composer_busy": "Too many drafts are being written. Press again in a moment.",
    "composer_provider_failed": (
        "The reply function of the app failed. The app's log says why."
    ),
    "composer_gave_up": "The function of the app gave up.",
    "composer_no_suggestion": (
        "There is no suggestion: the reply function of the app gave no answer."
    ),
    "composer_no_reply_provider": "The app has no reply function for this inbox.",
    "composer_no_question": "There is no suggestion: the customer has not written yet.",
    "composer_no_conversation": "The request names no conversation.",
    "composer_other_account": (
        "This is not a conversation of this account, as far as its messages show: "
        "they may be too few, too short, or younger than 15 seconds."
    ),
    "composer_other_inbox": "The app does not answer in this inbox (CHATWOOT_INBOXES).",
    "composer_no_right": (
        "An agent bot may not read messages. Set CHATWOOT_USER_ACCESS_TOKEN of the "
        "app to a user's token."
    ),
    "composer_unreadable": (
        "The app could not read the conversation. Press again in a moment."
    ),
    "composer_database": "The app's database does not answer. Press again in a moment.",
    "composer_not_configured": "The app is not configured for Chatwoot.",
    "composer_no_completion_provider": (
        "The app can only suggest replies: it has no function for other texts."
    ),
    "composer_completion_failed": (
        "The app's function for other texts failed. The app's log says why."
    ),
    "composer_no_completion": "The app's function for other texts gave no text.",
    "composer_too_slow": (
        "The app's function for other texts takes too long. Press again."
    ),
    "composer_stream": "The app does not answer in parts; stream must be false.",
    "composer_invalid": "The app cannot read the request.",
    "composer_too_large": "The request is too large for the app (CHATWOOT_MAX_BODY).",
    "composer_failed": "The app failed. Its log says why.",
    "composer_wrong_key": (
        "The key is not the app's. Compare CAPTAIN_OPEN_AI_API_KEY in Chatwoot, or "
        "the key of the account's OpenAI integration, with CHATWOOT_COPILOT_TOKEN."
    ),
    "composer_disabled": (
        "The app does not answer the composer: set CHATWOOT_COPILOT_TOKEN."
    ),
}
"""What operators read."""

PAGE: t.Final[t.Mapping[str, str | t.Mapping[str, str]]] = {
    # the frame
    "language_name": "English",
    "playground": "Playground",
    "version": "Simulated version of Chatwoot, begins anew",
    "kind": "How Chatwoot reaches the app, begins anew",
    "kind_account": "Webhook",
    "kind_bot": "Agent bot",
    "parts": "Parts of the page",
    "language": "Language",
    "connected": "Live",
    "disconnected": "Connection lost. Reconnecting.",
    "failed": "The request failed: {why}",
    "new_items": "{count} new",
    # the customer
    "customer": "Customer",
    "customer_about": "What a visitor of your site sees",
    "greeting": "We are here to help",
    "new_conversation": "New conversation",
    "pre_chat": "Tell us who you are, and how we can help.",
    "name": "Your name",
    "name_example": "Ada Lovelace",
    "whom": "Whom do you want to write to?",
    "choose": "Please choose",
    "bot_option": "AI agent",
    "human_option": "Human",
    "first_message": "First message",
    "first_message_example": "How can we help?",
    "start": "Start the conversation",
    "customer_log": "Conversation with Acme",
    "is_resolved": "This conversation is resolved.",
    "start_anew": "Start a new conversation",
    "your_message": "Your message",
    "attach": "Attach a file",
    "chosen_files": "Files to send",
    "remove": "Remove {name}",
    "send": "Send",
    "is_typing": "AI agent is typing…",
    "you": "You",
    "author_bot": "AI agent",
    "author_system": "Acme",
    "picked": "{title}, chosen",
    # the operator
    "operator": "Operator",
    "operator_about": "What your team sees in Chatwoot",
    "conversations": "Conversations",
    "unread": "unread",
    "nothing_yet": "No conversation yet. Write a message as the customer.",
    "actions": "Actions for the conversation",
    "assign_me": "Assign to me",
    "unassign": "Unassign",
    "return_to_bot": "Return to the bot",
    "resolve": "Resolve",
    "reopen": "Reopen",
    "assigned_to": "Assigned to {name}",
    "unassigned": "Unassigned",
    "who_sees": "Who sees the message",
    "reply": "Reply",
    "private_note": "Private note",
    "reply_text": "Reply to the customer",
    "note_text": "A note only your team sees",
    "send_reply": "Send reply",
    "add_note": "Add note",
    "suggest": "Suggest a reply",
    "thinking": "Copilot is thinking",
    "follow_up": "Give copilot additional prompts, or ask anything else...",
    "ask_again": "Ask again",
    "suggested": "Suggested reply",
    "discard": "Discard",
    "accept": "Accept",
    "only_team": "Private note, only your team sees it",
    "status_open": "Open",
    "status_pending": "Pending",
    "status_resolved": "Resolved",
    "status_snoozed": "Snoozed",
    "mode_bot": "Bot",
    "mode_human": "Human",
    "activity_open": "Conversation was reopened by {name}",
    "activity_pending": "Conversation was marked as pending by {name}",
    "activity_resolved": "Conversation was marked resolved by {name}",
    "activity_snoozed": "Conversation was snoozed by {name}",
    "activity_taken": "{name} self-assigned this conversation",
    "activity_given": "Assigned to {whom} by {name}",
    "activity_left": "Conversation unassigned by {name}",
    "activity_written": (
        "System reopened the conversation due to a new incoming message."
    ),
    "activity_bot_failed": (
        "Conversation was marked open by system due to an error with the agent bot."
    ),
    "announce_note": "Private note: {text}",
    "announce_status": "Conversation {id}: {status}",
    # the traffic
    "traffic": "Traffic",
    "traffic_about": "The HTTP requests between Chatwoot and your app",
    "no_traffic": "No traffic yet. Every delivery and every API call is listed here.",
    "filter": "Which conversation",
    "all_conversations": "All conversations",
    "only_conversation": "Only conversation {id}",
    "faults": "Faults",
    "no_faults": "none",
    "api_does": "When your app posts, Chatwoot",
    "api_none": "works",
    "api_error": "answers 500",
    "api_limit": "answers 429",
    "api_cut": "stores, then disconnects",
    "also": "Also",
    "fault_slow": "Slow provider",
    "fault_duplicate": "Deliver twice",
    "fault_forged": "Forge a signature",
    "line_delivery": "Chatwoot → app",
    "line_call": "app → Chatwoot",
    "line_question": "composer → app",
    "line_crash": "your app raised, in its",
    "no_answer": "no answer",
    "attempt": "attempt {attempt}",
    "signature_valid": "signed",
    "signature_wrong": "bad signature",
    "signature_absent": "unsigned",
    "signature_token_user": "user token",
    "signature_token_bot": "bot token",
    "signature_key": "bearer key",
    "signature_none": "no token",
    "working": "working…",
    "again": "Send again",
    "again_label": "Send delivery {number} again",
    "loading": "Loading…",
    "part_headers": "Headers",
    "part_request": "Request",
    "part_answer": "Answer",
    "part_path": "Address",
    "part_traceback": "Traceback",
}
"""What the page of the playground shows."""
