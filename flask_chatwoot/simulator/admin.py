"""What can be set up in a pretended Chatwoot through its API.

Custom attributes, inboxes with their pre-chat forms, account webhooks and agent bots:
who may see and change them, what is kept of a request, what is refused. What is set up
works: deliveries go out to webhooks and bots made here, as long as they stay on this
machine. A new endpoint is a line in ``ENDPOINTS`` and a method of :class:`Office` with
the same name and a leading underscore; it gets the parameters and, if its path names
one, an id.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import typing as t

from .deliveries import Connection, Kind, Post, signs
from .payloads import JSON, Version
from .refusals import RefusedError
from .state import WEBSITE, State, random_text

Answer = tuple[int, JSON | list[JSON] | str]

_BASE: t.Final = "/api/v1/accounts/<int:account_id>"
_ATTRIBUTES: t.Final = f"{_BASE}/custom_attribute_definitions"
_INBOX: t.Final = f"{_BASE}/inboxes/<int:id>"

ENDPOINTS: t.Final[t.Mapping[str, tuple[str, str]]] = {
    "list_attributes": ("GET", _ATTRIBUTES),
    "create_attribute": ("POST", _ATTRIBUTES),
    "update_attribute": ("PATCH", f"{_ATTRIBUTES}/<int:id>"),
    "delete_attribute": ("DELETE", f"{_ATTRIBUTES}/<int:id>"),
    "list_inboxes": ("GET", f"{_BASE}/inboxes"),
    "inbox": ("GET", _INBOX),
    "update_inbox": ("PATCH", _INBOX),
    "inbox_bot": ("GET", f"{_INBOX}/agent_bot"),
    "set_inbox_bot": ("POST", f"{_INBOX}/set_agent_bot"),
    "list_webhooks": ("GET", f"{_BASE}/webhooks"),
    "create_webhook": ("POST", f"{_BASE}/webhooks"),
    "update_webhook": ("PATCH", f"{_BASE}/webhooks/<int:id>"),
    "delete_webhook": ("DELETE", f"{_BASE}/webhooks/<int:id>"),
    "list_bots": ("GET", f"{_BASE}/agent_bots"),
    "create_bot": ("POST", f"{_BASE}/agent_bots"),
    "update_bot": ("PATCH", f"{_BASE}/agent_bots/<int:id>"),
    "delete_bot": ("DELETE", f"{_BASE}/agent_bots/<int:id>"),
}
"""Name to method and path. None of them lets a bot's token in."""

_ANY_MEMBER: t.Final = frozenset(
    {"list_attributes", "list_inboxes", "inbox", "inbox_bot", "list_bots"}
)
_ATTRIBUTE_WRITES: t.Final = frozenset(
    {"create_attribute", "update_attribute", "delete_attribute"}
)
_BOT_ENDPOINTS: t.Final = frozenset(
    {"list_bots", "create_bot", "update_bot", "delete_bot"}
)

ATTRIBUTES_GUARDED: t.Final = (4, 14)
KEYS_CHECKED: t.Final = (4, 11, 2)
BOT_TOKENS_HIDDEN: t.Final = (4, 16)
WEBHOOKS_NAMED: t.Final = (4, 8)
NO_BOT_ENDPOINTS: t.Final = (4, 16, 0)

NOT_FOUND: t.Final = "Resource could not be found"
NO_RIGHT: t.Final = "You are not authorized to do this action"
MAX_URL: t.Final = 2048

MODELS: t.Final = ("conversation_attribute", "contact_attribute")
TYPES: t.Final = (
    *("text", "number", "currency", "percent", "link", "date", "list", "checkbox"),
)
STANDARD_KEYS: t.Final = frozenset(
    {
        *("status", "priority", "assignee_id", "inbox_id", "team_id", "display_id"),
        *("campaign_id", "labels", "browser_language", "country_code", "referer"),
        *("created_at", "last_activity_at"),
    }
)
EVENTS: t.Final = frozenset(
    {
        *("conversation_created", "conversation_status_changed"),
        *("conversation_updated", "contact_created", "contact_updated"),
        *("message_created", "message_updated", "webwidget_triggered"),
        *("conversation_typing_on", "conversation_typing_off"),
        *("inbox_created", "inbox_updated"),
    }
)
FIELD_KEYS: t.Final = frozenset(
    {
        *("field_type", "label", "placeholder", "name", "enabled", "type", "required"),
        *("locale", "values", "regex_pattern", "regex_cue"),
    }
)
INBOX_KEYS: t.Final = frozenset(
    {
        *("name", "greeting_enabled", "greeting_message", "csat_survey_enabled"),
        *("enable_auto_assignment", "allow_messages_after_resolved"),
        *("lock_to_single_conversation", "working_hours_enabled"),
    }
)


