from __future__ import annotations

import copy
import json
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_chatwoot.errors import PayloadError
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership.mode import Mode, ModeAttribute, vocabulary
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.conversation import (
    ChatwootMessage,
    Contact,
    Conversation,
    Speaker,
)
from flask_chatwoot.payloads.events import ConversationEvent, MessageEvent, OtherEvent

Path = str
"""Keys, joined by full stops."""


class Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT: t.Final = Absent()

CONTACT: t.Final = {
    "id": 55,
    "name": "Ada",
    "email": "ada@example.com",
    "phone_number": "+4912345",
    "identifier": "crm-7",
    "custom_attributes": {"plan": "gold"},
}
MESSAGE: t.Final[dict[str, t.Any]] = {
    "event": "message_created",
    "id": 9001,
    "content": "Where is my order?",
    "content_type": "text",
    "content_attributes": {},
    "message_type": "incoming",
    "private": False,
    "created_at": "2026-07-27T09:12:33.123Z",
    "sender": CONTACT,
    "account": {"id": 1, "name": "Acme"},
    "inbox": {"id": 3, "name": "Website"},
    "conversation": {
        "id": 42,
        "inbox_id": 3,
        "channel": "Channel::WebWidget",
        "status": "open",
        "custom_attributes": {},
        "additional_attributes": {"browser_language": "de"},
        "meta": {"sender": CONTACT | {"type": "contact"}},
        "messages": [],
    },
}


def changed(*changes: tuple[Path, t.Any]) -> dict[str, t.Any]:
    """A message with some of its values replaced, or taken out."""
    payload = copy.deepcopy(MESSAGE)

    for path, value in changes:
        holder = payload
        *parts, key = path.split(".")

        for part in parts:
            holder = holder.setdefault(part, {})

        if value is ABSENT:
            del holder[key]
        else:
            holder[key] = value

    return payload


def encoded(payload: t.Any) -> bytes:
    return json.dumps(payload).encode()


def message(*changes: tuple[Path, t.Any]) -> MessageEvent:
    event = events.parse(encoded(changed(*changes)))
    assert isinstance(event, MessageEvent)

    return event


# A message


ADA: t.Final = Contact(
    id=55,
    name="Ada",
    email="ada@example.com",
    phone_number="+4912345",
    identifier="crm-7",
    custom_attributes={"plan": "gold"},
)


def test_a_message_is_read() -> None:
    assert message() == MessageEvent(
        name="message_created",
        account_id=1,
        message=ChatwootMessage(
            id=9001,
            type="incoming",
            content="Where is my order?",
            text="Where is my order?",
            speaker=Speaker.CUSTOMER,
            created_at=1785143553.123,
        ),
        conversation=Conversation(
            id=42,
            account_id=1,
            inbox_id=3,
            status="open",
            additional_attributes={"browser_language": "de"},
            channel="Channel::WebWidget",
            contacts=(ADA, ADA),
        ),
        digest="",
        raw=MESSAGE,
    )


def test_an_event_cannot_be_changed_and_shows_nothing_of_the_customer() -> None:
    event = message()

    with pytest.raises(AttributeError):
        event.account_id = 2  # type: ignore[misc]

    assert "order" not in repr(event)
    assert "Ada" not in repr(event)
    assert "9001" in repr(event)


def test_unknown_keys_and_events_pass_through() -> None:
    body = {"event": "message_read", "id": "what", "new": [1]}

    event = events.parse(encoded(body))

    assert type(event) is OtherEvent
    assert (event.name, event.raw) == ("message_read", body)
    assert message(("brand_new", {"a": 1})).raw["brand_new"] == {"a": 1}


@pytest.mark.parametrize(
    "name", ["", "Message_Created", "message_created ", "\ud800"], ids=repr
)
def test_only_the_exact_name_makes_a_message(name: str) -> None:
    event = events.parse(encoded(changed(("event", name))))

    assert type(event) is OtherEvent


