"""Whose conversation a transcript is."""

from __future__ import annotations

import time
import typing as t

import pytest

from flask_chatwoot.copilot.proof import proves, said_in
from flask_chatwoot.payloads.attachments import Attachment
from flask_chatwoot.payloads.conversation import ChatwootMessage

NOW: t.Final = 1_750_000_000.0
ATTRIBUTES: t.Final = "\nConversation Attributes:\nWho?: Human"


def wrote(
    content: str = "", by: str | None = "contact", *, age: float = 60, **more: t.Any
) -> ChatwootMessage:
    more.setdefault("type", "incoming" if by == "contact" else "outgoing")

    return ChatwootMessage(
        more.pop("id", 1),
        content=content,
        created_at=NOW - age,
        author=(by, 5) if by else None,
        **more,
    )


def is_proven(transcript: str, *messages: ChatwootMessage) -> bool:
    return proves(transcript, said_in(messages), now=NOW)


ORDER = wrote("Where is my order 4711?")
OLGA = wrote("Olga here. Which one?", "user")
TALK: t.Final = "User: Where is my order 4711?\nSupport Agent: Olga here. Which one?\n"


@pytest.mark.parametrize(
    "transcript",
    [
        TALK,
        TALK.rstrip("\n"),
        f"{TALK}{ATTRIBUTES}",
        f"Bot: Hello\n{TALK}{ATTRIBUTES}",
        f"{TALK}{ATTRIBUTES}\n{ATTRIBUTES}",
    ],
)
def test_the_newest_messages_at_the_end_show_the_account(transcript: str) -> None:
    assert is_proven(transcript, ORDER, OLGA)


@pytest.mark.parametrize(
    "transcript",
    [
        *("", "\n", "User: ", TALK[1:], TALK.replace("User: ", "Customer: ")),
        *("No messages in this conversation\n", f"No{TALK}", f"[Private Note] {TALK}"),
        TALK.replace("User", "Bot"),  # another role
        TALK.replace("4711", "4712"),  # another text
        TALK.replace("\n", " "),  # one message, not two
        f"{TALK}User: Hello?\n",  # not at the end
        f"{TALK}Support Agent: I am quoting\n{TALK}, is that right?\n",
        f"{TALK}\n{ATTRIBUTES}",
        "\n".join(reversed(TALK.splitlines())),  # another order
        "User: Where is my order 4711?\nUser: Hm\nSupport Agent: Olga here. Which one?",
    ],
)
def test_anything_else_is_a_conversation_of_another_account(transcript: str) -> None:
    assert not is_proven(transcript, ORDER, OLGA)


def test_a_text_that_imitates_messages_is_a_part_of_its_own() -> None:
    quoting = wrote(f"See:\n{TALK}", type="incoming")

    assert not is_proven(f"User: See:\n{TALK}\n", ORDER, OLGA)
    assert is_proven(f"{TALK}User: See:\n{TALK}\n", ORDER, OLGA, quoting)


def test_a_text_may_imitate_the_attributes() -> None:
    text = "Hello?\n\nConversation Attributes:\nWho?: Human"
    transcript = f"{TALK}User: {text}\n{ATTRIBUTES}"

    assert is_proven(transcript, ORDER, OLGA, wrote(text))
    assert not is_proven(transcript, ORDER, OLGA, wrote("Hello!"))


def test_five_messages_are_compared() -> None:
    texts = [f"This is message {number}" for number in range(7)]
    messages = [wrote(text) for text in texts]

    assert is_proven("".join(f"User: {text}\n" for text in texts[2:]), *messages)
    assert not is_proven("".join(f"User: {text}\n" for text in texts[3:]), *messages)


@pytest.mark.parametrize(
    ("follows", "proven"),
    [
        ("", True),
        ("User: Hello?\n", True),
        ("User: Hello?\nSupport Agent: Yes\n", True),
        ("Support Agent: Yes\n", False),
        ("Support Agent: Yes\nUser: Hello?\n", False),
        ("User: Hello!\n", False),
        ("User: Hello?\nSupport Agent: Yes\nUser: Ah\n", False),
    ],
)
def test_younger_messages_may_follow(follows: str, proven: bool) -> None:
    young = wrote("Hello?", age=9), wrote("Yes", "user", age=1)
    assert is_proven(f"{TALK}{follows}", ORDER, OLGA, *young) is proven


@pytest.mark.parametrize(
    "messages",
    [
        [],
        [wrote("Where is my order 4711?", age=14)],
        [wrote("Hello"), wrote("Hi, how are we", "user")],
        [wrote("H e l l o           !")],
        [wrote("This message was deleted", deleted=True)],
        [wrote(attachments=(Attachment("image"),)) for _ in range(5)],
        [wrote("Where is my order 4711?", private=True)],
        [wrote("Where is my order 4711?", "user", type="activity")],
        [wrote("Where is my order 4711?", None, type="template")],
    ],
)
def test_little_that_was_said_shows_nothing(messages: list[ChatwootMessage]) -> None:
    roles = {"contact": "User", "user": "Support Agent"}
    transcript = "".join(
        f"{roles.get(each.author[0] if each.author else '', 'Bot')}: "
        f"{each.content or '[Attachment]'}\n"
        for each in messages
    )

    assert not is_proven(transcript, *messages)


@pytest.mark.parametrize(
    ("message", "written"),
    [
        (wrote("Yes", "agent_bot"), "Bot: Yes"),
        (wrote("Yes", "captain_assistant"), "Bot: Yes"),
        (wrote("Yes", None, type="outgoing"), "Bot: Yes"),
        (wrote("Yes", None, type="outgoing"), "Support Agent: Yes"),  # deleted since
        (wrote("Yes", None, type="incoming"), "User: Yes"),
        (wrote(attachments=(Attachment("image"),)), "User: [Attachment]"),
        (wrote(" \n", attachments=(Attachment("image"),)), "User: [Attachment]"),
        (
            wrote(attachments=(Attachment("audio", transcript="Hello"),)),
            "User: [Voice Message] Hello",
        ),
        (
            wrote(attachments=(Attachment("audio", transcript="Hello"),)),
            "User: [Attachment]",
        ),
        (wrote(), "User: "),
        (wrote("See", attachments=(Attachment("image"),)), "User: See"),
        (
            wrote("This message was deleted", "user", deleted=True),
            "Support Agent: This message was deleted",
        ),
        (wrote("Two\nlines\n"), "User: Two\nlines\n"),
    ],
)
def test_each_message_is_compared_as_chatwoot_writes_it(
    message: ChatwootMessage, written: str
) -> None:
    assert is_proven(f"{TALK}{written}\n{ATTRIBUTES}", ORDER, OLGA, message)
    assert not is_proven(f"{TALK}{written}!\n{ATTRIBUTES}", ORDER, OLGA, message)


def test_notes_and_activities_are_in_no_transcript() -> None:
    note = wrote("Ask Ada", "user", private=True)
    opened = wrote("Opened", None, type="activity")

    assert is_proven(TALK, ORDER, note, opened, OLGA)


def test_a_hostile_transcript_takes_no_time() -> None:
    ends = f"{TALK}{ATTRIBUTES}\n" * 100_000
    young = [wrote(f"x{number}", age=1) for number in range(15)]
    began = time.perf_counter()
    is_proven(f"{ends}User: x", ORDER, OLGA, *young)

    assert time.perf_counter() - began < 2
