"""``flask chatwoot``, whose commands are loaded when they are used."""

from __future__ import annotations

import contextlib
import importlib
import typing as t

import click
from flask.cli import FlaskGroup

from flask_chatwoot.errors import ChatwootError, ConfigError

_COMMANDS: t.Final = {
    "ask": "try_out",
    "catch-up": "catch_up",
    "database": "database",
    "doctor": "setup",
    "drafts": "drafts",
    "jobs": "jobs",
    "outcomes": "reference",
    "playground": "playground",
    "settings": "reference",
    "setup": "setup",
    "simulate": "try_out",
    "teardown": "setup",
    "why": "why",
    "work": "work",
}
"""Each command and the module it is in."""

_DISTRIBUTION: t.Final = "Flask-Chatwoot"
"""Its installed metadata has the version."""


def is_under_command() -> bool:
    """Whether an app is made for a command of ``flask`` other than ``flask run``.

    The command is not known yet when it is one of the app's own.
    """
    context = click.get_current_context(silent=True)

    if context is None:
        return False

    root = context.find_root()

    return isinstance(root.command, FlaskGroup) and root.invoked_subcommand != "run"


class RunError(ConfigError, click.ClickException):
    """Wrong settings under ``flask run``, which prints them without a traceback."""

    def __init__(self, error: ConfigError) -> None:
        click.ClickException.__init__(self, _lines(error))


@contextlib.contextmanager
def printed_by_run() -> t.Iterator[None]:
    """A block whose :class:`.ConfigError` is printed as lines by ``flask run``.

    :raises RunError: In place of it there.
    """
    try:
        yield
    except ConfigError as error:
        context = click.get_current_context(silent=True)

        if context is None or context.info_name != "run":
            raise

        raise RunError(error) from None


def _lines(error: ConfigError) -> str:
    return str(error).replace("\n", "\nError: ")


class LazyGroup(click.Group):
    """Imports a command when it is used, and prints the package's errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of the commands."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or ``None``."""
        if cmd_name not in _COMMANDS:
            return None

        module = importlib.import_module(f".{_COMMANDS[cmd_name]}", __name__)
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))

        return command

    def invoke(self, ctx: click.Context) -> t.Any:
        """Run a command.

        :raises ClickException: Instead of an error of this package.
        """
        from .output import accept_every_character, fail_if_untold

        accept_every_character()

        try:
            result = super().invoke(ctx)
        except ConfigError as error:
            raise click.ClickException(_lines(error)) from error
        except ChatwootError as error:
            raise click.ClickException(str(error)) from error

        fail_if_untold(ctx)

        return result


@click.group(cls=LazyGroup)
@click.version_option(package_name=_DISTRIBUTION, message="%(package)s %(version)s")
def chatwoot() -> None:
    """Answer Chatwoot conversations."""
