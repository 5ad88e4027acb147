"""Attempts at a turn: what is stored between them, and that each post is made once."""

from __future__ import annotations

import contextlib
import itertools
import typing as t
from pathlib import Path
from unittest.mock import Mock

import pytest
import requests
from flask import Flask
from support.apps import (
    AppFactory,
    Scene,
    components_of,
    database_of,
    ending_of,
    handle_one,
    job_of,
    jobs_of,
    recorded,
    store_of,
    work,
)
from support.deliveries import NOW, as_bytes, deliver, message
from support.waiting import Clock

from flask_chatwoot import (
    Audience,
    Chatwoot,
    Decision,
    Handoff,
    Reply,
    Turn,
    before_post,
    turn_finished,
)
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.hosting import hosted
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.queue.claimed import Job
from flask_chatwoot.queue.jobs import Queue
from flask_chatwoot.queue.outbox import Outbox
from flask_chatwoot.simulator import Fault, Simulator, Talk
from flask_chatwoot.simulator.payloads import (
    JSON,
    Agent,
    ConversationRecord,
    MessageRecord,
    MessageType,
    api_conversation,
    conversation_event,
)
from flask_chatwoot.turns import service
from flask_chatwoot.turns.handoff import ConversationChanges

Ending = tuple[str | None, str | None]

ANSWER = "On its way."
FALLBACK = "Sorry, a colleague will answer you."
INVALID = (
    "**The bot could not answer.** Its reply function returned something unusable. "
)
IS_HANDED_OFF = "The conversation is handed off."
HAND_OFF_NOTE = (
    "**The bot hands this conversation off.** Reason: asked for a person\n\n"
    "The customer wrote:\n\n> Where is my order?\n\nThe bot answered:\n\n> One moment."
)
TO_HUMAN = ("custom_attributes", {"custom_attributes": {"support_mode": "human"}})
PICTURE = {"file_type": "image", "data_url": "https://x.test/1"}
FILE = ("a.txt", b"a", "text/plain")
FROM_OPERATOR = MessageRecord(id=9100, type=MessageType.OUTGOING, sender=Agent())
QUESTION = MessageRecord(id=9001, created_at=NOW)
HANDS_OFF = Reply("One moment.", handoff=Handoff("asked for a person", team_id=7))
HAND_OFF: list[tuple[str, JSON]] = [TO_HUMAN, ("assignments", {"team_id": 7})]
FAILED = ("dead", "provider_invalid")
HANDED_OFF: Ending = ("handed_off", None)


@pytest.fixture
def app(
    make_app: AppFactory, chatwoot: Chatwoot, request: pytest.FixtureRequest
) -> Flask:
    settings = getattr(request, "param", {})
    return make_app(chatwoot, fallback_message=FALLBACK, **settings)


class Turns:
    """The turns of an app whose database has a clock that is set by hand.

    :ivar asked: The texts that the provider was called with.
    :ivar ended: The outcome and the reason of every turn, as ``turn_finished`` sent it.
    """

    def __init__(
        self, scene: Scene, clock: Clock, signalled: list[dict[str, t.Any]]
    ) -> None:
        self.app, self.api, self.chatwoot = scene.app, scene.api, scene.chatwoot
        self.clock = clock
        self.asked: list[str] = []
        self._client = scene.client
        self._signalled = signalled

    def answer(self, *replies: t.Any) -> None:
        """Register a provider that returns one after the other, then the last."""

        @self.chatwoot.reply_provider
        def provide(text: str) -> t.Any:
            self.asked.append(text)
            return replies[min(len(self.asked), len(replies)) - 1]

    def deliver(self, *args: t.Any, **fields: t.Any) -> None:
        deliver(self._client, message(*args, **fields))

    def put(self, *, id: int = 9001, conversation_id: int = 42) -> None:
        """Store a delivery without handling it."""
        raw = as_bytes(message(id=id, conversation_id=conversation_id))
        store_of(self.app).queue.put(
            str(id), conversation_id=conversation_id, message_id=id, payload=raw
        )

    def fail(self) -> None:
        """Let a turn fail for good; its last posts are stored, and not sent yet."""
        self.answer(7, ANSWER)
        self.put()
        assert handle_one(self.app).failure is None
        assert (job_of(self.app).state, self.api.attempts) == ("giving_up", [])

    def work(self, *, times: int = 1) -> None:
        """Make another attempt, after the longest pause."""
        for _ in range(times):
            self.clock.advance(700.0)
            work(self.app)

    def retry(self) -> None:
        store_of(self.app).inspection.retry([1])
        self.work()

    @property
    def ended(self) -> list[Ending]:
        return [(each["outcome"], each["reason"]) for each in self._signalled]

    @property
    def ending(self) -> Ending:
        """How the only job ended."""
        return ending_of(self.app)

    @property
    def posted(self) -> tuple[list[str], list[str]]:
        """The public messages, and the notes."""
        return self.api.public, self.api.notes

    @property
    def counts(self) -> tuple[list[str], int]:
        """The public messages, and how many notes there are."""
        return self.api.public, len(self.api.notes)


