"""Run an app in front of the simulator instead of Chatwoot."""

from __future__ import annotations

import contextlib
import os
import secrets
import sys
import tempfile
import traceback
import typing as t
from dataclasses import replace

from flask import Flask

from .config import Config
from .errors import ChatwootError
from .outcomes import Reason, TurnOutcome
from .ownership.mode import Mode
from .payloads.events import SUBSCRIPTIONS
from .runtime import KEY, Runtime
from .signals import got_exception, turn_finished
from .simulator import Simulator, Talk
from .simulator.deliveries import Kind
from .simulator.payloads import MessageRecord, MessageType
from .simulator.server import serving
from .simulator.talk import text_of
from .turns.ending import Ending


@contextlib.contextmanager
def hosted(
    app: Flask, simulator: Simulator, *, kind: Kind = "account", **settings: t.Any
) -> t.Iterator[str]:
    """Serve the app on loopback, with the simulator for its Chatwoot.

    The app keeps its providers, receivers and option texts. Its own URL, tokens,
    secrets and database are not used inside the block.

    :param kind: How it is connected: ``"account"`` by an account webhook and a user's
        token, ``"bot"`` as an agent bot with its own.
    :param settings: Fields of :class:`~flask_chatwoot.config.Config` to change.
    :return: The address of the webhook, which the simulator knows already.

    What the app's own code raises is printed to stderr: no real customer wrote here.
    """
    own: Runtime = app.extensions[KEY]

    # A provider that blocks may outlive this block, and its turn uses the database.
    with tempfile.TemporaryDirectory(
        prefix="flask-chatwoot-", ignore_cleanup_errors=True
    ) as folder:
        config = replace(_config(own.config, simulator, kind, folder), **settings)
        runtime = Runtime(
            app, config, own.providers, own.find_policy, own.find_completion
        )
        app.extensions[KEY] = runtime
        runtime.await_request()

        try:
            with (
                got_exception.connected_to(_print_error, sender=app),
                serving(app, name="hosted-app") as address,
            ):
                webhook = f"{address}{config.url_prefix}/webhook"
                simulator.connect(webhook, kind=kind, events=SUBSCRIPTIONS)
                _connect_copilot(simulator, address, config)
                yield webhook
        finally:
            app.extensions[KEY] = own
            runtime.configured.close()


def _connect_copilot(simulator: Simulator, address: str, config: Config) -> None:
    for key in config.copilot_token[:1]:
        simulator.connect_copilot(f"{address}{config.url_prefix}", key)


def _print_error(_: Flask, exc_info: t.Any, where: str, **rest: t.Any) -> None:
    """Print what the host's code raised.

    What it returned has no traceback but this package's: the log has a line about that,
    without the names of files.
    """
    kind, error, trace = exc_info

    if where not in {"provider", "policy"} or _has_code_of_host(trace):
        traceback.print_exception(kind, error, trace)
    elif not isinstance(error, ChatwootError):
        traceback.print_exception(kind, error, None, chain=False)


def _has_code_of_host(trace: t.Any) -> bool:
    """Whether a traceback shows more than this package and Python's library."""
    known = {*sys.stdlib_module_names, __package__}
    names = (frame.f_globals.get("__name__") for frame, _ in traceback.walk_tb(trace))

    return any(str(name).partition(".")[0] not in known for name in names)


def _config(own: Config, simulator: Simulator, kind: Kind, folder: str) -> Config:
    """The app's settings, except those that name its own Chatwoot."""
    there = simulator.settings("bot" if kind == "bot" else "user")
    # Versions that cannot sign have no secret.
    secret = there.get("CHATWOOT_WEBHOOK_SECRET")

    return replace(
        own,
        base_url=simulator.url,
        account_id=simulator.account_id,
        api_access_token=there["CHATWOOT_API_ACCESS_TOKEN"],
        user_access_token=simulator.user_token if own.user_access_token else None,
        webhook_secret=(secret,) if secret else (),
        webhook_token=None,
        copilot_token=(secrets.token_urlsafe(24),),
        copilot_one_account=True,  # the simulator has no other
        backend="thread",
        inboxes=frozenset(),
        workers=own.workers or 4,
        catch_up=0.0,
        database_path=os.path.join(folder, "chatwoot.sqlite3"),
        database_address=None,
        database_sync="normal",
    )


def converse(
    app: Flask, texts: t.Iterable[str], *, mode: Mode, timeout: float
) -> tuple[str, list[Ending]]:
    """Write these texts as a customer, each after the previous turn has ended.

    :param mode: The mode that the customer chose.
    :param timeout: Seconds to wait for each turn to end.
    :return: A transcript, and how each turn ended.
    :raises TimeoutError: A turn did not end.
    :raises RuntimeError: The app refused a delivery.
    """
    attribute = app.extensions[KEY].config.support_mode_attr
    endings: list[Ending] = []
    said = 0

    def finished(
        _: Flask, outcome: TurnOutcome, reason: Reason | None, **rest: t.Any
    ) -> None:
        endings.append(Ending(outcome, reason))

    def all_ended() -> bool:
        for delivery in simulator.deliveries:
            if delivery.status not in (200, 202):
                raise RuntimeError(
                    f"The app answered {delivery.status or delivery.error} to the "
                    "delivery. Does a before_request function of the app refuse it?"
                )

        return len(endings) == said

    # One attempt, so that a failure is shown without waiting for retries.
    with (
        Simulator() as simulator,
        turn_finished.connected_to(finished, sender=app),
        hosted(app, simulator, max_attempts=1, provider_attempts=1, burst_window=0.0),
    ):
        talk = simulator.conversation(custom_attributes={attribute: mode})

        for text in texts:
            said += 1
            talk.customer_says(text)
            simulator.wait_until(all_ended, timeout=timeout)

        return _transcript(talk), endings


def _transcript(talk: Talk) -> str:
    said = [each for each in talk.messages if each.type is not MessageType.ACTIVITY]
    public = [message for message in said if not message.private]

    return "\n".join(
        [
            "What the customer sees",
            *map(_line, public),
            "",
            "What operators see",
            *map(_line, said),
        ]
    )


def _line(message: MessageRecord) -> str:
    author = "customer" if message.type is MessageType.INCOMING else "bot"
    choices = [
        f"[{each['title']}]" for each in message.content_attributes.get("items", ())
    ]
    text = " ".join(filter(None, [text_of(message), *choices]))
    indented = text.replace("\n", "\n" + " " * 12)

    return f"  {'note' if message.private else author:<8}  {indented}"
