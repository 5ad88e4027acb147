"""The posts and the hand-off that end a turn which failed for good.

Pure functions.
"""

from __future__ import annotations

from flask_chatwoot.config import Config
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.policy import PolicyContext
from flask_chatwoot.queue.outbox import DraftPart
from flask_chatwoot.replies import Handoff

from . import handoff


def last_posts(
    reason: Reason, context: PolicyContext, config: Config
) -> tuple[list[DraftPart], str | None]:
    """The posts that end a failed turn, and the hand-off after them, as JSON, if any.

    No posts if operators have the conversation and ``CHATWOOT_NOTE_ON_FAILURE`` is
    not set.
    """
    if context.mode is Mode.BOT and not context.taken:
        # The note first: the policy need not allow it, and the second may fail.
        note = handoff.failure_note(reason, handed_off=True)
        fallback = config.fallback_message
        public = [DraftPart(fallback, False)] if fallback else []

        return [DraftPart(note, True), *public], handoff.encode(Handoff())

    if config.note_on_failure:
        return [DraftPart(handoff.failure_note(reason, handed_off=False), True)], None

    return [], None
