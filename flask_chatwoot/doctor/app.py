"""Checks of the app itself: configuration, webhook, inbox, workers, provider."""

from __future__ import annotations

import json
import time
import typing as t
from urllib.parse import urlencode

from flask_chatwoot.errors import (
    DatabaseError,
    NoProviderError,
    ProviderError,
    ProviderFailedError,
)
from flask_chatwoot.outcomes import DeliveryOutcome, Reason
from flask_chatwoot.payloads import signature
from flask_chatwoot.queue.inspection import JobRow
from flask_chatwoot.queue.jobs import Inbox
from flask_chatwoot.setup import account

from .facts import Case, Finding, Findings, doubtful, fine, wrong
from .http import Answer, Failure, exchange

PROBE: t.Final = "flask_chatwoot_probe"
"""The event a probe names: authentic, and of no interest to anybody."""

QUESTION: t.Final = "Hello, can you hear me?"

PATIENCE: t.Final = 60.0
"""Seconds after which a job that nobody has begun is conspicuous."""

_SLOW: t.Final = 60.0


def configuration(case: Case) -> Findings:
    """Everything needed is set, and no door is open."""
    missing = case.config.missing

    for key in missing:
        yield wrong("configuration", f"{key} is not set.", f"Set {key}.")

    for door in case.config.unprotected:
        path, _, key = door.partition(" ")
        yield doubtful(
            "configuration",
            f"Anybody may call {case.config.url_prefix}{path}.",
            f"Set {key.strip('()')}.",
        )

    if not (missing or case.config.unprotected):
        yield fine("configuration", "All needed keys are set.")


def probe(case: Case) -> Findings:
    """A delivery like Chatwoot's is taken at our own URL."""
    if case.url is None:
        return

    answer = exchange(
        "POST",
        _probe_url(case, case.url),
        headers=_signed(case, _PROBE_BODY),
        body=_PROBE_BODY,
        timeout=case.config.timeout,
    )
    yield _judged(case.url, answer)


_PROBE_BODY: t.Final = json.dumps({"event": PROBE}).encode()


def _probe_url(case: Case, url: str) -> str:
    """With the token Chatwoot has, else with ours."""
    tokens = [account.token_in(deliverer.url) for deliverer in case.deliverers]
    token = tokens[0] if tokens else case.config.webhook_token

    return f"{url}?{urlencode({'token': token})}" if token else url


def _signed(case: Case, body: bytes) -> dict[str, str]:
    """With the secret Chatwoot has, else with ours."""
    known = [deliverer.secret for deliverer in case.deliverers if deliverer.secret]
    headers = {"Content-Type": "application/json", "Accept": "application/json"}

    if secrets := [*known, *case.config.webhook_secret]:
        timestamp = str(int(time.time()))
        headers[signature.TIMESTAMP_HEADER] = timestamp
        headers[signature.SIGNATURE_HEADER] = signature.sign(
            body, secret=secrets[0], timestamp=timestamp
        )

    return headers


def _judged(url: str, answer: Answer | Failure) -> Finding:
    if isinstance(answer, Failure):
        return wrong(
            "probe",
            f"A probe does not reach {url} ({answer.tls or answer.kind}).",
            "Is the app running there, and may this machine connect to it?",
        )

    said = answer.json
    ours = (
        answer.status == 200
        and account.inner(said, "status") == DeliveryOutcome.IGNORED
    )

    if ours and account.inner(said, "reason") == Reason.NOT_CONFIGURED:
        return wrong(
            "probe",
            f"The app at {url} is not configured.",
            "Set the same keys there as here, and restart it.",
        )

    if ours:
        return fine("probe", f"A signed probe to {url} is accepted.")

    what, remedy = _MEANINGS.get(answer.status, ("does not answer as this app", ""))

    if answer.redirect is not None:
        what = "redirects, and Chatwoot before 4.14 does not follow"
        remedy = "Give Chatwoot the final URL; mind the slash at the end."

    return wrong(
        "probe",
        f"{url} {what} ({answer.status}).",
        remedy or "Is this the address of this app, and does nothing stand before it?",
    )


_MEANINGS: t.Final = {
    400: (
        "refuses a probe",
        "Does something check for CSRF? csrf.exempt(chatwoot.blueprint).",
    ),
    401: (
        "refuses a signed probe",
        "The running app has another CHATWOOT_WEBHOOK_SECRET or CHATWOOT_WEBHOOK_TOKEN "
        "than Chatwoot: set it there, and restart it.",
    ),
    403: (
        "forbids a probe",
        "Let what stands before the app, or the app's own login, pass Chatwoot.",
    ),
    404: (
        "is not there",
        "Compare the URL in Chatwoot with the app's address and CHATWOOT_URL_PREFIX.",
    ),
    500: ("fails", "See the log of the app: its inbox may be out of reach."),
}


