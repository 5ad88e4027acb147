"""Automatic e-mails get no answer, so two machines do not write to each other."""

from __future__ import annotations

import pytest
from support.stories import Begin

pytestmark = pytest.mark.usefixtures("asked")


@pytest.mark.parametrize("mode", ["bot", "human"])
def test_an_auto_reply_is_never_answered(begin: Begin, mode: str) -> None:
    story = begin(channel="email", mode=mode)

    for _ in range(3):
        story.talk.customer_mails("I am on holiday.", auto_reply=True)

    assert story.lines() == ["Ada Lovelace: I am on holiday."] * 3
    assert story.refusals == ["auto_reply"] * 3
    assert story.endings() == []


@pytest.mark.parametrize("version", ["4.4.0", "4.10.1", "4.16.2"])
def test_the_provider_gets_the_new_text_of_a_mail(
    begin: Begin, asked: list[str], version: str
) -> None:
    story = begin(version=version, channel="email")
    story.talk.customer_mails("Where is it?", quoted="> On Monday we wrote")
    story.rest()

    assert story.talk.replies == ["On its way."]
    assert asked == ["Where is it?"]
