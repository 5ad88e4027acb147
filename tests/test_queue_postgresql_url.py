"""The URL of a PostgreSQL database: what is read from it, and what is refused."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from flask_chatwoot.queue.postgresql.url import Address, Host, parse

HOST: t.Final = Host("db.example", 5432)


def address(url: str) -> tuple[tuple[Host, ...], str, str | None, str | None]:
    found = parse(url)
    return found.hosts, found.database, found.user, found.password


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_usual_scheme_is_known(scheme: str) -> None:
    assert address(f"{scheme}://db.example/shop") == ((HOST,), "shop", None, None)
    assert address(f"{scheme.upper()}://db.example/shop")[1] == "shop"


@pytest.mark.parametrize(
    ("place", "hosts"),
    [
        ("db.example", [HOST]),
        ("db.example:", [HOST]),
        ("db.example:6432", [("db.example", 6432)]),
        ("db_1", [("db_1", 5432)]),
        ("10.0.0.7:1", [("10.0.0.7", 1)]),
        ("[::1]", [("::1", 5432)]),
        ("[2001:db8::7]:65535", [("2001:db8::7", 65535)]),
        ("h1:5432,h2", [("h1", 5432), ("h2", 5432)]),
        ("h1,[::1]:6,10.0.0.1:7", [("h1", 5432), ("::1", 6), ("10.0.0.1", 7)]),
        ("%2Fvar%2Frun%2Fpostgresql", [("/var/run/postgresql", 5432)]),
        ("%2Ftmp:6432", [("/tmp", 6432)]),  # noqa: S108 - no file
    ],
)
def test_the_hosts_and_their_ports(place: str, hosts: list[t.Any]) -> None:
    assert address(f"postgresql://me:secret@{place}/shop") == (
        tuple(hosts),
        *("shop", "me", "secret"),
    )


@pytest.mark.parametrize(
    ("query", "hosts"),
    [
        ("host=/var/run/postgresql", [("/var/run/postgresql", 5432)]),
        ("host=%2Frun&port=6432", [("/run", 6432)]),
        ("host=a,b&port=1,2", [("a", 1), ("b", 2)]),
        ("host=a,b&port=7", [("a", 7), ("b", 7)]),
        ("host=a,b", [("a", 5432), ("b", 5432)]),
        ("host=::1", [("::1", 5432)]),
    ],
)
def test_hosts_can_be_parameters(query: str, hosts: list[t.Any]) -> None:
    found = parse(f"postgresql:///shop?{query}")
    assert found.hosts == tuple(hosts)
    assert found.parameters == ()
    assert parse(f"postgresql://me@/shop?{query}").user == "me"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("p%40s%3As%2Fw%3Fo%23r%25d", "p@s:s/w?o#r%d"),
        ("%D0%BA%D0%BB%D1%8E%D1%87", "ключ"),
        ("ключ", "ключ"),
        ("a+b&c=d;e'f\"g\\", "a+b&c=d;e'f\"g\\"),
        ("%20", " "),
    ],
)
def test_user_password_and_database_are_decoded(written: str, read: str) -> None:
    found = parse(f"postgresql://{written}:{written}@db.example/{written}")
    assert (found.user, found.password, found.database) == (read, read, read)


def test_an_empty_password_is_one() -> None:
    assert parse("postgresql://me:@db.example/shop").password == ""
    assert parse("postgresql://me@db.example/shop").password is None


HOSTILE: t.Final[t.Sequence[tuple[str, t.Sequence[str]]]] = [
    (
        "must begin with postgresql://",
        ["postgresql:shop", "postgresql:/x/a", "x://y/a"],
    ),
    ("must begin with postgresql://", ["postgresqlx://me:hunter2@x/a", "postgres"]),
    (
        "names no database",
        ["postgresql://x", "postgresql://me:hunter2@x", "postgres://"],
    ),
    (
        "names no database",
        ["postgresql://me:hunter2@x/", "postgresql://x/?sslmode=allow"],
    ),
    ("names no host", ["postgresql:///a", "postgresql://me:hunter2@/a"]),
    ("names no host", ["postgresql:///a?port=7", "postgresql:///a?host="]),
    ("names no user", ["postgresql://@x/a", "postgresql://:hunter2@x/a"]),
    ("has an empty host", ["postgresql://x,/a", "postgresql://,x/a"]),
    ("has an empty host", ["postgresql://:5432/a", "postgresql:///a?host=x,"]),
    ("has an @ or # too many", ["postgresql://me:p@hunter2@x/a"]),
    ("has an @ or # too many", ["postgresql://me:p/hunter2@x/a"]),
    ("has an @ or # too many", ["postgresql://me:p?hunter2@x/a"]),
    ("has an @ or # too many", ["postgresql://me:p#hunter2@x/a"]),
    (
        "has an @ or # too many",
        ["postgresql://x/a#hunter2", "postgresql://x/hunter2@a"],
    ),
    ("has an @ or # too many", ["postgresql://me:1/a?hunter2=b@x/a"]),
    ("has a slash or colon too many", ["postgresql://me:p:hunter2@x/a"]),
    ("has a slash or colon too many", ["postgresql://x/a/hunter2"]),
    ("must have no spaces", ["postgresql://me:p hunter2@x/a", "postgresql://x/a b"]),
    ("must have no spaces", ["postgresql://x/a\n", "postgresql://x/a\0hunter2"]),
    ("has a % without two digits", ["postgresql://me:50%hunter2@x/a"]),
    ("has a % without two digits", ["postgresql://x/a%", "postgresql://%2x/a"]),
    ("are not UTF-8", ["postgresql://me:hunter2%ff@x/a", "postgresql://x/%C3"]),
    ("has a null character", ["postgresql://me:hunter2%00@x/a", "postgresql://x/%00"]),
    ("a number from 1 to 65535", ["postgresql://x:0/a", "postgresql://x:65536/a"]),
    ("a number from 1 to 65535", ["postgresql://me:hunter2/a", "postgresql://x:-1/a"]),
    (
        "a number from 1 to 65535",
        ["postgresql://x:٣/a", "postgresql://x:99999999999/a"],
    ),
    ("a number from 1 to 65535", ["postgresql:///a?host=x&port=hunter2"]),
    ("a number from 1 to 65535", ["postgresql://x:1:2/a", "postgresql://[::1]:x/a"]),
    ("IPv6 addresses in brackets", ["postgresql://[::1/a", "postgresql://[::1]5/a"]),
    ("no IPv6 address", ["postgresql://[hunter2]/a", "postgresql://[]/a"]),
    ("no proper host", ["postgresql://x%20y/a", "postgresql://x%2Cy/a"]),
    ("no proper host", ["postgresql://(hunter2)/a", "postgresql:///a?host=$x"]),
    (
        "names hosts or ports twice",
        ["postgresql://x/a?host=y", "postgresql://x/a?port=7"],
    ),
    ("as many ports as hosts", ["postgresql:///a?host=x,y,z&port=1,2"]),
    ("parameters like ?sslmode=require", ["postgresql://x/a?hunter2"]),
    ("parameters like ?sslmode=require", ["postgresql://x/a?=hunter2&b-c=d"]),
    ("the parameter sslmode twice", ["postgresql://x/a?sslmode=disable&sslmode=allow"]),
    ("the unknown parameter ssl;", ["postgresql://x/a?ssl=true"]),
    ("the unknown parameter SSLMODE;", ["postgresql://x/a?SSLMODE=require"]),
    ("the unknown parameter pool_size;", ["postgresql://x/a?pool_size=hunter2"]),
    (
        "in front of the host",
        ["postgresql://x/a?password=hunter2", "postgres://x/a?user=m"],
    ),
    ("behind the host", ["postgresql://x/a?dbname=b"]),
    ("ALTER ROLE", ["postgresql://x/a?options=-c%20hunter2"]),
    ("always UTF8", ["postgresql://x/a?client_encoding=latin1"]),
    ("must have one of disable, allow,", ["postgresql://x/a?sslmode=hunter2"]),
    (
        "must have one of any, read-write",
        ["postgres://x/a?target_session_attrs=standby"],
    ),
    (
        "whole number above zero as connect_timeout",
        ["postgres://x/a?connect_timeout=1.5"],
    ),
    (
        "whole number above zero as connect_timeout",
        ["postgres://x/a?connect_timeout=0"],
    ),
    (
        "whole number above zero as tcp_user_timeout",
        ["postgres://x/a?tcp_user_timeout="],
    ),
]


@pytest.mark.parametrize(
    ("url", "remedy"), [(url, remedy) for remedy, urls in HOSTILE for url in urls]
)
def test_a_wrong_url_is_refused_with_the_remedy(url: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=r"^\w") as caught:
        parse(url)

    assert remedy in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert str(caught.value).endswith((".", "like [::1]."))
    assert caught.value.__cause__ is None


# -- what is connected with ----------------------------------------------------------

USUAL: t.Final = {
    "connect_timeout": 2,
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 5000,
    "client_encoding": "UTF8",
    "fallback_application_name": "flask_chatwoot",
}


def test_a_connection_has_time_limits() -> None:
    place = {"host": "db.example", "port": "5432", "dbname": "shop"}
    user = {"user": "me", "password": "secret"}

    assert parse("postgres://db.example/shop").connect_options() == USUAL | place
    assert (
        parse("postgres://me:secret@db.example/shop").connect_options()
        == USUAL | place | user
    )


def test_of_several_hosts_the_one_that_can_be_written_is_used() -> None:
    options = parse("postgres://a:1,[::1]/shop").connect_options()

    assert (options["host"], options["port"]) == ("a,::1", "1,5432")
    assert options["target_session_attrs"] == "read-write"
    assert "target_session_attrs" not in parse("postgres://a/b").connect_options()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("sslmode", "verify-full"), ("sslrootcert", "/etc/ca.pem")],
        *[("connect_timeout", "5"), ("keepalives_idle", "60"), ("keepalives", "0")],
        *[("application_name", "shop ü"), ("target_session_attrs", "primary")],
        *[("sslcert", "c"), ("sslkey", "k"), ("sslpassword", "hunter2")],
        *[("channel_binding", "require"), ("passfile", "~/.pgpass")],
    ],
)
def test_what_the_url_sets_is_used(name: str, value: str) -> None:
    encoded = value.replace(" ", "%20")
    found = parse(f"postgres://a,b/shop?{name}={encoded}")

    assert found.connect_options()[name] == value
    assert "hunter2" not in f"{found!r} {found}"


def test_libpq_takes_every_parameter() -> None:
    url = "postgres://me:s'e\\c@[::1]:7/sh%20op?sslmode=require&gssencmode=disable"
    options = parse(url).connect_options()
    read = conninfo_to_dict(make_conninfo("", **options))

    assert read == {name: str(value) for name, value in options.items()}


# -- what is shown -------------------------------------------------------------------


def test_an_address_shows_no_password_and_cannot_be_changed() -> None:
    found = parse("postgres://m%40e:hunter2@a:7,[::1]/s%2Fhop?sslpassword=hunter2")

    assert str(found) == "postgresql://m%40e@a:7,[::1]/s%2Fhop"
    assert found.where == "a:7, [::1]"
    assert "hunter2" not in repr(found)
    assert repr(found).startswith("Address(hosts=(")

    with pytest.raises(dataclasses.FrozenInstanceError):
        found.user = "x"  # type: ignore[misc]


@pytest.mark.parametrize(
    "url",
    [
        *("postgresql://me@a:7,[::1]:8/shop", "postgresql://a/s%20hop"),
        "postgresql://%2Fvar%2Frun:6/shop",
    ],
)
def test_the_text_of_an_address_is_a_url(url: str) -> None:
    assert str(parse(url)) == url


def test_addresses_can_be_compared_and_hashed() -> None:
    one, same, other = map(
        parse, ["postgres://a/b", "postgresql://a:5432/b", "postgres://a/c"]
    )
    assert {one, same, other} == {one, other}
    assert isinstance(one, Address)
