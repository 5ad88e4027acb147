"""What an operator gets who asks for a suggestion."""

from __future__ import annotations

import contextlib
import threading
import typing as t
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import Flask
from support import databases
from support.apps import jobs_of, recorded, runtime_of
from support.commands import outcome
from support.stories import QUESTION, Begin, Story, Thinker
from support.waiting import Clock, wait_until

from flask_chatwoot import (
    Chatwoot,
    Handoff,
    Reply,
    Turn,
    got_exception,
    suggested,
)
from flask_chatwoot.copilot import drafting
from flask_chatwoot.copilot.refusals import RefusedError
from flask_chatwoot.copilot.suggestions import revise, suggest
from flask_chatwoot.queue.store import Store
from flask_chatwoot.queue.suggestions import CLAIM, Claimed, Ended, Wanted


class Request(t.NamedTuple):
    """A request for changes."""

    suggestion: str | None
    instruction: str | None = "Shorter, please"
    conversation_id: int | None = None


def press(app: Flask, story: Story) -> str:
    """Ask for a suggestion as the composer does."""
    runtime = runtime_of(app)
    reader = runtime.configured.turns.history.reader

    with app.app_context():
        return suggest(
            runtime, reader.conversation(story.talk.id), reader.messages(story.talk.id)
        )


def change(app: Flask, request: Request) -> str | None:
    with app.app_context():
        return revise(runtime_of(app), request)


@contextlib.contextmanager
def locked(path: str, conversation_id: int) -> t.Iterator[None]:
    """Change a conversation for long, as another process."""
    database = databases.open_database(path, account_id=1)

    with (
        contextlib.closing(database),
        database.transaction(conversation_id=conversation_id),
    ):
        yield


@pytest.fixture
def quiet(begin: Begin, chatwoot_simulator: t.Any, app: Flask) -> Story:
    """A conversation whose customer waits for operators, with a user's token."""
    story = begin(kind="account", backend="thread", workers=0)
    story.talk.customer_says("Hello")
    story.talk.operator_says("Hi, I am Olga.")
    story.talk.customer_says(QUESTION)
    story.talk.customer_says("Number 7.")
    story.sim.drain()

    return story


def test_the_provider_is_asked_what_the_customer_wrote_since_the_last_answer(
    quiet: Story, app: Flask, chatwoot: Chatwoot
) -> None:
    turns: list[Turn] = []
    histories = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        turns.append(turn)
        histories.append([each["content"] for each in turn.history()])
        return "On its way."

    posts, jobs = len(quiet.talk.messages), len(jobs_of(app))

    with recorded(suggested, app) as sent:
        assert press(app, quiet) == "On its way."

    [turn] = turns
    assert (turn.text, turn.purpose) == (f"{QUESTION}\nNumber 7.", "suggestion")
    assert turn.conversation_id == quiet.talk.id
    assert histories == [["Hello", "Hi, I am Olga."]]
    assert [each["text"] for each in sent] == ["On its way."]
    assert (len(quiet.talk.messages), len(jobs_of(app))) == (posts, jobs)
    assert "suggested to an operator" in outcome(app, "why", str(quiet.talk.id))[1]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Handoff("asked for a human"), "asked for a human"),
        (Handoff(t.cast(str, 402)), "402"),
        (["One.", "Two."], "One.\n\nTwo."),
        (Reply("Which?", choices=["Red", ("Blue", "b")]), "Which?\n- Red\n- Blue"),
        (
            Reply("Here.", attachments=[("offer.pdf", b"%PDF", "application/pdf")]),
            "Here.\n[file: offer.pdf]",
        ),
    ],
)
def test_only_text_is_returned(
    quiet: Story, app: Flask, chatwoot: Chatwoot, answer: t.Any, text: str
) -> None:
    chatwoot.reply_provider(lambda text: answer)
    assert press(app, quiet) == text


