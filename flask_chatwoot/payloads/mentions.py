"""Mentions of operators and teams, which Chatwoot reads in private notes."""

import re
import typing as t

_ADDRESS: t.Final = re.compile(r"(?i)(mention:)//")


def defuse(text: str) -> str:
    """Return a text of the same length in which no link mentions anybody.

    For notes that may quote a customer: whoever is mentioned in a note is notified, and
    takes part in the conversation (``app/services/messages/mention_service.rb``). What
    remains is no link in Markdown, so that the dashboard shows it as it is.
    """
    return _ADDRESS.sub(r"\1 /", text)
