from __future__ import annotations

import dataclasses
import errno
import os
import subprocess
import sys
import tempfile
import typing as t
from collections.abc import Container, Mapping
from pathlib import Path

import pytest
from werkzeug.debug.repr import debug_repr

from flask_chatwoot import config
from flask_chatwoot.config import Config
from flask_chatwoot.config.converters import STATUSES
from flask_chatwoot.config.loading import misspelled
from flask_chatwoot.config.numbers import Seconds
from flask_chatwoot.config.table import BACKENDS, ON_SILENCE, SETTINGS, SYNCS, Setting
from flask_chatwoot.errors import ConfigError
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.policy import PolicySettings

Settings = dict[str, t.Any]

NEEDED: t.Final[Settings] = {
    "CHATWOOT_BASE_URL": "https://chatwoot.example.com",
    "CHATWOOT_ACCOUNT_ID": 1,
    "CHATWOOT_API_ACCESS_TOKEN": "token-of-a-user",
}
SECRETS: t.Final = (
    *("API_ACCESS_TOKEN", "USER_ACCESS_TOKEN", "WEBHOOK_SECRET"),
    *("WEBHOOK_TOKEN", "COPILOT_TOKEN", "HEALTH_TOKEN"),
)


class Key(t.NamedTuple):
    """One key, its default, and its value from the environment and from the app."""

    name: str
    default: t.Any
    text: str
    from_environment: t.Any
    value: t.Any
    from_app: t.Any
    word: str = ""


POLICY: t.Final = {
    "BOT_STATUSES": "statuses",
    "YIELD_TO_ASSIGNEE": "yield_to_assignee",
    "MAX_AGE": "max_age",
}
"""Keys that become fields of ``policy``."""

FILE: t.Final = "sqlite:///chatwoot.sqlite3"

URL = "https://chatwoot.example.com"
OPEN, PENDING = frozenset({"open"}), frozenset({"pending"})
KEYS = [
    Key("LOCALE", None, " pt_BR ", "pt_BR", "de", "de"),
    Key(
        "TEXTS",
        None,
        '{"reason": "Why: {reason}"}',
        {"reason": "Why: {reason}"},
        {"handed_off": "Yours."},
        {"handed_off": "Yours."},
    ),
    Key("BASE_URL", None, f" {URL}/ ", URL, f"{URL}:3000/cw//", f"{URL}:3000/cw"),
    Key("ACCOUNT_ID", None, "12", 12, 7, 7),
    Key("API_ACCESS_TOKEN", None, " tok-1 ", "tok-1", 12345, "12345"),
    Key("USER_ACCESS_TOKEN", None, " tok-6 ", "tok-6", "tok-7", "tok-7"),
    Key("SUPPORT_MODE_ATTR", "support_mode", "who", "who", " answers ", "answers"),
    Key("WEBHOOK_SECRET", (), "old, new,", ("old", "new"), ["a", " b"], ("a", "b")),
    Key("WEBHOOK_TOKEN", None, "tok-2", "tok-2", "tok-3", "tok-3"),
    Key("COPILOT_TOKEN", (), "old, new,", ("old", "new"), "tok-5", ("tok-5",)),
    Key("COPILOT_ONE_ACCOUNT", False, "yes", True, True, True),
    Key("HEALTH_TOKEN", None, "tok-6", "tok-6", "tok-7", "tok-7"),
    Key("HEALTH_MAX_AGE", 300.0, "60", 60.0, 90, 90.0),
    Key("URL_PREFIX", "/chatwoot", "/hooks/", "/hooks", "/", ""),
    Key("BOT_VALUES", None, "Ja, Jein", Mode.BOT, ["jein"], Mode.BOT, word="jein"),
    Key("HUMAN_VALUES", None, "Nein", Mode.HUMAN, ("NEIN",), Mode.HUMAN, word="nein"),
    Key("DEFAULT_MODE", Mode.HUMAN, "BOT", Mode.BOT, Mode.BOT, Mode.BOT),
    Key("INBOXES", frozenset(), "1, 2", frozenset({1, 2}), [3], frozenset({3})),
    Key("BOT_STATUSES", OPEN | PENDING, "Open,", OPEN, ["pending"], PENDING),
    Key("YIELD_TO_ASSIGNEE", False, "Yes", True, True, True),
    Key("MAX_AGE", 3600.0, "60", 60.0, 7200, 7200.0),
    Key("BURST_WINDOW", 1.5, "0.5", 0.5, 2, 2.0),
    Key("BURST_MAX", 30.0, "10", 10.0, 0.5, 0.5),
    Key("FALLBACK_MESSAGE", None, " One moment. ", "One moment.", "Oh", "Oh"),
    Key("DRAFT_NOTES", True, "false", False, False, False),
    Key("DRAFT_FEEDBACK", False, "true", True, True, True),
    Key("NOTE_ON_FAILURE", False, "on", True, True, True),
    Key("MAX_REPEATS", 5, "0", 0, 9, 9),
    Key("MAX_TURNS_PER_HOUR", 60, "0", 0, 9, 9),
    Key("ON_SILENCE", "open", "Leave", "leave", "leave", "leave"),
    Key("MAX_PARTS", 4, "2", 2, 9, 9),
    Key("TYPING", True, "off", False, False, False),
    Key("BACKEND", "thread", "Inline", "inline", "inline", "inline"),
    Key("CELERY_APP", None, " a.b:c ", "a.b:c", "shop:celery", "shop:celery"),
    Key("CELERY_QUEUE", None, " chat ", "chat", "slow", "slow"),
    Key("WORKERS", 4, "0", 0, 16, 16),
    Key("CATCH_UP", 60.0, "0", 0.0, 5, 5.0),
    Key("DATABASE_URL", FILE, " sqlite:///a.db ", "sqlite:///a.db", FILE, FILE),
    Key("DATABASE_SCHEMA", "flask_chatwoot", " shop_2 ", "shop_2", "_a", "_a"),
    Key("DATABASE_SYNC", "full", "NORMAL", "normal", "normal", "normal"),
    Key("TIMEOUT", 10.0, "2.5", 2.5, 3, 3.0),
    Key("MAX_ATTEMPTS", 5, "1", 1, 9, 9),
    Key("PROVIDER_ATTEMPTS", 3, "1", 1, 9, 9),
    Key("PROVIDER_TIMEOUT", 120.0, "60", 60.0, 0.5, 0.5),
    Key("MAX_BODY", 16 * 1024 * 1024, "1000", 1000, 2000, 2000),
    Key("LEASE", 30.0, "60", 60.0, 24, 24.0),
    Key("RETRY_PAUSE", 2.0, "0.1", 0.1, 4, 4.0),
    Key("SETTLE_TIME", 30.0, "2e1", 20.0, 11, 11.0),
]
every_key = pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)