def test_the_key_is_the_same_for_every_delivery_of_a_message() -> None:
    again = message(("content", "rendered anew"), ("conversation.status", "x"))

    assert message().key == again.key == "1:message_created:9001"
    assert message(("id", 9002)).key != message().key
    assert message(("account.id", 2)).key != message().key


def test_the_last_of_two_equal_keys_counts() -> None:
    body = encoded(MESSAGE)[:-1] + b',"content":"the second","private":true}'

    event = events.parse(body)

    assert isinstance(event, MessageEvent)
    assert event.message.text == "the second"
    assert event.message.private


# Bodies that are refused


def nested(depth: int) -> bytes:
    return b'{"event":"x","a":' + b"[" * depth + b"]" * depth + b"}"


NOT_JSON = {
    "nothing": b"",
    "white space": b" \n",
    "text": b"hello",
    "half an object": b'{"event":"message_created"',
    "two objects": b'{"event":"x"}{"event":"y"}',
    "single quotes": b"{'event':'x'}",
    "a trailing comma": b'{"event":"x",}',
    "a comment": b'{"event":"x"}// y',
    "a form": b"event=message_created&id=1",
    "a control character": b'{"event":"a\nb"}',
    "a NUL": b'{"event":"x"}\0',
    "latin-1": b'{"event":"x","content":"Gr\xfc\xdfe"}',
    "utf-16": '{"event":"x"}'.encode("utf-16"),
    "utf-32": '{"event":"x"}'.encode("utf-32-le"),
    "an encoded surrogate": b'{"event":"\xed\xa0\x80"}',
    "an overlong slash": b'{"event":"\xc0\xaf"}',
    "a byte order mark": b'\xef\xbb\xbf{"event":"x"}',
    "NaN": b'{"event":"x","a":NaN}',
    "Infinity": b'{"event":"x","a":Infinity}',
    "-Infinity": b'{"event":"x","a":[-Infinity]}',
    "NaN alone": b"NaN",
    "5000 digits": b'{"event":"x","id":' + b"9" * 5000 + b"}",
    "minus 5000 digits": b'{"event":"x","a":[-' + b"9" * 5000 + b"]}",
    "leading zeros": b'{"event":"x","id":007}',
    "a hexadecimal number": b'{"event":"x","id":0x10}',
    "100 000 brackets": b"[" * 100_000,
    "100 000 keys that open": b'{"a":' * 100_000,
}

TOO_DEEP = {
    "10 000 lists": nested(10_000),
    "100 000 lists": nested(100_000),
    "10 000 objects": b'{"event":"x","a":' * 10_000 + b"1" + b"}" * 10_000,
}

NOT_AN_OBJECT = [b"[]", b'["event"]', b'"event"', b"null", b"true", b"1"]


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError, match="is not JSON"):
        events.parse(body)


@pytest.mark.parametrize("body", TOO_DEEP.values(), ids=TOO_DEEP)
def test_what_is_nested_too_deep_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        events.parse(body)


@pytest.mark.parametrize("body", NOT_AN_OBJECT)
def test_what_is_not_an_object_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError, match="not a JSON object"):
        events.parse(body)


IDS: t.Final[t.Sequence[Path]] = ["id", "account.id", "conversation.id"]
NOT_IDS: t.Final[list[t.Any]] = [
    *(ABSENT, None, True, False, 0, -1, 1.0, 1.5, 2**63, 10**30, "1", "", [1]),
    {"id": 1},
]
MISSING: t.Final[t.Mapping[str, tuple[t.Sequence[Path], t.Sequence[t.Any]]]] = {
    "names no event": (["event"], [ABSENT, None, 1, True, [], {}, ["message_created"]]),
    r"no usable (\w+\.)?id": (IDS, NOT_IDS),
    r"(account|conversation)\.id": (
        ["account", "conversation"],
        [ABSENT, None, 1, "1", True, [], [{"id": 1}]],
    ),
    "no message_type": (["message_type"], [ABSENT]),
    "content is not text": (["content"], [1, True, 1.5, [], ["x"], {}, {"text": "x"}]),
}


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        pytest.param(path, value, error, id=f"{path}-{value!r}")
        for error, (paths, values) in MISSING.items()
        for path in paths
        for value in values
    ],
)
def test_a_message_without_what_is_needed_is_refused(
    path: Path, value: t.Any, error: str
) -> None:
    with pytest.raises(PayloadError, match=error):
        events.parse(encoded(changed((path, value))))


