from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.payload_samples import ADA, CONTACT

from flask_chatwoot.payloads.conversation import (
    Assignee,
    Attachment,
    ChatwootMessage,
    Contact,
    Conversation,
    Speaker,
    conversation_from,
    message_from,
    unrendered,
)
from flask_chatwoot.payloads.fields import MARKER, as_object, as_seconds

NOTHING: t.Final[list[t.Any]] = [None, {}]


def read(**fields: t.Any) -> ChatwootMessage:
    """A message as the API lists it."""
    message = message_from({"id": 1, **fields})
    assert message is not None

    return message


# Conversations


def test_a_conversation_of_the_api_is_read() -> None:
    conversation = conversation_from(
        {
            "id": 42,
            "account_id": 1,
            "inbox_id": 3,
            "status": "pending",
            "can_reply": False,
            "updated_at": 1785143553.5,
            "custom_attributes": {"topic": "Invoice"},
            "additional_attributes": {"browser_language": "de"},
            "meta": {"sender": CONTACT, "channel": "Channel::WebWidget"},
            "messages": [{"id": 7}],
            "last_non_activity_message": {"id": 7, "message_type": 0, "content": "x"},
        }
    )

    assert conversation == Conversation(
        id=42,
        inbox_id=3,
        status="pending",
        can_reply=False,
        updated_at=1785143553.5,
        custom_attributes={"topic": "Invoice"},
        additional_attributes={"browser_language": "de"},
        channel="Channel::WebWidget",
        contacts=(ADA,),
        last_message=read(id=7, message_type=0, content="x"),
        newest_message_id=7,
    )
    assert (conversation.contact, conversation.language) == (ADA, "de")
    assert repr(conversation) == "<Conversation 42>"


def test_an_empty_conversation_can_be_replied_to() -> None:
    assert conversation_from({}) == Conversation(0)
    assert conversation_from({}).can_reply
    assert conversation_from({"last_non_activity_message": [1]}).last_message is None


@pytest.mark.parametrize(
    ("assignee", "kind", "expected"),
    [
        ({"id": 4, "type": "user"}, "User", Assignee("user", 4)),
        ({"id": 4, "name": "Olga"}, None, Assignee("user", 4)),
        ({"id": 4, "type": "agent_bot"}, "AgentBot", Assignee("agent_bot", 4)),
        ({"id": 4}, "AgentBot", Assignee("agent_bot", 4)),
        ({"id": 4, "type": "agent_bot"}, None, Assignee("agent_bot", 4)),
        ({"id": "4"}, None, Assignee("user", None)),
        ({"id": 4}, ["AgentBot"], Assignee("user", 4)),
        *[(value, None, None) for value in [*NOTHING, [4], "Olga", 4]],
    ],
)
def test_the_assignee_has_an_id_and_a_type(
    assignee: t.Any, kind: t.Any, expected: Assignee | None
) -> None:
    meta = {"assignee": assignee} | ({"assignee_type": kind} if kind else {})

    assert conversation_from({"meta": meta}).assignee == expected


@pytest.mark.parametrize("meta", [None, [], "x"], ids=repr)
def test_without_usable_metadata_there_is_no_assignee(meta: t.Any) -> None:
    assert conversation_from({"meta": meta}).assignee is None


