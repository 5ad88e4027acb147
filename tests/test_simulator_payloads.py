"""The bodies of deliveries and answers, and Liquid, as pure functions."""

from __future__ import annotations

import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.simulation import values

from flask_chatwoot.simulator import liquid, payloads
from flask_chatwoot.simulator.payloads import (
    Agent,
    ContactRecord,
    ConversationRecord,
    Inbox,
    MessageRecord,
    MessageType,
    Version,
)

BOT = Agent(id=9, name="Assistant", bot=True)
OLGA = Agent(id=5, name="Olga", email="olga@example.com")
NOTE = MessageRecord(id=9003, type=MessageType.OUTGOING, private=True, sender=OLGA)
ACTIVITY = MessageRecord(id=9004, content="…", type=MessageType.ACTIVITY, sender=None)
HELLO = MessageRecord()
TALK = ConversationRecord()
MOMENT: t.Final = "2026-07-27T09:12:33.123Z"


def delivered(
    message: MessageRecord = HELLO, talk: ConversationRecord = TALK, **options: t.Any
) -> payloads.JSON:
    return payloads.message_event(message, talk, **options)


def inner(body: payloads.JSON) -> payloads.JSON:
    """The only message of the conversation in a delivery."""
    [message] = body["conversation"]["messages"]
    return t.cast(payloads.JSON, message)


# -- versions ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "version"),
    [("4.16.2", (4, 16, 2)), ("4.2", (4, 2, 0)), ("10.0.1", (10, 0, 1))],
)
def test_a_version_is_read(text: str, version: tuple[int, ...]) -> None:
    assert payloads.parse_version(text) == version


@pytest.mark.parametrize("text", ["", "4", "v4.2", "4.2.", "4.2-rc1", "٤.٢", "4.2\n"])
def test_an_invalid_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a version of Chatwoot"):
        payloads.parse_version(text)


# -- deliveries ----------------------------------------------------------------


def test_a_message_is_delivered_with_all_keys() -> None:
    body = delivered()
    fields = "event message_type created_at inbox conversation.id"
    shown = ["message_created", "incoming", MOMENT, {"id": 3, "name": "Website"}, 42]

    assert body.keys() == {
        *("account", "additional_attributes", "content", "content_attributes"),
        *("content_type", "conversation", "created_at", "event", "id", "inbox"),
        *("message_type", "private", "sender", "source_id"),
    }
    assert values(body, fields) == shown
    assert "attachments" not in inner(body)
    assert delivered(event="message_updated")["event"] == "message_updated"


CONTACT_KEYS: t.Final = {
    *("id", "name", "email", "phone_number", "identifier", "avatar", "thumbnail"),
    *("blocked", "custom_attributes", "additional_attributes", "account"),
}


@pytest.mark.parametrize(
    ("sender", "keys", "type"),
    [
        (None, None, None),
        (OLGA, {"id", "name", "email", "type"}, "user"),
        (BOT, {"id", "name", "type"}, "agent_bot"),
        (ContactRecord(), CONTACT_KEYS, None),
    ],
    ids=["none", "operator", "bot", "contact"],
)
def test_a_sender_has_the_keys_of_its_kind(
    sender: payloads.Sender, keys: set[str] | None, type: str | None
) -> None:
    shown = delivered(MessageRecord(sender=sender))["sender"]
    assert (shown and set(shown)) == keys
    assert (shown or {}).get("type") == type


def test_the_contact_is_always_the_sender_of_the_conversation() -> None:
    contact = ContactRecord(id=7, custom_attributes={"plan": "gold"})
    body = delivered(MessageRecord(sender=BOT), ConversationRecord(contact=contact))
    sender = body["conversation"]["meta"]["sender"]
    assert values(sender, "id type") == [7, "contact"]
    assert sender["custom_attributes"] == {"plan": "gold"}


def test_the_inner_message_is_the_last_public_one() -> None:
    body = delivered(NOTE, history=[MessageRecord(id=9001), NOTE, ACTIVITY])
    assert (body["id"], inner(body)["id"]) == (9003, 9001)
    assert delivered(NOTE)["conversation"]["messages"] == []


def test_the_inner_message_has_numbers_where_the_outer_one_has_words() -> None:
    names = "message_type created_at updated_at sender_type status"
    shown = inner(delivered())
    assert values(shown, names) == [0, 1785143553, MOMENT, "Contact", "sent"]
    assert shown["conversation"]["unread_count"] == 1


