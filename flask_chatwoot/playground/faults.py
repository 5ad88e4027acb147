"""The faults that the page can turn on, and their effects."""

from __future__ import annotations

import threading
import typing as t
from dataclasses import dataclass
from enum import StrEnum

from flask import current_app

from flask_chatwoot.ownership.mode import Mode
from flask_chatwoot.replies import Provider, Registry
from flask_chatwoot.simulator import Fault, Simulator
from flask_chatwoot.simulator.payloads import JSON, MessageRecord


class ApiFault(StrEnum):
    """What Chatwoot's API does when a message is posted."""

    NONE = "none"
    ERROR = "error"
    LIMIT = "limit"
    CUT = "cut"


INJECTED: t.Final[t.Mapping[ApiFault, Fault]] = {
    ApiFault.ERROR: Fault.SERVER_ERROR,
    ApiFault.LIMIT: Fault.RATE_LIMITED,
    ApiFault.CUT: Fault.CUT_AFTER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Which faults are on.

    :ivar slow: The provider is slow.
    :ivar duplicate: Each message of the customer is delivered twice.
    :ivar forged: A copy with a wrong signature precedes each of these deliveries.
    """

    api: ApiFault = ApiFault.NONE
    slow: bool = False
    duplicate: bool = False
    forged: bool = False

    @classmethod
    def of(cls, given: JSON) -> t.Self:
        """Parse the faults that the page sends.

        :raises ValueError: A fault is unknown, or a switch is not a boolean.
        """
        switches = {name: given.get(name) for name in ("slow", "duplicate", "forged")}

        if wrong := [n for n, value in switches.items() if not isinstance(value, bool)]:
            raise ValueError(f"{', '.join(wrong)}: must be true or false.")

        return cls(
            api=ApiFault(str(given.get("api"))), **t.cast("dict[str, t.Any]", switches)
        )


class FaultSwitches:
    """Turns faults on and off. Thread-safe.

    :param seconds: Seconds a slow provider takes.
    :ivar current: The faults that are on.
    """

    def __init__(self, simulator: Simulator, *, seconds: float) -> None:
        self.current = Faults()
        self._simulator = simulator
        self._seconds = seconds
        self._changed = threading.Condition()

    def set(self, faults: Faults) -> None:
        """Turn these faults on, and all others off. Wakes delayed providers."""
        with self._changed:
            self.current = faults
            self._simulator.clear_faults()

            if fault := INJECTED.get(faults.api):
                self._simulator.inject(fault, times=None)

            self._changed.notify_all()

    def delay(self) -> None:
        """Block as long as a slow provider takes, or until that fault is off."""
        with self._changed:
            self._changed.wait_for(lambda: not self.current.slow, self._seconds)

    def deliver(self, say: t.Callable[[], MessageRecord]) -> MessageRecord:
        """Send a message of the customer, with the faults of its delivery."""
        faults = self.current

        if faults.forged:
            # Held deliveries are made in reverse order: the forged one first.
            with self._simulator.holding():
                message = say()
                self._simulator.deliver(message, signing="wrong")
        else:
            message = say()

        if faults.duplicate:
            self._simulator.deliver(message)

        return message


class SlowedRegistry(Registry):
    """The providers of a host, which the page can slow down."""

    def __init__(self, own: Registry, switches: FaultSwitches) -> None:
        super().__init__()
        self._providers = own._providers
        self._switches = switches

    def find(self, mode: Mode, inbox_id: int | None) -> Provider | None:
        """The most specific provider, delayed while the fault is on, or ``None``."""
        provider = super().find(mode, inbox_id)

        if provider is None:
            return None

        function = provider.function

        def delayed(*arguments: t.Any) -> t.Any:
            self._switches.delay()
            return current_app.ensure_sync(function)(*arguments)

        return provider._replace(function=delayed)