def inbox(case: Case) -> Findings:
    """The inbox can be written; what lies in it."""
    if case.bot.poster is None:
        return

    store = case.bot.poster.inbox

    try:
        store.retry(())  # takes the lock of a writer, and changes nothing
        waiting, dead = store.jobs(state="waiting"), store.jobs(state="dead")
        claimed = store.jobs(state="claimed")
    except DatabaseError as error:
        yield wrong(
            "inbox",
            f"{error}",
            "Set CHATWOOT_DATABASE_URL to a file on a local disk that the app may "
            "write; a file that is broken can only be moved away.",
        )
        return

    yield fine("inbox", "The inbox can be written.")
    yield from _age(waiting)
    yield from _dead(dead)
    yield from _workers(case, store, waiting, claimed)


def _age(waiting: list[JobRow]) -> Findings:
    oldest = max((job.age for job in waiting), default=0.0)
    what = f"The oldest of {len(waiting)} waiting jobs is {oldest:.0f} s old."

    if oldest > _SLOW:
        yield doubtful(
            "age",
            what,
            "flask chatwoot jobs --state waiting tells more; more CHATWOOT_WORKERS "
            "help if the provider is slow.",
        )
    else:
        yield fine("age", what if waiting else "No job is waiting.")


def _dead(dead: list[JobRow]) -> Findings:
    if not dead:
        yield fine("dead", "No job is dead.")
        return

    reasons = ", ".join(sorted({job.reason or "unknown" for job in dead}))
    yield doubtful(
        "dead",
        f"{len(dead)} customers' messages were given up ({reasons}).",
        "Mend the cause, then flask chatwoot jobs retry --dead; or forget them with "
        "flask chatwoot jobs prune --dead.",
    )


def _workers(
    case: Case, store: Inbox, waiting: list[JobRow], claimed: list[JobRow]
) -> Findings:
    """Work that is left lying tells more than any sign of life."""
    alive = store.health().workers
    busy = {job.conversation_id for job in claimed}
    idle = [
        job
        for job in _first_in_line(waiting)
        if job.conversation_id not in busy
        and job.attempts == 0
        and job.age > max(PATIENCE, 2 * store.lease)
    ]

    if not idle and (alive or case.config.backend == "inline"):
        yield fine("workers", f"No job is left lying; threads at work: {alive}.")
    elif not idle:
        yield doubtful("workers", "No worker gave a sign of life lately.", _start(case))
    elif claimed:
        yield doubtful(
            "workers",
            f"{len(idle)} jobs were not begun yet, and {len(claimed)} are under way.",
            "If that lasts, raise CHATWOOT_WORKERS, or set a time limit in the "
            "provider.",
        )
    else:
        yield wrong("workers", f"Nobody works on {len(idle)} jobs.", _start(case))


def _first_in_line(waiting: list[JobRow]) -> list[JobRow]:
    """The others wait for these."""
    first: dict[int, JobRow] = {}

    for job in sorted(waiting, key=lambda job: job.id):
        first.setdefault(job.conversation_id, job)

    return list(first.values())


def _start(case: Case) -> str:
    if case.config.backend == "thread" and not case.config.workers:
        return "CHATWOOT_WORKERS is 0: start flask chatwoot work, beside the app."

    return (
        "Is the app running, and did it serve a request since it was started? Else run "
        "flask chatwoot work."
    )


def provider(case: Case) -> Findings:
    """Somebody is there to answer; with ``ask``, does."""
    if not case.bot.providers:
        yield wrong(
            "provider",
            "No reply provider is registered.",
            "Decorate a function with @chatwoot.reply_provider where the app is made.",
        )
        return

    yield fine("provider", "A reply provider is registered.")

    if case.ask:
        yield _asked(case)


def _asked(case: Case) -> Finding:
    started = time.monotonic()

    try:
        answer = case.bot.suggest(QUESTION)
    except NoProviderError:
        return doubtful(
            "answer",
            "No provider is registered for every inbox and mode human, and no other "
            "can be asked here.",
            "flask chatwoot simulate TEXT asks the one for bot mode.",
        )
    except (ProviderError, ProviderFailedError) as error:
        # Where, without what: the text may quote the question.
        return wrong(
            "answer",
            f"The reply provider failed: {str(error).splitlines()[0]}",
            "flask chatwoot simulate TEXT shows the way, and the log says where.",
        )

    seconds = time.monotonic() - started

    if answer is None:
        return doubtful(
            "answer",
            f"The reply provider says nothing to {QUESTION!r}.",
            "That is right if it is meant to decline such messages.",
        )

    return fine("answer", f"The reply provider answers, after {seconds:.1f} s.")
