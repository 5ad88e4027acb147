"""How long the messages of each channel may be, and how to split a longer text."""

import re
import typing as t
import unicodedata

from .conversation import Conversation
from .liquid import escape

LIMIT: t.Final = 150_000
"""The most characters of one message (Chatwoot's ``app/models/message.rb``)."""

_LONGEST: t.Final = {
    "FacebookPage": 2000,
    "Instagram": 1000,
    "Line": 5000,
    "Sms": 320,
    "Telegram": 4096,
    "Tiktok": 6000,
    "TwilioSms": 320,
    "Whatsapp": 4096,
}
"""Characters, from Chatwoot's ``enterprise/lib/captain/message_length_limit.rb``."""

_TWILIO_WHATSAPP: t.Final = 1600

_BUTTONS: t.Final = (None, "Api", "Telegram", "WebWidget", "Whatsapp")
"""The channels that show choices to every customer, in an API inbox by its client."""

_TEXT_ALONE: t.Final = ("Email", "Instagram", "Sms", "TwilioSms")
"""Those that never do: of ``input_select`` they send the text
(``app/services/twilio/send_on_twilio_service.rb``, for instance). Others do in some
versions or apps, such as Line (``app/services/line/send_on_line_service.rb``)."""


class Channel(t.NamedTuple):
    """The channel in which a customer writes.

    :ivar name: Chatwoot's name without ``Channel::``, such as ``"Whatsapp"`` or
        ``"WebWidget"``; ``None`` if there is none. ``"Instagram"`` also where a
        Facebook page receives it.
    :ivar max_length: The most characters of one message; ``None`` if the channel has no
        limit below Chatwoot's own, :data:`LIMIT`. Longer answers are split.
    """

    name: str | None = None
    max_length: int | None = None

    @property
    def lists_choices(self) -> bool:
        """Whether choices are listed in the text, as buttons may not be shown."""
        return self.name not in _BUTTONS

    @property
    def has_buttons(self) -> bool:
        """Whether choices may be shown as buttons."""
        return self.name not in _TEXT_ALONE


def channel_of(conversation: Conversation) -> Channel:
    """The channel of a conversation."""
    name = (conversation.channel or "").removeprefix("Channel::") or None
    kind = conversation.additional_attributes.get("type")

    if name == "FacebookPage" and kind == "instagram_direct_message":
        name = "Instagram"

    # Twilio's WhatsApp shows in the customer's address only
    # (app/models/channel/twilio_sms.rb).
    if name == "TwilioSms" and (conversation.source_id or "").startswith("whatsapp:"):
        return Channel(name, _TWILIO_WHATSAPP)

    return Channel(name, _LONGEST.get(name or ""))


# -- splitting -------------------------------------------------------------------


def split(text: str, limit: int = LIMIT) -> list[str]:
    """Split a text at paragraphs, else lines, sentences, words. Each part fits escaped.

    Only the white space at a cut is removed. A code block that is cut is closed, and
    opened again in the next part. A text that fits is the only part, even if it is
    empty; a long text of white space has no parts.

    :param limit: The most characters of an escaped part.
    """
    parts, rest = first_parts(text, limit, most=len(text) + 1)

    return [*parts, *filter(None, [rest])] if rest != text else [text]


def first_parts(text: str, limit: int, *, most: int) -> tuple[list[str], str]:
    """Split the beginning of a text; return the parts and the rest.

    :param most: Parts at most, the rest not counted: it is what fits in one more part,
        or what is left over after these.
    """
    parts: list[str] = []

    # Escaping never shortens a text, so a text that is too long need not be escaped.
    while len(parts) < most and (len(text) > limit or len(escape(text)) > limit):
        part, text = _cut(text, limit)
        parts += [part] if part else []

    return parts, text


def _cut(text: str, limit: int) -> tuple[str, str]:
    """The first part of a text that does not fit, and the rest."""
    size = min(limit, len(text))

    while True:
        part, rest = _cut_at(text, _boundary(text, size))

        if (length := len(escape(part))) <= limit:
            return part, rest

        # The length of the escaped text depends on the place of the cut.
        size = max(1, min(size * limit // length, size - 1))


def _cut_at(text: str, cut: int) -> tuple[str, str]:
    """Both sides of a cut; a code block in between is closed and opened again."""
    head, rest = text[:cut].rstrip(), text[cut:]
    fence = _open_fence(head)

    if fence is None:
        return head, rest.lstrip()

    before = head[: fence.start()].rstrip()

    if len(before) > cut // 2 or (before and fence.end() == len(head)):
        return before, text[fence.start() :]

    closed = f"{head}\n{fence[1]}"

    if end := re.match(rf"\s*\n {{0,3}}{fence[1]}[`~]*[ \t]*(?=\n|\Z)", rest):
        return closed, rest[end.end() :].lstrip()

    if cut <= len(fence[0]) + 1:  # nothing would be gained
        return head, rest.lstrip()

    return closed, "\n".join([fence[0], rest.removeprefix("\n")])


_FENCE: t.Final = r"(?m)^ {0,3}(`{3,}|~{3,})(.*)$"


def _open_fence(text: str) -> re.Match[str] | None:
    """The line that opens the code block in which a text ends, or ``None``."""
    opened: re.Match[str] | None = None

    for line in re.finditer(_FENCE, text):
        mark, info = line[1], line[2]

        if opened is None:
            opened = None if "`" in mark and "`" in info else line
        elif mark.startswith(opened[1]) and not info.strip():
            opened = None

    return opened


_SENTENCE: t.Final = r"[.!?…][\"'”’»)\]*_]*(?=\s)|[。！？]"  # noqa: RUF001


def _boundary(text: str, size: int) -> int:
    """The best place to cut, between half of ``size`` and ``size``."""
    least = size // 2

    for mark in ("\n\n", "\n"):
        if (cut := text.rfind(mark, least, size)) > 0:
            return cut

    ends = [found.end() for found in re.finditer(_SENTENCE, text[least : size + 1])]

    if ends and least + ends[-1] <= size:
        return least + ends[-1]

    if (cut := text.rfind(" ", least, size)) > 0:
        return cut

    return _between_characters(text, size)


def _between_characters(text: str, size: int) -> int:
    """A place near ``size`` that does not tear a visible character apart."""
    for cut in range(size, size // 2, -1):
        joined = text[cut - 1 : cut + 1]

        if not ("\u200d" in joined or unicodedata.category(joined[-1])[0] == "M"):
            return cut

    return size
