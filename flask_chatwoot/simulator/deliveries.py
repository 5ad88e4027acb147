"""How a pretended Chatwoot makes its deliveries: signed, timed out, repeated.

Source: ``lib/webhooks/trigger.rb``, ``app/jobs/agent_bots/webhook_job.rb`` and
``app/listeners/agent_bot_listener.rb`` of Chatwoot.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import queue
import threading
import time
import typing as t
import uuid
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import requests

from flask_chatwoot.payloads import signature

from .payloads import JSON, Version
from .redaction import HIDDEN, redacted_url
from .state import Notice, State, random_text

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

_ESCAPES: t.Final = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One HTTP call to a webhook, finished.

    :ivar message_id: ``None`` for what is not about a message.
    :ivar url: Without a password, and without the tokens in its query.
    :ivar headers: Those sent, with a signature that can not be used.
    :ivar signed: Whether there was a signature, be it right or wrong.
    :ivar status: ``None`` when no answer came; ``error`` then names the exception.
    :ivar answer: What the body held: JSON's value, else the text; ``None`` if it was
        empty or did not come.
    :ivar began: When it was sent, on Python's monotonic clock, in seconds. They are
        listed as they end, which may be another order.
    :ivar seconds: From sending to the answer or the failure.
    :ivar attempt: 1, or more when a bot's delivery is repeated.
    :ivar parcel: What was delivered, to be delivered again.
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
    parcel: Parcel = field(repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether Chatwoot takes it for delivered."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """A notice to be delivered, and how.

    :ivar age: Seconds the timestamp lies back.
    :ivar delivery_id: ``None``: a new one for each URL.
    """

    notice: Notice
    body: bytes
    signing: Signing = "valid"
    age: float = 0.0
    delivery_id: str | None = None


class Connection:
    """A URL deliveries go to, with a queue of its own so that order is kept.

    :ivar secret: ``None``: the one that all share.
    :ivar inbox_id: ``None``: deliveries about every inbox.
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
        self.parcels: queue.SimpleQueue[Parcel | None] = queue.SimpleQueue()

    def wants(self, notice: Notice) -> bool:
        """Whether this is delivered here."""
        inbox_id = notice.talk.current.inbox.id

        return notice.event in self.events and self.inbox_id in (None, inbox_id)


