"""The table of settings: the only place where a setting is declared."""

from __future__ import annotations

import functools
import typing as t
from dataclasses import dataclass

from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.ownership.policy import PolicySettings

from . import converters as to
from .numbers import Seconds, Whole

PREFIX: t.Final = "CHATWOOT_"

BACKENDS: t.Final = ("inline", "thread", "celery")
ON_SILENCE: t.Final = ("open", "leave")
SYNCS: t.Final = ("full", "normal")

MOST_WORKERS: t.Final = 1000
"""Threads of one process. A higher number is refused as a mistake."""

OTHER_KEYS: t.Final = frozenset({"CHATWOOT_ADMIN_TOKEN"})
"""Keys that are not settings of the app, but are looked up elsewhere."""

_POLICY: t.Final = PolicySettings()


@dataclass(frozen=True, eq=False)
class Setting:
    """One line of the table.

    :ivar name: The key without ``CHATWOOT_``, in small letters.
    :ivar help: What it means, with units, in one line.
    :ivar advanced: Most apps do not need it.
    """

    name: str
    convert: t.Callable[[t.Any], t.Any]
    default: t.Any
    help: str
    secret: bool = False
    advanced: bool = True

    @property
    def key(self) -> str:
        """The key in ``app.config`` and in the environment."""
        return f"{PREFIX}{self.name.upper()}"

    @property
    def range(self) -> str | None:
        """Which numbers are accepted; ``None`` if it is no number."""
        convert = self.convert

        return convert.range if isinstance(convert, Whole | Seconds) else None


_common = functools.partial(Setting, advanced=False)