@pytest.mark.parametrize(
    ("sender", "author"),
    [(OLGA, ["User", 5]), (BOT, ["AgentBot", 9]), (None, [None] * 2)],
)
def test_the_inner_message_names_its_author(sender: t.Any, author: t.Any) -> None:
    shown = inner(delivered(MessageRecord(sender=sender)))
    assert values(shown, "sender_type sender_id") == author
    assert ("sender" in shown) == (sender is not None)


@pytest.mark.parametrize(
    ("version", "assignee", "kind", "shown"),
    [
        ((4, 7, 0), OLGA, "absent", 5),
        ((4, 7, 0), BOT, "absent", None),
        ((4, 8, 0), OLGA, "User", 5),
        ((4, 8, 0), BOT, "AgentBot", 9),
        ((4, 8, 0), None, None, None),
    ],
)
def test_bots_and_the_type_of_assignee_are_shown_since_4_8(
    version: Version, assignee: Agent | None, kind: str | None, shown: t.Any
) -> None:
    body = delivered(talk=ConversationRecord(assignee=assignee), version=version)
    meta = body["conversation"]["meta"]
    user = 5 if assignee == OLGA else None  # only users are assignees further inside

    assert meta.get("assignee_type", "absent") == kind
    assert (meta["assignee"] and meta["assignee"]["id"]) == shown
    assert inner(body)["conversation"]["assignee_id"] == user


MARKED: t.Final = "a <b>\\\nc\n\nd\n"
HTML: t.Final = "<p>a &lt;b&gt;\\\nc</p>\n<p>d</p>\n"


@pytest.mark.parametrize(
    ("version", "channel", "content", "expected"),
    [
        ((4, 2, 0), "WebWidget", MARKED, MARKED),
        ((4, 8, 9), "WebWidget", MARKED, MARKED),
        ((4, 9, 0), "WebWidget", MARKED, HTML),
        ((4, 12, 0), "Email", MARKED, HTML),
        ((4, 12, 0), "Api", MARKED, MARKED),
        ((4, 12, 1), "WebWidget", MARKED, MARKED),
        ((4, 13, 0), "WebWidget", MARKED, "a <b>\nc\n\nd\n"),
        ((4, 14, 2), "WebWidget", MARKED, "a <b>\nc\n\nd"),
        ((4, 9, 0), "WebWidget", None, None),
        ((4, 9, 0), "WebWidget", "", ""),
    ],
)
def test_content_is_what_that_version_makes_of_it(
    version: Version, channel: str, content: str | None, expected: str | None
) -> None:
    talk = ConversationRecord(inbox=Inbox(channel=f"Channel::{channel}"))
    body = delivered(MessageRecord(content=content), talk, version=version)
    assert body["content"] == expected
    assert inner(body)["content"] == content


def test_changed_attributes_may_be_null_or_absent() -> None:
    updated = payloads.conversation_event("conversation_updated", TALK)
    opened = payloads.conversation_event("conversation_opened", TALK)
    assert updated["changed_attributes"] is None
    assert "changed_attributes" not in opened


def test_automatic_e_mails_are_not_flagged_before_4_5() -> None:
    message = payloads.incoming_email("Away.", auto_reply=True, version=(4, 4, 0))
    assert "auto_reply" not in message.content_attributes["email"]


# -- answers -------------------------------------------------------------------


def test_the_api_shows_a_message_with_numbers() -> None:
    message = MessageRecord(type=MessageType.OUTGOING, sender=BOT)

    assert payloads.api_message(message, TALK) == {
        **{"id": 9001, "content": "Hello", "inbox_id": 3, "conversation_id": 42},
        **{"message_type": 1, "content_type": "text", "content_attributes": {}},
        **{"status": "sent", "created_at": 1785143553, "private": False},
        "source_id": None,
        "sender": {"id": 9, "name": "Assistant", "avatar_url": "", "type": "agent_bot"},
    }


def test_the_api_shows_messages_with_the_meta_data_of_their_conversation() -> None:
    talk = ConversationRecord(labels=("billing",), assignee=OLGA)
    body = payloads.api_messages([MessageRecord(), NOTE], talk)

    assert [message["id"] for message in body["payload"]] == [9001, 9003]
    assert values(body["meta"], "labels contact.id assignee.id") == [["billing"], 55, 5]
    assert "assignee" not in payloads.api_messages([], ConversationRecord())["meta"]


