"""``flask chatwoot catch-up``: look once for what was not delivered."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_chatwoot.catch_up.findings import Finding, Findings
from flask_chatwoot.catch_up.rules import Verdict
from flask_chatwoot.catch_up.sweep import CatchUp, explained
from flask_chatwoot.errors import APIError
from flask_chatwoot.payloads.events import MessageEvent
from flask_chatwoot.runtime import current_runtime

from .output import counted, show, tell


@click.command(short_help="Look once for what was not delivered.")
@click.option(
    "--dry-run", is_flag=True, help="Show what would be found; write nothing."
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on after another instance was found, which has ended since.",
)
@with_appcontext
def catch_up(dry_run: bool, resume: bool) -> None:
    """Find in Chatwoot what was not delivered, and store it.

    Workers answer it. They also look by themselves, every CHATWOOT_CATCH_UP seconds.
    No text of a message is shown.
    """
    try:
        _run(dry_run=dry_run, resume=resume)
    except APIError as error:
        raise click.ClickException(explained(error)) from error


def _run(*, dry_run: bool, resume: bool) -> None:
    configured = current_runtime().configured
    sweeps = configured.store.sweeps

    if dry_run:
        _rehearse(configured.catch_up)
        return

    if resume:
        sweeps.resume()

    sweeps.begin()

    if problem := _problem(configured.catch_up):
        raise click.ClickException(problem)

    started_at = configured.store.database.clock()
    count = configured.catch_up.sweep(started_at=started_at, now=True)

    if count is None:
        raise click.ClickException("Another process is looking at this moment.")

    tell(f"{counted(count, 'message')} found and stored for the workers.")


def _problem(parts: CatchUp) -> str | None:
    """Why nothing is looked for; ``None`` if nothing is in the way."""
    sweeps = parts.store.sweeps
    state = sweeps.state()

    if not sweeps.is_proven(state):
        return (
            "This database has not accepted a verified delivery of the account yet. "
            "Until then nothing is looked for."
        )

    if state is not None and state.foreign_id:
        return (
            f"Another instance has posted message {state.foreign_id}. End it, and use "
            "--resume."
        )

    return None


def _rehearse(parts: CatchUp) -> None:
    if problem := _problem(parts):
        show(f"Nothing is taken in now. {problem}")

    looked = parts.rehearse()

    if problem and not looked:
        return

    for findings in looked:
        for line in _lines(findings):
            show(line)

    count = sum(
        finding.verdict is Verdict.TAKEN_IN
        for findings in looked
        for finding in _messages(findings)
    )
    would = "would then" if problem else "would"
    show(
        f"{counted(len(looked), 'conversation')} changed; "
        f"{counted(count, 'message')} {would} be taken in."
    )


def _lines(findings: Findings) -> list[str]:
    conversation = findings.listed.conversation
    lines = [_line(conversation.id, each) for each in _messages(findings)]

    if findings.foreign_id is not None:
        lines.append(
            f"conversation {conversation.id}, message {findings.foreign_id}: another "
            "instance has posted it"
        )

    return lines


def _messages(findings: Findings) -> list[Finding]:
    """Those that a delivery would be more than acknowledged for."""
    return [each for each in findings.found if isinstance(each.event, MessageEvent)]


def _line(conversation_id: int, finding: Finding) -> str:
    return (
        f"conversation {conversation_id}, message {finding.message_id}: "
        f"{finding.verdict} (written {finding.age:.0f} s ago)"
    )
