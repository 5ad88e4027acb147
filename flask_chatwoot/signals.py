"""Signals that a host can connect to. The sender is always the Flask app object.

Receivers are plain functions, called in the thread that handles the turn.
"""

from __future__ import annotations

import logging
import typing as t

from blinker import NamedSignal, Namespace

from .errors import trace

log = logging.getLogger(__name__)

_signals = Namespace()

before_post = _signals.signal(
    "before-post",
    """Sent before every attempt to create a message in Chatwoot. Receives ``post``, the
    :class:`~flask_chatwoot.Post` that will be created.""",
)

after_post = _signals.signal(
    "after-post",
    """Sent after every attempt, exactly once per :data:`before_post`. Receives
    ``post``, ``message_id`` (the created message's id, or ``None``), ``error`` (the
    failure, usually an :class:`~flask_chatwoot.errors.APIError`, or ``None``) and
    ``seconds`` (the duration of the attempt). Both an id and an error mean that the
    message was created and that its id could not be stored.""",
)

turn_finished = _signals.signal(
    "turn-finished",
    """Sent when a turn has ended. Receives ``turn`` (the
    :class:`~flask_chatwoot.Turn`), ``outcome`` (a :class:`~flask_chatwoot.TurnOutcome`)
    and ``reason`` (a :class:`~flask_chatwoot.Reason`, a text of the host's policy, or
    ``None``).""",
)

undelivered = _signals.signal(
    "undelivered",
    """Sent once for each message of this app that the channel refused after Chatwoot
    had accepted it. Receives ``conversation_id``, ``message_id``, ``error`` (the
    channel's text, which may quote a customer's address), and ``outcome`` and
    ``reason`` of what was done about it: ``handed_off``, or ``declined`` where
    operators have the conversation. The turn's :data:`turn_finished` is not sent
    again.""",
)


def send(signal: NamedSignal, sender: t.Any, **values: t.Any) -> None:
    """Call every receiver, and log the error of one that raises.

    Unlike ``Signal.send``, this does not stop at the first error: an error in an audit
    log must not prevent the reply to a customer.
    """
    if not signal.receivers:
        return

    for receiver in signal.receivers_for(sender):
        try:
            receiver(sender, **values)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the host's code may raise anything
            log.error("a receiver of %s failed: %s", signal.name, trace(error))  # noqa: TRY400
