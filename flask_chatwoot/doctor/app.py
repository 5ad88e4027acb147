"""Checks of the app itself: configuration, webhook, database, workers, provider."""

from __future__ import annotations

import json
import os
import time
import typing as t
from urllib.parse import urlencode

from flask_chatwoot.client.raw import NoAnswer, RawAnswer, exchange
from flask_chatwoot.config.loading import misspelled
from flask_chatwoot.copilot.plain import SAMPLE, suggest
from flask_chatwoot.errors import (
    DatabaseError,
    MovedError,
    NoProviderError,
    ProviderError,
    ProviderFailedError,
)
from flask_chatwoot.outcomes import DeliveryOutcome, Reason
from flask_chatwoot.payloads import signature
from flask_chatwoot.queue.inspection import JobRow
from flask_chatwoot.queue.schema import UNFINISHED, JobState, WorkerLimit
from flask_chatwoot.setup import account

from .composer import composer
from .facts import DoctorContext, Finding, Findings, Mark, failed, passed, warned

PROBE: t.Final = "flask_chatwoot_probe"
"""The event of a probe: the app accepts and ignores it."""

QUESTION: t.Final = "Hello, are you there?"

LONGEST_WAIT: t.Final = 60.0
"""Seconds. A job that waits longer gets a warning."""


def configuration(context: DoctorContext) -> Findings:
    """All needed keys are set, and every endpoint takes a secret."""
    missing = context.config.missing

    for key in missing:
        yield failed("configuration", f"{key} is not set.", _SOURCES[key])

    for endpoint in context.config.unprotected:
        path, _, key = endpoint.partition(" ")
        yield warned(
            "configuration",
            f"{context.config.url_prefix}{path} takes requests without a secret.",
            _SOURCES[key.strip("()")],
        )

    if context.config.offers_nothing:
        yield warned(
            "configuration",
            "In human mode operators get neither notes nor suggestions: "
            "CHATWOOT_DRAFT_NOTES is false, and CHATWOOT_COPILOT_TOKEN is not set.",
            "For notes, set CHATWOOT_DRAFT_NOTES=true; for suggestions, see flask "
            "chatwoot setup --copilot.",
        )

    yield from _misspelled(context)

    if not (missing or context.config.unprotected or context.config.offers_nothing):
        yield passed("configuration", "All needed keys are set.")


_SOURCES: t.Final = {
    "CHATWOOT_BASE_URL": (
        "It is the address at which you open Chatwoot, like "
        "https://chatwoot.example.com."
    ),
    "CHATWOOT_ACCOUNT_ID": (
        "It is the number in the address of Chatwoot's dashboard: 1 in "
        "/app/accounts/1/dashboard."
    ),
    "CHATWOOT_API_ACCESS_TOKEN": (
        "Chatwoot shows a user's in Profile Settings → Access Token. To make an agent "
        "bot with one, set an administrator's as CHATWOOT_ADMIN_TOKEN and run flask "
        "chatwoot setup --agent-bot --url https://app.example.com."
    ),
    "CHATWOOT_WEBHOOK_SECRET": (
        "Set CHATWOOT_WEBHOOK_SECRET: flask chatwoot setup prints it when it makes the "
        "webhook, and Chatwoot 4.12 and later shows it in Settings → Integrations → "
        "Webhooks, or for an agent bot in Settings → Bots."
    ),
    "CHATWOOT_COPILOT_TOKEN": (
        "Set CHATWOOT_COPILOT_TOKEN to a long random text, as flask chatwoot setup "
        "--copilot --url https://app.example.com prints."
    ),
}
"""Where the value of a key comes from."""


def _misspelled(context: DoctorContext) -> Findings:
    for sentence in misspelled([*context.runtime.app.config, *os.environ]):
        what, _, remedy = sentence.partition("; ")
        yield warned("configuration", f"{what}.", f"{remedy[:1].upper()}{remedy[1:]}")


def probe(context: DoctorContext) -> Findings:
    """The app's own URL accepts a delivery signed like Chatwoot's, and the composer's
    questions.
    """
    if context.url is None:
        return

    answer = exchange(
        "POST",
        _probe_url(context, context.url),
        headers=_signed(context, _PROBE_BODY),
        body=_PROBE_BODY,
        timeout=context.config.timeout,
    )
    finding = _probe_finding(context.url, answer)
    yield finding

    if finding.mark is Mark.OK:
        yield from composer(context, context.url)


