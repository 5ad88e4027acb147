from __future__ import annotations

import dataclasses
import errno
import os
import tempfile
import typing as t
from collections.abc import Mapping
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.debug.repr import debug_repr

from flask_chatwoot import config
from flask_chatwoot.config import Config
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
    "API_ACCESS_TOKEN",
    "USER_ACCESS_TOKEN",
    "WEBHOOK_SECRET",
    "WEBHOOK_TOKEN",
    "COPILOT_TOKEN",
    "HEALTH_TOKEN",
)


class Key(t.NamedTuple):
    """One key: its default, and what two ways of setting it amount to."""

    name: str
    default: t.Any
    text: str
    from_environment: t.Any
    value: t.Any
    from_app: t.Any
    word: str = ""


RULES: t.Final = {
    "BOT_STATUSES": "statuses",
    "YIELD_TO_ASSIGNEE": "yield_to_assignee",
    "MAX_AGE": "max_age",
}
"""Keys that become fields of ``rules``."""

URL = "https://chatwoot.example.com"
OPEN, PENDING = frozenset({"open"}), frozenset({"pending"})
KEYS = [
    Key("BASE_URL", None, f" {URL}/ ", URL, f"{URL}:3000/cw//", f"{URL}:3000/cw"),
    Key("ACCOUNT_ID", None, "12", 12, 7, 7),
    Key("API_ACCESS_TOKEN", None, " tok-1 ", "tok-1", 12345, "12345"),
    Key("USER_ACCESS_TOKEN", None, " tok-6 ", "tok-6", "tok-7", "tok-7"),
    Key("SUPPORT_MODE_ATTR", "support_mode", "who", "who", " answers ", "answers"),
    Key("WEBHOOK_SECRET", (), "old, new,", ("old", "new"), ["a", " b"], ("a", "b")),
    Key("WEBHOOK_TOKEN", None, "tok-2", "tok-2", "tok-3", "tok-3"),
    Key("COPILOT_TOKEN", None, "tok-4", "tok-4", "tok-5", "tok-5"),
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
    Key("BURST_WINDOW", 0.0, "1.5", 1.5, 2, 2.0),
    Key("BURST_MAX", 30.0, "10", 10.0, 0.5, 0.5),
    Key("FALLBACK_MESSAGE", None, " One moment. ", "One moment.", "Oh", "Oh"),
    Key("NOTE_ON_FAILURE", False, "on", True, True, True),
    Key("TYPING", True, "off", False, False, False),
    Key("BACKEND", "thread", "Inline", "inline", "inline", "inline"),
    Key("WORKERS", 4, "0", 0, 16, 16),
    Key("INBOX_PATH", "chatwoot.sqlite3", "a.db", "a.db", "b/c.db", "b/c.db"),
    Key("INBOX_SYNC", "full", "NORMAL", "normal", "normal", "normal"),
    Key("TIMEOUT", 10.0, "2.5", 2.5, 3, 3.0),
    Key("MAX_ATTEMPTS", 5, "1", 1, 9, 9),
    Key("MAX_BODY", 4 * 1024 * 1024, "1000", 1000, 2000, 2000),
    Key("LEASE", 30.0, "60", 60.0, 0.5, 0.5),
    Key("RETRY_PAUSE", 2.0, "0.1", 0.1, 4, 4.0),
    Key("SETTLE_TIME", 30.0, "1e1", 10.0, 5.5, 5.5),
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
    testing: bool = False,
) -> Config:
    return config.load(
        settings or {}, environ=environ or {}, instance_path=instance, testing=testing
    )


def setting(loaded: Config, key: Key, instance: str = "/nowhere") -> t.Any:
    """What a key amounts to; of the vocabulary, what the word in question means."""
    if key.name.endswith("_VALUES"):
        return loaded.words.get(key.word)

    if key.name == "INBOX_PATH":
        return os.path.relpath(loaded.inbox_path, instance)

    if key.name in RULES:
        return getattr(loaded.rules, RULES[key.name])

    return getattr(loaded, key.name.lower())