@pytest.mark.parametrize("path", IDS)
def test_an_id_too_large_for_a_float_is_refused(path: Path) -> None:
    body = encoded(changed((path, 77777))).replace(b"77777", b"1e999")

    with pytest.raises(PayloadError):
        events.parse(body)


@pytest.mark.parametrize("path", IDS)
def test_an_id_may_be_as_large_as_the_database_allows(path: Path) -> None:
    event = message((path, 2**63 - 1))

    assert 2**63 - 1 in (event.account_id, event.conversation_id, event.message_id)


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"message_created","content":"my card is 4111"}',
        b'{"content":"my card is 4111"}',
        b'{"content":"my card is 4111"',
        b'["my card is 4111"]',
        b'"my card is 4111\xff"',
        encoded(changed(("content", ["my card is 4111"]))),
        encoded(changed(("id", "my card is 4111"))),
        encoded(changed(("message_type", ABSENT), ("sender", "4111"))),
    ],
)
def test_a_refusal_quotes_nothing(body: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        events.parse(body)

    assert "4111" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("depth", [10, 100, 500, 900, 1000, 2000, 5000])
def test_depth_alone_never_raises_anything_else(depth: int) -> None:
    try:
        event = events.parse(nested(depth))
    except PayloadError:
        return

    assert event.name == "x"


# Values of a foreign type


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(name, name) for name in ("incoming", "outgoing", "activity", "template")],
        *[(0, "incoming"), (1, "outgoing"), (2, "activity"), (3, "template")],
        *[(value, "unknown") for value in (4, -1, 2**70, "Incoming", "0", "", "input")],
        *[
            (value, "unknown")
            for value in (None, True, False, 0.0, 1.5, [], ["incoming"])
        ],
        *[(value, "unknown") for value in ({}, {"incoming": 1})],
    ],
    ids=repr,
)
def test_the_type_is_known_or_unknown(value: t.Any, expected: str) -> None:
    assert message(("message_type", value)).message.type == expected


@pytest.mark.parametrize(
    ("value", "private"),
    [
        *[(value, False) for value in (ABSENT, None, False)],
        *[(value, True) for value in (True, 1, "false", "", "true", "0")],
        ([], True),
        ({}, True),
    ],
    ids=repr,
)
def test_a_message_is_public_only_when_it_says_so(value: t.Any, private: bool) -> None:
    assert message(("private", value)).message.private is private


@pytest.mark.parametrize(
    ("inbox", "of_conversation", "expected"),
    [
        ({"id": 3}, 4, 3),
        ({"id": None}, 4, 4),
        (None, 4, 4),
        ([3], 4, 4),
        ({"id": True}, 4, 4),
        ({"id": "3"}, 4, 4),
        ({}, None, None),
        ({}, "4", None),
        ({}, -4, None),
    ],
)
def test_the_inbox_is_where_the_payload_says(
    inbox: t.Any, of_conversation: t.Any, expected: int | None
) -> None:
    event = message(("inbox", inbox), ("conversation.inbox_id", of_conversation))

    assert event.conversation.inbox_id == expected


