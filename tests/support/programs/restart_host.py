"""An app whose clock, import and provider obey files beside it; it is copied there."""

import multiprocessing
import os
import threading
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


def enter(name: str) -> None:
    with (folder / name).open("a") as file:
        file.write(f"{os.getpid()}\n")


def wait_while(name: str) -> None:
    while (folder / name).exists():
        time.sleep(0.02)


class Thread(threading.Thread):
    def start(self) -> None:
        if self.name.startswith("chatwoot-worker"):
            enter("started")

        super().start()


threading.Thread = Thread  # type: ignore[misc]
app = Flask(__name__, instance_path=str(folder))
chatwoot = Chatwoot(app)

if (folder / "slow").exists():
    time.sleep(1.0)


@chatwoot.reply_provider
def reply(text: str) -> str:
    enter("asked")

    if (folder / "forks").exists():
        fork = multiprocessing.get_context("fork")
        fork.Process(target=wait_while, args=("forks",)).start()

    wait_while("shut")

    return f"Answer to {text}"


enter("imported")

if (folder / "starts").exists():
    chatwoot.start(app)
