"""A network between a simulated Chatwoot and an app, which loses some of what it gets.

Both proxies are WSGI apps. Rates are fractions of one.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import queue
import random
import re
import socket
import threading
import time
import typing as t
from collections import Counter, defaultdict
from urllib.parse import urlsplit

from werkzeug.wrappers import Request, Response

HOP: t.Final = {"connection", "host", "content-length", "transfer-encoding", "date"}
NEWEST: t.Final = re.compile(r"GET /api/v1/accounts/\d+/conversations/(\d+)/messages\?")
CHATWOOT_TIMEOUT: t.Final = 5.0
"""Seconds that Chatwoot waits for the answer to a delivery."""

THREADS: t.Final = 8
"""Deliveries under way at once to each address."""


def passed_on(request: Request, address: str, timeout: float) -> Response | None:
    """The answer of the server at an address; ``None`` if none came."""
    headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP}
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=timeout)

    try:
        path = request.full_path.removesuffix("?")
        connection.request(request.method, path, request.get_data(), headers)
        got = connection.getresponse()
        kept = [each for each in got.headers.items() if each[0].lower() not in HOP]

        return Response(got.read(), got.status, kept)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


# -- from the app to Chatwoot ------------------------------------------------------


class Fault(t.NamedTuple):
    """What happens to a call.

    :ivar done: Whether Chatwoot gets it.
    :ivar answer: Makes the answer; ``None``: the connection is cut.
    :ivar pause: Seconds before Chatwoot's own answer.
    """

    done: bool
    answer: t.Callable[[], Response] | None = None
    pause: float = 0.0


_page = functools.partial(Response, "<html>A page</html>", content_type="text/html")
_refused = functools.partial(Response, "Retry later\n", 429, {"Retry-After": "1"})

FAULTS: t.Final[t.Mapping[str, Fault]] = {
    "request lost": Fault(False),
    "answer lost": Fault(True),
    "429": Fault(False, _refused),
    "500": Fault(False, functools.partial(Response, status=500)),
    "502, but done": Fault(True, functools.partial(_page, status=502)),
    "HTML": Fault(False, _page),
    "HTML, but done": Fault(True, _page),
    "slow": Fault(True, pause=0.5),
    "too slow": Fault(True, pause=4.0),
}


class ApiProxy:
    """Passes calls to Chatwoot, and spoils some of them.

    :ivar rate: Of calls that are spoilt; may be changed.
    :ivar seen: How many calls had which fault; under "passed", those without one.
    :ivar reads: Conversation id to the times when its newest messages were listed.
    """

    def __init__(self, target: str, seed: int) -> None:
        self.rate = 0.0
        self.reads: dict[int, list[float]] = defaultdict(list)
        self.seen: Counter[str] = Counter()
        self._target = target
        self._chance = random.Random(seed)  # noqa: S311 - the same each time

    def __call__(self, environ: t.Any, start: t.Any) -> t.Iterable[bytes]:
        spoilt = self._chance.random() < self.rate
        name = self._chance.choice([*FAULTS]) if spoilt else "passed"
        self.seen[name] += 1
        request = Request(environ)
        request.get_data()  # or the end of the connection would hide the answer
        answer = self._answer(request, FAULTS.get(name))

        if answer is None:
            with contextlib.suppress(OSError):
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)

        # Without an answer this is not sent: the connection is closed.
        return (answer or Response())(environ, start)

    def _answer(self, request: Request, fault: Fault | None) -> Response | None:
        own = None

        if fault is None or fault.done:
            own = passed_on(request, self._target, timeout=10.0)

        listed = NEWEST.fullmatch(f"{request.method} {request.full_path}")

        if listed and fault is None:
            self.reads[int(listed[1])].append(time.time())

        if fault is None or fault.pause:
            time.sleep(fault.pause if fault else 0.0)
            return own

        return fault.answer and fault.answer()


# -- from Chatwoot to the app ------------------------------------------------------


class DeliveryProxy:
    """Takes deliveries from Chatwoot at once, and passes them to the app.

    Those of a conversation stay in order, except the late and the repeated ones.

    :param targets: The addresses at which the app listens; each delivery goes to any.
    :param loss: Rate of deliveries that do not reach the app. Of the others a tenth is
        doubled, and a twentieth late.
    :param repeats: Make refused deliveries again until the app accepts them.
    :ivar accepted: Message id to the time when the app first accepted its delivery,
        Unix seconds.
    :ivar changed: The same of the delivery that the message was changed.
    :ivar seen: How many deliveries were lost, doubled, late and refused.
    """

    def __init__(
        self, targets: t.Sequence[str], seed: int, *, loss: float, repeats: bool
    ) -> None:
        self.accepted: dict[int, float] = {}
        self.changed: dict[int, float] = {}
        self.seen: Counter[str] = Counter()
        self._targets = targets
        self._seed = seed
        self._loss = loss
        self._repeats = repeats
        self._queues = [
            queue.SimpleQueue[Request]() for _ in range(THREADS * len(targets))
        ]

        for each in self._queues:
            threading.Thread(target=self._work, args=[each], daemon=True).start()

    def __call__(self, environ: t.Any, start: t.Any) -> t.Iterable[bytes]:
        self._decide(Request(environ))

        return Response()(environ, start)

    def _decide(self, delivery: Request) -> None:
        """Choose what becomes of it, by what it says: ids depend on the timing."""
        body = delivery.get_json()
        says = body.get("content"), body.get("status"), body.get("custom_attributes")
        which = self._seed, body["event"], _conversation(body)["id"], says
        chance = random.Random(repr(which))  # noqa: S311 - as above

        if chance.random() < self._loss:
            self.seen["lost"] += 1
        elif chance.random() < 0.05:
            self.seen["late"] += 1
            self._put_later(chance.uniform(0.5, 6.0), delivery)
        else:
            self._put(delivery)

            if chance.random() < 0.1:
                self.seen["doubled"] += 1
                self._put_later(chance.choice([0.0, 1.0]), delivery)

            if len(self._targets) > 1 and chance.random() < 0.1:
                self.seen["to two at once"] += 1
                _later(0.0, self._deliver, delivery)

    def _put(self, delivery: Request) -> None:
        conversation = _conversation(delivery.get_json())["id"]
        self._queues[conversation % len(self._queues)].put(delivery)

    def _put_later(self, seconds: float, delivery: Request) -> None:
        _later(seconds, self._put, delivery)

    def _work(self, queued: queue.SimpleQueue[Request]) -> None:
        while True:
            delivery = queued.get()

            if not self._deliver(delivery) and self._repeats:
                self._put_later(1.0, delivery)

    def _deliver(self, delivery: Request) -> bool:
        """Whether the app accepts it."""
        target = random.choice(self._targets)  # noqa: S311
        answer = passed_on(delivery, target, CHATWOOT_TIMEOUT)

        if answer and answer.status_code in (200, 202):
            body = delivery.get_json()
            times = {"message_created": self.accepted, "message_updated": self.changed}
            times.get(body["event"], {}).setdefault(body["id"], time.time())

            return True

        self.seen[f"refused: {answer.status_code if answer else 'no answer'}"] += 1

        return False


def _later(
    seconds: float, act: t.Callable[[Request], object], delivery: Request
) -> None:
    timer = threading.Timer(seconds, act, [delivery])
    timer.daemon = True
    timer.start()


def _conversation(body: dict[str, t.Any]) -> dict[str, t.Any]:
    """The conversation in a delivery, which may be the delivery itself."""
    found: dict[str, t.Any] = body.get("conversation", body)

    return found
