"""What Chatwoot's composer gets, over its own requests."""

from __future__ import annotations

import json
import threading
import time
import typing as t

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from support.apps import AppFactory, jobs_of, recorded, runtime_of
from support.recordings import lines
from support.stories import QUESTION, Begin, Story
from support.waiting import wait_until
from werkzeug.test import TestResponse

from flask_chatwoot import Chatwoot, GiveUp, Turn, got_exception
from flask_chatwoot.copilot import composer, drafting
from flask_chatwoot.errors import DatabaseError, ProviderError
from flask_chatwoot.queue.suggestions import Suggestions
from flask_chatwoot.simulator import Fault, Suggestion
from flask_chatwoot.texts import ENGLISH, Texts

ROUTE: t.Final = "/chatwoot/v1/chat/completions"
MODELS: t.Final = "/chatwoot/v1/models"
KEY: t.Final = "token-of-a-page"
PROMPT: t.Final = "You are helping a customer support agent draft their next reply."
FOLLOW_UP: t.Final = "You just performed a reply suggestion action for a support agent."
CANARY: t.Final = "canary-4711-of-a-customer"


def body_of(*texts: str, prompt: str = PROMPT, **more: t.Any) -> bytes:
    """A request; after the prompt users and assistants take turns."""
    roles = ("user", "assistant")
    said = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    messages = [{"role": "developer", "content": prompt}, *said]

    return json.dumps({"model": "gpt-4.1-mini", "messages": messages, **more}).encode()


def send(
    client: FlaskClient, body: bytes = b"", *, key: str | None = KEY, **more: t.Any
) -> TestResponse:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}

    return client.post(ROUTE, data=body, headers=headers, **more)


def sentence(code: str) -> str:
    """What an operator reads, in English."""
    return ENGLISH.get(f"composer_{code}")


def refusal(answer: TestResponse) -> tuple[int, str]:
    """The status and the code of a refusal, whose sentence is the one for it."""
    error = t.cast(dict[str, t.Any], answer.json)["error"]
    assert error["message"] == sentence(error["code"])
    assert error["type"] == "invalid_request_error"

    return answer.status_code, error["code"]


def transcript(*said: str, number: int = 7) -> str:
    lines = "".join(f"{each}\n" for each in said)

    return f"Conversation ID: #{number}\nChannel: Website\nMessage History:\n{lines}"


# -- keys ---------------------------------------------------------------------------


def test_without_a_key_there_is_no_such_endpoint(make_app: AppFactory) -> None:
    client = make_app(copilot_token=None).test_client()

    for answer in (send(client), send(client, key=None), client.get(MODELS)):
        assert refusal(answer) == (404, "disabled")


@pytest.mark.parametrize(
    "key", [None, "", "token-of-a-pag", "token-of-a-page2", "sk-proj-canary", "ü"]
)
def test_a_wrong_key_is_refused_and_not_shown(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, key: str | None
) -> None:
    answer = send(client, body_of(CANARY), key=key)
    listed = client.get(MODELS, headers={"Authorization": f"Bearer {key}"})

    assert refusal(answer) == refusal(listed) == (401, "wrong_key")
    assert not [text for text in ("canary", KEY) if text in caplog.text + answer.text]


def test_each_of_two_keys_opens(make_app: AppFactory) -> None:
    client = make_app(copilot_token="old, new").test_client()

    for key in ("old", "new"):
        listed = client.get(MODELS, headers={"Authorization": f"Bearer {key}"})
        assert [each["object"] for each in (listed.json or {})["data"]] == ["model"]


# -- other texts ----------------------------------------------------------------------


def test_the_host_completes_what_chatwoot_recorded(
    client: FlaskClient, chatwoot: Chatwoot
) -> None:
    asked: list[list[dict[str, t.Any]]] = []

    @chatwoot.completion_provider
    def complete(messages: list[dict[str, t.Any]]) -> str:
        asked.append(messages)
        return "Ready."

    others = [
        each["body"]
        for each in lines("copilot-requests-4.17")
        if not each["task"].startswith("reply")
    ]
    answers = [send(client, json.dumps(each).encode()) for each in others]

    assert asked == [each["messages"] for each in others]

    for answer in answers:
        completion = t.cast(dict[str, t.Any], answer.json)
        (choice,) = completion["choices"]
        assert choice["message"] == {"role": "assistant", "content": "Ready."}
        assert choice["finish_reason"] == "stop"
        assert completion["object"] == "chat.completion"
        assert completion["model"] == "gpt-4.1-mini"
        assert {*completion} >= {"id", "created", "usage"}