@pytest.mark.parametrize(
    ("messages", "newest"),
    [
        ([{"id": 5}], 5),
        ([{"id": 5}, {"id": 9}, {"id": 7}], 9),
        ([{"id": "5"}, None, [], {"id": True}, {"id": -1}, {}, {"id": 2**63}], 0),
        *[(value, 0) for value in [*NOTHING, [], "x", {"id": 5}]],
    ],
)
def test_the_newest_message_is_found(messages: t.Any, newest: int) -> None:
    assert conversation_from({"messages": messages}).newest_message_id == newest


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        ({"contact": CONTACT}, ADA),
        ({"conversation": {"meta": {"sender": CONTACT}}}, ADA),
        ({"sender": CONTACT}, ADA),
        ({"sender": CONTACT | {"type": "contact"}}, ADA),
        ({"contact": CONTACT, "sender": {"id": 1}, "conversation": {"meta": {}}}, ADA),
        ({"conversation": {"meta": {"sender": CONTACT}}, "sender": {"id": 1}}, ADA),
        ({"conversation": {"meta": {"sender": {}}}, "sender": CONTACT}, ADA),
        ({"contact": None, "conversation": None, "sender": CONTACT}, ADA),
        ({}, Contact()),
        ({"sender": None}, Contact()),
        ({"sender": CONTACT | {"type": "user"}}, Contact()),
        ({"sender": CONTACT | {"type": "agent_bot"}}, Contact()),
        ({"sender": CONTACT | {"type": ["contact"]}}, Contact()),
        (
            {"contact": [CONTACT], "sender": "A", "conversation": {"meta": [CONTACT]}},
            Contact(),
        ),
        (
            {"contact": {"id": "5", "name": 1, "email": [], "custom_attributes": [1]}},
            Contact(),
        ),
    ],
)
def test_the_contact_is_found_wherever_chatwoot_puts_it(
    delivery: dict[str, t.Any], expected: Contact
) -> None:
    conversation = as_object(delivery.get("conversation"))

    assert conversation_from(conversation, delivery).contact == expected


@pytest.mark.parametrize("place", ["contact", "sender", "meta"])
def test_a_contact_that_is_blocked_anywhere_is_blocked(place: str) -> None:
    blocked = {"id": 1, "blocked": True}
    conversation = {"meta": {"sender": blocked}} if place == "meta" else {}

    found = conversation_from(conversation, {"contact": {"id": 2}, place: blocked})

    assert found.blocked
    assert not conversation_from({}, {"sender": {"id": 1, "blocked": "yes"}}).blocked


def test_a_contact_shows_no_more_than_its_id() -> None:
    assert repr(ADA) == "Contact(id=55)"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        *[({"browser_language": text}, text) for text in ("de", "pt-BR")],
        *[({"browser_language": ""}, None), ({"browser_language": None}, None)],
        *[({"browser_language": 1}, None), ({"browser_language": []}, None)],
        *[({"browser": {}}, None), (None, None), ([], None), ("de", None)],
    ],
)
def test_the_language_of_the_browser(attributes: t.Any, expected: str | None) -> None:
    found = conversation_from({"additional_attributes": attributes})

    assert found.language == expected


# Messages


def test_a_message_shows_only_its_id() -> None:
    assert repr(read(id=7, content="secret")) == "<ChatwootMessage 7>"


@pytest.mark.parametrize("raw", [None, 1, "x", [], {}, {"id": "7"}, {"id": 0}])
def test_a_message_without_an_id_is_none(raw: t.Any) -> None:
    assert message_from(raw) is None


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        *[(value, ()) for value in [*NOTHING, "x", 1, [], [None, 1, "x", []]]],
        ([{}], (Attachment("file"),)),
        (
            [{"file_type": "image", "data_url": "https://x.example/a", "file_size": 7}],
            (Attachment("image", "https://x.example/a", 7),),
        ),
        ([{"file_type": 1, "data_url": [], "file_size": "7"}], (Attachment("file"),)),
        ([{"file_type": "", "file_size": True}], (Attachment("file"),)),
        ([{"file_type": "audio", "file_size": -1}], (Attachment("audio"),)),
        (
            [{"file_type": "location"}, None, {"file_type": "video"}],
            (Attachment("location"), Attachment("video")),
        ),
    ],
)
def test_attachments_are_read(listed: t.Any, expected: tuple[Attachment, ...]) -> None:
    assert read(attachments=listed).attachments == expected
    assert read().attachments == ()


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({MARKER: "job-1"}, "job-1"),
        *[({MARKER: 1}, None), ({MARKER: None}, None), ({}, None)],
        *[(None, None), ([MARKER], None)],
    ],
)
def test_the_marker_of_a_post_is_read(attributes: t.Any, expected: str | None) -> None:
    assert read(content_attributes=attributes).marker == expected


