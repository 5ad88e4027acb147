"""``CHATWOOT_DRAFT_FEEDBACK``: whether operators use the drafts that they get."""

from __future__ import annotations

import logging
import time
import typing as t

import pytest
from flask import Flask
from support.apps import components_of, recorded, runtime_of, store_of
from support.commands import outcome
from support.stories import QUESTION, Begin, Story
from support.waiting import wait_until

from flask_chatwoot import (
    Chatwoot,
    DraftVerdict,
    Handoff,
    Reply,
    Turn,
    draft_reviewed,
    turn_due,
    turn_finished,
)
from flask_chatwoot.copilot.suggestions import revise, suggest
from flask_chatwoot.errors import DatabaseError
from flask_chatwoot.simulator import Fault

DRAFT: t.Final = "Your parcel has left our warehouse this morning."
EDITED: t.Final = "Your parcel has left our warehouse, and arrives on Monday."
OTHER: t.Final = "I do not know, sorry."

Reviewed = list[dict[str, t.Any]]


@pytest.fixture(autouse=True)
def reviewed(app: Flask) -> t.Iterator[Reviewed]:
    """What the signal sends, oldest first."""
    with recorded(draft_reviewed, app) as sent:
        app.extensions["reviewed"] = sent
        yield sent


@pytest.fixture
def drafted(begin: Begin) -> Story:
    """A conversation in human mode whose operators have a note with a draft."""
    story = begin(answer=DRAFT, draft_feedback=True, mode="human")
    story.asks()
    assert story.talk.notes == [DRAFT]

    return story


def waiting(app: Flask) -> list[t.Any]:
    """The texts that are kept: drafts, and replies if there are any."""
    with store_of(app).database.inspect() as tx:
        return tx.execute("SELECT draft, reply FROM review ORDER BY id").fetchall()


def verdicts(sent: Reviewed) -> list[tuple[str, str]]:
    return [(each["turn"].purpose, each["verdict"]) for each in sent]


def settle(app: Flask, story: Story) -> None:
    """Wait until every reply is compared, and the signal sent."""
    story.rest()
    reviews, sent = store_of(app).reviews, app.extensions["reviewed"]
    wait_until(lambda: reviews.next() is None)
    wait_until(lambda: sum(each.drafts for each in reviews.counts(2)) == len(sent))


def says(app: Flask, story: Story, text: str | None, **fields: t.Any) -> None:
    """Let an operator reply in public, and wait for the verdict, if there is one."""
    story.talk.operator_says(text, **fields)
    settle(app, story)


def press(app: Flask, story: Story) -> str:
    """Ask for a suggestion as the composer does."""
    runtime = runtime_of(app)
    reader = runtime.configured.turns.history.reader

    with app.app_context():
        return suggest(
            runtime, reader.conversation(story.talk.id), reader.messages(story.talk.id)
        )


# -- notes -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "verdict", "similarity"),
    [
        (DRAFT, "used", 1.0),
        (f"{DRAFT}\n\n--\n\nOlga", "used", 1.0),
        (EDITED, "edited", pytest.approx(0.75, abs=0.15)),
        (OTHER, "ignored", pytest.approx(0.3, abs=0.2)),
    ],
)
def test_the_reply_to_a_note_gives_it_a_verdict(
    app: Flask,
    drafted: Story,
    reviewed: Reviewed,
    reply: str,
    verdict: str,
    similarity: float,
) -> None:
    says(app, drafted, reply)

    [sent] = reviewed
    assert (sent["draft"], sent["reply"]) == (DRAFT, reply)
    assert (sent["verdict"], sent["similarity"]) == (verdict, similarity)
    assert isinstance(sent["verdict"], DraftVerdict)


def test_the_signal_names_the_turn_without_what_the_customer_wrote(
    app: Flask, begin: Begin, reviewed: Reviewed
) -> None:
    story = begin(answer=DRAFT, draft_feedback=True, mode="human")

    with recorded(turn_finished, app) as ended:
        story.asks()

    says(app, story, DRAFT)
    turn, before = reviewed[0]["turn"], ended[0]["turn"]
    ids = ("account_id", "conversation_id", "inbox_id", "message_id", "mode")
    assert isinstance(turn, Turn)
    assert [getattr(turn, each) for each in ids] == [
        getattr(before, each) for each in ids
    ]
    assert [each.id for each in turn.messages] == [each.id for each in before.messages]
    assert (turn.text, turn.messages[0].text, turn.raw) == ("", "", {})