# What needs no answer


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([], None),
        ([("message_type", 0)], None),
        ([("account.id", 2)], Reason.OTHER_ACCOUNT),
        ([("private", True)], Reason.PRIVATE),
        ([("private", "no")], Reason.PRIVATE),
        ([("message_type", "outgoing")], Reason.OUTGOING),
        ([("message_type", 1)], Reason.OUTGOING),
        ([("message_type", "template")], Reason.TEMPLATE),
        ([("message_type", "activity")], Reason.ACTIVITY),
        ([("message_type", "carrier pigeon")], Reason.UNKNOWN_TYPE),
        ([("message_type", None)], Reason.UNKNOWN_TYPE),
        ([("content", None)], Reason.EMPTY),
        ([("content", ABSENT)], Reason.EMPTY),
        ([("content", "")], Reason.EMPTY),
        ([("content", " \n\t\u00a0 ")], Reason.EMPTY),
        ([("content_attributes", {"email": {"auto_reply": True}})], Reason.AUTO_REPLY),
        ([("content_attributes", {"email": {"auto_reply": False}})], None),
        ([("content_attributes", {"email": {"auto_reply": "no"}})], None),
        ([("sender.blocked", True)], Reason.BLOCKED),
        ([("sender.blocked", False)], None),
        ([("sender.blocked", None)], None),
        ([("conversation.meta.sender.blocked", True)], Reason.BLOCKED),
        ([("account.id", 2), ("private", True)], Reason.OTHER_ACCOUNT),
        ([("private", True), ("message_type", "outgoing")], Reason.PRIVATE),
        ([("message_type", "outgoing"), ("content", "")], Reason.OUTGOING),
    ],
)
def test_what_needs_no_answer_has_a_reason(
    changes: list[tuple[Path, t.Any]], reason: Reason | None
) -> None:
    assert message(*changes).reason_to_ignore(1) is reason


# Content as the customer typed it


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hello\n", "Hello"),
        ("Hello\r\n\r\n", "Hello"),
        ("\n Hello ", "\n Hello "),
        ("a\n\nb\n", "a\n\nb"),
        ("1 < 2 > 0", "1 < 2 > 0"),
        ("<b>bold</b>", "<b>bold</b>"),
        ("<p>never closed", "<p>never closed"),
        ("see <p>this</p>", "see <p>this</p>"),
        ("<pony>neigh</pony>", "<pony>neigh</pony>"),
        ("**bold** `code` 🙂", "**bold** `code` 🙂"),
        ("\u202eright to left\u200b", "\u202eright to left\u200b"),
        ("half \ud83d emoji", "half \ud83d emoji"),
        ("NUL \0 inside", "NUL \0 inside"),
    ],
)
def test_text_is_kept_but_for_line_breaks_at_its_end(content: str, text: str) -> None:
    event = message(("content", content))

    assert event.message.text == text
    assert not event.message.rendered


RENDERED = "<p>Where is <em>my</em> order?</p>\n"
STORED = "Where is *my* order?"


@pytest.mark.parametrize(
    "content",
    [
        RENDERED,
        "<ul>\n<li>a</li>\n</ul>\n",
        "<ol>\n<li>a</li>\n</ol>",
        "<h1>a</h1>",
        "<h6>a</h6>\n",
        "<blockquote>\n<p>a</p>\n</blockquote>\n",
        '<pre lang="ruby"><code>a</code></pre>',
        "<table>\n<tr></tr></table>",
        "<hr />\n",
        "  <p>a</p>\n  ",
    ],
)
def test_what_looks_rendered_is_marked_and_kept(content: str) -> None:
    event = message(("content", content))

    assert event.message.rendered
    assert event.message.text == content.rstrip("\n")


def test_the_stored_text_is_taken_from_the_newest_message_if_it_is_this_one() -> None:
    newest = {"id": 9001, "content": STORED + "\n"}

    event = message(("content", RENDERED), ("conversation.messages", [newest]))

    assert event.message.text == STORED
    assert not event.message.rendered


@pytest.mark.parametrize(
    "messages",
    [
        *([], None, {}, "x", [None], ["x"], [[]], [{}]),
        *([{"content": STORED}], [{"id": None, "content": STORED}]),
        *([{"id": 9000, "content": STORED}], [{"id": "9001", "content": STORED}]),
        *([{"id": 9001}], [{"id": 9001, "content": None}]),
        *([{"id": 9001, "content": 1}], [{"id": 9001, "content": [STORED]}]),
        [{"id": 9000, "content": "older"}, {"id": 9001, "content": STORED}],
    ],
)
def test_the_text_of_another_message_is_not_taken(messages: t.Any) -> None:
    event = message(("content", RENDERED), ("conversation.messages", messages))

    assert event.message.text == RENDERED.rstrip("\n")
    assert event.message.rendered


