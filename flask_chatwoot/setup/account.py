"""The settings of a Chatwoot account that this package needs. Read only.

Needs the token of an administrator: other users may not list webhooks.
"""

from __future__ import annotations

import typing as t
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import APIError, SetupError
from flask_chatwoot.payloads import versions
from flask_chatwoot.payloads.versions import Version

JSON = dict[str, t.Any]

WEBSITE: t.Final = "Channel::WebWidget"
CONVERSATION: t.Final = "conversation_attribute"


@dataclass(frozen=True, kw_only=True, repr=False)  # the rows hold secrets
class AccountSettings:
    """The settings of an account, as they were at one moment.

    :ivar attributes: Custom attributes of conversations.
    :ivar inboxes: Chatwoot inboxes by id.
    :ivar bots: ``None`` where this version cannot list them.
    :ivar links: Id of an inbox to id of the agent bot that answers there.
    :ivar answering: Id of an inbox to the names of all bots that answer there: the
        agent bot first, then Captain's assistants and Dialogflow.
    """

    version: Version
    attributes: tuple[JSON, ...]
    inboxes: t.Mapping[int, JSON]
    webhooks: tuple[JSON, ...]
    bots: tuple[JSON, ...] | None
    links: t.Mapping[int, int]
    answering: t.Mapping[int, tuple[str, ...]] = field(default_factory=dict)

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
        """The account webhooks that deliver to a URL, whatever its query."""
        return [row for row in self.webhooks if same_address(row.get("url"), url)]

    def bots_to(self, url: str) -> list[JSON]:
        """The agent bots that deliver to a URL, whatever its query."""
        return [
            row for row in self.bots or () if same_address(row.get("outgoing_url"), url)
        ]

    def other_bots_in(self, inbox_id: int, url: str) -> tuple[str, ...]:
        """The bots that answer in an inbox besides the one that delivers to a URL."""
        names = self.answering.get(inbox_id, ())
        is_ours = self.links.get(inbox_id) in [row["id"] for row in self.bots_to(url)]

        return names[1:] if is_ours else names


def read(client: ChatwootClient) -> AccountSettings:
    """Read all settings.

    :raises SetupError: The token is not an administrator's.
    :raises APIError: A request failed, or Chatwoot does not know the token.
    """
    version = version_of(client.server_version())

    try:
        found = {row["id"]: row for row in inboxes(client) if "id" in row}
        linked = {id: bot for id in found if (bot := linked_bot(client, id))}

        return AccountSettings(
            version=version,
            attributes=tuple(attributes(client)),
            inboxes=found,
            webhooks=tuple(webhooks(client)),
            bots=None if version == versions.NO_BOT_ENDPOINTS else tuple(bots(client)),
            links={id: bot["id"] for id, bot in linked.items()},
            answering=_answering(client, linked),
        )
    except APIError as error:
        if not error.lacks_right:
            raise

        raise SetupError(
            "Chatwoot does not let this token read and change the settings of account "
            f"{client.account_id}: it is mistyped, or not an administrator's. Set "
            "CHATWOOT_ADMIN_TOKEN for this command to the token of an administrator of "
            "that account."
        ) from None


def attributes(client: ChatwootClient) -> list[JSON]:
    """Custom attributes of conversations."""
    model = {"attribute_model": CONVERSATION}
    found = client.call("GET", "/custom_attribute_definitions", params=model)

    return [row for row in rows(found) if row.get("attribute_model") == CONVERSATION]


def inboxes(client: ChatwootClient) -> list[JSON]:
    """The inboxes that the token's user may see."""
    return rows(nested(client.call("GET", "/inboxes"), "payload"))


def inbox(client: ChatwootClient, inbox_id: int) -> JSON:
    """One inbox."""
    row = client.call("GET", f"/inboxes/{inbox_id}")

    return row if isinstance(row, dict) else {}


def webhooks(client: ChatwootClient) -> list[JSON]:
    """Account webhooks; from Chatwoot 4.12 on with their secrets."""
    answer = client.call("GET", "/webhooks")

    return rows(nested(answer, "payload", "webhooks"))


def bots(client: ChatwootClient) -> list[JSON]:
    """The account's own agent bots, with tokens and secrets."""
    found = rows(client.call("GET", "/agent_bots"))

    return [row for row in found if not row.get("system_bot")]


def linked_bot(client: ChatwootClient, inbox_id: int) -> JSON | None:
    """The agent bot that answers in an inbox."""
    bot = nested(client.call("GET", f"/inboxes/{inbox_id}/agent_bot"), "agent_bot")

    return bot if isinstance(bot, dict) and bot.get("id") else None


