"""Findings, and the facts that the checks use."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from flask_chatwoot.client.raw import NoAnswer, RawAnswer, exchange
from flask_chatwoot.components import ADMIN_TOKEN, OWN_TOKEN, client_of
from flask_chatwoot.errors import APIError, ConfigError, SetupError
from flask_chatwoot.payloads import versions
from flask_chatwoot.payloads.versions import Version
from flask_chatwoot.queue.store import Store
from flask_chatwoot.runtime import Runtime
from flask_chatwoot.setup import account
from flask_chatwoot.setup.account import JSON, AccountSettings


class Mark(StrEnum):
    """The severity of a finding."""

    OK = "✓"
    WARNING = "!"
    ERROR = "✗"


class Finding(t.NamedTuple):
    """One line of the report. It holds no secret.

    :ivar check: What was checked, in a word.
    :ivar remedy: What to do; empty if the check passed.
    """

    mark: Mark
    check: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.what} {self.remedy}".rstrip()


Findings = t.Iterator[Finding]


def passed(check: str, what: str) -> Finding:
    """Nothing is wrong."""
    return Finding(Mark.OK, check, what)


def warned(check: str, what: str, remedy: str) -> Finding:
    """It works, but should be changed."""
    return Finding(Mark.WARNING, check, what, remedy)


def failed(check: str, what: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(Mark.ERROR, check, what, remedy)


class DeliverySource(t.NamedTuple):
    """A webhook, agent bot or API inbox that delivers to the app.

    :ivar name: Its kind and its id.
    :ivar signs: Whether this version of Chatwoot signs its deliveries.
    :ivar secret: ``None`` where Chatwoot does not show it.
    :ivar events: ``None`` for all events.
    """

    name: str
    url: str
    signs: bool
    secret: str | None
    events: list[str] | None = None

    def __repr__(self) -> str:
        return f"<DeliverySource {self.name}>"


@dataclass(frozen=True)
class UnreadableAccount:
    """An account whose settings could not be read.

    :ivar status: The HTTP status of Chatwoot's answer; ``None`` without an answer.
    """

    why: str
    status: int | None


class DoctorContext:
    """One app and its Chatwoot. Each fact is requested once, when a check needs it.

    :param admin_token: Token for the account's settings; ``None`` for the app's own.
    :param url: URL of the app's webhook; ``None`` to find it in Chatwoot's settings.
    :param ask: Whether the provider is called.
    :param clock: Unix seconds.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        admin_token: str | None = None,
        url: str | None = None,
        ask: bool = False,
        clock: t.Callable[[], float] = time.time,
    ) -> None:
        self.runtime = runtime
        self.config = runtime.config
        self.ask = ask
        self.clock = clock
        self._admin_token = admin_token
        self._url = url

    # -- answers of Chatwoot -----------------------------------------------------

    @cached_property
    def api(self) -> RawAnswer | NoAnswer:
        """The answer of ``GET /api``, which takes no token."""
        return self._get("/api")

    @cached_property
    def profile(self) -> RawAnswer | NoAnswer:
        """The answer of ``GET /api/v1/profile`` to the app's token."""
        return self._profile(self.config.api_access_token)

    @cached_property
    def users_profile(self) -> RawAnswer | NoAnswer | None:
        """The same for the token that reads beside a bot's; ``None`` if none does."""
        token = self.config.user_access_token

        return self._profile(token) if token else None

    @property
    def server(self) -> JSON | None:
        """Version and time of Chatwoot; ``None`` if the answer is not Chatwoot's."""
        answer = self.api.json if isinstance(self.api, RawAnswer) else None
        ok = isinstance(self.api, RawAnswer) and self.api.status == 200
        named = isinstance(answer, dict) and isinstance(answer.get("version"), str)

        return answer if ok and named else None

    @property
    def version(self) -> Version | None:
        """Chatwoot's version; ``None`` if it does not answer."""
        server = self.server

        return account.version_of(server["version"]) if server else None

    @property
    def owner(self) -> JSON | None:
        """The user whose token the app has; ``None`` if it is not a user's."""
        answer = self.profile
        ok = isinstance(answer, RawAnswer) and answer.status == 200
        profile = answer.json if isinstance(answer, RawAnswer) else None

        return profile if ok and isinstance(profile, dict) else None

    @property
    def membership(self) -> JSON | None:
        """That user's membership in the account; ``None`` if it has none."""
        accounts = account.rows((self.owner or {}).get("accounts"))
        mine = [a for a in accounts if a.get("id") == self.config.account_id]

        return mine[0] if mine else None

    @property
    def is_bot(self) -> bool:
        """Whether the app's token is an agent bot's."""
        return is_bots(self.profile)

    def _profile(self, token: str | None) -> RawAnswer | NoAnswer:
        return self._get("/api/v1/profile", {"Api-Access-Token": token or ""})

    def _get(
        self, path: str, headers: t.Mapping[str, str] | None = None
    ) -> RawAnswer | NoAnswer:
        usual = {"Accept": "application/json", "User-Agent": "Flask-Chatwoot"}

        return exchange(
            "GET",
            f"{self.config.base_url}{path}",
            headers={**usual, **(headers or {})},
            timeout=self.config.timeout,
        )

    # -- settings of the account -------------------------------------------------

    @property
    def admin_key(self) -> str:
        """The setting of the token that reads them."""
        return ADMIN_TOKEN if self._admin_token else OWN_TOKEN

    @cached_property
    def account(self) -> AccountSettings | UnreadableAccount:
        """The account's settings, or why they could not be read."""
        try:
            client = client_of(self.config, self._admin_token, ADMIN_TOKEN)
        except ConfigError as error:
            return UnreadableAccount(str(error), status=None)

        if self.server is None:
            return UnreadableAccount("Chatwoot does not answer.", status=None)

        try:
            return account.read(client)
        except SetupError as error:
            return UnreadableAccount(str(error), status=401)
        except APIError as error:
            return UnreadableAccount(str(error), status=error.status)

    # -- the app ---------------------------------------------------------------

    @property
    def store(self) -> Store:
        """The app's database.

        :raises ConfigError: Chatwoot is not configured.
        """
        return self.runtime.configured.store

    # -- the app in Chatwoot's settings ----------------------------------------

    @cached_property
    def sources(self) -> list[DeliverySource]:
        """All that delivers to the app: account webhooks, linked bots, API inboxes."""
        found, url = self.account, self.url

        if not (isinstance(found, AccountSettings) and url):
            return []

        rows = [
            *((row, "url", versions.SIGNED) for row in found.webhooks_to(url)),
            *(
                (row, "outgoing_url", versions.BOTS_SIGNED)
                for row in found.bots_to(url)
                if row.get("id") in found.links.values()
            ),
            *(
                (row, "webhook_url", versions.BOTS_SIGNED)
                for row in found.inboxes.values()
                if account.same_address(row.get("webhook_url"), url)
            ),
        ]

        return [
            DeliverySource(
                name=f"{_KINDS[key]} {row.get('id')}",
                url=row[key],
                signs=found.version >= since,
                secret=row.get("secret"),
                events=(row.get("subscriptions") or []) if key == "url" else None,
            )
            for row, key, since in rows
        ]

    @property
    def inboxes(self) -> list[int]:
        """Chatwoot inboxes whose messages are delivered to the app, and answered."""
        found, url = self.account, self.url

        if not (isinstance(found, AccountSettings) and url):
            return []

        ours = [row.get("id") for row in found.bots_to(url)]
        everywhere = bool(found.webhooks_to(url))
        wanted = self.config.inboxes

        return [
            id
            for id, inbox in found.inboxes.items()
            if (id in wanted or not wanted)
            and (
                everywhere
                or found.links.get(id) in ours
                or account.same_address(inbox.get("webhook_url"), url)
            )
        ]

    @cached_property
    def url(self) -> str | None:
        """Of the app's webhook, without query; ``None`` if it is not known."""
        if self._url:
            return account.address_of(self._url)

        return self.addresses[0] if len(self.addresses) == 1 else None

    @property
    def addresses(self) -> list[str]:
        """URLs in Chatwoot's settings that may be that of the app's webhook."""
        if not isinstance(found := self.account, AccountSettings):
            return []

        given = [
            *(row.get("url") for row in found.webhooks),
            *(row.get("outgoing_url") for row in found.bots or ()),
            *(row.get("webhook_url") for row in found.inboxes.values()),
        ]
        path = f"{self.config.url_prefix}/webhook"
        addresses = {account.address_of(url) for url in given if url}

        return sorted(url for url in addresses if url.endswith(path))


def is_bots(answer: RawAnswer | NoAnswer) -> bool:
    """Whether the answer with a profile says that the token is an agent bot's."""
    body = answer.json if isinstance(answer, RawAnswer) else None
    error = account.nested(body, "error")

    # Chatwoot's text is compared here because it is the same in all languages
    # (app/controllers/concerns/access_token_auth_helper.rb).
    return isinstance(error, str) and "for bots" in error


_KINDS: t.Final = {
    "url": "webhook",
    "outgoing_url": "agent bot",
    "webhook_url": "API inbox",
}
"""Kind of source by the key that holds its URL."""