def test_the_api_shows_a_conversation() -> None:
    mode = {"support_mode": "bot"}
    talk = ConversationRecord(status="pending", custom_attributes=mode)
    body = payloads.api_conversation(talk, [HELLO, NOTE, ACTIVITY])
    empty = payloads.api_conversation(ConversationRecord(assignee=OLGA), [])

    assert values(body, "id account_id status") == [42, 1, "pending"]
    assert body["custom_attributes"] == mode
    assert body["meta"]["channel"] == "Channel::WebWidget"
    assert body["messages"][0]["id"] == 9004
    assert body["last_non_activity_message"]["id"] == 9003
    assert "assignee" not in body["meta"]
    assert values(empty, "messages last_non_activity_message") == [[], None]
    assert empty["meta"]["assignee_type"] == "User"


# -- Liquid --------------------------------------------------------------------

PLAN = {"plan": "gold"}
MAIL = "ada@example.com"
ADA = ContactRecord(name="ada king LOVELACE", email=MAIL, custom_attributes=PLAN)
DROPS = payloads.drops(ConversationRecord(contact=ADA), BOT)
UNSET = ["contact.phone_number", "contact.name.first", "agent.first_name"]
CODE = ["`{{ contact.name }}`", "`a\n{% if %}\nb`", "```\n{{ contact.name }}\n```"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *((plain, plain) for plain in ("", "Hello } %} }} {")),
        ("Hi {{contact.name}}!", "Hi Ada King Lovelace!"),
        ("{{ contact.first_name }}/{{ contact.last_name }}", "Ada/Lovelace"),
        ("<{{ contact.email }}>", "<ada@example.com>"),
        ("{{ contact.custom_attribute.plan }}", "gold"),
        *((f"{{{{ {name} }}}}", "") for name in [*UNSET, "contact.custom_attribute"]),
        ("{{ conversation.display_id }} {{ inbox.name }}", "42 Website"),
        ("{{ account.name }} {{ agent.name }}", "Acme Assistant"),
        ("a{{ nobody }}b{{ }}c", "abc"),
        ("{{ 5 }}{{ -1.5 }}", "5-1.5"),
        ("{{ '{' }}{ \"{{ '%' }}}", '{{ "%}'),
        ('{{ "it\'s" | upcase }}', "IT'S"),
        ("{{ '%60' | url_decode }}", "`"),
        ("{{ 'A' | downcase | unheard_of: 1 }}", "a"),
        ("a {{- 'b' -}} c", "abc"),
        ("a {{- 'b' }} c", "ab c"),
        ("a\n{%- raw -%} {{ x }} {% endraw %}\nb", "a {{ x }} b"),
        ("{% raw %}{{ x }}{% y %}{% endraw %}", "{{ x }}{% y %}"),
        ("{% raw %}{{ x {% endraw %}z", "{{ x z"),
        *((code, code) for code in CODE),
        ("`{{` and {{ 'x' }} and `%}`", "`{{` and x and `%}`"),
        ("`{% endraw %}{{ 'gone' }}{% raw %}`", "`gone`"),
    ],
)
def test_liquid_is_evaluated(text: str, expected: str) -> None:
    assert liquid.render(text, DROPS) == expected


@pytest.mark.parametrize(
    "broken",
    [
        *("{{", "{%", "{{ 'a' }", "{% if true %}x{% endif %}", "{% assign x = 1 %}"),
        *("{% endraw %}", "{% raw %} never closed", "{% raw now %}{% endraw %}"),
        *("{% %}", "`{% endraw %}`", "`{{`}", "{{ '{%' }} {%"),
    ],
)
def test_an_error_in_liquid_leaves_the_whole_text_unchanged(broken: str) -> None:
    text = f"{{{{ contact.name }}}} {broken}"
    assert liquid.render(text, DROPS) == text


def test_a_single_name_has_no_first_and_last() -> None:
    drops = payloads.drops(ConversationRecord(contact=ContactRecord(name="ada")), None)
    assert liquid.render("{{contact.name}}{{contact.last_name}}", drops) == "Ada"
    assert liquid.render("{{agent.name}}", drops) == ""


@pytest.mark.parametrize(
    "text",
    ["{{" * 50_000, "`{{" + "{% a" * 30_000 + "}`", "{%" * 50_000 + "%}"],
    ids=["outputs", "tags in an output in backticks", "tags"],
)
def test_hostile_templates_take_little_time(text: str) -> None:
    before = time.process_time()
    assert isinstance(liquid.render(text, DROPS), str)
    assert time.process_time() - before < 2


@pytest.mark.slow
@given(st.text(alphabet="{}%-`|'\" raw end\n", max_size=60))
def test_liquid_never_raises(text: str) -> None:
    assert isinstance(liquid.render(text, DROPS), str)


@pytest.mark.slow
@given(st.text().filter(lambda text: "{{" not in text and "{%" not in text))
def test_text_without_template_code_is_unchanged(text: str) -> None:
    assert liquid.render(text, DROPS) == text
