"""The host of Celery's processes. Its settings, and Celery's, are in the environment.

Its provider writes a line for each call to the file ``CALLS``, and takes
``PROVIDER_SECONDS``, and ``FIRST_SECONDS`` more for the first call of all. The first
``FAILURES`` calls fail.
"""

from __future__ import annotations

import json
import os
import time

from flask import Flask
from support.celery import celery_init_app

from flask_chatwoot import Chatwoot

failures = [OSError("no answer")] * int(os.environ["FAILURES"])


def answer(text: str) -> str:
    with open(os.environ["CALLS"], "a", encoding="utf-8") as calls:
        is_first = calls.tell() == 0
        calls.write(f"{os.getpid()} {text}\n")

    if is_first:
        time.sleep(float(os.environ["FIRST_SECONDS"]))

    time.sleep(float(os.environ["PROVIDER_SECONDS"]))

    if failures:
        raise failures.pop()

    return f"Answer to {text}"


app = Flask("host")
app.config["CELERY"] = json.loads(os.environ["CELERY"])
chatwoot = Chatwoot(app)
chatwoot.reply_provider(answer)
celery_app = celery_init_app(app)