def refusal(settings: Settings, **places: t.Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(settings, **places)

    return str(caught.value)


# Every key, from everywhere


def test_the_table_knows_every_setting() -> None:
    listed = {key.name.lower() for key in KEYS if key.name not in RULES}
    fields = {field.name for field in dataclasses.fields(Config)}
    rules = {*PolicySettings._fields}

    assert fields == listed - {"bot_values"} | {"words", "rules"}
    assert rules == set(RULES.values())


@every_key
def test_a_key_has_a_default(key: Key) -> None:
    assert setting(load(), key) == key.default


@every_key
def test_a_key_is_read_from_the_environment(key: Key) -> None:
    loaded = load(environ={f"CHATWOOT_{key.name}": key.text})

    assert setting(loaded, key) == key.from_environment


@every_key
def test_a_key_is_read_from_the_app(key: Key) -> None:
    loaded = load({f"CHATWOOT_{key.name}": key.value})

    assert setting(loaded, key) == key.from_app


@every_key
def test_the_app_wins_over_the_environment(key: Key) -> None:
    name = f"CHATWOOT_{key.name}"

    loaded = load({name: key.value}, {name: key.text})

    assert setting(loaded, key) == key.from_app


@every_key
@pytest.mark.parametrize("blank", [None, "", " ", "\n\t"])
def test_a_blank_key_of_the_app_is_looked_up_in_the_environment(
    key: Key, blank: str | None
) -> None:
    name = f"CHATWOOT_{key.name}"

    loaded = load({name: blank}, {name: key.text})

    assert setting(loaded, key) == key.from_environment


@every_key
@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_a_key_that_is_blank_everywhere_has_its_default(key: Key, blank: str) -> None:
    name = f"CHATWOOT_{key.name}"

    assert setting(load({name: blank}, {name: blank}), key) == key.default


@every_key
def test_a_key_has_the_same_type_wherever_it_comes_from(key: Key) -> None:
    name = f"CHATWOOT_{key.name}"

    types = {
        type(setting(loaded, key))
        for loaded in (load({name: key.value}), load(environ={name: key.text}))
    }

    assert len(types) == 1


def test_a_zero_of_the_app_is_not_blank() -> None:
    loaded = load({"CHATWOOT_WORKERS": 0}, {"CHATWOOT_WORKERS": "8"})

    assert loaded.workers == 0


def test_an_app_and_the_real_environment_will_do(
    monkeypatch: pytest.MonkeyPatch, instance: str
) -> None:
    app = Flask("host", instance_path=instance)
    app.config["CHATWOOT_WORKERS"] = 2
    monkeypatch.setenv("CHATWOOT_WORKERS", "3")
    monkeypatch.setenv("CHATWOOT_TIMEOUT", "7")

    loaded = config.load(app.config, instance_path=app.instance_path)

    assert (loaded.workers, loaded.timeout) == (2, 7.0)


def test_other_keys_are_none_of_our_business() -> None:
    settings = {"CHATWOOT_COLOUR": object(), "TIMEOUT": "x", "BASE_URL": 1}

    assert load(settings) == load()


def test_a_configuration_can_not_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        load().timeout = 1.0  # type: ignore[misc]


def test_the_words_of_the_host_are_added_to_the_built_in_ones() -> None:
    words = load(
        {"CHATWOOT_BOT_VALUES": "Maschine", "CHATWOOT_HUMAN_VALUES": "ai"}
    ).words

    assert words["maschine"] is Mode.BOT
    assert words["ai"] is Mode.HUMAN
    assert words["бот"] is Mode.BOT


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("one", ("one",)),
        ("a,b", ("a", "b")),
        (" a , b ,", ("a", "b")),
        (["a", "b"], ("a", "b")),
        (("a",), ("a",)),
        ({"a"}, ("a",)),
        (["a", "", " "], ("a",)),
        (["with, comma"], ("with, comma",)),
        (7, ("7",)),
    ],
)
def test_secrets_may_be_one_or_a_list_or_separated_by_commas(
    value: t.Any, expected: tuple[str, ...]
) -> None:
    assert load({"CHATWOOT_WEBHOOK_SECRET": value}).webhook_secret == expected


