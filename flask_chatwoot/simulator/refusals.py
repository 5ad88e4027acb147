"""The errors of a simulated Chatwoot, and its checks of what it stores."""

from __future__ import annotations

import typing as t

from .payloads import JSON

MAX_ATTACHMENTS: t.Final = 15
MAX_TEXT_VALUE: t.Final = 1_500
MAX_NUMBER_VALUE: t.Final = 9_999_999_999

NOT_FOUND: t.Final = "Resource could not be found"
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


def found(rows: t.Mapping[int, JSON], id: int) -> JSON:
    """The row with this id.

    :raises RefusedError: There is none.
    """
    if id not in rows:
        raise RefusedError(404, error=NOT_FOUND)

    return rows[id]


def invalid(attribute: str, problem: str) -> RefusedError:
    """The error of a failed validation of one attribute."""
    name = attribute.replace("_", " ").capitalize()

    return RefusedError(422, message=f"{name} {problem}", attributes=[attribute])


def check_parts(given: JSON, attributes: JSON, files: int) -> None:
    """Validate a message as ``message.rb`` and ``content_attribute_validator.rb`` do.

    A text among the attachments is the id of a direct upload, which the simulator does
    not have.

    :raises RefusedError: It is not valid.
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
    listed = items if isinstance(items, list) else []
    known = [item for item in listed if isinstance(item, dict)]

    if not known:
        raise RefusedError(422, NO_ITEMS)

    keys = {key for item in known for key in item} - allowed

    if keys:
        names = ", ".join(f":{key}" for key in sorted(keys))
        raise RefusedError(422, STRANGE_ITEMS.format(names))


def check_attributes(attributes: JSON) -> None:
    """Validate custom attributes as ``jsonb_attributes_length_validator.rb`` does.

    :raises RefusedError: They are not valid.
    """
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
