from __future__ import annotations

import copy
import json
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.payload_samples import ADA, BOT, CONVERSATION, HUMAN, MESSAGE

from flask_chatwoot.errors import PayloadError
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership.mode import Mode, ModeAttribute, vocabulary
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation, Speaker
from flask_chatwoot.payloads.events import ConversationEvent, MessageEvent, OtherEvent

Path = str
"""Keys, joined by full stops."""

Change = tuple[Path, t.Any]


class Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT: t.Final = Absent()


def changed(*changes: Change) -> dict[str, t.Any]:
    """A message with some of its values replaced or removed."""
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


def event_of(*changes: Change) -> t.Any:
    return events.parse(encoded(changed(*changes)))


def event_with(*changes: Change) -> MessageEvent:
    event = event_of(*changes)
    assert isinstance(event, MessageEvent)

    return event


def message_with(*changes: Change) -> ChatwootMessage:
    return event_with(*changes).message


# A message


def test_a_message_is_read() -> None:
    assert event_with() == MessageEvent(
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


def test_an_event_is_frozen_and_its_repr_shows_no_customer_data() -> None:
    event = event_with()

    with pytest.raises(AttributeError):
        event.account_id = 2  # type: ignore[misc]

    assert "order" not in repr(event)
    assert "Ada" not in repr(event)
    assert "9001" in repr(event)


def test_unknown_keys_and_events_are_kept() -> None:
    body = {"event": "message_read", "id": "what", "new": [1]}

    event = events.parse(encoded(body))

    assert type(event) is OtherEvent
    assert (event.name, event.raw) == ("message_read", body)
    assert event_with(("brand_new", {"a": 1})).raw["brand_new"] == {"a": 1}


@pytest.mark.parametrize(
    "name", ["", "Message_Created", "message_created ", "\ud800"], ids=repr
)
def test_only_the_exact_name_makes_a_message_event(name: str) -> None:
    assert type(event_of(("event", name))) is OtherEvent


def test_the_key_is_the_same_for_every_delivery_of_a_message() -> None:
    again = event_with(("content", "rendered anew"), ("conversation.status", "x"))

    assert event_with().key == again.key == "1:message_created:9001"
    assert event_with(("id", 9002)).key != event_with().key
    assert event_with(("account.id", 2)).key != event_with().key


def test_the_last_of_two_equal_keys_counts() -> None:
    body = encoded(MESSAGE)[:-1] + b',"content":"the second","private":true}'

    event = events.parse(body)

    assert isinstance(event, MessageEvent)
    assert event.message.text == "the second"
    assert event.message.private


# Bodies that are refused


def nested(depth: int) -> bytes:
    return b'{"event":"x","a":' + b"[" * depth + b"]" * depth + b"}"


NOT_JSON = [
    *(b"", b" \n", b"hello", b'{"event":"message_created"', b'{"event":"x"}// y'),
    *(b'{"event":"x"}{"event":"y"}', b"{'event':'x'}", b'{"event":"x",}', b"NaN"),
    *(b"event=message_created&id=1", b'{"event":"a\nb"}', b'{"event":"x"}\0'),
    *(b'{"event":"x","content":"Gr\xfc\xdfe"}', '{"event":"x"}'.encode("utf-16")),
    *('{"event":"x"}'.encode("utf-32-le"), b'\xef\xbb\xbf{"event":"x"}'),
    *(b'{"event":"\xed\xa0\x80"}', b'{"event":"\xc0\xaf"}'),  # surrogate, overlong
    *(b'{"event":"x","a":NaN}', b'{"event":"x","a":Infinity}'),
    *(b'{"event":"x","a":[-Infinity]}', b'{"event":"x","id":007}'),
    *(b'{"event":"x","id":' + b"9" * 5000 + b"}", b'{"event":"x","id":0x10}'),
    *(b'{"event":"x","a":[-' + b"9" * 5000 + b"]}", b"[" * 100_000, b'{"a":' * 100_000),
]
OBJECTS = b'{"event":"x","a":' * 10_000 + b"1" + b"}" * 10_000
TOO_DEEP = (nested(10_000), nested(100_000), OBJECTS)
NOT_OBJECTS = (b"[]", b'["event"]', b'"event"', b"null", b"true", b"1")


@pytest.mark.parametrize(
    ("body", "error"),
    [
        *[(body, "is not JSON") for body in NOT_JSON],
        *[(body, "The body") for body in TOO_DEEP],  # the parser or the limit
        *[(body, "not a JSON object") for body in NOT_OBJECTS],
    ],
    ids=lambda value: f"{ascii(value)[:40]} ({len(value)})",
)
def test_only_a_shallow_json_object_is_accepted(body: bytes, error: str) -> None:
    with pytest.raises(PayloadError, match=error):
        events.parse(body)


IDS: t.Final = ["id", "account.id", "conversation.id"]
NOT_IDS: t.Final[list[t.Any]] = [
    *(ABSENT, None, True, False, 0, -1, 1.0, 1.5, 2**63, 10**30, "1", "", [1]),
    {"id": 1},
]
NOT_OWNERS: t.Final = [ABSENT, None, 1, "1", True, [], [{"id": 1}]]
NOT_TEXT: t.Final = [1, True, 1.5, [], ["x"], {}, {"text": "x"}]
MISSING: t.Final[t.Mapping[str, tuple[t.Sequence[Path], t.Sequence[t.Any]]]] = {
    "names no event": (["event"], [ABSENT, None, 1, True, [], {}, ["message_created"]]),
    r"no usable (\w+\.)?id": (IDS, NOT_IDS),
    r"(account|conversation)\.id": (["account", "conversation"], NOT_OWNERS),
    "no message_type": (["message_type"], [ABSENT]),
    "content is not text": (["content"], NOT_TEXT),
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
def test_a_required_value_is_needed(path: Path, value: t.Any, error: str) -> None:
    with pytest.raises(PayloadError, match=error):
        event_of((path, value))


@pytest.mark.parametrize("path", IDS)
def test_an_id_is_limited_to_63_bits(path: Path) -> None:
    event = event_with((path, 2**63 - 1))
    too_large = encoded(changed((path, 77777))).replace(b"77777", b"1e999")

    assert 2**63 - 1 in (event.account_id, event.conversation_id, event.message_id)
    with pytest.raises(PayloadError):
        events.parse(too_large)


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
def test_an_error_does_not_quote_the_body(body: bytes) -> None:
    with pytest.raises(PayloadError) as caught:
        events.parse(body)

    assert "4111" not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("depth", [10, 100, 500, 900, 1000, 2000, 5000])
def test_a_deep_body_raises_nothing_but_a_payload_error(depth: int) -> None:
    try:
        event = events.parse(nested(depth))
    except PayloadError:
        return

    assert event.name == "x"


# Values of an unexpected type


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(name, name) for name in ("incoming", "outgoing", "activity", "template")],
        *[(0, "incoming"), (1, "outgoing"), (2, "activity"), (3, "template")],
        *[(value, "unknown") for value in (4, -1, 2**70, "Incoming", "0", "", "input")],
        *[(value, "unknown") for value in (None, True, False, 0.0, 1.5)],
        *[([], "unknown"), (["incoming"], "unknown")],
        *[({}, "unknown"), ({"incoming": 1}, "unknown")],
    ],
    ids=repr,
)
def test_the_type_is_known_or_unknown(value: t.Any, expected: str) -> None:
    assert message_with(("message_type", value)).type == expected


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
def test_only_false_and_null_make_a_message_public(value: t.Any, private: bool) -> None:
    assert message_with(("private", value)).private is private


