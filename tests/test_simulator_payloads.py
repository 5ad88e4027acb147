from __future__ import annotations

import time
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_chatwoot.simulator import liquid, payloads
from flask_chatwoot.simulator.payloads import (
    Agent,
    Contact,
    Conversation,
    Inbox,
    Message,
    MessageType,
    Team,
)

OLDEST = (4, 2, 0)
BOT = Agent(id=9, name="Assistant", bot=True)
OLGA = Agent(id=5, name="Olga", email="olga@example.com")
NOTE = Message(
    id=9003, content="psst", type=MessageType.OUTGOING, private=True, sender=OLGA
)
ACTIVITY = Message(id=9004, content="…", type=MessageType.ACTIVITY, sender=None)


def delivered(
    message: Message | None = None,
    conversation: Conversation | None = None,
    **options: t.Any,
) -> payloads.JSON:
    return payloads.message_event(
        message or Message(), conversation or Conversation(), **options
    )


def inner(body: payloads.JSON) -> payloads.JSON:
    """The only message of the conversation in a delivery."""
    [message] = body["conversation"]["messages"]

    return t.cast(payloads.JSON, message)


def shape(value: t.Any) -> t.Any:
    return sorted(value) if isinstance(value, dict) else type(value).__name__


# Versions


@pytest.mark.parametrize(
    ("text", "version"),
    [("4.16.2", (4, 16, 2)), ("4.2", (4, 2, 0)), ("10.0.1", (10, 0, 1))],
)
def test_a_version_is_read(text: str, version: tuple[int, ...]) -> None:
    assert payloads.parse_version(text) == version


