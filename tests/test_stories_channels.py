"""Files, buttons, several messages, and somebody who types."""

from __future__ import annotations

import logging
import time
import typing as t
from pathlib import Path

import pytest
import requests
from flask import Flask
from support.apps import database_of
from support.stories import Story, Thinker

from flask_chatwoot import Chatwoot, Post, Reply, Turn, after_post
from flask_chatwoot.simulator import Fault
from flask_chatwoot.testing import ChatwootSim, SimulatorFactory
from flask_chatwoot.turns import typing_indicator

PICTURE = b"\x89PNG and so on"


@pytest.fixture
def picky(chatwoot: Chatwoot) -> None:
    """The app's provider, which has a question of its own."""

    @chatwoot.reply_provider
    def reply(text: str) -> str | Reply:
        if text == "Where is my order?":
            return Reply("Which one?", choices=["May", ("June", "june-4711")])

        return f"You picked: {text}"


# -- choices -------------------------------------------------------------------


@pytest.mark.usefixtures("picky")
@pytest.mark.parametrize("kind", ["account", "bot"])
def test_on_the_website_the_customer_picks_with_a_button(
    chatwoot_simulator: SimulatorFactory, app: Flask, kind: t.Any
) -> None:
    story = Story(chatwoot_simulator(kind=kind), app)
    bot = "Assistant" if kind == "bot" else "Uma User"

    story.talk.customer_says("Where is my order?")
    story.rest()
    [question] = story.talk.posted
    story.talk.customer_picks(question, "june-4711")

    assert question.content_type == "input_select"
    assert question.content_attributes["items"] == [
        {"title": "May", "value": "May"},
        {"title": "June", "value": "june-4711"},
    ]
    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        f"{bot}: Which one? [June]",
        f"{bot}: You picked: June",
    ]


@pytest.mark.usefixtures("picky")
def test_a_second_thought_is_answered_too_and_a_repeat_is_not(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app)
    story.talk.customer_says("Where is my order?")
    story.rest()
    [question] = story.talk.posted

    for title in ("June", "June", "May"):
        story.talk.customer_picks(question, title)
        story.rest()

    assert story.talk.replies[1:] == ["You picked: June", "You picked: May"]


@pytest.mark.usefixtures("picky")
def test_who_takes_hours_to_pick_is_answered_all_the_same(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app)
    story.talk.customer_says("Where is my order?")
    story.rest()
    [question] = story.talk.posted

    database_of(app).clock = lambda: time.time() + 3 * 3600
    story.talk.customer_picks(question, "June")

    assert story.told()[-1] == "Uma User: You picked: June"
    assert story.endings() == ["replied", "replied"]


@pytest.mark.usefixtures("picky")
def test_elsewhere_the_customer_sends_the_title(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app, channel="whatsapp")

    story.talk.customer_says("Where is my order?")
    story.rest()
    story.talk.customer_picks(story.talk.posted[0], "june-4711")

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User: Which one?",
        "Ada Lovelace: June",
        "Uma User: You picked: June",
    ]


@pytest.mark.usefixtures("picky")
def test_in_a_note_the_choices_are_listed(
    chatwoot_sim: ChatwootSim, app: Flask
) -> None:
    story = Story(chatwoot_sim, app, mode="human")
    story.talk.customer_says("Where is my order?")

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User (note): Which one?",
        "    - May",
        "    - June",
    ]


def test_choices_that_become_a_note_are_listed_too(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    thinker = chatwoot.reply_provider(Thinker(Reply("Which?", choices=["A", "B"])))
    story = Story(chatwoot_sim, app)

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    story.talk.set_attribute("support_mode", "human")
    thinker.answer()

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User (note): Which?",
        "    - A",
        "    - B",
    ]
    assert story.talk.posted[0].content_type == "text"


def test_a_form_is_read_line_by_line(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: f"Thanks: {text}")
    story = Story(chatwoot_sim, app)
    fields = [{"name": "email", "type": "email"}, {"name": "order", "type": "text"}]
    form = story.talk.add(
        story.sim.bot,
        "Who are you?",
        content_type="form",
        content_attributes={"items": fields},
    )

    story.talk.customer_fills(form, {"email": "ada@example.com", "order": "4711"})

    assert story.told() == [
        "Assistant: Who are you? [email: ada@example.com] [order: 4711]",
        "Uma User: Thanks: email: ada@example.com",
        "    order: 4711",
    ]


