from __future__ import annotations

import copy
import json
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_chatwoot import events
from flask_chatwoot.errors import PayloadError
from flask_chatwoot.events import Attachment, Contact, Event, MessageEvent
from flask_chatwoot.mode import Mode, resolve, vocabulary
from flask_chatwoot.outcomes import Reason
from flask_chatwoot.replies import Turn

Path = tuple[str, ...]


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

        for part in path[:-1]:
            holder = holder.setdefault(part, {})

        if value is ABSENT:
            del holder[path[-1]]
        else:
            holder[path[-1]] = value

    return payload


def encoded(payload: t.Any) -> bytes:
    return json.dumps(payload).encode()


def message(*changes: tuple[Path, t.Any]) -> MessageEvent:
    event = events.parse(encoded(changed(*changes)))
    assert isinstance(event, MessageEvent)

    return event


# A message


def test_a_message_is_read() -> None:
    assert message() == MessageEvent(
        name="message_created",
        raw=MESSAGE,
        account_id=1,
        conversation_id=42,
        inbox_id=3,
        message_id=9001,
        type="incoming",
        private=False,
        text="Where is my order?",
        rendered=False,
    )


def test_an_event_can_not_be_changed_and_shows_nothing_of_the_customer() -> None:
    event = message()

    with pytest.raises(AttributeError):
        event.private = True  # type: ignore[misc]

    assert "order" not in repr(event)
    assert "Ada" not in repr(event)
    assert "9001" in repr(event)


def test_unknown_keys_and_events_pass_through() -> None:
    body = {"event": "message_read", "id": "what", "new": [1]}

    event = events.parse(encoded(body))

    assert type(event) is Event
    assert (event.name, event.raw) == ("message_read", body)
    assert message((("brand_new",), {"a": 1})).raw["brand_new"] == {"a": 1}


@pytest.mark.parametrize(
    "name", ["", "Message_Created", "message_created ", "\ud800"], ids=repr
)
def test_only_the_exact_name_makes_a_message(name: str) -> None:
    event = events.parse(encoded(changed((("event",), name))))

    assert type(event) is Event


def test_the_key_is_the_same_for_every_delivery_of_a_message() -> None:
    again = message((("content",), "rendered anew"), (("conversation", "status"), "x"))

    assert message().key == again.key == "1:message_created:9001"
    assert message((("id",), 9002)).key != message().key
    assert message((("account", "id"), 2)).key != message().key


def test_the_last_of_two_equal_keys_counts() -> None:
    body = encoded(MESSAGE)[:-1] + b',"content":"the second","private":true}'

    event = events.parse(body)

    assert isinstance(event, MessageEvent)
    assert event.text == "the second"
    assert event.private


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


@pytest.mark.parametrize(
    "name", [ABSENT, None, 1, True, [], {}, ["message_created"]], ids=repr
)
def test_a_body_without_the_name_of_an_event_is_refused(name: t.Any) -> None:
    with pytest.raises(PayloadError, match="names no event"):
        events.parse(encoded(changed((("event",), name))))


IDS: t.Final[t.Sequence[Path]] = [("id",), ("account", "id"), ("conversation", "id")]
NOT_IDS: t.Final = [
    *(
        ABSENT,
        None,
        True,
        False,
        0,
        -1,
        1.0,
        1.5,
        2**63,
        10**30,
        "1",
        "",
        [1],
        {"id": 1},
    )
]


@pytest.mark.parametrize("path", IDS, ids=".".join)
@pytest.mark.parametrize("value", NOT_IDS, ids=repr)
def test_a_message_without_a_needed_id_is_refused(path: Path, value: t.Any) -> None:
    with pytest.raises(PayloadError, match=r"no usable (\w+\.)?id"):
        events.parse(encoded(changed((path, value))))


@pytest.mark.parametrize("path", IDS, ids=".".join)
def test_an_id_too_large_for_a_float_is_refused(path: Path) -> None:
    body = encoded(changed((path, 77777))).replace(b"77777", b"1e999")

    with pytest.raises(PayloadError):
        events.parse(body)


@pytest.mark.parametrize("path", IDS, ids=".".join)
def test_an_id_may_be_as_large_as_the_database_allows(path: Path) -> None:
    event = message((path, 2**63 - 1))

    assert 2**63 - 1 in (event.account_id, event.conversation_id, event.message_id)


@pytest.mark.parametrize("holder", ["account", "conversation"])
@pytest.mark.parametrize(
    "value", [ABSENT, None, 1, "1", True, [], [{"id": 1}]], ids=repr
)
def test_a_message_without_account_or_conversation_is_refused(
    holder: str, value: t.Any
) -> None:
    with pytest.raises(PayloadError, match=rf"{holder}\.id"):
        events.parse(encoded(changed(((holder,), value))))


