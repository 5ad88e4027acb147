"""Run the checks, and show what they found."""

from __future__ import annotations

import json
import typing as t

from . import app, celery, chatwoot, postgresql, server, sweeps
from .facts import DoctorContext, Finding, Findings, Mark

Check = t.Callable[[DoctorContext], Findings]

CHECKS: t.Final[t.Sequence[Check]] = (
    app.configuration,
    server.reachable,
    server.redirect,
    server.tls,
    server.version,
    server.clock,
    server.token,
    server.membership,
    server.rights,
    chatwoot.attribute,
    chatwoot.form,
    chatwoot.webhook,
    chatwoot.other_bots,
    chatwoot.secret,
    chatwoot.address,
    app.probe,
    app.database,
    postgresql.postgresql,
    celery.celery,
    sweeps.catch_up,
    app.provider,
)
"""In the order in which a message passes what they check. A check yields nothing where
the finding of an earlier one makes it impossible."""

WITHOUT_CONFIGURATION: t.Final = (app.configuration, app.probe, app.provider)
"""Those that run where Chatwoot is not configured."""

_NAMES: t.Final = {Mark.OK: "ok", Mark.WARNING: "warning", Mark.ERROR: "error"}


def run_checks(context: DoctorContext) -> list[Finding]:
    """All findings.

    Sends requests to Chatwoot and to the app's own URL; changes nothing in either.
    """
    checks = WITHOUT_CONFIGURATION if context.config.missing else CHECKS

    return [finding for check in checks for finding in check(context)]


def as_json(findings: t.Sequence[Finding]) -> str:
    """The findings as JSON; ``mark`` is ``ok``, ``warning`` or ``error``."""
    return json.dumps(
        [{**finding._asdict(), "mark": _NAMES[finding.mark]} for finding in findings],
        indent=2,
    )


def as_text(findings: t.Sequence[Finding]) -> str:
    """The findings, a line each."""
    return "\n".join(map(str, findings))


def has_errors(findings: t.Iterable[Finding]) -> bool:
    """Whether a finding is an error."""
    return any(finding.mark is Mark.ERROR for finding in findings)
