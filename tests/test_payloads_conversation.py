from __future__ import annotations

import typing as t

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.payload_samples import ADA, CONTACT

from flask_chatwoot.payloads.attachments import Attachment
from flask_chatwoot.payloads.conversation import (
    Assignee,
    ChatwootMessage,
    Contact,
    Conversation,
    Speaker,
    conversation_from,
    identified,
    message_from,
)
from flask_chatwoot.payloads.fields import MARKER, as_object, as_seconds
from flask_chatwoot.payloads.typed import unrendered

NOTHING: t.Final[list[t.Any]] = [None, {}]
JSON = dict[str, t.Any]


def read(**fields: t.Any) -> ChatwootMessage:
    """A message as the API lists it."""
    return t.cast(ChatwootMessage, message_from({"id": 1, **fields}))


# Conversations


def test_a_conversation_of_the_api_is_read() -> None:
    fields: JSON = {
        **{"id": 42, "inbox_id": 3, "status": "pending"},
        **{"can_reply": False, "updated_at": 1785143553.5},
        "custom_attributes": {"topic": "Invoice"},
        "additional_attributes": {"browser_language": "de"},
    }
    last, channel = {"id": 7, "message_type": 0, "content": "x"}, "Channel::WebWidget"
    meta = {"sender": CONTACT, "channel": channel}
    raw = {**fields, "account_id": 1, "meta": meta, "messages": [{"id": 7}]}
    conversation = conversation_from({**raw, "last_non_activity_message": last})
    found: JSON = {"channel": channel, "contacts": (ADA,), "last_message": read(**last)}

    assert conversation == Conversation(**fields, **found, newest_message_id=7)
    assert (conversation.contact, conversation.language) == (ADA, "de")
    assert repr(conversation) == "<Conversation 42>"


def test_an_empty_conversation_can_be_replied_to() -> None:
    for raw in ({}, {"meta": [], "last_non_activity_message": [1]}):
        assert conversation_from(raw) == Conversation(0, can_reply=True)


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
        ({"id": 4}, "Captain::Assistant", Assignee("machine", 4)),
        ({"id": 4, "type": "captain_assistant"}, None, Assignee("machine", 4)),
        *[(value, None, None) for value in [*NOTHING, [4], "Olga", 4]],
    ],
)
def test_the_assignee_is_read(assignee: t.Any, kind: t.Any, expected: t.Any) -> None:
    meta = {"assignee": assignee} | ({"assignee_type": kind} if kind else {})
    assert conversation_from({"meta": meta}).assignee == expected


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


NO_CONTACTS = ("user", "agent_bot", ["contact"])


def in_meta(found: t.Any, **values: t.Any) -> JSON:
    return {"conversation": {"meta": {"sender": found}}, **values}


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        ({"contact": CONTACT}, ADA),
        (in_meta(CONTACT), ADA),
        ({"sender": CONTACT}, ADA),
        ({"sender": CONTACT | {"type": "contact"}}, ADA),
        ({"contact": CONTACT, "sender": {"id": 1}}, ADA),
        (in_meta(CONTACT, sender={"id": 1}), ADA),
        (in_meta({}, sender=CONTACT), ADA),
        ({"contact": None, "conversation": None, "sender": CONTACT}, ADA),
        *[({}, Contact()), ({"sender": None}, Contact())],
        *[({"sender": CONTACT | {"type": kind}}, Contact()) for kind in NO_CONTACTS],
        (in_meta([CONTACT], contact=[CONTACT], sender="A"), Contact()),
        ({"contact": {"id": "5", "name": 1, "custom_attributes": [1]}}, Contact()),
    ],
)
def test_the_contact_is_found_wherever_it_is(delivery: JSON, expected: Contact) -> None:
    conversation = as_object(delivery.get("conversation"))
    assert conversation_from(conversation, delivery).contact == expected


@pytest.mark.parametrize("place", ["contact", "sender", "meta"])
def test_a_contact_that_is_blocked_anywhere_is_blocked(place: str) -> None:
    blocked = {"id": 1, "blocked": True}
    conversation = {"meta": {"sender": blocked}} if place == "meta" else {}
    found = conversation_from(conversation, {"contact": {"id": 2}, place: blocked})

    assert found.blocked
    assert not conversation_from({}, {"sender": {"id": 1, "blocked": "yes"}}).blocked


