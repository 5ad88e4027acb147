from __future__ import annotations

import contextlib
import copy
import json
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.payload_samples import ADA, BOT, CONVERSATION, HUMAN, MESSAGE
from support.recordings import deliveries

from flask_chatwoot.errors import PayloadError
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.ownership.mode import Mode, ModeAttribute, vocabulary
from flask_chatwoot.payloads import events
from flask_chatwoot.payloads.conversation import ChatwootMessage, Conversation, Speaker
from flask_chatwoot.payloads.events import (
    ConversationEvent,
    MessageEvent,
    MessageUpdate,
    OtherEvent,
)

Keys = str
"""Keys, joined by full stops."""

Change = tuple[Keys, t.Any]


ABSENT: t.Final = ...


def replace(payload: dict[str, t.Any], path: Keys, value: t.Any) -> None:
    """Set or remove a value, unless what is to hold it is of another type."""
    *parts, key = path.split(".")
    holder: t.Any = payload

    for part in parts:
        holder = holder.setdefault(part, {}) if isinstance(holder, dict) else None

    if isinstance(holder, dict) and value is not ABSENT:
        holder[key] = value
    elif isinstance(holder, dict):
        holder.pop(key, None)


def changed(*changes: Change) -> dict[str, t.Any]:
    """A message with some of its values replaced or removed."""
    payload = copy.deepcopy(MESSAGE)

    for path, value in changes:
        replace(payload, path, value)

    return payload


def encoded(payload: t.Any) -> bytes:
    return json.dumps(payload).encode()


def event_of(*changes: Change) -> t.Any:
    return events.parse(encoded(changed(*changes)))


def message_of(*changes: Change) -> ChatwootMessage:
    return t.cast(ChatwootMessage, event_of(*changes).message)


# A message


def test_a_message_is_read() -> None:
    text, author = "Where is my order?", Speaker.CUSTOMER
    said: t.Any = {"id": 9001, "type": "incoming", "content": text, "text": text}
    said |= {"created_at": 1785143553.123, "written_at": 1785143553.123}
    known: t.Any = {"id": 42, "account_id": 1, "inbox_id": 3, "status": "open"}

    assert event_of() == MessageEvent(
        name="message_created",
        account_id=1,
        message=ChatwootMessage(**said, speaker=author),
        conversation=Conversation(
            **known,
            additional_attributes={"browser_language": "de"},
            channel="Channel::WebWidget",
            contacts=(ADA, ADA),
        ),
        digest="",
        raw=MESSAGE,
    )


def test_an_event_is_frozen_and_its_repr_shows_no_customer_data() -> None:
    event = event_of()

    with pytest.raises(AttributeError):
        event.account_id = 2

    assert repr(event) == "<MessageEvent 1:message_created:9001>"


def test_unknown_keys_and_events_are_kept() -> None:
    body = {"event": "message_read", "id": "what", "new": [1]}

    assert events.parse(encoded(body)) == OtherEvent("message_read", body)
    assert event_of(("brand_new", {"a": 1})).raw["brand_new"] == {"a": 1}


@pytest.mark.parametrize("name", ["", "Message_Created", "message_created ", "\ud800"])
def test_only_the_exact_name_makes_a_message_event(name: str) -> None:
    assert type(event_of(("event", name))) is OtherEvent


def test_the_key_is_the_same_for_every_delivery_of_a_message() -> None:
    again = event_of(("content", "rendered anew"), ("conversation.status", "x"))

    assert event_of().key == again.key == "1:message_created:9001"
    assert event_of(("id", 9002)).key == "1:message_created:9002"
    assert event_of(("account.id", 2)).key == "2:message_created:9001"


