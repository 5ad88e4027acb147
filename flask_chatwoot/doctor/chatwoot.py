"""Checks of Chatwoot's settings: attribute, form, webhook, secret, address."""

from __future__ import annotations

import ipaddress
import socket
import typing as t
from urllib.parse import urlsplit

from flask_chatwoot.config import Config
from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.payloads import versions
from flask_chatwoot.payloads.events import SUBSCRIPTIONS
from flask_chatwoot.setup import account
from flask_chatwoot.setup.account import JSON, AccountSettings
from flask_chatwoot.setup.plan import is_private, other_bots_in, private_remedy
from flask_chatwoot.setup.steps import meaning

from .facts import (
    DeliverySource,
    DoctorContext,
    Finding,
    Findings,
    failed,
    passed,
    warned,
)

_SETUP: t.Final = "Run flask chatwoot setup"
_SECRETS: t.Final = (
    "Settings → Integrations → Webhooks, or for an agent bot in Settings → Bots"
)
_DAY: t.Final = 86_400.0


def attribute(context: DoctorContext) -> Findings:
    """The attribute exists, and the app understands its options."""
    if not isinstance(found := context.account, AccountSettings):
        return

    key = context.config.support_mode_attr
    row = found.attribute(key)

    if row is None:
        yield failed(
            "attribute",
            f"There is no attribute {key} of conversations.",
            f"{_SETUP}, or set CHATWOOT_SUPPORT_MODE_ATTR to the key of another.",
        )
    elif row.get("attribute_display_type") != "list":
        yield failed(
            "attribute",
            f"The attribute {key} is of type {row.get('attribute_display_type')} and "
            "not a list.",
            "Delete it in Settings → Custom Attributes, and run flask chatwoot setup.",
        )
    else:
        yield passed("attribute", f"The attribute {key} is a list.")
        yield from _options(context, row)


def _options(context: DoctorContext, row: JSON) -> Findings:
    values = row.get("attribute_values") or []
    meant = {value: meaning(str(value), context.config.words) for value in values}
    missing = [mode for mode in Mode if mode not in meant.values()]
    unknown = [str(value) for value, mode in meant.items() if mode is None]
    remedy = "Name it in CHATWOOT_BOT_VALUES or CHATWOOT_HUMAN_VALUES."

    for mode in missing:
        yield failed(
            "options",
            f"No option of {row.get('attribute_key')} means {mode} to this app.",
            f"Name its text in CHATWOOT_{mode.upper()}_VALUES, or run flask chatwoot "
            "setup to add one.",
        )

    for value in unknown:
        yield warned(
            "options", f"The option {value!r} means nothing to this app.", remedy
        )

    if not (missing or unknown):
        yield passed("options", "Its options mean bot and human to this app.")


def form(context: DoctorContext) -> Findings:
    """A pre-chat form asks the customer, and requires an answer."""
    if not isinstance(found := context.account, AccountSettings) or not found.websites:
        return

    key = context.config.support_mode_attr
    showing = [box for box in found.websites.values() if account.shows_field(box, key)]

    if not showing:
        yield failed(
            "form",
            f"No pre-chat form shows {key}{_switched_off(found, key)}.",
            f"{_SETUP} --inbox ID, or tick the field in Settings → Inboxes → Pre Chat "
            "Form.",
        )
        return

    names = ", ".join(account.name_of(box) for box in showing)
    yield passed("form", f"The pre-chat form shows {key} in {names}.")
    values = (found.attribute(key) or {}).get("attribute_values")

    for box in showing:
        field = account.field_of(box, key) or {}

        if not field.get("required"):
            yield warned(
                "required",
                f"The field may be left empty in {account.name_of(box)}: then "
                "CHATWOOT_DEFAULT_MODE decides the mode.",
                "Make it required in Settings → Inboxes → Pre Chat Form.",
            )

        if field.get("values") != values:
            yield warned(
                "options",
                f"The form of {account.name_of(box)} has other options than the "
                "attribute.",
                "Save the attribute again in Settings → Custom Attributes.",
            )


def _switched_off(found: AccountSettings, key: str) -> str:
    off = [
        account.name_of(box)
        for box in found.websites.values()
        if account.field_of(box, key)
    ]

    return f"; it is in {', '.join(off)}, but switched off" if off else ""


def webhook(context: DoctorContext) -> Findings:
    """Chatwoot delivers every event to the app, once."""
    if not isinstance(context.account, AccountSettings):
        return

    if context.url is None:
        addresses = ", ".join(context.addresses) or "there is none"
        yield warned(
            "webhook",
            f"It is not clear which webhook in Chatwoot is this app's: {addresses}.",
            f"Give the address of this app with --url, or {_SETUP.lower()}.",
        )
        return

    if not context.sources:
        addresses = (
            f", but to {', '.join(context.addresses)}" if context.addresses else ""
        )
        yield failed(
            "webhook",
            f"Nothing in Chatwoot delivers to {context.url}{addresses}.",
            f"{_SETUP}; a webhook made by hand must have this URL exactly, and an "
            "agent bot must be linked to an inbox.",
        )
        return

    first = context.sources[0]
    yield passed("webhook", f"Chatwoot's {first.name} delivers to {context.url}.")

    if first.events is not None:
        yield from _events(first.events)

    yield from _duplicates(context.sources)


