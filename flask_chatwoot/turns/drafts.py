"""An answer as the posts that are stored. Pure functions."""

from __future__ import annotations

import typing as t

from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.channels import LIMIT, first_parts, split
from flask_chatwoot.payloads.fields import Upload, storable
from flask_chatwoot.queue.outbox import Draft, DraftPart
from flask_chatwoot.replies import Answer, Reply, Turn, choices_of, uploads_of

from . import handoff


def parts_of(
    answer: Answer, turn: Turn, *, most: int
) -> tuple[list[DraftPart], str | None]:
    """The posts of an answer, and the hand-off to make after them, as JSON, if any.

    :param most: Messages at most that one reply may become; the rest is a note.
    """
    parts = [part for reply in answer.replies for part in _parts(reply, turn, most)]

    if answer.handoff is None:
        return parts, None

    said = "\n".join(part.content for part in parts if not part.private)
    note = handoff.note(answer.handoff, turn, said)
    parts.append(DraftPart(storable(note), private=True))

    # In human mode operators have the conversation already.
    if turn.mode is Mode.HUMAN:
        return parts, None

    return parts, handoff.encode(answer.handoff)


def _parts(reply: Reply, turn: Turn, most: int) -> list[DraftPart]:
    """A reply as posts; its choices and files go with the last for its audience."""
    choices, files = choices_of(reply), uploads_of(reply)

    if is_note(reply, turn.mode):
        content = _listed(reply.content, choices) if choices else reply.content
        return _several(split(content) or [""], True, files=files)

    limit = turn.channel.max_length or LIMIT
    texts, rest = first_parts(reply.content, limit, most=most)

    # What fits in one more message is one, if the customer may get one more.
    if len(texts) < most and (rest or not texts):
        texts, rest = [*texts, rest], ""

    left_over = split(f"{_LEFT_OVER}\n\n{rest}") if rest else []

    return [
        *_several(texts, False, choices=choices, files=files),
        *_several(left_over, True),
    ]


_LEFT_OVER: t.Final = (
    "**The answer was too long for the channel. The customer did not get the rest:**"
)


def _several(
    texts: t.Sequence[str],
    private: bool,
    *,
    choices: t.Sequence[tuple[str, str]] = (),
    files: t.Sequence[Upload] = (),
) -> list[DraftPart]:
    """Texts as posts; choices and files go with the last."""
    last = len(texts) - 1

    return [
        DraftPart(text, private, choices, files)
        if number == last
        else DraftPart(text, private)
        for number, text in enumerate(texts)
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