def test_a_message_without_a_type_is_refused() -> None:
    with pytest.raises(PayloadError, match="message_type"):
        events.parse(encoded(changed((("message_type",), ABSENT))))


@pytest.mark.parametrize(
    "content", [1, True, 1.5, [], ["x"], {}, {"text": "x"}], ids=repr
)
def test_a_message_whose_content_is_not_text_is_refused(content: t.Any) -> None:
    with pytest.raises(PayloadError, match="content"):
        events.parse(encoded(changed((("content",), content))))


@pytest.mark.parametrize(
    "body",
    [
        b'{"event":"message_created","content":"my card is 4111"}',
        b'{"content":"my card is 4111"}',
        b'{"content":"my card is 4111"',
        b'["my card is 4111"]',
        b'"my card is 4111\xff"',
        encoded(changed((("content",), ["my card is 4111"]))),
        encoded(changed((("id",), "my card is 4111"))),
        encoded(changed((("message_type",), ABSENT), (("sender",), "4111"))),
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
    assert message((("message_type",), value)).type == expected


@pytest.mark.parametrize("value", [ABSENT, None, False], ids=repr)
def test_a_message_is_public_only_when_it_says_so(value: t.Any) -> None:
    assert message((("private",), value)).private is False


@pytest.mark.parametrize("value", [True, 1, "false", "", "true", "0", [], {}], ids=repr)
def test_a_foreign_mark_of_privacy_counts_as_private(value: t.Any) -> None:
    assert message((("private",), value)).private is True


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
    event = message(
        (("inbox",), inbox), (("conversation", "inbox_id"), of_conversation)
    )

    assert event.inbox_id == expected


# What needs no answer


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ([], None),
        ([(("message_type",), 0)], None),
        ([(("account", "id"), 2)], Reason.OTHER_ACCOUNT),
        ([(("private",), True)], Reason.PRIVATE),
        ([(("private",), "no")], Reason.PRIVATE),
        ([(("message_type",), "outgoing")], Reason.OUTGOING),
        ([(("message_type",), 1)], Reason.OUTGOING),
        ([(("message_type",), "template")], Reason.TEMPLATE),
        ([(("message_type",), "activity")], Reason.ACTIVITY),
        ([(("message_type",), "carrier pigeon")], Reason.UNKNOWN_TYPE),
        ([(("message_type",), None)], Reason.UNKNOWN_TYPE),
        ([(("content",), None)], Reason.EMPTY),
        ([(("content",), ABSENT)], Reason.EMPTY),
        ([(("content",), "")], Reason.EMPTY),
        ([(("content",), " \n\t\u00a0 ")], Reason.EMPTY),
        (
            [(("content_attributes",), {"email": {"auto_reply": True}})],
            Reason.AUTO_REPLY,
        ),
        ([(("content_attributes",), {"email": {"auto_reply": False}})], None),
        ([(("content_attributes",), {"email": {"auto_reply": "no"}})], None),
        ([(("sender", "blocked"), True)], Reason.BLOCKED),
        ([(("sender", "blocked"), False)], None),
        ([(("sender", "blocked"), None)], None),
        ([(("conversation", "meta", "sender", "blocked"), True)], Reason.BLOCKED),
        ([(("account", "id"), 2), (("private",), True)], Reason.OTHER_ACCOUNT),
        ([(("private",), True), (("message_type",), "outgoing")], Reason.PRIVATE),
        ([(("message_type",), "outgoing"), (("content",), "")], Reason.OUTGOING),
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
    event = message((("content",), content))

    assert event.text == text
    assert not event.rendered


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
    event = message((("content",), content))

    assert event.rendered
    assert event.text == content.rstrip("\n")


def test_the_stored_text_is_taken_from_the_newest_message_if_it_is_this_one() -> None:
    newest = {"id": 9001, "content": STORED + "\n"}

    event = message((("content",), RENDERED), (("conversation", "messages"), [newest]))

    assert event.text == STORED
    assert not event.rendered


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
def test_no_other_message_lends_its_text(messages: t.Any) -> None:
    event = message((("content",), RENDERED), (("conversation", "messages"), messages))

    assert event.text == RENDERED.rstrip("\n")
    assert event.rendered


def test_the_newest_message_never_replaces_what_was_not_rendered() -> None:
    newest = {"id": 9001, "content": "something else"}

    event = message((("conversation", "messages"), [newest]))

    assert event.text == "Where is my order?"


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
        (("content",), "Yes.\n\n> Really?\n"), (("content_attributes", "email"), mail)
    )

    assert event.text == (text or "Yes.\n\n> Really?")


@pytest.mark.parametrize("attributes", [None, [], "email", 1, ["email"]], ids=repr)
def test_content_attributes_of_a_foreign_type_are_passed_over(
    attributes: t.Any,
) -> None:
    event = message((("content_attributes",), attributes))

    assert event.text == "Where is my order?"
    assert event.marker is None


def test_an_e_mail_that_was_rendered_too_is_read_from_its_trimmed_part() -> None:
    event = message(
        (("content",), "<p>Yes.</p>\n<blockquote>Really?</blockquote>\n"),
        (("content_attributes", "email"), {"text_content": {"quoted": "Yes."}}),
        (("conversation", "messages"), [{"id": 9001, "content": "Yes.\n> Really?"}]),
    )

    assert event.text == "Yes."
    assert not event.rendered


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        *[(text, False) for text in ("4.2.0", "4.8.9", "4.12.1", "4.13.0", "4.16.2")],
        *[(text, True) for text in ("4.9.0", "4.9", "4.10.1", "4.11.2", "4.12.0")],
        *[(text, False) for text in ("3.9.0", "5.9.0", "5.0", "14.9.0", "0.0.0")],
        *[("4.9.0-rc1", True), ("4.12", True)],
        *[(text, False) for text in ("", "4", "develop", "v", ".", "4.", "-4.9.0")],
        *[(text, False) for text in ("9" * 5000, "4." + "9" * 5000, "4.99999.0")],
    ],
    ids=lambda value: str(value)[:12],
)
def test_only_some_versions_render(version: str, expected: bool) -> None:
    assert events.renders_content(version) is expected


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello</p>\n", "Hello"),
        ("<p>Hello</p>", "Hello"),
        ("<p>one</p>\n<p>two</p>\n", "one\n\ntwo"),
        ("<p>one<br />\ntwo</p>\n", "one\ntwo"),
        ("<p>one\ntwo</p>\n", "one\ntwo"),
        ("<p>1 &lt; 2 &amp;&amp; &quot;x&quot; &#39;y&#39;</p>", "1 < 2 && \"x\" 'y'"),
        ("<p>&lt;b&gt;not bold&lt;/b&gt;</p>", "<b>not bold</b>"),
        ("<p>a <strong>b</strong> <em>c</em></p>\n", "a b c"),
        ("<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n", "- a\n- b"),
        ("<p>x</p>\n<ul>\n<li>a</li>\n</ul>\n<p>y</p>\n", "x\n\n- a\n\ny"),
        ("<h1>Title</h1>\n<p>text</p>\n", "Title\n\ntext"),
        ("<blockquote>\n<p>said</p>\n</blockquote>\n<p>me</p>\n", "said\n\nme"),
        ("<pre><code>a = 1\nb = 2\n</code></pre>\n", "a = 1\nb = 2"),
        (
            '<p><a href="https://x.example">https://x.example</a></p>',
            "https://x.example",
        ),
        ("<p>Grüße 🙂 &nbsp;!</p>", "Grüße 🙂 \u00a0!"),
        ("<p>never closed", "never closed"),
        ("", ""),
    ],
)
def test_rendered_text_is_turned_back(html: str, text: str) -> None:
    assert events.unrendered(html) == text


