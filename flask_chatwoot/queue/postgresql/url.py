"""Parse the URL of a PostgreSQL database.

libpq can do that too, but its errors quote the password. Nothing here needs psycopg.
"""

from __future__ import annotations

import ipaddress
import re
import typing as t
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

SCHEMES: t.Final = ("postgres", "postgresql", "postgresql+psycopg")

EXAMPLE: t.Final = "postgresql://user:password@db.example.com/name"

_PORT: t.Final = 5432

_USUAL: t.Final[t.Mapping[str, str | int]] = {
    "connect_timeout": 2,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
    "client_encoding": "UTF8",
    "fallback_application_name": "flask_chatwoot",
}
"""Seconds, but ``tcp_user_timeout`` is in milliseconds."""

_SSL_VERSIONS: t.Final = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")

_WORDS: t.Final[t.Mapping[str, tuple[str, ...]]] = {
    "sslmode": (
        *("disable", "allow", "prefer", "require"),
        *("verify-ca", "verify-full"),
    ),
    "sslnegotiation": ("postgres", "direct"),
    "sslcertmode": ("disable", "allow", "require"),
    "sslsni": ("0", "1"),
    "ssl_min_protocol_version": _SSL_VERSIONS,
    "ssl_max_protocol_version": _SSL_VERSIONS,
    "gssencmode": ("disable", "prefer", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    # Others, such as "standby", are of no use to what writes.
    "target_session_attrs": ("any", "read-write", "primary"),
    "load_balance_hosts": ("disable", "random"),
    "keepalives": ("0", "1"),
}
"""Parameters that have one of these values."""

_NUMBERS: t.Final = (
    *("connect_timeout", "tcp_user_timeout"),
    *("keepalives_idle", "keepalives_interval", "keepalives_count"),
)

_TEXTS: t.Final = (
    *("sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir", "sslpassword"),
    *("requirepeer", "require_auth", "krbsrvname", "passfile", "application_name"),
)

_ELSEWHERE: t.Final[t.Mapping[str, str]] = {
    "user": "write the user in front of the host",
    "password": "write the password in front of the host",
    "dbname": "write the database behind the host",
    "options": "set it for the role with ALTER ROLE, since poolers refuse options",
    "client_encoding": "remove it; it is always UTF8",
}
"""Parameters of libpq that are not taken, with the remedy."""

_BAD_ESCAPE: t.Final = re.compile("%(?![0-9A-Fa-f]{2})")

_HOST: t.Final = re.compile(r"[\w.-]+")

_ENCODE: t.Final = (
    "In the user and the password write %40 for @, %2F for /, %3A for :, %3F for ?, "
    "%23 for # and %25 for %."
)


class Host(t.NamedTuple):
    """A server, or the folder of its socket, which begins with a slash."""

    name: str
    port: int

    def __str__(self) -> str:
        return self._with_port(self.name)

    @property
    def encoded(self) -> str:
        """As it stands in a URL."""
        return self._with_port(quote(self.name, safe=":"))

    def _with_port(self, name: str) -> str:
        bracketed = f"[{name}]" if ":" in name else name

        return bracketed if self.port == _PORT else f"{bracketed}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a PostgreSQL database is, and how to connect to it.

    As text it is a URL without the password and the parameters.

    :ivar hosts: At least one; tried in this order.
    :ivar user: ``None``: the user of this process.
    :ivar password: ``None``: that of libpq's password file, or none.
    :ivar parameters: Those of the URL.
    """

    hosts: tuple[Host, ...]
    database: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    parameters: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        user = "" if self.user is None else f"{quote(self.user, safe='')}@"
        hosts = ",".join(host.encoded for host in self.hosts)

        return f"postgresql://{user}{hosts}/{quote(self.database, safe='')}"

    @property
    def where(self) -> str:
        """The hosts, for messages."""
        return ", ".join(map(str, self.hosts))

    def connect_options(self) -> dict[str, str | int]:
        """The parameters of libpq, the password among them."""
        given = {
            "host": ",".join(host.name for host in self.hosts),
            "port": ",".join(str(host.port) for host in self.hosts),
            "dbname": self.database,
            "user": self.user,
            "password": self.password,
        }
        options: dict[str, str | int] = {**_USUAL}

        if len(self.hosts) > 1:
            options["target_session_attrs"] = "read-write"

        return {
            **options,
            **{name: value for name, value in given.items() if value is not None},
            **dict(self.parameters),
        }


def parse(url: str) -> Address:
    """The address that a URL names.

    :raises ValueError: The URL is not understood. The text continues
        "CHATWOOT_DATABASE_URL is 'value', which", and quotes no password.
    """
    scheme, separator, rest = url.partition("://")

    if scheme.lower() not in SCHEMES or not separator:
        raise ValueError(f"must begin with postgresql://, like {EXAMPLE}.")

    if not rest.isprintable() or " " in rest:
        raise ValueError(f"must have no spaces, like {EXAMPLE}. {_ENCODE}")

    authority, path, query = _split(rest)
    before, at, places = authority.rpartition("@")
    user, colon, password = before.partition(":")
    parameters = _parameters(query)
    database = _decoded(path)

    if not database:
        raise ValueError(f"names no database; write it behind the host: {EXAMPLE}.")

    if at and not user:
        raise ValueError(f"names no user; write it like {EXAMPLE}.")

    return Address(
        hosts=_hosts(places, parameters),
        database=database,
        user=_decoded(user) if user else None,
        password=_decoded(password) if colon else None,
        parameters=tuple(parameters.items()),
    )


def _split(rest: str) -> tuple[str, str, str]:
    """User and hosts, path, and query."""
    address, _, query = rest.partition("?")
    authority, _, path = address.partition("/")

    # A character of the password that is not encoded ends the part before it.
    if authority.count("@") > 1 or "@" in path + query or "#" in rest:
        raise ValueError(f"has an @ or # too many. {_ENCODE}")

    if "/" in path or ":" in authority.rpartition("@")[0].partition(":")[2]:
        raise ValueError(f"has a slash or colon too many. {_ENCODE}")

    return authority, path, query


def _decoded(text: str) -> str:
    if _BAD_ESCAPE.search(text):
        raise ValueError(f"has a % without two digits. {_ENCODE}")

    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError("has encoded characters that are not UTF-8.") from None

    if "\0" in decoded:
        raise ValueError("has a null character, which PostgreSQL does not know.")

    return decoded


# -- hosts -------------------------------------------------------------------------


def _hosts(places: str, parameters: dict[str, str]) -> tuple[Host, ...]:
    """The hosts of the URL, or those of its parameters, which are removed."""
    names, ports = parameters.pop("host", ""), parameters.pop("port", "")

    if places and (names or ports):
        raise ValueError("names hosts or ports twice; remove the parameter.")

    if places:
        return tuple(map(_host, places.split(",")))

    if not names:
        raise ValueError(
            f"names no host; write it like {EXAMPLE}, or "
            "postgresql:///name?host=/var/run/postgresql for a socket."
        )

    each, numbers = names.split(","), ports.split(",")

    if len(numbers) == 1:
        numbers *= len(each)

    if len(numbers) != len(each):
        raise ValueError("must have one port, or as many ports as hosts.")

    return tuple(Host(_name(a), _port(b)) for a, b in zip(each, numbers, strict=True))


def _host(place: str) -> Host:
    if place.startswith("["):
        name, bracket, port = place[1:].partition("]")

        if not bracket or (port and not port.startswith(":")):
            raise ValueError("must have IPv6 addresses in brackets, like [::1]:5432.")

        return Host(_ipv6(_decoded(name)), _port(port[1:]))

    name, _, port = place.partition(":")

    return Host(_name(_decoded(name)), _port(port))


def _ipv6(name: str) -> str:
    try:
        ipaddress.IPv6Address(name)
    except ValueError:
        raise ValueError("has brackets, but no IPv6 address like [::1].") from None

    return name


def _name(name: str) -> str:
    if ":" in name:
        return _ipv6(name)

    if not name:
        raise ValueError(f"has an empty host; write it like {EXAMPLE}.")

    if not (name.startswith("/") and "," not in name) and not _HOST.fullmatch(name):
        raise ValueError(f"has no proper host; write it like {EXAMPLE}. {_ENCODE}")

    return name


def _port(text: str) -> int:
    if not text:
        return _PORT

    if not (text.isascii() and text.isdigit() and 0 < int(text[:6]) < 65_536):
        # Not quoted: without the host, it is the password.
        raise ValueError(
            f"must have a number from 1 to 65535 as the port. {_ENCODE}",
        )

    return int(text[:6])


# -- parameters --------------------------------------------------------------------


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}

    for part in filter(None, query.split("&")):
        name, equals, value = part.partition("=")

        if not (name.isascii() and name.isidentifier() and equals):
            raise ValueError("must have parameters like ?sslmode=require.")

        if name in found:
            raise ValueError(f"has the parameter {name} twice; remove one.")

        found[name] = _parameter(name, _decoded(value))

    return found


def _parameter(name: str, value: str) -> str:
    """The value, if the parameter is known and may have it."""
    words = _WORDS.get(name)

    if name in _ELSEWHERE:
        raise ValueError(f"has the parameter {name}; {_ELSEWHERE[name]}.")

    if words and value not in words:
        raise ValueError(f"must have one of {', '.join(words)} as {name}.")

    if name in _NUMBERS and not re.fullmatch("[1-9][0-9]{0,6}", value):
        raise ValueError(f"must have a whole number above zero as {name}.")

    if not words and name not in (*_NUMBERS, *_TEXTS, "host", "port"):
        known = ", ".join(sorted([*_WORDS, *_NUMBERS, *_TEXTS]))
        raise ValueError(f"has the unknown parameter {name}; known are {known}.")

    return value