def test_a_contact_and_a_message_show_no_more_than_their_id() -> None:
    assert repr(ADA) == "Contact(id=55)"
    assert repr(read(id=7, content="secret")) == "<ChatwootMessage 7>"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        *[({"browser_language": text}, text) for text in ("de", "pt-BR")],
        *[({"browser_language": value}, None) for value in [*NOTHING, "", 1, []]],
        *[(value, None) for value in [*NOTHING, {"browser": {}}, [], "de"]],
    ],
)
def test_the_language_of_the_browser(attributes: t.Any, expected: str | None) -> None:
    found = conversation_from({"additional_attributes": attributes})
    assert found.language == expected


# Messages


@pytest.mark.parametrize("raw", [None, 1, "x", [], {}, {"id": "7"}, {"id": 0}])
def test_a_message_without_an_id_is_none(raw: t.Any) -> None:
    assert message_from(raw) is None


IMAGE = {"file_type": "image", "data_url": "https://x.example/a", "file_size": 7}


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        *[(value, ()) for value in [*NOTHING, "x", 1, [], [None, 1, "x", []]]],
        ([{}], (Attachment("file"),)),
        ([IMAGE], (Attachment("image", "https://x.example/a", 7),)),
        ([{"file_type": 1, "data_url": [], "file_size": "7"}], (Attachment("file"),)),
        ([{"file_type": "", "file_size": True}], (Attachment("file"),)),
        ([{"file_type": "x"}, None, {}], (Attachment("x"), Attachment("file"))),
    ],
)
def test_attachments_are_read(listed: t.Any, expected: tuple[Attachment, ...]) -> None:
    assert read(attachments=listed).attachments == expected
    assert read().attachments == ()


@pytest.mark.parametrize(
    ("attributes", "marker", "deleted"),
    [
        ({MARKER: "job-1"}, "job-1", False),
        *[(value, None, False) for value in ({MARKER: 1}, {}, None, [MARKER], "x", 1)],
        ({"deleted": True}, None, True),
    ],
)
def test_attributes_are_read(attributes: t.Any, marker: str, deleted: bool) -> None:
    message = read(content="Hello", content_attributes=attributes)
    assert (message.marker, message.deleted) == (marker, deleted)
    assert message.text == "Hello"


MAIL: t.Final = {"email": {"text_content": {"quoted": "short"}}}


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"content": " Hello\n"}, " Hello"),
        *[({"content": value}, "") for value in [*NOTHING, 1, ["x"]]],
        ({}, ""),
        ({"content": "long", "content_attributes": MAIL}, "short"),
        ({"content": "<p>x</p>"}, "<p>x</p>"),
    ],
)
def test_the_api_lists_the_text_as_typed(fields: JSON, text: str) -> None:
    message = read(**fields)
    assert (message.text, message.rendered) == (text, False)


# Who wrote

USER: t.Final = {"id": 4, "name": "Olga", "type": "user"}
PHONE: t.Final = {"external_echo": True}
OPERATOR, MACHINE = Speaker.OPERATOR, Speaker.MACHINE


def by(sender: t.Any, **fields: t.Any) -> JSON:
    return {"sender": sender, **fields}


def noted(**attributes: t.Any) -> JSON:
    return {"content_attributes": attributes}


def slack(source: str) -> JSON:
    return {"external_source_ids": {"slack": source}, "additional_attributes": {}}


