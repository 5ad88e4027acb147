"""Checks of the connection to Chatwoot: address, version, clock, token."""

from __future__ import annotations

import calendar
import time
import typing as t
from urllib.parse import urlsplit

from flask_chatwoot.client.raw import NoAnswer, RawAnswer
from flask_chatwoot.components import ADMIN_TOKEN, OWN_TOKEN
from flask_chatwoot.payloads import versions
from flask_chatwoot.payloads.refusals import origin_of
from flask_chatwoot.payloads.signature import TOLERANCE
from flask_chatwoot.payloads.versions import NEWEST, OLDEST, Version
from flask_chatwoot.setup.account import (
    AccountSettings,
    nested,
    rows,
)
from flask_chatwoot.setup.plan import is_private

from .facts import (
    DoctorContext,
    Finding,
    Findings,
    failed,
    is_bots,
    passed,
    warned,
)

CLOCK_WARNING: t.Final = 60.0
"""Seconds. A larger difference of the clocks gets a warning."""


_FIRST: t.Final[Version] = (0, 0, 0)


class _Limit(t.NamedTuple):
    """A limit of the versions from ``since`` to before ``fixed``.

    :ivar bots: Applies only to the token of an agent bot.
    """

    since: Version
    fixed: Version
    what: str
    remedy: str
    bots: bool = False


_LIMITS: t.Final = (
    _Limit(
        _FIRST,
        versions.KEEPS_MARKERS,
        "does not store the markers of the app's posts: after a post without an "
        "answer, the app compares texts.",
        "Upgrade to 4.9 or later.",
    ),
    _Limit(
        versions.RENDERS,
        versions.RENDERS_NO_MORE,
        "sends customers' texts as HTML; the app derives what they typed.",
        "Upgrade to 4.12.1 or later.",
    ),
    _Limit(
        _FIRST,
        versions.SIGNED,
        "cannot sign deliveries: the URL alone is enough to send a false one.",
        "Upgrade to 4.12 or later; until then set CHATWOOT_WEBHOOK_TOKEN.",
    ),
    _Limit(
        _FIRST,
        versions.BOTS_GIVE_UP,
        "leaves conversations pending when their bot cannot be reached.",
        "Upgrade to 4.7 or later.",
        bots=True,
    ),
    _Limit(
        versions.SIGNED,
        versions.BOTS_SIGNED,
        "does not sign the deliveries of agent bots.",
        "Upgrade to 4.13 or later.",
        bots=True,
    ),
    _Limit(
        _FIRST,
        versions.BOTS_READ,
        "does not let a bot's token read conversations.",
        "Upgrade to 4.14.2 or later, or use a user's token.",
        bots=True,
    ),
    _Limit(
        versions.NO_BOT_ENDPOINTS,
        (4, 16, 1),
        "cannot list agent bots: findings about them are incomplete.",
        "Upgrade to 4.16.1 or later.",
    ),
)


def reachable(context: DoctorContext) -> Findings:
    """A Chatwoot server answers."""
    answer, where = context.api, context.config.base_url

    if isinstance(answer, NoAnswer):
        if answer.tls is None:
            yield failed(
                "chatwoot",
                f"No connection to {where} ({answer.kind}).",
                "Is CHATWOOT_BASE_URL right, and may this machine connect to it? See "
                "also HTTPS_PROXY and NO_PROXY.",
            )
    elif answer.redirect is None and context.server is None:
        yield failed(
            "chatwoot",
            f"{where} answers {answer.status}, but not as Chatwoot does.",
            "Set CHATWOOT_BASE_URL to the address of the Chatwoot server itself, or "
            "see its log.",
        )
    elif context.server:
        yield passed("chatwoot", f"Chatwoot answers at {where}.")


def tls(context: DoctorContext) -> Findings:
    """The token is sent encrypted."""
    url, answer = context.config.base_url or "", context.api

    if isinstance(answer, NoAnswer) and answer.tls is not None:
        yield failed(
            "tls",
            f"The encryption of {url} cannot be trusted: {answer.tls}.",
            "Replace the certificate; if your own authority signed it, name the "
            "authority's file in REQUESTS_CA_BUNDLE. If the server speaks plain HTTP, "
            "write http://.",
        )
    elif isinstance(answer, NoAnswer):
        return
    elif urlsplit(url).scheme == "https":
        yield passed("tls", "The connection to Chatwoot is encrypted.")
    elif is_private(url):
        yield passed("tls", "The connection to Chatwoot is not encrypted, but private.")
    else:
        yield warned(
            "tls",
            "The connection to Chatwoot is not encrypted: the token is sent as plain "
            "text.",
            "Set CHATWOOT_BASE_URL to an https:// address.",
        )


def redirect(context: DoctorContext) -> Findings:
    """The address does not redirect."""
    if not isinstance(context.api, RawAnswer):
        return

    if (target := context.api.redirect) is None:
        yield passed("redirect", "CHATWOOT_BASE_URL does not redirect.")
        return

    yield failed(
        "redirect",
        f"{context.config.base_url} redirects, and the client follows no redirect.",
        f"Set CHATWOOT_BASE_URL to {origin_of(target) or 'the final address'}.",
    )


def version(context: DoctorContext) -> Findings:
    """This version of Chatwoot supports everything the app needs."""
    if context.server is None or context.version is None:
        return

    name, number = f"Chatwoot {context.server['version']}", context.version

    if number < OLDEST:
        yield failed("version", f"{name} is too old.", "Upgrade to 4.2 or later.")
        return

    limits = [
        limit
        for limit in _LIMITS
        if limit.since <= number < limit.fixed and (context.is_bot or not limit.bots)
    ]

    for limit in limits:
        yield warned("version", f"{name} {limit.what}", limit.remedy)

    if not limits:
        later = " is later than 4.16.2, the last that this package was tested with"
        known = " can do all that is needed"
        yield passed("version", f"{name}{known if number <= NEWEST else later}.")