@pytest.fixture
def instance(tmp_path: Path) -> str:
    return str(tmp_path / "instance")


def load(
    settings: Mapping[str, t.Any] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    instance: str = "/nowhere",
    **options: bool,
) -> Config:
    return config.load(
        settings or {}, environ=environ or {}, instance_path=instance, **options
    )


def needed(missing: Container[str] = (), **more: t.Any) -> Settings:
    """What must be set, and more keys without ``CHATWOOT_``."""
    kept = {key: value for key, value in NEEDED.items() if key not in missing}
    return kept | {f"CHATWOOT_{key}": value for key, value in more.items()}


def setting(loaded: Config, key: Key) -> t.Any:
    """The value of a key; of the vocabulary, the mode that the key's word means."""
    if key.name.endswith("_VALUES"):
        return loaded.words.get(key.word)

    if key.name in POLICY:
        return getattr(loaded.policy, POLICY[key.name])

    return getattr(loaded, key.name.lower())


def refusal(settings: Settings, *places: t.Any, **options: t.Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(settings, *places, **options)

    return str(caught.value)


def test_the_table_of_this_test_knows_every_setting() -> None:
    listed = {key.name.lower() for key in KEYS}
    fields = {field.name for field in dataclasses.fields(Config)}
    made = {"words", "policy", "database_path", "database_address", "found"}

    assert listed == {setting.name for setting in SETTINGS}
    assert fields == listed - {"bot_values"} - {*map(str.lower, POLICY)} | made
    assert {*PolicySettings._fields} == {*POLICY.values()}


def test_the_table_has_a_line_of_help_twelve_usual_settings_and_all_secrets() -> None:
    assert all(each.help.endswith(".") and each.help.isprintable() for each in SETTINGS)
    assert len([each for each in SETTINGS if not each.advanced]) == 12
    assert [each.name.upper() for each in SETTINGS if each.secret] == [*SECRETS]


BLANK: t.Final = (None, "", " ", "\n\t")


@every_key
def test_a_key_is_looked_up_in_the_app_then_in_the_environment(key: Key) -> None:
    name = f"CHATWOOT_{key.name}"
    of_app, of_environment = {name: key.value}, {name: key.text}
    blank: list[Settings] = [{}, *({name: value} for value in BLANK)]
    types = set()

    for app, environ, expected, source in [
        *((app, {}, key.default, "default") for app in blank),
        *(({}, {name: app.get(name) or ""}, key.default, "default") for app in blank),
        *((a, of_environment, key.from_environment, "environment") for a in blank),
        *((of_app, each, key.from_app, "config") for each in ({}, of_environment)),
    ]:
        loaded = load(app, environ)

        assert setting(loaded, key) == expected
        assert loaded.found[key.name.lower()].source == source

        if source != "default":
            types.add(type(setting(loaded, key)))

    assert len(types) == 1


def test_the_process_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHATWOOT_WORKERS", "3")
    monkeypatch.setenv("CHATWOOT_TIMEOUT", "7")
    loaded = config.load({"CHATWOOT_WORKERS": 0}, instance_path="/nowhere")
    assert (loaded.workers, loaded.timeout) == (0, 7.0)


def test_other_keys_change_nothing() -> None:
    assert load({"CHATWOOT_COLOUR": object(), "TIMEOUT": "x", "BASE_URL": 1}) == load()


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().timeout = 1.0  # type: ignore[misc]


YES: t.Final = (True, "true", "TRUE", " yes ", "on", "1", 1)
NO: t.Final = (False, "false", "False", "No", "off", "0", 0)
FLAGS: t.Final = (
    *("YIELD_TO_ASSIGNEE", "NOTE_ON_FAILURE", "TYPING"),
    *("COPILOT_ONE_ACCOUNT", "DRAFT_NOTES", "DRAFT_FEEDBACK"),
)

WAYS: t.Final[t.Sequence[tuple[str, t.Any, t.Sequence[t.Any]]]] = [
    ("WEBHOOK_SECRET", ("one",), ["one"]),
    ("WEBHOOK_SECRET", ("a", "b"), [" a , b ,", ["a", "b"]]),
    ("WEBHOOK_SECRET", ("a",), [("a",), {"a"}, ["a", "", " "]]),
    ("WEBHOOK_SECRET", ("with, comma",), [["with, comma"]]),
    ("WEBHOOK_SECRET", ("7",), [7]),
    ("WEBHOOK_SECRET", ("two words", "ключ"), ["two words, ключ"]),
    ("INBOXES", {1, 2, 3}, [[1, "2", " 3 "], "1, 2,03,1"]),
    ("INBOXES", {4}, [" 4 ,", 4, (4,), {4}, [4, None, ""]]),
    ("INBOXES", set(), [[]]),
    ("BOT_STATUSES", {"open"}, ["open", {"open"}]),
    ("BOT_STATUSES", {"pending", "snoozed"}, [" Pending , SNOOZED"]),
    ("BOT_STATUSES", {"resolved", "open"}, [["resolved", "open"]]),
    *[(name, True, YES) for name in FLAGS],
    *[(name, False, NO) for name in FLAGS],
    ("BURST_WINDOW", 0.0, [0, "0", "0.0", 0.0, " 0 "]),
]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        pytest.param(name, value, expected, id=f"{name}-{value!r}")
        for name, expected, values in WAYS
        for value in values
    ],
)
def test_the_ways_to_write_a_value(name: str, value: t.Any, expected: t.Any) -> None:
    key = next(key for key in KEYS if key.name == name)
    found = setting(load({f"CHATWOOT_{name}": value}), key)
    assert (found, type(found)) == (expected, type(key.default))