def test_a_probe_is_answered_without_the_host(
    client: FlaskClient, chatwoot: Chatwoot, caplog: pytest.LogCaptureFixture
) -> None:
    chatwoot.completion_provider(lambda messages: pytest.fail("It was asked."))

    answer = send(client, body_of(CANARY, model=composer.PROBE))

    assert (answer.status_code, caplog.messages) == (200, [])
    assert t.cast(dict[str, t.Any], answer.json)["model"] == composer.PROBE


def test_without_a_completion_provider_an_operator_reads_why(
    client: FlaskClient,
) -> None:
    answer = send(client, body_of("we lookng at it", prompt="You are a writing"))
    assert refusal(answer) == (400, "no_completion_provider")


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        *((nothing, "no_completion") for nothing in (None, "", " \n", "\u200b")),
        *((wrong, "completion_failed") for wrong in (7, b"text", ["text"])),
        *((error, "completion_failed") for error in (ValueError, SystemExit)),
    ],
)
def test_what_a_completion_provider_cannot_do_is_a_sentence(
    app: Flask,
    client: FlaskClient,
    chatwoot: Chatwoot,
    caplog: pytest.LogCaptureFixture,
    answer: t.Any,
    code: str,
) -> None:
    @chatwoot.completion_provider
    def complete(messages: list[dict[str, t.Any]]) -> t.Any:
        if isinstance(answer, type):
            raise answer(CANARY)

        return answer

    with recorded(got_exception, app) as errors:
        assert refusal(send(client, body_of(CANARY, prompt="Write."))) == (400, code)

    raised = isinstance(answer, type)
    assert [each["where"] for each in errors] == ["completion"] * raised
    assert CANARY not in caplog.text

    if code == "completion_failed" and not raised:
        what = f"complete returned {type(answer).__name__}; return text, or None"
        assert what in caplog.text


def test_a_completion_may_be_async_and_has_an_app_context(
    client: FlaskClient, chatwoot: Chatwoot
) -> None:
    pytest.importorskip("asgiref", reason="needs Flask's extra async")

    @chatwoot.completion_provider
    async def complete(messages: list[dict[str, t.Any]]) -> str:
        from flask import current_app

        return current_app.name

    answer = send(client, body_of("x", prompt="Write."))
    assert t.cast(t.Any, answer.json)["choices"][0]["message"]["content"] == "host"


