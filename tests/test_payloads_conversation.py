from __future__ import annotations

import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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

CONTACT: t.Final = {
    "id": 55,
    "name": "Ada",
    "email": "ada@example.com",
    "phone_number": "+4912345",
    "identifier": "crm-7",
    "custom_attributes": {"plan": "gold"},
}


def read(**fields: t.Any) -> ChatwootMessage:
    """A message as the API's list has it."""
    message = message_from({"id": 1, **fields})
    assert message is not None

    return message


def conversation_in(delivery: dict[str, t.Any]) -> Conversation:
    return conversation_from(as_object(delivery.get("conversation")), delivery)


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


def test_a_conversation_of_which_nothing_is_known_is_open_to_replies() -> None:
    assert conversation_from({}) == Conversation(0)
    assert conversation_from({}).can_reply
    assert conversation_from({"last_non_activity_message": [1]}).last_message is None


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        (
            {"assignee": {"id": 4, "type": "user"}, "assignee_type": "User"},
            Assignee("user", 4),
        ),
        ({"assignee": {"id": 4, "name": "Olga"}}, Assignee("user", 4)),
        (
            {"assignee": {"id": 4, "type": "agent_bot"}, "assignee_type": "AgentBot"},
            Assignee("agent_bot", 4),
        ),
        (
            {"assignee": {"id": 4}, "assignee_type": "AgentBot"},
            Assignee("agent_bot", 4),
        ),
        ({"assignee": {"id": 4, "type": "agent_bot"}}, Assignee("agent_bot", 4)),
        ({"assignee": {"id": "4"}}, Assignee("user", None)),
        ({"assignee": {"id": 4}, "assignee_type": ["AgentBot"]}, Assignee("user", 4)),
        ({"assignee": None}, None),
        ({"assignee": {}}, None),
        ({"assignee": [4]}, None),
        ({"assignee": "Olga"}, None),
        ({"assignee": 4}, None),
        (None, None),
        ([], None),
        ("x", None),
    ],
)
def test_the_assignee_is_known_by_id_and_type(
    meta: t.Any, expected: Assignee | None
) -> None:
    assert conversation_from({"meta": meta}).assignee == expected


@pytest.mark.parametrize(
    ("messages", "newest"),
    [
        ([{"id": 5}], 5),
        ([{"id": 5}, {"id": 9}, {"id": 7}], 9),
        ([{"id": "5"}, None, [], {"id": True}, {"id": -1}, {}, {"id": 2**63}], 0),
        (None, 0),
        ([], 0),
        ({}, 0),
        ("x", 0),
        ({"id": 5}, 0),
    ],
)
def test_the_newest_message_of_a_conversation_is_found(
    messages: t.Any, newest: int
) -> None:
    assert conversation_from({"messages": messages}).newest_message_id == newest


ADA = Contact(
    id=55,
    name="Ada",
    email="ada@example.com",
    phone_number="+4912345",
    identifier="crm-7",
    custom_attributes={"plan": "gold"},
)


@pytest.mark.parametrize(
    "delivery",
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
def test_the_contact_is_found_wherever_a_server_puts_it(
    delivery: dict[str, t.Any],
) -> None:
    assert conversation_in(delivery).contact == ADA


@pytest.mark.parametrize(
    "delivery",
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
def test_another_sender_is_not_taken_for_the_contact(
    delivery: dict[str, t.Any],
) -> None:
    assert conversation_in(delivery).contact == Contact()


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
        ({"browser_language": ""}, None),
        ({"browser_language": None}, None),
        ({"browser_language": 1}, None),
        ({"browser_language": []}, None),
        ({"browser": {}}, None),
        (None, None),
        ([], None),
        ("de", None),
    ],
)
def test_the_language_is_the_browsers_if_there_is_one(
    attributes: t.Any, expected: str | None
) -> None:
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
    assert read(attachments=listed).attachments == expected


def test_a_message_without_attachments_has_none() -> None:
    assert read().attachments == ()


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({MARKER: "job-1"}, "job-1"),
        ({MARKER: 1}, None),
        ({MARKER: None}, None),
        ({}, None),
        (None, None),
        ([MARKER], None),
    ],
)
def test_our_own_posts_are_known_by_their_marker(
    attributes: t.Any, expected: str | None
) -> None:
    assert read(content_attributes=attributes).marker == expected


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ({"content": " Hello\n"}, "Hello"),
        ({"content": None}, ""),
        ({"content": 1}, ""),
        ({"content": ["x"]}, ""),
        ({"content": {}}, ""),
        ({}, ""),
        (
            {
                "content": "long",
                "content_attributes": {"email": {"text_content": {"quoted": "short"}}},
            },
            "short",
        ),
        ({"content": "Hello", "content_attributes": [1]}, "Hello"),
    ],
)
def test_the_text_of_a_listed_message_is_read(
    written: dict[str, t.Any], text: str
) -> None:
    message = read(**written)

    assert message.text.strip() == text
    assert not message.rendered


def test_html_in_a_list_is_what_was_typed() -> None:
    message = read(content="<p>x</p>")

    assert (message.text, message.rendered) == ("<p>x</p>", False)


@pytest.mark.parametrize(
    ("attributes", "deleted"), [({"deleted": True}, True), ({}, False), ([], False)]
)
def test_a_deleted_message_says_so(attributes: t.Any, deleted: bool) -> None:
    assert read(content_attributes=attributes).deleted is deleted