MAIL: t.Final = {"email": {"text_content": {"quoted": "short"}}}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"content": " Hello\n"}, " Hello"),
        ({"content": None}, ""),
        *[({"content": 1}, ""), ({"content": ["x"]}, ""), ({"content": {}}, "")],
        ({}, ""),
        ({"content": "long", "content_attributes": MAIL}, "short"),
        ({"content": "Hello", "content_attributes": [1]}, "Hello"),
        ({"content": "<p>x</p>"}, "<p>x</p>"),
    ],
)
def test_the_api_lists_the_text_as_typed(fields: dict[str, t.Any], text: str) -> None:
    message = read(**fields)

    assert (message.text, message.rendered) == (text, False)


@pytest.mark.parametrize(
    ("attributes", "deleted"), [({"deleted": True}, True), ({}, False), ([], False)]
)
def test_a_deleted_message_is_marked(attributes: t.Any, deleted: bool) -> None:
    assert read(content_attributes=attributes).deleted is deleted


# Who wrote


USER: t.Final = {"id": 4, "name": "Olga", "type": "user"}
PHONE: t.Final = {"external_echo": True}


def by(sender: t.Any, **fields: t.Any) -> dict[str, t.Any]:
    return {"sender": sender, **fields}


def noted(**attributes: t.Any) -> dict[str, t.Any]:
    return {"content_attributes": attributes}


AUTHORS: t.Final[dict[str, tuple[dict[str, t.Any], bool]]] = {
    "a user": (by(USER), True),
    "a user, type in numbers": (by(USER, message_type=1), True),
    "a user as in the table": (by({**USER, "type": "User"}), True),
    "our own post": (by(USER, **noted(flask_chatwoot="job")), False),
    "a marker of another type": (by(USER, **noted(flask_chatwoot=None)), False),
    "a user's note": (by(USER, private=True), False),
    "the customer": ({"message_type": "incoming"}, False),
    "the customer, in numbers": ({"message_type": 0}, False),
    "an activity": (by(USER, message_type="activity"), False),
    "an activity, in numbers": (by(USER, message_type=2), False),
    "a template": (by(USER, message_type="template"), False),
    "a template, in numbers": (by(None, message_type=3), False),
    "an automation": (by(None, **noted(automation_rule_id=1)), False),
    "an automation as a user": (by(USER, **noted(automation_rule_id=1)), False),
    "a campaign": (by(USER, additional_attributes={"campaign_id": 7}), False),
    "no campaign": (by(USER, additional_attributes={"campaign_id": None}), True),
    "an agent bot": (by({"id": 4, "type": "agent_bot"}), False),
    "an agent bot as in the table": (by({"id": 4, "type": "AgentBot"}), False),
    "Captain": (by({"id": 4, "type": "captain_assistant"}), False),
    "Captain as in the table": (by({"type": "Captain::Assistant"}), False),
    "a contact without a type": (by(CONTACT), False),
    "null": (by(None), False),
    "no sender": ({}, False),
    "a phone": (by(None, **noted(**PHONE)), True),
    "a phone without a sender key": (noted(**PHONE), True),
    "a phone in the other attributes": (by(None, additional_attributes=PHONE), True),
    "a phone with a name": (by(None, **noted(external_sender_name="Olga")), True),
    "a phone with a name at the top": (by(None, external_sender_name="Olga"), True),
    "a phone, in numbers": ({"message_type": 1, **noted(**PHONE)}, True),
    "no phone": (by(None, **noted(external_echo=False)), False),
    "a phone that is a bot": (
        *(by({"type": "agent_bot"}, **noted(external_echo=1)), False),
    ),
    "our own post from a phone": (noted(**PHONE, flask_chatwoot="job"), False),
    "a sender that is text": (by("user"), False),
    "a sender that is a list": (by([USER]), False),
    "a sender's type that is a list": (by({"type": ["user"]}), False),
    "a sender's type that is an object": (by({"type": {"user": 1}}), False),
    "attributes of other types": (
        *(by(USER, content_attributes="x", additional_attributes=[1]), True),
    ),
    "a message type that is a list": (by(USER, message_type=["outgoing"]), False),
    "a message type that is null": (by(USER, message_type=None), False),
}