@pytest.mark.parametrize(
    ("inbox", "of_conversation", "expected"),
    [
        ({"id": 3}, 4, 3),
        *[(inbox, 4, 4) for inbox in ({"id": None}, None, [3], {"id": True})],
        ({"id": "3"}, 4, 4),
        *[({}, value, None) for value in (None, "4", -4)],
    ],
)
def test_the_inbox_is_that_of_the_message_or_the_conversation(
    inbox: t.Any, of_conversation: t.Any, expected: int | None
) -> None:
    event = event_with(("inbox", inbox), ("conversation.inbox_id", of_conversation))

    assert event.conversation.inbox_id == expected


# Messages that need no answer


def auto_reply(value: t.Any) -> Change:
    return ("content_attributes", {"email": {"auto_reply": value}})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([], None),
        ([("message_type", 0)], None),
        ([("account.id", 2)], Reason.OTHER_ACCOUNT),
        *[([("private", value)], Reason.PRIVATE) for value in (True, "no")],
        *[([("message_type", value)], Reason.OUTGOING) for value in ("outgoing", 1)],
        ([("message_type", "template")], Reason.TEMPLATE),
        ([("message_type", "activity")], Reason.ACTIVITY),
        *[([("message_type", value)], Reason.UNKNOWN_TYPE) for value in ("fax", None)],
        *[([("content", value)], Reason.EMPTY) for value in (None, ABSENT, "")],
        ([("content", " \n\t\u00a0 ")], Reason.EMPTY),
        ([auto_reply(True)], Reason.AUTO_REPLY),
        *[([auto_reply(value)], None) for value in (False, "no")],
        ([("sender.blocked", True)], Reason.BLOCKED),
        *[([("sender.blocked", value)], None) for value in (False, None)],
        ([("conversation.meta.sender.blocked", True)], Reason.BLOCKED),
        ([("account.id", 2), ("private", True)], Reason.OTHER_ACCOUNT),
        ([("private", True), ("message_type", "outgoing")], Reason.PRIVATE),
        ([("message_type", "outgoing"), ("content", "")], Reason.OUTGOING),
    ],
)
def test_a_message_that_needs_no_answer_has_a_reason(
    changes: list[Change], reason: Reason | None
) -> None:
    assert event_with(*changes).reason_to_ignore(1) is reason


