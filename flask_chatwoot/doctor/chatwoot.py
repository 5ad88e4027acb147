"""Checks of what is set up in Chatwoot: attribute, form, webhook, secret, address."""

from __future__ import annotations

import ipaddress
import socket
import typing as t
from urllib.parse import urlsplit

from flask_chatwoot.config import Config
from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.setup import account
from flask_chatwoot.setup.account import EVENTS, JSON, Account
from flask_chatwoot.setup.plan import GUARDED, is_private, private_remedy
from flask_chatwoot.setup.steps import meaning

from .facts import (
    Case,
    Deliverer,
    Finding,
    Findings,
    doubtful,
    fine,
    wrong,
)

_SETUP: t.Final = "Run flask chatwoot setup"
_DAY: t.Final = 86_400.0


def attribute(case: Case) -> Findings:
    """The attribute is there, and its options are understood."""
    if not isinstance(seen := case.account, Account):
        return

    key = case.config.support_mode_attr
    row = seen.attribute(key)

    if row is None:
        yield wrong(
            "attribute",
            f"There is no attribute {key} of conversations.",
            f"{_SETUP}, or set CHATWOOT_SUPPORT_MODE_ATTR to the key of yours.",
        )
    elif row.get("attribute_display_type") != "list":
        yield wrong(
            "attribute",
            f"The attribute {key} is of type {row.get('attribute_display_type')} and "
            "not a list.",
            "Delete it in Settings → Custom Attributes, and run flask chatwoot setup.",
        )
    else:
        yield fine("attribute", f"The attribute {key} is a list.")
        yield from _options(case, row)


def _options(case: Case, row: JSON) -> Findings:
    values = row.get("attribute_values") or []
    meant = {value: meaning(str(value), case.config.words) for value in values}
    missing = [mode for mode in Mode if mode not in meant.values()]
    unknown = [str(value) for value, mode in meant.items() if mode is None]
    remedy = "Name it in CHATWOOT_BOT_VALUES or CHATWOOT_HUMAN_VALUES."

    for mode in missing:
        yield wrong(
            "options",
            f"No option of {row.get('attribute_key')} means {mode} to this app.",
            f"Name its text in CHATWOOT_{mode.upper()}_VALUES, or run flask chatwoot "
            "setup to add one.",
        )

    for value in unknown:
        yield doubtful(
            "options", f"The option {value!r} means nothing to this app.", remedy
        )

    if not (missing or unknown):
        yield fine("options", "Its options mean bot and human to this app.")


def form(case: Case) -> Findings:
    """Some pre-chat form asks the customer, and does not let go without an answer."""
    if not isinstance(seen := case.account, Account) or not seen.websites:
        return

    key = case.config.support_mode_attr
    showing = [box for box in seen.websites.values() if account.shows(box, key)]

    if not showing:
        yield wrong(
            "form",
            f"No pre-chat form shows {key}{_why_not(seen, key)}.",
            f"{_SETUP} --inbox ID, or tick the field in Settings → Inboxes → Pre Chat "
            "Form.",
        )
        return

    names = ", ".join(account.name_of(box) for box in showing)
    yield fine("form", f"The pre-chat form shows {key} in {names}.")
    values = (seen.attribute(key) or {}).get("attribute_values")

    for box in showing:
        field = account.field_of(box, key) or {}

        if not field.get("required"):
            yield doubtful(
                "required",
                f"The field may be left empty in {account.name_of(box)}: then "
                "CHATWOOT_DEFAULT_MODE decides.",
                "Make it required in Settings → Inboxes → Pre Chat Form.",
            )

        if field.get("values") != values:
            yield doubtful(
                "options",
                f"The form of {account.name_of(box)} has other options than the "
                "attribute.",
                "Save the attribute anew in Settings → Custom Attributes.",
            )


def _why_not(seen: Account, key: str) -> str:
    off = [
        account.name_of(box)
        for box in seen.websites.values()
        if account.field_of(box, key)
    ]

    return f"; it is there in {', '.join(off)}, but switched off" if off else ""


def webhook(case: Case) -> Findings:
    """Chatwoot delivers here, each event, once."""
    if not isinstance(case.account, Account):
        return

    if case.url is None:
        places = ", ".join(case.places) or "none"
        yield doubtful(
            "webhook",
            f"It is not clear which webhook in Chatwoot is this app's: {places}.",
            f"Give --url, the address of this app; or {_SETUP.lower()}.",
        )
        return

    if not case.deliverers:
        places = f", but to {', '.join(case.places)}" if case.places else ""
        yield wrong(
            "webhook",
            f"Nothing in Chatwoot delivers to {case.url}{places}.",
            f"{_SETUP}; a webhook made by hand must have exactly this URL, and an "
            "agent bot must be linked to an inbox.",
        )
        return

    first = case.deliverers[0]
    yield fine("webhook", f"Chatwoot's {first.name} delivers to {case.url}.")

    if first.events is not None:
        yield from _events(first.events)

    yield from _doubled(case.deliverers)