def test_the_last_of_two_equal_keys_counts() -> None:
    body = encoded(MESSAGE)[:-1] + b',"content":"the second"}'
    assert t.cast(MessageEvent, events.parse(body)).message.text == "the second"


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
    *(ABSENT, None, True, False, 0, -1, 1.0, 1.5, 2**63, 10**30, "1", "", [1], {}),
]
NOT_OWNERS: t.Final = [ABSENT, None, 1, "1", True, [], [{"id": 1}]]
NOT_TEXT: t.Final = [1, True, 1.5, [], ["x"], {}, {"text": "x"}]
MISSING: t.Final[list[tuple[str, t.Sequence[Keys], t.Sequence[t.Any]]]] = [
    ("names no event", ["event"], [ABSENT, None, 1, [], {}, ["message_created"]]),
    (r"no usable (\w+\.)?id", IDS, NOT_IDS),
    (r"(account|conversation)\.id", ["account", "conversation"], NOT_OWNERS),
    ("no message_type", ["message_type"], [ABSENT]),
    ("content is not text", ["content"], NOT_TEXT),
]


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        pytest.param(path, value, error, id=f"{path}-{value!r}")
        for error, paths, values in MISSING
        for path in paths
        for value in values
    ],
)
def test_a_required_value_is_needed(path: Keys, value: t.Any, error: str) -> None:
    with pytest.raises(PayloadError, match=error):
        event_of((path, value))


@pytest.mark.parametrize("path", IDS)
def test_an_id_is_limited_to_63_bits(path: Keys) -> None:
    event = event_of((path, 2**63 - 1))
    too_large = encoded(changed((path, 77777))).replace(b"77777", b"1e999")

    assert 2**63 - 1 in (event.account_id, event.conversation_id, event.message_id)
    with pytest.raises(PayloadError):
        events.parse(too_large)


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"event":"message_created","content":"4111"}', b'{"content":"4111"}'),
        *(b'{"content":"4111"', b'["4111"]', b'"4111\xff"'),
        *(encoded(changed((path, ["4111"]))) for path in ("content", "id")),
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
    with contextlib.suppress(PayloadError):
        assert events.parse(nested(depth)).name == "x"


# Values of an unexpected type

TYPES = ("incoming", "outgoing", "activity", "template")
NO_TYPES: t.Final[list[t.Any]] = [
    *(4, -1, 2**70, "Incoming", "0", "", None, True, False, 1.5, [], ["incoming"]),
    *({}, {"incoming": 1}),
]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *[(name, name) for name in TYPES],
        *enumerate(TYPES),
        *[(value, "unknown") for value in NO_TYPES],
    ],
    ids=repr,
)
def test_the_type_is_known_or_unknown(value: t.Any, expected: str) -> None:
    assert message_of(("message_type", value)).type == expected


@pytest.mark.parametrize("value", [ABSENT, None, False, True, 1, "false", "", "0", []])
def test_only_false_and_null_make_a_message_public(value: t.Any) -> None:
    expected = value not in (ABSENT, None, False)
    assert message_of(("private", value)).private is expected


@pytest.mark.parametrize(
    ("inbox", "of_conversation", "expected"),
    [
        ({"id": 3}, 4, 3),
        *[(inbox, 4, 4) for inbox in ({"id": None}, None, [3], {"id": True})],
        *[({}, value, None) for value in (None, "4", -4)],
    ],
)
def test_the_inbox_is_that_of_the_message_or_the_conversation(
    inbox: t.Any, of_conversation: t.Any, expected: int | None
) -> None:
    event = event_of(("inbox", inbox), ("conversation.inbox_id", of_conversation))
    assert event.conversation.inbox_id == expected


# Messages that need no answer


def auto_reply(value: t.Any) -> Change:
    return ("content_attributes", {"email": {"auto_reply": value}})


