"""The wire as the page shows it: deliveries and calls, numbered as they ended."""

from __future__ import annotations

import typing as t
from http import HTTPStatus

from flask_chatwoot.payloads import signature
from flask_chatwoot.simulator import Call, Delivery, Simulator
from flask_chatwoot.simulator.encoding import from_json
from flask_chatwoot.simulator.payloads import JSON

Seal = t.Literal["valid", "wrong", "absent"]
"""What is to be said of a delivery's signature."""

_WORKING: t.Final = {"outcome": "working", "reason": None}
"""How a turn stands that has not ended."""


class _Line(t.NamedTuple):
    """A delivery or a call.

    :ivar asks: Whether it may begin a turn; what people and bots write does not.
    """

    exchange: Delivery | Call
    asks: bool


class Wire:
    """What went over the wire. Not safe between threads: its owner has a lock."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._lines: list[_Line] = []
        self._deliveries = 0
        self._calls = 0
        self._turns: dict[int, JSON] = {}

    def look(self) -> None:
        """Number what is new. To be called whenever something has ended."""
        deliveries = self._simulator.deliveries[self._deliveries :]
        calls = self._simulator.calls[self._calls :]
        self._deliveries += len(deliveries)
        self._calls += len(calls)
        self._lines += [_Line(one, asks=not _is_echo(one)) for one in deliveries]
        self._lines += [_Line(one, asks=False) for one in calls]

    def end(self, message_id: int, outcome: str, reason: str | None) -> None:
        """Note how the turn that a message began has ended."""
        self._turns[message_id] = {"outcome": outcome, "reason": reason}

    def entries(self) -> list[JSON]:
        """A line for each, without bodies, in the order in which they began."""
        entries = [
            {"number": number, "began": line.exchange.began, **self._entry(line)}
            for number, line in enumerate(self._lines, 1)
        ]

        return sorted(entries, key=lambda entry: entry["began"])

    def bodies(self, number: int) -> JSON:
        """What was sent and what was answered.

        :raises LookupError: There is no such number.
        """
        line = self._exchange(number)

        if isinstance(line, Call):
            return {"path": line.path, "request": line.json, "answer": line.answer}

        return {
            "headers": dict(line.headers),
            "request": from_json(line.body),
            "answer": line.answer,
        }

    def delivery(self, number: int) -> Delivery:
        """The delivery with this number.

        :raises LookupError: There is none.
        """
        line = self._exchange(number)

        if isinstance(line, Delivery):
            return line

        raise LookupError(f"Number {number} is a call, not a delivery.")

    def _exchange(self, number: int) -> Delivery | Call:
        if not 1 <= number <= len(self._lines):
            raise LookupError(f"There is no number {number} on the wire.")

        return self._lines[number - 1].exchange

    def _entry(self, line: _Line) -> JSON:
        if isinstance(line.exchange, Call):
            return _of_call(line.exchange)

        entry = _of_delivery(line.exchange)

        if line.asks and entry["outcome"] == "accepted":
            entry["turn"] = self._turns.get(line.exchange.message_id or 0, _WORKING)

        return entry


def _is_echo(delivery: Delivery) -> bool:
    """Whether it tells of a message that no customer wrote."""
    body = from_json(delivery.body)

    return (
        delivery.event == "message_created"
        and isinstance(body, dict)
        and body.get("message_type") != "incoming"
    )


def seal_of(delivery: Delivery) -> Seal:
    """What the app made of a delivery's signature."""
    if signature.SIGNATURE_HEADER not in delivery.headers:
        return "absent"

    return "wrong" if delivery.status == HTTPStatus.UNAUTHORIZED else "valid"


def _of_delivery(delivery: Delivery) -> JSON:
    answer = delivery.answer if isinstance(delivery.answer, dict) else {}
    outcome = answer.get("status") if delivery.ok else "refused"

    return {
        "kind": "delivery",
        "what": delivery.event,
        "conversation": delivery.conversation_id,
        "status": delivery.status,
        "ok": delivery.ok,
        "ms": round(delivery.seconds * 1000, 1),
        "signature": seal_of(delivery),
        "outcome": outcome if delivery.status else "unanswered",
        "reason": answer.get("reason") or answer.get("error") or delivery.error,
        "attempt": delivery.attempt,
        "turn": None,
        "again": True,
    }


def _of_call(call: Call) -> JSON:
    good = call.status is not None and call.status < HTTPStatus.BAD_REQUEST

    return {
        "kind": "call",
        "what": call.endpoint or call.path,
        "method": call.method,
        "conversation": _conversation(call.path),
        "status": call.status,
        "ok": good,
        "ms": round(call.seconds * 1000, 1),
        "signature": call.token and f"token_{call.token}",
        "outcome": _outcome(call, good),
        "reason": call.fault,
        "attempt": 1,
        "turn": None,
        "again": False,
    }


def _outcome(call: Call, good: bool) -> str:
    if call.status is None:
        return "unanswered"

    return "done" if good else "refused"


def _conversation(path: str) -> int | None:
    number = path.partition("/conversations/")[2].partition("/")[0]

    return int(number) if number.isdecimal() else None
