"""Load a :class:`Config` from the table and the given values."""

from __future__ import annotations

import atexit
import difflib
import importlib.util
import os
import re
import shutil
import tempfile
import typing as t
from dataclasses import dataclass, field, replace

from flask_chatwoot.errors import ConfigError
from flask_chatwoot.ownership.mode import Mode, Vocabulary, vocabulary
from flask_chatwoot.ownership.policy import PolicySettings
from flask_chatwoot.texts import Text

from .converters import SQLITE, is_blank
from .table import OTHER_KEYS, PREFIX, SETTINGS, Setting

if t.TYPE_CHECKING:
    from flask_chatwoot.queue.postgresql.url import Address

Source = t.Literal["config", "environment", "default"]

MARGIN: t.Final = 2.0
"""Seconds of a lease that must be left beside the longest request: as much as may pass
between the look at the lease and the request."""

ALIKE: t.Final = 0.85
"""The similarity from which an unknown key counts as a misspelled known one."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Found:
    """The value of one setting.

    :ivar value: The value in force: the default if the given value is wrong.
    :ivar error: What is wrong with the given value, and the remedy.
    """

    setting: Setting
    value: t.Any = field(repr=False)
    source: Source
    error: str | None = None


# Not a tuple: an error page shows a tuple's values instead of its repr.
@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one app; each field is ``CHATWOOT_`` and its name in capitals.

    :ivar words: Made of ``CHATWOOT_BOT_VALUES`` and ``CHATWOOT_HUMAN_VALUES``.
    :ivar policy: Made of ``CHATWOOT_BOT_STATUSES``, ``CHATWOOT_YIELD_TO_ASSIGNEE`` and
        ``CHATWOOT_MAX_AGE``.
    :ivar database_url: Without the password of PostgreSQL.
    :ivar database_path: The SQLite file that ``database_url`` names.
    :ivar database_address: The PostgreSQL database that it names. If set, the path is
        that of the default file, and is not used.
    :ivar found: Every setting by its name, with its source.
    """

    base_url: str | None
    account_id: int | None
    api_access_token: str | None = field(repr=False)
    user_access_token: str | None = field(repr=False)
    support_mode_attr: str
    webhook_secret: tuple[str, ...] = field(repr=False)
    webhook_token: str | None = field(repr=False)
    copilot_token: tuple[str, ...] = field(repr=False)
    copilot_one_account: bool
    health_token: str | None = field(repr=False)
    health_max_age: float
    url_prefix: str
    words: Vocabulary = field(repr=False)
    human_values: tuple[str, ...]
    default_mode: Mode
    inboxes: frozenset[int]
    policy: PolicySettings
    burst_window: float
    burst_max: float
    fallback_message: str | None = field(repr=False)
    locale: str | None
    texts: t.Mapping[str, Text] | None = field(repr=False)
    draft_notes: bool
    draft_feedback: bool
    note_on_failure: bool
    max_repeats: int
    max_turns_per_hour: int
    on_silence: str
    max_parts: int
    typing: bool
    backend: str
    celery_app: str | None
    celery_queue: str | None
    workers: int
    catch_up: float
    database_url: str
    database_path: str
    database_address: Address | None
    database_schema: str
    database_sync: str
    timeout: float
    max_attempts: int
    provider_attempts: int
    provider_timeout: float
    max_body: int
    lease: float
    retry_pause: float
    settle_time: float
    found: t.Mapping[str, Found] = field(repr=False, compare=False)

    @property
    def missing(self) -> list[str]:
        """The keys without which nothing can be posted."""
        needed = {
            "CHATWOOT_BASE_URL": self.base_url,
            "CHATWOOT_ACCOUNT_ID": self.account_id,
            "CHATWOOT_API_ACCESS_TOKEN": self.api_access_token,
        }

        return [key for key, value in needed.items() if value is None]

    def incomplete(self, token: str | None = None) -> ConfigError:
        """The error that names the settings without which Chatwoot cannot be reached.

        :param token: The one that is used in place of the app's own.
        """
        missing = [key for key in self.missing if not (token and "TOKEN" in key)]

        return ConfigError(f"Chatwoot is not configured; set {', '.join(missing)}.")

    @property
    def errors(self) -> list[str]:
        """What is wrong, where ``keep_errors`` was given to :func:`load`."""
        return [found.error for found in self.found.values() if found.error]

    @property
    def unprotected(self) -> list[str]:
        """Endpoints that every client may call, with the key that protects each."""
        endpoints = []

        if not (self.webhook_secret or self.webhook_token):
            endpoints.append("/webhook (CHATWOOT_WEBHOOK_SECRET)")

        if not self.copilot_token:
            endpoints.append("/copilot (CHATWOOT_COPILOT_TOKEN)")

        return endpoints

    @property
    def offers_nothing(self) -> bool:
        """Whether operators get neither notes nor suggestions of the provider."""
        return not (self.draft_notes or self.copilot_token)