# The text as the customer typed it

RENDERED = "<p>Where is <em>my</em> order?</p>\n"
STORED = "Where is *my* order?"
QUOTE = "<blockquote>\n<p>a</p>\n</blockquote>"
TABLE = "<table>\n<tr></tr></table>"


@pytest.mark.parametrize(
    ("content", "text", "rendered"),
    [
        ("Hello\n", "Hello", False),
        ("Hello\r\n\r\n", "Hello", False),
        ("\n Hello ", "\n Hello ", False),
        ("a\n\nb\n", "a\n\nb", False),
        *[(text, text, False) for text in ("1 < 2 > 0", "<b>bold</b>")],
        *[(text, text, False) for text in ("<p>never closed", "see <p>this</p>")],
        *[(text, text, False) for text in ("<pony>neigh</pony>", "NUL \0 inside")],
        *[(text, text, False) for text in ("**bold** `code` 🙂", "half \ud83d emoji")],
        ("\u202eright to left\u200b", "\u202eright to left\u200b", False),
        (RENDERED, RENDERED.rstrip("\n"), True),
        ("<ul>\n<li>a</li>\n</ul>\n", "<ul>\n<li>a</li>\n</ul>", True),
        *[(text, text, True) for text in ("<ol>\n<li>a</li>\n</ol>", "<h1>a</h1>")],
        ("<h6>a</h6>\n", "<h6>a</h6>", True),
        (f"{QUOTE}\n", QUOTE, True),
        *[(x, x, True) for x in ('<pre lang="ruby"><code>a</code></pre>', TABLE)],
        ("  <p>a</p>\n  ", "  <p>a</p>\n  ", True),
        ("<hr />\n", "<hr />", True),
    ],
)
def test_final_line_breaks_are_removed(content: str, text: str, rendered: bool) -> None:
    message = message_with(("content", content))

    assert (message.text, message.rendered) == (text, rendered)


