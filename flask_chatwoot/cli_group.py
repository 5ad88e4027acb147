"""``flask chatwoot``, whose commands are loaded when it is used."""

from __future__ import annotations

import typing as t

import click

from .errors import ChatwootError


class LateGroup(click.Group):
    """Spares web processes the commands. Shows our errors as sentences."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return _commands().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or ``None``."""
        return _commands().get_command(ctx, cmd_name)

    def invoke(self, ctx: click.Context) -> t.Any:
        """Run one.

        :raises ClickException: In place of one of this package's errors.
        """
        try:
            return super().invoke(ctx)
        except ChatwootError as error:
            raise click.ClickException(str(error)) from error


def _commands() -> click.Group:
    from .cli import chatwoot

    return chatwoot


chatwoot = LateGroup("chatwoot", help="Answer Chatwoot conversations.")