def load(
    settings: t.Mapping[str, t.Any],
    *,
    environ: t.Mapping[str, str] = os.environ,
    instance_path: str,
    testing: bool = False,
    keep_errors: bool = False,
) -> Config:
    """Look up every key.

    :param settings: ``app.config``. A key that is absent, ``None`` or blank there is
        looked up in the environment, and then has its default.
    :param testing: Handle deliveries inside the request, look for no others, and keep
        the database in a new temporary folder, so that test runs do not share messages.
    :param keep_errors: Do not raise, but list the errors in ``Config.errors``. With
        errors the app counts as not configured.
    :raises ConfigError: Has a line for every wrong key, with its value unless secret,
        and the remedy.
    """
    found = {each.name: _find(each, settings, environ, testing) for each in SETTINGS}
    words = _words(found)
    url = found["database_url"]
    needed = ("base_url", "account_id", "api_access_token")
    configured = all(found[name].value is not None for name in needed)
    address = None if isinstance(url.value, str) else url.value
    file = url.setting.default if address else url.value
    path = os.path.join(instance_path, file.removeprefix(SQLITE))

    if url.source != "default" or (configured and not testing):
        _check_database(found, path)

    _check_together(found)
    errors = [each.error for each in found.values() if each.error]

    if errors and not keep_errors:
        raise ConfigError("\n".join(errors))

    if testing and configured and url.source == "default" and not errors:
        path = os.path.join(_temporary_folder(), os.path.basename(path))

    values = {name: each.value for name, each in found.items() if name != "bot_values"}
    policy = PolicySettings(
        statuses=values.pop("bot_statuses"),
        yield_to_assignee=values.pop("yield_to_assignee"),
        max_age=values.pop("max_age"),
    )
    values |= {"database_url": str(url.value), "database_path": path}
    values |= {"database_address": address, "words": words, "policy": policy}
    config = Config(**values, found=found)

    return replace(config, base_url=None) if errors else config


_IN_TESTS: t.Final = {
    "backend": "inline",
    "burst_window": 0.0,
    "catch_up": 0.0,
    "locale": "en",
}
"""Other defaults in an app under test."""


def _find(
    setting: Setting,
    settings: t.Mapping[str, t.Any],
    environ: t.Mapping[str, str],
    testing: bool,
) -> Found:
    sources: tuple[tuple[Source, t.Mapping[str, t.Any]], ...] = (
        ("config", settings),
        ("environment", environ),
    )
    default = Found(setting=setting, value=setting.default, source="default")

    if testing and setting.name in _IN_TESTS:
        default = replace(default, value=_IN_TESTS[setting.name])

    for source, values in sources:
        value = values.get(setting.key)

        if is_blank(value):
            continue

        try:
            return replace(default, value=setting.convert(value), source=source)
        except (TypeError, ValueError) as error:
            shown = "" if setting.secret else f" is {_without_password(value)}, which"
            return replace(
                default, source=source, error=f"{setting.key}{shown} {error}"
            )

    return default


def _words(found: dict[str, Found]) -> Vocabulary:
    bot, human = found["bot_values"], found["human_values"]

    try:
        return vocabulary(bot=bot.value, human=human.value)
    except ConfigError as error:
        found["bot_values"] = replace(bot, error=str(error))
        return vocabulary()


def _without_password(value: t.Any) -> str:
    # No more than the address: a query, like a password, may be a secret.
    if not isinstance(value, str):
        return _without_user(_repr(value))

    address = value.partition("?")[0].partition("#")[0]
    rest = value[len(address) :]

    # Is the part before the last @ a user, or is that a part of the query?
    if "@" in rest:
        return repr(f"{value[:1]}…")

    return _without_user(repr(f"{address}?…" if rest else address))


def _repr(value: t.Any) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a huge number, or an object of the host's
        return f"<{type(value).__name__}>"


def _without_user(shown: str) -> str:
    before, at, host = shown.rpartition("@")

    return f"{before[:2]}…@{host}" if at else _NO_PORT.sub(r"\1…", host)


_NO_PORT: t.Final = re.compile(
    r"^('postgres[^/]*://[^/:@\[]*:)(?!\d{1,5}(/|\?|'$))(?=.).*(?='$)"
)
"""A user and the password in a URL without a host look like a host and its port."""


