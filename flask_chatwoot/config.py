"""``CHATWOOT_*`` settings → one frozen, checked :class:`Config`."""

import atexit
import os
import shutil
import tempfile
import typing as t
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from .errors import ConfigError
from .ownership.mode import Mode, Vocabulary, vocabulary
from .ownership.policy import PolicySettings

BACKENDS: t.Final = ("inline", "thread")
SYNCS: t.Final = ("full", "normal")

STATUSES: t.Final = ("open", "pending", "resolved", "snoozed")
"""Chatwoot's, of conversations (``app/models/conversation.rb``)."""

MOST_WORKERS: t.Final = 1000
"""Threads of one process; more are a slip of the pen."""

_DAY: t.Final = 86_400

_SEPARATORS: t.Final = tuple({os.sep, os.altsep or os.sep})


# No tuple: error pages list a tuple's values, whatever its repr says.
@dataclass(frozen=True, kw_only=True)
class Config:
    """The settings of one app; each field is ``CHATWOOT_`` and its name in capitals.

    ``words`` is made of ``CHATWOOT_BOT_VALUES`` and ``CHATWOOT_HUMAN_VALUES``,
    ``rules`` of ``CHATWOOT_BOT_STATUSES``, ``CHATWOOT_YIELD_TO_ASSIGNEE`` and
    ``CHATWOOT_MAX_AGE``.
    """

    base_url: str | None
    account_id: int | None
    api_access_token: str | None = field(repr=False)
    user_access_token: str | None = field(repr=False)
    support_mode_attr: str
    webhook_secret: tuple[str, ...] = field(repr=False)
    webhook_token: str | None = field(repr=False)
    copilot_token: str | None = field(repr=False)
    health_token: str | None = field(repr=False)
    health_max_age: float
    url_prefix: str
    words: Vocabulary = field(repr=False)
    human_values: tuple[str, ...]
    default_mode: Mode
    inboxes: frozenset[int]
    rules: PolicySettings
    burst_window: float
    burst_max: float
    fallback_message: str | None = field(repr=False)
    note_on_failure: bool
    typing: bool
    backend: str
    workers: int
    inbox_path: str
    inbox_sync: str
    timeout: float
    max_attempts: int
    max_body: int
    lease: float
    retry_pause: float
    settle_time: float

    @property
    def missing(self) -> list[str]:
        """The keys without which nothing can be posted."""
        needed = {
            "CHATWOOT_BASE_URL": self.base_url,
            "CHATWOOT_ACCOUNT_ID": self.account_id,
            "CHATWOOT_API_ACCESS_TOKEN": self.api_access_token,
        }

        return [key for key, value in needed.items() if value is None]

    @property
    def open_doors(self) -> list[str]:
        """Endpoints that anybody may call, with the key that closes each."""
        doors = []

        if not (self.webhook_secret or self.webhook_token):
            doors.append("/webhook (CHATWOOT_WEBHOOK_SECRET)")

        if not self.copilot_token:
            doors.append("/copilot (CHATWOOT_COPILOT_TOKEN)")

        return doors


def load(
    settings: t.Mapping[str, t.Any],
    *,
    environ: t.Mapping[str, str] = os.environ,
    instance_path: str,
    testing: bool = False,
) -> Config:
    """Look every key up, once.

    :param settings: ``app.config``. A key that is absent, ``None`` or blank there is
        looked up in the environment, and then has its default.
    :param testing: Handle deliveries inside the request, and keep the inbox in a new
        temporary folder, so that one test run does not remember another's messages.
    :raises ConfigError: Names the key, its value unless secret, and the remedy.
    """
    read = _Reader(settings, environ)
    config = Config(
        base_url=read("BASE_URL", _url, None),
        account_id=read("ACCOUNT_ID", _whole(1), None),
        api_access_token=read("API_ACCESS_TOKEN", _token, None, secret=True),
        user_access_token=read("USER_ACCESS_TOKEN", _token, None, secret=True),
        support_mode_attr=read("SUPPORT_MODE_ATTR", _text, "support_mode"),
        webhook_secret=read("WEBHOOK_SECRET", _secrets, (), secret=True),
        webhook_token=read("WEBHOOK_TOKEN", _token, None, secret=True),
        copilot_token=read("COPILOT_TOKEN", _token, None, secret=True),
        health_token=read("HEALTH_TOKEN", _token, None, secret=True),
        health_max_age=read("HEALTH_MAX_AGE", _seconds, 300.0),
        url_prefix=read("URL_PREFIX", _prefix, "/chatwoot"),
        words=_words(read),
        human_values=read("HUMAN_VALUES", _texts, ()),
        default_mode=read("DEFAULT_MODE", _mode, Mode.HUMAN),
        **_manners(read),
        backend=read("BACKEND", _one_of(*BACKENDS), "inline" if testing else "thread"),
        workers=read("WORKERS", _whole(0, MOST_WORKERS), 4),
        inbox_path=read("INBOX_PATH", _file, ""),
        inbox_sync=read("INBOX_SYNC", _one_of(*SYNCS), "full"),
        timeout=read("TIMEOUT", _seconds, 10.0),
        max_attempts=read("MAX_ATTEMPTS", _whole(1), 5),
        max_body=read("MAX_BODY", _whole(1), 4 * 1024 * 1024),
        lease=read("LEASE", _lease, 30.0),
        retry_pause=read("RETRY_PAUSE", _seconds, 2.0),
        settle_time=read("SETTLE_TIME", _seconds, 30.0),
    )

    return replace(config, inbox_path=_inbox_path(config, instance_path, testing))