def _events(subscribed: t.Sequence[str]) -> Findings:
    missing = [event for event in SUBSCRIPTIONS if event not in subscribed]
    remedy = f"{_SETUP}, or tick them in Settings → Integrations → Webhooks."
    what = f"The webhook does not subscribe to {', '.join(missing)}"

    if "message_created" in missing:
        yield failed("events", f"{what}: no message arrives.", remedy)
    elif missing:
        yield warned("events", f"{what}.", remedy)
    else:
        yield passed("events", "The webhook subscribes to all events that are needed.")


def _duplicates(sources: t.Sequence[DeliverySource]) -> Findings:
    if len(sources) == 1:
        yield passed("duplicates", "Every event is delivered once.")
        return

    names = ", ".join(source.name for source in sources)
    yield warned(
        "duplicates",
        f"Every event is delivered {len(sources)} times, by {names}.",
        "Delete or unlink all but one in Settings.",
    )


def other_bots(context: DoctorContext) -> Findings:
    """No other bot answers where this app does."""
    found, url = context.account, context.url

    if not isinstance(found, AccountSettings) or url is None:
        return

    for id in context.inboxes:
        if others := found.other_bots_in(id, url):
            yield warned(
                "bots",
                other_bots_in(found.inboxes[id], others),
                "Disconnect it in Settings, or leave the inbox out of "
                "CHATWOOT_INBOXES.",
            )


def secret(context: DoctorContext) -> Findings:
    """The app has the secret that Chatwoot signs with."""
    config = context.config

    for source in context.sources[:1]:
        if not source.signs:
            yield _unsigned(config, source)
        elif not config.webhook_secret:
            yield warned(
                "secret",
                "Chatwoot signs its deliveries, and this app does not verify them.",
                f"Set CHATWOOT_WEBHOOK_SECRET to the secret in {_SECRETS}.",
            )
        elif source.secret in config.webhook_secret:
            yield passed(
                "secret", "CHATWOOT_WEBHOOK_SECRET is what Chatwoot signs with."
            )
        elif source.secret is not None:
            yield failed(
                "secret",
                "CHATWOOT_WEBHOOK_SECRET is not what Chatwoot signs with: every "
                "delivery is refused.",
                f"Copy it again from {_SECRETS}.",
            )


def _unsigned(config: Config, source: DeliverySource) -> Finding:
    if config.webhook_secret:
        return failed(
            "secret",
            "This version of Chatwoot does not sign these deliveries, and with "
            "CHATWOOT_WEBHOOK_SECRET every one is refused.",
            "Remove it and set CHATWOOT_WEBHOOK_TOKEN, or upgrade Chatwoot.",
        )

    if config.webhook_token is None:
        return warned(
            "secret",
            "The app cannot distinguish a false delivery from one of Chatwoot.",
            "Set CHATWOOT_WEBHOOK_TOKEN to a long random text, and append it to the "
            "URL in Chatwoot as ?token=.",
        )

    if account.token_in(source.url) != config.webhook_token:
        return failed(
            "secret",
            "The URL in Chatwoot does not contain CHATWOOT_WEBHOOK_TOKEN: every "
            "delivery is refused.",
            "Append it to the URL in Chatwoot as ?token=.",
        )

    return passed("secret", "The URL in Chatwoot contains CHATWOOT_WEBHOOK_TOKEN.")


def address(context: DoctorContext) -> Findings:
    """Chatwoot may deliver to the app's address."""
    if context.url is None or context.version is None:
        return

    if not _has_no_public_address(context.url):
        yield passed("address", "The URL is a public address.")
        return

    if context.version < versions.GUARDED:
        yield passed(
            "address",
            "The URL is a private address, which this version of Chatwoot allows.",
        )
        return

    age = _last_delivery(context)

    if age is not None and age < _DAY:
        yield passed("address", "The URL is a private address, and deliveries arrive.")
    elif age is not None:
        yield warned(
            "address",
            f"No delivery arrived for {age / _DAY:.0f} days.",
            private_remedy(context.version),
        )
    else:
        yield failed(
            "address",
            "No delivery has arrived yet.",
            private_remedy(context.version),
        )


def _has_no_public_address(url: str) -> bool:
    """Whether the name resolves, on this machine, to private addresses only."""
    try:
        found = socket.getaddrinfo(urlsplit(url).hostname or "", None)
        addresses = {str(entry[4][0]).partition("%")[0] for entry in found}
    except OSError:
        return is_private(url)

    return not any(ipaddress.ip_address(text).is_global for text in addresses)


def _last_delivery(context: DoctorContext) -> float | None:
    """Seconds since a customer's message arrived; ``None`` if none is stored."""
    try:
        newest = context.store.inspection.jobs(limit=1)
    except DatabaseError:  # reported by the check of the database
        return None

    return newest[0].age if newest else None
