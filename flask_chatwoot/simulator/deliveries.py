"""How a simulated Chatwoot makes its deliveries: signature, timeout, retries.

Source: ``lib/webhooks/trigger.rb``, ``app/jobs/agent_bots/webhook_job.rb`` and
``app/listeners/agent_bot_listener.rb`` of Chatwoot.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
import typing as t
import uuid
from dataclasses import dataclass, field, replace

from flask_chatwoot.payloads import signature

from .encoding import readable, to_json
from .outgoing import check_local, post
from .payloads import Version
from .redaction import HIDDEN, redacted_url
from .state import State, WebhookEvent, random_text

Kind = t.Literal["account", "bot"]
Signing = t.Literal["valid", "wrong", "absent"]

ACCOUNT_SIGNS: t.Final = (4, 12)
BOTS_SIGN: t.Final = (4, 13)
BOTS_RETRY: t.Final = (4, 12)
ATTEMPTS: t.Final = 3

SUBSCRIPTIONS: t.Final = frozenset(
    {
        *("conversation_created", "conversation_status_changed"),
        *("conversation_updated", "contact_created", "contact_updated"),
        *("message_created", "message_updated", "webwidget_triggered"),
        *("inbox_created", "inbox_updated"),
        *("conversation_typing_on", "conversation_typing_off"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One HTTP call to a webhook, finished.

    :ivar message_id: ``None`` for what is not about a message.
    :ivar url: Without a password, and without the tokens in its query.
    :ivar headers: Those sent, with the signature hidden.
    :ivar signed: Whether there was a signature, right or wrong.
    :ivar status: ``None`` when no answer came; ``error`` then names the exception.
    :ivar answer: The value of a body of JSON, else its text; ``None`` if it was empty
        or did not come.
    :ivar began: When it was sent, on Python's monotonic clock, in seconds. They are
        listed in the order in which they end, which may differ.
    :ivar seconds: From sending to the answer or the failure.
    :ivar attempt: 1, or more for the retries of a bot's delivery.
    :ivar request: What was delivered, to deliver it again.
    """

    event: str
    message_id: int | None
    conversation_id: int
    url: str
    headers: t.Mapping[str, str] = field(repr=False)
    signed: bool
    body: bytes = field(repr=False)
    status: int | None
    answer: t.Any = field(repr=False)
    began: float = field(repr=False)
    seconds: float
    error: str | None
    attempt: int
    request: DeliveryRequest = field(repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether Chatwoot counts it as delivered."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRequest:
    """An event to deliver, and how.

    :ivar age: Seconds by which the timestamp is in the past.
    :ivar delivery_id: ``None``: a new one for each URL.
    """

    event: WebhookEvent
    body: bytes
    signing: Signing = "valid"
    age: float = 0.0
    delivery_id: str | None = None


class Connection:
    """A URL that gets deliveries, with a queue of its own, so that order is kept.

    :ivar secret: ``None``: the simulator's.
    :ivar inbox_id: ``None``: the events of every inbox.
    """

    def __init__(
        self,
        url: str,
        kind: Kind,
        events: frozenset[str],
        secret: str | None,
        inbox_id: int | None,
    ) -> None:
        self.url = url
        self.kind = kind
        self.events = events
        self.secret = secret
        self.inbox_id = inbox_id
        self.queued: queue.SimpleQueue[DeliveryRequest | None] = queue.SimpleQueue()

    def accepts(self, event: WebhookEvent) -> bool:
        """Whether the event is delivered here."""
        inbox_id = event.conversation.current.inbox.id

        return event.name in self.events and self.inbox_id in (None, inbox_id)


class WebhookSender:
    """Makes the deliveries, with one thread per connection.

    :ivar done: Finished deliveries.
    :ivar under_way: Number of requests that are queued or being delivered.
    :ivar lost: The events whose deliveries were lost.
    """

    def __init__(self, state: State, *, timeout: float, pause: float) -> None:
        self.done: list[Delivery] = []
        self.under_way = 0
        self._state = state
        self._timeout = timeout
        self._pause = pause
        self._connections: list[Connection] = []
        self._held: list[DeliveryRequest] | None = None
        self._lost_share = 0.0
        self._random = random.Random()  # noqa: S311 - not a secret
        self.lost: list[WebhookEvent] = []
        self._stopped = threading.Event()

    def connect(
        self,
        url: str,
        kind: Kind,
        events: t.Iterable[str],
        secret: str | None = None,
        inbox_id: int | None = None,
    ) -> Connection:
        """See ``Simulator.connect``."""
        check_local(url)
        bot = kind == "bot"
        wanted = _bot_events(self._state.version) if bot else _chosen(events)
        connection = Connection(url, kind, frozenset(wanted), secret, inbox_id)

        with self._state.changing():
            self._connections.append(connection)
            self._state.bots |= bot

        threading.Thread(
            target=self._work,
            args=[connection],
            name="simulator-deliveries",
            daemon=True,
        ).start()

        return connection

    def disconnect(self, connection: Connection) -> None:
        """Deliver what is queued there, and nothing after it."""
        with self._state.changing():
            self._connections.remove(connection)
            connection.queued.put(None)
            self._state.bots = any(c.kind == "bot" for c in self._connections)

    def send(self, event: WebhookEvent, **how: t.Any) -> None:
        """Queue an event for every URL that gets it. Does not block.

        :param how: Further fields of :class:`DeliveryRequest`.
        """
        self._queue(DeliveryRequest(event=event, body=to_json(event.body), **how))

    def repeat(self, delivery: Delivery) -> None:
        """See ``Simulator.repeat``."""
        self._queue(delivery.request)

    @contextlib.contextmanager
    def holding(self) -> t.Iterator[None]:
        """See ``Simulator.holding``."""
        with self._state.changing():
            outer, self._held = self._held, []

        try:
            yield
        finally:
            with self._state.changing():
                held, self._held = self._held, outer

                for request in reversed(held):
                    self._queue(request)

    @contextlib.contextmanager
    def losing(self, share: float, seed: int | None) -> t.Iterator[None]:
        """See ``Simulator.losing``."""
        with self._state.changing():
            outer = self._lost_share, self._random
            self._lost_share = share
            self._random = random.Random(seed)  # noqa: S311 - not a secret

        try:
            yield
        finally:
            with self._state.changing():
                self._lost_share, self._random = outer

    def stop(self) -> None:
        """Begin nothing new. Does not wait for what is under way."""
        with self._state.changing():
            self._stopped.set()

            for connection in self._connections:
                connection.queued.put(None)

    def _queue(self, request: DeliveryRequest) -> None:
        with self._state.changing():
            if self._stopped.is_set():
                return

            if self._held is not None:
                self._held.append(request)
                return

            if self._lost_share and self._random.random() < self._lost_share:
                self.lost.append(request.event)
                return

            for connection in self._connections:
                if connection.accepts(request.event):
                    self.under_way += 1
                    connection.queued.put(request)

    def _work(self, connection: Connection) -> None:
        while request := connection.queued.get():
            try:
                if not (self._stopped.is_set() or self._deliver(connection, request)):
                    self._state.open_after_failure(request.event.conversation)
            finally:
                with self._state.changing():
                    self.under_way -= 1

    def _deliver(self, connection: Connection, request: DeliveryRequest) -> bool:
        """Whether the conversation may stay with the bot. Failures open it."""
        bot = connection.kind == "bot"
        repeats = bot and self._state.version >= BOTS_RETRY
        delivery_id = request.delivery_id or str(uuid.uuid4())

        attempt = 1
        done = self._attempt(connection, request, attempt, delivery_id)

        while repeats and done.status in (429, 500) and attempt < ATTEMPTS:
            if self._stopped.wait(self._pause):
                return True  # the simulator has stopped

            attempt += 1
            done = self._attempt(connection, request, attempt, delivery_id)

        return done.ok or not bot or request.event.message_id is None

    def _attempt(
        self,
        connection: Connection,
        request: DeliveryRequest,
        attempt: int,
        delivery_id: str,
    ) -> Delivery:
        headers = self._headers(connection, request, delivery_id)
        began = time.monotonic()
        ended = post(connection.url, request.body, headers, timeout=self._timeout)
        done = Delivery(
            event=request.event.name,
            message_id=request.event.message_id,
            conversation_id=request.event.conversation.id,
            url=redacted_url(connection.url),
            headers=_shown(headers),
            signed=signature.SIGNATURE_HEADER in headers,
            body=request.body,
            status=ended.status,
            answer=readable(ended.content),
            began=began,
            seconds=time.monotonic() - began,
            error=ended.error,
            attempt=attempt,
            request=replace(request, delivery_id=delivery_id),
        )

        with self._state.changing():
            self.done.append(done)

        return done

    def _headers(
        self, connection: Connection, request: DeliveryRequest, delivery_id: str
    ) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}

        if not signs(connection.kind, self._state.version):
            return headers

        headers["X-Chatwoot-Delivery"] = delivery_id

        if request.signing == "absent":
            return headers

        secret = connection.secret or self._state.secret

        if request.signing == "wrong":
            secret = random_text()

        timestamp = str(int(self._state.clock() - request.age))
        signed = signature.sign(request.body, secret=secret, timestamp=timestamp)

        return {
            **headers,
            signature.TIMESTAMP_HEADER: timestamp,
            signature.SIGNATURE_HEADER: signed,
        }


def signs(kind: Kind, version: Version) -> bool:
    """Whether this version signs deliveries of this kind.

    ``X-Chatwoot-Delivery`` came with the signatures.
    """
    return version >= (BOTS_SIGN if kind == "bot" else ACCOUNT_SIGNS)


def _shown(headers: t.Mapping[str, str]) -> dict[str, str]:
    hidden = {signature.SIGNATURE_HEADER: HIDDEN}

    return {name: hidden.get(name, value) for name, value in headers.items()}


def _chosen(events: t.Iterable[str]) -> frozenset[str]:
    """The events an account webhook may subscribe to (``app/models/webhook.rb``)."""
    chosen = frozenset(events)

    if unknown := chosen - SUBSCRIPTIONS:
        raise ValueError(
            f"An account webhook cannot subscribe to {', '.join(sorted(unknown))}; "
            f"choose from {', '.join(sorted(SUBSCRIPTIONS))}."
        )

    return chosen


def _bot_events(version: Version) -> set[str]:
    events = {
        *("message_created", "message_updated"),
        *("conversation_opened", "conversation_resolved"),
    }

    if version >= (4, 13):
        events |= {"conversation_status_changed", "conversation_updated"}

    return events
