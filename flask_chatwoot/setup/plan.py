"""Set Chatwoot up through its API: what to do first, then doing it.

::

    seen = account.look(client)
    plan = plan_setup(seen, wishes)

    for step, text in plan.steps:
        done = step.apply(client)

A step looks before it acts, so a second plan is empty. How it is undone:
:mod:`~flask_chatwoot.setup.undo`.
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

from . import account
from .account import BOTS_SIGNED, JSON, SIGNED, Account, Version
from .steps import (
    Attribute,
    Bot,
    Field,
    Link,
    Webhook,
    first,
    meaning,
)
from .undo import Step, listed

LABEL: t.Final = "Whom do you want to write to?"

GUARDED: t.Final[Version] = (4, 14, 0)
GUARD_OPENS: t.Final[Version] = (4, 14, 1)
BOTS_GIVE_UP: t.Final[Version] = (4, 7, 0)


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """How Chatwoot should be set up.

    :ivar url: Of our webhook, without a query.
    :ivar label: The question above the choice; ``None``: the usual one.
    :ivar options: The text for each mode; ``None``: any that means it will do.
    :ivar words: What the app takes option texts for.
    :ivar inbox_ids: Empty: the only website inbox there is.
    :ivar token: What the app wants as ``?token=``.
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
class Plan:
    """What to do, and what to know before.

    :ivar steps: Each with what it will do.
    :ivar already: What is as it should be.
    """

    steps: tuple[tuple[Step, str], ...]
    already: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, steps: t.Iterable[Step], seen: Account, warnings: t.Iterable[str] = ()
    ) -> t.Self:
        """Let every step look."""
        looks = [(step, step.look(seen)) for step in steps]

        return cls(
            steps=tuple((step, look.text) for step, look in looks if look.needed),
            already=tuple(look.text for _, look in looks if not look.needed),
            warnings=tuple(warnings),
        )


def plan_setup(seen: Account, wishes: Wishes) -> Plan:
    """What is left to do.

    :raises SetupError: Something is in the way. Nothing was changed.
    """
    _check_options(wishes)
    inboxes = _chosen(seen, wishes)
    attribute = Attribute(
        wishes.key, wishes.label or LABEL, dict(wishes.options), dict(wishes.words)
    )
    steps: list[Step] = [attribute]
    steps += [
        Field(inbox["id"], wishes.key)
        for inbox in inboxes
        if inbox["id"] in seen.websites
    ]
    place, token = account.place_of(wishes.url), _token(seen, wishes)

    if wishes.agent_bot:
        steps.append(Bot(place, token, wishes.token))
        steps += [Link(inbox["id"], place) for inbox in inboxes]
    else:
        steps.append(Webhook(place, token, wishes.token))

    return Plan.of(steps, seen, _warnings(seen, wishes, inboxes))


# -- what stands in the way, and what to know ----------------------------------


def _check_options(wishes: Wishes) -> None:
    """Refuse texts the app would take for the other mode, or could not be told of."""
    for mode, text in wishes.options.items():
        meant = meaning(text or "", wishes.words)

        if meant not in (None, mode):
            raise SetupError(
                f"The option {text!r} means {meant} to this app and can not be the "
                f"text for {mode}. Choose another."
            )

        if meant is None and "," in (text or ""):
            key = f"CHATWOOT_{mode.upper()}_VALUES"
            raise SetupError(
                f"The option {text!r} has a comma, and {key} in the environment would "
                f"be two texts. Choose another, or name it in app.config[{key!r}], "
                "which takes a list."
            )

    texts = [text for text in wishes.options.values() if text]

    if len(texts) != len({text.strip().casefold() for text in texts}):
        raise SetupError("The options for bot and human must differ.")


def _chosen(seen: Account, wishes: Wishes) -> list[JSON]:
    unknown = [id for id in wishes.inbox_ids if id not in seen.inboxes]
    known = listed(account.name_of(inbox) for inbox in seen.websites.values())

    if unknown:
        raise SetupError(
            f"There is no inbox {unknown[0]} in this account. Website inboxes: {known}."
        )

    if wishes.inbox_ids:
        return [seen.inboxes[id] for id in dict.fromkeys(wishes.inbox_ids)]

    if len(seen.websites) > 1 or (wishes.agent_bot and not seen.websites):
        raise SetupError(f"Choose with --inbox. Website inboxes: {known}.")

    return list(seen.websites.values())


def _token(seen: Account, wishes: Wishes) -> str | None:
    """What goes behind ``?token=``: needed where Chatwoot can not sign.

    :raises SetupError: The webhook that is there has another.
    """
    rows = seen.bots_to if wishes.agent_bot else seen.webhooks_to
    there = first(rows(wishes.url))

    if there is None:
        signs = seen.version >= (BOTS_SIGNED if wishes.agent_bot else SIGNED)
        return wishes.token or (None if signs else secrets.token_urlsafe(24))

    given = account.token_in(there.get("url") or there.get("outgoing_url") or "")

    if wishes.token and given != wishes.token:
        raise SetupError(
            f"Chatwoot delivers to {account.place_of(wishes.url)} without the ?token= "
            "this app wants. Change the URL in Chatwoot or CHATWOOT_WEBHOOK_TOKEN here."
        )

    return given


