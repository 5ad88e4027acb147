"""An answer as the posts that are stored. Pure functions."""

from __future__ import annotations

import typing as t

from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.channels import split
from flask_chatwoot.payloads.fields import storable
from flask_chatwoot.queue.outbox import Draft, DraftPart
from flask_chatwoot.replies import Answer, Reply, Turn, choices_of, uploads_of

from . import handoff


def parts_of(answer: Answer, turn: Turn) -> tuple[list[DraftPart], str | None]:
    """The posts of an answer, and the hand-off to make after them, as JSON, if any."""
    parts = [part for reply in answer.replies for part in _parts(reply, turn.mode)]

    if answer.handoff is None:
        return parts, None

    said = "\n".join(part.content for part in parts if not part.private)
    note = handoff.note(answer.handoff, turn, said)
    parts.append(DraftPart(storable(note), private=True))

    # In human mode operators have the conversation already.
    if turn.mode is Mode.HUMAN:
        return parts, None

    return parts, handoff.encode(answer.handoff)


def _parts(reply: Reply, mode: Mode) -> list[DraftPart]:
    """A reply as posts; its choices and files go with the last."""
    private = is_note(reply, mode)
    choices = choices_of(reply)
    content = _listed(reply.content, choices) if private and choices else reply.content
    *texts, last = split(content)

    return [
        *(DraftPart(text, private) for text in texts),
        DraftPart(last, private, () if private else choices, uploads_of(reply)),
    ]


def is_note(reply: Reply, mode: Mode) -> bool:
    """Whether only operators see a reply; in human mode nothing else is possible."""
    return mode is Mode.HUMAN or bool(reply.private)


def as_note(draft: Draft) -> Draft:
    """A draft that only operators may see, who cannot pick a choice."""
    if draft.private or not draft.choices:
        return draft._replace(private=True)

    return draft._replace(
        private=True, content=_listed(draft.content, draft.choices), choices=()
    )


def _listed(content: str, choices: t.Iterable[tuple[str, str]]) -> str:
    return "\n".join([content, *(f"- {title}" for title, _ in choices)])
