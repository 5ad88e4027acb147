"""The switchboard: what can be made to go wrong, and how that is done."""

from __future__ import annotations

import threading
import typing as t
from dataclasses import dataclass
from enum import StrEnum

from flask import current_app

from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.replies import Provider, Registry
from flask_chatwoot.simulator import Fault, Simulator
from flask_chatwoot.simulator.payloads import JSON, Message


class API(StrEnum):
    """How Chatwoot's API does when a message is posted."""

    FINE = "fine"
    ERROR = "error"
    LIMIT = "limit"
    CUT = "cut"


FAULTS: t.Final[t.Mapping[API, Fault]] = {
    API.ERROR: Fault.SERVER_ERROR,
    API.LIMIT: Fault.RATE_LIMITED,
    API.CUT: Fault.CUT_AFTER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """How the switches stand.

    :ivar slow: The provider takes its time.
    :ivar duplicate: Each message of the customer is delivered twice.
    :ivar forged: A copy with a wrong signature comes before each of these deliveries.
    """

    api: API = API.FINE
    slow: bool = False
    duplicate: bool = False
    forged: bool = False

    @classmethod
    def of(cls, given: JSON) -> t.Self:
        """Read what the page sends.

        :raises ValueError: It is no position of the switches.
        """
        switches = {name: given.get(name) for name in ("slow", "duplicate", "forged")}

        if wrong := [n for n, value in switches.items() if not isinstance(value, bool)]:
            raise ValueError(f"{', '.join(wrong)}: must be true or false.")

        return cls(
            api=API(str(given.get("api"))), **t.cast("dict[str, t.Any]", switches)
        )


class Switchboard:
    """The switches. Any thread may use them.

    :param seconds: How much time a slow provider takes.
    """

    def __init__(self, simulator: Simulator, *, seconds: float) -> None:
        self.now = Trouble()
        self._simulator = simulator
        self._seconds = seconds
        self._switched = threading.Condition()

    def switch(self, trouble: Trouble) -> None:
        """Turn everything as told. Whoever is held up goes on if that is over."""
        with self._switched:
            self.now = trouble
            self._simulator.clear_faults()

            if fault := FAULTS.get(trouble.api):
                self._simulator.inject(fault, times=None)

            self._switched.notify_all()

    def hold_up(self) -> None:
        """Block while the provider is slow, and for no longer than it is."""
        with self._switched:
            self._switched.wait_for(lambda: not self.now.slow, self._seconds)

    def deliver(self, say: t.Callable[[], Message]) -> Message:
        """Let the customer say something, and spoil its delivery as told."""
        trouble = self.now

        if trouble.forged:
            # What is held goes out in reverse order: the forgery first.
            with self._simulator.holding():
                message = say()
                self._simulator.deliver(message, signing="wrong")
        else:
            message = say()

        if trouble.duplicate:
            self._simulator.deliver(message)

        return message


class Slowed(Registry):
    """A host's providers, that can be made slow."""

    def __init__(self, own: Registry, board: Switchboard) -> None:
        super().__init__()
        self._providers = own._providers
        self._board = board

    def find(self, mode: Mode, inbox_id: int | None) -> Provider | None:
        """The narrowest provider for a place, behind the switch, or ``None``."""
        provider = super().find(mode, inbox_id)

        if provider is None:
            return None

        function = provider.function

        def held_up(*arguments: t.Any) -> t.Any:
            self._board.hold_up()
            return current_app.ensure_sync(function)(*arguments)

        return provider._replace(function=held_up)
