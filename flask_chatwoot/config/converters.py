"""Convert the given value of a setting.

Every converter takes a value of ``app.config`` or of the environment and raises a
``TypeError`` or ``ValueError`` whose text continues "CHATWOOT_KEY is 'value', which".
"""

from __future__ import annotations

import json
import os
import re
import typing as t
from urllib.parse import urlsplit

from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads.fields import is_visible, storable
from flask_chatwoot.texts import Text, forms_of, problem_of

from .numbers import Whole

if t.TYPE_CHECKING:
    from flask_chatwoot.queue.postgresql.url import Address

STATUSES: t.Final = ("open", "pending", "resolved", "snoozed")
"""Statuses of conversations in Chatwoot (``app/models/conversation.rb``)."""

SQLITE: t.Final = "sqlite:///"

_id = Whole(1)

_SEPARATORS: t.Final = tuple({os.sep, os.altsep or os.sep})


def is_blank(value: t.Any) -> bool:
    """Whether a value counts as not set: ``None``, or white space."""
    return value is None or (isinstance(value, str) and not value.strip())


def text(value: t.Any) -> str:
    """Text without white space around it."""
    # Settings read as JSON turn digits into numbers; those can be turned back. A
    # float cannot: 12e4567 has become infinity.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"must be text, not {type(value).__name__}; quote it.")

    try:
        trimmed = str(value).strip()
    except ValueError:  # a number of thousands of digits
        raise ValueError("must be text; quote it.") from None

    # Bytes of the environment that are not UTF-8 can neither sign nor be stored.
    if trimmed.encode(errors="replace").decode() != trimmed:
        raise ValueError("must be text in UTF-8; write it again.")

    # PostgreSQL, Chatwoot's too, cannot store it, and no file may be named so.
    if "\0" in trimmed:
        raise ValueError("must not hold the character NUL; write it again.")

    return trimmed


def line(value: t.Any) -> str:
    """Text in one line."""
    given = text(value)

    if not given.isprintable():
        raise ValueError("must be one line of printable text; write it again.")

    return given


def locale(value: t.Any) -> str:
    """A code of a language, as Chatwoot or a browser writes it."""
    given = text(value)

    if not re.fullmatch(r"[A-Za-z]{2,3}([_-][A-Za-z0-9]+)*", given):
        raise ValueError("must be the code of a language, like de or pt_BR.")

    return given