def test_an_app_context_that_cannot_end_prints_no_text(
    client: FlaskClient,
    chatwoot: Chatwoot,
    app: Flask,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    chatwoot.completion_provider(lambda messages: "Ready.")

    @app.teardown_appcontext
    def fail(_: BaseException | None) -> None:
        if threading.current_thread() is not threading.main_thread():
            raise LookupError(CANARY)

    answer = send(client, body_of(prompt="Anything else"))

    assert refusal(answer) == (400, "completion_failed")
    assert CANARY not in "".join([caplog.text, *capfd.readouterr()])


def test_a_completion_that_comes_too_late_is_dropped(
    client: FlaskClient,
    chatwoot: Chatwoot,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drafting, "PATIENCE", 0.1)
    may_answer = threading.Event()

    @chatwoot.completion_provider
    def complete(messages: list[dict[str, t.Any]]) -> str:
        may_answer.wait(10)
        return "Late."

    try:
        assert refusal(send(client, body_of("x", prompt="Write."))) == (400, "too_slow")
    finally:
        may_answer.set()

    wait_until(lambda: "was dropped" in caplog.text)


@pytest.mark.parametrize("wrong", [None, "complete", 7])
def test_a_completion_provider_is_one_function(
    chatwoot: Chatwoot, wrong: t.Any
) -> None:
    with pytest.raises(ProviderError, match="must be a function"):
        chatwoot.completion_provider(wrong)

    def complete(messages: list[dict[str, t.Any]]) -> str:
        return "x"

    assert chatwoot.completion_provider(complete) is complete

    with pytest.raises(ProviderError, match="registered already"):
        chatwoot.completion_provider(complete)


@pytest.mark.parametrize("name", ["none", "two", "named"])
def test_a_completion_provider_takes_the_messages_alone(
    chatwoot: Chatwoot, name: str
) -> None:
    functions: dict[str, t.Any] = {
        "none": lambda: "x",
        "two": lambda messages, turn: "x",
        "named": lambda messages, *, model: "x",
    }

    with pytest.raises(ProviderError, match="must take the messages, and nothing else"):
        chatwoot.completion_provider(functions[name])


# -- hostile requests -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        *((body, "invalid") for body in (b"", b"{", b"[]", b"null", b"\xff", b"{}")),
        (b'{"messages": []}', "invalid"),
        (b"[" * 100_000, "invalid"),
        (body_of("x", stream=True), "stream"),
        (body_of(CANARY), "no_conversation"),
        (body_of(f"{CANARY}\n{transcript(CANARY)}"), "no_conversation"),
        (body_of("Conversation ID: #99999999999999999999"), "no_conversation"),
        (body_of("x" * 2_000_000), "too_large"),
    ],
    ids=lambda value: str(value)[-50:],
)
def test_a_hostile_body_is_refused_with_a_sentence(
    make_app: AppFactory, caplog: pytest.LogCaptureFixture, body: bytes, code: str
) -> None:
    client = make_app(max_body=1_000_000).test_client()

    assert refusal(send(client, body)) == (400, code)
    assert CANARY not in caplog.text


