"""Account webhooks and agent bots of a simulated Chatwoot, and deliveries to them.

An endpoint is a row in ``routes.WEBHOOKS`` and a method of :class:`Webhooks` with the
same name and a leading underscore; it gets the parameters and, if its path has one, an
id.
"""

from __future__ import annotations

import contextlib
import re
import typing as t

from .deliveries import SUBSCRIPTIONS, Connection, Kind, WebhookSender, signs
from .parameters import as_id, as_list, permitted
from .payloads import JSON
from .refusals import RefusedError, found, invalid
from .state import State, random_text

Answer = tuple[int, JSON | list[JSON] | str]
"""Status and body."""

BOT_TOKENS_HIDDEN: t.Final = (4, 16)
WEBHOOKS_NAMED: t.Final = (4, 8)
MAX_URL: t.Final = 2048


class _Target(t.NamedTuple):
    """Where deliveries go, and how, as it was set up."""

    url: str
    kind: Kind
    events: frozenset[str] = frozenset()
    secret: str | None = None
    inbox_id: int | None = None


class Webhooks:
    """The rows of one account. Called under the state's lock.

    All bots write as ``Simulator.bot``.

    :param inboxes: The rows of the inboxes, by id.
    :ivar webhooks: What the API shows of each, by id.
    :ivar bots: What the API shows of each, by id.
    :ivar links: Inbox id to the id of its bot.
    """

    def __init__(
        self,
        state: State,
        sender: WebhookSender,
        inboxes: t.Mapping[int, JSON],
        ids: t.Iterator[int],
    ) -> None:
        self._state = state
        self._sender = sender
        self._inboxes = inboxes
        self._ids = ids
        self._connections: dict[_Target, Connection | None] = {}
        self.webhooks: dict[int, JSON] = {}
        self.bots = {
            state.bot.id: self._new_bot(
                state.bot.id, name=state.bot.name, access_token=state.bot_token
            )
        }
        self.links: dict[int, int] = {}

    def answer(self, name: str, given: JSON, **ids: int) -> Answer:
        """Status and body; see ``Admin.answer``.

        :param name: One of ``routes.WEBHOOKS``.
        """
        answer: Answer = getattr(self, f"_{name}")(given, **ids)
        self._connect_all()

        return answer

    # Account webhooks: app/controllers/api/v1/accounts/webhooks_controller.rb

    def _list_webhooks(self, given: JSON) -> Answer:
        return 200, {"payload": {"webhooks": list(self.webhooks.values())}}

    def _create_webhook(self, given: JSON) -> Answer:
        row: JSON = {
            "id": next(self._ids),
            "url": None,
            "account_id": self._state.account.id,
            "subscriptions": [],
        } | self._webhook(given)

        if self._state.version >= WEBHOOKS_NAMED:
            row.setdefault("name", None)

        if signs("account", self._state.version):
            row["secret"] = random_text()

        self._check_webhook(row)
        self.webhooks[row["id"]] = row

        return 200, {"payload": {"webhook": row}}

    def _update_webhook(self, given: JSON, id: int) -> Answer:
        row = found(self.webhooks, id) | self._webhook(given)
        self._check_webhook(row)
        self.webhooks[id] = row

        return 200, {"payload": {"webhook": row}}

    def _delete_webhook(self, given: JSON, id: int) -> Answer:
        found(self.webhooks, id)
        del self.webhooks[id]

        return 200, ""

    def _webhook(self, given: JSON) -> JSON:
        keys = {"url", "subscriptions"}
        keys |= {"name"} if self._state.version >= WEBHOOKS_NAMED else set()

        return permitted(given, "webhook", keys)

    def _check_webhook(self, row: JSON) -> None:
        """See ``app/models/webhook.rb``."""
        if any(
            other["url"] == row["url"] and other["id"] != row["id"]
            for other in self.webhooks.values()
        ):
            raise invalid("url", "has already been taken")

        if not re.match(r"https?://[^/\s]", str(row["url"] or "")):
            raise invalid("url", "is invalid")

        events = as_list(row["subscriptions"])

        if not events or any(str(event) not in SUBSCRIPTIONS for event in events):
            raise invalid("subscriptions", "Invalid events")

    # Agent bots: app/controllers/api/v1/accounts/agent_bots_controller.rb

    def _list_bots(self, given: JSON) -> Answer:
        return 200, [self._shown_bot(row) for row in self.bots.values()]

    def _create_bot(self, given: JSON) -> Answer:
        row = self._new_bot(next(self._ids), **_bot(given))
        _check_bot(row)
        self.bots[row["id"]] = row

        return 200, row

    def _update_bot(self, given: JSON, id: int) -> Answer:
        row = found(self.bots, id) | _bot(given)
        _check_bot(row)
        self.bots[id] = row

        return 200, row

    def _delete_bot(self, given: JSON, id: int) -> Answer:
        found(self.bots, id)
        del self.bots[id]

        for inbox in [inbox for inbox, bot in self.links.items() if bot == id]:
            del self.links[inbox]

        return 200, ""

    def _inbox_bot(self, given: JSON, id: int) -> Answer:
        found(self._inboxes, id)
        bot = self.bots.get(self.links.get(id, 0))

        return 200, {"agent_bot": self._shown_bot(bot) if bot else {}}

    def _set_inbox_bot(self, given: JSON, id: int) -> Answer:
        found(self._inboxes, id)
        bot_id = given.get("agent_bot")

        if bot_id:
            self.links[id] = found(self.bots, as_id(bot_id) or 0)["id"]
        else:
            self.links.pop(id, None)

        return 200, ""

    def _new_bot(self, id: int, **fields: t.Any) -> JSON:
        row: JSON = {
            "id": id,
            "name": None,
            "description": None,
            "thumbnail": "",
            "outgoing_url": None,
            "bot_type": "webhook",
            "bot_config": {},
            "account_id": self._state.account.id,
            "access_token": random_text(),
            "system_bot": False,
        }

        if signs("bot", self._state.version):
            row["secret"] = random_text()

        return row | fields

    def _shown_bot(self, row: JSON) -> JSON:
        hidden = {"secret"}

        if self._state.version >= BOT_TOKENS_HIDDEN:
            hidden.add("access_token")

        if self._state.role == "administrator":
            hidden.clear()

        return {key: value for key, value in row.items() if key not in hidden}

    # Deliveries

    def _connect_all(self) -> None:
        """Deliver to what is set up now, and to nothing else."""
        wanted = {*self._webhook_targets(), *self._bot_targets()}

        for target in self._connections.keys() - wanted:
            if connection := self._connections.pop(target):
                self._sender.disconnect(connection)

        for target in wanted - self._connections.keys():
            self._connections[target] = None

            with contextlib.suppress(ValueError):  # it is not on this machine
                self._connections[target] = self._sender.connect(*target)

    def _webhook_targets(self) -> t.Iterator[_Target]:
        for row in self.webhooks.values():
            events = frozenset(row["subscriptions"])
            yield _Target(row["url"], "account", events, row.get("secret"))

    def _bot_targets(self) -> t.Iterator[_Target]:
        for inbox_id, bot_id in self.links.items():
            row = self.bots[bot_id]

            if row["outgoing_url"]:
                yield _Target(
                    row["outgoing_url"],
                    "bot",
                    secret=row.get("secret"),
                    inbox_id=inbox_id,
                )


def _bot(given: JSON) -> JSON:
    row = permitted(
        given, "agent_bot", {"name", "description", "outgoing_url", "bot_config"}
    )

    if row.get("outgoing_url") is not None:
        row["outgoing_url"] = str(row["outgoing_url"])

    if given.get("bot_type", 0) not in (0, "webhook"):
        raise RefusedError(500)

    return row


def _check_bot(row: JSON) -> None:
    if len(row["outgoing_url"] or "") > MAX_URL:
        raise invalid("outgoing_url", f"is too long (maximum is {MAX_URL} characters)")