def operators_texts(value: t.Any) -> t.Mapping[str, Text]:
    """Texts for operators, by their keys."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            value = None

    if not isinstance(value, dict):
        raise TypeError("must be a dict of texts by their keys, or that as JSON.")

    if problem := problem_of(value):
        raise ValueError(problem)

    for key, given in value.items():
        if not all(
            is_visible(each) and storable(each) == each for each in forms_of(given)
        ):
            raise ValueError(
                f"must have text under {key!r} that operators can see, in UTF-8 and "
                "without the character NUL; write it again."
            )

    return dict(value)


def token(value: t.Any) -> str:
    """Text that fits into an HTTP header."""
    given = text(value)

    if not (given.isascii() and given.isprintable() and " " not in given):
        raise ValueError("must be printable ASCII without spaces; copy it again.")

    return given


def tokens(value: t.Any) -> tuple[str, ...]:
    """A list, or text with commas; at least one that fits into an HTTP header."""
    return tuple(map(token, secrets(value)))


def _parts(value: t.Any) -> t.Iterable[t.Any]:
    return value if isinstance(value, list | tuple | set) else text(value).split(",")


def texts(value: t.Any) -> tuple[str, ...]:
    """A list, or text with commas."""
    return tuple(filter(None, map(text, _parts(value))))


def secrets(value: t.Any) -> tuple[str, ...]:
    """A list, or text with commas; at least one."""
    given = texts(value)

    if not given:
        raise ValueError(
            "must be at least one secret; remove it to accept every sender."
        )

    return given


def ids(value: t.Any) -> frozenset[int]:
    """Ids in Chatwoot; a list, or text with commas."""
    given = frozenset(_id(part) for part in _parts(value) if not is_blank(part))

    if not given and isinstance(value, str):
        raise ValueError("names no inbox; remove it to answer in every inbox.")

    return given


def statuses(value: t.Any) -> frozenset[str]:
    """Statuses of conversations; a list, or text with commas."""
    given = frozenset(map(one_of(*STATUSES), texts(value)))

    if not given and isinstance(value, str):
        raise ValueError("names no status; remove it for open and pending.")

    return given


def flag(value: t.Any) -> bool:
    """A boolean, or a word for one."""
    if isinstance(value, bool):
        return value

    word = one_of("true", "false", "1", "0", "yes", "no", "on", "off")(value)

    return word in ("true", "1", "yes", "on")


def one_of(*known: str) -> t.Callable[[t.Any], str]:
    """One of these words, in small or capital letters."""

    def convert(value: t.Any) -> str:
        given = text(value).lower()

        if given not in known:
            raise ValueError(f"must be one of {', '.join(known)}.")

        return given

    return convert


def mode(value: t.Any) -> Mode:
    """A mode."""
    return Mode(one_of(*Mode)(value))


def http_url(value: t.Any) -> str:
    """The address of a server, without a slash at the end."""
    given = text(value).rstrip("/")
    example = "https://chatwoot.example.com"

    try:
        parts = urlsplit(given)
        _ = parts.port  # raises when it is not a number
    except ValueError:
        raise ValueError(f"is not a URL; write it like {example}.") from None

    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"must begin with http:// or https://, like {example}.")

    if "@" in parts.netloc:
        raise ValueError("must not hold a user name; the token is a key of its own.")

    if parts.query or parts.fragment or not given.isprintable() or " " in given:
        raise ValueError(f"must be the address alone, like {example}.")

    if parts.port == 0 or not _is_host(parts.hostname):
        raise ValueError(f"must name the host of a server, like {example}.")

    # As the browser shows it; every path below it is a page as well, not the API.
    if re.search("/app/(accounts|login)(/|$)", parts.path):
        raise ValueError(f"is a page of the dashboard; write it like {example}.")

    return given


def _is_host(name: str) -> bool:
    """Whether a name, or an address, can be a host's; it is not looked up."""
    if ":" in name:  # an IPv6 address, which urlsplit has checked
        return True

    try:
        name.encode("idna")  # raises for labels that are empty or too long
    except UnicodeError:
        return False

    return re.fullmatch(r"\w([\w.-]*\w)?\.?", name) is not None


def object_path(value: t.Any) -> str:
    """A module and a name in it, with a colon between."""
    given = text(value)
    module, colon, name = given.partition(":")

    if not (colon and all(map(str.isidentifier, [*module.split("."), name]))):
        raise ValueError("must name a module and an object in it, like shop:celery.")

    return given


_PATH: t.Final = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)*/?")
"""A path that is the same in Flask's rules, in Chatwoot's settings and in a request."""


def url_prefix(value: t.Any) -> str:
    """A path, without a slash at the end."""
    given = text(value)

    if not given.startswith("/") or not _PATH.fullmatch(given):
        raise ValueError(
            "must begin with a slash and have only letters of ASCII, digits and -._~ "
            "between slashes, like /chatwoot."
        )

    return given.rstrip("/")


def database_url(value: t.Any) -> str | Address:
    """The URL of an SQLite file, or the address of a PostgreSQL database."""
    given = text(value)
    example = f"{SQLITE}chatwoot.sqlite3"

    if given.lower().startswith("postgres"):
        from flask_chatwoot.queue.postgresql.url import parse

        return parse(given)

    if not given.startswith(SQLITE):
        raise ValueError(
            f"must begin with {SQLITE}, like {example} for a file in the instance "
            f"folder or {SQLITE}/var/lib/app/chatwoot.sqlite3; or with postgresql://."
        )

    path = given.removeprefix(SQLITE)

    if "?" in path or "#" in path:
        raise ValueError(f"must end with the path of the file, like {example}.")

    if path == ":memory:":
        raise ValueError(f"must be a file, which threads can share, like {example}.")

    if not path or path.endswith(_SEPARATORS):
        raise ValueError("names a folder; add a name, like chatwoot.sqlite3.")

    return given


def schema(value: t.Any) -> str:
    """The name of a schema that PostgreSQL takes without quotes."""
    given = text(value)

    if not re.fullmatch("[a-z_][a-z0-9_]{0,62}", given):
        raise ValueError(
            "must begin with a small letter, and have at most 63 small letters, digits "
            "and underscores."
        )

    if given.startswith("pg_") or given == "information_schema":
        raise ValueError("is PostgreSQL's own; choose another.")

    return given
