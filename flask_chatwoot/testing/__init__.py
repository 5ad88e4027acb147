"""What a host uses in its tests. Pytest loads the fixtures by an entry point.

::

    def test_answers_orders(chatwoot_sim, app):
        talk = chatwoot_sim.conversation(app, mode="bot")
        talk.customer_says("Where is my order?")

        assert talk.last_reply == "On its way."
        assert talk.notes == []

The fixtures are :func:`chatwoot_sim`, and :func:`chatwoot_simulator` to make several
or to choose the version of Chatwoot. :func:`customer_message`,
:func:`operator_message` and :func:`conversation_event` make single payloads, which
:func:`deliver` sends to ``app.test_client()``. :func:`captured_posts` collects what an
app posts, to a simulator or to any other Chatwoot.
"""

from __future__ import annotations

import contextlib
import typing as t
import weakref
from dataclasses import dataclass, field

import pytest
from flask import Flask

from flask_chatwoot.outcomes import DeliveryOutcome, Reason, TurnOutcome
from flask_chatwoot.replies import Turn
from flask_chatwoot.runtime import current_runtime
from flask_chatwoot.signals import after_post, turn_finished
from flask_chatwoot.turns.posting import Post

from .samples import (
    CHANNELS,
    VERSIONS,
    Where,
    conversation_event,
    customer_message,
    deliver,
    encoded,
    operator_message,
    signed,
)

# Imported where it is used: every run of pytest loads this module, also in other
# projects of the same environment.
if t.TYPE_CHECKING:
    from flask_chatwoot.simulator import Delivery, Simulator, Suggestion, Talk
    from flask_chatwoot.simulator.deliveries import Kind
    from flask_chatwoot.simulator.payloads import MessageRecord

__all__ = [
    "CHANNELS",
    "VERSIONS",
    "CapturedPost",
    "ChatwootSim",
    "ChatwootTalk",
    "SimulatorFactory",
    "Where",
    "captured_posts",
    "chatwoot_sim",
    "chatwoot_simulator",
    "conversation_event",
    "customer_message",
    "deliver",
    "encoded",
    "operator_message",
    "signed",
]

_SOON: t.Final[t.Mapping[str, t.Any]] = {
    "timeout": 1.0,
    "retry_pause": 0.005,
    "settle_time": 2.0,
    "burst_window": 0.0,
}
"""Short times, as the simulator is on this machine: a test with a fault stays fast."""


# -- conversations -------------------------------------------------------------


class _End(t.NamedTuple):
    """The outcome of a turn, or of a delivery that began none."""

    conversation_id: int | None
    message_id: int | None
    outcome: DeliveryOutcome | TurnOutcome
    reason: Reason | None


class ChatwootTalk:
    """A conversation with an app. Made by :meth:`ChatwootSim.conversation`.

    :ivar talk: The simulator's own object for it, which has more methods. They do not
        wait for the app.
    """

    def __init__(
        self, talk: Talk, simulator: Simulator, ends: t.Sequence[_End], wait: float
    ) -> None:
        self.talk = talk
        self._simulator = simulator
        self._ends = ends
        self._wait = wait
        self._end: _End | None = None

    def __repr__(self) -> str:
        return f"<ChatwootTalk {self.id}>"

    @property
    def id(self) -> int:
        """The number in the conversation's URL."""
        return self.talk.id

    @property
    def messages(self) -> list[MessageRecord]:
        """All messages, notes and activities included, oldest first."""
        return self.talk.messages

    @property
    def replies(self) -> list[str]:
        """What the app posted for the customer, oldest first."""
        return self.talk.replies

    @property
    def last_reply(self) -> str | None:
        """The newest of the replies; ``None`` if there is none."""
        return next(reversed(self.replies), None)

    @property
    def notes(self) -> list[str]:
        """What the app posted for operators only, oldest first."""
        return self.talk.notes

    @property
    def outcome(self) -> DeliveryOutcome | TurnOutcome | None:
        """The outcome of the customer's last message; ``None`` before the first."""
        return self._end and self._end.outcome

    @property
    def reason(self) -> Reason | None:
        """The reason of the outcome; ``None`` if it has none."""
        return self._end and self._end.reason

    def suggest_reply(self) -> Suggestion:
        """Press *Suggest a reply*, as an operator. Blocks until there is an answer.

        :return: Its ``text``, or its ``error`` as the operator sees it.
        """
        return self._simulator.suggest_reply(self.talk)

    def operator_says(self, content: str, *, private: bool = False) -> MessageRecord:
        """Write as an operator. Blocks until the app has answered the delivery."""
        __tracebackhide__ = True
        message = self.talk.operator_says(content, private=private)
        self._simulator.drain(self._wait)

        return message

    def customer_says(
        self, content: str | None, *, wait: float | None = None, **fields: t.Any
    ) -> MessageRecord:
        """Write as the customer. Blocks until the app has handled the message.

        That is when the turn that answers it has ended, or its delivery was ignored,
        and the app has answered the deliveries of what it posted.

        :param wait: Seconds at most; ``None``: those of the simulator.
        :param fields: Those of :meth:`.Talk.customer_says`, such as ``attachments``.
        :raises TimeoutError: The app has not handled it in time. The text lists the
            deliveries and calls, without content.
        :raises RuntimeError: The app did not accept the delivery.
        """
        __tracebackhide__ = True
        wait = self._wait if wait is None else wait
        message = self.talk.customer_says(content, **fields)
        number = message.id

        try:
            self._end = self._simulator.wait_until(
                lambda: self._end_of(number), timeout=wait
            )
            self._simulator.drain(wait)
        except TimeoutError as error:
            raise TimeoutError(
                f"Message {number} of conversation {self.id} was not handled. "
                f"{self._seen(number)} {error}"
            ) from None

        return message

    def _deliveries(self, number: int) -> list[Delivery]:
        return [
            delivery
            for delivery in self._simulator.deliveries
            if delivery.message_id == number and delivery.event == "message_created"
        ]

    def _end_of(self, number: int) -> _End | None:
        answers = [_answer(delivery) for delivery in self._deliveries(number)]

        for end in self._ends:
            # A turn may answer several messages; its own number is the newest.
            if end.conversation_id == self.id and (end.message_id or 0) >= number:
                return end

        if not answers:
            return None

        status, reason = answers[-1]

        if DeliveryOutcome.ACCEPTED in [status for status, _ in answers]:
            return None

        return _End(self.id, number, status, reason)

    def _seen(self, number: int) -> str:
        if self._deliveries(number):
            return "Its delivery was accepted. Does the provider take that long?"

        return "The app has not answered the delivery."


