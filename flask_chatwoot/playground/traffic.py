"""The traffic as the page shows it, numbered in the order in which it ended."""

from __future__ import annotations

import time
import typing as t
from http import HTTPStatus

from flask_chatwoot.payloads import signature
from flask_chatwoot.simulator import Call, Completion, Delivery, Simulator
from flask_chatwoot.simulator.encoding import from_json
from flask_chatwoot.simulator.payloads import JSON

from .crashes import Crash

SignatureState = t.Literal["valid", "wrong", "absent"]

_WORKING: t.Final = {"outcome": "working", "reason": None}
"""The state of a turn that has not ended."""


Exchange = Delivery | Call | Completion | Crash
"""A delivery, a call of the app, a question of the composer, or an error between."""


class _Entry(t.NamedTuple):
    """One exchange.

    :ivar begins_turn: Whether it may begin a turn: the message, if it is about one, is
        a customer's.
    """

    exchange: Exchange
    begins_turn: bool


KeptTraffic = tuple[list[_Entry], dict[int, JSON]]


class Traffic:
    """All exchanges. Not thread-safe: its owner has a lock.

    :param kept: What :meth:`kept` of another returned, whose place this one takes.
    """

    def __init__(self, simulator: Simulator, kept: KeptTraffic | None = None) -> None:
        self._simulator = simulator
        self._clock = time.time() - time.monotonic()
        self._entries, self._turns = kept or ([], {})
        exchanges = [type(entry.exchange) for entry in self._entries]
        self._deliveries = exchanges.count(Delivery)
        self._calls = exchanges.count(Call)
        self._completions = exchanges.count(Completion)

    def kept(self) -> KeptTraffic:
        """What another needs to take the place of this one."""
        return self._entries, self._turns

    def refresh(self) -> None:
        """Number the new ones. To be called whenever an exchange has ended."""
        deliveries = self._simulator.deliveries[self._deliveries :]
        calls = self._simulator.calls[self._calls :]
        self._deliveries += len(deliveries)
        completions = self._simulator.completions[self._completions :]
        self._calls += len(calls)
        self._completions += len(completions)
        self._entries += [
            _Entry(one, begins_turn=not _is_echo(one)) for one in deliveries
        ]
        others: list[Exchange] = [*calls, *completions]
        self._entries += [_Entry(one, begins_turn=False) for one in others]

    def end(self, message_id: int, outcome: str, reason: str | None) -> None:
        """Keep the outcome of the turn that a message began."""
        self._turns[message_id] = {"outcome": outcome, "reason": reason}

    def add(self, crash: Crash) -> None:
        """Number an error of the app."""
        self._entries.append(_Entry(crash, begins_turn=False))

    def entries(self) -> list[JSON]:
        """One entry for each, without bodies, in the order in which they began.

        What a browser asks of Chatwoot is not the app's, and is left out.
        """
        entries = [
            {
                "number": number,
                "began": entry.exchange.began,
                "time": entry.exchange.began + self._clock,
                **self._shown(entry),
            }
            for number, entry in enumerate(self._entries, 1)
            if not (isinstance(entry.exchange, Call) and entry.exchange.browser)
        ]

        return sorted(entries, key=lambda entry: entry["began"])

    def bodies(self, number: int) -> JSON:
        """The bodies of an exchange, of the request and of the answer.

        :raises LookupError: There is no such number.
        """
        match self._exchange(number):
            case Call() as call:
                return {
                    "path": call.path,
                    "request": call.json,
                    "answer": call.answer,
                }
            case Completion() as completion:
                return {"request": completion.body, "answer": completion.answer}
            case Crash() as crash:
                return {"traceback": crash.text}
            case Delivery() as delivery:
                return {
                    "headers": dict(delivery.headers),
                    "request": from_json(delivery.body),
                    "answer": delivery.answer,
                }

    def delivery(self, number: int) -> Delivery:
        """The delivery with this number.

        :raises LookupError: There is none.
        """
        exchange = self._exchange(number)

        if isinstance(exchange, Delivery):
            return exchange

        raise LookupError(f"Number {number} is not a delivery.")

    def _exchange(self, number: int) -> Exchange:
        if not 1 <= number <= len(self._entries):
            raise LookupError(f"There is no number {number} in the traffic.")

        return self._entries[number - 1].exchange

    def _shown(self, entry: _Entry) -> JSON:
        match entry.exchange:
            case Call() as call:
                return _of_call(call)
            case Completion() as completion:
                return _of_completion(completion)
            case Crash() as crash:
                return _of_crash(crash)
            case Delivery() as delivery:
                return self._of_delivery(delivery, entry.begins_turn)

    def _of_delivery(self, delivery: Delivery, begins_turn: bool) -> JSON:
        shown = _of_delivery(delivery)

        if begins_turn and shown["outcome"] == "accepted":
            shown["turn"] = self._turns.get(delivery.message_id or 0, _WORKING)

        return shown


def _is_echo(delivery: Delivery) -> bool:
    """Whether it is about a message that no customer wrote."""
    body = from_json(delivery.body)

    return (
        delivery.event == "message_created"
        and isinstance(body, dict)
        and body.get("message_type") != "incoming"
    )


def _signature_of(delivery: Delivery) -> SignatureState:
    """Whether the app accepted a delivery's signature."""
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
        "signature": _signature_of(delivery),
        "outcome": outcome if delivery.status else "unanswered",
        "reason": answer.get("reason") or answer.get("error") or delivery.error,
        "attempt": delivery.attempt,
        "turn": None,
        "again": True,
    }


def _of_call(call: Call) -> JSON:
    ok = call.status is not None and call.status < HTTPStatus.BAD_REQUEST

    return {
        "kind": "call",
        "what": call.endpoint or call.path,
        "method": call.method,
        "detail": _detail(call),
        "conversation": _conversation(call.path),
        "status": call.status,
        "ok": ok,
        "ms": round(call.seconds * 1000, 1),
        "signature": call.token and f"token_{call.token}",
        "outcome": _outcome(call.status, ok),
        "reason": call.fault,
        "attempt": 1,
        "turn": None,
        "again": False,
    }


def _of_completion(completion: Completion) -> JSON:
    ok = completion.status == HTTPStatus.OK

    return {
        "kind": "question",
        "what": completion.task,
        "conversation": completion.conversation_id,
        "status": completion.status,
        "ok": ok,
        "ms": round(completion.seconds * 1000, 1),
        "signature": "key",
        "outcome": _outcome(completion.status, ok),
        "reason": completion.error,
        "attempt": completion.attempt,
        "turn": None,
        "again": False,
    }


def _of_crash(crash: Crash) -> JSON:
    return {
        "kind": "crash",
        "what": crash.name,
        "conversation": crash.conversation_id,
        "status": None,
        "ok": False,
        "ms": None,
        "signature": None,
        "outcome": crash.where,
        "reason": None,
        "attempt": 1,
        "turn": None,
        "again": False,
    }


def _outcome(status: int | None, ok: bool) -> str:
    if status is None:
        return "unanswered"

    return "done" if ok else "refused"


def _detail(call: Call) -> str | None:
    """What tells the calls of one endpoint apart."""
    match call.json:
        case {"typing_status": str(status)} | {"status": str(status)}:
            return status

    return None


def _conversation(path: str) -> int | None:
    number = path.partition("/conversations/")[2].partition("/")[0]

    return int(number) if number.isdecimal() else None
