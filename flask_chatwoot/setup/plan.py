"""Set Chatwoot up through its API: first a plan, then its steps.

::

    current = account.read(client)
    plan = plan_setup(current, request)

    for step, text in plan.steps:
        result = step.apply(client)

A step compares before it writes, so a second plan has no steps.
:mod:`~flask_chatwoot.setup.undo` reverts what the steps did.
"""

from __future__ import annotations

import ipaddress
import secrets
import typing as t
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.errors import SetupError
from flask_chatwoot.ownership.mode import Mode, Vocabulary, vocabulary
from flask_chatwoot.payloads.versions import (
    BOTS_GIVE_UP,
    BOTS_SIGNED,
    GUARD_OPENS,
    GUARDED,
    SIGNED,
    Version,
)

from . import account
from .account import JSON, AccountSettings, listed
from .steps import (
    AgentBotStep,
    AttributeStep,
    BotLinkStep,
    FormFieldStep,
    WebhookStep,
    first,
    meaning,
)
from .undo import SetupStep

LABEL: t.Final = "Whom do you want to write to?"


@dataclass(frozen=True, kw_only=True)
class SetupRequest:
    """How Chatwoot should be set up.

    :ivar url: The app's webhook, without a query.
    :ivar key: Of the attribute that holds the customer's choice.
    :ivar label: The question above the choice; ``None``: :data:`LABEL`.
    :ivar options: The text for each mode; ``None``: any text that means this mode.
    :ivar words: Which mode the app takes an option's text for.
    :ivar inbox_ids: Empty: the only website inbox of the account.
    :ivar token: The ``?token=`` that the app requires.
    """

    url: str
    key: str = "support_mode"
    label: str | None = None
    options: t.Mapping[Mode, str | None] = field(default_factory=dict)
    words: Vocabulary = field(default_factory=vocabulary)
    inbox_ids: tuple[int, ...] = ()
    agent_bot: bool = False
    token: str | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class SetupPlan:
    """What is left to do.

    :ivar steps: Each with a sentence about what it will do.
    :ivar already: A sentence for each step that is done already.
    :ivar warnings: What an administrator should know before the steps are applied.
    """

    steps: tuple[tuple[SetupStep, str], ...]
    already: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        steps: t.Iterable[SetupStep],
        current: AccountSettings,
        warnings: t.Iterable[str] = (),
    ) -> t.Self:
        """Check every step against the account."""
        checks = [(step, step.check(current)) for step in steps]

        return cls(
            steps=tuple((step, check.text) for step, check in checks if check.needed),
            already=tuple(check.text for _, check in checks if not check.needed),
            warnings=tuple(warnings),
        )


def plan_setup(current: AccountSettings, request: SetupRequest) -> SetupPlan:
    """Compare the account with the request. Changes nothing.

    :raises SetupError: Setup is not possible; the text names the remedy.
    """
    _check_options(request)
    inboxes = _chosen(current, request)
    attribute = AttributeStep(
        request.key, request.label or LABEL, dict(request.options), dict(request.words)
    )
    steps: list[SetupStep] = [attribute]
    steps += [
        FormFieldStep(inbox["id"], request.key)
        for inbox in inboxes
        if inbox["id"] in current.websites
    ]
    address, token = account.address_of(request.url), _token(current, request)

    if request.agent_bot:
        steps.append(AgentBotStep(address, token, request.token))
        steps += [BotLinkStep(inbox["id"], address) for inbox in inboxes]
    else:
        steps.append(WebhookStep(address, token, request.token))

    return SetupPlan.of(steps, current, _warnings(current, request, inboxes))


# -- what prevents setup, and warnings -----------------------------------------


def _check_options(request: SetupRequest) -> None:
    """Refuse texts that mean the other mode, or that no setting can hold."""
    for mode, text in request.options.items():
        meant = meaning(text or "", request.words)

        if meant not in (None, mode):
            raise SetupError(
                f"The option {text!r} means {meant} to this app and cannot be the "
                f"text for {mode}. Choose another text."
            )

        if meant is None and "," in (text or ""):
            key = f"CHATWOOT_{mode.upper()}_VALUES"
            raise SetupError(
                f"The option {text!r} has a comma, and {key} in the environment would "
                f"read it as two texts. Choose another text, or add this one to "
                f"app.config[{key!r}], which takes a list."
            )

    texts = [text for text in request.options.values() if text]

    if len(texts) != len({text.strip().casefold() for text in texts}):
        raise SetupError(
            "The options for bot and human must differ. Choose another text."
        )


