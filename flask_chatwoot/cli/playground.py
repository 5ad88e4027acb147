"""``flask chatwoot playground``."""

from __future__ import annotations

import click
from flask.cli import with_appcontext

from flask_chatwoot.runtime import current_runtime


@click.command()
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
    "--reload/--no-reload",
    default=True,
    show_default=True,
    help="Load the app anew when its code changes; conversations go on.",
)
@with_appcontext
def playground(port: int, host: str, expose: bool, reload: bool) -> None:
    """Open a page to talk to this app through a simulated Chatwoot.

    The page shows the customer's widget, the operator's dashboard and the requests
    between Chatwoot and the app. Nothing leaves this machine, and no configuration is
    needed: neither the app's database nor its Celery is used.
    """
    # Imported late: web processes do not need it.
    from flask_chatwoot.playground import is_loopback, serve

    from .output import tell
    from .reloading import can_restart, shared_folder, supervise, wait_for_change
    from .stop import Stop

    if not (is_loopback(host) or expose):
        raise click.UsageError(
            f"{host} can be reached from other machines, and whoever reaches the page "
            "may use it. Add --expose to allow that."
        )

    folder = shared_folder() if reload else None

    if reload and folder is None and can_restart("chatwoot", "playground"):
        supervise()

    runtime = current_runtime(keep_errors=True)
    stop = Stop()

    try:
        with serve(runtime.app, host=host, port=port, folder=folder) as address:
            tell(f"Playground: {address}\nCtrl-C stops.")

            if folder:
                wait_for_change(stop, folder)
            else:
                stop.wait()
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {host}, port {port}: {error.strerror}. "
            "Choose another with --port."
        ) from None
