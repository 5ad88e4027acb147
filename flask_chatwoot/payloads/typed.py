"""The text of a message as its author typed it.

Of an e-mail that is the part without the quoted history, or its subject. Chatwoot 4.9.0
to 4.12.0 renders the text in deliveries.
"""

import re
import typing as t
from html import unescape

from .fields import Object, as_object, as_text, is_visible

_RENDERED = r"(?s)\s*<(p|ul|ol|h[1-6]|blockquote|pre|table|hr)\b.*>\s*\Z"


def typed(
    content: str, mail: Object, message_id: int, conversation: Object | None
) -> tuple[str, bool]:
    """Return the text as typed, and whether it may be rendered HTML.

    :param content: The message's own text.
    :param mail: What Chatwoot read of an e-mail; empty for other messages.
    :param conversation: The conversation in the delivery of the message, whose content
        may be rendered; ``None`` for answers of the API.
    """
    text = _trimmed(mail) if mail else None
    rendered = False

    if text is None:
        text = content

        if conversation is not None and _looks_rendered(content):
            stored = _stored(message_id, conversation)
            text, rendered = (content, True) if stored is None else (stored, False)

    if mail and not is_visible(text):  # the question may be in the subject alone
        text = as_text(mail.get("subject")) or text

    # From 4.14.2 on, Chatwoot strips these itself.
    return text.rstrip("\r\n"), rendered


def _looks_rendered(content: str) -> bool:
    return content[:64].lstrip()[:1] == "<" and bool(re.match(_RENDERED, content))


def _stored(message_id: int, conversation: Object) -> str | None:
    """Return the stored, unrendered text of a message, if the delivery contains it.

    ``messages[0]`` is the newest message at the time when Chatwoot writes the delivery,
    so it is often another message than that of the delivery.
    """
    messages = conversation.get("messages")
    newest = as_object(messages[0]) if isinstance(messages, list) and messages else {}

    return as_text(newest.get("content")) if newest.get("id") == message_id else None


def _trimmed(mail: Object) -> str | None:
    """Return the text of an e-mail without the quoted history.

    Chatwoot calls the trimmed part ``quoted`` (``app/presenters/mail_presenter.rb``).
    """
    for part in ("text_content", "html_content"):
        text = as_text(as_object(mail.get(part)).get("quoted"))

        if text and text.strip():
            return text

    return None


def unrendered(html: str) -> str:
    """Return the text that was probably typed, from HTML that Chatwoot rendered."""
    for pattern, text in _UNRENDERED:
        html = re.sub(pattern, text, html)

    try:
        return unescape(html).strip("\n")
    except ValueError:  # a character number of more digits than Python reads
        return html.strip("\n")


_UNRENDERED: t.Final = (
    (r"\n(?=<)|(?<=>)\n", ""),  # added by the renderer between tags
    (r"<br ?/?>", "\n"),
    (r"<li>", "- "),
    (r"</li>", "\n"),
    (r"</(?:p|ul|ol|blockquote|pre|h[1-6])>", "\n\n"),
    (r"<[^>]*>", ""),
    (r"\n{3,}", "\n\n"),
)