# -- other bots ----------------------------------------------------------------


def _answering(
    client: ChatwootClient, linked: t.Mapping[int, JSON]
) -> dict[int, tuple[str, ...]]:
    """The names of the bots of each inbox that has any."""
    found = {
        id: [f"the agent bot {bot['id']} ({bot.get('name')})"]
        for id, bot in linked.items()
    }

    for inbox_id, name in [*_captain(client), *_dialogflow(client)]:
        found.setdefault(inbox_id, []).append(name)

    return {id: tuple(names) for id, names in found.items()}


def _captain(client: ChatwootClient) -> t.Iterator[tuple[int, str]]:
    """Captain's assistants, which only the enterprise edition has."""
    path = "/captain/assistants"

    for assistant in rows(nested(_if_there(client, path), "payload")):
        chosen = _if_there(client, f"{path}/{assistant.get('id')}/inboxes")

        for inbox in rows(nested(chosen, "payload")):
            if "id" in inbox:
                yield inbox["id"], f"Captain ({assistant.get('name')})"


def _dialogflow(client: ChatwootClient) -> t.Iterator[tuple[int, str]]:
    hooks = nested(_if_there(client, "/integrations/apps/dialogflow"), "hooks")

    for hook in rows(hooks):
        inbox_id = nested(hook, "inbox", "id")

        if inbox_id and hook.get("status") not in (False, "disabled"):
            yield inbox_id, "Dialogflow"


def _if_there(client: ChatwootClient, path: str) -> t.Any:
    """An answer; ``None`` if this Chatwoot has none: it is no reason to stop."""
    try:
        return client.call("GET", path)
    except APIError as error:
        if error.status is None:
            raise

        return None


# -- pre-chat forms ------------------------------------------------------------


def options_of(inbox: JSON) -> JSON:
    """The options of an inbox's form. Chatwoot replaces them as a whole."""
    options = inbox.get("pre_chat_form_options")

    return options if isinstance(options, dict) else {}


def fields_of(inbox: JSON) -> list[JSON]:
    """The fields of an inbox's form, in order."""
    return rows(options_of(inbox).get("pre_chat_fields"))


def field_of(inbox: JSON, key: str) -> JSON | None:
    """The form's field for an attribute of conversations."""
    found = [field for field in fields_of(inbox) if is_field(field, key)]

    return found[0] if found else None


def is_field(field: JSON, key: str) -> bool:
    """Whether a field is the one for this attribute of conversations."""
    return field.get("name") == key and field.get("field_type") == CONVERSATION


def shows_field(inbox: JSON, key: str) -> bool:
    """Whether customers see the field."""
    field = field_of(inbox, key) or {}

    return bool(inbox.get("pre_chat_form_enabled") and field.get("enabled"))


def enabled_fields(inbox: JSON, *, but: str) -> list[str]:
    """Names of the fields that a form shows, without that of one attribute."""
    return [
        str(field.get("name"))
        for field in fields_of(inbox)
        if field.get("enabled") and not is_field(field, but)
    ]


# -- texts ---------------------------------------------------------------------


def name_of(inbox: JSON) -> str:
    """Id and name of an inbox, for messages."""
    return f"inbox {inbox.get('id')} ({inbox.get('name')})"


def listed(texts: t.Iterable[str]) -> str:
    """Texts in one line."""
    return ", ".join(texts) or "none"


# -- URLs ----------------------------------------------------------------------


def address_of(url: str) -> str:
    """A URL that may be printed: without query, user, password and fragment."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"

    host = parts.netloc.rpartition("@")[2].lower()

    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def same_address(url: t.Any, other: str) -> bool:
    """Whether two URLs are equal except for query, user, password and fragment."""
    return isinstance(url, str) and address_of(url) == address_of(other)


def token_in(url: str) -> str | None:
    """The value of ``?token=``."""
    return dict(parse_qsl(urlsplit(url).query)).get("token")


# -- answers -------------------------------------------------------------------


def version_of(text: str) -> Version:
    """A server version; zeros, which are too old, if the text is not a version."""
    return versions.parse(text) or (0, 0, 0)


def nested(answer: t.Any, *keys: str) -> t.Any:
    """The value at a path of keys in nested objects, or ``None``."""
    for key in keys:
        answer = answer.get(key) if isinstance(answer, dict) else None

    return answer


def rows(answer: t.Any) -> list[JSON]:
    """The objects in a list; empty if the answer is not a list."""
    found = answer if isinstance(answer, list) else []

    return [row for row in found if isinstance(row, dict)]