def _chosen(current: AccountSettings, request: SetupRequest) -> list[JSON]:
    unknown = [id for id in request.inbox_ids if id not in current.inboxes]
    known = listed(account.name_of(inbox) for inbox in current.websites.values())

    if unknown:
        raise SetupError(
            f"This account has no inbox {unknown[0]}. Website inboxes: {known}."
        )

    if request.inbox_ids:
        return [current.inboxes[id] for id in dict.fromkeys(request.inbox_ids)]

    if len(current.websites) > 1 or (request.agent_bot and not current.websites):
        raise SetupError(
            f"Choose an inbox with --inbox. Website inboxes of this account: {known}."
        )

    return list(current.websites.values())


def _token(current: AccountSettings, request: SetupRequest) -> str | None:
    """The value for ``?token=``. Versions that do not sign deliveries need one.

    :raises SetupError: The existing webhook has another.
    """
    rows = current.bots_to if request.agent_bot else current.webhooks_to
    there = first(rows(request.url))

    if there is None:
        signs = current.version >= (BOTS_SIGNED if request.agent_bot else SIGNED)
        return request.token or (None if signs else secrets.token_urlsafe(24))

    given = account.token_in(there.get("url") or there.get("outgoing_url") or "")

    if request.token and given != request.token:
        raise SetupError(
            f"Chatwoot delivers to {account.address_of(request.url)} without the "
            "?token= that this app requires. Change the URL in Chatwoot, or "
            "CHATWOOT_WEBHOOK_TOKEN in this app."
        )

    return given


def _warnings(
    current: AccountSettings, request: SetupRequest, inboxes: t.Sequence[JSON]
) -> t.Iterator[str]:
    yield from _label_warnings(current, request)
    yield from _form_warnings(current, inboxes, request)
    yield from _url_warnings(current, request)
    yield from _moved_warnings(current, request)
    yield from _other_bot_warnings(current, request, inboxes)

    if request.agent_bot:
        yield _pending_warning(inboxes)

    yield from _sent_anyway_warnings(inboxes, always=request.agent_bot)

    if request.agent_bot and current.version < BOTS_GIVE_UP:
        yield (
            "Before Chatwoot 4.7 a conversation stays pending when the bot cannot be "
            "reached."
        )


def _label_warnings(current: AccountSettings, request: SetupRequest) -> t.Iterator[str]:
    there = current.attribute(request.key) or {}
    label = there.get("attribute_display_name")

    if request.label and label and label != request.label:
        yield (
            f"The attribute {request.key} exists with the label {label!r}; setup does "
            "not change that. Settings → Custom Attributes changes it, in the form too."
        )


def _form_warnings(
    current: AccountSettings, inboxes: t.Sequence[JSON], request: SetupRequest
) -> t.Iterator[str]:
    if not any(inbox["id"] in current.websites for inbox in inboxes):
        yield (
            "No website inbox is chosen, so no form asks the customer, and "
            "CHATWOOT_DEFAULT_MODE decides the mode."
        )

    for inbox in inboxes:
        if inbox["id"] not in current.websites and not request.agent_bot:
            yield f"{account.name_of(inbox)} is no website and has no pre-chat form."


def _url_warnings(current: AccountSettings, request: SetupRequest) -> t.Iterator[str]:
    url, address = request.url, account.address_of(request.url)
    doubled = current.webhooks_to(url) if request.agent_bot else current.bots_to(url)

    if doubled:
        other = "An account webhook" if request.agent_bot else "An agent bot"
        yield (
            f"{other} delivers to {address} too, so every message would arrive twice. "
            "The app ignores duplicates, but keep only one of the two."
        )

    if is_private(url) and current.version >= GUARDED:
        yield private_remedy(current.version)

    if urlsplit(url).scheme == "http" and not is_private(url):
        yield f"{address} is not https: customers' messages are sent unencrypted."


