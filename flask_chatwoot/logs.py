"""Loggers whose lines begin with the conversation and the job that they are about."""

from __future__ import annotations

import contextlib
import contextvars
import logging
import typing as t


class Subject(t.NamedTuple):
    """What work is about.

    :ivar job_id: ``None`` where there is no job for it.
    """

    conversation_id: int
    job_id: int | None = None


SUBJECT: t.Final = contextvars.ContextVar[Subject | None](
    "flask_chatwoot_subject", default=None
)
"""What this context works on. Where a turn begins it is set; elsewhere see
:func:`about`."""


@contextlib.contextmanager
def about(conversation_id: int | None, job_id: int | None = None) -> t.Iterator[None]:
    """A block whose log lines are about a conversation, or one of its jobs.

    In a turn of this conversation they stay about that one's job.

    :param conversation_id: ``None`` or 0: there is none, and nothing is changed.
    """
    subject = outer = SUBJECT.get()

    if conversation_id and not (outer and outer[0] == conversation_id and not job_id):
        subject = Subject(conversation_id, job_id)

    token = SUBJECT.set(subject)

    try:
        yield
    finally:
        SUBJECT.reset(token)


def logger(name: str) -> logging.Logger:
    """The logger of a module."""
    made = logging.getLogger(name)
    made.addFilter(_name_subject)

    return made


def _name_subject(record: logging.LogRecord) -> bool:
    """Put what a line is about in front of it.

    The numbers are arguments, so that error trackers still see one message in all the
    lines that one statement logs.
    """
    subject = SUBJECT.get()

    if subject is None or isinstance(record.args, t.Mapping):
        return True

    begin = "conversation %s: "
    values: tuple[object, ...] = (subject.conversation_id,)

    if subject.job_id is not None:
        begin, values = "conversation %s, job %s: ", subject

    # Without arguments, logging formats nothing.
    said = record.msg if record.args else str(record.msg).replace("%", "%%")
    record.msg, record.args = f"{begin}{said}", (*values, *(record.args or ()))

    return True
