"""A conversation over real HTTP, compared when every delivery and job has ended."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from dataclasses import fields

import pytest
from flask import Flask

from flask_chatwoot import Chatwoot, Turn
from flask_chatwoot.config import Config
from flask_chatwoot.simulator import Talk
from flask_chatwoot.simulator.payloads import MessageRecord
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory

from .apps import jobs_of

PATIENCE: t.Final = 20.0
"""Seconds after which a story that does not go on has failed."""

LATER: t.Final = 60.0
"""Seconds, by Chatwoot's clock, until an operator returns a conversation."""

QUESTION: t.Final = "Where is my order?"
REPLY: t.Final = "On its way."
ASKED: t.Final = f"Ada Lovelace: {QUESTION}"

_CUSTOMER: t.Final = "Ada Lovelace: "
_OPERATOR: t.Final = "Olga Operator: "
_RETURN: t.Final = "[returned to the bot]"
_RESOLVE: t.Final = "[resolved]"
_OPTIONS: t.Final = {"version", "kind", *(each.name for each in fields(Config))}


class Story:
    """One conversation of a customer, an app and operators.

    :ivar talk: The conversation. Its methods do not wait for the app.
    :ivar sim: The Chatwoot it is in.
    """

    def __init__(self, chatwoot_sim: ChatwootSim, app: Flask, **fields: t.Any) -> None:
        self.talk: Talk = chatwoot_sim.conversation(app, **fields).talk
        self.sim = chatwoot_sim.simulator(app)
        self._app = app

    def lines(self) -> list[str]:
        """The transcript, line by line, when every delivery and job has ended."""
        self.rest()

        return self.talk.transcript.splitlines()

    def asks(self, text: str | None = QUESTION, **fields: t.Any) -> None:
        """Let the customer write, and wait until the app has answered."""
        self.talk.customer_says(text, **fields)
        self.rest()

    def operator(self, text: str) -> None:
        """Let an operator answer, and wait until the app has handled that."""
        self.talk.operator_says(text)
        self.rest()

    def returns(self) -> None:
        """Let an operator set the attribute to bot some time later.

        A bot before 4.13 does not hear of that, and a change that comes too soon may be
        what the next message showed before the attribute was set to human.
        """
        self.later(LATER)
        self.talk.set_attribute("support_mode", "bot")
        self.rest()

    def later(self, seconds: float) -> None:
        """Let time pass by Chatwoot's clock alone."""
        clock = self.sim._state.clock
        self.sim._state.clock = lambda: clock() + seconds

    def resolves(self) -> None:
        """Let an operator resolve the conversation, and wait for the app."""
        self.talk.resolve()
        self.rest()

    def goes(self, *lines: str) -> None:
        """Continue the conversation, and compare the transcript with these lines.

        The lines of the customer and of the operator are sent, each one after the app
        has handled the line before; all other lines are expected of the app.
        ``[returned to the bot]`` and ``[resolved]`` are what an operator does.
        """
        before = len(self.lines())

        for line in lines:
            if line.startswith(_CUSTOMER):
                self.asks(line.removeprefix(_CUSTOMER))
            elif line.startswith(_OPERATOR):
                self.operator(line.removeprefix(_OPERATOR))
            elif line == _RETURN:
                self.returns()
            elif line == _RESOLVE:
                self.resolves()

        said = [line for line in lines if line not in (_RETURN, _RESOLVE)]
        assert self.lines()[before:] == said

    @contextlib.contextmanager
    def during(
        self, thinker: Thinker, text: str = QUESTION, *, delivered: bool = False
    ) -> t.Iterator[MessageRecord]:
        """Ask a question; the block runs while the provider is at work on it.

        :param delivered: The provider answers after every delivery of the block.
        """
        message = self.talk.customer_says(text)
        thinker.wait_until_asked()
        yield message

        if delivered:
            self.sim.drain()

        thinker.answer()
        self.rest()

    def endings(self) -> list[str]:
        """How each turn ended, oldest first: the outcome, and the reason if any."""
        self.rest()
        jobs = reversed(jobs_of(self._app))

        return [" ".join(filter(None, (job.outcome, job.reason))) for job in jobs]

    @property
    def attributes(self) -> dict[str, t.Any]:
        """The conversation's custom attributes."""
        return dict(self.talk.current.custom_attributes)

    @property
    def refusals(self) -> list[t.Any]:
        """The reasons of ignored deliveries, oldest first."""
        answers = [delivery.answer for delivery in self.sim.deliveries]

        return [each["reason"] for each in answers if each["status"] == "ignored"]

    def calls(self, endpoint: str) -> list[t.Any]:
        """The bodies of all requests to an endpoint, oldest first."""
        return [call.json for call in self.sim.calls if call.endpoint == endpoint]

    def rest(self) -> None:
        """Block until every delivery is made and every job ended.

        None of the deliveries may have been refused, wanted or not.
        """
        before, now = -2, -1

        while now != before:  # the end of the one may be the beginning of the other
            before = now
            self.sim.drain(PATIENCE)
            self.sim.wait_until(self._is_worked_off, timeout=PATIENCE)
            now = self.sim.wait_for_change()

        assert {delivery.status for delivery in self.sim.deliveries} <= {200, 202}

    def _is_worked_off(self) -> bool:
        return all(job.state in ("done", "dead") for job in jobs_of(self._app))


class Thinker:
    """A provider that answers once it may.

    :ivar asked: What it was asked, oldest first.
    """

    def __init__(self, answer: t.Any = None) -> None:
        self.asked: list[str] = []
        self._answer = answer
        self._thinks = threading.Event()
        self._may_answer = threading.Event()

    def __call__(self, text: str, turn: Turn) -> t.Any:
        self.asked.append(text)
        self._thinks.set()

        if not self._may_answer.wait(PATIENCE):
            raise TimeoutError

        return self._answer or f"You asked: {text}"

    def wait_until_asked(self) -> None:
        """Block until it thinks for the first time."""
        assert self._thinks.wait(PATIENCE), "The provider was not asked."

    def answer(self) -> None:
        """Answer, this time and from now on."""
        self._may_answer.set()


class Begin(t.Protocol):
    """Begins a story.

    Options are the simulator's version and kind, settings of the app, and fields of the
    conversation. A second story without settings is in the Chatwoot of the first.
    ``answer`` is a provider, or what the provider always answers; without it, the test
    registers one.
    """

    def __call__(self, **options: t.Any) -> Story: ...


@pytest.fixture
def begin(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> Begin:
    sims: list[ChatwootSim] = []

    def begin(**options: t.Any) -> Story:
        if "answer" in options:
            answer = options.pop("answer")
            chatwoot.reply_provider(answer if callable(answer) else lambda text: answer)

        settings = {key: options.pop(key) for key in _OPTIONS & options.keys()}

        if settings or not sims:
            sims.append(chatwoot_simulator(**settings))

        return Story(sims[-1], app, **options)

    return begin


@pytest.fixture
def story(begin: Begin) -> Story:
    """A conversation in bot mode, with the settings of the app."""
    return begin()


@pytest.fixture
def thinker(chatwoot: Chatwoot) -> t.Iterator[Thinker]:
    """The app's provider, which answers when the test says so."""
    thinker = chatwoot.reply_provider(Thinker())
    yield thinker
    thinker.answer()


@pytest.fixture
def asked(chatwoot: Chatwoot) -> list[str]:
    """The texts that the app's provider was given; it always gives the same answer."""
    texts: list[str] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        texts.append(text)
        return REPLY

    return texts