# When the bot speaks


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1, 2", {1, 2}),
        (" 3 ,", {3}),
        ("1,1,01", {1}),
        (3, {3}),
        ([1, "2", " 3 "], {1, 2, 3}),
        ((4,), {4}),
        ({5}, {5}),
        ([], set()),
        ([7, None, ""], {7}),
    ],
)
def test_the_inboxes_of_the_bot_may_be_one_or_several(
    value: t.Any, expected: set[int]
) -> None:
    assert load({"CHATWOOT_INBOXES": value}).inboxes == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("open", {"open"}),
        (" Pending , SNOOZED", {"pending", "snoozed"}),
        (["resolved", "open"], {"resolved", "open"}),
        ({"open"}, {"open"}),
    ],
)
def test_the_statuses_of_the_bot_may_be_one_or_several(
    value: t.Any, expected: set[str]
) -> None:
    assert load({"CHATWOOT_BOT_STATUSES": value}).rules.statuses == expected


FLAGS: t.Final = ("YIELD_TO_ASSIGNEE", "NOTE_ON_FAILURE", "TYPING")


@pytest.mark.parametrize("name", FLAGS)
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(text, True) for text in (True, "true", "TRUE", " yes ", "on", "1", 1)],
        *[(text, False) for text in (False, "false", "False", "No", "off", "0", 0)],
    ],
    ids=repr,
)
def test_a_flag_may_be_written_in_the_usual_ways(
    name: str, value: t.Any, expected: bool
) -> None:
    loaded = load({f"CHATWOOT_{name}": value})
    holder = loaded.rules if name in RULES else loaded

    assert getattr(holder, name.lower()) is expected


@pytest.mark.parametrize("value", [0, "0", "0.0", 0.0, " 0 ", "0.00"], ids=repr)
def test_nobody_need_wait_for_a_burst(value: t.Any) -> None:
    assert load({"CHATWOOT_BURST_WINDOW": value}).burst_window == 0.0


# Wrong values


