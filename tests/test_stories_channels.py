"""Choices, files, several messages in one turn, and the typing indicator."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask
from support.stories import ASKED, QUESTION, Begin, Story, Thinker

from flask_chatwoot import Chatwoot, Post, Reply, Turn, after_post
from flask_chatwoot.simulator import Fault
from flask_chatwoot.turns import typing_indicator

PICTURE = b"\x89PNG and so on"
FILE = ("order.png", PICTURE, "image/png")


@pytest.fixture
def choices(chatwoot: Chatwoot) -> None:
    """The app's provider, which offers choices."""

    @chatwoot.reply_provider
    def reply(text: str) -> str | Reply:
        if text == QUESTION:
            return Reply("Which one?", choices=["May", ("June", "june-4711")])

        return f"You picked: {text}"


@pytest.fixture
def thinker(chatwoot: Chatwoot) -> Thinker:
    return chatwoot.reply_provider(Thinker("On its way."))


# -- choices -------------------------------------------------------------------


@pytest.mark.usefixtures("choices")
@pytest.mark.parametrize("kind", ["account", "bot"])
def test_a_website_shows_choices_as_buttons(begin: Begin, kind: str) -> None:
    story = begin(kind=kind)
    story.asks()
    [question] = story.talk.posted
    story.talk.customer_picks(question, "june-4711")

    assert question.content_type == "input_select"
    assert question.content_attributes["items"] == [
        {"title": "May", "value": "May"},
        {"title": "June", "value": "june-4711"},
    ]
    us = {"account": "Uma User", "bot": "Assistant"}[kind]
    picked = [f"{us}: Which one? [June]", f"{us}: You picked: June"]
    assert story.lines() == [ASKED, *picked]


@pytest.mark.usefixtures("choices")
def test_another_pick_is_answered_and_a_repeated_pick_is_not(story: Story) -> None:
    story.asks()
    [question] = story.talk.posted

    for title in ("June", "June", "May"):
        story.talk.customer_picks(question, title)
        story.rest()

    assert story.talk.replies[1:] == ["You picked: June", "You picked: May"]


@pytest.mark.usefixtures("choices")
def test_on_other_channels_the_customer_sends_the_title(begin: Begin) -> None:
    story = begin(channel="whatsapp")
    story.asks()
    story.talk.customer_picks(story.talk.posted[0], "june-4711")

    assert story.lines() == [
        ASKED,
        "Uma User: Which one?",
        "Ada Lovelace: June",
        "Uma User: You picked: June",
    ]


def test_a_form_becomes_one_line_per_field(story: Story, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: f"Thanks: {text}")
    fields = [{"name": "email", "type": "email"}, {"name": "order", "type": "text"}]
    form = story.talk.add(
        story.sim.bot,
        "Who are you?",
        content_type="form",
        content_attributes={"items": fields},
    )

    story.talk.customer_fills(form, {"email": "ada@example.com", "order": "4711"})

    assert story.lines() == [
        "Assistant: Who are you? [email: ada@example.com] [order: 4711]",
        "Uma User: Thanks: email: ada@example.com",
        "    order: 4711",
    ]


# -- files and lists -----------------------------------------------------------


@pytest.mark.slow
def test_a_turn_has_the_files_of_its_burst(begin: Begin, chatwoot: Chatwoot) -> None:
    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        of_each = [len(message.attachments) for message in turn.messages]
        return f"{text}: {len(turn.attachments)} files, {of_each}"

    story = begin(burst_window=1.0)
    story.talk.customer_says("Look", attachments=[("a.png", PICTURE, "image/png")])
    story.talk.customer_says(attachments=[("b.pdf", b"%PDF", "application/pdf")])

    assert story.lines() == [
        "Ada Lovelace: Look [a.png]",
        "Ada Lovelace: [b.pdf]",
        "Uma User: Look: 2 files, [1, 1]",
    ]


def test_one_file_is_sent_if_no_answer_came(story: Story, chatwoot: Chatwoot) -> None:
    chatwoot.reply_provider(lambda text: Reply(attachments=[FILE]))
    story.sim.inject(Fault.CUT_AFTER)
    story.goes(ASKED, "Uma User: [order.png]")


def test_an_operators_answer_between_two_messages_withholds_the_second(
    story: Story, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: ["First.", "Second.", "Third."])

    def answer(_: Flask, post: Post, **rest: t.Any) -> None:
        if post.content == "First.":
            story.talk.operator_says("Let me do it.")

    with after_post.connected_to(answer, sender=app):
        story.asks()

    assert story.lines() == [ASKED, "Uma User: First.", "Olga Operator: Let me do it."]
    assert story.endings() == ["replied", "taken_over"]


# -- the typing indicator --------------------------------------------------------


@pytest.mark.parametrize("kind", ["account", "bot"])
def test_typing_is_shown_until_a_slow_provider_has_answered(
    begin: Begin, thinker: Thinker, kind: str
) -> None:
    story = begin(kind=kind)

    with story.during(thinker):
        story.sim.wait_until(lambda: story.talk.typing == ["on"])

    assert story.talk.replies == ["On its way."]
    assert story.sim.wait_until(lambda: story.talk.typing == ["on", "off"])


def test_typing_is_not_shown_for_a_note(begin: Begin, chatwoot: Chatwoot) -> None:
    thinker = chatwoot.reply_provider(mode="human")(Thinker("On its way."))
    slow = chatwoot.reply_provider(mode="bot")(Thinker("Soon."))
    story, other = begin(mode="human"), begin()

    with story.during(thinker):
        other.talk.customer_says("And mine?")
        other.sim.wait_until(lambda: other.talk.typing)  # which began later
        slow.answer()

    assert story.lines()[-1] == "Uma User (note): On its way."
    assert story.talk.typing == []


def test_typing_can_be_switched_off(begin: Begin, thinker: Thinker) -> None:
    story = begin(typing=False)

    with story.during(thinker), pytest.raises(TimeoutError):
        story.sim.wait_until(
            lambda: story.calls("toggle_typing_status"),
            timeout=2 * typing_indicator.AFTER,
        )

    assert story.lines()[-1] == "Uma User: On its way."
