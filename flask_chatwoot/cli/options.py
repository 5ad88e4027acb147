"""Options that several commands have."""

from __future__ import annotations

import math
import typing as t

import click

from flask_chatwoot.config.loading import missing_of_driver


class FiniteRange(click.FloatRange):
    """A number within bounds; neither of them excludes "nan"."""

    def convert(
        self, value: t.Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number."""
        number: float = super().convert(value, param, ctx)

        if not math.isfinite(number):
            self.fail(f"{value!r} is not a number.", param, ctx)

        return number


def checked(
    convert: t.Callable[[t.Any], t.Any],
) -> t.Callable[[click.Context, click.Parameter, t.Any], t.Any]:
    """A callback that converts a value like that of a setting.

    Its error does not quote the value, which may hold a password.
    """

    def callback(ctx: click.Context, param: click.Parameter, value: t.Any) -> t.Any:
        if value is None:
            return None

        try:
            return convert(value)
        except ValueError as error:
            raise click.UsageError(f"The value of {param.opts[0]} {error}") from None

    return callback


def needs_driver(what: str) -> None:
    """Check that psycopg is installed.

    :param what: Needs it.
    :raises ClickException: It is not.
    """
    problem = missing_of_driver()

    if problem is not None:
        raise click.ClickException(f"{what} {problem}")