@pytest.fixture
def turns(scene: Scene, clock: Clock) -> t.Iterator[Turns]:
    database_of(scene.app).clock = clock

    with recorded(turn_finished, scene.app) as signalled:
        yield Turns(scene, clock, signalled)


def live(*history: MessageRecord, mode: str = "bot", status: str = "open") -> JSON:
    """The conversation, as Chatwoot returns it."""
    current = ConversationRecord(
        status=status, custom_attributes={"support_mode": mode}
    )
    return api_conversation(current, history)


# -- a process may die at any step ---------------------------------------------

STEPS: tuple[tuple[type, str], ...] = (
    *((Outbox, name) for name in ("keep", "sending", "posted")),
    *((Queue, name) for name in ("give_up", "settle")),
    (OwnershipStore, "apply"),
    *((ChatwootClient, name) for name in ("create_message", "create_note")),
    *((ChatwootClient, name) for name in ("set_custom_attributes", "assign")),
)


class DeathError(BaseException):
    """Nothing catches it."""


class Killer:
    """Ends the work right before or after one of its steps; each counts twice."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.left = -1

        for owner, name in STEPS:
            patch.setattr(owner, name, self._guarded(getattr(owner, name)))

    def _guarded(self, function: t.Callable[..., t.Any]) -> t.Callable[..., t.Any]:
        def step(*args: t.Any, **values: t.Any) -> t.Any:
            self._count()
            result = function(*args, **values)
            self._count()

            return result

        return step

    def _count(self) -> None:
        self.left -= 1

        if self.left == 0:
            raise DeathError


class Whole(t.NamedTuple):
    """A turn that nothing interrupts."""

    answer: t.Any
    posted: tuple[list[str], list[str]]
    changes: list[tuple[str, JSON]]
    ending: Ending


FAILS = Whole(7, ([FALLBACK], [f"{INVALID}{IS_HANDED_OFF}"]), [TO_HUMAN], FAILED)
MOMENT = Whole(HANDS_OFF, (["One moment."], [HAND_OFF_NOTE]), HAND_OFF, HANDED_OFF)
SEVERAL = Whole(
    ["1", Reply("2", private=True), "3"], (["1", "3"], ["2"]), [], ("replied", None)
)


@pytest.mark.sqlite
@pytest.mark.parametrize(
    "turn", [FAILS, MOMENT, SEVERAL], ids=["failure", "hand-off", "several posts"]
)
def test_wherever_the_process_dies_each_post_is_made_once(
    turns: Turns, monkeypatch: pytest.MonkeyPatch, turn: Whole
) -> None:
    turns.answer(turn.answer)
    killer = Killer(monkeypatch)

    for step in itertools.count(1):
        turns.api.messages.clear()
        turns.api.changes.clear()
        turns.put(id=9000 + step, conversation_id=100 + step)
        killer.left = step
        died = dies(turns.app)
        ended = len(turns.ended)
        turns.work()

        assert turns.posted == turn.posted, f"after step {step}"
        assert {repr(c) for c in turns.api.changes} == {repr(c) for c in turn.changes}
        newest = jobs_of(turns.app)[0]
        assert (newest.outcome, newest.reason) == turn.ending
        assert turns.ended[ended:] in ([], [turn.ending])

        if not died:
            break

    posts = sum(map(len, turn.posted))
    assert step > 2 * (1 + posts + len(turn.changes))


def dies(app: Flask) -> bool:
    with contextlib.suppress(DeathError):
        work(app)
        return False

    return True


@pytest.mark.sqlite
def test_the_last_posts_are_stored_before_they_are_sent(turns: Turns) -> None:
    turns.fail()
    assert turns.ended == []

    # Two workers claim the job, and die before they have sent anything.
    for _ in range(2):
        job = store_of(turns.app).queue.claim()
        assert job is not None
        assert job.failure == "provider_invalid"
        assert [draft.private for draft in job.drafts] == [True, False]
        turns.clock.advance(store_of(turns.app).queue.lease)

    handle_one(turns.app)

    assert len(turns.asked) == 1
    assert turns.counts == ([FALLBACK], 1)
    assert turns.ended == [FAILED]


def test_last_posts_that_cannot_be_sent_end_with_the_first_reason(turns: Turns) -> None:
    turns.api.fail(503, times=100)
    turns.fail()
    turns.work(times=9)

    assert [given["private"] for given in turns.api.attempts] == [True] * 5
    assert turns.api.changes == [TO_HUMAN]
    assert turns.ended == [FAILED]


@pytest.mark.parametrize(
    ("app", "notes"),
    [({"note_on_failure": True}, [INVALID.strip()]), ({"note_on_failure": False}, [])],
    indirect=["app"],
)
def test_in_human_mode_a_failure_makes_a_note_only_if_the_setting_says_so(
    turns: Turns, notes: list[str]
) -> None:
    turns.answer(7)
    turns.deliver(mode="human")

    assert (turns.posted, turns.api.changes) == (([], notes), [])
    assert turns.ended == [FAILED]


# -- the gate decides about the last posts, too ----------------------------------


def test_no_fallback_is_sent_after_an_operator_has_answered(turns: Turns) -> None:
    turns.fail()
    turns.deliver("I am on it.", id=9100, type=MessageType.OUTGOING, sender=Agent())
    work(turns.app)

    assert turns.api.messages == []
    assert TO_HUMAN in turns.api.changes
    failed = jobs_of(turns.app)[-1]
    assert (failed.outcome, failed.reason) == FAILED


@pytest.mark.parametrize(
    "shown",
    [
        live(FROM_OPERATOR),
        live(QUESTION, mode="human"),
        live(QUESTION, status="snoozed"),
    ],
    ids=["an operator's answer", "human mode", "snoozed"],
)
def test_no_fallback_is_sent_if_chatwoot_shows_that_the_bot_has_it_no_longer(
    turns: Turns, shown: JSON
) -> None:
    turns.fail()
    turns.api.live = shown
    work(turns.app)

    assert turns.counts == ([], 1)
    assert all(note.startswith(INVALID) for note in turns.api.notes)
    assert turns.ending == FAILED


def test_no_fallback_is_sent_while_chatwoot_does_not_answer(turns: Turns) -> None:
    turns.fail()
    turns.api.live, turns.api.shows = live(QUESTION), 500
    work(turns.app)
    assert (turns.counts, job_of(turns.app).state) == (([], 1), "giving_up")

    turns.api.shows = 200
    turns.work()
    assert turns.counts == ([FALLBACK], 1)
    assert turns.ending == FAILED


@pytest.mark.parametrize("arrived", [False, True])
def test_what_may_have_been_sent_is_looked_for_before_a_changed_text_is_answered(
    turns: Turns, arrived: bool
) -> None:
    turns.answer("To the old text.", "To the new text.")
    turns.api.fail(500, stored=arrived)
    turns.deliver("Old")
    assert job_of(turns.app).state == "retrying"

    deliver(turns.app.test_client(), {**message("New"), "event": "message_updated"})
    turns.work(times=2)

    assert turns.api.public == ["To the old text." if arrived else "To the new text."]
    assert turns.asked == (["Old"] if arrived else ["Old", "New"])


# -- retry of a dead job ---------------------------------------------------------


def test_a_retried_turn_forgets_its_last_posts_and_answers(turns: Turns) -> None:
    turns.answer(7, ANSWER)
    turns.deliver()
    assert turns.counts == ([FALLBACK], 1)

    client = turns.app.test_client()

    for after, status in enumerate(["resolved", "open"], 1):
        state = ConversationRecord(
            status=status,
            custom_attributes={"support_mode": "bot"},
            updated_at=NOW + after,
        )
        deliver(client, conversation_event("conversation_status_changed", state))

    turns.retry()

    assert len(turns.asked) == 2
    assert turns.counts == ([FALLBACK, ANSWER], 1)
    assert turns.ended[1:] == [("replied", None)]
    assert len(turns.api.changes) == 1


@pytest.mark.parametrize(
    ("answers", "notes", "ending"),
    [((7, ANSWER), [ANSWER], ("noted", "taken")), ((7, 7), [], FAILED)],
    ids=["which succeeds", "which fails again"],
)
def test_a_retry_drops_last_posts_that_were_not_sent(
    turns: Turns, answers: t.Any, notes: list[str], ending: Ending
) -> None:
    turns.answer(*answers)
    turns.api.fail(422)
    turns.put()
    work(turns.app)
    assert (turns.api.messages, turns.api.changes) == ([], [TO_HUMAN])
    assert turns.ending == FAILED

    turns.retry()
    assert (turns.posted, turns.api.changes) == (([], notes), [TO_HUMAN])
    assert (len(turns.asked), turns.ending) == (2, ending)


# -- hand-off ------------------------------------------------------------------


def test_a_hand_off_that_fails_is_retried_without_another_post(turns: Turns) -> None:
    turns.answer(HANDS_OFF)
    turns.api.change_faults = [500, 503]
    turns.deliver()
    assert job_of(turns.app).state == "retrying"
    assert (turns.api.changes, turns.ended) == ([], [])
    turns.work(times=2)

    assert len(turns.asked) == 1
    assert (turns.counts, len(turns.api.attempts)) == ((["One moment."], 1), 2)
    assert turns.api.changes == HAND_OFF
    assert turns.ended == [HANDED_OFF]


@pytest.mark.parametrize("status", [403, 404, 422])
@pytest.mark.parametrize("step", ["note", "attribute"])
def test_a_step_of_a_hand_off_that_is_refused_is_repeated_alone(
    turns: Turns, step: str, status: int
) -> None:
    turns.answer(Handoff(team_id=7))
    turns.api.change_faults = [status] * (step == "attribute")
    turns.api.fail(status, times=step == "note")
    turns.deliver()
    assert turns.ended == []
    turns.work()

    assert sorted(turns.api.changes) == sorted(HAND_OFF)
    assert (turns.counts, turns.ended) == (([], 1), [HANDED_OFF])


@pytest.mark.parametrize(
    ("status", "reason"), [(500, "server_error"), (404, "not_found")]
)
def test_a_hand_off_that_fails_for_good_is_dead_and_succeeds_when_retried(
    turns: Turns, status: int, reason: str
) -> None:
    turns.answer(HANDS_OFF)
    turns.api.change_faults = [status] * 100
    turns.deliver()
    turns.work(times=5)

    assert turns.ending == ("dead", reason)
    assert turns.counts == (["One moment."], 1)

    turns.api.change_faults = []
    turns.retry()
    assert turns.ending == HANDED_OFF
    assert turns.api.changes == HAND_OFF
    assert len(turns.api.attempts) == 2


def test_a_hand_off_that_fails_after_the_last_posts_ends_with_the_first_reason(
    turns: Turns,
) -> None:
    turns.answer(7)
    turns.api.change_faults = [404]
    turns.deliver()
    assert (turns.counts, turns.ended) == (([FALLBACK], 1), [])

    turns.work()
    assert turns.counts == ([FALLBACK], 1)
    assert turns.api.changes == [TO_HUMAN]
    assert turns.ending == FAILED


@pytest.mark.sqlite
def test_a_worker_that_loses_its_lease_in_a_hand_off_leaves_the_turn_to_another(
    turns: Turns, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turns.answer(HANDS_OFF)
    others: list[Job | None] = []
    hand_off = ConversationChanges.hand_off

    def slow(*args: t.Any, **named: t.Any) -> bool:
        if not others:
            turns.clock.advance(store_of(turns.app).queue.lease)
            others.append(store_of(turns.app).queue.claim())

        return hand_off(*args, **named)

    monkeypatch.setattr(ConversationChanges, "hand_off", slow)
    turns.put()
    work(turns.app)
    assert "Its turn was abandoned here" in caplog.text
    assert turns.ended == []
    (other,) = others
    assert other is not None
    components_of(turns.app).service.handle(other)

    assert len(turns.asked) == 1
    assert (turns.counts, len(turns.api.attempts)) == ((["One moment."], 1), 2)
    assert [c for c in turns.api.changes if c not in HAND_OFF] == []
    assert turns.ended == [HANDED_OFF]


def test_a_hand_off_needs_no_text(turns: Turns) -> None:
    turns.answer(Handoff())
    turns.deliver()

    assert (turns.counts, turns.api.changes) == (([], 1), [TO_HUMAN])
    assert turns.ending == HANDED_OFF


def test_in_human_mode_a_hand_off_changes_nothing(turns: Turns) -> None:
    turns.answer(HANDS_OFF)
    turns.deliver(mode="human")

    assert (turns.api.public, turns.api.changes) == ([], [])
    assert turns.api.notes[0] == "One moment."
    assert turns.ending == ("noted", None)


# -- several posts -------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "answer", "posts", "outcome"),
    [
        ("bot", ["1", Reply("2", private=True), "3"], "public note public", "replied"),
        ("bot", [Reply("1", private=True), "2"], "note public", "replied"),
        ("bot", [Reply("1", private=True), None, ""], "note", "noted"),
        ("human", ["1", Reply("2", private=False)], "note note", "noted"),
        ("bot", ("1", "2"), "public public", "replied"),
        ("bot", [], "", "declined"),
        ("bot", [None, " "], "", "declined"),
    ],
)
def test_a_list_is_posted_in_its_order_each_to_its_audience(
    turns: Turns, mode: str, answer: t.Any, posts: str, outcome: str
) -> None:
    turns.answer(answer)
    turns.deliver(mode=mode)

    kinds = {False: "public", True: "note"}
    sent = [(kinds[post["private"]], post["content"]) for post in turns.api.messages]
    assert sent == list(zip(posts.split(), "123", strict=False))
    assert (turns.ending[0], turns.ended[0][0]) == (outcome, outcome)


def test_the_rest_of_a_list_becomes_notes_if_an_operator_takes_over_in_between(
    turns: Turns,
) -> None:
    turns.answer(["1", "2", "3"])
    decisions = [Decision(Audience.OPERATORS, "an operator is typing")] * 2
    decisions += [Decision(Audience.CUSTOMER)] * 2
    turns.chatwoot.policy(lambda facts: decisions.pop())
    turns.deliver()

    assert turns.posted == (["1"], ["2", "3"])
    assert turns.ending == ("replied", None)


# -- files and choices ---------------------------------------------------------


Ask = t.Callable[..., Talk]


@pytest.fixture
def ask(
    app: Flask, clock: Clock, chatwoot: Chatwoot, sim: Simulator
) -> t.Iterator[Ask]:
    """Lets a customer ask the app over real HTTP, and waits for the end of the turn."""
    database_of(app).clock = clock

    with hosted(app, sim, settle_time=0.2, retry_pause=0.05, fallback_message=None):

        def asks(provider: t.Callable[[str], t.Any], mode: str = "bot") -> Talk:
            chatwoot.reply_provider(provider)
            talk = sim.conversation(custom_attributes={"support_mode": mode})
            talk.customer_says("Where is my order?")
            over = {"done", "dead"}
            sim.wait_until(lambda: {job.state for job in jobs_of(app)} & over)

            return talk

        yield asks


def fetched(posted: MessageRecord) -> list[bytes]:
    """The files of a message, as Chatwoot has them now."""
    urls = [file["data_url"] for file in posted.attachments]
    return [requests.get(url, timeout=5).content for url in urls]


def test_files_and_choices_reach_the_customer(ask: Ask, tmp_path: Path) -> None:
    bill = tmp_path / "bill.pdf"
    bill.write_bytes(b"%PDF-1.7")
    files: list[t.Any] = [bill, str(bill), ("dot.png", b"\x89PNG", "image/png")]
    choices: list[t.Any] = ["Keep it", ("Send it back", "return")]
    replies = [Reply("Bill.", attachments=files), Reply("Next?", choices=choices)]
    talk = ask(lambda text: replies)

    bills, choice = talk.posted
    assert (bills.content, bills.private) == ("Bill.", False)
    assert fetched(bills) == [b"%PDF-1.7", b"%PDF-1.7", b"\x89PNG"]
    assert (choice.content, choice.content_type) == ("Next?", "input_select")
    assert choice.content_attributes["items"] == [
        {"title": "Keep it", "value": "Keep it"},
        {"title": "Send it back", "value": "return"},
    ]


def test_a_file_alone_is_an_answer(app: Flask, ask: Ask) -> None:
    (posted,) = ask(lambda text: Reply(attachments=[FILE])).posted
    assert ending_of(app) == ("replied", None)
    assert (fetched(posted), posted.private) == ([b"a"], False)


def test_a_note_lists_the_choices_and_has_the_files(ask: Ask) -> None:
    choices: list[t.Any] = ["A", ("B", "b")]
    reply = Reply("Which one?", choices=choices, attachments=[FILE])
    (note,) = ask(lambda text: reply, mode="human").posted

    assert (note.private, note.content_type) == (True, "text")
    assert note.content == "Which one?\n- A\n- B"
    assert fetched(note) == [b"a"]


def test_a_file_is_stored_with_the_reply(
    app: Flask, ask: Ask, sim: Simulator, tmp_path: Path
) -> None:
    bill = tmp_path / "bill.pdf"

    def provide(text: str) -> Reply:
        bill.write_bytes(b"%PDF-1.7")
        return Reply("Your bill.", attachments=[bill])

    def remove(_: Flask, **values: t.Any) -> None:
        bill.unlink(missing_ok=True)

    sim.inject(Fault.RATE_LIMITED)

    with before_post.connected_to(remove, sender=app):
        (posted,) = ask(provide).posted

    assert not bill.exists()
    assert fetched(posted) == [b"%PDF-1.7"]
    calls = [call for call in sim.calls if call.endpoint == "create_message"]
    assert [call.status for call in calls] == [429, 200]


def test_a_file_that_does_not_exist_is_an_error_of_the_provider(
    turns: Turns, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    turns.answer(Reply(ANSWER, attachments=[tmp_path / "no.pdf"]))
    turns.deliver()

    assert ANSWER not in turns.api.public
    assert turns.ending == FAILED
    assert "Attachment 1 cannot be read: No such file" in caplog.text


def test_a_reply_that_became_a_note_lists_its_choices(turns: Turns) -> None:
    turns.answer(Reply("Which one?", choices=["A", "B"]))
    turns.api.live = live(QUESTION, status="snoozed")
    turns.deliver()

    (sent,) = turns.api.attempts
    assert (sent["private"], sent["content"]) == (True, "Which one?\n- A\n- B")
    assert "content_type" not in sent
    assert turns.ending == ("noted", "status")


# -- messages without text -----------------------------------------------------


def test_a_provider_of_text_alone_is_not_called_for_a_picture(turns: Turns) -> None:
    turns.answer(ANSWER)
    turns.deliver(None, attachments=(PICTURE,))

    assert (turns.asked, turns.api.attempts) == ([], [])
    assert turns.ended == [("declined", "empty")]


def test_a_provider_that_takes_the_turn_is_called_for_a_picture(turns: Turns) -> None:
    @turns.chatwoot.reply_provider
    def provide(text: str, turn: Turn) -> str:
        return f"{text!r} and {[file.url for file in turn.attachments]}"

    turns.deliver(None, attachments=(PICTURE,))

    assert turns.api.public == ["'' and ['https://x.test/1']"]


# -- messages that cannot be handled -------------------------------------------


CRASHED: t.Final = (
    "**The bot could not answer.** Its process ended in the middle, on every attempt. "
    f"{IS_HANDED_OFF}"
)


@pytest.mark.sqlite
@pytest.mark.parametrize("app", [{"max_attempts": 2}], indirect=True)
@pytest.mark.parametrize("dies", [False, True], ids=["it raises", "the process dies"])
def test_what_cannot_be_read_is_dead_after_its_attempts_and_operators_are_told(
    turns: Turns, monkeypatch: pytest.MonkeyPatch, dies: bool
) -> None:
    poison = DeathError if dies else ZeroDivisionError

    def read(job: Job, *args: t.Any) -> t.NoReturn:
        raise poison if job.failure is None else ZeroDivisionError

    monkeypatch.setattr(service, "messages_of", read)
    turns.answer(ANSWER)
    turns.put()

    for _ in range(5):
        with contextlib.suppress(DeathError):
            turns.work()

    assert turns.posted == ([FALLBACK], [CRASHED])
    assert turns.ending == ("dead", "crashed")


@pytest.mark.sqlite
@pytest.mark.parametrize("app", [{"max_attempts": 2}], indirect=True)
def test_what_kills_each_process_is_not_claimed_for_ever(
    turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "event_in", Mock(side_effect=DeathError))
    turns.put()

    for _ in range(5):
        with contextlib.suppress(DeathError):
            turns.work()

    assert turns.ending == ("dead", "crashed")
