"""What a host uses in its tests; pytest finds the fixtures by itself.

::

    def test_answers_orders(chatwoot_sim, app):
        talk = chatwoot_sim.conversation(app, mode="bot")
        talk.customer_says("Where is my order?")

        assert talk.last_reply == "On its way."
        assert talk.notes == []

Fixtures: :func:`chatwoot_sim`, and :func:`chatwoot_simulator` to make several or to
choose the version of Chatwoot. To set off single deliveries against
``app.test_client()`` there are :func:`customer_message` and its kin, and
:func:`deliver`. :func:`captured_posts` collects what an app posts, wherever to.
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

# Imported where it is used: every run of pytest loads this module, in other projects
# of the same environment too.
if t.TYPE_CHECKING:
    from flask_chatwoot.simulator import Delivery, Simulator, Talk
    from flask_chatwoot.simulator.deliveries import Kind
    from flask_chatwoot.simulator.payloads import Message

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
    "timeout": 2.0,
    "retry_pause": 0.005,
    "settle_time": 0.5,
}
"""Settings for a Chatwoot that is on this machine, so that faults are over soon."""


# -- conversations -------------------------------------------------------------


class _End(t.NamedTuple):
    """How a turn ended, or a delivery that began none."""

    conversation_id: int | None
    message_id: int | None
    outcome: DeliveryOutcome | TurnOutcome
    reason: Reason | None


class ChatwootTalk:
    """A conversation with an app. Made by :meth:`ChatwootSim.conversation`.

    :ivar talk: The simulator's own view of it, which can do more and does not wait.
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
    def messages(self) -> list[Message]:
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
        """What became of the customer's last message; ``None`` before the first."""
        return self._end and self._end.outcome

    @property
    def reason(self) -> Reason | None:
        """Why it ended so; ``None`` if there is nothing to explain."""
        return self._end and self._end.reason

    def operator_says(self, content: str, *, private: bool = False) -> Message:
        """Write as a person in the dashboard. Blocks until the app has been told."""
        __tracebackhide__ = True
        message = self.talk.operator_says(content, private=private)
        self._simulator.drain(self._wait)

        return message

    def customer_says(
        self, content: str | None, *, wait: float | None = None, **fields: t.Any
    ) -> Message:
        """Write as the customer. Blocks until the app has dealt with it.

        That is when the turn that answers it has ended, or when its delivery was
        ignored, and nothing the app posted is on its way any more.

        :param wait: Seconds at most; ``None``: those of the simulator.
        :param fields: Further fields of the simulator's message.
        :raises TimeoutError: It is not dealt with. Says what was seen.
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
                f"Message {number} of conversation {self.id} was not dealt with. "
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

        if not answers:
            return None

        for end in self._ends:
            # A turn may answer several messages; its own number is the newest.
            if end.conversation_id == self.id and (end.message_id or 0) >= number:
                return end

        status, reason = answers[-1]

        if DeliveryOutcome.ACCEPTED in [status for status, _ in answers]:
            return None

        return _End(self.id, number, status, reason)

    def _seen(self, number: int) -> str:
        if self._deliveries(number):
            return "Its delivery was accepted. Does the provider take that long?"

        return "The app has not answered its delivery."


def _answer(delivery: Delivery) -> tuple[DeliveryOutcome, Reason | None]:
    """What the app said to a delivery."""
    match delivery.answer:
        case {"status": str(status), **rest} if delivery.ok:
            reason = rest.get("reason")
            known = None if reason is None else Reason(str(reason))
            return DeliveryOutcome(status), known

    raise RuntimeError(
        f"The app answered {delivery.status or delivery.error} to the delivery of "
        f"message {delivery.message_id}, and not as this package does. Does something "
        "of its own stand before the webhook?"
    )


@dataclass(frozen=True, slots=True)
class _Stage:
    """An app in front of a simulator of its own."""

    simulator: Simulator
    ends: list[_End] = field(default_factory=list)

    def note(
        self,
        _: Flask,
        turn: Turn,
        outcome: TurnOutcome,
        reason: Reason | None = None,
        **rest: t.Any,
    ) -> None:
        """Receive :data:`~flask_chatwoot.turn_finished`."""
        self.ends.append(_End(turn.conversation_id, turn.message_id, outcome, reason))


_on_stage: weakref.WeakSet[Flask] = weakref.WeakSet()


class ChatwootSim:
    """Simulated Chatwoots, one for each app that is talked to.

    Use it as a context manager, or by the fixtures. Nothing runs before it is needed.

    :param version: Of Chatwoot; one of :data:`VERSIONS`, or in full.
    :param wait: Seconds that :meth:`ChatwootTalk.customer_says` waits.
    :param kind: How the apps are connected: ``"account"`` by an account webhook and a
        user's token, ``"bot"`` as an agent bot with its own.
    :param settings: Fields of :class:`~flask_chatwoot.config.Config` to change, such as
        ``max_attempts=1``. The apps keep their own settings otherwise, but for the
        URL, the tokens, the secrets and the inbox, and for short pauses.
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
        self._stages: dict[Flask, _Stage] = {}
        self._spare: Simulator | None = None

    def __repr__(self) -> str:
        return f"<ChatwootSim {self.version} with {len(self._stages)} apps>"

    def __enter__(self) -> t.Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Give the apps what is theirs back, and stop everything. Safe to repeat."""
        self._stages.clear()
        self._spare = None
        self._stack.close()

    def conversation(
        self, app: Flask, *, mode: str | None = "bot", **fields: t.Any
    ) -> ChatwootTalk:
        """Begin a conversation with an app, which needs no configuration.

        From now on, until the test ends, the app has the simulator for its Chatwoot.

        :param mode: Whom the customer chose, ``"bot"`` or ``"human"``, or any text;
            ``None``: nobody.
        :param fields: Those of :meth:`flask_chatwoot.simulator.Simulator.conversation`;
            ``channel`` may be one of :data:`CHANNELS`.
        :raises ConfigError: The app was never given to the extension.
        :raises RuntimeError: The app has another simulator already.
        """
        stage = self._stage(app)

        with app.app_context():
            attribute = current_runtime().config.support_mode_attr

        chosen = {} if mode is None else {attribute: mode}
        fields["custom_attributes"] = {**chosen, **fields.get("custom_attributes", {})}

        if "channel" in fields:
            fields["channel"] = CHANNELS.get(fields["channel"], fields["channel"])

        talk = stage.simulator.conversation(**fields)

        return ChatwootTalk(talk, stage.simulator, stage.ends, self._wait)

    def simulator(self, app: Flask) -> Simulator:
        """The Chatwoot of an app, with all that the simulator knows and can do."""
        return self._stage(app).simulator

    def inject(
        self, fault: str, *, times: int | None = 1, endpoint: str = "create_message"
    ) -> None:
        """Let the next calls of an endpoint go wrong, in the Chatwoot of every app.

        Before any app is talked to: in that of the first.

        :param fault: One of :class:`flask_chatwoot.simulator.Fault`, such as
            ``"server_error"`` or ``"cut_after"``.
        :param times: ``None``: until :meth:`clear_faults`.
        :param endpoint: One of :data:`flask_chatwoot.simulator.ENDPOINTS`.
        :raises ValueError: There is no such fault or endpoint.
        """
        from flask_chatwoot.simulator import Fault

        for simulator in self._simulators():
            simulator.inject(Fault(fault), times=times, endpoint=endpoint)

    def clear_faults(self) -> None:
        """Do everything right again."""
        for simulator in self._simulators():
            simulator.clear_faults()

    def _simulators(self) -> list[Simulator]:
        if self._stages:
            return [stage.simulator for stage in self._stages.values()]

        self._spare = self._spare or self._new_simulator()

        return [self._spare]

    def _new_simulator(self) -> Simulator:
        from flask_chatwoot.simulator import Simulator

        return self._stack.enter_context(Simulator(version=self.version))

    def _stage(self, app: Flask) -> _Stage:
        if app in self._stages:
            return self._stages[app]

        with app.app_context():
            current_runtime()  # raises if there is none

        if app in _on_stage:
            raise RuntimeError(
                f"The app {app.name!r} is in front of another simulator; stop that "
                "first, or make a second app."
            )

        return self._set_up(app)

    def _set_up(self, app: Flask) -> _Stage:
        from flask_chatwoot.hosting import hosted

        simulator, self._spare = self._spare or self._new_simulator(), None
        stage = _Stage(simulator)
        self._stack.enter_context(
            hosted(app, simulator, kind=self._kind, **self._settings)
        )
        self._stack.enter_context(turn_finished.connected_to(stage.note, sender=app))
        self._stack.callback(_on_stage.discard, app)
        _on_stage.add(app)
        self._stages[app] = stage

        return stage


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


# -- what an app posts ---------------------------------------------------------


class CapturedPost(Post):
    """A :class:`~flask_chatwoot.Post`, and what came of the attempt.

    :ivar message_id: The created message's id, or ``None``.
    :ivar error: What went wrong, or ``None``.
    """

    message_id: int | None
    error: Exception | None


@contextlib.contextmanager
def captured_posts(app: Flask) -> t.Iterator[list[CapturedPost]]:
    """A list that grows with every attempt of an app to create a message."""
    posts: list[CapturedPost] = []

    def note(
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

    with after_post.connected_to(note, sender=app):
        yield posts
