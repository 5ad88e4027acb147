"""Which messages of a customer ask nothing, and when a message was written."""

import typing as t

from flask_chatwoot.outcomes import Reason

from .fields import Object, as_moment, as_object

_NO_QUESTIONS: t.Final[t.Mapping[str, Reason]] = {
    "input_csat": Reason.SURVEY,
    "integrations": Reason.CALL,  # lib/integrations/dyte/processor_service.rb
    "voice_call": Reason.CALL,
}
"""Content types that ask nothing, whatever their text (``app/models/message.rb``). A
type that this version does not know may be a text."""


_EARLIEST: t.Final = 946_684_800.0
"""The year 2000. What says that it is older comes from a device without a clock."""


class Content(t.Protocol):
    """What shows whether a message can be a question."""

    @property
    def content_type(self) -> str:
        """Chatwoot's name for it."""

    @property
    def reaction(self) -> bool:
        """Whether it is a reaction to another message."""


def why_no_question(message: Content) -> Reason | None:
    """Why a message asks nothing, whatever its text; ``None`` if it may ask."""
    if message.reaction:
        return Reason.REACTION

    return _NO_QUESTIONS.get(message.content_type)


def written_at(created_at: float | None, attributes: Object) -> float | None:
    """The oldest time that a message states, Unix seconds; ``None`` if it has none.

    A row in Chatwoot may be much younger than its message: an integration copies an
    archive (``external_created_at``), or an old mail is fetched.

    :param created_at: When its row was made.
    :param attributes: Its ``content_attributes``.
    """
    mail = as_object(attributes.get("email"))
    stated = (attributes.get("external_created_at"), mail.get("date"))
    times = [created_at, *map(as_moment, filter(None, stated))]

    return min((each for each in times if each and each > _EARLIEST), default=None)
