"""Look at everything that must be right for an answer to reach a customer."""

from __future__ import annotations

import json
import typing as t

from . import checks_account, checks_app, checks_server
from .diagnosis import Case, Finding, Findings, Mark

Check = t.Callable[[Case], Findings]

OF_THE_APP: t.Final[t.Sequence[Check]] = (
    checks_app.probe,
    checks_app.inbox,
    checks_app.provider,
)
OF_CHATWOOT: t.Final[t.Sequence[Check]] = (
    checks_server.reachable,
    checks_server.redirect,
    checks_server.tls,
    checks_server.version,
    checks_server.clock,
    checks_server.token,
    checks_server.membership,
    checks_server.rights,
    checks_account.attribute,
    checks_account.form,
    checks_account.webhook,
    checks_account.secret,
    checks_account.address,
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
        finding
        for check in (checks_app.configuration, *checks)
        for finding in check(case)
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