HTML_PARTS = st.sampled_from(
    [
        *("<", ">", "</", "/>", "<!", "<!--", "-->", "<![", "<![CDATA[", "]]>", "<?"),
        *("<p>", "</p>", "<br />\n", "<li>", "&", "&#", "&#x", ";", "9" * 12, "&lt;"),
        *(
            '"',
            "'",
            "=",
            "a",
            " ",
            "\n",
            "[",
            "]",
            "<script>",
            "<!DOCTYPE ",
            "if",
            "\0",
        ),
    ]
)


@settings(deadline=None)
@given(st.lists(HTML_PARTS).map("".join) | st.text())
def test_no_html_whatsoever_raises(html: str) -> None:
    assert isinstance(events.unrendered(f"<p>{html}</p>"), str)


@pytest.mark.parametrize("opening", ["<![foo[", "<![if x", "<!-", "<!DOCTYPE a ["])
def test_a_declaration_a_customer_typed_raises_nothing(opening: str) -> None:
    assert isinstance(events.unrendered(f"<p>{opening} x</p>"), str)


# Who the customer is


NOBODY = Contact()
ADA = Contact(
    id=55,
    name="Ada",
    email="ada@example.com",
    phone_number="+4912345",
    identifier="crm-7",
    custom_attributes={"plan": "gold"},
)


