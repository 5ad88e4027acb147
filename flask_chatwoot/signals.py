"""Signals that a host can connect to. The sender is always the Flask app object.

Receivers are plain functions, called in the thread that handles the turn.
"""

from __future__ import annotations

import typing as t

from blinker import NamedSignal, Namespace

from .errors import ChatwootError, trace
from .logs import logger

log = logger(__name__)

_signals = Namespace()

before_post = _signals.signal(
    "before-post",
    """Sent before every attempt to create a message in Chatwoot. Receives ``post``, the
    :class:`~flask_chatwoot.Post` that will be created. If receivers of a public post
    take longer than a second, the conversation is looked at once more. If it has
    changed, nothing is sent; what is posted then, a note for example, is another
    attempt.""",
)

after_post = _signals.signal(
    "after-post",
    """Sent after every attempt, exactly once per :data:`before_post`. Receives
    ``post``, ``message_id`` (the created message's id, or ``None``), ``error`` (the
    failure, usually an :class:`~flask_chatwoot.errors.APIError`, or ``None``) and
    ``seconds`` (the duration of the attempt). Both an id and an error mean that the
    message was created and that its id could not be stored.""",
)

turn_due = _signals.signal(
    "turn-due",
    """Sent after a message was stored that a turn will answer, and, with
    ``CHATWOOT_DRAFT_FEEDBACK``, an operator's reply that is compared with a draft.
    Receives ``account_id`` and ``conversation_id``, which :meth:`.Chatwoot.work` takes:
    for an engine of the host that runs the turns. Delays the answer to the delivery.
    The turn is due ``CHATWOOT_BURST_WINDOW`` seconds later, for which that method
    waits.""",
)

turn_finished = _signals.signal(
    "turn-finished",
    """Sent when a turn has ended. Receives ``turn`` (the
    :class:`~flask_chatwoot.Turn`), ``outcome`` (a :class:`~flask_chatwoot.TurnOutcome`)
    and ``reason`` (a :class:`~flask_chatwoot.Reason`, a text of the host's policy, or
    ``None``).""",
)

suggested = _signals.signal(
    "suggested",
    """Sent when a suggestion is returned to an operator, each time. Receives ``turn``
    (the :class:`~flask_chatwoot.Turn`, whose ``purpose`` is ``"suggestion"``) and
    ``text`` (what the operator gets). Delays the answer to the operator. Nothing is
    posted: whether the operator sends the text is not known then.""",
)

draft_reviewed = _signals.signal(
    "draft-reviewed",
    """Sent after an operator's public reply, for each draft that came before it in the
    conversation: the note of a turn, or a suggestion; only with
    ``CHATWOOT_DRAFT_FEEDBACK``. Receives ``turn`` (a :class:`~flask_chatwoot.Turn` with
    ids, ``mode`` and ``purpose`` alone: what the customer wrote is not kept, but its
    ``message_id`` is that of the turn that :data:`turn_finished` or :data:`suggested`
    has sent), ``draft`` and ``reply`` (the texts, which are deleted), ``verdict`` (a
    :class:`~flask_chatwoot.DraftVerdict`) and ``similarity`` (from 0 to 1). Sent once
    for each draft, by whichever process compares the two; not sent if that process ends
    right then.""",
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

got_exception = _signals.signal(
    "got-exception",
    """Sent when the app's own code raised: with this an error tracker gets what the log
    leaves out because it may quote a customer. Receives ``exc_info`` (class, error and
    traceback), ``where`` (``"provider"``, ``"completion"``, ``"policy"``,
    ``"receiver"`` of a signal, or ``"turn"``, which is anywhere else) and ``turn`` (the
    :class:`~flask_chatwoot.Turn`, or ``None`` where there is none). It is sent as well
    for a reply that cannot be posted, and for what a policy returns that is no
    decision.""",
)


def report(
    sender: t.Any, where: str, error: BaseException, turn: object = None
) -> None:
    """Send :data:`got_exception`.

    :param error: One of the package is replaced by its cause, if it has one.
    """
    if isinstance(error, ChatwootError):
        error = error.__cause__ or error

    exc_info = type(error), error, error.__traceback__
    send(got_exception, sender, where=where, exc_info=exc_info, turn=turn)


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
        except KeyboardInterrupt:
            raise
        # Any error of the host's code: sys.exit() would end the turn, not the process.
        except BaseException as error:  # noqa: BLE001
            log.error("a receiver of %s failed: %s", signal.name, trace(error))  # noqa: TRY400

            if signal is not got_exception:
                report(sender, "receiver", error)
