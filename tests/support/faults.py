"""What the tests of known faults share: their mark, and stories of one conversation."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from flask import Flask

from flask_chatwoot import Chatwoot
from flask_chatwoot.testing import SimulatorFactory

from .stories import Story, Thinker

QUESTION: t.Final = "Where is my order?"
REPLY: t.Final = "On its way."

Begin = t.Callable[..., "FaultStory"]


def known_fault(reason: str) -> pytest.MarkDecorator:
    """Mark a test that fails until the fault is mended."""
    return pytest.mark.xfail(reason=reason, strict=True, raises=AssertionError)


class FaultStory(Story):
    def asks(self, text: str | None = QUESTION, **fields: t.Any) -> None:
        """Write as the customer, and block until the turn has ended."""
        self.talk.customer_says(text, **fields)
        self.rest()

    @contextlib.contextmanager
    def thinking(self, thinker: Thinker, text: str = QUESTION) -> t.Iterator[t.Any]:
        """The time in which the provider works on a message, which is yielded."""
        message = self.talk.customer_says(text)
        thinker.wait_until_asked()

        yield message

        self.sim.drain()
        thinker.answer()
        self.rest()


@pytest.fixture
def begin(
    app: Flask, chatwoot: Chatwoot, chatwoot_simulator: SimulatorFactory
) -> Begin:
    """Begins a story: ``begin(answer="Yes.", kind="bot", channel="email")``.

    ``answer`` is a provider, or what the provider always answers; without it, the test
    registers one. The other values are the simulator's and the conversation's.
    """

    def begin(**fields: t.Any) -> FaultStory:
        if "answer" in fields:
            answer = fields.pop("answer")
            chatwoot.reply_provider(answer if callable(answer) else lambda text: answer)

        options = {"kind", "version", "max_attempts", "workers"} & fields.keys()
        sim = chatwoot_simulator(**{name: fields.pop(name) for name in options})

        return FaultStory(sim, app, **fields)

    return begin


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