def mail_from(*authors: str, contact: str = "ada@example.com") -> list[Change]:
    mail = {"from": [*authors]} if authors else {"subject": "Undelivered"}
    return [("content_attributes", {"email": mail}), ("sender.email", contact)]


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
        *[
            (mail_from(f"{name}@mx.example.com"), Reason.AUTO_REPLY)
            for name in (
                *("mailer-daemon", "MAILER-DAEMON", "postmaster", "no-reply"),
                *("noreply-orders", "do_not_reply", "donotreply", "bounces+ada=x.de"),
                *("bounce-4711", "autoresponder", "orders-noreply", "no-reply2"),
                "MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e",
            )
        ],
        *[
            (mail_from(f"{name}@example.com"), None)
            for name in (
                "ada",
                "nora.reply",
                "noreplyan",
                "casino-reply",
                "bounce",
                "auto",
                "no-replay",
            )
        ],
        *[
            ([("content_attributes", {"email": {"content_type": kind}})], reason)
            for kind, reason in (
                ("Multipart/Report; report-type=delivery-status", Reason.AUTO_REPLY),
                ("multipart/mixed; boundary=multipart/report", None),
                (["multipart/report"], None),
            )
        ],
        # A form on a website writes in the name of its customer.
        (mail_from("ada@example.com", contact="no-reply@example.com"), None),
        (mail_from("no-reply@example.com", "ada@example.com"), None),
        (mail_from(contact="no-reply@example.com"), Reason.AUTO_REPLY),
        # What a visitor of a website gives as an address is no sender of a mail.
        ([("sender.email", "no-reply@example.com")], None),
        ([("sender.blocked", True)], Reason.BLOCKED),
        *[([("sender.blocked", value)], None) for value in (False, None)],
        ([("conversation.meta.sender.blocked", True)], Reason.BLOCKED),
        ([("account.id", 2), ("private", True)], Reason.OTHER_ACCOUNT),
        ([("private", True), ("message_type", "outgoing")], Reason.PRIVATE),
        ([("message_type", "outgoing"), ("content", "")], Reason.OUTGOING),
    ],
)
def test_a_message_to_ignore_has_a_reason(changes: list[Change], reason: t.Any) -> None:
    assert event_of(*changes).reason_to_ignore(1) is reason


# The text as the customer typed it

RENDERED = "<p>Where is <em>my</em> order?</p>\n"
STORED = "Where is *my* order?"
LIST = "<ul>\n<li>a</li>\n</ul>"
QUOTE = "<blockquote>\n<p>a</p>\n</blockquote>"
CODE = '<pre lang="ruby"><code>a</code></pre>'
TYPED = [
    *("\n Hello ", "1 < 2 > 0", "<b>bold</b>", "<p>never closed", "see <p>this</p>"),
    *("<pony>neigh</pony>", "NUL \0 inside", "**bold** `code` 🙂", "half \ud83d emoji"),
    "\u202eright to left\u200b",
]
HTML = [
    *(RENDERED, LIST, LIST.replace("ul", "ol"), "<h1>a</h1>", "<h6>a</h6>\n", QUOTE),
    *(CODE, "<table>\n<tr></tr></table>", "<hr />\n", "  <p>a</p>\n  "),
]


@pytest.mark.parametrize(
    ("content", "text", "rendered"),
    [
        ("Hello\n", "Hello", False),
        ("Hello\r\n\r\n", "Hello", False),
        ("a\n\nb\n", "a\n\nb", False),
        *[(text, text, False) for text in TYPED],
        *[(html, html.rstrip("\n"), True) for html in HTML],
    ],
)
def test_final_line_breaks_are_removed(content: str, text: str, rendered: bool) -> None:
    message = message_of(("content", content))
    assert (message.text, message.rendered) == (text, rendered)


def beside(messages: t.Any, content: str = RENDERED) -> tuple[str, bool]:
    """The text of a message in a conversation with these messages."""
    message = message_of(("content", content), ("conversation.messages", messages))
    return message.text, message.rendered


def test_the_stored_text_is_that_of_the_newest_message_with_the_same_id() -> None:
    assert beside([{"id": 9001, "content": STORED + "\n"}]) == (STORED, False)


@pytest.mark.parametrize(
    "messages",
    [
        *([], None, {}, "x", [None], ["x"], [[]], [{}]),
        *([{"content": STORED}], [{"id": None, "content": STORED}]),
        *([{"id": 9000, "content": STORED}], [{"id": "9001", "content": STORED}]),
        *([{"id": 9001}], [{"id": 9001, "content": [STORED]}]),
        [{"id": 9000, "content": "older"}, {"id": 9001, "content": STORED}],
    ],
)
def test_the_text_of_another_message_is_not_used(messages: t.Any) -> None:
    assert beside(messages) == (RENDERED.rstrip("\n"), True)


