"""The app of a worker that freezes. Without pytest, which its process need not load."""

from __future__ import annotations

import os
import signal
import threading
import typing as t

from flask import Flask

from flask_chatwoot import Chatwoot, before_post

ANSWER: t.Final = "It left our house this morning."


def create_worker() -> Flask:
    """The app of a worker process, with its settings in the environment.

    ``FREEZE_AT`` names the place, ``provider`` or ``post``, where the process stops as
    a whole, once, until it gets SIGCONT.
    """
    app = Flask(__name__)
    chatwoot = Chatwoot(app)
    frozen: list[str] = []

    def freeze(place: str) -> None:
        if os.environ.get("FREEZE_AT") == place and not frozen:
            frozen.append(place)
            # To this thread: another might take it, and this one go on a little.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    @chatwoot.reply_provider
    def reply(text: str) -> str:
        freeze("provider")
        return ANSWER

    @before_post.connect_via(app)
    def on_attempt(sender: Flask, **values: t.Any) -> None:
        freeze("post")

    return app
