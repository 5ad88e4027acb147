"""What the stories share: one conversation over real HTTP, told when it is quiet."""

from __future__ import annotations

import threading
import typing as t

from flask import Flask

from flask_chatwoot import Turn
from flask_chatwoot.simulator import Talk
from flask_chatwoot.testing import ChatwootSim

from .apps import jobs_of

PATIENCE: t.Final = 20.0
"""Seconds after which a story that does not go on has failed."""


class Story:
    """One conversation of a customer, an app and operators.

    :ivar talk: The conversation. What is said in it does not wait for anybody.
    :ivar sim: The Chatwoot it is in.
    """

    def __init__(self, chatwoot_sim: ChatwootSim, app: Flask, **fields: t.Any) -> None:
        self.talk: Talk = chatwoot_sim.conversation(app, **fields).talk
        self.sim = chatwoot_sim.simulator(app)
        self._app = app

    def told(self) -> list[str]:
        """The transcript, line by line, once nobody has anything left to do."""
        self.rest()

        return self.talk.transcript.splitlines()

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
        """What the app said to deliveries that began no turn, oldest first."""
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