def test_a_text_that_was_not_rendered_is_kept() -> None:
    assert beside([{"id": 9001, "content": "other"}], "Hello") == ("Hello", False)


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
    message = message_of(("content", content), ("content_attributes.email", mail))

    assert message.text == (text or content)


def test_a_rendered_e_mail_is_read_from_its_trimmed_part() -> None:
    mail = {"text_content": {"quoted": "Yes."}}
    message = message_of(("content", RENDERED), ("content_attributes.email", mail))

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


def answered(values: t.Any, *changes: Change) -> t.Any:
    submitted = ("content_attributes.submitted_values", values)
    return event_of(*QUESTION, submitted, *changes)


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
    assert (event.conversation_id, event.conversation.inbox_id) == (42, 3)
    assert event.reason_to_ignore(1) is None
    assert event.raw["content"] == "Which one?"
    assert event.key.encode()


def test_another_answer_to_the_same_question_is_another_message() -> None:
    first, second = answered([{"title": "A"}]), answered([{"title": "B"}])

    assert first.key == answered([{"title": "A"}], ("sender.name", "Eva")).key
    assert first.key != second.key
    assert first.key.startswith("1:message_updated:9001:")


def test_an_answer_to_a_note_is_ignored() -> None:
    assert answered(INVOICE, ("private", True)).reason_to_ignore(1) is Reason.PRIVATE


@pytest.mark.parametrize(
    ("version", "marker", "key"),
    [
        ("4.17", "1" * 32, "1:message_updated:1254:refused"),
        ("4.2.0", None, "1:message_updated:129:refused"),
    ],
)
def test_a_post_that_the_channel_refused_is_recognised(
    version: str, marker: str | None, key: str
) -> None:
    event = events.parse(deliveries(f"{version}-webhook")[-1].body.encode())

    assert isinstance(event, MessageEvent)
    assert (event.refused, event.key, event.message.marker) == (True, key, marker)
    assert event.message.refusal.startswith("Failed to open TCP connection")


@pytest.mark.parametrize(
    ("event", "change"),
    [
        ("message_created", ("message_type", "outgoing")),
        ("message_updated", ("message_type", "incoming")),
        ("message_updated", ("private", True)),
        ("message_updated", ("content_attributes.external_error", None)),
        ("message_updated", ("content_attributes.external_error", "")),
    ],
)
def test_nothing_else_counts_as_refused(event: str, change: Change) -> None:
    refused = [
        *(("message_type", "outgoing"), ("content_attributes.external_error", "no")),
        ("event", event),
    ]
    assert not getattr(event_of(*refused, change), "refused", False)


NOT_SUBMITTED: t.Final[list[t.Any]] = [
    *(None, [], "Invoice", 5, True, {"title": "Invoice", "value": "inv"}),
    {"csat_survey_response": {"rating": 5, "feedback_message": "Good"}},
    {"email": "ada@example.com"},
    *(["Invoice"], [1, 2.5, True, None], [[{"title": "Invoice"}]], [{}, {}]),
    [{"title": 1}, {"title": ["x"]}, {"title": {"a": "b"}}],
    [{"name": "n", "value": 5}, {"name": "n", "value": ["x"]}],
    [{"title": "", "value": ""}, {"name": "a", "value": ""}],
    {"values": [{"title": "Invoice"}]},
]
NO_ANSWERS: t.Final[list[Change]] = [
    *[("message_type", value) for value in ("incoming", "template", 7, ABSENT)],
    *[("id", "9001"), ("account", None), ("conversation", [])],
    *[("content_attributes", "x"), ("content_attributes", ABSENT)],
]


