"""The typing indicator works in a child that was forked while a provider works."""

from __future__ import annotations

import os
import sys
import time
import typing as t

from flask_chatwoot.turns.typing_indicator import TypingIndicator


class Client:
    calls: t.ClassVar[list[tuple[int, bool]]] = []

    def toggle_typing_status(self, conversation_id: int, *, on: bool) -> None:
        self.calls.append((conversation_id, on))


def wait_for(*calls: tuple[int, bool]) -> None:
    deadline = time.monotonic() + 10

    while Client.calls != [*calls]:
        if time.monotonic() > deadline:
            os._exit(1)

        time.sleep(0.01)


shown = TypingIndicator(t.cast(t.Any, Client()))

with shown.shown(1):
    wait_for((1, True))
    child = os.fork()

    if not child:
        Client.calls.clear()

        with shown.shown(2):
            wait_for((2, True))

        wait_for((2, True), (2, False))
        os._exit(0)

    status = os.waitpid(child, 0)[1]

wait_for((1, True), (1, False))
sys.exit(1 if status else 0)