def _events(subscribed: t.Sequence[str]) -> Findings:
    missing = [event for event in EVENTS if event not in subscribed]
    remedy = f"{_SETUP}, or tick them in Settings → Integrations → Webhooks."
    what = f"The webhook does not subscribe to {', '.join(missing)}"

    if "message_created" in missing:
        yield wrong("events", f"{what}: no message arrives.", remedy)
    elif missing:
        yield doubtful("events", f"{what}.", remedy)
    else:
        yield fine("events", "The webhook subscribes to all events that are needed.")


def _doubled(deliverers: t.Sequence[Deliverer]) -> Findings:
    if len(deliverers) == 1:
        yield fine("doubled", "Everything is delivered once.")
        return

    names = ", ".join(deliverer.name for deliverer in deliverers)
    yield doubtful(
        "doubled",
        f"The same is delivered {len(deliverers)} times, by {names}.",
        "Delete or unlink all but one in Settings.",
    )


def secret(case: Case) -> Findings:
    """The app has the secret that Chatwoot signs with."""
    config = case.config

    for deliverer in case.deliverers[:1]:
        if not deliverer.signs:
            yield _unsigned(config, deliverer)
        elif not config.webhook_secret:
            yield doubtful(
                "secret",
                "Chatwoot signs its deliveries, and this app does not look.",
                "Set CHATWOOT_WEBHOOK_SECRET to the secret in Chatwoot's settings.",
            )
        elif deliverer.secret in config.webhook_secret:
            yield fine("secret", "CHATWOOT_WEBHOOK_SECRET is what Chatwoot signs with.")
        elif deliverer.secret is not None:
            yield wrong(
                "secret",
                "CHATWOOT_WEBHOOK_SECRET is not what Chatwoot signs with: every "
                "delivery is refused.",
                "Copy it anew from Settings → Integrations → Webhooks, or for an agent "
                "bot from Settings → Bots.",
            )


def _unsigned(config: Config, deliverer: Deliverer) -> Finding:
    if config.webhook_secret:
        return wrong(
            "secret",
            "This version of Chatwoot does not sign these deliveries, and with "
            "CHATWOOT_WEBHOOK_SECRET every one is refused.",
            "Take it away and set CHATWOOT_WEBHOOK_TOKEN, or upgrade Chatwoot.",
        )

    if config.webhook_token is None:
        return doubtful(
            "secret",
            "Nothing tells a delivery of Chatwoot from one of a stranger.",
            "Set CHATWOOT_WEBHOOK_TOKEN, and put it behind the URL as ?token=.",
        )

    if account.token_in(deliverer.url) != config.webhook_token:
        return wrong(
            "secret",
            "The URL in Chatwoot does not carry CHATWOOT_WEBHOOK_TOKEN: every "
            "delivery is refused.",
            "Put it behind the URL in Chatwoot as ?token=.",
        )

    return fine("secret", "The URL in Chatwoot carries CHATWOOT_WEBHOOK_TOKEN.")


def address(case: Case) -> Findings:
    """Chatwoot may deliver to where we are."""
    if case.url is None or case.version is None:
        return

    if not _leads_nowhere_public(case.url):
        yield fine("address", "The URL leads to a public address.")
        return

    if case.version < GUARDED:
        yield fine("address", "The URL is private, which this version allows.")
        return

    age = _last_delivery(case)

    if age is not None and age < _DAY:
        yield fine("address", "The URL is private, and deliveries arrive all the same.")
    elif age is not None:
        yield doubtful(
            "address",
            f"No delivery arrived for {age / _DAY:.0f} days.",
            private_remedy(case.version),
        )
    else:
        yield wrong(
            "address",
            "No delivery ever arrived here.",
            private_remedy(case.version),
        )


def _leads_nowhere_public(url: str) -> bool:
    """Whether all addresses of the host are private, seen from here."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname or "", None)
        addresses = {str(entry[4][0]).partition("%")[0] for entry in found}
    except OSError:
        return is_private(url)

    return not any(ipaddress.ip_address(text).is_global for text in addresses)


def _last_delivery(case: Case) -> float | None:
    """Seconds since a customer's message arrived, if one is remembered."""
    poster = case.bot.poster

    try:
        newest = poster.store.inspection.jobs(limit=1) if poster else []
    except DatabaseError:  # a finding of its own
        return None

    return newest[0].age if newest else None