WRONG: t.Final[t.Sequence[tuple[str, t.Sequence[t.Any], str]]] = [
    (
        "BASE_URL",
        ["chatwoot.example.com", "localhost:3000", "ftp://x.example", "/chatwoot"],
        "must begin with http:// or https://, like https://",
    ),
    ("BASE_URL", ["https://", "http:///path", "https://:3000"], "must begin with"),
    ("BASE_URL", ["https://x:port", "https://[::1", "http://x:99999"], "write it like"),
    ("BASE_URL", ["https://x/?a=b", "https://x/#a", "https://x /a"], "address alone"),
    ("BASE_URL", ["https://me:hunter2@x.example"], "must not hold a user name"),
    ("BASE_URL", [1.5, True, b"https://x", ["https://x"]], "must be text, not"),
    ("ACCOUNT_ID", ["acme", "1.0", "-1", "+1", "1_0", "１", "0x1"], "a whole number"),
    ("ACCOUNT_ID", ["9" * 19, 10**400, -5], "must be a whole number"),
    ("ACCOUNT_ID", [0, "0", "000"], "must be at least 1"),
    ("ACCOUNT_ID", [1.0, True, [1], {}], "must be text, not"),
    ("SUPPORT_MODE_ATTR", [True, 1.5, ["a"]], "must be text, not"),
    ("URL_PREFIX", ["chatwoot", "https://x", "/<name>", "/a/<int:b>"], "a slash"),
    ("URL_PREFIX", [True, ["/a"]], "must be text, not"),
    ("BOT_VALUES", [1.5, True, [None], [1.5], {"a": 1}], "must be text, not"),
    ("HUMAN_VALUES", [False, [["a"]]], "must be text, not"),
    ("DEFAULT_MODE", ["robot", "both", 0], "must be one of bot, human"),
    ("INBOXES", ["website", "1 2", "1;2", "-1", "1.0", "3,x", "１"], "a whole number"),
    ("INBOXES", [0, "0", [1, 0]], "must be at least 1"),
    ("INBOXES", [True, 1.5, [1.5], [True], {}, {"1": 2}, [[1]]], "must be text, not"),
    ("BOT_STATUSES", ["closed", "open pending", [1], "open,x"], "one of open, pending"),
    ("BOT_STATUSES", [True, 1.5, [None], [True], {}], "must be text, not"),
    *[
        (name, ["maybe", "y", "ja", 2, -1, "truee"], "must be one of true, false")
        for name in ("YIELD_TO_ASSIGNEE", "NOTE_ON_FAILURE", "TYPING")
    ],
    ("TYPING", [1.0, [True], {}], "must be text, not"),
    ("MAX_AGE", [0, -1, "0", "nan", "inf", 86_401], "at most a day"),
    ("MAX_AGE", ["1h", "an hour"], "must be a number of seconds"),
    ("BURST_WINDOW", [-1, "-0.5", "nan", 86_401], "seconds"),
    ("BURST_WINDOW", ["soon", "1s"], "must be a number of seconds"),
    ("BURST_WINDOW", [True, [0]], "must be text, not"),
    ("BURST_MAX", [0, "0", -1, "soon"], "seconds"),
    ("FALLBACK_MESSAGE", [True, 1.5, ["One moment"]], "must be text, not"),
    ("BACKEND", ["redis", "threads", 1], "must be one of inline, thread"),
    ("WORKERS", ["many", "-1", "1.5"], "must be a whole number"),
    ("WORKERS", [True, 2.0], "must be text, not"),
    ("WORKERS", [1001, "10000000000"], "must be at most 1000"),
    ("INBOX_PATH", [True, 1.5, ["a"]], "must be text, not"),
    ("INBOX_PATH", ["a/", "/var/lib/bot/"], "is a folder; add a name"),
    ("INBOX_PATH", ["a\0b"], "is no name a file can have; choose another"),
    ("FALLBACK_MESSAGE", ["caf\udce9"], "must be text in UTF-8"),
    ("INBOX_SYNC", ["off", "extra"], "must be one of full, normal"),
    ("TIMEOUT", [0, "0", -1, "-0.5", 0.0, -1.5], "seconds above zero"),
    ("TIMEOUT", ["nan", "inf", "-inf", "1e999", float("nan")], "above zero"),
    ("TIMEOUT", ["ten", "10s", "1,5", "'5'"], "must be a number of seconds"),
    ("TIMEOUT", [True, (3, 10), [10]], "must be text, not"),
    ("MAX_ATTEMPTS", [0, "0"], "must be at least 1"),
    ("MAX_ATTEMPTS", ["five", -1, "2.5"], "must be a whole number"),
    ("MAX_BODY", [0], "must be at least 1"),
    ("MAX_BODY", ["4MB", "4 194 304"], "must be a whole number"),
    ("LEASE", [0, "soon"], "seconds"),
    ("RETRY_PAUSE", [0, "soon"], "seconds"),
    ("SETTLE_TIME", [-1, "soon"], "seconds"),
]


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        pytest.param(name, value, remedy, id=f"{name}-{value!r}"[:60])
        for name, values, remedy in WRONG
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

    if not {"@", "?", "#"} & {*str(value)}:
        assert repr(value) in message


@pytest.mark.parametrize("mark", ["?api_access_token=", "#", "/?a=b#"])
def test_what_stands_behind_an_address_is_not_shown(mark: str) -> None:
    message = refusal({"CHATWOOT_BASE_URL": f"https://x.example{mark}hunter2"})

    assert "https://x.example" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("name", ["ACCOUNT_ID", "TIMEOUT", "BACKEND", "BASE_URL"])
def test_a_wrong_value_of_the_environment_is_named_too(name: str) -> None:
    with pytest.raises(ConfigError, match=f"CHATWOOT_{name} is 'wrong', which must"):
        load(environ={f"CHATWOOT_{name}": "wrong"})


def test_a_word_for_both_modes_is_refused() -> None:
    message = refusal({"CHATWOOT_BOT_VALUES": "Ja", "CHATWOOT_HUMAN_VALUES": "ja"})

    assert "CHATWOOT_BOT_VALUES and CHATWOOT_HUMAN_VALUES" in message
    assert "'ja'" in message


