"""``flask chatwoot ask`` and ``simulate``: try the app without a Chatwoot."""

from __future__ import annotations

import contextlib
import sys
import traceback

import click
from flask.cli import with_appcontext

from flask_chatwoot.config.numbers import DAY
from flask_chatwoot.copilot.plain import SAMPLE, suggest
from flask_chatwoot.errors import GiveUp, ProviderFailedError
from flask_chatwoot.outcomes import Reason, TurnOutcome
from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.runtime import current_runtime
from flask_chatwoot.turns.ending import Ending

from .options import FiniteRange
from .output import show


@click.command()
@click.argument("text")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.BOT.value,
    show_default=True,
    help="Who answers the customer.",
)
@with_appcontext
def ask(text: str, mode: str) -> None:
    """Print the provider's answer to TEXT, and nothing else.

    Posts and stores nothing, and needs no configuration. What the provider itself
    prints goes to stderr.
    """
    if not text.strip():
        raise click.UsageError("The text is blank, and would be ignored.")

    try:
        with contextlib.redirect_stdout(sys.stderr):
            runtime = current_runtime(keep_errors=True)
            answer = suggest(runtime, text, Mode(mode), contact=SAMPLE)
    except GiveUp as error:
        reason = f" Reason: {error.reason}" if error.reason else ""
        raise click.ClickException(f"{error}{reason}") from None
    except ProviderFailedError as error:
        whole = traceback.format_exception(error.__cause__)
        raise click.ClickException(f"{error}\n\n{''.join(whole)}".rstrip()) from None

    if answer is not None:
        show(answer)


@click.command(short_help="Run a conversation in a simulated Chatwoot.")
@click.argument("texts", nargs=-1, required=True)
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.BOT.value,
    show_default=True,
    help="Who answers the customer.",
)
@click.option(
    "--timeout",
    type=FiniteRange(0, DAY, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds per text.",
)
@with_appcontext
def simulate(texts: tuple[str, ...], mode: str, timeout: float) -> None:
    """Talk to this app as a customer of a simulated Chatwoot.

    Each of TEXTS is a message of the customer. Nothing leaves this machine, and no
    configuration is needed: neither the app's database nor its Celery is used.
    """
    if not all(text.strip() for text in texts):
        raise click.UsageError("A text is blank, and would be ignored.")

    # Imported late: web processes do not need it.
    from flask_chatwoot.hosting import converse

    runtime = current_runtime(keep_errors=True)

    try:
        transcript, endings = converse(
            runtime.app,
            texts,
            mode=Mode(mode),
            timeout=timeout,
        )
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    except TimeoutError:
        raise click.ClickException(f"No answer within {timeout:g} s.") from None

    show(transcript)

    for number, ending in enumerate(endings, 1):
        if not ending.posted:
            show(f"\nNothing was posted for text {number}: {_why(ending)}")

    if failed := [end.reason for end in endings if end.outcome is TurnOutcome.DEAD]:
        raise click.ClickException(f"No answer: {failed[0]}. See the log.")


def _why(ending: Ending) -> str:
    """The outcome and the reason of a turn, with the meaning of that if it has one."""
    if ending.reason is None:
        return f"{ending.outcome}."

    meaning = f" {Reason(ending.reason).meaning}" if ending.reason in {*Reason} else ""

    return f"{ending.outcome}, because: {ending.reason}.{meaning}"
