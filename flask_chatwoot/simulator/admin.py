"""What an administrator sets up in a simulated Chatwoot through its API.

This module has custom attributes and inboxes with their pre-chat forms; webhooks and
bots are in ``webhooks``. Both check permissions and validate requests.
An endpoint is a row in ``routes.SETTINGS`` and a method of :class:`Admin` with the same
name and a leading underscore; it gets the parameters and, if its path has one, an id.
"""

from __future__ import annotations

import itertools
import re
import typing as t

from . import routes
from .deliveries import WebhookSender
from .integrations import Integrations
from .parameters import permitted
from .payloads import JSON, Version
from .refusals import RefusedError, found, invalid
from .state import WEBSITE, State, random_text
from .webhooks import Answer, Webhooks

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
NO_BOT_ENDPOINTS: t.Final = (4, 16, 0)
NO_RIGHT: t.Final = "You are not authorized to do this action"

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
        *("out_of_office_message", "enable_email_collect"),
    }
)


class Admin:
    """Answers for one account. Called under the state's lock.

    There are two website inboxes and one for e-mail. Once a bot is linked to any inbox,
    all new conversations begin as *pending*. Deliveries go to the webhooks and bots
    that are made here, if their URLs are on this machine.

    :ivar attributes: What the API shows of each custom attribute, by id.
    :ivar inboxes: What the API shows of each inbox, by id; tests may change it.
    :ivar webhooks: What the API shows of each account webhook, by id.
    :ivar bots: What the API shows of each agent bot, by id.
    :ivar links: Inbox id to the id of its bot.
    :ivar integrations: What else answers in the inboxes.
    """

    def __init__(self, state: State, sender: WebhookSender) -> None:
        self._state = state
        self._ids = itertools.count(11)
        self.attributes: dict[int, JSON] = {}
        self.inboxes = {
            3: _new_inbox(3, "Website"),
            4: _new_inbox(4, "Shop"),
            5: _new_inbox(5, "Mail", channel_type="Channel::Email"),
        }
        self._webhooks = Webhooks(state, sender, self.inboxes, self._ids)
        self.webhooks = self._webhooks.webhooks
        self.bots = self._webhooks.bots
        self.links = self._webhooks.links
        self.integrations = Integrations(self.inboxes, account_id=state.account.id)

    def answer(self, name: str, given: JSON, **ids: int) -> Answer:
        """Status and body.

        :param name: One of ``routes.ADMIN``.
        :param given: The parameters, of the query and of the body.
        :raises RefusedError: The answer is an error.
        """
        self._authorize(name)

        if name in routes.WEBHOOKS:
            return self._webhooks.answer(name, given, **ids)

        answer: Answer = getattr(self, f"_{name}")(given, **ids)

        return answer

    @property
    def bot_tokens(self) -> list[str]:
        """The tokens of all bots."""
        return [row["access_token"] for row in self.bots.values()]

    def _authorize(self, name: str) -> None:
        """Check the role as ``app/policies`` do. The refusal is 401, not 403."""
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
            raise invalid("attribute_key", "conflicts with a default attribute")

        self.attributes[row["id"]] = row

        return 200, row

    def _update_attribute(self, given: JSON, id: int) -> Answer:
        row = found(self.attributes, id) | _attribute(given)
        self._check_attribute(row)
        self.attributes[id] = row

        # app/jobs/inboxes/update_widget_pre_chat_custom_fields_job.rb
        for field in self._fields(row["attribute_key"]):
            field["label"] = field["placeholder"] = row["attribute_display_name"]
            field["values"] = row["attribute_values"]

        return 200, row

    def _delete_attribute(self, given: JSON, id: int) -> Answer:
        key = found(self.attributes, id)["attribute_key"]
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
                raise invalid(key, "can't be blank")

        key, model = str(row["attribute_key"]), row["attribute_model"]

        if self._version >= KEYS_CHECKED and not re.fullmatch(r"[\w.\-]+", key):
            raise invalid("attribute_key", "has an invalid format")

        for other in self.attributes.values():
            same = (other["attribute_key"], other["attribute_model"]) == (key, model)

            if same and other["id"] != row["id"]:
                raise invalid("attribute_key", "has already been taken")

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
        return 200, self._shown(found(self.inboxes, id))

    def _update_inbox(self, given: JSON, id: int) -> Answer:
        row = found(self.inboxes, id)
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

    def _shown(self, row: JSON) -> JSON:
        """Only administrators see secrets."""
        hidden = () if self._state.role == "administrator" else ("secret",)

        return {key: value for key, value in row.items() if key not in hidden}


def default_options() -> JSON:
    """The options of a new inbox (``app/models/channel/web_widget.rb``)."""
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
        "out_of_office_message": None,
        # On in a new inbox of Chatwoot, which then asks by a message of its own.
        "enable_email_collect": False,
    }

    if channel_type == WEBSITE:
        row |= {
            "website_token": random_text(),
            "pre_chat_form_enabled": False,
            "pre_chat_form_options": default_options(),
        }

    return row


def _attribute(given: JSON) -> JSON:
    """What is kept of an attribute; what Ruby's enum does not have is a 500."""
    keys = {
        *("attribute_display_name", "attribute_description", "attribute_key"),
        *("regex_pattern", "regex_cue", "attribute_values"),
        *("attribute_display_type", "attribute_model"),
    }
    row = permitted(given, "custom_attribute_definition", keys)

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