def _answer(delivery: Delivery) -> tuple[DeliveryOutcome, Reason | None]:
    """The app's answer to a delivery."""
    match delivery.answer:
        case {"status": str(status), **rest} if delivery.ok:
            reason = rest.get("reason")
            known = None if reason is None else Reason(str(reason))
            return DeliveryOutcome(status), known

    raise RuntimeError(
        f"The app answered {delivery.status or delivery.error} to the delivery of "
        f"message {delivery.message_id}, which is not an answer of the webhook. Does "
        "a function of the app (before_request) answer instead?"
    )


@dataclass(frozen=True, slots=True)
class _Connection:
    """The simulator of an app, and the outcomes of its turns."""

    simulator: Simulator
    ends: list[_End] = field(default_factory=list)

    def record(
        self,
        _: Flask,
        turn: Turn,
        outcome: TurnOutcome,
        reason: Reason | None = None,
        **rest: t.Any,
    ) -> None:
        """Receive :data:`~flask_chatwoot.turn_finished`."""
        self.ends.append(_End(turn.conversation_id, turn.message_id, outcome, reason))


_connected: weakref.WeakSet[Flask] = weakref.WeakSet()


class ChatwootSim:
    """Simulated Chatwoots, one for each app that has conversations.

    Use it as a context manager, or by the fixtures. The first conversation or fault
    starts a simulator.

    :param version: Of Chatwoot; one of :data:`VERSIONS`, or in full.
    :param wait: Seconds that :meth:`ChatwootTalk.customer_says` waits.
    :param kind: How the apps are connected: ``"account"`` by an account webhook and a
        user's token, ``"bot"`` as an agent bot with its own.
    :param settings: Fields of :class:`~flask_chatwoot.config.Config` to change, such as
        ``max_attempts=1``. The apps keep their other settings, except for the URL,
        the tokens, the secrets and the database, and for shorter pauses.
    """

    def __init__(
        self,
        *,
        version: str = "4.16",
        wait: float = 10.0,
        kind: Kind = "account",
        **settings: t.Any,
    ) -> None:
        self.version = VERSIONS.get(version, version)
        self._kind: Kind = kind
        self._wait = wait
        self._settings = {**_SOON, **settings}
        self._stack = contextlib.ExitStack()
        self._connections: dict[Flask, _Connection] = {}
        self._spare: Simulator | None = None

    def __repr__(self) -> str:
        return f"<ChatwootSim {self.version}, apps: {len(self._connections)}>"

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Restore the apps' settings, and stop the simulators. May be repeated."""
        self._connections.clear()
        self._spare = None
        self._stack.close()

    def conversation(
        self, app: Flask, *, mode: str | None = "bot", **fields: t.Any
    ) -> ChatwootTalk:
        """Begin a conversation with an app, which needs no configuration.

        From now on, until the test ends, the app is connected to the simulator.

        :param mode: What the customer chose, ``"bot"`` or ``"human"``, or any text;
            ``None``: nothing.
        :param fields: Those of :meth:`flask_chatwoot.simulator.Simulator.conversation`;
            ``channel`` may be one of :data:`CHANNELS`.
        :raises ConfigError: The extension is not initialized for the app.
        :raises RuntimeError: The app is connected to another simulator.
        """
        connection = self._connection_of(app)

        with app.app_context():
            attribute = current_runtime().config.support_mode_attr

        chosen = {} if mode is None else {attribute: mode}
        fields["custom_attributes"] = {**chosen, **fields.get("custom_attributes", {})}

        if "channel" in fields:
            fields["channel"] = CHANNELS.get(fields["channel"], fields["channel"])

        talk = connection.simulator.conversation(**fields)

        return ChatwootTalk(talk, connection.simulator, connection.ends, self._wait)

    def simulator(self, app: Flask) -> Simulator:
        """The simulator of an app, which has more methods. Starts it if necessary."""
        return self._connection_of(app).simulator

    def inject(
        self, fault: str, *, times: int | None = 1, endpoint: str = "create_message"
    ) -> None:
        """Make the next calls of an endpoint fail, in the simulator of every app.

        Before the first conversation: in the simulator of the first app.

        :param fault: One of :class:`flask_chatwoot.simulator.Fault`, such as
            ``"server_error"`` or ``"cut_after"``.
        :param times: ``None``: until :meth:`clear_faults`.
        :param endpoint: One of :data:`flask_chatwoot.simulator.ENDPOINTS`.
        :raises ValueError: There is no such fault or endpoint.
        """
        from flask_chatwoot.simulator import Fault

        for simulator in self._simulators():
            simulator.inject(Fault(fault), times=times, endpoint=endpoint)

    @contextlib.contextmanager
    def losing(
        self, share: float = 1.0, *, seed: int | None = None
    ) -> t.Iterator[None]:
        """Lose deliveries to every app until the block ends, as if it were down.

        What is lost is found by catch-up, in apps with ``catch_up`` in the settings:
        ``chatwoot_simulator(catch_up=0.2)``. Call it after the first delivery, as an
        app asks for nothing before it has accepted one.

        :param share: Which part of them is lost, by chance; 1: all.
        :param seed: For the same choice in each run; ``None``: another one.
        """
        with contextlib.ExitStack() as stack:
            for simulator in self._simulators():
                stack.enter_context(simulator.losing(share, seed=seed))

            yield

    def clear_faults(self) -> None:
        """Remove all faults that were injected."""
        for simulator in self._simulators():
            simulator.clear_faults()

    def _simulators(self) -> list[Simulator]:
        if self._connections:
            return [connection.simulator for connection in self._connections.values()]

        self._spare = self._spare or self._new_simulator()

        return [self._spare]

    def _new_simulator(self) -> Simulator:
        from flask_chatwoot.simulator import Simulator

        return self._stack.enter_context(Simulator(version=self.version))

    def _connection_of(self, app: Flask) -> _Connection:
        if app in self._connections:
            return self._connections[app]

        with app.app_context():
            current_runtime()  # raises if there is none

        if app in _connected:
            raise RuntimeError(
                f"The app {app.name!r} is connected to another simulator. Stop that "
                "first, or make a second app."
            )

        return self._connect(app)

    def _connect(self, app: Flask) -> _Connection:
        from flask_chatwoot.hosting import hosted

        simulator, self._spare = self._spare or self._new_simulator(), None
        connection = _Connection(simulator)
        self._stack.enter_context(
            hosted(app, simulator, kind=self._kind, **self._settings)
        )
        self._stack.enter_context(
            turn_finished.connected_to(connection.record, sender=app)
        )
        self._stack.callback(_connected.discard, app)
        _connected.add(app)
        self._connections[app] = connection

        return connection