@pytest.mark.parametrize(
    ("values", "changes"),
    [
        *[(values, []) for values in NOT_SUBMITTED],
        *[(INVOICE, [change]) for change in NO_ANSWERS],
    ],
    ids=repr,
)
def test_an_update_may_be_no_answer(values: t.Any, changes: list[Change]) -> None:
    assert type(answered(values, *changes)) in (OtherEvent, MessageUpdate)


def test_thousands_of_answers_are_read() -> None:
    event = answered([{"name": f"field {n}", "value": "x" * 20} for n in range(5000)])

    assert event.message.text.count("\n") == 4999
    assert len(event.key) < 60


@pytest.mark.parametrize("content", [None, 5, ABSENT, "Which one?"], ids=repr)
def test_the_text_of_the_question_does_not_change_the_answer(content: t.Any) -> None:
    asked = ("conversation.messages", [{"id": 9001, "content": "Which one?"}])
    event = answered([{"title": "<p>Invoice</p>"}], asked, ("content", content))

    assert event.message.text == "<p>Invoice</p>"


# Conversations


def conversation(**values: t.Any) -> t.Any:
    return events.parse(encoded({**CONVERSATION, **values}))


@pytest.mark.parametrize("name", events.CONVERSATION_EVENTS)
def test_a_conversation_is_read(name: str) -> None:
    event = conversation(event=name)
    known: t.Any = {"id": 42, "account_id": 1, "status": "open", "contacts": (ADA,)}

    assert event == ConversationEvent(
        name=name,
        account_id=1,
        conversation=Conversation(**known, custom_attributes={"support_mode": "bot"}),
        changes=(("custom_attributes", HUMAN, BOT),),
        raw={**CONVERSATION, "event": name},
    )
    assert event.change_of("support_mode") == ("human", "bot")
    assert event.change_of("topic") is None
    assert event.conversation_id == 42
    assert repr(event) == f"<ConversationEvent {name} 42>"


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
    assert type(conversation(**{key: value})) is OtherEvent


@pytest.mark.parametrize("value", [None, 0, True, [1], {}, {"id": "1"}], ids=repr)
def test_an_unusable_account_or_status_is_none(value: t.Any) -> None:
    event = conversation(account=value, status=value)
    assert (event.account_id, event.conversation.status) == (None, None)


def change(before: t.Any, after: t.Any) -> dict[str, t.Any]:
    return {"custom_attributes": {"previous_value": before, "current_value": after}}


def between(before: t.Any, after: t.Any) -> list[t.Any]:
    return [None, {"status": 1}, change(before, after)]


KEY: t.Final = "support_mode"


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        *[(listed, None) for listed in (None, "custom_attributes", 1, change({}, {}))],
        *[([item], None) for item in (None, "custom_attributes", ["x"])],
        *[([], None), ([change("a", "b")], None), (between(HUMAN, HUMAN), None)],
        ([{"custom_attributes": {}}, {"custom_attributes": ["human", "bot"]}], None),
        ([{"status": {"previous_value": 0, "current_value": 1}}], None),
        (between(HUMAN, {}), ("human", None)),
        *[(between({}, BOT), (None, "bot")), (between(None, BOT), (None, "bot"))],
        (between("x", {KEY: ["bot"]}), (None, ["bot"])),
        (between({KEY: 1}, {KEY: {"a": 1}}), (1, {"a": 1})),
    ],
    ids=repr,
)
def test_the_change_of_an_attribute_is_read(listed: t.Any, expected: t.Any) -> None:
    event = conversation(changed_attributes=listed)
    assert event.change_of(KEY) == expected


SAVED: t.Final = {
    "updated_at": {"previous_value": None, "current_value": "2025-06-15T15:06:40.123Z"}
}


@pytest.mark.parametrize(
    ("listed", "written", "at", "newest"),
    [
        (None, None, 1750000005.5, 120),
        ([SAVED], None, 1750000000.123, 120),
        ([SAVED], 1750000000, 1750000000.123, 120),
        ([SAVED], 1750000001, 1750000000.123, 119),  # after the change
        ([{"status": {}}], 1750000001, 1750000005.5, 120),
        ([{"updated_at": [1]}, {"updated_at": {}}], 1750000001, 1750000005.5, 120),
    ],
    ids=repr,
)
def test_when_a_conversation_changed_is_read(
    listed: t.Any, written: int | None, at: float, newest: int
) -> None:
    """A delivery of an account is built later, and shows what came meanwhile."""
    event = conversation(
        changed_attributes=listed,
        updated_at=1750000005.5,
        messages=[{"id": 120, "message_type": 1, "created_at": written}],
    )
    assert (event.changed_at, event.newest_message_id) == (at, newest)