class Broken:
    """Has no representation."""

    def __repr__(self) -> str:
        raise RuntimeError("hunter2")


@pytest.mark.parametrize("name", ["ACCOUNT_ID", "TIMEOUT", "BASE_URL", "TYPING"])
@pytest.mark.parametrize("value", [10**5000, Broken()], ids=["long", "broken"])
def test_a_value_that_cannot_be_shown_is_named_by_its_type(
    name: str, value: t.Any
) -> None:
    begin = f"CHATWOOT_{name} is <{type(value).__name__}>, which must "
    assert refusal({f"CHATWOOT_{name}": value}).startswith(begin)


NOT_TEXT, NOT_NUMBER = "must be text, not", "must be a number, not"
NOT_WHOLE, NOT_LINE = "must be a whole number", "must be one line of printable text"
USERS = ("hunter2", "me:hunter2", "me:p@hunter2")
POSITIVE = "TIMEOUT PROVIDER_TIMEOUT LEASE RETRY_PAUSE MAX_AGE BURST_MAX HEALTH_MAX_AGE"
NOT_SECONDS = "must be a number of seconds"
SECONDS = f"{POSITIVE} BURST_WINDOW SETTLE_TIME CATCH_UP"
WHOLE = "ACCOUNT_ID WORKERS MAX_ATTEMPTS MAX_BODY MAX_PARTS MAX_REPEATS"
PATH = "have only letters of ASCII, digits and -._~ between slashes, like /chatwoot"
HOST = "must name the host of a server, like https://"
DASHBOARD = ("/app/login", "/app/login/", "/app/accounts/1", "/a/app/accounts/1/i/2")
HTTP = "must begin with http:// or https://, like https://"
SQLITE = "must begin with sqlite:///, like sqlite:///chatwoot.sqlite3 for"
SCHEMA = "at most 63 small letters, digits and underscores"
WRONG: t.Final[t.Sequence[tuple[str, t.Sequence[t.Any], str]]] = [
    ("BASE_URL", ["localhost:3000", "/chatwoot", "ftp://x", "https://"], HTTP),
    ("BASE_URL", ["https://x:port", "https://[::1", "http://x:99999"], "write it like"),
    ("BASE_URL", ["https://x/?a=b", "https://x/#a", "https://x /a"], "address alone"),
    ("BASE_URL", ["https://x?a=hunter2", "https://x/?a=b#hunter2"], "https://x"),
    ("BASE_URL", [f"https://{user}@x" for user in USERS], "must not hold a user name"),
    ("BASE_URL", ["https://me:p/hunter2@x", "https://me:hunter2@x:port"], ""),
    ("BASE_URL", [f"{begin}me:hunter2@x" for begin in ("", "//", "ftp://")], "begin"),
    ("BASE_URL DATABASE_URL SUPPORT_MODE_ATTR", [1.5, True, ["a"]], NOT_TEXT),
    ("URL_PREFIX FALLBACK_MESSAGE", [b"a", True, ["a"]], NOT_TEXT),
    ("BASE_URL", ["https://.", "https://a..b", "https://-", "http://<x>"], HOST),
    ("BASE_URL", ["http://a,b", "http://a;b", "http://a\\b", "http://%41"], HOST),
    ("BASE_URL", [f"http://{'a' * 64}.example", "http://a:0"], HOST),
    ("BASE_URL", [f"https://x{page}" for page in DASHBOARD], "page of the dashboard"),
    (WHOLE, ["+1", "1_0", "１", "0x1", "1e3", "4MB", "1.5", "--1", "-"], NOT_WHOLE),
    (WHOLE, ["nan", "inf", "∞", 1.0, float("nan"), float("inf")], NOT_WHOLE),
    (WHOLE, ["9" * 19, f"-{'9' * 19}", 10**400], "must have at most 18 digits"),
    (WHOLE, [True, [1], {}, b"1"], NOT_NUMBER),
    ("URL_PREFIX", ["chatwoot", "https://x", "a/b"], "must begin with a slash"),
    ("URL_PREFIX", ["/<name>", "/a/<int:b>", "/a<b", "/{a}", "/%41", "/a\\b"], PATH),
    ("URL_PREFIX", ["/a?b", "/a?", "/a#b", "/a b", "/a\nb", "/a;b", "/a:b"], PATH),
    ("URL_PREFIX", ["//", "//a", "/a//b", "/a//", "/.", "/..", "/a/../b"], PATH),
    ("URL_PREFIX", ["/помощь", "/café", "/１", "/a\u200b"], PATH),
    ("INBOXES", ["website", "1 2", "1;2", "-1", "1.0", "3,x", "１"], NOT_WHOLE),
    ("INBOXES", [0, "0", [1, 0]], "must be a whole number, at least 1"),
    ("INBOXES", [{}, {"1": 2}], NOT_TEXT),
    ("INBOXES", [True, [True], [[1]]], "must be "),
    ("INBOXES", [[1.5]], NOT_WHOLE),
    (
        "SUPPORT_MODE_ATTR CELERY_QUEUE",
        ["a\nb", "a\tb", "a\x7fb", "a\u202eb"],
        NOT_LINE,
    ),
    ("SUPPORT_MODE_ATTR CELERY_QUEUE FALLBACK_MESSAGE", ["a\0b", "\0"], "NUL"),
    (
        "BOT_VALUES HUMAN_VALUES",
        ["a\0b", ["a", "\0"]],
        "must not hold the character NUL",
    ),
    ("LOCALE", ["e", "xx-", "english", "de.UTF-8", "de_DE@euro", "д", "C"], "like de"),
    ("LOCALE", [True, 1.5, ["de"], b"de"], NOT_TEXT),
    ("TEXTS", [True, 1.5, ["de"], "[]", "{", "null", "x"], "must be a dict of texts"),
    (
        "TEXTS",
        [
            *({"handoff": wrong} for wrong in ("", " ", "\ud800", "a\0")),
            {"wrote": {"other": "Wrote:", "one": "\u200b"}},
            '{"handoff": "\\ud800"}',
        ],
        "that operators can see",
    ),
    ("ON_SILENCE", ["close", "o", 1, -1], "must be one of open, leave"),
    (
        "CELERY_APP",
        ["shop", ":a", "a:", "a..b:c", "a-b:c", "a:b.c"],
        "like shop",
    ),
    ("CELERY_APP CELERY_QUEUE", [True, 1.5, ["a"], b"a"], NOT_TEXT),
    ("BOT_VALUES HUMAN_VALUES", [1.5, True, [None], [["a"]], {"a": 1}], NOT_TEXT),
    ("BOT_STATUSES", [True, 1.5, [None], [True], {}], NOT_TEXT),
    ("BOT_STATUSES", ["closed", "open pending", [1], "open,x"], "one of open, pending"),
    ("DEFAULT_MODE", ["robot", "both", 0], "must be one of bot, human"),
    (" ".join(FLAGS), ["maybe", "y", "truee", 2, -1], "must be one of true, false"),
    (" ".join(FLAGS), [1.0, [True], {}], NOT_TEXT),
    ("FALLBACK_MESSAGE", ["caf\udce9"], "must be text in UTF-8"),
    ("BACKEND", ["redis", "threads", 1], "must be one of inline, thread"),
    ("DATABASE_URL", ["a.db", "/var/lib/a.db", "sqlite://", "sqlite:a"], SQLITE),
    ("DATABASE_URL", ["sqlite://a.db", "file:a", "mysql://x/a", "redis:///0"], SQLITE),
    (
        "DATABASE_URL",
        ["postgresql+x://me:hunter2@x/a"],
        "must begin with postgresql://",
    ),
    ("DATABASE_URL", ["postgres://me:hunter2@x", "POSTGRES://x"], "names no database"),
    ("DATABASE_URL", ["postgres:///app", "postgresql:///app"], "names no host"),
    ("DATABASE_URL", ["postgres://me:p@hunter2@x/a"], "has an @ or # too many"),
    ("DATABASE_URL", ["postgres://me:p/hunter2@x/a"], "has an @ or # too many"),
    ("DATABASE_URL", ["postgres://me:p?hunter2@x/a"], "has an @ or # too many"),
    ("DATABASE_URL", ["postgres://me:p@x?hunter2@x/a"], "has an @ or # too many"),
    ("DATABASE_URL", ["postgres://me:hunter2/a"], "a number from 1 to 65535"),
    ("DATABASE_URL", ["postgres://x/a?password=hunter2"], "in front of the host"),
    ("DATABASE_SCHEMA", ["A", "a-b", "1a", "a.b", 'a"', "ä", "a" * 64], SCHEMA),
    (
        "DATABASE_SCHEMA",
        ["pg_a", "pg_catalog", "information_schema"],
        "PostgreSQL's own",
    ),
    ("DATABASE_URL", ["sqlite:///a.db?mode=ro", "sqlite:///a#b"], "must end with the"),
    ("DATABASE_URL", ["sqlite:///:memory:"], "must be a file, which threads can share"),
    ("DATABASE_URL", ["sqlite:///", "sqlite:////var/a/"], "names a folder; add a name"),
    ("DATABASE_URL", ["sqlite:///a\0b"], "must not hold the character NUL"),
    ("DATABASE_SYNC", ["off", "extra"], "must be one of full, normal"),
    (SECONDS, ["ten", "10s", "1,5", "'5'", "1_0", "１", "0x5", ".", "1e"], NOT_SECONDS),
    (SECONDS, ["nan", "inf", "-inf", "1e999", float("nan"), float("inf")], NOT_SECONDS),
    (SECONDS, [True, (3, 10), [10], b"5"], NOT_NUMBER),
    ("LEASE", [23.9, 1], "at least 24, twice the sum of CHATWOOT_TIMEOUT and 2"),
    ("SETTLE_TIME", [10.9, 1], "at least 11, CHATWOOT_TIMEOUT and 1 second"),
]


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        pytest.param(name, value, remedy, id=f"{name}-{value!r}"[:60])
        for names, values, remedy in WRONG
        for name in names.split()
        for value in values
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_a_remedy(
    name: str, value: t.Any, remedy: str
) -> None:
    message = refusal({f"CHATWOOT_{name}": value})

    assert message.startswith(f"CHATWOOT_{name} is ")
    assert remedy in message
    assert "hunter2" not in message
    assert (
        {"@", "?", "#"} & {*str(value)} or repr(value) in message or "hunter2" in value
    )


