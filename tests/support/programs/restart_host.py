"""An app whose clock and provider obey files beside it; it is copied to a folder.

As a program it delivers the payloads of its standard input, as JSON, and ends.
"""

import json
import os
import sys
import time
from pathlib import Path

folder = Path(__file__).parent
true_time = time.time


def set_time() -> float:
    return true_time() + float((folder / "ahead").read_text() or 0)


# Before any other module has a reference to it.
vars(time).update(time=set_time, time_ns=lambda: int(set_time() * 1e9))

from flask import Flask  # noqa: E402

from flask_chatwoot import Chatwoot  # noqa: E402
from flask_chatwoot.testing import deliver  # noqa: E402


def enter(name: str) -> None:
    with (folder / name).open("a") as file:
        file.write(f"{os.getpid()}\n")


app = Flask(__name__, instance_path=str(folder))
chatwoot = Chatwoot(app)


@chatwoot.reply_provider
def reply(text: str) -> str:
    enter("asked")

    while (folder / "shut").exists():
        time.sleep(0.02)

    return f"Answer to {text}"


enter("imported")

if __name__ == "__main__":
    for payload in json.load(sys.stdin):
        assert deliver(app.test_client(), payload).status_code == 202