def test_the_newest_message_never_replaces_what_was_not_rendered() -> None:
    newest = {"id": 9001, "content": "something else"}

    event = message(("conversation.messages", [newest]))

    assert event.message.text == "Where is my order?"


NO_PARTS: t.Final[t.Sequence[t.Any]] = (None, [], {}, 1, True, ["A"])


@pytest.mark.parametrize(
    ("mail", "text"),
    [
        ({"text_content": {"quoted": "Yes.\n"}}, "Yes."),
        ({"html_content": {"quoted": "Yes."}}, "Yes."),
        ({"text_content": {"quoted": "A"}, "html_content": {"quoted": "B"}}, "A"),
        ({"text_content": {"quoted": " "}, "html_content": {"quoted": "B"}}, "B"),
        ({"text_content": {"quoted": None}, "html_content": {"quoted": "B"}}, "B"),
        ({"text_content": {"reply": "A", "full": "A > B"}}, None),
        *[({"text_content": part, "html_content": part}, None) for part in NO_PARTS],
        *[({"text_content": {"quoted": part}}, None) for part in ("", *NO_PARTS)],
        *[(part, None) for part in ("mail", *NO_PARTS)],
    ],
)
def test_an_e_mail_is_read_without_the_history_it_quotes(
    mail: t.Any, text: str | None
) -> None:
    event = message(
        ("content", "Yes.\n\n> Really?\n"), ("content_attributes.email", mail)
    )

    assert event.message.text == (text or "Yes.\n\n> Really?")


@pytest.mark.parametrize("attributes", [None, [], "email", 1, ["email"]], ids=repr)
def test_content_attributes_of_a_foreign_type_are_passed_over(
    attributes: t.Any,
) -> None:
    event = message(("content_attributes", attributes))

    assert event.message.text == "Where is my order?"
    assert event.message.marker is None


def test_an_e_mail_that_was_rendered_too_is_read_from_its_trimmed_part() -> None:
    event = message(
        ("content", "<p>Yes.</p>\n<blockquote>Really?</blockquote>\n"),
        ("content_attributes.email", {"text_content": {"quoted": "Yes."}}),
        ("conversation.messages", [{"id": 9001, "content": "Yes.\n> Really?"}]),
    )

    assert event.message.text == "Yes."
    assert not event.message.rendered


# Answers given by buttons and forms


QUESTION: t.Final = (
    ("event", "message_updated"),
    ("message_type", "outgoing"),
    ("content", "Which one?"),
    ("content_type", "input_select"),
    ("sender", {"id": 4, "name": "Bot", "type": "agent_bot"}),
)
SUBMITTED: t.Final = "content_attributes.submitted_values"


def updated(
    values: t.Any, *changes: tuple[Path, t.Any]
) -> OtherEvent | MessageEvent | ConversationEvent:
    changes = (*QUESTION, (SUBMITTED, values), *changes)

    return events.parse(encoded(changed(*changes)))


def answered(values: t.Any, *changes: tuple[Path, t.Any]) -> MessageEvent:
    event = updated(values, *changes)
    assert isinstance(event, MessageEvent)

    return event


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([{"title": "Invoice", "value": "inv"}], "Invoice"),
        ([{"value": "inv"}], "inv"),
        ([{"title": "A", "value": "a"}, {"title": "B", "value": "b"}], "A\nB"),
        ([{"name": "Name", "value": "Ada"}], "Name: Ada"),
        ([{"name": "Name", "value": "Ada"}, {"name": "x"}], "Name: Ada"),
        ([{"name": "a", "value": "1"}, {"name": "b", "value": "2"}], "a: 1\nb: 2"),
        ([{"title": "{{x}} <b>\u2028 Привет"}], "{{x}} <b>\u2028 Привет"),
    ],
)
def test_what_a_customer_picks_or_fills_in_is_a_message(
    values: t.Any, text: str
) -> None:
    event = answered(values)

    assert (event.message.text, event.message.type, event.name) == (
        text,
        "incoming",
        "message_updated",
    )
    assert (event.message_id, event.conversation_id, event.conversation.inbox_id) == (
        9001,
        42,
        3,
    )
    assert event.reason_to_ignore(1) is None
    assert event.raw["content"] == "Which one?"