SETTINGS: t.Final = (
    _common(
        "base_url",
        to.http_url,
        None,
        "Address of Chatwoot. Redirects are not followed.",
    ),
    _common(
        "account_id",
        Whole(1),
        None,
        "Number in Chatwoot's URLs. Deliveries of other accounts are ignored.",
    ),
    _common(
        "api_access_token",
        to.token,
        None,
        "Token of a user or an agent bot.",
        secret=True,
    ),
    Setting(
        "user_access_token",
        to.token,
        None,
        "Token of a user, for what an agent bot may not read.",
        secret=True,
    ),
    Setting(
        "support_mode_attr",
        to.line,
        "support_mode",
        "Key of the attribute that holds the customer's choice.",
    ),
    _common(
        "webhook_secret",
        to.secrets,
        (),
        "Secret of the webhook; several in a rotation. None: nothing is verified.",
        secret=True,
    ),
    Setting(
        "webhook_token",
        to.token,
        None,
        "For Chatwoot before 4.12: required as ?token= in the webhook's URL.",
        secret=True,
    ),
    _common(
        "copilot_token",
        to.tokens,
        (),
        "Bearer token that /copilot and /v1 require; several in a rotation. None: "
        "every client may call /copilot, and there is no /v1.",
        secret=True,
    ),
    Setting(
        "copilot_one_account",
        to.flag,
        False,
        "Chatwoot has no account but this one, so that /v1 need not compare whose "
        "conversation is meant.",
    ),
    Setting(
        "health_token",
        to.token,
        None,
        "Bearer token that /health requires. Without it, there is no /health.",
        secret=True,
    ),
    Setting(
        "health_max_age",
        Seconds(),
        300.0,
        "Seconds after which an unfinished turn is late in /health.",
    ),
    Setting("url_prefix", to.url_prefix, "/chatwoot", "Path above the endpoints."),
    _common(
        "bot_values",
        to.texts,
        (),
        "Option texts that mean bot, besides the built-in ones.",
    ),
    _common(
        "human_values",
        to.texts,
        (),
        "Option texts that mean human. A hand-off writes the first one.",
    ),
    Setting(
        "default_mode",
        to.mode,
        Mode.HUMAN,
        "bot or human, where the customer has not chosen.",
    ),
    Setting(
        "inboxes",
        to.ids,
        frozenset(),
        "Ids of Chatwoot inboxes: answer in these only. Without it, in all.",
    ),
    Setting(
        "bot_statuses",
        to.statuses,
        _POLICY.statuses,
        "Statuses in which customers are answered: open, pending, resolved, snoozed.",
    ),
    Setting(
        "yield_to_assignee",
        to.flag,
        _POLICY.yield_to_assignee,
        "Post only notes while an operator is assigned.",
    ),
    Setting(
        "max_age",
        Seconds(),
        _POLICY.max_age,
        "Seconds after which a message is not answered.",
    ),
    Setting(
        "max_repeats",
        Whole(0),
        5,
        "Times that the same text in a row is answered within an hour; then operators "
        "get the conversation. 0: any number.",
    ),
    Setting(
        "max_turns_per_hour",
        Whole(0),
        60,
        "Turns that a conversation may have in an hour, and edits of what waits for an "
        "answer; then operators get it. 0: any number.",
    ),
    Setting(
        "burst_window",
        Seconds(zero=True),
        1.5,
        "Seconds without a new message before a turn begins. 0: at once (the default "
        "with inline, and if app.testing).",
    ),
    Setting(
        "burst_max",
        Seconds(),
        30.0,
        "Seconds in all that a turn waits for more messages, or a note is withheld.",
    ),
    _common(
        "fallback_message",
        to.text,
        None,
        "What the customer gets in bot mode when a turn failed for good.",
    ),
    Setting(
        "locale",
        to.locale,
        None,
        "Language of the notes, like de or pt_BR. Without it, the account's (English "
        "if app.testing).",
    ),
    Setting(
        "texts",
        to.operators_texts,
        None,
        "A dict of texts for operators in place of this package's own; or JSON.",
    ),
    Setting(
        "draft_notes",
        to.flag,
        True,
        "In human mode, post the answer as a note. false: operators press the button.",
    ),
    Setting(
        "draft_feedback",
        to.flag,
        False,
        "Compare drafts with what operators send. Keeps their texts for a day at most.",
    ),
    Setting(
        "note_on_failure",
        to.flag,
        False,
        "In human mode, post a note for operators when a turn failed for good.",
    ),
    Setting(
        "on_silence",
        to.one_of(*ON_SILENCE),
        "open",
        "If no answer leaves a conversation pending: open it for operators, or leave.",
    ),
    Setting(
        "max_parts",
        Whole(1),
        4,
        "Messages that a reply too long for the channel may become. The rest: a note.",
    ),
    Setting(
        "typing", to.flag, True, "Show the typing indicator while a provider works."
    ),
    _common(
        "backend",
        to.one_of(*BACKENDS),
        "thread",
        "thread, celery, or inline: inside the request (the default if app.testing).",
    ),
    Setting(
        "celery_app",
        to.object_path,
        None,
        "The host's Celery app, like module:name. Without it, the one in "
        'app.extensions["celery"].',
    ),
    Setting(
        "celery_queue",
        to.line,
        None,
        "Queue of Celery's for the tasks of this package. Without it, Celery's routes.",
    ),
    _common(
        "workers",
        Whole(0, MOST_WORKERS),
        4,
        "Threads of this process. 0: it stores, and flask chatwoot work answers.",
    ),
    Setting(
        "catch_up",
        Seconds(zero=True),
        60.0,
        "Seconds between two looks for what was not delivered. 0: none (the default if "
        "app.testing).",
    ),
    _common(
        "database_url",
        to.database_url,
        f"{to.SQLITE}chatwoot.sqlite3",
        "SQLite file of the queue: sqlite:///name in the instance folder, or an "
        "absolute sqlite:////path. Or postgresql://user:password@host/name.",
    ),
    _common(
        "database_schema",
        to.schema,
        "flask_chatwoot",
        "Schema of the tables in PostgreSQL: one for each account of Chatwoot.",
    ),
    Setting(
        "database_sync",
        to.one_of(*SYNCS),
        "full",
        "full survives power loss, normal a crash of the process.",
    ),
    Setting(
        "timeout",
        Seconds(ceiling="CHATWOOT_LEASE / 2 - 2, and CHATWOOT_SETTLE_TIME - 1"),
        10.0,
        "Seconds that a request to Chatwoot may take.",
    ),
    Setting("max_attempts", Whole(1), 5, "Attempts at one turn before it is dead."),
    Setting(
        "provider_attempts",
        Whole(1),
        3,
        "Attempts of a provider that raises, counted apart, but never more than "
        "CHATWOOT_MAX_ATTEMPTS.",
    ),
    Setting(
        "provider_timeout",
        Seconds(),
        120.0,
        "Seconds after which operators get what a provider has not answered.",
    ),
    Setting(
        "max_body",
        Whole(1),
        16 * 1024 * 1024,
        "Bytes. Larger deliveries are refused with 413.",
    ),
    Setting(
        "lease",
        Seconds(floor="at least 2 * (CHATWOOT_TIMEOUT + 2)"),
        30.0,
        "Seconds after which the job of a worker that gives no sign is claimed by "
        "another.",
    ),
    Setting(
        "retry_pause",
        Seconds(),
        2.0,
        "Seconds before the second attempt; each later one is about six times as long.",
    ),
    Setting(
        "settle_time",
        Seconds(floor="at least CHATWOOT_TIMEOUT + 1"),
        30.0,
        "Seconds until a post without an answer is repeated; more than Chatwoot's "
        "RACK_TIMEOUT_SERVICE_TIMEOUT.",
    ),
)
"""Every setting, in the order in which they are shown."""