def test_the_stored_text_is_that_of_the_newest_message_with_the_same_id() -> None:
    newest = {"id": 9001, "content": STORED + "\n"}

    message = message_with(("content", RENDERED), ("conversation.messages", [newest]))

    assert (message.text, message.rendered) == (STORED, False)


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
def test_the_text_of_another_message_is_not_used(messages: t.Any) -> None:
    message = message_with(("content", RENDERED), ("conversation.messages", messages))

    assert (message.text, message.rendered) == (RENDERED.rstrip("\n"), True)


def test_a_text_that_was_not_rendered_is_kept() -> None:
    newest = {"id": 9001, "content": "something else"}

    message = message_with(("conversation.messages", [newest]))

    assert message.text == "Where is my order?"


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
def test_the_quoted_history_is_removed(mail: t.Any, text: str | None) -> None:
    content = "Yes.\n\n> Really?"
    message = message_with(
        ("content", f"{content}\n"), ("content_attributes.email", mail)
    )

    assert message.text == (text or content)


@pytest.mark.parametrize("attributes", [None, [], "email", 1, ["email"]], ids=repr)
def test_content_attributes_of_another_type_are_ignored(attributes: t.Any) -> None:
    message = message_with(("content_attributes", attributes))

    assert (message.text, message.marker) == ("Where is my order?", None)


def test_a_rendered_e_mail_is_read_from_its_trimmed_part() -> None:
    message = message_with(
        ("content", "<p>Yes.</p>\n<blockquote>Really?</blockquote>\n"),
        ("content_attributes.email", {"text_content": {"quoted": "Yes."}}),
        ("conversation.messages", [{"id": 9001, "content": "Yes.\n> Really?"}]),
    )

    assert (message.text, message.rendered) == ("Yes.", False)


# Answers given with buttons and forms


QUESTION: t.Final = (
    ("event", "message_updated"),
    ("message_type", "outgoing"),
    ("content", "Which one?"),
    ("content_type", "input_select"),
    ("sender", {"id": 4, "name": "Bot", "type": "agent_bot"}),
)
INVOICE: t.Final = [{"title": "Invoice"}]


def updated(values: t.Any, *changes: Change) -> t.Any:
    submitted = ("content_attributes.submitted_values", values)

    return event_of(*QUESTION, submitted, *changes)


def answered(values: t.Any, *changes: Change) -> MessageEvent:
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
        *[([{"title": text}], text) for text in ("\ud800", "a\udfffb")],
    ],
)
def test_the_answer_of_a_customer_is_a_message(values: t.Any, text: str) -> None:
    event = answered(values)

    assert (event.message.text, event.message.type) == (text, "incoming")
    assert (event.name, event.message_id) == ("message_updated", 9001)
    assert (event.conversation_id, event.conversation.inbox_id) == (42, 3)
    assert event.reason_to_ignore(1) is None
    assert event.raw["content"] == "Which one?"
    assert event.key.encode()


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
    "a list in an object": {"values": [{"title": "Invoice"}]},
}
NO_ANSWERS: t.Final[list[Change]] = [
    *[("message_type", value) for value in ("incoming", "template", 7, ABSENT)],
    *[("id", value) for value in ("9001", ABSENT)],
    *[("account", None), ("conversation", []), ("conversation.id", 0)],
    *[("content_attributes", "x"), ("content_attributes", [[]])],
    ("content_attributes", ABSENT),
]


@pytest.mark.parametrize(
    ("values", "changes"),
    [
        *[pytest.param(value, [], id=id) for id, value in NOT_SUBMITTED.items()],
        *[pytest.param(INVOICE, [x], id=repr(x)) for x in NO_ANSWERS],
    ],
)
def test_an_update_may_be_no_answer(values: t.Any, changes: list[Change]) -> None:
    assert type(updated(values, *changes)) is OtherEvent


def test_an_answer_to_a_note_is_ignored() -> None:
    assert answered(INVOICE, ("private", True)).reason_to_ignore(1) is Reason.PRIVATE


def test_thousands_of_answers_are_read() -> None:
    values = [{"name": f"field {n}", "value": "x" * 20} for n in range(5000)]

    event = answered(values)

    assert event.message.text.count("\n") == 4999
    assert len(event.key) < 60