class _Line(t.NamedTuple):
    """A way deliveries take, as it was set up."""

    url: str
    kind: Kind
    events: frozenset[str] = frozenset()
    secret: str | None = None
    inbox_id: int | None = None


class Office:
    """Answers for one account. Called under the state's lock.

    There are two website inboxes and one for e-mail. Once a bot is linked to any inbox,
    all new conversations begin as *pending*. All bots write as ``Simulator.bot``.

    :ivar inboxes: What the API shows of each, by id; may be changed by tests.
    """

    def __init__(self, state: State, post: Post) -> None:
        self._state = state
        self._post = post
        self._ids = itertools.count(11)
        self._lines: dict[_Line, Connection | None] = {}
        self.attributes: dict[int, JSON] = {}
        self.webhooks: dict[int, JSON] = {}
        self.bots = {
            state.bot.id: self._new_bot(
                state.bot.id, name=state.bot.name, access_token=state.bot_token
            )
        }
        self.links: dict[int, int] = {}
        """Inbox to its bot."""
        self.inboxes = {
            3: _new_inbox(3, "Website"),
            4: _new_inbox(4, "Shop"),
            5: _new_inbox(5, "Mail", channel_type="Channel::Email"),
        }

    def answer(self, name: str, given: JSON, **ids: int) -> Answer:
        """Status and body.

        :param name: One of :data:`ENDPOINTS`.
        :param given: The parameters, of the query and of the body.
        :raises RefusedError: The answer is an error.
        """
        self._admit(name)
        answer: Answer = getattr(self, f"_{name}")(given, **ids)
        self._wire()

        return answer

    @property
    def bot_tokens(self) -> list[str]:
        """Of all bots."""
        return [row["access_token"] for row in self.bots.values()]

    def _admit(self, name: str) -> None:
        """See ``app/policies``. Who lacks a right gets 401, not 403."""
        if name in _BOT_ENDPOINTS and self._version == NO_BOT_ENDPOINTS:
            raise RefusedError(500)

        free = name in _ANY_MEMBER or (
            name in _ATTRIBUTE_WRITES and self._version < ATTRIBUTES_GUARDED
        )

        if self._state.role != "administrator" and not free:
            raise RefusedError(401, error=NO_RIGHT)

    @property
    def _version(self) -> Version:
        return self._state.version

    # Custom attributes: app/models/custom_attribute_definition.rb

    def _list_attributes(self, given: JSON) -> Answer:
        model = given.get("attribute_model")
        wanted = [_name_of(MODELS, model)] if model else MODELS

        return 200, [
            row for row in self.attributes.values() if row["attribute_model"] in wanted
        ]

    def _create_attribute(self, given: JSON) -> Answer:
        row: JSON = {
            "id": next(self._ids),
            "attribute_display_name": None,
            "attribute_display_type": TYPES[0],
            "attribute_description": None,
            "attribute_key": None,
            "regex_pattern": None,
            "regex_cue": None,
            "attribute_values": [],
            "attribute_model": MODELS[0],
            "default_value": None,
        } | _attribute(given)
        self._check_attribute(row)

        if row["attribute_key"] in STANDARD_KEYS:
            raise _invalid("attribute_key", "conflicts with a default attribute")

        self.attributes[row["id"]] = row

        return 200, row

    def _update_attribute(self, given: JSON, id: int) -> Answer:
        row = _found(self.attributes, id) | _attribute(given)
        self._check_attribute(row)
        self.attributes[id] = row

        # app/jobs/inboxes/update_widget_pre_chat_custom_fields_job.rb
        for field in self._fields(row["attribute_key"]):
            field["label"] = field["placeholder"] = row["attribute_display_name"]
            field["values"] = row["attribute_values"]

        return 200, row

    def _delete_attribute(self, given: JSON, id: int) -> Answer:
        key = _found(self.attributes, id)["attribute_key"]
        del self.attributes[id]

        # app/jobs/inboxes/sync_widget_pre_chat_custom_fields_job.rb
        for inbox in self._websites():
            options = inbox["pre_chat_form_options"]
            fields = [f for f in options["pre_chat_fields"] if f.get("name") != key]
            inbox["pre_chat_form_options"] = _options(
                {**options, "pre_chat_fields": fields}
            )

        return 204, ""

    def _check_attribute(self, row: JSON) -> None:
        for key in ("attribute_display_name", "attribute_key"):
            if not str(row[key] or "").strip():
                raise _invalid(key, "can't be blank")

        key, model = str(row["attribute_key"]), row["attribute_model"]

        if self._version >= KEYS_CHECKED and not re.fullmatch(r"[\w.\-]+", key):
            raise _invalid("attribute_key", "has an invalid format")

        for other in self.attributes.values():
            same = (other["attribute_key"], other["attribute_model"]) == (key, model)

            if same and other["id"] != row["id"]:
                raise _invalid("attribute_key", "has already been taken")

    def _websites(self) -> list[JSON]:
        return [i for i in self.inboxes.values() if i["channel_type"] == WEBSITE]

    def _fields(self, key: str) -> list[JSON]:
        return [
            field
            for inbox in self._websites()
            for field in inbox["pre_chat_form_options"]["pre_chat_fields"]
            if field.get("name") == key
        ]

    # Inboxes: app/controllers/api/v1/accounts/inboxes_controller.rb

    def _list_inboxes(self, given: JSON) -> Answer:
        return 200, {"payload": [self._shown(row) for row in self.inboxes.values()]}

    def _inbox(self, given: JSON, id: int) -> Answer:
        return 200, self._shown(_found(self.inboxes, id))

    def _update_inbox(self, given: JSON, id: int) -> Answer:
        row = _found(self.inboxes, id)
        row |= {key: given[key] for key in given.keys() & INBOX_KEYS}
        channel = given.get("channel")

        if row["channel_type"] == WEBSITE and isinstance(channel, dict):
            if "pre_chat_form_enabled" in channel:
                row["pre_chat_form_enabled"] = bool(channel["pre_chat_form_enabled"])

            if "pre_chat_form_options" in channel:
                row["pre_chat_form_options"] = _options(
                    channel["pre_chat_form_options"]
                )

        return 200, self._shown(row)

    def _inbox_bot(self, given: JSON, id: int) -> Answer:
        _found(self.inboxes, id)
        bot = self.bots.get(self.links.get(id, 0))

        return 200, {"agent_bot": self._shown_bot(bot) if bot else {}}

    def _set_inbox_bot(self, given: JSON, id: int) -> Answer:
        _found(self.inboxes, id)
        bot_id = given.get("agent_bot")

        if bot_id:
            number = int(bot_id) if str(bot_id).isdigit() else 0
            self.links[id] = _found(self.bots, number)["id"]
        else:
            self.links.pop(id, None)

        return 200, ""

    def _shown(self, row: JSON) -> JSON:
        """Only administrators see secrets."""
        hidden = () if self._state.role == "administrator" else ("secret",)

        return {key: value for key, value in row.items() if key not in hidden}

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

        if self._version >= WEBHOOKS_NAMED:
            row.setdefault("name", None)

        if signs("account", self._version):
            row["secret"] = random_text()

        self._check_webhook(row)
        self.webhooks[row["id"]] = row

        return 200, {"payload": {"webhook": row}}

    def _update_webhook(self, given: JSON, id: int) -> Answer:
        row = _found(self.webhooks, id) | self._webhook(given)
        self._check_webhook(row)
        self.webhooks[id] = row

        return 200, {"payload": {"webhook": row}}

    def _delete_webhook(self, given: JSON, id: int) -> Answer:
        _found(self.webhooks, id)
        del self.webhooks[id]

        return 200, ""

    def _webhook(self, given: JSON) -> JSON:
        keys = {"url", "subscriptions"}
        keys |= {"name"} if self._version >= WEBHOOKS_NAMED else set()

        return _permitted(given, "webhook", keys)

    def _check_webhook(self, row: JSON) -> None:
        """See ``app/models/webhook.rb``."""
        if any(
            other["url"] == row["url"] and other["id"] != row["id"]
            for other in self.webhooks.values()
        ):
            raise _invalid("url", "has already been taken")

        if not re.match(r"https?://[^/\s]", str(row["url"] or "")):
            raise _invalid("url", "is invalid")

        events = row["subscriptions"]

        if not isinstance(events, list) or not events or not EVENTS.issuperset(events):
            raise _invalid("subscriptions", "Invalid events")

    # Agent bots: app/controllers/api/v1/accounts/agent_bots_controller.rb

    def _list_bots(self, given: JSON) -> Answer:
        return 200, [self._shown_bot(row) for row in self.bots.values()]

    def _create_bot(self, given: JSON) -> Answer:
        row = self._new_bot(next(self._ids), **_bot(given))
        _check_bot(row)
        self.bots[row["id"]] = row

        return 200, row

    def _update_bot(self, given: JSON, id: int) -> Answer:
        row = _found(self.bots, id) | _bot(given)
        _check_bot(row)
        self.bots[id] = row

        return 200, row

    def _delete_bot(self, given: JSON, id: int) -> Answer:
        _found(self.bots, id)
        del self.bots[id]
        self.links = {inbox: bot for inbox, bot in self.links.items() if bot != id}

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

        if signs("bot", self._version):
            row["secret"] = random_text()

        return row | fields

    def _shown_bot(self, row: JSON) -> JSON:
        hidden = {"secret"}

        if self._version >= BOT_TOKENS_HIDDEN:
            hidden.add("access_token")

        if self._state.role == "administrator":
            hidden.clear()

        return {key: value for key, value in row.items() if key not in hidden}

    # Deliveries

    def _wire(self) -> None:
        """Deliver to what is set up now, and no longer to what is not."""
        wanted = {*self._webhook_lines(), *self._bot_lines()}

        for line in self._lines.keys() - wanted:
            if connection := self._lines.pop(line):
                self._post.disconnect(connection)

        for line in wanted - self._lines.keys():
            self._lines[line] = None

            with contextlib.suppress(ValueError):  # it leads away from this machine
                self._lines[line] = self._post.connect(*line)

    def _webhook_lines(self) -> t.Iterator[_Line]:
        for row in self.webhooks.values():
            events = frozenset(row["subscriptions"])
            yield _Line(row["url"], "account", events, row.get("secret"))

    def _bot_lines(self) -> t.Iterator[_Line]:
        for inbox_id, bot_id in self.links.items():
            row = self.bots[bot_id]

            if row["outgoing_url"]:
                yield _Line(
                    row["outgoing_url"],
                    "bot",
                    secret=row.get("secret"),
                    inbox_id=inbox_id,
                )