class Bounds(t.NamedTuple):
    """The range of a number as it is said, and the numbers on both sides of its ends.

    :ivar among: Other settings, where the range depends on them.
    """

    said: str
    within: t.Sequence[t.Any]
    beyond: t.Sequence[t.Any]
    among: Settings | None = None


MOST_WHOLE: t.Final = 10**18 - 1
AT_LEAST: t.Final = {
    least: Bounds(f"at least {least}", [least, MOST_WHOLE], [least - 1, MOST_WHOLE + 1])
    for least in (0, 1)
}
ABOVE_ZERO: t.Final = Bounds(
    "above 0, at most 86400 (a day)", [1e-6, 86_400], [0, -1e-6, 86_400.001]
)
FROM_ZERO: t.Final = Bounds(
    "from 0 to 86400 (a day)", [0, -0.0, 86_400], [-1e-6, "-1", 86_400.001]
)
DAY: t.Final[Settings] = {
    "CHATWOOT_SETTLE_TIME": 86_400,
    "CHATWOOT_LEASE": 86_400,
}
RANGES: t.Final[Mapping[str, Bounds]] = {
    "ACCOUNT_ID": AT_LEAST[1],
    "HEALTH_MAX_AGE": ABOVE_ZERO,
    "MAX_AGE": ABOVE_ZERO,
    "MAX_REPEATS": AT_LEAST[0],
    "MAX_TURNS_PER_HOUR": AT_LEAST[0],
    "BURST_WINDOW": FROM_ZERO,
    "BURST_MAX": ABOVE_ZERO,
    "MAX_PARTS": AT_LEAST[1],
    "WORKERS": Bounds("from 0 to 1000", [0, 1000], [-1, 1001]),
    "CATCH_UP": FROM_ZERO,
    "TIMEOUT": Bounds(
        "above 0, at most CHATWOOT_LEASE / 2 - 2, and CHATWOOT_SETTLE_TIME - 1",
        [1e-6, 43_198],
        [0, -1, 86_400.1],
        among=DAY,
    ),
    "MAX_ATTEMPTS": AT_LEAST[1],
    "PROVIDER_ATTEMPTS": AT_LEAST[1],
    "PROVIDER_TIMEOUT": ABOVE_ZERO,
    "MAX_BODY": AT_LEAST[1],
    "LEASE": Bounds(
        "at least 2 * (CHATWOOT_TIMEOUT + 2), at most 86400 (a day)",
        [24, 86_400],
        [23.999, 0, 86_400.1],
    ),
    "RETRY_PAUSE": ABOVE_ZERO,
    "SETTLE_TIME": Bounds(
        "at least CHATWOOT_TIMEOUT + 1, at most 86400 (a day)",
        [11, 86_400],
        [10.999, 0, 86_400.1],
    ),
}


