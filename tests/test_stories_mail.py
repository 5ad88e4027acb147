"""Two machines write mails to each other, and one of them knows when to stop."""

from __future__ import annotations

import pytest
from flask import Flask
from support.stories import Story

from flask_chatwoot import Chatwoot
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory


@pytest.fixture(autouse=True)
def provider(chatwoot: Chatwoot) -> list[str]:
    """What the app's provider was asked."""
    asked: list[str] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        asked.append(text)
        return "On its way."

    return asked


@pytest.mark.parametrize("mode", ["bot", "human"])
def test_an_auto_reply_is_never_answered(
    chatwoot_sim: ChatwootSim, app: Flask, mode: str
) -> None:
    story = Story(chatwoot_sim, app, channel="email", mode=mode)

    for _ in range(3):
        story.talk.customer_mails("I am on holiday.", auto_reply=True)

    assert story.told() == ["Ada Lovelace: I am on holiday."] * 3
    assert story.refusals == ["auto_reply"] * 3
    assert story.endings() == []


def test_the_ping_pong_ends_after_one_answer(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app, channel="email")

    story.talk.customer_mails("Where is my order?")
    story.rest()

    for _ in range(2):
        if story.talk.replies:  # the customer's machine answers whatever comes
            story.talk.customer_mails("I am on holiday.", auto_reply=True)
            story.rest()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User: On its way.",
        "Ada Lovelace: I am on holiday.",
        "Ada Lovelace: I am on holiday.",
    ]


@pytest.mark.parametrize("version", ["4.4.0", "4.10.1", "4.16.2"])
def test_of_a_mail_the_provider_gets_what_is_new(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    provider: list[str],
    version: str,
) -> None:
    story = Story(chatwoot_simulator(version=version), app, channel="email")

    story.talk.customer_mails("Where is it?", quoted="> On Monday we wrote")
    story.rest()

    assert story.talk.replies == ["On its way."]
    assert provider == ["Where is it?"]
