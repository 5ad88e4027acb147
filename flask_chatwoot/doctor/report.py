"""Look at everything that must be right for an answer to reach a customer."""

from __future__ import annotations

import json
import typing as t

from . import app, chatwoot, server
from .facts import Case, Finding, Findings, Mark

Check = t.Callable[[Case], Findings]

OF_THE_APP: t.Final[t.Sequence[Check]] = (
    app.probe,
    app.inbox,
    app.provider,
)
OF_CHATWOOT: t.Final[t.Sequence[Check]] = (
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
    chatwoot.secret,
    chatwoot.address,
)
"""What is found by one is not repeated by the next: each says nothing where it can not
look because of something that was told before."""

_NAMES: t.Final = {Mark.FINE: "ok", Mark.DOUBTFUL: "warning", Mark.WRONG: "error"}


def examine(case: Case) -> list[Finding]:
    """All findings, in the order in which a message passes the things they are about.

    Asks Chatwoot and our own URL; changes nothing anywhere.
    """
    checks = [*OF_CHATWOOT, *OF_THE_APP]

    if case.config.missing:
        checks = [*OF_THE_APP]

    return [
        finding for check in (app.configuration, *checks) for finding in check(case)
    ]


def as_json(findings: t.Sequence[Finding]) -> str:
    """The findings for machines; ``mark`` is ``ok``, ``warning`` or ``error``."""
    return json.dumps(
        [{**finding._asdict(), "mark": _NAMES[finding.mark]} for finding in findings],
        indent=2,
        ensure_ascii=False,
    )


def as_text(findings: t.Sequence[Finding]) -> str:
    """The findings for people, a line each."""
    return "\n".join(map(str, findings))


def is_ill(findings: t.Iterable[Finding]) -> bool:
    """Whether something does not work."""
    return any(finding.mark is Mark.WRONG for finding in findings)
