"""The providers at work in this process, and what happens to one that takes too long.

Python cannot end the call of a function. So its turn is given up beside it: another
worker posts the note for operators, the answer that comes late is dropped, and the
thread is *stuck* until then.
"""

from __future__ import annotations

import contextlib
import threading
import time
import typing as t

from flask_chatwoot.background import Forkable, register_for_forks
from flask_chatwoot.errors import ChatwootError, LeaseLostError, described
from flask_chatwoot.logs import about, logger
from flask_chatwoot.queue.claimed import Job

log = logger(__name__)

_ticks: t.Final = time.monotonic


class LateAnswerError(ChatwootError):
    """A provider has come to its end after its turn was given up."""


class _Call:
    """The call of a provider about a job.

    :ivar give_up: Gives the turn up.
    :ivar is_late: It takes too long; its answer is not used any more.
    :ivar is_given_up: That is done.
    """

    def __init__(self, job: Job, give_up: t.Callable[[], object]) -> None:
        self.job = job
        self.give_up = give_up
        self.thread = threading.current_thread()
        self.began = _ticks()
        self.is_late = False
        self.is_given_up = False


class Calls(Forkable):
    """The calls of this process. Threads share it.

    It has no thread of its own: :meth:`end_late` must be called about once a second.

    :param longest: Seconds that a provider may take.
    """

    def __init__(self, longest: float) -> None:
        self.longest = longest
        self.reset_in_child()
        register_for_forks(self)

    def reset_in_child(self) -> None:
        """The calls are the parent's."""
        self._lock = threading.Lock()
        self._calls: list[_Call] = []

    @property
    def stuck(self) -> list[threading.Thread]:
        """The threads of providers whose turns were given up, and which go on."""
        with self._lock:
            return [each.thread for each in self._calls if each.is_given_up]

    @contextlib.contextmanager
    def limited(self, job: Job, give_up: t.Callable[[], object]) -> t.Iterator[None]:
        """A block in which a provider is called.

        :param give_up: Gives the turn up if that takes too long. Called in another
            thread, and again if it raises.
        :raises LateAnswerError: It took too long, whatever it returned or raised.
        """
        call = _Call(job, give_up)
        error: Exception | None = None

        with self._lock:
            self._calls.append(call)

        try:
            yield
        except Exception as raised:  # noqa: BLE001 - raised below
            error = raised
        finally:
            is_late = self._leave(call)

        if is_late:
            raise LateAnswerError("The turn was given up.") from error

        if error is not None:
            raise error

    def _leave(self, call: _Call) -> bool:
        """Forget a call; whether it took too long."""
        with self._lock:
            self._calls.remove(call)

        if call.is_late:
            seconds = _ticks() - call.began
            log.warning(
                "the provider's answer came after %.0f s and was dropped", seconds
            )

        return call.is_late

    def end_late(self) -> list[Job]:
        """Give up the turns of providers that take too long. Blocks meanwhile.

        :return: Their jobs, which are not this process's any more.
        """
        return [each.job for each in self._late() if self._give_up(each)]

    def _give_up(self, call: _Call) -> bool:
        with about(call.job.conversation_id, call.job.id):
            return _is_given_up(call)

    def _late(self) -> list[_Call]:
        """The calls whose turns are still to be given up."""
        latest = _ticks() - self.longest

        with self._lock:
            for each in self._calls:
                each.is_late |= each.began <= latest

            return [e for e in self._calls if e.is_late and not e.is_given_up]


def _is_given_up(call: _Call) -> bool:
    """Give a turn up; whether it is. If not, that is tried again."""
    try:
        call.give_up()
    except LeaseLostError as error:
        log.warning("%s Its turn was abandoned here.", error)
    except Exception as error:  # noqa: BLE001 - the others must be given up all the same
        log.error("the job was not given up: %s", described(error))  # noqa: TRY400
        return False

    call.is_given_up = True

    return True
