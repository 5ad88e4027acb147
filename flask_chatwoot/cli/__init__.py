"""``flask chatwoot``, whose commands are loaded when they are used."""

from __future__ import annotations

import importlib
import typing as t

import click

from flask_chatwoot.errors import ChatwootError

_COMMANDS: t.Final = {
    "ask": "try_out",
    "doctor": "setup",
    "inbox": "jobs",
    "playground": "playground",
    "setup": "setup",
    "simulate": "try_out",
    "teardown": "setup",
    "why": "why",
    "work": "work",
}
"""Each command and the module it is in."""


class LazyGroup(click.Group):
    """Spares web processes the commands. Shows our errors as sentences."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Their names."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or ``None``."""
        if cmd_name not in _COMMANDS:
            return None

        module = importlib.import_module(f".{_COMMANDS[cmd_name]}", __name__)
        command: click.Command = getattr(module, cmd_name)

        return command

    def invoke(self, ctx: click.Context) -> t.Any:
        """Run one.

        :raises ClickException: In place of one of this package's errors.
        """
        try:
            return super().invoke(ctx)
        except ChatwootError as error:
            raise click.ClickException(str(error)) from error


chatwoot = LazyGroup("chatwoot", help="Answer Chatwoot conversations.")