def test_every_number_has_a_range() -> None:
    ranges = {each.name.upper(): each.range for each in SETTINGS if each.range}
    numbers = {
        key.name
        for key in KEYS
        if isinstance(key.value, int | float) and key.name not in FLAGS
    } - {"API_ACCESS_TOKEN"}

    assert ranges == {name: bounds.said for name, bounds in RANGES.items()}
    assert set(ranges) == numbers


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, each in RANGES.items() for value in each.within],
)
def test_a_number_at_an_end_of_its_range_is_accepted(name: str, value: t.Any) -> None:
    loaded = load((RANGES[name].among or {}) | {f"CHATWOOT_{name}": value})
    assert loaded.found[name.lower()].value == value


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, each in RANGES.items() for value in each.beyond],
)
def test_a_number_beyond_its_range_is_refused(name: str, value: t.Any) -> None:
    message = refusal((RANGES[name].among or {}) | {f"CHATWOOT_{name}": value})
    assert message.startswith(f"CHATWOOT_{name} is {value!r}, which must ")


@pytest.mark.parametrize(
    ("timeout", "among", "named"),
    [
        (13, {}, None),
        (13.001, {}, "LEASE"),
        (29, {"CHATWOOT_LEASE": 100}, None),
        (29.001, {"CHATWOOT_LEASE": 100}, "SETTLE_TIME"),
    ],
)
def test_a_timeout_is_within_what_lease_and_settle_time_allow(
    timeout: float, among: Settings, named: str | None
) -> None:
    given = {**among, "CHATWOOT_TIMEOUT": timeout}

    if named is None:
        assert load(given).timeout == timeout
    else:
        assert refusal(given).startswith(f"CHATWOOT_{named} is ")


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_meaning_of_a_setting_has_its_unit_its_zero_and_its_words(
    setting: Setting,
) -> None:
    is_number = setting.range is not None
    assert setting.help.startswith("Seconds") is isinstance(setting.convert, Seconds)
    assert ("0: " in setting.help) is (is_number and takes_zero(setting))
    assert not [
        word for word in WORDS.get(setting.name, ()) if word not in setting.help
    ]


