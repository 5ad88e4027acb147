"""The text of a provider's answer, as operators and developers read it. Pure."""

from __future__ import annotations

import os
from pathlib import PurePath

from flask_chatwoot.payloads.attachments import label
from flask_chatwoot.payloads.fields import is_visible, storable
from flask_chatwoot.replies import Answer, Reply, text_of


def text_in(answer: Answer | None) -> str | None:
    """The text of an answer, ``None`` if there is none to see.

    Choices are a list, and files their names: they are not read.
    """
    if answer is None:
        return None

    texts = [_text(reply) for reply in answer.replies]

    if answer.handoff is not None:
        # Whatever the host gave: the note of a turn shows it, too.
        texts.append(storable(str(answer.handoff.reason or "")))

    return "\n\n".join(text for text in texts if is_visible(text)) or None


def _text(reply: Reply) -> str:
    files = [label("file", storable(_name(each))) for each in reply.attachments]
    text = text_of(reply).strip()

    return "\n".join([*([text] if is_visible(text) else []), *files])


def _name(attachment: str | os.PathLike[str] | tuple[str, bytes, str]) -> str:
    if isinstance(attachment, tuple):
        return str(attachment[0])

    return PurePath(attachment).name
