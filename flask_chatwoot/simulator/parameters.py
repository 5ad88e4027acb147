"""Reading the parameters of a request as Rails does."""

from __future__ import annotations

import os
import re
import typing as t

from werkzeug.wrappers import Request

from .encoding import from_json
from .payloads import JSON
from .refusals import RefusedError

_FALSE: t.Final = (None, False, 0, "", "0", "f", "F", "false", "FALSE", "off", "OFF")


def parameters(request: Request) -> JSON:
    """The parameters in a body of JSON or a form. No body means no parameters.

    :raises RefusedError: The body is not an object.
    """
    if request.mimetype == "multipart/form-data":
        return _form(request)

    given = from_json(request.get_data() or b"{}")

    if not isinstance(given, dict):
        raise RefusedError(400, "Bad Request")

    return given


def permitted(given: JSON, wrapper: str, keys: t.Collection[str]) -> JSON:
    """The parameters with these keys, flat or under the resource's name."""
    inner = given.get(wrapper)
    given = inner if isinstance(inner, dict) else given

    return {key: given[key] for key in keys & given.keys()}


def listable(request: Request) -> t.Any:
    """The body for the list of calls, without the content of files."""
    if request.mimetype != "multipart/form-data":
        return from_json(request.get_data())

    uploads = {
        name: [
            {
                "name": upload.filename,
                "content_type": upload.mimetype,
                "size": upload.stream.seek(0, os.SEEK_END),
            }
            for upload in uploads
        ]
        for name, uploads in request.files.lists()
    }

    return {**_form(request), **uploads}


def _form(request: Request) -> JSON:
    """The fields as Rack reads their names: ``[]`` at the end means a list."""
    return {
        name.removesuffix("[]"): values if name.endswith("[]") else values[-1]
        for name, values in request.form.lists()
    }


def is_true(value: t.Any) -> bool:
    """Whether Rails casts it to ``true``."""
    return value not in _FALSE


def as_list(value: t.Any) -> list[t.Any]:
    """The value if it is a list, else an empty list."""
    return value if isinstance(value, list) else []


def as_id(value: t.Any) -> int | None:
    """An id; ``None`` if there is none."""
    return None if value is None else as_integer(str(value))


def as_integer(text: str | None) -> int | None:
    """A number as Ruby reads it: the leading digits, or 0. ``None``: a blank."""
    if not (text and text.strip()):
        return None

    digits = re.match(r"\s*([+-]?\d{1,18})", text, re.ASCII)

    return int(digits[1]) if digits else 0