def refused_secret(name: str, value: t.Any) -> str:
    """The refusal of a secret, once it is sure that nothing of it is shown."""
    message = refusal({f"CHATWOOT_{name}": value})

    assert message.startswith(f"CHATWOOT_{name} must be ")
    assert "hunter2" not in message
    assert "3.14159" not in message

    return message


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    "value",
    [3.14159, True, b"hunter2", {"hunter2": 1}, ["good", 3.14159], [b"hunter2"]],
    ids=repr,
)
def test_a_secret_that_is_no_text_is_refused_and_not_shown(
    name: str, value: t.Any
) -> None:
    assert "quote it" in refused_secret(name, value)


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_in_another_encoding_is_refused_and_not_shown(name: str) -> None:
    """Bytes of the environment that are not UTF-8 come as lone surrogates."""
    assert "must be text in UTF-8" in refused_secret(name, "hunter2\udce9")


@pytest.mark.parametrize("name", [name for name in SECRETS if "TOKEN" in name])
@pytest.mark.parametrize(
    "value",
    ["hunter2 and more", "hunter2-ключ", "hunter2\nX-Evil: 1", "hunter2\x7f"],
    ids=repr,
)
def test_a_token_that_fits_no_header_is_refused_and_not_shown(
    name: str, value: str
) -> None:
    assert "copy it anew" in refused_secret(name, value)


def test_a_webhook_secret_may_have_any_characters() -> None:
    loaded = load({"CHATWOOT_WEBHOOK_SECRET": "two words, ключ"})

    assert loaded.webhook_secret == ("two words", "ключ")


@pytest.mark.parametrize(
    "url",
    [
        "https://me:hunter2@x.example",
        "https://me:hunter2@x.example:port",
        "https://hunter2@x.example",
        "ftp://me:hunter2@x.example",
        "https://me:p@hunter2@x.example",
        "https://me:p/hunter2@x.example",
        "me:hunter2@x.example",
        "//me:hunter2@x.example",
    ],
)
def test_a_password_in_the_address_is_not_shown(url: str) -> None:
    message = refusal({"CHATWOOT_BASE_URL": url})

    assert "CHATWOOT_BASE_URL" in message
    assert "hunter2" not in message


@pytest.mark.parametrize("name", SECRETS)
def test_a_configuration_does_not_show_its_secrets(name: str, instance: str) -> None:
    loaded = load(NEEDED | {f"CHATWOOT_{name}": "hunter2"}, instance=instance)

    assert "hunter2" in str(getattr(loaded, name.lower()))
    assert "hunter2" not in repr(loaded)
    assert "hunter2" not in str(loaded)
    assert "hunter2" not in debug_repr(loaded)  # on an error page
    assert URL in repr(loaded)


# What is missing, what is open


@pytest.mark.parametrize("missing", [*NEEDED, None])
def test_what_is_missing_for_posting_is_named(
    missing: str | None, instance: str
) -> None:
    settings = {name: value for name, value in NEEDED.items() if name != missing}

    assert load(settings, instance=instance).missing == ([missing] if missing else [])


def test_without_any_setting_all_three_are_missing() -> None:
    assert load().missing == list(NEEDED)


@pytest.mark.parametrize(
    ("settings", "doors"),
    [
        (
            {},
            ["/webhook (CHATWOOT_WEBHOOK_SECRET)", "/copilot (CHATWOOT_COPILOT_TOKEN)"],
        ),
        ({"CHATWOOT_WEBHOOK_SECRET": "x"}, ["/copilot (CHATWOOT_COPILOT_TOKEN)"]),
        ({"CHATWOOT_WEBHOOK_TOKEN": "x"}, ["/copilot (CHATWOOT_COPILOT_TOKEN)"]),
        ({"CHATWOOT_COPILOT_TOKEN": "x"}, ["/webhook (CHATWOOT_WEBHOOK_SECRET)"]),
        ({"CHATWOOT_WEBHOOK_SECRET": "x", "CHATWOOT_COPILOT_TOKEN": "x"}, []),
    ],
)
def test_what_anybody_may_call_is_named_with_its_key(
    settings: Settings, doors: list[str]
) -> None:
    assert load(settings).open_doors == doors


# The inbox


