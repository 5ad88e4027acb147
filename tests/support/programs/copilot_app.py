"""A host whose reply function waits for the file ``GATE``.

Each call of it is a line in the file ``ASKED``: the id of the process. A request for a
suggestion waits for ``PATIENCE`` seconds.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from flask import Flask

from flask_chatwoot import Chatwoot, Turn
from flask_chatwoot.copilot import drafting

LONGEST = 60.0
drafting.PATIENCE = float(os.environ["PATIENCE"])
app = Flask(__name__)
chatwoot = Chatwoot(app)


@chatwoot.reply_provider
def reply(text: str, turn: Turn) -> str | None:
    if turn.purpose != "suggestion":
        return None

    with Path(os.environ["ASKED"]).open("a") as asked:
        asked.write(f"{os.getpid()}\n")

    deadline = time.monotonic() + LONGEST

    while not Path(os.environ["GATE"]).exists() and time.monotonic() < deadline:
        time.sleep(0.01)

    return f"Answer to {text}"