def test_a_change_is_asked_for_with_the_earlier_text(
    quiet: Story, app: Flask, chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        return f"{turn.instruction}: {turn.earlier_suggestion}"

    first = press(app, quiet)

    request = Request(first, conversation_id=quiet.talk.id)

    assert change(app, request) == f"Shorter, please: {first}"
    assert change(app, request._replace(suggestion="What we never said.")) is None
    assert change(app, request._replace(conversation_id=quiet.talk.id + 1)) is None
    assert change(app, Request(first)) is None


def test_a_change_is_not_asked_of_a_provider_that_would_not_know_of_it(
    quiet: Story, app: Flask, asked: list[str]
) -> None:
    first = press(app, quiet)

    assert change(app, Request(first, conversation_id=quiet.talk.id)) is None
    assert len(asked) == 1


def test_files_alone_are_given_only_to_a_provider_that_takes_the_turn(
    begin: Begin, app: Flask, chatwoot: Chatwoot, asked: list[str]
) -> None:
    @chatwoot.reply_provider(mode="human", inbox_id=2)
    def reply(text: str, turn: Turn) -> str:
        return f"{len(turn.attachments)} file"

    picture = {"file_type": "image", "data_url": "https://files.example.com/1"}
    story = begin(kind="account", workers=0)
    other = begin(inbox_id=2)

    for each in (story, other):
        each.talk.customer_says("Hello")
        each.talk.operator_says("Hi, I am Olga.")
        each.talk.customer_says(None, attachments=[picture])

    with pytest.raises(RefusedError) as refused:
        press(app, story)

    assert (refused.value.code, asked) == ("no_question", [])
    assert press(app, other) == "1 file"


@pytest.mark.parametrize("answer", [None, "", "raise"])
def test_an_operator_reads_why_there_is_no_text(
    quiet: Story,
    app: Flask,
    chatwoot: Chatwoot,
    caplog: pytest.LogCaptureFixture,
    answer: str | None,
) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> str | None:
        if answer == "raise":
            raise RuntimeError(text)

        return answer

    with recorded(got_exception, app) as errors, pytest.raises(RefusedError) as refused:
        press(app, quiet)

    failed = answer == "raise"
    code = "provider_failed" if failed else "no_suggestion"
    assert refused.value.code == code
    assert [each["where"] for each in errors] == ["provider"] * failed
    assert QUESTION not in caplog.text
    begin = f"conversation {quiet.talk.id}: there is no suggestion: "
    assert [text.startswith(begin) for text in caplog.messages] == [True] * failed


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_whatever_ends_the_thread_of_a_provider_is_an_answer(
    quiet: Story, app: Flask, chatwoot: Chatwoot, error: type[BaseException]
) -> None:
    @chatwoot.reply_provider
    def reply(text: str) -> str:
        raise error(text)

    for _ in range(2):
        with pytest.raises(RefusedError) as refused:
            press(app, quiet)

        assert refused.value.code == "provider_failed"


def test_what_comes_too_late_is_given_at_the_next_press(
    quiet: Story, app: Flask, thinker: Thinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drafting, "PATIENCE", 0.1)

    with pytest.raises(RefusedError, match="still being written"):
        press(app, quiet)

    thinker.answer()
    wait_until(lambda: not drafting.writing._claims)

    assert press(app, quiet).startswith("You asked")
    assert len(thinker.asked) == 1


def test_a_provider_that_fails_too_late_is_seen_to_fail(
    quiet: Story, app: Flask, chatwoot: Chatwoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = threading.Event()

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        assert not fails.wait(10), "The model does not answer."
        return text

    monkeypatch.setattr(drafting, "PATIENCE", 0.3)

    with pytest.raises(RefusedError, match="still being written"):
        press(app, quiet)

    fails.set()
    wait_until(lambda: not drafting.writing._claims)

    with pytest.raises(RefusedError, match="failed"):
        press(app, quiet)


def test_a_provider_that_hangs_counts_as_failed_after_its_time(
    begin: Begin, app: Flask, thinker: Thinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = begin(kind="account", backend="thread", workers=0, provider_timeout=0.5)
    story.talk.customer_says(QUESTION)
    story.sim.drain()

    with monkeypatch.context() as patch:
        patch.setattr(drafting, "PATIENCE", 0.1)

        with pytest.raises(RefusedError, match="still being written"):
            press(app, story)

    wait_until(lambda: not drafting.writing._claims)

    with pytest.raises(RefusedError, match="failed"):
        press(app, story)

    thinker.answer()
    assert press(app, story) == f"You asked: {QUESTION}"


def test_a_note_in_a_long_conversation_makes_no_new_draft(
    quiet: Story, app: Flask, thinker: Thinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(12):  # more than one page of Chatwoot's list
        quiet.talk.operator_says(f"Answer {number}")
        quiet.talk.customer_says(f"Question {number}")

    with monkeypatch.context() as patch:
        patch.setattr(drafting, "PATIENCE", 0.1)

        with pytest.raises(RefusedError, match="still being written"):
            press(app, quiet)

    quiet.talk.operator_says("Who knows about this?", private=True)
    thinker.answer()

    assert press(app, quiet) == "You asked: Question 11"
    assert len(thinker.asked) == 1


def test_a_database_that_is_locked_meanwhile_takes_no_more_time(
    quiet: Story,
    app: Flask,
    thinker: Thinker,
    path: str,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drafting, "PATIENCE", 0.5)
    monkeypatch.setattr(drafting, "_LAST_LOOK", 0.1)

    with ThreadPoolExecutor() as pool:
        pressed = pool.submit(press, app, quiet)
        thinker.wait_until_asked()

        with (
            locked(path, quiet.talk.id),
            pytest.raises(RefusedError, match="still being written"),
        ):
            pressed.result(timeout=1.5)

    thinker.answer()
    wait_until(lambda: not drafting.writing._claims)

    assert press(app, quiet).startswith("You asked")
    assert len(thinker.asked) == 1


def test_a_draft_for_an_older_state_is_not_given(
    quiet: Story, app: Flask, thinker: Thinker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(drafting, "PATIENCE", 0.1)

        with pytest.raises(RefusedError):
            press(app, quiet)

    thinker.answer()
    wait_until(lambda: not drafting.writing._claims)
    quiet.talk.customer_says("Number 8, sorry.")

    assert press(app, quiet).endswith("Number 8, sorry.")


def test_ten_presses_at_once_ask_the_provider_once(
    quiet: Story, app: Flask, thinker: Thinker
) -> None:
    refused = threading.Semaphore(0)

    def one() -> str:
        try:
            return press(app, quiet)
        except RefusedError as error:
            refused.release()
            return error.code

    with ThreadPoolExecutor(10) as pool:
        presses = [pool.submit(one) for _ in range(10)]

        for _ in range(8):  # while the others still wait
            assert refused.acquire(timeout=10)

        thinker.answer()
        got = [each.result() for each in presses]

    assert got.count("busy") == 8
    assert len({*got}) == 2
    assert len(thinker.asked) == 1


# -- the store -----------------------------------------------------------------------

WANTED = Wanted(42, b"state")


def claimed_in(store: Store) -> Claimed:
    found = store.suggestions.ask(WANTED)
    assert isinstance(found, Claimed)
    return found


def test_everybody_who_waits_gets_the_text_which_is_erased_then(store: Store) -> None:
    claimed = claimed_in(store)
    assert store.suggestions.ask(WANTED) is None

    store.suggestions.end(claimed, Ended("A text.", None))
    got = [store.suggestions.ask(WANTED, again=True) for _ in range(2)]

    assert got == [Ended("A text.", None)] * 2
    assert store.suggestions.conversations_of("A  text.") == [42]
    assert isinstance(store.suggestions.ask(WANTED), Claimed)


@pytest.mark.parametrize(("seconds", "is_told"), [(50, True), (200, False)])
def test_a_failure_that_nobody_waited_for_is_told_to_the_next_one(
    store: Store, clock: Clock, seconds: float, is_told: bool
) -> None:
    claimed = claimed_in(store)
    store.suggestions.leave(WANTED)
    store.suggestions.end(claimed, Ended(None, "provider_failed"))
    clock.advance(seconds)

    if is_told:
        assert store.suggestions.ask(WANTED) == Ended(None, "provider_failed")

    assert isinstance(store.suggestions.ask(WANTED), Claimed)


def test_the_claim_of_a_killed_process_ends(store: Store, clock: Clock) -> None:
    dead = claimed_in(store)
    clock.advance(CLAIM + 1)
    alive = store.suggestions.ask(WANTED)
    assert isinstance(alive, Claimed)

    store.suggestions.end(dead, Ended("Too late.", None))
    assert store.suggestions.ask(WANTED, again=True) is None


def test_texts_and_hashes_are_erased_after_an_hour(store: Store, clock: Clock) -> None:
    claimed = claimed_in(store)
    store.suggestions.end(claimed, Ended("A text.", None))
    store.suggestions.ask(WANTED, again=True)
    store.suggestions.end(claimed_in(store), Ended("Another.", None))
    clock.advance(3601)
    store.suggestions.forget()

    assert store.suggestions.conversations_of("A text.") == []
    assert len(store.suggestions.times(42)) == 1
    assert isinstance(store.suggestions.ask(WANTED), Claimed)
