"""What a pretended Chatwoot refuses to store, and how it says so."""

from __future__ import annotations

import typing as t

from .payloads import JSON

MAX_ATTACHMENTS: t.Final = 15
MAX_TEXT_VALUE: t.Final = 1_500
MAX_NUMBER_VALUE: t.Final = 9_999_999_999

TOO_MANY_FILES: t.Final = "Validation failed: Attachments exceeded maximum allowed"
NO_UPLOAD: t.Final = "ActiveSupport::MessageVerifier::InvalidSignature"
NO_ITEMS: t.Final = (
    "Validation failed: Content attributes At least one item is required."
)
STRANGE_ITEMS: t.Final = (
    "Validation failed: Content attributes contains invalid keys for items : [{}]"
)

CONTENT_TYPES: t.Final = frozenset(
    {
        *("text", "input_text", "input_textarea", "input_email", "input_select"),
        *("cards", "form", "article", "incoming_email", "input_csat"),
        *("integrations", "sticker", "voice_call"),
    }
)
ITEM_KEYS: t.Final[t.Mapping[str, frozenset[str]]] = {
    "input_select": frozenset({"title", "value"}),
    "cards": frozenset({"title", "description", "media_url", "actions"}),
    "article": frozenset({"title", "description", "link"}),
    "form": frozenset(
        {
            *("type", "placeholder", "label", "name", "options", "default"),
            *("required", "pattern", "title", "pattern_error"),
        }
    ),
}
"""What an item may have, by ``content_type`` (``content_attribute_validator.rb``)."""


class RefusedError(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, error: str = "", **body: t.Any) -> None:
        super().__init__(status)
        self.status = status
        self.body: JSON | str = body or (error and {"error": error})


def check_parts(given: JSON, attributes: JSON, files: int) -> None:
    """Refuse what ``message.rb`` and ``content_attribute_validator.rb`` refuse.

    A text among the attachments is the id of an upload, and here there are none.
    """
    kind = str(given.get("content_type") or "text")

    if kind not in CONTENT_TYPES:
        raise RefusedError(422, f"'{kind}' is not a valid content_type")

    if given.get("attachments"):
        raise RefusedError(422, NO_UPLOAD)

    if files > MAX_ATTACHMENTS:
        raise RefusedError(422, TOO_MANY_FILES)

    if kind in ITEM_KEYS:
        _check_items(attributes.get("items"), ITEM_KEYS[kind])


def _check_items(items: t.Any, allowed: frozenset[str]) -> None:
    known = [item for item in listed(items) if isinstance(item, dict)]

    if not known:
        raise RefusedError(422, NO_ITEMS)

    keys = {key for item in known for key in item} - allowed

    if keys:
        names = ", ".join(f":{key}" for key in sorted(keys))
        raise RefusedError(422, STRANGE_ITEMS.format(names))


def check_attributes(attributes: JSON) -> None:
    """Refuse what ``jsonb_attributes_length_validator.rb`` refuses."""
    for key, value in attributes.items():
        if isinstance(value, str) and len(value) > MAX_TEXT_VALUE:
            problem = f"{key} length should be < {MAX_TEXT_VALUE}"
        elif isinstance(value, int) and value > MAX_NUMBER_VALUE:
            problem = f"{key} value maximum limit should be < {MAX_NUMBER_VALUE}"
        else:
            continue

        raise RefusedError(
            422,
            message=f"Custom attributes {problem}",
            attributes=["custom_attributes"],
        )


def listed(value: t.Any) -> list[t.Any]:
    """The value if it is a list, else none at all."""
    return value if isinstance(value, list) else []
