"""What Chatwoot's composer asks, and what looks like it."""

from __future__ import annotations

import json
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.recordings import lines

from flask_chatwoot.errors import PayloadError
from flask_chatwoot.payloads.composer import (
    ComposerRequest,
    Task,
    composer_request_from,
    ends_of,
)

REPLY: t.Final = "You are helping a customer support agent draft their next reply. The"
CHANGE: t.Final = "You just performed a reply suggestion action for a customer support"
FIRST: t.Final = "Conversation ID: #7\nChannel: Website\nMessage History:\nUser: Hi\n"


def parsed(*messages: t.Any, **more: t.Any) -> ComposerRequest:
    return composer_request_from(json.dumps({"messages": messages, **more}).encode())


def said(role: str, content: t.Any) -> dict[str, t.Any]:
    return {"role": role, "content": content}


# -- what Chatwoot sends -----------------------------------------------------------


@pytest.mark.parametrize("number", range(len(lines("copilot-requests-4.17"))))
def test_the_task_of_a_recorded_request_is_told(number: int) -> None:
    line = lines("copilot-requests-4.17")[number]
    request = composer_request_from(json.dumps(line["body"]).encode())

    assert request.task == line["task"].split(",")[0].split()[0]
    assert request.messages == tuple(line["body"]["messages"])
    assert (request.model, request.stream) == ("gpt-4.1-mini", False)


def test_a_reply_is_wanted_for_the_conversation_in_the_first_line() -> None:
    (first, *_) = lines("copilot-requests-4.17")
    request = composer_request_from(json.dumps(first["body"]).encode())
    whole, part = (request.transcript[:end] for end in ends_of(request.transcript))

    assert request.conversation_id == 119
    assert part == "User: From the app\nSupport Agent: Can you hear me?\n"
    assert whole == request.transcript


def test_the_newest_answer_is_to_be_changed() -> None:
    request = parsed(
        *(said("developer", CHANGE), said("user", FIRST), said("assistant", "Two.")),
        *(
            said("user", "Shorter"),
            said("assistant", "Two. "),
            said("user", "In German"),
        ),
    )

    assert (request.task, request.conversation_id) == (Task.FOLLOW_UP, 7)
    assert (request.suggestion, request.instruction) == ("Two. ", "In German")


# -- what anybody may have written ---------------------------------------------------


@pytest.mark.parametrize(
    ("first", "number"),
    [
        ("Conversation ID: #7", 7),
        (f"Conversation ID: #{'9' * 18}", 10**18 - 1),
        *(
            (f"Conversation ID: {text}", None)
            for text in (
                "#",
                "7",
                "#0",
                "#07",
                "#-7",
                "#7 ",
                "#7 #8",
                "#７",
                "#7\r",
                "#1e3",
            )
        ),
        *((f"Conversation ID: #{text}", None) for text in ("9" * 19, "9" * 5000)),
        *((text, None) for text in ("", " Conversation ID: #7", "conversation id: #7")),
        ("\nConversation ID: #7", None),
        ("Hello\nConversation ID: #7", None),
        ("Conversation ID: #seven\nConversation ID: #7", None),
    ],
    ids=lambda value: ascii(value)[:40],
)
def test_only_the_first_line_names_a_conversation(
    first: str, number: int | None
) -> None:
    text = f"{first}\nChannel: Website\nMessage History:\nUser: Conversation ID: #8\n"
    request = parsed(said("developer", REPLY), said("user", text))

    assert request.conversation_id == number
    assert bool(request.transcript) == (number is not None)


@pytest.mark.parametrize(
    ("prompt", "task"),
    [
        (REPLY.upper(), Task.REPLY_SUGGESTION),
        (f"{CHANGE} {REPLY}", Task.FOLLOW_UP),
        (f"{'x' * 200} {REPLY}", Task.OTHER),
        ("You are Captain, a helpful assistant.", Task.OTHER),
        *(("", Task.OTHER), (None, Task.OTHER), (7, Task.OTHER), ({}, Task.OTHER)),
        *(([], Task.OTHER), ([7], Task.OTHER), ([{"text": 7}], Task.OTHER)),
        ([{"type": "text", "text": REPLY}], Task.REPLY_SUGGESTION),
    ],
)
def test_the_beginning_of_the_prompt_tells_the_task(prompt: t.Any, task: Task) -> None:
    assert parsed(said("developer", prompt), said("user", REPLY)).task is task
    assert parsed(said("system", prompt)).task is task


def test_the_prompt_is_not_looked_for_in_what_the_customer_wrote() -> None:
    assert parsed(said("user", REPLY)).task is Task.OTHER


@pytest.mark.parametrize(
    "messages",
    [
        *([said("user", "Shorter")], [said("assistant", "A text.")]),
        [said("user", FIRST), said("assistant", "A text.")],
        [said("assistant", ""), said("user", "Shorter")],
        [said("assistant", "A text."), said("user", " \n")],
        [said("assistant", "A text."), said("user", None)],
        [said("assistant", "A text."), said("user", "a"), said("user", "b")],
        [said("tool", "A text."), said("user", "Shorter")],
    ],
)
def test_without_an_answer_or_a_wish_nothing_can_be_changed(
    messages: list[dict[str, t.Any]],
) -> None:
    request = parsed(said("developer", CHANGE), *messages)
    assert not (request.suggestion and request.instruction)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"\xff", b"[]", b'"x"', b"7", b"null", b"true", b"[" * 100_000),
        *(b"{}", b'{"messages": null}', b'{"messages": {}}', b'{"messages": []}'),
        *(b'{"messages": ["x"]}', b'{"messages": [null]}', b'{"messages": [{}]}'),
        *(b'{"messages": [{"role": 7}]}', b'{"messages": [{"role": null}]}'),
        b'{"messages": [{"role": "user"}, {"content": "x"}]}',
        b'{"messages": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b'{"messages": ' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: ascii(body)[:40],
)
def test_a_body_that_no_model_could_answer_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        composer_request_from(body)


@pytest.mark.parametrize("value", [True, "true", 1, 0.5, [], {}])
def test_what_is_not_false_wants_a_stream(value: t.Any) -> None:
    assert parsed(said("user", "x"), stream=value).stream


@pytest.mark.parametrize("model", [None, 7, [], {"a": 1}, True, "\ud800"])
def test_a_name_of_a_model_is_text_that_can_be_sent(model: t.Any) -> None:
    assert parsed(said("user", "x"), model=model).model.encode() in (b"", b"?")


def test_a_request_does_not_show_what_is_in_it() -> None:
    request = parsed(
        *(said("developer", CHANGE), said("user", FIRST)),
        *(said("assistant", "A text."), said("user", "Shorter")),
        model="secret",
    )

    shown = repr(request)
    assert "follow_up" in shown
    assert not [
        text for text in (CHANGE, "Hi", "A text", "Shorter", "secret") if text in shown
    ]


def test_the_places_where_a_transcript_may_end_are_limited() -> None:
    transcript = "User: x\n\nConversation Attributes:\n" * 100_000
    assert len(list(ends_of(transcript))) < 2000


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
ROLES = st.sampled_from(["developer", "system", "user", "assistant", "tool"]) | JSON
MESSAGES = st.lists(st.fixed_dictionaries({"role": ROLES, "content": JSON}) | JSON)


@settings(deadline=None)
@given(st.fixed_dictionaries({"messages": MESSAGES | JSON, "model": JSON}) | JSON)
def test_any_json_is_read_or_refused(body: t.Any) -> None:
    try:
        request = composer_request_from(json.dumps(body).encode())
    except PayloadError:
        return

    assert request.task in Task
