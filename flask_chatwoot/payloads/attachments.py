"""The files, locations and contact cards of messages (``app/models/attachment.rb``)."""

import typing as t
from types import MappingProxyType
from urllib.parse import quote, unquote, urlsplit

from .fields import Object, Upload, as_id, as_object, as_text

_NOTHING: t.Final[Object] = MappingProxyType({})

_LONGEST: t.Final = 200
"""Characters of a name in a text."""


class Attachment(t.NamedTuple):
    """A file of a message, or a location, a contact card, a shared page.

    What Chatwoot does not send is ``None`` or empty.

    :ivar type: Chatwoot's ``file_type``: ``image``, ``audio``, ``video``, ``file``,
        ``location``, ``contact``, ``fallback`` (a link), …
    :ivar url: A URL that redirects to the file and needs no token; ``None`` for
        types without a file, such as a location.
    :ivar size: The size in bytes.
    :ivar title: The name of a location or a page, the phone number of a contact card.
    :ivar latitude: Of a location, as is ``longitude``; degrees.
    :ivar transcript: What is said in a voice message, if Chatwoot transcribes them and
        had done so.
    :ivar details: More of a contact card: ``firstName`` and ``lastName``.
    """

    type: str
    url: str | None = None
    size: int | None = None
    title: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    transcript: str = ""
    details: Object = _NOTHING

    def __repr__(self) -> str:
        return f"Attachment(type={self.type!r}, size={self.size})"

    @property
    def name(self) -> str | None:
        """The name of the file, which is the last part of its URL."""
        try:
            path = urlsplit(self.url or "").path
        except ValueError:  # no address of Chatwoot's
            return None

        return unquote(path.rpartition("/")[2]) or None


def attachments_from(listed: t.Any) -> tuple[Attachment, ...]:
    """Read the files of a message; without files, the key is absent."""
    return tuple(
        _attachment(item)
        for item in (listed if isinstance(listed, list) else ())
        if isinstance(item, dict)
    )


def _attachment(raw: Object) -> Attachment:
    kind = as_text(raw.get("file_type")) or "file"
    is_place = kind == "location"

    return Attachment(
        type=kind,
        url=as_text(raw.get("data_url")),
        size=as_id(raw.get("file_size")),
        title=as_text(raw.get("fallback_title")) or None,
        latitude=_degrees(raw.get("coordinates_lat")) if is_place else None,
        longitude=_degrees(raw.get("coordinates_long")) if is_place else None,
        transcript=as_text(raw.get("transcribed_text")) or "",
        details=as_object(raw.get("meta")),
    )


def _degrees(value: t.Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)

    return float(value) if is_number and abs(value) <= 180 else None


# -- as JSON -----------------------------------------------------------------------


def stored(attachment: Attachment) -> list[t.Any]:
    """The values of an attachment, which JSON can hold."""
    return [*attachment[:-1], dict(attachment.details)]


def restored(values: t.Sequence[t.Any]) -> Attachment:
    """An attachment from its values; those of an earlier release are fewer."""
    return Attachment(*values)


# -- as text -----------------------------------------------------------------------


def described(text: str, attachments: t.Iterable[Attachment]) -> str:
    """A message in one text, as language models take it.

    Each of its attachments has a line: ``[image: order.png]``.
    """
    return "\n".join(filter(None, [text.strip(), *map(_line, attachments)]))


def _line(attachment: Attachment) -> str:
    about = label(attachment.type, *_facts(attachment))

    return " ".join([about, *filter(None, [attachment.transcript.strip()])])


def _facts(attachment: Attachment) -> list[str]:
    """What tells an attachment from others of its type."""
    if attachment.type == "location":
        place = (attachment.latitude, attachment.longitude)
        degrees = [str(each) for each in place if each is not None]
        return [attachment.title or "", *degrees]

    if attachment.type == "contact":
        names = map(attachment.details.get, ("firstName", "lastName"))
        return [" ".join(filter(None, map(as_text, names))), attachment.title or ""]

    return [attachment.title or attachment.name or ""]


def attachment_of(upload: Upload) -> Attachment:
    """What becomes of a file that is sent (``app/helpers/file_type_helper.rb``)."""
    kind = upload.media_type.partition("/")[0]

    return Attachment(
        type=kind if kind in ("image", "audio", "video") else "file",
        url=quote(upload.name, safe=""),
        size=len(upload.content),
    )


def label(kind: str, *facts: str) -> str:
    """A line for a file: ``[image: order.png]``, or ``[image]`` if it has no name."""
    clean = [" ".join(fact.split())[:_LONGEST] for fact in facts]
    what = ", ".join(filter(None, clean))

    return f"[{kind}: {what}]" if what else f"[{kind}]"
