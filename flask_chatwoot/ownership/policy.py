"""Who may be told an answer: the customer, operators, or nobody. Pure functions."""

import typing as t
from enum import StrEnum

from flask_chatwoot.outcomes import Reason
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.fields import Object, as_id, as_object

from .mode import Mode


class Audience(StrEnum):
    """Who gets an answer."""

    CUSTOMER = "customer"
    """It is posted in public."""

    OPERATORS = "operators"
    """It becomes a private note."""

    NOBODY = "nobody"
    """It is withheld; if no provider was asked yet, none is."""


class Decision(t.NamedTuple):
    """What a policy says.

    :ivar reason: Why it is not the customer, for ``turn_finished`` and
        ``flask chatwoot jobs``: a :class:`~flask_chatwoot.Reason`, or a short text.
    """

    audience: Audience
    reason: str | None = None


class Assignee(t.NamedTuple):
    """Whom Chatwoot has assigned.

    :ivar type: ``"user"`` or ``"agent_bot"``: a user and a bot may have the same id.
    """

    type: str
    id: int | None


class Speaker(StrEnum):
    """Who wrote a public message."""

    CUSTOMER = "customer"
    OPERATOR = "operator"
    MACHINE = "machine"
    """A bot, an automation, a template."""


class PolicySettings(t.NamedTuple):
    """The settings that the built-in policy goes by.

    :ivar statuses: ``CHATWOOT_BOT_STATUSES``.
    :ivar yield_to_assignee: ``CHATWOOT_YIELD_TO_ASSIGNEE``.
    :ivar max_age: ``CHATWOOT_MAX_AGE``, seconds.
    """

    statuses: frozenset[str] = frozenset({"open", "pending"})
    yield_to_assignee: bool = False
    max_age: float = 3600.0


class PolicyContext(t.NamedTuple):
    """What is known of a conversation when somebody may be told something.

    What Chatwoot does not say is ``None``, or the harmless value.

    :ivar mode: By attribute, whoever has the conversation.
    :ivar taken: A person has answered in public, or was handed the conversation, and
        has not given it back since.
    :ivar answered: A person wrote in public after the question.
    :ivar status: ``"open"``, ``"pending"``, ``"resolved"`` or ``"snoozed"``.
    :ivar last_speaker: Who wrote the last public message.
    :ivar can_reply: False outside of a channel's messaging window.
    :ivar auto_reply: The question is an e-mail that a machine wrote.
    :ivar age: Seconds since the oldest message of the turn.
    :ivar live: Asked just now; else as of the newest delivery.
    """

    mode: Mode
    taken: bool = False
    answered: bool = False
    status: str | None = None
    assignee: Assignee | None = None
    last_speaker: Speaker | None = None
    blocked: bool = False
    can_reply: bool = True
    auto_reply: bool = False
    age: float = 0.0
    inbox_id: int | None = None
    live: bool = False
    rules: PolicySettings = PolicySettings()


Policy = t.Callable[[PolicyContext], Decision | Mode | str]


def default_policy(facts: PolicyContext) -> Decision:
    """The built-in policy: the first line of the table that holds."""
    for holds, audience, reason in _TABLE:
        if holds(facts):
            return Decision(audience, reason)

    return Decision(Audience.CUSTOMER)


_Line = tuple[t.Callable[[PolicyContext], bool], Audience, Reason | None]

_TABLE: t.Final[tuple[_Line, ...]] = (
    (lambda f: f.auto_reply, Audience.NOBODY, Reason.AUTO_REPLY),
    (lambda f: f.blocked, Audience.NOBODY, Reason.BLOCKED),
    (lambda f: f.answered, Audience.NOBODY, Reason.ANSWERED),
    (lambda f: f.taken, Audience.OPERATORS, Reason.TAKEN),
    (lambda f: f.mode is Mode.HUMAN, Audience.OPERATORS, None),
    (
        lambda f: f.status is not None and f.status not in f.rules.statuses,
        Audience.OPERATORS,
        Reason.STATUS,
    ),
    (
        lambda f: (
            f.rules.yield_to_assignee
            and f.assignee is not None
            and f.assignee.type == "user"
        ),
        Audience.OPERATORS,
        Reason.ASSIGNED,
    ),
    (lambda f: f.age > f.rules.max_age, Audience.OPERATORS, Reason.TOO_OLD),
    (lambda f: not f.can_reply, Audience.OPERATORS, Reason.WINDOW_CLOSED),
)


# -- facts from what Chatwoot says of a conversation -----------------------------------


def assignee_of(conversation: Object) -> Assignee | None:
    """Whom Chatwoot has assigned, if anybody."""
    meta = as_object(conversation.get("meta"))
    found = as_object(meta.get("assignee"))

    if not found:
        return None

    # "assignee_type" says "AgentBot" (4.8 and later), the assignee's own "agent_bot".
    kinds = (meta.get("assignee_type"), found.get("type"))
    is_bot = any(kind in ("AgentBot", "agent_bot") for kind in kinds)

    return Assignee("agent_bot" if is_bot else "user", as_id(found.get("id")))


def speaker_of(message: Object) -> Speaker | None:
    """Who wrote a public message; ``None`` for notes and activities."""
    kind = message.get("message_type")

    if message.get("private") or kind in ("activity", 2):
        return None

    if kind in ("incoming", 0):
        return Speaker.CUSTOMER

    return Speaker.OPERATOR if events.is_by_operator(message) else Speaker.MACHINE
