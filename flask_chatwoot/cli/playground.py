"""``flask chatwoot playground``."""

from __future__ import annotations

import contextlib
import typing as t

import click
from flask.cli import with_appcontext

from flask_chatwoot.runtime import current_runtime

from .output import tell
from .reloading import can_restart, shared_folder, supervise, wait_for_change
from .stop import Stop

ENTRIES: t.Final = {"webhook": "account", "bot": "bot"}
"""By what is said on the command line, the kind of connection."""


@click.command(short_help="Open a page to talk to this app.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=5100,
    show_default=True,
    help="0: any that is free.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where to listen.")
@click.option(
    "--expose", is_flag=True, help="Accept a --host that other machines can reach."
)
@click.option(
    "--version",
    default="4.16.2",
    show_default=True,
    help="The Chatwoot to simulate, such as 4.2.0.",
)
@click.option(
    "--entry",
    type=click.Choice([*ENTRIES]),
    default="webhook",
    show_default=True,
    help="How Chatwoot reaches the app.",
)
@click.option(
    "--reload/--no-reload",
    default=True,
    show_default=True,
    help="Load the app anew when its code changes; conversations go on.",
)
@with_appcontext
def playground(
    port: int,
    host: str,
    expose: bool,
    version: str,
    entry: str,
    reload: bool,
) -> None:
    """Open a page to talk to this app through a simulated Chatwoot.

    The page shows the customer's widget, the operator's dashboard and the requests
    between Chatwoot and the app. Nothing leaves this machine, and no configuration is
    needed: neither the app's database nor its Celery is used.
    """
    # Imported late: web processes do not need it.
    from flask_chatwoot.playground import Installation, is_loopback

    if not (is_loopback(host) or expose):
        raise click.UsageError(
            f"{host} can be reached from other machines, and whoever reaches the page "
            "may use it. Add --expose to allow that."
        )

    try:
        first = Installation.of({"version": version, "kind": ENTRIES[entry]})
    except ValueError as error:
        raise click.UsageError(str(error)) from None

    folder = shared_folder() if reload else None

    if reload and folder is None and can_restart("chatwoot", "playground"):
        supervise()

    with _address_errors(host, port):
        _serve(host=host, port=port, installation=first, folder=folder)


def _serve(*, folder: str | None, **options: t.Any) -> None:
    """Serve the page until a signal comes, or until the code of a child changes."""
    from flask_chatwoot.playground import serve

    app = current_runtime(keep_errors=True).app
    stop = Stop()

    with serve(app, folder=folder, **options) as address:
        tell(f"Playground: {address}\nCtrl-C stops.")

        if folder:
            wait_for_change(stop, folder)
        else:
            stop.wait()


@contextlib.contextmanager
def _address_errors(host: str, port: int) -> t.Iterator[None]:
    try:
        yield
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {host}, port {port}: {_said(error)}. "
            "Choose another with --port, or --host."
        ) from None


def _said(error: OSError) -> str:
    """Without the address, which Python adds."""
    return (error.strerror or type(error).__name__).partition(" (")[0]