def default_options() -> JSON:
    """A form nobody touched (``app/models/channel/web_widget.rb``)."""
    fields = (
        ("emailAddress", "email", "Email Id", True),
        ("fullName", "text", "Full name", False),
        ("phoneNumber", "text", "Phone number", False),
    )

    return {
        "pre_chat_message": "Share your queries or comments here.",
        "pre_chat_fields": [
            {
                "field_type": "standard",
                "label": label,
                "name": name,
                "type": type,
                "required": required,
                "enabled": False,
            }
            for name, type, label, required in fields
        ],
    }


def _options(given: t.Any) -> JSON:
    """What is kept of a form's options: they are replaced as a whole."""
    given = given if isinstance(given, dict) else {}
    fields = given.get("pre_chat_fields")
    kept = [
        {key: value for key, value in field.items() if key in FIELD_KEYS}
        for field in (fields if isinstance(fields, list) else [])
        if isinstance(field, dict)
    ]

    if not kept:
        return default_options()

    message = {key: given[key] for key in ("pre_chat_message",) if key in given}

    return {**message, "pre_chat_fields": kept}


def _new_inbox(id: int, name: str, *, channel_type: str = WEBSITE) -> JSON:
    row: JSON = {
        "id": id,
        "name": name,
        "channel_type": channel_type,
        "greeting_enabled": False,
        "greeting_message": None,
        "csat_survey_enabled": False,
        "enable_auto_assignment": True,
        "allow_messages_after_resolved": True,
        "lock_to_single_conversation": False,
        "working_hours_enabled": False,
    }

    if channel_type == WEBSITE:
        row |= {
            "website_token": random_text(),
            "pre_chat_form_enabled": False,
            "pre_chat_form_options": default_options(),
        }

    return row