def test_receivers_have_an_app_context(
    app: Flask, chatwoot: Chatwoot, drafted: Story
) -> None:
    read = []

    def receive(sender: Flask, turn: Turn, **values: t.Any) -> None:
        read.append(chatwoot.client.conversation(turn.conversation_id or 0).id)

    with draft_reviewed.connected_to(receive, sender=app):
        says(app, drafted, DRAFT)
        wait_until(lambda: read)

    assert read == [drafted.talk.id]


def test_an_answer_of_several_posts_is_one_draft(
    app: Flask, begin: Begin, reviewed: Reviewed
) -> None:
    answer = ["One.", Reply("Two?", choices=["Yes"]), Reply("Three.", private=True)]
    story = begin(answer=answer, draft_feedback=True, mode="human")
    story.asks()
    assert len(story.talk.notes) == 3

    says(app, story, "One.\n\nTwo?\n- Yes\n\nThree.")
    assert verdicts(reviewed) == [("reply", "used")]


@pytest.mark.parametrize("answer", [Handoff("angry"), "", None])
def test_what_is_no_text_for_the_customer_is_no_draft(
    app: Flask, begin: Begin, reviewed: Reviewed, answer: t.Any
) -> None:
    story = begin(answer=answer, draft_feedback=True, mode="human")
    story.asks()

    says(app, story, OTHER)
    assert reviewed == []


def test_a_hand_off_is_no_part_of_a_draft(
    app: Flask, begin: Begin, reviewed: Reviewed
) -> None:
    answer = Reply(DRAFT, handoff=Handoff("angry"))
    story = begin(answer=answer, draft_feedback=True, mode="human")
    story.asks()
    assert len(story.talk.notes) == 2

    says(app, story, DRAFT)
    assert [each["draft"] for each in reviewed] == [DRAFT]


@pytest.mark.parametrize("answer", [DRAFT, Reply(DRAFT, handoff=Handoff("angry"))])
def test_what_the_customer_got_is_no_draft(
    app: Flask, begin: Begin, reviewed: Reviewed, answer: t.Any
) -> None:
    story = begin(answer=answer, draft_feedback=True)
    story.asks()

    says(app, story, DRAFT)
    assert (reviewed, waiting(app)) == ([], [])


def test_an_answer_that_became_a_note_is_a_draft(
    app: Flask, begin: Begin, reviewed: Reviewed
) -> None:
    story = begin(answer=DRAFT, draft_feedback=True)
    story.operator("May I help you?")
    story.asks()
    assert story.talk.notes == [DRAFT]

    says(app, story, DRAFT)
    assert verdicts(reviewed) == [("reply", "used")]


def test_a_note_that_could_not_be_posted_gets_no_verdict(
    app: Flask, begin: Begin, reviewed: Reviewed
) -> None:
    story = begin(answer=DRAFT, draft_feedback=True, mode="human", max_attempts=1)
    story.sim.inject(Fault.UNPROCESSABLE, endpoint="create_message", times=None)
    story.asks()
    assert story.talk.notes == []

    says(app, story, DRAFT)
    assert (reviewed, waiting(app)) == ([], [])


def test_a_draft_whose_question_was_answered_meanwhile_gets_no_verdict(
    app: Flask, begin: Begin, chatwoot: Chatwoot, reviewed: Reviewed
) -> None:
    story = begin(draft_feedback=True, mode="human")

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        story.talk.operator_says(OTHER)
        story.sim.drain()
        return DRAFT

    story.asks()
    settle(app, story)
    assert story.talk.notes == []
    assert (reviewed, waiting(app)) == ([], [])


# -- replies -----------------------------------------------------------------------


def test_the_first_reply_with_a_text_decides(
    app: Flask, drafted: Story, reviewed: Reviewed
) -> None:
    picture = {"file_type": "image", "data_url": "https://files.example.com/1"}
    talk = drafted.talk
    talk.operator_says("Have a look at this draft.", private=True)
    talk.automation_says("We are busy today.")
    says(app, drafted, None, attachments=[picture])
    assert reviewed == []

    says(app, drafted, DRAFT)
    says(app, drafted, OTHER)
    assert verdicts(reviewed) == [("reply", "used")]


