"""A network between a simulated Chatwoot and an app, which loses some of what it gets.

All rates are fractions of one.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import queue
import random
import socket
import threading
import time
import typing as t
from collections import Counter
from dataclasses import dataclass
from urllib.parse import urlsplit

from werkzeug.wrappers import Request, Response

HOP: t.Final = {"connection", "host", "content-length", "transfer-encoding", "date"}
PAGE: t.Final = b"<html><body>The proxy shows a page.</body></html>"


class Answer(t.NamedTuple):
    status: int
    headers: t.Mapping[str, str] = {}
    body: bytes = b""


def call(
    address: str,
    method: str,
    path: str,
    headers: t.Mapping[str, str],
    body: bytes,
    timeout: float,
) -> Answer | None:
    """Make a request; ``None`` if no answer came."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(
        str(parts.hostname), parts.port, timeout=timeout
    )

    try:
        connection.request(method, path, body, dict(headers))
        got = connection.getresponse()

        return Answer(got.status, passed_on(got.headers.items()), got.read())
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def passed_on(headers: t.Iterable[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in HOP}


# -- from the app to Chatwoot ------------------------------------------------------


class Fault(t.NamedTuple):
    """What happens to a call.

    :ivar reaches: Whether Chatwoot gets it.
    :ivar answer: What is answered instead; ``None``: the connection is cut.
    :ivar pause: Seconds before Chatwoot's own answer.
    """

    reaches: bool
    answer: Answer | None = None
    pause: float = 0.0


FAULTS: t.Final[t.Mapping[str, Fault]] = {
    "answer lost": Fault(True),
    "request lost": Fault(False),
    "500": Fault(False, Answer(500)),
    "502 after it was done": Fault(True, Answer(502, {}, PAGE)),
    "429": Fault(False, Answer(429, {"Retry-After": "1"}, b"Retry later\n")),
    "HTML": Fault(False, Answer(200, {"Content-Type": "text/html"}, PAGE)),
    "slow": Fault(True, pause=0.5),
    "too slow": Fault(True, pause=4.0),
}


class ApiProxy:
    """Passes calls to Chatwoot, and spoils some of them.

    :ivar rate: Of calls that are spoilt; may be changed.
    :ivar seen: How many calls had which fault; under "passed", those without one.
    """

    def __init__(self, target: str, *, seed: int, rate: float) -> None:
        self.rate = rate
        self.seen: Counter[str] = Counter()
        self._target = target
        self._chance = random.Random(seed)  # noqa: S311 - the same each time

    def __call__(self, environ: t.Any, start: t.Any) -> t.Iterable[bytes]:
        request = Request(environ)
        body = request.get_data()
        name = "passed"

        if self._chance.random() < self.rate:
            name = self._chance.choice([*FAULTS])

        self.seen[name] += 1
        answer = self._answer(request, body, FAULTS.get(name))

        if answer is None:
            with contextlib.suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)

            answer = Answer(500)  # is not sent: the connection is closed

        response = Response(answer.body, answer.status, headers=dict(answer.headers))

        return response(environ, start)

    def _answer(
        self, request: Request, body: bytes, fault: Fault | None
    ) -> Answer | None:
        if fault and not fault.reaches:
            return fault.answer

        path = request.full_path.removesuffix("?")
        headers = passed_on(request.headers.items())
        answer = call(self._target, request.method, path, headers, body, timeout=10.0)

        if fault and fault.pause:
            time.sleep(fault.pause)
            return answer

        return fault.answer if fault else answer


# -- from Chatwoot to the app ------------------------------------------------------


@dataclass(frozen=True)
class Sent:
    """One attempt at a delivery.

    :ivar ended: Unix seconds.
    """

    ended: float
    status: int | None


class _Delivery(t.NamedTuple):
    message_id: int
    conversation_id: int
    headers: t.Mapping[str, str]
    body: bytes


class DeliveryProxy:
    """Takes deliveries from Chatwoot at once, and passes them to the app.

    Those of a conversation stay in order, except the late and the repeated ones.

    :param loss: Rate of deliveries that do not reach the app. Of the others a tenth is
        doubled, and a twentieth late.
    :param repeats: Make refused deliveries again until the app accepts them.
    :ivar sent: Message id to the attempts at its delivery.
    :ivar seen: How many deliveries were lost, doubled, late and refused.
    """

    def __init__(
        self, target: str, *, seed: int, loss: float, repeats: bool, threads: int = 8
    ) -> None:
        self.sent: dict[int, list[Sent]] = {}
        self.seen: Counter[str] = Counter()
        self._target = target
        self._seed = seed
        self._loss = loss
        self._repeats = repeats
        self._queues = [queue.SimpleQueue[_Delivery]() for _ in range(threads)]

        for each in self._queues:
            threading.Thread(target=self._work, args=[each], daemon=True).start()

    def __call__(self, environ: t.Any, start: t.Any) -> t.Iterable[bytes]:
        request = Request(environ)
        body = request.get_data()
        payload = json.loads(body)

        if payload["event"] == "message_created":
            delivery = _Delivery(
                payload["id"],
                payload["conversation"]["id"],
                passed_on(request.headers.items()),
                body,
            )
            self._decide(delivery, str(payload["content"]))

        return Response()(environ, start)

    def accepted(self, message_id: int) -> float | None:
        """When a delivery was first accepted by the app; ``None``: never."""
        ends = [
            each.ended
            for each in self.sent.get(message_id, ())
            if each.status in (200, 202)
        ]

        return min(ends, default=None)

    def _decide(self, delivery: _Delivery, content: str) -> None:
        """Choose what becomes of it, by its text: ids depend on the timing."""
        chance = random.Random(f"{self._seed} {content}")  # noqa: S311

        if chance.random() < self._loss:
            self.seen["lost"] += 1
            return

        drawn = chance.random()

        if drawn < 0.05:
            self.seen["late"] += 1
            self._later(chance.uniform(0.5, 6.0), delivery)
            return

        self._put(delivery)

        if drawn < 0.15:
            self.seen["doubled"] += 1
            self._later(chance.choice([0.0, 1.0]), delivery)

    def _put(self, delivery: _Delivery) -> None:
        self._queues[delivery.conversation_id % len(self._queues)].put(delivery)

    def _later(self, seconds: float, delivery: _Delivery) -> None:
        timer = threading.Timer(seconds, self._put, [delivery])
        timer.daemon = True
        timer.start()

    def _work(self, queued: queue.SimpleQueue[_Delivery]) -> None:
        while delivery := queued.get():
            # Chatwoot waits for 5 s.
            answer = call(
                *(self._target, "POST", "/chatwoot/webhook"),
                *(delivery.headers, delivery.body),
                timeout=5.0,
            )
            status = answer.status if answer else None
            sent = Sent(time.time(), status)
            self.sent.setdefault(delivery.message_id, []).append(sent)

            if status not in (200, 202):
                self.seen[f"refused: {status or 'no answer'}"] += 1

                if self._repeats:
                    self._later(1.0, delivery)