def _moved_warnings(current: AccountSettings, request: SetupRequest) -> t.Iterator[str]:
    """An app that gets another host keeps the path of its webhook."""
    path = urlsplit(request.url).path
    addresses = {account.address_of(str(row.get("url"))) for row in current.webhooks}
    addresses -= {account.address_of(request.url)}
    others = sorted(each for each in addresses if urlsplit(each).path == path)

    if others:
        yield (
            f"A webhook to {listed(others)} exists. If that is a former address of "
            "this app, delete it in Settings → Integrations → Webhooks."
        )


def _other_bot_warnings(
    current: AccountSettings, request: SetupRequest, inboxes: t.Sequence[JSON]
) -> t.Iterator[str]:
    # An account webhook delivers the messages of all inboxes.
    heard = inboxes if request.agent_bot else current.inboxes.values()

    for inbox in heard:
        if others := current.other_bots_in(inbox["id"], request.url):
            yield other_bots_in(inbox, others)


def other_bots_in(inbox: JSON, names: t.Iterable[str]) -> str:
    """A sentence about the bots that answer in an inbox besides this app."""
    return (
        f"Customers in {account.name_of(inbox)} are also answered by {listed(names)}; "
        "they get the answer that comes first."
    )


def _sent_anyway_warnings(
    inboxes: t.Sequence[JSON], *, always: bool
) -> t.Iterator[str]:
    """What Chatwoot itself sends (``hook_execution_service.rb``)."""
    greeting = _those(inboxes, lambda inbox: inbox.get("greeting_enabled"))
    others = {
        "Inboxes that ask for the customer's e-mail address": _those(
            inboxes,
            lambda inbox: (
                inbox.get("enable_email_collect")
                and inbox.get("channel_type") == account.WEBSITE
            ),
        ),
        "Inboxes with an out-of-office text": _those(
            inboxes,
            lambda inbox: (
                inbox.get("working_hours_enabled")
                and inbox.get("out_of_office_message")
            ),
        ),
    }

    if not (always or greeting or any(others.values())):
        return

    more = "".join(
        f" {what}: {listed(names)}." for what, names in others.items() if names
    )
    yield (
        "Chatwoot still sends greetings, out-of-office texts and requests for an "
        "e-mail address, before or after the bot's answer. Inboxes whose greeting "
        f"should be switched off: {listed(greeting)}.{more}"
    )


def _those(inboxes: t.Iterable[JSON], holds: t.Callable[[JSON], t.Any]) -> list[str]:
    return [account.name_of(inbox) for inbox in inboxes if holds(inbox)]


def _pending_warning(inboxes: t.Sequence[JSON]) -> str:
    names = listed(account.name_of(inbox) for inbox in inboxes)

    return (
        f"With an agent bot, new conversations in {names} begin as pending: operators "
        "do not see them under Open, and no operator is assigned, until the bot or an "
        "operator opens them. A resolved conversation is pending again when the "
        "customer writes."
    )


def is_private(url: str) -> bool:
    """Whether the host in a URL looks private. Does not look the name up in DNS."""
    host = urlsplit(url).hostname or ""

    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))


def private_remedy(version: Version) -> str:
    """Warning and remedy for a private URL, from Chatwoot 4.14 on."""
    where = "SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true in Chatwoot's own environment"
    remedy = f"Set {where} (web and worker)"

    if version < GUARD_OPENS:
        remedy = f"Upgrade to 4.14.1 and set {where}"

    return (
        "The URL is a private address, and Chatwoot 4.14 and later delivers nothing "
        f"there. {remedy}, or use a public URL."
    )


# -- the app's settings --------------------------------------------------------


def environment(request: SetupRequest, client: ChatwootClient) -> dict[str, str]:
    """The app's settings that are not secret, by key."""
    known = vocabulary()
    lines = {
        "CHATWOOT_BASE_URL": client.base_url,
        "CHATWOOT_ACCOUNT_ID": str(client.account_id),
    }

    if request.key != "support_mode":
        lines["CHATWOOT_SUPPORT_MODE_ATTR"] = request.key

    for mode in Mode:
        text = request.options.get(mode)
        words = [
            word
            for word, meant in request.words.items()
            if meant is mode and known.get(word) is not mode and "," not in word
        ]

        if text and meaning(text, request.words) is None:
            words.append(text)

        if words:
            lines[f"CHATWOOT_{mode.upper()}_VALUES"] = ",".join(words)

    return lines
