"""The AI buttons of the simulated composer."""

from __future__ import annotations

import functools
import json
import threading
import typing as t
from collections.abc import Iterator

import pytest
from flask import Flask, Response, request
from support.recordings import lines
from support.simulation import JSON, Start

from flask_chatwoot.simulator import Simulator, Suggestion, Talk
from flask_chatwoot.simulator.composer import OPERATIONS, TIMED_OUT
from flask_chatwoot.simulator.server import serving

RECORDED: t.Final = lines("copilot-requests-4.17")
KEY: t.Final = "our-own-secret"
TEXT: t.Final = "From our provider."


def completed(text: str | None) -> JSON:
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


def failed(message: str) -> JSON:
    return {"error": {"message": message, "type": "invalid_request_error"}}


class Endpoint:
    """An OpenAI-shaped endpoint.

    :ivar answers: The next answers; the last of them is repeated.
    :ivar got: The bodies that came.
    :ivar released: Cleared while it must not answer.
    """

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[tuple[int, t.Any]] = [(200, completed(TEXT))]
        self.got: list[JSON] = []
        self.headers: list[t.Mapping[str, str]] = []
        self.released = threading.Event()
        self.released.set()

    def view(self) -> Response:
        self.got.append(request.get_json())
        self.headers.append(dict(request.headers))
        self.released.wait(10)
        status, body = self.answers[0]
        self.answers[:] = self.answers[1:] or self.answers
        text = body if isinstance(body, str) else json.dumps(body)

        return Response(text, status)

    @property
    def messages(self) -> list[JSON]:
        """Those of the last request."""
        return t.cast("list[JSON]", self.got[-1]["messages"])

    @property
    def asked(self) -> str:
        """The text of the last request."""
        return t.cast(str, self.messages[-1]["content"])


@pytest.fixture
def endpoint(sim: Simulator) -> Iterator[Endpoint]:
    endpoint = Endpoint()
    app = Flask(__name__)
    app.add_url_rule(
        "/chatwoot/v1/chat/completions", view_func=endpoint.view, methods=["POST"]
    )

    with serving(app) as url:
        endpoint.url = f"{url}/chatwoot"
        sim.connect_copilot(endpoint.url, KEY)
        sim._composer._pause = 0.01
        yield endpoint
        endpoint.released.set()


# -- requests --------------------------------------------------------------------


def recorded(task: str, number: int = 119) -> JSON:
    """A recorded request about a conversation, or about none."""
    for each in RECORDED:
        text = each["body"]["messages"][1]["content"]
        named = text.startswith("Conversation ID: ")

        if each["task"] == task and (not named or f": #{number}\n" in text):
            return each

    raise LookupError(task)


@pytest.fixture
def labelled(sim: Simulator) -> Simulator:
    """Has the custom attribute of the account whose requests were recorded."""
    sim.admin.attributes[1] = {
        "attribute_display_name": "Whom do you want to write to?",
        "attribute_key": "support_mode",
        "attribute_model": "conversation_attribute",
    }
    return sim


def short_talk(sim: Simulator) -> Talk:
    """The recorded conversation 119."""
    talk = sim.conversation(
        id=119,
        channel="Channel::Api",
        custom_attributes={"support_mode": "AI agent"},
    )
    talk.customer_says("From the app")
    talk.operator_says("Can you hear me?")
    return talk


def long_talk(sim: Simulator) -> Talk:
    """The recorded conversation 118."""
    talk = sim.conversation(id=118, custom_attributes={"support_mode": "Human"})
    talk.customer_says("Where is my order?")
    talk.operator_says("She is angry.", private=True)
    talk.customer_says("It is 4711.")
    talk.customer_says(None, attachments=[{"file_type": "image"}])
    talk.customer_says("About that one")
    talk.operator_deletes(talk.operator_says("Wrong"))
    talk.operator_says("Olga here.")
    talk.operator_says("", attachments=[{"file_type": "file"}])
    talk.operator_says("Which?")
    talk.operator_takes()
    talk.customer_says("Hello?")
    talk.customer_says("One more thing")
    talk.customer_says("And now?")
    return talk