# -- files and lists -----------------------------------------------------------


def test_a_picture_without_a_word_is_answered(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        [picture] = turn.attachments
        content = requests.get(picture.url or "", timeout=5).content
        return f"{picture.type}, {picture.size} bytes, {content == PICTURE}, {text!r}"

    story = Story(chatwoot_sim, app)
    story.talk.customer_says(attachments=[("order.png", PICTURE, "image/png")])

    assert story.told() == [
        "Ada Lovelace: [order.png]",
        f"Uma User: image, {len(PICTURE)} bytes, True, ''",
    ]


def test_the_files_of_a_burst_are_together(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        of_each = [len(message.attachments) for message in turn.messages]
        return f"{text}: {len(turn.attachments)} files, {of_each}"

    story = Story(chatwoot_simulator(burst_window=1.0), app)
    story.talk.customer_says("Look", attachments=[("a.png", PICTURE, "image/png")])
    story.talk.customer_says(attachments=[("b.pdf", b"%PDF", "application/pdf")])

    assert story.told() == [
        "Ada Lovelace: Look [a.png]",
        "Ada Lovelace: [b.pdf]",
        "Uma User: Look: 2 files, [1, 1]",
    ]


@pytest.mark.parametrize(("mode", "mark"), [("bot", ""), ("human", " (note)")])
def test_files_go_out(
    chatwoot_sim: ChatwootSim,
    app: Flask,
    chatwoot: Chatwoot,
    tmp_path: Path,
    mode: str,
    mark: str,
) -> None:
    label = tmp_path / "label.pdf"
    label.write_bytes(b"%PDF label")
    files: list[Path | tuple[str, bytes, str]] = [
        label,
        ("order.png", PICTURE, "image/png"),
    ]
    chatwoot.reply_provider(lambda text: Reply("Here they are.", attachments=files))
    story = Story(chatwoot_sim, app, mode=mode)
    story.talk.customer_says("The label, please.")

    assert story.told() == [
        "Ada Lovelace: The label, please.",
        f"Uma User{mark}: Here they are. [label.pdf] [order.png]",
    ]
    [post] = story.talk.posted
    contents = [
        requests.get(str(file["data_url"]), timeout=5).content
        for file in post.attachments
    ]
    assert contents == [b"%PDF label", PICTURE]


def test_a_file_whose_request_had_no_answer_is_sent_once(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    file = ("order.png", PICTURE, "image/png")
    chatwoot.reply_provider(lambda text: Reply(attachments=[file]))
    story = Story(chatwoot_sim, app)
    story.sim.inject(Fault.CUT_AFTER)
    story.talk.customer_says("The picture, please.")

    assert story.told() == [
        "Ada Lovelace: The picture, please.",
        "Uma User: [order.png]",
    ]


def test_several_messages_from_one_turn(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(
        lambda text: [
            "It left our house.",
            Reply("A guess, to be checked.", private=True),
            None,
            Reply("Anything else?", choices=["Yes", "No"]),
        ]
    )
    story = Story(chatwoot_sim, app)
    story.talk.customer_says("Where is my order?")

    assert story.told() == [
        "Ada Lovelace: Where is my order?",
        "Uma User: It left our house.",
        "Uma User (note): A guess, to be checked.",
        "Uma User: Anything else?",
    ]
    assert story.endings() == ["replied"]


def test_a_person_who_cuts_in_has_the_last_word(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: ["First.", "Second.", "Third."])
    story = Story(chatwoot_sim, app)

    def cut_in(_: Flask, post: Post, **rest: t.Any) -> None:
        if post.content == "First.":
            story.talk.operator_says("Let me take this.")

    with after_post.connected_to(cut_in, sender=app):
        story.talk.customer_says("Where is my order?")
        told = story.told()

    assert told == [
        "Ada Lovelace: Where is my order?",
        "Uma User: First.",
        "Olga Operator: Let me take this.",
    ]
    assert story.endings() == ["replied", "taken_over"]


# -- typing --------------------------------------------------------------------


def quiet_again(story: Story) -> list[str]:
    """What the API was told about typing, once it has been told of the end."""
    story.rest()
    typing = story.sim.wait_until(lambda: "off" in story.talk.typing)

    return story.talk.typing if typing else []


@pytest.mark.parametrize("kind", ["account", "bot"])
def test_a_slow_provider_types_until_it_has_answered(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot, kind: t.Any
) -> None:
    thinker = chatwoot.reply_provider(Thinker("On its way."))
    story = Story(chatwoot_simulator(kind=kind), app)

    story.talk.customer_says("Where is my order?")
    story.sim.wait_until(lambda: story.talk.typing == ["on"])
    thinker.answer()

    assert quiet_again(story) == ["on", "off"]
    assert story.talk.replies == ["On its way."]


@pytest.mark.parametrize("ends", ["in silence", "with an error"])
def test_typing_ends_even_if_nothing_is_said(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot, ends: str
) -> None:
    thinker = Thinker("thought")

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> None:
        thinker(text, turn)

        if ends == "with an error":
            raise LookupError

    story = Story(chatwoot_simulator(max_attempts=1), app)
    story.talk.customer_says("Where is my order?")
    story.sim.wait_until(lambda: story.talk.typing == ["on"])
    thinker.answer()

    assert quiet_again(story) == ["on", "off"]
    assert story.talk.replies == []


def test_who_answers_at_once_does_not_type(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")
    story = Story(chatwoot_sim, app)
    story.talk.customer_says("Where is my order?")

    assert story.told()[-1] == "Uma User: On its way."
    assert story.talk.typing == []


def test_nobody_types_for_operators(
    chatwoot_sim: ChatwootSim, app: Flask, chatwoot: Chatwoot
) -> None:
    thinker = chatwoot.reply_provider(mode="human")(Thinker("On its way."))
    story, other = (Story(chatwoot_sim, app, mode=mode) for mode in ("human", "bot"))
    slow = chatwoot.reply_provider(mode="bot")(Thinker("Soon."))

    story.talk.customer_says("Where is my order?")
    thinker.wait_until_asked()
    other.talk.customer_says("And mine?")
    other.sim.wait_until(lambda: other.talk.typing)  # which began later
    thinker.answer()
    slow.answer()

    assert story.told()[-1] == "Uma User (note): On its way."
    assert story.talk.typing == []


def test_a_server_that_refuses_it_costs_one_line_in_the_log(
    chatwoot_simulator: SimulatorFactory,
    app: Flask,
    chatwoot: Chatwoot,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Before 4.12 a bot's token may not."""
    caplog.set_level(logging.INFO, logger="flask_chatwoot")
    thinker = chatwoot.reply_provider(Thinker("On its way."))
    sim = chatwoot_simulator(version="4.11.0", kind="bot")
    first, second = Story(sim, app), Story(sim, app)

    first.talk.customer_says("Where is my order?")
    second.talk.customer_says("Where is mine?")
    first.sim.wait_until(lambda: first.calls("toggle_typing_status"))
    first.sim.wait_until(lambda: "typing indicator" in caplog.text)
    thinker.answer()

    assert first.told()[-1] == second.told()[-1] == "Assistant: On its way."
    assert caplog.text.count("typing indicator is not shown") == 1


def test_it_is_shown_anew_before_the_widget_forgets_it(
    chatwoot_sim: ChatwootSim,
    app: Flask,
    chatwoot: Chatwoot,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert typing_indicator.REFRESH < 30
    monkeypatch.setattr(typing_indicator, "REFRESH", 0.1)
    thinker = chatwoot.reply_provider(Thinker("On its way."))
    story = Story(chatwoot_sim, app)

    story.talk.customer_says("Where is my order?")
    story.sim.wait_until(lambda: story.talk.typing.count("on") >= 3)
    thinker.answer()

    *shown, last = quiet_again(story)
    assert set(shown) == {"on"}
    assert last == "off"


def test_it_can_be_switched_off(
    chatwoot_simulator: SimulatorFactory, app: Flask, chatwoot: Chatwoot
) -> None:
    thinker = chatwoot.reply_provider(Thinker("On its way."))
    story = Story(chatwoot_simulator(typing=False), app)

    story.talk.customer_says("Where is my order?")
    with pytest.raises(TimeoutError):  # twice as long as it takes to be shown
        story.sim.wait_until(
            lambda: story.calls("toggle_typing_status"),
            timeout=2 * typing_indicator.AFTER,
        )
    thinker.answer()

    assert story.told()[-1] == "Uma User: On its way."
