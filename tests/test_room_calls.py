"""How often one warm inline turn crosses from one room of the package to another."""

from __future__ import annotations

import collections
import sys
import typing as t
from types import FrameType

import pytest
from support.apps import AppFactory
from support.chatwoot import ChatwootStub
from support.deliveries import deliver, message

from flask_chatwoot import Chatwoot
from flask_chatwoot.simulator.payloads import ConversationRecord, api_conversation

MOST_CALLS: t.Final = 60

INLINED: t.Final = {"<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>", "<lambda>"}
"""Frames that belong to the function around them; some Pythons have none for them."""


def room_of(frame: FrameType) -> str | None:
    """The package or flat module that a frame is in; ``None`` outside of the app."""
    package, _, module = frame.f_globals.get("__name__", "").partition(".")
    room: str = module.partition(".")[0]

    # The stub for Chatwoot makes its answers with the simulator.
    return room if package == "flask_chatwoot" and room != "simulator" else None


class RoomCalls:
    """Counts this thread's calls between rooms, as a context manager.

    A call through another library, such as :mod:`contextlib`, counts like a direct one.
    """

    def __init__(self) -> None:
        self.count: collections.Counter[str] = collections.Counter()

    def __enter__(self) -> t.Self:
        sys.setprofile(self._see)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)

    def _see(self, frame: FrameType, event: str, _: object) -> None:
        callee = room_of(frame)

        if event != "call" or callee is None or frame.f_code.co_name in INLINED:
            return

        back = frame.f_back

        while back and room_of(back) is None:
            back = back.f_back

        if back and (caller := room_of(back)) != callee:
            self.count[f"{caller} → {callee}"] += 1

    def __str__(self) -> str:
        return "\n".join(f"{n:4}  {pair}" for pair, n in self.count.most_common())


@pytest.mark.sqlite
@pytest.mark.parametrize("readable", [True, False])
def test_an_inline_turn_needs_few_calls_between_rooms(
    readable: bool, make_app: AppFactory, chatwoot: Chatwoot, api: ChatwootStub
) -> None:
    chatwoot.reply_provider(lambda text: "On its way.")
    client = make_app(chatwoot).test_client()

    if readable:
        shown = ConversationRecord(custom_attributes={"support_mode": "bot"})
        api.live = api_conversation(shown, [])

    # The first turns open the database and learn what may be read.
    for number in range(3):
        deliver(client, message(id=9000 + number, conversation_id=40 + number))

    with RoomCalls() as calls:
        deliver(client, message(id=9003, conversation_id=43))

    assert api.public == ["On its way."] * 4
    assert (total := calls.count.total()) <= MOST_CALLS, f"{total} calls:\n{calls}"
