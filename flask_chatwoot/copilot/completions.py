"""Calls the host's function for whatever an operator asks besides suggestions.

It runs in a thread of its own, so that the request can be answered in time. What comes
later is dropped: nothing says that the operator would ask for the same again.
"""

from __future__ import annotations

import functools
import threading
import time
import typing as t
from dataclasses import dataclass, field

from flask import Flask

from flask_chatwoot import signals
from flask_chatwoot.background import (
    Forkable,
    new_thread,
    register_for_forks,
    try_to_start,
)
from flask_chatwoot.errors import GiveUp, ProviderError, name_of, trace
from flask_chatwoot.logs import logger
from flask_chatwoot.payloads.fields import is_visible, storable
from flask_chatwoot.replies import plain
from flask_chatwoot.runtime import CompletionFunction

from .refusals import RefusedError

MOST: t.Final = 8
"""Calls of a process at the same time, most of them for nobody who still waits."""

LONGEST: t.Final = 600.0
"""Seconds after which a call no longer counts: the function hangs."""

Messages = t.Sequence[t.Mapping[str, t.Any]]

log = logger(__name__)


@dataclass(eq=False, repr=False)
class _Completion:
    """One call of the function.

    :ivar answer: What the function returned.
    :ivar failure: Why there is no answer.
    """

    began: float = field(default_factory=time.monotonic)
    ended: threading.Event = field(default_factory=threading.Event)
    answer: t.Any = None
    failure: RefusedError | None = None
    dropped: bool = False


class Completions(Forkable):
    """The calls of the function in this process. Threads share it."""

    def __init__(self) -> None:
        self.reset_in_child()
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The parent's calls go on there."""
        self._lock = threading.Lock()
        self._running: set[_Completion] = set()

    def begin(self, work: t.Callable[[], t.Any]) -> _Completion:
        """Call a function in a thread.

        :raises RefusedError: Too many run.
        """
        call = _Completion()
        run = functools.partial(self._run, call, work)
        thread = new_thread(run, "chatwoot-completion")

        with self._lock:
            counted = [x for x in self._running if call.began - x.began < LONGEST]
            self._running = {*counted}

            if len(counted) >= MOST or not try_to_start(thread):
                raise RefusedError("busy")

            self._running.add(call)

        return call

    def _run(self, call: _Completion, work: t.Callable[[], t.Any]) -> None:
        try:
            call.answer = work()
        except RefusedError as error:
            call.failure = error
        finally:
            call.ended.set()

            with self._lock:
                self._running.discard(call)

        if call.dropped:
            seconds = time.monotonic() - call.began
            log.warning("a completion came after %.0f s and was dropped", seconds)


completions: t.Final = Completions()


def complete(
    app: Flask,
    function: CompletionFunction | None,
    messages: Messages,
    *,
    until: float,
) -> str:
    """The host's answer to messages. Blocks for as long as the request has time.

    :param until: When that is over, by :func:`time.monotonic`.
    :raises RefusedError: There is no text, or not in time.
    """
    if function is None:
        raise RefusedError("no_completion_provider")

    # Copies, which the function may change.
    asked = [dict(each) for each in messages]
    call = completions.begin(functools.partial(_answer, app, function, asked))

    if not call.ended.wait(max(until - time.monotonic(), 0.0)):
        call.dropped = True
        raise RefusedError("too_slow")

    if call.failure:
        raise call.failure

    return _text(call.answer, function)


def _answer(
    app: Flask, function: CompletionFunction, messages: list[dict[str, t.Any]]
) -> t.Any:
    """Call the function, in an app context.

    :raises RefusedError: It raised, which was logged.
    """
    try:
        with app.app_context():
            return app.ensure_sync(function)(messages)
    except GiveUp as error:
        raise RefusedError("gave_up", error.reason or "") from None
    # Any error of the host's code, sys.exit() and the end of the context included. Its
    # text would be printed at the end of the thread.
    except BaseException as error:  # noqa: BLE001
        log.error("the completion provider raised %s", trace(error))  # noqa: TRY400
        signals.report(app, "completion", error)
        raise RefusedError("completion_failed") from None


def _text(answer: t.Any, function: CompletionFunction) -> str:
    if answer is not None and not isinstance(answer, str):
        log.error(
            "the completion provider %s returned %s; return text, or None",
            name_of(function),
            type(answer).__name__,
        )
        raise RefusedError("completion_failed")

    text = storable(answer or "")

    if not is_visible(text):
        raise RefusedError("no_completion")

    return text


def checked(function: t.Any) -> CompletionFunction:
    """A function that can be registered.

    :raises ProviderError: It is none, or it is async without the extra.
    """
    if not callable(function):
        raise ProviderError(
            f"A completion provider must be a function, not {type(function).__name__}."
        )

    return t.cast(CompletionFunction, plain(function))
