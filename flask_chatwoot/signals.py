"""What a host may listen to. The sender is always the Flask app object.

Receivers are plain functions, called in the thread that works on the turn.
"""

from __future__ import annotations

import logging
import typing as t

from blinker import NamedSignal, Namespace

from .errors import trace

log = logging.getLogger(__name__)

_signals = Namespace()

before_post = _signals.signal("before-post")
"""Sent before every attempt to create a message in Chatwoot. Receives ``post``, the
:class:`~flask_chatwoot.Post` about to be made."""

after_post = _signals.signal("after-post")
"""Sent after every attempt, exactly once per :data:`before_post`. Receives ``post``,
``message_id`` (the created message's id, or ``None``), ``error`` (what went wrong, an
:class:`~flask_chatwoot.errors.APIError` as a rule, or ``None``) and ``seconds`` (how
long the attempt took). Both an id and an error: it was made, and could not be noted."""

turn_finished = _signals.signal("turn-finished")
"""Sent when a turn ends for good. Receives ``turn`` (the
:class:`~flask_chatwoot.Turn`), ``outcome`` (a :class:`~flask_chatwoot.TurnOutcome`)
and ``reason`` (a :class:`~flask_chatwoot.Reason`, or ``None``)."""


def send(signal: NamedSignal, sender: t.Any, **values: t.Any) -> None:
    """Call every receiver; one that raises is logged and changes nothing.

    An audit log must not cost a customer the reply, so this does not stop at the
    first error as ``Signal.send`` does.
    """
    if not signal.receivers:
        return

    for receiver in signal.receivers_for(sender):
        try:
            receiver(sender, **values)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the host's code, any error at all
            log.error("a receiver of %s failed: %s", signal.name, trace(error))  # noqa: TRY400