@pytest.mark.parametrize("content", [None, 5, ["x"], {"a": 1}, ABSENT], ids=repr)
def test_the_text_of_the_question_does_not_change_the_answer(content: t.Any) -> None:
    assert answered(INVOICE, ("content", content)).message.text == "Invoice"


def test_an_answer_that_looks_rendered_is_not_replaced_by_the_question() -> None:
    asked = {"id": 9001, "content": "Which one?"}

    event = answered([{"title": "<p>Invoice</p>"}], ("conversation.messages", [asked]))

    assert event.message.text == "<p>Invoice</p>"


# Conversations


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
        changes=(("custom_attributes", HUMAN, BOT),),
        raw={**CONVERSATION, "event": name},
    )
    assert event.conversation_id == 42
    assert event.change_of("support_mode") == ("human", "bot")
    assert event.change_of("topic") is None
    assert "Ada" not in repr(event)


OTHERS = ("conversation_created", "conversation_typing_on", "Conversation_updated", "x")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("event", name) for name in OTHERS],
        *[("id", value) for value in NOT_IDS if value is not ABSENT],
    ],
    ids=repr,
)
def test_others_are_other_events(key: str, value: t.Any) -> None:
    assert type(events.parse(encoded({**CONVERSATION, key: value}))) is OtherEvent


@pytest.mark.parametrize(
    "value",
    [None, 1, [], "1", {}, {"id": None}, {"id": "1"}, {"id": True}, {"id": -1}],
    ids=repr,
)
def test_a_conversation_may_omit_its_account(value: t.Any) -> None:
    assert conversation(account=value).account_id is None


@pytest.mark.parametrize("value", [None, 0, 1, True, [], ["open"], {}], ids=repr)
def test_a_status_that_is_no_text_is_none(value: t.Any) -> None:
    assert conversation(status=value).conversation.status is None


def change(before: t.Any, after: t.Any) -> dict[str, t.Any]:
    return {"custom_attributes": {"previous_value": before, "current_value": after}}


def mode(value: t.Any) -> dict[str, t.Any]:
    return {"support_mode": value}


NO_CHANGE: t.Final[list[t.Any]] = [
    *(None, "custom_attributes", 1, change({}, {}), [], ["custom_attributes"]),
    *([None, None], [["custom_attributes"]], [{"custom_attributes": {}}]),
    *([{"status": {"previous_value": 0, "current_value": 1}}], [change("a", "b")]),
    *([{"custom_attributes": ["human", "bot"]}], [change(mode("bot"), mode("bot"))]),
]


@pytest.mark.parametrize("listed", NO_CHANGE, ids=repr)
def test_a_delivery_may_contain_no_change(listed: t.Any) -> None:
    assert conversation(changed_attributes=listed).change_of("support_mode") is None


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (mode("human"), {}, ("human", None)),
        ({}, mode("bot"), (None, "bot")),
        (None, mode("bot"), (None, "bot")),
        ("x", mode(["bot"]), (None, ["bot"])),
        (mode(1), mode({"a": 1}), (1, {"a": 1})),
    ],
)
def test_the_change_of_an_attribute_is_read(
    before: t.Any, after: t.Any, expected: tuple[t.Any, t.Any]
) -> None:
    listed = [None, {"status": 1}, change(before, after)]
    event = conversation(changed_attributes=listed)

    assert event.change_of("support_mode") == expected


# Any JSON whatsoever


NAMES = ["message_created", "message_updated", *events.CONVERSATION_EVENTS]
USUAL = ["incoming", "message_created", "bot", "contact", "<p>x</p>", 9001]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
    | st.sampled_from(USUAL)
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
    """Parse a delivery and read every value that the package uses."""
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


@pytest.mark.slow
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
def test_any_damage_is_an_event_or_is_refused(noise: bytes, place: int) -> None:
    body = encoded(MESSAGE)

    read_all(body[:place] + noise + body[place + len(noise) :])