@pytest.mark.parametrize("text", ["", "4", "v4.2", "4.2.", "4.2-rc1", "٤.٢", "4.2\n"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a version of Chatwoot"):
        payloads.parse_version(text)


# Deliveries


def test_a_message_is_delivered_with_all_keys() -> None:
    body = delivered()

    assert body.keys() == {
        *("account", "additional_attributes", "content", "content_attributes"),
        *("content_type", "conversation", "created_at", "event", "id", "inbox"),
        *("message_type", "private", "sender", "source_id"),
    }
    assert body["event"] == "message_created"
    assert body["message_type"] == "incoming"
    assert body["created_at"] == "2026-07-27T09:12:33.123Z"
    assert body["inbox"] == {"id": 3, "name": "Website"}
    assert body["conversation"]["id"] == 42


def test_another_event_can_be_named() -> None:
    body = delivered(event="message_updated")

    assert body["event"] == "message_updated"


@pytest.mark.parametrize(
    ("sender", "keys"),
    [
        (None, None),
        (OLGA, {"id", "name", "email", "type"}),
        (BOT, {"id", "name", "type"}),
        (
            Contact(),
            {
                *("id", "name", "email", "phone_number", "identifier", "avatar"),
                *("thumbnail", "blocked", "custom_attributes"),
                *("additional_attributes", "account"),
            },
        ),
    ],
)
def test_the_sender_looks_as_its_author_does(
    sender: payloads.Sender, keys: set[str] | None
) -> None:
    body = delivered(Message(sender=sender))

    assert (body["sender"] and set(body["sender"])) == keys


def test_all_senders_but_contacts_have_a_type() -> None:
    types = [
        delivered(Message(sender=sender))["sender"].get("type")
        for sender in (OLGA, BOT, Contact())
    ]

    assert types == ["user", "agent_bot", None]


def test_the_contact_is_always_the_sender_of_the_conversation() -> None:
    talk = Conversation(contact=Contact(id=7, custom_attributes={"plan": "gold"}))

    meta = delivered(Message(sender=BOT), talk)["conversation"]["meta"]

    assert meta["sender"]["id"] == 7
    assert meta["sender"]["type"] == "contact"
    assert meta["sender"]["custom_attributes"] == {"plan": "gold"}


def test_the_inner_message_is_the_last_public_one() -> None:
    first = Message(id=9001)
    history = [first, NOTE, ACTIVITY]

    body = delivered(NOTE, history=history)

    assert (body["id"], inner(body)["id"]) == (9003, 9001)


def test_the_inner_message_has_numbers_where_the_outer_one_has_words() -> None:
    shown = inner(delivered())

    assert shown["message_type"] == 0
    assert shown["created_at"] == 1785143553
    assert shown["updated_at"] == "2026-07-27T09:12:33.123Z"
    assert shown["sender_type"] == "Contact"
    assert shown["conversation"]["unread_count"] == 1
    assert shown["status"] == "sent"


@pytest.mark.parametrize(
    ("sender", "kind", "number"),
    [(OLGA, "User", 5), (BOT, "AgentBot", 9), (None, None, None)],
)
def test_the_inner_message_names_the_kind_of_its_author(
    sender: payloads.Sender, kind: str | None, number: int | None
) -> None:
    shown = inner(delivered(Message(sender=sender)))

    assert (shown["sender_type"], shown["sender_id"]) == (kind, number)
    assert ("sender" in shown) == (sender is not None)


def test_a_conversation_without_public_messages_has_an_empty_list() -> None:
    body = delivered(NOTE)

    assert body["conversation"]["messages"] == []


@pytest.mark.parametrize(
    ("version", "there"), [((4, 14, 1), False), ((4, 14, 2), True)]
)
def test_the_conversation_names_its_account_since_4_14_2(
    version: payloads.Version, there: bool
) -> None:
    body = delivered(version=version)

    assert ("account" in body["conversation"]) == there


@pytest.mark.parametrize(
    ("version", "assignee", "kind"),
    [
        ((4, 7, 0), OLGA, "absent"),
        ((4, 8, 0), OLGA, "User"),
        ((4, 8, 0), BOT, "AgentBot"),
        ((4, 8, 0), None, None),
    ],
)
def test_the_type_of_assignee_is_shown_since_4_8(
    version: payloads.Version, assignee: Agent | None, kind: str | None
) -> None:
    talk = Conversation(assignee=assignee)

    meta = delivered(None, talk, version=version)["conversation"]["meta"]

    assert meta.get("assignee_type", "absent") == kind
    assert (meta["assignee"] and meta["assignee"]["id"]) == (assignee and assignee.id)


def test_a_bot_cannot_be_assignee_before_4_8() -> None:
    talk = Conversation(assignee=BOT)

    body = delivered(None, talk, version=(4, 7, 0))

    assert body["conversation"]["meta"]["assignee"] is None


def test_only_users_are_the_assignee_of_the_inner_message() -> None:
    numbers = [
        inner(delivered(None, Conversation(assignee=a)))["conversation"]["assignee_id"]
        for a in (OLGA, BOT, None)
    ]

    assert numbers == [5, None, None]


def test_attachments_have_no_key_when_there_are_none() -> None:
    body = delivered()

    assert "attachments" not in body
    assert "attachments" not in body["conversation"]["messages"][0]


@pytest.mark.parametrize(
    ("version", "there"), [((4, 12, 1), False), ((4, 13, 0), True)]
)
def test_attachments_have_a_content_type_since_4_13(
    version: payloads.Version, there: bool
) -> None:
    message = Message(content=None, attachments=({"file_type": "audio"}, {"id": 1}))

    body = delivered(message, version=version)
    first, second = body["attachments"]

    assert body["content"] is None
    assert first["file_type"] == "audio"
    assert first["message_id"] == 9001
    assert second["id"] == 1
    assert ("content_type" in first) == there
    assert payloads.api_message(message, Conversation(), version=version)[
        "attachments"
    ] == [first, second]


@pytest.mark.parametrize(
    ("version", "channel", "expected"),
    [
        ((4, 2, 0), "Channel::WebWidget", "a <b>\\\nc\n\nd\n"),
        ((4, 8, 9), "Channel::WebWidget", "a <b>\\\nc\n\nd\n"),
        ((4, 9, 0), "Channel::WebWidget", "<p>a &lt;b&gt;\\\nc</p>\n<p>d</p>\n"),
        ((4, 12, 0), "Channel::Email", "<p>a &lt;b&gt;\\\nc</p>\n<p>d</p>\n"),
        ((4, 12, 0), "Channel::Api", "a <b>\\\nc\n\nd\n"),
        ((4, 12, 1), "Channel::WebWidget", "a <b>\\\nc\n\nd\n"),
        ((4, 13, 0), "Channel::WebWidget", "a <b>\nc\n\nd\n"),
        ((4, 14, 2), "Channel::WebWidget", "a <b>\nc\n\nd"),
    ],
)
def test_content_is_what_that_version_makes_of_it(
    version: payloads.Version, channel: str, expected: str
) -> None:
    message = Message(content="a <b>\\\nc\n\nd\n")
    talk = Conversation(inbox=Inbox(channel=channel))

    body = delivered(message, talk, version=version)

    assert body["content"] == expected
    assert body["conversation"]["messages"][0]["content"] == message.content


@pytest.mark.parametrize("content", [None, ""])
def test_no_content_stays_no_content(content: str | None) -> None:
    body = delivered(Message(content=content), Conversation(), version=(4, 9, 0))

    assert body["content"] == content


def test_a_conversation_event_is_the_conversation_itself() -> None:
    body = payloads.conversation_event(
        "conversation_status_changed",
        Conversation(status="open"),
        changed={"status": ("pending", "open")},
    )

    assert body["id"] == 42
    assert body["status"] == "open"
    assert body["changed_attributes"] == [
        {"status": {"previous_value": "pending", "current_value": "open"}}
    ]
    assert body["messages"] == []
    assert "conversation" not in body


def test_changes_are_named_as_chatwoots_columns() -> None:
    before = Conversation(assignee=BOT, labels=("a",))
    after = Conversation(
        assignee=OLGA,
        labels=("a", "b"),
        team=Team(),
        status="snoozed",
        snoozed_until=payloads.EPOCH,
        custom_attributes={"k": 1},
        priority="high",
    )

    assert payloads.changes(before, before) == {}
    assert payloads.changes(before, after) == {
        "status": ("open", "snoozed"),
        "snoozed_until": (None, "2026-07-27T09:12:33.123Z"),
        "assignee_id": (None, 5),
        "assignee_agent_bot_id": (9, None),
        "team_id": (None, 1),
        "custom_attributes": ({}, {"k": 1}),
        "label_list": (["a"], ["a", "b"]),
        "priority": (None, "high"),
    }


def test_a_conversation_has_its_team_and_snoozed_until() -> None:
    talk = Conversation(team=Team(id=4, name="sales"), snoozed_until=payloads.EPOCH)

    event = payloads.conversation_event("conversation_updated", talk)
    shown = payloads.api_conversation(talk, [])

    for body in (event, shown):
        assert body["meta"]["team"] == {"id": 4, "name": "sales"}
        assert body["snoozed_until"] == "2026-07-27T09:12:33.123Z"


def test_a_typing_event_has_its_author() -> None:
    body = payloads.typing_event("conversation_typing_on", Conversation(), OLGA)

    assert shape(body) == ["conversation", "event", "is_private", "user"]
    assert body["event"] == "conversation_typing_on"
    assert body["user"]["id"] == 5
    assert body["conversation"]["id"] == 42
    assert body["is_private"] is False


def test_changed_attributes_may_be_null_or_absent() -> None:
    talk = Conversation()

    updated = payloads.conversation_event("conversation_updated", talk)
    opened = payloads.conversation_event("conversation_opened", talk)

    assert updated["changed_attributes"] is None
    assert "changed_attributes" not in opened


def test_conversation_events_did_not_name_the_account_of_old() -> None:
    body = payloads.conversation_event(
        "conversation_opened", Conversation(), version=OLDEST
    )

    assert "account" not in body


def test_an_e_mail_carries_its_history_in_content_only() -> None:
    message = payloads.incoming_email("Yes.", quoted="> Really?", auto_reply=True)
    body = delivered(message)
    mail = body["content_attributes"]["email"]

    assert body["content"] == "Yes.\n\n> Really?"
    assert body["content_type"] == "incoming_email"
    assert mail["text_content"]["quoted"] == "Yes."
    assert mail["text_content"]["full"] == "Yes.\n\n> Really?"
    assert mail["auto_reply"] is True
    assert body["conversation"]["messages"][0]["processed_message_content"] == "Yes."


def test_automatic_e_mails_are_not_flagged_before_4_5() -> None:
    message = payloads.incoming_email("Away.", auto_reply=True, version=(4, 4, 0))

    assert "auto_reply" not in message.content_attributes["email"]


# Answers


def test_the_api_shows_a_message_with_numbers() -> None:
    message = Message(type=MessageType.OUTGOING, sender=BOT)

    body = payloads.api_message(message, Conversation())

    assert body == {
        "id": 9001,
        "content": "Hello",
        "inbox_id": 3,
        "conversation_id": 42,
        "message_type": 1,
        "content_type": "text",
        "status": "sent",
        "content_attributes": {},
        "created_at": 1785143553,
        "private": False,
        "source_id": None,
        "sender": {
            "id": 9,
            "name": "Assistant",
            "avatar_url": "",
            "type": "agent_bot",
        },
    }


def test_the_api_shows_messages_with_what_they_belong_to() -> None:
    talk = Conversation(labels=("billing",), assignee=OLGA)

    body = payloads.api_messages([Message(), NOTE], talk)

    assert [message["id"] for message in body["payload"]] == [9001, 9003]
    assert body["meta"]["labels"] == ["billing"]
    assert body["meta"]["contact"]["id"] == 55
    assert body["meta"]["assignee"]["id"] == 5
    assert "assignee" not in payloads.api_messages([], Conversation())["meta"]


def test_the_api_shows_a_conversation() -> None:
    talk = Conversation(status="pending", custom_attributes={"support_mode": "bot"})

    body = payloads.api_conversation(talk, [Message(), NOTE, ACTIVITY])

    assert body["id"] == 42
    assert body["account_id"] == 1
    assert body["status"] == "pending"
    assert body["custom_attributes"] == {"support_mode": "bot"}
    assert body["meta"]["channel"] == "Channel::WebWidget"
    assert body["messages"][0]["id"] == 9004
    assert body["last_non_activity_message"]["id"] == 9003
    assert "assignee" not in body["meta"]


def test_the_api_shows_an_empty_conversation() -> None:
    body = payloads.api_conversation(Conversation(assignee=OLGA), [])

    assert body["messages"] == []
    assert body["last_non_activity_message"] is None
    assert body["meta"]["assignee_type"] == "User"


def test_the_api_shows_who_got_a_conversation() -> None:
    account = payloads.Account(id=4)

    person = payloads.api_assignee(OLGA, account)
    bot = payloads.api_assignee(BOT, account)
    team = payloads.api_team(Team(), account)

    assert (person["id"], person["email"]) == (5, "olga@example.com")
    assert (person["account_id"], person["role"]) == (4, "agent")
    assert (bot["id"], bot["name"]) == (9, "Assistant")
    assert "email" not in bot
    assert (team["id"], team["name"], team["account_id"]) == (1, "support", 4)


def test_the_profile_names_the_accounts() -> None:
    body = payloads.profile(OLGA, payloads.Account(id=4), token="abc")

    assert body["id"] == 5
    assert body["access_token"] == "abc"
    assert [account["id"] for account in body["accounts"]] == [4]


# Liquid

DROPS = payloads.drops(
    Conversation(
        contact=Contact(
            name="ada king LOVELACE",
            email="ada@example.com",
            custom_attributes={"plan": "gold"},
        )
    ),
    BOT,
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("Hello } %} }} {", "Hello } %} }} {"),
        ("Hi {{contact.name}}!", "Hi Ada King Lovelace!"),
        ("{{ contact.first_name }}/{{ contact.last_name }}", "Ada/Lovelace"),
        ("<{{ contact.email }}>", "<ada@example.com>"),
        ("{{contact.phone_number}}", ""),
        ("{{ contact.custom_attribute.plan }}", "gold"),
        ("{{ contact.custom_attribute }}", ""),
        ("{{ contact.name.first }}", ""),
        ("{{ conversation.display_id }} {{ inbox.name }}", "42 Website"),
        ("{{ account.name }} {{ agent.name }}", "Acme Assistant"),
        ("{{ agent.first_name }}", ""),
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
        ("`{{ contact.name }}`", "`{{ contact.name }}`"),
        ("`{{` and {{ 'x' }} and `%}`", "`{{` and x and `%}`"),
        ("`a\n{% if %}\nb`", "`a\n{% if %}\nb`"),
        ("```\n{{ contact.name }}\n```", "```\n{{ contact.name }}\n```"),
        ("`{% endraw %}{{ 'gone' }}{% raw %}`", "`gone`"),
    ],
)
def test_liquid_is_evaluated(text: str, expected: str) -> None:
    assert liquid.render(text, DROPS) == expected


@pytest.mark.parametrize(
    "broken",
    [
        "{{",
        "{%",
        "{{ 'a' }",
        "{% if true %}x{% endif %}",
        "{% assign x = 1 %}",
        "{% endraw %}",
        "{% raw %} never closed",
        "{% raw now %}{% endraw %}",
        "{% %}",
        "`{% endraw %}`",
        "`{{`}",
        "{{ '{%' }} {%",
    ],
)
def test_an_error_in_liquid_leaves_the_whole_text_alone(broken: str) -> None:
    text = f"{{{{ contact.name }}}} {broken}"

    assert liquid.render(text, DROPS) == text


def test_a_single_name_has_no_first_and_last() -> None:
    drops = payloads.drops(Conversation(contact=Contact(name="ada")), None)

    assert liquid.render("{{contact.name}}{{contact.last_name}}", drops) == "Ada"
    assert liquid.render("{{agent.name}}", drops) == ""


@pytest.mark.parametrize(
    "text",
    ["{{" * 50_000, "`{{" + "{% a" * 30_000 + "}`", "{%" * 50_000 + "%}"],
    ids=["outputs", "tags in an output in backticks", "tags"],
)
def test_hostile_templates_cost_little(text: str) -> None:
    before = time.process_time()

    assert isinstance(liquid.render(text, DROPS), str)
    assert time.process_time() - before < 2


@given(st.text(alphabet="{}%-`|'\" raw end\n", max_size=60))
def test_liquid_never_raises(text: str) -> None:
    assert isinstance(liquid.render(text, DROPS), str)


@given(st.text().filter(lambda text: "{{" not in text and "{%" not in text))
def test_text_without_template_code_is_kept_to_the_letter(text: str) -> None:
    assert liquid.render(text, DROPS) == text
