"""What is set up in an account of Chatwoot, as far as it concerns us. Read only.

Needs an administrator's token: nobody else may see webhooks.
"""

from __future__ import annotations

import re
import typing as t
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, SetupError

JSON = dict[str, t.Any]
Version = tuple[int, int, int]

WEBSITE: t.Final = "Channel::WebWidget"
CONVERSATION: t.Final = "conversation_attribute"

EVENTS: t.Final = (
    *("message_created", "message_updated"),
    *("conversation_status_changed", "conversation_updated"),
)
"""What an account webhook has to subscribe to. Bots get them unasked."""

SIGNED: t.Final[Version] = (4, 12, 0)
BOTS_SIGNED: t.Final[Version] = (4, 13, 0)
"""Since when the deliveries of account webhooks are signed, and those of agent bots and
API inboxes."""

NO_BOT_ENDPOINTS: t.Final[Version] = (4, 16, 0)
"""Answers 500 there to whoever comes with a token (pull request 15088)."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """A look at an account.

    :ivar attributes: Custom attributes of conversations.
    :ivar inboxes: Chatwoot inboxes by id.
    :ivar bots: ``None`` where this version can not tell.
    :ivar links: Inbox to the bot that answers there, both by id.
    """

    version: Version
    attributes: tuple[JSON, ...]
    inboxes: t.Mapping[int, JSON]
    webhooks: tuple[JSON, ...]
    bots: tuple[JSON, ...] | None
    links: t.Mapping[int, int]

    @property
    def websites(self) -> dict[int, JSON]:
        """The inboxes that have a pre-chat form."""
        return {
            id: inbox
            for id, inbox in self.inboxes.items()
            if inbox.get("channel_type") == WEBSITE
        }

    def attribute(self, key: str) -> JSON | None:
        """The attribute of conversations with this key."""
        rows = [row for row in self.attributes if row.get("attribute_key") == key]

        return rows[0] if rows else None

    def webhooks_to(self, url: str) -> list[JSON]:
        """The account webhooks that deliver to a URL, whatever their query."""
        return [row for row in self.webhooks if same_place(row.get("url"), url)]

    def bots_to(self, url: str) -> list[JSON]:
        """The agent bots that deliver to a URL, whatever their query."""
        return [
            row for row in self.bots or () if same_place(row.get("outgoing_url"), url)
        ]


def look(client: ChatwootClient) -> Account:
    """Look at everything.

    :raises SetupError: The token is not an administrator's.
    :raises APIError: Chatwoot could not be asked.
    """
    version = parse_version(client.server_version())

    try:
        found = {row["id"]: row for row in inboxes(client) if "id" in row}

        return Account(
            version=version,
            attributes=tuple(attributes(client)),
            inboxes=found,
            webhooks=tuple(webhooks(client)),
            bots=None if version == NO_BOT_ENDPOINTS else tuple(bots(client)),
            links={id: bot["id"] for id in found if (bot := linked_bot(client, id))},
        )
    except APIError as error:
        if error.status != 401:
            raise

        raise SetupError(
            "Chatwoot does not let this token see and change the settings of account "
            f"{client.account_id}. It takes the token of an administrator of that "
            "account: set CHATWOOT_ADMIN_TOKEN for this command."
        ) from None


def attributes(client: ChatwootClient) -> list[JSON]:
    """Custom attributes of conversations."""
    model = {"attribute_model": CONVERSATION}
    listed = client.call("GET", "/custom_attribute_definitions", params=model)

    return [row for row in rows(listed) if row.get("attribute_model") == CONVERSATION]


def inboxes(client: ChatwootClient) -> list[JSON]:
    """Chatwoot inboxes; an agent's token sees its own."""
    return rows(inner(client.call("GET", "/inboxes"), "payload"))


def inbox(client: ChatwootClient, inbox_id: int) -> JSON:
    """One Chatwoot inbox."""
    row = client.call("GET", f"/inboxes/{inbox_id}")

    return row if isinstance(row, dict) else {}


def webhooks(client: ChatwootClient) -> list[JSON]:
    """Account webhooks, with their secrets from Chatwoot 4.12 on."""
    answer = client.call("GET", "/webhooks")

    return rows(inner(answer, "payload", "webhooks"))


def bots(client: ChatwootClient) -> list[JSON]:
    """The account's own agent bots, with tokens and secrets."""
    listed = rows(client.call("GET", "/agent_bots"))

    return [row for row in listed if not row.get("system_bot")]


def linked_bot(client: ChatwootClient, inbox_id: int) -> JSON | None:
    """The bot that answers in an inbox."""
    bot = inner(client.call("GET", f"/inboxes/{inbox_id}/agent_bot"), "agent_bot")

    return bot if isinstance(bot, dict) and bot.get("id") else None


# -- pre-chat forms ------------------------------------------------------------


def options_of(inbox: JSON) -> JSON:
    """The options of an inbox's form, to be changed and sent back as a whole."""
    options = inbox.get("pre_chat_form_options")

    return options if isinstance(options, dict) else {}


def fields_of(inbox: JSON) -> list[JSON]:
    """The fields of an inbox's form, in order."""
    return rows(options_of(inbox).get("pre_chat_fields"))


def field_of(inbox: JSON, key: str) -> JSON | None:
    """The field for an attribute of conversations."""
    found = [field for field in fields_of(inbox) if is_field(field, key)]

    return found[0] if found else None


def is_field(field: JSON, key: str) -> bool:
    """Whether a field asks for this attribute of conversations."""
    return field.get("name") == key and field.get("field_type") == CONVERSATION


def shows(inbox: JSON, key: str) -> bool:
    """Whether customers see the field."""
    field = field_of(inbox, key) or {}

    return bool(inbox.get("pre_chat_form_enabled") and field.get("enabled"))


def name_of(inbox: JSON) -> str:
    """An inbox as people find it."""
    return f"inbox {inbox.get('id')} ({inbox.get('name')})"


# -- URLs ----------------------------------------------------------------------


def place_of(url: str) -> str:
    """A URL as it may be shown: without query, password and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "a URL that is none"

    host = parts.netloc.rpartition("@")[2].lower()

    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def same_place(url: t.Any, other: str) -> bool:
    """Whether two URLs differ in nothing but query and password."""
    return isinstance(url, str) and place_of(url) == place_of(other)


def token_in(url: str) -> str | None:
    """What stands behind ``?token=``."""
    return dict(parse_qsl(urlsplit(url).query)).get("token")


# -- answers -------------------------------------------------------------------


def parse_version(text: str) -> Version:
    """A version that can be compared; zeros for what can not be read."""
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?", text)
    major, minor, patch = (numbers.groups() if numbers else ()) or (0, 0, 0)

    return int(major), int(minor), int(patch or 0)


def inner(answer: t.Any, *keys: str) -> t.Any:
    """What lies under these keys, or ``None``."""
    for key in keys:
        answer = answer.get(key) if isinstance(answer, dict) else None

    return answer


def rows(answer: t.Any) -> list[JSON]:
    """The objects of a list."""
    listed = answer if isinstance(answer, list) else []

    return [row for row in listed if isinstance(row, dict)]
