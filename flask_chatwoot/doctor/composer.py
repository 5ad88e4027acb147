"""Checks of what Chatwoot's composer asks: both routes, as Chatwoot would."""

from __future__ import annotations

import json
import typing as t
from urllib.parse import urlsplit

from flask_chatwoot.client.raw import NoAnswer, RawAnswer, exchange
from flask_chatwoot.copilot.composer import PROBE
from flask_chatwoot.setup import account
from flask_chatwoot.setup.plan import is_private

from .facts import DoctorContext, Finding, Findings, failed, passed, warned

NAME: t.Final = "composer"

_QUESTION: t.Final = json.dumps(
    {
        "model": PROBE,
        "messages": [{"role": "user", "content": "From flask chatwoot doctor."}],
        "stream": False,
    }
).encode()
"""What the app answers by itself, without a provider."""


def composer(context: DoctorContext, webhook: str) -> Findings:
    """The running app answers the composer.

    :param webhook: The URL of the app's webhook, which takes a probe.
    """
    keys = context.config.copilot_token

    if not keys:
        return

    endpoint = webhook.removesuffix("/webhook")
    listed = _asked(context, "GET", f"{endpoint}/v1/models")
    completed = _asked(context, "POST", f"{endpoint}/v1/chat/completions", _QUESTION)
    wrong = _problem(listed, is_listed) or _problem(completed, is_completed)

    if wrong is not None:
        yield wrong
        return

    yield passed(NAME, f"The composer gets answers at {endpoint}.")
    yield from _warnings(endpoint, listed)


def _asked(
    context: DoctorContext, method: str, url: str, body: bytes | None = None
) -> RawAnswer | NoAnswer:
    headers = {
        "Authorization": f"Bearer {context.config.copilot_token[0]}",
        "Content-Type": "application/json",
    }

    return exchange(
        method, url, headers=headers, body=body, timeout=context.config.timeout
    )


def is_listed(answer: RawAnswer) -> bool:
    """Whether it is this package's list of models."""
    return answer.status == 200 and isinstance(
        account.nested(answer.json, "multithread"), bool
    )


def is_completed(answer: RawAnswer) -> bool:
    """Whether it is this package's answer to the question above."""
    return answer.status == 200 and account.nested(answer.json, "model") == PROBE


def _problem(
    answer: RawAnswer | NoAnswer, is_right: t.Callable[[RawAnswer], bool]
) -> Finding | None:
    if isinstance(answer, NoAnswer):
        return failed(
            NAME,
            f"The composer gets no answer of the app ({answer.tls or answer.kind}).",
            "Let Chatwoot pass the proxy before the app on the paths under /v1, too.",
        )

    if is_right(answer):
        return None

    what, remedy = _MEANINGS.get(
        answer.status,
        ("gets an answer that is not the app's", "Is another server before the app?"),
    )

    return failed(NAME, f"The composer {what} ({answer.status}).", remedy)


_KEYS: t.Final = (
    "The running app has another CHATWOOT_COPILOT_TOKEN than this one: set it there, "
    "and restart the app."
)
_MEANINGS: t.Final = {
    400: (
        "is refused",
        "If the app checks for CSRF, add csrf.exempt(chatwoot.blueprint).",
    ),
    401: ("is refused because of its key", _KEYS),
    403: (
        "is forbidden",
        "Let Chatwoot pass the proxy before the app, and the app's own login.",
    ),
    404: ("is not served", _KEYS),
}


def _warnings(endpoint: str, listed: RawAnswer | NoAnswer) -> Findings:
    if urlsplit(endpoint).scheme == "http" and not is_private(endpoint):
        yield warned(
            NAME,
            "Chatwoot sends the key and customers' texts to the app as plain text.",
            "Set CAPTAIN_OPEN_AI_ENDPOINT to an https:// address.",
        )

    if isinstance(listed, RawAnswer) and not listed.json["multithread"]:
        yield warned(
            NAME,
            "Each process of the app's server has one thread, which takes no delivery "
            "while an operator waits for a suggestion.",
            "Give it four, like gunicorn --threads 4.",
        )
