"""Lets a thread write a suggestion, and a request wait for it, but not for long.

Chatwoot gives up after 15 seconds, and a server has few threads, which must stay free
for deliveries. So few requests of a process wait, and not to the end: the work goes on,
and its text is kept in the database for whoever asks next, in whichever process.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import typing as t

from flask_chatwoot.background import (
    BackgroundThread,
    Forkable,
    new_thread,
    register_for_forks,
    try_to_start,
)
from flask_chatwoot.client.connections import calls_until
from flask_chatwoot.errors import DatabaseError, trace
from flask_chatwoot.logs import about, logger
from flask_chatwoot.queue import deadline
from flask_chatwoot.queue.suggestions import Claimed, Ended, Suggestions, Wanted

from .refusals import RefusedError

PATIENCE: float = 12.0
"""Seconds from the beginning of a request after which it waits no longer."""

_LAST_LOOK: t.Final = 1.5
"""Seconds after that in which its calls of the database end: Chatwoot gives up after
15."""

MOST_WAITING: t.Final = 2
"""Requests of a process that wait at the same time."""

MOST_WRITING: t.Final = 8
"""Suggestions that a process writes at the same time, most of them for nobody who still
waits."""

_LOOK_EVERY: t.Final = 0.2

_RENEW_EVERY: t.Final = 2.0

FAILED: t.Final = "provider_failed"
BUSY: t.Final = "busy"
EMPTY: t.Final = "no_suggestion"
GAVE_UP: t.Final = "gave_up"

Work = t.Callable[[], Ended]
"""Writes a suggestion. May block for long; raises nothing that is expected."""

log = logger(__name__)


class Waiting(Forkable):
    """Counts the requests of this process that wait."""

    def __init__(self) -> None:
        self.reset_in_child()
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """None waits in a new process."""
        self._lock = threading.Lock()
        self._count = 0
        self._here = threading.local()

    @contextlib.contextmanager
    def place(self) -> t.Iterator[float]:
        """A block in which the request of this thread waits; may be nested.

        Calls of Chatwoot's API in it end with the time that the request has, and those
        of the database shortly after it.

        :return: When that is over, by :func:`time.monotonic`.
        :raises RefusedError: Too many wait.
        """
        until = getattr(self._here, "until", None)

        if until is not None:
            yield until
            return

        with self._lock:
            if self._count >= MOST_WAITING:
                raise RefusedError(BUSY)

            self._count += 1

        until = self._here.until = time.monotonic() + PATIENCE

        try:
            with calls_until(until), deadline.by(until + _LAST_LOOK):
                yield until
        finally:
            self._here.until = None

            with self._lock:
                self._count -= 1


class Writing(Forkable):
    """The threads of this process that write suggestions, and their claims."""

    def __init__(self) -> None:
        self._renewing = BackgroundThread(
            "chatwoot-suggestions",
            self._renew,
            busy=lambda: bool(self._claims),
            every=lambda: _RENEW_EVERY,
        )
        self._claims: dict[Claimed, tuple[Suggestions, float]] = {}
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The parent's threads go on there."""
        self._claims = {}

    def begin(
        self, suggestions: Suggestions, claimed: Claimed, work: Work, longest: float
    ) -> threading.Event:
        """Start a thread; the event is set when it has ended.

        :param longest: Seconds after which it counts as failed, because a provider
            hangs. What it writes later is taken if nobody has begun anew.
        """
        done = threading.Event()
        run = functools.partial(self._write, suggestions, claimed, work, done)
        thread = new_thread(run, "chatwoot-suggestion")
        busy = len(self._claims) >= MOST_WRITING
        self._claims[claimed] = suggestions, time.monotonic() + longest

        if busy or not try_to_start(thread):
            self._end(suggestions, claimed, Ended(None, BUSY))
            done.set()
        else:
            self._renewing.ensure()

        return done

    def _write(
        self,
        suggestions: Suggestions,
        claimed: Claimed,
        work: Work,
        done: threading.Event,
    ) -> None:
        try:
            ended = work()
        # Whatever it is, whoever waits must get an answer, now and at the next press.
        except BaseException as error:  # noqa: BLE001
            with about(claimed.conversation_id):
                log.error("a suggestion failed: %s", trace(error))  # noqa: TRY400

            ended = Ended(None, FAILED)

        self._end(suggestions, claimed, ended)
        done.set()

    def _end(self, suggestions: Suggestions, claimed: Claimed, ended: Ended) -> None:
        try:
            suggestions.end(claimed, ended)
        except DatabaseError as error:  # the claim ends by itself
            with about(claimed.conversation_id):
                log.warning("a suggestion was not stored: %s", error)
        finally:
            self._claims.pop(claimed, None)

    def _renew(self) -> None:
        for claimed, (suggestions, late_at) in list(self._claims.items()):
            if time.monotonic() < late_at:
                with contextlib.suppress(DatabaseError):  # what ends is begun anew
                    suggestions.renew(claimed)
            else:
                with about(claimed.conversation_id):
                    log.error("there is no suggestion: the provider does not answer")

                self._end(suggestions, claimed, Ended(None, FAILED))


waiting: t.Final = Waiting()
"""Of this process, whose threads all its apps share."""

writing: t.Final = Writing()


def written(
    suggestions: Suggestions,
    wanted: Wanted,
    work: Work,
    *,
    until: float,
    longest: float,
) -> str:
    """A suggestion, written now, or by another one who asked for the same.

    Blocks for as long as the request has time, besides a look into the database. Begins
    the work in any case: the next request gets its text.

    :param until: When that time is over, by :func:`time.monotonic`.
    :param longest: Seconds after which the work counts as failed.
    :raises RefusedError: There is none, or none yet.
    :raises DatabaseError: The database failed.
    """
    done = threading.Event()
    found = suggestions.ask(wanted)

    while not isinstance(found, Ended):
        if isinstance(found, Claimed):
            done = writing.begin(suggestions, found, work, longest)

        left = until - time.monotonic()

        if left <= 0:
            with contextlib.suppress(DatabaseError):  # the text is kept for longer
                suggestions.leave(wanted)

            raise RefusedError("still_writing")

        if done.wait(min(left, _LOOK_EVERY)):
            done = threading.Event()

        found = suggestions.ask(wanted, again=True)

    if found.content is None:
        code, _, given = (found.failure or FAILED).partition("\n")
        raise RefusedError(code, given)

    return found.content