PRESSES: t.Final[dict[str, t.Callable[[Simulator], t.Any]]] = {
    "reply_suggestion": lambda sim: sim.suggest_reply(short_talk(sim)),
    "summarize": lambda sim: sim.summarize(short_talk(sim)),
    "follow_up": lambda sim: sim.follow_up(
        sim.suggest_reply(short_talk(sim)), "Shorter, please"
    ),
    "label_suggestion": lambda sim: sim.suggest_labels(long_talk(sim), ["refund"]),
    **{
        f"rewrite {operation}": functools.partial(
            Simulator.rewrite, text="we lookng at it", operation=operation
        )
        for operation in ("improve", "fix_spelling_grammar", "professional", "casual")
    },
}


@pytest.mark.parametrize("task", PRESSES)
def test_a_button_makes_the_request_that_chatwoot_was_seen_to_make(
    labelled: Simulator, endpoint: Endpoint, task: str
) -> None:
    seen = recorded(task)

    PRESSES[task](labelled)

    prompt, *rest = endpoint.messages
    seen_prompt, *seen_rest = seen["body"]["messages"]
    assert rest == seen_rest
    assert prompt["role"] == seen_prompt["role"]
    # The prompts were cut when they were recorded, and the tasks told by their begin.
    assert prompt["content"][:50] == seen_prompt["content"][:50]
    assert {**endpoint.got[-1], "messages": 0} == {**seen["body"], "messages": 0}
    assert seen["headers"].items() <= endpoint.headers[-1].items()


def test_notes_activities_and_templates_are_in_no_transcript(
    labelled: Simulator, endpoint: Endpoint
) -> None:
    talk = long_talk(labelled)
    talk.customer_rates(5)

    labelled.suggest_reply(talk)

    seen = recorded("reply_suggestion", 118)
    assert endpoint.asked == seen["body"]["messages"][1]["content"]


def test_a_bot_and_an_automation_are_bots_in_the_transcript(
    sim: Simulator, endpoint: Endpoint
) -> None:
    talk = sim.conversation()
    talk.add(sim.bot, "Hello from the bot")
    talk.automation_says("Hello from a rule")

    sim.suggest_reply(talk)

    assert endpoint.asked == (
        "Conversation ID: #1\nChannel: Website\nMessage History:\n"
        "Bot: Hello from the bot\nBot: Hello from a rule\n"
    )


def test_an_improvement_tells_the_conversation_in_the_prompt(
    sim: Simulator, endpoint: Endpoint
) -> None:
    talk = sim.conversation()
    talk.customer_says("Where is it?")

    sim.rewrite("we lookng", conversation=talk)

    prompt, asked = endpoint.messages
    assert "User: Where is it?" in prompt["content"]
    assert "Ada Lovelace" in prompt["content"]
    assert asked["content"] == "we lookng"


def test_a_follow_up_repeats_what_was_said_before(
    sim: Simulator, endpoint: Endpoint
) -> None:
    talk = sim.conversation()
    talk.customer_says("Where is it?")
    endpoint.answers = [(200, completed(x)) for x in ("Long", "Short", "Shortest")]

    first = sim.suggest_reply(talk)
    second = sim.follow_up(first, "Shorter", conversation=talk)
    third = sim.follow_up(second, "Even shorter", conversation=talk)

    assert [each.text for each in (first, second, third)] == [
        "Long",
        "Short",
        "Shortest",
    ]
    # Chatwoot repeats the newest answer in place of the first one.
    assert [m["content"] for m in endpoint.messages[2:]] == [
        "Short",
        "Shorter",
        "Short",
        "Even shorter",
    ]
    assert endpoint.messages[1]["content"].startswith("Conversation ID: #1\n")


def test_labels_are_asked_for_after_the_third_message(
    sim: Simulator, endpoint: Endpoint
) -> None:
    talk = sim.conversation()
    talk.customer_says("One")
    talk.customer_says("Two")
    assert sim.suggest_labels(talk, ["refund"]) == Suggestion(text=None)
    assert endpoint.got == []

    talk.customer_says("Three")
    assert sim.suggest_labels(talk, []).text is None
    endpoint.answers = [(200, completed("Labels: refund"))]
    assert sim.suggest_labels(talk, ["refund", "spam"]).text == " refund"
    assert endpoint.asked.endswith("Customer: Three\n\nLabels:\nrefund, spam")


# -- answers ---------------------------------------------------------------------


@pytest.fixture
def waiting(talk: Talk) -> Talk:
    talk.customer_says("Where is my order?")
    return talk


