"""Say what failed in PostgreSQL, and what to do about it.

No statement, no value and no password is quoted. The server's details hold rows, and
the messages of many errors hold values.
"""

from __future__ import annotations

import re
import typing as t

import psycopg

from flask_chatwoot.errors import DatabaseError

from .connections import (
    ExhaustedError,
    LateError,
    NotConnectedError,
    ServerTooOldError,
)
from .url import Address

_KEY: t.Final = "CHATWOOT_DATABASE_URL"

_OF_TYPES: t.Final[t.Mapping[type[psycopg.Error], str]] = {
    ExhaustedError: "all connections were in use for two seconds; the server is slow, "
    "or frozen",
    LateError: "the server did not answer within three seconds; it has too much to do, "
    "or the network loses packets",
    NotConnectedError: "no connection was made within two seconds; check the host and "
    f"the port in {_KEY}, the network and its firewall",
    ServerTooOldError: "the server is too old; PostgreSQL 13 or later is needed",
}

_PASSWORD: t.Final = f"the password is wrong or missing; write it into {_KEY}"
_NO_ENTRY: t.Final = (
    "the server does not let this user in from this machine; check the user in "
    f"{_KEY} and the server's pg_hba.conf"
)
_NO_ROLE: t.Final = f"there is no such user; create it, or correct {_KEY}"
_NO_DATABASE: t.Final = f"there is no such database; create it, or correct {_KEY}"
_FULL: t.Final = (
    "the server has no connection left; raise its max_connections, run fewer workers, "
    "or put PgBouncer in front of it"
)
_STARTING: t.Final = "the server is starting or stopping; it is tried again"
_READ_ONLY: t.Final = (
    f"the server is read-only; name the primary in {_KEY}, or all hosts"
)
_TLS: t.Final = (
    "the encrypted connection was refused; check sslmode and sslrootcert in "
    f"{_KEY} and the server's certificate"
)
_RIGHTS: t.Final = (
    "the user lacks a right; let an administrator run what flask chatwoot database sql "
    f"prints, or name another user in {_KEY}"
)
_UNREACHABLE: t.Final = (
    f"the server cannot be reached; check that it runs, and the host and port in {_KEY}"
)
_CUT: t.Final = "the connection was cut; it is tried again"

_OF_STATES: t.Final[t.Mapping[str, str]] = {
    "08P01": "PgBouncer cannot reach the server; it is tried again, at PgBouncer's "
    "server_login_retry, which is 15 s unless it is set",
    "28P01": _PASSWORD,
    "28000": _NO_ENTRY,
    "3D000": _NO_DATABASE,
    "3F000": "the schema is gone; restart the app, which makes it again",
    "42P01": "a table is gone; restart the app, which makes it again",
    "42501": _RIGHTS,
    "25006": _READ_ONLY,
    "53100": "its disk needs room",
    "53200": "the server is out of memory",
    "53300": _FULL,
    "55P03": "another transaction holds a lock for too long",
    "57014": "a statement took longer than three seconds; the server has too much "
    "to do, or a lock is held for too long",
    "57P01": "the server is stopping, or its administrator cut the connection; it is "
    "tried again",
    "57P02": _STARTING,
    "57P03": _STARTING,
    "25P03": "the connection was cut, since a transaction was idle for too long",
    "40001": "transactions got into each other's way; it is tried again",
    "40P01": "transactions got into each other's way; it is tried again",
}
"""By the code of the server's error. See PostgreSQL's appendix A."""

_OF_TEXTS: t.Final = (
    (("password authentication failed", "no password supplied"), _PASSWORD),
    (("no pg_hba.conf entry", "not permitted to log in"), _NO_ENTRY),
    (("permission denied for database",), _RIGHTS),
    (('role "" does not exist',), _NO_ROLE),
    (('database "" does not exist', "no such database"), _NO_DATABASE),
    (("too many", "connection slots", "connection limit"), _FULL),
    (("starting up", "shutting down", "not yet accepting", "in recovery"), _STARTING),
    (("read-only", "not read-write", "hot standby", "not primary"), _READ_ONLY),
    (("certificate", "SSL", "TLS"), _TLS),
    (("closed the connection", "connection was lost", "is lost"), _CUT),
    (
        (
            *("timeout expired", "timed out", "refused", "resolve", "translate host"),
            *("unreachable", "No route", "No such file", "connection is bad"),
        ),
        _UNREACHABLE,
    ),
)
"""By what an error in connecting says, for want of a code; the first that applies."""


def failed(
    error: psycopg.Error, address: Address, *, place: str = _KEY
) -> DatabaseError:
    """The error for the host's log: what failed, where, and what to do.

    :param place: Where the address was given, which the remedy names.
    """
    who = "" if address.user is None else f" as {address.user!r}"
    what = (_explained(error) or _connecting(error, address)).replace(_KEY, place)

    return DatabaseError(
        f"The database {address.database!r} at {address.where}{who} failed: {what}."
    )


def _explained(error: psycopg.Error) -> str | None:
    cause = error.__cause__

    if isinstance(error, NotConnectedError) and isinstance(cause, psycopg.Error):
        return _explained(cause)

    for kind, explained in _OF_TYPES.items():
        if isinstance(error, kind):
            return explained

    if error.sqlstate:
        known = _OF_STATES.get(error.sqlstate)

        return known or f"{type(error).__name__} ({error.sqlstate})"

    return _of_text(str(error))


def _of_text(text: str) -> str | None:
    """By an error that has no code, as all have that are raised in connecting."""
    unquoted = re.sub('"[^"]*"', '""', text)  # names may be any words

    for parts, explained in _OF_TEXTS:
        if any(part in unquoted for part in parts):
            return explained

    return None


def _connecting(error: psycopg.Error, address: Address) -> str:
    """An error without a code, and perhaps in another language than English."""
    if not isinstance(error, psycopg.OperationalError):
        return type(error).__name__  # not one of the server

    said = str(error.__cause__ or error).strip().splitlines()[:1]
    text = " ".join(said) if said else type(error).__name__

    if address.password:
        text = text.replace(address.password, "…")

    return f"{text}; check {_KEY}"
