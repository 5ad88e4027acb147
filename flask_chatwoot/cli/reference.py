"""``flask chatwoot settings`` and ``outcomes``: reference made from the code."""

from __future__ import annotations

import os
import typing as t

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_chatwoot.config.loading import Found, misspelled
from flask_chatwoot.config.table import Setting
from flask_chatwoot.outcomes import DeliveryOutcome, DraftVerdict, Reason, TurnOutcome
from flask_chatwoot.runtime import current_runtime

from .output import show

_WIDEST: t.Final = 40
"""Characters of a value that are shown."""


@click.command()
@click.option("--all", "everything", is_flag=True, help="The advanced ones too.")
@with_appcontext
def settings(everything: bool) -> None:
    """List the settings: what is in force, and where it comes from.

    Advanced settings are listed where they are set, or with --all. Secrets are not
    shown. The exit code is 1 if a setting is wrong.
    """
    config = current_runtime(keep_errors=True).config
    rows = [
        (found.setting.key, _shown(found), found.source, _meaning(found.setting))
        for found in config.found.values()
        if everything or found.source != "default" or not found.setting.advanced
    ]
    _print_table([("KEY", "IN FORCE", "FROM", "MEANING"), *rows])

    for error in config.errors:
        click.echo(f"Error: {error}", err=True)

    for sentence in misspelled([*current_app.config, *os.environ]):
        click.echo(sentence, err=True)

    if config.errors:
        raise click.exceptions.Exit(1)


def _meaning(setting: Setting) -> str:
    """The line of help, and the range of a number."""
    if setting.range is None:
        return setting.help

    return f"{setting.help} {setting.range[:1].upper()}{setting.range[1:]}."


def _shown(found: Found) -> str:
    value = found.value

    if found.error:
        return "wrong"

    if found.setting.secret:
        return "set" if value else "not set"

    if value is None or value in ((), frozenset()):
        return "not set"

    if isinstance(value, bool):
        return str(value).lower()

    if isinstance(value, tuple | frozenset):
        parts = value if isinstance(value, tuple) else sorted(value)
        value = ", ".join(map(str, parts))

    text = " ".join(str(value).split())

    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


@click.command()
def outcomes() -> None:
    """List how deliveries, turns and drafts end, and the reasons."""
    rows: list[tuple[str, ...]] = [
        *_meanings("DELIVERY", DeliveryOutcome),
        *_meanings("TURN", TurnOutcome),
        *_meanings("REASON", Reason),
        *_meanings("DRAFT", DraftVerdict),
    ]
    _print_table(rows[1:])


def _meanings(
    title: str,
    endings: t.Iterable[DeliveryOutcome | TurnOutcome | Reason | DraftVerdict],
) -> t.Iterator[tuple[str, ...]]:
    yield ("", "")
    yield (title, "MEANING")

    for ending in endings:
        yield (str(ending), ending.meaning)


def _print_table(rows: t.Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)][:-1]

    for *cells, last in rows:
        padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
        show("  ".join([*padded, last]).rstrip())
