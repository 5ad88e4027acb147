"""The posts and the hand-off that end a turn which failed for good.

Pure functions.
"""

from __future__ import annotations

import typing as t

from flask_chatwoot.config import Config
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.policy import PolicyContext
from flask_chatwoot.payloads.channels import split
from flask_chatwoot.payloads.fields import Upload
from flask_chatwoot.queue.outbox import Draft, DraftPart
from flask_chatwoot.replies import Handoff
from flask_chatwoot.texts import Texts

from . import handoff
from .drafts import as_note


def last_posts(
    reason: Reason,
    context: PolicyContext,
    config: Config,
    find_texts: t.Callable[[], Texts],
    given: str | None = None,
) -> tuple[list[DraftPart], str | None]:
    """The posts that end a failed turn, and the hand-off after them, as JSON, if any.

    No posts if operators have the conversation and ``CHATWOOT_NOTE_ON_FAILURE`` is
    not set.

    :param find_texts: Called only if there is a note.
    :param given: The reason in the host's own words.
    """
    if context.mode is Mode.BOT and not context.taken:
        # The note first: the policy need not allow it, and the second may fail.
        note = handoff.failure_note(
            reason, handed_off=True, texts=find_texts(), given=given
        )
        fallback = config.fallback_message
        public = [DraftPart(fallback, False)] if fallback else []

        return [DraftPart(note, True), *public], handoff.encode(Handoff())

    if config.note_on_failure:
        note = handoff.failure_note(
            reason, handed_off=False, texts=find_texts(), given=given
        )
        return [DraftPart(note, True)], None

    return [], None


def rest_of(
    drafts: t.Sequence[Draft],
    made: t.Collection[int],
    files_of: t.Callable[[Draft], list[Upload]],
    find_texts: t.Callable[[], Texts],
) -> list[DraftPart]:
    """Notes with what is missing of a reply of which a part was posted.

    Without them operators would not know how it was to go on. Of a reply that was not
    posted at all nothing is missing.

    :param made: Ids of the drafts that were posted.
    """
    if not any(draft.id in made for draft in drafts):
        return []

    missing = [draft for draft in drafts if draft.id not in made]

    return [
        note
        for draft in missing
        for note in _notes(draft, files_of(draft), find_texts())
    ]


def _notes(draft: Draft, files: t.Sequence[Upload], texts: Texts) -> list[DraftPart]:
    what = texts.get("missing")
    *first, last = split(f"{what}\n\n{as_note(draft).content}")

    return [
        *(DraftPart(text, True) for text in first),
        DraftPart(last, True, (), files),
    ]