def takes_zero(setting: Setting) -> bool:
    try:
        return bool(setting.convert(0) == 0)
    except ValueError:
        return False


WORDS: t.Final[Mapping[str, t.Iterable[str]]] = {
    "backend": BACKENDS,
    "bot_statuses": STATUSES,
    "database_sync": SYNCS,
    "default_mode": Mode,
    "on_silence": ON_SILENCE,
}
"""What the settings take that take no other words."""


@pytest.mark.parametrize("name", WORDS)
def test_a_setting_takes_its_words_and_no_other(name: str) -> None:
    (setting,) = [each for each in SETTINGS if each.name == name]

    for word in WORDS[name]:
        setting.convert(word)

    with pytest.raises(ValueError, match="must be one of"):
        setting.convert("another")


def test_all_wrong_settings_are_named_at_once(file: Path) -> None:
    wrong = needed(
        TIMEOUT="soon",
        ACCOUNT_ID="acme",
        COPILOT_TOKEN="hunter2 and more",
        DATABASE_URL=f"sqlite:///{file}/a.db",
        BOT_VALUES="ja",
        HUMAN_VALUES="ja",
    )

    lines = refusal(wrong, {"CHATWOOT_WORKERS": "many"}).split("\n")

    assert [line.split()[0].removeprefix("CHATWOOT_") for line in lines] == [
        *("ACCOUNT_ID", "COPILOT_TOKEN", "BOT_VALUES"),
        *("WORKERS", "DATABASE_URL", "TIMEOUT"),
    ]
    assert "hunter2" not in "".join(lines)


def test_errors_can_be_kept_and_then_the_app_is_not_configured() -> None:
    loaded = load(needed(TIMEOUT="soon", WORKERS=2), keep_errors=True)

    assert loaded.errors == [
        f"CHATWOOT_TIMEOUT is 'soon', which {NOT_SECONDS} above 0, at most "
        "CHATWOOT_LEASE / 2 - 2, and CHATWOOT_SETTLE_TIME - 1."
    ]
    assert loaded.missing == ["CHATWOOT_BASE_URL"]
    assert (loaded.timeout, loaded.workers) == (10.0, 2)
    assert loaded.found["timeout"].source == "config"


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("CHATWOOT_BASE_ULR", "CHATWOOT_BASE_URL"),
        ("CHATWOOT_API_ACCESS_TOKENS", "CHATWOOT_API_ACCESS_TOKEN"),
        ("CHATWOOT_INBOX", "CHATWOOT_INBOXES"),
        ("CHATWOOT_ADMIN_TOKENS", "CHATWOOT_ADMIN_TOKEN"),
        *((f"CHATWOOT_{n}", None) for n in ("ADMIN_TOKEN", "TIMEOUT", "INBOX_PATH")),
        *((key, None) for key in ("CHATWOOT_COLOUR", "CHATWOOT_", "BASE_URL")),
        ("XCHATWOOT_BASE_URL", None),
    ],
)
def test_only_a_key_near_a_known_one_is_misspelled(key: str, meant: str | None) -> None:
    sentence = f"{key} is not a setting; did you mean {meant}?"
    assert misspelled([key, "DEBUG"]) == ([sentence] if meant else [])


