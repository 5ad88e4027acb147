"""The host of ``chaos.py``: its clock obeys a file, and SIGUSR2 freezes it.

It freezes at any place except between the signals around a post: a process that is
frozen after it has looked at its lease and before it has written to Chatwoot may post
late, which the README names as a limit.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
import typing as t
from pathlib import Path

true_time = time.time
began = true_time()


def set_time() -> float:
    return true_time() + float(Path(os.environ["CHAOS_CLOCK"]).read_text())


# Before any other module has a reference to it.
vars(time).update(time=set_time, time_ns=lambda: int(set_time() * 1e9))

from flask import Flask  # noqa: E402

from flask_chatwoot import Chatwoot, after_post, before_post  # noqa: E402
from flask_chatwoot.turns import retry  # noqa: E402

vars(retry).update(LONGEST_BACKOFF=2.0)  # or a run would have to wait for minutes
logging.basicConfig(format="%(process)d %(relativeCreated)d %(message)s")
app = Flask(__name__)
chatwoot = Chatwoot(app)
gate = threading.Condition()
posting: set[int] = set()
freezing = False


@chatwoot.reply_provider
def reply(text: str) -> str:
    # Long enough for an operator to act; longer than a post may rest on a look before.
    time.sleep(6.0 if "slow" in text else random.uniform(0.0, 0.2))  # noqa: S311

    return f"Answer to {text}\n-- {began:.3f}"


@before_post.connect_via(app)
def on_attempt(sender: Flask, **values: t.Any) -> None:
    with gate:
        gate.wait_for(lambda: not freezing)
        posting.add(threading.get_ident())


@after_post.connect_via(app)
def on_post(sender: Flask, **values: t.Any) -> None:
    with gate:
        posting.discard(threading.get_ident())
        gate.notify_all()


def freeze() -> None:
    """Stop this process as a whole once no post is under way, until SIGCONT."""
    global freezing

    with gate:
        freezing = True

        if gate.wait_for(lambda: not posting, timeout=5.0):
            os.kill(os.getpid(), signal.SIGSTOP)

        freezing = False
        gate.notify_all()


def on_signal(*_: t.Any) -> None:
    threading.Thread(target=freeze, daemon=True).start()


signal.signal(signal.SIGUSR2, on_signal)
