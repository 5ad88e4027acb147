"""One attempt after another: what is kept between them, and said exactly once."""

from __future__ import annotations

import itertools
import typing as t
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from support.apps import (
    AppFactory,
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
from support.chatwoot import ChatwootStub
from support.deliveries import as_bytes, deliver, message
from support.waiting import Clock

from flask_chatwoot import (
    Audience,
    Chatwoot,
    Decision,
    Handoff,
    PolicyContext,
    Reply,
    Turn,
    before_post,
    turn_finished,
)
from flask_chatwoot.client import ChatwootClient
from flask_chatwoot.hosting import hosted
from flask_chatwoot.ownership.store import OwnershipStore
from flask_chatwoot.queue.jobs import Job, Queue
from flask_chatwoot.queue.outbox import Outbox
from flask_chatwoot.simulator import Fault, Simulator, Talk
from flask_chatwoot.simulator.payloads import (
    JSON,
    Agent,
    Conversation,
    Message,
    MessageType,
    api_conversation,
    conversation_event,
)
from flask_chatwoot.turns.handoff import ConversationChanges

ANSWER = "On its way."
FALLBACK = "Sorry, a colleague will answer you."
INVALID = (
    "**The bot could not answer.** Its reply function returned something unusable. "
)
LATER = 700.0
HANDED_OVER = ("custom_attributes", {"custom_attributes": {"support_mode": "human"}})
PICTURE = {"file_type": "image", "data_url": "https://x.test/1"}


@pytest.fixture
def app(make_app: AppFactory, chatwoot: Chatwoot) -> Flask:
    return make_app(chatwoot, fallback_message=FALLBACK)


@pytest.fixture(autouse=True)
def still(app: Flask, clock: Clock) -> Clock:
    """The database's clock, standing still."""
    database_of(app).clock = clock

    return clock


def try_again(app: Flask, clock: Clock) -> None:
    clock.advance(LATER)
    work(app)


def answer_with(chatwoot: Chatwoot, *replies: t.Any) -> list[str]:
    """Register a provider that says one after the other; every text it was asked."""
    asked: list[str] = []

    @chatwoot.reply_provider
    def provide(text: str) -> t.Any:
        asked.append(text)
        return replies[min(len(asked), len(replies)) - 1]

    return asked


def put(app: Flask, *, id: int = 9001, conversation_id: int = 42) -> None:
    """Store a delivery without handling it."""
    store_of(app).queue.put(
        f"1:message_created:{id}",
        conversation_id=conversation_id,
        message_id=id,
        payload=as_bytes(message(id=id, conversation_id=conversation_id)),
    )


def live(*history: Message, mode: str = "bot", status: str = "open") -> JSON:
    """What a look at the conversation shows."""
    current = Conversation(status=status, custom_attributes={"support_mode": mode})

    return api_conversation(current, history)


def endings(told: list[dict[str, t.Any]]) -> list[tuple[str, str | None]]:
    return [(each["outcome"], each["reason"]) for each in told]


def by_operator(text: str = "I am on it.", *, id: int = 9100) -> JSON:
    return message(text, id=id, type=MessageType.OUTGOING, sender=Agent())


# -- a process may die at any step ---------------------------------------------

STEPS: tuple[tuple[type, str], ...] = (
    (Outbox, "keep"),
    (Outbox, "sending"),
    (Outbox, "posted"),
    (Queue, "give_up"),
    (Queue, "settle"),
    (OwnershipStore, "apply"),
    (ChatwootClient, "create_message"),
    (ChatwootClient, "create_note"),
    (ChatwootClient, "set_custom_attributes"),
    (ChatwootClient, "assign"),
)


class Death(BaseException):
    """Nothing catches it."""


class Reaper:
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
            raise Death


class Story(t.NamedTuple):
    """What a provider returns, and what becomes of it."""

    answer: t.Any
    public: list[str]
    notes: list[str]
    changes: list[tuple[str, JSON]]
    ending: tuple[str, str | None]


STORIES = {
    "failure": Story(
        7,
        [FALLBACK],
        [f"{INVALID}The conversation is handed off."],
        [HANDED_OVER],
        ("dead", "provider_invalid"),
    ),
    "hand-off": Story(
        Reply("One moment.", handoff=Handoff("asked for a person", team_id=7)),
        ["One moment."],
        [
            "**The bot hands this conversation off.** Reason: asked for a person\n\n"
            "The customer wrote:\n\n> Where is my order?\n\n"
            "The bot answered:\n\n> One moment."
        ],
        [HANDED_OVER, ("assignments", {"team_id": 7})],
        ("handed_off", None),
    ),
    "several posts": Story(
        ["One.", Reply("Two.", private=True), "Three."],
        ["One.", "Three."],
        ["Two."],
        [],
        ("replied", None),
    ),
}


@pytest.mark.parametrize("story", STORIES)
def test_wherever_the_process_dies_everything_is_said_exactly_once(
    app: Flask,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
    monkeypatch: pytest.MonkeyPatch,
    story: str,
) -> None:
    answer, public, notes, changes, ending = STORIES[story]
    answer_with(chatwoot, answer)
    reaper = Reaper(monkeypatch)

    for step in itertools.count(1):
        api.messages.clear()
        api.changes.clear()
        put(app, id=9000 + step, conversation_id=100 + step)
        reaper.left = step
        died = dies(app)

        with recorded(turn_finished, app) as ended:
            try_again(app, still)

        assert (api.public, api.notes) == (public, notes), f"after step {step}"
        assert [c for c in changes if c not in api.changes] == []
        assert [c for c in api.changes if c not in changes] == []
        newest = jobs_of(app)[0]
        assert (newest.outcome, newest.reason) == ending
        assert endings(ended) in ([], [ending])

        if not died:
            break

    assert step > 2 * (1 + len(public) + len(notes) + len(changes))


def dies(app: Flask) -> bool:
    try:
        work(app)
    except Death:
        return True

    return False


def test_last_words_are_kept_before_they_are_said(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, still: Clock
) -> None:
    asked = answer_with(chatwoot, 7)
    put(app)

    with recorded(turn_finished, app) as ended:
        handle_one(app)
        assert (api.attempts, ended) == ([], [])

        # Two workers take the job, and die before they have said anything.
        for _ in range(2):
            job = store_of(app).queue.claim()
            assert job is not None
            assert job.failure == "provider_invalid"
            assert [draft.private for draft in job.drafts] == [True, False]
            still.advance(store_of(app).queue.lease)

        handle_one(app)

    assert len(asked) == 1
    assert (api.public, len(api.notes)) == ([FALLBACK], 1)
    assert endings(ended) == [("dead", "provider_invalid")]


def test_last_words_that_cannot_be_said_are_given_up_with_the_first_reason(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, still: Clock
) -> None:
    answer_with(chatwoot, 7)
    api.fail(503, times=100)
    put(app)

    with recorded(turn_finished, app) as ended:
        work(app)
        for _ in range(8):
            try_again(app, still)

    assert [given["private"] for given in api.attempts] == [True] * 5
    assert api.changes == [HANDED_OVER]
    assert endings(ended) == [("dead", "provider_invalid")]


@pytest.mark.parametrize("wanted", [True, False])
def test_in_human_mode_operators_are_told_of_a_failure_only_if_they_want_to(
    make_app: AppFactory,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    tmp_path: Path,
    wanted: bool,
) -> None:
    app = make_app(
        chatwoot,
        fallback_message=FALLBACK,
        note_on_failure=wanted,
        database_url=f"sqlite:///{tmp_path / 'other.sqlite3'}",
    )
    answer_with(chatwoot, 7)

    with recorded(turn_finished, app) as ended:
        deliver(app.test_client(), message(mode="human"))

    assert (api.public, api.changes) == ([], [])
    assert api.notes == ([INVALID.strip()] if wanted else [])
    assert endings(ended) == [("dead", "provider_invalid")]


# -- last words pass the gate --------------------------------------------------


def given_up(app: Flask, chatwoot: Chatwoot) -> None:
    """A turn has failed for good, and nobody was told yet."""
    answer_with(chatwoot, 7)
    put(app)
    job = handle_one(app)
    assert job.failure is None
    assert job_of(app).state == "giving_up"


def test_no_fallback_is_said_if_a_person_has_answered_meanwhile(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    given_up(app, chatwoot)
    deliver(client, by_operator())
    work(app)

    assert api.messages == []
    assert HANDED_OVER in api.changes
    failed = jobs_of(app)[-1]
    assert (failed.outcome, failed.reason) == ("dead", "provider_invalid")


def test_no_fallback_is_said_if_a_look_shows_a_persons_answer(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    given_up(app, chatwoot)
    api.live = live(Message(id=9100, type=MessageType.OUTGOING, sender=Agent()))
    work(app)

    assert api.public == []
    assert ending_of(app) == ("dead", "provider_invalid")


@pytest.mark.parametrize(
    "change", [{"mode": "human"}, {"status": "resolved"}, {"status": "snoozed"}]
)
def test_no_fallback_is_said_to_a_conversation_that_is_not_the_bots_any_more(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, change: dict[str, str]
) -> None:
    given_up(app, chatwoot)
    api.live = live(Message(id=9001), **change)
    work(app)

    assert api.public == []
    assert [note.startswith(INVALID) for note in api.notes] == [True]
    assert ending_of(app) == ("dead", "provider_invalid")


def test_while_nobody_can_look_no_fallback_is_said(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, still: Clock
) -> None:
    given_up(app, chatwoot)
    api.live, api.shows = live(Message(id=9001)), 500
    work(app)
    assert (api.public, len(api.notes), job_of(app).state) == ([], 1, "giving_up")

    api.shows = 200
    try_again(app, still)
    assert (api.public, len(api.notes)) == ([FALLBACK], 1)
    assert ending_of(app) == ("dead", "provider_invalid")


# -- retry ---------------------------------------------------------------------


def test_a_revived_turn_forgets_its_last_words_and_answers(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    asked = answer_with(chatwoot, 7, ANSWER)
    deliver(client, message())
    assert (api.public, len(api.notes)) == ([FALLBACK], 1)

    over = Conversation(status="resolved", custom_attributes={"support_mode": "bot"})
    deliver(client, conversation_event("conversation_resolved", over))
    store_of(app).inspection.retry([1])

    with recorded(turn_finished, app) as ended:
        work(app)

    assert len(asked) == 2
    assert (api.public, len(api.notes)) == ([FALLBACK, ANSWER], 1)
    assert endings(ended) == [("replied", None)]
    assert len(api.changes) == 1


def test_a_turn_that_is_revived_before_its_last_words_were_said_does_not_say_them(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, still: Clock
) -> None:
    answer_with(chatwoot, 7, ANSWER)
    api.fail(422, times=1)
    put(app)
    work(app)
    assert (api.messages, api.changes) == ([], [HANDED_OVER])
    assert ending_of(app) == ("dead", "provider_invalid")

    store_of(app).inspection.retry([1])
    try_again(app, still)
    assert (api.public, api.notes, api.changes) == ([], [ANSWER], [HANDED_OVER])
    assert ending_of(app) == ("noted", "taken")


def test_a_revived_turn_that_fails_again_has_nobody_to_tell(
    app: Flask, chatwoot: Chatwoot, api: ChatwootStub, still: Clock
) -> None:
    asked = answer_with(chatwoot, 7)
    api.fail(422, times=1)
    put(app)
    work(app)
    assert (api.messages, ending_of(app)) == ([], ("dead", "provider_invalid"))

    store_of(app).inspection.retry([1])
    try_again(app, still)
    assert len(asked) == 2
    assert api.messages == []
    assert api.changes == [HANDED_OVER]
    assert ending_of(app) == ("dead", "provider_invalid")


# -- hand-off ------------------------------------------------------------------


def test_a_hand_off_that_fails_is_tried_again_and_nothing_is_posted_again(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub, still: Clock
) -> None:
    asked = answer_with(chatwoot, STORIES["hand-off"].answer)
    api.change_faults = [500, 503]

    with recorded(turn_finished, app) as ended:
        deliver(client, message())
        assert (job_of(app).state, api.changes, ended) == ("retrying", [], [])
        try_again(app, still)
        try_again(app, still)

    assert len(asked) == 1
    assert (api.public, len(api.notes)) == (["One moment."], 1)
    assert len(api.attempts) == 2
    assert api.changes == STORIES["hand-off"].changes
    assert endings(ended) == [("handed_off", None)]


@pytest.mark.parametrize(
    ("status", "reason"), [(500, "server_error"), (404, "not_found")]
)
def test_a_hand_off_that_fails_for_good_ends_as_dead_and_is_revived(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
    status: int,
    reason: str,
) -> None:
    answer_with(chatwoot, STORIES["hand-off"].answer)
    api.change_faults = [status] * 100
    deliver(client, message())

    for _ in range(5):
        try_again(app, still)

    assert ending_of(app) == ("dead", reason)
    assert (api.public, len(api.notes)) == (["One moment."], 1)

    api.change_faults = []
    store_of(app).inspection.retry([1])
    work(app)
    assert ending_of(app) == ("handed_off", None)
    assert api.changes == STORIES["hand-off"].changes
    assert len(api.attempts) == 2


def test_a_hand_off_that_fails_after_last_words_ends_with_the_first_reason(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    answer_with(chatwoot, 7)
    api.change_faults = [404]
    deliver(client, message())

    assert (api.public, len(api.notes)) == ([FALLBACK], 1)
    assert ending_of(app) == ("dead", "provider_invalid")


def test_a_hand_off_survives_a_lost_lease(
    app: Flask,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    still: Clock,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = answer_with(chatwoot, STORIES["hand-off"].answer)
    others: list[Job | None] = []
    hand_off = ConversationChanges.hand_off

    def slow(*args: t.Any) -> None:
        if not others:
            still.advance(store_of(app).queue.lease)
            others.append(store_of(app).queue.claim())

        hand_off(*args)

    monkeypatch.setattr(ConversationChanges, "hand_off", slow)
    put(app)

    with recorded(turn_finished, app) as ended:
        work(app)
        assert "Its turn was abandoned here" in caplog.text
        assert ended == []
        (other,) = others
        assert other is not None
        components_of(app).service.handle(other)

    assert len(asked) == 1
    assert (api.public, len(api.notes)) == (["One moment."], 1)
    assert len(api.attempts) == 2
    assert [c for c in api.changes if c not in STORIES["hand-off"].changes] == []
    assert endings(ended) == [("handed_off", None)]


def test_a_hand_off_needs_no_words(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    answer_with(chatwoot, Handoff())
    deliver(client, message())

    assert api.public == []
    assert api.notes == [
        "**The bot hands this conversation off.**\n\n"
        "The customer wrote:\n\n> Where is my order?"
    ]
    assert api.changes == [HANDED_OVER]
    assert ending_of(app) == ("handed_off", None)


def test_in_human_mode_there_is_nothing_to_hand_over(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    answer_with(chatwoot, STORIES["hand-off"].answer)
    deliver(client, message(mode="human"))

    assert (api.public, api.changes) == ([], [])
    assert api.notes[0] == "One moment."
    assert ending_of(app) == ("noted", None)


# -- several posts -------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "answer", "said", "outcome"),
    [
        ("bot", ["1", Reply("2", private=True), "3"], "public note public", "replied"),
        ("bot", [Reply("1", private=True), "2"], "note public", "replied"),
        ("bot", ["1", Reply("2", private=True)], "public note", "replied"),
        ("bot", [Reply("1", private=True), None, ""], "note", "noted"),
        ("human", ["1", Reply("2", private=False)], "note note", "noted"),
        ("bot", ("1", "2"), "public public", "replied"),
        ("bot", [], "", "declined"),
        ("bot", [None, " "], "", "declined"),
    ],
)
def test_a_list_is_posted_in_its_order_each_to_whom_it_is_for(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    mode: str,
    answer: t.Any,
    said: str,
    outcome: str,
) -> None:
    answer_with(chatwoot, answer)

    with recorded(turn_finished, app) as ended:
        deliver(client, message(mode=mode))

    sent = ["note" if post["private"] else "public" for post in api.messages]
    assert sent == said.split()
    assert [post["content"] for post in api.messages] == list("123"[: len(sent)])
    assert ending_of(app)[0] == outcome
    assert [told["outcome"] for told in ended] == [outcome]


def test_the_rest_of_a_list_becomes_notes_if_a_person_takes_over_in_between(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    answer_with(chatwoot, ["1", "2", "3"])
    facts: list[PolicyContext] = []

    @chatwoot.policy
    def decide(known: PolicyContext) -> Decision:
        facts.append(known)
        if len(facts) < 3:
            return Decision(Audience.CUSTOMER)
        return Decision(Audience.OPERATORS, "a person is typing")

    deliver(client, message())

    assert (api.public, api.notes) == (["1"], ["2", "3"])
    assert ending_of(app) == ("replied", None)


# -- files and choices ---------------------------------------------------------


@pytest.fixture
def sim() -> t.Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


def asks(
    stack: ExitStack,
    app: Flask,
    sim: Simulator,
    *,
    mode: str = "bot",
    **settings: t.Any,
) -> Talk:
    """A customer asks the app, over real HTTP; the turn has ended."""
    usual = {"settle_time": 0.2, "retry_pause": 0.05, "fallback_message": None}
    stack.enter_context(hosted(app, sim, **{**usual, **settings}))
    talk = sim.conversation(custom_attributes={"support_mode": mode})
    talk.customer_says("Where is my order?")
    sim.wait_until(lambda: {job.state for job in jobs_of(app)} & {"done", "dead"})

    return talk


def test_files_and_choices_reach_the_customer(
    app: Flask, chatwoot: Chatwoot, sim: Simulator, tmp_path: Path
) -> None:
    bill = tmp_path / "bill.pdf"
    bill.write_bytes(b"%PDF-1.7")
    files: list[t.Any] = [bill, str(bill), ("dot.png", b"\x89PNG", "image/png")]
    choices: list[t.Any] = ["Keep it", ("Send it back", "return")]
    answer_with(
        chatwoot, [Reply("Bill.", attachments=files), Reply("Next?", choices=choices)]
    )

    with ExitStack() as stack:
        talk = asks(stack, app, sim)

    bills, choice = talk.posted
    assert (bills.content, bills.private) == ("Bill.", False)
    assert fetched(bills) == [b"%PDF-1.7", b"%PDF-1.7", b"\x89PNG"]
    assert (choice.content, choice.content_type) == ("Next?", "input_select")
    assert choice.content_attributes["items"] == [
        {"title": "Keep it", "value": "Keep it"},
        {"title": "Send it back", "value": "return"},
    ]


def fetched(posted: Message) -> list[bytes]:
    """The files of a message, as Chatwoot has them now."""
    return [
        requests.get(file["data_url"], timeout=5).content for file in posted.attachments
    ]


def test_a_file_alone_is_an_answer(
    app: Flask, chatwoot: Chatwoot, sim: Simulator
) -> None:
    answer_with(chatwoot, Reply(attachments=[("a.txt", b"a", "text/plain")]))

    with ExitStack() as stack:
        talk = asks(stack, app, sim)
        assert ending_of(app) == ("replied", None)

    (posted,) = talk.posted
    assert (fetched(posted), posted.private) == ([b"a"], False)


def test_in_a_note_choices_are_listed_and_files_go_along(
    app: Flask, chatwoot: Chatwoot, sim: Simulator
) -> None:
    files = [("a.txt", b"a", "text/plain")]
    answer_with(
        chatwoot,
        Reply("Which one?", choices=["A", ("B", "b")], attachments=files),
    )

    with ExitStack() as stack:
        talk = asks(stack, app, sim, mode="human")

    (note,) = talk.posted
    assert (note.private, note.content_type) == (True, "text")
    assert note.content == "Which one?\n- A\n- B"
    assert fetched(note) == [b"a"]


def test_a_file_is_kept_with_the_reply(
    app: Flask, chatwoot: Chatwoot, sim: Simulator, tmp_path: Path
) -> None:
    bill = tmp_path / "bill.pdf"

    @chatwoot.reply_provider
    def provide(text: str) -> Reply:
        bill.write_bytes(b"%PDF-1.7")
        return Reply("Your bill.", attachments=[bill])

    def forget_file(_: Flask, **values: t.Any) -> None:
        bill.unlink(missing_ok=True)

    sim.inject(Fault.RATE_LIMITED)

    with ExitStack() as stack, before_post.connected_to(forget_file, sender=app):
        talk = asks(stack, app, sim)

    assert not bill.exists()
    (posted,) = talk.posted
    assert fetched(posted) == [b"%PDF-1.7"]
    assert [call.status for call in sim.calls if call.endpoint == "create_message"] == [
        429,
        200,
    ]


def test_a_file_that_is_not_there_is_an_error_of_the_provider(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer_with(chatwoot, Reply(ANSWER, attachments=[tmp_path / "no.pdf"]))
    deliver(client, message())

    assert ANSWER not in api.public
    assert ending_of(app) == ("dead", "provider_invalid")
    assert "no.pdf' cannot be read: No such file" in caplog.text


def test_a_reply_that_became_a_note_lists_its_choices(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    answer_with(chatwoot, Reply("Which one?", choices=["A", "B"]))
    api.live = live(Message(id=9001), status="snoozed")
    deliver(client, message())

    (sent,) = api.attempts
    assert (sent["private"], sent["content"]) == (True, "Which one?\n- A\n- B")
    assert "content_type" not in sent
    assert ending_of(app) == ("noted", "status")


# -- messages without text -----------------------------------------------------


def test_a_provider_of_text_alone_is_not_asked_about_a_picture(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    asked = answer_with(chatwoot, ANSWER)

    with recorded(turn_finished, app) as ended:
        deliver(client, message(None, attachments=(PICTURE,)))

    assert (asked, api.attempts) == ([], [])
    assert endings(ended) == [("declined", "empty")]


def test_a_provider_that_takes_the_turn_is_asked_about_a_picture(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    @chatwoot.reply_provider
    def provide(text: str, turn: Turn) -> str:
        return f"{text!r} and {[file.url for file in turn.attachments]}"

    deliver(client, message(None, attachments=(PICTURE,)))

    assert api.public == ["'' and ['https://x.test/1']"]


# -- policies that fail --------------------------------------------------------


@pytest.mark.parametrize(
    "wrong", [RuntimeError("a secret"), None, "bot", "everybody", True]
)
def test_if_the_policy_fails_the_answer_becomes_a_note(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    api: ChatwootStub,
    caplog: pytest.LogCaptureFixture,
    wrong: t.Any,
) -> None:
    answer_with(chatwoot, ANSWER)

    @chatwoot.policy
    def decide(facts: PolicyContext) -> t.Any:
        if isinstance(wrong, Exception):
            raise wrong
        return wrong

    with recorded(turn_finished, app) as ended:
        deliver(client, message())

    assert (api.public, api.notes) == ([], [ANSWER])
    assert endings(ended) == [("noted", "policy_failed")]
    assert "a secret" not in caplog.text
    assert ("the policy raised" in caplog.text) == isinstance(wrong, Exception)


def test_if_the_policy_fails_right_before_posting_the_reply_becomes_a_note(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    answer_with(chatwoot, ANSWER)
    asked: list[PolicyContext] = []

    @chatwoot.policy
    def decide(facts: PolicyContext) -> Decision:
        asked.append(facts)
        if len(asked) > 1:
            raise RuntimeError
        return Decision(Audience.CUSTOMER)

    deliver(client, message())

    assert len(asked) == 2
    assert (api.public, api.notes) == ([], [ANSWER])
    assert ending_of(app) == ("noted", "policy_failed")


def test_a_policy_that_wants_nobody_told_spares_the_provider(
    app: Flask, client: FlaskClient, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    asked = answer_with(chatwoot, ANSWER)
    chatwoot.policy(lambda facts: Decision(Audience.NOBODY, "at night"))
    deliver(client, message())

    assert (asked, api.attempts) == ([], [])
    assert ending_of(app) == ("declined", "at night")