def clock(context: DoctorContext) -> Findings:
    """The clocks agree: a signature is valid for five minutes."""
    there = _server_time(context)

    if there is None:
        return

    ahead = context.clock() - there
    direction = "ahead of" if ahead > 0 else "behind"
    what = f"This machine's clock is {abs(ahead):.0f} s {direction} Chatwoot's"
    remedy = "Synchronise both machines with a time server (NTP)."

    if abs(ahead) > TOLERANCE:
        yield failed(
            "clock",
            f"{what}: signed deliveries are refused ({TOLERANCE} s are allowed).",
            remedy,
        )
    elif abs(ahead) > CLOCK_WARNING:
        yield warned("clock", f"{what}; {TOLERANCE} s are allowed.", remedy)
    else:
        yield passed("clock", "This machine's clock and Chatwoot's agree.")


def _server_time(context: DoctorContext) -> float | None:
    """Chatwoot's clock, in Unix seconds, from ``GET /api`` (UTC)."""
    text = nested(context.server, "timestamp")

    try:
        return float(calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")))
    except (TypeError, ValueError):
        return None


def token(context: DoctorContext) -> Findings:
    """Chatwoot accepts the token."""
    answer = context.profile

    if context.server is None or isinstance(answer, NoAnswer):
        return

    if context.owner is not None:
        yield passed("token", f"The token is that of user {context.owner.get('id')}.")
    elif context.is_bot:
        yield _bots(context.users_profile)
    else:
        yield _refused(answer, OWN_TOKEN)


def _bots(reading: RawAnswer | NoAnswer | None) -> Finding:
    """What is found about the token of an agent bot.

    :param reading: The answer to the token beside it, which may list messages.
    """
    if reading is None:
        return warned(
            "token",
            "The token is an agent bot's and cannot list messages: after a post "
            "without an answer, only its delivery shows that it was made.",
            "To avoid that, set CHATWOOT_USER_ACCESS_TOKEN to a user's token, beside "
            "the bot's.",
        )

    if is_bots(reading):
        return failed(
            "token",
            "The token in CHATWOOT_USER_ACCESS_TOKEN is an agent bot's.",
            "Copy a user's from Profile Settings → Access Token.",
        )

    if isinstance(reading, RawAnswer) and reading.status != 200:
        return _refused(reading, "CHATWOOT_USER_ACCESS_TOKEN")

    return passed(
        "token",
        "The token is an agent bot's; that in CHATWOOT_USER_ACCESS_TOKEN reads what "
        "a bot may not.",
    )


def _refused(answer: RawAnswer, key: str) -> Finding:
    if answer.status != 401:
        return failed(
            "token",
            f"Chatwoot answers {answer.status} to the request for the profile of the "
            f"token in {key}.",
            "See Chatwoot's log, and that of a proxy before it.",
        )

    if isinstance(nested(answer.json, "errors"), list):
        return failed(
            "token",
            "The token does not reach Chatwoot: a proxy drops the header "
            "Api-Access-Token.",
            "Configure the proxy to pass it, or set CHATWOOT_BASE_URL to Chatwoot's "
            "own address.",
        )

    return failed(
        "token",
        f"Chatwoot does not know the token in {key}.",
        "Copy it again from Profile Settings → Access Token.",
    )


def membership(context: DoctorContext) -> Findings:
    """The token's user belongs to the account, as an administrator."""
    if context.owner is None:
        return

    wanted, mine = context.config.account_id, context.membership

    if mine is None:
        accounts = rows(context.owner.get("accounts"))
        ids = ", ".join(str(a.get("id")) for a in accounts) or "none"
        yield failed(
            "account",
            f"The token's user does not belong to account {wanted}, but to: {ids}.",
            "Set CHATWOOT_ACCOUNT_ID to the number in the dashboard's address, or "
            "invite the user to the account.",
        )
        return

    yield passed("account", f"The token's user belongs to account {wanted}.")

    if mine.get("role") == "administrator":
        yield passed("role", "The token's user is an administrator.")
    else:
        yield warned(
            "role",
            f"The token's user has the role {mine.get('role')}: conversations it opens "
            "are assigned to it, and it sees its own inboxes only.",
            "Make it an administrator in Settings → Agents, or a member of every inbox "
            "that is answered.",
        )


def rights(context: DoctorContext) -> Findings:
    """The settings of the account can be read, so that the rest can be checked."""
    found = context.account
    unknown = context.membership is None and not context.is_bot

    if context.server is None or (unknown and not isinstance(found, AccountSettings)):
        return

    if isinstance(found, AccountSettings):
        yield passed("rights", "The settings of the account can be read.")
    elif found.status not in (401, 403):
        yield failed(
            "rights",
            f"The settings of the account cannot be read: {found.why}",
            "See Chatwoot's log, and try again.",
        )
    elif found.status == 403:
        yield failed(
            "rights",
            "The account's plan does not include the API (403).",
            "Choose a plan with API and webhooks.",
        )
    else:
        yield warned(
            "rights",
            f"The token in {context.admin_key} may not read the account's settings, so "
            "attribute, form and webhook are not checked.",
            f"For this command, set {ADMIN_TOKEN} to an administrator's, from Profile "
            "Settings → Access Token.",
        )