_PROBE_BODY: t.Final = json.dumps({"event": PROBE}).encode()


def _probe_url(context: DoctorContext, url: str) -> str:
    """The URL with the token in Chatwoot's settings, or with the app's token."""
    tokens = [account.token_in(source.url) for source in context.sources]
    token = tokens[0] if tokens else context.config.webhook_token

    return f"{url}?{urlencode({'token': token})}" if token else url


def _signed(context: DoctorContext, body: bytes) -> dict[str, str]:
    """Headers signed with Chatwoot's copy of the secret, or with the app's."""
    known = [source.secret for source in context.sources if source.secret]
    headers = {"Content-Type": "application/json", "Accept": "application/json"}

    if secrets := [*known, *context.config.webhook_secret]:
        timestamp = str(int(time.time()))
        headers[signature.TIMESTAMP_HEADER] = timestamp
        headers[signature.SIGNATURE_HEADER] = signature.sign(
            body, secret=secrets[0], timestamp=timestamp
        )

    return headers


def _probe_finding(url: str, answer: RawAnswer | NoAnswer) -> Finding:
    if isinstance(answer, NoAnswer):
        return failed(
            "probe",
            f"A probe does not reach {url} ({answer.tls or answer.kind}).",
            "Is the app running there, and may this machine connect to it?",
        )

    body = answer.json
    ours = (
        answer.status == 200
        and account.nested(body, "status") == DeliveryOutcome.IGNORED
    )

    if ours and account.nested(body, "reason") == Reason.NOT_CONFIGURED:
        return failed(
            "probe",
            f"The app at {url} is not configured.",
            "Set the same keys there as here, and restart the app.",
        )

    if ours:
        return passed("probe", f"A signed probe to {url} is accepted.")

    what, remedy = _MEANINGS.get(answer.status, ("does not answer as this app", ""))

    if answer.redirect is not None:
        what = "redirects, and Chatwoot before 4.14 follows no redirect"
        remedy = "Set the final URL in Chatwoot; compare the slash at its end."

    return failed(
        "probe",
        f"{url} {what} ({answer.status}).",
        remedy or "Is this the address of this app, without another server before it?",
    )


_MEANINGS: t.Final = {
    400: (
        "refuses a probe",
        "If the app checks for CSRF, add csrf.exempt(chatwoot.blueprint).",
    ),
    401: (
        "refuses a signed probe",
        "The running app has another CHATWOOT_WEBHOOK_SECRET or CHATWOOT_WEBHOOK_TOKEN "
        "than Chatwoot: set it there, and restart the app.",
    ),
    403: (
        "forbids a probe",
        "Let Chatwoot pass the proxy before the app, and the app's own login.",
    ),
    404: (
        "does not exist",
        "Compare the URL in Chatwoot with the app's address and CHATWOOT_URL_PREFIX.",
    ),
    500: ("fails", "See the log of the app: its database may be unavailable."),
}


def database(context: DoctorContext) -> Findings:
    """The database can be written, and its jobs are handled."""
    inspection = context.store.inspection

    try:
        with context.store.database.transaction():
            pass  # it can be written, and is not

        unfinished = inspection.jobs(*UNFINISHED)
        dead = inspection.jobs(JobState.DEAD)
    except DatabaseError as error:
        # Its text has the remedy.
        then = (
            "Then restart the app and all its workers."
            if isinstance(error, MovedError)
            else "Until then deliveries are refused; catch-up finds them later."
        )
        yield failed("database", f"{error}", then)
        return

    yield passed("database", "The database can be written.")
    leased = [job for job in unfinished if job.state is JobState.LEASED]
    waiting = [job for job in unfinished if job.state is not JobState.LEASED]
    yield from _age(waiting)
    yield from _dead(dead)
    yield from _workers(context, waiting, leased)


def _age(waiting: list[JobRow]) -> Findings:
    oldest = max((job.age for job in waiting), default=0.0)
    what = f"Jobs that wait: {len(waiting)}; the oldest came {oldest:.0f} s ago."

    if oldest > LONGEST_WAIT:
        yield warned(
            "age",
            what,
            "See flask chatwoot jobs --state ready. If the provider is slow, raise "
            "CHATWOOT_WORKERS.",
        )
    else:
        yield passed("age", what if waiting else "No job is waiting.")


