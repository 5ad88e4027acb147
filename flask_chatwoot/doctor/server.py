"""Checks of the way to Chatwoot: connection, version, clock, token."""

from __future__ import annotations

import calendar
import time
import typing as t
from urllib.parse import urlsplit

from flask_chatwoot.payloads.signature import TOLERANCE
from flask_chatwoot.setup.account import (
    NO_BOT_ENDPOINTS,
    SIGNED,
    Account,
    Version,
    inner,
    rows,
)
from flask_chatwoot.setup.plan import is_private

from .facts import Case, Finding, Findings, doubtful, fine, wrong
from .http import Answer, Failure

OLDEST: t.Final[Version] = (4, 2, 0)
NEWEST: t.Final[Version] = (4, 16, 2)
"""The versions whose source this package was compared with."""

UNEASY: t.Final = 60.0
"""Seconds two clocks may differ without a word."""


class _Limit(t.NamedTuple):
    """Something that versions from ``since`` to before ``fixed`` can not do."""

    since: Version
    fixed: Version
    what: str
    remedy: str
    bots: bool = False


_LIMITS: t.Final = (
    _Limit(
        (0, 0, 0),
        (4, 9, 0),
        "does not keep the marks of our posts: one whose answer got lost is recognised "
        "by its text alone.",
        "Upgrade to 4.9 or later.",
    ),
    _Limit(
        (4, 9, 0),
        (4, 12, 1),
        "sends customers' texts as HTML; what they typed is guessed.",
        "Upgrade to 4.12.1 or later.",
    ),
    _Limit(
        (0, 0, 0),
        SIGNED,
        "can not sign deliveries: whoever knows the URL can post there.",
        "Upgrade to 4.12 or later; until then CHATWOOT_WEBHOOK_TOKEN protects.",
    ),
    _Limit(
        (0, 0, 0),
        (4, 7, 0),
        "leaves conversations pending when their bot can not be reached.",
        "Upgrade to 4.7 or later.",
        bots=True,
    ),
    _Limit(
        (4, 12, 0),
        (4, 13, 0),
        "does not sign the deliveries of agent bots.",
        "Upgrade to 4.13 or later.",
        bots=True,
    ),
    _Limit(
        (0, 0, 0),
        (4, 14, 2),
        "does not let a bot's token read conversations.",
        "Upgrade to 4.14.2 or later, or use a user's token.",
        bots=True,
    ),
    _Limit(
        NO_BOT_ENDPOINTS,
        (4, 16, 1),
        "fails to list agent bots: what is said about them here is incomplete.",
        "Upgrade to 4.16.1 or later.",
    ),
)


def reachable(case: Case) -> Findings:
    """Somebody answers, and it is a Chatwoot."""
    answer, where = case.api, case.config.base_url

    if isinstance(answer, Failure):
        if answer.tls is None:
            yield wrong(
                "chatwoot",
                f"No connection to {where} ({answer.kind}).",
                "Is CHATWOOT_BASE_URL right, and may this machine connect to it? See "
                "also HTTPS_PROXY and NO_PROXY.",
            )
    elif answer.redirect is None and case.server is None:
        yield wrong(
            "chatwoot",
            f"{where} answers {answer.status}, but not as Chatwoot does.",
            "Set CHATWOOT_BASE_URL to the address of the Chatwoot server itself, or "
            "see its log.",
        )
    elif case.server:
        yield fine("chatwoot", f"Chatwoot answers at {where}.")


def tls(case: Case) -> Findings:
    """Nobody listens in on the token."""
    url, answer = case.config.base_url or "", case.api

    if isinstance(answer, Failure) and answer.tls is not None:
        yield wrong(
            "tls",
            f"The encryption of {url} can not be trusted: {answer.tls}.",
            "Mend the certificate; if it is your own authority's, name its file in "
            "REQUESTS_CA_BUNDLE. If the server speaks plain HTTP, write http://.",
        )
    elif isinstance(answer, Failure):
        return
    elif urlsplit(url).scheme == "https":
        yield fine("tls", "The connection to Chatwoot is encrypted.")
    elif is_private(url):
        yield fine("tls", "The connection to Chatwoot is not encrypted, but private.")
    else:
        yield doubtful(
            "tls",
            "The connection to Chatwoot is not encrypted: the token travels in the "
            "clear.",
            "Set CHATWOOT_BASE_URL to an https:// address.",
        )


def redirect(case: Case) -> Findings:
    """The address is the final one."""
    if not isinstance(case.api, Answer):
        return

    if (target := case.api.redirect) is None:
        yield fine("redirect", "CHATWOOT_BASE_URL does not redirect.")
        return

    yield wrong(
        "redirect",
        f"{case.config.base_url} redirects, and the token follows no redirect.",
        f"Set CHATWOOT_BASE_URL to {_origin(target) or 'the final address'}.",
    )