@pytest.mark.parametrize(
    ("status", "body", "text", "error"),
    [
        (200, completed(TEXT), TEXT, None),
        (200, completed(""), "", None),
        (200, completed(None), None, None),
        (200, failed("It is late."), None, "It is late."),
        (200, {"choices": []}, None, "The answer has no message."),
        (200, "<html>", None, "The answer has no message."),
        (400, failed("Not a conversation."), None, "Not a conversation."),
        (401, failed("Wrong key."), None, "Wrong key."),
        (401, "", None, "Invalid API key - check your credentials"),
        (404, "<html>Not Found</html>", None, "<html>Not Found</html>"),
        (404, {}, None, "An unknown error occurred"),
        (422, failed("No."), None, "No."),
    ],
)
def test_an_operator_sees_the_text_or_the_error(
    sim: Simulator,
    endpoint: Endpoint,
    waiting: Talk,
    status: int,
    body: t.Any,
    text: str | None,
    error: str | None,
) -> None:
    endpoint.answers = [(status, body)]

    got = sim.suggest_reply(waiting)

    assert (got.text, got.error, got.requests) == (text, error, 1)
    assert (got.context is not None) == bool(text)


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 529])
def test_some_statuses_make_chatwoot_ask_four_times(
    sim: Simulator, endpoint: Endpoint, waiting: Talk, status: int
) -> None:
    endpoint.answers = [(status, failed("Busy."))]

    got = sim.suggest_reply(waiting)

    assert (got.error, got.requests) == ("Busy.", 4)
    assert len(endpoint.got) == 4
    assert [each.attempt for each in sim.completions] == [1, 2, 3, 4]
    assert {each.status for each in sim.completions} == {status}


def test_a_retry_may_succeed(sim: Simulator, endpoint: Endpoint, waiting: Talk) -> None:
    endpoint.answers = [(503, "Busy"), (200, completed(TEXT))]

    got = sim.suggest_reply(waiting)

    assert (got.text, got.error, got.requests) == (TEXT, None, 2)


def test_an_endpoint_that_cannot_be_reached_is_an_error(
    sim: Simulator, waiting: Talk
) -> None:
    sim.connect_copilot("http://127.0.0.1:1/", KEY)

    got = sim.suggest_reply(waiting)

    assert (got.text, got.error, got.requests) == (None, "ConnectionError", 4)


def test_the_time_is_limited_for_all_requests_together(
    start: Start, endpoint: Endpoint
) -> None:
    sim = start(suggestion_timeout=0.2)
    sim.connect_copilot(endpoint.url, KEY)
    endpoint.released.clear()

    got = sim.suggest_reply(sim.conversation())

    assert (got.text, got.error, got.requests) == (None, TIMED_OUT, 1)
    assert sim.completions[0].error == "ReadTimeout"


# -- mistakes --------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_of_a_rewrite_can_be_followed_up(
    sim: Simulator, endpoint: Endpoint, operation: str
) -> None:
    got = sim.follow_up(sim.rewrite("we lookng", operation), "Again")

    assert (got.text, got.error) == (TEXT, None)


def test_what_has_no_text_cannot_be_followed_up(
    sim: Simulator, endpoint: Endpoint
) -> None:
    got = sim.follow_up(Suggestion(text=None), "Shorter")

    assert (got.error, endpoint.got) == ("Follow-up context missing", [])


def test_an_unknown_operation_is_refused(sim: Simulator, endpoint: Endpoint) -> None:
    with pytest.raises(ValueError, match="no operation 'nonsense'; use one of fix_"):
        sim.rewrite("x", "nonsense")


def test_only_an_endpoint_on_this_machine_is_accepted(sim: Simulator) -> None:
    with pytest.raises(ValueError, match="not on this machine"):
        sim.connect_copilot("https://api.openai.com", KEY)


def test_an_endpoint_is_needed(sim: Simulator, talk: Talk) -> None:
    with pytest.raises(ValueError, match="connect_copilot"):
        sim.suggest_reply(talk)


@pytest.mark.parametrize("version", ["4.12.0"])
def test_older_versions_have_no_such_buttons(sim: Simulator, talk: Talk) -> None:
    with pytest.raises(ValueError, match=r"4\.12\.1"):
        sim.suggest_reply(talk)
