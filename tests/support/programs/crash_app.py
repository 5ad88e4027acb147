"""A host that dies where it is told to; run by gunicorn in ``test_crashes``.

``CRASH_AT`` names the place. It dies there once: the file ``CRASH_MARK`` says that it
has. Every question to the provider is a line in the file ``ASKED``: the id of the
newest message, and that of the process. Every draft that was reviewed is a line in the
file ``REVIEWED``.
"""

from __future__ import annotations

import os
import signal
import time
import typing as t
from pathlib import Path

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

from flask_chatwoot import Chatwoot, Turn, after_post, before_post, draft_reviewed

app = Flask(__name__)


@app.before_request
def on_receipt() -> None:
    if request.path.endswith("/webhook"):
        crash("received")


@app.after_request
def on_answer(response: Response) -> Response:
    if response.status_code == 202:
        crash("stored")

    return response


chatwoot = Chatwoot(app)


@app.get("/pid")
def pid() -> str:
    return str(os.getpid())


@chatwoot.reply_provider
def reply(text: str, turn: Turn) -> str:
    with Path(os.environ["ASKED"]).open("a") as asked:
        asked.write(f"{turn.message_id}:{os.getpid()}\n")

    crash("claimed")
    wait_at_gate()

    return f"Answer to {text}"


@before_post.connect_via(app)
def on_attempt(sender: Flask, **values: t.Any) -> None:
    crash("kept")


@after_post.connect_via(app)
def on_post(sender: Flask, message_id: int | None, **values: t.Any) -> None:
    if message_id is not None:
        crash("posted")


@draft_reviewed.connect_via(app)
def on_review(sender: Flask, verdict: str, **values: t.Any) -> None:
    crash("reviewed")

    with Path(os.environ["REVIEWED"]).open("a") as reviewed:
        reviewed.write(f"{verdict}\n")


def wait_at_gate() -> None:
    """Go on once the file ``GATE`` exists, if there is such a setting."""
    gate = os.environ.get("GATE")
    deadline = time.monotonic() + 5

    while gate and not Path(gate).exists() and time.monotonic() < deadline:
        time.sleep(0.01)


def crash(place: str) -> None:
    """Die as if the power went off, if this is the place and it is the first time."""
    if os.environ.get("CRASH_AT") != place:
        return

    try:
        Path(os.environ["CRASH_MARK"]).touch(exist_ok=False)
    except FileExistsError:
        return

    os.kill(os.getpid(), signal.SIGKILL)


app.register_error_handler(NotFound, lambda error: ("nothing here", 404))