@pytest.mark.parametrize(
    "way", ["operator_says_from_slack", "operator_says_from_phone"]
)
def test_a_reply_from_elsewhere_counts(
    app: Flask, begin: Begin, reviewed: Reviewed, way: str
) -> None:
    story = begin(
        answer=DRAFT, draft_feedback=True, mode="human", channel="Channel::Whatsapp"
    )
    story.asks()
    getattr(story.talk, way)(DRAFT)
    settle(app, story)

    assert verdicts(reviewed) == [("reply", "used")]


def test_a_reply_that_is_delivered_again_or_edited_counts_once(
    app: Flask, drafted: Story, reviewed: Reviewed
) -> None:
    reply = drafted.talk.operator_says(DRAFT)
    drafted.sim.deliver(reply)
    drafted.sim.deliver(reply)
    drafted.talk.edit(reply, content=OTHER)
    settle(app, drafted)
    drafted.sim.deliver(reply)
    settle(app, drafted)

    assert verdicts(reviewed) == [("reply", "used")]


def test_an_earlier_reply_that_is_delivered_late_does_not_count(
    app: Flask, drafted: Story, reviewed: Reviewed
) -> None:
    says(app, drafted, DRAFT)
    late = drafted.talk.messages[-1]
    drafted.asks("And the invoice?")
    press(app, drafted)
    drafted.sim.deliver(late)
    settle(app, drafted)
    assert verdicts(reviewed) == [("reply", "used")]

    says(app, drafted, OTHER)
    assert verdicts(reviewed)[1:] == [("reply", "ignored")]


def test_a_reply_that_catch_up_finds_counts(
    app: Flask, drafted: Story, reviewed: Reviewed
) -> None:
    with drafted.sim.losing():
        drafted.talk.operator_says(DRAFT)

    assert reviewed == []
    components_of(app).catch_up.sweep(started_at=time.time(), now=True)
    settle(app, drafted)
    assert verdicts(reviewed) == [("reply", "used")]


def test_a_reply_that_may_be_a_bots_gives_no_verdict(
    app: Flask, begin: Begin, reviewed: Reviewed
) -> None:
    story = begin(answer=DRAFT, draft_feedback=True, mode="human")
    story.asks()

    with story.sim.losing():
        story.talk.operator_says_from_slack(DRAFT)  # without its author in the list
        story.talk.operator_says("Yes.", private=True)

    components_of(app).catch_up.sweep(started_at=time.time(), now=True)
    settle(app, story)
    assert (reviewed, waiting(app)) == ([], [(DRAFT, None)])


def test_each_draft_gets_a_verdict_of_its_own(
    app: Flask, begin: Begin, reviewed: Reviewed
) -> None:
    story = begin(
        answer=lambda text: f"About {text}: it is on its way.",
        draft_feedback=True,
        mode="human",
    )
    story.asks("my enormous green parcel from last week")
    story.asks("the bill")
    other = begin(mode="human")
    other.asks("x")

    says(app, story, "About the bill: it is on its way.")
    assert [each for _, each in verdicts(reviewed)] == ["edited", "used"]


# -- suggestions -------------------------------------------------------------------


@pytest.fixture
def pressed(begin: Begin) -> Story:
    """A conversation whose operators press the button."""

    def reply(text: str, turn: Turn) -> str:
        return "It has left." if turn.instruction else DRAFT

    story = begin(answer=reply, draft_feedback=True, draft_notes=False, mode="human")
    story.asks()

    return story


def test_a_suggestion_gets_a_verdict(
    app: Flask, pressed: Story, reviewed: Reviewed
) -> None:
    assert press(app, pressed) == DRAFT
    assert press(app, pressed) == DRAFT  # the same text is the same draft
    says(app, pressed, DRAFT)

    assert verdicts(reviewed) == [("suggestion", "used")]
    assert reviewed[0]["turn"].conversation_id == pressed.talk.id


class Shorter(t.NamedTuple):
    conversation_id: int | None
    suggestion: str = DRAFT
    instruction: str = "Shorter, please"


def test_a_suggestion_that_the_operator_had_changed_gets_none(
    app: Flask, pressed: Story, reviewed: Reviewed
) -> None:
    press(app, pressed)

    with app.app_context():
        assert revise(runtime_of(app), Shorter(pressed.talk.id)) == "It has left."

    says(app, pressed, "It has left.")
    assert [each["draft"] for each in reviewed] == ["It has left."]