def test_a_body_of_unknown_length_is_refused_with_a_sentence(
    client: FlaskClient,
) -> None:
    unknown = {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    assert refusal(send(client, environ_overrides=unknown)) == (400, "invalid")


def test_an_app_without_chatwoot_completes_and_suggests_nothing(
    make_app: AppFactory, chatwoot: Chatwoot
) -> None:
    client = make_app(chatwoot, base_url=None).test_client()
    chatwoot.completion_provider(lambda messages: "Ready.")

    assert send(client, body_of("x", prompt="Write.")).status_code == 200
    assert send(client, body_of("a", "b", "c", prompt=FOLLOW_UP)).status_code == 200
    assert refusal(send(client, body_of(transcript("User: x")))) == (
        400,
        "not_configured",
    )


def test_what_nobody_expected_is_a_sentence_too(
    app: Flask,
    client: FlaskClient,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: t.Any) -> t.NoReturn:
        raise LookupError(CANARY)

    monkeypatch.setattr("flask_chatwoot.copilot.composer.answer", fail)

    with recorded(got_exception, app) as errors:
        assert refusal(send(client, body_of(CANARY))) == (400, "failed")

    assert [each["where"] for each in errors] == ["turn"]
    assert "LookupError" in caplog.text
    assert CANARY not in caplog.text


# -- suggestions ----------------------------------------------------------------------


@pytest.fixture
def settle(begin: Begin) -> t.Callable[..., Story]:
    """Begins a conversation that is a minute old, in an installation with others."""

    def settle(**options: t.Any) -> Story:
        story = begin(
            **{
                "version": "4.16.2",
                "workers": 0,
                "copilot_one_account": False,
                **options,
            }
        )
        clock = story.sim._state.clock
        story.sim._state.clock = lambda: clock() - 60
        story.talk.customer_says("Hello")
        story.talk.operator_says("Hi, I am Olga. What is it?")
        story.talk.customer_says(QUESTION)
        story.sim.drain()
        story.sim._state.clock = clock

        return story

    return settle


def press(story: Story) -> Suggestion:
    return story.sim.suggest_reply(story.talk)


def ask(story: Story, body: bytes) -> requests.Response:
    """Ask the app behind the composer by hand."""
    endpoint, key = t.cast(tuple[str, str], story.sim._composer._endpoint)
    headers = {"Authorization": f"Bearer {key}"}

    return requests.post(endpoint, data=body, headers=headers, timeout=20)


def code_of(answer: requests.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_an_operator_gets_what_the_provider_answers(
    settle: t.Callable[..., Story], chatwoot: Chatwoot, app: Flask
) -> None:
    turns: list[Turn] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        turns.append(turn)
        return "On its way."

    story = settle()
    jobs, messages = len(jobs_of(app)), len(story.talk.messages)

    assert press(story).text == "On its way."
    assert [(each.text, each.purpose) for each in turns] == [(QUESTION, "suggestion")]
    assert (len(jobs_of(app)), len(story.talk.messages)) == (jobs, messages)


def test_a_follow_up_changes_the_newest_text(
    settle: t.Callable[..., Story], chatwoot: Chatwoot
) -> None:
    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        return f"{turn.instruction}, not {turn.earlier_suggestion}"

    story = settle()
    first = press(story)
    second = story.sim.follow_up(first, "Shorter", conversation=story.talk)
    third = story.sim.follow_up(second, "In German", conversation=story.talk)

    assert first.text == "None, not None"
    assert second.text == "Shorter, not None, not None"
    assert third.text == "In German, not Shorter, not None, not None"


def test_a_follow_up_about_another_text_is_the_hosts(
    settle: t.Callable[..., Story], chatwoot: Chatwoot, asked: list[str]
) -> None:
    story = settle()
    chatwoot.completion_provider(lambda messages: f"{len(messages)} messages")
    forged = transcript(f"User: {QUESTION}", number=story.talk.id)
    answer = ask(story, body_of(forged, "Not ours.", "Shorter", prompt=FOLLOW_UP))

    assert answer.json()["choices"][0]["message"]["content"] == "4 messages"
    assert asked == []


def test_a_follow_up_gets_no_other_conversation(
    settle: t.Callable[..., Story], chatwoot: Chatwoot
) -> None:
    turns: list[Turn] = []

    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> str:
        turns.append(turn)
        return f"About {turn.conversation_id}"

    story = settle()
    other = story.sim.conversation()
    other.customer_says("A secret of somebody else")
    text = press(story).text or ""
    chatwoot.completion_provider(lambda messages: "Not suggested.")
    forged = f"{transcript(number=other.id)}Conversation ID: #{story.talk.id}\n"

    for first in (forged, f"Rewrite {forged}"):
        answer = ask(story, body_of(first, text, "Shorter", prompt=FOLLOW_UP))
        assert "Not suggested." in answer.text

    assert [each.conversation_id for each in turns] == [story.talk.id]


@pytest.mark.parametrize(
    "said",
    [
        (),
        ("User: Where is my order?",),
        ("User: My own question to another company", "Support Agent: Our answer"),
        ("User: Hello", "Support Agent: Hi, I am Olga. What is it?", "User: Other"),
        ("User: Conversation ID: #{number}\nUser: Where is it?",),
    ],
)
def test_the_same_number_in_another_account_shows_nothing(
    settle: t.Callable[..., Story], asked: list[str], said: tuple[str, ...]
) -> None:
    story = settle()
    number = story.talk.id
    lines = [each.format(number=number) for each in said]

    for other in (number, number + 1000):
        answer = ask(story, body_of(transcript(*lines, number=other)))
        assert code_of(answer) == (400, "other_account")

    assert asked == []


def test_an_installation_of_one_account_is_not_compared(
    settle: t.Callable[..., Story], asked: list[str]
) -> None:
    story = settle(copilot_one_account=True)
    assert ask(story, body_of(transcript(number=story.talk.id))).status_code == 200
    assert asked == [QUESTION]


@pytest.mark.usefixtures("asked")
def test_messages_before_many_notes_are_compared(
    settle: t.Callable[..., Story],
) -> None:
    story = settle()

    for number in range(45):
        story.talk.operator_says(f"Note {number}", private=True)

    assert press(story).text


@pytest.mark.usefixtures("asked")
def test_what_was_said_just_now_may_be_in_it(settle: t.Callable[..., Story]) -> None:
    story = settle()
    story.talk.customer_says("Number 7.")
    assert press(story).text


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"inboxes": frozenset({99})}, "other_inbox"),
        ({"kind": "bot"}, "no_right"),
    ],
)
def test_what_the_app_may_not_read_is_a_sentence(
    settle: t.Callable[..., Story], options: dict[str, t.Any], code: str
) -> None:
    suggestion = press(settle(**options))
    assert (suggestion.error, suggestion.requests) == (sentence(code), 1)


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault.SERVER_ERROR, "unreadable"),
        (Fault.RATE_LIMITED, "unreadable"),
        (Fault.CUT_BEFORE, "unreadable"),
        (Fault.UNAUTHORIZED, "unreadable"),
        (Fault.NOT_FOUND, "other_account"),
    ],
)
@pytest.mark.usefixtures("asked")
def test_a_chatwoot_that_fails_is_a_sentence(
    settle: t.Callable[..., Story], fault: Fault, code: str
) -> None:
    story = settle()
    story.sim.inject(fault, endpoint="list_messages", times=2)
    suggestion = press(story)

    assert (suggestion.error, suggestion.requests) == (sentence(code), 1)