def test_another_answer_to_the_same_question_is_another_message() -> None:
    first, second = answered([{"title": "A"}]), answered([{"title": "B"}])

    assert first.key == answered([{"title": "A"}], ("sender.name", "Eva")).key
    assert first.key != second.key
    assert first.key.startswith("1:message_updated:9001:")


NOT_SUBMITTED: t.Final[dict[str, t.Any]] = {
    "nothing": None,
    "an empty list": [],
    "text": "Invoice",
    "a number": 5,
    "true": True,
    "an object": {"title": "Invoice", "value": "inv"},
    "a rating": {"csat_survey_response": {"rating": 5, "feedback_message": "Good"}},
    "an e-mail address": {"email": "ada@example.com"},
    "texts": ["Invoice"],
    "numbers": [1, 2.5, True, None],
    "a list of lists": [[{"title": "Invoice"}]],
    "empty objects": [{}, {}],
    "titles of other types": [{"title": 1}, {"title": ["x"]}, {"title": {"a": "b"}}],
    "values of other types": [{"name": "n", "value": 5}, {"name": "n", "value": ["x"]}],
    "empty texts": [{"title": "", "value": ""}, {"name": "a", "value": ""}],
    "a list behind a key": {"values": [{"title": "Invoice"}]},
}


@pytest.mark.parametrize("values", NOT_SUBMITTED.values(), ids=NOT_SUBMITTED)
def test_what_is_no_answer_of_a_customer_is_just_an_event(values: t.Any) -> None:
    assert type(updated(values)) is OtherEvent


@pytest.mark.parametrize(
    "change",
    [
        ("message_type", "incoming"),
        ("message_type", "template"),
        ("message_type", 7),
        ("message_type", ABSENT),
        ("id", "9001"),
        ("id", ABSENT),
        ("account", None),
        ("conversation", []),
        ("conversation.id", 0),
        ("content_attributes", "x"),
        ("content_attributes", [[]]),
        ("content_attributes", ABSENT),
    ],
    ids=repr,
)
def test_a_change_that_cannot_be_an_answer_is_just_an_event(
    change: tuple[Path, t.Any],
) -> None:
    assert type(updated([{"title": "Invoice"}], change)) is OtherEvent


def test_an_answer_to_a_note_is_ignored() -> None:
    event = answered([{"title": "Invoice"}], ("private", True))

    assert event.reason_to_ignore(1) is Reason.PRIVATE


def test_thousands_of_answers_are_read() -> None:
    values = [{"name": f"field {n}", "value": "x" * 20} for n in range(5000)]

    event = answered(values)

    assert event.message.text.count("\n") == 4999
    assert len(event.key) < 60


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb"])
def test_half_a_character_in_an_answer_breaks_nothing(text: str) -> None:
    event = answered([{"title": text}])

    assert event.message.text == text
    assert event.key.encode()


@pytest.mark.parametrize("content", [None, 5, ["x"], {"a": 1}, ABSENT], ids=repr)
def test_an_answer_does_not_depend_on_the_text_of_the_question(content: t.Any) -> None:
    assert (
        answered([{"title": "Invoice"}], ("content", content)).message.text == "Invoice"
    )


def test_an_answer_that_looks_like_html_is_not_taken_for_the_question() -> None:
    asked = {"id": 9001, "content": "Which one?"}

    event = answered([{"title": "<p>Invoice</p>"}], ("conversation.messages", [asked]))

    assert event.message.text == "<p>Invoice</p>"


# Conversations


CONVERSATION: t.Final[dict[str, t.Any]] = {
    "event": "conversation_updated",
    "id": 42,
    "status": "open",
    "account": {"id": 1, "name": "Acme"},
    "custom_attributes": {"support_mode": "bot"},
    "changed_attributes": [
        {
            "custom_attributes": {
                "previous_value": {"support_mode": "human", "topic": "x"},
                "current_value": {"support_mode": "bot", "topic": "x"},
            }
        }
    ],
    "meta": {"sender": CONTACT},
}


