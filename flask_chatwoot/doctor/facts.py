"""What the doctor finds, and the facts it finds it by."""

from __future__ import annotations

import time
import typing as t
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, SetupError
from flask_chatwoot.runtime import Runtime
from flask_chatwoot.setup import account
from flask_chatwoot.setup.account import JSON, Account, Version

from .http import Answer, Failure, exchange


class Mark(StrEnum):
    """How bad a finding is."""

    FINE = "✓"
    DOUBTFUL = "!"
    WRONG = "✗"


class Finding(t.NamedTuple):
    """One line. No secret is in it.

    :ivar check: What was looked at, in a word.
    :ivar remedy: What to do; empty where all is fine.
    """

    mark: Mark
    check: str
    what: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.mark} {self.what} {self.remedy}".rstrip()


Findings = t.Iterator[Finding]


def fine(check: str, what: str) -> Finding:
    """All is as it should be."""
    return Finding(Mark.FINE, check, what)


def doubtful(check: str, what: str, remedy: str) -> Finding:
    """It works, but."""
    return Finding(Mark.DOUBTFUL, check, what, remedy)


def wrong(check: str, what: str, remedy: str) -> Finding:
    """It does not work."""
    return Finding(Mark.WRONG, check, what, remedy)


class Deliverer(t.NamedTuple):
    """Something in Chatwoot that delivers to our URL.

    :ivar name: As people find it.
    :ivar signs: Whether this version signs what it delivers.
    :ivar secret: ``None`` where Chatwoot does not tell.
    """

    name: str
    url: str
    signs: bool
    secret: str | None
    events: list[str] | None = None
    """``None``: all, unasked."""

    def __repr__(self) -> str:
        return f"<Deliverer {self.name}>"


@dataclass(frozen=True)
class Unseen:
    """An account that could not be looked at.

    :ivar rights: Because the token may not.
    """

    why: str
    rights: bool


class Case:
    """One app and its Chatwoot. PolicyContext are asked for when needed, and once.

    :param admin_token: For what the app's own token may not see.
    :param url: Of our webhook; ``None``: it is taken from Chatwoot.
    :param ask: Whether the provider is to be asked something.
    :param clock: Unix seconds.
    """

    def __init__(
        self,
        bot: Runtime,
        *,
        admin_token: str | None = None,
        url: str | None = None,
        ask: bool = False,
        clock: t.Callable[[], float] = time.time,
    ) -> None:
        self.bot = bot
        self.config = bot.config
        self.ask = ask
        self.clock = clock
        self._admin_token = admin_token
        self._url = url

    # -- Chatwoot, raw ---------------------------------------------------------

    @cached_property
    def api(self) -> Answer | Failure:
        """What Chatwoot says without a token."""
        return self._get("/api")

    @cached_property
    def profile(self) -> Answer | Failure:
        """What Chatwoot says to the app's token."""
        return self._get("/api/v1/profile", token=True)

    @property
    def server(self) -> JSON | None:
        """Version and time, if a Chatwoot answers."""
        answer = self.api.json if isinstance(self.api, Answer) else None
        ok = isinstance(self.api, Answer) and self.api.status == 200
        named = isinstance(answer, dict) and isinstance(answer.get("version"), str)

        return answer if ok and named else None

    @property
    def version(self) -> Version | None:
        """Chatwoot's, if it answers."""
        server = self.server

        return account.parse_version(server["version"]) if server else None

    @property
    def owner(self) -> JSON | None:
        """Whose token the app has, if it is a user's."""
        answer = self.profile
        ok = isinstance(answer, Answer) and answer.status == 200
        profile = answer.json if isinstance(answer, Answer) else None

        return profile if ok and isinstance(profile, dict) else None

    @property
    def membership(self) -> JSON | None:
        """What that user is in the account, if anything."""
        accounts = account.rows((self.owner or {}).get("accounts"))
        mine = [a for a in accounts if a.get("id") == self.config.account_id]

        return mine[0] if mine else None

    @property
    def is_bot(self) -> bool:
        """Whether the app's token is an agent bot's."""
        answer = self.profile
        error = account.inner(
            answer.json if isinstance(answer, Answer) else None, "error"
        )

        # The only text of Chatwoot that is read: it is the same in all languages
        # (app/controllers/concerns/access_token_auth_helper.rb).
        return isinstance(error, str) and "for bots" in error

    def _get(self, path: str, *, token: bool = False) -> Answer | Failure:
        headers = {"Accept": "application/json", "User-Agent": "Flask-Chatwoot"}

        if token:
            headers["Api-Access-Token"] = self.config.api_access_token or ""

        return exchange(
            "GET",
            f"{self.config.base_url}{path}",
            headers=headers,
            timeout=self.config.timeout,
        )

    # -- Chatwoot, as an administrator sees it ---------------------------------

    @cached_property
    def account(self) -> Account | Unseen:
        """What is set up there, or why that can not be seen."""
        config = self.config
        token = self._admin_token or config.api_access_token

        if self.server is None or not (config.base_url and config.account_id and token):
            return Unseen("Chatwoot can not be asked.", rights=False)

        client = ChatwootClient(
            config.base_url, config.account_id, token, timeout=config.timeout
        )

        try:
            return account.look(client)
        except SetupError as error:
            return Unseen(str(error), rights=True)
        except APIError as error:
            return Unseen(str(error), rights=error.status == 403)

    # -- ourselves -------------------------------------------------------------

    @cached_property
    def deliverers(self) -> list[Deliverer]:
        """All that delivers here: account webhooks, linked bots, API inboxes."""
        seen, url = self.account, self.url

        if not (isinstance(seen, Account) and url):
            return []

        rows = [
            *((row, "url", account.SIGNED) for row in seen.webhooks_to(url)),
            *(
                (row, "outgoing_url", account.BOTS_SIGNED)
                for row in seen.bots_to(url)
                if row.get("id") in seen.links.values()
            ),
            *(
                (row, "webhook_url", account.BOTS_SIGNED)
                for row in seen.inboxes.values()
                if account.same_place(row.get("webhook_url"), url)
            ),
        ]

        return [
            Deliverer(
                name=f"{_KINDS[key]} {row.get('id')}",
                url=row[key],
                signs=seen.version >= since,
                secret=row.get("secret"),
                events=(row.get("subscriptions") or []) if key == "url" else None,
            )
            for row, key, since in rows
        ]

    @cached_property
    def url(self) -> str | None:
        """Of our webhook, without query; ``None`` if nothing tells."""
        if self._url:
            return account.place_of(self._url)

        return self.places[0] if len(self.places) == 1 else None

    @property
    def places(self) -> list[str]:
        """URLs in Chatwoot that may be those of our webhook."""
        if not isinstance(seen := self.account, Account):
            return []

        given = [
            *(row.get("url") for row in seen.webhooks),
            *(row.get("outgoing_url") for row in seen.bots or ()),
            *(row.get("webhook_url") for row in seen.inboxes.values()),
        ]
        path = f"{self.config.url_prefix}/webhook"
        places = {account.place_of(url) for url in given if url}

        return sorted(place for place in places if place.endswith(path))


_KINDS: t.Final = {
    "url": "webhook",
    "outgoing_url": "agent bot",
    "webhook_url": "API inbox",
}
"""What it is, by the key under which Chatwoot has its URL."""