def everything_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (None, "instance/chatwoot.sqlite3"),
        ("other.db", "instance/other.db"),
        ("deep/er/other.db", "instance/deep/er/other.db"),
        ("{tmp}/elsewhere.db", "elsewhere.db"),
        ("{tmp}/not/yet/there.db", "not/yet/there.db"),
    ],
)
def test_the_inbox_is_in_the_instance_folder_unless_told_and_not_made_yet(
    tmp_path: Path, instance: str, chosen: str | None, expected: str
) -> None:
    path = chosen and chosen.format(tmp=tmp_path)

    loaded = load(NEEDED | {"CHATWOOT_INBOX_PATH": path}, instance=instance)

    assert loaded.inbox_path == str(tmp_path / expected)
    assert everything_in(tmp_path) == []


def test_an_inbox_that_exists_is_left_as_it_is(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox.db"
    inbox.write_bytes(b"rows")

    load(NEEDED | {"CHATWOOT_INBOX_PATH": str(inbox)})

    assert everything_in(tmp_path) == ["inbox.db"]
    assert inbox.read_bytes() == b"rows"


def test_a_folder_is_no_inbox(tmp_path: Path) -> None:
    message = refusal(NEEDED | {"CHATWOOT_INBOX_PATH": str(tmp_path)})

    assert message.startswith(f"CHATWOOT_INBOX_PATH is {str(tmp_path)!r}, which ")
    assert "choose another" in message


def test_an_inbox_that_may_not_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = tmp_path / "inbox.db"
    inbox.touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)

    assert "may write" in refusal(NEEDED | {"CHATWOOT_INBOX_PATH": str(inbox)})


def test_an_inbox_below_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")

    message = refusal(NEEDED | {"CHATWOOT_INBOX_PATH": f"{file}/inbox.db"})

    assert message.startswith("CHATWOOT_INBOX_PATH is ")
    assert repr(str(file)) in message
    assert "Choose another path, or let this process write there." in message
    assert everything_in(tmp_path) == ["file"]


def test_a_full_disk_is_found_out_at_once(
    tmp_path: Path, instance: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**_: t.Any) -> t.NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "TemporaryFile", full)

    message = refusal(NEEDED, instance=instance)

    assert "CHATWOOT_INBOX_PATH" in message
    assert "No space left on device" in message
    assert repr(str(tmp_path)) in message


@pytest.mark.parametrize("missing", NEEDED)
def test_an_inbox_that_will_not_be_used_is_not_looked_at(
    tmp_path: Path, missing: str
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    settings = {name: value for name, value in NEEDED.items() if name != missing}

    loaded = load(settings, instance=f"{file}/instance")

    assert loaded.inbox_path == f"{file}/instance/chatwoot.sqlite3"


def test_an_inbox_that_was_chosen_is_looked_at_even_if_something_is_missing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")

    assert "CHATWOOT_INBOX_PATH" in refusal({"CHATWOOT_INBOX_PATH": f"{file}/inbox.db"})


# Tests of the host


def test_under_test_work_is_done_at_once_and_remembered_nowhere(
    tmp_path: Path, instance: str
) -> None:
    first = load(NEEDED, instance=instance, testing=True)
    second = load(NEEDED, instance=instance, testing=True)

    assert first.backend == second.backend == "inline"
    assert first.inbox_path != second.inbox_path
    assert everything_in(tmp_path) == []

    for loaded in (first, second):
        folder = Path(loaded.inbox_path).parent
        assert folder.is_dir()
        assert list(folder.iterdir()) == []


def test_under_test_what_was_chosen_is_kept(instance: str) -> None:
    settings = NEEDED | {"CHATWOOT_BACKEND": "thread", "CHATWOOT_INBOX_PATH": "a.db"}

    loaded = load(settings, instance=instance, testing=True)

    assert loaded.backend == "thread"
    assert loaded.inbox_path == os.path.join(instance, "a.db")


def test_under_test_an_app_without_configuration_makes_no_folder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(**_: t.Any) -> t.NoReturn:
        pytest.fail("A folder was made for an inbox that is not used.")

    monkeypatch.setattr(tempfile, "mkdtemp", fail)

    assert load(testing=True).inbox_path == "/nowhere/chatwoot.sqlite3"