@pytest.mark.usefixtures("asked")
def test_reads_that_hang_end_with_the_time_of_the_request(
    settle: t.Callable[..., Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    story = settle(timeout=10.0)
    story.sim.inject(Fault.HANG, endpoint="conversation", times=2)
    monkeypatch.setattr(drafting, "PATIENCE", 0.3)
    began = time.monotonic()

    assert press(story).error == sentence("unreadable")
    assert time.monotonic() - began < 5


@pytest.mark.usefixtures("asked")
def test_a_database_that_fails_is_a_sentence(
    settle: t.Callable[..., Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: t.Any, **__: t.Any) -> t.NoReturn:
        raise DatabaseError("The database is locked.")

    story = settle()
    monkeypatch.setattr(Suggestions, "ask", fail)
    suggestion = press(story)

    assert (suggestion.error, suggestion.requests) == (sentence("database"), 1)


@pytest.mark.usefixtures("asked")
@pytest.mark.parametrize("locale", ["de", "pt_BR"])
def test_a_sentence_is_in_the_language_of_the_account(
    settle: t.Callable[..., Story],
    app: Flask,
    monkeypatch: pytest.MonkeyPatch,
    locale: str,
) -> None:
    story = settle(inboxes=frozenset({99}), locale=None)
    reader = runtime_of(app).configured.turns.history.reader
    monkeypatch.setattr(reader, "call", lambda *_: {"locale": locale})

    assert press(story).error == Texts(locale).get("composer_other_inbox")


def test_a_host_may_have_sentences_of_its_own(make_app: AppFactory) -> None:
    own = {"composer_wrong_key": "Ask Ada for the key."}
    answer = send(make_app(texts=own).test_client(), key="wrong")

    assert t.cast(t.Any, answer.json)["error"]["message"] == "Ask Ada for the key."


@pytest.mark.parametrize("settings", [{"locale": "fr"}, {"base_url": None}])
def test_who_has_no_key_causes_no_request(
    make_app: AppFactory, settings: dict[str, t.Any]
) -> None:
    client = make_app(**settings).test_client()
    answer = send(client, key="wrong")
    texts = Texts(settings.get("locale"))

    assert t.cast(t.Any, answer.json)["error"]["message"] == texts.get(
        "composer_wrong_key"
    )


@pytest.mark.parametrize(
    "reason",
    [
        *("the key of the model is refused", None, " "),
        PermissionError("the key of the model is refused"),
    ],
)
def test_an_operator_reads_why_the_host_gives_up(
    settle: t.Callable[..., Story],
    chatwoot: Chatwoot,
    app: Flask,
    caplog: pytest.LogCaptureFixture,
    reason: object,
) -> None:
    @chatwoot.reply_provider
    def reply(text: str, turn: Turn) -> t.NoReturn:
        raise GiveUp(reason)

    @chatwoot.completion_provider
    def complete(messages: list[dict[str, t.Any]]) -> t.NoReturn:
        raise GiveUp(reason)

    story = settle()
    shown = f"{sentence('gave_up')} Reason: {reason}"

    with recorded(got_exception, app) as errors:
        got = [press(story).error, story.sim.rewrite("we lookng").error]

    assert got == [shown if str(reason or "").strip() else sentence("gave_up")] * 2
    assert errors == []
    assert "the key of the model" not in caplog.text