AUTHORS: t.Final[dict[str, tuple[JSON, Speaker | None]]] = {
    "a user": (by(USER), OPERATOR),
    "a user, type in numbers": (by(USER, message_type=1), OPERATOR),
    "a user as in the table": (by({**USER, "type": "User"}), OPERATOR),
    "our own post": (by(USER, **noted(flask_chatwoot="job")), MACHINE),
    "a marker of another type": (by(USER, **noted(flask_chatwoot=None)), MACHINE),
    "a user's note": (by(USER, private=True), None),
    "the customer": ({"message_type": "incoming"}, Speaker.CUSTOMER),
    "an activity": (by(USER, message_type="activity"), None),
    "a template": (by(USER, message_type="template"), MACHINE),
    "an automation": (by(None, **noted(automation_rule_id=1)), MACHINE),
    "an automation as a user": (by(USER, **noted(automation_rule_id=1)), MACHINE),
    "a campaign": (by(USER, additional_attributes={"campaign_id": 7}), MACHINE),
    "no campaign": (by(USER, additional_attributes={"campaign_id": None}), OPERATOR),
    "an agent bot": (by({"id": 4, "type": "agent_bot"}), MACHINE),
    "Captain": (by({"id": 4, "type": "captain_assistant"}), MACHINE),
    "a contact without a type": (by(CONTACT), MACHINE),
    "an automation of none": (by(USER, **noted(automation_rule_id=None)), OPERATOR),
    "null": (by(None, content="Hi", additional_attributes={}), MACHINE),
    "no sender": ({"content": "Hi", "additional_attributes": {}}, MACHINE),
    "listed without a sender": ({"content": "Hi"}, OPERATOR),
    "listed without a text": ({"content": None}, MACHINE),  # an automation's file
    "Slack": (by(None, additional_attributes={"sender_name": "Otto"}), OPERATOR),
    "Slack, by its id": ({"content": "", **slack("1784")}, OPERATOR),
    "what Slack got a copy of": ({"content": "", **slack("cw-origin-1784")}, MACHINE),
    "a phone": (by(None, **noted(**PHONE)), OPERATOR),
    "a phone without a sender key": (noted(**PHONE), OPERATOR),
    "a phone in the others": (by(None, additional_attributes=PHONE), OPERATOR),
    "a phone with a name": (by(None, **noted(external_sender_name="Olga")), OPERATOR),
    "a phone with a name at the top": (by(None, external_sender_name="O"), OPERATOR),
    "no phone": (by(None, **noted(external_echo=False)), MACHINE),
    "a phone that is a bot": (by({"type": "agent_bot"}, **noted(**PHONE)), MACHINE),
    "our own post from a phone": (noted(**PHONE, flask_chatwoot="job"), MACHINE),
    "a sender that is a list": (by([USER]), MACHINE),
    "a sender's type that is a list": (by({"type": ["user"]}), MACHINE),
    "content attributes that are text": (by(USER, content_attributes="x"), OPERATOR),
    "others that are a list": (by(USER, additional_attributes=[1]), OPERATOR),
    "a message type that is a list": (by(USER, message_type=["outgoing"]), MACHINE),
    "a message type that is null": (by(USER, message_type=None), MACHINE),
}


@pytest.mark.parametrize(("fields", "expected"), AUTHORS.values(), ids=AUTHORS)
def test_the_speaker_is_recognized(fields: JSON, expected: Speaker | None) -> None:
    message = read(**{"message_type": "outgoing", "private": False, **fields})
    assert (message.speaker, message.by_operator) == (expected, expected is OPERATOR)


BOTS: t.Final[dict[str, int | None]] = {
    "an agent bot": 4,
    "Captain": 0,
    "null": 0,  # as of Dialogflow
    **dict.fromkeys(["an automation", "a campaign", "a phone", "no campaign"]),
    **dict.fromkeys(["Slack", "listed without a sender"]),
    "a contact without a type": None,
}


@pytest.mark.parametrize(("author", "bot"), BOTS.items(), ids=BOTS)
def test_a_bot_is_recognized(author: str, bot: int | None) -> None:
    assert read(message_type="outgoing", private=False, **AUTHORS[author][0]).bot == bot
    assert (
        read(message_type="template", private=False, **AUTHORS[author][0]).bot is None
    )


@pytest.mark.parametrize(
    ("conversation", "expected"),
    [
        ({}, MACHINE),
        ({"messages": [{"id": 1, **slack("1784")}]}, OPERATOR),
        ({"messages": [{"id": 2, **slack("1784")}]}, MACHINE),
        ({"channel": "Channel::FacebookPage"}, OPERATOR),
        ({"channel": "Channel::Whatsapp"}, MACHINE),
    ],
)
def test_a_delivery_tells_more_of_a_message_without_a_sender(
    conversation: JSON, expected: Speaker
) -> None:
    raw = {"id": 1, "message_type": "outgoing", "content": "Hi", "source_id": "m_1"}
    message = message_from({**raw, "additional_attributes": {}}, conversation)
    assert message is not None
    assert message.speaker is expected


def test_a_listed_message_without_a_sender_is_a_bots_where_that_is_known() -> None:
    first, second = (read(id=n, message_type=1, content="Hi") for n in (1, 2))
    shown = read(id=2, message_type=1, content="Hi", additional_attributes={})

    assert [first.speaker, second.speaker] == [OPERATOR, OPERATOR]
    told = identified([first, second], bots_until=1)
    assert [(each.speaker, each.bot) for each in told] == [
        (MACHINE, 0),
        (OPERATOR, None),
    ]
    assert identified([first, second], [shown]) == [first, shown]


# Rendered text


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello</p>\n", "Hello"),
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
@example("<![foo[ x")
@example("<![if x x")
@example("<!- x")
@example("<!DOCTYPE a [ x")
def test_no_html_raises(html: str) -> None:
    assert isinstance(unrendered(f"<p>{html}</p>"), str)


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
        *[(1785143553, 1785143553.0), (1785143553.5, 1785143553.5)],
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