class SimulatorFactory(t.Protocol):
    """See :class:`ChatwootSim` for the parameters."""

    def __call__(
        self,
        *,
        version: str = ...,
        wait: float = ...,
        kind: Kind = ...,
        **settings: t.Any,
    ) -> ChatwootSim: ...


@pytest.fixture
def chatwoot_simulator() -> t.Iterator[SimulatorFactory]:
    """Makes simulated Chatwoots: ``chatwoot_simulator(version="4.9")``.

    They stop when the test ends.
    """
    with contextlib.ExitStack() as stack:

        def make(**options: t.Any) -> ChatwootSim:
            return stack.enter_context(ChatwootSim(**options))

        yield make


@pytest.fixture
def chatwoot_sim(chatwoot_simulator: SimulatorFactory) -> ChatwootSim:
    """A simulated Chatwoot: ``chatwoot_sim.conversation(app, mode="bot")``."""
    return chatwoot_simulator()


# -- posts of an app -----------------------------------------------------------


class CapturedPost(Post):
    """A :class:`~flask_chatwoot.Post`, and the result of the attempt.

    :ivar message_id: The created message's id, or ``None``.
    :ivar error: The error, or ``None``.
    """

    message_id: int | None
    error: Exception | None


@contextlib.contextmanager
def captured_posts(app: Flask) -> t.Iterator[list[CapturedPost]]:
    """Yield a list that grows with every attempt of an app to create a message.

    ``with captured_posts(app) as posts:``
    """
    posts: list[CapturedPost] = []

    def record(
        _: Flask,
        post: Post,
        message_id: int | None = None,
        error: Exception | None = None,
        **rest: t.Any,
    ) -> None:
        captured = CapturedPost._make(post)
        captured.message_id = message_id
        captured.error = error
        posts.append(captured)

    with after_post.connected_to(record, sender=app):
        yield posts