T = t.TypeVar("T")
D = t.TypeVar("D")


class _Reader:
    """Finds a key, converts it, and names it in every error."""

    def __init__(
        self, settings: t.Mapping[str, t.Any], environ: t.Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._environ = environ

    def __call__(
        self,
        name: str,
        convert: t.Callable[[t.Any], T],
        default: D,
        *,
        secret: bool = False,
    ) -> T | D:
        key = f"CHATWOOT_{name}"
        value = self._settings.get(key)

        if _blank(value):
            value = self._environ.get(key)

        if _blank(value):
            return default

        try:
            return convert(value)
        except (TypeError, ValueError) as error:
            shown = "" if secret else f" is {_without_password(value)}, which"
            raise ConfigError(f"{key}{shown} {error}") from None


def _words(read: _Reader) -> Vocabulary:
    return vocabulary(
        bot=read("BOT_VALUES", _texts, ()), human=read("HUMAN_VALUES", _texts, ())
    )


def _manners(read: _Reader) -> dict[str, t.Any]:
    """When the bot speaks, and when it does not."""
    return {
        "inboxes": read("INBOXES", _ids, frozenset()),
        "rules": _rules(read),
        "burst_window": read("BURST_WINDOW", _pause, 0.0),
        "burst_max": read("BURST_MAX", _seconds, 30.0),
        "fallback_message": read("FALLBACK_MESSAGE", _text, None),
        "note_on_failure": read("NOTE_ON_FAILURE", _flag, False),
        "typing": read("TYPING", _flag, True),
    }


def _rules(read: _Reader) -> PolicySettings:
    usual = PolicySettings()

    return PolicySettings(
        statuses=read("BOT_STATUSES", _statuses, usual.statuses),
        yield_to_assignee=read("YIELD_TO_ASSIGNEE", _flag, usual.yield_to_assignee),
        max_age=read("MAX_AGE", _seconds, usual.max_age),
    )


def _blank(value: t.Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _text(value: t.Any) -> str:
    # Settings read as JSON turn digits into numbers; those can be turned back. A
    # float can not: 12e4567 has become infinity.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError(f"must be text, not {type(value).__name__}; quote it.")

    text = str(value).strip()

    # What the environment holds in another encoding can not be signed with or stored.
    if text.encode(errors="replace").decode() != text:
        raise ValueError("must be text in UTF-8; write it anew.")

    return text


def _token(value: t.Any) -> str:
    text = _text(value)

    if not (text.isascii() and text.isprintable() and " " not in text):
        raise ValueError("must be printable ASCII without spaces; copy it anew.")

    return text


def _texts(value: t.Any) -> tuple[str, ...]:
    parts = value if isinstance(value, list | tuple | set) else _text(value).split(",")
    texts = tuple(_text(part) for part in parts)

    return tuple(text for text in texts if text)


def _ids(value: t.Any) -> frozenset[int]:
    parts = value if isinstance(value, list | tuple | set) else _text(value).split(",")

    ids = frozenset(_whole(1)(part) for part in parts if not _blank(part))

    if not ids and isinstance(value, str):
        raise ValueError("names no inbox; leave it out to answer in every one.")

    return ids


def _statuses(value: t.Any) -> frozenset[str]:
    statuses = frozenset(_one_of(*STATUSES)(status) for status in _texts(value))

    if not statuses and isinstance(value, str):
        raise ValueError("names no status; leave it out for open and pending.")

    return statuses


def _flag(value: t.Any) -> bool:
    if isinstance(value, bool):
        return value

    return _one_of("true", "false", "1", "0", "yes", "no", "on", "off")(value) in (
        "true",
        "1",
        "yes",
        "on",
    )


def _secrets(value: t.Any) -> tuple[str, ...]:
    secrets = _texts(value)

    if not secrets:
        raise ValueError("holds no secret; leave it out to accept anybody.")

    return secrets


def _file(value: t.Any) -> str:
    path = _text(os.fspath(value) if isinstance(value, os.PathLike) else value)

    if path.endswith(_SEPARATORS):
        raise ValueError("is a folder; add a name, like chatwoot.sqlite3.")

    if "\0" in path:
        raise ValueError("is no name a file can have; choose another.")

    return path


def _whole(least: int, most: int | None = None) -> t.Callable[[t.Any], int]:
    def convert(value: t.Any) -> int:
        text = _text(value)

        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise ValueError("must be a whole number.")

        if int(text) < least:
            raise ValueError(f"must be at least {least}.")

        if most is not None and int(text) > most:
            raise ValueError(f"must be at most {most}.")

        return int(text)

    return convert


def _seconds(value: t.Any) -> float:
    try:
        seconds = float(value if isinstance(value, float) else _text(value))
    except ValueError:
        raise ValueError("must be a number of seconds.") from None

    if not 0 < seconds <= _DAY:
        raise ValueError("must be a number of seconds above zero, and at most a day.")

    return seconds


def _pause(value: t.Any) -> float:
    try:
        none = float(value if isinstance(value, float) else _text(value)) == 0
    except ValueError:
        none = False

    return 0.0 if none else _seconds(value)


def _lease(value: t.Any) -> float:
    seconds = _seconds(value)

    if seconds < 0.1:
        raise ValueError("must be 0.1 seconds at least, or ends before it is renewed.")

    return seconds


def _one_of(*known: str) -> t.Callable[[t.Any], str]:
    def convert(value: t.Any) -> str:
        text = _text(value).lower()

        if text not in known:
            raise ValueError(f"must be one of {', '.join(known)}.")

        return text

    return convert


def _mode(value: t.Any) -> Mode:
    return Mode(_one_of(*Mode)(value))


def _url(value: t.Any) -> str:
    text = _text(value).rstrip("/")
    example = "https://chatwoot.example.com"

    try:
        parts = urlsplit(text)
        _ = parts.port  # raises when it is not a number
    except ValueError:
        raise ValueError(f"is not a URL; write it like {example}.") from None

    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"must begin with http:// or https://, like {example}.")

    if "@" in parts.netloc:
        raise ValueError("must not hold a user name; the token is a key of its own.")

    if parts.query or parts.fragment or not text.isprintable() or " " in text:
        raise ValueError(f"must be the address alone, like {example}.")

    return text


def _prefix(value: t.Any) -> str:
    text = _text(value)

    if not text.startswith("/") or "<" in text:
        raise ValueError("must begin with a slash and be fixed, like /chatwoot.")

    return text.rstrip("/")


def _without_password(value: t.Any) -> str:
    # No more than the address: a query, like a password, may be a secret.
    shown = repr(value) if not isinstance(value, str) else repr(_address(value))
    before, at, host = shown.rpartition("@")

    return f"{before[:1]}…@{host}" if at else host


def _address(text: str) -> str:
    address = text.partition("?")[0].partition("#")[0]

    return address if address == text else f"{address}?…"


def _inbox_path(config: Config, instance_path: str, testing: bool) -> str:
    chosen = config.inbox_path
    unused = config.missing and not chosen

    if testing and not chosen and not unused:
        return os.path.join(_temporary_folder(), "chatwoot.sqlite3")

    path = os.path.join(instance_path, chosen or "chatwoot.sqlite3")

    if not unused:
        _check_writable(path)

    return path


def _temporary_folder() -> str:
    folder = tempfile.mkdtemp(prefix="flask-chatwoot-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)

    return folder


def _check_writable(path: str) -> None:
    """Fail now if the inbox could not be written later. Leaves nothing behind."""
    key = f"CHATWOOT_INBOX_PATH is {path!r}, which"
    exists = os.path.exists(path)

    if exists and not (os.path.isfile(path) and os.access(path, os.R_OK | os.W_OK)):
        raise ConfigError(
            f"{key} is not a file this process may write; choose another."
        )

    folder = os.path.dirname(path)

    while not os.path.exists(folder):
        folder = os.path.dirname(folder)

    try:
        # Trying is the only test that also knows of read-only and full disks.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigError(
            f"{key} can not be made in {folder!r}: {error.strerror}. Choose another "
            "path, or let this process write there."
        ) from None