def _attribute(given: JSON) -> JSON:
    """What is kept of an attribute; what Ruby's enum can not read is an error."""
    keys = {
        *("attribute_display_name", "attribute_description", "attribute_key"),
        *("regex_pattern", "regex_cue", "attribute_values"),
        *("attribute_display_type", "attribute_model"),
    }
    row = _permitted(given, "custom_attribute_definition", keys)

    for key, names in (("attribute_display_type", TYPES), ("attribute_model", MODELS)):
        if key in row:
            row[key] = _name_of(names, row[key])

    if not isinstance(row.get("attribute_values", []), list):
        del row["attribute_values"]

    return row


def _name_of(names: t.Sequence[str], value: t.Any) -> str:
    if value in names:
        return str(value)

    if str(value).isdigit() and int(value) < len(names):
        return names[int(value)]

    raise RefusedError(500)


def _bot(given: JSON) -> JSON:
    row = _permitted(
        given, "agent_bot", {"name", "description", "outgoing_url", "bot_config"}
    )

    if given.get("bot_type", 0) not in (0, "webhook"):
        raise RefusedError(500)

    return row


def _check_bot(row: JSON) -> None:
    if len(row["outgoing_url"] or "") > MAX_URL:
        raise _invalid("outgoing_url", f"is too long (maximum is {MAX_URL} characters)")


def _permitted(given: JSON, wrapper: str, keys: t.Collection[str]) -> JSON:
    """The parameters that are read, flat or under the resource's name."""
    inner = given.get(wrapper)
    given = inner if isinstance(inner, dict) else given

    return {key: given[key] for key in keys & given.keys()}


def _found(rows: t.Mapping[int, JSON], id: int) -> JSON:
    if id not in rows:
        raise RefusedError(404, error=NOT_FOUND)

    return rows[id]


def _invalid(attribute: str, problem: str) -> RefusedError:
    name = attribute.replace("_", " ").capitalize()

    return RefusedError(422, message=f"{name} {problem}", attributes=[attribute])
