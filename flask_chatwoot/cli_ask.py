"""``flask chatwoot ask``: what the provider says, without any conversation."""

from __future__ import annotations

import contextlib
import sys

import click
from flask.cli import with_appcontext

from .bot import current_bot
from .mode import Mode


@click.command()
@click.argument("text")
@click.option(
    "--mode",
    type=click.Choice([mode.value for mode in Mode]),
    default=Mode.BOT.value,
    show_default=True,
    help="Whom the customer wants to write to.",
)
@with_appcontext
def ask(text: str, mode: str) -> None:
    """Print the provider's answer to TEXT, and nothing else.

    Posts and stores nothing, and needs no configuration. What the provider itself
    prints goes to stderr.
    """
    if not text.strip():
        raise click.UsageError("The text is blank, and would be ignored.")

    with contextlib.redirect_stdout(sys.stderr):
        answer = current_bot().suggest(text, Mode(mode))

    if answer is not None:
        click.echo(answer)
