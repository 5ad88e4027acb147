"""An answer as the posts that are stored. Pure functions."""

from __future__ import annotations

import typing as t

from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.attachments import attachment_of, described
from flask_chatwoot.payloads.channels import LIMIT, Channel, first_parts, split
from flask_chatwoot.payloads.fields import Upload, storable
from flask_chatwoot.queue.outbox import Draft, DraftPart
from flask_chatwoot.replies import (
    Answer,
    Reply,
    Turn,
    choices_of,
    lines_of,
    listed_in,
    text_of,
    uploads_of,
)
from flask_chatwoot.texts import ENGLISH, Texts

from . import handoff
from .handoff import notes_in

_Choices = t.Sequence[tuple[str, str]]


def parts_of(
    answer: Answer,
    turn: Turn,
    *,
    most: int,
    find_texts: t.Callable[[], Texts] = lambda: ENGLISH,
) -> tuple[list[DraftPart], str | None]:
    """The posts of an answer, and the hand-off to make after them, as JSON, if any.

    :param most: Messages at most that one reply may become; the rest is a note.
    :param find_texts: Called only if the bot has something to say to operators.
    """
    parts = [
        part
        for reply in answer.replies
        for part in _parts(reply, turn, most, find_texts)
    ]

    if answer.handoff is None:
        return parts, None

    said = "\n".join(part.content for part in parts if not part.private)
    note = handoff.note(answer.handoff, turn, said, find_texts())
    notes = _several(split(storable(note)), True)  # its reason may be of any length
    parts += notes

    # In human mode operators have the conversation already.
    if turn.mode is Mode.HUMAN:
        return parts, None

    return parts, handoff.encode(answer.handoff, notes=len(notes))


def _parts(
    reply: Reply, turn: Turn, most: int, find_texts: t.Callable[[], Texts]
) -> list[DraftPart]:
    """A reply as posts; its choices and files go with the last for its audience."""
    choices, files = choices_of(reply), uploads_of(reply)

    if is_note(reply, turn.mode):
        return _several(split(text_of(reply)) or [""], True, files=files)

    listed = choices if choices and turn.channel.lists_choices else []
    texts, rest = _public_texts(reply.content, listed, turn.channel, most)
    left_over = split(f"{find_texts().get('left_over')}\n\n{rest}") if rest else []
    buttons = choices if choices and turn.channel.has_buttons else []

    return [
        *_several(texts, False, choices=buttons, files=files),
        *_several(left_over, True),
    ]


def _public_texts(
    content: str, listed: _Choices, channel: Channel, most: int
) -> tuple[list[str], str]:
    """A text as messages for the customer, and what is left over.

    :param listed: Choices that the customer must see, whatever is left over.
    """
    limit = channel.max_length or LIMIT
    whole = listed_in(content, listed) if listed else content
    texts, rest = _split(whole, limit, most)

    if not (rest and listed and most > 1):
        return texts, rest

    shown, hidden = _split("\n".join(lines_of(listed)), limit, most - 1)

    if hidden:
        return texts, rest

    texts, rest = _split(content, limit, most - len(shown))

    return [*texts, *shown], rest


def _split(text: str, limit: int, most: int) -> tuple[list[str], str]:
    texts, rest = first_parts(text, limit, most=most)

    # What fits in one more message is one, if the customer may get one more.
    if len(texts) < most and (rest or not texts):
        texts, rest = [*texts, rest], ""

    return texts, rest


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


def answer_in(drafts: t.Sequence[Draft], handoff: str | None) -> t.Sequence[Draft]:
    """The drafts of an answer, without the notes about its hand-off."""
    return drafts[: len(drafts) - notes_in(handoff)]


def shown_in(drafts: t.Sequence[Draft], made: t.Collection[int], texts: Texts) -> str:
    """What operators may send of an answer whose posts are notes from here on.

    :param made: Ids of the drafts that were posted.
    """
    notes = [as_note(each) for each in drafts if each.private or each.id not in made]
    heading = texts.get("handoff")  # in human mode that is a part of the answer

    return "\n\n".join(
        each.content for each in notes if not each.content.startswith(heading)
    )


def said_in(draft: Draft, files_of: t.Callable[[Draft], list[Upload]]) -> str:
    """A post as the history shows it."""
    if draft.private or not draft.files:
        return draft.content

    return described(draft.content, map(attachment_of, files_of(draft)))


def as_note(draft: Draft) -> Draft:
    """A draft that only operators may see, who cannot pick a choice."""
    if draft.private or not draft.choices:
        return draft._replace(private=True)

    return draft._replace(
        private=True, content=listed_in(draft.content, draft.choices), choices=()
    )