class Post:
    """Takes parcels to their URLs, one thread per connection.

    :ivar done: Finished deliveries.
    :ivar under_way: How many parcels are queued or being delivered.
    """

    def __init__(self, state: State, *, timeout: float, pause: float) -> None:
        self.done: list[Delivery] = []
        self.under_way = 0
        self._state = state
        self._timeout = timeout
        self._pause = pause
        self._connections: list[Connection] = []
        self._held: list[Parcel] | None = None
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
        if not _is_local(url):
            raise ValueError(f"{url} does not lead to this machine.")

        bot = kind == "bot"
        wanted = _bot_events(self._state.version) if bot else _chosen(events)
        connection = Connection(url, kind, frozenset(wanted), secret, inbox_id)

        with self._state.changing():
            self._connections.append(connection)
            self._state.bots |= bot

        threading.Thread(
            target=self._work, args=[connection], name="chatwoot-post", daemon=True
        ).start()

        return connection

    def disconnect(self, connection: Connection) -> None:
        """Deliver there what is queued, and then nothing more."""
        with self._state.changing():
            self._connections.remove(connection)
            connection.parcels.put(None)
            self._state.bots = any(c.kind == "bot" for c in self._connections)

    def send(self, notice: Notice, **how: t.Any) -> None:
        """Queue a notice for every URL that wants it. Does not block.

        :param how: Further fields of :class:`Parcel`.
        """
        self._queue(Parcel(notice=notice, body=to_json(notice.body), **how))

    def repeat(self, delivery: Delivery) -> None:
        """See ``Simulator.repeat``."""
        self._queue(delivery.parcel)

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

                for parcel in reversed(held):
                    self._queue(parcel)

    def stop(self) -> None:
        """Begin nothing new. Does not wait for what is under way."""
        with self._state.changing():
            self._stopped.set()

            for connection in self._connections:
                connection.parcels.put(None)

    def _queue(self, parcel: Parcel) -> None:
        with self._state.changing():
            if self._stopped.is_set():
                return

            if self._held is not None:
                self._held.append(parcel)
                return

            for connection in self._connections:
                if connection.wants(parcel.notice):
                    self.under_way += 1
                    connection.parcels.put(parcel)

    def _work(self, connection: Connection) -> None:
        while parcel := connection.parcels.get():
            try:
                if not (self._stopped.is_set() or self._deliver(connection, parcel)):
                    self._state.give_up(parcel.notice.talk)
            finally:
                with self._state.changing():
                    self.under_way -= 1

    def _deliver(self, connection: Connection, parcel: Parcel) -> bool:
        """Whether all is well; if not, the bot's conversation goes to people."""
        bot = connection.kind == "bot"
        repeats = bot and self._state.version >= BOTS_RETRY
        delivery_id = parcel.delivery_id or str(uuid.uuid4())

        attempt = 1
        done = self._attempt(connection, parcel, attempt, delivery_id)

        while repeats and done.status in (429, 500) and attempt < ATTEMPTS:
            if self._stopped.wait(self._pause):
                return True  # nobody is left to hand the conversation to

            attempt += 1
            done = self._attempt(connection, parcel, attempt, delivery_id)

        return done.ok or not bot or parcel.notice.message_id is None

    def _attempt(
        self, connection: Connection, parcel: Parcel, attempt: int, delivery_id: str
    ) -> Delivery:
        headers = self._headers(connection, parcel, delivery_id)
        began = time.monotonic()
        status, answer, error = self._request(connection.url, parcel.body, headers)
        done = Delivery(
            event=parcel.notice.event,
            message_id=parcel.notice.message_id,
            conversation_id=parcel.notice.talk.id,
            url=redacted_url(connection.url),
            headers=_shown(headers),
            signed=signature.SIGNATURE_HEADER in headers,
            body=parcel.body,
            status=status,
            answer=answer,
            began=began,
            seconds=time.monotonic() - began,
            error=error,
            attempt=attempt,
            parcel=replace(parcel, delivery_id=delivery_id),
        )

        with self._state.changing():
            self.done.append(done)

        return done

    def _request(
        self, url: str, body: bytes, headers: t.Mapping[str, str]
    ) -> tuple[int | None, t.Any, str | None]:
        with requests.Session() as session:
            session.trust_env = False

            try:
                response = session.post(
                    url,
                    data=body,
                    headers=headers,
                    timeout=self._timeout,
                    allow_redirects=False,
                )
            except requests.RequestException as error:
                return None, None, type(error).__name__

        return response.status_code, readable(response.content), None

    def _headers(
        self, connection: Connection, parcel: Parcel, delivery_id: str
    ) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}

        if not signs(connection.kind, self._state.version):
            return headers

        headers["X-Chatwoot-Delivery"] = delivery_id

        if parcel.signing == "absent":
            return headers

        secret = connection.secret or self._state.secret

        if parcel.signing == "wrong":
            secret = random_text()

        timestamp = str(int(self._state.clock() - parcel.age))
        signed = signature.sign(parcel.body, secret=secret, timestamp=timestamp)

        return {
            **headers,
            signature.TIMESTAMP_HEADER: timestamp,
            signature.SIGNATURE_HEADER: signed,
        }


def signs(kind: Kind, version: Version) -> bool:
    """Whether this version signs deliveries of this kind.

    Those that do also number them: ``X-Chatwoot-Delivery`` is as old as signatures.
    """
    return version >= (BOTS_SIGN if kind == "bot" else ACCOUNT_SIGNS)


def to_json(body: JSON | list[JSON] | None) -> bytes:
    """Bytes as Rails writes them: raw UTF-8, but HTML's characters escaped."""
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))

    return text.translate(_ESCAPES).encode(errors="replace")


def from_json(data: bytes) -> t.Any:
    """The value, or ``None`` if it is not JSON."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def readable(data: bytes) -> t.Any:
    """What is worth to be kept of a body: JSON's value, else the text, or ``None``."""
    value = from_json(data)

    return data.decode(errors="replace") or None if value is None else value


def _shown(headers: t.Mapping[str, str]) -> dict[str, str]:
    hidden = {signature.SIGNATURE_HEADER: HIDDEN}

    return {name: hidden.get(name, value) for name, value in headers.items()}


def _chosen(events: t.Iterable[str]) -> frozenset[str]:
    """The events an account webhook may subscribe to (``app/models/webhook.rb``)."""
    chosen = frozenset(events)

    if unknown := chosen - SUBSCRIPTIONS:
        raise ValueError(
            f"An account webhook can not subscribe to {', '.join(sorted(unknown))}; "
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


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""

    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
