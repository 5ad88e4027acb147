"""Automatic e-mails get no answer, so two machines do not write to each other."""

from __future__ import annotations

import pytest
from support.stories import ASKED, QUESTION, Begin

from flask_chatwoot import Chatwoot

HOLIDAY = "Ada Lovelace: I am on holiday."


@pytest.fixture(autouse=True)
def asked(chatwoot: Chatwoot) -> list[str]:
    """The questions that the app's provider got."""
    asked: list[str] = []

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        asked.append(text)
        return "On its way."

    return asked


@pytest.mark.parametrize("mode", ["bot", "human"])
def test_an_auto_reply_is_never_answered(begin: Begin, mode: str) -> None:
    story = begin(channel="email", mode=mode)

    for _ in range(3):
        story.talk.customer_mails("I am on holiday.", auto_reply=True)

    assert story.lines() == [HOLIDAY] * 3
    assert story.refusals == ["auto_reply"] * 3
    assert story.endings() == []


def test_automatic_answers_to_the_answer_are_not_answered(begin: Begin) -> None:
    story = begin(channel="email")
    story.talk.customer_mails(QUESTION)
    story.rest()
    assert story.talk.replies

    for _ in range(2):
        story.talk.customer_mails("I am on holiday.", auto_reply=True)
        story.rest()

    assert story.lines() == [ASKED, "Uma User: On its way.", HOLIDAY, HOLIDAY]


@pytest.mark.parametrize("version", ["4.4.0", "4.10.1", "4.16.2"])
def test_the_provider_gets_the_new_text_of_a_mail(
    begin: Begin, asked: list[str], version: str
) -> None:
    story = begin(version=version, channel="email")
    story.talk.customer_mails("Where is it?", quoted="> On Monday we wrote")
    story.rest()

    assert story.talk.replies == ["On its way."]
    assert asked == ["Where is it?"]