def conversation(**values: t.Any) -> ConversationEvent:
    event = events.parse(encoded({**CONVERSATION, **values}))
    assert isinstance(event, ConversationEvent)

    return event


@pytest.mark.parametrize("name", events.CONVERSATION_EVENTS)
def test_a_conversation_is_read(name: str) -> None:
    event = conversation(event=name)

    assert event == ConversationEvent(
        name=name,
        account_id=1,
        conversation=Conversation(
            id=42,
            account_id=1,
            status="open",
            custom_attributes={"support_mode": "bot"},
            contacts=(ADA,),
        ),
        changes=(
            (
                "custom_attributes",
                {"support_mode": "human", "topic": "x"},
                {"support_mode": "bot", "topic": "x"},
            ),
        ),
        raw={**CONVERSATION, "event": name},
    )
    assert event.conversation_id == 42
    assert event.change_of("support_mode") == ("human", "bot")
    assert event.change_of("topic") is None
    assert "Ada" not in repr(event)


@pytest.mark.parametrize(
    "name",
    ["conversation_created", "conversation_typing_on", "Conversation_updated", "x"],
)
def test_other_events_of_a_conversation_are_just_events(name: str) -> None:
    assert type(events.parse(encoded({**CONVERSATION, "event": name}))) is OtherEvent


@pytest.mark.parametrize(
    "value", [value for value in NOT_IDS if value is not ABSENT], ids=repr
)
def test_a_conversation_without_a_usable_id_is_just_an_event(value: t.Any) -> None:
    assert type(events.parse(encoded({**CONVERSATION, "id": value}))) is OtherEvent


@pytest.mark.parametrize(
    "value",
    [None, 1, [], "1", {}, {"id": None}, {"id": "1"}, {"id": True}, {"id": -1}],
    ids=repr,
)
def test_a_conversation_need_not_say_its_account(value: t.Any) -> None:
    assert conversation(account=value).account_id is None


@pytest.mark.parametrize("value", [None, 0, 1, True, [], ["open"], {}], ids=repr)
def test_a_status_that_is_no_text_is_none(value: t.Any) -> None:
    assert conversation(status=value).conversation.status is None


NO_CHANGE: t.Final[dict[str, t.Any]] = {
    "nothing": None,
    "text": "custom_attributes",
    "a number": 1,
    "an object": {"custom_attributes": {"previous_value": {}, "current_value": {}}},
    "an empty list": [],
    "texts": ["custom_attributes"],
    "nulls": [None, None],
    "lists": [["custom_attributes"]],
    "another attribute": [{"status": {"previous_value": 0, "current_value": 1}}],
    "no values": [{"custom_attributes": {}}],
    "values of other types": [{"custom_attributes": ["human", "bot"]}],
    "texts as values": [
        {"custom_attributes": {"previous_value": "a", "current_value": "b"}}
    ],
    "the same": [
        {
            "custom_attributes": {
                "previous_value": {"support_mode": "bot"},
                "current_value": {"support_mode": "bot"},
            }
        }
    ],
}


@pytest.mark.parametrize("value", NO_CHANGE.values(), ids=NO_CHANGE)
def test_a_delivery_that_shows_no_change_gives_none(value: t.Any) -> None:
    assert conversation(changed_attributes=value).change_of("support_mode") is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"support_mode": "human"}, {}, ("human", None)),
        ({}, {"support_mode": "bot"}, (None, "bot")),
        (None, {"support_mode": "bot"}, (None, "bot")),
        ("x", {"support_mode": ["bot"]}, (None, ["bot"])),
        ({"support_mode": 1}, {"support_mode": {"a": 1}}, (1, {"a": 1})),
    ],
)
def test_an_attribute_that_came_or_went_has_changed(
    before: t.Any, after: t.Any, expected: tuple[t.Any, t.Any]
) -> None:
    change = {"previous_value": before, "current_value": after}
    event = conversation(
        changed_attributes=[None, {"status": 1}, {"custom_attributes": change}]
    )

    assert event.change_of("support_mode") == expected