# -- values that must fit together -----------------------------------------------


def _check_together(found: dict[str, Found]) -> None:
    window = found["burst_window"]

    if found["backend"].value == "inline" and window.source == "default":
        found["burst_window"] = replace(window, value=0.0)

    _check_times(found)
    _check_celery(found)


def _check_times(found: dict[str, Found]) -> None:
    """A request ends before the lease does, and before it counts as lost."""
    timeout = found["timeout"].value
    reasons = {
        "lease": (
            2 * (timeout + MARGIN),
            f"twice the sum of CHATWOOT_TIMEOUT and {MARGIN:g} seconds: a post begins "
            "only if the lease outlasts it",
        ),
        "settle_time": (
            timeout + 1.0,
            "CHATWOOT_TIMEOUT and 1 second: until then a post may still be under way",
        ),
    }

    for name, (least, reason) in reasons.items():
        given = found[name]

        if not given.error and given.value < least:
            error = (
                f"{given.setting.key} is {given.value:g}, which must be at least "
                f"{least:g}, {reason}."
            )
            found[name] = replace(given, error=error)


def _check_celery(found: dict[str, Found]) -> None:
    """Celery's workers need the library, and a database that machines can share."""
    backend, url = found["backend"], found["database_url"]
    problem = None

    if backend.value != "celery":
        return

    if importlib.util.find_spec("celery") is None:
        problem = _needs_extra("celery")
    elif not url.error and isinstance(url.value, str):
        problem = (
            "needs PostgreSQL: Celery's workers may run on machines that cannot share "
            "a file. Set CHATWOOT_DATABASE_URL to postgresql://…, or CHATWOOT_BACKEND "
            "to thread."
        )

    if problem is not None:
        error = f"{backend.setting.key} is 'celery', which {problem}"
        found["backend"] = replace(backend, error=error)


def _needs_extra(name: str) -> str:
    # No name of a package: what an index has under it may not be this one.
    return f'needs the extra "{name}"; in a checkout: pip install ".[{name}]".'


# -- the database --------------------------------------------------------------


def missing_of_driver() -> str | None:
    """What psycopg lacks, and the remedy, or ``None``."""
    try:
        importlib.import_module("psycopg")
        importlib.import_module("psycopg_pool")
    except ModuleNotFoundError:
        return _needs_extra("postgresql")
    except ImportError:  # it is there, but cannot load libpq
        return 'needs the library libpq; install it, or: pip install "psycopg[binary]".'

    return None


def _check_database(found: dict[str, Found], path: str) -> None:
    url = found["database_url"]
    problem = what = None

    if not isinstance(url.value, str):
        problem, what = missing_of_driver(), "PostgreSQL"
    elif not url.error:
        problem, what = _problem_of(path), repr(path)

    if problem is not None:
        error = f"{url.setting.key} names {what}, which {problem}"
        found["database_url"] = replace(url, error=error)


def _problem_of(path: str) -> str | None:
    """Why the file cannot be written, or ``None``. Leaves no file."""
    if os.path.exists(path) and not os.path.isfile(path):
        return "is no file; choose another."

    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        return (
            f"this process{_process_user()} may not read and write. Run the app and "
            "its commands as the user who owns it, or choose another."
        )

    folder = os.path.dirname(path)

    while not os.path.exists(folder):
        folder = os.path.dirname(folder)

    try:
        # Only an attempt to write also finds read-only and full disks.
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return (
            f"cannot be made in {folder!r} by this process{_process_user()}: "
            f"{error.strerror}. Choose another path, or let it write there."
        )


def _process_user() -> str:
    """The user by number, as most have no name in a container. Windows has neither."""
    return f" (user {os.geteuid()})" if hasattr(os, "geteuid") else ""


def _temporary_folder() -> str:
    folder = tempfile.mkdtemp(prefix="flask-chatwoot-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    return folder


# -- misspelled keys -----------------------------------------------------------


def misspelled(keys: t.Iterable[str]) -> list[str]:
    """Sentences about unknown ``CHATWOOT_`` keys that resemble known ones.

    Other unknown keys are no error: Chatwoot or the host may use them.
    """
    known = OTHER_KEYS | {setting.key for setting in SETTINGS}
    unknown = {key for key in keys if key.startswith(PREFIX)} - known
    nearest = {
        key: difflib.get_close_matches(key, sorted(known), n=1, cutoff=ALIKE)
        for key in sorted(unknown)
    }

    return [
        f"{key} is not a setting; did you mean {matches[0]}?"
        for key, matches in nearest.items()
        if matches
    ]