@pytest.mark.parametrize(("fields", "expected"), AUTHORS.values(), ids=AUTHORS)
def test_an_operator_is_recognized(fields: dict[str, t.Any], expected: bool) -> None:
    written = read(**{"message_type": "outgoing", "private": False, **fields})

    assert written.by_operator is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        *[({"message_type": kind}, Speaker.CUSTOMER) for kind in (0, "incoming")],
        (by({"type": "user"}, message_type=1), Speaker.OPERATOR),
        (by({"type": "agent_bot"}, message_type=1), Speaker.MACHINE),
        *[({"message_type": kind}, Speaker.MACHINE) for kind in (1, 3, "template")],
        *[({"message_type": kind}, None) for kind in (2, "activity")],
        (by({"type": "user"}, message_type=1, private=True), None),
        *[(fields, Speaker.MACHINE) for fields in ({"message_type": [0]}, {})],
    ],
)
def test_the_speaker_of_a_message_is_known(
    fields: dict[str, t.Any], expected: Speaker | None
) -> None:
    assert read(**fields).speaker is expected


# Rendered text


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
        ('<p><a href="https://x.example">https://x.org</a></p>', "https://x.org"),
        ("<p>Grüße 🙂 &nbsp;!</p>", "Grüße 🙂 \u00a0!"),
        ("<p>never closed", "never closed"),
        ("", ""),
    ],
)
def test_rendered_text_is_converted_back(html: str, text: str) -> None:
    assert unrendered(html) == text


HTML_PARTS = st.sampled_from(
    [
        *("<", ">", "</", "/>", "<!", "<!--", "-->", "<![", "<![CDATA[", "]]>", "<?"),
        *("<p>", "</p>", "<br />\n", "<li>", "&", "&#", "&#x", ";", "9" * 12, "&lt;"),
        *('"', "'", "=", "a", " ", "\n", "[", "]", "<script>", "<!DOCTYPE ", "if"),
        "\0",
    ]
)


@pytest.mark.slow
@settings(deadline=None)
@given(st.lists(HTML_PARTS).map("".join) | st.text())
def test_no_html_raises(html: str) -> None:
    assert isinstance(unrendered(f"<p>{html}</p>"), str)


@pytest.mark.parametrize("opening", ["<![foo[", "<![if x", "<!-", "<!DOCTYPE a ["])
def test_a_declaration_that_a_customer_typed_does_not_raise(opening: str) -> None:
    assert isinstance(unrendered(f"<p>{opening} x</p>"), str)


# Times


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("2026-07-27T09:12:33.123Z", 1785143553.123),
        ("2026-07-27T09:12:33Z", 1785143553.0),
        ("2026-07-27T11:12:33+02:00", 1785143553.0),
        ("2026-07-27T09:12:33", 1785143553.0),
        (" 2026-07-27 09:12:33 UTC", None),
        (" 2026-07-27T09:12:33Z\n", 1785143553.0),
        (1785143553, 1785143553.0),
        (1785143553.5, 1785143553.5),
        *[(value, None) for value in (0, -1, 1e11, 10**400, float("inf"))],
        *[(value, None) for value in ("", " ", "soon", "1785143553", "2026-13-01")],
        *[(value, None) for value in (None, True, False, [], [1], {}, {"a": 1})],
        ("2026-07-27T09:12:33Z" * 1000, None),
        ("\ud800", None),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_time_is_read_or_is_none(value: t.Any, seconds: float | None) -> None:
    assert as_seconds(value) == seconds


@pytest.mark.parametrize(
    "value", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "0001-01-01"]
)
def test_an_extreme_time_does_not_raise(value: str) -> None:
    assert isinstance(as_seconds(value), float | None)