# Any JSON whatsoever


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
    | st.sampled_from(
        ["incoming", "message_created", "bot", "contact", "<p>x</p>", 9001]
    )
)
JSON = st.recursive(
    SCALARS,
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(st.text(max_size=6), children, max_size=4)
    ),
    max_leaves=12,
)


def paths_of(value: t.Any, path: Path = "") -> t.Iterator[Path]:
    for key, child in value.items() if isinstance(value, dict) else ():
        yield f"{path}{key}"
        yield from paths_of(child, f"{path}{key}.")


PATHS = [
    *paths_of(MESSAGE),
    *("contact", "attachments", "changed_attributes", "status", "updated_at"),
    *("messages", "meta", "meta.assignee", "content_attributes.submitted_values"),
    *("content_attributes.external_echo", "content_attributes.email"),
    *("content_attributes.email.text_content", "sender.type"),
    "conversation.custom_attributes.support_mode",
]
NAMES = ["message_created", "message_updated", *events.CONVERSATION_EVENTS]


@st.composite
def broken_messages(draw: st.DrawFn) -> dict[str, t.Any]:
    payload = copy.deepcopy(MESSAGE)
    payload["event"] = draw(st.sampled_from(NAMES))
    payload["message_type"] = draw(st.sampled_from(["incoming", "outgoing"]))

    for path in draw(st.lists(st.sampled_from(PATHS), max_size=4)):
        holder: t.Any = payload

        *parts, key = path.split(".")

        for part in parts:
            holder = holder.get(part) if isinstance(holder, dict) else None

        if isinstance(holder, dict):
            holder[key] = draw(JSON)

    return payload


MODE: t.Final = ModeAttribute("support_mode", vocabulary(), Mode.HUMAN)


def read_all(body: bytes) -> None:
    """Whatever the package asks of a delivery, the parser first."""
    try:
        event = events.parse(body)
    except PayloadError:
        return

    if isinstance(event, ConversationEvent):
        read_conversation(event.conversation)
        change = event.change_of("support_mode")
        assert change is None or change[0] != change[1]
        assert "Ada" not in repr(event)
        return

    if not isinstance(event, MessageEvent):
        assert isinstance(event.name, str)
        return

    event.reason_to_ignore(1)
    read_conversation(event.conversation)
    assert 0 < event.account_id < 2**63
    assert event.key.startswith(f"{event.account_id}:{event.name}:{event.message_id}")
    assert "Ada" not in repr(event)
    assert event.message.marker is None or isinstance(event.message.marker, str)
    check_seconds(event.message.created_at)


def read_conversation(conversation: Conversation) -> None:
    assert 0 < conversation.id < 2**63
    assert conversation.account_id is None or 0 < conversation.account_id < 2**63
    assert conversation.status is None or isinstance(conversation.status, str)
    assert 0 <= conversation.newest_message_id < 2**63
    assert "Ada" not in repr(conversation)
    assert conversation.language is None or isinstance(conversation.language, str)
    assert "Ada" not in repr(conversation.contact)
    assert MODE.resolve(conversation) in Mode
    check_seconds(conversation.updated_at)


def check_seconds(seconds: float | None) -> None:
    assert seconds is None or -1e12 < seconds < 1e12


@settings(deadline=None)
@given(JSON)
def test_any_json_is_an_event_or_is_refused(value: t.Any) -> None:
    read_all(encoded(value))


@settings(deadline=None)
@given(broken_messages())
def test_any_broken_message_is_an_event_or_is_refused(value: dict[str, t.Any]) -> None:
    read_all(encoded(value))


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_an_event_or_are_refused(body: bytes) -> None:
    read_all(body)


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=8), st.integers(0, len(encoded(MESSAGE))))
def test_any_damage_to_a_message_is_an_event_or_is_refused(
    noise: bytes, place: int
) -> None:
    body = encoded(MESSAGE)

    read_all(body[:place] + noise + body[place + len(noise) :])
