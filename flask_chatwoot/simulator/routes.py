"""The endpoints of the simulated API: names, methods, paths, and who may use them."""

from __future__ import annotations

import typing as t

from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.wrappers import Request

from . import files
from .payloads import Version


class Endpoint(t.NamedTuple):
    """One endpoint.

    :ivar bots: The first version that accepts a bot's token; ``None``: none so far.
    :ivar login: Whether a token is needed.
    """

    method: str
    path: str
    bots: Version | None = None
    login: bool = True


_ACCOUNT: t.Final = "/api/v1/accounts/<int:account_id>"
_CONVERSATION: t.Final = f"{_ACCOUNT}/conversations/<int:display_id>"
_ATTRIBUTES: t.Final = f"{_ACCOUNT}/custom_attribute_definitions"
_INBOX: t.Final = f"{_ACCOUNT}/inboxes/<int:id>"

CONVERSATIONS: t.Final[t.Mapping[str, Endpoint]] = {
    "create_message": Endpoint("POST", f"{_CONVERSATION}/messages", bots=(4, 2)),
    "list_messages": Endpoint("GET", f"{_CONVERSATION}/messages"),
    "conversation": Endpoint("GET", _CONVERSATION, bots=(4, 14, 2)),
    "toggle_status": Endpoint("POST", f"{_CONVERSATION}/toggle_status", bots=(4, 2)),
    "toggle_priority": Endpoint(
        "POST", f"{_CONVERSATION}/toggle_priority", bots=(4, 2)
    ),
    "toggle_typing_status": Endpoint(
        "POST", f"{_CONVERSATION}/toggle_typing_status", bots=(4, 12)
    ),
    "custom_attributes": Endpoint(
        "POST", f"{_CONVERSATION}/custom_attributes", bots=(4, 2)
    ),
    "assignments": Endpoint("POST", f"{_CONVERSATION}/assignments", bots=(4, 2)),
    "labels": Endpoint("GET", f"{_CONVERSATION}/labels", bots=(4, 14, 2)),
    "set_labels": Endpoint("POST", f"{_CONVERSATION}/labels", bots=(4, 14, 2)),
}
"""Methods of ``conversations.ConversationEndpoints``."""

INSTALLATION: t.Final[t.Mapping[str, Endpoint]] = {
    "profile": Endpoint("GET", "/api/v1/profile"),
    "account": Endpoint("GET", _ACCOUNT),
    "list_conversations": Endpoint("GET", f"{_ACCOUNT}/conversations"),
    "api": Endpoint("GET", "/api", login=False),
    "file": Endpoint("GET", f"{files.PUBLIC}/<key>/<path:name>", login=False),
    "stored_file": Endpoint("GET", f"{files.STORE}/<key>/<path:name>", login=False),
}
"""Methods of ``api.API``."""

SETTINGS: t.Final[t.Mapping[str, Endpoint]] = {
    "list_attributes": Endpoint("GET", _ATTRIBUTES),
    "create_attribute": Endpoint("POST", _ATTRIBUTES),
    "update_attribute": Endpoint("PATCH", f"{_ATTRIBUTES}/<int:id>"),
    "delete_attribute": Endpoint("DELETE", f"{_ATTRIBUTES}/<int:id>"),
    "list_inboxes": Endpoint("GET", f"{_ACCOUNT}/inboxes"),
    "inbox": Endpoint("GET", _INBOX),
    "update_inbox": Endpoint("PATCH", _INBOX),
}
"""Methods of ``admin.Admin``."""

WEBHOOKS: t.Final[t.Mapping[str, Endpoint]] = {
    "list_webhooks": Endpoint("GET", f"{_ACCOUNT}/webhooks"),
    "create_webhook": Endpoint("POST", f"{_ACCOUNT}/webhooks"),
    "update_webhook": Endpoint("PATCH", f"{_ACCOUNT}/webhooks/<int:id>"),
    "delete_webhook": Endpoint("DELETE", f"{_ACCOUNT}/webhooks/<int:id>"),
    "list_bots": Endpoint("GET", f"{_ACCOUNT}/agent_bots"),
    "create_bot": Endpoint("POST", f"{_ACCOUNT}/agent_bots"),
    "update_bot": Endpoint("PATCH", f"{_ACCOUNT}/agent_bots/<int:id>"),
    "delete_bot": Endpoint("DELETE", f"{_ACCOUNT}/agent_bots/<int:id>"),
    "inbox_bot": Endpoint("GET", f"{_INBOX}/agent_bot"),
    "set_inbox_bot": Endpoint("POST", f"{_INBOX}/set_agent_bot"),
}
"""Methods of ``webhooks.Webhooks``."""

INTEGRATIONS: t.Final[t.Mapping[str, Endpoint]] = {
    "dialogflow": Endpoint("GET", f"{_ACCOUNT}/integrations/apps/dialogflow"),
    "captain_assistants": Endpoint("GET", f"{_ACCOUNT}/captain/assistants"),
    "captain_inboxes": Endpoint(
        "GET", f"{_ACCOUNT}/captain/assistants/<int:id>/inboxes"
    ),
}
"""Methods of ``integrations.Integrations``."""

ADMIN: t.Final = {**SETTINGS, **WEBHOOKS}
BY_NAME: t.Final = {**CONVERSATIONS, **INSTALLATION, **ADMIN, **INTEGRATIONS}

ENDPOINTS: t.Final = tuple(BY_NAME)
"""The names under which faults can be injected."""

_MAP: t.Final = Map(
    [Rule(e.path, endpoint=name, methods=[e.method]) for name, e in BY_NAME.items()]
)


def match(request: Request) -> tuple[str | None, t.Mapping[str, t.Any]]:
    """The endpoint's name and the values in the path; ``None``: no such endpoint."""
    try:
        return _MAP.bind_to_environ(request.environ).match()
    except HTTPException:
        return None, {}
