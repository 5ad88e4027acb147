"""Who gets an answer: the customer, operators, or nobody. Pure functions."""

import typing as t
from enum import StrEnum

from flask_chatwoot.errors import PolicyError, name_of
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.payloads.conversation import Assignee, Speaker
from flask_chatwoot.payloads.fields import storable

from .mode import Mode


class Audience(StrEnum):
    """Who gets an answer."""

    CUSTOMER = "customer"
    """The answer is posted in public."""

    OPERATORS = "operators"
    """The answer becomes a private note."""

    NOBODY = "nobody"
    """The answer is withheld; before the provider, the provider is not called."""


class Decision(t.NamedTuple):
    """A policy's decision.

    :ivar reason: Why the customer gets no answer, for ``turn_finished`` and
        ``flask chatwoot jobs``: a :class:`~flask_chatwoot.Reason`, or a short text.
        For nobody, ``None`` becomes ``Reason.POLICY``.
    """

    audience: Audience
    reason: str | None = None


class PolicySettings(t.NamedTuple):
    """The settings of the built-in policy.

    :ivar statuses: ``CHATWOOT_BOT_STATUSES``.
    :ivar yield_to_assignee: ``CHATWOOT_YIELD_TO_ASSIGNEE``.
    :ivar max_age: ``CHATWOOT_MAX_AGE``, seconds.
    """

    statuses: frozenset[str] = frozenset({"open", "pending"})
    yield_to_assignee: bool = False
    max_age: float = 3600.0


class PolicyContext(t.NamedTuple):
    """The state of a conversation when a policy decides.

    What Chatwoot does not send is ``None``, or the value that restricts nothing.

    :ivar mode: The mode in the attribute, whoever has the conversation.
    :ivar taken: An operator has answered in public, the bot handed the conversation
        off, or a pending one was opened, and it was not returned to the bot since.
    :ivar answered: An operator wrote in public after the question.
    :ivar bot_answered: Another bot, such as Captain, did.
    :ivar status: ``"open"``, ``"pending"``, ``"resolved"`` or ``"snoozed"``.
    :ivar last_speaker: Who wrote the last public message.
    :ivar can_reply: False outside of a channel's messaging window.
    :ivar auto_reply: The question is an e-mail that a machine wrote.
    :ivar age: Seconds since the oldest message of the turn.
    :ivar live: The state was just read from Chatwoot; else it is as of the newest
        delivery.
    :ivar settings: Those of the app.
    """

    mode: Mode
    taken: bool = False
    answered: bool = False
    bot_answered: bool = False
    status: str | None = None
    assignee: Assignee | None = None
    last_speaker: Speaker | None = None
    blocked: bool = False
    can_reply: bool = True
    auto_reply: bool = False
    age: float = 0.0
    inbox_id: int | None = None
    live: bool = False
    settings: PolicySettings = PolicySettings()


PolicyAnswer = Decision | Mode | str
"""What a policy may return: a decision; a mode, which stands for its audience; or the
name of an audience: ``"customer"``, ``"operators"``, ``"nobody"``."""

Policy = t.Callable[[PolicyContext], PolicyAnswer]


def default_policy(context: PolicyContext) -> Decision:
    """The built-in policy: the first line that applies decides.

    - nobody: an e-mail written by a machine, a blocked contact, an operator's answer;
    - operators: a takeover, human mode;
    - nobody: another bot's answer;
    - operators: a status other than ``CHATWOOT_BOT_STATUSES``,
      an assigned operator with ``CHATWOOT_YIELD_TO_ASSIGNEE``, a message older than
      ``CHATWOOT_MAX_AGE`` when its answer comes, a closed messaging window;
    - customer: everything else.
    """
    for holds, audience, reason in _TABLE:
        if holds(context):
            return Decision(audience, reason)

    return Decision(Audience.CUSTOMER)


_Line = tuple[t.Callable[[PolicyContext], bool], Audience, Reason | None]

_TABLE: t.Final[tuple[_Line, ...]] = (
    (lambda c: c.auto_reply, Audience.NOBODY, Reason.AUTO_REPLY),
    (lambda c: c.blocked, Audience.NOBODY, Reason.BLOCKED),
    (lambda c: c.answered, Audience.NOBODY, Reason.ANSWERED),
    (lambda c: c.taken, Audience.OPERATORS, Reason.TAKEN),
    (lambda c: c.mode is Mode.HUMAN, Audience.OPERATORS, None),
    (lambda c: c.bot_answered, Audience.NOBODY, Reason.OTHER_BOT),
    (
        lambda c: c.status is not None and c.status not in c.settings.statuses,
        Audience.OPERATORS,
        Reason.STATUS,
    ),
    (
        lambda c: (
            c.settings.yield_to_assignee
            and c.assignee is not None
            and c.assignee.is_operator
        ),
        Audience.OPERATORS,
        Reason.ASSIGNED,
    ),
    (lambda c: c.age > c.settings.max_age, Audience.OPERATORS, Reason.TOO_OLD),
    (lambda c: not c.can_reply, Audience.OPERATORS, Reason.WINDOW_CLOSED),
)


# -- what a host's policy returned -------------------------------------------------

_HEARD_BY: t.Final[frozenset[str]] = frozenset(Audience)

_AUDIENCES: t.Final = {Mode.BOT: Audience.CUSTOMER, Mode.HUMAN: Audience.OPERATORS}


def decision_from(answer: t.Any, policy: Policy) -> Decision:
    """A policy's return value as a decision.

    :raises PolicyError: It is none. The text has types alone: a value may be a text of
        the customer.
    """
    if isinstance(answer, Mode):
        return Decision(_AUDIENCES[answer])

    if not isinstance(answer, Decision):
        withheld = answer in (Audience.OPERATORS, Audience.NOBODY)
        answer = Decision(answer, Reason.POLICY if withheld else None)

    audience, reason = answer

    if not isinstance(audience, str) or audience not in _HEARD_BY:
        raise PolicyError(
            f"The policy {name_of(policy)} returned {type(audience).__name__}, but no "
            'decision; return a Decision, a Mode, or exactly "customer", "operators" '
            'or "nobody".'
        )

    if reason is None:
        silent = audience == Audience.NOBODY
        return Decision(Audience(audience), Reason.POLICY if silent else None)

    if not isinstance(reason, str):
        raise PolicyError(
            f"The policy {name_of(policy)} gave {type(reason).__name__} as a reason; "
            "it must be text."
        )

    clean = storable(reason)

    # storable() returns a plain str; a Reason is kept as it is.
    return Decision(Audience(audience), reason if clean == reason else clean)
