"""What a path of Chatwoot's Application API is about, for the texts of errors. Pure."""

import itertools
import re
import typing as t

_NOUNS: t.Final = {
    "agent_bot": "agent bot",
    "agent_bots": "agent bot",
    "agents": "operator",
    "assignments": "assignment",
    "contacts": "contact",
    "conversations": "conversation",
    "custom_attribute_definitions": "custom attribute",
    "custom_attributes": "custom attributes",
    "inboxes": "inbox",
    "labels": "label",
    "messages": "message",
    "set_agent_bot": "agent bot",
    "team": "team",
    "teams": "team",
    "toggle_status": "status",
    "toggle_typing_status": "typing status",
    "webhooks": "webhook",
}
"""What the parts of paths name (Chatwoot's ``config/routes.rb``)."""

_NAMED_IN_BODY: t.Final = {"assignments": "team", "set_agent_bot": "agent bot"}
"""What the body of a request has the id of."""

_ACCOUNT: t.Final = re.compile(r"/api/v1/accounts/[^/]+(?P<rest>/.*)?")


def missing_at(path: str) -> str:
    """A sentence about a 404: what is not there.

    :param path: Without host and query.
    """
    parts = _parts(path)

    if parts is None:
        return "It has nothing under this path."

    nouns = [
        _NOUNS[name]
        for name, id in itertools.pairwise(parts)
        if name in _NOUNS and id.isdecimal()
    ]
    nouns += [_NAMED_IN_BODY[name] for name in parts[-1:] if name in _NAMED_IN_BODY]

    if nouns:
        where = f"no such {' or '.join(nouns)} in the account"
    else:
        where = "no such account" if not parts else "nothing of that in the account"

    return f"There is {where}; see CHATWOOT_ACCOUNT_ID."


def refused_at(path: str) -> str:
    """A sentence about a 422: what was not accepted."""
    known = [_NOUNS[name] for name in _parts(path) or () if name in _NOUNS]

    return f"It does not accept the {known[-1] if known else 'request'}."


def _parts(path: str) -> list[str] | None:
    """The parts after the account; ``None`` where there is no account."""
    found = _ACCOUNT.fullmatch(path)

    return None if found is None else [*filter(None, (found["rest"] or "").split("/"))]