HUNTER = ["hunter2 and more", "hunter2-ключ", "hunter2\nX-Evil: 1", "hunter2\x7f"]
WRONG_SECRETS: t.Final[t.Sequence[tuple[str, t.Sequence[t.Any]]]] = [
    ("quote it", [3.14159, True, b"hunter2", {"hunter2": 1}]),
    ("quote it", [["good", 3.14159], [b"hunter2"]]),
    # Bytes of the environment that are not UTF-8 become lone surrogates.
    ("must be text in UTF-8", ["hunter2\udce9"]),
    ("copy it again", HUNTER),
]


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        (name, value, remedy)
        for name in SECRETS
        for remedy, values in WRONG_SECRETS
        for value in values
        if "TOKEN" in name or values is not HUNTER  # a token becomes a header
    ],
    ids=lambda each: ascii(each),
)
def test_a_refused_secret_is_not_shown(name: str, value: t.Any, remedy: str) -> None:
    message = refusal({f"CHATWOOT_{name}": value})
    assert message.startswith(f"CHATWOOT_{name} must be ")
    assert remedy in message
    assert not [secret for secret in ("hunter2", "3.14159") if secret in message]


@pytest.mark.parametrize("name", SECRETS)
def test_a_configuration_does_not_show_its_secrets(name: str, instance: str) -> None:
    loaded = load(needed(**{name: "hunter2"}), instance=instance)
    shown = (repr(loaded), str(loaded), debug_repr(loaded))  # the last on error pages

    assert "hunter2" in str(getattr(loaded, name.lower()))
    assert not [text for text in shown if "hunter2" in text]
    assert URL in repr(loaded)


@pytest.mark.parametrize("missing", [*([x] for x in NEEDED), [], [*NEEDED]], ids=str)
def test_missing_keys_are_named(missing: list[str], instance: str) -> None:
    loaded = load(needed(missing), instance=instance, keep_errors=not missing)
    assert loaded.missing == missing
    assert missing or loaded.errors == []


WEBHOOK = "/webhook (CHATWOOT_WEBHOOK_SECRET)"
COPILOT = "/copilot (CHATWOOT_COPILOT_TOKEN)"


@pytest.mark.parametrize(
    ("secrets", "endpoints"),
    [
        ([], [WEBHOOK, COPILOT]),
        (["WEBHOOK_SECRET"], [COPILOT]),
        (["WEBHOOK_TOKEN"], [COPILOT]),
        (["COPILOT_TOKEN"], [WEBHOOK]),
        (["WEBHOOK_SECRET", "COPILOT_TOKEN"], []),
    ],
)
def test_unprotected_endpoints_are_named_with_their_key(
    secrets: list[str], endpoints: list[str]
) -> None:
    assert load({f"CHATWOOT_{key}": "x" for key in secrets}).unprotected == endpoints


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def sqlite(path: Path | str) -> Settings:
    return {"CHATWOOT_DATABASE_URL": f"sqlite:///{path}"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "file"
    file.write_bytes(b"rows")
    return file


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, "instance/chatwoot.sqlite3"),
        ("sqlite:///deep/er/other.db", "instance/deep/er/other.db"),
        ("sqlite:///{tmp}/not/yet/there.db", "not/yet/there.db"),
        ("sqlite:///with space.db", "instance/with space.db"),
    ],
)
def test_a_relative_database_is_in_the_instance_folder_and_not_made_yet(
    tmp_path: Path, instance: str, url: str | None, expected: str
) -> None:
    chosen = url and url.format(tmp=tmp_path)
    loaded = load(needed(DATABASE_URL=chosen), instance=instance)
    assert loaded.database_path == str(tmp_path / expected)
    assert everything_in(tmp_path) == []


def test_a_database_that_exists_is_left_as_it_is(tmp_path: Path, file: Path) -> None:
    load(needed() | sqlite(file))
    assert everything_in(tmp_path) == ["file"]
    assert file.read_bytes() == b"rows"


def full_disk(**_: t.Any) -> t.NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


FULL_DISK = (tempfile, "TemporaryFile", full_disk)


@pytest.mark.parametrize(
    ("name", "fault", "texts"),
    [
        ("", None, [" names {tmp!r}, which ", "choose another"]),
        ("file", (os, "access", lambda *_: False), ["{user} may not", "who owns it"]),
        ("file/a.db", None, ["{tmp}/file' by {user}: ", "another path, or let it"]),
        ("instance/a.db", FULL_DISK, ["No space left on device", "{tmp!r}"]),
    ],
    ids=["a folder", "not writable", "below a file", "full disk"],
)
@pytest.mark.usefixtures("file")
def test_a_database_that_cannot_be_written_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fault: tuple[t.Any, str, t.Any] | None,
    texts: list[str],
) -> None:
    if fault is not None:
        monkeypatch.setattr(*fault)

    message = refusal(needed() | sqlite(tmp_path / name))

    user = f"this process (user {os.geteuid()})"
    assert all(text.format(tmp=str(tmp_path), user=user) in message for text in texts)
    assert message.startswith("CHATWOOT_DATABASE_URL")
    assert everything_in(tmp_path) == ["file"]


