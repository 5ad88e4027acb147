"""The tests of a host, which use the fixtures of the pytest plugin."""

from __future__ import annotations

import sys
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_chatwoot import Chatwoot

if t.TYPE_CHECKING:  # the plugin has to load this module
    from flask_chatwoot.testing import ChatwootSim, SimulatorFactory


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    app = Flask("host", instance_path=str(tmp_path))
    app.testing = True
    Chatwoot(app).reply_provider(lambda text: "On its way.")

    return app


def test_costs_nothing_until_it_is_used() -> None:
    assert "flask_chatwoot.testing" in sys.modules
    assert "flask_chatwoot.hosting" not in sys.modules
    assert "flask_chatwoot.simulator" not in sys.modules


def test_answers_orders(chatwoot_sim: ChatwootSim, app: Flask) -> None:
    talk = chatwoot_sim.conversation(app, mode="bot")
    talk.customer_says("Where is my order?")

    assert talk.last_reply == "On its way."
    assert talk.notes == []


@pytest.mark.parametrize("version", ["4.2", "4.9", "4.12", "4.16"])
def test_answers_every_version(
    chatwoot_simulator: SimulatorFactory, app: Flask, version: str
) -> None:
    talk = chatwoot_simulator(version=version).conversation(app, mode="human")
    talk.customer_says("Where is my order?")

    assert talk.notes == ["On its way."]