def test_a_suggestion_is_returned_while_it_cannot_be_kept(
    app: Flask,
    pressed: Story,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise DatabaseError("The database is away.")

    monkeypatch.setattr(store_of(app).reviews, "keep", fail)

    with caplog.at_level(logging.WARNING):
        assert press(app, pressed) == DRAFT

    assert "a suggestion will get no verdict" in caplog.text
    assert DRAFT not in caplog.text


# -- where it runs -----------------------------------------------------------------


@pytest.mark.parametrize("backend", ["inline", "thread"])
def test_a_reply_is_compared_with_every_backend(
    app: Flask, begin: Begin, reviewed: Reviewed, backend: str
) -> None:
    story = begin(answer=DRAFT, draft_feedback=True, mode="human", backend=backend)
    story.asks()
    story.talk.operator_says(DRAFT)
    story.sim.drain()

    wait_until(lambda: reviewed)
    assert verdicts(reviewed) == [("reply", "used")]


def test_a_host_with_its_own_engine_is_told_and_compares(
    app: Flask, chatwoot: Chatwoot, begin: Begin, reviewed: Reviewed
) -> None:
    story = begin(
        answer=DRAFT, draft_feedback=True, mode="human", backend="thread", workers=0
    )

    with recorded(turn_due, app) as due:
        story.talk.customer_says(QUESTION)
        story.sim.drain()
        work_on(app, chatwoot, due)
        story.sim.drain()
        story.talk.operator_says(DRAFT)
        story.sim.drain()
        assert reviewed == []
        work_on(app, chatwoot, due)

    assert verdicts(reviewed) == [("reply", "used")]


def work_on(app: Flask, chatwoot: Chatwoot, due: list[dict[str, t.Any]]) -> None:
    with app.app_context():
        while due:
            chatwoot.work(**due.pop())


def test_without_the_setting_nothing_is_kept(
    app: Flask, begin: Begin, reviewed: Reviewed
) -> None:
    story = begin(answer=DRAFT, mode="human")
    story.asks()
    press(app, story)
    assert waiting(app) == []

    says(app, story, DRAFT)
    assert reviewed == []
    assert "drafts" not in components_of(app).health(300.0)
    assert "set CHATWOOT_DRAFT_FEEDBACK=true" in outcome(app, "drafts")[1]


# -- figures and texts -------------------------------------------------------------


def test_the_command_and_health_show_the_rates(app: Flask, drafted: Story) -> None:
    assert components_of(app).health(300.0)["drafts"] == {"reviewed": 0}
    assert outcome(app, "drafts")[1].splitlines()[1:] == ["0 drafts"]

    says(app, drafted, DRAFT)
    drafted.asks("And the bill?")
    says(app, drafted, OTHER)

    assert components_of(app).health(300.0)["drafts"] == {
        "reviewed": 2,
        "used": 0.5,
        "edited": 0.0,
        "ignored": 0.5,
    }
    head, day, total = outcome(app, "drafts")[1].splitlines()
    assert head.split() == ["DAY", "DRAFT", "USED", "EDITED", "IGNORED"]
    assert day.split()[1:] == ["note", "1", "0", "1"]
    assert total == "2 drafts: 50% used, 0% edited, 50% ignored"


def test_no_text_is_left_after_the_verdict_nor_in_a_log(
    app: Flask, drafted: Story, caplog: pytest.LogCaptureFixture
) -> None:
    [(draft, _)] = waiting(app)
    assert draft == DRAFT

    with caplog.at_level(logging.DEBUG):
        says(app, drafted, EDITED)

    assert waiting(app) == []
    assert DRAFT not in caplog.text
    assert EDITED not in caplog.text


def test_a_receiver_that_fails_is_called_once(app: Flask, drafted: Story) -> None:
    called = []

    def fail(sender: Flask, **values: t.Any) -> None:
        called.append(values["verdict"])
        raise OSError

    with draft_reviewed.connected_to(fail, sender=app):
        says(app, drafted, DRAFT)
        wait_until(lambda: called)

    assert called == ["used"]
    assert components_of(app).health(300.0)["drafts"]["reviewed"] == 1