def _warnings(
    seen: Account, wishes: Wishes, inboxes: t.Sequence[JSON]
) -> t.Iterator[str]:
    yield from _label_warnings(seen, wishes)
    yield from _form_warnings(seen, inboxes, wishes)
    yield from _url_warnings(seen, wishes)

    if wishes.agent_bot:
        yield from _bot_warnings(seen, inboxes)


def _label_warnings(seen: Account, wishes: Wishes) -> t.Iterator[str]:
    there = seen.attribute(wishes.key) or {}
    label = there.get("attribute_display_name")

    if wishes.label and label and label != wishes.label:
        yield (
            f"The attribute {wishes.key} is there and asks {label!r}, which stays. "
            "Settings → Custom Attributes changes it, in the form too."
        )


def _form_warnings(
    seen: Account, inboxes: t.Sequence[JSON], wishes: Wishes
) -> t.Iterator[str]:
    if not any(inbox["id"] in seen.websites for inbox in inboxes):
        yield (
            "No website inbox is chosen, so no form asks the customer, and "
            "CHATWOOT_DEFAULT_MODE decides."
        )

    for inbox in inboxes:
        if inbox["id"] not in seen.websites and not wishes.agent_bot:
            yield f"{account.name_of(inbox)} is no website and has no pre-chat form."


def _url_warnings(seen: Account, wishes: Wishes) -> t.Iterator[str]:
    url, place = wishes.url, account.place_of(wishes.url)
    doubled = seen.webhooks_to(url) if wishes.agent_bot else seen.bots_to(url)

    if doubled:
        other = "An account webhook" if wishes.agent_bot else "An agent bot"
        yield (
            f"{other} delivers to {place} too: everything would come twice. It would "
            "be recognised, but keep only one of them."
        )

    if is_private(url) and seen.version >= GUARDED:
        yield private_remedy(seen.version)

    if urlsplit(url).scheme == "http" and not is_private(url):
        yield f"{place} is not https: customers' messages travel in the clear."


def _bot_warnings(seen: Account, inboxes: t.Sequence[JSON]) -> t.Iterator[str]:
    names = listed(account.name_of(inbox) for inbox in inboxes)
    yield (
        f"With a bot, new conversations in {names} begin as pending: operators do not "
        "see them under Open, and nobody is assigned, until the bot or an operator "
        "opens them. A resolved one is pending again when the customer writes."
    )
    greeting = [account.name_of(i) for i in inboxes if i.get("greeting_enabled")]
    yield (
        "Greetings and out-of-office texts still go out, before or after the bot's "
        f"answer. Inboxes with a greeting that should be switched off: "
        f"{listed(greeting)}."
    )

    if seen.version < BOTS_GIVE_UP:
        yield (
            "Before Chatwoot 4.7 a conversation stays pending when the bot can not be "
            "reached."
        )


def is_private(url: str) -> bool:
    """Whether the host in a URL is one that only neighbours reach. Asks no DNS."""
    host = urlsplit(url).hostname or ""

    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))


def private_remedy(version: Version) -> str:
    """What to do about a private URL; for Chatwoot 4.14 and later."""
    where = "SAFE_FETCH_ALLOW_PRIVATE_NETWORK=true in Chatwoot's own environment"
    remedy = f"Set {where} (web and worker)"

    if version < GUARD_OPENS:
        remedy = f"Upgrade to 4.14.1 and set {where}"

    return (
        "The URL leads to a private address, and Chatwoot 4.14 and later delivers "
        f"nothing there. {remedy}, or use a public URL."
    )


# -- the app's side ------------------------------------------------------------


def environment(wishes: Wishes, client: ChatwootClient) -> dict[str, str]:
    """What the app has to know in any case; no secrets."""
    known = vocabulary()
    lines = {
        "CHATWOOT_BASE_URL": client.base_url,
        "CHATWOOT_ACCOUNT_ID": str(client.account_id),
    }

    if wishes.key != "support_mode":
        lines["CHATWOOT_SUPPORT_MODE_ATTR"] = wishes.key

    for mode in Mode:
        text = wishes.options.get(mode)
        words = [
            word
            for word, meant in wishes.words.items()
            if meant is mode and known.get(word) is not mode and "," not in word
        ]

        if text and meaning(text, wishes.words) is None:
            words.append(text)

        if words:
            lines[f"CHATWOOT_{mode.upper()}_VALUES"] = ",".join(words)

    return lines