@pytest.mark.parametrize(
    "raw",
    [
        {"contact": CONTACT},
        {"conversation": {"meta": {"sender": CONTACT}}},
        {"sender": CONTACT},
        {"sender": CONTACT | {"type": "contact"}},
        {"contact": CONTACT, "sender": {"id": 1}, "conversation": {"meta": {}}},
        {"conversation": {"meta": {"sender": CONTACT}}, "sender": {"id": 1}},
        {"conversation": {"meta": {"sender": {}}}, "sender": CONTACT},
        {"contact": None, "conversation": None, "sender": CONTACT},
    ],
)
def test_the_contact_is_found_wherever_a_server_puts_it(raw: t.Any) -> None:
    assert events.contact(raw) == ADA


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"sender": None},
        {"sender": CONTACT | {"type": "user"}},
        {"sender": CONTACT | {"type": "agent_bot"}},
        {"sender": CONTACT | {"type": ["contact"]}},
        {"contact": [CONTACT], "sender": "Ada", "conversation": {"meta": [CONTACT]}},
        {"contact": {"id": "55", "name": 1, "email": [], "custom_attributes": [1]}},
    ],
)
def test_who_is_not_the_contact_is_not_taken_for_it(raw: t.Any) -> None:
    assert events.contact(raw) == NOBODY


def test_a_contact_shows_no_more_than_its_id() -> None:
    assert repr(ADA) == "Contact(id=55)"


# What else is known


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        (None, ()),
        ({}, ()),
        ("x", ()),
        (1, ()),
        ([], ()),
        ([None, 1, "x", []], ()),
        ([{}], (Attachment(type="file"),)),
        (
            [{"file_type": "image", "data_url": "https://x.example/a", "file_size": 7}],
            (Attachment(type="image", url="https://x.example/a", size=7),),
        ),
        (
            [{"file_type": 1, "data_url": [], "file_size": "7"}],
            (Attachment(type="file"),),
        ),
        ([{"file_type": "", "file_size": True}], (Attachment(type="file"),)),
        ([{"file_type": "audio", "file_size": -1}], (Attachment(type="audio"),)),
        (
            [{"file_type": "location"}, None, {"file_type": "video"}],
            (Attachment(type="location"), Attachment(type="video")),
        ),
    ],
)
def test_attachments_are_read(listed: t.Any, expected: tuple[Attachment, ...]) -> None:
    assert events.attachments({"attachments": listed}) == expected


def test_a_message_without_attachments_has_none() -> None:
    assert events.attachments(MESSAGE) == ()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("de", "de"), ("pt-BR", "pt-BR"), ("", None), (None, None), (1, None), ([], None)],
)
def test_the_language_is_the_browsers(value: t.Any, expected: str | None) -> None:
    raw = {"conversation": {"additional_attributes": {"browser_language": value}}}

    assert events.language(raw) == expected


@pytest.mark.parametrize("attributes", [None, [], "de", {"browser": {}}], ids=repr)
def test_most_channels_know_no_language(attributes: t.Any) -> None:
    assert (
        events.language({"conversation": {"additional_attributes": attributes}}) is None
    )


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({events.MARKER: "job-1"}, "job-1"),
        ({events.MARKER: 1}, None),
        ({events.MARKER: None}, None),
        ({}, None),
        (None, None),
        ([events.MARKER], None),
    ],
)
def test_our_own_posts_are_known_by_their_marker(
    attributes: t.Any, expected: str | None
) -> None:
    event = message((("content_attributes",), attributes))

    assert event.marker == expected


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


def paths_of(value: t.Any, path: Path = ()) -> t.Iterator[Path]:
    for key, child in value.items() if isinstance(value, dict) else ():
        yield (*path, key)
        yield from paths_of(child, (*path, key))


PATHS = [
    *paths_of(MESSAGE),
    ("contact",),
    ("attachments",),
    ("content_attributes", "email"),
    ("content_attributes", "email", "text_content"),
    ("sender", "type"),
    ("conversation", "custom_attributes", "support_mode"),
]


@st.composite
def broken_messages(draw: st.DrawFn) -> dict[str, t.Any]:
    payload = copy.deepcopy(MESSAGE)

    for path in draw(st.lists(st.sampled_from(PATHS), max_size=4)):
        holder: t.Any = payload

        for part in path[:-1]:
            holder = holder.get(part) if isinstance(holder, dict) else None

        if isinstance(holder, dict):
            holder[path[-1]] = draw(JSON)

    return payload


def read_all(body: bytes) -> None:
    """Whatever the package asks of a delivery, the parser first."""
    try:
        event = events.parse(body)
    except PayloadError:
        return

    if not isinstance(event, MessageEvent):
        assert isinstance(event.name, str)
        return

    event.reason_to_ignore(1)
    mode = resolve(
        event, attribute="support_mode", words=vocabulary(), default=Mode.HUMAN
    )
    turn = Turn.of(event, mode=mode, text=event.text)
    assert turn.account_id is not None
    assert 0 < turn.account_id < 2**63
    assert event.key.startswith(f"{turn.account_id}:message_created:")
    assert isinstance(repr(turn), str)


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