def _origin(target: str) -> str | None:
    # No more than the origin: a query could carry a secret.
    try:
        parts = urlsplit(target)
    except ValueError:
        return None

    if not (parts.scheme and parts.hostname):
        return None

    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def version(case: Case) -> Findings:
    """What this version can not do."""
    if case.server is None or case.version is None:
        return

    name, number = f"Chatwoot {case.server['version']}", case.version

    if number < OLDEST:
        yield wrong("version", f"{name} is too old.", "Upgrade to 4.2 or later.")
        return

    limits = [
        limit
        for limit in _LIMITS
        if limit.since <= number < limit.fixed and (case.is_bot or not limit.bots)
    ]

    for limit in limits:
        yield doubtful("version", f"{name} {limit.what}", limit.remedy)

    if not limits:
        later = " is later than the last this package knows, 4.16.2"
        known = " can do all that is needed"
        yield fine("version", f"{name}{known if number <= NEWEST else later}.")


def clock(case: Case) -> Findings:
    """The two clocks agree: signatures are valid for five minutes."""
    there = _server_time(case)

    if there is None:
        return

    ahead = case.clock() - there
    which = "ahead of" if ahead > 0 else "behind"
    what = f"This machine's clock is {abs(ahead):.0f} s {which} Chatwoot's"
    remedy = "Synchronise both machines with a time server (NTP)."

    if abs(ahead) > TOLERANCE:
        yield wrong(
            "clock",
            f"{what}: signed deliveries are refused, {TOLERANCE} s are allowed.",
            remedy,
        )
    elif abs(ahead) > UNEASY:
        yield doubtful("clock", f"{what}; {TOLERANCE} s are allowed.", remedy)
    else:
        yield fine("clock", "This machine's clock and Chatwoot's agree.")


def _server_time(case: Case) -> float | None:
    """Chatwoot's clock, as ``GET /api`` tells it, in UTC."""
    text = inner(case.server, "timestamp")

    try:
        return float(calendar.timegm(time.strptime(text, "%Y-%m-%d %H:%M:%S")))
    except (TypeError, ValueError):
        return None


def token(case: Case) -> Findings:
    """Chatwoot knows the token."""
    answer = case.profile

    if case.server is None or isinstance(answer, Failure):
        return

    if case.owner is not None:
        yield fine("token", f"The token is that of user {case.owner.get('id')}.")
    elif case.is_bot:
        yield doubtful(
            "token",
            "The token is an agent bot's. It can not list messages, so a post whose "
            "answer got lost is found by its delivery alone.",
            "If that matters, set CHATWOOT_API_ACCESS_TOKEN to a user's token.",
        )
    else:
        yield _refused(answer)


def _refused(answer: Answer) -> Finding:
    if answer.status != 401:
        return wrong(
            "token",
            f"Chatwoot answers {answer.status} when asked whose the token is.",
            "See Chatwoot's log, and whatever stands before it.",
        )

    if isinstance(inner(answer.json, "errors"), list):
        return wrong(
            "token",
            "The token does not reach Chatwoot: something before it drops the header "
            "Api-Access-Token.",
            "Let the proxy pass it on; CHATWOOT_BASE_URL may also name Chatwoot "
            "directly.",
        )

    return wrong(
        "token",
        "Chatwoot does not know the token.",
        "Copy it anew from Profile Settings → Access Token into "
        "CHATWOOT_API_ACCESS_TOKEN.",
    )


def membership(case: Case) -> Findings:
    """The user belongs to the account, with which role."""
    if case.owner is None:
        return

    wanted, mine = case.config.account_id, case.membership

    if mine is None:
        accounts = rows(case.owner.get("accounts"))
        ids = ", ".join(str(a.get("id")) for a in accounts) or "none"
        yield wrong(
            "account",
            f"The token's user does not belong to account {wanted}, but to: {ids}.",
            "Set CHATWOOT_ACCOUNT_ID to the number in the dashboard's address, or "
            "invite the user to the account.",
        )
        return

    yield fine("account", f"The token's user belongs to account {wanted}.")

    if mine.get("role") == "administrator":
        yield fine("role", "The token's user is an administrator.")
    else:
        yield doubtful(
            "role",
            f"The token's user has the role {mine.get('role')}: conversations it opens "
            "are assigned to it, and it sees its own inboxes only.",
            "Make it an administrator in Settings → Agents, or a member of every inbox "
            "that is answered.",
        )


def rights(case: Case) -> Findings:
    """The settings of the account can be seen, so that the rest can be checked."""
    seen = case.account
    stranger = case.membership is None and not case.is_bot

    if case.server is None or (stranger and not isinstance(seen, Account)):
        return

    if isinstance(seen, Account):
        yield fine("rights", "The settings of the account can be seen.")
    elif not seen.rights:
        yield wrong(
            "rights",
            f"The settings of the account can not be seen: {seen.why}",
            "See Chatwoot's log, and try again.",
        )
    elif "403" in seen.why:
        yield wrong(
            "rights",
            "The account's plan does not include the API (403).",
            "Choose a plan with API and webhooks.",
        )
    else:
        yield doubtful(
            "rights",
            "The token may not see the account's settings, so attribute, form and "
            "webhook are not checked.",
            "Set CHATWOOT_ADMIN_TOKEN to an administrator's token for this command.",
        )