@pytest.mark.parametrize("missing", NEEDED)
def test_a_database_that_is_not_used_is_not_checked(file: Path, missing: str) -> None:
    loaded = load(needed([missing]), instance=f"{file}/instance")
    assert loaded.database_path == f"{file}/instance/chatwoot.sqlite3"


def test_a_database_that_is_set_is_checked_even_if_a_key_is_missing(file: Path) -> None:
    assert "CHATWOOT_DATABASE_URL" in refusal(sqlite(file / "a.db"))


def test_an_app_under_test_works_inline_with_a_database_of_its_own(
    tmp_path: Path, instance: str
) -> None:
    apps = [load(needed(), instance=instance, testing=True) for _ in range(2)]
    folders = [Path(loaded.database_path).parent for loaded in apps]

    assert {loaded.backend for loaded in apps} == {"inline"}
    assert len({loaded.database_path for loaded in apps}) == 2
    assert everything_in(tmp_path) == []
    assert [[*folder.iterdir()] for folder in folders] == [[], []]


@pytest.mark.parametrize(
    ("given", "testing", "seconds"),
    [
        ({}, False, 1.5),
        ({"CHATWOOT_BACKEND": "inline"}, False, 0.0),
        ({"CHATWOOT_BACKEND": "inline", "CHATWOOT_BURST_WINDOW": 2}, False, 2.0),
        ({"CHATWOOT_BACKEND": "thread"}, True, 0.0),
        ({"CHATWOOT_BACKEND": "thread", "CHATWOOT_BURST_WINDOW": "2"}, True, 2.0),
    ],
)
def test_a_turn_waits_for_more_messages_where_one_may_come(
    given: Settings, testing: bool, seconds: float
) -> None:
    assert load(given, testing=testing).burst_window == seconds


def test_an_app_under_test_keeps_what_is_set(instance: str) -> None:
    settings = needed(BACKEND="thread") | sqlite("a.db")
    loaded = load(settings, instance=instance, testing=True)
    assert loaded.backend == "thread"
    assert loaded.database_path == os.path.join(instance, "a.db")


@pytest.mark.parametrize("settings", [{}, needed(TIMEOUT="soon")])
def test_an_app_under_test_that_is_not_configured_makes_no_folder(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    monkeypatch.setattr(tempfile, "mkdtemp", full_disk)
    loaded = load(settings, testing=True, keep_errors=True)
    assert loaded.database_path == "/nowhere/chatwoot.sqlite3"


# -- PostgreSQL ----------------------------------------------------------------------

SHOP: t.Final = "postgresql://me:hunter2@db.example:6432/shop?sslmode=require"


def test_a_postgresql_url_becomes_an_address_and_its_password_is_not_shown() -> None:
    loaded = load(needed(DATABASE_URL=SHOP))
    shown = f"{loaded!r} {debug_repr(loaded)} {loaded.found['database_url'].value}"

    assert loaded.database_address is not None
    assert loaded.database_address.connect_options()["password"] == "hunter2"
    assert loaded.database_url == "postgresql://me@db.example:6432/shop"
    assert "hunter2" not in shown
    assert load(needed()).database_address is None


def test_a_server_that_cannot_be_reached_is_no_wrong_setting() -> None:
    url = "postgresql://me@127.0.0.1:1/shop"
    assert load(needed(DATABASE_URL=url)).missing == []


@pytest.mark.parametrize("missing", ["psycopg", "psycopg_pool"])
def test_without_its_extra_a_postgresql_url_is_refused(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)

    assert refusal(needed(DATABASE_URL=SHOP)) == (
        'CHATWOOT_DATABASE_URL names PostgreSQL, which needs the extra "postgresql"; '
        'in a checkout: pip install ".[postgresql]".'
    )


def test_without_libpq_a_postgresql_url_is_refused(tmp_path: Path) -> None:
    program = (
        "import sys; from flask_chatwoot import config\n"
        "config.load({'CHATWOOT_DATABASE_URL': sys.argv[1]}, instance_path='/nowhere')"
    )
    environ = {**os.environ, "PSYCOPG_IMPL": "c"}  # not installed by pip install
    command = [sys.executable, "-c", program, SHOP]
    done = subprocess.run(
        command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.stderr.splitlines()[-1].endswith(
        "ConfigError: CHATWOOT_DATABASE_URL names PostgreSQL, which needs the library "
        'libpq; install it, or: pip install "psycopg[binary]".'
    )
    assert "hunter2" not in done.stderr


def test_reading_a_postgresql_url_loads_no_driver() -> None:
    program = (
        "import sys; from flask_chatwoot.queue.postgresql.url import parse; "
        f"parse({SHOP!r}); sys.exit('psycopg' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
