"""Which messages of a customer ask nothing."""

import typing as t

from flask_chatwoot.outcomes import Reason

_NO_QUESTIONS: t.Final[t.Mapping[str, Reason]] = {
    "input_csat": Reason.SURVEY,
    "integrations": Reason.CALL,  # lib/integrations/dyte/processor_service.rb
    "voice_call": Reason.CALL,
}
"""Content types that ask nothing, whatever their text (``app/models/message.rb``). A
type that this version does not know may be a text."""


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