@pytest.mark.parametrize("messages", [None, 1, [], [1], [{"id": "x"}]], ids=repr)
def test_without_a_message_the_newest_is_unknown(messages: t.Any) -> None:
    event = conversation(messages=messages)
    assert (event.last_message, event.newest_message_id) == (None, 0)


# Any JSON whatsoever

NAMES = ["message_created", "message_updated", *events.CONVERSATION_EVENTS]
USUAL = ["incoming", "message_created", "bot", "contact", "<p>x</p>", 9001]
SCALARS = st.one_of(
    *(st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(USUAL)),
    st.text(st.characters(codec=None, exclude_categories=()), max_size=8),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


def paths_of(value: t.Any, path: Keys = "") -> t.Iterator[Keys]:
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
    types = st.sampled_from(["incoming", "outgoing"])
    named = [("event", draw(st.sampled_from(NAMES))), ("message_type", draw(types))]
    paths = draw(st.lists(st.sampled_from(PATHS), max_size=4))

    return changed(*named, *((path, draw(JSON)) for path in paths))


NO_TURNS: t.Final = (Reason.CALL, Reason.REACTION, Reason.SURVEY)
MODE: t.Final = ModeAttribute("support_mode", vocabulary(), Mode.HUMAN)


def read_all(body: bytes) -> None:
    """Parse a delivery and read every value that the package uses."""
    try:
        event = events.parse(body)
    except PayloadError:
        return

    assert isinstance(event.name, str)
    assert "Ada" not in repr(event)

    if isinstance(event, OtherEvent):
        return

    read_conversation(event.conversation)

    if isinstance(event, ConversationEvent):
        change = event.change_of("support_mode")
        assert change is None or change[0] != change[1]
        return

    if isinstance(event, MessageUpdate):
        assert event.reason in (*NO_TURNS, Reason.DELETED, Reason.UPDATED)
        event = event.as_message

    event.reason_to_ignore(1)
    assert 0 < event.account_id < 2**63
    assert event.key.startswith(f"{event.account_id}:{event.name}:{event.message_id}")
    assert event.message.marker is None or isinstance(event.message.marker, str)
    assert abs(event.message.created_at or 0) < 1e12


def read_conversation(conversation: Conversation) -> None:
    assert 0 < conversation.id < 2**63
    assert conversation.account_id is None or 0 < conversation.account_id < 2**63
    assert conversation.status is None or isinstance(conversation.status, str)
    assert 0 <= conversation.newest_message_id < 2**63
    assert "Ada" not in repr(conversation)
    assert conversation.language is None or isinstance(conversation.language, str)
    assert "Ada" not in repr(conversation.contact)
    assert MODE.resolve(conversation) in Mode
    assert abs(conversation.updated_at or 0) < 1e12


@st.composite
def damaged_messages(draw: st.DrawFn) -> bytes:
    body, noise = encoded(MESSAGE), draw(st.binary(min_size=1, max_size=8))
    place = draw(st.integers(0, len(body)))

    return body[:place] + noise + body[place + len(noise) :]


BODIES: t.Final[dict[str, st.SearchStrategy[bytes]]] = {
    "JSON": JSON.map(encoded),
    "broken messages": broken_messages().map(encoded),
    "damaged messages": damaged_messages(),
    "bytes": st.binary(),
}


@pytest.mark.parametrize("kind", BODIES)
@settings(deadline=None)
@given(st.data())
def test_any_body_is_an_event_or_is_refused(kind: str, data: st.DataObject) -> None:
    read_all(data.draw(BODIES[kind]))
