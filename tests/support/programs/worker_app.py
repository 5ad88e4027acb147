"""The app of ``flask chatwoot work`` in a process of its own; see ``test_cli``."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path

from flask import Flask

from flask_chatwoot import Chatwoot
from flask_chatwoot.workers import ThreadBackend

ThreadBackend.stop.__defaults__ = (0.3,)  # seconds of grace
logging.basicConfig()
app = Flask(__name__)
chatwoot = Chatwoot(app)


def reply(text: str) -> str:
    if text == "slow":
        Path(os.environ["ASKED"]).touch()
        time.sleep(60)

    return f"Answer to {text}"


async def reply_async(text: str) -> str:
    Path(os.environ["ASKED"]).touch()
    await asyncio.sleep(60)

    return ""


chatwoot.reply_provider(reply_async if "ASYNC" in os.environ else reply)