# Who wrote


USER: t.Final = {"id": 4, "name": "Olga", "type": "user"}
AUTHORS: t.Final[dict[str, tuple[dict[str, t.Any], bool]]] = {
    "a user": ({"sender": USER}, True),
    "a user, in numbers": ({"sender": USER, "message_type": 1}, True),
    "a user in the shape of the table": ({"sender": {**USER, "type": "User"}}, True),
    "our own post": (
        {"sender": USER, "content_attributes": {"flask_chatwoot": "job"}},
        False,
    ),
    "our own post with a strange marker": (
        {"sender": USER, "content_attributes": {"flask_chatwoot": None}},
        False,
    ),
    "a user's note": ({"sender": USER, "private": True}, False),
    "the customer": ({"message_type": "incoming"}, False),
    "the customer, in numbers": ({"message_type": 0}, False),
    "an activity": ({"sender": USER, "message_type": "activity"}, False),
    "an activity, in numbers": ({"sender": USER, "message_type": 2}, False),
    "a template": ({"sender": USER, "message_type": "template"}, False),
    "a template, in numbers": ({"sender": None, "message_type": 3}, False),
    "an automation": (
        {"sender": None, "content_attributes": {"automation_rule_id": 1}},
        False,
    ),
    "an automation as a user": (
        {"sender": USER, "content_attributes": {"automation_rule_id": 1}},
        False,
    ),
    "a campaign": (
        {"sender": USER, "additional_attributes": {"campaign_id": 7}},
        False,
    ),
    "no campaign": (
        {"sender": USER, "additional_attributes": {"campaign_id": None}},
        True,
    ),
    "an agent bot": ({"sender": {"id": 4, "type": "agent_bot"}}, False),
    "an agent bot as in the table": ({"sender": {"id": 4, "type": "AgentBot"}}, False),
    "Captain": ({"sender": {"id": 4, "type": "captain_assistant"}}, False),
    "Captain as in the table": ({"sender": {"type": "Captain::Assistant"}}, False),
    "a contact without a type": ({"sender": CONTACT}, False),
    "nobody": ({"sender": None}, False),
    "nobody at all": ({}, False),
    "a phone": ({"sender": None, "content_attributes": {"external_echo": True}}, True),
    "a phone without the key of the sender": (
        {"content_attributes": {"external_echo": True}},
        True,
    ),
    "a phone in the other attributes": (
        {"sender": None, "additional_attributes": {"external_echo": True}},
        True,
    ),
    "a phone with a name": (
        {"sender": None, "content_attributes": {"external_sender_name": "Olga"}},
        True,
    ),
    "a phone with a name at the top": (
        {"sender": None, "external_sender_name": "Olga"},
        True,
    ),
    "a phone, in numbers": (
        {"message_type": 1, "content_attributes": {"external_echo": True}},
        True,
    ),
    "no phone": (
        {"sender": None, "content_attributes": {"external_echo": False}},
        False,
    ),
    "a phone that is a bot": (
        {"sender": {"type": "agent_bot"}, "content_attributes": {"external_echo": 1}},
        False,
    ),
    "our own post from a phone": (
        {"content_attributes": {"external_echo": True, "flask_chatwoot": "job"}},
        False,
    ),
    "a sender that is text": ({"sender": "user"}, False),
    "a sender that is a list": ({"sender": [USER]}, False),
    "a type that is a list": ({"sender": {"type": ["user"]}}, False),
    "a type that is an object": ({"sender": {"type": {"user": 1}}}, False),
    "attributes of other types": (
        {"sender": USER, "content_attributes": "x", "additional_attributes": [1]},
        True,
    ),
    "a kind that is a list": ({"sender": USER, "message_type": ["outgoing"]}, False),
    "a kind that is nothing": ({"sender": USER, "message_type": None}, False),
}


@pytest.mark.parametrize(("fields", "expected"), AUTHORS.values(), ids=AUTHORS)
def test_an_operator_is_distinguished_from_machines(
    fields: dict[str, t.Any], expected: bool
) -> None:
    written = read(**{"message_type": "outgoing", "private": False, **fields})

    assert written.by_operator is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"message_type": 0}, Speaker.CUSTOMER),
        ({"message_type": "incoming"}, Speaker.CUSTOMER),
        ({"message_type": 1, "sender": {"type": "user"}}, Speaker.OPERATOR),
        ({"message_type": 1, "sender": {"type": "agent_bot"}}, Speaker.MACHINE),
        ({"message_type": 1}, Speaker.MACHINE),
        ({"message_type": 3}, Speaker.MACHINE),
        ({"message_type": "template"}, Speaker.MACHINE),
        ({"message_type": 2}, None),
        ({"message_type": "activity"}, None),
        ({"message_type": 1, "sender": {"type": "user"}, "private": True}, None),
        ({"message_type": [0]}, Speaker.MACHINE),
        ({}, Speaker.MACHINE),
    ],
)
def test_it_is_known_who_speaks(
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
    assert unrendered(html) == text


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
    assert isinstance(unrendered(f"<p>{html}</p>"), str)


@pytest.mark.parametrize("opening", ["<![foo[", "<![if x", "<!-", "<!DOCTYPE a ["])
def test_a_declaration_a_customer_typed_raises_nothing(opening: str) -> None:
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
def test_a_time_at_the_end_of_time_breaks_nothing(value: str) -> None:
    assert isinstance(as_seconds(value), float | None)