def _dead(dead: list[JobRow]) -> Findings:
    if not dead:
        yield passed("dead", "No job is dead.")
        return

    reasons = ", ".join(sorted({job.reason or "unknown" for job in dead}))
    yield warned(
        "dead",
        f"Dead jobs: {len(dead)} ({reasons}).",
        "Remove the cause, and run flask chatwoot jobs retry --dead; or delete them "
        "with flask chatwoot jobs prune --dead --days 0, all but the newest job.",
    )


def _workers(
    context: DoctorContext, waiting: list[JobRow], leased: list[JobRow]
) -> Findings:
    """Jobs that wait too long are an error even if a worker had a heartbeat."""
    yield from _limits(context)
    seen = context.store.inspection.health()
    alive, stuck = seen.workers, seen.stuck

    if stuck:
        yield warned(
            "stuck",
            f"Worker threads whose provider does not come to an end: {stuck}.",
            "Set a time limit in the provider, and restart the app.",
        )

    busy = {job.conversation_id for job in leased}
    idle = [
        job
        for job in _first_in_line(waiting)
        if job.conversation_id not in busy
        and job.attempts == 0
        and job.age > max(LONGEST_WAIT, 2 * context.store.queue.lease)
    ]

    if not idle and (alive or context.config.backend == "inline"):
        yield passed(
            "workers", f"No job waits too long; worker threads seen lately: {alive}."
        )
    elif not idle:
        yield warned("workers", "No worker had a heartbeat lately.", _start(context))
    elif leased:
        yield warned(
            "workers",
            f"Jobs that wait for a worker: {len(idle)}; workers run {len(leased)}.",
            "If that lasts, raise CHATWOOT_WORKERS, or set a time limit in the "
            "provider.",
        )
    else:
        what = f"Jobs that wait: {len(idle)}; no worker runs."
        yield failed("workers", what, _start(context))


def _limits(context: DoctorContext) -> Findings:
    """What the servers of the processes that work cannot do."""
    limits = context.store.inspection.limits()

    if WorkerLimit.LATE_START in limits:
        yield warned(
            "start",
            "A process started its workers with its first request: after a restart, "
            "jobs wait for one.",
            "End the module that its server imports with chatwoot.start(app), or run "
            "flask chatwoot work.",
        )

    if WorkerLimit.NO_GRACE in limits:
        yield warned(
            "stop",
            "SIGTERM ends a process in the middle of its turns.",
            "Call chatwoot.start(app) in its main thread before the server starts, "
            "leave --reload out, or run flask chatwoot work.",
        )


def _first_in_line(waiting: list[JobRow]) -> list[JobRow]:
    """The first job of each conversation; the others wait for it."""
    first: dict[int, JobRow] = {}

    for job in sorted(waiting, key=lambda job: job.id):
        first.setdefault(job.conversation_id, job)

    return list(first.values())


def _start(context: DoctorContext) -> str:
    if context.config.backend == "thread" and not context.config.workers:
        return "CHATWOOT_WORKERS is 0: run flask chatwoot work beside the app."

    if context.config.backend == "celery":
        return "Run celery worker and celery beat with the app, or flask chatwoot work."

    return (
        "Is the app running? Under gunicorn and flask run its workers start with it, "
        "elsewhere with the first request or by chatwoot.start(app). Or run flask "
        "chatwoot work."
    )


def provider(context: DoctorContext) -> Findings:
    """A provider is registered; with ``ask``, it answers."""
    if not context.runtime.providers:
        yield failed(
            "provider",
            "No reply provider is registered.",
            "Decorate a function with @chatwoot.reply_provider where the app is made.",
        )
        return

    yield passed("provider", "A reply provider is registered.")

    if context.ask:
        yield _asked(context)


def _asked(context: DoctorContext) -> Finding:
    started = time.monotonic()

    try:
        answer = suggest(context.runtime, QUESTION, contact=SAMPLE)
    except NoProviderError:
        return warned(
            "answer",
            "No provider is registered for every inbox and mode human, and no other "
            "can be called here.",
            "flask chatwoot simulate TEXT calls the one for mode bot.",
        )
    except (ProviderError, ProviderFailedError) as error:
        return failed(
            "answer",
            f"The reply provider failed: {error}",
            "flask chatwoot simulate TEXT --mode human shows the whole error.",
        )

    seconds = time.monotonic() - started

    if answer is None:
        return warned(
            "answer",
            f"The reply provider declines {QUESTION!r}.",
            "That is right if it is meant to decline such messages.",
        )

    return passed("answer", f"The reply provider answers within {seconds:.1f} s.")
